"""Calls that define what is counted, and show and prove the books, of credits and of money."""

from datetime import datetime

from scrip import arguments
from scrip.calls.call import Call
from scrip.terms import Welcome
from scrip.v1.ledger_service_pb2 import (
    Asset,
    AssetPolicy,
    AuditRequest,
    AuditResponse,
    ConfigureAssetRequest,
    DefineAssetRequest,
    ExplainRequest,
    ExplainResponse,
    GetEntryRequest,
    ListAssetsRequest,
    MoneyTrialBalanceRequest,
    MoneyTrialBalanceResponse,
    RevenueReportRequest,
    RevenueReportResponse,
    TrialBalanceRequest,
    TrialBalanceResponse,
)
from scrip.v1.ledger_service_pb2 import Welcome as WelcomeMessage
from scrip.v1.types_pb2 import Entry

AUDIT_DEADLINE_S = 600.0
REPORT_DEADLINE_S = 60.0


def define_asset(asset: str, *, scale: int = 0, deadline_s: float | None = None) -> Call[Asset]:
    """Define something that can be counted; the same definition again changes nothing.

    asset     1 to 63 characters: a lower-case letter, then lower-case letters, digits, "_", "-" or "."
    scale     decimal places, 0 to 18; fixed for ever
    refused   AssetExists
    """
    request = DefineAssetRequest(
        asset=arguments.text("asset", asset),
        scale=arguments.whole("scale", scale, arguments.INT32),
    )
    return Call(rpc="DefineAsset", request=request, read=lambda response: response.asset, deadline_s=deadline_s)


def configure_asset(
    asset: str,
    *,
    auto_open: bool = False,
    welcome: Welcome | WelcomeMessage | None = None,
    free_credits_repay_debt: bool = False,
    default_card: str = "",
    deadline_s: float | None = None,
) -> Call[Asset]:
    """Set all settings of an asset, from now on; what is written already stays.

    auto_open                 True: the first change that names an account opens it, in the same step
    welcome                   what an account is granted when it is opened, such as scrip.Welcome(amount=100); None for
                              nothing
    free_credits_repay_debt   True: grants that are free repay what is owed, as paid ones always do
    default_card              the rate card that prices usage for which none is found; empty: such usage is refused
    refused                   AssetNotFound
    """
    request = ConfigureAssetRequest(
        asset=arguments.text("asset", asset),
        policy=AssetPolicy(
            auto_open=arguments.truth("auto_open", auto_open),
            welcome=arguments.welcome("welcome", welcome),
            free_credits_repay_debt=arguments.truth("free_credits_repay_debt", free_credits_repay_debt),
            default_card=arguments.text("default_card", default_card),
        ),
    )
    return Call(rpc="ConfigureAsset", request=request, read=lambda response: response.asset, deadline_s=deadline_s)


def assets(*, deadline_s: float | None = None) -> Call[tuple[Asset, ...]]:
    """List the assets in order of their names."""
    return Call(
        rpc="ListAssets",
        request=ListAssetsRequest(),
        read=lambda response: tuple(response.assets),
        deadline_s=deadline_s,
    )


def trial_balance(
    *, asset: str | None = None, as_of: datetime | None = None, deadline_s: float | None = None
) -> Call[TrialBalanceResponse]:
    """Add up all that was debited and credited, per asset and code. The sums are texts of digits, in smallest units.

    asset     one asset; None for all
    as_of     an instant that is past; None for now
    refused   InstantInFuture, AssetNotFound, in that order
    """
    request = TrialBalanceRequest(
        asset="" if asset is None else arguments.named("asset", asset),
        as_of=arguments.instant("as_of", as_of),
    )
    return Call(rpc="TrialBalance", request=request, deadline_s=deadline_s)


def money_trial_balance(
    *, currency: str | None = None, as_of: datetime | None = None, deadline_s: float | None = REPORT_DEADLINE_S
) -> Call[MoneyTrialBalanceResponse]:
    """Add up what was paid for credits, and what became of it, per currency and code.

    The sums are texts of digits, in minor units of the currency.

    currency     an ISO 4217 code; None for all
    as_of        an instant that is past; None for now
    deadline_s   a minute unless said otherwise, because it adds up all that happened; None for the client's own
    refused      InstantInFuture
    """
    request = MoneyTrialBalanceRequest(
        currency="" if currency is None else arguments.named("currency", currency),
        as_of=arguments.instant("as_of", as_of),
    )
    return Call(rpc="MoneyTrialBalance", request=request, deadline_s=deadline_s)


def revenue(
    since: datetime, until: datetime | None = None, *, deadline_s: float | None = REPORT_DEADLINE_S
) -> Call[RevenueReportResponse]:
    """Show how deferred revenue moved in a stretch of time, per package and currency.

    Of each: opening + sold - recognised - expired - returned - adjusted - transferred = closing. These are texts of
    digits, in minor units of the currency; what was granted free is shown apart.

    since        the first instant of the stretch
    until        the first instant after it, not in the future; None for now
    deadline_s   a minute unless said otherwise, because it adds up all that happened; None for the client's own
    refused      InstantInFuture
    """
    request = RevenueReportRequest(since=arguments.instant("since", since), until=arguments.instant("until", until))
    return Call(rpc="RevenueReport", request=request, deadline_s=deadline_s)


def entry(entry_id: str, *, deadline_s: float | None = None) -> Call[Entry]:
    """Show one entry with its lines.

    entry_id   as a change or the history named it
    refused    EntryNotFound
    """
    request = GetEntryRequest(entry_id=arguments.text("entry_id", entry_id))
    return Call(rpc="GetEntry", request=request, read=lambda response: response.entry, deadline_s=deadline_s)


def explain(entry_id: str, *, deadline_s: float | None = None) -> Call[ExplainResponse]:
    """Tell why an entry has the lines it has: which lots burnt, by which rule, which could not, which limits counted.

    entry_id   as a change or the history named it
    refused    EntryNotFound
    """
    request = ExplainRequest(entry_id=arguments.text("entry_id", entry_id))
    return Call(rpc="Explain", request=request, deadline_s=deadline_s)


def audit(
    account_id: str | None = None, *, asset: str | None = None, deadline_s: float | None = AUDIT_DEADLINE_S
) -> Call[AuditResponse]:
    """Recompute the books from their lines and tell what does not agree.

    account_id   one customer; None for the whole books, totals included
    asset        one asset of that customer; None for all
    deadline_s   10 minutes unless said otherwise, because it reads every entry in scope; None for the client's own
    refused      AssetNotFound, AccountNotFound, in that order
    """
    request = AuditRequest(
        account_id="" if account_id is None else arguments.named("account_id", account_id),
        asset="" if asset is None else arguments.named("asset", asset),
    )
    return Call(rpc="Audit", request=request, deadline_s=deadline_s)
