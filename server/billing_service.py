"""BillingService: what is sold, and what became of its payment."""

from contextlib import suppress

from scrip.v1 import billing_service_pb2 as pb
from scrip.v1.billing_service_pb2_grpc import BillingServiceServicer

from ledger import DEFAULT_ASSET, Balance, Billing, Ledger, Order
from server import billing_messages as messages
from server.answering import Context, Reader, answering, tenant_of
from server.billing_requests import auto_recharge_of, checkout_of, package_of, plan_of
from server.choices import EVENT_STATES
from server.errors import RefusedError
from server.messages import balance_message
from server.payments import Payments
from server.purchase_links import PurchaseLinks
from server.requests import memo_of
from server.times import length_of, timestamp


@answering
class BillingService(BillingServiceServicer):
    """Answers from the ledger, and where Stripe is needed, through `payments`.

    read       for what waits for the database alone
    read_far   for what waits for Stripe, so that it cannot keep others from their balance
    """

    def __init__(
        self,
        ledger: Ledger,
        billing: Billing,
        payments: Payments,
        links: PurchaseLinks,
        *,
        read: Reader,
        read_far: Reader,
    ) -> None:
        self._ledger = ledger
        self._billing = billing
        self._payments = payments
        self._links = links
        self._read = read
        self._read_far = read_far

    async def CreatePackage(self, request: pb.CreatePackageRequest, context: Context) -> pb.CreatePackageResponse:
        package = await self._read(self._billing.create_package, tenant_of(context), package_of(request.package))
        return pb.CreatePackageResponse(package=messages.package_message(package))

    async def UpdatePackage(self, request: pb.UpdatePackageRequest, context: Context) -> pb.UpdatePackageResponse:
        wanted = package_of(request.package, active=request.package.active)
        package = await self._read(self._billing.update_package, tenant_of(context), wanted)
        return pb.UpdatePackageResponse(package=messages.package_message(package))

    async def DeactivatePackage(
        self, request: pb.DeactivatePackageRequest, context: Context
    ) -> pb.DeactivatePackageResponse:
        package = await self._read(self._billing.deactivate_package, tenant_of(context), request.package)
        return pb.DeactivatePackageResponse(package=messages.package_message(package))

    async def ListPackages(self, request: pb.ListPackagesRequest, context: Context) -> pb.ListPackagesResponse:
        found = await self._read(
            self._billing.packages,
            tenant_of(context),
            asset=request.asset,
            include_inactive=request.include_inactive,
        )
        return pb.ListPackagesResponse(packages=[messages.package_message(package) for package in found])

    async def PutPlan(self, request: pb.PutPlanRequest, context: Context) -> pb.PutPlanResponse:
        plan = await self._read(self._billing.put_plan, tenant_of(context), plan_of(request.plan))
        return pb.PutPlanResponse(plan=messages.plan_message(plan))

    async def ListPlans(self, request: pb.ListPlansRequest, context: Context) -> pb.ListPlansResponse:
        found = await self._read(self._billing.plans, tenant_of(context), include_inactive=request.include_inactive)
        return pb.ListPlansResponse(plans=[messages.plan_message(plan) for plan in found])

    async def CreateCheckout(self, request: pb.CreateCheckoutRequest, context: Context) -> pb.CreateCheckoutResponse:
        made = await self._read_far(self._payments.create_checkout, checkout_of(request, tenant_of(context)))
        return pb.CreateCheckoutResponse(order=messages.order_message(made.order), replayed=made.replayed)

    async def GetCheckout(self, request: pb.GetCheckoutRequest, context: Context) -> pb.GetCheckoutResponse:
        order = await self._read_far(self._payments.checkout, tenant_of(context), request.order_id)
        balances = await self._balances(order)
        return pb.GetCheckoutResponse(
            order=messages.order_message(order), balances=[balance_message(balance) for balance in balances]
        )

    async def Fulfil(self, request: pb.FulfilRequest, context: Context) -> pb.FulfilResponse:
        made = await self._read(self._billing.fulfil, tenant_of(context), request.order_id, memo_of(request))
        return pb.FulfilResponse(order=messages.order_message(made.order), replayed=made.replayed)

    async def ListOrders(self, request: pb.ListOrdersRequest, context: Context) -> pb.ListOrdersResponse:
        page = await self._read(
            self._billing.orders,
            tenant_of(context),
            request.account_id,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListOrdersResponse(
            orders=[messages.order_message(order) for order in page.orders], next_page_token=page.next_page_token
        )

    async def CreatePurchaseLink(
        self, request: pb.CreatePurchaseLinkRequest, context: Context
    ) -> pb.CreatePurchaseLinkResponse:
        link = await self._read(
            self._links.make,
            tenant_of(context),
            request.account_id,
            request.asset,
            length_of("ttl", request.ttl) if request.HasField("ttl") else None,
        )
        return pb.CreatePurchaseLinkResponse(url=link.url, expires_at=timestamp(link.expires_at))

    async def ListSubscriptions(
        self, request: pb.ListSubscriptionsRequest, context: Context
    ) -> pb.ListSubscriptionsResponse:
        page = await self._read(
            self._billing.subscriptions,
            tenant_of(context),
            request.account_id,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListSubscriptionsResponse(
            subscriptions=[messages.subscription_message(one) for one in page.subscriptions],
            next_page_token=page.next_page_token,
        )

    async def SetAutoRecharge(self, request: pb.SetAutoRechargeRequest, context: Context) -> pb.SetAutoRechargeResponse:
        wanted = auto_recharge_of(request.auto_recharge, tenant_of(context))
        recharge = await self._read(self._billing.set_auto_recharge, wanted)
        return pb.SetAutoRechargeResponse(auto_recharge=messages.auto_recharge_message(recharge))

    async def GetAutoRecharge(self, request: pb.GetAutoRechargeRequest, context: Context) -> pb.GetAutoRechargeResponse:
        recharge = await self._read(
            self._billing.auto_recharge, tenant_of(context), request.account_id, request.asset or DEFAULT_ASSET
        )
        return pb.GetAutoRechargeResponse(auto_recharge=messages.auto_recharge_message(recharge))

    async def ListStripeEvents(
        self, request: pb.ListStripeEventsRequest, _context: Context
    ) -> pb.ListStripeEventsResponse:
        page = await self._read(
            self._billing.events,
            EVENT_STATES("state", request.state) if request.state else None,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListStripeEventsResponse(
            events=[messages.event_message(event) for event in page.events], next_page_token=page.next_page_token
        )

    async def ReplayStripeEvent(
        self, request: pb.ReplayStripeEventRequest, _context: Context
    ) -> pb.ReplayStripeEventResponse:
        event = await self._read_far(self._payments.replay, request.event_id)
        return pb.ReplayStripeEventResponse(event=messages.event_message(event))

    async def Reconcile(self, request: pb.ReconcileRequest, _context: Context) -> pb.ReconcileResponse:
        found = await self._read_far(self._payments.reconcile, request.days, post=request.post)
        return pb.ReconcileResponse(
            events=[messages.found_event_message(event) for event in found.events], found=found.found
        )

    async def _balances(self, order: Order) -> list[Balance]:
        """How the customer's accounts in what the order sells stand; those that are not open are left out."""
        balances: list[Balance] = []
        for asset in dict.fromkeys(sold.asset for sold in order.sold):
            with suppress(RefusedError):
                account_id = order.account(asset).account_id
                found = await self._read(self._ledger.balances, order.tenant, account_id, asset)
                balances += found.balances
        return balances
