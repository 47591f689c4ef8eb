"""Commands about the books as a whole, and what they count."""

from datetime import UTC, datetime, timedelta
from typing import Final

import click
from scrip import Client, Welcome

from server.commands import options
from server.commands.asking import asks
from server.commands.rows import REVENUE_FITS, asset_row, cell, money_trial_rows, revenue_rows, trial_rows
from server.output import Format, rendered

# Of what reads all there is.
WHOLE_DEADLINE_S: Final = 3_600.0


@click.command("trial-balance")
@options.any_asset
@options.as_of
@asks
def trial_balance(client: Client, asset: str | None, as_of: datetime | None, form: Format) -> None:
    """Add up all that was debited and credited, per asset and code."""
    found = client.trial_balance(asset=asset, as_of=as_of)
    click.echo(rendered([row for one in found.assets for row in trial_rows(one)], form))


@click.command("money-trial-balance")
@click.option("--currency", help="One currency, such as EUR; else all.")
@options.as_of
@asks
def money_trial_balance(client: Client, currency: str | None, as_of: datetime | None, form: Format) -> None:
    """Add up what was paid for credits and what became of it, in minor units, per currency and code."""
    found = client.money_trial_balance(currency=currency, as_of=as_of, deadline_s=WHOLE_DEADLINE_S)
    click.echo(rendered([row for one in found.currencies for row in money_trial_rows(one)], form))


@click.command()
@click.option(
    "--from",
    "since",
    type=options.Instant(),
    help="The first instant, or the first day, from 00:00 UTC on; else the first of this month.",
)
@click.option(
    "--to",
    "until",
    type=options.Instant(),
    help="The first instant after the last, or the day after the last, at 00:00 UTC; else until now.",
)
@asks
def revenue(client: Client, since: datetime | None, until: datetime | None, form: Format) -> None:
    """Show how deferred revenue moved, in minor units, per package and currency, and all of a currency.

    opening + sold - recognised - expired - returned - adjusted - transferred = closing. The last row is of what was
    granted free. JSON and CSV also tell how many credits were granted, used and expired.

    --from 2027-01-01 --to 2027-02-01 is January of UTC; for that of another place name instants with its zone, such as
    2027-01-01T00:00:00+01:00.
    """
    begins = since or datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    found = client.revenue(begins, until, deadline_s=WHOLE_DEADLINE_S)
    click.echo(rendered(list(revenue_rows(found)), form, REVENUE_FITS))
    click.echo(f"From {cell(found, 'since')} until just before {cell(found, 'until')}, in minor units.", err=True)


@click.command()
@click.argument("account", required=False)
@options.any_asset
@asks
def audit(client: Client, account: str | None, asset: str | None, form: Format) -> None:
    """Recompute the books, or one account, and tell what does not agree. Ends with 1 if anything does not."""
    report = client.audit(account, asset=asset, deadline_s=WHOLE_DEADLINE_S)
    if form is Format.TABLE:
        verdict = "clean" if report.clean else f"{report.findings_total} findings"
        click.echo(f"Accounts: {report.accounts}. Entries: {report.entries}. Verdict: {verdict}.")
        for finding in report.findings:
            click.echo(finding)
    else:
        counts = {"accounts": report.accounts, "entries": report.entries, "clean": report.clean}
        click.echo(rendered([{**counts, "finding": finding} for finding in report.findings or [None]], form))
    if not report.clean:
        raise click.exceptions.Exit(1)


@click.command()
@asks
def assets(client: Client, form: Format) -> None:
    """List the assets and their settings."""
    click.echo(rendered([asset_row(asset) for asset in client.assets()], form))


@click.command("define-asset")
@click.argument("asset")
@click.option("--scale", type=click.IntRange(0, 18), default=0, show_default=True, help="Decimal places, for ever.")
@asks
def define_asset(client: Client, asset: str, scale: int, form: Format) -> None:
    """Define something that can be counted."""
    click.echo(rendered([asset_row(client.define_asset(asset, scale=scale))], form))


@click.command("configure-asset")
@click.argument("asset")
@click.option("--auto-open", is_flag=True, help="The first change that names an account opens it.")
@click.option("--welcome", type=int, help="Smallest units that an account is granted when it is opened.")
@click.option("--welcome-source", type=options.source, help="Where they come from; else welcome.")
@click.option("--welcome-ttl", type=options.Ttl(), help="How long they last, such as 30d; else for ever.")
@click.option("--free-credits-repay-debt", is_flag=True, help="Free grants repay debt as paid ones do.")
@click.option("--default-card", default="", help="The rate card for usage that none covers; else it is refused.")
@asks
def configure_asset(
    client: Client,
    asset: str,
    *,
    welcome: int | None,
    welcome_source: str | None,
    welcome_ttl: timedelta | None,
    default_card: str,
    form: Format,
    **switches: bool,
) -> None:
    """Set all settings of an asset from now on. What is not named is off."""
    if welcome is None and (welcome_source or welcome_ttl):
        raise click.UsageError("--welcome-source and --welcome-ttl say more of a --welcome; name its amount, too.")
    terms = (
        Welcome(amount=welcome, source=welcome_source or "welcome", ttl=welcome_ttl) if welcome is not None else None
    )
    configured = client.configure_asset(asset, welcome=terms, default_card=default_card, **switches)
    click.echo(rendered([asset_row(configured)], form))


BOOK_COMMANDS: Final = (trial_balance, money_trial_balance, revenue, audit, assets, define_asset, configure_asset)
