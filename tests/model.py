"""The dumbest ledger that is right: every single credit is an object that knows its grant and its hold.

It shares nothing with the ledger but the values that are asked for, and says the same: which entries are written, or
why nothing is. It knows one account and small amounts.
"""

from copy import copy
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from ledger import Capture, Deduct, Grant, OpenAccount, Operation, PlaceHold, Release

GRANTED_FROM = {
    "welcome": ("promotions", 10),
    "lead": ("promotions", 10),
    "free": ("promotions", 20),
    "promo": ("promotions", 20),
    "referral": ("promotions", 30),
    "gift": ("promotions", 40),
    "subscription": ("payments", 50),
    "purchase": ("payments", 60),
    "adjustment": ("adjustments", 60),
}
KINDS = {
    OpenAccount: "open",
    Grant: "grant",
    Deduct: "deduct",
    PlaceHold: "hold",
    Capture: "capture",
    Release: "release",
}
# Of memos, the requests that are made up only differ in the reference.
SHOWN = {"hold": "hold_id", "memo": "memo.reference"}

Move = tuple[str, str, int]


class Refusal(Exception):  # noqa: N818 -- a refusal is no error; here it is raised because that is dumbest
    """Why nothing is written."""

    def __init__(self, reason: str, fields: str = "") -> None:
        self.reason = reason
        self.fields = fields


