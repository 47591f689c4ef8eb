"""What is measured: server processes, each with books of its own, ready to be asked."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg

from benchmarks import books
from benchmarks.load import Figures, Load, run
from tests.postgres import open_postgres

START_TIMEOUT_S: Final = 30
STOP_TIMEOUT_S: Final = 30
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


class ServerFailedError(Exception):
    """A server did not start or stop as it should; the text is its log."""


class BooksWrongError(Exception):
    """What was answered is not what is in the books."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One load on one target.

    server_us, database_us   CPU time per call; None where it cannot be known or there is no such process
    """

    target: str
    in_flight: int
    figures: Figures
    server_us: float | None
    database_us: float | None


class Target:
    """A server process that answers CheckAndDeduct, and its books.

    module   what is run: server, or benchmarks.echo
    """

    def __init__(self, name: str, module: str, database_url: str, accounts: int) -> None:
        self.name = name
        self.database_url = database_url
        self._module = module
        self._accounts = accounts
        self._answered = 0

    @contextmanager
    def open(self) -> Iterator[None]:
        """Fill the books, run the server, and in the end see that the books agree with what was answered."""
        if not self.is_echo:
            books.fill(self.database_url, self._accounts)
        with serving(self.database_url, module=self._module) as (self._port, self._pid):
            yield
        if not self.is_echo and (spent := books.spent(self.database_url)) != self._answered:
            raise BooksWrongError(f"{self.name}: {self._answered} calls were answered OK, {spent} are in the books")

    @property
    def is_echo(self) -> bool:
        return self._module == "benchmarks.echo"

    def measure(self, *, number: int, in_flight: int, warmup_s: float, measured_s: float) -> Sample:
        """Put one load on it; `number` is one that no other load on it has."""
        database = self._database_pids()
        server_before, database_before = cpu_s([self._pid]), cpu_s(database)
        figures = run(
            Load(
                port=self._port,
                in_flight=in_flight,
                accounts=self._accounts,
                run=number,
                warmup_s=warmup_s,
                measured_s=measured_s,
            )
        )
        self._answered += figures.calls
        return Sample(
            target=self.name,
            in_flight=in_flight,
            figures=figures,
            server_us=_per_call(server_before, cpu_s([self._pid]), figures.calls),
            database_us=_per_call(database_before, cpu_s(database), figures.calls),
        )

    def _database_pids(self) -> list[int]:
        if not self.database_url.startswith("postgresql"):
            return []
        with psycopg.connect(self.database_url) as connection:
            found = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                # These come and go.
                " AND backend_type <> 'autovacuum worker'"
            )
            return [pid for (pid,) in found]


@contextmanager
def open_targets(accounts: int) -> Iterator[Sequence[Target]]:
    """The reference, Scrip on SQLite and Scrip on PostgreSQL; the last is as durable as the first two."""
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="scrip-bench-"))
        postgres = stack.enter_context(open_postgres())
        targets = (
            Target("echo", "benchmarks.echo", f"sqlite:///{directory}/echo.db", accounts),
            Target("sqlite", "server", f"sqlite:///{directory}/scrip.db", accounts),
            Target("postgres", "server", postgres.create_database(), accounts),
        )
        for target in targets:
            stack.enter_context(target.open())
        yield targets


@contextmanager
def serving(database_url: str, *, module: str = "server") -> Iterator[tuple[int, int]]:
    """Run a server process as an operator would, with its own defaults; the values are its port and its pid."""
    with tempfile.TemporaryDirectory(prefix="scrip-server-") as directory:
        log = Path(directory, "log")
        command = ("serve", "--listen", "127.0.0.1:0", "--database", database_url, "--log-format", "json")
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *command],
                cwd=directory,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=file,
            )
        try:
            yield _port(process, log), process.pid
        finally:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.returncode != 0:
            raise ServerFailedError(log.read_text(encoding="utf-8"))


def cpu_s(pids: Sequence[int]) -> float | None:
    """CPU time that these processes have taken; None if there are none or this system does not tell."""
    ticks = 0
    for pid in pids:
        try:
            said = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
        except OSError:
            return None
        user, system = said.rpartition(")")[2].split()[11:13]
        ticks += int(user) + int(system)
    return ticks / TICKS_PER_S if pids else None


def _per_call(before: float | None, after: float | None, calls: int) -> float | None:
    return None if before is None or after is None else (after - before) / calls * 1e6


def _environment() -> dict[str, str]:
    """Ours without settings of Scrip, and with the directory from which this module was imported."""
    root = str(Path(__file__).resolve().parent.parent)
    return {name: value for name, value in os.environ.items() if not name.startswith("SCRIP_")} | {"PYTHONPATH": root}


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    """Wait until the log says where the server listens."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text(encoding="utf-8").splitlines():
            if '"serving"' in line and line.endswith("}"):
                return int(json.loads(line)["listen"].rpartition(":")[2])
        time.sleep(0.02)
    raise ServerFailedError(f"The server did not start:\n{log.read_text(encoding='utf-8')}")
