"""What becomes of purchases whose account is merged into another: before they are paid, and after."""

from datetime import timedelta

import pytest

from ledger import (
    Accepted,
    Close,
    CustomerSeen,
    EventState,
    Ledger,
    OpenAccount,
    PlanContent,
    Reading,
    Reason,
    Rollover,
    SaleRules,
    SpentPart,
    SubscriptionState,
)
from ledger.administration import Reclaim
from ledger.billing import settling
from tests.books import START, Clock, audit_findings, merging, touch
from tests.sales import Shop, account, days, invoice, line, paid, pay, plan, refund, seen
from tests.test_billing import BUNDLE, ROWS, WHO_AND_WHY
from tests.test_recharges import agreed


def remaining(shop):
    """What each lot of the customer has left."""
    found = shop.ledger.lots(account(account_id=shop.customer), include_empty=True).lots
    return [lot.remaining for lot in found]


JANUARY, FEBRUARY, MARCH = line(0, 31), line(31, 59), line(59, 90)


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

    def is_unlimited(self):
        return self.ledger.account(account(account_id=self.customer)).account.terms.unlimited

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


@pytest.fixture
def shop(ledger, clock):
    ledger.define_asset("default", "calls", 0)
    shop = Merging(ledger)
    shop.clock = clock
    return shop


def test_each_asset_goes_to_where_its_own_account_is(shop):
    order = shop.checkout(BUNDLE)
    shop.merge("calls")

    shop.event(paid(), order_id=order.order_id)
    granted = shop.ledger.balances("default", "acme", "credits"), shop.ledger.balances("default", "acme-1", "calls")
    shop.event(refund(1000))

    assert [found.balances[0].available for found in granted] == [100, 7]
    assert shop.sides("calls") == (0, 0, 0)
    assert shop.ledger.balances("default", "acme", "credits").balances[0].available == 0


def test_an_account_is_not_merged_back_so_that_following_it_ends(shop):
    shop.merge()

    back = shop.ledger.execute(merging(account(account_id="acme-1"), account()))

    assert back.reason is Reason.ACCOUNT_CLOSED


def test_an_account_that_was_merged_and_closed_then_sets_the_payment_aside(shop):
    order = shop.checkout()
    shop.merge()
    shop.ledger.execute(Close(request_id="close", account=account(account_id=shop.customer)))

    event = shop.event(paid(), order_id=order.order_id)

    assert (event.state, "account_closed" in event.why) == (EventState.SET_ASIDE, True)


def test_a_payment_that_was_set_aside_is_granted_by_hand_where_the_account_was_merged_into(shop):
    order = shop.checkout()
    shop.merge()

    shop.billing.fulfil("default", order.order_id, WHO_AND_WHY)

    assert shop.sides() == (100, 0, 0)


def test_an_account_that_is_merged_while_its_payment_is_applied_has_it_decided_again(shop, monkeypatch):
    order = shop.checkout()
    read = settling.next_step

    def read_and_merge(*given):
        monkeypatch.setattr(settling, "next_step", read)
        shop.merge()
        return read(*given)

    shop.ledger.execute(OpenAccount(request_id="o", account=account()))
    monkeypatch.setattr(settling, "next_step", read_and_merge)
    event = shop.event(paid(), order_id=order.order_id)

    assert (event.state, shop.sides()) == (EventState.APPLIED, (100, 0, 0))


def test_the_lots_of_an_order_are_named_where_they_are(shop):
    order = shop.checkout()
    shop.event(paid(), order_id=order.order_id)
    shop.spend(40)
    shop.merge()

    shop.event(refund(100))

    found = shop.order(order.order_id)
    assert [(lot.account_id, lot.credits - lot.moved) for lot in found.lots] == [("acme", 40), ("acme-1", 60)]
    assert found.place(found.lots[1])[0] == account(account_id="acme-1").key


def test_what_is_taken_back_of_a_merged_account_is_audited_to_the_cent(shop):
    order = shop.checkout()
    shop.event(paid(), order_id=order.order_id)
    shop.spend(40)
    shop.merge()
    shop.event(refund(1000))
    url = str(shop.ledger)
    before = audit_findings(url)

    touch(url, "UPDATE lines SET cost = cost - 1 WHERE debit = 'owed' AND credit = 'payments'")
    found = audit_findings(url)
    touch(url, "UPDATE lines SET cost = cost + 1 WHERE debit = 'owed' AND credit = 'payments'")

    assert before == []
    assert any("399 EUR of the cost of lot 1 goes from owed to payments" in finding for finding in found), found


