"""One account of the dumb model: its single credits, holds, debt, and all that was ever written."""

from collections.abc import Iterable
from copy import copy
from dataclasses import replace
from datetime import datetime, timedelta

from ledger.model import Money
from tests.model_limits import Counter, Spent, spent_by
from tests.model_values import GRANTED_FROM, Credit, Hold, Move, Pack, Refusal, Written


class Purse:
    """An account. What is in its containers never changes, so that a copy one level deep is enough."""

    def __init__(self, account_id: str, now: datetime) -> None:
        self.account_id = account_id
        self.time = now
        self.now = now
        self.status = "open"
        self.overdraft = 0
        self.is_unlimited = False
        self.time_zone = "UTC"
        self.counters: list[Counter] = []
        self.metadata: dict[str, str] = {}
        self.credits: list[Credit] = []
        self.packs: dict[int, Pack] = {}
        self.holds: dict[int, Hold] = {}
        self.owed = 0
        self.entries: list[Written] = []
        self.asked: dict[str, tuple[object, int]] = {}
        # When, in which time zone, and what usage was told that was not only held for.
        self.told: list[tuple[datetime, str, object]] = []

    def copy(self) -> "Purse":
        copied = copy(self)
        copied.__dict__ = {name: copy(value) for name, value in self.__dict__.items()}
        return copied

    @property
    def next_number(self) -> int:
        return len(self.entries) + 1

    @property
    def held(self) -> list[Credit]:
        return [credit for hold in self.open_holds() for credit in hold.credits]

    @property
    def pending(self) -> list[Credit]:
        return [credit for credit in self.credits if self.packs[credit.lot].effective_at > self.time]

    @property
    def effective(self) -> list[Credit]:
        """In the order they burn."""
        now = [credit for credit in self.credits if self.packs[credit.lot].effective_at <= self.time]
        return self.in_order(now)

    @property
    def room_for_debt(self) -> int:
        return max(self.overdraft - self.owed, 0)

    def in_order(self, some: Iterable[Credit]) -> list[Credit]:
        return sorted(some, key=lambda credit: self.packs[credit.lot].order())

    def spendable(self, operation: str) -> list[Credit]:
        """What may pay for the operation, in the order it burns."""
        return [credit for credit in self.effective if self.packs[credit.lot].may_pay_for(operation)]

    def open_holds(self) -> list[Hold]:
        return [hold for hold in self.holds.values() if hold.state == "open"]

    def left_in_lots(self) -> dict[int, tuple[int, int]]:
        """Of each lot, how many credits are available and how many are held."""
        available = [credit.lot for credit in self.credits]
        held = [credit.lot for credit in self.held]
        return {number: (available.count(number), held.count(number)) for number in self.packs}

    # -- what the history of moves says of a lot or an entry

    def moves_of_lot(self, number: int) -> list[tuple[Move, Written]]:
        return [(move, entry) for entry in self.entries for move in entry.moves if move[2] == number]

    def spent_of_lot(self, number: int) -> int:
        """What was used, given away or repaid debt, less what came back."""
        spent = 0
        for (debit, credit, _), entry in self.moves_of_lot(number):
            if credit in {"revenue", "transfers"} or (debit, credit) == ("available", "owed"):
                spent += 1
            was_made = any(pack.number == number for pack in entry.made)
            if debit == "revenue" and not was_made:
                spent -= 1
        return spent

    def reclaimed_of_lot(self, number: int) -> int:
        """What a revocation has made owed of what was spent, less what a refund has made good."""
        moves = [move[:2] for move, _ in self.moves_of_lot(number)]
        revoked = sum(debit == "owed" for debit, _ in moves)
        return revoked - moves.count(("revenue", "owed"))

    def revocable(self, number: int) -> int:
        """What remains of the lot, and what is spent and not reclaimed yet."""
        there = sum(credit.lot == number for credit in self.credits)
        return max(there + self.spent_of_lot(number) - self.reclaimed_of_lot(number), 0)

    def gone(self, number: int) -> int:
        """What of the lot is neither there nor spent: it ran out, or was taken back."""
        still_there = sum(credit.lot == number for credit in [*self.credits, *self.held])
        return self.packs[number].granted - still_there - self.spent_of_lot(number)

    def left_to_refund(self, number: int) -> list[int | str]:
        """What the entry burnt and is not refunded yet, in the order it burnt."""
        burnt = self.burnt(number)
        refunds = [entry for entry in self.entries if entry.refunds == number]
        refunded = sum(move[0] == "revenue" for entry in refunds for move in entry.moves)
        return burnt[: len(burnt) - refunded]

    def burnt(self, number: int) -> list[int | str]:
        """What the entry burnt, in order: a lot, "debt" or "plan" per credit."""
        burnt = []
        for debit, credit, lot in self.entries[number - 1].moves:
            if credit == "revenue":
                burnt.append("debt" if debit == "owed" else "plan" if lot is None else lot)
        return burnt

    def refundable(self) -> list[int]:
        """The entries of which something can be refunded."""
        used = [entry.number for entry in self.entries if entry.kind in {"deduct", "capture"}]
        return [number for number in used if self.left_to_refund(number)]

    # -- what happens to credits

    def make(self, amount: int, terms: Pack) -> Pack:
        """A lot with the terms of another; the next number is its own."""
        pack = replace(terms, number=len(self.packs) + 1, granted=amount)
        self.packs[pack.number] = pack
        self.credits += [Credit(pack.number) for _ in range(amount)]
        return pack

    def told_cost(self, number: int, cost: Money | None, pack: Pack) -> Pack:
        """A lot once it is known what it costs, if it comes of one that cost something; as it was made."""
        if cost is not None and pack.cost == (0, cost.currency) and not pack.is_told:
            pack = replace(pack, cost=(cost.minor_units, cost.currency))
            self.packs[number] = replace(self.packs[number], cost=pack.cost)
        return pack

    def grant(self, amount: int, terms: Pack, *, may_repay: bool = True, revives: int = 0) -> tuple[list[Move], Pack]:
        """A new lot, out of what its source debits; what is owed, some of it again, is repaid if that may be."""
        if terms.expires_at is not None and terms.expires_at <= self.time:
            raise Refusal("EXPIRY_IN_PAST")
        pack = self.make(amount, terms)
        moves: list[Move] = [(GRANTED_FROM[pack.source][0], "available", pack.number)] * amount
        moves += [("owed", "adjustments", None)] * revives
        self.owed += revives
        if may_repay and not pack.scope and pack.effective_at <= self.time:
            for credit in [credit for credit in self.credits if credit.lot == pack.number][: self.owed]:
                self.remove(credit)
                self.owed -= 1
                moves.append(("available", "owed", pack.number))
        return moves, pack

    def take(self, amount: int, operation: str, *, overdraft: bool = False) -> list[Credit | None]:
        """So many credits in the order they burn, None for each that becomes owed; or from a plan that covers all."""
        if self.is_unlimited:
            return [Credit(None) for _ in range(amount)]
        there = self.spendable(operation)
        missing = amount - len(there)
        if missing > (self.room_for_debt if overdraft else 0):
            raise Refusal("INSUFFICIENT_CREDITS")
        for credit in there[:amount]:
            self.remove(credit)
        self.owed += max(missing, 0)
        return [*there[:amount], *[None] * missing]

    def remove(self, credit: Credit) -> None:
        self.credits = [other for other in self.credits if other is not credit]

    def hold(self, taken: Iterable[Credit]) -> list[Move]:
        """The moves of credits that were taken out of what is available."""
        moves: list[Move] = []
        for credit in taken:
            if credit.lot is None:
                moves.append(("plans", "available", None))
            moves.append(("available", "held", credit.lot))
        return moves

    def use(self, taken: Iterable[Credit | None]) -> list[Move]:
        """The moves of credits, or debt, that are used at once."""
        moves: list[Move] = []
        for credit in taken:
            if credit is None:
                moves.append(("owed", "revenue", None))
                continue
            if credit.lot is None:
                moves.append(("plans", "available", None))
            moves.append(("available", "revenue", credit.lot))
        return moves

    def give_back(self, some: Iterable[Credit], at: datetime) -> list[Move]:
        """The moves of credits that a hold returns; what has run out lapses at once."""
        moves: list[Move] = []
        for credit in some:
            moves.append(("held", "available", credit.lot))
            if credit.lot is None:
                moves.append(("available", "plans", None))
            elif self.packs[credit.lot].has_run_out(at):
                moves.append(("available", "breakage", credit.lot))
            else:
                self.credits.append(credit)
        return moves

    # -- spend limits

    def counters_of(self, operation: str) -> list[Counter]:
        """Of the limits that count the operation; that with the least room comes first."""
        counting = [counter for counter in self.counters if counter.counts(operation)]
        return sorted(counting, key=lambda counter: counter.room(self.time))

    def check_limits(self, amount: int, operation: str) -> None:
        for counter in self.counters_of(operation):
            if amount > counter.room(self.time):
                raise counter.refusal(self.time, amount)

    def _count(self, entry: Written) -> None:
        spent, began, number = spent_by(entry.moves), entry.at, entry.number
        if self._sets_aside(entry):
            spent = sum(move[1] == "revenue" for move in entry.moves)
        if spent < 0:
            # What is given back was spent when its hold was placed or its deduction made.
            first = self.entries[(entry.refunds or entry.hold) - 1]
            if first.hold is not None and not self._sets_aside(first):
                first = self.entries[first.hold - 1]
            began, number = first.at, first.number
        for n, counter in enumerate(self.counters):
            if (
                spent
                and counter.counts(entry.operation)
                and number > counter.set_by
                and counter.is_still(began, self.now)
            ):
                self.counters[n] = counter.with_spent(Spent(began, spent))

    def _sets_aside(self, entry: Written) -> bool:
        """True if its hold is one that nobody spends by."""
        return entry.hold is not None and self.holds[entry.hold].lot is not None

    # -- time

    def settle(self, now: datetime) -> None:
        """One lapse after the other: always the earliest that is due, of one instant holds before lots."""
        self.now = now = max(now, self.time)
        while self.status != "closed" and (due := self._due(now)):
            at, is_lot, number = min(due)
            if is_lot:
                self._lapse_lot(number, at)
            else:
                self._lapse_hold(number, at)
        self.time = now

    def _due(self, now: datetime) -> list[tuple[datetime, bool, int]]:
        due = [(hold.expires_at, False, number) for number, hold in self.holds.items() if hold.state == "open"]
        lapsing = {credit.lot for hold in self.open_holds() if not hold.honours_lots for credit in hold.credits}
        with_something = {credit.lot for credit in self.credits} | lapsing - {None}
        due += [(pack.expires_at, True, number) for number in with_something if (pack := self.packs[number]).expires_at]
        return [lapse for lapse in due if lapse[0] <= now]

    def due_at(self, hold: Hold) -> datetime:
        """When anything of it lapses next."""
        of_lots = [self.packs[credit.lot].expires_at for credit in hold.credits if credit.lot is not None]
        return min([hold.expires_at, *([] if hold.honours_lots else [at for at in of_lots if at is not None])])

    def instants_that_matter(self, now: datetime) -> list[datetime]:
        """When something begins or runs out, or spend limits have room again."""
        matters = [self.due_at(hold) for hold in self.open_holds()]
        matters += [at for pack in self.packs.values() for at in (pack.effective_at, pack.expires_at) if at]
        return matters + [counter.frees_at(now) for counter in self.counters]

    def _lapse_lot(self, lot: int, at: datetime) -> None:
        for number, hold in self.holds.items():
            gone = [credit for credit in hold.credits if credit.lot == lot]
            if gone and not hold.honours_lots:
                self.holds[number] = replace(hold, credits=tuple(one for one in hold.credits if one not in gone))
                moves = self.give_back(gone, at)
                self.write("lot_lapse", moves, at=at, hold=number, operation=hold.operation)
        gone = [credit for credit in self.credits if credit.lot == lot]
        for credit in gone:
            self.remove(credit)
        if gone:
            self.write("lot_lapse", [("available", "breakage", lot)] * len(gone), at=at)

    def _lapse_hold(self, number: int, at: datetime) -> None:
        hold = self.holds[number]
        self.end(number, "lapsed", at)
        self.write("hold_lapse", self.give_back(hold.credits, at), at=at, hold=number, operation=hold.operation)

    def end(self, number: int, state: str, at: datetime) -> None:
        self.holds[number] = replace(self.holds[number], state=state, credits=(), ended_at=at)

    def lasting(self, ttl: timedelta | None) -> datetime:
        return self.time + (ttl or timedelta(minutes=15))

    # -- writing

    def write(self, kind: str, moves: Iterable[Move], *, at: datetime | None = None, **about: object) -> Written:
        """The next entry."""
        self.time = at or self.time
        hold = self.holds.get(about.get("hold", 0))
        entry = Written(
            number=self.next_number,
            kind=kind,
            at=self.time,
            moves=tuple(moves),
            available=len(self.credits),
            held=len(self.held),
            owed=self.owed,
            pending=len(self.pending),
            hold_expires_at=hold.expires_at if hold is not None and hold.state == "open" else None,
            hold_held=None if hold is None else len(hold.credits),
            **about,
        )
        self.entries.append(entry)
        self._count(entry)
        return entry
