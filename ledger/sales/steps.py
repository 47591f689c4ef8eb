"""One step of an order: what it does to the books, and how the order is once that is done."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from ledger.chart import CUSTOMER_SIDES, Code
from ledger.operations import Request
from ledger.outcome import Accepted
from ledger.sales.model import Order
from ledger.sales.posted import PostedHold, PostedLot, TakenBack


class Posts(StrEnum):
    """What an operation of a step is for."""

    OPEN = "open"
    GRANT = "grant"
    BACK = "back"
    REVOKE = "revoke"
    HOLD = "hold"
    RELEASE = "release"
    CARRY = "carry"


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One thing that a step does.

    operation   None: nothing in the books, only the order is changed
    sold        the name of what it concerns
    lot         the number of the lot it concerns; 0: none
    lives_on    of CARRY, the lot_id of the lot that ran out
    back        of BACK, what of what was taken is given back; None of others
    dispute     the one that it is because of; empty: it is because of none
    amount      of a hold, what was to be held; of REVOKE, the most that is taken
    """

    what: Posts
    operation: Request | None
    sold: str = ""
    lot: int = 0
    lives_on: str = ""
    back: TakenBack | None = None
    dispute: str = ""
    amount: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What is to be done next, all of it or nothing; no posts: nothing.

    done            the refunds and disputes whose money is accounted for with it
    look_again_at   when something that cannot be done yet may be; None: nothing waits
    """

    posts: tuple[Post, ...] = ()
    done: tuple[str, ...] = ()
    look_again_at: datetime | None = None

    @property
    def operations(self) -> tuple[Request, ...]:
        """Those of its posts, in order."""
        return tuple(post.operation for post in self.posts if post.operation is not None)


def after(order: Order, step: Step, outcomes: Sequence[Accepted]) -> Order:
    """How an order is once a step is done; with one outcome for each of its operations."""
    told = iter(outcomes)
    done = tuple(sorted({*order.done, *step.done}))
    order = replace(order, steps=order.steps + 1, done=done, look_again_at=step.look_again_at)
    for post in step.posts:
        outcome = None if post.operation is None else next(told)
        order = _AFTER.get(post.what, _unchanged)(order, post, outcome)
    return order


def _after_grant(order: Order, post: Post, outcome: Accepted | None) -> Order:
    if outcome is None:
        return order
    return replace(order, granted=True, lots=(*order.lots, _made(post.sold, outcome)))


def _after_carry(order: Order, post: Post, outcome: Accepted | None) -> Order:
    return order if outcome is None else replace(order, lots=(*order.lots, _made(post.sold, outcome, post.lives_on)))


def _after_back(order: Order, post: Post, outcome: Accepted | None) -> Order:
    if outcome is None or post.back is None:
        return order
    lot = replace(_made(post.sold, outcome, post.back.lives_on), credits=0)
    taken = (one.without(post.back) for one in order.taken)
    # Disputes have a share in what is given back, too: what is held for them is to be made anew.
    holds = tuple(replace(hold, amount=None) if hold.sold == post.sold else hold for hold in order.holds)
    return replace(order, lots=(*order.lots, lot), taken=tuple(one for one in taken if one.amount), holds=holds)


def _made(sold: str, outcome: Accepted, lives_on: str = "") -> PostedLot:
    made, account_id = outcome.entry.made[0], outcome.account_name.account_id
    return PostedLot(sold=sold, account_id=account_id, lot=made.number, credits=made.granted, lives_on=lives_on)


def _after_revoke(order: Order, post: Post, outcome: Accepted | None) -> Order:
    if outcome is None:
        return order
    lines = [line for line in outcome.entry.lines if line.credit not in CUSTOMER_SIDES]
    amount = sum(line.amount for line in lines)
    spent = sum(line.amount for line in lines if line.debit is Code.OWED)
    account_id = outcome.account_name.account_id
    (lot,) = (lot for lot in order.lots if (lot.sold, lot.account_id, lot.lot) == (post.sold, account_id, post.lot))
    taken = TakenBack(
        sold=lot.sold,
        account_id=account_id,
        lot=lot.lot,
        lives_on=lot.lives_on,
        step=order.steps,
        unspent=amount - spent,
        spent=spent,
        written_off=sum(line.amount for line in outcome.entry.lines if line.debit is Code.ADJUSTMENTS),
        cost=sum(line.cost.minor_units for line in lines if line.cost is not None),
    )
    return replace(order, taken=(*order.taken, taken)) if amount else order


def _after_hold(order: Order, post: Post, outcome: Accepted | None) -> Order:
    if outcome is None or outcome.entry.hold is None:
        return order
    hold = PostedHold(dispute=post.dispute, sold=post.sold, lot=post.lot, hold=outcome.entry.hold, amount=post.amount)
    return replace(order, holds=(*order.holds, hold))


def _after_release(order: Order, post: Post, _outcome: Accepted | None) -> Order:
    gone = (post.dispute, post.sold, post.lot)
    return replace(order, holds=tuple(hold for hold in order.holds if (hold.dispute, hold.sold, hold.lot) != gone))


def _unchanged(order: Order, _post: Post, _outcome: Accepted | None) -> Order:
    return order


_AFTER: Final = {
    Posts.GRANT: _after_grant,
    Posts.CARRY: _after_carry,
    Posts.BACK: _after_back,
    Posts.REVOKE: _after_revoke,
    Posts.HOLD: _after_hold,
    Posts.RELEASE: _after_release,
}
