"""A small price book, and what usage costs an account of the dumb model: all that was ever told is added up anew."""

from datetime import UTC, datetime
from decimal import Decimal

from ledger import Capture, Deduct, PlaceHold, Tiering, Usage, Window
from ledger.terms import Counter
from tests.model_account import Purse
from tests.model_limits import are_in_one_window
from tests.model_prices import card_for, counted_by, exact_price, meter, rate_card, rounded, tiers
from tests.model_values import Refusal

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
GRADUATED = meter(unit="second", free=3, tiers=tiers((6, "2"), (None, "0.5")), tiering=Tiering.GRADUATED)
CARDS = (
    rate_card("image", operations=("image/*",), fixed=Decimal(2), effective_at=LONG_AGO),
    rate_card("text", operations=("text",), meters=(meter("1.5", unit="word"),), effective_at=LONG_AGO),
    rate_card("video", operations=("video",), meters=(GRADUATED,), period=Window.HOUR, effective_at=LONG_AGO),
)


def cost_of(purse: Purse, usage: Usage, at: datetime) -> int:
    """What usage costs now, at the prices of some instant."""
    card = card_for(CARDS, "", usage, at)
    if card is None:
        raise Refusal("PRICE_NOT_FOUND")
    before = {}
    for used_at, time_zone, told in purse.told:
        alike = card.period and time_zone == purse.time_zone and card_for(CARDS, "", told, at) == card
        if alike and are_in_one_window(Counter(window=card.period, counted_as=""), time_zone, used_at, purse.time):
            for one in card.meters:
                before[one.unit] = before.get(one.unit, 0) + counted_by(one, told.quantities.get(one.unit, 0))
    return rounded(exact_price(card, usage, at, before), card.rounding)


def due(purse: Purse, operation: Deduct | PlaceHold | Capture, amount: int, at: datetime) -> int:
    """The amount, or what the usage costs that is told instead."""
    return amount if operation.usage is None else cost_of(purse, operation.usage, at)


def tell(purse: Purse, operation: Deduct | Capture) -> None:
    """Remembers the usage of what is done; what is only held for is not used yet."""
    if operation.usage is not None:
        purse.told.append((purse.time, purse.time_zone, operation.usage))
