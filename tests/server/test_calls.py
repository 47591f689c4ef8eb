"""What becomes of a call whose caller, deadline, neighbours or server go wrong."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable

import grpc
import psycopg
import pytest
from scrip.v1.credit_service_pb2_grpc import CreditServiceStub
from scrip.v1.types_pb2 import Memo

from ledger import Ledger
from ledger.database import Database
from ledger.tables import accounts
from server import changes, messages
from tests.books import Clock, rows_of
from tests.server.asking import Asking, asking, request, told
from tests.server.gate import PATIENCE_S, Gate

BURST = 2_000
SECRET = "the password is swordfish"


def available(ask: Asking) -> int:
    return ask("GetBalance").balances[0].available


def wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def code_of(call: grpc.Future) -> str:
    return call.exception(PATIENCE_S).code().name


@pytest.fixture
def given_up(logged):
    """Waits until the server has noticed that a caller has gone."""
    return lambda: wait_for(lambda: any(event.get("code") == "CANCELLED" for event in logged))


@pytest.fixture
def writes_wait(postgres_url):
    """Holds up what a batch writes, after it has been decided; gives back how to let it go on."""
    with psycopg.connect(postgres_url) as locker, psycopg.connect(postgres_url, autocommit=True) as watcher:

        def lock() -> None:
            locker.execute("LOCK TABLE entries IN SHARE MODE")

        def wait() -> None:
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'entries'::regclass"
            wait_for(lambda: watcher.execute(waiting).fetchone()[0] > 0)

        yield lock, wait, locker.rollback


def test_a_change_whose_deadline_passes_before_it_is_decided_is_not_done(database_url):
    gate = Gate("scrip-writer")
    with asking(database_url, gate) as ask:
        ask("OpenAccount")
        with gate.closed():
            before = ask.later("Grant", amount=1)
            gate.wait_until_reached()
            late = ask.later("Grant", amount=10, timeout=0.1)
            assert code_of(late) == "DEADLINE_EXCEEDED"
        before.result(PATIENCE_S)

        ask("Grant", amount=100)

        assert available(ask) == 101


def test_a_change_whose_caller_goes_away_before_it_is_decided_is_not_done(database_url, given_up):
    gate = Gate("scrip-writer")
    with asking(database_url, gate) as ask:
        ask("OpenAccount")
        with gate.closed():
            undecided = ask.later("Grant", amount=1)
            gate.wait_until_reached()
            undecided.cancel()
            given_up()

        ask("Grant", amount=100)

        assert available(ask) == 100


def test_a_change_whose_caller_goes_away_after_it_was_decided_is_done(postgres_url, clock, writes_wait, given_up):
    lock, wait, let_go = writes_wait
    with asking(postgres_url, clock) as ask:
        ask("OpenAccount")
        lock()
        decided = ask.later("Grant", request_id="grant", amount=1)
        wait()
        decided.cancel()
        given_up()
        let_go()

        repeated = ask("Grant", request_id="grant", amount=1)

        assert repeated.replayed
        assert available(ask) == 1


def test_a_change_whose_deadline_passes_after_it_was_decided_is_done(postgres_url, clock, writes_wait):
    lock, wait, let_go = writes_wait
    with asking(postgres_url, clock) as ask:
        ask("OpenAccount")
        lock()
        decided = ask.later("Grant", request_id="grant", amount=1, timeout=2)
        wait()
        assert code_of(decided) == "DEADLINE_EXCEEDED"
        let_go()

        assert ask("Grant", request_id="grant", amount=1).replayed


def test_a_read_that_takes_long_keeps_no_change_waiting(database_url):
    gate = Gate("scrip-reader")
    with asking(database_url, gate, readers=1) as ask:
        ask("OpenAccount")
        with gate.closed():
            balance = ask.later("GetBalance")
            gate.wait_until_reached()

            assert ask("Grant", amount=7).balance.available == 7
        assert balance.result(PATIENCE_S).balances


def test_an_audit_that_takes_long_keeps_nobody_waiting(database_url):
    gate = Gate("scrip-auditor")
    with asking(database_url, gate, readers=1) as ask:
        ask("OpenAccount")
        with gate.closed():
            audit = ask.later("Audit", account_id=None)
            gate.wait_until_reached()

            assert ask("Grant", amount=7).balance.available == 7
            assert available(ask) == 7
        assert audit.result(PATIENCE_S).clean


def test_a_snapshot_that_is_held_for_long_keeps_no_change_waiting(database_url, ask):
    ask("OpenAccount")
    database = Database(database_url, readers=1)
    with database.read() as connection:
        connection.execute(accounts.select()).all()

        assert ask("Grant", amount=7).balance.available == 7
    database.close()


def test_a_change_that_takes_long_keeps_no_read_waiting(database_url):
    gate = Gate("scrip-writer")
    with asking(database_url, gate) as ask:
        ask("OpenAccount")
        with gate.closed():
            grant = ask.later("Grant", amount=7)
            gate.wait_until_reached()

            assert available(ask) == 0
            assert ask("Audit").clean
        assert grant.result(PATIENCE_S).balance.available == 7


@pytest.mark.parametrize("queue_max", [10_000, 1])
def test_a_burst_loses_no_call_and_those_too_many_are_told_when_to_come_back(sqlite_url, clock, queue_max):
    with asking(sqlite_url, clock, queue_max=queue_max) as ask:
        ask("OpenAccount")
        ask("Grant", amount=BURST)

        outcomes = Counter(asyncio.run(_burst(ask.target)))

        assert set(outcomes) <= {"spent", ("QUEUE_FULL", str(queue_max), 0.1)}
        assert outcomes.total() == BURST
        assert available(ask) == BURST - outcomes["spent"]
        assert outcomes["spent"] == BURST if queue_max > BURST else outcomes["spent"] > 0
        assert queue_max > 1 or outcomes["spent"] < BURST


async def _burst(target: str) -> list[object]:
    async with grpc.aio.insecure_channel(target) as channel:
        stub = CreditServiceStub(channel)

        async def deduct() -> object:
            try:
                await stub.CheckAndDeduct(request("CheckAndDeduct"), timeout=PATIENCE_S)
            except grpc.aio.AioRpcError as error:
                full = told(error)
                return full.reason, full.metadata["queue_max"], full.retry_after_s
            return "spent"

        return await asyncio.gather(*(deduct() for _ in range(BURST)))


def broken(*_: object, **__: object) -> None:
    raise RuntimeError(SECRET)


class BrokenClock(Clock):
    """Breaks whoever decides."""

    def __call__(self) -> None:
        broken()


@pytest.mark.parametrize(
    ("place", "rpc"),
    [
        ((changes, "operation_of"), "CheckAndDeduct"),
        ((messages, "balance_message"), "GetBalance"),
        ((Ledger, "audit"), "Audit"),
    ],
    ids=["in a change", "in an answer", "in a read"],
)
def test_a_bug_is_told_by_the_id_of_an_incident_and_nothing_else(ask_sqlite, logged, monkeypatch, place, rpc):
    ask_sqlite("OpenAccount")
    with monkeypatch.context() as patch:
        patch.setattr(*place, broken)
        bug = ask_sqlite.refusal(rpc)

    (event,) = [event for event in logged if event["event"] == "rpc_broke"]
    assert bug.reason == "INTERNAL"
    assert bug.metadata == {"incident_id": event["incident_id"]}
    assert bug.message == f"Something broke inside Scrip. Report incident {event['incident_id']}."
    assert str(event["exc_info"]) == SECRET
    assert (event["method"], event["log_level"]) == (rpc, "error")
    assert ask_sqlite.refusal("CheckAndDeduct").reason == "INSUFFICIENT_CREDITS"


def test_a_bug_in_deciding_is_logged_with_the_operation_but_without_what_callers_attach(sqlite_url, logged):
    with asking(sqlite_url, BrokenClock()) as ask:
        bug = ask.refusal("Grant", memo=Memo(description="for Ms Private", metadata={"card": "4111"}))

    (event,) = [event for event in logged if event["event"] == "operation_broke"]
    assert bug.reason == "INTERNAL"
    assert bug.metadata == {"incident_id": event["incident_id"]}
    assert "account_id='acme'" in event["operation"]
    assert not [event for event in logged if "Private" in str(event) or "4111" in str(event)]


def test_every_call_is_logged_once_with_its_code_and_without_what_callers_attach(ask_sqlite, logged):
    ask_sqlite("OpenAccount", memo=Memo(description="for Ms Private", metadata={"card": "4111"}))
    ask_sqlite.refusal("CheckAndDeduct")
    ask_sqlite("History")

    wait_for(lambda: sum(event["event"] == "rpc" for event in logged) == 3)
    calls = [(event["method"], event["code"]) for event in logged if event["event"] == "rpc"]
    assert [method for method, _ in calls] == ["OpenAccount", "CheckAndDeduct", "History"]
    assert [code for _, code in calls] == ["OK", "FAILED_PRECONDITION", "OK"]
    assert not [event for event in logged if "Private" in str(event) or "4111" in str(event)]


@pytest.mark.parametrize(
    "message",
    [b"\xff" * 9, b"\x0a\xff", b"\x0a\x02\xff\xfe", b"\x20" + b"\xff" * 11],
    ids=["noise", "cut", "no UTF-8", "varint"],
)
def test_what_is_no_message_of_the_contract_is_refused(sqlite_books, message):
    before = rows_of(sqlite_books.url)
    deduct = sqlite_books.ask.channel.unary_unary("/scrip.v1.CreditService/CheckAndDeduct")

    with pytest.raises(grpc.RpcError) as raised:
        deduct(message)

    # gRPC itself says so, before any code of ours.
    assert raised.value.code() is grpc.StatusCode.UNKNOWN
    assert "DecodeError" in raised.value.details()
    assert rows_of(sqlite_books.url) == before


def test_a_message_above_a_mebibyte_is_refused(sqlite_books):
    before = rows_of(sqlite_books.url)

    with pytest.raises(grpc.RpcError) as raised:
        sqlite_books.ask("CheckAndDeduct", request_id="x" * 1024 * 1024)

    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert rows_of(sqlite_books.url) == before


def test_a_call_that_is_not_in_the_contract_is_unimplemented(sqlite_books):
    with pytest.raises(grpc.RpcError) as raised:
        sqlite_books.ask.channel.unary_unary("/scrip.v1.CreditService/Steal")(b"")

    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
