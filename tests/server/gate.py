"""A clock at which a thread of the server can be made to wait, as it would for a slow disk or a long read."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from tests.books import Clock

PATIENCE_S = 30


class Gate(Clock):
    """Stops the threads whose name begins so, while it is closed, wherever they ask for the time."""

    def __init__(self, threads: str) -> None:
        super().__init__()
        self._threads = threads
        self._open = threading.Event()
        self._open.set()
        self._reached = threading.Event()

    def __call__(self) -> datetime:
        if threading.current_thread().name.startswith(self._threads) and not self._open.is_set():
            self._reached.set()
            assert self._open.wait(PATIENCE_S)
        return super().__call__()

    @contextmanager
    def closed(self) -> Iterator[None]:
        self._reached.clear()
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()

    def wait_until_reached(self) -> None:
        assert self._reached.wait(PATIENCE_S)
