"""How it is said to a command what a package or a plan grants."""

import re
from typing import Any, Final

import click
from scrip import PackageContent, PlanContent, Rollover

from server.commands.options import Ttl

_CREDITS: Final = r"[0-9]{1,19}"
_OF_PACKAGE: Final = re.compile(rf"([^:]+):({_CREDITS})(?:\+({_CREDITS}))?(?::([^:]*))?(?::([^:]*))?")
_OF_PLAN: Final = re.compile(
    rf"([^:]+):(?:(unlimited)|({_CREDITS})(?::([0-9]{{1,3}})%(?::({_CREDITS}))?(?::([^:]*))?)?)"
)


class SoldOnce(click.ParamType[PackageContent]):
    """Credits of one asset in a package, such as credits:1000, or credits:1000+100:365d:30d."""

    name = "asset:credits[+bonus][:validity[:bonus-validity]]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> PackageContent:
        """The credits a text means."""
        if isinstance(value, PackageContent):
            return value
        if (found := _OF_PACKAGE.fullmatch(value)) is None:
            self.fail(f"{value!r} is not a content such as credits:1000 or credits:1000+100:365d:30d.", param, ctx)
        asset, credits_, bonus, validity, bonus_validity = found.groups(default="")
        return PackageContent(
            asset=asset,
            credits=int(credits_),
            bonus_credits=int(bonus or 0),
            validity=Ttl().convert(validity, param, ctx) if validity else None,
            bonus_validity=Ttl().convert(bonus_validity, param, ctx) if bonus_validity else None,
        )


class SoldEachPeriod(click.ParamType[PlanContent]):
    """What a plan grants in one asset, such as credits:500, images:unlimited, or credits:500:50%:250:30d."""

    name = "asset:credits[:rollover%[:cap[:ttl]]]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> PlanContent:
        """The credits a text means."""
        if isinstance(value, PlanContent):
            return value
        if (found := _OF_PLAN.fullmatch(value)) is None:
            self.fail(
                f"{value!r} is not a content such as credits:500, images:unlimited or credits:500:50%:250:30d.",
                param,
                ctx,
            )
        asset, unlimited, credits_, share, cap, ttl = found.groups(default="")
        length = Ttl().convert(ttl, param, ctx) if ttl else None
        return PlanContent(
            asset=asset,
            credits=int(credits_ or 0),
            unlimited=bool(unlimited),
            rollover=Rollover(share_percent=int(share), cap=int(cap or 0), ttl=length) if share else None,
        )
