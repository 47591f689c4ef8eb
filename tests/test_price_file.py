"""Files of rate cards: what is read of them, and what is said of one that is wrong."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from ledger import Charge, Discount, Meter, RateCard, Rounding, Tier, Tiering, Usage, Window
from server.marked_file import UnusableFileError
from server.price_file import AT_ONCE, read_price_file

EXAMPLES = sorted((Path(__file__).parent.parent / "examples" / "prices").glob("*.*"))

YAML = """
asset: points
cards:
  - card: chat
    description: "no"
    provider: open*
    operation: chat
    dimensions: {model: 1.0, region: no}
    fixed: 0.1
    meters:
      - {unit: token, rate: 12_500.50, per: 1_000_000, step: 10, minimum: 5, free: 100}
      - unit: image
        tiering: volume
        tiers: [{up_to: 10, rate: 2}, {rate: 1.5}]
    minimum: 2
    rounding: half_even
    period: month
    discount: {percent: 12.5, since: 2027-01-01, until: 2027-02-01T00:00:00+01:00}
    effective_at: 2026-12-01T08:00:00Z
  - {card: both, provider: "*", operations: [a, b], retired: true}
examples:
  - usage: {provider: openai, operation: a, bundled: [b], dimensions: {x: y}, quantities: {token: 1}}
    before: {token: 7}
    at: 2027-01-01
    refused: price_not_found
  - usage: {provider: openai, operation: chat}
    amount: 3
    card: chat
"""

TOML = """
asset = "points"

[[cards]]
card = "chat"
description = "no"
provider = "open*"
operation = "chat"
dimensions = { model = 1.0, region = "no" }
fixed = 0.1
meters = [
    { unit = "token", rate = 12_500.50, per = 1_000_000, step = 10, minimum = 5, free = 100 },
    { unit = "image", tiering = "volume", tiers = [{ up_to = 10, rate = 2 }, { rate = 1.5 }] },
]
minimum = 2
rounding = "half_even"
period = "month"
discount = { percent = 12.5, since = 2027-01-01, until = 2027-02-01T00:00:00+01:00 }
effective_at = 2026-12-01T08:00:00Z

[[cards]]
card = "both"
provider = "*"
operations = ["a", "b"]
retired = true

[[examples]]
usage = { provider = "openai", operation = "a", bundled = ["b"], dimensions = { x = "y" }, quantities = { token = 1 } }
before = { token = 7 }
at = 2027-01-01
refused = "price_not_found"

