"""One example, or a few, of each call: what is asked of a client, the request, the response, and the answer."""

from datetime import UTC, datetime, timedelta, timezone

import scrip
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from scrip.v1 import account_service_pb2 as account
from scrip.v1 import accounts_pb2 as accounts
from scrip.v1 import credit_service_pb2 as credit
from scrip.v1 import ledger_service_pb2 as ledger

MEMO = {"description": "pack of 100", "reference": "order-7", "actor": "anna", "metadata": {"shop": "eu"}}
WRITTEN_MEMO = scrip.Memo(**MEMO)
BALANCE = scrip.Balance(account_id="acme", asset="credits", available=40, held=60)
ENTRY = scrip.Entry(entry_id="en_1", seq=1)
LOT = scrip.Lot(lot_id="lt_1", remaining=40)
HOLD = scrip.ListedHold(hold_id="hd_1", held=60)
ACCOUNT = scrip.Account(account_id="acme", asset="credits", balance=BALANCE)
TOKENS = scrip.Asset(asset="tokens", scale=2)
NOON = datetime(2026, 2, 1, 12, tzinfo=UTC)
WRITTEN_NOON = Timestamp(seconds=1769947200)
NEWEST_FIRST = credit.HistoryRequest.ORDER_NEWEST_FIRST
ACME = {"account_id": "acme", "asset": "credits"}
CALLS_OF_ACME = {"account_id": "acme", "asset": "calls"}

