"""What is sold, as orders keep it: what a package grants, and what an invoice of a subscription does."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import accumulate, count

from ledger.ids import order_id
from ledger.model import Money
from ledger.sales.calendar import stretches
from ledger.sales.catalogue import Change, Checkout, Package, Plan
from ledger.sales.changes import (
    changed_item,
    changes_of,
    is_whole,
    item_of,
    period_of,
    periods_of,
    sold_by_changes,
)
from ledger.sales.facts import InvoiceLine, InvoicePaid
from ledger.sales.model import (
    Changed,
    Order,
    OrderKind,
    PaidPeriod,
    SaleRules,
    Sold,
    Subscription,
)
from ledger.sales.waiting import Unknown, change_ref, instant_ref, period_ref


def checkout_order_id(checkout: Checkout) -> str:
    """The name of the order of a checkout."""
    return order_id(checkout.tenant, checkout.account_id, checkout.request_id)


def for_package(order: Order, package: Package) -> Order:
    """The order with what it sells: a package, as it is on sale now."""
    return replace(order, package=package.package, title=package.title, price=package.price, sold=tuple(_sold(package)))


def _sold(package: Package) -> Iterator[Sold]:
    for index, content in enumerate(package.contents):
        yield Sold(
            name=content.asset,
            asset=content.asset,
            credits=content.credits,
            cost=package.price.minor_units if index == 0 else None,
            ttl=content.validity,
        )
        if content.bonus_credits:
            yield Sold(
                name=f"{content.asset}:bonus",
                asset=content.asset,
                credits=content.bonus_credits,
                is_bonus=True,
                ttl=content.bonus_validity,
            )


def invoice_order_id(invoice: str) -> str:
    """The name of the order of an invoice."""
    return order_id("invoice", invoice)


def invoice_order(
    subscription: Subscription,
    invoice: InvoicePaid,
    plans: Mapping[str, Plan],
    now: datetime,
    rules: SaleRules,
    *,
    waits_until: datetime,
) -> Order | Unknown:
    """The order of a paid invoice, with what its periods grant; Unknown if that cannot be told yet.

    What its changes in mid-period grant depends on others of the subscription: see `restated`.

    plans        by the provider's names of their prices
    waits_until  if its lines tell of an earlier change that is not known, it waits so long for that one's invoice;
                 then it does without, because there may be none
    """
    lines = [line for line in invoice.lines if line.price in plans]
    if not lines:
        price = invoice.lines[0].price if invoice.lines else invoice.subscription
        return Unknown(refs=(price,), why=f"No plan has the price {price}. Name it in one with PutPlan.")
    regular = [line for line in lines if not line.is_proration]
    prorations = [line for line in lines if line.is_proration]
    # What is changed to is the last that is charged for.
    charged = [*(line for line in prorations if line.amount >= 0), *regular]
    plan = plans[(charged or lines)[-1].price]
    name = invoice_order_id(invoice.invoice)
    changes = _changes(name, prorations, subscription, plans, plan)
    if not isinstance(changes, Unknown) and now < waits_until:
        changes = _whole(changes, subscription, waits_until)
    if isinstance(changes, Unknown):
        return changes
    period = None
    if regular:
        last = max(regular, key=lambda line: line.end)
        items = tuple(item_of(plans[line.price], line) for line in regular)
        period = PaidPeriod(order_id=name, plan=plans[last.price].plan, start=last.start, end=last.end, items=items)
    sold = [one for index, line in enumerate(regular) for one in _sold_for_period(index, line, plans[line.price])]
    return Order(
        tenant=subscription.tenant,
        order_id=name,
        kind=OrderKind.INVOICE,
        account_id=subscription.account_id,
        plan=plan.plan,
        price=invoice.money,
        livemode=rules.livemode,
        sold=tuple(_costed(sold, invoice.money)),
        period=period,
        changes=changes,
        created_at=now,
        stripe_id=invoice.invoice,
        subscription=subscription.subscription,
    )


def _sold_for_period(index: int, line: InvoiceLine, plan: Plan) -> Iterator[Sold]:
    """A period that is paid: each asset's credits, in each stretch of it."""
    for content in plan.contents:
        within = stretches(plan.granted, line.start, line.end) if content.credits else ()
        for number, stretch in enumerate(within):
            yield Sold(
                name=f"{content.asset}:{index}.{number}",
                sale=f"{content.asset}:{index}",
                asset=content.asset,
                credits=content.credits * line.quantity,
                # In equal parts for each stretch.
                weight=max(line.amount, 0) if content is plan.contents[0] else None,
                effective_at=stretch.start if number else None,
                expires_at=stretch.end + (plan.grace or timedelta(0)),
                stretch=stretch,
                rollover=content.rollover,
            )


