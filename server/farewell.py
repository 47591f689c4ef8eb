"""What becomes of the calls that reach a server at the moment it ends."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc

from ledger import StoppingError
from server.errors import abort, status_of

# Time for calls that are on their way, and for the word that no more are taken.
QUIET_S: Final = 0.05


class Farewell(grpc.GenericRpcHandler):
    """Keeps the last calls until their callers know that this server takes no more.

    Calls that wait to be picked up when gRPC stops are told CANCELLED, which says nothing to a caller who has to know
    whether to ask again. So they are picked up first, and told SHUTTING_DOWN once gRPC takes no more: whoever asks
    again then, asks on another connection.
    """

    def __init__(self) -> None:
        self._keeps = False
        self._is_over = asyncio.Event()
        # Streams in both directions, which every kind of call fits in.
        self._handler: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(self._tell)

    def service(self, _call: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Who handles a call; None leaves it to the services."""
        return self._handler if self._keeps else None

    async def keep(self) -> None:
        """Keeps calls from now on; returns when those have come that were on their way."""
        self._keeps = True
        await asyncio.sleep(QUIET_S)

    async def tell(self) -> None:
        """Tells all of them, once gRPC is being stopped."""
        await asyncio.sleep(QUIET_S)
        self._is_over.set()

    async def _tell(self, _requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[Any, Any]) -> None:
        await self._is_over.wait()
        await abort(context, status_of(StoppingError()))
