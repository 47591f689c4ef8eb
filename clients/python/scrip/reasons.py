"""How a failed call, an outcome, or an argument becomes an error."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from scrip.billing_errors import (
    ChangedMeanwhile,
    EventNotFound,
    NoPaymentMethod,
    OrderNotFound,
    OrderNotFulfillable,
    PackageExists,
    PackageNotFound,
    PaymentsNotConfigured,
    PlanNotFound,
    StripeRefused,
    StripeUnavailable,
)
from scrip.errors import (
    AccountClosed,
    AccountExists,
    AccountFrozen,
    AccountHasHolds,
    AccountNotEmpty,
    AccountNotFound,
    AccountNotFrozen,
    AlreadyExists,
    AmountAboveHold,
    AmountAboveOwed,
    AmountAboveRefundable,
    AmountAboveRevocable,
    AssetExists,
    AssetNotFound,
    BalanceOverflow,
    DeadlineExceeded,
    EntryNotFound,
    EntryNotRefundable,
    ExpiryInPast,
    FailedPrecondition,
    FieldViolation,
    HoldNotActive,
    HoldNotFound,
    InstantInFuture,
    InsufficientCredits,
    Internal,
    InvalidArgument,
    InvalidField,
    InvalidPageToken,
    LotNotFound,
    NotFound,
    PermissionDenied,
    QueueFull,
    RequestIdReused,
    ResourceExhausted,
    ScripError,
    SpendLimitReached,
    Unauthenticated,
    Unavailable,
    place_in_batch,
)
from scrip.pricing_errors import (
    CostOverflow,
    EffectiveInPast,
    PriceNotFound,
    RateCardNotFound,
    RateCardsClash,
    UnitMismatch,
)
from scrip.v1.errors_pb2 import Error, ErrorReason

DOMAIN = "scrip"
_PREFIX = "ERROR_REASON_"

CODES: Mapping[grpc.StatusCode, type[ScripError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExists,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhausted,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    # The caller did not cancel it, so a stopping server did.
    grpc.StatusCode.CANCELLED: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.INTERNAL: Internal,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
}

REASONS: Mapping[ErrorReason.ValueType, type[ScripError]] = {
    ErrorReason.ERROR_REASON_INVALID_FIELD: InvalidField,
    ErrorReason.ERROR_REASON_INVALID_PAGE_TOKEN: InvalidPageToken,
    ErrorReason.ERROR_REASON_EXPIRY_IN_PAST: ExpiryInPast,
    ErrorReason.ERROR_REASON_INSTANT_IN_FUTURE: InstantInFuture,
    ErrorReason.ERROR_REASON_ACCOUNT_NOT_FOUND: AccountNotFound,
    ErrorReason.ERROR_REASON_ASSET_NOT_FOUND: AssetNotFound,
    ErrorReason.ERROR_REASON_HOLD_NOT_FOUND: HoldNotFound,
    ErrorReason.ERROR_REASON_ENTRY_NOT_FOUND: EntryNotFound,
    ErrorReason.ERROR_REASON_LOT_NOT_FOUND: LotNotFound,
    ErrorReason.ERROR_REASON_REQUEST_ID_REUSED: RequestIdReused,
    ErrorReason.ERROR_REASON_ACCOUNT_EXISTS: AccountExists,
    ErrorReason.ERROR_REASON_ASSET_EXISTS: AssetExists,
    ErrorReason.ERROR_REASON_INSUFFICIENT_CREDITS: InsufficientCredits,
    ErrorReason.ERROR_REASON_HOLD_NOT_ACTIVE: HoldNotActive,
    ErrorReason.ERROR_REASON_AMOUNT_ABOVE_HOLD: AmountAboveHold,
    ErrorReason.ERROR_REASON_BALANCE_OVERFLOW: BalanceOverflow,
    ErrorReason.ERROR_REASON_ENTRY_NOT_REFUNDABLE: EntryNotRefundable,
    ErrorReason.ERROR_REASON_AMOUNT_ABOVE_REFUNDABLE: AmountAboveRefundable,
    ErrorReason.ERROR_REASON_AMOUNT_ABOVE_REVOCABLE: AmountAboveRevocable,
    ErrorReason.ERROR_REASON_AMOUNT_ABOVE_OWED: AmountAboveOwed,
    ErrorReason.ERROR_REASON_SPEND_LIMIT_REACHED: SpendLimitReached,
    ErrorReason.ERROR_REASON_ACCOUNT_FROZEN: AccountFrozen,
    ErrorReason.ERROR_REASON_ACCOUNT_NOT_FROZEN: AccountNotFrozen,
    ErrorReason.ERROR_REASON_ACCOUNT_CLOSED: AccountClosed,
    ErrorReason.ERROR_REASON_ACCOUNT_NOT_EMPTY: AccountNotEmpty,
    ErrorReason.ERROR_REASON_ACCOUNT_HAS_HOLDS: AccountHasHolds,
    ErrorReason.ERROR_REASON_QUEUE_FULL: QueueFull,
    ErrorReason.ERROR_REASON_DATABASE_UNAVAILABLE: Unavailable,
    ErrorReason.ERROR_REASON_SHUTTING_DOWN: Unavailable,
    ErrorReason.ERROR_REASON_DEADLINE_PASSED: DeadlineExceeded,
    ErrorReason.ERROR_REASON_PRICE_NOT_FOUND: PriceNotFound,
    ErrorReason.ERROR_REASON_UNIT_MISMATCH: UnitMismatch,
    ErrorReason.ERROR_REASON_COST_OVERFLOW: CostOverflow,
    ErrorReason.ERROR_REASON_RATE_CARD_NOT_FOUND: RateCardNotFound,
    ErrorReason.ERROR_REASON_EFFECTIVE_IN_PAST: EffectiveInPast,
    ErrorReason.ERROR_REASON_RATE_CARDS_CLASH: RateCardsClash,
    ErrorReason.ERROR_REASON_PACKAGE_NOT_FOUND: PackageNotFound,
    ErrorReason.ERROR_REASON_PACKAGE_EXISTS: PackageExists,
    ErrorReason.ERROR_REASON_PLAN_NOT_FOUND: PlanNotFound,
    ErrorReason.ERROR_REASON_ORDER_NOT_FOUND: OrderNotFound,
    ErrorReason.ERROR_REASON_ORDER_NOT_FULFILLABLE: OrderNotFulfillable,
    ErrorReason.ERROR_REASON_PAYMENTS_NOT_CONFIGURED: PaymentsNotConfigured,
    ErrorReason.ERROR_REASON_STRIPE_UNAVAILABLE: StripeUnavailable,
    ErrorReason.ERROR_REASON_STRIPE_REFUSED: StripeRefused,
    ErrorReason.ERROR_REASON_EVENT_NOT_FOUND: EventNotFound,
    ErrorReason.ERROR_REASON_NO_PAYMENT_METHOD: NoPaymentMethod,
    ErrorReason.ERROR_REASON_CHANGED_MEANWHILE: ChangedMeanwhile,
    ErrorReason.ERROR_REASON_INTERNAL: Internal,
}

_STATUS = {code.value[0]: code for code in grpc.StatusCode}

_UNDECIDED = {
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.UNKNOWN,
}


def invalid(field: str, rule: str) -> InvalidField:
    """Make the error for an argument that no request can carry, worded as the server would."""
    message = f"{field} {rule}."
    return InvalidField(
        grpc.StatusCode.INVALID_ARGUMENT,
        ErrorReason.ERROR_REASON_INVALID_FIELD,
        message,
        {"field": field, "must": f"{rule}."},
        violations=(FieldViolation(field=field, description=message),),
        reason_name="INVALID_FIELD",
    )


def closed(request_ids: Sequence[str]) -> ScripError:
    """Make the error for a call that was under way when its client was closed."""
    return ScripError(
        grpc.StatusCode.CANCELLED,
        ErrorReason.ERROR_REASON_UNSPECIFIED,
        _undecided("The client was closed", request_ids),
        request_id=_the_one(request_ids, None),
    )


def timed_out(request_ids: Sequence[str], *, sent: bool) -> ScripError:
    """Make the error for a change that had no answer when its deadline passed; if it was not sent, it was not done."""
    reason = "" if sent else "DEADLINE_PASSED"
    late = "The deadline passed"
    return DeadlineExceeded(
        grpc.StatusCode.DEADLINE_EXCEEDED,
        _reason(reason),
        _undecided(late, request_ids) if sent else f"{late} before this was sent; nothing was written.",
        request_id=_the_one(request_ids, None),
        reason_name=reason,
    )


def ended_early(request_ids: Sequence[str]) -> ScripError:
    """Make the error for a stream that the server ended before all was answered."""
    return Unavailable(
        grpc.StatusCode.UNAVAILABLE,
        ErrorReason.ERROR_REASON_UNSPECIFIED,
        _undecided("The server ended the stream before all was answered", request_ids),
        request_id=_the_one(request_ids, None),
    )


def from_rpc(error: grpc.RpcError, request_ids: Sequence[str]) -> ScripError:
    """Make the error that a failed RPC means.

    error         from either kind of channel
    request_ids   of the request; several of a batch, none if it changes nothing
    """
    code = error.code()
    details = _details(error)
    message = error.details() or code.name
    info = _only(error_details_pb2.ErrorInfo, details)
    if info is None or info.domain != DOMAIN:
        # gRPC's own words, or a proxy's, which know nothing of request_ids.
        if code in _UNDECIDED:
            message = _undecided(message, request_ids)
        info = error_details_pb2.ErrorInfo()
    retry = _only(error_details_pb2.RetryInfo, details)
    malformed = _only(error_details_pb2.BadRequest, details)
    figures = dict(info.metadata)
    return _kind(code, info.reason)(
        code,
        _reason(info.reason),
        message,
        figures,
        _the_one(request_ids, place_in_batch(figures)),
        retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9 if retry else None,
        _violations(malformed.field_violations if malformed else ()),
        info.reason,
    )


def from_outcome(error: Error, request_id: str | None) -> ScripError:
    """Make the error that an outcome means, as if it had ended a call of its own."""
    code = _STATUS.get(error.code, grpc.StatusCode.UNKNOWN)
    retry_after_s = error.retry_delay.seconds + error.retry_delay.nanos / 1e9
    return _kind(code, error.reason)(
        code,
        _reason(error.reason),
        error.message,
        dict(error.metadata),
        request_id,
        retry_after_s if error.HasField("retry_delay") else None,
        _violations(error.violations),
        error.reason,
    )


def _violations(found: Iterable[Any]) -> tuple[FieldViolation, ...]:
    return tuple(FieldViolation(field=one.field, description=one.description) for one in found)


def _undecided(what: str, request_ids: Sequence[str]) -> str:
    if not request_ids:
        return what
    repeat = f"request_id {request_ids[0]}" if len(request_ids) == 1 else "the same request_ids"
    return f"{what}. It may or may not have been done: repeat it with {repeat}."


def _the_one(request_ids: Sequence[str], place: int | None) -> str | None:
    """Find the request_id that an error is about; None if it is about several, or none."""
    if place is not None and place < len(request_ids):
        return request_ids[place]
    return request_ids[0] if len(request_ids) == 1 else None


def _kind(code: grpc.StatusCode, reason: str) -> type[ScripError]:
    return REASONS.get(_reason(reason)) or CODES.get(code, ScripError)


def _reason(name: str) -> ErrorReason.ValueType:
    try:
        return ErrorReason.Value(_PREFIX + name)
    except ValueError:
        return ErrorReason.ERROR_REASON_UNSPECIFIED


def _details(error: grpc.RpcError) -> list[Any]:
    """Read what came beside the code and the message; none, if it cannot be read."""
    try:
        status = rpc_status.from_call(error)
    except (ValueError, DecodeError):
        return []
    return list(status.details) if status else []


def _only(kind: type[Message], details: list[Any]) -> Any:  # noqa: ANN401 -- google.rpc comes without types
    """Find the detail of one kind; None if there is none, or it cannot be read."""
    for detail in details:
        if detail.Is(kind.DESCRIPTOR):
            found = kind()
            try:
                detail.Unpack(found)
            except DecodeError:
                return None
            return found
    return None
