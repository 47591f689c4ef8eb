"""What stands behind the purchase page in its tests: real books, and a shop whose payments a test makes itself."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from ledger import (
    AccountName,
    Checkout,
    Grant,
    Ledger,
    MadeOrder,
    Money,
    OpenAccount,
    Order,
    OrderKind,
    Package,
    PackageContent,
    Paid,
    Reason,
    Refused,
    Source,
)
from ledger.sales.payment import Payment
from server.answering import Reader
from server.config import Settings
from server.purchase_links import PurchaseLinks, new_link, page_url, token_of
from server.purchase_page import PurchasePage
from tests.books import ACME, START, Clock, request_id
from tests.server.http_asking import HttpAsking, ServedApp

LINK_SECRET = "a secret that nobody would guess in time"
SMALL = Package(
    package="small",
    title="Small pack",
    description="For a first try.",
    contents=(PackageContent(credits=1_000, bonus_credits=100, bonus_validity=timedelta(days=30)),),
    price=Money(minor_units=1_900, currency="EUR"),
)
LARGE = Package(
    package="large",
    title="Large pack",
    contents=(
        PackageContent(credits=100_000, validity=timedelta(days=365)),
        PackageContent(asset="tokens", credits=2_500_000),
    ),
    price=Money(minor_units=15_000, currency="JPY"),
    sort_order=1,
)


class Shop:
    """Takes orders as billing does, and money when a test says so.

    breaks   raised by whatever is asked, if a test sets it
    """

    def __init__(self, ledger: Ledger) -> None:
        self.on_sale: tuple[Package, ...] = (SMALL, LARGE)
        self.orders: dict[str, Order] = {}
        self.breaks: Exception | None = None
        self._ledger = ledger

    def packages(self, _tenant: str, *, asset: str = "") -> tuple[Package, ...]:
        self._break()
        return tuple(
            package for package in self.on_sale if not asset or asset in {part.asset for part in package.contents}
        )

    def create_checkout(self, checkout: Checkout, *, by_link: bool) -> MadeOrder | Refused:
        assert by_link
        self._break()
        order_id = f"or_{checkout.request_id[-16:]}"
        if order_id in self.orders:
            return MadeOrder(order=self.orders[order_id], replayed=True)
        package = next((package for package in self.on_sale if package.package == checkout.package), None)
        if package is None:
            return Refused(reason=Reason.PACKAGE_NOT_FOUND, figures={"package": checkout.package})
        order = Order(
            tenant=checkout.tenant,
            order_id=order_id,
            kind=OrderKind.CHECKOUT,
            account_id=checkout.account_id,
            package=package.package,
            asked=checkout,
            price=package.price,
            livemode=False,
            created_at=START,
            url=f"https://pay.example.com/{order_id}",
        )
        self.orders[order_id] = order
        return MadeOrder(order=order, replayed=False)

    def glance(self, _tenant: str, order_id: str) -> Order | Refused:
        self._break()
        if order_id not in self.orders:
            return Refused(reason=Reason.ORDER_NOT_FOUND, figures={"order_id": order_id})
        return self.orders[order_id]

    def pay(self, order_id: str) -> None:
        """What a webhook comes to."""
        order = self.orders[order_id]
        package = next(package for package in self.on_sale if package.package == order.package)
        for content in package.contents:
            account = AccountName(tenant=order.tenant, account_id=order.account_id, asset=content.asset)
            self._ledger.execute(OpenAccount(request_id=request_id(), account=account))
            amount = content.credits + content.bonus_credits
            self._ledger.execute(Grant(request_id=request_id(), account=account, amount=amount, source=Source.PROMO))
        payment = Payment(paid=Paid(money=order.price, livemode=False, at=START))
        self.orders[order_id] = replace(order, payment=payment, granted=True, url="")

    def change(self, order_id: str, **changes: Any) -> None:
        self.orders[order_id] = replace(self.orders[order_id], **changes)

    def _break(self) -> None:
        if self.breaks is not None:
            raise self.breaks


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenShop:
    """The page of a shop, with its books."""

    shop: Shop
    ledger: Ledger
    clock: Clock
    ask: HttpAsking

    def path(self, account_id: str = "acme", *, asset: str = "", ttl: timedelta = timedelta(hours=1)) -> str:
        """Where the page of a new link is, without the server."""
        link = new_link(
            tenant=ACME.tenant, account_id=account_id, asset=asset, link_id=request_id(), ttl=ttl, now=self.clock.now
        )
        return page_url("", token_of(link, secret=LINK_SECRET))


@contextmanager
def open_shop(url: str) -> Iterator[OpenShop]:
    """A shop on empty books, where assets are credits, and tokens of scale 6."""
    clock = Clock()
    with Ledger(url, clock=clock) as ledger, ThreadPoolExecutor(2) as executor:
        ledger.define_asset(ACME.tenant, "tokens", 6)
        shop = Shop(ledger)

        def pages(public_url):
            read = Reader(executor)
            links = PurchaseLinks(ledger, Settings(public_url=public_url, link_secret=LINK_SECRET), clock)
            return PurchasePage(ledger, shop, shop, links, read=read, read_far=read).routes()

        with ServedApp(pages=pages) as ask:
            yield OpenShop(shop=shop, ledger=ledger, clock=clock, ask=ask)
