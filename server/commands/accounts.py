"""Commands that open, show and administer accounts."""

from typing import Any, Final

import click
from scrip import Client, SpendLimit

from server.commands import options
from server.commands.asking import asks, changes
from server.commands.rows import ACCOUNT_FITS, account_row, limit_row
from server.output import Format, rendered


@click.command("open")
@options.account
@options.asset
@changes()
def open_account(client: Client, account: str, **given: Any) -> Any:
    """Open an account of a customer in one asset."""
    return client.open_account(account, **given)


@click.command("account")
@options.account
@options.asset
@asks
def show_account(client: Client, account: str, asset: str, form: Format) -> None:
    """Show one account: its status, what is agreed with the customer, how it stands."""
    click.echo(rendered([account_row(client.account(account, asset=asset))], form, ACCOUNT_FITS))


@click.command()
@options.account
@options.asset
@asks
def limits(client: Client, account: str, asset: str, form: Format) -> None:
    """List the spend limits of an account, and what is used of each."""
    found = client.account(account, asset=asset).limits
    click.echo(rendered([limit_row(limit) for limit in found], form))


@click.command("update-account")
@options.account
@options.asset
@click.option("--overdraft-limit", type=int, help="How far it may owe, smallest units.")
@click.option("--unlimited/--not-unlimited", default=None, help="Whether a plan covers all use.")
@click.option("--time-zone", help="Of the windows of spend limits, such as Europe/Berlin.")
@click.option(
    "--limit",
    "several",
    type=options.Limit(),
    multiple=True,
    help="Such as daily:day:100, or images:15m:20:image/* for a window that rolls; repeat to name all from now on.",
)
@click.option("--no-limits", is_flag=True, help="No spend limits from now on.")
@options.table("--metadata", type=options.Pair(), help="Such as tier=gold; repeat to name all.")
@click.option("--no-metadata", is_flag=True, help="No metadata from now on.")
@changes()
def update_account(
    client: Client,
    account: str,
    several: tuple[SpendLimit, ...],
    metadata: dict[str, str],
    *,
    no_limits: bool,
    no_metadata: bool,
    **given: Any,
) -> Any:
    """Change what is agreed with a customer. What is not named stays as it is."""
    for option, some, none in (("limits", several, no_limits), ("metadata", metadata, no_metadata)):
        if some and none:
            raise click.UsageError(f"With --no-{option} there can be none.")
    return client.update_account(
        account,
        limits=several if several or no_limits else None,
        account_metadata=metadata if metadata or no_metadata else None,
        **given,
    )


@click.command()
@options.account
@options.asset
@changes(reasoned=True)
def freeze(client: Client, account: str, **given: Any) -> Any:
    """Let an account spend nothing until it is unfrozen."""
    return client.freeze_account(account, **given)


@click.command()
@options.account
@options.asset
@changes()
def unfreeze(client: Client, account: str, **given: Any) -> Any:
    """Let a frozen account spend again."""
    return client.unfreeze_account(account, **given)


@click.command()
@options.account
@options.asset
@changes()
def close(client: Client, account: str, **given: Any) -> Any:
    """End an account in which nothing is left, for ever."""
    return client.close_account(account, **given)


@click.command()
@options.account
@click.argument("into")
@options.asset
@changes()
def merge(client: Client, account: str, into: str, **given: Any) -> Any:
    """Move all that visitor ACCOUNT has to customer INTO, and close the visitor's account."""
    return client.merge_accounts(account, into, **given)


ACCOUNT_COMMANDS: Final = (open_account, show_account, limits, update_account, freeze, unfreeze, close, merge)
