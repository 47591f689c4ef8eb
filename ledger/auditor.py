"""Reads the books for the audit, a bounded number of accounts and entries at a time."""

import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Connection, Select, literal, select, tuple_

from ledger.audit import (
    AccountAudit,
    Sums,
    add_lines,
    add_sums,
    audit_checkpoint,
    audit_ended_hold,
    audit_peer,
    audit_totals,
)
from ledger.database import Database, DatabaseUnavailableError, as_rows
from ledger.ids import AccountKey
from ledger.loading import EntryReader
from ledger.model import Account, Entry, Hold, Lot
from ledger.rows import account_of, hold_of, lot_of
from ledger.tables import Key, accounts, entries, holds, lots
from ledger.trial import TrialBalances, checkpoint_books, read_totals

FINDINGS_MAX: Final = 100
_ACCOUNTS_PER_READ: Final = 500
_ENTRIES_PER_READ: Final = 5_000


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


@dataclass(slots=True, kw_only=True)
class _Books:
    """What is audited, and what the entries in it add up to.

    tenant        None: totals and checkpoints are of more than what is audited
    asset         None: all
    checkpoints   as they are kept, by asset and instant
    between       the sums of what took effect after one checkpoint and up to the next, by asset and the latter's place
    """

    tenant: str | None
    asset: str | None
    checkpoints: dict[tuple[str, datetime], Sums]
    instants: Sequence[datetime]
    accounts: int = 0
    entries: int = 0
    sums: dict[str, Sums] = field(default_factory=lambda: defaultdict(dict))
    between: dict[tuple[str, int], Sums] = field(default_factory=lambda: defaultdict(dict))

    def add(self, asset: str, entry: Entry) -> None:
        """Takes an entry, in any order."""
        add_lines(self.between[asset, bisect_left(self.instants, entry.effective_at)], entry.lines)


