"""Accounts that recharge themselves, whoever decides, whichever answers are lost, and however events are told.

What is charged and what is in the books is what a dumb model says, which knows neither servers nor events. Every step
of a life has five hours, in which whoever recharges looks until nothing more happens.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from fractions import Fraction
from itertools import count
from math import ceil
from threading import Lock

import pytest
from hypothesis import strategies as st

from ledger import (
    AutoRecharge,
    Consent,
    Ledger,
    Money,
    OrderKind,
    OrderState,
    Package,
    PackageContent,
    Refused,
    SaleRules,
    WriterOptions,
)
from server.payments import Asked, StripeUnavailableError
from server.recharging import Recharger
from server.stripe_api import metadata_of
from server.stripe_events import read_object
from tests.books import START
from tests.purchase_shop import ACCOUNT, SHAPES, Shop, assert_always, told_three_ways
from tests.stripe_world import StripeSaysNoError

HOUR = timedelta(hours=1)
STEP = 5 * HOUR
TEN_DAYS = 48
# Charged, but nobody was told; and not even asked.
LOST, DOWN = "lost", "down"
BACK_OFF = (HOUR, 6 * HOUR)
_tenants = count(1)


@dataclass(frozen=True)
class Life:
    """A package of so many credits, how it is bought again and again, and what happens, each with a number.

    target   by how many packages more than the threshold; 0: once
    cap      as many packages in a month
    """

    credits: int
    price: int
    threshold: int
    target: int
    cap: int
    steps: tuple[tuple[str, int], ...]
    seed: int
    shapes: tuple


def lives(steps_max=10):
    happens = ["spend", "spend", "spend", "wait", "declined", LOST, DOWN, "refund", "disable", "enable"]
    return st.builds(
        Life,
        credits=st.integers(1, 500),
        price=st.integers(1, 3000),
        threshold=st.integers(1, 600),
        target=st.sampled_from([0, 0, 1, 2]),
        cap=st.integers(1, 6),
        steps=st.lists(
            st.tuples(st.sampled_from(happens), st.integers(1, 1000)), min_size=2, max_size=steps_max
        ).map(tuple),
        seed=st.integers(0, 2**32),
        shapes=st.sampled_from(SHAPES),
    )  # fmt: skip


class Till:
    """What of Stripe's API charges; see AsksStripe. Like Stripe it charges an order once, whoever asks how often.

    faults   what goes wrong with the next calls: LOST or DOWN
    """

    def __init__(self, world, clock):
        self.world, self.clock, self.faults = world, clock, []
        self._charged, self._lock = {}, Lock()

    def charge(self, order):
        with self._lock:
            fault = self.faults.pop(0) if self.faults else None
            if fault == DOWN:
                raise StripeUnavailableError("it is down")
            if order.order_id not in self._charged:
                asked = {"customer": order.customer, "payment_method": order.payment_method}
                asked["metadata"] = metadata_of(order)
                try:
                    made = self.world.charge(asked, order.price.minor_units, order.price.currency.lower())
                except StripeSaysNoError as no:
                    made = no.body["error"]["payment_intent"]
                self._charged[order.order_id] = made["id"]
            if fault == LOST:
                raise StripeUnavailableError("its answer is lost")
            return self.charge_of(order)

    def charge_of(self, order):
        if order.order_id not in self._charged:
            return None
        intent = self.world.get(self._charged[order.order_id])
        reading = read_object(intent, self.clock())
        return Asked(stripe_id=intent["id"], refs=reading.refs), reading


@dataclass
class Lot:
    left: int
    is_refunded: bool = False


@dataclass
class Model:
    """The dumbest recharges: they look once after each step, and everything goes well but for declines."""

    life: Life
    lots: list = field(default_factory=list)
    owed: int = 0
    enabled: bool = True
    retry_at: object = None
    declines: int = 0
    to_decline: int = 0
    is_filling: bool = False
    charges: list = field(default_factory=list)
    used: int = 0

    @property
    def available(self):
        return sum(lot.left for lot in self.lots)

    @property
    def target(self):
        return self.life.threshold + self.life.target * self.life.credits if self.life.target else 0

    def grant(self):
        repaid = min(self.owed, self.life.credits)
        self.owed -= repaid
        self.lots.append(Lot(self.life.credits - repaid))

    def spend(self, amount):
        self.used += amount
        for lot in self.lots:
            burnt = min(lot.left, amount)
            lot.left, amount = lot.left - burnt, amount - burnt

    def refund(self, place):
        lot = self.lots[place]
        self.owed += self.life.credits - lot.left
        lot.left, lot.is_refunded = 0, True

    def agree(self, *, enabled):
        if enabled and not self.enabled:
            self.declines = 0
        if not self.declines:
            self.retry_at = None
        self.enabled, self.is_filling = enabled, False

    def look(self, now):
        month = (now.year, now.month)
        while self.enabled and (self.retry_at is None or self.retry_at <= now):
            if self.available >= (self.target if self.is_filling else self.life.threshold):
                return
            if self.charges.count((month, True)) == self.life.cap:
                first = now.replace(day=1, hour=0, minute=0)
                self.retry_at = (first + timedelta(days=31)).replace(day=1)
                return
            self.charges.append((month, not self.to_decline))
            if self.to_decline:
                self.to_decline, self.declines, self.is_filling = self.to_decline - 1, self.declines + 1, False
                self.enabled = self.declines <= len(BACK_OFF)
                self.retry_at = now + BACK_OFF[self.declines - 1] if self.enabled else None
                return
            self.grant()
            self.declines, self.retry_at, self.is_filling = 0, None, self.available < self.target

    def nets(self):
        nets = {
            "payments": self.life.credits * sum(not lot.is_refunded for lot in self.lots),
            "available": -self.available,
            "owed": self.owed,
            "revenue": -self.used,
        }
        return {code: net for code, net in nets.items() if net}

    def money_nets(self):
        """What is left of a lot carries its share, rounded up; what was refunded, nothing."""
        kept = [lot.left for lot in self.lots if not lot.is_refunded]
        deferred = sum(ceil(Fraction(self.life.price * left, self.life.credits)) for left in kept)
        paid = self.life.price * len(kept)
        nets = {"payments": paid, "deferred": -deferred, "revenue": deferred - paid}
        return {code: net for code, net in nets.items() if net}


class Player:
    """Lives a life in a shop, and keeps the model beside it.

    ledgers   of the servers that look who is due, each by itself and all at once
    is_late   events of payments are told when something else happened to them, or in the end
    """

    def __init__(self, life, shop, clock, ledgers, *, is_late):
        self.life, self.shop, self.clock, self.is_late = life, shop, clock, is_late
        self.model, self.steps = Model(life), 0
        self.price = Money(minor_units=life.price, currency="USD")
        content = PackageContent(credits=life.credits)
        shop.sell(Package(package="starter", title="Starter", contents=(content,), price=self.price))
        self.till = Till(shop.world, clock)
        self.servers = [Recharger(ledger.billing(SaleRules()), self.till, clock) for ledger in ledgers]

    def play(self):
        session = self.shop.begin(package="starter", save_payment_method=True)
        self.shop.world.pay(session["id"])
        self.shop.deliver()
        self.intents = [session["payment_intent"]]
        self.model.grant()
        self._agree(enabled=True)
        self._look()
        for what, size in self.life.steps:
            self.steps += TEN_DAYS if what == "wait" else 1
            self.clock.now = START + HOUR + self.steps * STEP
            self._step(what, size)
            self._look()
        self.shop.deliver()
        self._compare()

    def _step(self, what, size):
        if what == "spend" and (amount := self.model.available * size // 1000):
            self.shop.spend(amount)
            self.model.spend(amount)
        elif what == "declined":
            self.shop.world.declines += [("card_declined", "insufficient_funds")] * (size % 3 + 1)
            self.model.to_decline = len(self.shop.world.declines)
        elif what in {LOST, DOWN}:
            self.till.faults += [what] * (size % 3 + 1)
        elif what in {"enable", "disable"}:
            self._agree(enabled=what == "enable")
        elif what == "refund":
            place = size % len(self.model.lots)
            if not self.model.lots[place].is_refunded:
                self.shop.world.refund(self._paid()[place])
                self.model.refund(place)
                self.shop.deliver()

    def _paid(self):
        """The payments, oldest first."""
        return [one["id"] for one in reversed(self.shop.world.all("payment_intent")) if one["status"] == "succeeded"]

    def _agree(self, *, enabled):
        consent = Consent(text="I agree.", actor=ACCOUNT, at=self.clock.now)
        kept = self.shop.billing.set_auto_recharge(
            AutoRecharge(
                tenant=self.shop.tenant,
                account_id=ACCOUNT,
                enabled=enabled,
                threshold=self.life.threshold,
                package="starter",
                target=self.model.target,
                cap=Money(minor_units=self.life.cap * self.life.price, currency="USD"),
                consent=consent,
            )
        )
        assert not isinstance(kept, Refused), kept
        self.model.agree(enabled=enabled)

    def _policy(self):
        return self.shop.billing.auto_recharge(self.shop.tenant, ACCOUNT, "credits")

    def _look(self):
        """All servers look, again and again, until nothing happens any more."""
        began, before = self.clock.now, None
        with ThreadPoolExecutor(len(self.servers)) as threads:
            while before != (now := (self._policy().version, len(self.till.faults))):
                before = now
                for looked in [threads.submit(server.recharge_due) for server in self.servers]:
                    looked.result()
                if not self.is_late and self.shop.has_news:
                    self.shop.deliver()
        assert self.clock.now - began < HOUR
        self.model.look(began)
        self._compare()

    def _compare(self):
        policy, model = self._policy(), self.model
        assert self.shop.balance() == (model.available, 0, model.owed), model
        assert (policy.enabled, policy.declines, policy.order_id) == (model.enabled, model.declines, "")
        assert (policy.retry_at is None) == (model.retry_at is None)
        assert policy.retry_at is None or timedelta(0) <= policy.retry_at - model.retry_at < HOUR
        intents = self.shop.world.all("payment_intent")
        assert len(intents) == 1 + len(model.charges)
        assert self.shop.nets() == model.nets()
        assert self.shop.money_nets() == model.money_nets()


def check(life, ledger, clock, others=()):
    """The same charges and the same books, whoever decides, and however it is told; each with what was agreed to."""
    as_it_happened, in_its_order, in_another = told_three_ways(life)
    ways = [
        (as_it_happened, [ledger], False),
        (in_its_order, [ledger, *(others or [ledger])], False),
        (in_another, [ledger, *(others or [ledger])], True),
    ]
    for told, ledgers, is_late in ways:
        clock.now = START
        shop = Shop(ledger, clock, f"r{next(_tenants)}", told=told, rules=SaleRules())
        player = Player(life, shop, clock, ledgers, is_late=is_late)
        player.play()
        entries = shop.entries()
        shop.deliver()
        assert shop.entries() == entries
        assert shop.set_aside() == {}
        recharges = [one for one in shop.billing.orders(shop.tenant).orders if one.kind is OrderKind.RECHARGE]
        assert len(recharges) == len(player.model.charges)
        assert all(one.consent is not None for one in recharges)
        assert sum(one.state is OrderState.FAILED for one in recharges) == sum(not ok for _, ok in player.model.charges)
        # Nobody looks any more.
        player.shop.billing.set_auto_recharge(AutoRecharge(tenant=shop.tenant, account_id=ACCOUNT))


def test_whoever_recharges_and_however_it_is_told_as_much_is_charged_as_was_agreed(sqlite_url, clock):
    assert_always(check, lives(steps_max=7), sqlite_url, clock, max_examples=5)


def test_so_it_is_with_two_servers_on_postgresql(postgres_url, clock):
    with Ledger(postgres_url, clock=clock, options=WriterOptions(linger_ms=0)) as other:
        assert_always(lambda *of: check(*of, [other]), lives(steps_max=5), postgres_url, clock, max_examples=2)


@pytest.mark.soak
def test_of_many_accounts_as_much_is_charged_as_was_agreed(sqlite_url, clock):
    assert_always(check, lives(), sqlite_url, clock, max_examples=2000, derandomize=False)
