"""How a command gets somebody to ask, and says what it was answered."""

import asyncio
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import click
import grpc
import structlog
from scrip import Client, ScripError

from ledger import DatabaseMisusedError, DatabaseUnavailableError, parse_url, require_migrated
from server.app import MESSAGE_BYTES_MAX, Server
from server.commands.options import memo, options, reasoned_memo, repeatable
from server.commands.rows import CHANGE_FITS, change_row
from server.config import Settings, setting_options
from server.output import Format, format_option, rendered


def asks(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command a client, and the options that all commands of the books have."""

    # Not named as the setting is, which is the server's: who has told a server its database still wants to ask it.
    @click.option("--database", "own_database", help="Open this database instead of asking a server.")
    @format_option
    @setting_options("server", "deadline_s")
    @wraps(command)
    def run(server: str, deadline_s: float, own_database: str | None, **options: Any) -> None:
        try:
            with (
                errors_told(server),
                _target(server, own_database) as target,
                Client(target, deadline_s=deadline_s) as client,
            ):
                command(client, **options)
        except (DatabaseMisusedError, DatabaseUnavailableError) as error:
            raise click.ClickException(str(error)) from error

    return run


@contextmanager
def errors_told(server: str) -> Iterator[None]:
    """Makes of an error of the client what the command says in the end."""
    try:
        yield
    except ScripError as error:
        told = error.message
        if error.code is grpc.StatusCode.RESOURCE_EXHAUSTED and not error.reason_name:
            told = f"A server takes at most {MESSAGE_BYTES_MAX:,} bytes at once, and this is more. Divide it. ({told})"
        elif not error.reason_name:
            told = f"{told.removesuffix('.')}. Is a server running at {server}? Start one with: scrip serve"
        raise click.ClickException(told) from error


def changes(*, reasoned: bool = False) -> Callable[[Callable[..., Any]], Callable[..., None]]:
    """Makes a command of a function that changes something: it has a client and all options, and returns the answer.

    reasoned   it has to say why and who
    """

    def decorate(change: Callable[..., Any]) -> Callable[..., None]:
        @options(reasoned_memo if reasoned else memo, repeatable)
        @asks
        @wraps(change)
        def run(client: Client, form: Format, **given: Any) -> None:
            click.echo(rendered([change_row(change(client, **given))], form, CHANGE_FITS))

        return run

    return decorate


@contextmanager
def _target(server: str, database: str | None) -> Iterator[str]:
    """The address to ask: that of a server, or of one that lives as long as the block."""
    if database is None:
        yield server
        return
    _require_there(database)
    # Says what is wrong with a database; a server would wait for it to get well.
    require_migrated(database)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="scrip-server", daemon=True)
    thread.start()
    try:
        own = asyncio.run_coroutine_threadsafe(_started(database), loop).result()
        try:
            yield f"127.0.0.1:{own.port}"
        finally:
            asyncio.run_coroutine_threadsafe(own.stop(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _require_there(database: str) -> None:
    """A mistyped file must not become an empty one."""
    url = parse_url(database)
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists():
        raise DatabaseMisusedError(f"There is no file {url.database}. Correct --database, or make it: scrip migrate")


async def _started(database: str) -> Server:
    server = Server(Settings(listen="127.0.0.1:0", database=database, sweep_s=0, drain_s=0))
    await server.start()
    return server
