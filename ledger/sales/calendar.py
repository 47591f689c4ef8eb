"""Paid periods, and the stretches of them for each of which credits are granted."""

from datetime import datetime, timedelta
from itertools import pairwise

from ledger.sales.catalogue import Granted
from ledger.sales.model import Stretch


def stretches(granted: Granted, start: datetime, end: datetime) -> list[Stretch]:
    """The stretches of a period for each of which a plan grants its credits."""
    return months(start, end) if granted is Granted.MONTHLY else [Stretch(start=start, end=end)]


def months(start: datetime, end: datetime) -> list[Stretch]:
    """A period in months from its beginning on; where a month is too short for the day, on its last day."""
    day, starts = _day_of_months(start, end), [start]
    while (following := _months_later(start, len(starts), day)) < end:
        starts.append(following)
    return [Stretch(start=begins, end=ends) for begins, ends in pairwise([*starts, end])]


def _day_of_months(start: datetime, end: datetime) -> int:
    """On which day months begin. If the first one was too short for it, the end tells: 30 April is 31 July's third."""
    is_last = (start + timedelta(days=1)).day == 1
    return max(start.day, end.day) if is_last else start.day


def _months_later(start: datetime, number: int, day: int) -> datetime:
    first = start.replace(day=1)
    year, month = divmod(first.year * 12 + first.month - 1 + number, 12)
    first = first.replace(year=year, month=month + 1)
    last = (first.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
    return first.replace(day=min(day, last.day))
