"""What is agreed with customers and sold to them, as small values that calls take."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from scrip.v1.types_pb2 import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendLimit:
    """How much may be spent in a stretch of time.

    name        names it in refusals; 1 to 63 characters: a lower-case letter, then lower-case letters, digits, "_",
                "-" or "."
    amount      smallest units, 0 or more
    window      "hour", "day" or "month", each from its beginning in the account's time zone; or a timedelta, at most
                366 days: the last so much time, at any instant
    operation   which operations count: a name, or a beginning followed by "*"; empty for all
    """

    name: str
    amount: int
    window: str | timedelta
    operation: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """What an account is granted when it is opened.

    amount   smallest units, 1 or more
    source   where the credits come from, one that is free
    ttl      how long they last: more than 0; None for ever
    """

    amount: int
    source: Source.ValueType | str = "welcome"
    ttl: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageContent:
    """Credits of one asset in a package.

    credits          smallest units, 1 or more
    asset            what is counted
    bonus_credits    granted free on top, smallest units, 0 or more
    validity         how long the credits last: more than 0; None for ever
    bonus_validity   how long the bonus lasts, likewise
    """

    credits: int
    asset: str = "credits"
    bonus_credits: int = 0
    validity: timedelta | None = None
    bonus_validity: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollover:
    """What of a period's unused credits lives on when a subscription is renewed.

    share_percent   percent of what is left, 1 to 100
    cap             smallest units at most; 0 for no cap
    ttl             how long they last: more than 0; None to the end of the period into which they are carried
    """

    share_percent: int
    cap: int = 0
    ttl: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanContent:
    """What a plan grants in one asset for each period.

    credits     smallest units, 1 or more; 0 with `unlimited`
    asset       what is counted
    unlimited   True: the plan covers all use of the asset while the subscription is active
    rollover    what of the unused credits lives on; None for nothing
    """

    credits: int = 0
    asset: str = "credits"
    unlimited: bool = False
    rollover: Rollover | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """How a customer agreed to be charged without being asked each time.

    text    the words that were agreed to, or where they stand; 1 to 1,000 characters
    actor   who agreed; 1 to 255 characters
    at      when
    """

    text: str
    actor: str
    at: datetime
