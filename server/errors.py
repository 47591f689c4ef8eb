"""How a refusal or a failure is told to a caller: one table from reason to code and sentence."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from types import MappingProxyType
from typing import Final, NoReturn

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from scrip.v1 import errors_pb2

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
)
from server.output import text_of

DOMAIN: Final = "scrip"
_RETRY_MS: Final = 100
# An error travels in headers, of which clients take 8 KiB, and each text is in them several times.
_FIGURE_LENGTH_MAX: Final = 128
_SENTENCES_BYTES_MAX: Final = 800


class RefusedError(Exception):
    """Carries a refusal out of a handler."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.reason)
        self.refused = refused


@dataclass(frozen=True, slots=True, kw_only=True)
class _Telling:
    code: grpc.StatusCode
    message: str


_INVALID, _NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
_EXISTS, _PRECONDITION = grpc.StatusCode.ALREADY_EXISTS, grpc.StatusCode.FAILED_PRECONDITION

# The figures in braces are those of the refusal; each of them is also in the metadata of the ErrorInfo.
REFUSALS: Final = MappingProxyType(
    {
        Reason.INVALID_PAGE_TOKEN: _Telling(
            code=_INVALID,
            message="page_token is not one this call gave out for these filters. Start again without it.",
        ),
        Reason.EXPIRY_IN_PAST: _Telling(
            code=_INVALID, message="expires_at {expires_at} is not after now, {now}. Name a later instant."
        ),
        Reason.INSTANT_IN_FUTURE: _Telling(
            code=_INVALID, message="{as_of} is still to come; it is {now} now. Name an instant that is past."
        ),
        Reason.ACCOUNT_NOT_FOUND: _Telling(
            code=_NOT_FOUND, message="Account {account_id} has no {asset} account. Open it with OpenAccount first."
        ),
        Reason.ASSET_NOT_FOUND: _Telling(
            code=_NOT_FOUND, message="Asset {asset} is not defined. Define it with DefineAsset first."
        ),
        Reason.HOLD_NOT_FOUND: _Telling(
            code=_NOT_FOUND, message="No hold has the id {hold_id}. Use the hold_id that Hold answered with."
        ),
        Reason.ENTRY_NOT_FOUND: _Telling(
            code=_NOT_FOUND,
            message="No entry has the id {entry_id}. Use an entry_id that a change or History answered with.",
        ),
        Reason.LOT_NOT_FOUND: _Telling(
            code=_NOT_FOUND,
            message="No lot has the id {lot_id}. Use a lot_id that a change or ListLots answered with.",
        ),
        Reason.REQUEST_ID_REUSED: _Telling(
            code=_EXISTS,
            message="request_id {request_id} was used before with another {fields}. "
            "Use a new request_id for a new request.",
        ),
        Reason.ACCOUNT_EXISTS: _Telling(code=_EXISTS, message="Account {account_id} already has a {asset} account."),
        Reason.ASSET_EXISTS: _Telling(
            code=_EXISTS,
            message="Asset {asset} has scale {scale} for ever; it cannot become {requested_scale}. "
            "Define another asset.",
        ),
        Reason.INSUFFICIENT_CREDITS: _Telling(
            code=_PRECONDITION,
            message="Account {account_id} has {available} {asset} available{out_of_scope}{overdraft}; "
            "this needs {required}. Grant credits or ask for less.",
        ),
        Reason.HOLD_NOT_ACTIVE: _Telling(
            code=_PRECONDITION, message="Hold {hold_id} {state} at {ended_at}. Make a new hold."
        ),
        Reason.AMOUNT_ABOVE_HOLD: _Telling(
            code=_PRECONDITION,
            message="Hold {hold_id} holds {held}; {required} cannot be captured. Capture at most {capturable}.",
        ),
        Reason.ENTRY_NOT_REFUNDABLE: _Telling(
            code=_PRECONDITION,
            message="Entry {entry_id} is of kind {kind}. Refund an entry of kind deduct or capture.",
        ),
        Reason.AMOUNT_ABOVE_REFUNDABLE: _Telling(
            code=_PRECONDITION,
            message="Of entry {entry_id} {refundable} can still be refunded; {required} cannot. "
            "Refund at most {refundable}.",
        ),
        Reason.AMOUNT_ABOVE_REVOCABLE: _Telling(
            code=_PRECONDITION,
            message="Of lot {lot_id} {revocable} can be revoked; {required} cannot. Revoke at most {revocable}.",
        ),
        Reason.AMOUNT_ABOVE_OWED: _Telling(
            code=_PRECONDITION,
            message="Account {account_id} owes {owed} {asset}; {required} cannot be written off. "
            "Write off at most {owed}.",
        ),
        Reason.SPEND_LIMIT_REACHED: _Telling(
            code=_PRECONDITION,
            message="Limit {limit} lets account {account_id} spend {limit_amount} {asset}, of which {used} are used; "
            "this needs {required}.{frees_at}",
        ),
        Reason.BALANCE_OVERFLOW: _Telling(
            code=_PRECONDITION,
            message="Account {account_id} cannot take {amount} more {asset}: a balance ends at {limit}.",
        ),
        Reason.ACCOUNT_FROZEN: _Telling(
            code=_PRECONDITION,
            message="The {asset} account of {account_id} is frozen. Unfreeze it with UnfreezeAccount first.",
        ),
        Reason.ACCOUNT_NOT_FROZEN: _Telling(
            code=_PRECONDITION, message="The {asset} account of {account_id} is not frozen."
        ),
        Reason.ACCOUNT_CLOSED: _Telling(
            code=_PRECONDITION, message="The {asset} account of {account_id} is closed. Use another account."
        ),
        Reason.ACCOUNT_NOT_EMPTY: _Telling(
            code=_PRECONDITION,
            message="Account {account_id} has {available} {asset} available, {pending} pending, {held} held by "
            "{holds} open holds, and owes {owed}. Close it when nothing is left.",
        ),
        Reason.ACCOUNT_HAS_HOLDS: _Telling(
            code=_PRECONDITION,
            message="Account {account_id} has open holds of {held} {asset}, the first until {held_until}. "
            "Capture or release them first.",
        ),
        Reason.PRICE_NOT_FOUND: _Telling(
            code=_NOT_FOUND,
            message="No rate card of {asset} covers {operations} by {provider}{dimensions}. Apply one that does.",
        ),
        Reason.UNIT_MISMATCH: _Telling(
            code=_INVALID,
            message="Rate card {card} has no rate for {unit}; it has {units}. Tell quantities in these.",
        ),
        Reason.COST_OVERFLOW: _Telling(
            code=_INVALID, message="By rate card {card} this costs more than {limit}. Check the quantities."
        ),
        Reason.RATE_CARD_NOT_FOUND: _Telling(
            code=_NOT_FOUND,
            message="There is no rate card {card} of {asset}{version}. ListRateCards tells which there are.",
        ),
        Reason.EFFECTIVE_IN_PAST: _Telling(
            code=_INVALID,
            message="effective_at {effective_at} of rate card {card} is before now, {now}. "
            "Name a later instant, or none.",
        ),
        Reason.RATE_CARDS_CLASH: _Telling(
            code=_PRECONDITION,
            message="Rate cards {card} and {other} cover the same provider, operations and dimensions. "
            "Retire one of them.",
        ),
        Reason.PACKAGE_NOT_FOUND: _Telling(
            code=_NOT_FOUND,
            message="There is no package {package} on sale. ListPackages tells which there are.",
        ),
        Reason.PACKAGE_EXISTS: _Telling(
            code=_EXISTS, message="There is a package {package} already. Change it with UpdatePackage."
        ),
        Reason.PLAN_NOT_FOUND: _Telling(
            code=_NOT_FOUND, message="There is no plan {plan} on sale. ListPlans tells which there are."
        ),
        Reason.ORDER_NOT_FOUND: _Telling(
            code=_NOT_FOUND,
            message="No order has the id {order_id}. Use the order_id that CreateCheckout answered with.",
        ),
        Reason.ORDER_NOT_FULFILLABLE: _Telling(
            code=_PRECONDITION, message="Order {order_id} is {state}. Make a new one."
        ),
        Reason.PAYMENTS_NOT_CONFIGURED: _Telling(
            code=_PRECONDITION, message="This server is not set up for that: set {setting}."
        ),
        Reason.STRIPE_UNAVAILABLE: _Telling(
            code=grpc.StatusCode.UNAVAILABLE,
            message="Stripe did not do this: {stripe_message}. Retry with the same request_id.",
        ),
        Reason.STRIPE_REFUSED: _Telling(
            code=_PRECONDITION,
            message="Stripe refused this: {stripe_message}. Correct the package, the plan or the key.",
        ),
        Reason.EVENT_NOT_FOUND: _Telling(code=_NOT_FOUND, message="Neither Scrip nor Stripe has an event {event_id}."),
        Reason.NO_PAYMENT_METHOD: _Telling(
            code=_PRECONDITION,
            message="Account {account_id} has no saved payment method. "
            "Let it pay a checkout with save_payment_method first.",
        ),
        Reason.CHANGED_MEANWHILE: _Telling(
            code=_PRECONDITION, message="{what} was changed meanwhile. Look at it and try again."
        ),
    }
)

