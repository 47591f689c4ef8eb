"""Prices: rate cards, what happened, and what it was charged. docs/pricing.md has the rules."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

from ledger.json_text import as_json
from ledger.terms import Window

METERS_MAX: Final = 20
CARDS_MAX: Final = 1000
# When a card that is to be set counts from, if nothing is said of that: from when it is set.
AT_ONCE: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Rounding(StrEnum):
    """How an exact amount becomes a whole number."""

    UP = "up"
    HALF_EVEN = "half_even"
    DOWN = "down"


class Tiering(StrEnum):
    """How tiers apply.

    GRADUATED   each part of the period's quantity at the rate of the tier it lies in
    VOLUME      all of the call's quantity at the rate of the tier that the period's quantity reaches with it
    """

    GRADUATED = "graduated"
    VOLUME = "volume"


class UsageNames:
    """Everything of usage but the numbers. Made once, as the same names come with call after call.

    dimensions   pairs, any order; so `units`
    opening      all of it but the units, as the beginning of a JSON array that goes on with the quantities
    in_order     the units, sorted
    digest       of all of it
    """

    __slots__ = ("bundled", "digest", "dimensions", "in_order", "opening", "operation", "provider", "units")

    def __init__(
        self,
        provider: str,
        operation: str,
        bundled: tuple[str, ...],
        dimensions: tuple[tuple[str, str], ...],
        units: tuple[str, ...],
    ) -> None:
        self.provider, self.operation, self.bundled = provider, operation, bundled
        self.dimensions, self.units = dimensions, units
        self.opening = as_json([provider, operation, bundled, sorted(dimensions)])[:-1]
        self.in_order = sorted(units)
        self.digest = hashlib.sha256(f"{self.opening},{as_json(self.in_order)}]".encode()).hexdigest()[:32]


_names_of = lru_cache(maxsize=10_000)(UsageNames)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What happened.

    provider     who provided it
    operation    what was done; lots with a scope and spend limits look at it
    dimensions   what else the price may depend on, such as the model
    quantities   how much of it by unit, 0 or more
    bundled      further operations of the same call, that a bundle prices together with it; kept in alphabetical order
    """

    provider: str
    operation: str
    dimensions: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    quantities: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    bundled: tuple[str, ...] = ()
    names: UsageNames = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.bundled) > 1:
            object.__setattr__(self, "bundled", tuple(sorted(self.bundled)))
        dimensions, units = tuple(self.dimensions.items()), tuple(self.quantities)
        names = _names_of(self.provider, self.operation, self.bundled, dimensions, units)
        object.__setattr__(self, "names", names)

    @property
    def text(self) -> str:
        """The names by their hash, and the numbers; the same for maps that differ in their order."""
        numbers = map(self.quantities.__getitem__, self.names.in_order)
        return f"{self.names.digest} {','.join(map(str, numbers))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """A stretch of a period's quantity.

    up_to   the last quantity that lies in it; None in the last tier
    rate    for Meter.per units
    """

    up_to: int | None
    rate: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """What is charged by quantity.

    unit      the name under which usage tells the quantity
    rate      smallest units of the asset for `per` units, 0 or more; None if there are tiers
    per       how many units the rate is for, 1 or more
    step      a call's quantity is rounded up to a multiple of it
    minimum   the least quantity that is counted for a call that uses any
    free      how much of the period's quantity is free; it is used up first, and does not count in tiers
    tiers     instead of a rate: in order, the last one without end
    """

    unit: str
    rate: Decimal | None
    per: int = 1
    step: int = 1
    minimum: int = 0
    free: int = 0
    tiers: tuple[Tier, ...] = ()
    tiering: Tiering | None = None

    @property
    def counts_in_period(self) -> bool:
        """True if a price depends on what the period had before."""
        return self.free > 0 or bool(self.tiers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Discount:
    """A price cut.

    percent   of the exact amount, more than 0, at most 100
    since     the first instant at which it holds; None: always
    until     the first instant at which it no longer holds; None: for ever
    """

    percent: Decimal
    since: datetime | None = None
    until: datetime | None = None

    def holds(self, at: datetime) -> bool:
        """True if the price is cut at the instant."""
        return (self.since is None or self.since <= at) and (self.until is None or at < self.until)


@dataclass(frozen=True, slots=True, kw_only=True)
class RateCard:
    """How something is priced; one version of it.

    provider       a name, a beginning followed by "*", or "*"
    operations     one, or the beginning of one followed by "*"; several without "*" make a bundle
    dimensions     what the usage's must be: a value, a beginning followed by "*", or "*" for any value
    fixed          charged for each call, smallest units
    minimum        the least that a call costs that is charged for anything, before the discount
    period         over what allowances and tiers count; HOUR, DAY or MONTH of the account's time zone; None without
    effective_at   the first instant at which this version counts
    retired        from then on nothing is found under this card
    version        1, 2, 3 …
    """

    card: str
    provider: str
    operations: tuple[str, ...]
    dimensions: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    fixed: Decimal = Decimal(0)
    meters: tuple[Meter, ...] = ()
    minimum: Decimal = Decimal(0)
    rounding: Rounding = Rounding.UP
    period: Window | None = None
    discount: Discount | None = None
    description: str = ""
    effective_at: datetime
    retired: bool = False
    version: int

    @property
    def whole(self) -> "RateCard":
        """Itself; see CardVersion."""
        return self

    @property
    def units_counted(self) -> tuple[str, ...]:
        """The units whose counted quantities of the period decide what comes next; empty without a period."""
        return tuple(meter.unit for meter in self.meters if meter.counts_in_period)


class CardVersion(Protocol):
    """A version of a rate card, all of which may be read only once it is looked at: there are many old ones."""

    @property
    def card(self) -> str:
        """Which card it is a version of."""

    @property
    def version(self) -> int:
        """Counted from 1 for each card."""

    @property
    def effective_at(self) -> datetime:
        """The first instant at which it counts."""

    @property
    def period(self) -> Window | None:
        """Over what it counts."""

    @property
    def whole(self) -> RateCard:
        """All of it."""


class ChargePart(NamedTuple):
    """What one meter counted. A tuple, as it is made for every meter of every call that is priced.

    unit      the usage tells how much of it there was
    counted   after minimum and step
    free      of what is counted, what the allowance covered
    before    what the period had counted before; 0 for a meter with neither allowance nor tiers
    exact     its part of the exact amount, before minimum and discount: a decimal, or a fraction such as "1/3"
    """

    unit: str
    counted: int
    free: int
    before: int
    exact: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """How a price was computed; kept with the entry that charged it.

    parts      of units that the usage tells
    discount   the percentage that held; None: none
    exact      before rounding, as in ChargePart
    amount     smallest units of the asset, 0 or more
    """

    card: str
    version: int
    usage: Usage
    parts: tuple[ChargePart, ...]
    discount: Decimal | None
    exact: str
    amount: int
    # All of it as JSON; decimals and exact figures are texts. Hashed and stored, so it is made once.
    text: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # By hand, which takes half as long: there is nothing in names of cards and units that JSON would escape. Every
        # byte is stored with each entry, so what a part has in common with what the usage tells is not said again.
        quantities = self.usage.quantities
        told = [
            f'["{unit}",{quantities[unit]},"{exact}",{counted},{free},{before}]'
            if free or before or counted != quantities[unit]
            else f'["{unit}",{counted},"{exact}"]'
            for unit, counted, free, before, exact in self.parts
        ]
        if len(told) < len(quantities):
            rest = quantities.keys() - {part.unit for part in self.parts}
            told += [f'["{unit}",{quantities[unit]}]' for unit in sorted(rest)]
        discount = "null" if self.discount is None else f'"{self.discount:f}"'
        own = f'"{self.card}",{self.version},{self.amount},"{self.exact}",{discount}'
        object.__setattr__(self, "text", f"[{own},{self.usage.names.opening},[{','.join(told)}]]]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpriced:
    """Why usage cannot be priced. The ledger makes a refusal of it.

    reason    "price_not_found", "unit_mismatch" or "cost_overflow", as in Reason
    figures   what the reader needs to understand it
    """

    reason: str
    figures: Mapping[str, str | int]
