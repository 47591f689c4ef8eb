"""The table of errors: the ledger's reasons, the contract's and the documentation's are the same, and say the same."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from google.rpc import error_details_pb2
from grpc import StatusCode
from scrip.v1.errors_pb2 import ErrorReason

from ledger import (
    DatabaseUnavailableError,
    DeadlinePassedError,
    IncidentError,
    MalformedError,
    NotDoneError,
    QueueFullError,
    Reason,
    Refused,
    StoppingError,
    Violation,
)
from server.errors import REFUSALS, RefusedError, error_message, status_of
from tests.server.contract import PROMISES

DOCUMENTED = Path(__file__).parent.parent.parent / "docs" / "errors.md"
JANUARY, FEBRUARY = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
ACME = {"account_id": "acme", "asset": "credits"}
STANDING = {**ACME, "scale": 0, "available": 40, "pending": 0, "held": 60}


def refusal(reason: Reason, **figures: object) -> RefusedError:
    return RefusedError(Refused(reason=reason, figures=figures))


# The errors of the examples in errors.proto.
ERRORS = {
    "INVALID_FIELD": MalformedError((Violation(field="amount", must="must be 1 to 9223372036854775807; it is 0."),)),
    "INVALID_PAGE_TOKEN": refusal(Reason.INVALID_PAGE_TOKEN),
    "EXPIRY_IN_PAST": refusal(Reason.EXPIRY_IN_PAST, expires_at=JANUARY, now=FEBRUARY),
    "INSTANT_IN_FUTURE": refusal(Reason.INSTANT_IN_FUTURE, field="as_of", as_of=FEBRUARY, now=JANUARY),
    "ACCOUNT_NOT_FOUND": refusal(Reason.ACCOUNT_NOT_FOUND, **ACME),
    "ASSET_NOT_FOUND": refusal(Reason.ASSET_NOT_FOUND, asset="tokens"),
    "HOLD_NOT_FOUND": refusal(Reason.HOLD_NOT_FOUND, hold_id="hd_…"),
    "ENTRY_NOT_FOUND": refusal(Reason.ENTRY_NOT_FOUND, entry_id="en_…"),
    "LOT_NOT_FOUND": refusal(Reason.LOT_NOT_FOUND, lot_id="lt_…"),
    "REQUEST_ID_REUSED": refusal(Reason.REQUEST_ID_REUSED, request_id="r-1", entry_id="en_…", fields="amount"),
    "ACCOUNT_EXISTS": refusal(Reason.ACCOUNT_EXISTS, **ACME),
    "ASSET_EXISTS": refusal(Reason.ASSET_EXISTS, asset="credits", scale=0, requested_scale=2),
    "INSUFFICIENT_CREDITS": refusal(
        Reason.INSUFFICIENT_CREDITS,
        **STANDING,
        required=60,
        shortfall=30,
        out_of_scope=10,
        overdraft=5,
        held_until=FEBRUARY,
    ),
    "HOLD_NOT_ACTIVE": refusal(Reason.HOLD_NOT_ACTIVE, hold_id="hd_…", state="captured", ended_at=FEBRUARY),
    "AMOUNT_ABOVE_HOLD": refusal(
        Reason.AMOUNT_ABOVE_HOLD, **ACME, scale=0, hold_id="hd_…", held=60, capturable=65, required=66
    ),
    "BALANCE_OVERFLOW": refusal(Reason.BALANCE_OVERFLOW, **STANDING, amount=2, limit=2**63 - 1),
    "ENTRY_NOT_REFUNDABLE": refusal(Reason.ENTRY_NOT_REFUNDABLE, entry_id="en_…", kind="grant"),
    "AMOUNT_ABOVE_REFUNDABLE": refusal(
        Reason.AMOUNT_ABOVE_REFUNDABLE, **ACME, scale=0, entry_id="en_…", refundable=20, required=30
    ),
    "AMOUNT_ABOVE_REVOCABLE": refusal(
        Reason.AMOUNT_ABOVE_REVOCABLE, **ACME, scale=0, lot_id="lt_…", revocable=20, required=30
    ),
    "AMOUNT_ABOVE_OWED": refusal(Reason.AMOUNT_ABOVE_OWED, **STANDING, owed=20, required=30),
    "SPEND_LIMIT_REACHED": refusal(
        Reason.SPEND_LIMIT_REACHED,
        **ACME,
        scale=0,
        limit="daily",
        limit_amount=100,
        used=80,
        required=30,
        frees_at=FEBRUARY,
    ),
    "ACCOUNT_FROZEN": refusal(Reason.ACCOUNT_FROZEN, **ACME),
    "ACCOUNT_NOT_FROZEN": refusal(Reason.ACCOUNT_NOT_FROZEN, **ACME),
    "ACCOUNT_CLOSED": refusal(Reason.ACCOUNT_CLOSED, **ACME),
    "ACCOUNT_NOT_EMPTY": refusal(Reason.ACCOUNT_NOT_EMPTY, **STANDING, owed=0, holds=1),
    "ACCOUNT_HAS_HOLDS": refusal(Reason.ACCOUNT_HAS_HOLDS, **STANDING, held_until=FEBRUARY),
    "PRICE_NOT_FOUND": refusal(
        Reason.PRICE_NOT_FOUND, asset="credits", provider="openai", operations="chat", dimensions="model=gpt-9"
    ),
    "UNIT_MISMATCH": refusal(
        Reason.UNIT_MISMATCH, card="gpt-5", version=1, unit="minute", units="input_token, output_token"
    ),
    "COST_OVERFLOW": refusal(Reason.COST_OVERFLOW, card="gpt-5", version=1, limit=2**63 - 1),
    "RATE_CARD_NOT_FOUND": refusal(Reason.RATE_CARD_NOT_FOUND, asset="credits", card="gpt-9", version=0),
    "EFFECTIVE_IN_PAST": refusal(Reason.EFFECTIVE_IN_PAST, card="gpt-5", effective_at=JANUARY, now=FEBRUARY),
    "RATE_CARDS_CLASH": refusal(Reason.RATE_CARDS_CLASH, card="gpt-5", other="gpt-five"),
    "PACKAGE_NOT_FOUND": refusal(Reason.PACKAGE_NOT_FOUND, package="starter"),
    "PACKAGE_EXISTS": refusal(Reason.PACKAGE_EXISTS, package="starter"),
    "PLAN_NOT_FOUND": refusal(Reason.PLAN_NOT_FOUND, plan="pro"),
    "ORDER_NOT_FOUND": refusal(Reason.ORDER_NOT_FOUND, order_id="or_…"),
    "ORDER_NOT_FULFILLABLE": refusal(Reason.ORDER_NOT_FULFILLABLE, order_id="or_…", state="returned"),
    "PAYMENTS_NOT_CONFIGURED": refusal(Reason.PAYMENTS_NOT_CONFIGURED, setting="stripe_api_key"),
    "STRIPE_UNAVAILABLE": refusal(Reason.STRIPE_UNAVAILABLE, stripe_message="connection refused"),
    "STRIPE_REFUSED": refusal(Reason.STRIPE_REFUSED, stripe_message="No such price.", stripe_code="resource_missing"),
    "EVENT_NOT_FOUND": refusal(Reason.EVENT_NOT_FOUND, event_id="evt_…"),
    "NO_PAYMENT_METHOD": refusal(Reason.NO_PAYMENT_METHOD, account_id="acme"),
    "CHANGED_MEANWHILE": refusal(Reason.CHANGED_MEANWHILE, what="package starter"),
    "QUEUE_FULL": QueueFullError(10_000),
    "DATABASE_UNAVAILABLE": DatabaseUnavailableError("what the driver said"),
    "SHUTTING_DOWN": StoppingError(),
    "DEADLINE_PASSED": DeadlinePassedError(),
    "INTERNAL": IncidentError("7f3c…"),
}


def test_every_refusal_and_every_failure_is_in_the_contract_and_nothing_else():
    in_contract = {name.removeprefix("ERROR_REASON_") for name, number in ErrorReason.items() if number}

    assert set(REFUSALS) == set(Reason)
    assert in_contract == set(PROMISES) == set(ERRORS)
    assert {reason.name for reason in Reason} <= in_contract


def test_no_failure_of_the_ledger_is_told_as_another():
    failures = {type(error) for error in ERRORS.values()}

    assert set(NotDoneError.__subclasses__()) <= failures
    assert status_of(NotDoneError()) == status_of(DatabaseUnavailableError())


@pytest.mark.parametrize("reason", PROMISES)
def test_an_error_says_what_the_contract_promises(reason):
    promise, error = PROMISES[reason], ERRORS[reason]

    status = status_of(error)

    info = error_details_pb2.ErrorInfo()
    status.details[0].Unpack(info)
    assert status.code == StatusCode[promise.code].value[0]
    assert info.reason == reason
    assert status.message == promise.example
    assert promise.metadata == set(info.metadata)


def test_no_error_tells_what_went_wrong_inside():
    status = status_of(DatabaseUnavailableError('connection to server at "10.0.0.7" failed'))

    assert b"10.0.0.7" not in status.SerializeToString()


def test_the_documentation_lists_every_reason_with_its_code_and_figures():
    rows = re.findall(r"^\| ([A-Z_]+) \| ([A-Z_]+) \|[^|]*\| ([^|]*?) ?\|", DOCUMENTED.read_text("utf-8"), re.MULTILINE)

    documented = {reason: (code, frozenset(filter(None, figures.split(", ")))) for reason, code, figures in rows}

    assert documented == {reason: (promise.code, promise.metadata) for reason, promise in PROMISES.items()}


def test_a_figure_that_is_not_there_is_not_spoken_of():
    short = refusal(Reason.INSUFFICIENT_CREDITS, **STANDING, required=60, shortfall=20)
    limited = refusal(Reason.SPEND_LIMIT_REACHED, **ACME, limit="a", limit_amount=1, used=1, required=1)
    plain = refusal(Reason.PRICE_NOT_FOUND, asset="credits", provider="openai", operations="chat", dimensions="")
    old = refusal(Reason.RATE_CARD_NOT_FOUND, asset="credits", card="gpt-5", version=7)

    assert status_of(short).message == (
        "Account acme has 40 credits available; this needs 60. Grant credits or ask for less."
    )
    assert status_of(limited).message.endswith("this needs 1.")
    assert status_of(plain).message == "No rate card of credits covers chat by openai. Apply one that does."
    assert status_of(old).message.startswith("There is no rate card gpt-5 of credits in version 7.")


@pytest.mark.parametrize("reason", PROMISES)
def test_an_error_among_other_answers_says_what_it_says_alone(reason):
    status = status_of(ERRORS[reason])
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    status.details[0].Unpack(info)
    retries = [detail for detail in status.details if detail.Unpack(retry)]

    error = error_message(status)

    assert (error.code, error.message) == (status.code, status.message)
    assert (error.reason, error.metadata) == (info.reason, info.metadata)
    assert error.HasField("retry_delay") == bool(retries)
    assert not retries or error.retry_delay == retry.retry_delay
