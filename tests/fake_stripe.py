"""A stand-in for Stripe on a port of this machine: the endpoints that are used, a page to pay on, and signed webhooks.

    with FakeStripe(webhook_url="http://127.0.0.1:8080/stripe/webhook") as stripe:
        client = StripeClient(stripe.api_key, base_addresses={"api": stripe.url})
        ...
        stripe.send(stripe.world.pay(session_id))

It answers as Stripe does: keys and idempotency keys are looked at, nested parameters read, lists paged, and what is
wrong is said as an error of Stripe's. What happens there by itself, such as customers that pay and banks that decide,
is done through `world`.
"""

import hashlib
import hmac
import json
import random
import re
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import SimpleQueue
from urllib.parse import parse_qsl, urlsplit

import requests

from tests.stripe_routes import answer
from tests.stripe_shapes import Shape, event_shown
from tests.stripe_world import StripeSaysNoError, StripeWorld

API_KEY = "sk_test_of_the_stand_in"
SECRET = "whsec_of_the_stand_in"

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Pay</title></head><body>
<h1>Pay {amount} {currency}</h1>
<form method="post" action="/pay/{session}"><button type="submit">Pay</button></form>
<a href="{cancel_url}">Cancel</a>
</body></html>"""
CLOSED = "<!doctype html><title>Pay</title><h1>This page is not open any more.</h1>"


def signature(payload, secret, at):
    """The header Stripe-Signature of a payload that was sent at an instant."""
    signed = hmac.new(secret.encode(), f"{at}.".encode() + payload, hashlib.sha256).hexdigest()
    return f"t={at},v1={signed}"


@dataclass
class Fault:
    """What goes wrong with the next requests.

    what    drop: it is done, and the connection closed without an answer; slow: the answer takes `after_s`;
            a number: that status is answered and nothing done
    path    only with requests whose path contains this
    times   with how many of them
    """

    what: object
    path: str = ""
    times: int = 1
    after_s: float = 0.0


@dataclass
class Call:
    """A request that came in."""

    method: str
    path: str
    params: dict = field(default_factory=dict)
    idempotency_key: str | None = None


def nested(pairs):
    """Parameters as values within values: `a[b]=1` is {"a": {"b": "1"}}, `a[0]=1` is {"a": ["1"]}."""
    found = {}
    for name, value in pairs:
        *path, last = re.findall(r"[^\[\]]+", name)
        inner = found
        for key in path:
            inner = inner.setdefault(key, {})
        inner[last] = value
    return _lists(found)


def _lists(value):
    if not isinstance(value, dict):
        return value
    if value and all(key.isdigit() for key in value):
        return [_lists(value[key]) for key in sorted(value, key=int)]
    return {key: _lists(item) for key, item in value.items()}


class FakeStripe:
    """The stand-in, running while the context is entered.

    world        what there is at Stripe; its methods make things happen
    shape        the API version of the account: how its events look
    webhook_url  where events go
    automatic    True: every event is sent as it is made, in order, by a thread; else `send` sends
    faults       what is to go wrong, in order
    calls        the requests that came in
    """

    def __init__(self, webhook_url=None, *, shape=Shape.NEW, automatic=False, secret=SECRET, api_key=API_KEY, **world):
        self.api_key = api_key
        self.secret = secret
        self.shape = shape
        self.webhook_url = webhook_url
        self.automatic = automatic
        self.faults = []
        self.calls = []
        self._done = {}
        self._lock = threading.Lock()
        self._queue = SimpleQueue()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.stripe = self
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.world = StripeWorld(url=self.url, heard=self._heard, **world)
        self._threads = [
            threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True),
            threading.Thread(target=self._send_on, daemon=True),
        ]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._queue.put(None)
        self._server.shutdown()
        self._server.server_close()
        for thread in self._threads:
            thread.join()

    # Webhooks.

    def _heard(self, event):
        if self.automatic:
            self._queue.put(event)

    def _send_on(self):
        while (event := self._queue.get()) is not None:
            with suppress(requests.RequestException):
                self.send([event])

    def send(self, events, *, shape=None, copies=1, shuffled=None, at=None, secret=None):
        """Sends events to the webhook; answers the status of each request.

        copies    how often each is sent
        shuffled  the seed of the order in which they are sent; None: as they were made
        at        when they are signed, in seconds; None: now
        """
        sent = [event for event in events for _ in range(copies)]
        if shuffled is not None:
            random.Random(shuffled).shuffle(sent)
        return [self._post(self.payload(event, shape), at, secret) for event in sent]

    def payload(self, event, shape=None):
        """The body of the webhook of an event."""
        return json.dumps(event_shown(event, shape or self.shape), indent=2).encode()

    def headers(self, payload, at=None, secret=None):
        """The headers of a webhook."""
        signed = signature(payload, secret or self.secret, int(time.time()) if at is None else at)
        return {"Stripe-Signature": signed, "Content-Type": "application/json; charset=utf-8"}

    def _post(self, payload, at, secret):
        headers = self.headers(payload, at, secret)
        return requests.post(self.webhook_url, data=payload, headers=headers, timeout=30).status_code

    def pay_once(self, session_id):
        """The customer presses the button, perhaps twice."""
        with self._lock:
            if self.world.get(session_id)["status"] == "open":
                self.world.pay(session_id)

    # The API.

    def api(self, call, headers):
        """Answers a request: (status, body, whether the connection is dropped instead)."""
        with self._lock:
            self.calls.append(call)
            fault = self._fault(call)
            if headers.get("Authorization") != f"Bearer {self.api_key}":
                raise StripeSaysNoError("Invalid API Key provided.", status=401)
            if fault and isinstance(fault.what, int):
                kind = "rate_limit_error" if fault.what == 429 else "api_error"
                raise StripeSaysNoError("It was made to fail.", status=fault.what, kind=kind)
            status, body = self._once(call)
        if fault and fault.what == "slow":
            time.sleep(fault.after_s)
        return status, body, bool(fault) and fault.what == "drop"

    def forget_keys(self):
        """A day has passed: idempotency keys mean nothing any more."""
        with self._lock:
            self._done.clear()

    def _fault(self, call):
        for fault in self.faults:
            if fault.times > 0 and fault.path in call.path:
                fault.times -= 1
                return fault
        return None

    def _once(self, call):
        """A repeat with the same idempotency key gets the first answer; other parameters are refused."""
        key = call.idempotency_key if call.method == "POST" else None
        asked = (call.path, json.dumps(call.params, sort_keys=True))
        if key in self._done:
            first, status, body = self._done[key]
            if first != asked:
                message = (
                    "Keys for idempotent requests can only be used with the same parameters they were first used with."
                )
                raise StripeSaysNoError(message, kind="idempotency_error")
            return status, body
        status, body = 200, None
        try:
            body = json.dumps(answer(self.world, self.shape, call))
        except StripeSaysNoError as no:
            if no.status != 402:
                raise
            # The bank was asked, so this is the answer for good.
            status, body = no.status, json.dumps(no.body)
        if key:
            self._done[key] = (asked, status, body)
        return status, body


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Nothing is logged."""

    def do_GET(self):
        self._answer("GET")

    def do_POST(self):
        self._answer("POST")

    def _answer(self, method):
        stripe = self.server.stripe
        target = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        if target.path.startswith("/pay/"):
            self._page(method, stripe, target.path.removeprefix("/pay/"))
            return
        pairs = [*parse_qsl(target.query, keep_blank_values=True), *parse_qsl(body, keep_blank_values=True)]
        call = Call(method, target.path, nested(pairs), self.headers.get("Idempotency-Key"))
        dropped = False
        try:
            status, text, dropped = stripe.api(call, self.headers)
        except StripeSaysNoError as no:
            status, text = no.status, json.dumps(no.body)
        if dropped:
            self.close_connection = True
        else:
            self._write(status, text, "application/json")

    def _page(self, method, stripe, session_id):
        """The page where the customer pays; whatever the page does, the webhooks tell."""
        session = stripe.world.objects.get(session_id)
        if session is None or session["status"] == "expired":
            self._write(404, CLOSED, "text/html; charset=utf-8")
        elif method == "POST" or session["status"] == "complete":
            stripe.pay_once(session_id)
            goal = session["success_url"].replace("{CHECKOUT_SESSION_ID}", session_id)
            self._write(303, "", "text/html", {"Location": goal})
        else:
            page = PAGE.format(
                amount=session["amount_total"],
                currency=escape(session["currency"]),
                session=escape(session_id),
                cancel_url=escape(session["cancel_url"] or "/"),
            )
            self._write(200, page, "text/html; charset=utf-8")

    def _write(self, status, text, content_type, headers=()):
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Request-Id", "req_of_the_stand_in")
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
