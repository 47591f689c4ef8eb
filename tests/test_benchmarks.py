"""The benchmark measures what it says: its calls are real ones, and it notices answers that are not OK."""

import json
import random

import pytest
from scrip import Client
from scrip.v1.credit_service_pb2 import CheckAndDeductRequest

from benchmarks import __main__ as bench
from benchmarks import books, load
from benchmarks.targets import serving


@pytest.fixture
def quick(monkeypatch, capsys):
    """Runs `make bench` with these flags; returns what it printed."""

    def run(*flags):
        monkeypatch.setattr("sys.argv", ["benchmarks", "--quick", *flags])
        bench.main()
        return capsys.readouterr().out

    return run


def test_the_bench_ends_with_one_line_of_json_that_has_the_ratios(quick):
    printed = quick("--rounds=1", "--in-flight", "1", "16", "--accounts=50", "--seconds=0.5").splitlines()
    found = json.loads(printed[-1])

    assert found["unary_sqlite_over_echo"] > 0
    assert found["unary_postgres_over_echo"] > 0
    assert [(row["in_flight"], row["target"]) for row in found["rows"]] == [
        (in_flight, target) for in_flight in (1, 16) for target in ("echo", "sqlite", "postgres")
    ]
    assert all(row["calls_per_s"]["median"] > 0 for row in found["rows"])


def test_a_message_of_the_load_is_what_protobuf_makes():
    draw = random.Random(7).random
    message = load.messages(7, 1000)

    for number in range(3):
        expected = CheckAndDeductRequest(
            request_id=f"000007-{number:09x}", account_id=load.account_id(int(draw() * 1000)), amount=1
        )
        assert message() == expected.SerializeToString()


def test_a_load_on_running_books_deducts_once_per_call(sqlite_url):
    books.fill(sqlite_url, 3)

    with serving(sqlite_url) as (port, _):
        figures = load.measure(load.Load(port=port, in_flight=100, accounts=3, run=1, warmup_s=0.1, measured_s=0.3))
        with Client(f"127.0.0.1:{port}") as client:
            left = [client.balance(load.account_id(number)).available for number in range(3)]

    assert figures.calls > 0
    assert sum(left) == 3 * books.GRANTED - figures.calls
    assert books.spent(sqlite_url) == figures.calls


def test_a_refused_call_fails_the_load(sqlite_url):
    books.fill(sqlite_url, 1)

    with serving(sqlite_url) as (port, _), pytest.raises(load.LoadFailedError, match="has no credits account"):
        load.run(load.Load(port=port, in_flight=1, accounts=2, run=1, warmup_s=0, measured_s=5))
