"""The same with small books and large ones: what a deduction costs, reads, and the start of a server."""

import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from multiprocessing import get_context
from typing import Any

import scrip

from benchmarks.plan import Found, Plan
from benchmarks.rounds import Case, Measured, Middle, Sample, measured
from benchmarks.targets import ENGINES, Databases, Target, keep_quiet, serving
from server.load import account_id

READS = 200
STARTS = 3
# With these an account is opened and granted to.
FIRST_ENTRIES = 2
PAGE = 50
PAGE_MAX = 500
DEADLINE_S = 60
NOTES = (
    "entries: in the books when the measuring began; 0: none but the two that each account begins with.",
    "Reads are made one after the other by a Client in this process, whose own time is in them.",
    "start: from the command until the first call is answered.",
)


def growth(databases: Databases, plan: Plan) -> Found:
    """Books of several sizes on both engines, measured in turns."""
    with ExitStack() as stack:
        targets = [
            _target(stack.enter_context(databases.new(engine)), engine, size, plan)
            for engine in ENGINES
            for size in plan.sizes
        ]
        # The largest take minutes, so both engines are written to at once; by processes that begin anew, because this
        # one has gRPC in it.
        with ProcessPoolExecutor(len(ENGINES), mp_context=get_context("spawn"), initializer=keep_quiet) as pool:
            list(pool.map(Target.fill, sorted(targets, key=lambda target: -target.deductions)))
        starts = measured(
            [Case(name=f"{target.name}, start", measure=partial(_start, target)) for target in targets], STARTS
        )
        cases: list[Case] = []
        for target in targets:
            stack.enter_context(target.serve())
            least = f"{target.name.split(',')[0]}, {_entries(plan.sizes[0])}"
            load = partial(target.load, in_flight=max(plan.in_flight), **plan.how_long)
            cases.append(Case(name=target.name, measure=load, over=None if target.name == least else least))
        for target in targets:
            client = stack.enter_context(scrip.Client(target.address, deadline_s=DEADLINE_S))
            cases += _reads(target, client)
        found = measured(cases, plan.rounds)
    return Found(
        title=f"Growth, over {plan.accounts:,} accounts",
        measured=(found, starts),
        figures=_figures(found, starts, plan),
        notes=NOTES,
    )


def _target(url: str, engine: str, size: int, plan: Plan) -> Target:
    """Books of about that size, in which the first account has a long history if they are not too small for it."""
    longest = plan.longest if size >= 2 * plan.longest else 0
    return Target(
        f"{engine}, {_entries(size)}",
        url,
        plan.accounts,
        deductions=max(size // plan.accounts - FIRST_ENTRIES, 0),
        longest=max(longest - FIRST_ENTRIES, 0),
    )


def _start(target: Target) -> Sample:
    began = time.perf_counter()
    with (
        serving(target.database_url) as (port, _),
        scrip.Client(f"127.0.0.1:{port}", deadline_s=DEADLINE_S) as client,
    ):
        client.balance(account_id(0))
        return Sample(p50_ms=(time.perf_counter() - began) * 1e3)


def _reads(target: Target, client: scrip.Client) -> Iterator[Case]:
    first = account_id(0)
    reads: dict[str, Callable[[], Any]] = {
        "GetBalance": lambda: client.balance(first),
        "TrialBalance": client.trial_balance,
        "History, first page": lambda: client.history_page(first, page_size=PAGE),
    }
    if target.longest:
        token = _last_page(client, first, target.longest + FIRST_ENTRIES)
        reads["History, last page"] = lambda: client.history_page(first, page_size=PAGE, page_token=token)
    for name, read in reads.items():
        yield Case(name=f"{target.name}, {name}", measure=partial(_timed, read))


def _last_page(client: scrip.Client, account: str, entries: int) -> str:
    """Turn over all pages of a history but the last; returns the token for that one."""
    token, ahead = "", entries - PAGE
    while ahead:
        size = min(PAGE_MAX, ahead)
        token = client.history_page(account, page_size=size, page_token=token).next_page_token
        ahead -= size
    return token


def _timed(read: Callable[[], Any]) -> Sample:
    """How long it takes, again and again."""
    took = []
    for _ in range(READS):
        began = time.perf_counter()
        read()
        took.append((time.perf_counter() - began) * 1e3)
    took.sort()
    return Sample(p50_ms=statistics.median(took), p99_ms=took[READS * 99 // 100])


def _figures(found: Measured, starts: Measured, plan: Plan) -> dict[str, Middle | None]:
    """Of the largest books."""
    figures: dict[str, Middle | None] = {}
    for engine in ENGINES:
        least, most = (f"{engine}, {_entries(size)}" for size in (plan.sizes[0], plan.sizes[-1]))
        figures[f"growth_{engine}_cost"] = found.ratio(most, least, "server_us", "database_us")
        figures[f"growth_{engine}_speed"] = found.ratio(most, least, "per_s")
        for figure, read in (
            ("history_first", "History, first page"),
            ("history_last", "History, last page"),
            ("balance", "GetBalance"),
            ("trial_balance", "TrialBalance"),
        ):
            figures[f"{figure}_{engine}_p50_ms"] = found.middle(f"{most}, {read}", "p50_ms")
        figures[f"start_{engine}_ms"] = starts.middle(f"{most}, start", "p50_ms")
    return figures


def _entries(size: int) -> str:
    return f"{size:,} entries"
