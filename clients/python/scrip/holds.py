"""Holds: credits set aside, and the block that ends by capturing or releasing them."""

import enum
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Generator
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, Unpack

from scrip import calls
from scrip.calls.call import Answer, Call, Steps
from scrip.calls.change import Change
from scrip.connection import AsyncConnection, Connection
from scrip.errors import (
    AlreadyExists,
    FailedPrecondition,
    HoldNotActive,
    HoldNotFound,
    InvalidArgument,
    NotFound,
    RequestIdReused,
)
from scrip.prices import Usage
from scrip.signatures import described_by
from scrip.v1.credit_service_pb2 import (
    CaptureResponse,
    ExtendHoldResponse,
    HoldRequest,
    HoldResponse,
    IncreaseHoldResponse,
    ReleaseResponse,
)
from scrip.v1.types_pb2 import Usage as UsageMessage

P = ParamSpec("P")
Settled = TypeVar("Settled", CaptureResponse, ReleaseResponse)


class UnsettledHoldWarning(UserWarning):
    """A block with a hold ended without capture() or release(); the hold was released."""


class Standing(enum.Enum):
    """What this side knows of a hold. That it ran out, only the server can tell."""

    OPEN = "open"
    """Neither captured nor released from here."""
    UNSETTLED = "unsettled"
    """A capture or release got no answer that decides: it may or may not have been done. It can be repeated."""
    ENDED = "ended"
    """Captured or released, or found to be."""
    PREVIEWED = "previewed"
    """Never there: it was a preview."""


class Held:
    """What Hold and AsyncHold have in common: the figures, which Hold describes."""

    def __init__(self, call: Call[HoldResponse], response: HoldResponse) -> None:
        request = call.request
        assert isinstance(request, HoldRequest), "what answers with a HoldResponse"
        self.hold_id = response.hold_id
        self.request_id = request.request_id
        self.entry_id = response.entry_id
        self.amount = response.held if request.HasField("usage") else request.amount
        self.charge = response.charge if response.HasField("charge") else None
        self.expires_at: datetime = response.expires_at.ToDatetime(tzinfo=UTC)
        self.balance = response.balance
        self.replayed = response.replayed
        self.captured = 0
        self.captures = 0
        self.increases = 0
        self.standing = Standing.PREVIEWED if request.preview else Standing.OPEN

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.hold_id} of {self.amount}, {self.standing.value}>"


def capture(
    held: Held,
    amount: int | None = None,
    *,
    usage: Usage | UsageMessage | None = None,
    final: bool = True,
    **change: Unpack[Change],
) -> Steps[CaptureResponse]:
    """Turn the hold into revenue, wholly or partly, now; give the rest back. Ends the hold, unless it is not final.

    The request_id follows from the hold's id, and for captures that are not final from how many there were before, so
    a repeat, from here or from another process that repeated the hold and says the same again, does nothing twice. A
    process that goes on in the middle gives request_ids of its own.

    amount    smallest units, 0 up to what the hold has and its tolerance allows; None takes all it has, 0 gives all of
              it back
    usage     instead of the amount: what happened, for a rate card to price as when the hold was made
    final     False keeps what is not captured in the hold, for further captures
    refused   HoldNotFound, RequestIdReused (captured before with another amount, usage or memo), AccountClosed,
              HoldNotActive, of usage PriceNotFound, UnitMismatch, CostOverflow, then AmountAboveHold, beyond the hold
              AccountFrozen, InsufficientCredits, SpendLimitReached, and BalanceOverflow, in that order

    The other arguments: see the client.
    """
    number = "" if final else f"/{held.captures + 1}"
    named = _named(change, f"capture/{held.hold_id}{number}")
    call = calls.capture(held.hold_id, amount, usage=usage, final=final, **named)
    answer = yield from _settling(held, call, ends=final)
    if not call.is_preview:
        held.captured += answer.captured
        held.captures += 1
    return answer


