"""The stand-in for Stripe answers Stripe's own client as Stripe does."""

import hashlib
import hmac
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import requests
from stripe import CardError, IdempotencyError, InvalidRequestError, RateLimitError, StripeClient

from tests.fake_stripe import FakeStripe, Fault, nested
from tests.stripe_shapes import Shape, event_shown

ASKED = {
    "mode": "payment",
    "line_items": [
        {"quantity": 2, "price_data": {"currency": "usd", "unit_amount": 500, "product_data": {"name": "Starter"}}}
    ],
    "success_url": "https://shop.example/done?session={CHECKOUT_SESSION_ID}",
    "cancel_url": "https://shop.example/back?a=1&b=2",
    "customer_creation": "always",
    "metadata": {"scrip_order": "or_1"},
    "payment_intent_data": {"metadata": {"scrip_order": "or_1"}, "setup_future_usage": "off_session"},
}


@pytest.fixture
def stripe():
    with FakeStripe() as stripe:
        yield stripe


@pytest.fixture
def client(stripe):
    return StripeClient(stripe.api_key, base_addresses={"api": stripe.url}, max_network_retries=1)


def session_of(client, key="or_1", **changed):
    return client.v1.checkout.sessions.create({**ASKED, **changed}, {"idempotency_key": key})


def types(events):
    return [event["type"] for event in events]


def test_parameters_within_parameters_are_read():
    pairs = [("a[b]", "1"), ("c[0][d]", "2"), ("c[1][d]", "3"), ("e", "4"), ("f[0]", "x")]

    assert nested(pairs) == {"a": {"b": "1"}, "c": [{"d": "2"}, {"d": "3"}], "e": "4", "f": ["x"]}


def test_a_session_is_made_paid_on_its_page_and_told_of(stripe, client):
    session = session_of(client)

    page = requests.get(session.url, timeout=10)
    paid = requests.post(session.url, timeout=10, allow_redirects=False)

    assert 'href="https://shop.example/back?a=1&amp;b=2"' in page.text
    assert paid.headers["Location"] == f"https://shop.example/done?session={session.id}"
    assert types(stripe.world.events) == [
        "charge.succeeded",
        "payment_intent.succeeded",
        "checkout.session.completed",
    ]
    after = client.v1.checkout.sessions.retrieve(session.id)
    intent = client.v1.payment_intents.retrieve(after.payment_intent)
    assert (after.payment_status, after.amount_total, intent.amount_received) == ("paid", 1000, 1000)
    assert intent.metadata["scrip_order"] == "or_1"


def test_the_same_key_gets_the_first_answer_and_other_parameters_are_refused(stripe, client):
    first = session_of(client)

    assert session_of(client).id == first.id
    assert len(stripe.world.all("checkout.session")) == 1
    with pytest.raises(IdempotencyError):
        session_of(client, success_url="https://shop.example/else")


def test_an_answer_that_is_lost_is_had_by_the_retry_and_nothing_is_done_twice(stripe, client):
    stripe.faults.append(Fault("drop"))

    session = session_of(client)

    assert stripe.world.all("checkout.session")[0]["id"] == session.id
    assert len(stripe.world.all("checkout.session")) == 1
    assert len(stripe.calls) == 2


def test_what_was_made_to_fail_fails_that_often(stripe, client):
    stripe.faults.append(Fault(429, path="/v1/checkout"))

    with pytest.raises(RateLimitError):
        session_of(client)
    assert session_of(client).status == "open"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"surprise": "1"}, "unknown parameter"),
        ({"success_url": ""}, "Missing required param"),
        ({"mode": "subscription"}, "payment_intent_data"),
        ({"line_items": [{"price": "price_none", "quantity": 1}]}, "price_none"),
        ({"metadata": {"k" * 41: "v"}}, "Metadata"),
    ],
)
def test_what_stripe_would_refuse_is_refused(client, changed, message):
    with pytest.raises(InvalidRequestError, match=message):
        session_of(client, **changed)


