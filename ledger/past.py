"""An account as it stood at an instant before its last entry: from what its entries and lines say they left.

Nothing is folded from the beginning. The last entry at or before the instant is found by halving the entry numbers; its
running balances are the account's. Each line says what it left in its lot, so the last line of a lot up to that entry
is what was in it. What had lapsed by the instant was written by then, or later with an `effective_at` no later than it.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    ScalarSelect,
    String,
    Tuple,
    bindparam,
    case,
    cast,
    literal,
    literal_column,
    or_,
    select,
    tuple_,
)

from ledger.chart import Code
from ledger.database import Database, as_rows
from ledger.folding import hold_after, hold_made
from ledger.ids import AccountKey
from ledger.loading import EntryReader
from ledger.model import Account, Entry, Hold, HoldState, Lot
from ledger.present import newest_holds
from ledger.rows import entry_of, hold_of, lot_of
from ledger.tables import Key, entries, lines, lots

_LOTS_PER_READ: Final = 200
_LEFT: Final = (lines.c.lot_remaining, lines.c.lot_held, lines.c.lot_spent, lines.c.lot_reclaimed)

# The orders of some indexes. Asked for by all three columns at once, rows are found by that index and no other. Asked
# for by the first two, in order of the entries, both engines may look through all that the account has instead.
Place = tuple[Column[Any], Column[Any], Column[Any]]
LOT_PLACE: Final[Place] = (lines.c.account_key, lines.c.lot, lines.c.seq)
HOLD_PLACE: Final[Place] = (entries.c.account_key, entries.c.hold, entries.c.seq)
REFERENCE_PLACE: Final[Place] = (entries.c.account_key, entries.c.reference, entries.c.seq)

_EFFECTIVE_AT: Final = select(entries.c.effective_at).where(
    entries.c.account_key == bindparam("key"), entries.c.seq == bindparam("seq")
)


def last_until(connection: Connection, account: Account, at: datetime) -> int:
    """The number of the account's last entry at or before an instant; 0 if there is none."""
    return bisect_right(range(1, account.seq + 1), at, key=lambda seq: _effective_at(connection, account, seq))


def last_before(connection: Connection, account: Account, at: datetime) -> int:
    """The number of the account's last entry before an instant; 0 if there is none."""
    return bisect_left(range(1, account.seq + 1), at, key=lambda seq: _effective_at(connection, account, seq))


def _effective_at(connection: Connection, account: Account, seq: int) -> datetime:
    # It never goes back along the numbers, so that they can be halved by it: about 20 look-ups among a million.
    found: datetime = connection.execute(_EFFECTIVE_AT, {"key": account.name.key, "seq": seq}).scalar_one()
    return found


class PastReader:
    """Finds how accounts stood."""

    def __init__(self, database: Database) -> None:
        self.entries = EntryReader(database)
        of_hold = database.listed("named", entries.c.account_key, entries.c.hold)
        found = database.matching(of_hold, entries, entries.c.hold.is_not(None))
        # Nothing but what the index of holds has, lest SQLite look through all that the account has.
        self._of_holds = found.with_only_columns(found.selected_columns.account_key, found.selected_columns.seq)
        numbered = database.listed("numbered", entries.c.account_key, entries.c.seq)
        self._numbered = database.matching(numbered, entries)

    def at(self, connection: Connection, account: Account, scale: int, at: datetime) -> "Past | None":
        """How the account stood at an instant before its last entry; None if it was not open yet."""
        seq = last_until(connection, account, at)
        return None if seq == 0 else self.after(connection, account, scale, seq, at)

    def after(self, connection: Connection, account: Account, scale: int, seq: int, at: datetime) -> "Past":
        """How the account stood after one of its entries, at that entry's instant or later, but before the next one."""
        return Past(self, connection, account, scale=scale, seq=seq, at=at)

    def entries_of(self, connection: Connection, key: AccountKey, numbers: Iterable[int], until: int) -> list[Entry]:
        """The entries that made, changed or ended these holds, in order, up to one of them."""
        named = as_rows({"account_key": key, "hold": number} for number in numbers)
        places = connection.execute(self._of_holds, {"named": named})
        numbered = as_rows({"account_key": row.account_key, "seq": row.seq} for row in places if row.seq <= until)
        rows = connection.execute(self._numbered, {"numbered": numbered}).all()
        return self.entries.read(connection, sorted(rows, key=lambda row: row.seq))


