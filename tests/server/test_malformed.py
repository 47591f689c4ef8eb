"""A request that can never be right is told which field is wrong, and leaves nothing behind."""

from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from scrip.v1.accounts_pb2 import Metadata, SpendLimit, SpendLimits
from scrip.v1.credit_service_pb2 import RefundRequest
from scrip.v1.ledger_service_pb2 import AssetPolicy, Welcome
from scrip.v1.types_pb2 import SOURCE_PURCHASE, SOURCE_UNSPECIFIED, Memo, Money

from tests.server.asking import CHANGES, PARTS, request, told
from tests.server.books import Books

INT32_MAX, INT64_MAX, INT64_MIN = 2**31 - 1, 2**63 - 1, -(2**63)
DAY_S = 86_400
IN_2026_S = 1_767_312_000

CHANGES_OF_AMOUNTS = ("Grant", "CheckAndDeduct", "Hold", "IncreaseHold", "Transfer", "Adjust")
MAY_HAVE_AMOUNTS = ("Refund", "Revoke", "WriteOff")
ABOUT_ACCOUNTS = (
    *(rpc for rpc in CHANGES if rpc not in PARTS),
    "Check", "GetBalance", "ListLots", "ListHolds", "History", "GetAccount",
)  # fmt: skip
READS_OF_ALL = ("Audit", "TrialBalance")
LISTS = ("History", "ListLots", "ListHolds")

NOT_IDS = {
    "empty": "",
    "too long": "x" * 129,
    "a megabyte": "x" * 1_000_000,
    "not ASCII": "ä",
    "an emoji": "😀",
    "right to left": "\u202eacme",
    "with a NUL": "ac\0me",
    "with a line break": "acme\n",
    "with a tab": "\tacme",
    "with a delete": "acme\x7f",
}
NOT_ASSETS = {
    "in capitals": "Credits",
    "beginning with a digit": "1st",
    "with a slash": "a/b",
    "with a space": "a b",
    "with a line break": "credits\n",
    "with a NUL": "credits\0",
    "of 64 characters": "a" * 64,
    "of 100,000 characters": "a" * 100_000,
    "with an Arabic digit": "a\u0663",
}
NOT_INSTANTS = {
    "before 1970": Timestamp(seconds=-1),
    "in the year 9000": Timestamp(seconds=221_845_392_000),
    "in the year 10000": Timestamp(seconds=253_402_300_800),
    "before the year 1": Timestamp(seconds=-62_135_596_801),
    "at the end of 64 bits": Timestamp(seconds=INT64_MAX),
    "at the beginning of 64 bits": Timestamp(seconds=INT64_MIN),
    "with a second of nanos": Timestamp(seconds=IN_2026_S, nanos=1_000_000_000),
    "with negative nanos": Timestamp(seconds=IN_2026_S, nanos=-1),
}
NOT_TTLS = {
    "of 0": Duration(),
    "of less than a microsecond": Duration(nanos=999),
    "below 0": Duration(seconds=-1),
    "just below 0": Duration(nanos=-1),
    "at the end of 64 bits": Duration(seconds=INT64_MAX),
    "at the beginning of 64 bits": Duration(seconds=INT64_MIN),
    "of both signs": Duration(seconds=1, nanos=-1),
    "with a second of nanos": Duration(seconds=1, nanos=1_000_000_000),
}


def named(cases: dict[str, Any]) -> list[Any]:
    return [pytest.param(value, id=name) for name, value in cases.items()]


def assert_malformed(books: Books, field: str, rpc: str, **fields: Any) -> str:
    told = books.refusal(rpc, **{**books.part(rpc), **fields})
    assert told.reason == "INVALID_FIELD"
    assert told.metadata["field"] == field
    assert set(told.fields) == {field}
    assert told.message.startswith(f"{field} must ")
    return told.message


@pytest.mark.parametrize("amount", [0, -1, INT64_MIN])
@pytest.mark.parametrize("rpc", [*CHANGES_OF_AMOUNTS, *MAY_HAVE_AMOUNTS, "Check"])
def test_an_amount_is_1_or_more(sqlite_books, rpc, amount):
    assert_malformed(sqlite_books, "amount", rpc, amount=amount)


@pytest.mark.parametrize("amount", [-1, INT64_MIN])
def test_a_capture_is_0_or_more(sqlite_books, amount):
    assert_malformed(sqlite_books, "amount", "Capture", amount=amount)


