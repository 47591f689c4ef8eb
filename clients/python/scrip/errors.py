"""What a call raises when it is not answered with what was asked for.

One class per canonical gRPC code, and below it one per reason of the contract (protos/scrip/v1/errors.proto) that has
figures of its own. `except NotFound` therefore also catches a reason that only a newer server knows. Those about prices
and payments are in pricing_errors.py and billing_errors.py.
"""
# ruff: noqa: N818 -- the reasons of the contract are the names; `except InsufficientCredits` reads as the books speak

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import grpc

from scrip.figures import MaySay, Said, instant, names
from scrip.v1.errors_pb2 import ErrorReason

_PLACE = re.compile(r"operations\[(\d+)\]")


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
    operation       place of the change that was refused in its atomic batch, from 0; None if it was not in one
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

    @property
    def operation(self) -> int | None:
        return place_in_batch(self.metadata)

    def __str__(self) -> str:
        return self.message


def place_in_batch(figures: Mapping[str, str]) -> int | None:
    """Find which change of an atomic batch an error is about; a malformed one is told by the name of its field."""
    named = _PLACE.match(figures.get("field", ""))
    said = named[1] if named else figures.get("operation", "")
    return int(said) if said.isdecimal() else None


class InvalidArgument(ScripError):
    """INVALID_ARGUMENT: the request is malformed. Nothing was written; the same request will never succeed."""


class InvalidField(InvalidArgument):
    """A field is malformed; `violations` names each and says what it must be.

    Also raised, without a call, for an argument that no request can carry: an amount that is no whole number or does
    not fit an int64, a datetime without a time zone, an unknown source.

    field, must   the first of the violations
    """

    field = Said(str)
    must = Said(str)


class InvalidPageToken(InvalidArgument):
    """The page token was not given out by this call, or for other filters."""


class ExpiryInPast(InvalidArgument):
    """The grant would have run out already.

    expires_at   when it would
    now          the ledger's time
    """

    expires_at = Said(instant)
    now = Said(instant)


class InstantInFuture(InvalidArgument):
    """What was asked for as of an instant that is still to come.

    field   what names it: "as_of", "since" or "until"
    as_of   the instant
    now     the ledger's time
    """

    field = Said(str)
    as_of = Said(instant)
    now = Said(instant)


class NotFound(ScripError):
    """NOT_FOUND: what was named does not exist. Nothing was written."""


class AccountNotFound(NotFound):
    """The customer has no account in this asset. Open it with open_account."""

    account_id = Said(str)
    asset = Said(str)


class AssetNotFound(NotFound):
    """The asset was never defined. Define it with define_asset."""

    asset = Said(str)


class HoldNotFound(NotFound):
    """No hold has this id."""

    hold_id = Said(str)


class EntryNotFound(NotFound):
    """No entry has this id."""

    entry_id = Said(str)


class LotNotFound(NotFound):
    """No lot has this id."""

    lot_id = Said(str)


class AlreadyExists(ScripError):
    """ALREADY_EXISTS: it is there already, and is something else. Nothing was written."""


class RequestIdReused(AlreadyExists):
    """The account's request_id was used for something else before.

    entry_id   the entry that the first request wrote; empty of a checkout
    order_id   the order that the first checkout made; empty of all else
    fields     names of the fields in which the two differ
    """

    entry_id = MaySay(str, "")
    order_id = MaySay(str, "")
    fields = Said(names)


class AccountExists(AlreadyExists):
    """The account was opened before, by another request."""

    account_id = Said(str)
    asset = Said(str)


class AssetExists(AlreadyExists):
    """The asset is defined with another scale.

    scale             its decimal places, for ever
    requested_scale   what was asked for
    """

    asset = Said(str)
    scale = Said(int)
    requested_scale = Said(int)


class FailedPrecondition(ScripError):
    """FAILED_PRECONDITION: the books say no. Nothing was written; it can succeed once the books have changed."""


class InsufficientCredits(FailedPrecondition):
    """Not enough is available.

    account_id, asset     whose, and of what
    scale                 decimal places of the asset; 150 with scale 2 is 1.50
    available             smallest units that are spendable now
    out_of_scope          of them, those that may only pay for other operations
    overdraft             how much more may become owed
    pending               granted, but effective only later
    required, shortfall   what was asked for, and how much lots that may pay for it lack
    held                  set aside by open holds, so it may come back
    held_until            when the first of them runs out; None if nothing is held
    """

    account_id = Said(str)
    asset = Said(str)
    scale = Said(int)
    available = Said(int)
    out_of_scope = MaySay(int, 0)
    overdraft = MaySay(int, 0)
    pending = Said(int)
    required = Said(int)
    shortfall = Said(int)
    held = Said(int)
    held_until = MaySay[datetime | None](instant, None)


