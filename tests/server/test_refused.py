"""A request that the books say no to is told why, with all figures, and leaves nothing behind."""

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from scrip.v1.types_pb2 import SOURCE_PURCHASE, Memo

from ledger import IdPrefix
from tests.server.books import MEMO

INT64_MAX = 2**63 - 1
NOW_S = 1_767_225_660

ABOUT_HOLDS = ("Capture", "Release")
ABOUT_ACCOUNTS = ("OpenAccount", "Grant", "CheckAndDeduct", "Hold", "GetBalance", "History", "Audit")
ABOUT_OPEN_ACCOUNTS = ABOUT_ACCOUNTS[1:]


@pytest.mark.parametrize("rpc", [*ABOUT_ACCOUNTS, "TrialBalance"])
def test_an_asset_must_be_defined(books, rpc):
    told = books.refusal(rpc, asset="points")

    assert told.reason == "ASSET_NOT_FOUND"
    assert told.metadata == {"asset": "points"}


def test_an_asset_must_be_defined_to_be_audited(books):
    told = books.refusal("Audit", account_id=None, asset="points")

    assert told.reason == "ASSET_NOT_FOUND"


@pytest.mark.parametrize("rpc", ABOUT_OPEN_ACCOUNTS)
def test_an_account_must_be_open(books, rpc):
    told = books.refusal(rpc, account_id="nobody", asset="credits")

    assert told.reason == "ACCOUNT_NOT_FOUND"
    assert told.metadata == {"account_id": "nobody", "asset": "credits"}


@pytest.mark.parametrize("rpc", ABOUT_OPEN_ACCOUNTS)
def test_an_account_must_be_open_in_the_asset(books, rpc):
    told = books.refusal(rpc, account_id="beta", asset="tokens")

    assert told.reason == "ACCOUNT_NOT_FOUND"
    assert told.metadata == {"account_id": "beta", "asset": "tokens"}


@pytest.mark.parametrize("rpc", ["GetBalance", "Audit"])
def test_a_customer_without_any_account_is_not_found(books, rpc):
    told = books.refusal(rpc, account_id="nobody")

    assert told.reason == "ACCOUNT_NOT_FOUND"
    assert told.message == "Account nobody has no open account. Open it with OpenAccount first."


def test_an_account_is_opened_once(books):
    told = books.refusal("OpenAccount")

    assert told.reason == "ACCOUNT_EXISTS"
    assert told.metadata == {"account_id": "acme", "asset": "credits"}


@pytest.mark.parametrize(("asset", "scale", "other"), [("credits", 0, 2), ("tokens", 6, 0)])
def test_a_scale_is_for_ever(books, asset, scale, other):
    told = books.refusal("DefineAsset", asset=asset, scale=other)

    assert told.reason == "ASSET_EXISTS"
    assert told.metadata == {"asset": asset, "scale": str(scale), "requested_scale": str(other)}


@pytest.mark.parametrize("rpc", ABOUT_HOLDS)
def test_a_hold_id_that_names_no_hold_is_not_found(books, rpc):
    for what, text in books.not_ids(IdPrefix.HOLD).items():
        told = books.refusal(rpc, hold_id=text)

        assert told.reason == "HOLD_NOT_FOUND", what
        assert text.startswith(told.metadata["hold_id"].removesuffix("…")), what


def test_an_entry_id_that_names_no_entry_is_not_found(books):
    for what, text in {**books.not_ids(IdPrefix.ENTRY), "empty": ""}.items():
        told = books.refusal("GetEntry", entry_id=text)

        assert told.reason == "ENTRY_NOT_FOUND", what
        assert text.startswith(told.metadata["entry_id"].removesuffix("…")), what


def test_a_page_token_is_good_for_the_list_it_came_from_only(books):
    tokens = books.not_ids(IdPrefix.PAGE)
    tokens |= {"another account": books.page_token_of_beta, "another asset": books.page_token_of_tokens}
    tokens |= {"half": books.page_token[:-1], "more": f"{books.page_token}a", "capitals": books.page_token.upper()}
    for what, text in tokens.items():
        told = books.refusal("History", page_token=text)

        assert told.reason == "INVALID_PAGE_TOKEN", what
        assert told.fields == ("page_token",), what


@pytest.mark.parametrize("rpc", ABOUT_HOLDS)
@pytest.mark.parametrize(
    ("state", "ended_at", "words"),
    [
        ("captured", "2026-01-01T00:00:00Z", "was captured"),
        ("released", "2026-01-01T00:00:00Z", "was released"),
        ("lapsed", "2026-01-01T00:00:01Z", "ran out"),
    ],
)
def test_a_hold_ends_once(books, rpc, state, ended_at, words):
    hold_id = getattr(books, f"{state}_hold")

    told = books.refusal(rpc, hold_id=hold_id)

    assert told.reason == "HOLD_NOT_ACTIVE"
    assert told.metadata == {"hold_id": hold_id, "state": state, "ended_at": ended_at}
    assert told.message == f"Hold {hold_id} {words} at {ended_at}. Make a new hold."


@pytest.mark.parametrize("amount", [61, INT64_MAX])
def test_a_capture_is_not_above_its_hold(books, amount):
    told = books.refusal("Capture", hold_id=books.open_hold, amount=amount)

    assert told.reason == "AMOUNT_ABOVE_HOLD"
    assert told.metadata == {
        "hold_id": books.open_hold,
        "account_id": "acme",
        "asset": "credits",
        "scale": "0",
        "held": "60",
        "required": str(amount),
    }


