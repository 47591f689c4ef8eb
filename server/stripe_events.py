"""What Stripe's events and objects say, in words of our own. Pure: JSON in, values out.

Stripe moved many fields in its API version 2025-03-31; both places are read, so it does not matter which version an
account has. Nothing here depends on what was read before: events come in any order, and more than once.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Final

from ledger import (
    CustomerSeen,
    DisputeSeen,
    DisputeStatus,
    Fact,
    InvoiceLine,
    InvoicePaid,
    MalformedError,
    NotPaid,
    Paid,
    Reading,
    RefundedInAll,
    RefundSeen,
    RefundStatus,
    StripeEvent,
    SubscriptionSeen,
    SubscriptionState,
    Violation,
)
from server.stripe_fields import (
    AMOUNT_MAX,
    QUANTITY_MAX,
    Json,
    UnreadableError,
    amount,
    flag,
    instant,
    money,
    name,
    own_name,
    part,
    parts,
    shown,
    text,
    whole,
)

# What we write beside everything that we make at Stripe, and find again in what it tells.
ORDER: Final = "scrip_order"
TENANT: Final = "scrip_tenant"
ACCOUNT: Final = "scrip_account"
PLAN: Final = "scrip_plan"
PACKAGE: Final = "scrip_package"
_OURS_LENGTH_MAX: Final = 128
# As much as can be looked up.
ID_LENGTH_MAX: Final = 128
# Of why a payment failed; all codes of Stripe are shorter.
WHY_LENGTH_MAX: Final = 100
_TYPE: Final = re.compile(r"[a-z0-9_.]{1,100}")

_REFUND_STATUS: Final = MappingProxyType({status.value: status for status in RefundStatus})
# What is none of these is still open. A dispute that was prevented took nothing: its money went back by a refund.
_DISPUTE_STATUS: Final = MappingProxyType(
    {
        "won": DisputeStatus.WON,
        "warning_closed": DisputeStatus.WON,
        "prevented": DisputeStatus.WON,
        "lost": DisputeStatus.LOST,
    }
)
_SUBSCRIPTION_STATE: Final = MappingProxyType(
    {
        "active": SubscriptionState.ACTIVE,
        "trialing": SubscriptionState.ACTIVE,
        "past_due": SubscriptionState.UNPAID,
        "unpaid": SubscriptionState.UNPAID,
        "incomplete": SubscriptionState.UNPAID,
        "paused": SubscriptionState.PAUSED,
        "canceled": SubscriptionState.ENDED,
        "incomplete_expired": SubscriptionState.ENDED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """What is said cannot be understood; it is to be set aside, and someone must look at it.

    why   a sentence for whoever does
    """

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """One thing that is told.

    type    of the event; empty for an object that we asked for
    about   the object
    """

    event_id: str = ""
    type: str = ""
    at: datetime
    about: Json


@dataclass(slots=True, kw_only=True)
class _Draft:
    """What becomes a reading."""

    refs: list[str] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    subscription: str = ""
    metadata: Json = field(default_factory=dict)


def take(payload: bytes, received_at: datetime) -> StripeEvent:
    """An event as it is stored, before anything is done with what it says.

    payload   the body of a webhook, whose signature was found good
    raises    MalformedError unless it is an event
    """
    try:
        told = payload.decode()
        event = json.loads(told)
    except (ValueError, RecursionError):
        # What is wrong with it would quote it.
        raise _malformed("must be JSON.") from None
    if not isinstance(event, dict) or event.get("object") != "event":
        raise _malformed("must be an event of Stripe.")
    try:
        if len(event_id := own_name(event)) > ID_LENGTH_MAX:
            raise _malformed(f"must be an event whose id has {ID_LENGTH_MAX} characters at most.")
        return StripeEvent(
            event_id=event_id,
            type=_type(event),
            payload=told,
            livemode=flag(event, "livemode"),
            created_at=instant(event, "created"),
            received_at=received_at,
        )
    except UnreadableError as error:
        raise _malformed(f"must be an event of Stripe: {error}") from None


def read(event: Json) -> Reading | Unreadable | None:
    """What an event says; None if its type changes nothing here."""
    try:
        reader = _READERS.get(text(event, "type"))
        about = part(event, "data", "object")
        # Invoices of other things than subscriptions sell no credits.
        if reader is None or (text(about, "object") == "invoice" and not _subscription_of(about)):
            return None
        told = _Told(event_id=own_name(event), type=text(event, "type"), at=instant(event, "created"), about=about)
        return _reading(told, reader(told))
    except UnreadableError as error:
        return Unreadable(why=str(error))


def read_object(about: Json, at: datetime) -> Reading | Unreadable | None:
    """What an object says that Stripe answered with; None if objects of its kind change nothing here.

    at   when it was so
    """
    try:
        reader = _OBJECT_READERS.get(text(about, "object"))
        if reader is None:
            return None
        told = _Told(at=at, about=about)
        return _reading(told, reader(told))
    except UnreadableError as error:
        return Unreadable(why=str(error))


def _malformed(must: str) -> MalformedError:
    return MalformedError((Violation(field="body", must=must),))


def _type(event: Json) -> str:
    if not _TYPE.fullmatch(found := text(event, "type")):
        raise UnreadableError("type must be the type of an event.")
    return found


def _reading(told: _Told, draft: _Draft) -> Reading:
    return Reading(
        event_id=told.event_id,
        order_id=_ours(draft.metadata, ORDER),
        tenant=_ours(draft.metadata, TENANT),
        account_id=_ours(draft.metadata, ACCOUNT),
        plan=_ours(draft.metadata, PLAN),
        refs=tuple(dict.fromkeys(ref for ref in draft.refs if ref)),
        subscription=draft.subscription,
        facts=tuple(draft.facts),
    )


def _ours(metadata: Json, key: str) -> str:
    """What we wrote, or someone who sells by hand; empty if nobody did."""
    found = text(metadata, key)
    if len(found) > _OURS_LENGTH_MAX or (found and not (found.isascii() and found.isprintable())):
        raise UnreadableError(f"metadata.{key} must be at most {_OURS_LENGTH_MAX} printable ASCII characters.")
    return found


def _customer(told: _Told, draft: _Draft, payment_method: str = "") -> None:
    if customer := name(told.about, "customer"):
        draft.facts.append(CustomerSeen(customer=customer, payment_method=payment_method, at=told.at))


def _session(told: _Told) -> _Draft:
    """A Checkout session; that of a subscription tells nothing of its invoice, which has a life of its own."""
    about = told.about
    draft = _Draft(refs=[own_name(about)], metadata=part(about, "metadata"), subscription=name(about, "subscription"))
    if not draft.subscription:
        draft.refs.append(name(about, "payment_intent"))
    _customer(told, draft)
    status = text(about, "status")
    if told.type == "checkout.session.async_payment_failed":
        draft.facts.append(NotPaid(why="payment_failed", is_final=True, at=told.at))
    elif told.type == "checkout.session.expired" or status == "expired":
        draft.facts.append(NotPaid(why="expired", is_final=True, at=told.at))
    elif text(about, "mode") != "setup" and text(about, "payment_status") in {"paid", "no_payment_required"}:
        draft.facts.append(Paid(money=money(about, "amount_total"), livemode=flag(about, "livemode"), at=told.at))
    return draft


def _payment_intent(told: _Told) -> _Draft:
    """A payment; before 2022-11-15 its charges are in a list, before 2025-03-31 it names its invoice."""
    about = told.about
    charges = [own_name(charge) for charge in parts(about, "charges")]
    draft = _Draft(
        refs=[own_name(about), name(about, "latest_charge"), *charges, name(about, "invoice")],
        metadata=part(about, "metadata"),
    )
    status = text(about, "status")
    if status == "succeeded":
        is_saved = text(about, "setup_future_usage") == "off_session"
        _customer(told, draft, name(about, "payment_method") if is_saved else "")
        draft.facts.append(Paid(money=money(about, "amount_received"), livemode=flag(about, "livemode"), at=told.at))
    elif status == "canceled":
        draft.facts.append(NotPaid(why="canceled", is_final=True, at=told.at))
    elif told.type == "payment_intent.payment_failed" or about.get("last_payment_error") is not None:
        error = part(about, "last_payment_error")
        why = text(error, "decline_code") or text(error, "code") or "payment_failed"
        draft.facts.append(NotPaid(why=why[:WHY_LENGTH_MAX], is_final=False, at=told.at))
    return draft


def _invoice(told: _Told) -> _Draft:
    """An invoice of a subscription. One that is not paid says nothing more: the subscription's own events do."""
    about = told.about
    subscription = _subscription_of(about)
    if not subscription:
        raise UnreadableError(f"invoice {own_name(about)} is of no subscription.")
    payments = [name(part(payment, "payment"), "payment_intent") for payment in parts(about, "payments")]
    draft = _Draft(
        refs=[own_name(about), name(about, "payment_intent"), name(about, "charge"), *payments],
        subscription=subscription,
        metadata=_of_subscription(
            part(about, "parent", "subscription_details", "metadata") or part(about, "subscription_details", "metadata")
        ),
    )
    _customer(told, draft)
    if told.type == "invoice.paid" or text(about, "status") == "paid":
        if has_more_lines(about):
            raise UnreadableError(f"invoice {own_name(about)} has more lines than are told.")
        lines = tuple(line for one in parts(about, "lines") if (line := _line(one)) is not None)
        draft.facts.append(
            InvoicePaid(
                invoice=own_name(about),
                subscription=subscription,
                money=money(about, "amount_paid"),
                livemode=flag(about, "livemode"),
                lines=lines,
                at=told.at,
            )
        )
    return draft


