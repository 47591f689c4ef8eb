"""Watches, holds and breaks what the writers of servers send to their database.

What is run very often goes past SQLAlchemy, and its events; there `Prepared` is watched.
"""

import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, event, insert, make_url, null, select

from ledger import AccountName, Ledger
from ledger.database import Database, Prepared
from ledger.tables import accounts, entries
from tests.faults.customers import PATIENCE_S

ENTRIES = "INSERT INTO entries"
COMMIT = "COMMIT"
DEADLOCK = "40P01"


def named(url: str, server: str) -> str:
    """The URL of a PostgreSQL database by which one server can be told from another."""
    return make_url(url).update_query_dict({"application_name": server}).render_as_string(hide_password=False)


def _server(connection: Connection) -> str:
    return str(connection.engine.url.query.get("application_name", ""))


@contextmanager
def before_each(act: Callable[[str, str, Connection], None]) -> Iterator[None]:
    """Has `act` called with server, statement and connection before each statement of a writer, COMMIT included."""

    def is_writer() -> bool:
        return threading.current_thread().name == "scrip-writer"

    def on_statement(connection, _cursor, statement, *_):
        if is_writer():
            act(_server(connection), statement, connection)

    def on_commit(connection):
        if is_writer():
            act(_server(connection), COMMIT, connection)

    def on_prepared(run, prepared, connection, parameters):
        on_statement(connection, None, prepared.text)
        return run(prepared, connection, parameters)

    event.listen(Engine, "before_cursor_execute", on_statement)
    event.listen(Engine, "commit", on_commit)
    try:
        with around_prepared(on_prepared):
            yield
    finally:
        event.remove(Engine, "before_cursor_execute", on_statement)
        event.remove(Engine, "commit", on_commit)


@contextmanager
def around_prepared(act: Callable[..., Any]) -> Iterator[None]:
    """Has `act` called instead of Prepared.run, with that as its first argument."""
    run = Prepared.run
    Prepared.run = lambda *args: act(run, *args)
    try:
        yield
    finally:
        Prepared.run = run


@contextmanager
def failures() -> Iterator[list[psycopg.Error]]:
    """Collects what the database refused."""
    found: list[psycopg.Error] = []

    def on_error(context):
        found.append(context.original_exception)

    def on_prepared(run, *args):
        try:
            return run(*args)
        except psycopg.Error as error:
            found.append(error)
            raise

    event.listen(Engine, "handle_error", on_error)
    try:
        with around_prepared(on_prepared):
            yield found
    finally:
        event.remove(Engine, "handle_error", on_error)


def locking(ledger: Ledger) -> Ledger:
    """A server that locks the accounts of its batches, as after a collision, for as long as a test lasts."""
    ledger._store._locked_batches = sys.maxsize  # noqa: SLF001 -- otherwise it takes a collision first
    return ledger


class Gate:
    """Holds a server's writer before the first statement that contains the given words."""

    def __init__(self, server: str, words: str) -> None:
        self._server, self._words = server, re.compile(rf"\b{words}\b")
        self._reached, self._open = threading.Event(), threading.Event()

    def __call__(self, server: str, statement: str, _connection: Connection) -> None:
        if server == self._server and self._words.search(statement) and not self._reached.is_set():
            self._reached.set()
            assert self._open.wait(PATIENCE_S)

    def wait_until_reached(self) -> None:
        assert self._reached.wait(PATIENCE_S)

    def open(self) -> None:
        self._open.set()


class MeetingPoint:
    """Lets no server pass the first statement that contains the given words before all have come to it."""

    def __init__(self, servers: int, words: str) -> None:
        self._words = words
        self._barrier = threading.Barrier(servers, timeout=PATIENCE_S)
        self.passed: list[str] = []

    def __call__(self, server: str, statement: str, _connection: Connection) -> None:
        if self._words in statement:
            self.passed.append(server)
            if self.passed.count(server) == 1:
                self._barrier.wait()


@contextmanager
def kept_waiting(url: str, *names: AccountName, row_locks: bool) -> Iterator[None]:
    """Nobody else gets through with a change of these accounts during the block, which changes nothing.

    Each must have two entries.
    """
    keys = [name.key for name in names]
    columns = {**dict(entries.c.items()), "seq": entries.c.seq + 1, "request_id": null()}
    next_entries = select(*columns.values()).where(entries.c.account_key.in_(keys), entries.c.seq == 2)
    locked = select(accounts).where(accounts.c.account_key.in_(keys)).with_for_update()
    database = Database(url)
    try:
        with database.write() as connection:
            connection.execute(locked if row_locks else insert(entries).from_select(list(columns), next_entries))
            yield
    finally:
        database.close()


def wait_until_queued(url: str, server: str) -> None:
    """Returns once a server waits for a lock that another has."""
    asked = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND wait_event_type = 'Lock'"
    deadline = time.monotonic() + PATIENCE_S
    with psycopg.connect(url, autocommit=True) as connection:
        while connection.execute(asked, [server]).fetchone() == (0,):
            assert time.monotonic() < deadline
            time.sleep(0.01)
