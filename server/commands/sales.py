"""Commands about what is on sale: packages, and plans."""

from collections.abc import Callable
from typing import Any, Final

import click
from scrip import Client

from server.commands import options
from server.commands.asking import asks
from server.commands.contents import SoldEachPeriod, SoldOnce
from server.commands.rows_of_sales import PACKAGE_FITS, PLAN_FITS, package_row, plan_row
from server.output import Format, rendered

_package = click.argument("package")
_all = click.option("--all", "include_inactive", is_flag=True, help="Those that are not sold any more, too.")


def _terms(*, required: bool) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """What a package has and costs."""
    return options.options(
        click.option("--title", required=required, help="For the customer."),
        click.option("--text", "description", help="For the customer: more about it."),
        click.option("--price", **options.MONEY, required=required, help="Such as 1999 EUR for 19.99 EUR."),
        click.option(
            "--content",
            "contents",
            type=SoldOnce(),
            multiple=True,
            required=required,
            help="Such as credits:1000, or credits:1000+100:365d:30d with a bonus; repeat for a bundle.",
        ),
        click.option("--sort-order", type=int, help="Where it stands in lists; lower first."),
        options.table("--metadata", type=options.Pair(), help="Such as tier=gold; repeat to name all."),
    )


@click.group()
def packages() -> None:
    """What is sold once: credits, and what they cost."""


@packages.command("list")
@click.option("--asset", help="Those that have this asset; else all.")
@_all
@asks
def list_packages(client: Client, form: Format, **given: Any) -> None:
    """List packages."""
    click.echo(rendered([package_row(package) for package in client.packages(**given)], form, PACKAGE_FITS))


@packages.command("create")
@_package
@_terms(required=True)
@asks
def create_package(client: Client, package: str, form: Format, **given: Any) -> None:
    """Put a package on sale."""
    made = client.create_package(package, **_said(given))
    click.echo(rendered([package_row(made)], form, PACKAGE_FITS))


@packages.command("update")
@_package
@_terms(required=False)
@asks
def update_package(client: Client, package: str, form: Format, **given: Any) -> None:
    """Change what a package has and costs, and put it on sale again. What is not named stays as it is.

    Orders that were made before are honoured as sold. If somebody else changes it at this moment, nothing is changed.
    """
    found = next((one for one in client.packages(include_inactive=True) if one.package == package), None)
    if found is None:
        raise click.ClickException(f"There is no package {package}. Make it with: scrip packages create")
    stays = {
        "title": found.title,
        "description": found.description,
        "price": found.price,
        "contents": tuple(found.contents),
        "sort_order": found.sort_order,
        "metadata": dict(found.metadata),
        # Or what somebody else has changed since it was found would be set back.
        "version": found.version,
    }
    changed = client.update_package(package, **{**stays, **_said(given)})
    click.echo(rendered([package_row(changed)], form, PACKAGE_FITS))


@packages.command("deactivate")
@_package
@asks
def deactivate_package(client: Client, package: str, form: Format) -> None:
    """Take a package off sale. Orders that were made before are honoured as sold."""
    click.echo(rendered([package_row(client.deactivate_package(package))], form, PACKAGE_FITS))


@click.group()
def plans() -> None:
    """What is sold by subscription."""


@plans.command("list")
@_all
@asks
def list_plans(client: Client, form: Format, **given: Any) -> None:
    """List plans."""
    click.echo(rendered([plan_row(plan) for plan in client.plans(**given)], form, PLAN_FITS))


@plans.command("put")
@click.argument("plan")
@click.option("--title", required=True, help="For the customer.")
@click.option(
    "--stripe-price",
    "stripe_prices",
    multiple=True,
    required=True,
    help="The recurring price at Stripe that is this plan: price_…; repeat for several.",
)
@click.option(
    "--content",
    "contents",
    type=SoldEachPeriod(),
    multiple=True,
    required=True,
    help="Such as credits:500, images:unlimited, or credits:500:50%:250:30d with a rollover; repeat for several.",
)
@click.option("--at-renewal", is_flag=True, help="A change of plan does nothing until the next period.")
@click.option("--monthly", is_flag=True, help="Grant the same each month of a longer period.")
@click.option("--grace", type=options.Ttl(), help="How long a period's credits outlast it, such as 3d; else not.")
@click.option("--inactive", is_flag=True, help="It is not sold any more; subscriptions go on.")
@asks
def put_plan(
    client: Client, plan: str, form: Format, *, at_renewal: bool, monthly: bool, inactive: bool, **given: Any
) -> None:
    """Make a plan, or replace its terms. Periods that were paid before stay as they are."""
    put = client.put_plan(
        plan,
        change="at_renewal" if at_renewal else "pro_rata",
        granted="monthly" if monthly else "per_period",
        active=not inactive,
        **given,
    )
    click.echo(rendered([plan_row(put)], form, PLAN_FITS))


def _said(given: dict[str, Any]) -> dict[str, Any]:
    """The options that were named."""
    return {name: value for name, value in given.items() if value is not None and value not in ((), {})}


SALE_COMMANDS: Final = (packages, plans)
