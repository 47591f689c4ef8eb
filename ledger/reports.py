"""Reads: each sees one consistent snapshot, counts what has lapsed, and writes nothing."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import CompoundSelect, Connection, Select, select, tuple_, union

from ledger.audit import AccountAudit, Sums, TrialBalanceRow, add_lines, audit_totals, trial_balance
from ledger.chart import Code
from ledger.database import Database, DatabaseUnavailableError
from ledger.draft import Draft
from ledger.ids import AccountKey, page_token, parse_page_token
from ledger.model import Account, AccountName, Asset, Entry, Hold, Lot, Reason, Refused, State
from ledger.rows import account_of, hold_of, lot_of
from ledger.store import EntryReader, read_assets
from ledger.tables import accounts, entries, holds, lots, totals

PAGE_SIZE_DEFAULT: Final = 50
PAGE_SIZE_MAX: Final = 500
FINDINGS_MAX: Final = 100
_ACCOUNTS_PER_READ: Final = 500
_ENTRIES_PER_READ: Final = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """How an account stands at an instant, smallest units.

    available   spendable at that instant
    pending     granted, but not effective yet; not part of available
    """

    name: AccountName
    scale: int
    available: int
    held: int
    owed: int
    pending: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Balances:
    """How a customer stands in one or all assets."""

    balances: tuple[Balance, ...]
    as_of: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some entries of an account, newest first.

    next_page_token   for the page after this one; empty on the last
    """

    name: AccountName
    scale: int
    entries: tuple[Entry, ...]
    next_page_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundEntry:
    """One entry and the account it belongs to."""

    name: AccountName
    scale: int
    entry: Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetTrialBalance:
    """The trial balance of one asset, a row per code in the order of the chart."""

    asset: Asset
    rows: tuple[TrialBalanceRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialBalance:
    """The trial balance of a tenant."""

    assets: tuple[AssetTrialBalance, ...]
    as_of: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What an audit found.

    findings         sentences, at most FINDINGS_MAX of them
    findings_total   how many there are in all
    """

    findings: tuple[str, ...]
    findings_total: int
    accounts: int
    entries: int
    as_of: datetime


class Reports:
    """Answers about the books of one tenant at a time.

    clock   tells now, in UTC; asked once the snapshot is there, so that nothing in it is later
    """

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock
        self._entries = EntryReader(database)
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Ends reads that take long; they raise DatabaseUnavailableError."""
        self._stopped.set()

    def balances(self, tenant: str, account_id: str, asset: str | None) -> Balances | Refused:
        """How a customer stands in one asset, or with None in all.

        refuses   ASSET_NOT_FOUND, ACCOUNT_NOT_FOUND, in that order
        """
        with self._database.read() as connection:
            wanted = select(accounts).where(accounts.c.tenant == tenant, accounts.c.account_id == account_id)
            if asset is not None:
                key = AccountName(tenant=tenant, account_id=account_id, asset=asset).key
                wanted = select(accounts).where(accounts.c.account_key == key)
            found = _states(connection, wanted)
            if not found:
                return _not_found(connection, tenant, account_id, asset)
        now = max(self._clock(), *(account.as_of for account, _ in found))
        # Sorted here, because a database may have an alphabet of its own.
        found.sort(key=lambda pair: pair[0].name.asset)
        return Balances(balances=tuple(_balance(account, state, now) for account, state in found), as_of=now)

    def history(self, name: AccountName, page_size: int, token: str) -> Page | Refused:
        """Entries of an account, newest first, lapses that are not written yet included.

        page_size   0 or more; 0 means 50, more than 500 means 500
        token       next_page_token of the page before; empty for the newest page
        refuses     INVALID_PAGE_TOKEN, ASSET_NOT_FOUND, ACCOUNT_NOT_FOUND, in that order
        """
        filters = (name.tenant, name.asset, name.account_id)
        before = parse_page_token(filters, token) if token else None
        if token and before is None:
            return Refused(reason=Reason.INVALID_PAGE_TOKEN, figures={})
        size = min(page_size or PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)
        with self._database.read() as connection:
            states = _states(connection, select(accounts).where(accounts.c.account_key == name.key))
            if not states:
                return _not_found(connection, name.tenant, name.account_id, name.asset)
            account, state = states[0]
            unwritten = _unwritten(account, state, self._clock())
            found = [entry for entry in unwritten if before is None or entry.seq < before]
            wanted = select(entries).where(entries.c.account_key == name.key).order_by(entries.c.seq.desc())
            if before is not None:
                wanted = wanted.where(entries.c.seq < before)
            if len(found) <= size:
                rows = connection.execute(wanted.limit(size + 1 - len(found))).all()
                found += self._entries.read(connection, rows)
        more = len(found) > size
        return Page(
            name=name,
            scale=state.scale,
            entries=tuple(found[:size]),
            next_page_token=page_token(filters, found[size - 1].seq) if more else "",
        )

    def entry(self, tenant: str, key: AccountKey, seq: int) -> FoundEntry | None:
        """One entry, a lapse that is not written yet included; None if the tenant has no such entry."""
        with self._database.read() as connection:
            states = _states(connection, select(accounts).where(accounts.c.account_key == key))
            if not states or states[0][0].name.tenant != tenant:
                return None
            account, state = states[0]
            wanted = select(entries).where(entries.c.account_key == key, entries.c.seq == seq)
            found = self._entries.read(connection, connection.execute(wanted).all())
        found += [entry for entry in _unwritten(account, state, self._clock()) if entry.seq == seq]
        if not found:
            return None
        return FoundEntry(name=account.name, scale=state.scale, entry=found[0])

    def trial_balance(self, tenant: str, asset: str | None) -> TrialBalance | Refused:
        """What was debited and credited per code, in one asset or all; what has lapsed is counted as such.

        refuses   ASSET_NOT_FOUND
        """
        with self._database.read() as connection:
            known = {name: found for (_, name), found in read_assets(connection, {tenant}).items()}
            if asset is not None and asset not in known:
                return Refused(reason=Reason.ASSET_NOT_FOUND, figures={"asset": asset})
            sums = _read_totals(connection, tenant)
            now = self._clock()
            for account, state in self._overdue_states(connection, now, tenant):
                for entry in _unwritten(account, state, now):
                    add_lines(sums[account.name.asset], entry.lines)
        shown = sorted(sums) if asset is None else [asset]
        return TrialBalance(
            assets=tuple(AssetTrialBalance(asset=known[name], rows=trial_balance(sums[name])) for name in shown),
            as_of=now,
        )

    def assets(self, tenant: str) -> tuple[Asset, ...]:
        """All assets of a tenant, by name."""
        with self._database.read() as connection:
            return tuple(found for _, found in sorted(read_assets(connection, {tenant}).items()))

    def overdue(self, limit: int) -> list[AccountKey]:
        """Accounts in which something has lapsed that is not written yet, of all tenants."""
        with self._database.read() as connection:
            return [AccountKey(row.account_key) for row in connection.execute(_overdue(self._clock()).limit(limit))]

    def audit(self, tenant: str, account_id: str | None, asset: str | None) -> AuditReport | Refused:
        """Recomputes the books from their entries and compares: of one customer, or the whole of a tenant's.

        refuses   ASSET_NOT_FOUND, ACCOUNT_NOT_FOUND, in that order
        """
        findings: list[str] = []
        counts = {"accounts": 0, "entries": 0, "findings": 0}
        with self._database.read() as connection:
            known = read_assets(connection, {tenant})
            now = self._clock()
            if asset is not None and (tenant, asset) not in known:
                return Refused(reason=Reason.ASSET_NOT_FOUND, figures={"asset": asset})
            wanted = select(accounts).where(accounts.c.tenant == tenant)
            if account_id is not None:
                wanted = wanted.where(accounts.c.account_id == account_id)
            if asset is not None:
                wanted = wanted.where(accounts.c.asset == asset)
            folded: dict[str, Sums] = defaultdict(dict)
            for sentence in self._audit_accounts(connection, wanted, folded, counts):
                counts["findings"] += 1
                if len(findings) < FINDINGS_MAX:
                    findings.append(sentence)
            if account_id is not None and counts["accounts"] == 0:
                return _not_found(connection, tenant, account_id, asset)
            if account_id is None:
                kept = _read_totals(connection, tenant)
                for name in sorted(kept.keys() | folded.keys() if asset is None else {asset}):
                    for sentence in audit_totals(name, kept[name], folded[name]):
                        counts["findings"] += 1
                        findings.append(sentence)
        return AuditReport(
            findings=tuple(findings[:FINDINGS_MAX]),
            findings_total=counts["findings"],
            accounts=counts["accounts"],
            entries=counts["entries"],
            as_of=now,
        )

    def _audit_accounts(
        self, connection: Connection, wanted: Select[Any], folded: dict[str, Sums], counts: dict[str, int]
    ) -> Iterator[str]:
        for page in _pages(connection, wanted):
            audits = {account.name.key: AccountAudit(account) for account in page}
            for entry in self._all_entries(connection, list(audits)):
                counts["entries"] += 1
                yield from audits[entry.key].entry(entry)
            kept_lots: dict[AccountKey, list[tuple[Lot, bool]]] = {key: [] for key in audits}
            for row in connection.execute(select(lots).where(lots.c.account_key.in_(list(audits)))):
                kept_lots[AccountKey(row.account_key)].append((lot_of(row), row.open == 1))
            kept_holds = _read_open_holds(connection, list(audits))
            for key, audit in audits.items():
                open_lots = {lot.number for lot, is_open in kept_lots[key] if is_open}
                yield from audit.end([lot for lot, _ in kept_lots[key]], open_lots, kept_holds[key].values())
                _add_sums(folded[audit.account.name.asset], audit.sums)
                counts["accounts"] += 1

    def _all_entries(self, connection: Connection, keys: Sequence[AccountKey]) -> Iterator[Entry]:
        """All entries of these accounts, each account's oldest first, a bounded number in memory."""
        place = tuple_(entries.c.account_key, entries.c.seq)
        wanted = select(entries).where(entries.c.account_key.in_(keys))
        wanted = wanted.order_by(entries.c.account_key, entries.c.seq).limit(_ENTRIES_PER_READ)
        rows = connection.execute(wanted).all()
        while rows:
            if self._stopped.is_set():
                raise DatabaseUnavailableError("the ledger is being closed")
            yield from self._entries.read(connection, rows)
            last = rows[-1]
            rows = connection.execute(wanted.where(place > tuple_(last.account_key, last.seq))).all()

    def _overdue_states(self, connection: Connection, now: datetime, tenant: str) -> Iterator[tuple[Account, State]]:
        overdue = _overdue(now).subquery()
        wanted = select(accounts).where(accounts.c.tenant == tenant)
        wanted = wanted.where(accounts.c.account_key.in_(select(overdue.c.account_key)))
        for page in _pages(connection, wanted):
            keys = [account.name.key for account in page]
            yield from _states(connection, select(accounts).where(accounts.c.account_key.in_(keys)))


def _pages(connection: Connection, wanted: Select[Any]) -> Iterator[list[Account]]:
    """The accounts in order of their keys, a bounded number at a time."""
    ordered = wanted.order_by(accounts.c.account_key).limit(_ACCOUNTS_PER_READ)
    rows = connection.execute(ordered).all()
    while rows:
        yield [account_of(row) for row in rows]
        rows = connection.execute(ordered.where(accounts.c.account_key > rows[-1].account_key)).all()


def _states(connection: Connection, wanted: Select[Any]) -> list[tuple[Account, State]]:
    """The accounts with their open lots and holds, in the order asked for."""
    found = [account_of(row) for row in connection.execute(wanted)]
    if not found:
        return []
    keys = [account.name.key for account in found]
    kept_lots, kept_holds = _read_open_lots(connection, keys), _read_open_holds(connection, keys)
    known = read_assets(connection, {account.name.tenant for account in found})
    return [
        (
            account,
            State(
                asset=known[account.name.tenant, account.name.asset],
                account=account,
                lots=kept_lots[account.name.key],
                holds=kept_holds[account.name.key],
            ),
        )
        for account in found
    ]


def _read_open_lots(connection: Connection, keys: Sequence[AccountKey]) -> dict[AccountKey, dict[int, Lot]]:
    """The open lots of some accounts, by their numbers."""
    found: dict[AccountKey, dict[int, Lot]] = {key: {} for key in keys}
    for row in connection.execute(select(lots).where(lots.c.account_key.in_(keys), lots.c.open == 1)):
        found[AccountKey(row.account_key)][row.lot] = lot_of(row)
    return found


def _read_open_holds(connection: Connection, keys: Sequence[AccountKey]) -> dict[AccountKey, dict[int, Hold]]:
    """The open holds of some accounts, by their numbers."""
    found: dict[AccountKey, dict[int, Hold]] = {key: {} for key in keys}
    for row in connection.execute(select(holds).where(holds.c.account_key.in_(keys), holds.c.open == 1)):
        found[AccountKey(row.account_key)][row.hold] = hold_of(row)
    return found


def _not_found(connection: Connection, tenant: str, account_id: str, asset: str | None) -> Refused:
    if asset is not None and (tenant, asset) not in read_assets(connection, {tenant}):
        return Refused(reason=Reason.ASSET_NOT_FOUND, figures={"asset": asset})
    return Refused(reason=Reason.ACCOUNT_NOT_FOUND, figures={"account_id": account_id, "asset": asset or ""})


def _unwritten(account: Account, state: State, now: datetime) -> list[Entry]:
    """The lapses that the next change of the account will write first, newest first."""
    return Draft(state, account, now, recorded=False).entries[::-1]


def _balance(account: Account, state: State, now: datetime) -> Balance:
    draft = Draft(state, account, now, recorded=False)
    return Balance(
        name=account.name,
        scale=state.scale,
        available=draft.spendable,
        held=draft.account.held,
        owed=draft.account.owed,
        pending=draft.pending,
    )


def _overdue(now: datetime) -> CompoundSelect[Any]:
    """Keys of the accounts in which something has lapsed that is not written yet.

    A lot that is drawn wholly by holds has nothing to write until they end.
    """
    lapsed_lots = select(lots.c.account_key).where(lots.c.open == 1, lots.c.expires_at <= now, lots.c.remaining > 0)
    lapsed_holds = select(holds.c.account_key).where(holds.c.open == 1, holds.c.expires_at <= now)
    return union(lapsed_lots, lapsed_holds)


def _read_totals(connection: Connection, tenant: str) -> dict[str, Sums]:
    """All that was ever debited and credited, by asset; an asset that is not there has no sums."""
    sums: dict[str, Sums] = defaultdict(dict)
    for row in connection.execute(select(totals).where(totals.c.tenant == tenant)):
        _add_sums(sums[row.asset], {Code(row.code): (row.debits, row.credits)})
    return sums


def _add_sums(sums: Sums, more: Sums) -> None:
    for code, (debits, credits_) in more.items():
        before = sums.get(code, (0, 0))
        sums[code] = (before[0] + debits, before[1] + credits_)
