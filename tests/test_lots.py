"""The burn order and what a line does to a lot, against the dumbest way of saying the same."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import Code, Line, LotTerms, Money, Source
from ledger.lots import after_line, burn, burn_order, can_burn, has_run_out, may_pay_for, pending, split
from ledger.model import Draw, Lot
from tests.books import MICROSECOND, START

INT64_MAX = 2**63 - 1
NEVER = datetime.max.replace(tzinfo=UTC)


def instants():
    return st.integers(-3, 3).map(lambda hours: START + timedelta(hours=hours))


@st.composite
def lots(draw, number=1):
    terms = LotTerms(
        source=Source.PURCHASE,
        priority=draw(st.integers(0, 2)),
        effective_at=draw(instants()),
        expires_at=draw(st.none() | instants()),
        cost=draw(
            st.none() | st.integers(0, 4).map(lambda minor_units: Money(minor_units=minor_units, currency="EUR"))
        ),
    )
    remaining, held, gone = (draw(st.integers(0, 5)) for _ in range(3))
    return Lot(
        number=number,
        terms=terms,
        granted=remaining + held + gone + 1,
        remaining=remaining,
        held=held,
        spent=0,
        reclaimed=0,
    )


@st.composite
def lot_lists(draw):
    numbers = draw(st.lists(st.integers(1, 99), unique=True, max_size=6))
    return [draw(lots(number)) for number in numbers]


def in_plain_words(lot):
    """The five criteria, each with the plainest value."""
    cost = Fraction(0 if lot.terms.cost is None else lot.terms.cost.minor_units, lot.granted)
    return lot.terms.priority, lot.terms.expires_at or NEVER, cost > 0, cost, lot.number


def lot_that_cost(number, minor_units, granted):
    cost = Money(minor_units=minor_units, currency="EUR")
    terms = LotTerms(source=Source.PURCHASE, priority=0, effective_at=START, expires_at=None, cost=cost)
    return Lot(number=number, terms=terms, granted=granted, remaining=granted, held=0, spent=0, reclaimed=0)


@given(lot_lists(), st.data())
def test_lots_burn_in_order_and_nothing_is_lost(lot_list, data):
    burnable = sorted((lot for lot in lot_list if can_burn(lot, START)), key=in_plain_words)
    unit_by_unit = [lot.number for lot in burnable for _ in range(lot.remaining)]
    amount = data.draw(st.integers(0, len(unit_by_unit) + 2))

    burnt = burn(lot_list, amount, START)

    assert [(draw.lot, draw.amount) for draw in burnt] == list(Counter(unit_by_unit[:amount]).items())


@given(lots(), lots())
def test_the_burn_order_is_that_of_the_five_criteria_in_plain_words(one, other):
    assert (burn_order(one) < burn_order(other)) == (in_plain_words(one) < in_plain_words(other))


@given(lot_lists())
def test_the_burn_order_is_total(lot_list):
    assert len({burn_order(lot) for lot in lot_list}) == len(lot_list)


@given(*(st.integers(0, INT64_MAX) for _ in range(2)), *(st.integers(1, INT64_MAX) for _ in range(2)))
def test_costs_of_one_credit_compare_exactly_however_large_the_figures(paid, paid_other, granted, granted_other):
    one, other = lot_that_cost(1, paid, granted), lot_that_cost(2, paid_other, granted_other)

    cheaper = Fraction(paid, granted) <= Fraction(paid_other, granted_other)

    assert (burn_order(one) < burn_order(other)) == cheaper


def test_costs_that_differ_by_the_least_that_figures_can_tell_compare_exactly():
    dearer, cheaper = lot_that_cost(1, INT64_MAX - 1, INT64_MAX), lot_that_cost(2, INT64_MAX - 2, INT64_MAX - 1)

    assert burn_order(cheaper) < burn_order(dearer)


def test_costs_in_different_currencies_compare_by_their_numbers():
    euros = lot_that_cost(1, 200, 10)
    terms = LotTerms(
        source=Source.PURCHASE,
        priority=0,
        effective_at=START,
        expires_at=None,
        cost=Money(minor_units=199, currency="JPY"),
    )
    yen = Lot(number=2, terms=terms, granted=10, remaining=10, held=0, spent=0, reclaimed=0)

    assert burn_order(yen) < burn_order(euros)


@given(lots())
def test_a_lot_can_burn_from_its_first_instant_until_just_before_it_expires(lot):
    effective_at, expires_at = lot.terms.effective_at, lot.terms.expires_at
    is_ever = lot.remaining > 0 and (expires_at is None or effective_at < expires_at)

    assert can_burn(lot, effective_at) == is_ever
    assert not can_burn(lot, effective_at - MICROSECOND)
    if expires_at is not None:
        assert can_burn(lot, expires_at - MICROSECOND) == is_ever
        assert not can_burn(lot, expires_at)
        assert has_run_out(lot, expires_at)
        assert not has_run_out(lot, expires_at - MICROSECOND)


@given(lot_lists())
def test_what_is_there_is_pending_or_can_burn_or_has_run_out(lot_list):
    remaining = sum(lot.remaining for lot in lot_list)
    can_be_burnt = sum(draw.amount for draw in burn(lot_list, remaining, START))
    run_out = sum(lot.remaining for lot in lot_list if has_run_out(lot, START) and lot.terms.effective_at <= START)

    assert pending(lot_list, START) + can_be_burnt + run_out == remaining


@given(st.lists(st.builds(Draw, lot=st.integers(1, 9), amount=st.integers(1, 9)), max_size=5), st.integers(0, 50))
def test_split_draws_make_up_what_was_drawn_in_the_same_order(draws, amount):
    def unit_by_unit(some):
        return [draw.lot for draw in some for _ in range(draw.amount)]

    first, rest = split(draws, amount)

    assert unit_by_unit(first) == unit_by_unit(draws)[:amount]
    assert unit_by_unit(rest) == unit_by_unit(draws)[amount:]


SIDES = (Code.AVAILABLE, Code.HELD)


@given(lots(), st.sampled_from(SIDES), st.sampled_from((*SIDES, Code.REVENUE, Code.BREAKAGE)), st.integers(1, 9))
def test_a_line_and_its_reverse_leave_a_lot_as_it_was(lot, debit, credit, amount):
    line = Line(debit=debit, credit=credit, amount=amount, lot=lot.number)
    reverse = Line(debit=credit, credit=debit, amount=amount, lot=lot.number)

    assert after_line(after_line(lot, line), reverse) == lot


@given(lots(), st.integers(1, 9))
def test_what_a_hold_takes_from_what_remains_is_held(lot, amount):
    after = after_line(lot, Line(debit=Code.AVAILABLE, credit=Code.HELD, amount=amount, lot=lot.number))

    assert (after.remaining, after.held) == (lot.remaining - amount, lot.held + amount)


@pytest.mark.parametrize("credit", [Code.REVENUE, Code.TRANSFERS, Code.OWED])
@given(lot=lots(), debit=st.sampled_from(SIDES), amount=st.integers(1, 9))
def test_what_is_used_given_away_or_repays_debt_is_spent(credit, lot, debit, amount):
    after = after_line(lot, Line(debit=debit, credit=credit, amount=amount, lot=lot.number))

    assert after.spent == lot.spent + amount


@pytest.mark.parametrize("credit", [Code.BREAKAGE, Code.PAYMENTS, Code.ADJUSTMENTS])
@given(lot=lots(), amount=st.integers(1, 9))
def test_what_lapses_or_goes_back_to_where_it_came_from_is_not_spent(credit, lot, amount):
    after = after_line(lot, Line(debit=Code.AVAILABLE, credit=credit, amount=amount, lot=lot.number))

    assert (after.spent, after.remaining) == (lot.spent, lot.remaining - amount)


@given(lots(), st.integers(1, 9))
def test_what_a_revocation_makes_owed_is_reclaimed_until_it_is_refunded(lot, amount):
    spent = replace(lot, spent=amount)
    owed = after_line(spent, Line(debit=Code.OWED, credit=Code.PAYMENTS, amount=amount, lot=lot.number))
    refunded = after_line(owed, Line(debit=Code.REVENUE, credit=Code.OWED, amount=amount, lot=lot.number))

    assert (owed.spent, owed.reclaimed) == (amount, amount)
    assert refunded == lot


@pytest.mark.parametrize(
    ("scope", "operation", "may_pay"),
    [
        ((), "", True),
        ((), "image/edit", True),
        (("image/edit",), "image/edit", True),
        (("image/edit",), "image/edits", False),
        (("image/*",), "image/edit", True),
        (("image/*",), "image", False),
        (("image/*",), "", False),
        (("*",), "image/edit", True),
        (("*",), "", False),
        (("video/*", "image/edit"), "image/edit", True),
    ],
)
def test_a_lot_with_a_scope_pays_for_the_operations_in_it(scope, operation, may_pay):
    lot = lot_that_cost(1, 0, 10)

    assert may_pay_for(replace(lot, terms=replace(lot.terms, scope=scope)), operation) is may_pay
