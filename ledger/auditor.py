"""Reads the books for the audit, a bounded number of accounts and entries at a time."""

import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import starmap
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Connection, Row, Select, literal, select, tuple_

from ledger.audit import (
    AccountAudit,
    Sums,
    add_lines,
    add_sums,
    audit_checkpoint,
    audit_ended_hold,
    audit_peer,
    audit_stopped,
    audit_totals,
    counted_by_none,
)
from ledger.audit_use import PricedCard
from ledger.database import Database, DatabaseUnavailableError, as_rows
from ledger.ids import AccountKey
from ledger.loading import EntryReader
from ledger.model import AccountName, Entry, Hold, Line, Lot
from ledger.price_rows import card_of
from ledger.rows import account_of, entry_of, hold_of, line_of, lot_of, spent_of
from ledger.tables import Key, accounts, entries, holds, lots, rate_cards, spending
from ledger.trial import TrialBalances, checkpoint_books, read_totals
from ledger.unreadable import UNREADABLE, unreadable_column

# An entry with its row and lines; or instead of it, what cannot be read.
_ReadEntry = tuple[Row[Any], list[Line], Entry | str]
FINDINGS_MAX: Final = 100
_ACCOUNTS_PER_READ: Final = 500
_ENTRIES_PER_READ: Final = 5_000
_ROWS_PER_READ: Final = 5_000


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
    cards         the versions of rate cards that entries were charged by, by asset; see Cards
    """

    tenant: str | None
    asset: str | None
    checkpoints: dict[tuple[str, datetime], Sums]
    instants: Sequence[datetime]
    accounts: int = 0
    entries: int = 0
    between: dict[tuple[str, int], Sums] = field(default_factory=lambda: defaultdict(dict))
    cards: dict[str, dict[tuple[str, int], PricedCard | None]] = field(default_factory=lambda: defaultdict(dict))

    def add(self, asset: str, at: datetime, lines: Iterable[Line]) -> None:
        """Takes the lines of an entry, in any order."""
        add_lines(self.between[asset, bisect_left(self.instants, at)], lines)

    def sums(self) -> dict[str, Sums]:
        """What all lines add up to, by asset."""
        found: dict[str, Sums] = defaultdict(dict)
        for (asset, _), sums in self.between.items():
            add_sums(found[asset], sums)
        return found


@dataclass(slots=True, kw_only=True)
class _Page:
    """Some accounts.

    names    all of them
    audits   of those of which all could be read so far
    """

    names: dict[AccountKey, AccountName]
    audits: dict[AccountKey, AccountAudit] = field(default_factory=dict)
    _stopped: set[AccountKey] = field(default_factory=set)

    @property
    def keys(self) -> list[AccountKey]:
        """Of all the accounts."""
        return list(self.names)

    def stop(self, key: AccountKey, where: str, seq: int | None = None) -> Iterator[str]:
        """Audits an account no further.

        where   what cannot be read
        seq     of the entry that it is about; None: of none
        """
        self.audits.pop(key, None)
        if key not in self._stopped:
            self._stopped.add(key)
            yield audit_stopped(self.names[key], seq, where)

    def guarded(self, key: AccountKey, sentences: Iterable[str], seq: int | None = None) -> Iterator[str]:
        """The sentences, as long as all that they are made of is of its kind; not all databases see to that."""
        try:
            yield from sentences
        except UNREADABLE:
            yield from self.stop(key, "a column that is not of its kind", seq)


class _CountedRows:
    """The rows of `spending` of some accounts, in the order of their entries, a bounded number in memory."""

    def __init__(self, connection: Connection, keys: Sequence[AccountKey]) -> None:
        self._connection = connection
        wanted = select(spending).where(spending.c.account_key.in_(keys))
        self._wanted = wanted.order_by(spending.c.account_key, spending.c.seq, spending.c.name).limit(_ROWS_PER_READ)
        self._rows = iter(self._all())
        self._next = next(self._rows, None)

    def up_to(self, key: AccountKey, seq: int) -> Iterator[Row[Any]]:
        """Those up to an entry that were not taken yet."""
        while (row := self._next) is not None and (row.account_key, row.seq) <= (key, seq):
            yield row
            self._next = next(self._rows, None)

    def rest(self) -> Iterator[Row[Any]]:
        """All others."""
        if self._next is not None:
            yield self._next
            yield from self._rows

    def _all(self) -> Iterator[Row[Any]]:
        place = tuple_(spending.c.account_key, spending.c.seq, spending.c.name)
        rows = self._connection.execute(self._wanted).all()
        while rows:
            yield from rows
            if len(rows) < _ROWS_PER_READ:
                return
            last = tuple_(literal(rows[-1].account_key, Key()), rows[-1].seq, rows[-1].name)
            rows = self._connection.execute(self._wanted.where(place > last)).all()


class Auditor:
    """Recomputes accounts from their entries.

    stopped   ends it early when set; it raises DatabaseUnavailableError then
    """

    def __init__(self, database: Database, trial_balances: TrialBalances, stopped: threading.Event) -> None:
        self._entries = database.once(EntryReader)
        self._trial_balances = trial_balances
        self._stopped = stopped
        named = database.listed("named", Column("account_key", Key), Column("seq", BigInteger))
        self._named_entries = database.matching(named, entries)
        self._ended_holds = database.matching(
            database.listed("ended", Column("account_key", Key), Column("hold", BigInteger)), holds
        )
        of_card = (rate_cards.c.tenant, rate_cards.c.asset, rate_cards.c.card, rate_cards.c.version)
        self._versions = database.matching(database.listed("versions", *of_card), rate_cards)

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
        folded = books.sums()
        for name in sorted(kept.keys() | folded.keys() if books.asset is None else {books.asset}):
            yield from audit_totals(name, kept.get(name, {}), folded.get(name, {}))
        yield from self._checkpoints(connection, books.tenant, books)

    def _checkpoints(self, connection: Connection, tenant: str, books: _Books) -> Iterator[str]:
        if books.instants:
            for account, entry in self._trial_balances.unwritten(connection, books.instants[-1], tenant):
                books.add(account.asset, entry.effective_at, entry.lines)
        for name in sorted({name for name, _ in books.checkpoints if books.asset in {None, name}}):
            until: Sums = {}
            for place, at in enumerate(books.instants):
                add_sums(until, books.between.get((name, place), {}))
                if (name, at) in books.checkpoints:
                    yield from audit_checkpoint(name, at, books.checkpoints[name, at], until)

    def _accounts(self, connection: Connection, rows: Sequence[Row[Any]], books: _Books) -> Iterator[str]:
        page = _Page(names={row.account_key: _name_of(row) for row in rows})
        for row in rows:
            try:
                page.audits[row.account_key] = AccountAudit(account_of(row), books.cards[row.asset])
            except UNREADABLE:
                yield from page.stop(row.account_key, unreadable_column("accounts", row))
        yield from self._fold(connection, page, books)
        kept_lots: dict[AccountKey, tuple[list[Lot], set[int]]] = {key: ([], set()) for key in page.names}
        for row in connection.execute(select(lots).where(lots.c.account_key.in_(page.keys))):
            of_account, is_open = kept_lots[row.account_key]
            try:
                of_account.append(lot_of(row))
            except UNREADABLE:
                yield from page.stop(row.account_key, unreadable_column("lots", row))
            if row.open == 1:
                is_open.add(row.lot)
        open_holds: dict[AccountKey, list[Hold]] = {key: [] for key in page.names}
        for row in connection.execute(select(holds).where(holds.c.account_key.in_(page.keys), holds.c.open == 1)):
            try:
                open_holds[row.account_key].append(hold_of(row))
            except UNREADABLE:
                yield from page.stop(row.account_key, unreadable_column("holds", row))
        used = self._named(connection, [(key, seq) for key, audit in page.audits.items() for seq in audit.refunded])
        for key, audit in list(page.audits.items()):
            of_this = {seq: used[key, seq] for seq in audit.refunded if (key, seq) in used}
            yield from page.guarded(key, audit.end(*kept_lots[key], open_holds[key], of_this))
        books.accounts += len(page.names)

    def _fold(self, connection: Connection, page: _Page, books: _Books) -> Iterator[str]:
        """Hands all entries to the audits of their accounts, with what they counted."""
        counted = _CountedRows(connection, page.keys)
        for some in self._all_entries(connection, page.keys):
            found = [entry for _, _, entry in some if isinstance(entry, Entry)]
            self._read_cards(connection, page, found, books)
            named = {(entry.key, entry.refunds) for entry in found if entry.refunds is not None}
            refunded = self._named(connection, sorted(named))
            for row, its_lines, entry in some:
                key = row.account_key
                books.entries += 1
                books.add(page.names[key].asset, row.effective_at, its_lines)
                passed = list(counted.up_to(key, row.seq))
                spent = [spent_of(counts) for counts in passed if (counts.account_key, counts.seq) == (key, row.seq)]
                yield from _without_entry(page, passed[: len(passed) - len(spent)])
                if not isinstance(entry, Entry):
                    yield from page.stop(key, entry, row.seq)
                elif (audit := page.audits.get(key)) is not None:
                    used = refunded.get((key, entry.refunds or 0))
                    yield from page.guarded(key, audit.entry(entry, spent, used), row.seq)
            yield from self._peers(connection, page, [entry for entry in found if entry.peer is not None])
            yield from self._ended(connection, page)
        yield from _without_entry(page, counted.rest())

    def _read_cards(self, connection: Connection, page: _Page, found: Iterable[Entry], books: _Books) -> None:
        """Reads the versions of rate cards that entries were charged by, as far as that was not done before."""
        wanted: set[tuple[str, str, str, int]] = set()
        for entry in found:
            if entry.charge is not None:
                name, version = page.names[entry.key], (entry.charge.card, entry.charge.version)
                if version not in books.cards[name.asset]:
                    wanted.add((name.tenant, name.asset, *version))
        if not wanted:
            return
        listed = as_rows(dict(zip(("tenant", "asset", "card", "version"), one, strict=True)) for one in sorted(wanted))
        for row in connection.execute(self._versions, {"versions": listed}):
            known = books.cards[row.asset]
            try:
                known[row.card, row.version] = PricedCard.of(card_of(row))
            except UNREADABLE:
                known[row.card, row.version] = None

    def _peers(self, connection: Connection, page: _Page, moved: Sequence[Entry]) -> Iterator[str]:
        """Looks up the other side of each movement between accounts."""
        peers = self._named(connection, [entry.peer for entry in moved if entry.peer is not None])
        for entry in moved:
            peer = None if entry.peer is None else peers.get(entry.peer)
            yield from audit_peer(page.names[entry.key], entry, peer)

    def _ended(self, connection: Connection, page: _Page) -> Iterator[str]:
        """Looks up the holds that have ended, and forgets them, being very many."""
        ended = {(key, hold.number): hold for key, audit in page.audits.items() for hold in audit.ended}
        if not ended:
            return
        asked = as_rows({"account_key": key, "hold": number} for key, number in ended)
        kept: dict[tuple[AccountKey, int], Hold] = {}
        for row in connection.execute(self._ended_holds, {"ended": asked}):
            try:
                kept[row.account_key, row.hold] = hold_of(row)
            except UNREADABLE:
                yield from page.stop(row.account_key, unreadable_column("holds", row))
        for (key, number), hold in ended.items():
            if key in page.audits:
                yield from audit_ended_hold(page.names[key], hold, kept.get((key, number)))
        for audit in page.audits.values():
            audit.ended.clear()

    def _named(
        self, connection: Connection, places: Sequence[tuple[AccountKey, int]]
    ) -> dict[tuple[AccountKey, int], Entry]:
        """The entries at some places, as far as they can be read."""
        found: dict[tuple[AccountKey, int], Entry] = {}
        for start in range(0, len(places), _ENTRIES_PER_READ):
            some = places[start : start + _ENTRIES_PER_READ]
            named = as_rows({"account_key": key, "seq": seq} for key, seq in some)
            rows = connection.execute(self._named_entries, {"named": named}).all()
            for row, _, entry in starmap(_read_entry, self._entries.with_lines(connection, rows)):
                if isinstance(entry, Entry):
                    found[row.account_key, row.seq] = entry
        return found

    def _all_entries(self, connection: Connection, keys: Sequence[AccountKey]) -> Iterator[list[_ReadEntry]]:
        """All entries of these accounts, each account's oldest first, a bounded number in memory."""
        place = tuple_(entries.c.account_key, entries.c.seq)
        wanted = select(entries).where(entries.c.account_key.in_(keys))
        wanted = wanted.order_by(entries.c.account_key, entries.c.seq).limit(_ENTRIES_PER_READ)
        rows = connection.execute(wanted).all()
        while rows:
            if self._stopped.is_set():
                raise DatabaseUnavailableError("the ledger is being closed")
            yield [_read_entry(*found) for found in self._entries.with_lines(connection, rows)]
            last = rows[-1]
            rows = connection.execute(wanted.where(place > tuple_(literal(last.account_key, Key()), last.seq))).all()


