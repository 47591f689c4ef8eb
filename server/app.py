"""The composition root: makes the parts, starts them in order, stops them in the other."""

import asyncio
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, Final, cast

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from scrip.v1 import (
    account_service_pb2,
    account_service_pb2_grpc,
    billing_service_pb2,
    billing_service_pb2_grpc,
    credit_service_pb2,
    credit_service_pb2_grpc,
    ledger_service_pb2,
    ledger_service_pb2_grpc,
    pricing_service_pb2,
    pricing_service_pb2_grpc,
)

from ledger import (
    DatabaseUnavailableError,
    Delivery,
    Ledger,
    WriterOptions,
    deliver,
    utc_now,
)
from server.account_service import AccountService
from server.answering import Reader, noting
from server.billing_side import BillingSide
from server.changes import Changes
from server.config import MESSAGE_BYTES_MAX, Settings
from server.credit_service import CreditService
from server.farewell import Farewell
from server.ledger_service import LedgerService
from server.port import PortTakenError
from server.pricing_service import PricingService

if TYPE_CHECKING:
    from server.http_port import HttpPort
    from server.metrics import Metrics

# Calls that gRPC itself lets wait to be picked up, unless our own queue is longer than half of them.
WAITING_MAX: Final = 20_000
REOPEN_PAUSE_S: Final = 1.0
_NEVER_MS: Final = 2**31 - 1
# How long a server that is told to stop goes on answering that it stops.
FAREWELL_S: Final = 0.25
SERVICE_NAMES: Final = (
    credit_service_pb2.DESCRIPTOR.services_by_name["CreditService"].full_name,
    account_service_pb2.DESCRIPTOR.services_by_name["AccountService"].full_name,
    ledger_service_pb2.DESCRIPTOR.services_by_name["LedgerService"].full_name,
    pricing_service_pb2.DESCRIPTOR.services_by_name["PricingService"].full_name,
    billing_service_pb2.DESCRIPTOR.services_by_name["BillingService"].full_name,
)

log = structlog.get_logger()


class _ByName:
    """Where services are registered: gRPC looks their methods up by name then, for every call.

    Registered one by one, gRPC would wait for a call of each method apart, and set up all of these waits anew with
    every call.
    """

    def __init__(self, server: grpc.aio.Server) -> None:
        self.add_generic_rpc_handlers = server.add_generic_rpc_handlers

    def add_registered_method_handlers(self, service_name: str, method_handlers: object) -> None:
        """Nothing: what they are is known from the generic handlers."""


