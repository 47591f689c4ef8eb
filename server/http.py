"""The HTTP side: Stripe's webhook, the purchase page, and what those ask who look after servers."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol
from uuid import uuid4

import structlog
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ledger import DatabaseUnavailableError, MalformedError, NotDoneError
from server.http_body import HUNG_UP, read_body
from server.http_head import wrong_head
from server.metrics import Metrics
from server.stripe_signature import SignatureError

WEBHOOK_BYTES_MAX: Final = 1024 * 1024
# Stripe wants to be answered soon, and sends again what it was not told to be stored.
STORING_S: Final = 0.8
# Of a request whose client has gone before it was answered; nobody is told.
_GONE: Final = 499

log = structlog.get_logger()


class TakesEvents(Protocol):
    """Where events of Stripe go."""

    async def take_event(self, payload: bytes, signature: str) -> None:
        """Stores an event; it is durable on return.

        payload     the body as it came
        signature   the header Stripe-Signature
        raises      SignatureError, MalformedError, NotDoneError, DatabaseUnavailableError
        """


def http_app(
    *, is_ready: Callable[[], bool], metrics: Metrics, events: TakesEvents | None, pages: Sequence[Route]
) -> ASGIApp:
    """All that is served over HTTP.

    is_ready   true while calls are taken
    events     None if payments are not configured
    pages      of the shop
    """

    async def live(_request: Request) -> Response:
        return PlainTextResponse("live\n")

    async def ready(_request: Request) -> Response:
        return PlainTextResponse("ready\n") if is_ready() else PlainTextResponse("not ready\n", 503)

    async def figures(_request: Request) -> Response:
        return Response(metrics.told(), media_type=CONTENT_TYPE_LATEST)

    routes = [
        Route("/healthz", live),
        Route("/readyz", ready),
        Route("/metrics", figures),
        *([Route("/stripe/webhook", _webhook(events), methods=["POST"])] if events is not None else []),
        *pages,
    ]
    app = Starlette(routes=routes, middleware=[Middleware(_Watched, metrics=metrics)])
    # /healthz/ is not another name of /healthz: Stripe for one follows no redirects.
    app.router.redirect_slashes = False
    return app


def _webhook(events: TakesEvents) -> Callable[[Request], Awaitable[Response]]:
    async def take(request: Request) -> Response:
        payload = await read_body(request, WEBHOOK_BYTES_MAX)
        signatures = request.headers.getlist("stripe-signature")
        if len(signatures) != 1:
            return PlainTextResponse("One header Stripe-Signature is needed.\n", 400)
        try:
            async with asyncio.timeout(STORING_S):
                await events.take_event(payload, signatures[0])
        except (SignatureError, MalformedError) as error:
            log.warning("webhook_refused", why=str(error), bytes=len(payload))
            return PlainTextResponse(f"{error}\n", 400)
        except (NotDoneError, DatabaseUnavailableError, TimeoutError) as error:
            log.warning("webhook_not_stored", error=repr(error))
            return PlainTextResponse("It could not be stored. Send it again later.\n", 503)
        return PlainTextResponse("stored\n")

    return take


class _Watched:
    """Counts requests, and turns a bug into an answer that tells nothing but the id of an incident."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        status = 0
        app = self._app if (wrong := wrong_head(scope)) is None else PlainTextResponse(wrong, 400, HUNG_UP)

        async def note_and_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-content-type-options", b"nosniff")]
            await send(message)

        try:
            await app(scope, receive, note_and_send)
        except ClientDisconnect:
            status = _GONE
        except Exception:
            # Whatever it is, its text must not reach the client.
            incident_id = uuid4().hex
            log.exception("http_broke", route=_route(scope), incident_id=incident_id)
            if not status:
                broken = PlainTextResponse(f"Something broke here. Its number is {incident_id}.\n", 500)
                await broken(scope, receive, note_and_send)
        finally:
            seconds = time.perf_counter() - began
            self._metrics.note_request(_route(scope), status or _GONE, seconds)
            log.debug("http", route=_route(scope), method=scope["method"], status=status or _GONE, ms=seconds * 1000)


def _route(scope: Scope) -> str:
    """What was asked for, without what it names: a path has tokens in it, and strangers ask for any."""
    route = scope.get("route")
    return route.path if isinstance(route, Route) else "none"
