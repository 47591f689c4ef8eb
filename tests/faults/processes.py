"""Servers in processes of their own, to be stopped and killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self

from tests.books import ACME
from tests.faults.customers import PATIENCE_S
from tests.postgres import Cluster, free_port

SCRIP = Path(sys.executable).with_name("scrip")

# Opens the books, writes one entry, says so, and goes on living.
_WRITE_AND_STAY = """
import sys, time
from ledger import AccountName, Ledger, OpenAccount
ledger = Ledger(sys.argv[1])
ledger.open()
name = AccountName(tenant="default", account_id=sys.argv[2], asset="credits")
ledger.execute(OpenAccount(request_id=f"opening-{name.account_id}", account=name))
print("written", flush=True)
time.sleep(600)
"""


@contextmanager
def ledger_elsewhere(url: str, account_id: str = ACME.account_id) -> Iterator[subprocess.Popen[str]]:
    """Another process that has opened an account in these books and keeps them open; killed in the end."""
    command = [sys.executable, "-c", _WRITE_AND_STAY, url, account_id]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert "written\n" in process.stdout
            yield process
        finally:
            process.kill()


@contextmanager
def stopped(cluster: Cluster, mode: Literal["fast", "immediate"] = "fast") -> Iterator[None]:
    """PostgreSQL is away during the block."""
    cluster.stop(mode)
    try:
        yield
    finally:
        cluster.start()


def until(is_so: Callable[[], Any]) -> None:
    """Waits for something that nobody tells."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class ScripProcess:
    """`scrip serve`, as often as it is started, always on the same port; killed in the end.

    directory   where it runs and where its log is
    settings    as flags, such as "--queue-max=10"
    """

    def __init__(self, url: str, directory: Path, *settings: str) -> None:
        self.target = f"127.0.0.1:{free_port()}"
        self._directory = directory
        self._command = [SCRIP, "serve", f"--listen={self.target}", f"--database={url}", *settings]
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def log(self) -> str:
        """All that it said, of all times that it was started."""
        return (self._directory / "log").read_text()

    @property
    def events(self) -> list[dict[str, Any]]:
        """The same, of one that logs JSON."""
        return [json.loads(line) for line in self.log.splitlines() if line.startswith("{") and line.endswith("}")]

    @property
    def is_running(self) -> bool:
        """False once it was waited for."""
        return self._process is not None

    def start(self) -> None:
        """Returns once it serves."""
        with (self._directory / "log").open("a") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._directory,
                env={name: value for name, value in os.environ.items() if not name.startswith("SCRIP_")},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert any(line.startswith("Try it") for line in self._process.stdout), self.log

    def kill(self) -> None:
        """As `kill -9` does it; nothing if it has ended already."""
        if self._process is not None:
            self._process.kill()
            self.wait()

    def terminate(self) -> None:
        """As an operator asks it to stop."""
        self._process.terminate()

    def wait(self) -> int:
        """The exit code, once it has ended."""
        process, self._process = self._process, None
        process.stdout.close()
        return process.wait(PATIENCE_S)


class ScripWithWorkers(ScripProcess):
    """`scrip serve --workers N`. What is killed is its supervisor; its workers end by themselves then."""

    def __init__(self, url: str, directory: Path, *settings: str, workers: int = 2) -> None:
        super().__init__(url, directory, f"--workers={workers}", "--log-format=json", *settings)

    def pids(self, worker: int) -> list[int]:
        """The processes that this worker has been so far, the last one at the end."""
        started = (event for event in self.events if event["event"] == "worker_started")
        return [event["pid"] for event in started if event["worker"] == worker]

    def logged_by_workers(self, event: str) -> list[int]:
        """Which workers have logged this so far."""
        return [logged["worker"] for logged in self.events if logged["event"] == event and "worker" in logged]

    def replace(self, *workers: int, number: signal.Signals = signal.SIGKILL) -> None:
        """Ends the processes of some workers, and waits for the next ones."""
        before = {worker: self.pids(worker) for worker in workers}
        for pids in before.values():
            os.kill(pids[-1], number)
        until(lambda: all(len(self.pids(worker)) > len(pids) for worker, pids in before.items()))
