"""What travels together leaves the same books and gets the same answers as what goes alone, on a server with books."""

import asyncio
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any

import pytest
import scrip
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scrip import batching
from scrip.reasons import REASONS

from server.config import Settings
from tests.books import SECOND, START
from tests.client.together import Caller, Do, became, followed
from tests.conftest import audited
from tests.running_server import RunningServer

# What no change is told, or only in trouble.
TOLD_OTHERWISE = {
    "ASSET_EXISTS",
    "CHANGED_MEANWHILE",
    "DATABASE_UNAVAILABLE",
    "DEADLINE_PASSED",
    "EFFECTIVE_IN_PAST",
    "EVENT_NOT_FOUND",
    "INSTANT_IN_FUTURE",
    "INTERNAL",
    "INVALID_PAGE_TOKEN",
    "NO_PAYMENT_METHOD",
    "ORDER_NOT_FOUND",
    "ORDER_NOT_FULFILLABLE",
    "PACKAGE_EXISTS",
    "PACKAGE_NOT_FOUND",
    "PAYMENTS_NOT_CONFIGURED",
    "PLAN_NOT_FOUND",
    "QUEUE_FULL",
    "RATE_CARDS_CLASH",
    "RATE_CARD_NOT_FOUND",
    "SHUTTING_DOWN",
    "STRIPE_REFUSED",
    "STRIPE_UNAVAILABLE",
}
# So that examples that share a server do not share accounts.
EXAMPLES = count(1)


@pytest.fixture
def books(sqlite_url, clock):
    """The address of a server whose clock is `clock`, on empty books that are audited afterwards."""
    with RunningServer(Settings(database=sqlite_url, listen="127.0.0.1:0", sweep_s=0, drain_s=0), clock) as server:
        yield priced(server)


@pytest.fixture
def other_books(tmp_path, clock):
    """The address of another server, on books of its own."""
    with audited(f"sqlite:///{tmp_path / 'other.db'}") as url:
        settings = Settings(database=url, listen="127.0.0.1:0", sweep_s=0, drain_s=0)
        with RunningServer(settings, clock) as server:
            yield priced(server)


def priced(server: RunningServer) -> str:
    """Set prices on a server; gives its address."""
    target = f"127.0.0.1:{server.port}"
    tokens = scrip.Meter(unit="token", rate=2, free=10)
    card = scrip.RateCard(card="chat", provider="openai", operations=["chat"], period="day", meters=[tokens])
    with scrip.Client(target) as client:
        client.apply_rate_cards([card])
    return target


@pytest.fixture
def client(books):
    with scrip.Client(books) as client:
        yield client


def shown(told: Any) -> Any:
    """Show an answer, or an error with all it says, so that two can be compared."""
    if isinstance(told, Message):
        return told
    said = {name: value for name, value in vars(told).items() if not name.startswith("_")}
    return (type(told).__name__.removeprefix("Async"), said)


def at_once(target: str, dos: list[Do]) -> list[Any]:
    """Make calls at once, in this order, so that they travel together; what became of each."""

    async def main() -> list[Any]:
        async with scrip.AsyncClient(target, batching=True) as client:
            return await asyncio.gather(*[do(client) for do in dos], return_exceptions=True)

    return asyncio.run(main())


def one_by_one(target: str, dos: list[Do]) -> list[Any]:
    with scrip.Client(target) as client:
        return [became(do, client) for do in dos]


def standing(target: str, names: list[str]) -> list[Any]:
    """Show all that is in the books of some customers."""
    with scrip.Client(target) as client:
        return [
            (client.account(name), list(client.history(name)), list(client.lots(name)), list(client.holds(name)))
            for name in names
        ]


def usage(operation: str, **quantities: int) -> scrip.Usage:
    return scrip.Usage(provider="openai", operation=operation, quantities=quantities)


amounts = st.integers(0, 60)
request_ids = st.sampled_from("abcdefgh")
steps = st.tuples(
    st.sampled_from(
        ["grant", "deduct", "use", "clamp", "record", "hold", "capture", "release", "refund", "freeze", "thaw"]
    ),
    amounts,
    request_ids,
)


class Customer:
    """Does steps with credits of its own; holds and entries are those that earlier steps made."""

    def __init__(self, account_id: str, doing: list[tuple[str, int, str]]) -> None:
        self._account_id, self._doing = account_id, doing
        self._holds: list[Any] = []
        self._entry_id = "en_none"

    def calls(self) -> Caller:
        yield lambda client: client.open_account(self._account_id, request_id="open")
        for step in self._doing:
            told = yield self._call(*step)
            if isinstance(told, scrip.Hold | scrip.AsyncHold):
                self._holds.append(told)
            self._entry_id = getattr(told, "entry_id", self._entry_id)

    def _call(self, kind: str, amount: int, request_id: str) -> Do:
        name, about = self._account_id, {"request_id": request_id}
        hold = self._holds[-1] if self._holds else None
        if hold is not None and kind in {"capture", "release"}:
            return lambda _: hold.capture(amount) if kind == "capture" else hold.release()
        made: dict[str, Do] = {
            "grant": lambda client: client.grant(name, amount, "free", **about),
            "deduct": lambda client: client.check_and_deduct(name, amount, **about),
            "use": lambda client: client.check_and_deduct(name, usage=usage("chat", token=amount), **about),
            "clamp": lambda client: client.check_and_deduct(name, amount, mode="clamp", **about),
            "record": lambda client: client.check_and_deduct(name, amount, mode="record", **about),
            "hold": lambda client: client.hold(name, amount, **about),
            "refund": lambda client: client.refund(self._entry_id, **about),
            "freeze": lambda client: client.freeze_account(name, description="why", **about),
        }
        return made.get(kind, lambda client: client.unfreeze_account(name, **about))


