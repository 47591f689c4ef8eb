"""`scrip bench`: what it says of a server, that it touches no books but its own, and that it leaves nothing running."""

import os
import re
import signal
import subprocess

import pytest
from scrip import AccountNotFound, Client, Code
from scrip.v1.types_pb2 import SOURCE_FREE

from tests.books import audit_findings
from tests.cli.processes import PATIENCE_S, SCRIP, serving
from tests.cli.saying import csv_of, json_of, table_of

QUICK = ("--seconds", "0.2", "--accounts", "3")
COLUMNS = [
    "in_flight", "rate", "calls", "calls_per_s", "p50_ms", "p99_ms", "p99_9_ms", "late", "unsent", "refused",
    "generator_us",
]  # fmt: skip


def revenue(client, asset="bench") -> int:
    """0 as long as there is no such asset."""
    found = [books for books in client.trial_balance().assets if books.asset == asset]
    return sum(int(row.credits) for books in found for row in books.rows if row.code == Code.CODE_REVENUE)


@pytest.fixture
def client(ask):
    with Client(ask.target) as client:
        yield client


def test_it_has_a_row_for_each_number_of_calls_in_flight_and_the_books_say_the_same(scrip, client):
    said = scrip("bench", *QUICK, "--in-flight", "1,70")

    rows = table_of(said.stdout)
    assert said.exit_code == 0, said.output
    assert [list(row) for row in rows] == [COLUMNS] * 2
    assert [(row["in_flight"], row["rate"], row["late"], row["refused"]) for row in rows] == [
        ("1", "", "0", "0"),
        ("70", "", "0", "0"),
    ]
    calls = sum(int(row["calls"]) for row in rows)
    assert calls == revenue(client) >= 71
    assert said.stderr.endswith(f"The calls took {calls:,} credits, and the revenue in bench grew by {calls:,}.\n")


def test_programs_get_the_same_rows(scrip):
    (as_json,) = json_of(scrip("bench", *QUICK, "--in-flight", "2", "--format", "json"))
    (as_csv,) = csv_of(scrip("bench", *QUICK, "--in-flight", "2", "--format", "csv").stdout)

    assert list(as_json) == list(as_csv) == COLUMNS
    assert as_json["rate"] is None
    assert as_json["calls"] > 0 < as_json["p50_ms"] <= as_json["p99_ms"]


def test_a_rate_makes_as_many_calls_as_it_says(scrip, client):
    rows = json_of(scrip("bench", *QUICK, "--rate", "50,100", "--format", "json"))

    # As long again for warming up as is measured.
    assert [(row["rate"], row["in_flight"], row["calls"] + row["unsent"]) for row in rows] == [
        (50.0, 1024, 20),
        (100.0, 1024, 40),
    ]
    assert revenue(client) == sum(row["calls"] for row in rows)


def test_holds_are_captured_and_a_hot_load_is_on_one_account(scrip, client):
    (row,) = json_of(scrip("bench", *QUICK, "--holds", "--hot", "--in-flight", "8", "--format", "json"))

    left = client.balance("bench-000000", asset="bench")
    assert row["calls"] == 2 * revenue(client) > 0
    assert (left.available, left.held) == (10**12 - revenue(client), 0)
    with pytest.raises(AccountNotFound):
        client.balance("bench-000001", asset="bench")


def test_a_second_run_takes_the_accounts_as_they_are_and_no_other_asset_is_touched(scrip, client):
    client.configure_asset("credits", welcome=None)
    before = client.trial_balance(asset="credits")

    first, second = (json_of(scrip("bench", *QUICK, "--in-flight", "4", "--format", "json")) for _ in range(2))

    assert revenue(client) == first[0]["calls"] + second[0]["calls"]
    entries = list(client.history("bench-000002", asset="bench"))
    assert [entry.lots[0].source for entry in entries if entry.request_id == "scrip-bench-grant"] == [SOURCE_FREE]
    assert client.trial_balance(asset="credits").assets == before.assets