@pytest.mark.parametrize("text", named(NOT_IDS))
def test_a_request_id_is_1_to_128_printable_ascii_characters(sqlite_books, text):
    assert_malformed(sqlite_books, "request_id", "CheckAndDeduct", request_id=text)


@pytest.mark.parametrize("rpc", CHANGES)
def test_every_change_needs_a_request_id(sqlite_books, rpc):
    assert_malformed(sqlite_books, "request_id", rpc, request_id=None)


@pytest.mark.parametrize("text", named(NOT_IDS))
def test_an_account_id_is_1_to_128_printable_ascii_characters(sqlite_books, text):
    assert_malformed(sqlite_books, "account_id", "Grant", account_id=text)


@pytest.mark.parametrize("account_id", named({"too long": "x" * 129, "with a NUL": "\0"}))
@pytest.mark.parametrize("rpc", [*ABOUT_ACCOUNTS, "Audit"])
def test_every_request_about_an_account_checks_its_name(sqlite_books, rpc, account_id):
    assert_malformed(sqlite_books, "account_id", rpc, account_id=account_id)


@pytest.mark.parametrize("rpc", ABOUT_ACCOUNTS)
def test_every_request_about_an_account_names_it(sqlite_books, rpc):
    assert_malformed(sqlite_books, "account_id", rpc, account_id=None)


@pytest.mark.parametrize("asset", named(NOT_ASSETS))
@pytest.mark.parametrize("rpc", ["Hold", "DefineAsset", "ConfigureAsset"])
def test_an_asset_has_a_plain_name(sqlite_books, rpc, asset):
    assert_malformed(sqlite_books, "asset", rpc, asset=asset)


@pytest.mark.parametrize("asset", named({"in capitals": "Credits", "with a NUL": "\0", "endless": "a" * 100_000}))
@pytest.mark.parametrize("rpc", [*ABOUT_ACCOUNTS, *READS_OF_ALL])
def test_every_request_checks_the_name_of_its_asset(sqlite_books, rpc, asset):
    assert_malformed(sqlite_books, "asset", rpc, asset=asset)


@pytest.mark.parametrize("rpc", ["DefineAsset", "ConfigureAsset"])
def test_an_asset_is_not_defined_without_a_name(sqlite_books, rpc):
    assert_malformed(sqlite_books, "asset", rpc)


@pytest.mark.parametrize("scale", [-1, 19, INT32_MAX])
def test_a_scale_is_0_to_18(sqlite_books, scale):
    assert_malformed(sqlite_books, "scale", "DefineAsset", asset="points", scale=scale)


@pytest.mark.parametrize("source", [SOURCE_UNSPECIFIED, 99, -1])
def test_a_grant_says_where_it_comes_from_in_words_of_this_contract(sqlite_books, source):
    assert_malformed(sqlite_books, "source", "Grant", source=source)


@pytest.mark.parametrize("priority", [-1, 1_001, INT32_MAX])
def test_a_priority_is_0_to_1000(sqlite_books, priority):
    assert_malformed(sqlite_books, "priority", "Grant", priority=priority)


def test_what_is_granted_free_has_no_cost(sqlite_books):
    assert_malformed(sqlite_books, "cost", "Grant", cost=Money(minor_units=1, currency="EUR"))


def test_a_cost_is_not_negative(sqlite_books):
    cost = Money(minor_units=-1, currency="EUR")

    assert_malformed(sqlite_books, "cost.minor_units", "Grant", source=SOURCE_PURCHASE, cost=cost)


@pytest.mark.parametrize("currency", ["", "eur", "EURO", "€€€", "EU\0", "EUR\n"])
def test_a_currency_has_three_capital_letters(sqlite_books, currency):
    cost = Money(minor_units=1, currency=currency)

    assert_malformed(sqlite_books, "cost.currency", "Grant", source=SOURCE_PURCHASE, cost=cost)


@pytest.mark.parametrize("instant", named(NOT_INSTANTS))
@pytest.mark.parametrize("field", ["effective_at", "expires_at"])
def test_an_instant_lies_in_a_time_that_every_engine_knows(sqlite_books, field, instant):
    assert_malformed(sqlite_books, field, "Grant", **{field: instant})


def test_a_report_says_from_when_on_and_does_not_end_before_it_begins(sqlite_books):
    assert_malformed(sqlite_books, "since", "RevenueReport", since=None)
    for seconds in (0, 1):
        since, until = Timestamp(seconds=IN_2026_S + seconds), Timestamp(seconds=IN_2026_S)
        assert_malformed(sqlite_books, "until", "RevenueReport", since=since, until=until)


