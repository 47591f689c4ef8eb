"""What entries make of lots and holds: folded over all of them by the audit, over a few by reads of the past."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from ledger.chart import Code
from ledger.lots import after_line, comes_to_life, split
from ledger.model import Draw, Entry, EntryKind, HeldLots, Hold, HoldState, Line, Lot, MadeLot

_ENDINGS = {
    EntryKind.CAPTURE: HoldState.CAPTURED,
    EntryKind.RELEASE: HoldState.RELEASED,
    EntryKind.HOLD_LAPSE: HoldState.LAPSED,
}
# What is counted under spend limits: use from when it is held or spent, until it is given back.
_SPENDS: Final = frozenset({(Code.AVAILABLE, Code.HELD), (Code.AVAILABLE, Code.REVENUE), (Code.OWED, Code.REVENUE)})
_GIVES_BACK: Final = frozenset({(Code.HELD, Code.AVAILABLE), (Code.REVENUE, Code.AVAILABLE), (Code.REVENUE, Code.OWED)})
# Between the two sides, of a hold that does not count.
_SETS_ASIDE: Final = frozenset({(Code.AVAILABLE, Code.HELD), (Code.HELD, Code.AVAILABLE)})
_CAPTURES: Final = {(Code.HELD, Code.REVENUE): (Code.AVAILABLE, Code.REVENUE)}


def lot_made(made: MadeLot) -> Lot:
    """The lot before the lines of the entry that makes it."""
    return Lot(number=made.number, terms=made.terms, granted=made.granted, remaining=0, held=0, spent=0, reclaimed=0)


def lot_after(lot: Lot, line: Line, entry: Entry) -> Lot:
    """The lot once a line of the entry is posted. If it had run out, the entry may have it run out later."""
    after = after_line(lot, line)
    if entry.lots_expire_at is not None and comes_to_life(line, after, entry.effective_at):
        return replace(after, terms=replace(after.terms, expires_at=entry.lots_expire_at))
    return after


def hold_after(hold: Hold, entry: Entry, lots: Mapping[int, Lot]) -> Hold:
    """The hold once an entry that changes or ends it is posted.

    lots   at least those that it has drawn on, after the entry; they say when anything of it lapses
    """
    drawn, captured, tolerance = hold.drawn, hold.captured, hold.tolerance
    if entry.kind is EntryKind.INCREASE_HOLD:
        drawn += tuple(_draws(entry))
    elif entry.kind is EntryKind.CAPTURE:
        _, drawn = split(drawn, entry.moved(Code.HELD, Code.REVENUE))
        captured += entry.used
        tolerance -= entry.moved(Code.AVAILABLE, Code.REVENUE)
    elif entry.kind is EntryKind.LOT_LAPSE:
        # The lot ran out, and this hold does not honour that.
        drawn = tuple(draw for draw in drawn if draw.lot not in {line.lot for line in entry.lines})
    has_ended = entry.hold_expires_at is None
    after = replace(
        hold,
        amount=hold.amount + entry.moved(Code.AVAILABLE, Code.HELD),
        captured=captured,
        tolerance=tolerance,
        drawn=() if has_ended else drawn,
        expires_at=hold.expires_at if entry.hold_expires_at is None else entry.hold_expires_at,
        state=_ENDINGS.get(entry.kind, hold.state) if has_ended else hold.state,
        ended_at=entry.effective_at if has_ended else None,
    )
    return replace(after, due_at=_due_at(after, lots))


def hold_made(entry: Entry, lots: Mapping[int, Lot]) -> Hold:
    """The hold that an entry of kind HOLD makes.

    lots   as for `hold_after`
    """
    asked = asked_for(entry)
    tolerance = asked.get("tolerance", "")
    expires_at = entry.hold_expires_at or entry.effective_at
    hold = Hold(
        number=entry.seq,
        operation=entry.operation,
        lot=lot_held(entry),
        amount=entry.moved(Code.AVAILABLE, Code.HELD),
        captured=0,
        tolerance=int(tolerance) if tolerance.isdecimal() else 0,
        drawn=tuple(_draws(entry)),
        held_lots=HeldLots.LAPSE if asked.get("held_lots") == HeldLots.LAPSE else HeldLots.HONOUR,
        placed_at=entry.effective_at,
        expires_at=expires_at,
        due_at=expires_at,
        state=HoldState.OPEN,
        ended_at=None,
    )
    return replace(hold, due_at=_due_at(hold, lots))


def net_spent(lines: Iterable[Line], hold: Hold | None) -> int:
    """What the lines of an entry spend, less what they give back, as spend limits count it.

    hold   that the entry makes, changes or ends
    """
    moved = [((line.debit, line.credit), line.amount) for line in lines]
    if hold is not None and hold.lot is not None:
        # Nobody spends what is set aside because it is disputed: only what is captured of it.
        moved = [(_CAPTURES.get(sides, sides), amount) for sides, amount in moved if sides not in _SETS_ASIDE]
    spent = sum(amount for sides, amount in moved if sides in _SPENDS)
    return spent - sum(amount for sides, amount in moved if sides in _GIVES_BACK)


def lot_held(entry: Entry) -> int | None:
    """The lot that the hold was made for that an entry of kind HOLD makes; None if the burn order was asked."""
    lot = asked_for(entry).get("lot_id", "")
    return int(lot) if lot.isdecimal() else None


def asked_for(entry: Entry) -> dict[str, str]:
    """The fields of what was asked for, as far as the entry's fingerprint tells them."""
    return dict(line.partition("=")[::2] for line in entry.fingerprint.split("\n"))


def _draws(entry: Entry) -> Iterator[Draw]:
    for line in entry.lines:
        if line.credit is Code.HELD:
            yield Draw(lot=line.lot, amount=line.amount)


def _due_at(hold: Hold, lots: Mapping[int, Lot]) -> datetime:
    due_at = hold.expires_at
    if hold.held_lots is HeldLots.LAPSE:
        for draw in hold.drawn:
            lot = None if draw.lot is None else lots.get(draw.lot)
            if lot is not None and lot.terms.expires_at is not None:
                due_at = min(due_at, lot.terms.expires_at)
    return due_at
