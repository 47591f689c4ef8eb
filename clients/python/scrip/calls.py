"""Every call, defined once: what it takes, how that becomes a request, and what comes out of the response.

Nothing here touches the network. Client and AsyncClient run what is made here, each in its own way.
"""

import uuid
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeAlias, TypeVar

from google.protobuf.message import Message

from scrip import arguments
from scrip.errors import invalid
from scrip.v1.credit_service_pb2 import (
    CaptureRequest,
    CaptureResponse,
    CheckAndDeductRequest,
    CheckAndDeductResponse,
    GetBalanceRequest,
    GrantRequest,
    GrantResponse,
    HistoryRequest,
    HistoryResponse,
    HoldRequest,
    HoldResponse,
    OpenAccountRequest,
    OpenAccountResponse,
    ReleaseRequest,
    ReleaseResponse,
)
from scrip.v1.ledger_service_pb2 import (
    Asset,
    AuditRequest,
    AuditResponse,
    DefineAssetRequest,
    GetEntryRequest,
    ListAssetsRequest,
    TrialBalanceRequest,
    TrialBalanceResponse,
)
from scrip.v1.types_pb2 import Balance, Entry, Money, Source

Answer = TypeVar("Answer")
Item = TypeVar("Item")

CREDITS = "credits"
AUDIT_DEADLINE_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[Answer]):
    """One RPC to be made.

    rpc          its name in the contract
    request      what is sent; a change carries its request_id, so running the same Call twice does nothing twice
    read         takes the answer out of the response
    deadline_s   seconds for all attempts together; None leaves it to the client
    """

    rpc: str
    request: Message
    read: Callable[[Any], Answer]
    deadline_s: float | None

    def __post_init__(self) -> None:
        if self.deadline_s is not None:
            arguments.seconds("deadline_s", self.deadline_s)

    @property
    def request_id(self) -> str | None:
        """The request_id of a change; None for a call that changes nothing."""
        return getattr(self.request, "request_id", None)

    def __iter__(self) -> Generator["Call[Any]", Any, Answer]:
        """Be one step of several: `answer = yield from call`."""
        answer: Answer = yield self
        return answer


