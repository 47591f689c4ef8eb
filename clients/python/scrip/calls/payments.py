"""Calls that bring money in: checkouts, orders, subscriptions, recharges, and what Stripe said of them."""

import uuid
from collections.abc import Mapping
from datetime import timedelta

from scrip import arguments
from scrip.calls.call import CREDITS, Call, Pages, pages
from scrip.reasons import invalid
from scrip.terms import Consent
from scrip.v1.billing_service_pb2 import (
    AutoRecharge,
    CreateCheckoutRequest,
    CreateCheckoutResponse,
    CreatePurchaseLinkRequest,
    CreatePurchaseLinkResponse,
    FulfilRequest,
    FulfilResponse,
    GetAutoRechargeRequest,
    GetCheckoutRequest,
    GetCheckoutResponse,
    ListOrdersRequest,
    ListOrdersResponse,
    ListStripeEventsRequest,
    ListStripeEventsResponse,
    ListSubscriptionsRequest,
    ListSubscriptionsResponse,
    Order,
    ReconcileRequest,
    ReconcileResponse,
    ReplayStripeEventRequest,
    SetAutoRechargeRequest,
    StripeEvent,
    Subscription,
)
from scrip.v1.billing_service_pb2 import Consent as ConsentMessage
from scrip.v1.types_pb2 import Money

STRIPE_DEADLINE_S = 30.0
RECONCILE_DEADLINE_S = 600.0


def create_checkout(
    account_id: str,
    *,
    package: str | None = None,
    plan: str | None = None,
    success_url: str,
    cancel_url: str,
    save_payment_method: bool = False,
    request_id: str | None = None,
    deadline_s: float | None = STRIPE_DEADLINE_S,
) -> Call[CreateCheckoutResponse]:
    """Make an order for a package or a plan, and a page at Stripe where the customer pays it: `order.url`.

    Credits are granted when Stripe says that it is paid.

    package               the name of a package on sale
    plan                  the name of a plan on sale. Not both
    success_url           where the customer goes after payment: https, or http on the machine itself; "{ORDER_ID}" in
                          it is replaced
    cancel_url            where the customer goes who turns back
    save_payment_method   True: Stripe keeps the payment method, so that the account may recharge itself
    request_id            names the order, unique per account among orders; a repeat is answered with the first order
    deadline_s            half a minute unless said otherwise, because Stripe is asked; None for the client's own
    refused               PaymentsNotConfigured, RequestIdReused, PackageNotFound, PlanNotFound, StripeRefused,
                          StripeUnavailable, in that order
    """
    if package is not None and plan is not None:
        raise invalid("plan", "must not be given together with package")
    request = CreateCheckoutRequest(
        request_id=str(uuid.uuid4()) if request_id is None else arguments.text("request_id", request_id),
        account_id=arguments.text("account_id", account_id),
        success_url=arguments.text("success_url", success_url),
        cancel_url=arguments.text("cancel_url", cancel_url),
        save_payment_method=arguments.truth("save_payment_method", save_payment_method),
    )
    if package is not None:
        request.package = arguments.text("package", package)
    if plan is not None:
        request.plan = arguments.text("plan", plan)
    return Call(rpc="CreateCheckout", request=request, deadline_s=deadline_s)


def checkout(order_id: str, *, deadline_s: float | None = STRIPE_DEADLINE_S) -> Call[GetCheckoutResponse]:
    """Show how an order stands, and the customer's balances; for the page that the customer comes back to.

    If it is not paid as far as Scrip knows, Stripe is asked; if it is paid, what it sold is granted.

    order_id     as create_checkout or `orders` named it
    deadline_s   half a minute unless said otherwise, because Stripe may be asked; None for the client's own
    refused      OrderNotFound
    """
    request = GetCheckoutRequest(order_id=arguments.text("order_id", order_id))
    return Call(rpc="GetCheckout", request=request, deadline_s=deadline_s)


def fulfil(
    order_id: str,
    *,
    description: str,
    actor: str,
    reference: str = "",
    metadata: Mapping[str, str] | None = None,
    deadline_s: float | None = None,
) -> Call[FulfilResponse]:
    """Grant what an order sold, by an administrator's word: for a payment of which no event ever came.

    A repeat, or an event that comes after all, changes nothing.

    order_id             as create_checkout or `orders` named it
    description, actor   why and who
    reference            the caller's own key for what this belongs to
    metadata             at most 20 pairs, to be written beside the entry
    refused              OrderNotFound, OrderNotFulfillable, and what `grant` refuses, in that order
    """
    request = FulfilRequest(
        order_id=arguments.text("order_id", order_id),
        memo=arguments.memo(description, reference, actor, metadata),
    )
    return Call(rpc="Fulfil", request=request, deadline_s=deadline_s)


