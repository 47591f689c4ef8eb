"""Where accounts are that were merged into others, and what was in them."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, select

from ledger.chart import Code
from ledger.ids import AccountKey
from ledger.model import AccountName, AccountStatus, EntryKind
from ledger.sales.merging import MovedLot, after_merge
from ledger.sales.model import Order
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
    assets = {sold.asset for sold in order.sold} | {part.asset for part in order.taken_back}
    for asset in sorted(assets | ({order.asset} if order.asset else set())):
        while (merge := _merge_of(connection, order.account(asset))) is not None:
            moved = dict(_moved(connection, order.account(asset).key, merge))
            order = after_merge(order, asset, merge.account_id, moved)
    return order


def where_it_is(connection: Connection, name: AccountName) -> AccountName:
    """The account that one was merged into, perhaps by way of others; itself if it was not."""
    # An account that was merged is closed, and nothing is merged into one that is: so no account comes again.
    while (merge := _merge_of(connection, name)) is not None:
        name = AccountName(tenant=name.tenant, account_id=merge.account_id, asset=name.asset)
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
