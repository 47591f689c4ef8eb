"""The values of the books: accounts, lots, holds, entries and lines."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from ledger.chart import Code, Source
from ledger.ids import AccountKey, account_key
from ledger.pricing import Charge
from ledger.terms import NO_POLICY, NO_TERMS, AccountTerms, AssetPolicy

INT64_MAX: Final = 2**63 - 1
HOLD_TTL_DEFAULT: Final = timedelta(minutes=15)
HOLD_TTL_MAX: Final = timedelta(days=30)
LOT_HOLD_TTL_MAX: Final = timedelta(days=400)
SCALE_MAX: Final = 18
DEFAULT_ASSET: Final = "credits"
DEFAULT_TENANT: Final = "default"


class EntryKind(StrEnum):
    """What an entry did."""

    OPEN = "open"
    GRANT = "grant"
    DEDUCT = "deduct"
    HOLD = "hold"
    INCREASE_HOLD = "increase_hold"
    EXTEND_HOLD = "extend_hold"
    CAPTURE = "capture"
    RELEASE = "release"
    REFUND = "refund"
    REVOKE = "revoke"
    ADJUST = "adjust"
    WRITE_OFF = "write_off"
    TRANSFER_OUT = "transfer_out"
    TRANSFER_IN = "transfer_in"
    MERGE_OUT = "merge_out"
    MERGE_IN = "merge_in"
    FREEZE = "freeze"
    UNFREEZE = "unfreeze"
    CLOSE = "close"
    UPDATE = "update"
    HOLD_LAPSE = "hold_lapse"
    LOT_LAPSE = "lot_lapse"
    ROLL_OVER = "roll_over"


class HoldState(StrEnum):
    """How a hold stands; all but OPEN are final."""

    OPEN = "open"
    CAPTURED = "captured"
    RELEASED = "released"
    LAPSED = "lapsed"


class HeldLots(StrEnum):
    """What becomes of lots that run out while a hold has drawn on them."""

    HONOUR = "honour"
    LAPSE = "lapse"


class AccountStatus(StrEnum):
    """What may be done with an account."""

    OPEN = "open"
    FROZEN = "frozen"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountName:
    """One customer's credits in one asset, as callers name it."""

    tenant: str
    account_id: str
    asset: str
    # Where everything about the account is stored; asked for so often that it is made once.
    key: AccountKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", account_key(self.tenant, self.asset, self.account_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """Something that can be counted.

    scale    decimal places, 0 to 18, fixed for ever
    prices   raised by every change of its rate cards; 0: it never had any
    """

    tenant: str
    asset: str
    scale: int
    policy: AssetPolicy = NO_POLICY
    prices: int = 0


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


class Left(NamedTuple):
    """What a line leaves in its lot; see Lot."""

    remaining: int
    held: int
    spent: int
    reclaimed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One movement, balanced by construction: debits one side and credits another.

    amount   smallest units of the account's asset, > 0
    lot      the number of the lot it concerns; None for movements of debt, and for use that a plan covers
    left     what it leaves in that lot; None before it is posted, and without a lot
    cost     what of the lot's cost moves with it in the monetary journal; None if nothing. Before it is posted: what is
             to move at most; None: its share
    """

    debit: Code
    credit: Code
    amount: int
    lot: int | None
    left: Left | None = None
    cost: Money | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LotTerms:
    """What a grant promised. Only a refund that extends a lot changes it: its expires_at.

    priority       0 to 1000, lower burns first
    effective_at   the first instant at which it can burn
    expires_at     the first instant at which it is gone; None: never
    cost           what was paid for all of it; None: nothing
    scope          patterns of the operations it may pay for; empty: all
    package        what it was sold as; empty if that was not said
    """

    source: Source
    priority: int
    effective_at: datetime
    expires_at: datetime | None
    cost: Money | None
    scope: tuple[str, ...] = ()
    package: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lot:
    """What one grant put in.

    number      its number in the account: 1, 2, 3 …
    granted     smallest units, > 0
    remaining   of it, what is in the account's available
    held        of it, what open holds have drawn
    spent       of it, what was used, given away or repaid debt, less what was refunded
    reclaimed   of what was spent, what a revocation has made owed
    deferred    of its cost, minor units, what its credits that are in the account carry; 0 if it cost nothing
    recognised  of its cost, what its credits that were spent took with them, and neither came back nor was reclaimed
    lapsed      of its cost, what ran out with its credits, and was not rolled over
    """

    number: int
    terms: LotTerms
    granted: int
    remaining: int
    held: int
    spent: int
    reclaimed: int
    deferred: int = 0
    recognised: int = 0
    lapsed: int = 0

    @property
    def left(self) -> Left:
        """Where its credits are."""
        return Left(self.remaining, self.held, self.spent, self.reclaimed)

    @property
    def is_open(self) -> bool:
        """True while anything of it is in the account."""
        return self.remaining > 0 or self.held > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """What was taken from one lot.

    lot      None: from a plan that covers all use
    amount   smallest units, > 0
    """

    lot: int | None
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeLot:
    """A lot as an entry made it.

    granted      smallest units, > 0
    taken_from   the lot of the account that its cost is taken from: one that has run out, and of which something is
                 refunded to this one or rolls over; None: no lot's
    """

    number: int
    terms: LotTerms
    granted: int
    taken_from: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Credits set aside.

    number       the entry number of the hold
    operation    what it is for; empty if that was not said
    lot          the only lot that it was made to draw on; None: whatever the burn order chose
    amount       all that was ever set aside for it, smallest units
    captured     what of it, and beyond it, was captured so far
    tolerance    how much more than what is held may still be captured
    drawn        what is still held, from which lots, in the order they were drawn
    held_lots    what becomes of lots that run out while held
    placed_at    when it was made
    expires_at   the first instant at which it is gone
    due_at       the first instant at which anything of it lapses: its own end, or that of a lot that is not honoured
    ended_at     None while open
    """

    number: int
    operation: str
    lot: int | None = None
    amount: int
    captured: int
    tolerance: int
    drawn: tuple[Draw, ...]
    held_lots: HeldLots
    placed_at: datetime
    expires_at: datetime
    due_at: datetime
    state: HoldState
    ended_at: datetime | None

    @property
    def held(self) -> int:
        """What is still set aside, smallest units."""
        return sum(draw.amount for draw in self.drawn)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """How an account stands after its last entry.

    available   the side of the chart: what is in lots, those not effective yet included
    seq         the number of its last entry
    lots        the number of its last lot; 0 if it never had one
    head        the hash of its last entry
    as_of       the instant of its last entry
    """

    name: AccountName
    available: int
    held: int
    owed: int
    seq: int
    lots: int
    head: bytes
    as_of: datetime
    status: AccountStatus
    terms: AccountTerms = NO_TERMS


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One operation written down.

    seq               its number in the account: 1, 2, 3 …
    request_id        None for what nobody asked for by this account's name: lapses, the receiving side of a transfer,
                      an opening that another operation caused
    fingerprint       what was asked for, to know a repeat from a reuse
    effective_at      when it took effect; never goes back along the numbers
    recorded_at       when it was written; None for a lapse that has not been written yet
    available…owed    the sides of the account after it
    pending           of available, what is not effective yet
    made              the lots that it made
    operation         what was spent or held for; empty if that was not said
    hold              the hold it made or changed
    hold_expires_at   when that hold runs out; None once it has ended
    hold_held         what that hold still holds, smallest units
    refunds           the number of the entry that it refunds
    revokes           the number of the lot that it takes back
    lots_expire_at    when lots that had run out, and that it gave back to, run out instead
    peer              account and number of the entry on the other side of a movement between accounts
    memo              what the caller wanted written beside it
    charge            how its amount was computed, if usage was told; None: the amount was
    hash              over the hash before and all of the above but the key, and what follows from the rest: what lines
                      leave in lots and move of their cost, and from which lots that is taken
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
    made: tuple[MadeLot, ...]
    operation: str
    hold: int | None
    hold_expires_at: datetime | None
    hold_held: int | None
    refunds: int | None
    revokes: int | None
    lots_expire_at: datetime | None
    peer: tuple[AccountKey, int] | None
    memo: Memo
    charge: Charge | None
    hash: bytes

    def moved(self, debit: Code, credit: Code) -> int:
        """The sum of its lines between two sides, smallest units."""
        return sum(line.amount for line in self.lines if line.debit is debit and line.credit is credit)

    @property
    def used(self) -> int:
        """What became revenue, smallest units."""
        return sum(line.amount for line in self.lines if line.credit is Code.REVENUE)

    @property
    def refunded(self) -> int:
        """What was revenue and is no more, smallest units."""
        return sum(line.amount for line in self.lines if line.debit is Code.REVENUE)

    @property
    def spendable(self) -> int:
        """What could be spent after it: what was available and effective."""
        return self.available - self.pending
