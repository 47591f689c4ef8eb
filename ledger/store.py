"""What a batch reads and writes. All statements are made once; each touches whole batches at a time."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import ColumnElement, Connection, Insert, Select, Table, Update, insert, select, update

from ledger.chain import instant_text
from ledger.chart import Code
from ledger.database import CollisionError, Database, as_rows
from ledger.decide import settle
from ledger.draft import has_lapsed
from ledger.ids import AccountKey
from ledger.loading import Loader, States, read_assets
from ledger.model import Account, Asset, Entry, Hold, Lot
from ledger.operations import Operation
from ledger.outcome import Posting, Reason, Refused, Spent
from ledger.rows import (
    Values,
    account_change,
    account_row,
    asset_row,
    entry_row,
    hold_change,
    hold_row,
    line_row,
    lot_amounts,
    lot_change,
    lot_row,
    spent_row,
)
from ledger.tables import accounts, assets, entries, holds, lines, lots, spending, totals, writers
from ledger.terms import AssetPolicy

# A writer id whose holder has written nothing for so long may be taken over.
WRITER_LEASE: Final = timedelta(seconds=60)

# How many batches of a server lock their accounts once it has collided with another.
LOCKED_BATCHES: Final = 100

Totals = dict[tuple[str, str, Code], tuple[int, int]]
RowsByPart = dict[str, list[Values]]
_CLAIM: Final = "claim"


class WriterLostError(CollisionError):
    """This process was silent for so long that another took its writer id; it takes a new one."""


@dataclass(slots=True, kw_only=True)
class Changes:
    """What a batch has decided to write, per account.

    loaded        the accounts as they were read; None for one that was not open
    lots_before   the same lots as they were read; None for new ones
    """

    states: States
    loaded: Mapping[AccountKey, Account | None]
    entries: list[Entry] = field(default_factory=list)
    lots: dict[tuple[AccountKey, int], Lot] = field(default_factory=dict)
    lots_before: dict[tuple[AccountKey, int], Lot | None] = field(default_factory=dict)
    holds: dict[tuple[AccountKey, int], Hold] = field(default_factory=dict)
    spent: list[tuple[AccountKey, Spent]] = field(default_factory=list)

    def add(self, postings: Iterable[Posting]) -> None:
        """Takes over what one decision writes; the next one on the same accounts sees it."""
        for posting in postings:
            key = posting.key
            known = self.states[key].lots
            for lot in posting.lots:
                self.lots_before.setdefault((key, lot.number), known.get(lot.number))
                self.lots[key, lot.number] = lot
            self.states[key].apply(posting)
            self.entries += posting.entries
            for hold in posting.holds:
                self.holds[key, hold.number] = hold
            for spent in posting.spent:
                self.spent.append((key, spent))

    def settle(self, now: datetime) -> None:
        """Settles every account once, before anything is decided, so that a refusal does not do it in vain."""
        for state in self.states.values():
            if state.account is None:
                continue
            state.settled_at = at = max(now, state.account.as_of)
            if has_lapsed(state, at):
                state.settled_at = None
                self.add((settle(state, now),))

    def copy(self, keys: Iterable[AccountKey]) -> "Changes":
        """The same, to try something on these accounts that may have to be dropped."""
        return Changes(
            states={**self.states, **{key: self.states[key].copy() for key in keys}},
            loaded=self.loaded,
            entries=list(self.entries),
            lots=dict(self.lots),
            lots_before=dict(self.lots_before),
            holds=dict(self.holds),
            spent=list(self.spent),
        )


class Store:
    """Loads the state of a batch's accounts and saves what was decided about them."""

    def __init__(self, database: Database, loader: Loader) -> None:
        self._database, self._loader = database, loader
        # What this process calls itself among those that write to the database, and may be known as there.
        self._holder = uuid4()
        self._names = {self._holder}
        self._writer: int | None = None
        self._totals: Totals = {}
        self._locked_batches = 0
        self._writing = database.once(_Writing)

    def define_asset(self, tenant: str, asset: str, scale: int) -> Asset | Refused:
        """Defines what can be counted; the same definition again changes nothing.

        refuses   ASSET_EXISTS if it is defined with another scale
        raises    CollisionError if another process defines it at this moment
        """
        with self._database.write() as connection:
            known = read_assets(connection, {tenant}).get((tenant, asset))
            if known is None:
                known = Asset(tenant=tenant, asset=asset, scale=scale)
                connection.execute(insert(assets).values(asset_row(known)))
                connection.commit()
        if known.scale != scale:
            return Refused(
                reason=Reason.ASSET_EXISTS,
                figures={"asset": asset, "scale": known.scale, "requested_scale": scale},
            )
        return known

    def configure_asset(self, tenant: str, asset: str, policy: AssetPolicy) -> Asset | Refused:
        """Replaces a tenant's settings for an asset.

        refuses   ASSET_NOT_FOUND
        raises    CollisionError if another process does it at this moment
        """
        with self._database.write() as connection:
            known = read_assets(connection, {tenant}).get((tenant, asset))
            if known is None:
                return Refused(reason=Reason.ASSET_NOT_FOUND, figures={"asset": asset})
            row = asset_row(replace(known, policy=policy))
            kept = update(assets).where(assets.c.tenant == tenant, assets.c.asset == asset)
            if connection.execute(kept.values(policy=row["policy"])).rowcount == 0:
                # The asset that exists from the start has no row until something is said of it.
                connection.execute(insert(assets).values(row))
            connection.commit()
        return replace(known, policy=policy)

    def _claim(self, connection: Connection, now: datetime) -> None:
        """Takes a writer id, its own or one that nobody holds, before anything is written under it; reads its totals.

        raises   CollisionError if another process takes the same one at this moment
        """
        free_since = now - WRITER_LEASE
        rows = list(connection.execute(select(writers).order_by(writers.c.writer)))
        # Its own comes first: it has one if a batch after the one that took it was not confirmed.
        rows.sort(key=lambda row: row.holder not in self._names)
        free = next((r for r in rows if r.holder in {*self._names, None} or r.renewed_at < free_since), None)
        # A new name with every claim: what was sent under the last one, and has not arrived yet, must not be done.
        self._holder = uuid4()
        self._names.add(self._holder)
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

    @contextmanager
    def begin(self, *, alone: bool) -> Iterator[Connection]:
        """What a batch is read and written with; the block commits it itself.

        As long as servers do not collide, nothing is locked: the entry number is the lock.

        alone   more is written than the batch, and both or nothing
        """
        start = self._database.write if alone or self._locked_batches else self._database.write_at_once
        with start() as connection:
            yield connection
        self._locked_batches = max(self._locked_batches - 1, 0)

    def collided(self) -> None:
        """Has the next batches lock their accounts, where the engine can; nothing of this one was written."""
        self._locked_batches = LOCKED_BATCHES if self._database.row_locks else 0

    def forget(self) -> None:
        """Drops what is remembered between batches; to be called whenever a batch was not confirmed."""
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

    def load(
        self, connection: Connection, operations: Sequence[Operation], clock: Callable[[], datetime]
    ) -> tuple[Changes, datetime]:
        """The state of every account the operations name, nothing decided yet, and the instant it is for.

        raises   CollisionError
        """
        states, now = self._loader.load(
            connection,
            operations,
            clock,
            lock=self._locked_batches > 0,
            may_change=self._database.has_servers and self._locked_batches == 0,
        )
        return Changes(states=states, loaded={key: state.account for key, state in states.items()}), now

    def save(self, connection: Connection, changes: Changes, now: datetime) -> Totals:
        """Writes what was decided; returns this writer's totals as they are if the transaction commits.

        raises   WriterLostError, CollisionError
        """
        if self._writer is None:
            self._claim(connection, now)
        sums = self._sums(changes)
        rows = _rows_of(changes)
        rows |= self._rows_of_totals(sums)
        rows[_CLAIM] = [{"writer": self._writer, "holder": self._holder.hex, "renewed_at": instant_text(now)}]
        if not self._writing.write(connection, rows):
            raise WriterLostError("another process took this writer's id")
        return sums

    def remember(self, confirmed: Totals) -> None:
        """Takes over the totals of a transaction that has been committed."""
        self._totals.update(confirmed)
        self._names = {self._holder}

    def _sums(self, changes: Changes) -> Totals:
        """This writer's totals of the codes that the entries move, after them."""
        # Only this process writes this writer's rows, so it knows them, and can write sums of any size.
        sums: dict[tuple[str, str, Code], list[int]] = {}
        for entry in changes.entries:
            account = changes.states[entry.key].account
            if account is None:
                raise AssertionError(f"{entry} belongs to no account")
            tenant, asset = account.name.tenant, account.name.asset
            for line in entry.lines:
                for side, code in enumerate((line.debit, line.credit)):
                    place = (tenant, asset, code)
                    total = sums.get(place)
                    if total is None:
                        total = sums[place] = list(self._totals.get(place, (0, 0)))
                    total[side] += line.amount
        return {place: (debits, credits_) for place, (debits, credits_) in sums.items()}

    def _rows_of_totals(self, sums: Totals) -> RowsByPart:
        rows: RowsByPart = {"new_totals": [], "totals": []}
        for place, (debits, credits_) in sorted(sums.items()):
            tenant, asset, code = place
            row = {"writer": self._writer, "tenant": tenant, "asset": asset, "code": code}
            part = "totals" if place in self._totals else "new_totals"
            rows[part].append({**row, "debits": str(debits), "credits": str(credits_)})
        return rows


