"""The values of the dumb model: grants, single credits, holds, and what an entry must say."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from fractions import Fraction

# (debit, credit, lot) of one credit; the lot is None for debt and for what a plan covers.
Move = tuple[str, str, int | None]

GRANTED_FROM = {
    "welcome": ("promotions", 10),
    "lead": ("promotions", 10),
    "free": ("promotions", 20),
    "promo": ("promotions", 20),
    "referral": ("promotions", 30),
    "gift": ("promotions", 40),
    "subscription": ("payments", 50),
    "purchase": ("payments", 60),
    "adjustment": ("adjustments", 60),
}


class Refusal(Exception):  # noqa: N818 -- a refusal is no error; here it is raised because that is dumbest
    """Why nothing is written, and what is told about it."""

    def __init__(self, reason: str, **figures: object) -> None:
        self.reason = reason
        self.figures = figures


def is_for(pattern: str, operation: str) -> bool:
    """True if the pattern has the operation; what says nothing of itself is in no pattern."""
    return operation != "" and fnmatchcase(operation, pattern)


@dataclass(frozen=True)
class Pack:
    """What one grant put in; what it costs is not told yet if it comes of another lot."""

    number: int
    granted: int
    source: str
    priority: int
    effective_at: datetime
    expires_at: datetime | None
    cost: tuple[int, str] | None
    scope: tuple[str, ...]
    package: str = ""
    is_told: bool = True

    def come_of(self) -> "Pack":
        """The terms of a lot that comes of this one; what it costs is told later."""
        return replace(self, cost=self.cost and (0, self.cost[1]), is_told=False)

    def has_run_out(self, at: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= at

    def may_pay_for(self, operation: str) -> bool:
        return not self.scope or any(is_for(pattern, operation) for pattern in self.scope)

    def order(self) -> tuple[object, ...]:
        expires_at = datetime.max.replace(tzinfo=UTC) if self.expires_at is None else self.expires_at
        cost_of_one = Fraction(self.cost[0] if self.cost else 0, self.granted)
        return self.priority, expires_at, cost_of_one, self.number


@dataclass(frozen=True, eq=False)
class Credit:
    """One; no other is the same. It was in the lot of that number, or a plan gave it for this one use."""

    lot: int | None


@dataclass(frozen=True)
class Hold:
    """Single credits set aside, in the order they were taken.

    amount     all that were ever set aside
    captured   how many of them, and beyond them, were captured
    lot        the one it was made for, of which nothing is spent before it is captured
    """

    credits: tuple[Credit, ...]
    operation: str
    amount: int
    tolerance: int
    honours_lots: bool
    placed_at: datetime
    expires_at: datetime
    captured: int = 0
    lot: int | None = None
    state: str = "open"
    ended_at: datetime | None = None


@dataclass(frozen=True)
class Written:
    """What an entry must say; moves has one per credit, in order.

    made   the lots it made
    peer   (account_id, number) of the entry on the other side
    charged   for usage; None: no usage was told
    """

    number: int
    kind: str
    at: datetime
    moves: tuple[Move, ...]
    available: int
    held: int
    owed: int
    pending: int
    request_id: str | None = None
    operation: str = ""
    hold: int | None = None
    hold_expires_at: datetime | None = None
    hold_held: int | None = None
    refunds: int | None = None
    revokes: int | None = None
    lots_expire_at: datetime | None = None
    made: tuple[Pack, ...] = ()
    peer: tuple[str, int] | None = None
    charged: int | None = None


@dataclass(frozen=True)
class Said:
    """The number of an entry, written now or before; or why not."""

    entry: int = 0
    is_replay: bool = False
    refused: str = ""
    figures: dict[str, object] = field(default_factory=dict)
