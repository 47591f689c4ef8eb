"""Prices: what each kind of card charges, which card counts, and both against the dumbest way of doing the same."""

import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ledger import INT64_MAX, Discount, Meter, PriceBook, Rounding, Tier, Tiering, Unpriced, Usage, Window
from ledger.charges import charge_of
from ledger.price_book import clash
from tests.books import MICROSECOND, START
from tests.model_prices import (
    card_for,
    counted_by,
    discount,
    exact_price,
    meter,
    needs_period,
    price_of,
    rate_card,
    rounded,
    tiers,
    used,
)

LATER = START + timedelta(days=10)
GRADUATED = {"tiers": tiers((100, "5"), (1000, "3"), (None, "2")), "tiering": Tiering.GRADUATED}
VOLUME = GRADUATED | {"tiering": Tiering.VOLUME}
MONTHLY = {"period": Window.MONTH}

CHARGES = [
    # what the card has, quantities, before, exact, amount
    ({"fixed": Decimal(3)}, {}, {}, "3", 3),
    ({"fixed": Decimal("0.5")}, {"whatever": 9}, {}, "0.5", 1),
    ({}, {}, {}, "0", 0),
    ({"meters": (meter("0.25"),)}, {"token": 10}, {}, "2.5", 3),
    ({"meters": (meter("0.25"),)}, {"token": 0}, {}, "0", 0),
    ({"meters": (meter("0.25"),)}, {}, {}, "0", 0),
    ({"meters": (meter("15", per=1_000_000),)}, {"token": 1832}, {}, "0.02748", 1),
    ({"meters": (meter("1", per=3),)}, {"token": 1}, {}, "1/3", 1),
    ({"meters": (meter("1", per=3),)}, {"token": 6}, {}, "2", 2),
    ({"meters": (meter("1.5", per=3),)}, {"token": 1}, {}, "0.5", 1),
    ({"meters": (meter("2", per=60, unit="second", step=6, minimum=30),)}, {"second": 1}, {}, "1", 1),
    ({"meters": (meter("2", per=60, unit="second", step=6, minimum=30),)}, {"second": 31}, {}, "1.2", 2),
    ({"meters": (meter("2", per=60, unit="second", step=6, minimum=30),)}, {"second": 0}, {}, "0", 0),
    ({"meters": (meter("1", unit="in"), meter("4", unit="out"))}, {"in": 10, "out": 5}, {}, "30", 30),
    ({"meters": (meter("1", unit="in"), meter("4", unit="out"))}, {"out": 5}, {}, "20", 20),
    ({"fixed": Decimal(2), "meters": (meter("1"),)}, {"token": 3}, {}, "5", 5),
    ({"meters": (meter(**GRADUATED),), **MONTHLY}, {"token": 100}, {}, "500", 500),
    ({"meters": (meter(**GRADUATED),), **MONTHLY}, {"token": 101}, {}, "503", 503),
    ({"meters": (meter(**GRADUATED),), **MONTHLY}, {"token": 20}, {"token": 90}, "80", 80),
    ({"meters": (meter(**GRADUATED),), **MONTHLY}, {"token": 1000}, {"token": 50}, "3050", 3050),
    ({"meters": (meter(**GRADUATED),), **MONTHLY}, {"token": 10}, {"token": 5000}, "20", 20),
    ({"meters": (meter(**VOLUME),), **MONTHLY}, {"token": 100}, {}, "500", 500),
    ({"meters": (meter(**VOLUME),), **MONTHLY}, {"token": 101}, {}, "303", 303),
    ({"meters": (meter(**VOLUME),), **MONTHLY}, {"token": 20}, {"token": 90}, "60", 60),
    ({"meters": (meter("1", free=100),), **MONTHLY}, {"token": 30}, {"token": 60}, "0", 0),
    ({"meters": (meter("1", free=100),), **MONTHLY}, {"token": 30}, {"token": 90}, "20", 20),
    ({"meters": (meter("1", free=100),), **MONTHLY}, {"token": 30}, {"token": 200}, "30", 30),
    ({"meters": (meter(free=50, **GRADUATED),), **MONTHLY}, {"token": 20}, {"token": 140}, "80", 80),
    ({"meters": (meter("1", free=10, minimum=4, step=5),), **MONTHLY}, {"token": 1}, {"token": 8}, "3", 3),
    ({"meters": (meter("1"),), "minimum": Decimal(5)}, {"token": 3}, {}, "5", 5),
    ({"meters": (meter("1"),), "minimum": Decimal(5)}, {"token": 6}, {}, "6", 6),
    ({"meters": (meter("1"),), "minimum": Decimal(5)}, {"token": 0}, {}, "0", 0),
    ({"meters": (meter("0"),), "minimum": Decimal(5)}, {"token": 3}, {}, "0", 0),
    ({"meters": (meter("1", free=9),), "minimum": Decimal(5), **MONTHLY}, {"token": 9}, {}, "0", 0),
    ({"meters": (meter("1", free=9),), "minimum": Decimal(5), **MONTHLY}, {"token": 10}, {}, "5", 5),
    ({"meters": (meter("1"),), "fixed": Decimal(1), "minimum": Decimal(5)}, {"token": 0}, {}, "5", 5),
    ({"fixed": Decimal(10), "discount": discount("12.5")}, {}, {}, "8.75", 9),
    ({"fixed": Decimal(10), "discount": discount("100")}, {}, {}, "0", 0),
    ({"meters": (meter("1", per=3),), "discount": discount("10")}, {"token": 1}, {}, "0.3", 1),
    ({"meters": (meter("1", per=7),), "discount": discount("10")}, {"token": 1}, {}, "9/70", 1),
    ({"fixed": Decimal(1), "minimum": Decimal(4), "discount": discount("50")}, {}, {}, "2", 2),
]


