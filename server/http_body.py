"""The body of a request: read as it came, and never more of it kept than is wanted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request

BODY_S: Final = 10.0
# So much of a body that is too large is taken and dropped. A client that is still sending when it is hung up on does
# not come to read why.
DROPPED_BYTES_MAX: Final = 32 * 1024 * 1024
# The headers of an answer after which nothing more of the client is read.
HUNG_UP: Final = {"Connection": "close"}


async def read_body(request: Request, bytes_max: int) -> bytes:
    """All of it.

    raises   HTTPException: 413 if there is more than bytes_max, 408 if it takes longer than BODY_S to come
    """
    # Asked first, because whoever waits to be told to go on need not send anything.
    if _announced(request) > bytes_max and request.headers.get("expect", "").lower() == "100-continue":
        raise _too_large(bytes_max)
    try:
        async with asyncio.timeout(BODY_S), aclosing(request.stream()) as chunks:
            return await _gathered(chunks, bytes_max)
    except TimeoutError:
        raise HTTPException(408, f"The body took longer than {BODY_S:g} s to come.", HUNG_UP) from None


async def _gathered(chunks: AsyncIterator[bytes], bytes_max: int) -> bytes:
    body, length = bytearray(), 0
    async for chunk in chunks:
        length += len(chunk)
        if length <= bytes_max:
            body += chunk
            continue
        body.clear()
        if length > DROPPED_BYTES_MAX:
            break
    if length > bytes_max:
        raise _too_large(bytes_max)
    return bytes(body)


def _announced(request: Request) -> int:
    length = request.headers.get("content-length", "")
    return int(length) if length.isdecimal() else 0


def _too_large(bytes_max: int) -> HTTPException:
    return HTTPException(413, f"The body may have {bytes_max} bytes at most.", HUNG_UP)
