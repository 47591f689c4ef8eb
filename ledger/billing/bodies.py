"""Values of sales as JSON, and back: every field that is not as it is by default, by its name."""

import json
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from types import MappingProxyType, NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from ledger.chain import instant_text

_Value = TypeVar("_Value")
_MICROSECOND = timedelta(microseconds=1)


def body_of(value: object) -> str:
    """The JSON text of a value."""
    return json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"))


def value_of(kind: type[_Value], body: str) -> _Value:
    """The value in a JSON text that `body_of` made."""
    made = _made(kind, json.loads(body))
    if not isinstance(made, kind):
        raise TypeError(f"{body[:80]} is no {kind.__name__}")
    return made


def _plain(value: Any) -> Any:  # noqa: ANN401 -- any field of any value
    match value:
        case None | bool() | int() | str():
            return value
        case datetime():
            return instant_text(value)
        case timedelta():
            return value // _MICROSECOND
        case Mapping():
            return dict(value)
        case tuple():
            return [_plain(one) for one in value]
    return {one.name: _plain(given) for one in fields(value) if (given := getattr(value, one.name)) != _default(one)}


def _default(one: Field[Any]) -> object:
    return one.default_factory() if one.default_factory is not MISSING else one.default


@cache
def _kinds(kind: Any) -> Mapping[str, Any]:  # noqa: ANN401 -- a dataclass
    return MappingProxyType(get_type_hints(kind))


def _made(kind: Any, plain: Any) -> Any:  # noqa: ANN401 -- as above
    if plain is None:
        return None
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is UnionType:
        (kind,) = (one for one in arguments if one is not NoneType)
        return _made(kind, plain)
    if origin is tuple:
        return tuple(_made(arguments[0], one) for one in plain)
    if origin is not None:
        return MappingProxyType(plain)
    if isinstance(kind, type) and is_dataclass(kind):
        kinds = _kinds(kind)
        return kind(**{name: _made(kinds[name], one) for name, one in plain.items()})
    if kind is datetime:
        return datetime.fromisoformat(plain)
    if kind is timedelta:
        return plain * _MICROSECOND
    return kind(plain) if issubclass(kind, StrEnum) else plain