def _rows_of(changes: Changes) -> RowsByPart:
    """What is to be written, by the part of the statement that writes it; rows in order of their keys."""
    ordered = sorted(changes.entries, key=_place_of_entry)
    rows: RowsByPart = {name: [] for name in _PARTS}
    rows["entries"] = [entry_row(entry) for entry in ordered]
    rows["lines"] = [line_row(entry, n, line) for entry in ordered for n, line in enumerate(entry.lines)]
    rows["spending"] = [spent_row(key, spent) for key, spent in changes.spent]
    for key in dict.fromkeys(entry.key for entry in ordered):
        account, before = changes.states[key].account, changes.loaded[key]
        if account is not None:
            if before is None:
                rows["new_accounts"].append(account_row(key, account))
            else:
                rows["accounts"].append(account_change(key, account))
    for place, lot in sorted(changes.lots.items(), key=_place):
        was = changes.lots_before[place]
        if was is None:
            rows["new_lots"].append(lot_row(place[0], lot))
        elif (was.is_open, was.terms.expires_at) == (lot.is_open, lot.terms.expires_at):
            rows["lots"].append(lot_amounts(place[0], lot))
        else:
            rows["ended_lots"].append(lot_change(place[0], lot))
    # New is what has a number above that of the last entry that the account had when it was read.
    for (key, number), hold in sorted(changes.holds.items(), key=_place):
        before = changes.loaded[key]
        if before is None or number > before.seq:
            rows["new_holds"].append(hold_row(key, hold))
        else:
            rows["holds"].append(hold_change(key, hold))
    return rows


