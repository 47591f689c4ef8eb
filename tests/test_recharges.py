"""Accounts that recharge themselves: when, how often, for how much at most, and what a decline does."""

from datetime import timedelta

import pytest

from ledger import (
    AutoRecharge,
    Close,
    Consent,
    CustomerSeen,
    Grant,
    MalformedError,
    Money,
    NotPaid,
    OrderKind,
    OrderState,
    Package,
    PackageContent,
    Reading,
    Reason,
    Source,
    UpdateAccount,
)
from tests.books import START, opening
from tests.sales import Shop, account, days, eur, package, paid

HOUR = timedelta(hours=1)
CONSENT = Consent(text="I agree to be charged 10 EUR whenever I have less than 20 credits.", actor="acme", at=START)
SOLD = {"package": "starter", "title": "Starter", "contents": (PackageContent(credits=100),)}
DECLINED = NotPaid(why="card_declined", is_final=False, at=START)


def agreed(**given):
    terms = {"enabled": True, "threshold": 20, "package": "starter", "cap": eur(3000), "consent": CONSENT}
    return AutoRecharge(**{"tenant": "default", "account_id": "acme", **terms, **given})


@pytest.fixture
def shop(ledger):
    """Acme has bought 100 credits and left a payment method."""
    shop = Shop(ledger)
    order = shop.checkout()
    seen = CustomerSeen(customer="cus_1", payment_method="pm_1", at=START)
    shop.event(paid(), seen, refs=("cs_starter", "pi_0"), order_id=order.order_id)
    return shop


def begin(shop):
    """The order of the only recharge that is due; None if none is, or it may not begin."""
    due = shop.billing.due_recharges()
    assert len(due) <= 1
    return shop.billing.begin_recharge(due[0]) if due else None


def end(shop, order, fact):
    return shop.billing.learn(Reading(order_id=order.order_id, refs=(f"pi_{order.order_id}",), facts=(fact,)))


def policy(shop):
    return shop.billing.auto_recharge("default", "acme", "credits")


def test_no_account_recharges_itself_unless_that_was_agreed(shop):
    shop.spend(95)

    assert shop.billing.due_recharges() == ()
    assert not policy(shop).enabled


def test_an_account_below_its_threshold_buys_its_package(shop):
    shop.billing.set_auto_recharge(agreed())
    shop.spend(80)
    at_threshold = begin(shop)
    shop.spend(1)

    order = begin(shop)
    end(shop, order, paid())

    assert at_threshold is None
    assert (order.kind, order.price, order.state) == (OrderKind.RECHARGE, eur(1000), OrderState.OPEN)
    assert (shop.order(order.order_id).state, shop.sides()) == (OrderState.FULFILLED, (119, 0, 0))
    assert (policy(shop).order_id, begin(shop)) == ("", None)


def test_an_order_keeps_what_the_customer_had_agreed_to_whatever_is_agreed_later(shop):
    later = Consent(text="I agree to more.", actor="jo", at=START)
    shop.billing.set_auto_recharge(agreed())
    shop.spend(81)
    order = begin(shop)
    end(shop, order, paid())

    shop.billing.set_auto_recharge(agreed(consent=later))
    shop.billing.set_auto_recharge(AutoRecharge(tenant="default", account_id="acme"))

    assert (shop.order(order.order_id).consent, policy(shop).consent) == (CONSENT, None)


def test_one_recharge_is_under_way_at_a_time(shop):
    shop.billing.set_auto_recharge(agreed())
    shop.spend(90)

    first, again = begin(shop), begin(shop)

    assert first.order_id == again.order_id == policy(shop).order_id
    assert [order.kind for order in shop.billing.orders("default").orders].count(OrderKind.RECHARGE) == 1


def test_whoever_decides_on_what_is_past_begins_nothing(shop):
    shop.billing.set_auto_recharge(agreed())
    shop.spend(90)
    (due,) = shop.billing.due_recharges()
    first = shop.billing.begin_recharge(due)
    end(shop, first, paid())

    assert shop.billing.begin_recharge(due) is None


def test_it_goes_on_until_the_target_is_reached(shop):
    shop.billing.set_auto_recharge(agreed(target=250, cap=eur(10_000)))
    shop.spend(90)
    bought = 0
    while order := begin(shop):
        end(shop, order, paid())
        bought += 1

    assert (bought, shop.sides()) == (3, (310, 0, 0))
    shop.spend(100)
    # Below the target, but not below the threshold.
    assert begin(shop) is None


