"""How tests ask over HTTP: by a client where it will do, and by a socket where a client would never say such things."""

import asyncio
import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from server.http import http_app
from server.http_port import HttpPort
from server.metrics import Metrics
from tests.postgres import free_port

PATIENCE_S = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class HttpAsking:
    """An HTTP server, to be asked."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def __call__(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """The answer. An underscore in the name of a header is a hyphen."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            return _answer(connection.getresponse())
        finally:
            connection.close()

    @contextmanager
    def connected(self) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE_S) as connection:
            yield connection

    def raw(self, *chunks: bytes) -> Answer:
        """The answer to these bytes."""
        with self.connected() as connection:
            for chunk in chunks:
                connection.sendall(chunk)
            return answer_of(connection)


def answer_of(connection: socket.socket, method: str = "GET") -> Answer:
    """The next answer that comes on a connection."""
    response = http.client.HTTPResponse(connection, method=method)
    response.begin()
    return _answer(response)


def hung_up(connection: socket.socket) -> bool:
    """True once the other end has closed the connection."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def _answer(response: http.client.HTTPResponse) -> Answer:
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(status=response.status, headers=headers, body=response.read())


class ServedApp:
    """The HTTP side alone, in a thread of its own, with what a test puts behind it.

    pages   makes the pages of the shop, whose public_url it is given
    """

    def __init__(self, *, events=None, pages=lambda _url: ()) -> None:
        port = free_port()
        routes = pages(f"http://127.0.0.1:{port}")
        app = http_app(is_ready=lambda: True, metrics=Metrics(), events=events, pages=routes)
        self._served = HttpPort(app, f"127.0.0.1:{port}", shares_port=False)
        self._served.bind()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="HTTP under test")

    def __enter__(self) -> HttpAsking:
        self._thread.start()
        self._do(self._served.start())
        return HttpAsking(self._served.port)

    def __exit__(self, *_: object) -> None:
        self.stop(grace_s=0)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def stop(self, *, grace_s: float) -> None:
        self._do(self._served.stop(grace_s=grace_s, at_once=asyncio.Event()))

    def _do(self, coroutine) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE_S)
