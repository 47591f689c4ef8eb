"""Whatever breaks between an order, Stripe, the webhook and the books: no payment is lost, nothing is granted twice."""

import random
import threading
import time
from contextlib import contextmanager, suppress

import grpc
import pytest
import requests
from scrip.v1.billing_service_pb2 import Order, StripeEvent

from ledger import utc_now
from tests.books import SECOND
from tests.fake_stripe import API_KEY, SECRET, FakeStripe, Fault
from tests.faults.customers import PATIENCE_S
from tests.faults.processes import ScripProcess, ScripWithWorkers, until
from tests.faults.wire import Loss, Wire
from tests.postgres import free_port
from tests.server.asking import Asking
from tests.server.paying import Paying, paying

RETURNED = 999
# What is left of 100 credits that cost 19.99 when 9.99 went back.
LEFT = 100 - RETURNED * 100 // 1999


@contextmanager
def killable(url, directory, kind=ScripProcess, **settings):
    """A server in a process of its own that takes payments, and who buys from it."""
    with FakeStripe() as stripe:
        port = free_port()
        stripe.webhook_url = f"http://127.0.0.1:{port}/stripe/webhook"
        flags = {
            "http_listen": f"127.0.0.1:{port}",
            "stripe_api_key": API_KEY,
            "stripe_webhook_secret": SECRET,
            "stripe_api_base": stripe.url,
            "recharge_s": 0.05,
            **settings,
        }
        arguments = [f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]
        with kind(url, directory, *arguments) as server, grpc.insecure_channel(server.target) as channel:
            yield server, Paying(Asking(server.target, channel), stripe, utc_now)


def restart(server, buyer):
    """Kills the server and starts it again; the next call finds it."""
    server.kill()
    server.start()
    until(lambda: answers(lambda: buyer.ask("ListPackages")))


def answers(ask):
    with suppress(grpc.RpcError):
        ask()
        return True
    return False


def in_a_while(do):
    """Something under way, that may come to nothing."""

    def run():
        with suppress(grpc.RpcError):
            do()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def deliver(buyer, events):
    """As Stripe does it: until each is answered 200."""
    for event in events:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            with suppress(requests.RequestException):
                if buyer.send([event]) == [200]:
                    break
            assert time.monotonic() < deadline
            time.sleep(0.02)


def all_looked_at(buyer):
    until(lambda: not buyer.events(StripeEvent.STATE_RECEIVED))


def killed_while_a_checkout_is_asked_for(server, buyer):
    """Stripe has made the session of r-1, of which the server has not heard; there is another server now."""
    buyer.sell()
    buyer.stripe.faults.append(Fault("slow", path="checkout", after_s=1))
    asked = in_a_while(lambda: buyer.order(request_id="r-1"))
    until(lambda: buyer.stripe.world.all("checkout.session"))
    restart(server, buyer)
    asked.join()


def test_a_server_killed_while_stripe_is_asked_makes_one_order_and_one_session(database_url, tmp_path):
    with killable(database_url, tmp_path) as (server, buyer):
        killed_while_a_checkout_is_asked_for(server, buyer)
        unnamed = buyer.ask("ListOrders").orders

        order = buyer.order(request_id="r-1")
        deliver(buyer, buyer.pay(order))
        all_looked_at(buyer)

        assert [(one.order_id, one.stripe_id) for one in unnamed] == [(order.order_id, "")]
        assert [one["id"] for one in buyer.stripe.world.all("checkout.session")] == [order.stripe_id]
        assert (buyer.available(), buyer.grants()) == (100, 1)


def test_a_session_whose_name_was_never_written_down_is_paid_all_the_same(database_url, tmp_path):
    with killable(database_url, tmp_path) as (server, buyer):
        killed_while_a_checkout_is_asked_for(server, buyer)
        (session,) = buyer.stripe.world.all("checkout.session")

        deliver(buyer, buyer.stripe.world.pay(session["id"]))
        all_looked_at(buyer)

        (order,) = buyer.ask("ListOrders").orders
        assert (order.state, order.stripe_id) == (Order.STATE_FULFILLED, session["id"])
        assert buyer.available() == 100


def test_a_server_killed_while_a_card_is_charged_charges_it_once(database_url, tmp_path):
    with killable(database_url, tmp_path) as (server, buyer):
        buyer.begin()
        buyer.stripe.faults.append(Fault("slow", path="payment_intents", after_s=1))
        buyer.recharge()
        buyer.spend(51)
        until(lambda: len(buyer.stripe.world.all("payment_intent")) == 2)
        restart(server, buyer)

        until(lambda: buyer.available() == 149)

        assert len(buyer.charges()) == 1


