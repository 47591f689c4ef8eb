"""What only these tests need."""

from contextlib import ExitStack

import pytest

from ledger import Ledger, WriterOptions
from tests.faults.batches import Batches
from tests.faults.statements import DEADLOCK, failures
from tests.postgres import Cluster


@pytest.fixture(scope="module")
def cluster():
    """A PostgreSQL server that may be stopped and started."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def batches():
    return Batches()


@pytest.fixture(params=["sqlite", "postgres", "postgres without row locks"])
def open_servers(request):
    """Opens servers of the same books, with writers of the given options: one where there can be only one, else two."""
    engine, _, without_row_locks = request.param.partition(" ")
    url = request.getfixturevalue(f"{engine}_url")
    with ExitStack() as stack, failures() as failed:
        yield lambda **options: [
            stack.enter_context(Ledger(url, options=WriterOptions(**options), row_locks=not without_row_locks))
            for _ in range(1 if engine == "sqlite" else 2)
        ]
    # Nobody ever waits for somebody who waits for him.
    assert [error for error in failed if getattr(error, "sqlstate", None) == DEADLOCK] == []


@pytest.fixture
def servers(open_servers):
    """Servers that write a few operations at a time, so that many transactions meet."""
    return open_servers(batch_max=5, linger_ms=0)
