"""What administrators and billing ask for: corrections, what becomes of single lots, and of whole accounts."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import ClassVar, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ledger.chart import SOURCE_RULES, Code
from ledger.fields import (
    GRANT_TTL_MAX,
    Violation,
    bad_account,
    bad_amount,
    bad_choice,
    bad_duration,
    bad_expiry,
    bad_identifier,
    bad_memo,
    bad_metadata,
    bad_name,
    bad_number,
    bad_pattern,
    bad_reason,
    check,
)
from ledger.ids import AccountKey
from ledger.model import INT64_MAX, LOT_HOLD_TTL_MAX, NO_MEMO, AccountName, EntryKind, Memo
from ledger.operations import OfAccount, OfPart, bad_other
from ledger.terms import AssetPolicy, SpendLimit, Window

LIMITS_MAX: Final = 10
# Files that lie among the zones: the machine's own, the rules for texts that name none, and "not set".
_NO_ZONES: Final = frozenset({"localtime", "posixrules", "Factory"})
ROLLING_MAX: Final = timedelta(days=366)


class Direction(StrEnum):
    """Which way a correction goes."""

    UP = "up"
    DOWN = "down"


class SpentPart(StrEnum):
    """What a revocation does about what is spent already."""

    OWE = "owe"
    LEAVE = "leave"
    WRITE_OFF = "write_off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoke(OfPart):
    """Take a grant back: its money was returned, or a promotion is withdrawn.

    lot       the number of the lot
    amount    smallest units, > 0, what remains first; None: all that can be taken back
    spent     OWE: what is spent already becomes owed; LEAVE: only what remains is taken; WRITE_OFF: what is spent
              becomes owed and is written off at once
    at_most   take what of the amount can be taken back, perhaps nothing, and do not refuse it
    """

    kind: ClassVar = EntryKind.REVOKE
    request_id: str
    tenant: str
    key: AccountKey
    lot: int
    spent: SpentPart
    amount: int | None = None
    at_most: bool = False
    memo: Memo = NO_MEMO

    def __post_init__(self) -> None:
        check(
            bad_identifier("request_id", self.request_id),
            None if self.amount is None else bad_amount(self.amount),
            bad_choice("spent", self.spent, SpentPart),
            *bad_memo(self.memo),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldLot(OfPart):
    """Set aside what remains of one lot, perhaps nothing, while it is disputed who owns it; no spend limit counts it.

    lot      the number of the lot
    ttl      more than 0, at most 400 days
    amount   at most so much, smallest units, > 0; None: all that remains
    """

    kind: ClassVar = EntryKind.HOLD
    request_id: str
    tenant: str
    key: AccountKey
    lot: int
    ttl: timedelta
    amount: int | None = None
    memo: Memo = NO_MEMO

    def __post_init__(self) -> None:
        check(
            bad_identifier("request_id", self.request_id),
            bad_duration("ttl", self.ttl, LOT_HOLD_TTL_MAX),
            None if self.amount is None else bad_amount(self.amount),
            *bad_memo(self.memo),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RollOver(OfPart):
    """Let what has run out of a lot live on as a new lot, with its share of the cost; what is owed is repaid first.

    lot          the number of the lot that ran out
    amount       smallest units, > 0
    expires_at   the first instant at which the new lot is gone; None, without ttl: never
    ttl          instead of expires_at, from now on
    """

    kind: ClassVar = EntryKind.ROLL_OVER
    request_id: str
    tenant: str
    key: AccountKey
    lot: int
    amount: int
    expires_at: datetime | None = None
    ttl: timedelta | None = None
    memo: Memo = NO_MEMO

    def __post_init__(self) -> None:
        check(
            bad_identifier("request_id", self.request_id),
            bad_amount(self.amount),
            bad_expiry(self.expires_at, self.ttl),
            *bad_memo(self.memo),
        )

    def end(self, at: datetime) -> datetime | None:
        """When the new lot runs out if it is made at that instant; None for never."""
        if self.ttl is not None:
            return at + self.ttl
        return None if self.expires_at is None else self.expires_at.astimezone(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjust(OfAccount):
    """Correct what is available; the memo must say why and who.

    direction   UP: as a lot that never runs out; DOWN: out of the lots in burn order, whatever their scope
    amount      smallest units, > 0
    """

    kind: ClassVar = EntryKind.ADJUST
    request_id: str
    account: AccountName
    direction: Direction
    amount: int
    memo: Memo

    def __post_init__(self) -> None:
        check(
            bad_identifier("request_id", self.request_id),
            *bad_account(self.account),
            bad_amount(self.amount),
            bad_choice("direction", self.direction, Direction),
            *bad_memo(self.memo),
            *bad_reason(self.memo),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOff(OfAccount):
    """Forgive what is owed; the memo must say why and who.

    amount   smallest units, > 0; None: all of it
    """

    kind: ClassVar = EntryKind.WRITE_OFF
    request_id: str
    account: AccountName
    amount: int | None = None
    memo: Memo

    def __post_init__(self) -> None:
        check(
            bad_identifier("request_id", self.request_id),
            *bad_account(self.account),
            None if self.amount is None else bad_amount(self.amount),
            *bad_memo(self.memo),
            *bad_reason(self.memo),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge(OfAccount):
    """Move all that a visitor has, lots and debt, to a customer, and close the visitor's account.

    account   the visitor's
    into      the customer's, of the same tenant, in the same asset
    """

    kind: ClassVar = EntryKind.MERGE_OUT
    request_id: str
    account: AccountName
    into: AccountName
    memo: Memo = NO_MEMO

    def __post_init__(self) -> None:
        check(
            bad_identifier("request_id", self.request_id),
            *bad_account(self.account),
            *bad_other("into_account_id", self.account, self.into),
            *bad_memo(self.memo),
        )

    @property
    def keys(self) -> tuple[AccountKey, ...]:
        """The accounts that it may change."""
        return self.account.key, self.into.key


@dataclass(frozen=True, slots=True, kw_only=True)
class Reclaim(OfPart):
    """Take back what was spent of a lot before its account was merged; what the merge moved is taken back where it is.

    lot          the number of the lot in the account that was merged, and is closed
    into         into which account, perhaps by way of others: there it becomes owed
    amount       smallest units, > 0
    moved        what the merge has moved out of the lot, smallest units
    moved_cost   and what that took of its cost along, minor units
    spent        OWE or WRITE_OFF; see Revoke
    """

    kind: ClassVar = EntryKind.REVOKE
    request_id: str
    tenant: str
    key: AccountKey
    lot: int
    into: AccountName
    amount: int
    moved: int
    moved_cost: int
    spent: SpentPart
    memo: Memo = NO_MEMO

    def __post_init__(self) -> None:
        check(
            bad_identifier("request_id", self.request_id),
            bad_amount(self.amount),
            bad_choice("spent", self.spent, SpentPart),
            *bad_memo(self.memo),
        )

    @property
    def keys(self) -> tuple[AccountKey, ...]:
        """The accounts that it may change."""
        return self.key, self.into.key


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze(OfAccount):
    """Let an account spend nothing until it is unfrozen; the memo's description must say why."""

    kind: ClassVar = EntryKind.FREEZE
    request_id: str
    account: AccountName
    memo: Memo

    def __post_init__(self) -> None:
        why = None if self.memo.description else Violation(field="memo.description", must="must say why; it is empty.")
        check(bad_identifier("request_id", self.request_id), *bad_account(self.account), *bad_memo(self.memo), why)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfreeze(OfAccount):
    """Let a frozen account spend again."""

    kind: ClassVar = EntryKind.UNFREEZE
    request_id: str
    account: AccountName
    memo: Memo = NO_MEMO

    def __post_init__(self) -> None:
        check(bad_identifier("request_id", self.request_id), *bad_account(self.account), *bad_memo(self.memo))