def _name_of(row: Row[Any]) -> AccountName:
    return AccountName(tenant=row.tenant, account_id=row.account_id, asset=row.asset)


def _read_entry(row: Row[Any], its_lines: Iterable[Row[Any]]) -> _ReadEntry:
    """Its lines, too, of which none are told if any cannot be read."""
    found: list[Line] = []
    for line in its_lines:
        try:
            found.append(line_of(line))
        except UNREADABLE:
            return row, [], unreadable_column("lines", line)
    try:
        return row, found, entry_of(row, tuple(found))
    except UNREADABLE:
        return row, found, unreadable_column("entries", row)


def _without_entry(page: _Page, rows: Iterable[Row[Any]]) -> Iterator[str]:
    """What is kept as counted by entries that are not there."""
    for row in rows:
        yield counted_by_none(page.names[row.account_key], spent_of(row))


def _pages(connection: Connection, wanted: Select[Any]) -> Iterator[Sequence[Row[Any]]]:
    """The accounts in order of their keys, a bounded number at a time."""
    ordered = wanted.order_by(accounts.c.account_key).limit(_ACCOUNTS_PER_READ)
    rows = connection.execute(ordered).all()
    while rows:
        yield rows
        rows = connection.execute(ordered.where(accounts.c.account_key > rows[-1].account_key)).all()
