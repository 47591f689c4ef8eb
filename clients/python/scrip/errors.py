"""What a call raises when it is not answered with what was asked for.

One class per canonical gRPC code, and below it one per reason of the contract (protos/scrip/v1/errors.proto) that has
figures of its own. `except NotFound` therefore also catches a reason that only a newer server knows.
"""
# ruff: noqa: N818 -- the reasons of the contract are the names; `except InsufficientCredits` reads as the books speak

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, Self, TypeVar, overload

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from scrip.v1.errors_pb2 import ErrorReason

T = TypeVar("T")

DOMAIN = "scrip"
_PREFIX = "ERROR_REASON_"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldViolation:
    """What is wrong with one field of a request.

    field         its name in the contract, such as "amount" or "cost.currency"
    description   what it must be and is, a sentence
    """

    field: str
    description: str


class ScripError(Exception):
    """A call that was refused, or failed.

    code            the canonical gRPC code
    reason          why, from the contract's ErrorReason; ERROR_REASON_UNSPECIFIED if the server gave none, or one that
                    this client does not know
    message         a sentence for the reader
    metadata        every figure of the message, as text
    request_id      of the change that was asked for, also when this client made it up: repeat an Unavailable or a
                    DeadlineExceeded with it and nothing is done twice. None for calls that change nothing
    retry_after_s   seconds to wait before a retry; None if the server did not say
    violations      the fields that are malformed
    reason_name     the reason as the server wrote it, such as "INSUFFICIENT_CREDITS"; empty if it gave none
    """

    def __init__(  # noqa: PLR0917 -- as positional as its pickle
        self,
        code: grpc.StatusCode,
        reason: ErrorReason.ValueType,
        message: str,
        metadata: Mapping[str, str] | None = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
        violations: tuple[FieldViolation, ...] = (),
        reason_name: str = "",
    ) -> None:
        # All of them, because an exception is pickled as its class and these.
        super().__init__(code, reason, message, metadata, request_id, retry_after_s, violations, reason_name)
        self.code = code
        self.reason = reason
        self.message = message
        self.metadata: Mapping[str, str] = dict(metadata or {})
        self.request_id = request_id
        self.retry_after_s = retry_after_s
        self.violations = violations
        self.reason_name = reason_name

    def __str__(self) -> str:
        return self.message


class _Said(Generic[T]):
    """A figure that the server said: the error's metadata under the attribute's own name.

    Raises AttributeError where the server did not say it, against the contract.
    """

    def __init__(self, read: Callable[[str], T]) -> None:
        self._read = read
        self._name = ""

    def __set_name__(self, owner: type[ScripError], name: str) -> None:
        self._name = name

    @overload
    def __get__(self, error: None, owner: type[ScripError]) -> Self: ...
    @overload
    def __get__(self, error: ScripError, owner: type[ScripError]) -> T: ...
    def __get__(self, error: ScripError | None, owner: type[ScripError]) -> Self | T:
        if error is None:
            return self
        said = error.metadata.get(self._name)
        return self._absent(owner) if said is None else self._read(said)

    def _absent(self, owner: type[ScripError]) -> T:
        raise AttributeError(f"The server did not say {self._name} with this {owner.__name__}.")


class _MaySay(_Said[T | None]):
    """As _Said, but None where the server did not say it, as the contract allows."""

    def _absent(self, owner: type[ScripError]) -> T | None:  # noqa: ARG002 -- absent is absent, whoever owns it
        return None


def _instant(said: str) -> datetime:
    instant = datetime.fromisoformat(said)
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _names(said: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in said.split(",") if name.strip())


class InvalidArgument(ScripError):
    """INVALID_ARGUMENT: the request is malformed. Nothing was written; the same request will never succeed."""


class InvalidField(InvalidArgument):
    """A field is malformed; `violations` names each and says what it must be.

    Also raised, without a call, for an argument that no request can carry: an amount that is no whole number or does
    not fit an int64, a datetime without a time zone, an unknown source.

    field, must   the first of the violations
    """

    field = _Said(str)
    must = _Said(str)


