"""Callers who ask servers over gRPC without a pause, and remember what they were told."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from scrip.v1.account_service_pb2_grpc import AccountServiceStub
from scrip.v1.accounts_pb2 import (
    AdjustRequest,
    FreezeAccountRequest,
    MergeAccountsRequest,
    RevokeRequest,
    UnfreezeAccountRequest,
    WriteOffRequest,
)
from scrip.v1.credit_service_pb2 import (
    BatchOperation,
    BatchRequest,
    CaptureRequest,
    CheckAndDeductRequest,
    GrantRequest,
    HoldRequest,
    OpenAccountRequest,
    RefundRequest,
    ReleaseRequest,
    TransferRequest,
)
from scrip.v1.credit_service_pb2_grpc import CreditServiceStub
from scrip.v1.types_pb2 import SOURCE_PROMO, Memo

from ledger import AccountName
from tests.faults.customers import PATIENCE_S

RPCS = {
    OpenAccountRequest: "OpenAccount",
    GrantRequest: "Grant",
    CheckAndDeductRequest: "CheckAndDeduct",
    HoldRequest: "Hold",
    CaptureRequest: "Capture",
    ReleaseRequest: "Release",
    RefundRequest: "Refund",
    TransferRequest: "Transfer",
    MergeAccountsRequest: "MergeAccounts",
    FreezeAccountRequest: "FreezeAccount",
    UnfreezeAccountRequest: "UnfreezeAccount",
    RevokeRequest: "Revoke",
    AdjustRequest: "Adjust",
    WriteOffRequest: "WriteOff",
    BatchRequest: "Batch",
}
# How callers are told that the books say no.
REFUSED = {grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.NOT_FOUND}
OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]
HOLD_TTL = Duration(seconds=2)
WHY = Memo(description="a test", actor="a tester")


@dataclass(slots=True, kw_only=True)
class Asked:
    """One request and what became of it.

    names      whose the changes are that it asks for: one, or those of a batch
    response   None while it is not answered, and if it is refused
    """

    names: tuple[AccountName, ...]
    request: Any
    response: Any = None

    @property
    def changes(self) -> list[Message]:
        """The requests of a batch, or the only one."""
        if isinstance(self.request, BatchRequest):
            return [getattr(one, one.WhichOneof("operation")) for one in self.request.operations]
        return [self.request]

    def accepted(self) -> Iterator[tuple[AccountName, Any, Any]]:
        """Whose it is, request and answer of each change that was done."""
        if not isinstance(self.request, BatchRequest):
            yield self.names[0], self.request, self.response
            return
        for name, request, outcome in zip(self.names, self.changes, self.response.outcomes, strict=True):
            kind = outcome.WhichOneof("outcome")
            if kind != "error":
                yield name, request, getattr(outcome, kind)


class UnansweredError(Exception):
    """The server has gone."""


class Load:
    """What all callers together have asked so far.

    targets   servers of the same books, each as often as there shall be connections to it
    """

    def __init__(self, targets: Sequence[str], names: Sequence[AccountName], *, credits_each: int) -> None:
        self._targets, self._names, self._credits_each = targets, names, credits_each
        self._chance = random.Random(0)
        self._numbers = count(1)
        self._stubs: list[dict[str, Any]] = []
        self._end_at = -1
        self._end: Callable[[], None] = lambda: None
        self._goes_on: Callable[[], bool] | None = None
        self._unheard = {grpc.StatusCode.UNAVAILABLE}
        self._used: list[tuple[AccountName, str, int]] = []
        self._held: list[tuple[AccountName, str, int]] = []
        self._lots: list[tuple[AccountName, str]] = []
        self._visitors: list[AccountName] = []
        self.answered: list[Asked] = []
        self.unanswered: list[Asked] = []
        self.refused = 0

    async def open_accounts(self) -> None:
        """Opens every account and grants it credits."""
        await self.ask(self._asked(name, OpenAccountRequest(account_id=name.account_id)) for name in self._names)
        await self.ask(self._asked(name, self._grant(name, self._credits_each)) for name in self._names)

    async def run(self, callers: int, answers: int, end: Callable[[], None]) -> None:
        """Has callers ask until the server does not answer them any more; after so many answers it is ended."""
        self._end_at, self._end = len(self.answered) + answers, end
        await self._run(callers)

    async def run_for(self, callers: int, seconds: float) -> None:
        """Has callers ask for some time."""
        end_at = asyncio.get_running_loop().time() + seconds
        await self.run_while(callers, lambda: asyncio.get_running_loop().time() < end_at)

    async def run_while(self, callers: int, goes_on: Callable[[], bool]) -> None:
        """Has callers ask, also those who were not answered before."""
        self._goes_on = goes_on
        # gRPC says so itself to calls that come in the very moment in which a server ends.
        self._unheard = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
        await self._run(callers)
        self._goes_on = None

    async def ask_again(self) -> int:
        """Asks again all that was not answered; returns how many of them had been done before."""
        again, self.unanswered = self.unanswered, []
        await self.ask(again)
        assert self.unanswered == []
        return sum(any(answer.replayed for *_, answer in asked.accepted()) for asked in again if asked.response)

    async def ask(self, several: Iterable[Asked]) -> None:
        """Asks all at once."""
        async with self._connected():
            await asyncio.gather(*(self._ask(asked) for asked in several))

    async def _run(self, callers: int) -> None:
        async with self._connected():
            await asyncio.gather(*(self._call() for _ in range(callers)))

    @asynccontextmanager
    async def _connected(self):
        async with AsyncExitStack() as stack:
            for target in self._targets:
                channel = await stack.enter_async_context(grpc.aio.insecure_channel(target, options=OWN_CONNECTION))
                self._stubs.append({**vars(CreditServiceStub(channel)), **vars(AccountServiceStub(channel))})
            yield
        self._stubs.clear()

    async def _call(self) -> None:
        acts: dict[Callable[[AccountName, int], Awaitable[None]], int] = {
            self._granting: 2,
            self._deducting: 4,
            self._holding: 3,
            self._ending_a_hold: 3,
            self._refunding: 3,
            self._transferring: 4,
            self._batching: 3,
            self._merging: 1,
            self._freezing: 1,
            self._correcting: 1,
            self._repeating: 1,
        }
        while self._goes_on is None or self._goes_on():
            (act,) = self._chance.choices(list(acts), acts.values())
            try:
                await act(self._chance.choice(self._names), self._chance.randint(1, 9))
            except UnansweredError:
                if self._goes_on is None:
                    return

    async def _granting(self, name: AccountName, amount: int) -> None:
        await self._try(name, self._grant(name, 4 * amount))

    async def _deducting(self, name: AccountName, amount: int) -> None:
        mode = self._chance.choice(["MODE_AUTHORIZE", "MODE_AUTHORIZE", "MODE_CLAMP", "MODE_RECORD"])
        await self._try(name, CheckAndDeductRequest(account_id=name.account_id, amount=amount, mode=mode))

    async def _holding(self, name: AccountName, amount: int) -> None:
        held = await self._try(name, HoldRequest(account_id=name.account_id, amount=amount, ttl=HOLD_TTL))
        if held is not None:
            self._held.append((name, held.hold_id, amount))

    async def _ending_a_hold(self, _name: AccountName, _amount: int) -> None:
        """Captures some of a hold, or gives it back. Others may do so at this moment."""
        if not self._held:
            return
        place = self._chance.randrange(len(self._held))
        name, hold_id, held = self._held[place]
        request = CaptureRequest(hold_id=hold_id, amount=self._chance.randint(0, held), final=True)
        match self._chance.randrange(4):
            case 0:
                request = ReleaseRequest(hold_id=hold_id)
            case 1:
                request.final = False
        if self._chance.random() < 0.7:
            self._held.pop(place)
        await self._try(name, request)

    async def _refunding(self, _name: AccountName, _amount: int) -> None:
        """Gives back some of what was used, or all that is left of it. Others may do so at this moment."""
        if not self._used:
            return
        name, entry_id, used = self._chance.choice(self._used[-50:])
        amount = self._chance.choice([None, self._chance.randint(1, used)])
        await self._try(name, RefundRequest(entry_id=entry_id, amount=amount))

    async def _transferring(self, name: AccountName, amount: int) -> None:
        await self._try(name, self._transfer(name, amount))

    async def _batching(self, name: AccountName, amount: int) -> None:
        """Something for nothing, together or each on its own."""
        asked = [
            (name, CheckAndDeductRequest(account_id=name.account_id, amount=amount)),
            (name, self._transfer(name, amount)),
            (name, self._grant(name, amount)),
        ]
        self._chance.shuffle(asked)
        await self._batch(asked, atomic=self._chance.random() < 0.7)

    async def _merging(self, name: AccountName, amount: int) -> None:
        """A visitor comes, is given credits, and becomes a customer."""
        visitor = AccountName(tenant=name.tenant, account_id=f"visitor-{next(self._numbers)}", asset=name.asset)
        of_visitor = {"account_id": visitor.account_id}
        asked = [(visitor, OpenAccountRequest(**of_visitor)), (visitor, self._grant(visitor, amount))]
        if await self._batch(asked, atomic=True):
            self._visitors.append(visitor)
            await asyncio.sleep(0.01 * self._chance.random())
            await self._try(visitor, MergeAccountsRequest(**of_visitor, into_account_id=name.account_id))
            self._visitors.remove(visitor)

    async def _freezing(self, name: AccountName, _amount: int) -> None:
        """For a moment nothing can be spent."""
        if await self._try(name, FreezeAccountRequest(account_id=name.account_id, memo=WHY)):
            await asyncio.sleep(0.01 * self._chance.random())
            await self._try(name, UnfreezeAccountRequest(account_id=name.account_id, memo=WHY))

    async def _correcting(self, name: AccountName, amount: int) -> None:
        """Forgives a debt, takes back a grant, or adjusts what there is."""
        of_account = {"account_id": name.account_id, "amount": amount, "memo": WHY}
        match self._chance.randrange(3):
            case 0:
                await self._try(name, WriteOffRequest(**of_account))
            case 1:
                direction = self._chance.choice(["DIRECTION_UP", "DIRECTION_DOWN"])
                await self._try(name, AdjustRequest(**of_account, direction=direction))
            case _ if self._lots:
                name, lot_id = self._chance.choice(self._lots[-30:])
                spent = self._chance.choice(["SPENT_OWE", "SPENT_LEAVE"])
                await self._try(name, RevokeRequest(lot_id=lot_id, amount=amount, spent=spent, memo=WHY))

    async def _repeating(self, _name: AccountName, _amount: int) -> None:
        """Asks for something again, perhaps another server."""
        earlier = self._chance.choice(self.answered)
        await self._ask(Asked(names=earlier.names, request=earlier.request))

    def _grant(self, name: AccountName, amount: int) -> GrantRequest:
        return GrantRequest(account_id=name.account_id, amount=amount, source=SOURCE_PROMO)

    def _transfer(self, name: AccountName, amount: int) -> TransferRequest:
        others = [other for other in (*self._names, *self._visitors[-3:]) if other != name]
        to = self._chance.choice(others).account_id
        return TransferRequest(account_id=name.account_id, to_account_id=to, amount=amount)

    async def _batch(self, asked: Sequence[tuple[AccountName, Any]], *, atomic: bool) -> bool:
        """True if it was not refused as a whole."""
        request = BatchRequest(atomic=atomic)
        fields = {field.message_type.name: field.name for field in BatchOperation.DESCRIPTOR.fields}
        for name, one in asked:
            change = self._asked(name, one).request
            request.operations.append(BatchOperation(**{fields[type(change).__name__]: change}))
        return await self._ask(Asked(names=tuple(name for name, _ in asked), request=request)) is not None

    async def _try(self, name: AccountName, request: Any) -> Any:
        """The answer; None if it is refused."""
        return await self._ask(self._asked(name, request))

    def _asked(self, name: AccountName, request: Any) -> Asked:
        request.request_id = f"{type(request).__name__}-{next(self._numbers)}"
        return Asked(names=(name,), request=request)

    async def _ask(self, asked: Asked) -> Any:
        """The answer; None if the books say no. Nothing else may happen but that the server has gone."""
        ask = self._chance.choice(self._stubs)[RPCS[type(asked.request)]]
        try:
            asked.response = await ask(asked.request, timeout=PATIENCE_S)
        except grpc.aio.AioRpcError as error:
            if error.code() in REFUSED:
                self.refused += 1
                return None
            if error.code() not in self._unheard:
                raise
            self.unanswered.append(asked)
            raise UnansweredError from error
        self._remember(asked)
        return asked.response

    def _remember(self, asked: Asked) -> None:
        self.answered.append(asked)
        for name, request, answer in asked.accepted():
            if isinstance(request, GrantRequest):
                self._lots.append((name, answer.lot_id))
            used = getattr(answer, "deducted", 0) or getattr(answer, "captured", 0)
            if used:
                self._used.append((name, answer.entry_id, used))
        if len(self.answered) == self._end_at:
            self._end()
