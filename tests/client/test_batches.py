"""Many changes in one call."""

import grpc
import pytest
import scrip
from google.protobuf.duration_pb2 import Duration
from scrip import calls
from scrip.v1 import credit_service_pb2 as credit
from scrip.v1 import errors_pb2 as errors

from tests.client.examples import ADMINISTRATION, CREDITS
from tests.client.examples_of_prices import USAGE
from tests.client.scripted import UNAVAILABLE, error

GRANTED = credit.GrantResponse(entry_id="en_1", lot_id="lt_1")
TOO_LITTLE = errors.Error(
    code=9,
    reason="INSUFFICIENT_CREDITS",
    message="Account acme has 40 credits available; this needs 60.",
    metadata={"available": "40", "shortfall": "20"},
)
CHANGES = {
    name: example
    for name, example in (CREDITS | ADMINISTRATION | USAGE).items()
    if type(example[1]).__name__ != "CheckRequest" and not example[1].preview
}


def pair():
    return [
        calls.grant("acme", 40, "free", request_id="r-1"),
        calls.check_and_deduct("acme", 60, request_id="r-2"),
    ]


def test_each_change_of_a_batch_has_its_own_outcome_in_order(way, script, target):
    script.answer(
        "Batch",
        credit.BatchResponse(outcomes=[credit.BatchOutcome(grant=GRANTED), credit.BatchOutcome(error=TOO_LITTLE)]),
    )

    granted, refused = way.ask(target, lambda client: client.batch(pair()))

    first, second = pair()
    assert granted == GRANTED
    assert type(refused) is scrip.InsufficientCredits
    assert str(refused) == "Account acme has 40 credits available; this needs 60."
    assert (refused.code, refused.available, refused.shortfall) == (grpc.StatusCode.FAILED_PRECONDITION, 40, 20)
    assert refused.request_id == "r-2"
    assert script.requests("Batch") == [
        credit.BatchRequest(
            operations=[
                credit.BatchOperation(grant=first.request),
                credit.BatchOperation(check_and_deduct=second.request),
            ]
        )
    ]


@pytest.mark.parametrize(("do", "request_", "response", "answer"), CHANGES.values(), ids=CHANGES)
def test_every_change_can_be_part_of_a_batch_and_is_answered_as_alone(
    script, target, *, do, request_, response, answer
):
    field = next(f.name for f in credit.BatchOperation.DESCRIPTOR.fields if f.message_type == request_.DESCRIPTOR)
    script.answer("Batch", credit.BatchResponse(outcomes=[credit.BatchOutcome(**{field: response})]))

    with scrip.Client(target) as client:
        outcomes = client.batch([do(calls)])

    assert outcomes == (answer,)
    assert script.requests("Batch")[0].operations == [credit.BatchOperation(**{field: request_})]


def test_the_changes_that_have_examples_are_all_there_are():
    shown = {type(request).__name__ for _, request, _, _ in CHANGES.values()} | {"HoldRequest"}

    assert shown == {field.message_type.name for field in credit.BatchOperation.DESCRIPTOR.fields}


def test_a_hold_in_a_batch_is_answered_with_the_response(way, script, target):
    held = credit.HoldResponse(hold_id="hd_1")
    script.answer("Batch", credit.BatchResponse(outcomes=[credit.BatchOutcome(hold=held)]))

    assert way.ask(target, lambda client: client.batch([calls.hold("acme", 60)])) == (held,)


def test_an_atomic_batch_raises_the_error_of_the_culprit_and_says_which_it_was(way, script, target):
    script.answer(
        "Batch",
        error(grpc.StatusCode.FAILED_PRECONDITION, "INSUFFICIENT_CREDITS", available="40", operation="1"),
    )

    with pytest.raises(scrip.InsufficientCredits) as caught:
        way.ask(target, lambda client: client.batch(pair(), atomic=True))

    assert caught.value.operation == 1
    assert caught.value.request_id == "r-2"
    assert caught.value.available == 40
    assert script.requests("Batch")[0].atomic


