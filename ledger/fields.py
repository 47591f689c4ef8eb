"""The form of fields: what each may hold, and the fingerprint that tells a repeat from a reuse."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from dataclasses import fields as dataclass_fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from ledger.chart import SOURCE_RULES, Code, Source
from ledger.model import INT64_MAX, NO_MEMO, SCALE_MAX, AccountName, Memo, Money
from ledger.pricing import Usage
from ledger.terms import SpendLimit

ID_LENGTH_MAX: Final = 128
PRIORITY_MAX: Final = 1000
GRANT_TTL_MAX: Final = timedelta(days=36_500)
INSTANT_MIN: Final = datetime(1970, 1, 1, tzinfo=UTC)
INSTANT_MAX: Final = datetime(9000, 1, 1, tzinfo=UTC)
SCOPE_PATTERNS_MAX: Final = 10
METADATA_PAIRS_MAX: Final = 20
METADATA_KEY_LENGTH_MAX: Final = 40
METADATA_VALUE_LENGTH_MAX: Final = 500
DESCRIPTION_LENGTH_MAX: Final = 500
REFERENCE_LENGTH_MAX: Final = 200
PAGE_SIZE_DEFAULT: Final = 50
PAGE_SIZE_MAX: Final = 500
# Longer values are compared by their hash, so that a fingerprint stays small.
_FINGERPRINT_VALUE_LENGTH_MAX: Final = 64
# The name of an operation's own account is where its request_id is looked up; the memo is told field by field.
_NOT_ASKED_FOR: Final = frozenset({"request_id", "account", "tenant", "key", "memo"})
# Fields are told by the names they have in the contract.
_SHOWN: Final = MappingProxyType(
    {"hold": "hold_id", "entry": "entry_id", "lot": "lot_id", "to": "to_account_id", "into": "into_account_id"}
)

_NAME: Final = re.compile(r"[a-z][a-z0-9_.-]{0,62}")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_OPERATION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./:-]{0,99}")
_OPERATION_RULE: Final = 'at most 100 letters, digits, "_", "-", ".", ":" or "/", a letter or digit first'
_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One field that is malformed.

    must   what it must be and what it is, as the end of a sentence that begins with the field
    """

    field: str
    must: str


class MalformedError(ValueError):
    """What was asked for has fields that can never be right."""

    def __init__(self, violations: tuple[Violation, ...]) -> None:
        super().__init__("; ".join(f"{violation.field} {violation.must}" for violation in violations))
        self.violations = violations


def check(*violations: Violation | None) -> None:
    """Raises MalformedError if there are any."""
    if found := tuple(violation for violation in violations if violation is not None):
        raise MalformedError(found)


def bad_identifier(field: str, text: str) -> Violation | None:
    """What is wrong with the caller's own name for something; None if nothing is. So do all below."""
    if 0 < len(text) <= ID_LENGTH_MAX and text.isascii() and text.isprintable():
        return None
    return Violation(field=field, must=f"must be 1 to {ID_LENGTH_MAX} printable ASCII characters; it {_is_not(text)}.")


def _is_not(text: str) -> str:
    if not text:
        return "is empty"
    if len(text) > ID_LENGTH_MAX:
        return f"has {len(text)}"
    return f"has {next(character for character in text if not (character.isascii() and character.isprintable()))!r}"


def bad_name(field: str, text: str) -> Violation | None:
    """A name that the books give: of a tenant, an asset, a limit."""
    if _NAME.fullmatch(text):
        return None
    return Violation(
        field=field,
        must='must be 1 to 63 characters: a lower-case letter, then lower-case letters, digits, "_", "-" or ".".',
    )


def bad_number(field: str, number: int, smallest: int, largest: int) -> Violation | None:
    """A whole number between two others, both included."""
    if type(number) is int and smallest <= number <= largest:
        return None
    return Violation(field=field, must=f"must be {smallest} to {largest}; it is {number}.")


def bad_amount(amount: int) -> Violation | None:
    """Smallest units, more than 0."""
    return bad_number("amount", amount, 1, INT64_MAX)


def bad_text(field: str, text: str, length_max: int) -> Violation | None:
    """Text that every engine can store."""
    if len(text) > length_max:
        return Violation(field=field, must=f"must have at most {length_max} characters; it has {len(text)}.")
    # PostgreSQL cannot store NUL in a text, so no engine does.
    if "\0" in text:
        return Violation(field=field, must="must not contain NUL characters.")
    if _LONE_SURROGATE.search(text):
        return Violation(field=field, must="must be text that UTF-8 can write.")
    return None


def bad_duration(field: str, duration: timedelta | None, longest: timedelta) -> Violation | None:
    """More than nothing; None is right."""
    if duration is None or timedelta(0) < duration <= longest:
        return None
    return Violation(
        field=field, must=f"must be more than 0 and at most {longest.days} days; it is {_text_of(duration)}."
    )


