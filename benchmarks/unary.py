"""CheckAndDeduct, one credit per call: with few and many callers, all on one account, and at half of the most."""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

from benchmarks.plan import Found, Plan
from benchmarks.rounds import Case, Measured, Middle, Sample, measured
from benchmarks.targets import ECHO, ENGINES, Databases, Target

NOTES = (
    "hot: all calls on one account. By usage: three quantities, of which a rate card makes one credit.",
    "half of the most: in an open loop, half as many calls per second as the closed loop had with the most in flight;",
    "a call's latency is counted from when it was due.",
)


def unary(databases: Databases, plan: Plan) -> Found:
    """Scrip on both engines, beside a handler that does nothing."""
    with ExitStack() as stack:
        echo = Target("echo", stack.enter_context(databases.new("sqlite")), plan.accounts, module=ECHO)
        scrip = [Target(engine, stack.enter_context(databases.new(engine)), plan.accounts) for engine in ENGINES]
        for target in (echo, *scrip):
            target.fill()
            stack.enter_context(target.serve())
        for target in scrip:
            target.set_prices()
        found = measured(_cases(echo, scrip, plan), plan.rounds)
    return Found(
        title=f"CheckAndDeduct, unary, over {plan.accounts:,} accounts",
        measured=(found,),
        figures=_figures(found, max(plan.in_flight)),
        notes=NOTES[: 1 if plan.quick else None],
    )


def _cases(echo: Target, scrip: Sequence[Target], plan: Plan) -> list[Case]:
    most = max(plan.in_flight)
    cases = [
        Case(
            name=_name(target.name, in_flight),
            measure=partial(target.load, in_flight=in_flight, **plan.how_long),
            over=None if target is echo else _name(echo.name, in_flight),
        )
        for in_flight in plan.in_flight
        for target in (echo, *scrip)
    ]
    # The other way round, so that what is compared is not far apart.
    for target in reversed(scrip):
        hot = partial(target.load, in_flight=most, hot=True, **plan.how_long)
        cases.append(Case(name=f"{target.name}, hot", measure=hot, over=_name(target.name, most)))
        by_usage = partial(target.load, in_flight=most, operation="usage", **plan.how_long)
        cases.append(Case(name=f"{target.name}, by usage", measure=by_usage, over=_name(target.name, most)))
    if not plan.quick:
        cases += [
            Case(name=f"{target.name}, half of the most", measure=partial(_half, target, plan)) for target in scrip
        ]
    return cases


def _figures(found: Measured, most: int) -> dict[str, Middle | None]:
    figures = {
        f"unary_{engine}_over_echo": found.ratio(_name(engine, most), _name("echo", most), "per_s")
        for engine in ENGINES
    }
    figures["hot_over_spread"] = found.ratio("postgres, hot", _name("postgres", most), "per_s")
    figures["hot_over_spread_sqlite"] = found.ratio("sqlite, hot", _name("sqlite", most), "per_s")
    figures["usage_over_amount"] = found.ratio("postgres, by usage", _name("postgres", most), "per_s")
    figures["usage_over_amount_sqlite"] = found.ratio("sqlite, by usage", _name("sqlite", most), "per_s")
    for engine in ENGINES:
        figures[f"lone_{engine}_p50_ms"] = found.middle(_name(engine, 1), "p50_ms")
        figures[f"half_{engine}_p99_ms"] = found.middle(f"{engine}, half of the most", "p99_ms")
    return figures


def _half(target: Target, plan: Plan) -> Sample:
    """What the most is, is found out right before: some rounds ago it may have been another."""
    most = target.load(in_flight=max(plan.in_flight), **plan.how_long)
    assert most.per_s is not None
    return target.load(in_flight=max(plan.in_flight), rate=most.per_s / 2, **plan.how_long)


def _name(target: str, in_flight: int) -> str:
    return f"{target}, {in_flight:,} in flight"