def _place_of_entry(entry: Entry) -> tuple[AccountKey, int]:
    return entry.key, entry.seq


def _place(item: tuple[tuple[AccountKey, int], object]) -> tuple[AccountKey, int]:
    return item[0]


class _Writing:
    """Writes rows while it renews the writer's claim on its id, in as few statements as the engine allows."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[tuple[str, ...], Callable[[Connection, Mapping[str, str]], bool]] = {}

    def write(self, connection: Connection, rows: RowsByPart) -> bool:
        """Writes what there is, unless the claim is lost; tells if it was written."""
        parts = tuple(name for name in _PARTS if rows.get(name))
        if parts not in self._known:
            self._known[parts] = self._made(parts)
        return self._known[parts](connection, {name: as_rows(rows[name]) for name in (_CLAIM, *parts)})

    def _made(self, parts: Sequence[str]) -> Callable[[Connection, Mapping[str, str]], bool]:
        def changes(*conditions: ColumnElement[bool]) -> list[Insert | Update]:
            return [_change_of(self._database, name, _PARTS[name], *conditions) for name in parts]

        locked = _accounts_of(self._database) if "accounts" in parts else None
        return self._database.guarded(_renewal(self._database), locked, changes)


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows that are written to a table.

    columns   those that change in rows which are found by their key; none: the rows are new
    found_by  the columns that find them
    """

    table: Table
    columns: tuple[str, ...] = ()
    found_by: tuple[str, ...] = ()


_AMOUNTS_OF_LOT: Final = ("remaining", "held", "spent", "reclaimed", "deferred", "recognised", "lapsed")
# The entries go first: if another writer was faster, nothing else is written in vain.
_PARTS: Final = {
    "entries": _Part(entries),
    "lines": _Part(lines),
    "new_accounts": _Part(accounts),
    "accounts": _Part(
        accounts,
        ("available", "held", "owed", "seq", "lots", "as_of", "head", "status", "terms"),
        ("account_key",),
    ),
    "new_lots": _Part(lots),
    # Apart from those below, because SQLite writes an index anew whenever a column of it is set, to whatever value.
    "lots": _Part(lots, _AMOUNTS_OF_LOT, ("account_key", "lot")),
    "ended_lots": _Part(lots, (*_AMOUNTS_OF_LOT, "expires_at", "open"), ("account_key", "lot")),
    "new_holds": _Part(holds),
    "holds": _Part(
        holds,
        ("amount", "captured", "tolerance", "drawn", "expires_at", "due_at", "state", "ended_at", "open"),
        ("account_key", "hold"),
    ),
    "spending": _Part(spending),
    "new_totals": _Part(totals),
    "totals": _Part(totals, ("debits", "credits"), ("writer", "tenant", "asset", "code")),
}


def _accounts_of(database: Database) -> Select[Any]:
    """The accounts that are changed, in the order in which every server locks them, lest two wait for each other."""
    handed = database.listed("accounts", accounts.c.account_key)
    wanted = select(accounts.c.account_key).join(handed, handed.c.account_key == accounts.c.account_key)
    return wanted.order_by(accounts.c.account_key)


def _renewal(database: Database) -> Update:
    """Renews a writer's claim on its id; changes nothing if it has lost it."""
    return _update_of(database, _CLAIM, _Part(writers, ("renewed_at",), ("writer", "holder")))


def _change_of(database: Database, name: str, part: _Part, *conditions: ColumnElement[bool]) -> Insert | Update:
    """The statement that writes the rows of a part, which are its parameter by that name."""
    if part.columns:
        return _update_of(database, name, part, *conditions)
    handed = database.listed(name, *part.table.c)
    rows = select(*handed.c).where(*conditions)
    return insert(part.table).from_select([column.name for column in part.table.c], rows)


def _update_of(database: Database, name: str, part: _Part, *conditions: ColumnElement[bool]) -> Update:
    table = part.table
    handed = database.listed(name, *(table.c[column] for column in (*part.found_by, *part.columns)))
    found = (table.c[column] == handed.c[column] for column in part.found_by)
    return update(table).where(*found, *conditions).values({column: handed.c[column] for column in part.columns})
