import asyncio
import inspect
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
import scrip
from mypy import api
from scrip import calls
from scrip.v1 import account_service_pb2 as account
from scrip.v1 import billing_service_pb2 as billing
from scrip.v1 import credit_service_pb2 as credit
from scrip.v1 import ledger_service_pb2 as ledger
from scrip.v1 import pricing_service_pb2 as pricing

from tests.client.scripted import Slow, serving

ROOT = Path(__file__).parents[2]
BALANCE = credit.GetBalanceResponse(balances=[scrip.Balance(account_id="acme", available=40)])
CALLS = [name for name in calls.__all__ if name != "Call"]
# What the arguments that every change, list of entries, or package is told come before.
GROUPS = {"change": "request_id", "entries": "asset", "offer": "title"}
# What calls need, so that they can be made.
NEEDED = {
    "account_id": "acme",
    "actor": "anna",
    "amount": 1,
    "asset": "credits",
    "calls": [],
    "cancel_url": "https://shop.example",
    "card": "gpt-5",
    "cards": [],
    "contents": [],
    "days": 7,
    "description": "why",
    "direction": "up",
    "enabled": False,
    "entry_id": "en_1",
    "event_id": "evt_1",
    "grants": [],
    "hold_id": "hd_1",
    "into_account_id": "bob",
    "lot_id": "lt_1",
    "order_id": "or_1",
    "package": "starter",
    "plan": "pro",
    "price": (1999, "EUR"),
    "since": datetime(2026, 2, 1, tzinfo=UTC),
    "source": "free",
    "spent": "owe",
    "stripe_prices": [],
    "success_url": "https://shop.example",
    "title": "Starter",
    "to_account_id": "bob",
    "ttl": timedelta(hours=1),
    "usage": scrip.Usage(provider="openai", operation="chat"),
}
# What a type checker makes of calls; it finds nothing but what is marked.
TYPED = """
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import assert_type

import scrip
from google.protobuf.message import Message


def blocking(client: scrip.Client) -> None:
    assert_type(client.grant("acme", 100, "free"), scrip.GrantResponse)
    assert_type(client.balance("acme"), scrip.Balance)
    assert_type(client.balances("acme"), tuple[scrip.Balance, ...])
    assert_type(client.history("acme"), Iterator[scrip.Entry])
    with client.hold("acme", 60) as hold:
        assert_type(hold, scrip.Hold)
        assert_type(hold.capture(55), scrip.CaptureResponse)
        assert_type(hold.release(), scrip.ReleaseResponse)
    assert_type(client.lots("acme"), Iterator[scrip.Lot])
    assert_type(client.holds("acme"), Iterator[scrip.ListedHold])
    assert_type(client.account("acme"), scrip.Account)
    grants = [scrip.calls.grant("acme", 1, "free"), scrip.calls.grant("bob", 1, "free")]
    assert_type(client.batch(grants), tuple[scrip.GrantResponse | scrip.ScripError, ...])
    assert_type(client.bulk_grant(grants), Iterator[scrip.GrantResponse | scrip.ScripError])
    mixed = client.batch([scrip.calls.grant("acme", 1, "free"), scrip.calls.refund("en_1")], atomic=True)
    assert_type(mixed, tuple[Message | scrip.ScripError, ...])
    assert_type(client.orders("acme"), Iterator[scrip.Order])
    assert_type(client.stripe_events(state="applied"), Iterator[scrip.StripeEvent])
    assert_type(client.packages(), tuple[scrip.Package, ...])
    assert_type(client.rate_cards(), tuple[scrip.ListedRateCard, ...])
    tokens = scrip.Meter(unit="token", rate=Decimal("0.0125"))
    card = scrip.RateCard(card="gpt-5", provider="openai", operations=["chat"], meters=[tokens])
    assert_type(client.apply_rate_cards([card]), scrip.ApplyRateCardsResponse)
    chat = scrip.Usage(provider="openai", operation="chat", quantities={"token": 1832})
    assert_type(client.quote(chat), scrip.QuoteResponse)
    assert_type(client.check_and_deduct("acme", usage=chat), scrip.CheckAndDeductResponse)
    with client.hold("acme", usage=chat) as priced:
        assert_type(priced.charge, scrip.Charge | None)
        priced.capture(usage=chat)
    scrip.Usage(provider="openai", operation="chat", quantities={"token": "1832"})  # an error: no int
    scrip.Meter(unit="token", rate=0.0125)  # an error: a float is not exact
    client.check_and_deduct("acme", usage={"provider": "openai"})  # an error: no scrip.Usage
    contents = [scrip.PackageContent(credits=100)]
    assert_type(
        client.create_package("starter", title="Starter", price=(1999, "EUR"), contents=contents), scrip.Package
    )
    client.create_package("starter", title="Starter", contents=contents)  # an error: no price
    client.fulfil("or_1", description="paid by transfer")  # an error: no actor
    client.freeze_account("acme", description="fraud")
    client.freeze_account("acme")  # an error: no description
    client.adjust("acme", 1, "up", description="mistake")  # an error: no actor
    client.batch([client.grant("acme", 1, "free")])  # an error: a response is not a call
    client.bulk_grant([scrip.calls.release("hd_1")])  # an error: not a grant
    client.grant("acme", "100", "free")  # an error: the amount is text
    client.grant("acme", 100)  # an error: no source
    client.transfer("acme", "bob", 1, memo="")  # an error: no such argument


async def awaiting(client: scrip.AsyncClient) -> None:
    assert_type(await client.grant("acme", 100, "free"), scrip.GrantResponse)
    assert_type(client.history("acme"), AsyncIterator[scrip.Entry])
    assert_type(client.orders(), AsyncIterator[scrip.Order])
    assert_type(await client.checkout("or_1"), scrip.GetCheckoutResponse)
    grants = [scrip.calls.grant("acme", 1, "free")]
    assert_type(await client.batch(grants), tuple[scrip.GrantResponse | scrip.ScripError, ...])
    assert_type(client.bulk_grant(grants), AsyncIterator[scrip.GrantResponse | scrip.ScripError])
    assert_type(await client.hold("acme", 60), scrip.AsyncHold)
    async with client.hold("acme", 60) as hold:
        assert_type(hold, scrip.AsyncHold)
        assert_type(await hold.capture(55), scrip.CaptureResponse)


def refused(error: scrip.InsufficientCredits) -> None:
    assert_type(error.shortfall, int)
"""
# What takes either an amount or usage.
CHARGED = {"check", "check_and_deduct", "hold"}


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def test_both_clients_have_every_call_and_nothing_else():
    assert public(scrip.Client) == public(scrip.AsyncClient) == {*CALLS, "close"}


