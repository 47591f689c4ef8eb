"""Holds that are captured in several parts, increased, extended, and previewed."""

from datetime import UTC, datetime, timedelta

import grpc
import pytest
import scrip
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from scrip.v1 import credit_service_pb2 as credit

from tests.client.scripted import UNAVAILABLE, error
from tests.client.test_holds import HELD, NOT_ACTIVE, RELEASED, OutOfPaperError, silent

PART = credit.CaptureResponse(entry_id="en_2", captured=5, held=55)
REST = credit.CaptureResponse(entry_id="en_3", captured=10, released=45)
REUSED = error(grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED", request_id="r", entry_id="en_2", fields="amount")
TOO_LITTLE = error(grpc.StatusCode.FAILED_PRECONDITION, "INSUFFICIENT_CREDITS", available="1")


def test_parts_are_captured_one_after_another_and_the_rest_with_the_last(way, script, target):
    script.answer("Hold", HELD)
    script.answer("Capture", PART, PART, REST)

    def body(hold):
        yield hold.capture(5, final=False)
        yield hold.capture(5, final=False, reference="page-2")
        yield hold.capture(10)

    hold = way.block(target, body)

    assert script.rpcs() == ["Hold", "Capture", "Capture", "Capture"]
    assert script.requests("Capture") == [
        credit.CaptureRequest(request_id="capture/hd_1/1", hold_id="hd_1", amount=5, final=False),
        credit.CaptureRequest(
            request_id="capture/hd_1/2", hold_id="hd_1", amount=5, final=False, memo=scrip.Memo(reference="page-2")
        ),
        credit.CaptureRequest(request_id="capture/hd_1", hold_id="hd_1", amount=10, final=True),
    ]
    assert (hold.captured, hold.captures, hold.standing) == (20, 3, scrip.Standing.ENDED)


def test_a_block_that_captured_a_part_gives_the_rest_back_without_a_warning(way, script, target):
    script.answer("Hold", HELD)
    script.answer("Capture", PART)
    script.answer("Release", RELEASED)

    def body(hold):
        yield hold.capture(5, final=False)

    hold = way.block(target, body)

    assert script.rpcs() == ["Hold", "Capture", "Release"]
    assert hold.standing is scrip.Standing.ENDED


def test_a_block_that_raises_after_a_part_gives_the_rest_back(way, script, target):
    script.answer("Hold", HELD)
    script.answer("Capture", PART)
    script.answer("Release", RELEASED)

    def body(hold):
        yield hold.capture(5, final=False)
        raise OutOfPaperError

    with pytest.raises(OutOfPaperError):
        way.block(target, body)

    assert script.rpcs() == ["Hold", "Capture", "Release"]


def test_a_part_without_an_answer_is_not_made_impossible_by_a_release(way, script, target):
    script.answer("Hold", HELD)
    script.answer("Capture", PART, *[UNAVAILABLE] * 5)

    def body(hold):
        yield hold.capture(5, final=False)
        yield hold.capture(5, final=False)

    with pytest.raises(scrip.Unavailable) as caught:
        way.block(target, body)

    assert "Release" not in script.rpcs()
    assert caught.value.request_id == "capture/hd_1/2"
    assert "It can be said again until" in caught.value.__notes__[0]


def test_a_part_without_an_answer_is_said_again_under_the_same_name(script, target):
    script.answer("Hold", HELD)
    script.answer("Capture", *[UNAVAILABLE] * 5, PART, PART)
    script.answer("Release", RELEASED)

    with scrip.Client(target) as client, client.hold("acme", 60) as hold:
        with pytest.raises(scrip.Unavailable):
            hold.capture(5, final=False)
        assert hold.standing is scrip.Standing.UNSETTLED
        hold.capture(5, final=False)
        assert hold.standing is scrip.Standing.OPEN
        hold.capture(5, final=False)

    assert [request.request_id for request in script.requests("Capture")][4:] == [
        "capture/hd_1/1",
        "capture/hd_1/1",
        "capture/hd_1/2",
    ]


def test_a_part_may_have_a_name_of_the_callers(way, script, target):
    script.answer("Hold", HELD)
    script.answer("Capture", PART, PART)

    def body(hold):
        yield hold.capture(5, final=False, request_id="page-7")
        yield hold.capture(5, request_id="page-8")

    way.block(target, body)

    assert [request.request_id for request in script.requests("Capture")] == ["page-7", "page-8"]


def test_a_part_that_was_said_otherwise_before_leaves_the_hold_to_be_released(way, script, target):
    script.answer("Hold", HELD)
    script.answer("Capture", REUSED)
    script.answer("Release", RELEASED)

    def body(hold):
        yield hold.capture(5, final=False)

    with pytest.raises(scrip.RequestIdReused):
        way.block(target, body)

    assert script.rpcs() == ["Hold", "Capture", "Release"]


def test_a_capture_under_a_name_that_something_else_had_leaves_the_hold_to_be_released(way, script, target):
    script.answer("Hold", HELD)
    script.answer("Capture", REUSED)
    script.answer("Release", RELEASED)

    def body(hold):
        yield hold.capture(5, request_id="job-7")

    with pytest.raises(scrip.RequestIdReused):
        way.block(target, body)

    assert script.rpcs() == ["Hold", "Capture", "Release"]


def test_a_part_of_a_hold_that_is_found_ended_ends_it_here_too(way, script, target):
    script.answer("Hold", HELD)
    script.answer("Capture", NOT_ACTIVE)

    def body(hold):
        yield hold.capture(5, final=False)

    with pytest.raises(scrip.HoldNotActive):
        way.block(target, body)

    assert script.rpcs() == ["Hold", "Capture"]


def test_a_part_that_is_answered_again_after_the_end_opens_nothing(script, target):
    script.answer("Hold", HELD)
    script.answer("Capture", REST, PART)

    with scrip.Client(target) as client, client.hold("acme", 60) as hold:
        hold.capture(10)
        hold.capture(5, final=False, request_id="page-7")

    assert hold.standing is scrip.Standing.ENDED
    assert "Release" not in script.rpcs()


def test_a_hold_is_increased_and_says_how_much_it_is(way, script, target):
    script.answer("Hold", HELD)
    script.answer("IncreaseHold", *[credit.IncreaseHoldResponse(held=65)] * 2)
    script.answer("Capture", REST)
    answers = []

    def body(hold):
        answers.append((yield hold.increase(5, description="more pages")))
        yield hold.increase(7)
        yield hold.capture()

    hold = way.block(target, body)

    assert answers == [credit.IncreaseHoldResponse(held=65)]
    assert hold.amount == 72
    assert script.requests("IncreaseHold") == [
        credit.IncreaseHoldRequest(
            request_id="increase/hd_1/1", hold_id="hd_1", amount=5, memo=scrip.Memo(description="more pages")
        ),
        credit.IncreaseHoldRequest(request_id="increase/hd_1/2", hold_id="hd_1", amount=7),
    ]


def test_an_increase_that_is_refused_leaves_the_hold_as_it_was(script, target):
    script.answer("Hold", HELD)
    script.answer("IncreaseHold", TOO_LITTLE, credit.IncreaseHoldResponse(held=61))
    script.answer("Capture", REST)

    with scrip.Client(target) as client, client.hold("acme", 60) as hold:
        with pytest.raises(scrip.InsufficientCredits):
            hold.increase(5)
        assert (hold.amount, hold.standing) == (60, scrip.Standing.OPEN)
        hold.increase(1)
        hold.capture()

    assert [request.request_id for request in script.requests("IncreaseHold")] == ["increase/hd_1/1"] * 2


def test_an_increase_of_a_hold_that_has_ended_says_so_and_releases_nothing(way, script, target):
    script.answer("Hold", HELD)
    script.answer("IncreaseHold", NOT_ACTIVE)

    def body(hold):
        yield hold.increase(5)

    with pytest.raises(scrip.HoldNotActive):
        way.block(target, body)

    assert script.rpcs() == ["Hold", "IncreaseHold"]


def test_a_hold_is_extended_from_now_on_each_time(way, script, target):
    script.answer("Hold", HELD)
    script.answer("ExtendHold", *[credit.ExtendHoldResponse(expires_at=Timestamp(seconds=1769907600))] * 2)
    script.answer("Capture", REST)

    def body(hold):
        yield hold.extend(timedelta(hours=1))
        yield hold.extend(timedelta(hours=1))
        yield hold.capture()

    hold = way.block(target, body)

    first, second = script.requests("ExtendHold")
    assert hold.expires_at == datetime(2026, 2, 1, 1, tzinfo=UTC)
    assert (first.hold_id, first.ttl) == ("hd_1", Duration(seconds=3600))
    assert first.request_id != second.request_id


def test_a_preview_of_a_hold_is_no_hold(way, script, target):
    script.answer("Hold", credit.HoldResponse(balance=HELD.balance, expires_at=HELD.expires_at))

    hold = way.block(target, silent, preview=True)

    assert script.rpcs() == ["Hold"]
    assert script.requests("Hold")[0].preview
    assert (hold.hold_id, hold.balance, hold.standing) == ("", HELD.balance, scrip.Standing.PREVIEWED)


def test_what_is_previewed_on_a_hold_changes_nothing_of_it(way, script, target):
    script.answer("Hold", HELD)
    script.answer("Capture", PART, PART, PART)
    script.answer("IncreaseHold", credit.IncreaseHoldResponse(held=65))
    script.answer("ExtendHold", credit.ExtendHoldResponse(expires_at=Timestamp(seconds=1769907600)))
    script.answer("Release", RELEASED, RELEASED)
    seen = []

    def body(hold):
        yield hold.capture(5, preview=True)
        yield hold.capture(5, final=False, preview=True)
        yield hold.increase(5, preview=True)
        yield hold.extend(timedelta(hours=1), preview=True)
        yield hold.release(preview=True)
        seen.append((hold.amount, hold.captured, hold.expires_at.microsecond, hold.standing))
        yield hold.capture(5, final=False)

    way.block(target, body)

    assert seen == [(60, 0, 250_000, scrip.Standing.OPEN)]
    assert [request.preview for request in script.requests("Release")] == [True, False]
    assert script.requests("Capture")[2].request_id == "capture/hd_1/1"
