"""What is ordered by who has a link: one order of a package, whoever presses and however often, until it is paid."""

from dataclasses import replace
from datetime import timedelta

import pytest

from ledger import Checkout, Ledger, Reason
from server.inbox import Inbox
from server.payments import Payments
from server.stripe_api import StripeApi
from tests import sales
from tests.fake_stripe import API_KEY, FakeStripe, Fault
from tests.server.paying import URL


@pytest.fixture
def linked(sqlite_url, clock):
    """Payments as the purchase page has them, on a package that is sold, and Stripe's stand-in."""
    with FakeStripe(clock=lambda: int(clock().timestamp())) as stripe, Ledger(sqlite_url, clock=clock) as ledger:
        billing = ledger.billing()
        billing.create_package("default", sales.package())
        inbox = Inbox(billing, secrets=(), livemode=False, clock=clock, noted=lambda _state: None)
        yield Payments(billing, StripeApi(API_KEY, stripe.url, clock=clock), inbox, clock), billing, stripe


def by_link(payments: Payments, number: int, **fields) -> str:
    """Where somebody who has a link to buy the package is sent; each time by another form."""
    usual = {"package": "starter", "success_url": "https://shop.example/buy/1/done", "cancel_url": URL}
    form = Checkout(tenant="default", request_id=f"form-{number}", account_id="acme", **{**usual, **fields})
    return payments.create_checkout(form, by_link=True).order.url


def test_a_link_leads_to_one_order_of_a_package_until_that_is_paid(linked, clock):
    payments, billing, stripe = linked

    urls = [by_link(payments, number) for number in range(5)]
    (session,) = stripe.world.all("checkout.session")
    session_url = session["url"]
    stripe.world.pay(session["id"])
    clock.now += timedelta(seconds=5)
    # Nobody has told of it but Stripe, which is asked.
    after = by_link(payments, 5)

    assert set(urls) == {session_url}
    assert after != session_url
    assert len(billing.orders("default").orders) == 2


def test_a_link_leads_to_an_order_of_its_own_of_what_is_not_the_same(linked, clock):
    payments, billing, _ = linked
    billing.create_package("default", replace(sales.package(), package="other"))

    urls = [by_link(payments, 1), by_link(payments, 2, package="other"), by_link(payments, 3, success_url=URL)]
    billing.update_package("default", sales.package(price=2000))
    urls.append(by_link(payments, 4))
    clock.now += timedelta(hours=23, seconds=1)
    urls.append(by_link(payments, 5))

    assert len(set(urls)) == 5


def test_a_link_makes_one_order_while_stripe_does_not_answer(linked):
    payments, billing, stripe = linked
    stripe.faults.append(Fault(400, path="/v1/checkout/sessions", times=3))
    form = {"package": "starter", "success_url": URL, "cancel_url": URL}

    told = [
        payments.create_checkout(
            Checkout(tenant="default", request_id=f"form-{number}", account_id="acme", **form), by_link=True
        )
        for number in range(3)
    ]
    assert [one.reason for one in told] == [Reason.STRIPE_REFUSED] * 3
    assert by_link(payments, 4, success_url=URL)
    assert len(billing.orders("default").orders) == 1
