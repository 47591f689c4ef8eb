"""Commands that give credits, take them and give them back."""

from typing import Any, Final

import click
from scrip import Client

from server.commands import options
from server.commands.asking import changes


@click.command()
@options.account
@options.amount
@click.option("--source", type=options.source, required=True)
@options.asset
@options.lot_terms
@changes()
def grant(client: Client, account: str, amount: int, source: str, **given: Any) -> Any:
    """Put AMOUNT smallest units into an account, as one lot."""
    return client.grant(account, amount, source, **given)


@click.command()
@options.account
@click.argument("direction", type=click.Choice(["up", "down"]))
@options.amount
@options.asset
@changes(reasoned=True)
def adjust(client: Client, account: str, direction: str, amount: int, **given: Any) -> Any:
    """Correct what is available, up or down by AMOUNT smallest units."""
    return client.adjust(account, amount, direction, **given)


@click.command()
@click.argument("entry_id")
@options.some_amount
@click.option(
    "--expired-lots",
    type=click.Choice(["to_original_lot", "extend", "new_lot"]),
    default="to_original_lot",
    show_default=True,
    help="What to do about lots that have run out.",
)
@click.option("--lot-ttl", type=options.Ttl(), help="How long lots that are extended or new last, such as 30d.")
@changes()
def refund(client: Client, entry_id: str, **given: Any) -> Any:
    """Give back what a deduction or capture took, to the lots it came from."""
    return client.refund(entry_id, **given)


@click.command()
@click.argument("lot_id")
@click.option(
    "--spent",
    type=click.Choice(["owe", "leave", "write_off"]),
    required=True,
    help="What becomes of what is spent of it: owed, left alone, or owed and written off.",
)
@options.some_amount
@changes()
def revoke(client: Client, lot_id: str, **given: Any) -> Any:
    """Take a grant back: its money was returned, or a promotion is withdrawn."""
    return client.revoke(lot_id, **given)


@click.command()
@options.account
@click.argument("to")
@options.amount
@options.asset
@changes()
def transfer(client: Client, account: str, to: str, amount: int, **given: Any) -> Any:
    """Give AMOUNT smallest units of ACCOUNT to customer TO."""
    return client.transfer(account, to, amount, **given)


@click.command("write-off")
@options.account
@options.some_amount
@options.asset
@changes(reasoned=True)
def write_off(client: Client, account: str, **given: Any) -> Any:
    """Forgive what a customer owes."""
    return client.write_off(account, **given)


CREDIT_COMMANDS: Final = (grant, adjust, refund, revoke, transfer, write_off)
