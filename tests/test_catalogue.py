"""What is on sale, as administrators keep it; and the events that came, as they are listed."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from ledger import Batch, EventState, MalformedError, PackageContent, PlanContent, Reason, Refused, StripeEvent
from ledger.billing.event_records import keep_refs, known_meanwhile, mark_event
from tests.books import START
from tests.sales import Shop, package, paid, plan

PATIENCE_S = 60
CALLS = PackageContent(asset="calls", credits=1)


@pytest.fixture
def shop(ledger):
    ledger.define_asset("default", "calls", 0)
    return Shop(ledger)


def names(found):
    return [one.package for one in found]


def test_a_package_is_made_once(shop):
    made = shop.billing.create_package("default", package())
    again = shop.billing.create_package("default", package())
    other = shop.billing.create_package("default", package(price=1))

    assert made == again == package(version=1)
    assert other.reason is Reason.PACKAGE_EXISTS


def test_packages_are_listed_by_their_order_then_name_and_by_asset(shop):
    for name, order, content in (("b", 1, CALLS), ("a", 1, CALLS), ("z", 0, PackageContent(credits=1))):
        shop.billing.create_package("default", package(content, package=name, sort_order=order))
    shop.billing.deactivate_package("default", "a")

    assert names(shop.billing.packages("default")) == ["z", "b"]
    assert names(shop.billing.packages("default", include_inactive=True)) == ["z", "a", "b"]
    assert names(shop.billing.packages("default", asset="calls")) == ["b"]
    assert shop.billing.packages("other") == ()


def test_a_package_is_put_on_sale_again_by_an_update(shop):
    shop.billing.create_package("default", package())

    off_sale = shop.billing.deactivate_package("default", "starter")
    shop.billing.update_package("default", package(price=5))

    assert not off_sale.active
    assert shop.billing.packages("default") == (package(price=5, version=3),)


def test_a_version_that_is_named_is_the_one_that_is_replaced(shop):
    made = shop.billing.create_package("default", package())
    wanted = package(price=5, version=made.version)

    changed = shop.billing.update_package("default", wanted)
    again = shop.billing.update_package("default", wanted)
    late = shop.billing.update_package("default", package(price=7, version=made.version))

    assert changed == again == package(price=5, version=2)
    assert (late.reason, late.figures) == (Reason.CHANGED_MEANWHILE, {"what": "package starter"})
    assert shop.billing.packages("default") == (changed,)


def test_a_version_of_a_plan_that_is_named_is_the_one_that_is_replaced(shop):
    made = shop.billing.put_plan("default", plan())
    wanted = replace(plan(), title="Pro 2", version=made.version)

    changed = shop.billing.put_plan("default", wanted)
    again = shop.billing.put_plan("default", wanted)
    late = shop.billing.put_plan("default", replace(plan(), title="Pro 3", version=made.version))
    missing = shop.billing.put_plan("default", replace(plan(name="other", price="price_2"), version=1))
    whichever = shop.billing.put_plan("default", plan())

    assert changed == again == replace(wanted, version=2)
    assert (late.reason, late.figures) == (Reason.CHANGED_MEANWHILE, {"what": "plan pro"})
    assert missing.reason is Reason.CHANGED_MEANWHILE
    assert shop.billing.plans("default") == (whichever,) == (replace(plan(), version=3),)


def test_what_is_off_sale_is_taken_off_sale_again_without_a_change(shop):
    shop.billing.create_package("default", package())

    first = shop.billing.deactivate_package("default", "starter")

    assert shop.billing.deactivate_package("default", "starter") == first == package(active=False, version=2)


def test_what_is_not_there_cannot_be_changed(shop):
    gold = package(PackageContent(asset="gold", credits=1))

    refused = (
        shop.billing.update_package("default", package()),
        shop.billing.deactivate_package("default", "starter"),
        shop.billing.create_package("default", gold),
        shop.billing.put_plan("default", plan(PlanContent(asset="gold", credits=1))),
    )

    assert [one.reason for one in refused] == [
        Reason.PACKAGE_NOT_FOUND,
        Reason.PACKAGE_NOT_FOUND,
        Reason.ASSET_NOT_FOUND,
        Reason.ASSET_NOT_FOUND,
    ]


def test_of_two_who_change_a_package_at_the_same_moment_one_is_told(shop, ledger):
    shop.billing.create_package("default", package())
    reached, go_on, waiting = threading.Event(), threading.Event(), []

    def hold_the_writer(_connection, _outcomes):
        reached.set()
        assert go_on.wait(PATIENCE_S)

    ledger.submit(Batch(operations=(), atomic=True, also=hold_the_writer), Future())
    assert reached.wait(PATIENCE_S)
    submit = ledger._writer.submit  # noqa: SLF001 -- to know when both have read, and wait to write

    def counted(*args):
        submit(*args)
        waiting.append(args)
        if len(waiting) == 2:
            go_on.set()

    ledger._writer.submit = counted  # noqa: SLF001 -- as above
    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(lambda price: shop.billing.update_package("default", package(price=price)), (1, 2)))

    refused = [one for one in told if isinstance(one, Refused)]
    assert [one.reason for one in refused] == [Reason.CHANGED_MEANWHILE]
    (kept,) = shop.billing.packages("default")
    assert kept in told


def test_plans_are_replaced_and_listed_by_name_and_share_no_price(shop):
    shop.billing.put_plan("default", plan())
    shop.billing.put_plan("default", plan(PlanContent(credits=5), active=False))
    shop.billing.put_plan("default", plan(name="basic", price="price_basic"))

    with pytest.raises(MalformedError, match="price_pro, which is of plan pro"):
        shop.billing.put_plan("default", plan(name="other"))

    assert [one.plan for one in shop.billing.plans("default")] == ["basic"]
    assert [one.plan for one in shop.billing.plans("default", include_inactive=True)] == ["basic", "pro"]
    (pro,) = (one for one in shop.billing.plans("default", include_inactive=True) if one.plan == "pro")
    assert pro.contents == (PlanContent(credits=5),)


def test_events_are_listed_newest_first_by_state_and_in_pages(shop):
    made = []
    for number in range(5):
        at = START + timedelta(seconds=number // 2)
        event = StripeEvent(
            event_id=f"evt_{number}", type="t", payload="{}", livemode=False, created_at=at, received_at=at
        )
        shop.billing.store_event(event)
        made.append(event)
    ignored = shop.billing.ignore_event("evt_3")

    listed, token = [], ""
    while True:
        page = shop.billing.events(page_size=2, page_token=token)
        listed += [event.event_id for event in page.events]
        token = page.next_page_token
        if not token:
            break

    assert listed == ["evt_4", "evt_3", "evt_2", "evt_1", "evt_0"]
    assert ignored.state is EventState.IGNORED
    assert [event.event_id for event in shop.billing.events(EventState.IGNORED).events] == ["evt_3"]
    assert [event.event_id for event in shop.billing.pending_events()] == ["evt_0", "evt_1", "evt_2", "evt_4"]
    assert shop.billing.event("evt_9").reason is Reason.EVENT_NOT_FOUND
    other = shop.billing.events(page_size=2).next_page_token
    assert shop.billing.events(EventState.RECEIVED, page_token=other).reason is Reason.INVALID_PAGE_TOKEN


def test_an_event_whose_name_became_known_at_that_moment_is_received_again(shop, ledger):
    shop.store("evt_1")
    answer = Future()

    def as_two_servers_would(connection, _outcomes):
        # One notes the name before it can see that another sets the event aside.
        keep_refs(connection, ["pi_1"], "or_1")
        mark_event(connection, "evt_1", EventState.SET_ASIDE, waits=["pi_1"])
        assert known_meanwhile(connection, START) == ["evt_1"]

    ledger.submit(Batch(operations=(), atomic=True, also=as_two_servers_would), answer)
    answer.result(PATIENCE_S)

    shop.billing.settle_due()

    assert shop.billing.event("evt_1").state is EventState.RECEIVED


def test_an_event_that_is_set_aside_for_what_it_says_waits_for_no_name(shop):
    order = shop.checkout()
    shop.store("evt_aside")

    aside = shop.billing.set_event_aside("evt_aside", "Its livemode is another.")
    shop.event(paid(), refs=("pi_1",), order_id=order.order_id)

    assert (aside.state, aside.why) == (EventState.SET_ASIDE, "Its livemode is another.")
    assert shop.billing.event("evt_aside") == aside
    assert shop.billing.set_event_aside("evt_9", "why").reason is Reason.EVENT_NOT_FOUND
