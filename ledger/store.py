"""What a batch reads and writes. All statements are made once; each touches whole batches at a time."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Row, Table, and_, bindparam, insert, select, update

from ledger.chart import Code
from ledger.database import CollisionError, Database, as_rows
from ledger.decide import settle
from ledger.ids import AccountKey
from ledger.model import DEFAULT_ASSET, AccountName, Asset, Entry, Hold, Line, Lot, Posting, Reason, Refused, State
from ledger.operations import Capture, Operation, Release, Settle
from ledger.rows import (
    Values,
    account_of,
    account_row,
    entry_of,
    entry_row,
    hold_of,
    hold_row,
    line_of,
    line_row,
    lot_of,
    lot_row,
)
from ledger.tables import accounts, assets, entries, holds, lines, lots, totals, writers

# A writer id whose holder has written nothing for so long may be taken over.
WRITER_LEASE: Final = timedelta(seconds=60)

Totals = dict[tuple[str, str, Code], tuple[int, int]]


class WriterLostError(CollisionError):
    """This process was silent for so long that another took its writer id; it takes a new one."""


@dataclass(slots=True, kw_only=True)
class Changes:
    """What a batch has decided to write, per account."""

    states: dict[AccountKey, State]
    loaded_seq: dict[AccountKey, int]
    entries: list[Entry] = field(default_factory=list)
    lots: dict[tuple[AccountKey, int], Lot] = field(default_factory=dict)
    holds: dict[tuple[AccountKey, int], Hold] = field(default_factory=dict)

    def add(self, key: AccountKey, posting: Posting) -> None:
        """Takes over what one decision writes; the next one on the same account sees it."""
        self.states[key].apply(posting)
        self.entries.extend(posting.entries)
        self.lots.update(((key, lot.number), lot) for lot in posting.lots)
        self.holds.update(((key, hold.number), hold) for hold in posting.holds)

    def settle(self, now: datetime) -> None:
        """Settles every account once, before anything is decided, so that a refusal does not do it in vain."""
        for key, state in self.states.items():
            if state.account is not None:
                self.add(key, settle(state, now))


class Store:
    """Loads the state of a batch's accounts and saves what was decided about them.

    holder   names this process among those that write to the database
    """

    def __init__(self, database: Database, *, holder: UUID) -> None:
        self._database = database
        self._holder = holder
        self._writer: int | None = None
        self._totals: Totals = {}
        self._assets: dict[tuple[str, str], Asset] = {}
        self._statements = _Statements(database)
        self._entries = EntryReader(database)

    def define_asset(self, tenant: str, asset: str, scale: int) -> Asset | Refused:
        """Defines what can be counted; the same definition again changes nothing.

        refuses   ASSET_EXISTS if it is defined with another scale
        raises    CollisionError if another process defines it at this moment
        """
        with self._database.write() as connection:
            known = read_assets(connection, {tenant}).get((tenant, asset))
            if known is None:
                connection.execute(insert(assets).values(tenant=tenant, asset=asset, scale=scale))
                connection.commit()
        if known is not None and known.scale != scale:
            return Refused(
                reason=Reason.ASSET_EXISTS,
                figures={"asset": asset, "scale": known.scale, "requested_scale": scale},
            )
        return Asset(tenant=tenant, asset=asset, scale=scale)

    def _claim(self, connection: Connection, now: datetime) -> None:
        """Takes a writer id, its own or one that nobody holds, in the batch's transaction, and reads its totals.

        raises   CollisionError if another process takes the same one at this moment
        """
        free_since = now - WRITER_LEASE
        rows = list(connection.execute(select(writers).order_by(writers.c.writer)))
        # Its own comes first: it has one if a transaction after the one that took it was not confirmed.
        rows.sort(key=lambda row: row.holder != self._holder)
        free = next((r for r in rows if r.holder in (self._holder, None) or r.renewed_at < free_since), None)
        values = {"holder": self._holder, "renewed_at": now}
        if free is None:
            writer = max((row.writer for row in rows), default=0) + 1
            connection.execute(insert(writers).values(writer=writer, **values))
        else:
            writer = free.writer
            taken = update(writers).where(writers.c.writer == writer, writers.c.renewed_at == free.renewed_at)
            if connection.execute(taken.values(values)).rowcount != 1:
                raise CollisionError("another process took the writer id first")
        kept = connection.execute(select(totals).where(totals.c.writer == writer))
        self._totals = {(row.tenant, row.asset, Code(row.code)): (row.debits, row.credits) for row in kept}
        self._writer = writer

    def forget(self) -> None:
        """Drops what is remembered between batches; to be called whenever a transaction was not confirmed."""
        self._writer = None

    def let_go(self, now: datetime) -> None:
        """Gives the writer id free at once, for the next process."""
        if self._writer is None:
            return
        with self._database.write() as connection:
            mine = update(writers).where(writers.c.writer == self._writer, writers.c.holder == self._holder)
            connection.execute(mine.values(holder=None, renewed_at=now))
            connection.commit()
        self._writer = None

    def load(self, connection: Connection, operations: Sequence[Operation]) -> Changes:
        """The state of every account the operations name, nothing decided yet.

        raises   CollisionError
        """
        states = {operation.key: State() for operation in operations}
        keys = as_rows({"account_key": key.hex} for key in states)
        for row in connection.execute(self._statements.accounts, {"keys": keys}):
            states[AccountKey(row.account_key)].account = account_of(row)
        for row in connection.execute(self._statements.open_lots, {"keys": keys}):
            states[AccountKey(row.account_key)].lots[row.lot] = lot_of(row)
        for row in connection.execute(self._statements.open_holds, {"keys": keys}):
            states[AccountKey(row.account_key)].holds[row.hold] = hold_of(row)
        self._load_named_holds(connection, operations, states)
        self._load_posted(connection, operations, states)
        for state in states.values():
            if state.account is None and (state.lots or state.holds or state.posted):
                # There was no row to lock yet, so nothing kept another server from opening it meanwhile.
                raise CollisionError("the account was opened while it was read")
        self._load_assets(connection, operations, states)
        loaded_seq = {key: 0 if state.account is None else state.account.seq for key, state in states.items()}
        return Changes(states=states, loaded_seq=loaded_seq)

    def save(self, connection: Connection, changes: Changes, now: datetime) -> Totals:
        """Writes what was decided; returns this writer's totals as they are if the transaction commits.

        raises   WriterLostError, CollisionError
        """
        if self._writer is None:
            self._claim(connection, now)
        # The entries go first: if another writer was faster, nothing else is written in vain.
        ordered = sorted(changes.entries, key=lambda entry: (entry.key.int, entry.seq))
        _insert(connection, entries, [entry_row(entry) for entry in ordered])
        _insert(
            connection, lines, [line_row(entry, n, line) for entry in ordered for n, line in enumerate(entry.lines)]
        )
        self._save_accounts(connection, changes)
        self._save_lots_and_holds(connection, changes)
        mine = update(writers).where(writers.c.writer == self._writer, writers.c.holder == self._holder)
        if connection.execute(mine.values(renewed_at=now)).rowcount != 1:
            raise WriterLostError("another process took this writer's id")
        return self._save_totals(connection, changes)

    def remember(self, confirmed: Totals) -> None:
        """Takes over the totals of a transaction that has been committed."""
        self._totals.update(confirmed)

    def _load_named_holds(
        self, connection: Connection, operations: Iterable[Operation], states: Mapping[AccountKey, State]
    ) -> None:
        named = {
            (operation.key, operation.hold)
            for operation in operations
            if isinstance(operation, Capture | Release) and operation.hold not in states[operation.key].holds
        }
        if not named:
            return
        parameter = as_rows({"account_key": key.hex, "hold": hold} for key, hold in named)
        for row in connection.execute(self._statements.named_holds, {"named": parameter}):
            states[AccountKey(row.account_key)].holds[row.hold] = hold_of(row)

    def _load_posted(
        self, connection: Connection, operations: Iterable[Operation], states: Mapping[AccountKey, State]
    ) -> None:
        asked = {(op.key, op.request_id) for op in operations if not isinstance(op, Settle)}
        if not asked:
            return
        parameter = as_rows({"account_key": key.hex, "request_id": request_id} for key, request_id in asked)
        rows = connection.execute(self._statements.posted, {"asked": parameter}).all()
        for entry in self._entries.read(connection, rows):
            if entry.request_id is not None:
                states[entry.key].posted[entry.request_id] = entry

    def _load_assets(
        self, connection: Connection, operations: Iterable[Operation], states: Mapping[AccountKey, State]
    ) -> None:
        names: dict[AccountKey, AccountName] = {}
        for op in operations:
            name = _name_in(states[op.key]) if isinstance(op, Capture | Release | Settle) else op.account
            # A hold that is named before its account is open says nothing of the asset; another operation may.
            if name is not None:
                names[op.key] = name
        if unknown := {(name.tenant, name.asset) for name in names.values()} - self._assets.keys():
            self._assets |= read_assets(connection, {tenant for tenant, _ in unknown})
        for key, name in names.items():
            states[key].asset = self._assets.get((name.tenant, name.asset))

    def _save_accounts(self, connection: Connection, changes: Changes) -> None:
        new: list[Values] = []
        old: list[Values] = []
        for key in sorted({entry.key for entry in changes.entries}, key=lambda key: key.int):
            account = changes.states[key].account
            if account is not None:
                (old if changes.loaded_seq[key] else new).append(account_row(key, account))
        _insert(connection, accounts, new)
        _CHANGE_ACCOUNT.run(connection, old)

    def _save_lots_and_holds(self, connection: Connection, changes: Changes) -> None:
        lot_rows = [lot_row(key, lot) for (key, _), lot in sorted(changes.lots.items(), key=_place)]
        hold_rows = [hold_row(key, hold) for (key, _), hold in sorted(changes.holds.items(), key=_place)]
        for table, change, number, rows in (
            (lots, _CHANGE_LOT, "lot", lot_rows),
            (holds, _CHANGE_HOLD, "hold", hold_rows),
        ):
            # A lot or hold has the number of the entry that made it, so what is new has a number above those loaded.
            loaded_seq = changes.loaded_seq
            _insert(connection, table, [row for row in rows if row[number] > loaded_seq[row["account_key"]]])
            change.run(connection, [row for row in rows if row[number] <= loaded_seq[row["account_key"]]])

    def _save_totals(self, connection: Connection, changes: Changes) -> Totals:
        # Only this process writes this writer's rows, so it knows them, and can write sums of any size.
        sums: dict[tuple[str, str, Code], list[int]] = defaultdict(lambda: [0, 0])
        for entry in changes.entries:
            name = _name_in(changes.states[entry.key])
            if name is not None:
                for line in entry.lines:
                    sums[name.tenant, name.asset, line.debit][0] += line.amount
                    sums[name.tenant, name.asset, line.credit][1] += line.amount
        confirmed: Totals = {}
        new: list[Values] = []
        old: list[Values] = []
        for place, (debits, credits_) in sorted(sums.items()):
            before = self._totals.get(place)
            total = confirmed[place] = (debits + before[0], credits_ + before[1]) if before else (debits, credits_)
            tenant, asset, code = place
            row = {"writer": self._writer, "tenant": tenant, "asset": asset, "code": code.value}
            (old if before else new).append({**row, "debits": total[0], "credits": total[1]})
        _insert(connection, totals, new)
        _CHANGE_TOTAL.run(connection, old)
        return confirmed


class _Statements:
    """The statements of a batch; what they take is handed over as rows."""

    def __init__(self, database: Database) -> None:
        keys = database.listed("keys", accounts.c.account_key)
        named = database.listed("named", holds.c.account_key, holds.c.hold)
        asked = database.listed("asked", entries.c.account_key, entries.c.request_id)
        loaded = select(accounts).join(keys, keys.c.account_key == accounts.c.account_key)
        # Locked in order of the key, so that two batches that touch the same accounts cannot wait for each other.
        ordered = loaded.order_by(accounts.c.account_key)
        self.accounts = ordered.with_for_update(of=accounts) if database.row_locks else ordered
        self.open_lots = database.matching(keys, lots, lots.c.open == 1)
        self.open_holds = database.matching(keys, holds, holds.c.open == 1)
        self.named_holds = database.matching(named, holds)
        self.posted = database.matching(asked, entries)


class _Update:
    """Changes some columns of rows that are found by others; takes whole rows and leaves their other columns alone."""

    def __init__(self, table: Table, *, by: tuple[str, ...], columns: tuple[str, ...]) -> None:
        # A parameter that is named as a column is its new value, so those that find the row have other names.
        self._by, self._columns = by, columns
        found = and_(*(table.c[name] == bindparam(f"old_{name}") for name in by))
        self._statement = update(table).where(found).values({name: bindparam(name) for name in columns})

    def run(self, connection: Connection, rows: Sequence[Values]) -> None:
        """Changes the rows in the order given."""
        if rows:
            connection.execute(
                self._statement,
                [
                    {f"old_{name}": row[name] for name in self._by} | {name: row[name] for name in self._columns}
                    for row in rows
                ],
            )


_CHANGE_ACCOUNT: Final = _Update(
    accounts, by=("account_key",), columns=("available", "held", "owed", "seq", "as_of", "head")
)
_CHANGE_LOT: Final = _Update(lots, by=("account_key", "lot"), columns=("remaining", "held", "open"))
_CHANGE_HOLD: Final = _Update(holds, by=("account_key", "hold"), columns=("state", "ended_at", "open"))
_CHANGE_TOTAL: Final = _Update(totals, by=("writer", "tenant", "asset", "code"), columns=("debits", "credits"))


def _insert(connection: Connection, table: Table, rows: Sequence[Values]) -> None:
    if rows:
        connection.execute(insert(table), rows)


def read_assets(connection: Connection, tenants: Collection[str]) -> dict[tuple[str, str], Asset]:
    """All assets of the tenants, the one that exists from the start included."""
    rows = connection.execute(select(assets).where(assets.c.tenant.in_(sorted(tenants)))).all()
    found = {(tenant, DEFAULT_ASSET): Asset(tenant=tenant, asset=DEFAULT_ASSET, scale=0) for tenant in tenants}
    found.update({(row.tenant, row.asset): Asset(tenant=row.tenant, asset=row.asset, scale=row.scale) for row in rows})
    return found


class EntryReader:
    """Makes entries of rows of `entries`, with their lines and what grants made."""

    def __init__(self, database: Database) -> None:
        self._lines = database.matching(database.listed("wanted", lines.c.account_key, lines.c.seq), lines)
        self._lots = database.matching(database.listed("wanted", lots.c.account_key, lots.c.lot), lots)

    def read(self, connection: Connection, rows: Sequence[Row[Any]]) -> list[Entry]:
        """One entry per row, in the same order."""
        if not rows:
            return []
        wanted = as_rows({"account_key": row.account_key.hex, "seq": row.seq, "lot": row.seq} for row in rows)
        lines_of: dict[tuple[UUID, int], list[Line]] = defaultdict(list)
        found = connection.execute(self._lines, {"wanted": wanted}).all()
        for row in sorted(found, key=lambda row: row.n):
            lines_of[row.account_key, row.seq].append(line_of(row))
        found = connection.execute(self._lots, {"wanted": wanted}).all()
        terms = {(row.account_key, row.lot): lot_of(row).terms for row in found}
        return [
            entry_of(row, tuple(lines_of[row.account_key, row.seq]), terms.get((row.account_key, row.seq)))
            for row in rows
        ]


def _name_in(state: State) -> AccountName | None:
    return None if state.account is None else state.account.name


def _place(item: tuple[tuple[AccountKey, int], object]) -> tuple[int, int]:
    """Sorts like the key does in the database, but faster than a UUID."""
    (key, number), _ = item
    return key.int, number
