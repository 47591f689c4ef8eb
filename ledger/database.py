"""All that differs between engines: how to connect, to begin, to hand over rows, and what an error means."""

import fcntl
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import psycopg
from sqlalchemy import (
    URL,
    Column,
    ColumnElement,
    Connection,
    Engine,
    FromClause,
    Insert,
    ScalarSelect,
    Select,
    Table,
    Text,
    Update,
    and_,
    bindparam,
    cast,
    column,
    create_engine,
    event,
    exists,
    func,
    literal_column,
    make_url,
    select,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from ledger.json_text import as_json
from ledger.tables import Digest, Instant

Made = TypeVar("Made")

READERS_DEFAULT: Final = 4
BUSY_TIMEOUT_S: Final = 5
CONNECT_TIMEOUT_S: Final = 5

# To write out a statement costs more than to run it.
_MADE: Final[dict[tuple[Callable[["Database"], Any], bool, bool], Any]] = {}

_DRIVER_ERRORS: Final = (sqlite3.Error, psycopg.Error)
# The same row was written by another writer in the meantime; to be decided again.
_COLLISION_SQLSTATES: Final = frozenset({"23505", "40001", "40P01"})
_COLLISION_SQLITE: Final = frozenset({"SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_UNIQUE"})
# A bug rather than a passing trouble: syntax, data that does not fit, violated checks.
_BUG_SQLSTATE_CLASSES: Final = ("22", "23", "42")
_BUG_SQLITE: Final = ("SQLITE_CONSTRAINT", "SQLITE_ERROR", "SQLITE_MISMATCH", "SQLITE_RANGE", "SQLITE_MISUSE")

# Options of PostgreSQL want a backslash before a space.
#
# The writer reads by key and nothing else. Without these, a plan made while a table was small is kept when it is large.
_WRITER_OPTIONS: Final = {
    "synchronous_commit": "on",
    "default_transaction_isolation": r"read\ committed",
    "timezone": "UTC",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "30s",
}
_READER_OPTIONS: Final = {
    "timezone": "UTC",
    "default_transaction_isolation": r"repeatable\ read",
    "default_transaction_read_only": "on",
    "jit": "off",
}


class DatabaseUnavailableError(Exception):
    """The database did not answer or did not confirm. The outcome is unknown; the same request may be repeated."""


class DatabaseMisusedError(Exception):
    """The database cannot be used as it is: a wrong URL, a newer schema, a file that another server holds."""


class CollisionError(Exception):
    """Another writer changed the same account first. Nothing was written; decide again."""


class Database:
    """One database, SQLite or PostgreSQL.

    url         sqlite:///path or postgresql://user@host/name
    readers     how many reads may run at once, beside one that takes long
    row_locks   once servers have collided, lock the accounts of batches for a while where the engine can, so that
                they queue instead; correctness does not rest on it
    """

    def __init__(self, url: str, *, readers: int = READERS_DEFAULT, row_locks: bool = True) -> None:
        self.url = parse_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        # Others that write may be there.
        self.has_servers = not self.is_sqlite
        self.row_locks = row_locks and self.has_servers
        self._lock_file: int | None = None
        if self.is_sqlite:
            self._writer = _sqlite_engine(self.url, pool_size=1, begin="BEGIN IMMEDIATE")
            self._reader = _sqlite_engine(self.url, pool_size=readers + 1, begin="BEGIN", pragmas=("query_only = ON",))
        else:
            self._writer = _postgresql_engine(self.url, _WRITER_OPTIONS, pool_size=1)
            self._each_alone = self._writer.execution_options(isolation_level="AUTOCOMMIT")
            self._reader = _postgresql_engine(self.url, _READER_OPTIONS, pool_size=readers + 1)

    def __str__(self) -> str:
        return shown_url(self.url)

    def take(self) -> None:
        """Makes this process the only one that writes to a SQLite file; nothing on other engines.

        refuses   DatabaseMisusedError if another process has it or the file cannot be made
        """
        if not self.is_sqlite or self._lock_file is not None:
            return
        path = Path(str(self.url.database))
        if path.is_dir():
            raise DatabaseMisusedError(f"{path} is a directory, not a database. Name a file in it.")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(f"{path.resolve()}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DatabaseMisusedError(f"{path} cannot be opened: {error.strerror}. Choose another file.") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise DatabaseMisusedError(
                f"Another Scrip server holds {path}. Stop it, choose another file, or use PostgreSQL for several."
            ) from error
        self._lock_file = lock

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that may write. The block commits it itself, else it is rolled back."""
        with _translated(), self._writer.connect() as connection:
            connection.begin()
            yield connection

    @contextmanager
    def write_at_once(self) -> Iterator[Connection]:
        """Each statement is a transaction of its own, which saves two round trips; on SQLite one for all, as `write`.

        Nothing there would be saved, and its locks keep others from what is read until it is written.
        """
        if self.is_sqlite:
            with self.write() as connection:
                yield connection
        else:
            with _translated(), self._each_alone.connect() as connection:
                yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent snapshot that cannot write."""
        try:
            with _translated(), self._reader.connect() as connection:
                connection.begin()
                yield connection
        except CollisionError as error:
            # Some engines end a read that meets a write; nobody has anything to decide again.
            raise DatabaseUnavailableError(str(error)) from error

    def close(self) -> None:
        """Closes all connections and gives a SQLite file free."""
        self._writer.dispose()
        self._reader.dispose()
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    def listed(self, parameter: str, *columns: Column[Any]) -> FromClause:
        """Rows handed over as one parameter, to be joined with or written; encode them with `as_rows`."""
        handed = bindparam(parameter, type_=Text)
        if self.is_sqlite:
            each = func.json_each(handed).table_valued("value", name=f"{parameter}_json")
            picked = (
                func.json_extract(each.c.value, literal_column(f"'$.{c.name}'"), type_=c.type).label(c.name)
                for c in columns
            )
            return select(*picked).subquery(f"given_{parameter}")
        kinds = [column(c.name, Text() if isinstance(c.type, Digest) else c.type) for c in columns]
        found = (
            func.json_to_recordset(cast(handed, JSON))
            .table_valued(*kinds, name=f"given_{parameter}")
            .render_derived(with_types=True)
        )
        if not any(isinstance(c.type, Digest) for c in columns):
            return found
        bytes_of = {
            c.name: func.decode(found.c[c.name], literal_column("'hex'")) for c in columns if isinstance(c.type, Digest)
        }
        return select(*(bytes_of.get(c.name, c).label(c.name) for c in found.c)).subquery()

    def matching(self, listed: FromClause, table: Table, *conditions: ColumnElement[bool]) -> Select[Any]:
        """The rows of a table whose columns are as in one of the listed rows.

        PostgreSQL is made to look them up row by row. Left free, it reads the whole of another index for each of the
        listed rows as long as it has no statistics, which a young database has not.
        """
        same = [table.c[column.name] == column for column in listed.c if column.name in table.c]
        if self.is_sqlite:
            return select(table).join(listed, and_(*same)).where(*conditions)
        found = select(table).where(*same, *conditions).offset(literal_column("0")).lateral(f"found_{table.name}")
        return select(found).select_from(listed.join(found, true()))

    def gathered(self, rows: Select[Any]) -> ScalarSelect[str]:
        """All that is selected as one value, to be decoded by `Gathered`: a row for each would cost much more.

        Not least because SQLite's driver gives up the interpreter's lock for every row, and has to wait for it again.
        """
        found = rows.subquery()
        if self.is_sqlite:
            return select(func.json_group_array(func.json_array(*found.c))).scalar_subquery()
        texts = (func.encode(c, literal_column("'hex'")) if isinstance(c.type, Digest) else c for c in found.c)
        return select(cast(func.json_agg(func.json_build_array(*texts)), Text)).scalar_subquery()

    def once(self, make: "Callable[[Database], Made]") -> Made:
        """What is made of statements alone, which are the same for every database of an engine: it is made once."""
        kind = (make, self.is_sqlite, self.row_locks)
        if kind not in _MADE:
            _MADE[kind] = make(self)
        made: Made = _MADE[kind]
        return made

    def prepared(self, statement: Select[*tuple[Any, ...]] | Insert | Update) -> "Prepared":
        """A statement that is run very often."""
        return Prepared(statement, self._writer)

    def guarded(
        self, guard: Update, first: Select[Any] | None, changes: Callable[..., Sequence[Insert | Update]]
    ) -> "Callable[[Connection, Mapping[str, str]], bool]":
        """Makes several changes as one, on PostgreSQL in one statement, if a guard has a row to change; tells if so.

        first     rows that are locked ahead of the changes, where the engine can
        changes   makes them, each under the given conditions
        """
        if self.is_sqlite:
            kept, rest = self.prepared(guard), [self.prepared(change) for change in changes()]

            def one_by_one(connection: Connection, parameters: Mapping[str, str]) -> bool:
                if kept.run(connection, parameters).rowcount == 0:
                    return False
                for change in rest:
                    change.run(connection, parameters)
                return True

            return one_by_one
        guarded = guard.returning(literal_column("1").label("one")).cte("guarded")
        # PostgreSQL makes changes that nothing waits for in the opposite order. Only so is it the key of the entries
        # that fails if another server was faster, as tests expect; in another order it would be as right.
        made = [change.cte(f"change_{n}") for n, change in enumerate(changes(exists(select(guarded.c.one))))][::-1]
        counts = [select(func.count()).select_from(guarded).scalar_subquery()]
        if first is not None and self.row_locks:
            # What the statement itself reads is read ahead of all changes.
            counts.append(select(func.count()).select_from(first.with_for_update().cte("locked")).scalar_subquery())
        whole = self.prepared(select(*counts).add_cte(*made))

        def at_once(connection: Connection, parameters: Mapping[str, str]) -> bool:
            return bool(whole.run(connection, parameters).fetchone()[0])

        return at_once


class Prepared:
    """A statement whose text is made once, and handed to the driver; SQLAlchemy's way there costs more than to run it.

    text   as the engine reads it
    """

    def __init__(self, statement: Select[*tuple[Any, ...]] | Insert | Update, engine: Engine) -> None:
        compiled = statement.compile(dialect=engine.dialect)
        self.text = str(compiled)
        self._dialect: Any = engine.dialect
        self._order = compiled.positiontup
        # Constants of the statement are parameters as well; those that are to be given are None here.
        self._constants = compiled.params

    def run(self, connection: Connection, parameters: Mapping[str, str]) -> Any:  # noqa: ANN401 -- a cursor of either driver
        """Runs it and gives back the driver's cursor; parameters that other statements have are passed over."""
        given = {name: parameters.get(name, constant) for name, constant in self._constants.items()}
        driver = connection.connection
        cursor = driver.cursor()
        try:
            cursor.execute(self.text, given if self._order is None else tuple(given[name] for name in self._order))
        except _DRIVER_ERRORS as error:
            if self._dialect.is_disconnect(error, driver.dbapi_connection, cursor):
                connection.invalidate(error)
                # The others of its pool are as old; SQLAlchemy drops them too when it runs a statement itself.
                connection.engine.dispose(close=False)
            # An open one would keep its transaction open, however the connection is closed.
            cursor.close()
            raise
        return cursor


class Gathered:
    """What `Database.gathered` selected from some columns, as rows of values."""

    def __init__(self, columns: Iterable[ColumnElement[Any]]) -> None:
        self._decoders = [
            (n, datetime.fromisoformat if isinstance(c.type, Instant) else bytes.fromhex)
            for n, c in enumerate(columns)
            if isinstance(c.type, Instant | Digest)
        ]

    def rows(self, value: str | None) -> list[list[Any]]:
        """The rows in the value; none in None."""
        rows: list[list[Any]] = [] if value is None else json.loads(value)
        for row in rows:
            for n, decode in self._decoders:
                if row[n] is not None:
                    row[n] = decode(row[n])
        return rows


def as_rows(rows: Iterable[Mapping[str, str | int]]) -> str:
    """Rows as the parameter of a `listed` table. What is absent is null; instants are text, hashes hexadecimal."""
    return as_json(list(rows))


def parse_url(url: str) -> URL:
    """A database URL as SQLAlchemy wants it; raises DatabaseMisusedError if it is none that Scrip can use."""
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
        # libpq takes this name too.
        backend = "postgresql" if backend == "postgres" else backend
        parsed = parsed.set(drivername=_DRIVERS.get(backend, backend))
        parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        # Without the URL, which may have a password.
        raise DatabaseMisusedError(f"That is not a database URL. {_URL_FORMS}") from error
    if backend not in {"sqlite", "postgresql"}:
        raise DatabaseMisusedError(f"{backend} is not an engine Scrip runs on. {_URL_FORMS}")
    if backend == "sqlite" and parsed.database in {None, "", ":memory:"}:
        raise DatabaseMisusedError(f"SQLite in memory would lose what was acknowledged. {_URL_FORMS}")
    return parsed


def shown_url(url: URL) -> str:
    """A database URL as it may be shown: without its password, and without the driver, which is always the same."""
    query = {name: "***" if "pass" in name else value for name, value in url.query.items()}
    return url.set(drivername=url.get_backend_name(), query=query).render_as_string(hide_password=True)


# What an error means is told from the classes of these drivers.
_DRIVERS: Final = {"postgresql": "postgresql+psycopg", "sqlite": "sqlite+pysqlite"}
_URL_FORMS: Final = "Use sqlite:///path/to/file.db or postgresql://user:password@host:5432/database."


def _sqlite_engine(url: URL, *, pool_size: int, begin: str, pragmas: tuple[str, ...] = ()) -> Engine:
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        hide_parameters=True,
        connect_args={"timeout": BUSY_TIMEOUT_S, "isolation_level": None},
    )

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "fullfsync = ON", "cache_size = -65536", *pragmas):
            connection.execute(f"PRAGMA {pragma}")

    # The driver's own BEGIN would come late and without IMMEDIATE, and two readers could then not become writers.
    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _postgresql_engine(url: URL, options: Mapping[str, str], *, pool_size: int) -> Engine:
    settings = " ".join(f"-c {name}={value}" for name, value in options.items())
    defaults = {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "application_name": "scrip",
        # Otherwise it is the environment's or the database's, which may not have every character.
        "client_encoding": "utf8",
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 15_000,
    }
    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        # Errors are logged, and what callers attach to their requests is not for the log.
        hide_parameters=True,
        connect_args={
            **{name: value for name, value in defaults.items() if name not in url.query},
            "options": f"{url.query.get('options', '')} {settings}".strip(),
        },
    )


