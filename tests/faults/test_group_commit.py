"""Many operations share a transaction, and none of them can tell."""

import threading
import time
from concurrent.futures import Future

import pytest

from ledger import (
    Accepted,
    Batch,
    Capture,
    DeadlinePassedError,
    Deduct,
    Ledger,
    QueueFullError,
    Reason,
    StoppingError,
    WriterOptions,
    writer,
)
from ledger.writer import ENOUGH, patience
from tests.books import ACME, deducting, granting, holding, request_id
from tests.faults.customers import (
    NOBODY,
    PATIENCE_S,
    available,
    each_times_written,
    history,
    open_accounts,
    times_written,
)
from tests.faults.statements import COMMIT, ENTRIES, Gate, before_each, locking, named, wait_until_queued

AN_HOUR_S = 3_600


@pytest.fixture
def opened(database_url, batches):
    """Opens books, in which acme has 100 credits, with a writer of the given options."""
    ledgers = []

    def opened(**options):
        with Ledger(database_url) as ledger:
            open_accounts(ledger, ACME, credits_each=100)
        ledgers.append(Ledger(database_url, options=WriterOptions(**options), deliver_all=batches.deliver))
        ledgers[0].open()
        return ledgers[0]

    yield opened
    for ledger in ledgers:
        ledger.close()


@pytest.fixture
def writes():
    """Grows by one with each statement of a writer that writes entries."""
    writes = []
    with before_each(lambda _server, statement, _: writes.append(statement) if ENTRIES in statement else None):
        yield writes


def results(answers):
    return [answer.result(PATIENCE_S) for answer in answers]


def test_a_refusal_leaves_its_neighbours_alone_and_all_share_one_transaction(opened, batches, writes):
    ledger = opened()
    writes.clear()

    outcomes = results(
        batches.submit_as_one(
            ledger, [deducting(60), deducting(60), deducting(1, NOBODY), granting(30), deducting(60), deducting(11)]
        )
    )

    said = [o.entry.available if isinstance(o, Accepted) else o.reason for o in outcomes]
    assert said == [
        40,
        Reason.INSUFFICIENT_CREDITS,
        Reason.ACCOUNT_NOT_FOUND,
        70,
        10,
        Reason.INSUFFICIENT_CREDITS,
    ]
    assert outcomes[1].figures["available"] == 40
    assert outcomes[5].figures["available"] == 10
    assert len(writes) == 1


def test_a_batch_of_refusals_writes_nothing(opened, batches, writes):
    ledger = opened()
    writes.clear()

    outcomes = results(batches.submit_as_one(ledger, [deducting(101), deducting(1, NOBODY)]))

    assert not any(isinstance(outcome, Accepted) for outcome in outcomes)
    assert writes == []


def test_one_request_twice_in_a_batch_has_one_effect(opened, batches):
    ledger = opened()
    asked = deducting(60)
    other = Deduct(request_id=asked.request_id, account=ACME, amount=1)

    first, second, reused = results(batches.submit_as_one(ledger, [asked, asked, other]))

    assert (first.replayed, second.replayed) == (False, True)
    assert first.entry == second.entry
    assert reused.reason is Reason.REQUEST_ID_REUSED
    assert reused.figures["fields"] == "amount"
    assert times_written(ledger, asked) == 1
    assert available(ledger) == 40


def test_a_hold_may_be_placed_and_captured_in_one_batch(opened, batches):
    ledger = opened()
    capture = Capture(request_id=request_id(), tenant=ACME.tenant, key=ACME.key, hold=3, amount=25)

    held, captured = results(batches.submit_as_one(ledger, [holding(60), capture]))

    assert (held.entry.available, held.entry.held) == (40, 60)
    assert (captured.entry.available, captured.entry.held) == (75, 0)


def test_an_atomic_batch_that_is_refused_leaves_its_neighbours_alone_and_nothing_of_itself(opened, batches, writes):
    ledger = opened()
    writes.clear()
    together = Batch(operations=(deducting(30), granting(5), deducting(90), granting(500)), atomic=True)

    before, refused, after = results(batches.submit_as_one(ledger, [deducting(10), together, deducting(20)]))

    assert (before.entry.available, after.entry.available) == (90, 70)
    assert len(refused) == 4
    assert {(outcome.reason, outcome.figures["operation"], outcome.figures["available"]) for outcome in refused} == {
        (Reason.INSUFFICIENT_CREDITS, 2, 65)
    }
    assert each_times_written(ledger, together.operations) == [0] * 4
    assert len(writes) == 1


def test_an_account_sees_operations_in_the_order_in_which_they_came_batched_or_not(opened, batches):
    ledger = opened()
    works = [deducting(1), Batch(operations=(deducting(2), deducting(3))), deducting(4)]
    works += [Batch(operations=(deducting(5), deducting(6)), atomic=True), deducting(7)]

    results(batches.submit_as_one(ledger, works))

    assert [entry.used for entry in history(ledger)[-7:]] == [1, 2, 3, 4, 5, 6, 7]


