"""What the client promises of packages, orders and payments, shown against a server and a stand-in for Stripe."""

from datetime import timedelta

import pytest
import scrip

from server.config import Settings
from tests.books import START
from tests.fake_stripe import Fault
from tests.running_server import RunningServer
from tests.server.paying import paying

URLS = {"success_url": "https://shop.example/{ORDER_ID}", "cancel_url": "https://shop.example/"}
STARTER = {
    "title": "Starter",
    "price": (1999, "EUR"),
    "contents": [scrip.PackageContent(credits=100, bonus_credits=10, bonus_validity=timedelta(days=30))],
}
CONSENT = scrip.Consent(text="https://shop.example/terms", actor="anna", at=START)


@pytest.fixture
def buyer(sqlite_url, clock):
    """A customer of a server on empty books, and the stand-in where it is paid."""
    with paying(sqlite_url, clock) as buyer:
        yield buyer


@pytest.fixture
def shop(buyer):
    """A client of a server that sells one package."""
    with scrip.Client(buyer.ask.target) as client:
        client.open_account("acme")
        client.create_package("starter", **STARTER)
        yield client


def ordered(shop, **terms):
    return shop.create_checkout("acme", package="starter", **URLS, **terms).order


def test_packages_are_made_changed_and_taken_off_sale(shop):
    again = shop.create_package("starter", **STARTER)
    with pytest.raises(scrip.PackageExists) as exists:
        shop.create_package("starter", **(STARTER | {"title": "Other"}))
    changed = shop.update_package("starter", **(STARTER | {"title": "Other", "sort_order": 5, "metadata": {"a": "b"}}))
    shop.create_package("first", **STARTER)
    listed = shop.packages()
    off_sale = shop.deactivate_package("starter")
    with pytest.raises(scrip.PackageNotFound) as missing:
        ordered(shop)
    with pytest.raises(scrip.AssetNotFound):
        shop.create_package("x", **(STARTER | {"contents": [scrip.PackageContent(credits=1, asset="nothing")]}))

    assert (again.active, again.contents[0].bonus_credits, exists.value.package) == (True, 10, "starter")
    assert (changed.title, changed.metadata["a"], off_sale.active) == ("Other", "b", False)
    assert [package.package for package in listed] == ["first", "starter"]
    assert [package.package for package in shop.packages()] == ["first"]
    assert [package.package for package in shop.packages(asset="credits", include_inactive=True)] == [
        "first",
        "starter",
    ]
    assert missing.value.package == "starter"
    assert shop.update_package("starter", **STARTER).active
    with pytest.raises(scrip.ChangedMeanwhile) as stale:
        shop.update_package("starter", **(STARTER | {"title": "Late"}), version=again.version)
    assert stale.value.what == "package starter"


def test_a_plan_is_put_and_listed(shop):
    contents = [scrip.PlanContent(credits=500, rollover=scrip.Rollover(share_percent=50, ttl=timedelta(days=9)))]

    made = shop.put_plan("pro", title="Pro", stripe_prices=["price_1"], contents=contents, grace=timedelta(days=2))
    shop.put_plan("old", title="Old", stripe_prices=["price_2"], contents=contents, granted="monthly", active=False)

    assert (made.contents[0].rollover.share_percent, made.change) == (50, scrip.Plan.CHANGE_PRO_RATA)
    assert [plan.plan for plan in shop.plans()] == ["pro"]
    assert [plan.plan for plan in shop.plans(include_inactive=True)] == ["old", "pro"]


def test_what_is_ordered_and_paid_is_granted_and_shown_to_the_customer(buyer, shop):
    first = shop.create_checkout("acme", package="starter", request_id="cart-7", **URLS)
    again = shop.create_checkout("acme", package="starter", request_id="cart-7", **URLS)
    with pytest.raises(scrip.RequestIdReused) as reused:
        shop.create_checkout("acme", plan="pro", request_id="cart-7", **URLS)
    unpaid = shop.checkout(first.order.order_id)
    buyer.pay(first.order)
    paid = shop.checkout(first.order.order_id)

    assert (again.replayed, again.order) == (True, first.order)
    assert (reused.value.order_id, reused.value.entry_id) == (first.order.order_id, "")
    assert (unpaid.order.state, unpaid.balances[0].available) == (scrip.Order.STATE_OPEN, 0)
    assert (paid.order.state, paid.balances[0].available) == (scrip.Order.STATE_FULFILLED, 110)
    assert {lot.package: lot.granted for lot in shop.lots("acme")} == {"starter": 100, "": 10}
    with pytest.raises(scrip.OrderNotFound):
        shop.checkout("or_nobody")


def test_orders_are_listed_newest_first_whoever_made_them(buyer, shop, clock, way):
    made = []
    for name in ("acme", "bob", "acme"):
        clock.now += timedelta(seconds=1)
        made.append(shop.create_checkout(name, package="starter", **URLS).order.order_id)

    def listed(*who):
        found = way.walk(buyer.ask.target, lambda client: client.orders(*who, page_size=1))
        return [order.order_id for order in found]

    assert listed() == made[::-1]
    assert listed("acme") == [made[2], made[0]]
    with pytest.raises(scrip.InvalidPageToken):
        shop.orders_page(page_token="nonsense")


