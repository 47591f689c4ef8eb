"""From the checkout to the balance: whatever comes late, twice or never, what is paid is granted once."""

import json
import sqlite3
from contextlib import closing
from datetime import timedelta

import pytest
import requests
from scrip.v1.billing_service_pb2 import Order, Package, PackageContent, Plan, StripeEvent
from scrip.v1.types_pb2 import SOURCE_PURCHASE, Memo

from ledger import Billing
from server import payment_worker
from tests.books import DAY
from tests.fake_stripe import Fault
from tests.server.paying import PRICE, URL, Paying, eventually, paying
from tests.stripe_shapes import Shape

MINUTE = timedelta(minutes=1)
MEMO = Memo(description="paid by bank transfer", actor="jo")


@pytest.fixture
def buyer(sqlite_url, clock):
    """A customer of a server on empty books, which sells a package of 100 credits for 19.99 EUR."""
    with paying(sqlite_url, clock) as buyer:
        buyer.sell()
        yield buyer


def state_of(buyer: Paying, order: Order) -> str:
    return Order.State.Name(buyer.found(order).state)


def alarms_in(logged: list[dict]) -> list[dict]:
    return [event for event in logged if event["event"] == "stripe_event_set_aside"]


def changed(event: dict, **fields) -> dict:
    """An event whose object says something else."""
    about = {**event["data"]["object"], **fields}
    return {**event, "data": {**event["data"], "object": about}}


@pytest.mark.parametrize("shape", Shape)
def test_what_is_paid_is_granted(database_url, clock, shape):
    with paying(database_url, clock) as buyer:
        buyer.sell()
        order = buyer.order()

        buyer.hear(buyer.pay(order), shape=shape)

        found = buyer.found(order)
        assert buyer.available() == 100
        assert state_of(buyer, order) == "STATE_FULFILLED"
        assert (found.paid, found.returned, found.url) == (PRICE, 0, "")
        (lot,) = buyer.ask("ListLots").lots
        assert (lot.source, lot.cost) == (SOURCE_PURCHASE, PRICE)
        assert list(found.lot_ids) == [lot.lot_id]
        entry = buyer.ask("History").entries[0]
        assert entry.memo.reference == order.order_id
        assert entry.request_id == f"stripe:{order.stripe_id.replace('cs_', 'cs:cs_', 1)}"


def test_a_checkout_says_where_to_pay_and_stripe_what_for(buyer):
    order = buyer.order(request_id="r-1", success_url=URL)

    (session,) = buyer.stripe.world.all("checkout.session")
    assert (order.stripe_id, order.url) == (session["id"], session["url"])
    assert session["success_url"] == f"https://shop.example/done?order={order.order_id}"
    assert session["metadata"]["scrip_order"] == order.order_id
    assert (session["amount_total"], session["currency"]) == (1999, "eur")
    assert session["_asked"]["payment_intent_data"]["metadata"]["scrip_order"] == order.order_id


def test_a_repeated_checkout_is_one_order_and_one_session(buyer):
    first = buyer.ask("CreateCheckout", request_id="r-1", package="starter", success_url=URL, cancel_url=URL)
    again = buyer.ask("CreateCheckout", request_id="r-1", package="starter", success_url=URL, cancel_url=URL)

    assert (first.replayed, again.replayed) == (False, True)
    assert first.order == again.order
    assert len(buyer.stripe.world.all("checkout.session")) == 1


def test_a_request_id_of_another_checkout_is_refused(buyer):
    buyer.order(request_id="r-1")

    told = buyer.ask.refusal(
        "CreateCheckout", request_id="r-1", package="starter", success_url="https://other.example/", cancel_url=URL
    )

    assert (told.reason, told.metadata["fields"]) == ("REQUEST_ID_REUSED", "cancel_url,success_url")


def test_what_is_not_on_sale_cannot_be_ordered(buyer):
    buyer.ask("DeactivatePackage", package="starter")

    for package in ("starter", "nothing"):
        told = buyer.ask.refusal("CreateCheckout", package=package, success_url=URL, cancel_url=URL)
        assert (told.reason, told.metadata) == ("PACKAGE_NOT_FOUND", {"package": package})
    assert buyer.stripe.world.all("checkout.session") == []


