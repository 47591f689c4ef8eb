"""What the invoices of a subscription do to the books: periods, changes, what lives on, use without limit."""

from datetime import timedelta
from itertools import permutations

import pytest

from ledger import (
    Checkout,
    Close,
    EventState,
    Granted,
    OpenAccount,
    OrderKind,
    OrderState,
    PlanContent,
    Reading,
    Reason,
    Rollover,
    SubscriptionState,
)
from tests.sales import (
    DAY,
    FAILED,
    OURS,
    URLS,
    WON,
    Shop,
    account,
    days,
    dispute,
    invoice,
    line,
    lots,
    paid,
    pay,
    plan,
    refund,
    seen,
)

JANUARY, FEBRUARY = line(0, 31), line(31, 59)
ROLLING = PlanContent(credits=100, rollover=Rollover(share_percent=50, cap=30))


@pytest.fixture
def shop(ledger, clock):
    ledger.define_asset("default", "calls", 0)
    return Shop(ledger, clock=clock)


def test_a_paid_invoice_grants_the_credits_of_its_period(shop):
    shop.billing.put_plan("default", plan(grace=2 * DAY))

    pay(shop, "in_1", JANUARY)

    (order,) = shop.billing.orders("default").orders
    (subscription,) = shop.billing.subscriptions("default", "acme").subscriptions
    assert (order.kind, order.state, order.stripe_id) == (OrderKind.INVOICE, OrderState.FULFILLED, "in_1")
    assert (subscription.plan, subscription.state) == ("pro", SubscriptionState.ACTIVE)
    assert subscription.paid_until == days(31)
    assert lots(shop) == [(100, 33)]


def test_the_checkout_of_a_plan_grants_nothing_and_its_invoices_are_the_customers(shop):
    shop.billing.put_plan("default", plan())
    asked = Checkout(tenant="default", request_id="r", account_id="acme", plan="pro", **URLS)
    order = shop.billing.create_checkout(asked).order
    shop.event(paid(), refs=("cs_1",), order_id=order.order_id, subscription="sub_1")
    before = shop.ledger.balances("default", "acme").reason

    # It tells nothing of whose it is.
    shop.event(invoice("in_1", JANUARY), refs=("in_1",), subscription="sub_1")

    assert before is Reason.ACCOUNT_NOT_FOUND
    assert shop.order(order.order_id).state is OrderState.FULFILLED
    assert shop.sides() == (100, 0, 0)


def test_an_invoice_with_a_price_of_no_plan_waits_for_one(shop):
    event = pay(shop, "in_1", JANUARY)

    shop.billing.put_plan("default", plan())
    shop.pending(shop.told)

    assert event.state is EventState.SET_ASIDE
    assert shop.sides() == (100, 0, 0)


def test_an_annual_plan_grants_its_months_ahead_each_for_its_month(shop, clock):
    shop.billing.put_plan("default", plan(granted=Granted.MONTHLY))

    pay(shop, "in_1", line(0, 365, amount=12_000), minor_units=12_000)
    spendable = shop.ledger.balances("default", "acme").balances[0]
    clock.now = days(31)

    assert len(lots(shop)) == 12
    assert (spendable.available, spendable.pending) == (100, 1100)
    costs = [lot.terms.cost.minor_units for lot in shop.ledger.lots(account(), include_empty=True).lots]
    assert sum(costs) == 12_000


