"""Money is conserved per lot, whatever happens to it in which order: nothing is lost, and nothing comes out twice."""

from dataclasses import replace

import pytest

from ledger import Accepted, Money, Revoke, RollOver, Source, SpentPart
from ledger.operations import ExpiredLots
from tests.books import ACME, DAY, deducting, granting, opening, refunding, request_id, transferring

BETA = replace(ACME, account_id="beta")


@pytest.fixture
def acme(ledger):
    ledger.execute(opening())
    ledger.execute(opening(BETA))
    return ledger


def sold(amount, cents, **terms):
    return granting(amount, source=Source.PURCHASE, cost=Money(minor_units=cents, currency="EUR"), **terms)


def of_lot(number, account=ACME):
    return {"request_id": request_id(), "tenant": account.tenant, "key": account.key, "lot": number}


def done(outcome):
    assert isinstance(outcome, Accepted), outcome
    return outcome.entry


def journal(ledger):
    """What customers paid, and where it is: each code as it grows."""
    found = ledger.money_trial_balance(ACME.tenant).currencies
    rows = found[0].rows if found else ()
    balances = {row.code.value: -row.balance for row in rows if row.balance}
    if "payments" in balances:
        balances["payments"] = -balances["payments"]
    return balances


@pytest.mark.parametrize("call", [1, 7, 50, 150])
def test_what_small_calls_use_is_revenue_as_soon_as_it_comes_to_a_cent(acme, call):
    acme.execute(sold(10_000, 100))
    for used in range(call, 301, call):
        done(acme.execute(deducting(call)))
        assert journal(acme).get("revenue", 0) == used // 100


def test_what_small_calls_used_goes_back_as_soon_as_it_comes_to_a_cent(acme):
    acme.execute(sold(10_000, 100))
    done(acme.execute(deducting(10_000)))
    for number in range(1, 201):
        done(acme.execute(Revoke(**of_lot(1), amount=1, spent=SpentPart.OWE)))
        assert journal(acme)["payments"] == 100 - number // 100


def test_what_is_refunded_credit_by_credit_and_lapses_takes_along_no_more_than_was_paid(acme, clock):
    acme.execute(sold(100, 10, ttl=DAY))
    used = done(acme.execute(deducting(100)))
    clock.now += 2 * DAY
    for _ in range(100):
        done(acme.execute(refunding(used, 1)))

    assert journal(acme) == {"payments": 10, "breakage": 10}


def test_what_is_refunded_credit_by_credit_and_paid_back_is_what_was_paid(acme):
    acme.execute(sold(100, 10))
    used = done(acme.execute(deducting(100)))
    for _ in range(100):
        done(acme.execute(refunding(used, 1)))
        done(acme.execute(Revoke(**of_lot(1), amount=1, spent=SpentPart.LEAVE)))

    assert journal(acme) == {}


def test_one_cent_stays_one_cent_however_often_its_credits_are_refunded_and_given_away(acme):
    acme.execute(sold(1000, 1))
    used = done(acme.execute(deducting(1000)))
    for _ in range(50):
        done(acme.execute(refunding(used, 1)))
        done(acme.execute(transferring(1, ACME, BETA)))

    assert journal(acme) == {"payments": 1, "revenue": 1}


def test_what_small_calls_used_comes_back_as_new_lots_with_all_that_was_paid(acme, clock):
    acme.execute(sold(100, 10, ttl=DAY))
    used = [done(acme.execute(deducting(1))) for _ in range(100)]
    clock.now += 2 * DAY
    refunds = [done(acme.execute(refunding(one, expired_lots=ExpiredLots.NEW_LOT))) for one in used]

    assert journal(acme) == {"payments": 10, "deferred": 10}
    assert sum(made.terms.cost.minor_units for one in refunds for made in one.made) == 10


@pytest.mark.parametrize("first", ["the new lot", "what was spent"])
def test_what_lives_on_as_a_new_lot_is_paid_back_once(acme, clock, first):
    acme.execute(sold(100, 10, ttl=DAY))
    used = done(acme.execute(deducting(100)))
    clock.now += 2 * DAY
    done(acme.execute(refunding(used, 60, expired_lots=ExpiredLots.NEW_LOT)))
    lots = [2, 1] if first == "the new lot" else [1, 2]
    for lot in lots:
        done(acme.execute(Revoke(**of_lot(lot), spent=SpentPart.OWE)))

    assert journal(acme) == {}


def test_what_rolls_over_twice_takes_what_lapsed_once(acme, clock):
    acme.execute(sold(100, 10, ttl=DAY))
    done(acme.execute(deducting(50)))
    clock.now += 2 * DAY
    rolled = [done(acme.execute(RollOver(**of_lot(1), ttl=None, amount=30))) for _ in range(3)]

    assert [one.made[0].terms.cost.minor_units for one in rolled] == [3, 2, 0]
    assert journal(acme) == {"payments": 10, "revenue": 5, "deferred": 5}


def test_what_was_reclaimed_and_what_was_not_come_back_with_what_is_left_of_the_money(acme):
    acme.execute(sold(7, 100))
    used = done(acme.execute(deducting(7)))
    done(acme.execute(Revoke(**of_lot(1), amount=3, spent=SpentPart.OWE)))
    reclaimed = journal(acme)
    for _ in range(7):
        done(acme.execute(refunding(used, 1)))

    assert reclaimed == {"payments": 58, "revenue": 58}
    assert journal(acme) == {"payments": 58, "deferred": 58}


def test_what_two_lots_paid_for_comes_back_to_each_however_often_it_is_refunded(acme):
    acme.execute(sold(3, 100))
    acme.execute(sold(4, 10))
    used = done(acme.execute(deducting(7)))
    brought = [
        [line.cost.minor_units for line in done(acme.execute(refunding(used, 1))).lines if line.cost] for _ in range(7)
    ]

    assert brought == [[33], [33], [34], [2], [3], [2], [3]]


def test_what_was_given_to_another_and_is_reclaimed_leaves_revenue_below_zero(acme):
    acme.execute(sold(3, 10_000))
    done(acme.execute(transferring(3, ACME, BETA)))
    done(acme.execute(Revoke(**of_lot(1), spent=SpentPart.OWE)))

    assert journal(acme) == {"deferred": 10_000, "revenue": -10_000}