@pytest.mark.parametrize(("changes", "quantities", "before", "exact", "amount"), CHARGES)
def test_each_kind_of_card_charges_what_it_says(changes, quantities, before, exact, amount):
    charge = price_of(rate_card(**changes), used(**quantities), before)

    assert (charge.exact, charge.amount) == (exact, amount)


def test_a_charge_tells_how_it_was_computed():
    card = rate_card(
        "llm",
        version=3,
        fixed=Decimal("0.5"),
        meters=(meter("0.01", unit="in", free=50), meter("0.04", unit="out"), meter("1", unit="image")),
        discount=discount("20"),
        **MONTHLY,
    )
    usage = used(**{"in": 70, "out": 30})

    charge = price_of(card, usage, {"in": 10, "out": 999})

    assert (charge.card, charge.version, charge.usage, charge.discount) == ("llm", 3, usage, Decimal(20))
    assert [part._asdict() for part in charge.parts] == [
        {"unit": "in", "counted": 70, "free": 40, "before": 10, "exact": "0.3"},
        {"unit": "out", "counted": 30, "free": 0, "before": 0, "exact": "1.2"},
    ]
    assert (charge.exact, charge.amount) == ("1.6", 2)


@pytest.mark.parametrize(
    ("rounding", "amounts"),
    [(Rounding.UP, (0, 1, 1, 1, 2, 3)), (Rounding.HALF_EVEN, (0, 0, 0, 1, 2, 2)), (Rounding.DOWN, (0, 0, 0, 0, 1, 2))],
)
def test_the_exact_amount_is_rounded_once_as_the_card_says(rounding, amounts):
    exact = ("0", "0.2", "0.5", "0.7", "1.5", "2.5")

    charges = [price_of(rate_card(fixed=Decimal(one), rounding=rounding), used()) for one in exact]

    assert tuple(charge.amount for charge in charges) == amounts
    assert tuple(charge.exact for charge in charges) == exact


def test_parts_are_summed_before_they_are_rounded():
    card = rate_card(meters=(meter("0.4", unit="a"), meter("0.4", unit="b"), meter("0.2", unit="c")))

    assert price_of(card, used(a=1, b=1, c=1)).amount == 1


def test_a_discount_holds_from_its_first_instant_to_the_one_before_its_end():
    since, until = START + timedelta(days=1), START + timedelta(days=2)
    card = rate_card(fixed=Decimal(10), discount=discount("50", since, until))
    instants = (START, since - MICROSECOND, since, until - MICROSECOND, until)

    charges = [price_of(card, used(), at=at) for at in instants]

    assert [charge.amount for charge in charges] == [10, 10, 5, 5, 10]
    assert [charge.discount for charge in charges] == [None, None, 50, 50, None]


