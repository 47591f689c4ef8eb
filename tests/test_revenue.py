"""The monetary journal agrees with the dumbest way of keeping it, and the report of revenue agrees with the journal."""

from collections import Counter
from dataclasses import fields, replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger import MalformedError, MoneyCode, Reason, Refused, RevenueRow, Source
from ledger.history import HistoryFilter
from ledger.model import Money
from tests.books import ACME, DAY, MICROSECOND, START, deducting, granting, opening
from tests.model_money import facts_of, journal_of, reported
from tests.stories import moments, tell

FIGURES = [field.name for field in fields(RevenueRow) if field.name not in {"package", "currency"}] + ["closing"]


def every(ledger, name):
    page = ledger.history(name, 500, wanted=HistoryFilter(oldest_first=True))
    return list(page.entries)


def journal_told(balance):
    return {
        one.currency: Counter({(row.code.value, side): getattr(row, side) for row in one.rows for side in SIDES})
        for one in balance.currencies
    }


SIDES = ("debits", "credits")


def test_the_journal_and_the_report_are_what_single_credits_cost(ledger, clock):
    told, seen = 0, Counter()

    @settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
    @given(st.data())
    def agree(data):
        nonlocal told
        told += 1
        tenant = f"tenant-{told}"
        story = tell(data, ledger, clock, length=30, tenant=tenant)
        by_name = {name: every(ledger, name) for name in story.names}
        found = {name: facts_of(entries) for name, entries in by_name.items()}
        facts = sorted((fact for some, _ in found.values() for fact in some), key=lambda fact: fact.at)
        seen.update(fact.sides for fact in facts if fact.money)

        assert journal_told(ledger.money_trial_balance(tenant)) == journal_of(facts)
        for currency, sums in journal_of(facts).items():
            assert sum(sums[name, "debits"] - sums[name, "credits"] for name in MoneyCode) == 0
            assert sums["transfers", "debits"] == sums["transfers", "credits"]
            there = sum(lot.deferred for _, lots in found.values() for lot in lots if lot.currency == currency)
            assert sums["deferred", "credits"] - sums["deferred", "debits"] == there
        matters = sorted({one for name in story.names for one in moments(by_name[name], clock.now)})
        since, until = sorted(data.draw(st.tuples(st.sampled_from(matters), st.sampled_from([*matters, clock.now]))))
        if since < until:
            assert_reported(ledger, tenant, facts, since, until)

    agree()
    # All that can happen to money happens in the state machine of tests/test_machine.py, which looks at each line.
    assert {("payments", "deferred"), ("deferred", "revenue"), ("deferred", "breakage")} <= set(seen)


def assert_reported(ledger, tenant, facts, since, until):
    """Each row is what the facts say, and all of them are the journal's."""
    report = ledger.revenue(tenant, since, until)
    rows = {(row.package, row.currency): {name: getattr(row, name) for name in FIGURES} for row in report.rows}
    *paid, free = report.rows

    assert [(row.package, row.currency) for row in paid] == sorted((row.package, row.currency) for row in paid)
    assert (free.package, free.currency, free.opening, free.sold, free.closing) == ("", "", 0, 0, 0)
    for sold in {(fact.package, fact.currency) for fact in facts} | set(rows):
        of_it = [fact for fact in facts if (fact.package, fact.currency) == sold]
        assert rows.get(sold, dict.fromkeys(FIGURES, 0)) == reported(of_it, since, until)
    for name, at in (("opening", since), ("closing", until)):
        journal = ledger.money_trial_balance(tenant, as_of=at - MICROSECOND)
        by_currency = Counter()
        for row in paid:
            by_currency[row.currency] += getattr(row, name)
        assert +by_currency == +Counter(
            {one.currency: -row.balance for one in journal.currencies for row in one.rows if row.code == "deferred"}
        )


@pytest.fixture
def sold(ledger, clock):
    """A package of 3 for 1.00 and one of 10 in dollars; 5 given free."""
    ledger.execute(opening())
    eur, usd = Money(minor_units=100, currency="EUR"), Money(minor_units=250, currency="USD")
    ledger.execute(
        granting(3, source=Source.PURCHASE, cost=eur, package="starter", ttl=3 * DAY, scope=("starter",), priority=0)
    )
    ledger.execute(granting(10, source=Source.SUBSCRIPTION, cost=usd))
    ledger.execute(granting(5, ttl=DAY))
    clock.now = START + timedelta(hours=1)
    ledger.execute(deducting(7))
    return ledger


def rows_of(report):
    return [
        {name: value for name in ("package", "currency", *FIGURES) if (value := getattr(row, name))}
        for row in report.rows
    ]


def test_the_report_tells_each_package_and_currency_and_what_was_free_at_zero(sold):
    assert rows_of(sold.revenue(ACME.tenant, START)) == [
        {"currency": "USD", "sold": 250, "recognised": 50, "closing": 200, "credits_granted": 10, "credits_used": 2},
        {"package": "starter", "currency": "EUR", "sold": 100, "closing": 100, "credits_granted": 3},
        {"credits_granted": 5, "credits_used": 5},
    ]


