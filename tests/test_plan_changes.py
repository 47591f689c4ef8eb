"""Changes of plan in mid-period: what they grant, and what they take back of what was granted before."""

from datetime import timedelta
from itertools import permutations

import pytest

from ledger import Change, EventState, PlaceHold, PlanContent
from tests.books import capturing, merging, opening, releasing
from tests.sales import SUCCEEDED, Shop, account, days, line, lots, pay, plan, refund


@pytest.fixture
def shop(ledger, clock):
    ledger.define_asset("default", "calls", 0)
    return Shop(ledger, clock=clock)


CHANGES = {
    # Old and new credits; when in a period of 30 days; what is available at once, and how it stands later.
    "to more": (100, 300, 15, 100 + 100),
    "to more, rounded down": (100, 200, 20, 100 + 33),
    "to less": (300, 100, 15, 300 - 100),
    "to less, rounded in the customer's favour": (200, 100, 20, 200 - 33),
}


def changed(old, new, day, change=Change.PRO_RATA):
    plans = [
        plan(PlanContent(credits=old)),
        plan(PlanContent(credits=new), name="other", price="price_other", change=change),
    ]
    lines = (
        line(day, 30, amount=-10 * (30 - day), proration=True),
        line(day, 30, price="price_other", amount=11 * (30 - day), proration=True),
    )
    return plans, lines


@pytest.mark.parametrize("row", CHANGES)
def test_a_change_in_mid_period_counts_in_proportion(shop, clock, row):
    old, new, day, available = CHANGES[row]
    plans, lines = changed(old, new, day)
    for one in plans:
        shop.billing.put_plan("default", one)
    pay(shop, "in_1", line(0, 30))
    clock.now = days(day)

    pay(shop, "in_2", *lines, at=day, minor_units=100)

    assert shop.sides() == (available, 0, 0)
    assert {ends for remaining, ends in lots(shop) if remaining} == {30}


def test_a_change_to_less_takes_only_what_is_unspent(shop, clock):
    plans, lines = changed(300, 100, 15)
    for one in plans:
        shop.billing.put_plan("default", one)
    pay(shop, "in_1", line(0, 30))
    shop.spend(270)
    clock.now = days(15)

    pay(shop, "in_2", *lines, at=15, minor_units=0)

    assert shop.sides() == (0, 0, 0)


def test_a_change_at_renewal_does_nothing_before(shop, clock):
    plans, lines = changed(100, 300, 15, Change.AT_RENEWAL)
    for one in plans:
        shop.billing.put_plan("default", one)
    pay(shop, "in_1", line(0, 30))
    clock.now = days(15)
    pay(shop, "in_2", *lines, at=15)
    before = shop.sides()
    clock.now = days(30)

    pay(shop, "in_3", line(30, 60, price="price_other"), at=30)

    assert (before, shop.sides()) == ((100, 0, 0), (300, 0, 0))


def test_a_change_before_its_period_is_known_waits_for_it(shop, clock):
    plans, lines = changed(100, 300, 15)
    for one in plans:
        shop.billing.put_plan("default", one)
    clock.now = days(15)

    early = pay(shop, "in_2", *lines, at=15, minor_units=100)
    pay(shop, "in_1", line(0, 30))
    shop.pending(shop.told)

    assert early.state is EventState.SET_ASIDE
    assert shop.sides() == (200, 0, 0)


def to(shop, day, *, old, new, name=""):
    """A change in mid-period from one plan to another, which is billed at once; answers its event."""
    left = 30 - day
    lines = (
        line(day, 30, price=f"price_{old}", amount=-PLANS[old] * left, proration=True),
        line(day, 30, price=f"price_{new}", amount=PLANS[new] * left, proration=True),
    )
    return pay(shop, name or f"in_{day}_{new}", *lines, at=day, minor_units=max((PLANS[new] - PLANS[old]) * left, 0))


# What plans grant for 30 days; it is what a day of them costs, too.
PLANS = {"pro": 100, "max": 1000, "mini": 40}


def put(shop, name, credits_=None, **given):
    content = PlanContent(credits=PLANS[name] if credits_ is None else credits_)
    shop.billing.put_plan("default", plan(content, name=name, price=f"price_{name}", **given))


@pytest.fixture
def plans(shop):
    for name in PLANS:
        put(shop, name)
    return shop


@pytest.mark.parametrize("spent", [0, 60, 120])
def test_up_and_down_again_in_one_period_leaves_what_the_plan_has(plans, clock, spent):
    pay(plans, "in_1", line(0, 30))
    clock.now = days(15)

    to(plans, 15, old="pro", new="max")
    up = plans.sides()
    if spent:
        plans.spend(spent)
    to(plans, 15, old="max", new="pro", name="in_down")

    assert up == (550, 0, 0)
    assert plans.sides() == (max(100 - spent, 0), 0, 0)


def test_what_is_taken_back_is_of_the_newest_credits_first(plans, clock):
    pay(plans, "in_1", line(0, 30))
    clock.now = days(15)
    to(plans, 15, old="pro", new="max")
    clock.now = days(20)

    to(plans, 20, old="max", new="mini")

    # Of 960 the third: 320, all of the change to more.
    assert sorted(remaining for remaining, _ in lots(plans)) == [100, 450 - 320]