@given(doings=st.lists(st.lists(steps, max_size=10), min_size=2, max_size=8))
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_customers_who_come_at_once_are_answered_as_those_who_come_one_by_one(many, books, other_books, doings):
    names = [f"c-{next(EXAMPLES)}" for _ in doings]

    together = many.follow(books, [Customer(*made).calls() for made in zip(names, doings, strict=True)])
    with scrip.Client(other_books) as client:
        alone = [followed(client, Customer(*made).calls()) for made in zip(names, doings, strict=True)]

    assert [[shown(told) for told in each] for each in together] == [[shown(told) for told in each] for each in alone]
    assert standing(books, names) == standing(other_books, names)


def change(names: list[str], kind: str, amount: int, request_id: str) -> Do:
    name, other = names
    about: dict[str, Any] = {"request_id": request_id}
    return {
        "grant": lambda client: client.grant(name, amount, "free", **about),
        "deduct": lambda client: client.check_and_deduct(name, amount, **about),
        "use": lambda client: client.check_and_deduct(name, usage=usage("chat", token=amount), **about),
        "clamp": lambda client: client.check_and_deduct(name, amount, mode="clamp", **about),
        "record": lambda client: client.check_and_deduct(other, amount, mode="record", **about),
        "hold": lambda client: client.hold(name, amount, **about),
        "capture": lambda client: client.transfer(name, other, amount, **about),
        "release": lambda client: client.transfer(other, name, amount, **about),
        "refund": lambda client: client.adjust(name, amount, "down", description="why", actor="anna", **about),
        "freeze": lambda client: client.freeze_account(other, description="why", **about),
        "thaw": lambda client: client.unfreeze_account(other, **about),
    }[kind]


@given(doing=st.lists(steps, min_size=2, max_size=60))
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_asked_for_at_once_is_done_in_the_order_it_was_asked_for(books, other_books, doing):
    names = [f"c-{next(EXAMPLES)}" for _ in range(2)]
    opening = [lambda client, name=name: client.open_account(name, request_id="open") for name in names]
    dos = [change(names, *step) for step in doing]
    for target in (books, other_books):
        one_by_one(target, opening)

    together, alone = at_once(books, dos), one_by_one(other_books, dos)

    assert [shown(told) for told in together] == [shown(told) for told in alone]
    assert standing(books, names) == standing(other_books, names)


def test_equal_request_ids_at_once_are_one_change(client, books):
    client.open_account("acme")
    dos: list[Do] = [lambda client: client.grant("acme", 5, "free", request_id="r-1")] * 3
    dos.append(lambda client: client.grant("acme", 6, "free", request_id="r-1"))

    first, second, third, other = at_once(books, dos)

    assert [told.replayed for told in (first, second, third)] == [False, True, True]
    assert first.entry_id == second.entry_id == third.entry_id
    assert type(other) is scrip.RequestIdReused
    assert client.balance("acme").available == 5


