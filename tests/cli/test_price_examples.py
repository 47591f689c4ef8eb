"""`scrip prices` without a server: examples that are tried, and what is refused before anybody is asked."""

import json

import pytest

from tests.cli.price_files import CARDS
from tests.cli.saying import table_of


def test_examples_are_priced_without_a_server(run, price_file):
    result = run("prices", "test", price_file(CARDS))

    assert result.exit_code == 0, result.output
    *rows, counts = result.stdout.splitlines()
    assert table_of("\n".join(rows)) == [
        {
            "example": "line 11",
            "usage": "openai chat in=10",
            "expected": "3",
            "found": "3 by chat",
            "agrees": "true",
        },
        {
            "example": "line 12",
            "usage": "openai email",
            "expected": "refused: price_not_found",
            "found": "refused: price_not_found",
            "agrees": "true",
        },
    ]
    assert counts == "Examples: 2. Not as they should be: 0."


def test_an_example_that_comes_out_otherwise_is_shown_and_ends_with_1(run, price_file):
    result = run("prices", "test", price_file(CARDS.replace("amount: 3", "amount: 2, card: image")), "--format", "json")

    assert result.exit_code == 1
    assert result.stderr == "Examples: 2. Not as they should be: 1.\n"
    assert json.loads(result.stdout)[0] == {
        "example": "line 11",
        "usage": "openai chat in=10",
        "before": "",
        "at": "1970-01-01T00:00:00Z",
        "expected": "2 by image",
        "found": "3 by chat",
        "exact": "2.5",
        "agrees": False,
    }


def test_the_default_card_of_the_assets_settings_can_be_told(run, price_file):
    text = CARDS.replace("refused: price_not_found", "amount: 5")

    assert run("prices", "test", price_file(text)).exit_code == 1
    assert run("prices", "test", price_file(text), "--default-card", "image").exit_code == 0


@pytest.mark.parametrize("command", [("test",), ("apply", "--yes")])
def test_a_wrong_file_ends_with_2_and_names_each_place(run, price_file, command):
    result = run("prices", *command, price_file("cards:\n- {card: chat}\n- {card: X, fixed: [1]}\n"))

    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "Error: prices.yaml, line 2: cards[0].provider must be given.",
        "prices.yaml, line 3: cards[1].provider must be given.",
        "prices.yaml, line 3: cards[1].fixed must be a single value.",
    ]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--quantity", "in"), "'in' is not a unit and how much of it, such as input_token=1832."),
        (("--quantity", "in=-1"), "'in=-1' is not a unit and how much of it, such as input_token=1832."),
        (("--dimension", "model"), "'model' is not a key and its value, such as tier=gold."),
        (("--quantity", "in=1", "--quantity", "out=2", "--quantity", "in=1"), "in is told twice."),
        (("--dimension", "model=a", "--dimension", "model=b"), "model is told twice."),
        (("--account", "acme", "--at", "2027-01-01"), "What a customer pays is told of now only;"),
    ],
)
def test_what_cannot_be_asked_is_a_usage_error(run, arguments, error):
    result = run("prices", "quote", "openai", "chat", *arguments)

    assert result.exit_code == 2
    assert error in result.stderr
