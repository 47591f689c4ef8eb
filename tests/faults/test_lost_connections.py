"""At whatever moment the database is lost: nothing acknowledged is lost, nothing is done twice, the ledger goes on."""

import resource
import time
from dataclasses import replace
from datetime import timedelta
from itertools import count

import psycopg
import pytest

from ledger import Accepted, Batch, Ledger, Memo, NotDoneError, Reason, SpendLimit, UpdateAccount, Window
from tests.books import (
    ACME,
    capturing,
    deducting,
    granting,
    holding,
    merging,
    opening,
    refunding,
    releasing,
    request_id,
    transferring,
)
from tests.faults.customers import (
    PATIENCE_S,
    available,
    customers,
    each_times_written,
    one_sided,
    open_accounts,
    operations_of,
)
from tests.faults.statements import COMMIT, before_each, locking
from tests.faults.wire import Loss, Wire

OTHER = customers(1)[0]


@pytest.fixture(params=[True, False], ids=["row locks", "no row locks"])
def row_locks(request):
    return request.param


def prepare(ledger):
    """Two customers, and holds; returns a batch that touches every table and moves credits between accounts."""
    open_accounts(ledger, ACME, OTHER, credits_each=1_000)
    limit = SpendLimit(name="everything", window=Window.ROLLING, length=timedelta(days=1), amount=100_000)
    ledger.execute(UpdateAccount(request_id=request_id(), account=ACME, limits=(limit,)))
    used, *holds = [ledger.execute(operation).entry for operation in (deducting(30), holding(10), holding(10))]
    visitors = count(1)

    def batch():
        nonlocal used
        captured, released = holds
        last = ledger.history(ACME, 1).entries[0].seq
        refunded, used = used, replace(used, seq=last + 2)
        holds[:] = [replace(captured, seq=last + n) for n in (3, 4)]
        visitor = replace(ACME, account_id=f"visitor-{next(visitors)}")
        together = (transferring(3, OTHER, ACME), deducting(1), granting(2, OTHER))
        return [
            granting(50),
            deducting(30),
            holding(10),
            holding(10),
            capturing(captured, 4),
            releasing(released),
            refunding(refunded, 12),
            transferring(20, ACME, OTHER),
            transferring(5, OTHER, ACME),
            opening(visitor),
            granting(7, visitor),
            merging(visitor, ACME),
            Batch(operations=together, atomic=True),
        ]

    return batch


def standing(ledger):
    """What the two customers have."""
    return [available(ledger, name) for name in (ACME, OTHER)]


def standing_after(before):
    # Granted, deducted, captured, refunded, given and received, merged, and what was done together; a hold was
    # captured for 4, one released, and two were placed.
    return [before[0] + 50 - 30 - 4 + 12 - 20 + 5 + 7 + (3 - 1), before[1] + 20 - 5 + (-3 + 2)]


def outcome_of(answer):
    try:
        return answer.result(PATIENCE_S)
    except NotDoneError as error:
        return error


def do(ledger, batches, operations):
    return [outcome_of(answer) for answer in batches.submit_as_one(ledger, operations)]


def flat(outcomes):
    """Each outcome, those of batches too."""
    return [one for outcome in outcomes for one in (outcome if isinstance(outcome, tuple) else (outcome,))]


def assert_each_done_once(ledger, work, outcomes):
    assert all(isinstance(outcome, Accepted) for outcome in flat(outcomes))
    assert each_times_written(ledger, operations_of(work)) == [1] * len(flat(outcomes))


def assert_all_or_nothing_is_written(ledger, work, before):
    """Nothing that was to be written together without the rest, nor one side of a movement without the other."""
    (times,) = set(each_times_written(ledger, operations_of(work)))
    assert standing(ledger) == (standing_after(before) if times else before)
    assert one_sided(str(ledger)) == []


@pytest.mark.parametrize("loss", Loss, ids=[loss.value for loss in Loss])
def test_a_wire_cut_at_any_request_of_a_batch_loses_nothing_and_doubles_nothing(postgres_url, batches, row_locks, loss):
    committed_unheard = 0
    with (
        Wire(postgres_url) as wire,
        Ledger(wire.url, row_locks=row_locks, deliver_all=batches.deliver) as ledger,
        Ledger(postgres_url) as reader,
    ):
        batch = prepare(locking(ledger) if row_locks else ledger)
        for at_request in count(1):
            operations, before = batch(), standing(reader)
            with batches.hold(ledger):
                answers = [ledger.queue(operation) for operation in operations]
                wire.cut(at_request, loss)
            first = [outcome_of(answer) for answer in answers]
            wire.leave_alone()
            if not wire.was_cut:
                break
            assert_all_or_nothing_is_written(reader, operations, before)
            repeated = [ledger.queue(operation) for operation in operations]
            # Time for the repeat to come to where the transaction that is still open keeps it waiting.
            time.sleep(0.02 if loss is Loss.LATE else 0)
            wire.let_the_late_request_arrive()
            repeated = [outcome_of(answer) for answer in repeated]

            assert all(type(outcome) is NotDoneError for outcome in first)
            assert_each_done_once(reader, operations, repeated)
            assert standing(reader) == standing_after(before)
            committed_unheard += all(outcome.replayed for outcome in flat(repeated))

        assert_each_done_once(reader, operations, first)
    assert at_request >= (5 if row_locks else 2)
    # Only the last request, a COMMIT or a statement on its own, can be done without the caller hearing of it.
    assert committed_unheard == (0 if loss is Loss.REQUEST else 1)


