"""What one operation would write to one account. Every entry is made here, so every balance follows from its lines."""

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import datetime

from ledger.chain import chained_hash
from ledger.chart import Code
from ledger.lots import after_line, has_run_out
from ledger.model import (
    NO_MEMO,
    Account,
    Draw,
    Entry,
    EntryKind,
    Hold,
    HoldState,
    Line,
    Lot,
    LotTerms,
    Posting,
    State,
)
from ledger.operations import Request


class Draft:
    """Entries, lots and holds as they would be; the state it was made from is not touched.

    It begins by settling what had lapsed before `at`: the caller's clock, or the instant of the account's last entry if
    that is later, so that a clock that steps back cannot bring anything back to life.
    """

    def __init__(self, state: State, account: Account, now: datetime, *, recorded: bool = True) -> None:
        self._state = state
        self._recorded_at = now if recorded else None
        self.account = account
        self.at = max(now, account.as_of)
        self.entries: list[Entry] = []
        self.lots: dict[int, Lot] = {}
        self.holds: dict[int, Hold] = {}
        # Nothing can move a lot before it is effective, so these can be added up from what they are now.
        self._later = [
            (lot.terms.effective_at, lot.remaining)
            for lot in state.lots.values()
            if lot.terms.effective_at > account.as_of
        ]
        if state.settled_at is None or state.settled_at < self.at:
            self._settle()

    def lot(self, number: int) -> Lot:
        """The lot as it would be."""
        return self.lots.get(number) or self._state.lots[number]

    def open_lots(self) -> Collection[Lot]:
        """All lots with something in them, and perhaps some without."""
        return {**self._state.lots, **self.lots}.values() if self.lots else self._state.lots.values()

    def hold(self, number: int) -> Hold | None:
        """The hold as it would be, ended or not; None if the account has no such hold."""
        return self.holds.get(number) or self._state.holds.get(number)

    def open_holds(self) -> list[Hold]:
        """The holds that are still there."""
        holds = {**self._state.holds, **self.holds}.values() if self.holds else self._state.holds.values()
        return [hold for hold in holds if hold.state is HoldState.OPEN]

    @property
    def pending(self) -> int:
        """What is granted but not effective yet, smallest units."""
        return self._pending(self.at)

    @property
    def spendable(self) -> int:
        """What is available and effective, smallest units."""
        return self.account.available - self.pending

    def post(
        self,
        kind: EntryKind,
        lines: Iterable[Line],
        *,
        request: Request | None = None,
        at: datetime | None = None,
        lot_terms: LotTerms | None = None,
        hold: Hold | None = None,
    ) -> Entry:
        """Adds the next entry.

        request     whose entry it is; None for a lapse
        at          when it takes effect; None: the draft's own instant
        lot_terms   the terms of the lot that a grant makes
        hold        the hold that it makes or ends, as it is from then on
        """
        lines, seq, at = tuple(lines), self.account.seq + 1, at or self.at
        if lot_terms is not None:
            amount = sum(line.amount for line in lines if line.credit is Code.AVAILABLE)
            self.lots[seq] = Lot(number=seq, terms=lot_terms, granted=amount, remaining=0, held=0)
            self._later.append((lot_terms.effective_at, amount))
        if hold is not None:
            self.holds[hold.number] = hold
        available, held, owed = self._apply(lines)
        entry = Entry(
            key=self.account.name.key,
            seq=seq,
            kind=kind,
            request_id=None if request is None else request.request_id,
            fingerprint="" if request is None else request.fingerprint(),
            effective_at=at,
            recorded_at=self._recorded_at,
            available=available,
            held=held,
            owed=owed,
            pending=self._pending(at),
            lines=lines,
            lot_terms=lot_terms,
            hold=None if hold is None else hold.number,
            hold_expires_at=hold.expires_at if hold is not None and kind is EntryKind.HOLD else None,
            memo=NO_MEMO if request is None else request.memo,
            hash=b"",
        )
        if self._recorded_at is not None:
            entry = replace(entry, hash=chained_hash(self.account.head, entry))
        self.entries.append(entry)
        self.account = Account(
            name=self.account.name, available=available, held=held, owed=owed, seq=seq, head=entry.hash, as_of=at
        )
        return entry

    def posting(self) -> Posting:
        """All of it, to be written."""
        return Posting(
            account=self.account,
            entries=tuple(self.entries),
            lots=tuple(self.lots.values()),
            holds=tuple(self.holds.values()),
            settled_at=self.at,
        )

    def give_back(self, draws: Iterable[Draw], at: datetime) -> list[Line]:
        """The lines that return what a hold drew to its lots. What a lot that has run out gets back lapses at once."""
        lines = []
        for draw in draws:
            lines.append(Line(debit=Code.HELD, credit=Code.AVAILABLE, amount=draw.amount, lot=draw.lot))
            if has_run_out(self.lot(draw.lot), at):
                lines.append(Line(debit=Code.AVAILABLE, credit=Code.BREAKAGE, amount=draw.amount, lot=draw.lot))
        return lines

    def _pending(self, at: datetime) -> int:
        return sum(remaining for effective_at, remaining in self._later if effective_at > at)

    def _apply(self, lines: tuple[Line, ...]) -> tuple[int, int, int]:
        """Posts the lines to lots and sides; returns available, held and owed after them."""
        available, held, owed = self.account.available, self.account.held, self.account.owed
        for line in lines:
            available += (line.credit is Code.AVAILABLE) * line.amount - (line.debit is Code.AVAILABLE) * line.amount
            held += (line.credit is Code.HELD) * line.amount - (line.debit is Code.HELD) * line.amount
            owed += (line.debit is Code.OWED) * line.amount - (line.credit is Code.OWED) * line.amount
            if line.lot is not None:
                lot = self.lots[line.lot] = after_line(self.lot(line.lot), line)
                if lot.remaining < 0 or lot.held < 0:
                    raise AssertionError(f"{line} would take more from {lot} than it has")
        if available < 0 or held < 0 or owed < 0:
            raise AssertionError(f"{lines} would take a side of {self.account} below zero")
        return available, held, owed

    def _settle(self) -> None:
        """Posts what lapsed up to `at`, in order of time; of one instant, holds before lots, older before newer."""
        due: list[tuple[datetime, bool, int]] = [
            (hold.expires_at, False, hold.number) for hold in self.open_holds() if hold.expires_at <= self.at
        ]
        due += [
            (lot.terms.expires_at, True, lot.number)
            for lot in self.open_lots()
            if lot.terms.expires_at is not None and lot.terms.expires_at <= self.at
        ]
        for instant, is_lot, number in sorted(due):
            if is_lot:
                self._lapse_lot(self.lot(number), instant)
            else:
                self._lapse_hold(number, instant)

    def _lapse_hold(self, number: int, at: datetime) -> None:
        hold = replace(self._state.holds[number], state=HoldState.LAPSED, ended_at=at)
        self.post(EntryKind.HOLD_LAPSE, self.give_back(hold.drawn, at), at=at, hold=hold)

    def _lapse_lot(self, lot: Lot, at: datetime) -> None:
        # What holds have drawn stays good for them; nothing is written for a lot that is drawn wholly.
        if lot.remaining > 0:
            line = Line(debit=Code.AVAILABLE, credit=Code.BREAKAGE, amount=lot.remaining, lot=lot.number)
            self.post(EntryKind.LOT_LAPSE, (line,), at=at)
