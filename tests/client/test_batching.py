"""Changes that are made at the same time travel together, and nothing else changes for those who make them."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
import scrip
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2
from scrip import batching, calls, gathering
from scrip.reasons import CODES
from scrip.v1 import account_service_pb2 as account
from scrip.v1 import credit_service_pb2 as credit
from scrip.v1 import errors_pb2 as errors

from tests.client.scripted import UNAVAILABLE, Slow, error
from tests.client.test_batches import CHANGES
from tests.client.together import (
    RELEASED,
    attempts,
    deduct,
    done,
    names,
    one_by_one,
    outcomes,
)

DEDUCTED = credit.CheckAndDeductResponse(entry_id="en_0")
BALANCE = credit.GetBalanceResponse(balances=[scrip.Balance(account_id="acme", available=40)])
LOST = errors.Error(code=14, reason="DATABASE_UNAVAILABLE", message="The database did not confirm this.")


def test_a_thousand_calls_at_once_need_few_rpcs(script, target):
    script.answer("Batch", *[done] * 4)

    async def main() -> list[credit.CheckAndDeductResponse]:
        async with scrip.AsyncClient(target, batching=True) as client:
            return await asyncio.gather(
                *[client.check_and_deduct(f"c-{n}", 1, request_id=f"r-{n}") for n in range(1000)]
            )

    answers = asyncio.run(main())

    assert [answer.entry_id for answer in answers] == [f"r-{n}" for n in range(1000)]
    assert script.rpcs() == ["Batch"] * 4


def test_callers_who_come_back_at_once_travel_together_again(script, target):
    script.answer("Batch", *[done] * 5)

    async def main() -> None:
        async def caller(client: scrip.AsyncClient, name: str) -> None:
            for _ in range(5):
                await client.check_and_deduct("acme", 1, request_id=name)

        async with scrip.AsyncClient(target, batching=True) as client:
            await asyncio.gather(*[caller(client, f"r-{n}") for n in range(100)])

    asyncio.run(main())

    assert [len(request.operations) for request in script.requests("Batch")] == [100] * 5
    assert len(script.asked) == 5


def test_a_lone_caller_makes_the_calls_as_they_are(way, script, target):
    script.answer("CheckAndDeduct", *[DEDUCTED] * 3)
    script.answer("Grant", credit.GrantResponse())

    for do in [deduct("r-1"), deduct("r-2"), lambda client: client.grant("acme", 1, "free"), deduct("r-3")]:
        way.ask(target, do)

    assert script.rpcs() == ["CheckAndDeduct", "CheckAndDeduct", "Grant", "CheckAndDeduct"]


def test_what_comes_while_a_call_is_under_way_goes_together_in_the_order_it_came(many, script, target):
    script.answer("Batch", done)

    answers = many.beside(script, target, [deduct(f"r-{n}") for n in range(40)])

    assert [answer.entry_id for answer in answers] == [f"r-{n}" for n in range(40)]
    assert script.rpcs() == ["Release", "Batch"]
    (request,) = script.requests("Batch")
    assert names(request) == [f"r-{n}" for n in range(40)]
    assert not request.atomic
    assert not request.preview


def test_one_that_comes_while_a_call_is_under_way_goes_as_it_is(many, script, target):
    script.answer("Grant", credit.GrantResponse(entry_id="en_1"))

    (granted,) = many.beside(script, target, [lambda client: client.grant("acme", 1, "free")])

    assert granted.entry_id == "en_1"
    assert script.rpcs() == ["Release", "Grant"]


@pytest.mark.parametrize(("do", "request_", "response", "answer"), CHANGES.values(), ids=CHANGES)
def test_every_change_can_travel_and_is_answered_as_alone(many, script, target, *, do, request_, response, answer):
    field = next(f.name for f in credit.BatchOperation.DESCRIPTOR.fields if f.message_type == request_.DESCRIPTOR)
    script.answer("Batch", credit.BatchResponse(outcomes=[credit.BatchOutcome(**{field: response})] * 2))

    assert many.beside(script, target, [do, do]) == [answer, answer]

    assert script.requests("Batch") == [credit.BatchRequest(operations=[{field: request_}] * 2)]


def test_a_hold_travels_and_is_a_hold(many, script, target):
    held = credit.HoldResponse(hold_id="hd_1")
    script.answer("Batch", credit.BatchResponse(outcomes=[credit.BatchOutcome(hold=held)] * 2))

    found = many.beside(script, target, [lambda client: client.hold("acme", 60)] * 2)

    assert [(hold.hold_id, hold.amount, hold.standing) for hold in found] == [("hd_1", 60, scrip.Standing.OPEN)] * 2


def test_what_is_no_single_change_goes_on_its_own_and_does_not_wait(script, target):
    slow = Slow(DEDUCTED)
    script.answer("CheckAndDeduct", slow, DEDUCTED)
    script.answer("GetBalance", BALANCE)
    script.answer("Batch", outcomes("en_1"))
    script.answer("BulkGrant", lambda grants: (account.BulkGrantResponse(grant={"entry_id": "en_2"}) for _ in grants))

    with scrip.Client(target, batching=True) as client, ThreadPoolExecutor(1) as threads:
        asking = threads.submit(client.check_and_deduct, "acme", 1)
        slow.has_begun()
        assert client.balance("acme").available == 40
        assert client.check_and_deduct("acme", 1, preview=True) == DEDUCTED
        (told,) = client.batch([calls.check_and_deduct("acme", 1)])
        (granted,) = client.bulk_grant([calls.grant("acme", 1, "free")])
        assert not asking.done()
        slow.finish()

    assert (told.entry_id, granted.entry_id) == ("en_1", "en_2")
    assert script.rpcs() == ["CheckAndDeduct", "GetBalance", "CheckAndDeduct", "Batch", "BulkGrant"]


def test_a_refusal_is_for_its_caller_alone(many, script, target):
    short = errors.Error(code=9, reason="INSUFFICIENT_CREDITS", message="Too little.", metadata={"available": "4"})
    script.answer("Batch", outcomes("en_1", short, "en_3"))

    first, refused, third = many.beside(script, target, [deduct("r-1"), deduct("r-2"), deduct("r-3")])

    assert (first.entry_id, third.entry_id) == ("en_1", "en_3")
    assert type(refused) is scrip.InsufficientCredits
    assert (refused.available, refused.request_id, str(refused)) == (4, "r-2", "Too little.")
    assert len(script.asked) == 2


def test_an_outcome_that_is_unavailable_is_repeated_for_that_change_alone(many, script, target):
    script.answer("Batch", outcomes("en_1", LOST, "en_3"))
    script.answer("CheckAndDeduct", UNAVAILABLE, one_by_one)

    answers = many.beside(script, target, [deduct("r-1"), deduct("r-2"), deduct("r-3")])

    assert [answer.entry_id for answer in answers] == ["en_1", "r-2", "en_3"]
    assert attempts(script) == {"r-1": 1, "r-2": 3, "r-3": 1}


def test_a_batch_that_is_unavailable_is_repeated_with_the_same_request_ids(many, script, target):
    script.answer("Batch", UNAVAILABLE, done)
    script.answer("CheckAndDeduct", *[one_by_one] * 3)

    answers = many.beside(script, target, [deduct("r-1"), deduct("r-2"), deduct("r-3")])

    assert [answer.entry_id for answer in answers] == ["r-1", "r-2", "r-3"]
    assert attempts(script) == {"r-1": 2, "r-2": 2, "r-3": 2}


def test_each_change_is_tried_five_times_at_most_and_then_its_caller_can_repeat_it(many, script, target):
    script.answer("Batch", *[UNAVAILABLE] * 10)
    script.answer("CheckAndDeduct", *[UNAVAILABLE] * 10)

    failures = many.beside(script, target, [deduct("r-1"), deduct("r-2")])

    assert [(type(failure), failure.request_id) for failure in failures] == [
        (scrip.Unavailable, "r-1"),
        (scrip.Unavailable, "r-2"),
    ]
    assert attempts(script) == {"r-1": 5, "r-2": 5}
    assert all(isinstance(failure.__cause__, grpc.RpcError) for failure in failures)


def test_who_waits_to_try_again_does_not_hold_up_others(script, target, monkeypatch):
    monkeypatch.setattr(batching, "PAUSES_S", (1000.0,))
    slow = Slow(UNAVAILABLE)
    script.answer("Batch", slow)
    script.answer("CheckAndDeduct", DEDUCTED)

    async def main() -> list[Any]:
        async with scrip.AsyncClient(target, batching=True, deadline_s=5000) as client:
            pausing = [asyncio.create_task(client.check_and_deduct("acme", 1)) for _ in range(2)]
            await asyncio.to_thread(slow.has_begun)
            slow.finish()
            assert await client.check_and_deduct("acme", 1) == DEDUCTED
            await client.close()
            return await asyncio.gather(*pausing, return_exceptions=True)

    assert [failure.code for failure in asyncio.run(main())] == [grpc.StatusCode.CANCELLED] * 2


@pytest.mark.parametrize("option", [("grpc.enable_retries", 0), ("grpc.service_config", "{}")])
def test_a_caller_who_has_told_grpc_what_to_repeat_is_not_overruled(many, script, target, option):
    script.answer("Batch", UNAVAILABLE)

    failures = many.beside(script, target, [deduct("r-1"), deduct("r-2")], channel_options=[option])

    assert [type(failure) for failure in failures] == [scrip.Unavailable] * 2
    assert attempts(script) == {"r-1": 1, "r-2": 1}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (batching, gathering):
        monkeypatch.setattr(module, "PATIENCE_S", 0.05)


@pytest.mark.usefixtures("impatient")
def test_threads_do_not_wait_for_a_call_that_is_not_answered(script, target):
    slow = Slow(RELEASED)
    script.answer("Release", slow)
    script.answer("CheckAndDeduct", DEDUCTED)

    with scrip.Client(target, batching=True) as client, ThreadPoolExecutor(1) as threads:
        first = threads.submit(client.release, "hd_0")
        slow.has_begun()
        assert client.check_and_deduct("acme", 1) == DEDUCTED
        assert not first.done()
        slow.finish()


@pytest.mark.usefixtures("impatient")
def test_tasks_do_not_wait_for_a_call_that_is_not_answered(script, target):
    slow = Slow(RELEASED)
    script.answer("Release", slow)
    script.answer("CheckAndDeduct", DEDUCTED)

    async def main() -> None:
        async with scrip.AsyncClient(target, batching=True) as client:
            first = asyncio.create_task(client.release("hd_0"))
            await asyncio.to_thread(slow.has_begun)
            assert await client.check_and_deduct("acme", 1) == DEDUCTED
            assert not first.done()
            slow.finish()
            await first

    asyncio.run(main())


FULL = error(
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    "QUEUE_FULL",
    "Wait.",
    error_details_pb2.RetryInfo(retry_delay=Duration(nanos=100_000_000)),
    queue_max="10000",
)


def test_a_full_queue_is_each_callers_error_and_is_not_repeated(many, script, target):
    script.answer("Batch", FULL)

    failures = many.beside(script, target, [deduct("r-1"), deduct("r-2")])

    assert [(type(failure), failure.request_id) for failure in failures] == [
        (scrip.QueueFull, "r-1"),
        (scrip.QueueFull, "r-2"),
    ]
    assert all(failure.retry_after_s == pytest.approx(0.1) for failure in failures)
    assert failures[0] is not failures[1]
    assert attempts(script) == {"r-1": 1, "r-2": 1}


@pytest.mark.parametrize(
    "status",
    [
        error(grpc.StatusCode.INTERNAL, "INTERNAL", incident_id="7f3c"),
        error(grpc.StatusCode.RESOURCE_EXHAUSTED, message="Received message larger than max."),
        error(grpc.StatusCode.PERMISSION_DENIED),
        error(grpc.StatusCode.UNIMPLEMENTED),
    ],
    ids=["internal", "too large", "not allowed", "unknown"],
)
def test_what_may_be_the_fault_of_one_does_not_stop_the_others(many, script, target, status):
    script.answer("Batch", status)
    script.answer("CheckAndDeduct", one_by_one, status, one_by_one)

    first, second, third = many.beside(script, target, [deduct("r-1"), deduct("r-2"), deduct("r-3")])

    assert (first.entry_id, third.entry_id) == ("r-1", "r-3")
    assert (type(second), second.request_id) == (
        CODES.get(second.code, scrip.ScripError),
        "r-2",
    )
    assert attempts(script) == {"r-1": 2, "r-2": 2, "r-3": 2}


def test_a_batch_that_answers_for_others_than_were_asked_is_an_error_for_all(many, script, target):
    script.answer("Batch", outcomes("en_1"))

    with pytest.raises(ValueError, match="2 changes have 1 outcomes"):
        many.beside(script, target, [deduct("r-1"), deduct("r-2")])


def test_no_request_is_larger_than_the_server_takes(many, script, target):
    script.answer("Batch", *[done] * 3)
    script.answer("CheckAndDeduct", one_by_one)

    answers = many.beside(script, target, [deduct(f"r-{n}", description="x" * 300_000) for n in range(10)])

    assert [answer.entry_id for answer in answers] == [f"r-{n}" for n in range(10)]
    assert [names(request) for request in script.requests("Batch")] == [
        ["r-0", "r-1", "r-2"],
        ["r-3", "r-4", "r-5"],
        ["r-6", "r-7", "r-8"],
    ]
    assert all(request.ByteSize() <= 2**20 for request in script.requests("Batch"))


def test_whether_to_batch_is_yes_or_no(target):
    for kind in (scrip.Client, scrip.AsyncClient):
        with pytest.raises(scrip.InvalidField, match="batching must be True or False"):
            kind(target, batching="yes")
