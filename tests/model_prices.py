"""Prices in the dumbest correct way: every card looked at, every unit priced by itself, in fractions."""

from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor

from ledger import Discount, Meter, PriceBook, RateCard, Rounding, Tier, Tiering, Usage, Window
from tests.books import START


def rate_card(card="card", **changes):
    """A card for everything, which charges nothing."""
    given = {"provider": "*", "operations": ("*",), "effective_at": START, "version": 1}
    return RateCard(card=card, **{**given, **changes})


def meter(rate=None, unit="token", **changes):
    return Meter(unit=unit, rate=None if rate is None else Decimal(rate), **changes)


def tiers(*stretches):
    """Tiers from pairs such as (100, "5"): up to where, and the rate."""
    return tuple(Tier(up_to=up_to, rate=Decimal(rate)) for up_to, rate in stretches)


def discount(percent, since=None, until=None):
    return Discount(percent=Decimal(percent), since=since, until=until)


def used(provider="openai", operation="chat", bundled=(), dimensions=None, **quantities):
    return Usage(
        provider=provider, operation=operation, dimensions=dimensions or {}, quantities=quantities, bundled=bundled
    )


def price_of(card, usage, before=None, at=START):
    """What a card alone charges."""
    return PriceBook((card,)).price(usage, at, before or {})


def covers(pattern, text):
    return bool(text) and (text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern)


def is_covered(card, usage):
    said = {usage.operation, *usage.bundled}
    if usage.bundled or len(card.operations) > 1:
        operation = len(card.operations) > 1 and said == set(card.operations)
    else:
        operation = covers(card.operations[0], usage.operation)
    return (
        covers(card.provider, usage.provider)
        and operation
        and all(covers(pattern, usage.dimensions.get(name)) for name, pattern in card.dimensions.items())
    )


def is_better(one, other, usage):
    """True if the first of two cards that cover the usage counts, going through the rules one by one."""

    def specificity(pattern):
        return (pattern is not None, pattern is not None and not pattern.endswith("*"), len(pattern or ""))

    pairs = [(one.provider, other.provider), (one.operations[0], other.operations[0])]
    for mine, its in pairs if not usage.bundled else pairs[:1]:
        if specificity(mine) != specificity(its):
            return specificity(mine) > specificity(its)
    if len(one.dimensions) != len(other.dimensions):
        return len(one.dimensions) > len(other.dimensions)
    for name in sorted(usage.dimensions):
        mine, its = specificity(one.dimensions.get(name)), specificity(other.dimensions.get(name))
        if mine != its:
            return mine > its
    raise AssertionError("the two clash")


def card_for(cards, default_card, usage, at):
    """The card that counts; None if there is none."""
    names = {card.card for card in cards}
    versions = [[card for card in cards if card.card == name and card.effective_at <= at] for name in names]
    last = [max(some, key=lambda card: card.version) for some in versions if some]
    live = [card for card in last if not card.retired]
    best = None
    for card in live:
        if is_covered(card, usage) and (best is None or is_better(card, best, usage)):
            best = card
    return best or next((card for card in live if card.card == default_card), None)


def counted_by(one: Meter, quantity):
    if quantity == 0:
        return 0
    counted = max(quantity, one.minimum)
    while counted % one.step:
        counted += 1
    return counted


def rate_at(one: Meter, position):
    """The rate of the unit that is the period's n-th beyond the allowance."""
    if one.rate is not None:
        return Fraction(one.rate) / one.per
    return next(Fraction(tier.rate) / one.per for tier in one.tiers if tier.up_to is None or position <= tier.up_to)


def exact_price(card: RateCard, usage: Usage, at: datetime, before):
    """What a call costs before it is rounded."""
    total = Fraction(card.fixed)
    for one in card.meters:
        so_far = before.get(one.unit, 0)
        paid = [
            position - one.free
            for position in range(so_far + 1, so_far + counted_by(one, usage.quantities.get(one.unit, 0)) + 1)
            if position > one.free
        ]
        if one.tiering is Tiering.VOLUME and paid:
            total += rate_at(one, paid[-1]) * len(paid)
        else:
            total += sum(rate_at(one, position) for position in paid)
    if total:
        total = max(total, Fraction(card.minimum))
    cut = card.discount
    if cut and (cut.since is None or at >= cut.since) and (cut.until is None or at < cut.until):
        total = total * (100 - Fraction(cut.percent)) / 100
    return total


def rounded(exact: Fraction, rounding: Rounding):
    match rounding:
        case Rounding.UP:
            return ceil(exact)
        case Rounding.DOWN:
            return floor(exact)
    return round(exact)


def needs_period(meters):
    return Window.DAY if any(one.free or one.tiers for one in meters) else None