Steps: TypeAlias = Generator[Call[Any], Any, Answer]
"""Several calls with decisions in between: yields each Call, is sent its answer, and returns the last word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages(Generic[Item]):
    """Calls that follow each other until the list ends.

    first   the call for the first page; each answers with its items, and the call for the next page or None
    """

    first: Call[tuple[Iterable[Item], "Call[Any] | None"]]


def open_account(
    account_id: str,
    *,
    asset: str = CREDITS,
    request_id: str | None = None,
    description: str = "",
    reference: str = "",
    actor: str = "",
    metadata: Mapping[str, str] | None = None,
    deadline_s: float | None = None,
) -> Call[OpenAccountResponse]:
    """Open an account of a customer in one asset.

    account_id   the customer; 1 to 128 printable ASCII characters
    asset        what is counted
    refused      RequestIdReused, AssetNotFound, AccountExists, in that order

    The other arguments: see the class.
    """
    request = OpenAccountRequest(
        request_id=_request_id(request_id),
        account_id=arguments.text("account_id", account_id),
        asset=arguments.named("asset", asset),
        memo=arguments.memo(description, reference, actor, metadata),
    )
    return Call(rpc="OpenAccount", request=request, read=_all, deadline_s=deadline_s)


def grant(
    account_id: str,
    amount: int,
    source: Source.ValueType | str,
    *,
    asset: str = CREDITS,
    priority: int | None = None,
    effective_at: datetime | None = None,
    expires_at: datetime | None = None,
    ttl: timedelta | None = None,
    cost: Money | tuple[int, str] | None = None,
    request_id: str | None = None,
    description: str = "",
    reference: str = "",
    actor: str = "",
    metadata: Mapping[str, str] | None = None,
    deadline_s: float | None = None,
) -> Call[GrantResponse]:
    """Put credits into an account, as one lot with its own source, place in the burn order and expiry.

    amount         smallest units of the asset, 1 or more
    source         "free", "promo", "welcome", "referral", "lead", "gift", "purchase", "subscription" or
                   "adjustment"; or a value of scrip.Source
    priority       place in the burn order, 0 to 1000, lower burns first; None for the source's own
    effective_at   from when on it can be spent; None for at once
    expires_at     the first instant at which it is no longer there; None for never
    ttl            the same, counted from the instant of the grant, or from `effective_at` if that is later; more than
                   0. Not both
    cost           what was paid for it, minor units and currency, such as (1999, "EUR"); only with "purchase",
                   "subscription" and "adjustment"
    refused        RequestIdReused, AssetNotFound, AccountNotFound, ExpiryInPast, BalanceOverflow, in that order

    The other arguments: see the class.
    """
    if expires_at is not None and ttl is not None:
        raise invalid("ttl", "must not be given together with expires_at")
    request = GrantRequest(
        request_id=_request_id(request_id),
        account_id=arguments.text("account_id", account_id),
        asset=arguments.named("asset", asset),
        amount=arguments.whole("amount", amount),
        source=arguments.source("source", source),
        priority=None if priority is None else arguments.whole("priority", priority, arguments.INT32),
        effective_at=None if effective_at is None else arguments.instant("effective_at", effective_at),
        expires_at=None if expires_at is None else arguments.instant("expires_at", expires_at),
        ttl=None if ttl is None else arguments.span("ttl", ttl),
        cost=arguments.money("cost", cost),
        memo=arguments.memo(description, reference, actor, metadata),
    )
    return Call(rpc="Grant", request=request, read=_all, deadline_s=deadline_s)


def check_and_deduct(
    account_id: str,
    amount: int,
    *,
    asset: str = CREDITS,
    request_id: str | None = None,
    description: str = "",
    reference: str = "",
    actor: str = "",
    metadata: Mapping[str, str] | None = None,
    deadline_s: float | None = None,
) -> Call[CheckAndDeductResponse]:
    """Ask whether the customer may spend the amount and, if so, spend it.

    amount    smallest units of the asset, 1 or more
    refused   RequestIdReused, AssetNotFound, AccountNotFound, InsufficientCredits, in that order

    The other arguments: see the class.
    """
    request = CheckAndDeductRequest(
        request_id=_request_id(request_id),
        account_id=arguments.text("account_id", account_id),
        asset=arguments.named("asset", asset),
        amount=arguments.whole("amount", amount),
        memo=arguments.memo(description, reference, actor, metadata),
    )
    return Call(rpc="CheckAndDeduct", request=request, read=_all, deadline_s=deadline_s)


def hold(
    account_id: str,
    amount: int,
    *,
    ttl: timedelta | None = None,
    asset: str = CREDITS,
    request_id: str | None = None,
    description: str = "",
    reference: str = "",
    actor: str = "",
    metadata: Mapping[str, str] | None = None,
    deadline_s: float | None = None,
) -> Call[tuple[HoldRequest, HoldResponse]]:
    """Set credits aside until they are captured, released or the hold runs out.

    Best used as the head of a `with` block (`async with` for AsyncClient). A block that raises releases the hold. A
    block that calls `hold.capture(amount)` has captured; what is not captured goes back. A block that ends without a
    word also releases, with an UnsettledHoldWarning: credits that nobody said were used are not taken.

    amount    smallest units of the asset, 1 or more
    ttl       how long the hold lasts: more than 0, at most 30 days; None for 15 minutes
    refused   RequestIdReused, AssetNotFound, AccountNotFound, InsufficientCredits, in that order

    The other arguments: see the class. If the answer is lost for good, an unknown hold gives itself back when its ttl
    ends.
    """
    request = HoldRequest(
        request_id=_request_id(request_id),
        account_id=arguments.text("account_id", account_id),
        asset=arguments.named("asset", asset),
        amount=arguments.whole("amount", amount),
        ttl=None if ttl is None else arguments.span("ttl", ttl),
        memo=arguments.memo(description, reference, actor, metadata),
    )
    return Call(rpc="Hold", request=request, read=lambda response: (request, response), deadline_s=deadline_s)


def capture(
    hold_id: str,
    amount: int | None = None,
    *,
    request_id: str | None = None,
    description: str = "",
    reference: str = "",
    actor: str = "",
    metadata: Mapping[str, str] | None = None,
    deadline_s: float | None = None,
) -> Call[CaptureResponse]:
    """Turn a hold into revenue, wholly or partly, and give the rest back. Ends the hold.

    For a hold that was made elsewhere, such as in another process; where there is a Hold, it has a capture of its own.

    hold_id   as the hold was answered with
    amount    smallest units, 0 up to what the hold has; None takes all of it, 0 gives all of it back
    refused   HoldNotFound, RequestIdReused, HoldNotActive, AmountAboveHold, in that order

    The other arguments: see the class.
    """
    request = CaptureRequest(
        request_id=_request_id(request_id),
        hold_id=arguments.text("hold_id", hold_id),
        amount=None if amount is None else arguments.whole("amount", amount),
        memo=arguments.memo(description, reference, actor, metadata),
    )
    return Call(rpc="Capture", request=request, read=_all, deadline_s=deadline_s)


def release(
    hold_id: str,
    *,
    request_id: str | None = None,
    description: str = "",
    reference: str = "",
    actor: str = "",
    metadata: Mapping[str, str] | None = None,
    deadline_s: float | None = None,
) -> Call[ReleaseResponse]:
    """Give a hold back to the lots it came from. Ends the hold.

    For a hold that was made elsewhere, such as in another process; where there is a Hold, it has a release of its own.

    hold_id   as the hold was answered with
    refused   HoldNotFound, RequestIdReused, HoldNotActive, in that order

    The other arguments: see the class.
    """
    request = ReleaseRequest(
        request_id=_request_id(request_id),
        hold_id=arguments.text("hold_id", hold_id),
        memo=arguments.memo(description, reference, actor, metadata),
    )
    return Call(rpc="Release", request=request, read=_all, deadline_s=deadline_s)


def balance(account_id: str, *, asset: str = CREDITS, deadline_s: float | None = None) -> Call[Balance]:
    """Tell how a customer stands in one asset. What has run out is not counted.

    refused   AssetNotFound, AccountNotFound, in that order
    """
    request = GetBalanceRequest(
        account_id=arguments.text("account_id", account_id),
        asset=arguments.named("asset", asset),
    )
    return Call(rpc="GetBalance", request=request, read=lambda response: response.balances[0], deadline_s=deadline_s)


def balances(account_id: str, *, deadline_s: float | None = None) -> Call[tuple[Balance, ...]]:
    """Tell how a customer stands in every asset they have an account in, in order of the assets' names.

    refused   AccountNotFound
    """
    request = GetBalanceRequest(account_id=arguments.text("account_id", account_id))
    return Call(rpc="GetBalance", request=request, read=lambda found: tuple(found.balances), deadline_s=deadline_s)


def history(
    account_id: str, *, asset: str = CREDITS, page_size: int = 0, deadline_s: float | None = None
) -> Pages[Entry]:
    """Iterate over all entries of an account, newest first, asking for the next page when it is needed.

    page_size    how many entries one call fetches: 1 to 500; 0 means 50
    deadline_s   for each page
    refused      AssetNotFound, AccountNotFound, in that order
    """

    def page(token: str) -> Call[tuple[Iterable[Entry], Call[Any] | None]]:
        call = history_page(account_id, asset=asset, page_size=page_size, page_token=token, deadline_s=deadline_s)
        return Call(rpc=call.rpc, request=call.request, read=entries, deadline_s=deadline_s)

    def entries(found: HistoryResponse) -> tuple[Iterable[Entry], Call[Any] | None]:
        return found.entries, page(found.next_page_token) if found.next_page_token else None

    return Pages(first=page(""))


def history_page(
    account_id: str,
    *,
    asset: str = CREDITS,
    page_size: int = 0,
    page_token: str = "",
    deadline_s: float | None = None,
) -> Call[HistoryResponse]:
    """List one page of an account's entries, newest first.

    page_size    how many entries at most: 1 to 500; 0 means 50
    page_token   `next_page_token` of the page before; empty for the newest page
    refused      InvalidPageToken, AssetNotFound, AccountNotFound, in that order
    """
    request = HistoryRequest(
        account_id=arguments.text("account_id", account_id),
        asset=arguments.named("asset", asset),
        page_size=arguments.whole("page_size", page_size, arguments.INT32),
        page_token=arguments.text("page_token", page_token),
    )
    return Call(rpc="History", request=request, read=_all, deadline_s=deadline_s)


def define_asset(asset: str, *, scale: int = 0, deadline_s: float | None = None) -> Call[Asset]:
    """Define something that can be counted; the same definition again changes nothing.

    asset     1 to 63 characters: a lower-case letter, then lower-case letters, digits, "_", "-" or "."
    scale     decimal places, 0 to 18; fixed for ever
    refused   AssetExists
    """
    request = DefineAssetRequest(
        asset=arguments.text("asset", asset),
        scale=arguments.whole("scale", scale, arguments.INT32),
    )
    return Call(rpc="DefineAsset", request=request, read=lambda response: response.asset, deadline_s=deadline_s)


def assets(*, deadline_s: float | None = None) -> Call[tuple[Asset, ...]]:
    """List the assets in order of their names."""
    return Call(
        rpc="ListAssets",
        request=ListAssetsRequest(),
        read=lambda response: tuple(response.assets),
        deadline_s=deadline_s,
    )


def trial_balance(*, asset: str | None = None, deadline_s: float | None = None) -> Call[TrialBalanceResponse]:
    """Add up all that was debited and credited, per asset and code. The sums are texts of digits, in smallest units.

    asset     one asset; None for all
    refused   AssetNotFound
    """
    request = TrialBalanceRequest(asset="" if asset is None else arguments.named("asset", asset))
    return Call(rpc="TrialBalance", request=request, read=_all, deadline_s=deadline_s)


def entry(entry_id: str, *, deadline_s: float | None = None) -> Call[Entry]:
    """Show one entry with its lines.

    entry_id   as a change or the history named it
    refused    EntryNotFound
    """
    request = GetEntryRequest(entry_id=arguments.text("entry_id", entry_id))
    return Call(rpc="GetEntry", request=request, read=lambda response: response.entry, deadline_s=deadline_s)


def audit(
    account_id: str | None = None, *, asset: str | None = None, deadline_s: float | None = AUDIT_DEADLINE_S
) -> Call[AuditResponse]:
    """Recompute the books from their lines and tell what does not agree.

    account_id   one customer; None for the whole books, totals included
    asset        one asset of that customer; None for all
    deadline_s   10 minutes unless said otherwise, because it reads every entry in scope; None for the client's own
    refused      AssetNotFound, AccountNotFound, in that order
    """
    request = AuditRequest(
        account_id="" if account_id is None else arguments.named("account_id", account_id),
        asset="" if asset is None else arguments.named("asset", asset),
    )
    return Call(rpc="Audit", request=request, read=_all, deadline_s=deadline_s)


def _request_id(given: str | None) -> str:
    """Take the caller's, or make one: once per logical call, so that each attempt carries the same."""
    return str(uuid.uuid4()) if given is None else arguments.text("request_id", given)


def _all(response: Answer) -> Answer:
    """Read the response as it is."""
    return response
