"""The load: a process that keeps a number of CheckAndDeduct calls under way, and tells how long they took.

    python -m benchmarks.load < load.json > figures.json

Closed loop: the next call is made when one has been answered, so a slow server is asked less.
"""

import gc
import json
import random
import selectors
import subprocess
import sys
import time
from array import array
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from typing import Final

from benchmarks.http2 import Connection

METHOD: Final = "/scrip.v1.CreditService/CheckAndDeduct"
CALLS_PER_CONNECTION: Final = 64
TIMEOUT_S: Final = 30
# Between looks at what has come, if there is more than one caller: several answers at a look cost a third each.
PAUSE_S: Final = 0.001
P99_9_CALLS_MIN: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is asked of a server.

    in_flight   calls under way at any time
    accounts    how many there are; each call takes one at random
    run         a number that no other load on the same books has, so that no request_id comes twice
    """

    port: int
    in_flight: int
    accounts: int
    run: int
    warmup_s: float
    measured_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What came of it. All calls were answered OK.

    calls                 all of them, before and after the measured time too
    p99_9_ms              None if there were too few calls to tell
    generator_us          CPU time of this process, per call
    """

    calls: int
    calls_per_s: float
    p50_ms: float
    p99_ms: float
    p99_9_ms: float | None
    generator_us: float


class LoadFailedError(Exception):
    """A call was not answered OK; the text says how."""


def run(load: Load) -> Figures:
    """Have it done by a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load"],
        input=json.dumps(asdict(load)),
        capture_output=True,
        text=True,
        check=False,
        timeout=load.warmup_s + load.measured_s + 2 * TIMEOUT_S,
    )
    if done.returncode != 0:
        raise LoadFailedError(f"{load}: {done.stderr}")
    return Figures(**json.loads(done.stdout))


def account_id(number: int) -> str:
    return f"c-{number:06d}"


def messages(run: int, accounts: int) -> Callable[[], bytes]:
    """Serialized CheckAndDeductRequests, each with a request_id of its own, an account at random, and the amount 1."""
    account = [b"\x12\x08" + account_id(number).encode() + b"\x20\x01" for number in range(accounts)]
    draw = random.Random(run).random
    numbers = iter(range(sys.maxsize))

    def message() -> bytes:
        return b"\x0a\x10%06x-%09x" % (run, next(numbers)) + account[int(draw() * accounts)]

    return message


def measure(load: Load) -> Figures:
    """Keep `in_flight` calls under way until the time is over and all are answered."""
    message = messages(load.run, load.accounts)
    took = array("d")
    calls, under_way = 0, load.in_flight
    cpu_began, measured_from = time.process_time(), time.perf_counter() + load.warmup_s
    measured_to = measured_from + load.measured_s
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        connections = -(-load.in_flight // CALLS_PER_CONNECTION)
        for number in range(connections):
            caller = Caller(stack.enter_context(closing(Connection(load.port, METHOD, timeout_s=TIMEOUT_S))), message)
            selector.register(caller.connection.socket, selectors.EVENT_READ, caller)
            caller.send(len(range(number, load.in_flight, connections)))
        while under_way:
            if load.in_flight > 1:
                time.sleep(PAUSE_S)
            ready = selector.select(timeout=TIMEOUT_S)
            if not ready:
                raise LoadFailedError(f"{under_way} calls were not answered within {TIMEOUT_S} s")
            for key, _ in ready:
                now, answered = key.data.receive()
                calls += len(answered)
                if measured_from <= now < measured_to:
                    took.extend(answered)
                if now < measured_to:
                    key.data.send(len(answered))
                else:
                    under_way -= len(answered)
    if not took:
        raise LoadFailedError("no call was answered in the time that is measured")
    in_order = sorted(took)
    return Figures(
        calls=calls,
        calls_per_s=len(took) / load.measured_s,
        p50_ms=_percentile(in_order, 0.5) * 1e3,
        p99_ms=_percentile(in_order, 0.99) * 1e3,
        p99_9_ms=_percentile(in_order, 0.999) * 1e3 if len(took) >= P99_9_CALLS_MIN else None,
        generator_us=(time.process_time() - cpu_began) / calls * 1e6,
    )


class Caller:
    """Makes calls on one connection, and takes their times."""

    def __init__(self, connection: Connection, message: Callable[[], bytes]) -> None:
        self.connection = connection
        self._message = message
        self._sent_at: dict[int, float] = {}

    def send(self, count: int) -> None:
        made = [self.connection.call(self._message()) for _ in range(count)]
        now = time.perf_counter()
        self._sent_at.update((stream, now) for stream, _ in made)
        self.connection.socket.sendall(b"".join(sent for _, sent in made))

    def receive(self) -> tuple[float, list[float]]:
        """What time it is, and how many seconds each call took that has been answered."""
        streams = list(self.connection.answered())
        now = time.perf_counter()
        return now, [now - self._sent_at.pop(stream) for stream in streams]


def _percentile(in_order: list[float], part: float) -> float:
    return in_order[min(int(len(in_order) * part), len(in_order) - 1)]


if __name__ == "__main__":
    gc.disable()
    json.dump(asdict(measure(Load(**json.load(sys.stdin)))), sys.stdout)