class HoldNotActive(FailedPrecondition):
    """The hold was captured or released before, or ran out.

    state      which of them, in the contract's words
    ended_at   when
    """

    hold_id = Said(str)
    state = Said(str)
    ended_at = Said(instant)


class AmountAboveHold(FailedPrecondition):
    """The capture is above what the hold has and tolerates; the hold is still open.

    held         smallest units that the hold has
    capturable   that and its tolerance
    required     what was to be captured
    """

    hold_id = Said(str)
    account_id = Said(str)
    asset = Said(str)
    scale = Said(int)
    held = Said(int)
    capturable = Said(int)
    required = Said(int)


class BalanceOverflow(FailedPrecondition):
    """A sum of the account or of a hold would be above `limit`. All figures are smallest units of the asset."""

    account_id = Said(str)
    asset = Said(str)
    scale = Said(int)
    available = Said(int)
    pending = Said(int)
    held = Said(int)
    amount = Said(int)
    limit = Said(int)


class EntryNotRefundable(FailedPrecondition):
    """Only deductions and captures can be refunded.

    kind   of the entry, in the contract's words, such as "grant"
    """

    entry_id = Said(str)
    kind = Said(str)


class AmountAboveRefundable(FailedPrecondition):
    """The refund is above what is left of the entry.

    refundable   smallest units that are left of it
    required     what was to be refunded
    """

    entry_id = Said(str)
    account_id = Said(str)
    asset = Said(str)
    scale = Said(int)
    refundable = Said(int)
    required = Said(int)


class AmountAboveRevocable(FailedPrecondition):
    """The revocation is above what can be taken back of the lot.

    revocable   smallest units that can be
    required    what was to be revoked
    """

    lot_id = Said(str)
    account_id = Said(str)
    asset = Said(str)
    scale = Said(int)
    revocable = Said(int)
    required = Said(int)


class AmountAboveOwed(FailedPrecondition):
    """The write-off is above what is owed. All figures are smallest units of the asset."""

    account_id = Said(str)
    asset = Said(str)
    scale = Said(int)
    available = Said(int)
    pending = Said(int)
    held = Said(int)
    owed = Said(int)
    required = Said(int)


class SpendLimitReached(FailedPrecondition):
    """A spend limit of the account has no room for it.

    limit          its name
    limit_amount   smallest units that may be spent in its window
    used           of them, what is spent or held
    required       what was asked for
    frees_at       when room next comes free; None if time alone frees none
    """

    account_id = Said(str)
    asset = Said(str)
    scale = Said(int)
    limit = Said(str)
    limit_amount = Said(int)
    used = Said(int)
    required = Said(int)
    frees_at = MaySay[datetime | None](instant, None)


class AccountFrozen(FailedPrecondition):
    """The account is frozen and spends nothing. Unfreeze it with unfreeze_account."""

    account_id = Said(str)
    asset = Said(str)


class AccountNotFrozen(FailedPrecondition):
    """The account is not frozen, so it cannot be unfrozen."""

    account_id = Said(str)
    asset = Said(str)


class AccountClosed(FailedPrecondition):
    """The account is closed, for ever."""

    account_id = Said(str)
    asset = Said(str)


class AccountNotEmpty(FailedPrecondition):
    """Something is left in the account, so it cannot be closed.

    available, pending, held, owed   smallest units
    holds                            how many are open
    """

    account_id = Said(str)
    asset = Said(str)
    scale = Said(int)
    available = Said(int)
    pending = Said(int)
    held = Said(int)
    owed = Said(int)
    holds = Said(int)


class AccountHasHolds(FailedPrecondition):
    """The account has open holds, so it cannot be merged.

    available, pending, held   smallest units
    held_until                 when the first of the holds runs out
    """

    account_id = Said(str)
    asset = Said(str)
    scale = Said(int)
    available = Said(int)
    pending = Said(int)
    held = Said(int)
    held_until = MaySay[datetime | None](instant, None)


class ResourceExhausted(ScripError):
    """RESOURCE_EXHAUSTED: too fast. Nothing was written; retry after `retry_after_s` with the same request_id.

    Without a reason, the request is larger than the server takes: make smaller batches.
    """


class QueueFull(ResourceExhausted):
    """Too many changes are waiting: `queue_max` of them."""

    queue_max = Said(int)


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

    incident_id = Said(str)


class Unauthenticated(ScripError):
    """UNAUTHENTICATED: the server does not know who is calling."""


class PermissionDenied(ScripError):
    """PERMISSION_DENIED: the caller may not do this."""
