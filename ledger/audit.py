"""The invariants of the books, as pure functions that return sentences: what is wrong, and where."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ledger.chain import chained_hash, genesis
from ledger.chart import CHART, CUSTOMER_SIDES, Code
from ledger.ids import IdPrefix, public_id
from ledger.lots import after_line, has_run_out, pending
from ledger.model import Account, Draw, Entry, EntryKind, Hold, Line, Lot


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


def audit_totals(asset: str, totals: Sums, folded: Sums) -> Iterator[str]:
    """Totals are the fold of the lines; debits are credits; the clearing account is zero."""
    for code in CHART:
        for side, index in (("debits", 0), ("credits", 1)):
            kept, found = totals.get(code, (0, 0))[index], folded.get(code, (0, 0))[index]
            if kept != found:
                yield f"Totals of {asset}: {side} of {code} are kept as {kept}, but the lines add up to {found}."
    debits = sum(debits for debits, _ in totals.values())
    credits_ = sum(credits_ for _, credits_ in totals.values())
    if debits != credits_:
        yield f"Totals of {asset}: debits are {debits}, credits {credits_}; they must be equal."
    clearing = totals.get(Code.TRANSFERS, (0, 0))
    if clearing[0] != clearing[1]:
        yield f"Totals of {asset}: transfers debits {clearing[0]} and credits {clearing[1]}; it must be zero."


@dataclass(slots=True)
class AccountAudit:
    """Folds the entries of one account, in order of their numbers, and compares with what is kept beside them."""

    account: Account
    sums: Sums = field(default_factory=dict)
    _seq: int = 0
    _head: bytes = b""
    _as_of: datetime | None = None
    _sides: dict[Code, int] = field(default_factory=lambda: dict.fromkeys(CUSTOMER_SIDES, 0))
    _lots: dict[int, Lot] = field(default_factory=dict)
    _not_yet: set[int] = field(default_factory=set)
    _held_by: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    _made: dict[int, tuple[tuple[Draw, ...], datetime | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._head = genesis(self.account.name)

    def _where(self, seq: int) -> str:
        name = self.account.name
        entry_id = public_id(IdPrefix.ENTRY, name.key, seq)
        return f"Account {name.account_id} ({name.asset}), entry {seq} ({entry_id})"

    def entry(self, entry: Entry) -> Iterator[str]:
        """Takes the next entry."""
        where = self._where(entry.seq)
        if entry.seq != self._seq + 1:
            yield f"{where} follows entry {self._seq}; entry numbers have no gaps."
        if self._as_of is not None and entry.effective_at < self._as_of:
            yield f"{where} took effect at {entry.effective_at}, before the entry ahead of it at {self._as_of}."
        if (entry.seq == 1) != (entry.kind is EntryKind.OPEN):
            yield f"{where} is of kind {entry.kind}; the first entry, and no other, opens the account."
        if entry.hash != chained_hash(self._head, entry):
            yield f"{where} has a hash that is not that of its content and the entry ahead of it."
        yield from self._fold(entry, where)
        self._seq, self._head, self._as_of = entry.seq, entry.hash, entry.effective_at

    def _fold(self, entry: Entry, where: str) -> Iterator[str]:
        if entry.lot_terms is not None:
            self._lots[entry.seq] = Lot(
                number=entry.seq, terms=entry.lot_terms, granted=entry.granted, remaining=0, held=0
            )
            self._not_yet.add(entry.seq)
        for line in entry.lines:
            if not {line.debit, line.credit} & CUSTOMER_SIDES:
                yield f"{where} has a line from {line.debit} to {line.credit}, which touches no side of the customer."
            self._fold_line(line)
            lot = None if line.lot is None else self._lots.get(line.lot)
            if line.lot is not None and lot is None:
                yield f"{where} moves credits of lot {line.lot}, which no earlier entry granted."
            elif lot is not None:
                self._lots[lot.number] = after_line(lot, line)
        self._fold_hold(entry)
        self._not_yet = {lot for lot in self._not_yet if self._lots[lot].terms.effective_at > entry.effective_at}
        not_yet = pending((self._lots[lot] for lot in self._not_yet), entry.effective_at)
        if entry.pending != not_yet:
            yield f"{where} says {entry.pending} is pending, but {not_yet} remains in lots that are not effective yet."
        for code, kept in ((Code.AVAILABLE, entry.available), (Code.HELD, entry.held), (Code.OWED, entry.owed)):
            if kept != self._sides[code]:
                yield f"{where} says {code} is {kept}, but the lines up to it add up to {self._sides[code]}."
            if kept < 0:
                yield f"{where} leaves {code} at {kept}; it must never be negative."
        add_lines(self.sums, entry.lines)

    def _fold_hold(self, entry: Entry) -> None:
        """Remembers what open holds drew and until when; those that have ended are forgotten, being very many."""
        if entry.hold is None:
            return
        for line in entry.lines:
            self._held_by[entry.hold] += ((line.credit is Code.HELD) - (line.debit is Code.HELD)) * line.amount
        if entry.kind is EntryKind.HOLD:
            drawn = tuple(Draw(lot=line.lot or 0, amount=line.amount) for line in entry.lines)
            self._made[entry.hold] = drawn, entry.hold_expires_at
        elif self._held_by[entry.hold] == 0:
            del self._held_by[entry.hold]
            self._made.pop(entry.hold, None)

    def _fold_line(self, line: Line) -> None:
        for code in CUSTOMER_SIDES:
            towards = line.debit if code is Code.OWED else line.credit
            if code in {line.debit, line.credit}:
                self._sides[code] += line.amount if code is towards else -line.amount

    def end(self, lots: Iterable[Lot], open_lots: Collection[int], holds: Iterable[Hold]) -> Iterator[str]:
        """Compares the folded entries with what is kept beside them: the account, all its lots, its open holds.

        open_lots   the numbers of the lots that are kept as open: no other is ever looked at to decide
        """
        account = self.account
        where = f"Account {account.name.account_id} ({account.name.asset})"
        kept = {"seq": account.seq, "head": account.head, "as_of": account.as_of}
        folded = {"seq": self._seq, "head": self._head, "as_of": self._as_of}
        kept |= {"available": account.available, "held": account.held, "owed": account.owed}
        folded |= {code.value: amount for code, amount in self._sides.items()}
        for name, value in kept.items():
            if value != folded[name]:
                yield f"{where} keeps {name} as {_shown(value)}, but its entries say {_shown(folded[name])}."
        by_number = {lot.number: lot for lot in lots}
        yield from self._end_lots(where, by_number, open_lots)
        yield from self._end_holds(where, by_number, holds)

    def _end_lots(self, where: str, lots: Mapping[int, Lot], open_lots: Collection[int]) -> Iterator[str]:
        for number in sorted(self._lots.keys() | lots.keys()):
            folded, kept = self._lots.get(number), lots.get(number)
            if folded != kept:
                yield f"{where}, lot {number} is kept as {_lot_shown(kept)}, but its entries say {_lot_shown(folded)}."
        for lot in lots.values():
            if lot.is_open != (lot.number in open_lots):
                kept_as = "open" if lot.number in open_lots else "closed"
                yield f"{where}, lot {lot.number} is kept as {kept_as}, but has {_lot_shown(lot)}."
            if lot.remaining > 0 and has_run_out(lot, self.account.as_of):
                yield (
                    f"{where}, lot {lot.number} ran out at {lot.terms.expires_at}, by the time of the last entry, "
                    f"but {lot.remaining} remains in it."
                )
        remaining = sum(lot.remaining for lot in lots.values())
        if remaining != self.account.available:
            yield f"{where} has {self.account.available} available, but {remaining} remains in its lots."
        held = sum(lot.held for lot in lots.values())
        if held != self.account.held:
            yield f"{where} has {self.account.held} held, but {held} of its lots is held."

    def _end_holds(self, where: str, lots: Mapping[int, Lot], holds: Iterable[Hold]) -> Iterator[str]:
        in_lots: dict[int, int] = defaultdict(int)
        for hold in holds:
            for draw in hold.drawn:
                in_lots[draw.lot] += draw.amount
            made = self._made.get(hold.number)
            if hold.amount != self._held_by.pop(hold.number, None) or (hold.drawn, hold.expires_at) != made:
                yield (
                    f"{where}, hold {hold.number} is open with {hold.amount} until {hold.expires_at}, "
                    "which is not what its entries say."
                )
            if hold.expires_at <= self.account.as_of:
                yield (
                    f"{where}, hold {hold.number} ran out at {hold.expires_at}, by the time of the last entry, "
                    "but is open."
                )
        for number, amount in sorted(self._held_by.items()):
            yield f"{where}, hold {number} is not open, but its entries hold {amount} for it."
        for lot in lots.values():
            if lot.held != in_lots[lot.number]:
                yield f"{where}, lot {lot.number} has {lot.held} held, but open holds drew {in_lots[lot.number]}."


def _shown(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _lot_shown(lot: Lot | None) -> str:
    return "not there" if lot is None else f"{lot.remaining} remaining and {lot.held} held of {lot.granted}"
