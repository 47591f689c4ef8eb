"""What a payment does to the books, row by row; and what becomes of what cannot be done."""

from datetime import timedelta

import pytest

from ledger import (
    Checkout,
    Close,
    EventState,
    HistoryFilter,
    Memo,
    NotPaid,
    OpenAccount,
    OrderState,
    PackageContent,
    Reading,
    Reason,
    RefundedInAll,
    Refused,
    SaleRules,
    SpentPart,
)
from ledger.billing import shelf
from tests.books import ACME, holding, releasing, touch
from tests.sales import (
    FAILED,
    LOST,
    PENDING,
    URLS,
    WON,
    Shop,
    account,
    dispute,
    eur,
    package,
    paid,
    refund,
)

BONUS = package(PackageContent(credits=100, bonus_credits=20))
BUNDLE = package(PackageContent(credits=100), PackageContent(asset="calls", credits=7))
SHORT = package(PackageContent(credits=100, validity=timedelta(days=30)))
OWE, WRITE_OFF = SpentPart.OWE, SpentPart.WRITE_OFF
DAY = timedelta(days=1)
EXPIRED = NotPaid(why="expired", is_final=True, at=paid().at)
S = OrderState


# What is sold; what happens after the payment, numbers being what the customer spends; the policy; available, held and
# owed at the end; how the order stands.
ROWS = {
    "paid": (package(), [], OWE, (100, 0, 0), S.FULFILLED),
    "refunded in part, unspent": (package(), [refund(300)], OWE, (70, 0, 0), S.PARTLY_RETURNED),
    "refunded in full, unspent": (package(), [refund(1000)], OWE, (0, 0, 0), S.RETURNED),
    "refunded in full, spent: owed": (package(), [100, refund(1000)], OWE, (0, 0, 100), S.RETURNED),
    "refunded in full, spent: forgiven": (package(), [100, refund(1000)], WRITE_OFF, (0, 0, 0), S.RETURNED),
    "refunded in full, spent in part: owed": (package(), [60, refund(1000)], OWE, (0, 0, 60), S.RETURNED),
    "refunded in full, spent in part: forgiven": (package(), [60, refund(1000)], WRITE_OFF, (0, 0, 0), S.RETURNED),
    "refunded in part, unspent first": (
        package(),
        [60, refund(500)],
        OWE,
        (0, 0, 10),
        S.PARTLY_RETURNED,
    ),
    "refund told by the charge alone": (package(), [RefundedInAll(amount=300)], OWE, (70, 0, 0), S.PARTLY_RETURNED),
    "refund told twice": (package(), [refund(300), RefundedInAll(amount=300)], OWE, (70, 0, 0), S.PARTLY_RETURNED),
    "refund failed": (
        package(),
        [refund(300, status=PENDING), refund(300, status=FAILED)],
        OWE,
        (100, 0, 0),
        S.FULFILLED,
    ),
    "refunds of odd parts": (
        package(PackageContent(credits=10)),
        [refund(333, "re_1"), refund(333, "re_2"), refund(334, "re_3")],
        OWE,
        (0, 0, 0),
        S.RETURNED,
    ),
    "dispute open": (package(), [40, dispute()], OWE, (0, 60, 0), S.DISPUTED),
    "dispute of a part": (package(), [dispute(300)], OWE, (70, 30, 0), S.DISPUTED),
    "dispute lost": (package(), [40, dispute(), dispute(status=LOST, at=1)], OWE, (0, 0, 40), S.RETURNED),
    "dispute open for longer than it can be held": (package(), [40, dispute(), 401 * DAY], OWE, (60, 0, 0), S.DISPUTED),
    "dispute lost after its hold ran out": (
        package(),
        [40, dispute(), 401 * DAY, 10, dispute(status=LOST, at=1)],
        OWE,
        (0, 0, 50),
        S.RETURNED,
    ),
    "dispute won after its hold ran out": (
        package(),
        [40, dispute(), 401 * DAY, dispute(status=WON, at=1)],
        OWE,
        (60, 0, 0),
        S.FULFILLED,
    ),
    "dispute lost: forgiven": (
        package(),
        [40, dispute(), dispute(status=LOST, at=1)],
        WRITE_OFF,
        (0, 0, 0),
        S.RETURNED,
    ),
    "dispute won": (package(), [40, dispute(), dispute(status=WON, at=1)], OWE, (60, 0, 0), S.FULFILLED),
    "money withdrawn": (package(), [40, dispute(withdrawn=True)], OWE, (0, 0, 40), S.RETURNED),
    "won after money was withdrawn": (
        package(),
        [40, dispute(withdrawn=True), dispute(status=WON, at=1, withdrawn=True, reinstated=True)],
        OWE,
        (60, 0, 0),
        S.FULFILLED,
    ),
    "won after money was withdrawn: forgiven meanwhile": (
        package(),
        [40, dispute(withdrawn=True), dispute(status=WON, at=1, withdrawn=True)],
        WRITE_OFF,
        (60, 0, 0),
        S.FULFILLED,
    ),
    "refund after a lost dispute": (package(), [dispute(status=LOST), refund(1000)], OWE, (0, 0, 0), S.RETURNED),
    "refund while disputed": (package(), [dispute(500), refund(500)], OWE, (0, 50, 0), S.DISPUTED),
    "bonus": (BONUS, [], OWE, (120, 0, 0), S.FULFILLED),
    "bonus, refunded in part": (BONUS, [refund(500)], OWE, (60, 0, 0), S.PARTLY_RETURNED),
    "bonus, spent: not owed": (BONUS, [20, refund(1000)], OWE, (0, 0, 0), S.RETURNED),
    "several assets": (BUNDLE, [refund(500)], OWE, (50, 0, 0), S.PARTLY_RETURNED),
    "run out: nothing is left to take": (SHORT, [40, 31 * DAY, refund(1000)], OWE, (0, 0, 40), S.RETURNED),
    "won after it ran out": (
        SHORT,
        [40, dispute(withdrawn=True), 31 * DAY, dispute(status=WON, at=1), DAY],
        OWE,
        (0, 0, 0),
        S.FULFILLED,
    ),
    "paid, though it had expired": (
        package(),
        [NotPaid(why="expired", is_final=True, at=paid().at)],
        OWE,
        (100, 0, 0),
        S.FULFILLED,
    ),
}


