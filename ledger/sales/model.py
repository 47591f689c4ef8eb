"""The values of sales: orders, subscriptions, customers, events."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from ledger.administration import SpentPart
from ledger.ids import AccountKey
from ledger.model import NO_MEMO, AccountName, Memo, Money
from ledger.sales.catalogue import Checkout, Granted, Rollover
from ledger.sales.facts import Paid, SubscriptionState
from ledger.sales.payment import NOTHING_KNOWN, Payment
from ledger.sales.posted import PostedHold, PostedLot, TakenBack
from ledger.sales.recharge import Consent


class OrderKind(StrEnum):
    """By what money is asked."""

    CHECKOUT = "checkout"
    INVOICE = "invoice"
    RECHARGE = "recharge"
    SUBSCRIBE = "subscribe"

    @property
    def prefix(self) -> str:
        """How the provider's names begin of what such an order is there: cs of cs_…, a session."""
        return _PREFIXES[self]


_PREFIXES: Final = {
    OrderKind.CHECKOUT: "cs",
    OrderKind.SUBSCRIBE: "cs",
    OrderKind.INVOICE: "in",
    OrderKind.RECHARGE: "pi",
}


class OrderState(StrEnum):
    """How an order stands; see Order.State in the contract."""

    OPEN = "open"
    FULFILLED = "fulfilled"
    FAILED = "failed"
    PARTLY_RETURNED = "partly_returned"
    RETURNED = "returned"
    DISPUTED = "disputed"
    MISMATCHED = "mismatched"


class EventState(StrEnum):
    """What became of an event."""

    RECEIVED = "received"
    APPLIED = "applied"
    IGNORED = "ignored"
    SET_ASIDE = "set_aside"


