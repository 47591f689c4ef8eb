"""AccountService: administration."""

from collections.abc import AsyncGenerator, AsyncIterator

from scrip.v1 import account_service_pb2 as pb
from scrip.v1 import accounts_pb2 as accounts_pb
from scrip.v1.account_service_pb2_grpc import AccountServiceServicer

from ledger import Ledger
from server import messages
from server.answering import Context, Reader, answering, tenant_of
from server.changes import Changes
from server.requests import account_name


@answering
class AccountService(AccountServiceServicer):
    """Answers from the ledger; every rule is there."""

    def __init__(self, ledger: Ledger, read: Reader, changes: Changes) -> None:
        self._ledger = ledger
        self._read = read
        self._changes = changes

    async def GetAccount(self, request: pb.GetAccountRequest, context: Context) -> pb.GetAccountResponse:
        name = account_name(tenant_of(context), request.account_id, request.asset)
        found = await self._read(self._ledger.account, name)
        return pb.GetAccountResponse(account=messages.account_message(found))

    async def UpdateAccount(
        self, request: accounts_pb.UpdateAccountRequest, context: Context
    ) -> accounts_pb.UpdateAccountResponse:
        return await self._changes.one(request, accounts_pb.UpdateAccountResponse, context)

    async def FreezeAccount(
        self, request: accounts_pb.FreezeAccountRequest, context: Context
    ) -> accounts_pb.FreezeAccountResponse:
        return await self._changes.one(request, accounts_pb.FreezeAccountResponse, context)

    async def UnfreezeAccount(
        self, request: accounts_pb.UnfreezeAccountRequest, context: Context
    ) -> accounts_pb.UnfreezeAccountResponse:
        return await self._changes.one(request, accounts_pb.UnfreezeAccountResponse, context)

    async def CloseAccount(
        self, request: accounts_pb.CloseAccountRequest, context: Context
    ) -> accounts_pb.CloseAccountResponse:
        return await self._changes.one(request, accounts_pb.CloseAccountResponse, context)

    async def MergeAccounts(
        self, request: accounts_pb.MergeAccountsRequest, context: Context
    ) -> accounts_pb.MergeAccountsResponse:
        return await self._changes.one(request, accounts_pb.MergeAccountsResponse, context)

    async def Revoke(self, request: accounts_pb.RevokeRequest, context: Context) -> accounts_pb.RevokeResponse:
        return await self._changes.one(request, accounts_pb.RevokeResponse, context)

    async def Adjust(self, request: accounts_pb.AdjustRequest, context: Context) -> accounts_pb.AdjustResponse:
        return await self._changes.one(request, accounts_pb.AdjustResponse, context)

    async def WriteOff(self, request: accounts_pb.WriteOffRequest, context: Context) -> accounts_pb.WriteOffResponse:
        return await self._changes.one(request, accounts_pb.WriteOffResponse, context)

    async def BulkGrant(
        self, requests: AsyncIterator[pb.BulkGrantRequest], context: Context
    ) -> AsyncGenerator[pb.BulkGrantResponse, None]:
        async for answer in self._changes.stream(requests, context):
            yield answer
