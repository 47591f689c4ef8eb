"""Which lots burn, in which order, and what a line does to a lot.

The order is total, so that every answer can be explained: priority, lower first; expires sooner, never last; free
before paid; lower cost per unit; granted earlier.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

from ledger.chart import Code
from ledger.model import Draw, Line, Lot

_NEVER = datetime.max.replace(tzinfo=UTC)
# Two unequal costs per unit, each a quotient of int64s, differ by more than 2^-126; 128 binary places tell them apart.
_UNIT_COST_BITS = 128


def burn_order(lot: Lot) -> tuple[int, datetime, int, int]:
    """The sort key: the lot with the smallest burns first. Costs in different currencies compare by their numbers."""
    terms = lot.terms
    unit_cost = 0 if terms.cost is None else (terms.cost.minor_units << _UNIT_COST_BITS) // lot.granted
    return terms.priority, terms.expires_at or _NEVER, unit_cost, lot.number


def can_burn(lot: Lot, at: datetime) -> bool:
    """True if something of the lot can be spent at that instant. Both ends of its life are half-open."""
    terms = lot.terms
    return lot.remaining > 0 and terms.effective_at <= at and (terms.expires_at is None or at < terms.expires_at)


def has_run_out(lot: Lot, at: datetime) -> bool:
    """True from the first instant at which the lot is gone."""
    return lot.terms.expires_at is not None and lot.terms.expires_at <= at


def pending(lots: Iterable[Lot], at: datetime) -> int:
    """What remains in lots that are not effective yet, smallest units."""
    return sum(lot.remaining for lot in lots if lot.terms.effective_at > at)


def burn(lots: Iterable[Lot], amount: int, at: datetime) -> tuple[Draw, ...]:
    """What to take from which lot, in burn order. Takes less than `amount` if there is less."""
    draws = []
    for lot in sorted((lot for lot in lots if can_burn(lot, at)), key=burn_order):
        if amount == 0:
            break
        taken = min(lot.remaining, amount)
        draws.append(Draw(lot=lot.number, amount=taken))
        amount -= taken
    return tuple(draws)


def split(draws: Iterable[Draw], amount: int) -> tuple[tuple[Draw, ...], tuple[Draw, ...]]:
    """The draws cut in two: the first `amount` of them, in order, and the rest."""
    first, rest = [], []
    for draw in draws:
        taken = min(draw.amount, amount)
        amount -= taken
        if taken > 0:
            first.append(Draw(lot=draw.lot, amount=taken))
        if taken < draw.amount:
            rest.append(Draw(lot=draw.lot, amount=draw.amount - taken))
    return tuple(first), tuple(rest)


def after_line(lot: Lot, line: Line) -> Lot:
    """The lot once the line is posted: its remaining follows the side available, its held the side held."""
    remaining, held = lot.remaining, lot.held
    if line.debit is Code.AVAILABLE:
        remaining -= line.amount
    elif line.debit is Code.HELD:
        held -= line.amount
    if line.credit is Code.AVAILABLE:
        remaining += line.amount
    elif line.credit is Code.HELD:
        held += line.amount
    return replace(lot, remaining=remaining, held=held)
