"""What is sold, as orders keep it: what a package grants, and what an invoice of a subscription does."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Final

from ledger.ids import order_id
from ledger.model import Money
from ledger.sales.calendar import stretches
from ledger.sales.catalogue import Checkout, Package, Plan
from ledger.sales.changes import (
    Difference,
    Sides,
    at_renewal,
    changes_before,
    is_pro_rata,
    item_of,
    items_after,
    parts,
    period_of,
    sides,
)
from ledger.sales.facts import InvoiceLine, InvoicePaid
from ledger.sales.model import (
    Changed,
    Order,
    OrderKind,
    PaidPeriod,
    SaleRules,
    Sold,
    Stretch,
    Subscription,
    TakenBack,
)

INSTANT: Final = "at:"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """Something has to be known first.

    refs   under what it becomes known
    why    a sentence
    """

    refs: tuple[str, ...]
    why: str


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
    """The order of a paid invoice: what it grants and takes back; Unknown if that cannot be told yet.

    plans        by the provider's names of their prices
    waits_until  if its lines tell of an earlier change that is not known, it waits so long for that one's invoice;
                 then it does without, because there may be none
    """
    lines = [line for line in invoice.lines if line.price in plans]
    if not lines:
        price = invoice.lines[0].price if invoice.lines else invoice.subscription
        return Unknown(refs=(price,), why=f"No plan has the price {price}. Name it in one with PutPlan.")
    regular = [line for line in lines if not line.is_proration]
    changes = [line for line in lines if line.is_proration]
    # What is changed to is the last that is charged for.
    charged = [*(line for line in changes if line.amount >= 0), *regular]
    plan = plans[(charged or lines)[-1].price]
    name = invoice_order_id(invoice.invoice)
    sale = _Sale(order_id=name, plans=plans, plan=plan)
    for index, line in enumerate(regular):
        sale.add_regular(index, line)
    missing = sale.add_changes(changes, subscription, waits_until if now < waits_until else None)
    if missing is not None:
        return missing
    period = None
    if regular:
        last = max(regular, key=lambda line: line.end)
        items = tuple(item_of(plans[line.price], line) for line in regular)
        period = PaidPeriod(order_id=name, plan=plans[last.price].plan, start=last.start, end=last.end, items=items)
    return Order(
        tenant=subscription.tenant,
        order_id=name,
        kind=OrderKind.INVOICE,
        account_id=subscription.account_id,
        plan=plan.plan,
        price=invoice.money,
        livemode=rules.livemode,
        sold=tuple(_costed(sale.sold, sale.weights, invoice.money)),
        taken_back=tuple(sale.taken_back),
        period=period,
        changes=tuple(sale.changes),
        created_at=now,
        stripe_id=invoice.invoice,
        subscription=subscription.subscription,
    )


def _costed(sold: Sequence[Sold], weights: Sequence[int | None], money: Money) -> Iterator[Sold]:
    """What is paid, divided among what carries cost, in proportion; the last takes the rounding."""
    sums = list(accumulate(weight or 0 for weight in weights))
    whole, before = sums[-1] if sums else 0, 0
    first = next((place for place, weight in enumerate(weights) if weight is not None), None)
    for place, (one, weight, upto) in enumerate(zip(sold, weights, sums, strict=True)):
        if weight is None:
            yield one
        elif whole:
            share = money.minor_units * upto // whole
            yield replace(one, cost=share - before)
            before = share
        else:
            yield replace(one, cost=money.minor_units if place == first else 0)


@dataclass(slots=True, kw_only=True)
class _Sale:
    """What the lines of an invoice grant and take back.

    plan     that of the invoice
    weights  for each of what is sold, its part of what is paid; None: it carries no cost
    """

    order_id: str
    plans: Mapping[str, Plan]
    plan: Plan
    sold: list[Sold] = field(default_factory=list)
    weights: list[int | None] = field(default_factory=list)
    taken_back: list[TakenBack] = field(default_factory=list)
    changes: list[Changed] = field(default_factory=list)

    def add_regular(self, index: int, line: InvoiceLine) -> None:
        """A period that is paid: each asset's credits, in each stretch of it."""
        plan = self.plans[line.price]
        for content in plan.contents:
            within = stretches(plan.granted, line.start, line.end) if content.credits else ()
            for number, stretch in enumerate(within):
                sold = Sold(
                    name=f"{content.asset}:{index}.{number}",
                    asset=content.asset,
                    credits=content.credits * line.quantity,
                    effective_at=stretch.start if number else None,
                    expires_at=stretch.end + (plan.grace or timedelta(0)),
                    stretch=stretch,
                    rollover=content.rollover,
                )
                # In equal parts for each stretch.
                weight = max(line.amount, 0) if content is plan.contents[0] else None
                self._add(sold, weight)

    def add_changes(
        self, lines: Sequence[InvoiceLine], subscription: Subscription, waits_until: datetime | None
    ) -> Unknown | None:
        """Changes in mid-period: what is more is granted, what is less is taken back; each by whole seconds."""
        found: dict[tuple[str, Stretch], Difference] = {}
        earlier = [one for one in subscription.changes if one.order_id != self.order_id]
        for (start, end), some in sorted(_by_period(lines).items()):
            base = period_of(subscription, start, end)
            if base is None:
                ref = period_ref(subscription.subscription, end)
                return Unknown(refs=(ref,), why=f"The invoice of the period that ends at {end} is not known yet.")
            before = changes_before(base, earlier, start)
            known = sides(some, items_after(base, [*before, *self.changes]), self.plans)
            if not known.is_whole and waits_until is not None:
                name = subscription.subscription
                refs = (change_ref(name, len({one.order_id for one in earlier}) + 1), instant_ref(waits_until))
                why = f"It removes what {name} had not; the invoice of an earlier change may be under way."
                return Unknown(refs=refs, why=why)
            orders = (*dict.fromkeys(one.order_id for one in reversed(before)), base.order_id)
            known = self._change(known, base, Difference(at=start, orders=orders), found)
            removed, added = (tuple(item for _, item in side) for side in (known.removed, known.added))
            self.changes.append(Changed(order_id=self.order_id, at=start, end=base.end, removed=removed, added=added))
        self._add_differences(found)
        return None

    def _change(
        self, change: Sides, base: PaidPeriod, none: Difference, found: dict[tuple[str, Stretch], Difference]
    ) -> Sides:
        if not is_pro_rata(change, self.plans, self.plan):
            return at_renewal(change)
        grace = max((self.plans[line.price].grace or timedelta(0) for line, _ in change.added), default=timedelta(0))
        for asset, stretch, line, credits_, carries in parts(change, base, none.at):
            one = found.setdefault((asset, stretch), replace(none))
            one.orders, one.grace = none.orders, max(one.grace, grace)
            one.credits += credits_
            one.weight = (one.weight or 0) + line.amount if carries else one.weight
        return change

    def _add_differences(self, found: Mapping[tuple[str, Stretch], Difference]) -> None:
        for number, ((asset, stretch), one) in enumerate(found.items()):
            if one.credits >= 1:
                sold = Sold(
                    name=f"{asset}:change.{number}",
                    asset=asset,
                    credits=int(one.credits),
                    effective_at=stretch.start if stretch.start > one.at else None,
                    expires_at=stretch.end + one.grace,
                    stretch=stretch,
                )
                self._add(sold, None if one.weight is None else max(one.weight, 0))
            elif one.credits <= -1:
                # Towards zero, which is in the customer's favour.
                less = TakenBack(asset=asset, stretch=stretch, credits=int(-one.credits), orders=one.orders)
                self.taken_back.append(less)

    def _add(self, sold: Sold, weight: int | None) -> None:
        self.sold.append(sold)
        self.weights.append(weight)


def _by_period(lines: Iterable[InvoiceLine]) -> dict[tuple[datetime, datetime], list[InvoiceLine]]:
    """Lines of one change belong together; a change is told by when it happened."""
    found: dict[tuple[datetime, datetime], list[InvoiceLine]] = {}
    for line in lines:
        found.setdefault((line.start, line.end), []).append(line)
    return found


def period_ref(subscription: str, end: datetime) -> str:
    """Under what a paid period becomes known."""
    return f"{subscription}@{end.isoformat()}"


def change_ref(subscription: str, number: int) -> str:
    """Under what it becomes known that so many invoices with changes in mid-period are known."""
    return f"{subscription}#{number}"


def instant_ref(at: datetime) -> str:
    """Under what an instant becomes known, which is when it has come; one that is later sorts later."""
    return f"{INSTANT}{(at - _EPOCH) // _MICROSECOND:020}"