@dataclass(frozen=True, slots=True, kw_only=True)
class Close(OfAccount):
    """End an account in which nothing is left."""

    kind: ClassVar = EntryKind.CLOSE
    request_id: str
    account: AccountName
    memo: Memo = NO_MEMO

    def __post_init__(self) -> None:
        check(bad_identifier("request_id", self.request_id), *bad_account(self.account), *bad_memo(self.memo))


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateAccount(OfAccount):
    """Change what is agreed with a customer; None leaves a field as it is.

    overdraft_limit   how far `owed` may go, smallest units, 0 or more
    time_zone         an IANA name, such as Europe/Berlin
    limits            all spend limits from now on; one that differs in its amount alone goes on counting
    metadata          all of it from now on
    """

    kind: ClassVar = EntryKind.UPDATE
    request_id: str
    account: AccountName
    overdraft_limit: int | None = None
    unlimited: bool | None = None
    time_zone: str | None = None
    limits: tuple[SpendLimit, ...] | None = None
    metadata: Mapping[str, str] | None = None
    memo: Memo = NO_MEMO

    def __post_init__(self) -> None:
        overdraft = self.overdraft_limit
        check(
            bad_identifier("request_id", self.request_id),
            *bad_account(self.account),
            None if overdraft is None else bad_number("overdraft_limit", overdraft, 0, INT64_MAX),
            None if self.time_zone is None else _bad_time_zone(self.time_zone),
            *_bad_limits(self.limits or ()),
            *bad_metadata("metadata", self.metadata or {}),
            *bad_memo(self.memo),
        )


