"""What scenarios are run against: the pure core, the ledger on a database, and a server over gRPC.

Each target takes the same requests and gives the same answers, so that a scenario cannot tell them apart.
"""

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

from ledger import (
    CHART,
    DEFAULT_ASSET,
    DEFAULT_TENANT,
    NO_MEMO,
    Accepted,
    AccountKey,
    AccountName,
    Asset,
    Capture,
    Code,
    Deduct,
    Entry,
    EntryKind,
    Grant,
    IdPrefix,
    Ledger,
    MalformedError,
    Memo,
    Money,
    OpenAccount,
    Operation,
    PlaceHold,
    Reason,
    Refused,
    Release,
    Source,
    public_id,
)
from ledger.audit import AccountAudit, add_lines, audit_totals
from ledger.decide import decide, settle
from ledger.ids import parse_page_token
from ledger.lots import pending
from ledger.model import HoldState, Posting, State
from ledger.operations import check_asset
from server.app import Server
from server.config import Settings
from tests.books import Clock

CHANGES = ("open", "grant", "deduct", "hold", "capture", "release")


class Account(NamedTuple):
    """One customer's credits in one asset."""

    account_id: str
    asset: str

    def name(self, tenant: str) -> AccountName:
        return AccountName(tenant=tenant, account_id=self.account_id, asset=self.asset)

    def key(self, tenant: str) -> AccountKey:
        return self.name(tenant).key


NOBODY = Account("", DEFAULT_ASSET)


