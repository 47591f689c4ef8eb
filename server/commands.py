"""The commands of the books: each asks a server, or with --database one that it starts for itself."""

import asyncio
import logging
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import wraps
from itertools import islice
from pathlib import Path
from typing import Any, Final

import click
import structlog
from scrip import Client, ScripError
from scrip.v1.ledger_service_pb2 import AssetTrialBalance, TrialBalanceRow
from scrip.v1.types_pb2 import Balance, Code, Entry

from ledger import DatabaseMisusedError, DatabaseUnavailableError, Source, parse_url, require_migrated
from server.app import Server
from server.config import Settings, setting_options
from server.errors import text_of
from server.output import Cell, Format, format_option, rendered

AUDIT_DEADLINE_S: Final = 3_600.0
# Of the columns of a history; json and csv have all.
_FITS_A_SCREEN: Final = (
    "seq", "effective_at", "kind", "lines", "available", "held", "owed", "request_id", "entry_id",
)  # fmt: skip
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Ttl(click.ParamType[timedelta]):
    """A length of time such as 90s, 15m, 12h or 30d."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """The length of time a text means."""
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"(\d{1,9})([smhd])", value)
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


def _books(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command a client, and the options that all commands of the books have."""

    # Not named as the setting is, which is the server's: who has told a server its database still wants to ask it.
    @click.option("--database", "own_database", help="Open this database instead of asking a server.")
    @format_option
    @setting_options("server", "deadline_s")
    @wraps(command)
    def run(server: str, deadline_s: float, own_database: str | None, **options: Any) -> None:
        try:
            with _target(server, own_database) as target, Client(target, deadline_s=deadline_s) as client:
                command(client, **options)
        except ScripError as error:
            told = error.message
            if not error.reason_name:
                told = f"{told.removesuffix('.')}. Is a server running at {server}? Start one with: scrip serve"
            raise click.ClickException(told) from error
        except (DatabaseMisusedError, DatabaseUnavailableError) as error:
            raise click.ClickException(str(error)) from error

    return run


@click.command("open")
@click.argument("account")
@click.option("--asset", default="credits", show_default=True)
@click.option("--request-id", help="Repeat with the same one and nothing is done twice.")
@_books
def open_account(client: Client, account: str, asset: str, request_id: str | None, form: Format) -> None:
    """Open an account of a customer in one asset."""
    answer = client.open_account(account, asset=asset, request_id=request_id)
    click.echo(rendered([_change_row(answer)], form))


@click.command()
@click.argument("account")
@click.argument("amount", type=int)
@click.option("--source", type=click.Choice([source.value for source in Source]), required=True)
@click.option("--asset", default="credits", show_default=True)
@click.option("--priority", type=int, help="0 to 1000, lower burns first; else the source's own.")
@click.option("--effective-at", type=Instant(), help="From when on it can be spent; else at once.")
@click.option("--expires-at", type=Instant(), help="When it runs out; else never.")
@click.option("--ttl", type=Ttl(), help="Instead of --expires-at: how long it lasts, such as 30d.")
@click.option("--cost", type=(int, str), help="What was paid: minor units and currency, such as 1999 EUR.")
@click.option("--description", default="")
@click.option("--reference", default="")
@click.option("--actor", default="")
@click.option("--request-id", help="Repeat with the same one and nothing is done twice.")
@_books
def grant(client: Client, account: str, amount: int, source: str, form: Format, **options: Any) -> None:
    """Put AMOUNT smallest units into an account, as one lot."""
    click.echo(rendered([_change_row(client.grant(account, amount, source, **options))], form))


@click.command()
@click.argument("account")
@_books
def balance(client: Client, account: str, form: Format) -> None:
    """Show how a customer stands, in every asset."""
    click.echo(rendered([_balance_row(found) for found in client.balances(account)], form))


@click.command()
@click.argument("account")
@click.option("--asset", default="credits", show_default=True)
@click.option("--limit", type=click.IntRange(0), default=50, show_default=True, help="Entries at most; 0: all.")
@_books
def history(client: Client, account: str, asset: str, limit: int, form: Format) -> None:
    """List the entries of an account, newest first."""
    found = client.history(account, asset=asset, page_size=min(limit or 500, 500))
    rows = [_entry_row(entry) for entry in islice(found, limit or None)]
    if form is Format.TABLE:
        rows = [{name: row[name] for name in _FITS_A_SCREEN} for row in rows]
    click.echo(rendered(rows, form))


