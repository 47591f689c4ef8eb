"""`make bench`: what Scrip does per second and what that costs, beside what the machine could do at best."""

import argparse
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks import report
from benchmarks.batch import batch
from benchmarks.growth import growth
from benchmarks.lasting import lasting
from benchmarks.plan import Found, Part, Plan
from benchmarks.targets import keep_quiet, open_databases
from benchmarks.trace import trace
from benchmarks.unary import unary

PARTS: Final[Mapping[str, Part]] = {part.__name__: part for part in (unary, batch, trace, lasting, growth)}
FULL: Final = Plan()
QUICK: Final = Plan(rounds=5, in_flight=(1024,), accounts=10_000, warmup_s=0.5, measured_s=1.0, quick=True)
QUICK_PARTS: Final = ("unary", "batch")


def measure(plan: Plan, parts: Mapping[str, Part]) -> dict[str, Found]:
    """Each part prints what it has found as soon as it has."""
    found = {}
    with open_databases() as databases:
        for name, part in parts.items():
            began = time.monotonic()
            found[name] = part(databases, plan)
            print(f"{name} took {time.monotonic() - began:.0f} s", file=sys.stderr)
            print(report.shown(found[name]), end="\n\n", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all, if none is named")
    parser.add_argument(
        "--quick", action="store_true", help="the four ratios, in less than two minutes; or set QUICK=1"
    )
    parser.add_argument("--rounds", type=int, help="how often everything is measured")
    parser.add_argument("--in-flight", type=int, nargs="+", help="how many calls are under way at the same time")
    parser.add_argument("--accounts", type=int, help="how many accounts the calls are spread over")
    parser.add_argument("--seconds", type=float, help="how long each load is measured")
    parser.add_argument("--sizes", type=int, nargs="+", help="growth: entries in the books, smallest first")
    parser.add_argument("--longest", type=int, help="growth: entries of the account whose history is turned over")
    parser.add_argument("--operations", type=int, help="lasting: after how many memory and disk are looked at")
    parser.add_argument(
        "--trace", type=Path, help="trace: CSV with the columns TIMESTAMP, ContextTokens, GeneratedTokens"
    )
    options = parser.parse_args()
    if unknown := [name for name in options.parts if name not in PARTS]:
        parser.error(f"{unknown[0]} is no part of it; those are {', '.join(PARTS)}.")

    quick = options.quick or os.environ.get("QUICK", "0") not in {"", "0"}
    given = {
        "rounds": options.rounds,
        "in_flight": options.in_flight and tuple(options.in_flight),
        "accounts": options.accounts,
        "measured_s": options.seconds,
        "sizes": options.sizes and tuple(options.sizes),
        "longest": options.longest,
        "operations": options.operations,
        "trace": options.trace,
    }
    plan = replace(QUICK if quick else FULL, **{name: value for name, value in given.items() if value is not None})
    names = options.parts or (QUICK_PARTS if quick else PARTS)
    run(plan, {name: PARTS[name] for name in names})


def run(plan: Plan, parts: Mapping[str, Part]) -> None:
    keep_quiet()
    began, machine = time.monotonic(), report.machine()
    print(f"{machine['cores']} cores of {machine['cpu']}, Python {machine['python']}, grpc {machine['grpc']};")
    print(f"the disk takes {machine['fdatasync_ms']} ms to make a page durable.")
    print(f"{plan.rounds} rounds, {plan.measured_s:g} s each: medians, least-most.\n", flush=True)
    found = measure(plan, parts)
    print(report.goals(report.all_figures(found, plan)), end="\n\n")
    print(report.line(found, plan, machine, time.monotonic() - began))


if __name__ == "__main__":
    main()
