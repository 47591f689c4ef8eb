"""Keys and public ids: pure functions that must never change, because everything is stored under them."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ledger import IdPrefix, parse_id, public_id
from ledger.ids import account_key, page_token, parse_page_token, parse_place_token, place_token

ACME = account_key("default", "credits", "acme")
KEYS = st.uuids().map(lambda key: key.hex)
NUMBERS = st.integers(1, 2**63 - 1)
ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"


def test_an_account_is_stored_under_this_key_for_ever():
    assert ACME == "9ab5d79ed6a45ef6ba6d241be9b81c1b"


def test_an_entry_has_this_id_for_ever():
    assert public_id(IdPrefix.ENTRY, ACME, 300) == "en_tk25phwwurppnotneqn6toa4dmasy"


@given(st.sampled_from(IdPrefix), KEYS, NUMBERS)
def test_an_id_leads_back_to_its_key_and_number(prefix, key, number):
    assert parse_id(prefix, public_id(prefix, key, number)) == (key, number)


@given(KEYS, KEYS, NUMBERS, NUMBERS)
def test_different_things_have_different_ids(key, other_key, number, other_number):
    assume((key, number) != (other_key, other_number))

    assert public_id(IdPrefix.HOLD, key, number) != public_id(IdPrefix.HOLD, other_key, other_number)


@given(st.permutations(list(IdPrefix)), KEYS, NUMBERS)
def test_an_id_of_one_kind_is_none_of_another(prefixes, key, number):
    assert parse_id(prefixes[0], public_id(prefixes[1], key, number)) is None


@given(KEYS, NUMBERS, st.data())
def test_an_id_with_another_character_names_something_else_or_nothing(key, number, data):
    text = public_id(IdPrefix.HOLD, key, number)
    place = data.draw(st.integers(len(IdPrefix.HOLD), len(text) - 1))
    changed = text[:place] + data.draw(st.sampled_from(ALPHABET)) + text[place + 1 :]
    assume(changed != text)

    assert parse_id(IdPrefix.HOLD, changed) != (key, number)


@given(st.text() | st.text(ALPHABET, max_size=60))
def test_made_up_text_is_no_id_unless_it_is_one_that_could_have_been_given_out(text):
    parsed = parse_id(IdPrefix.ENTRY, IdPrefix.ENTRY + text)

    assert parsed is None or public_id(IdPrefix.ENTRY, *parsed) == IdPrefix.ENTRY + text


@pytest.mark.parametrize("text", ["", "en_", "en", "en_ ", "en_0", "en_1", "en_===", "en_\u0660", "en_" + "a" * 10_000])
def test_text_of_another_form_is_no_id(text):
    assert parse_id(IdPrefix.ENTRY, text) is None


@given(KEYS, NUMBERS)
def test_an_id_in_capitals_is_none(key, number):
    text = public_id(IdPrefix.ENTRY, key, number)

    assert parse_id(IdPrefix.ENTRY, "en_" + text[3:].upper()) is None


@pytest.mark.parametrize("number", [0, 2**63, 2**64])
def test_a_number_that_no_entry_has_makes_no_id(number):
    assert parse_id(IdPrefix.ENTRY, public_id(IdPrefix.ENTRY, ACME, number)) is None


@given(*(st.tuples(*(st.sampled_from(["a", "b", "a.b", "ab"]) for _ in range(3))) for _ in range(2)))
def test_different_accounts_have_different_keys(one, other):
    assert (account_key(*one) == account_key(*other)) == (one == other)


@given(st.lists(st.text(max_size=5), min_size=1, max_size=3).map(tuple), NUMBERS)
def test_a_page_token_leads_back_to_where_the_page_ended(filters, before):
    assert parse_page_token(filters, page_token(filters, before)) == before


@given(st.tuples(st.text("ab", max_size=3), st.text("ab", max_size=3)), st.text("ab", max_size=3), NUMBERS)
def test_a_page_token_is_good_for_the_same_filters_only(filters, another, before):
    others = (filters[0], another)
    assume(others != filters)

    assert parse_page_token(others, page_token(filters, before)) is None


@given(NUMBERS, NUMBERS)
def test_a_page_token_cannot_be_made_to_lead_elsewhere(before, elsewhere):
    assume(before != elsewhere)
    key, _ = parse_id(IdPrefix.PAGE, page_token(("acme",), before))

    assert parse_page_token(("acme",), public_id(IdPrefix.PAGE, key, elsewhere)) is None


@given(st.lists(st.text(max_size=5), min_size=1, max_size=3).map(tuple), st.text(min_size=1), st.text(max_size=3))
def test_a_token_of_a_place_leads_back_there_for_the_same_filters_only(filters, place, another):
    token = place_token(filters, place)

    assert parse_place_token(filters, token) == place
    assert parse_place_token((*filters, another), token) is None


@given(st.text())
def test_what_is_no_token_leads_to_no_place(text):
    assert parse_place_token(("acme",), text) is None
