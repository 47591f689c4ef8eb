"""`make bench`: CheckAndDeduct over gRPC on both engines, beside a handler that does nothing."""

import argparse
import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import structlog

from benchmarks import report
from benchmarks.targets import Sample, Target, open_targets


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured.

    in_flight   numbers of calls that are under way at the same time
    """

    rounds: int
    in_flight: tuple[int, ...]
    accounts: int
    warmup_s: float
    measured_s: float


FULL = Plan(rounds=7, in_flight=(1, 64, 1024), accounts=10_000, warmup_s=1.0, measured_s=4.0)
QUICK = Plan(rounds=5, in_flight=(1, 64, 1024), accounts=10_000, warmup_s=0.5, measured_s=1.0)


def rounds(plan: Plan, targets: Sequence[Target]) -> Iterator[list[Sample]]:
    """Every load on every target, once per round.

    Neighbours in time are compared with each other, because the speed of shared machines drifts; and every other
    round goes through the targets backwards, so that none always comes after the same.
    """
    number = 0
    for turn in range(plan.rounds):
        samples = []
        for in_flight in plan.in_flight:
            for target in targets if turn % 2 == 0 else reversed(targets):
                number += 1
                sample = target.measure(
                    number=number, in_flight=in_flight, warmup_s=plan.warmup_s, measured_s=plan.measured_s
                )
                samples.append(sample)
                told = f"round {turn + 1} of {plan.rounds}: {in_flight:>5,} in flight, {target.name:<8}"
                print(f"{told} {sample.figures.calls_per_s:>8,.0f} calls/s", file=sys.stderr)
        yield sorted(samples, key=lambda sample: sample.in_flight)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less of everything, under two minutes; or set QUICK=1")
    parser.add_argument("--rounds", type=int, help="how often everything is measured")
    parser.add_argument("--in-flight", type=int, nargs="+", help="how many calls are under way at the same time")
    parser.add_argument("--accounts", type=int, help="how many accounts the calls are spread over")
    parser.add_argument("--seconds", type=float, help="how long each load is measured")
    options = parser.parse_args()

    plan = QUICK if options.quick or os.environ.get("QUICK", "0") not in {"", "0"} else FULL
    given = {
        "rounds": options.rounds,
        "in_flight": options.in_flight and tuple(options.in_flight),
        "accounts": options.accounts,
        "measured_s": options.seconds,
    }
    plan = replace(plan, **{name: value for name, value in given.items() if value is not None})

    # Standard output is for what was measured.
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    began = time.monotonic()
    print(f"Filling {plan.accounts:,} accounts on each engine.", file=sys.stderr)
    with open_targets(plan.accounts) as targets:
        rows = report.figures(list(rounds(plan, targets)))
    machine = report.machine()
    print(f"\n{machine['cores']} cores of {machine['cpu']}, Python {machine['python']}, grpc {machine['grpc']};")
    print(f"the disk takes {machine['fdatasync_ms']} ms to make a page durable.")
    print(f"{plan.rounds} rounds, {plan.measured_s:g} s each, {plan.accounts:,} accounts: medians, least-most.\n")
    print(report.table(rows), end="\n\n")
    print(report.line(rows, {**asdict(plan), "took_s": round(time.monotonic() - began)}, machine))


if __name__ == "__main__":
    main()
