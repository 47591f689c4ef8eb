"""Money, credits and spans of time, as customers read them."""

from datetime import timedelta

import pytest

from ledger import Money
from server.shown import credits_shown, money_shown, span_shown


@pytest.mark.parametrize(
    ("minor_units", "currency", "shown"),
    [
        (1, "EUR", "0.01 EUR"),
        (1900, "EUR", "19.00 EUR"),
        (123_456_789, "USD", "1,234,567.89 USD"),
        (500, "JPY", "500 JPY"),
        (1_500_000, "KRW", "1,500,000 KRW"),
        (5_120, "KWD", "5.120 KWD"),
        (12_345_670, "BHD", "12,345.670 BHD"),
        (500, "ISK", "5.00 ISK"),
        (500, "UGX", "5.00 UGX"),
    ],
)
def test_a_price_has_the_decimals_of_its_currency(minor_units, currency, shown):
    assert money_shown(Money(minor_units=minor_units, currency=currency)) == shown


@pytest.mark.parametrize(
    ("units", "scale", "shown"),
    [
        (0, 0, "0"),
        (1_832, 0, "1,832"),
        (100, 0, "100"),
        (1_500_000, 6, "1.5"),
        (1, 6, "0.000001"),
        (100_000_000, 6, "100"),
        (12_345_678_900, 2, "123,456,789"),
        (2**63 - 1, 18, "9.223372036854775807"),
    ],
)
def test_credits_have_the_scale_of_their_asset(units, scale, shown):
    assert credits_shown(units, scale) == shown


@pytest.mark.parametrize(
    ("span", "shown"),
    [
        (timedelta(seconds=1), "1 second"),
        (timedelta(seconds=90), "90 seconds"),
        (timedelta(minutes=1), "1 minute"),
        (timedelta(hours=36), "36 hours"),
        (timedelta(days=1), "1 day"),
        (timedelta(days=365), "365 days"),
        (timedelta(days=3_650), "3,650 days"),
    ],
)
def test_a_span_is_told_in_the_largest_unit_that_fits(span, shown):
    assert span_shown(span) == shown