def test_a_quantity_in_a_unit_without_a_rate_is_refused_even_if_it_is_nothing():
    card = rate_card("llm", meters=(meter("1", unit="in"), meter("2", unit="out")))

    refused = price_of(card, used(**{"in": 1, "second": 0, "minute": 0}))

    assert refused.reason == "unit_mismatch"
    assert refused.figures == {"card": "llm", "version": 1, "unit": "minute", "units": "in, out"}


@pytest.mark.parametrize(
    ("card", "before"),
    [
        (rate_card(meters=(meter("2"),)), 0),
        (rate_card(meters=(meter("1"),), fixed=Decimal("0.000000000000000001")), 0),
        (rate_card(meters=(meter("0", step=1000),)), 0),
        (rate_card(meters=(meter("0", free=1),), **MONTHLY), 1),
    ],
    ids=["the amount", "the amount once rounded", "what is counted", "what the period has"],
)
def test_what_does_not_fit_into_64_bits_is_refused(card, before):
    refused = price_of(card, used(token=INT64_MAX), {"token": before})

    assert refused.reason == "cost_overflow"
    assert refused.figures == {"card": "card", "version": 1, "limit": INT64_MAX}


@pytest.mark.parametrize("quantity", [10**18, INT64_MAX])
def test_the_largest_quantities_are_priced_exactly(quantity):
    card = rate_card(meters=(meter("0.000000000000000001", unit="a"), meter("1", unit="b"), meter("0", unit="c")))

    charge = price_of(card, used(a=quantity, b=quantity - 10, c=quantity))

    assert Fraction(charge.exact) == Fraction(quantity, 10**18) + quantity - 10
    assert charge.amount == quantity if quantity == INT64_MAX else charge.amount == quantity - 9


# Which card counts: for what is used, the cards in the order in which they count when those before are not there.
OPENAI_CHAT = {"provider": "openai", "operations": ("chat",)}
BY_MODEL = [
    rate_card("both-exact", **OPENAI_CHAT, dimensions={"model": "gpt-5", "region": "eu"}),
    rate_card("two-named", **OPENAI_CHAT, dimensions={"model": "*", "region": "*"}),
    rate_card("exact-model", **OPENAI_CHAT, dimensions={"model": "gpt-5"}),
    rate_card("longer-model", **OPENAI_CHAT, dimensions={"model": "gpt-*"}),
    rate_card("shorter-model", **OPENAI_CHAT, dimensions={"model": "g*"}),
    rate_card("any-model", **OPENAI_CHAT, dimensions={"model": "*"}),
    rate_card("a-later-name", **OPENAI_CHAT, dimensions={"region": "eu"}),
    rate_card("no-dimension", **OPENAI_CHAT),
    rate_card("longer-operation", provider="openai", operations=("cha*",), dimensions={"model": "gpt-5"}),
    rate_card("shorter-operation", provider="openai", operations=("c*",)),
    rate_card("any-operation", provider="openai", operations=("*",)),
    rate_card("longer-provider", provider="open*", operations=("chat",), dimensions={"model": "gpt-5"}),
    rate_card("shorter-provider", provider="o*", operations=("chat",)),
    rate_card("any-provider", provider="*", operations=("chat",)),
    rate_card("anything", provider="*", operations=("*",)),
]


def test_the_more_specific_card_counts_in_the_order_that_the_docs_give():
    usage = used(dimensions={"model": "gpt-5", "region": "eu"})

    books = [PriceBook(tuple(reversed(BY_MODEL[first:]))) for first in range(len(BY_MODEL))]
    found = [book.find(usage, START).card.card for book in books]

    assert found == [card.card for card in BY_MODEL]


