"""The examples do what they show, on both engines: their output is compared with the one recorded beside them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.targets import serving

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
TRACE = ROOT.parent / "shared" / "data" / "AzureLLMInferenceTrace_code.csv"


def llm_gateway(port, trace, *flags):
    """Runs the example; returns what it printed."""
    command = [sys.executable, EXAMPLES / "llm_gateway.py", trace, f"--server=127.0.0.1:{port}", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_llm_gateway_prints_what_is_recorded(database_url):
    recorded = (EXAMPLES / "llm_gateway.out").read_text(encoding="utf-8")

    with serving(database_url) as (port, _):
        assert llm_gateway(port, EXAMPLES / "llm_trace_sample.csv", "--passes=2") == recorded


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


@pytest.mark.skipif(not TRACE.exists(), reason="the trace is not part of the project")
def test_a_real_trace_goes_through_twice(database_url):
    with serving(database_url) as (port, _):
        printed = llm_gateway(port, TRACE, "--passes=2")

    assert printed.startswith("pass 1: 8,819 requests")
    assert "pass 2 changed nothing" in printed
    assert printed.rstrip().endswith("clean")
