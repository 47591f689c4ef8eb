"""`scrip prices` with a server: cards that are set, listed and shown, and usage that is quoted."""

from io import BytesIO
from pathlib import Path

import pytest
from click.testing import CliRunner
from scrip.v1.pricing_service_pb2 import RateCard

from server.__main__ import main
from tests.books import DAY
from tests.cli.price_files import CARDS, NEXT
from tests.cli.saying import assert_says, json_of, table_of

EXAMPLES = sorted((Path(__file__).parent.parent.parent / "examples" / "prices").glob("*.*"))
NO_CARD: dict[str, object] = {
    "provider": "",
    "operations": "",
    "dimensions": "",
    "fixed": "0",
    "meters": "",
    "minimum": "0",
    "rounding": "up",
    "period": "",
    "discount": "",
    "description": "",
    "effective_at": "2026-01-01T00:00:00Z",
    "retired": False,
}
CHAT = NO_CARD | {
    "card": "chat",
    "version": 1,
    "provider": "openai",
    "operations": "chat",
    "meters": "in: 0.25; out: 2 per 3",
}
IMAGE = NO_CARD | {
    "card": "image",
    "version": 1,
    "provider": "*",
    "operations": "image/*",
    "dimensions": "size=hd",
    "fixed": "5",
}


def test_apply_shows_what_would_change_and_asks(scrip, price_file):
    name = price_file(CARDS)

    refused = scrip("prices", "apply", name)

    assert refused.exit_code == 1
    assert "Change the prices of credits? [y/N]" in refused.stdout
    assert refused.stderr.strip() == "Aborted!"
    shown = table_of(refused.stdout.split("Change the prices")[0].rstrip())
    created = {"card": "chat", "action": "created", "before": ""}
    assert {**created, "field": "meters", "after": "in, out"} in shown
    assert {**created, "field": "meter out", "after": "2 per 3"} in shown
    assert {row["card"] for row in shown} == {"chat", "image"}
    assert "effective_at" not in {row["field"] for row in shown}
    assert json_of(scrip("prices", "list", "--format", "json")) == []


def test_apply_sets_the_cards_of_a_file(scrip, price_file):
    result = scrip("prices", "apply", price_file(CARDS), "--yes")

    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == "Done. Cards: 2 created."
    not_in_tables = set(NO_CARD) - {"provider", "operations", "dimensions", "fixed", "meters", "retired"}
    assert_says(scrip, [CHAT, IMAGE], "prices", "list", not_in_tables=not_in_tables)


def test_apply_makes_new_versions_of_what_differs_and_retires_the_others_if_told(scrip, price_file, clock):
    scrip("prices", "apply", price_file(CARDS), "--yes")
    clock.now += DAY

    result = scrip("prices", "apply", price_file(NEXT), "--retire-others", "--yes", "--format", "json")

    changes = {(row["card"], row["action"], row["field"]): (row["before"], row["after"]) for row in json_of(result)}
    assert changes["chat", "changed", "meter in"] == ("0.25", "0.25, 100 free")
    assert {field for _, _, field in changes if field.startswith("meter")} == {"meter in"}
    assert changes["chat", "changed", "period"] == ("", "month")
    assert changes["search", "created", "discount"] == (None, "10 % until 2027-01-01T00:00:00Z")
    assert changes["image", "retired", "retired"] == (False, True)
    assert result.stderr == "Done. Cards: 1 created, 1 changed, 1 retired.\n"
    listed = [(row["card"], row["version"]) for row in json_of(scrip("prices", "list", "--format", "json"))]
    assert listed == [("chat", 2), ("search", 1)]
    every = json_of(scrip("prices", "list", "--all-versions", "--format", "json"))
    assert [(row["card"], row["version"], row["retired"]) for row in every] == [
        ("chat", 2, False),
        ("chat", 1, False),
        ("image", 2, True),
        ("image", 1, False),
        ("search", 1, False),
    ]


def test_apply_shows_meters_that_come_that_go_and_that_change_places(scrip, price_file):
    card = "cards:\n- {{card: chat, provider: openai, operation: chat, meters: [{}]}}"
    one, two, three = ("{unit: a, rate: 1}", "{unit: b, rate: 2}", "{unit: c, rate: 3}")
    scrip("prices", "apply", price_file(card.format(f"{one}, {two}")), "--yes")

    said = {
        meters: table_of(
            scrip("prices", "apply", price_file(card.format(meters)), "--preview").stdout.rsplit("\n", 2)[0]
        )
        for meters in (f"{two}, {one}", f"{one}, {three}")
    }

    moved, replaced = ([(row["field"], row["before"], row["after"]) for row in rows] for rows in said.values())
    assert moved == [("meters", "a, b", "b, a")]
    assert replaced == [("meters", "a, b", "a, c"), ("meter c", "", "3"), ("meter b", "2", "")]


def test_apply_again_changes_nothing_and_asks_nothing(scrip, price_file):
    name = price_file(CARDS)
    scrip("prices", "apply", name, "--yes")

    again = scrip("prices", "apply", name)

    assert again.exit_code == 0, again.output
    assert again.stdout.splitlines() == ["(none)", "Nothing to do. Cards: 2 unchanged."]


class Meanwhile(BytesIO):
    """Somebody who is asked, does something, and only then says yes."""

    def __init__(self, does):
        super().__init__(b"y\n")
        self._does = does

    def read1(self, size=-1, /):
        self._does()
        return super().read1(size)


