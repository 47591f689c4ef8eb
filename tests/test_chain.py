"""The hash chain: what a hash covers, byte by byte, because customers may recompute it."""

import hashlib
import json
from dataclasses import fields, replace
from datetime import timedelta
from decimal import Decimal

import pytest

from ledger import Code, EntryKind, Line, LotTerms, Memo, Money, Source
from ledger.chain import canonical_bytes, chained_hash, genesis
from ledger.charges import charge_of
from ledger.model import Entry, Left, MadeLot
from ledger.pricing import Charge, ChargePart, Usage
from tests.books import ACME, DAY, MICROSECOND, START

TERMS = LotTerms(
    source=Source.PURCHASE,
    priority=60,
    effective_at=START,
    expires_at=START + DAY,
    cost=Money(minor_units=990, currency="EUR"),
    scope=("image/*",),
    package="starter",
)
CHARGE = Charge(
    card="gpt-5",
    version=2,
    usage=Usage(
        provider="openai",
        operation="chat",
        dimensions={"tier": "fast", "model": "gpt-5"},
        quantities={"output_token": 3, "input_token": 1832},
        bundled=("search",),
    ),
    parts=(ChargePart("input_token", 2000, 500, 7, "1.25"),),
    discount=Decimal("12.5"),
    exact="1/3",
    amount=1,
)
ENTRY = Entry(
    key=ACME.key,
    seq=2,
    kind=EntryKind.GRANT,
    request_id="r-1",
    fingerprint="amount=100\nsource=purchase",
    effective_at=START,
    recorded_at=START + MICROSECOND,
    available=100,
    held=0,
    owed=0,
    pending=0,
    lines=(Line(debit=Code.PAYMENTS, credit=Code.AVAILABLE, amount=100, lot=2),),
    made=(MadeLot(number=7, terms=TERMS, granted=100),),
    operation="image/edit",
    hold=None,
    hold_expires_at=None,
    hold_held=None,
    refunds=None,
    revokes=None,
    lots_expire_at=None,
    peer=None,
    memo=Memo(description="zehn für dich", reference="o-7", actor="ann", metadata={"b": "2", "a": "1"}),
    charge=CHARGE,
    hash=b"",
)
OTHER = {
    "seq": 3,
    "kind": EntryKind.DEDUCT,
    "request_id": "r-2",
    "fingerprint": "amount=101\nsource=purchase",
    "effective_at": START + MICROSECOND,
    "recorded_at": START,
    "available": 101,
    "held": 1,
    "owed": 1,
    "pending": 1,
    "lines": (Line(debit=Code.PAYMENTS, credit=Code.AVAILABLE, amount=100, lot=3),),
    "made": (MadeLot(number=7, terms=replace(TERMS, priority=61), granted=100),),
    "operation": "image/generate",
    "hold": 1,
    "hold_expires_at": START,
    "hold_held": 0,
    "refunds": 1,
    "revokes": 1,
    "lots_expire_at": START,
    "peer": (ACME.key, 1),
    "memo": replace(ENTRY.memo, metadata={"b": "2", "a": "2"}),
    "charge": None,
}


def test_the_canonical_bytes_are_those_of_the_documentation():
    assert (
        canonical_bytes(ENTRY)
        == (
            '[2,"grant","r-1","amount=100\\nsource=purchase",'
            '"2026-01-01T00:00:00.000000+00:00","2026-01-01T00:00:00.000001+00:00",'
            '100,0,0,0,[["payments","available",100,2]],'
            '[[7,100,"purchase",60,'
            '"2026-01-01T00:00:00.000000+00:00","2026-01-02T00:00:00.000000+00:00",[990,"EUR"],["image/*"],"starter"]],'
            '"image/edit",null,null,null,null,null,null,null,"zehn für dich","o-7","ann",[["a","1"],["b","2"]],'
            '["gpt-5",2,1,"1/3","12.5",["openai","chat",["search"],[["model","gpt-5"],["tier","fast"]],'
            '[["input_token",1832,"1.25",2000,500,7],["output_token",3]]]]]'
        ).encode()
    )


def test_a_hash_is_over_the_one_before_and_the_canonical_bytes():
    before = genesis(ACME)

    assert before == hashlib.sha256(b"default/credits/acme").digest()
    assert chained_hash(before, ENTRY) == hashlib.sha256(before + canonical_bytes(ENTRY)).digest()


def test_every_field_has_another_value_here_but_those_that_a_hash_does_not_cover():
    assert OTHER.keys() == {field.name for field in fields(Entry)} - {"key", "hash"}


@pytest.mark.parametrize("field", OTHER)
def test_another_value_of_any_field_makes_another_hash(field):
    changed = replace(ENTRY, **{field: OTHER[field]})

    assert chained_hash(genesis(ACME), changed) != chained_hash(genesis(ACME), ENTRY)