def test_a_saved_method_is_charged_and_a_decline_carries_its_code(stripe, client):
    stripe.world.pay(session_of(client).id)
    method = stripe.world.all("payment_method")[0]
    asked = {
        "amount": 700,
        "currency": "usd",
        "customer": method["customer"],
        "payment_method": method["id"],
        "off_session": True,
        "confirm": True,
    }
    stripe.world.declines.append(("card_declined", "insufficient_funds"))

    with pytest.raises(CardError) as declined:
        client.v1.payment_intents.create(asked, {"idempotency_key": "or_2"})
    with pytest.raises(CardError):
        client.v1.payment_intents.create(asked, {"idempotency_key": "or_2"})
    charged = client.v1.payment_intents.create(asked, {"idempotency_key": "or_3"})

    assert declined.value.code == "card_declined"
    assert declined.value.error.decline_code == "insufficient_funds"
    assert charged.status == "succeeded"
    assert types(stripe.world.events)[-3:] == [
        "payment_intent.payment_failed",
        "charge.succeeded",
        "payment_intent.succeeded",
    ]


def test_events_are_paged_newest_first_and_only_those_asked_for(stripe, client):
    for number in range(7):
        stripe.world.expire(session_of(client, key=f"or_{number}").id)
    made = [event["id"] for event in stripe.world.events]

    first = client.v1.events.list({"limit": 3, "created": {"gte": 0}})
    every = [event.id for event in first.auto_paging_iter()]

    assert (len(first.data), first.has_more) == (3, True)
    assert every == made[::-1]
    assert client.v1.events.list({"types": ["invoice.paid"]}).data == []
    assert client.v1.events.retrieve(made[0]).id == made[0]


def test_a_subscription_lives_and_both_shapes_tell_of_it(stripe):
    world = stripe.world
    world.price("price_small", 1000, interval="month")
    world.price("price_big", 3000, interval="month")
    begun = world.subscribe("price_small", {"scrip_plan": "small"})
    subscription = world.all("subscription")[0]["id"]
    upgraded = world.upgrade(subscription, "price_big")
    world.renew(subscription)
    world.cancel(subscription)

    paid = next(event for event in begun if event["type"] == "invoice.paid")
    old, new = (event_shown(paid, shape)["data"]["object"] for shape in (Shape.OLD, Shape.NEW))
    assert old["subscription"] == new["parent"]["subscription_details"]["subscription"] == subscription
    assert old["lines"]["data"][0]["price"]["id"] == "price_small"
    assert new["lines"]["data"][0]["pricing"]["price_details"]["price"] == "price_small"
    assert "payment_intent" in old
    assert not {"payment_intent", "payments", "subscription"} & set(new)
    assert types(upgraded)[-2:] == ["invoice.paid", "invoice_payment.paid"]
    assert [invoice["amount_paid"] for invoice in world.all("invoice")] == [3000, 2000, 1000]


def test_webhooks_are_signed_sent_twice_and_shuffled(stripe):
    got = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append((self.headers["Stripe-Signature"], self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            """Nothing is logged."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as hook:
        thread = Thread(target=hook.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        stripe.webhook_url = f"http://127.0.0.1:{hook.server_port}/stripe/webhook"
        stripe.world.price("price_small", 1000, interval="month")
        events = stripe.world.subscribe("price_small")

        assert stripe.send(events, copies=2, shuffled=1, at=1_800_000_000) == [200] * 2 * len(events)
        hook.shutdown()
        thread.join()

    assert sorted(body for _, body in got) == sorted([stripe.payload(event) for event in events] * 2)
    assert [body for _, body in got] != [stripe.payload(event) for event in events for _ in "12"]
    for header, body in got:
        signed = hmac.new(stripe.secret.encode(), b"1800000000." + body, hashlib.sha256).hexdigest()
        assert header == f"t=1800000000,v1={signed}"
