"""The command in a process of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
SCRIP = Path(sys.executable).with_name("scrip")
PATIENCE_S = 30


class Serving:
    """A server that runs.

    welcome   what it printed when it began
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        # The welcome ends with the line that names what to call.
        self.welcome = ""
        while "OpenAccount" not in self.welcome:
            line = process.stdout.readline()
            assert line, process.communicate()
            self.welcome += line

    @property
    def target(self) -> str:
        return self.welcome.rsplit("http://", 1)[1].split("/", 1)[0]

    def stop(self, number: int = signal.SIGTERM) -> str:
        """Tells it to stop, and waits; gives back what it logged."""
        self.process.send_signal(number)
        _, logged = self.process.communicate(timeout=PATIENCE_S)
        return logged


@contextmanager
def serving(*arguments: str, directory: Path = ROOT) -> Iterator[Serving]:
    """`scrip serve` on a free port; killed in the end unless it was stopped."""
    command = [SCRIP, "serve", "--listen", "127.0.0.1:0", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=directory, env=_environment(), text=True, **pipes) as process:
        try:
            yield Serving(process)
        finally:
            process.kill()


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command, under way; killed in the end unless it has ended."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([SCRIP, *arguments], env=_environment(), text=True, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def ran(*arguments: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    """The command, run to its end."""
    return subprocess.run(
        [SCRIP, *arguments],
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        **settings,
    )


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("SCRIP_")}
