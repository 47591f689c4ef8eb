"""What a subscription is known to be, and which assets it lets be used without limit."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from ledger.sales.catalogue import Plan
from ledger.sales.facts import Fact, SubscriptionSeen, SubscriptionState
from ledger.sales.model import Changed, Order, PaidPeriod, Subscription

# Of a subscription that no event has told of: any event is newer.
NEVER_SEEN: Final = datetime(1970, 1, 1, tzinfo=UTC)


def new_subscription(name: str, *, tenant: str, account_id: str, plan: str, now: datetime) -> Subscription:
    """A subscription of which nothing is known but whose it is."""
    return Subscription(
        tenant=tenant,
        subscription=name,
        account_id=account_id,
        plan=plan,
        state=SubscriptionState.ACTIVE,
        seen_at=NEVER_SEEN,
        event="",
        created_at=now,
    )


def learn_subscription(subscription: Subscription, facts: Iterable[Fact], plans: Mapping[str, Plan]) -> Subscription:
    """The subscription as it stood by the newest event; ENDED is final.

    plans   by the provider's names of their prices
    """
    for fact in facts:
        if not isinstance(fact, SubscriptionSeen) or fact.subscription != subscription.subscription:
            continue
        if _rank(fact.state, fact.at, fact.event) > _rank(subscription.state, subscription.seen_at, subscription.event):
            subscription = replace(subscription, state=fact.state, seen_at=fact.at, event=fact.event)
            known = [plans[price].plan for price in fact.prices if price in plans]
            if known:
                subscription = replace(subscription, plan=known[0])
    return subscription


def _rank(state: SubscriptionState, at: datetime, event: str) -> tuple[bool, datetime, str]:
    return state is SubscriptionState.ENDED, at, event


def with_invoice(subscription: Subscription, order: Order) -> Subscription:
    """The subscription with the changes that an invoice is for, and with the period that it paid for.

    The plan is that of the last period, as long as no event tells.
    """
    earlier = [one for one in subscription.changes if one.order_id != order.order_id]
    changes = tuple(sorted([*earlier, *order.changes], key=_moment))
    subscription = replace(subscription, changes=changes)
    if order.period is None:
        return subscription
    others = [one for one in subscription.periods if one.order_id != order.order_id]
    periods = tuple(sorted([*others, order.period], key=_beginning))
    plan = periods[-1].plan if subscription.seen_at == NEVER_SEEN else subscription.plan
    return replace(subscription, periods=periods, plan=plan or periods[-1].plan)


def _moment(change: Changed) -> tuple[datetime, str]:
    return change.at, change.order_id


def _beginning(period: PaidPeriod) -> tuple[datetime, str]:
    return period.start, period.order_id


def unlimited_assets(subscription: Subscription, plans: Mapping[str, Plan]) -> frozenset[str]:
    """The assets whose use it covers: while it is active, and once something was paid.

    plans   by their names
    """
    plan = plans.get(subscription.plan)
    if plan is None or subscription.state is not SubscriptionState.ACTIVE or not subscription.periods:
        return frozenset()
    return frozenset(content.asset for content in plan.contents if content.unlimited)
