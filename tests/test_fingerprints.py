"""Fingerprints, which tell a repeat from a reuse."""

from dataclasses import replace
from datetime import timedelta, timezone

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ledger import (
    Adjust,
    Capture,
    Close,
    Deduct,
    DeductMode,
    Direction,
    ExpiredLots,
    ExtendHold,
    Freeze,
    Grant,
    HeldLots,
    HoldLot,
    IncreaseHold,
    Memo,
    Merge,
    Money,
    OpenAccount,
    PlaceHold,
    Refund,
    Release,
    Revoke,
    RollOver,
    Source,
    SpentPart,
    Transfer,
    Unfreeze,
    UpdateAccount,
    Usage,
    Window,
    WriteOff,
)
from ledger.fields import fields_that_differ
from tests.books import ACME, DAY, MICROSECOND, START, deducting, granting, holding
from tests.operations import (
    CAPTURE,
    EVERY,
    LIMIT,
    OF_ACME,
    OF_AN_AMOUNT,
    OF_PARTS,
)

# Two values for each field that a fingerprint covers, both different from the plain request's.
TERMS = {
    "amount": (2, 3),
    "source": (Source.PURCHASE, Source.GIFT),
    "priority": (1, 2),
    "effective_at": (START, START + MICROSECOND),
    "expires_at": (START + DAY, START + DAY + MICROSECOND),
    "ttl": (DAY, DAY + MICROSECOND),
    "scope": (("image/*",), ("image/*", "video/*")),
}
USE = {"operation": ("image/edit", "image/generate")}
MEMOS = {
    "memo.description": (Memo(description="a"), Memo(description="b")),
    "memo.reference": (Memo(reference="a"), Memo(reference="b")),
    "memo.actor": (Memo(actor="a"), Memo(actor="b")),
    "memo.metadata": (Memo(metadata={"a": "1"}), Memo(metadata={"a": "2"})),
}
AMOUNT, HOLD_ID = {"amount": (2, 3)}, {"hold_id": (4, 5)}
OTHERS = (replace(ACME, account_id="cora"), replace(ACME, account_id="dora"))
COVERED = {
    OpenAccount: MEMOS,
    Grant: {**TERMS, "revives": (0, 1), **MEMOS},
    Deduct: {**AMOUNT, **USE, "mode": (DeductMode.CLAMP, DeductMode.RECORD), **MEMOS},
    PlaceHold: {
        **AMOUNT,
        **USE,
        "ttl": TERMS["ttl"],
        "tolerance": (1, 2),
        **MEMOS,
    },
    Capture: {"amount": (0, 2), **HOLD_ID, **MEMOS},
    Release: {**HOLD_ID, **MEMOS},
    IncreaseHold: {**AMOUNT, **HOLD_ID, **MEMOS},
    ExtendHold: {"ttl": TERMS["ttl"], **HOLD_ID, **MEMOS},
    Refund: {"entry_id": (4, 5), **AMOUNT, **MEMOS},
    Revoke: {"lot_id": (4, 5), **AMOUNT, **MEMOS},
    HoldLot: {"lot_id": (4, 5), **AMOUNT, "ttl": TERMS["ttl"], **MEMOS},
    RollOver: {"lot_id": (4, 5), **AMOUNT, "ttl": TERMS["ttl"], **MEMOS},
    Transfer: {**AMOUNT, "to_account_id": OTHERS, **MEMOS},
    Merge: {"into_account_id": OTHERS, **MEMOS},
    Adjust: AMOUNT,
    WriteOff: AMOUNT,
    Freeze: {},
    Unfreeze: MEMOS,
    Close: MEMOS,
    UpdateAccount: {
        "overdraft_limit": (0, 1),
        "unlimited": (True, False),
        "time_zone": ("Europe/Berlin", "Asia/Tokyo"),
        "limits": ((), (LIMIT,)),
        "metadata": ({}, {"plan": "pro"}),
        **MEMOS,
    },
}
ATTRIBUTES = {"hold_id": "hold", "entry_id": "entry", "lot_id": "lot", "to_account_id": "to", "into_account_id": "into"}


def with_field(operation, field, value):
    attribute = ATTRIBUTES.get(field, field.partition(".")[0])
    return replace(operation, **{attribute: value})


