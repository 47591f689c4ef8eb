"""A request that the books say no to is told why, with all figures, and leaves nothing behind."""

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from scrip.v1.types_pb2 import SOURCE_PURCHASE, Memo

from ledger import IdPrefix
from tests.server.asking import CHANGES, PARTS
from tests.server.books import MEMO

INT64_MAX = 2**63 - 1
NOW_S = 1_767_225_660

ABOUT_HOLDS = tuple(rpc for rpc, field in PARTS.items() if field == "hold_id")
CHANGES_OF_ACCOUNTS = tuple(rpc for rpc in CHANGES if rpc not in PARTS)
READS_OF_ACCOUNTS = ("Check", "GetBalance", "ListLots", "ListHolds", "History", "GetAccount", "Audit")
ABOUT_ACCOUNTS = (*CHANGES_OF_ACCOUNTS, *READS_OF_ACCOUNTS)
ABOUT_OPEN_ACCOUNTS = ABOUT_ACCOUNTS[1:]


@pytest.mark.parametrize("rpc", [*ABOUT_ACCOUNTS, "TrialBalance", "ConfigureAsset"])
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
    told = books.refusal(rpc, account_id="poor", asset="tokens")

    assert told.reason == "ACCOUNT_NOT_FOUND"
    assert told.metadata == {"account_id": "poor", "asset": "tokens"}


@pytest.mark.parametrize(("rpc", "field"), [("Transfer", "to_account_id"), ("MergeAccounts", "into_account_id")])
def test_an_account_that_is_given_something_must_be_open_in_the_asset(books, rpc, field):
    told = books.refusal(rpc, asset="tokens", **{field: "poor"})

    assert told.reason == "ACCOUNT_NOT_FOUND"
    assert told.metadata == {"account_id": "poor", "asset": "tokens"}


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


@pytest.mark.parametrize(("rpc", "empty"), [("GetEntry", {"empty": ""}), ("Explain", {"empty": ""}), ("Refund", {})])
def test_an_entry_id_that_names_no_entry_is_not_found(books, rpc, empty):
    for what, text in {**books.not_ids(IdPrefix.ENTRY), **empty}.items():
        told = books.refusal(rpc, entry_id=text)

        assert told.reason == "ENTRY_NOT_FOUND", what
        assert text.startswith(told.metadata["entry_id"].removesuffix("…")), what


def test_a_lot_id_that_names_no_lot_is_not_found(books):
    for what, text in books.not_ids(IdPrefix.LOT).items():
        told = books.refusal("Revoke", lot_id=text)

        assert told.reason == "LOT_NOT_FOUND", what
        assert text.startswith(told.metadata["lot_id"].removesuffix("…")), what


def test_a_history_of_a_lot_or_a_hold_is_asked_of_its_own_account(books):
    lots, holds = books.not_ids(IdPrefix.LOT), books.not_ids(IdPrefix.HOLD)
    for what in ("made up", "without a prefix", "truncated", "of nobody"):
        assert books.refusal("History", lot_id=lots[what]).reason == "LOT_NOT_FOUND", what
        assert books.refusal("History", hold_id=holds[what]).reason == "HOLD_NOT_FOUND", what
    assert books.refusal("History", lot_id=books.lot).metadata == {"lot_id": books.lot}
    assert books.refusal("History", hold_id=books.frozen_hold).metadata == {"hold_id": books.frozen_hold}


def test_a_page_token_is_good_for_the_list_it_came_from_only(books):
    tokens = books.not_ids(IdPrefix.PAGE)
    tokens |= {"another account": books.page_token_of_beta, "another asset": books.page_token_of_tokens}
    tokens |= {"half": books.page_token[:-1], "more": f"{books.page_token}a", "capitals": books.page_token.upper()}
    for what, text in tokens.items():
        for rpc in ("History", "ListLots", "ListHolds"):
            told = books.refusal(rpc, page_token=text)

            assert told.reason == "INVALID_PAGE_TOKEN", what
            assert told.fields == ("page_token",), what


@pytest.mark.parametrize(
    ("rpc", "filters"),
    [
        *(("History", {name: value}) for name, value in {
            "kinds": ["KIND_HOLD"],
            "since": Timestamp(seconds=NOW_S - 60),
            "until": Timestamp(seconds=NOW_S),
            "reference": "R-1",
            "operation": "image",
            "order": "ORDER_OLDEST_FIRST",
        }.items()),
        ("ListLots", {}),
        ("ListHolds", {}),
    ],
)  # fmt: skip
def test_a_page_token_is_good_for_the_filters_it_was_given_out_for_only(books, rpc, filters):
    told = books.refusal(rpc, page_token=books.page_token, **filters)

    assert told.reason == "INVALID_PAGE_TOKEN"


