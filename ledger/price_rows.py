"""Rate cards in the database, and the price books that are made of them."""

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Row, select

from ledger.json_text import as_json
from ledger.model import Asset
from ledger.outcome import NO_PRICES
from ledger.price_book import PriceBook
from ledger.pricing import Discount, Meter, RateCard, Rounding, Tier, Tiering
from ledger.rows import Values
from ledger.tables import rate_cards
from ledger.terms import Window

# Of so many assets the prices are remembered.
BOOKS_MAX: Final = 1000


class KeptCard:
    """A version of a rate card as the database has it: read once somebody looks at all of it."""

    __slots__ = ("_row", "_whole", "card", "effective_at", "version")

    def __init__(self, row: Row[Any]) -> None:
        self.card: str = row.card
        self.version: int = row.version
        self.effective_at: datetime = row.effective_at
        self._row = row
        self._whole: RateCard | None = None

    @property
    def period(self) -> Window | None:
        """Over what it counts."""
        return None if self._row.period is None else Window(self._row.period)

    @property
    def whole(self) -> RateCard:
        """All of it."""
        if self._whole is None:
            self._whole = card_of(self._row)
        return self._whole


class _Known(NamedTuple):
    """A price book, and the asset's revision of prices and default card that it was made for."""

    prices: int
    default_card: str
    book: PriceBook


class PriceBooks:
    """The price books of assets, remembered as long as the assets' rate cards stay as they are.

    Versions never change; so once some are known, only those are read that came later.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], _Known] = {}

    def of(self, connection: Connection, asset: Asset) -> PriceBook:
        """The prices of an asset that was read in the same transaction."""
        if asset.prices == 0:
            return NO_PRICES
        place, default_card = (asset.tenant, asset.asset), asset.policy.default_card
        known = self._known.get(place)
        if known is not None and known[:2] == (asset.prices, default_card):
            return known.book
        # Another thread may have read what came later.
        before = known if known is not None and known.prices <= asset.prices else None
        kept = () if before is None else before.book.cards
        later = _read_cards(connection, asset, 0 if before is None else before.prices)
        book = PriceBook((*kept, *later), default_card)
        if len(self._known) >= BOOKS_MAX:
            self._known.clear()
        if before is not None or known is None:
            self._known[place] = _Known(asset.prices, default_card, book)
        return book


def _read_cards(connection: Connection, asset: Asset, since: int) -> list[KeptCard]:
    """The versions that came after a revision of the asset's prices, up to the asset's own."""
    of_asset = (rate_cards.c.tenant == asset.tenant) & (rate_cards.c.asset == asset.asset)
    # One that came since the asset was read is left for the next time.
    wanted = select(rate_cards).where(of_asset, rate_cards.c.revision > since, rate_cards.c.revision <= asset.prices)
    return [KeptCard(row) for row in connection.execute(wanted)]


def card_row(asset: Asset, card: RateCard) -> Values:
    """The row of a version of a rate card that came with the asset's revision of its prices."""
    discount = card.discount
    terms = {
        "provider": card.provider,
        "operations": list(card.operations),
        "dimensions": dict(sorted(card.dimensions.items())),
        "fixed": str(card.fixed),
        "meters": [_meter_json(meter) for meter in card.meters],
        "minimum": str(card.minimum),
        "rounding": card.rounding.value,
        "discount": None
        if discount is None
        else [str(discount.percent), _text_or_none(discount.since), _text_or_none(discount.until)],
        "description": card.description,
        "retired": card.retired,
    }
    named = {"tenant": asset.tenant, "asset": asset.asset, "card": card.card, "version": card.version}
    period = None if card.period is None else card.period.value
    begun = {"effective_at": card.effective_at, "revision": asset.prices}
    return {**named, **begun, "period": period, "terms": as_json(terms)}


def card_of(row: Row[Any]) -> RateCard:
    """A version of a rate card from its row."""
    kept = json.loads(row.terms)
    discount = kept["discount"]
    return RateCard(
        card=row.card,
        provider=kept["provider"],
        operations=tuple(kept["operations"]),
        dimensions=kept["dimensions"],
        fixed=Decimal(kept["fixed"]),
        meters=tuple(_meter_of(meter) for meter in kept["meters"]),
        minimum=Decimal(kept["minimum"]),
        rounding=Rounding(kept["rounding"]),
        period=None if row.period is None else Window(row.period),
        discount=None
        if discount is None
        else Discount(percent=Decimal(discount[0]), since=_instant_of(discount[1]), until=_instant_of(discount[2])),
        description=kept["description"],
        effective_at=row.effective_at,
        retired=kept["retired"],
        version=row.version,
    )


def _meter_json(meter: Meter) -> Values:
    return {
        "unit": meter.unit,
        "rate": None if meter.rate is None else str(meter.rate),
        "per": meter.per,
        "step": meter.step,
        "minimum": meter.minimum,
        "free": meter.free,
        "tiers": [[tier.up_to, str(tier.rate)] for tier in meter.tiers],
        "tiering": None if meter.tiering is None else meter.tiering.value,
    }


def _meter_of(kept: Mapping[str, Any]) -> Meter:
    return Meter(
        unit=kept["unit"],
        rate=None if kept["rate"] is None else Decimal(kept["rate"]),
        per=kept["per"],
        step=kept["step"],
        minimum=kept["minimum"],
        free=kept["free"],
        tiers=tuple(Tier(up_to=up_to, rate=Decimal(rate)) for up_to, rate in kept["tiers"]),
        tiering=None if kept["tiering"] is None else Tiering(kept["tiering"]),
    )


def _text_or_none(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat()


def _instant_of(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
