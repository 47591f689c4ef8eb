"""Connections whose changes travel together when there are several at once, blocking and awaited.

A change that finds nothing under way goes at once, as the call it is. Those that come in the meantime wait, and go
together in one Batch. gRPC would try such a Batch again as a whole, and hold up all who wait; so these connections have
it try no change again, and do it themselves, for each change on its own.
"""

import asyncio
import contextlib
import threading
from collections.abc import Sequence
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import Message

from scrip.attempts import PAUSES_S, Attempts
from scrip.calls.call import Answer, Call
from scrip.connection import OPTIONS, AsyncConnection, Connection, service_config
from scrip.errors import ScripError
from scrip.gathering import BATCH, PATIENCE_S, Flight, Line, Traveller, answer_of, can_travel, changing_rpcs
from scrip.reasons import closed
from scrip.v1.credit_service_pb2 import BatchResponse

_CHANGING = frozenset(rpc for _, rpc in changing_rpcs())
_DEFAULTS = {**OPTIONS, "grpc.service_config": service_config(*changing_rpcs())}


def _pauses_s(options: Sequence[tuple[str, Any]]) -> tuple[float, ...]:
    """How long to pause between attempts; no further attempts if the caller has told gRPC what to do about them."""
    chosen = dict(options)
    is_ours = chosen["grpc.service_config"] == _DEFAULTS["grpc.service_config"]
    return PAUSES_S if is_ours and chosen.get("grpc.enable_retries", 1) else ()


class _Blocked(Traveller):
    """A change whose caller blocks. All but `wait` is called with the connection's lock held."""

    __slots__ = ("_settled", "outcome")

    def __init__(self, call: Call[Any], ends_at: float) -> None:
        super().__init__(call, ends_at)
        self.prepare()

    def prepare(self) -> None:
        """Be without an outcome, again."""
        self.flight = None
        self.outcome: Message | Exception | None = None
        self._settled = threading.Lock()
        self._settled.acquire()

    @property
    def is_gone(self) -> bool:
        return self.outcome is not None

    def settle(self, outcome: Message | Exception) -> None:
        if self.outcome is None:
            self.outcome = outcome
            self._settled.release()

    def wait(self) -> bool:
        """Wait for the outcome, but not longer than the deadline, and not too long; False if it is worth going on."""
        if self._settled.acquire(timeout=min(self.seconds_left, PATIENCE_S)):
            return True
        return not self.seconds_left


class BatchingConnection(Connection):
    """Runs calls over a blocking channel, changes together; may be shared between threads.

    It needs no thread of its own: the answer to a batch is taken in the channel's, which sends the next.
    """

    _defaults = _DEFAULTS

    def __init__(
        self,
        target: str,
        deadline_s: float,
        channel_options: Sequence[tuple[str, Any]],
        credentials: grpc.ChannelCredentials | None,
    ) -> None:
        super().__init__(target, deadline_s, channel_options, credentials)
        self._batch: Any = self._channel.unary_unary(BATCH, response_deserializer=BatchResponse.FromString)
        self._pauses_s = _pauses_s(self._options)
        self._lock = threading.Lock()
        self._line: Line[_Blocked] = Line()
        self._closing = threading.Event()

    def run(self, call: Call[Answer]) -> Answer:
        if call.rpc not in _CHANGING:
            return super().run(call)
        self._check_use()
        attempts = Attempts(call.deadline_s or self._deadline_s, self._pauses_s)
        traveller = _Blocked(call, attempts.ends_at) if can_travel(call) else None
        while True:
            try:
                if traveller is None:
                    return self._ask(call, attempts.seconds_left)
                return answer_of(call, self._travel(traveller))
            except ScripError as failure:
                pause_s = attempts.pause_s(failure)
                if pause_s is None or self._closed:
                    raise
            if self._closing.wait(pause_s):
                raise closed(call.request_ids)

    def _travel(self, traveller: _Blocked) -> Message | Exception:
        traveller.prepare()
        with self._lock:
            if self._closed:
                return closed(traveller.call.request_ids)
            self._line.join(traveller)
            flight = self._line.board()
        if flight is not None and flight.aboard == [traveller]:
            return self._go_alone(flight, traveller.call)
        try:
            self._launch(flight)
            while not traveller.wait():
                self._launch(None)
        finally:
            self._give_up(traveller)
        assert traveller.outcome is not None, "given up, if nothing else"
        return traveller.outcome

    def _go_alone(self, flight: Flight[_Blocked], call: Call[Any]) -> Message | Exception:
        """Make the call in the caller's thread."""
        try:
            response: Message = self._methods[call.rpc](call.request, timeout=flight.seconds_left)
        except grpc.RpcError as error:
            failure = call.failed(error)
            failure.__cause__ = error
            return failure
        finally:
            self._arrive(flight)
        return response

    def _give_up(self, traveller: _Blocked) -> None:
        """Take away a change that has no outcome, because its deadline has passed or its caller was interrupted."""
        with self._lock:
            if traveller.is_gone:
                return
            traveller.settle(traveller.late())
            if traveller.flight is not None:
                traveller.flight.give_up()

    def _arrive(self, flight: Flight[_Blocked]) -> None:
        """Let go those who waited for an RPC to be answered."""
        with self._lock:
            self._line.arrive(flight)
        self._launch(None)

    def _launch(self, flight: Flight[_Blocked] | None) -> None:
        """Send a flight, and then all who may go; their outcomes are handed over in the channel's thread."""
        while True:
            if flight is not None:
                self._send(flight)
            with self._lock:
                flight = self._line.board()
            if flight is None:
                return

    def _send(self, flight: Flight[_Blocked]) -> None:
        try:
            if len(flight.aboard) > 1:
                rpc = self._batch.future(flight.packed, timeout=flight.seconds_left)
            else:
                call = flight.aboard[0].call
                rpc = self._methods[call.rpc].future(call.request, timeout=flight.seconds_left)
        except Exception as error:  # noqa: BLE001 -- whatever it is, those who wait must hear of it
            with self._lock:
                self._settle_all(flight, error)
                self._line.arrive(flight)
        else:
            flight.cancel = rpc.cancel
            rpc.add_done_callback(partial(self._landed, flight))

    def _landed(self, flight: Flight[_Blocked], rpc: Any) -> None:  # noqa: ANN401 -- grpc.Future and grpc.Call in one
        try:
            response = rpc.result()
            with self._lock:
                flight.settle(response)
        except grpc.RpcError as error:
            with self._lock:
                self._line.fail(flight, error)
        except Exception as error:  # noqa: BLE001 -- as above
            with self._lock:
                self._settle_all(flight, error)
        finally:
            self._arrive(flight)

    def _settle_all(self, flight: Flight[_Blocked], error: Exception) -> None:
        for traveller in flight.aboard:
            traveller.settle(closed(traveller.call.request_ids) if self._closed else error)

    def close(self) -> None:
        if not self._has_to_close():
            return
        self._closing.set()
        with self._lock:
            for traveller in self._line.clear():
                traveller.settle(closed(traveller.call.request_ids))
        self._channel.close()


