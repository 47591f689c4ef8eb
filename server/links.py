"""Links to the purchase page: signed, and good for a while."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import jwt

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
