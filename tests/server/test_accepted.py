"""What looks odd and is allowed is taken as it is, and given back so."""

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from scrip.v1.types_pb2 import Memo

from tests.books import START
from tests.server.asking import told

INT64_MAX = 2**63 - 1
START_S = int(START.timestamp())

ODD_IDS = [
    " ",
    " acme ",
    "a/b",
    "../../etc/passwd",
    "100%",
    "%s%n{account_id}",
    "'; DROP TABLE entries; --",
    '"}],"account_key":{"$ne":null}',
    r"\x00\u0000\n",
    "=cmd|' /C calc'!A0",
    "<script>alert(1)</script>",
    "null",
    "0",
    "-",
    "~" * 128,
]
ODD_TEXTS = [
    "😀",
    "\u202eemca",
    "two\nlines",
    "tab\there",
    "a\u0301",
    "\ufeff",
    "\x1b[31m",
    "'; DROP TABLE entries; --",
    "#",
    "=1+1",
]


def test_an_id_is_any_printable_ascii_and_comes_back_as_it_was(ask):
    for text in ODD_IDS:
        ask("OpenAccount", account_id=text, request_id=text)
        granted = ask("Grant", account_id=text, request_id=f"{text[:127]}g", amount=7)

        (balance,) = ask("GetBalance", account_id=text).balances
        entries = ask("History", account_id=text).entries
        assert (balance.account_id, balance.available) == (text, 7)
        assert [entry.request_id for entry in entries] == [f"{text[:127]}g", text]
        assert ask("GetEntry", entry_id=granted.entry_id).entry == entries[0]
        assert ask("Audit", account_id=text).clean


def test_accounts_whose_names_and_assets_run_together_are_different(ask):
    ask("DefineAsset", asset="a")
    ask("DefineAsset", asset="a.b")
    for n, (asset, account_id) in enumerate(
        [("a", "b/c"), ("a", "b"), ("a.b", "c"), ("a", "/b/c"), ("a", "B")], start=1
    ):
        ask("OpenAccount", asset=asset, account_id=account_id)
        ask("Grant", asset=asset, account_id=account_id, amount=n)

    found = [ask("GetBalance", asset="a", account_id=name).balances[0].available for name in ("b/c", "b", "/b/c", "B")]

    assert found == [1, 2, 4, 5]


def test_a_memo_is_any_text_and_comes_back_as_it_was(ask):
    for n, text in enumerate(ODD_TEXTS):
        memo = Memo(description=text, reference=text, actor=text, metadata={text: text, "empty": ""})
        ask("OpenAccount", account_id=f"customer-{n}", request_id="opening", memo=memo)

        (entry,) = ask("History", account_id=f"customer-{n}").entries
        assert entry.memo == memo
        assert ask("OpenAccount", account_id=f"customer-{n}", request_id="opening", memo=memo).replayed


def test_a_memo_may_be_as_long_as_it_says(ask):
    metadata = {"😀" * 38 + f"{n:02}": "😀" * 500 for n in range(20)}
    memo = Memo(description="😀" * 500, reference="😀" * 200, actor="😀" * 200, metadata=metadata)

    ask("OpenAccount", memo=memo)

    assert ask("History").entries[0].memo == memo


def test_a_memo_that_says_nothing_is_none(ask):
    ask("OpenAccount", request_id="opening")

    repeated = ask("OpenAccount", request_id="opening", memo=Memo())

    assert repeated.replayed
    assert not ask("History").entries[0].HasField("memo")


def test_a_request_id_belongs_to_an_account(ask):
    ask("DefineAsset", asset="tokens", scale=6)
    accounts = [("acme", "credits"), ("acme", "tokens"), ("beta", "credits")]

    answers = [ask("OpenAccount", request_id="r-1", account_id=name, asset=asset) for name, asset in accounts]

    assert not any(answer.replayed for answer in answers)
    assert [(answer.balance.account_id, answer.balance.asset) for answer in answers] == accounts


def test_amounts_are_exact_to_the_last_unit(ask):
    ask("OpenAccount")
    ask("Grant", amount=INT64_MAX)
    hold = ask("Hold", amount=INT64_MAX - 1)

    captured = ask("Capture", hold_id=hold.hold_id, amount=INT64_MAX - 2)

    assert (hold.balance.available, hold.balance.held) == (1, INT64_MAX - 1)
    assert (captured.captured, captured.released, captured.balance.available) == (INT64_MAX - 2, 1, 2)
    (balance,) = ask("TrialBalance").assets
    assert (balance.debits, balance.credits) == (balance.credits, str(3 * INT64_MAX - 2))


def test_the_sums_of_a_trial_balance_may_outgrow_64_bits(ask):
    for n in range(3):
        ask("OpenAccount", account_id=f"customer-{n}")
        ask("Grant", account_id=f"customer-{n}", amount=INT64_MAX)

    (balance,) = ask("TrialBalance").assets

    assert balance.debits == balance.credits == str(3 * INT64_MAX)


def test_time_is_cut_to_the_microsecond(ask):
    ask("OpenAccount")
    finer = Timestamp(seconds=START_S + 9, nanos=123_456_789)

    granted = ask("Grant", request_id="grant", expires_at=finer)
    repeated = ask("Grant", request_id="grant", expires_at=Timestamp(seconds=START_S + 9, nanos=123_456_000))

    assert granted.expires_at == Timestamp(seconds=START_S + 9, nanos=123_456_000)
    assert repeated.replayed


def test_the_longest_terms_are_accepted(ask):
    ask("OpenAccount")

    endless = ask("Grant", expires_at=Timestamp(seconds=221_845_391_999, nanos=999_999_999))
    late = ask("Grant", effective_at=Timestamp(seconds=221_845_391_999), ttl=Duration(seconds=36_500 * 86_400))
    hold_of_nothing = ask.refusal("Hold", amount=2, ttl=Duration(seconds=30 * 86_400))

    assert endless.expires_at == Timestamp(seconds=221_845_391_999, nanos=999_999_000)
    assert late.balance.pending == 1
    assert hold_of_nothing.reason == "INSUFFICIENT_CREDITS"
    assert len(ask("History").entries) == 3


def test_fields_of_a_later_contract_are_left_alone(ask):
    ask("OpenAccount")
    # Field 99, a text.
    later = b"\x9a\x06\x05later"
    get_balance = ask.channel.unary_unary("/scrip.v1.CreditService/GetBalance")

    assert get_balance(b"\x0a\x04acme" + later)


def test_a_page_has_500_entries_at_most_whatever_is_asked_for(ask):
    ask("OpenAccount")
    for call in [ask.later("Grant") for _ in range(600)]:
        call.result()

    first = ask("History", page_size=2**31 - 1)
    second = ask("History", page_size=500, page_token=first.next_page_token)

    assert [entry.seq for entry in (*first.entries, *second.entries)] == list(range(601, 0, -1))
    assert (len(first.entries), second.next_page_token) == (500, "")


@pytest.mark.parametrize("request_ids", [["opening"] * 32, [f"opening-{n}" for n in range(32)]], ids=["one", "many"])
def test_an_account_that_many_open_at_once_is_opened_once(ask, request_ids):
    calls = [ask.later("OpenAccount", request_id=request_id) for request_id in request_ids]

    outcomes = []
    for call in calls:
        try:
            outcomes.append("replayed" if call.result().replayed else "opened")
        except grpc.RpcError as error:
            outcomes.append(told(error).reason)

    others = "replayed" if request_ids[0] == request_ids[1] else "ACCOUNT_EXISTS"
    assert sorted(outcomes) == sorted(["opened", *[others] * 31])
