"""The books that are measured on: filled through the ledger, and compared with the answers in the end."""

from typing import Final

from benchmarks.load import account_id
from ledger import DEFAULT_ASSET, DEFAULT_TENANT, AccountName, Code, Grant, Ledger, OpenAccount, Refused, Source

# Never runs out.
GRANTED: Final = 10**12
AT_ONCE: Final = 1_000


def fill(database_url: str, accounts: int) -> None:
    """Open the accounts that the load draws from, with credits in each."""
    with Ledger(database_url) as ledger:
        for first in range(0, accounts, AT_ONCE):
            waiting = []
            for number in range(first, min(first + AT_ONCE, accounts)):
                account = AccountName(tenant=DEFAULT_TENANT, account_id=account_id(number), asset=DEFAULT_ASSET)
                grant = Grant(request_id="grant", account=account, amount=GRANTED, source=Source.PURCHASE)
                waiting += [ledger.queue(OpenAccount(request_id="open", account=account)), ledger.queue(grant)]
            refused = [answer.result() for answer in waiting if isinstance(answer.result(), Refused)]
            assert not refused, refused


def spent(database_url: str) -> int:
    """How many credits have been deducted: as many as calls were answered, because each takes one."""
    with Ledger(database_url) as ledger:
        found = ledger.trial_balance(DEFAULT_TENANT, DEFAULT_ASSET).assets[0]
        return next(row.credits for row in found.rows if row.code is Code.REVENUE)
