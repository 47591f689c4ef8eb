"""What is asked of Stripe: with the stand-in at the other end of Stripe's own client."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from stripe import HTTPClient

from ledger import (
    Checkout,
    CustomerSeen,
    InvoicePaid,
    Money,
    NotPaid,
    Order,
    OrderKind,
    Paid,
)
from server.payments import StripeRefusedError, StripeUnavailableError
from server.stripe_api import StripeApi
from server.stripe_events import TYPES
from tests.fake_stripe import FakeStripe, Fault
from tests.stripe_shapes import Shape

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CHECKOUT = Checkout(
    tenant="default",
    request_id="r-1",
    account_id="acme",
    package="starter",
    success_url="https://shop.example/done?order={ORDER_ID}",
    cancel_url="https://shop.example/back",
)
ORDER = Order(
    tenant="default",
    order_id="or_1",
    kind=OrderKind.CHECKOUT,
    account_id="acme",
    package="starter",
    asked=CHECKOUT,
    title="Starter",
    price=Money(minor_units=1000, currency="USD"),
    livemode=False,
    created_at=NOW - timedelta(days=1),
)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Retries follow at once."""
    monkeypatch.setattr(HTTPClient, "_sleep_time_seconds", lambda _self, _retries: 0)


@pytest.fixture
def stripe():
    with FakeStripe(clock=lambda: int(NOW.timestamp())) as stripe:
        yield stripe


@pytest.fixture
def api(stripe):
    return StripeApi(stripe.api_key, stripe.url, clock=lambda: NOW)


def session_for(api, order=ORDER, **changed):
    return api.create_session(replace(order, **changed))


def recharge_of_saved(stripe, api):
    """An order that charges a card which was kept when a checkout was paid."""
    order = replace(ORDER, order_id="or_saved", asked=replace(CHECKOUT, save_payment_method=True))
    stripe.world.pay(session_for(api, order).stripe_id)
    method = stripe.world.all("payment_method")[0]
    paid = {"customer": method["customer"], "payment_method": method["id"]}
    return replace(ORDER, order_id="or_2", kind=OrderKind.RECHARGE, asked=None, **paid)


def test_a_session_asks_for_the_price_of_the_order_and_carries_its_name(stripe, api):
    asked = session_for(api)

    made = stripe.world.get(asked.stripe_id)
    ours = {
        "scrip_order": "or_1",
        "scrip_tenant": "default",
        "scrip_account": "acme",
        "scrip_package": "starter",
    }
    assert asked.url == made["url"]
    assert (made["amount_total"], made["currency"], made["mode"]) == (1000, "usd", "payment")
    assert made["success_url"] == "https://shop.example/done?order=or_1"
    assert made["metadata"] == made["_asked"]["payment_intent_data"]["metadata"] == ours
    assert stripe.calls[0].idempotency_key == "or_1"


def test_the_same_order_gets_the_same_session_and_another_content_is_refused(stripe, api):
    first = session_for(api)

    assert session_for(api) == first
    with pytest.raises(StripeRefusedError, match="idempotent requests"):
        session_for(api, title="Other")
    assert len(stripe.world.all("checkout.session")) == 1


def test_a_session_of_a_plan_puts_our_names_on_the_subscription(stripe, api):
    stripe.world.price("price_small", 900, interval="month")
    order = replace(ORDER, kind=OrderKind.SUBSCRIBE, package="", plan="small")

    asked = session_for(api, order, title="", stripe_price="price_small")
    stripe.world.pay(asked.stripe_id)

    subscription = stripe.world.all("subscription")[0]
    assert subscription["metadata"]["scrip_plan"] == "small"
    assert subscription["metadata"]["scrip_account"] == "acme"


