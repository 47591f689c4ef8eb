"""Instants and lengths of time, as messages and as values, to the microsecond."""

from datetime import UTC, datetime, timedelta
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from ledger import MalformedError, Violation

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NANOS: Final = 1_000_000_000
# What a Timestamp and a Duration of protobuf may hold.
_TIMESTAMP_SECONDS: Final = range(-62_135_596_800, 253_402_300_800)
_DURATION_SECONDS_MAX: Final = 315_576_000_000


def malformed(field: str, must: str) -> MalformedError:
    """What to raise for one field that is malformed."""
    return MalformedError((Violation(field=field, must=must),))


def timestamp(instant: datetime | None) -> Timestamp | None:
    """An instant as a message."""
    if instant is None:
        return None
    since = instant - _EPOCH
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1_000)


def duration(length: timedelta | None) -> Duration | None:
    """A length of time, 0 or more, as a message."""
    if length is None:
        return None
    return Duration(seconds=length.days * 86_400 + length.seconds, nanos=length.microseconds * 1_000)


def instant_of(field: str, message: Timestamp) -> datetime:
    """To the microsecond; what is finer is cut off. Raises MalformedError."""
    if message.seconds not in _TIMESTAMP_SECONDS or not 0 <= message.nanos < _NANOS:
        raise malformed(
            field,
            f"must lie from the year 1 to 9999, with nanos of 0 to {_NANOS - 1}; "
            f"it has {message.seconds} seconds and {message.nanos} nanos.",
        )
    return _EPOCH + timedelta(seconds=message.seconds, microseconds=message.nanos // 1_000)


def length_of(field: str, message: Duration) -> timedelta:
    """To the microsecond; what is finer is cut off. Raises MalformedError."""
    if (
        abs(message.seconds) > _DURATION_SECONDS_MAX
        or abs(message.nanos) >= _NANOS
        or message.seconds * message.nanos < 0
    ):
        raise malformed(
            field,
            f"must have at most {_DURATION_SECONDS_MAX} seconds and {_NANOS - 1} nanos, both of one sign; "
            f"it has {message.seconds} and {message.nanos}.",
        )
    return timedelta(seconds=message.seconds, microseconds=message.nanos // 1_000)
