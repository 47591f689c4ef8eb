"""What follows a payment: subscriptions, money that goes back, links to the purchase page."""

import re
from datetime import timedelta
from urllib.parse import urlencode, urlsplit

import pytest
import requests
from google.protobuf.duration_pb2 import Duration
from scrip.v1.billing_service_pb2 import Order, Plan, PlanContent, StripeEvent, Subscription

from tests.books import DAY
from tests.fake_stripe import Fault
from tests.server.http_asking import HttpAsking
from tests.server.paying import Paying, eventually, paying

MINUTE = timedelta(minutes=1)


@pytest.fixture
def buyer(sqlite_url, clock):
    """A customer of a server on empty books, which sells a package of 100 credits for 19.99 EUR."""
    with paying(sqlite_url, clock) as buyer:
        buyer.sell()
        yield buyer


def subscribe(buyer: Paying) -> Order:
    """An order of a plan of 500 credits a month."""
    buyer.stripe.world.price("price_pro", 1000, currency="eur", interval="month")
    plan = Plan(plan="pro", title="Pro", stripe_prices=["price_pro"], contents=[PlanContent(credits=500)], active=True)
    buyer.ask("PutPlan", plan=plan)
    return buyer.order(package=None, plan="pro")


def intent_of(events: list[dict]) -> str:
    (intent,) = [event for event in events if event["type"] == "payment_intent.succeeded"]
    return intent["data"]["object"]["id"]


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_a_plan_grants_by_its_invoices(buyer, seed, logged):
    order = subscribe(buyer)

    buyer.hear(buyer.pay(order), shuffled=seed)

    (subscription,) = buyer.ask("ListSubscriptions", account_id="acme").subscriptions
    assert (subscription.plan, subscription.state) == ("pro", Subscription.STATE_ACTIVE)
    assert (buyer.available(), buyer.grants()) == (500, 1)
    assert {one.kind for one in buyer.ask("ListOrders").orders} == {Order.KIND_SUBSCRIBE, Order.KIND_INVOICE}
    assert buyer.events(StripeEvent.STATE_SET_ASIDE) == []
    # A payment that is told of before its invoice is no reason for alarm.
    assert [event for event in logged if event["log_level"] == "error"] == []


def test_the_success_page_of_a_plan_need_not_wait_for_the_webhook(buyer):
    order = subscribe(buyer)
    events = buyer.pay(order)

    buyer.ask("GetCheckout", order_id=order.order_id)
    at_once = buyer.available()
    buyer.hear(events)

    assert at_once == 500
    assert buyer.grants() == 1


def test_a_subscription_is_renewed_and_what_was_granted_before_runs_out(buyer, clock):
    events = buyer.pay(subscribe(buyer))
    buyer.hear(events)
    (subscription,) = buyer.ask("ListSubscriptions").subscriptions

    clock.now = subscription.paid_until.ToDatetime(tzinfo=clock.now.tzinfo)
    buyer.hear(buyer.stripe.world.renew(subscription.subscription_id))
    renewed = buyer.available()
    clock.now += DAY
    buyer.hear(buyer.stripe.world.cancel(subscription.subscription_id))

    assert (renewed, buyer.grants()) == (500, 2)
    assert buyer.ask("ListSubscriptions").subscriptions[0].state == Subscription.STATE_ENDED
    assert buyer.available() == 500


@pytest.mark.parametrize("how", ["replay", "reconcile"])
def test_an_invoice_with_more_lines_than_are_told_is_set_aside_until_its_lines_are_fetched(buyer, how):
    events = buyer.pay(subscribe(buyer))
    told = [without_lines(event) if event["type"] == "invoice.paid" else event for event in events]
    (paid,) = [event for event in told if event["type"] == "invoice.paid"]
    buyer.hear(told)
    aside = [event.event_id for event in buyer.events(StripeEvent.STATE_SET_ASIDE) if "more lines" in event.why]

    if how == "replay":
        buyer.ask("ReplayStripeEvent", event_id=paid["id"])
    else:
        buyer.ask("Reconcile", days=1, post=True)

    assert aside == [paid["id"]]
    eventually(lambda: not buyer.events(StripeEvent.STATE_SET_ASIDE), "what waited for the invoice is applied, too")
    assert (buyer.available(), buyer.grants()) == (500, 1)


