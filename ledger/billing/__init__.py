"""Billing: what is on sale, orders and what their payment does to the books, events, subscriptions, recharges."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import structlog
from sqlalchemy import Connection

from ledger.billing.event_records import keep_refs, known_meanwhile, mark_event, wake_known
from ledger.billing.events import Events
from ledger.billing.lists import EventPage, Lists, OrderPage, SubscriptionPage
from ledger.billing.reading import Found, find, names_learned, own_names
from ledger.billing.recharging import Recharges
from ledger.billing.records import (
    Write,
    keep_order,
    orders_since,
    read_customer,
    read_due_orders,
    read_order,
    read_package,
    read_plan,
)
from ledger.billing.settling import Settling, Submit, follow_recharge
from ledger.billing.shelf import Shelf
from ledger.database import Database, DatabaseUnavailableError
from ledger.fields import MalformedError, bad_memo, bad_reason, check
from ledger.model import NO_MEMO, Memo
from ledger.outcome import Reason, Refused
from ledger.sales.catalogue import Checkout
from ledger.sales.facts import InvoicePaid, Paid, Reading
from ledger.sales.model import EventState, Order, OrderKind, OrderState, SaleRules, StripeEvent, Subscription
from ledger.sales.selling import checkout_order_id, for_package
from ledger.sales.waiting import Unknown
from ledger.writer import NotDoneError, StoppingError, decided_again

__all__ = ["Billing", "EventPage", "MadeOrder", "OrderPage", "SubscriptionPage"]

# How long what belongs to nothing known is no reason for alarm.
STRANGE_FOR: Final = timedelta(minutes=1)
# What nobody has thought of, and keeps an order from being settled, may be put right by somebody.
LOOK_AT_BROKEN_AFTER: Final = timedelta(hours=1)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeOrder:
    """An order, and whether an earlier request had done what was asked."""

    order: Order
    replayed: bool


class Billing(Shelf, Recharges, Events, Lists):
    """Made by Ledger.billing(rules). Safe to use from many threads, and by many servers on one database.

    Every method raises what Ledger.execute raises if the database does not confirm; it may be repeated then.
    """

    def __init__(self, database: Database, submit: Submit, clock: Callable[[], datetime], rules: SaleRules) -> None:
        super().__init__(database, Settling(database, submit, clock, rules))

    def create_checkout(self, checkout: Checkout, *, by_link: bool = False) -> MadeOrder | Refused:
        """Writes the order of a checkout, before anybody is asked for money. Its order_id follows from the request.

        An order that is new, or that has no stripe_id yet, is to be taken to the provider next; then `name_order`.

        by_link   True: whoever has a link pays; the provider is not to be told whose account it is
        refuses   REQUEST_ID_REUSED, PACKAGE_NOT_FOUND, PLAN_NOT_FOUND, in that order
        """
        return decided_again(lambda: self._create_checkout(checkout, by_link=by_link))

    def _create_checkout(self, checkout: Checkout, *, by_link: bool) -> MadeOrder | Refused:
        name = checkout_order_id(checkout)
        with self._database.read() as connection:
            known = read_order(connection, name)
            package = read_package(connection, checkout.tenant, checkout.package)
            plan = read_plan(connection, checkout.tenant, checkout.plan)
            customer = None if by_link else read_customer(connection, checkout.tenant, checkout.account_id)
        if known is not None:
            return _repeated(known, checkout)
        order = Order(
            tenant=checkout.tenant,
            order_id=name,
            kind=OrderKind.SUBSCRIBE if checkout.plan else OrderKind.CHECKOUT,
            account_id=checkout.account_id,
            plan=checkout.plan,
            asked=checkout,
            price=None,
            livemode=self._settling.rules.livemode,
            customer="" if customer is None else customer.customer,
            created_at=self._settling.clock(),
        )
        if checkout.package:
            if package is None or not package.active:
                return Refused(reason=Reason.PACKAGE_NOT_FOUND, figures={"package": checkout.package})
            order = for_package(order, package)
        elif plan is None or not plan.active:
            return Refused(reason=Reason.PLAN_NOT_FOUND, figures={"plan": checkout.plan})
        else:
            order = replace(order, stripe_price=plan.stripe_prices[0])
        self._settling.write(lambda connection: keep_order(connection, order))
        return MadeOrder(order=replace(order, version=1), replayed=False)

    def unpaid_like(self, checkout: Checkout, since: datetime) -> Order | None:
        """The newest order by a link that is not paid yet and is as a checkout wants it; None if none is.

        Of its package only what is as it is on sale now; none if the checkout's own request has made an order.

        since   when it was made at the earliest
        """
        with self._database.read() as connection:
            package = read_package(connection, checkout.tenant, checkout.package)
            if package is None or read_order(connection, checkout_order_id(checkout)) is not None:
                return None
            made = orders_since(connection, checkout.tenant, checkout.account_id, since, OrderKind.CHECKOUT)
            alike = [
                order
                for order in made
                if order.state is OrderState.OPEN
                and not order.customer
                and order.asked is not None
                and replace(order.asked, request_id=checkout.request_id) == checkout
                and for_package(order, package) == order
            ]
        return max(alike, key=lambda order: order.created_at, default=None)

    def name_order(
        self, tenant: str, order_id: str, *, stripe_id: str, url: str = "", refs: tuple[str, ...] = ()
    ) -> Order | Refused:
        """Notes what the provider calls an order, and where the customer pays it.

        refuses   ORDER_NOT_FOUND
        """

        def name() -> Order | Refused:
            order = self.order(tenant, order_id)
            if isinstance(order, Refused):
                return order
            named = replace(order, stripe_id=order.stripe_id or stripe_id, url=url or order.url)
            names = own_names(order, Reading(refs=(stripe_id, *refs)))

            def write(connection: Connection) -> None:
                keep_order(connection, named)
                keep_refs(connection, names, order_id)

            self._settling.write(write)
            return replace(named, version=named.version + 1)

        return decided_again(name)

    def order(self, tenant: str, order_id: str) -> Order | Refused:
        """One order.

        refuses   ORDER_NOT_FOUND
        """
        order = self._order(order_id)
        if order is None or order.tenant != tenant:
            return Refused(reason=Reason.ORDER_NOT_FOUND, figures={"order_id": order_id})
        return order

    def _order(self, order_id: str) -> Order | None:
        with self._database.read() as connection:
            return read_order(connection, order_id)

    def fulfil(self, tenant: str, order_id: str, memo: Memo) -> MadeOrder | Refused:
        """Grants what an order sold, by an administrator's word.

        refuses   ORDER_NOT_FOUND, ORDER_NOT_FULFILLABLE, and what Grant refuses
        raises    MalformedError unless the memo says who and why
        """
        check(*bad_memo(memo), *bad_reason(memo))
        return decided_again(lambda: self._fulfil(tenant, order_id, memo))

    def _fulfil(self, tenant: str, order_id: str, memo: Memo) -> MadeOrder | Refused:
        order = self.order(tenant, order_id)
        if isinstance(order, Refused):
            return order
        is_by_hand = order.fulfilled_by != NO_MEMO
        # If that was said before, what went back since is another matter.
        has_gone_back = not is_by_hand and order.state in {OrderState.RETURNED, OrderState.PARTLY_RETURNED}
        if order.kind is OrderKind.SUBSCRIBE or has_gone_back:
            figures = {"order_id": order_id, "state": order.state.value}
            return Refused(reason=Reason.ORDER_NOT_FULFILLABLE, figures=figures)
        if order.granted:
            return MadeOrder(order=order, replayed=True)
        settled = self._settling.settle(order if is_by_hand else replace(order, fulfilled_by=memo))
        return settled if isinstance(settled, Refused) else MadeOrder(order=settled, replayed=False)

    def apply_event(self, reading: Reading) -> StripeEvent | Refused:
        """Learns what an event says and does what follows, in as many transactions as that takes.

        The last of them marks the event as APPLIED or SET_ASIDE.

        refuses   EVENT_NOT_FOUND
        """
        event = self.event(reading.event_id)
        if isinstance(event, Refused):
            return event
        self.learn(reading)
        return self.event(reading.event_id)

    def learn(self, reading: Reading) -> Order | Subscription | Refused | None:
        """The same of what was read otherwise: by asking the provider, or from its answer.

        Answers the order or the subscription it is about, as it is then; None: it is about nothing known.

        refuses   what the books refuse
        """
        return decided_again(lambda: self._apply(reading))

    def _apply(self, reading: Reading) -> Order | Subscription | Refused | None:
        with self._database.read() as connection:
            found = find(connection, reading, self._settling.clock(), self._settling.rules)
        if isinstance(found, Unknown):
            # What belongs to nothing known often does a moment later: a payment comes before the invoice it pays.
            self._set_aside(reading.event_id, found.why, found.refs, self._settling.clock() + STRANGE_FOR)
            return None
        try:
            return self._settled(reading, found)
        except MalformedError as error:
            # Such as more credits than any account can have, by a quantity that someone mistyped.
            self._set_aside(reading.event_id, f"It asks for what cannot be: {error}.", ())
            return None

    def _settled(self, reading: Reading, found: Found) -> Order | Subscription | Refused | None:
        first: list[Write] = [names_learned(found, reading)]
        done = self._done(reading, found)
        if found.subscription is not None:
            covered = self._settling.cover(found.subscription, [] if found.order is not None else [*first, *done])
            if isinstance(covered, Refused):
                # Neither is written, so no name may belong to them.
                nothing = replace(found, order=None, subscription=None)
                return self._put_off(reading, nothing, covered, [names_learned(nothing, reading)])
            if found.order is None:
                return covered
        if found.order is None:
            self._settling.write(*first, *done)
            return None
        settled = self._settling.settle(found.order, first, done)
        if isinstance(settled, Refused):
            return self._put_off(reading, found, settled, first)
        if found.order.version == 0:
            # What it changes of what others sold is done at once; if not, they are woken.
            for name in self._settling.others(settled):
                self._settle_alone(name)
        tells_of_money = any(isinstance(fact, Paid | InvoicePaid) for fact in reading.facts)
        if tells_of_money and settled.state is OrderState.MISMATCHED:
            told = {"order_id": settled.order_id, "event_id": reading.event_id, "why": settled.why}
            log.error("stripe_payment_mismatched", **told)
        return settled

    def _done(self, reading: Reading, found: Found) -> list[Write]:
        if not reading.event_id:
            return []
        owner = "" if found.order is None else found.order.order_id
        return [lambda connection: mark_event(connection, reading.event_id, EventState.APPLIED, order_id=owner)]

    def _put_off(self, reading: Reading, found: Found, refused: Refused, first: list[Write]) -> Refused:
        """What the books refuse has to be looked at by someone; what the event told is known all the same."""
        why = _refused_by_the_books(refused)
        order, name = found.order, reading.event_id

        def write(connection: Connection) -> None:
            if order is not None:
                # If it has gone on since, by what was done of it or by what others learned, it is decided again.
                keep_order(connection, replace(order, why=why, look_again_at=None))
                follow_recharge(connection, order, self._settling.clock(), is_refused=True)
            for one in first:
                one(connection)
            if name:
                owner = "" if order is None else order.order_id
                mark_event(connection, name, EventState.SET_ASIDE, order_id=owner, why=why)

        self._settling.write(write)
        return refused

    def settle_due(self, limit: int = 100) -> tuple[Order, ...]:
        """Does what of orders could not be done before and may be now; returns those it looked at."""
        now = self._settling.clock()
        with self._database.read() as connection:
            due = read_due_orders(connection, now, limit)
            is_overtaken = bool(known_meanwhile(connection, now))
        if is_overtaken:
            self._settling.write(lambda connection: wake_known(connection, now))
        found = [self._settle_alone(name) for name in due]
        return tuple(order for order in found if order is not None)

    def _settle_alone(self, order_id: str) -> Order | None:
        """Whatever is wrong with one order does not keep others waiting."""
        try:
            return decided_again(partial(self._settle_again, order_id))
        except (DatabaseUnavailableError, StoppingError):
            raise
        except NotDoneError as error:
            log.warning("order_not_settled", order_id=order_id, why=str(error))
        except Exception:
            log.exception("order_broke", order_id=order_id)
            with suppress(NotDoneError):
                return decided_again(partial(self._put_off_broken, order_id))
        return None

    def _settle_again(self, order_id: str) -> Order | None:
        order = self._order(order_id)
        if order is None:
            return None
        settled = self._settling.settle(order)
        if isinstance(settled, Refused):
            why = _refused_by_the_books(settled)
            settled = self._kept_back(order, why, None)
            log.error("order_not_settled", order_id=order_id, why=why)
        return settled

    def _put_off_broken(self, order_id: str) -> Order | None:
        order = self._order(order_id)
        if order is None:
            return None
        why = "It could not be settled; the log has more under order_broke."
        return self._kept_back(order, why, self._settling.clock() + LOOK_AT_BROKEN_AFTER)

    def _kept_back(self, order: Order, why: str, until: datetime | None) -> Order:
        """An order that is not looked at again before an instant; None: not before something else is known of it."""
        kept_back = replace(order, why=why, look_again_at=until)
        self._settling.write(lambda connection: keep_order(connection, kept_back))
        return kept_back


def _refused_by_the_books(refused: Refused) -> str:
    figures = ", ".join(f"{name} {figure}" for name, figure in refused.figures.items())
    return f"The books refuse it: {refused.reason.value} ({figures})."


def _repeated(known: Order, checkout: Checkout) -> MadeOrder | Refused:
    """The answer to a request_id that was used before."""
    names = ("package", "plan", "success_url", "cancel_url", "save_payment_method")
    differ = [name for name in names if known.asked is None or getattr(known.asked, name) != getattr(checkout, name)]
    if differ:
        figures = {"request_id": checkout.request_id, "order_id": known.order_id, "fields": ",".join(sorted(differ))}
        return Refused(reason=Reason.REQUEST_ID_REUSED, figures=figures)
    return MadeOrder(order=known, replayed=True)
