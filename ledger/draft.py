"""What one operation would write to one account. Every entry is made here, so every balance follows from its lines."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from ledger.chain import seal
from ledger.chart import Code
from ledger.folding import net_spent
from ledger.ids import AccountKey
from ledger.lots import after_line, comes_to_life, has_run_out
from ledger.model import (
    NO_MEMO,
    Account,
    AccountStatus,
    Draw,
    Entry,
    EntryKind,
    HeldLots,
    Hold,
    HoldState,
    Left,
    Line,
    Lot,
    MadeLot,
    Memo,
)
from ledger.money import cost_moved, with_cost_moved, without_cost_of
from ledger.operations import Request
from ledger.outcome import Posting, Spending, Spent, State
from ledger.pricing import Charge
from ledger.terms import AccountTerms, Counter, SpendLimit, window_start


class Draft:
    """Entries, lots and holds as they would be; the state it was made from is not touched.

    It begins by settling what had lapsed before `at`: the caller's clock, or the instant of the account's last entry if
    that is later, so that a clock that steps back cannot bring anything back to life; `not_before`, if given, is the
    least that it can be.
    """

    def __init__(
        self,
        state: State,
        account: Account,
        now: datetime,
        *,
        not_before: datetime | None = None,
        recorded: bool = True,
    ) -> None:
        self._state = state
        self._recorded_at = now if recorded else None
        self.account = account
        self.at = max(now, account.as_of, not_before or now)
        self.entries: list[Entry] = []
        self.lots: dict[int, Lot] = {}
        self.holds: dict[int, Hold] = {}
        self._spent: list[Spent] = []
        self._spending: dict[str, Spending] = {}
        self._later = [lot.number for lot in state.lots.values() if lot.terms.effective_at > account.as_of]
        if (state.settled_at is None or state.settled_at < self.at) and has_lapsed(state, self.at):
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

    def spending(self, limit: SpendLimit | Counter) -> Spending:
        """What was spent under one of the account's limits, or counted by a rate card."""
        known = self._spending.get(limit.counted_as) or self._state.spending.get(limit.counted_as)
        since = window_start(limit, self.account.terms.time_zone, self.at)
        if known is None or (known.since < since and limit.length is None):
            # Set or counted for the first time by an operation of the same batch; or a movement between accounts took
            # this one's time on into the next window.
            return Spending(used=0, since=since, oldest=None)
        return known

    def post(
        self,
        kind: EntryKind,
        lines: Iterable[Line] = (),
        *,
        request: Request | None = None,
        memo: Memo | None = None,
        at: datetime | None = None,
        made: Iterable[MadeLot] = (),
        operation: str = "",
        hold: Hold | None = None,
        refunds: Entry | None = None,
        revokes: int | None = None,
        lots_expire_at: datetime | None = None,
        peer: tuple[AccountKey, int] | None = None,
        status: AccountStatus | None = None,
        terms: AccountTerms | None = None,
        charge: Charge | None = None,
    ) -> Entry:
        """Adds the next entry. What is not explained here, Entry does.

        request   whose entry it is; None for what nobody asked for by this account's name
        memo, at  None: that of the request, and the draft's own instant
        hold      the hold that it makes, changes or ends, as it is from then on
        refunds   the entry that it refunds
        status    of the account from then on; None: as it is; so for `terms`
        """
        made, seq, at = self._make(made, kind), self.account.seq + 1, at or self.at
        lines, available, held, owed = self._apply(lines, at, lots_expire_at)
        if hold is not None:
            self.holds[hold.number] = hold = replace(hold, due_at=self._due_at(hold))
        if self.account.terms.limits:
            self._count(seq, lines, operation, at, began=self._began(hold, refunds) or (at, seq), hold=hold)
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
            made=made,
            operation=operation,
            hold=None if hold is None else hold.number,
            hold_expires_at=hold.expires_at if hold is not None and hold.state is HoldState.OPEN else None,
            hold_held=None if hold is None else hold.held,
            refunds=None if refunds is None else refunds.seq,
            revokes=revokes,
            lots_expire_at=lots_expire_at,
            peer=peer,
            memo=memo or (NO_MEMO if request is None else request.memo),
            charge=charge,
            hash=b"",
        )
        return self._add(entry, status, terms)

    def posting(self) -> Posting:
        """All of it, to be written."""
        return Posting(
            account=self.account,
            entries=tuple(self.entries),
            lots=tuple(self.lots.values()),
            holds=tuple(self.holds.values()),
            spent=tuple(self._spent),
            spending=self._spending,
            settled_at=self.at,
        )

    def count_usage(self, entry: Entry, counters: Mapping[str, Counter]) -> None:
        """Counts what an entry has charged, for the allowances and tiers of what comes next; never taken back.

        counters   where each unit is counted; others are not
        """
        at = entry.effective_at
        for part in () if entry.charge is None else entry.charge.parts:
            if (counter := counters.get(part.unit)) is not None:
                before, name = self.spending(counter), counter.counted_as
                used = before.used + part.counted
                self._spending[name] = replace(before, used=used, oldest=before.oldest or at)
                self._spent.append(Spent(name=name, seq=entry.seq, at=at, change=part.counted, used=used, limit=None))

    def give_back(self, draws: Iterable[Draw], at: datetime) -> list[Line]:
        """The lines that return what a hold drew to its lots. What a lot that has run out gets back lapses at once."""
        lines = []
        for draw in draws:
            lines.append(Line(debit=Code.HELD, credit=Code.AVAILABLE, amount=draw.amount, lot=draw.lot))
            if draw.lot is None:
                lines.append(Line(debit=Code.AVAILABLE, credit=Code.PLANS, amount=draw.amount, lot=None))
            elif has_run_out(self.lot(draw.lot), at):
                lines.append(Line(debit=Code.AVAILABLE, credit=Code.BREAKAGE, amount=draw.amount, lot=draw.lot))
        return lines

    def _add(self, entry: Entry, status: AccountStatus | None, terms: AccountTerms | None) -> Entry:
        """Seals the entry, and takes over how it leaves the account."""
        if self._recorded_at is not None:
            seal(self.account.head, entry)
        self.entries.append(entry)
        self.account = Account(
            name=self.account.name,
            available=entry.available,
            held=entry.held,
            owed=entry.owed,
            seq=entry.seq,
            lots=self.account.lots + len(entry.made),
            head=entry.hash,
            as_of=entry.effective_at,
            status=status or self.account.status,
            terms=terms or self.account.terms,
        )
        return entry

    def _began(self, hold: Hold | None, refunded: Entry | None) -> tuple[datetime, int] | None:
        """When what is given back had been spent, and by which entry: a hold counts from when it was placed."""
        if refunded is not None and refunded.hold is not None:
            hold = self.hold(refunded.hold)
        if hold is not None and hold.lot is None:
            return hold.placed_at, hold.number
        return None if refunded is None else (refunded.effective_at, refunded.seq)

    def _make(self, made: Iterable[MadeLot], kind: EntryKind) -> tuple[MadeLot, ...]:
        """Adds lots with nothing in them yet; the lines of the entry fill them."""
        made = tuple(made)
        for lot in made:
            self.lots[lot.number] = Lot(
                number=lot.number, terms=lot.terms, granted=lot.granted, remaining=0, held=0, spent=0, reclaimed=0
            )
            self._later.append(lot.number)
            if lot.taken_from is not None:
                self.lots[lot.taken_from] = without_cost_of(self.lot(lot.taken_from), lot, kind)
        return made

    def _pending(self, at: datetime) -> int:
        if not self._later:
            return 0
        later = (self.lot(number) for number in self._later)
        return sum(lot.remaining for lot in later if lot.terms.effective_at > at)

    def _due_at(self, hold: Hold) -> datetime:
        """When anything of the hold lapses: at its end, or with a lot that it does not honour."""
        due_at = hold.expires_at
        if hold.held_lots is HeldLots.LAPSE:
            for draw in hold.drawn:
                ends = None if draw.lot is None else self.lot(draw.lot).terms.expires_at
                due_at = due_at if ends is None else min(due_at, ends)
        return due_at

    def _apply(
        self, lines: Iterable[Line], at: datetime, lots_expire_at: datetime | None
    ) -> tuple[tuple[Line, ...], int, int, int]:
        """Posts the lines to lots and sides; returns them as posted, and available, held and owed."""
        available, held, owed = self.account.available, self.account.held, self.account.owed
        posted = []
        for line in lines:
            amount = line.amount
            for side, sign in ((line.debit, -1), (line.credit, 1)):
                if side is Code.AVAILABLE:
                    available += sign * amount
                elif side is Code.HELD:
                    held += sign * amount
                elif side is Code.OWED:
                    owed -= sign * amount
            posted.append(line if line.lot is None else self._posted(line, line.lot, at, lots_expire_at))
        if available < 0 or held < 0 or owed < 0:
            raise AssertionError(f"{posted} would take a side of {self.account} below zero")
        return tuple(posted), available, held, owed

    def _posted(self, line: Line, number: int, at: datetime, lots_expire_at: datetime | None) -> Line:
        """Posts a line to its lot; returns it with what it leaves there, and what of the lot's cost it moves."""
        before = self.lots[number] if number in self.lots else self._state.lots[number]
        lot = after_line(before, line)
        if min(lot.remaining, lot.held, lot.spent, lot.reclaimed) < 0:
            raise AssertionError(f"{line} would take more from {lot} than it has")
        cost = None if lot.terms.cost is None else cost_moved(before, lot, line)
        if cost is not None:
            lot = with_cost_moved(lot, line, cost)
            if min(lot.deferred, lot.recognised, lot.lapsed) < 0:
                raise AssertionError(f"{line} would move more of the cost of {before} than there is")
        if lots_expire_at is not None and comes_to_life(line, lot, at):
            lot = replace(lot, terms=replace(lot.terms, expires_at=lots_expire_at))
        self.lots[number] = lot
        left = Left(lot.remaining, lot.held, lot.spent, lot.reclaimed)
        return Line(debit=line.debit, credit=line.credit, amount=line.amount, lot=number, left=left, cost=cost)

    def _count(
        self,
        seq: int,
        lines: Iterable[Line],
        operation: str,
        at: datetime,
        *,
        began: tuple[datetime, int],
        hold: Hold | None,
    ) -> None:
        """Counts what was spent under the account's limits. What is given back counts in the window it was spent in.

        began   when what is given back had been spent, and the number of the entry that did
        hold    that the entry makes, changes or ends
        """
        change = net_spent(lines, hold)
        for limit in self.account.terms.limits:
            before, is_rolling = self.spending(limit), limit.length is not None
            if change == 0 or not limit.counts(operation):
                continue
            # What was spent before the limit was set was never counted under it.
            if change < 0 and began[1] < limit.set_by:
                continue
            is_inside = change > 0 or began[0] >= before.since
            if not is_inside and not is_rolling:
                continue
            used, oldest = before.used + is_inside * change, before.oldest or (at if change > 0 else None)
            self._spending[limit.counted_as] = replace(before, used=used, oldest=oldest)
            # What is given back must leave a rolling window together with what it gives back.
            counts_at = began[0] if is_rolling and change < 0 else at
            spent = Spent(name=limit.counted_as, seq=seq, at=counts_at, change=change, used=used, limit=limit.amount)
            self._spent.append(spent)

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
                self._lapse_lot(number, instant)
            else:
                self._lapse_hold(number, instant)

    def _lapse_hold(self, number: int, at: datetime) -> None:
        hold = self.holds.get(number) or self._state.holds[number]
        lines = self.give_back(hold.drawn, at)
        ended = replace(hold, state=HoldState.LAPSED, drawn=(), ended_at=at)
        self.post(EntryKind.HOLD_LAPSE, lines, at=at, hold=ended, operation=hold.operation)

    def _lapse_lot(self, number: int, at: datetime) -> None:
        # What holds have drawn stays good for them, unless they were made not to honour that.
        for hold in sorted(self.open_holds(), key=lambda hold: hold.number):
            drawn = [draw for draw in hold.drawn if draw.lot == number]
            if drawn and hold.held_lots is HeldLots.LAPSE:
                rest = tuple(draw for draw in hold.drawn if draw.lot != number)
                lines = self.give_back(drawn, at)
                less = replace(hold, drawn=rest)
                self.post(EntryKind.LOT_LAPSE, lines, at=at, hold=less, operation=hold.operation)
        # Nothing is written for a lot of which nothing is left.
        if remaining := self.lot(number).remaining:
            line = Line(debit=Code.AVAILABLE, credit=Code.BREAKAGE, amount=remaining, lot=number)
            self.post(EntryKind.LOT_LAPSE, (line,), at=at)


def has_lapsed(state: State, at: datetime) -> bool:
    """True if anything of the account has lapsed by then that is not written yet."""
    for lot in state.lots.values():
        if has_run_out(lot, at):
            return True
    return any(hold.due_at <= at for hold in state.holds.values() if hold.state is HoldState.OPEN)