def release(held: Held, **change: Unpack[Change]) -> Steps[ReleaseResponse]:
    """Give the hold back to the lots it came from, now. Ends the hold.

    The request_id follows from the hold's id, so a repeat does nothing twice.

    refused   HoldNotFound, RequestIdReused (released before with another memo), AccountClosed, HoldNotActive, in that
              order

    The other arguments: see the client.
    """
    call = calls.release(held.hold_id, **_named(change, f"release/{held.hold_id}"))
    return (yield from _settling(held, call, ends=True))


def increase(held: Held, amount: int, **change: Unpack[Change]) -> Steps[IncreaseHoldResponse]:
    """Set more credits aside for the hold.

    The request_id follows from the hold's id and from how often it was increased before, as that of a capture that is
    not final.

    amount    by how much: smallest units, 1 or more
    refused   HoldNotFound, RequestIdReused (increased before by another amount or with another memo), AccountClosed,
              AccountFrozen, HoldNotActive, InsufficientCredits, SpendLimitReached, BalanceOverflow, in that order

    The other arguments: see the client.
    """
    named = _named(change, f"increase/{held.hold_id}/{held.increases + 1}")
    call = calls.increase_hold(held.hold_id, amount, **named)
    answer = yield from _changing(held, call)
    if not call.is_preview:
        held.amount += amount
        held.increases += 1
    return answer


def extend(held: Held, ttl: timedelta, **change: Unpack[Change]) -> Steps[ExtendHoldResponse]:
    """Let the hold last longer; if it lasts longer already, it stays so.

    ttl       how long it lasts from now on: more than 0, at most 30 days
    refused   HoldNotFound, RequestIdReused, AccountClosed, HoldNotActive, in that order

    The other arguments: see the client.
    """
    call = calls.extend_hold(held.hold_id, ttl, **change)
    answer = yield from _changing(held, call)
    if not call.is_preview:
        held.expires_at = answer.expires_at.ToDatetime(tzinfo=UTC)
    return answer


def _named(change: Change, request_id: str) -> Change:
    """Name the change, unless the caller did."""
    if change.get("request_id") is None:
        change["request_id"] = request_id
    return change


def _changing(held: Held, call: Call[Answer]) -> Steps[Answer]:
    """Run what changes the hold, and keep in `standing` whether it has ended."""
    try:
        return (yield from call)
    except (HoldNotActive, HoldNotFound):
        held.standing = Standing.ENDED
        raise


def _settling(held: Held, call: Call[Settled], *, ends: bool) -> Steps[Settled]:
    """Run what ends the hold or a part of it, and keep in `standing` what is known of it."""
    if call.is_preview:
        return (yield from call)
    before = held.standing
    if before is Standing.OPEN:
        # Before the answer, because whatever interrupts the call, a cancelled task too, leaves it undecided.
        held.standing = Standing.UNSETTLED
    try:
        answer = yield from _changing(held, call)
    except RequestIdReused:
        # Under the name that follows from the hold's id, only what ended it can have been said.
        ended = call.request_id in {f"capture/{held.hold_id}", f"release/{held.hold_id}"}
        held.standing = Standing.ENDED if ended else before
        raise
    except (InvalidArgument, NotFound, AlreadyExists, FailedPrecondition):
        if held.standing is not Standing.ENDED:
            # Refused: this call did nothing. Of an earlier one that says nothing.
            held.standing = before
        raise
    # A part may be answered again after the end.
    held.standing = Standing.ENDED if ends or before is Standing.ENDED else Standing.OPEN
    return answer