@dataclass(frozen=True)
class Pack:
    """What one grant put in."""

    number: int
    priority: int
    effective_at: datetime
    expires_at: datetime | None
    cost_of_one: Fraction

    def has_run_out(self, at: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= at

    def order(self) -> tuple[object, ...]:
        expires_at = datetime.max.replace(tzinfo=UTC) if self.expires_at is None else self.expires_at
        return self.priority, expires_at, self.cost_of_one, self.number


@dataclass(frozen=True, eq=False)
class Credit:
    """One; no other is the same."""

    pack: Pack


@dataclass(frozen=True)
class Hold:
    """Single credits set aside, in the order they were taken."""

    credits: list[Credit]
    expires_at: datetime
    state: str = "open"


@dataclass(frozen=True)
class Written:
    """What an entry must say; moves has one (debit, credit, lot) per credit, in order."""

    number: int
    kind: str
    at: datetime
    moves: list[Move]
    available: int
    held: int
    pending: int


@dataclass(frozen=True)
class Said:
    """An entry, written now or before; or why not."""

    entry: Written | None = None
    is_replay: bool = False
    refused: str = ""
    fields: str = ""


class Model:
    """One account."""

    def __init__(self) -> None:
        self.is_open = False
        self.time: datetime | None = None
        self.credits: list[Credit] = []
        self.packs: dict[int, Pack] = {}
        self.lapsed: set[int] = set()
        self.holds: dict[int, Hold] = {}
        self.entries: list[Written] = []
        self.done: dict[str, tuple[Operation, Written]] = {}

    def ask(self, operation: Operation, now: datetime) -> Said:
        """What is to be answered. What has lapsed is settled in any case; besides that, a refusal changes nothing."""
        if self.is_open:
            self.settle(now)
            # Time is that of the last entry; that somebody asked at some time is not remembered.
            self.time = self.entries[-1].at
        tried = self._copy()
        try:
            said = tried.do(operation, now)
        except Refusal as refusal:
            return Said(refused=refusal.reason, fields=refusal.fields)
        self.__dict__ = tried.__dict__
        return said

    def settled(self, now: datetime) -> "Model":
        """How it all stands at that time."""
        settled = self._copy()
        settled.settle(now)
        return settled

    def _copy(self) -> "Model":
        # One level is enough: what is in the containers never changes.
        copied = Model()
        copied.__dict__ = {name: copy(value) for name, value in self.__dict__.items()}
        return copied

    @property
    def held(self) -> list[Credit]:
        return [credit for hold in self.holds.values() if hold.state == "open" for credit in hold.credits]

    @property
    def pending(self) -> list[Credit]:
        return [credit for credit in self.credits if credit.pack.effective_at > self.time]

    @property
    def spendable(self) -> list[Credit]:
        """In the order they burn."""
        now = [credit for credit in self.credits if credit.pack.effective_at <= self.time]
        return sorted(now, key=lambda credit: credit.pack.order())

    def do(self, operation: Operation, now: datetime) -> Said:
        """Does it at once; raises Refusal when it may be half done."""
        if isinstance(operation, Capture | Release) and operation.hold not in self.holds:
            raise Refusal("HOLD_NOT_FOUND")
        if operation.request_id in self.done:
            return Said(entry=self._repeated(operation), is_replay=True)
        if isinstance(operation, OpenAccount):
            if self.is_open:
                raise Refusal("ACCOUNT_EXISTS")
            self.is_open, self.time = True, now
            moves = []
        elif not self.is_open:
            raise Refusal("ACCOUNT_NOT_FOUND")
        else:
            self.settle(now)
            moves = self._moves(operation)
        entry = self._write(KINDS[type(operation)], self.time, moves)
        self.done[operation.request_id] = operation, entry
        return Said(entry=entry)

    def _repeated(self, operation: Operation) -> Written:
        first, entry = self.done[operation.request_id]
        if type(first) is not type(operation):
            raise Refusal("REQUEST_ID_REUSED", "operation")
        names = [field.name for field in fields(first) if getattr(first, field.name) != getattr(operation, field.name)]
        if names:
            raise Refusal("REQUEST_ID_REUSED", ",".join(sorted(SHOWN.get(name, name) for name in names)))
        return entry

    def _moves(self, operation: Operation) -> list[Move]:
        match operation:
            case Grant():
                return self._grant(operation)
            case Deduct():
                return [("available", "revenue", credit.pack.number) for credit in self._take(operation.amount)]
            case PlaceHold():
                taken = self._take(operation.amount)
                lasts = operation.ttl or timedelta(minutes=15)
                self.holds[len(self.entries) + 1] = Hold(credits=taken, expires_at=self.time + lasts)
                return [("available", "held", credit.pack.number) for credit in taken]
            case Capture():
                hold = self._open_hold(operation.hold)
                amount = len(hold.credits) if operation.amount is None else operation.amount
                if amount > len(hold.credits):
                    raise Refusal("AMOUNT_ABOVE_HOLD")
                self._end(operation.hold, "captured")
                used = [("held", "revenue", credit.pack.number) for credit in hold.credits[:amount]]
                return used + self._give_back(hold.credits[amount:], self.time)
            case Release():
                hold = self._open_hold(operation.hold)
                self._end(operation.hold, "released")
                return self._give_back(hold.credits, self.time)
        raise AssertionError(operation)

    def _grant(self, operation: Grant) -> list[Move]:
        debit, priority = GRANTED_FROM[str(operation.source)]
        effective_at = operation.effective_at or self.time
        expires_at = operation.expires_at
        if operation.ttl is not None:
            expires_at = max(effective_at, self.time) + operation.ttl
        if expires_at is not None and expires_at <= self.time:
            raise Refusal("EXPIRY_IN_PAST")
        pack = Pack(
            number=len(self.entries) + 1,
            priority=priority if operation.priority is None else operation.priority,
            effective_at=effective_at,
            expires_at=expires_at,
            cost_of_one=Fraction(operation.cost.minor_units if operation.cost else 0, operation.amount),
        )
        self.packs[pack.number] = pack
        self.credits += [Credit(pack) for _ in range(operation.amount)]
        return [(debit, "available", pack.number)] * operation.amount

    def _take(self, amount: int) -> list[Credit]:
        if len(self.spendable) < amount:
            raise Refusal("INSUFFICIENT_CREDITS")
        taken = self.spendable[:amount]
        for credit in taken:
            self._remove(credit)
        return taken

    def _open_hold(self, number: int) -> Hold:
        if self.holds[number].state != "open":
            raise Refusal("HOLD_NOT_ACTIVE")
        return self.holds[number]

    def _give_back(self, credits_: list[Credit], at: datetime) -> list[Move]:
        moves = []
        for credit in credits_:
            moves.append(("held", "available", credit.pack.number))
            if credit.pack.has_run_out(at):
                moves.append(("available", "breakage", credit.pack.number))
            else:
                self.credits.append(credit)
        return moves

    def settle(self, now: datetime) -> None:
        """One lapse after the other: always the earliest that is due, of one instant holds before grants."""
        now = max(now, self.time)
        while True:
            due = [
                (hold.expires_at, 0, number)
                for number, hold in self.holds.items()
                if hold.state == "open" and hold.expires_at <= now
            ]
            run_out = [pack for pack in self.packs.values() if pack.has_run_out(now)]
            due += [(pack.expires_at, 1, pack.number) for pack in run_out if pack.number not in self.lapsed]
            if not due:
                break
            at, is_pack, number = min(due)
            if is_pack:
                self._lapse(number, at)
            else:
                self._end(number, "lapsed")
                self._write("hold_lapse", at, self._give_back(self.holds[number].credits, at))
        self.time = now

    def _end(self, number: int, state: str) -> None:
        self.holds[number] = replace(self.holds[number], state=state)

    def _lapse(self, number: int, at: datetime) -> None:
        self.lapsed.add(number)
        gone = [credit for credit in self.credits if credit.pack.number == number]
        for credit in gone:
            self._remove(credit)
        if gone:
            self._write("lot_lapse", at, [("available", "breakage", number)] * len(gone))

    def _remove(self, credit: Credit) -> None:
        self.credits = [other for other in self.credits if other is not credit]

    def _write(self, kind: str, at: datetime, moves: list[Move]) -> Written:
        self.time = at
        entry = Written(
            number=len(self.entries) + 1,
            kind=kind,
            at=at,
            moves=moves,
            available=len(self.credits),
            held=len(self.held),
            pending=len(self.pending),
        )
        self.entries.append(entry)
        return entry