def kill_again_and_again(url, directory, kills):
    chance = random.Random(kills)
    with killable(url, directory) as (server, buyer):
        buyer.sell()
        customers = [f"customer-{number}" for number in range(4 * kills)]
        events = []
        for number, customer in enumerate(customers):
            paid = buyer.pay(buyer.order(account_id=customer))
            events += paid
            if number % 2:
                events += buyer.stripe.world.refund(paid[1]["data"]["object"]["id"], RETURNED)
        chance.shuffle(events)
        delivery = threading.Thread(target=deliver, args=(buyer, events))
        delivery.start()

        for _ in range(kills):
            time.sleep(chance.uniform(0, 0.2))
            restart(server, buyer)
        delivery.join()
        all_looked_at(buyer)

        assert [buyer.available(customer) for customer in customers] == [100, LEFT] * (2 * kills)
        assert [buyer.grants(customer) for customer in customers] == [1] * (4 * kills)
        assert buyer.events(StripeEvent.STATE_SET_ASIDE) == []


def test_a_server_killed_while_webhooks_come_grants_and_revokes_each_payment_once(database_url, tmp_path):
    kill_again_and_again(database_url, tmp_path, kills=2)


def test_workers_that_share_a_database_grant_what_any_of_them_was_told_once(postgres_url, tmp_path):
    with killable(postgres_url, tmp_path, ScripWithWorkers) as (_, buyer):
        buyer.begin()
        customers = [f"customer-{number}" for number in range(10)]
        events = [event for name in customers for event in buyer.pay(buyer.order(account_id=name))]
        events *= 2
        random.Random(1).shuffle(events)
        deliver(buyer, events)
        buyer.recharge(target=200)
        buyer.spend(51)
        until(lambda: buyer.available() == 249)
        all_looked_at(buyer)

        assert [buyer.available(customer) for customer in customers] == [100] * 10
        assert [buyer.grants(customer) for customer in customers] == [1] * 10
        assert len(buyer.charges()) == 2


@pytest.mark.soak
def test_a_server_killed_twenty_times_while_webhooks_come_does_too(database_url, tmp_path):
    kill_again_and_again(database_url, tmp_path, kills=20)


@pytest.mark.parametrize("loss", [Loss.REQUEST, Loss.ANSWER], ids=lambda loss: loss.value)
def test_a_database_lost_at_any_request_of_a_purchase_loses_nothing_and_doubles_nothing(postgres_url, clock, loss):
    with Wire(postgres_url) as wire, paying(wire.url, clock, stripe_webhook_secret=SECRET) as buyer:
        buyer.sell()
        cuts = 0
        for at_request in range(1, 61, 3):
            customer = f"customer-{at_request}"
            wire.cut(at_request, loss)
            order = until_answered(lambda customer=customer: buyer.order(request_id=customer, account_id=customer))
            paid = buyer.pay(order)
            deliver(buyer, [*paid, *buyer.stripe.world.refund(paid[1]["data"]["object"]["id"], RETURNED)])
            until(lambda: looked_at(buyer))
            cuts += wire.was_cut
            wire.leave_alone()

            assert (buyer.available(customer), buyer.grants(customer)) == (LEFT, 1)
        assert cuts >= 15


def looked_at(buyer):
    """True once no event waits; time passes for those that wait to be tried again."""
    buyer.clock.now += SECOND
    with suppress(grpc.RpcError):
        return not buyer.events(StripeEvent.STATE_RECEIVED)
    return False


def until_answered(ask):
    found = []

    def is_answered():
        with suppress(grpc.RpcError):
            found.append(ask())
        return found

    until(is_answered)
    return found[0]


def test_an_event_that_cannot_be_applied_keeps_no_other_waiting(database_url, clock):
    with paying(database_url, clock) as buyer:
        buyer.sell()
        orders = [buyer.order(account_id=f"customer-{number}") for number in range(3)]
        strange = {**buyer.pay(orders[0])[-1], "id": "evt_strange", "data": {"object": {"object": "checkout.session"}}}

        buyer.hear([strange, *buyer.pay(orders[1]), *buyer.pay(orders[2])])

        assert [buyer.available(f"customer-{number}") for number in (1, 2)] == [100, 100]
        assert [event.event_id for event in buyer.events(StripeEvent.STATE_SET_ASIDE)] == ["evt_strange"]
