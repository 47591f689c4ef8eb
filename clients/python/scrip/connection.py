"""How calls travel: the channel, its settings, and running a Call over it, blocking or awaiting.

These two classes are the only place where blocking and awaiting differ.
"""

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from queue import SimpleQueue
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import Message

from scrip import arguments
from scrip.calls.call import Answer, Call, Item, Steps, Stream
from scrip.errors import ScripError
from scrip.reasons import closed, invalid
from scrip.streams import Backlog
from scrip.v1.account_service_pb2_grpc import AccountServiceStub
from scrip.v1.billing_service_pb2_grpc import BillingServiceStub
from scrip.v1.credit_service_pb2_grpc import CreditServiceStub
from scrip.v1.ledger_service_pb2_grpc import LedgerServiceStub
from scrip.v1.pricing_service_pb2_grpc import PricingServiceStub

# Taken up again by streams.py instead, because gRPC repeats nothing of which a part was answered.
_STREAMING = ("scrip.v1.AccountService", "BulkGrant")


def service_config(*not_repeated: tuple[str, str]) -> str:
    """Write down which RPCs gRPC repeats.

    not_repeated   service and method of those that it does not
    """
    methods = [
        {"name": [{"service": service, "method": method} for service, method in (_STREAMING, *not_repeated)]},
        {
            # Every other method: a change carries its request_id, or says how things are to be, so no attempt is done
            # twice.
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 5,
                # A server that restarts is back within these: about 0.1, 0.3, 0.9 and 2 seconds.
                "initialBackoff": "0.1s",
                "maxBackoff": "2s",
                "backoffMultiplier": 3,
                # CANCELLED is what gRPC says of calls that a stopping server had not looked at yet.
                "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
            },
        },
    ]
    return json.dumps({"methodConfig": methods})


OPTIONS: Mapping[str, str | int] = {
    "grpc.service_config": service_config(),
    # As often as a gRPC server allows unasked, and only while a call is open. With keepalive on, Linux also drops a
    # connection whose bytes stay unacknowledged for the timeout, instead of after a quarter of an hour.
    "grpc.keepalive_time_ms": 300_000,
    "grpc.keepalive_timeout_ms": 10_000,
    # A server that comes back is found within seconds; gRPC's own limit is two minutes.
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 5_000,
    # A page of 500 entries may be larger than gRPC's 4 MiB.
    "grpc.max_receive_message_length": -1,
    # A batch may be larger than gRPC's 256 KiB, above which it would not be repeated.
    "grpc.per_rpc_retry_buffer_size": 8 * 2**20,
}


_STUBS: Sequence[Callable[[Any], object]] = (
    CreditServiceStub,
    AccountServiceStub,
    LedgerServiceStub,
    PricingServiceStub,
    BillingServiceStub,
)


class _Prepared:
    """Where the server is and how to talk to it, checked; of use in the process that made it, until it is closed."""

    _defaults = OPTIONS

    def __init__(
        self,
        target: str,
        deadline_s: float,
        channel_options: Sequence[tuple[str, Any]],
        credentials: grpc.ChannelCredentials | None,
    ) -> None:
        if arguments.named("target", target).startswith(("http://", "https://")):
            raise invalid("target", f"must be a gRPC target such as 127.0.0.1:50051, not a URL; it is {target}")
        if credentials is not None and not isinstance(credentials, grpc.ChannelCredentials):
            raise invalid("credentials", f"must be grpc.ChannelCredentials; it is a {type(credentials).__name__}")
        self._target = target
        self._deadline_s = arguments.seconds("deadline_s", deadline_s)
        self._options = list({**self._defaults, **_checked(channel_options)}.items())
        self._credentials = credentials
        self._process = os.getpid()
        self._closed = False

    def _check_use(self) -> None:
        """Refuse a use that gRPC would answer with a riddle, or hang in."""
        if self._closed:
            raise RuntimeError("This client is closed. Make another.")
        if self._process != os.getpid():
            raise RuntimeError("This client was made before the process forked. Make one in each process.")

    def _has_to_close(self) -> bool:
        """Tell whether the channel is still to be closed; once. In a forked child it is the parent's, so never."""
        if self._closed or self._process != os.getpid():
            return False
        self._closed = True
        return True


