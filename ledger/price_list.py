"""The rate cards of an asset: read, replaced by new versions, and asked what usage costs at list price."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, insert, update

from ledger.card_versions import CardChanges, changes_of, written
from ledger.database import CollisionError, Database
from ledger.decide.charging import unpriced
from ledger.loading import read_assets
from ledger.model import Asset
from ledger.outcome import Figure, Reason, Refused
from ledger.price_book import PriceBook, in_effect
from ledger.price_rows import PriceBooks, card_row
from ledger.pricing import Charge, RateCard, Unpriced, Usage
from ledger.rows import asset_row
from ledger.tables import assets, rate_cards


class PriceList:
    """Answers about the rate cards of assets, and makes new versions of them.

    books   also those that the writer charges by
    clock   tells now, in UTC
    """

    def __init__(self, database: Database, books: PriceBooks, clock: Callable[[], datetime]) -> None:
        self._database, self._books, self._clock = database, books, clock

    def apply(
        self,
        tenant: str,
        asset: str,
        cards: Sequence[RateCard],
        *,
        retire_others: bool,
        preview: bool,
        revision: int | None,
    ) -> CardChanges | Refused:
        """Makes a new version of every card that differs from its last one.

        retire_others   cards that are not among these are retired
        preview         writes nothing
        revision        if something is to be changed, it must be this one still; None: any
        refuses         ASSET_NOT_FOUND, EFFECTIVE_IN_PAST, RATE_CARDS_CLASH, CHANGED_MEANWHILE, in that order
        raises          CollisionError if another process changes the asset's cards at this moment
        """
        start = self._database.read if preview else self._database.write
        with start() as connection:
            known = _asset(connection, tenant, asset)
            if isinstance(known, Refused):
                return known
            kept = self._books.of(connection, known).cards
            changes = changes_of(kept, cards, self._clock(), retire_others=retire_others)
            if isinstance(changes, Refused):
                return changes
            new = written(changes)
            if new and revision not in {None, known.prices}:
                return Refused(reason=Reason.CHANGED_MEANWHILE, figures={"what": f"price list of {asset}"})
            if not new or preview:
                return CardChanges(changes=changes, revision=known.prices)
            raised = replace(known, prices=known.prices + 1)
            _write(connection, known, raised, new)
            connection.commit()
        return CardChanges(changes=changes, revision=raised.prices)

    def card(self, tenant: str, asset: str, card: str, version: int) -> RateCard | Refused:
        """A rate card.

        version   0: the one in effect
        refuses   ASSET_NOT_FOUND, RATE_CARD_NOT_FOUND, in that order
        """
        book = self._book(tenant, asset)
        if isinstance(book, Refused):
            return book
        versions = [one for one in book.cards if one.card == card]
        if version:
            found = tuple(one.whole for one in versions if one.version == version)
        else:
            found = in_effect(versions, self._clock())
        figures: dict[str, Figure] = {"asset": asset, "card": card, "version": version}
        return next(iter(found), Refused(reason=Reason.RATE_CARD_NOT_FOUND, figures=figures))

    def cards(self, tenant: str, asset: str, *, all_versions: bool) -> tuple[RateCard, ...] | Refused:
        """The rate cards in effect, by name; or all versions of each, the newest first.

        refuses   ASSET_NOT_FOUND
        """
        book = self._book(tenant, asset)
        if isinstance(book, Refused):
            return book
        if all_versions:
            return tuple(one.whole for one in sorted(book.cards, key=lambda one: (one.card, -one.version)))
        return in_effect(book.cards, self._clock())

    def quote(self, tenant: str, asset: str, usage: Usage, at: datetime | None) -> Charge | Refused:
        """What usage costs without an account: without allowances, and in the first tier.

        at        whose prices count; None: now
        refuses   ASSET_NOT_FOUND, PRICE_NOT_FOUND, UNIT_MISMATCH, COST_OVERFLOW, in that order
        """
        book = self._book(tenant, asset)
        if isinstance(book, Refused):
            return book
        charge = book.list_price(usage, at or self._clock())
        return unpriced(asset, charge) if isinstance(charge, Unpriced) else charge

    def _book(self, tenant: str, asset: str) -> PriceBook | Refused:
        with self._database.read() as connection:
            known = _asset(connection, tenant, asset)
            return known if isinstance(known, Refused) else self._books.of(connection, known)


def _asset(connection: Connection, tenant: str, asset: str) -> Asset | Refused:
    known = read_assets(connection, {tenant}).get((tenant, asset))
    return known or Refused(reason=Reason.ASSET_NOT_FOUND, figures={"asset": asset})


def _write(connection: Connection, asset: Asset, raised: Asset, cards: Iterable[RateCard]) -> None:
    """Writes new versions; raises CollisionError if another process has changed the asset's cards."""
    kept = update(assets).where(assets.c.tenant == asset.tenant, assets.c.asset == asset.asset)
    if connection.execute(kept.where(assets.c.prices == asset.prices).values(prices=raised.prices)).rowcount == 0:
        if asset.prices > 0:
            raise CollisionError("another process changed the rate cards first")
        # The asset that exists from the start has no row until something is said of it.
        connection.execute(insert(assets).values(asset_row(raised)))
    connection.execute(insert(rate_cards), [card_row(raised, card) for card in cards])