@pytest.mark.parametrize(
    "card",
    [
        {"provider": "anthropic", "operations": ("*",)},
        {"provider": "openai2*", "operations": ("*",)},
        {"provider": "*", "operations": ("chat2",)},
        {"provider": "*", "operations": ("*",), "dimensions": {"model": "gpt-5"}},
        {"provider": "*", "operations": ("*",), "dimensions": {"size": "*"}},
        {"provider": "*", "operations": ("chat", "search")},
        {"provider": "*", "operations": ("*",), "retired": True},
        {"provider": "*", "operations": ("*",), "effective_at": START + MICROSECOND},
    ],
)
def test_usage_that_no_card_covers_has_no_price(card):
    book = PriceBook((rate_card(**card),))

    refused = book.price(used(dimensions={"model": "gpt-9", "region": "eu"}), START, {})

    assert refused.reason == "price_not_found"
    assert refused.figures == {"provider": "openai", "operations": "chat", "dimensions": "model=gpt-9, region=eu"}


def test_a_bundle_prices_exactly_its_operations_in_any_order():
    book = PriceBook(
        (
            rate_card("both", operations=("search", "chat"), fixed=Decimal(8)),
            rate_card("all", operations=("search", "chat", "email"), fixed=Decimal(10)),
            rate_card("any", operations=("*",), fixed=Decimal(5)),
        )
    )

    said = {
        ("chat", ("search",)): "both",
        ("search", ("chat",)): "both",
        ("email", ("chat", "search")): "all",
        ("chat", ()): "any",
    }

    assert {key: book.find(used(operation=key[0], bundled=key[1]), START).card.card for key in said} == said
    assert book.find(used(operation="chat", bundled=("email",)), START).figures["operations"] == "chat, email"


def test_the_version_in_effect_counts_and_none_once_it_is_retired():
    versions = [
        rate_card(fixed=Decimal(1)),
        rate_card(fixed=Decimal(2), version=2, effective_at=LATER),
        # Made for the same instant: the later one counts.
        rate_card(fixed=Decimal(3), version=3, effective_at=LATER),
        rate_card(version=4, effective_at=LATER + timedelta(days=1), retired=True),
        rate_card(fixed=Decimal(5), version=5, effective_at=LATER + timedelta(days=2)),
    ]
    book = PriceBook(tuple(reversed(versions)))

    def priced(at):
        found = book.price(used(), at, {})
        return found.reason if isinstance(found, Unpriced) else (found.version, found.amount)

    assert priced(START - MICROSECOND) == "price_not_found"
    assert priced(START) == priced(LATER - MICROSECOND) == (1, 1)
    assert priced(LATER) == (3, 3)
    assert priced(LATER + timedelta(days=1)) == "price_not_found"
    assert priced(LATER + timedelta(days=2)) == priced(LATER + timedelta(days=999)) == (5, 5)


def test_a_version_that_covers_something_else_leaves_what_it_covered_before():
    book = PriceBook((rate_card(operations=("chat",)), rate_card(operations=("image",), version=2, effective_at=LATER)))

    assert book.find(used(), START).card.version == 1
    assert book.find(used(), LATER).reason == "price_not_found"
    assert book.find(used(operation="image"), LATER).card.version == 2


def test_the_default_card_prices_what_no_card_covers():
    default = rate_card("other", provider="nobody", fixed=Decimal(7))
    chat = rate_card("chat", operations=("chat",), fixed=Decimal(1))
    book = PriceBook((default, chat), default_card="other")

    assert book.find(used(), START).card.card == "chat"
    assert book.price(used(operation="image", bundled=("chat",), second=4), START, {}).amount == 7
    assert PriceBook((replace(default, retired=True), chat), "other").find(used(operation="x"), START).figures == {
        "provider": "openai",
        "operations": "x",
        "dimensions": "",
    }


def test_a_book_remembers_less_than_it_is_asked_for_and_still_answers_right():
    versions = tuple(
        rate_card(fixed=Decimal(day), version=day, effective_at=START + timedelta(days=day)) for day in range(1, 31)
    )
    book = PriceBook(versions)

    asked = [(day, model) for day in range(1, 31) for model in range(100)]
    answers = {
        (day, model): book.price(used(dimensions={"model": f"m{model}"}), START + timedelta(days=day), {}).amount
        for day, model in asked
    }

    assert answers == {(day, model): day for day, model in asked}


