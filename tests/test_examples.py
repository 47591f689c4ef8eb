"""The examples do what they show, on both engines: their output is compared with the one recorded beside them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.targets import serving

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
RECORDED = {"holds": (), "gifts": (), "refunds": (), "llm_gateway": (EXAMPLES / "llm_trace_sample.csv", "--passes=2")}
TRACE = ROOT.parent / "shared" / "data" / "AzureLLMInferenceTrace_code.csv"


def printed_by(example, port, *arguments):
    """Runs an example; returns what it printed."""
    command = [sys.executable, EXAMPLES / f"{example}.py", *arguments, f"--server=127.0.0.1:{port}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def llm_gateway(port, trace, *flags):
    return printed_by("llm_gateway", port, trace, *flags)


@pytest.mark.parametrize(("example", "arguments"), RECORDED.items())
def test_an_example_prints_what_is_recorded(database_url, example, arguments):
    recorded = (EXAMPLES / f"{example}.out").read_text(encoding="utf-8")

    with serving(database_url) as (port, _):
        assert printed_by(example, port, *arguments) == recorded


def test_every_example_is_recorded_and_told():
    told = (EXAMPLES / "README.md").read_text(encoding="utf-8")

    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(RECORDED)
    assert [name for name in RECORDED if f"## {name}.py" not in told] == []


def test_a_gateway_that_starts_over_changes_nothing(sqlite_url):
    with serving(sqlite_url) as (port, _):
        llm_gateway(port, EXAMPLES / "llm_trace_sample.csv")
        again = llm_gateway(port, EXAMPLES / "llm_trace_sample.csv")

    served, replays = re.search(r"(\d+) served \((\d+) of them replays\)", again).groups()
    assert served == replays


def test_the_sample_follows_its_rule():
    lines = (EXAMPLES / "llm_trace_sample.csv").read_text(encoding="utf-8").splitlines()[1:]

    assert [tuple(map(int, line.split(",")[1:])) for line in lines] == [
        (40 + 7919 * n**2 % 7393, (6 + (n**2 % 41) ** 2 // 4) * (40 if n % 50 == 0 else 1)) for n in range(1, 201)
    ]


def assert_goes_through_twice(database_url, trace, requests):
    with serving(database_url) as (port, _):
        printed = llm_gateway(port, trace, "--passes=2")

    assert printed.startswith(f"pass 1: {requests:,} requests")
    assert "pass 2 changed nothing" in printed
    assert printed.rstrip().endswith("clean")


@pytest.mark.skipif(not TRACE.exists(), reason="the trace is not part of the project")
def test_the_first_thousand_requests_of_a_real_trace_go_through_twice(database_url, tmp_path):
    header, *lines = TRACE.read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "trace.csv").write_text("".join([header, *lines[:1_000]]), encoding="utf-8")

    assert_goes_through_twice(database_url, tmp_path / "trace.csv", 1_000)


@pytest.mark.soak
@pytest.mark.skipif(not TRACE.exists(), reason="the trace is not part of the project")
def test_a_real_trace_goes_through_twice(database_url):
    assert_goes_through_twice(database_url, TRACE, 8_819)
