"""Python's values into the contract's.

Refused here is only what no request can carry, or what would change its meaning on the way. Everything else the server
judges, so that the rules are in one place.
"""

import operator
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, Protocol, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from scrip.prices import Exact, Usage
from scrip.reasons import invalid
from scrip.terms import SpendLimit, Welcome
from scrip.v1.accounts_pb2 import Metadata, SpendLimits
from scrip.v1.accounts_pb2 import SpendLimit as SpendLimitMessage
from scrip.v1.ledger_service_pb2 import Welcome as WelcomeMessage
from scrip.v1.types_pb2 import Memo, Money, Source
from scrip.v1.types_pb2 import Usage as UsageMessage

Item = TypeVar("Item")
Number = TypeVar("Number", bound=int)
Numbers = TypeVar("Numbers", bound=int, covariant=True)  # noqa: PLC0105 -- as Number, where none is taken

INT32 = (-(2**31), 2**31 - 1)
INT64 = (-(2**63), 2**63 - 1)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SECOND = timedelta(seconds=1)
_DIGITS_MAX = 40  # of a decimal that is written out: the server takes 19 before the point and 18 behind it
_SECONDS_MAX = 315_576_000_000  # of a protobuf Duration: 10,000 years
_WINDOWS = {
    "hour": SpendLimitMessage.WINDOW_HOUR,
    "day": SpendLimitMessage.WINDOW_DAY,
    "month": SpendLimitMessage.WINDOW_MONTH,
}


class Names(Protocol[Numbers]):
    """An enum of the contract."""

    def __hash__(self) -> int: ...

    def items(self) -> Sequence[tuple[str, Numbers]]: ...


def whole(field: str, value: int, limits: tuple[int, int] = INT64) -> int:
    """Take a whole number within the limits, which are those of the wire."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise invalid(field, f"must be an int; it is {value!r}")
    number = operator.index(value)
    least, most = limits
    if not least <= number <= most:
        raise invalid(field, f"must be {least} to {most}; it is {number}")
    return number


def exact(field: str, value: Exact | None) -> str:
    """Take a decimal, written out; empty if it is None."""
    if value is None:
        return ""
    if isinstance(value, str):
        return text(field, value)
    if isinstance(value, bool) or not isinstance(value, Decimal | int):
        raise invalid(field, f"must be a Decimal, an int or a str; it is {value!r}")
    if isinstance(value, int):
        return str(whole(field, value))
    # Not 1E+999999999, which would take all memory there is; the server refuses it as it stands.
    return format(value, "f") if abs(value.adjusted()) <= _DIGITS_MAX else str(value)


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


def truth(field: str, value: bool) -> bool:  # noqa: FBT001 -- it is the value that is looked at
    if not isinstance(value, bool):
        raise invalid(field, f"must be True or False; it is {value!r}")
    return value


def several(field: str, value: Iterable[Item]) -> Iterable[Item]:
    """Take several values; a text is one, though it could be taken apart."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise invalid(field, f"must be a list; it is {value!r}")
    return value


def texts(field: str, value: Iterable[str]) -> list[str]:
    return [text(f"{field}[{index}]", one) for index, one in enumerate(several(field, value))]


