"""What is on sale, and a checkout of it. A malformed one cannot be made."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from ledger.fields import (
    GRANT_TTL_MAX,
    Violation,
    bad_choice,
    bad_duration,
    bad_identifier,
    bad_metadata,
    bad_money,
    bad_name,
    bad_number,
    bad_text,
    check,
)
from ledger.model import DEFAULT_ASSET, INT64_MAX, Money

CONTENTS_MAX: Final = 10
PRICES_MAX: Final = 10
TITLE_LENGTH_MAX: Final = 100
DESCRIPTION_LENGTH_MAX: Final = 500
URL_LENGTH_MAX: Final = 2000
GRACE_MAX: Final = timedelta(days=366)
SORT_ORDER_MAX: Final = 2**31 - 1
# Without a scheme of its own, or on the machine itself, nobody in between could read where the customer comes back.
_URL: Final = re.compile(r"https://[^\s/]+\S*|http://(?:localhost|127\.0\.0\.1|\[::1\])(?::\d+)?(?:/\S*)?")


class Change(StrEnum):
    """What a change of plan in mid-period does."""

    PRO_RATA = "pro_rata"
    AT_RENEWAL = "at_renewal"


class Granted(StrEnum):
    """How often a plan grants credits within a paid period."""

    PER_PERIOD = "per_period"
    MONTHLY = "monthly"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageContent:
    """Credits of one asset in a package.

    credits         smallest units, > 0
    bonus_credits   granted free on top, smallest units, 0 or more
    validity        how long the credits last; None: for ever
    bonus_validity  how long the bonus lasts; None: for ever
    """

    asset: str = DEFAULT_ASSET
    credits: int
    bonus_credits: int = 0
    validity: timedelta | None = None
    bonus_validity: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """What is sold once.

    package      its name
    contents     1 to 10 assets, each once; the first one carries the cost
    price        1 minor unit or more
    sort_order   where it stands in lists; lower first
    active       it is on sale
    version      how often it was written; 0: not known, or not yet
    """

    package: str
    title: str
    description: str = ""
    contents: tuple[PackageContent, ...]
    price: Money
    sort_order: int = 0
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    active: bool = True
    version: int = 0

    def __post_init__(self) -> None:
        check(*bad_package(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollover:
    """What of the unused credits of a period, or of a month of it, lives on.

    share_percent   of what is left, 1 to 100
    cap             smallest units at most; 0: no cap
    ttl             how long it lasts; None: to the end of the period, or the month, into which it is carried
    """

    share_percent: int
    cap: int = 0
    ttl: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanContent:
    """What a plan grants in one asset for each period.

    credits     smallest units, > 0; 0 with `unlimited`
    unlimited   the plan covers all use of the asset while the subscription is active
    """

    asset: str = DEFAULT_ASSET
    credits: int = 0
    unlimited: bool = False
    rollover: Rollover | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is sold by subscription.

    plan            its name
    stripe_prices   the recurring prices that are this plan, 1 to 10
    contents        1 to 10 assets, each once; the first one carries the cost
    change          what a change to this plan in mid-period does
    grace           how long a period's credits outlast it; None: not at all
    active          it is sold; else subscriptions go on
    version         how often it was written; 0: not known, or not yet
    """

    plan: str
    title: str
    stripe_prices: tuple[str, ...]
    contents: tuple[PlanContent, ...]
    change: Change = Change.PRO_RATA
    granted: Granted = Granted.PER_PERIOD
    grace: timedelta | None = None
    active: bool = True
    version: int = 0

    def __post_init__(self) -> None:
        check(*bad_plan(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """What CreateCheckout asks for; one of package and plan is empty.

    success_url, cancel_url   where the customer is sent afterwards
    """

    tenant: str
    request_id: str
    account_id: str
    package: str = ""
    plan: str = ""
    success_url: str
    cancel_url: str
    save_payment_method: bool = False

    def __post_init__(self) -> None:
        check(*bad_checkout(self))


def bad_package(package: Package) -> Iterator[Violation | None]:
    """What is wrong with a package."""
    yield bad_name("package", package.package)
    yield from _bad_words(package.title, package.description)
    yield from _bad_assets([content.asset for content in package.contents])
    for index, content in enumerate(package.contents):
        field_ = f"contents[{index}]"
        yield bad_number(f"{field_}.credits", content.credits, 1, INT64_MAX)
        yield bad_number(f"{field_}.bonus_credits", content.bonus_credits, 0, INT64_MAX)
        yield bad_duration(f"{field_}.validity", content.validity, GRANT_TTL_MAX)
        yield bad_duration(f"{field_}.bonus_validity", content.bonus_validity, GRANT_TTL_MAX)
    yield from bad_money("price", package.price, 1)
    yield bad_number("sort_order", package.sort_order, -SORT_ORDER_MAX - 1, SORT_ORDER_MAX)
    yield from bad_metadata("metadata", package.metadata)
    yield bad_number("version", package.version, 0, INT64_MAX)


def bad_plan(plan: Plan) -> Iterator[Violation | None]:
    """What is wrong with a plan."""
    yield bad_name("plan", plan.plan)
    yield from _bad_words(plan.title, "")
    yield bad_number("stripe_prices", len(plan.stripe_prices), 1, PRICES_MAX)
    for index, price in enumerate(plan.stripe_prices):
        yield bad_identifier(f"stripe_prices[{index}]", price)
    if len(set(plan.stripe_prices)) < len(plan.stripe_prices):
        yield Violation(field="stripe_prices", must="must each be there once.")
    yield from _bad_assets([content.asset for content in plan.contents])
    for index, content in enumerate(plan.contents):
        yield from _bad_plan_content(f"contents[{index}]", content)
    yield bad_choice("change", plan.change, Change)
    yield bad_choice("granted", plan.granted, Granted)
    yield bad_duration("grace", plan.grace, GRACE_MAX)
    yield bad_number("version", plan.version, 0, INT64_MAX)


def _bad_plan_content(field_: str, content: PlanContent) -> Iterator[Violation | None]:
    smallest, largest = (0, 0) if content.unlimited else (1, INT64_MAX)
    yield bad_number(f"{field_}.credits", content.credits, smallest, largest)
    if content.rollover is None:
        return
    if content.unlimited:
        yield Violation(field=f"{field_}.rollover", must="must be absent where use is unlimited.")
    yield bad_number(f"{field_}.rollover.share_percent", content.rollover.share_percent, 1, 100)
    yield bad_number(f"{field_}.rollover.cap", content.rollover.cap, 0, INT64_MAX)
    yield bad_duration(f"{field_}.rollover.ttl", content.rollover.ttl, GRANT_TTL_MAX)


def bad_checkout(checkout: Checkout) -> Iterator[Violation | None]:
    """What is wrong with a checkout."""
    yield bad_identifier("request_id", checkout.request_id)
    yield bad_name("tenant", checkout.tenant)
    yield bad_identifier("account_id", checkout.account_id)
    if bool(checkout.package) == bool(checkout.plan):
        yield Violation(field="sold", must="must name a package or a plan.")
    yield bad_name("package", checkout.package) if checkout.package else None
    yield bad_name("plan", checkout.plan) if checkout.plan else None
    yield _bad_url("success_url", checkout.success_url)
    yield _bad_url("cancel_url", checkout.cancel_url)


def _bad_url(field_: str, url: str) -> Violation | None:
    if len(url) <= URL_LENGTH_MAX and url.isascii() and url.isprintable() and _URL.fullmatch(url):
        return None
    return Violation(field=field_, must="must be an https:// address, or http:// on the machine itself.")


def _bad_words(title: str, description: str) -> Iterator[Violation | None]:
    if not title:
        yield Violation(field="title", must="must not be empty.")
    yield bad_text("title", title, TITLE_LENGTH_MAX)
    yield bad_text("description", description, DESCRIPTION_LENGTH_MAX)


def _bad_assets(assets: list[str]) -> Iterator[Violation | None]:
    yield bad_number("contents", len(assets), 1, CONTENTS_MAX)
    for index, asset in enumerate(assets):
        yield bad_name(f"contents[{index}].asset", asset)
    if len(set(assets)) < len(assets):
        yield Violation(field="contents", must="must have each asset once.")
