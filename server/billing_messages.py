"""What the ledger knows of sales, as messages of the contract."""

from scrip.v1 import billing_service_pb2 as pb

from ledger import (
    AutoRecharge,
    Consent,
    IdPrefix,
    Order,
    OrderState,
    Package,
    Plan,
    StripeEvent,
    Subscription,
    public_id,
)
from server.choices import EVENT_STATES, ORDER_KINDS, ORDER_STATES, PLAN_CHANGES, PLAN_GRANTED, SUBSCRIPTION_STATES
from server.messages import money_message
from server.payments import FoundEvent
from server.times import duration, timestamp


def package_message(package: Package) -> pb.Package:
    """What is sold once."""
    return pb.Package(
        package=package.package,
        title=package.title,
        description=package.description,
        contents=[
            pb.PackageContent(
                asset=content.asset,
                credits=content.credits,
                bonus_credits=content.bonus_credits,
                validity=duration(content.validity),
                bonus_validity=duration(content.bonus_validity),
            )
            for content in package.contents
        ],
        price=money_message(package.price),
        sort_order=package.sort_order,
        metadata=package.metadata,
        active=package.active,
        version=package.version,
    )


def plan_message(plan: Plan) -> pb.Plan:
    """What is sold by subscription."""
    return pb.Plan(
        plan=plan.plan,
        title=plan.title,
        stripe_prices=plan.stripe_prices,
        contents=[
            pb.PlanContent(
                asset=content.asset,
                credits=content.credits,
                unlimited=content.unlimited,
                rollover=None
                if content.rollover is None
                else pb.Rollover(
                    share_percent=content.rollover.share_percent,
                    cap=content.rollover.cap,
                    ttl=duration(content.rollover.ttl),
                ),
            )
            for content in plan.contents
        ],
        change=PLAN_CHANGES.values[plan.change],
        granted=PLAN_GRANTED.values[plan.granted],
        grace=duration(plan.grace),
        active=plan.active,
        version=plan.version,
    )


def order_message(order: Order) -> pb.Order:
    """An order with its lots, as it stands."""
    # What was paid otherwise than ordered is told too, for whoever has to look at it.
    paid = order.received if order.payment.paid is None else order.payment.paid.money
    return pb.Order(
        order_id=order.order_id,
        kind=ORDER_KINDS.values[order.kind],
        state=ORDER_STATES.values[order.state],
        account_id=order.account_id,
        package=order.package,
        plan=order.plan,
        price=money_message(order.price),
        paid=money_message(paid),
        returned=order.returned,
        lot_ids=[public_id(IdPrefix.LOT, *order.place(lot)) for lot in order.lots],
        created_at=timestamp(order.created_at),
        stripe_id=order.stripe_id,
        payment_intent=order.payment_intent,
        url=order.url if order.state is OrderState.OPEN else "",
        consent=_consent_message(order.consent),
    )


def subscription_message(subscription: Subscription) -> pb.Subscription:
    """A customer's subscription."""
    return pb.Subscription(
        subscription_id=subscription.subscription,
        account_id=subscription.account_id,
        plan=subscription.plan,
        state=SUBSCRIPTION_STATES.values[subscription.state],
        paid_until=timestamp(subscription.paid_until),
    )


def auto_recharge_message(recharge: AutoRecharge) -> pb.AutoRecharge:
    """How an account recharges itself."""
    return pb.AutoRecharge(
        account_id=recharge.account_id,
        asset=recharge.asset,
        enabled=recharge.enabled,
        threshold=recharge.threshold,
        package=recharge.package,
        target=recharge.target,
        cap=money_message(recharge.cap),
        consent=_consent_message(recharge.consent),
        retry_at=timestamp(recharge.retry_at),
        declines=recharge.declines,
        order_id=recharge.order_id,
    )


def _consent_message(consent: Consent | None) -> pb.Consent | None:
    return None if consent is None else pb.Consent(text=consent.text, actor=consent.actor, at=timestamp(consent.at))


def event_message(event: StripeEvent) -> pb.StripeEvent:
    """An event without what Stripe wrote in it."""
    return pb.StripeEvent(
        event_id=event.event_id,
        type=event.type,
        state=EVENT_STATES.values[event.state],
        why=event.why,
        created_at=timestamp(event.created_at),
        received_at=timestamp(event.received_at),
        order_id=event.order_id,
    )


def found_event_message(found: FoundEvent) -> pb.StripeEvent:
    """An event of which Scrip may have nothing yet."""
    message = event_message(found.event)
    if not found.is_stored:
        message.ClearField("state")
        message.ClearField("received_at")
    return message
