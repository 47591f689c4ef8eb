"""However operations are cut into batches, each is answered, and the books end, as if it had come alone."""

import threading
from collections import Counter, deque
from contextlib import contextmanager
from itertools import count

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ledger import (
    DEFAULT_ASSET,
    DEFAULT_TENANT,
    Accepted,
    AccountName,
    Asset,
    Capture,
    Ledger,
    OpenAccount,
    Release,
    WriterOptions,
    deliver,
)
from ledger.decide import decide, settle
from ledger.model import State
from tests import strategies
from tests.books import Clock, audit_findings

PATIENCE_S = 60
TENANTS = count(1)
FIRST = OpenAccount(
    request_id="first", account=AccountName(tenant=DEFAULT_TENANT, account_id="first", asset=DEFAULT_ASSET)
)


class Batcher:
    """A ledger whose writer takes exactly the batches that are meant: the next one waits when the last is answered."""

    def __init__(self, url):
        self._clock = Clock()
        self._left = deque()
        self._answers = []
        self._over = threading.Event()
        options = WriterOptions(linger_ms=0)
        self.ledger = Ledger(url, clock=self._clock, options=options, deliver_all=self._delivered)
        self.sizes = []

    def __call__(self, batches):
        """The outcome of each operation."""
        self._left.extend(batches)
        self._answers, self.sizes = [], []
        self._over.clear()
        self.ledger.queue(FIRST)
        assert self._over.wait(PATIENCE_S)
        return [answer.result(0) for answer in self._answers]

    def _delivered(self, outcomes):
        """Runs in the writer's thread, which takes the next batch when this returns."""
        deliver(outcomes)
        self.sizes.append(len(outcomes))
        if not self._left:
            self._over.set()
            return
        self._clock.now, operations = self._left.popleft()
        self._answers += [self.ledger.queue(operation) for operation in operations]


@contextmanager
def batcher_on(url):
    batcher = Batcher(url)
    with batcher.ledger:
        yield batcher
    assert audit_findings(url) == []


@pytest.fixture(scope="module")
def sqlite_batcher(tmp_path_factory):
    with batcher_on(f"sqlite:///{tmp_path_factory.mktemp('batches') / 'scrip.db'}") as batcher:
        yield batcher


@pytest.fixture(scope="module")
def postgres_batcher(postgres):
    with batcher_on(postgres.create_database()) as batcher:
        yield batcher


def one_by_one(batches, assets):
    """What each operation is answered when each is decided alone, by the pure core; and all entries by account."""
    states, entries, outcomes = {}, {}, []
    for now, operations in batches:
        for operation in operations:
            state = states.setdefault(operation.key, State())
            if not isinstance(operation, Capture | Release):
                state.asset = assets[operation.account.asset]
            postings = [] if state.account is None else [settle(state, now)]
            for posting in postings:
                state.apply(posting)
            outcome = decide(state, operation, now)
            if isinstance(outcome, Accepted) and outcome.posting is not None:
                state.apply(outcome.posting)
                postings.append(outcome.posting)
            for posting in postings:
                entries.setdefault(operation.key, []).extend(posting.entries)
            outcomes.append(outcome)
    return outcomes, entries


def check(batcher, data, happened):
    tenant = f"tenant-{next(TENANTS)}"
    assets = {
        asset: Asset(tenant=tenant, asset=asset, scale=scale) for asset, scale in ((DEFAULT_ASSET, 0), ("tokens", 6))
    }
    batcher.ledger.define_asset(tenant, "tokens", 6)
    names = [("acme", DEFAULT_ASSET), ("acme", "tokens"), ("bolt", DEFAULT_ASSET)]
    accounts = [AccountName(tenant=tenant, account_id=account_id, asset=asset) for account_id, asset in names]
    batches = data.draw(strategies.batches(accounts))
    expected, entries = one_by_one(batches, assets)

    outcomes = batcher(batches)

    assert outcomes == expected
    assert batcher.sizes == [1, *(len(operations) for _, operations in batches)]
    assert batcher.ledger.audit(tenant).findings == ()
    for account in accounts:
        if account.key in entries:
            written = [entry for entry in batcher.ledger.history(account, 500).entries if entry.recorded_at is not None]
            assert written == entries[account.key][::-1]
    for outcome in outcomes:
        happened[outcome.entry.kind.value if isinstance(outcome, Accepted) else "refused"] += 1
        happened["replay"] += isinstance(outcome, Accepted) and outcome.replayed


def run_batches(batcher, least, **how):
    """Makes up batches; fails when any kind of operation was accepted less often than `least` times."""
    happened = Counter()

    # Not shrunk: each example is a minute's reading as it is, and a thousand smaller ones would take half an hour.
    @settings(deadline=None, suppress_health_check=list(HealthCheck), phases=(Phase.generate,), **how)
    @given(data=st.data())
    def in_any_cut(data):
        check(batcher, data, happened)

    in_any_cut()

    kinds = ("open", "grant", "deduct", "hold", "capture", "release", "replay", "refused")
    assert {kind: happened[kind] for kind in kinds if happened[kind] < least} == {}


def test_any_cut_into_batches_gives_the_same_books_on_sqlite(sqlite_batcher):
    run_batches(sqlite_batcher, 8, max_examples=40)


def test_any_cut_into_batches_gives_the_same_books_on_postgresql(postgres_batcher):
    run_batches(postgres_batcher, 3, max_examples=20)


@pytest.mark.soak
def test_any_cut_into_batches_gives_the_same_books_on_sqlite_for_long(sqlite_batcher):
    run_batches(sqlite_batcher, 500, max_examples=5_000, derandomize=False)


@pytest.mark.soak
def test_any_cut_into_batches_gives_the_same_books_on_postgresql_for_long(postgres_batcher):
    run_batches(postgres_batcher, 200, max_examples=2_000, derandomize=False)
