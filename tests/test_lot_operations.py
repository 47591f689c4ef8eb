"""What payments do to single lots, which has no call of its own: a lot is set aside, what ran out rolls over."""

from dataclasses import replace

import pytest

from ledger import (
    Accepted,
    Code,
    DeductMode,
    Freeze,
    HoldLot,
    HoldState,
    IdPrefix,
    MalformedError,
    Memo,
    Money,
    Reason,
    Refused,
    Revoke,
    RollOver,
    Source,
    SpendLimit,
    SpentPart,
    UpdateAccount,
    Window,
    public_id,
)
from tests.books import (
    ACME,
    DAY,
    MICROSECOND,
    START,
    capturing,
    deducting,
    granting,
    holding,
    opening,
    refunding,
    releasing,
    request_id,
)

PAID = {"source": Source.PURCHASE, "cost": Money(minor_units=100, currency="EUR"), "package": "starter"}


@pytest.fixture
def acme(ledger):
    ledger.execute(opening())
    return ledger


def of_lot(number, account=ACME):
    return {"request_id": request_id(), "tenant": account.tenant, "key": account.key, "lot": number}


def held_aside(ledger, number, **about):
    return ledger.execute(HoldLot(**of_lot(number), ttl=100 * DAY, **about))


def done(outcome):
    assert isinstance(outcome, Accepted), outcome
    return outcome.entry


def lines_of(entry):
    return [(line.debit.value, line.credit.value, line.amount, line.lot) for line in entry.lines]


def test_a_lot_is_set_aside_whatever_the_burn_order_and_comes_back(acme):
    acme.execute(granting(10))
    acme.execute(granting(10, **PAID))
    acme.execute(granting(5, **PAID, effective_at=START + DAY, scope=("image/*",)))

    held, later = done(held_aside(acme, 2)), done(held_aside(acme, 3, amount=2))
    given_back = done(acme.execute(releasing(held)))

    assert lines_of(held) == [("available", "held", 10, 2)]
    assert lines_of(later) == [("available", "held", 2, 3)]
    assert lines_of(given_back) == [("held", "available", 10, 2)]
    assert [line.cost for entry in (held, later, given_back) for line in entry.lines] == [None, None, None]


def test_where_nothing_is_left_nothing_is_set_aside_and_that_ends_too(acme):
    acme.execute(granting(10))
    acme.execute(deducting(10))

    held = done(held_aside(acme, 1))

    assert (held.lines, held.hold_held) == ((), 0)
    assert lines_of(done(acme.execute(releasing(held)))) == []


def test_a_frozen_account_has_its_lots_set_aside(acme):
    acme.execute(granting(10))
    acme.execute(Freeze(request_id=request_id(), account=ACME, memo=Memo(description="disputed")))

    assert done(held_aside(acme, 1)).hold_held == 10


def test_what_is_set_aside_outlasts_its_lot_and_then_lapses(acme, clock):
    acme.execute(granting(10, **PAID, ttl=DAY))
    held = done(held_aside(acme, 1))
    clock.now += 50 * DAY

    assert lines_of(done(acme.execute(releasing(held)))) == [
        ("held", "available", 10, 1),
        ("available", "breakage", 10, 1),
    ]


def used_of_limit(ledger):
    (use,) = ledger.account(ACME).limits
    return use.used


def test_no_spend_limit_counts_what_is_set_aside_but_what_is_captured_of_it(acme, clock):
    limit = SpendLimit(name="daily", window=Window.DAY, amount=5)
    acme.execute(UpdateAccount(request_id=request_id(), account=ACME, limits=(limit,)))
    acme.execute(granting(10))
    held = done(held_aside(acme, 1))
    counted = [used_of_limit(acme)]
    clock.now += DAY
    captured = done(acme.execute(capturing(held, 4)))
    counted.append(used_of_limit(acme))
    acme.execute(refunding(captured, 3))
    counted.append(used_of_limit(acme))

    assert counted == [0, 4, 1]


def test_a_lot_that_was_set_aside_was_not_burnt(acme):
    acme.execute(granting(10))
    acme.execute(granting(10))
    held = done(held_aside(acme, 2))
    (moved,) = acme.explain(ACME.tenant, entry_id_of(held)).moved

    assert (moved.line.lot, moved.burnt, moved.rule) == (2, False, None)


def entry_id_of(entry):
    return public_id(IdPrefix.ENTRY, entry.key, entry.seq)


def test_the_hold_knows_its_lot(acme):
    acme.execute(granting(10))
    held_aside(acme, 1)
    (hold,) = acme.holds(ACME).holds

    assert (hold.lot, hold.state, hold.expires_at) == (1, HoldState.OPEN, START + 100 * DAY)


