"""The one thread that changes the books: takes what has queued up, decides, writes one transaction, answers."""

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import InvalidStateError
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Protocol, TypeGuard, TypeVar
from uuid import uuid4

import structlog

from ledger.database import CollisionError, DatabaseUnavailableError
from ledger.decide import decide
from ledger.operations import Batch, Operation, Settle
from ledger.outcome import Accepted, Refused
from ledger.store import Changes, Store

# With so many calls the cost of a transaction itself is a small part of what they cost.
ENOUGH: Final = 128
ATTEMPTS_MAX: Final = 200
# What is tried alone has been tried with others before.
ATTEMPTS_ALONE_MAX: Final = 10
_PAUSE_BETWEEN_ATTEMPTS_S: Final = 0.01
_TRIES_MAX: Final = 20
_PAUSE_BETWEEN_TRIES_S: Final = 0.005

Answered = TypeVar("Answered")

log = structlog.get_logger()


class NotDoneError(Exception):
    """Nothing was decided, or the outcome is unknown. May be asked again with the same request_id."""


class QueueFullError(NotDoneError):
    """Too many operations are waiting."""

    def __init__(self, queue_max: int) -> None:
        super().__init__(f"{queue_max} operations are waiting already")
        self.queue_max = queue_max


class StoppingError(NotDoneError):
    """The ledger is being closed; it takes no more operations."""


class DeadlinePassedError(NotDoneError):
    """The caller's deadline passed before the operation was decided; nothing was written."""


class StaleError(Exception):
    """What a batch was to write beside its operations rests on something that has changed; nothing of it was done.

    To be raised by `Batch.also`, and caught by whoever made the batch, who reads and decides again.
    """


def decided_again(act: Callable[[], Answered]) -> Answered:
    """What an action that reads, decides and writes answers, once nobody is faster.

    raises   NotDoneError if somebody is, again and again
    """
    for attempt in range(_TRIES_MAX):
        try:
            return act()
        except (StaleError, CollisionError):
            time.sleep(random.uniform(0, _PAUSE_BETWEEN_TRIES_S) * attempt)  # noqa: S311 -- no secret
    raise NotDoneError(f"others were faster {_TRIES_MAX} times")


class IncidentError(Exception):
    """A bug; the log has the details under the incident's id."""

    def __init__(self, incident_id: str) -> None:
        super().__init__(f"incident {incident_id}")
        self.incident_id = incident_id


@dataclass(frozen=True, slots=True)
class Settled:
    """The outcome of Settle: nothing that has lapsed is unwritten."""


class Answer(Protocol):
    """Where an outcome goes: a future of concurrent.futures or of asyncio."""

    def cancelled(self) -> bool:
        """True if nobody waits any more."""

    def done(self) -> bool:
        """True if it is cancelled or resolved."""

    def set_result(self, result: Any, /) -> None:  # noqa: ANN401 -- a future takes what it was made for
        """Called with Accepted or Refused; with Settled for Settle; with a tuple of outcomes for a Batch."""

    def set_exception(self, exception: Exception, /) -> None:
        """Called instead if there is none."""


@dataclass(slots=True)
class Waiting:
    """An operation in the queue, or several that go together.

    deadline   by time.monotonic(); None: no limit
    """

    work: Operation | Batch
    answer: Answer
    deadline: float | None

    @property
    def operations(self) -> Sequence[Operation]:
        """All that is to be done."""
        return self.work.operations if isinstance(self.work, Batch) else (self.work,)

    @property
    def is_alone(self) -> bool:
        """True if it shares its transaction with nothing else."""
        return isinstance(self.work, Batch) and self.work.also is not None

    def is_given_up(self) -> bool:
        """True if the caller has gone or the deadline has passed."""
        return self.answer.cancelled() or (self.deadline is not None and self.deadline <= time.monotonic())


