"""What is asked of Stripe, through its own client. Every call may take a while: they are made from threads."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Final, cast

import stripe
from stripe import StripeClient, StripeObject

from ledger import NotPaid, Order, Reading, StripeEvent, utc_now
from server.payments import Asked, StripeRefusedError, StripeUnavailableError
from server.stripe_events import ACCOUNT, ORDER, PACKAGE, PLAN, TENANT, TYPES, Unreadable, has_more_lines, read_object
from server.stripe_fields import Json, name, part

if TYPE_CHECKING:
    from stripe.params import EventListParams, PaymentIntentCreateParams
    from stripe.params.checkout import SessionCreateParams, SessionCreateParamsLineItem

CONNECT_TIMEOUT_S: Final = 5.0
READ_TIMEOUT_S: Final = 25.0
# Each with a pause of up to five seconds before it; with the key of the order nothing is done twice.
RETRIES: Final = 2
EVENT_TYPES_MAX: Final = 20
PAGE_SIZE: Final = 100
_NOT_FOUND: Final = 404

# The client would write a file of its own into the home directory, and tell Stripe how long calls take.
stripe.enable_telemetry = False


class StripeApi:
    """Calls Stripe; see AsksStripe. Safe to use from many threads.

    base    where Stripe's API is; empty: at Stripe
    clock   when it is; what Stripe answers was so then
    note    told each call when it ends: its name, its outcome (ok, refused, unavailable), and the seconds it took
    """

    def __init__(
        self,
        api_key: str,
        base: str = "",
        *,
        clock: Callable[[], datetime] = utc_now,
        note: Callable[[str, str, float], None] = lambda _call, _outcome, _seconds: None,
    ) -> None:
        self._client = StripeClient(
            api_key,
            base_addresses={"api": base} if base else None,
            max_network_retries=RETRIES,
            http_client=stripe.RequestsClient(timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S)),
        )
        self._clock, self._note = clock, note

    def create_session(self, order: Order) -> Asked:
        """See AsksStripe."""
        params = _session_params(order)
        with self._asking("create_session"):
            made = self._client.v1.checkout.sessions.create(params, {"idempotency_key": order.order_id})
        return Asked(stripe_id=made.id, url=made.url or "")

    def charge(self, order: Order) -> tuple[Asked, Reading]:
        """See AsksStripe."""
        assert order.price is not None, "a recharge has a price"
        params: PaymentIntentCreateParams = {
            "amount": order.price.minor_units,
            "currency": order.price.currency.lower(),
            "customer": order.customer,
            "payment_method": order.payment_method,
            "description": order.title,
            "metadata": metadata_of(order),
            "off_session": True,
            "confirm": True,
        }
        with self._asking("charge"):
            try:
                made = self._client.v1.payment_intents.create(params, {"idempotency_key": order.order_id})
            except stripe.CardError as error:
                return self._declined(order, error)
        return self._asked(_json(made))

    def charge_of(self, order: Order) -> tuple[Asked, Reading] | None:
        """See AsksStripe."""
        since = int(order.created_at.timestamp())
        with self._asking("charge_of"):
            if order.stripe_id:
                return self._asked(_json(self._client.v1.payment_intents.retrieve(order.stripe_id)))
            page = self._client.v1.payment_intents.list(
                {"customer": order.customer, "created": {"gte": since}, "limit": PAGE_SIZE}
            )
            for intent in map(_json, page.auto_paging_iter()):
                if part(intent, "metadata").get(ORDER) == order.order_id:
                    return self._asked(intent)
        return None

    def look_up(self, stripe_id: str) -> tuple[Reading, ...]:
        """See AsksStripe."""
        with self._asking("look_up"):
            found = list(self._objects(stripe_id))
        return tuple(reading for one in found if (reading := self._reading(one)) is not None)

    def event(self, event_id: str) -> bytes | None:
        """See AsksStripe."""
        with self._asking("event"):
            try:
                return _payload(self._client.v1.events.retrieve(event_id))
            except stripe.InvalidRequestError as error:
                if error.http_status == _NOT_FOUND:
                    return None
                raise

    def events(self, since: datetime) -> Iterator[bytes]:
        """See AsksStripe."""
        for first in range(0, len(TYPES), EVENT_TYPES_MAX):
            params: EventListParams = {
                "created": {"gte": int(since.timestamp())},
                "types": list(TYPES[first : first + EVENT_TYPES_MAX]),
                "limit": PAGE_SIZE,
            }
            with self._asking("events"):
                page = self._client.v1.events.list(params)
            while page.data:
                yield from map(_payload, page.data)
                with self._asking("events"):
                    page = page.next_page()

    def whole(self, event: StripeEvent) -> StripeEvent:
        """See AsksStripe."""
        payload = json.loads(event.payload)
        invoice = part(payload, "data", "object")
        if invoice.get("object") != "invoice" or not has_more_lines(invoice):
            return event
        with self._asking("whole"):
            payload["data"]["object"] = self._with_lines(invoice)
        return replace(event, payload=json.dumps(payload, ensure_ascii=False))

    @contextmanager
    def _asking(self, call: str) -> Iterator[None]:
        began, outcome = time.perf_counter(), "ok"
        try:
            with _translated():
                yield
        except StripeUnavailableError:
            outcome = "unavailable"
            raise
        except StripeRefusedError:
            outcome = "refused"
            raise
        finally:
            self._note(call, outcome, time.perf_counter() - began)

    def _objects(self, stripe_id: str) -> Iterator[Json]:
        v1 = self._client.v1
        if stripe_id.startswith("cs_"):
            session = _json(v1.checkout.sessions.retrieve(stripe_id))
            yield session
            if billed := name(session, "invoice"):
                yield from self._objects(billed)
        elif stripe_id.startswith("in_"):
            invoice = _json(v1.invoices.retrieve(stripe_id, {"expand": ["payments"]}))
            yield self._with_lines(invoice) if has_more_lines(invoice) else invoice
        else:
            yield _json(v1.payment_intents.retrieve(stripe_id))
            # A payment no longer names the invoice that it paid.
            paid = v1.invoice_payments.list({"payment": {"type": "payment_intent", "payment_intent": stripe_id}})
            yield from (_json(one) for one in paid.data)

    def _with_lines(self, invoice: Json) -> Json:
        """An invoice with all its lines."""
        page = self._client.v1.invoices.line_items.list(name(invoice, "id"), {"limit": PAGE_SIZE})
        return {**invoice, "lines": {"data": [_json(line) for line in page.auto_paging_iter()], "has_more": False}}

    def _asked(self, intent: Json) -> tuple[Asked, Reading]:
        reading = self._reading(intent)
        if reading is None:
            raise StripeUnavailableError("it answered with something else than a payment")
        return Asked(stripe_id=name(intent, "id"), refs=reading.refs), reading

    def _declined(self, order: Order, error: stripe.CardError) -> tuple[Asked, Reading]:
        """What the bank's refusal says; Stripe has put the payment that came to nothing beside it."""
        body = cast("Json", error.json_body or {}).get("error")
        intent = body.get("payment_intent") if isinstance(body, dict) else None
        if not isinstance(intent, dict):
            raise error
        asked, reading = self._asked(intent)
        if any(isinstance(fact, NotPaid) for fact in reading.facts):
            return asked, reading
        code = str(body.get("decline_code") or error.code) if isinstance(body, dict) else ""
        fact = NotPaid(why=code, is_final=True, at=self._clock())
        return asked, Reading(order_id=order.order_id, tenant=order.tenant, refs=reading.refs, facts=(fact,))

    def _reading(self, about: Json) -> Reading | None:
        reading = read_object(about, self._clock())
        if isinstance(reading, Unreadable):
            raise StripeUnavailableError(f"it answered with what cannot be read: {reading.why}")
        return reading


