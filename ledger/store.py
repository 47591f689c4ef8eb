"""What a batch reads and writes. All statements are made once; each touches whole batches at a time."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, Table, and_, bindparam, insert, select, update

from ledger.chart import Code
from ledger.database import CollisionError, Database
from ledger.decide import settle
from ledger.ids import AccountKey
from ledger.loading import Loader, States, read_assets
from ledger.model import Account, AccountName, Asset, Entry, Hold, Lot
from ledger.operations import Operation
from ledger.outcome import Posting, Reason, Refused, Spent, State
from ledger.rows import Values, account_row, asset_row, entry_row, hold_row, line_row, lot_row, spent_row
from ledger.tables import accounts, assets, entries, holds, lines, lots, spending, totals, writers
from ledger.terms import AssetPolicy

# A writer id whose holder has written nothing for so long may be taken over.
WRITER_LEASE: Final = timedelta(seconds=60)

Totals = dict[tuple[str, str, Code], tuple[int, int]]


class WriterLostError(CollisionError):
    """This process was silent for so long that another took its writer id; it takes a new one."""


@dataclass(slots=True, kw_only=True)
class Changes:
    """What a batch has decided to write, per account.

    loaded   the accounts as they were read; None for one that was not open
    """

    states: States
    loaded: Mapping[AccountKey, Account | None]
    entries: list[Entry] = field(default_factory=list)
    lots: dict[tuple[AccountKey, int], Lot] = field(default_factory=dict)
    holds: dict[tuple[AccountKey, int], Hold] = field(default_factory=dict)
    spent: list[tuple[AccountKey, Spent]] = field(default_factory=list)

    def add(self, postings: Iterable[Posting]) -> None:
        """Takes over what one decision writes; the next one on the same accounts sees it."""
        for posting in postings:
            key = posting.key
            self.states[key].apply(posting)
            self.entries.extend(posting.entries)
            self.lots.update(((key, lot.number), lot) for lot in posting.lots)
            self.holds.update(((key, hold.number), hold) for hold in posting.holds)
            self.spent.extend((key, spent) for spent in posting.spent)

    def settle(self, now: datetime) -> None:
        """Settles every account once, before anything is decided, so that a refusal does not do it in vain."""
        for state in self.states.values():
            if state.account is not None:
                posting = settle(state, now)
                if posting.entries:
                    self.add((posting,))
                state.settled_at = posting.settled_at

    def copy(self, keys: Iterable[AccountKey]) -> "Changes":
        """The same, to try something on these accounts that may have to be dropped."""
        return Changes(
            states={**self.states, **{key: self.states[key].copy() for key in keys}},
            loaded=self.loaded,
            entries=list(self.entries),
            lots=dict(self.lots),
            holds=dict(self.holds),
            spent=list(self.spent),
        )


class Store:
    """Loads the state of a batch's accounts and saves what was decided about them.

    holder   names this process among those that write to the database
    """

    def __init__(self, database: Database, *, holder: UUID) -> None:
        self._database = database
        self._holder = holder
        self._writer: int | None = None
        self._totals: Totals = {}
        self._loader = Loader(database, for_update=True)

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

    def load(
        self, connection: Connection, operations: Sequence[Operation], clock: Callable[[], datetime]
    ) -> tuple[Changes, datetime]:
        """The state of every account the operations name, nothing decided yet, and the instant it is for.

        raises   CollisionError
        """
        states, now = self._loader.load(connection, operations, clock)
        return Changes(states=states, loaded={key: state.account for key, state in states.items()}), now

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
        _insert(connection, spending, [spent_row(key, spent) for key, spent in changes.spent])
        mine = update(writers).where(writers.c.writer == self._writer, writers.c.holder == self._holder)
        if connection.execute(mine.values(renewed_at=now)).rowcount != 1:
            raise WriterLostError("another process took this writer's id")
        return self._save_totals(connection, changes)

    def remember(self, confirmed: Totals) -> None:
        """Takes over the totals of a transaction that has been committed."""
        self._totals.update(confirmed)

    def _save_accounts(self, connection: Connection, changes: Changes) -> None:
        new: list[Values] = []
        old: list[Values] = []
        for key in sorted({entry.key for entry in changes.entries}, key=lambda key: key.int):
            account = changes.states[key].account
            if account is not None:
                (new if changes.loaded[key] is None else old).append(account_row(key, account))
        _insert(connection, accounts, new)
        _CHANGE_ACCOUNT.run(connection, old)

    def _save_lots_and_holds(self, connection: Connection, changes: Changes) -> None:
        lot_rows = [lot_row(key, lot) for (key, _), lot in sorted(changes.lots.items(), key=_place)]
        hold_rows = [hold_row(key, hold) for (key, _), hold in sorted(changes.holds.items(), key=_place)]
        # New is what has a number above the last one that the account had when it was read.
        last_lot = {key: 0 if account is None else account.lots for key, account in changes.loaded.items()}
        last_seq = {key: 0 if account is None else account.seq for key, account in changes.loaded.items()}
        for table, change, number, rows, last in (
            (lots, _CHANGE_LOT, "lot", lot_rows, last_lot),
            (holds, _CHANGE_HOLD, "hold", hold_rows, last_seq),
        ):
            _insert(connection, table, [row for row in rows if row[number] > last[row["account_key"]]])
            change.run(connection, [row for row in rows if row[number] <= last[row["account_key"]]])

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
    accounts,
    by=("account_key",),
    columns=("available", "held", "owed", "seq", "lots", "as_of", "head", "status", "terms"),
)
_CHANGE_LOT: Final = _Update(
    lots, by=("account_key", "lot"), columns=("remaining", "held", "spent", "reclaimed", "expires_at", "open")
)
_CHANGE_HOLD: Final = _Update(
    holds,
    by=("account_key", "hold"),
    columns=("amount", "captured", "tolerance", "drawn", "expires_at", "due_at", "state", "ended_at", "open"),
)
_CHANGE_TOTAL: Final = _Update(totals, by=("writer", "tenant", "asset", "code"), columns=("debits", "credits"))


def _insert(connection: Connection, table: Table, rows: Sequence[Values]) -> None:
    if rows:
        connection.execute(insert(table), rows)


def _name_in(state: State) -> AccountName | None:
    return None if state.account is None else state.account.name


def _place(item: tuple[tuple[AccountKey, int], object]) -> tuple[int, int]:
    """Sorts like the key does in the database, but faster than a UUID."""
    (key, number), _ = item
    return key.int, number