@pytest.mark.parametrize("currency", ["eur", "EURO", "€€€", "EU\0", "EUR\n"])
def test_money_is_asked_for_by_a_currency(sqlite_books, currency):
    assert_malformed(sqlite_books, "currency", "MoneyTrialBalance", currency=currency)


@pytest.mark.parametrize("package", ["Starter", "a b", "\0", "a" * 64])
def test_what_is_sold_as_a_package_has_its_plain_name(sqlite_books, package):
    assert_malformed(sqlite_books, "package", "Grant", source=SOURCE_PURCHASE, package=package)


def test_what_is_granted_free_was_not_sold(sqlite_books):
    assert_malformed(sqlite_books, "package", "Grant", package="starter")


@pytest.mark.parametrize("instant", named(NOT_INSTANTS))
def test_an_instant_that_is_asked_about_does_too(sqlite_books, instant):
    for rpc in ("GetBalance", "ListLots", "ListHolds", "TrialBalance", "MoneyTrialBalance"):
        assert_malformed(sqlite_books, "as_of", rpc, as_of=instant)
    for rpc in ("History", "RevenueReport"):
        for field in ("since", "until"):
            assert_malformed(sqlite_books, field, rpc, **{field: instant})


@pytest.mark.parametrize("seconds", [0, 1])
def test_a_grant_takes_effect_before_it_expires(sqlite_books, seconds):
    effective_at, expires_at = Timestamp(seconds=IN_2026_S + seconds), Timestamp(seconds=IN_2026_S)

    assert_malformed(sqlite_books, "expires_at", "Grant", effective_at=effective_at, expires_at=expires_at)


@pytest.mark.parametrize("ttl", named(NOT_TTLS))
@pytest.mark.parametrize("rpc", ["Grant", "Hold", "ExtendHold"])
def test_a_ttl_is_more_than_0(sqlite_books, rpc, ttl):
    assert_malformed(sqlite_books, "ttl", rpc, ttl=ttl)


@pytest.mark.parametrize("length", named(NOT_TTLS))
def test_so_is_every_other_length_of_time(sqlite_books, length):
    rolling = SpendLimit(name="a", window=SpendLimit.WINDOW_ROLLING, length=length)
    new_lot = RefundRequest.EXPIRED_LOTS_NEW_LOT
    policy = AssetPolicy(welcome=Welcome(amount=1, ttl=length))

    assert_malformed(sqlite_books, "expiring_within", "GetBalance", expiring_within=length)
    assert_malformed(sqlite_books, "lot_ttl", "Refund", expired_lots=new_lot, lot_ttl=length)
    assert_malformed(sqlite_books, "limits[0].length", "UpdateAccount", limits=SpendLimits(limits=[rolling]))
    assert_malformed(sqlite_books, "welcome.ttl", "ConfigureAsset", asset="credits", policy=policy)


def test_a_hold_is_not_extended_without_saying_for_how_long(sqlite_books):
    assert_malformed(sqlite_books, "ttl", "ExtendHold", ttl=None)


@pytest.mark.parametrize(("rpc", "days"), [("Hold", 30), ("ExtendHold", 30), ("Grant", 36_500)])
def test_a_ttl_is_not_a_microsecond_too_long(sqlite_books, rpc, days):
    assert_malformed(sqlite_books, "ttl", rpc, ttl=Duration(seconds=days * DAY_S, nanos=1_000))


@pytest.mark.parametrize("page_size", [-1, -INT32_MAX])
@pytest.mark.parametrize("rpc", LISTS)
def test_a_page_size_is_not_negative(sqlite_books, rpc, page_size):
    assert_malformed(sqlite_books, "page_size", rpc, page_size=page_size)


@pytest.mark.parametrize(("rpc", "field"), PARTS.items())
def test_what_is_changed_is_named(sqlite_books, rpc, field):
    assert_malformed(sqlite_books, field, rpc, **{field: None})


@pytest.mark.parametrize("value", [99, -1])
@pytest.mark.parametrize(
    ("rpc", "field"),
    [
        ("CheckAndDeduct", "mode"),
        ("Hold", "held_lots"),
        ("Refund", "expired_lots"),
        ("Revoke", "spent"),
        ("Adjust", "direction"),
        ("ListHolds", "state"),
        ("History", "order"),
    ],
)
def test_a_choice_is_one_of_this_contract(sqlite_books, rpc, field, value):
    assert_malformed(sqlite_books, field, rpc, **{field: value})


