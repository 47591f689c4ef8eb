"""Callers in a process of their own: of the Python client in several ways, and of the ledger without a network.

python -m benchmarks.callers < callers.json > figures.json
"""

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from itertools import count
from typing import Any, Final

import scrip
from scrip import calls

from benchmarks.targets import environment
from ledger import DEFAULT_ASSET, DEFAULT_TENANT, Accepted, AccountName, Deduct, Ledger, WriterOptions
from server.load import Figures, account_id
from server.load.measuring import P99_9_CALLS_MIN, percentile_ms

BATCH: Final = 1_000
DEADLINE_S: Final = 30.0
TIMEOUT_S: Final = 60

# Does something once; returns how many operations that was.
Work = Callable[[], Awaitable[int]]


class CallersFailedError(Exception):
    """Something was not answered as it should; the text says how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Callers:
    """What is done, and for how long.

    way         one of WAYS
    where       address of a server; for `single`, the URL of a database
    under_way   how many do it at the same time, each again and again
    run         a number that no other run on the same books has
    """

    way: str
    where: str
    under_way: int
    accounts: int
    run: int
    warmup_s: float
    measured_s: float

    def requests(self) -> Callable[[], tuple[str, str]]:
        """Makes an account at random and a request_id of its own."""
        draw, numbers = random.Random(self.run).random, count()
        return lambda: (account_id(int(draw() * self.accounts)), f"k{self.run:05x}-{next(numbers):09x}")


@asynccontextmanager
async def batch(callers: Callers) -> AsyncIterator[Work]:
    """Batch with 1,000 deductions in each."""
    request = callers.requests()

    def deduction() -> calls.Call[Any]:
        account, request_id = request()
        return calls.check_and_deduct(account, 1, request_id=request_id)

    async with scrip.AsyncClient(callers.where, deadline_s=DEADLINE_S) as client:

        async def work() -> int:
            outcomes = await client.batch([deduction() for _ in range(BATCH)])
            errors = [outcome for outcome in outcomes if isinstance(outcome, scrip.ScripError)]
            if errors:
                raise errors[0]
            return len(outcomes)

        yield work


@asynccontextmanager
async def plain(callers: Callers, **options: bool) -> AsyncIterator[Work]:
    """One CheckAndDeduct at a time."""
    request = callers.requests()
    async with scrip.AsyncClient(callers.where, deadline_s=DEADLINE_S, **options) as client:

        async def work() -> int:
            account, request_id = request()
            await client.check_and_deduct(account, 1, request_id=request_id)
            return 1

        yield work


@asynccontextmanager
async def batching(callers: Callers) -> AsyncIterator[Work]:
    """The same, except that the client lets them travel together."""
    async with plain(callers, batching=True) as work:
        yield work


@asynccontextmanager
async def single(callers: Callers) -> AsyncIterator[Work]:
    """Through the ledger, one transaction for each deduction."""
    request = callers.requests()
    with Ledger(callers.where, options=WriterOptions(batch_max=1)) as ledger:

        async def work() -> int:
            name, request_id = request()
            account = AccountName(tenant=DEFAULT_TENANT, account_id=name, asset=DEFAULT_ASSET)
            outcome = await asyncio.wrap_future(ledger.queue(Deduct(request_id=request_id, account=account, amount=1)))
            if not isinstance(outcome, Accepted):
                raise CallersFailedError(str(outcome))
            return 1

        yield work


WAYS: Final[Mapping[str, Callable[[Callers], Any]]] = {way.__name__: way for way in (batch, plain, batching, single)}


def run(callers: Callers) -> Figures:
    """Have it done by a process of its own; raises CallersFailedError."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.callers"],
        input=json.dumps(asdict(callers)),
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
        timeout=callers.warmup_s + callers.measured_s + TIMEOUT_S,
    )
    if done.returncode != 0:
        raise CallersFailedError(f"{callers}: {done.stderr}")
    return Figures(**{**json.loads(done.stdout), "refused": ()})


class Clock:
    """Counts what is done from the first time that something is done after the warm-up, until one after the end.

    Something may be a batch that takes as long as a quarter of a second, so what is cut off would matter.
    """

    def __init__(self, callers: Callers) -> None:
        self.begins = time.perf_counter() + callers.warmup_s
        self._ends = self.begins + callers.measured_s
        self._began: float | None = None
        self._ended: float | None = None
        self.all_operations = 0
        self.operations = 0
        self.took: list[float] = []

    @property
    def is_over(self) -> bool:
        return self._ended is not None

    def note(self, began: float, now: float, operations: int) -> None:
        """So many were done in that time."""
        self.all_operations += operations
        if self._began is None:
            self._began = now if now >= self.begins else None
        elif self._ended is None:
            self.operations += operations
            self.took.append(now - began)
            self._ended = now if now >= self._ends else None

    @property
    def per_s(self) -> float:
        assert self._began is not None
        assert self._ended is not None
        return self.operations / (self._ended - self._began)


async def figures_of(callers: Callers) -> Figures:
    """Closed loop: each of those under way does it again as soon as it is done."""
    async with WAYS[callers.way](callers) as work:
        cpu_began, clock = time.process_time(), Clock(callers)

        async def caller() -> None:
            began = time.perf_counter()
            while not clock.is_over:
                operations = await work()
                now = time.perf_counter()
                clock.note(began, now, operations)
                began = now

        async with asyncio.TaskGroup() as group:
            for _ in range(callers.under_way):
                group.create_task(caller())
        cpu_s = time.process_time() - cpu_began
    in_order = sorted(clock.took)
    return Figures(
        calls=clock.all_operations,
        calls_per_s=clock.per_s,
        p50_ms=percentile_ms(in_order, 0.5),
        p99_ms=percentile_ms(in_order, 0.99),
        p99_9_ms=percentile_ms(in_order, 0.999) if len(in_order) >= P99_9_CALLS_MIN else None,
        generator_us=cpu_s / clock.all_operations * 1e6,
        spent=clock.all_operations,
        late=0,
        unsent=0,
        refused=(),
    )


if __name__ == "__main__":
    json.dump(asdict(asyncio.run(figures_of(Callers(**json.load(sys.stdin))))), sys.stdout)
