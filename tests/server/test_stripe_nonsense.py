"""What of Stripe's events changes nothing, and what is wrong with those that cannot be read: never a broken server."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import MalformedError, NotPaid, Reading
from server.stripe_events import TYPES, Unreadable, read, read_object, take
from tests.server.told import (
    AT,
    DECLINED,
    NEW_LINE,
    OLD_LINE,
    charge,
    dispute,
    event,
    intent,
    new_invoice,
    old_invoice,
    refund,
    session,
    subscription,
)


@pytest.mark.parametrize("event_type", ["customer.created", "charge.succeeded", "invoice.finalized", "x"])
def test_other_types_change_nothing(event_type):
    assert read(event(event_type, session())) is None


@pytest.mark.parametrize(
    ("event_type", "about", "why"),
    [
        ("checkout.session.completed", session(amount_total=10.0), "amount_total must be a whole number"),
        ("checkout.session.completed", session(amount_total=True), "amount_total must be a whole number"),
        ("checkout.session.completed", session(amount_total=-1), "it is -1."),
        ("checkout.session.completed", session(amount_total=10**12), "to 999999999999; it is 1000000000000."),
        ("checkout.session.completed", session(amount_total="1000"), "it is '1000'."),
        ("checkout.session.completed", session(amount_total=None), "it is missing."),
        ("checkout.session.completed", session(currency="US Dollar"), "currency must be three small letters"),
        ("checkout.session.completed", session(currency=None), "currency must be three small letters"),
        ("checkout.session.completed", session(livemode="no"), "livemode must be true or false"),
        ("checkout.session.completed", session(id=None), "id must be an id; it is missing."),
        ("checkout.session.completed", session(id="cs 1"), "id must be an id; it is 'cs 1'."),
        ("checkout.session.completed", session(payment_intent=7), "payment_intent must be an id; it is 7."),
        ("checkout.session.completed", session(metadata="x"), "metadata must be an object; it is 'x'."),
        ("checkout.session.completed", session(metadata={"scrip_account": "é"}), "metadata.scrip_account must be"),
        ("checkout.session.completed", session(metadata={"scrip_order": "x" * 129}), "metadata.scrip_order must be"),
        ("checkout.session.completed", session(metadata={"scrip_plan": ["x"]}), "must be a text; it is a list."),
        ("payment_intent.succeeded", intent(amount_received={}), "it is an object."),
        ("payment_intent.succeeded", intent(currency="é" * 99), "…."),
        ("refund.created", refund(amount=0), "amount must be a whole number from 1"),
        ("refund.created", refund(status="gone"), "status 'gone' of a refund is not known."),
        ("charge.refunded", charge(amount_refunded=1.5), "amount_refunded must be a whole number"),
        ("charge.refunded", charge(refunds={"data": [7]}), "refunds.data must be a list of objects; it is a list."),
        ("charge.dispute.created", dispute(amount=-5), "it is -5."),
        ("invoice.paid", new_invoice({**NEW_LINE, "period": None}), "start must be a whole number"),
        ("invoice.paid", new_invoice({**NEW_LINE, "quantity": 10**10}), "quantity must be a whole number"),
        ("invoice.paid", new_invoice({**NEW_LINE, "period": {"start": 0, "end": 10**20}}), "end must be"),
        ("invoice.paid", new_invoice({**NEW_LINE, "amount": 10**30}), "amount must be a whole number"),
    ],
)  # fmt: skip
def test_what_cannot_be_right_says_what_it_is(event_type, about, why):
    reading = read(event(event_type, about))

    assert isinstance(reading, Unreadable)
    assert why in reading.why
    assert len(reading.why) < 200


@pytest.mark.parametrize("data", [None, {}, {"object": None}, {"object": {}}, {"object": []}, [], "x", 7])
@pytest.mark.parametrize("event_type", [one for one in TYPES if not one.startswith("invoice.")])
def test_an_event_about_nothing_cannot_be_read(event_type, data):
    reading = read(event(event_type, {}, data=data))

    assert isinstance(reading, Unreadable) or reading.facts == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["paid", "in_1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
WELL_FORMED = [
    event("checkout.session.completed", session()),
    event("payment_intent.succeeded", intent()),
    event("invoice.paid", new_invoice(NEW_LINE)),
    event("invoice.paid", old_invoice(OLD_LINE)),
    event("customer.subscription.updated", subscription()),
    event("charge.refunded", charge(refunds={"data": [refund()]})),
    event("charge.dispute.closed", dispute()),
    event("invoice_payment.paid", {"object": "invoice_payment", "invoice": "in_1", "payment": {}}),
]


def places(value, path=()):
    yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield from places(inner, (*path, key))


def with_other(value, path, other):
    if not path:
        return other
    key, *rest = path
    if isinstance(value, list):
        return [with_other(inner, rest, other) if index == key else inner for index, inner in enumerate(value)]
    return {**value, key: with_other(value[key], rest, other)}


@given(st.data())
def test_whatever_stands_in_a_field_nothing_breaks(data):
    good = data.draw(st.sampled_from(WELL_FORMED))
    path = data.draw(st.sampled_from([path for path in places(good) if path]))
    spoilt = with_other(good, path, data.draw(JSON))

    said = read(spoilt)

    assert said is None or isinstance(said, Reading | Unreadable)


@pytest.mark.parametrize(
    ("about", "event_type"),
    [
        (session(), "checkout.session.completed"),
        (session(status="expired", payment_status="unpaid"), "checkout.session.expired"),
        (intent(), "payment_intent.succeeded"),
        (intent(**DECLINED, last_payment_error={"code": "card_declined"}), "payment_intent.payment_failed"),
        (new_invoice(NEW_LINE), "invoice.paid"),
        (old_invoice(OLD_LINE), "invoice.paid"),
        (charge(), "charge.refunded"),
        (refund(), "refund.created"),
        (dispute(status="lost"), "charge.dispute.closed"),
    ],
)
def test_an_object_says_by_itself_what_its_event_says(about, event_type):
    told = read(event(event_type, about))

    asked = read_object(about, AT)

    assert (asked.facts, asked.refs, asked.event_id) == (told.facts, told.refs, "")


def test_objects_that_change_nothing_say_nothing_and_wrong_ones_what_is_wrong():
    assert read_object({"object": "customer", "id": "cus_1"}, AT) is None
    assert read_object(intent(status="canceled"), AT).facts == (NotPaid(why="canceled", is_final=True, at=AT),)
    assert read_object(refund(amount=-1), AT) == Unreadable(
        why="amount must be a whole number from 1 to 999999999999; it is -1."
    )
    assert isinstance(read_object(new_invoice(parent=None), AT), Unreadable)


RECEIVED = datetime(2026, 3, 1, 1, tzinfo=UTC)


def test_an_event_is_taken_as_it_came():
    body = json.dumps(event("charge.refunded", charge(metadata={"é": "ü"})), indent=3).encode()

    taken = take(body, RECEIVED)

    assert (taken.event_id, taken.type, taken.livemode) == ("evt_1", "charge.refunded", False)
    assert (taken.created_at, taken.received_at, taken.payload.encode()) == (AT, RECEIVED, body)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "must be JSON"),
        (b"{", "must be JSON"),
        (b"\xff{}", "must be JSON"),
        (json.dumps({}).encode("utf-16"), "must be JSON"),
        (b"[" * 100_000, "must be JSON"),
        (b"1" * 10_000, "must be JSON"),
        (b"[]", "must be an event"),
        (json.dumps(session()).encode(), "must be an event"),
        (json.dumps(event("x", {}, id=None)).encode(), "id must be an id; it is missing."),
        (json.dumps(event("x", {}, id="evt_" + "1" * 125)).encode(), "128 characters at most"),
        (json.dumps(event("x", {}, type="a type")).encode(), "type must be"),
        (json.dumps(event("x", {}, created="now")).encode(), "created must be"),
        (json.dumps(event("x", {}, livemode=None)).encode(), "livemode must be"),
    ],
    ids=range(13),
)
def test_what_is_no_event_is_malformed(body, why):
    with pytest.raises(MalformedError, match=why):
        take(body, RECEIVED)
