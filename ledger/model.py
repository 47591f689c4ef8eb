"""The values of the books: accounts, lots, holds, entries and lines, and what a decision can be."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from ledger.chart import Code, Source
from ledger.ids import AccountKey, account_key

INT64_MAX: Final = 2**63 - 1
HOLD_TTL_DEFAULT: Final = timedelta(minutes=15)
HOLD_TTL_MAX: Final = timedelta(days=30)
SCALE_MAX: Final = 18
DEFAULT_ASSET: Final = "credits"
DEFAULT_TENANT: Final = "default"


class EntryKind(StrEnum):
    """What an entry did."""

    OPEN = "open"
    GRANT = "grant"
    DEDUCT = "deduct"
    HOLD = "hold"
    CAPTURE = "capture"
    RELEASE = "release"
    HOLD_LAPSE = "hold_lapse"
    LOT_LAPSE = "lot_lapse"


class HoldState(StrEnum):
    """How a hold stands; all but OPEN are final."""

    OPEN = "open"
    CAPTURED = "captured"
    RELEASED = "released"
    LAPSED = "lapsed"


class Reason(StrEnum):
    """Why the books say no, or why a read finds nothing. A bug is never one of these."""

    INVALID_PAGE_TOKEN = "invalid_page_token"  # noqa: S105 -- the name of a reason, not a secret
    EXPIRY_IN_PAST = "expiry_in_past"
    ACCOUNT_NOT_FOUND = "account_not_found"
    ASSET_NOT_FOUND = "asset_not_found"
    HOLD_NOT_FOUND = "hold_not_found"
    ENTRY_NOT_FOUND = "entry_not_found"
    REQUEST_ID_REUSED = "request_id_reused"
    ACCOUNT_EXISTS = "account_exists"
    ASSET_EXISTS = "asset_exists"
    INSUFFICIENT_CREDITS = "insufficient_credits"
    HOLD_NOT_ACTIVE = "hold_not_active"
    AMOUNT_ABOVE_HOLD = "amount_above_hold"
    BALANCE_OVERFLOW = "balance_overflow"


Figure = str | int | datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountName:
    """One customer's credits in one asset, as callers name it."""

    tenant: str
    account_id: str
    asset: str

    @property
    def key(self) -> AccountKey:
        """Where everything about the account is stored."""
        return account_key(self.tenant, self.asset, self.account_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """Something that can be counted.

    scale   decimal places, 0 to 18, fixed for ever
    """

    tenant: str
    asset: str
    scale: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """What was paid.

    minor_units   such as cents, 0 or more
    currency      ISO 4217, such as EUR
    """

    minor_units: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Memo:
    """What the caller wants written beside an entry; kept, never interpreted."""

    description: str = ""
    reference: str = ""
    actor: str = ""
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


NO_MEMO: Final = Memo()


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One movement, balanced by construction: debits one side and credits another.

    amount   smallest units of the account's asset, > 0
    lot      the grant it concerns; None for movements of debt
    """

    debit: Code
    credit: Code
    amount: int
    lot: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LotTerms:
    """What a grant promised; never changes.

    priority       0 to 1000, lower burns first
    effective_at   the first instant at which it can burn
    expires_at     the first instant at which it is gone; None: never
    cost           what was paid for all of it; None: nothing
    """

    source: Source
    priority: int
    effective_at: datetime
    expires_at: datetime | None
    cost: Money | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lot:
    """What one grant put in.

    number      the grant's entry number
    granted     smallest units, > 0
    remaining   of it, what is in the account's available
    held        of it, what open holds have drawn
    """

    number: int
    terms: LotTerms
    granted: int
    remaining: int
    held: int

    @property
    def is_open(self) -> bool:
        """True while anything of it is in the account."""
        return self.remaining > 0 or self.held > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """What was taken from one lot.

    amount   smallest units, > 0
    """

    lot: int
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Credits set aside.

    number       the entry number of the hold
    amount       smallest units, the sum of what was drawn
    drawn        from which lots, in burn order
    expires_at   the first instant at which it is gone
    ended_at     None while open
    """

    number: int
    amount: int
    drawn: tuple[Draw, ...]
    expires_at: datetime
    state: HoldState
    ended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """How an account stands after its last entry.

    available   the side of the chart: what is in lots, those not effective yet included
    seq         the number of its last entry
    head        the hash of its last entry
    as_of       the instant of its last entry
    """

    name: AccountName
    available: int
    held: int
    owed: int
    seq: int
    head: bytes
    as_of: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One operation written down.

    seq               its number in the account: 1, 2, 3 …
    request_id        None for lapses
    fingerprint       what was asked for, to know a repeat from a reuse
    effective_at      when it took effect; never goes back along the numbers
    recorded_at       when it was written; None for a lapse that has not been written yet
    available…owed    the sides of the account after it
    pending           of available, what is not effective yet
    lot_terms         the terms of the lot that a grant made
    hold              the hold it made or ended
    hold_expires_at   when the hold it made runs out
    hash              over the hash before and all of the above but the key
    """

    key: AccountKey
    seq: int
    kind: EntryKind
    request_id: str | None
    fingerprint: str
    effective_at: datetime
    recorded_at: datetime | None
    available: int
    held: int
    owed: int
    pending: int
    lines: tuple[Line, ...]
    lot_terms: LotTerms | None
    hold: int | None
    hold_expires_at: datetime | None
    memo: Memo
    hash: bytes

    def moved(self, debit: Code, credit: Code) -> int:
        """The sum of its lines between two sides, smallest units."""
        return sum(line.amount for line in self.lines if line.debit == debit and line.credit == credit)

    @property
    def spendable(self) -> int:
        """What could be spent after it: what was available and effective."""
        return self.available - self.pending

    @property
    def granted(self) -> int:
        """What the lot that it made was granted, smallest units."""
        return sum(line.amount for line in self.lines if line.lot == self.seq and line.credit is Code.AVAILABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """What is to be written to one account; empty if there is nothing to write.

    account      as it stands after
    entries      in order
    lots         new and changed ones
    holds        new and changed ones
    settled_at   what has lapsed up to this instant is in it, or was written before
    """

    account: Account
    entries: tuple[Entry, ...]
    lots: tuple[Lot, ...]
    holds: tuple[Hold, ...]
    settled_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The books say yes.

    account_name   whose entry it is
    scale          the decimal places of its asset
    entry          the operation's own entry; of a repeat, the first one
    posting        what is to be written; None for a repeat
    """

    account_name: AccountName
    scale: int
    entry: Entry
    posting: Posting | None

    @property
    def replayed(self) -> bool:
        """True if an earlier request had done it."""
        return self.posting is None

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What is to be written, in order: lapses first."""
        return () if self.posting is None else self.posting.entries


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The books say no; a normal answer that leaves nothing behind.

    figures   what the reader needs to understand it, by name
    """

    reason: Reason
    figures: Mapping[str, Figure]


@dataclass(slots=True, kw_only=True)
class State:
    """What is known of one account when an operation is decided. The decision only reads it; the writer updates it.

    asset        None if the account's asset is not defined
    account      None if it is not open
    lots         by number, at least the open ones
    holds        by number, the open ones and those the operation names
    posted       earlier entries by request_id, at least the operation's own
    settled_at   what has lapsed up to this instant has been written; None if that is not known
    """

    asset: Asset | None = None
    account: Account | None = None
    lots: dict[int, Lot] = field(default_factory=dict)
    holds: dict[int, Hold] = field(default_factory=dict)
    posted: dict[str, Entry] = field(default_factory=dict)
    settled_at: datetime | None = None

    @property
    def scale(self) -> int:
        """The decimal places of the account's asset; only of an asset that is defined."""
        if self.asset is None:
            raise AssertionError("an account that is open counts an asset that is defined")
        return self.asset.scale

    def apply(self, posting: Posting) -> None:
        """Takes over what was decided, so that the next operation of the batch sees it."""
        self.account = posting.account
        self.lots.update((lot.number, lot) for lot in posting.lots)
        self.holds.update((hold.number, hold) for hold in posting.holds)
        self.posted.update((entry.request_id, entry) for entry in posting.entries if entry.request_id is not None)
        self.settled_at = posting.settled_at
