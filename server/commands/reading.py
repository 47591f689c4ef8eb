"""Commands that show how a customer stands and what became of their credits."""

from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final

import click
from scrip import Client
from scrip.v1.types_pb2 import Entry

from server.commands import options
from server.commands.asking import asks
from server.commands.rows import (
    HISTORY_FITS,
    HOLD_FITS,
    LOT_FITS,
    balance_row,
    entry_row,
    explained_rows,
    hold_row,
    lot_row,
)
from server.output import Format, rendered

PAGE_SIZE_MAX: Final = 500
_KINDS: Final = [name.removeprefix("KIND_").lower() for name in Entry.Kind.keys() if name != "KIND_UNSPECIFIED"]  # noqa: SIM118 -- an enum of protobuf is no mapping
_WITHOUT_LINES: Final = HISTORY_FITS - {"lines"}


@click.command()
@options.account
@options.any_asset
@options.as_of
@click.option("--expiring-within", type=options.Ttl(), help="Also show what runs out within this time, such as 7d.")
@asks
def balance(
    client: Client,
    account: str,
    *,
    asset: str | None,
    as_of: datetime | None,
    expiring_within: timedelta | None,
    form: Format,
) -> None:
    """Show how a customer stands, or stood."""
    if asset is None:
        found = client.balances(account, as_of=as_of, expiring_within=expiring_within)
    else:
        found = (client.balance(account, asset=asset, as_of=as_of, expiring_within=expiring_within),)
    click.echo(rendered([balance_row(one) for one in found], form))


@click.command()
@options.account
@options.asset
@click.option("--all", "include_empty", is_flag=True, help="Also those in which nothing is left.")
@options.as_of
@options.at_most
@asks
def lots(client: Client, account: str, limit: int, form: Format, **given: Any) -> None:
    """List the lots of an account: what remains, what is held, when each runs out."""
    found = client.lots(account, page_size=_page_size(limit), **given)
    click.echo(rendered([lot_row(lot) for lot in islice(found, limit or None)], form, LOT_FITS))


@click.command()
@options.account
@options.asset
@click.option("--state", type=click.Choice(["open", "captured", "released", "lapsed"]), help="Only these; else all.")
@options.as_of
@options.at_most
@asks
def holds(client: Client, account: str, limit: int, form: Format, **given: Any) -> None:
    """List the holds of an account, newest first."""
    found = client.holds(account, page_size=_page_size(limit), **given)
    click.echo(rendered([hold_row(hold) for hold in islice(found, limit or None)], form, HOLD_FITS))


@click.command()
@options.account
@options.asset
@click.option("--kind", "kinds", type=click.Choice(_KINDS), multiple=True, help="Only these; repeat for several.")
@click.option("--since", type=options.Instant(), help="Only what took effect then or later.")
@click.option("--until", type=options.Instant(), help="Only what took effect before.")
@click.option("--reference", default="", help="Only what has this reference.")
@click.option("--operation", default="", help="Only what was spent or held for this.")
@click.option("--lot", "lot_id", default="", help="Only what moved this lot, by its id.")
@click.option("--hold", "hold_id", default="", help="Only what concerns this hold, by its id.")
@click.option("--oldest-first", "order", flag_value="oldest_first", default="newest_first", help="Else newest first.")
@click.option("--without-lines", is_flag=True, help="Leave the lines out.")
@options.at_most
@asks
def history(client: Client, account: str, limit: int, form: Format, *, without_lines: bool, **given: Any) -> None:
    """List the entries of an account."""
    found = client.history(account, page_size=_page_size(limit), without_lines=without_lines, **given)
    rows = [entry_row(entry) for entry in islice(found, limit or None)]
    click.echo(rendered(rows, form, _WITHOUT_LINES if without_lines else HISTORY_FITS))


@click.command()
@click.argument("entry_id")
@asks
def explain(client: Client, entry_id: str, form: Format) -> None:
    """Tell why an entry has the lines it has: which lots it moved, in which order, by which rule."""
    found = client.explain(entry_id)
    rows = list(explained_rows(found))
    if form is Format.TABLE:
        click.echo(rendered([entry_row(found.entry)], form, HISTORY_FITS) + "\n")
    # Most entries have nothing to say under most of the columns; the next lot is mostly that of the next row.
    said = {name for row in rows for name, cell in row.items() if cell not in {None, ""}}
    click.echo(rendered(rows, form, said - {"next_lot_id"}))


def _page_size(limit: int) -> int:
    return min(limit or PAGE_SIZE_MAX, PAGE_SIZE_MAX)


READING_COMMANDS: Final = (balance, lots, holds, history, explain)
