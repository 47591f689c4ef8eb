"""What is malformed, field by field."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ledger import (
    AccountName,
    AssetPolicy,
    Batch,
    Deduct,
    ExpiredLots,
    Freeze,
    HoldLot,
    MalformedError,
    Memo,
    Merge,
    Money,
    Refund,
    Revoke,
    Source,
    Transfer,
    UpdateAccount,
    Welcome,
    Window,
    WriteOff,
)
from ledger.administration import check_policy
from ledger.fields import check_account, check_asset
from tests.books import ACME, DAY, MICROSECOND, START, deducting, granting, holding
from tests.operations import (
    BOLT,
    CAPTURE,
    EVERY,
    INT64_MAX,
    LIMIT,
    OF_A_PART,
    OF_ACME,
    OF_AN_ACCOUNT,
    OF_AN_AMOUNT,
    OF_PARTS,
    OPENING,
    WITH_AMOUNT,
)

BAD_IDS = ("", "x" * 129, "zürich", "\u0660", "two\nlines", "tab\t", "nul\0", "\x7f")
BAD_ASSETS = ("", "Credits", "9lives", "_x", "a/b", "a b", "x" * 64, "\u00e4")


def fields_of(error):
    return [violation.field for violation in error.value.violations]


@pytest.mark.parametrize("request_id", BAD_IDS)
@pytest.mark.parametrize("operation", EVERY, ids=lambda operation: type(operation).__name__)
def test_a_request_id_is_1_to_128_printable_ascii_characters(operation, request_id):
    with pytest.raises(MalformedError) as error:
        replace(operation, request_id=request_id)

    assert fields_of(error) == ["request_id"]


@pytest.mark.parametrize("account_id", BAD_IDS)
@pytest.mark.parametrize("operation", OF_AN_ACCOUNT, ids=lambda operation: type(operation).__name__)
def test_an_account_id_is_1_to_128_printable_ascii_characters(operation, account_id):
    with pytest.raises(MalformedError) as error:
        replace(operation, account=replace(ACME, account_id=account_id))

    assert fields_of(error)[0] == "account_id"


@pytest.mark.parametrize("asset", BAD_ASSETS)
@pytest.mark.parametrize("operation", OF_AN_ACCOUNT, ids=lambda operation: type(operation).__name__)
def test_an_asset_is_a_short_plain_name(operation, asset):
    with pytest.raises(MalformedError) as error:
        replace(operation, account=replace(ACME, asset=asset))

    assert fields_of(error)[0] == "asset"


@pytest.mark.parametrize("text", ["x", "x" * 128, " ", "a/b c~!", "order 7"])
def test_ids_of_the_allowed_form_are_taken_as_they_are(text):
    account = AccountName(tenant="default", account_id=text, asset="credits")

    operation = Deduct(request_id=text, account=account, amount=1)

    assert (operation.request_id, operation.account.account_id) == (text, text)


@pytest.mark.parametrize("asset", ["a", "x" * 63, "gpt-4.1_mini"])
def test_assets_of_the_allowed_form_are_taken(asset):
    check_asset(asset, 18)
    check_account(replace(ACME, asset=asset))


@pytest.mark.parametrize("amount", [0, -1, INT64_MAX + 1, 1.0, True, "1"])
@pytest.mark.parametrize("operation", WITH_AMOUNT, ids=lambda operation: type(operation).__name__)
def test_an_amount_is_a_whole_number_from_1_to_the_largest_int64(operation, amount):
    with pytest.raises(MalformedError) as error:
        replace(operation, amount=amount)

    assert fields_of(error) == ["amount"]


@pytest.mark.parametrize("operation", WITH_AMOUNT, ids=lambda operation: type(operation).__name__)
def test_only_what_can_mean_all_of_something_has_no_amount(operation):
    try:
        said = type(replace(operation, amount=None))
    except MalformedError as error:
        said = error.violations[0].field

    assert said == (type(operation) if isinstance(operation, WriteOff | Refund | Revoke | HoldLot) else "amount")


@pytest.mark.parametrize("amount", [-1, INT64_MAX + 1, 0.0, False])
def test_a_capture_takes_nothing_zero_or_more(amount):
    with pytest.raises(MalformedError) as error:
        replace(CAPTURE, amount=amount)

    assert fields_of(error) == ["amount"]
    assert replace(CAPTURE, amount=0).amount == 0
    assert replace(CAPTURE, amount=None).amount is None


@pytest.mark.parametrize(
    ("memo", "field"),
    [
        (Memo(description="x" * 501), "memo.description"),
        (Memo(description="nul\0"), "memo.description"),
        (Memo(description="half a \ud83d"), "memo.description"),
        (Memo(reference="x" * 201), "memo.reference"),
        (Memo(reference="\0"), "memo.reference"),
        (Memo(actor="x" * 201), "memo.actor"),
        (Memo(actor="\0"), "memo.actor"),
        (Memo(metadata={f"k{n}": "" for n in range(21)}), "memo.metadata"),
        (Memo(metadata={"": "x"}), "memo.metadata"),
        (Memo(metadata={"x" * 41: ""}), "memo.metadata key"),
        (Memo(metadata={"nul\0": ""}), "memo.metadata key"),
        (Memo(metadata={"k": "x" * 501}), 'memo.metadata["k"]'),
        (Memo(metadata={"k": "\0"}), 'memo.metadata["k"]'),
    ],
)
@pytest.mark.parametrize("operation", [CAPTURE, *OF_AN_ACCOUNT], ids=lambda operation: type(operation).__name__)
def test_what_is_written_beside_an_entry_has_limits(operation, memo, field):
    with pytest.raises(MalformedError) as error:
        replace(operation, memo=memo)

    assert field in fields_of(error)


def test_what_is_written_beside_an_entry_may_reach_its_limits_in_any_language():
    memo = Memo(
        description="ä" * 500,
        reference="語" * 200,
        actor="🙂" * 200,
        metadata={"k" * 38 + f"{n:02}": "ü" * 500 for n in range(20)},
    )

    assert replace(granting(1), memo=memo).memo == memo


@pytest.mark.parametrize(
    ("terms", "field"),
    [
        ({"priority": -1}, "priority"),
        ({"priority": 1001}, "priority"),
        ({"priority": 0.5}, "priority"),
        ({"effective_at": datetime(2026, 1, 1)}, "effective_at"),  # noqa: DTZ001 -- that is what is wrong with it
        ({"effective_at": datetime(1969, 12, 31, tzinfo=UTC)}, "effective_at"),
        ({"effective_at": datetime(9000, 1, 1, tzinfo=UTC)}, "effective_at"),
        ({"expires_at": datetime(2026, 1, 1)}, "expires_at"),  # noqa: DTZ001 -- as above
        ({"expires_at": datetime(1969, 12, 31, tzinfo=UTC)}, "expires_at"),
        ({"expires_at": datetime.max.replace(tzinfo=UTC)}, "expires_at"),
        ({"expires_at": START, "effective_at": START}, "expires_at"),
        ({"expires_at": START, "ttl": DAY}, "ttl"),
        ({"ttl": timedelta(0)}, "ttl"),
        ({"ttl": -MICROSECOND}, "ttl"),
        ({"ttl": 36_500 * DAY + MICROSECOND}, "ttl"),
        ({"cost": Money(minor_units=1, currency="EUR")}, "cost"),
        ({"source": Source.PURCHASE, "cost": Money(minor_units=-1, currency="EUR")}, "cost.minor_units"),
        ({"source": Source.PURCHASE, "cost": Money(minor_units=INT64_MAX + 1, currency="EUR")}, "cost.minor_units"),
        ({"source": Source.PURCHASE, "cost": Money(minor_units=1, currency="eur")}, "cost.currency"),
        ({"source": Source.PURCHASE, "cost": Money(minor_units=1, currency="EURO")}, "cost.currency"),
        ({"source": Source.PURCHASE, "cost": Money(minor_units=1, currency="")}, "cost.currency"),
        ({"package": "starter"}, "package"),
        ({"source": Source.PURCHASE, "package": "Starter"}, "package"),
        ({"source": Source.PURCHASE, "package": "x" * 64}, "package"),
    ],
    ids=str,
)
def test_the_terms_of_a_grant_have_limits(terms, field):
    with pytest.raises(MalformedError) as error:
        granting(1, **terms)

    assert fields_of(error) == [field]


@pytest.mark.parametrize("source", [Source.PURCHASE, Source.SUBSCRIPTION, Source.ADJUSTMENT])
def test_only_what_is_not_given_free_can_have_a_cost(source):
    cost = Money(minor_units=0, currency="EUR")

    assert granting(1, source=source, cost=cost).cost == cost


@pytest.mark.parametrize("ttl", [timedelta(0), -MICROSECOND, 30 * DAY + MICROSECOND])
def test_a_hold_lasts_more_than_nothing_and_at_most_thirty_days(ttl):
    with pytest.raises(MalformedError) as error:
        holding(1, ttl=ttl)

    assert fields_of(error) == ["ttl"]


@pytest.mark.parametrize(("asset", "scale", "field"), [("Credits", 0, "asset"), ("a", -1, "scale"), ("a", 19, "scale")])
def test_an_asset_is_defined_with_a_plain_name_and_a_scale_of_0_to_18(asset, scale, field):
    with pytest.raises(MalformedError) as error:
        check_asset(asset, scale)

    assert fields_of(error) == [field]


def test_all_that_is_malformed_is_told_at_once():
    with pytest.raises(MalformedError) as error:
        Deduct(request_id="", account=AccountName(tenant="default", account_id="", asset=""), amount=0)

    assert fields_of(error) == ["request_id", "account_id", "asset", "amount"]


def test_the_sentence_says_what_a_field_must_be_and_what_it_is():
    with pytest.raises(MalformedError, match=r"^amount must be 1 to 9223372036854775807; it is 0\.$"):
        deducting(0)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"overdraft_limit": -1}, "overdraft_limit"),
        ({"overdraft_limit": INT64_MAX + 1}, "overdraft_limit"),
        ({"time_zone": "Berlin"}, "time_zone"),
        ({"time_zone": ""}, "time_zone"),
        ({"time_zone": "localtime"}, "time_zone"),
        ({"time_zone": "../etc/passwd"}, "time_zone"),
        ({"time_zone": "Europe/Ber\0lin"}, "time_zone"),
        ({"limits": (LIMIT, LIMIT)}, "limits"),
        ({"limits": tuple(replace(LIMIT, name=f"l{n}") for n in range(11))}, "limits"),
        ({"limits": (replace(LIMIT, name="Daily"),)}, "limits[0].name"),
        ({"limits": (replace(LIMIT, amount=-1),)}, "limits[0].amount"),
        ({"limits": (replace(LIMIT, operation="*image"),)}, "limits[0].operation"),
        ({"limits": (replace(LIMIT, length=DAY),)}, "limits[0].length"),
        ({"limits": (replace(LIMIT, window=Window.ROLLING),)}, "limits[0].length"),
        ({"limits": (replace(LIMIT, window=Window.ROLLING, length=timedelta(0)),)}, "limits[0].length"),
        ({"limits": (replace(LIMIT, window=Window.ROLLING, length=367 * DAY),)}, "limits[0].length"),
        ({"metadata": {"": "x"}}, "metadata"),
        ({"metadata": {f"k{n}": "" for n in range(21)}}, "metadata"),
    ],
    ids=str,
)
def test_what_is_agreed_with_a_customer_has_limits(changed, field):
    with pytest.raises(MalformedError) as error:
        UpdateAccount(**OF_ACME, **changed)

    assert fields_of(error) == [field]


@pytest.mark.parametrize(
    "scope", [("*image",), ("image/**",), ("",), ("a b",), ("/x",), ("x" * 101,), tuple(f"o{n}" for n in range(11))]
)
def test_a_scope_is_a_few_operations_or_beginnings_of_them(scope):
    with pytest.raises(MalformedError) as error:
        granting(1, scope=scope)

    assert fields_of(error) == ["scope"]


@pytest.mark.parametrize("scope", [("*",), ("image/*", "chat:gpt-5"), ("x" * 100,)])
def test_scopes_of_the_allowed_form_are_taken(scope):
    assert granting(1, scope=scope).scope == scope


@pytest.mark.parametrize("operation", ["a b", "*", "image/*", "/x", "x" * 101, "ä"])
def test_an_operation_is_a_short_plain_name(operation):
    with pytest.raises(MalformedError) as error:
        replace(deducting(1), operation=operation)

    assert fields_of(error) == ["operation"]


@pytest.mark.parametrize("other", [ACME, replace(BOLT, tenant="other"), replace(BOLT, asset="tokens")])
def test_credits_move_to_another_account_of_the_same_tenant_and_asset(other):
    with pytest.raises(MalformedError) as to:
        Transfer(**OF_ACME, to=other, amount=1)
    with pytest.raises(MalformedError) as into:
        Merge(**OF_ACME, into=other)

    assert (fields_of(to), fields_of(into)) == (["to_account_id"], ["into_account_id"])


@pytest.mark.parametrize("memo", [Memo(description="why"), Memo(actor="who"), Memo()])
def test_a_correction_says_why_and_who(memo):
    for operation in OF_AN_AMOUNT[4:]:
        with pytest.raises(MalformedError) as error:
            replace(operation, memo=memo)
        assert set(fields_of(error)) <= {"memo.description", "memo.actor"}


def test_a_freeze_says_why():
    with pytest.raises(MalformedError) as error:
        Freeze(**OF_ACME, memo=Memo(actor="who"))

    assert fields_of(error) == ["memo.description"]


@pytest.mark.parametrize(
    ("expired_lots", "lot_ttl"),
    [
        (ExpiredLots.EXTEND, None),
        (ExpiredLots.EXTEND, timedelta(0)),
        (ExpiredLots.TO_ORIGINAL_LOT, DAY),
        (ExpiredLots.NEW_LOT, -DAY),
    ],
)
def test_a_refund_says_for_how_long_expired_lots_are_extended_and_for_nothing_else(expired_lots, lot_ttl):
    with pytest.raises(MalformedError) as error:
        Refund(**OF_A_PART, entry=3, expired_lots=expired_lots, lot_ttl=lot_ttl)

    assert set(fields_of(error)) == {"lot_ttl"}


@pytest.mark.parametrize("count", [0, 1001])
def test_a_batch_has_one_to_a_thousand_operations(count):
    with pytest.raises(MalformedError) as error:
        Batch(operations=(OPENING,) * count)

    assert fields_of(error) == ["operations"]


@pytest.mark.parametrize(
    ("welcome", "field"),
    [
        (Welcome(amount=0), "welcome.amount"),
        (Welcome(amount=1, ttl=timedelta(0)), "welcome.ttl"),
        (Welcome(amount=1, source=Source.PURCHASE), "welcome.source"),
    ],
)
def test_a_welcome_is_a_gift(welcome, field):
    with pytest.raises(MalformedError) as error:
        check_policy("credits", AssetPolicy(welcome=welcome))

    assert fields_of(error) == [field]


@pytest.mark.parametrize(
    ("operation", "field", "word"),
    [
        (deducting(1), "mode", "authorize"),
        (holding(1), "held_lots", "lapse"),
        (OF_PARTS[4], "expired_lots", "extend"),
        (OF_PARTS[5], "spent", "owe"),
        (OF_AN_AMOUNT[4], "direction", "up"),
    ],
)
def test_a_choice_is_not_taken_from_a_plain_word(operation, field, word):
    with pytest.raises(MalformedError) as error:
        replace(operation, **{field: word})

    assert field in fields_of(error)


def test_a_hold_is_extended_by_something():
    with pytest.raises(MalformedError) as error:
        replace(OF_PARTS[3], ttl=None)

    assert fields_of(error) == ["ttl"]