CREDITS = {
    "open an account": (
        lambda client: client.open_account("acme", asset="calls", request_id="r-1", **MEMO),
        credit.OpenAccountRequest(account_id="acme", asset="calls", request_id="r-1", memo=WRITTEN_MEMO),
        credit.OpenAccountResponse(entry_id="en_1", balance=BALANCE),
        credit.OpenAccountResponse(entry_id="en_1", balance=BALANCE),
    ),
    "grant with all there is": (
        lambda client: client.grant(
            "acme",
            100,
            "purchase",
            priority=0,
            effective_at=datetime(2026, 2, 1, 1, 0, 0, 5, tzinfo=timezone(timedelta(hours=1))),
            expires_at=datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
            cost=(1999, "EUR"),
            request_id="r-1",
            **MEMO,
        ),
        credit.GrantRequest(
            account_id="acme",
            asset="credits",
            amount=100,
            source=scrip.Source.SOURCE_PURCHASE,
            priority=0,
            effective_at=Timestamp(seconds=1769904000, nanos=5000),
            expires_at=Timestamp(seconds=-1, nanos=999999000),
            cost=scrip.Money(minor_units=1999, currency="EUR"),
            request_id="r-1",
            memo=WRITTEN_MEMO,
        ),
        credit.GrantResponse(entry_id="en_1", lot_id="lt_1"),
        credit.GrantResponse(entry_id="en_1", lot_id="lt_1"),
    ),
    "grant with a ttl": (
        lambda client: client.grant(
            "acme",
            100,
            scrip.Source.SOURCE_GIFT,
            ttl=timedelta(days=1, microseconds=1),
            cost=scrip.Money(minor_units=5, currency="EUR"),
            request_id="r-1",
        ),
        credit.GrantRequest(
            account_id="acme",
            asset="credits",
            amount=100,
            source=scrip.Source.SOURCE_GIFT,
            ttl=Duration(seconds=86400, nanos=1000),
            cost=scrip.Money(minor_units=5, currency="EUR"),
            request_id="r-1",
        ),
        credit.GrantResponse(),
        credit.GrantResponse(),
    ),
    "check and deduct": (
        lambda client: client.check_and_deduct("acme", 2**63 - 1, request_id="r-1", **MEMO),
        credit.CheckAndDeductRequest(
            account_id="acme",
            asset="credits",
            amount=2**63 - 1,
            mode=credit.CheckAndDeductRequest.MODE_AUTHORIZE,
            request_id="r-1",
            memo=WRITTEN_MEMO,
        ),
        credit.CheckAndDeductResponse(replayed=True),
        credit.CheckAndDeductResponse(replayed=True),
    ),
    "capture all": (
        lambda client: client.capture("hd_1", request_id="r-1", **MEMO),
        credit.CaptureRequest(hold_id="hd_1", final=True, request_id="r-1", memo=WRITTEN_MEMO),
        credit.CaptureResponse(captured=60),
        credit.CaptureResponse(captured=60),
    ),
    "capture nothing": (
        lambda client: client.capture("hd_1", 0, request_id="r-1"),
        credit.CaptureRequest(hold_id="hd_1", amount=0, final=True, request_id="r-1"),
        credit.CaptureResponse(released=60),
        credit.CaptureResponse(released=60),
    ),
    "release": (
        lambda client: client.release("hd_1", request_id="r-1", **MEMO),
        credit.ReleaseRequest(hold_id="hd_1", request_id="r-1", memo=WRITTEN_MEMO),
        credit.ReleaseResponse(released=60),
        credit.ReleaseResponse(released=60),
    ),
    "grant within a scope": (
        lambda client: client.grant("acme", 100, "promo", scope=["image/*", "chat"], request_id="r-1", preview=True),
        credit.GrantRequest(
            **ACME,
            amount=100,
            source=scrip.Source.SOURCE_PROMO,
            scope=["image/*", "chat"],
            request_id="r-1",
            preview=True,
        ),
        credit.GrantResponse(repaid=7),
        credit.GrantResponse(repaid=7),
    ),
    "check": (
        lambda client: client.check("acme", 60, asset="calls", operation="image/generate"),
        credit.CheckRequest(**CALLS_OF_ACME, amount=60, operation="image/generate"),
        credit.CheckResponse(available=40, shortfall=20, reason="INSUFFICIENT_CREDITS"),
        credit.CheckResponse(available=40, shortfall=20, reason="INSUFFICIENT_CREDITS"),
    ),
    "deduct what is there": (
        lambda client: client.check_and_deduct("acme", 60, mode="clamp", operation="chat", request_id="r-1"),
        credit.CheckAndDeductRequest(
            **ACME, amount=60, mode=credit.CheckAndDeductRequest.MODE_CLAMP, operation="chat", request_id="r-1"
        ),
        credit.CheckAndDeductResponse(deducted=40),
        credit.CheckAndDeductResponse(deducted=40),
    ),
    "deduct in any case": (
        lambda client: client.check_and_deduct(
            "acme", 60, mode=credit.CheckAndDeductRequest.MODE_RECORD, request_id="r-1", preview=True
        ),
        credit.CheckAndDeductRequest(
            **ACME, amount=60, mode=credit.CheckAndDeductRequest.MODE_RECORD, request_id="r-1", preview=True
        ),
        credit.CheckAndDeductResponse(became_owed=20),
        credit.CheckAndDeductResponse(became_owed=20),
    ),
    "capture a part": (
        lambda client: client.capture("hd_1", 5, final=False, request_id="r-1", preview=True),
        credit.CaptureRequest(hold_id="hd_1", amount=5, final=False, request_id="r-1", preview=True),
        credit.CaptureResponse(captured=5, held=55),
        credit.CaptureResponse(captured=5, held=55),
    ),
    "increase a hold": (
        lambda client: client.increase_hold("hd_1", 5, request_id="r-1", **MEMO),
        credit.IncreaseHoldRequest(hold_id="hd_1", amount=5, request_id="r-1", memo=WRITTEN_MEMO),
        credit.IncreaseHoldResponse(held=65),
        credit.IncreaseHoldResponse(held=65),
    ),
    "extend a hold": (
        lambda client: client.extend_hold("hd_1", timedelta(hours=1), request_id="r-1", **MEMO),
        credit.ExtendHoldRequest(hold_id="hd_1", ttl=Duration(seconds=3600), request_id="r-1", memo=WRITTEN_MEMO),
        credit.ExtendHoldResponse(expires_at=WRITTEN_NOON),
        credit.ExtendHoldResponse(expires_at=WRITTEN_NOON),
    ),
    "refund all": (
        lambda client: client.refund("en_1", request_id="r-1", **MEMO),
        credit.RefundRequest(
            entry_id="en_1",
            expired_lots=credit.RefundRequest.EXPIRED_LOTS_TO_ORIGINAL_LOT,
            request_id="r-1",
            memo=WRITTEN_MEMO,
        ),
        credit.RefundResponse(refunded=60),
        credit.RefundResponse(refunded=60),
    ),
    "refund a part to lots that last": (
        lambda client: client.refund("en_1", 5, expired_lots="extend", lot_ttl=timedelta(days=1), request_id="r-1"),
        credit.RefundRequest(
            entry_id="en_1",
            amount=5,
            expired_lots=credit.RefundRequest.EXPIRED_LOTS_EXTEND,
            lot_ttl=Duration(seconds=86400),
            request_id="r-1",
        ),
        credit.RefundResponse(refunded=5),
        credit.RefundResponse(refunded=5),
    ),
    "transfer": (
        lambda client: client.transfer("acme", "bob", 5, asset="calls", request_id="r-1", **MEMO),
        credit.TransferRequest(**CALLS_OF_ACME, to_account_id="bob", amount=5, request_id="r-1", memo=WRITTEN_MEMO),
        credit.TransferResponse(entry_id="en_1", to_entry_id="en_2"),
        credit.TransferResponse(entry_id="en_1", to_entry_id="en_2"),
    ),
}

