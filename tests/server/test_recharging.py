"""An account that runs low recharges itself: with what the customer agreed to, one charge at a time, and no more."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from scrip.v1.billing_service_pb2 import AutoRecharge, Order, Package, PackageContent
from scrip.v1.types_pb2 import Money

from tests.books import Clock
from tests.fake_stripe import FakeStripe, Fault
from tests.server.paying import CONSENT, PRICE, Paying, eventually, paying

HOUR = timedelta(hours=1)
OFTEN_S = 0.02


@pytest.fixture
def buyer(sqlite_url, clock):
    """A customer who has 100 credits and a saved payment method."""
    with paying(sqlite_url, clock, recharge_s=OFTEN_S) as buyer:
        buyer.begin()
        yield buyer


def shown(buyer: Paying) -> AutoRecharge:
    return buyer.ask("GetAutoRecharge").auto_recharge


def test_an_account_does_not_recharge_itself_unless_somebody_said_so(buyer):
    buyer.spend(100)

    found = shown(buyer)

    assert not found.enabled
    assert buyer.charges() == []


def test_an_account_that_runs_low_recharges_itself_once(buyer):
    buyer.recharge()
    agreed = shown(buyer).consent
    buyer.spend(51)

    eventually(lambda: buyer.available() == 149)

    (order,) = [one for one in buyer.ask("ListOrders").orders if one.kind == Order.KIND_RECHARGE]
    assert (order.price, Order.State.Name(order.state)) == (PRICE, "STATE_FULFILLED")
    assert order.consent == agreed
    assert order.payment_intent == buyer.charges()[0]["id"]
    assert shown(buyer).order_id == ""


def test_the_webhook_of_a_recharge_changes_nothing_more(buyer):
    buyer.recharge()
    buyer.spend(51)
    eventually(lambda: buyer.available() == 149)

    buyer.hear(buyer.stripe.world.events, copies=2, shuffled=1)

    assert (buyer.available(), len(buyer.charges())) == (149, 1)


def test_an_account_recharges_itself_until_it_has_what_was_agreed(buyer):
    buyer.recharge(target=320)
    buyer.spend(51)

    eventually(lambda: buyer.available() == 349)

    assert len(buyer.charges()) == 3


def test_no_more_is_charged_in_a_month_than_was_agreed(buyer, clock):
    buyer.recharge(target=1_000, cap=Money(minor_units=2 * 1999, currency="EUR"))
    buyer.spend(51)
    eventually(lambda: buyer.available() == 249)
    buyer.spend(249)

    until_looked_for_again(buyer)
    in_january = len(buyer.charges())
    clock.now = datetime(2026, 2, 1, tzinfo=UTC)
    eventually(lambda: len(buyer.charges()) == in_january + 2)

    assert in_january == 2


def test_a_decline_is_tried_again_later_and_after_three_not_at_all(buyer, clock):
    buyer.stripe.world.declines += [("card_declined", "insufficient_funds")] * 3
    buyer.recharge()
    buyer.spend(51)
    waits = []

    for declines in (1, 2):
        eventually(lambda declines=declines: shown(buyer).declines == declines)
        waits.append(shown(buyer).retry_at.ToDatetime(tzinfo=UTC) - clock.now)
        clock.now += waits[-1]
    eventually(lambda: not shown(buyer).enabled)

    assert waits == [HOUR, 6 * HOUR]
    assert (shown(buyer).declines, len(buyer.charges()), buyer.available()) == (3, 3, 49)


def test_what_is_charged_after_a_decline_forgets_it(buyer, clock):
    buyer.stripe.world.declines.append(("card_declined", "insufficient_funds"))
    buyer.recharge()
    buyer.spend(51)
    eventually(lambda: shown(buyer).declines == 1)
    until_looked_for_again(buyer)
    before = len(buyer.charges())

    clock.now += HOUR
    eventually(lambda: buyer.available() == 149)

    assert before == 1
    assert (shown(buyer).declines, shown(buyer).enabled) == (0, True)


def test_an_answer_that_is_lost_is_not_charged_twice(buyer):
    buyer.stripe.faults.append(Fault("drop", path="/v1/payment_intents", times=3))
    buyer.recharge()
    buyer.spend(51)

    eventually(lambda: buyer.available() == 149)

    assert len(buyer.charges()) == 1


@contextmanager
def charged_unheard(stripe: FakeStripe, url: str, clock: Clock) -> Iterator[Paying]:
    """A server that has an account charged, never hears the answer, and ends when the block does."""
    # It ends only when nothing is under way any more.
    with paying(url, clock, stripe, recharge_s=OFTEN_S, drain_s=60) as buyer:
        buyer.begin()
        stripe.faults.append(Fault("drop", path="/v1/payment_intents", times=10_000))
        buyer.recharge()
        buyer.spend(51)
        eventually(buyer.charges)
        yield buyer
    stripe.faults.clear()


def assert_charged_once(stripe: FakeStripe, url: str, clock: Clock) -> None:
    """The next server has the credits granted, for the charge that there is."""
    with paying(url, clock, stripe, recharge_s=OFTEN_S) as buyer:
        eventually(lambda: buyer.available() == 149)

        assert len(buyer.charges()) == 1


def test_an_answer_that_was_lost_a_day_ago_is_looked_up_because_stripe_has_forgotten_the_key(sqlite_url, clock):
    with FakeStripe(clock=lambda: int(clock().timestamp())) as stripe:
        with charged_unheard(stripe, sqlite_url, clock):
            pass
        stripe.forget_keys()
        clock.now += timedelta(hours=25)

        assert_charged_once(stripe, sqlite_url, clock)


def test_an_answer_that_was_lost_is_had_again_although_the_package_has_another_title_now(sqlite_url, clock):
    with FakeStripe(clock=lambda: int(clock().timestamp())) as stripe:
        with charged_unheard(stripe, sqlite_url, clock) as buyer:
            contents = [PackageContent(credits=100)]
            package = Package(package="starter", title="Renamed", contents=contents, price=PRICE, active=True)
            buyer.ask("UpdatePackage", package=package)

        assert_charged_once(stripe, sqlite_url, clock)


def test_an_account_without_a_payment_method_cannot_recharge_itself(sqlite_url, clock):
    with paying(sqlite_url, clock) as buyer:
        buyer.sell()
        buyer.hear(buyer.pay(buyer.order()))

        told = buyer.ask.refusal(
            "SetAutoRecharge",
            auto_recharge=AutoRecharge(
                account_id="acme", enabled=True, threshold=1, package="starter", cap=PRICE, consent=CONSENT
            ),
        )

        assert (told.reason, told.metadata) == ("NO_PAYMENT_METHOD", {"account_id": "acme"})


def test_it_is_switched_off_at_once(buyer):
    buyer.recharge()
    buyer.ask("SetAutoRecharge", auto_recharge=AutoRecharge(account_id="acme"))
    buyer.spend(100)

    until_looked_for_again(buyer)

    assert buyer.charges() == []


def test_two_servers_charge_once(postgres_url, clock):
    with FakeStripe(clock=lambda: int(clock().timestamp())) as stripe, ExitStack() as stack:
        first, second = (stack.enter_context(paying(postgres_url, clock, stripe, recharge_s=OFTEN_S)) for _ in range(2))
        first.begin()
        first.recharge(target=520)
        for _ in range(3):
            second.spend(second.available())
            eventually(lambda: first.available() == 600)

        assert len(first.charges()) == 3 * 6
        assert first.grants() == 1 + 3 * 6


def until_looked_for_again(buyer: Paying) -> None:
    """Lets another customer recharge, who comes after those that are due already."""
    buyer.hear(buyer.pay(buyer.order(account_id="zed", save_payment_method=True)))
    buyer.recharge(account_id="zed", threshold=101)
    eventually(lambda: buyer.available("zed") >= 200)


def test_what_was_never_charged_is_not_charged_once_it_is_disabled(buyer):
    buyer.stripe.faults.append(Fault(500, path="payment_intents", times=3))
    buyer.recharge()
    buyer.spend(51)
    eventually(lambda: shown(buyer).order_id)
    buyer.recharge(enabled=False)

    eventually(lambda: not shown(buyer).order_id)

    assert buyer.charges() == []


def test_what_was_never_charged_is_not_charged_once_the_account_is_closed(buyer):
    buyer.stripe.faults.append(Fault(500, path="payment_intents", times=3))
    buyer.recharge()
    buyer.spend(100)
    eventually(lambda: shown(buyer).order_id)
    buyer.ask("CloseAccount")

    eventually(lambda: not shown(buyer).order_id)

    (order,) = [one for one in buyer.ask("ListOrders").orders if one.kind == Order.KIND_RECHARGE]
    assert (buyer.charges(), Order.State.Name(order.state)) == ([], "STATE_FAILED")


def test_what_was_charged_before_it_was_disabled_is_granted(buyer):
    buyer.stripe.faults.append(Fault("drop", path="payment_intents", times=3))
    buyer.recharge()
    buyer.spend(51)
    eventually(buyer.charges)
    buyer.recharge(enabled=False)

    eventually(lambda: buyer.available() == 149)

    assert len(buyer.charges()) == 1
