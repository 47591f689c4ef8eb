"""A CSV file of grants: what its columns are, and what is wrong with a row."""

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import click

from server.commands import options


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the file.

    line    the line of the file on which it ends; the header's is 1
    asked   what `grant` of the client takes, by name
    """

    line: int
    asked: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """What no server would take.

    column   empty: the row as a whole
    """

    line: int
    column: str
    what: str

    def __str__(self) -> str:
        return f"line {self.line}, {self.column}: {self.what}" if self.column else f"line {self.line} {self.what}"


class UnreadableError(Exception):
    """The file is not one of grants; the text says why."""


def _whole(text: str) -> int:
    if not re.fullmatch("-?[0-9]{1,40}", text):
        raise click.BadParameter(f"{text[:40]!r} is not a whole number.")
    return int(text)


def _cost(text: str) -> tuple[int, str]:
    number, _, currency = text.partition(" ")
    return _whole(number), currency


def _kind(kind: click.ParamType[Any]) -> Callable[[str], Any]:
    return lambda text: kind.convert(text, None, None)


# What a cell means, by column; an empty one says nothing.
_COLUMNS: Final[Mapping[str, Callable[[str], Any]]] = MappingProxyType(
    {
        "account_id": str,
        "amount": _whole,
        "source": _kind(options.source),
        "priority": _whole,
        "effective_at": _kind(options.Instant()),
        "expires_at": _kind(options.Instant()),
        "ttl": _kind(options.Ttl()),
        "cost": _cost,
        "scope": lambda text: tuple(text.split()),
        "package": str,
        "description": str,
        "reference": str,
        "actor": str,
        "request_id": str,
    }
)
_TERMS: Final = ("request_id", "amount", "priority", "effective_at", "expires_at", "ttl", "scope", "package")
_MEMO: Final = ("description", "reference", "actor")
_EXPIRY: Final = frozenset({"expires_at", "ttl"})


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantsFile:
    """The grants that a file asks for.

    campaign   begins the request_ids of rows that name none; None: all must
    usual      what holds for rows that do not say otherwise, as `grant` of the client takes it
    """

    path: Path
    campaign: str | None
    usual: Mapping[str, Any]

    def check(self) -> tuple[int, list[Mistake]]:
        """Reads all of it: how many rows there are, and what is wrong with them. Raises UnreadableError."""
        if not self.path.is_file():
            raise UnreadableError(f"{self.path} is not a file, which can be read twice.")
        count, mistakes = 0, []
        lines: dict[tuple[str, str], int] = {}
        for row in self.read():
            count += 1
            if isinstance(row, Mistake):
                mistakes.append(row)
                continue
            named = row.asked["account_id"], row.asked["request_id"]
            first = lines.setdefault(named, row.line)
            if first != row.line:
                what = f"{named[1]!r} is that of line {first}, for the same account. Each grant needs its own."
                mistakes.append(Mistake(line=row.line, column="request_id", what=what))
        return count, mistakes

    def rows(self, count: int) -> Iterator[Row]:
        """The rows of a file that was checked, as they are asked for. Raises UnreadableError if it changed since.

        count   how many there were
        """
        changed = UnreadableError(f"{self.path} has changed since it was checked.")
        for row in self.read():
            if isinstance(row, Mistake) or count == 0:
                raise changed
            count -= 1
            yield row
        if count > 0:
            raise changed

    def read(self) -> Iterator[Row | Mistake]:
        """The rows as they are asked for. Raises UnreadableError."""
        try:
            with self.path.open(newline="", encoding="utf-8-sig") as file:
                reader = csv.reader(file, strict=True)
                header = next(reader, [])
                self._check_header(header)
                for cells in reader:
                    if cells:
                        yield self._row(reader.line_num, header, cells)
        except OSError as error:
            raise UnreadableError(f"{self.path} cannot be read: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            raise UnreadableError(f"{self.path} is not UTF-8: {error.reason}.") from error
        except csv.Error as error:
            raise UnreadableError(f"{self.path} is not CSV: line {reader.line_num}: {error}.") from error

    def _check_header(self, header: list[str]) -> None:
        known = ", ".join(_COLUMNS)
        for name in header:
            if name not in _COLUMNS:
                raise UnreadableError(f"{self.path} has the column {name[:80]!r}; known are {known}.")
            if header.count(name) > 1:
                raise UnreadableError(f"{self.path} has the column {name} twice.")
        for name in ("account_id", "amount"):
            if name not in header:
                raise UnreadableError(f"{self.path} has no column {name} in its first line; known are {known}.")
        if "source" not in header and "source" not in self.usual:
            raise UnreadableError(f"{self.path} has no column source. Add it, or say --source.")
        if "request_id" not in header and self.campaign is None:
            raise UnreadableError(
                f"{self.path} has no column request_id. Add it, or name a --campaign, so that a repeat grants "
                "nothing twice."
            )

    def _row(self, line: int, header: list[str], cells: list[str]) -> Row | Mistake:
        if len(cells) != len(header):
            return Mistake(line=line, column="", what=f"has {len(cells)} cells; the header has {len(header)}.")
        said: dict[str, Any] = {}
        for column, cell in zip(header, cells, strict=True):
            try:
                said |= {column: _COLUMNS[column](cell)} if cell else {}
            except click.BadParameter as error:
                return Mistake(line=line, column=column, what=error.message)
        usual = {name: value for name, value in self.usual.items() if name not in _EXPIRY or not _EXPIRY & said.keys()}
        if self.campaign is not None and "account_id" in said:
            usual["request_id"] = f"{self.campaign}:{said['account_id']}"
        asked = {**usual, **said}
        for column in ("account_id", "amount", "source", "request_id"):
            if column not in asked:
                return Mistake(line=line, column=column, what="is empty.")
        return _malformed(line, asked) or Row(line=line, asked=asked)


def _malformed(line: int, asked: Mapping[str, Any]) -> Mistake | None:
    """What the books say of the form of a grant; they say the same wherever they are."""
    from ledger import (  # noqa: PLC0415 -- to ask a server takes no books
        DEFAULT_TENANT,
        AccountName,
        Grant,
        MalformedError,
        Memo,
        Money,
        Source,
    )

    cost = asked.get("cost")
    try:
        Grant(
            account=AccountName(tenant=DEFAULT_TENANT, account_id=asked["account_id"], asset=asked["asset"]),
            source=Source(asked["source"]),
            cost=None if cost is None else Money(minor_units=cost[0], currency=cost[1]),
            memo=Memo(**{name: asked[name] for name in _MEMO if name in asked}),
            **{name: asked[name] for name in _TERMS if name in asked},
        )
    except MalformedError as error:
        found = [(_column(violation.field), violation.must) for violation in error.violations]
        # A campaign makes the request_id of the account_id, so that one mistake is in both.
        column, what = min(found, key=lambda mistake: mistake[0] == "request_id")
        return Mistake(line=line, column=column, what=what)
    return None


def _column(field: str) -> str:
    """A memo's description is told as memo.description, a cost's currency as cost.currency."""
    first, _, rest = field.partition(".")
    return rest if first == "memo" else first
