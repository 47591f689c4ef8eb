"""What is done about payments without being asked: events are applied, orders settled, accounts recharged."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

import structlog

from ledger import Billing, DatabaseUnavailableError, NotDoneError
from server.far_threads import FarThreads
from server.inbox import Inbox
from server.recharging import Recharger

# How often it is looked for events that other servers stored, and for those that wait to be tried again.
EVENTS_S: Final = 1.0
SETTLING_S: Final = 2.0
FORGETTING_S: Final = 600.0

log = structlog.get_logger()


class PaymentWorker:
    """Runs in the event loop; what waits for the database or for Stripe, in threads of its own.

    recharge_s    how often it is looked for accounts that recharge themselves; 0: never
    kept_days     for how long it is kept what events said that are done; 0: for ever
    """

    def __init__(
        self,
        billing: Billing,
        inbox: Inbox,
        recharger: Recharger,
        *,
        recharge_s: float,
        kept_days: int,
        clock: Callable[[], datetime],
    ) -> None:
        self._billing = billing
        self._inbox = inbox
        self._recharger = recharger
        self._recharge_s, self._kept_days, self._clock = recharge_s, kept_days, clock
        self._woken = asyncio.Event()
        # One for what waits for Stripe, so that events do not.
        self._threads = FarThreads(3, name="scrip-payments")
        self._under_way: set[asyncio.Future[int | None]] = set()

    def wake(self) -> None:
        """Something was stored that is to be applied."""
        self._woken.set()

    async def run(self) -> None:
        """Goes on until it is cancelled; `close` waits for what is under way then."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._apply())
            group.create_task(self._every(SETTLING_S, self._settle))
            if self._recharge_s > 0:
                group.create_task(self._every(self._recharge_s, self._recharger.recharge_due))
            if self._kept_days > 0:
                group.create_task(self._every(FORGETTING_S, self._forget))

    async def close(self, patience_s: float) -> None:
        """Waits for what is under way after `run` was cancelled, though not longer than that: it may be repeated."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=patience_s)
        self._threads.close()

    async def _apply(self) -> None:
        while True:
            self._woken.clear()
            applied = await self._do(self._inbox.apply_pending)
            if not applied:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), EVENTS_S)

    async def _every(self, seconds: float, do: Callable[[], int | None]) -> None:
        while True:
            await asyncio.sleep(seconds)
            await self._do(do)

    async def _do(self, do: Callable[[], int | None]) -> int | None:
        done = asyncio.get_running_loop().run_in_executor(self._threads, do)
        self._under_way.add(done)
        done.add_done_callback(self._ended)
        try:
            # Whoever cancels this waits for it, in `close`.
            return await asyncio.shield(done)
        except (DatabaseUnavailableError, NotDoneError) as error:
            log.warning("payments_wait", error=repr(error))
        except Exception:
            # What breaks once must not end the work on all payments.
            log.exception("payments_broke")
        return None

    def _ended(self, done: asyncio.Future[int | None]) -> None:
        self._under_way.discard(done)
        # Looked at, so that asyncio does not complain of what nobody waits for any more once the server stops.
        if not done.cancelled():
            done.exception()

    def _settle(self) -> None:
        for order in self._billing.settle_due():
            log.debug("order_looked_at_again", order_id=order.order_id, why=order.why)

    def _forget(self) -> None:
        before = self._clock() - timedelta(days=self._kept_days)
        while dropped := self._billing.drop_payloads(before):
            log.info("stripe_payloads_dropped", events=dropped)
