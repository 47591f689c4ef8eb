"""How calls travel: the channel, its settings, and running a Call over it, blocking or awaiting.

These two classes are the only place where blocking and awaiting differ.
"""

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import grpc.aio

from scrip import arguments
from scrip.calls import Answer, Call, Steps
from scrip.errors import closed, from_rpc, invalid
from scrip.v1.credit_service_pb2_grpc import CreditServiceStub
from scrip.v1.ledger_service_pb2_grpc import LedgerServiceStub

_SERVICE_CONFIG = {
    "methodConfig": [
        {
            # Every method: a change carries its request_id, so no attempt is done twice.
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
        }
    ]
}

_OPTIONS: Mapping[str, str | int] = {
    "grpc.service_config": json.dumps(_SERVICE_CONFIG),
    # As often as a gRPC server allows unasked, and only while a call is open. With keepalive on, Linux also drops a
    # connection whose bytes stay unacknowledged for the timeout, instead of after a quarter of an hour.
    "grpc.keepalive_time_ms": 300_000,
    "grpc.keepalive_timeout_ms": 10_000,
    # A server that comes back is found within seconds; gRPC's own limit is two minutes.
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 5_000,
    # A page of 500 entries may be larger than gRPC's 4 MiB.
    "grpc.max_receive_message_length": -1,
}


class _Prepared:
    """Where the server is and how to talk to it, checked; of use in the process that made it, until it is closed."""

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
        self._options = list({**_OPTIONS, **_checked(channel_options)}.items())
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
        self._methods: Mapping[str, grpc.UnaryUnaryMultiCallable[Any, Any]] = {
            **vars(CreditServiceStub(self._channel)),
            **vars(LedgerServiceStub(self._channel)),
        }

    def run(self, call: Call[Answer]) -> Answer:
        self._check_use()
        try:
            response = self._methods[call.rpc](call.request, timeout=call.deadline_s or self._deadline_s)
        except grpc.RpcError as error:
            raise from_rpc(error, call.request_id) from error
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

    def close(self) -> None:
        if self._has_to_close():
            self._channel.close()


class AsyncConnection(_Prepared):
    """Runs calls over a channel of grpc.aio, which opens with the first call and belongs to that call's event loop."""

    _loop: asyncio.AbstractEventLoop | None = None
    _channel: grpc.aio.Channel
    _methods: Mapping[str, grpc.aio.UnaryUnaryMultiCallable[Any, Any]]

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
        self._methods = {**vars(CreditServiceStub(self._channel)), **vars(LedgerServiceStub(self._channel))}
        self._loop = loop

    async def run(self, call: Call[Answer]) -> Answer:
        self._check_use()
        self._open()
        try:
            response = await self._methods[call.rpc](call.request, timeout=call.deadline_s or self._deadline_s)
        except grpc.RpcError as error:
            raise from_rpc(error, call.request_id) from error
        except asyncio.CancelledError:
            # grpc.aio also says so when the channel is closed, and the task would be taken for cancelled.
            task = asyncio.current_task()
            if self._closed and not (task and task.cancelling()):
                raise closed(call.request_id) from None
            raise
        return call.read(response)

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

    async def close(self) -> None:
        if self._has_to_close() and self._loop is not None:
            await self._channel.close()


def _checked(options: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    try:
        pairs = dict(options)
    except (TypeError, ValueError):
        raise invalid("channel_options", "must be pairs, such as ('grpc.keepalive_time_ms', 60000)") from None
    for name in pairs:
        arguments.text("channel_options", name)
    return pairs
