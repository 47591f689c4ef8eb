"""The page where a customer buys packages: what there is, on to the payment page of Stripe, and back."""

import asyncio
import hashlib
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Protocol
from urllib.parse import parse_qs, urlencode
from uuid import uuid4

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from ledger import (
    Balance,
    Checkout,
    DatabaseUnavailableError,
    Ledger,
    MadeOrder,
    MalformedError,
    NotDoneError,
    Order,
    OrderState,
    Package,
    PackageContent,
    Reason,
    Refused,
)
from server.answering import Reader
from server.errors import RefusedError
from server.http_body import read_body
from server.purchase_links import PAGE_PATH, ExpiredLinkError, Link, PurchaseLinks, UnknownLinkError
from server.rendering import Pages
from server.shown import credits_shown, money_shown, span_shown

FORM_BYTES_MAX: Final = 4 * 1024
# How long a customer waits for the books or for Stripe.
PAGE_S: Final = 20.0
# How often a page that waits for a payment looks again by itself, and after how many seconds at most.
LOOKS_MAX: Final = 30
LOOK_S_MAX: Final = 5
_NONCE: Final = re.compile(r"[\w-]{16,64}", re.ASCII)
_LATER: Final = "Nothing was charged. Please try again in a minute."

_HEADINGS: Final[Mapping[OrderState, tuple[str, ...]]] = MappingProxyType(
    {
        OrderState.FULFILLED: ("Thank you", "Payment received. Your credits are there."),
        OrderState.FAILED: ("Not paid", "This order was not paid. Nothing was charged for it."),
        OrderState.PARTLY_RETURNED: ("Partly refunded", "Some of the money for this order went back to you."),
        OrderState.RETURNED: ("Refunded", "The money for this order went back to you."),
        OrderState.DISPUTED: (
            "In dispute",
            "Your bank is looking into this payment. Its credits wait until it is done.",
        ),
        OrderState.MISMATCHED: (
            "We are looking into it",
            "Payment received, but not as it was ordered. Somebody looks at it; you need not pay again.",
        ),
    }
)
_REFUSALS: Final[Mapping[Reason, str]] = MappingProxyType(
    {
        Reason.PACKAGE_NOT_FOUND: "This package is not on sale any more. Please choose another one.",
        Reason.STRIPE_UNAVAILABLE: f"The payment service does not answer at the moment. {_LATER}",
        Reason.ORDER_NOT_FOUND: "There is no such order here. Please look for the link that you were given.",
    }
)

log = structlog.get_logger()


class Offers(Protocol):
    """What the page needs of what is on sale; Billing has it."""

    def packages(self, tenant: str, *, asset: str = "") -> tuple[Package, ...]:
        """By sort_order; only those that have the asset, unless it is empty."""


class TakesOrders(Protocol):
    """What the page needs of payments; Payments has it."""

    def create_checkout(self, checkout: Checkout, *, by_link: bool) -> MadeOrder | Refused:
        """Makes an order, at whose url whoever has the link pays; the same request gets the same order."""

    def glance(self, tenant: str, order_id: str) -> Order | Refused:
        """How an order stands; if nobody has paid it as far as is known, as Stripe said a moment ago."""