def test_apply_changes_nothing_if_somebody_else_did_before_it_was_confirmed(scrip, price_file, ask):
    other = RateCard(card="other", provider="x", operations=["y"], fixed="1")
    name = price_file(CARDS)

    result = CliRunner(env={"SCRIP_SERVER": ask.target}).invoke(
        main, ["prices", "apply", name], input=Meanwhile(lambda: ask("ApplyRateCards", cards=[other]))
    )

    assert result.exit_code == 1
    assert result.stderr == "Error: price list of credits was changed meanwhile. Look at it and try again.\n"
    assert [card["card"] for card in json_of(scrip("prices", "list", "--format", "json"))] == ["other"]


def test_a_preview_of_apply_changes_nothing(scrip, price_file):
    result = scrip("prices", "apply", price_file(CARDS), "--preview")

    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == "Preview. Cards: 2 created."
    assert json_of(scrip("prices", "list", "--format", "json")) == []


def test_apply_shows_from_when_on_a_card_counts_if_the_file_says_so(scrip, price_file):
    later = CARDS.replace("fixed: 5", "fixed: 5, effective_at: 2026-02-01")

    said = scrip("prices", "apply", price_file(later), "--preview").stdout

    shown = [(row["card"], row["after"]) for row in table_of(said.rsplit("\n", 2)[0]) if row["field"] == "effective_at"]
    assert shown == [("image", "2026-02-01T00:00:00Z")]


def test_what_a_server_refuses_is_told(scrip, price_file):
    clashing = "cards:\n- {card: other, provider: openai, operation: chat, fixed: 1}"
    scrip("prices", "apply", price_file(CARDS), "--yes")

    result = scrip("prices", "apply", price_file(clashing), "--yes")

    assert result.exit_code == 1
    assert "cover the same provider, operations and dimensions" in result.stderr


def test_a_file_that_is_more_than_a_server_takes_at_once_is_told_so(scrip, price_file):
    cards = "".join(
        f"- {{card: c{number}, provider: x, operation: o{number}, fixed: 1, description: {'ä' * 990}}}\n"
        for number in range(600)
    )

    result = scrip("prices", "apply", price_file(f"cards:\n{cards}"), "--yes")

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: A server takes at most 1,048,576 bytes at once, and this is more. ")


def test_show_says_all_of_one_version(scrip, price_file, clock):
    scrip("prices", "apply", price_file(CARDS), "--yes")
    clock.now += DAY
    scrip("prices", "apply", price_file(NEXT), "--yes")

    assert json_of(scrip("prices", "show", "chat", "--version", "1", "--format", "json")) == [CHAT]
    (now,) = json_of(scrip("prices", "show", "chat", "--format", "json"))
    assert (now["version"], now["period"]) == (2, "month")
    shown = table_of(scrip("prices", "show", "image").stdout)
    assert {row["field"]: row["value"] for row in shown}["dimensions"] == "size=hd"


def test_quote_tells_what_usage_costs_meter_by_meter(scrip, price_file):
    scrip("prices", "apply", price_file(CARDS), "--yes")

    nothing = {"quantity": None, "counted": None, "free": None, "before": None, "discount": None, "amount": None}
    of_card = {"card": "chat", "version": 1}
    first = of_card | nothing | {"unit": "in", "quantity": 10, "counted": 10, "free": 0, "before": 0, "exact": "2.5"}
    second = of_card | nothing | {"unit": "out", "quantity": 1, "counted": 1, "free": 0, "before": 0, "exact": "2/3"}
    total = of_card | nothing | {"unit": "total", "exact": "19/6", "amount": 4}
    command = ("prices", "quote", "openai", "chat", "--quantity", "in=10", "--quantity", "out=1")
    assert_says(scrip, [first, second, total], *command)


def test_quote_tells_what_a_customer_would_pay_and_whether_that_is_there(scrip, ask, price_file):
    scrip("prices", "apply", price_file(CARDS), "--yes")
    ask("OpenAccount")
    ask("Grant", amount=4)
    command = ("prices", "quote", "openai", "image/new", "--dimension", "size=hd", "--account", "acme")

    (total,) = json_of(scrip(*command, "--format", "json"))

    verdict = {name: total[name] for name in ("card", "amount", "allowed", "available", "shortfall", "reason")}
    assert verdict == {
        "card": "image",
        "amount": 5,
        "allowed": False,
        "available": 4,
        "shortfall": 1,
        "reason": "INSUFFICIENT_CREDITS",
    }


def test_quote_takes_bundles_and_instants_to_come(scrip, price_file):
    bundle = 'cards: [{card: both, provider: "*", operations: [a, b], fixed: 9, effective_at: 2026-02-01}]'
    scrip("prices", "apply", price_file(bundle), "--yes")
    command = ("prices", "quote", "own", "b", "--bundled", "a")

    assert "No rate card of credits covers" in scrip(*command).stderr
    (total,) = json_of(scrip(*command, "--at", "2026-02-01", "--format", "json"))
    assert (total["card"], total["amount"]) == ("both", 9)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_cards_that_come_with_scrip_can_be_set_and_are_then_as_they_are(scrip, path):
    scrip("define-asset", "enrichment", "--scale", "2")

    first = scrip("prices", "apply", str(path), "--yes")
    again = scrip("prices", "apply", str(path), "--yes")

    assert first.exit_code == again.exit_code == 0, first.output + again.output
    assert first.stdout.splitlines()[-1].endswith(" created.")
    assert again.stdout.splitlines()[-1].endswith(" unchanged.")
