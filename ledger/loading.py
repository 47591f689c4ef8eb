"""What has to be known to decide some operations, read in a few statements, for the writer and for previews alike."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, Connection, FromClause, Integer, Row, Select, func, literal_column, select

from ledger.administration import HoldLot, Reclaim, Revoke, RollOver, UpdateAccount
from ledger.chain import instant_text
from ledger.chart import Code
from ledger.database import CollisionError, Database, Gathered, as_rows
from ledger.ids import AccountKey
from ledger.model import DEFAULT_ASSET, AccountName, Asset, Entry
from ledger.operations import (
    Capture,
    Deduct,
    ExtendHold,
    IncreaseHold,
    OfAccount,
    Operation,
    PlaceHold,
    Refund,
    Release,
    Settle,
)
from ledger.outcome import Spending, State
from ledger.price_rows import PriceBooks
from ledger.pricing import Unpriced, Usage
from ledger.rows import account_of, asset_of, entry_of, hold_of, line_of, lot_of
from ledger.tables import Instant, accounts, assets, entries, holds, lines, lots, spending
from ledger.terms import Counter, SpendLimit, window_start

States = dict[AccountKey, State]
_HALF_BITS: Final = 32
# SQLite plans a statement anew whenever a parameter is bound that its plan depends on.
_YES: Final[ColumnElement[int]] = literal_column("1")
# Where an account or a window is among those that are asked for.
_PLACE: Final = Column("place", Integer)
_OfHold: Final = Capture | Release | IncreaseHold | ExtendHold
_TellsUsage: Final = Deduct | PlaceHold | Capture
_Used = tuple[Deduct | PlaceHold | Capture, Usage]
# Account, limit or counter, and beginning of the window.
_Window = tuple[AccountKey, SpendLimit | Counter, datetime]
_OfLot: Final = Revoke | Reclaim | HoldLot | RollOver


class _Statements:
    """What a Loader reads with."""

    def __init__(self, database: Database) -> None:
        keys = database.listed("keys", accounts.c.account_key, _PLACE)
        asked = database.listed("asked", entries.c.account_key, entries.c.request_id, _PLACE)
        named_assets = database.listed("named_assets", assets.c.tenant, assets.c.asset)
        # Locked in order of the key, so that two batches that touch the same accounts cannot wait for each other.
        same_key = keys.c.account_key == accounts.c.account_key
        locked = select(_YES).select_from(accounts).join(keys, same_key).order_by(accounts.c.account_key)
        self.lock = database.prepared(locked.with_for_update(of=accounts))

        its_asset = (assets.c.tenant == accounts.c.tenant) & (assets.c.asset == accounts.c.asset)
        found = select(*_placed(keys, accounts.c), assets.c.scale, assets.c.policy, assets.c.prices)
        found = found.select_from(keys).join(accounts, same_key).outerjoin(assets, its_asset)
        posted = database.matching(asked, entries)
        open_lots = database.matching(keys, lots, lots.c.open == _YES)
        open_holds = database.matching(keys, holds, holds.c.open == _YES)
        self.found = ReadAtOnce(
            database,
            {
                "accounts": found,
                "lots": open_lots.with_only_columns(*_placed(keys, open_lots.selected_columns)),
                "holds": open_holds.with_only_columns(*_placed(keys, open_holds.selected_columns)),
                "posted": posted.with_only_columns(asked.c.place, posted.selected_columns.seq),
                "assets": database.matching(named_assets, assets),
            },
        )
        numbers = select(keys.c.place, accounts.c.seq).join(accounts, same_key)
        self.numbers = ReadAtOnce(database, {"numbers": numbers})
        self.spending = ReadAtOnce(database, {"spending": _spending(database)})
        self.entries = EntryReader(database)
        self.named_holds = database.matching(database.listed("named", holds.c.account_key, holds.c.hold), holds)
        self.named_lots = database.matching(database.listed("named", lots.c.account_key, lots.c.lot), lots)
        self.named_entries = database.matching(database.listed("named", entries.c.account_key, entries.c.seq), entries)
        self.refunded = _refunded(database)


class Loader:
    """Reads the state of every account that some operations name, nearly all of it as one statement."""

    def __init__(self, database: Database) -> None:
        self._read = database.once(_Statements)
        self.price_books = PriceBooks()

    def load(
        self,
        connection: Connection,
        operations: Sequence[Operation],
        clock: Callable[[], datetime],
        *,
        lock: bool = False,
        may_change: bool = False,
    ) -> tuple[States, datetime]:
        """The states, nothing decided yet, and the instant they are loaded for.

        clock        asked once the accounts are locked: that waits as long as another server has locked one
        lock         lock the accounts first
        may_change   an account may change from one statement to the next
        raises       CollisionError if one did
        """
        states: States = {}
        for operation in operations:
            for key in operation.keys:
                if key not in states:
                    states[key] = State()
        keys, places = list(states), {key: place for place, key in enumerate(states)}
        parameters = {
            "keys": as_rows({"account_key": key, "place": place} for key, place in places.items()),
            "asked": as_rows(_asked(operations, places)),
            "named_assets": as_rows({"tenant": tenant, "asset": asset} for tenant, asset in _assets_named(operations)),
        }
        if lock:
            self._read.lock.run(connection, parameters).fetchall()
        now = clock()
        found = self._read.found.read(connection, parameters)
        known: dict[tuple[str, str], Asset | None] = {}
        for *row, scale, policy, prices in found["accounts"]:
            state = states[keys[row[0]]]
            state.account = account_of(row)
            state.asset = _asset_of(state.account.name, scale, policy, prices, known)
        for row in found["lots"]:
            states[keys[row[0]]].lots[row[1]] = lot_of(row)
        for row in found["holds"]:
            states[keys[row[0]]].holds[row[1]] = hold_of(row)
        _take_assets(states, operations, {(row[0], row[1]): asset_of(row) for row in found["assets"]})
        self._read_posted(connection, states, [(keys[place], seq) for place, seq in found["posted"]])
        is_more = self._load_named(connection, operations, states)
        windows = [*_windows(states, now), *self._load_prices(connection, operations, states, now)]
        is_more |= self._load_spending(connection, states, windows)
        if is_more and may_change:
            self._require_unchanged(connection, parameters, keys, states)
        return states, now

    def _require_unchanged(
        self, connection: Connection, parameters: Mapping[str, str], keys: Sequence[AccountKey], states: States
    ) -> None:
        """Whoever changes an account writes its next entry."""
        numbers = {keys[place]: seq for place, seq in self._read.numbers.read(connection, parameters)["numbers"]}
        for key, state in states.items():
            if numbers.get(key) != (None if state.account is None else state.account.seq):
                raise CollisionError("an account was changed while it was read")

    def _read_posted(self, connection: Connection, states: States, posted: Collection[tuple[AccountKey, int]]) -> None:
        if posted:
            rows = connection.execute(self._read.named_entries, {"named": _places(posted, "seq")}).all()
            for entry in self._read.entries.read(connection, rows):
                if entry.request_id is not None:
                    states[entry.key].posted[entry.request_id] = entry

    def _load_named(self, connection: Connection, operations: Sequence[Operation], states: States) -> bool:
        """Holds, entries and lots that an operation names, and that may have ended; True if there were any."""
        named_holds = {(op.key, op.hold) for op in operations if isinstance(op, _OfHold)}
        named_lots = {(op.key, op.lot) for op in operations if isinstance(op, _OfLot)}
        if refunds := {(op.key, op.entry) for op in operations if isinstance(op, Refund)}:
            rows = connection.execute(self._read.named_entries, {"named": _places(refunds, "seq")}).all()
            for entry in self._read.entries.read(connection, rows):
                states[entry.key].used[entry.seq] = entry
                named_lots |= {(entry.key, line.lot) for line in entry.lines if line.lot is not None}
                named_holds |= set() if entry.hold is None else {(entry.key, entry.hold)}
            for row in connection.execute(self._read.refunded, {"named": _places(refunds, "seq")}):
                states[AccountKey(row.account_key)].refunded[row.seq] = int(row.refunded or 0)
        if missing_holds := {(key, hold) for key, hold in named_holds if hold not in states[key].holds}:
            for row in connection.execute(self._read.named_holds, {"named": _places(missing_holds, "hold")}):
                states[AccountKey(row.account_key)].holds[row.hold] = hold_of(row)
        if missing_lots := {(key, lot) for key, lot in named_lots if lot not in states[key].lots}:
            for row in connection.execute(self._read.named_lots, {"named": _places(missing_lots, "lot")}):
                states[AccountKey(row.account_key)].lots[row.lot] = lot_of(row)
        return bool(refunds or missing_holds or missing_lots)

    def _load_prices(
        self, connection: Connection, operations: Sequence[Operation], states: States, now: datetime
    ) -> Iterable[_Window]:
        """The prices of what is used; returns the windows of which it has to be known what rate cards have counted."""
        counted: list[_Used] = []
        for op in operations:
            if isinstance(op, _TellsUsage) and op.usage is not None:
                state = states[op.key]
                if state.asset is not None:
                    state.prices = self.price_books.of(connection, state.asset)
                    if state.prices.counts:
                        counted.append((op, op.usage))
        return _counters(counted, operations, states, now) if counted else ()

    def _load_spending(self, connection: Connection, states: States, windows: Sequence[_Window]) -> bool:
        """What is counted in these windows; True if there are any."""
        if not windows:
            return False
        asked = as_rows(_window_row(place, *window) for place, window in enumerate(windows))
        for place, last_used, high, low, oldest in self._read.spending.read(connection, {"windows": asked})["spending"]:
            key, limit, since = windows[place]
            # A rolling window has no last entry that knows what is used now, so there it is added up.
            used = int(last_used or 0) if limit.length is None else whole(high or 0, low or 0)
            states[key].spending[limit.counted_as] = Spending(used=used, since=since, oldest=oldest)
        return True


class ReadAtOnce:
    """Several selects that are read as one statement with one row."""

    def __init__(self, database: Database, selects: Mapping[str, Select[Any]]) -> None:
        self._statement = database.prepared(select(*(database.gathered(one) for one in selects.values())))
        self._parts = {name: Gathered(one.selected_columns) for name, one in selects.items()}

    def read(self, connection: Connection, parameters: Mapping[str, str]) -> dict[str, list[list[Any]]]:
        """The rows of each select, by its name."""
        values = self._statement.run(connection, parameters).fetchone()
        return {name: part.rows(value) for (name, part), value in zip(self._parts.items(), values, strict=True)}


def _placed(keys: FromClause, columns: Iterable[ColumnElement[Any]]) -> list[ColumnElement[Any]]:
    """Columns of a table, with the account's place among those asked for instead of its key."""
    return [keys.c.place, *(one for one in columns if one.name != "account_key")]