def test_one_request_twice_in_an_atomic_batch_has_one_effect(opened):
    ledger = opened()
    asked = deducting(60)
    other = Deduct(request_id=asked.request_id, account=ACME, amount=1)

    first, second = ledger.execute_batch([asked, asked], atomic=True)
    reused = ledger.execute_batch([granting(5), asked, other], atomic=True)

    assert (first.replayed, second.replayed) == (False, True)
    assert {(outcome.reason, outcome.figures["operation"]) for outcome in reused} == {(Reason.REQUEST_ID_REUSED, 2)}
    assert available(ledger) == 40


def test_a_batch_asked_for_again_has_one_effect(opened):
    ledger = opened()
    asked = [deducting(10), granting(5), deducting(500)]

    first, again = ledger.execute_batch(asked), ledger.execute_batch(asked)

    assert [getattr(outcome, "replayed", outcome) for outcome in first[:2]] == [False, False]
    assert [getattr(outcome, "replayed", outcome) for outcome in again[:2]] == [True, True]
    assert first[2].reason is again[2].reason is Reason.INSUFFICIENT_CREDITS
    assert available(ledger) == 95


def test_nobody_is_answered_before_the_commit(opened, batches):
    ledger = locking(opened())
    gate = Gate("", COMMIT)

    with before_each(gate):
        answers = batches.submit_as_one(ledger, [deducting(1), deducting(101)])
        gate.wait_until_reached()
        answered_before = [answer.done() for answer in answers]
        gate.open()
        results(answers)

    assert answered_before == [False, False]


def test_whose_deadline_passes_or_who_goes_before_the_decision_gets_nothing_written(opened, batches):
    ledger = opened()
    late, gone, neighbour = deducting(10), deducting(20), deducting(30)
    late_answer = Future()

    with batches.hold(ledger):
        ledger.submit(late, late_answer, deadline=time.monotonic())
        gone_answer = ledger.queue(gone)
        gone_answer.cancel()
        neighbour_answer = ledger.queue(neighbour)

    assert neighbour_answer.result(PATIENCE_S).entry.available == 70
    assert isinstance(late_answer.exception(PATIENCE_S), DeadlinePassedError)
    assert times_written(ledger, late) == times_written(ledger, gone) == 0


def test_a_batch_that_everyone_has_given_up_writes_nothing(opened, batches, writes):
    ledger = opened()
    writes.clear()

    with batches.hold(ledger):
        ledger.queue(deducting(10)).cancel()
    ledger.close()

    assert batches.sizes == [1]
    assert writes == []


def test_whose_deadline_passes_or_who_goes_after_the_decision_has_it_written(opened, batches):
    ledger = locking(opened())
    gate = Gate("", COMMIT)
    late, gone = deducting(10), deducting(20)
    late_answer = Future()
    deadline = time.monotonic() + 0.5

    with before_each(gate):
        with batches.hold(ledger):
            ledger.submit(late, late_answer, deadline)
            gone_answer = ledger.queue(gone)
        gate.wait_until_reached()
        gone_answer.cancel()
        time.sleep(max(0, deadline - time.monotonic()))
        gate.open()

        assert late_answer.result(PATIENCE_S).entry.available == 90
    assert times_written(ledger, gone) == 1
    assert available(ledger) == 70


def test_whose_deadline_passes_while_another_server_has_the_account_gets_nothing_written(postgres_url):
    gate = Gate("first", ENTRIES)
    late, answer = deducting(20), Future()
    with Ledger(named(postgres_url, "first")) as first, Ledger(named(postgres_url, "second")) as second:
        open_accounts(locking(first), ACME, credits_each=100)
        locking(second)

        with before_each(gate):
            in_time = first.queue(deducting(10))
            gate.wait_until_reached()
            deadline = time.monotonic() + 0.5
            second.submit(late, answer, deadline)
            wait_until_queued(postgres_url, "second")
            time.sleep(max(0, deadline - time.monotonic()))
            gate.open()

            assert in_time.result(PATIENCE_S).entry.available == 90
            assert isinstance(answer.exception(PATIENCE_S), DeadlinePassedError)
        assert times_written(first, late) == 0


def test_a_full_queue_says_so_at_once_and_what_waits_is_done(opened, batches):
    ledger = opened(queue_max=5)

    with batches.hold(ledger):
        waiting = [ledger.queue(deducting(1)) for _ in range(5)]
        with pytest.raises(QueueFullError) as full:
            ledger.queue(deducting(1))

    assert full.value.queue_max == 5
    assert all(isinstance(outcome, Accepted) for outcome in results(waiting))
    assert available(ledger) == 95
    assert isinstance(ledger.execute(deducting(1)), Accepted)


def test_what_waits_is_counted_in_operations(opened, batches):
    ledger = opened(queue_max=5)

    for _ in range(2):
        with batches.hold(ledger):
            four = Batch(operations=tuple(deducting(1) for _ in range(4)))
            waiting = [ledger.queue(deducting(1)), ledger.queue(four)]
            for asked in (deducting(1), Batch(operations=(deducting(1),))):
                with pytest.raises(QueueFullError):
                    ledger.queue(asked)
        results(waiting)

    assert available(ledger) == 90
    assert len(ledger.execute_batch([deducting(1) for _ in range(10)])) == 10