READS = {
    "balance of one asset": (
        lambda client: client.balance("acme"),
        credit.GetBalanceRequest(account_id="acme", asset="credits"),
        credit.GetBalanceResponse(balances=[BALANCE]),
        BALANCE,
    ),
    "balances of all assets": (
        lambda client: client.balances("acme"),
        credit.GetBalanceRequest(account_id="acme"),
        credit.GetBalanceResponse(balances=[BALANCE, BALANCE]),
        (BALANCE, BALANCE),
    ),
    "one page of the history": (
        lambda client: client.history_page("acme", asset="calls", page_size=2, page_token="t"),
        credit.HistoryRequest(account_id="acme", asset="calls", page_size=2, page_token="t", order=NEWEST_FIRST),
        credit.HistoryResponse(entries=[ENTRY], next_page_token="u"),
        credit.HistoryResponse(entries=[ENTRY], next_page_token="u"),
    ),
    "balance at noon": (
        lambda client: client.balance("acme", as_of=NOON, expiring_within=timedelta(days=7)),
        credit.GetBalanceRequest(**ACME, as_of=WRITTEN_NOON, expiring_within=Duration(seconds=604800)),
        credit.GetBalanceResponse(balances=[BALANCE]),
        BALANCE,
    ),
    "balances at noon": (
        lambda client: client.balances("acme", as_of=NOON, expiring_within=timedelta(days=7)),
        credit.GetBalanceRequest(account_id="acme", as_of=WRITTEN_NOON, expiring_within=Duration(seconds=604800)),
        credit.GetBalanceResponse(balances=[BALANCE]),
        (BALANCE,),
    ),
    "one page of the lots": (
        lambda client: client.lots_page("acme", include_empty=True, as_of=NOON, page_size=2, page_token="t"),
        credit.ListLotsRequest(**ACME, include_empty=True, as_of=WRITTEN_NOON, page_size=2, page_token="t"),
        credit.ListLotsResponse(lots=[LOT], next_page_token="u"),
        credit.ListLotsResponse(lots=[LOT], next_page_token="u"),
    ),
    "one page of the holds, with the balance": (
        lambda client: client.holds_page("acme", state="open", as_of=NOON, page_size=2, page_token="t"),
        credit.ListHoldsRequest(
            **ACME, state=scrip.ListedHold.STATE_OPEN, as_of=WRITTEN_NOON, page_size=2, page_token="t"
        ),
        credit.ListHoldsResponse(holds=[HOLD], balance=BALANCE),
        credit.ListHoldsResponse(holds=[HOLD], balance=BALANCE),
    ),
    "one page of the history, filtered": (
        lambda client: client.history_page(
            "acme",
            kinds=["deduct", scrip.Entry.KIND_GRANT],
            since=NOON,
            until=NOON + timedelta(seconds=1),
            reference="order-7",
            operation="chat",
            lot_id="lt_1",
            hold_id="hd_1",
            order="oldest_first",
            without_lines=True,
        ),
        credit.HistoryRequest(
            **ACME,
            kinds=[scrip.Entry.KIND_DEDUCT, scrip.Entry.KIND_GRANT],
            since=WRITTEN_NOON,
            until=Timestamp(seconds=WRITTEN_NOON.seconds + 1),
            reference="order-7",
            operation="chat",
            lot_id="lt_1",
            hold_id="hd_1",
            order=credit.HistoryRequest.ORDER_OLDEST_FIRST,
            without_lines=True,
        ),
        credit.HistoryResponse(entries=[ENTRY]),
        credit.HistoryResponse(entries=[ENTRY]),
    ),
    "account": (
        lambda client: client.account("acme", asset="calls"),
        account.GetAccountRequest(**CALLS_OF_ACME),
        account.GetAccountResponse(account=ACCOUNT),
        ACCOUNT,
    ),
}

