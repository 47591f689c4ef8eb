"""As much of HTTP/2 as it takes to make unary gRPC calls, so that making them costs much less than answering them.

A gRPC client in Python costs as much per call as the server, which on one machine would measure the client as well.
Here a call is a join of bytes, and an answer that is OK is three frames of which only the message is taken.
"""

import socket
import struct
from base64 import b64decode
from contextlib import suppress
from typing import Final
from urllib.parse import unquote_to_bytes

from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from server.load import Refused
from server.load.headers import Headers, UnreadableError, read

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
WINDOW_FIRST: Final = 65_535
WINDOW_MAX: Final = 2**31 - 1
# How much of the window may be used up before it is opened again.
WINDOW_STEP: Final = 2**30

BUFFER_BYTES: Final = 262_144

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
ACK = END_STREAM = 1
END_HEADERS = 4
_PADDED_OR_MORE: Final = 0x28
# No table for the headers of answers; and details of errors as they are, not as text (a setting of gRPC's own).
_SETTINGS: Final = struct.pack(">HIHI", 1, 0, 0xFE03, 1)

_FRAME: Final = struct.Struct(">BHBBI")
_FRAME_SIZE: Final = 9
_INT32: Final = struct.Struct(">I")
# Names of gRPC, from 0. Its package is left out: importing it takes longer than the rest of the start.
_CODES: Final = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
    "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip
# What became of the call is not known; anything else says that it was not done.
_IN_DOUBT: Final = {"CANCELLED", "UNKNOWN", "DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE"}
_KNOWN_MAX: Final = 100


class ConnectionLostError(Exception):
    """Nothing more will be answered on this connection; the text says why."""


