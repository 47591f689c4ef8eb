"""An entry is explained: which lots burnt, by which rule, which were passed over, which limits counted it."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger import Capture, EntryKind, IdPrefix, Money, Reason, Release, Source, public_id
from ledger.administration import Adjust, Direction, UpdateAccount
from ledger.explain import CountedLimit, Rule, Why, rule_between
from ledger.history import HistoryFilter
from ledger.lots import burn_order
from ledger.model import HeldLots, Lot, LotTerms, Memo
from ledger.operations import DeductMode, ExpiredLots, Refund, Transfer
from ledger.terms import SpendLimit, Window
from tests.books import ACME, DAY, START, deducting, granting, holding, opening, request_id
from tests.stories import tell

BOLT = replace(ACME, account_id="bolt")
OF_ACME = {"tenant": ACME.tenant, "key": ACME.key}
PAID = {"source": Source.PURCHASE, "priority": 50}
IMAGE = "image/generate"


@pytest.fixture
def acme(ledger):
    ledger.execute(opening())
    return ledger


def why(ledger, operation):
    return ledger.explain(ACME.tenant, entry_id(ledger.execute(operation).entry))


def entry_id(entry):
    return public_id(IdPrefix.ENTRY, entry.key, entry.seq)


def burnt(explanation):
    """Lot, amount, what remained before and after, the next lot and the rule."""
    return [
        (
            moved.line.lot,
            moved.line.amount,
            moved.before.remaining,
            moved.after.remaining,
            moved.next_lot,
            moved.rule,
        )
        for moved in explanation.moved
        if moved.burnt
    ]


def passed(explanation):
    return [(lot.lot.number, lot.why) for lot in explanation.passed]


def test_each_lot_that_burnt_is_told_with_the_rule_that_put_it_before_the_next(acme):
    for terms in (
        {"priority": 1},
        {**PAID, "expires_at": START + DAY},
        {**PAID},
        {**PAID, "cost": Money(minor_units=10, currency="EUR")},
        {**PAID, "cost": Money(minor_units=20, currency="EUR")},
        {**PAID, "cost": Money(minor_units=20, currency="EUR")},
        {**PAID, "cost": Money(minor_units=20, currency="EUR")},
    ):
        acme.execute(granting(10, **terms))

    explanation = why(acme, deducting(55))

    assert burnt(explanation) == [
        (1, 10, 10, 0, 2, Rule.PRIORITY),
        (2, 10, 10, 0, 3, Rule.EXPIRY),
        (3, 10, 10, 0, 4, Rule.FREE_BEFORE_PAID),
        (4, 10, 10, 0, 5, Rule.COST),
        (5, 10, 10, 0, 6, Rule.AGE),
        (6, 5, 10, 5, 7, Rule.AGE),
    ]
    assert (explanation.name, explanation.scale, explanation.entry.kind) == (ACME, 0, EntryKind.DEDUCT)
    assert (explanation.passed, explanation.limits) == ((), ())


def test_the_last_lot_there_was_comes_before_no_other(acme):
    acme.execute(granting(10))

    assert burnt(why(acme, deducting(3))) == [(1, 3, 10, 7, None, None)]


def test_lots_that_could_not_burn_are_told_with_why(acme):
    acme.execute(granting(10, scope=("video/*",), priority=1))
    acme.execute(granting(10, effective_at=START + DAY, priority=0))
    acme.execute(granting(10, scope=("image/*",)))
    acme.execute(granting(13, expires_at=START + DAY))

    of_nothing = why(acme, deducting(3))
    of_image = why(acme, replace(deducting(15), operation=IMAGE))

    assert [lot for lot, *_ in burnt(of_image)] == [4, 3]
    assert passed(of_image) == [(2, Why.NOT_EFFECTIVE), (1, Why.SCOPE)]
    assert passed(of_nothing) == [(2, Why.NOT_EFFECTIVE), (1, Why.SCOPE), (3, Why.SCOPE)]
    assert of_image.passed[1].lot.remaining == 10


def test_an_explanation_stays_true_whatever_happens_to_the_lots_later(acme, clock):
    acme.execute(granting(10, expires_at=START + DAY, priority=1))
    acme.execute(granting(10, scope=("video/*",)))
    acme.execute(granting(50))
    first = why(acme, deducting(4))
    spent = acme.execute(deducting(6)).entry
    clock.now = START + 2 * DAY
    extended = Refund(
        request_id=request_id(), **OF_ACME, entry=spent.seq, expired_lots=ExpiredLots.EXTEND, lot_ttl=9 * DAY
    )
    acme.execute(extended)
    acme.execute(replace(deducting(5), operation="video/cut"))

    again = acme.explain(ACME.tenant, entry_id(first.entry))

    assert again == first
    assert again.moved[0].before.terms.expires_at == START + DAY
    (moved,) = again.moved
    assert (moved.before.remaining, moved.after.remaining, moved.after.spent) == (10, 6, 4)


def test_a_hold_says_what_each_lot_held_before_and_after(acme):
    acme.execute(granting(10, priority=1))
    acme.execute(granting(10))
    acme.execute(holding(4))

    explanation = why(acme, holding(8))

    assert burnt(explanation) == [(1, 6, 6, 0, 2, Rule.PRIORITY), (2, 2, 10, 8, None, None)]
    assert [(moved.before.held, moved.after.held) for moved in explanation.moved] == [(4, 10), (0, 2)]


def test_a_capture_burns_only_what_goes_beyond_its_hold(acme):
    acme.execute(granting(10))
    acme.execute(granting(10, scope=("video/*",)))
    acme.execute(replace(holding(6), tolerance=5))
    capture = {"request_id": request_id(), **OF_ACME, "hold": 4}

    within = why(acme, Capture(**capture, amount=2, final=False))
    beyond = why(acme, Capture(**{**capture, "request_id": request_id()}, amount=7))

    assert (burnt(within), within.passed) == ([], ())
    assert burnt(beyond) == [(1, 3, 4, 1, None, None)]
    assert passed(beyond) == [(2, Why.SCOPE)]
    assert [(moved.before.held, moved.after.held) for moved in beyond.moved] == [(4, 0), (0, 0)]


def test_a_transfer_and_a_correction_take_lots_whatever_their_scope(acme):
    acme.execute(opening(BOLT))
    acme.execute(granting(10, scope=("video/*",), priority=1))
    acme.execute(granting(10, effective_at=START + DAY, priority=0))
    acme.execute(granting(10))

    transfer = why(acme, Transfer(request_id=request_id(), account=ACME, to=BOLT, amount=12))
    memo = Memo(description="mistake", actor="ann")
    down = why(acme, Adjust(request_id=request_id(), account=ACME, direction=Direction.DOWN, amount=1, memo=memo))
    up = why(acme, Adjust(request_id=request_id(), account=ACME, direction=Direction.UP, amount=1, memo=memo))

    assert burnt(transfer) == [(1, 10, 10, 0, 3, Rule.PRIORITY), (3, 2, 10, 8, None, None)]
    assert passed(transfer) == passed(down) == [(2, Why.NOT_EFFECTIVE)]
    assert burnt(down) == [(3, 1, 8, 7, None, None)]
    assert (burnt(up), up.passed, up.moved[0].after.remaining) == ([], (), 1)


def test_of_what_is_not_burnt_no_order_is_told(acme):
    granted = why(acme, granting(10))
    hold = acme.execute(holding(4)).entry
    released = why(acme, Release(request_id=request_id(), **OF_ACME, hold=hold.seq))

    for explanation, before, after in ((granted, 0, 10), (released, 6, 10)):
        (moved,) = explanation.moved
        assert (moved.burnt, moved.next_lot, moved.rule) == (False, None, None)
        assert (moved.before.remaining, moved.after.remaining) == (before, after)
        assert explanation.passed == ()


def test_what_found_nothing_to_burn_says_what_it_passed_over(acme):
    acme.execute(granting(10, scope=("video/*",)))

    explanation = why(acme, replace(deducting(5), mode=DeductMode.CLAMP))

    assert (explanation.entry.lines, explanation.moved) == ((), ())
    assert passed(explanation) == [(1, Why.SCOPE)]


def test_use_that_a_plan_covers_looks_at_no_lot(acme):
    acme.execute(granting(10, scope=("video/*",)))
    acme.execute(UpdateAccount(request_id=request_id(), account=ACME, unlimited=True))

    explanation = why(acme, deducting(5))

    assert (explanation.moved, explanation.passed) == ((), ())


def test_the_spend_limits_that_counted_it_are_told_as_they_were(acme):
    limits = (
        SpendLimit(name="images", window=Window.DAY, amount=50, operation="image/*"),
        SpendLimit(name="all", window=Window.ROLLING, amount=100, length=DAY),
    )
    acme.execute(UpdateAccount(request_id=request_id(), account=ACME, limits=limits))
    acme.execute(granting(90))
    of_image = why(acme, replace(deducting(20), operation=IMAGE))
    of_text = why(acme, replace(deducting(5), operation="text/write"))
    more = (replace(limits[0], amount=60), limits[1])
    acme.execute(UpdateAccount(request_id=request_id(), account=ACME, limits=more))
    refund = why(acme, Refund(request_id=request_id(), **OF_ACME, entry=of_image.entry.seq, amount=8))

    assert of_image.limits == (
        CountedLimit(name="all", amount=100, used=20),
        CountedLimit(name="images", amount=50, used=20),
    )
    assert of_text.limits == (CountedLimit(name="all", amount=100, used=25),)
    assert refund.limits == (
        CountedLimit(name="all", amount=100, used=17),
        CountedLimit(name="images", amount=60, used=12),
    )
    assert acme.explain(ACME.tenant, entry_id(of_image.entry)).limits == of_image.limits


def test_a_lapse_that_is_not_written_yet_is_explained_as_it_will_be_once_it_is(acme, clock):
    acme.execute(granting(10, expires_at=START + 2 * DAY))
    acme.execute(granting(10, expires_at=START + 3 * DAY))
    acme.execute(holding(12, ttl=9 * DAY, held_lots=HeldLots.LAPSE))
    acme.execute(holding(3, ttl=DAY))
    clock.now = START + 4 * DAY
    entries = acme.history(ACME, wanted=HistoryFilter(since=START + DAY)).entries

    unwritten = [acme.explain(ACME.tenant, entry_id(entry)) for entry in entries]
    acme.sweep()
    written = [acme.explain(ACME.tenant, entry_id(entry)) for entry in entries]

    assert len(entries) >= 4
    assert [explanation.moved for explanation in unwritten] == [explanation.moved for explanation in written]
    assert all(explanation.entry.recorded_at is None for explanation in unwritten)


def test_the_welcome_of_an_opening_is_explained_too(acme):
    explanation = acme.explain(ACME.tenant, public_id(IdPrefix.ENTRY, ACME.key, 1))

    assert (explanation.entry.kind, explanation.moved, explanation.passed) == (EntryKind.OPEN, (), ())


@pytest.mark.parametrize("unknown", ["", "nonsense", public_id(IdPrefix.ENTRY, ACME.key, 99)])
def test_an_entry_that_is_not_there_cannot_be_explained(acme, unknown):
    assert acme.explain(ACME.tenant, unknown).reason is Reason.ENTRY_NOT_FOUND
    assert acme.explain("elsewhere", public_id(IdPrefix.ENTRY, ACME.key, 1)).reason is Reason.ENTRY_NOT_FOUND


def test_every_entry_of_any_story_is_explained_by_the_lots_its_lines_leave(ledger, clock):
    burning = 0

    @settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.data())
    def of_any_story(data):
        nonlocal burning
        story = tell(data, ledger, clock, length=30)
        for name in story.names:
            for entry in ledger.history(name, 500).entries:
                explanation = ledger.explain(name.tenant, entry_id(entry))
                assert [moved.line for moved in explanation.moved] == [line for line in entry.lines if line.lot]
                for moved in explanation.moved:
                    assert moved.after.left == moved.line.left
                taken = [moved for moved in explanation.moved if moved.burnt]
                assert taken == sorted(taken, key=lambda moved: burn_order(moved.before))
                for moved, following in pairwise(taken):
                    # A lot is only left for the next one when nothing remains in it.
                    assert (moved.next_lot, moved.after.remaining) == (following.line.lot, 0)
                burning += len(taken)

    of_any_story()
    assert burning > 40


def lots():
    costs = st.none() | st.builds(Money, minor_units=st.integers(0, 3), currency=st.just("EUR"))
    terms = st.builds(
        LotTerms,
        source=st.just(Source.PURCHASE),
        priority=st.integers(0, 1),
        effective_at=st.just(START),
        expires_at=st.sampled_from([None, START + DAY, START + 2 * DAY]),
        cost=costs,
    )
    amounts = {"remaining": st.just(1), "held": st.just(0), "spent": st.just(0), "reclaimed": st.just(0)}
    return st.builds(Lot, number=st.integers(1, 9), terms=terms, granted=st.integers(1, 3), **amounts)


@given(lots(), lots())
def test_the_rule_between_two_lots_is_the_first_thing_that_tells_them_apart(one, other):
    first, second = sorted((one, other), key=burn_order)

    rule = rule_between(first, second)

    same_priority = first.terms.priority == second.terms.priority
    same_expiry = same_priority and first.terms.expires_at == second.terms.expires_at
    costs = [0 if lot.terms.cost is None else lot.terms.cost.minor_units * 6 // lot.granted for lot in (first, second)]
    same_cost = same_expiry and costs[0] == costs[1]
    assert (rule is Rule.PRIORITY) == (not same_priority)
    assert (rule is Rule.EXPIRY) == (same_priority and not same_expiry)
    assert (rule in {Rule.FREE_BEFORE_PAID, Rule.COST}) == (same_expiry and not same_cost)
    assert (rule is Rule.FREE_BEFORE_PAID) == (same_expiry and costs[0] == 0 < costs[1])
    assert (rule is Rule.AGE) == same_cost