class Past:
    """Before the account's last entry.

    at   the instant that is asked about
    """

    def __init__(
        self, reader: PastReader, connection: Connection, account: Account, *, scale: int, seq: int, at: datetime
    ) -> None:
        self._reader, self._connection, self._key, self._seq = reader, connection, account.name.key, seq
        wanted = select(entries).where(entries.c.account_key == self._key, entries.c.seq == seq)
        self._entry = entry_of(connection.execute(wanted).one(), ())
        self.account = account
        self.scale = scale
        self.at = at
        self.held, self.owed = self._entry.held, self._entry.owed

    @property
    def available(self) -> int:
        """Spendable then, smallest units."""
        return self._entry.available - self.pending

    @cached_property
    def pending(self) -> int:
        """Granted, but not effective yet, smallest units."""
        if self._entry.pending == 0:
            return 0
        later = (lots.c.lot <= self._last_lot, lots.c.effective_at > self.at)
        wanted = select(_left(self._key, self._seq, lines.c.lot_remaining)).where(
            lots.c.account_key == self._key, *later
        )
        return sum(self._connection.execute(wanted).scalars())

    @cached_property
    def _last_lot(self) -> int:
        """The number of the last lot that had been made; lots are numbered in the order of the entries."""
        numbers = range(1, self.account.lots + 1)
        return bisect_right(numbers, self._seq, key=lambda number: self._made_by([number])[number])

    def open_lots(self) -> list[Lot]:
        """The lots that had anything in them. Looks back from the newest until all that the account had is found."""
        found: list[int] = []
        remaining, held, top = self._entry.available, self._entry.held, self._last_lot
        while (remaining or held) and top > 0:
            numbers = (lots.c.lot <= top, lots.c.lot > top - _LOTS_PER_READ)
            left = (_left(self._key, self._seq, lines.c.lot_remaining), _left(self._key, self._seq, lines.c.lot_held))
            for row in self._connection.execute(
                select(lots.c.lot, left[0].label("remaining"), left[1].label("held")).where(
                    lots.c.account_key == self._key, *numbers
                )
            ):
                remaining, held = remaining - row.remaining, held - row.held
                if row.remaining or row.held:
                    found.append(row.lot)
            top -= _LOTS_PER_READ
        return list(self.lots_of(found).values())

    def lots_below(self, below: int, limit: int) -> list[Lot]:
        """Lots with smaller numbers, largest first, empty ones too."""
        top = min(below - 1, self._last_lot)
        found = self.lots_of(range(max(top - limit, 0) + 1, top + 1))
        return [found[number] for number in sorted(found, reverse=True)]

    def lots_of(self, numbers: Iterable[int]) -> dict[int, Lot]:
        """Lots as they were, by their numbers; those that had not been made are not there.

        Where their cost is, is told as it is now: no line says where it left it.
        """
        wanted, found = sorted({number for number in numbers if number <= self._last_lot}), {}
        for start in range(0, len(wanted), _LOTS_PER_READ):
            some = wanted[start : start + _LOTS_PER_READ]
            of_lots = (lots.c.account_key == self._key, lots.c.lot.in_(some))
            left = (_left(self._key, self._seq, column).label(column.name) for column in _LEFT)
            rows = self._connection.execute(select(lots, *left).where(*of_lots)).all()
            expiries = self._expiries([lot_of(row) for row in rows])
            for row in rows:
                lot = lot_of(row)
                found[lot.number] = replace(
                    lot,
                    terms=replace(lot.terms, expires_at=expiries.get(lot.number, lot.terms.expires_at)),
                    remaining=row.lot_remaining,
                    held=row.lot_held,
                    spent=row.lot_spent,
                    reclaimed=row.lot_reclaimed,
                )
        return found

    def _made_by(self, numbers: Iterable[int]) -> dict[int, int]:
        """The numbers of the entries that made some lots, by the lots' numbers."""
        seq = (
            select(lines.c.seq)
            .where(lines.c.lot.is_not(None), tuple_(*LOT_PLACE) >= in_place(self._key, _EACH_LOT, 0))
            .order_by(*LOT_PLACE, lines.c.n)
            .limit(1)
            .correlate(lots)
            .scalar_subquery()
        )
        wanted = select(lots.c.lot, seq.label("seq"))
        wanted = wanted.where(lots.c.account_key == self._key, lots.c.lot.in_(numbers))
        return {row.lot: row.seq for row in self._connection.execute(wanted)}

    def _expiries(self, kept: Sequence[Lot]) -> dict[int, datetime | None]:
        """When lots ran out that can: a refund may have extended them since."""
        can_run_out = {lot.number: lot.terms.expires_at for lot in kept if lot.terms.expires_at is not None}
        made_by = sorted(set(self._made_by(can_run_out).values()))
        of_account = entries.c.account_key == self._key
        rows = self._connection.execute(select(entries).where(of_account, entries.c.seq.in_(made_by)))
        first = {made.number: made.terms.expires_at for row in rows for made in entry_of(row, ()).made}
        return {
            number: expires_at if expires_at == first[number] else self._extended(number, first[number])
            for number, expires_at in can_run_out.items()
        }

    def _extended(self, number: int, expires_at: datetime | None) -> datetime | None:
        """When a lot ran out, given when it was to run out at first."""
        of_lot = lots.join(lines, _lines_of_each_lot(self._key, self._seq))
        of_entry = (entries.c.account_key == lines.c.account_key) & (entries.c.seq == lines.c.seq)
        wanted = (
            select(entries.c.effective_at, entries.c.lots_expire_at)
            .select_from(of_lot.join(entries, of_entry))
            .where(lots.c.account_key == self._key, lots.c.lot == number, entries.c.lots_expire_at.is_not(None))
            .where(lines.c.debit == Code.REVENUE.value, lines.c.credit == Code.AVAILABLE.value)
            .order_by(entries.c.seq)
        )
        for row in self._connection.execute(wanted):
            if expires_at is not None and expires_at <= row.effective_at:
                expires_at = row.lots_expire_at
        return expires_at

    def holds_below(self, below: int, limit: int, state: HoldState | None) -> tuple[list[Hold], int | None]:
        """Holds with smaller numbers, largest first.

        returns   also down to which number was looked, if that was not all the way
        """
        rows, looked_to = newest_holds(
            self._connection,
            self._key,
            min(below, self._seq + 1),
            limit,
            None if state is None else lambda window: self._was(window.c.ended_at, window.c.state, state),
        )
        kept = [hold_of(row) for row in rows]
        was_open = self._as_they_were([hold for hold in kept if hold.ended_at is None or hold.ended_at > self.at])
        return [was_open.get(hold.number, hold) for hold in kept], looked_to

    def _was(self, ended_at: ColumnElement[Any], kept: ColumnElement[Any], state: HoldState) -> ColumnElement[bool]:
        if state is HoldState.OPEN:
            return or_(ended_at.is_(None), ended_at > self.at)
        return (kept == state.value) & (ended_at <= self.at)

    def _as_they_were(self, kept: Sequence[Hold]) -> dict[int, Hold]:
        """Holds that were open then, by their numbers, folded from their own entries, which are few."""
        if not kept:
            return {}
        of_holds = self._reader.entries_of(self._connection, self._key, (hold.number for hold in kept), self._seq)
        # What a hold has drawn and not lost yet cannot have been extended meanwhile, so that one look is enough.
        then = self.lots_of({line.lot for entry in of_holds for line in entry.lines if line.lot is not None})
        found: dict[int, Hold] = {}
        by_hold: dict[int, list[Entry]] = defaultdict(list)
        for entry in of_holds:
            if entry.hold is not None:
                by_hold[entry.hold].append(entry)
        for number, of_hold in by_hold.items():
            hold = hold_made(of_hold[0], then)
            for entry in of_hold[1:]:
                hold = hold_after(hold, entry, then)
            found[number] = hold
        return found


