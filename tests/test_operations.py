"""What is malformed, field by field; and fingerprints, which tell a repeat from a reuse."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ledger import (
    AccountName,
    Capture,
    Deduct,
    Grant,
    MalformedError,
    Memo,
    Money,
    OpenAccount,
    PlaceHold,
    Release,
    Source,
)
from ledger.operations import check_account, check_asset, fields_that_differ
from tests.books import ACME, DAY, MICROSECOND, START, deducting, granting, holding, opening

INT64_MAX = 2**63 - 1
CAPTURE = Capture(request_id="r", tenant=ACME.tenant, key=ACME.key, hold=3)
RELEASE = Release(request_id="r", tenant=ACME.tenant, key=ACME.key, hold=3)
OF_AN_ACCOUNT = (opening(), granting(1), deducting(1), holding(1))
EVERY = (*OF_AN_ACCOUNT, CAPTURE, RELEASE)
BAD_IDS = ("", "x" * 129, "zürich", "\u0660", "two\nlines", "tab\t", "nul\0", "\x7f")
BAD_ASSETS = ("", "Credits", "9lives", "_x", "a/b", "a b", "x" * 64, "\u00e4")


def fields_of(error):
    return [violation.field for violation in error.value.violations]


@pytest.mark.parametrize("request_id", BAD_IDS)
@pytest.mark.parametrize("operation", EVERY, ids=lambda operation: operation.kind)
def test_a_request_id_is_1_to_128_printable_ascii_characters(operation, request_id):
    with pytest.raises(MalformedError) as error:
        replace(operation, request_id=request_id)

    assert fields_of(error) == ["request_id"]


@pytest.mark.parametrize("account_id", BAD_IDS)
@pytest.mark.parametrize("operation", OF_AN_ACCOUNT, ids=lambda operation: operation.kind)
def test_an_account_id_is_1_to_128_printable_ascii_characters(operation, account_id):
    with pytest.raises(MalformedError) as error:
        replace(operation, account=replace(ACME, account_id=account_id))

    assert fields_of(error) == ["account_id"]


@pytest.mark.parametrize("asset", BAD_ASSETS)
@pytest.mark.parametrize("operation", OF_AN_ACCOUNT, ids=lambda operation: operation.kind)
def test_an_asset_is_a_short_plain_name(operation, asset):
    with pytest.raises(MalformedError) as error:
        replace(operation, account=replace(ACME, asset=asset))

    assert fields_of(error) == ["asset"]


@pytest.mark.parametrize("text", ["x", "x" * 128, " ", "a/b c~!", "order 7"])
def test_ids_of_the_allowed_form_are_taken_as_they_are(text):
    account = AccountName(tenant="default", account_id=text, asset="credits")

    operation = Deduct(request_id=text, account=account, amount=1)

    assert (operation.request_id, operation.account.account_id) == (text, text)


@pytest.mark.parametrize("asset", ["a", "x" * 63, "gpt-4.1_mini"])
def test_assets_of_the_allowed_form_are_taken(asset):
    check_asset(asset, 18)
    check_account(replace(ACME, asset=asset))


@pytest.mark.parametrize("amount", [0, -1, INT64_MAX + 1, 1.0, True, "1", None])
@pytest.mark.parametrize("operation", OF_AN_ACCOUNT[1:], ids=lambda operation: operation.kind)
def test_an_amount_is_a_whole_number_from_1_to_the_largest_int64(operation, amount):
    with pytest.raises(MalformedError) as error:
        replace(operation, amount=amount)

    assert fields_of(error) == ["amount"]


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
@pytest.mark.parametrize("operation", EVERY, ids=lambda operation: operation.kind)
def test_what_is_written_beside_an_entry_has_limits(operation, memo, field):
    with pytest.raises(MalformedError) as error:
        replace(operation, memo=memo)

    assert fields_of(error) == [field]


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


# Two values for each field that a fingerprint covers, both different from the plain request's.
TERMS = {
    "amount": (2, 3),
    "source": (Source.PURCHASE, Source.GIFT),
    "priority": (1, 2),
    "effective_at": (START, START + MICROSECOND),
    "expires_at": (START + DAY, START + DAY + MICROSECOND),
    "ttl": (DAY, DAY + MICROSECOND),
}
MEMOS = {
    "memo.description": (Memo(description="a"), Memo(description="b")),
    "memo.reference": (Memo(reference="a"), Memo(reference="b")),
    "memo.actor": (Memo(actor="a"), Memo(actor="b")),
    "memo.metadata": (Memo(metadata={"a": "1"}), Memo(metadata={"a": "2"})),
}
COVERED = {
    OpenAccount: MEMOS,
    Grant: {**TERMS, **MEMOS},
    Deduct: {"amount": TERMS["amount"], **MEMOS},
    PlaceHold: {"amount": TERMS["amount"], "ttl": TERMS["ttl"], **MEMOS},
    Capture: {"amount": (0, 2), "hold_id": (4, 5), **MEMOS},
    Release: {"hold_id": (4, 5), **MEMOS},
}


def with_field(operation, field, value):
    attribute = {"hold_id": "hold"}.get(field, field.partition(".")[0])
    return replace(operation, **{attribute: value})


@pytest.mark.parametrize(
    ("operation", "field"),
    [(operation, field) for operation in EVERY for field in COVERED[type(operation)]],
    ids=lambda case: case if isinstance(case, str) else case.kind,
)
def test_a_fingerprint_tells_which_field_differs(operation, field):
    one, other = (with_field(operation, field, value) for value in COVERED[type(operation)][field])

    assert fields_that_differ(one.fingerprint(), other.fingerprint()) == (field,)
    assert fields_that_differ(operation.fingerprint(), other.fingerprint()) == (field,)
    assert fields_that_differ(one.fingerprint(), replace(one).fingerprint()) == ()


def test_what_was_paid_is_part_of_the_fingerprint():
    free = granting(1, source=Source.PURCHASE)
    paid = replace(free, cost=Money(minor_units=1, currency="EUR"))
    otherwise = replace(free, cost=Money(minor_units=1, currency="USD"))

    assert fields_that_differ(free.fingerprint(), paid.fingerprint()) == ("cost",)
    assert fields_that_differ(paid.fingerprint(), otherwise.fingerprint()) == ("cost",)


@pytest.mark.parametrize("operation", EVERY, ids=lambda operation: operation.kind)
def test_the_request_id_is_no_part_of_the_fingerprint(operation):
    assert replace(operation, request_id="another").fingerprint() == operation.fingerprint()


def test_the_same_instant_told_in_another_time_zone_is_the_same():
    there = timezone(timedelta(hours=9))
    one = granting(1, effective_at=START, expires_at=START + DAY)
    other = granting(1, effective_at=START.astimezone(there), expires_at=(START + DAY).astimezone(there))

    assert one.fingerprint() == other.fingerprint()
    assert one.life(START) == other.life(START)


def test_a_memo_that_says_nothing_is_no_memo():
    assert replace(granting(1), memo=Memo()).fingerprint() == granting(1).fingerprint()


TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=200)


@given(TEXTS, TEXTS)
def test_no_text_can_pass_for_another(text, other_text):
    assume(text != other_text)
    one, other = (replace(deducting(1), memo=Memo(reference=reference)) for reference in (text, other_text))

    assert fields_that_differ(one.fingerprint(), other.fingerprint()) == ("memo.reference",)


@pytest.mark.parametrize(
    "text", ["x\namount=2", "x\nmemo.actor=ann", "#" + "0" * 32, "=", "a=b=c", "\r\n", "\x85", "\u2028"]
)
def test_text_cannot_forge_another_field(text):
    plain, forged = deducting(1), replace(deducting(1), memo=Memo(description=text))

    assert fields_that_differ(plain.fingerprint(), forged.fingerprint()) == ("memo.description",)


def test_a_fingerprint_stays_small_however_much_was_written_beside():
    memo = Memo(
        description="d" * 500, reference="r" * 200, actor="a" * 200, metadata={f"k{n}": "v" * 500 for n in range(20)}
    )

    assert len(replace(granting(1), memo=memo).fingerprint()) < 400