ADMINISTRATION = {
    "update nothing": (
        lambda client: client.update_account("acme", request_id="r-1", **MEMO),
        accounts.UpdateAccountRequest(**ACME, request_id="r-1", memo=WRITTEN_MEMO),
        accounts.UpdateAccountResponse(entry_id="en_1"),
        accounts.UpdateAccountResponse(entry_id="en_1"),
    ),
    "update to what is false and empty": (
        lambda client: client.update_account(
            "acme", overdraft_limit=0, unlimited=False, limits=[], account_metadata={}, request_id="r-1"
        ),
        accounts.UpdateAccountRequest(
            **ACME,
            overdraft_limit=0,
            unlimited=False,
            limits=accounts.SpendLimits(),
            metadata=accounts.Metadata(),
            request_id="r-1",
        ),
        accounts.UpdateAccountResponse(),
        accounts.UpdateAccountResponse(),
    ),
    "update all there is": (
        lambda client: client.update_account(
            "acme",
            overdraft_limit=50,
            unlimited=True,
            time_zone="Europe/Berlin",
            limits=[
                scrip.SpendLimit(name="daily", amount=100, window="day"),
                scrip.SpendLimit(name="burst", amount=10, window=timedelta(minutes=5), operation="image/*"),
                accounts.SpendLimit(name="monthly", amount=900, window=accounts.SpendLimit.WINDOW_MONTH),
            ],
            account_metadata={"plan": "gold"},
            metadata={"ticket": "7"},
            request_id="r-1",
            preview=True,
        ),
        accounts.UpdateAccountRequest(
            **ACME,
            overdraft_limit=50,
            unlimited=True,
            time_zone="Europe/Berlin",
            limits=accounts.SpendLimits(
                limits=[
                    accounts.SpendLimit(name="daily", amount=100, window=accounts.SpendLimit.WINDOW_DAY),
                    accounts.SpendLimit(
                        name="burst",
                        amount=10,
                        window=accounts.SpendLimit.WINDOW_ROLLING,
                        length=Duration(seconds=300),
                        operation="image/*",
                    ),
                    accounts.SpendLimit(name="monthly", amount=900, window=accounts.SpendLimit.WINDOW_MONTH),
                ]
            ),
            metadata=accounts.Metadata(pairs={"plan": "gold"}),
            memo=scrip.Memo(metadata={"ticket": "7"}),
            request_id="r-1",
            preview=True,
        ),
        accounts.UpdateAccountResponse(),
        accounts.UpdateAccountResponse(),
    ),
    "freeze": (
        lambda client: client.freeze_account("acme", asset="calls", request_id="r-1", **MEMO),
        accounts.FreezeAccountRequest(**CALLS_OF_ACME, request_id="r-1", memo=WRITTEN_MEMO),
        accounts.FreezeAccountResponse(entry_id="en_1"),
        accounts.FreezeAccountResponse(entry_id="en_1"),
    ),
    "unfreeze": (
        lambda client: client.unfreeze_account("acme", asset="calls", request_id="r-1", **MEMO),
        accounts.UnfreezeAccountRequest(**CALLS_OF_ACME, request_id="r-1", memo=WRITTEN_MEMO),
        accounts.UnfreezeAccountResponse(entry_id="en_1"),
        accounts.UnfreezeAccountResponse(entry_id="en_1"),
    ),
    "close": (
        lambda client: client.close_account("acme", asset="calls", request_id="r-1", **MEMO),
        accounts.CloseAccountRequest(**CALLS_OF_ACME, request_id="r-1", memo=WRITTEN_MEMO),
        accounts.CloseAccountResponse(entry_id="en_1"),
        accounts.CloseAccountResponse(entry_id="en_1"),
    ),
    "merge": (
        lambda client: client.merge_accounts("lead-1", "acme", request_id="r-1", **MEMO),
        accounts.MergeAccountsRequest(
            account_id="lead-1", asset="credits", into_account_id="acme", request_id="r-1", memo=WRITTEN_MEMO
        ),
        accounts.MergeAccountsResponse(moved=40),
        accounts.MergeAccountsResponse(moved=40),
    ),
    "revoke all": (
        lambda client: client.revoke("lt_1", spent="owe", request_id="r-1", **MEMO),
        accounts.RevokeRequest(
            lot_id="lt_1", spent=accounts.RevokeRequest.SPENT_OWE, request_id="r-1", memo=WRITTEN_MEMO
        ),
        accounts.RevokeResponse(revoked=100),
        accounts.RevokeResponse(revoked=100),
    ),
    "revoke a part": (
        lambda client: client.revoke("lt_1", 5, spent="leave", request_id="r-1"),
        accounts.RevokeRequest(lot_id="lt_1", amount=5, spent=accounts.RevokeRequest.SPENT_LEAVE, request_id="r-1"),
        accounts.RevokeResponse(revoked=5),
        accounts.RevokeResponse(revoked=5),
    ),
    "adjust": (
        lambda client: client.adjust("acme", 5, "down", request_id="r-1", **MEMO),
        accounts.AdjustRequest(
            **ACME,
            amount=5,
            direction=accounts.AdjustRequest.DIRECTION_DOWN,
            request_id="r-1",
            memo=WRITTEN_MEMO,
        ),
        accounts.AdjustResponse(entry_id="en_1"),
        accounts.AdjustResponse(entry_id="en_1"),
    ),
    "write off all": (
        lambda client: client.write_off("acme", request_id="r-1", **MEMO),
        accounts.WriteOffRequest(**ACME, request_id="r-1", memo=WRITTEN_MEMO),
        accounts.WriteOffResponse(written_off=20),
        accounts.WriteOffResponse(written_off=20),
    ),
    "write off a part": (
        lambda client: client.write_off("acme", 5, asset="calls", request_id="r-1", **MEMO),
        accounts.WriteOffRequest(**CALLS_OF_ACME, amount=5, request_id="r-1", memo=WRITTEN_MEMO),
        accounts.WriteOffResponse(written_off=5),
        accounts.WriteOffResponse(written_off=5),
    ),
}