def _asked(operations: Iterable[Operation], places: Mapping[AccountKey, int]) -> list[dict[str, str | int]]:
    return [
        {"account_key": op.key, "request_id": op.request_id, "place": places[op.key]}
        for op in operations
        if not isinstance(op, Settle)
    ]


def _windows(states: Mapping[AccountKey, State], now: datetime) -> Iterator[_Window]:
    """Those of every spend limit."""
    for key, state in states.items():
        if state.account is not None and (limits := state.account.terms.limits):
            zone, at = state.account.terms.time_zone, max(now, state.account.as_of)
            for limit in limits:
                yield key, limit, window_start(limit, zone, at)


def _counters(
    used: Iterable[_Used], operations: Iterable[Operation], states: States, now: datetime
) -> Iterator[_Window]:
    """Those of every rate card that has to be known how much it has counted to price some usage."""
    # A movement between accounts may take an account's time on to that of the other; and a change of the time zone may
    # come first.
    latest = max([now, *(state.account.as_of for state in states.values() if state.account is not None)])
    zones = [(op.key, op.time_zone) for op in operations if isinstance(op, UpdateAccount) and op.time_zone is not None]
    known: set[tuple[AccountKey, str]] = set()
    for op, usage in used:
        state = states[op.key]
        if state.account is None:
            continue
        at = max(now, state.account.as_of)
        hold = state.holds.get(op.hold) if isinstance(op, Capture) else None
        instants = {at, latest} if hold is None else {hold.placed_at}
        for tariff in (state.prices.find(usage, instant) for instant in instants):
            if isinstance(tariff, Unpriced):
                continue
            for zone in {state.account.terms.time_zone, *(zone for key, zone in zones if key == op.key)}:
                for counter in tariff.counters(zone).values():
                    if (op.key, counter.counted_as) not in known:
                        known.add((op.key, counter.counted_as))
                        yield op.key, counter, window_start(counter, zone, at)


