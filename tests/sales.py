"""A shop on real books: what tests of billing have in common."""

import random
from datetime import timedelta
from itertools import count

from ledger import AccountName as Name
from ledger import (
    AssetPolicy,
    Checkout,
    Deduct,
    DisputeSeen,
    DisputeStatus,
    EventState,
    InvoiceLine,
    InvoicePaid,
    Money,
    Package,
    PackageContent,
    Paid,
    Plan,
    PlanContent,
    Reading,
    RefundSeen,
    RefundStatus,
    StripeEvent,
    SubscriptionSeen,
    SubscriptionState,
)
from tests.books import START

AUTO_OPEN = AssetPolicy(auto_open=True)
URLS = {"success_url": "https://shop.example/thanks", "cancel_url": "https://shop.example/"}
OPEN, WON, LOST = DisputeStatus.OPEN, DisputeStatus.WON, DisputeStatus.LOST
SUCCEEDED, PENDING, FAILED = RefundStatus.SUCCEEDED, RefundStatus.PENDING, RefundStatus.FAILED
OURS = {"tenant": "default", "account_id": "acme", "subscription": "sub_1"}
DAY = timedelta(days=1)
numbers = count(1)


def eur(minor_units):
    return Money(minor_units=minor_units, currency="EUR")


def account(asset="credits", account_id="acme"):
    return Name(tenant="default", account_id=account_id, asset=asset)


def package(*contents, price=1000, **given):
    contents = contents or (PackageContent(credits=100),)
    return Package(**{"package": "starter", "title": "Starter", "contents": contents, "price": eur(price), **given})


def plan(*contents, name="pro", price="price_pro", **given):
    contents = contents or (PlanContent(credits=100),)
    return Plan(**{"plan": name, "title": "Pro", "stripe_prices": (price,), "contents": contents, **given})


def paid(minor_units=1000, at=0):
    return Paid(money=eur(minor_units), livemode=False, at=START + timedelta(seconds=at))


def refund(amount, name="re_1", status=SUCCEEDED):
    return RefundSeen(refund=name, amount=amount, status=status)


def dispute(amount=1000, status=OPEN, at=0, name="du_1", **flags):
    return DisputeSeen(dispute=name, amount=amount, status=status, at=START + timedelta(seconds=at), **flags)


def days(number):
    return START + timedelta(days=number)


def line(start, end, *, price="price_pro", amount=1000, proration=False, quantity=1):
    return InvoiceLine(
        price=price, quantity=quantity, is_proration=proration, amount=amount, start=days(start), end=days(end)
    )


def invoice(name, *lines, minor_units=1000, at=0, subscription="sub_1"):
    return InvoicePaid(
        invoice=name,
        subscription=subscription,
        money=eur(minor_units),
        livemode=False,
        lines=lines,
        at=days(at),
    )


def seen(state=SubscriptionState.ACTIVE, at=0, event="evt_s", prices=("price_pro",), subscription="sub_1"):
    return SubscriptionSeen(subscription=subscription, state=state, prices=prices, at=days(at), event=event)


class Shop:
    """Sells one package, or plans, to a customer.

    told   every event so far, as it was read
    clock  says when events are received; None: all at the beginning
    """

    def __init__(self, ledger, rules=None, customer="acme", clock=None):
        self.ledger, self.customer, self.clock = ledger, customer, clock
        self.billing = ledger.billing() if rules is None else ledger.billing(rules)
        self.told = []

    def checkout(self, sold=None):
        """A checkout of a package that the provider has named."""
        self.billing.create_package("default", sold or package())
        name = (sold or package()).package
        asked = Checkout(tenant="default", request_id=f"buy-{name}", account_id=self.customer, package=name, **URLS)
        order = self.billing.create_checkout(asked).order
        session = f"cs_{name}" if self.customer == "acme" else f"cs_{self.customer}"
        return self.billing.name_order("default", order.order_id, stripe_id=session, url="https://pay.example/1")

    def event(self, *facts, refs=("pi_1",), event_id="", **given):
        """An event is stored and applied."""
        name = event_id or f"evt_{next(numbers)}"
        self.store(name)
        reading = Reading(event_id=name, refs=refs, facts=facts, **given)
        self.told.append(reading)
        return self.billing.apply_event(reading)

    def store(self, name):
        at = START if self.clock is None else self.clock.now
        return self.billing.store_event(
            StripeEvent(event_id=name, type="t", payload="{}", livemode=False, created_at=START, received_at=at)
        )

    def pending(self, readings):
        """Applies what is received until nothing is."""
        by_name = {reading.event_id: reading for reading in readings}
        while pending := self.billing.pending_events():
            for event in pending:
                self.billing.apply_event(by_name[event.event_id])

    def shuffled(self, seed, readings):
        """Tells readings in another order and some of them twice, as if they came by the webhook."""
        chance = random.Random(seed)
        told = [*readings, *chance.choices(readings, k=2)]
        chance.shuffle(told)
        for reading in told:
            self.store(reading.event_id)
            self.billing.apply_event(reading)
            self.pending(readings)

    def order(self, order_id):
        return self.billing.order("default", order_id)

    def spend(self, amount, asset="credits"):
        spent = Deduct(request_id=f"spend-{next(numbers)}", account=account(asset, self.customer), amount=amount)
        return self.ledger.execute(spent)

    def sides(self, asset="credits"):
        """Available, held and owed."""
        found = self.ledger.balances("default", self.customer, asset)
        balance = found.balances[0]
        return balance.available, balance.held, balance.owed

    def set_aside(self):
        return {event.event_id for event in self.billing.events(EventState.SET_ASIDE).events}


def pay(shop, name, *lines, at=0, minor_units=1000, event_id="", **given):
    """An invoice of a subscription is paid; answers its event."""
    fact = invoice(name, *lines, at=at, minor_units=minor_units)
    return shop.event(fact, refs=(name,), event_id=event_id, **{**OURS, **given})


def lots(shop, asset="credits"):
    """What each lot has left, and when it runs out, counted in days."""
    found = shop.ledger.lots(account(asset), include_empty=True).lots
    return [
        (lot.remaining, None if lot.terms.expires_at is None else (lot.terms.expires_at - START) / DAY) for lot in found
    ]