CLASHES = [
    ({}, {}, True),
    ({"operations": ("a", "b")}, {"operations": ("b", "a")}, True),
    ({"dimensions": {"a": "1", "b": "2"}}, {"dimensions": {"b": "2", "a": "1"}}, True),
    ({}, {"provider": "openai"}, False),
    ({}, {"operations": ("a*",)}, False),
    ({}, {"dimensions": {"model": "*"}}, False),
    ({}, {"retired": True}, False),
    ({}, {"effective_at": LATER}, True),
]


@pytest.mark.parametrize(("one", "other", "expected"), CLASHES)
def test_two_cards_that_cover_the_same_clash(one, other, expected):
    cards = (rate_card("one", **one), rate_card("other", **other))

    found = [clash(cards), clash(tuple(reversed(cards)))]

    assert found == [cards if expected else None] * 2


def test_cards_that_cover_the_same_one_after_the_other_do_not_clash():
    one = [rate_card("one"), rate_card("one", version=2, effective_at=LATER, retired=True)]
    other = rate_card("other", effective_at=LATER)
    moved = rate_card("one", version=2, effective_at=LATER, operations=("chat",))

    assert clash((*one, other)) is None
    assert clash((*(replace(card, card="zero") for card in one), other)) is None
    assert clash((one[0], moved, other)) is None
    assert clash((*one, replace(other, effective_at=LATER - MICROSECOND))) is not None
    # The version that was replaced at its own first instant never counted.
    assert clash((rate_card("one", effective_at=LATER), moved, rate_card("other"))) is None


@st.composite
def rates(draw):
    return Decimal(draw(st.integers(0, 2000))).scaleb(-draw(st.integers(0, 3)))


@st.composite
def meters(draw, unit="token", *, tierings=tuple(Tiering), plain=False):
    tiering = draw(st.sampled_from((None, *tierings)))
    ends = sorted(draw(st.sets(st.integers(1, 30), max_size=3))) if tiering else []
    return Meter(
        unit=unit,
        rate=None if tiering else draw(rates()),
        per=draw(st.sampled_from((1, 1, 3, 60, 1000))),
        step=1 if plain else draw(st.integers(1, 4)),
        minimum=0 if plain else draw(st.integers(0, 5)),
        free=draw(st.integers(0, 12)),
        tiers=tuple(Tier(up_to=up_to, rate=draw(rates())) for up_to in [*ends, None]) if tiering else (),
        tiering=tiering,
    )


@st.composite
def discounts(draw):
    hours = sorted(draw(st.sets(st.integers(-2, 2), min_size=2, max_size=2)))
    since, until = (draw(st.none() | st.just(START + timedelta(hours=one))) for one in hours)
    return Discount(percent=Decimal(draw(st.integers(1, 1000))).scaleb(-1), since=since, until=until)


@st.composite
def charging_cards(draw):
    some = tuple(draw(meters(unit)) for unit in draw(st.sets(st.sampled_from("abc"))))
    return rate_card(
        fixed=draw(st.just(Decimal(0)) | rates()),
        meters=some,
        minimum=draw(st.just(Decimal(0)) | rates()),
        rounding=draw(st.sampled_from(Rounding)),
        period=needs_period(some),
        discount=draw(st.none() | discounts()),
    )


@given(charging_cards(), st.data())
def test_every_card_charges_what_the_dumb_model_does(card, data):
    units = [one.unit for one in card.meters]
    quantities = {unit: data.draw(st.integers(0, 40)) for unit in units if data.draw(st.booleans())}
    before = {unit: data.draw(st.integers(0, 40)) for unit in units}
    at = START + timedelta(hours=data.draw(st.integers(0, 3)))
    usage = used(**quantities)

    charge = price_of(card, usage, before, at)

    exact = exact_price(card, usage, at, before)
    assert Fraction(charge.exact) == exact
    assert charge.amount == rounded(exact, card.rounding)
    assert {part.unit: part.counted for part in charge.parts} == {
        one.unit: counted_by(one, quantities[one.unit]) for one in card.meters if quantities.get(one.unit)
    }


@given(meters(tierings=(Tiering.GRADUATED,), plain=True), st.lists(st.integers(0, 20), min_size=1, max_size=5))
def test_what_is_used_costs_the_same_in_one_call_or_in_many(one, calls):
    card = rate_card(meters=(one,), period=needs_period((one,)))

    before, apart = 0, Fraction(0)
    for quantity in calls:
        apart += Fraction(price_of(card, used(token=quantity), {"token": before}).exact)
        before += quantity
    together = price_of(card, used(token=sum(calls)))

    assert apart == Fraction(together.exact)


