"""Callers who ask a server over gRPC without a pause, and remember what they were told."""

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import grpc
from google.protobuf.message import Message
from scrip.v1.credit_service_pb2 import (
    CaptureRequest,
    CheckAndDeductRequest,
    GrantRequest,
    HoldRequest,
    OpenAccountRequest,
)
from scrip.v1.credit_service_pb2_grpc import CreditServiceStub
from scrip.v1.types_pb2 import SOURCE_PROMO
from sqlalchemy import select

from ledger import AccountKey, AccountName, IdPrefix, parse_id
from ledger.database import Database
from ledger.tables import accounts, entries
from tests.faults.customers import PATIENCE_S

GRANTED = 1_000_000


@dataclass(slots=True, kw_only=True)
class Asked:
    """One request and what became of it.

    effect     by how much it changes what is available, once
    response   None while it is not answered
    """

    name: AccountName
    rpc: str
    request: Message
    effect: int
    response: Any = None


class Load:
    """What all callers together have asked so far."""

    def __init__(self, target: str, names: Sequence[AccountName]) -> None:
        self._target = target
        self._names = names
        self._chance = random.Random(0)
        self._numbers = count(1)
        self._end_at = -1
        self._end: Callable[[], None] = lambda: None
        self.answered: list[Asked] = []
        self.unanswered: list[Asked] = []

    async def open_accounts(self) -> None:
        """Opens every account and grants it more than will be spent."""
        openings = [
            Asked(
                name=name,
                rpc="OpenAccount",
                request=OpenAccountRequest(request_id="opening", account_id=name.account_id),
                effect=0,
            )
            for name in self._names
        ]
        await self.ask(openings)
        await self.ask([self._grant(name, GRANTED) for name in self._names])

    async def run(self, callers: int, answers: int, end: Callable[[], None]) -> None:
        """Has callers ask until the server does not answer them any more; after so many answers it is ended."""
        self._end_at, self._end = len(self.answered) + answers, end
        async with grpc.aio.insecure_channel(self._target) as channel:
            stub = CreditServiceStub(channel)
            await asyncio.gather(*(self._call(stub) for _ in range(callers)))

    async def ask_again(self) -> int:
        """Asks again all that was not answered; returns how many of them had been done before."""
        again, self.unanswered = self.unanswered, []
        await self.ask(again)
        assert self.unanswered == []
        return sum(asked.response.replayed for asked in again)

    async def ask(self, several: Iterable[Asked]) -> None:
        """Asks all at once."""
        async with grpc.aio.insecure_channel(self._target) as channel:
            stub = CreditServiceStub(channel)
            await asyncio.gather(*(self._ask(stub, asked) for asked in several))

    async def _call(self, stub: CreditServiceStub) -> None:
        while True:
            name, amount = self._chance.choice(self._names), self._chance.randint(1, 9)
            match self._chance.randrange(4):
                case 0:
                    asked = self._grant(name, amount)
                case 1:
                    asked = self._asked(name, "Hold", HoldRequest, -amount, amount=amount)
                case _:
                    asked = self._asked(name, "CheckAndDeduct", CheckAndDeductRequest, -amount, amount=amount)
            if not await self._ask(stub, asked):
                return
            if asked.rpc == "Hold":
                captured = self._chance.randint(0, amount)
                hold = {"hold_id": asked.response.hold_id, "amount": captured}
                capture = self._asked(name, "Capture", CaptureRequest, amount - captured, **hold)
                if not await self._ask(stub, capture):
                    return

    async def _ask(self, stub: CreditServiceStub, asked: Asked) -> bool:
        """True if it was answered, False if it may be asked again; nothing else may happen."""
        try:
            asked.response = await getattr(stub, asked.rpc)(asked.request, timeout=PATIENCE_S)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            self.unanswered.append(asked)
            return False
        self.answered.append(asked)
        if len(self.answered) == self._end_at:
            self._end()
        return True

    def _grant(self, name: AccountName, amount: int) -> Asked:
        return self._asked(name, "Grant", GrantRequest, amount, amount=amount, source=SOURCE_PROMO)

    def _asked(self, name: AccountName, rpc: str, kind: Any, effect: int, **fields: Any) -> Asked:
        account = {} if rpc == "Capture" else {"account_id": name.account_id}
        request = kind(request_id=f"{rpc}-{next(self._numbers)}", **account, **fields)
        return Asked(name=name, rpc=rpc, request=request, effect=effect)


def assert_written_once(url: str, answered: Iterable[Asked], unanswered: Iterable[Asked]) -> None:
    """Every answered request is in the books where its answer says, and besides them only what was not answered."""
    told: dict[tuple[AccountKey, str], int] = {}
    available: dict[AccountKey, int] = {}
    for asked in answered:
        key, number = parse_id(IdPrefix.ENTRY, asked.response.entry_id)
        assert key == asked.name.key
        assert (key, asked.request.request_id) not in told
        told[key, asked.request.request_id] = number
        available[key] = available.get(key, 0) + asked.effect
    database = Database(url, readers=1)
    try:
        with database.read() as connection:
            written = list(connection.execute(select(entries.c.account_key, entries.c.request_id, entries.c.seq)))
            kept = {row.account_key: row.available for row in connection.execute(select(accounts))}
    finally:
        database.close()
    found = {(key, request_id): number for key, request_id, number in written}
    assert len(found) == len(written)
    for asked in unanswered:
        done = found.pop((asked.name.key, asked.request.request_id), None) is not None
        available[asked.name.key] += asked.effect * done
    assert found == told
    assert kept == available
