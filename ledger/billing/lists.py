"""Lists of what there is, in pages, newest first."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Connection

from ledger.billing.event_records import read_events
from ledger.billing.records import Place, read_orders, read_subscriptions
from ledger.billing.settling import Desk
from ledger.chain import instant_text
from ledger.fields import check_account_part, check_page_size, rows_per_page
from ledger.ids import parse_place_token, place_token
from ledger.outcome import Reason, Refused
from ledger.sales.model import EventState, Order, StripeEvent, Subscription

_Listed = TypeVar("_Listed", Order, StripeEvent, Subscription)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderPage:
    """Some orders, newest first; next_page_token is empty on the last page."""

    orders: tuple[Order, ...]
    next_page_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionPage:
    """Some subscriptions, newest first; next_page_token is empty on the last page."""

    subscriptions: tuple[Subscription, ...]
    next_page_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPage:
    """Some events, newest first; next_page_token is empty on the last page."""

    events: tuple[StripeEvent, ...]
    next_page_token: str


class Lists(Desk):
    """What was ordered, subscribed to and told. A page begins after the last one shown, whatever came since."""

    def orders(
        self, tenant: str, account_id: str = "", *, page_size: int = 0, page_token: str = ""
    ) -> OrderPage | Refused:
        """Of one customer, unless that is empty.

        refuses   INVALID_PAGE_TOKEN
        raises    MalformedError
        """
        check_account_part(tenant, account_id or None, None)
        found = self._page(
            ("orders", tenant, account_id),
            page_size,
            page_token,
            read=lambda connection, before, limit: read_orders(connection, tenant, account_id, before, limit),
            name_of=lambda order: order.order_id,
        )
        return found if isinstance(found, Refused) else OrderPage(orders=found[0], next_page_token=found[1])

    def subscriptions(
        self, tenant: str, account_id: str = "", *, page_size: int = 0, page_token: str = ""
    ) -> SubscriptionPage | Refused:
        """Of one customer, unless that is empty.

        refuses   INVALID_PAGE_TOKEN
        raises    MalformedError
        """
        check_account_part(tenant, account_id or None, None)
        found = self._page(
            ("subscriptions", tenant, account_id),
            page_size,
            page_token,
            read=lambda connection, before, limit: read_subscriptions(connection, tenant, account_id, before, limit),
            name_of=lambda subscription: subscription.subscription,
        )
        return (
            found if isinstance(found, Refused) else SubscriptionPage(subscriptions=found[0], next_page_token=found[1])
        )

    def events(
        self, state: EventState | None = None, *, page_size: int = 0, page_token: str = ""
    ) -> EventPage | Refused:
        """Of one state, or all.

        refuses   INVALID_PAGE_TOKEN
        raises    MalformedError
        """
        found = self._page(
            ("stripe_events", "" if state is None else state.value),
            page_size,
            page_token,
            read=lambda connection, before, limit: read_events(connection, state, before, limit),
            name_of=lambda event: event.event_id,
        )
        return found if isinstance(found, Refused) else EventPage(events=found[0], next_page_token=found[1])

    def _page(
        self,
        filters: tuple[str, ...],
        page_size: int,
        page_token: str,
        *,
        read: Callable[[Connection, Place | None, int], list[_Listed]],
        name_of: Callable[[_Listed], str],
    ) -> tuple[tuple[_Listed, ...], str] | Refused:
        """What is on a page, and the token of the next."""
        check_page_size(page_size)
        before, size = _beginning(filters, page_token), rows_per_page(page_size)
        if isinstance(before, Refused):
            return before
        with self._database.read() as connection:
            # One more, to know whether there is another page.
            found = read(connection, before, size + 1)
        return tuple(found[:size]), _continuation(filters, found, size, name_of)


def _beginning(filters: tuple[str, ...], token: str) -> Place | Refused | None:
    """What a page comes after; None for the first page.

    refuses   INVALID_PAGE_TOKEN
    """
    if not token:
        return None
    at, _, name = (parse_place_token(filters, token) or "").partition(" ")
    if not name:
        return Refused(reason=Reason.INVALID_PAGE_TOKEN, figures={})
    return datetime.fromisoformat(at), name


def _continuation(
    filters: tuple[str, ...], found: Sequence[_Listed], size: int, name_of: Callable[[_Listed], str]
) -> str:
    """The token of the page after one; empty if that was the last.

    found   one more than the page has if there is another
    """
    if len(found) <= size:
        return ""
    last = found[size - 1]
    return place_token(filters, f"{instant_text(last.created_at)} {name_of(last)}")
