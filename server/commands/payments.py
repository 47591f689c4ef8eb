"""Commands about what customers pay, and what Stripe says of it."""

from datetime import datetime
from itertools import islice
from typing import Any, Final

import click
from scrip import Client, Consent

from server.commands import options
from server.commands.asking import asks
from server.commands.rows import cell
from server.commands.rows_of_sales import (
    EVENT_FITS,
    ORDER_FITS,
    auto_recharge_row,
    event_row,
    link_row,
    order_row,
    subscription_row,
)
from server.output import Format, rendered, rendered_one

_any_account = click.argument("account", required=False)
_order = click.argument("order_id", metavar="ORDER")


@click.command()
@options.account
@click.argument("package", required=False)
@click.option("--plan", help="A plan, instead of a package.")
@click.option("--success-url", required=True, help='Where the customer goes after payment; has "{ORDER_ID}" replaced.')
@click.option("--cancel-url", help="Where the customer goes who turns back; else the same.")
@click.option("--save-payment-method", is_flag=True, help="So that the account may recharge itself.")
@click.option("--request-id", help="Repeat with the same one and there is one order.")
@asks
def checkout(client: Client, account: str, package: str | None, plan: str | None, form: Format, **given: Any) -> None:
    """Make an order of PACKAGE or a plan, and the page at Stripe where the customer pays it."""
    if (package is None) == (plan is None):
        raise click.UsageError("Name a PACKAGE or a --plan.")
    given["cancel_url"] = given["cancel_url"] or given["success_url"]
    made = client.create_checkout(account, package=package, plan=plan, **given)
    click.echo(rendered([order_row(made.order)], form, ORDER_FITS))
    if form is Format.TABLE and made.order.url:
        # Too long for a column.
        click.echo(f"Pay at: {made.order.url}")


@click.command()
@_any_account
@options.at_most
@asks
def orders(client: Client, account: str | None, limit: int, form: Format) -> None:
    """List orders, newest first."""
    found = islice(client.orders(account), limit or None)
    click.echo(rendered([order_row(order) for order in found], form, ORDER_FITS))


@click.command()
@_order
@asks
def order(client: Client, order_id: str, form: Format) -> None:
    """Show how an order stands. Stripe is asked if it is not paid yet, and what was paid is granted."""
    click.echo(rendered_one(order_row(client.checkout(order_id).order), form))


@click.command()
@_order
@options.reasoned_memo
@asks
def fulfil(client: Client, order_id: str, form: Format, **memo: Any) -> None:
    """Grant what an order sold, by an administrator's word. An event that comes after all changes nothing."""
    click.echo(rendered([order_row(client.fulfil(order_id, **memo).order)], form, ORDER_FITS))


@click.command("purchase-link")
@options.account
@click.option("--asset", help="Only packages that have this asset; else all.")
@click.option("--ttl", type=options.Ttl(), help="How long it is good, such as 12h; else one hour.")
@asks
def purchase_link(client: Client, account: str, form: Format, **given: Any) -> None:
    """Make a link to the page where a customer buys packages."""
    made = client.create_purchase_link(account, **given)
    if form is Format.TABLE:
        click.echo(f"{made.url}\nGood until {cell(made, 'expires_at')}.")
    else:
        click.echo(rendered([link_row(made)], form))


@click.command()
@_any_account
@options.at_most
@asks
def subscriptions(client: Client, account: str | None, limit: int, form: Format) -> None:
    """List subscriptions, newest first."""
    found = islice(client.subscriptions(account), limit or None)
    click.echo(rendered([subscription_row(subscription) for subscription in found], form))


@click.command("auto-recharge")
@options.account
@options.asset
@click.option("--threshold", type=int, help="It recharges when less than this is available.")
@click.option("--package", help="What is bought.")
@click.option("--target", type=int, help="Bought as often as it takes to have this; else once.")
@click.option("--cap", **options.MONEY, help="What may be spent in a calendar month, such as 5000 EUR for 50 EUR.")
@click.option("--consent", help="The words the customer agreed to, or where they stand.")
@click.option("--consent-by", help="Who agreed.")
@click.option("--consent-at", type=options.Instant(), help="When.")
@click.option("--off", is_flag=True, help="It does not recharge itself any more.")
@asks
def auto_recharge(
    client: Client,
    account: str,
    asset: str,
    form: Format,
    *,
    consent: str | None,
    consent_by: str | None,
    consent_at: datetime | None,
    off: bool,
    **given: Any,
) -> None:
    """Show how an account recharges itself, or set it: all of it, or --off."""
    terms = {name: value for name, value in given.items() if value is not None}
    agreed = (consent, consent_by, consent_at)
    if off:
        if terms or any(agreed):
            raise click.UsageError("With --off there is nothing else to say.")
        found = client.set_auto_recharge(account, asset=asset, enabled=False)
    elif terms or any(agreed):
        if consent is None or consent_by is None or consent_at is None:
            raise click.UsageError("Say what the customer agreed to: --consent, --consent-by and --consent-at.")
        told = Consent(text=consent, actor=consent_by, at=consent_at)
        found = client.set_auto_recharge(account, asset=asset, enabled=True, consent=told, **terms)
    else:
        found = client.auto_recharge(account, asset=asset)
    click.echo(rendered_one(auto_recharge_row(found), form))


@click.group()
def stripe() -> None:
    """What Stripe said, and what became of it."""


@stripe.command()
@click.option(
    "--state", type=click.Choice(["received", "applied", "ignored", "set_aside"]), help="Those that stand so; else all."
)
@options.at_most
@asks
def events(client: Client, state: str | None, limit: int, form: Format) -> None:
    """List the events that Stripe sent, newest first."""
    found = islice(client.stripe_events(state=state), limit or None)
    click.echo(rendered([event_row(event) for event in found], form, EVENT_FITS))


@stripe.command()
@click.argument("event_id", metavar="EVENT")
@asks
def replay(client: Client, event_id: str, form: Format) -> None:
    """Apply an event again, or for the first time. One that Scrip does not have is fetched from Stripe."""
    click.echo(rendered([event_row(client.replay_stripe_event(event_id))], form, EVENT_FITS))


@stripe.command()
@click.option("--days", type=click.IntRange(1, 30), default=7, show_default=True, help="How far back.")
@click.option("--yes", is_flag=True, help="Post what is missing without asking.")
@options.preview
@asks
def reconcile(client: Client, days: int, form: Format, *, yes: bool, preview: bool) -> None:
    """List what Stripe has and Scrip has not applied, ask, and post it.

    Ends with 0 if it is posted or nothing is missing, with 1 if it is refused or not confirmed.
    """
    found, apart = client.reconcile(days, post=yes and not preview), form is not Format.TABLE
    if found.events and not yes and not preview:
        click.echo(rendered([event_row(event) for event in found.events], Format.TABLE, EVENT_FITS), err=apart)
        click.confirm(f"Post these {len(found.events):,}?", abort=True, err=apart)
        found = client.reconcile(days, post=True)
    click.echo(rendered([event_row(event) for event in found.events], form, EVENT_FITS))
    verdict = "Missing here" if preview else "Posted"
    click.echo(f"Events at Stripe: {found.found:,}. {verdict}: {len(found.events):,}.", err=apart)


PAYMENT_COMMANDS: Final = (
    checkout, orders, order, fulfil, purchase_link, subscriptions, auto_recharge, stripe,
)  # fmt: skip