def test_a_package_that_is_taken_off_sale_or_changed_before_it_is_paid_is_honoured_as_sold(buyer):
    order = buyer.order()
    package = Package(package="starter", title="Less", contents=[PackageContent(credits=1)], price=PRICE)
    buyer.ask("UpdatePackage", package=package)
    buyer.ask("DeactivatePackage", package="starter")

    buyer.hear(buyer.pay(order))

    assert buyer.available() == 100


def test_a_bundle_with_a_bonus_is_granted_whole(buyer):
    buyer.ask("DefineAsset", asset="images", scale=0)
    buyer.sell(
        "studio", contents=[PackageContent(credits=10, bonus_credits=3), PackageContent(asset="images", credits=5)]
    )
    order = buyer.order(package="studio")

    buyer.hear(buyer.pay(order))

    balances = {one.asset: one.available for one in buyer.ask("GetCheckout", order_id=order.order_id).balances}
    assert balances == {"credits": 13, "images": 5}
    assert len(buyer.found(order).lot_ids) == 3


@pytest.mark.parametrize("seed", range(5))
def test_events_that_come_twice_and_in_any_order_grant_once(buyer, seed):
    order = buyer.order()

    buyer.hear(buyer.pay(order), copies=3, shuffled=seed)

    assert (buyer.available(), buyer.grants()) == (100, 1)
    assert {event.state for event in buyer.events()} <= {StripeEvent.STATE_APPLIED, StripeEvent.STATE_IGNORED}


def test_a_body_that_is_sent_again_is_answered_alike_and_changes_nothing(buyer):
    order = buyer.order()
    events = buyer.pay(order)
    buyer.hear(events)
    before = buyer.events()

    buyer.hear(events)

    assert buyer.events() == before
    assert buyer.grants() == 1


@pytest.mark.parametrize("how", [{"secret": "whsec_of_somebody_else"}, {"at": 1_767_225_600 - 301}])
def test_what_stripe_did_not_sign_just_now_is_not_stored(buyer, how):
    order = buyer.order()

    statuses = buyer.stripe.send(buyer.pay(order), **{"at": 1_767_225_600, **how})

    assert set(statuses) == {400}
    assert buyer.events() == []


@pytest.mark.parametrize(
    "body", [b"", b"nonsense", b"[]", b"{}", b'{"object": "event"}', b'{"object": "event", "id": 1}']
)
def test_what_is_signed_but_is_no_event_is_refused(buyer, body):
    headers = buyer.stripe.headers(body, int(buyer.clock().timestamp()))

    assert requests.post(buyer.stripe.webhook_url, data=body, headers=headers, timeout=10).status_code == 400
    assert buyer.events() == []


@pytest.mark.parametrize("wrong", [{"amount_total": 1}, {"currency": "usd"}])
def test_what_is_paid_otherwise_than_ordered_grants_nothing_and_raises_the_alarm(buyer, wrong, logged):
    order = buyer.order()
    completed = buyer.pay(order)[-1]

    buyer.hear([changed(completed, **wrong)])

    assert state_of(buyer, order) == "STATE_MISMATCHED"
    told = buyer.ask.refusal("GetBalance", asset="credits")
    assert told.reason == "ACCOUNT_NOT_FOUND"
    assert eventually(lambda: [one for one in logged if one["event"] == "stripe_payment_mismatched"])


def test_live_events_are_set_aside_where_only_test_payments_are_taken(buyer, logged):
    order = buyer.order()
    events = [{**event, "livemode": True} for event in buyer.pay(order)]

    buyer.hear(events)

    assert {event.state for event in buyer.events()} == {StripeEvent.STATE_SET_ASIDE}
    assert "live mode" in buyer.events()[0].why
    assert state_of(buyer, order) == "STATE_OPEN"
    eventually(lambda: len(alarms_in(logged)) == len(events))


