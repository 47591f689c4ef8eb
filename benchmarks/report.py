"""What was measured, as a table to read and as a line of JSON to keep."""

import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc

from benchmarks.targets import Sample

SYNCS: Final = 100
REFERENCE: Final = "echo"
HEADS: Final = (
    "in flight", "target", "calls/s", "spread", "p50 ms", "p99 ms", "p99.9 ms", "over echo", "spread",
    "server us", "database us", "generator us",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Middle:
    """The median of several runs, with the least and the most."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float | None]) -> "Middle | None":
        """None if any of the runs has nothing to tell."""
        known = list(values)
        if None in known:
            return None
        return cls(median=statistics.median(known), least=min(known), most=max(known))

    def rounded(self) -> dict[str, float]:
        return {"median": _rounded(self.median), "least": _rounded(self.least), "most": _rounded(self.most)}


def figures(rounds: Sequence[Sequence[Sample]]) -> list[dict[str, Any]]:
    """One row for each target and number of calls in flight; a ratio is between neighbours of the same round."""
    rows = []
    for first in rounds[0]:
        mine = [_find(samples, first.target, first.in_flight) for samples in rounds]
        echo = [_find(samples, REFERENCE, first.in_flight) for samples in rounds]
        pairs = zip(mine, echo, strict=True)
        rows.append(
            {
                "in_flight": first.in_flight,
                "target": first.target,
                "calls_per_s": Middle.of(sample.figures.calls_per_s for sample in mine),
                "p50_ms": Middle.of(sample.figures.p50_ms for sample in mine),
                "p99_ms": Middle.of(sample.figures.p99_ms for sample in mine),
                "p99_9_ms": Middle.of(sample.figures.p99_9_ms for sample in mine),
                "over_echo": Middle.of(one.figures.calls_per_s / other.figures.calls_per_s for one, other in pairs),
                "server_us": Middle.of(sample.server_us for sample in mine),
                "database_us": Middle.of(sample.database_us for sample in mine),
                "generator_us": Middle.of(sample.figures.generator_us for sample in mine),
            }
        )
    return rows


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    cells = [HEADS, *map(_cells, rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADS))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    speed, ratio = row["calls_per_s"], row["over_echo"]
    return (
        f"{row['in_flight']:,}",
        row["target"],
        _text(speed, 0),
        f"{speed.least:,.0f}-{speed.most:,.0f}",
        *(_text(row[name], 2) for name in ("p50_ms", "p99_ms", "p99_9_ms")),
        _text(ratio, 2),
        f"{ratio.least:.2f}-{ratio.most:.2f}",
        *(_text(row[name], 0) for name in ("server_us", "database_us", "generator_us")),
    )


def line(rows: Sequence[Mapping[str, Any]], setting: Mapping[str, Any], machine: Mapping[str, Any]) -> str:
    """Everything on one line; the ratios that have a goal are at the front, at the most calls in flight."""
    most = max(row["in_flight"] for row in rows)
    ratios = {
        f"unary_{row['target']}_over_echo": _rounded(row["over_echo"].median)
        for row in rows
        if row["in_flight"] == most and row["target"] != REFERENCE
    }
    plain = [
        {name: value.rounded() if isinstance(value, Middle) else value for name, value in row.items()} for row in rows
    ]
    return json.dumps({**ratios, "setting": setting, "machine": machine, "rows": plain})


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "cpu": _cpu(),
        "python": platform.python_version(),
        "grpc": grpc.__version__,
        "fdatasync_ms": _rounded(_sync_ms()),
    }


def _sync_ms() -> float:
    """How long the disk takes to make 8 KiB durable, where the databases are."""
    took = []
    with tempfile.TemporaryFile(prefix="scrip-bench-") as file:
        for _ in range(SYNCS):
            file.write(bytes(8192))
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            took.append(time.perf_counter() - began)
    return statistics.median(took) * 1e3


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((text.partition(":")[2].strip() for text in lines if text.startswith("model name")), sys.platform)


def _find(samples: Sequence[Sample], target: str, in_flight: int) -> Sample:
    return next(sample for sample in samples if (sample.target, sample.in_flight) == (target, in_flight))


def _text(value: Middle | None, digits: int) -> str:
    return "-" if value is None else f"{value.median:,.{digits}f}"


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
