"""What has to be known to decide some operations, read in a few statements, for the writer and for previews alike."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Column, ColumnElement, Connection, Integer, Row, Select, func, literal_column, select

from ledger.administration import Merge, Revoke
from ledger.chart import Code
from ledger.database import CollisionError, Database, as_rows
from ledger.ids import AccountKey
from ledger.model import DEFAULT_ASSET, AccountName, Asset, Entry, Line
from ledger.operations import Capture, ExtendHold, IncreaseHold, OfAccount, Operation, Refund, Release, Settle, Transfer
from ledger.outcome import Spending, State
from ledger.rows import account_of, asset_of, entry_of, hold_of, line_of, lot_of
from ledger.tables import Instant, accounts, assets, entries, holds, lines, lots, spending
from ledger.terms import SpendLimit, window_start

States = dict[AccountKey, State]
_HALF_BITS: Final = 32
_OfHold: Final = Capture | Release | IncreaseHold | ExtendHold


class Loader:
    """Reads the state of every account that some operations name.

    for_update   lock the accounts, where the engine can
    """

    def __init__(self, database: Database, *, for_update: bool) -> None:
        self._entries = EntryReader(database)
        keys = database.listed("keys", accounts.c.account_key)
        # Locked in order of the key, so that two batches that touch the same accounts cannot wait for each other.
        found = select(accounts).join(keys, keys.c.account_key == accounts.c.account_key)
        ordered = found.order_by(accounts.c.account_key)
        self._accounts = ordered.with_for_update(of=accounts) if for_update and database.row_locks else ordered
        self._open_lots = database.matching(keys, lots, lots.c.open == 1)
        self._open_holds = database.matching(keys, holds, holds.c.open == 1)
        self._named_holds = database.matching(database.listed("named", holds.c.account_key, holds.c.hold), holds)
        self._named_lots = database.matching(database.listed("named", lots.c.account_key, lots.c.lot), lots)
        self._named_entries = database.matching(database.listed("named", entries.c.account_key, entries.c.seq), entries)
        self._posted = database.matching(database.listed("asked", entries.c.account_key, entries.c.request_id), entries)
        self._refunded = _refunded(database)
        self._spending = _spending(database)

    def load(
        self, connection: Connection, operations: Sequence[Operation], clock: Callable[[], datetime]
    ) -> tuple[States, datetime]:
        """The states, nothing decided yet, and the instant they are loaded for.

        clock    asked once the accounts are there: loading them waits as long as another server has locked one
        raises   CollisionError
        """
        states: States = {key: State() for operation in operations for key in operation.keys}
        keys = as_rows({"account_key": key.hex} for key in states)
        for row in connection.execute(self._accounts, {"keys": keys}):
            states[AccountKey(row.account_key)].account = account_of(row)
        now = clock()
        for row in connection.execute(self._open_lots, {"keys": keys}):
            states[AccountKey(row.account_key)].lots[row.lot] = lot_of(row)
        for row in connection.execute(self._open_holds, {"keys": keys}):
            states[AccountKey(row.account_key)].holds[row.hold] = hold_of(row)
        self._load_posted(connection, operations, states)
        self._load_named(connection, operations, states)
        self._load_spending(connection, states, now)
        _load_assets(connection, operations, states)
        for state in states.values():
            if state.account is None and (state.lots or state.holds or state.posted):
                # There was no row to lock yet, so nothing kept another server from opening it meanwhile.
                raise CollisionError("the account was opened while it was read")
        return states, now

    def _load_posted(self, connection: Connection, operations: Iterable[Operation], states: States) -> None:
        asked = {(op.key, op.request_id) for op in operations if not isinstance(op, Settle)}
        if not asked:
            return
        parameter = as_rows({"account_key": key.hex, "request_id": request_id} for key, request_id in asked)
        rows = connection.execute(self._posted, {"asked": parameter}).all()
        for entry in self._entries.read(connection, rows):
            if entry.request_id is not None:
                states[entry.key].posted[entry.request_id] = entry

    def _load_named(self, connection: Connection, operations: Sequence[Operation], states: States) -> None:
        """Holds, entries and lots that an operation names, and that may have ended."""
        named_holds = {(op.key, op.hold) for op in operations if isinstance(op, _OfHold)}
        named_lots = {(op.key, op.lot) for op in operations if isinstance(op, Revoke)}
        if refunds := {(op.key, op.entry) for op in operations if isinstance(op, Refund)}:
            rows = connection.execute(self._named_entries, {"named": _places(refunds, "seq")}).all()
            for entry in self._entries.read(connection, rows):
                states[entry.key].used[entry.seq] = entry
                named_lots |= {(entry.key, line.lot) for line in entry.lines if line.lot is not None}
                named_holds |= set() if entry.hold is None else {(entry.key, entry.hold)}
            for row in connection.execute(self._refunded, {"named": _places(refunds, "seq")}):
                states[AccountKey(row.account_key)].refunded[row.seq] = int(row.refunded or 0)
        if missing := {(key, hold) for key, hold in named_holds if hold not in states[key].holds}:
            for row in connection.execute(self._named_holds, {"named": _places(missing, "hold")}):
                states[AccountKey(row.account_key)].holds[row.hold] = hold_of(row)
        if missing := {(key, lot) for key, lot in named_lots if lot not in states[key].lots}:
            for row in connection.execute(self._named_lots, {"named": _places(missing, "lot")}):
                states[AccountKey(row.account_key)].lots[row.lot] = lot_of(row)

    def _load_spending(self, connection: Connection, states: Mapping[AccountKey, State], now: datetime) -> None:
        asked = list(_windows(states, now))
        if not asked:
            return
        parameter = as_rows(
            {
                "account_key": key.hex,
                "name": limit.counted_as,
                "since": since.isoformat(timespec="microseconds"),
                "rolling": int(limit.length is not None),
            }
            for key, limit, since in asked
        )
        rows = connection.execute(self._spending, {"asked": parameter})
        found = {(row.account_key, row.name): row for row in rows}
        for key, limit, since in asked:
            row = found[key, limit.counted_as]
            # A rolling window has no last entry that knows what is used now, so there it is added up.
            used = row.used or 0 if limit.length is None else whole(row.high or 0, row.low or 0)
            states[key].spending[limit.counted_as] = Spending(used=used, since=since, oldest=row.oldest)


def _windows(states: Mapping[AccountKey, State], now: datetime) -> Iterator[tuple[AccountKey, SpendLimit, datetime]]:
    """Account, limit and beginning of the window, of every spend limit."""
    for key, state in states.items():
        if state.account is not None:
            terms, at = state.account.terms, max(now, state.account.as_of)
            for limit in terms.limits:
                yield key, limit, window_start(limit, terms.time_zone, at)


def _load_assets(connection: Connection, operations: Iterable[Operation], states: States) -> None:
    names: dict[AccountKey, AccountName] = {}
    for op in operations:
        if isinstance(op, OfAccount):
            names[op.key] = op.account
        if isinstance(op, Transfer):
            names[op.to.key] = op.to
        if isinstance(op, Merge):
            names[op.into.key] = op.into
    # What names a hold, an entry or a lot says nothing of the asset; the account does, if it is open.
    names |= {key: state.account.name for key, state in states.items() if state.account is not None}
    known = read_assets(connection, {name.tenant for name in names.values()})
    for key, name in names.items():
        states[key].asset = known.get((name.tenant, name.asset))


def _places(places: Iterable[tuple[AccountKey, int]], number: str) -> str:
    return as_rows({"account_key": key.hex, number: value} for key, value in places)


def halves(amount: ColumnElement[int]) -> tuple[ColumnElement[int], ColumnElement[int]]:
    """The sum of a column in two parts, for `whole`; SQLite adds up to 64 bits only."""
    high = amount.op(">>")(literal_column(str(_HALF_BITS)))
    low = amount.op("&")(literal_column(str((1 << _HALF_BITS) - 1)))
    return func.sum(high).label("high"), func.sum(low).label("low")


def whole(high: int, low: int) -> int:
    """The sum of what was added up in `halves`."""
    return (int(high) << _HALF_BITS) + int(low)


def _refunded(database: Database) -> Select[Any]:
    """How much of each named entry was refunded."""
    named = database.listed("named", entries.c.account_key, entries.c.seq)
    by_refund = (
        (entries.c.account_key == named.c.account_key)
        & (entries.c.refunds == named.c.seq)
        & (lines.c.account_key == entries.c.account_key)
        & (lines.c.seq == entries.c.seq)
        & (lines.c.debit == Code.REVENUE.value)
    )
    total = select(func.sum(lines.c.amount)).where(by_refund).correlate(named).scalar_subquery()
    return select(named.c.account_key, named.c.seq, total.label("refunded")).select_from(named)


def _spending(database: Database) -> Select[Any]:
    """Under each asked limit, since its window began: what was used after the last entry, all changes, the oldest."""
    asked = database.listed(
        "asked", spending.c.account_key, spending.c.name, Column("since", Instant), Column("rolling", Integer)
    )
    inside = (
        (spending.c.account_key == asked.c.account_key)
        & (spending.c.name == asked.c.name)
        & (spending.c.counts_at >= asked.c.since)
    )
    newest = (spending.c.counts_at.desc(), spending.c.seq.desc())
    used = select(spending.c.used).where(inside).order_by(*newest).limit(1)
    high, low = (select(half).where(inside, asked.c.rolling == 1) for half in halves(spending.c.change))
    oldest = select(func.min(spending.c.counts_at)).where(inside, spending.c.change > 0)
    return select(
        asked.c.account_key,
        asked.c.name,
        used.correlate(asked).scalar_subquery().label("used"),
        high.correlate(asked).scalar_subquery().label("high"),
        low.correlate(asked).scalar_subquery().label("low"),
        oldest.correlate(asked).scalar_subquery().label("oldest"),
    ).select_from(asked)


def read_assets(connection: Connection, tenants: Collection[str]) -> dict[tuple[str, str], Asset]:
    """All assets of the tenants, the one that exists from the start included."""
    rows = connection.execute(select(assets).where(assets.c.tenant.in_(sorted(tenants)))).all()
    found = {(tenant, DEFAULT_ASSET): Asset(tenant=tenant, asset=DEFAULT_ASSET, scale=0) for tenant in tenants}
    found.update({(row.tenant, row.asset): asset_of(row) for row in rows})
    return found


class EntryReader:
    """Makes entries of rows of `entries`, with their lines."""

    def __init__(self, database: Database) -> None:
        self._lines = database.matching(database.listed("wanted", lines.c.account_key, lines.c.seq), lines)

    def read(self, connection: Connection, rows: Sequence[Row[Any]]) -> list[Entry]:
        """One entry per row, in the same order."""
        if not rows:
            return []
        wanted = as_rows({"account_key": row.account_key.hex, "seq": row.seq} for row in rows)
        lines_of: dict[tuple[UUID, int], list[Line]] = defaultdict(list)
        found = connection.execute(self._lines, {"wanted": wanted}).all()
        for row in sorted(found, key=lambda row: row.n):
            lines_of[row.account_key, row.seq].append(line_of(row))
        return [entry_of(row, tuple(lines_of[row.account_key, row.seq])) for row in rows]
