"""What the client promises of usage and prices, shown against a server with books."""

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest
import scrip

from tests.books import START

GPT = scrip.RateCard(
    card="gpt-5",
    provider="openai",
    operations=["chat"],
    dimensions={"model": "gpt-5*"},
    meters=[
        scrip.Meter(unit="input_token", rate=Decimal("1.25"), per=1000),
        scrip.Meter(unit="output_token", rate="10", per=1000),
    ],
)
LEADS = scrip.RateCard(
    card="leads",
    provider="scrip",
    operations=["lead/*"],
    period="day",
    meters=[scrip.Meter(unit="lead", rate=2, free=5)],
)


def chat(input_token=1000, output_token=100):
    return scrip.Usage(
        provider="openai",
        operation="chat",
        dimensions={"model": "gpt-5-mini"},
        quantities={"input_token": input_token, "output_token": output_token},
    )


def leads(count):
    return scrip.Usage(provider="scrip", operation="lead/enrich", quantities={"lead": count})


@pytest.fixture
def acme(books):
    """A client of books with prices, in which acme has 100."""
    with scrip.Client(books) as client:
        client.open_account("acme")
        client.grant("acme", 100, "purchase", cost=(1999, "EUR"), package="starter")
        client.apply_rate_cards([GPT, LEADS])
        yield client


def test_usage_is_deducted_at_its_price_and_the_entry_tells_how(acme):
    checked = acme.check("acme", usage=chat())
    taken = acme.check_and_deduct("acme", usage=chat(), request_id="r-1")
    again = acme.check_and_deduct("acme", usage=chat(), request_id="r-1")

    assert (checked.allowed, checked.amount) == (True, 3)
    assert (taken.deducted, taken.balance.available, taken.charge.card, taken.charge.version) == (3, 97, "gpt-5", 1)
    assert (taken.charge.exact, [part.exact for part in taken.charge.parts]) == ("2.25", ["1.25", "1"])
    assert (again.replayed, again.charge) == (True, taken.charge)
    (entry,) = acme.history("acme", operation="chat")
    assert (entry.charge.usage.provider, entry.charge.usage.quantities) == ("openai", chat().quantities)
    assert (entry.charge.exact, entry.charge.parts) == (taken.charge.exact, taken.charge.parts)
    assert not taken.charge.HasField("usage")
    with pytest.raises(scrip.RequestIdReused):
        acme.check_and_deduct("acme", usage=chat(input_token=1), request_id="r-1")


def test_a_hold_of_usage_is_captured_by_what_happened(books, acme, way):
    def body(hold):
        yield hold.capture(usage=chat())

    hold = way.hold(books, "acme", usage=chat(output_token=5000), request_id="job-1")
    assert (hold.amount, hold.charge.amount) == (52, 52)
    captured = acme.capture(hold.hold_id, usage=chat())

    assert (captured.captured, captured.released, captured.charge.amount) == (3, 49, 3)
    way.block(books, body)
    assert acme.balance("acme").available == 94


def test_what_is_free_in_a_period_is_used_up_and_comes_again(acme, clock):
    quoted = acme.quote(leads(7))
    first = acme.quote_for("acme", leads(7))
    acme.check_and_deduct("acme", usage=leads(7))
    second = acme.quote_for("acme", leads(7))
    clock.now += timedelta(days=1)
    next_day = acme.quote_for("acme", leads(7))

    assert (quoted.amount, first.amount, second.amount, next_day.amount) == (14, 4, 14, 4)
    assert (second.charge.parts[0].before, second.charge.parts[0].free) == (7, 0)
    assert (second.allowed, second.balance.available) == (True, 96)


def test_what_has_no_price_is_refused_unless_the_asset_has_a_card_for_it(acme):
    unknown = scrip.Usage(provider="other", operation="chat", dimensions={"model": "x"}, quantities={"token": 1})

    with pytest.raises(scrip.PriceNotFound) as refused:
        acme.check_and_deduct("acme", usage=unknown)
    with pytest.raises(scrip.UnitMismatch) as mismatched:
        acme.quote(scrip.Usage(provider="scrip", operation="lead/enrich", quantities={"minute": 1}))
    with pytest.raises(scrip.CostOverflow) as above:
        acme.quote(leads(2**63 - 1))
    acme.apply_rate_cards([scrip.RateCard(card="any", provider="none", operations=["none"], fixed=7)])
    acme.configure_asset("credits", default_card="any")

    assert (refused.value.provider, refused.value.operations) == ("other", ("chat",))
    assert refused.value.dimensions == ("model=x",)
    assert (mismatched.value.card, mismatched.value.unit, mismatched.value.units) == ("leads", "minute", ("lead",))
    assert (above.value.card, above.value.limit) == ("leads", 2**63 - 1)
    assert acme.check_and_deduct("acme", usage=unknown).deducted == 7


