"""Has the books do what an order or a subscription wants, in atomic batches, with the rows of sales beside them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, Protocol

import structlog
from sqlalchemy import Connection, func, select

from ledger.administration import UpdateAccount
from ledger.billing.merging import covering_where_it_is, followed, merged_from
from ledger.billing.records import (
    Write,
    keep_order,
    keep_recharge,
    keep_subscription,
    read_order,
    read_plans,
    read_recharge,
    read_spendable,
    read_subscription,
    read_subscriptions,
    wake_order,
)
from ledger.chart import Code
from ledger.database import Database
from ledger.ids import AccountKey
from ledger.model import AccountName, Hold, Lot, Memo
from ledger.operations import Batch, OpenAccount, Request
from ledger.outcome import Accepted, Reason, Refused
from ledger.rows import hold_of, lot_of
from ledger.sales.catalogue import Plan
from ledger.sales.changes import others_of
from ledger.sales.model import Order, OrderKind, OrderState, SaleRules, Subscription
from ledger.sales.recharge import declined, given_up, served
from ledger.sales.selling import restated
from ledger.sales.settle import Known, next_step, rested
from ledger.sales.steps import after
from ledger.sales.subscriptions import unlimited_assets
from ledger.tables import accounts, holds, lines, lots
from ledger.writer import Answer, Decided, StaleError

# More than any order ever takes: each step is one batch.
STEPS_MAX: Final = 50
# What was read a moment ago is not so any more; to be read and decided again.
_OVERTAKEN: Final = frozenset({Reason.ACCOUNT_EXISTS, Reason.HOLD_NOT_ACTIVE, Reason.EXPIRY_IN_PAST})

log = structlog.get_logger()


class Submit(Protocol):
    """Queues work for the writer; see Ledger.submit."""

    def __call__(self, work: Batch, answer: Answer, /) -> None:
        """The answer is resolved once the outcome is durable."""


class Settling:
    """Does what orders and subscriptions want done."""

    def __init__(self, database: Database, submit: Submit, clock: Callable[[], datetime], rules: SaleRules) -> None:
        self._database, self._submit, self.clock, self.rules = database, submit, clock, rules

    def write(self, *writes: Write) -> None:
        """Writes rows of sales alone, in one transaction; raises StaleError."""
        self.batch((), lambda connection, _: [write(connection) for write in writes])

    def batch(
        self, operations: Sequence[Request], also: Callable[[Connection, Sequence[Accepted]], Any]
    ) -> Sequence[Decided]:
        """Does operations and writes rows beside them; raises StaleError."""
        answer: Future[tuple[Decided, ...]] = Future()
        self._submit(Batch(operations=tuple(operations), atomic=True, also=also), answer)
        return answer.result()

    def settle(self, order: Order, first: Iterable[Write] = (), last: Iterable[Write] = ()) -> Order | Refused:
        """Has the books do all that an order wants, in as many batches as that takes; the order as it is then.

        first     written with the first batch
        last      written with the last
        refuses   what the books refuse; the order is as it was after the last batch that was done
        raises    StaleError
        """
        turn = _Turn(self, order, list(first), list(last))
        for _ in range(STEPS_MAX):
            refused = turn.step()
            if refused is not None or turn.is_over:
                return refused or turn.order
        raise AssertionError(f"order {order.order_id} is never settled")

    def others(self, order: Order) -> list[str]:
        """The other invoices of its periods, if these were changed: their order_ids, the newest first.

        In this turn they are to be settled, for a change takes of the newest credits first.
        """
        with self._database.read() as connection:
            subscription = read_subscription(connection, order.subscription) if order.subscription else None
            return [] if subscription is None else others_of(subscription, order)

    def read(self, order: Order) -> tuple[Order, Known]:
        """An order as it is by what others know, and what has to be known to settle it.

        The customer's credits may be in another account by now, and what it sells follows from its subscription too.
        """
        with self._database.read() as connection:
            subscription = read_subscription(connection, order.subscription) if order.subscription else None
            # What it sells comes first, for that says in which accounts it is.
            order = followed(connection, order if subscription is None else restated(order, subscription))
            return order, _read_known(connection, order, subscription)

    def check_order(self, order: Order) -> None:
        """Raises StaleError if an order is not as it was read: then it was somebody else who used its request_ids."""
        with self._database.read() as connection:
            _check_version(order, read_order(connection, order.order_id))

    def cover(self, subscription: Subscription, first: Iterable[Write] = ()) -> Subscription | Refused:
        """Lets the accounts of a subscription be used without limit, or not any more, as it stands; and writes it.

        refuses   what the books refuse
        raises    StaleError
        """
        with self._database.read() as connection:
            plans = {plan.plan: plan for plan in read_plans(connection, subscription.tenant)}
            wanted = unlimited_assets(subscription, plans)
            subscription = covering_where_it_is(connection, subscription, wanted)
            covered = frozenset(subscription.unlimited)
            names = {asset: subscription.account(asset) for asset in wanted ^ covered}
            covering = _covering_too(connection, subscription, names, plans)
            is_open = _open_accounts(connection, [name.key for name in names.values()])
        elsewhere = frozenset[str]().union(*covering.values())
        memo = Memo(description=f"plan {subscription.plan}", reference=subscription.subscription, actor="stripe")
        key = f"stripe:sub:{subscription.subscription}:{subscription.steps}"
        operations: list[Request] = []
        for asset, name in sorted(names.items()):
            if name.key not in is_open:
                operations.append(OpenAccount(request_id=f"{key}:open", account=name, memo=memo))
            if asset in wanted or asset not in elsewhere:
                operations.append(UpdateAccount(request_id=key, account=name, unlimited=asset in wanted, memo=memo))
        kept = subscription
        if operations or names:
            kept = replace(subscription, unlimited=tuple(sorted(wanted)), steps=subscription.steps + 1)

        def also(connection: Connection, _outcomes: Sequence[Accepted]) -> None:
            if names and _covering_too(connection, subscription, names, plans) != covering:
                raise StaleError("another subscription covers something else by now")
            # What goes on because of another subscription is decided again by whoever is just ending that one.
            relied_on = [one for one, assets in covering.items() if assets & (covered - wanted)]
            for one in sorted([kept, *relied_on], key=_name):
                keep_subscription(connection, one)
            for write in first:
                write(connection)

        refused = refusal_of(self.batch(operations, also))
        if refused is not None and refused.reason is Reason.REQUEST_ID_REUSED:
            with self._database.read() as connection:
                _check_version(subscription, read_subscription(connection, subscription.subscription))
        return refused or replace(kept, version=kept.version + 1)


class Desk:
    """What each part of billing has: the database it reads, and what writes for it."""

    def __init__(self, database: Database, settling: Settling) -> None:
        self._database, self._settling = database, settling


class _Turn:
    """One go at an order: step after step, until nothing is to be done."""

    def __init__(self, settling: Settling, order: Order, first: list[Write], last: list[Write]) -> None:
        self._settling, self._first, self._last = settling, first, last
        self.order, self._known = settling.read(order)
        self.is_over = False

    def step(self) -> Refused | None:
        """Does what is next; the refusal, if it is refused."""
        was, known, rules = self.order, self._known, self._settling.rules
        now = self._settling.clock()
        step = next_step(was, known, now, rules)
        found: list[tuple[Order, bool]] = []

        def also(connection: Connection, outcomes: Sequence[Accepted]) -> None:
            order = after(was, step, outcomes) if step.posts else rested(was, step)
            # What was done before, without its order, tells nothing of the books; what they have is to be read.
            is_known = not any(outcome.replayed for outcome in outcomes)
            following = (
                next_step(order, _with_outcomes(known, outcomes), now, rules) if step.posts and is_known else step
            )
            is_over = not following.posts
            if is_over:
                order = rested(order, following)
            for write in [*self._first, *(self._last if is_over else ())]:
                write(connection)
            if was.version == 0 or (order.granted and not was.granted):
                _wake_others(connection, order, now)
            follow_recharge(connection, order, now)
            # Called again, it begins again.
            found[:] = [(keep_order(connection, order), is_over)]

        refused = refusal_of(self._settling.batch(step.operations, also))
        if refused is not None:
            if refused.reason is Reason.REQUEST_ID_REUSED:
                self._settling.check_order(was)
            if refused.reason is Reason.ACCOUNT_CLOSED and self._settling.read(was)[0] != was:
                raise StaleError("an account was merged into another since it was read")
            return refused
        ((self.order, self.is_over),) = found
        self._first = []
        if not self.is_over:
            self.order, self._known = self._settling.read(self.order)
        return None


def refusal_of(outcomes: Iterable[Decided]) -> Refused | None:
    """Why a batch was refused; None if it was done.

    raises   StaleError if that is because something has changed since it was read, NotDoneError and others as answered
    """
    for outcome in outcomes:
        if isinstance(outcome, Refused):
            if outcome.reason in _OVERTAKEN:
                raise StaleError(outcome.reason)
            return outcome
        if isinstance(outcome, Exception):
            raise outcome
    return None


def _check_version(was: Order | Subscription, found: Order | Subscription | None) -> None:
    if found is not None and found.version != was.version:
        raise StaleError(f"it was changed since version {was.version}")


def _name(subscription: Subscription) -> str:
    return subscription.subscription


def _covering_too(
    connection: Connection, subscription: Subscription, names: Mapping[str, AccountName], plans: Mapping[str, Plan]
) -> dict[Subscription, frozenset[str]]:
    """The other subscriptions that cover the use of some of the accounts, and of which assets."""
    found: dict[Subscription, frozenset[str]] = {}
    for asset, name in names.items():
        for account_id in sorted(merged_from(connection, name)):
            for other in read_subscriptions(connection, name.tenant, account_id):
                covers_it = asset in unlimited_assets(other, plans) and other.account(asset) == name
                if covers_it and _name(other) != _name(subscription):
                    found[other] = found.get(other, frozenset()) | {asset}
    return found


def _open_accounts(connection: Connection, keys: Iterable[AccountKey]) -> frozenset[AccountKey]:
    found = connection.execute(select(accounts.c.account_key).where(accounts.c.account_key.in_(sorted(keys))))
    return frozenset(AccountKey(row.account_key) for row in found)


def _read_known(connection: Connection, order: Order, subscription: Subscription | None) -> Known:
    names = [] if subscription is None else others_of(subscription, order)
    found = {name: read_order(connection, name) for name in names}
    others = {name: followed(connection, other) for name, other in found.items() if other is not None}
    found_lots: dict[tuple[AccountKey, int], Lot] = {}
    found_holds: dict[tuple[AccountKey, int], Hold] = {}
    lapsed: dict[tuple[AccountKey, int], int] = {}
    for other in others.values():
        found_lots |= _read_lots(connection, other)
    for place, lot in _read_lots(connection, order).items():
        found_lots[place] = lot
        if order.period is not None:
            ran_out = select(func.sum(lines.c.amount)).where(
                lines.c.account_key == place[0], lines.c.lot == place[1], lines.c.credit == Code.BREAKAGE.value
            )
            lapsed[place] = int(connection.execute(ran_out).scalar_one() or 0)
    for held in order.holds:
        key = next(order.account(sold.asset).key for sold in order.sold if sold.name == held.sold)
        is_it = (holds.c.account_key == key, holds.c.hold == held.hold, holds.c.open == 1)
        for row in connection.execute(select(holds).where(*is_it)):
            found_holds[key, held.hold] = hold_of(row)
    return Known(
        accounts=_open_accounts(connection, {order.account(sold.asset).key for sold in order.sold}),
        lots=found_lots,
        holds=found_holds,
        lapsed=lapsed,
        subscription=subscription,
        orders={} if subscription is None else {name: restated(one, subscription) for name, one in others.items()},
        following=None if subscription is None else _following(connection, subscription, order),
    )


def _read_lots(connection: Connection, order: Order) -> dict[tuple[AccountKey, int], Lot]:
    """The lots that an order has made."""
    found = {}
    for place in map(order.place, order.lots):
        row = connection.execute(select(lots).where(lots.c.account_key == place[0], lots.c.lot == place[1])).one()
        found[place] = lot_of(row)
    return found


def _following(connection: Connection, subscription: Subscription, order: Order) -> Order | None:
    """The order that paid for the period after this one's."""
    if order.period is None:
        return None
    found = next((period for period in subscription.periods if period.start == order.period.end), None)
    return None if found is None else read_order(connection, found.order_id)


