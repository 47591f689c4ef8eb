import asyncio
import inspect
from datetime import UTC, datetime, timedelta

import grpc
import pytest
import scrip
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from scrip.v1 import credit_service_pb2 as credit
from scrip.v1 import types_pb2 as types

from tests.client.examples_of_prices import CHAT, WRITTEN_CHAT
from tests.client.scripted import UNAVAILABLE, Slow, error

HELD = credit.HoldResponse(
    entry_id="en_1",
    hold_id="hd_1",
    expires_at=Timestamp(seconds=1769904000, nanos=250_000_000),
    balance=scrip.Balance(account_id="acme", asset="credits", available=40, held=60),
)
CAPTURED = credit.CaptureResponse(entry_id="en_2", captured=55, released=5)
RELEASED = credit.ReleaseResponse(entry_id="en_2", released=60)
ABOVE = error(grpc.StatusCode.FAILED_PRECONDITION, "AMOUNT_ABOVE_HOLD", hold_id="hd_1", held="60", required="61")
NOT_ACTIVE = error(grpc.StatusCode.FAILED_PRECONDITION, "HOLD_NOT_ACTIVE", "Hold hd_1 ran out.", state="lapsed")


class OutOfPaperError(Exception):
    """What the work in a block raises here."""


def raising(hold):
    yield from ()
    raise OutOfPaperError


def silent(hold):
    yield from ()


def test_a_hold_says_what_was_set_aside(way, script, target):
    script.answer("Hold", HELD)

    hold = way.hold(target, "acme", 60, ttl=timedelta(minutes=5), request_id="r-1", reference="job-7")

    assert (hold.hold_id, hold.entry_id, hold.request_id) == ("hd_1", "en_1", "r-1")
    assert (hold.amount, hold.balance.available, hold.replayed) == (60, 40, False)
    assert hold.expires_at == datetime(2026, 2, 1, 0, 0, 0, 250000, tzinfo=UTC)
    assert hold.standing is scrip.Standing.OPEN
    assert script.requests("Hold") == [
        credit.HoldRequest(
            request_id="r-1",
            account_id="acme",
            asset="credits",
            amount=60,
            ttl=Duration(seconds=300),
            held_lots=types.HELD_LOTS_HONOUR,
            memo=scrip.Memo(reference="job-7"),
        )
    ]


def test_a_hold_may_say_what_for_how_far_beyond_and_what_of_lots_that_run_out(way, script, target):
    script.answer("Hold", HELD)

    way.hold(target, "acme", 60, operation="chat", tolerance=5, held_lots="lapse", request_id="r-1")

    assert script.requests("Hold") == [
        credit.HoldRequest(
            request_id="r-1",
            account_id="acme",
            asset="credits",
            amount=60,
            operation="chat",
            tolerance=5,
            held_lots=types.HELD_LOTS_LAPSE,
        )
    ]


def test_a_hold_of_usage_says_what_it_came_to(way, script, target):
    charge = scrip.Charge(card="gpt-5", version=2, amount=60)
    script.answer("Hold", credit.HoldResponse(hold_id="hd_1", held=60, charge=charge))

    hold = way.hold(target, "acme", usage=CHAT, request_id="r-1")

    (request,) = script.requests("Hold")
    assert (request.usage, request.amount) == (WRITTEN_CHAT, 0)
    assert (hold.amount, hold.charge) == (60, charge)


def test_a_hold_of_an_amount_has_no_charge(way, script, target):
    script.answer("Hold", HELD)

    assert way.hold(target, "acme", 60).charge is None


def test_a_hold_is_captured_by_what_happened(script, target):
    script.answer("Hold", HELD)
    script.answer("Capture", CAPTURED)

    with scrip.Client(target) as client, client.hold("acme", 60) as hold:
        hold.capture(usage=CHAT)

    (request,) = script.requests("Capture")
    assert (request.usage, request.HasField("amount"), request.final) == (WRITTEN_CHAT, False, True)
    assert request.request_id == "capture/hd_1"
    assert hold.captured == 55


def test_a_block_that_captures_has_captured_what_it_said(way, script, target):
    script.answer("Hold", HELD)
    script.answer("Capture", CAPTURED)
    answers = []

    def body(hold):
        answers.append((yield hold.capture(55, description="42 pages")))

    hold = way.block(target, body)

    assert answers == [CAPTURED]
    assert script.rpcs() == ["Hold", "Capture"]
    assert script.requests("Capture") == [
        credit.CaptureRequest(
            request_id="capture/hd_1", hold_id="hd_1", amount=55, final=True, memo=scrip.Memo(description="42 pages")
        )
    ]
    assert hold.standing is scrip.Standing.ENDED


def test_a_capture_without_an_amount_takes_all(way, script, target):
    script.answer("Hold", HELD)
    script.answer("Capture", CAPTURED)

    def body(hold):
        yield hold.capture()

    way.block(target, body)

    assert not script.requests("Capture")[0].HasField("amount")


