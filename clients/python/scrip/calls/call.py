"""What a call is, before it is made."""

from collections.abc import AsyncIterable, Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

import grpc
from google.protobuf.message import Message

from scrip import arguments
from scrip.errors import ScripError
from scrip.reasons import from_rpc

Answer = TypeVar("Answer")
Answered = TypeVar("Answered", covariant=True)  # noqa: PLC0105 -- a Call gives what is Answered, and takes none
Item = TypeVar("Item")

CREDITS = "credits"


def _as_it_is(response: Any) -> Any:  # noqa: ANN401 -- any response
    return response


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[Answered]):
    """One RPC to be made.

    rpc          its name in the contract
    request      what is sent; a change carries its request_id, so running the same Call twice does nothing twice
    read         takes the answer out of the response; as it is unless said otherwise
    deadline_s   seconds for all attempts together; None leaves it to the client
    parts        the calls that a batch is made of
    """

    rpc: str
    request: Message
    read: Callable[[Any], Answered] = _as_it_is
    deadline_s: float | None = None
    parts: tuple["Call[Any]", ...] = ()

    def __post_init__(self) -> None:
        if self.deadline_s is not None:
            arguments.seconds("deadline_s", self.deadline_s)

    @property
    def request_id(self) -> str | None:
        """The request_id of a change; None for a call that is none."""
        return getattr(self.request, "request_id", None)

    @property
    def is_preview(self) -> bool:
        """True if it is answered as if it were done, and nothing is written."""
        return getattr(self.request, "preview", False)

    @property
    def request_ids(self) -> tuple[str, ...]:
        """Of all that this call changes, itself or by its parts; none if it changes nothing."""
        if self.is_preview:
            return ()
        return tuple(call.request_id for call in (self, *self.parts) if call.request_id is not None)

    def failed(self, error: grpc.RpcError) -> ScripError:
        """Make the error that a failure of this call means."""
        return from_rpc(error, self.request_ids)

    def __iter__(self) -> Generator["Call[Any]", Any, Answered]:
        """Be one step of several: `answer = yield from call`."""
        answer: Answered = yield self
        return answer


Steps: TypeAlias = Generator[Call[Any], Any, Answer]
"""Several calls with decisions in between: yields each Call, is sent its answer, and returns the last word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages(Generic[Item]):
    """Calls that follow each other until the list ends.

    first   the call for the first page; each answers with its items, and the call for the next page or None
    """

    first: Call[tuple[Iterable[Item], "Call[Any] | None"]]


def pages(first: Call[Any], items: Callable[[Any], Iterable[Item]]) -> Pages[Item]:
    """Follow a call from page to page.

    first   the call for one page, whose request has a page_token and whose response a next_page_token
    items   takes what is listed out of the response
    """

    def page(token: str) -> Call[tuple[Iterable[Item], Call[Any] | None]]:
        request = type(first.request)(page_token=token)
        request.MergeFrom(first.request)
        return Call(rpc=first.rpc, request=request, read=read, deadline_s=first.deadline_s)

    def read(found: Any) -> tuple[Iterable[Item], Call[Any] | None]:  # noqa: ANN401 -- any list's response
        return items(found), page(found.next_page_token) if found.next_page_token else None

    return Pages(first=page(""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream(Generic[Item]):
    """Calls that travel through one RPC, one after another, each answered in order.

    rpc          its name in the contract
    calls        what is to be done
    request      makes the stream's request of a call
    outcome      makes of a call, and the stream's response to it, what became of it
    deadline_s   seconds for all of it; None leaves it to the client
    """

    rpc: str
    calls: Iterable[Call[Any]] | AsyncIterable[Call[Any]]
    request: Callable[[Call[Any]], Message]
    outcome: Callable[[Call[Any], Any], Item | ScripError]
    deadline_s: float | None = None

    def __post_init__(self) -> None:
        if self.deadline_s is not None:
            arguments.seconds("deadline_s", self.deadline_s)
