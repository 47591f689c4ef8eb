"""What the changes of a subscription in mid-period are worth: what they grant more, and of what they take back.

A change removes items and adds others. What counts of an item is what was granted for it, as its plan was then. So what
a change is worth depends on those before it, and of which credits it takes on those before and after: all that is known
of a period is gone through anew whenever one more of its changes is told.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Final, NamedTuple

from ledger.sales.calendar import stretches
from ledger.sales.catalogue import Change, Plan
from ledger.sales.facts import InvoiceLine
from ledger.sales.model import Changed, ChangedItem, Item, Order, PaidPeriod, Rate, Sold, Stretch, Subscription

_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """The lines of one change, each with its item as it counts.

    is_whole   every item that is removed is known to have been there
    """

    removed: tuple[tuple[ChangedItem, Item], ...]
    added: tuple[tuple[ChangedItem, Item], ...]
    is_whole: bool


@dataclass(slots=True, kw_only=True)
class Difference:
    """What the changes of one invoice come to, of one asset in one stretch.

    at        when the first of them happened
    credits   smallest units; below 0: less
    weight    its part of what is paid, minor units; None: it carries no cost
    grace     how long what is granted outlasts the stretch
    """

    at: datetime
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


def changed_item(plan: Plan, line: InvoiceLine) -> ChangedItem:
    """A line of a change, as its plan is now."""
    return ChangedItem(
        item=item_of(plan, line),
        amount=line.amount,
        is_pro_rata=plan.change is Change.PRO_RATA,
        grace=plan.grace or timedelta(0),
    )


def period_of(subscription: Subscription, start: datetime, end: datetime) -> PaidPeriod | None:
    """The period in which a change happened; None if it is not known."""
    return next((one for one in subscription.periods if one.start <= start and end <= one.end), None)


def changes_of(subscription: Subscription, base: PaidPeriod) -> list[Changed]:
    """The changes of a period that are known."""
    return [one for one in subscription.changes if one.end == base.end and base.start <= one.at]


def periods_of(subscription: Subscription, order: Order) -> list[PaidPeriod]:
    """The periods that an invoice paid for, or changed."""
    changed = [period_of(subscription, one.at, one.end) for one in order.changes]
    found = [one for one in subscription.periods if one.order_id == order.order_id or one in changed]
    return list(dict.fromkeys(found))


def others_of(subscription: Subscription, order: Order) -> list[str]:
    """The other invoices of an invoice's periods, if these were changed: their order_ids, the newest first."""
    found = []
    for base in periods_of(subscription, order):
        if changes := changes_of(subscription, base):
            found += [base.order_id, *(change.order_id for change, _ in in_turn(base, changes))]
    return [name for name in dict.fromkeys(reversed(found)) if name != order.order_id]


def in_turn(base: PaidPeriod, changes: Iterable[Changed]) -> Iterator[tuple[Changed, Sides]]:
    """The changes of a period in the order in which they happened, each with what it removes and adds.

    Of those of one instant, one that can be told to follow comes first.
    """
    items = list(base.items)
    left = sorted(changes, key=lambda change: (change.at, change.order_id))
    while left:
        of_now = [change for change in left if change.at == left[0].at]
        seen = [(change, _sides(change, items)) for change in of_now]
        change, found = next((one for one in seen if one[1].is_whole), seen[0])
        left.remove(change)
        yield change, found
        for _, item in found.removed:
            if item in items:
                items.remove(item)
        items += (item for _, item in found.added)


def _sides(change: Changed, items: Sequence[Item]) -> Sides:
    there, is_whole = list(items), True
    removed, added = [], []
    for line in change.items:
        told = line.item
        known = next((one for one in there if (one.price, one.quantity) == (told.price, told.quantity)), None)
        # What costs nothing is not below 0, whether it ends or begins.
        if line.amount > 0 or (line.amount == 0 and known is None):
            added.append((line, told))
            continue
        if known is None:
            is_whole = False
        else:
            there.remove(known)
        removed.append((line, known or told))
    found = Sides(removed=tuple(removed), added=tuple(added), is_whole=is_whole)
    return found if _is_pro_rata(change, found) else _at_renewal(found)


def _is_pro_rata(change: Changed, found: Sides) -> bool:
    """True if a change counts at once; the plan that is changed to says so."""
    return found.added[-1][0].is_pro_rata if found.added else change.is_pro_rata


def _at_renewal(found: Sides) -> Sides:
    """The same of a change that waits for the renewal: what was granted before stays what there is."""
    rates = tuple(rate for _, item in found.removed for rate in item.rates)
    added = tuple((line, replace(item, rates=() if place else rates)) for place, (line, item) in enumerate(found.added))
    return Sides(removed=found.removed, added=added, is_whole=found.is_whole)