@pytest.mark.parametrize("order", list(permutations(["in_1", "up", "down", "less"])))
def test_changes_of_one_period_may_be_told_in_any_order(plans, clock, order):
    clock.now = days(25)
    tell = {
        "in_1": lambda: pay(plans, "in_1", line(0, 30)),
        "up": lambda: to(plans, 15, old="pro", new="max"),
        "down": lambda: to(plans, 18, old="max", new="pro"),
        "less": lambda: to(plans, 21, old="pro", new="mini"),
    }

    for name in order:
        tell[name]()
        plans.pending(plans.told)

    # 450 more; then of 900 the 12 days that are left, and of 60 the 9.
    assert plans.set_aside() == set()
    assert plans.sides() == (100 + 450 - 360 - 18, 0, 0)


def test_a_change_from_what_was_never_billed_waits_some_minutes_and_counts_all_the_same(plans, clock):
    pay(plans, "in_1", line(0, 30))
    clock.now = days(20)

    event = to(plans, 20, old="max", new="mini")
    plans.billing.settle_due()
    before = plans.billing.pending_events()
    clock.now += timedelta(days=1)
    plans.billing.settle_due()
    plans.pending(plans.told)

    assert (event.state, before) == (EventState.SET_ASIDE, ())
    assert "an earlier change" in event.why
    # Of 960 the third is more than there is.
    assert plans.sides() == (0, 0, 0)


def test_less_of_the_second_of_two_items_takes_of_what_both_granted(plans, clock):
    pay(plans, "in_1", line(0, 30), line(0, 30, price="price_max"))
    clock.now = days(15)

    to(plans, 15, old="max", new="mini", name="in_2")

    down = order_of(plans, "in_2")
    assert plans.sides() == (1100 - 480, 0, 0)
    assert down.look_again_at is None


def order_of(shop, stripe_id):
    return next(order for order in shop.billing.orders("default").orders if order.stripe_id == stripe_id)


def test_less_of_what_was_never_granted_waits_for_nothing(plans, clock):
    pay(plans, "in_1", line(0, 30))
    shop = plans
    shop.billing.put_plan("default", plan(PlanContent(asset="calls", credits=9), name="late", price="price_late"))
    clock.now = days(15)
    lines = (
        line(15, 30, price="price_late", amount=-500, proration=True),
        line(15, 30, price="price_mini", amount=100, proration=True),
    )

    pay(shop, "in_2", *lines, at=15, minor_units=0)
    clock.now += timedelta(days=1)
    shop.billing.settle_due()
    shop.pending(shop.told)

    down = order_of(shop, "in_2")
    assert (down.granted, down.look_again_at) == (True, None)
    assert shop.sides() == (100 + 20, 0, 0)


@pytest.mark.parametrize("edited", ["pro", "max"])
def test_what_is_given_up_counts_as_it_was_sold_whatever_the_plan_is_now(plans, clock, edited):
    pay(plans, "in_1", line(0, 30))
    clock.now = days(15)
    if edited == "max":
        to(plans, 15, old="pro", new="max")
    put(plans, edited, 5000)

    to(plans, 15, old=edited, new="mini", name="in_less")

    # For one half of the period what 100 credits are, for the other what 40 are.
    assert plans.sides() == (100 - 30, 0, 0)


def test_a_change_from_what_waited_for_the_renewal_gives_up_what_there_was_before(plans, clock):
    put(plans, "max", change=Change.AT_RENEWAL)
    pay(plans, "in_1", line(0, 30))
    clock.now = days(15)

    to(plans, 15, old="pro", new="max")
    to(plans, 15, old="max", new="mini", name="in_less")

    # The credits of max were never there.
    assert plans.sides() == (100 - 30, 0, 0)


def test_a_plan_that_costs_nothing_is_given_up_for_one_that_does(plans, clock):
    pay(plans, "in_1", line(0, 30, amount=0), minor_units=0)
    clock.now = days(15)
    lines = (
        line(15, 30, amount=0, proration=True),
        line(15, 30, price="price_max", amount=500, proration=True),
    )

    pay(plans, "in_2", *lines, at=15, minor_units=500)

    assert plans.sides() == (100 + 450, 0, 0)


def refunded(shop, invoice, amount, *, status=SUCCEEDED):
    shop.event(refund(amount, status=status), refs=(invoice, "re_1"))


def kept(shop):
    """What of its credits each invoice's customer has, or had and used."""
    orders = shop.billing.orders("default").orders
    return {one.stripe_id: sum(one.outstanding(sold.name) for sold in one.sold) for one in orders}