def has_more_lines(invoice: Json) -> bool:
    """True if an invoice is shown without its last lines."""
    return part(invoice, "lines").get("has_more") is True


def _subscription_of(invoice: Json) -> str:
    return name(part(invoice, "parent", "subscription_details"), "subscription") or name(invoice, "subscription")


def _of_subscription(metadata: Json) -> Json:
    """Metadata of a subscription names the order that began it, which is not the one that an invoice is."""
    return {key: value for key, value in metadata.items() if key != ORDER}


def _line(line: Json) -> InvoiceLine | None:
    """A line of the subscription; None for what else is on an invoice."""
    owner = part(line, "parent")
    details = part(owner, "subscription_item_details") or part(owner, "invoice_item_details")
    is_proration = (details or line).get("proration") is True
    is_regular = text(owner, "type") == "subscription_item_details" or text(line, "type") == "subscription"
    price = (
        name(part(line, "pricing", "price_details"), "price")
        or name(line, "price")
        # Older still.
        or name(line, "plan")
    )
    if not price or not (is_regular or is_proration):
        return None
    return InvoiceLine(
        price=price,
        quantity=1 if line.get("quantity") is None else whole(line, "quantity", 0, QUANTITY_MAX),
        is_proration=is_proration,
        amount=whole(line, "amount", -AMOUNT_MAX, AMOUNT_MAX),
        start=instant(part(line, "period"), "start"),
        end=instant(part(line, "period"), "end"),
    )


