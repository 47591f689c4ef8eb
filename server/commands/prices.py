"""`scrip prices`: rate cards, in files and on a server."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import scrip
from scrip import Client
from scrip.v1.pricing_service_pb2 import RateCardChange

from server.commands import options
from server.commands.asking import asks
from server.commands.rows import name_of
from server.commands.rows_of_prices import CARD_FITS, card_row, change_rows, quote_rows
from server.output import Format, format_option, rendered, rendered_one

_file = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))


@click.group()
def prices() -> None:
    """Rate cards: what usage costs. docs/pricing.md has the rules, and the form of files."""


@prices.command("test")
@_file
@click.option("--default-card", default="", help="The card for what no card covers, as in the asset's settings.")
@format_option
def test_examples(file: Path, default_card: str, form: Format) -> None:
    """Price the examples in FILE by the cards in it, without a server.

    Ends with 0 if all come out as they should, with 1 if one does not, with 2 if the file is wrong.
    """
    from server.commands import files_of_prices  # noqa: PLC0415 -- to ask a server takes no books

    tried = files_of_prices.read(file).tried(default_card)
    rows = [files_of_prices.example_row(example, found) for example, found in tried]
    disagree = sum(not row["agrees"] for row in rows)
    click.echo(rendered(rows, form, files_of_prices.EXAMPLE_FITS))
    click.echo(f"Examples: {len(rows):,}. Not as they should be: {disagree:,}.", err=form is not Format.TABLE)
    if disagree:
        raise click.exceptions.Exit(1)


@prices.command()
@_file
@click.option("--retire-others", is_flag=True, help="Also retire the asset's cards that are not in FILE.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@options.preview
@asks
def apply(client: Client, file: Path, form: Format, *, retire_others: bool, yes: bool, preview: bool) -> None:
    """Set the rate cards that FILE has: show what would change, ask, and change it.

    If cards of the asset are set by somebody else meanwhile, nothing is changed.

    Ends with 0 if it is done or there is nothing to do, with 1 if it is refused or not confirmed, with 2 if the file is
    wrong and nothing was sent.
    """
    from server.commands import files_of_prices  # noqa: PLC0415 -- to ask a server takes no books

    found = files_of_prices.read(file)
    cards = [files_of_prices.asked(card) for card in found.cards]
    told = client.apply_rate_cards(cards, asset=found.asset, retire_others=retire_others, preview=True)
    changes = told.changes
    verdict, apart = "Preview.", form is not Format.TABLE
    if not apart:
        click.echo(files_of_prices.change_table(found, changes))
    if not preview:
        verdict = "Nothing to do."
        if any(change.action != RateCardChange.ACTION_UNCHANGED for change in changes):
            if not yes:
                if apart:
                    click.echo(files_of_prices.change_table(found, changes), err=True)
                click.confirm(f"Change the prices of {found.asset}?", abort=True, err=apart)
            # What was shown is done, or nothing.
            done = client.apply_rate_cards(
                cards, asset=found.asset, retire_others=retire_others, revision=told.revision
            )
            changes = done.changes
            verdict = "Done."
    if apart:
        click.echo(rendered([row for change in changes for row in change_rows(change)], form))
    click.echo(f"{verdict} {_counted(changes)}", err=apart)


@prices.command("list")
@options.asset
@click.option("--all-versions", is_flag=True, help="All versions of each card, newest first, and retired ones.")
@asks
def list_cards(client: Client, asset: str, form: Format, *, all_versions: bool) -> None:
    """List the rate cards of an asset: those in effect, or all there were and will be."""
    found = client.rate_cards(asset=asset, all_versions=all_versions)
    fits = CARD_FITS | {"effective_at"} if all_versions else CARD_FITS
    click.echo(rendered([card_row(card) for card in found], form, fits))


@prices.command()
@click.argument("card")
@options.asset
@click.option("--version", type=click.IntRange(1), help="Else the one in effect.")
@asks
def show(client: Client, card: str, asset: str, version: int | None, form: Format) -> None:
    """Show one version of a rate card."""
    click.echo(rendered_one(card_row(client.rate_card(card, asset=asset, version=version)), form))


@prices.command()
@click.argument("provider")
@click.argument("operation")
@options.table("--quantity", "quantities", type=options.Quantity(), help="Repeat for several units.")
@options.table("--dimension", "dimensions", type=options.Pair(), help="Such as model=gpt-5; repeat.")
@click.option("--bundled", multiple=True, help="A further operation of the same call; repeat for several.")
@options.asset
@click.option("--account", help="A customer: allowances and tiers count, and what may be spent is told.")
@click.option("--at", type=options.Instant(), help="The instant whose prices count; else now.")
@asks
def quote(client: Client, account: str | None, asset: str, at: datetime | None, form: Format, **given: Any) -> None:
    """Tell what usage costs: at list price, or an account."""
    if account is not None and at is not None:
        raise click.UsageError("What a customer pays is told of now only; leave out --account or --at.")
    usage = scrip.Usage(**given)
    if account is None:
        rows = quote_rows(client.quote(usage, asset=asset, at=at))
    else:
        rows = quote_rows(client.quote_for(account, usage, asset=asset))
    click.echo(rendered(list(rows), form))


def _counted(changes: Iterable[RateCardChange]) -> str:
    """How many cards became what, such as Cards: 2 created, 1 changed, 5 unchanged."""
    counts = Counter(name_of(RateCardChange.Action, change.action) for change in changes)
    said = [
        f"{counts[action]:,} {action}" for action in ("created", "changed", "retired", "unchanged") if counts[action]
    ]
    return f"Cards: {', '.join(said) or 'none'}."
