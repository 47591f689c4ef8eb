"""What Scrip is to reach, by the names of the figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.rounds import Middle


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What a figure is to be.

    limit      what it must reach, or must not exceed
    is_least   True: it must reach the limit
    """

    figure: str
    meaning: str
    limit: float
    is_least: bool = False

    def is_met(self, figure: Middle) -> bool:
        return figure.median >= self.limit if self.is_least else figure.median <= self.limit

    def cells(self, figures: Mapping[str, Middle | None]) -> tuple[str, ...]:
        """The row of a table: what it is, the figure, its spread, the goal, whether it is met."""
        figure = figures.get(self.figure)
        goal = f"{'≥' if self.is_least else '≤'} {self.limit:,g}"
        if figure is None:
            return self.meaning, "-", "", goal, "not measured"
        spread = f"{figure.least:,.4g}-{figure.most:,.4g}"
        return self.meaning, f"{figure.median:,.4g}", spread, goal, "met" if self.is_met(figure) else "NOT MET"


def _reach(figure: str, meaning: str, limit: float) -> Goal:
    return Goal(figure=figure, meaning=meaning, limit=limit, is_least=True)


def _not_exceed(figure: str, meaning: str, limit: float) -> Goal:
    return Goal(figure=figure, meaning=meaning, limit=limit)


# The first four are those of a quick run.
GOALS: Final[Sequence[Goal]] = (
    _reach("unary_postgres_over_echo", "CheckAndDeduct, most in flight, PostgreSQL: times echo", 0.50),
    _reach("unary_sqlite_over_echo", "CheckAndDeduct, most in flight, SQLite: times echo", 0.55),
    _reach("batch_postgres_over_sql", "Batch of 1,000, PostgreSQL: times sql", 1.5),
    _reach("hot_over_spread", "all callers on one account, PostgreSQL: times spread", 0.9),
    _reach("hot_over_spread_sqlite", "all callers on one account, SQLite: times spread", 0.9),
    _reach("usage_over_amount", "CheckAndDeduct by usage, PostgreSQL: times by amount", 0.9),
    _reach("usage_over_amount_sqlite", "CheckAndDeduct by usage, SQLite: times by amount", 0.9),
    _reach("batch_sqlite_per_s", "Batch of 1,000, SQLite: operations/s", 15_000),
    _not_exceed("lone_postgres_p50_ms", "one caller, PostgreSQL: p50, ms", 3),
    _not_exceed("lone_sqlite_p50_ms", "one caller, SQLite: p50, ms", 1.5),
    _reach("auto_batched_postgres_over_plain", "AsyncClient, auto-batched, PostgreSQL: times plain calls", 3),
    _reach("auto_batched_sqlite_over_plain", "AsyncClient, auto-batched, SQLite: times plain calls", 3),
    _not_exceed("half_postgres_p99_ms", "p99 at half of the most, PostgreSQL, ms", 25),
    _not_exceed("half_sqlite_p99_ms", "p99 at half of the most, SQLite, ms", 25),
    _not_exceed("growth_postgres_cost", "cost per operation, largest books over smallest, PostgreSQL", 1.25),
    _not_exceed("growth_sqlite_cost", "cost per operation, largest books over smallest, SQLite", 1.25),
    _not_exceed("history_first_postgres_p50_ms", "History, first page, largest books, PostgreSQL: p50, ms", 3),
    _not_exceed("history_first_sqlite_p50_ms", "History, first page, largest books, SQLite: p50, ms", 3),
    _not_exceed("history_last_postgres_p50_ms", "History, last page, largest books, PostgreSQL: p50, ms", 3),
    _not_exceed("history_last_sqlite_p50_ms", "History, last page, largest books, SQLite: p50, ms", 3),
    _not_exceed("balance_postgres_p50_ms", "GetBalance, largest books, PostgreSQL: p50, ms", 3),
    _not_exceed("balance_sqlite_p50_ms", "GetBalance, largest books, SQLite: p50, ms", 3),
    _not_exceed("trial_balance_postgres_p50_ms", "TrialBalance, largest books, PostgreSQL: p50, ms", 10),
    _not_exceed("trial_balance_sqlite_p50_ms", "TrialBalance, largest books, SQLite: p50, ms", 10),
    _not_exceed("memory_postgres_mb", "server memory, the most it had, PostgreSQL: MB", 250),
    _not_exceed("memory_sqlite_mb", "server memory, the most it had, SQLite: MB", 250),
    _not_exceed("disk_postgres_bytes", "disk per simple deduction, PostgreSQL, indexes included: bytes", 500),
)
RATIOS: Final = tuple(goal.figure for goal in GOALS[:4])
