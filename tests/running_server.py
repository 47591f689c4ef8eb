"""A server that runs beside the tests."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from types import TracebackType
from typing import Self

from server.app import Server
from server.config import Settings


class RunningServer(AbstractContextManager["RunningServer"]):
    """A server in a thread of its own, with its own event loop; `port` and `http_port` are where it listens."""

    def __init__(self, settings: Settings, clock: Callable[[], datetime]) -> None:
        self._settings = settings
        self._clock = clock
        self._started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="server under test")
        self._failure: BaseException | None = None
        self.port = self.http_port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as failure:  # noqa: BLE001 -- told to the thread that waits
            self._failure = failure
        finally:
            self._started.set()
            self._loop.close()

    async def _serve(self) -> None:
        self._end = asyncio.Event()
        server = Server(self._settings, clock=self._clock)
        await server.start()
        self.port, self.http_port = server.port, server.http_port
        self._started.set()
        await self._end.wait()
        await server.stop()
