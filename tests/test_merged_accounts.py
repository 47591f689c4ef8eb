"""What becomes of purchases whose account is merged into another: before they are paid, and after."""

from datetime import timedelta

import pytest

from ledger import Accepted, EventState, Ledger, OpenAccount, Reason, SaleRules
from tests.books import START, Clock, merging
from tests.sales import Shop, account, paid
from tests.test_billing import ROWS


class Merging(Shop):
    """A shop whose customer's account is merged into another, and that again."""

    def __init__(self, ledger, rules=None):
        super().__init__(ledger, rules)
        self.left = []

    def merge(self, asset="credits"):
        """Answers whether it could be done: what is held is not merged."""
        name = account(asset, self.customer)
        into = account(asset, f"acme-{len(self.left) + 1}")
        for one in (name, into):
            self.ledger.execute(OpenAccount(request_id=f"open-{one.account_id}", account=one))
        merged = self.ledger.execute(merging(name, into))
        if not isinstance(merged, Accepted):
            assert merged.reason is Reason.ACCOUNT_HAS_HOLDS
            return False
        self.left.append(name)
        self.customer = into.account_id
        return True

    def live(self, row, clock, merges):
        """A row of what a payment does to the books, with merges after so many events: 0 is before the payment."""
        sold, events, _, _, _ = ROWS[row]
        order = self.checkout(sold)
        for place, event in enumerate([paid(), *events, timedelta()]):
            if place in merges:
                self.merge()
            if isinstance(event, int):
                self.spend(event)
            elif isinstance(event, timedelta):
                clock.now += event
            else:
                self.event(event, order_id=order.order_id)
        return order

    def money(self):
        """Debits less credits by code of the monetary journal."""
        (found,) = self.ledger.money_trial_balance("default").currencies
        return {row.code: row.balance for row in found.rows}

    def is_empty(self, name):
        found = self.ledger.balances("default", name.account_id, name.asset).balances[0]
        return (found.available, found.pending, found.held, found.owed) == (0, 0, 0, 0)


@pytest.mark.parametrize("row", ROWS)
def test_a_payment_comes_to_the_same_if_the_account_is_merged_again_and_again(row, sqlite_url, tmp_path):
    _, _, policy, sides, state = ROWS[row]
    clock, rules = Clock(), SaleRules(returned=policy)
    with Ledger(sqlite_url, clock=clock) as ledger, Ledger(f"sqlite:///{tmp_path / 'other.db'}", clock=clock) as other:
        for books in (ledger, other):
            books.define_asset("default", "calls", 0)
        without, shop = Merging(other, rules), Merging(ledger, rules)
        without.live(row, clock, merges=())
        clock.now = START

        order = shop.live(row, clock, merges=range(10))

        assert (shop.sides(), shop.order(order.order_id).state) == (sides, state)
        assert shop.money() == without.money()
        assert shop.left
        assert all(shop.is_empty(name) for name in shop.left)
        # Nothing is left to do, and all of it told again changes nothing.
        assert {shop.billing.apply_event(reading).state for reading in shop.told} == {EventState.APPLIED}
        assert shop.sides() == sides


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_what_was_spent_before_a_merge_is_owed_after_it(place, ledger, clock):
    shop = Merging(ledger)

    shop.live("refunded in full, spent in part: owed", clock, merges={place})

    assert shop.sides() == (0, 0, 60)
