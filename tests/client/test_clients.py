import asyncio
import inspect
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
import scrip
from mypy import api
from scrip import calls
from scrip.v1 import credit_service_pb2 as credit
from scrip.v1 import ledger_service_pb2 as ledger

from tests.client.scripted import Slow, serving

ROOT = Path(__file__).parents[2]
BALANCE = credit.GetBalanceResponse(balances=[scrip.Balance(account_id="acme", available=40)])
CALLS = [
    name
    for name, function in vars(calls).items()
    if inspect.isfunction(function) and function.__module__ == calls.__name__ and not name.startswith("_")
]


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def test_both_clients_have_every_call_and_nothing_else():
    assert public(scrip.Client) == public(scrip.AsyncClient) == {*CALLS, "close"}


def test_both_holds_have_the_same_methods():
    assert public(scrip.Hold) == public(scrip.AsyncHold) == {"capture", "release"}


@pytest.mark.parametrize("name", CALLS)
def test_a_method_is_documented_as_the_call_it_runs(name):
    made = inspect.signature(getattr(calls, name)).parameters

    for kind in (scrip.Client, scrip.AsyncClient):
        method = getattr(kind, name)
        assert method.__name__ == name
        assert method.__doc__ == getattr(calls, name).__doc__
        assert list(inspect.signature(method).parameters) == ["self", *made]


def test_every_rpc_of_the_contract_has_a_method_and_no_two_share_a_name():
    credit_rpcs = set(credit.DESCRIPTOR.services_by_name["CreditService"].methods_by_name)
    ledger_rpcs = set(ledger.DESCRIPTOR.services_by_name["LedgerService"].methods_by_name)
    answers = {"audit": {}, "assets": {}, "trial_balance": {}, "define_asset": {"asset": "a"}}
    arguments = {
        "account_id": "acme",
        "hold_id": "hd_1",
        "entry_id": "en_1",
        "amount": 1,
        "source": "free",
    }

    called = set()
    for name in CALLS:
        made = getattr(calls, name)
        needed = [p.name for p in inspect.signature(made).parameters.values() if p.default is p.empty]
        call = made(**(answers.get(name) if name in answers else {field: arguments[field] for field in needed}))
        called.add(getattr(call, "first", call).rpc)

    assert credit_rpcs & ledger_rpcs == set()
    assert called == credit_rpcs | ledger_rpcs


def test_types_are_seen_through_the_methods(tmp_path):
    example = tmp_path / "example.py"
    example.write_text(
        textwrap.dedent("""
        from collections.abc import AsyncIterator, Iterator
        from typing import assert_type

        import scrip


        def blocking(client: scrip.Client) -> None:
            assert_type(client.grant("acme", 100, "free"), scrip.GrantResponse)
            assert_type(client.balance("acme"), scrip.Balance)
            assert_type(client.balances("acme"), tuple[scrip.Balance, ...])
            assert_type(client.history("acme"), Iterator[scrip.Entry])
            with client.hold("acme", 60) as hold:
                assert_type(hold, scrip.Hold)
                assert_type(hold.capture(55), scrip.CaptureResponse)
                assert_type(hold.release(), scrip.ReleaseResponse)
            client.grant("acme", "100", "free")  # an error: the amount is text
            client.grant("acme", 100)  # an error: no source
            client.balance("acme", scale=2)  # an error: no such argument


        async def awaiting(client: scrip.AsyncClient) -> None:
            assert_type(await client.grant("acme", 100, "free"), scrip.GrantResponse)
            assert_type(client.history("acme"), AsyncIterator[scrip.Entry])
            assert_type(await client.hold("acme", 60), scrip.AsyncHold)
            async with client.hold("acme", 60) as hold:
                assert_type(hold, scrip.AsyncHold)
                assert_type(await hold.capture(55), scrip.CaptureResponse)


        def refused(error: scrip.InsufficientCredits) -> None:
            assert_type(error.shortfall, int)
        """)
    )
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
