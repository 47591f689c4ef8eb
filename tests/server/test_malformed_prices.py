"""Usage and rate cards that can never be right are told which field is wrong, and leave nothing behind."""

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from scrip.v1.pricing_service_pb2 import Discount, Meter, RateCard, Tier
from scrip.v1.types_pb2 import Usage

from tests.server.asking import CHAT, CHAT_CARD
from tests.server.test_malformed import INT64_MAX, INT64_MIN, NOT_ASSETS, NOT_INSTANTS, assert_malformed, named

CHARGED = ("Check", "CheckAndDeduct", "Hold")
WITH_USAGE = (*CHARGED, "Capture", "Quote", "QuoteFor")
ABOUT_PRICES = ("Quote", "QuoteFor", "ApplyRateCards", "GetRateCard", "ListRateCards")


def usage(**fields):
    return Usage(**{"provider": "openai", "operation": "chat", **fields})


NOT_USAGE = {
    "of nobody": ("usage.provider", usage(provider="")),
    "of a provider in capitals": ("usage.provider", usage(provider="OpenAI")),
    "of a provider with a star": ("usage.provider", usage(provider="open*")),
    "without an operation": ("usage.operation", usage(operation="")),
    "of an operation with a star": ("usage.operation", usage(operation="chat/*")),
    "of an operation with a NUL": ("usage.operation", usage(operation="\0")),
    "of a dimension without a name": ("usage.dimensions key", usage(dimensions={"": "gpt-5"})),
    "of a dimension without a value": ('usage.dimensions["model"]', usage(dimensions={"model": ""})),
    "of a dimension with an emoji": ('usage.dimensions["model"]', usage(dimensions={"model": "😀"})),
    "of a dimension too long": ('usage.dimensions["model"]', usage(dimensions={"model": "a" * 101})),
    "of 11 dimensions": ("usage.dimensions", usage(dimensions={f"d{n}": "a" for n in range(11)})),
    "of less than nothing": ('usage.quantities["token"]', usage(quantities={"token": -1})),
    "of least": ('usage.quantities["token"]', usage(quantities={"token": INT64_MIN})),
    "of a unit without a name": ("usage.quantities key", usage(quantities={"": 1})),
    "of a unit in capitals": ("usage.quantities key", usage(quantities={"Token": 1})),
    "of 21 units": ("usage.quantities", usage(quantities={f"u{n}": 1 for n in range(21)})),
    "of 21 operations": ("usage.bundled", usage(bundled=[f"o{n}" for n in range(21)])),
    "of an operation twice": ("usage.bundled", usage(bundled=["chat"])),
    "of a bundle with nothing in it": ("usage.bundled", usage(bundled=[""])),
}


def card(**fields):
    return RateCard(**{"card": "any", "provider": "openai", "operations": ["chat"], **fields})


def meter(**fields):
    return card(meters=[Meter(**{"unit": "token", **fields})])


def tiers(*several, **fields):
    return card(
        period=RateCard.PERIOD_DAY,
        meters=[Meter(**{"unit": "token", "tiering": Meter.TIERING_VOLUME, "tiers": several, **fields})],
    )


def discount(**fields):
    return card(fixed="1", discount=Discount(**{"percent": "10", **fields}))


