"""Threads for what waits for somebody far away, who may never answer."""

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Found = TypeVar("Found")


class FarThreads(Executor):
    """As ThreadPoolExecutor, but the process ends without them, and does not wait for whatever they wait for.

    So what they do must be such that it can be repeated.
    """

    def __init__(self, threads_max: int, *, name: str) -> None:
        self._threads_max, self._name = threads_max, name
        self._waiting: SimpleQueue[tuple[Future[Any], Callable[[], object]] | None] = SimpleQueue()
        self._lock, self._is_closed, self._threads = threading.Lock(), False, 0

    def submit(
        self, fn: Callable[Arguments, Found], /, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Future[Found]:
        """See Executor; raises RuntimeError once it is closed."""
        future: Future[Found] = Future()
        with self._lock:
            if self._is_closed:
                raise RuntimeError(f"{self._name} is closed")
            self._waiting.put((future, lambda: fn(*args, **kwargs)))
            if self._threads < self._threads_max:
                self._threads += 1
                name = f"{self._name}_{self._threads}"
                threading.Thread(target=self._work, name=name, daemon=True).start()
        return future

    def close(self) -> None:
        """Begins nothing more, and waits for nothing; what has not begun is cancelled."""
        with self._lock, suppress(Empty):
            self._is_closed = True
            while (waiting := self._waiting.get_nowait()) is not None:
                waiting[0].cancel()
        self._waiting.put(None)

    def _work(self) -> None:
        while (waiting := self._waiting.get()) is not None:
            future, do = waiting
            if not future.set_running_or_notify_cancel():
                continue
            try:
                found = do()
            except BaseException as error:  # noqa: BLE001 -- told to whoever asked
                future.set_exception(error)
            else:
                future.set_result(found)
        # The next thread is to end, too.
        self._waiting.put(None)
