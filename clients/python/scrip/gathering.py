"""Changes that travel together: which, when, and what becomes of each. Neither blocks nor awaits."""

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import grpc
from google.protobuf.message import Message

from scrip.calls.call import Call
from scrip.calls.many import CHANGES, outcome_of
from scrip.errors import ScripError
from scrip.reasons import timed_out
from scrip.v1.account_service_pb2 import DESCRIPTOR as ACCOUNTS
from scrip.v1.credit_service_pb2 import DESCRIPTOR as CREDITS
from scrip.v1.credit_service_pb2 import BatchOutcome, BatchRequest

Answer = TypeVar("Answer")

TOGETHER_MAX = 250
"""How many changes travel in one call at most; as many do not wait for the call before them to be answered."""

# The server takes 1,000 changes and one MiB.
_BYTES_MAX = 2**20

FLIGHTS_MAX = 4
"""How many such calls are under way at most: the server reads one while it writes another."""

PATIENCE_S = 0.5
"""How long others wait for such a call to be answered; one that takes longer may never be."""

BATCH = "/scrip.v1.CreditService/Batch"

# What failed with these failed for all that travelled together. Anything else may be the fault of one.
_OF_ALL = {
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.UNAVAILABLE,
}


def changing_rpcs() -> list[tuple[str, str]]:
    """List the RPCs that change something, each with its service, streams aside."""
    return [
        (service.full_name, method.name)
        for contract in (CREDITS, ACCOUNTS)
        for service in contract.services_by_name.values()
        for method in service.methods
        if method.input_type in CHANGES or method.input_type is BatchRequest.DESCRIPTOR
    ]


def can_travel(call: Call[Any]) -> bool:
    """Tell whether the call is a change that a batch can carry; a preview is none."""
    return call.request.DESCRIPTOR in CHANGES and not call.is_preview


class Traveller(ABC):
    """A change that has no outcome yet.

    call     the change
    packed   a BatchRequest with this change alone; one after the other, several are one with all of their changes
    ends_at  when its caller no longer waits, by time.monotonic()
    alone    True: travels without others
    flight   what carries it; None while it waits
    sent     True if it was ever on its way, so it may have been done
    """

    __slots__ = ("alone", "call", "ends_at", "flight", "packed", "sent")

    def __init__(self, call: Call[Any], ends_at: float) -> None:
        batch = BatchRequest()
        getattr(batch.operations.add(), CHANGES[call.request.DESCRIPTOR]).CopyFrom(call.request)
        self.call = call
        self.packed = batch.SerializeToString()
        self.ends_at = ends_at
        self.alone = False
        self.flight: Flight[Any] | None = None
        self.sent = False

    @property
    @abstractmethod
    def is_gone(self) -> bool:
        """True if nobody waits for an outcome any more."""

    @abstractmethod
    def settle(self, outcome: Message | Exception) -> None:
        """Hand over the outcome, unless nobody waits for it any more."""

    @property
    def seconds_left(self) -> float:
        return max(0.0, self.ends_at - time.monotonic())

    def late(self) -> ScripError:
        """Make the error for a change whose deadline has passed."""
        return timed_out(self.call.request_ids, sent=self.sent)


Some = TypeVar("Some", bound=Traveller)


class Flight(Generic[Some]):
    """One RPC that carries changes.

    aboard   the changes, in the order they came
    cancel   cancels the RPC, once there is one
    """

    def __init__(self, aboard: list[Some]) -> None:
        self.aboard = aboard
        self.cancel: Callable[[], object] | None = None
        self.began_at = time.monotonic()
        self._callers = len(aboard)
        for traveller in aboard:
            traveller.flight = self
            traveller.sent = True

    def give_up(self) -> None:
        """One of the callers no longer waits; without any, the RPC is cancelled."""
        self._callers -= 1
        if not self._callers and self.cancel is not None:
            self.cancel()

    @property
    def seconds_left(self) -> float:
        """How long the caller who waits longest still waits."""
        return max(traveller.seconds_left for traveller in self.aboard)

    @property
    def packed(self) -> bytes:
        """The BatchRequest that carries them all."""
        return b"".join(traveller.packed for traveller in self.aboard)

    def settle(self, response: Any) -> None:  # noqa: ANN401 -- any change's, or a BatchResponse
        """Hand over what the RPC was answered with."""
        if len(self.aboard) == 1:
            self.aboard[0].settle(response)
            return
        if len(response.outcomes) != len(self.aboard):
            raise ValueError(f"{len(self.aboard)} changes have {len(response.outcomes)} outcomes")
        for traveller, outcome in zip(self.aboard, response.outcomes, strict=True):
            traveller.settle(outcome)


class Line(Generic[Some]):
    """The changes that wait to travel, in the order they came, and those that are on their way."""

    def __init__(self) -> None:
        self._waiting: deque[Some] = deque()
        self._flights: set[Flight[Some]] = set()

    def join(self, traveller: Some) -> None:
        self._waiting.append(traveller)

    def clear(self) -> list[Some]:
        """Take out all who wait."""
        waiting = list(self._waiting)
        self._waiting.clear()
        return waiting

    def board(self) -> Flight[Some] | None:
        """Take those who travel next; None if there is nobody, or if it is better to wait for more."""
        under_way = self._under_way()
        if under_way and (under_way >= FLIGHTS_MAX or len(self._waiting) < TOGETHER_MAX):
            return None
        aboard: list[Some] = []
        size = 0
        while self._waiting and len(aboard) < TOGETHER_MAX:
            first = self._waiting[0]
            if not first.is_gone:
                size += len(first.packed)
                if aboard and (size > _BYTES_MAX or first.alone or aboard[0].alone):
                    break
                aboard.append(first)
            self._waiting.popleft()
        if not aboard:
            return None
        flight = Flight(aboard)
        self._flights.add(flight)
        return flight

    def _under_way(self) -> int:
        """Count the flights that are worth waiting for."""
        if not self._flights:
            return 0
        since = time.monotonic() - PATIENCE_S
        return sum(flight.began_at > since for flight in self._flights)

    def arrive(self, flight: Flight[Some]) -> None:
        self._flights.remove(flight)

    def fail(self, flight: Flight[Some], error: grpc.RpcError) -> None:
        """Hand over why an RPC failed. If it may be the fault of one, let each travel again, alone."""
        failures = [traveller.call.failed(error) for traveller in flight.aboard]
        if len(flight.aboard) > 1 and _may_be_the_fault_of_one(failures[0]):
            for traveller in reversed(flight.aboard):
                traveller.alone = True
                traveller.flight = None
                self._waiting.appendleft(traveller)
            return
        for traveller, failure in zip(flight.aboard, failures, strict=True):
            failure.__cause__ = error
            traveller.settle(failure)


def answer_of(call: Call[Answer], outcome: Message | Exception) -> Answer:
    """Make of an outcome what the change is answered with, or raise its error.

    outcome   its own RPC's response, what became of it in a batch, or why there is none
    """
    if isinstance(outcome, Exception):
        raise outcome
    if not isinstance(outcome, BatchOutcome):
        return call.read(outcome)
    found: Any = outcome_of(call, outcome)
    if isinstance(found, ScripError):
        raise found
    # A copy, because a part of a message that is kept keeps all of it in memory.
    answer: Answer = type(found)()
    answer.CopyFrom(found)  # type: ignore[attr-defined]
    return answer


def _may_be_the_fault_of_one(failure: ScripError) -> bool:
    is_full = failure.code is grpc.StatusCode.RESOURCE_EXHAUSTED and failure.reason_name
    return failure.code not in _OF_ALL and not is_full
