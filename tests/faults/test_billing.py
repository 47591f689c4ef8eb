"""Billing interrupted before any statement, and two servers that do the same work: nothing lost, nothing twice."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count

import pytest
from sqlalchemy import select

from ledger import (
    AutoRecharge,
    Close,
    Consent,
    CustomerSeen,
    Ledger,
    Memo,
    NotDoneError,
    OpenAccount,
    OrderState,
    PackageContent,
    PlanContent,
    Reading,
    SubscriptionState,
    WriterOptions,
)
from ledger.database import Database, DatabaseUnavailableError
from ledger.tables import entries
from tests.books import START
from tests.faults.customers import PATIENCE_S
from tests.faults.statements import COMMIT, Gate, MeetingPoint, before_each, named
from tests.sales import WON, Shop, account, dispute, eur, invoice, line, package, paid, plan, refund, seen

SOLD = package(PackageContent(credits=100, bonus_credits=20))


def readings(customer):
    """A purchase life: paid, partly refunded, disputed, money withdrawn, won."""
    names = {part: f"{part}_{customer}" for part in ("pi", "re", "du")}
    told = [
        (("cs", "pi"), paid()),
        (("pi", "re"), refund(250, names["re"])),
        (("pi", "du"), dispute(750, name=names["du"])),
        (("du",), dispute(750, name=names["du"], withdrawn=True, at=1)),
        (("du",), dispute(750, WON, name=names["du"], withdrawn=True, at=2)),
    ]
    return [
        Reading(
            event_id=f"evt_{customer}_{number}",
            refs=tuple(names.get(part, f"cs_{customer}") for part in parts),
            facts=(fact,),
        )
        for number, (parts, fact) in enumerate(told)
    ]


def live(shop):
    """All of it, from whatever was done before on."""
    told = readings(shop.customer)
    order = shop.checkout(SOLD)
    for reading in told:
        shop.store(reading.event_id)
    shop.pending(told)
    return order.order_id


def assert_as_it_should_be(shop, order_id):
    order = shop.order(order_id)
    assert (order.state, shop.sides(), order.holds) == (OrderState.PARTLY_RETURNED, (90, 0, 0), ())
    assert shop.set_aside() == set()


class KilledError(DatabaseUnavailableError):
    """The server dies."""


def test_interrupted_before_any_statement_it_is_done_all_the_same_and_once(database_url, clock):
    with Ledger(database_url, clock=clock, options=WriterOptions(linger_ms=0)) as ledger:
        interrupted = 0
        for place in count():
            shop, passed = Shop(ledger, customer=f"customer-{place}"), count()

            def interrupt(_server, statement, connection, place=place, passed=passed):
                if next(passed) == place:
                    if statement == COMMIT:
                        # What dies with the server is done for the driver by hand.
                        connection.connection.driver_connection.rollback()
                    raise KilledError

            with before_each(interrupt):
                try:
                    live(shop)
                except NotDoneError:
                    interrupted += 1
            order_id = live(shop)
            assert_as_it_should_be(shop, order_id)
            if next(passed) <= place:
                break

        # The first places are in what is sold, which all customers share.
        assert interrupted > 40


@pytest.fixture
def servers(postgres_url):
    with Ledger(named(postgres_url, "first")) as one, Ledger(named(postgres_url, "second")) as other:
        yield one, other


@contextmanager
def overtaken(shop, *told, **given):
    """The first server has decided what to do about an event, and does it only after the block."""
    shop.store("evt_held")
    decided = Gate("first", "accounts")
    with before_each(decided), ThreadPoolExecutor(1) as pool:
        done = pool.submit(shop.event, *told, event_id="evt_held", **given)
        decided.wait_until_reached()
        try:
            yield
        finally:
            decided.open()
        done.result(PATIENCE_S)


WHO_AND_WHY = Memo(description="paid by bank transfer", actor="ann")


def test_an_order_granted_by_hand_while_its_payment_is_applied_is_granted_once_and_can_be_taken_back(servers):
    first, second = map(Shop, servers)
    order = first.checkout()

    with overtaken(first, paid(), refund(1000), order_id=order.order_id):
        by_hand = second.billing.fulfil("default", order.order_id, WHO_AND_WHY)
        granted = second.sides()

    assert (by_hand.replayed, granted, first.sides()) == (False, (100, 0, 0), (0, 0, 0))
    assert (first.order(order.order_id).state, first.set_aside()) == (OrderState.RETURNED, set())


def test_a_refund_that_another_server_learns_while_the_books_refuse_the_payment_is_known(servers):
    first, second = map(Shop, servers)
    order = first.checkout()
    servers[0].execute(OpenAccount(request_id="o", account=account()))
    servers[0].execute(Close(request_id="c", account=account()))

    with overtaken(first, paid(), order_id=order.order_id):
        second.event(refund(500), refs=("pi_1", "re_1"), order_id=order.order_id)

    payment = first.order(order.order_id).payment
    assert (payment.paid, payment.refunds) == (paid(), (refund(500),))


UNLIMITED = plan(PlanContent(unlimited=True))


def of(subscription):
    return {"tenant": "default", "account_id": "acme", "subscription": subscription}


def begin(shop, subscription):
    told = invoice(f"in_{subscription}", line(0, 31), subscription=subscription)
    return shop.event(told, refs=(f"in_{subscription}",), **of(subscription))


def ended(subscription):
    return seen(SubscriptionState.ENDED, at=3, event=f"evt_{subscription}", subscription=subscription)


def is_unlimited(shop):
    return shop.ledger.account(account()).account.terms.unlimited


def test_two_subscriptions_that_end_at_once_leave_nothing_covered(servers):
    first, second = map(Shop, servers)
    first.billing.put_plan("default", UNLIMITED)
    for name in ("sub_1", "sub_2"):
        begin(first, name)
    meeting = MeetingPoint(2, "UPDATE subscriptions")

    with before_each(meeting), ThreadPoolExecutor(2) as pool:
        for shop, name in ((first, "sub_1"), (second, "sub_2")):
            pool.submit(shop.event, ended(name), refs=(), **of(name))

    assert not is_unlimited(first)
    assert first.set_aside() == set()


def test_a_subscription_that_begins_while_another_ends_covers_on(servers):
    first, second = map(Shop, servers)
    first.billing.put_plan("default", UNLIMITED)
    begin(first, "sub_1")

    with overtaken(first, ended("sub_1"), refs=(), **of("sub_1")):
        begin(second, "sub_2")

    assert is_unlimited(first)


def test_two_servers_that_apply_the_same_events_do_each_thing_once(servers, postgres_url):
    customers = [f"customer-{number}" for number in range(6)]
    shops = [Shop(server, customer=customer) for customer in customers for server in servers]
    # Sold before both begin, and told what came.
    for shop in shops[::2]:
        shop.checkout(SOLD)
        for reading in readings(shop.customer):
            shop.store(reading.event_id)

    def apply_all(shop):
        for reading in readings(shop.customer):
            shop.billing.apply_event(reading)

    with ThreadPoolExecutor(len(shops)) as pool:
        list(pool.map(apply_all, shops))

    for shop in shops:
        assert_as_it_should_be(shop, live(shop))
    database = Database(postgres_url)
    try:
        with database.read() as connection:
            asked = connection.execute(select(entries.c.account_key, entries.c.request_id)).all()
    finally:
        database.close()
    grants = [row for row in asked if row.request_id.startswith("stripe:cs:") and row.request_id.count(":") == 2]
    assert len(grants) == len(customers)


def test_two_servers_begin_one_recharge(servers):
    shops = [Shop(server) for server in servers]
    order = shops[0].checkout()
    seen = CustomerSeen(customer="cus_1", payment_method="pm_1", at=START)
    shops[0].event(paid(), seen, refs=("cs_starter",), order_id=order.order_id)
    consent = Consent(text="I agree.", actor="acme", at=START)
    terms = {"threshold": 20, "package": "starter", "cap": eur(9000), "consent": consent, "enabled": True}
    shops[0].billing.set_auto_recharge(AutoRecharge(tenant="default", account_id="acme", **terms))
    shops[0].spend(90)
    (due,) = shops[1].billing.due_recharges()

    with ThreadPoolExecutor(8) as pool:
        begun = list(pool.map(lambda shop: shop.billing.begin_recharge(due), shops * 4))

    assert len({order.order_id for order in begun if order is not None}) == 1
    assert len(shops[0].billing.orders("default").orders) == 2
