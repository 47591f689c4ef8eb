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
    starts = [start]
    while (following := _months_later(start, len(starts))) < end:
        starts.append(following)
    return [Stretch(start=begins, end=ends) for begins, ends in pairwise([*starts, end])]


def _months_later(start: datetime, number: int) -> datetime:
    first = start.replace(day=1)
    year, month = divmod(first.year * 12 + first.month - 1 + number, 12)
    first = first.replace(year=year, month=month + 1)
    last = (first.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
    return first.replace(day=min(start.day, last.day))