def without_lines(event: dict) -> dict:
    """An event about an invoice with so many lines that it tells the first of them only."""
    lines = {**event["data"]["object"]["lines"], "data": [], "has_more": True}
    return {**event, "data": {**event["data"], "object": {**event["data"]["object"], "lines": lines}}}


def test_what_holds_keep_back_of_a_refund_is_revoked_when_they_end(buyer, clock):
    order = buyer.order()
    events = buyer.pay(order)
    buyer.hear(events)
    hold = buyer.ask("Hold", amount=40, ttl=Duration(seconds=3_600)).hold_id

    buyer.hear(buyer.stripe.world.refund(intent_of(events)))
    meanwhile = buyer.available()
    released = buyer.ask("Release", hold_id=hold).balance.available
    clock.now += MINUTE

    assert (meanwhile, released) == (0, 40)
    eventually(lambda: buyer.available() == 0, "what was held is revoked too")
    assert buyer.found(order).state == Order.STATE_RETURNED


@pytest.mark.parametrize(("policy", "owed"), [("owe", 30), ("write_off", 0)])
def test_what_is_spent_of_what_went_back_is_owed_or_written_off(sqlite_url, clock, policy, owed):
    with paying(sqlite_url, clock, returned_credits=policy) as buyer:
        buyer.sell()
        events = buyer.pay(buyer.order())
        buyer.hear(events)
        buyer.spend(30)

        buyer.hear(buyer.stripe.world.refund(intent_of(events)))

        (balance,) = buyer.ask("GetBalance", asset="credits").balances
        assert (balance.available, balance.owed) == (0, owed)


def test_a_dispute_holds_what_is_unspent_until_it_is_decided(buyer):
    order = buyer.order()
    events = buyer.pay(order)
    buyer.hear(events)
    world = buyer.stripe.world

    opened = world.dispute(intent_of(events))
    dispute = opened[0]["data"]["object"]["id"]
    buyer.hear(opened)
    disputed = (buyer.available(), buyer.found(order).state)
    buyer.hear(world.win(dispute))

    assert disputed == (0, Order.STATE_DISPUTED)
    assert (buyer.available(), buyer.found(order).state) == (100, Order.STATE_FULFILLED)


def test_whoever_has_a_link_sees_the_packages_and_buys_one(buyer):
    buyer.ask("OpenAccount")
    link = buyer.ask("CreatePurchaseLink")
    page = f"http://127.0.0.1:{buyer.ask.http_port}/buy/{link.url.rpartition('/')[2]}"

    shown = requests.get(page, timeout=10).text
    nonce = re.search(r'name="nonce" value="([^"]+)"', shown)[1]
    form = {"package": "starter", "nonce": nonce}
    first, again = (requests.post(page, data=form, timeout=10, allow_redirects=False) for _ in range(2))

    (order,) = buyer.ask("ListOrders").orders
    assert "Starter" in shown
    assert first.status_code == again.status_code == 303
    assert first.headers["Location"] == again.headers["Location"] == order.url
    buyer.pay(order)
    back = requests.get(f"{page}/done", params={"order": order.order_id}, timeout=10)
    assert "Your credits are there" in back.text
    assert buyer.available() == 100