NOT_CARDS = {
    "without a name": ("card", card(card="")),
    "named in capitals": ("card", card(card="GPT")),
    "of a provider with two stars": ("provider", card(provider="a**")),
    "without operations": ("operations", card(operations=[])),
    "of an operation twice": ("operations", card(operations=["a", "a"])),
    "of a bundle with a star": ("operations", card(operations=["a", "b/*"])),
    "with an empty dimension": ('dimensions["model"]', card(dimensions={"model": ""})),
    "of less than nothing": ("fixed", card(fixed="-1")),
    "of words": ("fixed", card(fixed="one")),
    "of a comma": ("fixed", card(fixed="1,5")),
    "of an exponent": ("fixed", card(fixed="1e3")),
    "of an endless exponent": ("fixed", card(fixed="1E+999999999")),
    "of no number": ("fixed", card(fixed="NaN")),
    "of a space": ("fixed", card(fixed=" 1")),
    "of Arabic digits": ("fixed", card(fixed="\u0661")),
    "of 19 decimal places": ("fixed", card(fixed="0.0000000000000000001")),
    "above int64": ("fixed", card(fixed="9223372036854775808")),
    "of a megabyte": ("fixed", card(fixed="1" * 900_000)),
    "with a minimum of less than nothing": ("minimum", card(minimum="-1")),
    "of an unknown rounding": ("rounding", card(rounding=99)),
    "of an unknown period": ("period", card(period=99)),
    "with a period for nothing": ("period", card(fixed="1", period=RateCard.PERIOD_DAY)),
    "with a long description": ("description", card(description="😀" * 1_001)),
    "with a unit in capitals": ("meters[0].unit", meter(unit="Token", rate="1")),
    "with a unit twice": ("meters", card(meters=[Meter(unit="token", rate="1")] * 2)),
    "of 21 units": ("meters", card(meters=[Meter(unit=f"u{n}", rate="1") for n in range(21)])),
    "without a rate": ("meters[0].rate", meter()),
    "of a rate of less than nothing": ("meters[0].rate", meter(rate="-0.1")),
    "for less than a unit": ("meters[0].per", meter(rate="1", per=-1)),
    "in steps backwards": ("meters[0].step", meter(rate="1", step=-1)),
    "with less than nothing free": ("meters[0].free", meter(rate="1", free=-1)),
    "with less than nothing as the least": ("meters[0].minimum", meter(rate="1", minimum=INT64_MIN)),
    "with something free but no period": ("period", meter(rate="1", free=1)),
    "with a tiering but no tiers": ("meters[0].tiering", meter(rate="1", tiering=Meter.TIERING_VOLUME)),
    "with tiers but no tiering": ("meters[0].tiering", tiers(Tier(rate="1"), tiering=None)),
    "with tiers and a rate": ("meters[0].rate", tiers(Tier(rate="1"), rate="1")),
    "with a last tier that ends": ("meters[0].tiers[0].up_to", tiers(Tier(rate="1", up_to=1))),
    "with a first tier without end": ("meters[0].tiers[0].up_to", tiers(Tier(rate="1"), Tier(rate="1"))),
    "with a tier up to nothing": ("meters[0].tiers[0].up_to", tiers(Tier(rate="1", up_to=0), Tier(rate="1"))),
    "with tiers out of order": (
        "meters[0].tiers[1].up_to",
        tiers(Tier(rate="1", up_to=5), Tier(rate="1", up_to=5), Tier(rate="1")),
    ),
    "with a tier without a rate": ("meters[0].tiers[0].rate", tiers(Tier())),
    "of 21 tiers": (
        "meters[0].tiers",
        tiers(*(Tier(rate="1", up_to=n + 1) for n in range(20)), Tier(rate="1")),
    ),
    "with a discount of nothing": ("discount.percent", discount(percent="0")),
    "with a discount of more than all": ("discount.percent", discount(percent="100.1")),
    "with a discount of words": ("discount.percent", discount(percent="half")),
    "with a discount that ends before it begins": (
        "discount.until",
        discount(since=Timestamp(seconds=1_767_312_000), until=Timestamp(seconds=1_767_312_000)),
    ),
}


@pytest.mark.parametrize(("field", "told"), NOT_USAGE.values(), ids=NOT_USAGE)
def test_usage_has_a_form(sqlite_books, field, told):
    for rpc in WITH_USAGE:
        asked = {"amount": None} if rpc in CHARGED else {}
        assert_malformed(sqlite_books, field, rpc, usage=told, **asked)


@pytest.mark.parametrize("rpc", WITH_USAGE)
def test_usage_that_says_nothing_is_malformed(sqlite_books, rpc):
    asked = {"amount": None} if rpc in CHARGED else {}

    told = sqlite_books.refusal(rpc, usage=Usage(), **sqlite_books.part(rpc), **asked)

    assert told.fields == ("usage.provider", "usage.operation")


