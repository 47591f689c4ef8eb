"""The invariants of the books, as pure functions that return sentences: what is wrong, and where."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Final

from ledger.audit_money import audit_cost, audit_taken, lines_as_given
from ledger.audit_use import Cards, UseAudit
from ledger.chain import chained_hash, genesis
from ledger.chart import CHART, CUSTOMER_SIDES, Code
from ledger.folding import hold_after, hold_made, lot_after, lot_held, lot_made
from ledger.ids import IdPrefix, public_id
from ledger.lots import has_run_out, may_pay_for, pending
from ledger.model import (
    Account,
    AccountName,
    AccountStatus,
    Draw,
    Entry,
    EntryKind,
    Hold,
    HoldState,
    Left,
    Line,
    Lot,
    Money,
)
from ledger.money import cost_moved, with_cost_moved
from ledger.outcome import Spent

# A revocation has another side if its account was merged before.
_OTHER_SIDES: Final = {
    EntryKind.TRANSFER_OUT: {EntryKind.TRANSFER_IN},
    EntryKind.TRANSFER_IN: {EntryKind.TRANSFER_OUT},
    EntryKind.MERGE_OUT: {EntryKind.MERGE_IN},
    EntryKind.MERGE_IN: {EntryKind.MERGE_OUT, EntryKind.REVOKE},
    EntryKind.REVOKE: {EntryKind.MERGE_IN},
}
_SPENDING: Final = frozenset(
    {
        EntryKind.DEDUCT,
        EntryKind.INCREASE_HOLD,
        EntryKind.TRANSFER_OUT,
        EntryKind.MERGE_OUT,
        EntryKind.FREEZE,
    }
)
_STATUS_AFTER: Final = {
    EntryKind.FREEZE: AccountStatus.FROZEN,
    EntryKind.UNFREEZE: AccountStatus.OPEN,
    EntryKind.CLOSE: AccountStatus.CLOSED,
    EntryKind.MERGE_OUT: AccountStatus.CLOSED,
}
_USE: Final = frozenset({EntryKind.DEDUCT, EntryKind.CAPTURE})


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialBalanceRow:
    """What was debited and credited under one code, smallest units."""

    code: Code
    debits: int
    credits: int

    @property
    def balance(self) -> int:
        """Debits less credits."""
        return self.debits - self.credits


Sums = dict[Code, tuple[int, int]]


def trial_balance(sums: Mapping[Code, tuple[int, int]]) -> tuple[TrialBalanceRow, ...]:
    """One row per code of the chart, in its order."""
    return tuple(
        TrialBalanceRow(code=code, debits=sums.get(code, (0, 0))[0], credits=sums.get(code, (0, 0))[1])
        for code in CHART
    )


def add_lines(sums: Sums, lines: Iterable[Line]) -> None:
    """Adds what the lines debit and credit."""
    for line in lines:
        debits, credits_ = sums.get(line.debit, (0, 0))
        sums[line.debit] = (debits + line.amount, credits_)
        debits, credits_ = sums.get(line.credit, (0, 0))
        sums[line.credit] = (debits, credits_ + line.amount)


def add_sums(sums: Sums, more: Mapping[Code, tuple[int, int]]) -> None:
    """Adds what others add up to."""
    for code, (debits, credits_) in more.items():
        before = sums.get(code, (0, 0))
        sums[code] = (before[0] + debits, before[1] + credits_)


def audit_totals(asset: str, totals: Sums, folded: Sums) -> Iterator[str]:
    """Totals are the fold of the lines; debits are credits; the clearing account is zero."""
    yield from _compared(f"Totals of {asset}", totals, folded)
    debits = sum(debits for debits, _ in totals.values())
    credits_ = sum(credits_ for _, credits_ in totals.values())
    if debits != credits_:
        yield f"Totals of {asset}: debits are {debits}, credits {credits_}; they must be equal."
    clearing = totals.get(Code.TRANSFERS, (0, 0))
    if clearing[0] != clearing[1]:
        yield f"Totals of {asset}: transfers debits {clearing[0]} and credits {clearing[1]}; it must be zero."


def audit_checkpoint(asset: str, at: datetime, kept: Sums, folded: Sums) -> Iterator[str]:
    """A checkpoint is the fold of the lines up to its instant."""
    yield from _compared(f"Checkpoint of {asset} at {at}", kept, folded)


def _compared(what: str, kept: Sums, folded: Sums) -> Iterator[str]:
    for code in CHART:
        for side, index in (("debits", 0), ("credits", 1)):
            sum_kept, found = kept.get(code, (0, 0))[index], folded.get(code, (0, 0))[index]
            if sum_kept != found:
                yield f"{what}: {side} of {code} are kept as {sum_kept}, but the lines add up to {found}."


def audit_peer(name: AccountName, entry: Entry, peer: Entry | None) -> Iterator[str]:
    """A movement between two accounts has an entry on each, of the same amounts.

    peer   what the entry names as its other side; None if there is no such entry
    """
    where = _where(name, entry.seq)
    if entry.peer is None:
        return
    other = public_id(IdPrefix.ENTRY, *entry.peer)
    if peer is None or peer.kind not in _OTHER_SIDES.get(entry.kind, ()) or peer.peer != (entry.key, entry.seq):
        yield f"{where} names {other} as its other side, which is not that."
        return
    given, taken = _between_accounts(entry), _between_accounts(peer)
    for side in (Code.AVAILABLE, Code.OWED):
        here = [(line.amount, line.debit is side) for line in given if side in {line.debit, line.credit}]
        there = [(line.amount, line.credit is side) for line in taken if side in {line.debit, line.credit}]
        if here != there:
            yield f"{where} does not move the same amounts of {side} as {other} on the other side."
    if [line.cost for line in given] != [line.cost for line in taken]:
        yield f"{where} does not move the same costs as {other} on the other side."


def _between_accounts(entry: Entry) -> list[Line]:
    """The lines of an entry that have another side on another account."""
    return [line for line in entry.lines if Code.TRANSFERS in {line.debit, line.credit}]


@dataclass(slots=True)
class AccountAudit:
    """Folds the entries of one account, in order of their numbers, and compares with what is kept beside them.

    cards      the versions of rate cards that its entries were charged by; see UseAudit
    refunded   how much of which entry was refunded, by its number
    ended      the holds that have ended since this was emptied last, as the entries left them
    """

    account: Account
    cards: Cards = field(default_factory=dict)
    refunded: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    ended: list[Hold] = field(default_factory=list)
    _seq: int = 0
    _head: bytes = b""
    _as_of: datetime | None = None
    _status: AccountStatus = AccountStatus.OPEN
    _sides: dict[Code, int] = field(default_factory=lambda: dict.fromkeys(CUSTOMER_SIDES, 0))
    _lots: dict[int, Lot] = field(default_factory=dict)
    _last_lot: int = 0
    _not_yet: set[int] = field(default_factory=set)
    _holds: dict[int, Hold] = field(default_factory=dict)
    # By lot, the lines that a merge has moved all there was with.
    _moved: dict[int, Line] | None = None
    _use: UseAudit = field(init=False)

    def __post_init__(self) -> None:
        self._head = genesis(self.account.name)
        self._use = UseAudit(self.account.terms, self.cards)

    def entry(self, entry: Entry, spent: Iterable[Spent] = (), used: Entry | None = None) -> Iterator[str]:
        """Takes the next entry.

        spent   what is kept as counted by it, under spend limits and by rate cards
        used    the entry that it refunds; None if it refunds none, or there is none
        """
        where = _where(self.account.name, entry.seq)
        if entry.seq != self._seq + 1:
            yield f"{where} follows entry {self._seq}; entry numbers have no gaps."
        if self._as_of is not None and entry.effective_at < self._as_of:
            yield f"{where} took effect at {entry.effective_at}, before the entry ahead of it at {self._as_of}."
        if (entry.seq == 1) != (entry.kind is EntryKind.OPEN):
            yield f"{where} is of kind {entry.kind}; the first entry, and no other, opens the account."
        if entry.hash != chained_hash(self._head, entry):
            yield f"{where} has a hash that is not that of its content and the entry ahead of it."
        yield from self._names(entry, where)
        yield from self._fold_lots(entry, used, where)
        hold = None if entry.hold is None else self._holds.get(entry.hold)
        yield from self._fold_hold(entry, where)
        if entry.hold == entry.seq:
            hold = self._holds.get(entry.hold)
        yield from self._use.entry(entry, where, hold, spent)
        yield from self._fold_sides(entry, where)
        yield from self._fold_status(entry, where)
        self._seq, self._head, self._as_of = entry.seq, entry.hash, entry.effective_at

    def _names(self, entry: Entry, where: str) -> Iterator[str]:
        """What an entry names beside its lines is what its kind wants."""
        has_other_side = any(_between_accounts(entry)) if entry.kind is EntryKind.REVOKE else entry.kind in _OTHER_SIDES
        if (entry.peer is not None) != has_other_side:
            yield f"{where} is of kind {entry.kind}, which does not fit the entry it names on another account."
        if (entry.refunds is not None) != (entry.kind is EntryKind.REFUND) or (entry.refunds or 0) >= entry.seq:
            yield f"{where} is of kind {entry.kind}, which does not fit that it refunds entry {entry.refunds}."
        if (entry.revokes is not None) != (entry.kind is EntryKind.REVOKE):
            yield f"{where} is of kind {entry.kind}, which does not fit that it takes back lot {entry.revokes}."
        if entry.lots_expire_at is not None and entry.kind is not EntryKind.REFUND:
            yield f"{where} is of kind {entry.kind}, which does not fit that it extends lots."
        if entry.refunds is not None:
            self.refunded[entry.refunds] += entry.refunded

    def _fold_lots(self, entry: Entry, used: Entry | None, where: str) -> Iterator[str]:
        before = 0 if entry.refunds is None else self.refunded[entry.refunds] - entry.refunded
        given = lines_as_given(entry, used, before, self._lots, self._moved)
        for made in entry.made:
            if made.number != self._last_lot + 1:
                yield f"{where} makes lot {made.number} after lot {self._last_lot}; lot numbers have no gaps."
            self._last_lot = made.number
            self._lots[made.number] = lot_made(made)
            self._not_yet.add(made.number)
            put_in = sum(line.amount for line in entry.lines if line.lot == made.number and _puts_in(line))
            if put_in != made.granted:
                yield f"{where} makes lot {made.number} of {made.granted}, but puts {put_in} into it."
            yield from audit_taken(made, entry, given, self._lots, where)
        without_lot = 0
        for line, unposted in zip(entry.lines, given, strict=True):
            if not {line.debit, line.credit} & CUSTOMER_SIDES:
                yield f"{where} has a line from {line.debit} to {line.credit}, which touches no side of the customer."
            lot = None if line.lot is None else self._lots.get(line.lot)
            if line.lot is None:
                without_lot += ((line.credit is Code.AVAILABLE) - (line.debit is Code.AVAILABLE)) * line.amount
            elif lot is None:
                yield f"{where} moves credits of lot {line.lot}, which no earlier entry made."
            else:
                yield from self._fold_line(lot, line, unposted, entry, where)
        if without_lot != 0:
            yield f"{where} changes available by {without_lot} without a lot."
        self._not_yet = {lot for lot in self._not_yet if self._lots[lot].terms.effective_at > entry.effective_at}
        not_yet = pending((self._lots[lot] for lot in self._not_yet), entry.effective_at)
        if entry.pending != not_yet:
            yield f"{where} says {entry.pending} is pending, but {not_yet} remains in lots that are not effective yet."

    def _fold_line(self, lot: Lot, line: Line, unposted: Line, entry: Entry, where: str) -> Iterator[str]:
        at = entry.effective_at
        names_lot = entry.kind is EntryKind.HOLD and lot_held(entry) == lot.number
        if line.debit is Code.AVAILABLE and line.credit in {Code.REVENUE, Code.HELD} and not names_lot:
            alive = lot.terms.effective_at <= at and not has_run_out(lot, at)
            if not alive or not may_pay_for(lot, entry.operation):
                yield f"{where} takes credits of lot {lot.number}, which cannot burn at {at} for {entry.operation!r}."
        after = lot_after(lot, line, entry)
        cost = cost_moved(lot, after, unposted)
        if cost is not None:
            after = with_cost_moved(after, line, cost)
        self._lots[lot.number] = after
        if line.left != after.left:
            yield (
                f"{where} says that it leaves {_left_shown(line.left)} in lot {lot.number}, "
                f"but the lines up to it leave {_left_shown(after.left)}."
            )
        yield from audit_cost(line, cost, after, where)
        if min(after.left) < 0 or after.remaining + after.held + after.spent > after.granted:
            yield (
                f"{where} leaves lot {lot.number} of {after.granted} with {after.remaining} remaining, "
                f"{after.held} held, {after.spent} spent and {after.reclaimed} reclaimed, which cannot be."
            )

    def _fold_hold(self, entry: Entry, where: str) -> Iterator[str]:
        """Remembers the open holds; those that have ended are very many, so somebody takes them away now and then."""
        moved = sum(((line.credit is Code.HELD) - (line.debit is Code.HELD)) * line.amount for line in entry.lines)
        before = None if entry.hold is None else self._holds.pop(entry.hold, None)
        if entry.hold is None:
            if moved:
                yield f"{where} changes held by {moved} without a hold."
            return
        if entry.kind is EntryKind.HOLD and entry.hold == entry.seq:
            after = hold_made(entry, self._lots)
        elif before is None:
            yield f"{where} changes hold {entry.hold}, which is not open."
            return
        else:
            after = hold_after(before, entry, self._lots)
            lapses, at = entry.kind is EntryKind.HOLD_LAPSE, entry.effective_at
            if (at != before.expires_at) if lapses else (at >= before.expires_at):
                yield f"{where} is of kind {entry.kind}, but hold {entry.hold} runs out at {before.expires_at}."
        if after.held != (before.held if before else 0) + moved:
            yield f"{where} changes held by {moved}, which does not leave hold {entry.hold} with {after.held}."
        if entry.hold_held != after.held:
            yield f"{where} says that hold {entry.hold} holds {entry.hold_held}, but it holds {after.held}."
        if after.tolerance < 0:
            yield f"{where} captures {-after.tolerance} more than hold {entry.hold} tolerates."
        if after.state is HoldState.OPEN:
            self._holds[after.number] = after
        else:
            self.ended.append(after)

    def _fold_sides(self, entry: Entry, where: str) -> Iterator[str]:
        for line in entry.lines:
            for code in CUSTOMER_SIDES:
                towards = line.debit if code is Code.OWED else line.credit
                if code in {line.debit, line.credit}:
                    self._sides[code] += line.amount if code is towards else -line.amount
        for code, kept in ((Code.AVAILABLE, entry.available), (Code.HELD, entry.held), (Code.OWED, entry.owed)):
            if kept != self._sides[code]:
                yield f"{where} says {code} is {kept}, but the lines up to it add up to {self._sides[code]}."
            if kept < 0:
                yield f"{where} leaves {code} at {kept}; it must never be negative."

    def _fold_status(self, entry: Entry, where: str) -> Iterator[str]:
        frozen = self._status is AccountStatus.FROZEN
        match entry.kind:
            case EntryKind.CAPTURE:
                spends = entry.moved(Code.AVAILABLE, Code.REVENUE) > 0
            case EntryKind.HOLD:
                spends = lot_held(entry) is None
            case kind:
                spends = kind in _SPENDING
        # Of an account that was merged, what was spent before may be taken back.
        is_over = self._status is AccountStatus.CLOSED and (entry.kind is not EntryKind.REVOKE or self._moved is None)
        if is_over or (frozen and spends):
            yield f"{where} is of kind {entry.kind}, but the account was {self._status}."
        if entry.kind is EntryKind.UNFREEZE and not frozen:
            yield f"{where} is of kind {entry.kind}, but the account was not frozen."
        if entry.kind is EntryKind.MERGE_OUT:
            self._moved = {line.lot: line for line in entry.lines if line.lot is not None}
        self._status = _STATUS_AFTER.get(entry.kind, self._status)
        if self._status is AccountStatus.CLOSED and (any(self._sides.values()) or self._holds):
            yield f"{where} closes the account, but something is left in it."

    def end(
        self, lots: Iterable[Lot], open_lots: Collection[int], holds: Iterable[Hold], used: Mapping[int, Entry]
    ) -> Iterator[str]:
        """Compares the folded entries with what is kept beside them: the account, all its lots, its open holds.

        open_lots   the numbers of the lots that are kept as open: no other is ever looked at to decide
        holds       those that are kept as open
        used        the entries that were refunded, by their numbers
        """
        account = self.account
        where = _of(account.name)
        kept = {"seq": account.seq, "head": account.head, "as_of": account.as_of}
        folded = {"seq": self._seq, "head": self._head, "as_of": self._as_of}
        kept |= {"available": account.available, "held": account.held, "owed": account.owed}
        folded |= {code.value: amount for code, amount in self._sides.items()}
        kept |= {"lots": account.lots, "status": account.status, "time_zone": account.terms.time_zone}
        folded |= {"lots": self._last_lot, "status": self._status, "time_zone": self._use.time_zone}
        for name, value in kept.items():
            if value != folded[name]:
                yield f"{where} keeps {name} as {_shown(value)}, but its entries say {_shown(folded[name])}."
        by_number = {lot.number: lot for lot in lots}
        open_holds = {hold.number: hold for hold in holds}
        yield from self._end_lots(where, by_number, open_lots)
        yield from self._end_holds(where, by_number, open_holds)
        for seq, refunded in sorted(self.refunded.items()):
            entry = used.get(seq)
            if entry is None or entry.kind not in _USE:
                yield f"{where}: {refunded} of entry {seq} was refunded, which is not one of use."
            elif refunded > entry.used:
                yield f"{where}: {refunded} of entry {seq} was refunded, which used {entry.used}."

    def _end_lots(self, where: str, lots: Mapping[int, Lot], open_lots: Collection[int]) -> Iterator[str]:
        for number in sorted(self._lots.keys() | lots.keys()):
            yield from _same(f"{where}, lot {number}", lots.get(number), self._lots.get(number))
        for lot in lots.values():
            if lot.is_open != (lot.number in open_lots):
                kept_as = "open" if lot.number in open_lots else "closed"
                yield (
                    f"{where}, lot {lot.number} is kept as {kept_as}, but has {lot.remaining} remaining "
                    f"and {lot.held} held."
                )
            if lot.remaining > 0 and has_run_out(lot, self.account.as_of):
                yield (
                    f"{where}, lot {lot.number} ran out at {lot.terms.expires_at}, by the time of the last entry, "
                    f"but {lot.remaining} remains in it."
                )
        remaining = sum(lot.remaining for lot in lots.values())
        if remaining != self.account.available:
            yield f"{where} has {self.account.available} available, but {remaining} remains in its lots."

    def _end_holds(self, where: str, lots: Mapping[int, Lot], holds: Mapping[int, Hold]) -> Iterator[str]:
        for number in sorted(self._holds.keys() | holds.keys()):
            hold, folded = holds.get(number), self._holds.get(number)
            if hold is None:
                yield f"{where}, hold {number} is not kept as open, but no entry has ended it."
            elif folded is None:
                yield f"{where}, hold {number} is kept as open, but its entries have ended it."
            else:
                yield from _same(f"{where}, hold {number}", hold, folded)
                if hold.due_at <= self.account.as_of:
                    yield (
                        f"{where}, hold {number} was due at {hold.due_at}, by the time of the last entry, but is open."
                    )
        drawn: dict[int | None, int] = defaultdict(int)
        for hold in holds.values():
            for draw in hold.drawn:
                drawn[draw.lot] += draw.amount
        for lot in lots.values():
            if lot.held != drawn[lot.number]:
                yield f"{where}, lot {lot.number} has {lot.held} held, but open holds drew {drawn[lot.number]}."
        held = sum(lot.held for lot in lots.values())
        if held + drawn[None] != self.account.held:
            yield (
                f"{where} has {self.account.held} held, but {held} of its lots is held, "
                f"and {drawn[None]} of what a plan covers."
            )


def counted_by_none(name: AccountName, row: Spent) -> str:
    """That something is kept as counted by an entry that is not there."""
    return f"{_of(name)} has {row.change} counted under {row.name} by entry {row.seq}, which is not there."


def audit_stopped(name: AccountName, seq: int | None, where: str) -> str:
    """That an account cannot be audited any further.

    seq     of the entry that it is about; None: of none
    where   what cannot be read
    """
    about = _of(name) if seq is None else _where(name, seq)
    return f"{about} has a value that cannot be read in {where}; the account is audited no further."


def audit_ended_hold(name: AccountName, folded: Hold, kept: Hold | None) -> Iterator[str]:
    """A hold that has ended is kept as its entries left it."""
    yield from _same(f"{_of(name)}, hold {folded.number}", kept, folded)


def _puts_in(line: Line) -> bool:
    return line.credit is Code.AVAILABLE and line.debit is not Code.HELD


def _of(name: AccountName) -> str:
    return f"Account {name.account_id} ({name.asset})"


def _where(name: AccountName, seq: int) -> str:
    return f"{_of(name)}, entry {seq} ({public_id(IdPrefix.ENTRY, name.key, seq)})"


def _same(what: str, kept: Lot | Hold | None, folded: Lot | Hold | None) -> Iterator[str]:
    """What is kept of a lot or a hold is what its entries say, field by field."""
    if kept is None or folded is None:
        yield f"{what} is not kept, but an entry made it." if kept is None else f"{what} is kept, but no entry made it."
        return
    mine, theirs = _fields(kept), _fields(folded)
    for name, value in mine.items():
        if value != theirs[name]:
            yield f"{what} keeps {name} as {_shown(value)}, but its entries say {_shown(theirs[name])}."


def _fields(kept: Lot | Hold) -> dict[str, object]:
    values = {one.name: getattr(kept, one.name) for one in fields(kept)}
    terms = values.pop("terms", None)
    return values if terms is None else values | {one.name: getattr(terms, one.name) for one in fields(terms)}


def _shown(value: object) -> str:
    match value:
        case bytes():
            return value.hex()
        case Draw():
            return f"{value.amount} of {'a plan' if value.lot is None else f'lot {value.lot}'}"
        case Money():
            return f"{value.minor_units} {value.currency}"
        case tuple():
            return ", ".join(_shown(one) for one in value) or "nothing"
        case _:
            return str(value)


def _left_shown(left: Left | None) -> str:
    return "nothing" if left is None else "{} remaining, {} held, {} spent and {} reclaimed".format(*left)
