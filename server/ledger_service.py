"""LedgerService: the books, for finance and administrators."""

from scrip.v1 import ledger_service_pb2 as pb
from scrip.v1.ledger_service_pb2_grpc import LedgerServiceServicer

from ledger import Ledger
from server import messages
from server.answering import Context, Reader, answering, tenant_of
from server.requests import given_instant, policy_of
from server.times import malformed, timestamp


@answering
class LedgerService(LedgerServiceServicer):
    """Answers from the ledger; every rule is there."""

    def __init__(self, ledger: Ledger, read: Reader, read_all: Reader) -> None:
        self._ledger = ledger
        self._read = read
        self._read_all = read_all

    async def TrialBalance(self, request: pb.TrialBalanceRequest, context: Context) -> pb.TrialBalanceResponse:
        as_of = given_instant("as_of", request)
        found = await self._read_all(self._ledger.trial_balance, tenant_of(context), request.asset or None, as_of=as_of)
        return pb.TrialBalanceResponse(
            assets=[messages.trial_balance_message(balance) for balance in found.assets],
            as_of=timestamp(found.as_of),
        )

    async def MoneyTrialBalance(
        self, request: pb.MoneyTrialBalanceRequest, context: Context
    ) -> pb.MoneyTrialBalanceResponse:
        as_of = given_instant("as_of", request)
        found = await self._read_all(
            self._ledger.money_trial_balance, tenant_of(context), request.currency or None, as_of=as_of
        )
        return pb.MoneyTrialBalanceResponse(
            currencies=[messages.currency_trial_balance_message(balance) for balance in found.currencies],
            as_of=timestamp(found.as_of),
        )

    async def RevenueReport(self, request: pb.RevenueReportRequest, context: Context) -> pb.RevenueReportResponse:
        since, until = given_instant("since", request), given_instant("until", request)
        if since is None:
            raise malformed("since", "must be given.")
        found = await self._read_all(self._ledger.revenue, tenant_of(context), since, until)
        return messages.revenue_message(found)

    async def GetEntry(self, request: pb.GetEntryRequest, context: Context) -> pb.GetEntryResponse:
        found = await self._read(self._ledger.entry, tenant_of(context), request.entry_id)
        return pb.GetEntryResponse(entry=messages.entry_message(found.entry, found.name, found.scale))

    async def Explain(self, request: pb.ExplainRequest, context: Context) -> pb.ExplainResponse:
        found = await self._read(self._ledger.explain, tenant_of(context), request.entry_id)
        return messages.explanation_message(found)

    async def Audit(self, request: pb.AuditRequest, context: Context) -> pb.AuditResponse:
        report = await self._read_all(
            self._ledger.audit, tenant_of(context), request.account_id or None, request.asset or None
        )
        return pb.AuditResponse(
            clean=report.findings_total == 0,
            findings=report.findings,
            findings_total=report.findings_total,
            accounts=report.accounts,
            entries=report.entries,
            as_of=timestamp(report.as_of),
        )

    async def DefineAsset(self, request: pb.DefineAssetRequest, context: Context) -> pb.DefineAssetResponse:
        asset = await self._read(self._ledger.define_asset, tenant_of(context), request.asset, request.scale)
        return pb.DefineAssetResponse(asset=messages.asset_message(asset))

    async def ConfigureAsset(self, request: pb.ConfigureAssetRequest, context: Context) -> pb.ConfigureAssetResponse:
        asset = await self._read(
            self._ledger.configure_asset, tenant_of(context), request.asset, policy_of(request.policy)
        )
        return pb.ConfigureAssetResponse(asset=messages.asset_message(asset))

    async def ListAssets(self, _request: pb.ListAssetsRequest, context: Context) -> pb.ListAssetsResponse:
        found = await self._read(self._ledger.assets, tenant_of(context))
        return pb.ListAssetsResponse(assets=[messages.asset_message(asset) for asset in found])
