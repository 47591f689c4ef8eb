"""What callers ask for. A malformed operation cannot be made: every rule about a field's form is in this module."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Final

from ledger.chart import SOURCE_RULES, Code, Source
from ledger.ids import AccountKey
from ledger.model import (
    HOLD_TTL_MAX,
    INT64_MAX,
    NO_MEMO,
    SCALE_MAX,
    AccountName,
    EntryKind,
    Memo,
    Money,
)

ID_LENGTH_MAX: Final = 128
PRIORITY_MAX: Final = 1000
GRANT_TTL_MAX: Final = timedelta(days=36_500)
INSTANT_MIN: Final = datetime(1970, 1, 1, tzinfo=UTC)
INSTANT_MAX: Final = datetime(9000, 1, 1, tzinfo=UTC)
METADATA_PAIRS_MAX: Final = 20
METADATA_KEY_LENGTH_MAX: Final = 40
METADATA_VALUE_LENGTH_MAX: Final = 500
DESCRIPTION_LENGTH_MAX: Final = 500
REFERENCE_LENGTH_MAX: Final = 200
# Longer values are compared by their hash, so that a fingerprint stays small.
_FINGERPRINT_VALUE_LENGTH_MAX: Final = 64

_NAME: Final = re.compile(r"[a-z][a-z0-9_.-]{0,62}")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
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


def _check(*violations: Violation | None) -> None:
    if found := tuple(violation for violation in violations if violation is not None):
        raise MalformedError(found)


def _identifier(field: str, text: str) -> Violation | None:
    if 0 < len(text) <= ID_LENGTH_MAX and text.isascii() and text.isprintable():
        return None
    return Violation(field=field, must=f"must be 1 to {ID_LENGTH_MAX} printable ASCII characters; it {_is_not(text)}.")


def _is_not(text: str) -> str:
    if not text:
        return "is empty"
    if len(text) > ID_LENGTH_MAX:
        return f"has {len(text)}"
    return f"has {next(character for character in text if not (character.isascii() and character.isprintable()))!r}"


def _name(field: str, text: str) -> Violation | None:
    if _NAME.fullmatch(text):
        return None
    return Violation(
        field=field,
        must='must be 1 to 63 characters: a lower-case letter, then lower-case letters, digits, "_", "-" or ".".',
    )


def _whole_number(field: str, number: int, smallest: int, largest: int) -> Violation | None:
    if type(number) is int and smallest <= number <= largest:
        return None
    return Violation(field=field, must=f"must be {smallest} to {largest}; it is {number}.")


def _amount(amount: int) -> Violation | None:
    return _whole_number("amount", amount, 1, INT64_MAX)


def _text(field: str, text: str, length_max: int) -> Violation | None:
    if len(text) > length_max:
        return Violation(field=field, must=f"must have at most {length_max} characters; it has {len(text)}.")
    # PostgreSQL cannot store NUL in a text, so no engine does.
    if "\0" in text:
        return Violation(field=field, must="must not contain NUL characters.")
    if _LONE_SURROGATE.search(text):
        return Violation(field=field, must="must be text that UTF-8 can write.")
    return None


def _duration(field: str, duration: timedelta | None, longest: timedelta) -> Violation | None:
    if duration is None or timedelta(0) < duration <= longest:
        return None
    return Violation(
        field=field, must=f"must be more than 0 and at most {longest.days} days; it is {_text_of(duration)}."
    )


def _instant(field: str, instant: datetime | None) -> Violation | None:
    if instant is None:
        return None
    if instant.tzinfo is None:
        return Violation(field=field, must="must say its time zone.")
    if INSTANT_MIN <= instant < INSTANT_MAX:
        return None
    return Violation(
        field=field, must=f"must lie from the year {INSTANT_MIN.year} to {INSTANT_MAX.year}; it is {instant}."
    )


def check_asset(asset: str, scale: int) -> None:
    """Raises MalformedError unless the two may define an asset."""
    _check(_name("asset", asset), _whole_number("scale", scale, 0, SCALE_MAX))


def check_account(name: AccountName) -> None:
    """Raises MalformedError unless the name can be that of an account."""
    _check(*_account(name))


def check_account_part(tenant: str, account_id: str | None, asset: str | None) -> None:
    """Raises MalformedError unless what is given can name an account or a part of the books."""
    _check(
        _name("tenant", tenant),
        None if account_id is None else _identifier("account_id", account_id),
        None if asset is None else _name("asset", asset),
    )


def check_page_size(page_size: int) -> None:
    """Raises MalformedError for a number of rows that no page can have."""
    _check(_whole_number("page_size", page_size, 0, INT64_MAX))


def _account(name: AccountName) -> tuple[Violation | None, ...]:
    return (
        _name("tenant", name.tenant),
        _identifier("account_id", name.account_id),
        _name("asset", name.asset),
    )


def _memo(memo: Memo) -> tuple[Violation | None, ...]:
    if memo is NO_MEMO:
        return ()
    pairs = memo.metadata.items()
    return (
        _text("memo.description", memo.description, DESCRIPTION_LENGTH_MAX),
        _text("memo.reference", memo.reference, REFERENCE_LENGTH_MAX),
        _text("memo.actor", memo.actor, REFERENCE_LENGTH_MAX),
        None
        if len(pairs) <= METADATA_PAIRS_MAX
        else Violation(
            field="memo.metadata", must=f"must have at most {METADATA_PAIRS_MAX} pairs; it has {len(pairs)}."
        ),
        *(_metadata_key(key) for key, _ in pairs),
        *(_text(f'memo.metadata["{key[:40]}"]', value, METADATA_VALUE_LENGTH_MAX) for key, value in pairs),
    )


def _metadata_key(key: str) -> Violation | None:
    if not key:
        return Violation(field="memo.metadata", must="must not have an empty key.")
    return _text("memo.metadata key", key, METADATA_KEY_LENGTH_MAX)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAccount:
    """Open an account of a customer in one asset."""

    kind: ClassVar = EntryKind.OPEN
    request_id: str
    account: AccountName
    memo: Memo = NO_MEMO

    def __post_init__(self) -> None:
        _check(_identifier("request_id", self.request_id), *_account(self.account), *_memo(self.memo))

    @property
    def key(self) -> AccountKey:
        """The account it changes."""
        return self.account.key

    def fingerprint(self) -> str:
        """What is asked for, as text."""
        return _fingerprint(self.memo)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Put credits into an account as one lot.

    amount         smallest units, > 0
    priority       None takes the source's own
    effective_at   from when on it can burn; None: at once
    expires_at     the first instant at which it is gone; None, without ttl: never
    ttl            instead of expires_at, counted from when it can burn
    cost           what was paid; only for sources that do not debit promotions
    """

    kind: ClassVar = EntryKind.GRANT
    request_id: str
    account: AccountName
    amount: int
    source: Source
    priority: int | None = None
    effective_at: datetime | None = None
    expires_at: datetime | None = None
    ttl: timedelta | None = None
    cost: Money | None = None
    memo: Memo = NO_MEMO

    def __post_init__(self) -> None:
        _check(
            _identifier("request_id", self.request_id),
            *_account(self.account),
            _amount(self.amount),
            None if self.priority is None else _whole_number("priority", self.priority, 0, PRIORITY_MAX),
            _instant("effective_at", self.effective_at),
            *self._expiry(),
            *self._cost(),
            *_memo(self.memo),
        )

    def _expiry(self) -> tuple[Violation | None, ...]:
        if self.expires_at is None:
            return (_duration("ttl", self.ttl, GRANT_TTL_MAX),)
        if self.ttl is not None:
            return (Violation(field="ttl", must="must not be given together with expires_at."),)
        if malformed := _instant("expires_at", self.expires_at):
            return (malformed,)
        if self.effective_at is not None and self.effective_at.tzinfo and self.expires_at <= self.effective_at:
            return (Violation(field="expires_at", must="must be after effective_at."),)
        return ()

    def _cost(self) -> tuple[Violation | None, ...]:
        if self.cost is None:
            return ()
        return (
            _whole_number("cost.minor_units", self.cost.minor_units, 0, INT64_MAX),
            None
            if _CURRENCY.fullmatch(self.cost.currency)
            else Violation(field="cost.currency", must="must be an ISO 4217 code: three capital letters."),
            None
            if SOURCE_RULES[self.source].debit != Code.PROMOTIONS
            else Violation(field="cost", must=f"must be absent for source {self.source}, which is granted free."),
        )

    @property
    def key(self) -> AccountKey:
        """The account it changes."""
        return self.account.key

    def life(self, at: datetime) -> tuple[datetime, datetime | None]:
        """From when to when the lot can burn if it is granted at that instant; the end is None for never."""
        effective_at = (self.effective_at or at).astimezone(UTC)
        if self.ttl is not None:
            return effective_at, max(effective_at, at) + self.ttl
        return effective_at, None if self.expires_at is None else self.expires_at.astimezone(UTC)

    def fingerprint(self) -> str:
        """What is asked for, as text."""
        return _fingerprint(
            self.memo,
            amount=self.amount,
            source=self.source,
            priority=self.priority,
            effective_at=_text_of(self.effective_at),
            expires_at=_text_of(self.expires_at),
            ttl=_text_of(self.ttl),
            cost=None if self.cost is None else f"{self.cost.minor_units} {self.cost.currency}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Deduct:
    """Spend credits at once, all or nothing.

    amount   smallest units, > 0
    """

    kind: ClassVar = EntryKind.DEDUCT
    request_id: str
    account: AccountName
    amount: int
    memo: Memo = NO_MEMO

    def __post_init__(self) -> None:
        _check(
            _identifier("request_id", self.request_id), *_account(self.account), _amount(self.amount), *_memo(self.memo)
        )

    @property
    def key(self) -> AccountKey:
        """The account it changes."""
        return self.account.key

    def fingerprint(self) -> str:
        """What is asked for, as text."""
        return _fingerprint(self.memo, amount=self.amount)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceHold:
    """Set credits aside.

    amount   smallest units, > 0
    ttl      more than 0, at most 30 days; None: 15 minutes
    """

    kind: ClassVar = EntryKind.HOLD
    request_id: str
    account: AccountName
    amount: int
    ttl: timedelta | None = None
    memo: Memo = NO_MEMO

    def __post_init__(self) -> None:
        _check(
            _identifier("request_id", self.request_id),
            *_account(self.account),
            _amount(self.amount),
            _duration("ttl", self.ttl, HOLD_TTL_MAX),
            *_memo(self.memo),
        )

    @property
    def key(self) -> AccountKey:
        """The account it changes."""
        return self.account.key

    def fingerprint(self) -> str:
        """What is asked for, as text."""
        return _fingerprint(self.memo, amount=self.amount, ttl=_text_of(self.ttl))


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """Turn a hold into revenue and give the rest back to its lots; ends the hold.

    tenant   whose hold it must be
    key      the account it changes
    hold     the number of the hold
    amount   smallest units, 0 or more; None takes all of the hold, 0 gives all of it back
    """

    kind: ClassVar = EntryKind.CAPTURE
    request_id: str
    tenant: str
    key: AccountKey
    hold: int
    amount: int | None = None
    memo: Memo = NO_MEMO

    def __post_init__(self) -> None:
        _check(
            _identifier("request_id", self.request_id),
            None if self.amount is None else _whole_number("amount", self.amount, 0, INT64_MAX),
            *_memo(self.memo),
        )

    def fingerprint(self) -> str:
        """What is asked for, as text."""
        return _fingerprint(self.memo, hold_id=self.hold, amount=self.amount)


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Give a hold back to its lots; ends the hold.

    tenant   whose hold it must be
    key      the account it changes
    hold     the number of the hold
    """

    kind: ClassVar = EntryKind.RELEASE
    request_id: str
    tenant: str
    key: AccountKey
    hold: int
    memo: Memo = NO_MEMO

    def __post_init__(self) -> None:
        _check(_identifier("request_id", self.request_id), *_memo(self.memo))

    def fingerprint(self) -> str:
        """What is asked for, as text."""
        return _fingerprint(self.memo, hold_id=self.hold)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    """Write down what has lapsed, and nothing else. Asked for by the sweeper, never by a caller."""

    key: AccountKey


Request = OpenAccount | Grant | Deduct | PlaceHold | Capture | Release
Operation = Request | Settle


def _text_of(value: datetime | timedelta | None) -> str | None:
    if value is None:
        return None
    if isinstance(value, timedelta):
        return f"{value.days * 86_400 + value.seconds}.{value.microseconds:06}s"
    return value.astimezone(UTC).isoformat()


def _fingerprint(memo: Memo, **asked: str | int | None) -> str:
    """One line per field that was given; long values and metadata by their hash."""
    if memo is not NO_MEMO:
        asked["memo.description"] = memo.description or None
        asked["memo.reference"] = memo.reference or None
        asked["memo.actor"] = memo.actor or None
        asked["memo.metadata"] = _digest(json.dumps(sorted(memo.metadata.items()))) if memo.metadata else None
    return "\n".join(f"{field}={_short(str(value))}" for field, value in asked.items() if value is not None)


def _short(value: str) -> str:
    if len(value) <= _FINGERPRINT_VALUE_LENGTH_MAX and "\n" not in value and not value.startswith("#"):
        return value
    return _digest(value)


def _digest(value: str) -> str:
    return "#" + hashlib.sha256(value.encode()).hexdigest()[:32]


def fields_that_differ(posted: str, asked: str) -> tuple[str, ...]:
    """The names of the fields in which two fingerprints of the same kind differ, in order."""
    before, after = _fields_of(posted), _fields_of(asked)
    return tuple(sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name)))


def _fields_of(fingerprint: str) -> Mapping[str, str]:
    return dict(line.split("=", 1) for line in fingerprint.split("\n") if line)