def test_a_block_that_releases_has_released(way, script, target):
    script.answer("Hold", HELD)
    script.answer("Release", RELEASED)

    def body(hold):
        yield hold.release(reference="job-7")

    way.block(target, body)

    assert script.rpcs() == ["Hold", "Release"]
    assert script.requests("Release") == [
        credit.ReleaseRequest(request_id="release/hd_1", hold_id="hd_1", memo=scrip.Memo(reference="job-7"))
    ]


def test_a_hold_block_that_raises_releases_the_hold(way, script, target):
    script.answer("Hold", HELD)
    script.answer("Release", RELEASED)

    with pytest.raises(OutOfPaperError) as caught:
        way.block(target, raising)

    assert script.rpcs() == ["Hold", "Release"]
    assert not hasattr(caught.value, "__notes__")


def test_a_hold_block_that_says_nothing_releases_the_hold_and_warns_where_it_stands(way, script, target):
    script.answer("Hold", HELD)
    script.answer("Release", RELEASED)

    with pytest.warns(scrip.UnsettledHoldWarning, match="Nothing of hold hd_1 was captured") as warned:
        way.block(target, silent)

    assert script.rpcs() == ["Hold", "Release"]
    assert warned[0].filename == inspect.getsourcefile(type(way))


def test_a_hold_that_was_awaited_first_warns_where_its_block_stands(script, target):
    script.answer("Hold", HELD)
    script.answer("Release", RELEASED)

    async def main() -> None:
        async with scrip.AsyncClient(target) as client:
            hold = await client.hold("acme", 60)
            async with hold:
                pass

    with pytest.warns(scrip.UnsettledHoldWarning) as warned:
        asyncio.run(main())

    assert script.rpcs() == ["Hold", "Release"]
    assert warned[0].filename == __file__


def test_the_exception_of_the_block_goes_on_even_if_the_release_fails(way, script, target):
    script.answer("Hold", HELD)
    script.answer("Release", *[UNAVAILABLE] * 5)

    with pytest.raises(OutOfPaperError) as caught:
        way.block(target, raising)

    assert caught.value.__notes__ == [
        "Hold hd_1 was not released: The database did not confirm this. It runs out by itself at 2026-02-01T00:00:00Z."
    ]


def test_the_exception_of_the_block_goes_on_even_if_the_client_was_closed(script, target):
    script.answer("Hold", HELD)

    def work(client: scrip.Client) -> None:
        with client.hold("acme", 60):
            client.close()
            raise OutOfPaperError

    with scrip.Client(target) as client, pytest.raises(OutOfPaperError) as caught:
        work(client)

    assert "This client is closed." in caught.value.__notes__[0]


def test_a_hold_that_was_captured_is_not_released_when_the_block_raises_later(way, script, target):
    script.answer("Hold", HELD)
    script.answer("Capture", CAPTURED)

    def body(hold):
        yield hold.capture(55)
        raise OutOfPaperError

    with pytest.raises(OutOfPaperError):
        way.block(target, body)

    assert script.rpcs() == ["Hold", "Capture"]


def test_a_capture_that_is_refused_leaves_the_hold_to_be_released(way, script, target):
    script.answer("Hold", HELD)
    script.answer("Capture", ABOVE)
    script.answer("Release", RELEASED)

    def body(hold):
        yield hold.capture(61)

    with pytest.raises(scrip.AmountAboveHold):
        way.block(target, body)

    assert script.rpcs() == ["Hold", "Capture", "Release"]


def test_a_capture_that_is_refused_can_be_said_again(script, target):
    script.answer("Hold", HELD)
    script.answer("Capture", ABOVE, CAPTURED)

    with scrip.Client(target) as client, client.hold("acme", 60) as hold:
        with pytest.raises(scrip.AmountAboveHold):
            hold.capture(61)
        hold.capture(55)

    assert script.rpcs() == ["Hold", "Capture", "Capture"]


def test_a_capture_that_no_request_can_carry_leaves_the_hold_to_be_released(way, script, target):
    script.answer("Hold", HELD)
    script.answer("Release", RELEASED)

    def body(hold):
        yield hold.capture("all")

    with pytest.raises(scrip.InvalidField):
        way.block(target, body)

    assert script.rpcs() == ["Hold", "Release"]


def test_a_capture_without_an_answer_is_not_undone_by_a_release(way, script, target):
    script.answer("Hold", HELD)
    script.answer("Capture", *[UNAVAILABLE] * 5)

    def body(hold):
        yield hold.capture(55)

    with pytest.raises(scrip.Unavailable) as caught:
        way.block(target, body)

    assert "Release" not in script.rpcs()
    assert caught.value.request_id == "capture/hd_1"
    (note,) = caught.value.__notes__
    assert note == (
        "Hold hd_1 was left as it is: what was said of it may or may not have been done. "
        "It can be said again until 2026-02-01T00:00:00Z, when the hold runs out by itself."
    )


def test_a_capture_without_an_answer_can_be_repeated_after_the_block(script, target):
    script.answer("Hold", HELD)
    script.answer("Capture", *[UNAVAILABLE] * 5, CAPTURED)

    with scrip.Client(target) as client:
        hold = client.hold("acme", 60)
        with pytest.raises(scrip.Unavailable), hold:
            hold.capture(55)
        assert hold.standing is scrip.Standing.UNSETTLED
        hold.capture(55)

    assert hold.standing is scrip.Standing.ENDED
    assert len({request.SerializeToString() for request in script.requests("Capture")}) == 1


