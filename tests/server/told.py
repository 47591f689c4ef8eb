"""Small objects of Stripe in both shapes, as events tell of them: each well-formed, with fields of one's own."""

from datetime import UTC, datetime

from ledger import Money

AT = datetime(2026, 3, 1, tzinfo=UTC)


SECONDS = int(AT.timestamp())


MONTH = 30 * 24 * 3600


OURS = {"scrip_order": "or_1", "scrip_tenant": "default", "scrip_account": "acme"}


def dollars(minor_units):
    return Money(minor_units=minor_units, currency="USD")


def event(event_type, about, **changed):
    return {
        "object": "event",
        "id": "evt_1",
        "type": event_type,
        "created": SECONDS,
        "livemode": False,
        "data": {"object": about},
    } | changed


def session(**changed):
    return {
        "object": "checkout.session",
        "id": "cs_1",
        "mode": "payment",
        "status": "complete",
        "payment_status": "paid",
        "payment_intent": "pi_1",
        "invoice": None,
        "subscription": None,
        "customer": None,
        "amount_total": 1000,
        "currency": "usd",
        "livemode": False,
        "metadata": OURS,
    } | changed


def intent(**changed):
    return {
        "object": "payment_intent",
        "id": "pi_1",
        "status": "succeeded",
        "amount": 1000,
        "amount_received": 1000,
        "currency": "usd",
        "customer": None,
        "payment_method": "pm_1",
        "setup_future_usage": None,
        "latest_charge": "ch_1",
        "livemode": True,
        "metadata": OURS,
    } | changed


DECLINED = {"status": "requires_payment_method", "latest_charge": None}


PERIOD = {"start": SECONDS, "end": SECONDS + MONTH}


NEW_LINE = {
    "amount": 1000,
    "quantity": 1,
    "period": PERIOD,
    "pricing": {"type": "price_details", "price_details": {"price": "price_small", "product": "prod_1"}},
    "parent": {"type": "subscription_item_details", "subscription_item_details": {"proration": False}},
}


OLD_LINE = {
    "amount": 1000,
    "quantity": 1,
    "period": PERIOD,
    "type": "subscription",
    "proration": False,
    "price": {"object": "price", "id": "price_small"},
}


OLDER_LINE = {**{key: value for key, value in OLD_LINE.items() if key != "price"}, "plan": {"id": "price_small"}}


NEW_PRORATION = {
    **NEW_LINE,
    "amount": -400,
    "parent": {"type": "invoice_item_details", "invoice_item_details": {"proration": True}},
}


OLD_PRORATION = {**OLD_LINE, "amount": -400, "type": "invoiceitem", "proration": True}


NEW_EXTRA = {**NEW_LINE, "parent": {"type": "invoice_item_details", "invoice_item_details": {"proration": False}}}


OLD_EXTRA = {**OLD_LINE, "type": "invoiceitem"}


SET_UP_FEE = {**OLD_LINE, "price": None}


def new_invoice(*lines, **changed):
    return {
        "object": "invoice",
        "id": "in_1",
        "status": "paid",
        "amount_paid": 1000,
        "currency": "usd",
        "livemode": False,
        "parent": {
            "type": "subscription_details",
            "subscription_details": {"subscription": "sub_1", "metadata": OURS},
        },
        "lines": {"data": list(lines), "has_more": False},
    } | changed


def old_invoice(*lines, **changed):
    return {
        "object": "invoice",
        "id": "in_1",
        "status": "paid",
        "amount_paid": 1000,
        "currency": "usd",
        "livemode": False,
        "subscription": "sub_1",
        "subscription_details": {"metadata": OURS},
        "payment_intent": "pi_1",
        "charge": "ch_1",
        "lines": {"data": list(lines), "has_more": False},
    } | changed


def subscription(**changed):
    return {
        "object": "subscription",
        "id": "sub_1",
        "status": "active",
        "customer": "cus_1",
        "items": {"data": [{"price": {"id": "price_small"}}]},
        "metadata": OURS,
    } | changed


def refund(**changed):
    return {
        "object": "refund",
        "id": "re_1",
        "amount": 300,
        "charge": "ch_1",
        "payment_intent": "pi_1",
        "currency": "usd",
        "status": "succeeded",
    } | changed


def charge(**changed):
    return {
        "object": "charge",
        "id": "ch_1",
        "amount": 1000,
        "amount_refunded": 300,
        "currency": "usd",
        "payment_intent": "pi_1",
        "metadata": OURS,
    } | changed


def dispute(**changed):
    return {
        "object": "dispute",
        "id": "du_1",
        "amount": 1000,
        "charge": "ch_1",
        "payment_intent": "pi_1",
        "currency": "usd",
        "status": "needs_response",
        "metadata": {},
    } | changed
