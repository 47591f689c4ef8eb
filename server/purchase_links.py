"""Who is given a link to the purchase page."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

from ledger import Ledger, Reason, Refused
from server.config import PAGE_NEEDS, Settings
from server.links import new_link, page_url, token_of
from server.times import malformed

LINK_TTL: Final = timedelta(hours=1)
LINK_TTL_MAX: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class PurchaseLink:
    """Where a customer buys packages, and the first instant at which the link is no longer good."""

    url: str
    expires_at: datetime


class PurchaseLinks:
    """Makes links to the purchase page."""

    def __init__(self, ledger: Ledger, settings: Settings, clock: Callable[[], datetime]) -> None:
        self._ledger = ledger
        self._settings = settings
        self._clock = clock

    def make(self, tenant: str, account_id: str, asset: str, ttl: timedelta | None) -> PurchaseLink | Refused:
        """A link to buy for a customer; whoever has it can see how the customer stands.

        asset     only packages that have it; empty: all
        ttl       more than 0, at most 30 days; None: one hour
        refuses   PAYMENTS_NOT_CONFIGURED, ASSET_NOT_FOUND, ACCOUNT_NOT_FOUND, in that order
        raises    MalformedError
        """
        good_for = LINK_TTL if ttl is None else ttl
        if not timedelta(0) < good_for <= LINK_TTL_MAX:
            raise malformed("ttl", f"must be more than 0 and at most {LINK_TTL_MAX.days} days; it is {good_for}.")
        # Asked first, because it says whether the names are malformed.
        standing = self._ledger.balances(tenant, account_id, asset or None)
        if lacking := self._settings.lacking(PAGE_NEEDS):
            return Refused(reason=Reason.PAYMENTS_NOT_CONFIGURED, figures={"setting": lacking[0]})
        if isinstance(standing, Refused):
            return standing
        link = new_link(
            tenant=tenant,
            account_id=account_id,
            asset=asset,
            link_id=uuid4().hex,
            ttl=good_for,
            now=self._clock(),
        )
        token = token_of(link, secret=self._settings.link_secret)
        return PurchaseLink(url=page_url(self._settings.public_url, token), expires_at=link.expires_at)