def test_a_method_is_kept_only_if_that_was_asked_for(stripe, api):
    stripe.world.pay(session_for(api).stripe_id)
    not_kept = stripe.world.all("payment_intent")[0]

    order = recharge_of_saved(stripe, api)

    kept = stripe.world.all("payment_intent")[0]
    assert (not_kept["setup_future_usage"], not_kept["customer"]) == (None, None)
    assert (kept["setup_future_usage"], kept["customer"]) == ("off_session", order.customer)
    seen = [fact for reading in api.look_up(kept["id"]) for fact in reading.facts if isinstance(fact, CustomerSeen)]
    assert seen == [CustomerSeen(customer=order.customer, payment_method=order.payment_method, at=NOW)]


def test_a_customer_whom_stripe_knows_is_named(stripe, api):
    known = stripe.world.customer()["id"]

    asked = session_for(api, customer=known)

    assert stripe.world.get(asked.stripe_id)["customer"] == known


def test_an_answer_that_is_lost_is_asked_for_again_and_nothing_is_done_twice(stripe, api):
    stripe.faults.append(Fault("drop"))
    stripe.faults.append(Fault(500))

    asked = session_for(api)

    assert [made["id"] for made in stripe.world.all("checkout.session")] == [asked.stripe_id]
    assert len(stripe.calls) == 3


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault("drop", times=9), "no answer"),
        (Fault(500, times=9), "500"),
        (Fault(429), "429"),
        (Fault(409, times=9), "409"),
    ],
    ids=["drop", "500", "429", "409"],
)
def test_stripe_is_unavailable_if_it_does_not_answer_or_not_now(stripe, api, fault, says):
    stripe.faults.append(fault)

    with pytest.raises(StripeUnavailableError, match=says):
        session_for(api)


def test_stripe_is_unavailable_if_it_takes_too_long(stripe, api, monkeypatch):
    monkeypatch.setattr("server.stripe_api.READ_TIMEOUT_S", 0.05)
    slow = StripeApi(stripe.api_key, stripe.url)
    stripe.faults.append(Fault("slow", times=9, after_s=0.3))

    with pytest.raises(StripeUnavailableError, match="ReadTimeout"):
        session_for(slow)


def test_nobody_there_is_stripe_unavailable():
    with pytest.raises(StripeUnavailableError, match="no answer"):
        session_for(StripeApi("sk_test_of_nobody", "http://127.0.0.1:9"))


def test_a_key_that_is_not_accepted_is_refused_and_not_shown(stripe):
    other = StripeApi("sk_test_swordfish_swordfish", stripe.url)

    with pytest.raises(StripeRefusedError) as refused:
        session_for(other)

    assert refused.value.code == "api_key_invalid"
    assert "swordfish" not in str(refused.value)


def test_what_stripe_refuses_is_told_in_its_words(api):
    order = replace(ORDER, kind=OrderKind.SUBSCRIBE, package="", plan="small")

    with pytest.raises(StripeRefusedError, match="price_none") as refused:
        session_for(api, order, stripe_price="price_none")

    assert refused.value.code == "resource_missing"


def test_a_saved_method_is_charged_once_for_an_order(stripe, api):
    order = recharge_of_saved(stripe, api)

    asked, reading = api.charge(order)
    again, _ = api.charge(order)

    made = stripe.world.get(asked.stripe_id)
    assert again == asked
    assert asked.refs == (made["id"], made["latest_charge"])
    assert reading.order_id == "or_2"
    assert Paid(money=Money(minor_units=1000, currency="USD"), livemode=False, at=NOW) in reading.facts
    assert len(stripe.world.all("payment_intent")) == 2


def test_a_decline_is_a_reading_with_the_banks_code(stripe, api):
    order = recharge_of_saved(stripe, api)
    stripe.world.declines.append(("card_declined", "insufficient_funds"))

    asked, reading = api.charge(order)

    assert reading.facts == (NotPaid(why="insufficient_funds", is_final=False, at=NOW),)
    assert (reading.order_id, asked.stripe_id) == ("or_2", stripe.world.all("payment_intent")[0]["id"])


