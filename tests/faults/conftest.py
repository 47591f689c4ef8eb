"""What only these tests need."""

import pytest

from tests.faults.batches import Batches
from tests.postgres import Cluster


@pytest.fixture(scope="module")
def cluster():
    """A PostgreSQL server that may be stopped and started."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def batches():
    return Batches()