@pytest.fixture
def shop_of(ledger):
    ledger.define_asset("default", "calls", 0)

    def make(policy=OWE):
        return Shop(ledger, SaleRules(returned=policy))

    return make


@pytest.mark.parametrize("row", ROWS)
def test_what_a_payment_does_to_the_books(row, shop_of, clock):
    sold, events, policy, sides, state = ROWS[row]
    shop = shop_of(policy)
    order = shop.checkout(sold)
    shop.event(paid(), order_id=order.order_id)

    for event in events:
        if isinstance(event, int):
            shop.spend(event)
        elif isinstance(event, timedelta):
            clock.now += event
        else:
            shop.event(event)

    assert shop.sides() == sides
    assert shop.order(order.order_id).state is state
    # Nothing is left to do, and all of it told again changes nothing.
    told = [shop.billing.apply_event(reading).state for reading in shop.told]
    assert set(told) == {EventState.APPLIED}
    assert shop.sides() == sides


def test_each_asset_of_a_bundle_is_taken_back_in_proportion(shop_of):
    shop = shop_of()
    order = shop.checkout(BUNDLE)
    shop.event(paid(), order_id=order.order_id)

    shop.event(refund(500))

    assert (shop.sides()[0], shop.sides("calls")[0]) == (50, 4)


def test_a_grant_carries_what_was_paid_and_says_what_it_is_for(shop_of, ledger):
    shop = shop_of()
    order = shop.checkout()

    shop.event(paid(), order_id=order.order_id)

    (lot,) = ledger.lots(account()).lots
    (entry,) = ledger.history(account(), wanted=HistoryFilter(reference=order.order_id, oldest_first=True)).entries[-1:]
    assert (lot.terms.cost, lot.terms.package) == (eur(1000), "starter")
    assert (entry.request_id, entry.memo.actor) == ("stripe:cs:cs_starter", "stripe")