@pytest.mark.parametrize(
    ("operation", "field"),
    [(operation, field) for operation in EVERY for field in COVERED[type(operation)]],
    ids=lambda case: case if isinstance(case, str) else type(case).__name__,
)
def test_a_fingerprint_tells_which_field_differs(operation, field):
    one, other = (with_field(operation, field, value) for value in COVERED[type(operation)][field])

    assert fields_that_differ(one.fingerprint(), other.fingerprint()) == (field,)
    assert fields_that_differ(operation.fingerprint(), other.fingerprint()) == (field,)
    assert fields_that_differ(one.fingerprint(), replace(one).fingerprint()) == ()


@pytest.mark.parametrize(
    ("one", "other", "field"),
    [
        (CAPTURE, replace(CAPTURE, final=False), "final"),
        (holding(1), replace(holding(1), held_lots=HeldLots.LAPSE), "held_lots"),
        (OF_AN_AMOUNT[4], replace(OF_AN_AMOUNT[4], direction=Direction.DOWN), "direction"),
        (OF_PARTS[5], replace(OF_PARTS[5], spent=SpentPart.LEAVE), "spent"),
        (OF_PARTS[5], replace(OF_PARTS[5], at_most=True), "at_most"),
        (OF_PARTS[7], replace(OF_PARTS[7], expires_at=START + DAY), "expires_at"),
        (OF_PARTS[4], replace(OF_PARTS[4], expired_lots=ExpiredLots.NEW_LOT), "expired_lots"),
        (
            replace(OF_PARTS[4], expired_lots=ExpiredLots.NEW_LOT, lot_ttl=DAY),
            replace(OF_PARTS[4], expired_lots=ExpiredLots.NEW_LOT),
            "lot_ttl",
        ),
    ],
    ids=lambda case: case if isinstance(case, str) else "",
)
def test_a_choice_is_part_of_the_fingerprint(one, other, field):
    assert fields_that_differ(one.fingerprint(), other.fingerprint()) == (field,)


@pytest.mark.parametrize("changed", [{"name": "d"}, {"window": Window.MONTH}, {"amount": 9}, {"operation": "image/*"}])
def test_each_word_of_a_spend_limit_is_part_of_the_fingerprint(changed):
    one, other = (UpdateAccount(**OF_ACME, limits=(limit,)) for limit in (LIMIT, replace(LIMIT, **changed)))

    assert fields_that_differ(one.fingerprint(), other.fingerprint()) == ("limits",)


def test_what_was_paid_is_part_of_the_fingerprint():
    free = granting(1, source=Source.PURCHASE)
    paid = replace(free, cost=Money(minor_units=1, currency="EUR"))
    otherwise = replace(free, cost=Money(minor_units=1, currency="USD"))

    assert fields_that_differ(free.fingerprint(), paid.fingerprint()) == ("cost",)
    assert fields_that_differ(paid.fingerprint(), otherwise.fingerprint()) == ("cost",)


def test_what_it_was_sold_as_is_part_of_the_fingerprint():
    starter, pro = (granting(1, source=Source.PURCHASE, package=package) for package in ("starter", "pro"))

    assert fields_that_differ(starter.fingerprint(), pro.fingerprint()) == ("package",)


@pytest.mark.parametrize("operation", EVERY, ids=lambda operation: type(operation).__name__)
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


def test_usage_is_compared_whatever_the_order_it_was_told_in():
    usage = Usage(provider="p", operation="o", dimensions={"a": "1", "b": "2"}, quantities={"x": 1, "y": 2})
    turned = replace(usage, dimensions={"b": "2", "a": "1"}, quantities={"y": 2, "x": 1})
    others = [
        replace(usage, provider="q"),
        replace(usage, operation="q"),
        replace(usage, dimensions={"a": "1", "b": "3"}),
        replace(usage, quantities={"x": 2, "y": 1}),
        replace(usage, bundled=("q",)),
    ]
    asked = [Deduct(request_id="r", account=ACME, usage=one).fingerprint() for one in (usage, turned, *others)]

    assert asked[0] == asked[1]
    assert len(set(asked)) == 1 + len(others)
    assert fields_that_differ(asked[0], asked[2]) == ("usage",)
