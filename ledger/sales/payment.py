"""What is known of the payment of an order, and how much of it went back."""

from dataclasses import dataclass
from typing import Final

from ledger.sales.facts import DisputeSeen, DisputeStatus, NotPaid, Paid, RefundSeen, RefundStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """All that is known of an order's payment: the facts, merged.

    paid             the first that is as ordered; if none is, the first
    not_paid         why it was not paid, for good; what was paid all the same counts
    refunds          one per refund, by name
    refunded_in_all  the most that was ever told of all refunds together, minor units
    disputes         one per dispute, by name
    """

    paid: Paid | None = None
    not_paid: NotPaid | None = None
    refunds: tuple[RefundSeen, ...] = ()
    refunded_in_all: int = 0
    disputes: tuple[DisputeSeen, ...] = ()

    def returned(self, paid: int) -> int:
        """How much of the money went back, by refunds and disputes, minor units; at most what was paid."""
        failed = sum(one.amount for one in self.refunds if one.status in _CAME_TO_NOTHING)
        refunded = sum(one.amount for one in self.refunds if one.status not in _CAME_TO_NOTHING)
        lost = sum(one.amount for one in self.disputes if has_taken_money(one))
        return min(paid, max(refunded, self.refunded_in_all - failed) + lost)

    @property
    def open_disputes(self) -> tuple[DisputeSeen, ...]:
        """Those of which nobody knows yet who gets the money."""
        return tuple(one for one in self.disputes if is_undecided(one))


def has_taken_money(dispute: DisputeSeen) -> bool:
    """True if the bank has the disputed money: the dispute is lost, or the bank took the money and has it still."""
    if dispute.status is DisputeStatus.OPEN:
        return dispute.withdrawn and not dispute.reinstated
    return dispute.status is DisputeStatus.LOST


def is_undecided(dispute: DisputeSeen) -> bool:
    """True if the money is neither taken nor given back yet."""
    return dispute.status is DisputeStatus.OPEN and not dispute.withdrawn and not dispute.reinstated


_CAME_TO_NOTHING: Final = frozenset({RefundStatus.FAILED, RefundStatus.CANCELED})
NOTHING_KNOWN: Final = Payment()
