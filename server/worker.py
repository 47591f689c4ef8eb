"""One of the processes of `scrip serve --workers N`; started by `supervisor`, as `python -m server.worker`.

It is told on its standard input: first a line of JSON with its number and its settings, then perhaps `stop` and
`at once`. When that input ends, its supervisor is gone, and it ends too. It tells on its standard output `serving`, or
`refused` and why, as JSON.
"""

import asyncio
import json
import sys
from contextlib import suppress
from typing import Final

import uvloop

from ledger import DatabaseMisusedError
from server.app import Server
from server.config import Settings
from server.log import log_as
from server.port import PortTakenError
from server.serving import Ending, on_signals, serve_until_told

STOP: Final = b"stop\n"
AT_ONCE: Final = b"at once\n"
SERVING: Final = b"serving"
REFUSED: Final = b"refused"


async def work() -> int:
    """Serves until told to end; the value is the exit code."""
    told = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(told), sys.stdin)
    ending = Ending()
    # The supervisor may be told at the same time as its workers, and tells them too.
    on_signals(ending.wanted.set)
    if not (first := await told.readline()):
        return 0
    task = json.loads(first)
    settings = Settings(**task["settings"])
    log_as(settings, worker=task["worker"])
    following = asyncio.create_task(_follow(told, ending))
    server = Server(settings, worker=task["worker"])
    try:
        await serve_until_told(server, ending, drain_s=settings.drain_s, began=lambda: _tell(SERVING))
    except (PortTakenError, DatabaseMisusedError) as error:
        _tell(REFUSED, json.dumps(str(error)).encode())
        return 1
    finally:
        following.cancel()
    return 0


async def _follow(told: asyncio.StreamReader, ending: Ending) -> None:
    async for line in told:
        if line in {STOP, AT_ONCE}:
            ending.wanted.set()
        if line == AT_ONCE:
            ending.at_once.set()
    # Nobody is left who would wait, and the port is to be free for the next supervisor.
    ending.wanted.set()
    ending.at_once.set()


def _tell(*words: bytes) -> None:
    # Without a supervisor there is nobody to tell.
    with suppress(BrokenPipeError):
        sys.stdout.buffer.write(b" ".join(words) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(uvloop.run(work()))
