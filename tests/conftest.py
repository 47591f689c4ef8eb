"""Fixtures that tests share: an empty database on each engine, audited afterwards; books on it; a clock that is set."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import psycopg
import pytest
import structlog
from hypothesis import settings
from sqlalchemy import delete

from ledger import Ledger, WriterOptions, migrate_database
from ledger.tables import metadata
from tests.books import Clock, audit_findings
from tests.postgres import open_postgres

# The same examples on every run, so that a failure is never a matter of luck; `make soak` looks further.
settings.register_profile("scrip", derandomize=True, deadline=None, database=None, print_blob=True)
settings.load_profile("scrip")

ENGINES = ("sqlite", "postgres")
EMPTY = [str(delete(table)) for table in metadata.sorted_tables]


def drop(*_: object) -> NoReturn:
    """Where every event of the log goes."""
    raise structlog.DropEvent


@pytest.fixture(autouse=True, scope="session")
def quiet():
    """Nothing is logged; a test that looks at the log uses structlog's capture_logs."""
    structlog.configure(processors=[drop])


@pytest.fixture(autouse=True)
def still_quiet():
    """Whatever a test has configured."""
    yield
    structlog.configure(processors=[drop])


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL server. If there is none, the tests that need one fail, and say what to do."""
    with open_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_postgres_url(postgres):
    """One database for all tests that leave its schema alone; each finds it empty."""
    url = postgres.create_database()
    migrate_database(url)
    return url


@contextmanager
def audited(url: str) -> Iterator[str]:
    """Audits all books in the database when the block ends."""
    yield url
    assert audit_findings(url) == []


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory):
    """An empty SQLite database, to be copied."""
    path = tmp_path_factory.mktemp("migrated") / "scrip.db"
    migrate_database(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(tmp_path, migrated_file):
    """An empty SQLite database, audited afterwards."""
    path = shutil.copyfile(migrated_file, tmp_path / "scrip.db")
    with audited(f"sqlite:///{path}") as url:
        yield url


@pytest.fixture
def postgres_url(migrated_postgres_url):
    """An empty PostgreSQL database, audited afterwards."""
    with psycopg.connect(migrated_postgres_url, autocommit=True) as connection:
        connection.execute("; ".join(EMPTY))
    with audited(migrated_postgres_url) as url:
        yield url


@pytest.fixture(params=ENGINES)
def database_url(request):
    """An empty database, once on each engine, audited afterwards."""
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def clock():
    """A clock that stands at the beginning of 2026 until it is set."""
    return Clock()


@pytest.fixture
def ledger(database_url, clock):
    """Empty books, once on each engine."""
    with Ledger(database_url, clock=clock, options=WriterOptions(linger_ms=0)) as ledger:
        yield ledger