def test_no_more_than_the_cap_is_spent_in_a_calendar_month(shop, clock):
    shop.billing.set_auto_recharge(agreed(cap=eur(2500)))
    bought = []
    for day in (1, 2, 3, 30, 31):
        clock.now = days(day)
        if (left := shop.sides()[0]) > 5:
            shop.spend(left - 5)
        if order := begin(shop):
            end(shop, order, paid())
            bought.append(day)

    # February begins with the 31st day after New Year.
    assert bought == [1, 2, 31]


def test_after_a_decline_it_waits_longer_each_time_and_gives_up_after_the_third(shop, clock):
    shop.billing.set_auto_recharge(agreed())
    shop.spend(90)
    tried = []
    for _ in range(40):
        if order := begin(shop):
            end(shop, order, DECLINED)
            tried.append((clock.now - START) // HOUR)
        clock.now += HOUR

    assert tried == [0, 1, 7]
    assert (policy(shop).enabled, policy(shop).declines, policy(shop).retry_at) == (False, 3, None)
    shop.billing.set_auto_recharge(agreed())
    assert begin(shop) is not None


def test_a_recharge_that_succeeds_forgets_the_declines(shop, clock):
    shop.billing.set_auto_recharge(agreed())
    shop.spend(90)
    end(shop, begin(shop), DECLINED)
    clock.now += HOUR

    end(shop, begin(shop), paid())

    assert (policy(shop).declines, policy(shop).retry_at) == (0, None)


def test_what_is_declined_and_paid_after_all_is_granted(shop):
    shop.billing.set_auto_recharge(agreed())
    shop.spend(90)
    order = begin(shop)
    end(shop, order, DECLINED)

    end(shop, order, paid())

    assert shop.sides() == (110, 0, 0)


def test_what_is_not_effective_yet_or_has_run_out_cannot_be_spent_and_is_not_counted(shop, ledger, clock):
    later = {"account": account(), "amount": 500, "source": Source.PROMO}
    ledger.execute(Grant(request_id="later", effective_at=days(10), **later))
    ledger.execute(Grant(request_id="gone", ttl=HOUR, **later))
    shop.billing.set_auto_recharge(agreed())
    shop.spend(590)
    before = begin(shop)
    clock.now += HOUR

    assert (before is None, begin(shop) is None) == (False, False)


REFUSALS = {
    "an asset that is not defined": (agreed(asset="gold"), Reason.ASSET_NOT_FOUND),
    "a package that is not there": (agreed(package="none"), Reason.PACKAGE_NOT_FOUND),
    "a package without the asset": (agreed(package="calls"), Reason.PACKAGE_NOT_FOUND),
    "nobody to charge": (agreed(account_id="other"), Reason.NO_PAYMENT_METHOD),
}


@pytest.mark.parametrize("row", REFUSALS)
def test_what_cannot_be_agreed_is_refused(shop, ledger, row):
    recharge, reason = REFUSALS[row]
    ledger.define_asset("default", "calls", 0)
    shop.billing.create_package("default", package(PackageContent(asset="calls", credits=1), package="calls"))

    assert shop.billing.set_auto_recharge(recharge).reason is reason


def test_a_package_that_is_not_sold_any_more_is_not_bought(shop):
    shop.billing.set_auto_recharge(agreed())
    shop.spend(90)
    shop.billing.deactivate_package("default", "starter")

    assert begin(shop) is None


def test_what_is_disabled_keeps_what_is_under_way(shop):
    shop.billing.set_auto_recharge(agreed())
    shop.spend(90)
    order = begin(shop)

    shop.billing.set_auto_recharge(agreed(enabled=False))
    end(shop, order, paid())

    assert (policy(shop).enabled, policy(shop).order_id, shop.sides()) == (False, "", (110, 0, 0))


def test_a_newer_payment_method_replaces_the_one_before(shop):
    shop.event(CustomerSeen(customer="cus_1", payment_method="pm_2", at=days(2)), tenant="default", account_id="acme")
    shop.event(CustomerSeen(customer="cus_1", payment_method="pm_1", at=days(1)), tenant="default", account_id="acme")
    shop.event(CustomerSeen(customer="cus_1", at=days(3)), tenant="default", account_id="acme")

    shop.billing.set_auto_recharge(agreed())
    shop.spend(90)
    assert begin(shop).payment_method == "pm_2"


def test_what_was_begun_is_asked_of_the_same_customer_again_whoever_that_is_now(shop):
    shop.billing.set_auto_recharge(agreed())
    shop.spend(90)
    begun = begin(shop)

    other = CustomerSeen(customer="cus_2", payment_method="pm_2", at=days(2))
    shop.event(other, tenant="default", account_id="acme")
    again = begin(shop)

    assert again == begun
    assert (again.customer, again.payment_method) == ("cus_1", "pm_1")


def test_what_may_not_buy_does_not_keep_others_waiting(shop, ledger):
    for number in range(3):
        one = f"a{number}"
        ledger.execute(opening(account(account_id=one)))
        shop.event(CustomerSeen(customer=f"cus_{one}", payment_method="pm", at=START), tenant="default", account_id=one)
        shop.billing.set_auto_recharge(agreed(account_id=one, cap=eur(1)))
    shop.billing.set_auto_recharge(agreed())
    shop.spend(90)

    capped = shop.billing.due_recharges(3)
    behind = shop.billing.due_recharges(3, after=capped[-1])
    begun = [shop.billing.begin_recharge(one) for one in capped]
    later = shop.billing.due_recharges(3)

    assert [one.account_id for one in capped] == ["a0", "a1", "a2"]
    assert [one.account_id for one in behind] == ["acme"]
    assert begun == [None, None, None]
    assert [one.account_id for one in later] == ["acme"]
    assert shop.billing.auto_recharge("default", "a0", "credits").retry_at == days(31)


def test_a_package_that_is_sold_again_is_bought_within_the_hour(shop, clock):
    shop.billing.set_auto_recharge(agreed())
    shop.spend(90)
    shop.billing.deactivate_package("default", "starter")
    not_sold = begin(shop)
    shop.billing.update_package("default", package())

    clock.now += HOUR

    assert (not_sold, begin(shop) is None) == (None, False)


def test_what_is_agreed_anew_waits_for_no_cap_of_before_but_for_its_declines(shop, clock):
    shop.billing.set_auto_recharge(agreed(cap=eur(1999)))
    shop.spend(90)
    end(shop, begin(shop), DECLINED)
    clock.now += HOUR
    end(shop, begin(shop), paid())
    shop.spend(100)
    capped = (begin(shop), policy(shop).retry_at)

    shop.billing.set_auto_recharge(agreed())
    end(shop, begin(shop), DECLINED)
    shop.billing.set_auto_recharge(agreed(cap=eur(9000)))

    assert capped == (None, days(31))
    assert (policy(shop).declines, policy(shop).retry_at) == (1, clock.now + HOUR)


def test_a_recharge_that_the_books_refuse_is_not_under_way_any_more_and_no_other_begins(shop, ledger):
    shop.billing.set_auto_recharge(agreed())
    shop.spend(100)
    order = begin(shop)
    ledger.execute(Close(request_id="close", account=account()))

    refused = end(shop, order, paid())

    assert refused.reason is Reason.ACCOUNT_CLOSED
    assert (policy(shop).enabled, policy(shop).order_id) == (False, "")
    assert shop.billing.due_recharges() == ()


def test_a_recharge_that_was_paid_otherwise_than_asked_is_not_asked_for_again(shop):
    shop.billing.set_auto_recharge(agreed())
    shop.spend(90)
    order = begin(shop)

    end(shop, order, paid(999))

    assert shop.order(order.order_id).state is OrderState.MISMATCHED
    assert (policy(shop).enabled, policy(shop).order_id, begin(shop)) == (False, "", None)


def test_what_a_plan_covers_is_not_recharged(shop, ledger):
    shop.billing.set_auto_recharge(agreed())
    shop.spend(90)
    ledger.execute(UpdateAccount(request_id="on", account=account(), unlimited=True, metadata={"unlimited": "no"}))
    covered = shop.billing.due_recharges()

    ledger.execute(
        UpdateAccount(request_id="off", account=account(), unlimited=False, metadata={"a": '"unlimited":true'})
    )

    assert covered == ()
    assert len(shop.billing.due_recharges()) == 1


def test_a_cap_is_in_the_currency_of_the_package_and_what_is_sold_in_another_since_is_not_bought(shop):
    dollars = Money(minor_units=9000, currency="USD")
    with pytest.raises(MalformedError, match=r"cap\.currency"):
        shop.billing.set_auto_recharge(agreed(cap=dollars))
    shop.billing.set_auto_recharge(agreed())
    shop.spend(90)

    shop.billing.update_package("default", Package(**{**SOLD, "price": Money(minor_units=100, currency="JPY")}))

    assert begin(shop) is None
    assert policy(shop).retry_at == START + HOUR
