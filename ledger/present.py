"""An account as it stands since its last entry: what is kept, with what has lapsed since counted."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, FromClause, Row, select

from ledger.draft import Draft
from ledger.ids import AccountKey
from ledger.model import Account, Entry, Hold, HoldState, Lot
from ledger.outcome import State
from ledger.rows import hold_of, lot_of
from ledger.tables import holds, lots

# What one page may look at to find what it was asked for, so that no read takes for ever.
LOOKED_AT_MAX: Final = 10_000

Condition = Callable[[FromClause], ColumnElement[bool]]


class Present:
    """Not before the account's last entry.

    at   the instant that is asked about
    """

    def __init__(self, connection: Connection, account: Account, state: State, at: datetime) -> None:
        self._connection = connection
        self._draft = Draft(state, account, at, recorded=False)
        self._key = account.name.key
        self.kept_lots = tuple(state.lots.values())
        self.account = account
        self.scale = state.scale
        self.at = self._draft.at
        self.available, self.pending = self._draft.spendable, self._draft.pending
        self.held, self.owed = self._draft.account.held, self._draft.account.owed

    @property
    def draft(self) -> Draft:
        """What the next change of the account would begin with."""
        return self._draft

    @property
    def unwritten(self) -> list[Entry]:
        """The lapses that the next change of the account will write first."""
        return self._draft.entries

    def open_lots(self) -> list[Lot]:
        """The lots that have anything in them."""
        return [lot for lot in self._draft.open_lots() if lot.is_open]

    def lots_below(self, below: int, limit: int) -> list[Lot]:
        """Lots with smaller numbers, largest first, empty ones too."""
        wanted = select(lots).where(lots.c.account_key == self._key, lots.c.lot < below)
        rows = self._connection.execute(wanted.order_by(lots.c.lot.desc()).limit(limit))
        return [self._draft.lots.get(row.lot) or lot_of(row) for row in rows]

    def holds_below(self, below: int, limit: int, state: HoldState | None) -> tuple[list[Hold], int | None]:
        """Holds with smaller numbers, largest first.

        returns   also down to which number was looked, if that was not all the way
        """
        changed = self._draft.holds
        if state is HoldState.OPEN:
            # All of them are there, because settling wants them.
            found = sorted(self._draft.open_holds(), key=lambda hold: -hold.number)
            return [hold for hold in found if hold.number < below][:limit], None
        if state is None:
            rows, looked_to = newest_holds(self._connection, self._key, below, limit, None)
            return [changed.get(row.hold) or hold_of(row) for row in rows], looked_to
        rows, looked_to = newest_holds(
            self._connection, self._key, below, limit, lambda window: window.c.state == state.value
        )
        found = [hold_of(row) for row in rows]
        found += [hold for hold in changed.values() if hold.state is state and (looked_to or 0) <= hold.number < below]
        return sorted(found, key=lambda hold: -hold.number)[:limit], looked_to


def newest_holds(
    connection: Connection, key: AccountKey, below: int, limit: int, condition: Condition | None
) -> tuple[list[Row[Any]], int | None]:
    """Rows of holds with smaller numbers, largest first, that meet a condition for which there is no index.

    returns   also down to which number was looked, if that was not all the way
    """
    newest = select(holds).where(holds.c.account_key == key, holds.c.hold < below).order_by(holds.c.hold.desc())
    if condition is None:
        return list(connection.execute(newest.limit(limit))), None
    window = newest.limit(LOOKED_AT_MAX).subquery("looked_at")
    wanted = select(window).where(condition(window)).order_by(window.c.hold.desc()).limit(limit)
    rows = list(connection.execute(wanted))
    if len(rows) == limit:
        return rows, None
    last = newest.with_only_columns(holds.c.hold).offset(LOOKED_AT_MAX - 1).limit(1)
    return rows, connection.execute(last).scalar()