def _window_row(place: int, key: AccountKey, limit: SpendLimit | Counter, since: datetime) -> dict[str, str | int]:
    return {
        "place": place,
        "account_key": key,
        "name": limit.counted_as,
        "since": instant_text(since),
        "rolling": int(limit.length is not None),
    }


def _assets_named(operations: Iterable[Operation]) -> set[tuple[str, str]]:
    """Tenant and asset of the accounts that are named; both accounts of a movement have the same."""
    return {(op.account.tenant, op.account.asset) for op in operations if isinstance(op, OfAccount)}


def _take_assets(states: States, operations: Iterable[Operation], known: Mapping[tuple[str, str], Asset]) -> None:
    """The assets of accounts that are not open, as far as those are defined."""
    for op in operations:
        if isinstance(op, OfAccount):
            name = op.account
            for key in op.keys:
                state = states[key]
                if state.asset is None:
                    state.asset = known.get((name.tenant, name.asset)) or _without_a_row(name.tenant, name.asset)


def _asset_of(
    name: AccountName,
    scale: int | None,
    policy: str | None,
    prices: int | None,
    known: dict[tuple[str, str], Asset | None],
) -> Asset | None:
    """The asset of an account that is open, of which there may be no row."""
    place = (name.tenant, name.asset)
    if place not in known:
        known[place] = _without_a_row(*place) if scale is None else asset_of((*place, scale, policy, prices))
    return known[place]