@pytest.mark.parametrize("rpc", ["GetBalance", "ListLots", "ListHolds", "TrialBalance", "MoneyTrialBalance"])
def test_nobody_tells_what_is_still_to_come(books, rpc):
    told = books.refusal(rpc, as_of=Timestamp(seconds=NOW_S, nanos=1_000))

    assert told.reason == "INSTANT_IN_FUTURE"
    assert told.metadata == {"field": "as_of", "as_of": "2026-01-01T00:01:00.000001Z", "now": "2026-01-01T00:01:00Z"}
    assert told.fields == ("as_of",)


@pytest.mark.parametrize(
    ("fields", "blamed"),
    [({"until": 1}, "until"), ({"since": 1}, "since"), ({"since": 1, "until": 2}, "until")],
    ids=["until", "since", "both"],
)
def test_no_report_tells_of_what_is_still_to_come(books, fields, blamed):
    told = books.refusal(
        "RevenueReport", **{name: Timestamp(seconds=NOW_S + seconds) for name, seconds in fields.items()}
    )

    assert (told.reason, told.fields, told.metadata["field"]) == ("INSTANT_IN_FUTURE", (blamed,), blamed)


def test_before_it_was_opened_an_account_is_not_found(books):
    for rpc in ("GetBalance", "ListLots", "ListHolds"):
        told = books.refusal(rpc, as_of=Timestamp(seconds=NOW_S - 61))

        assert told.reason == "ACCOUNT_NOT_FOUND"


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
        "capturable": "60",
        "required": str(amount),
    }


@pytest.mark.parametrize("rpc", ["CheckAndDeduct", "Hold", "Transfer"])
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


@pytest.mark.parametrize("operation", ["", "text/write", "imagery"])
def test_a_shortfall_tells_what_may_only_pay_for_something_else_and_what_may_become_owed(books, operation):
    told = books.refusal("CheckAndDeduct", account_id="artist", amount=46, operation=operation)

    assert told.reason == "INSUFFICIENT_CREDITS"
    assert told.message == (
        "Account artist has 100 credits available (60 of them for other operations) and may owe 5 more; "
        "this needs 46. Grant credits or ask for less."
    )
    assert {"shortfall": "6", "out_of_scope": "60", "overdraft": "5"}.items() <= told.metadata.items()


@pytest.mark.parametrize(
    ("rpc", "fields"),
    [("CheckAndDeduct", {}), ("CheckAndDeduct", {"mode": "MODE_AUTHORIZE"}), ("Hold", {})],
)
def test_a_spend_limit_names_itself_and_when_it_frees(books, rpc, fields):
    told = books.refusal(rpc, account_id="limited", amount=21, **fields)

    assert told.reason == "SPEND_LIMIT_REACHED"
    assert told.metadata == {
        "account_id": "limited",
        "asset": "credits",
        "scale": "0",
        "limit": "daily",
        "limit_amount": "100",
        "used": "80",
        "required": "21",
        "frees_at": "2026-01-02T00:00:00Z",
    }


def test_only_what_was_spent_is_refunded(books):
    told = books.refusal("Refund", entry_id=books.entry)

    assert told.reason == "ENTRY_NOT_REFUNDABLE"
    assert told.metadata == {"entry_id": books.entry, "kind": "grant"}


@pytest.mark.parametrize("amount", [21, INT64_MAX])
def test_no_more_is_refunded_than_was_spent(books, amount):
    told = books.refusal("Refund", entry_id=books.deduction, amount=amount)

    assert told.reason == "AMOUNT_ABOVE_REFUNDABLE"
    assert {"refundable": "20", "required": str(amount), "account_id": "buyer"}.items() <= told.metadata.items()


@pytest.mark.parametrize("amount", [101, INT64_MAX])
def test_no_more_is_revoked_than_was_granted(books, amount):
    told = books.refusal("Revoke", lot_id=books.lot, amount=amount)

    assert told.reason == "AMOUNT_ABOVE_REVOCABLE"
    assert {"revocable": "100", "required": str(amount), "lot_id": books.lot}.items() <= told.metadata.items()


@pytest.mark.parametrize(("account_id", "owed", "amount"), [("poor", "20", 21), ("beta", "0", 1), ("beta", "0", None)])
def test_no_more_is_written_off_than_is_owed(books, account_id, owed, amount):
    told = books.refusal("WriteOff", account_id=account_id, amount=amount)

    assert told.reason == "AMOUNT_ABOVE_OWED"
    assert {"owed": owed, "required": str(amount or 0)}.items() <= told.metadata.items()