def check_policy(asset: str, policy: AssetPolicy) -> None:
    """Raises MalformedError unless the two may be the settings of an asset."""
    welcome = policy.welcome
    check(
        bad_name("asset", asset),
        bad_name("default_card", policy.default_card) if policy.default_card else None,
        *(
            ()
            if welcome is None
            else (
                bad_number("welcome.amount", welcome.amount, 1, INT64_MAX),
                bad_duration("welcome.ttl", welcome.ttl, GRANT_TTL_MAX),
                None
                if SOURCE_RULES[welcome.source].debit is Code.PROMOTIONS
                else Violation(field="welcome.source", must="must be one that is granted free."),
            )
        ),
    )


def _bad_time_zone(time_zone: str) -> Violation | None:
    try:
        is_known = time_zone not in _NO_ZONES and ZoneInfo(time_zone).key == time_zone
    except (ZoneInfoNotFoundError, ValueError, OSError):
        is_known = False
    must = f"must be the IANA name of a time zone, such as Europe/Berlin; it is {time_zone[:80]!r}."
    return None if is_known else Violation(field="time_zone", must=must)


def _bad_limits(limits: tuple[SpendLimit, ...]) -> tuple[Violation | None, ...]:
    names = {limit.name for limit in limits}
    return (
        None
        if len(limits) <= LIMITS_MAX
        else Violation(field="limits", must=f"must have at most {LIMITS_MAX}; it has {len(limits)}."),
        None if len(names) == len(limits) else Violation(field="limits", must="must each have a name of their own."),
        *(violation for index, limit in enumerate(limits) for violation in _bad_limit(f"limits[{index}]", limit)),
    )


def _bad_limit(field: str, limit: SpendLimit) -> tuple[Violation | None, ...]:
    is_rolling = limit.window is Window.ROLLING
    return (
        bad_name(f"{field}.name", limit.name),
        bad_number(f"{field}.amount", limit.amount, 0, INT64_MAX),
        bad_duration(f"{field}.length", limit.length, ROLLING_MAX),
        None
        if is_rolling == (limit.length is not None)
        else Violation(field=f"{field}.length", must="must be given for a rolling window, and for no other."),
        bad_pattern(f"{field}.operation", limit.operation) if limit.operation else None,
    )