def is_whole(base: PaidPeriod, changes: Iterable[Changed], order_id: str) -> bool:
    """True if all that an invoice's changes remove is known to have been there."""
    return all(found.is_whole for change, found in in_turn(base, changes) if change.order_id == order_id)


# By the invoice, the asset and the stretch.
Differences = Mapping[tuple[str, str, Stretch], Difference]


def differences(base: PaidPeriod, changes: Iterable[Changed]) -> Differences:
    """What each invoice's changes come to; one whose last change is later comes later."""
    found: dict[tuple[str, str, Stretch], Difference] = {}
    for change, sides in in_turn(base, changes):
        if not _is_pro_rata(change, sides):
            continue
        grace = max((line.grace for line, _ in sides.added), default=timedelta(0))
        for part in _parts(sides, base, change.at):
            place = (change.order_id, part.asset, part.stretch)
            one = found.pop(place, None) or Difference(at=change.at)
            found[place] = one
            one.grace = max(one.grace, grace)
            one.credits += part.credits
            one.weight = one.weight if part.weight is None else (one.weight or 0) + part.weight
    return found


class _Part(NamedTuple):
    """What an item of a change comes to, of one asset in one stretch.

    credits   smallest units; below 0 for what is removed
    weight    as of Difference
    """

    asset: str
    stretch: Stretch
    credits: Fraction
    weight: int | None


def _parts(found: Sides, base: PaidPeriod, at: datetime) -> Iterator[_Part]:
    """What each item of a change comes to in each stretch of the period that is left, by whole seconds."""
    signed = [(-1, *one) for one in found.removed] + [(1, *one) for one in found.added]
    for sign, line, item in signed:
        for place, rate in enumerate(item.rates):
            for stretch in stretches(rate.granted, base.start, base.end) if rate.credits else ():
                left = stretch.end - max(at, stretch.start)
                if left > timedelta(0):
                    part = Fraction(left // _SECOND, (stretch.end - stretch.start) // _SECOND)
                    yield _Part(rate.asset, stretch, sign * rate.credits * part, None if place else line.amount)


def sold_by_changes(order_id: str, base: PaidPeriod, changes: Iterable[Changed]) -> Iterator[Sold]:
    """What an invoice's changes of a period grant more; it has no name yet and no cost."""
    for (name, asset, stretch), one in differences(base, changes).items():
        if name == order_id and one.credits >= 1:
            yield Sold(
                name="",
                asset=asset,
                credits=int(one.credits),
                is_change=True,
                weight=None if one.weight is None else max(one.weight, 0),
                effective_at=stretch.start if stretch.start > one.at else None,
                expires_at=stretch.end + one.grace,
                stretch=stretch,
            )


@dataclass(slots=True)
class _Sale:
    """What an invoice sold for a stretch.

    name   of what it sold; empty as long as the order is not known
    left   of it, what is unspent and no change has taken
    """

    order_id: str
    name: str
    asset: str
    stretch: Stretch | None
    left: int
    taken: int = 0


def taken_by_changes(
    base: PaidPeriod, changes: Iterable[Changed], orders: Mapping[str, Order], unspent: Callable[[Order, Sold], int]
) -> dict[tuple[str, str], int]:
    """What changes to less take of what each invoice sold for a period, by order_id and name; as far as it is unspent.

    Each takes of what was sold before it, the newest first. Money that went back is left out of account: a refund takes
    its share of what was sold besides.

    orders    those of the period's invoices that are known
    unspent   what of something sold was not used, whether it was taken back or has run out
    """
    sales: list[_Sale] = []

    def sell(order_id: str, *, is_change: bool, place: tuple[str, Stretch] | None) -> None:
        if (order := orders.get(order_id)) is None:
            return
        for sold in order.sold:
            is_it = place is None or place == (sold.asset, sold.stretch)
            if sold.credits and sold.is_change == is_change and is_it:
                sales.append(_Sale(order_id, sold.name, sold.asset, sold.stretch, unspent(order, sold)))

    sell(base.order_id, is_change=False, place=None)
    for (order_id, asset, stretch), one in differences(base, changes).items():
        if one.credits > 0:
            sell(order_id, is_change=True, place=(asset, stretch))
            if order_id not in orders:
                sales.append(_Sale(order_id, "", asset, stretch, int(one.credits)))
            continue
        # Towards zero, which is in the customer's favour.
        wanted = int(-one.credits)
        for sale in reversed(sales):
            if (sale.asset, sale.stretch) == (asset, stretch):
                taken = min(wanted, sale.left)
                sale.left, sale.taken, wanted = sale.left - taken, sale.taken + taken, wanted - taken
    return {(sale.order_id, sale.name): sale.taken for sale in sales}