def bad_instant(field: str, instant: datetime | None) -> Violation | None:
    """A point in time; None is right."""
    if instant is None:
        return None
    if instant.tzinfo is None:
        return Violation(field=field, must="must say its time zone.")
    if INSTANT_MIN <= instant < INSTANT_MAX:
        return None
    return Violation(
        field=field, must=f"must lie from the year {INSTANT_MIN.year} to {INSTANT_MAX.year}; it is {instant}."
    )


def bad_expiry(expires_at: datetime | None, ttl: timedelta | None) -> Violation | None:
    """When a lot runs out, as an instant or as a span, not both; neither means never."""
    if expires_at is None:
        return bad_duration("ttl", ttl, GRANT_TTL_MAX)
    if ttl is not None:
        return Violation(field="ttl", must="must not be given together with expires_at.")
    return bad_instant("expires_at", expires_at)


def check_asset(asset: str, scale: int) -> None:
    """Raises MalformedError unless the two may define an asset."""
    check(bad_name("asset", asset), bad_number("scale", scale, 0, SCALE_MAX))


def check_account(name: AccountName) -> None:
    """Raises MalformedError unless the name can be that of an account."""
    check(*bad_account(name))


def check_account_part(tenant: str, account_id: str | None, asset: str | None) -> None:
    """Raises MalformedError unless what is given can name an account or a part of the books."""
    check(
        bad_name("tenant", tenant),
        None if account_id is None else bad_identifier("account_id", account_id),
        None if asset is None else bad_name("asset", asset),
    )


def check_page_size(page_size: int) -> None:
    """Raises MalformedError for a number of rows that no page can have."""
    check(bad_number("page_size", page_size, 0, INT64_MAX))


def rows_per_page(page_size: int) -> int:
    """How many rows a page has at most, of what was asked for; 0 asks for nothing."""
    return min(page_size or PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)


def bad_account(name: AccountName) -> tuple[Violation | None, ...]:
    """Each part of an account's name."""
    return (
        bad_name("tenant", name.tenant),
        bad_identifier("account_id", name.account_id),
        bad_name("asset", name.asset),
    )


def bad_memo(memo: Memo) -> tuple[Violation | None, ...]:
    """Each part of a memo."""
    if memo is NO_MEMO:
        return ()
    return (
        bad_text("memo.description", memo.description, DESCRIPTION_LENGTH_MAX),
        bad_text("memo.reference", memo.reference, REFERENCE_LENGTH_MAX),
        bad_text("memo.actor", memo.actor, REFERENCE_LENGTH_MAX),
        *bad_metadata("memo.metadata", memo.metadata),
    )


def bad_metadata(field: str, metadata: Mapping[str, str]) -> tuple[Violation | None, ...]:
    """How many pairs, and each of them."""
    return (
        None
        if len(metadata) <= METADATA_PAIRS_MAX
        else Violation(field=field, must=f"must have at most {METADATA_PAIRS_MAX} pairs; it has {len(metadata)}."),
        *(_bad_metadata_key(field, key) for key in metadata),
        *(bad_text(f'{field}["{key[:40]}"]', value, METADATA_VALUE_LENGTH_MAX) for key, value in metadata.items()),
    )


def _bad_metadata_key(field: str, key: str) -> Violation | None:
    if not key:
        return Violation(field=field, must="must not have an empty key.")
    return bad_text(f"{field} key", key, METADATA_KEY_LENGTH_MAX)


def bad_reason(memo: Memo) -> tuple[Violation | None, ...]:
    """A correction says why it is made, and who makes it."""
    return (
        None if memo.description else Violation(field="memo.description", must="must say why; it is empty."),
        None if memo.actor else Violation(field="memo.actor", must="must say who; it is empty."),
    )


def bad_given(field: str, value: object) -> Violation | None:
    """Something that cannot be left out."""
    return Violation(field=field, must="must be given.") if value is None else None


def bad_choice(field: str, value: object, kind: type[StrEnum]) -> Violation | None:
    """One of a few words; the word as a plain text is not taken for it."""
    return None if isinstance(value, kind) else Violation(field=field, must=f"must be a {kind.__name__}.")


def bad_operation(field: str, operation: str) -> Violation | None:
    """What credits are spent for, such as image/generate; empty says nothing of it."""
    if not operation or _OPERATION.fullmatch(operation):
        return None
    return Violation(field=field, must=f"must be {_OPERATION_RULE}, or empty; it is {operation[:80]!r}.")


