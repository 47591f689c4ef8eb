"""`scrip serve --workers N`: several processes behind one port, each with its own connections and its own writer id."""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from typing import Final

import structlog

from ledger import DatabaseMisusedError, DatabaseUnavailableError, migrate_database, parse_url, shown_url
from server.config import Settings
from server.port import HTTP_FLAG, reserved
from server.serving import Ending
from server.worker import AT_ONCE, REFUSED, SERVING, STOP

# -P: a directory called server, where somebody happens to be, is none of ours.
_COMMAND: Final = (sys.executable, "-P", "-m", "server.worker")
RESTART_PAUSE_MIN_S: Final = 0.1
RESTART_PAUSE_MAX_S: Final = 10.0
# A worker that has lived so long did not end because it cannot start.
STEADY_S: Final = 30.0

log = structlog.get_logger()


class WorkerRefusedError(Exception):
    """A worker cannot start, and never will: why, in a sentence."""


def check_workers(settings: Settings) -> None:
    """Raises DatabaseMisusedError unless so many workers can serve this database on this machine."""
    if settings.workers == 1:
        return
    if parse_url(settings.database).get_backend_name() == "sqlite":
        raise DatabaseMisusedError(
            f"{settings.workers} workers cannot share a SQLite file, which has one writer: "
            "use PostgreSQL (--database postgresql://...) or --workers 1."
        )
    if sys.platform != "linux":
        raise DatabaseMisusedError(
            f"{settings.workers} workers cannot share a port on this system, which does not spread connections over "
            "them: run several servers on ports of their own, each with --workers 1."
        )


async def supervise(settings: Settings, ending: Ending, began: Callable[[str, str], None]) -> None:
    """Keeps workers running until told to end, then has all of them end.

    began    called once with the address, and with that of HTTP or nothing, when all serve
    raises   PortTakenError, DatabaseMisusedError; WorkerRefusedError if a worker cannot start in the first place
    """
    with ExitStack() as stack:
        listen = stack.enter_context(reserved(settings.listen))
        http_listen = stack.enter_context(reserved(settings.http_listen, HTTP_FLAG)) if settings.http_listen else ""
        await _migrate(settings.database)
        own = replace(settings, listen=listen, http_listen=http_listen)
        workers = [_Worker(number, _of_worker(own, number)) for number in range(1, settings.workers + 1)]
        keepers = [asyncio.create_task(worker.keep(ending)) for worker in workers]
        for keeper in keepers:
            keeper.add_done_callback(lambda _: ending.wanted.set())
        announcing = asyncio.create_task(_announce(workers, own, began))
        await ending.wanted.wait()
        announcing.cancel()
        log.info("stopping", drain_s=settings.drain_s)
        for worker in workers:
            worker.tell(STOP)
        cutting = asyncio.create_task(_cut(workers, ending))
        outcomes = await asyncio.gather(*keepers, return_exceptions=True)
        cutting.cancel()
        log.info("stopped")
    for outcome in outcomes:
        if outcome is not None:
            raise outcome


def _of_worker(settings: Settings, number: int) -> Settings:
    """The settings of one of the workers. Only the first sweeps: all would find the same accounts at the same time."""
    return replace(settings, sweep_s=settings.sweep_s if number == 1 else 0)


async def _migrate(database: str) -> None:
    """Brings the schema up to date before there are workers; a database that is not there yet is left to them."""
    shown = shown_url(parse_url(database))
    try:
        before, after = await asyncio.to_thread(migrate_database, database)
    except DatabaseUnavailableError as error:
        advice = "start the database or correct --database; the workers go on trying"
        log.warning("database_unavailable", database=shown, error=str(error), advice=advice)
    else:
        if before != after:
            log.info("schema_migrated", database=shown, before=before, after=after)


async def _announce(workers: "Sequence[_Worker]", settings: Settings, began: Callable[[str, str], None]) -> None:
    for worker in workers:
        await worker.serves.wait()
    began(settings.listen, settings.http_listen)


async def _cut(workers: "Sequence[_Worker]", ending: Ending) -> None:
    await ending.at_once.wait()
    for worker in workers:
        worker.tell(AT_ONCE)


class _Worker:
    """One of the workers, in one process after the other.

    number   1 for the first
    serves   set once it has served
    """

    def __init__(self, number: int, settings: Settings) -> None:
        self.number = number
        self.serves = asyncio.Event()
        self._settings = settings
        self._process: Process | None = None

    def tell(self, order: bytes) -> None:
        """Tells its process; nothing if there is none."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(order)

    async def keep(self, ending: Ending) -> None:
        """Has a process serve, and another one whenever it ends, until all shall end.

        raises   WorkerRefusedError if the first one cannot start
        """
        loop = asyncio.get_running_loop()
        pause_s = RESTART_PAUSE_MIN_S
        is_first = True
        while not ending.wanted.is_set():
            began_at = loop.time()
            code, refusal = await self._live(ending)
            if ending.wanted.is_set():
                return
            if is_first:
                self._check_first(code, refusal)
            is_first = False
            pause_s = RESTART_PAUSE_MIN_S if loop.time() - began_at >= STEADY_S else pause_s
            why = refusal or (f"exit code {code}" if code >= 0 else signal.Signals(-code).name)
            log.warning("worker_ended", worker=self.number, why=why, restart_in_s=pause_s)
            with suppress(TimeoutError):
                await asyncio.wait_for(ending.wanted.wait(), pause_s)
            pause_s = min(2 * pause_s, RESTART_PAUSE_MAX_S)

    def _check_first(self, code: int, refusal: str | None) -> None:
        """Raises WorkerRefusedError if the first process ended because it could not start, and did not just die."""
        if refusal is not None:
            raise WorkerRefusedError(refusal)
        if code > 0 and not self.serves.is_set():
            raise WorkerRefusedError(
                f"Worker {self.number} ended before it served, with exit code {code}; see the log."
            )

    async def _live(self, ending: Ending) -> tuple[int, str | None]:
        """Runs one process to its end; returns its exit code (below 0: the signal), and why it could not start."""
        try:
            # A session of its own, so that Ctrl-C at the terminal is for the supervisor alone.
            process = await asyncio.create_subprocess_exec(*_COMMAND, stdin=PIPE, stdout=PIPE, start_new_session=True)
        except OSError as error:
            return 1, f"No process can be started: {error.strerror}."
        self._process = process
        # By this way and not as arguments, because the database's URL may have a password.
        self.tell(json.dumps({"worker": self.number, "settings": asdict(self._settings)}).encode() + b"\n")
        # What the others were told while this one was being made.
        if ending.wanted.is_set():
            self.tell(STOP)
        if ending.at_once.is_set():
            self.tell(AT_ONCE)
        refusal = None
        assert process.stdout is not None
        async for line in process.stdout:
            word, _, rest = line.strip().partition(b" ")
            if word == SERVING:
                log.info("worker_started", worker=self.number, pid=process.pid)
                self.serves.set()
            elif word == REFUSED:
                refusal = str(json.loads(rest))
        code = await process.wait()
        self._process = None
        return code, refusal
