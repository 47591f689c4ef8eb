"""A shop for tests: one tenant's books, one account at Stripe, and events between them in whatever order.

Customers and banks do things at Stripe; what is told of it is kept, until `deliver` brings it to the ledger.
"""

import json
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count
from random import Random

from hypothesis import given, settings

from ledger import (
    Accepted,
    AccountName,
    Checkout,
    Deduct,
    EventState,
    Ledger,
    MadeOrder,
    OpenAccount,
    Package,
    Plan,
    Reason,
    Refused,
    WriterOptions,
)
from server.inbox import Inbox
from server.stripe_events import take
from tests.books import merging
from tests.stripe_shapes import Shape, event_shown
from tests.stripe_world import StripeWorld

ACCOUNT = "acme"
# An order that waits is looked at again after this.
PATIENCE = timedelta(minutes=2)
ROUNDS_MAX = 20
# Of the newest API, of an old one, and of both by turns.
SHAPES = [(Shape.NEW,), (Shape.OLD,), (Shape.OLD, Shape.NEW)]


@dataclass(frozen=True)
class Told:
    """How events come.

    seed       of the order, the repeats and the shapes; None: each once, as they were made
    shapes     of which each event has one, by chance
    """

    seed: int | None = None
    shapes: tuple[Shape, ...] = (Shape.NEW,)


def told_three_ways(life):
    """As it happened; in an order and in shapes that the life draws; and in another, in both shapes."""
    return (
        Told(),
        Told(seed=life.seed, shapes=life.shapes),
        Told(seed=life.seed + 1, shapes=(Shape.OLD, Shape.NEW)),
    )


