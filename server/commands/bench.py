"""`scrip bench`: how much a running server does, measured with calls in books of their own."""

import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import click
from scrip import Client, Code, ScripError, calls

from server import load
from server.commands.asking import errors_told
from server.commands.options import options
from server.config import Address, FloatRange, setting_options
from server.output import Cell, Format, format_option, rendered

Number = TypeVar("Number", int, float)

_ACCOUNT_PREFIX: Final = "bench-"
# Never runs out, however often the bench runs; and the same each time, so that each account is granted once.
_GRANTED: Final = 10**12
_IN_FLIGHT: Final = (1, 64, 1_024)
_IN_FLIGHT_MAX: Final = 4_096
_RATE_MAX: Final = 100_000
_SECONDS_MAX: Final = 600
_WARMUP_S_MAX: Final = 1.0
_SEVERAL_MAX: Final = 10
# How often the opening of accounts tells how far it is.
_STEP: Final = 10_000


class _Several(click.ParamType[tuple[Number, ...]]):
    """Numbers with commas between, such as 1,64,1024."""

    name = "n,…"

    def __init__(self, number: Callable[[str], Number], most: Number) -> None:
        self._number: Callable[[str], Number] = number
        self._most: Number = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Number, ...]:
        """The numbers a text means."""
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(self._number(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is not numbers with commas between.", param, ctx)
        if not all(1 <= number <= self._most for number in numbers) or len(numbers) > _SEVERAL_MAX:
            self.fail(f"{value!r} must be at most {_SEVERAL_MAX} numbers of 1 to {self._most:,}.", param, ctx)
        return numbers


@dataclass(slots=True, kw_only=True)
class _Taken:
    """What the calls must have taken from the accounts.

    surely    credits; one for each call that was answered OK
    in_doubt  how many more it may be, because calls were not answered
    answered  calls that were answered OK, with those that take nothing
    """

    surely: int = 0
    in_doubt: int = 0
    answered: int = 0

    def add(self, figures: load.Figures) -> None:
        self.surely += figures.spent
        self.in_doubt += sum(refused.calls for refused in figures.refused if refused.in_doubt)
        self.answered += figures.calls


def _own_asset(_context: click.Context, _parameter: click.Parameter, asset: str) -> str:
    if asset != "bench" and not asset.startswith("bench-"):
        raise click.BadParameter(f"{asset!r} is not bench and does not begin with bench-, so it may be a customer's.")
    return asset


_which_load = options(
    click.option(
        "--in-flight",
        type=_Several(int, _IN_FLIGHT_MAX),
        help="Calls under way at the same time, one load each; else 1,64,1024. With --rate one number, the most that "
        "may be under way; else 1024.",
    ),
    click.option(
        "--rate",
        "rates",
        type=_Several(float, _RATE_MAX),
        help="Calls per second, whether or not earlier ones were answered, one load each; else the next call is made "
        "when one was answered.",
    ),
    click.option("--holds", is_flag=True, help="Holds that are captured, instead of deductions."),
    click.option("--hot", is_flag=True, help="All calls on one account."),
    click.option("--accounts", type=click.IntRange(1, 100_000), default=1_000, show_default=True),
    click.option(
        "--seconds",
        type=FloatRange(0.1, _SECONDS_MAX),
        default=5.0,
        show_default=True,
        help="How long each load is measured, after a second of warming up.",
    ),
    click.option(
        "--asset",
        default="bench",
        show_default=True,
        callback=_own_asset,
        help="Defined if it is not there; bench, or a name that begins with bench-.",
    ),
)


@click.command()
@_which_load
@format_option
@setting_options("server", "deadline_s")
def bench(
    *,
    server: str,
    deadline_s: float,
    asset: str,
    accounts: int,
    form: Format,
    in_flight: tuple[int, ...] | None,
    rates: tuple[float, ...] | None,
    **how: Any,
) -> None:
    """Measure a running server with real calls, in books of their own.

    The calls are on accounts bench-000000, bench-000001, … in the asset bench, which are opened and granted credits the
    first time. No other asset is touched. What is written stays written, as everything does in a ledger; to leave no
    trace, measure a server on a database of its own.

    In the end the books must say what the answers said. Ends with 1 if they do not, or if no call was answered OK;
    calls that were refused are told and counted.
    """
    Address().convert(server, None, None)
    loads = list(_loads(in_flight, rates, address=server, asset=asset, accounts=accounts, **how))
    rows, taken = [], _Taken()
    with errors_told(server), Client(server, deadline_s=deadline_s) as client:
        _prepare(client, asset, 1 if how["hot"] else accounts)
        before = _revenue(client, asset)
        try:
            for one in loads:
                figures = load.run(one)
                taken.add(figures)
                rows.append(_row(one, figures))
                _tell(one, figures)
        except load.LoadFailedError as error:
            raise click.ClickException(str(error)) from error
        finally:
            # Also if the server went away: what was measured until then was measured.
            click.echo(rendered(rows, form))
        _compare(taken, _revenue(client, asset) - before, asset)


def _loads(
    in_flight: tuple[int, ...] | None,
    rates: tuple[float, ...] | None,
    *,
    holds: bool,
    hot: bool,
    seconds: float,
    **same: Any,
) -> Iterator[load.Load]:
    """One load for each number of calls in flight, or for each rate."""
    if rates and in_flight and len(in_flight) > 1:
        raise click.UsageError("With --rate there is one --in-flight, the most calls that may be under way.")
    pairs: list[tuple[int, float | None]] = (
        [((in_flight or _IN_FLIGHT[-1:])[0], rate) for rate in rates]
        if rates
        else [(several, None) for several in in_flight or _IN_FLIGHT]
    )
    for several, rate in pairs:
        yield load.Load(
            operation="hold" if holds else "deduct",
            in_flight=several,
            rate=rate,
            hot=hot,
            account_prefix=_ACCOUNT_PREFIX,
            # Nobody else has it, so that no request_id of this load was ever used.
            run=secrets.randbits(48),
            warmup_s=min(_WARMUP_S_MAX, seconds),
            measured_s=seconds,
            all_ok=False,
            **same,
        )


def _prepare(client: Client, asset: str, accounts: int) -> None:
    """Have accounts with credits; what is there from the last time stays as it is."""
    click.echo(f"Opening {accounts:,} accounts in {asset}, unless they are there.", err=True)
    client.define_asset(asset)
    client.configure_asset(asset, auto_open=True)
    grants = (
        calls.grant(
            load.account_id(number, _ACCOUNT_PREFIX), _GRANTED, "free", asset=asset, request_id="scrip-bench-grant"
        )
        for number in range(accounts)
    )
    for number, answer in enumerate(client.bulk_grant(grants), 1):
        if isinstance(answer, ScripError):
            raise answer
        if number % _STEP == 0:
            click.echo(f"{number:,} of {accounts:,} accounts", err=True)


def _revenue(client: Client, asset: str) -> int:
    (books,) = client.trial_balance(asset=asset).assets
    return sum(int(row.credits) - int(row.debits) for row in books.rows if row.code == Code.CODE_REVENUE)


def _row(one: load.Load, figures: load.Figures) -> Mapping[str, Cell]:
    return {
        "in_flight": one.in_flight,
        "rate": int(one.rate) if one.rate and one.rate.is_integer() else one.rate,
        "calls": figures.calls,
        "calls_per_s": _rounded(figures.calls_per_s, 1),
        "p50_ms": _rounded(figures.p50_ms, 2),
        "p99_ms": _rounded(figures.p99_ms, 2),
        "p99_9_ms": _rounded(figures.p99_9_ms, 2),
        "late": figures.late,
        "unsent": figures.unsent,
        "refused": sum(refused.calls for refused in figures.refused),
        "generator_us": _rounded(figures.generator_us, 1),
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _tell(one: load.Load, figures: load.Figures) -> None:
    """Progress, and why calls were refused."""
    name = f"{one.in_flight:,} in flight" if one.rate is None else f"{one.rate:,g} calls/s"
    click.echo(f"{name}: {figures.calls:,} calls answered, {figures.calls_per_s:,.0f} per second", err=True)
    for refused in figures.refused:
        why = " ".join(filter(None, (refused.code, refused.reason)))
        doubt = "perhaps done" if refused.in_doubt else "not done"
        click.echo(f"{name}: {refused.calls:,} calls not answered OK ({doubt}): {why}: {refused.message}", err=True)


def _compare(taken: _Taken, grew: int, asset: str) -> None:
    """See that the revenue grew by what the calls took."""
    most = taken.surely + taken.in_doubt
    expected = f"{taken.surely:,}" if most == taken.surely else f"{taken.surely:,} to {most:,}"
    if not taken.surely <= grew <= most:
        raise click.ClickException(
            f"The calls took {expected} credits, and the revenue in {asset} grew by {grew:,}. Does something else use "
            f"{asset}?"
        )
    if not taken.answered:
        raise click.ClickException("No call was answered OK.")
    click.echo(f"The calls took {expected} credits, and the revenue in {asset} grew by {grew:,}.", err=True)
