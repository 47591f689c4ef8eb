"""Reading the fields of Stripe's objects: each as what it must be, or with a sentence about what it is. Pure."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, cast

from ledger import Money

# Stripe takes twelve digits at most, whatever the currency.
AMOUNT_MAX: Final = 999_999_999_999
QUANTITY_MAX: Final = 1_000_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# The year 3000.
_INSTANT_MAX: Final = 32_503_680_000
_NAME: Final = re.compile(r"[A-Za-z0-9_]{1,255}")
_CURRENCY: Final = re.compile(r"[a-z]{3}")
_SHOWN_MAX: Final = 40

Json = Mapping[str, object]


class UnreadableError(Exception):
    """A field is not what it must be; its text is the sentence that says so."""


def part(of: Json, *path: str) -> Json:
    """The object below these names; an empty one where there is none."""
    found: object = of
    for key in path:
        found = cast("Json", found).get(key)
        if found is None:
            return {}
        if not isinstance(found, Mapping):
            raise _not_as(key, "an object", found)
    return cast("Json", found)


def parts(of: Json, key: str) -> tuple[Json, ...]:
    """What a list of Stripe's has; nothing where there is none."""
    data = part(of, key).get("data")
    if data is None:
        return ()
    if not isinstance(data, list) or not all(isinstance(one, Mapping) for one in data):
        raise _not_as(f"{key}.data", "a list of objects", data)
    return tuple(data)


def text(of: Json, key: str) -> str:
    """A text; empty where there is none."""
    found = of.get(key)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise _not_as(key, "a text", found)
    return found


def flag(of: Json, key: str) -> bool:
    """True or false."""
    found = of.get(key)
    if not isinstance(found, bool):
        raise _not_as(key, "true or false", found)
    return found


def name(of: Json, key: str) -> str:
    """What Stripe calls something; it may have put the thing itself there. Empty where there is none."""
    found = of.get(key)
    if isinstance(found, Mapping):
        return name(found, "id")
    if found is None:
        return ""
    if not isinstance(found, str) or not _NAME.fullmatch(found):
        raise _not_as(key, "an id", found)
    return found


def own_name(of: Json) -> str:
    """What Stripe calls the object itself."""
    if not (found := name(of, "id")):
        raise _not_as("id", "an id", None)
    return found


def whole(of: Json, key: str, least: int, most: int) -> int:
    """A whole number within limits."""
    found = of.get(key)
    if isinstance(found, bool) or not isinstance(found, int) or not least <= found <= most:
        raise _not_as(key, f"a whole number from {least} to {most}", found)
    return found


def amount(of: Json, key: str, least: int = 0) -> int:
    """Minor units."""
    return whole(of, key, least, AMOUNT_MAX)


def money(of: Json, key: str) -> Money:
    """An amount in the object's currency."""
    currency = of.get("currency")
    if not isinstance(currency, str) or not _CURRENCY.fullmatch(currency):
        raise _not_as("currency", "three small letters", currency)
    return Money(minor_units=amount(of, key), currency=currency.upper())


def instant(of: Json, key: str) -> datetime:
    """A time, which Stripe tells in whole seconds."""
    return _EPOCH + timedelta(seconds=whole(of, key, 0, _INSTANT_MAX))


def shown(found: object) -> str:
    """What was found instead, as a sentence may have it: never much of it."""
    if isinstance(found, Mapping | list):
        return "an object" if isinstance(found, Mapping) else "a list"
    told = repr(found)
    return told if len(told) <= _SHOWN_MAX else f"{told[:_SHOWN_MAX]}…"


def _not_as(key: str, must: str, found: object) -> UnreadableError:
    return UnreadableError(f"{key} must be {must}; it is {'missing' if found is None else shown(found)}.")
