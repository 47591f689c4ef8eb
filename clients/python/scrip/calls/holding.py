"""Calls that set credits aside, and say what becomes of them."""

from datetime import timedelta
from typing import Unpack

from scrip import arguments
from scrip.calls.call import CREDITS, Call
from scrip.calls.change import Change, said
from scrip.prices import Usage
from scrip.v1.credit_service_pb2 import (
    CaptureRequest,
    CaptureResponse,
    ExtendHoldRequest,
    ExtendHoldResponse,
    HoldRequest,
    HoldResponse,
    IncreaseHoldRequest,
    IncreaseHoldResponse,
    ReleaseRequest,
    ReleaseResponse,
)
from scrip.v1.types_pb2 import HeldLots
from scrip.v1.types_pb2 import Usage as UsageMessage


def hold(
    account_id: str,
    amount: int | None = None,
    *,
    usage: Usage | UsageMessage | None = None,
    ttl: timedelta | None = None,
    asset: str = CREDITS,
    operation: str = "",
    tolerance: int = 0,
    held_lots: HeldLots.ValueType | str = "honour",
    **change: Unpack[Change],
) -> Call[HoldResponse]:
    """Set credits aside until they are captured, released or the hold runs out.

    Best used as the head of a `with` block (`async with` for AsyncClient). A block that raises releases the hold. A
    block that calls `hold.capture(amount)` has captured; what is not captured goes back. A block that ends without a
    word also releases, with an UnsettledHoldWarning: credits that nobody said were used are not taken.

    amount      smallest units of the asset, 1 or more
    usage       instead of the amount: what is about to happen, for a rate card to price; see scrip.Usage. It is an
                estimate: what is free in a period is used up by the capture
    ttl         how long the hold lasts: more than 0, at most 30 days; None for 15 minutes
    operation   what it is for, such as "image/generate"; if it is not said, lots with a scope cannot pay for it; usage
                tells it itself
    tolerance   how much more than the hold may be captured in all, 0 or more
    held_lots   what becomes of lots that run out while held. "honour": they stay good for the hold; "lapse": the hold
                gives them back, and holds less
    refused     RequestIdReused, AssetNotFound, AccountNotFound, AccountClosed, AccountFrozen, of usage PriceNotFound,
                UnitMismatch, CostOverflow, then InsufficientCredits, SpendLimitReached, BalanceOverflow, in that order

    The other arguments: see the class. If the answer is lost for good, an unknown hold gives itself back when its ttl
    ends.
    """
    asked, used = arguments.charged(amount, usage)
    about = said(**change)
    request = HoldRequest(
        request_id=about.request_id,
        account_id=arguments.text("account_id", account_id),
        asset=arguments.named("asset", asset),
        amount=asked,
        usage=used,
        ttl=arguments.span("ttl", ttl),
        operation=arguments.text("operation", operation),
        tolerance=arguments.whole("tolerance", tolerance),
        held_lots=arguments.choice("held_lots", held_lots, HeldLots),
        memo=about.memo,
        preview=about.preview,
    )
    return Call(rpc="Hold", request=request, deadline_s=about.deadline_s)


def increase_hold(hold_id: str, amount: int, **change: Unpack[Change]) -> Call[IncreaseHoldResponse]:
    """Set more credits aside for a hold.

    For a hold that was made elsewhere, such as in another process; where there is a Hold, it has its own `increase`.

    hold_id   as the hold was answered with
    amount    by how much: smallest units, 1 or more
    refused   HoldNotFound, RequestIdReused, AccountClosed, AccountFrozen, HoldNotActive, InsufficientCredits,
              SpendLimitReached, BalanceOverflow, in that order

    The other arguments: see the class.
    """
    about = said(**change)
    request = IncreaseHoldRequest(
        request_id=about.request_id,
        hold_id=arguments.text("hold_id", hold_id),
        amount=arguments.whole("amount", amount),
        memo=about.memo,
        preview=about.preview,
    )
    return Call(rpc="IncreaseHold", request=request, deadline_s=about.deadline_s)


def extend_hold(hold_id: str, ttl: timedelta, **change: Unpack[Change]) -> Call[ExtendHoldResponse]:
    """Let a hold last longer; one that lasts longer already stays so.

    For a hold that was made elsewhere, such as in another process; where there is a Hold, it has its own `extend`.

    hold_id   as the hold was answered with
    ttl       how long it lasts from now on: more than 0, at most 30 days
    refused   HoldNotFound, RequestIdReused, AccountClosed, HoldNotActive, in that order

    The other arguments: see the class.
    """
    about = said(**change)
    request = ExtendHoldRequest(
        request_id=about.request_id,
        hold_id=arguments.text("hold_id", hold_id),
        ttl=arguments.span("ttl", ttl),
        memo=about.memo,
        preview=about.preview,
    )
    return Call(rpc="ExtendHold", request=request, deadline_s=about.deadline_s)


def capture(
    hold_id: str,
    amount: int | None = None,
    *,
    usage: Usage | UsageMessage | None = None,
    final: bool = True,
    **change: Unpack[Change],
) -> Call[CaptureResponse]:
    """Turn a hold into revenue, wholly or partly, and give the rest back. Ends the hold.

    For a hold that was made elsewhere, such as in another process; where there is a Hold, it has a capture of its own.

    hold_id   as the hold was answered with
    amount    smallest units, 0 up to what the hold has and its tolerance allows; None takes all it has, 0 gives all of
              it back
    usage     instead of the amount: what happened, for a rate card to price as when the hold was made; see scrip.Usage
    final     False keeps what is not captured in the hold, for further captures
    refused   HoldNotFound, RequestIdReused, AccountClosed, HoldNotActive, of usage PriceNotFound, UnitMismatch,
              CostOverflow, then AmountAboveHold, beyond the hold AccountFrozen, InsufficientCredits, SpendLimitReached,
              and BalanceOverflow, in that order

    The other arguments: see the class.
    """
    asked, used = arguments.charged_or_all(amount, usage)
    about = said(**change)
    request = CaptureRequest(
        request_id=about.request_id,
        hold_id=arguments.text("hold_id", hold_id),
        amount=asked,
        usage=used,
        final=arguments.truth("final", final),
        memo=about.memo,
        preview=about.preview,
    )
    return Call(rpc="Capture", request=request, deadline_s=about.deadline_s)


def release(hold_id: str, **change: Unpack[Change]) -> Call[ReleaseResponse]:
    """Give a hold back to the lots it came from. Ends the hold.

    For a hold that was made elsewhere, such as in another process; where there is a Hold, it has a release of its own.

    hold_id   as the hold was answered with
    refused   HoldNotFound, RequestIdReused, AccountClosed, HoldNotActive, in that order

    The other arguments: see the class.
    """
    about = said(**change)
    request = ReleaseRequest(
        request_id=about.request_id,
        hold_id=arguments.text("hold_id", hold_id),
        memo=about.memo,
        preview=about.preview,
    )
    return Call(rpc="Release", request=request, deadline_s=about.deadline_s)
