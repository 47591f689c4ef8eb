"""Measuring in turns, so that what is compared was measured side by side.

The speed of shared machines drifts by a factor within minutes. So each round measures every case once, every other
round backwards, so that none always comes after the same; and a ratio is taken between two cases of one round.
"""

import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What one measurement of one case came to; None is what it cannot tell.

    per_s             operations per second
    p50_ms…p99_9_ms   how long a call took, or whatever else the case does again and again
    server_us         CPU time of the server process, per operation
    database_us       of all processes of PostgreSQL; SQLite has none of its own
    load_us           of the process that made the calls
    per_transaction   operations per transaction that wrote
    """

    per_s: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    p99_9_ms: float | None = None
    server_us: float | None = None
    database_us: float | None = None
    load_us: float | None = None
    per_transaction: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is measured once in each round.

    over   the name of the case that it is compared with
    """

    name: str
    measure: Callable[[], Sample]
    over: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Middle:
    """The median of several rounds, with the least and the most."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float | None]) -> "Middle | None":
        """None if there are no values, or if any of the rounds has nothing to tell."""
        known = list(values)
        if not known or None in known:
            return None
        return cls(median=statistics.median(known), least=min(known), most=max(known))

    def rounded(self) -> dict[str, float]:
        return {"median": rounded(self.median), "least": rounded(self.least), "most": rounded(self.most)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """All samples of some cases: one mapping per round, by the case's name."""

    cases: Sequence[Case]
    rounds: Sequence[Mapping[str, Sample]]

    def middle(self, case: str, figure: str) -> Middle | None:
        """The median of a figure of a case; None if there is no such case."""
        return Middle.of(getattr(samples[case], figure) for samples in self.rounds if case in samples)

    def ratio(self, case: str, over: str | None, *figures: str) -> Middle | None:
        """Pair by pair, what a case has of a figure, or of the sum of several, over what another has of it."""
        mine, others = (
            [_sum(samples[name], figures) for samples in self.rounds if name in samples] for name in (case, over)
        )
        if None in mine or None in others or len(mine) != len(others):
            return None
        return Middle.of(one / other for one, other in zip(mine, others, strict=True))


def measured(cases: Sequence[Case], rounds: int) -> Measured:
    """Measure every case once per round."""
    found: list[Mapping[str, Sample]] = []
    for turn in range(rounds):
        samples = {}
        for case in cases if turn % 2 == 0 else reversed(cases):
            sample = samples[case.name] = case.measure()
            said = f"{sample.p50_ms:>10,.2f} ms" if sample.per_s is None else f"{sample.per_s:>10,.0f} per s"
            print(f"round {turn + 1} of {rounds}: {said}  {case.name}", file=sys.stderr)
        found.append(samples)
    return Measured(cases=cases, rounds=found)


def rounded(value: float) -> float:
    """Four digits, which is more than any of these figures is good for."""
    return float(f"{value:.4g}")


def _sum(sample: Sample, figures: Sequence[str]) -> float | None:
    """Without what there is none of, such as a database that is no process; None if there is nothing at all."""
    known = [value for figure in figures if (value := getattr(sample, figure)) is not None]
    return sum(known) if known else None
