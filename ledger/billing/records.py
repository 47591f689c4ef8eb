"""The rows of sales: reading them, and writing them on the version that was read."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Table,
    and_,
    func,
    insert,
    literal,
    not_,
    or_,
    select,
    tuple_,
    update,
)

from ledger.billing.bodies import body_of, value_of
from ledger.fields import bad_identifier
from ledger.model import AccountName, AccountStatus
from ledger.sales.catalogue import Package, Plan
from ledger.sales.model import Customer, Order, OrderKind, Subscription
from ledger.sales.recharge import AutoRecharge
from ledger.tables import (
    accounts,
    customers,
    lots,
    orders,
    packages,
    plans,
    recharges,
    subscriptions,
)
from ledger.writer import StaleError

# Among the terms of an account, as they are written.
_UNLIMITED: Final = '"unlimited":true'

# What is written beside a batch.
Write = Callable[[Connection], object]
# When something was made and how it is called; lists are in this order, newest first.
Place = tuple[datetime, str]


def _keep(connection: Connection, table: Table, seen: int, values: Mapping[str, Any]) -> None:
    """Writes a row as it is after the version that was seen.

    raises   StaleError if it was changed since
    """
    same = and_(*(column == values[column.name] for column in table.primary_key))
    if seen == 0:
        if connection.execute(select(table.c.version).where(same)).first() is not None:
            raise StaleError(f"{table.name}: it is there already")
        connection.execute(insert(table).values(version=1, **values))
        return
    changed = update(table).where(same, table.c.version == seen)
    if connection.execute(changed.values(version=seen + 1, **values)).rowcount != 1:
        raise StaleError(f"{table.name}: it was changed since version {seen}")


def is_name(text: str) -> bool:
    """False for what nothing is called; some of it, such as NUL, no database would even look for."""
    return bad_identifier("name", text) is None


def _package_of(row: Row[Any]) -> Package:
    return replace(value_of(Package, row.body), version=row.version)


def read_package(connection: Connection, tenant: str, package: str) -> Package | None:
    """One package."""
    if not is_name(package):
        return None
    row = connection.execute(select(packages).where(packages.c.tenant == tenant, packages.c.package == package)).first()
    return None if row is None else _package_of(row)


def read_packages(connection: Connection, tenant: str) -> list[Package]:
    """All packages, by sort_order, then name."""
    rows = connection.execute(select(packages).where(packages.c.tenant == tenant))
    return sorted(map(_package_of, rows), key=lambda package: (package.sort_order, package.package))


def keep_package(connection: Connection, tenant: str, package: Package) -> None:
    """Writes a package on the version it names; raises StaleError. So do all that keep something on a version."""
    body = body_of(replace(package, version=0))
    _keep(connection, packages, package.version, {"tenant": tenant, "package": package.package, "body": body})


def _plan_of(row: Row[Any]) -> Plan:
    return replace(value_of(Plan, row.body), version=row.version)


def read_plan(connection: Connection, tenant: str, plan: str) -> Plan | None:
    """One plan."""
    if not is_name(plan):
        return None
    row = connection.execute(select(plans).where(plans.c.tenant == tenant, plans.c.plan == plan)).first()
    return None if row is None else _plan_of(row)


def read_plans(connection: Connection, tenant: str) -> list[Plan]:
    """All plans, by name."""
    rows = connection.execute(select(plans).where(plans.c.tenant == tenant).order_by(plans.c.plan))
    return [_plan_of(row) for row in rows]


def keep_plan(connection: Connection, tenant: str, plan: Plan) -> None:
    """Writes a plan on the version it names."""
    body = body_of(replace(plan, version=0))
    _keep(connection, plans, plan.version, {"tenant": tenant, "plan": plan.plan, "body": body})


def _order_of(row: Row[Any]) -> Order:
    # The column is what wakes an order, whoever set it.
    return replace(value_of(Order, row.body), version=row.version, look_again_at=row.look_again_at)


def read_order(connection: Connection, order_id: str) -> Order | None:
    """One order."""
    if not is_name(order_id):
        return None
    row = connection.execute(select(orders).where(orders.c.order_id == order_id)).first()
    return None if row is None else _order_of(row)


def read_orders(connection: Connection, tenant: str, account_id: str, before: Place | None, limit: int) -> list[Order]:
    """The newest orders, of one customer, unless that is empty; those before one, if it is given."""
    wanted = select(orders).where(orders.c.tenant == tenant)
    if account_id:
        wanted = wanted.where(orders.c.account_id == account_id)
    return [_order_of(row) for row in paged(connection, wanted, orders, before, limit)]


def paged(
    connection: Connection, wanted: Select[Any], table: Table, before: Place | None, limit: int | None
) -> Sequence[Row[Any]]:
    """The newest of the wanted rows; those before one, if it is given."""
    (name,) = table.primary_key
    at = table.c.created_at
    if before is not None:
        wanted = wanted.where(tuple_(at, name) < tuple_(literal(before[0], at.type), literal(before[1], name.type)))
    return list(connection.execute(wanted.order_by(at.desc(), name.desc()).limit(limit)))


def read_due_orders(connection: Connection, now: datetime, limit: int) -> list[str]:
    """The order_ids of those that have to be looked at again, those that wait longest first."""
    due = select(orders.c.order_id).where(orders.c.look_again_at <= now)
    return [row.order_id for row in connection.execute(due.order_by(orders.c.look_again_at).limit(limit))]


def keep_order(connection: Connection, order: Order) -> Order:
    """Writes an order on the version it names; returns it with the next."""
    row = {
        "order_id": order.order_id,
        "tenant": order.tenant,
        "account_id": order.account_id,
        "created_at": order.created_at,
        "look_again_at": order.look_again_at,
        "body": body_of(replace(order, version=0, look_again_at=None)),
    }
    _keep(connection, orders, order.version, row)
    return replace(order, version=order.version + 1)


def wake_order(connection: Connection, order_id: str, now: datetime) -> None:
    """Has an order looked at again; whoever is deciding on it decides again."""
    woken = update(orders).where(orders.c.order_id == order_id)
    connection.execute(woken.values(look_again_at=now, version=orders.c.version + 1))


def read_subscription(connection: Connection, subscription: str) -> Subscription | None:
    """One subscription."""
    row = connection.execute(select(subscriptions).where(subscriptions.c.subscription == subscription)).first()
    return None if row is None else replace(value_of(Subscription, row.body), version=row.version)


def read_subscriptions(
    connection: Connection, tenant: str, account_id: str, before: Place | None = None, limit: int | None = None
) -> list[Subscription]:
    """The newest subscriptions; see read_orders."""
    wanted = select(subscriptions).where(subscriptions.c.tenant == tenant)
    if account_id:
        wanted = wanted.where(subscriptions.c.account_id == account_id)
    rows = paged(connection, wanted, subscriptions, before, limit)
    return [replace(value_of(Subscription, row.body), version=row.version) for row in rows]


def keep_subscription(connection: Connection, subscription: Subscription) -> Subscription:
    """Writes a subscription on the version it names; returns it with the next."""
    row = {
        "subscription": subscription.subscription,
        "tenant": subscription.tenant,
        "account_id": subscription.account_id,
        "created_at": subscription.created_at,
        "body": body_of(replace(subscription, version=0)),
    }
    _keep(connection, subscriptions, subscription.version, row)
    return replace(subscription, version=subscription.version + 1)


def read_customer(connection: Connection, tenant: str, account_id: str) -> Customer | None:
    """As whom the provider knows an account."""
    wanted = select(customers).where(customers.c.tenant == tenant, customers.c.account_id == account_id)
    row = connection.execute(wanted).first()
    return None if row is None else replace(value_of(Customer, row.body), version=row.version)


def account_of_customer(connection: Connection, customer: str) -> tuple[str, str] | None:
    """Tenant and account_id of whom the provider knows by this name; None if that is not one account."""
    wanted = select(customers.c.tenant, customers.c.account_id).where(customers.c.customer == customer).limit(2)
    found = connection.execute(wanted).all()
    return (found[0].tenant, found[0].account_id) if len(found) == 1 else None


def keep_customer(connection: Connection, customer: Customer) -> None:
    """Writes as whom the provider knows an account, on the version it names."""
    row = {
        "tenant": customer.tenant,
        "account_id": customer.account_id,
        "customer": customer.customer,
        "body": body_of(replace(customer, version=0)),
    }
    _keep(connection, customers, customer.version, row)


def _of_recharge(tenant: str, account_id: str, asset: str) -> ColumnElement[bool]:
    return and_(recharges.c.tenant == tenant, recharges.c.account_id == account_id, recharges.c.asset == asset)


def read_recharge(connection: Connection, tenant: str, account_id: str, asset: str) -> AutoRecharge | None:
    """How an account recharges itself; None if that was never said."""
    row = connection.execute(select(recharges).where(_of_recharge(tenant, account_id, asset))).first()
    return None if row is None else replace(value_of(AutoRecharge, row.body), version=row.version)


def spendable(now: datetime) -> ColumnElement[int]:
    """What of an account's available is effective and has not run out, whether that is written or not."""
    not_now = or_(lots.c.effective_at > now, lots.c.expires_at <= now)
    other = select(func.sum(lots.c.remaining)).where(
        lots.c.account_key == accounts.c.account_key, lots.c.open == 1, not_now
    )
    return accounts.c.available - func.coalesce(other.correlate(accounts).scalar_subquery(), 0)