def _leave(held: Held, error: BaseException | None) -> Steps[None]:
    """Leave the block of a hold.

    error   what the block raised; it is raised again, so what goes wrong here becomes a note of it
    """
    if held.standing in {Standing.ENDED, Standing.PREVIEWED}:
        return
    if held.standing is Standing.UNSETTLED:
        # What the block said may have been done, and may be said again; releasing would undo that.
        if error is not None:
            error.add_note(
                f"Hold {held.hold_id} was left as it is: what was said of it may or may not have been done. "
                f"It can be said again until {held.expires_at:%Y-%m-%dT%H:%M:%SZ}, when the hold runs out by itself."
            )
        return
    try:
        yield from release(held)
    except HoldNotActive:
        pass  # It ran out, or was ended elsewhere: nothing is left to give back.
    except Exception as failure:
        if error is None:
            raise
        error.add_note(
            f"Hold {held.hold_id} was not released: {failure} "
            f"It runs out by itself at {held.expires_at:%Y-%m-%dT%H:%M:%SZ}."
        )
        return
    if error is None and not held.captures:
        warnings.warn(
            f"Nothing of hold {held.hold_id} was captured: its block ended without capture() or release(). Say which.",
            UnsettledHoldWarning,
            stacklevel=4,  # over follow and __exit__ to the block
        )


def _blocking(make: Callable[Concatenate[Held, P], Steps[Answer]]) -> Callable[Concatenate["Hold", P], Answer]:
    @described_by(make, bound=1)
    def method(self: "Hold", /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        return self._connection.follow(make(self, *args, **kwargs))

    return method


def _awaiting(
    make: Callable[Concatenate[Held, P], Steps[Answer]],
) -> Callable[Concatenate["AsyncHold", P], Coroutine[Any, Any, Answer]]:
    @described_by(make, bound=1)
    async def method(self: "AsyncHold", /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        return await self._connection.follow(make(self, *args, **kwargs))

    return method


class Hold(Held):
    """Credits that were set aside.

    As the head of a `with` block: a block that raises releases the hold, and the block's own exception goes on even
    if the release fails. A block that ends without capture() or release() releases it too, with an
    UnsettledHoldWarning; one that captured with final=False releases what is left, without. A hold that the block has
    captured or released is left alone; so is one whose capture got no answer (Unavailable, DeadlineExceeded), because
    it may have been done and can be repeated.

    hold_id      names it in other processes: client.capture(hold_id) and the like take it; empty in a preview
    request_id   of the request that made it
    entry_id     the entry that was written; empty in a preview
    amount       smallest units that were set aside, increases from here included
    charge       how the amount was computed; None if it was named, not usage
    captured     of them, what was captured from here
    captures     in how many captures
    increases    how often it was increased from here
    expires_at   the first instant at which the hold is no longer there
    balance      how the account stood when the hold was made
    replayed     true if an earlier request with this request_id had made it; it may have ended since
    standing     what is known of how it ended

    Use it from one thread at a time.
    """

    def __init__(self, connection: Connection, call: Call[HoldResponse], response: HoldResponse) -> None:
        super().__init__(call, response)
        self._connection = connection

    capture = _blocking(capture)
    release = _blocking(release)
    increase = _blocking(increase)
    extend = _blocking(extend)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.follow(_leave(self, error))


class AsyncHold(Held):
    """Credits that were set aside; as Hold, with `async with` and its methods awaited."""

    def __init__(self, connection: AsyncConnection, call: Call[HoldResponse], response: HoldResponse) -> None:
        super().__init__(call, response)
        self._connection = connection

    capture = _awaiting(capture)
    release = _awaiting(release)
    increase = _awaiting(increase)
    extend = _awaiting(extend)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connection.follow(_leave(self, error))


class AsyncHoldRequest:
    """A hold that is being asked for: await it for the AsyncHold, or enter it with `async with`. Once."""

    def __init__(self, asking: Coroutine[Any, Any, AsyncHold]) -> None:
        self._asking = asking
        self._hold: AsyncHold | None = None

    def __await__(self) -> Generator[Any, Any, AsyncHold]:
        return self._asking.__await__()

    async def __aenter__(self) -> AsyncHold:
        self._hold = await self._asking
        return self._hold

    # Not async itself, so that a warning points to the block and not here.
    def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Awaitable[None]:
        assert self._hold is not None, "entered, or it could not be left"
        return self._hold.__aexit__(kind, error, trace)