def test_what_ran_out_lives_on_as_a_new_lot_with_its_share_of_the_cost(acme, clock):
    acme.execute(granting(3, **PAID, ttl=DAY, priority=7, scope=("image/*",)))
    acme.execute(deducting(1, operation="image/small"))
    clock.now += DAY

    rolled = done(acme.execute(RollOver(**of_lot(1), amount=2, ttl=DAY)))

    assert lines_of(rolled) == [("breakage", "available", 2, 2)]
    (made,) = rolled.made
    old = acme.lots(ACME, include_empty=True).lots[-1].terms
    cost = Money(minor_units=67, currency="EUR")
    assert made.terms == replace(old, effective_at=clock.now, expires_at=clock.now + DAY, cost=cost)
    (journal,) = acme.money_trial_balance(ACME.tenant).currencies
    assert {row.code.value: row.balance for row in journal.rows if row.balance} == {
        "payments": 100,
        "deferred": -67,
        "revenue": -33,
    }


def test_what_rolls_over_repays_debt_first(acme, clock):
    acme.execute(granting(10, **PAID, ttl=DAY))
    clock.now += DAY
    acme.execute(deducting(4, mode=DeductMode.RECORD))

    rolled = done(acme.execute(RollOver(**of_lot(1), amount=10)))

    assert lines_of(rolled) == [("breakage", "available", 10, 2), ("available", "owed", 4, 2)]
    assert (rolled.available, rolled.owed) == (6, 0)


def test_what_was_written_off_is_owed_again_and_repaid_when_its_money_comes_in_after_all(acme):
    acme.execute(granting(10, **PAID))
    acme.execute(deducting(6))
    acme.execute(Revoke(**of_lot(1), spent=SpentPart.WRITE_OFF))

    back = done(acme.execute(granting(10, **PAID, revives=6)))

    assert lines_of(back) == [
        ("payments", "available", 10, 2),
        ("owed", "adjustments", 6, None),
        ("available", "owed", 6, 2),
    ]
    assert (back.available, back.owed) == (4, 0)
    # As if the money had never been away, in credits and in money.
    (balance,) = acme.trial_balance(ACME.tenant).assets
    assert {row.code.value: row.balance for row in balance.rows if row.balance} == {
        "available": -4,
        "payments": 10,
        "revenue": -6,
    }
    (journal,) = acme.money_trial_balance(ACME.tenant).currencies
    assert {row.code.value: row.balance for row in journal.rows if row.balance} == {
        "payments": 100,
        "deferred": -40,
        "revenue": -60,
    }


def test_what_is_owed_again_stays_owed_if_the_lot_cannot_pay_for_it_yet(acme):
    later = done(acme.execute(granting(10, **PAID, revives=6, effective_at=START + DAY)))

    assert lines_of(later) == [("payments", "available", 10, 1), ("owed", "adjustments", 6, None)]
    assert (later.available, later.owed) == (10, 6)


def test_no_more_rolls_over_than_may_have_run_out(acme, clock):
    acme.execute(granting(10, **PAID, ttl=DAY))
    acme.execute(deducting(4))
    clock.now += DAY

    refused = acme.execute(RollOver(**of_lot(1), amount=7))

    assert isinstance(refused, Refused)
    assert (refused.reason, refused.figures["revocable"]) == (Reason.AMOUNT_ABOVE_REVOCABLE, 6)


def test_what_would_have_run_out_already_does_not_roll_over(acme, clock):
    acme.execute(granting(10, **PAID, ttl=DAY))
    clock.now += DAY

    refused = acme.execute(RollOver(**of_lot(1), amount=7, expires_at=clock.now))

    assert isinstance(refused, Refused)
    assert refused.reason is Reason.EXPIRY_IN_PAST


def test_as_much_as_can_be_is_taken_back_even_if_that_is_nothing(acme):
    acme.execute(granting(10, **PAID))
    acme.execute(holding(6))
    at_most = {"spent": SpentPart.WRITE_OFF, "at_most": True, "amount": 9}

    some, nothing = (done(acme.execute(Revoke(**of_lot(1), **at_most))) for _ in range(2))

    assert lines_of(some) == [("available", "payments", 4, 1)]
    assert lines_of(nothing) == []
    assert some.moved(Code.AVAILABLE, Code.PAYMENTS) == 4


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: HoldLot(**of_lot(1), ttl=400 * DAY + MICROSECOND), "ttl"),
        (lambda: HoldLot(**of_lot(1), ttl=DAY, amount=0), "amount"),
        (lambda: RollOver(**of_lot(1), amount=0), "amount"),
        (lambda: granting(10, revives=11), "revives"),
        (lambda: granting(10, revives=-1), "revives"),
        (lambda: RollOver(**of_lot(1), amount=1, ttl=DAY, expires_at=START), "ttl"),
    ],
    ids=["too long", "nothing set aside", "nothing rolled over", "more again", "less again", "two ends"],
)
def test_what_is_malformed_cannot_be_made(make, field):
    with pytest.raises(MalformedError) as error:
        make()

    assert [violation.field for violation in error.value.violations] == [field]
