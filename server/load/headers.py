"""Header fields of HTTP/2 as bytes (RFC 7541): those of our calls, and of answers the few that say what became of them.

Ours go into the table that the server keeps for us, so that a call refers to them. The server is asked to keep none for
its answers, so that each can be read, or left unread, without the ones before it.
"""

from collections.abc import Mapping
from typing import Final

_CONTENT_TYPE: Final = b"application/grpc"
_STATIC: Final = 61
_STATUS: Final[Mapping[int, bytes]] = dict(enumerate((b"200", b"204", b"206", b"304", b"400", b"404", b"500"), 8))

# How many bits the Huffman code of each byte has. The code is canonical, so the lengths say all.
_LENGTHS: Final = bytes.fromhex(
    "0d171c1c1c1c1c1c1c181e1c1c1e1c1c1c1c1c1c1c1c1e1c1c1c1c1c1c1c1c1c060a0a0c0d06080b0a0a080b080606060505050606060606"
    "060607080f060c0a0d06070707070707070707070707070707070707070707070807080d130d0e060f050605060506060605070706060605"
    "06070605050607070707070f0b0e0d1c14161414161616171617171717171817181816171817171717151617161717181615141616171715"
    "1716161815161717151516151716171714161616171616171a1a1413161716191a1a1a1b1b1a181913151a1b1b1a1b1815151a1a1c1b1b1b"
    "14181415161515171616191918181a171a1b1a1a1b1b1b1b1b1c1b1b1b1b1b1a"
)


class UnreadableError(ValueError):
    """What was sent is not as it was agreed."""


class Headers:
    """The header blocks of calls on one connection.

    authority   host and port of the server
    timeout_s   what the server is told of the caller's deadline
    """

    def __init__(self, authority: str, *, timeout_s: int) -> None:
        # Each is told with the order to remember it. A credential would be one more.
        self._same = (
            b"\x41" + _text(authority.encode()),
            b"\x5f" + _text(_CONTENT_TYPE),
            b"\x40" + _text(b"te") + _text(b"trailers"),
            b"\x40" + _text(b"grpc-timeout") + _text(b"%dS" % timeout_s),
        )
        self._table: list[bytes] = []
        self._blocks: dict[str, bytes] = {}

    def block(self, path: str) -> bytes:
        """The headers of the next call; it has to be sent before those of any later one."""
        found = self._blocks.get(path)
        if found is not None:
            return found
        first = self._encoded(path)
        # What was new moved what was there.
        self._blocks = {known: self._encoded(known) for known in (*self._blocks, path)}
        return first

    def _encoded(self, path: str) -> bytes:
        post, http = b"\x83", b"\x86"
        parts = [post, http]
        for told in (b"\x44" + _text(path.encode()), *self._same):
            if told in self._table:
                # The newest has the number 62; 0x80 marks a reference.
                parts.append(bytes([0x80 | _STATIC + len(self._table) - self._table.index(told)]))
            else:
                parts.append(told)
                self._table.append(told)
        return b"".join(parts)


def read(block: bytes) -> dict[bytes, bytes]:
    """The header fields of an answer; of those in the static table only `:status`.

    raises   UnreadableError
    """
    found = {}
    at = 0
    try:
        while at < len(block):
            first = block[at]
            if first & 0x80:
                number, at = _integer(block, at, 7)
                if number > _STATIC:
                    raise UnreadableError("the server refers to a table that it was told not to keep")
                name, value = b":status", _STATUS.get(number, b"")
            elif first >> 5 == 1:  # how large the table is
                _, at = _integer(block, at, 5)
                continue
            else:
                number, at = _integer(block, at, 6 if first & 0x40 else 4)
                name, at = (b":status" if number in _STATUS else b"", at) if number else _string(block, at)
                value, at = _string(block, at)
            if name and value:
                found[name] = value
    except IndexError as error:
        raise UnreadableError("the headers of an answer are cut off") from error
    return found


def _text(value: bytes) -> bytes:
    return bytes([len(value)]) + value


def _integer(block: bytes, at: int, bits: int) -> tuple[int, int]:
    """A number that begins in the last bits of a byte, and where it ends."""
    most = (1 << bits) - 1
    value, at = block[at] & most, at + 1
    if value < most:
        return value, at
    for shift in range(0, 28, 7):
        value, more, at = value + ((block[at] & 0x7F) << shift), block[at] & 0x80, at + 1
        if not more:
            return value, at
    raise UnreadableError("a length has no end")


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    """A text, and where it ends."""
    is_huffman = block[at] & 0x80
    length, at = _integer(block, at, 7)
    if at + length > len(block):
        raise IndexError
    text = block[at : at + length]
    return _huffman(text) if is_huffman else text, at + length


def _code() -> dict[tuple[int, int], int]:
    """The byte that each code stands for, by its number of bits and its value."""
    found = {}
    value = bits = 0
    for length, byte in sorted(zip(_LENGTHS, range(256), strict=True)):
        value <<= length - bits
        found[length, value] = byte
        value, bits = value + 1, length
    return found


_CODE: Final = _code()


def _huffman(packed: bytes) -> bytes:
    text = bytearray()
    value = bits = 0
    for byte in packed:
        for place in range(7, -1, -1):
            value, bits = value << 1 | byte >> place & 1, bits + 1
            if (known := _CODE.get((bits, value))) is not None:
                text.append(known)
                value = bits = 0
    return bytes(text)
