"""Many operations per call and per transaction; beside one per transaction, in SQL and through the ledger."""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

from benchmarks.callers import BATCH, Callers, run
from benchmarks.plan import Found, Plan
from benchmarks.rounds import Case, Measured, Middle, Sample, measured
from benchmarks.sql import CLIENTS, Sql, find_pgbench
from benchmarks.targets import ENGINES, Databases, Target

SINGLE_UNDER_WAY = 64
CALLS_UNDER_WAY = 1_000
SQL = f"sql, {CLIENTS} clients"
NOTES = (
    "sql: a function in PostgreSQL that posts a deduction, one per transaction, driven by pgbench.",
    f"Batch: the Python client, {BATCH:,} deductions in a call, one call at a time; 2 of Batch: two at a time.",
    f"AsyncClient: {CALLS_UNDER_WAY:,} concurrent calls of one deduction each.",
    f"single: the ledger without a network, one deduction per transaction, {SINGLE_UNDER_WAY} waiting.",
)
QUICK_NOTES = NOTES[:2]
NO_SQL = "sql is left out: there is no pgbench on this machine. It comes with PostgreSQL's own packages."


def batch(databases: Databases, plan: Plan) -> Found:
    """Batch from the Python client, calls of it that travel together, and what one per transaction comes to."""
    pgbench = find_pgbench()
    with ExitStack() as stack:
        cases: list[Case] = []
        if pgbench is not None:
            sql = Sql(stack.enter_context(databases.new("postgres")), plan.accounts, pgbench)
            sql.fill()
            cases.append(Case(name=SQL, measure=partial(sql.measure, **plan.how_long)))
        for engine in ("postgres",) if plan.quick else reversed(ENGINES):
            target = Target(engine, stack.enter_context(databases.new(engine)), plan.accounts)
            target.fill()
            stack.enter_context(target.serve())
            cases += _cases(target, plan)
            if not plan.quick:
                alone = Target(engine, stack.enter_context(databases.new(engine)), plan.accounts, module=None)
                alone.fill()
                stack.enter_context(alone.serve())
                many = partial(_called, alone, plan, "single", SINGLE_UNDER_WAY)
                cases.append(Case(name=f"{engine}, single", measure=many))
        found = measured(cases, plan.rounds)
    notes = list(QUICK_NOTES if plan.quick else NOTES)
    if pgbench is None:
        notes.append(NO_SQL)
    return Found(
        title=f"Batches, over {plan.accounts:,} accounts", measured=(found,), figures=_figures(found), notes=notes
    )


def _cases(target: Target, plan: Plan) -> Iterator[Case]:
    name = target.name
    over = SQL if name == "postgres" else None
    yield Case(name=f"{name}, Batch", measure=partial(_called, target, plan, "batch", 1), over=over)
    if plan.quick:
        return
    yield Case(name=f"{name}, 2 of Batch", measure=partial(_called, target, plan, "batch", 2), over=over)
    plain = f"{name}, AsyncClient"
    yield Case(name=plain, measure=partial(_called, target, plan, "plain", CALLS_UNDER_WAY))
    together = partial(_called, target, plan, "batching", CALLS_UNDER_WAY)
    yield Case(name=f"{plain}, auto-batched", measure=together, over=plain)


def _called(target: Target, plan: Plan, way: str, under_way: int) -> Sample:
    callers = Callers(
        way=way,
        where=target.database_url if way == "single" else target.address,
        under_way=under_way,
        accounts=plan.accounts,
        run=target.next_run(),
        **plan.how_long,
    )
    return target.sample(lambda: run(callers))


def _figures(found: Measured) -> dict[str, Middle | None]:
    figures = {
        "batch_postgres_over_sql": found.ratio("postgres, Batch", SQL, "per_s"),
        "batch_postgres_2_over_sql": found.ratio("postgres, 2 of Batch", SQL, "per_s"),
        "batch_sqlite_per_s": found.middle("sqlite, Batch", "per_s"),
        "batch_sqlite_2_per_s": found.middle("sqlite, 2 of Batch", "per_s"),
    }
    for engine in ENGINES:
        plain = f"{engine}, AsyncClient"
        figures[f"auto_batched_{engine}_over_plain"] = found.ratio(f"{plain}, auto-batched", plain, "per_s")
    return figures