def test_what_belongs_to_nothing_known_is_set_aside_and_applied_once_it_does(buyer, clock, logged):
    order = buyer.order()
    events = buyer.pay(order)
    refunded = buyer.stripe.world.refund(events[1]["data"]["object"]["id"], 999)
    unknown = [changed(event, metadata={}) for event in refunded]

    buyer.hear(unknown)
    set_aside = buyer.events(StripeEvent.STATE_SET_ASIDE)
    at_once = alarms_in(logged)
    clock.now += MINUTE
    alarms = eventually(lambda: len(alarms_in(logged)) == 2 and alarms_in(logged))
    buyer.hear(events)

    assert {event.event_id for event in set_aside} == {event["id"] for event in refunded}
    assert all(event.why for event in set_aside)
    assert at_once == []
    assert {alarm["event_id"] for alarm in alarms} == {event["id"] for event in refunded}
    assert "metadata" not in json.dumps(alarms)
    assert buyer.events(StripeEvent.STATE_SET_ASIDE) == []
    assert state_of(buyer, order) == "STATE_PARTLY_RETURNED"
    assert buyer.available() == 100 - 999 * 100 // 1999


def test_the_success_page_need_not_wait_for_the_webhook(buyer):
    order = buyer.order()
    events = buyer.pay(order)

    seen = buyer.ask("GetCheckout", order_id=order.order_id)

    assert (Order.State.Name(seen.order.state), seen.balances[0].available) == ("STATE_FULFILLED", 100)
    buyer.hear(events)
    assert buyer.grants() == 1


def test_an_order_that_nobody_has_paid_is_open_and_one_that_expired_has_failed(buyer):
    order = buyer.order()
    asked = buyer.ask("GetCheckout", order_id=order.order_id)
    buyer.stripe.world.expire(order.stripe_id)
    expired = buyer.ask("GetCheckout", order_id=order.order_id)

    assert (asked.order, list(asked.balances)) == (order, [])
    assert Order.State.Name(expired.order.state) == "STATE_FAILED"


def test_an_order_is_shown_as_it_is_known_while_stripe_does_not_answer(buyer, logged):
    order = buyer.order()
    buyer.pay(order)
    buyer.stripe.faults.append(Fault(500, times=100))

    assert buyer.ask("GetCheckout", order_id=order.order_id).order == order
    assert "stripe_not_asked" in {event["event"] for event in logged}


@pytest.mark.parametrize("by_hand_first", [True, False])
def test_what_is_granted_by_hand_and_by_the_webhook_is_granted_once(buyer, by_hand_first):
    order = buyer.order()
    events = buyer.pay(order)
    if not by_hand_first:
        buyer.hear(events)

    made = buyer.ask("Fulfil", order_id=order.order_id, memo=MEMO)
    again = buyer.ask("Fulfil", order_id=order.order_id, memo=MEMO)
    buyer.hear(events)

    assert (made.replayed, again.replayed) == (not by_hand_first, True)
    assert (buyer.available(), buyer.grants()) == (100, 1)
    assert state_of(buyer, order) == "STATE_FULFILLED"


def test_what_went_back_cannot_be_granted_by_hand(buyer):
    order = buyer.order()
    events = buyer.pay(order)
    buyer.hear([*events, *buyer.stripe.world.refund(events[1]["data"]["object"]["id"])])

    told = buyer.ask.refusal("Fulfil", order_id=order.order_id, memo=MEMO)

    assert (told.reason, told.metadata["state"]) == ("ORDER_NOT_FULFILLABLE", "returned")
    assert buyer.available() == 0


def test_who_is_not_known_here_opens_an_account_by_paying(buyer):
    order = buyer.order(account_id="newcomer")

    buyer.hear(buyer.pay(order))

    assert buyer.available("newcomer") == 100


def test_an_account_that_was_closed_has_its_payment_set_aside_until_somebody_looks_at_it(
    sqlite_url, clock, logged, monkeypatch
):
    looks, look = [], Billing.settle_due
    monkeypatch.setattr(Billing, "settle_due", lambda billing: (looks.append(1), look(billing))[1])
    monkeypatch.setattr(payment_worker, "SETTLING_S", 0.02)
    with paying(sqlite_url, clock) as buyer:
        buyer.sell()
        assert_payment_of_a_closed_account_is_set_aside(buyer, logged, looks)


def assert_payment_of_a_closed_account_is_set_aside(buyer, logged, looks):
    buyer.ask("OpenAccount")
    order = buyer.order()
    buyer.ask("CloseAccount")

    buyer.hear(buyer.pay(order))

    eventually(lambda: len(alarms_in(logged)) == 2)
    assert {"account_closed" in event.why for event in buyer.events(StripeEvent.STATE_SET_ASIDE)} == {True}
    assert state_of(buyer, order) == "STATE_OPEN"
    # It is looked at again and again, and told once.
    before = len(looks)
    eventually(lambda: len(looks) > before + 10)
    assert len(alarms_in(logged)) == 2


