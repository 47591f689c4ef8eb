"""What was measured, as tables to read and as a line of JSON to keep."""

import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Final

import grpc

from benchmarks.goals import GOALS, RATIOS
from benchmarks.plan import Found, Plan
from benchmarks.rounds import Case, Measured, Middle, Sample, rounded

SYNCS: Final = 100
HEADS: Final = (
    "", "per s", "spread", "p50 ms", "p99 ms", "p99.9 ms", "ratio", "spread", "to",
    "server us", "database us", "load us", "per transaction",
)  # fmt: skip
LEFT: Final = frozenset({"", "to"})


def shown(found: Found) -> str:
    """A part's tables, and what they do not say."""
    tables = (table([HEADS, *(_cells(measured, case) for case in measured.cases)]) for measured in found.measured)
    return "\n\n".join([found.title, *tables, "\n".join(found.notes)]).rstrip()


def goals(figures: Mapping[str, Middle | None]) -> str:
    """Of those figures that the parts that ran have."""
    asked = (goal for goal in GOALS if goal.figure in figures)
    return table([("", "measured", "spread", "goal", ""), *(goal.cells(figures) for goal in asked)])


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns with a heading; a column in which there is nothing is left out."""
    heads = rows[0]
    kept = [column for column in range(len(heads)) if any(row[column] not in {"", "-"} for row in rows[1:])]
    widths = {column: max(len(row[column]) for row in rows) for column in kept}
    return "\n".join(
        "  ".join(
            row[column].ljust(widths[column]) if heads[column] in LEFT else row[column].rjust(widths[column])
            for column in kept
        ).rstrip()
        for row in rows
    )


def line(found: Mapping[str, Found], plan: Plan, machine: Mapping[str, Any], took_s: float) -> str:
    """Everything on one line: the ratios at the front, then the other figures that have names, then the tables."""
    figures = all_figures(found, plan)
    return json.dumps(
        {
            **{name: None if figure is None else rounded(figure.median) for name, figure in figures.items()},
            "spreads": {name: _spread(figure) for name, figure in figures.items()},
            "setting": {**asdict(plan), "trace": plan.trace.name, "took_s": round(took_s)},
            "machine": machine,
            "parts": {
                name: [row for measured in part.measured for row in _rows(measured)] for name, part in found.items()
            },
            "notes": {name: list(part.notes) for name, part in found.items()},
        }
    )


def all_figures(found: Mapping[str, Found], plan: Plan) -> dict[str, Middle | None]:
    """Those that have goals come first, and of them the ratios; a quick run has only what it can measure."""
    figures = {name: figure for part in found.values() for name, figure in part.figures.items()}
    names = [*RATIOS, *(goal.figure for goal in GOALS if goal.figure in figures), *figures]
    return {name: figures.get(name) for name in names if name in RATIOS or not plan.quick or figures[name] is not None}


def _cells(measured: Measured, case: Case) -> tuple[str, ...]:
    speed, ratio = measured.middle(case.name, "per_s"), measured.ratio(case.name, case.over, "per_s")
    return (
        case.name,
        _text(speed, 0),
        "-" if speed is None else f"{speed.least:,.0f}-{speed.most:,.0f}",
        *(_text(measured.middle(case.name, name), 2) for name in ("p50_ms", "p99_ms", "p99_9_ms")),
        _text(ratio, 2),
        "-" if ratio is None else f"{ratio.least:.2f}-{ratio.most:.2f}",
        "" if ratio is None or case.over is None else case.over,
        *(_text(measured.middle(case.name, name), 0) for name in ("server_us", "database_us", "load_us")),
        _text(measured.middle(case.name, "per_transaction"), 1),
    )


def _rows(measured: Measured) -> Iterator[dict[str, Any]]:
    for case in measured.cases:
        middles = {field.name: _spread(measured.middle(case.name, field.name)) for field in fields(Sample)}
        ratio = _spread(measured.ratio(case.name, case.over, "per_s"))
        yield {"case": case.name, **middles, "ratio": ratio, "to": case.over}


def _spread(figure: Middle | None) -> dict[str, float] | None:
    return None if figure is None else figure.rounded()


def _text(value: Middle | None, digits: int) -> str:
    return "-" if value is None else f"{value.median:,.{digits}f}"


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "cpu": _cpu(),
        "python": platform.python_version(),
        "grpc": grpc.__version__,
        "fdatasync_ms": rounded(_sync_ms()),
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