Decided = Accepted | Refused | Settled | Exception
Outcome = Decided | tuple[Decided, ...]
Delivery = Sequence[tuple[Answer, Outcome]]


def deliver(outcomes: Delivery) -> None:
    """Resolves each answer with its outcome, in the calling thread."""
    for answer, outcome in outcomes:
        if answer.done():
            continue
        try:
            if isinstance(outcome, Exception):
                answer.set_exception(outcome)
            else:
                answer.set_result(outcome)
        except InvalidStateError:
            # The caller gave up at this very moment.
            continue


class WriterObserver(Protocol):
    """Who wants to know how batches fare. Called in the writer's thread; quick, and never raising."""

    def batch_done(self, operations: int, seconds: float) -> None:
        """A batch is decided, and written or given up."""

    def batch_collided(self) -> None:
        """A batch is decided again, because another writer was faster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterOptions:
    """How operations are gathered into batches.

    batch_max   operations per transaction
    linger_ms   how long to wait for more of them at most; see `patience`
    queue_max   operations that may wait; more are refused at once, but what goes together is taken if one has room
    """

    batch_max: int = 1000
    linger_ms: float = 2.0
    queue_max: int = 10_000


def patience(load: int, took_s: float, linger_ms: float) -> tuple[int, float]:
    """How many calls to wait for, and for how many seconds at most, before a batch begins.

    A lone caller does not wait for others. Where there were several, the writer waits for as many to come back, but not
    longer than twice what the last batch took; and not for more than make the transaction itself a small part of the
    cost.

    load     how many calls the last batch had
    took_s   how long it took
    """
    return min(load, ENOUGH), min(linger_ms / 1000, 2 * took_s)


class Writer:
    """Group commit: many operations, each decided on its own, share one transaction.

    clock        tells now, in UTC
    deliver_all  is handed the outcomes of a batch in the writer's thread, once they are durable
    observer     is told of batches; None: nobody is
    """

    def __init__(
        self,
        store: Store,
        options: WriterOptions,
        *,
        clock: Callable[[], datetime],
        deliver_all: Callable[[Delivery], None] = deliver,
        observer: WriterObserver | None = None,
    ) -> None:
        self._store, self._options = store, options
        self._clock, self._deliver_all, self._observer = clock, deliver_all, observer
        self._queue: deque[Waiting] = deque()
        self._operations_waiting = 0
        self._changed = threading.Condition()
        # The writer is woken when so many operations wait.
        self._wake_at = 1
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="scrip-writer", daemon=True)

    @property
    def operations_waiting(self) -> int:
        """How many operations are in the queue."""
        return self._operations_waiting

    def start(self) -> None:
        """Begins to take operations."""
        self._thread.start()

    def submit(self, work: Operation | Batch, answer: Answer, deadline: float | None = None) -> None:
        """Queues an operation, or several that go together.

        answer     is resolved with the outcome once that is durable
        deadline   by time.monotonic(); what is not decided by then is dropped
        raises     QueueFullError, StoppingError
        """
        with self._changed:
            if self._stopping:
                raise StoppingError("the ledger is being closed")
            if self._operations_waiting >= self._options.queue_max:
                raise QueueFullError(self._options.queue_max)
            waiting = Waiting(work, answer, deadline)
            self._queue.append(waiting)
            self._operations_waiting += len(waiting.operations)
            if self._is_enough():
                self._changed.notify()

    def stop(self) -> None:
        """Takes nothing more, finishes what waits, and returns when all is answered."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        load, took_s = 0, 0.0
        while batch := self._take(load, took_s):
            load, began = len(batch), time.perf_counter()
            # Whatever happens, the thread lives on: without it every caller would wait in vain.
            try:
                self._deliver_all(self._answered(batch))
            except Exception:  # noqa: BLE001 -- even if a log cannot be written
                self._give_up(batch)
            took_s = time.perf_counter() - began

    def _give_up(self, batch: list[Waiting]) -> None:
        with suppress(Exception):
            self._deliver_all([(waiting.answer, NotDoneError("the outcome is unknown")) for waiting in batch])

    def _take(self, load: int, took_s: float) -> list[Waiting]:
        """The next batch; empty when stopped and nothing waits.

        load     how many the last batch had: with more than one there are several callers, who are likely back soon
        took_s   how long it took
        """
        calls, linger_s = patience(load, took_s, self._options.linger_ms)
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._stopping)
            if calls > 1 and linger_s > 0:
                self._wake_at = calls
                self._changed.wait_for(self._is_enough, linger_s)
                self._wake_at = 1
            return self._next()

    def _is_enough(self) -> bool:
        """True if there is nothing more to wait for."""
        is_full = self._operations_waiting >= self._options.batch_max
        return len(self._queue) >= self._wake_at or is_full or self._stopping

    def _next(self) -> list[Waiting]:
        """What fits into one transaction; at least the first that waits, if any does."""
        batch: list[Waiting] = []
        operations = 0
        while self._queue and (
            not batch
            or (operations + len(self._queue[0].operations) <= self._options.batch_max and not self._queue[0].is_alone)
        ):
            batch.append(self._queue.popleft())
            operations += len(batch[-1].operations)
            if batch[-1].is_alone:
                break
        self._operations_waiting -= operations
        return batch

    def _answered(self, batch: list[Waiting], attempts_max: int = ATTEMPTS_MAX) -> Delivery:
        began = time.perf_counter()
        operations = sum(len(waiting.operations) for waiting in batch)
        outcomes: Delivery
        try:
            outcomes = self._done(batch, attempts_max)
        except DatabaseUnavailableError as error:
            log.warning("batch_not_confirmed", operations=operations, error=str(error))
            outcomes = [(waiting.answer, NotDoneError(str(error))) for waiting in batch]
        except StaleError as error:
            # Only what is alone can be.
            outcomes = [(batch[0].answer, error)]
        except Exception as error:
            if len(batch) > 1:
                log.warning("batch_broke", operations=operations, exc_info=True)
                return [outcome for waiting in batch for outcome in self._answered([waiting], ATTEMPTS_ALONE_MAX)]
            return [(batch[0].answer, self._broken(batch[0], error))]
        took_s = time.perf_counter() - began
        if structlog.is_configured():
            # Unconfigured, as in a program that uses the ledger as a library, structlog prints even these.
            log.debug("batch", operations=operations, ms=round(took_s * 1000, 2))
        if self._observer is not None:
            self._observer.batch_done(operations, took_s)
        return outcomes

    def _broken(self, waiting: Waiting, error: Exception) -> Outcome:
        """The outcome of what broke on its own; of several operations that need not go together, of each on its own."""
        if isinstance(error, CollisionError):
            return NotDoneError(str(error))
        if isinstance(waiting.work, Batch) and not waiting.work.atomic and len(waiting.operations) > 1:
            log.warning("batch_broke", operations=len(waiting.operations), exc_info=error)
            return tuple(self._alone(replace(waiting, work=operation)) for operation in waiting.operations)
        return _incident(waiting.operations[0] if waiting.operations else None, error)

    def _alone(self, waiting: Waiting) -> Decided:
        ((_, outcome),) = self._answered([waiting], ATTEMPTS_ALONE_MAX)
        if isinstance(outcome, tuple):
            raise TypeError(f"{outcome} is not the outcome of one operation")
        return outcome

    def _done(self, batch: list[Waiting], attempts_max: int) -> Delivery:
        """The outcomes of a batch, durable. Decides again as long as another writer is faster."""
        for attempt in range(attempts_max):
            try:
                return self._attempt(batch)
            except CollisionError as error:
                self._store.forget()
                self._store.collided()
                if self._observer is not None:
                    self._observer.batch_collided()
                log.info("batch_collided", operations=len(batch), attempt=attempt, error=str(error))
                # Random, so that two writers do not collide again and again.
                time.sleep(random.uniform(0, _PAUSE_BETWEEN_ATTEMPTS_S) * min(attempt, 4))  # noqa: S311 -- no secret
            except BaseException:
                self._store.forget()
                raise
        raise CollisionError(f"other writers were faster {attempts_max} times")

    def _attempt(self, batch: list[Waiting]) -> Delivery:
        also = batch[0].work.also if isinstance(batch[0].work, Batch) else None
        with self._store.begin(alone=also is not None) as connection:
            operations = [operation for waiting in batch for operation in waiting.operations]
            changes, now = self._store.load(connection, operations, self._clock)
            changes.settle(now)
            decided = []
            for waiting in batch:
                changes, outcome = _decide(changes, waiting, now)
                decided.append((waiting.answer, outcome))
            confirmed = self._store.save(connection, changes, now) if changes.entries else None
            if also is not None and _is_done(decided[0][1]):
                also(connection, decided[0][1])
            elif confirmed is None:
                return decided
            # Nothing is left to commit where each statement is a transaction of its own.
            connection.commit()
            if confirmed is not None:
                self._store.remember(confirmed)
        return decided


