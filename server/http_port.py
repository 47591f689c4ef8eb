"""uvicorn inside the server: in its event loop, on sockets of its own, ended by the server and by no signal."""

import asyncio
import socket
from typing import Any, Final

import uvicorn
from h11 import LocalProtocolError
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from server.port import HTTP_FLAG, listening, port_of

CONNECTIONS_MAX: Final = 1_000
# Longer than the minute for which proxies keep connections, so that the proxy closes them and loses no request.
KEEP_ALIVE_S: Final = 75
# How long a client may take to say what it wants, and to take an answer.
PATIENCE_S: Final = 10.0


class HttpPort:
    """Serves an ASGI application over HTTP/1.1.

    shares_port   with other workers of one supervisor, who has reserved it for them
    """

    def __init__(self, app: ASGIApp, listen: str, *, shares_port: bool) -> None:
        self._app, self._listen, self._shares_port = app, listen, shares_port
        self._state = ServerState()
        self._sockets: list[socket.socket] = []
        self._servers: list[asyncio.Server] = []

    @property
    def port(self) -> int:
        """Where it listens; once it is bound."""
        return port_of(self._sockets)

    def bind(self) -> None:
        """Takes the port, where connections wait from then on; raises PortTakenError."""
        self._sockets = listening(self._listen, HTTP_FLAG, shares=self._shares_port)

    async def start(self) -> None:
        """Answers from then on."""
        config = uvicorn.Config(
            self._app,
            http=_PatientProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            # What uvicorn has to say is about clients that send nonsense; what breaks in the application, that logs.
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            limit_concurrency=CONNECTIONS_MAX,
            timeout_keep_alive=KEEP_ALIVE_S,
        )
        config.load()
        loop = asyncio.get_running_loop()
        for one in self._sockets:
            server = await loop.create_server(lambda: _PatientProtocol(config, self._state, {}), sock=one)
            self._servers.append(server)

    async def stop(self, *, grace_s: float, at_once: asyncio.Event) -> None:
        """Takes no more connections and no more requests, and answers those under way.

        grace_s   for so long at most
        at_once   set when they are not waited for any more
        """
        for server in self._servers:
            server.close()
        for one in self._sockets:
            one.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        answering = asyncio.create_task(self._answer_all())
        cutting = asyncio.create_task(at_once.wait())
        await asyncio.wait({answering, cutting}, timeout=grace_s, return_when=asyncio.FIRST_COMPLETED)
        # Hung up on first, so that nobody is told of a bug because his request was cancelled.
        for connection in list(self._state.connections):
            connection.transport.abort()
        for task in (answering, cutting, *self._state.tasks):
            task.cancel()
        await asyncio.gather(answering, cutting, *self._state.tasks, return_exceptions=True)

    async def _answer_all(self) -> None:
        while tasks := set(self._state.tasks):
            await asyncio.wait(tasks)


class _PatientProtocol(H11Protocol):
    """uvicorn's, but whoever is slow is hung up on: with a request's head, or with taking the answer.

    The body of a request is waited for by who reads it.
    """

    def __init__(self, config: uvicorn.Config, server_state: ServerState, app_state: dict[str, Any]) -> None:
        super().__init__(config, server_state, app_state)
        self._head_is_due: asyncio.TimerHandle | None = None
        self._taking_is_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._expect_head(PATIENCE_S)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.transport.is_closing():
            self._expect_head(KEEP_ALIVE_S + PATIENCE_S)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._taking_is_due = self.loop.call_later(PATIENCE_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        _cancel(self._taking_is_due)

    def connection_lost(self, exc: Exception | None) -> None:
        _cancel(self._head_is_due)
        _cancel(self._taking_is_due)
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        try:
            super().send_400_response(msg)
        except LocalProtocolError:
            # The nonsense came after an answer, or in the middle of one.
            self.transport.abort()

    def _expect_head(self, within_s: float) -> None:
        _cancel(self._head_is_due)
        self._head_is_due = self.loop.call_later(within_s, self._hang_up)

    def _hang_up(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