@given(meters(tierings=(Tiering.GRADUATED,)), rates(), rates(), st.lists(st.integers(0, 60), min_size=2, max_size=2))
def test_using_more_never_costs_less_in_graduated_tiers(one, fixed, minimum, quantities):
    card = rate_card(meters=(one,), fixed=fixed, minimum=minimum, period=needs_period((one,)))

    less, more = (price_of(card, used(token=quantity)).amount for quantity in sorted(quantities))

    assert less <= more


TEXTS = ("a", "ab", "abc", "b")
PATTERNS = (*TEXTS, "*", "a*", "ab*", "b*")


@st.composite
def finding_cards(draw):
    bundle = draw(st.integers(0, 3)) == 0
    names = draw(st.sets(st.sampled_from(("m", "n")), max_size=2))
    pair = st.lists(st.sampled_from(TEXTS), min_size=2, max_size=3, unique=True)
    return rate_card(
        draw(st.sampled_from("pqrstuvw")),
        provider=draw(st.sampled_from(PATTERNS)),
        operations=tuple(draw(pair)) if bundle else (draw(st.sampled_from(PATTERNS)),),
        dimensions={name: draw(st.sampled_from(PATTERNS)) for name in names},
        effective_at=START + timedelta(hours=draw(st.integers(-2, 1))),
        retired=draw(st.integers(0, 7)) == 0,
    )


def numbered(cards):
    """Versions in the order in which they were set: one may begin before another that was set earlier."""
    seen = {}
    for card in cards:
        seen[card.card] = seen.get(card.card, 0) + 1
        yield replace(card, version=seen[card.card])


@given(st.lists(finding_cards(), max_size=14), st.sampled_from(("", "p")), st.data())
def test_a_book_finds_what_a_look_at_every_card_finds(cards, default_card, data):
    cards = tuple(numbered(cards))
    assume(clash(cards) is None)
    book = PriceBook(tuple(data.draw(st.permutations(cards))), default_card)

    for _ in range(5):
        bundled = data.draw(st.sampled_from(((), (), ("ab",), ("abc", "b"))))
        usage = used(
            provider=data.draw(st.sampled_from(TEXTS)),
            operation=data.draw(st.sampled_from(("a", "ab", "abc") if not bundled else ("a",))),
            bundled=bundled,
            dimensions={name: data.draw(st.sampled_from(TEXTS)) for name in ("m", "n") if data.draw(st.booleans())},
        )
        at = START + timedelta(hours=data.draw(st.integers(-3, 2)))
        found = book.find(usage, at)
        expected = card_for(cards, default_card, usage, at)
        assert expected == (None if isinstance(found, Unpriced) else found.card)


OF_ALL_KINDS = rate_card(
    meters=(
        meter("0.25", unit="plain"),
        meter("1", unit="stepped", per=3, step=10),
        meter(unit="counted", free=5, **GRADUATED),
    ),
    discount=discount("12.5"),
    **MONTHLY,
)


@given(
    st.dictionaries(st.text(), st.text()),
    st.dictionaries(st.sampled_from(("plain", "stepped", "counted")), st.integers(0, 100)),
    st.integers(0, 10),
)
def test_the_text_of_a_charge_is_json_of_all_of_it(dimensions, quantities, before):
    usage = Usage(provider="%s", operation='"\n', dimensions=dimensions, quantities=quantities, bundled=("b", "a"))

    charge = PriceBook((OF_ALL_KINDS,), default_card="card").price(usage, LATER, {"counted": before})

    assert charge_of(json.loads(charge.text)) == charge


def test_of_a_part_that_counted_just_the_quantity_the_text_says_nothing_twice():
    charge = price_of(OF_ALL_KINDS, used(stepped=0, plain=10, counted=4), at=LATER)

    told = '["openai","chat",[],[],[["plain",10,"2.5"],["counted",4,"0",4,4,0],["stepped",0]]]'
    assert charge.text == f'["card",1,3,"2.1875","12.5",{told}]'