class Shop:
    """One tenant. What is sold is set once; then things happen at Stripe through `world`."""

    def __init__(self, ledger, clock, tenant, *, told, rules):
        self.ledger = ledger
        self.tenant = tenant
        self._clock = clock
        self._told = told
        self._chance = Random(told.seed)
        self._seconds = count()
        self._came = 0
        self._numbers = count(1)
        # By asset, where the account was and is.
        self._merged = {}
        self.billing = ledger.billing(rules)
        self._inbox = Inbox(self.billing, secrets=(), livemode=False, clock=clock, noted=lambda _state: None)
        # Of two things that happen, the later one is later by a second.
        self.world = StripeWorld(clock=lambda: int(clock.now.timestamp()) + next(self._seconds), salt=tenant)

    @property
    def account(self):
        return self.account_in("credits")

    def account_in(self, asset):
        """The customer's account in an asset, wherever that is by now."""
        return AccountName(tenant=self.tenant, account_id=self._merged.get(asset, [ACCOUNT])[-1], asset=asset)

    def merge(self, asset):
        """Merges the customer's account into a new one, unless something of it is held."""
        into = replace(self.account_in(asset), account_id=f"{ACCOUNT}-{next(self._numbers)}")
        for account in (self.account_in(asset), into):
            self.ledger.execute(OpenAccount(request_id="open", account=account))
        merged = self.ledger.execute(merging(self.account_in(asset), into))
        if isinstance(merged, Accepted):
            self._merged.setdefault(asset, [ACCOUNT]).append(into.account_id)
        else:
            assert merged.reason is Reason.ACCOUNT_HAS_HOLDS

    def sell(self, *offers):
        """Puts packages and plans on sale."""
        for offer in offers:
            put = {Package: self.billing.create_package, Plan: self.billing.put_plan}[type(offer)]
            assert not isinstance(put(self.tenant, offer), Refused)

    def begin(self, **sold):
        """Begins a checkout of a package or a plan; answers its session."""
        checkout = Checkout(
            tenant=self.tenant,
            request_id=f"checkout-{next(self._numbers)}",
            account_id=ACCOUNT,
            success_url="https://shop.example/done",
            cancel_url="https://shop.example/back",
            **sold,
        )
        made = self.billing.create_checkout(checkout)
        assert isinstance(made, MadeOrder), made
        metadata = {"scrip_order": made.order.order_id, "scrip_tenant": self.tenant, "scrip_account": ACCOUNT}
        asked = {"success_url": checkout.success_url, "cancel_url": checkout.cancel_url, "metadata": metadata}
        if sold.get("plan"):
            (plan,) = (plan for plan in self.billing.plans(self.tenant) if plan.plan == sold["plan"])
            price = plan.stripe_prices[0]
            asked |= {
                "mode": "subscription",
                "line_items": [{"price": price, "quantity": "1"}],
                "subscription_data": {"metadata": metadata | {"scrip_plan": sold["plan"]}},
            }
            amount, currency = self.world.get(price)["unit_amount"], "usd"
        else:
            asked |= {"mode": "payment", "payment_intent_data": {"metadata": metadata}}
            if checkout.save_payment_method:
                asked["customer_creation"] = "always"
                asked["payment_intent_data"]["setup_future_usage"] = "off_session"
            amount, currency = made.order.price.minor_units, made.order.price.currency.lower()
        session = self.world.session(asked, amount, currency)
        named = self.billing.name_order(
            self.tenant, made.order.order_id, stripe_id=session["id"], url=session["url"], refs=(session["id"],)
        )
        assert named.stripe_id == session["id"]
        return session

    def spend(self, amount, asset="credits"):
        """Uses credits that are there."""
        account = self.account_in(asset)
        deducted = self.ledger.execute(
            Deduct(request_id=f"spent-{next(self._numbers)}", account=account, amount=amount)
        )
        assert isinstance(deducted, Accepted), deducted

    @property
    def has_news(self):
        """True if something happened since that is not brought yet."""
        return len(self.world.events) > self._came

    def deliver(self):
        """Brings what happened since to the ledger, and with it, again, some of what was brought before."""
        events = self.world.events
        coming = events[self._came :]
        if self._told.seed is not None:
            again = [event for event in events if self._chance.random() < 1 / 3]
            coming = self._chance.sample([*coming, *again], len(coming) + len(again))
        self._came = len(events)
        for event in coming:
            shown = event_shown(event, self._chance.choice(self._told.shapes))
            taken = take(json.dumps(shown).encode(), self._clock.now)
            self._inbox.store(taken)
            self._inbox.apply(taken)
        self.settle()

    def settle(self):
        """Does what a server does by itself: events that can be applied by now, orders that had to wait."""
        was_quiet = False
        for _ in range(ROUNDS_MAX):
            is_quiet = True
            # What is received again because of these, too: before what is granted for a moment is gone.
            while self._inbox.apply_pending():
                is_quiet = False
            is_quiet = not self.billing.settle_due() and is_quiet
            # Once more, later: what is granted after its time lapses in a moment.
            self._clock.now += PATIENCE
            if is_quiet and was_quiet:
                return
            was_quiet = is_quiet
        raise AssertionError("something is never settled")

    def set_aside(self):
        """Why events are set aside, by their ids."""
        found = self.billing.events(EventState.SET_ASIDE, page_size=500).events
        return {event.event_id: event.why for event in found if self.tenant in event.event_id}

    def balance(self, asset="credits"):
        """(available, held, owed); nothing for an account that is not open."""
        found = self.ledger.balances(self.tenant, self.account_in(asset).account_id, asset)
        balances = getattr(found, "balances", ())
        return (balances[0].available, balances[0].held, balances[0].owed) if balances else (0, 0, 0)

    def nets(self, asset="credits"):
        """Debits less credits by code of an asset's trial balance, those that are not zero."""
        found = self.ledger.trial_balance(self.tenant, asset)
        return {row.code.value: row.balance for one in found.assets for row in one.rows if row.balance}

    def money_nets(self):
        """The same of the monetary journal, in minor units."""
        found = self.ledger.money_trial_balance(self.tenant)
        return {row.code.value: row.balance for one in found.currencies for row in one.rows if row.balance}

    def paid_lots(self):
        """How many lots that cost something the customer ever had."""
        names = [replace(self.account, account_id=name) for name in self._merged.get("credits", [ACCOUNT])]
        found = [getattr(self.ledger.lots(name, include_empty=True), "lots", ()) for name in names]
        return sum(lot.terms.cost is not None for lots in found for lot in lots)

    def is_unlimited(self, asset):
        """True if a plan covers all use of an asset."""
        found = getattr(self.ledger.account(self.account_in(asset)), "account", None)
        return found is not None and found.terms.unlimited

    def entries(self):
        """How many entries the account has."""
        found = self.ledger.account(self.account)
        return getattr(getattr(found, "account", None), "seq", 0)


def assert_always(check, lives, url, clock, **how):
    """Checks lives on one ledger, which is empty at first; each has a tenant of its own.

    how   of hypothesis
    """
    with Ledger(url, clock=clock, options=WriterOptions(linger_ms=0)) as ledger:

        @settings(**how)
        @given(lives)
        def holds(life):
            check(life, ledger, clock)

        holds()


def assert_alike(money, most):
    """No two nets of a code are further apart than `most` minor units."""
    for code in {code for nets in money for code in nets}:
        amounts = [nets.get(code, 0) for nets in money]
        assert max(amounts) - min(amounts) <= most, code
