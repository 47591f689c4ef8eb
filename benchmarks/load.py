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
from dataclasses import asdict, dataclass
from typing import Final

from benchmarks.http2 import Connection

METHOD: Final = "/scrip.v1.CreditService/CheckAndDeduct"
CALLS_PER_CONNECTION: Final = 64
TIMEOUT_S: Final = 30
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
    draw = random.Random(run).choices
    numbers = iter(range(sys.maxsize))

    def message() -> bytes:
        return b"\x0a\x10%06x-%09x" % (run, next(numbers)) + draw(account)[0]

    return message


def measure(load: Load) -> Figures:
    """Keep `in_flight` calls under way until the time is over and all are answered."""
    message = messages(load.run, load.accounts)
    selector = selectors.DefaultSelector()
    took = array("d")
    calls = 0

    began, cpu_began = time.perf_counter(), time.process_time()
    measured_from = began + load.warmup_s
    measured_to = measured_from + load.measured_s
    connections = -(-load.in_flight // CALLS_PER_CONNECTION)
    for number in range(connections):
        connection, sent_at = Connection(load.port, METHOD, timeout_s=TIMEOUT_S), {}
        selector.register(connection.socket, selectors.EVENT_READ, (connection, sent_at))
        _send(connection, sent_at, message, len(range(number, load.in_flight, connections)))
    under_way = load.in_flight

    while under_way:
        ready = selector.select(timeout=TIMEOUT_S)
        if not ready:
            raise LoadFailedError(f"{under_way} calls were not answered within {TIMEOUT_S} s")
        for key, _ in ready:
            connection, sent_at = key.data
            streams = list(connection.answered())
            now = time.perf_counter()
            calls += len(streams)
            if measured_from <= now < measured_to:
                took.extend(now - sent_at.pop(stream) for stream in streams)
            if now < measured_to:
                _send(connection, sent_at, message, len(streams))
            else:
                under_way -= len(streams)

    took_sorted = sorted(took)
    if not took_sorted:
        raise LoadFailedError("no call was answered in the time that is measured")
    return Figures(
        calls=calls,
        calls_per_s=len(took) / load.measured_s,
        p50_ms=_percentile(took_sorted, 0.5) * 1e3,
        p99_ms=_percentile(took_sorted, 0.99) * 1e3,
        p99_9_ms=_percentile(took_sorted, 0.999) * 1e3 if len(took) >= P99_9_CALLS_MIN else None,
        generator_us=(time.process_time() - cpu_began) / calls * 1e6,
    )


def _send(connection: Connection, sent_at: dict[int, float], message: Callable[[], bytes], count: int) -> None:
    made = [connection.call(message()) for _ in range(count)]
    now = time.perf_counter()
    for stream, _ in made:
        sent_at[stream] = now
    connection.socket.sendall(b"".join(sent for _, sent in made))


def _percentile(in_order: list[float], part: float) -> float:
    return in_order[min(int(len(in_order) * part), len(in_order) - 1)]


if __name__ == "__main__":
    gc.disable()
    json.dump(asdict(measure(Load(**json.load(sys.stdin)))), sys.stdout)
