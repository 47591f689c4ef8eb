"""Usage that has no price, and prices that cannot be, are refused with all figures, and leave nothing behind."""

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from scrip.v1.pricing_service_pb2 import RateCard
from scrip.v1.types_pb2 import Usage

from tests.server.asking import CHAT, CHAT_CARD
from tests.server.test_malformed_prices import ABOUT_PRICES, CHARGED, WITH_USAGE
from tests.server.test_refused import INT64_MAX, NOW_S

NOW = "2026-01-01T00:01:00Z"


def told_of(books, rpc, usage, **fields):
    """The refusal of a request that tells usage instead of an amount."""
    asked = {"amount": None} if rpc in CHARGED else {}
    return books.refusal(rpc, usage=usage, **{**books.part(rpc), **asked, **fields})


@pytest.mark.parametrize("rpc", ABOUT_PRICES)
def test_an_asset_must_be_defined_to_have_prices(books, rpc):
    told = books.refusal(rpc, asset="points")

    assert (told.reason, told.metadata) == ("ASSET_NOT_FOUND", {"asset": "points"})


def test_a_quote_for_a_customer_needs_the_account(books):
    told = books.refusal("QuoteFor", account_id="nobody")

    assert (told.reason, told.metadata) == ("ACCOUNT_NOT_FOUND", {"account_id": "nobody", "asset": "credits"})


@pytest.mark.parametrize("rpc", WITH_USAGE)
def test_usage_that_no_card_covers_has_no_price(books, rpc):
    dimensions = {"model": "gpt-9", "tier": "batch"}

    told = told_of(books, rpc, Usage(provider="other", operation="chat", dimensions=dimensions, bundled=["search"]))

    assert (told.code, told.reason) == ("NOT_FOUND", "PRICE_NOT_FOUND")
    assert told.metadata == {
        "asset": "credits",
        "provider": "other",
        "operations": "chat, search",
        "dimensions": "model=gpt-9, tier=batch",
    }


@pytest.mark.parametrize("rpc", [rpc for rpc in WITH_USAGE if rpc != "Capture"])
def test_each_asset_has_prices_of_its_own(books, rpc):
    assert told_of(books, rpc, CHAT, asset="tokens").reason == "PRICE_NOT_FOUND"


@pytest.mark.parametrize("rpc", WITH_USAGE)
def test_a_unit_without_a_rate_names_those_that_have_one(books, rpc):
    told = told_of(books, rpc, Usage(provider="openai", operation="chat", quantities={"minute": 1}))

    assert (told.code, told.reason) == ("INVALID_ARGUMENT", "UNIT_MISMATCH")
    assert told.metadata == {"card": "chat", "version": "1", "unit": "minute", "units": "token"}


@pytest.mark.parametrize("quantity", [INT64_MAX // 2 + 1, 10**18 * 9, INT64_MAX])
@pytest.mark.parametrize("rpc", WITH_USAGE)
def test_a_price_does_not_overflow(books, rpc, quantity):
    told = told_of(books, rpc, Usage(provider="openai", operation="chat", quantities={"token": quantity}))

    assert (told.code, told.reason) == ("INVALID_ARGUMENT", "COST_OVERFLOW")
    assert told.metadata == {"card": "chat", "version": "1", "limit": str(INT64_MAX)}


def test_usage_that_costs_too_much_is_refused_as_the_amount_would_be(books):
    usage = Usage(provider="openai", operation="chat", quantities={"token": 21})

    for rpc in ("CheckAndDeduct", "Hold"):
        told, same = told_of(books, rpc, usage), books.refusal(rpc, amount=42, operation="chat")
        assert (told.reason, told.metadata) == (same.reason, same.metadata)
        assert told.metadata["required"] == "42"
    told = told_of(books, "Capture", Usage(provider="openai", operation="chat", quantities={"token": 31}))
    assert (told.reason, told.metadata["required"], told.metadata["capturable"]) == ("AMOUNT_ABOVE_HOLD", "62", "60")


def test_an_account_that_spends_nothing_is_told_so_before_any_price(books):
    unknown = Usage(provider="other", operation="chat")

    assert told_of(books, "CheckAndDeduct", unknown, account_id="frozen").reason == "ACCOUNT_FROZEN"
    assert told_of(books, "Hold", unknown, account_id="closed").reason == "ACCOUNT_CLOSED"
    assert told_of(books, "Capture", unknown, hold_id=books.captured_hold).reason == "HOLD_NOT_ACTIVE"


@pytest.mark.parametrize(("rpc", "request_id"), [("CheckAndDeduct", "grant"), ("Hold", "hold")])
def test_a_request_id_of_something_else_is_not_used_for_usage(books, rpc, request_id):
    told = told_of(books, rpc, CHAT, request_id=request_id)

    assert told.reason == "REQUEST_ID_REUSED"


@pytest.mark.parametrize(("card", "version"), [("gpt-9", "0"), ("chat", "2")])
def test_a_rate_card_that_is_not_there_is_not_found(books, card, version):
    told = books.refusal("GetRateCard", card=card, version=int(version))

    assert (told.code, told.reason) == ("NOT_FOUND", "RATE_CARD_NOT_FOUND")
    assert told.metadata == {"asset": "credits", "card": card, "version": version}


@pytest.mark.parametrize("card", ["new", "chat"])
def test_a_price_does_not_begin_in_the_past(books, card):
    past = RateCard(card=card, provider="a", operations=["b"], effective_at=Timestamp(seconds=NOW_S - 61))

    told = books.refusal("ApplyRateCards", cards=[past])

    assert (told.code, told.reason) == ("INVALID_ARGUMENT", "EFFECTIVE_IN_PAST")
    assert told.metadata == {"card": card, "effective_at": "2025-12-31T23:59:59Z", "now": NOW}


def test_no_two_rate_cards_cover_the_same_equally_well(books):
    told = books.refusal("ApplyRateCards", cards=[RateCard(card="twin", provider="openai", operations=["chat"])])

    assert (told.code, told.reason) == ("FAILED_PRECONDITION", "RATE_CARDS_CLASH")
    assert {told.metadata["card"], told.metadata["other"]} == {"chat", "twin"}


def test_what_a_preview_of_rate_cards_showed_is_not_done_once_others_were_set(books):
    card = RateCard(card="one", provider="a", operations=["b"])
    shown = books.ask("ApplyRateCards", cards=[card], preview=True)

    told = books.refusal("ApplyRateCards", cards=[card], revision=shown.revision - 1)

    assert (told.code, told.reason) == ("FAILED_PRECONDITION", "CHANGED_MEANWHILE")
    assert told.metadata == {"what": "price list of credits"}
    assert books.ask("ApplyRateCards", cards=[card], revision=shown.revision, preview=True) == shown


def test_of_rate_cards_all_are_applied_or_none(books):
    good = RateCard(card="good", provider="a", operations=["b"], fixed="1")
    bad = RateCard(card="bad", provider="a", operations=["b"], fixed="2")

    assert books.refusal("ApplyRateCards", cards=[good, bad]).reason == "RATE_CARDS_CLASH"
    assert books.ask("ListRateCards").cards[0].card == CHAT_CARD.card