def _wake_others(connection: Connection, order: Order, now: datetime) -> None:
    """What is left of the period before may live on now; and of what was sold in the same period, changes may take."""
    subscription = read_subscription(connection, order.subscription) if order.subscription else None
    if subscription is None:
        return
    begins = None if order.period is None else order.period.start
    earlier = [period.order_id for period in subscription.periods if period.end == begins]
    for name in sorted({*earlier, *others_of(subscription, order)} - {order.order_id}):
        wake_order(connection, name, now)


def follow_recharge(connection: Connection, order: Order, now: datetime, *, is_refused: bool = False) -> None:
    """What the end of a recharge makes of the account's next ones.

    is_refused   the books refuse to grant what was paid
    """
    if order.kind is not OrderKind.RECHARGE:
        return
    recharge = read_recharge(connection, order.tenant, order.account_id, order.asset)
    if recharge is None or recharge.order_id != order.order_id:
        return
    if order.granted:
        available = read_spendable(connection, order.account(order.asset), now) or 0
        keep_recharge(connection, served(recharge, available))
    elif order.state is OrderState.FAILED:
        recharge = keep_recharge(connection, declined(recharge, now))
        log.warning("recharge_declined", account_id=order.account_id, asset=order.asset, declines=recharge.declines)
    elif is_refused or order.state is OrderState.MISMATCHED:
        keep_recharge(connection, given_up(recharge))
        log.error("recharge_given_up", account_id=order.account_id, asset=order.asset, order_id=order.order_id)


def _with_outcomes(known: Known, outcomes: Iterable[Accepted]) -> Known:
    """What is known once a batch is done."""
    there, open_holds, open_accounts = dict(known.lots), dict(known.holds), set(known.accounts)
    for outcome in outcomes:
        for posting in outcome.postings:
            open_accounts.add(posting.key)
            there |= {(posting.key, lot.number): lot for lot in posting.lots}
            for hold in posting.holds:
                open_holds.pop((posting.key, hold.number), None)
                if hold.ended_at is None:
                    open_holds[posting.key, hold.number] = hold
    return replace(known, accounts=frozenset(open_accounts), lots=there, holds=open_holds)