class InvalidPageToken(InvalidArgument):
    """The page token was not given out by this call, or for other filters."""


class ExpiryInPast(InvalidArgument):
    """The grant would have run out already.

    expires_at   when it would
    now          the ledger's time
    """

    expires_at = _Said(_instant)
    now = _Said(_instant)


class NotFound(ScripError):
    """NOT_FOUND: what was named does not exist. Nothing was written."""


class AccountNotFound(NotFound):
    """The customer has no account in this asset. Open it with open_account."""

    account_id = _Said(str)
    asset = _Said(str)


class AssetNotFound(NotFound):
    """The asset was never defined. Define it with define_asset."""

    asset = _Said(str)


class HoldNotFound(NotFound):
    """No hold has this id."""

    hold_id = _Said(str)


class EntryNotFound(NotFound):
    """No entry has this id."""

    entry_id = _Said(str)


class AlreadyExists(ScripError):
    """ALREADY_EXISTS: it is there already, and is something else. Nothing was written."""


class RequestIdReused(AlreadyExists):
    """The account's request_id was used for something else before.

    entry_id   the entry that the first request wrote
    fields     names of the fields in which the two differ
    """

    entry_id = _Said(str)
    fields = _Said(_names)


class AccountExists(AlreadyExists):
    """The account was opened before, by another request."""

    account_id = _Said(str)
    asset = _Said(str)


class AssetExists(AlreadyExists):
    """The asset is defined with another scale.

    scale             its decimal places, for ever
    requested_scale   what was asked for
    """

    asset = _Said(str)
    scale = _Said(int)
    requested_scale = _Said(int)


class FailedPrecondition(ScripError):
    """FAILED_PRECONDITION: the books say no. Nothing was written; it can succeed once the books have changed."""


class InsufficientCredits(FailedPrecondition):
    """Not enough is available.

    account_id, asset     whose, and of what
    scale                 decimal places of the asset; 150 with scale 2 is 1.50
    available             smallest units that are spendable now
    pending               granted, but effective only later
    required, shortfall   what was asked for, and how much of it is missing
    held                  set aside by open holds, so it may come back
    held_until            when the first of them runs out; None if nothing is held
    """

    account_id = _Said(str)
    asset = _Said(str)
    scale = _Said(int)
    available = _Said(int)
    pending = _Said(int)
    required = _Said(int)
    shortfall = _Said(int)
    held = _Said(int)
    held_until = _MaySay(_instant)


class HoldNotActive(FailedPrecondition):
    """The hold was captured or released before, or ran out.

    state      which of them, in the contract's words
    ended_at   when
    """

    hold_id = _Said(str)
    state = _Said(str)
    ended_at = _Said(_instant)


class AmountAboveHold(FailedPrecondition):
    """The capture is above what the hold has; the hold is still open.

    held       smallest units that the hold has
    required   what was to be captured
    """

    hold_id = _Said(str)
    account_id = _Said(str)
    asset = _Said(str)
    scale = _Said(int)
    held = _Said(int)
    required = _Said(int)


class BalanceOverflow(FailedPrecondition):
    """Available, pending and held together would be above `limit`. All figures are smallest units of the asset."""

    account_id = _Said(str)
    asset = _Said(str)
    scale = _Said(int)
    available = _Said(int)
    pending = _Said(int)
    held = _Said(int)
    amount = _Said(int)
    limit = _Said(int)


class ResourceExhausted(ScripError):
    """RESOURCE_EXHAUSTED: too fast. Nothing was written; retry after `retry_after_s` with the same request_id."""


class QueueFull(ResourceExhausted):
    """Too many changes are waiting: `queue_max` of them."""

    queue_max = _Said(int)


class Unavailable(ScripError):
    """UNAVAILABLE: the server or its database cannot be reached, whatever the reason.

    The change may or may not have been done: repeat it with the error's `request_id`. The client has already repeated
    it as often as its deadline allowed.
    """