def in_place(key: AccountKey, value: str | int | ColumnElement[int], seq: int) -> Tuple:
    """What a place is compared with."""
    match value:
        case str():
            value = literal(value, String())
        case int():
            value = literal(value, BigInteger())
    return tuple_(literal(key, Key()), value, literal(seq, BigInteger()))


# As a sum, because SQLite compares three columns at once with values only.
_EACH_LOT: Final = lots.c.lot + literal_column("0")


def _lines_of_each_lot(key: AccountKey, until: int) -> ColumnElement[bool]:
    """That a line is of a row of `lots`, and of an entry up to one. Said twice, once for each engine.

    SQLite finds the lines by their place, and not by what is cast; PostgreSQL by the latter, for it sees no cast there.
    """
    place = tuple_(*LOT_PLACE)
    by_place = (place > in_place(key, _EACH_LOT, 0)) & (place <= in_place(key, _EACH_LOT, until))
    account_key, lot, seq = (cast(column, column.type) for column in LOT_PLACE)
    return lines.c.lot.is_not(None) & by_place & (account_key == key) & (lot == lots.c.lot) & (seq <= until)


def _left(key: AccountKey, seq: int, column: ColumnElement[int]) -> ScalarSelect[int]:
    """What the last line of a row of `lots` up to an entry has in a column."""
    same = (lines.c.account_key == key) & (lines.c.lot == lots.c.lot)
    return (
        select(case((same, column), else_=0))
        .where(lines.c.lot.is_not(None), tuple_(*LOT_PLACE) <= in_place(key, _EACH_LOT, seq))
        .order_by(*(part.desc() for part in (*LOT_PLACE, lines.c.n)))
        .limit(1)
        .correlate(lots)
        .scalar_subquery()
    )
