"""An account at any past instant is what its entries up to that instant say, to the entry and to the microsecond."""

import re
import sqlite3
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event

from ledger import IdPrefix, Ledger, Memo, public_id
from ledger.history import HistoryFilter
from ledger.lots import burn_order
from ledger.model import Draw, HeldLots, HoldState
from ledger.operations import Capture, ExpiredLots, ExtendHold, IncreaseHold, Refund, Release
from ledger.outcome import Accepted, Reason
from tests.books import ACME, DAY, MICROSECOND, START, deducting, granting, holding, opening, request_id
from tests.stories import STEP, Then, moments, tell

AMOUNTS = ("granted", "remaining", "held", "spent", "reclaimed")
OF_ACME = {"tenant": ACME.tenant, "key": ACME.key}


@pytest.fixture
def at(ledger, clock):
    """Has operations done at an instant, which is told in days after the start."""

    def do(days, *operations):
        clock.now = START + days * DAY
        for operation in operations:
            outcome = ledger.execute(operation)
            assert isinstance(outcome, Accepted), outcome

    do(0, opening())
    return do


def whole_history(ledger, name):
    token, found = "", []
    while True:
        page = ledger.history(name, 500, token, HistoryFilter(oldest_first=True))
        found += page.entries
        token = page.next_page_token
        if not token:
            return found


def assert_stood(ledger, name, then):
    at, within = then.at, 3 * STEP
    (balance,) = ledger.balances(name.tenant, name.account_id, name.asset, as_of=at, expiring_within=within).balances
    assert (balance.available, balance.held, balance.owed) == (then.available, then.held, then.owed)
    assert (balance.pending, balance.expiring) == (then.pending, then.expiring(within))

    lots = ledger.lots(name, include_empty=True, as_of=at, page_size=500).lots
    assert [lot.number for lot in lots] == sorted(then.lots, reverse=True)
    for lot in lots:
        kept = then.lots[lot.number]
        assert {part: getattr(lot, part) for part in AMOUNTS} == {part: kept[part] for part in AMOUNTS}
        assert lot.terms == replace(kept["terms"], expires_at=kept["expires_at"])
    is_open = {number for number, kept in then.lots.items() if kept["remaining"] or kept["held"]}
    expected = sorted((lot for lot in lots if lot.number in is_open), key=burn_order)
    assert list(ledger.lots(name, as_of=at, page_size=500).lots) == expected

    page = ledger.holds(name, as_of=at, page_size=500)
    assert page.balance == replace(balance, expiring=None)
    assert [hold.number for hold in page.holds] == sorted(then.holds, reverse=True)
    for hold in page.holds:
        kept = then.holds[hold.number]
        drawn = [(lot, len(list(units))) for lot, units in groupby(kept["units"])]
        together = groupby(hold.drawn, key=lambda draw: draw.lot)
        assert [(lot, sum(draw.amount for draw in draws)) for lot, draws in together] == drawn
        assert (hold.amount, hold.captured, hold.expires_at) == (kept["amount"], kept["captured"], kept["expires_at"])
        assert (hold.state.value, hold.ended_at) == (kept["state"], kept["ended"])
    for state in HoldState:
        of_state = ledger.holds(name, state=state, as_of=at, page_size=500).holds
        assert of_state == tuple(hold for hold in page.holds if hold.state is state)


def test_an_account_at_any_instant_is_the_fold_of_its_entries_up_to_it(ledger, clock):
    accepted = 0

    @settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.data())
    def at_any_instant(data):
        nonlocal accepted
        story = tell(data, ledger, clock)
        accepted += story.accepted
        for name in story.names:
            entries = whole_history(ledger, name)
            instants = moments(entries, clock.now)
            for instant in data.draw(st.lists(st.sampled_from(instants), min_size=1, max_size=6, unique=True)):
                assert_stood(ledger, name, Then(entries, instant))

    at_any_instant()
    assert accepted > 100


def balance_at(ledger, instant):
    (balance,) = ledger.balances(ACME.tenant, "acme", "credits", as_of=instant).balances
    return balance.available, balance.held


def test_what_lapsed_counts_from_its_instant_on_however_late_it_was_written(ledger, at, clock):
    at(0, granting(100, expires_at=START + 2 * DAY), holding(30, ttl=DAY))
    gone = START + 2 * DAY

    def stood():
        return [
            balance_at(ledger, START + DAY - MICROSECOND),
            balance_at(ledger, START + DAY),
            balance_at(ledger, gone - MICROSECOND),
            balance_at(ledger, gone),
            balance_at(ledger, START + 3 * DAY),
        ]

    clock.now = START + 5 * DAY
    unwritten = stood()
    at(5, granting(1))

    assert unwritten == [(70, 30), (100, 0), (100, 0), (0, 0), (0, 0)]
    assert stood() == unwritten


