"""The books that are measured on: of any size from the start, and compared with the answers in the end."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.bulk import Engine, Pattern, open_engine, write_accounts, write_plain
from ledger import DEFAULT_ASSET, DEFAULT_TENANT, AccountName, Code, Ledger, migrate_database
from ledger.ids import AccountKey
from ledger.tables import totals, writers
from server.load import account_id


def fill(
    database_url: str,
    accounts: int,
    *,
    deductions: int = 0,
    longest: int = 0,
    key_of: Callable[[AccountName], AccountKey] = lambda name: name.key,
) -> None:
    """Write the accounts that the load draws from, with credits in each, into a database that is empty.

    deductions   in each account, beside the entries that open it and grant to it
    longest      in the first account, if that is more
    """
    migrate_database(database_url)
    names = [
        AccountName(tenant=DEFAULT_TENANT, account_id=account_id(number), asset=DEFAULT_ASSET)
        for number in range(accounts)
    ]
    keyed = [(name, key_of(name)) for name in names]
    patterns = {deductions: keyed}
    if longest > deductions:
        patterns = {longest: keyed[:1], deductions: keyed[1:]}
    with open_engine(database_url) as engine:
        written = []
        for length, some in patterns.items():
            pattern = Pattern.of(length)
            write_accounts(engine, pattern, some)
            written.append((pattern, len(some)))
        _write_totals(engine, written)


def spent(database_url: str) -> int:
    """How many credits have ever been deducted."""
    with Ledger(database_url) as ledger:
        found = ledger.trial_balance(DEFAULT_TENANT, DEFAULT_ASSET).assets[0]
        return next((row.credits for row in found.rows if row.code is Code.REVENUE), 0)


def _write_totals(engine: Engine, written: list[tuple[Pattern, int]]) -> None:
    """As if the writer of the patterns had made all of the accounts."""
    sums: Counter[tuple[Any, str]] = Counter()
    rows: dict[Any, Mapping[str, Any]] = {}
    for pattern, count in written:
        for row in pattern.rows[totals]:
            place = tuple(row[column.name] for column in totals.primary_key)
            rows[place] = row
            sums.update({(place, side): count * row[side] for side in ("debits", "credits")})
    made = [{**row, "debits": sums[place, "debits"], "credits": sums[place, "credits"]} for place, row in rows.items()]
    write_plain(engine, totals, made)
    write_plain(engine, writers, written[0][0].rows[writers])
