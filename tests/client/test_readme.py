"""What the client's README shows runs as it stands there, against a server with books."""

import dataclasses
import re
import warnings
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest
import scrip

from ledger import utc_now
from tests.server.paying import Paying, paying

README = Path(__file__).parents[2] / "clients/python/README.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
CHAT = scrip.Usage(
    provider="openai",
    operation="chat",
    dimensions={"model": "gpt-5"},
    quantities={"input_token": 1832, "output_token": 80},
)


@pytest.fixture
def buyer(sqlite_url) -> Iterator[Paying]:
    with paying(sqlite_url, utc_now) as buyer:
        yield buyer


def prepared(client):
    """What an example finds that does not open acme itself; gives a deduction to refund."""
    for account_id in ("acme", "bob"):
        client.open_account(account_id)
    client.grant("acme", 1000, "purchase")
    rates = [scrip.Meter(unit=unit, rate=1, per=1000) for unit in ("input_token", "output_token")]
    client.apply_rate_cards([scrip.RateCard(card="chat", provider="openai", operations=["chat"], meters=rates)])
    return client.check_and_deduct("acme", 5).entry_id


def sold(buyer: Paying, package: str):
    """What an example about selling finds; gives an order that is paid."""
    buyer.sell(package)
    order = buyer.order(package=package, save_payment_method=True)
    buyer.hear(buyer.pay(order))
    return order


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_runs(buyer, number):
    code = EXAMPLES[number]
    sells, there = "starter" in code or "order." in code, "other" if "create_package" in code else "starter"
    with scrip.Client(buyer.ask.target) as client:
        surroundings = {
            "scrip": scrip,
            "client": client,
            "Decimal": Decimal,
            "chat": CHAT,
            "dataclasses": dataclasses,
            "timedelta": timedelta,
            "entry_id": None if "open_account" in code else prepared(client),
            "order": sold(buyer, there) if sells else None,
            "send_to": str,
            "agreed_at": utc_now(),
            "render": lambda: 42,
            "answer": lambda: [SimpleNamespace(tokens=3), SimpleNamespace(tokens=4)],
            "it_takes_longer": lambda: True,
            "customers": lambda: ["acme", "bob"],
        }
        with warnings.catch_warnings(action="error"):
            exec(code.replace("127.0.0.1:50051", buyer.ask.target), surroundings)  # noqa: S102 -- our own words


def test_every_class_of_error_is_in_its_table():
    table = README.read_text(encoding="utf-8").partition("| class | below it |")[2].partition("\n\n")[0]
    told = set(re.findall(r"`(\w+)`", table))

    kinds = {
        name
        for name in scrip.__all__
        if isinstance(kind := getattr(scrip, name), type) and issubclass(kind, scrip.ScripError)
    }
    assert told == kinds - {"ScripError"}
