"""What is agreed with customers, as small values that calls take."""

from dataclasses import dataclass
from datetime import timedelta

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
