"""The load: many calls of one kind on a running server, made by a process of its own that tells how long they took.

Making a call costs much less than answering it, so that one machine can do both and still measure the server.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Final, Literal

from scrip.v1 import types_pb2

# What the calls of a load by usage tell.
USAGE: Final = types_pb2.Usage(
    provider="openai",
    operation="chat",
    dimensions={"model": "gpt-5"},
    quantities={"input_token": 400, "cached_token": 250, "output_token": 100},
)
# How long a call may take, and how long to wait for the last ones when the time is over.
TIMEOUT_S: Final = 30


class LoadFailedError(Exception):
    """The load could not be put on the server, or a call that had to be answered OK was not; the text says how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is asked of a server.

    address          host and port of the server
    operation        deduct: CheckAndDeduct of 1; usage: CheckAndDeduct of what USAGE costs, which must be 1; hold: Hold
                     of 1, and once that is answered Capture of it
    in_flight        calls under way at any time; with a rate, at most
    rate             calls per second, each at an instant that is set beforehand, whether or not earlier ones were
                     answered, and its latency counts from then; a Capture is due when its Hold is answered, and is not
                     counted in the rate. None: the next call is made when one was answered
    accounts         how many there are; each call takes one at random
    hot              all calls are on the first account
    account_prefix   of their ids, see `account_id`
    asset            what is spent; empty: what the server takes then
    run              a number that no other load on the same books has, so that no request_id comes twice
    all_ok           whether a call that is not answered OK ends the load
    """

    address: str = "127.0.0.1:50051"
    operation: Literal["deduct", "usage", "hold"] = "deduct"
    in_flight: int = 64
    rate: float | None = None
    accounts: int = 100_000
    hot: bool = False
    account_prefix: str = "c-"
    asset: str = ""
    run: int = 1
    warmup_s: float = 1.0
    measured_s: float = 4.0
    all_ok: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Calls that were not answered OK, all for the same reason.

    code       of gRPC, such as FAILED_PRECONDITION
    reason     of the contract, such as INSUFFICIENT_CREDITS; empty if the server gave none
    message    what the first of them was told
    in_doubt   they may have been done all the same
    """

    code: str
    reason: str
    message: str
    calls: int
    in_doubt: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What came of it.

    calls          answered OK, before and after the measured time too; a Hold and its Capture are two
    calls_per_s    answered OK within the measured time
    p50_ms, …      of the calls that were answered from the beginning of the measured time on, and so of those that were
                   under way when it ended; None if there were too few to tell
    generator_us   CPU time of the process that made the calls, per call
    spent          credits that the calls took: one for each CheckAndDeduct or Capture that was answered OK
    late           calls of a rate that could not begin when they were due, because too many were under way
    unsent         those of them that could not begin at all
    refused        empty if every call that was made was answered OK
    """

    calls: int
    calls_per_s: float
    p50_ms: float | None
    p99_ms: float | None
    p99_9_ms: float | None
    generator_us: float
    spent: int
    late: int
    unsent: int
    refused: tuple[Refused, ...]


def account_id(number: int, prefix: str = "c-") -> str:
    """The account that has this number, from 0."""
    return f"{prefix}{number:06d}"


def run(load: Load) -> Figures:
    """Have a process of its own put the load on the server; it ends when this one does.

    raises   LoadFailedError
    """
    reading, writing = os.pipe()
    try:
        # Without the working directory among the places to import from: it is the user's.
        command = [sys.executable, "-P", "-m", "server.load"]
        with subprocess.Popen(  # noqa: S603 -- ourselves
            command, stdin=reading, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                os.write(writing, json.dumps(asdict(load)).encode() + b"\n")
                figures, said = process.communicate(timeout=load.warmup_s + load.measured_s + 3 * TIMEOUT_S)
            except subprocess.TimeoutExpired as error:
                raise LoadFailedError(f"{load.address}: the load has no end") from error
            finally:
                process.kill()
                process.wait()
    finally:
        os.close(reading)
        os.close(writing)
    if process.returncode != 0:
        raise LoadFailedError(said.strip())
    found = json.loads(figures)
    return Figures(**{**found, "refused": tuple(Refused(**one) for one in found["refused"])})
