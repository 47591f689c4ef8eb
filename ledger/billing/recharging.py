"""How accounts recharge themselves: what was agreed, which are due, and their orders."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import Connection

from ledger.billing.records import (
    is_due,
    keep_order,
    keep_recharge,
    orders_since,
    read_customer,
    read_due_recharges,
    read_order,
    read_package,
    read_recharge,
    read_status,
)
from ledger.billing.settling import Desk
from ledger.fields import Violation, check
from ledger.ids import order_id
from ledger.loading import read_assets
from ledger.model import AccountStatus
from ledger.outcome import Reason, Refused
from ledger.sales.catalogue import Package
from ledger.sales.model import Order, OrderKind, OrderState
from ledger.sales.recharge import AutoRecharge, agreed_anew, month_after, month_of
from ledger.sales.selling import for_package
from ledger.writer import StaleError

# A package may be put on sale again at any time.
LOOK_AT_PACKAGE_AFTER: Final = timedelta(hours=1)

log = structlog.get_logger()


class Recharges(Desk):
    """Automatic recharges."""

    def set_auto_recharge(self, recharge: AutoRecharge) -> AutoRecharge | Refused:
        """Says how an account recharges itself; what is under way and how often it was declined is kept.

        Enabled again after it was not, it begins without declines.

        refuses   ASSET_NOT_FOUND, PACKAGE_NOT_FOUND, NO_PAYMENT_METHOD, CHANGED_MEANWHILE, in that order
        raises    MalformedError if the cap is not in the currency of the package
        """
        tenant, account_id = recharge.tenant, recharge.account_id
        with self._database.read() as connection:
            known = read_recharge(connection, tenant, account_id, recharge.asset)
            is_asset = (tenant, recharge.asset) in read_assets(connection, {tenant})
            package = read_package(connection, tenant, recharge.package)
            customer = read_customer(connection, tenant, account_id)
        if not is_asset:
            return Refused(reason=Reason.ASSET_NOT_FOUND, figures={"asset": recharge.asset})
        if recharge.enabled and (package is None or not _sells(package, recharge.asset)):
            return Refused(reason=Reason.PACKAGE_NOT_FOUND, figures={"package": recharge.package})
        if recharge.cap is not None and package is not None:
            asked, must = package.price.currency, "must be that of the package"
            differs = Violation(field="cap.currency", must=f"{must}, {asked}; it is {recharge.cap.currency}.")
            check(None if recharge.cap.currency == asked else differs)
        if recharge.enabled and (customer is None or not customer.payment_method):
            return Refused(reason=Reason.NO_PAYMENT_METHOD, figures={"account_id": account_id})
        kept = agreed_anew(recharge, known, self._settling.clock())
        try:
            self._settling.write(lambda connection: keep_recharge(connection, kept))
        except StaleError:
            what = f"auto-recharge of {account_id}"
            return Refused(reason=Reason.CHANGED_MEANWHILE, figures={"what": what})
        return replace(kept, version=kept.version + 1)

    def auto_recharge(self, tenant: str, account_id: str, asset: str) -> AutoRecharge:
        """How an account recharges itself: not at all, unless that was set."""
        with self._database.read() as connection:
            known = read_recharge(connection, tenant, account_id, asset)
        return known or AutoRecharge(tenant=tenant, account_id=account_id, asset=asset)

    def due_recharges(self, limit: int = 100, *, after: AutoRecharge | None = None) -> tuple[AutoRecharge, ...]:
        """Those that are to begin now, and those under way, by name; those after one, if it is given."""
        with self._database.read() as connection:
            return tuple(read_due_recharges(connection, self._settling.clock(), limit, after))

    def begin_recharge(self, recharge: AutoRecharge) -> Order | None:
        """Writes the order of a recharge, before the provider is called; the one under way is answered as it is.

        The order's id is the idempotency key. None: it may not begin. Its package is not sold any more or its month's
        cap would be passed, and it waits then; or it is not due any more, or another server was faster.
        """
        now = self._settling.clock()
        with self._database.read() as connection:
            known = read_recharge(connection, recharge.tenant, recharge.account_id, recharge.asset)
            if known is None:
                return None
            if known.order_id:
                return read_order(connection, known.order_id)
            if not is_due(connection, known, now):
                return None
            package = read_package(connection, known.tenant, known.package)
            customer = read_customer(connection, known.tenant, known.account_id)
            month = month_of(now)
            spent = [
                order.price.minor_units
                for order in orders_since(connection, known.tenant, known.account_id, month, OrderKind.RECHARGE)
                if order.asset == known.asset and order.price is not None and order.state is not OrderState.FAILED
            ]
        if package is None or not _sells(package, known.asset) or known.cap is None:
            self._wait(known, now + LOOK_AT_PACKAGE_AFTER, "its package is not on sale")
            return None
        if package.price.currency != known.cap.currency:
            self._wait(known, now + LOOK_AT_PACKAGE_AFTER, "its package is sold in another currency than was agreed")
            return None
        if sum(spent) + package.price.minor_units > known.cap.minor_units:
            self._wait(known, month_after(now), "the month's cap is reached")
            return None
        order = Order(
            tenant=known.tenant,
            order_id=order_id("recharge", known.tenant, known.account_id, known.asset, str(known.version)),
            kind=OrderKind.RECHARGE,
            account_id=known.account_id,
            price=package.price,
            livemode=self._settling.rules.livemode,
            # Whoever the customer is later: asked again, the provider is to be asked the same.
            customer="" if customer is None else customer.customer,
            payment_method="" if customer is None else customer.payment_method,
            asset=known.asset,
            consent=known.consent,
            created_at=now,
        )
        order = for_package(order, package)

        def write(connection: Connection) -> None:
            keep_recharge(connection, replace(known, order_id=order.order_id))
            keep_order(connection, order)

        try:
            self._settling.write(write)
        except StaleError:
            return None
        return replace(order, version=1)

    def may_charge(self, order: Order) -> bool:
        """False if the customer must not be charged for a recharge: it was disabled since, or the account closed."""
        with self._database.read() as connection:
            known = read_recharge(connection, order.tenant, order.account_id, order.asset)
            status = read_status(connection, order.account(order.asset))
        return known is not None and known.enabled and known.order_id == order.order_id and status is AccountStatus.OPEN

    def _wait(self, recharge: AutoRecharge, until: datetime, why: str) -> None:
        """What may not buy now is not looked at again before it may, so that it does not keep others waiting."""
        try:
            self._settling.write(lambda connection: keep_recharge(connection, replace(recharge, retry_at=until)))
        except StaleError:
            # Something was agreed at this moment; it is looked at again.
            return
        log.warning(
            "recharge_waits", account_id=recharge.account_id, asset=recharge.asset, until=until.isoformat(), why=why
        )


def _sells(package: Package, asset: str) -> bool:
    """True if it is on sale and has the asset."""
    return package.active and any(content.asset == asset for content in package.contents)
