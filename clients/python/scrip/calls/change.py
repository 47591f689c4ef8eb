"""The arguments that all changes have in common."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Required, TypedDict

from scrip import arguments
from scrip.v1.types_pb2 import Memo


class _Repeatable(TypedDict, total=False):
    request_id: str | None
    reference: str
    metadata: Mapping[str, str] | None
    preview: bool
    deadline_s: float | None


class Change(_Repeatable, total=False):
    """What every change may be told; Client describes it."""

    description: str
    actor: str


class Reasoned(_Repeatable, total=False):
    """As Change, for those that must say why: in the description."""

    description: Required[str]
    actor: str


class Signed(_Repeatable, total=False):
    """As Change, for those that must say why and who: in the description and the actor."""

    description: Required[str]
    actor: Required[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a change was told, as its request has it.

    request_id   the caller's, or one made up: once per logical call, so that each attempt carries the same
    memo         None if there is nothing to write beside the entry
    """

    request_id: str
    memo: Memo | None
    preview: bool
    deadline_s: float | None


def said(
    *,
    request_id: str | None = None,
    description: str = "",
    reference: str = "",
    actor: str = "",
    metadata: Mapping[str, str] | None = None,
    preview: bool = False,
    deadline_s: float | None = None,
) -> Said:
    """Take what a change was told. What must be said, the server asks for."""
    return Said(
        request_id=str(uuid.uuid4()) if request_id is None else arguments.text("request_id", request_id),
        memo=arguments.memo(description, reference, actor, metadata),
        preview=arguments.truth("preview", preview),
        deadline_s=deadline_s,
    )