def metadata_of(order: Order) -> dict[str, str]:
    """What is written beside whatever is made at Stripe for an order, and comes back with its events."""
    metadata = {
        ORDER: order.order_id,
        TENANT: order.tenant,
        ACCOUNT: order.account_id,
        PACKAGE: order.package,
        PLAN: order.plan,
    }
    return {key: value for key, value in metadata.items() if value}


def _session_params(order: Order) -> "SessionCreateParams":
    assert order.asked is not None, "a checkout was asked for"
    metadata = metadata_of(order)
    params: SessionCreateParams = {
        "mode": "subscription" if order.stripe_price else "payment",
        "line_items": [_line_item(order)],
        "success_url": order.asked.success_url.replace("{ORDER_ID}", order.order_id),
        "cancel_url": order.asked.cancel_url.replace("{ORDER_ID}", order.order_id),
        "client_reference_id": order.order_id,
        "metadata": metadata,
    }
    if order.customer:
        params["customer"] = order.customer
    if order.stripe_price:
        params["subscription_data"] = {"metadata": metadata}
        return params
    params["payment_intent_data"] = {"metadata": metadata}
    if order.asked.save_payment_method:
        params["payment_intent_data"]["setup_future_usage"] = "off_session"
        if not order.customer:
            params["customer_creation"] = "always"
    return params


def _line_item(order: Order) -> "SessionCreateParamsLineItem":
    if order.stripe_price:
        return {"price": order.stripe_price, "quantity": 1}
    assert order.price is not None, "a package has a price"
    return {
        "quantity": 1,
        "price_data": {
            "currency": order.price.currency.lower(),
            "unit_amount": order.price.minor_units,
            "product_data": {"name": order.title},
        },
    }


def _json(found: StripeObject) -> Json:
    return cast("Json", found.to_dict(for_json=True))


def _payload(event: StripeObject) -> bytes:
    return json.dumps(_json(event), ensure_ascii=False).encode()


@contextmanager
def _translated() -> Iterator[None]:
    """Stripe's errors as the two that there are here: try again, or do not."""
    try:
        yield
    except stripe.APIConnectionError as error:
        # Its own message tells whom to write to; what went wrong is its cause.
        raise StripeUnavailableError(f"no answer ({type(error.__cause__ or error).__name__})") from error
    except (stripe.RateLimitError, stripe.APIError) as error:
        raise StripeUnavailableError(f"{error.http_status}: {error.user_message}") from error
    except stripe.AuthenticationError as error:
        # Its message has a part of the key.
        raise StripeRefusedError("the API key is not accepted", "api_key_invalid") from error
    except stripe.StripeError as error:
        raise StripeRefusedError(str(error.user_message), error.code or "") from error