def test_a_backend_terminated_before_any_statement_of_a_batch_loses_nothing_and_doubles_nothing(postgres_url, batches):
    left = 0

    def terminate(_server, _statement, connection):
        nonlocal left
        left -= 1
        if left == 0:
            backend = connection.connection.driver_connection.info.backend_pid
            with psycopg.connect(postgres_url, autocommit=True) as other:
                assert other.execute("SELECT pg_terminate_backend(%s, 10000)", [backend]).fetchone() == (True,)

    with Ledger(postgres_url, deliver_all=batches.deliver) as ledger:
        batch = prepare(locking(ledger))
        for at_statement in count(1):
            operations, before = batch(), standing(ledger)
            with before_each(terminate):
                with batches.hold(ledger):
                    answers = [ledger.queue(operation) for operation in operations]
                    left = at_statement
                outcomes = [outcome_of(answer) for answer in answers]
            if left > 0:
                break

            assert all(type(outcome) is NotDoneError for outcome in outcomes)
            assert_all_or_nothing_is_written(ledger, operations, before)
            assert_each_done_once(ledger, operations, do(ledger, batches, operations))

        assert_each_done_once(ledger, operations, outcomes)
    assert at_statement >= 5


def driver(connection):
    return connection.connection.driver_connection


def test_a_sqlite_statement_that_fails_anywhere_in_a_batch_loses_nothing_and_doubles_nothing(sqlite_url, batches):
    left = 0
    failed = []

    def fail(_server, statement, connection):
        nonlocal left
        left -= 1
        if left == 0 and statement != COMMIT:
            failed.append(statement)
            driver(connection).set_progress_handler(lambda: 1, 1)

    with Ledger(sqlite_url, deliver_all=batches.deliver) as ledger:
        batch = prepare(ledger)
        for at_statement in count(1):
            operations, before = batch(), standing(ledger)
            with before_each(fail):
                with batches.hold(ledger):
                    answers = [ledger.queue(operation) for operation in operations]
                    left = at_statement
                outcomes = [outcome_of(answer) for answer in answers]
            if len(failed) < at_statement:
                break

            assert all(type(outcome) is NotDoneError for outcome in outcomes)
            assert_all_or_nothing_is_written(ledger, operations, before)
            with before_each(lambda _server, _statement, connection: driver(connection).set_progress_handler(None, 1)):
                assert_each_done_once(ledger, operations, do(ledger, batches, operations))

        assert_each_done_once(ledger, operations, outcomes)
    assert at_statement >= 5


def test_a_disk_that_takes_nothing_more_at_the_commit_loses_nothing_and_doubles_nothing(sqlite_url, batches):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def refuse_to_grow(_server, statement, _connection):
        if statement == COMMIT:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1, limits[1]))

    with Ledger(sqlite_url, deliver_all=batches.deliver) as ledger:
        operations = prepare(ledger)()
        with before_each(refuse_to_grow):
            try:
                outcomes = do(ledger, batches, operations)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)

        assert all(type(outcome) is NotDoneError for outcome in outcomes)
        assert set(each_times_written(ledger, operations_of(operations))) == {0}
        assert_each_done_once(ledger, operations, do(ledger, batches, operations))


def test_a_full_disk_stops_the_writing_and_nothing_else(sqlite_url):
    def limit(pages):
        return before_each(
            lambda _server, _statement, connection: driver(connection).execute(f"PRAGMA max_page_count={pages}")
        )

    with Ledger(sqlite_url) as ledger:
        open_accounts(ledger, ACME, credits_each=1)
        acknowledged = 1
        with limit(60):
            for _ in range(1_000):
                last = granting(1, memo=Memo(description="#" * 500))
                outcome = outcome_of(ledger.queue(last))
                if isinstance(outcome, NotDoneError):
                    break
                acknowledged += 1

            assert "full" in str(outcome)
            assert isinstance(outcome_of(ledger.queue(last)), NotDoneError)
            assert available(ledger) == acknowledged > 1
            assert ledger.execute(deducting(acknowledged + 1)).reason is Reason.INSUFFICIENT_CREDITS
        with limit(1_000_000):
            assert not ledger.execute(last).replayed

        assert available(ledger) == acknowledged + 1
