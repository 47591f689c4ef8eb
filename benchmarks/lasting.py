"""What stays of many operations: bytes on the disk, and memory of the server."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg

from benchmarks.plan import Found, Plan
from benchmarks.rounds import Middle
from benchmarks.targets import ENGINES, Databases, Target, memory_mb

POINTS = 10
# Of every table and its indexes; and of the log, which is for the whole server, but nobody else writes now.
SIZES = """
SELECT relname, CASE relkind WHEN 'r' THEN pg_table_size(oid) ELSE pg_relation_size(oid) END FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i')
UNION ALL SELECT 'log', (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint
"""
LOG = "log"
LEAST_SHOWN_BYTES = 0.5


def lasting(databases: Databases, plan: Plan) -> Found:
    """Many simple deductions on each engine, and what they leave."""
    figures: dict[str, Middle | None] = {}
    notes = [
        f"After {plan.operations:,} deductions by {max(plan.in_flight):,} callers, over {plan.accounts:,} accounts."
    ]
    for engine in ENGINES:
        with databases.new(engine) as url:
            target = Target(engine, url, plan.accounts)
            target.fill()
            with target.serve():
                before = sizes(url)
                memory = list(_memory(target, plan))
                after = sizes(url)
        grown = {name: (after[name] - before.get(name, 0)) / target.taken for name in after}
        log = grown.pop(LOG, None)
        figures[f"disk_{engine}_bytes"] = Middle.of([sum(grown.values())])
        figures[f"log_{engine}_bytes"] = Middle.of([log])
        figures[f"memory_{engine}_mb"] = Middle.of([max(mb for _, mb in memory)])
        # Once it has warmed up: all that it learns by heart, it has learnt in the first tenth.
        figures[f"memory_{engine}_grown_mb"] = Middle.of([memory[-1][1] - memory[1][1]])
        parts = sorted(grown.items(), key=lambda part: -part[1])
        shown = ", ".join(f"{name} {size:,.0f}" for name, size in parts if size >= LEAST_SHOWN_BYTES)
        points = ", ".join(f"{mb:,.0f} at {operations:,}" for operations, mb in memory)
        notes += [f"{engine}, bytes per deduction: {shown}", f"{engine}, MB of the server by deductions: {points}"]
    return Found(title="Disk and memory", measured=(), figures=figures, notes=notes)


def sizes(database_url: str) -> dict[str, int]:
    """Bytes on the disk, by what they are of."""
    if database_url.startswith("sqlite"):
        file = Path(database_url.removeprefix("sqlite:///"))
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return {"file": file.stat().st_size}
    with psycopg.connect(database_url) as connection:
        return dict(connection.execute(SIZES).fetchall())


def _memory(target: Target, plan: Plan) -> Iterator[tuple[int, float]]:
    """After how many operations the server had how many MB: before the first, and after each tenth of them."""
    for point in range(POINTS + 1):
        while target.taken < plan.operations * point / POINTS:
            target.load(in_flight=max(plan.in_flight), warmup_s=0, measured_s=plan.measured_s)
        assert target.pid is not None
        yield target.taken, memory_mb(target.pid)