def test_a_link_is_good_for_an_hour_unless_it_is_said_otherwise(buyer, clock):
    buyer.ask("OpenAccount")

    usual = buyer.ask("CreatePurchaseLink")
    long = buyer.ask("CreatePurchaseLink", ttl=Duration(seconds=86_400))

    assert usual.expires_at.ToDatetime(tzinfo=clock.now.tzinfo) == clock.now + timedelta(hours=1)
    assert long.expires_at.ToDatetime(tzinfo=clock.now.tzinfo) == clock.now + DAY
    assert buyer.ask.refusal("CreatePurchaseLink", account_id="nobody").reason == "ACCOUNT_NOT_FOUND"
    assert buyer.ask.refusal("CreatePurchaseLink", asset="points").reason == "ASSET_NOT_FOUND"


@pytest.mark.parametrize("setting", ["public_url", "link_secret", "http_listen"])
def test_without_a_page_there_are_no_links(sqlite_url, clock, setting):
    with paying(sqlite_url, clock, **{setting: ""}) as buyer:
        buyer.ask("OpenAccount")

        told = buyer.ask.refusal("CreatePurchaseLink")

        assert (told.reason, told.metadata) == ("PAYMENTS_NOT_CONFIGURED", {"setting": setting})


def test_what_is_counted_of_payments_is_shown(buyer):
    buyer.stripe.faults.append(Fault(500, path="sessions", times=3))
    buyer.ask.refusal(
        "CreateCheckout", package="starter", success_url="https://a.example/", cancel_url="https://a.example/"
    )
    buyer.hear(buyer.pay(buyer.order()))

    def figures():
        return requests.get(f"http://127.0.0.1:{buyer.ask.http_port}/metrics", timeout=10).text

    # An event is counted a moment after it is known to be applied.
    eventually(lambda: 'scrip_stripe_events_total{state="applied"} 2.0' in figures())
    assert 'scrip_stripe_events_total{state="set_aside"} 0.0' in figures()
    assert 'scrip_stripe_call_seconds_count{call="create_session",outcome="ok"} 1.0' in figures()
    assert 'scrip_stripe_call_seconds_count{call="create_session",outcome="unavailable"} 1.0' in figures()


def test_who_buys_by_a_link_is_no_customer_to_stripe_and_stripe_is_not_asked_at_each_look(buyer, clock):
    buyer.hear(buyer.pay(buyer.order(save_payment_method=True)))
    clock.now += timedelta(seconds=1)
    path = urlsplit(buyer.ask("CreatePurchaseLink").url).path
    ask = HttpAsking(buyer.ask.http_port)
    form = urlencode({"package": "starter", "nonce": "n" * 16}).encode()
    to_stripe = ask("POST", path, form, Content_Type="application/x-www-form-urlencoded")
    order = buyer.ask("ListOrders").orders[0]

    def looks():
        ask("GET", f"{path}/done?order={order.order_id}")
        return len([call for call in buyer.stripe.calls if call.method == "GET" and order.stripe_id in call.path])

    at_once = [looks() for _ in range(3)]
    clock.now += timedelta(seconds=5)

    assert (to_stripe.status, to_stripe.headers["location"]) == (303, order.url)
    assert buyer.stripe.world.get(order.stripe_id)["customer"] is None
    assert [*at_once, looks()] == [1, 1, 1, 2]


def test_a_checkout_that_is_paid_after_its_account_was_merged_is_told_where_its_credits_are(buyer):
    order = buyer.order(account_id="visitor")
    for account_id in ("visitor", "acme"):
        buyer.ask("OpenAccount", account_id=account_id)
    buyer.ask("MergeAccounts", account_id="visitor", into_account_id="acme")

    buyer.hear(buyer.pay(order))
    told = buyer.ask("GetCheckout", order_id=order.order_id)

    assert (told.order.state, told.order.account_id) == (Order.STATE_FULFILLED, "visitor")
    assert [(balance.account_id, balance.available) for balance in told.balances] == [("acme", 100)]
    (lot,) = buyer.ask("ListLots").lots
    assert list(told.order.lot_ids) == [lot.lot_id]
    assert buyer.events(StripeEvent.STATE_SET_ASIDE) == []
