"""Orders without a database: facts are learned, and what they want is decided on by the pure books."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta

from ledger import (
    Accepted,
    Asset,
    Code,
    Deduct,
    Money,
    Order,
    OrderKind,
    Package,
    PackageContent,
    PlaceHold,
    SaleRules,
)
from ledger.sales.learning import learn
from ledger.sales.selling import for_package
from ledger.sales.settle import Known, next_step, rested
from ledger.sales.steps import after
from tests.books import START, capturing, releasing
from tests.pure_books import PureBooks

STEPS_MAX = 20


def eur(minor_units):
    return Money(minor_units=minor_units, currency="EUR")


def package(credits_=100, price=1000, bonus=0, **terms):
    content = PackageContent(credits=credits_, bonus_credits=bonus, **terms)
    return Package(package="starter", title="Starter", contents=(content,), price=eur(price))


def order_of(sold, kind=OrderKind.CHECKOUT):
    order = Order(
        tenant="default",
        order_id="or_1",
        kind=kind,
        account_id="acme",
        price=None,
        livemode=False,
        created_at=START,
        stripe_id="cs_1",
    )
    return for_package(order, sold)


class Shop:
    """One order and the books it posts to.

    spends   what the customer spends as soon as it is granted
    held     what was held of each lot after each batch since something was learnt, and before the first
    """

    def __init__(self, order, rules=None, spends=0, now=START):
        self.order, self.rules, self.now = order, rules or SaleRules(), now
        self._left_to_spend = spends
        assets = {sold.asset: Asset(tenant="default", asset=sold.asset, scale=0) for sold in order.sold}
        self.pure = PureBooks(assets)
        self.following = None
        self.steps = 0
        self.held = []

    def learn(self, *facts):
        self.order, self.held = learn(self.order, facts), [self.held_of_lots()]
        self.settle()

    def settle(self):
        for _ in range(STEPS_MAX):
            step = next_step(self.order, self.read(), self.now, self.rules)
            if not step.posts:
                self.order = rested(self.order, step)
                return
            outcomes = self.pure.execute_atomically(step.operations, self.now)
            assert all(isinstance(outcome, Accepted) for outcome in outcomes), outcomes
            self.order = after(self.order, step, outcomes)
            self.steps += 1
            self.held.append(self.held_of_lots())
            if self._left_to_spend and self.order.granted:
                self.spend(self._left_to_spend)
                self._left_to_spend = 0
        raise AssertionError(f"{self.order} is not settled by {STEPS_MAX} steps")

    def spend(self, amount, asset="credits"):
        name = self.order.account(asset)
        outcome = self.pure.execute(Deduct(request_id=f"spend-{self.steps}", account=name, amount=amount), self.now)
        assert isinstance(outcome, Accepted), outcome

    def hold(self, amount):
        """A hold of the customer's own."""
        placed = PlaceHold(request_id="hold", account=self.order.account("credits"), amount=amount)
        return self.pure.execute(placed, self.now).entry

    def release(self, held):
        outcome = self.pure.execute(releasing(held), self.now)
        assert isinstance(outcome, Accepted), outcome

    def capture(self, held):
        outcome = self.pure.execute(capturing(held), self.now)
        assert isinstance(outcome, Accepted), outcome

    def read(self):
        states = self.pure.states
        lapsed = {}
        for key, entries in self.pure.entries.items():
            for entry in entries:
                for line in entry.lines:
                    if line.credit is Code.BREAKAGE:
                        lapsed[key, line.lot] = lapsed.get((key, line.lot), 0) + line.amount
        return Known(
            accounts=frozenset(key for key, state in states.items() if state.account is not None),
            lots={(key, number): lot for key, state in states.items() for number, lot in state.lots.items()},
            holds={
                (key, number): hold
                for key, state in states.items()
                for number, hold in state.holds.items()
                if hold.ended_at is None
            },
            lapsed=lapsed,
            following=self.following,
        )

    def sides(self, asset="credits"):
        """Available, held and owed."""
        state = self.pure.states.get(self.order.account(asset).key)
        account = None if state is None else state.account
        return (0, 0, 0) if account is None else (account.available, account.held, account.owed)

    def held_of_lots(self):
        """What is held of each lot, by its number; all are of one asset."""
        return Counter({lot.number: lot.held for state in self.pure.states.values() for lot in state.lots.values()})

    def later(self, **time):
        self.now += timedelta(**time)

    def is_settled(self):
        """Looked at again, it posts nothing."""
        return not next_step(self.order, self.read(), self.now, self.rules).posts

    def known(self):
        """What of the order must not depend on the order of what is told."""
        outstanding = {sold.name: self.order.outstanding(sold.name) for sold in self.order.sold}
        return replace(self.order.payment), self.order.state, self.order.returned, outstanding