def test_an_event_before_the_order_is_known_by_its_names_is_set_aside_and_applied_then(shop_of):
    shop = shop_of()
    order = shop.checkout()

    early = shop.event(refund(300), refs=("re_1", "pi_1"), event_id="evt_early")
    shop.event(paid(), refs=("cs_starter", "pi_1"), order_id=order.order_id)
    again = shop.billing.event("evt_early")
    shop.pending(shop.told)

    assert (early.state, again.state) == (EventState.SET_ASIDE, EventState.RECEIVED)
    assert "pi_1" in early.why
    assert shop.billing.event("evt_early").order_id == order.order_id
    assert shop.sides() == (70, 0, 0)


def test_an_event_of_nothing_we_know_stays_set_aside(shop_of):
    shop = shop_of()

    event = shop.event(paid(), refs=("pi_unknown",), order_id="or_unknown")

    assert event.state is EventState.SET_ASIDE
    assert shop.billing.settle_due() == ()
    assert shop.set_aside() == {event.event_id}


def test_an_event_is_stored_once(shop_of):
    shop = shop_of()

    assert [shop.store("evt_1"), shop.store("evt_1")] == [True, False]


def test_what_is_paid_otherwise_than_ordered_grants_nothing(shop_of, ledger):
    shop = shop_of()
    order = shop.checkout()

    shop.event(paid(999), order_id=order.order_id)

    found = shop.order(order.order_id)
    assert (found.state, bool(found.why)) == (OrderState.MISMATCHED, True)
    assert ledger.balances("default", "acme").reason is Reason.ACCOUNT_NOT_FOUND


def test_what_is_paid_otherwise_and_granted_by_hand_is_taken_back_by_its_share_of_what_was_paid(shop_of):
    shop = shop_of()
    order = shop.checkout()
    shop.event(paid(2000), order_id=order.order_id)
    shop.billing.fulfil("default", order.order_id, WHO_AND_WHY)

    shop.event(refund(1000), refs=("pi_1", "re_1"))
    half = shop.order(order.order_id).state, shop.sides()
    shop.event(refund(1000, "re_2"), refs=("pi_1", "re_2"))

    assert half == (OrderState.PARTLY_RETURNED, (50, 0, 0))
    assert (shop.order(order.order_id).state, shop.sides()) == (OrderState.RETURNED, (0, 0, 0))


def test_a_payment_for_a_closed_account_is_set_aside_and_nothing_of_it_is_granted(shop_of, ledger):
    shop = shop_of()
    order = shop.checkout(BUNDLE)
    ledger.execute(OpenAccount(request_id="o", account=account()))
    ledger.execute(Close(request_id="c", account=account()))

    event = shop.event(paid(), order_id=order.order_id)

    assert event.state is EventState.SET_ASIDE
    assert "account_closed" in event.why
    found = shop.order(order.order_id)
    assert (found.granted, found.payment.paid.money, found.why) == (False, eur(1000), event.why)
    assert ledger.balances("default", "acme", "calls").reason is Reason.ACCOUNT_NOT_FOUND


WHO_AND_WHY = Memo(description="paid by bank transfer", actor="ann")


def test_an_administrator_grants_what_was_sold_and_a_late_event_changes_nothing(shop_of):
    shop = shop_of()
    order = shop.checkout()

    made = shop.billing.fulfil("default", order.order_id, WHO_AND_WHY)
    again = shop.billing.fulfil("default", order.order_id, WHO_AND_WHY)
    shop.event(paid(), order_id=order.order_id)

    assert (made.replayed, again.replayed) == (False, True)
    assert made.order.state is OrderState.FULFILLED
    assert shop.sides() == (100, 0, 0)


