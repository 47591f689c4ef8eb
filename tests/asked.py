"""What scenarios ask of a target and what it answers, in words that all targets share."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from ledger import DEFAULT_ASSET, AccountKey, AccountName
from tests.books import Clock


class Account(NamedTuple):
    """One customer's credits in one asset."""

    account_id: str
    asset: str = DEFAULT_ASSET

    def name(self, tenant: str) -> AccountName:
        return AccountName(tenant=tenant, account_id=self.account_id, asset=self.asset)

    def key(self, tenant: str) -> AccountKey:
        return self.name(tenant).key


NOBODY = Account("")


class Standing(NamedTuple):
    """How an account stands, smallest units; available is what can be spent."""

    available: int
    held: int
    owed: int
    pending: int


class WrittenLine(NamedTuple):
    """A line with its sides as text."""

    debit: str
    credit: str
    amount: int
    lot: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """An entry as any target shows it.

    made   the numbers of the lots that it made
    peer   the number of the entry on the other side, on another account
    """

    number: int
    kind: str
    is_written: bool
    effective_at: datetime
    standing: Standing
    lines: tuple[WrittenLine, ...]
    made: tuple[int, ...]
    peer: int | None


class ShownLot(NamedTuple):
    """A lot as any target lists it.

    expires_at   None: never
    figures      what else is said of it, by name
    """

    number: int
    remaining: int
    held: int
    expires_at: datetime | None
    figures: Mapping[str, Any]


class ShownHold(NamedTuple):
    """A hold as any target lists it."""

    number: int
    held: int
    captured: int
    expires_at: datetime
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request, whatever it asks for.

    account   what it names, or what the thing it names belongs to
    part      hold, entry or lot, if it names one
    number    of that
    fields    what else it says, by the names that the ledger has for it, in plain values
    memo      what is to be written beside it
    """

    command: str
    request_id: str = ""
    account: Account = NOBODY
    part: str = ""
    number: int = 0
    fields: Mapping[str, Any] = field(default_factory=dict)
    memo: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was answered.

    outcome    ok, replayed, or the reason of a refusal
    figures    what it says besides, by name
    number     of the entry that a change wrote; 0 if the answer does not tell, as some previews do not
    made       the numbers of the lots that it made
    standing   what the answer says of the account
    entries    of a history, and the one that was asked for
    moved      of an explanation: lot, what it had before and after, and what put it before the next one, in order
    passed     of an explanation: lots that were passed over, and why
    limits     name, what was used, of how much
    """

    outcome: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    number: int = 0
    made: tuple[int, ...] = ()
    standing: Standing | None = None
    entries: tuple[Written, ...] = ()
    assets: tuple[tuple[str, int], ...] = ()
    totals: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    lots: tuple[ShownLot, ...] = ()
    holds: tuple[ShownHold, ...] = ()
    moved: tuple[tuple[int, int, int, str], ...] = ()
    passed: tuple[tuple[int, str], ...] = ()
    limits: tuple[tuple[str, int, int], ...] = ()


class Target(Protocol):
    """Empty books that answer requests. Each read, and each setting, is the method of its name.

    clock    tells the books what time it is
    cannot   the requests that it has no answer to
    """

    clock: Clock
    cannot: frozenset[str]

    def open(self, account_id: str) -> None:
        """Opens an account in credits; not part of any law."""

    def change(self, asked: Asked) -> Answer: ...
    def batch(self, asked: Sequence[Asked], *, atomic: bool) -> tuple[Answer, ...]: ...
    def preview(self, asked: Sequence[Asked], *, atomic: bool) -> tuple[Answer, ...]: ...

    def check(self, asked: Asked) -> Answer: ...
    def quote(self, asked: Asked) -> Answer: ...
    def quote_for(self, asked: Asked) -> Answer: ...
    def card(self, asked: Asked) -> Answer: ...
    def balance(self, asked: Asked) -> Answer: ...
    def balances(self, asked: Asked) -> Answer: ...
    def account(self, asked: Asked) -> Answer: ...
    def lots(self, asked: Asked) -> Answer: ...
    def holds(self, asked: Asked) -> Answer: ...
    def history(self, asked: Asked) -> Answer: ...
    def entry(self, asked: Asked) -> Answer: ...
    def explain(self, asked: Asked) -> Answer: ...
    def trial_balance(self, asked: Asked) -> Answer: ...
    def money(self, asked: Asked) -> Answer: ...
    def revenue(self, asked: Asked) -> Answer: ...

    def asset(self, asked: Asked) -> Answer: ...
    def policy(self, asked: Asked) -> Answer: ...
    def price(self, asked: Asked) -> Answer: ...

    def assets(self) -> Iterable[str]: ...
    def audit(self) -> Iterable[str]: ...
