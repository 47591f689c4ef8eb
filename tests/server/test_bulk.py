"""Grants to many accounts in a stream: each its own outcome, in order; what broke off is sent again."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from scrip.v1.account_service_pb2 import BulkGrantRequest

from ledger import Ledger, deliver
from server import changes
from server.answering import Reader
from tests.books import rows_of
from tests.server.asking import PATIENCE_S, asking, request
from tests.server.gate import Gate

MANY = 3_000


def grants(names, **fields):
    for name in names:
        yield BulkGrantRequest(grant=request("Grant", account_id=name, request_id=f"promo-{name}", **fields))


def shown(answers):
    return [answer.error.reason if answer.WhichOneof("outcome") == "error" else "granted" for answer in answers]


def opened(ask, names):
    for call in [ask.later("OpenAccount", account_id=name) for name in names]:
        call.result()


def test_each_grant_has_its_outcome_in_order_and_none_ends_the_others(ask):
    opened(ask, ["a", "b", "c"])
    ask("CloseAccount", account_id="c")

    answers = list(ask.stream("BulkGrant", grants(["a", "nobody", "", "b", "c", "a"], amount=5)))

    assert shown(answers) == ["granted", "ACCOUNT_NOT_FOUND", "INVALID_FIELD", "granted", "ACCOUNT_CLOSED", "granted"]
    assert answers[1].error.metadata == {"account_id": "nobody", "asset": "credits"}
    assert answers[2].error.metadata["field"] == "account_id"
    assert [answers[n].grant.replayed for n in (0, 3, 5)] == [False, False, True]
    assert answers[0].grant.lot_id == answers[5].grant.lot_id
    assert answers[3].grant.balance.account_id == "b"


def test_a_grant_that_is_not_there_is_malformed(ask_sqlite):
    (answer,) = ask_sqlite.stream("BulkGrant", [BulkGrantRequest()])

    assert answer.error.reason == "INVALID_FIELD"


def test_an_empty_stream_has_no_answers(ask_sqlite):
    assert list(ask_sqlite.stream("BulkGrant", [])) == []


def test_more_grants_than_may_be_under_way_are_all_done_in_order(ask):
    names = [f"customer-{n}" for n in range(MANY)]
    ask("ConfigureAsset", asset="credits", policy={"auto_open": True})

    answers = list(ask.stream("BulkGrant", grants(names, amount=2)))

    assert [answer.grant.balance.account_id for answer in answers] == names
    assert ask("TrialBalance").assets[0].debits == str(2 * MANY)


def test_what_broke_off_is_resumed_by_sending_all_again(ask):
    names = [f"customer-{n}" for n in range(200)]
    opened(ask, names)
    asked = list(grants(names, amount=2))
    broken = ask.stream("BulkGrant", asked)
    for _ in range(50):
        next(broken)
    broken.cancel()

    answers = list(ask.stream("BulkGrant", asked))

    assert shown(answers) == ["granted"] * 200
    assert all(answer.grant.replayed for answer in answers[:50])
    assert ask("TrialBalance").assets[0].debits == "400"


def test_a_full_queue_slows_the_stream_down_and_refuses_nothing(sqlite_url, clock, monkeypatch):
    monkeypatch.setattr(changes, "PAUSE_WHEN_FULL_S", 0.001)
    names = [f"customer-{n}" for n in range(100)]
    with asking(sqlite_url, clock, queue_max=1) as ask:
        ask("ConfigureAsset", asset="credits", policy={"auto_open": True})

        answers = list(ask.stream("BulkGrant", grants(names)))

        assert shown(answers) == ["granted"] * 100


def test_no_more_than_so_many_grants_are_under_way(sqlite_url):
    asyncio.run(_grant_while_nothing_is_decided(sqlite_url))


async def _grant_while_nothing_is_decided(url):
    gate, taken, enough = Gate("scrip-writer"), [], asyncio.Event()
    loop = asyncio.get_running_loop()

    async def many():
        for asked in grants(f"customer-{n}" for n in range(MANY)):
            taken.append(asked)
            if len(taken) > changes.BULK_MAX:
                enough.set()
            yield asked

    def deliver_all(outcomes):
        loop.call_soon_threadsafe(deliver, outcomes)

    with ThreadPoolExecutor(1) as readers, Ledger(url, clock=gate, deliver_all=deliver_all) as ledger:
        answers = changes.Changes(ledger, Reader(readers)).stream(many(), Patient())
        with gate.closed():
            first = asyncio.create_task(anext(answers))
            await asyncio.wait_for(enough.wait(), PATIENCE_S)
            await asyncio.sleep(0.1)

            # One more waits for its turn.
            assert len(taken) == changes.BULK_MAX + 1
        assert shown([await first, *[answer async for answer in answers]]) == ["ACCOUNT_NOT_FOUND"] * MANY


class Patient:
    """The context of a call without a deadline."""

    def time_remaining(self):
        return None


def test_a_promotion_can_be_previewed(ask, database_url):
    opened(ask, ["a", "b"])
    before = rows_of(database_url)

    answers = list(ask.stream("BulkGrant", grants(["a", "nobody", "b"], amount=5, preview=True)))

    assert shown(answers) == ["granted", "ACCOUNT_NOT_FOUND", "granted"]
    assert [answers[n].grant.balance.available for n in (0, 2)] == [5, 5]
    assert answers[0].grant.lot_id == ""
    assert rows_of(database_url) == before


def test_a_stream_is_logged_once_with_its_code(ask_sqlite, logged):
    list(ask_sqlite.stream("BulkGrant", grants(["nobody"])))

    calls = [(event["method"], event["code"]) for event in logged if event["event"] == "rpc"]
    assert calls == [("BulkGrant", "OK")]


def test_a_bug_in_one_grant_is_told_by_the_id_of_an_incident_and_does_not_end_the_others(
    ask_sqlite, logged, monkeypatch
):
    opened(ask_sqlite, ["a"])

    def broken(asked, tenant):
        if asked.account_id == "bug":
            raise RuntimeError("secret")
        return operation_of(asked, tenant)

    operation_of = changes.operation_of
    monkeypatch.setattr(changes, "operation_of", broken)
    answers = list(ask_sqlite.stream("BulkGrant", grants(["bug", "a"])))

    (event,) = [event for event in logged if event["event"] == "rpc_broke"]
    assert shown(answers) == ["INTERNAL", "granted"]
    assert answers[0].error.metadata == {"incident_id": event["incident_id"]}
    assert "secret" not in str(answers[0])


def test_a_stream_whose_caller_goes_away_is_over(ask_sqlite, logged):
    hanging = threading.Event()

    def slow():
        yield from grants(["a"])
        hanging.wait(30)

    answers = ask_sqlite.stream("BulkGrant", slow())
    next(answers)
    answers.cancel()
    hanging.set()

    with pytest.raises(grpc.RpcError) as raised:
        next(answers)
    assert raised.value.code() is grpc.StatusCode.CANCELLED
    assert ask_sqlite("OpenAccount").entry_id
