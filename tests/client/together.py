"""Calls that are made while another is under way, so that they travel together."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import scrip
from scrip.gathering import Traveller
from scrip.v1 import credit_service_pb2 as credit
from scrip.v1 import errors_pb2 as errors

from tests.client.scripted import Script, Slow

RELEASED = credit.ReleaseResponse(entry_id="en_0")
Do = Callable[[Any], Any]
# Yields each call, is sent the answer or the error, and so goes on.
Caller = Generator[Do, Any, None]


class Threads:
    """Makes calls at once with one Client, each in a thread of its own."""

    def beside(
        self, script: Script, target: str, dos: Sequence[Do], *, failing: int = 0, on_failure: Do = str, **settings: Any
    ) -> list[Any]:
        """Make calls while another is under way, and answer what became of each, in order.

        failing      how many of the first calls fail before the other is answered
        on_failure   called with each failure
        """
        slow = Slow(RELEASED)
        script.answer("Release", slow)
        with scrip.Client(target, batching=True, **settings) as client, ThreadPoolExecutor(len(dos) + 1) as threads:
            first = threads.submit(client.release, "hd_0")
            slow.has_begun()
            asking = []
            for number, do in enumerate(dos, start=1):
                asking.append(threads.submit(became, do, client, on_failure))
                until(lambda number=number: len(waiting(client)) == number)
            for failed in asking[:failing]:
                failed.result()
            slow.finish()
            assert first.result() == RELEASED
            return [asked.result() for asked in asking]

    def follow(self, target: str, callers: Sequence[Caller]) -> list[list[Any]]:
        """Let callers make their calls, each one after the other and all callers at once; list what each was told."""
        with scrip.Client(target, batching=True) as client, ThreadPoolExecutor(len(callers)) as threads:
            return list(threads.map(lambda caller: followed(client, caller), callers))


class Tasks:
    """Makes calls at once with one AsyncClient, each in a task of its own."""

    def beside(
        self, script: Script, target: str, dos: Sequence[Do], *, failing: int = 0, on_failure: Do = str, **settings: Any
    ) -> list[Any]:
        async def one(client: scrip.AsyncClient, do: Do) -> Any:
            try:
                return await do(client)
            except scrip.ScripError as failure:
                on_failure(failure)
                return failure

        async def main() -> list[Any]:
            slow = Slow(RELEASED)
            script.answer("Release", slow)
            async with scrip.AsyncClient(target, batching=True, **settings) as client:
                first = asyncio.create_task(client.release("hd_0"))
                await asyncio.to_thread(slow.has_begun)
                asking = [asyncio.create_task(one(client, do)) for do in dos]
                await asyncio.sleep(0)
                await asyncio.gather(*asking[:failing])
                slow.finish()
                assert await first == RELEASED
                return await asyncio.gather(*asking)

        return asyncio.run(main())

    def follow(self, target: str, callers: Sequence[Caller]) -> list[list[Any]]:
        async def one(client: scrip.AsyncClient, caller: Caller) -> list[Any]:
            told: list[Any] = []
            while (do := next_of(caller, told)) is not None:
                try:
                    told.append(await do(client))
                except scrip.ScripError as failure:
                    told.append(failure)
            return told

        async def main() -> list[list[Any]]:
            async with scrip.AsyncClient(target, batching=True) as client:
                return await asyncio.gather(*[one(client, caller) for caller in callers])

        return asyncio.run(main())


def followed(client: scrip.Client, caller: Caller) -> list[Any]:
    """Let a caller make its calls, and list what it was told."""
    told: list[Any] = []
    while (do := next_of(caller, told)) is not None:
        told.append(became(do, client))
    return told


def next_of(caller: Caller, told: Sequence[Any]) -> Do | None:
    """Tell a caller the last answer, and get its next call; None if it has no more."""
    try:
        return caller.send(told[-1] if told else None)
    except StopIteration:
        return None


def became(do: Do, client: scrip.Client, on_failure: Do = str) -> Any:
    try:
        return do(client)
    except scrip.ScripError as failure:
        on_failure(failure)
        return failure


def waiting(client: scrip.Client) -> Sequence[Traveller]:
    """List the changes of a client that are not sent yet."""
    return client._connection._line._waiting  # type: ignore[union-attr]  # noqa: SLF001 -- nothing public tells


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    ends_at = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < ends_at
        time.sleep(0.001)


def deduct(name: str, **change: Any) -> Do:
    return lambda client: client.check_and_deduct("acme", 1, request_id=name, **change)


def done(request: credit.BatchRequest) -> credit.BatchResponse:
    """Do all deductions: each is answered with an entry that is named after it."""
    return credit.BatchResponse(
        outcomes=[
            credit.BatchOutcome(check_and_deduct={"entry_id": operation.check_and_deduct.request_id})
            for operation in request.operations
        ]
    )


def outcomes(*said: errors.Error | str) -> credit.BatchResponse:
    return credit.BatchResponse(
        outcomes=[
            credit.BatchOutcome(check_and_deduct={"entry_id": one})
            if isinstance(one, str)
            else credit.BatchOutcome(error=one)
            for one in said
        ]
    )


def names(request: credit.BatchRequest) -> list[str]:
    return [operation.check_and_deduct.request_id for operation in request.operations]


def one_by_one(request: credit.CheckAndDeductRequest) -> credit.CheckAndDeductResponse:
    return credit.CheckAndDeductResponse(entry_id=request.request_id)


def attempts(script: Script) -> dict[str, int]:
    """Count how often each deduction was asked for."""
    together = [name for request in script.requests("Batch") for name in names(request)]
    return Counter(together + [request.request_id for request in script.requests("CheckAndDeduct")])
