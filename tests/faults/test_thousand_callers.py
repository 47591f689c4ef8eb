"""A thousand callers at once who want more than there is: exactly what is there is spent."""

import asyncio
from collections import Counter
from contextlib import ExitStack
from functools import partial

import grpc
import pytest
from scrip.v1.credit_service_pb2 import CheckAndDeductRequest
from scrip.v1.credit_service_pb2_grpc import CreditServiceStub

from ledger import AssetPolicy, EntryKind, Ledger, Reason, Welcome, utc_now
from server.config import Settings
from tests.books import ACME, DAY, deducting, granting, holding, opening, request_id, transferring
from tests.faults.customers import PATIENCE_S, at_once, available, customers, history, kinds, open_accounts
from tests.running_server import RunningServer

CALLERS = 1_000
AFFORDABLE = 600


@pytest.mark.parametrize("accounts", [1, 100])
def test_of_a_thousand_callers_exactly_as_many_are_served_as_can_be_afforded(database_url, accounts):
    names = customers(accounts)
    with Ledger(database_url) as ledger:
        open_accounts(ledger, *names, credits_each=7 * AFFORDABLE // accounts + 6)

        outcomes = at_once(
            *(lambda name=names[n % accounts]: ledger.execute(deducting(7, name)) for n in range(CALLERS))
        )

        assert kinds(outcomes) == {"accepted": AFFORDABLE, Reason.INSUFFICIENT_CREDITS: CALLERS - AFFORDABLE}
        assert [available(ledger, name) for name in names] == [6] * accounts


@pytest.mark.parametrize("row_locks", [True, False], ids=["row locks", "no row locks"])
def test_of_a_thousand_callers_at_three_servers_exactly_as_many_are_served_as_can_be_afforded(postgres_url, row_locks):
    with ExitStack() as stack:
        servers = [stack.enter_context(Ledger(postgres_url, row_locks=row_locks)) for _ in range(3)]
        open_accounts(servers[0], ACME, credits_each=7 * AFFORDABLE + 6)

        outcomes = at_once(*(lambda n=n: servers[n % 3].execute(deducting(7)) for n in range(CALLERS)))

        assert kinds(outcomes) == {"accepted": AFFORDABLE, Reason.INSUFFICIENT_CREDITS: CALLERS - AFFORDABLE}
        assert available(servers[0]) == 6


def test_a_thousand_callers_of_an_account_that_nobody_opened_open_it_once_with_one_welcome(open_servers):
    servers, rich = open_servers(), customers(1)[0]
    open_accounts(servers[0], rich, credits_each=CALLERS)
    welcome = AssetPolicy(auto_open=True, welcome=Welcome(amount=CALLERS, ttl=DAY))
    servers[0].configure_asset(ACME.tenant, ACME.asset, welcome)
    asked = [
        operation
        for _ in range(CALLERS // 5)
        for operation in (opening(), granting(2), deducting(1), holding(1), transferring(3, rich, ACME))
    ]

    outcomes = at_once(*(partial(servers[n // 5 % len(servers)].execute, ask) for n, ask in enumerate(asked)))

    openings = kinds(outcomes[::5])
    assert openings in ({Reason.ACCOUNT_EXISTS: 200}, {"accepted": 1, Reason.ACCOUNT_EXISTS: 199})
    assert kinds(outcomes) == openings + Counter(accepted=800)
    first, *others = history(servers[0])
    assert (first.kind, [lot.granted for lot in first.made]) == (EntryKind.OPEN, [CALLERS])
    assert EntryKind.OPEN not in {entry.kind for entry in others}
    assert available(servers[0]) == CALLERS + 200 * (2 + 3 - 1 - 1)
    assert available(servers[0], rich) == CALLERS - 200 * 3


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
