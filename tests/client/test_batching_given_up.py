"""Changes whose callers no longer wait, and clients that are closed while changes wait or are on their way."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
import scrip
from scrip import batching
from scrip.v1 import credit_service_pb2 as credit

from tests.client.scripted import Slow
from tests.client.together import (
    RELEASED,
    Threads,
    attempts,
    became,
    deduct,
    done,
    one_by_one,
    outcomes,
    until,
    waiting,
)

DEDUCTED = credit.CheckAndDeductResponse(entry_id="en_0")


def test_a_change_whose_deadline_passes_before_it_is_sent_is_not_sent(many, script, target):
    script.answer("CheckAndDeduct", one_by_one)

    late, answer = many.beside(script, target, [deduct("r-1", deadline_s=0.1), deduct("r-2")], failing=1)

    assert type(late) is scrip.DeadlineExceeded
    assert late.reason == scrip.ErrorReason.ERROR_REASON_DEADLINE_PASSED
    assert (late.reason_name, late.request_id) == ("DEADLINE_PASSED", "r-1")
    assert str(late) == "The deadline passed before this was sent; nothing was written."
    assert answer.entry_id == "r-2"
    assert attempts(script) == {"r-2": 1}


def test_a_deadline_that_passes_on_the_way_is_that_callers_alone(many, script, target):
    is_late = threading.Event()

    def slowly(request: credit.BatchRequest) -> credit.BatchResponse:
        assert is_late.wait(10)
        return done(request)

    script.answer("Batch", slowly)
    dos = [deduct("r-1", deadline_s=0.5), deduct("r-2", deadline_s=50), deduct("r-3", deadline_s=20)]

    late, *answers = many.beside(script, target, dos, on_failure=lambda _: is_late.set())

    assert type(late) is scrip.DeadlineExceeded
    assert late.reason == scrip.ErrorReason.ERROR_REASON_UNSPECIFIED
    assert "It may or may not have been done: repeat it with request_id r-1." in str(late)
    assert [answer.entry_id for answer in answers] == ["r-2", "r-3"]
    (batch,) = [asked for asked in script.asked if asked.rpc == "Batch"]
    assert 40 < batch.seconds_left < 51


def test_a_task_that_is_cancelled_at_once_leaves_nothing_behind(script, target):
    script.answer("CheckAndDeduct", one_by_one, one_by_one)

    async def main() -> None:
        async with scrip.AsyncClient(target, batching=True) as client:
            asking = asyncio.create_task(deduct("r-1")(client))
            # Once so that it is asked for, twice so that it boards: it is cancelled before the RPC has begun.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            asking.cancel()
            assert (await deduct("r-2")(client)).entry_id == "r-2"
            assert asking.cancelled()

    asyncio.run(main())

    assert attempts(script) == {"r-2": 1}


def test_a_task_that_is_cancelled_before_its_change_is_sent_sends_nothing(script, target):
    script.answer("CheckAndDeduct", one_by_one)

    async def main() -> None:
        slow = Slow(RELEASED)
        script.answer("Release", slow)
        async with scrip.AsyncClient(target, batching=True) as client:
            first = asyncio.create_task(client.release("hd_0"))
            await asyncio.to_thread(slow.has_begun)
            gone, stays = [asyncio.create_task(deduct(name)(client)) for name in ("r-1", "r-2")]
            await asyncio.sleep(0)
            gone.cancel()
            slow.finish()
            assert (await stays).entry_id == "r-2"
            assert (await first) == RELEASED
            assert gone.cancelled()

    asyncio.run(main())

    assert attempts(script) == {"r-2": 1}


def test_tasks_that_are_cancelled_on_the_way_leave_the_others_and_then_the_rpc(script, target):
    slow, slower = Slow(outcomes("en_1", "en_2")), Slow(outcomes("en_3", "en_4"))
    script.answer("Batch", slow, slower)
    script.answer("CheckAndDeduct", DEDUCTED)

    async def pair(client: scrip.AsyncClient, on_its_way: Slow) -> list[asyncio.Task[Any]]:
        asking = [asyncio.create_task(client.check_and_deduct("acme", 1)) for _ in range(2)]
        await asyncio.to_thread(on_its_way.has_begun)
        return asking

    async def main() -> None:
        async with scrip.AsyncClient(target, batching=True) as client:
            gone, stays = await pair(client, slow)
            gone.cancel()
            slow.finish()
            assert (await stays).entry_id == "en_2"
            for task in await pair(client, slower):
                task.cancel()
            # Nothing is under way any more, or this would wait for the server to be done.
            assert await client.check_and_deduct("acme", 1) == DEDUCTED

    asyncio.run(main())
    slower.finish()


def test_calls_that_wait_or_are_under_way_fail_when_an_async_client_is_closed(script, target):
    slow = Slow(RELEASED)
    script.answer("Release", slow)

    async def main() -> list[Any]:
        client = scrip.AsyncClient(target, batching=True)
        asking = [asyncio.create_task(client.release("hd_0"))]
        await asyncio.to_thread(slow.has_begun)
        asking += [asyncio.create_task(deduct(name)(client)) for name in ("r-1", "r-2")]
        await asyncio.sleep(0)
        await client.close()
        with pytest.raises(RuntimeError, match="This client is closed"):
            await deduct("r-3")(client)
        return await asyncio.gather(*asking, return_exceptions=True)

    failures = asyncio.run(main())
    slow.finish()

    assert [failure.code for failure in failures] == [grpc.StatusCode.CANCELLED] * 3
    assert [failure.request_id for failure in failures[1:]] == ["r-1", "r-2"]
    assert script.rpcs() == ["Release"]


def test_calls_that_wait_or_are_under_way_fail_when_a_client_is_closed(script, target):
    slow, slower = Slow(RELEASED), Slow(outcomes("en_1", "en_2"))
    script.answer("Release", slow)
    script.answer("Batch", slower)

    with ThreadPoolExecutor(5) as threads:
        client = scrip.Client(target, batching=True)
        first = threads.submit(client.release, "hd_0")
        slow.has_begun()
        asking = [threads.submit(became, deduct(name), client) for name in ("r-1", "r-2")]
        until(lambda: len(waiting(client)) == 2)
        slow.finish()
        slower.has_begun()
        asking += [threads.submit(became, deduct(name), client) for name in ("r-3", "r-4")]
        until(lambda: len(waiting(client)) == 2)
        client.close()
        failures = [asked.result() for asked in asking]
    slower.finish()

    assert first.result() == RELEASED
    assert [failure.code for failure in failures] == [grpc.StatusCode.CANCELLED] * 4
    assert {failure.request_id for failure in failures} == {"r-1", "r-2", "r-3", "r-4"}
    with pytest.raises(RuntimeError, match="This client is closed"):
        client.check_and_deduct("acme", 1)


def test_clients_that_are_closed_leave_no_thread(script, target):
    before = threading.active_count()
    script.answer("Batch", *[done] * 20)

    for _ in range(20):
        Threads().beside(script, target, [deduct("r-1"), deduct("r-2")])

    # The server under test has up to ten of its own.
    until(lambda: threading.active_count() <= before + 10)


def test_a_caller_who_is_interrupted_sends_nothing(script, target, monkeypatch):
    slow = Slow(RELEASED)
    script.answer("Release", slow)
    script.answer("CheckAndDeduct", one_by_one)

    def interrupted(_: Any) -> None:
        raise KeyboardInterrupt

    with scrip.Client(target, batching=True) as client, ThreadPoolExecutor(1) as threads:
        first = threads.submit(client.release, "hd_0")
        slow.has_begun()
        monkeypatch.setattr(batching._Blocked, "wait", interrupted)  # noqa: SLF001 -- where a signal arrives
        with pytest.raises(KeyboardInterrupt):
            client.check_and_deduct("acme", 1, request_id="r-1")
        slow.finish()
        assert first.result() == RELEASED
        assert client.check_and_deduct("acme", 1, request_id="r-2").entry_id == "r-2"

    assert attempts(script) == {"r-2": 1}
