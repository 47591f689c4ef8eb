"""Stripe's objects as the stand-in keeps them: small, with the fields of the old and of the new shape."""


def listed(items, url="/v1/things"):
    return {"object": "list", "data": items, "has_more": False, "url": url}


def price(price_id, *, amount, currency="usd", recurring=None, created=0):
    return {
        "id": price_id,
        "object": "price",
        "active": True,
        "created": created,
        "currency": currency,
        "livemode": False,
        "metadata": {},
        "product": "prod_" + price_id.removeprefix("price_"),
        "recurring": recurring,
        "type": "recurring" if recurring else "one_time",
        "unit_amount": amount,
        "unit_amount_decimal": str(amount),
    }


def session(session_id, *, created, livemode, url, asked, amount, currency):
    """asked: the parameters it was created with."""
    return {
        "id": session_id,
        "object": "checkout.session",
        "amount_subtotal": amount,
        "amount_total": amount,
        "cancel_url": asked.get("cancel_url"),
        "client_reference_id": asked.get("client_reference_id"),
        "created": created,
        "currency": currency,
        "customer": asked.get("customer"),
        "customer_creation": asked.get("customer_creation"),
        "expires_at": int(asked.get("expires_at", created + 24 * 3600)),
        "invoice": None,
        "livemode": livemode,
        "metadata": asked.get("metadata", {}),
        "mode": asked["mode"],
        "payment_intent": None,
        "payment_status": "unpaid",
        "status": "open",
        "subscription": None,
        "success_url": asked["success_url"],
        "url": url,
    }


def payment_intent(intent_id, *, created, livemode, amount, currency, metadata, customer=None, payment_method=None):
    return {
        "id": intent_id,
        "object": "payment_intent",
        "amount": amount,
        "amount_received": 0,
        "charges": listed([], "/v1/charges"),
        "created": created,
        "currency": currency,
        "customer": customer,
        "invoice": None,
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": livemode,
        "metadata": metadata,
        "payment_method": payment_method,
        "setup_future_usage": None,
        "status": "requires_payment_method",
    }


def charge(charge_id, *, created, intent):
    return {
        "id": charge_id,
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": intent["amount"],
        "amount_refunded": 0,
        "created": created,
        "currency": intent["currency"],
        "customer": intent["customer"],
        "disputed": False,
        "invoice": intent["invoice"],
        "livemode": intent["livemode"],
        "metadata": intent["metadata"],
        "paid": True,
        "payment_intent": intent["id"],
        "refunded": False,
        "refunds": listed([], f"/v1/charges/{charge_id}/refunds"),
        "status": "succeeded",
    }


def refund(refund_id, *, created, charged, amount, status, metadata):
    return {
        "id": refund_id,
        "object": "refund",
        "amount": amount,
        "charge": charged["id"],
        "created": created,
        "currency": charged["currency"],
        "metadata": metadata,
        "payment_intent": charged["payment_intent"],
        "reason": None,
        "status": status,
    }


def dispute(dispute_id, *, created, charged, amount, status):
    return {
        "id": dispute_id,
        "object": "dispute",
        "amount": amount,
        "balance_transactions": [],
        "charge": charged["id"],
        "created": created,
        "currency": charged["currency"],
        "is_charge_refundable": False,
        "livemode": charged["livemode"],
        "metadata": {},
        "payment_intent": charged["payment_intent"],
        "reason": "fraudulent",
        "status": status,
    }


def customer(customer_id, *, created, livemode, metadata):
    return {
        "id": customer_id,
        "object": "customer",
        "created": created,
        "invoice_settings": {"default_payment_method": None},
        "livemode": livemode,
        "metadata": metadata,
    }


def subscription(subscription_id, *, created, livemode, customer_id, metadata, item_id, bought, quantity, period):
    """bought: the price; period: (start, end)."""
    start, end = period
    item = {
        "id": item_id,
        "object": "subscription_item",
        "created": created,
        "current_period_end": end,
        "current_period_start": start,
        "metadata": {},
        "price": bought,
        "quantity": quantity,
        "subscription": subscription_id,
    }
    return {
        "id": subscription_id,
        "object": "subscription",
        "billing_cycle_anchor": created,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "created": created,
        "currency": bought["currency"],
        "current_period_end": end,
        "current_period_start": start,
        "customer": customer_id,
        "ended_at": None,
        "items": listed([item], "/v1/subscription_items"),
        "latest_invoice": None,
        "livemode": livemode,
        "metadata": metadata,
        "pause_collection": None,
        "status": "active",
    }


def line(line_id, *, subscribed, bought, amount, period, proration=False):
    """What is billed by an invoice; a proration is an invoice item made by a change of plan."""
    start, end = period
    item = subscribed["items"]["data"][0]["id"]
    details = {"proration": proration, "subscription": subscribed["id"], "subscription_item": item}
    kind = "invoice_item_details" if proration else "subscription_item_details"
    return {
        "id": line_id,
        "object": "line_item",
        "amount": amount,
        "currency": bought["currency"],
        "metadata": {} if proration else subscribed["metadata"],
        "parent": {
            "type": kind,
            "invoice_item_details": {**details, "invoice_item": "ii_" + line_id} if proration else None,
            "subscription_item_details": None if proration else {**details, "invoice_item": None},
        },
        "period": {"start": start, "end": end},
        "price": bought,
        "pricing": {
            "type": "price_details",
            "price_details": {"price": bought["id"], "product": bought["product"]},
            "unit_amount_decimal": bought["unit_amount_decimal"],
        },
        "proration": proration,
        "quantity": 1,
        "subscription": subscribed["id"],
        "subscription_item": item,
        "type": "invoiceitem" if proration else "subscription",
    }


def invoice(invoice_id, *, created, subscribed, lines, billing_reason):
    """A negative sum is not paid out; it is kept for the customer's next invoices."""
    total = sum(item["amount"] for item in lines)
    return {
        "id": invoice_id,
        "object": "invoice",
        "amount_due": max(total, 0),
        "amount_paid": 0,
        "amount_remaining": max(total, 0),
        "billing_reason": billing_reason,
        "charge": None,
        "created": created,
        "currency": subscribed["currency"],
        "customer": subscribed["customer"],
        "lines": listed(lines, f"/v1/invoices/{invoice_id}/lines"),
        "livemode": subscribed["livemode"],
        "metadata": {},
        "paid": False,
        "parent": {
            "type": "subscription_details",
            "quote_details": None,
            "subscription_details": {"metadata": subscribed["metadata"], "subscription": subscribed["id"]},
        },
        "payment_intent": None,
        "payments": listed([], "/v1/invoice_payments"),
        "period_end": created,
        "period_start": created,
        "status": "open",
        "subscription": subscribed["id"],
        "subscription_details": {"metadata": subscribed["metadata"]},
        "total": total,
    }


def invoice_payment(payment_id, *, created, billed, intent_id):
    return {
        "id": payment_id,
        "object": "invoice_payment",
        "amount_paid": billed["amount_due"],
        "amount_requested": billed["amount_due"],
        "created": created,
        "currency": billed["currency"],
        "invoice": billed["id"],
        "is_default": True,
        "livemode": billed["livemode"],
        "payment": {"type": "payment_intent", "payment_intent": intent_id},
        "status": "paid",
        "status_transitions": {"canceled_at": None, "paid_at": created},
    }


def event(event_id, *, created, livemode, event_type, happened_to, previous=None):
    return {
        "id": event_id,
        "object": "event",
        "created": created,
        "data": {"object": happened_to} | ({"previous_attributes": previous} if previous else {}),
        "livemode": livemode,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": event_type,
    }
