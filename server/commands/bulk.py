"""`scrip bulk-grant`: grants for thousands of accounts, from a CSV file that is read twice, row by row.

The first time every row is checked; nothing is sent while one is malformed. The second time the rows are sent and
answered. Each has a request_id that follows from the file, so the same command again does what was not done, and
nothing twice.
"""

import signal
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any, Final

import click
from scrip import Client, GrantResponse, ScripError, calls

from server.commands import options
from server.commands.asking import asks
from server.commands.grants_file import GrantsFile, Mistake, Row, UnreadableError
from server.output import Cell, Format, rendered

_MISTAKES_SHOWN: Final = 20
# How often the progress is told.
_STEPS: Final = 20


class _WrongFileError(click.ClickException):
    """The file must be corrected; nothing was sent."""

    exit_code = 2


@dataclass(slots=True, kw_only=True)
class _Tally:
    """What became of the rows so far."""

    total: int
    granted: int = 0
    replayed: int = 0
    refused: list[Mapping[str, Cell]] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"Rows: {self.total:,}. Granted: {self.granted:,}. Granted before: {self.replayed:,}. "
            f"Not granted: {len(self.refused):,}."
        )

    @property
    def answered(self) -> int:
        return self.granted + self.replayed + len(self.refused)

    def count(self, row: Row, answer: GrantResponse | ScripError) -> None:
        """Takes note of an answer, and tells the progress now and then."""
        if isinstance(answer, ScripError):
            named = {name: row.asked[name] for name in ("account_id", "amount", "request_id")}
            reason = answer.reason_name or answer.code.name
            self.refused.append({"line": row.line, **named, "reason": reason, "message": answer.message})
        elif answer.replayed:
            self.replayed += 1
        else:
            self.granted += 1
        if self.answered % max(self.total // _STEPS, 1) == 0:
            click.echo(f"{self.answered:,} of {self.total:,} rows", err=True)


@click.command("bulk-grant")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--campaign", help="Makes the request_ids CAMPAIGN:ACCOUNT of rows that have none of their own.")
@click.option("--source", type=options.source, help="Of rows that name none.")
@options.asset
@options.lot_terms
@options.memo
@options.preview
@asks
def bulk_grant(client: Client, file: Path, campaign: str | None, form: Format, *, preview: bool, **usual: Any) -> None:
    """Grant to thousands of accounts, a row of a CSV file each.

    The first line of FILE names its columns: account_id and amount, and perhaps source, priority, effective_at,
    expires_at, ttl, cost ("1999 EUR"), scope (several with spaces between), package, description, reference, actor
    and request_id. The options hold for rows that do not say otherwise. If the command is interrupted, run it again:
    what was granted is not granted twice.

    Ends with 0 if all rows are granted, with 1 if some are not, with 2 if the file is wrong and nothing was sent.
    """
    given = {name: value for name, value in usual.items() if value not in (None, "", ())}
    grants = GrantsFile(path=file, campaign=campaign, usual=given)
    tally, stopped = _Tally(total=_checked(grants)), ""
    try:
        with _told_to_stop() as told_to_stop:
            for row, answer in _sent(client, grants.rows(tally.total), told_to_stop, preview=preview):
                tally.count(row, answer)
            if told_to_stop.is_set() and tally.answered < tally.total:
                stopped = "Interrupted."
    except ScripError as error:
        stopped = error.message
    except UnreadableError as error:
        stopped = str(error)
    except KeyboardInterrupt:
        stopped = "Interrupted."
    told = f"Preview. {tally}" if preview else f"{tally}"
    click.echo(told, err=form is not Format.TABLE)
    if tally.refused or form is not Format.TABLE:
        click.echo(rendered(tally.refused, form))
    if stopped:
        raise click.ClickException(
            f"{stopped} Of {tally.total:,} rows {tally.answered:,} were answered. Run the same command again: what was "
            "granted is not granted twice."
        )
    if tally.refused:
        raise click.exceptions.Exit(1)


def _checked(grants: GrantsFile) -> int:
    """How many rows there are; refuses a file in which anything is malformed."""
    try:
        count, mistakes = grants.check()
    except UnreadableError as error:
        raise _WrongFileError(f"{error} Nothing was sent.") from error
    if mistakes:
        raise _WrongFileError("\n".join((f"{grants.path}: nothing was sent.", *_told(mistakes))))
    return count


def _told(mistakes: list[Mistake]) -> Iterator[str]:
    yield from (str(mistake) for mistake in mistakes[:_MISTAKES_SHOWN])
    if len(mistakes) > _MISTAKES_SHOWN:
        yield f"… and {len(mistakes) - _MISTAKES_SHOWN:,} more"


def _sent(
    client: Client, rows: Iterator[Row], told_to_stop: Event, *, preview: bool
) -> Iterator[tuple[Row, GrantResponse | ScripError]]:
    """Each row with its answer, as the answers come. Told to stop, it sends no more, and waits for what was sent."""
    under_way: deque[Row] = deque()

    def asked() -> Iterator[calls.Call[GrantResponse]]:
        for row in rows:
            if told_to_stop.is_set():
                return
            under_way.append(row)
            yield calls.grant(**row.asked, preview=preview)

    for answer in client.bulk_grant(asked()):
        yield under_way.popleft(), answer


@contextmanager
def _told_to_stop() -> Iterator[Event]:
    """Set by the first Ctrl-C, so that the rows that were sent are still answered; the second interrupts at once."""
    told = Event()

    def tell(number: int, _frame: object) -> None:
        told.set()
        signal.signal(number, before)

    before = signal.signal(signal.SIGINT, tell)
    try:
        yield told
    finally:
        signal.signal(signal.SIGINT, before)
