"""However operations are cut into batches, each is answered, and the books end, as if it had come alone."""

import threading
from collections import Counter, deque
from concurrent.futures import Future
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
    Batch,
    Ledger,
    OpenAccount,
    WriterOptions,
    deliver,
)
from tests.books import Clock, audit_findings
from tests.model import KINDS, Model
from tests.pure_books import PureBooks
from tests.strategies import STARTS, Chance
from tests.strategies_of_administration import transactions

PATIENCE_S = 60
TENANTS = count(1)
FIRST = OpenAccount(
    request_id="first", account=AccountName(tenant=DEFAULT_TENANT, account_id="first", asset=DEFAULT_ASSET)
)
# What can happen in a run, besides that an operation of each kind is accepted.
TURNS = (
    "replay",
    "refused",
    "an atomic batch was done",
    "an atomic batch was refused",
    "a batch was done in part",
    "a batch was done or refused as a whole",
)


class Batcher:
    """A ledger whose writer takes exactly the transactions that are meant: the next waits when the last is answered."""

    def __init__(self, url):
        self._clock = Clock()
        self._left = deque()
        self._answers = []
        self._over = threading.Event()
        options = WriterOptions(linger_ms=0)
        self.ledger = Ledger(url, clock=self._clock, options=options, deliver_all=self._delivered)
        self.sizes = []

    def __call__(self, transactions):
        """The outcome of each operation, or all those of a batch."""
        self._left.extend(transactions)
        self._answers, self.sizes = [], []
        self._over.clear()
        self.ledger.queue(FIRST)
        assert self._over.wait(PATIENCE_S)
        return [answer.result(0) for answer in self._answers]

    def _delivered(self, outcomes):
        """Runs in the writer's thread, which takes the next transaction when this returns."""
        deliver(outcomes)
        self.sizes.append(len(outcomes))
        if not self._left:
            self._over.set()
            return
        self._clock.now, together = self._left.popleft()
        for work in together:
            self._answers.append(Future())
            self.ledger.submit(work, self._answers[-1])


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


def alone(books, work, now):
    """What is answered when each operation is loaded, settled and decided alone, by the pure core."""
    if not isinstance(work, Batch):
        return books.execute(work, now)
    if work.atomic:
        return books.execute_atomically(work.operations, now)
    return tuple(books.execute(operation, now) for operation in work.operations)


def check(batcher, chance, happened):
    tenant = f"tenant-{next(TENANTS)}"
    assets = {
        name: Asset(tenant=tenant, asset=name, scale=scale, policy=chance.policy())
        for name, scale in ((DEFAULT_ASSET, 0), ("tokens", 6))
    }
    for asset in assets.values():
        batcher.ledger.define_asset(tenant, asset.asset, asset.scale)
        batcher.ledger.configure_asset(tenant, asset.asset, asset.policy)
    accounts = {
        name: tuple(AccountName(tenant=tenant, account_id=account_id, asset=name) for account_id in ("a", "b", "lead"))
        for name in assets
    }
    models = [Model(accounts[name], asset.policy) for name, asset in assets.items()]
    cut = transactions(chance, models, chance.one_of(STARTS))
    books = PureBooks(assets)
    expected = [alone(books, work, now) for now, together in cut for work in together]

    outcomes = batcher(cut)

    assert outcomes == expected
    assert batcher.sizes == [1, *(len(together) for _, together in cut)]
    assert batcher.ledger.audit(tenant).findings == ()
    for account in (account for names in accounts.values() for account in names):
        if books.entries[account.key]:
            written = [entry for entry in batcher.ledger.history(account, 500).entries if entry.recorded_at is not None]
            assert written == books.entries[account.key][::-1]
    for work, outcome in zip((work for _, together in cut for work in together), outcomes, strict=True):
        happened[what_happened(work, outcome)] += 1


def what_happened(work, outcome):
    if isinstance(outcome, Accepted):
        return "replay" if outcome.replayed else outcome.entry.kind.value
    if not isinstance(work, Batch):
        return "refused"
    accepted = {isinstance(one, Accepted) for one in outcome}
    if work.atomic:
        return "an atomic batch was done" if accepted == {True} else "an atomic batch was refused"
    return "a batch was done in part" if len(accepted) == 2 else "a batch was done or refused as a whole"


def run_batches(batcher, least, **how):
    """Makes up batches; fails when any kind of operation was accepted less often than `least` times."""
    happened = Counter()

    # Not shrunk: each example is a minute's reading as it is, and a thousand smaller ones would take half an hour.
    @settings(deadline=None, suppress_health_check=list(HealthCheck), phases=(Phase.generate,), **how)
    @given(number=st.integers(0, 2**32))
    def in_any_cut(number):
        check(batcher, Chance(number), happened)

    in_any_cut()

    kinds = {*KINDS.values(), *TURNS}
    assert {kind: happened[kind] for kind in kinds if happened[kind] < least} == {}


def test_any_cut_into_batches_gives_the_same_books_on_sqlite(sqlite_batcher):
    run_batches(sqlite_batcher, 2, max_examples=70)


def test_any_cut_into_batches_gives_the_same_books_on_postgresql(postgres_batcher):
    run_batches(postgres_batcher, 1, max_examples=25)


@pytest.mark.soak
@pytest.mark.timeout(7_200)
def test_any_cut_into_batches_gives_the_same_books_on_sqlite_for_long(sqlite_batcher):
    run_batches(sqlite_batcher, 200, max_examples=5_000, derandomize=False)


@pytest.mark.soak
@pytest.mark.timeout(7_200)
def test_any_cut_into_batches_gives_the_same_books_on_postgresql_for_long(postgres_batcher):
    run_batches(postgres_batcher, 80, max_examples=2_000, derandomize=False)
