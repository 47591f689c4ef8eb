"""Rows of whole accounts, written straight into the tables.

Millions of entries take long through the ledger. But an account's rows depend on which account it is in three things
only: its key, its name, and the hashes. So the ledger makes one account, the pattern; and its rows are written again
and again under other keys and names, with the hashes chained anew. What other columns there are does not matter here.
"""

import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from itertools import islice
from typing import Any, Final, Protocol

import psycopg
from psycopg.sql import SQL, Identifier
from sqlalchemy import Column, Dialect, Table, select

from ledger import (
    DEFAULT_ASSET,
    DEFAULT_TENANT,
    AccountName,
    Deduct,
    Grant,
    Ledger,
    OpenAccount,
    Refused,
    Source,
    parse_url,
)
from ledger.chain import canonical_bytes, genesis
from ledger.database import Database
from ledger.ids import AccountKey
from ledger.tables import metadata

# Never runs out.
GRANTED: Final = 10**12
PATTERN: Final = AccountName(tenant=DEFAULT_TENANT, account_id="pattern", asset=DEFAULT_ASSET)
# The deductions of an account are spread over a day that ended a day ago.
INSTANTS: Final = 100
BEGAN_AGO: Final = timedelta(days=2)
APART: Final = timedelta(days=1) / INSTANTS
# Of one transaction, and of one statement.
OPERATIONS_MAX: Final = 1_000
ROWS_MAX: Final = 2_000
PAGE_ENTRIES: Final = 500

