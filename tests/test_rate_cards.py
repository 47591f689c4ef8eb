"""The form of rate cards and usage: what is refused, under which name, and in which words."""

from dataclasses import replace
from decimal import Decimal
from types import MappingProxyType

import pytest

from ledger import INT64_MAX, MalformedError, Rounding, Tiering, Window, check_cards, check_usage, decimal_of
from tests.books import MICROSECOND, START
from tests.model_prices import discount, meter, rate_card, tiers, used

DAILY = MappingProxyType({"period": Window.DAY})
DECIMAL_RULE = f"must be a decimal from 0 to {INT64_MAX} with at most 18 decimal places"
STEPS = tiers((10, "2"), (None, "1"))

WELL_FORMED = [
    rate_card(),
    rate_card(provider="open*", operations=("image/*",), dimensions={"model": "gpt-*", "region": "*"}),
    rate_card(operations=("chat", "search")),
    rate_card(fixed=Decimal(INT64_MAX), minimum=Decimal("0.000000000000000001")),
    rate_card(meters=(meter("1"),), minimum=Decimal(1)),
    rate_card(meters=(meter("0", per=INT64_MAX, step=INT64_MAX, minimum=INT64_MAX, free=INT64_MAX),), **DAILY),
    rate_card(meters=(meter(tiers=STEPS, tiering=Tiering.VOLUME),), **DAILY),
    rate_card(meters=(meter(tiers=tiers((None, "1")), tiering=Tiering.GRADUATED),), **DAILY),
    rate_card(discount=discount("100", START, START + MICROSECOND)),
    rate_card(meters=tuple(meter("1", unit=f"u{number}") for number in range(20))),
]