class Connection(_Prepared):
    """Runs calls over a blocking channel; may be shared between threads."""

    def __init__(
        self,
        target: str,
        deadline_s: float,
        channel_options: Sequence[tuple[str, Any]],
        credentials: grpc.ChannelCredentials | None,
    ) -> None:
        super().__init__(target, deadline_s, channel_options, credentials)
        if credentials is None:
            self._channel = grpc.insecure_channel(target, self._options)
        else:
            self._channel = grpc.secure_channel(target, credentials, self._options)
        self._methods: Mapping[str, Any] = _methods(self._channel)

    def run(self, call: Call[Answer]) -> Answer:
        return self._ask(call, call.deadline_s or self._deadline_s)

    def _ask(self, call: Call[Answer], timeout_s: float) -> Answer:
        self._check_use()
        try:
            response = self._methods[call.rpc](call.request, timeout=timeout_s)
        except grpc.RpcError as error:
            raise call.failed(error) from error
        return call.read(response)

    def follow(self, steps: Steps[Answer]) -> Answer:
        try:
            call = next(steps)
            while True:
                try:
                    answer = self.run(call)
                except Exception as failure:  # noqa: BLE001 -- the steps decide what it means, and raise it again
                    call = steps.throw(failure)
                else:
                    call = steps.send(answer)
        except StopIteration as end:
            last: Answer = end.value
            return last

    def stream(self, stream: Stream[Item]) -> Iterator[Item | ScripError]:
        if isinstance(stream.calls, AsyncIterable):
            raise invalid("grants", "must not be an async iterable; AsyncClient takes one")
        coming = iter(stream.calls)
        backlog = Backlog(stream, self._deadline_s)
        pipe: _Pipe | None = None
        try:
            while backlog.take(islice(coming, backlog.room)):
                if pipe is None:
                    self._check_use()
                    pipe = _Pipe(self._methods[stream.rpc], backlog.seconds_left)
                try:
                    outcome = backlog.settle(pipe.exchange(backlog.unsent()))
                except (grpc.RpcError, ScripError) as error:
                    pipe.cancel()
                    pipe = None
                    if self._closed:
                        raise closed(backlog.request_ids) from error
                    time.sleep(backlog.pause_s(error))
                else:
                    yield outcome
            if pipe is not None:
                pipe.finish()
        finally:
            if pipe is not None:
                pipe.cancel()

    def close(self) -> None:
        if self._has_to_close():
            self._channel.close()


class AsyncConnection(_Prepared):
    """Runs calls over a channel of grpc.aio, which opens with the first call and belongs to that call's event loop."""

    _loop: asyncio.AbstractEventLoop | None = None
    _channel: grpc.aio.Channel
    _methods: Mapping[str, Any]

    def _open(self) -> None:
        """Open the channel in the loop that runs, if there is none; refuse another loop."""
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        if self._loop is not None:
            raise RuntimeError("This client belongs to another event loop. Make one in each.")
        if self._credentials is None:
            self._channel = grpc.aio.insecure_channel(self._target, self._options)
        else:
            self._channel = grpc.aio.secure_channel(self._target, self._credentials, self._options)
        self._methods = _methods(self._channel)
        self._loop = loop

    async def run(self, call: Call[Answer]) -> Answer:
        return await self._ask(call, call.deadline_s or self._deadline_s)

    async def _ask(self, call: Call[Answer], timeout_s: float) -> Answer:
        self._check_use()
        self._open()
        try:
            response = await self._methods[call.rpc](call.request, timeout=timeout_s)
        except grpc.RpcError as error:
            raise call.failed(error) from error
        except asyncio.CancelledError:
            if self._was_closed():
                raise closed(call.request_ids) from None
            raise
        return call.read(response)

    def _was_closed(self) -> bool:
        """Tell what a CancelledError means: grpc.aio raises one too when the channel is closed."""
        task = asyncio.current_task()
        return self._closed and not (task and task.cancelling())

    async def follow(self, steps: Steps[Answer]) -> Answer:
        try:
            call = next(steps)
            while True:
                try:
                    answer = await self.run(call)
                except Exception as failure:  # noqa: BLE001 -- the steps decide what it means, and raise it again
                    call = steps.throw(failure)
                else:
                    call = steps.send(answer)
        except StopIteration as end:
            last: Answer = end.value
            return last

    async def stream(self, stream: Stream[Item]) -> AsyncIterator[Item | ScripError]:
        coming = _asynchronous(stream.calls)
        backlog = Backlog(stream, self._deadline_s)
        pipe: _AsyncPipe | None = None
        try:
            while backlog.take([call async for call in _first(backlog.room, coming)]):
                if pipe is None:
                    self._check_use()
                    self._open()
                    pipe = _AsyncPipe(self._methods[stream.rpc], backlog.seconds_left)
                try:
                    outcome = backlog.settle(await pipe.exchange(backlog.unsent()))
                except (grpc.RpcError, ScripError) as error:
                    pipe.cancel()
                    pipe = None
                    if self._closed:
                        raise closed(backlog.request_ids) from error
                    await asyncio.sleep(backlog.pause_s(error))
                except asyncio.CancelledError:
                    if self._was_closed():
                        raise closed(backlog.request_ids) from None
                    raise
                else:
                    yield outcome
            if pipe is not None:
                await pipe.finish()
        finally:
            if pipe is not None:
                pipe.cancel()

    async def close(self) -> None:
        if self._has_to_close() and self._loop is not None:
            await self._channel.close()


