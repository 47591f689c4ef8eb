"""What has to be known before something can be applied, and the names under which it becomes known."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

INSTANT: Final = "at:"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """Something has to be known first.

    refs   under what it becomes known
    why    a sentence
    """

    refs: tuple[str, ...]
    why: str


def period_ref(subscription: str, end: datetime) -> str:
    """Under what a paid period becomes known."""
    return f"{subscription}@{end.isoformat()}"


def change_ref(subscription: str, number: int) -> str:
    """Under what it becomes known that so many invoices with changes in mid-period are known."""
    return f"{subscription}#{number}"


def instant_ref(at: datetime) -> str:
    """Under what an instant becomes known, which is when it has come; one that is later sorts later."""
    return f"{INSTANT}{(at - _EPOCH) // _MICROSECOND:020}"
