"""What callers ask for when they grant, spend, hold and give. A malformed operation cannot be made."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar, Final, Protocol

from ledger.chart import Source
from ledger.fields import (
    GRANT_TTL_MAX,
    PRIORITY_MAX,
    Violation,
    bad_account,
    bad_amount,
    bad_choice,
    bad_cost,
    bad_duration,
    bad_expiry,
    bad_given,
    bad_identifier,
    bad_instant,
    bad_memo,
    bad_number,
    bad_package,
    bad_scope,
    check,
    fingerprint_of,
)
from ledger.ids import AccountKey
from ledger.model import HOLD_TTL_MAX, INT64_MAX, NO_MEMO, AccountName, EntryKind, HeldLots, Memo, Money
from ledger.pricing import Usage
from ledger.rate_cards import bad_pair, bad_spending, bad_usage

BATCH_MAX: Final = 1000


class Request(Protocol):
    """What every change has.

    keys   the accounts that it may change; the first is the one that its request_id belongs to
    """

    @property
    def kind(self) -> EntryKind:
        """Of the entry that it writes."""

    @property
    def request_id(self) -> str:
        """The caller's own name for it."""

    @property
    def memo(self) -> Memo:
        """What is to be written beside the entry."""

    @property
    def key(self) -> AccountKey:
        """The account that its request_id belongs to."""

    @property
    def keys(self) -> tuple[AccountKey, ...]:
        """The accounts that it may change."""

    def fingerprint(self) -> str:
        """What is asked for, as text."""


class OfAccount:
    """Part of the operations that name an account."""

    __slots__ = ()
    account: AccountName

    @property
    def key(self) -> AccountKey:
        """The account that its request_id belongs to."""
        return self.account.key

    @property
    def keys(self) -> tuple[AccountKey, ...]:
        """The accounts that it may change."""
        return (self.account.key,)

    def fingerprint(self) -> str:
        """What is asked for, as text."""
        return fingerprint_of(self)


class OfPart:
    """Part of the operations that name an entry, a hold or a lot, which says whose it is.

    tenant   whose it must be
    key      the account
    """

    __slots__ = ()
    tenant: str
    key: AccountKey

    @property
    def keys(self) -> tuple[AccountKey, ...]:
        """The accounts that it may change."""
        return (self.key,)

    def fingerprint(self) -> str:
        """What is asked for, as text."""
        return fingerprint_of(self)


class Spends:
    """Part of the operations that spend an amount, or what usage costs."""

    __slots__ = ()
    amount: int | None
    usage: Usage | None
    operation: str

    @property
    def used_for(self) -> str:
        """The operation that lots with a scope and spend limits look at."""
        return self.operation if self.usage is None else self.usage.operation


class DeductMode(StrEnum):
    """What a deduction does when there is too little."""

    AUTHORIZE = "authorize"
    CLAMP = "clamp"
    RECORD = "record"