def test_a_method_that_is_not_the_customers_is_refused(stripe, api):
    order = recharge_of_saved(stripe, api)
    other = stripe.world.customer()["id"]

    with pytest.raises(StripeRefusedError, match="does not belong"):
        api.charge(replace(order, customer=other))


def test_a_charge_whose_answer_was_lost_is_found_by_the_name_of_its_order(stripe, api):
    order = recharge_of_saved(stripe, api)
    made, _ = api.charge(order)

    found = api.charge_of(order)

    assert found is not None
    assert found[0] == made
    assert api.charge_of(replace(order, order_id="or_3")) is None


def test_a_charge_whose_name_is_known_is_found_by_that(stripe, api):
    order = recharge_of_saved(stripe, api)
    made, _ = api.charge(order)

    found = api.charge_of(replace(order, order_id="or_3", stripe_id=made.stripe_id))

    assert found is not None
    assert found[0] == made


def test_a_session_of_a_subscription_is_looked_up_with_its_invoice_and_the_payment(stripe, api):
    stripe.world.price("price_small", 900, interval="month")
    asked = session_for(
        api, replace(ORDER, kind=OrderKind.SUBSCRIBE, package="", plan="small"), stripe_price="price_small"
    )
    stripe.world.pay(asked.stripe_id)

    session, invoice = api.look_up(asked.stripe_id)

    billed = stripe.world.all("invoice")[0]
    paid = [fact for fact in invoice.facts if isinstance(fact, InvoicePaid)]
    assert session.subscription == invoice.subscription == stripe.world.all("subscription")[0]["id"]
    assert [fact.invoice for fact in paid] == [billed["id"]]
    assert invoice.refs == (billed["id"], billed["payment_intent"])
    assert [set(reading.refs) for reading in api.look_up(billed["payment_intent"])] == [
        {billed["payment_intent"], billed["charge"]},
        {billed["payment_intent"], billed["id"]},
    ]


def test_what_is_not_there_is_refused_and_an_event_that_is_not_there_is_none(api):
    with pytest.raises(StripeRefusedError):
        api.look_up("cs_test_none")
    assert api.event("evt_none") is None


@pytest.mark.parametrize("shape", Shape, ids=lambda shape: shape.name.lower())
def test_events_come_a_page_after_the_other_and_none_is_missed(shape):
    times = iter(range(1_000_000))
    with FakeStripe(shape=shape, clock=lambda: 1_770_000_000 + next(times) // 7) as stripe:
        api = StripeApi(stripe.api_key, stripe.url)
        stripe.world.price("price_small", 900, interval="month")
        for _ in range(40):
            stripe.world.subscribe("price_small")
        intent = stripe.world.all("payment_intent")[0]["id"]
        stripe.world.refund(intent)

        coming = api.events(datetime.fromtimestamp(1_770_000_000, UTC))
        asked = len(stripe.calls)
        found = [next(coming)]
        asked = len(stripe.calls) - asked
        found += coming
        one = api.event(stripe.world.events[-1]["id"])

        wanted = [event for event in stripe.world.events if event["type"] in TYPES]
        assert asked == 1
        assert {json.loads(payload)["id"] for payload in found} == {event["id"] for event in wanted}
        assert len(found) == len(wanted) > 100
        assert one is not None
        assert json.loads(one) == json.loads(stripe.payload(stripe.world.events[-1]))


def test_each_call_is_noted_with_its_outcome(stripe):
    noted = []
    api = StripeApi(stripe.api_key, stripe.url, note=lambda *told: noted.append(told[:2]))
    stranger = StripeApi("sk_test_of_nobody", stripe.url, note=lambda *told: noted.append(told[:2]))

    asked = session_for(api)
    api.look_up(asked.stripe_id)
    stripe.faults.append(Fault(500, times=9))
    with pytest.raises(StripeUnavailableError):
        api.event("evt_1")
    with pytest.raises(StripeRefusedError):
        session_for(stranger)

    assert noted == [
        ("create_session", "ok"),
        ("look_up", "ok"),
        ("event", "unavailable"),
        ("create_session", "refused"),
    ]
