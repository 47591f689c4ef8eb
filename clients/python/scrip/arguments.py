"""Python's values into the contract's.

Refused here is only what no request can carry, or what would change its meaning on the way. Everything else the server
judges, so that the rules are in one place.
"""

import operator
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from scrip.errors import invalid
from scrip.v1.types_pb2 import Memo, Money, Source

INT32 = (-(2**31), 2**31 - 1)
INT64 = (-(2**63), 2**63 - 1)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SECOND = timedelta(seconds=1)
_SECONDS_MAX = 315_576_000_000  # of a protobuf Duration: 10,000 years
_PREFIX = "SOURCE_"


def whole(field: str, value: int, limits: tuple[int, int] = INT64) -> int:
    """Take a whole number within the limits, which are those of the wire."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise invalid(field, f"must be an int; it is {value!r}")
    number = operator.index(value)
    least, most = limits
    if not least <= number <= most:
        raise invalid(field, f"must be {least} to {most}; it is {number}")
    return number


def text(field: str, value: str) -> str:
    if not isinstance(value, str):
        raise invalid(field, f"must be a str; it is {value!r}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise invalid(field, "must be text that UTF-8 can write") from None
    return value


def named(field: str, value: str) -> str:
    """Take a text that must say something, because the contract gives the empty one a meaning of its own."""
    if not text(field, value):
        raise invalid(field, "must not be empty")
    return value


def instant(field: str, value: datetime) -> Timestamp:
    """Take an instant, exact to the microsecond; a datetime without a time zone is none."""
    if not isinstance(value, datetime):
        raise invalid(field, f"must be a datetime; it is {value!r}")
    if value.utcoffset() is None:
        raise invalid(field, f"must have a time zone; {value.isoformat()} has none")
    seconds, rest = divmod(value - _EPOCH, _SECOND)
    return Timestamp(seconds=seconds, nanos=rest // _MICROSECOND * 1000)


def span(field: str, value: timedelta) -> Duration:
    """Take a length of time, exact to the microsecond."""
    if not isinstance(value, timedelta):
        raise invalid(field, f"must be a timedelta; it is {value!r}")
    if abs(value) > timedelta(seconds=_SECONDS_MAX):
        raise invalid(field, f"must be at most {_SECONDS_MAX} seconds; it is {value}")
    duration = Duration()
    duration.FromTimedelta(value)
    return duration


def source(field: str, value: Source.ValueType | str) -> Source.ValueType:
    """Take a source, or its name in lower case without SOURCE_."""
    if not isinstance(value, str):
        whole(field, value, INT32)
        return value
    names = {
        name.removeprefix(_PREFIX).lower(): number
        for name, number in Source.items()
        if number != Source.SOURCE_UNSPECIFIED
    }
    if value not in names:
        raise invalid(field, f"must be one of {', '.join(names)}; it is {value!r}")
    return names[value]


def money(field: str, value: Money | tuple[int, str] | None) -> Money | None:
    """Take an amount of money: minor units and currency."""
    if value is None or isinstance(value, Money):
        return value
    try:
        minor_units, currency = value
    except (TypeError, ValueError):
        raise invalid(field, f'must be minor units and currency, such as (1999, "EUR"); it is {value!r}') from None
    return Money(
        minor_units=whole(f"{field}.minor_units", minor_units),
        currency=text(f"{field}.currency", currency),
    )


def memo(description: str, reference: str, actor: str, metadata: Mapping[str, str] | None) -> Memo | None:
    """Take what is to be written beside an entry; None if it is nothing."""
    if metadata is not None and not isinstance(metadata, Mapping):
        raise invalid("memo.metadata", f"must be a mapping; it is a {type(metadata).__name__}")
    for key, value in (metadata or {}).items():
        text("memo.metadata key", key)
        # The value stays out of the message: nobody knows what it holds.
        if not isinstance(value, str):
            raise invalid(f"memo.metadata[{key!r}]", f"must be a str; it is a {type(value).__name__}")
        text(f"memo.metadata[{key!r}]", value)
    written = Memo(
        description=text("memo.description", description),
        reference=text("memo.reference", reference),
        actor=text("memo.actor", actor),
        metadata=metadata or {},
    )
    return written if written.ByteSize() else None


def seconds(field: str, value: float) -> float:
    """Take a number of seconds that a call can wait: more than 0, and an end to it."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise invalid(field, f"must be a number of seconds; it is {value!r}")
    if not 0 < value < float("inf"):
        raise invalid(field, f"must be more than 0 and finite; it is {value}")
    return value