@pytest.mark.parametrize(("rpc", "field"), [("Revoke", "spent"), ("Adjust", "direction")])
def test_a_choice_that_matters_is_made(sqlite_books, rpc, field):
    assert_malformed(sqlite_books, field, rpc, **{field: None})


@pytest.mark.parametrize("kinds", [[0], [99], [1, -1]])
def test_a_history_is_asked_for_kinds_of_this_contract(sqlite_books, kinds):
    assert_malformed(sqlite_books, "kinds", "History", kinds=kinds)


@pytest.mark.parametrize("operation", ["/", "image *", "image*", "ä", "\0", "a" * 101, "-a", "image\n"])
@pytest.mark.parametrize("rpc", ["Check", "CheckAndDeduct", "Hold", "History"])
def test_an_operation_has_a_plain_name(sqlite_books, rpc, operation):
    assert_malformed(sqlite_books, "operation", rpc, operation=operation)


@pytest.mark.parametrize(
    "scope", [[""], ["*image"], ["image/**"], ["a b"], ["ä*"], ["image", "\0"], ["a"] * 11], ids=str
)
def test_a_scope_has_at_most_10_names_or_beginnings(sqlite_books, scope):
    assert_malformed(sqlite_books, "scope", "Grant", scope=scope)


@pytest.mark.parametrize("tolerance", [-1, INT64_MIN])
def test_a_tolerance_is_not_negative(sqlite_books, tolerance):
    assert_malformed(sqlite_books, "tolerance", "Hold", tolerance=tolerance)


def test_a_reference_is_short(sqlite_books):
    assert_malformed(sqlite_books, "reference", "History", reference="r" * 201)


@pytest.mark.parametrize(
    ("expired_lots", "lot_ttl"),
    [("EXPIRED_LOTS_EXTEND", None), ("EXPIRED_LOTS_TO_ORIGINAL_LOT", 1), ("EXPIRED_LOTS_UNSPECIFIED", 1)],
)
def test_a_refund_says_how_long_lots_last_where_that_means_something(sqlite_books, expired_lots, lot_ttl):
    lot_ttl = None if lot_ttl is None else Duration(seconds=lot_ttl)

    assert_malformed(sqlite_books, "lot_ttl", "Refund", expired_lots=expired_lots, lot_ttl=lot_ttl)


@pytest.mark.parametrize(("rpc", "field"), [("Transfer", "to_account_id"), ("MergeAccounts", "into_account_id")])
@pytest.mark.parametrize("other", [None, "acme", "ä", "x" * 129])
def test_a_movement_has_two_sides(sqlite_books, rpc, field, other):
    assert_malformed(sqlite_books, field, rpc, **{field: other})


@pytest.mark.parametrize("rpc", ["Adjust", "WriteOff"])
def test_a_correction_says_why_and_who(sqlite_books, rpc):
    assert_malformed(sqlite_books, "memo.description", rpc, memo=Memo(actor="who"))
    assert_malformed(sqlite_books, "memo.actor", rpc, memo=Memo(description="why"))


def test_an_account_is_not_frozen_without_a_reason(sqlite_books):
    assert_malformed(sqlite_books, "memo.description", "FreezeAccount", memo=None)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("overdraft_limit", -1),
        ("overdraft_limit", INT64_MIN),
        *(("time_zone", name) for name in ["", "Berlin", "../etc/passwd", "/etc/localtime", "\0", "ä", "a" * 100_000]),
    ],
)
def test_what_is_agreed_with_a_customer_has_a_form(sqlite_books, field, value):
    assert_malformed(sqlite_books, field, "UpdateAccount", **{field: value})


def limit(**fields: Any) -> SpendLimit:
    return SpendLimit(**{"name": "daily", "window": SpendLimit.WINDOW_DAY, "amount": 1, **fields})


@pytest.mark.parametrize(
    ("field", "limits"),
    [
        ("limits", [limit(name=f"limit-{n}") for n in range(11)]),
        ("limits", [limit(), limit(amount=2)]),
        ("limits[0].name", [limit(name="")]),
        ("limits[1].name", [limit(), limit(name="Two")]),
        ("limits[0].window", [limit(window=0)]),
        ("limits[0].window", [limit(window=99)]),
        ("limits[0].amount", [limit(amount=-1)]),
        ("limits[0].length", [limit(length=Duration(seconds=1))]),
        ("limits[0].length", [limit(window=SpendLimit.WINDOW_ROLLING)]),
        ("limits[0].length", [limit(window=SpendLimit.WINDOW_ROLLING, length=Duration(seconds=366 * DAY_S + 1))]),
        ("limits[0].operation", [limit(operation="*image")]),
    ],
)
def test_a_spend_limit_has_a_form(sqlite_books, field, limits):
    assert_malformed(sqlite_books, field, "UpdateAccount", limits=SpendLimits(limits=limits))