def read_spendable(connection: Connection, name: AccountName, now: datetime) -> int | None:
    """What can be spent of an account; None if it is not open."""
    found = connection.execute(select(spendable(now)).where(accounts.c.account_key == name.key)).scalar_one_or_none()
    return None if found is None else int(found)


def read_status(connection: Connection, name: AccountName) -> AccountStatus | None:
    """Whether an account takes part in changes; None if there is none."""
    found = connection.execute(select(accounts.c.status).where(accounts.c.account_key == name.key)).scalar_one_or_none()
    return None if found is None else AccountStatus(found)


def _due_recharges(now: datetime) -> Select[Any]:
    """Those whose account has too little, and those under way."""
    its_account = and_(
        accounts.c.tenant == recharges.c.tenant,
        accounts.c.account_id == recharges.c.account_id,
        accounts.c.asset == recharges.c.asset,
    )
    may_begin = and_(
        recharges.c.enabled == 1,
        spendable(now) < recharges.c.below,
        accounts.c.status == AccountStatus.OPEN.value,
        # What a plan covers needs no credits. Quotation marks within a text of the terms have a backslash before them.
        not_(func.coalesce(accounts.c.terms, "").contains(_UNLIMITED)),
        or_(recharges.c.retry_at.is_(None), recharges.c.retry_at <= now),
    )
    return select(recharges).outerjoin(accounts, its_account).where(or_(recharges.c.order_id != "", may_begin))


