"""What an order knows of its payment. Facts may come in any order and more than once: the sum is the same."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from ledger.sales.facts import (
    DisputeSeen,
    DisputeStatus,
    Fact,
    InvoicePaid,
    NotPaid,
    Paid,
    RefundedInAll,
    RefundSeen,
    RefundStatus,
)
from ledger.sales.model import Order, OrderKind
from ledger.sales.payment import Payment

_RANK = {status: rank for rank, status in enumerate(RefundStatus)}


def learn(order: Order, facts: Iterable[Fact]) -> Order:
    """The order as it knows the facts too; those of the payment alone are its business."""
    payment = order.payment
    for fact in facts:
        match fact:
            case Paid():
                payment = replace(payment, paid=_first_paid(order, payment.paid, fact))
            case InvoicePaid():
                paid = Paid(money=fact.money, livemode=fact.livemode, at=fact.at)
                payment = replace(payment, paid=_first_paid(order, payment.paid, paid))
            case NotPaid() if fact.is_final or order.kind is OrderKind.RECHARGE:
                # Nobody is there to try another card.
                payment = replace(payment, not_paid=_first_refusal(payment.not_paid, fact))
            case RefundSeen():
                payment = replace(payment, refunds=_with_refund(payment, fact))
            case RefundedInAll():
                payment = replace(payment, refunded_in_all=max(payment.refunded_in_all, fact.amount))
            case DisputeSeen():
                payment = replace(payment, disputes=_with_dispute(payment, fact))
            case _:
                continue
    order = replace(order, payment=payment)
    # What sells no credits has nothing to grant.
    return replace(order, granted=True) if order.received is not None and not order.sold else order


def _first_paid(order: Order, known: Paid | None, seen: Paid) -> Paid:
    """What is as ordered comes first, however late it is told; so that the same is granted in whatever order."""

    def rank(paid: Paid) -> tuple[bool, datetime, int, str, bool]:
        return not order.is_matched_by(paid), paid.at, paid.money.minor_units, paid.money.currency, paid.livemode

    return seen if known is None else min(known, seen, key=rank)


def _first_refusal(known: NotPaid | None, seen: NotPaid) -> NotPaid:
    return seen if known is None else min(known, seen, key=lambda one: (one.at, one.why))


def _with_refund(payment: Payment, seen: RefundSeen) -> tuple[RefundSeen, ...]:
    by_name = {one.refund: one for one in payment.refunds}
    known = by_name.get(seen.refund, seen)
    by_name[seen.refund] = max(known, seen, key=lambda one: (_RANK[one.status], one.amount))
    return tuple(by_name[name] for name in sorted(by_name))


def _with_dispute(payment: Payment, seen: DisputeSeen) -> tuple[DisputeSeen, ...]:
    by_name = {one.dispute: one for one in payment.disputes}
    known = by_name.get(seen.dispute, seen)
    # What is closed is beyond what is open; should it be closed twice, the later one is right.
    last = max(known, seen, key=lambda one: (one.status is not DisputeStatus.OPEN, one.at, one.status))
    by_name[seen.dispute] = replace(
        last,
        amount=max(known.amount, seen.amount),
        withdrawn=known.withdrawn or seen.withdrawn,
        reinstated=known.reinstated or seen.reinstated,
    )
    return tuple(by_name[name] for name in sorted(by_name))