class ExpiredLots(StrEnum):
    """What a refund does with credits whose lot has run out."""

    TO_ORIGINAL_LOT = "to_original_lot"
    EXTEND = "extend"
    NEW_LOT = "new_lot"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAccount(OfAccount):
    """Open an account of a customer in one asset."""

    kind: ClassVar = EntryKind.OPEN
    request_id: str
    account: AccountName
    memo: Memo = NO_MEMO

    def __post_init__(self) -> None:
        check(bad_identifier("request_id", self.request_id), *bad_account(self.account), *bad_memo(self.memo))


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant(OfAccount):
    """Put credits into an account as one lot; what is owed is repaid first.

    amount         smallest units, > 0
    priority       None takes the source's own
    effective_at   from when on it can burn; None: at once
    expires_at     the first instant at which it is gone; None, without ttl: never
    ttl            instead of expires_at, counted from when it can burn
    cost           what was paid; only for sources that do not debit promotions
    scope          the operations it may pay for: names, or beginnings followed by "*"; empty: all
    package        what it was sold as; only for sources that do not debit promotions
    revives        debt that was written off and is owed again, because what it was owed for is paid after all; at most
                   the amount
    """

    kind: ClassVar = EntryKind.GRANT
    request_id: str
    account: AccountName
    amount: int
    source: Source
    priority: int | None = None
    effective_at: datetime | None = None
    expires_at: datetime | None = None
    ttl: timedelta | None = None
    cost: Money | None = None
    scope: tuple[str, ...] = ()
    package: str = ""
    revives: int = 0
    memo: Memo = NO_MEMO

    def __post_init__(self) -> None:
        check(
            bad_identifier("request_id", self.request_id),
            *bad_account(self.account),
            bad_amount(self.amount),
            bad_number("revives", self.revives, 0, self.amount) if self.revives else None,
            None if self.priority is None else bad_number("priority", self.priority, 0, PRIORITY_MAX),
            bad_instant("effective_at", self.effective_at),
            bad_expiry(self.expires_at, self.ttl) or self._ends_before_it_begins(),
            *bad_cost(self.cost, self.source),
            *bad_scope(self.scope),
            bad_package(self.package, self.source),
            *bad_memo(self.memo),
        )

    def _ends_before_it_begins(self) -> Violation | None:
        begins, ends = self.effective_at, self.expires_at
        if begins is None or ends is None or begins.tzinfo is None or begins < ends:
            return None
        return Violation(field="expires_at", must="must be after effective_at.")

    def life(self, at: datetime) -> tuple[datetime, datetime | None]:
        """From when to when the lot can burn if it is granted at that instant; the end is None for never."""
        effective_at = (self.effective_at or at).astimezone(UTC)
        if self.ttl is not None:
            return effective_at, max(effective_at, at) + self.ttl
        return effective_at, None if self.expires_at is None else self.expires_at.astimezone(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deduct(Spends, OfAccount):
    """Spend credits at once.

    amount      smallest units, > 0; None: what the usage costs
    usage       what happened, for a rate card to price; None: the amount is given
    mode        AUTHORIZE: all, within the overdraft limit, or refused; CLAMP: what is there and allowed, perhaps
                nothing; RECORD: all in any case, what is not there becomes owed
    operation   what it is for, such as image/generate; lots with a scope and spend limits look at it; usage tells its
                own
    """

    kind: ClassVar = EntryKind.DEDUCT
    request_id: str
    account: AccountName
    amount: int | None = None
    usage: Usage | None = None
    mode: DeductMode = DeductMode.AUTHORIZE
    operation: str = ""
    memo: Memo = NO_MEMO

    def __post_init__(self) -> None:
        check(
            bad_identifier("request_id", self.request_id),
            *bad_account(self.account),
            *bad_spending(self.amount, self.usage, self.operation),
            bad_choice("mode", self.mode, DeductMode),
            *bad_memo(self.memo),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceHold(Spends, OfAccount):
    """Set credits aside.

    amount      smallest units, > 0; None: what the usage costs
    usage       as of a deduction; an estimate, which counts neither in allowances nor in tiers
    ttl         more than 0, at most 30 days; None: 15 minutes
    operation   as of a deduction
    tolerance   how much more than the hold may be captured in all, smallest units
    held_lots   what becomes of lots that run out while held
    """

    kind: ClassVar = EntryKind.HOLD
    request_id: str
    account: AccountName
    amount: int | None = None
    usage: Usage | None = None
    ttl: timedelta | None = None
    operation: str = ""
    tolerance: int = 0
    held_lots: HeldLots = HeldLots.HONOUR
    memo: Memo = NO_MEMO

    def __post_init__(self) -> None:
        check(
            bad_identifier("request_id", self.request_id),
            *bad_account(self.account),
            *bad_spending(self.amount, self.usage, self.operation),
            bad_duration("ttl", self.ttl, HOLD_TTL_MAX),
            bad_number("tolerance", self.tolerance, 0, INT64_MAX),
            bad_choice("held_lots", self.held_lots, HeldLots),
            *bad_memo(self.memo),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture(OfPart):
    """Turn a hold into revenue; unless there is more to come, give the rest back to its lots and end the hold.

    hold     the number of the hold
    amount   smallest units, 0 or more; None, without usage, takes all that is held, 0 nothing
    usage    instead of the amount: what happened, at the prices of when the hold was placed
    final    False: what is not captured stays held
    """

    kind: ClassVar = EntryKind.CAPTURE
    request_id: str
    tenant: str
    key: AccountKey
    hold: int
    amount: int | None = None
    usage: Usage | None = None
    final: bool = True
    memo: Memo = NO_MEMO

    def __post_init__(self) -> None:
        check(
            bad_identifier("request_id", self.request_id),
            None if self.amount is None else bad_number("amount", self.amount, 0, INT64_MAX),
            bad_pair(self.amount, self.usage),
            *(() if self.usage is None else bad_usage("usage", self.usage)),
            *bad_memo(self.memo),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Release(OfPart):
    """Give a hold back to its lots; ends the hold.

    hold   the number of the hold
    """

    kind: ClassVar = EntryKind.RELEASE
    request_id: str
    tenant: str
    key: AccountKey
    hold: int
    memo: Memo = NO_MEMO

    def __post_init__(self) -> None:
        check(bad_identifier("request_id", self.request_id), *bad_memo(self.memo))


@dataclass(frozen=True, slots=True, kw_only=True)
class IncreaseHold(OfPart):
    """Set more credits aside for a hold.

    hold     the number of the hold
    amount   by how much, smallest units, > 0
    """

    kind: ClassVar = EntryKind.INCREASE_HOLD
    request_id: str
    tenant: str
    key: AccountKey
    hold: int
    amount: int
    memo: Memo = NO_MEMO

    def __post_init__(self) -> None:
        check(bad_identifier("request_id", self.request_id), bad_amount(self.amount), *bad_memo(self.memo))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendHold(OfPart):
    """Let a hold last longer.

    hold   the number of the hold
    ttl    from now on, more than 0, at most 30 days; a hold that lasts longer already stays as it is
    """

    kind: ClassVar = EntryKind.EXTEND_HOLD
    request_id: str
    tenant: str
    key: AccountKey
    hold: int
    ttl: timedelta
    memo: Memo = NO_MEMO

    def __post_init__(self) -> None:
        check(
            bad_identifier("request_id", self.request_id),
            bad_given("ttl", self.ttl),
            bad_duration("ttl", self.ttl, HOLD_TTL_MAX),
            *bad_memo(self.memo),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund(OfPart):
    """Give back what a deduction or a capture took, last burnt first.

    entry          the number of the entry that is refunded
    amount         smallest units, > 0; None: all that is left of it
    expired_lots   what is done about lots that have run out. TO_ORIGINAL_LOT: what comes back to them lapses at once;
                   EXTEND: they run out lot_ttl from now instead; NEW_LOT: it comes back as a new lot that runs out
                   lot_ttl from now, or never
    lot_ttl        more than 0; not with TO_ORIGINAL_LOT
    """

    kind: ClassVar = EntryKind.REFUND
    request_id: str
    tenant: str
    key: AccountKey
    entry: int
    amount: int | None = None
    expired_lots: ExpiredLots = ExpiredLots.TO_ORIGINAL_LOT
    lot_ttl: timedelta | None = None
    memo: Memo = NO_MEMO

    def __post_init__(self) -> None:
        check(
            bad_identifier("request_id", self.request_id),
            None if self.amount is None else bad_amount(self.amount),
            bad_choice("expired_lots", self.expired_lots, ExpiredLots),
            bad_duration("lot_ttl", self.lot_ttl, GRANT_TTL_MAX),
            self._lot_ttl(),
            *bad_memo(self.memo),
        )

    def _lot_ttl(self) -> Violation | None:
        if self.lot_ttl is None and self.expired_lots is ExpiredLots.EXTEND:
            return Violation(field="lot_ttl", must="must say for how long expired lots are extended.")
        if self.lot_ttl is not None and self.expired_lots is ExpiredLots.TO_ORIGINAL_LOT:
            return Violation(field="lot_ttl", must="must be absent unless expired lots are extended or made new.")
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer(OfAccount):
    """Give credits to another customer; each lot keeps its terms there.

    account   who gives
    to        who receives, of the same tenant, in the same asset
    amount    smallest units, > 0
    """

    kind: ClassVar = EntryKind.TRANSFER_OUT
    request_id: str
    account: AccountName
    to: AccountName
    amount: int
    memo: Memo = NO_MEMO

    def __post_init__(self) -> None:
        check(
            bad_identifier("request_id", self.request_id),
            *bad_account(self.account),
            *bad_other("to_account_id", self.account, self.to),
            bad_amount(self.amount),
            *bad_memo(self.memo),
        )

    @property
    def keys(self) -> tuple[AccountKey, ...]:
        """The accounts that it may change."""
        return self.account.key, self.to.key


def bad_other(field: str, account: AccountName, other: AccountName) -> tuple[Violation | None, ...]:
    """What is wrong with the second account of a movement between two."""
    same_books = (other.tenant, other.asset) == (account.tenant, account.asset)
    return (
        bad_identifier(field, other.account_id),
        None if same_books else Violation(field=field, must="must be an account of the same tenant and asset."),
        None if other != account else Violation(field=field, must="must be another account than the first."),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    """Write down what has lapsed, and nothing else. Asked for by the sweeper, never by a caller."""

    key: AccountKey

    @property
    def keys(self) -> tuple[AccountKey, ...]:
        """The account that it may change."""
        return (self.key,)


Operation = Request | Settle


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Several operations that are done one after the other, in one transaction.

    operations   1 to 1,000; none at all with `also`
    atomic       all of them are done or none
    also         called with the connection and the outcomes once the operations are written, before they are committed;
                 what it writes is committed with them. Not called if they are refused; called again if the transaction
                 has to be tried again. If it raises, nothing is done. Only in an atomic batch, which then shares its
                 transaction with no other
    """

    operations: tuple[Request, ...]
    atomic: bool = False
    also: Callable[[Any, tuple[Any, ...]], None] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        check(bad_number("operations", len(self.operations), 1 if self.also is None else 0, BATCH_MAX))
        if self.also is not None and not self.atomic:
            raise TypeError("what is written beside operations goes with all of them or none")
