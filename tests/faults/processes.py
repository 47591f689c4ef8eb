"""Servers in processes of their own, to be killed."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.books import ACME

# Opens the books, writes one entry, says so, and goes on living.
_WRITE_AND_STAY = """
import sys, time
from ledger import AccountName, Ledger, OpenAccount, utc_now
ledger = Ledger(sys.argv[1])
ledger.open()
name = AccountName(tenant="default", account_id=sys.argv[2], asset="credits")
ledger.execute(OpenAccount(request_id=f"opening-{name.account_id}", account=name))
print("written", flush=True)
time.sleep(600)
"""


@contextmanager
def ledger_elsewhere(url: str, account_id: str = ACME.account_id) -> Iterator[subprocess.Popen[str]]:
    """Another process that has opened an account in these books and keeps them open; killed in the end."""
    command = [sys.executable, "-c", _WRITE_AND_STAY, url, account_id]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert "written\n" in process.stdout
            yield process
        finally:
            process.kill()
