"""What a change of a subscription in mid-period is worth: what it grants more, and what it takes back.

A change removes items and adds others. What counts of an item is what was granted for it, as its plan was then.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Final

from ledger.sales.calendar import stretches
from ledger.sales.catalogue import Change, Plan
from ledger.sales.facts import InvoiceLine
from ledger.sales.model import Changed, Item, PaidPeriod, Rate, Stretch, Subscription

_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """The lines of one change, each with its item.

    is_whole   every item that is removed is known to have been there
    """

    removed: tuple[tuple[InvoiceLine, Item], ...]
    added: tuple[tuple[InvoiceLine, Item], ...]
    is_whole: bool


@dataclass(slots=True, kw_only=True)
class Difference:
    """What changes come to, of one asset in one stretch.

    credits   smallest units; below 0: less
    weight    its part of what is paid; None: it carries no cost
    grace     how long what is granted outlasts the stretch
    at        when the first of the changes happened
    orders    what is taken back is of these, the newest first
    """

    at: datetime
    orders: tuple[str, ...]
    credits: Fraction = Fraction(0)
    weight: int | None = None
    grace: timedelta = timedelta(0)


def item_of(plan: Plan, line: InvoiceLine) -> Item:
    """What a line charges for, as its plan is now."""
    rates = (
        Rate(asset=content.asset, credits=content.credits * line.quantity, granted=plan.granted)
        for content in plan.contents
    )
    return Item(price=line.price, quantity=line.quantity, rates=tuple(rates))


def period_of(subscription: Subscription, start: datetime, end: datetime) -> PaidPeriod | None:
    """The period in which a change happened; None if it is not known."""
    return next((one for one in subscription.periods if one.start <= start and end <= one.end), None)


def changes_before(base: PaidPeriod, changes: Iterable[Changed], at: datetime) -> list[Changed]:
    """The changes of a period up to an instant, in the order in which they happened."""
    return [one for one in changes if one.end == base.end and base.start <= one.at <= at]


def items_after(base: PaidPeriod, changes: Iterable[Changed]) -> list[Item]:
    """For what a subscription is after some changes of a period."""
    items = list(base.items)
    for change in changes:
        for item in change.removed:
            if item in items:
                items.remove(item)
        items += change.added
    return items


def sides(lines: Iterable[InvoiceLine], items: Sequence[Item], plans: Mapping[str, Plan]) -> Sides:
    """Which lines of a change remove an item, and which add one.

    items   that there are before it
    plans   by the provider's names of their prices
    """
    there, is_whole = list(items), True
    removed, added = [], []
    for line in lines:
        known = next((one for one in there if (one.price, one.quantity) == (line.price, line.quantity)), None)
        # What costs nothing is not below 0, whether it ends or begins.
        if line.amount > 0 or (line.amount == 0 and known is None):
            added.append((line, item_of(plans[line.price], line)))
            continue
        if known is None:
            is_whole = False
        else:
            there.remove(known)
        removed.append((line, known or item_of(plans[line.price], line)))
    return Sides(removed=tuple(removed), added=tuple(added), is_whole=is_whole)


def at_renewal(found: Sides) -> Sides:
    """The same of a change that waits for the renewal: what was granted before stays what there is."""
    rates = tuple(rate for _, item in found.removed for rate in item.rates)
    added = tuple(
        (line, Item(price=item.price, quantity=item.quantity, rates=() if place else rates))
        for place, (line, item) in enumerate(found.added)
    )
    return Sides(removed=found.removed, added=added, is_whole=found.is_whole)


def is_pro_rata(found: Sides, plans: Mapping[str, Plan], plan: Plan) -> bool:
    """True if a change counts at once; the plan that is changed to says so.

    plan   that of the invoice, which counts where nothing is added
    """
    decides = plans[found.added[-1][0].price] if found.added else plan
    return decides.change is Change.PRO_RATA


def parts(found: Sides, base: PaidPeriod, at: datetime) -> Iterator[tuple[str, Stretch, InvoiceLine, Fraction, bool]]:
    """What each item of a change comes to in each stretch of the period that is left, by whole seconds.

    Asset, stretch, line, credits, and whether it carries cost.
    """
    signed = [(-1, *one) for one in found.removed] + [(1, *one) for one in found.added]
    for sign, line, item in signed:
        for place, rate in enumerate(item.rates):
            for stretch in stretches(rate.granted, base.start, base.end) if rate.credits else ():
                left = stretch.end - max(at, stretch.start)
                if left > timedelta(0):
                    part = Fraction(left // _SECOND, (stretch.end - stretch.start) // _SECOND)
                    yield rate.asset, stretch, line, sign * rate.credits * part, place == 0