def read_due_recharges(
    connection: Connection, now: datetime, limit: int, after: AutoRecharge | None
) -> list[AutoRecharge]:
    """Those that are due, by name; those after one, if it is given."""
    names = tuple_(recharges.c.tenant, recharges.c.account_id, recharges.c.asset)
    wanted = _due_recharges(now).order_by(*names).limit(limit)
    if after is not None:
        wanted = wanted.where(names > (after.tenant, after.account_id, after.asset))
    return [replace(value_of(AutoRecharge, row.body), version=row.version) for row in connection.execute(wanted)]


def is_due(connection: Connection, recharge: AutoRecharge, now: datetime) -> bool:
    """True if it is under way, or to begin now."""
    its = _of_recharge(recharge.tenant, recharge.account_id, recharge.asset)
    return connection.execute(_due_recharges(now).where(its)).first() is not None


def keep_recharge(connection: Connection, recharge: AutoRecharge) -> AutoRecharge:
    """Writes how an account recharges itself on the version it names; returns it with the next."""
    row = {
        "tenant": recharge.tenant,
        "account_id": recharge.account_id,
        "asset": recharge.asset,
        "enabled": int(recharge.enabled),
        "below": recharge.below,
        "order_id": recharge.order_id,
        "retry_at": recharge.retry_at,
        "body": body_of(replace(recharge, version=0)),
    }
    _keep(connection, recharges, recharge.version, row)
    return replace(recharge, version=recharge.version + 1)


def orders_since(
    connection: Connection, tenant: str, account_id: str, since: datetime, kind: OrderKind
) -> Iterator[Order]:
    """The orders of a kind that were made for a customer since an instant."""
    wanted = select(orders).where(
        orders.c.tenant == tenant, orders.c.account_id == account_id, orders.c.created_at >= since
    )
    found = (_order_of(row) for row in connection.execute(wanted))
    return (order for order in found if order.kind is kind)