def test_metadata_of_an_account_is_as_short_as_that_of_a_memo(sqlite_books):
    for field, pairs in (("metadata", {"": ""}), ("metadata key", {"\0": ""}), ('metadata["k"]', {"k": "v" * 501})):
        assert_malformed(sqlite_books, field, "UpdateAccount", metadata=Metadata(pairs=pairs))


@pytest.mark.parametrize(
    ("field", "welcome"),
    [
        ("welcome.amount", Welcome()),
        ("welcome.amount", Welcome(amount=-1)),
        ("welcome.source", Welcome(amount=1, source=99)),
        ("welcome.source", Welcome(amount=1, source=SOURCE_PURCHASE)),
        ("welcome.ttl", Welcome(amount=1, ttl=Duration(seconds=36_500 * DAY_S + 1))),
    ],
    ids=["nothing", "less than nothing", "of an unknown source", "of a paid source", "for too long"],
)
def test_a_welcome_is_a_grant_that_is_free(sqlite_books, field, welcome):
    assert_malformed(sqlite_books, field, "ConfigureAsset", asset="credits", policy=AssetPolicy(welcome=welcome))


@pytest.mark.parametrize("rpc", CHANGES)
@pytest.mark.parametrize(("field", "length_max"), [("description", 500), ("reference", 200), ("actor", 200)])
def test_a_memo_is_short_and_has_no_nul(sqlite_books, rpc, field, length_max):
    for text in ("😀" * (length_max + 1), "\0"):
        memo = Memo(**{"description": "why", "actor": "who", field: text})
        assert_malformed(sqlite_books, f"memo.{field}", rpc, memo=memo)


@pytest.mark.parametrize(
    ("field", "pairs"),
    [
        ("memo.metadata", {f"key {n}": "" for n in range(21)}),
        ("memo.metadata", {"": "value"}),
        ("memo.metadata key", {"k" * 41: "value"}),
        ("memo.metadata key", {"k" * 100_000: "value"}),
        ("memo.metadata key", {"k\0": "value"}),
        ('memo.metadata["k"]', {"k": "v" * 501}),
        ('memo.metadata["k"]', {"k": "\0"}),
    ],
    ids=["21 pairs", "no key", "long key", "endless key", "NUL in a key", "long value", "NUL in a value"],
)
def test_metadata_has_20_pairs_of_short_texts_at_most(sqlite_books, field, pairs):
    for rpc in ("Grant", "Release"):
        assert_malformed(sqlite_books, field, rpc, memo=Memo(metadata=pairs))


def test_all_that_is_wrong_is_told_at_once(sqlite_books):
    told = sqlite_books.refusal(
        "Grant",
        request_id=None,
        account_id="ä",
        asset="Credits",
        amount=0,
        priority=-1,
        cost=Money(currency="EUR"),
        memo=Memo(reference="\0"),
    )

    assert told.fields == ("request_id", "account_id", "asset", "amount", "priority", "cost", "memo.reference")


@pytest.mark.parametrize("character", ["x", "ä", "😀"])
@pytest.mark.parametrize("keys", ["too long", "long"])
def test_an_error_fits_into_the_headers_of_an_answer_however_much_is_wrong(sqlite_books, keys, character):
    lengths = range(41, 241) if keys == "too long" else range(21, 41)
    metadata = {character * length: character * 501 for length in lengths}

    told = sqlite_books.refusal("Grant", memo=Memo(metadata=metadata))

    assert told.reason == "INVALID_FIELD"
    assert len(told.fields) > 1


def test_2_to_the_63_is_not_taken_for_something_else(sqlite_books):
    # No int64, but a varint can carry it: field 4 is the amount.
    unsigned = b"\x20" + b"\x80" * 9 + b"\x01"
    asked = request("CheckAndDeduct", amount=None).SerializeToString() + unsigned
    deduct = sqlite_books.ask.channel.unary_unary("/scrip.v1.CreditService/CheckAndDeduct")

    with pytest.raises(grpc.RpcError) as raised:
        deduct(asked)

    assert told(raised.value).fields == ("amount",)