def test_rate_cards_are_applied_as_they_were_read_and_nothing_changes(acme):
    read = acme.rate_cards()

    changes = acme.apply_rate_cards(read, retire_others=True).changes
    same = acme.apply_rate_cards([LEADS, GPT]).changes

    assert [card.card for card in read] == ["gpt-5", "leads"]
    assert {change.action for change in (*changes, *same)} == {scrip.RateCardChange.ACTION_UNCHANGED}


def test_a_price_that_changes_is_a_new_version_and_the_old_one_stays(acme, clock):
    dearer = scrip.RateCard(card="leads", provider="scrip", operations=["lead/*"], fixed=9)
    clock.now += timedelta(minutes=1)
    acme.apply_rate_cards([dearer], preview=True)
    before = acme.quote(leads(1))

    (change, retired) = acme.apply_rate_cards([dearer], retire_others=True).changes

    assert before.amount == 2
    assert (change.action, change.before.version, change.after.version) == (scrip.RateCardChange.ACTION_CHANGED, 1, 2)
    assert (retired.action, retired.before.card) == (scrip.RateCardChange.ACTION_RETIRED, "gpt-5")
    assert acme.quote(leads(1)).amount == 9
    assert acme.quote(leads(1), at=START).amount == 2
    assert [card.card for card in acme.rate_cards()] == ["leads"]
    assert [card.version for card in acme.rate_cards(all_versions=True) if card.card == "leads"] == [2, 1]
    assert (acme.rate_card("leads").version, acme.rate_card("leads", version=1).meters[0].rate) == (2, "2")


def test_rate_cards_that_cannot_be_are_refused(acme, clock):
    twin = scrip.RateCard(card="twin", provider="openai", operations=["chat"], dimensions={"model": "gpt-5*"}, fixed=1)

    with pytest.raises(scrip.RateCardsClash) as clash:
        acme.apply_rate_cards([twin])
    with pytest.raises(scrip.EffectiveInPast) as past:
        acme.apply_rate_cards(
            [scrip.RateCard(card="new", provider="a", operations=["b"], effective_at=START - timedelta(days=1))]
        )
    with pytest.raises(scrip.RateCardNotFound) as missing:
        acme.rate_card("leads", version=7)
    with pytest.raises(scrip.InvalidField) as malformed:
        acme.apply_rate_cards([GPT, scrip.RateCard(card="Bad", provider="a", operations=["b"])])

    assert {clash.value.card, clash.value.other} == {"gpt-5", "twin"}
    assert (past.value.card, past.value.now) == ("new", clock.now)
    assert (missing.value.card, missing.value.version) == ("leads", 7)
    assert malformed.value.field == "cards[1].card"


def test_usage_travels_with_other_changes_and_is_answered_alike(acme, books):
    dos = [
        lambda client: client.check_and_deduct("acme", usage=leads(4), request_id="a"),
        lambda client: client.check_and_deduct("acme", usage=leads(4), request_id="b"),
        lambda client: client.check_and_deduct("acme", usage=scrip.Usage(provider="x", operation="y"), request_id="c"),
        lambda client: client.hold("acme", usage=chat(), request_id="d"),
    ]

    async def main():
        async with scrip.AsyncClient(books, batching=True) as client:
            return await asyncio.gather(*[do(client) for do in dos], return_exceptions=True)

    free, counted, refused, held = asyncio.run(main())

    assert (free.deducted, counted.deducted) == (0, 6)
    assert counted.charge.parts[0].before == 4
    assert type(refused) is scrip.PriceNotFound
    assert (held.amount, held.charge.card) == (3, "gpt-5")


def test_the_money_follows_the_credits(acme, clock):
    clock.now += timedelta(hours=1)
    acme.check_and_deduct("acme", usage=chat())
    clock.now += timedelta(hours=1)

    row, free = acme.revenue(START, clock.now).rows
    (euros,) = acme.money_trial_balance().currencies

    assert (row.package, row.currency, row.sold, row.recognised, row.closing) == (
        "starter",
        "EUR",
        "1999",
        "59",
        "1940",
    )
    assert (free.package, free.currency, free.closing) == ("", "", "0")
    assert euros.currency == "EUR"
    assert euros.debits == euros.credits
    assert {scrip.MoneyCode.Name(row.code): row.credits for row in euros.rows}["MONEY_CODE_REVENUE"] == "59"
    (lot,) = acme.lots("acme")
    assert lot.package == "starter"
