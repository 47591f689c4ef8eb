"""What is known of a payment does not depend on how it was told; and what follows from it equals a dumb model."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import (
    AutoRecharge,
    DisputeSeen,
    DisputeStatus,
    NotPaid,
    Order,
    OrderKind,
    OrderState,
    Paid,
    RefundedInAll,
    RefundSeen,
    RefundStatus,
    SaleRules,
    SpentPart,
)
from ledger.billing.bodies import body_of, value_of
from ledger.sales.learning import learn
from ledger.sales.payment import has_taken_money
from ledger.sales.recharge import BACK_OFF, declined, month_of, served
from tests.books import START
from tests.selling import Shop, eur, order_of, package

OPEN, WON, LOST = DisputeStatus.OPEN, DisputeStatus.WON, DisputeStatus.LOST
SECOND = timedelta(seconds=1)


def refund(name, amount, status=RefundStatus.SUCCEEDED):
    return RefundSeen(refund=name, amount=amount, status=status)


def dispute(name, amount, status=OPEN, at=0, **flags):
    return DisputeSeen(dispute=name, amount=amount, status=status, at=START + at * SECOND, **flags)


def paid(minor_units, at=0, *, livemode=False, currency="EUR"):
    money = eur(minor_units) if currency == "EUR" else None
    return Paid(money=money, livemode=livemode, at=START + at * SECOND)


REFUND_LIVES = (
    (RefundStatus.SUCCEEDED,),
    (RefundStatus.PENDING,),
    (RefundStatus.PENDING, RefundStatus.SUCCEEDED),
    (RefundStatus.PENDING, RefundStatus.FAILED),
    (RefundStatus.PENDING, RefundStatus.SUCCEEDED, RefundStatus.FAILED),
    (RefundStatus.REQUIRES_ACTION, RefundStatus.CANCELED),
)
# Status, withdrawn, reinstated; each seen after the one before.
DISPUTE_LIVES = (
    ((OPEN, False, False),),
    ((OPEN, False, False), (OPEN, True, False)),
    ((OPEN, False, False), (OPEN, True, False), (LOST, True, False)),
    ((OPEN, False, False), (OPEN, True, False), (WON, True, False), (WON, True, True)),
    ((OPEN, False, False), (OPEN, True, False), (OPEN, True, True), (WON, False, True)),
    ((OPEN, False, False), (WON, False, False)),
    ((OPEN, False, False), (LOST, False, False)),
)


@st.composite
def lives(draw):
    """A price, and all facts of one payment, in the order in which they happen."""
    price = draw(st.integers(1, 300))
    facts = [paid(price)]
    for name in draw(st.lists(st.sampled_from(["re_1", "re_2", "re_3"]), unique=True)):
        amount = draw(st.integers(1, price))
        facts += [refund(name, amount, status) for status in draw(st.sampled_from(REFUND_LIVES))]
        if draw(st.booleans()):
            facts.append(RefundedInAll(amount=amount))
    for name in draw(st.lists(st.sampled_from(["du_1", "du_2"]), unique=True)):
        amount = draw(st.integers(1, price))
        for at, (status, withdrawn, reinstated) in enumerate(draw(st.sampled_from(DISPUTE_LIVES))):
            facts.append(dispute(name, amount, status, at, withdrawn=withdrawn, reinstated=reinstated))
    return price, facts


def shuffled(draw, facts):
    """In any order, and some of them more than once."""
    again = draw(st.lists(st.sampled_from(facts), max_size=4))
    return draw(st.permutations([*facts, *again]))


@given(lives(), st.data())
def test_what_is_known_of_a_payment_does_not_depend_on_how_it_was_told(life, data):
    price, facts = life
    order = order_of(package(price=price))

    told, all_at_once = order, learn(order, facts)
    for fact in shuffled(data.draw, facts):
        told = learn(told, [fact])

    assert told == all_at_once
    assert learn(told, facts) == told


def expected(sold, facts, spent, policy):
    """Available, held and owed at the end, reckoned dumbly: nothing of what happened in between matters."""
    price = sold.price.minor_units
    (content,) = sold.contents
    payment = learn(order_of(sold), facts).payment
    returned = payment.returned(price)
    # Free credits burn before paid ones.
    bonus_spent = min(spent, content.bonus_credits)
    bonus_taken = min(content.bonus_credits * returned // price, content.bonus_credits - bonus_spent)
    bonus = content.bonus_credits - bonus_spent - bonus_taken
    left = content.credits - (spent - bonus_spent) - content.credits * returned // price
    owed = max(-left, 0) if policy is SpentPart.OWE else 0
    held, before = 0, returned
    for one in payment.open_disputes:
        upto = min(before + one.amount, price)
        for whole, side in ((content.credits, "credits"), (content.bonus_credits, "bonus")):
            share = whole * upto // price - whole * before // price
            there = max(left, 0) if side == "credits" else bonus
            taken = min(share, there)
            held += taken
            if side == "credits":
                left -= taken if left > 0 else 0
            else:
                bonus -= taken
        before = upto
    return max(left, 0) + bonus, held, owed


@given(
    lives(),
    st.integers(1, 60),
    st.integers(0, 12),
    st.sampled_from([SpentPart.OWE, SpentPart.WRITE_OFF]),
    st.data(),
)
def test_however_a_purchase_is_told_the_books_end_the_same_and_as_a_dumb_model_says(
    life, credits_, bonus, policy, data
):
    price, facts = life
    sold = package(credits_, price, bonus)
    spent = data.draw(st.integers(0, credits_ + bonus))
    shop = Shop(order_of(sold), SaleRules(returned=policy), spends=spent)

    for fact in shuffled(data.draw, facts):
        shop.learn(fact)

    assert shop.is_settled()
    assert shop.sides() == expected(sold, facts, spent, policy)
    in_turn = Shop(order_of(sold), SaleRules(returned=policy), spends=spent)
    in_turn.learn(*facts)
    assert shop.known() == in_turn.known()


@given(lives(), st.integers(1, 60), st.integers(0, 12), st.data())
def test_what_is_held_before_and_after_is_held_after_every_batch_in_between(life, credits_, bonus, data):
    price, facts = life
    shop = Shop(order_of(package(credits_, price, bonus)), spends=data.draw(st.integers(0, credits_ + bonus)))

    for fact in shuffled(data.draw, facts):
        shop.learn(fact)

        throughout = shop.held[0] & shop.held[-1]
        assert all(held >= throughout for held in shop.held)


def test_what_is_disputed_stays_held_when_some_of_the_money_is_refunded():
    shop = Shop(order_of(package()))
    shop.learn(paid(1000), dispute("du_1", 500))

    shop.learn(refund("re_1", 300))

    assert shop.held == [{1: 50}, {1: 50}]
    assert shop.sides() == (20, 50, 0)


@given(st.integers(1, 1000), st.lists(st.integers(1, 300), min_size=1, max_size=6))
def test_refunds_in_parts_take_back_exactly_all_of_it(credits_, parts):
    price = sum(parts)
    shop = Shop(order_of(package(credits_, price)))
    shop.learn(paid(price))

    for number, part in enumerate(parts):
        shop.learn(refund(f"re_{number}", part))

    assert shop.sides() == (0, 0, 0)
    assert shop.order.state is OrderState.RETURNED


def test_paid_beats_failed_whichever_comes_first():
    failed = NotPaid(why="expired", is_final=True, at=START)
    early, late = Shop(order_of(package())), Shop(order_of(package()))

    early.learn(paid(1000), failed)
    late.learn(failed)
    state = late.order.state
    late.learn(paid(1000))

    assert state is OrderState.FAILED
    assert early.order.state is late.order.state is OrderState.FULFILLED


def test_a_card_that_is_declined_fails_a_recharge_but_not_a_checkout_where_another_may_be_tried():
    declined_once = NotPaid(why="card_declined", is_final=False, at=START)

    checkout = learn(order_of(package()), [declined_once])
    recharge = learn(order_of(package(), OrderKind.RECHARGE), [declined_once])

    assert (checkout.state, recharge.state) == (OrderState.OPEN, OrderState.FAILED)


@pytest.mark.parametrize(
    "wrong",
    [
        paid(999),
        paid(1001),
        Paid(money=eur(1000), livemode=True, at=START),
        Paid(money=type(eur(0))(minor_units=1000, currency="USD"), livemode=False, at=START),
    ],
)
def test_what_is_paid_otherwise_than_ordered_grants_nothing_until_the_right_payment_is_told(wrong):
    shop = Shop(order_of(package()))

    shop.learn(wrong)
    mismatched = (shop.order.state, shop.sides(), bool(shop.order.why))
    shop.learn(paid(1000, at=9))

    assert mismatched == (OrderState.MISMATCHED, (0, 0, 0), True)
    assert (shop.order.state, shop.sides(), shop.order.why) == (OrderState.FULFILLED, (100, 0, 0), "")


def test_what_a_customer_holds_is_revoked_when_it_has_come_back():
    shop = Shop(order_of(package()))
    shop.learn(paid(1000))
    hold = shop.hold(60)

    shop.learn(refund("re_1", 1000))
    blocked = (shop.sides(), shop.order.look_again_at)
    shop.release(hold)
    shop.settle()

    assert blocked == ((0, 60, 0), START + timedelta(minutes=1))
    assert (shop.sides(), shop.order.look_again_at) == ((0, 0, 0), None)


@pytest.mark.parametrize(("used", "owed"), [("released", 0), ("captured", 50)])
def test_what_a_customer_holds_is_neither_spent_nor_taken_until_it_is_decided(used, owed):
    shop = Shop(order_of(package()), spends=40)
    shop.learn(paid(1000))
    hold = shop.hold(60)

    shop.learn(refund("re_1", 500))
    undecided = shop.sides()
    if used == "captured":
        shop.capture(hold)
    else:
        shop.release(hold)
    shop.settle()

    assert undecided == (0, 60, 0)
    assert shop.sides() == (10 if used == "released" else 0, 0, owed)


def test_what_was_given_back_and_spent_is_owed_only_once_nothing_unspent_is_left():
    shop = Shop(order_of(package(price=1001)))
    shop.learn(paid(1001), refund("re_1", 501))
    # The lot that is made when the refund fails costs less for each credit, and burns first.
    shop.learn(refund("re_1", 501, RefundStatus.FAILED))
    shop.spend(60)

    shop.learn(refund("re_2", 501))

    assert shop.sides() == (0, 0, 10)


@pytest.mark.parametrize("days", [1, 31])
def test_what_is_owed_after_half_of_it_is_refunded_does_not_depend_on_when_the_rest_ran_out(days):
    shop = Shop(order_of(package(validity=timedelta(days=30))), spends=40)
    shop.learn(paid(1000))
    shop.later(days=days)

    shop.learn(refund("re_1", 500))
    shop.later(days=31)
    shop.settle()
    run_out = shop.sides()
    shop.learn(refund("re_2", 200))

    assert run_out[1:] == (0, 0)
    assert shop.sides()[2] == 10


def test_what_is_disputed_is_held_until_it_runs_out():
    shop = Shop(order_of(package(validity=timedelta(days=30))), spends=40)
    shop.learn(paid(1000), dispute("du_1", 500))
    held, again = shop.sides(), shop.order.look_again_at
    shop.later(days=31)
    shop.settle()

    assert (held, again) == ((10, 50, 0), START + timedelta(days=30))
    assert (shop.sides(), shop.order.holds) == ((0, 0, 0), ())


def test_what_has_run_out_cannot_be_revoked_and_is_not_tried_again():
    shop = Shop(order_of(package(validity=timedelta(days=30))), spends=40)
    shop.learn(paid(1000))
    shop.later(days=31)

    shop.learn(refund("re_1", 1000))

    # What was spent is owed; what ran out is gone.
    assert shop.sides() == (0, 0, 40)
    assert shop.order.look_again_at is None


def test_what_comes_back_after_its_time_repays_what_is_owed_and_the_rest_lapses():
    shop = Shop(order_of(package(validity=timedelta(days=30))), spends=40)
    shop.learn(paid(1000), dispute("du_1", 1000, withdrawn=True))
    shop.later(days=31)

    shop.learn(dispute("du_1", 1000, WON, at=1))
    owed = shop.sides()[2]
    shop.later(seconds=2)
    shop.settle()

    assert owed == 0


@given(lives())
def test_an_order_is_kept_as_text_and_comes_back_as_it_was(life):
    price, facts = life
    shop = Shop(order_of(package(50, price, 10, validity=timedelta(days=3, microseconds=1))), spends=20)
    shop.learn(*facts)

    assert value_of(Order, body_of(shop.order)) == shop.order


def test_a_dispute_counts_by_what_is_known_of_the_money():
    assert not has_taken_money(dispute("du_1", 1))
    assert has_taken_money(dispute("du_1", 1, withdrawn=True))
    assert not has_taken_money(dispute("du_1", 1, withdrawn=True, reinstated=True))
    assert has_taken_money(dispute("du_1", 1, LOST))
    assert not has_taken_money(dispute("du_1", 1, WON, withdrawn=True))


def test_a_recharge_that_is_declined_waits_longer_each_time_and_is_disabled_in_the_end():
    recharge = AutoRecharge(tenant="default", account_id="acme", enabled=False)
    waits = []
    for _ in BACK_OFF:
        recharge = declined(recharge, START)
        waits.append(recharge.retry_at - START)
    recharge = declined(recharge, START)

    assert waits == [timedelta(hours=1), timedelta(hours=6)]
    assert (recharge.declines, recharge.enabled) == (3, False)
    assert served(recharge, 0).declines == 0
    assert month_of(START + timedelta(days=40)) == START + timedelta(days=31)
