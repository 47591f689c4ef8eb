"""An LLM gateway that sells tokens in advance: replays a trace of requests against a running Scrip server.

    python examples/llm_gateway.py examples/llm_trace_sample.csv --passes 2

Nobody knows beforehand how much a model will say. So for each request the gateway holds the worst case, which is the
prompt and the longest output it allows; lets the model answer, which here the trace does; and captures what was really
used. The rest goes back at once. A customer who cannot pay for the worst case is refused before the model is asked.

Request ids follow from the rows of the trace, so a second pass changes nothing, and neither does a gateway that
crashed and does its work again. Standard output is the same on every run on empty books; how it goes, and how fast, is
on standard error.
"""

import argparse
import asyncio
import csv
import itertools
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import scrip

ASSET = "llm"
SCALE = 6  # the smallest unit is a millionth of a credit
UNITS_PER_PROMPT_TOKEN = 3  # so a million tokens of prompts cost 3 credits
UNITS_PER_OUTPUT_TOKEN = 15

DRY_EVERY = 5  # one customer in five has credits for half of what it wants
TOP = 10


class Request(NamedTuple):
    """One row of the trace."""

    row: int
    prompt_tokens: int
    output_tokens: int


Trace = Mapping[str, list[Request]]  # by customer, in the trace's order


@dataclass(slots=True)
class Outcome:
    """What came of serving everybody once.

    used      what was charged, by customer and request, in smallest units; None: refused
    replays   how many of the requests had been served before
    """

    used: dict[str, list[int | None]]
    replays: int = 0

    @property
    def refused(self) -> int:
        return sum(charges.count(None) for charges in self.used.values())

    @property
    def served(self) -> int:
        return sum(map(len, self.used.values())) - self.refused


class Gateway:
    """Serves customers on their credits."""

    def __init__(self, client: scrip.AsyncClient, *, output_max: int, concurrency: int) -> None:
        self._client = client
        self._output_max = output_max
        self._places = asyncio.Semaphore(concurrency)

    def worst(self, request: Request) -> int:
        return price(request.prompt_tokens, self._output_max)

    def used(self, request: Request) -> int:
        return price(request.prompt_tokens, min(request.output_tokens, self._output_max))

    async def welcome(self, customer: str, requests: list[Request], *, dry: bool) -> None:
        """Open an account with credits for all requests, or for half of them, and a worst case on top."""
        wanted = sum(map(self.used, requests)) // (2 if dry else 1) + max(map(self.worst, requests))
        await self._client.open_account(customer, asset=ASSET, request_id="open")
        source = "welcome" if dry else "purchase"
        await self._client.grant(customer, wanted, source, asset=ASSET, request_id="grant")

    async def serve(self, customer: str, request: Request) -> scrip.CaptureResponse | None:
        """Serve one request; None if it is refused."""
        worst, used, request_id = self.worst(request), self.used(request), f"row-{request.row}"
        try:
            async with self._places, self._client.hold(customer, worst, asset=ASSET, request_id=request_id) as hold:
                # Here a real gateway asks the model. If that raises, the block gives the credits back.
                return await hold.capture(used)
        except scrip.InsufficientCredits:
            return None

    async def books(self, trace: Trace) -> tuple[list[scrip.Entry], scrip.AssetTrialBalance]:
        """Each customer's newest entry, whose number and hash seal all entries before it; and the trial balance."""
        pages = [await self._client.history_page(customer, asset=ASSET, page_size=1) for customer in trace]
        return [page.entries[0] for page in pages], (await self._client.trial_balance(asset=ASSET)).assets[0]


