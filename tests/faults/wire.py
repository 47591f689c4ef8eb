"""A wire to PostgreSQL that is cut at a chosen request: a TCP proxy that knows where a request ends."""

import socket
import struct
import threading
from contextlib import suppress
from enum import Enum
from typing import Self

from sqlalchemy import make_url

from tests.faults.customers import PATIENCE_S

_LENGTH = struct.Struct("!I")
# A request ends with Query or Sync, an answer with ReadyForQuery.
_QUERY, _SYNC = b"Q", b"S"
_READY = b"Z\0\0\0\5"


class Loss(Enum):
    """What is lost when the wire is cut."""

    REQUEST = "the request is lost"
    ANSWER = "the request is done and the answer is lost"
    LATE = "the answer is lost and the request arrives late"


class Wire:
    """Cuts the client's connection at its n-th request, counted from `cut`; later connections are whole."""

    def __init__(self, url: str) -> None:
        self._target = make_url(url)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._requests_left = 0
        self._loss = Loss.REQUEST
        self._late_may_arrive = threading.Event()
        self._sockets: list[socket.socket] = []
        self.was_cut = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """The database as it is seen through the wire."""
        port = self._listener.getsockname()[1]
        plain = {"sslmode": "disable", "gssencmode": "disable"}
        through = self._target.set(host="127.0.0.1", port=port).update_query_dict(plain)
        return through.render_as_string(hide_password=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._late_may_arrive.set()
        self._listener.close()
        for end in self._sockets:
            end.close()

    def cut(self, at_request: int, loss: Loss) -> None:
        """Prepares the cut: 1 is the very next request."""
        self._requests_left, self._loss, self.was_cut = at_request, loss, False
        self._late_may_arrive.clear()

    def leave_alone(self) -> None:
        """Cuts nothing any more."""
        self._requests_left = 0

    def let_the_late_request_arrive(self) -> None:
        self._late_may_arrive.set()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection((self._target.host, self._target.port or 5432))
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._sockets.append(end)
                swallow = threading.Event()
                swallowed = threading.Event()
                threading.Thread(target=self._requests, args=(client, server, swallow, swallowed), daemon=True).start()
                threading.Thread(target=self._answers, args=(client, server, swallow, swallowed), daemon=True).start()

    def _requests(
        self, client: socket.socket, server: socket.socket, swallow: threading.Event, swallowed: threading.Event
    ) -> None:
        with suppress(OSError), client.makefile("rb") as stream:
            # The first message has no kind.
            server.sendall(_message(stream))
            while kind := stream.read(1):
                message = kind + _message(stream)
                loss = self._loss_of(kind)
                if loss is None:
                    server.sendall(message)
                    continue
                if loss is Loss.ANSWER:
                    swallow.set()
                    server.sendall(message)
                    assert swallowed.wait(PATIENCE_S)
                self.was_cut = True
                client.shutdown(socket.SHUT_RDWR)
                if loss is Loss.LATE:
                    assert self._late_may_arrive.wait(PATIENCE_S)
                    swallow.set()
                    server.sendall(message)
                    assert swallowed.wait(PATIENCE_S)
                break
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)

    def _loss_of(self, kind: bytes) -> Loss | None:
        """What to lose at the end of this message; None almost always."""
        if kind not in {_QUERY, _SYNC}:
            return None
        with self._lock:
            self._requests_left -= 1
            return self._loss if self._requests_left == 0 else None

    def _answers(
        self, client: socket.socket, server: socket.socket, swallow: threading.Event, swallowed: threading.Event
    ) -> None:
        with suppress(OSError):
            while answer := server.recv(65_536):
                if not swallow.is_set():
                    client.sendall(answer)
                elif answer[-6:-1] == _READY:
                    swallowed.set()
        swallowed.set()
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)


def _message(stream) -> bytes:
    """The length and the body of a message."""
    length = stream.read(_LENGTH.size)
    if len(length) < _LENGTH.size:
        raise ConnectionError
    return length + stream.read(_LENGTH.unpack(length)[0] - _LENGTH.size)