def _invoice_payment(told: _Told) -> _Draft:
    """What ties an invoice to its payment, since the one no longer names the other."""
    payment = part(told.about, "payment")
    return _Draft(refs=[name(told.about, "invoice"), name(payment, "payment_intent"), name(payment, "charge")])


def _subscription(told: _Told) -> _Draft:
    about = told.about
    status = text(about, "status")
    if status not in _SUBSCRIPTION_STATE:
        raise UnreadableError(f"status {shown(status)} of a subscription is not known.")
    state = _SUBSCRIPTION_STATE[status]
    # Stripe still calls it active, but asks for no money.
    if state is not SubscriptionState.ENDED and about.get("pause_collection") is not None:
        state = SubscriptionState.PAUSED
    prices = tuple(name(item, "price") or name(item, "plan") for item in parts(about, "items"))
    draft = _Draft(subscription=own_name(about), metadata=_of_subscription(part(about, "metadata")))
    # Of two events of the same second, that of its beginning is the earlier one.
    rank = 0 if told.type == "customer.subscription.created" else 1
    _customer(told, draft, name(about, "default_payment_method"))
    draft.facts.append(
        SubscriptionSeen(
            subscription=own_name(about),
            state=state,
            prices=tuple(price for price in prices if price),
            at=told.at,
            event=f"{rank}:{told.event_id}",
        )
    )
    return draft


