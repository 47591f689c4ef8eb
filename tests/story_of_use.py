"""A story of prices and spend limits, of which tests/corruptions_of_use.py says what can be wrong."""

from datetime import timedelta
from decimal import Decimal

from ledger import Capture, DeductMode, SpendLimit, UpdateAccount, Window
from ledger.operations import PlaceHold, Refund
from tests.books import ACME, deducting, granting, opening, request_id
from tests.model_prices import discount, meter, rate_card, used

LIMITS = (
    SpendLimit(name="daily", window=Window.DAY, amount=500),
    SpendLimit(name="often", window=Window.ROLLING, amount=500, length=timedelta(hours=1), operation="chat"),
)
CARDS = (
    rate_card("chat", provider="openai", operations=("chat",), meters=(meter("2", free=10),), period=Window.DAY),
    rate_card("image", provider="*", operations=("image/*",), fixed=Decimal(5), discount=discount("20")),
)


def of_acme(**part):
    return {"request_id": request_id(), "tenant": ACME.tenant, "key": ACME.key, **part}


def by_usage(usage, **terms):
    return deducting(None, usage=usage, **terms)


# What is done on which day; the numbers are those of the entries.
STORY_OF_USE = (
    (0, opening()),  # 1
    (0, granting(100)),  # 2
    (0, UpdateAccount(request_id=request_id(), account=ACME, time_zone="Europe/Berlin", limits=LIMITS)),  # 3
    (0, by_usage(used(token=15))),  # 4: 10 are free, the others cost 10
    (0, PlaceHold(request_id=request_id(), account=ACME, amount=None, usage=used(token=5))),  # 5: 10
    (0, Capture(**of_acme(hold=5), usage=used(token=4))),  # 6: 8
    (0, by_usage(used(operation="image/small"))),  # 7: 4
    (0, by_usage(used(token=100), mode=DeductMode.CLAMP)),  # 8: 200, of which 78 are there
    (0, Refund(**of_acme(entry=4), amount=3)),  # 9
    (1, by_usage(used(token=11))),  # 10: 2
    (1, deducting(1)),  # 11
)
