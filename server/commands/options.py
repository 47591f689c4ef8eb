"""What can be said to the commands of the books: each kind of value and each option once."""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, TypeVar

import click
from scrip import SpendLimit
from scrip.v1.types_pb2 import Source

from server.commands.rows import name_of

Command = TypeVar("Command", bound=Callable[..., Any])

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LIMIT: Final = re.compile(r"([^:]*):([^:]*):([0-9]{1,19})(?::(.*))?")


class Ttl(click.ParamType[timedelta]):
    """A length of time such as 90s, 15m, 12h or 30d."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """The length of time a text means."""
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"([0-9]{1,9})([smhd])", value)
        if found is None:
            self.fail(f"{value!r} is not a length of time such as 90s, 15m, 12h or 30d.", param, ctx)
        return timedelta(**{_UNITS[found[2]]: int(found[1])})


class Instant(click.ParamType[datetime]):
    """A point in time such as 2027-01-31T12:00:00Z; without a zone it is UTC."""

    name = "instant"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The instant a text means."""
        if isinstance(value, datetime):
            return value
        try:
            instant = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not an instant such as 2027-01-31T12:00:00Z.", param, ctx)
        return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


class MinorUnits(click.ParamType[int]):
    """A sum of money in the smallest unit of its currency, such as 1999 of 19.99 EUR."""

    name = "minor-units"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number a text means."""
        if isinstance(value, int):
            return value
        if re.fullmatch("-?[0-9]{1,30}", value) is None:
            self.fail(f"{value!r} is not a whole number of minor units, such as 1999 for 19.99 EUR.", param, ctx)
        return int(value)


# An option that takes a sum of money.
MONEY: Final[Mapping[str, Any]] = MappingProxyType(
    {"type": (MinorUnits(), click.STRING), "metavar": "MINOR-UNITS CURRENCY"}
)


class Limit(click.ParamType[SpendLimit]):
    """A spend limit such as daily:day:100, or burst:15m:20:image/* for a window that rolls."""

    name = "name:window:amount[:operation]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> SpendLimit:
        """The limit a text means."""
        if isinstance(value, SpendLimit):
            return value
        if (found := _LIMIT.fullmatch(value)) is None:
            self.fail(f"{value!r} is not a limit such as daily:day:100 or images:15m:20:image/*.", param, ctx)
        name, begins, amount, operation = found.groups(default="")
        window = begins if begins in {"hour", "day", "month"} else Ttl().convert(begins, param, ctx)
        return SpendLimit(name=name, amount=int(amount), window=window, operation=operation)


class Pair(click.ParamType[tuple[str, str]]):
    """A key and its value, such as tier=gold."""

    name = "key=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """The two parts of a text."""
        if isinstance(value, tuple):
            return value
        key, is_there, text = value.partition("=")
        if not is_there:
            self.fail(f"{value!r} is not a key and its value, such as tier=gold.", param, ctx)
        return key, text


class Quantity(click.ParamType[tuple[str, int]]):
    """A unit and how much of it, such as input_token=1832."""

    name = "unit=number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """The two parts of a text."""
        if isinstance(value, tuple):
            return value
        unit, _, number = value.partition("=")
        if not re.fullmatch("[0-9]{1,19}", number):
            self.fail(f"{value!r} is not a unit and how much of it, such as input_token=1832.", param, ctx)
        return unit, int(number)


def options(*several: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Gives a command several options, shown in this order."""

    def decorate(command: Command) -> Command:
        for option in reversed(several):
            command = option(command)
        return command

    return decorate


def table(*names: str, **terms: Any) -> Callable[[Command], Command]:
    """An option that is repeated with one key after another, and never twice with the same; makes a dictionary."""

    def once_each(_: click.Context, _option: click.Parameter, pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise click.BadParameter(f"{key} is told twice.")
            found[key] = value
        return found

    return click.option(*names, multiple=True, callback=once_each, **terms)


account = click.argument("account")
amount = click.argument("amount", type=int)
some_amount = click.option("--amount", type=int, help="Smallest units; else all there is.")
asset = click.option("--asset", default="credits", show_default=True)
any_asset = click.option("--asset", help="One asset; else all.")
at_most = click.option("--limit", type=click.IntRange(0), default=50, show_default=True, help="At most; 0: all.")
as_of = click.option("--as-of", type=Instant(), help="An instant that is past; else now.")

memo = options(
    click.option("--description", default="", help="For a reader."),
    click.option("--reference", default="", help="Your own key for what this belongs to."),
    click.option("--actor", default="", help="Who asks for it."),
)
reasoned_memo = options(
    click.option("--description", required=True, help="Why; required."),
    click.option("--reference", default="", help="Your own key for what this belongs to."),
    click.option("--actor", required=True, help="Who does it; required."),
)
preview = click.option("--preview", is_flag=True, help="Answer as if it were done, and write nothing.")
repeatable = options(click.option("--request-id", help="Repeat with the same one and nothing is done twice."), preview)
lot_terms = options(
    click.option("--priority", type=int, help="0 to 1000, lower burns first; else the source's own."),
    click.option("--effective-at", type=Instant(), help="From when on it can be spent; else at once."),
    click.option("--expires-at", type=Instant(), help="When it runs out; else never."),
    click.option("--ttl", type=Ttl(), help="Instead of --expires-at: how long it lasts, such as 30d."),
    click.option(
        "--cost",
        **MONEY,
        help="What was paid: minor units and currency, such as 1999 EUR.",
    ),
    click.option("--scope", multiple=True, help='An operation it may pay for, such as "image/*"; repeat for several.'),
    click.option("--package", default="", help="What it was sold as, for the report of revenue."),
)
source = click.Choice([name_of(Source, source) for source in Source.values() if source])