def test_an_event_that_is_replayed_does_nothing_twice(buyer):
    order = buyer.order()
    events = buyer.pay(order)
    buyer.hear(events)

    replayed = [buyer.ask("ReplayStripeEvent", event_id=event["id"]).event for event in events]

    assert {event.state for event in replayed} <= {StripeEvent.STATE_APPLIED, StripeEvent.STATE_IGNORED}
    assert buyer.grants() == 1


def test_an_event_that_never_came_is_fetched_to_be_replayed(buyer):
    order = buyer.order()
    completed = buyer.pay(order)[-1]

    event = buyer.ask("ReplayStripeEvent", event_id=completed["id"]).event

    assert (event.state, event.order_id) == (StripeEvent.STATE_APPLIED, order.order_id)
    assert buyer.available() == 100


def test_what_a_lost_webhook_left_is_found_and_posted(buyer):
    lost, heard = buyer.order(), buyer.order(account_id="beta")
    events = buyer.pay(lost)
    buyer.hear(buyer.pay(heard))

    found = buyer.ask("Reconcile", days=1)
    buyer.ask.refusal("GetBalance", asset="credits")
    posted = buyer.ask("Reconcile", days=1, post=True)
    again = buyer.ask("Reconcile", days=1)

    wanted = [event["id"] for event in events if event["type"] != "charge.succeeded"]
    assert [event.event_id for event in found.events] == [event.event_id for event in posted.events] == wanted
    assert {event.state for event in found.events} == {StripeEvent.STATE_UNSPECIFIED}
    assert {event.state for event in posted.events} == {StripeEvent.STATE_APPLIED}
    assert found.found == posted.found == 2 * len(wanted)
    assert list(again.events) == []
    assert (buyer.available(), buyer.available("beta")) == (100, 100)


def test_what_events_said_is_forgotten_in_time_and_that_they_came_is_not(sqlite_url, clock, monkeypatch):
    monkeypatch.setattr(payment_worker, "FORGETTING_S", 0.01)
    with paying(sqlite_url, clock, stripe_payload_days=7) as buyer:
        buyer.sell()
        events = buyer.pay(buyer.order())
        lost = {**events[-1], "id": "evt_nobodys", "type": "charge.refunded"}
        buyer.hear([*events, changed(lost, id="ch_nobodys", payment_intent="pi_nobodys", metadata={})])
        clock.now += 6 * DAY
        newer = buyer.pay(buyer.order())
        buyer.hear(newer)
        clock.now += 2 * DAY

        eventually(lambda: sum(payloads(sqlite_url).values()) == len(newer) + 1)

        assert payloads(sqlite_url) == {"applied": 2, "ignored": 1, "set_aside": 1}
        assert buyer.ask("ReplayStripeEvent", event_id=events[-1]["id"]).event.state == StripeEvent.STATE_APPLIED
        buyer.stripe.world.events.clear()
        assert buyer.ask("ReplayStripeEvent", event_id=events[-1]["id"]).event.state == StripeEvent.STATE_APPLIED
        buyer.hear(events)
        assert (buyer.available(), buyer.grants()) == (200, 2)


def test_what_an_event_said_is_kept_again_if_its_replay_sets_it_aside(sqlite_url, clock, monkeypatch):
    monkeypatch.setattr(payment_worker, "FORGETTING_S", 0.01)
    with paying(sqlite_url, clock, stripe_payload_days=7) as buyer:
        buyer.stripe.world.price("price_pro", 1000, currency="eur", interval="month")
        plan = Plan(plan="pro", title="Pro", stripe_prices=["price_pro"], active=True)
        plan.contents.add(unlimited=True)
        buyer.ask("PutPlan", plan=plan)
        events = buyer.pay(buyer.order(package=None, plan="pro"))
        buyer.hear(events)
        clock.now += 8 * DAY
        eventually(lambda: payloads(sqlite_url) == {})
        buyer.ask("DefineAsset", asset="calls", scale=0)
        plan.contents.add(asset="calls", unlimited=True)
        buyer.ask("PutPlan", plan=plan)
        for call in ("OpenAccount", "CloseAccount"):
            buyer.ask(call, asset="calls")

        (begun,) = [event["id"] for event in events if event["type"] == "customer.subscription.created"]
        event = buyer.ask("ReplayStripeEvent", event_id=begun).event
        kept = payloads(sqlite_url)
        found = buyer.ask("Reconcile", days=30, post=True).events

        assert (event.state, kept) == (StripeEvent.STATE_SET_ASIDE, {"set_aside": 1})
        assert [(one.event_id, one.state) for one in found] == [(begun, StripeEvent.STATE_SET_ASIDE)]


