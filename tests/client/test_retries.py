import asyncio
import socket
import time

import grpc
import pytest
import scrip
from scrip.v1 import billing_service_pb2 as billing
from scrip.v1 import credit_service_pb2 as credit

from tests.client.scripted import UNAVAILABLE, Script, Slow, error, serving

BALANCE = credit.GetBalanceResponse(balances=[scrip.Balance(account_id="acme", available=40)])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Books:
    """The dumbest server that keeps the promise: a request_id is written once, and then answered alike."""

    def __init__(self) -> None:
        self.written: dict[str, credit.GrantResponse] = {}

    def grant(self, request: credit.GrantRequest) -> credit.GrantResponse:
        replayed = request.request_id in self.written
        if not replayed:
            self.written[request.request_id] = credit.GrantResponse(entry_id=f"en_{len(self.written) + 1}")
        answer = credit.GrantResponse(replayed=replayed)
        answer.MergeFrom(self.written[request.request_id])
        return answer

    def grant_and_lose_the_answer(self, request: credit.GrantRequest) -> grpc.Status:
        self.grant(request)
        return UNAVAILABLE


def test_a_server_that_is_unavailable_twice_is_asked_thrice_with_one_request_id(way, script, target):
    script.answer("Grant", UNAVAILABLE, UNAVAILABLE, credit.GrantResponse(entry_id="en_1"))

    answer = way.ask(target, lambda client: client.grant("acme", 100, "free"))

    requests = script.requests("Grant")
    assert answer.entry_id == "en_1"
    assert len(requests) == 3
    assert len({request.request_id for request in requests}) == 1
    assert requests[0] == requests[1] == requests[2]


def test_a_change_whose_answers_are_lost_is_done_once(way, script, target):
    books = Books()
    script.answer("Grant", books.grant_and_lose_the_answer, books.grant_and_lose_the_answer, books.grant)

    answer = way.ask(target, lambda client: client.grant("acme", 100, "free"))

    assert len(books.written) == 1
    assert answer.entry_id == "en_1"
    assert answer.replayed


@pytest.mark.parametrize(
    ("rpc", "do"),
    [
        ("CheckAndDeduct", lambda client: client.check_and_deduct("acme", 1)),
        ("GetBalance", lambda client: client.balances("acme")),
        ("TrialBalance", lambda client: client.trial_balance()),
        ("DefineAsset", lambda client: client.define_asset("tokens")),
        ("GetAccount", lambda client: client.account("acme")),
        ("FreezeAccount", lambda client: client.freeze_account("acme", description="fraud")),
        ("Batch", lambda client: client.batch([scrip.calls.release("hd_1")])),
        ("ApplyRateCards", lambda client: client.apply_rate_cards([])),
        ("DeactivatePackage", lambda client: client.deactivate_package("starter")),
        (
            "CreateCheckout",
            lambda client: client.create_checkout("acme", plan="pro", success_url="https://a", cancel_url="https://a"),
        ),
    ],
)
def test_calls_of_all_services_are_repeated_five_times_at_most(way, script, target, rpc, do):
    script.answer(rpc, *[UNAVAILABLE] * 9)

    with pytest.raises(scrip.Unavailable):
        way.ask(target, do)

    assert len(script.asked) == 5


def test_a_checkout_whose_answers_are_lost_is_asked_for_again_as_the_same_order(way, script, target):
    script.answer("CreateCheckout", UNAVAILABLE, UNAVAILABLE, billing.CreateCheckoutResponse(replayed=True))

    answer = way.ask(
        target,
        lambda client: client.create_checkout("acme", plan="pro", success_url="https://a", cancel_url="https://a"),
    )

    requests = script.requests("CreateCheckout")
    assert answer.replayed
    assert len(requests) == 3
    assert len({request.SerializeToString() for request in requests}) == 1


