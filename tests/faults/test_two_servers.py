"""Two servers of one database, one of them with workers, asked for everything: the books agree with every answer."""

import asyncio
from contextlib import ExitStack

import grpc
import pytest

from ledger import Code, Ledger
from tests.faults.customers import customers
from tests.faults.load import Load
from tests.faults.processes import ScripProcess, ScripWithWorkers
from tests.faults.told import MOVED, assert_written_once

CALLERS = 48


def ask_two_servers_for_everything(url, directory, seconds):
    """Returns all that was answered."""
    with ExitStack() as stack:
        servers = []
        for kind in (ScripProcess, ScripWithWorkers):
            (directory / kind.__name__).mkdir()
            servers.append(stack.enter_context(kind(url, directory / kind.__name__)))
        alone, several = (server.target for server in servers)
        load = Load([*[alone] * 3, *[several] * 6], customers(6), credits_each=200)
        asyncio.run(load.open_accounts())

        try:
            asyncio.run(load.run_for(CALLERS, seconds))
        except grpc.RpcError as error:
            pytest.fail("\n".join([str(error), *(server.log for server in servers)]))

        for server in servers:
            server.terminate()
            assert server.wait() == 0
            assert not any(word in server.log for word in ("deadlock", "incident", "broke", "Traceback")), server.log
    assert load.unanswered == []
    assert load.refused > 0
    return load.answered


def assert_the_sums_agree(url, answered):
    moved = assert_written_once(url, answered, ())
    with Ledger(url) as ledger:
        (books,) = ledger.trial_balance("default").assets
    credited = {row.code: row.credits - row.debits for row in books.rows}
    for code in MOVED:
        assert credited[code] == sum(amount for (_, of), amount in moved.items() if of is code)
    assert credited[Code.TRANSFERS] == 0
    assert sum(credited.values()) == 0


def test_two_servers_asked_for_everything_at_once_agree_with_their_answers(postgres_url, tmp_path):
    answered = ask_two_servers_for_everything(postgres_url, tmp_path, seconds=6)

    assert_the_sums_agree(postgres_url, answered)
    assert {type(asked.request).__name__ for asked in answered} >= {
        "BatchRequest",
        "CaptureRequest",
        "GrantRequest",
        "HoldRequest",
        "MergeAccountsRequest",
        "RefundRequest",
        "TransferRequest",
    }


@pytest.mark.soak
def test_two_servers_asked_for_everything_for_a_minute_agree_with_their_answers(postgres_url, tmp_path):
    answered = ask_two_servers_for_everything(postgres_url, tmp_path, seconds=60)

    assert_the_sums_agree(postgres_url, answered)
