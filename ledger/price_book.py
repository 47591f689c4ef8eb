"""What usage costs: the card that counts is found, and its rates applied. docs/pricing.md has the rules.

Rates are decimals and all sums exact; the result is rounded once, to a whole number of the asset's smallest units.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from fractions import Fraction
from itertools import combinations, zip_longest
from math import lcm
from types import MappingProxyType
from typing import Final, TypeVar

from ledger.model import INT64_MAX
from ledger.pricing import (
    CardVersion,
    Charge,
    ChargePart,
    Meter,
    RateCard,
    Rounding,
    Tiering,
    Unpriced,
    Usage,
    UsageNames,
)
from ledger.terms import Counter, counter_of, covers

# How many answers to "which card" and how many stretches of time a price book remembers at once.
_FOUND_MAX: Final = 2_000
_STRETCHES_MAX: Final = 8
NO_COUNTERS: Final[Mapping[str, Counter]] = MappingProxyType({})

Version = TypeVar("Version", bound=CardVersion)


class PriceBook:
    """All versions of an asset's rate cards, to find prices in.

    cards          any order
    default_card   prices usage that no card covers; empty: none does
    """

    def __init__(self, cards: tuple[CardVersion, ...], default_card: str = "") -> None:
        self.cards, self.default_card = cards, default_card
        # Else no price depends on what an account had before.
        self.counts = any(card.period is not None for card in cards)
        self._versions = sorted(counting(cards), key=lambda card: card.effective_at)
        # What is in effect changes at these instants only; between two of them lies a stretch.
        self._instants = sorted({card.effective_at for card in self._versions})
        self._in_effect: dict[int, _InEffect] = {}
        self._tariffs: dict[tuple[str, int], Tariff] = {}
        self._found: dict[tuple[int, UsageNames], Tariff | None] = {}

    def find(self, usage: Usage, at: datetime) -> "Tariff | Unpriced":
        """The card that counts for the usage, in the version in effect at the instant.

        refuses   price_not_found
        rule      docs/pricing.md#which-card-counts
        """
        stretch = bisect_right(self._instants, at)
        key = (stretch, usage.names)
        # One look, as another thread may forget all of them meanwhile.
        try:
            tariff = self._found[key]
        except KeyError:
            card = self._in_effect_in(stretch).find(usage, self.default_card)
            if len(self._found) >= _FOUND_MAX:
                self._found.clear()
            tariff = self._found[key] = None if card is None else self._tariff_of(card)
        return _not_found(usage) if tariff is None else tariff

    def price(self, usage: Usage, at: datetime, before: Mapping[str, int]) -> Charge | Unpriced:
        """What usage costs.

        before    what the card's period had before, by unit; what is not in it had nothing
        refuses   price_not_found, unit_mismatch, cost_overflow, in that order
        """
        tariff = self.find(usage, at)
        return tariff if isinstance(tariff, Unpriced) else tariff.charge(usage, at, before)

    def list_price(self, usage: Usage, at: datetime) -> Charge | Unpriced:
        """What usage costs without an account: without allowances, and in the first tier.

        refuses   price_not_found, unit_mismatch, cost_overflow, in that order
        """
        tariff = self.find(usage, at)
        if isinstance(tariff, Unpriced):
            return tariff
        meters = tuple(replace(meter, free=0) for meter in tariff.card.meters)
        return Tariff(replace(tariff.card, meters=meters)).charge(usage, at, {})

    def _in_effect_in(self, stretch: int) -> "_InEffect":
        if (known := self._in_effect.get(stretch)) is not None:
            return known
        if len(self._in_effect) >= _STRETCHES_MAX:
            self._in_effect.clear()
        cards = in_effect(self._versions, self._instants[stretch - 1]) if stretch else ()
        made = self._in_effect[stretch] = _InEffect(cards)
        return made

    def _tariff_of(self, card: RateCard) -> "Tariff":
        key = (card.card, card.version)
        if (known := self._tariffs.get(key)) is None:
            known = self._tariffs[key] = Tariff(card)
        return known


def in_effect(cards: Iterable[CardVersion], at: datetime) -> tuple[RateCard, ...]:
    """The cards that count at an instant, by name.

    cards   all versions, any order
    """
    # The newest of those that have begun: it took the place of whatever would have begun with it or after it.
    found = last_versions(card for card in cards if card.effective_at <= at)
    return tuple(card for card in (one.whole for one in found.values()) if not card.retired)


def last_versions(cards: Iterable[CardVersion]) -> dict[str, CardVersion]:
    """The last version of each card, by name."""
    return {card.card: card for card in sorted(cards, key=lambda card: (card.card, card.version))}


def counting(cards: Iterable[Version]) -> list[Version]:
    """The versions that count at some time, each until the next of its card begins; by name, then as they begin.

    A version takes the place of those before it that would begin when it begins, or later.

    cards   all versions, any order
    """
    kept: dict[str, list[Version]] = {}
    for card in sorted(cards, key=lambda card: (card.card, card.version)):
        versions = kept.setdefault(card.card, [])
        while versions and versions[-1].effective_at >= card.effective_at:
            versions.pop()
        versions.append(card)
    return [card for versions in kept.values() for card in versions]


def clash(cards: tuple[RateCard, ...]) -> tuple[RateCard, RateCard] | None:
    """Two versions of different cards that cover the same usage equally well at the same time; None if there are none.

    cards   all versions, any order
    """
    versions: dict[str, list[RateCard]] = {}
    for card in counting(cards):
        versions.setdefault(card.card, []).append(card)
    # Of what covers the same: from when, until when (None: for ever), which.
    alike: dict[object, list[tuple[datetime, datetime | None, RateCard]]] = {}
    for of_card in versions.values():
        for card, following in zip_longest(of_card, of_card[1:]):
            until = None if following is None else following.effective_at
            if not card.retired:
                key = (card.provider, frozenset(card.operations), frozenset(card.dimensions.items()))
                alike.setdefault(key, []).append((card.effective_at, until, card))
    for stretches in alike.values():
        for (one_since, one_until, one), (other_since, other_until, other) in combinations(stretches, 2):
            begins_in_time = one_until is None or other_since < one_until
            if one.card != other.card and begins_in_time and (other_until is None or one_since < other_until):
                return one, other
    return None


class _InEffect:
    """The cards in effect in a stretch of time, in the order in which they are tried.

    rule   docs/pricing.md#which-card-counts
    """

    def __init__(self, cards: tuple[RateCard, ...]) -> None:
        self._by_name = {card.card: card for card in cards}
        self._shelves: dict[tuple[str, str | frozenset[str]], list[RateCard]] = {}
        for card in sorted(cards, key=_tried):
            operations = card.operations[0] if len(card.operations) == 1 else frozenset(card.operations)
            self._shelves.setdefault((card.provider, operations), []).append(card)
        self._providers = _wildcards({card.provider for card in cards})
        self._operations = _wildcards({card.operations[0] for card in cards})

    def find(self, usage: Usage, default_card: str) -> RateCard | None:
        """The first card that covers the usage, else the default one."""
        operations: list[str | frozenset[str]]
        if usage.bundled:
            operations = [frozenset((usage.operation, *usage.bundled))]
        else:
            operations = [usage.operation, *(one for one in self._operations if covers(one, usage.operation))]
        for provider in (usage.provider, *(one for one in self._providers if covers(one, usage.provider))):
            for operation in operations:
                for card in self._shelves.get((provider, operation), ()):
                    told = usage.dimensions
                    if all(covers(pattern, told.get(name, "")) for name, pattern in card.dimensions.items()):
                        return card
        return self._by_name.get(default_card)


def _wildcards(patterns: set[str]) -> list[str]:
    return sorted((pattern for pattern in patterns if pattern.endswith("*")), key=len, reverse=True)


def _tried(card: RateCard) -> tuple[int, list[tuple[str, bool, int]]]:
    """Among cards of the same provider and operations: more dimensions first, then the more specific values."""
    values = [(name, pattern.endswith("*"), -len(pattern)) for name, pattern in sorted(card.dimensions.items())]
    return -len(values), values


def _not_found(usage: Usage) -> Unpriced:
    dimensions = ", ".join(f"{name}={value}" for name, value in sorted(usage.dimensions.items()))
    figures = {
        "provider": usage.provider,
        "operations": ", ".join((usage.operation, *usage.bundled)),
        "dimensions": dimensions,
    }
    return Unpriced(reason="price_not_found", figures=figures)


class _Scale:
    """The denominator that a card's sums have in common.

    places   how many decimal places that is; None if it is no power of ten
    """

    __slots__ = ("denominator", "places")

    def __init__(self, rates: list[Fraction]) -> None:
        self.denominator = lcm(*(rate.denominator for rate in rates))
        self.places = _places(self.denominator)
        if self.places is not None:
            self.denominator = 10**self.places

    def numerator(self, rate: Fraction) -> int:
        return rate.numerator * (self.denominator // rate.denominator)


def _places(denominator: int) -> int | None:
    """The decimal places that a fraction with this denominator needs at most; None if it has no end."""
    twos = fives = 0
    while denominator % 2 == 0:
        denominator, twos = denominator // 2, twos + 1
    while denominator % 5 == 0:
        denominator, fives = denominator // 5, fives + 1
    return max(twos, fives) if denominator == 1 else None


def _text(numerator: int, denominator: int, places: int | None) -> str:
    """A decimal without needless zeros, or a fraction in lowest terms."""
    if places is None:
        lowest = Fraction(numerator, denominator)
        places = _places(lowest.denominator)
        if places is None:
            return str(lowest)
        numerator, denominator = lowest.numerator * 10**places // lowest.denominator, 10**places
    if numerator % denominator == 0:
        return str(numerator // denominator)
    digits = str(numerator).zfill(places + 1)
    return f"{digits[:-places]}.{digits[-places:].rstrip('0')}"


class _Rate:
    """A meter in whole numbers.

    counts     True if it looks at what the period had before
    is_plain   True if it does not, and counts what a call tells
    ends       the last quantity of each tier but the last; empty without tiers
    rates      numerators for one unit, by tier; `first` is the first one
    starts     the last quantity before each tier
    costs      numerators of what all before each tier costs
    """

    __slots__ = (
        "costs",
        "counts",
        "ends",
        "first",
        "free",
        "is_plain",
        "minimum",
        "rates",
        "starts",
        "step",
        "unit",
        "volume",
    )

    def __init__(self, meter: Meter, scale: _Scale) -> None:
        self.unit, self.step, self.minimum, self.free = meter.unit, meter.step, meter.minimum, meter.free
        self.counts, self.volume = meter.counts_in_period, meter.tiering == Tiering.VOLUME
        self.is_plain = not self.counts and max(meter.step, meter.minimum) <= 1
        self.rates = [scale.numerator(rate) for rate in _rates_of(meter)]
        self.first = self.rates[0]
        self.ends = [tier.up_to for tier in meter.tiers if tier.up_to is not None]
        self.starts = [0, *self.ends]
        self.costs = [0]
        for start, end, rate in zip(self.starts, self.ends, self.rates, strict=False):
            self.costs.append(self.costs[-1] + (end - start) * rate)

    def applied(self, quantity: int, before: int) -> tuple[int, int, int]:
        """What is counted of a call's quantity: at least the minimum, in whole steps; what of that is free; its cost.

        before   what the period had
        returns  the cost as a numerator
        """
        counted = -(-max(quantity, self.minimum) // self.step) * self.step
        free = min(counted, max(0, self.free - before))
        return counted, free, self._cost(counted - free, max(0, before - self.free))

    def _cost(self, billable: int, before: int) -> int:
        """The numerator of what a call's billable quantity costs, with the period's before it."""
        reached = before + billable
        tier = bisect_left(self.ends, reached)
        if self.volume:
            return billable * self.rates[tier]
        cost = self.costs[tier] + (reached - self.starts[tier]) * self.rates[tier]
        tier = bisect_left(self.ends, before)
        return cost - self.costs[tier] - (before - self.starts[tier]) * self.rates[tier]


def _rates_of(meter: Meter) -> list[Fraction]:
    """The rates for one unit."""
    rates = [tier.rate for tier in meter.tiers] if meter.rate is None else [meter.rate]
    return [Fraction(rate) * Fraction(1, meter.per) for rate in rates]


class Tariff:
    """A version of a card, in whole numbers: made once, so that a price costs little."""

    __slots__ = ("_fixed", "_kept", "_minimum", "_rates", "_scale", "_units", "card")

    def __init__(self, card: RateCard) -> None:
        self.card = card
        fixed, minimum = Fraction(card.fixed), Fraction(card.minimum)
        scale = self._scale = _Scale([fixed, minimum, *(rate for meter in card.meters for rate in _rates_of(meter))])
        self._fixed, self._minimum = scale.numerator(fixed), scale.numerator(minimum)
        self._rates = [_Rate(meter, scale) for meter in card.meters]
        self._units = frozenset(meter.unit for meter in card.meters)
        # What a discount leaves of one: a whole number, and how many decimal places it has.
        percent = Fraction(card.discount.percent) if card.discount else Fraction(0)
        left = 1 - percent * Fraction(1, 100)
        places = _places(left.denominator) or 0
        self._kept = (left.numerator * 10**places // left.denominator, places)

    def counters(self, time_zone: str) -> Mapping[str, Counter]:
        """Where the units are counted whose quantities of the period decide what comes next; none without a period."""
        card = self.card
        if card.period is None:
            return NO_COUNTERS
        return {unit: counter_of(card.card, unit, card.period, time_zone) for unit in card.units_counted}

    def charge(self, usage: Usage, at: datetime, before: Mapping[str, int]) -> Charge | Unpriced:
        """What usage costs by this version. Refuses unit_mismatch, cost_overflow, in that order."""
        quantities, card = usage.quantities, self.card
        denominator, places, percent = self._scale.denominator, self._scale.places, None
        if self._units and not quantities.keys() <= self._units:
            return self._mismatch(min(quantities.keys() - self._units))
        total, parts = self._fixed, []
        for rate in self._rates:
            counted = quantities.get(rate.unit, 0)
            if counted == 0:
                continue
            free = had = 0
            cost = counted * rate.first
            if not rate.is_plain:
                had = before.get(rate.unit, 0) if rate.counts else 0
                counted, free, cost = rate.applied(counted, had)
                if had + counted > INT64_MAX:
                    return self._overflow()
            total += cost
            parts.append(ChargePart(rate.unit, counted, free, had, _text(cost, denominator, places)))
        # A minimum lifts what is charged; it makes no charge of a call that has none.
        if 0 < total < self._minimum:
            total = self._minimum
        if card.discount is not None and card.discount.holds(at):
            kept, more = self._kept
            percent, total, denominator = card.discount.percent, total * kept, denominator * 10**more
            places = None if places is None else places + more
        amount = _rounded(total, denominator, card.rounding)
        if amount > INT64_MAX:
            return self._overflow()
        return Charge(
            card=card.card,
            version=card.version,
            usage=usage,
            parts=tuple(parts),
            discount=percent,
            exact=_text(total, denominator, places),
            amount=amount,
        )

    def _mismatch(self, unit: str) -> Unpriced:
        units = ", ".join(rate.unit for rate in self._rates)
        figures: dict[str, str | int] = {
            "card": self.card.card,
            "version": self.card.version,
            "unit": unit,
            "units": units,
        }
        return Unpriced(reason="unit_mismatch", figures=figures)

    def _overflow(self) -> Unpriced:
        figures: dict[str, str | int] = {"card": self.card.card, "version": self.card.version, "limit": INT64_MAX}
        return Unpriced(reason="cost_overflow", figures=figures)


def _rounded(numerator: int, denominator: int, rounding: Rounding) -> int:
    if rounding is Rounding.UP:
        return -(-numerator // denominator)
    whole, rest = divmod(numerator, denominator)
    if rounding is Rounding.HALF_EVEN and (2 * rest > denominator or (2 * rest == denominator and whole % 2 == 1)):
        return whole + 1
    return whole
