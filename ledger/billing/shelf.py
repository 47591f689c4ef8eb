"""What is on sale, as administrators keep it."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeVar

from sqlalchemy import Connection

from ledger.billing.event_records import wake_events
from ledger.billing.records import (
    keep_package,
    keep_plan,
    read_package,
    read_packages,
    read_plan,
    read_plans,
)
from ledger.billing.settling import Desk
from ledger.fields import Violation, check, check_account_part
from ledger.loading import read_assets
from ledger.outcome import Reason, Refused
from ledger.sales.catalogue import Package, Plan
from ledger.writer import StaleError

_Kept = TypeVar("_Kept", Package, Plan)


class Shelf(Desk):
    """Packages and plans."""

    def create_package(self, tenant: str, package: Package) -> Package | Refused:
        """Puts a package on sale; the same again changes nothing.

        refuses   ASSET_NOT_FOUND, PACKAGE_EXISTS, in that order
        """
        package = replace(package, active=True, version=0)
        with self._database.read() as connection:
            known = read_package(connection, tenant, package.package)
            unknown = _unknown_asset(connection, tenant, [content.asset for content in package.contents])
        if unknown is not None:
            return unknown
        if known is not None:
            exists = Refused(reason=Reason.PACKAGE_EXISTS, figures={"package": package.package})
            return known if _is_same(known, package) else exists
        try:
            self._settling.write(lambda connection: keep_package(connection, tenant, package))
        except StaleError:
            # Someone made it at this moment.
            return self.create_package(tenant, package)
        return replace(package, version=1)

    def update_package(self, tenant: str, package: Package) -> Package | Refused:
        """Replaces a package, in the version it names; 0: whichever is there. What is as it is to be stays so.

        refuses   PACKAGE_NOT_FOUND, ASSET_NOT_FOUND, CHANGED_MEANWHILE, in that order
        """
        with self._database.read() as connection:
            known = read_package(connection, tenant, package.package)
            unknown = _unknown_asset(connection, tenant, [content.asset for content in package.contents])
        if known is None:
            return Refused(reason=Reason.PACKAGE_NOT_FOUND, figures={"package": package.package})
        if unknown is not None:
            return unknown
        return self._replaced(tenant, known, package)

    def deactivate_package(self, tenant: str, package: str) -> Package | Refused:
        """Takes a package off sale.

        refuses   PACKAGE_NOT_FOUND, CHANGED_MEANWHILE, in that order
        """
        with self._database.read() as connection:
            known = read_package(connection, tenant, package)
        if known is None:
            return Refused(reason=Reason.PACKAGE_NOT_FOUND, figures={"package": package})
        return self._replaced(tenant, known, replace(known, active=False))

    def _replaced(self, tenant: str, known: Package, package: Package) -> Package | Refused:
        if _is_same(known, package):
            return known
        on_it = replace(package, version=package.version or known.version)
        then = replace(on_it, version=on_it.version + 1)
        return self._written(then, f"package {package.package}", lambda c: keep_package(c, tenant, on_it))

    def packages(self, tenant: str, *, asset: str = "", include_inactive: bool = False) -> tuple[Package, ...]:
        """By sort_order, then name; only those that have the asset, unless it is empty. Raises MalformedError."""
        check_account_part(tenant, None, asset or None)
        with self._database.read() as connection:
            found = read_packages(connection, tenant)
        return tuple(
            package
            for package in found
            if (include_inactive or package.active)
            and (not asset or any(content.asset == asset for content in package.contents))
        )

    def put_plan(self, tenant: str, plan: Plan) -> Plan | Refused:
        """Makes a plan, or replaces it; see update_package for its version.

        refuses   ASSET_NOT_FOUND, CHANGED_MEANWHILE, in that order
        raises    MalformedError if one of its prices is another plan's
        """
        with self._database.read() as connection:
            known = read_plan(connection, tenant, plan.plan)
            others = [other for other in read_plans(connection, tenant) if other.plan != plan.plan]
            unknown = _unknown_asset(connection, tenant, [content.asset for content in plan.contents])
        for other in others:
            both = sorted(set(plan.stripe_prices) & set(other.stripe_prices))
            must = f"must not have {', '.join(both)}, which is of plan {other.plan}."
            check(Violation(field="stripe_prices", must=must) if both else None)
        if unknown is not None:
            return unknown
        if known is not None and _is_same(known, plan):
            return known
        on_it = replace(plan, version=plan.version or (0 if known is None else known.version))

        def write(connection: Connection) -> None:
            keep_plan(connection, tenant, on_it)
            # Invoices that have one of its prices may have waited for it.
            wake_events(connection, plan.stripe_prices)

        return self._written(replace(on_it, version=on_it.version + 1), f"plan {plan.plan}", write)

    def plans(self, tenant: str, *, include_inactive: bool = False) -> tuple[Plan, ...]:
        """By name."""
        with self._database.read() as connection:
            return tuple(plan for plan in read_plans(connection, tenant) if include_inactive or plan.active)

    def _written(self, value: _Kept, what: str, write: Callable[[Connection], None]) -> _Kept | Refused:
        try:
            self._settling.write(write)
        except StaleError:
            return Refused(reason=Reason.CHANGED_MEANWHILE, figures={"what": what})
        return value


def _is_same(known: _Kept, other: _Kept) -> bool:
    """True if they differ in nothing but how often they were written."""
    return known == replace(other, version=known.version)


def _unknown_asset(connection: Connection, tenant: str, assets: Iterable[str]) -> Refused | None:
    """Refuses ASSET_NOT_FOUND."""
    known = read_assets(connection, {tenant})
    missing = next((asset for asset in assets if (tenant, asset) not in known), None)
    return None if missing is None else Refused(reason=Reason.ASSET_NOT_FOUND, figures={"asset": missing})