def instant(field: str, value: datetime | None) -> Timestamp | None:
    """Take an instant, exact to the microsecond; a datetime without a time zone is none."""
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise invalid(field, f"must be a datetime; it is {value!r}")
    if value.utcoffset() is None:
        raise invalid(field, f"must have a time zone; {value.isoformat()} has none")
    seconds, rest = divmod(value - _EPOCH, _SECOND)
    return Timestamp(seconds=seconds, nanos=rest // _MICROSECOND * 1000)


def span(field: str, value: timedelta | None) -> Duration | None:
    """Take a length of time, exact to the microsecond."""
    if value is None:
        return None
    if not isinstance(value, timedelta):
        raise invalid(field, f"must be a timedelta; it is {value!r}")
    if abs(value) > timedelta(seconds=_SECONDS_MAX):
        raise invalid(field, f"must be at most {_SECONDS_MAX} seconds; it is {value}")
    duration = Duration()
    duration.FromTimedelta(value)
    return duration


def choice(field: str, value: Number | str, names: Names[Number]) -> Number:
    """Take a value of an enum, or its name in lower case without what all of its names begin with."""
    if not isinstance(value, str):
        whole(field, value, INT32)
        return value
    found = _short(names)
    if value not in found:
        raise invalid(field, f"must be one of {', '.join(found)}; it is {value!r}")
    number: Number = found[value]
    return number


@cache
def _short(names: Names[Any]) -> Mapping[str, Any]:
    """List the values of an enum by their short names; kept, because most calls ask for them."""
    begin = next(name for name, number in names.items() if number == 0).removesuffix("UNSPECIFIED")
    return {name.removeprefix(begin).lower(): number for name, number in names.items() if number != 0}


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


def charged(amount: int | None, usage: Usage | UsageMessage | None) -> tuple[int, UsageMessage | None]:
    """Take what is to be charged: an amount, or usage that has a price."""
    if amount is None and usage is None:
        raise invalid("amount", "must be given, or usage instead of it")
    asked, told = charged_or_all(amount, usage)
    return asked or 0, told


def charged_or_all(amount: int | None, usage: Usage | UsageMessage | None) -> tuple[int | None, UsageMessage | None]:
    """Take what is to be charged, where neither of the two means all there is."""
    if amount is not None and usage is not None:
        raise invalid("usage", "must not be given together with amount")
    return (
        None if amount is None else whole("amount", amount),
        None if usage is None else used("usage", usage),
    )


def used(field: str, value: Usage | UsageMessage) -> UsageMessage:
    """Take what happened."""
    if isinstance(value, UsageMessage):
        return value
    if not isinstance(value, Usage):
        raise invalid(field, f"must be a scrip.Usage; it is {value!r}")
    return UsageMessage(
        provider=text(f"{field}.provider", value.provider),
        operation=text(f"{field}.operation", value.operation),
        dimensions=pairs(f"{field}.dimensions", value.dimensions),
        quantities=_counts(f"{field}.quantities", value.quantities),
        bundled=texts(f"{field}.bundled", value.bundled),
    )


def _counts(field: str, value: Mapping[str, int]) -> Mapping[str, int]:
    if not isinstance(value, Mapping):
        raise invalid(field, f"must be a mapping; it is a {type(value).__name__}")
    return {text(f"{field} key", key): whole(f"{field}[{key!r}]", one) for key, one in value.items()}


def memo(description: str, reference: str, actor: str, metadata: Mapping[str, str] | None) -> Memo | None:
    """Take what is to be written beside an entry; None if it is nothing."""
    if description == reference == actor == "" and not metadata:
        return None
    written = Memo(
        description=text("memo.description", description),
        reference=text("memo.reference", reference),
        actor=text("memo.actor", actor),
        metadata=pairs("memo.metadata", metadata or {}),
    )
    return written if written.ByteSize() else None


def pairs(field: str, value: Mapping[str, str]) -> Mapping[str, str]:
    if not isinstance(value, Mapping):
        raise invalid(field, f"must be a mapping; it is a {type(value).__name__}")
    for key, one in value.items():
        text(f"{field} key", key)
        # The value stays out of the message: nobody knows what it holds.
        if not isinstance(one, str):
            raise invalid(f"{field}[{key!r}]", f"must be a str; it is a {type(one).__name__}")
        text(f"{field}[{key!r}]", one)
    return value


def metadata(field: str, value: Mapping[str, str] | None) -> Metadata | None:
    """Take what is to be kept beside an account; an empty mapping is not the same as None."""
    return None if value is None else Metadata(pairs=pairs(field, value))


def limits(field: str, value: Iterable[SpendLimit | SpendLimitMessage] | None) -> SpendLimits | None:
    """Take spend limits; none of them is not the same as None."""
    if value is None:
        return None
    return SpendLimits(limits=[_limit(f"{field}[{index}]", one) for index, one in enumerate(several(field, value))])


def _limit(field: str, value: SpendLimit | SpendLimitMessage) -> SpendLimitMessage:
    if isinstance(value, SpendLimitMessage):
        return value
    if not isinstance(value, SpendLimit):
        raise invalid(field, f"must be a scrip.SpendLimit; it is {value!r}")
    if isinstance(value.window, timedelta):
        window, length = SpendLimitMessage.WINDOW_ROLLING, value.window
    elif value.window in _WINDOWS:
        window, length = _WINDOWS[value.window], None
    else:
        raise invalid(f"{field}.window", f"must be {', '.join(_WINDOWS)} or a timedelta; it is {value.window!r}")
    return SpendLimitMessage(
        name=text(f"{field}.name", value.name),
        window=window,
        length=span(f"{field}.window", length),
        amount=whole(f"{field}.amount", value.amount),
        operation=text(f"{field}.operation", value.operation),
    )


def welcome(field: str, value: Welcome | WelcomeMessage | None) -> WelcomeMessage | None:
    """Take what an account is granted when it is opened."""
    if value is None or isinstance(value, WelcomeMessage):
        return value
    if not isinstance(value, Welcome):
        raise invalid(field, f"must be a scrip.Welcome; it is {value!r}")
    return WelcomeMessage(
        amount=whole(f"{field}.amount", value.amount),
        source=choice(f"{field}.source", value.source, Source),
        ttl=span(f"{field}.ttl", value.ttl),
    )


def seconds(field: str, value: float) -> float:
    """Take a number of seconds that a call can wait: more than 0, and an end to it."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise invalid(field, f"must be a number of seconds; it is {value!r}")
    if not 0 < value < float("inf"):
        raise invalid(field, f"must be more than 0 and finite; it is {value}")
    return value
