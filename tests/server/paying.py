"""A server, a stand-in for Stripe, and a customer who buys: over real gRPC and real HTTP."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from scrip.v1.billing_service_pb2 import AutoRecharge, Consent, Order, Package, PackageContent, StripeEvent
from scrip.v1.types_pb2 import Money

from tests.fake_stripe import API_KEY, SECRET, FakeStripe
from tests.server.asking import Asking, asking

PATIENCE_S = 20
PRICE = Money(minor_units=1999, currency="EUR")
CONSENT = Consent(text="terms of 2026-01", actor="jo@acme.example", at=Timestamp(seconds=1_767_225_600))
URL = "https://shop.example/done?order={ORDER_ID}"


def eventually(is_so: Callable[[], Any], what: str = "") -> Any:
    """What it answers once that is something; a server does by itself what nobody waits for."""
    until = time.monotonic() + PATIENCE_S
    while not (found := is_so()):
        assert time.monotonic() < until, f"it never came to this: {what or is_so}"
        time.sleep(0.01)
    return found


class Paying:
    """Somebody who buys from a server.

    ask       the server
    stripe    where it is paid
    clock     of both
    """

    def __init__(self, ask: Asking, stripe: FakeStripe, clock: Callable[[], datetime]) -> None:
        self.ask, self.stripe, self.clock = ask, stripe, clock

    def sell(self, name: str = "starter", **fields: Any) -> Package:
        """Puts a package on sale: 100 credits, unless it says otherwise."""
        usual = {"title": "Starter", "contents": [PackageContent(credits=100)], "price": PRICE}
        return self.ask("CreatePackage", package=Package(package=name, **{**usual, **fields})).package

    def order(self, **fields: Any) -> Order:
        """A checkout of a package."""
        usual = {"package": "starter", "success_url": URL, "cancel_url": "https://shop.example/"}
        return self.ask("CreateCheckout", **{**usual, **fields}).order

    def pay(self, order: Order) -> list[dict[str, Any]]:
        """The customer pays an order; the events of it are not sent yet."""
        return self.stripe.world.pay(order.stripe_id)

    def send(self, events: list[dict[str, Any]], **how: Any) -> list[int]:
        """Sends events to the webhook, signed now; answers the status of each."""
        return self.stripe.send(events, at=int(self.clock().timestamp()), **how)

    def hear(self, events: list[dict[str, Any]], **how: Any) -> None:
        """Sends events to the webhook, and waits until each is applied, ignored or set aside.

        What could not be stored in time is sent again, as Stripe does it.
        """
        statuses = set(self.send(events, **how))
        while statuses != {200}:
            assert statuses <= {200, 503}
            statuses = set(self.send(events))
        eventually(lambda: not self.events(StripeEvent.STATE_RECEIVED), "all events are looked at")

    def events(self, state: int = StripeEvent.STATE_UNSPECIFIED) -> list[StripeEvent]:
        """The events that the server has."""
        return list(self.ask("ListStripeEvents", state=state, page_size=500).events)

    def found(self, order: Order) -> Order:
        """An order as it stands now, without asking Stripe."""
        (found,) = [one for one in self.ask("ListOrders", page_size=500).orders if one.order_id == order.order_id]
        return found

    def available(self, account_id: str = "acme") -> int:
        """What a customer has."""
        (balance,) = self.ask("GetBalance", account_id=account_id, asset="credits").balances
        return balance.available

    def grants(self, account_id: str = "acme") -> int:
        """How many lots a customer was ever given."""
        return len(self.ask("ListLots", account_id=account_id, include_empty=True, page_size=500).lots)

    # Accounts that recharge themselves.

    def begin(self) -> None:
        """The customer buys 100 credits, and leaves a payment method."""
        self.sell()
        self.hear(self.pay(self.order(save_payment_method=True)))

    def recharge(self, **fields: Any) -> AutoRecharge:
        """Lets an account recharge itself below 50 credits."""
        usual = {"account_id": "acme", "enabled": True, "threshold": 50, "package": "starter"}
        wanted = AutoRecharge(
            **{**usual, "cap": Money(minor_units=100_000, currency="EUR"), "consent": CONSENT, **fields}
        )
        return self.ask("SetAutoRecharge", auto_recharge=wanted).auto_recharge

    def spend(self, amount: int) -> None:
        """The customer uses credits."""
        self.ask("CheckAndDeduct", amount=amount)

    def charges(self) -> list[dict[str, Any]]:
        """What was charged without the customer, declined or not."""
        orders = self.ask("ListOrders", account_id="acme", page_size=500).orders
        recharges = {order.order_id for order in orders if order.kind == Order.KIND_RECHARGE}
        intents = self.stripe.world.all("payment_intent")
        return [intent for intent in intents if intent["metadata"].get("scrip_order") in recharges]


@contextmanager
def paying(
    url: str, clock: Callable[[], datetime], stripe: FakeStripe | None = None, **settings: Any
) -> Iterator[Paying]:
    """A server on these books that takes payments; with its own stand-in for Stripe unless there is one."""
    if stripe is None:
        with FakeStripe(clock=lambda: int(clock().timestamp())) as own, paying(url, clock, own, **settings) as buyer:
            yield buyer
        return
    usual = {
        "http_listen": "127.0.0.1:0",
        "public_url": "http://127.0.0.1:8080",
        "link_secret": "a secret of 32 characters or more",
        "stripe_api_key": API_KEY,
        "stripe_webhook_secret": SECRET,
        "stripe_api_base": stripe.url,
        "recharge_s": 0,
    }
    with asking(url, clock, **{**usual, **settings}) as ask:
        stripe.webhook_url = f"http://127.0.0.1:{ask.http_port}/stripe/webhook"
        yield Paying(ask, stripe, clock)