@dataclass(frozen=True, slots=True, kw_only=True)
class SaleRules:
    """What is the same for all sales of a server.

    livemode   True: real money is expected; what was paid in the other mode is a mismatch
    returned   what becomes of spent credits whose money went back: OWE or WRITE_OFF
    """

    livemode: bool = False
    returned: SpentPart = SpentPart.OWE


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """For what credits of a paid period are granted: all of it, or a month of it."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Sold:
    """Credits that an order grants, as one lot, once it is paid.

    name           of its own within the order: the asset, and what tells it from others of that asset
    sale           what it is a part of, with others that are of other stretches; empty: it is by itself
    credits        smallest units, > 0; 0: it was sold by what was known before, and is not by what is known now
    is_bonus       free on top: it is granted as a promotion, and only what is unspent of it is taken back
    is_change      it is what a change of a subscription in mid-period comes to
    weight         of an invoice, what its lines ask for it, minor units; None: it carries no cost
    cost           its part of what is paid, minor units; None: nothing
    effective_at   None: at once
    expires_at     None, without ttl: never
    stretch        of an invoice, what it is granted for; None: it is of no period
    rollover       what of it lives on in the next stretch, if that is paid too; None: nothing
    """

    name: str
    asset: str
    credits: int
    sale: str = ""
    is_bonus: bool = False
    is_change: bool = False
    weight: int | None = None
    cost: int | None = None
    effective_at: datetime | None = None
    expires_at: datetime | None = None
    ttl: timedelta | None = None
    stretch: Stretch | None = None
    rollover: Rollover | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What was granted of an asset for each stretch of a period.

    credits   smallest units, 0 or more
    """

    asset: str
    credits: int
    granted: Granted


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """What a subscription is for: so many of a price, as the plan was when it was sold.

    price   the provider's name: price_…
    rates   what it grants, in the plan's order; of what was changed at renewal, what was there before still is
    """

    price: str
    quantity: int
    rates: tuple[Rate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PaidPeriod:
    """A period of a subscription that a regular line of an invoice paid for.

    order_id   of the invoice
    plan       whose it was
    items      for what it was paid
    """

    order_id: str
    plan: str
    start: datetime
    end: datetime
    items: tuple[Item, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedItem:
    """One line of a change: an item that there was, or one that there is since.

    item         as its plan was when it was told
    amount       minor units, below 0 for what is given up
    is_pro_rata  a change to it counts at once
    grace        how long its credits outlast the period
    """

    item: Item
    amount: int
    is_pro_rata: bool
    grace: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A change of a subscription in mid-period, as an invoice told of it.

    order_id     of the invoice
    at, end      when it happened, and the end of the period
    items        its lines
    is_pro_rata  it counts at once, if nothing of it is an item that there is since
    """

    order_id: str
    at: datetime
    end: datetime
    items: tuple[ChangedItem, ...]
    is_pro_rata: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """Where the customer's account in an asset is, since it was merged: account_id, in the end of all merges."""

    asset: str
    account_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Something that money was asked for; it keeps what it sold, as sold.

    account_id      who ordered
    request_id      of a checkout; empty for others
    asked           what the checkout asked for; None for others
    title           what the customer is shown of it, as it was when it was made; empty for plans
    stripe_price    what the provider is asked for, of a plan: price_…; empty for others
    price           what was asked for; None for SUBSCRIBE, whose price is the provider's
    livemode        whether real money was asked for
    customer        as whom the provider knows who pays, cus_…, as it was when it was made; empty: it is not to be told
    payment_method  of a recharge, what is charged: pm_…; empty: nothing can be
    sold            what it grants once it is paid; nothing for SUBSCRIBE
    period          of an invoice: what its regular line paid for; None: it has none
    changes         of an invoice: the changes in mid-period that it is for
    stripe_id       what the provider calls it: session, invoice or payment intent; empty until it has a name
    url             where the customer pays; empty unless it is an open checkout
    subscription    whose invoice it is; empty for others
    asset           of a recharge, what was to be recharged; empty for others
    consent         of a recharge, how the customer had agreed to it; None for others
    payment         what is known of its payment
    granted         what it sold was granted
    lots            those it made, in order
    taken           what was taken back of them, in order
    holds           those of open disputes
    merged          where the customer's accounts are, of those that were merged into others since
    done            the refunds and disputes whose money is accounted for
    steps           how many batches it took so far; numbers their request_ids
    fulfilled_by    who granted it by hand, and why; NO_MEMO if nobody did
    look_again_at   when it has to be looked at again, because something of it cannot be done yet; None: not at all
    why             what keeps it from being settled, for whoever has to look at it; empty if nothing does
    version         how often it was changed
    """

    tenant: str
    order_id: str
    kind: OrderKind
    account_id: str
    package: str = ""
    plan: str = ""
    asked: Checkout | None = None
    title: str = ""
    stripe_price: str = ""
    price: Money | None
    livemode: bool
    customer: str = ""
    payment_method: str = ""
    sold: tuple[Sold, ...] = ()
    period: PaidPeriod | None = None
    changes: tuple[Changed, ...] = ()
    created_at: datetime
    stripe_id: str = ""
    payment_intent: str = ""
    url: str = ""
    subscription: str = ""
    asset: str = ""
    consent: Consent | None = None
    payment: Payment = NOTHING_KNOWN
    granted: bool = False
    lots: tuple[PostedLot, ...] = ()
    taken: tuple[TakenBack, ...] = ()
    holds: tuple[PostedHold, ...] = ()
    merged: tuple[Merged, ...] = ()
    done: tuple[str, ...] = ()
    steps: int = 0
    fulfilled_by: Memo = NO_MEMO
    look_again_at: datetime | None = None
    why: str = ""
    version: int = 0

    @property
    def received(self) -> Money | None:
        """What was paid as ordered; by an administrator's word, the price. None: nothing."""
        paid = self.payment.paid
        if paid is not None and self.is_matched_by(paid):
            return paid.money
        return None if self.fulfilled_by == NO_MEMO else self.price

    @property
    def returned(self) -> int:
        """What of it went back, minor units."""
        return 0 if self.received is None else self.payment.returned(self.whole)

    @property
    def whole(self) -> int:
        """All of the money of which some may go back, minor units; what was granted by hand may be paid otherwise."""
        whole = self.received if self.payment.paid is None else self.payment.paid.money
        return 0 if whole is None else whole.minor_units

    @property
    def state(self) -> OrderState:
        """How it stands."""
        received = self.received
        if received is None:
            if self.payment.paid is not None:
                return OrderState.MISMATCHED
            return OrderState.OPEN if self.payment.not_paid is None else OrderState.FAILED
        if not self.granted:
            return OrderState.OPEN
        if self.payment.open_disputes:
            return OrderState.DISPUTED
        if self.returned == 0:
            return OrderState.FULFILLED
        return OrderState.RETURNED if self.returned == self.whole else OrderState.PARTLY_RETURNED

    def account(self, asset: str) -> AccountName:
        """The customer's account in an asset; if that was merged into another, as far as it is known, that."""
        account_id = merged_into(self.merged, asset) or self.account_id
        return AccountName(tenant=self.tenant, account_id=account_id, asset=asset)

    def place(self, lot: PostedLot | TakenBack) -> tuple[AccountKey, int]:
        """The account and the number of a lot that it has made."""
        return AccountName(tenant=self.tenant, account_id=lot.account_id, asset=self._asset(lot)).key, lot.lot

    def is_here(self, lot: PostedLot) -> bool:
        """False of what is left in an account that was merged into another: only what was spent there before."""
        return lot.account_id == self.account(self._asset(lot)).account_id

    def _asset(self, lot: PostedLot | TakenBack) -> str:
        return next(sold.asset for sold in self.sold if sold.name == lot.sold)

    def outstanding(self, sold: str) -> int:
        """What of something sold, by name, the customer has, or had and used, smallest units."""
        granted = sum(lot.credits - lot.moved for lot in self.lots if lot.sold == sold and not lot.lives_on)
        return granted - sum(taken.amount for taken in self.taken if taken.sold == sold)

    def is_matched_by(self, paid: Paid) -> bool:
        """True if that is what was asked for."""
        return paid.livemode == self.livemode and (self.price is None or paid.money == self.price)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A customer's subscription.

    subscription   the provider's name: sub_…
    plan           the plan it is for; empty if its price belongs to none
    state          by the newest event
    seen_at, event when that event was made, and its name
    periods        those that were paid, by their beginning
    changes        those in mid-period, by when they happened
    unlimited      the assets whose use it covers at the moment, as posted
    merged         where the accounts are whose use it covers, of those that were merged into others since
    """

    tenant: str
    subscription: str
    account_id: str
    plan: str = ""
    state: SubscriptionState
    seen_at: datetime
    event: str
    created_at: datetime
    periods: tuple[PaidPeriod, ...] = ()
    changes: tuple[Changed, ...] = ()
    unlimited: tuple[str, ...] = ()
    merged: tuple[Merged, ...] = ()
    steps: int = 0
    version: int = 0

    @property
    def paid_until(self) -> datetime | None:
        """The end of the last period that was paid; None if none was."""
        return max((period.end for period in self.periods), default=None)

    def account(self, asset: str) -> AccountName:
        """The customer's account in an asset; see Order.account."""
        account_id = merged_into(self.merged, asset) or self.account_id
        return AccountName(tenant=self.tenant, account_id=account_id, asset=asset)


def merged_into(merged: Iterable[Merged], asset: str) -> str:
    """The account_id of an account that was merged, where it is since; empty if it was not."""
    return next((one.account_id for one in merged if one.asset == asset), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """As whom the provider knows an account.

    customer         cus_…
    payment_method   pm_…, one that may be charged without asking; empty: none
    version          how often it was written
    """

    tenant: str
    account_id: str
    customer: str
    payment_method: str
    seen_at: datetime
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StripeEvent:
    """An event that the provider sent.

    event_id     evt_…
    type         such as "checkout.session.completed"
    payload      its JSON text, as received; empty once it is not kept any more
    why          why it was set aside; else empty
    created_at   when the provider made it
    alarm_at     when somebody has to be told that it belongs to nothing known; None: nobody
    order_id     the order it belongs to; empty if that is not known, or if it is of a subscription alone
    """

    event_id: str
    type: str
    payload: str
    livemode: bool
    state: EventState = EventState.RECEIVED
    why: str = ""
    created_at: datetime
    received_at: datetime
    alarm_at: datetime | None = None
    order_id: str = ""