def refused(client: scrip.Client) -> dict[str, Do]:
    """Prepare books in which each of these is refused, for every reason there is."""
    for name in ("acme", "frozen", "closed", "limited", "full", "holding"):
        client.open_account(name)
    lot = client.grant("acme", 100, "free", request_id="reused").lot_id
    taken = client.check_and_deduct("acme", 10)
    open_hold, ended_hold = client.hold("acme", 20), client.hold("acme", 5)
    ended_hold.release()
    client.freeze_account("frozen", description="why")
    client.close_account("closed")
    client.grant("limited", 100, "free")
    client.update_account("limited", limits=[scrip.SpendLimit(name="daily", amount=5, window="day")])
    client.grant("full", 2**63 - 1, "free")
    client.grant("holding", 5, "free")
    client.hold("holding", 5)
    about: Any = {"request_id": "q"}
    signed: Any = {"request_id": "q", "description": "why", "actor": "anna"}
    return {
        "no amount": lambda client: client.grant("acme", 0, "free", **about),
        "much is wrong": lambda client: client.grant("", -1, "free", priority=5000, cost=(-1, "euro"), **about),
        "no request id": lambda client: client.check_and_deduct("acme", 1, request_id=""),
        "long memo": lambda client: client.check_and_deduct("acme", 1, description="x" * 501, **about),
        "no ttl": lambda client: client.hold("acme", 1, ttl=timedelta(0), **about),
        "past": lambda client: client.grant("acme", 1, "free", expires_at=START - SECOND, **about),
        "no account": lambda client: client.check_and_deduct("nobody", 1, **about),
        "no asset": lambda client: client.check_and_deduct("acme", 1, asset="nothing", **about),
        "no hold": lambda client: client.capture("hd_made_up", **about),
        "no entry": lambda client: client.refund("en_made_up", **about),
        "no lot": lambda client: client.revoke("lt_made_up", spent="owe", **about),
        "reused": lambda client: client.check_and_deduct("acme", 1, request_id="reused"),
        "exists": lambda client: client.open_account("acme", **about),
        "insufficient": lambda client: client.check_and_deduct("acme", 1000, **about),
        "ended hold": lambda client: client.capture(ended_hold.hold_id, **about),
        "above hold": lambda client: client.capture(open_hold.hold_id, 21, **about),
        "not refundable": lambda client: client.refund(open_hold.entry_id, **about),
        "above refundable": lambda client: client.refund(taken.entry_id, 11, **about),
        "above revocable": lambda client: client.revoke(lot, 1000, spent="owe", **about),
        "above owed": lambda client: client.write_off("acme", 1, **signed),
        "limit": lambda client: client.check_and_deduct("limited", 6, **about),
        "overflow": lambda client: client.grant("full", 1, "free", **about),
        "frozen": lambda client: client.check_and_deduct("frozen", 1, **about),
        "not frozen": lambda client: client.unfreeze_account("acme", **about),
        "closed": lambda client: client.grant("closed", 1, "free", **about),
        "not empty": lambda client: client.close_account("acme", **about),
        "no price": lambda client: client.check_and_deduct("acme", usage=usage("none"), **about),
        "no rate": lambda client: client.hold("acme", usage=usage("chat", minute=1), **about),
        "too dear": lambda client: client.capture(open_hold.hold_id, usage=usage("chat", token=2**63 - 1), **about),
        "has holds": lambda client: client.merge_accounts("holding", "acme", **about),
    }


def test_an_error_says_the_same_whether_its_change_travelled_alone_or_not(client, books):
    dos = refused(client)

    async def main() -> tuple[list[Any], list[Any]]:
        async with scrip.AsyncClient(books) as plain:
            alone = [(await asyncio.gather(do(plain), return_exceptions=True))[0] for do in dos.values()]
        async with scrip.AsyncClient(books, batching=True) as batching_client:
            return alone, await asyncio.gather(*[do(batching_client) for do in dos.values()], return_exceptions=True)

    alone, together = asyncio.run(main())

    for name, one, other in zip(dos, alone, together, strict=True):
        assert isinstance(one, scrip.ScripError), name
        assert shown(one) == shown(other), name
    told = {error.reason_name for error in together}
    assert told == {scrip.ErrorReason.Name(reason).removeprefix("ERROR_REASON_") for reason in REASONS} - TOLD_OTHERWISE
    assert max(len(error.violations) for error in together) > 1


def test_jobs_at_once_each_have_their_hold(many, client, books):
    client.open_account("acme")
    client.grant("acme", 1000, "free")

    def job(number: int) -> Caller:
        hold = yield lambda client: client.hold("acme", 20, request_id=f"job-{number}")
        yield lambda _: hold.capture(5, final=False)
        yield lambda _: hold.increase(1)
        yield lambda _: hold.capture(7 if number % 2 else 0)

    told = many.follow(books, [job(number) for number in range(40)])

    assert not [one for each in told for one in each if isinstance(one, Exception)]
    assert client.balance("acme") == scrip.Balance(
        account_id="acme", asset="credits", available=1000 - 20 * 12 - 20 * 5
    )


def test_changes_go_on_when_the_server_is_restarted(many, sqlite_url, clock, monkeypatch):
    monkeypatch.setattr(batching, "PAUSES_S", (0.1,) * 40)
    settings = Settings(database=sqlite_url, listen="127.0.0.1:0", sweep_s=0, drain_s=0)
    servers = [RunningServer(settings, clock)]
    servers[0].__enter__()
    target = f"127.0.0.1:{servers[0].port}"
    with scrip.Client(target) as client:
        client.configure_asset("credits", auto_open=True)

    def restart() -> None:
        servers.pop().__exit__(None, None, None)
        again = Settings(database=sqlite_url, listen=target, sweep_s=0, drain_s=0)
        servers.append(RunningServer(again, clock))
        servers[0].__enter__()

    def grant(name: str, request_id: str, client: Any) -> Any:
        return client.grant(name, 1, "free", request_id=request_id, deadline_s=30)

    def caller(number: int) -> Caller:
        for step in range(20):
            if (number, step) == (0, 10):
                restart()
            yield partial(grant, f"c-{number}", f"r-{step}")

    told = many.follow(target, [caller(number) for number in range(20)])
    with scrip.Client(target) as client:
        balances = [client.balance(f"c-{number}").available for number in range(20)]
    servers[0].__exit__(None, None, None)

    assert not [one for each in told for one in each if isinstance(one, Exception)]
    assert balances == [20] * 20
