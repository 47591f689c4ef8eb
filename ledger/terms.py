"""What is agreed beside the amounts: an account's terms, its spend limits, and what an asset's settings give."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import ClassVar, Final
from zoneinfo import ZoneInfo

from ledger.chart import Source

_ANYTHING: Final = "*"


class Window(StrEnum):
    """What stretch of time a spend limit is for; all but ROLLING begin on the clock of the account's time zone."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"
    ROLLING = "rolling"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendLimit:
    """How much may be spent in a stretch of time.

    name        names it in refusals
    amount      smallest units, 0 or more
    length      of a rolling window; None for the others
    operation   which operations count, as in a lot's scope; empty: all
    counted_as  under what its spending is kept: its name and the number of the entry that set it; empty until it is set
    """

    name: str
    window: Window
    amount: int
    length: timedelta | None = None
    operation: str = ""
    counted_as: str = ""

    def counts(self, operation: str) -> bool:
        """True if spending for the operation counts."""
        return not self.operation or covers(self.operation, operation)

    @property
    def set_by(self) -> int:
        """The number of the entry that set it."""
        return int(self.counted_as.rpartition("@")[2])


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """What a rate card counts of an account's use, in a stretch of time.

    window       HOUR, DAY or MONTH
    counted_as   under what it is kept, beside what limits count
    """

    length: ClassVar[None] = None
    window: Window
    counted_as: str


@lru_cache(maxsize=10_000)
def counter_of(card: str, unit: str, period: Window, time_zone: str) -> Counter:
    """What a rate card counts of a unit. With another period or time zone it begins anew, as limits do.

    No limit is counted under such a name.
    """
    return Counter(window=period, counted_as=f"price:{card}:{unit}:{period}:{time_zone}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountTerms:
    """What an administrator has agreed with a customer.

    overdraft_limit   how far `owed` may go when a deduction finds too little; 0: not at all
    unlimited         a plan covers all use; it is recorded but takes nothing
    time_zone         of the windows of spend limits and of the periods of rate cards, an IANA name
    """

    overdraft_limit: int = 0
    unlimited: bool = False
    time_zone: str = "UTC"
    limits: tuple[SpendLimit, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


NO_TERMS: Final = AccountTerms()


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """What an account is granted in the entry that opens it.

    amount   smallest units, > 0
    ttl      None: it never runs out
    """

    amount: int
    source: Source = Source.WELCOME
    ttl: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetPolicy:
    """A tenant's settings for one asset.

    auto_open                   the first change that names an account opens it
    free_credits_repay_debt     grants that debit promotions repay what is owed, as paid ones always do
    default_card                the rate card that prices usage which no other covers; empty: none does
    """

    auto_open: bool = False
    welcome: Welcome | None = None
    free_credits_repay_debt: bool = False
    default_card: str = ""


NO_POLICY: Final = AssetPolicy()


def covers(pattern: str, operation: str) -> bool:
    """True if the pattern is the operation, or ends in "*" and is how the operation begins."""
    if pattern.endswith(_ANYTHING):
        return operation.startswith(pattern.removesuffix(_ANYTHING)) and operation != ""
    return pattern == operation


def window_start(limit: SpendLimit | Counter, time_zone: str, at: datetime) -> datetime:
    """The first instant of the window that `at` lies in."""
    if limit.length is not None:
        # What was spent exactly one length ago has left the window.
        return at - limit.length + timedelta.resolution
    return _calendar_start(limit.window, time_zone, at)


# All that a batch counts lies in the same few windows, at the same instant.
@lru_cache(maxsize=1_000)
def _calendar_start(window: Window, time_zone: str, at: datetime) -> datetime:
    local = at.astimezone(ZoneInfo(time_zone))
    match window:
        case Window.HOUR:
            begins = local.replace(minute=0, second=0, microsecond=0)
        case Window.DAY:
            begins = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
        case _:
            begins = local.replace(day=1, hour=0, minute=0, second=0, microsecond=0, fold=0)
    # Where clocks are put forward over midnight, the day begins at the first instant that the clocks show.
    return min(begins.astimezone(UTC), at)


def window_end(limit: SpendLimit, time_zone: str, at: datetime) -> datetime:
    """The first instant after the calendar window that `at` lies in; not for rolling ones."""
    zone = ZoneInfo(time_zone)
    local = window_start(limit, time_zone, at).astimezone(zone)
    match limit.window:
        case Window.HOUR:
            begins = ends = window_start(limit, time_zone, at)
            # Where clocks are put back within an hour, it lasts longer.
            while window_start(limit, time_zone, ends) == begins:
                ends += timedelta(minutes=30)
            return ends
        case Window.DAY:
            # From noon to noon a day further, so that no change of clocks matters.
            noon = local.replace(hour=12, tzinfo=None) + timedelta(days=1)
        case _:
            noon = (local.replace(day=1, hour=12, tzinfo=None) + timedelta(days=32)).replace(day=1)
    return window_start(limit, time_zone, noon.replace(tzinfo=zone).astimezone(UTC))