@click.command("trial-balance")
@click.option("--asset", help="One asset; else all.")
@_books
def trial_balance(client: Client, asset: str | None, form: Format) -> None:
    """Add up all that was debited and credited, per asset and code."""
    found = client.trial_balance(asset=asset)
    click.echo(rendered([row for one in found.assets for row in _trial_rows(one)], form))


@click.command()
@click.argument("account", required=False)
@click.option("--asset", help="One asset; else all.")
@_books
def audit(client: Client, account: str | None, asset: str | None, form: Format) -> None:
    """Recompute the books, or one account, and tell what does not agree. Ends with 1 if anything does not."""
    report = client.audit(account, asset=asset, deadline_s=AUDIT_DEADLINE_S)
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
@_books
def assets(client: Client, form: Format) -> None:
    """List the assets."""
    click.echo(rendered([{"asset": asset.asset, "scale": asset.scale} for asset in client.assets()], form))


@click.command("define-asset")
@click.argument("asset")
@click.option("--scale", type=click.IntRange(0, 18), default=0, show_default=True, help="Decimal places, for ever.")
@_books
def define_asset(client: Client, asset: str, scale: int, form: Format) -> None:
    """Define something that can be counted."""
    defined = client.define_asset(asset, scale=scale)
    click.echo(rendered([{"asset": defined.asset, "scale": defined.scale}], form))


COMMANDS: Final = (open_account, grant, balance, history, trial_balance, audit, assets, define_asset)


@contextmanager
def _target(server: str, database: str | None) -> Iterator[str]:
    """The address to ask: that of a server, or of one that lives as long as the block."""
    if database is None:
        yield server
        return
    _require_there(database)
    # Says what is wrong with a database; a server would wait for it to get well.
    require_migrated(database)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="scrip-server", daemon=True)
    thread.start()
    try:
        own = asyncio.run_coroutine_threadsafe(_started(database), loop).result()
        try:
            yield f"127.0.0.1:{own.port}"
        finally:
            asyncio.run_coroutine_threadsafe(own.stop(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _require_there(database: str) -> None:
    """A mistyped file must not become an empty one."""
    url = parse_url(database)
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists():
        raise DatabaseMisusedError(f"There is no file {url.database}. Correct --database, or make it: scrip migrate")


async def _started(database: str) -> Server:
    server = Server(Settings(listen="127.0.0.1:0", database=database, sweep_s=0, drain_s=0))
    await server.start()
    return server


def _change_row(answer: Any) -> Mapping[str, Cell]:
    return {"entry_id": answer.entry_id, **_balance_row(answer.balance), "replayed": answer.replayed}


def _balance_row(balance: Balance) -> Mapping[str, Cell]:
    return {
        "account": balance.account_id,
        "asset": balance.asset,
        "scale": balance.scale,
        "available": balance.available,
        "held": balance.held,
        "owed": balance.owed,
        "pending": balance.pending,
    }


def _entry_row(entry: Entry) -> Mapping[str, Cell]:
    lines = (f"Dr {_name(Code, line.debit)} Cr {_name(Code, line.credit)} {line.amount}" for line in entry.lines)
    return {
        "seq": entry.seq,
        "effective_at": text_of(entry.effective_at.ToDatetime(tzinfo=UTC)),
        "kind": _name(Entry.Kind, entry.kind),
        "lines": "; ".join(lines),
        "available": entry.balance.available,
        "held": entry.balance.held,
        "owed": entry.balance.owed,
        "request_id": entry.request_id,
        "entry_id": entry.entry_id,
        "pending": entry.balance.pending,
        "recorded_at": text_of(entry.recorded_at.ToDatetime(tzinfo=UTC)) if entry.HasField("recorded_at") else None,
        "description": entry.memo.description,
        "reference": entry.memo.reference,
        "actor": entry.memo.actor,
        "hash": entry.hash.hex(),
    }


def _trial_rows(found: AssetTrialBalance) -> Iterator[Mapping[str, Cell]]:
    for row in found.rows:
        yield {
            "asset": found.asset,
            "scale": found.scale,
            "code": _name(Code, row.code),
            "type": _name(TrialBalanceRow.Type, row.type),
            "debits": row.debits,
            "credits": row.credits,
            "balance": row.balance,
        }
    balance = str(int(found.debits) - int(found.credits))
    total: dict[str, Cell] = {"asset": found.asset, "scale": found.scale, "code": "total", "type": ""}
    yield {**total, "debits": found.debits, "credits": found.credits, "balance": balance}


def _name(enum: Any, value: int) -> str:
    """The name of an enum's value without the enum's prefix, in lower case."""
    name: str = enum.Name(value)
    return name.split("_", 1)[1].lower()
