"""The part of a server that takes payments, put together: what is asked of it, and what it does by itself."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, Final

from ledger import Ledger, SaleRules, SpentPart
from server.answering import Reader
from server.billing_service import BillingService
from server.config import PAGE_NEEDS, STRIPE_TEST_KEYS, WEBHOOK_NEEDS, Settings
from server.far_threads import FarThreads
from server.inbox import Inbox
from server.payment_worker import PaymentWorker
from server.payments import Payments
from server.purchase_links import PurchaseLinks
from server.recharging import Recharger

if TYPE_CHECKING:
    from starlette.routing import Route

    from server.metrics import Metrics

# How many calls may wait for Stripe at once.
STRIPE_CALLS_MAX: Final = 8
# And how many pages, which anybody may load who has a link.
STRIPE_PAGES_MAX: Final = 2
# How many webhooks are stored at once.
STORING_MAX: Final = 2


class BillingSide:
    """BillingService, what the webhook and the purchase page need, and the work that nobody asks for.

    read      runs what reads the books
    service   answers whether payments are configured or not
    """

    def __init__(
        self,
        ledger: Ledger,
        read: Reader,
        settings: Settings,
        *,
        clock: Callable[[], datetime],
        metrics: "Metrics | None",
    ) -> None:
        livemode = not settings.stripe_api_key.startswith(STRIPE_TEST_KEYS)
        self._ledger = ledger
        self._settings = settings
        self._billing = ledger.billing(SaleRules(livemode=livemode, returned=SpentPart(settings.returned_credits)))
        self._read = read
        self._far = FarThreads(STRIPE_CALLS_MAX, name="scrip-stripe")
        self._pages = FarThreads(STRIPE_PAGES_MAX, name="scrip-pages")
        self._storing = ThreadPoolExecutor(STORING_MAX, thread_name_prefix="scrip-webhook")
        self._read_far = Reader(self._far)
        self._inbox = Inbox(
            self._billing,
            secrets=[secret for secret in settings.stripe_webhook_secret.split(",") if secret],
            livemode=livemode,
            clock=clock,
            noted=_unnoted if metrics is None else metrics.note_event,
        )
        self._worker: PaymentWorker | None = None
        self._work: asyncio.Task[None] | None = None
        stripe = None
        if settings.stripe_api_key:
            from server.stripe_api import StripeApi  # noqa: PLC0415 -- most servers need none of it, and begin without

            note = _unnoted if metrics is None else metrics.note_stripe_call
            stripe = StripeApi(settings.stripe_api_key, settings.stripe_api_base, clock=clock, note=note)
            recharger = Recharger(self._billing, stripe, clock)
            self._worker = PaymentWorker(
                self._billing,
                self._inbox,
                recharger,
                recharge_s=settings.recharge_s,
                kept_days=settings.stripe_payload_days,
                clock=clock,
            )
        self._payments = Payments(self._billing, stripe, self._inbox, clock)
        self._links = PurchaseLinks(ledger, settings, clock)
        self.service = BillingService(
            ledger, self._billing, self._payments, self._links, read=read, read_far=self._read_far
        )

    @property
    def takes_events(self) -> bool:
        """True if all is there that the webhook needs."""
        return not self._settings.lacking(WEBHOOK_NEEDS)

    async def take_event(self, payload: bytes, signature: str) -> None:
        """See TakesEvents."""
        await asyncio.get_running_loop().run_in_executor(self._storing, self._inbox.take, payload, signature)
        if self._worker is not None:
            self._worker.wake()

    def pages(self) -> "tuple[Route, ...]":
        """The purchase page; none unless all is there that it needs."""
        if self._settings.lacking(PAGE_NEEDS):
            return ()
        from server.purchase_page import PurchasePage  # noqa: PLC0415 -- most servers need none of it, and begin without

        page = PurchasePage(
            self._ledger,
            self._billing,
            self._payments,
            self._links,
            read=self._read,
            read_far=Reader(self._pages),
        )
        return page.routes()

    def start_work(self, ended: Callable[[asyncio.Task[None]], None]) -> None:
        """Begins what nobody asks for, once the books are open.

        ended   told if it ends by itself, which it should not
        """
        if self._worker is not None:
            self._work = asyncio.create_task(self._worker.run())
            self._work.add_done_callback(ended)

    async def stop_work(self, patience_s: float) -> None:
        """Ends that, and waits for what is under way, though not for longer than that: all of it may be repeated."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)
        if self._worker is not None:
            await self._worker.close(patience_s)

    def close(self) -> None:
        """Nobody asks for anything any more."""
        self._storing.shutdown(wait=False, cancel_futures=True)
        self._pages.close()
        self._far.close()


def _unnoted(*_told: object) -> None:
    """Nothing is counted for nobody."""
