"""What the comments of the contract promise about errors, read from errors.proto."""

import re
from dataclasses import dataclass
from pathlib import Path

PROTOS = Path(__file__).parent.parent.parent / "protos" / "scrip" / "v1"

_VALUE = re.compile(r"((?:^ *//.*\n)+) *ERROR_REASON_(\w+) = [1-9]\d*;", re.MULTILINE)
_COMMENT = re.compile(r'(?P<code>[A-Z_]+)\. .*?(?:Metadata: (?P<metadata>.*?)\. )?Example: "(?P<example>.*)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What is promised of one reason.

    metadata   the figures that are in the metadata of the ErrorInfo
    example    a message
    """

    code: str
    metadata: frozenset[str]
    example: str


def promises() -> dict[str, Promise]:
    """The reasons of the contract with what their comments promise."""
    text = (PROTOS / "errors.proto").read_text(encoding="utf-8")
    return {name: _promise(comment) for comment, name in _VALUE.findall(text)}


def _promise(comment: str) -> Promise:
    found = _COMMENT.fullmatch(" ".join(line.strip().removeprefix("//").strip() for line in comment.splitlines()))
    # What is in parentheses, or follows a name, explains it.
    listed = re.sub(r"\(.*?\)|\band\b", "", found["metadata"] or "").split(",")
    return Promise(
        code=found["code"],
        metadata=frozenset(words.split()[0] for words in listed if words),
        example=found["example"],
    )


PROMISES = promises()
