"""Making the calls, and taking their times."""

import selectors
import time
from array import array
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from math import inf
from typing import IO, Final

from server.load import TIMEOUT_S, Figures, Load, LoadFailedError, Refused
from server.load.http2 import Connection, ConnectionLostError, lost
from server.load.requests import CAPTURE, Requests

CALLS_PER_CONNECTION: Final = 64
# Between looks at what has come, if much comes: several answers at a look cost a third each.
PAUSE_S: Final = 0.001
P99_9_CALLS_MIN: Final = 1_000


def measure(load: Load, parent: IO[str] | None = None) -> Figures:
    """Put the load on the server until the time is over and all calls are answered.

    parent   can be read once nobody waits for the figures any longer
    raises   LoadFailedError
    """
    requests = Requests(load)
    cpu_began = time.process_time()
    try:
        with _callers(load, requests) as callers, selectors.DefaultSelector() as selector:
            for caller in callers:
                selector.register(caller.connection.socket, selectors.EVENT_READ, caller)
            if parent is not None:
                selector.register(parent, selectors.EVENT_READ)
            begins = time.perf_counter()
            tally = Tally(load, begins)
            pace = ClosedLoop(load, begins) if load.rate is None else OpenLoop(load, load.rate, begins)
            _drive(callers, selector, pace, tally)
    except OSError as error:
        raise LoadFailedError(f"{load.address}: {error}") from error
    return tally.figures(late=pace.late, unsent=pace.unsent, cpu_s=time.process_time() - cpu_began)