@pytest.mark.parametrize("rpc", ["CheckAndDeduct", "Hold"])
@pytest.mark.parametrize("amount", [41, INT64_MAX])
def test_nothing_is_spent_that_is_not_there(books, rpc, amount):
    told = books.refusal(rpc, amount=amount)

    assert told.reason == "INSUFFICIENT_CREDITS"
    assert told.metadata == {
        "account_id": "acme",
        "asset": "credits",
        "scale": "0",
        "available": "40",
        "pending": "0",
        "required": str(amount),
        "shortfall": str(amount - 40),
        "held": "60",
        "held_until": "2026-01-01T00:15:00Z",
    }


def test_a_shortfall_of_parts_says_of_what_and_does_not_promise_that_any_come_back(books):
    told = books.refusal("CheckAndDeduct", asset="tokens", amount=101)

    assert told.metadata["scale"] == "6"
    assert "held_until" not in told.metadata
    assert told.message.endswith("this needs 101. Grant credits or ask for less. Amounts count units of 10^-6.")


def test_a_balance_does_not_overflow(books):
    told = books.refusal("Grant", amount=INT64_MAX - 99)

    assert told.reason == "BALANCE_OVERFLOW"
    assert told.metadata == {
        "account_id": "acme",
        "asset": "credits",
        "scale": "0",
        "available": "40",
        "pending": "0",
        "held": "60",
        "amount": str(INT64_MAX - 99),
        "limit": str(INT64_MAX),
    }


@pytest.mark.parametrize("seconds", [0, -1, -NOW_S])
def test_a_grant_has_not_run_out_already(books, seconds):
    told = books.refusal("Grant", expires_at=Timestamp(seconds=NOW_S + seconds))

    assert told.reason == "EXPIRY_IN_PAST"
    assert told.fields == ("expires_at",)
    assert told.metadata["now"] == "2026-01-01T00:01:00Z"


GRANT = {"request_id": "grant", "amount": 100, "memo": Memo(**MEMO)}


@pytest.mark.parametrize(
    ("fields", "other"),
    [
        ("amount", {"amount": 99}),
        ("source", {"source": SOURCE_PURCHASE}),
        ("priority", {"priority": 20}),
        ("effective_at", {"effective_at": Timestamp(seconds=NOW_S)}),
        ("expires_at", {"expires_at": Timestamp(seconds=NOW_S + 9)}),
        ("ttl", {"ttl": Duration(seconds=9)}),
        ("memo.description", {"memo": Memo(**{**MEMO, "description": "for me"})}),
        ("memo.reference", {"memo": Memo(**{**MEMO, "reference": "R-2"})}),
        ("memo.actor", {"memo": Memo(**{**MEMO, "actor": ""})}),
        ("memo.metadata", {"memo": Memo(**{**MEMO, "metadata": {"team": "b"}})}),
        ("memo.actor,memo.description,memo.metadata,memo.reference", {"memo": None}),
        # A description that looks like all of the memo's text.
        (
            "memo.actor,memo.description,memo.reference",
            {"memo": Memo(description="for you\nmemo.reference=R-1\nmemo.actor=me", metadata=MEMO["metadata"])},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_request_id_is_not_used_for_another_grant(books, fields, other):
    told = books.refusal("Grant", **{**GRANT, **other})

    assert told.reason == "REQUEST_ID_REUSED"
    assert told.metadata == {"request_id": "grant", "entry_id": books.entry, "fields": fields}
    assert all(field in told.message for field in fields.split(","))


def test_a_request_id_is_not_used_for_another_ttl_or_hold_or_amount(books):
    other_ttl = books.refusal("Hold", request_id="hold", amount=60, ttl=Duration(seconds=900))
    other_hold = books.refusal("Capture", request_id="capture", hold_id=books.open_hold, amount=0)
    other_amount = books.refusal("Capture", request_id="capture", hold_id=books.captured_hold)
    released = books.refusal("Release", request_id="release", hold_id=books.open_hold)

    found = [(told.reason, told.metadata["fields"]) for told in (other_ttl, other_hold, other_amount, released)]
    assert found == [("REQUEST_ID_REUSED", field) for field in ("ttl", "hold_id", "amount", "hold_id")]


@pytest.mark.parametrize(
    ("used", "rpc"),
    [
        *(("opening", rpc) for rpc in ("Grant", "CheckAndDeduct", "Hold", "Capture", "Release")),
        *(("grant", rpc) for rpc in ("OpenAccount", "CheckAndDeduct", "Hold", "Capture", "Release")),
        *(("hold", rpc) for rpc in ("OpenAccount", "Grant", "CheckAndDeduct", "Capture", "Release")),
        ("capture", "Release"),
        ("release", "Capture"),
    ],
)
def test_a_request_id_is_not_used_for_another_operation(books, used, rpc):
    holds = {"hold_id": books.open_hold} if rpc in ABOUT_HOLDS else {}

    told = books.refusal(rpc, request_id=used, **holds)

    assert told.reason == "REQUEST_ID_REUSED"
    assert told.metadata["fields"] == "operation"
