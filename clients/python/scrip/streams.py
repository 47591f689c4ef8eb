"""Streams: what of one has no outcome yet, and whether it is worth another try. Neither blocks nor awaits."""

from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Any, Generic

import grpc
from google.protobuf.message import Message

from scrip.attempts import PAUSES_S, Attempts, is_worth_another
from scrip.calls.call import Call, Item, Stream
from scrip.errors import ScripError
from scrip.reasons import ended_early, from_rpc

AHEAD_MAX = 500
"""How many calls may be without an outcome."""


class Backlog(Generic[Item]):
    """The calls of a stream that have no outcome yet, in order.

    What was sent through a stream that broke is sent again through the next: it may have been done, and its request_id
    sees to it that nothing is done twice.
    """

    def __init__(self, stream: Stream[Item], deadline_s: float) -> None:
        self._stream = stream
        self._attempts = Attempts(stream.deadline_s or deadline_s, PAUSES_S)
        self._waiting: deque[tuple[Call[Any], Message]] = deque()
        self._sent = 0
        self.has_all = False

    @property
    def room(self) -> int:
        """How many calls may be taken now."""
        return 0 if self.has_all else AHEAD_MAX - len(self._waiting)

    def take(self, calls: Iterable[Call[Any]]) -> bool:
        """Take as many calls as there is room for, or all that are left; tell whether any has no outcome."""
        room, before = self.room, len(self._waiting)
        self._waiting.extend((call, self._stream.request(call)) for call in calls)
        self.has_all = self.has_all or len(self._waiting) - before < room
        return bool(self._waiting)

    def unsent(self) -> list[Message]:
        """List what is to be sent through the stream that is open, and take it for sent."""
        unsent = [request for _, request in islice(self._waiting, self._sent, None)]
        self._sent = len(self._waiting)
        return unsent

    def settle(self, response: Message | None) -> Item | ScripError:
        """Take the outcome of the first call that has none.

        response   None if the stream has ended
        raises     the outcome, if it decides nothing
        """
        if response is None:
            raise ended_early(self.request_ids)
        call, _ = self._waiting[0]
        outcome = self._stream.outcome(call, response)
        if isinstance(outcome, ScripError) and is_worth_another(outcome):
            raise outcome
        self._waiting.popleft()
        self._sent -= 1
        self._attempts.succeeded()
        return outcome

    def pause_s(self, broke: grpc.RpcError | ScripError) -> float:
        """How long to pause before another stream is opened for what has no outcome; raises if that is of no use."""
        self._sent = 0
        failure = broke if isinstance(broke, ScripError) else from_rpc(broke, self.request_ids)
        pause_s = self._attempts.pause_s(failure)
        if pause_s is None:
            raise failure from (None if failure is broke else broke)
        return pause_s

    @property
    def request_ids(self) -> tuple[str, ...]:
        """Of the first call that has no outcome."""
        return self._waiting[0][0].request_ids

    @property
    def seconds_left(self) -> float:
        return self._attempts.seconds_left