def test_both_holds_have_the_same_methods():
    assert public(scrip.Hold) == public(scrip.AsyncHold) == {"capture", "extend", "increase", "release"}


@pytest.mark.parametrize("name", CALLS)
def test_a_method_is_documented_as_the_call_it_runs(name):
    *made, last = inspect.signature(getattr(calls, name)).parameters or [""]
    first_of_last = GROUPS.get(last, last)

    for kind in (scrip.Client, scrip.AsyncClient):
        method = getattr(kind, name)
        shown = [*inspect.signature(method).parameters, ""]
        assert method.__name__ == name
        assert method.__doc__ == getattr(calls, name).__doc__
        assert shown[: len(made) + 2] == ["self", *made, first_of_last]


def test_the_arguments_that_changes_share_are_shown_with_each():
    shown = inspect.signature(scrip.Client.adjust).parameters

    assert list(shown)[-7:] == [
        "request_id",
        "description",
        "reference",
        "actor",
        "metadata",
        "preview",
        "deadline_s",
    ]
    assert shown["description"].default is shown["actor"].default is inspect.Parameter.empty
    assert shown["preview"].default is False
    assert inspect.signature(scrip.Hold.capture).parameters["final"].default is True


def test_an_argument_that_no_call_knows_is_an_error(target):
    with scrip.Client(target) as client, pytest.raises(TypeError, match="unexpected keyword argument 'memo'"):
        client.release("hd_1", memo="why")
    with scrip.Client(target) as client, pytest.raises(TypeError, match="unexpected keyword argument 'kind'"):
        client.history("acme", kind="grant")


def test_every_rpc_of_the_contract_has_a_method_and_no_two_share_a_name():
    rpcs = [
        rpc
        for contract in (account, credit, ledger, pricing, billing)
        for service in contract.DESCRIPTOR.services_by_name.values()
        for rpc in service.methods_by_name
    ]

    called = set()
    for name in CALLS:
        needed = [
            parameter.name
            for parameter in inspect.signature(getattr(scrip.Client, name)).parameters.values()
            if parameter.default is parameter.empty and parameter.name != "self"
        ]
        needed += ["usage"] if name in CHARGED else []
        call = getattr(calls, name)(**{field: NEEDED[field] for field in needed})
        called.add(getattr(call, "first", call).rpc)

    assert len(rpcs) == len(set(rpcs))
    assert called == set(rpcs)