def test_an_order_is_fulfilled_by_hand_once_and_not_after_its_money_went_back(buyer, shop):
    by_hand, paid = ordered(shop), ordered(shop)
    events = buyer.pay(by_hand)
    made = shop.fulfil(by_hand.order_id, description="paid by transfer", actor="anna")
    again = shop.fulfil(by_hand.order_id, description="paid by transfer", actor="anna")
    buyer.hear([*events, *buyer.pay(paid)])
    for order in (by_hand, paid):
        buyer.hear(buyer.stripe.world.refund(shop.checkout(order.order_id).order.payment_intent))

    later = shop.fulfil(by_hand.order_id, description="once more", actor="anna")
    with pytest.raises(scrip.OrderNotFulfillable) as refused:
        shop.fulfil(paid.order_id, description="once more", actor="anna")

    assert (made.replayed, again.replayed, later.replayed) == (False, True, True)
    assert (refused.value.order_id, refused.value.state) == (paid.order_id, "returned")
    assert shop.balance("acme").available == 0


def test_an_account_recharges_itself_once_there_is_a_payment_method(buyer, shop):
    off = shop.auto_recharge("acme")
    wish = {"enabled": True, "threshold": 20, "package": "starter", "cap": (5000, "EUR"), "consent": CONSENT}
    with pytest.raises(scrip.NoPaymentMethod) as refused:
        shop.set_auto_recharge("acme", **wish)
    buyer.hear(buyer.pay(ordered(shop, save_payment_method=True)))
    on = shop.set_auto_recharge("acme", **wish)

    assert (off.enabled, off.asset, refused.value.account_id) == (False, "credits", "acme")
    assert shop.auto_recharge("acme") == on
    assert (on.threshold, on.consent.actor, on.consent.at.ToDatetime(tzinfo=START.tzinfo)) == (20, "anna", START)
    assert not shop.set_auto_recharge("acme", enabled=False).enabled


def test_events_of_stripe_are_listed_replayed_and_found_if_they_were_lost(buyer, shop, way):
    order = ordered(shop)
    lost = buyer.pay(order)

    missing = shop.reconcile(1)
    before = shop.balance("acme").available
    posted = shop.reconcile(1, post=True)
    after = shop.balance("acme").available
    event = shop.replay_stripe_event(lost[0]["id"])
    listed = way.walk(buyer.ask.target, lambda client: client.stripe_events(page_size=1))
    with pytest.raises(scrip.EventNotFound) as nothing:
        shop.replay_stripe_event("evt_nobody")

    assert {one.event_id for one in missing.events} <= {one["id"] for one in lost}
    assert (missing.found, before, after) == (len(posted.events), 0, 110)
    assert event.event_id == lost[0]["id"]
    assert {one.event_id for one in listed} >= {one.event_id for one in posted.events}
    assert list(shop.stripe_events(state="received")) == []
    assert nothing.value.event_id == "evt_nobody"


def test_a_purchase_link_is_made_for_a_customer(shop, clock):
    link = shop.create_purchase_link("acme", ttl=timedelta(minutes=5))

    assert link.url.startswith("http://127.0.0.1:8080/buy/")
    assert link.expires_at.ToDatetime(tzinfo=START.tzinfo) == clock.now + timedelta(minutes=5)
    with pytest.raises(scrip.AccountNotFound):
        shop.create_purchase_link("nobody")


def test_nobody_has_a_subscription_before_one_is_paid(shop):
    assert list(shop.subscriptions()) == list(shop.subscriptions("acme")) == []


def test_stripe_that_does_not_answer_is_told_and_the_same_checkout_is_one_order(buyer, shop):
    buyer.stripe.faults.append(Fault(what=500, path="/v1/checkout/sessions", times=100))
    once = [("grpc.enable_retries", 0)]
    with (
        scrip.Client(buyer.ask.target, channel_options=once) as client,
        pytest.raises(scrip.StripeUnavailable) as failed,
    ):
        ordered(client, request_id="cart-7")
    buyer.stripe.faults.clear()
    order = ordered(shop, request_id=failed.value.request_id)

    assert failed.value.request_id == "cart-7"
    assert failed.value.stripe_message
    assert failed.value.retry_after_s > 0
    assert [one.order_id for one in shop.orders()] == [order.order_id]
    assert order.url


def test_what_stripe_refuses_is_told_in_its_words(shop):
    shop.put_plan("pro", title="Pro", stripe_prices=["price_nobody"], contents=[scrip.PlanContent(credits=1)])

    with pytest.raises(scrip.StripeRefused) as refused:
        shop.create_checkout("acme", plan="pro", **URLS)
    with pytest.raises(scrip.PlanNotFound) as missing:
        shop.create_checkout("acme", plan="none", **URLS)

    assert "price_nobody" in refused.value.stripe_message
    assert refused.value.stripe_code == "resource_missing"
    assert missing.value.plan == "none"


def test_a_server_without_payments_says_which_setting_it_lacks(sqlite_url, clock):
    settings = Settings(database=sqlite_url, listen="127.0.0.1:0", sweep_s=0, drain_s=0)

    with RunningServer(settings, clock) as server, scrip.Client(f"127.0.0.1:{server.port}") as client:
        client.create_package("starter", **STARTER)
        with pytest.raises(scrip.PaymentsNotConfigured) as refused:
            client.create_checkout("acme", package="starter", **URLS)

    assert refused.value.setting == "stripe_api_key"