def test_of_several_entries_of_one_instant_all_count(ledger, at):
    at(0, granting(100), deducting(10), deducting(20))
    at(1, granting(1))

    assert balance_at(ledger, START) == (70, 0)


def test_a_grant_is_pending_until_the_instant_it_is_effective_though_nothing_is_written_then(ledger, at):
    at(0, granting(100, effective_at=START + DAY), granting(5))
    at(2, deducting(1))

    balances = [
        ledger.balances(ACME.tenant, "acme", as_of=START + DAY - span).balances[0] for span in (MICROSECOND, 0 * DAY)
    ]

    assert [(balance.available, balance.pending) for balance in balances] == [(5, 100), (105, 0)]


def test_before_an_account_was_opened_there_is_none(ledger, at):
    at(1, granting(100))

    for answer in (
        ledger.balances(ACME.tenant, "acme", "credits", as_of=START - MICROSECOND),
        ledger.balances(ACME.tenant, "acme", as_of=START - MICROSECOND),
        ledger.lots(ACME, as_of=START - MICROSECOND),
        ledger.holds(ACME, as_of=START - MICROSECOND),
    ):
        assert answer.reason is Reason.ACCOUNT_NOT_FOUND


def test_in_all_assets_only_the_accounts_that_were_open_are_told(ledger, at, clock):
    ledger.define_asset(ACME.tenant, "calls", 0)
    at(1, opening(replace(ACME, asset="calls")), granting(1))

    found = ledger.balances(ACME.tenant, "acme", as_of=START)

    assert [balance.name.asset for balance in found.balances] == ["credits"]
    assert found.as_of == START


def test_an_instant_to_come_is_refused(ledger, at):
    at(1, granting(100))
    soon = START + DAY + MICROSECOND

    for answer in (
        ledger.balances(ACME.tenant, "acme", "credits", as_of=soon),
        ledger.balances(ACME.tenant, "nobody", as_of=soon),
        ledger.lots(ACME, as_of=soon),
        ledger.holds(ACME, as_of=soon),
        ledger.trial_balance(ACME.tenant, as_of=soon),
    ):
        assert (answer.reason, answer.figures) == (
            Reason.INSTANT_IN_FUTURE,
            {"field": "as_of", "as_of": soon, "now": START + DAY},
        )


def test_where_the_clock_has_stepped_back_now_is_the_last_entry(ledger, at, clock):
    at(1, granting(100))
    clock.now = START

    assert ledger.balances(ACME.tenant, "acme", "credits").as_of == START + DAY
    assert balance_at(ledger, START + DAY) == (100, 0)
    assert balance_at(ledger, START) == (0, 0)


def refunding(entry, choice, ttl=None):
    return Refund(request_id=request_id(), **OF_ACME, entry=entry, expired_lots=choice, lot_ttl=ttl)


def test_a_lot_that_was_extended_ran_out_when_it_was_to_then(ledger, at):
    at(0, granting(10, expires_at=START + DAY), deducting(4))
    at(2, refunding(3, ExpiredLots.EXTEND, 2 * DAY))
    at(5, granting(1))

    expiries = [
        ledger.lots(ACME, include_empty=True, as_of=START + days * DAY).lots[-1].terms.expires_at
        for days in (0, 1, 2, 3, 5)
    ]

    assert expiries == [START + DAY, START + DAY, START + 4 * DAY, START + 4 * DAY, START + 4 * DAY]
    assert [balance_at(ledger, START + days * DAY)[0] for days in (0, 1, 2, 4, 5)] == [6, 0, 4, 0, 1]


def test_a_hold_was_what_had_been_made_of_it_by_then(ledger, at):
    hold = {**OF_ACME, "hold": 3}
    at(0, granting(100), holding(10, ttl=2 * DAY, tolerance=5))
    at(1, IncreaseHold(request_id=request_id(), **hold, amount=4))
    at(1.5, ExtendHold(request_id=request_id(), **hold, ttl=5 * DAY))
    at(2, Capture(request_id=request_id(), **hold, amount=6, final=False))
    at(3, Capture(request_id=request_id(), **hold, amount=10, final=False))
    at(4, Release(request_id=request_id(), **hold))
    at(5, granting(1))

    stood = [ledger.holds(ACME, as_of=START + days * DAY).holds[0] for days in (0, 1, 1.5, 2, 3, 4)]

    assert [(hold.amount, hold.held, hold.captured, hold.tolerance) for hold in stood] == [
        (10, 10, 0, 5),
        (14, 14, 0, 5),
        (14, 14, 0, 5),
        (14, 8, 6, 5),
        (14, 0, 16, 3),
        (14, 0, 16, 3),
    ]
    assert [(hold.expires_at - START) / DAY for hold in stood] == [2, 2, 6.5, 6.5, 6.5, 6.5]
    assert [hold.state for hold in stood] == [HoldState.OPEN] * 5 + [HoldState.RELEASED]
    assert [hold.number for hold in ledger.holds(ACME, state=HoldState.OPEN, as_of=START + 3 * DAY).holds] == [3]


