"""A real trace of requests to a language model, at full speed: hold the worst case, capture what was used."""

import re
import resource
import subprocess
import sys
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path

from benchmarks.plan import Found, Plan
from benchmarks.rounds import Case, Sample, measured
from benchmarks.targets import ENGINES, Databases, Target, environment

GATEWAY = Path(__file__).resolve().parent.parent / "examples/llm_gateway.py"
CUSTOMERS = 500
ROUNDS_MAX = 3
NOTES = (
    f"A request is a hold and a capture, made by examples/llm_gateway.py in one process; {CUSTOMERS} customers, each",
    "with one request at a time. Figures are per request, those that are refused for lack of credits included.",
)


class GatewayFailedError(Exception):
    """The gateway did not go through its trace; the text is its own."""


def trace(databases: Databases, plan: Plan) -> Found:
    """The gateway of the examples, with its one process."""
    if not plan.trace.exists():
        note = f"Left out: there is no {plan.trace}; name another with --trace."
        return Found(title="The trace", measured=(), figures={}, notes=(note,))
    with ExitStack() as stack:
        cases = []
        for engine in ENGINES:
            # The gateway opens accounts of its own.
            target = Target(engine, stack.enter_context(databases.new(engine)), accounts=1)
            target.fill()
            stack.enter_context(target.serve())
            runs = count(1)
            cases.append(Case(name=f"{engine}, trace", measure=partial(_replayed, target, plan.trace, runs)))
        found = measured(cases, min(plan.rounds, ROUNDS_MAX))
    return Found(
        title=f"The trace {plan.trace.name}",
        measured=(found,),
        figures={f"trace_{engine}_requests_per_s": found.middle(f"{engine}, trace", "per_s") for engine in ENGINES},
        notes=NOTES,
    )


def _replayed(target: Target, path: Path, runs: "count[int]") -> Sample:
    flags = ("--server", target.address, "--run", f"run-{next(runs)}")
    flags += ("--customers", str(CUSTOMERS), "--concurrency", str(CUSTOMERS))
    before = target.usage()
    began = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, GATEWAY, path, *flags], capture_output=True, text=True, check=False, env=environment()
    )
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    after = target.usage()
    # The last of the lines that tell how far it is.
    told = re.findall(r"pass 1: ([\d,]+) of [\d,]+ requests, ([\d,]+)/s", done.stderr)
    if done.returncode != 0 or not told:
        raise GatewayFailedError(done.stdout + done.stderr)
    requests, per_s = (int(number.replace(",", "")) for number in told[-1])
    load_s = ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime
    return Sample(per_s=per_s, load_us=load_s / requests * 1e6, **after.since(before, requests))
