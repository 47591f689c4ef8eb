"""What is measured: server processes, each with books of its own, ready to be asked."""

import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

import psycopg
import scrip
import structlog

from benchmarks import books
from benchmarks.rounds import Sample
from server.load import Figures, Load, run
from tests.postgres import Server, open_postgres

START_TIMEOUT_S: Final = 60
STOP_TIMEOUT_S: Final = 30
ENGINES: Final = ("sqlite", "postgres")
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
ECHO: Final = "benchmarks.echo"
# Of what the system says of a process, from its state on: who began it; its times in user and system mode; and those of
# processes that it began and that have ended.
PARENT, OWN_TIMES, ENDED_TIMES = 1, slice(11, 13), slice(13, 15)
# Of the header of SQLite's shared memory: the number of the last transaction.
SQLITE_TRANSACTION: Final = slice(8, 12)


class ServerFailedError(Exception):
    """A server did not start or stop as it should; the text is its log."""


class BooksWrongError(Exception):
    """What was answered is not what is in the books."""


class Target:
    """Books in a database of their own, and the server process that is asked about them.

    accounts     how many accounts calls are spread over
    deductions   that each of them has from the start
    longest      that the first of them has, if that is more
    module       what is run: server, or benchmarks.echo; None: nothing, whoever measures opens the books itself
    """

    def __init__(
        self,
        name: str,
        database_url: str,
        accounts: int,
        *,
        deductions: int = 0,
        longest: int = 0,
        module: str | None = "server",
    ) -> None:
        self.name = name
        self.database_url = database_url
        self.accounts = accounts
        self.longest, self.deductions = longest, deductions
        self._module = module
        self._runs = count(1)
        # Credits that were deducted by calls.
        self.taken = 0
        self.port = 0
        self.pid: int | None = None

    def fill(self) -> None:
        """Write the books."""
        if not self.is_echo:
            told = f"{self.accounts:,} accounts with {self.deductions + 2:,} entries each"
            print(f"{self.name}: writing {told}.", file=sys.stderr)
            books.fill(self.database_url, self.accounts, deductions=self.deductions, longest=self.longest)

    @contextmanager
    def serve(self) -> Iterator[None]:
        """Run the server, and in the end see that the books agree with what was answered."""
        with ExitStack() as stack:
            if self._module is not None:
                self.port, self.pid = stack.enter_context(serving(self.database_url, module=self._module))
            yield
        if not self.is_echo:
            written = self.accounts * self.deductions + max(self.longest - self.deductions, 0)
            if (spent := books.spent(self.database_url) - written) != self.taken:
                raise BooksWrongError(f"{self.name}: {self.taken} credits were taken, {spent} are in the books")

    @property
    def is_echo(self) -> bool:
        return self._module == ECHO

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def load(self, **of_load: Any) -> Sample:  # noqa: ANN401 -- of Load
        """Put the load on it."""
        load = Load(address=self.address, accounts=self.accounts, run=self.next_run(), **of_load)
        return self.sample(lambda: run(load))

    def set_prices(self) -> None:
        """So that what a load by usage tells costs one credit, by the quantities of three units."""
        rates = {"input_token": "1", "cached_token": "0.8", "output_token": "4"}
        meters = [scrip.Meter(unit=unit, rate=rate, per=1000) for unit, rate in rates.items()]
        dimensions = {"model": "gpt-*"}
        card = scrip.RateCard(
            card="bench", provider="openai", operations=["chat"], dimensions=dimensions, meters=meters
        )
        with scrip.Client(self.address) as client:
            client.apply_rate_cards([card])

    def next_run(self) -> int:
        """A number for what is put on these books next, so that no request_id comes twice."""
        return next(self._runs)

    def sample(self, put: Callable[[], Figures]) -> Sample:
        """Tell what something that takes a credit per call came to, and what it cost the server and the database."""
        before = self.usage()
        figures = put()
        after = self.usage()
        self.taken += figures.spent
        return Sample(
            per_s=figures.calls_per_s,
            p50_ms=figures.p50_ms,
            p99_ms=figures.p99_ms,
            p99_9_ms=figures.p99_9_ms,
            load_us=figures.generator_us,
            **after.since(before, figures.calls),
        )

    def usage(self) -> "Usage":
        return Usage.of(self.database_url, self.pid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a server and its database have used so far; differences are what matters.

    server_s, database_s   CPU time; None where there is no such process, or this system does not tell
    transactions           that wrote; 0 if there are none
    """

    server_s: float | None
    database_s: float | None
    transactions: int

    @classmethod
    def of(cls, database_url: str, server_pid: int | None) -> "Usage":
        server_s = None if server_pid is None else _cpu_s(server_pid)
        if database_url.startswith("sqlite"):
            memory = Path(database_url.removeprefix("sqlite:///") + "-shm")
            counter = memory.read_bytes()[SQLITE_TRANSACTION] if memory.exists() else b""
            return cls(server_s=server_s, database_s=None, transactions=int.from_bytes(counter, sys.byteorder))
        with psycopg.connect(database_url, autocommit=True) as connection:
            (transactions,) = connection.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text").fetchone()
            database_s = _postgres_s(connection.info.backend_pid)
        return cls(server_s=server_s, database_s=database_s, transactions=int(transactions))

    def since(self, before: "Usage", operations: int) -> dict[str, float | None]:
        """What a sample tells of it, when so many operations have been done."""
        wrote = self.transactions - before.transactions
        return {
            "server_us": _per_operation(before.server_s, self.server_s, operations),
            "database_us": _per_operation(before.database_s, self.database_s, operations),
            "per_transaction": operations / wrote if wrote else None,
        }


class Databases:
    """Where databases are made: files in a directory, and a server.

    directory   gone afterwards, with all that is in it
    """

    def __init__(self, directory: Path, postgres: Server) -> None:
        self._directory = directory
        self._postgres = postgres
        self._numbers = count(1)

    @contextmanager
    def new(self, engine: str) -> Iterator[str]:
        """The URL of an empty database, which is gone when the block ends."""
        if engine == "postgres":
            url = self._postgres.create_database()
            yield url
            self._postgres.drop_database(url)
        else:
            file = self._directory / f"{next(self._numbers)}.db"
            yield f"sqlite:///{file}"
            for path in self._directory.glob(f"{file.name}*"):
                path.unlink()


@contextmanager
def open_databases() -> Iterator[Databases]:
    """PostgreSQL is as durable as SQLite: it waits for the disk."""
    with tempfile.TemporaryDirectory(prefix="scrip-bench-") as directory, open_postgres() as postgres:
        yield Databases(Path(directory), postgres)


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
                env=environment(),
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


def environment() -> dict[str, str]:
    """Ours without settings of Scrip, and with the directory from which this module was imported."""
    root = str(Path(__file__).resolve().parent.parent)
    return {name: value for name, value in os.environ.items() if not name.startswith("SCRIP_")} | {"PYTHONPATH": root}


def keep_quiet() -> None:
    """Standard output is for what was measured; the log is for what went wrong."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def memory_mb(pid: int) -> float:
    """What a process has in memory; 0 where this system does not tell."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0.0
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith("VmRSS:"))


def _per_operation(before_s: float | None, after_s: float | None, operations: int) -> float | None:
    """In microseconds."""
    return None if before_s is None or after_s is None else (after_s - before_s) / operations * 1e6


def _postgres_s(pid: int) -> float | None:
    """CPU time of the server that one of whose processes this is; those that have ended count too.

    None if it is no process here: the server may be on another machine.
    """
    mine = _stat(pid)
    if mine is None or Path(f"/proc/{pid}/comm").read_text(encoding="utf-8") != "postgres\n":
        return None
    parent = int(mine[PARENT])
    while True:
        before = _stat(parent)
        children = [stat for path in Path("/proc").glob("[0-9]*") if (stat := _stat(path.name)) is not None]
        ticks = sum(_ticks(stat, OWN_TIMES) for stat in children if int(stat[PARENT]) == parent)
        after = _stat(parent)
        if before is None or after is None:
            return None
        # Otherwise one has ended in the meantime, and may have been counted twice or not at all.
        if before[ENDED_TIMES] == after[ENDED_TIMES]:
            return (ticks + _ticks(after, OWN_TIMES) + _ticks(after, ENDED_TIMES)) / TICKS_PER_S


def _cpu_s(pid: int) -> float | None:
    stat = _stat(pid)
    return None if stat is None else _ticks(stat, OWN_TIMES) / TICKS_PER_S


def _ticks(stat: list[str], times: slice) -> int:
    return sum(map(int, stat[times]))


def _stat(pid: int | str) -> list[str] | None:
    """What the system says of a process, from its state on; None if it does not tell."""
    try:
        said = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return None
    return said.rpartition(")")[2].split()


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    """Wait until the log says where the server listens."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text(encoding="utf-8").splitlines():
            if '"serving"' in line and line.endswith("}"):
                return int(json.loads(line)["listen"].rpartition(":")[2])
        time.sleep(0.01)
    raise ServerFailedError(f"The server did not start:\n{log.read_text(encoding='utf-8')}")