def _without_a_row(tenant: str, asset: str) -> Asset | None:
    """What an asset is of which there is no row; None if it is not defined."""
    return default_asset(tenant) if asset == DEFAULT_ASSET else None


def default_asset(tenant: str) -> Asset:
    """The asset that exists from the start."""
    return Asset(tenant=tenant, asset=DEFAULT_ASSET, scale=0)


def _places(places: Iterable[tuple[AccountKey, int]], number: str) -> str:
    return as_rows({"account_key": key, number: value} for key, value in places)


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
    """In each window, since it began: what was used after the last entry, all changes, the oldest."""
    asked = database.listed(
        "windows", _PLACE, spending.c.account_key, spending.c.name, Column("since", Instant), Column("rolling", Integer)
    )
    inside = (
        (spending.c.account_key == asked.c.account_key)
        & (spending.c.name == asked.c.name)
        & (spending.c.counts_at >= asked.c.since)
    )
    newest = (spending.c.counts_at.desc(), spending.c.seq.desc())
    used = select(spending.c.used).where(inside).order_by(*newest).limit(literal_column("1"))
    high, low = (select(half).where(inside, asked.c.rolling == _YES) for half in halves(spending.c.change))
    oldest = select(func.min(spending.c.counts_at)).where(inside, spending.c.change > literal_column("0"))
    return select(
        asked.c.place,
        used.correlate(asked).scalar_subquery().label("used"),
        high.correlate(asked).scalar_subquery().label("high"),
        low.correlate(asked).scalar_subquery().label("low"),
        oldest.correlate(asked).scalar_subquery().label("oldest"),
    ).select_from(asked)


def read_assets(connection: Connection, tenants: Collection[str]) -> dict[tuple[str, str], Asset]:
    """All assets of the tenants, the one that exists from the start included."""
    rows = connection.execute(select(assets).where(assets.c.tenant.in_(sorted(tenants)))).all()
    found = {(tenant, DEFAULT_ASSET): default_asset(tenant) for tenant in tenants}
    found.update({(row.tenant, row.asset): asset_of(row) for row in rows})
    return found


class EntryReader:
    """Makes entries of rows of `entries`, with their lines."""

    def __init__(self, database: Database) -> None:
        self._lines = database.matching(database.listed("wanted", lines.c.account_key, lines.c.seq), lines)

    def read(self, connection: Connection, rows: Sequence[Row[Any]]) -> list[Entry]:
        """One entry per row, in the same order."""
        found = self.with_lines(connection, rows)
        return [entry_of(row, tuple(line_of(line) for line in of_entry)) for row, of_entry in found]

    def with_lines(self, connection: Connection, rows: Sequence[Row[Any]]) -> list[tuple[Row[Any], list[Row[Any]]]]:
        """Each row, in the same order, and those of the entry's lines."""
        if not rows:
            return []
        wanted = as_rows({"account_key": row.account_key, "seq": row.seq} for row in rows)
        lines_of: dict[tuple[AccountKey, int], list[Row[Any]]] = defaultdict(list)
        found = connection.execute(self._lines, {"wanted": wanted}).all()
        for row in sorted(found, key=lambda row: row.n):
            lines_of[row.account_key, row.seq].append(row)
        return [(row, lines_of[row.account_key, row.seq]) for row in rows]