class Server:
    """Scrip on one address and one database.

    clock         tells now, in UTC
    worker        its number among those of one supervisor, who has reserved the ports they share; 0: it is alone
    """

    def __init__(self, settings: Settings, *, clock: Callable[[], datetime] = utc_now, worker: int = 0) -> None:
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        options = WriterOptions(
            batch_max=settings.batch_max, linger_ms=settings.linger_ms, queue_max=settings.queue_max
        )
        # Nothing is counted for nobody.
        self._metrics = _metrics_of(worker) if settings.http_listen else None
        self._ledger = Ledger(
            settings.database,
            clock=clock,
            options=options,
            readers=settings.readers,
            deliver_all=self._deliver,
            observer=self._metrics,
        )
        self._readers = ThreadPoolExecutor(settings.readers, thread_name_prefix="scrip-reader")
        # What reads whole books has a thread of its own, so that it cannot keep others from their balance.
        self._auditor = ThreadPoolExecutor(1, thread_name_prefix="scrip-auditor")
        self._billing = BillingSide(self._ledger, Reader(self._readers), settings, clock=clock, metrics=self._metrics)
        self._health = health.aio.HealthServicer()
        self._farewell = Farewell()
        self._grpc = self._make_grpc(shares_port=worker > 0)
        self._is_serving = False
        self._http = None if self._metrics is None else self._make_http(self._metrics, shares_port=worker > 0)
        self._tasks: list[asyncio.Task[None]] = []
        # Where it listens, once it does; http_port is 0 if it does not.
        self.port = 0
        self.http_port = 0
        # Resolved with the exception if the server cannot go on.
        self.broken: asyncio.Future[None] = self._loop.create_future()

    async def start(self) -> None:
        """Listens, opens the books, and answers from then on.

        If the database is not there yet, calls are answered UNAVAILABLE until it is.
        raises   PortTakenError, DatabaseMisusedError
        """
        try:
            self.port = self._grpc.add_insecure_port(self._settings.listen)
        except RuntimeError as error:
            raise PortTakenError(self._settings.listen) from error
        await self._set_serving(serving=False)
        try:
            if self._http is not None:
                self._http.bind()
                self.http_port = self._http.port
                # Before the books are open, because that takes long when their schema is brought up to date.
                await self._http.start()
            is_open = await self._open()
        except BaseException:
            await self._stop_http(grace_s=0, at_once=asyncio.Event())
            await self._stop_parts(grace_s=0)
            raise
        await self._grpc.start()
        task = asyncio.create_task(self._sweep() if is_open else self._open_later())
        task.add_done_callback(self._note_end)
        self._tasks.append(task)

    async def stop(self, at_once: asyncio.Event | None = None) -> None:
        """Takes no more calls, answers those under way, and closes the books.

        All of that takes drain_s at most: requests of HTTP and the work on payments a half of it, so that the calls of
        gRPC, which change books, have the rest.

        at_once   set when what takes long, such as an audit, is not waited for any more; changes are, all the same
        """
        at_once = at_once or asyncio.Event()
        until = self._loop.time() + self._settings.drain_s
        self._is_serving = False
        await self._health.enter_graceful_shutdown()
        await asyncio.gather(
            self._stop_http(grace_s=self._settings.drain_s / 2, at_once=at_once),
            self._billing.stop_work(self._settings.drain_s / 2),
        )
        # From here on changes are told SHUTTING_DOWN, which gRPC could not tell them once it stops.
        await asyncio.to_thread(self._ledger.drain)
        await asyncio.sleep(min(FAREWELL_S, self._settings.drain_s))
        await self._farewell.keep()
        others = (
            asyncio.create_task(self._farewell.tell()),
            asyncio.create_task(self._cut(at_once)),
        )
        await self._stop_parts(grace_s=max(until - self._loop.time(), 0))
        for other in others:
            other.cancel()

    async def _cut(self, at_once: asyncio.Event) -> None:
        await at_once.wait()
        await self._grpc.stop(0)

    async def _stop_http(self, *, grace_s: float, at_once: asyncio.Event) -> None:
        if self._http is not None:
            await self._http.stop(grace_s=grace_s, at_once=at_once)

    async def _stop_parts(self, *, grace_s: float) -> None:
        await self._grpc.stop(grace_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # Reads first, so that none is left with a connection when the books are closed; nobody waits for them any more.
        self._ledger.stop_reads()
        self._billing.close()
        for executor in (self._readers, self._auditor):
            await asyncio.to_thread(executor.shutdown, cancel_futures=True)
        await asyncio.to_thread(self._ledger.close)

    def _make_grpc(self, *, shares_port: bool) -> grpc.aio.Server:
        waiting_max = max(2 * self._settings.queue_max, WAITING_MAX)
        age_ms = math.ceil(self._settings.connection_age_s * 1000) or _NEVER_MS
        server = grpc.aio.server(
            options=[
                # Otherwise a second server would silently share the port.
                ("grpc.so_reuseport", int(shares_port)),
                ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
                # Else connections never come back to a server that was away. Calls under way on them are answered.
                ("grpc.max_connection_age_ms", age_ms),
                # gRPC answers CANCELLED above these; our own queue says no first, and why.
                ("grpc.server.max_pending_requests", waiting_max),
                ("grpc.server.max_pending_requests_hard_limit", waiting_max),
            ]
        )
        # Before the services, because the first that knows a call has it.
        server.add_generic_rpc_handlers((self._farewell,))
        services = cast("grpc.aio.Server", _ByName(server))
        read = Reader(self._readers)
        changes = Changes(self._ledger, read)
        credit = CreditService(self._ledger, read, changes)
        account = AccountService(self._ledger, read, changes)
        ledger = LedgerService(self._ledger, read, Reader(self._auditor))
        pricing = PricingService(self._ledger, read)
        if self._metrics is not None:
            for service in (credit, account, ledger, pricing, self._billing.service):
                noting(service, self._metrics.note_call)
        credit_service_pb2_grpc.add_CreditServiceServicer_to_server(credit, services)
        account_service_pb2_grpc.add_AccountServiceServicer_to_server(account, services)
        ledger_service_pb2_grpc.add_LedgerServiceServicer_to_server(ledger, services)
        pricing_service_pb2_grpc.add_PricingServiceServicer_to_server(pricing, services)
        billing_service_pb2_grpc.add_BillingServiceServicer_to_server(self._billing.service, services)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, services)
        reflection.enable_server_reflection((*SERVICE_NAMES, health.SERVICE_NAME, reflection.SERVICE_NAME), services)
        return server

    def _make_http(self, metrics: "Metrics", *, shares_port: bool) -> "HttpPort":
        from server.http import http_app  # noqa: PLC0415 -- most servers need none of it, and begin without
        from server.http_port import HttpPort  # noqa: PLC0415 -- most servers need none of it, and begin without

        metrics.watch_queue(lambda: self._ledger.operations_waiting)
        app = http_app(
            is_ready=lambda: self._is_serving,
            metrics=metrics,
            events=self._billing if self._billing.takes_events else None,
            pages=self._billing.pages(),
        )
        return HttpPort(app, self._settings.http_listen, shares_port=shares_port)

    def _deliver(self, outcomes: Delivery) -> None:
        """Called in the writer's thread: one hop to the event loop per batch."""
        self._loop.call_soon_threadsafe(deliver, outcomes)

    async def _open(self) -> bool:
        """True if the books are open; False if the database is not there."""
        try:
            await asyncio.to_thread(self._ledger.open)
        except DatabaseUnavailableError as error:
            log.warning(
                "database_unavailable",
                database=str(self._ledger),
                error=str(error),
                advice=f"start the database or correct --database; trying again every {REOPEN_PAUSE_S:g} s",
            )
            return False
        self._billing.start_work(self._note_end)
        await self._set_serving(serving=True)
        return True

    async def _open_later(self) -> None:
        while not await self._open():  # noqa: ASYNC110 -- nothing tells when a database comes back
            await asyncio.sleep(REOPEN_PAUSE_S)
        log.info("database_opened", database=str(self._ledger))
        await self._sweep()

    async def _sweep(self) -> None:
        """Writes the lapses of idle accounts now and then. No answer depends on it."""
        while self._settings.sweep_s > 0:
            await asyncio.sleep(self._settings.sweep_s)
            try:
                settled = await self._loop.run_in_executor(self._auditor, self._ledger.sweep)
            except Exception as error:  # noqa: BLE001 -- one account that cannot be settled must not end the sweeping
                log.warning("sweep_not_done", error=repr(error))
            else:
                log.debug("sweep", accounts=settled)

    def _note_end(self, task: asyncio.Task[None]) -> None:
        """A server whose background has broken cannot go on."""
        if not task.cancelled() and (error := task.exception()) is not None and not self.broken.done():
            self.broken.set_exception(error)

    async def _set_serving(self, *, serving: bool) -> None:
        self._is_serving = serving
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", *SERVICE_NAMES):
            await self._health.set(name, status)


def _metrics_of(worker: int) -> "Metrics":
    from server.metrics import Metrics  # noqa: PLC0415 -- most servers need none of it, and begin without

    return Metrics(worker=worker)
