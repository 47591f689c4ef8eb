"""What is written beside a batch's operations is written with them or not at all, and disturbs no neighbour."""

import threading
from concurrent.futures import Future

import pytest
from sqlalchemy import insert

from ledger import Asset, AssetPolicy, Batch, IncidentError, Ledger, MalformedError, Refused, WriterOptions
from ledger.database import CollisionError
from ledger.rows import asset_row
from ledger.tables import assets
from ledger.writer import StaleError
from tests.books import ACME, deducting, granting

PATIENCE_S = 60
AUTO_OPEN = AssetPolicy(auto_open=True)


@pytest.fixture
def ledger(database_url, clock):
    with Ledger(database_url, clock=clock, options=WriterOptions(linger_ms=5)) as ledger:
        ledger.configure_asset(ACME.tenant, ACME.asset, AUTO_OPEN)
        ledger.execute(granting(100))
        yield ledger


def recording(name):
    def record(connection, _outcomes):
        connection.execute(insert(assets).values(asset_row(Asset(tenant="default", asset=name, scale=0))))

    return record


def queued(ledger, *operations, also):
    answer = Future()
    ledger.submit(Batch(operations=operations, atomic=True, also=also), answer)
    return answer


def done(ledger, *operations, also):
    return queued(ledger, *operations, also=also).result(PATIENCE_S)


def records(ledger):
    return {asset.asset for asset in ledger.assets("default")} - {"credits"}


def available(ledger):
    return ledger.balances("default", "acme").balances[0].available


def test_records_are_kept_with_the_operations_and_know_their_outcomes(ledger):
    told = []

    def also(connection, outcomes):
        told.extend(outcomes)
        recording("kept")(connection, outcomes)

    outcomes = done(ledger, deducting(30), also=also)

    assert list(outcomes) == told
    assert (available(ledger), records(ledger)) == (70, {"kept"})


def test_records_can_be_kept_without_any_operation(ledger):
    assert done(ledger, also=recording("alone")) == ()

    assert (available(ledger), records(ledger)) == (100, {"alone"})


def test_nothing_is_written_if_the_records_are_stale(ledger):
    def stale(connection, outcomes):
        recording("lost")(connection, outcomes)
        raise StaleError("someone was faster")

    with pytest.raises(StaleError):
        done(ledger, deducting(30), also=stale)

    assert (available(ledger), records(ledger)) == (100, set())


def test_a_crash_beside_the_operations_is_an_incident_and_nothing_is_written(ledger):
    def crash(connection, outcomes):
        recording("lost")(connection, outcomes)
        raise ZeroDivisionError

    with pytest.raises(IncidentError):
        done(ledger, deducting(30), also=crash)
    with pytest.raises(IncidentError):
        done(ledger, also=crash)

    assert (available(ledger), records(ledger)) == (100, set())


def test_no_record_is_kept_of_operations_that_are_refused(ledger):
    outcomes = done(ledger, deducting(30), deducting(100), also=recording("never"))

    assert all(isinstance(outcome, Refused) for outcome in outcomes)
    assert (available(ledger), records(ledger)) == (100, set())


def test_operations_that_were_done_before_may_have_records_kept_beside_them(ledger):
    operation = deducting(30)
    ledger.execute(operation)

    (outcome,) = done(ledger, operation, also=recording("late"))

    assert outcome.replayed
    assert (available(ledger), records(ledger)) == (70, {"late"})


def test_a_batch_whose_records_collide_is_done_again_and_once(ledger):
    turns = iter([True, True, False])

    def collides(connection, outcomes):
        recording("once")(connection, outcomes)
        if next(turns):
            raise CollisionError

    done(ledger, deducting(30), also=collides)

    assert (available(ledger), records(ledger)) == (70, {"once"})


def test_neighbours_in_the_queue_share_neither_transaction_nor_fate(ledger):
    reached, go_on = threading.Event(), threading.Event()

    def hold_the_writer(_connection, _outcomes):
        reached.set()
        assert go_on.wait(PATIENCE_S)

    def stale(_connection, _outcomes):
        raise StaleError("someone was faster")

    first = queued(ledger, also=hold_the_writer)
    assert reached.wait(PATIENCE_S)
    before = ledger.queue(deducting(1))
    failing = queued(ledger, deducting(10), also=stale)
    between = [ledger.queue(deducting(1)) for _ in range(3)]
    kept = queued(ledger, deducting(20), also=recording("kept"))
    after = ledger.queue(deducting(1))
    go_on.set()

    with pytest.raises(StaleError):
        failing.result(PATIENCE_S)
    for answer in (first, before, *between, kept, after):
        answer.result(PATIENCE_S)
    assert (available(ledger), records(ledger)) == (75, {"kept"})


def test_only_batches_of_all_or_nothing_can_have_records():
    with pytest.raises(TypeError):
        Batch(operations=(deducting(1),), also=recording("never"))
    with pytest.raises(MalformedError):
        Batch(operations=(), atomic=True)