def _decide(changes: Changes, waiting: Waiting, now: datetime) -> tuple[Changes, Outcome]:
    """Decides what waits; returns what is to be written from then on, and the outcome."""
    if waiting.is_given_up():
        return changes, DeadlinePassedError()
    if not isinstance(waiting.work, Batch):
        return changes, _decide_one(changes, waiting.work, now)
    if not waiting.work.atomic:
        return changes, tuple(_decide_one(changes, operation, now) for operation in waiting.work.operations)
    tried = changes.copy({key for operation in waiting.work.operations for key in operation.keys})
    outcomes: list[Decided] = []
    for index, operation in enumerate(waiting.work.operations):
        outcome = _decide_one(tried, operation, now)
        if not isinstance(outcome, Accepted):
            return changes, (blamed(outcome, index),) * len(waiting.work.operations)
        outcomes.append(outcome)
    return tried, tuple(outcomes)


def _is_done(outcome: Outcome) -> TypeGuard[tuple[Decided, ...]]:
    """True if all operations of an atomic batch are accepted."""
    return isinstance(outcome, tuple) and all(isinstance(one, Accepted) for one in outcome)


def blamed(outcome: Decided, index: int) -> Decided:
    """The outcome of all operations of an atomic batch in which one was not accepted.

    index   of that one
    """
    if isinstance(outcome, Refused):
        return replace(outcome, figures={**outcome.figures, "operation": index})
    return outcome


def _decide_one(changes: Changes, operation: Operation, now: datetime) -> Decided:
    """Decides one operation and takes over what it changes. If deciding crashes, only this operation fails."""
    if isinstance(operation, Settle):
        return Settled()
    try:
        outcome = decide(changes.states, operation, now)
    except Exception as error:  # noqa: BLE001 -- a bug in deciding must not disturb the neighbours in the batch
        return _incident(operation, error)
    if isinstance(outcome, Accepted):
        changes.add(outcome.postings)
    return outcome


def _incident(operation: Operation | None, error: Exception) -> IncidentError:
    """Logs a bug under a new id. What callers attach to an operation stays out of the log."""
    incident = IncidentError(uuid4().hex)
    shown = None if operation is None else _shown(operation)
    log.error("operation_broke", incident_id=incident.incident_id, operation=shown, exc_info=error)
    return incident


def _shown(operation: Operation) -> str:
    """An operation as it may be logged."""
    attached = {name: None for name in ("memo", "metadata") if hasattr(operation, name)}
    # Not by dataclasses.replace, which would check that there is a memo where there must be one.
    shown = copy(operation)
    for name, nothing in attached.items():
        object.__setattr__(shown, name, nothing)
    return repr(shown)
