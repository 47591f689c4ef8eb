"""The monetary journal: what of the cost of lots moves as their credits move, and what the moves add up to.

Credits that a customer has are deferred revenue; debt is use, so it is revenue already. Every other code keeps its
name. A line of a lot that was paid for moves money where its two sides have different codes here.

How much follows from where the lot's cost is, which each line changes. Part of it is deferred: the credits in the
account carry it. Part is recognised: the credits that were spent took it along. Part has lapsed. The rest has left the
lot: it was paid back, corrected away, or is the cost of another lot now. So the parts are the cost, whatever happens in
which order, and none is ever less than nothing.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from ledger.chart import Code
from ledger.model import EntryKind, Line, Lot, MadeLot, Money


class MoneyCode(StrEnum):
    """One account of the monetary journal; transfers is a clearing account, and always zero."""

    PAYMENTS = "payments"
    DEFERRED = "deferred"
    REVENUE = "revenue"
    BREAKAGE = "breakage"
    ADJUSTMENTS = "adjustments"
    TRANSFERS = "transfers"


# What is granted free, and what a plan covers, costs nothing and has no code here.
_MONEY_CODES: Final = MappingProxyType(
    {
        Code.AVAILABLE: MoneyCode.DEFERRED,
        Code.HELD: MoneyCode.DEFERRED,
        Code.OWED: MoneyCode.REVENUE,
        Code.PAYMENTS: MoneyCode.PAYMENTS,
        Code.REVENUE: MoneyCode.REVENUE,
        Code.BREAKAGE: MoneyCode.BREAKAGE,
        Code.ADJUSTMENTS: MoneyCode.ADJUSTMENTS,
        Code.TRANSFERS: MoneyCode.TRANSFERS,
    }
)

# Where the cost of credits goes that are spent: used, gone into repaying debt, given to another customer.
_SPENT: Final = frozenset({MoneyCode.REVENUE, MoneyCode.TRANSFERS})

Sides = tuple[MoneyCode | None, MoneyCode | None]


def money_sides(debit: Code, credit: Code) -> Sides:
    """What a line between two codes debits and credits in the monetary journal, if its lot was paid for."""
    return _MONEY_CODES.get(debit), _MONEY_CODES.get(credit)


def cost_moved(before: Lot, after: Lot, line: Line) -> Money | None:
    """What of a lot's cost a line moves from its debit to its credit; None if nothing.

    What leaves takes what those that stay do not carry: they carry their share of what was paid, rounded up, as far as
    it is there. So it does not matter in how many parts credits leave. What is reclaimed does the same to what is
    recognised, unless it is given what to take. What a refund brings back is what it is given, at most what is
    recognised; the last of what was spent brings all of that.

    before, after   the lot ahead of the line, and once its credits are posted
    line            with what it is given to bring back, or to take
    """
    cost = before.terms.cost
    debit, credit = money_sides(line.debit, line.credit)
    if cost is None or debit is None or credit is None or debit is credit:
        return None
    given = 0 if line.cost is None else line.cost.minor_units
    if debit is MoneyCode.DEFERRED:
        moved = _leaving(before.deferred, before, after.remaining + after.held)
    elif credit is not MoneyCode.DEFERRED:
        share = _leaving(before.recognised, before, after.spent - after.reclaimed)
        moved = share if line.cost is None else given
    elif debit is not MoneyCode.REVENUE:
        moved = cost.minor_units * line.amount // before.granted
    elif before.spent == 0:
        # A lot that a refund makes; what it may be given is bounded by the one that it is taken from.
        moved = given
    else:
        moved = before.recognised if after.spent == 0 else min(given, before.recognised)
    return Money(minor_units=moved, currency=cost.currency) if moved else None


def with_cost_moved(lot: Lot, line: Line, cost: Money) -> Lot:
    """The lot once what a line moves of its cost is where the line brings it."""
    deferred, recognised, lapsed, moved = lot.deferred, lot.recognised, lot.lapsed, cost.minor_units
    match money_sides(line.debit, line.credit):
        case MoneyCode.DEFERRED, credit:
            deferred -= moved
            if credit is MoneyCode.BREAKAGE:
                lapsed += moved
            elif credit in _SPENT:
                recognised += moved
        case debit, MoneyCode.DEFERRED:
            deferred += moved
            # Out of a lot that a refund makes, nothing was spent.
            if debit is MoneyCode.REVENUE and recognised > 0:
                recognised -= moved
        case _:
            recognised -= moved
    return replace(lot, deferred=deferred, recognised=recognised, lapsed=lapsed)


def without_cost_of(lot: Lot, made: MadeLot, kind: EntryKind) -> Lot:
    """The lot once the cost of one that is made is taken from it: by a refund, or as it rolls over.

    Its `spent` stays: that something was refunded elsewhere leaves no line in it. So what it may be asked for twice are
    credits, as a debt, but no money.
    """
    taken = 0 if made.terms.cost is None else made.terms.cost.minor_units
    if kind is EntryKind.ROLL_OVER:
        return replace(lot, lapsed=lot.lapsed - taken)
    return replace(lot, recognised=lot.recognised - taken)


def cost_of_part(line: Line, start: int, stop: int) -> int:
    """What some of the credits took with them that a line moved, minor units; all of them together, what it moved.

    start, stop   of the line's amount, how much was before them, and up to and including them
    """
    moved = 0 if line.cost is None else line.cost.minor_units
    return moved * stop // line.amount - moved * start // line.amount


def cost_rolled_over(lot: Lot, amount: int) -> Money | None:
    """What an amount of a lot costs as it rolls over: the share of its last credits, at most what of it has lapsed."""
    cost = lot.terms.cost
    if cost is None:
        return None
    share = cost.minor_units - cost.minor_units * (lot.granted - amount) // lot.granted
    return Money(minor_units=min(share, lot.lapsed), currency=cost.currency)


def cost_reclaimed(lot: Lot, amount: int, moved: int, moved_cost: int) -> Money | None:
    """What is taken back of the cost of a lot whose account was merged: of what was spent of it before.

    amount       of what was spent, and is not reclaimed yet
    moved        what the merge has moved out of it, smallest units
    moved_cost   and what of the cost went along, minor units
    """
    cost = lot.terms.cost
    if cost is None:
        return None
    taken = _leaving(lot.recognised - moved_cost, lot, lot.spent - lot.reclaimed - moved - amount)
    return Money(minor_units=taken, currency=cost.currency)


def _leaving(carried: int, lot: Lot, stay: int) -> int:
    """What leaves with credits of a lot.

    carried   what they and those that stay carry, minor units
    stay      how many stay
    """
    cost = 0 if lot.terms.cost is None else lot.terms.cost.minor_units
    return carried if stay <= 0 else max(carried + -cost * stay // lot.granted, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class MoneyTrialBalanceRow:
    """What was debited and credited under one code of the monetary journal, minor units."""

    code: MoneyCode
    debits: int
    credits: int

    @property
    def balance(self) -> int:
        """Debits less credits."""
        return self.debits - self.credits


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrencyTrialBalance:
    """The monetary trial balance of one currency, a row per code in the order of MoneyCode."""

    currency: str
    rows: tuple[MoneyTrialBalanceRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MoneyTrialBalance:
    """The monetary trial balance of a tenant, in order of the currencies in which a lot was ever paid."""

    currencies: tuple[CurrencyTrialBalance, ...]
    as_of: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RevenueRow:
    """How the deferred revenue of one package in one currency moved, minor units.

    package           what was sold; empty if that was not said, and for what was granted free
    currency          empty for what was granted free, of which all amounts are 0
    opening           deferred before
    sold              paid for lots that were granted
    recognised        became revenue, less what was refunded to lots, and less what of it was returned
    expired           became breakage, less what of it was rolled over
    returned          went back to customers, out of what was deferred or had become revenue
    adjusted          taken away by an administrator, less what was put in
    transferred       went to other customers, less what came from them
    credits_granted   that were granted, smallest units of their assets
    credits_used      that became revenue or repaid debt, less what was refunded to lots
    credits_expired   that ran out, less what of them was rolled over
    """

    package: str
    currency: str
    opening: int = 0
    sold: int = 0
    recognised: int = 0
    expired: int = 0
    returned: int = 0
    adjusted: int = 0
    transferred: int = 0
    credits_granted: int = 0
    credits_used: int = 0
    credits_expired: int = 0

    @property
    def says_something(self) -> bool:
        """False if all figures are 0."""
        return self != RevenueRow(package=self.package, currency=self.currency)

    @property
    def closing(self) -> int:
        """Deferred after."""
        gone = self.recognised + self.expired + self.returned + self.adjusted + self.transferred
        return self.opening + self.sold - gone


@dataclass(frozen=True, slots=True, kw_only=True)
class RevenueReport:
    """How deferred revenue moved from one instant until just before another, by package and then currency.

    rows   what was granted free comes last
    """

    rows: tuple[RevenueRow, ...]
    since: datetime
    until: datetime


class SoldAs(NamedTuple):
    """What lots were sold as, and in which currency; empty words for what was not sold, or not as anything."""

    package: str
    currency: str


class Moved(NamedTuple):
    """What lines between two codes add up to.

    amount   smallest units of credits
    cost     minor units
    """

    debit: Code
    credit: Code
    amount: int
    cost: int


FREE: Final = SoldAs("", "")


def currency_trial_balance(currency: str, moves: Iterable[Moved]) -> CurrencyTrialBalance:
    """Adds up what lines of lots that were paid in one currency debit and credit."""
    sums = dict.fromkeys(MoneyCode, (0, 0))
    for move in moves:
        debit, credit = money_sides(move.debit, move.credit)
        if move.cost and debit is not None and credit is not None:
            sums[debit] = (sums[debit][0] + move.cost, sums[debit][1])
            sums[credit] = (sums[credit][0], sums[credit][1] + move.cost)
    rows = (
        MoneyTrialBalanceRow(code=code, debits=debits, credits=credits_) for code, (debits, credits_) in sums.items()
    )
    return CurrencyTrialBalance(currency=currency, rows=tuple(rows))


def revenue_row(sold: SoldAs, before: Iterable[Moved], within: Iterable[Moved]) -> RevenueRow:
    """How what was sold as one thing moved.

    before   what moved before the stretch of time
    within   what moved in it
    """
    moves = list(within)
    costs: Counter[Sides] = Counter()
    for move in moves:
        costs[money_sides(move.debit, move.credit)] += move.cost
    opening = sum(
        move.cost * ((credit is MoneyCode.DEFERRED) - (debit is MoneyCode.DEFERRED))
        for move in before
        for debit, credit in (money_sides(move.debit, move.credit),)
    )
    revenue, payments = MoneyCode.REVENUE, MoneyCode.PAYMENTS
    undone = {code: costs[revenue, code] for code in (payments, MoneyCode.ADJUSTMENTS)}
    return RevenueRow(
        package=sold.package,
        currency=sold.currency,
        opening=opening,
        sold=costs[payments, MoneyCode.DEFERRED],
        recognised=_net(costs, revenue) - sum(undone.values()),
        expired=_net(costs, MoneyCode.BREAKAGE),
        returned=costs[MoneyCode.DEFERRED, payments] + undone[payments],
        adjusted=_net(costs, MoneyCode.ADJUSTMENTS) + undone[MoneyCode.ADJUSTMENTS],
        transferred=_net(costs, MoneyCode.TRANSFERS),
        **_credits_moved(moves),
    )


def _net(costs: Counter[Sides], code: MoneyCode) -> int:
    """What went from deferred to a code, less what came back."""
    return costs[MoneyCode.DEFERRED, code] - costs[code, MoneyCode.DEFERRED]


def _credits_moved(moves: Iterable[Moved]) -> dict[str, int]:
    """The credits that were granted, used and expired."""
    granted = used = expired = 0
    for move in moves:
        match move.debit, move.credit:
            case ((Code.PAYMENTS | Code.PROMOTIONS | Code.ADJUSTMENTS), Code.AVAILABLE):
                granted += move.amount
            case ((Code.AVAILABLE | Code.HELD), (Code.REVENUE | Code.OWED)):
                used += move.amount
            case Code.REVENUE, Code.AVAILABLE:
                used -= move.amount
            case Code.AVAILABLE, Code.BREAKAGE:
                expired += move.amount
            case Code.BREAKAGE, Code.AVAILABLE:
                expired -= move.amount
    return {"credits_granted": granted, "credits_used": used, "credits_expired": expired}
