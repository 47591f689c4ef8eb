"""A YAML or TOML file as parts that know where they stand, so that what is wrong with one can be told with its place.

Every value is a text until somebody says what it is. So no number becomes a float, and `no` is not taken for false.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml

from ledger import MalformedError, Violation, decimal_of

Choice = TypeVar("Choice", bound=StrEnum)

_WHOLE: Final = re.compile(r"-?[0-9]{1,40}")
_WITHIN_DIGITS: Final = re.compile("(?<=[0-9])_(?=[0-9])")
_FLAGS: Final = {"true": True, "false": False}
# More than any file needs that a server would take; aliases of aliases make of a few lines more than memory holds.
_PARTS_MAX: Final = 200_000


class UnusableFileError(Exception):
    """The file is not what it should be; the text says where, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a file: a text, a list or a table.

    path   where it stands in the tree, such as cards[2].rate; empty for all of it
    line   on which it begins; None where the format does not tell
    """

    path: str
    value: "str | list[Part] | dict[str, Part]"
    line: int | None

    def table(self, *known: str) -> "dict[str, Part]":
        """What the part has, by key. All of these methods raise MalformedError for what is something else.

        known   the keys it may have; none: any
        """
        if not isinstance(self.value, dict):
            raise self.wrong("must be a table of keys and values.")
        unknown = [part for key, part in self.value.items() if known and key not in known]
        must = f"is not known here; known are {', '.join(known)}."
        if unknown:
            raise MalformedError(tuple(Violation(field=part.path, must=must) for part in unknown))
        return self.value

    def items(self) -> "list[Part]":
        """The parts of a list."""
        if not isinstance(self.value, list):
            raise self.wrong("must be a list.")
        return self.value

    def text(self) -> str:
        """A single value, as it is written."""
        if not isinstance(self.value, str):
            raise self.wrong("must be a single value.")
        return self.value

    def number(self) -> str:
        """A value that may have "_" between its digits, without them: 1_000_000 is one million."""
        return _WITHIN_DIGITS.sub("", self.text())

    def whole(self) -> int:
        """A whole number."""
        if not _WHOLE.fullmatch(self.number()):
            raise self.wrong(f"must be a whole number; it is {self.text()[:40]!r}.")
        return int(self.number())

    def decimal(self) -> Decimal:
        """A number, exactly as it is written."""
        return decimal_of(self.path, self.number())

    def one_of(self, choices: Iterable[Choice]) -> Choice:
        """One of a few words."""
        for choice in choices:
            if choice.value == self.text():
                return choice
        raise self.wrong(f"must be one of {', '.join(choices)}; it is {self.text()[:40]!r}.")

    def flag(self) -> bool:
        """True or false."""
        if self.text() not in _FLAGS:
            raise self.wrong(f"must be true or false; it is {self.text()[:40]!r}.")
        return _FLAGS[self.text()]

    def instant(self) -> datetime:
        """A point in time; without a zone it is UTC."""
        try:
            instant = datetime.fromisoformat(self.text())
        except ValueError:
            must = f"must be an instant such as 2027-01-31T12:00:00Z; it is {self.text()[:40]!r}."
            raise self.wrong(must) from None
        return instant if instant.tzinfo else instant.replace(tzinfo=UTC)

    def need(self, key: str) -> "Part":
        """What a table cannot do without."""
        table = self.table()
        if key not in table:
            raise MalformedError((Violation(field=_under(self.path, key), must="must be given."),))
        return table[key]

    def wrong(self, must: str) -> MalformedError:
        """What to raise if the part is not what it must be."""
        return MalformedError((Violation(field=self.path, must=must),))

    def all(self) -> "Iterator[Part]":
        """It and every part of it."""
        yield self
        parts = self.value.values() if isinstance(self.value, dict) else self.value
        for part in () if isinstance(parts, str) else parts:
            yield from part.all()


def read_marked(path: Path) -> Part:
    """The whole file: TOML if its name ends so, else YAML. Raises UnusableFileError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".toml":
            # Numbers with a point stay the text they are.
            return _part_of("", tomllib.loads(text, parse_float=str))
        return _Yaml().part_of("", yaml.compose(text, Loader=yaml.BaseLoader))
    except OSError as error:
        raise UnusableFileError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UnusableFileError(f"{path} is not UTF-8: {error.reason}.") from error
    except (tomllib.TOMLDecodeError, yaml.YAMLError) as error:
        raise UnusableFileError(f"{path} cannot be read: {' '.join(str(error).split())}.") from error
    except MalformedError as error:
        raise UnusableFileError(f"{path}: {error}") from error
    except (ValueError, OverflowError) as error:
        raise UnusableFileError(f"{path} cannot be read: it has a number or a character that is too large.") from error
    except RecursionError as error:
        raise UnusableFileError(f"{path} cannot be read: lists and tables lie too deep in each other.") from error


def _part_of(path: str, value: Any) -> Part:  # noqa: ANN401 -- whatever TOML can say
    match value:
        case dict():
            table = {key: _part_of(_under(path, key), one) for key, one in value.items()}
            return Part(path=path, value=table, line=None)
        case list():
            items = [_part_of(f"{path}[{index}]", one) for index, one in enumerate(value)]
            return Part(path=path, value=items, line=None)
        case bool():
            return Part(path=path, value=str(value).lower(), line=None)
        case date() | time():
            return Part(path=path, value=value.isoformat(), line=None)
    return Part(path=path, value=str(value), line=None)


class _Yaml:
    """Makes parts of what was composed; an alias stands for what its anchor marks."""

    def __init__(self) -> None:
        self._under_way: set[int] = set()
        self._parts = 0

    def part_of(self, path: str, node: yaml.Node | None) -> Part:
        if node is None:
            return Part(path=path, value={}, line=1)
        line = node.start_mark.line + 1
        self._parts += 1
        if self._parts > _PARTS_MAX:
            must = f"must have at most {_PARTS_MAX:,} parts, with what aliases stand for (line {line})."
            raise MalformedError((Violation(field="it", must=must),))
        if isinstance(node, yaml.ScalarNode):
            return Part(path=path, value=node.value, line=line)
        if id(node) in self._under_way:
            raise MalformedError((Violation(field=path, must=f"is an alias of what it is part of (line {line})."),))
        self._under_way.add(id(node))
        part = self._several(path, node, line)
        self._under_way.remove(id(node))
        return part

    def _several(self, path: str, node: yaml.Node, line: int) -> Part:
        if isinstance(node, yaml.SequenceNode):
            items = [self.part_of(f"{path}[{index}]", one) for index, one in enumerate(node.value)]
            return Part(path=path, value=items, line=line)
        table: dict[str, Part] = {}
        for key, value in node.value:
            begins = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                must = f"must have plain words for keys (line {begins})."
                raise MalformedError((Violation(field=path or "it", must=must),))
            if key.value in table:
                raise MalformedError((Violation(field=path or "it", must=f"has {key.value} twice (line {begins})."),))
            table[key.value] = self.part_of(_under(path, key.value), value)
        return Part(path=path, value=table, line=line)


def _under(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