def payloads(url: str) -> dict[str, int]:
    """Of how many events it is kept what they said, by their state."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as books:
        return dict(books.execute("SELECT state, count(*) FROM stripe_events WHERE payload <> '' GROUP BY state"))


def test_what_is_older_than_asked_for_is_not_reconciled(buyer):
    buyer.pay(buyer.order())
    buyer.clock.now += 2 * DAY

    assert buyer.ask("Reconcile", days=1).found == 0
    assert buyer.ask("Reconcile", days=3).found == 2


def test_stripe_that_does_not_answer_is_told_and_the_repeat_is_one_order(buyer):
    buyer.stripe.faults.append(Fault(500, times=100))
    told = buyer.ask.refusal("CreateCheckout", request_id="r-1", package="starter", success_url=URL, cancel_url=URL)
    buyer.stripe.faults.clear()

    order = buyer.order(request_id="r-1", cancel_url=URL)

    assert (told.code, told.reason, told.retry_after_s) == ("UNAVAILABLE", "STRIPE_UNAVAILABLE", 1)
    assert [one.order_id for one in buyer.ask("ListOrders").orders] == [order.order_id]
    assert len(buyer.stripe.world.all("checkout.session")) == 1


def test_an_answer_of_stripe_that_was_lost_is_had_by_the_repeat(buyer):
    buyer.stripe.faults.append(Fault("drop", times=100))
    buyer.ask.refusal("CreateCheckout", request_id="r-1", package="starter", success_url=URL, cancel_url=URL)
    buyer.stripe.faults.clear()

    order = buyer.order(request_id="r-1", cancel_url=URL)

    assert [session["id"] for session in buyer.stripe.world.all("checkout.session")] == [order.stripe_id]


def test_a_session_whose_answer_was_lost_is_had_again_although_the_package_has_another_title_now(buyer):
    buyer.stripe.faults.append(Fault("drop", times=100))
    buyer.ask.refusal("CreateCheckout", request_id="r-1", package="starter", success_url=URL, cancel_url=URL)
    buyer.stripe.faults.clear()
    package = Package(
        package="starter", title="Renamed", contents=[PackageContent(credits=1)], price=PRICE, active=True
    )
    buyer.ask("UpdatePackage", package=package)

    order = buyer.order(request_id="r-1", cancel_url=URL)

    assert [session["id"] for session in buyer.stripe.world.all("checkout.session")] == [order.stripe_id]


def test_what_was_granted_by_hand_before_stripe_knew_of_it_is_not_to_be_paid(buyer):
    buyer.stripe.faults.append(Fault(500, times=100))
    buyer.ask.refusal("CreateCheckout", request_id="r-1", package="starter", success_url=URL, cancel_url=URL)
    (order,) = buyer.ask("ListOrders").orders
    buyer.ask("Fulfil", order_id=order.order_id, memo=MEMO)
    buyer.stripe.faults.clear()

    again = buyer.order(request_id="r-1", cancel_url=URL)

    assert (again.order_id, again.url) == (order.order_id, "")
    assert buyer.stripe.world.all("checkout.session") == []


def test_a_key_that_stripe_does_not_take_is_told(sqlite_url, clock):
    with paying(sqlite_url, clock, stripe_api_key="sk_test_of_somebody_else") as buyer:
        buyer.sell()

        told = buyer.ask.refusal("CreateCheckout", package="starter", success_url=URL, cancel_url=URL)

        assert told.reason == "STRIPE_REFUSED"
        assert "somebody_else" not in told.message