class Auditor:
    """Recomputes accounts from their entries.

    stopped   ends it early when set; it raises DatabaseUnavailableError then
    """

    def __init__(self, database: Database, trial_balances: TrialBalances, stopped: threading.Event) -> None:
        self._entries = EntryReader(database)
        self._trial_balances = trial_balances
        self._stopped = stopped
        named = database.listed("named", Column("account_key", Key), Column("seq", BigInteger))
        self._named_entries = database.matching(named, entries)
        self._ended_holds = database.matching(
            database.listed("ended", Column("account_key", Key), Column("hold", BigInteger)), holds
        )

    def audit(
        self, connection: Connection, tenant: str, account_id: str | None, asset: str | None, now: datetime
    ) -> AuditReport:
        """Compares everything in scope; totals and checkpoints only where no customer is named."""
        wanted = select(accounts).where(accounts.c.tenant == tenant)
        if account_id is not None:
            wanted = wanted.where(accounts.c.account_id == account_id)
        if asset is not None:
            wanted = wanted.where(accounts.c.asset == asset)
        kept = checkpoint_books(connection, tenant) if account_id is None else {}
        books = _Books(
            tenant=tenant if account_id is None else None,
            asset=asset,
            checkpoints=kept,
            instants=sorted({at for _, at in kept}),
        )
        findings: list[str] = []
        total = 0
        for sentence in self._sentences(connection, wanted, books):
            total += 1
            if total <= FINDINGS_MAX:
                findings.append(sentence)
        return AuditReport(
            findings=tuple(findings),
            findings_total=total,
            accounts=books.accounts,
            entries=books.entries,
            as_of=now,
        )

    def _sentences(self, connection: Connection, wanted: Select[Any], books: _Books) -> Iterator[str]:
        for page in _pages(connection, wanted):
            yield from self._accounts(connection, page, books)
        if books.tenant is None:
            return
        kept = {name: sums for (_, name), sums in read_totals(connection, books.tenant).items()}
        for name in sorted(kept.keys() | books.sums.keys() if books.asset is None else {books.asset}):
            yield from audit_totals(name, kept.get(name, {}), books.sums.get(name, {}))
        yield from self._checkpoints(connection, books.tenant, books)

    def _checkpoints(self, connection: Connection, tenant: str, books: _Books) -> Iterator[str]:
        if books.instants:
            for account, entry in self._trial_balances.unwritten(connection, books.instants[-1], tenant):
                books.add(account.asset, entry)
        for name in sorted({name for name, _ in books.checkpoints if books.asset in {None, name}}):
            until: Sums = {}
            for place, at in enumerate(books.instants):
                add_sums(until, books.between.get((name, place), {}))
                if (name, at) in books.checkpoints:
                    yield from audit_checkpoint(name, at, books.checkpoints[name, at], until)

    def _accounts(self, connection: Connection, page: Sequence[Account], books: _Books) -> Iterator[str]:
        audits = {account.name.key: AccountAudit(account) for account in page}
        for some in self._all_entries(connection, list(audits)):
            for entry in some:
                books.entries += 1
                books.add(audits[entry.key].account.name.asset, entry)
                yield from audits[entry.key].entry(entry)
            yield from self._peers(connection, audits, [entry for entry in some if entry.peer is not None])
            yield from self._ended(connection, audits)
        kept_lots: dict[AccountKey, tuple[list[Lot], set[int]]] = {key: ([], set()) for key in audits}
        for row in connection.execute(select(lots).where(lots.c.account_key.in_(list(audits)))):
            of_account, is_open = kept_lots[row.account_key]
            of_account.append(lot_of(row))
            if row.open == 1:
                is_open.add(row.lot)
        open_holds: dict[AccountKey, list[Hold]] = {key: [] for key in audits}
        for row in connection.execute(select(holds).where(holds.c.account_key.in_(list(audits)), holds.c.open == 1)):
            open_holds[row.account_key].append(hold_of(row))
        refunded = [(key, seq) for key, audit in audits.items() for seq in audit.refunded]
        used = self._named(connection, refunded)
        for key, audit in audits.items():
            of_this = {seq: used[key, seq] for seq in audit.refunded if (key, seq) in used}
            yield from audit.end(*kept_lots[key], open_holds[key], of_this)
            add_sums(books.sums[audit.account.name.asset], audit.sums)
            books.accounts += 1

    def _peers(
        self, connection: Connection, audits: dict[AccountKey, AccountAudit], moved: Sequence[Entry]
    ) -> Iterator[str]:
        """Looks up the other side of each movement between accounts."""
        peers = self._named(connection, [entry.peer for entry in moved if entry.peer is not None])
        for entry in moved:
            peer = None if entry.peer is None else peers.get(entry.peer)
            yield from audit_peer(audits[entry.key].account.name, entry, peer)

    def _ended(self, connection: Connection, audits: dict[AccountKey, AccountAudit]) -> Iterator[str]:
        """Looks up the holds that have ended, and forgets them, being very many."""
        ended = {(key, hold.number): hold for key, audit in audits.items() for hold in audit.ended}
        if not ended:
            return
        asked = as_rows({"account_key": key, "hold": number} for key, number in ended)
        rows = connection.execute(self._ended_holds, {"ended": asked})
        kept = {(row.account_key, row.hold): hold_of(row) for row in rows}
        for (key, number), hold in ended.items():
            yield from audit_ended_hold(audits[key].account.name, hold, kept.get((key, number)))
        for audit in audits.values():
            audit.ended.clear()

    def _named(
        self, connection: Connection, places: Sequence[tuple[AccountKey, int]]
    ) -> dict[tuple[AccountKey, int], Entry]:
        found: dict[tuple[AccountKey, int], Entry] = {}
        for start in range(0, len(places), _ENTRIES_PER_READ):
            some = places[start : start + _ENTRIES_PER_READ]
            named = as_rows({"account_key": key, "seq": seq} for key, seq in some)
            rows = connection.execute(self._named_entries, {"named": named}).all()
            found |= {(entry.key, entry.seq): entry for entry in self._entries.read(connection, rows)}
        return found

    def _all_entries(self, connection: Connection, keys: Sequence[AccountKey]) -> Iterator[list[Entry]]:
        """All entries of these accounts, each account's oldest first, a bounded number in memory."""
        place = tuple_(entries.c.account_key, entries.c.seq)
        wanted = select(entries).where(entries.c.account_key.in_(keys))
        wanted = wanted.order_by(entries.c.account_key, entries.c.seq).limit(_ENTRIES_PER_READ)
        rows = connection.execute(wanted).all()
        while rows:
            if self._stopped.is_set():
                raise DatabaseUnavailableError("the ledger is being closed")
            yield self._entries.read(connection, rows)
            last = rows[-1]
            rows = connection.execute(wanted.where(place > tuple_(literal(last.account_key, Key()), last.seq))).all()


def _pages(connection: Connection, wanted: Select[Any]) -> Iterator[list[Account]]:
    """The accounts in order of their keys, a bounded number at a time."""
    ordered = wanted.order_by(accounts.c.account_key).limit(_ACCOUNTS_PER_READ)
    rows = connection.execute(ordered).all()
    while rows:
        yield [account_of(row) for row in rows]
        rows = connection.execute(ordered.where(accounts.c.account_key > rows[-1].account_key)).all()
