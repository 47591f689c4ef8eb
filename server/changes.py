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


class Changes:
    """What the services change in the books."""

    def __init__(self, ledger: Ledger, read: Reader) -> None:
        self._ledger = ledger
        self._read = read

    async def one(
        self,
        request: Any,  # noqa: ANN401 -- any change
        kind: type[Answer],
        context: Context,
        turn: asyncio.Lock | None = None,
    ) -> Answer:
        """Does what a request asks for, or previews it; raises what `answering` tells.

        turn   held by the one among several that tries again while the queue is full; None: it is refused then
        """
        operation = operation_of(request, tenant_of(context))
        if refused := made_up(request):
            raise RefusedError(refused)
        if request.preview:
            (decided,) = await self._read(self._ledger.preview, (operation,))
        else:
            decided = await self._decided(operation, context, turn)
        answer = answer_of(operation, _accepted(decided), preview=request.preview)
        if not isinstance(answer, kind):
            raise TypeError(f"{type(answer).__name__} is not the answer to {type(request).__name__}")
        return answer

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
        try:
            answer = await self.one(request.grant, credit_pb.GrantResponse, context, turn)
            return account_pb.BulkGrantResponse(grant=answer)
        except Exception as error:  # noqa: BLE001 -- whatever it is, the other grants go on
            return account_pb.BulkGrantResponse(error=error_message(told("BulkGrant", error)))

    async def _decided(
        self,
        work: Request | Batch,
        context: Context,
        turn: asyncio.Lock | None = None,
    ) -> Any:  # noqa: ANN401 -- as the ledger answers it
        """Has it decided and written. If the caller goes away before that, it is dropped."""
        remaining_s = context.time_remaining()
        deadline = None if remaining_s is None else time.monotonic() + remaining_s
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if turn is None:
            self._ledger.submit(work, answer, deadline)
        else:
            async with turn:
                await self._submitted(work, answer, deadline)
        return await answer

    async def _submitted(self, work: Request | Batch, answer: asyncio.Future[Any], deadline: float | None) -> None:
        while True:
            try:
                return self._ledger.submit(work, answer, deadline)
            except QueueFullError:
                # The stream can wait, and whoever sends it learns of it by that.
                await asyncio.sleep(PAUSE_WHEN_FULL_S)


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
