"""Rows for people (table), for programs (json) and for spreadsheets (csv)."""

import csv
import io
import json
from collections.abc import Callable, Container, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])
Cell = str | float | bool | None


class Format(StrEnum):
    """How rows are written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def format_option(command: Command) -> Command:
    """Gives a command the flag --format."""
    return click.option(
        "--format",
        "form",
        type=click.Choice([form.value for form in Format]),
        default=Format.TABLE.value,
        show_default=True,
        callback=lambda _context, _parameter, value: Format(value),
    )(command)


def rendered(rows: Sequence[Mapping[str, Cell]], form: Format, fits: Container[str] | None = None) -> str:
    """The rows as text; all have the same columns. Numbers stay as they are, whatever their size.

    fits   the columns that a table has, because it has to fit a screen; None: all
    """
    match form:
        case Format.JSON:
            return json.dumps(list(rows), indent=2, ensure_ascii=False)
        case Format.CSV:
            return _csv(rows)
        case Format.TABLE if fits is None:
            return _table(rows)
        case Format.TABLE:
            return _table([{name: cell for name, cell in row.items() if name in fits} for row in rows])


def rendered_one(row: Mapping[str, Cell], form: Format) -> str:
    """A single row with many columns; a table of it has a line for each."""
    if form is Format.TABLE:
        return _table([{"field": name, "value": cell} for name, cell in row.items()])
    return rendered([row], form)


def _csv(rows: Sequence[Mapping[str, Cell]]) -> str:
    if not rows:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _plain(cell) for name, cell in row.items()} for row in rows)
    return text.getvalue().removesuffix("\n")


def _plain(cell: Cell) -> str:
    """A cell as text. What a spreadsheet would take for a formula is made text by an apostrophe."""
    text = _shown(cell)
    is_formula = isinstance(cell, str) and text.startswith(("=", "+", "-", "@", "\t", "\r")) and not _is_number(text)
    return f"'{text}" if is_formula else text


def _is_number(text: str) -> bool:
    return text.removeprefix("-").replace(".", "", 1).isdecimal()


def _table(rows: Sequence[Mapping[str, Cell]]) -> str:
    if not rows:
        return "(none)"
    names = list(rows[0])
    cells = [[_shown(row[name]) for name in names] for row in rows]
    widths = [max(len(name), *(len(line[column]) for line in cells)) for column, name in enumerate(names)]
    to_right = [all(_is_number(line[column]) or not line[column] for line in cells) for column in range(len(names))]

    def line(texts: Sequence[str]) -> str:
        padded = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(texts, widths, to_right, strict=True)
        ]
        return "  ".join(padded).rstrip()

    return "\n".join([line(names), line(["-" * width for width in widths]), *map(line, cells)])


def _shown(cell: Cell) -> str:
    if cell is None:
        return ""
    return str(cell).lower() if isinstance(cell, bool) else str(cell)


def text_of(instant: datetime) -> str:
    """An instant as RFC 3339 in UTC, without decimals that are zero."""
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
