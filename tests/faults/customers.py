"""A few customers, what they ask at the same moment, and what is asked about their books in the end."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import Row, Select, select

from ledger import Accepted, AccountName, Batch, Entry, Ledger, Operation, Refused, Request
from ledger.database import Database
from ledger.tables import entries
from tests.books import ACME, granting, opening

PATIENCE_S = 30

NOBODY = AccountName(tenant="default", account_id="nobody", asset="credits")


def customers(how_many: int) -> list[AccountName]:
    return [AccountName(tenant="default", account_id=f"customer-{n}", asset="credits") for n in range(how_many)]


def open_accounts(ledger: Ledger, *names: AccountName, credits_each: int) -> None:
    """Opens accounts and grants each the same."""
    asked = [opening(name) for name in names] + [granting(credits_each, name) for name in names]
    outcomes = [future.result(PATIENCE_S) for future in [ledger.queue(operation) for operation in asked]]
    assert all(isinstance(outcome, Accepted) for outcome in outcomes)


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Runs each call in a thread of its own, all let go together; returns their results, in order."""
    go = threading.Event()

    def run(call: Callable[[], Any]) -> Any:
        assert go.wait(PATIENCE_S)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        results = [pool.submit(run, call) for call in calls]
        go.set()
        return [result.result(PATIENCE_S) for result in results]


def ask_all(servers: Sequence[Ledger], operations: Iterable[Operation]) -> list[Any]:
    """Asks servers in turn, without waiting for an answer; returns the outcomes, in order."""
    answers = [servers[n % len(servers)].queue(operation) for n, operation in enumerate(operations)]
    return [answer.result(PATIENCE_S) for answer in answers]


def kinds(outcomes: Iterable[Accepted | Refused]) -> Counter[str]:
    """How many were accepted, and how many refused for which reason."""
    return Counter("accepted" if isinstance(outcome, Accepted) else outcome.reason for outcome in outcomes)


def available(ledger: Ledger, name: AccountName = ACME) -> int:
    return ledger.balances(name.tenant, name.account_id, name.asset).balances[0].available


def history(ledger: Ledger, name: AccountName = ACME) -> list[Entry]:
    """All entries of an account, oldest first; none of one that is not open."""
    page = ledger.history(name, 500)
    if isinstance(page, Refused):
        return []
    found = list(page.entries)
    while page.next_page_token:
        page = ledger.history(name, 500, page.next_page_token)
        found += page.entries
    return found[::-1]


def operations_of(work: Iterable[Request | Batch]) -> list[Request]:
    """Each operation, those of batches too."""
    return [operation for one in work for operation in (one.operations if isinstance(one, Batch) else (one,))]


def times_written(ledger: Ledger, operation: Request) -> int:
    """How many entries carry the operation's request_id."""
    return each_times_written(ledger, [operation])[0]


def each_times_written(ledger: Ledger, operations: Iterable[Request]) -> list[int]:
    """How many entries carry each operation's request_id."""
    asked = [(operation.key, operation.request_id) for operation in operations]
    named = entries.c.request_id.in_([request_id for _, request_id in asked])
    written = Counter(map(tuple, stored(str(ledger), select(entries.c.account_key, entries.c.request_id).where(named))))
    return [written[place] for place in asked]


def one_sided(url: str) -> list[Row[Any]]:
    """The entries that name one on another account that is not there."""
    other = entries.alias()
    there = select(other.c.seq).where(
        other.c.account_key == entries.c.peer_key,
        other.c.seq == entries.c.peer_seq,
        other.c.peer_key == entries.c.account_key,
        other.c.peer_seq == entries.c.seq,
    )
    return stored(url, select(entries).where(entries.c.peer_key.is_not(None), ~there.exists()))


def stored(url: str, rows: Select[Any]) -> list[Row[Any]]:
    """Rows as they are in the database."""
    database = Database(url, readers=1)
    try:
        with database.read() as connection:
            return list(connection.execute(rows))
    finally:
        database.close()
