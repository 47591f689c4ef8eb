"""How a server begins, shows itself, tidies up and ends."""

import asyncio
import queue
import time
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from scrip.v1.account_service_pb2 import BulkGrantRequest
from scrip.v1.credit_service_pb2_grpc import CreditServiceStub
from scrip.v1.types_pb2 import Memo

from ledger import DatabaseMisusedError
from server.app import Server
from server.config import Settings
from server.farewell import Farewell
from server.port import PortTakenError
from tests.books import SECOND, rows_of
from tests.running_server import RunningServer
from tests.server.asking import CHANGES, PARTS, PATIENCE_S, Told, asking, request, told
from tests.server.gate import Gate
from tests.server.test_billing_service import package, plan, recharge

SERVICES = (
    "scrip.v1.CreditService",
    "scrip.v1.AccountService",
    "scrip.v1.LedgerService",
    "scrip.v1.PricingService",
    "scrip.v1.BillingService",
)
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
# Nothing listens on port 1.
NO_DATABASE = "postgresql://postgres@127.0.0.1:1/scrip"
RPCS = (
    *(rpc for rpc in CHANGES if rpc not in PARTS),
    "Check", "GetBalance", "ListLots", "ListHolds", "History", "GetAccount", "TrialBalance", "Audit", "ListAssets",
    "MoneyTrialBalance", "RevenueReport", "Quote", "QuoteFor", "ApplyRateCards", "GetRateCard", "ListRateCards",
    "ListPackages", "ListPlans", "ListOrders", "ListSubscriptions", "GetAutoRecharge", "ListStripeEvents",
)  # fmt: skip
# And those of which a request has to say more.
SAYING_MORE = {
    "DefineAsset": {"asset": "points"},
    "ConfigureAsset": {"asset": "points"},
    "CreatePackage": {"package": package()},
    "UpdatePackage": {"package": package()},
    "DeactivatePackage": {"package": "starter"},
    "PutPlan": {"plan": plan()},
    "GetCheckout": {"order_id": "or_1"},
    "Fulfil": {"order_id": "or_1", "memo": Memo(description="why", actor="who")},
    "SetAutoRecharge": {"auto_recharge": recharge()},
}


def health(channel: grpc.Channel, service: str) -> int:
    return health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service)).status


def test_health_is_told_for_the_server_and_for_each_service(ask_sqlite):
    assert [health(ask_sqlite.channel, name) for name in ("", *SERVICES)] == [SERVING] * 6
    with pytest.raises(grpc.RpcError) as raised:
        health(ask_sqlite.channel, "scrip.v1.Nothing")
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND


def test_a_server_without_its_database_is_not_healthy_and_says_that_it_is_worth_to_come_back():
    with asking(NO_DATABASE) as ask:
        refusals = [ask.refusal(rpc) for rpc in RPCS]
        refusals += [ask.refusal(rpc, **fields) for rpc, fields in SAYING_MORE.items()]
        refusals.append(ask.refusal("Grant", preview=True))
        refusals.append(ask.refusal("Batch", operations=[{"grant": request("Grant")}]))
        (in_stream,) = ask.stream("BulkGrant", [BulkGrantRequest(grant=request("Grant"))])
        malformed = ask.refusal("CheckAndDeduct", amount=0)

        assert [health(ask.channel, name) for name in ("", *SERVICES)] == [NOT_SERVING] * 6
    assert {(told.reason, told.retry_after_s) for told in refusals} == {("DATABASE_UNAVAILABLE", 0.1)}
    assert (in_stream.error.reason, in_stream.error.retry_delay) == (
        "DATABASE_UNAVAILABLE",
        Duration(nanos=100_000_000),
    )
    assert malformed.reason == "INVALID_FIELD"


def test_reflection_tells_the_services_and_all_their_messages(ask_sqlite):
    found = ProtoReflectionDescriptorDatabase(ask_sqlite.channel)
    pool = DescriptorPool(found)

    assert set(found.get_services()) >= {*SERVICES, "grpc.health.v1.Health"}
    for name in SERVICES:
        service = pool.FindServiceByName(name)
        assert all(rpc.input_type.fields or rpc.name == "ListAssets" for rpc in service.methods)
    assert (
        pool.FindMessageTypeByName("scrip.v1.GrantRequest").fields_by_name["memo"].message_type.full_name
        == "scrip.v1.Memo"
    )


def test_a_port_that_is_taken_is_an_error_that_says_so_and_touches_no_database(sqlite_url, tmp_path):
    with asking(sqlite_url) as first:
        second = Settings(listen=first.target, database=f"sqlite:///{tmp_path / 'second.db'}")

        with pytest.raises(PortTakenError, match=rf"^{first.target} cannot be listened on.*--listen"), _running(second):
            pass

    assert not (tmp_path / "second.db").exists()


def test_a_file_that_another_server_holds_is_an_error_that_says_so_and_frees_the_port(sqlite_url, tmp_path):
    with asking(sqlite_url) as first:
        with (
            pytest.raises(DatabaseMisusedError, match="Another Scrip server holds"),
            _running(Settings(listen="127.0.0.1:0", database=sqlite_url)),
        ):
            pass

        assert first("OpenAccount").entry_id
    with asking(sqlite_url) as next_one:
        assert next_one.refusal("OpenAccount").reason == "ACCOUNT_EXISTS"


