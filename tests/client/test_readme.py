"""What the client's README shows runs as it stands there, against a server with books."""

import re
import warnings
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import scrip

from ledger import utc_now
from server.config import Settings
from tests.running_server import RunningServer

README = Path(__file__).parents[2] / "clients/python/README.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def books(sqlite_url) -> Iterator[str]:
    settings = Settings(database=sqlite_url, listen="127.0.0.1:0", sweep_s=0, drain_s=0)
    with RunningServer(settings, utc_now) as server:
        yield f"127.0.0.1:{server.port}"


def prepared(client):
    """What an example finds that does not open acme itself; gives a deduction to refund."""
    for account_id in ("acme", "bob"):
        client.open_account(account_id)
    client.grant("acme", 1000, "purchase")
    return client.check_and_deduct("acme", 5).entry_id


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_runs(books, number):
    with scrip.Client(books) as client:
        surroundings = {
            "scrip": scrip,
            "client": client,
            "timedelta": timedelta,
            "entry_id": None if "open_account" in EXAMPLES[number] else prepared(client),
            "render": lambda: 42,
            "answer": lambda: [SimpleNamespace(tokens=3), SimpleNamespace(tokens=4)],
            "it_takes_longer": lambda: True,
            "customers": lambda: ["acme", "bob"],
        }
        with warnings.catch_warnings(action="error"):
            exec(EXAMPLES[number].replace("127.0.0.1:50051", books), surroundings)  # noqa: S102 -- our own words


def test_every_class_of_error_is_in_its_table():
    table = README.read_text(encoding="utf-8").partition("| class | below it |")[2].partition("\n\n")[0]
    told = set(re.findall(r"`(\w+)`", table))

    kinds = {
        name
        for name in scrip.__all__
        if isinstance(kind := getattr(scrip, name), type) and issubclass(kind, scrip.ScripError)
    }
    assert told == kinds - {"ScripError"}
