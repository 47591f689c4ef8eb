"""What only these tests need."""

import pytest
import structlog

from tests.faults.books import Batches
from tests.postgres import Cluster, open_postgres


@pytest.fixture(scope="session")
def postgres():
    with open_postgres() as postgres:
        yield postgres


@pytest.fixture(scope="module")
def cluster():
    """A server that may be stopped and started."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def postgresql_url(postgres):
    url = postgres.create_database()
    yield url
    postgres.drop_database(url)


@pytest.fixture
def sqlite_url(tmp_path):
    return f"sqlite:///{tmp_path}/books.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request):
    """A fresh database, once per engine."""
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture(autouse=True)
def logged():
    """What was logged, instead of printing it."""
    with structlog.testing.capture_logs() as logged:
        yield logged


@pytest.fixture
def batches():
    return Batches()