async def replay(gateway: Gateway, trace: Trace, name: str) -> Outcome:
    """Serve each customer's requests one after the other, all customers at the same time.

    The order is why a second pass changes nothing. What was served is replayed. What was refused is decided anew, for
    a refusal leaves no trace, but it is refused again: nothing was held when it was decided first, and since then the
    customer's credits have only become fewer. Were a customer's requests served all at once, one could be refused for
    credits that another only held, and succeed in the second pass.
    """
    outcome = Outcome({customer: [] for customer in trace})
    total, done, began = sum(map(len, trace.values())), itertools.count(1), time.perf_counter()

    async def serve(customer: str) -> None:
        for request in trace[customer]:
            captured = await gateway.serve(customer, request)
            outcome.used[customer].append(captured and captured.captured)
            outcome.replays += captured is not None and captured.replayed
            count = next(done)
            if count == total or count % max(total // 10, 1) == 0:
                speed = count / (time.perf_counter() - began)
                print(f"{name}: {count:,} of {total:,} requests, {speed:,.0f}/s", file=sys.stderr)

    await asyncio.gather(*map(serve, trace))
    told = f"{outcome.served:,} served ({outcome.replays:,} of them replays), {outcome.refused:,} refused"
    print(f"{name}: {total:,} requests, {told}")
    return outcome


def price(prompt_tokens: int, output_tokens: int) -> int:
    return prompt_tokens * UNITS_PER_PROMPT_TOKEN + output_tokens * UNITS_PER_OUTPUT_TOKEN


def read_trace(path: Path, run: str, customers: int) -> Trace:
    """Deal the rows of a trace out to customers."""
    trace: dict[str, list[Request]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row, line in enumerate(csv.DictReader(file), start=1):
            request = Request(row, int(line["ContextTokens"]), int(line["GeneratedTokens"]))
            trace.setdefault(f"{run}-{row % customers:02}", []).append(request)
    return trace


def decimal(units: int | str) -> str:
    return f"{Decimal(units).scaleb(-SCALE):,.{SCALE}f}"


def show_customers(outcome: Outcome) -> None:
    used = {customer: sum(filter(None, charges)) for customer, charges in outcome.used.items()}
    dry = sum(None in charges for charges in outcome.used.values())
    print(f"\nCredits used, top {TOP} of {len(used)} customers; {dry} ran dry")
    for customer in sorted(used, key=lambda customer: (-used[customer], customer))[:TOP]:
        print(f"  {customer:<24}{decimal(used[customer]):>16}")


def show_trial_balance(balance: scrip.AssetTrialBalance) -> None:
    print(f"\nTrial balance of {balance.asset}\n  {'':<12}{'debits':>18}{'credits':>18}{'balance':>18}")
    for row in balance.rows:
        name = scrip.Code.Name(row.code).removeprefix("CODE_").lower()
        print(f"  {name:<12}{decimal(row.debits):>18}{decimal(row.credits):>18}{decimal(row.balance):>18}")
    print(f"  {'':<12}{decimal(balance.debits):>18}{decimal(balance.credits):>18}")


async def main(options: argparse.Namespace) -> int:
    trace = read_trace(options.path, options.run or options.path.stem, options.customers)
    async with scrip.AsyncClient(options.server, deadline_s=30) as client:
        gateway = Gateway(client, output_max=options.output_max, concurrency=options.concurrency)
        await client.define_asset(ASSET, scale=SCALE)
        for number, (customer, requests) in enumerate(trace.items()):
            await gateway.welcome(customer, requests, dry=number % DRY_EVERY == 0)

        first, changed = await replay(gateway, trace, "pass 1"), False
        books = await gateway.books(trace)
        if options.passes == 2:
            second = await replay(gateway, trace, "pass 2")
            is_replay = second.used == first.used and second.replays == second.served
            changed = not is_replay or await gateway.books(trace) != books
            print("pass 2 CHANGED SOMETHING" if changed else "pass 2 changed nothing")

        show_customers(first)
        show_trial_balance(books[1])
        audit = await client.audit()
        verdict = "clean" if audit.clean else f"{audit.findings_total:,} findings"
        print(f"\nAudit of {audit.accounts:,} accounts, {audit.entries:,} entries: {verdict}")
        print(*audit.findings, sep="\n", end="")
    return 0 if audit.clean and not changed else 1


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="Replay an LLM trace against a running Scrip server.")
    arguments.add_argument("path", type=Path, help="CSV with the columns TIMESTAMP, ContextTokens, GeneratedTokens")
    arguments.add_argument("--server", default="127.0.0.1:50051")
    arguments.add_argument("--customers", type=int, default=50)
    arguments.add_argument("--concurrency", type=int, default=64, help="requests under way at most")
    arguments.add_argument("--output-max", type=int, default=2000, help="tokens a model may generate per request")
    arguments.add_argument("--passes", type=int, choices=(1, 2), default=1)
    arguments.add_argument("--run", default="", help="prefix of the accounts; else the file's name")
    try:
        sys.exit(asyncio.run(main(arguments.parse_args())))
    except scrip.RequestIdReused as reused:
        sys.exit(f"{reused}\nThis trace was replayed before with other settings. Name another --run.")
    except (scrip.ScripError, OSError) as failed:
        sys.exit(str(failed))
