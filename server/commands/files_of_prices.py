"""Files of rate cards, for the commands that read one: they price by the ledger's own rules."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import click
import scrip
from scrip.v1.pricing_service_pb2 import RateCardChange

from ledger import AT_ONCE, Charge, RateCard, Unpriced, Usage
from server.commands.rows import Row
from server.commands.rows_of_prices import change_rows, pairs_text
from server.marked_file import UnusableFileError
from server.output import Format, rendered, text_of
from server.price_file import Example, PriceFile, read_price_file

EXAMPLE_FITS: Final = frozenset({"example", "usage", "expected", "found", "agrees"})


class WrongFileError(click.ClickException):
    """The file must be corrected; nothing was sent."""

    exit_code = 2


def read(path: Path) -> PriceFile:
    """What the file says; raises WrongFileError."""
    try:
        return read_price_file(path)
    except UnusableFileError as error:
        raise WrongFileError(str(error)) from error


def asked(card: RateCard) -> scrip.RateCard:
    """A card of a file as the client takes it; the rest has the same names on both sides."""
    cut = card.discount
    return scrip.RateCard(
        card=card.card,
        provider=card.provider,
        operations=card.operations,
        dimensions=card.dimensions,
        fixed=card.fixed,
        meters=[
            scrip.Meter(
                unit=meter.unit,
                rate=meter.rate,
                per=meter.per,
                step=meter.step,
                minimum=meter.minimum,
                free=meter.free,
                tiers=[scrip.Tier(rate=tier.rate, up_to=tier.up_to) for tier in meter.tiers],
                tiering=meter.tiering,
            )
            for meter in card.meters
        ],
        minimum=card.minimum,
        rounding=card.rounding,
        period=card.period,
        discount=None if cut is None else scrip.Discount(percent=cut.percent, since=cut.since, until=cut.until),
        description=card.description,
        effective_at=None if card.effective_at == AT_ONCE else card.effective_at,
        retired=card.retired,
    )


def example_row(example: Example, found: Charge | Unpriced) -> Row:
    """An example, what it expects, and what is found."""
    expected = [] if example.amount is None else [str(example.amount)]
    expected += [] if example.card is None else [f"by {example.card}"]
    return {
        "example": example.place,
        "usage": _said(example.usage),
        "before": pairs_text(example.before),
        "at": text_of(example.at),
        "expected": f"refused: {example.refused}" if example.refused else " ".join(expected),
        "found": f"refused: {found.reason}" if isinstance(found, Unpriced) else f"{found.amount} by {found.card}",
        "exact": None if isinstance(found, Unpriced) else found.exact,
        "agrees": example.agrees(found),
    }


def _said(usage: Usage) -> str:
    """Usage in one line, such as openai chat (model=gpt-5) token=12."""
    dimensions = f" ({pairs_text(usage.dimensions)})" if usage.dimensions else ""
    quantities = f" {pairs_text(usage.quantities)}" if usage.quantities else ""
    return f"{usage.provider} {' + '.join((usage.operation, *usage.bundled))}{dimensions}{quantities}"


def change_table(file: PriceFile, changes: Iterable[RateCardChange]) -> str:
    """What becomes of cards that do not stay as they are. That a change holds at once goes without saying."""
    told = {card.card for card in file.cards if card.effective_at != AT_ONCE}
    rows = (row for change in changes for row in change_rows(change))
    shown = [row for row in rows if row["field"] and (row["field"] != "effective_at" or row["card"] in told)]
    return rendered(shown, Format.TABLE)