def test_types_are_seen_through_the_methods(tmp_path):
    example = tmp_path / "example.py"
    example.write_text(TYPED)
    wrong = [number for number, line in enumerate(example.read_text().splitlines(), start=1) if "# an error" in line]

    found, _, _ = api.run(["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(tmp_path), str(example)])

    errors = [line for line in found.splitlines() if ": error:" in line]
    assert [int(line.split(":")[1]) for line in errors] == wrong, found


def test_a_client_is_shared_between_threads(script, target):
    script.answer("GetBalance", *[BALANCE] * 200)

    with scrip.Client(target) as client, ThreadPoolExecutor(20) as threads:
        found = list(threads.map(lambda _: client.balance("acme").available, range(200)))

    assert found == [40] * 200


def test_an_async_client_runs_calls_at_once(script, target):
    script.answer("GetBalance", *[BALANCE] * 200)

    async def main() -> list[scrip.Balance]:
        async with scrip.AsyncClient(target) as client:
            return await asyncio.gather(*[client.balance("acme") for _ in range(200)])

    assert [balance.available for balance in asyncio.run(main())] == [40] * 200


def test_an_async_client_may_be_made_before_there_is_a_loop(script, target):
    script.answer("GetBalance", BALANCE)
    client = scrip.AsyncClient(target)

    async def main() -> scrip.Balance:
        async with client:
            return await client.balance("acme")

    assert asyncio.run(main()).available == 40


def test_an_async_client_belongs_to_the_loop_that_used_it_first(script, target):
    script.answer("GetBalance", BALANCE)
    client = scrip.AsyncClient(target)
    with asyncio.Runner() as first:
        first.run(client.balance("acme"))

        with pytest.raises(RuntimeError, match="belongs to another event loop"), asyncio.Runner() as second:
            second.run(client.balance("acme"))

        first.run(client.close())


def test_a_closed_client_says_so(target):
    client = scrip.Client(target)

    client.close()
    client.close()

    with pytest.raises(RuntimeError, match="This client is closed"):
        client.balance("acme")


def test_a_closed_async_client_says_so(target):
    async def main() -> None:
        client = scrip.AsyncClient(target)
        await client.close()
        await client.close()
        await client.balance("acme")

    with pytest.raises(RuntimeError, match="This client is closed"):
        asyncio.run(main())


def test_a_call_under_way_fails_when_its_client_is_closed(script, target):
    slow = Slow(BALANCE)
    slower = Slow(BALANCE)
    script.answer("GetBalance", slow, slower)

    async def main() -> None:
        client = scrip.AsyncClient(target)
        asking = asyncio.create_task(client.balance("acme"))
        await asyncio.to_thread(slow.has_begun)
        await client.close()
        await asking

    with pytest.raises(scrip.ScripError) as awaited:
        asyncio.run(main())
    with ThreadPoolExecutor(1) as threads, scrip.Client(target) as client:
        asking = threads.submit(client.balance, "acme")
        slower.has_begun()
        client.close()
        with pytest.raises(scrip.ScripError) as blocked:
            asking.result()
    slow.finish()
    slower.finish()

    assert awaited.value.code is blocked.value.code is grpc.StatusCode.CANCELLED


def test_credentials_secure_the_connection(way, script):
    script.answer("GetBalance", BALANCE)
    local = grpc.local_server_credentials(grpc.LocalConnectionType.LOCAL_TCP)

    with serving(script, credentials=local) as target:
        found = way.ask(
            target,
            lambda client: client.balance("acme"),
            credentials=grpc.local_channel_credentials(grpc.LocalConnectionType.LOCAL_TCP),
        )

    assert found.available == 40


def test_a_client_says_that_it_does_not_survive_a_fork(script, target):
    script.answer("GetBalance", BALANCE, BALANCE)
    program = """
        import os, sys, scrip
        client = scrip.Client(sys.argv[1])
        client.balance("acme")
        if os.fork() == 0:
            try:
                client.balance("acme")
            except RuntimeError as refused:
                client.close()
                os._exit(7 if "forked" in str(refused) else 1)
            os._exit(1)
        _, status = os.wait()
        client.balance("acme")
        client.close()
        sys.exit(os.waitstatus_to_exitcode(status))
    """

    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program), target], timeout=30, check=False)

    assert done.returncode == 7