@pytest.mark.parametrize("rpc", ["Quote", "QuoteFor"])
def test_a_quote_is_asked_for_something(sqlite_books, rpc):
    told = sqlite_books.refusal(rpc, usage=None)

    assert (told.reason, told.fields) == ("INVALID_FIELD", ("usage.provider", "usage.operation"))


@pytest.mark.parametrize("rpc", [*CHARGED, "Capture"])
def test_an_amount_and_usage_do_not_go_together(sqlite_books, rpc):
    assert_malformed(sqlite_books, "usage", rpc, amount=1, usage=CHAT)


@pytest.mark.parametrize("rpc", CHARGED)
def test_usage_says_its_operation_itself(sqlite_books, rpc):
    assert_malformed(sqlite_books, "operation", rpc, amount=None, usage=CHAT, operation="chat")


@pytest.mark.parametrize(("field", "told"), NOT_CARDS.values(), ids=NOT_CARDS)
def test_a_rate_card_has_a_form(sqlite_books, field, told):
    assert_malformed(sqlite_books, f"cards[1].{field}", "ApplyRateCards", cards=[CHAT_CARD, told])


def test_no_two_rate_cards_have_one_name(sqlite_books):
    assert_malformed(sqlite_books, "cards", "ApplyRateCards", cards=[CHAT_CARD, CHAT_CARD])


def test_no_more_than_1000_rate_cards_are_applied_at_once(sqlite_books):
    cards = [card(card=f"c{n}", operations=[f"o{n}"]) for n in range(1_001)]

    assert_malformed(sqlite_books, "cards", "ApplyRateCards", cards=cards)


@pytest.mark.parametrize("instant", named(NOT_INSTANTS))
def test_instants_of_prices_lie_in_a_time_that_every_engine_knows(sqlite_books, instant):
    assert_malformed(sqlite_books, "at", "Quote", at=instant)
    for field, told in (
        ("effective_at", card(effective_at=instant)),
        ("discount.since", discount(since=instant)),
        ("discount.until", discount(until=instant)),
    ):
        assert_malformed(sqlite_books, f"cards[0].{field}", "ApplyRateCards", cards=[told])


@pytest.mark.parametrize("asset", named(NOT_ASSETS))
@pytest.mark.parametrize("rpc", ABOUT_PRICES)
def test_every_request_about_prices_checks_the_name_of_its_asset(sqlite_books, rpc, asset):
    assert_malformed(sqlite_books, "asset", rpc, asset=asset)


@pytest.mark.parametrize("name", ["", "GPT", "a b", "\0", "a" * 64])
def test_a_rate_card_is_asked_for_by_a_name(sqlite_books, name):
    assert_malformed(sqlite_books, "card", "GetRateCard", card=name)


@pytest.mark.parametrize("version", [-1, INT64_MIN])
def test_a_version_is_1_or_more_or_the_one_in_effect(sqlite_books, version):
    assert_malformed(sqlite_books, "version", "GetRateCard", version=version)


def test_2_to_the_63_of_a_unit_is_not_taken_for_something_else(sqlite_books):
    # No int64, but a varint can carry it: field 4 of usage is the map of quantities, field 2 of its entries the number.
    entry = b"\x0a\x05token\x10" + b"\x80" * 9 + b"\x01"
    quantities = b"\x22" + bytes([len(entry)]) + entry
    told = Usage.FromString(usage().SerializeToString() + quantities)

    assert told.quantities["token"] == -INT64_MAX - 1
    assert_malformed(sqlite_books, 'usage.quantities["token"]', "CheckAndDeduct", amount=None, usage=told)


def test_all_that_is_wrong_with_usage_is_told_at_once(sqlite_books):
    told = sqlite_books.refusal(
        "CheckAndDeduct",
        request_id=None,
        amount=None,
        usage=Usage(provider="?", operation="?", dimensions={"?": "ok"}, quantities={"?": -1}, bundled=["a b"]),
    )

    assert set(told.fields) == {
        "request_id", "usage.provider", "usage.operation", "usage.dimensions key", "usage.quantities key",
        'usage.quantities["?"]', "usage.bundled",
    }  # fmt: skip
