"""CreditService: the hot path."""

import asyncio
import time

from scrip.v1 import credit_service_pb2 as pb
from scrip.v1.credit_service_pb2_grpc import CreditServiceServicer

from ledger import (
    Accepted,
    Code,
    IdPrefix,
    Ledger,
    Operation,
    Refused,
    public_id,
)
from server import translate
from server.answering import Context, Reader, accepted_or_raise, answering, tenant_of


@answering
class CreditService(CreditServiceServicer):
    """Answers from the ledger; every rule is there."""

    def __init__(self, ledger: Ledger, read: Reader) -> None:
        self._ledger = ledger
        self._read = read

    async def OpenAccount(self, request: pb.OpenAccountRequest, context: Context) -> pb.OpenAccountResponse:
        accepted = await self._change(translate.open_account(request, tenant_of(context)), context)
        return pb.OpenAccountResponse(**translate.change(accepted))

    async def Grant(self, request: pb.GrantRequest, context: Context) -> pb.GrantResponse:
        accepted = await self._change(translate.grant(request, tenant_of(context)), context)
        entry = accepted.entry
        return pb.GrantResponse(
            lot_id=public_id(IdPrefix.LOT, entry.key, entry.seq),
            expires_at=translate.timestamp(entry.lot_terms.expires_at if entry.lot_terms else None),
            **translate.change(accepted),
        )

    async def CheckAndDeduct(self, request: pb.CheckAndDeductRequest, context: Context) -> pb.CheckAndDeductResponse:
        accepted = await self._change(translate.deduct(request, tenant_of(context)), context)
        return pb.CheckAndDeductResponse(**translate.change(accepted))

    async def Hold(self, request: pb.HoldRequest, context: Context) -> pb.HoldResponse:
        accepted = await self._change(translate.place_hold(request, tenant_of(context)), context)
        entry = accepted.entry
        return pb.HoldResponse(
            hold_id=public_id(IdPrefix.HOLD, entry.key, entry.seq),
            expires_at=translate.timestamp(entry.hold_expires_at),
            **translate.change(accepted),
        )

    async def Capture(self, request: pb.CaptureRequest, context: Context) -> pb.CaptureResponse:
        accepted = await self._change(translate.capture(request, tenant_of(context)), context)
        entry = accepted.entry
        return pb.CaptureResponse(
            captured=entry.moved(Code.HELD, Code.REVENUE),
            released=entry.moved(Code.HELD, Code.AVAILABLE),
            **translate.change(accepted),
        )

    async def Release(self, request: pb.ReleaseRequest, context: Context) -> pb.ReleaseResponse:
        accepted = await self._change(translate.release(request, tenant_of(context)), context)
        entry = accepted.entry
        return pb.ReleaseResponse(
            released=entry.moved(Code.HELD, Code.AVAILABLE),
            **translate.change(accepted),
        )

    async def GetBalance(self, request: pb.GetBalanceRequest, context: Context) -> pb.GetBalanceResponse:
        found = await self._read(self._ledger.balances, tenant_of(context), request.account_id, request.asset or None)
        return pb.GetBalanceResponse(
            balances=[translate.balance_message(balance) for balance in found.balances],
            as_of=translate.timestamp(found.as_of),
        )

    async def History(self, request: pb.HistoryRequest, context: Context) -> pb.HistoryResponse:
        name = translate.account_name(tenant_of(context), request.account_id, request.asset)
        page = await self._read(self._ledger.history, name, request.page_size, request.page_token)
        return pb.HistoryResponse(
            entries=[translate.entry_message(entry, page.name, page.scale) for entry in page.entries],
            next_page_token=page.next_page_token,
        )

    async def _change(self, operation: Operation, context: Context) -> Accepted:
        """Has an operation decided and written. If the caller goes away before that, it is dropped."""
        remaining_s = context.time_remaining()
        deadline = None if remaining_s is None else time.monotonic() + remaining_s
        answer: asyncio.Future[Accepted | Refused] = asyncio.get_running_loop().create_future()
        self._ledger.submit(operation, answer, deadline)
        return accepted_or_raise(await answer)