@pytest.mark.parametrize("told", list(permutations(["in_1", "up", "down", "back"])))
def test_a_change_to_less_takes_the_same_credits_whatever_money_goes_back_and_when_it_is_told(plans, clock, told):
    tell = {
        "in_1": lambda: pay(plans, "in_1", line(0, 30)),
        "up": lambda: to(plans, 15, old="pro", new="max", name="in_up"),
        "down": lambda: to(plans, 20, old="max", new="mini", name="in_down"),
        "back": lambda: refunded(plans, "in_up", 6750),
    }
    clock.now = days(20)

    for name in told:
        tell[name]()
        plans.pending(plans.told)

    # Of the 450 more, the refund takes the half, and the change 320; nothing of the first 100.
    assert plans.set_aside() == set()
    assert plans.sides() == (100, 0, 0)
    assert kept(plans) == {"in_1": 100, "in_up": 0, "in_down": 0}


@pytest.mark.parametrize("told", list(permutations(["less", "back"])))
def test_what_is_spent_is_owed_by_a_refund_as_if_the_change_to_less_had_come_first(plans, clock, told):
    pay(plans, "in_1", line(0, 30))
    plans.spend(30)
    clock.now = days(15)
    tell = {
        "less": lambda: to(plans, 15, old="pro", new="mini", name="in_less"),
        "back": lambda: refunded(plans, "in_1", 600),
    }

    for name in told:
        tell[name]()

    # The change takes 30 of the 70 that are unspent; the refund 60: the other 40, and 20 of what is spent.
    assert plans.sides() == (0, 0, 20)


@pytest.mark.parametrize("told", list(permutations(["wait", "up", "wait again", "down"])))
def test_what_was_granted_by_what_was_known_is_put_right_by_what_is_told_later(plans, clock, told):
    put(plans, "mini", change=Change.AT_RENEWAL)
    pay(plans, "in_1", line(0, 30))
    clock.now = days(25)
    tell = {
        "wait": lambda: to(plans, 10, old="pro", new="mini", name="in_a"),
        "up": lambda: to(plans, 15, old="mini", new="max", name="in_b"),
        "wait again": lambda: to(plans, 18, old="max", new="mini", name="in_c"),
        "down": lambda: to(plans, 21, old="mini", new="pro", name="in_d"),
    }

    for name in told:
        tell[name]()
        plans.pending(plans.told)

    # 900 more for a half; and 900 less for three tenths, as there still was of the dearest, all of what is newest.
    assert plans.set_aside() == set()
    assert plans.sides() == (100 + 450 - 270, 0, 0)
    assert kept(plans) == {"in_1": 100, "in_a": 0, "in_b": 180, "in_c": 0, "in_d": 0}
    assert plans.ledger.audit("default").findings == ()


def swapped(day, old, new):
    """The lines of a change in mid-period between plans of one price."""
    left = 30 - day
    return (
        line(day, 30, price=f"price_{old}", amount=-100 * left, proration=True),
        line(day, 30, price=f"price_{new}", amount=100 * left, proration=True),
    )


@pytest.mark.parametrize("is_merged", [False, True])
def test_what_an_invoice_turns_out_to_grant_later_goes_where_the_account_is(plans, clock, is_merged):
    for name, change in (("late", Change.AT_RENEWAL), ("soon", Change.PRO_RATA)):
        content = PlanContent(asset="calls", credits=20)
        plans.billing.put_plan("default", plan(content, name=name, price=f"price_{name}", change=change))
    for account_id in ("acme", "other"):
        plans.ledger.execute(opening(account("calls", account_id)))
    pay(plans, "in_1", line(0, 30))
    clock.now = days(15)
    pay(plans, "in_b", *swapped(15, "late", "soon"), at=15, minor_units=0)
    clock.now += timedelta(hours=1)
    plans.billing.settle_due()
    plans.pending(plans.told)

    if is_merged:
        plans.ledger.execute(merging(account("calls"), account("calls", "other")))
    pay(plans, "in_a", *swapped(10, "pro", "late"), at=10, minor_units=0)
    plans.billing.settle_due()

    # What was given up in the middle of the period is the first plan, for the other one waited for the renewal.
    found = plans.ledger.balances("default", "other" if is_merged else "acme", "calls").balances[0]
    assert (plans.sides(), found.available) == ((100 - 50, 0, 0), 10)
    assert [order.look_again_at for order in plans.billing.orders("default").orders] == [None] * 3


@pytest.mark.parametrize("ends", ["released", "captured"])
def test_what_the_customer_holds_is_taken_by_a_change_once_it_has_come_back(plans, clock, ends):
    pay(plans, "in_1", line(0, 30))
    clock.now = days(15)
    to(plans, 15, old="pro", new="max", name="in_up")
    # Of the 450, for they cost less.
    held = plans.ledger.execute(PlaceHold(request_id="h", account=account(), amount=500, ttl=timedelta(days=1)))

    to(plans, 15, old="max", new="mini", name="in_down")
    before = plans.sides()
    act = releasing if ends == "released" else capturing
    plans.ledger.execute(act(held.entry))
    clock.now += timedelta(minutes=2)
    plans.billing.settle_due()

    # 480 are to be taken; if 500 are spent, only the 50 that are left.
    assert before == (0, 500, 0)
    assert plans.sides() == ((70, 0, 0) if ends == "released" else (0, 0, 0))
    assert sum(kept(plans).values()) == (70 if ends == "released" else 500)