# A stream, the bytes of the message, and None if it is OK.
Answer = tuple[int, bytes, Refused | None]


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A frame as it is sent."""
    return _FRAME.pack(len(payload) >> 16, len(payload) & 0xFFFF, kind, flags, stream) + payload


class Connection:
    """A connection on which many calls are under way.

    address     host:port
    timeout_s   how long each call may take, and whatever else the server is waited for
    raises      OSError
    """

    def __init__(self, address: str, *, timeout_s: int) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host.strip("[]"), int(port)), timeout=timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A timeout of Python's own would cost another call of the kernel each time; what is read is there already.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", timeout_s, 0))
        self.socket.settimeout(None)
        self._headers = Headers(address, timeout_s=timeout_s)
        # Kept, because new memory of this size is not cheap.
        self._buffer = memoryview(bytearray(BUFFER_BYTES))
        self._received = b""
        self._lost = ""
        self._next_stream = 1
        self._messages: dict[int, bytes] = {}
        # Last headers of answers that said OK; servers say it in one or two ways.
        self._known: set[bytes] = set()
        # What may still be sent before the server says that it has read enough.
        self._window = WINDOW_FIRST
        self._taken = 0
        opened = _INT32.pack(WINDOW_MAX - WINDOW_FIRST)
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0, _SETTINGS) + frame(WINDOW_UPDATE, 0, 0, opened))

    def close(self) -> None:
        """End it, whatever is under way."""
        self.socket.close()

    def call(self, path: str, message: bytes) -> tuple[int, bytes]:
        """One call's stream and bytes; they must be sent in the order in which they were made.

        path   of the method, such as /scrip.v1.CreditService/CheckAndDeduct
        """
        stream, self._next_stream = self._next_stream, self._next_stream + 2
        block = self._headers.block(path)
        length = len(message) + 5
        self._window -= length
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

    def send(self, calls: bytes) -> None:
        """Send calls; if that fails, the next look for answers says why."""
        if self._window < 0:
            # The calls that may be under way are a fraction of what a server takes unread.
            self._give_up("the server does not take what it is sent")
            return
        try:
            self.socket.sendall(calls)
        except OSError as error:
            self._give_up(str(error))

    def _give_up(self, why: str) -> None:
        self._lost = why
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def answers(self) -> list[Answer]:
        """Wait for bytes, and give back the answers that are complete.

        raises   ConnectionLostError
        """
        try:
            count = self.socket.recv_into(self._buffer)
        except OSError as error:
            raise ConnectionLostError(str(error)) from error
        if not count:
            raise ConnectionLostError(self._lost or "the server closed the connection")
        received = self._received + self._buffer[:count]
        messages, known = self._messages, self._known
        found: list[Answer] = []
        at, end = 0, len(received)
        while end - at >= _FRAME_SIZE:
            high, low, kind, flags, stream = _FRAME.unpack_from(received, at)
            begin = at + _FRAME_SIZE
            after = begin + (high << 16 | low)
            if after > end:
                break
            if kind == DATA and not flags:
                self._taken += after - begin
                # As good as always the whole message.
                messages[stream] = (
                    messages[stream] + received[begin:after] if stream in messages else received[begin:after]
                )
            elif kind == HEADERS and flags == END_STREAM | END_HEADERS:
                block = received[begin:after]
                if block in known and stream in messages:
                    found.append((stream, messages.pop(stream), None))
                else:
                    found.append(self._ended(stream, block))
            elif kind != HEADERS or flags != END_HEADERS:
                found += self._heed(kind, flags, stream, received[begin:after])
            at = after
        self._received = received[at:]
        if self._taken > WINDOW_STEP:
            self.socket.sendall(frame(WINDOW_UPDATE, 0, 0, _INT32.pack(self._taken)))
            self._taken = 0
        return found

    def _ended(self, stream: int, block: bytes) -> Answer:
        """An answer of which these are the last headers."""
        message = self._messages.pop(stream, b"")
        try:
            told = read(block)
        except UnreadableError as error:
            raise ConnectionLostError(str(error)) from error
        status = told.get(b"grpc-status")
        if status == b"0" and message:
            if len(self._known) < _KNOWN_MAX:
                self._known.add(block)
            return stream, message, None
        if status is None:
            http = told.get(b":status", b"no status").decode(errors="replace")
            return stream, b"", lost(f"The answer is of HTTP ({http}), not of gRPC.", code="UNKNOWN")
        return stream, b"", _refused(status, told)

    def _heed(self, kind: int, flags: int, stream: int, payload: bytes) -> list[Answer]:
        """What is rare: what concerns the connection rather than a call, and calls that end in another way."""
        if kind == SETTINGS and not flags & ACK:
            self.socket.sendall(frame(SETTINGS, ACK, 0, b""))
        elif kind == PING and not flags & ACK:
            self.socket.sendall(frame(PING, ACK, 0, payload))
        elif kind == WINDOW_UPDATE and stream == 0:
            self._window += _INT32.unpack(payload)[0]
        elif kind == RST_STREAM:
            self._messages.pop(stream, None)
            number = _INT32.unpack(payload)[0]
            return [(stream, b"", lost(f"The server ended the stream (error {number} of HTTP/2)."))]
        elif kind == GOAWAY:
            raise ConnectionLostError(
                f"the server ends the connection: {payload[8:].decode(errors='replace') or 'GOAWAY'}"
            )
        elif kind == DATA and not flags & _PADDED_OR_MORE:
            self._messages.pop(stream, None)
            return [(stream, b"", lost("The answer is of HTTP, not of gRPC.", code="UNKNOWN"))]
        elif kind in {DATA, HEADERS, CONTINUATION}:
            raise ConnectionLostError("the server cuts or pads its frames in a way that is not understood here")
        return []


def lost(message: str, *, code: str = "UNAVAILABLE", calls: int = 1) -> Refused:
    """Calls of which nobody knows whether they were done."""
    return Refused(code=code, reason="", message=message, calls=calls, in_doubt=True)


def _refused(status: bytes, told: dict[bytes, bytes]) -> Refused:
    number = int(status) if status.isdigit() else 0
    code = _CODES[number] if 0 < number < len(_CODES) else "UNKNOWN"
    message = unquote_to_bytes(told.get(b"grpc-message", b"")).decode(errors="replace")
    details = told.get(b"grpc-status-details-bin", b"")
    return Refused(code=code, reason=_reason(details), message=message, calls=1, in_doubt=code in _IN_DOUBT)


def _reason(details: bytes) -> str:
    """The reason in the details of an error, which begin with 0 or are text."""
    try:
        packed = details[1:] if details.startswith(b"\0") else b64decode(details + b"=" * (-len(details) % 4))
        for detail in Status.FromString(packed).details:
            info = ErrorInfo()
            if detail.Unpack(info):
                return str(info.reason)
    except (ValueError, DecodeError):
        pass
    return ""