def test_what_was_returned_is_not_granted_again_by_hand(shop_of):
    shop = shop_of()
    order = shop.checkout()
    shop.event(paid(), refund(1000), order_id=order.order_id)

    refused = shop.billing.fulfil("default", order.order_id, WHO_AND_WHY)

    assert refused.reason is Reason.ORDER_NOT_FULFILLABLE
    assert shop.billing.fulfil("default", "or_none", WHO_AND_WHY).reason is Reason.ORDER_NOT_FOUND


def test_a_checkout_is_made_once_per_request_and_honoured_as_sold(shop_of):
    shop = shop_of()
    order = shop.checkout()
    asked = Checkout(tenant="default", request_id="buy-starter", account_id="acme", package="starter", **URLS)
    other = Checkout(tenant="default", request_id="buy-starter", account_id="acme", package="gold", **URLS)

    shop.billing.update_package("default", package(PackageContent(credits=1)))
    shop.billing.deactivate_package("default", "starter")
    again = shop.billing.create_checkout(asked)
    reused = shop.billing.create_checkout(other)
    new = Checkout(tenant="default", request_id="buy-2", account_id="acme", package="starter", **URLS)
    gone = shop.billing.create_checkout(new)
    shop.event(paid(), order_id=order.order_id)

    assert (again.replayed, again.order.order_id) == (True, order.order_id)
    assert (reused.reason, reused.figures["fields"]) == (Reason.REQUEST_ID_REUSED, "package")
    assert gone.reason is Reason.PACKAGE_NOT_FOUND
    assert shop.sides() == (100, 0, 0)


def test_orders_are_listed_newest_first_in_pages(shop_of, clock):
    shop = shop_of()
    shop.billing.create_package("default", package())
    made = []
    for number in range(7):
        # Some at the same instant.
        clock.now += timedelta(seconds=number % 2)
        asked = Checkout(tenant="default", request_id=f"r-{number}", account_id="acme", package="starter", **URLS)
        made.append(shop.billing.create_checkout(asked).order)

    listed, token = [], ""
    while True:
        page = shop.billing.orders("default", page_size=2, page_token=token)
        listed += page.orders
        token = page.next_page_token
        if not token:
            break

    assert [order.order_id for order in listed] == [
        order.order_id for order in sorted(made, key=lambda one: (one.created_at, one.order_id), reverse=True)
    ]
    assert isinstance(shop.billing.orders("default", "other", page_token=page_of(shop)), Refused)


def page_of(shop):
    return shop.billing.orders("default", page_size=2).next_page_token


def test_what_a_customer_holds_is_taken_once_it_has_come_back(shop_of, ledger, clock):
    shop = shop_of()
    order = shop.checkout()
    shop.event(paid(), order_id=order.order_id)
    held = ledger.execute(holding(60)).entry
    shop.event(refund(1000))
    before = shop.sides()

    ledger.execute(releasing(held))
    too_soon = shop.billing.settle_due()
    clock.now += timedelta(minutes=2)
    (looked_at,) = shop.billing.settle_due()

    assert (before, too_soon) == ((0, 60, 0), ())
    assert (shop.sides(), looked_at.look_again_at) == ((0, 0, 0), None)


def test_a_reading_of_no_event_is_answered_with_its_order(shop_of):
    shop = shop_of()
    order = shop.checkout()

    done = shop.billing.learn(Reading(order_id=order.order_id, refs=("cs_starter",), facts=(paid(),)))

    assert done.state is OrderState.FULFILLED
    assert shop.billing.learn(Reading(refs=("pi_none",), facts=(paid(),))) is None


@pytest.mark.parametrize("seed", range(6))
def test_events_may_come_in_any_order_and_twice(shop_of, seed):
    shop = shop_of()
    order = shop.checkout(BONUS)
    readings = [
        Reading(event_id="evt_1", order_id=order.order_id, refs=("cs_starter", "pi_1"), facts=(paid(),)),
        Reading(event_id="evt_2", refs=("pi_1", "ch_1"), facts=(paid(at=1),)),
        Reading(event_id="evt_3", refs=("re_1", "ch_1"), facts=(refund(250),)),
        Reading(event_id="evt_4", refs=("du_1", "ch_1"), facts=(dispute(750),)),
        Reading(event_id="evt_5", refs=("du_1",), facts=(dispute(750, withdrawn=True, at=1),)),
        Reading(event_id="evt_6", refs=("du_1",), facts=(dispute(750, WON, at=2, withdrawn=True),)),
    ]

    shop.shuffled(seed, readings)

    assert shop.sides() == (90, 0, 0)
    assert shop.set_aside() == set()


