"""What tests of the books have in common: a clock that is set, the audit of a whole database, and short requests."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import count

from sqlalchemy import Connection, inspect, select, text

from ledger import (
    DEFAULT_ASSET,
    DEFAULT_TENANT,
    AccountName,
    Capture,
    Deduct,
    Entry,
    Grant,
    Merge,
    OpenAccount,
    PlaceHold,
    Refund,
    Release,
    Source,
    Transfer,
)
from ledger.database import Database
from ledger.loading import Loader
from ledger.reports import Reports
from ledger.tables import accounts, metadata, totals

START = datetime(2026, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
ACME = AccountName(tenant=DEFAULT_TENANT, account_id="acme", asset=DEFAULT_ASSET)

_numbers = count(1)
# Written out, which costs more than to run them.
_EVERY_ROW = {table.name: str(select(table)) for table in metadata.sorted_tables}


class Clock:
    """Stands still until it is set."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


@contextmanager
def _reading(url: str) -> Iterator[tuple[Database, Connection]]:
    database = _database(url)
    try:
        with database.read() as connection:
            yield database, connection
    finally:
        database.close()


@lru_cache(maxsize=4)
def _database(url: str) -> Database:
    """Kept for what it has compiled: nearly all tests on PostgreSQL share one. Closed, it may be used again."""
    return Database(url, readers=1)


def audit_findings(url: str) -> list[str]:
    """What the audit says about every tenant's books, and trial balances that do not balance; nothing is well."""
    with _reading(url) as (database, connection):
        if not inspect(connection).has_table(accounts.name):
            return []
        tenants = set(connection.execute(select(accounts.c.tenant)).scalars())
        tenants |= set(connection.execute(select(totals.c.tenant)).scalars())
        clock = Clock(START)
        reports = Reports(database, Loader(database), clock)
        findings = [said for tenant in sorted(tenants) for said in reports.audit(tenant, None, None).findings]
        return findings or [said for tenant in sorted(tenants) for said in _unbalanced(reports, clock, tenant)]


def _unbalanced(reports: Reports, clock: Clock, tenant: str) -> Iterator[str]:
    """Now, and once everything has lapsed that ever will."""
    for clock.now in (START, datetime(8999, 1, 1, tzinfo=UTC)):
        for found in reports.trial_balance(tenant, None).assets:
            if sum(row.balance for row in found.rows) != 0:
                yield f"The trial balance of {found.asset.asset} does not balance."


def rows_of(url: str) -> dict[str, Counter[str]]:
    """Every row of every table, by table, to see whether anything was written."""
    with _reading(url) as (_, connection):
        return {
            name: Counter(repr(tuple(row)) for row in connection.exec_driver_sql(statement))
            for name, statement in _EVERY_ROW.items()
        }


def touch(url: str, statement: str) -> None:
    """Changes one row behind everybody's back."""
    database = Database(url, readers=1)
    with database.write() as connection:
        assert connection.execute(text(statement)).rowcount == 1
        connection.commit()
    database.close()


def request_id() -> str:
    """One that was not used before."""
    return f"r-{next(_numbers)}"


def opening(account: AccountName = ACME) -> OpenAccount:
    return OpenAccount(request_id=request_id(), account=account)


def granting(amount: int, account: AccountName = ACME, **terms: object) -> Grant:
    return Grant(request_id=request_id(), account=account, amount=amount, **{"source": Source.PROMO, **terms})


def deducting(amount: int, account: AccountName = ACME, **terms: object) -> Deduct:
    return Deduct(request_id=request_id(), account=account, amount=amount, **terms)


def holding(amount: int, account: AccountName = ACME, **terms: object) -> PlaceHold:
    return PlaceHold(request_id=request_id(), account=account, amount=amount, **terms)


def capturing(held: Entry, amount: int | None = None, **terms: object) -> Capture:
    """Of the hold that an entry made, in the books of the default tenant; so below."""
    named = {"tenant": DEFAULT_TENANT, "key": held.key, "hold": held.seq}
    return Capture(request_id=request_id(), **named, amount=amount, **terms)


def releasing(held: Entry) -> Release:
    return Release(request_id=request_id(), tenant=DEFAULT_TENANT, key=held.key, hold=held.seq)


def refunding(used: Entry, amount: int | None = None, **terms: object) -> Refund:
    named = {"tenant": DEFAULT_TENANT, "key": used.key, "entry": used.seq}
    return Refund(request_id=request_id(), **named, amount=amount, **terms)


def transferring(amount: int, account: AccountName, to: AccountName) -> Transfer:
    return Transfer(request_id=request_id(), account=account, to=to, amount=amount)


def merging(account: AccountName, into: AccountName) -> Merge:
    return Merge(request_id=request_id(), account=account, into=into)
