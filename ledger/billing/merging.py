"""Where accounts are that were merged into others, and what was in them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from sqlalchemy import Connection, select

from ledger.chart import Code
from ledger.ids import AccountKey
from ledger.model import AccountName, AccountStatus, EntryKind
from ledger.sales.merge import MovedLot, after_merge
from ledger.sales.model import Merged, Order, Subscription
from ledger.tables import accounts, entries, lines


@dataclass(frozen=True, slots=True, kw_only=True)
class _Merge:
    """A merge: the number of its entry, and the account and the entry on the other side."""

    seq: int
    account_id: str
    key: AccountKey
    peer_seq: int


def followed(connection: Connection, order: Order) -> Order:
    """An order where the customer's credits are by now: its accounts may have been merged into others."""
    assets = {sold.asset for sold in order.sold}
    for asset in sorted(assets | ({order.asset} if order.asset else set())):
        while (merge := _merge_of(connection, order.account(asset))) is not None:
            moved = dict(_moved(connection, order.account(asset).key, merge))
            order = after_merge(order, asset, merge.account_id, moved)
    return order


def covering_where_it_is(connection: Connection, subscription: Subscription, wanted: Iterable[str]) -> Subscription:
    """A subscription where the accounts are by now whose use it covers, or is to; what was merged it covers no more.

    wanted   the assets whose use it is to cover
    """
    assets = sorted({*wanted, *subscription.unlimited})
    names = {asset: _where_it_is(connection, subscription.account(asset)) for asset in assets}
    covered = tuple(asset for asset in subscription.unlimited if names[asset] == subscription.account(asset))
    merged = (
        Merged(asset=asset, account_id=name.account_id)
        for asset, name in names.items()
        if name.account_id != subscription.account_id
    )
    return replace(subscription, unlimited=covered, merged=tuple(merged))


def merged_from(connection: Connection, name: AccountName) -> set[str]:
    """The account_ids of all accounts that were merged into one, perhaps by way of others; and its own."""
    found, keys = {name.account_id}, [name.key]
    while keys:
        merged = select(entries.c.peer_key).where(
            entries.c.account_key == keys.pop(), entries.c.kind == EntryKind.MERGE_IN.value
        )
        its = select(accounts.c.account_key, accounts.c.account_id).where(accounts.c.account_key.in_(merged))
        for row in connection.execute(its):
            if row.account_id not in found:
                found.add(row.account_id)
                keys.append(AccountKey(row.account_key))
    return found


def _where_it_is(connection: Connection, name: AccountName) -> AccountName:
    # An account that was merged is closed, and nothing is merged into one that is: so none comes again.
    while (merge := _merge_of(connection, name)) is not None:
        name = replace(name, account_id=merge.account_id)
    return name


def _merge_of(connection: Connection, name: AccountName) -> _Merge | None:
    """With what an account was merged; None if it is open, or was closed otherwise."""
    status = select(accounts.c.status).where(accounts.c.account_key == name.key)
    if connection.execute(status).scalar_one_or_none() != AccountStatus.CLOSED.value:
        return None
    # Next to nothing follows the entry that closes an account, so that it is found at once.
    closing = (EntryKind.CLOSE.value, EntryKind.MERGE_OUT.value)
    found = select(entries.c.seq, entries.c.peer_seq, accounts.c.account_id, accounts.c.account_key)
    found = found.outerjoin(accounts, accounts.c.account_key == entries.c.peer_key)
    found = found.where(entries.c.account_key == name.key, entries.c.kind.in_(closing))
    row = connection.execute(found.order_by(entries.c.seq.desc()).limit(1)).one()
    if row.peer_seq is None:
        return None
    return _Merge(seq=row.seq, account_id=row.account_id, key=AccountKey(row.account_key), peer_seq=row.peer_seq)


def _moved(connection: Connection, key: AccountKey, merge: _Merge) -> Iterator[tuple[int, MovedLot]]:
    """What it has moved, by the number of the lot that it was in. The lines of both sides are in the same order."""
    out, into = lines.alias(), lines.alias()
    both = select(out.c.lot, out.c.amount, out.c.cost, into.c.lot.label("made"))
    both = both.join(into, out.c.n == into.c.n).where(
        out.c.account_key == key,
        out.c.seq == merge.seq,
        out.c.debit == Code.AVAILABLE.value,
        into.c.account_key == merge.key,
        into.c.seq == merge.peer_seq,
    )
    for row in connection.execute(both):
        yield row.lot, MovedLot(lot=row.made, credits=row.amount, cost=row.cost or 0)