[[examples]]
usage = { provider = "openai", operation = "chat" }
amount = 3
card = "chat"
"""

CHAT = RateCard(
    card="chat",
    description="no",
    provider="open*",
    operations=("chat",),
    dimensions={"model": "1.0", "region": "no"},
    fixed=Decimal("0.1"),
    meters=(
        Meter(unit="token", rate=Decimal("12500.5"), per=1_000_000, step=10, minimum=5, free=100),
        Meter(
            unit="image",
            rate=None,
            tiering=Tiering.VOLUME,
            tiers=(Tier(up_to=10, rate=Decimal(2)), Tier(up_to=None, rate=Decimal("1.5"))),
        ),
    ),
    minimum=Decimal(2),
    rounding=Rounding.HALF_EVEN,
    period=Window.MONTH,
    discount=Discount(
        percent=Decimal("12.5"),
        since=datetime(2027, 1, 1, tzinfo=UTC),
        until=datetime(2027, 1, 31, 23, tzinfo=UTC),
    ),
    effective_at=datetime(2026, 12, 1, 8, tzinfo=UTC),
    version=1,
)
BOTH = RateCard(card="both", provider="*", operations=("a", "b"), retired=True, effective_at=AT_ONCE, version=1)

CARD = "cards:\n- {card: a, provider: '*', operation: x, "
# What stands after the card above, or instead of it; what is said of it, without the file's name.
MISTAKES = [
    ("price: 1}", "line 2: cards[0].price is not known here; known are card, description, provider,"),
    ("fixed: -1}", "line 2: cards[0].fixed must be a decimal from 0 to 9223372036854775807 with at most 18 decimal"),
    ("fixed: .nan}", "line 2: cards[0].fixed must be a decimal from 0 to"),
    ("fixed: 1e3}", "line 2: cards[0].fixed must be a decimal from 0 to"),
    ("fixed: [1]}", "line 2: cards[0].fixed must be a single value."),
    ("fixed: 1, fixed: 2}", ": cards[0] has fixed twice (line 2)."),
    ("operations: [y, z]}", "line 2: cards[0] must have one of `operation` and, for a bundle, `operations`."),
    ("dimensions: 5}", "line 2: cards[0].dimensions must be a table of keys and values."),
    ("dimensions: {Model: x}}", "line 2: cards[0].dimensions key must be 1 to 63 characters: a lower-case letter"),
    ("meters: {unit: t}}", "line 2: cards[0].meters must be a list."),
    ("meters: [\n{rate: 1}]}", "line 3: cards[0].meters[0].unit must be given."),
    ("meters: [\n{unit: t}]}", "line 3: cards[0].meters[0].rate must be given, or tiers instead."),
    ("meters: [\n{unit: t,\nrate: 1,\nper: 0}]}", "line 5: cards[0].meters[0].per must be 1 to 9223372036854775807"),
    ("meters: [{unit: t, rate: 1, per: 1.5}]}", "line 2: cards[0].meters[0].per must be a whole number; it is '1.5'."),
    ("meters: [{unit: t, tiers: [{up_to: 1}]}]}", "line 2: cards[0].meters[0].tiers[0].rate must be given."),
    ("meters: [{unit: t, tiering: up}]}", "line 2: cards[0].meters[0].tiering must be one of graduated, volume; it is"),
    ("rounding: off}", "line 2: cards[0].rounding must be one of up, half_even, down; it is 'off'."),
    ("period: week}", "line 2: cards[0].period must be one of hour, day, month; it is 'week'."),
    ("period: day}", "line 2: cards[0].period must be absent, as no meter has an allowance or tiers."),
    ("discount: {percent: 101}}", "line 2: cards[0].discount.percent must be a decimal of more than 0 and at most"),
    ("effective_at: soon}", "line 2: cards[0].effective_at must be an instant such as 2027-01-31T12:00:00Z; it is"),
    ("retired: yes}", "line 2: cards[0].retired must be true or false; it is 'yes'."),
    ("}\n- {card: a, provider: '*', operation: y}", "line 2: cards must each have names of their own; 'a' is there"),
    (
        "}\n- {card: b, provider: '*', operation: x}",
        "line 3: cards[1] must cover something else than a, which has the same provider, operations and dimensions.",
    ),
    ("}\nexamples: [{amount: 1}]", "line 3: examples[0].usage must be given."),
    (
        "}\nexamples: [{usage: {provider: x, operation: x}}]",
        "line 3: examples[0] must say what to expect: `amount`, `card` or both; or `refused`.",
    ),
    (
        "}\nexamples: [{usage: {provider: x, operation: x}, amount: 1, refused: unit_mismatch}]",
        "line 3: examples[0] must say what to expect: `amount`, `card` or both; or `refused`.",
    ),
    (
        "}\nexamples: [{usage: {provider: x, operation: x}, refused: why}]",
        "line 3: examples[0].refused must be one of price_not_found, unit_mismatch, cost_overflow; it is 'why'.",
    ),
    (
        "}\nexamples: [{usage: {provider: x, operation: x, quantities: {t: -1}}, amount: 1}]",
        'line 3: examples[0].usage.quantities["t"] must be 0 to 9223372036854775807; it is -1.',
    ),
    (
        "}\nexamples: [{usage: {provider: x, operation: x}, before: {t: -1}, amount: 1}]",
        "line 3: examples[0].before.t must be 0 to 9223372036854775807; it is -1.",
    ),
]
IN_EXAMPLE = "fixed: 1}\nexamples: [{usage: {provider: x, operation: x}, "
METERS = "period: day, meters: [{unit: t, rate: 1, free: 1}, {unit: u, rate: 1}]}\n"
MISTAKES += [
    (IN_EXAMPLE + "amount: -3}]", "line 3: examples[0].amount must be 0 to 9223372036854775807; it is -3."),
    (IN_EXAMPLE + "card: b}]", "line 3: examples[0].card must be a card of this file; it is 'b'."),
    (
        IN_EXAMPLE + "before: {tokn: 5}, amount: 1}]",
        "line 3: examples[0].before.tokn is counted by no card of this file; counted are none.",
    ),
    (
        METERS + "examples: [{usage: {provider: x, operation: x}, before: {t: 1, u: 5}, amount: 1}]",
        "line 3: examples[0].before.u is counted by no card of this file; counted are t.",
    ),
    ("dimensions: {m: a*b}}", 'line 2: cards[0].dimensions["m"] may have "*" at its end only; it is \'a*b\'.'),
    ("dimensions: {m: '**'}}", 'line 2: cards[0].dimensions["m"] may have "*" at its end only; it is \'**\'.'),
]
# Each of them says so much more than the one before that no machine could read the last.
ALIASES = "x: &a0 [l, l, l, l, l, l, l, l, l, l]\n" + "".join(
    f"x{turn}: &a{turn} [{', '.join([f'*a{turn - 1}'] * 10)}]\n" for turn in range(1, 12)
)
NO_PRICES = [
    ("", "line 1: cards must be given."),
    ("- 1", "line 1: the file must be a table of keys and values."),
    ("prices: []", "line 1: prices is not known here; known are asset, cards, examples."),
    ("cards: [", "cannot be read: while parsing a flow"),
    ("cards: &a [*a]", ": cards[0] is an alias of what it is part of (line 1)."),
    ("cards: " + "[" * 5_000 + "]" * 5_000, "cannot be read: lists and tables lie too deep in each other."),
    (ALIASES, ": it must have at most 200,000 parts, with what aliases stand for (line"),
    ('cards: "\\UFFFFFFFF"', "cannot be read: it has a number or a character that is too large."),
    ("? [1]\n: 2", ": it must have plain words for keys (line 1)."),
    ("cards: !!python/object:os.system []\nx: 1", "line 2: x is not known here; known are"),
]


def written(tmp_path, text, name="prices.yaml"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def mistakes_in(path):
    with pytest.raises(UnusableFileError) as raised:
        read_price_file(path)
    return str(raised.value).splitlines()


@pytest.mark.parametrize(("name", "text"), [("prices.yaml", YAML), ("prices.toml", TOML)])
def test_a_file_is_read_as_it_is_written(tmp_path, name, text):
    found = read_price_file(written(tmp_path, text, name))

    assert found.asset == "points"
    assert found.cards == (CHAT, BOTH)
    first, second = found.examples
    assert first.usage == Usage(
        provider="openai", operation="a", bundled=("b",), dimensions={"x": "y"}, quantities={"token": 1}
    )
    assert (first.before, first.at, first.refused) == (
        {"token": 7},
        datetime(2027, 1, 1, tzinfo=UTC),
        "price_not_found",
    )
    assert (second.amount, second.card, second.refused) == (3, "chat", None)


def test_an_example_that_does_not_say_when_is_priced_with_all_cards_in_effect(tmp_path):
    found = read_price_file(written(tmp_path, YAML))

    assert found.examples[1].at == CHAT.effective_at


@pytest.mark.parametrize(("rest", "said"), MISTAKES)
def test_a_mistake_is_told_with_its_place_and_what_it_must_be(tmp_path, rest, said):
    path = written(tmp_path, CARD + rest)

    (told,) = mistakes_in(path)

    assert told.removeprefix(str(path)).removeprefix(", ").startswith(said)


@pytest.mark.parametrize(("name", "text"), [("prices.yaml", YAML), ("prices.toml", TOML)])
def test_a_mark_of_the_byte_order_before_it_changes_nothing(tmp_path, name, text):
    assert read_price_file(written(tmp_path, f"\ufeff{text}", name)).cards == (CHAT, BOTH)


@pytest.mark.parametrize("number", ["9" * 5_000, "0x" + "f" * 5_000])
def test_a_number_that_is_too_long_to_be_read_is_told_so(tmp_path, number):
    path = written(tmp_path, TOML.replace("fixed = 0.1", f"fixed = {number}"), "prices.toml")

    assert mistakes_in(path) == [f"{path} cannot be read: it has a number or a character that is too large."]


def test_what_an_alias_stands_for_is_read_as_often_as_it_is_named(tmp_path):
    text = (
        "cards:\n- {card: a, provider: x, operation: a, meters: &both [{unit: t, rate: 1}]}\n"
        "- {card: b, provider: x, operation: b, meters: *both}"
    )

    one, other = read_price_file(written(tmp_path, text)).cards

    assert one.meters == other.meters == (Meter(unit="t", rate=Decimal(1)),)


@pytest.mark.parametrize(("text", "said"), NO_PRICES)
def test_a_file_that_is_none_of_prices_is_refused(tmp_path, text, said):
    path = written(tmp_path, text)

    (told,) = mistakes_in(path)

    assert told.removeprefix(str(path)).removeprefix(", ").strip().startswith(said)


def test_in_toml_a_mistake_is_told_by_where_it_stands_in_the_tree(tmp_path):
    path = written(tmp_path, TOML.replace("step = 10", "step = 0"), "prices.toml")

    assert mistakes_in(path) == [
        f"{path}: cards[0].meters[0].step must be 1 to 9223372036854775807; it is 0.",
    ]


def test_all_mistakes_are_told_at_once_up_to_twenty(tmp_path):
    cards = "".join(f"- {{card: c{number}, provider: '*', operation: x, price: 1}}\n" for number in range(25))

    told = mistakes_in(written(tmp_path, f"cards:\n{cards}"))

    assert len(told) == 21
    assert ", line 3: cards[1].price is not known here;" in told[1]
    assert told[-1] == "… and 5 more"


def test_all_mistakes_of_a_card_are_told_at_once(tmp_path):
    text = (
        "{card: a, fixed: x, meters: [{rate: -1}, {unit: t, tiers: [{rate: 1}, {up_to: y}]}], discount: {since: now}}"
    )

    told = mistakes_in(written(tmp_path, f"cards:\n- {text}"))

    assert [one.split(": ", 1)[1].split(" must ")[0] for one in told] == [
        "cards[0].provider",
        "cards[0].fixed",
        "cards[0].meters[0].unit",
        "cards[0].meters[0].rate",
        "cards[0].meters[1].tiers[1].up_to",
        "cards[0].meters[1].tiers[1].rate",
        "cards[0].discount.percent",
        "cards[0].discount.since",
    ]


def test_what_cards_say_is_looked_at_once_all_of_them_can_be_read(tmp_path):
    text = CARD + "price: 1}\n- {card: b, provider: '*', operation: y, period: day}"
    unreadable = written(tmp_path, text)
    readable = written(tmp_path, text.replace("price", "fixed"), "readable.yaml")

    assert [told.split(" must ")[0].split(" is not ")[0] for told in mistakes_in(unreadable)] == [
        f"{unreadable}, line 2: cards[0].price"
    ]
    assert [told.split(" must ")[0] for told in mistakes_in(readable)] == [f"{readable}, line 3: cards[1].period"]


@pytest.mark.parametrize(
    ("content", "said"), [(b"\xff", "is not UTF-8"), (None, "cannot be read: No such file or directory.")]
)
def test_a_file_that_cannot_be_read_is_told_so(tmp_path, content, said):
    path = tmp_path / "prices.yaml"
    if content is not None:
        path.write_bytes(content)

    (told,) = mistakes_in(path)

    assert told.startswith(f"{path} {said}")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_cards_that_come_with_scrip_charge_what_their_examples_say(path):
    found = read_price_file(path)

    tried = found.tried("")
    assert [one for one, charge in tried if not one.agrees(charge)] == []
    # Every card is shown by an example.
    assert {charge.card for _, charge in tried if isinstance(charge, Charge)} == {card.card for card in found.cards}