def test_a_checkout_that_stayed_without_an_answer_can_be_repeated_with_the_request_id_of_the_error(script, target):
    script.answer("CreateCheckout", *[error(grpc.StatusCode.UNAVAILABLE, "STRIPE_UNAVAILABLE")] * 5)

    with scrip.Client(target) as client, pytest.raises(scrip.StripeUnavailable) as caught:
        client.create_checkout("acme", plan="pro", success_url="https://a", cancel_url="https://a")

    assert {request.request_id for request in script.requests("CreateCheckout")} == {caught.value.request_id}


def test_a_caller_can_repeat_what_stayed_unavailable_with_the_request_id_of_the_error(way, script, target):
    books = Books()
    script.answer("Grant", *[books.grant_and_lose_the_answer] * 5, books.grant)

    with pytest.raises(scrip.Unavailable) as caught:
        way.ask(target, lambda client: client.grant("acme", 100, "free"))
    request_id = caught.value.request_id
    answer = way.ask(target, lambda client: client.grant("acme", 100, "free", request_id=request_id))

    assert caught.value.reason == scrip.ErrorReason.ERROR_REASON_DATABASE_UNAVAILABLE
    assert list(books.written) == [request_id]
    assert answer.replayed


def test_a_server_that_is_not_there_is_unavailable_soon(way):
    started = time.monotonic()

    with pytest.raises(scrip.Unavailable) as caught:
        way.ask(f"127.0.0.1:{free_port()}", lambda client: client.grant("acme", 1, "free", request_id="r-1"))

    assert time.monotonic() - started < 4
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE
    assert caught.value.reason == scrip.ErrorReason.ERROR_REASON_UNSPECIFIED
    assert caught.value.request_id == "r-1"
    assert "repeat it with request_id r-1" in str(caught.value)


def test_a_server_that_comes_back_is_found_again():
    port = free_port()
    first, second = Script(), Script()
    first.answer("GetBalance", BALANCE)
    second.answer("GetBalance", BALANCE)

    with scrip.Client(f"127.0.0.1:{port}") as client:
        with serving(first, port):
            client.balance("acme")
        with pytest.raises(scrip.Unavailable):
            client.balance("acme")
        with serving(second, port):
            time.sleep(0.5)
            found = client.balance("acme")

    assert found.available == 40


def test_a_deadline_that_passes_is_an_error_that_can_be_repeated(way, script, target):
    slow = Slow(credit.GrantResponse())
    script.answer("Grant", slow)

    with pytest.raises(scrip.DeadlineExceeded) as caught:
        way.ask(target, lambda client: client.grant("acme", 1, "free", request_id="r-1", deadline_s=0.2))
    slow.finish()

    assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert caught.value.request_id == "r-1"
    assert "repeat it with request_id r-1" in str(caught.value)


def test_the_deadline_is_for_all_attempts_together(way, script, target):
    script.answer("Grant", *[UNAVAILABLE] * 5)

    with pytest.raises((scrip.DeadlineExceeded, scrip.Unavailable)):
        way.ask(target, lambda client: client.grant("acme", 1, "free", deadline_s=0.1))

    assert len(script.asked) < 5


def test_a_channel_option_of_the_callers_wins(way, script, target):
    script.answer("Grant", UNAVAILABLE, credit.GrantResponse())

    with pytest.raises(scrip.Unavailable):
        way.ask(
            target,
            lambda client: client.grant("acme", 1, "free"),
            channel_options=[("grpc.enable_retries", 0)],
        )

    assert len(script.asked) == 1


def test_a_task_that_is_cancelled_stops_waiting(script, target):
    slow = Slow(BALANCE)
    script.answer("GetBalance", slow)

    async def main() -> None:
        async with scrip.AsyncClient(target) as client:
            async with asyncio.timeout(0.2):
                await client.balance("acme")

    with pytest.raises(TimeoutError):
        asyncio.run(main())
    slow.finish()


def test_too_fast_is_not_repeated_by_itself(way, script, target):
    script.answer("Grant", error(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL"))

    with pytest.raises(scrip.ResourceExhausted):
        way.ask(target, lambda client: client.grant("acme", 1, "free"))

    assert len(script.asked) == 1
