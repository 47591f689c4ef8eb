"""What events say about money, in words that no payment provider owns.

Facts may come in any order and more than once: an order is what its facts come to, whichever came first.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ledger.model import Money


class RefundStatus(StrEnum):
    """How a refund stands; one that is further on in this list was seen later."""

    PENDING = "pending"
    REQUIRES_ACTION = "requires_action"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


class DisputeStatus(StrEnum):
    """How a dispute stands; all but OPEN are final.

    WON is also what never became a dispute: an inquiry that was closed.
    """

    OPEN = "open"
    WON = "won"
    LOST = "lost"


class SubscriptionState(StrEnum):
    """How a subscription stands; see Subscription.State in the contract."""

    ACTIVE = "active"
    UNPAID = "unpaid"
    PAUSED = "paused"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Paid:
    """Money has arrived.

    money      all that was paid, taxes included if the price includes them
    livemode   False: in test mode, where no money is
    at         when the event that says so was made
    """

    money: Money
    livemode: bool
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NotPaid:
    """A payment did not come about.

    why        such as "expired", or the bank's code: "insufficient_funds"
    is_final   False: the customer may try again, with another card say
    """

    why: str
    is_final: bool
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundSeen:
    """How one refund stands.

    refund   its name: re_…
    amount   minor units of what was paid
    """

    refund: str
    amount: int
    status: RefundStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundedInAll:
    """What all refunds of a payment come to so far, those that no event of their own told of included.

    amount   minor units of what was paid
    """

    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeSeen:
    """How one dispute stands.

    dispute      its name: du_… or dp_…
    amount       what is disputed, minor units of what was paid
    withdrawn    the bank has taken the money
    reinstated   the bank has given the money back
    at           when the event that says so was made
    """

    dispute: str
    amount: int
    status: DisputeStatus
    withdrawn: bool = False
    reinstated: bool = False
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceLine:
    """What one line of an invoice charges for.

    price          the provider's name of what is charged: price_…
    quantity       how many of it
    is_proration   True: part of a change in mid-period; the amount of what is not used any more is below 0
    amount         minor units, below 0 for what is given back
    start, end     the period it is for; of a proration, from the change to the end of the period
    """

    price: str
    quantity: int
    is_proration: bool
    amount: int
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoicePaid:
    """An invoice of a subscription is paid; one of nothing, or less, counts as paid.

    invoice        its name: in_…
    subscription   sub_…
    money          what was paid, 0 or more
    lines          those of the subscription, in the invoice's order
    """

    invoice: str
    subscription: str
    money: Money
    livemode: bool
    lines: tuple[InvoiceLine, ...]
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionSeen:
    """How a subscription stood when an event was made; the newest counts, and ENDED is final.

    subscription   sub_…
    prices         the provider's names of what is charged: price_…; empty if the event does not tell
    at, event      when the event was made, and its name, which decides between two of the same instant
    """

    subscription: str
    state: SubscriptionState
    prices: tuple[str, ...] = ()
    at: datetime
    event: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerSeen:
    """As whom the provider knows an account.

    customer         cus_…
    payment_method   pm_…, one that may be charged without asking the customer; empty if the event does not tell of one
    """

    customer: str
    payment_method: str = ""
    at: datetime


Fact = Paid | NotPaid | RefundSeen | RefundedInAll | DisputeSeen | InvoicePaid | SubscriptionSeen | CustomerSeen


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one event says, or one answer of the provider.

    event_id     evt_…; empty for what is no event
    order_id     our order, if the provider gave back that we had named it there; else empty
    tenant       as given back by the provider, like account_id and plan; empty if it told nothing
    refs         the provider's names that belong together, of one payment: cs_…, pi_…, ch_…, in_…, re_…, du_…;
                 neither that of a subscription nor that of a customer, which many payments share
    subscription sub_…; empty if it is about none
    facts        in any order
    """

    event_id: str = ""
    order_id: str = ""
    tenant: str = ""
    account_id: str = ""
    plan: str = ""
    refs: tuple[str, ...] = ()
    subscription: str = ""
    facts: tuple[Fact, ...] = ()
