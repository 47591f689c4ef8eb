"""What the server answers about sales, as rows."""

import json
from typing import Final

from scrip.v1.billing_service_pb2 import (
    AutoRecharge,
    Consent,
    CreatePurchaseLinkResponse,
    Order,
    Package,
    PackageContent,
    Plan,
    PlanContent,
    StripeEvent,
    Subscription,
)
from scrip.v1.types_pb2 import Money

from server.commands.rows import Row, cell, name_of

PACKAGE_FITS: Final = frozenset({"package", "title", "contents", "price", "sort_order", "active"})
PLAN_FITS: Final = frozenset({"plan", "title", "contents", "stripe_prices", "granted", "active"})
ORDER_FITS: Final = frozenset({"order_id", "kind", "state", "account", "sold", "price", "returned", "created_at"})
EVENT_FITS: Final = frozenset({"event_id", "type", "state", "why", "created_at", "order_id"})


def package_row(package: Package) -> Row:
    """A package with its contents in one cell, as `--content` takes them."""
    return {
        "package": package.package,
        "title": package.title,
        "contents": " ".join(map(_sold_once, package.contents)),
        "price": _money(package.price),
        "sort_order": package.sort_order,
        "active": package.active,
        "description": package.description,
        "metadata": json.dumps(dict(sorted(package.metadata.items())), ensure_ascii=False),
    }


def plan_row(plan: Plan) -> Row:
    """A plan with its contents in one cell, as `--content` takes them."""
    return {
        "plan": plan.plan,
        "title": plan.title,
        "contents": " ".join(map(_sold_each_period, plan.contents)),
        "stripe_prices": cell(plan, "stripe_prices"),
        "change": name_of(Plan.Change, plan.change),
        "granted": name_of(Plan.Granted, plan.granted),
        "grace": cell(plan, "grace"),
        "active": plan.active,
    }


def order_row(order: Order) -> Row:
    """An order and what became of it."""
    return {
        "order_id": order.order_id,
        "kind": name_of(Order.Kind, order.kind),
        "state": name_of(Order.State, order.state),
        "account": order.account_id,
        "sold": order.package or order.plan,
        "price": _money(order.price) if order.HasField("price") else None,
        "paid": _money(order.paid) if order.HasField("paid") else None,
        "returned": order.returned,
        "lot_ids": cell(order, "lot_ids"),
        "created_at": cell(order, "created_at"),
        "stripe_id": order.stripe_id,
        "payment_intent": order.payment_intent,
        "url": order.url,
        **_consent(order.consent),
    }


def link_row(link: CreatePurchaseLinkResponse) -> Row:
    """A purchase link and how long it is good."""
    return {"url": link.url, "expires_at": cell(link, "expires_at")}


def subscription_row(subscription: Subscription) -> Row:
    """A subscription."""
    return {
        "subscription_id": subscription.subscription_id,
        "account": subscription.account_id,
        "plan": subscription.plan,
        "state": name_of(Subscription.State, subscription.state),
        "paid_until": cell(subscription, "paid_until"),
    }


def auto_recharge_row(recharge: AutoRecharge) -> Row:
    """How an account recharges itself, and what the customer agreed to."""
    return {
        "account": recharge.account_id,
        "asset": recharge.asset,
        "enabled": recharge.enabled,
        "threshold": recharge.threshold,
        "package": recharge.package,
        "target": recharge.target,
        "cap": _money(recharge.cap) if recharge.HasField("cap") else None,
        **_consent(recharge.consent),
        "declines": recharge.declines,
        "retry_at": cell(recharge, "retry_at"),
        "order_id": recharge.order_id,
    }


def _consent(consent: Consent) -> Row:
    """What the customer agreed to; empty cells if to nothing."""
    return {"consent": consent.text, "consent_by": consent.actor, "consent_at": cell(consent, "at")}


def event_row(event: StripeEvent) -> Row:
    """An event and what became of it; one that Stripe alone has is missing."""
    return {
        "event_id": event.event_id,
        "type": event.type,
        "state": name_of(StripeEvent.State, event.state) if event.state else "missing",
        "why": event.why,
        "created_at": cell(event, "created_at"),
        "received_at": cell(event, "received_at"),
        "order_id": event.order_id,
    }


def _sold_once(content: PackageContent) -> str:
    bonus = f"+{content.bonus_credits}" if content.bonus_credits else ""
    parts = [f"{content.asset}:{content.credits}{bonus}", cell(content, "validity"), cell(content, "bonus_validity")]
    while parts[-1] is None:
        parts.pop()
    return ":".join(str(part or "") for part in parts)


def _sold_each_period(content: PlanContent) -> str:
    if content.unlimited:
        return f"{content.asset}:unlimited"
    told = f"{content.asset}:{content.credits}"
    if not content.HasField("rollover"):
        return told
    rollover = content.rollover
    ttl = f":{cell(rollover, 'ttl')}" if rollover.HasField("ttl") else ""
    return f"{told}:{rollover.share_percent}%:{rollover.cap}{ttl}"


def _money(money: Money) -> str:
    return f"{money.minor_units} {money.currency}"