class _Awaited(Traveller):
    """A change whose caller awaits `answer`."""

    __slots__ = ("answer",)

    answer: asyncio.Future[Message | Exception]

    def prepare(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[Message | Exception]:
        """Be without an outcome, again; gives what will have it."""
        self.flight = None
        self.answer = loop.create_future()
        return self.answer

    @property
    def is_gone(self) -> bool:
        return self.answer.done()

    def settle(self, outcome: Message | Exception) -> None:
        if not self.answer.done():
            self.answer.set_result(outcome)

    def give_up(self) -> None:
        """Have no outcome in time."""
        self.settle(self.late())
        if self.flight is not None:
            self.flight.give_up()


class AsyncBatchingConnection(AsyncConnection):
    """Runs calls over a channel of grpc.aio, changes together."""

    _defaults = _DEFAULTS
    _batch: Any

    def __init__(
        self,
        target: str,
        deadline_s: float,
        channel_options: Sequence[tuple[str, Any]],
        credentials: grpc.ChannelCredentials | None,
    ) -> None:
        super().__init__(target, deadline_s, channel_options, credentials)
        self._pauses_s = _pauses_s(self._options)
        self._line: Line[_Awaited] = Line()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_boarding = False
        self._closing = asyncio.Event()

    def _open(self) -> None:
        is_first = self._loop is None
        super()._open()
        if is_first:
            self._batch = self._channel.unary_unary(BATCH, response_deserializer=BatchResponse.FromString)

    async def run(self, call: Call[Answer]) -> Answer:
        if call.rpc not in _CHANGING:
            return await super().run(call)
        self._check_use()
        self._open()
        attempts = Attempts(call.deadline_s or self._deadline_s, self._pauses_s)
        traveller = _Awaited(call, attempts.ends_at) if can_travel(call) else None
        while True:
            try:
                if traveller is None:
                    return await self._ask(call, attempts.seconds_left)
                return answer_of(call, await self._travel(traveller))
            except ScripError as failure:
                pause_s = attempts.pause_s(failure)
                if pause_s is None or self._closed:
                    raise
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), pause_s)
            if self._closing.is_set():
                raise closed(call.request_ids)

    async def _travel(self, traveller: _Awaited) -> Message | Exception:
        loop = asyncio.get_running_loop()
        answer = traveller.prepare(loop)
        self._line.join(traveller)
        self._board_soon(loop)
        late = loop.call_later(traveller.seconds_left, traveller.give_up)
        try:
            return await answer
        finally:
            late.cancel()
            if answer.cancelled() and traveller.flight is not None:
                traveller.flight.give_up()

    def _board_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let changes go once all tasks that are ready have run, because they may have more of them."""
        if not self._is_boarding:
            self._is_boarding = True
            loop.call_soon(self._board, loop)

    def _board(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_boarding = False
        while flight := self._line.board():
            task = loop.create_task(self._fly(flight))
            flight.cancel = task.cancel
            self._tasks.add(task)
            task.add_done_callback(partial(self._arrive, flight))

    def _arrive(self, flight: Flight[_Awaited], task: asyncio.Task[None]) -> None:
        self._line.arrive(flight)
        self._tasks.remove(task)
        self._board_soon(task.get_loop())

    async def _fly(self, flight: Flight[_Awaited]) -> None:
        """Send changes, and hand over their outcomes."""
        loop = asyncio.get_running_loop()
        overdue = loop.call_later(PATIENCE_S, self._board_soon, loop)
        try:
            if len(flight.aboard) > 1:
                response = await self._batch(flight.packed, timeout=flight.seconds_left)
            else:
                call = flight.aboard[0].call
                response = await self._methods[call.rpc](call.request, timeout=flight.seconds_left)
            flight.settle(response)
        except grpc.RpcError as error:
            self._line.fail(flight, error)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 -- those who wait must hear of it
            bug = None if self._closed or isinstance(error, asyncio.CancelledError) else error
            for traveller in flight.aboard:
                traveller.settle(bug or closed(traveller.call.request_ids))
        finally:
            overdue.cancel()

    async def close(self) -> None:
        if not self._has_to_close():
            return
        self._closing.set()
        for traveller in self._line.clear():
            traveller.settle(closed(traveller.call.request_ids))
        if self._loop is not None:
            await self._channel.close()
            await asyncio.gather(*self._tasks, return_exceptions=True)