def _refund(told: _Told) -> _Draft:
    draft = _Draft(
        refs=[own_name(told.about), name(told.about, "payment_intent"), name(told.about, "charge")],
        metadata=part(told.about, "metadata"),
    )
    draft.facts.append(_refund_seen(told.about))
    return draft


def _refund_seen(about: Json) -> RefundSeen:
    # Where Stripe knows no status, as of some old refunds, the money is on its way.
    status = text(about, "status") or RefundStatus.PENDING.value
    if status not in _REFUND_STATUS:
        raise UnreadableError(f"status {shown(status)} of a refund is not known.")
    return RefundSeen(refund=own_name(about), amount=amount(about, "amount", 1), status=_REFUND_STATUS[status])


def _charge(told: _Told) -> _Draft:
    """A charge of which something was refunded; before 2022-11-15 it has the refunds in a list."""
    about = told.about
    refunds = [_refund_seen(refund) for refund in parts(about, "refunds")]
    draft = _Draft(
        refs=[
            own_name(about),
            name(about, "payment_intent"),
            name(about, "invoice"),
            *(refund.refund for refund in refunds),
        ],
        metadata=part(about, "metadata"),
    )
    draft.facts += [RefundedInAll(amount=amount(about, "amount_refunded")), *refunds]
    return draft


def _dispute(told: _Told) -> _Draft:
    about = told.about
    draft = _Draft(
        refs=[own_name(about), name(about, "payment_intent"), name(about, "charge")], metadata=part(about, "metadata")
    )
    draft.facts.append(
        DisputeSeen(
            dispute=own_name(about),
            amount=amount(about, "amount"),
            status=_DISPUTE_STATUS.get(text(about, "status"), DisputeStatus.OPEN),
            withdrawn=told.type == "charge.dispute.funds_withdrawn",
            reinstated=told.type == "charge.dispute.funds_reinstated",
            at=told.at,
        )
    )
    return draft


_Reader = Callable[[_Told], _Draft]

_READERS: Final[Mapping[str, _Reader]] = MappingProxyType(
    {
        "checkout.session.completed": _session,
        "checkout.session.async_payment_succeeded": _session,
        "checkout.session.async_payment_failed": _session,
        "checkout.session.expired": _session,
        "payment_intent.succeeded": _payment_intent,
        "payment_intent.payment_failed": _payment_intent,
        "invoice.paid": _invoice,
        "invoice.payment_failed": _invoice,
        "invoice_payment.paid": _invoice_payment,
        "customer.subscription.created": _subscription,
        "customer.subscription.updated": _subscription,
        "customer.subscription.deleted": _subscription,
        "customer.subscription.paused": _subscription,
        "customer.subscription.resumed": _subscription,
        "refund.created": _refund,
        "refund.updated": _refund,
        "refund.failed": _refund,
        # Its old name.
        "charge.refund.updated": _refund,
        "charge.refunded": _charge,
        "charge.dispute.created": _dispute,
        "charge.dispute.funds_withdrawn": _dispute,
        "charge.dispute.funds_reinstated": _dispute,
        "charge.dispute.closed": _dispute,
    }
)
# All that change something here: what to subscribe to, and what to ask for.
TYPES: Final = tuple(_READERS)

_OBJECT_READERS: Final[Mapping[str, _Reader]] = MappingProxyType(
    {
        "checkout.session": _session,
        "payment_intent": _payment_intent,
        "invoice": _invoice,
        "invoice_payment": _invoice_payment,
        "subscription": _subscription,
        "refund": _refund,
        "charge": _charge,
        "dispute": _dispute,
    }
)