def _running(settings: Settings) -> RunningServer:
    return RunningServer(settings, Gate("nobody"))


def test_the_sweeper_writes_the_lapses_of_accounts_that_nobody_asks_about(database_url, clock):
    with asking(database_url, clock, sweep_s=0.05) as ask:
        ask("OpenAccount")
        ask("Grant", amount=10, ttl=Duration(seconds=1))
        ask("Hold", amount=4, ttl=Duration(seconds=2))
        clock.now += 60 * SECOND

        deadline = time.monotonic() + PATIENCE_S
        while rows_of(database_url)["entries"].total() < 5:
            assert time.monotonic() < deadline
            time.sleep(0.02)

        entries = [MessageToDict(entry) for entry in ask("History").entries]
        assert [entry["kind"] for entry in entries[:2]] == ["KIND_HOLD_LAPSE", "KIND_LOT_LAPSE"]
        assert [entry["effectiveAt"] for entry in entries[:2]] == ["2026-01-01T00:00:02Z", "2026-01-01T00:00:01Z"]
        assert all(entry["recordedAt"] == "2026-01-01T00:01:00Z" for entry in entries[:2])


def test_a_server_that_stops_answers_what_is_under_way_and_takes_nothing_more(database_url):
    asyncio.run(_stop_under_way(database_url))


async def _stop_under_way(url: str) -> None:
    gate = Gate("scrip-writer")
    server = Server(Settings(listen="127.0.0.1:0", database=url), clock=gate)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = CreditServiceStub(channel)
        await stub.OpenAccount(request("OpenAccount"))
        states = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=SERVICES[0]))
        assert (await states.read()).status == SERVING
        with gate.closed():
            under_way = stub.Grant(request("Grant", amount=7))
            await asyncio.to_thread(gate.wait_until_reached)

            stopping = asyncio.create_task(server.stop())

            assert (await states.read()).status == NOT_SERVING
            refusal = await _refusal_of_a_grant(stub)
            assert (refusal.reason, refusal.retry_after_s) == ("SHUTTING_DOWN", 0.1)
        assert (await under_way).balance.available == 7
        states.cancel()
        await asyncio.wait_for(stopping, PATIENCE_S)


async def _refusal_of_a_grant(stub: CreditServiceStub) -> Told:
    """What a grant is told that is not taken any more; one that still is waits for its deadline, and is not done."""
    while True:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.Grant(request("Grant", amount=10), timeout=0.2)
        if raised.value.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
            return told(raised.value)


def test_a_server_that_stops_cancels_no_call(sqlite_url):
    codes = asyncio.run(_stop_in_a_burst(sqlite_url))

    assert set(codes) <= {"OK", "UNAVAILABLE"}


async def _stop_in_a_burst(url: str) -> list[str]:
    server = Server(Settings(listen="127.0.0.1:0", database=url))
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = CreditServiceStub(channel)
        await stub.OpenAccount(request("OpenAccount"))
        calls = [stub.Grant(request("Grant")) for _ in range(100)]
        await calls[0]
        await server.stop()
        return [(await call.code()).name for call in calls]


def test_a_call_that_comes_when_the_server_is_about_to_end_is_told_so_and_not_cancelled():
    code, reason = asyncio.run(_call_at_the_end())

    assert (code, reason) == ("UNAVAILABLE", "SHUTTING_DOWN")


async def _call_at_the_end() -> tuple[str, str]:
    farewell = _Noticed()
    server = grpc.aio.server(handlers=[farewell])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        await farewell.keep()
        call = channel.unary_unary("/scrip.v1.CreditService/Grant")(b"")
        await asyncio.wait_for(farewell.noticed.wait(), PATIENCE_S)
        stopping = asyncio.create_task(server.stop(PATIENCE_S))
        await farewell.tell()
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call
        await stopping
    refusal = told(raised.value)
    return refusal.code, refusal.reason


class _Noticed(Farewell):
    def __init__(self) -> None:
        super().__init__()
        self.noticed = asyncio.Event()

    def service(self, call):
        self.noticed.set()
        return super().service(call)


def test_a_connection_that_is_old_is_closed_and_its_client_makes_another(sqlite_url, clock):
    states = queue.Queue()
    with asking(sqlite_url, clock, connection_age_s=0.1) as ask:
        ask("OpenAccount")
        ask.channel.subscribe(states.put)

        while states.get(timeout=PATIENCE_S) is not grpc.ChannelConnectivity.IDLE:
            pass

        assert ask("Grant", amount=10).balance.available == 10


def test_a_server_ends_though_somebody_watches_it(sqlite_url, clock):
    with asking(sqlite_url, clock, drain_s=0.1) as ask:
        watched = health_pb2_grpc.HealthStub(ask.channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watched).status == SERVING

    assert Path(sqlite_url.removeprefix("sqlite:///")).exists()
