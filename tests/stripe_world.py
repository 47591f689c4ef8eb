"""What happens at Stripe, without a network: the objects of one account there, and what customers and banks do to them.

Every method that does something answers the events it made, oldest first; `events` has all of them.
"""

import time
from calendar import monthrange
from copy import deepcopy
from datetime import UTC, datetime
from itertools import count

from tests import stripe_objects as objects


class StripeSaysNoError(Exception):
    """What Stripe answers instead of doing what it is asked."""

    def __init__(self, message, *, status=400, kind="invalid_request_error", **fields):
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": kind, **fields}}


def period_start(anchor, number, recurring):
    """When a period of a subscription begins, counted from 0; in a month too short for the day, on its last day.

    anchor      when the subscription began
    recurring   of the price that it is for
    """
    begun, periods = datetime.fromtimestamp(anchor, UTC), number * recurring["interval_count"]
    if days := {"day": 1, "week": 7}.get(recurring["interval"]):
        return anchor + periods * days * 86400
    months = periods * {"month": 1, "year": 12}[recurring["interval"]]
    year, month = divmod(begun.year * 12 + begun.month - 1 + months, 12)
    day = min(begun.day, monthrange(year, month + 1)[1])
    return int(begun.replace(year=year, month=month + 1, day=day).timestamp())