BOOKS = {
    "define an asset": (
        lambda client: client.define_asset("tokens", scale=2),
        ledger.DefineAssetRequest(asset="tokens", scale=2),
        ledger.DefineAssetResponse(asset=TOKENS),
        TOKENS,
    ),
    "list the assets": (
        lambda client: client.assets(),
        ledger.ListAssetsRequest(),
        ledger.ListAssetsResponse(assets=[TOKENS]),
        (TOKENS,),
    ),
    "trial balance of all": (
        lambda client: client.trial_balance(),
        ledger.TrialBalanceRequest(),
        ledger.TrialBalanceResponse(),
        ledger.TrialBalanceResponse(),
    ),
    "trial balance of one asset": (
        lambda client: client.trial_balance(asset="calls"),
        ledger.TrialBalanceRequest(asset="calls"),
        ledger.TrialBalanceResponse(),
        ledger.TrialBalanceResponse(),
    ),
    "one entry": (
        lambda client: client.entry("en_1"),
        ledger.GetEntryRequest(entry_id="en_1"),
        ledger.GetEntryResponse(entry=ENTRY),
        ENTRY,
    ),
    "audit of all": (
        lambda client: client.audit(),
        ledger.AuditRequest(),
        ledger.AuditResponse(clean=True),
        ledger.AuditResponse(clean=True),
    ),
    "audit of one account": (
        lambda client: client.audit("acme", asset="calls"),
        ledger.AuditRequest(account_id="acme", asset="calls"),
        ledger.AuditResponse(clean=True),
        ledger.AuditResponse(clean=True),
    ),
    "configure an asset": (
        lambda client: client.configure_asset(
            "tokens",
            auto_open=True,
            welcome=scrip.Welcome(amount=50, source="promo", ttl=timedelta(days=30)),
            free_credits_repay_debt=True,
        ),
        ledger.ConfigureAssetRequest(
            asset="tokens",
            policy=ledger.AssetPolicy(
                auto_open=True,
                welcome=ledger.Welcome(amount=50, source=scrip.Source.SOURCE_PROMO, ttl=Duration(seconds=2592000)),
                free_credits_repay_debt=True,
            ),
        ),
        ledger.ConfigureAssetResponse(asset=TOKENS),
        TOKENS,
    ),
    "configure an asset as another is": (
        lambda client: client.configure_asset("tokens", welcome=ledger.Welcome(amount=50)),
        ledger.ConfigureAssetRequest(asset="tokens", policy=ledger.AssetPolicy(welcome=ledger.Welcome(amount=50))),
        ledger.ConfigureAssetResponse(asset=TOKENS),
        TOKENS,
    ),
    "configure an asset to have no settings": (
        lambda client: client.configure_asset("tokens"),
        ledger.ConfigureAssetRequest(asset="tokens", policy=ledger.AssetPolicy()),
        ledger.ConfigureAssetResponse(asset=TOKENS),
        TOKENS,
    ),
    "trial balance at noon": (
        lambda client: client.trial_balance(as_of=NOON),
        ledger.TrialBalanceRequest(as_of=WRITTEN_NOON),
        ledger.TrialBalanceResponse(),
        ledger.TrialBalanceResponse(),
    ),
    "explain": (
        lambda client: client.explain("en_1"),
        ledger.ExplainRequest(entry_id="en_1"),
        ledger.ExplainResponse(entry=ENTRY),
        ledger.ExplainResponse(entry=ENTRY),
    ),
}

EXAMPLES = CREDITS | READS | ADMINISTRATION | BOOKS
