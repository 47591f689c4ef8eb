"""A thousand callers at once who want more than there is: exactly what is there is spent."""

import asyncio
import threading
from collections import Counter
from contextlib import ExitStack

import grpc
import pytest
from scrip.v1.credit_service_pb2 import CheckAndDeductRequest
from scrip.v1.credit_service_pb2_grpc import CreditServiceStub

from ledger import Accepted, Ledger, Reason, utc_now
from server.config import Settings
from tests.books import ACME, deducting, request_id
from tests.faults.customers import PATIENCE_S, available, customers, open_accounts
from tests.targets import RunningServer

CALLERS = 1_000
AFFORDABLE = 600


def call_at_once(calls):
    """Runs each call in a thread of its own, all let go together; returns the outcomes."""
    go = threading.Event()
    outcomes = []

    def run(call):
        assert go.wait(PATIENCE_S)
        outcomes.append(call())

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    go.set()
    for thread in threads:
        thread.join(PATIENCE_S)
    return outcomes


def kinds(outcomes):
    return Counter("accepted" if isinstance(outcome, Accepted) else outcome.reason for outcome in outcomes)


@pytest.mark.parametrize("accounts", [1, 100])
def test_of_a_thousand_callers_exactly_as_many_are_served_as_can_be_afforded(database_url, accounts):
    names = customers(accounts)
    with Ledger(database_url) as ledger:
        open_accounts(ledger, *names, credits_each=7 * AFFORDABLE // accounts + 6)

        outcomes = call_at_once(
            lambda name=names[n % accounts]: ledger.execute(deducting(7, name)) for n in range(CALLERS)
        )

        assert kinds(outcomes) == {"accepted": AFFORDABLE, Reason.INSUFFICIENT_CREDITS: CALLERS - AFFORDABLE}
        assert [available(ledger, name) for name in names] == [6] * accounts


@pytest.mark.parametrize("row_locks", [True, False], ids=["row locks", "no row locks"])
def test_of_a_thousand_callers_at_three_servers_exactly_as_many_are_served_as_can_be_afforded(postgres_url, row_locks):
    with ExitStack() as stack:
        servers = [stack.enter_context(Ledger(postgres_url, row_locks=row_locks)) for _ in range(3)]
        open_accounts(servers[0], ACME, credits_each=7 * AFFORDABLE + 6)

        outcomes = call_at_once(lambda n=n: servers[n % 3].execute(deducting(7)) for n in range(CALLERS))

        assert kinds(outcomes) == {"accepted": AFFORDABLE, Reason.INSUFFICIENT_CREDITS: CALLERS - AFFORDABLE}
        assert available(servers[0]) == 6


async def call_at_once_over_grpc(port, requests):
    """Sends all requests before any is answered; returns what each was answered with."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        await channel.channel_ready()
        stub = CreditServiceStub(channel)
        calls = [stub.CheckAndDeduct(request, timeout=PATIENCE_S) for request in requests]
        return await asyncio.gather(*calls, return_exceptions=True)


def told(answer):
    return answer.code() if isinstance(answer, grpc.aio.AioRpcError) else "accepted"


@pytest.mark.parametrize("accounts", [1, 100])
def test_of_a_thousand_calls_in_flight_exactly_as_many_are_served_as_can_be_afforded(database_url, accounts):
    names = customers(accounts)
    with Ledger(database_url) as ledger:
        open_accounts(ledger, *names, credits_each=7 * AFFORDABLE // accounts + 6)
    requests = [
        CheckAndDeductRequest(request_id=request_id(), account_id=names[n % accounts].account_id, amount=7)
        for n in range(CALLERS)
    ]

    with RunningServer(Settings(listen="127.0.0.1:0", database=database_url), utc_now) as server:
        answers = asyncio.run(call_at_once_over_grpc(server.port, requests))
        again = asyncio.run(call_at_once_over_grpc(server.port, requests))

    expected = {"accepted": AFFORDABLE, grpc.StatusCode.FAILED_PRECONDITION: CALLERS - AFFORDABLE}
    assert Counter(map(told, answers)) == expected
    # A repeat of all of them is answered alike and spends nothing.
    assert [told(answer) for answer in again] == [told(answer) for answer in answers]
    assert all(answer.replayed for answer in again if told(answer) == "accepted")
    with Ledger(database_url) as ledger:
        assert [available(ledger, name) for name in names] == [6] * accounts