class StripeWorld:
    """One account at Stripe.

    clock     the time in whole seconds
    salt      part of every id, so that the ids of two worlds differ
    url       where hosted pages are
    heard     told every event as it is made
    declines  what the bank says to the next charges without the customer: (code, decline code) each
    """

    def __init__(self, *, clock=lambda: int(time.time()), salt="", url="http://127.0.0.1", livemode=False, heard=None):
        self.clock = clock
        self.salt = salt
        self.url = url
        self.livemode = livemode
        self.heard = heard
        self.declines = []
        self.objects = {}
        self.events = []
        self._numbers = count(1)

    # What there is.

    def get(self, object_id, param="id", status=404):
        found = self.objects.get(object_id)
        if found is None:
            raise StripeSaysNoError(
                f"No such object: '{object_id}'", status=status, code="resource_missing", param=param
            )
        return found

    def all(self, kind):
        """All objects of a kind, newest first."""
        return [found for found in reversed(self.objects.values()) if found["object"] == kind]

    def charge_of(self, intent_id):
        return self.get(self.get(intent_id)["latest_charge"])

    def _id(self, prefix):
        return f"{prefix}_{self.salt}{next(self._numbers):08}"

    def _keep(self, kept):
        self.objects[kept["id"]] = kept
        return kept

    def _tell(self, event_type, happened_to, previous=None):
        event = objects.event(
            self._id("evt"),
            created=self.clock(),
            livemode=self.livemode,
            event_type=event_type,
            happened_to=deepcopy(happened_to),
            previous=previous,
        )
        self.events.append(event)
        if self.heard:
            self.heard(event)
        return event

    # What is sold, and to whom.

    def price(self, price_id, amount, currency="usd", interval=None, interval_count=1):
        """Puts a price on sale; answers it."""
        recurring = {"interval": interval, "interval_count": interval_count, "usage_type": "licensed"}
        return self._keep(
            objects.price(
                price_id,
                amount=amount,
                currency=currency,
                recurring=recurring if interval else None,
                created=self.clock(),
            )
        )

    def customer(self):
        """Makes a customer; answers it."""
        return self._keep(objects.customer(self._id("cus"), created=self.clock(), livemode=self.livemode, metadata={}))

    def session(self, asked, amount, currency):
        """Makes a Checkout session as it was asked for; answers it."""
        session_id = self._id("cs_live" if self.livemode else "cs_test")
        made = objects.session(
            session_id,
            created=self.clock(),
            livemode=self.livemode,
            url=f"{self.url}/pay/{session_id}",
            asked=asked,
            amount=amount,
            currency=currency,
        )
        made["_asked"] = asked
        return self._keep(made)

    # Checkout.

    def pay(self, session_id, *, later=False):
        """The customer pays on the hosted page; with `later`, by a method whose money comes days after."""
        session = self.get(session_id)
        if session["status"] != "open":
            raise StripeSaysNoError("This session is not open any more.", code="checkout_session_not_open")
        before = len(self.events)
        if session["customer"] is None and (session["customer_creation"] == "always" or session["mode"] != "payment"):
            session["customer"] = self.customer()["id"]
        session.update(status="complete", url=None)
        if session["mode"] == "subscription":
            self._begin(session)
        else:
            asked = session["_asked"].get("payment_intent_data", {})
            intent = self._intent(session["amount_total"], session["currency"], asked.get("metadata", {}), session)
            intent["setup_future_usage"] = asked.get("setup_future_usage")
            session["payment_intent"] = intent["id"]
            if later:
                intent["status"] = "processing"
            else:
                self._succeed(intent)
                session["payment_status"] = "paid"
        self._tell("checkout.session.completed", session)
        return self.events[before:]

    def settle(self, session_id):
        """The money of a payment by a later method has come."""
        session = self.get(session_id)
        before = len(self.events)
        self._succeed(self.get(session["payment_intent"]))
        session["payment_status"] = "paid"
        self._tell("checkout.session.async_payment_succeeded", session)
        return self.events[before:]

    def bounce(self, session_id):
        """The money of a payment by a later method will not come."""
        session = self.get(session_id)
        before = len(self.events)
        self._decline(self.get(session["payment_intent"]), "payment_intent_payment_attempt_failed", None)
        self._tell("checkout.session.async_payment_failed", session)
        return self.events[before:]

    def expire(self, session_id):
        """The customer never paid."""
        session = self.get(session_id)
        if session["status"] != "open":
            raise StripeSaysNoError(f"Only sessions with status open can be expired, not {session['status']}.")
        session.update(status="expired", url=None)
        return [self._tell("checkout.session.expired", session)]

    # Payments.

    def _intent(self, amount, currency, metadata, owner, payment_method=None):
        """owner: has the customer, and is the invoice if one is paid."""
        intent = objects.payment_intent(
            self._id("pi"),
            created=self.clock(),
            livemode=self.livemode,
            amount=amount,
            currency=currency,
            metadata=dict(metadata),
            customer=owner["customer"],
            payment_method=payment_method,
        )
        if owner.get("object") == "invoice":
            intent["invoice"] = owner["id"]
        return self._keep(intent)

    def _succeed(self, intent):
        if intent["payment_method"] is None:
            intent["payment_method"] = self._keep(
                {"id": self._id("pm"), "object": "payment_method", "customer": intent["customer"], "type": "card"}
            )["id"]
        charged = self._keep(objects.charge(self._id("ch"), created=self.clock(), intent=intent))
        intent.update(
            status="succeeded",
            amount_received=intent["amount"],
            latest_charge=charged["id"],
            charges=objects.listed([{"id": charged["id"], "object": "charge"}], "/v1/charges"),
        )
        self._tell("charge.succeeded", charged)
        self._tell("payment_intent.succeeded", intent)

    def _decline(self, intent, code, decline_code):
        why = {"type": "card_error", "code": code, "decline_code": decline_code, "message": "Your card was declined."}
        intent.update(status="requires_payment_method", last_payment_error=why)
        self._tell("payment_intent.payment_failed", intent)
        return why

    def charge(self, asked, amount, currency):
        """Charges a customer who is not there, with a saved payment method; answers the payment intent."""
        method = self.get(asked["payment_method"], param="payment_method", status=400)
        if method["customer"] != asked["customer"]:
            raise StripeSaysNoError("The payment method does not belong to the customer.", param="payment_method")
        intent = self._intent(amount, currency, asked.get("metadata", {}), asked, method["id"])
        if self.declines:
            why = self._decline(intent, *self.declines.pop(0))
            raise StripeSaysNoError(
                why["message"], status=402, kind="card_error", payment_intent=deepcopy(intent), **why_fields(why)
            )
        self._succeed(intent)
        return intent

    # Money that goes back.

    def refund(self, intent_id, amount=None, *, status="succeeded"):
        """Gives back some of a payment, or what is left of it."""
        charged = self.charge_of(intent_id)
        left = charged["amount"] - charged["amount_refunded"]
        amount = left if amount is None else amount
        if not 0 < amount <= left:
            raise StripeSaysNoError(f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left}).")
        made = objects.refund(
            self._id("re"),
            created=self.clock(),
            charged=charged,
            amount=amount,
            status=status,
            metadata={},
        )
        self._keep(made)
        charged["refunds"]["data"].insert(0, made)
        charged["amount_refunded"] += amount
        charged["refunded"] = charged["amount_refunded"] == charged["amount"]
        return [self._tell("refund.created", made), self._tell("charge.refunded", charged)]

    def finish_refund(self, refund_id):
        """A refund that was pending has arrived."""
        return [self._change_refund(refund_id, "succeeded")]

    def fail_refund(self, refund_id):
        """A refund comes back: the bank did not take it."""
        updated = self._change_refund(refund_id, "failed")
        made = self.get(refund_id)
        charged = self.get(made["charge"])
        charged["amount_refunded"] -= made["amount"]
        charged["refunded"] = False
        return [updated, self._tell("refund.failed", made)]

    def _change_refund(self, refund_id, status):
        made = self.get(refund_id)
        previous = {"status": made["status"]}
        made["status"] = status
        return self._tell("refund.updated", made, previous)

    def dispute(self, intent_id, amount=None, *, inquiry=False):
        """The customer's bank wants money back; an inquiry only asks, and takes nothing."""
        charged = self.charge_of(intent_id)
        made = objects.dispute(
            self._id("du"),
            created=self.clock(),
            charged=charged,
            amount=charged["amount"] if amount is None else amount,
            status="warning_needs_response" if inquiry else "needs_response",
        )
        charged["disputed"] = True
        return [self._tell("charge.dispute.created", self._keep(made))]

    def withdraw(self, dispute_id):
        """The bank takes the money."""
        return self._move(dispute_id, "charge.dispute.funds_withdrawn", -1)

    def reinstate(self, dispute_id):
        """The bank gives it back."""
        return self._move(dispute_id, "charge.dispute.funds_reinstated", 1)

    def _move(self, dispute_id, event_type, sign):
        made = self.get(dispute_id)
        made["balance_transactions"].append(
            {"id": self._id("txn"), "object": "balance_transaction", "amount": sign * made["amount"]}
        )
        return [self._tell(event_type, made)]

    def win(self, dispute_id):
        """The bank sides with us; an inquiry ends without a dispute."""
        inquiry = self.get(dispute_id)["status"].startswith("warning")
        return self._close(dispute_id, "warning_closed" if inquiry else "won")

    def lose(self, dispute_id):
        """The bank sides with the customer."""
        return self._close(dispute_id, "lost")

    def _close(self, dispute_id, status):
        made = self.get(dispute_id)
        made["status"] = status
        return [self._tell("charge.dispute.closed", made)]

    # Subscriptions.

    def _begin(self, session):
        bought = self.get(session["_asked"]["line_items"][0]["price"])
        metadata = session["_asked"].get("subscription_data", {}).get("metadata", {})
        begun = self._subscription(session["customer"], bought, metadata)
        self._tell("customer.subscription.created", begun)
        billed = self._invoice(begun, self._regular_lines(begun), "subscription_create")
        self._pay_invoice(billed)
        session.update(subscription=begun["id"], invoice=billed["id"], payment_status="paid")

    def subscribe(self, price_id, metadata=None, customer_id=None):
        """A subscription begins without Checkout, and its first invoice is paid."""
        before = len(self.events)
        begun = self._subscription(customer_id or self.customer()["id"], self.get(price_id), dict(metadata or {}))
        self._tell("customer.subscription.created", begun)
        self._pay_invoice(self._invoice(begun, self._regular_lines(begun), "subscription_create"))
        return self.events[before:]

    def _subscription(self, customer_id, bought, metadata):
        now = self.clock()
        return self._keep(
            objects.subscription(
                self._id("sub"),
                created=now,
                livemode=self.livemode,
                customer_id=customer_id,
                metadata=dict(metadata),
                item_id=self._id("si"),
                bought=bought,
                quantity=1,
                period=(now, period_start(now, 1, bought["recurring"])),
            )
        )

    def _item(self, begun):
        return begun["items"]["data"][0]

    def _regular_lines(self, begun):
        return [
            objects.line(
                self._id("il"),
                subscribed=begun,
                bought=item["price"],
                amount=item["price"]["unit_amount"],
                period=(item["current_period_start"], item["current_period_end"]),
            )
            for item in begun["items"]["data"]
        ]

    def _invoice(self, begun, lines, billing_reason):
        billed = objects.invoice(
            self._id("in"), created=self.clock(), subscribed=begun, lines=lines, billing_reason=billing_reason
        )
        begun["latest_invoice"] = billed["id"]
        return self._keep(billed)

    def _pay_invoice(self, billed):
        if billed["amount_due"]:
            intent = self._intent(billed["amount_due"], billed["currency"], {}, billed)
            self._succeed(intent)
            paid = objects.invoice_payment(
                self._id("inpay"), created=self.clock(), billed=billed, intent_id=intent["id"]
            )
            billed.update(payment_intent=intent["id"], charge=intent["latest_charge"])
            billed["payments"]["data"].append(self._keep(paid))
        billed.update(status="paid", paid=True, amount_paid=billed["amount_due"], amount_remaining=0)
        self._tell("invoice.paid", billed)
        for paid in billed["payments"]["data"]:
            self._tell("invoice_payment.paid", paid)

    def renew(self, subscription_id, *, paid=True):
        """The next period begins, and its invoice is paid; if it is not, the subscription is past due."""
        begun = self.get(subscription_id)
        before = len(self.events)
        item = self._item(begun)
        begun["_periods"] = begun.get("_periods", 1) + 1
        end = period_start(begun["billing_cycle_anchor"], begun["_periods"], item["price"]["recurring"])
        period = {"current_period_start": item["current_period_end"], "current_period_end": end}
        begun.update(period)
        for one in begun["items"]["data"]:
            one.update(period)
        pending = begun.pop("_pending", [])
        billed = self._invoice(begun, [*pending, *self._regular_lines(begun)], "subscription_cycle")
        if paid:
            self._tell("customer.subscription.updated", begun)
            self._pay_invoice(billed)
        else:
            self._tell("invoice.payment_failed", billed)
            self._become(begun, status="past_due")
        return self.events[before:]

    def pay_invoice(self, invoice_id):
        """An invoice that was not paid is paid after all."""
        billed = self.get(invoice_id)
        before = len(self.events)
        self._pay_invoice(billed)
        self._become(self.get(billed["subscription"]), status="active")
        return self.events[before:]

    def add(self, subscription_id, price_id):
        """The subscription gets another item in mid-period; what is left of the period is billed at once."""
        begun, bought = self.get(subscription_id), self.get(price_id)
        before = len(self.events)
        item = {**deepcopy(self._item(begun)), "id": self._id("si"), "created": self.clock(), "price": bought}
        begun["items"]["data"].append(item)
        start, end = self.clock(), item["current_period_end"]
        amount = bought["unit_amount"] * (end - start) // (end - item["current_period_start"])
        added = objects.line(
            self._id("il"), subscribed=begun, bought=bought, amount=amount, period=(start, end), proration=True
        )
        self._tell("customer.subscription.updated", begun)
        self._pay_invoice(self._invoice(begun, [added], "subscription_update"))
        return self.events[before:]

    def change(self, subscription_id, price_id, *, invoiced="now", place=0):
        """An item of the subscription gets another price in mid-period.

        invoiced   now: what is left of the period is billed at once; renewal: with the next invoice; never: not at all
        """
        begun = self.get(subscription_id)
        before = len(self.events)
        item = begun["items"]["data"][place]
        old, new = item["price"], self.get(price_id)
        now, end = self.clock(), item["current_period_end"]
        left, whole = end - now, end - item["current_period_start"]
        item["price"] = new
        lines = [
            objects.line(
                self._id("il"), subscribed=begun, bought=bought, amount=amount, period=(now, end), proration=True
            )
            for bought, amount in (
                (old, -(old["unit_amount"] * left // whole)),
                (new, new["unit_amount"] * left // whole),
            )
        ]
        self._tell("customer.subscription.updated", begun)
        if invoiced == "now":
            self._pay_invoice(self._invoice(begun, lines, "subscription_update"))
        elif invoiced == "renewal":
            begun.setdefault("_pending", []).extend(lines)
        return self.events[before:]

    def upgrade(self, subscription_id, price_id):
        """A dearer price, billed at once."""
        return self.change(subscription_id, price_id)

    def cancel(self, subscription_id, *, at_period_end=False):
        """The subscription ends, now or with its period; then `cancel` again ends it."""
        begun = self.get(subscription_id)
        if at_period_end:
            return [self._become(begun, cancel_at_period_end=True)]
        begun.update(status="canceled", canceled_at=self.clock(), ended_at=self.clock())
        return [self._tell("customer.subscription.deleted", begun)]

    def pause(self, subscription_id):
        """The subscription rests."""
        begun = self.get(subscription_id)
        begun["status"] = "paused"
        return [self._tell("customer.subscription.paused", begun)]

    def resume(self, subscription_id):
        """The subscription goes on."""
        return [self._become(self.get(subscription_id), status="active")]

    def _become(self, begun, **changed):
        previous = {key: begun[key] for key in changed}
        begun.update(changed)
        return self._tell("customer.subscription.updated", begun, previous)


def why_fields(why):
    """What the error says of a decline besides its message and type."""
    return {key: why[key] for key in ("code", "decline_code") if why[key]}