def orders(account_id: str | None = None, *, page_size: int = 0, deadline_s: float | None = None) -> Pages[Order]:
    """Iterate over orders, newest first.

    account_id   one customer; None for all
    page_size    how many orders one call fetches: 1 to 500; 0 means 50
    deadline_s   for each page
    """
    return pages(orders_page(account_id, page_size=page_size, deadline_s=deadline_s), lambda found: found.orders)


def orders_page(
    account_id: str | None = None, *, page_size: int = 0, page_token: str = "", deadline_s: float | None = None
) -> Call[ListOrdersResponse]:
    """List one page of orders, newest first.

    page_token   `next_page_token` of the page before; empty for the newest page
    refused      InvalidPageToken

    The other arguments: see `orders`.
    """
    request = ListOrdersRequest(
        account_id="" if account_id is None else arguments.named("account_id", account_id),
        page_size=arguments.whole("page_size", page_size, arguments.INT32),
        page_token=arguments.text("page_token", page_token),
    )
    return Call(rpc="ListOrders", request=request, deadline_s=deadline_s)


def create_purchase_link(
    account_id: str, *, asset: str | None = None, ttl: timedelta | None = None, deadline_s: float | None = None
) -> Call[CreatePurchaseLinkResponse]:
    """Make a link to the page where a customer buys packages.

    Whoever has the link can see the customer's balance and pay for the customer, until it expires.

    asset     only packages that have this asset; None for all
    ttl       how long it is good: more than 0, at most 30 days; None for one hour
    refused   PaymentsNotConfigured, AssetNotFound, AccountNotFound, in that order
    """
    request = CreatePurchaseLinkRequest(
        account_id=arguments.text("account_id", account_id),
        asset="" if asset is None else arguments.named("asset", asset),
        ttl=arguments.span("ttl", ttl),
    )
    return Call(rpc="CreatePurchaseLink", request=request, deadline_s=deadline_s)


def subscriptions(
    account_id: str | None = None, *, page_size: int = 0, deadline_s: float | None = None
) -> Pages[Subscription]:
    """Iterate over subscriptions, newest first.

    account_id   one customer; None for all
    page_size    how many subscriptions one call fetches: 1 to 500; 0 means 50
    deadline_s   for each page
    """
    return pages(
        subscriptions_page(account_id, page_size=page_size, deadline_s=deadline_s), lambda found: found.subscriptions
    )


def subscriptions_page(
    account_id: str | None = None, *, page_size: int = 0, page_token: str = "", deadline_s: float | None = None
) -> Call[ListSubscriptionsResponse]:
    """List one page of subscriptions, newest first.

    page_token   `next_page_token` of the page before; empty for the newest page
    refused      InvalidPageToken

    The other arguments: see `subscriptions`.
    """
    request = ListSubscriptionsRequest(
        account_id="" if account_id is None else arguments.named("account_id", account_id),
        page_size=arguments.whole("page_size", page_size, arguments.INT32),
        page_token=arguments.text("page_token", page_token),
    )
    return Call(rpc="ListSubscriptions", request=request, deadline_s=deadline_s)


def set_auto_recharge(
    account_id: str,
    *,
    enabled: bool,
    asset: str = CREDITS,
    threshold: int = 0,
    package: str = "",
    target: int = 0,
    cap: Money | tuple[int, str] | None = None,
    consent: Consent | ConsentMessage | None = None,
    deadline_s: float | None = None,
) -> Call[AutoRecharge]:
    """Say whether, when and with what a customer's account recharges itself; this replaces what was said before.

    enabled     False: it does not
    threshold   it does when less than this is available, smallest units
    package     what is bought
    target      bought as often as it takes to have at least this available; 0 for once
    cap         what may be spent on it in a calendar month (UTC), in the package's currency: Money, or minor units
                and currency; required to enable it
    consent     how the customer agreed to it; required to enable it
    refused     AssetNotFound, PackageNotFound, NoPaymentMethod, ChangedMeanwhile, in that order
    """
    request = SetAutoRechargeRequest(
        auto_recharge=AutoRecharge(
            account_id=arguments.text("account_id", account_id),
            asset=arguments.named("asset", asset),
            enabled=arguments.truth("enabled", enabled),
            threshold=arguments.whole("threshold", threshold),
            package=arguments.text("package", package),
            target=arguments.whole("target", target),
            cap=arguments.money("cap", cap),
            consent=_agreed("consent", consent),
        )
    )
    return Call(
        rpc="SetAutoRecharge", request=request, read=lambda response: response.auto_recharge, deadline_s=deadline_s
    )


