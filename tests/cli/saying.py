"""What a command says, taken apart: the same rows as a table, as JSON and as CSV."""

import csv
import io
import json
import re
from collections.abc import Container

INT64_MAX = 2**63 - 1


def table_of(text: str) -> list[dict[str, str]]:
    """The cells of a table, cut where the dashes under the head say."""
    head, dashes, *lines = text.splitlines()
    columns = [match.span() for match in re.finditer("-+", dashes)]
    names = [head[slice(*column)].strip() for column in columns]
    return [dict(zip(names, (line[slice(*c)].strip() for c in columns), strict=True)) for line in lines]


def csv_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def json_of(result) -> list[dict[str, object]]:
    """The rows that a command said as JSON; it must have ended well."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def as_text(rows: list[dict[str, object]], but: Container[str] = ()) -> list[dict[str, str]]:
    """The cells as a table and CSV write them, without some columns."""
    shown = {True: "true", False: "false", None: ""}
    return [
        {
            name: shown[cell] if isinstance(cell, bool | None) else str(cell)
            for name, cell in row.items()
            if name not in but
        }
        for row in rows
    ]


def assert_says(
    scrip, expected: list[dict[str, object]], *command: str, not_in_tables: Container[str] = (), aside: str = ""
) -> None:
    """In all formats; a command that changes the books is repeated by its request_id.

    aside   what is said on standard error
    """
    said = {form: scrip(*command, "--format", form) for form in ("json", "csv", "table")}

    assert [result.exit_code for result in said.values()] == [0, 0, 0], said["json"].output
    assert json.loads(said["json"].stdout) == expected
    assert csv_of(said["csv"].stdout) == as_text(expected)
    assert table_of(said["table"].stdout) == as_text(expected, but=not_in_tables)
    assert {result.stderr for result in said.values()} == {aside}
