"""What only these tests need."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import structlog

from tests.books import Clock
from tests.conftest import ENGINES, audited
from tests.server.asking import asking
from tests.server.books import Books


@pytest.fixture
def logged(quiet):
    """What is logged while the test runs, as a list of events."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG))
    with structlog.testing.capture_logs() as logged:
        yield logged


@pytest.fixture
def ask(database_url, clock):
    """A server on empty books, once on each engine."""
    with asking(database_url, clock) as ask:
        yield ask


@pytest.fixture
def ask_sqlite(sqlite_url, clock):
    """A server on empty books, for what no engine changes."""
    with asking(sqlite_url, clock) as ask:
        yield ask


@contextmanager
def _misused(url: str) -> Iterator[Books]:
    clock = Clock()
    with audited(url), asking(url, clock) as ask:
        yield Books.written(url, ask, clock)


@pytest.fixture(scope="package")
def sqlite_books(tmp_path_factory):
    """Books to be misused; shared, because nothing may become of what is asked wrongly."""
    with _misused(f"sqlite:///{tmp_path_factory.mktemp('books') / 'scrip.db'}") as books:
        yield books


@pytest.fixture(scope="package")
def postgres_books(postgres):
    """As sqlite_books."""
    with _misused(postgres.create_database()) as books:
        yield books


@pytest.fixture(params=ENGINES)
def books(request):
    """Books to be misused, once on each engine."""
    return request.getfixturevalue(f"{request.param}_books")