def _changes(
    name: str, lines: Sequence[InvoiceLine], subscription: Subscription, plans: Mapping[str, Plan], plan: Plan
) -> tuple[Changed, ...] | Unknown:
    """The changes in mid-period that an invoice is for; Unknown as long as the period of one is not known."""
    changes = []
    for (start, end), some in sorted(_by_period(lines).items()):
        base = period_of(subscription, start, end)
        if base is None:
            ref = period_ref(subscription.subscription, end)
            return Unknown(refs=(ref,), why=f"The invoice of the period that ends at {end} is not known yet.")
        items = tuple(changed_item(plans[line.price], line) for line in some)
        pro_rata = plan.change is Change.PRO_RATA
        changes.append(Changed(order_id=name, at=start, end=base.end, items=items, is_pro_rata=pro_rata))
    return tuple(changes)


def _whole(
    changes: tuple[Changed, ...], subscription: Subscription, waits_until: datetime
) -> tuple[Changed, ...] | Unknown:
    """The same changes; Unknown if one of them removes what is not known to have been there."""
    names = {change.order_id for change in changes}
    earlier = [change for change in subscription.changes if change.order_id not in names]
    known = replace(subscription, changes=(*earlier, *changes))
    bases = dict.fromkeys(period_of(subscription, change.at, change.end) for change in changes)
    if all(is_whole(base, changes_of(known, base), name) for base in bases if base for name in names):
        return changes
    name = subscription.subscription
    refs = (change_ref(name, len({change.order_id for change in earlier}) + 1), instant_ref(waits_until))
    why = f"It removes what {name} had not; the invoice of an earlier change may be under way."
    return Unknown(refs=refs, why=why)


def restated(order: Order, subscription: Subscription) -> Order:
    """The order with what its changes in mid-period grant by all that is known of the subscription by now.

    What it granted by what was known before, and does not grant now, stays as sold with no credits, as do its lots.
    """
    if not order.changes or order.price is None:
        return order
    changed = [
        sold
        for base in periods_of(subscription, order)
        for sold in sold_by_changes(order.order_id, base, changes_of(subscription, base))
    ]
    regular = [sold for sold in order.sold if sold.credits and not sold.is_change]
    wanted = [replace(sold, name="") for sold in _costed([*regular, *changed], order.price)]
    posted = {lot.sold for lot in order.lots}
    kept = []
    for sold in order.sold:
        if sold.credits and (nameless := replace(sold, name="")) in wanted:
            wanted.remove(nameless)
            kept.append(sold)
        elif sold.name in posted:
            kept.append(replace(sold, credits=0))
    for sold in wanted:
        names = (f"{sold.asset}:change.{number}" for number in count())
        kept.append(replace(sold, name=next(name for name in names if name not in {one.name for one in kept})))
    return replace(order, sold=tuple(kept))


def _costed(sold: Sequence[Sold], money: Money) -> list[Sold]:
    """What is paid, divided among what carries cost, by weight; the last takes the rounding.

    Which is the last depends on what is sold alone, and not on when that became known.
    """
    carrying = sorted(
        (place for place, one in enumerate(sold) if one.weight is not None), key=lambda at: _place(sold[at])
    )
    sums = list(accumulate(sold[place].weight or 0 for place in carrying))
    costed, before = list(sold), 0
    for place, upto in zip(carrying, sums, strict=True):
        share = money.minor_units * upto // sums[-1] if sums[-1] else money.minor_units
        costed[place] = replace(sold[place], cost=share - before)
        before = share
    return costed


def _place(sold: Sold) -> tuple[bool, str, str, int, int]:
    begins = "" if sold.stretch is None else sold.stretch.start.isoformat()
    return sold.is_change, begins, sold.asset, sold.weight or 0, sold.credits


def _by_period(lines: Iterable[InvoiceLine]) -> dict[tuple[datetime, datetime], list[InvoiceLine]]:
    """Lines of one change belong together; a change is told by when it happened."""
    found: dict[tuple[datetime, datetime], list[InvoiceLine]] = {}
    for line in lines:
        found.setdefault((line.start, line.end), []).append(line)
    return found
