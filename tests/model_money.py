"""What becomes of the money that was paid for credits, told by what must hold of it.

Credits that stay keep what they cost, rounded up, as far as it is there; what leaves takes the rest. What must hold is
asserted on the way: all that was paid for a lot is somewhere, no part of it is ever less than nothing, what is empty
carries nothing, and what was used and came back has left nothing behind.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from math import ceil

from ledger import Entry, Line, MadeLot

# What is meant by the sides of a line, for credits that were paid for.
NAMES = {"available": "deferred", "held": "deferred", "owed": "revenue"}
# Where the money of a lot can be, and still come out of.
PILES = ("deferred", "revenue", "breakage")
GRANTED_FROM = {"payments", "promotions", "adjustments"}
TAKEN_OF = {"refund": "revenue", "roll_over": "breakage"}


@dataclass
class Paid:
    """A lot.

    kept           what was paid and is of this lot: deferred, revenue of what was spent, breakage
    out            what has left it: paid back, corrected away, or the cost of another lot
    there, spent   credits
    reclaimed      how many of those that were spent were paid back
    was_reclaimed  if that ever happened, or something came back as a new lot
    """

    package: str
    currency: str
    cost: int
    granted: int
    kept: Counter = field(default_factory=Counter)
    out: int = 0
    there: int = 0
    spent: int = 0
    reclaimed: int = 0
    was_reclaimed: bool = False

    @property
    def deferred(self) -> int:
        """What the credits carry that are in it."""
        return self.kept["deferred"]

    def keeps(self, name: str, stay: int) -> int:
        """What of a pile stays with so many credits."""
        return min(self.kept[name], ceil(Fraction(self.cost * max(stay, 0), self.granted)))

    def count(self, debit: str, credit: str, amount: int, *, is_made: bool) -> None:
        """Moves credits."""
        sides = (debit in {"available", "held"}), (credit in {"available", "held"})
        self.there += (sides[1] - sides[0]) * amount
        if sides[0] and credit in {"revenue", "owed", "transfers"}:
            self.spent += amount
        if debit == "revenue" and not is_made:
            self.spent -= amount
        self.reclaimed += ((debit == "owed") - ((debit, credit) == ("revenue", "owed"))) * amount
        self.was_reclaimed |= debit == "owed"

    def holds_together(self) -> None:
        """What must be so between any two movements."""
        assert all(self.kept[name] >= 0 for name in PILES), self
        assert sum(self.kept[name] for name in PILES) + self.out == self.cost, self
        assert self.there > 0 or self.deferred == 0, self
        if not self.was_reclaimed:
            assert self.spent > 0 or self.kept["revenue"] == 0, self
        if self.spent == self.granted:
            assert self.deferred == self.kept["breakage"] == 0, self


@dataclass(frozen=True)
class Fact:
    """Credits of one lot moved, and with them what they carried."""

    at: datetime
    package: str
    currency: str
    debit: str
    credit: str
    amount: int
    money: int

    @property
    def sides(self) -> tuple[str, str]:
        return NAMES.get(self.debit, self.debit), NAMES.get(self.credit, self.credit)


@dataclass
class Account:
    """All that happened to the credits of one account, entry by entry.

    used   what each entry burnt that can be refunded, last first: a lot with what one of its credits took, or None
    """

    facts: list[Fact] = field(default_factory=list)
    lots: list[Paid] = field(default_factory=list)
    used: dict[int, list[tuple[int, Fraction] | None]] = field(default_factory=dict)

    def take(self, entry: Entry) -> None:
        """Takes the next one."""
        made = {lot.number: lot for lot in entry.made}
        for lot in entry.made:
            cost = lot.terms.cost
            package, currency = (lot.terms.package, cost.currency) if cost else ("", "")
            self.lots.append(Paid(package, currency, cost.minor_units if cost else 0, lot.granted))
        for line in entry.lines:
            if line.lot is not None:
                self._line(entry, line, made)
            elif line.debit == "revenue":
                del self.used[entry.refunds][: line.amount]
        self._remember(entry)
        touched = {line.lot for line in entry.lines} | {lot.taken_from for lot in entry.made}
        for number in touched - {None}:
            self.lots[number - 1].holds_together()

    def _line(self, entry: Entry, line: Line, made: dict[int, MadeLot]) -> None:
        lot, debit, credit = self.lots[line.lot - 1], str(line.debit), str(line.credit)
        money = line.cost.minor_units if line.cost else 0
        assert line.cost is None or line.cost.currency == lot.currency
        lot.count(debit, credit, line.amount, is_made=line.lot in made)
        fact = Fact(entry.effective_at, lot.package, lot.currency, debit, credit, line.amount, money)
        self.facts.append(fact)
        came_back = self._came_back(entry, line.amount) if debit == "revenue" else []
        source, target = fact.sides
        if source == target or not lot.currency:
            assert money == 0
            return
        if line.lot in made and target == "deferred":
            self._filled(entry, made[line.lot], lot, money, came_back)
        elif source == "deferred":
            assert money == lot.kept[source] - lot.keeps(source, lot.there), (money, lot)
            self._moved(lot, source, target, money)
        elif target == "deferred":
            assert {burnt[0] for burnt in came_back} == {line.lot}
            brought = sum(burnt[1] for burnt in came_back)
            share = lot.kept[source] if lot.spent == 0 else min(brought, lot.kept[source])
            assert abs(money - share) < 1, (money, share, lot)
            self._moved(lot, source, target, money)
        else:
            assert money == lot.kept[source] - lot.keeps(source, lot.spent - lot.reclaimed), (money, lot)
            self._moved(lot, source, target, money)

    @staticmethod
    def _moved(lot: Paid, source: str, target: str, money: int) -> None:
        """Out of one pile of a lot, into another or away; what was given away stays revenue here, to be reclaimed."""
        target = "revenue" if target == "transfers" else target
        lot.kept[source] -= money
        if target in PILES:
            lot.kept[target] += money
        else:
            lot.out += money

    def _filled(self, entry: Entry, made: MadeLot, lot: Paid, money: int, came_back: list) -> None:
        """A lot that is made gets what it cost, perhaps from another one of the account."""
        lot.kept["deferred"] += money
        if str(entry.kind) not in TAKEN_OF:
            assert (made.taken_from, money) == (None, lot.cost)
            return
        old, pile = self.lots[made.taken_from - 1], TAKEN_OF[str(entry.kind)]
        share = Fraction(old.cost * made.granted, old.granted)
        if came_back:
            assert {burnt[0] for burnt in came_back} == {made.taken_from}
            share = sum(burnt[1] for burnt in came_back)
        assert abs(money - min(share, old.kept[pile])) < 1, (money, share, old)
        old.kept[pile] -= money
        old.out += money
        old.was_reclaimed = True

    def _came_back(self, entry: Entry, amount: int) -> list:
        """The credits that were burnt last, of those that were not refunded before."""
        burnt = self.used[entry.refunds]
        came_back, burnt[:amount] = burnt[:amount], []
        return came_back

    def _remember(self, entry: Entry) -> None:
        burnt: list[tuple[int, Fraction] | None] = []
        for line in entry.lines:
            if line.credit == "revenue":
                price = Fraction(line.cost.minor_units if line.cost else 0, line.amount)
                burnt += [None if line.lot is None else (line.lot, price)] * line.amount
        if burnt:
            self.used[entry.seq] = burnt[::-1]


def facts_of(entries: Iterable[Entry]) -> tuple[list[Fact], list[Paid]]:
    """All that happened to the credits of one account, in order, and its lots as they stand."""
    account = Account()
    for entry in entries:
        account.take(entry)
    for lot in account.lots:
        lot.holds_together()
    return account.facts, account.lots


def journal_of(facts: Iterable[Fact]) -> dict[str, Counter]:
    """By currency, what was debited and credited by name."""
    journal: dict[str, Counter] = {}
    for fact in facts:
        if fact.money:
            sums = journal.setdefault(fact.currency, Counter())
            for side, name in zip(("debits", "credits"), fact.sides, strict=True):
                sums[name, side] += fact.money * (fact.sides[0] != fact.sides[1])
    return journal


def reported(facts: Iterable[Fact], since: datetime, until: datetime) -> dict[str, int]:
    """The figures of a row of the report of revenue, of what was sold as one thing."""
    row: Counter = Counter()
    for fact in facts:
        debit, credit = fact.sides
        into = (credit == "deferred") - (debit == "deferred")
        if fact.at < since:
            row["opening"] += into * fact.money
        if fact.at < until:
            row["closing"] += into * fact.money
        if not since <= fact.at < until:
            continue
        # Whatever happened to deferred is under the name of the other side; what was revenue is taken out of it first.
        other = credit if debit in {"deferred", "revenue"} and credit != "deferred" else debit
        for name, sign in (
            ((other, -into), ("revenue", -1), (other, 1)) if debit == "revenue" and not into else ((other, -into),)
        ):
            row[name] += sign * fact.money
        if (debit, credit) == ("payments", "deferred"):
            row["sold"] += fact.money
            row["payments"] += fact.money
        row["credits_granted"] += fact.amount * (fact.credit == "available" and fact.debit in GRANTED_FROM)
        row["credits_used"] += fact.amount * ((debit, credit) == ("deferred", "revenue"))
        row["credits_used"] -= fact.amount * ((debit, credit) == ("revenue", "deferred"))
        row["credits_expired"] += fact.amount * ((credit == "breakage") - (debit == "breakage"))
    names = {"recognised": "revenue", "expired": "breakage", "returned": "payments"}
    names |= {"adjusted": "adjustments", "transferred": "transfers"}
    return {**{name: row[other] for name, other in names.items()}, **{name: row[name] for name in KEPT}}


KEPT = ("opening", "sold", "closing", "credits_granted", "credits_used", "credits_expired")
