"""Which lots burn, in which order, and what a line does to a lot.

The order is total, so that every answer can be explained: priority, lower first; expires sooner, never last; free
before paid; lower cost per unit; granted earlier.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

from ledger.chart import Code
from ledger.model import Draw, Line, Lot
from ledger.terms import covers

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
    """What to take from which of the lots, in burn order. Takes less than `amount` if there is less."""
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
    """The lot once the line is posted: its remaining follows the side available, its held the side held.

    Where its cost is does not change here: see ledger.money.
    """
    remaining, held, spent, reclaimed, amount = lot.remaining, lot.held, lot.spent, lot.reclaimed, line.amount
    match line.debit:
        case Code.AVAILABLE:
            remaining -= amount
        case Code.HELD:
            held -= amount
        case Code.REVENUE if spent > 0:
            # A lot that a refund makes had nothing spent out of it.
            spent -= amount
        case Code.OWED:
            reclaimed += amount
    match line.credit:
        case Code.AVAILABLE:
            remaining += amount
        case Code.HELD:
            held += amount
        case Code.REVENUE | Code.TRANSFERS:
            spent += amount
        case Code.OWED if line.debit is Code.REVENUE:
            # A refund of what a revocation had made owed.
            reclaimed -= amount
        case Code.OWED:
            spent += amount
    return Lot(
        number=lot.number,
        terms=lot.terms,
        granted=lot.granted,
        remaining=remaining,
        held=held,
        spent=spent,
        reclaimed=reclaimed,
        deferred=lot.deferred,
        recognised=lot.recognised,
        lapsed=lot.lapsed,
    )


def comes_to_life(line: Line, lot: Lot, at: datetime) -> bool:
    """True of a refund's line that gives back to a lot that has run out; the refund may extend such lots."""
    return line.debit is Code.REVENUE and line.credit is Code.AVAILABLE and has_run_out(lot, at)


def may_pay_for(lot: Lot, operation: str) -> bool:
    """True if the lot's scope has the operation."""
    scope = lot.terms.scope
    return not scope or any(covers(pattern, operation) for pattern in scope)
