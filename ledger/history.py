"""Lists of an account's entries."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, select, tuple_

from ledger.fields import (
    REFERENCE_LENGTH_MAX,
    bad_instant,
    bad_number,
    bad_operation,
    bad_text,
    check,
)
from ledger.loading import EntryReader
from ledger.model import INT64_MAX, Account, AccountName, Entry, EntryKind
from ledger.past import HOLD_PLACE, LOT_PLACE, REFERENCE_PLACE, Place, in_place, last_before
from ledger.present import LOOKED_AT_MAX
from ledger.rows import entry_of
from ledger.tables import entries


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryFilter:
    """Which entries are listed, and how; an entry must be all that is asked for. A malformed one cannot be made.

    kinds           empty: all
    since           the first instant at which it may have taken effect; None: any
    until           the first instant at which it may not have; None: any
    reference       of its memo; empty: any
    operation       empty: any
    lot             the number of a lot that one of its lines concerns; None: any
    hold            the number of the hold that it made, changed or ended; None: any
    without_lines   the entries come without lines
    """

    kinds: frozenset[EntryKind] = frozenset()
    since: datetime | None = None
    until: datetime | None = None
    reference: str = ""
    operation: str = ""
    lot: int | None = None
    hold: int | None = None
    oldest_first: bool = False
    without_lines: bool = False

    def __post_init__(self) -> None:
        check(
            bad_instant("since", self.since),
            bad_instant("until", self.until),
            bad_text("reference", self.reference, REFERENCE_LENGTH_MAX),
            bad_operation("operation", self.operation),
            None if self.lot is None else bad_number("lot", self.lot, 1, INT64_MAX),
            None if self.hold is None else bad_number("hold", self.hold, 1, INT64_MAX),
        )

    def has(self, entry: Entry) -> bool:
        """True if the entry is to be listed."""
        return (
            (not self.kinds or entry.kind in self.kinds)
            and (self.since is None or self.since <= entry.effective_at)
            and (self.until is None or entry.effective_at < self.until)
            and (not self.reference or entry.memo.reference == self.reference)
            and (not self.operation or entry.operation == self.operation)
            and (self.lot is None or any(line.lot == self.lot for line in entry.lines))
            and (self.hold is None or entry.hold == self.hold)
        )

    def texts(self) -> tuple[str, ...]:
        """What a page token is bound to."""
        return (
            " ".join(sorted(self.kinds)),
            "" if self.since is None else self.since.astimezone(UTC).isoformat(),
            "" if self.until is None else self.until.astimezone(UTC).isoformat(),
            self.reference,
            self.operation,
            str(self.lot),
            str(self.hold),
            str(self.oldest_first),
        )


EVERYTHING: Final = HistoryFilter()


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some entries of an account.

    next_page_token   for the page after this one; empty on the last. A page may have fewer entries than were asked for,
                      even none, where many had to be passed over to find them
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
class Found:
    """Some entries in the order asked for.

    next_from   the number of the entry after which, or ahead of which, the next page begins; None: there is none
    """

    entries: tuple[Entry, ...]
    next_from: int | None


def _places(wanted: HistoryFilter) -> tuple[tuple[Place, str | int | None], ...]:
    """What a filter asks for that there is an index of."""
    return (LOT_PLACE, wanted.lot), (HOLD_PLACE, wanted.hold), (REFERENCE_PLACE, wanted.reference)


class Lister:
    """Finds the entries of one account that a filter asks for.

    unwritten   the lapses that come after its last entry
    """

    def __init__(
        self, connection: Connection, reader: EntryReader, account: Account, unwritten: Sequence[Entry]
    ) -> None:
        self._connection, self._reader, self._account = connection, reader, account
        self._unwritten = unwritten

    def page(self, wanted: HistoryFilter, size: int, begin: int | None) -> Found:
        """The entries after the one of a number, or ahead of it if the newest come first.

        begin   None: from the end that comes first
        """
        sign = 1 if wanted.oldest_first else -1
        start = begin if begin is not None else (0 if wanted.oldest_first else INT64_MAX)
        unwritten = [entry for entry in self._unwritten if wanted.has(entry) and sign * (entry.seq - start) > 0]
        if wanted.oldest_first:
            found, looked_to = self._written(wanted, start, size + 1)
            if looked_to is None:
                found += unwritten
        else:
            found, looked_to = unwritten[::-1], None
            if len(found) <= size:
                older, looked_to = self._written(wanted, start, size + 1 - len(found))
                found += older
        if len(found) > size:
            return Found(entries=_shown(found[:size], wanted), next_from=found[size - 1].seq)
        return Found(entries=_shown(found, wanted), next_from=looked_to)

    def _written(self, wanted: HistoryFilter, start: int, limit: int) -> tuple[list[Entry], int | None]:
        """Written entries; also the number up to which was looked, if that was not all the way."""
        low, high = self._range(wanted, start)
        conditions = [entries.c.account_key == self._account.name.key]
        if wanted.kinds:
            conditions.append(entries.c.kind.in_(sorted(kind.value for kind in wanted.kinds)))
        if wanted.operation:
            conditions.append(entries.c.operation == wanted.operation)
        indexed = [(place, value) for place, value in _places(wanted) if value]
        only_one = len(indexed) + len(conditions) == 2  # noqa: PLR2004 -- the account, and one other
        edges, at_most = [], limit if only_one else LOOKED_AT_MAX
        for place, value in indexed:
            numbers = self._numbers(place, value, low, high, at_most, oldest_first=wanted.oldest_first)
            conditions.append(entries.c.seq.in_(numbers))
            edges += numbers[at_most - 1 :]
        if not indexed and len(conditions) > 1 and high - low > LOOKED_AT_MAX:
            # No index has these, so a bounded stretch of the entries is looked through.
            edges.append(low + LOOKED_AT_MAX if wanted.oldest_first else high - LOOKED_AT_MAX + 1)
        looked_to = (min if wanted.oldest_first else max)(edges, default=None)
        if looked_to is not None:
            low, high = (low, looked_to) if wanted.oldest_first else (looked_to - 1, high)
        query = select(entries).where(*conditions, entries.c.seq > low, entries.c.seq <= high)
        order = entries.c.seq if wanted.oldest_first else entries.c.seq.desc()
        found = self._read(self._connection.execute(query.order_by(order).limit(limit)).all(), wanted)
        return found, None if len(found) == limit else looked_to

    def _range(self, wanted: HistoryFilter, start: int) -> tuple[int, int]:
        """The numbers between which entries are looked for; the first is not among them, the second is."""
        low = 0 if wanted.since is None else last_before(self._connection, self._account, wanted.since)
        high = self._account.seq
        if wanted.until is not None:
            high = last_before(self._connection, self._account, wanted.until)
        return (max(low, start), high) if wanted.oldest_first else (low, min(high, start - 1))

    def _numbers(
        self, place: Place, value: str | int, low: int, high: int, limit: int, *, oldest_first: bool
    ) -> list[int]:
        """The numbers of the entries that have a value, as an index has them."""
        key = self._account.name.key
        wanted = select(*place).distinct().where(place[1].is_not(None))
        wanted = wanted.where(tuple_(*place) > in_place(key, value, low), tuple_(*place) <= in_place(key, value, high))
        order = place if oldest_first else [column.desc() for column in place]
        return [row.seq for row in self._connection.execute(wanted.order_by(*order).limit(limit))]

    def _read(self, rows: Sequence[Row[Any]], wanted: HistoryFilter) -> list[Entry]:
        if wanted.without_lines:
            return [entry_of(row, ()) for row in rows]
        return self._reader.read(self._connection, rows)


def _shown(found: Sequence[Entry], wanted: HistoryFilter) -> tuple[Entry, ...]:
    if not wanted.without_lines:
        return tuple(found)
    return tuple(replace(entry, lines=()) for entry in found)
