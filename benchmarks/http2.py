"""As much of HTTP/2 as it takes to make unary gRPC calls, so that making them costs much less than answering them.

A gRPC client in Python costs as much per call as the server, which on one machine would measure the client as well.
Here a call is a join of bytes, and an answer is three frames that are looked at, not decoded.
"""

import socket
import struct
from collections.abc import Iterator
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
WINDOW_FIRST: Final = 65_535
WINDOW_MAX: Final = 2**31 - 1
CONTENT_TYPE: Final = b"application/grpc"

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
ACK = END_STREAM = 1
END_HEADERS = 4

_FRAME: Final = struct.Struct(">BHBBI")
_INT32: Final = struct.Struct(">I")


class AnsweredBadlyError(Exception):
    """The server answered a call with something other than a message and an OK."""


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return _FRAME.pack(len(payload) >> 16, len(payload) & 0xFFFF, kind, flags, stream) + payload


class Connection:
    """A connection on which many calls of one method are under way.

    method      such as /scrip.v1.CreditService/CheckAndDeduct
    timeout_s   what the server is told of the caller's deadline
    """

    def __init__(self, port: int, method: str, *, timeout_s: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""
        self._next_stream = 1
        self._with_message: set[int] = set()
        # What may still be sent before the server says that it has read enough.
        self._window = WINDOW_FIRST
        self._headers, self._headers_again = _header_blocks(method, port, timeout_s)
        opened = _INT32.pack(WINDOW_MAX - WINDOW_FIRST)
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0, b"") + frame(WINDOW_UPDATE, 0, 0, opened))

    def close(self) -> None:
        self.socket.close()

    def call(self, message: bytes) -> tuple[int, bytes]:
        """One call's stream and bytes; they must be sent in the order in which they were made."""
        stream, self._next_stream = self._next_stream, self._next_stream + 2
        block, self._headers = self._headers, self._headers_again
        length = len(message) + 5
        self._window -= length
        if self._window < 0:
            raise AssertionError("more is under way than one connection can take")
        return stream, b"".join(
            (
                _FRAME.pack(0, len(block), HEADERS, END_HEADERS, stream),
                block,
                _FRAME.pack(length >> 16, length & 0xFFFF, DATA, END_STREAM, stream),
                b"\0",
                _INT32.pack(len(message)),
                message,
            )
        )

    def answered(self) -> Iterator[int]:
        """The streams whose answers have come, all OK; raises AnsweredBadlyError, ConnectionError."""
        chunk = self.socket.recv(262_144)
        if not chunk:
            raise ConnectionError("the server closed the connection")
        received = self._received + chunk
        at, end = 0, len(received)
        while end - at >= 9:
            high, low, kind, flags, stream = _FRAME.unpack_from(received, at)
            after = at + 9 + (high << 16 | low)
            if after > end:
                break
            if kind == DATA:
                self._with_message.add(stream)
            elif kind == HEADERS:
                if flags & END_STREAM:
                    # A refusal or failure comes without a message.
                    if stream not in self._with_message:
                        raise AnsweredBadlyError(f"answered without a message: {received[at + 9 : after]!r}")
                    self._with_message.remove(stream)
                    yield stream
            else:
                self._heed(kind, flags, stream, received[at + 9 : after])
            at = after
        self._received = received[at:]

    def _heed(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        """What concerns the connection rather than a call."""
        if kind == SETTINGS and not flags & ACK:
            self.socket.sendall(frame(SETTINGS, ACK, 0, b""))
        elif kind == PING and not flags & ACK:
            self.socket.sendall(frame(PING, ACK, 0, payload))
        elif kind == WINDOW_UPDATE and stream == 0:
            self._window += _INT32.unpack(payload)[0]
        elif kind in {RST_STREAM, GOAWAY}:
            raise AnsweredBadlyError(f"frame of kind {kind} on stream {stream}: {payload!r}")


def _header_blocks(method: str, port: int, timeout_s: int) -> tuple[bytes, bytes]:
    """The headers of the first call, which the server is asked to remember, and of all others, which refer to them."""

    def text(value: bytes) -> bytes:
        return bytes([len(value)]) + value

    remembered = (
        b"\x44" + text(method.encode()),  # :path
        b"\x41" + text(b"127.0.0.1:%d" % port),  # :authority
        b"\x5f" + text(CONTENT_TYPE),
        b"\x40" + text(b"te") + text(b"trailers"),
        b"\x40" + text(b"grpc-timeout") + text(b"%dS" % timeout_s),
    )
    post, http = b"\x83", b"\x86"
    # The newest has the number 62; 0x80 marks a reference.
    numbers = range(61 + len(remembered), 61, -1)
    return post + http + b"".join(remembered), post + http + bytes(0x80 | number for number in numbers)