def test_a_block_that_swallows_a_capture_without_an_answer_says_nothing_more(script, target):
    script.answer("Hold", HELD)
    script.answer("Capture", *[UNAVAILABLE] * 5)

    with scrip.Client(target) as client, client.hold("acme", 60) as hold, pytest.raises(scrip.Unavailable):
        hold.capture(55)

    assert "Release" not in script.rpcs()


def test_a_hold_that_was_captured_stays_so_whatever_is_refused_later(script, target):
    script.answer("Hold", HELD)
    script.answer("Capture", CAPTURED, error(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"))

    with scrip.Client(target) as client, client.hold("acme", 60) as hold:
        hold.capture(55)
        with pytest.raises(scrip.InvalidField):
            hold.capture(-1)

    assert script.rpcs() == ["Hold", "Capture", "Capture"]


def test_a_hold_that_is_found_ended_is_not_ended_again(way, script, target):
    script.answer("Hold", HELD)
    script.answer("Capture", NOT_ACTIVE)

    def body(hold):
        yield hold.capture(55)

    with pytest.raises(scrip.HoldNotActive):
        way.block(target, body)

    assert script.rpcs() == ["Hold", "Capture"]


def test_a_hold_that_ran_out_in_a_block_that_said_nothing_needs_no_release(way, script, target):
    script.answer("Hold", HELD)
    script.answer("Release", NOT_ACTIVE)

    with pytest.warns(scrip.UnsettledHoldWarning):
        hold = way.block(target, silent)

    assert hold.standing is scrip.Standing.ENDED


def test_a_release_that_fails_after_a_block_that_said_nothing_is_an_error(way, script, target):
    script.answer("Hold", HELD)
    script.answer("Release", *[UNAVAILABLE] * 5)

    with pytest.raises(scrip.Unavailable):
        way.block(target, silent)


def test_a_hold_that_is_refused_has_no_block(way, script, target):
    script.answer("Hold", error(grpc.StatusCode.FAILED_PRECONDITION, "INSUFFICIENT_CREDITS", available="40"))
    ran = []

    with pytest.raises(scrip.InsufficientCredits):
        way.block(target, lambda hold: ran.append(hold) or silent(hold))

    assert ran == []
    assert script.rpcs() == ["Hold"]


def test_a_hold_works_without_a_block(script, target):
    script.answer("Hold", HELD, HELD)
    script.answer("Capture", CAPTURED)
    script.answer("Release", RELEASED)

    with scrip.Client(target) as client:
        captured = client.hold("acme", 60).capture(55)
        released = client.hold("acme", 60).release()

    assert (captured, released) == (CAPTURED, RELEASED)
    assert script.rpcs() == ["Hold", "Capture", "Hold", "Release"]


def test_an_async_hold_works_without_a_block(script, target):
    script.answer("Hold", HELD, HELD)
    script.answer("Capture", CAPTURED)
    script.answer("Release", RELEASED)

    async def main() -> None:
        async with scrip.AsyncClient(target) as client:
            first = await client.hold("acme", 60)
            second = await client.hold("acme", 60)
            assert await first.capture(55) == CAPTURED
            assert await second.release() == RELEASED

    asyncio.run(main())

    assert script.rpcs() == ["Hold", "Hold", "Capture", "Release"]


def test_a_task_that_is_cancelled_in_a_block_releases_the_hold(script, target):
    script.answer("Hold", HELD)
    script.answer("Release", RELEASED)

    async def work(begun: asyncio.Event) -> None:
        async with scrip.AsyncClient(target) as client, client.hold("acme", 60):
            begun.set()
            await asyncio.sleep(10)

    async def main() -> None:
        begun = asyncio.Event()
        working = asyncio.create_task(work(begun))
        await begun.wait()
        working.cancel()
        await working

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())

    assert script.rpcs() == ["Hold", "Release"]


def test_a_task_that_is_cancelled_while_it_captures_does_not_undo_the_capture(script, target):
    slow = Slow(CAPTURED)
    script.answer("Hold", HELD)
    script.answer("Capture", slow)

    async def work() -> None:
        async with scrip.AsyncClient(target) as client, client.hold("acme", 60) as hold:
            await hold.capture(55)

    async def main() -> None:
        working = asyncio.create_task(work())
        await asyncio.to_thread(slow.has_begun)
        working.cancel()
        await working

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
    slow.finish()

    assert script.rpcs() == ["Hold", "Capture"]


def test_a_block_that_is_run_again_captures_with_the_same_request_ids(way, script, target):
    script.answer("Hold", HELD, HELD)
    script.answer("Capture", CAPTURED, CAPTURED)

    def body(hold):
        yield hold.capture(55)

    way.block(target, body, request_id="job-7")
    way.block(target, body, request_id="job-7")

    assert script.requests("Hold")[0] == script.requests("Hold")[1]
    assert script.requests("Capture")[0] == script.requests("Capture")[1]
