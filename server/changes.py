"""Changes, one at a time, in a batch or in a stream: has them decided and written, or previews them, and answers."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from google.protobuf.message import Message
from scrip.v1 import account_service_pb2 as account_pb
from scrip.v1 import credit_service_pb2 as credit_pb

from ledger import (
    BATCH_MAX,
    Accepted,
    Batch,
    Ledger,
    MalformedError,
    QueueFullError,
    Refused,
    Request,
    Violation,
)
from server.answering import Context, Reader, tenant_of, told
from server.answers import answer_of
from server.errors import RefusedError, error_message
from server.requests import made_up, operation_of
from server.times import malformed

Answer = TypeVar("Answer", bound=Message)
Decided = Accepted | Refused | Exception

# Grants of one stream that may be under way.
BULK_MAX: Final = 1_000
PAUSE_WHEN_FULL_S: Final = 0.05
_CHANGES: Final = [field.name for field in credit_pb.BatchOperation.DESCRIPTOR.fields]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """One change of a batch.

    name        of the kind of change in the contract
    operation   None if it is malformed
    malformed   why; None if it is not
    made_up     the refusal it will have because it names something by an id that Scrip cannot have given out
    """

    name: str
    operation: Request | None
    malformed: MalformedError | None
    made_up: Refused | None


class _Call:
    """A change that is under way, and where its outcome goes: what the ledger decides becomes the message here.

    answer   what the caller's handler waits for
    """

    __slots__ = ("answer", "deadline", "operation", "request", "tenant")

    def __init__(self, request: Any, tenant: str, deadline: float | None) -> None:  # noqa: ANN401 -- any change
        self.request, self.tenant, self.deadline = request, tenant, deadline
        self.answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self.operation: Request

    def submit_to(self, ledger: Ledger) -> None:
        """Has it decided, unless it is malformed."""
        if self.done():
            return
        try:
            self.operation = operation_of(self.request, self.tenant)
            if refused := made_up(self.request):
                self.set_exception(RefusedError(refused))
            else:
                ledger.submit(self.operation, self, self.deadline)
        except Exception as error:  # noqa: BLE001 -- whatever it is, its caller is told
            self.set_exception(error)

    def cancelled(self) -> bool:
        """True if the caller has gone."""
        return self.answer.cancelled()

    def done(self) -> bool:
        """True if the caller has gone or is answered."""
        return self.answer.done()

    def set_result(self, decided: Decided) -> None:
        """Answers the caller."""
        try:
            self.answer.set_result(answer_of(self.operation, _accepted(decided)))
        except Exception as error:  # noqa: BLE001 -- as above
            self.answer.set_exception(error)

    def set_exception(self, error: Exception) -> None:
        """Tells the caller."""
        self.answer.set_exception(error)


class Changes:
    """What the services change in the books.

    Requests are turned into operations by as many as have come, and outcomes into messages by the batch: done for one
    at a time, between all that gRPC does for a call, the same work takes several times as long.
    """

    def __init__(self, ledger: Ledger, read: Reader) -> None:
        self._ledger = ledger
        self._read = read
        self._arrived: list[_Call] = []

    async def one(self, request: Any, kind: type[Answer], context: Context) -> Answer:  # noqa: ANN401 -- any change
        """Does what a request asks for, or previews it; raises what `answering` tells."""
        if request.preview:
            answer = await self._previewed(request, context)
        else:
            call = _Call(request, tenant_of(context), _deadline(context))
            if not self._arrived:
                asyncio.get_running_loop().call_soon(self._submit_arrived)
            self._arrived.append(call)
            answer = await call.answer
        return _of_kind(answer, kind)

    def _submit_arrived(self) -> None:
        arrived, self._arrived = self._arrived, []
        for call in arrived:
            call.submit_to(self._ledger)

    async def _previewed(self, request: Any, context: Context) -> Message:  # noqa: ANN401 -- as above
        operation = operation_of(request, tenant_of(context))
        if refused := made_up(request):
            raise RefusedError(refused)
        (decided,) = await self._read(self._ledger.preview, (operation,))
        return answer_of(operation, _accepted(decided), preview=True)

    async def batch(self, request: credit_pb.BatchRequest, context: Context) -> credit_pb.BatchResponse:
        """Does several changes in order, or previews them; raises what `answering` tells of an atomic one."""
        if not 0 < len(request.operations) <= BATCH_MAX:
            raise malformed("operations", f"must have 1 to {BATCH_MAX}; it has {len(request.operations)}.")
        asked = [_asked(operation, tenant_of(context)) for operation in request.operations]
        if request.atomic:
            _raise_if_malformed(asked)
        operations = tuple(one.operation for one in asked if one.operation is not None)
        decided: Sequence[Decided] = ()
        if operations and request.preview:
            decided = await self._read(self._ledger.preview, operations, atomic=request.atomic)
        elif operations:
            decided = await self._decided(Batch(operations=operations, atomic=request.atomic), context)
        if request.atomic:
            _raise_if_refused(asked, decided)
        rest = iter(decided)
        outcomes = [_outcome(one, one.malformed or next(rest), preview=request.preview) for one in asked]
        return credit_pb.BatchResponse(outcomes=outcomes)

    async def stream(
        self, requests: AsyncIterator[account_pb.BulkGrantRequest], context: Context
    ) -> AsyncIterator[account_pb.BulkGrantResponse]:
        """Does grants as they come, a bounded number at a time, and answers each in order."""
        room, turn = asyncio.Semaphore(BULK_MAX), asyncio.Lock()
        under_way: asyncio.Queue[asyncio.Task[account_pb.BulkGrantResponse] | None] = asyncio.Queue()

        async def take() -> None:
            try:
                async for request in requests:
                    await room.acquire()
                    under_way.put_nowait(asyncio.create_task(self._granted(request, context, turn)))
            finally:
                under_way.put_nowait(None)

        taking = asyncio.create_task(take())
        try:
            while (task := await under_way.get()) is not None:
                yield await task
                room.release()
            await taking
        finally:
            taking.cancel()
            while not under_way.empty():
                if (task := under_way.get_nowait()) is not None:
                    task.cancel()

    async def _granted(
        self, request: account_pb.BulkGrantRequest, context: Context, turn: asyncio.Lock
    ) -> account_pb.BulkGrantResponse:
        """Does a grant of a stream; while the queue is full, the one whose turn it is tries again."""
        try:
            if request.grant.preview:
                answer = await self._previewed(request.grant, context)
            else:
                async with turn:
                    call = await self._queued(request.grant, context)
                answer = await call.answer
            return account_pb.BulkGrantResponse(grant=_of_kind(answer, credit_pb.GrantResponse))
        except Exception as error:  # noqa: BLE001 -- whatever it is, the other grants go on
            return account_pb.BulkGrantResponse(error=error_message(told("BulkGrant", error)))

    async def _queued(self, request: credit_pb.GrantRequest, context: Context) -> _Call:
        while True:
            call = _Call(request, tenant_of(context), _deadline(context))
            call.submit_to(self._ledger)
            if not (call.done() and isinstance(call.answer.exception(), QueueFullError)):
                return call
            # The stream can wait, and whoever sends it learns of it by that.
            await asyncio.sleep(PAUSE_WHEN_FULL_S)

    async def _decided(self, batch: Batch, context: Context) -> Sequence[Decided]:
        """Has it decided and written. If the caller goes away before that, it is dropped."""
        answer: asyncio.Future[Sequence[Decided]] = asyncio.get_running_loop().create_future()
        self._ledger.submit(batch, answer, _deadline(context))
        return await answer


def _deadline(context: Context) -> float | None:
    """By time.monotonic()."""
    remaining_s = context.time_remaining()
    return None if remaining_s is None else time.monotonic() + remaining_s


def _of_kind(answer: Message, kind: type[Answer]) -> Answer:
    if not isinstance(answer, kind):
        raise TypeError(f"{type(answer).__name__} is not {kind.__name__}, which was asked for")
    return answer


def _accepted(decided: Decided) -> Accepted:
    if isinstance(decided, Refused):
        raise RefusedError(decided)
    if isinstance(decided, Exception):
        raise decided
    return decided


def _asked(message: credit_pb.BatchOperation, tenant: str) -> _Asked:
    name = message.WhichOneof("operation")
    try:
        if name is None:
            raise malformed("operation", f"must be one of {', '.join(_CHANGES)}.")
        request = getattr(message, name)
        if request.preview:
            raise malformed("preview", "must be false; the batch as a whole can be previewed.")
        return _Asked(name=name, operation=operation_of(request, tenant), malformed=None, made_up=made_up(request))
    except MalformedError as error:
        return _Asked(name=name or "", operation=None, malformed=error, made_up=None)


def _raise_if_malformed(asked: Sequence[_Asked]) -> None:
    violations = tuple(
        Violation(field=f"operations[{index}].{violation.field}", must=violation.must)
        for index, one in enumerate(asked)
        if one.malformed is not None
        for violation in one.malformed.violations
    )
    if violations:
        raise MalformedError(violations)


def _raise_if_refused(asked: Sequence[_Asked], decided: Sequence[Decided]) -> None:
    """All outcomes of an atomic batch are alike: done, or that of the one which was not."""
    refused = decided[0]
    if isinstance(refused, Refused):
        index = refused.figures["operation"]
        culprit = asked[index] if isinstance(index, int) else None
        if culprit is not None and culprit.made_up is not None:
            refused = replace(culprit.made_up, figures={**culprit.made_up.figures, "operation": index})
    _accepted(refused)


def _outcome(asked: _Asked, decided: Decided, *, preview: bool) -> credit_pb.BatchOutcome:
    outcome = credit_pb.BatchOutcome()
    if isinstance(decided, Accepted) and asked.operation is not None:
        getattr(outcome, asked.name).CopyFrom(answer_of(asked.operation, decided, preview=preview))
        return outcome
    error = RefusedError(asked.made_up or decided) if isinstance(decided, Refused) else decided
    if not isinstance(error, Exception):
        raise TypeError(f"{error!r} is no outcome")
    outcome.error.CopyFrom(error_message(told("Batch", error)))
    return outcome