Values = list[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """An account that the ledger has made: opened, granted to, and deducted from, one credit at a time.

    entries   what the hash of each entry covers beside the one before
    rows      of each table
    """

    entries: Sequence[bytes]
    rows: Mapping[Table, Sequence[Mapping[str, Any]]]

    @classmethod
    @cache
    def of(cls, deductions: int) -> "Pattern":
        """Have the ledger make it, in a database that is gone afterwards."""
        now = datetime.now(UTC) - BEGAN_AGO
        each = min(max(deductions // INSTANTS, 1), OPERATIONS_MAX)
        with tempfile.TemporaryDirectory(prefix="scrip-pattern-") as directory:
            url = f"sqlite:///{directory}/pattern.db"
            with Ledger(url, clock=lambda: now) as ledger:
                grant = Grant(request_id="grant", account=PATTERN, amount=GRANTED, source=Source.PURCHASE)
                ledger.execute_batch([OpenAccount(request_id="open", account=PATTERN), grant])
                for first in range(0, deductions, each):
                    now += APART * each * INSTANTS / max(deductions, INSTANTS)
                    names = (f"bulk-{number:012}" for number in range(first, min(first + each, deductions)))
                    ledger.execute_batch([Deduct(request_id=name, account=PATTERN, amount=1) for name in names])
                covered = list(_covered(ledger))
            return cls(entries=covered[::-1], rows=_rows_of(url))

    def part(self, table: Table, first: int, past: int) -> Sequence[Mapping[str, Any]]:
        """The rows that came with some of the entries, from one number up to another; the last brings all the rest."""
        last = len(self.entries)
        return [row for row in self.rows[table] if first <= row.get("seq", last) < past]

    def tables(self) -> Iterator[Table]:
        """Those that hold what belongs to an account; the entries first, because the account has their last hash."""
        mine = [table for table, rows in self.rows.items() if rows and "account_key" in table.columns]
        yield from sorted(mine, key=lambda table: table.name != "entries")


class Engine(Protocol):
    """How rows come into a database fast.

    entries_per_pass   how many entries of an account are written before those of the next one
    """

    entries_per_pass: int

    def encoder(self, column: Column[Any]) -> Callable[[Any], Any]:
        """What makes a column's value what `write` takes."""

    def write(self, table: Table, rows: Iterable[Values]) -> None:
        """Write rows, with a value for every column."""

    def finish(self) -> None:
        """Leave the database as one that has been running for a while."""


class Postgres:
    """By COPY. Rows stay in the order in which they came, so each account's must be among those of all others."""

    entries_per_pass = 10

    def __init__(self, connection: psycopg.Connection[Any], dialect: Dialect) -> None:
        self._connection = connection
        self._dialect = dialect

    def encoder(self, column: Column[Any]) -> Callable[[Any], str]:
        process = processor(column, self._dialect)
        return _copied if process is None else lambda value: _copied(process(value))

    def write(self, table: Table, rows: Iterable[Values]) -> None:
        columns = SQL(", ").join(map(Identifier, table.columns.keys()))
        command = SQL("COPY {} ({}) FROM STDIN").format(Identifier(table.name), columns)
        with self._connection.cursor().copy(command) as copy:
            rows = iter(rows)
            while some := ["\t".join(row) for row in islice(rows, ROWS_MAX)]:
                copy.write("\n".join(some) + "\n")

    def finish(self) -> None:
        for command in ("VACUUM ANALYZE", "CHECKPOINT"):
            self._connection.execute(command)


class Sqlite:
    """By prepared statements, in one transaction. Rows are stored by key anyway."""

    entries_per_pass = 2**62

    def __init__(self, connection: sqlite3.Connection, dialect: Dialect) -> None:
        self._connection = connection
        self._dialect = dialect

    def encoder(self, column: Column[Any]) -> Callable[[Any], Any]:
        return processor(column, self._dialect) or (lambda value: value)

    def write(self, table: Table, rows: Iterable[Values]) -> None:
        places = ", ".join("?" * len(table.columns))
        columns = ", ".join(f'"{column.name}"' for column in table.columns)
        self._connection.executemany(f'INSERT INTO "{table.name}" ({columns}) VALUES ({places})', rows)  # noqa: S608

    def finish(self) -> None:
        self._connection.commit()
        self._connection.execute("PRAGMA journal_mode = WAL")


@contextmanager
def open_engine(database_url: str) -> Iterator[Engine]:
    """Whatever is written is there once the block has ended."""
    url = parse_url(database_url)
    dialect = url.get_dialect()()
    if url.get_backend_name() == "sqlite":
        connection = sqlite3.connect(str(url.database))
        try:
            # If this does not end well, the database is thrown away anyway.
            for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -262144"):
                connection.execute(f"PRAGMA {pragma}")
            engine: Engine = Sqlite(connection, dialect)
            yield engine
            engine.finish()
        finally:
            connection.close()
    else:
        plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(plain, autocommit=True) as postgres:
            engine = Postgres(postgres, dialect)
            yield engine
            engine.finish()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chains:
    """Accounts that are being written, with their keys, and the hashes of their last entries so far."""

    names: Sequence[tuple[AccountName, AccountKey]]
    heads: list[bytes]


def write_accounts(engine: Engine, pattern: Pattern, names: Sequence[tuple[AccountName, AccountKey]]) -> None:
    """Write the pattern's rows for each of these accounts, with the keys given."""
    # SQLite keeps rows by key, and in every engine an index is made faster in its order.
    names = sorted(names, key=lambda named: named[1])
    chains = Chains(names=names, heads=[genesis(name) for name, _ in names])
    # One account has nobody to be among.
    step = engine.entries_per_pass if len(names) > 1 else len(pattern.entries)
    for first in range(1, len(pattern.entries) + 1, step):
        past = first + step
        covered = pattern.entries[first - 1 : past - 1]
        for table in pattern.tables():
            rows = pattern.part(table, first, past)
            if rows:
                engine.write(table, _filled(engine, table, rows, chains, covered))


def write_plain(engine: Engine, table: Table, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as they are."""
    encoders = {column.name: engine.encoder(column) for column in table.columns}
    engine.write(table, ([encode(row[name]) for name, encode in encoders.items()] for row in rows))


def _filled(
    engine: Engine,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    chains: Chains,
    covered: Sequence[bytes],
) -> Iterator[Values]:
    """The rows of one table for each account; those of the entries move the heads of the accounts on."""
    columns = table.columns.keys()
    encoders = {column.name: engine.encoder(column) for column in table.columns}
    made = [[encode(row[name]) for name, encode in encoders.items()] for row in rows]
    own = {name: columns.index(name) for name in ("account_key", "account_id", "head") if name in columns}
    chain = columns.index("hash") if "hash" in columns else None
    for number, (name, key) in enumerate(chains.names):
        head = chains.heads[number]
        of_account = {"account_key": key, "account_id": name.account_id, "head": head}
        filled = [(place, encoders[column](of_account[column])) for column, place in own.items()]
        for index, values in enumerate(made):
            row = values.copy()
            for place, value in filled:
                row[place] = value
            if chain is not None:
                head = sha256(head + covered[index]).digest()
                row[chain] = encoders["hash"](head)
            yield row
        chains.heads[number] = head


def _covered(ledger: Ledger) -> Iterator[bytes]:
    """Of each entry of the pattern, newest first."""
    token = ""
    while True:
        page = ledger.history(PATTERN, PAGE_ENTRIES, token)
        assert not isinstance(page, Refused)
        yield from map(canonical_bytes, page.entries)
        token = page.next_page_token
        if not token:
            return


def _rows_of(url: str) -> dict[Table, Sequence[Mapping[str, Any]]]:
    database = Database(url, readers=1)
    try:
        with database.read() as connection:
            return {
                table: [dict(row) for row in connection.execute(select(table).order_by(*table.primary_key)).mappings()]
                for table in metadata.sorted_tables
            }
    finally:
        database.close()


def processor(column: Column[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    """What SQLAlchemy does to a column's value before the driver sees it; None: nothing."""
    process: Callable[[Any], Any] | None = column.type.dialect_impl(dialect).bind_processor(dialect)
    return process


def _copied(value: Any) -> str:  # noqa: ANN401 -- of any column
    """A value as COPY reads it."""
    if value is None:
        return r"\N"
    if isinstance(value, bytes | memoryview):
        return rf"\\x{value.hex()}"
    if isinstance(value, str):
        return value.replace("\\", "\\\\").replace("\t", r"\t").replace("\n", r"\n").replace("\r", r"\r")
    return str(value)