@pytest.mark.parametrize(
    ("part", "left", "owed"),
    [
        # The month that has begun, what is to come, and what is owed: of 1,200 credits, 150 are used.
        (1000, (50, 900), 0),
        (6000, (50, 400), 0),
        (10_500, (0, 0), 0),
        (11_000, (0, 0), 50),
        (12_000, (0, 0), 150),
    ],
)
def test_a_refund_of_a_year_takes_the_last_of_its_months_first(shop, clock, part, left, owed):
    shop.billing.put_plan("default", plan(granted=Granted.MONTHLY))
    pay(shop, "in_1", line(0, 365, amount=12_000), minor_units=12_000)
    shop.spend(100)
    clock.now = days(31)
    shop.spend(50)

    def standing():
        (balance,) = shop.ledger.balances("default", "acme").balances
        return (balance.available, balance.pending), balance.owed

    shop.event(dispute(part), refs=("in_1",))
    held = shop.sides()[1]
    shop.event(dispute(part, withdrawn=True), refs=("in_1",))
    withdrawn = standing()
    shop.event(dispute(part, status=WON, at=1, withdrawn=True, reinstated=True), refs=("in_1",))

    assert held == min(part // 10, 1050)
    assert withdrawn == (left, owed)
    assert standing() == ((50, 1000), 0)
    assert shop.ledger.audit("default").findings == ()


def test_what_is_unused_of_a_period_lives_on_in_the_next_by_share_and_cap(shop, clock):
    shop.billing.put_plan("default", plan(ROLLING))
    pay(shop, "in_1", JANUARY)
    shop.spend(50)
    clock.now = days(31)

    pay(shop, "in_2", FEBRUARY, at=31)
    shop.billing.settle_due()

    # Of the 50 that ran out, half.
    assert sorted(lots(shop)) == [(0, 31), (25, 59), (100, 59)]
    assert shop.billing.settle_due() == ()


@pytest.mark.parametrize(
    ("refunded", "amount", "left"),
    [
        # What lives on goes; what ran out counts as unspent, so that what was spent is owed only beyond that.
        ("in_1", 1000, (100, 0, 50)),
        ("in_1", 600, (100, 0, 10)),
        ("in_1", 400, (100, 0, 0)),
        ("in_1", 200, (105, 0, 0)),
        # What lives on was paid with the period before.
        ("in_2", 1000, (25, 0, 0)),
    ],
)
def test_a_refund_takes_what_lives_on_of_the_credits_that_were_paid_with_it(shop, clock, refunded, amount, left):
    shop.billing.put_plan("default", plan(ROLLING))
    pay(shop, "in_1", JANUARY)
    shop.spend(50)
    clock.now = days(31)
    pay(shop, "in_2", FEBRUARY, at=31)
    shop.billing.settle_due()

    shop.event(refund(amount), refs=(refunded,))
    taken = shop.sides()
    shop.event(refund(amount, status=FAILED), refs=(refunded,))

    assert taken == left
    assert shop.sides() == (125, 0, 0)
    assert {ends for remaining, ends in lots(shop) if remaining} == {59}


@pytest.mark.parametrize("after_the_end", [False, True])
def test_what_was_given_back_lives_on_like_what_was_never_away(shop, clock, after_the_end):
    shop.billing.put_plan("default", plan(ROLLING))
    pay(shop, "in_1", JANUARY)
    shop.spend(50)
    shop.event(refund(400), refs=("in_1",))
    away = shop.sides()

    if not after_the_end:
        shop.event(refund(400, status=FAILED), refs=("in_1",))
    clock.now = days(31)
    pay(shop, "in_2", FEBRUARY, at=31)
    shop.billing.settle_due()
    if after_the_end:
        shop.event(refund(400, status=FAILED), refs=("in_1",))
        clock.now += timedelta(minutes=2)
        shop.billing.settle_due()

    # Half of the 50 that ran out.
    assert away == (10, 0, 0)
    assert shop.sides() == (125, 0, 0)


def test_what_lives_on_waits_until_the_period_has_run_out(shop, clock):
    shop.billing.put_plan("default", plan(ROLLING, grace=2 * DAY))
    pay(shop, "in_1", JANUARY)
    clock.now = days(31)
    pay(shop, "in_2", FEBRUARY, at=31)
    shop.billing.settle_due()
    before = shop.sides()

    clock.now = days(33)
    shop.billing.settle_due()

    assert before == (200, 0, 0)
    # Half of it, and 30 at most.
    assert shop.sides() == (130, 0, 0)


def test_what_is_unused_of_a_month_lives_on_in_the_next_month_of_a_year(shop, clock):
    shop.billing.put_plan("default", plan(ROLLING, granted=Granted.MONTHLY))
    pay(shop, "in_1", line(0, 365), minor_units=12_000)
    shop.spend(60)
    found = []

    for day in (31, 59, 90):
        clock.now = days(day)
        shop.billing.settle_due()
        found.append(sorted((ends, remaining) for remaining, ends in lots(shop) if remaining and ends <= day + 31))

    # Half of the 40 of January; half of February's 100, but 30 at most. What was carried over once is not again.
    assert found == [[(59, 20), (59, 100)], [(90, 30), (90, 100)], [(120, 30), (120, 100)]]
    assert shop.ledger.audit("default").findings == ()


def test_the_last_month_of_a_year_lives_on_in_the_first_of_the_next(shop, clock):
    shop.billing.put_plan("default", plan(ROLLING, granted=Granted.MONTHLY))
    pay(shop, "in_1", line(0, 365), minor_units=12_000)
    clock.now = days(364)
    shop.billing.settle_due()
    clock.now = days(365)

    pay(shop, "in_2", line(365, 730), at=365, minor_units=12_000)
    shop.billing.settle_due()

    assert sorted(ends for remaining, ends in lots(shop) if remaining == 30) == [396]


@pytest.mark.parametrize("order", list(permutations(["evt_1", "evt_2", "evt_3"])))
def test_the_invoices_of_a_subscription_may_come_in_any_order(shop, clock, order):
    shop.billing.put_plan("default", plan(ROLLING))
    shop.billing.put_plan("default", plan(PlanContent(credits=300), name="max", price="price_max"))
    clock.now = days(32)
    change = (line(45, 59, amount=-500, proration=True), line(45, 59, price="price_max", amount=1500, proration=True))
    readings = {
        "evt_1": Reading(event_id="evt_1", refs=("in_1",), facts=(invoice("in_1", JANUARY),), **OURS),
        "evt_2": Reading(event_id="evt_2", refs=("in_2",), facts=(invoice("in_2", FEBRUARY, at=31),), **OURS),
        "evt_3": Reading(event_id="evt_3", refs=("in_3",), facts=(invoice("in_3", *change, at=45),), **OURS),
    }

    for name in order:
        shop.store(name)
        shop.billing.apply_event(readings[name])
        shop.pending(readings.values())
    shop.billing.settle_due()
    shop.ledger.sweep()
    clock.now += timedelta(minutes=2)
    shop.billing.settle_due()

    # February's 100, half of the credits given for 28 days more, of 200 more; and of January all ran out: 30 live on.
    assert shop.set_aside() == set()
    assert shop.sides() == (100 + 100 + 30, 0, 0)


def test_cancelling_keeps_what_was_granted_to_its_end(shop, clock):
    shop.billing.put_plan("default", plan())
    pay(shop, "in_1", JANUARY)

    shop.event(seen(SubscriptionState.ENDED, at=10), refs=(), **OURS)
    # What is late does not bring it back.
    shop.event(seen(SubscriptionState.ACTIVE, at=20, event="evt_late"), refs=(), **OURS)

    (subscription,) = shop.billing.subscriptions("default").subscriptions
    assert subscription.state is SubscriptionState.ENDED
    assert shop.sides() == (100, 0, 0)


def test_the_newest_event_says_how_a_subscription_stands(shop):
    shop.billing.put_plan("default", plan())
    for state, at in ((SubscriptionState.PAUSED, 5), (SubscriptionState.UNPAID, 3), (SubscriptionState.ACTIVE, 1)):
        shop.event(seen(state, at=at, event=f"evt_{at}"), refs=(), **OURS)

    (subscription,) = shop.billing.subscriptions("default").subscriptions
    assert subscription.state is SubscriptionState.PAUSED


def test_an_invoice_that_is_refunded_takes_its_credits_back(shop):
    shop.billing.put_plan("default", plan())
    pay(shop, "in_1", JANUARY)

    shop.event(refund(500), refs=("re_1", "in_1"))

    assert shop.sides() == (50, 0, 0)


def test_a_trial_grants_for_nothing(shop):
    shop.billing.put_plan("default", plan())

    pay(shop, "in_1", line(0, 14, amount=0), minor_units=0)

    assert lots(shop) == [(100, 14)]
    assert shop.billing.orders("default").orders[0].state is OrderState.FULFILLED


def test_an_unlimited_plan_covers_all_use_while_it_is_active_and_paid(shop, clock):
    shop.billing.put_plan("default", plan(PlanContent(unlimited=True), PlanContent(asset="calls", credits=5)))
    shop.event(seen(), refs=(), **OURS)
    before = shop.ledger.balances("default", "acme").reason
    pay(shop, "in_1", JANUARY)
    covered = [shop.ledger.account(account()).account.terms.unlimited, shop.spend(1_000_000).entry.used]

    for state, at in ((SubscriptionState.UNPAID, 2), (SubscriptionState.ACTIVE, 3), (SubscriptionState.ENDED, 4)):
        shop.event(seen(state, at=at, event=f"evt_{at}"), refs=(), **OURS)
        covered.append(shop.ledger.account(account()).account.terms.unlimited)

    assert before is Reason.ACCOUNT_NOT_FOUND
    assert covered == [True, 1_000_000, False, True, False]
    assert shop.sides("calls") == (5, 0, 0)


def test_another_subscription_goes_on_covering_what_the_first_did(shop):
    shop.billing.put_plan("default", plan(PlanContent(unlimited=True)))
    pay(shop, "in_1", JANUARY)
    other = {**OURS, "subscription": "sub_2"}
    shop.event(invoice("in_2", JANUARY, subscription="sub_2"), refs=("in_2",), **other)

    shop.event(seen(SubscriptionState.ENDED, at=5), refs=(), **OURS)

    assert shop.ledger.account(account()).account.terms.unlimited


def test_a_quantity_multiplies_what_is_granted(shop):
    shop.billing.put_plan("default", plan())

    pay(shop, "in_1", line(0, 31, quantity=3))

    assert shop.sides() == (300, 0, 0)


def test_a_quantity_that_no_account_can_have_is_set_aside(shop):
    shop.billing.put_plan("default", plan())

    event = pay(shop, "in_1", line(0, 31, quantity=10**18))

    assert event.state is EventState.SET_ASIDE
    assert shop.ledger.balances("default", "acme").reason is Reason.ACCOUNT_NOT_FOUND


def test_what_an_invoice_paid_for_that_the_books_refuse_waits_until_it_is_applied(shop):
    shop.billing.put_plan("default", plan(PlanContent(credits=100), PlanContent(asset="calls", unlimited=True)))
    shop.ledger.execute(OpenAccount(request_id="o", account=account("calls")))
    shop.ledger.execute(Close(request_id="c", account=account("calls")))

    refused = pay(shop, "in_1", JANUARY, event_id="evt_paid")
    back = shop.event(refund(500), refs=("in_1", "re_1"), event_id="evt_back")
    shop.billing.put_plan("default", plan())
    shop.pending(shop.told)
    shop.billing.apply_event(shop.told[0])
    shop.pending(shop.told)

    assert (refused.state, back.state) == (EventState.SET_ASIDE, EventState.SET_ASIDE)
    assert ("account_closed" in refused.why, "in_1" in back.why) == (True, True)
    assert shop.set_aside() == set()
    assert shop.sides() == (50, 0, 0)


def test_subscriptions_are_listed_newest_first_in_pages_however_many_there_are(shop):
    shop.billing.put_plan("default", plan())
    names = [f"sub_{number}" for number in range(5)]
    for name in names:
        given = {**OURS, "subscription": name}
        shop.event(invoice(f"in_{name}", JANUARY, subscription=name), refs=(f"in_{name}",), **given)

    listed, token = [], ""
    while token or not listed:
        page = shop.billing.subscriptions("default", page_size=2, page_token=token)
        listed += [one.subscription for one in page.subscriptions]
        token = page.next_page_token

    assert listed == names[::-1]
    other = shop.billing.orders("default", page_size=2).next_page_token
    assert shop.billing.subscriptions("default", page_token=other).reason is Reason.INVALID_PAGE_TOKEN
