from datetime import UTC, datetime, timedelta, timezone

import pytest
import scrip
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from scrip.v1 import credit_service_pb2 as credit
from scrip.v1 import ledger_service_pb2 as ledger

MEMO = {"description": "pack of 100", "reference": "order-7", "actor": "anna", "metadata": {"shop": "eu"}}
WRITTEN_MEMO = scrip.Memo(**MEMO)
BALANCE = scrip.Balance(account_id="acme", asset="credits", available=40, held=60)
ENTRY = scrip.Entry(entry_id="en_1", seq=1)
TOKENS = scrip.Asset(asset="tokens", scale=2)

CALLS = {
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
            account_id="acme", asset="credits", amount=2**63 - 1, request_id="r-1", memo=WRITTEN_MEMO
        ),
        credit.CheckAndDeductResponse(replayed=True),
        credit.CheckAndDeductResponse(replayed=True),
    ),
    "capture all": (
        lambda client: client.capture("hd_1", request_id="r-1", **MEMO),
        credit.CaptureRequest(hold_id="hd_1", request_id="r-1", memo=WRITTEN_MEMO),
        credit.CaptureResponse(captured=60),
        credit.CaptureResponse(captured=60),
    ),
    "capture nothing": (
        lambda client: client.capture("hd_1", 0, request_id="r-1"),
        credit.CaptureRequest(hold_id="hd_1", amount=0, request_id="r-1"),
        credit.CaptureResponse(released=60),
        credit.CaptureResponse(released=60),
    ),
    "release": (
        lambda client: client.release("hd_1", request_id="r-1", **MEMO),
        credit.ReleaseRequest(hold_id="hd_1", request_id="r-1", memo=WRITTEN_MEMO),
        credit.ReleaseResponse(released=60),
        credit.ReleaseResponse(released=60),
    ),
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
        credit.HistoryRequest(account_id="acme", asset="calls", page_size=2, page_token="t"),
        credit.HistoryResponse(entries=[ENTRY], next_page_token="u"),
        credit.HistoryResponse(entries=[ENTRY], next_page_token="u"),
    ),
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
}


@pytest.mark.parametrize(("do", "request_", "response", "answer"), CALLS.values(), ids=CALLS)
def test_a_call_sends_its_arguments_and_answers_with_the_message(
    way, script, target, *, do, request_, response, answer
):
    rpc = type(request_).__name__.removesuffix("Request")
    script.answer(rpc, response)

    answered = way.ask(target, do)

    assert answered == answer
    assert script.requests(rpc) == [request_]


@pytest.mark.parametrize("name", sorted(set(scrip.Source.keys()) - {"SOURCE_UNSPECIFIED"}))
def test_every_source_has_a_name_for_grants(way, script, target, name):
    script.answer("Grant", credit.GrantResponse())

    way.ask(target, lambda client: client.grant("acme", 1, name.removeprefix("SOURCE_").lower()))

    assert script.requests("Grant")[0].source == scrip.Source.Value(name)


def test_a_change_without_a_request_id_gets_one_of_its_own(script, target):
    script.answer("CheckAndDeduct", *[credit.CheckAndDeductResponse()] * 3)

    with scrip.Client(target) as client:
        for _ in range(3):
            client.check_and_deduct("acme", 1)

    request_ids = {request.request_id for request in script.requests("CheckAndDeduct")}
    assert len(request_ids) == 3
    assert "" not in request_ids


def test_every_call_has_a_deadline(way, script, target):
    script.answer("GetBalance", credit.GetBalanceResponse(balances=[BALANCE]))

    way.ask(target, lambda client: client.balance("acme"))

    assert 3 < script.asked[0].seconds_left < 5.5


def test_a_client_may_have_another_deadline_and_a_call_again_another(way, script, target):
    script.answer("GetBalance", *[credit.GetBalanceResponse(balances=[BALANCE])] * 2)

    way.ask(target, lambda client: client.balance("acme"), deadline_s=50)
    way.ask(target, lambda client: client.balance("acme", deadline_s=20), deadline_s=50)

    assert [round(asked.seconds_left, -1) for asked in script.asked] == [50, 20]


def test_an_audit_is_given_time(way, script, target):
    script.answer("Audit", ledger.AuditResponse())

    way.ask(target, lambda client: client.audit())

    assert script.asked[0].seconds_left > 500


def test_history_goes_through_all_pages_newest_first(way, script, target):
    entries = [scrip.Entry(entry_id=f"en_{n}", seq=n) for n in (5, 4, 3, 2, 1)]
    script.answer(
        "History",
        credit.HistoryResponse(entries=entries[:2], next_page_token="a"),
        credit.HistoryResponse(entries=entries[2:4], next_page_token="b"),
        credit.HistoryResponse(entries=entries[4:]),
    )

    found = way.walk(target, lambda client: client.history("acme", asset="calls", page_size=2, deadline_s=4))

    assert found == entries
    assert script.requests("History") == [
        credit.HistoryRequest(account_id="acme", asset="calls", page_size=2, page_token=token)
        for token in ("", "a", "b")
    ]
    assert all(asked.seconds_left < 4.5 for asked in script.asked)


def test_history_asks_for_a_page_only_when_it_is_needed(script, target):
    page = credit.HistoryResponse(entries=[scrip.Entry(seq=2), scrip.Entry(seq=1)], next_page_token="a")
    script.answer("History", page)

    with scrip.Client(target) as client:
        newest = next(client.history("acme"))

    assert newest.seq == 2
    assert len(script.asked) == 1


def test_an_account_without_entries_has_an_empty_history(way, script, target):
    script.answer("History", credit.HistoryResponse())

    assert way.walk(target, lambda client: client.history("acme")) == []


def test_a_page_may_be_larger_than_four_mebibytes(way, script, target):
    long = scrip.Entry(memo=scrip.Memo(description="x" * 500))
    script.answer("History", credit.HistoryResponse(entries=[long] * 20_000))

    assert len(way.walk(target, lambda client: client.history("acme"))) == 20_000