# What is said of a figure that not every refusal of its reason has.
_ASIDES: Final = MappingProxyType(
    {
        "out_of_scope": " ({} of them for other operations)",
        "overdraft": " and may owe {} more",
        "frees_at": " Room comes free at {}.",
        "dimensions": " ({})",
        "version": " in version {}",
    }
)

_STATES: Final = {"captured": "was captured", "released": "was released", "lapsed": "ran out"}
# Stripe is asked again later than a full queue.
_STRIPE_RETRY_S: Final = 1


def status_of(error: Exception) -> Status:
    """What to tell the caller about an error that a handler raised; anything unknown is an INTERNAL without details."""
    match error:
        case RefusedError():
            return _refused(error.refused)
        case MalformedError():
            return _malformed(error)
        case QueueFullError():
            message = f"{error.queue_max} changes are waiting already. Retry after 0.1 s with the same request_id."
            figures = {"queue_max": str(error.queue_max), "retry_after_s": "0.1"}
            return _status(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", message, figures, _RETRY)
        case StoppingError():
            message = "This server is stopping. Retry with the same request_id."
            return _status(grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN", message, {}, _RETRY)
        case DeadlinePassedError():
            message = "The deadline passed before this was decided; nothing was written."
            return _status(grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_PASSED", message, {})
        case NotDoneError() | DatabaseUnavailableError():
            message = "The database did not confirm this. Retry with the same request_id."
            return _status(grpc.StatusCode.UNAVAILABLE, "DATABASE_UNAVAILABLE", message, {}, _RETRY)
        case IncidentError():
            message = f"Something broke inside Scrip. Report incident {error.incident_id}."
            return _status(grpc.StatusCode.INTERNAL, "INTERNAL", message, {"incident_id": error.incident_id})
    raise AssertionError("an unknown error becomes an IncidentError first") from error


def sentence_of(refused: Refused) -> str:
    """What a refusal says."""
    sentence: str = _refused(refused).message
    return sentence


async def abort(context: grpc.aio.ServicerContext[Message, Message], status: Status) -> NoReturn:
    """Ends the call with the status and its details."""
    details = (("grpc-status-details-bin", status.SerializeToString()),)
    await context.abort(code_of(status), status.message, trailing_metadata=details)
    raise AssertionError("abort raises")


def code_of(status: Status) -> grpc.StatusCode:
    """The canonical code of a status."""
    return _CODES[status.code]


def error_message(status: Status) -> errors_pb2.Error:
    """A status as a value, for an answer that tells of several requests."""
    found = errors_pb2.Error(code=status.code, message=status.message)
    info, retry, malformed = ErrorInfo(), RetryInfo(), BadRequest()
    for detail in status.details:
        if detail.Unpack(info):
            found.reason = info.reason
            found.metadata.update(info.metadata)
        elif detail.Unpack(retry):
            found.retry_delay.CopyFrom(retry.retry_delay)
        elif detail.Unpack(malformed):
            for violation in malformed.field_violations:
                found.violations.add(field=violation.field, description=violation.description)
    return found


_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
_RETRY: Final = RetryInfo(retry_delay=Duration(nanos=_RETRY_MS * 1_000_000))


def told_figures(refused: Refused) -> dict[str, str]:
    """The figures of a refusal as they are told."""
    return {name: _told(figure) for name, figure in refused.figures.items()}


def _refused(refused: Refused) -> Status:
    telling = REFUSALS[refused.reason]
    figures = told_figures(refused)
    state = figures.get("state", "")
    shown = {**figures, "state": _STATES.get(state, state)}
    # What others say ends with a full stop or without one.
    shown["stripe_message"] = figures.get("stripe_message", "").rstrip(".")
    # Asked for all assets, a customer who has none has no open account.
    shown["asset"] = figures.get("asset") or "open"
    shown["fields"] = figures.get("fields", "").replace(",", " and another ")
    # A price may depend on no dimensions, and a rate card be asked for in no version.
    told = {name: figures[name] for name in _ASIDES if figures.get(name) not in {None, "", "0"}}
    asides = {name: words.format(told[name]) if name in told else "" for name, words in _ASIDES.items()}
    message = telling.message.format_map({**shown, **asides})
    if figures.get("scale", "0") != "0" and refused.reason is not Reason.ASSET_EXISTS:
        message += f" Amounts count units of 10^-{figures['scale']}."
    details: list[Message] = []
    if field := _FIELDS.get(refused.reason) or figures.get("field"):
        violation = BadRequest.FieldViolation(field=field, description=message)
        details = [BadRequest(field_violations=[violation])]
    if refused.reason is Reason.STRIPE_UNAVAILABLE:
        details = [RetryInfo(retry_delay=Duration(seconds=_STRIPE_RETRY_S))]
    return _status(telling.code, refused.reason.name, message, figures, *details)


def _told(figure: str | int | datetime) -> str:
    text = text_of(figure) if isinstance(figure, datetime) else str(figure)
    return text if len(text) <= _FIGURE_LENGTH_MAX else f"{text[:_FIGURE_LENGTH_MAX]}…"


# What is wrong with a request that is well formed; other refusals say it, or blame none.
_FIELDS: Final = {
    Reason.INVALID_PAGE_TOKEN: "page_token",
    Reason.EXPIRY_IN_PAST: "expires_at",
    Reason.UNIT_MISMATCH: "usage.quantities",
    Reason.COST_OVERFLOW: "usage.quantities",
    Reason.EFFECTIVE_IN_PAST: "cards",
}


def _malformed(error: MalformedError) -> Status:
    sentences = [f"{violation.field} {violation.must}" for violation in error.violations]
    sizes = accumulate(len(sentence.encode()) for sentence in sentences)
    # A request can have thousands of malformed fields; the first are enough to begin with.
    told = list(zip(error.violations, sentences, strict=True))[: sum(size <= _SENTENCES_BYTES_MAX for size in sizes)]
    violations = [
        BadRequest.FieldViolation(field=violation.field, description=sentence) for violation, sentence in told
    ]
    message = " ".join(sentence for _, sentence in told)
    figures = {"field": error.violations[0].field, "must": " ".join(violation.must for violation, _ in told)}
    return _status(_INVALID, "INVALID_FIELD", message, figures, BadRequest(field_violations=violations))


def _status(code: grpc.StatusCode, reason: str, message: str, figures: Mapping[str, str], *details: Message) -> Status:
    status = Status(code=code.value[0], message=message)
    status.details.add().Pack(ErrorInfo(reason=reason, domain=DOMAIN, metadata=figures))
    for detail in details:
        status.details.add().Pack(detail)
    return status
