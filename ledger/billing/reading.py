"""What a reading of an event is about: which order, which subscription, whose."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from ledger.billing.event_records import keep_refs, owners_of, read_event
from ledger.billing.records import (
    Write,
    account_of_customer,
    keep_customer,
    read_customer,
    read_order,
    read_plans,
    read_subscription,
)
from ledger.ids import IdPrefix
from ledger.model import DEFAULT_TENANT
from ledger.sales.catalogue import Plan
from ledger.sales.facts import CustomerSeen, DisputeSeen, InvoicePaid, NotPaid, Paid, Reading, RefundedInAll, RefundSeen
from ledger.sales.learning import learn
from ledger.sales.model import Customer, Order, OrderKind, SaleRules, Subscription
from ledger.sales.selling import invoice_order, invoice_order_id, restated
from ledger.sales.subscriptions import learn_subscription, new_subscription, with_invoice
from ledger.sales.waiting import Unknown, change_ref, period_ref

# Of two invoices, the later one may be told of first; what was never billed is not waited for any longer.
EARLIER_WITHIN: Final = timedelta(minutes=10)
_OF_A_PAYMENT = Paid | NotPaid | RefundSeen | RefundedInAll | DisputeSeen


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a reading is about, with what it says learned already; nothing of it is written yet.

    order         None: none
    subscription  None: none
    account       tenant and account_id
    """

    order: Order | None
    subscription: Subscription | None
    account: tuple[str, str]


def find(connection: Connection, reading: Reading, now: datetime, rules: SaleRules) -> Found | Unknown:
    """What a reading is about; Unknown as long as that is not known."""
    invoice = next((fact for fact in reading.facts if isinstance(fact, InvoicePaid)), None)
    order = _named_order(connection, reading)
    name = reading.subscription if invoice is None else invoice.subscription
    subscription = _subscription(connection, reading, name, order, now) if name else None
    if invoice is not None or (order is None and any(isinstance(fact, _OF_A_PAYMENT) for fact in reading.facts)):
        if invoice is None:
            return _unknown(connection, reading, name)
        order = None
    if subscription is not None:
        prices = _by_price(connection, subscription.tenant)
        subscription = learn_subscription(subscription, reading.facts, prices)
        if invoice is not None:
            known = read_order(connection, invoice_order_id(invoice.invoice))
            until = _waits_until(connection, reading, now)
            made = known or invoice_order(subscription, invoice, prices, now, rules, waits_until=until)
            if isinstance(made, Unknown):
                return made
            subscription = with_invoice(subscription, made)
            order = restated(made, subscription)
    if name and subscription is None:
        return _unknown(connection, reading, name)
    account = _account(connection, reading, order, subscription)
    if account is None:
        return _unknown(connection, reading, name)
    order = None if order is None else learn(_with_names(order, reading), reading.facts)
    return Found(order=order, subscription=subscription, account=account)


def _waits_until(connection: Connection, reading: Reading, now: datetime) -> datetime:
    event = read_event(connection, reading.event_id)
    return (now if event is None else event.received_at) + EARLIER_WITHIN


def _named_order(connection: Connection, reading: Reading) -> Order | None:
    """The order that the provider gave back by name, or one that has one of the provider's names."""
    order = read_order(connection, reading.order_id) if reading.order_id else None
    if order is not None:
        return order
    owners = owners_of(connection, reading.refs)
    found = [owners[name] for name in reading.refs if owners.get(name, "").startswith(IdPrefix.ORDER)]
    return read_order(connection, found[0]) if found else None


def _subscription(
    connection: Connection, reading: Reading, name: str, order: Order | None, now: datetime
) -> Subscription | None:
    """A subscription, new if it is known whose it is."""
    found = read_subscription(connection, name)
    if found is not None:
        return found
    account = _account(connection, reading, order, None)
    if account is None:
        return None
    plan = reading.plan or ("" if order is None else order.plan)
    return new_subscription(name, tenant=account[0], account_id=account[1], plan=plan, now=now)


def _account(
    connection: Connection, reading: Reading, order: Order | None, subscription: Subscription | None
) -> tuple[str, str] | None:
    """Whose it is: by what was ordered, by what the provider gave back, or by the customer."""
    for known in (order, subscription):
        if known is not None:
            return known.tenant, known.account_id
    if reading.account_id:
        return reading.tenant or DEFAULT_TENANT, reading.account_id
    customers = [fact.customer for fact in reading.facts if isinstance(fact, CustomerSeen)]
    return account_of_customer(connection, customers[0]) if customers else None


def _unknown(connection: Connection, reading: Reading, subscription: str) -> Unknown:
    names = [name for name in (*reading.refs, subscription) if name]
    known = owners_of(connection, names)
    told = ", ".join(names) or "nothing"
    waits = tuple(name for name in names if name not in known)
    return Unknown(refs=waits, why=f"No order or subscription is known for {told}.")


def _by_price(connection: Connection, tenant: str) -> dict[str, Plan]:
    return {price: plan for plan in read_plans(connection, tenant) for price in plan.stripe_prices}


def _with_names(order: Order, reading: Reading) -> Order:
    """The order with what the provider calls it, as far as it has no name yet."""
    names = own_names(order, reading)
    named = next((name for name in names if name.startswith(f"{order.kind.prefix}_")), "")
    intent = next((name for name in names if name.startswith("pi_")), "")
    return replace(order, stripe_id=order.stripe_id or named, payment_intent=order.payment_intent or intent)


def own_names(order: Order, reading: Reading) -> tuple[str, ...]:
    """Those of a reading's names that are the order's; the payments of a subscription are its invoices'."""
    if order.kind is OrderKind.SUBSCRIBE:
        return tuple(name for name in reading.refs if name.startswith("cs_"))
    return reading.refs


def names_learned(found: Found, reading: Reading) -> Write:
    """Notes which names belong to what was found, and as whom the provider knows the customer."""

    def write(connection: Connection) -> None:
        if found.order is not None:
            keep_refs(connection, own_names(found.order, reading), found.order.order_id)
        if found.subscription is not None:
            name = found.subscription.subscription
            ends = [period_ref(name, period.end) for period in found.subscription.periods]
            told = change_ref(name, len({change.order_id for change in found.subscription.changes}))
            keep_refs(connection, [name, *ends, told], name)
        for fact in reading.facts:
            if isinstance(fact, CustomerSeen):
                _keep_seen(connection, found.account, fact)

    return write


def _keep_seen(connection: Connection, account: tuple[str, str], seen: CustomerSeen) -> None:
    """The newest counts; a payment method is kept as long as no other is seen."""
    known = read_customer(connection, *account)
    method = seen.payment_method
    if known is not None:
        if known.seen_at > seen.at and (known.payment_method or not method):
            return
        method = method or (known.payment_method if known.customer == seen.customer else "")
    customer = Customer(
        tenant=account[0],
        account_id=account[1],
        customer=seen.customer,
        payment_method=method,
        seen_at=seen.at,
        version=0 if known is None else known.version,
    )
    keep_customer(connection, customer)