def test_an_atomic_batch_says_which_of_its_changes_is_malformed(way, script, target):
    script.answer(
        "Batch",
        error(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", field="operations[1].amount", must="must be 1."),
    )

    with pytest.raises(scrip.InvalidField) as caught:
        way.ask(target, lambda client: client.batch(pair(), atomic=True))

    assert caught.value.operation == 1
    assert caught.value.request_id == "r-2"


def test_a_batch_is_previewed_as_a_whole(way, script, target):
    script.answer("Batch", credit.BatchResponse(outcomes=[credit.BatchOutcome(grant=GRANTED)]))

    way.ask(target, lambda client: client.batch([calls.grant("acme", 1, "free")], preview=True))

    (request,) = script.requests("Batch")
    assert request.preview
    assert not request.operations[0].grant.preview


def test_an_outcome_says_what_its_own_call_would_have_raised(way, script, target):
    script.answer(
        "Batch",
        credit.BatchResponse(
            outcomes=[
                credit.BatchOutcome(
                    error=errors.Error(
                        code=3,
                        reason="INVALID_FIELD",
                        message="amount is 0.",
                        metadata={"field": "amount", "must": "1."},
                        violations=[errors.FieldViolation(field="amount", description="amount must be 1.")],
                    )
                ),
                credit.BatchOutcome(
                    error=errors.Error(
                        code=8, reason="QUEUE_FULL", message="Wait.", retry_delay=Duration(nanos=100_000_000)
                    )
                ),
            ]
        ),
    )

    malformed, waits = way.ask(target, lambda client: client.batch(pair()))

    assert type(malformed) is scrip.InvalidField
    assert malformed.violations == (scrip.FieldViolation(field="amount", description="amount must be 1."),)
    assert malformed.retry_after_s is None
    assert type(waits) is scrip.QueueFull
    assert waits.retry_after_s == pytest.approx(0.1)


def test_an_outcome_with_a_reason_of_a_newer_server_falls_back_to_the_code(way, script, target):
    outcomes = [
        credit.BatchOutcome(error=errors.Error(code=5, reason="FLUX_CAPACITOR_EMPTY", message="It is empty.")),
        credit.BatchOutcome(error=errors.Error(code=99, message="It is odd.")),
    ]
    script.answer("Batch", credit.BatchResponse(outcomes=outcomes))

    newer, odd = way.ask(target, lambda client: client.batch(pair()))

    assert (type(newer), newer.reason_name) == (scrip.NotFound, "FLUX_CAPACITOR_EMPTY")
    assert (type(odd), odd.code) == (scrip.ScripError, grpc.StatusCode.UNKNOWN)


def test_a_batch_that_finds_the_server_unavailable_is_repeated_as_it_is(way, script, target):
    done = credit.BatchResponse(
        outcomes=[credit.BatchOutcome(grant=GRANTED), credit.BatchOutcome(check_and_deduct={"entry_id": "en_2"})]
    )
    script.answer("Batch", UNAVAILABLE, UNAVAILABLE, done)

    outcomes = way.ask(target, lambda client: client.batch(pair()))

    assert [outcome.entry_id for outcome in outcomes] == ["en_1", "en_2"]
    assert len({request.SerializeToString() for request in script.requests("Batch")}) == 1
    assert len(script.asked) == 3


def test_a_large_batch_is_repeated_too(way, script, target):
    made = [calls.grant(f"customer-{n}", 1, "free", description="x" * 450) for n in range(1000)]
    script.answer("Batch", UNAVAILABLE, credit.BatchResponse(outcomes=[credit.BatchOutcome(grant=GRANTED)] * 1000))

    outcomes = way.ask(target, lambda client: client.batch(made))

    assert outcomes == (GRANTED,) * 1000
    assert script.requests("Batch")[0].ByteSize() > 256 * 1024
    assert len(script.asked) == 2


def test_a_batch_that_stays_without_an_answer_is_repeated_with_the_same_calls(way, script, target):
    made = pair()
    script.answer("Batch", *[error(grpc.StatusCode.DEADLINE_EXCEEDED)] * 2)

    for _ in range(2):
        with pytest.raises(scrip.DeadlineExceeded, match="repeat it with the same request_ids") as caught:
            way.ask(target, lambda client: client.batch(made))
        assert caught.value.request_id is None

    assert script.requests("Batch")[0] == script.requests("Batch")[1]


def test_a_call_that_was_made_once_is_the_same_change_however_often_it_is_run(script, target):
    (call, _) = pair()
    script.answer("Batch", *[credit.BatchResponse(outcomes=[credit.BatchOutcome(grant=GRANTED)])] * 2)

    with scrip.Client(target) as client:
        client.batch(iter([calls.grant("acme", 1, "free")]))
        client.batch([call])

    first, second = script.requests("Batch")
    assert first.operations[0].grant.request_id
    assert second.operations[0].grant.request_id == call.request_id == "r-1"