MALFORMED_CARDS = [
    # what the card has, the field, how the sentence about it begins
    ({"card": "GPT"}, "card", "must be 1 to 63 characters"),
    ({"provider": ""}, "provider", "must be 1 to 63 characters"),
    ({"provider": "Open*"}, "provider", "must be 1 to 63 characters"),
    ({"provider": "open**"}, "provider", "must be 1 to 63 characters"),
    ({"operations": ()}, "operations", "must name at least one."),
    ({"operations": ("a b",)}, "operations", "must be at most 100 letters"),
    ({"operations": ("",)}, "operations", "must not be empty."),
    ({"operations": ("chat", "image*")}, "operations", "must be at most 100 letters"),
    ({"operations": ("chat", "")}, "operations", "must not be empty."),
    ({"operations": ("chat", "chat")}, "operations", "must each have names of their own; 'chat' is there twice."),
    ({"operations": tuple(f"o{n}" for n in range(22))}, "operations", "must have at most 21; it has 22."),
    ({"dimensions": {"Model": "x"}}, "dimensions key", "must be 1 to 63 characters"),
    ({"dimensions": {"model": ""}}, 'dimensions["model"]', "must be 1 to 100 printable ASCII characters; it is ''."),
    ({"dimensions": {"model": "x" * 101}}, 'dimensions["model"]', "must be 1 to 100 printable"),
    ({"dimensions": {f"d{n}": "x" for n in range(11)}}, "dimensions", "must have at most 10; it has 11."),
    ({"fixed": Decimal(-1)}, "fixed", f"{DECIMAL_RULE}; it is -1."),
    ({"fixed": Decimal("NaN")}, "fixed", f"{DECIMAL_RULE}; it is NaN."),
    ({"fixed": Decimal("Infinity")}, "fixed", f"{DECIMAL_RULE}; it is Infinity."),
    ({"fixed": Decimal(INT64_MAX + 1)}, "fixed", f"{DECIMAL_RULE}; it is 9223372036854775808."),
    ({"fixed": Decimal("1E+999999999")}, "fixed", f"{DECIMAL_RULE}; it is 1E+999999999."),
    ({"fixed": Decimal("0E+99999")}, "fixed", f"{DECIMAL_RULE}; it is 0E+99999."),
    ({"fixed": Decimal("0E-999999999")}, "fixed", f"{DECIMAL_RULE}; it is 0E-"),
    ({"fixed": Decimal("0.0000000000000000001")}, "fixed", f"{DECIMAL_RULE}; it is 1E-19."),
    ({"minimum": Decimal(-1), "fixed": Decimal(1)}, "minimum", f"{DECIMAL_RULE}; it is -1."),
    ({"minimum": Decimal("sNaN"), "fixed": Decimal(1)}, "minimum", f"{DECIMAL_RULE}; it is sNaN."),
    ({"minimum": Decimal(5)}, "minimum", "must be 0 on a card that charges nothing else; name it `fixed`."),
    ({"meters": tuple(meter("1", unit=f"u{n}") for n in range(21))}, "meters", "must have at most 20; it has 21."),
    ({"meters": (meter("1"), meter("2"))}, "meters", "must each have units of their own; 'token' is there twice."),
    ({"meters": (meter("1", unit="Token"),)}, "meters[0].unit", "must be 1 to 63 characters"),
    ({"meters": (meter("-0.5"),)}, "meters[0].rate", f"{DECIMAL_RULE}; it is -0.5."),
    ({"meters": (meter(),)}, "meters[0].rate", "must be given, or tiers instead."),
    ({"meters": (meter("1", per=0),)}, "meters[0].per", "must be 1 to 9223372036854775807; it is 0."),
    ({"meters": (meter("1", step=0),)}, "meters[0].step", "must be 1 to 9223372036854775807; it is 0."),
    ({"meters": (meter("1", minimum=-1),)}, "meters[0].minimum", "must be 0 to 9223372036854775807; it is -1."),
    ({"meters": (meter("1", free=-1),)}, "meters[0].free", "must be 0 to 9223372036854775807; it is -1."),
    (
        {"meters": (meter("1", free=1),)},
        "period",
        "must be given: token has an allowance or tiers, which",
    ),
    ({"meters": (meter(tiers=STEPS, tiering=Tiering.VOLUME),)}, "period", "must be given: token has"),
    ({"meters": (meter("1"),), **DAILY}, "period", "must be absent, as no meter has an allowance or tiers."),
    (
        {"meters": (meter("1", free=1),), "period": Window.ROLLING},
        "period",
        "must be hour, day or month.",
    ),
    ({"meters": (meter("1", tiering=Tiering.VOLUME),)}, "meters[0].tiering", "must be absent without tiers."),
    ({"meters": (meter(tiers=STEPS),), **DAILY}, "meters[0].tiering", "must be a Tiering."),
    (
        {"meters": (meter("1", tiers=STEPS, tiering=Tiering.VOLUME),), **DAILY},
        "meters[0].rate",
        "must be absent beside tiers, which have rates of their own.",
    ),
    ({"rounding": "up"}, "rounding", "must be a Rounding."),
    ({"discount": discount("0")}, "discount.percent", "must be a decimal of more than 0 and at most 100; it is 0."),
    ({"discount": discount("100.1")}, "discount.percent", "must be a decimal of more than 0 and at most 100; it is 1"),
    ({"discount": discount("NaN")}, "discount.percent", "must be a decimal of more than 0 and at most 100; it is NaN."),
    ({"discount": discount("5", START, START)}, "discount.until", "must be after `since`."),
    ({"discount": discount("5", START.replace(tzinfo=None))}, "discount.since", "must say its time zone."),
    ({"description": "x" * 1001}, "description", "must have at most 1000 characters; it has 1001."),
    ({"effective_at": START.replace(tzinfo=None)}, "effective_at", "must say its time zone."),
]

MALFORMED_TIERS = [
    (((10, "2"), (20, "1")), "[1].up_to", "must be absent, as the last tier has no end."),
    (((None, "2"), (None, "1")), "[0].up_to", "must be given; only the last tier has no end."),
    (((0, "2"), (None, "1")), "[0].up_to", "must be 1 to 9223372036854775807; it is 0."),
    (
        ((10, "2"), (10, "1"), (None, "1")),
        "[1].up_to",
        "must be more than that of the tier before, 10; it is 10.",
    ),
    (((10, "2"), (None, "-1")), "[1].rate", f"{DECIMAL_RULE}; it is -1."),
    (tuple((n or None, "1") for n in (*range(1, 21), 0)), "", "must have at most 20; it has 21."),
]