def test_what_a_lot_has_recognised_is_its_cost_once_it_is_used_up(sold, clock):
    begins, of_starter = clock.now, {"package": "starter", "currency": "EUR"}
    told = []
    for _ in range(3):
        clock.now += MICROSECOND
        sold.execute(deducting(1, operation="starter"))
        told += [row for row in rows_of(sold.revenue(ACME.tenant, begins)) if row.items() >= of_starter.items()]

    assert [(row["opening"], row["recognised"], row.get("closing", 0)) for row in told] == [
        (100, 33, 67),
        (100, 66, 34),
        (100, 100, 0),
    ]


def test_what_has_run_out_is_expired_whether_that_is_written_or_not(sold, clock):
    clock.now = START + 3 * DAY
    unwritten = sold.revenue(ACME.tenant, START + MICROSECOND)
    journal = sold.money_trial_balance(ACME.tenant)
    sold.sweep()

    assert rows_of(sold.revenue(ACME.tenant, START + MICROSECOND)) == rows_of(unwritten)
    assert rows_of(unwritten)[1] == {
        "package": "starter",
        "currency": "EUR",
        "opening": 100,
        "expired": 100,
        "credits_expired": 3,
    }
    assert sold.money_trial_balance(ACME.tenant) == journal


def test_a_stretch_begins_with_its_first_instant_and_ends_just_before_the_next(sold, clock):
    used_at = START + timedelta(hours=1)
    clock.now = START + 2 * timedelta(hours=1)
    recognised = {
        (since, until): sum(row.recognised for row in sold.revenue(ACME.tenant, since, until).rows)
        for since, until in (
            (START, used_at),
            (START, used_at + MICROSECOND),
            (used_at, used_at + MICROSECOND),
            (used_at + MICROSECOND, clock.now),
        )
    }

    assert list(recognised.values()) == [0, 50, 50, 0]


def test_books_in_which_nothing_was_sold_have_an_empty_journal(ledger):
    assert ledger.money_trial_balance(ACME.tenant).currencies == ()
    assert rows_of(ledger.revenue(ACME.tenant, START - DAY)) == [{}]


def test_one_currency_can_be_asked_for(sold):
    (found,) = sold.money_trial_balance(ACME.tenant, "USD").currencies

    assert {row.code.value: row.balance for row in found.rows if row.balance} == {
        "payments": 250,
        "deferred": -200,
        "revenue": -50,
    }
    assert sold.money_trial_balance(ACME.tenant, "GBP").currencies == ()


def test_the_books_of_another_tenant_are_not_in_the_journal(sold):
    assert sold.money_trial_balance("other").currencies == ()
    assert rows_of(sold.revenue("other", START)) == [{}]


@pytest.mark.parametrize(
    ("ask", "field"),
    [
        (lambda ledger, later: ledger.money_trial_balance(ACME.tenant, as_of=later), "as_of"),
        (lambda ledger, later: ledger.revenue(ACME.tenant, START, later), "until"),
        (lambda ledger, later: ledger.revenue(ACME.tenant, later), "since"),
    ],
    ids=["trial balance", "until", "since"],
)
def test_nothing_is_told_of_what_is_to_come(ledger, clock, ask, field):
    later = clock.now + MICROSECOND
    refused = Refused(reason=Reason.INSTANT_IN_FUTURE, figures={"field": field, "as_of": later, "now": clock.now})

    assert ask(ledger, later) == refused


@pytest.mark.parametrize(
    ("ask", "field"),
    [
        (lambda ledger: ledger.money_trial_balance(ACME.tenant, "eur"), "currency"),
        (lambda ledger: ledger.revenue(ACME.tenant, START, START), "until"),
        (lambda ledger: ledger.revenue(ACME.tenant, START.replace(tzinfo=None)), "since"),
    ],
    ids=["currency", "until", "since"],
)
def test_what_can_never_be_told_is_malformed(ledger, ask, field):
    with pytest.raises(MalformedError) as error:
        ask(ledger)

    assert [violation.field for violation in error.value.violations] == [field]


def test_sums_may_outgrow_64_bits(ledger, clock):
    most = 2**63 - 1
    for number in range(3):
        account = replace(ACME, account_id=f"rich-{number}")
        ledger.execute(opening(account))
        cost = Money(minor_units=most, currency="EUR")
        ledger.execute(granting(1, account, source=Source.PURCHASE, cost=cost))

    assert ledger.revenue(ACME.tenant, START).rows[0].sold == 3 * most
    (found,) = ledger.money_trial_balance(ACME.tenant).currencies
    assert {row.code: row.balance for row in found.rows if row.balance}[MoneyCode.DEFERRED] == -3 * most
