"""What only these tests need."""

import logging

import pytest
import structlog

from tests.faults.batches import Batches
from tests.postgres import Cluster


@pytest.fixture(scope="module")
def cluster():
    """A PostgreSQL server that may be stopped and started."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def logged(quiet):
    """What is logged while the test runs, as a list of events."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG))
    with structlog.testing.capture_logs() as logged:
        yield logged


@pytest.fixture
def batches():
    return Batches()
