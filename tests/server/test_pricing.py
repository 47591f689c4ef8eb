"""PricingService, and usage where an amount was asked for: what is answered, and which field is wrong."""

import pytest
from scrip.v1 import pricing_service_pb2 as pb
from scrip.v1.types_pb2 import Usage

from tests.books import DAY, START

CHAT = Usage(provider="openai", operation="chat", dimensions={"model": "gpt-5"}, quantities={"in": 1000, "out": 30})


def gpt(**terms):
    meters = [pb.Meter(unit="in", rate="1.5", per=1000, free=500), pb.Meter(unit="out", rate="0.125")]
    return pb.RateCard(
        **{
            "card": "gpt-5",
            "provider": "openai",
            "operations": ["chat"],
            "meters": meters,
            "period": pb.RateCard.PERIOD_MONTH,
            **terms,
        }
    )


@pytest.fixture
def books(ask):
    ask("OpenAccount")
    ask("Grant", amount=100)
    ask("ApplyRateCards", cards=[gpt()])
    return ask


def test_cards_are_answered_as_they_became(ask, clock):
    tiers = [pb.Tier(up_to=10, rate="2"), pb.Tier(rate="0.50")]
    metered = pb.Meter(unit="n", tiers=tiers, tiering=pb.Meter.TIERING_VOLUME, step=5, minimum=10)
    discount = pb.Discount(percent="12.5")
    discount.since.FromDatetime(START)
    card = gpt(
        operations=["chat", "search"],
        dimensions={"model": "gpt-*"},
        meters=[metered],
        fixed="0.25",
        minimum="3",
        rounding=pb.RateCard.ROUNDING_DOWN,
        period=pb.RateCard.PERIOD_DAY,
        discount=discount,
        description="für alle",
    )

    (created,) = ask("ApplyRateCards", cards=[card]).changes
    clock.now += DAY
    (told,) = ask("ApplyRateCards", cards=[], retire_others=True, preview=True).changes
    (retired,) = ask("ApplyRateCards", cards=[], retire_others=True).changes

    card.version = 1
    card.effective_at.FromDatetime(START)
    card.meters[0].per = 1
    assert created == pb.RateCardChange(action=pb.RateCardChange.ACTION_CREATED, after=card)
    assert told == retired
    assert retired.action == pb.RateCardChange.ACTION_RETIRED
    assert (retired.before, retired.after.retired, retired.after.version) == (card, True, 2)
    assert ask("GetRateCard", card="gpt-5", version=1).card == card
    assert list(ask("ListRateCards").cards) == []
    assert list(ask("ListRateCards", all_versions=True).cards) == [retired.after, card]


def test_a_quote_tells_how_it_was_computed(books):
    found = books("Quote", usage=CHAT)

    assert (found.amount, found.charge.exact, found.charge.card, found.charge.version) == (6, "5.25", "gpt-5", 1)
    assert found.charge.usage == CHAT
    assert [(part.unit, part.quantity, part.free, part.exact) for part in found.charge.parts] == [
        ("in", 1000, 0, "1.5"),
        ("out", 30, 0, "3.75"),
    ]


def test_a_quote_for_a_customer_is_what_a_deduction_charges(books):
    told = books("QuoteFor", usage=CHAT)
    checked = books("Check", amount=0, usage=CHAT)
    done = books("CheckAndDeduct", amount=0, usage=CHAT)

    assert (told.amount, told.allowed, told.available) == (5, True, 100)
    assert (checked.amount, checked.charge) == (told.amount, told.charge)
    assert books("GetEntry", entry_id=done.entry_id).entry.charge == told.charge
    # Whoever deducts has just told the usage.
    told.charge.ClearField("usage")
    assert (done.deducted, done.charge) == (told.amount, told.charge)
    assert books("QuoteFor", usage=CHAT).charge.parts[0].before == 1000


def test_a_hold_and_its_capture_tell_what_they_charged(books):
    hold = books("Hold", amount=0, usage=CHAT, request_id="h")
    captured = books("Capture", hold_id=hold.hold_id, usage=CHAT)

    assert (hold.held, hold.charge.amount) == (5, 5)
    assert (captured.captured, captured.released, captured.charge.amount) == (5, 0, 5)
    again = books("Hold", amount=0, usage=CHAT, request_id="h")
    assert (again.replayed, again.held, again.charge) == (True, 5, hold.charge)


@pytest.mark.parametrize(
    ("terms", "field"),
    [
        ({"fixed": "1e3"}, "cards[0].fixed"),
        ({"fixed": "-1"}, "cards[0].fixed"),
        ({"fixed": " 1"}, "cards[0].fixed"),
        ({"fixed": "0.1234567890123456789"}, "cards[0].fixed"),
        ({"fixed": "99999999999999999999"}, "cards[0].fixed"),
        ({"minimum": "NaN"}, "cards[0].minimum"),
        ({"meters": [pb.Meter(unit="a", rate="1"), pb.Meter(unit="b", rate="x")]}, "cards[0].meters[1].rate"),
        ({"meters": [pb.Meter(unit="a")], "period": 0}, "cards[0].meters[0].rate"),
        ({"meters": [pb.Meter(unit="a", tiers=[pb.Tier()])]}, "cards[0].meters[0].tiers[0].rate"),
        ({"rounding": 9}, "cards[0].rounding"),
        ({"period": 9}, "cards[0].period"),
        ({"discount": pb.Discount(percent="")}, "cards[0].discount.percent"),
        ({"discount": pb.Discount(percent="101")}, "cards[0].discount.percent"),
        ({"operations": []}, "cards[0].operations"),
        ({"card": "GPT"}, "cards[0].card"),
    ],
    ids=str,
)
def test_a_card_that_is_malformed_is_told_by_its_field(ask, terms, field):
    told = ask.refusal("ApplyRateCards", cards=[gpt(**terms)])

    assert (told.code, told.reason, told.fields[0]) == ("INVALID_ARGUMENT", "INVALID_FIELD", field)


@pytest.mark.parametrize(
    ("rpc", "fields", "field"),
    [
        ("CheckAndDeduct", {"amount": 0}, "amount"),
        ("CheckAndDeduct", {"amount": 5, "usage": CHAT}, "usage"),
        ("CheckAndDeduct", {"amount": 0, "usage": CHAT, "operation": "chat"}, "operation"),
        ("CheckAndDeduct", {"amount": 0, "usage": Usage()}, "usage.provider"),
        ("Hold", {"amount": 5, "usage": CHAT}, "usage"),
        ("Check", {"amount": 5, "usage": CHAT}, "usage"),
        ("Quote", {"usage": None}, "usage.provider"),
        ("QuoteFor", {"usage": Usage(provider="p", operation="o", quantities={"N": 1})}, "usage.quantities key"),
    ],
    ids=str,
)
def test_usage_that_is_malformed_is_told_by_its_field(books, rpc, fields, field):
    told = books.refusal(rpc, **fields)

    assert (told.code, told.reason, told.fields[0]) == ("INVALID_ARGUMENT", "INVALID_FIELD", field)