def bad_pattern(field: str, pattern: str) -> Violation | None:
    """An operation, or the beginning of one followed by an asterisk."""
    if pattern.removesuffix("*") == "" or _OPERATION.fullmatch(pattern.removesuffix("*")):
        return None if pattern else Violation(field=field, must="must not be empty.")
    return Violation(field=field, must=f'must be {_OPERATION_RULE}, or end in one "*"; it is {pattern[:80]!r}.')


def bad_scope(scope: tuple[str, ...]) -> tuple[Violation | None, ...]:
    """The patterns of a lot's scope."""
    too_many = Violation(field="scope", must=f"must have at most {SCOPE_PATTERNS_MAX} patterns; it has {len(scope)}.")
    return (too_many if len(scope) > SCOPE_PATTERNS_MAX else None, *(bad_pattern("scope", one) for one in scope))


def bad_package(package: str, source: Source) -> Violation | None:
    """What something was sold as, which is for what is not granted free; empty says nothing of it."""
    if package and SOURCE_RULES[source].debit == Code.PROMOTIONS:
        return Violation(field="package", must=f"must be absent for source {source}, which is granted free.")
    return bad_name("package", package) if package else None


def bad_currency(field: str, currency: str) -> Violation | None:
    """The code of a currency."""
    if _CURRENCY.fullmatch(currency):
        return None
    return Violation(field=field, must="must be an ISO 4217 code: three capital letters.")


def bad_cost(cost: Money | None, source: Source) -> tuple[Violation | None, ...]:
    """What was paid, which is for what is not granted free."""
    if cost is None:
        return ()
    return (
        *bad_money("cost", cost, 0),
        None
        if SOURCE_RULES[source].debit != Code.PROMOTIONS
        else Violation(field="cost", must=f"must be absent for source {source}, which is granted free."),
    )


def bad_money(field: str, money: Money, smallest: int) -> tuple[Violation | None, ...]:
    """An amount of money, at least so many minor units."""
    return (
        bad_number(f"{field}.minor_units", money.minor_units, smallest, INT64_MAX),
        bad_currency(f"{field}.currency", money.currency),
    )


# Of each kind of operation, the fields that are part of what is asked for: name, name as shown, default.
_asked_for: dict[type[Any], tuple[tuple[str, str, object], ...]] = {}


def _fields_asked_for(kind: type[Any]) -> tuple[tuple[str, str, object], ...]:
    _asked_for[kind] = tuple(
        (one.name, _SHOWN.get(one.name, one.name), None if one.default is MISSING else one.default)
        for one in dataclass_fields(kind)
        if one.name not in _NOT_ASKED_FOR
    )
    return _asked_for[kind]


def fingerprint_of(operation: Any) -> str:  # noqa: ANN401 -- any operation
    """What is asked for, as text: one line per field that was given; long values and metadata by their hash."""
    lines = []
    for name, shown, default in _asked_for.get(type(operation)) or _fields_asked_for(type(operation)):
        value = getattr(operation, name)
        if value is not None and (default is None or value != default):
            text = value if type(value) is str else _text_of(value)
            lines.append(f"{shown}={_short(text)}")
    memo = operation.memo
    if memo is not NO_MEMO:
        parts = (("description", memo.description), ("reference", memo.reference), ("actor", memo.actor))
        lines += [f"memo.{name}={_short(text)}" for name, text in parts if text]
        if memo.metadata:
            lines.append(f"memo.metadata={_digest(_text_of(memo.metadata))}")
    return "\n".join(lines)


def fields_that_differ(posted: str, asked: str) -> tuple[str, ...]:
    """The names of the fields in which two fingerprints of the same kind differ, in order."""
    before, after = _fields_of(posted), _fields_of(asked)
    return tuple(sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name)))


def _fields_of(fingerprint: str) -> Mapping[str, str]:
    return dict(line.split("=", 1) for line in fingerprint.split("\n") if line)


def _text_of(value: object) -> str:
    match value:
        case int():
            return str(value)
        case Usage():
            return value.text
        case AccountName():
            return value.account_id
        case timedelta():
            return f"{value.days * 86_400 + value.seconds}.{value.microseconds:06}s"
        case datetime():
            return value.astimezone(UTC).isoformat()
        case Money():
            return f"{value.minor_units} {value.currency}"
        case Mapping():
            return json.dumps(sorted(value.items()))
        case tuple():
            return ",".join(_text_of(one) for one in value)
        case SpendLimit():
            parts = (value.name, value.window, value.length, value.operation or None, value.amount)
            return " ".join(_text_of(part) for part in parts if part is not None)
    return str(value)


def _short(value: str) -> str:
    if len(value) <= _FINGERPRINT_VALUE_LENGTH_MAX and "\n" not in value and not value.startswith("#"):
        return value
    return _digest(value)


def _digest(value: str) -> str:
    return "#" + hashlib.sha256(value.encode()).hexdigest()[:32]
