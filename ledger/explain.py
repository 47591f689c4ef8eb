"""Why an entry has the lines it has: which lots burnt, in which order and by which rule, and which were passed over."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ledger.chart import Code
from ledger.folding import lot_after, lot_held, lot_made
from ledger.lots import burn_order, can_burn, may_pay_for
from ledger.model import AccountName, Entry, EntryKind, Line, Lot

# Whose lines from available follow the burn order, and where they lead.
_BURNS: Final = {
    EntryKind.DEDUCT: Code.REVENUE,
    EntryKind.HOLD: Code.HELD,
    EntryKind.INCREASE_HOLD: Code.HELD,
    EntryKind.CAPTURE: Code.REVENUE,
    EntryKind.TRANSFER_OUT: Code.TRANSFERS,
    EntryKind.ADJUST: Code.ADJUSTMENTS,
}
_WHATEVER_THE_SCOPE: Final = frozenset({EntryKind.TRANSFER_OUT, EntryKind.ADJUST})


class Rule(StrEnum):
    """What puts one lot before another; the first that tells them apart."""

    PRIORITY = "priority"
    EXPIRY = "expiry"
    FREE_BEFORE_PAID = "free_before_paid"
    COST = "cost"
    AGE = "age"


class Why(StrEnum):
    """Why a lot could not burn."""

    SCOPE = "scope"
    NOT_EFFECTIVE = "not_effective"


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedLot:
    """What a line of an entry did to its lot.

    before     the lot ahead of the line
    after      the lot once the line was posted
    burnt      True if the burn order chose the lot
    next_lot   of a burnt one, the number of the lot that would have burnt next; None if there was none
    rule       what put it before that one
    """

    line: Line
    before: Lot
    after: Lot
    burnt: bool
    next_lot: int | None
    rule: Rule | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedLot:
    """A lot with something left in it, as it was when the entry was made, that could not burn."""

    lot: Lot
    why: Why


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedLimit:
    """A spend limit that counted an entry.

    amount   of the limit at the time, smallest units
    used     of it, in the window at the time, after the entry
    """

    name: str
    amount: int
    used: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """An entry, and why it is as it is.

    moved    one per line that concerns a lot, in the order of the lines
    passed   of an entry that burns lots, those that could not, in burn order
    limits   the spend limits that counted it, by their names
    """

    name: AccountName
    scale: int
    entry: Entry
    moved: tuple[MovedLot, ...]
    passed: tuple[PassedLot, ...]
    limits: tuple[CountedLimit, ...]


def burns(entry: Entry) -> bool:
    """True if the entry asked the burn order which lots to take."""
    to = _BURNS.get(entry.kind)
    if to is None or entry.moved(Code.PLANS, Code.AVAILABLE) > 0:
        return False
    if entry.kind is EntryKind.HOLD and lot_held(entry) is not None:
        return False
    # A capture looks for lots only beyond its hold, and only a correction downwards takes from any.
    asks = entry.kind not in {EntryKind.CAPTURE, EntryKind.ADJUST}
    return asks or entry.moved(Code.AVAILABLE, to) > 0


def moved_lots(entry: Entry, before: Mapping[int, Lot], open_before: Iterable[Lot]) -> tuple[MovedLot, ...]:
    """What each line of an entry did to its lot.

    before        the lots that its lines concern, ahead of it; those that it makes are not needed
    open_before   all lots that had anything in them
    """
    lots = {**before, **{made.number: lot_made(made) for made in entry.made}}
    candidates = _candidates(entry, open_before) if burns(entry) else []
    places = {lot.number: place for place, lot in enumerate(candidates)}
    moved = []
    for line in entry.lines:
        if line.lot is None:
            continue
        lot = lots[line.lot]
        after = lots[line.lot] = lot_after(lot, line, entry)
        burnt = line.debit is Code.AVAILABLE and line.credit is _BURNS.get(entry.kind) and line.lot in places
        place = places[line.lot] + 1 if burnt else len(candidates)
        following = candidates[place] if place < len(candidates) else None
        moved.append(
            MovedLot(
                line=line,
                before=lot,
                after=after,
                burnt=burnt,
                next_lot=None if following is None else following.number,
                rule=None if following is None else rule_between(candidates[place - 1], following),
            )
        )
    return tuple(moved)


def passed_lots(entry: Entry, open_before: Iterable[Lot]) -> tuple[PassedLot, ...]:
    """The lots that an entry that burns could not take, in burn order.

    open_before   all lots that had anything in them
    """
    if not burns(entry):
        return ()
    passed = []
    for lot in sorted(open_before, key=burn_order):
        if lot.remaining == 0:
            continue
        if lot.terms.effective_at > entry.effective_at:
            passed.append(PassedLot(lot=lot, why=Why.NOT_EFFECTIVE))
        elif not _may_take(entry, lot):
            passed.append(PassedLot(lot=lot, why=Why.SCOPE))
    return tuple(passed)


def rule_between(first: Lot, second: Lot) -> Rule:
    """What puts the first lot before the second, which burns later."""
    priority, expiry, unit_cost, _ = burn_order(first)
    others = burn_order(second)
    if priority != others[0]:
        return Rule.PRIORITY
    if expiry != others[1]:
        return Rule.EXPIRY
    if unit_cost != others[2]:
        return Rule.FREE_BEFORE_PAID if unit_cost == 0 else Rule.COST
    return Rule.AGE


def _candidates(entry: Entry, lots: Iterable[Lot]) -> list[Lot]:
    """The lots that could burn, in burn order."""
    able = (lot for lot in lots if can_burn(lot, entry.effective_at) and _may_take(entry, lot))
    return sorted(able, key=burn_order)


def _may_take(entry: Entry, lot: Lot) -> bool:
    return entry.kind in _WHATEVER_THE_SCOPE or may_pay_for(lot, entry.operation)