def auto_recharge(account_id: str, *, asset: str = CREDITS, deadline_s: float | None = None) -> Call[AutoRecharge]:
    """Show how a customer's account recharges itself: not at all, unless that was set."""
    request = GetAutoRechargeRequest(
        account_id=arguments.text("account_id", account_id),
        asset=arguments.named("asset", asset),
    )
    return Call(
        rpc="GetAutoRecharge", request=request, read=lambda response: response.auto_recharge, deadline_s=deadline_s
    )


def stripe_events(
    *, state: StripeEvent.State.ValueType | str | None = None, page_size: int = 0, deadline_s: float | None = None
) -> Pages[StripeEvent]:
    """Iterate over the events that Stripe sent, newest first.

    state        "received", "applied", "ignored" or "set_aside"; None for all
    page_size    how many events one call fetches: 1 to 500; 0 means 50
    deadline_s   for each page
    """
    first = stripe_events_page(state=state, page_size=page_size, deadline_s=deadline_s)
    return pages(first, lambda found: found.events)


def stripe_events_page(
    *,
    state: StripeEvent.State.ValueType | str | None = None,
    page_size: int = 0,
    page_token: str = "",
    deadline_s: float | None = None,
) -> Call[ListStripeEventsResponse]:
    """List one page of the events that Stripe sent, newest first.

    page_token   `next_page_token` of the page before; empty for the newest page
    refused      InvalidPageToken

    The other arguments: see `stripe_events`.
    """
    request = ListStripeEventsRequest(
        state=arguments.choice("state", StripeEvent.STATE_UNSPECIFIED if state is None else state, StripeEvent.State),
        page_size=arguments.whole("page_size", page_size, arguments.INT32),
        page_token=arguments.text("page_token", page_token),
    )
    return Call(rpc="ListStripeEvents", request=request, deadline_s=deadline_s)


def replay_stripe_event(event_id: str, *, deadline_s: float | None = STRIPE_DEADLINE_S) -> Call[StripeEvent]:
    """Apply an event again, or for the first time; what was done is not done twice.

    event_id     as Stripe names it; one that Scrip does not have is fetched from Stripe
    deadline_s   half a minute unless said otherwise, because Stripe may be asked; None for the client's own
    refused      PaymentsNotConfigured, EventNotFound, StripeRefused, StripeUnavailable, in that order
    """
    request = ReplayStripeEventRequest(event_id=arguments.text("event_id", event_id))
    return Call(rpc="ReplayStripeEvent", request=request, read=lambda response: response.event, deadline_s=deadline_s)


def reconcile(
    days: int, *, post: bool = False, deadline_s: float | None = RECONCILE_DEADLINE_S
) -> Call[ReconcileResponse]:
    """Tell which of Stripe's events of the last days Scrip does not have or has not applied.

    days         how far back: 1 to 30
    post         True: store and apply them
    deadline_s   10 minutes unless said otherwise, because Stripe is asked for all of them; None for the client's own
    refused      PaymentsNotConfigured, StripeRefused, StripeUnavailable, in that order
    """
    request = ReconcileRequest(
        days=arguments.whole("days", days, arguments.INT32),
        post=arguments.truth("post", post),
    )
    return Call(rpc="Reconcile", request=request, deadline_s=deadline_s)


def _agreed(field: str, value: Consent | ConsentMessage | None) -> ConsentMessage | None:
    if value is None or isinstance(value, ConsentMessage):
        return value
    if not isinstance(value, Consent):
        raise invalid(field, f"must be a scrip.Consent; it is {value!r}")
    return ConsentMessage(
        text=arguments.text(f"{field}.text", value.text),
        actor=arguments.text(f"{field}.actor", value.actor),
        at=arguments.instant(f"{field}.at", value.at),
    )
