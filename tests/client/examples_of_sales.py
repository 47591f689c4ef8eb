"""As examples.py, of calls that are about packages, plans, orders and what Stripe said."""

from datetime import timedelta

import scrip
from google.protobuf.duration_pb2 import Duration
from scrip.v1 import billing_service_pb2 as billing

from tests.client.examples import ACME, BALANCE, CALLS_OF_ACME, MEMO, NOON, WRITTEN_MEMO, WRITTEN_NOON

DAY = timedelta(days=1)
WRITTEN_DAY = Duration(seconds=86_400)
EUR_20 = scrip.Money(minor_units=1999, currency="EUR")
STARTER = scrip.Package(package="starter", title="Starter", price=EUR_20, active=True)
PRO = scrip.Plan(plan="pro", title="Pro", stripe_prices=["price_1"], active=True)
ORDER = scrip.Order(order_id="or_1", state=scrip.Order.STATE_OPEN, url="https://checkout.stripe.com/1")
RECHARGE = scrip.AutoRecharge(**ACME, enabled=True, threshold=10)
EVENT = scrip.StripeEvent(event_id="evt_1", type="invoice.paid", state=scrip.StripeEvent.STATE_APPLIED)
SUBSCRIPTION = scrip.Subscription(subscription_id="sub_1", account_id="acme", plan="pro")

OFFERS = {
    "create a package with all there is": (
        lambda client: client.create_package(
            "starter",
            title="Starter",
            price=(1999, "EUR"),
            contents=[
                scrip.PackageContent(
                    credits=100, asset="calls", bonus_credits=10, validity=365 * DAY, bonus_validity=DAY
                ),
                billing.PackageContent(credits=5),
            ],
            description="To begin with",
            sort_order=-1,
            metadata={"campaign": "spring"},
        ),
        billing.CreatePackageRequest(
            package=billing.Package(
                package="starter",
                title="Starter",
                description="To begin with",
                contents=[
                    billing.PackageContent(
                        asset="calls",
                        credits=100,
                        bonus_credits=10,
                        validity=Duration(seconds=365 * 86_400),
                        bonus_validity=WRITTEN_DAY,
                    ),
                    billing.PackageContent(credits=5),
                ],
                price=EUR_20,
                sort_order=-1,
                metadata={"campaign": "spring"},
            )
        ),
        billing.CreatePackageResponse(package=STARTER),
        STARTER,
    ),
    "update a package": (
        lambda client: client.update_package(
            "starter", title="Starter", price=EUR_20, contents=[scrip.PackageContent(credits=100)], version=7
        ),
        billing.UpdatePackageRequest(
            package=billing.Package(
                package="starter",
                title="Starter",
                contents=[billing.PackageContent(asset="credits", credits=100)],
                price=EUR_20,
                active=True,
                version=7,
            )
        ),
        billing.UpdatePackageResponse(package=STARTER),
        STARTER,
    ),
    "update a package that is not on sale": (
        lambda client: client.update_package("starter", title="Starter", price=EUR_20, contents=[], active=False),
        billing.UpdatePackageRequest(package=billing.Package(package="starter", title="Starter", price=EUR_20)),
        billing.UpdatePackageResponse(package=STARTER),
        STARTER,
    ),
    "deactivate a package": (
        lambda client: client.deactivate_package("starter"),
        billing.DeactivatePackageRequest(package="starter"),
        billing.DeactivatePackageResponse(package=STARTER),
        STARTER,
    ),
    "packages on sale": (
        lambda client: client.packages(),
        billing.ListPackagesRequest(),
        billing.ListPackagesResponse(packages=[STARTER]),
        (STARTER,),
    ),
    "all packages of an asset": (
        lambda client: client.packages(asset="calls", include_inactive=True),
        billing.ListPackagesRequest(asset="calls", include_inactive=True),
        billing.ListPackagesResponse(),
        (),
    ),
    "put a plan with all there is": (
        lambda client: client.put_plan(
            "pro",
            title="Pro",
            stripe_prices=["price_1", "price_2"],
            contents=[
                scrip.PlanContent(credits=500, rollover=scrip.Rollover(share_percent=50, cap=100, ttl=30 * DAY)),
                scrip.PlanContent(asset="calls", unlimited=True),
                billing.PlanContent(asset="tokens", credits=1),
            ],
            change="at_renewal",
            granted="monthly",
            grace=DAY,
            active=False,
            version=3,
        ),
        billing.PutPlanRequest(
            plan=billing.Plan(
                plan="pro",
                title="Pro",
                stripe_prices=["price_1", "price_2"],
                contents=[
                    billing.PlanContent(
                        asset="credits",
                        credits=500,
                        rollover=billing.Rollover(share_percent=50, cap=100, ttl=Duration(seconds=30 * 86_400)),
                    ),
                    billing.PlanContent(asset="calls", unlimited=True),
                    billing.PlanContent(asset="tokens", credits=1),
                ],
                change=billing.Plan.CHANGE_AT_RENEWAL,
                granted=billing.Plan.GRANTED_MONTHLY,
                grace=WRITTEN_DAY,
                version=3,
            )
        ),
        billing.PutPlanResponse(plan=PRO),
        PRO,
    ),
    "put a plan as it usually is": (
        lambda client: client.put_plan(
            "pro", title="Pro", stripe_prices=["price_1"], contents=[scrip.PlanContent(credits=500)]
        ),
        billing.PutPlanRequest(
            plan=billing.Plan(
                plan="pro",
                title="Pro",
                stripe_prices=["price_1"],
                contents=[billing.PlanContent(asset="credits", credits=500)],
                change=billing.Plan.CHANGE_PRO_RATA,
                granted=billing.Plan.GRANTED_PER_PERIOD,
                active=True,
            )
        ),
        billing.PutPlanResponse(plan=PRO),
        PRO,
    ),
    "plans": (
        lambda client: client.plans(include_inactive=True),
        billing.ListPlansRequest(include_inactive=True),
        billing.ListPlansResponse(plans=[PRO]),
        (PRO,),
    ),
}

