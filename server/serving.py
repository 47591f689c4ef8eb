"""One server from its start to its end, whoever tells it to end."""

import asyncio
import gc
import signal
from collections.abc import Callable
from typing import Final

import structlog

from server.app import Server

# Nearly all that a call makes is freed by counting references. To look for the rest as often as Python does from the
# start costs a sixth of the server's time; this often, what is left over stays below some megabytes.
GC_THRESHOLDS: Final = (20_000, 20, 100)

log = structlog.get_logger()


class Ending:
    """What a server is told about its end.

    wanted    set once it shall take no more calls, answer those under way, and end
    at_once   set once it shall not wait for what takes long
    """

    def __init__(self) -> None:
        self.wanted = asyncio.Event()
        self.at_once = asyncio.Event()

    def tell(self) -> None:
        """The first time it shall end, from then on at once."""
        (self.at_once if self.wanted.is_set() else self.wanted).set()


def on_signals(tell: Callable[[], None]) -> None:
    """Calls it for every SIGTERM and SIGINT from now on."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, tell)


async def serve_until_told(server: Server, ending: Ending, *, drain_s: float, began: Callable[[], None]) -> None:
    """Starts a server, and ends it when it is told to or when it breaks.

    began    called once it serves
    raises   PortTakenError, DatabaseMisusedError
    """
    await server.start()
    # What is there from the start stays until the end.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    began()
    server.broken.add_done_callback(lambda _: ending.wanted.set())
    await ending.wanted.wait()
    log.info("stopping", drain_s=drain_s)
    await server.stop(ending.at_once)
    log.info("stopped")
    if server.broken.done():
        server.broken.result()
