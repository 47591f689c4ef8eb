"""Links to the purchase page: signed, good for a while, and given to whom the books know."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import uuid4

import jwt

from ledger import Ledger, Reason, Refused
from server.config import PAGE_NEEDS, Settings
from server.times import malformed

LINK_TTL: Final = timedelta(hours=1)
LINK_TTL_MAX: Final = timedelta(days=30)
_ALGORITHM: Final = "HS256"
_ISSUER: Final = "scrip"
# Of this page alone, so that no token made for anything else opens it.
_AUDIENCE: Final = "scrip/buy"
PAGE_PATH: Final = "/buy"


class UnknownLinkError(Exception):
    """It is no link that was given out here: changed, cut off, or signed by somebody else."""


class ExpiredLinkError(Exception):
    """It was good once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Who may buy what.

    asset        only packages that have it; empty: all
    link_id      tells this link from others
    expires_at   the first instant at which it is no longer good; whole seconds
    """

    tenant: str
    account_id: str
    asset: str
    link_id: str
    expires_at: datetime


def new_link(*, tenant: str, account_id: str, asset: str = "", link_id: str, ttl: timedelta, now: datetime) -> Link:
    """A link that is good from now on.

    ttl   rounded down to whole seconds at its end
    """
    expires_at = (now + ttl).replace(microsecond=0)
    return Link(tenant=tenant, account_id=account_id, asset=asset, link_id=link_id, expires_at=expires_at)


def token_of(link: Link, *, secret: str) -> str:
    """What stands for a link in URLs."""
    claims = {
        "iss": _ISSUER,
        "aud": _AUDIENCE,
        "exp": int(link.expires_at.timestamp()),
        "jti": link.link_id,
        "tenant": link.tenant,
        "account_id": link.account_id,
        "asset": link.asset,
    }
    return jwt.encode(claims, secret, algorithm=_ALGORITHM)


def page_url(public_url: str, token: str) -> str:
    """Where the page of a link is."""
    return f"{public_url}{PAGE_PATH}/{token}"


def read_link(token: str, *, secret: str, now: datetime) -> Link:
    """The link that a token stands for; raises UnknownLinkError, ExpiredLinkError."""
    try:
        claims = jwt.decode(
            token,
            secret,
            algorithms=[_ALGORITHM],
            audience=_AUDIENCE,
            issuer=_ISSUER,
            # The expiry is looked at below, by the clock that is given.
            options={"require": ["exp", "iss", "aud", "jti", "tenant", "account_id", "asset"], "verify_exp": False},
        )
        link = Link(
            tenant=claims["tenant"],
            account_id=claims["account_id"],
            asset=claims["asset"],
            link_id=claims["jti"],
            expires_at=datetime.fromtimestamp(claims["exp"], UTC),
        )
    except jwt.InvalidTokenError as error:
        raise UnknownLinkError from error
    if link.expires_at <= now:
        raise ExpiredLinkError
    return link


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeLink:
    """A link as it is given out: where it leads, and the first instant at which it is no longer good."""

    url: str
    expires_at: datetime


class PurchaseLinks:
    """Makes links to the purchase page, and reads them.

    clock   tells now, in UTC
    """

    def __init__(self, ledger: Ledger, settings: Settings, clock: Callable[[], datetime]) -> None:
        self._ledger = ledger
        self._settings = settings
        self._clock = clock
        self.public_url = settings.public_url

    def make(self, tenant: str, account_id: str, asset: str, ttl: timedelta | None) -> MadeLink | Refused:
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
        return MadeLink(url=self.page(token_of(link, secret=self._settings.link_secret)), expires_at=link.expires_at)

    def read(self, token: str) -> Link:
        """The link that a token stands for; raises UnknownLinkError, ExpiredLinkError."""
        return read_link(token, secret=self._settings.link_secret, now=self._clock())

    def page(self, token: str) -> str:
        """Where the page of a link is."""
        return page_url(self.public_url, token)
