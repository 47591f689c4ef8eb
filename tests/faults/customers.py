"""A few customers, and what is asked about their books in the end."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ledger import Accepted, AccountName, Entry, Ledger, Operation
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
    """Runs each call in a thread of its own; returns their results, in order."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result(PATIENCE_S) for future in [pool.submit(call) for call in calls]]


def available(ledger: Ledger, name: AccountName = ACME) -> int:
    return ledger.balances(name.tenant, name.account_id, name.asset).balances[0].available


def history(ledger: Ledger, name: AccountName = ACME) -> list[Entry]:
    """All entries of an account, oldest first."""
    page = ledger.history(name, 500)
    found = list(page.entries)
    while page.next_page_token:
        page = ledger.history(name, 500, page.next_page_token)
        found += page.entries
    return found[::-1]


def times_written(ledger: Ledger, operation: Operation, name: AccountName = ACME) -> int:
    """How many entries carry the operation's request_id."""
    return sum(entry.request_id == operation.request_id for entry in history(ledger, name))
