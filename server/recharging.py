"""Accounts that recharge themselves: who is due is charged, one order at a time."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from ledger import (
    AutoRecharge,
    Billing,
    DatabaseUnavailableError,
    NotPaid,
    Order,
    Reading,
    StoppingError,
)
from server.payments import Asked, AsksStripe, StripeRefusedError, StripeUnavailableError

RECHARGES_AT_ONCE: Final = 100
# Stripe forgets idempotency keys after a day. What is older may have been charged already, and the answer lost.
KEY_IS_KEPT: Final = timedelta(hours=20)

log = structlog.get_logger()


class Recharger:
    """Safe to be done by several servers at once: the order is written first, and names the charge at Stripe."""

    def __init__(self, billing: Billing, stripe: AsksStripe, clock: Callable[[], datetime]) -> None:
        self._billing = billing
        self._stripe = stripe
        self._clock = clock

    def recharge_due(self) -> None:
        """Charges those that are due.

        raises   DatabaseUnavailableError, StoppingError
        """
        due = self._billing.due_recharges(RECHARGES_AT_ONCE)
        while due:
            for recharge in due:
                self._try_to_recharge(recharge)
            due = self._billing.due_recharges(RECHARGES_AT_ONCE, after=due[-1])

    def _try_to_recharge(self, recharge: AutoRecharge) -> None:
        told = {"account_id": recharge.account_id, "asset": recharge.asset}
        try:
            self._recharge(recharge)
        except (DatabaseUnavailableError, StoppingError):
            raise
        except StripeUnavailableError as error:
            log.warning("recharge_waits", **told, error=str(error))
        except Exception:
            # Whatever is wrong with one account, the others must be recharged.
            log.exception("recharge_broke", **told)

    def _recharge(self, recharge: AutoRecharge) -> None:
        order = self._billing.begin_recharge(recharge)
        if order is None:
            return
        if not order.payment_method:
            self._not_paid(order, "no_payment_method")
            return
        try:
            charged = self._charge(order)
        except StripeRefusedError as error:
            log.warning("recharge_refused", order_id=order.order_id, error=str(error), code=error.code)
            self._not_paid(order, error.code or "refused")
            return
        if charged is None:
            log.error("recharge_given_up", order_id=order.order_id, account_id=order.account_id, asset=order.asset)
            self._not_paid(order, "not_agreed_any_more")
            return
        asked, reading = charged
        self._billing.name_order(order.tenant, order.order_id, stripe_id=asked.stripe_id, refs=asked.refs)
        self._billing.learn(_for_good(reading))

    def _charge(self, order: Order) -> tuple[Asked, Reading] | None:
        """None: it was not charged, and must not be any more."""
        may_charge = self._billing.may_charge(order)
        if not may_charge or self._clock() - order.created_at > KEY_IS_KEPT:
            before = self._stripe.charge_of(order)
            if before is not None:
                return before
        return self._stripe.charge(order) if may_charge else None

    def _not_paid(self, order: Order, why: str) -> None:
        fact = NotPaid(why=why, is_final=True, at=self._clock())
        self._billing.learn(
            Reading(order_id=order.order_id, tenant=order.tenant, account_id=order.account_id, facts=(fact,))
        )


def _for_good(reading: Reading) -> Reading:
    """A charge that was declined stays so: there is no customer who could try another card; later, there is another."""
    facts = tuple(replace(fact, is_final=True) if isinstance(fact, NotPaid) else fact for fact in reading.facts)
    return replace(reading, facts=facts)