@contextmanager
def _callers(load: Load, requests: Requests) -> Iterator[list["Caller"]]:
    connections = -(-load.in_flight // CALLS_PER_CONNECTION)
    with ExitStack() as stack:
        yield [
            Caller(
                stack.enter_context(closing(Connection(load.address, timeout_s=TIMEOUT_S))),
                requests,
                len(range(number, load.in_flight, connections)),
            )
            for number in range(connections)
        ]


def _drive(
    callers: list["Caller"], selector: selectors.BaseSelector, pace: "ClosedLoop | OpenLoop", tally: "Tally"
) -> None:
    """Begin calls when they are due and take note of answers, until there is nothing more to come."""
    turn = under_way = 0
    while callers:
        now = time.perf_counter()
        due = pace.due(now, room=pace.in_flight - under_way)
        under_way += len(due)
        turn += 1
        # What is due together goes to one connection, as far as it can take it; the next time it is another one's turn.
        for place in range(turn, turn + len(callers)) if due else ():
            caller = callers[place % len(callers)]
            if room := caller.room:
                caller.begin(due[:room])
                due = due[room:]
                if not due:
                    break
        if pace.is_over(now) and (not under_way or now > pace.ends + TIMEOUT_S):
            tally.refuse(lost(f"not answered within {TIMEOUT_S} s", calls=under_way))
            return
        if pace.is_fast:
            time.sleep(PAUSE_S)
        until = min(pace.next_at(room=under_way < pace.in_flight), pace.ends + TIMEOUT_S)
        for key, _ in selector.select(timeout=max(until - time.perf_counter(), 0)):
            caller = key.data
            if caller is None:
                raise LoadFailedError("nobody waits for the figures any longer")
            try:
                under_way -= caller.receive(tally)
            except ConnectionLostError as error:
                tally.refuse(lost(str(error), calls=caller.under_way))
                selector.unregister(caller.connection.socket)
                callers.remove(caller)
                under_way -= caller.under_way
                pace.in_flight -= caller.most


class ClosedLoop:
    """As many calls are under way as can be: the next begins when one was answered."""

    late = unsent = 0

    def __init__(self, load: Load, begins: float) -> None:
        self.ends = begins + load.warmup_s + load.measured_s
        self.in_flight = load.in_flight
        self.is_fast = load.in_flight > 1

    def due(self, now: float, *, room: int) -> list[float]:
        """Calls to begin now, each as the instant at which it was due."""
        return [now] * room if now < self.ends else []

    def next_at(self, *, room: bool) -> float:  # noqa: ARG002 -- as the other
        """When a call is due next, whatever is answered until then."""
        return inf

    def is_over(self, now: float) -> bool:
        """Whether no call will begin any more."""
        return now >= self.ends


class OpenLoop:
    """Calls begin at instants that are set beforehand.

    late     how many found no room at their instant
    unsent   how many found none before the time was over
    """

    def __init__(self, load: Load, rate: float, begins: float) -> None:
        self.ends = begins + load.warmup_s + load.measured_s
        self.in_flight = load.in_flight
        self.is_fast = rate * PAUSE_S > 1
        self.late = 0
        self.unsent = max(int(rate * (load.warmup_s + load.measured_s)), 1)
        self._begins, self._rate = begins, rate
        self._begun = self._came = 0
        self._is_over = False

    def due(self, now: float, *, room: int) -> list[float]:
        """Calls to begin now, each as the instant at which it was due."""
        if self._is_over:
            return []
        # The last of them may come up just after the time is over.
        self._is_over = now >= self.ends
        first, seen = self._begun, self._came
        self._came = min(int((now - self._begins) * self._rate) + 1, first + self.unsent)
        self._begun = min(self._came, first + room)
        self.unsent -= self._begun - first
        self.late += max(self._came - max(seen, self._begun), 0)
        return [self._begins + number / self._rate for number in range(first, self._begun)]

    def next_at(self, *, room: bool) -> float:
        """When a call is due next, whatever is answered until then."""
        if self._is_over or not self.unsent:
            return inf
        return self._begins + self._begun / self._rate if room else self.ends

    def is_over(self, now: float) -> bool:  # noqa: ARG002 -- as the other
        """Whether no call will begin any more."""
        return self._is_over or not self.unsent


class Caller:
    """Makes calls on one connection.

    most   how many may be under way
    """

    def __init__(self, connection: Connection, requests: Requests, most: int) -> None:
        self.connection = connection
        self._requests = requests
        self.most = most
        self._due: dict[int, float] = {}
        self._holds: set[int] = set()

    @property
    def under_way(self) -> int:
        """How many calls are not answered yet."""
        return len(self._due)

    @property
    def room(self) -> int:
        """How many more calls can be made."""
        return self.most - len(self._due)

    def begin(self, instants: Sequence[float]) -> None:
        """Make calls that were due at these instants."""
        requests = self._requests
        made = [self.connection.call(requests.path, requests.new()) for _ in instants]
        self._due.update(zip((stream for stream, _ in made), instants, strict=True))
        if requests.holds:
            self._holds.update(stream for stream, _ in made)
        self.connection.send(b"".join(sent for _, sent in made))

    def receive(self, tally: "Tally") -> int:
        """Take note of what was answered, and capture what was held; returns how many calls fewer are under way.

        raises   ConnectionLostError
        """
        answers = self.connection.answers()
        now = time.perf_counter()
        before = len(self._due)
        due, held = [], []
        for stream, message, refused in answers:
            begun = self._due.pop(stream, None)
            if begun is None:
                continue
            if refused is not None:
                tally.refuse(refused)
                self._holds.discard(stream)
                continue
            due.append(begun)
            if stream in self._holds:
                self._holds.remove(stream)
                held.append(message)
        tally.answers(due, now, spent=len(due) - len(held))
        if held:
            made = [self.connection.call(CAPTURE, self._requests.capture(message)) for message in held]
            self._due.update((stream, now) for stream, _ in made)
            self.connection.send(b"".join(sent for _, sent in made))
        return before - len(self._due)


class Tally:
    """What was answered so far."""

    def __init__(self, load: Load, begins: float) -> None:
        self._load = load
        self._from = begins + load.warmup_s
        self._to = self._from + load.measured_s
        self._took = array("d")
        self._calls = self._spent = self._in_time = 0
        self._refused: dict[tuple[str, str], Refused] = {}

    def answers(self, due: Sequence[float], now: float, *, spent: int) -> None:
        """Answers that are OK, to calls that were due at these instants."""
        self._calls += len(due)
        self._spent += spent
        if now >= self._from:
            # Those that come after the end, too: they were under way when it came, and may be the slowest.
            self._took.extend(now - begun for begun in due)
            if now < self._to:
                self._in_time += len(due)

    def refuse(self, refused: Refused) -> None:
        """Calls that ended otherwise; raises LoadFailedError if none may."""
        if not refused.calls:
            return
        if self._load.all_ok:
            raise LoadFailedError(f"{refused.code} {refused.reason}: {refused.message}")
        alike = refused.code, refused.reason
        known = self._refused.get(alike)
        self._refused[alike] = refused if known is None else replace(known, calls=known.calls + refused.calls)

    def figures(self, *, late: int, unsent: int, cpu_s: float) -> Figures:
        """What came of it; raises LoadFailedError if nothing did, though all must be OK."""
        if not self._took and self._load.all_ok:
            raise LoadFailedError("no call was answered in the time that is measured")
        in_order = sorted(self._took)
        refused = tuple(self._refused.values())
        return Figures(
            calls=self._calls,
            calls_per_s=self._in_time / self._load.measured_s,
            p50_ms=percentile_ms(in_order, 0.5),
            p99_ms=percentile_ms(in_order, 0.99),
            p99_9_ms=percentile_ms(in_order, 0.999) if len(in_order) >= P99_9_CALLS_MIN else None,
            generator_us=cpu_s / max(self._calls + sum(one.calls for one in refused), 1) * 1e6,
            spent=self._spent,
            late=late,
            unsent=unsent,
            refused=refused,
        )


def percentile_ms(in_order: Sequence[float], part: float) -> float | None:
    """Of times in seconds, shortest first; None of none."""
    return in_order[min(int(len(in_order) * part), len(in_order) - 1)] * 1e3 if in_order else None
