"""Calls about what is sold: packages, once, and plans, by subscription."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Required, TypedDict, Unpack

from scrip import arguments
from scrip.calls.call import Call
from scrip.reasons import invalid
from scrip.terms import PackageContent, PlanContent, Rollover
from scrip.v1.billing_service_pb2 import (
    CreatePackageRequest,
    DeactivatePackageRequest,
    ListPackagesRequest,
    ListPlansRequest,
    Package,
    Plan,
    PutPlanRequest,
    UpdatePackageRequest,
)
from scrip.v1.billing_service_pb2 import PackageContent as PackageContentMessage
from scrip.v1.billing_service_pb2 import PlanContent as PlanContentMessage
from scrip.v1.billing_service_pb2 import Rollover as RolloverMessage
from scrip.v1.types_pb2 import Money


class Offer(TypedDict, total=False):
    """What a package has and costs; `create_package` describes it."""

    title: Required[str]
    price: Required[Money | tuple[int, str]]
    contents: Required[Iterable[PackageContent | PackageContentMessage]]
    description: str
    sort_order: int
    metadata: Mapping[str, str] | None
    deadline_s: float | None


def create_package(package: str, **offer: Unpack[Offer]) -> Call[Package]:
    """Put a package on sale; the same package again is answered alike.

    package       its name: 1 to 63 characters: a lower-case letter, then lower-case letters, digits, "_", "-" or "."
    title         for the customer; 1 to 100 characters
    price         what it costs, minor units and currency, such as (1999, "EUR")
    contents      what is granted, such as [scrip.PackageContent(credits=100, bonus_credits=10)]: 1 to 10 assets, each
                  once; the first one carries the cost
    description   for the customer; at most 500 characters
    sort_order    where it stands in lists; lower first
    metadata      at most 20 pairs; kept, never interpreted
    refused       AssetNotFound, PackageExists, in that order
    """
    request = CreatePackageRequest(package=offered(**offer))
    request.package.package = arguments.text("package", package)
    return Call(
        rpc="CreatePackage", request=request, read=lambda response: response.package, deadline_s=offer.get("deadline_s")
    )


def update_package(package: str, *, active: bool = True, version: int = 0, **offer: Unpack[Offer]) -> Call[Package]:
    """Replace what a package has and costs; what was ordered before is honoured as sold.

    package   its name
    active    True: it is on sale, again if need be
    version   the one that is to be replaced, as it was told; if there is another by now, ChangedMeanwhile is raised;
              0: whichever is there
    refused   PackageNotFound, AssetNotFound, ChangedMeanwhile, in that order

    The other arguments: see `create_package`.
    """
    request = UpdatePackageRequest(package=offered(**offer))
    request.package.package = arguments.text("package", package)
    request.package.active = arguments.truth("active", active)
    request.package.version = arguments.whole("version", version)
    return Call(
        rpc="UpdatePackage", request=request, read=lambda response: response.package, deadline_s=offer.get("deadline_s")
    )


def deactivate_package(package: str, *, deadline_s: float | None = None) -> Call[Package]:
    """Take a package off sale; what was ordered before is honoured as sold. `update_package` puts it on sale again.

    refused   PackageNotFound, ChangedMeanwhile, in that order
    """
    request = DeactivatePackageRequest(package=arguments.text("package", package))
    return Call(rpc="DeactivatePackage", request=request, read=lambda response: response.package, deadline_s=deadline_s)


def packages(
    *, asset: str | None = None, include_inactive: bool = False, deadline_s: float | None = None
) -> Call[tuple[Package, ...]]:
    """List packages by sort_order, then name.

    asset              those that have this asset; None for all
    include_inactive   True: those that are not on sale too
    """
    request = ListPackagesRequest(
        asset="" if asset is None else arguments.named("asset", asset),
        include_inactive=arguments.truth("include_inactive", include_inactive),
    )
    return Call(rpc="ListPackages", request=request, read=lambda found: tuple(found.packages), deadline_s=deadline_s)


def put_plan(
    plan: str,
    *,
    title: str,
    stripe_prices: Iterable[str],
    contents: Iterable[PlanContent | PlanContentMessage],
    change: Plan.Change.ValueType | str = "pro_rata",
    granted: Plan.Granted.ValueType | str = "per_period",
    grace: timedelta | None = None,
    active: bool = True,
    version: int = 0,
    deadline_s: float | None = None,
) -> Call[Plan]:
    """Make a plan, or replace its terms; periods that were paid before stay as they are.

    plan            its name: form as of a package's
    title           for the customer; 1 to 100 characters
    stripe_prices   the recurring prices at Stripe that are this plan, such as ["price_1"]; 1 to 10, none of another
                    plan
    contents        what each period grants, such as [scrip.PlanContent(credits=500)]: 1 to 10 assets, each once; the
                    first one carries the cost
    change          what a change to this plan in mid-period does. "pro_rata": the difference is granted, or revoked as
                    far as it is unspent, in proportion to what is left of the period; "at_renewal": nothing until then
    granted         "per_period": once, for all of a paid period; "monthly": each month of it, the same amount
    grace           how long a period's credits outlast it, so that a renewal that is paid late leaves no gap; None for
                    not at all
    active          False: it is not sold any more; subscriptions go on
    version         the one that is to be replaced; see `update_package`
    refused         AssetNotFound, ChangedMeanwhile, in that order
    """
    several = arguments.several("contents", contents)
    request = PutPlanRequest(
        plan=Plan(
            plan=arguments.text("plan", plan),
            title=arguments.text("title", title),
            stripe_prices=arguments.texts("stripe_prices", stripe_prices),
            contents=[_granted(f"contents[{index}]", one) for index, one in enumerate(several)],
            change=arguments.choice("change", change, Plan.Change),
            granted=arguments.choice("granted", granted, Plan.Granted),
            grace=arguments.span("grace", grace),
            active=arguments.truth("active", active),
            version=arguments.whole("version", version),
        )
    )
    return Call(rpc="PutPlan", request=request, read=lambda response: response.plan, deadline_s=deadline_s)


def plans(*, include_inactive: bool = False, deadline_s: float | None = None) -> Call[tuple[Plan, ...]]:
    """List plans in order of their names.

    include_inactive   True: those that are not sold any more too
    """
    request = ListPlansRequest(include_inactive=arguments.truth("include_inactive", include_inactive))
    return Call(rpc="ListPlans", request=request, read=lambda found: tuple(found.plans), deadline_s=deadline_s)


def offered(
    *,
    title: str,
    price: Money | tuple[int, str],
    contents: Iterable[PackageContent | PackageContentMessage],
    description: str = "",
    sort_order: int = 0,
    metadata: Mapping[str, str] | None = None,
    deadline_s: float | None = None,  # noqa: ARG001 -- of the group, but no part of the package
) -> Package:
    """Take what a package has and costs."""
    several = arguments.several("contents", contents)
    return Package(
        title=arguments.text("title", title),
        description=arguments.text("description", description),
        contents=[_sold(f"contents[{index}]", one) for index, one in enumerate(several)],
        price=arguments.money("price", price),
        sort_order=arguments.whole("sort_order", sort_order, arguments.INT32),
        metadata=arguments.pairs("metadata", metadata or {}),
    )


def _sold(field: str, value: PackageContent | PackageContentMessage) -> PackageContentMessage:
    if isinstance(value, PackageContentMessage):
        return value
    if not isinstance(value, PackageContent):
        raise invalid(field, f"must be a scrip.PackageContent; it is {value!r}")
    return PackageContentMessage(
        asset=arguments.named(f"{field}.asset", value.asset),
        credits=arguments.whole(f"{field}.credits", value.credits),
        bonus_credits=arguments.whole(f"{field}.bonus_credits", value.bonus_credits),
        validity=arguments.span(f"{field}.validity", value.validity),
        bonus_validity=arguments.span(f"{field}.bonus_validity", value.bonus_validity),
    )


def _granted(field: str, value: PlanContent | PlanContentMessage) -> PlanContentMessage:
    if isinstance(value, PlanContentMessage):
        return value
    if not isinstance(value, PlanContent):
        raise invalid(field, f"must be a scrip.PlanContent; it is {value!r}")
    return PlanContentMessage(
        asset=arguments.named(f"{field}.asset", value.asset),
        credits=arguments.whole(f"{field}.credits", value.credits),
        unlimited=arguments.truth(f"{field}.unlimited", value.unlimited),
        rollover=None if value.rollover is None else _rollover(f"{field}.rollover", value.rollover),
    )


def _rollover(field: str, value: Rollover) -> RolloverMessage:
    if not isinstance(value, Rollover):
        raise invalid(field, f"must be a scrip.Rollover; it is {value!r}")
    return RolloverMessage(
        share_percent=arguments.whole(f"{field}.share_percent", value.share_percent, arguments.INT32),
        cap=arguments.whole(f"{field}.cap", value.cap),
        ttl=arguments.span(f"{field}.ttl", value.ttl),
    )
