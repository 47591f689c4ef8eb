"""What an order has still to do to the books: the difference between what should be posted and what is.

Nothing here is driven by events. What is known of the payment says what the customer should have; what differs from
what is posted is posted, as one atomic batch after the other, until nothing differs. So an order that is as it should
be posts nothing, however often it is looked at.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import sha256
from types import MappingProxyType
from typing import Final

from ledger.administration import HoldLot, Reclaim, Revoke, RollOver, SpentPart
from ledger.chart import Source
from ledger.fields import ID_LENGTH_MAX
from ledger.ids import AccountKey, IdPrefix, public_id
from ledger.lots import has_run_out
from ledger.model import NO_MEMO, Hold, Lot, Memo, Money
from ledger.operations import Grant, OpenAccount, Release
from ledger.sales.catalogue import Rollover
from ledger.sales.changes import changes_of, periods_of, taken_by_changes
from ledger.sales.model import Order, OrderKind, OrderState, SaleRules, Sold, Subscription
from ledger.sales.payment import has_taken_money
from ledger.sales.posted import PostedHold, PostedLot, TakenBack
from ledger.sales.steps import Post, Posts, Step

# The bank decides within months; a hold that nobody ends must not last for ever.
DISPUTE_TTL: Final = timedelta(days=400)
# How soon what others hold may have come back.
LOOK_AGAIN_AFTER: Final = timedelta(minutes=1)
# What would run out while it is granted is granted for a moment: it repays what is owed, and the rest lapses.
MOMENT: Final = timedelta(seconds=1)
NOTHING: Final[Mapping[int, int]] = MappingProxyType({})
_DECIDED_WITHIN: Final = timedelta(minutes=1)
_MODES: Final = {True: "live mode", False: "test mode"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What has to be known of the accounts and of other orders, as it was read.

    accounts      those that are open
    lots          those that this order and the others made, by account and number
    holds         those that are open
    lapsed        what of a lot has run out and is written as such
    subscription  whose invoice the order is; None: it is of none
    orders        others of the same periods, if these were changed, by order_id
    following     the invoice that paid for the period after this one's; None: none is known
    """

    accounts: frozenset[AccountKey] = frozenset()
    lots: Mapping[tuple[AccountKey, int], Lot] = field(default_factory=dict)
    holds: Mapping[tuple[AccountKey, int], Hold] = field(default_factory=dict)
    lapsed: Mapping[tuple[AccountKey, int], int] = field(default_factory=dict)
    subscription: Subscription | None = None
    orders: Mapping[str, Order] = field(default_factory=dict)
    following: Order | None = None


def next_step(order: Order, known: Known, now: datetime, rules: SaleRules) -> Step:
    """What an order has to do next."""
    if order.received is None:
        return Step()
    wanted = _Wanted(order, known, now, rules)
    if posts := tuple(wanted.corrections()):
        return Step(posts=posts, done=tuple(cause for _, cause in wanted.causes))
    for found in (_grants(order, known, now), wanted.holds(), wanted.carried()):
        if posts := tuple(found):
            return Step(posts=posts)
    return Step(look_again_at=min(wanted.waits, default=None))


def rested(order: Order, step: Step) -> Order:
    """An order that has nothing to do now; it says why if it never will."""
    why, paid = "", order.payment.paid
    if order.state is OrderState.MISMATCHED and paid is not None:
        asked = "" if order.price is None else f"{order.price.minor_units} {order.price.currency} "
        why = (
            f"Asked for {asked}in {_MODES[order.livemode]}; "
            f"paid were {paid.money.minor_units} {paid.money.currency} in {_MODES[paid.livemode]}."
        )
    return replace(order, look_again_at=step.look_again_at, why=why)


def _grants(order: Order, known: Known, now: datetime) -> Iterator[Post]:
    """One grant for each that is sold and not posted; accounts that are not open are opened first."""
    memo, posted = _memo(order), {lot.sold for lot in order.lots}
    missing = [(index, sold) for index, sold in enumerate(order.sold) if sold.credits and sold.name not in posted]
    for asset in dict.fromkeys(sold.asset for _, sold in missing):
        account = order.account(asset)
        if account.key not in known.accounts:
            opening = OpenAccount(request_id=f"stripe:open:{order.order_id}", account=account, memo=memo)
            yield Post(what=Posts.OPEN, operation=opening)
    for index, sold in missing:
        key = business_key(order) if index == 0 else f"{business_key(order)}:{sold.name}"
        paid = Money(minor_units=sold.cost or 0, currency=order.received.currency) if order.received else None
        expires_at, ttl = _end(sold.expires_at, sold.ttl, now)
        operation = Grant(
            request_id=_fitting(key),
            account=order.account(sold.asset),
            amount=sold.credits,
            source=_source(order, sold),
            cost=None if sold.cost is None else paid,
            package="" if sold.is_bonus else order.package or order.plan,
            memo=memo,
            effective_at=sold.effective_at,
            expires_at=expires_at,
            ttl=ttl,
        )
        yield Post(what=Posts.GRANT, operation=operation, sold=sold.name)


