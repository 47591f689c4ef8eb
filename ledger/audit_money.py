"""Where the cost of lots is: what the audit says of it, line by line, as functions that return sentences."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from ledger.chart import Code
from ledger.model import Entry, EntryKind, Line, Lot, MadeLot, Money
from ledger.money import cost_of_part, cost_reclaimed, cost_rolled_over, without_cost_of

_TAKEN_OF: Final = {EntryKind.REFUND: "recognised", EntryKind.ROLL_OVER: "lapsed"}


def lines_as_given(
    entry: Entry, used: Entry | None, refunded: int, lots: Mapping[int, Lot], moved: Mapping[int, Line] | None
) -> list[Line]:
    """The lines of an entry before they were posted: those that bring or take something back with what they were given.

    used       the entry that it refunds; None if it refunds none, or there is none
    refunded   how much of that was refunded before
    lots       as they were before the entry
    moved      by lot, the lines with which the account was merged before; None: it was not
    """
    if moved is not None:
        return [replace(line, cost=_reclaimed(line, lots, moved)) for line in entry.lines]
    # What can be given at most to a lot that is made is recognised of the one that it is taken from.
    most = {
        made.number: lots[made.taken_from].recognised
        for made in entry.made
        if made.taken_from is not None and made.taken_from in lots
    }
    lines = []
    for line in entry.lines:
        given = 0
        if used is not None and line.debit is Code.REVENUE:
            given = _cost_of(used, refunded, refunded + line.amount)
            refunded += line.amount
        if line.lot in most:
            given = min(given, most[line.lot])
            most[line.lot] -= given
        # In which currency that is, is told by the lot.
        lines.append(replace(line, cost=Money(minor_units=given, currency="") if given else None))
    return lines


def _reclaimed(line: Line, lots: Mapping[int, Lot], moved: Mapping[int, Line]) -> Money | None:
    """What a line takes back of the cost of what was spent before a merge."""
    lot = None if line.lot is None else lots.get(line.lot)
    if lot is None:
        return None
    gone = moved.get(lot.number)
    cost = 0 if gone is None or gone.cost is None else gone.cost.minor_units
    return cost_reclaimed(lot, line.amount, 0 if gone is None else gone.amount, cost)


def _cost_of(used: Entry, start: int, stop: int) -> int:
    """What some of what an entry used took with it, minor units; last burnt first."""
    cost = ahead = 0
    for line in reversed(used.lines):
        if line.credit is Code.REVENUE:
            first, last = (min(max(place - ahead, 0), line.amount) for place in (start, stop))
            cost += cost_of_part(line, first, last)
            ahead += line.amount
    return cost


def audit_taken(made: MadeLot, entry: Entry, given: Iterable[Line], lots: dict[int, Lot], where: str) -> Iterator[str]:
    """Takes the cost of a lot that an entry makes from the lot that it is taken from.

    given   the lines of the entry with what they were given
    """
    if made.taken_from is None:
        return
    old = lots.get(made.taken_from)
    if old is None or entry.kind not in _TAKEN_OF:
        yield f"{where} is of kind {entry.kind}, and takes the cost of lot {made.number} from lot {made.taken_from}."
        return
    if entry.kind is EntryKind.ROLL_OVER:
        rolled = cost_rolled_over(old, made.granted)
        most = 0 if rolled is None else rolled.minor_units
    else:
        most = sum(line.cost.minor_units for line in given if line.lot == made.number and line.cost is not None)
    cost = 0 if made.terms.cost is None else made.terms.cost.minor_units
    if cost != most:
        yield (
            f"{where} makes lot {made.number} at a cost of {cost}, but what it takes of lot {old.number}, "
            f"of whose cost {getattr(old, _TAKEN_OF[entry.kind])} is {_TAKEN_OF[entry.kind]}, is {most}."
        )
    lots[old.number] = without_cost_of(old, made, entry.kind)


def audit_cost(posted: Line, cost: Money | None, after: Lot, where: str) -> Iterator[str]:
    """A line moves what it should of its lot's cost, of which no part is ever less than nothing.

    cost    what it should
    after   the lot once that is moved
    """
    if posted.cost != cost:
        yield (
            f"{where} says that {_shown(posted.cost)} of the cost of lot {after.number} goes from "
            f"{posted.debit} to {posted.credit}, but its share is {_shown(cost)}."
        )
    if min(after.deferred, after.recognised, after.lapsed) < 0:
        yield (
            f"{where} leaves lot {after.number} with {after.deferred} deferred, {after.recognised} recognised and "
            f"{after.lapsed} lapsed of its cost, which cannot be."
        )


def _shown(cost: Money | None) -> str:
    return "nothing" if cost is None else f"{cost.minor_units} {cost.currency}"
