"""Holds: credits set aside, and the block that ends by capturing or releasing them."""

import enum
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from scrip import calls
from scrip.calls import Answer, Call, Steps
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
from scrip.signatures import described_by
from scrip.v1.credit_service_pb2 import CaptureResponse, HoldRequest, HoldResponse, ReleaseResponse

P = ParamSpec("P")
Ended = TypeVar("Ended", CaptureResponse, ReleaseResponse)


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


class Held:
    """What Hold and AsyncHold have in common: the figures, which Hold describes."""

    def __init__(self, request: HoldRequest, response: HoldResponse) -> None:
        self.hold_id = response.hold_id
        self.request_id = request.request_id
        self.entry_id = response.entry_id
        self.amount = request.amount
        self.expires_at: datetime = response.expires_at.ToDatetime(tzinfo=UTC)
        self.balance = response.balance
        self.replayed = response.replayed
        self.standing = Standing.OPEN

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.hold_id} of {self.amount}, {self.standing.value}>"


def capture(
    held: Held,
    amount: int | None = None,
    *,
    description: str = "",
    reference: str = "",
    actor: str = "",
    metadata: Mapping[str, str] | None = None,
    deadline_s: float | None = None,
) -> Steps[CaptureResponse]:
    """Turn the hold into revenue, wholly or partly, now; give the rest back. Ends the hold.

    The request_id follows from the hold's id, so a repeat, from here or from another process that repeated the hold,
    does nothing twice.

    amount    smallest units, 0 up to what the hold has; None takes all of it, 0 gives all of it back
    refused   HoldNotFound, RequestIdReused (captured before with another amount or memo), HoldNotActive,
              AmountAboveHold, in that order

    The other arguments: see the client.
    """
    call = calls.capture(
        held.hold_id,
        amount,
        request_id=f"capture/{held.hold_id}",
        description=description,
        reference=reference,
        actor=actor,
        metadata=metadata,
        deadline_s=deadline_s,
    )
    return (yield from _ending(held, call))


def release(
    held: Held,
    *,
    description: str = "",
    reference: str = "",
    actor: str = "",
    metadata: Mapping[str, str] | None = None,
    deadline_s: float | None = None,
) -> Steps[ReleaseResponse]:
    """Give the hold back to the lots it came from, now. Ends the hold.

    The request_id follows from the hold's id, so a repeat does nothing twice.

    refused   HoldNotFound, RequestIdReused (released before with another memo), HoldNotActive, in that order

    The other arguments: see the client.
    """
    call = calls.release(
        held.hold_id,
        request_id=f"release/{held.hold_id}",
        description=description,
        reference=reference,
        actor=actor,
        metadata=metadata,
        deadline_s=deadline_s,
    )
    return (yield from _ending(held, call))


def _ending(held: Held, call: Call[Ended]) -> Steps[Ended]:
    """Run what ends the hold, and keep in `standing` what is known of it."""
    before = held.standing
    if before is Standing.OPEN:
        # Before the answer, because whatever interrupts the call, a cancelled task too, leaves it undecided.
        held.standing = Standing.UNSETTLED
    try:
        answer = yield from call
    except (HoldNotActive, HoldNotFound, RequestIdReused):
        held.standing = Standing.ENDED
        raise
    except (InvalidArgument, NotFound, AlreadyExists, FailedPrecondition):
        # Refused: this call did nothing. Of an earlier one that says nothing.
        held.standing = before
        raise
    held.standing = Standing.ENDED
    return answer


def _leave(held: Held, error: BaseException | None) -> Steps[None]:
    """Leave the block of a hold.

    error   what the block raised; it is raised again, so what goes wrong here becomes a note of it
    """
    if held.standing is Standing.ENDED:
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
    if error is None:
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
    UnsettledHoldWarning. A hold that the block has captured or released is left alone; so is one whose capture got no
    answer (Unavailable, DeadlineExceeded), because it may have been done and can be repeated.

    hold_id      names it in other processes: client.capture(hold_id) and client.release(hold_id) take it
    request_id   of the request that made it
    entry_id     the entry that was written
    amount       smallest units that were set aside
    expires_at   the first instant at which the hold is no longer there
    balance      how the account stood after the entry
    replayed     true if an earlier request with this request_id had made it; it may have ended since
    standing     what is known of how it ended

    Use it from one thread at a time.
    """

    def __init__(self, connection: Connection, request: HoldRequest, response: HoldResponse) -> None:
        super().__init__(request, response)
        self._connection = connection

    capture = _blocking(capture)
    release = _blocking(release)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.follow(_leave(self, error))


class AsyncHold(Held):
    """Credits that were set aside; as Hold, with `async with` and its methods awaited."""

    def __init__(self, connection: AsyncConnection, request: HoldRequest, response: HoldResponse) -> None:
        super().__init__(request, response)
        self._connection = connection

    capture = _awaiting(capture)
    release = _awaiting(release)

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