class PurchasePage:
    """The pages of all links.

    read       runs what waits for the database alone
    read_far   runs what waits for Stripe
    """

    def __init__(
        self,
        ledger: Ledger,
        offers: Offers,
        orders: TakesOrders,
        links: PurchaseLinks,
        *,
        read: Reader,
        read_far: Reader,
    ) -> None:
        self._ledger, self._offers, self._orders = ledger, offers, orders
        self._read, self._read_far = read, read_far
        self._links = links
        self._pages = Pages(links.public_url)

    def routes(self) -> tuple[Route, ...]:
        """Where the pages are."""
        path = PAGE_PATH + "/{token}"
        return (
            Route(path, self._answered(self._show), methods=["GET"]),
            Route(path, self._answered(self._buy), methods=["POST"]),
            Route(path + "/done", self._answered(self._come_back), methods=["GET"]),
        )

    def _answered(
        self, answer: Callable[[Request, Link], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Makes every request end with a page that says what to do."""

        async def answered(request: Request) -> Response:
            try:
                link = self._links.read(request.path_params["token"])
            except UnknownLinkError:
                return self._pages.notice(
                    404,
                    "This link does not work",
                    "It may have been cut off. Please use all of it, or ask for another.",
                )
            except ExpiredLinkError:
                return self._pages.notice(
                    410,
                    "This link has expired",
                    "Please go back to where you found it, and ask for another.",
                    "If you have just paid: your credits are coming all the same.",
                )
            shop = self._links.page(request.path_params["token"])
            try:
                async with asyncio.timeout(PAGE_S):
                    return await answer(request, link)
            except RefusedError as error:
                reason = error.refused.reason
                log.info("purchase_page_refused", reason=reason.name)
                status = 404 if reason is Reason.ORDER_NOT_FOUND else 409
                told = _REFUSALS.get(reason, "This cannot be bought at the moment. Nothing was charged.")
                return self._pages.notice(status, "That did not work", told, shop=shop)
            except (HTTPException, MalformedError) as error:
                status = error.status_code if isinstance(error, HTTPException) else 400
                return self._pages.notice(
                    status, "That did not work", "This page did not send what it should. Please go back.", shop=shop
                )
            except (NotDoneError, DatabaseUnavailableError, TimeoutError) as error:
                log.warning("purchase_page_not_answered", error=repr(error))
                return self._pages.notice(503, "Please try again", f"We cannot answer right now. {_LATER}", shop=shop)
            except Exception:
                # Whatever it is, its text must not reach the customer.
                incident_id = uuid4().hex
                log.exception("http_broke", route=f"{PAGE_PATH}/{{token}}", incident_id=incident_id)
                told = f"Please try again, or tell us of it. Its number is {incident_id}."
                return self._pages.notice(500, "Something broke here", told, shop=shop)

        return answered

    async def _show(self, request: Request, link: Link) -> Response:
        packages = await self._read(self._offers.packages, link.tenant, asset=link.asset)
        scales = {asset.asset: asset.scale for asset in await self._read(self._ledger.assets, link.tenant)}
        return self._pages.page(
            "shop.html",
            account_id=link.account_id,
            **await self._balances(link),
            offers=[_offer(package, scales) for package in packages],
            action=self._links.page(request.path_params["token"]),
            nonce=secrets.token_urlsafe(16),
        )

    async def _buy(self, request: Request, link: Link) -> Response:
        form = parse_qs((await read_body(request, FORM_BYTES_MAX)).decode("ascii", "replace"))
        package, nonce = (form.get(name, [""])[0] for name in ("package", "nonce"))
        if not package or _NONCE.fullmatch(nonce) is None:
            raise HTTPException(400)
        url = self._links.page(request.path_params["token"])
        checkout = Checkout(
            tenant=link.tenant,
            request_id=_request_id(link, nonce, package),
            account_id=link.account_id,
            package=package,
            success_url=f"{url}/done?order={{ORDER_ID}}",
            cancel_url=url,
        )
        made = await self._read_far(self._orders.create_checkout, checkout, by_link=True)
        # There is none if this form was sent before, and what it ordered is paid or given up.
        on = made.order.url or f"{url}/done?{urlencode({'order': made.order.order_id})}"
        return RedirectResponse(on, 303, self._pages.headers)

    async def _come_back(self, request: Request, link: Link) -> Response:
        order = await self._read_far(self._orders.glance, link.tenant, request.query_params.get("order", ""))
        shop = self._links.page(request.path_params["token"])
        if order.account_id != link.account_id:
            return self._pages.notice(404, "That did not work", _REFUSALS[Reason.ORDER_NOT_FOUND], shop=shop)
        look = _look(request.query_params.get("look", ""))
        heading, *lines = _HEADINGS.get(order.state) or _waiting(look, is_paid=order.received is not None)
        is_open = order.state is OrderState.OPEN
        next_look = urlencode({"order": order.order_id, "look": min(look + 1, LOOKS_MAX)})
        return self._pages.page(
            "order.html",
            heading=heading,
            lines=lines,
            **await self._balances(link),
            order_id=order.order_id,
            price="" if order.price is None else money_shown(order.price),
            shop=shop,
            look_at=f"{shop}/done?{next_look}" if is_open else "",
            look_in_s=min(look + 1, LOOK_S_MAX) if is_open and look < LOOKS_MAX else 0,
        )

    async def _balances(self, link: Link) -> dict[str, Any]:
        """What the pages say about balances."""
        try:
            found = await self._read(self._ledger.balances, link.tenant, link.account_id, link.asset or None)
        except RefusedError:
            # There is no account yet; the first payment opens it.
            return {"balances": [], "asset": link.asset}
        return {"balances": [_standing(balance) for balance in found.balances], "asset": link.asset}


def _request_id(link: Link, nonce: str, package: str) -> str:
    """The same for a form that is sent twice, and another for each other one."""
    return "buy-" + hashlib.sha256(f"{link.link_id}\n{nonce}\n{package}".encode()).hexdigest()


def _look(text: str) -> int:
    """How often the page has looked, as its address says."""
    return min(int(text), LOOKS_MAX) if text.isascii() and text.isdecimal() and len(text) < len("1000") else 0


def _waiting(look: int, *, is_paid: bool) -> tuple[str, ...]:
    """What is said of an order whose credits are not there yet."""
    if is_paid:
        on_the_way = "Payment received. Your credits are on their way."
    else:
        on_the_way = "As soon as your payment is confirmed, your credits are on their way."
    if look < LOOKS_MAX:
        return ("Thank you", on_the_way, "This page looks again by itself.")
    return ("Thank you", on_the_way, "It takes longer than usual. You need not wait here: they come all the same.")


def _standing(balance: Balance) -> dict[str, str]:
    def shown(units: int) -> str:
        return credits_shown(units, balance.scale)

    return {
        "asset": balance.name.asset,
        "available": shown(balance.available),
        "held": shown(balance.held) if balance.held else "",
        "owed": shown(balance.owed) if balance.owed else "",
    }


def _offer(package: Package, scales: Mapping[str, int]) -> dict[str, object]:
    return {
        "package": package.package,
        "title": package.title,
        "description": package.description,
        "contents": [line for content in package.contents for line in _lines(content, scales.get(content.asset, 0))],
        "price": money_shown(package.price),
    }


def _lines(content: PackageContent, scale: int) -> tuple[str, ...]:
    """What a package has of one asset."""
    valid = f", good for {span_shown(content.validity)}" if content.validity is not None else ""
    sold = f"{credits_shown(content.credits, scale)} {content.asset}{valid}"
    if not content.bonus_credits:
        return (sold,)
    valid = f", good for {span_shown(content.bonus_validity)}" if content.bonus_validity is not None else ""
    return (sold, f"{credits_shown(content.bonus_credits, scale)} {content.asset} as a bonus{valid}")