def test_a_batch_is_dropped_as_a_whole_when_its_deadline_has_passed(opened, batches):
    ledger = opened()
    for atomic in (False, True):
        late, answer = Batch(operations=(deducting(10), deducting(20)), atomic=atomic), Future()

        with batches.hold(ledger):
            ledger.submit(late, answer, deadline=time.monotonic())
            neighbour = ledger.queue(deducting(30))

        assert isinstance(neighbour.result(PATIENCE_S), Accepted)
        assert isinstance(answer.exception(PATIENCE_S), DeadlinePassedError)
        assert each_times_written(ledger, late.operations) == [0, 0]


def test_stopping_finishes_what_waits_and_takes_nothing_more(opened, batches):
    ledger = opened(batch_max=2)

    with batches.hold(ledger):
        waiting = [ledger.queue(deducting(1)) for _ in range(5)]
        stopping = threading.Thread(target=ledger.close)
        stopping.start()
        refused = refused_once_stopping(ledger)
    stopping.join(PATIENCE_S)

    assert [outcome.entry.available for outcome in results(waiting)] == [99, 98, 97, 96, 95]
    assert batches.sizes == [2, 2, 1]
    assert isinstance(refused, StoppingError)


def refused_once_stopping(ledger):
    """What an operation is refused with; asked with one that is given up already, until it is refused."""
    while True:
        given_up = Future()
        given_up.cancel()
        try:
            ledger.submit(deducting(1), given_up)
        except StoppingError as error:
            return error
        time.sleep(0.001)


def test_a_batch_has_at_most_batch_max_operations_in_order_of_arrival(opened, batches):
    ledger = opened(batch_max=10)

    outcomes = results(batches.submit_as_one(ledger, [deducting(1) for _ in range(25)]))

    assert batches.sizes == [10, 10, 5]
    assert [outcome.entry.available for outcome in outcomes] == list(range(99, 74, -1))


def test_a_transaction_has_at_most_batch_max_operations_or_one_batch(opened, batches):
    ledger = opened(batch_max=10)
    sizes = (4, 6, 1, 10, 25, 3)

    results(
        batches.submit_as_one(
            ledger, [Batch(operations=tuple(deducting(1) for _ in range(size)), atomic=True) for size in sizes]
        )
    )

    # In order of arrival: 4 and 6 share one, and what does not fit waits for the next.
    assert batches.sizes == [2, 1, 1, 1, 1]
    assert available(ledger) == 100 - sum(sizes)


@pytest.mark.parametrize(
    ("load", "took_s", "expected"),
    [
        (0, 0.0, (0, 0.0)),
        (1, 0.003, (1, 0.006)),
        (2, 0.003, (2, 0.006)),
        (ENOUGH, 0.003, (ENOUGH, 0.006)),
        (ENOUGH + 1, 0.003, (ENOUGH, 0.006)),
        (1_000, 0.5, (ENOUGH, 0.025)),
    ],
)
def test_the_writer_waits_for_as_many_as_came_but_not_long_and_not_for_more_than_help(load, took_s, expected):
    assert patience(load, took_s, 25) == expected


def test_without_lingering_nothing_is_waited_for():
    assert patience(1_000, 0.5, 0)[1] == 0


@pytest.fixture
def patient(monkeypatch):
    """A writer that waits for an hour for as many calls as the last batch had."""
    monkeypatch.setattr(writer, "patience", lambda load, *_: (load, AN_HOUR_S))


def test_the_writer_does_not_wait_for_more_than_fits_into_one_transaction(opened, batches, patient):
    ledger = opened(batch_max=10)
    results(batches.submit_as_one(ledger, [deducting(1) for _ in range(5)]))

    answer = ledger.queue(Batch(operations=tuple(deducting(1) for _ in range(10))))

    assert len(answer.result(PATIENCE_S)) == 10


def test_a_lone_caller_never_lingers(opened, batches, patient):
    ledger = opened()

    # If the writer lingered even once, this would take an hour.
    for _ in range(5):
        ledger.queue(deducting(1)).result(PATIENCE_S)

    assert batches.sizes == [1] * 5


def test_under_load_the_writer_waits_for_as_many_as_came_last_time(opened, batches, patient):
    ledger = opened()
    results(batches.submit_as_one(ledger, [deducting(1) for _ in range(5)]))
    batches.sizes.clear()

    results([ledger.queue(deducting(1)) for _ in range(5)])

    assert batches.sizes == [5]


def test_lingering_ends_with_its_time(opened, batches, monkeypatch):
    monkeypatch.setattr(writer, "patience", lambda load, *_: (load, 0.02))
    ledger = opened()
    results(batches.submit_as_one(ledger, [deducting(1) for _ in range(5)]))

    answer = ledger.queue(deducting(1))

    assert answer.result(PATIENCE_S).entry.available == 94


def test_lingering_ends_with_stopping(opened, batches, patient):
    ledger = opened()
    results(batches.submit_as_one(ledger, [deducting(1) for _ in range(5)]))
    answer = ledger.queue(deducting(1))

    ledger.close()

    assert answer.result().entry.available == 94