def test_a_hold_that_does_not_honour_a_lot_had_it_until_it_ran_out(ledger, at):
    at(0, granting(6, expires_at=START + DAY), granting(10), holding(8, ttl=9 * DAY, held_lots=HeldLots.LAPSE))
    at(2, granting(1))

    before, after = (ledger.holds(ACME, as_of=START + DAY - span).holds[0] for span in (MICROSECOND, 0 * DAY))

    assert before.drawn == (Draw(lot=1, amount=6), Draw(lot=2, amount=2))
    assert after.drawn == (Draw(lot=2, amount=2),)
    assert (before.due_at, after.due_at) == (START + DAY, START + 9 * DAY)


def test_pages_of_the_past_make_up_what_one_page_shows(ledger, at):
    at(0, *(granting(10, priority=number % 3) for number in range(9)), *(holding(1) for _ in range(9)))
    at(1, deducting(40), *(granting(10) for _ in range(3)))

    def numbers(read, **asked):
        token, found = "", []
        while True:
            page = read(ACME, as_of=START, page_size=2, page_token=token, **asked)
            found += [item.number for item in (page.lots if hasattr(page, "lots") else page.holds)]
            token = page.next_page_token
            if not token:
                return found

    assert numbers(ledger.lots) == [1, 4, 7, 2, 5, 8, 3, 6, 9]
    assert numbers(ledger.lots, include_empty=True) == list(range(9, 0, -1))
    assert numbers(ledger.holds) == list(range(19, 10, -1))
    assert numbers(ledger.holds, state=HoldState.OPEN) == list(range(19, 10, -1))
    assert numbers(ledger.holds, state=HoldState.CAPTURED) == []


def test_reads_of_the_past_look_up_what_they_need(sqlite_url, clock):
    asked = []
    with Ledger(sqlite_url, clock=clock) as ledger:
        ledger.execute(opening())
        for _ in range(5):
            ledger.execute(granting(100, expires_at=START + DAY, memo=Memo(reference="order-1")))
            ledger.execute(granting(10, effective_at=START + DAY))
            ledger.execute(holding(10))
        refunded = ledger.execute(deducting(250)).entry
        clock.now = START + 2 * DAY
        ledger.execute(refunding(refunded.seq, ExpiredLots.EXTEND, DAY))

        with told_to(asked):
            ledger.balances(ACME.tenant, "acme", "credits", as_of=START, expiring_within=DAY)
            ledger.lots(ACME, as_of=START)
            ledger.lots(ACME, as_of=START, include_empty=True)
            ledger.holds(ACME, as_of=START)
            ledger.holds(ACME, as_of=START, state=HoldState.OPEN)
            ledger.explain(ACME.tenant, public_id(IdPrefix.ENTRY, ACME.key, refunded.seq))
            for wanted in ({"lot": 1}, {"hold": 4}, {"reference": "order-1"}, {"since": START, "until": START + DAY}):
                ledger.history(ACME, wanted=HistoryFilter(**wanted))

    plans = [step for statement in asked for step in plan_of(sqlite_url, *statement)]
    assert len(plans) > 100
    # Whole tables, or all that an account has of entries and lines; a bounded number of its lots and holds is allowed.
    assert [step for step in plans if re.search(r"SCAN (accounts|entries|lines|lots|holds|spending)", step)] == []
    assert [step for step in plans if re.search(r"(entries|lines) USING \S+ KEY \(account_key=\?\)", step)] == []
    assert [step for step in plans if re.search(r"lines USING PRIMARY KEY \(account_key=\? AND seq[<>]", step)] == []


@contextmanager
def told_to(asked):
    """Notes each statement with its parameters."""

    def note(_connection, _cursor, statement, parameters, _context, _many):
        asked.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    yield
    event.remove(Engine, "before_cursor_execute", note)


def plan_of(url, statement, parameters):
    """How SQLite goes about a statement."""
    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    steps = connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
    connection.close()
    return [detail for *_, detail in steps]


@pytest.mark.soak
def test_however_long_one_looks_an_account_was_the_fold_of_its_entries(ledger, clock):
    @settings(
        max_examples=500,
        derandomize=False,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    @given(st.data())
    def at_any_instant(data):
        story = tell(data, ledger, clock, length=80)
        for name in story.names:
            entries = whole_history(ledger, name)
            for instant in data.draw(st.lists(st.sampled_from(moments(entries, clock.now)), min_size=1, max_size=20)):
                assert_stood(ledger, name, Then(entries, instant))

    at_any_instant()
