"""Trial balances, now and at past instants, and the checkpoints that keep the past near."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import CompoundSelect, Connection, delete, func, insert, literal_column, select, union

from ledger.audit import Sums, TrialBalanceRow, add_lines, add_sums
from ledger.chart import Code
from ledger.database import CollisionError, Database
from ledger.draft import Draft
from ledger.ids import AccountKey
from ledger.loading import Loader, halves, whole
from ledger.model import AccountName, Asset, Entry
from ledger.operations import Settle
from ledger.tables import accounts, checkpoints, entries, holds, lines, lots, totals

# A checkpoint is made when no entry can come any more that took effect before it: not from a transaction that takes
# long, nor from another server whose clock is behind. The audit would tell.
LATE_MAX: Final = timedelta(minutes=2)
# How far back checkpoints are dropped when the clock has stepped back; it may have done so a while ago.
_DOUBTFUL_FOR: Final = timedelta(days=1)
_ACCOUNTS_PER_READ: Final = 500
# Of a row that says that checkpoints were made at an instant; no tenant, asset or code has an empty name.
_MADE: Final = ""

Place = tuple[str, str]
Books = dict[Place, Sums]


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetTrialBalance:
    """The trial balance of one asset, a row per code in the order of the chart."""

    asset: Asset
    rows: tuple[TrialBalanceRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialBalance:
    """The trial balance of a tenant."""

    assets: tuple[AssetTrialBalance, ...]
    as_of: datetime


class TrialBalances:
    """Adds up what was debited and credited, by tenant and asset. None for a tenant means all of them."""

    def __init__(self, database: Database, loader: Loader) -> None:
        self._database = database
        self._loader = loader
        # Up to when checkpoints are known to have been made, so that nobody need look.
        self._made_until: datetime | None = None

    def now(self, connection: Connection, now: datetime, tenant: str) -> Books:
        """Everything up to now, what has lapsed and is not written yet included."""
        books = read_totals(connection, tenant)
        for name, entry in self.unwritten(connection, now, tenant):
            add_lines(books[name.tenant, name.asset], entry.lines)
        return books

    def at(self, connection: Connection, at: datetime, tenant: str) -> Books:
        """Everything up to a past instant: the last checkpoint before it, and what took effect since."""
        made_at = _made_at(connection, at)
        books: Books = defaultdict(dict)
        if made_at is not None:
            books |= _kept(connection, read_totals(connection, tenant), made_at)
        for place, moved in _moved(connection, made_at, at, tenant).items():
            add_sums(books[place], moved)
        for name, entry in self.unwritten(connection, at, tenant):
            # What lapsed before the checkpoint is in it, whether it was written or not.
            if made_at is None or entry.effective_at > made_at:
                add_lines(books[name.tenant, name.asset], entry.lines)
        return books

    def make_checkpoints(self, clock: Callable[[], datetime]) -> bool:
        """Keeps what the books were at the last full hour, if they have changed; to be called every few minutes.

        At most one an hour, so that a trial balance of the past adds up no more than an hour of entries, and a year has
        8,760 of them at most; of an asset in which nothing has happened since its last one, none is kept.

        returns   True if it has
        raises    DatabaseUnavailableError
        """
        with self._database.read() as connection:
            now = clock()
            at = (now - LATE_MAX).replace(minute=0, second=0, microsecond=0)
            if self._made_until is not None and at <= self._made_until <= now:
                return False
            made_at = _made_at(connection, None)
            # What may come before checkpoints if the clock has stepped back makes them wrong, so they are made again.
            doubtful = made_at is not None and made_at > now
            rows = self._changed(connection, at, made_at) if made_at is None or made_at < at else []
        if doubtful:
            with self._database.write() as connection:
                connection.execute(delete(checkpoints).where(checkpoints.c.at > now - _DOUBTFUL_FOR))
                connection.commit()
        elif rows:
            marker = {"tenant": _MADE, "asset": _MADE, "at": at, "code": _MADE, "debits": 0, "credits": 0}
            try:
                with self._database.write() as connection:
                    connection.execute(insert(checkpoints), [*rows, marker])
                    connection.commit()
            except CollisionError:
                # Another server has made the same ones at this moment.
                rows = []
        self._made_until = at
        return bool(rows)

    def _changed(self, connection: Connection, at: datetime, made_at: datetime | None) -> list[dict[str, Any]]:
        """The rows of the checkpoints of an instant: of the assets in which something happened since the last ones.

        They are the sums that are kept now less what took effect since, which is not much if they are made in time.
        """
        books = read_totals(connection, None)
        before = {} if made_at is None else _kept(connection, books, made_at)
        for place, moved in _moved(connection, at, None, None).items():
            add_sums(books[place], {code: (-debits, -credits_) for code, (debits, credits_) in moved.items()})
        for name, entry in self.unwritten(connection, at, None):
            add_lines(books[name.tenant, name.asset], entry.lines)
        return [
            {"tenant": tenant, "asset": asset, "at": at, "code": code.value, "debits": debits, "credits": credits_}
            for (tenant, asset), sums in sorted(books.items())
            if _nonzero(sums) != before.get((tenant, asset), {})
            for code, (debits, credits_) in _nonzero(sums).items()
        ]

    def unwritten(
        self, connection: Connection, at: datetime, tenant: str | None
    ) -> Iterator[tuple[AccountName, Entry]]:
        """What had lapsed up to an instant and is not written yet."""
        for draft in self.unwritten_drafts(connection, at, tenant):
            for entry in draft.entries:
                yield draft.account.name, entry

    def unwritten_drafts(self, connection: Connection, at: datetime, tenant: str | None) -> Iterator[Draft]:
        """The same, as the drafts of the accounts."""
        due = overdue_accounts(at).subquery("due")
        wanted = select(accounts.c.account_key).where(accounts.c.account_key.in_(select(due.c.account_key)))
        if tenant is not None:
            # Not the column itself, or SQLite goes through all accounts of the tenant instead of those that are due.
            wanted = wanted.where(accounts.c.tenant.concat(literal_column("''")) == tenant)
        keys = [AccountKey(key) for key in connection.execute(wanted.order_by(accounts.c.account_key)).scalars()]
        for start in range(0, len(keys), _ACCOUNTS_PER_READ):
            settled = [Settle(key=key) for key in keys[start : start + _ACCOUNTS_PER_READ]]
            states, _ = self._loader.load(connection, settled, lambda: at)
            for state in states.values():
                if state.account is not None:
                    yield Draft(state, state.account, at, recorded=False)


def checkpoint_books(connection: Connection, tenant: str) -> dict[tuple[str, datetime], Sums]:
    """All checkpoints of a tenant, by asset and instant."""
    found: dict[tuple[str, datetime], Sums] = defaultdict(dict)
    for row in connection.execute(select(checkpoints).where(checkpoints.c.tenant == tenant)):
        found[row.asset, row.at][Code(row.code)] = (row.debits, row.credits)
    return found


def overdue_accounts(now: datetime) -> CompoundSelect[Any]:
    """Keys of the accounts in which something has lapsed that is not written yet.

    A lot that is drawn wholly by holds that honour it has nothing to write until they end.
    """
    lapsed_lots = select(lots.c.account_key).where(lots.c.open == 1, lots.c.expires_at <= now, lots.c.remaining > 0)
    lapsed_holds = select(holds.c.account_key).where(holds.c.open == 1, holds.c.due_at <= now)
    return union(lapsed_lots, lapsed_holds)


def read_totals(connection: Connection, tenant: str | None) -> Books:
    """All that was ever written, of all writers; what is not there has no sums."""
    wanted = select(totals) if tenant is None else select(totals).where(totals.c.tenant == tenant)
    books: Books = defaultdict(dict)
    for row in connection.execute(wanted):
        add_sums(books[row.tenant, row.asset], {Code(row.code): (row.debits, row.credits)})
    return books


def _nonzero(sums: Sums) -> Sums:
    return {code: both for code, both in sums.items() if any(both)}


def _made_at(connection: Connection, until: datetime | None) -> datetime | None:
    """When checkpoints were made last, up to an instant."""
    marked = select(checkpoints.c.at).where(checkpoints.c.tenant == _MADE, checkpoints.c.asset == _MADE)
    if until is not None:
        marked = marked.where(checkpoints.c.at <= until)
    return connection.execute(marked.order_by(checkpoints.c.at.desc()).limit(1)).scalar()


def _kept(connection: Connection, places: Iterable[Place], made_at: datetime) -> Books:
    """The last checkpoint of each asset, up to an instant; nothing happened in the asset from then to that instant."""
    books: Books = {}
    for tenant, asset in places:
        mine = (checkpoints.c.tenant == tenant) & (checkpoints.c.asset == asset)
        last = select(func.max(checkpoints.c.at)).where(mine, checkpoints.c.at <= made_at).scalar_subquery()
        rows = connection.execute(select(checkpoints).where(mine, checkpoints.c.at == last)).all()
        if rows:
            books[tenant, asset] = {Code(row.code): (row.debits, row.credits) for row in rows}
    return books


def _moved(connection: Connection, after: datetime | None, until: datetime | None, tenant: str | None) -> Books:
    """What took effect after one instant and up to another."""
    wanted = (
        select(accounts.c.tenant, accounts.c.asset, lines.c.debit, lines.c.credit, *halves(lines.c.amount))
        .join(entries, entries.c.account_key == accounts.c.account_key)
        .join(lines, (lines.c.account_key == entries.c.account_key) & (lines.c.seq == entries.c.seq))
        .group_by(accounts.c.tenant, accounts.c.asset, lines.c.debit, lines.c.credit)
    )
    if after is not None:
        wanted = wanted.where(entries.c.effective_at > after)
    if until is not None:
        wanted = wanted.where(entries.c.effective_at <= until)
    if tenant is not None:
        wanted = wanted.where(accounts.c.tenant == tenant)
    books: Books = defaultdict(dict)
    for row in connection.execute(wanted):
        amount = whole(row.high, row.low)
        add_sums(books[row.tenant, row.asset], {Code(row.debit): (amount, 0)})
        add_sums(books[row.tenant, row.asset], {Code(row.credit): (0, amount)})
    return books
