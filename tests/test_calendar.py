"""Paid periods in stretches: whenever a subscription begins, they meet without a gap and are as many as months."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import Granted
from ledger.sales.calendar import stretches
from tests.stripe_world import period_start

MONTHS = {"month": 1, "year": 12}
BEGIN, END = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (2023, 2033))
# The last days of months, most of all; in leap years and others.
anchors = st.integers(BEGIN, END).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)) | st.builds(
    lambda year, month, back: datetime(year, month, 1, 12, tzinfo=UTC) - timedelta(days=back),
    st.integers(2023, 2033),
    st.integers(1, 12),
    st.integers(1, 4),
)


def period(anchor, number, interval, count=1):
    """A period as Stripe bills it."""
    recurring = {"interval": interval, "interval_count": count}
    began = int(anchor.timestamp())
    return tuple(datetime.fromtimestamp(period_start(began, one, recurring), UTC) for one in (number, number + 1))


@given(anchors, st.integers(0, 60), st.sampled_from(["month", "year"]), st.integers(1, 6))
def test_a_period_of_months_has_as_many_stretches_and_they_meet(anchor, number, interval, count):
    start, end = period(anchor, number, interval, count)

    found = stretches(Granted.MONTHLY, start, end)

    assert len(found) == MONTHS[interval] * count
    assert (found[0].start, found[-1].end) == (start, end)
    assert all(one.end == other.start for one, other in pairwise(found))
    assert all(27 <= (one.end - one.start).days <= 31 for one in found), found


@given(anchors, st.integers(1, 6), st.sampled_from(["month", "year"]))
def test_the_months_of_the_first_period_begin_when_a_monthly_subscription_would_be_billed(anchor, count, interval):
    start, end = period(anchor, 0, interval, count)

    found = stretches(Granted.MONTHLY, start, end)

    billed = [period(anchor, number, "month") for number in range(MONTHS[interval] * count)]
    assert [(one.start, one.end) for one in found] == billed


@given(anchors, st.integers(0, 60), st.sampled_from(["day", "week"]), st.integers(1, 52))
def test_a_period_of_weeks_has_a_stretch_for_each_month_begun(anchor, number, interval, count):
    start, end = period(anchor, number, interval, count)

    found = stretches(Granted.MONTHLY, start, end)

    assert (found[0].start, found[-1].end) == (start, end)
    assert all(one.end == other.start > one.start for one, other in pairwise(found))
    assert all(28 <= (one.end - one.start).days <= 31 for one in found[:-1])
    assert timedelta(0) < found[-1].end - found[-1].start <= timedelta(days=31)


@given(anchors, st.integers(0, 60), st.sampled_from(["day", "week", "month", "year"]), st.integers(1, 12))
def test_a_plan_that_grants_once_has_the_whole_period(anchor, number, interval, count):
    start, end = period(anchor, number, interval, count)

    (found,) = stretches(Granted.PER_PERIOD, start, end)

    assert (found.start, found.end) == (start, end)


@pytest.mark.parametrize(
    ("start", "end", "days"),
    [
        # Begun on 31 January: billed on 30 April, and on 31 July.
        ("2026-01-31", "2026-04-30", [31, 28, 31]),
        ("2026-04-30", "2026-07-31", [30, 31, 30]),
        # Begun on 29 February: billed on the 28th, until there is a 29th again.
        ("2028-02-29", "2029-02-28", [29, 29, 29, 29, 29, 29, 29, 29, 29, 29, 29, 29]),
        ("2031-02-28", "2032-02-29", [28, 29, 29, 29, 29, 29, 29, 29, 29, 29, 29, 29]),
    ],
)
def test_a_month_that_was_too_short_for_the_day_does_not_move_the_day(start, end, days):
    start, end = (datetime.fromisoformat(day).replace(tzinfo=UTC) for day in (start, end))

    assert [one.start.day for one in stretches(Granted.MONTHLY, start, end)] == days