def test_an_order_that_breaks_does_not_keep_others_waiting(shop_of, ledger, clock):
    shop, other = shop_of(), Shop(ledger, customer="other")
    healthy, broken = shop.checkout(), other.checkout()
    for one, who, name in ((shop, ACME, healthy), (other, account(account_id="other"), broken)):
        one.event(paid(), refs=(f"pi_{one.customer}",), order_id=name.order_id)
        held = ledger.execute(holding(60, who)).entry
        one.event(refund(1000), refs=(f"pi_{one.customer}",))
        ledger.execute(releasing(held))
    # A lot that is not there.
    moved = "UPDATE orders SET body = replace(body, '\"lot\"\\:', '\"lot\"\\:9')"
    touch(str(ledger), f"{moved} WHERE order_id = '{broken.order_id}'")
    clock.now += timedelta(minutes=2)

    looked_at = shop.billing.settle_due()

    assert {one.order_id for one in looked_at} == {healthy.order_id, broken.order_id}
    assert (shop.sides(), shop.order(healthy.order_id).look_again_at) == ((0, 0, 0), None)
    found = shop.order(broken.order_id)
    assert (bool(found.why), found.look_again_at) == (True, clock.now + timedelta(hours=1))


def test_a_repeat_of_what_was_granted_by_hand_is_answered_alike_after_a_refund(shop_of):
    shop = shop_of()
    order = shop.checkout()
    shop.billing.fulfil("default", order.order_id, WHO_AND_WHY)
    shop.event(refund(300), refs=("cs_starter",))

    again = shop.billing.fulfil("default", order.order_id, WHO_AND_WHY)

    assert (again.replayed, again.order.state) == (True, OrderState.PARTLY_RETURNED)
    assert shop.sides() == (70, 0, 0)


def test_what_belongs_to_nothing_known_is_told_of_once_after_a_minute_whoever_asks(shop_of, ledger, clock):
    shop = shop_of()
    stays = shop.event(refund(300), refs=("pi_2",))
    order = shop.checkout()
    shop.event(refund(300), refs=("re_1", "pi_1"), event_id="evt_early")
    shop.event(paid(), refs=("cs_starter", "pi_1"), order_id=order.order_id)
    at_once = shop.billing.alarms_due()

    clock.now += timedelta(minutes=1)
    # As after a restart: nothing is remembered but what is written.
    told = ledger.billing().alarms_due()

    assert at_once == ()
    assert [event.event_id for event in told] == [stays.event_id]
    assert shop.billing.alarms_due() == ()


def test_an_event_that_comes_between_two_pages_shows_none_of_them_twice(shop_of):
    shop = shop_of()
    for name in ("evt_a", "evt_b", "evt_c"):
        shop.store(name)

    first = shop.billing.events(page_size=2)
    shop.store("evt_d")
    second = shop.billing.events(page_size=2, page_token=first.next_page_token)

    assert [event.event_id for event in (*first.events, *second.events)] == ["evt_c", "evt_b", "evt_a"]
    assert second.next_page_token == ""


def test_a_package_that_is_changed_while_it_is_taken_off_sale_is_not_set_back(shop_of, monkeypatch):
    shop = shop_of()
    shop.billing.create_package("default", package())
    read, changed = shelf.read_package, package(price=2000)

    def read_and_change(*asked):
        found = read(*asked)
        monkeypatch.setattr(shelf, "read_package", read)
        shop_of().billing.update_package("default", changed)
        return found

    monkeypatch.setattr(shelf, "read_package", read_and_change)
    answer = shop.billing.deactivate_package("default", "starter")

    assert answer.reason is Reason.CHANGED_MEANWHILE
    assert shop.billing.packages("default") == (package(price=2000, version=2),)