def _methods(channel: grpc.Channel | grpc.aio.Channel) -> Mapping[str, Any]:
    """List all RPCs by their names, which no two services share."""
    return {name: method for stub in _STUBS for name, method in vars(stub(channel)).items()}


class _Pipe:
    """One blocking RPC that streams both ways."""

    def __init__(self, method: "grpc.StreamStreamMultiCallable[Any, Any]", timeout_s: float) -> None:
        # gRPC takes from it in a thread of its own, so that the caller's iterator runs in the caller's.
        self._requests: SimpleQueue[Message | None] = SimpleQueue()
        self._responses = method(iter(self._requests.get, None), timeout=timeout_s)

    def exchange(self, requests: Iterable[Message]) -> Message | None:
        """Send requests, and take the next response; None if the stream has ended before all was answered."""
        for request in requests:
            self._requests.put(request)
        return next(self._responses, None)

    def finish(self) -> None:
        """Say that nothing more will come, and let the server end the stream."""
        self._requests.put(None)
        with contextlib.suppress(grpc.RpcError):  # All was answered.
            next(self._responses, None)

    def cancel(self) -> None:
        self._requests.put(None)
        self._responses.cancel()


class _AsyncPipe:
    """As _Pipe, awaited."""

    def __init__(self, method: "grpc.aio.StreamStreamMultiCallable[Any, Any]", timeout_s: float) -> None:
        # Not written to directly: a server that waits for its responses to be taken would make the writing wait.
        self._requests: asyncio.Queue[Message | None] = asyncio.Queue()
        self._responses = method(self._taken(), timeout=timeout_s)

    async def _taken(self) -> AsyncIterator[Message]:
        while (request := await self._requests.get()) is not None:
            yield request

    async def exchange(self, requests: Iterable[Message]) -> Message | None:
        for request in requests:
            self._requests.put_nowait(request)
        try:
            response = await self._responses.read()
        except grpc.aio.AioRpcError as error:
            # If it ended while it was written to, grpc.aio may lose what the server said of it (grpc/grpc#36066).
            if "execute_batch" in (error.debug_error_string() or ""):
                return None
            raise
        return response if isinstance(response, Message) else None

    async def finish(self) -> None:
        self._requests.put_nowait(None)
        with contextlib.suppress(grpc.RpcError):
            await self._responses.read()

    def cancel(self) -> None:
        self._responses.cancel()


async def _asynchronous(items: Iterable[Item] | AsyncIterable[Item]) -> AsyncIterator[Item]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


async def _first(most: int, items: AsyncIterator[Item]) -> AsyncIterator[Item]:
    """Take the first items of those that are left, and leave the others."""
    for _ in range(most):
        try:
            yield await anext(items)
        except StopAsyncIteration:
            return


def _checked(options: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    try:
        pairs = dict(options)
    except (TypeError, ValueError):
        raise invalid("channel_options", "must be pairs, such as ('grpc.keepalive_time_ms', 60000)") from None
    for name in pairs:
        arguments.text("channel_options", name)
    return pairs