def test_calls_that_are_refused_are_told_with_their_reason(scrip, client):
    scrip("bench", *QUICK, "--hot", "--in-flight", "1")
    client.freeze_account("bench-000000", asset="bench", description="why", actor="who")

    said = scrip("bench", *QUICK, "--accounts", "1", "--in-flight", "5", "--format", "json")

    told = re.search(r"^5 in flight: (\d+) calls not answered OK \(not done\): (.*)$", said.stderr, re.MULTILINE)
    assert told[2].startswith("FAILED_PRECONDITION ACCOUNT_FROZEN: ")
    assert f'"refused": {told[1]},' in said.stdout
    assert said.stderr.endswith("Error: No call was answered OK.\n")
    assert said.exit_code == 1


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--asset", "credits"), "'credits' is not bench and does not begin with bench-, so it may be a customer's."),
        (("--in-flight", "0"), "'0' must be at most 10 numbers of 1 to 4,096."),
        (("--in-flight", "1,x"), "'1,x' is not numbers with commas between."),
        (("--rate", "1e9"), "'1e9' must be at most 10 numbers of 1 to 100,000."),
        (("--rate", "nan"), "'nan' must be at most 10 numbers of 1 to 100,000."),
        (("--rate", "5", "--in-flight", "1,2"), "With --rate there is one --in-flight,"),
        (("--seconds", "601"), "601.0 is not in the range 0.1<=x<=600"),
        (("--seconds", "nan"), "'nan' is not a number."),
        (("--server", "dns:///scrip:50051"), "'dns:///scrip:50051' is not an address such as 127.0.0.1:50051"),
    ],
)
def test_what_cannot_be_measured_is_told_and_ends_with_2(run, flags, told):
    said = run("bench", *flags)

    assert said.exit_code == 2
    assert told in said.stderr


def test_a_server_that_is_not_there_is_told_with_its_address(run):
    said = run("bench", SCRIP_SERVER="127.0.0.1:1", SCRIP_DEADLINE_S="0.5")

    assert said.exit_code == 1
    assert said.stderr.endswith(". Is a server running at 127.0.0.1:1? Start one with: scrip serve\n")


def interrupted(server, interrupt) -> tuple[int, str, str]:
    """How a long bench ends, and what it says, if something happens to it; nothing of it is left."""
    flags = ("--in-flight", "8", "--seconds", "600", "--accounts", "3", "--deadline-s", "3")
    command = [SCRIP, "bench", "--server", server.target, *flags]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with (
        Client(server.target) as client,
        subprocess.Popen(command, start_new_session=True, text=True, **pipes) as process,
    ):
        try:
            while process.poll() is None and revenue(client) < 50:
                pass
            interrupt(process)
            said = process.communicate(timeout=PATIENCE_S)
            with pytest.raises(ProcessLookupError):
                os.killpg(process.pid, 0)
        finally:
            process.kill()
    return process.returncode, *said


def test_an_interrupted_bench_leaves_no_process_behind(sqlite_url):
    with serving("--database", sqlite_url) as server:
        code, _, said = interrupted(server, lambda process: process.send_signal(signal.SIGINT))
        server.stop()

    assert code == 1
    assert "Traceback" not in said
    assert audit_findings(sqlite_url) == []


def test_a_server_that_goes_away_is_told_after_what_was_measured(sqlite_url):
    with serving("--database", sqlite_url) as server:
        code, table, said = interrupted(server, lambda _: server.process.kill())

    (row,) = table_of(table)
    assert code == 1
    assert (row["in_flight"], row["refused"]) == ("8", "8")
    assert "8 in flight: 8 calls not answered OK (perhaps done): UNAVAILABLE: " in said
    assert said.splitlines()[-1].endswith(f"Is a server running at {server.target}? Start one with: scrip serve")
