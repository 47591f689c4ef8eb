"""CreditService: the hot path."""

from scrip.v1 import credit_service_pb2 as pb
from scrip.v1.credit_service_pb2_grpc import CreditServiceServicer

from ledger import Ledger
from server import messages
from server.answering import Context, Reader, answering, tenant_of
from server.changes import Changes
from server.choices import STATES
from server.price_requests import asked_amount
from server.requests import account_name, given_instant, history_filter
from server.times import length_of, timestamp


@answering
class CreditService(CreditServiceServicer):
    """Answers from the ledger; every rule is there."""

    def __init__(self, ledger: Ledger, read: Reader, changes: Changes) -> None:
        self._ledger = ledger
        self._read = read
        self._changes = changes

    async def OpenAccount(self, request: pb.OpenAccountRequest, context: Context) -> pb.OpenAccountResponse:
        return await self._changes.one(request, pb.OpenAccountResponse, context)

    async def Grant(self, request: pb.GrantRequest, context: Context) -> pb.GrantResponse:
        return await self._changes.one(request, pb.GrantResponse, context)

    async def Check(self, request: pb.CheckRequest, context: Context) -> pb.CheckResponse:
        name = account_name(tenant_of(context), request.account_id, request.asset)
        amount, usage = asked_amount(request)
        found = await self._read(self._ledger.check, name, amount, request.operation, usage)
        return messages.check_message(found)

    async def CheckAndDeduct(self, request: pb.CheckAndDeductRequest, context: Context) -> pb.CheckAndDeductResponse:
        return await self._changes.one(request, pb.CheckAndDeductResponse, context)

    async def Hold(self, request: pb.HoldRequest, context: Context) -> pb.HoldResponse:
        return await self._changes.one(request, pb.HoldResponse, context)

    async def IncreaseHold(self, request: pb.IncreaseHoldRequest, context: Context) -> pb.IncreaseHoldResponse:
        return await self._changes.one(request, pb.IncreaseHoldResponse, context)

    async def ExtendHold(self, request: pb.ExtendHoldRequest, context: Context) -> pb.ExtendHoldResponse:
        return await self._changes.one(request, pb.ExtendHoldResponse, context)

    async def Capture(self, request: pb.CaptureRequest, context: Context) -> pb.CaptureResponse:
        return await self._changes.one(request, pb.CaptureResponse, context)

    async def Release(self, request: pb.ReleaseRequest, context: Context) -> pb.ReleaseResponse:
        return await self._changes.one(request, pb.ReleaseResponse, context)

    async def Refund(self, request: pb.RefundRequest, context: Context) -> pb.RefundResponse:
        return await self._changes.one(request, pb.RefundResponse, context)

    async def Transfer(self, request: pb.TransferRequest, context: Context) -> pb.TransferResponse:
        return await self._changes.one(request, pb.TransferResponse, context)

    async def Batch(self, request: pb.BatchRequest, context: Context) -> pb.BatchResponse:
        return await self._changes.batch(request, context)

    async def GetBalance(self, request: pb.GetBalanceRequest, context: Context) -> pb.GetBalanceResponse:
        within = request.expiring_within
        found = await self._read(
            self._ledger.balances,
            tenant_of(context),
            request.account_id,
            request.asset or None,
            as_of=given_instant("as_of", request),
            expiring_within=length_of("expiring_within", within) if request.HasField("expiring_within") else None,
        )
        return pb.GetBalanceResponse(
            balances=[messages.balance_message(balance) for balance in found.balances],
            as_of=timestamp(found.as_of),
        )

    async def ListLots(self, request: pb.ListLotsRequest, context: Context) -> pb.ListLotsResponse:
        page = await self._read(
            self._ledger.lots,
            account_name(tenant_of(context), request.account_id, request.asset),
            include_empty=request.include_empty,
            as_of=given_instant("as_of", request),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListLotsResponse(
            lots=[messages.lot_message(page.name.key, lot) for lot in page.lots],
            next_page_token=page.next_page_token,
            as_of=timestamp(page.as_of),
        )

    async def ListHolds(self, request: pb.ListHoldsRequest, context: Context) -> pb.ListHoldsResponse:
        page = await self._read(
            self._ledger.holds,
            account_name(tenant_of(context), request.account_id, request.asset),
            state=STATES("state", request.state) if request.state else None,
            as_of=given_instant("as_of", request),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListHoldsResponse(
            holds=[messages.hold_message(page.balance.name.key, hold) for hold in page.holds],
            next_page_token=page.next_page_token,
            balance=messages.balance_message(page.balance),
            as_of=timestamp(page.as_of),
        )

    async def History(self, request: pb.HistoryRequest, context: Context) -> pb.HistoryResponse:
        name = account_name(tenant_of(context), request.account_id, request.asset)
        page = await self._read(
            self._ledger.history,
            name,
            page_size=request.page_size,
            page_token=request.page_token,
            wanted=history_filter(request, name),
        )
        return pb.HistoryResponse(
            entries=[messages.entry_message(entry, page.name, page.scale) for entry in page.entries],
            next_page_token=page.next_page_token,
        )