PAYMENTS = {
    "create a checkout for a package": (
        lambda client: client.create_checkout(
            "acme",
            package="starter",
            success_url="https://shop.example/{ORDER_ID}",
            cancel_url="https://shop.example",
            save_payment_method=True,
            request_id="r-1",
        ),
        billing.CreateCheckoutRequest(
            request_id="r-1",
            account_id="acme",
            package="starter",
            success_url="https://shop.example/{ORDER_ID}",
            cancel_url="https://shop.example",
            save_payment_method=True,
        ),
        billing.CreateCheckoutResponse(order=ORDER, replayed=True),
        billing.CreateCheckoutResponse(order=ORDER, replayed=True),
    ),
    "create a checkout for a plan": (
        lambda client: client.create_checkout(
            "acme", plan="pro", success_url="https://a.example", cancel_url="https://b.example", request_id="r-1"
        ),
        billing.CreateCheckoutRequest(
            request_id="r-1",
            account_id="acme",
            plan="pro",
            success_url="https://a.example",
            cancel_url="https://b.example",
        ),
        billing.CreateCheckoutResponse(order=ORDER),
        billing.CreateCheckoutResponse(order=ORDER),
    ),
    "checkout": (
        lambda client: client.checkout("or_1"),
        billing.GetCheckoutRequest(order_id="or_1"),
        billing.GetCheckoutResponse(order=ORDER, balances=[BALANCE]),
        billing.GetCheckoutResponse(order=ORDER, balances=[BALANCE]),
    ),
    "fulfil": (
        lambda client: client.fulfil("or_1", **MEMO),
        billing.FulfilRequest(order_id="or_1", memo=WRITTEN_MEMO),
        billing.FulfilResponse(order=ORDER, replayed=True),
        billing.FulfilResponse(order=ORDER, replayed=True),
    ),
    "one page of the orders": (
        lambda client: client.orders_page("acme", page_size=2, page_token="t"),
        billing.ListOrdersRequest(account_id="acme", page_size=2, page_token="t"),
        billing.ListOrdersResponse(orders=[ORDER], next_page_token="u"),
        billing.ListOrdersResponse(orders=[ORDER], next_page_token="u"),
    ),
    "one page of everybody's orders": (
        lambda client: client.orders_page(),
        billing.ListOrdersRequest(),
        billing.ListOrdersResponse(),
        billing.ListOrdersResponse(),
    ),
    "create a purchase link": (
        lambda client: client.create_purchase_link("acme", asset="calls", ttl=DAY),
        billing.CreatePurchaseLinkRequest(**CALLS_OF_ACME, ttl=WRITTEN_DAY),
        billing.CreatePurchaseLinkResponse(url="https://shop.example/buy/t"),
        billing.CreatePurchaseLinkResponse(url="https://shop.example/buy/t"),
    ),
    "create a purchase link for all assets": (
        lambda client: client.create_purchase_link("acme"),
        billing.CreatePurchaseLinkRequest(account_id="acme"),
        billing.CreatePurchaseLinkResponse(),
        billing.CreatePurchaseLinkResponse(),
    ),
    "one page of a customer's subscriptions": (
        lambda client: client.subscriptions_page("acme", page_size=2, page_token="t"),
        billing.ListSubscriptionsRequest(account_id="acme", page_size=2, page_token="t"),
        billing.ListSubscriptionsResponse(subscriptions=[SUBSCRIPTION], next_page_token="u"),
        billing.ListSubscriptionsResponse(subscriptions=[SUBSCRIPTION], next_page_token="u"),
    ),
    "one page of all subscriptions": (
        lambda client: client.subscriptions_page(),
        billing.ListSubscriptionsRequest(),
        billing.ListSubscriptionsResponse(),
        billing.ListSubscriptionsResponse(),
    ),
    "recharge by itself": (
        lambda client: client.set_auto_recharge(
            "acme",
            asset="calls",
            enabled=True,
            threshold=10,
            package="starter",
            target=200,
            cap=(1999, "EUR"),
            consent=scrip.Consent(text="I agree", actor="anna", at=NOON),
        ),
        billing.SetAutoRechargeRequest(
            auto_recharge=billing.AutoRecharge(
                **CALLS_OF_ACME,
                enabled=True,
                threshold=10,
                package="starter",
                target=200,
                cap=EUR_20,
                consent=billing.Consent(text="I agree", actor="anna", at=WRITTEN_NOON),
            )
        ),
        billing.SetAutoRechargeResponse(auto_recharge=RECHARGE),
        RECHARGE,
    ),
    "recharge by itself, agreed as before": (
        lambda client: client.set_auto_recharge("acme", enabled=True, consent=billing.Consent(text="I agree")),
        billing.SetAutoRechargeRequest(
            auto_recharge=billing.AutoRecharge(**ACME, enabled=True, consent=billing.Consent(text="I agree"))
        ),
        billing.SetAutoRechargeResponse(auto_recharge=RECHARGE),
        RECHARGE,
    ),
    "no longer recharge by itself": (
        lambda client: client.set_auto_recharge("acme", enabled=False),
        billing.SetAutoRechargeRequest(auto_recharge=billing.AutoRecharge(**ACME)),
        billing.SetAutoRechargeResponse(auto_recharge=RECHARGE),
        RECHARGE,
    ),
    "how an account recharges itself": (
        lambda client: client.auto_recharge("acme", asset="calls"),
        billing.GetAutoRechargeRequest(**CALLS_OF_ACME),
        billing.GetAutoRechargeResponse(auto_recharge=RECHARGE),
        RECHARGE,
    ),
    "one page of the events of Stripe": (
        lambda client: client.stripe_events_page(state="set_aside", page_size=2, page_token="t"),
        billing.ListStripeEventsRequest(state=scrip.StripeEvent.STATE_SET_ASIDE, page_size=2, page_token="t"),
        billing.ListStripeEventsResponse(events=[EVENT], next_page_token="u"),
        billing.ListStripeEventsResponse(events=[EVENT], next_page_token="u"),
    ),
    "replay an event of Stripe": (
        lambda client: client.replay_stripe_event("evt_1"),
        billing.ReplayStripeEventRequest(event_id="evt_1"),
        billing.ReplayStripeEventResponse(event=EVENT),
        EVENT,
    ),
    "reconcile": (
        lambda client: client.reconcile(7, post=True),
        billing.ReconcileRequest(days=7, post=True),
        billing.ReconcileResponse(events=[EVENT], found=9),
        billing.ReconcileResponse(events=[EVENT], found=9),
    ),
}
