"""Payments: what is asked of Stripe, and what Stripe says, brought to the ledger."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Protocol

import structlog

from ledger import (
    Billing,
    Checkout,
    EventState,
    MadeOrder,
    Order,
    OrderState,
    Reading,
    Reason,
    Refused,
    StripeEvent,
)
from server.inbox import Inbox
from server.stripe_events import take
from server.times import malformed

RECONCILED_DAYS_MAX: Final = 30
GLANCE_EVERY: Final = timedelta(seconds=5)
# Stripe's sessions can be paid for a day.
SESSION_IS_GOOD: Final = timedelta(hours=23)

log = structlog.get_logger()


class StripeUnavailableError(Exception):
    """Stripe did not answer, or not as it should; it may be asked again."""


class StripeRefusedError(Exception):
    """Stripe refused what it was asked.

    code   in Stripe's words; empty if it gave none
    """

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What Stripe calls what it was asked to make for an order.

    stripe_id   cs_… or pi_…
    url         where the customer pays; empty for what is charged at once
    refs        other names that belong to the order
    """

    stripe_id: str
    url: str = ""
    refs: tuple[str, ...] = ()


class AsksStripe(Protocol):
    """The calls that are made to Stripe. All of them raise StripeUnavailableError and StripeRefusedError."""

    def create_session(self, order: Order) -> Asked:
        """Makes the Checkout session of an order; the same order again gets the same session."""

    def charge(self, order: Order) -> tuple[Asked, Reading]:
        """Charges the payment method of an order; the same order again is charged once.

        A decline is no error, but a reading that says so.
        """

    def charge_of(self, order: Order) -> tuple[Asked, Reading] | None:
        """What became of an attempt to charge an order, whose answer was lost; None if there was none."""

    def look_up(self, stripe_id: str) -> tuple[Reading, ...]:
        """How a session, a payment intent or an invoice stands, and what belongs to it: a session's invoice."""

    def event(self, event_id: str) -> bytes | None:
        """An event as JSON; None if Stripe has none of this name."""

    def events(self, since: datetime) -> Iterator[bytes]:
        """Events of the types that change something here, a page after the other; of each type the newest first."""

    def whole(self, event: StripeEvent) -> StripeEvent:
        """An event with all lines of the invoice that it is about, which tells the first ten or so of many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundEvent:
    """An event of Stripe, without its payload, and whether Scrip has it."""

    event: StripeEvent
    is_stored: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """What Stripe has and Scrip had not applied, oldest first, and how many events of Stripe were looked at."""

    events: tuple[FoundEvent, ...]
    found: int


class Payments:
    """What needs Stripe. Safe to use from many threads; every method may wait for Stripe.

    stripe   None if payments are not configured
    """

    def __init__(
        self, billing: Billing, stripe: AsksStripe | None, inbox: Inbox, clock: Callable[[], datetime]
    ) -> None:
        self._billing = billing
        self._stripe = stripe
        self._inbox = inbox
        self._clock = clock
        # When Stripe was last asked about an order by `glance`.
        self._glanced: dict[str, datetime] = {}

    def create_checkout(self, checkout: Checkout, *, by_link: bool = False) -> MadeOrder | Refused:
        """Writes an order, then has Stripe make the session in which it is paid, then notes what Stripe calls it.

        Whatever breaks in between, the same checkout again finds the order, and Stripe the session.

        by_link   True: whoever has a link pays; Stripe is not told whose account it is, because it would show them the
                  address and the cards of the customer. And what nobody has paid yet of the same is answered again, so
                  that a link that is known to many makes no more orders than one
        refuses   PAYMENTS_NOT_CONFIGURED, what Billing.create_checkout refuses, STRIPE_REFUSED, STRIPE_UNAVAILABLE
        """
        if self._stripe is None:
            return _NOT_CONFIGURED
        unpaid = self._unpaid_like(checkout) if by_link else None
        made = unpaid or self._billing.create_checkout(checkout, by_link=by_link)
        # What was granted by hand before Stripe had a name for it is not to be paid any more.
        if isinstance(made, Refused) or made.order.stripe_id or made.order.state is not OrderState.OPEN:
            return made
        named = self._take_to_stripe(self._stripe, made.order)
        return named if isinstance(named, Refused) else MadeOrder(order=named, replayed=made.replayed)

    def checkout(self, tenant: str, order_id: str) -> Order | Refused:
        """How an order stands; if nobody has paid it as far as is known, as Stripe says.

        refuses   ORDER_NOT_FOUND
        """
        order = self._billing.order(tenant, order_id)
        if isinstance(order, Refused) or order.state is not OrderState.OPEN or not order.stripe_id:
            return order
        if self._stripe is None:
            return order
        try:
            readings = self._stripe.look_up(order.stripe_id)
        except (StripeUnavailableError, StripeRefusedError) as error:
            # What is known is told, all the same: the webhook tells the rest.
            log.warning("stripe_not_asked", order_id=order_id, error=str(error))
            return order
        for reading in readings:
            self._billing.learn(reading)
        return self._billing.order(tenant, order_id)

    def glance(self, tenant: str, order_id: str) -> Order | Refused:
        """The same for pages, which anybody may load again and again: Stripe is asked once in GLANCE_EVERY at most.

        refuses   ORDER_NOT_FOUND
        """
        now = self._clock()
        self._glanced = {name: at for name, at in self._glanced.items() if now - at < GLANCE_EVERY}
        if order_id in self._glanced:
            return self._billing.order(tenant, order_id)
        self._glanced[order_id] = now
        return self.checkout(tenant, order_id)

    def replay(self, event_id: str) -> StripeEvent | Refused:
        """Applies an event again, or for the first time; one that is not stored, and what it leaves out, is fetched.

        One whose payload is not kept any more was applied; it is so again as long as Stripe has it.

        refuses   PAYMENTS_NOT_CONFIGURED, EVENT_NOT_FOUND, STRIPE_REFUSED, STRIPE_UNAVAILABLE
        """
        if self._stripe is None:
            return _NOT_CONFIGURED
        event = self._billing.event(event_id)
        try:
            if isinstance(event, Refused) or not event.payload:
                payload = self._stripe.event(event_id)
                if payload is None:
                    return event
                event = take(payload, self._clock())
                self._inbox.store(event)
            event = self._stripe.whole(event)
        except (StripeUnavailableError, StripeRefusedError) as error:
            return refusal_of(error)
        applied = self._inbox.apply(event)
        # It may have been forgotten what it said. If it is set aside now, that is wanted again.
        self._inbox.store(event)
        return applied

    def reconcile(self, days: int, *, post: bool) -> Reconciled | Refused:
        """Compares the events of the last days at Stripe with those that are applied, one after the other.

        If Stripe stops answering in the middle, what was stored and applied by then stays so.

        days      1 to 30, as long as Stripe keeps events
        post      stores and applies what is missing
        refuses   PAYMENTS_NOT_CONFIGURED, STRIPE_REFUSED, STRIPE_UNAVAILABLE
        raises    MalformedError
        """
        if not 1 <= days <= RECONCILED_DAYS_MAX:
            raise malformed("days", f"must be 1 to {RECONCILED_DAYS_MAX}; it is {days}.")
        if self._stripe is None:
            return _NOT_CONFIGURED
        found, missing = 0, []
        try:
            for payload in self._stripe.events(self._clock() - timedelta(days=days)):
                found += 1
                event = take(payload, self._clock())
                stands = self._as_it_stands(event)
                if stands.is_stored and stands.event.state not in _NOT_APPLIED:
                    continue
                if post:
                    self._inbox.store(event)
                missing.append(stands)
            # Of one second, too, what Stripe made first comes first.
            missing.reverse()
            missing.sort(key=lambda one: one.event.created_at)
            if post:
                missing = [self._post(self._stripe, one.event) for one in missing]
        except (StripeUnavailableError, StripeRefusedError) as error:
            return refusal_of(error)
        return Reconciled(events=tuple(missing), found=found)

    def _unpaid_like(self, checkout: Checkout) -> MadeOrder | None:
        order = self._billing.unpaid_like(checkout, self._clock() - SESSION_IS_GOOD)
        if order is None:
            return None
        # It may be paid, or have expired, and nobody has told yet.
        now = self.glance(order.tenant, order.order_id)
        if isinstance(now, Refused) or now.state is not OrderState.OPEN:
            return None
        return MadeOrder(order=now, replayed=True)

    def _as_it_stands(self, event: StripeEvent) -> FoundEvent:
        stored = self._billing.event(event.event_id)
        if isinstance(stored, Refused):
            return FoundEvent(event=replace(event, payload=""), is_stored=False)
        return FoundEvent(event=replace(stored, payload=""), is_stored=True)

    def _post(self, stripe: AsksStripe, event: StripeEvent) -> FoundEvent:
        """Applies an event that is stored; one that cannot be applied does not keep the others from it."""
        stored = self._billing.event(event.event_id)
        if not isinstance(stored, Refused):
            self._inbox.try_to_apply(stripe.whole(stored))
        return self._as_it_stands(event)

    def _take_to_stripe(self, stripe: AsksStripe, order: Order) -> Order | Refused:
        try:
            asked = stripe.create_session(order)
        except (StripeUnavailableError, StripeRefusedError) as error:
            return refusal_of(error)
        return self._billing.name_order(
            order.tenant, order.order_id, stripe_id=asked.stripe_id, url=asked.url, refs=asked.refs
        )


def refusal_of(error: StripeUnavailableError | StripeRefusedError) -> Refused:
    """What a caller is told when Stripe does not do what it was asked."""
    if isinstance(error, StripeUnavailableError):
        return Refused(reason=Reason.STRIPE_UNAVAILABLE, figures={"stripe_message": str(error)})
    return Refused(reason=Reason.STRIPE_REFUSED, figures={"stripe_message": str(error), "stripe_code": error.code})


_NOT_CONFIGURED: Final = Refused(reason=Reason.PAYMENTS_NOT_CONFIGURED, figures={"setting": "stripe_api_key"})
_NOT_APPLIED: Final = frozenset({EventState.RECEIVED, EventState.SET_ASIDE})
