"""Calls that tell how customers stand and stood, and change nothing."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TypedDict, Unpack

from scrip import arguments
from scrip.calls.call import CREDITS, Call, Pages, pages
from scrip.v1.account_service_pb2 import GetAccountRequest
from scrip.v1.accounts_pb2 import Account
from scrip.v1.credit_service_pb2 import (
    GetBalanceRequest,
    HistoryRequest,
    HistoryResponse,
    ListHoldsRequest,
    ListHoldsResponse,
    ListLotsRequest,
    ListLotsResponse,
)
from scrip.v1.types_pb2 import Balance, Entry, Hold, Lot


def account(account_id: str, *, asset: str = CREDITS, deadline_s: float | None = None) -> Call[Account]:
    """Show an account: its status, what is agreed with the customer, and how it stands.

    refused   AssetNotFound, AccountNotFound, in that order
    """
    request = GetAccountRequest(
        account_id=arguments.text("account_id", account_id),
        asset=arguments.named("asset", asset),
    )
    return Call(rpc="GetAccount", request=request, read=lambda response: response.account, deadline_s=deadline_s)


def balance(
    account_id: str,
    *,
    asset: str = CREDITS,
    as_of: datetime | None = None,
    expiring_within: timedelta | None = None,
    deadline_s: float | None = None,
) -> Call[Balance]:
    """Tell how a customer stands, or stood, in one asset. What has run out is not counted.

    as_of             an instant that is past; None for now
    expiring_within   asks for `expiring`: what runs out within this time from then on; more than 0
    refused           InstantInFuture, AssetNotFound, AccountNotFound, in that order
    """
    request = GetBalanceRequest(
        account_id=arguments.text("account_id", account_id),
        asset=arguments.named("asset", asset),
        as_of=arguments.instant("as_of", as_of),
        expiring_within=arguments.span("expiring_within", expiring_within),
    )
    return Call(rpc="GetBalance", request=request, read=lambda response: response.balances[0], deadline_s=deadline_s)


def balances(
    account_id: str,
    *,
    as_of: datetime | None = None,
    expiring_within: timedelta | None = None,
    deadline_s: float | None = None,
) -> Call[tuple[Balance, ...]]:
    """Tell how a customer stands, or stood, in every asset they have an account in, in order of the assets' names.

    as_of, expiring_within   as `balance` takes them
    refused                  InstantInFuture, AccountNotFound, in that order
    """
    request = GetBalanceRequest(
        account_id=arguments.text("account_id", account_id),
        as_of=arguments.instant("as_of", as_of),
        expiring_within=arguments.span("expiring_within", expiring_within),
    )
    return Call(rpc="GetBalance", request=request, read=lambda found: tuple(found.balances), deadline_s=deadline_s)


def lots(
    account_id: str,
    *,
    asset: str = CREDITS,
    include_empty: bool = False,
    as_of: datetime | None = None,
    page_size: int = 0,
    deadline_s: float | None = None,
) -> Pages[Lot]:
    """Iterate over the lots of an account that have anything in them, in the order they burn.

    include_empty   True for all lots there ever were, newest first
    as_of           an instant that is past; None for now
    page_size       how many lots one call fetches: 1 to 500; 0 means 50
    deadline_s      for each page
    refused         InstantInFuture, AssetNotFound, AccountNotFound, in that order
    """
    first = lots_page(
        account_id,
        asset=asset,
        include_empty=include_empty,
        as_of=as_of,
        page_size=page_size,
        deadline_s=deadline_s,
    )
    return pages(first, lambda found: found.lots)


def lots_page(
    account_id: str,
    *,
    asset: str = CREDITS,
    include_empty: bool = False,
    as_of: datetime | None = None,
    page_size: int = 0,
    page_token: str = "",
    deadline_s: float | None = None,
) -> Call[ListLotsResponse]:
    """List one page of an account's lots, as `lots` orders them.

    page_token   `next_page_token` of the page before; empty for the first page
    refused      InvalidPageToken, InstantInFuture, AssetNotFound, AccountNotFound, in that order

    The other arguments: see `lots`.
    """
    request = ListLotsRequest(
        account_id=arguments.text("account_id", account_id),
        asset=arguments.named("asset", asset),
        include_empty=arguments.truth("include_empty", include_empty),
        as_of=arguments.instant("as_of", as_of),
        page_size=arguments.whole("page_size", page_size, arguments.INT32),
        page_token=arguments.text("page_token", page_token),
    )
    return Call(rpc="ListLots", request=request, deadline_s=deadline_s)


def holds(
    account_id: str,
    *,
    asset: str = CREDITS,
    state: Hold.State.ValueType | str | None = None,
    as_of: datetime | None = None,
    page_size: int = 0,
    deadline_s: float | None = None,
) -> Pages[Hold]:
    """Iterate over the holds of an account, newest first, as the contract describes them.

    state        "open", "captured", "released" or "lapsed"; None for all
    as_of        an instant that is past; None for now
    page_size    how many holds one call fetches: 1 to 500; 0 means 50
    deadline_s   for each page
    refused      InstantInFuture, AssetNotFound, AccountNotFound, in that order
    """
    first = holds_page(account_id, asset=asset, state=state, as_of=as_of, page_size=page_size, deadline_s=deadline_s)
    return pages(first, lambda found: found.holds)


def holds_page(
    account_id: str,
    *,
    asset: str = CREDITS,
    state: Hold.State.ValueType | str | None = None,
    as_of: datetime | None = None,
    page_size: int = 0,
    page_token: str = "",
    deadline_s: float | None = None,
) -> Call[ListHoldsResponse]:
    """List one page of an account's holds, newest first, together with how it stands; both are of one snapshot.

    page_token   `next_page_token` of the page before; empty for the newest page
    refused      InvalidPageToken, InstantInFuture, AssetNotFound, AccountNotFound, in that order

    The other arguments: see `holds`.
    """
    request = ListHoldsRequest(
        account_id=arguments.text("account_id", account_id),
        asset=arguments.named("asset", asset),
        state=arguments.choice("state", Hold.STATE_UNSPECIFIED if state is None else state, Hold.State),
        as_of=arguments.instant("as_of", as_of),
        page_size=arguments.whole("page_size", page_size, arguments.INT32),
        page_token=arguments.text("page_token", page_token),
    )
    return Call(rpc="ListHolds", request=request, deadline_s=deadline_s)


class Entries(TypedDict, total=False):
    """Which entries of an account, and how; `history` describes it."""

    asset: str
    kinds: Iterable[Entry.Kind.ValueType | str]
    since: datetime | None
    until: datetime | None
    reference: str
    operation: str
    lot_id: str
    hold_id: str
    order: HistoryRequest.Order.ValueType | str
    without_lines: bool
    page_size: int
    deadline_s: float | None


def history(account_id: str, **entries: Unpack[Entries]) -> Pages[Entry]:
    """Iterate over the entries of an account that are all that is asked for, by calling for a page when it is needed.

    kinds           such as ["grant", "deduct"]; none for all
    since, until    those that took effect at `since` or later, and before `until`
    reference       those whose memo has this reference
    operation       those for this operation
    lot_id          those that have a line of this lot
    hold_id         those that made, changed or ended this hold
    order           "newest_first" or "oldest_first"
    without_lines   True for entries without their lines
    page_size       how many entries one call fetches: 1 to 500; 0 means 50
    deadline_s      for each page
    refused         LotNotFound, HoldNotFound, AssetNotFound, AccountNotFound, in that order
    """
    return pages(history_page(account_id, **entries), lambda found: found.entries)


def history_page(account_id: str, *, page_token: str = "", **entries: Unpack[Entries]) -> Call[HistoryResponse]:
    """List one page of an account's entries.

    page_token   `next_page_token` of the page before; empty for the first page
    refused      LotNotFound, HoldNotFound, InvalidPageToken, AssetNotFound, AccountNotFound, in that order

    The other arguments: see `history`.
    """
    request = asked(**entries)
    request.account_id = arguments.text("account_id", account_id)
    request.page_token = arguments.text("page_token", page_token)
    return Call(rpc="History", request=request, deadline_s=entries.get("deadline_s"))


def asked(
    *,
    asset: str = CREDITS,
    kinds: Iterable[Entry.Kind.ValueType | str] = (),
    since: datetime | None = None,
    until: datetime | None = None,
    reference: str = "",
    operation: str = "",
    lot_id: str = "",
    hold_id: str = "",
    order: HistoryRequest.Order.ValueType | str = "newest_first",
    without_lines: bool = False,
    page_size: int = 0,
    deadline_s: float | None = None,  # noqa: ARG001 -- of the group, but no part of the request
) -> HistoryRequest:
    """Take what `history` was asked for."""
    return HistoryRequest(
        asset=arguments.named("asset", asset),
        kinds=[arguments.choice("kinds", kind, Entry.Kind) for kind in arguments.several("kinds", kinds)],
        since=arguments.instant("since", since),
        until=arguments.instant("until", until),
        reference=arguments.text("reference", reference),
        operation=arguments.text("operation", operation),
        lot_id=arguments.text("lot_id", lot_id),
        hold_id=arguments.text("hold_id", hold_id),
        order=arguments.choice("order", order, HistoryRequest.Order),
        without_lines=arguments.truth("without_lines", without_lines),
        page_size=arguments.whole("page_size", page_size, arguments.INT32),
    )