def business_key(order: Order) -> str:
    """By what the grants of an order are known, whoever causes them: stripe:cs:…, stripe:in:…, stripe:pi:…."""
    return f"stripe:{order.kind.prefix}:{order.stripe_id}" if order.stripe_id else f"stripe:or:{order.order_id}"


def share(credits_: int, part: int, whole: int) -> int:
    """The credits that a part of the money stands for, rounded down; all of them for all of it."""
    return credits_ * part // whole if whole else 0


class _Wanted:
    """What an order that is paid should have posted, against what it has.

    causes   refunds and disputes whose money is accounted for by the next corrections: kind and name
    waits    when what cannot be done yet may be
    """

    def __init__(self, order: Order, known: Known, now: datetime, rules: SaleRules) -> None:
        self._order, self._known, self._now, self._rules, self._paid = order, known, now, rules, order.whole
        self.waits: list[datetime] = []
        self._returned = order.returned
        refunds = [("re", one.refund) for one in order.payment.refunds]
        disputes = [("du", one.dispute) for one in order.payment.disputes if has_taken_money(one)]
        self.causes = [(kind, name) for kind, name in (*refunds, *disputes) if name not in order.done]
        self._taken = self._taken_by_changes()
        self._gone = self._gone_with(self._returned)
        self._shares = dict(self._disputed())

    def _key(self, sold: str) -> AccountKey:
        return self._order.account(self._sold(sold).asset).key

    def _sold(self, name: str) -> Sold:
        return next(sold for sold in self._order.sold if sold.name == name)

    def _lot(self, posted: PostedLot) -> Lot:
        return self._known.lots[self._order.place(posted)]

    def _lots(self, sold: Sold) -> list[PostedLot]:
        """Those of what is sold, the newest first: what was given back is taken first."""
        return [lot for lot in reversed(self._order.lots) if lot.sold == sold.name]

    def _left(self, sold: Sold, released: Mapping[int, int] = NOTHING) -> dict[int, int]:
        """What is there of each of them by its number, of those in the account where the customer's credits are.

        released   what is given back to them ahead; what has run out lapses, and what comes back to it
        """
        here = {one.lot: self._lot(one) for one in self._lots(sold) if self._order.is_here(one)}
        return {
            number: 0 if has_run_out(lot, self._now) else lot.remaining + released.get(number, 0)
            for number, lot in here.items()
        }

    def _used(self, posted: PostedLot) -> int:
        """What was spent of a lot, and is not taken back."""
        return 0 if self._sold(posted.sold).is_bonus else self._spent(self._order, posted)

    def _spent(self, order: Order, posted: PostedLot) -> int:
        lot = self._known.lots[order.place(posted)]
        moved = 0 if order.is_here(posted) else posted.moved
        return max(lot.spent - lot.reclaimed - moved, 0)

    def _disputed(self) -> Iterator[tuple[tuple[str, str], int]]:
        """Each open dispute's share of the credits that are not returned yet, of each that is sold by its name."""
        returned, gone = self._returned, self._gone
        for dispute in self._order.payment.open_disputes:
            returned = min(returned + dispute.amount, self._paid)
            before, gone = gone, self._gone_with(returned)
            yield from (((dispute.dispute, name), gone[name] - before[name]) for name in gone)

    def _gone_with(self, money: int) -> dict[str, int]:
        """What goes with a part of the money, of each that is sold by its name, beside what changes of plan take.

        Of what is sold for one stretch after the other, the last ones go first: those that are unspent, then others.
        """
        sales: dict[str, list[Sold]] = {}
        for sold in reversed(self._order.sold):
            sales.setdefault(sold.sale or sold.name, []).append(sold)
        gone: dict[str, int] = {}
        for parts in sales.values():
            missing = share(sum(sold.credits for sold in parts), money, self._paid)
            left = {sold.name: max(sold.credits - self._taken.get(sold.name, 0), 0) for sold in parts}
            unspent = {sold.name: left[sold.name] - sum(map(self._used, self._lots(sold))) for sold in parts}
            gone |= dict.fromkeys(left, 0)
            for there in (unspent, left):
                for name, most in there.items():
                    going = min(missing, max(most - gone[name], 0))
                    gone[name] += going
                    missing -= going
        return gone

    def _request_id(self, cause: str, verb: str, *more: object) -> str:
        return _fitting(":".join(["stripe", cause, verb, *map(str, more), str(self._order.steps)]))

    @property
    def _cause(self) -> str:
        return ":".join(self.causes[0]) if self.causes else f"or:{self._order.order_id}"

    def _release(self, held: PostedHold) -> Post:
        key = self._key(held.sold)
        release = None
        if (key, held.hold) in self._known.holds:
            name = self._request_id(f"du:{held.dispute}", "release", held.sold, held.lot)
            memo = _memo(self._order)
            release = Release(request_id=name, tenant=self._order.tenant, key=key, hold=held.hold, memo=memo)
        return Post(what=Posts.RELEASE, operation=release, sold=held.sold, lot=held.lot, dispute=held.dispute)

    def _taken_by_changes(self) -> dict[str, int]:
        """What of what it sold is taken by changes of plan, of which other orders tell; by name."""
        subscription, known = self._known.subscription, self._known
        if subscription is None:
            return {}
        taken: dict[str, int] = {}
        orders = {**known.orders, self._order.order_id: self._order}
        for base in periods_of(subscription, self._order):
            found = taken_by_changes(base, changes_of(subscription, base), orders, self._unspent)
            own = self._order.order_id
            taken |= {name: amount for (order_id, name), amount in found.items() if amount and order_id == own}
            if any(found.values()) and self._now < base.end and any(lot.held for lot in known.lots.values()):
                # What is held is unspent. Once it is spent, what was to be taken of it is to be taken of another.
                self.waits.append(self._now + LOOK_AGAIN_AFTER)
        return taken

    def _unspent(self, order: Order, sold: Sold) -> int:
        """What of something sold was not used, whether it was taken back or has run out."""
        own = [lot for lot in order.lots if lot.sold == sold.name and not lot.lives_on]
        owed = sum(one.spent for one in order.taken if one.sold == sold.name and not one.lives_on)
        return sold.credits - owed - sum(self._spent(order, lot) for lot in own)

    def corrections(self) -> Iterator[Post]:
        """What is to be revoked or given back, because of money that went back, or of changes of plan.

        What was spent becomes owed only as far as it is more than what the customer has still paid for: what ran out
        counts as unspent, and so does what comes back from holds. So it does not matter when that happens.

        Whatever is taken back, all holds on what is sold are released and made anew in the same batch: so what is held
        in the end does not depend on what was held before, and nobody can spend it in between.
        """
        for sold in self._order.sold:
            lots = self._lots(sold)
            if not lots:
                continue
            wanted = max(sold.credits - self._taken.get(sold.name, 0), 0) - self._gone[sold.name]
            there, used = self._order.outstanding(sold.name), sum(map(self._used, lots))
            taken = [one for one in self._order.taken if one.sold == sold.name]
            unpaid = max(min(wanted - used, sum(one.spent for one in taken)), 0)
            if missing := max(wanted - there, unpaid):
                yield from self._back(sold, taken, missing - unpaid, unpaid)
                continue
            held = [one for one in self._order.holds if one.sold == sold.name]
            drawn = self._drawn(held)
            short = max(used - wanted, 0)
            posts = tuple(self._revoked(sold, lots, max(there - wanted - short, 0), short, drawn))
            if posts or any(self._is_to_end(one) for one in held):
                yield from (self._release(one) for one in held)
                yield from posts
                left = self._left(sold, drawn)
                for post in posts:
                    if isinstance(post.operation, Revoke):
                        left[post.lot] = max(left[post.lot] - post.amount, 0)
                yield from self._held(sold, left)

    def _is_to_end(self, held: PostedHold) -> bool:
        """True if a hold is not as it should, or if what it holds has run out: then it protects nothing any more."""
        lot = self._known.lots[self._key(held.sold), held.lot]
        self.waits += [] if lot.terms.expires_at is None else [lot.terms.expires_at]
        return has_run_out(lot, self._now) or held.amount != self._shares.get((held.dispute, held.sold))

    def _drawn(self, held: Iterable[PostedHold]) -> dict[int, int]:
        """What an order's own holds have of each lot."""
        drawn: dict[int, int] = {}
        for one in held:
            hold = self._known.holds.get((self._key(one.sold), one.hold))
            drawn[one.lot] = drawn.get(one.lot, 0) + (0 if hold is None else hold.held)
        return drawn

    def _revoked(
        self, sold: Sold, lots: Sequence[PostedLot], unspent: int, short: int, drawn: Mapping[int, int]
    ) -> Iterator[Post]:
        """Takes back of each lot.

        unspent   what is to be taken in all of what is there
        short     and of what was spent
        drawn     what is released ahead, by lot
        """
        left = self._left(sold, drawn)
        for posted in lots:
            spent = min(short, self._used(posted))
            short -= spent
            if not self._order.is_here(posted):
                if spent:
                    yield self._reclaimed(sold, posted, spent)
                continue
            taken = min(unspent, left[posted.lot])
            unspent -= taken
            if amount := taken + spent:
                operation = Revoke(
                    request_id=self._request_id(self._cause, "revoke", sold.name, posted.lot),
                    tenant=self._order.tenant,
                    key=self._key(sold.name),
                    lot=posted.lot,
                    spent=self._of_spent(sold, spent),
                    amount=amount,
                    at_most=True,
                    memo=_memo(self._order),
                )
                yield Post(what=Posts.REVOKE, operation=operation, sold=sold.name, lot=posted.lot, amount=amount)
            if unspent > 0 and self._lot(posted).held > drawn.get(posted.lot, 0):
                self.waits.append(self._now + LOOK_AGAIN_AFTER)

    def _reclaimed(self, sold: Sold, posted: PostedLot, amount: int) -> Post:
        """What was spent before the account was merged is owed by that which it was merged into."""
        operation = Reclaim(
            request_id=self._request_id(self._cause, "revoke", sold.name, posted.lot),
            tenant=self._order.tenant,
            key=self._order.place(posted)[0],
            lot=posted.lot,
            into=self._order.account(sold.asset),
            amount=amount,
            moved=posted.moved,
            moved_cost=posted.moved_cost,
            spent=self._of_spent(sold, amount),
            memo=_memo(self._order),
        )
        return Post(what=Posts.REVOKE, operation=operation, sold=sold.name, lot=posted.lot, amount=amount)

    def _of_spent(self, sold: Sold, spent: int) -> SpentPart:
        """What becomes of what is spent of a lot that is taken back."""
        if sold.credits == 0:
            # What is sold instead repays it.
            return SpentPart.OWE
        # A change of plan takes what is unspent alone, even if that is less by the time it is taken.
        is_left = sold.is_bonus or (spent == 0 and sold.name in self._taken)
        return SpentPart.LEAVE if is_left else self._rules.returned

    def _back(self, sold: Sold, taken: Sequence[TakenBack], unspent: int, spent: int) -> Iterator[Post]:
        """What is to be given back of what was taken of which lot: what was taken last comes first."""
        for number, one in enumerate(reversed(taken)):
            back = one.part(unspent, spent)
            unspent, spent = unspent - back.unspent, spent - back.spent
            if back.amount:
                yield self._given_back(sold, back, number)

    def _given_back(self, sold: Sold, back: TakenBack, number: int) -> Post:
        """On the terms of the lot that it was taken of; what was written off for it is owed again, and repaid."""
        terms = self._known.lots[self._order.place(back)].terms
        cost = None if terms.cost is None else replace(terms.cost, minor_units=back.cost)
        expires_at, ttl = _end(terms.expires_at, None, self._now)
        operation = Grant(
            request_id=self._request_id(f"or:{self._order.order_id}", "back", sold.name, number),
            account=self._order.account(sold.asset),
            amount=back.amount,
            source=terms.source,
            priority=terms.priority,
            cost=cost,
            package=terms.package,
            revives=back.written_off,
            memo=_memo(self._order),
            effective_at=terms.effective_at if terms.effective_at > self._now else None,
            expires_at=expires_at,
            ttl=ttl,
        )
        return Post(what=Posts.BACK, operation=operation, sold=sold.name, back=back)

    def holds(self) -> Iterator[Post]:
        """What is to be held for open disputes for which nothing is held yet, as far as it is there."""
        for sold in self._order.sold:
            held_already = {hold.dispute for hold in self._order.holds if hold.sold == sold.name}
            yield from self._held(sold, self._left(sold), held_already)

    def _held(self, sold: Sold, left: dict[int, int], but: Collection[str] = ()) -> Iterator[Post]:
        """Holds for open disputes.

        left   what remains of each lot when they are made; the newest comes first
        but    disputes that are left out
        """
        for (dispute, name), wanted in self._shares.items():
            missing = 0 if name != sold.name or dispute in but else wanted
            for lot, there in left.items():
                amount = min(missing, there)
                if amount <= 0:
                    continue
                missing -= amount
                left[lot] = there - amount
                operation = HoldLot(
                    request_id=self._request_id(f"du:{dispute}", "hold", name, lot),
                    tenant=self._order.tenant,
                    key=self._key(name),
                    lot=lot,
                    ttl=DISPUTE_TTL,
                    amount=amount,
                    memo=_memo(self._order),
                )
                yield Post(what=Posts.HOLD, operation=operation, sold=name, lot=lot, dispute=dispute, amount=wanted)

    def carried(self) -> Iterator[Post]:
        """What of a period, or of a month of it, that has run out lives on in the next, if that is paid.

        It is a share of all that has run out of something sold, in however many lots it was granted and given back.
        """
        for sold in self._order.sold:
            lots = [lot for lot in self._order.lots if lot.sold == sold.name]
            own = [(lot, self._lot(lot)) for lot in lots if not lot.lives_on and self._order.is_here(lot)]
            into = self._into(sold) if own and sold.credits else None
            if sold.rollover is None or into is None:
                continue
            ends = [lot.terms.expires_at for _, lot in own if lot.terms.expires_at is not None]
            if max(ends) > self._now or any(lot.held for _, lot in own):
                # What is held past its end comes back when the hold ends.
                self.waits.append(max(*ends, self._now + LOOK_AGAIN_AFTER))
                continue
            # What has run out and is not written yet is written before the books decide.
            lapsed = [self._known.lapsed.get(self._order.place(posted), 0) + lot.remaining for posted, lot in own]
            wanted = sum(lapsed) * sold.rollover.share_percent // 100
            wanted = min(wanted, sold.rollover.cap) if sold.rollover.cap else wanted
            missing = wanted - sum(lot.credits - lot.moved for lot in lots if lot.lives_on)
            for (posted, _), ran_out in zip(own, lapsed, strict=True):
                name = public_id(IdPrefix.LOT, *self._order.place(posted))
                amount = min(missing, ran_out - sum(lot.credits - lot.moved for lot in lots if lot.lives_on == name))
                operation = self._roll_over(sold, sold.rollover, posted.lot, amount, into) if amount > 0 else None
                if operation is not None:
                    missing -= amount
                    yield Post(what=Posts.CARRY, operation=operation, sold=sold.name, lot=posted.lot, lives_on=name)

    def _into(self, sold: Sold) -> Order | None:
        """The order that paid for what comes after a stretch; None if none did."""
        if self._order.period is None or sold.stretch is None:
            return None
        if sold.stretch.end < self._order.period.end:
            return self._order
        following = self._known.following
        return None if following is None or not following.granted else following

    def _roll_over(self, sold: Sold, rollover: Rollover, lot: int, amount: int, into: Order) -> RollOver | None:
        begins = None if sold.stretch is None else sold.stretch.end
        of_asset = [one for one in into.sold if one.asset == sold.asset and one.credits]
        alike = [one for one in of_asset if one.stretch and one.stretch.start == begins]
        ends = min((one.expires_at for one in alike if one.expires_at), default=None)
        if ends is None and into.period is not None:
            ends = into.period.end
        if rollover.ttl is None and (ends is None or ends <= self._now + _DECIDED_WITHIN):
            return None
        return RollOver(
            request_id=self._request_id(f"or:{self._order.order_id}", "carry", sold.name, lot),
            tenant=self._order.tenant,
            key=self._key(sold.name),
            lot=lot,
            amount=amount,
            expires_at=ends if rollover.ttl is None else None,
            ttl=rollover.ttl,
            memo=_memo(self._order),
        )


def _source(order: Order, sold: Sold) -> Source:
    if sold.is_bonus:
        return Source.PROMO
    return Source.SUBSCRIPTION if order.kind is OrderKind.INVOICE else Source.PURCHASE


def _end(expires_at: datetime | None, ttl: timedelta | None, now: datetime) -> tuple[datetime | None, timedelta | None]:
    """When a lot runs out, as a grant names it: by expires_at or by ttl."""
    if expires_at is not None and expires_at <= now + _DECIDED_WITHIN:
        return None, MOMENT
    return expires_at, ttl


def _memo(order: Order) -> Memo:
    """What is written beside the entries of an order."""
    by_hand = order.fulfilled_by
    what = f"package {order.package}" if order.package else f"plan {order.plan}"
    if by_hand == NO_MEMO:
        return Memo(description=what, reference=order.order_id, actor="stripe")
    return replace(by_hand, reference=order.order_id)


def _fitting(request_id: str) -> str:
    """The same, with its end by a hash where it would be too long."""
    if len(request_id) <= ID_LENGTH_MAX:
        return request_id
    return f"{request_id[: ID_LENGTH_MAX - 33]}#{sha256(request_id.encode()).hexdigest()[:32]}"