def test_no_more_is_taken_back_of_a_merged_account_than_was_spent_there_before(shop):
    order = shop.checkout()
    shop.event(paid(), order_id=order.order_id)
    shop.spend(40)
    shop.merge()
    (spent, _) = shop.ledger.billing().learn(Reading(order_id=order.order_id, refs=("pi_1",), facts=(refund(0),))).lots
    asked = {
        "tenant": "default",
        "key": account().key,
        "lot": spent.lot,
        "into": account(account_id=shop.customer),
        "moved": spent.moved,
        "moved_cost": spent.moved_cost,
        "spent": SpentPart.OWE,
    }

    too_much = shop.ledger.execute(Reclaim(request_id="take-1", amount=41, **asked))
    done = shop.ledger.execute(Reclaim(request_id="take-2", amount=40, **asked))
    again = shop.ledger.execute(Reclaim(request_id="take-2", amount=40, **asked))
    more = shop.ledger.execute(Reclaim(request_id="take-3", amount=1, **asked))

    assert (spent.moved, spent.moved_cost) == (60, 600)
    assert (too_much.reason, too_much.figures["revocable"]) == (Reason.AMOUNT_ABOVE_REVOCABLE, 40)

    assert (again.entry, again.replayed) == (done.entry, True)
    assert more.reason is Reason.AMOUNT_ABOVE_REVOCABLE
    assert shop.sides() == (60, 0, 40)


def test_the_invoices_of_a_subscription_are_granted_where_the_account_is(shop, clock):
    shop.billing.put_plan("default", plan(PlanContent(credits=100, rollover=Rollover(share_percent=50, cap=30))))
    pay(shop, "in_1", JANUARY)
    shop.spend(40)
    shop.merge()
    clock.now = days(31)
    pay(shop, "in_2", FEBRUARY, at=31)
    shop.billing.settle_due()
    in_february = remaining(shop)
    shop.merge()
    clock.now = days(59)

    pay(shop, "in_3", MARCH, at=59)
    shop.billing.settle_due()

    # A half of the 60 that were moved and not spent, and the cap.
    assert in_february == [30, 100, 0]
    assert remaining(shop)[:2] == [30, 100]
    assert all(shop.is_empty(name) for name in shop.left)


def test_an_unlimited_plan_covers_the_account_that_its_own_was_merged_into_from_the_next_invoice_on(shop, clock):
    shop.billing.put_plan("default", plan(PlanContent(unlimited=True)))
    pay(shop, "in_1", JANUARY)
    shop.merge()
    clock.now = days(31)

    pay(shop, "in_2", FEBRUARY, at=31)
    covered = shop.is_unlimited()
    shop.event(seen(SubscriptionState.ENDED, at=40), refs=("sub_1",), subscription="sub_1")

    assert (covered, shop.is_unlimited()) == (True, False)


def test_of_two_unlimited_plans_of_merged_accounts_one_may_end(shop, clock):
    shop.billing.put_plan("default", plan(PlanContent(unlimited=True)))
    pay(shop, "in_1", JANUARY)
    theirs = {"account_id": "acme-1", "subscription": "sub_2"}
    shop.event(invoice("in_2", JANUARY, subscription="sub_2"), refs=("in_2",), **theirs)
    shop.merge()
    clock.now = days(31)
    pay(shop, "in_3", FEBRUARY, at=31)

    shop.event(seen(SubscriptionState.ENDED, at=40, subscription="sub_2"), refs=("sub_2",), subscription="sub_2")
    goes_on = shop.is_unlimited()
    shop.event(seen(SubscriptionState.ENDED, at=41), refs=("sub_1",), subscription="sub_1")

    assert (goes_on, shop.is_unlimited()) == (True, False)


def test_a_recharge_whose_account_is_merged_while_it_is_charged_is_granted_where_that_is(shop):
    order = shop.checkout()
    customer = CustomerSeen(customer="cus_1", payment_method="pm_1", at=START)
    shop.event(paid(), customer, refs=("cs_starter", "pi_0"), order_id=order.order_id)
    shop.billing.set_auto_recharge(agreed())
    shop.spend(90)
    (due,) = shop.billing.due_recharges()
    recharge = shop.billing.begin_recharge(due)
    shop.merge()

    shop.event(paid(), refs=("pi_1",), order_id=recharge.order_id)

    assert shop.sides() == (110, 0, 0)
    assert shop.billing.due_recharges() == ()
    assert shop.billing.auto_recharge("default", "acme", "credits").order_id == ""