@pytest.mark.parametrize(
    ("rpc", "fields"),
    [
        ("CheckAndDeduct", {"mode": "MODE_AUTHORIZE"}),
        ("CheckAndDeduct", {"mode": "MODE_CLAMP"}),
        ("CheckAndDeduct", {"mode": "MODE_RECORD"}),
        ("Hold", {}),
        ("Transfer", {}),
        ("MergeAccounts", {}),
        ("FreezeAccount", {}),
    ],
)
def test_a_frozen_account_spends_nothing(books, rpc, fields):
    told = books.refusal(rpc, account_id="frozen", **fields)

    assert told.reason == "ACCOUNT_FROZEN"
    assert told.metadata == {"account_id": "frozen", "asset": "credits"}


def test_a_hold_of_a_frozen_account_takes_no_more(books):
    increased = books.refusal("IncreaseHold", hold_id=books.frozen_hold)
    beyond = books.refusal("Capture", hold_id=books.frozen_hold, amount=3)

    assert (increased.reason, beyond.reason) == ("ACCOUNT_FROZEN", "ACCOUNT_FROZEN")


def test_what_is_not_frozen_is_not_unfrozen(books):
    told = books.refusal("UnfreezeAccount")

    assert told.reason == "ACCOUNT_NOT_FROZEN"
    assert told.metadata == {"account_id": "acme", "asset": "credits"}


@pytest.mark.parametrize("rpc", CHANGES_OF_ACCOUNTS[1:])
def test_a_closed_account_takes_nothing(books, rpc):
    told = books.refusal(rpc, account_id="closed")

    assert told.reason == "ACCOUNT_CLOSED"
    assert told.metadata == {"account_id": "closed", "asset": "credits"}


@pytest.mark.parametrize(
    ("rpc", "fields"),
    [("Transfer", {"to_account_id": "closed"}), ("MergeAccounts", {"account_id": "poor", "into_account_id": "closed"})],
)
def test_a_closed_account_is_given_nothing(books, rpc, fields):
    told = books.refusal(rpc, **fields)

    assert (told.reason, told.metadata["account_id"]) == ("ACCOUNT_CLOSED", "closed")


def test_nothing_is_revoked_of_a_closed_account(books):
    assert books.refusal("Revoke", lot_id=books.closed_lot).reason == "ACCOUNT_CLOSED"
    assert books.refusal("OpenAccount", account_id="closed").reason == "ACCOUNT_EXISTS"


def test_an_account_is_closed_when_nothing_is_left(books):
    told = books.refusal("CloseAccount")

    assert told.reason == "ACCOUNT_NOT_EMPTY"
    assert told.metadata == {
        "account_id": "acme",
        "asset": "credits",
        "scale": "0",
        "available": "40",
        "pending": "0",
        "held": "60",
        "owed": "0",
        "holds": "1",
    }
    assert books.refusal("CloseAccount", account_id="poor").metadata["owed"] == "20"


def test_an_account_with_holds_is_not_merged(books):
    told = books.refusal("MergeAccounts")

    assert told.reason == "ACCOUNT_HAS_HOLDS"
    assert {"account_id": "acme", "held": "60", "held_until": "2026-01-01T00:15:00Z"}.items() <= told.metadata.items()


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


def test_neither_does_what_is_owed(books):
    told = books.refusal("CheckAndDeduct", account_id="poor", amount=INT64_MAX, mode="MODE_RECORD")

    assert told.reason == "BALANCE_OVERFLOW"
    assert {"amount": str(INT64_MAX), "limit": str(INT64_MAX)}.items() <= told.metadata.items()


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


OF_ACME = [rpc for rpc in CHANGES if PARTS.get(rpc, "hold_id") == "hold_id"]


@pytest.mark.parametrize(
    ("used", "rpc"),
    [
        *(("opening", rpc) for rpc in OF_ACME if rpc != "OpenAccount"),
        *(("grant", rpc) for rpc in OF_ACME if rpc != "Grant"),
        *(("hold", rpc) for rpc in OF_ACME if rpc != "Hold"),
        ("capture", "Release"),
        ("release", "Capture"),
    ],
)
def test_a_request_id_is_not_used_for_another_operation(books, used, rpc):
    told = books.refusal(rpc, request_id=used, **books.part(rpc))

    assert told.reason == "REQUEST_ID_REUSED"
    assert told.metadata["fields"] == "operation"
