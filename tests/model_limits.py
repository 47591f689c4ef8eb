"""Spend limits of the dumb model: every change of what was spent is kept, and added up again for each question."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from ledger.terms import SpendLimit
from tests.model_values import Move, Refusal, is_for

# Clocks everywhere differ, and are changed, by whole quarters of an hour.
QUARTER = timedelta(minutes=15)


@dataclass(frozen=True)
class Spent:
    """What an entry spent, or gave back if it is less than nothing.

    at   when it was spent; of what is given back, when its hold was placed or its deduction made
    """

    at: datetime
    amount: int


def spent_by(moves: Iterable[Move]) -> int:
    """How much more the moves set aside or use than they give back."""
    spent = 0
    for debit, credit, _ in moves:
        spent += (debit, credit) in {("available", "held"), ("available", "revenue"), ("owed", "revenue")}
        spent -= (debit, credit) == ("held", "available") or debit == "revenue"
    return spent


def are_in_one_window(limit: SpendLimit, time_zone: str, one: datetime, other: datetime) -> bool:
    """True if both instants, the later one last, lie in the same window; a rolling one ends with the later."""
    if limit.length is not None:
        return other - one < limit.length
    shown = [instant.astimezone(ZoneInfo(time_zone)) for instant in (one, other)]
    parts = {"month": 2, "day": 3, "hour": 4}[str(limit.window)]
    # Of two hours that the clock shows alike, the offset tells which is meant.
    return len({(local.timetuple()[:parts], parts == 4 and local.utcoffset()) for local in shown}) == 1


class Counter:
    """What was spent under one limit since the entry that set it."""

    def __init__(self, limit: SpendLimit, time_zone: str, set_by: int, spent: tuple[Spent, ...] = ()) -> None:
        self.limit, self.time_zone, self.set_by, self.spent = limit, time_zone, set_by, spent

    def is_continued_by(self, limit: SpendLimit, time_zone: str) -> bool:
        """True if another limit differs in nothing that matters for what counts."""
        is_alike = replace(limit, amount=0) == replace(self.limit, amount=0)
        return is_alike and (limit.length is not None or time_zone == self.time_zone)

    def with_limit(self, limit: SpendLimit, time_zone: str) -> "Counter":
        return Counter(limit, time_zone, self.set_by, self.spent)

    def with_spent(self, spent: Spent) -> "Counter":
        return Counter(self.limit, self.time_zone, self.set_by, (*self.spent, spent))

    def counts(self, operation: str) -> bool:
        return not self.limit.operation or is_for(self.limit.operation, operation)

    def is_still(self, began: datetime, now: datetime) -> bool:
        """False for what is given back when the hour, day or month is over in which it was spent."""
        return self.limit.length is not None or are_in_one_window(self.limit, self.time_zone, began, now)

    def in_window(self, at: datetime) -> list[Spent]:
        return [spent for spent in self.spent if are_in_one_window(self.limit, self.time_zone, spent.at, at)]

    def used(self, at: datetime) -> int:
        return sum(spent.amount for spent in self.in_window(at))

    def room(self, at: datetime) -> int:
        return max(self.limit.amount - self.used(at), 0)

    def refusal(self, at: datetime, amount: int) -> Refusal:
        return Refusal(
            "SPEND_LIMIT_REACHED",
            limit=self.limit.name,
            limit_amount=self.limit.amount,
            used=self.used(at),
            **({"frees_at": self.frees_at(at)} if amount <= self.limit.amount and self.used(at) else {}),
        )

    def frees_at(self, at: datetime) -> datetime:
        """The next instant at which something may leave the window."""
        if self.limit.length is not None:
            return min([spent.at for spent in self.in_window(at) if spent.amount > 0], default=at) + self.limit.length
        later = datetime.fromtimestamp(at.timestamp() // QUARTER.seconds * QUARTER.seconds, tz=at.tzinfo)
        while are_in_one_window(self.limit, self.time_zone, at, later):
            later += QUARTER
        return later