MALFORMED_USAGE = [
    (used(provider=""), "usage.provider", "must be 1 to 63 characters"),
    (used(provider="open*"), "usage.provider", "must be 1 to 63 characters"),
    (used(operation=""), "usage.operation", "must not be empty."),
    (used(operation="chat*"), "usage.operation", "must be at most 100 letters"),
    (used(dimensions={"model": "é"}), 'usage.dimensions["model"]', "must be 1 to 100 printable ASCII"),
    (used(dimensions={"": "x"}), "usage.dimensions key", "must be 1 to 63 characters"),
    (used(dimensions={f"d{n}": "x" for n in range(11)}), "usage.dimensions", "must have at most 10; it has 11."),
    (used(token=-1), 'usage.quantities["token"]', "must be 0 to 9223372036854775807; it is -1."),
    (used(token=2**63), 'usage.quantities["token"]', "must be 0 to 9223372036854775807; it is 9223372036854775808."),
    (used(Token=1), "usage.quantities key", "must be 1 to 63 characters"),
    (used(**{f"u{n}": 1 for n in range(21)}), "usage.quantities", "must have at most 20; it has 21."),
    (used(bundled=("chat",)), "usage.bundled", "must name each operation once, and not `operation` again."),
    (used(bundled=("a", "a")), "usage.bundled", "must name each operation once, and not `operation` again."),
    (used(bundled=("",)), "usage.bundled", "must not be empty."),
    (used(bundled=tuple(f"o{n}" for n in range(21))), "usage.bundled", "must have at most 20; it has 21."),
]


def violations_of(check, *given):
    with pytest.raises(MalformedError) as raised:
        check(*given)
    return raised.value.violations


@pytest.mark.parametrize("card", WELL_FORMED)
def test_a_card_at_the_edge_of_what_is_allowed_is_taken(card):
    check_cards((card,))


@pytest.mark.parametrize(("changes", "field", "must"), MALFORMED_CARDS)
def test_a_malformed_card_is_refused_with_its_field_and_a_sentence(changes, field, must):
    fine, bad = rate_card("fine"), rate_card(**{"card": "bad", **changes})

    (violation,) = violations_of(check_cards, (fine, bad))

    assert violation.field == f"cards[1].{field}"
    assert violation.must.startswith(must)


@pytest.mark.parametrize(("stretches", "field", "must"), MALFORMED_TIERS)
def test_malformed_tiers_are_refused_with_their_place_and_a_sentence(stretches, field, must):
    card = rate_card(meters=(meter(tiers=tiers(*stretches), tiering=Tiering.GRADUATED),), **DAILY)

    (violation,) = violations_of(check_cards, (card,))

    assert violation.field == f"cards[0].meters[0].tiers{field}"
    assert violation.must == must


def test_a_card_is_named_once_and_there_are_not_too_many():
    twice = violations_of(check_cards, (rate_card("one"), rate_card("one")))
    many = violations_of(check_cards, tuple(rate_card(f"c{number}") for number in range(1001)))

    assert [(one.field, one.must) for one in twice] == [
        ("cards", "must each have names of their own; 'one' is there twice.")
    ]
    assert [(one.field, one.must) for one in many] == [("cards", "must have at most 1000; it has 1001.")]


def test_all_that_is_wrong_is_told_at_once():
    card = replace(rate_card("bad", provider="X", fixed=Decimal(-1)), rounding=Rounding.UP, description="\0")

    assert [violation.field for violation in violations_of(check_cards, (card,))] == [
        "cards[0].provider",
        "cards[0].fixed",
        "cards[0].description",
    ]


def test_usage_at_the_edge_of_what_is_allowed_is_taken():
    check_usage(
        used(
            operation="image/generate",
            bundled=("chat", "search"),
            dimensions={"model": "gpt 5*"},
            token=0,
            second=INT64_MAX,
        )
    )


@pytest.mark.parametrize(("usage", "field", "must"), MALFORMED_USAGE)
def test_malformed_usage_is_refused_with_its_field_and_a_sentence(usage, field, must):
    (violation,) = violations_of(check_usage, usage)

    assert violation.field == field
    assert violation.must.startswith(must)


@pytest.mark.parametrize("text", ["0", "0.0125", "9223372036854775807", "00.10", "0.000000000000000001"])
def test_a_decimal_is_read_as_it_is_written(text):
    assert decimal_of("rate", text) == Decimal(text)


@pytest.mark.parametrize("text", ["", "-1", "+1", "1e3", "NaN", ".5", "5.", "1,5", "1_000", " 1", "٣", "1" * 20])
def test_what_is_no_plain_decimal_is_refused(text):
    (violation,) = violations_of(decimal_of, "rate", text)

    assert violation.field == "rate"
    assert violation.must == f"{DECIMAL_RULE}; it is {text!r}."