class HoldName(NamedTuple):
    """Which hold of which account."""

    account: Account
    number: int


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
    """An entry as any target shows it."""

    number: int
    kind: str
    is_written: bool
    effective_at: datetime
    standing: Standing
    lines: tuple[WrittenLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request, whatever it asks for; fields that its command does not take keep their defaults."""

    command: str
    request_id: str
    account: Account = NOBODY
    amount: int | None = None
    hold: int = 0
    source: str = "promo"
    priority: int | None = None
    scale: int = 0
    effective_at: datetime | None = None
    expires_at: datetime | None = None
    ttl: timedelta | None = None
    cost: tuple[int, str] | None = None
    page_token: str = ""
    memo: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was answered.

    outcome    ok, replayed, or the reason of a refusal
    figures    what it says besides, by name
    number     of the entry that a change wrote
    standing   what the answer says of the account
    """

    outcome: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    number: int = 0
    standing: Standing | None = None
    entries: tuple[Written, ...] = ()
    assets: tuple[tuple[str, int], ...] = ()
    totals: Mapping[str, tuple[int, int]] = field(default_factory=dict)


class Target(Protocol):
    """Empty books that answer requests.

    clock   tells the books what time it is
    """

    clock: Clock

    def open(self, account_id: str) -> None:
        """Opens an account in credits; not part of any law."""

    def change(self, asked: Asked) -> Answer: ...
    def define_asset(self, asset: str, scale: int) -> Answer: ...
    def balance(self, account: Account) -> Answer: ...
    def balances(self, account_id: str) -> Answer: ...
    def history(self, account: Account, page_token: str) -> Answer: ...
    def entry(self, account: Account, number: int) -> Answer: ...
    def trial_balance(self, asset: str) -> Answer: ...

    def assets(self) -> Iterable[str]: ...
    def audit(self) -> Iterable[str]: ...


def operation_of(asked: Asked, tenant: str) -> Operation:
    """The request as the ledger takes it; raises MalformedError."""
    memo = Memo(**asked.memo) if asked.memo else NO_MEMO
    of_account = {"request_id": asked.request_id, "account": asked.account.name(tenant), "memo": memo}
    of_hold = {
        "request_id": asked.request_id,
        "tenant": tenant,
        "key": asked.account.key(tenant),
        "hold": asked.hold,
        "memo": memo,
    }
    match asked.command:
        case "open":
            return OpenAccount(**of_account)
        case "grant":
            return Grant(
                **of_account,
                amount=asked.amount,
                source=Source(asked.source),
                priority=asked.priority,
                effective_at=asked.effective_at,
                expires_at=asked.expires_at,
                ttl=asked.ttl,
                cost=None if asked.cost is None else Money(minor_units=asked.cost[0], currency=asked.cost[1]),
            )
        case "deduct":
            return Deduct(**of_account, amount=asked.amount)
        case "hold":
            return PlaceHold(**of_account, amount=asked.amount, ttl=asked.ttl)
        case "capture":
            return Capture(**of_hold, amount=asked.amount)
        case "release":
            return Release(**of_hold)
    raise AssertionError(asked.command)


class LibraryTarget(ABC):
    """What the targets that speak the ledger's values have in common."""

    def __init__(self, clock: Clock, tenant: str = DEFAULT_TENANT) -> None:
        self.clock = clock
        self.tenant = tenant

    @abstractmethod
    def execute(self, operation: Operation) -> Accepted | Refused: ...

    def open(self, account_id: str) -> None:
        asked = Asked(command="open", request_id="opening", account=Account(account_id, DEFAULT_ASSET))
        assert self.change(asked).outcome == "ok"

    def change(self, asked: Asked) -> Answer:
        try:
            outcome = self.execute(operation_of(asked, self.tenant))
        except MalformedError as error:
            return _malformed(error)
        if isinstance(outcome, Refused):
            return _refused(outcome)
        entry = outcome.entry
        figures = {"entry": entry.seq, "scale": outcome.scale}
        if entry.kind is EntryKind.GRANT:
            figures["expires_at"] = entry.lot_terms.expires_at or "never"
        if entry.kind is EntryKind.HOLD:
            figures["expires_at"] = entry.hold_expires_at
        if entry.kind is EntryKind.CAPTURE:
            figures["captured"] = entry.moved(Code.HELD, Code.REVENUE)
        if entry.kind in {EntryKind.CAPTURE, EntryKind.RELEASE}:
            figures["released"] = entry.moved(Code.HELD, Code.AVAILABLE)
        return Answer(
            outcome="replayed" if outcome.replayed else "ok",
            figures=figures,
            number=entry.seq,
            standing=_standing_after(entry),
        )


class PureTarget(LibraryTarget):
    """The pure core: states, decisions and nothing else."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._assets = {DEFAULT_ASSET: Asset(tenant=self.tenant, asset=DEFAULT_ASSET, scale=0)}
        self._states: dict[AccountKey, State] = {}
        self._entries: dict[AccountKey, list[Entry]] = {}

    def execute(self, operation: Operation) -> Accepted | Refused:
        state = self._states.setdefault(operation.key, State())
        if not isinstance(operation, Capture | Release):
            state.asset = self._assets.get(operation.account.asset)
        if state.account is not None:
            self._post(operation.key, settle(state, self.clock()))
        outcome = decide(state, operation, self.clock())
        if isinstance(outcome, Accepted) and outcome.posting is not None:
            self._post(operation.key, outcome.posting)
        return outcome

    def _post(self, key: AccountKey, posting: Posting) -> None:
        self._states[key].apply(posting)
        self._entries.setdefault(key, []).extend(posting.entries)

    def define_asset(self, asset: str, scale: int) -> Answer:
        try:
            check_asset(asset, scale)
        except MalformedError as error:
            return _malformed(error)
        known = self._assets.setdefault(asset, Asset(tenant=self.tenant, asset=asset, scale=scale))
        if known.scale == scale:
            return Answer(outcome="ok")
        figures = {"asset": asset, "scale": known.scale, "requested_scale": scale}
        return Answer(outcome=Reason.ASSET_EXISTS.name, figures=figures)

    def balance(self, account: Account) -> Answer:
        if missing := self._missing(account):
            return missing
        after = self._settled(account)
        lots = {**self._states[account.key(self.tenant)].lots, **{lot.number: lot for lot in after.lots}}
        not_yet = pending(lots.values(), max(self.clock(), after.account.as_of))
        standing = Standing(after.account.available - not_yet, after.account.held, after.account.owed, not_yet)
        return Answer(outcome="ok", figures={"scale": self._assets[account.asset].scale}, standing=standing)

    def balances(self, account_id: str) -> Answer:
        found = [(asset, self.balance(Account(account_id, asset))) for asset in sorted(self._assets)]
        found = [(asset, answer.standing.available) for asset, answer in found if answer.outcome == "ok"]
        return Answer(outcome="ok", assets=tuple(found)) if found else Answer(outcome="ACCOUNT_NOT_FOUND")

    def history(self, account: Account, page_token: str) -> Answer:
        if page_token and parse_page_token((self.tenant, account.asset, account.account_id), page_token) is None:
            return Answer(outcome=Reason.INVALID_PAGE_TOKEN.name)
        return self._missing(account) or Answer(outcome="ok", entries=self._all_entries(account)[::-1])

    def entry(self, account: Account, number: int) -> Answer:
        found = () if self._missing(account) else self._all_entries(account)
        return found_entry(next((entry for entry in found if entry.number == number), None))

    def trial_balance(self, asset: str) -> Answer:
        if asset not in self._assets:
            return Answer(outcome=Reason.ASSET_NOT_FOUND.name)
        sums = {}
        for account in self._accounts():
            if account.asset == asset:
                add_lines(sums, (line for entry in self._entries[account.key(self.tenant)] for line in entry.lines))
                add_lines(sums, (line for entry in self._settled(account).entries for line in entry.lines))
        return Answer(outcome="ok", totals={code.value: sums.get(code, (0, 0)) for code in CHART})

    def assets(self) -> Iterable[str]:
        return tuple(self._assets)

    def audit(self) -> Iterable[str]:
        for account in self._accounts():
            state = self._states[account.key(self.tenant)]
            audit = AccountAudit(state.account)
            for entry in self._entries[account.key(self.tenant)]:
                yield from audit.entry(entry)
            open_lots = {lot.number for lot in state.lots.values() if lot.is_open}
            open_holds = [hold for hold in state.holds.values() if hold.state is HoldState.OPEN]
            yield from audit.end(state.lots.values(), open_lots, open_holds)
            yield from audit_totals(account.asset, audit.sums, audit.sums)

    def _accounts(self) -> list[Account]:
        names = [state.account.name for state in self._states.values() if state.account is not None]
        return [Account(name.account_id, name.asset) for name in names]

    def _missing(self, account: Account) -> Answer | None:
        if account.key(self.tenant) in self._states and self._states[account.key(self.tenant)].account is not None:
            return None
        reason = Reason.ACCOUNT_NOT_FOUND if account.asset in self._assets else Reason.ASSET_NOT_FOUND
        return Answer(outcome=reason.name)

    def _settled(self, account: Account) -> Posting:
        return settle(self._states[account.key(self.tenant)], self.clock())

    def _all_entries(self, account: Account) -> tuple[Written, ...]:
        written = [_written(entry, is_written=True) for entry in self._entries[account.key(self.tenant)]]
        return tuple(written + [_written(entry, is_written=False) for entry in self._settled(account).entries])


class LedgerTarget(LibraryTarget):
    """The ledger as a library, on a database; the books of one tenant."""

    def __init__(self, ledger: Ledger, clock: Clock, tenant: str) -> None:
        super().__init__(clock, tenant)
        self._ledger = ledger

    def execute(self, operation: Operation) -> Accepted | Refused:
        return self._ledger.execute(operation)

    def define_asset(self, asset: str, scale: int) -> Answer:
        try:
            found = self._ledger.define_asset(self.tenant, asset, scale)
        except MalformedError as error:
            return _malformed(error)
        return _refused(found) if isinstance(found, Refused) else Answer(outcome="ok")

    def balance(self, account: Account) -> Answer:
        try:
            found = self._ledger.balances(self.tenant, *account)
        except MalformedError as error:
            return _malformed(error)
        if isinstance(found, Refused):
            return _refused(found)
        (balance,) = found.balances
        standing = Standing(balance.available, balance.held, balance.owed, balance.pending)
        return Answer(outcome="ok", figures={"scale": balance.scale}, standing=standing)

    def balances(self, account_id: str) -> Answer:
        found = self._ledger.balances(self.tenant, account_id)
        if isinstance(found, Refused):
            return _refused(found)
        return Answer(outcome="ok", assets=tuple((b.name.asset, b.available) for b in found.balances))

    def history(self, account: Account, page_token: str) -> Answer:
        entries = []
        while True:
            page = self._ledger.history(account.name(self.tenant), page_token=page_token)
            if isinstance(page, Refused):
                return _refused(page)
            entries += [_written(entry, is_written=entry.recorded_at is not None) for entry in page.entries]
            page_token = page.next_page_token
            if not page_token:
                return Answer(outcome="ok", entries=tuple(entries))

    def entry(self, account: Account, number: int) -> Answer:
        found = self._ledger.entry(self.tenant, public_id(IdPrefix.ENTRY, account.key(self.tenant), number))
        if isinstance(found, Refused):
            return _refused(found)
        return found_entry(_written(found.entry, is_written=found.entry.recorded_at is not None))

    def trial_balance(self, asset: str) -> Answer:
        found = self._ledger.trial_balance(self.tenant, asset)
        if isinstance(found, Refused):
            return _refused(found)
        rows = found.assets[0].rows
        return Answer(outcome="ok", totals={row.code.value: (row.debits, row.credits) for row in rows})

    def assets(self) -> Iterable[str]:
        return [asset.asset for asset in self._ledger.assets(self.tenant)]

    def audit(self) -> Iterable[str]:
        return self._ledger.audit(self.tenant).findings


class RunningServer(AbstractContextManager["RunningServer"]):
    """A server in a thread of its own, with its own event loop; `port` is where it listens."""

    def __init__(self, settings: Settings, clock: Callable[[], datetime]) -> None:
        self._settings = settings
        self._clock = clock
        self._started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="server under test")
        self._failure: BaseException | None = None
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as failure:  # noqa: BLE001 -- told to the thread that waits
            self._failure = failure
        finally:
            self._started.set()
            self._loop.close()

    async def _serve(self) -> None:
        self._end = asyncio.Event()
        server = Server(self._settings, clock=self._clock)
        await server.start()
        self.port = server.port
        self._started.set()
        await self._end.wait()
        await server.stop()


def _malformed(error: MalformedError) -> Answer:
    return Answer(outcome="INVALID_FIELD", figures={"field": error.violations[0].field})


def _refused(refused: Refused) -> Answer:
    return Answer(outcome=refused.reason.name, figures=dict(refused.figures))


def _standing_after(entry: Entry) -> Standing:
    return Standing(entry.available - entry.pending, entry.held, entry.owed, entry.pending)


def _written(entry: Entry, *, is_written: bool) -> Written:
    return Written(
        number=entry.seq,
        kind=entry.kind.value,
        is_written=is_written,
        effective_at=entry.effective_at,
        standing=_standing_after(entry),
        lines=tuple(WrittenLine(line.debit.value, line.credit.value, line.amount, line.lot) for line in entry.lines),
    )


def found_entry(entry: Written | None) -> Answer:
    if entry is None:
        return Answer(outcome=Reason.ENTRY_NOT_FOUND.name)
    figures = {"kind": entry.kind, "at": entry.effective_at, "written": "yes" if entry.is_written else "no"}
    return Answer(outcome="ok", figures=figures, number=entry.number, entries=(entry,))