class DeadlineExceeded(ScripError):
    """DEADLINE_EXCEEDED: no answer within the deadline.

    The change may or may not have been done: repeat it with the error's `request_id`. If `reason` is
    ERROR_REASON_DEADLINE_PASSED, it was not.
    """


class Internal(ScripError):
    """INTERNAL: a bug in Scrip; its log has the details under `incident_id`."""

    incident_id = _Said(str)


class Unauthenticated(ScripError):
    """UNAUTHENTICATED: the server does not know who is calling."""


class PermissionDenied(ScripError):
    """PERMISSION_DENIED: the caller may not do this."""


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
    ErrorReason.ERROR_REASON_ACCOUNT_NOT_FOUND: AccountNotFound,
    ErrorReason.ERROR_REASON_ASSET_NOT_FOUND: AssetNotFound,
    ErrorReason.ERROR_REASON_HOLD_NOT_FOUND: HoldNotFound,
    ErrorReason.ERROR_REASON_ENTRY_NOT_FOUND: EntryNotFound,
    ErrorReason.ERROR_REASON_REQUEST_ID_REUSED: RequestIdReused,
    ErrorReason.ERROR_REASON_ACCOUNT_EXISTS: AccountExists,
    ErrorReason.ERROR_REASON_ASSET_EXISTS: AssetExists,
    ErrorReason.ERROR_REASON_INSUFFICIENT_CREDITS: InsufficientCredits,
    ErrorReason.ERROR_REASON_HOLD_NOT_ACTIVE: HoldNotActive,
    ErrorReason.ERROR_REASON_AMOUNT_ABOVE_HOLD: AmountAboveHold,
    ErrorReason.ERROR_REASON_BALANCE_OVERFLOW: BalanceOverflow,
    ErrorReason.ERROR_REASON_QUEUE_FULL: QueueFull,
    ErrorReason.ERROR_REASON_DATABASE_UNAVAILABLE: Unavailable,
    ErrorReason.ERROR_REASON_SHUTTING_DOWN: Unavailable,
    ErrorReason.ERROR_REASON_DEADLINE_PASSED: DeadlineExceeded,
    ErrorReason.ERROR_REASON_INTERNAL: Internal,
}

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


def closed(request_id: str | None) -> ScripError:
    """Make the error for a call that was under way when its client was closed."""
    return ScripError(
        grpc.StatusCode.CANCELLED,
        ErrorReason.ERROR_REASON_UNSPECIFIED,
        _undecided("The client was closed", request_id),
        request_id=request_id,
    )


def from_rpc(error: grpc.RpcError, request_id: str | None) -> ScripError:
    """Make the error that a failed RPC means.

    error        from either kind of channel
    request_id   of the request; None if it changes nothing
    """
    code = error.code()
    details = _details(error)
    message = error.details() or code.name
    info = _only(error_details_pb2.ErrorInfo, details)
    if info is None or info.domain != DOMAIN:
        # gRPC's own words, or a proxy's, which know nothing of request_ids.
        if code in _UNDECIDED:
            message = _undecided(message, request_id)
        info = error_details_pb2.ErrorInfo()
    reason = _reason(info.reason)
    kind = REASONS.get(reason) or CODES.get(code, ScripError)
    retry = _only(error_details_pb2.RetryInfo, details)
    malformed = _only(error_details_pb2.BadRequest, details)
    return kind(
        code,
        reason,
        message,
        dict(info.metadata),
        request_id,
        retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9 if retry else None,
        tuple(
            FieldViolation(field=violation.field, description=violation.description)
            for violation in (malformed.field_violations if malformed else ())
        ),
        info.reason,
    )


def _undecided(what: str, request_id: str | None) -> str:
    if request_id is None:
        return what
    return f"{what}. It may or may not have been done: repeat it with request_id {request_id}."


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