@pytest.mark.parametrize(
    "changed",
    [
        {"source": Source.SUBSCRIPTION},
        {"effective_at": START + MICROSECOND},
        {"expires_at": None},
        {"expires_at": START + DAY + MICROSECOND},
        {"cost": None},
        {"cost": Money(minor_units=991, currency="EUR")},
        {"cost": Money(minor_units=990, currency="USD")},
        {"scope": ()},
        {"scope": ("image/*", "video/*")},
        {"package": ""},
        {"package": "pro"},
    ],
    ids=str,
)
def test_another_term_of_a_lot_makes_another_hash(changed):
    other = replace(ENTRY, made=(replace(ENTRY.made[0], terms=replace(TERMS, **changed)),))

    assert chained_hash(genesis(ACME), other) != chained_hash(genesis(ACME), ENTRY)


@pytest.mark.parametrize(
    "changed",
    [{"debit": Code.PROMOTIONS}, {"credit": Code.HELD}, {"amount": 101}, {"lot": None}],
    ids=str,
)
def test_another_word_of_a_line_makes_another_hash(changed):
    other = replace(ENTRY, lines=(replace(ENTRY.lines[0], **changed),))

    assert chained_hash(genesis(ACME), other) != chained_hash(genesis(ACME), ENTRY)


@pytest.mark.parametrize("changed", [{"number": 8}, {"granted": 101}], ids=str)
def test_another_number_or_amount_of_a_lot_makes_another_hash(changed):
    other = replace(ENTRY, made=(replace(ENTRY.made[0], **changed),))

    assert chained_hash(genesis(ACME), other) != chained_hash(genesis(ACME), ENTRY)


@pytest.mark.parametrize(
    "changed",
    [
        {"card": "gpt-6"},
        {"version": 3},
        {"amount": 2},
        {"exact": "2/3"},
        {"discount": None},
        {"parts": ()},
        {"usage": replace(CHARGE.usage, provider="other")},
        {"usage": replace(CHARGE.usage, operation="search", bundled=("chat",))},
        {"usage": replace(CHARGE.usage, dimensions={})},
        {"usage": replace(CHARGE.usage, quantities={**CHARGE.usage.quantities, "output_token": 4})},
    ],
    ids=str,
)
def test_another_word_of_a_charge_makes_another_hash(changed):
    other = replace(ENTRY, charge=replace(CHARGE, **changed))

    assert chained_hash(genesis(ACME), other) != chained_hash(genesis(ACME), ENTRY)


def test_a_charge_is_made_again_of_its_canonical_values():
    assert charge_of(json.loads(CHARGE.text)) == CHARGE


def test_what_a_line_leaves_in_its_lot_follows_from_the_lines_and_is_not_hashed():
    other = replace(ENTRY, lines=(replace(ENTRY.lines[0], left=Left(100, 0, 0, 0)),))

    assert canonical_bytes(other) == canonical_bytes(ENTRY)


@pytest.mark.parametrize("field", ["description", "reference", "actor"])
def test_words_that_move_from_one_field_of_the_memo_to_another_make_another_hash(field):
    empty = Memo()
    one = replace(ENTRY, memo=replace(empty, **{field: "x"}))
    others = [
        replace(ENTRY, memo=replace(empty, **{other: "x"}))
        for other in ("description", "reference", "actor")
        if other != field
    ]

    assert canonical_bytes(one) not in {canonical_bytes(other) for other in others}


def test_the_order_in_which_metadata_was_told_does_not_matter():
    other = replace(ENTRY, memo=replace(ENTRY.memo, metadata={"a": "1", "b": "2"}))

    assert canonical_bytes(other) == canonical_bytes(ENTRY)


def test_the_order_in_which_usage_was_told_does_not_matter():
    told = CHARGE.usage
    turned = replace(
        told,
        dimensions=dict(reversed(told.dimensions.items())),
        quantities=dict(reversed(told.quantities.items())),
    )

    assert canonical_bytes(replace(ENTRY, charge=replace(CHARGE, usage=turned))) == canonical_bytes(ENTRY)


def test_a_history_cannot_lose_its_beginning():
    assert chained_hash(genesis(ACME), ENTRY) != chained_hash(b"", ENTRY)


def test_no_two_accounts_begin_alike():
    names = [
        ACME,
        replace(ACME, tenant="other"),
        replace(ACME, asset="tokens"),
        replace(ACME, account_id="bolt"),
    ]

    assert len({genesis(name) for name in names}) == len(names)


def test_an_instant_is_written_with_six_decimals_even_if_they_are_zero():
    on_the_second = replace(ENTRY, effective_at=START + timedelta(seconds=1))

    assert b'"2026-01-01T00:00:01.000000+00:00"' in canonical_bytes(on_the_second)
