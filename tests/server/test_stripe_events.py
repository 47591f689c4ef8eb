"""What each event of Stripe says, in both shapes."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from ledger import (
    CustomerSeen,
    DisputeSeen,
    DisputeStatus,
    InvoiceLine,
    InvoicePaid,
    NotPaid,
    Paid,
    Reading,
    RefundedInAll,
    RefundSeen,
    RefundStatus,
    SubscriptionSeen,
    SubscriptionState,
)
from server.stripe_events import TYPES, Unreadable, read
from tests.server.told import (
    AT,
    DECLINED,
    NEW_EXTRA,
    NEW_LINE,
    NEW_PRORATION,
    OLD_EXTRA,
    OLD_LINE,
    OLD_PRORATION,
    OLDER_LINE,
    SET_UP_FEE,
    charge,
    dispute,
    dollars,
    event,
    intent,
    new_invoice,
    old_invoice,
    refund,
    session,
    subscription,
)

NAMED = {"event_id": "evt_1", "order_id": "or_1", "tenant": "default", "account_id": "acme"}
CUSTOMER = CustomerSeen(customer="cus_1", at=AT)


def without_facts(reading):
    assert isinstance(reading, Reading), reading
    return (reading.order_id, reading.account_id, reading.subscription, reading.refs)


PAID = Paid(money=dollars(1000), livemode=False, at=AT)
NOTHING_PAID = Paid(money=dollars(0), livemode=False, at=AT)
UNPAID = session(payment_status="unpaid")
EXPIRED = session(status="expired", payment_status="unpaid")


@pytest.mark.parametrize(
    ("event_type", "about", "facts"),
    [
        ("completed", session(), (PAID,)),
        ("completed", session(customer="cus_1"), (CUSTOMER, PAID)),
        ("completed", session(payment_status="unpaid"), ()),
        ("completed", session(payment_status="no_payment_required", amount_total=0), (NOTHING_PAID,)),
        ("async_payment_succeeded", session(), (PAID,)),
        ("async_payment_failed", UNPAID, (NotPaid(why="payment_failed", is_final=True, at=AT),)),
        ("expired", EXPIRED, (NotPaid(why="expired", is_final=True, at=AT),)),
    ],
)
def test_a_session_says_whether_it_is_paid(event_type, about, facts):
    reading = read(event(f"checkout.session.{event_type}", about))

    assert reading == Reading(**NAMED, refs=("cs_1", "pi_1"), facts=facts)


def test_a_session_that_keeps_a_card_only_says_nothing_of_money():
    reading = read(event("checkout.session.completed", session(mode="setup", payment_intent=None, amount_total=None)))

    assert reading == Reading(**NAMED, refs=("cs_1",))


def test_a_session_of_a_subscription_names_it_and_not_the_invoice_that_has_a_life_of_its_own():
    about = session(mode="subscription", subscription="sub_1", invoice="in_1", payment_intent=None)

    reading = read(event("checkout.session.completed", about))

    assert without_facts(reading) == ("or_1", "acme", "sub_1", ("cs_1",))


OLD_INTENT = {**intent(charges={"data": [{"id": "ch_1"}]}, invoice="in_1"), "latest_charge": None}
LIVE = Paid(money=dollars(1000), livemode=True, at=AT)


@pytest.mark.parametrize(
    ("about", "refs", "facts"),
    [
        (intent(), ("pi_1", "ch_1"), (LIVE,)),
        (intent(latest_charge={"object": "charge", "id": "ch_1"}), ("pi_1", "ch_1"), (LIVE,)),
        (OLD_INTENT, ("pi_1", "ch_1", "in_1"), (LIVE,)),
        (intent(customer="cus_1"), ("pi_1", "ch_1"), (CUSTOMER, LIVE)),
        (
            intent(customer="cus_1", setup_future_usage="off_session"),
            ("pi_1", "ch_1"),
            (CustomerSeen(customer="cus_1", payment_method="pm_1", at=AT), LIVE),
        ),
    ],
    ids=["new", "expanded", "old", "customer", "saved"],
)
def test_a_payment_says_what_came_and_of_whom(about, refs, facts):
    assert read(event("payment_intent.succeeded", about)) == Reading(**NAMED, refs=refs, facts=facts)


@pytest.mark.parametrize(
    ("error", "why"),
    [
        ({"code": "card_declined", "decline_code": "insufficient_funds"}, "insufficient_funds"),
        ({"code": "expired_card"}, "expired_card"),
        (None, "payment_failed"),
        ({"code": "x" * 5_000}, "x" * 100),
    ],
)
def test_a_payment_that_failed_says_why_and_may_be_tried_again(error, why):
    about = intent(**DECLINED, last_payment_error=error)

    reading = read(event("payment_intent.payment_failed", about))

    assert reading == Reading(**NAMED, refs=("pi_1",), facts=(NotPaid(why=why, is_final=False, at=AT),))


LINE = InvoiceLine(
    price="price_small",
    quantity=1,
    is_proration=False,
    amount=1000,
    start=AT,
    end=AT + timedelta(days=30),
)


@pytest.mark.parametrize(
    ("about", "refs"),
    [
        (new_invoice(NEW_LINE), ("in_1",)),
        (
            new_invoice(NEW_LINE, payments={"data": [{"payment": {"payment_intent": "pi_1"}}]}),
            ("in_1", "pi_1"),
        ),
        (old_invoice(OLD_LINE), ("in_1", "pi_1", "ch_1")),
        (old_invoice(OLDER_LINE), ("in_1", "pi_1", "ch_1")),
        (new_invoice(NEW_LINE, NEW_EXTRA), ("in_1",)),
        (old_invoice(OLD_LINE, OLD_EXTRA, SET_UP_FEE), ("in_1", "pi_1", "ch_1")),
    ],
    ids=["new", "payments", "old", "older", "new_extra", "old_extra"],
)
def test_an_invoice_says_which_periods_were_paid_and_not_which_order_began_the_subscription(about, refs):
    reading = read(event("invoice.paid", about))

    fact = InvoicePaid(
        invoice="in_1",
        subscription="sub_1",
        money=dollars(1000),
        livemode=False,
        lines=(LINE,),
        at=AT,
    )
    assert reading == Reading(**NAMED | {"order_id": ""}, refs=refs, subscription="sub_1", facts=(fact,))


@pytest.mark.parametrize(
    "about",
    [new_invoice(NEW_PRORATION, NEW_LINE), old_invoice(OLD_PRORATION, OLD_LINE)],
    ids=["new", "old"],
)
def test_a_change_in_mid_period_is_told_with_its_sign(about):
    reading = read(event("invoice.paid", about))

    (paid,) = reading.facts
    assert [(line.is_proration, line.amount) for line in paid.lines] == [(True, -400), (False, 1000)]


def test_an_invoice_of_nothing_is_paid():
    reading = read(event("invoice.paid", new_invoice(NEW_LINE, amount_paid=0, total=-300)))

    assert reading.facts[0].money == dollars(0)


@pytest.mark.parametrize("invoice", [new_invoice, old_invoice])
def test_an_invoice_that_is_not_paid_says_whose_it_is(invoice):
    reading = read(event("invoice.payment_failed", invoice(status="open", amount_paid=0)))

    assert (reading.subscription, reading.facts) == ("sub_1", ())


@pytest.mark.parametrize("changed", [{"subscription": None}, {"subscription": None, "parent": None}])
def test_an_invoice_of_no_subscription_changes_nothing(changed):
    assert read(event("invoice.paid", old_invoice(OLD_LINE, **changed))) is None


def test_an_invoice_with_more_lines_than_are_told_cannot_be_read():
    reading = read(event("invoice.paid", new_invoice(lines={"data": [NEW_LINE], "has_more": True})))

    assert reading == Unreadable(why="invoice in_1 has more lines than are told.")


@pytest.mark.parametrize(
    ("payment", "refs"),
    [
        ({"type": "payment_intent", "payment_intent": "pi_1"}, ("in_1", "pi_1")),
        ({"type": "payment_intent", "payment_intent": {"id": "pi_1"}}, ("in_1", "pi_1")),
        ({"type": "charge", "charge": "ch_1"}, ("in_1", "ch_1")),
    ],
)
def test_the_payment_of_an_invoice_ties_the_two(payment, refs):
    about = {"object": "invoice_payment", "id": "inpay_1", "invoice": "in_1", "payment": payment}

    assert read(event("invoice_payment.paid", about)) == Reading(event_id="evt_1", refs=refs)


@pytest.mark.parametrize(
    ("event_type", "changed", "state"),
    [
        ("created", {}, SubscriptionState.ACTIVE),
        ("updated", {"status": "trialing"}, SubscriptionState.ACTIVE),
        ("updated", {"status": "past_due"}, SubscriptionState.UNPAID),
        ("updated", {"status": "unpaid"}, SubscriptionState.UNPAID),
        ("created", {"status": "incomplete"}, SubscriptionState.UNPAID),
        ("updated", {"status": "incomplete_expired"}, SubscriptionState.ENDED),
        ("updated", {"pause_collection": {"behavior": "void"}}, SubscriptionState.PAUSED),
        ("paused", {"status": "paused"}, SubscriptionState.PAUSED),
        ("resumed", {"pause_collection": None}, SubscriptionState.ACTIVE),
        ("deleted", {"status": "canceled", "pause_collection": {"behavior": "void"}}, SubscriptionState.ENDED),
        ("updated", {"items": {"data": [{"plan": {"id": "price_small"}}]}}, SubscriptionState.ACTIVE),
    ],
)
def test_a_subscription_says_how_it_stands_and_what_it_is_for(event_type, changed, state):
    reading = read(event(f"customer.subscription.{event_type}", subscription(**changed)))

    rank = 0 if event_type == "created" else 1
    seen = SubscriptionSeen(subscription="sub_1", state=state, prices=("price_small",), at=AT, event=f"{rank}:evt_1")
    assert reading == Reading(**NAMED | {"order_id": ""}, subscription="sub_1", facts=(CUSTOMER, seen))


def test_a_subscription_says_what_may_be_charged_without_asking():
    reading = read(event("customer.subscription.updated", subscription(default_payment_method="pm_1")))

    assert reading.facts[0] == CustomerSeen(customer="cus_1", payment_method="pm_1", at=AT)


def test_a_state_of_a_subscription_that_is_not_known_is_not_guessed():
    reading = read(event("customer.subscription.updated", subscription(status="resting")))

    assert reading == Unreadable(why="status 'resting' of a subscription is not known.")


@pytest.mark.parametrize(
    ("event_type", "status", "seen"),
    [
        ("refund.created", "pending", RefundStatus.PENDING),
        ("refund.created", "requires_action", RefundStatus.REQUIRES_ACTION),
        ("refund.created", None, RefundStatus.PENDING),
        ("refund.updated", "succeeded", RefundStatus.SUCCEEDED),
        ("refund.updated", "canceled", RefundStatus.CANCELED),
        ("refund.failed", "failed", RefundStatus.FAILED),
        ("charge.refund.updated", "failed", RefundStatus.FAILED),
    ],
)
def test_a_refund_says_how_it_stands(event_type, status, seen):
    reading = read(event(event_type, refund(status=status)))

    assert reading == Reading(
        event_id="evt_1",
        refs=("re_1", "pi_1", "ch_1"),
        facts=(RefundSeen(refund="re_1", amount=300, status=seen),),
    )


def test_a_charge_says_what_was_refunded_in_all_and_in_the_old_shape_each_refund():
    new = read(event("charge.refunded", charge()))
    old = read(event("charge.refunded", charge(invoice="in_1", refunds={"data": [refund(amount=100)]})))

    in_all = RefundedInAll(amount=300)
    one = RefundSeen(refund="re_1", amount=100, status=RefundStatus.SUCCEEDED)
    assert new == Reading(**NAMED, refs=("ch_1", "pi_1"), facts=(in_all,))
    assert old == Reading(**NAMED, refs=("ch_1", "pi_1", "in_1", "re_1"), facts=(in_all, one))


@pytest.mark.parametrize(
    ("event_type", "status", "seen", "moved"),
    [
        ("created", "needs_response", DisputeStatus.OPEN, {}),
        ("created", "warning_needs_response", DisputeStatus.OPEN, {}),
        ("created", "a status of tomorrow", DisputeStatus.OPEN, {}),
        ("funds_withdrawn", "under_review", DisputeStatus.OPEN, {"withdrawn": True}),
        ("funds_reinstated", "won", DisputeStatus.WON, {"reinstated": True}),
        ("closed", "won", DisputeStatus.WON, {}),
        ("closed", "warning_closed", DisputeStatus.WON, {}),
        ("closed", "prevented", DisputeStatus.WON, {}),
        ("closed", "lost", DisputeStatus.LOST, {}),
    ],
)
def test_a_dispute_says_how_it_stands_and_where_the_money_is(event_type, status, seen, moved):
    reading = read(event(f"charge.dispute.{event_type}", dispute(status=status)))

    fact = DisputeSeen(dispute="du_1", amount=1000, status=seen, at=AT, **moved)
    assert reading == Reading(event_id="evt_1", refs=("du_1", "pi_1", "ch_1"), facts=(fact,))


def test_the_docs_tell_what_each_type_does():
    docs = (Path(__file__).parents[2] / "docs/stripe.md").read_text(encoding="utf-8")

    told = re.findall(r"^\| `([a-z_.]+\.[a-z_]+)` \|", docs, re.MULTILINE)
    assert sorted(told) == sorted(TYPES)
