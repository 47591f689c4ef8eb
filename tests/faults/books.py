"""A few customers, what is done to them, and what must be true of their books in the end."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count

from ledger import (
    Accepted,
    AccountName,
    Deduct,
    Delivery,
    Entry,
    Grant,
    Ledger,
    OpenAccount,
    Operation,
    Source,
    deliver,
)

PATIENCE_S = 30

_numbers = count(1)


def request_id() -> str:
    """One that no test has used before."""
    return f"r-{next(_numbers)}"


def account(account_id: str, asset: str = "credits") -> AccountName:
    return AccountName(tenant="default", account_id=account_id, asset=asset)


ACME = account("acme")
NOBODY = account("nobody")


def open_accounts(ledger: Ledger, *names: AccountName, credits_each: int) -> None:
    """Opens accounts and grants each the same."""
    operations: list[Operation] = [OpenAccount(request_id=request_id(), account=name) for name in names]
    if credits_each:
        operations += [grant(name, credits_each) for name in names]
    outcomes = [future.result(PATIENCE_S) for future in [ledger.submit(operation) for operation in operations]]
    assert all(isinstance(outcome, Accepted) for outcome in outcomes)


def grant(name: AccountName, amount: int) -> Grant:
    return Grant(request_id=request_id(), account=name, amount=amount, source=Source.PROMO)


def deduct(name: AccountName, amount: int) -> Deduct:
    return Deduct(request_id=request_id(), account=name, amount=amount)


def at_once(*calls):
    """Runs each call in a thread of its own; their results, in order."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result(PATIENCE_S) for future in [pool.submit(call) for call in calls]]


def available(ledger: Ledger, name: AccountName = ACME) -> int:
    return ledger.balances(name.tenant, name.account_id, name.asset).balances[0].available


def history(ledger: Ledger, name: AccountName = ACME) -> list[Entry]:
    """All entries, oldest first."""
    found, token = [], ""
    while True:
        page = ledger.history(name, 500, token)
        found += page.entries
        token = page.next_page_token
        if not token:
            return found[::-1]


def times_written(ledger: Ledger, operation: Operation, name: AccountName = ACME) -> int:
    """How many entries carry the operation's request_id."""
    return sum(entry.request_id == operation.request_id for entry in history(ledger, name))


def assert_clean(ledger: Ledger) -> None:
    """The audit finds nothing wrong, and it has looked at something."""
    report = ledger.audit("default")
    assert report.findings == ()
    assert report.entries > 0


class Batches:
    """Sees each batch when it is answered; can hold the writer, so that what is submitted meanwhile is one batch.

    Hand `deliver` to a ledger as `deliver_all`.
    """

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self._held = threading.Event()
        self._go = threading.Event()
        self._go.set()

    def deliver(self, outcomes: Delivery) -> None:
        self.sizes.append(len(outcomes))
        self._held.set()
        assert self._go.wait(PATIENCE_S)
        deliver(outcomes)

    @contextmanager
    def hold(self, ledger: Ledger) -> Iterator[None]:
        """Keeps the writer of this ledger from taking anything new, by not letting it answer a refusal."""
        self._held.clear()
        self._go.clear()
        try:
            plug = ledger.submit(deduct(NOBODY, 1))
            assert self._held.wait(PATIENCE_S)
            self.sizes.clear()
            yield
        finally:
            self._go.set()
        plug.result(PATIENCE_S)

    def submit_as_one(self, ledger: Ledger, operations: Sequence[Operation]) -> list[Future]:
        """Submits the operations so that they share a batch."""
        with self.hold(ledger):
            return [ledger.submit(operation) for operation in operations]
