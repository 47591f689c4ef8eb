"""Every law in tests/scenarios, held against the pure core, both engines, and a server over gRPC."""

import re
from pathlib import Path

import pytest

import scrip
from ledger import Ledger, Reason
from server.config import Settings
from tests.scenario import Law, ScenarioError, laws, parse, run
from tests.targets import GrpcTarget, LedgerTarget, PureTarget, RunningServer

DIRECTORY = Path(__file__).parent / "scenarios"
LAWS = tuple(laws(DIRECTORY))
TARGETS = ("pure", "sqlite", "postgres", "grpc")


def name_of(law: Law) -> str:
    return f"{law.where.split('.')[0]}-{'_'.join(re.findall(r'[a-z0-9]+', law.sentence.lower()))[:80]}"


@pytest.fixture
def pure(clock):
    return PureTarget(clock)


@pytest.fixture
def sqlite(sqlite_url, clock):
    with Ledger(sqlite_url, clock=clock) as ledger:
        yield LedgerTarget(ledger)


@pytest.fixture
def postgres_ledger(postgres_url, clock):
    with Ledger(postgres_url, clock=clock) as ledger:
        yield LedgerTarget(ledger)


@pytest.fixture
def grpc(sqlite_url, clock):
    settings = Settings(database=sqlite_url, listen="127.0.0.1:0", sweep_s=0, drain_s=0)
    with RunningServer(settings, clock) as server, scrip.Client(f"127.0.0.1:{server.port}") as client:
        yield GrpcTarget(client)


@pytest.fixture(params=TARGETS)
def target(request):
    return request.getfixturevalue("postgres_ledger" if request.param == "postgres" else request.param)


@pytest.mark.parametrize("law", LAWS, ids=name_of)
def test_the_law_holds(law, target, clock):
    run(law, target, clock)