@contextmanager
def _translated() -> Iterator[None]:
    """Turns the drivers' errors into those that matter; a bug comes through as it is."""
    try:
        yield
    except PoolTimeoutError as error:
        raise DatabaseUnavailableError("all connections are busy") from error
    except (DBAPIError, *_DRIVER_ERRORS) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        if _is_collision(cause):
            raise CollisionError(str(cause)) from error
        if getattr(cause, "sqlite_errorname", None) == "SQLITE_NOTADB":
            raise DatabaseMisusedError("The file is not a database. Choose another file.") from error
        is_lost = isinstance(error, DBAPIError) and error.connection_invalidated
        if is_lost or not _is_bug(cause):
            raise DatabaseUnavailableError(str(cause).strip() or type(cause).__name__) from error
        raise


def _is_collision(cause: BaseException | None) -> bool:
    if isinstance(cause, sqlite3.Error):
        return getattr(cause, "sqlite_errorname", None) in _COLLISION_SQLITE
    return isinstance(cause, psycopg.Error) and cause.sqlstate in _COLLISION_SQLSTATES


def _is_bug(cause: BaseException | None) -> bool:
    if isinstance(cause, sqlite3.Error):
        name = getattr(cause, "sqlite_errorname", None)
        return name is None or name.startswith(_BUG_SQLITE)
    if isinstance(cause, psycopg.Error):
        if cause.sqlstate is None:
            return not isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError)
        return cause.sqlstate.startswith(_BUG_SQLSTATE_CLASSES)
    return True


def fsync_is_on(connection: Connection) -> bool:
    """False where the engine has been told not to wait for the disk, so that an acknowledged operation can be lost."""
    if connection.dialect.name == "sqlite":
        return True
    return str(connection.execute(text("SHOW fsync")).scalar_one()) == "on"
