"""What becomes of an order whose customer's account is merged into another."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from ledger.sales.model import Merged, Order
from ledger.sales.posted import PostedLot


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedLot:
    """What a merge has moved out of a lot.

    lot       the number of the one that it has made of it, in the other account
    credits   smallest units, > 0
    cost      what of the cost went along, minor units
    """

    lot: int
    credits: int
    cost: int


def after_merge(order: Order, asset: str, into: str, moved: Mapping[int, MovedLot]) -> Order:
    """An order once the customer's account in an asset was merged: what is left of its lots is in others.

    into    the account_id of the other account
    moved   by the number of the lot that it was moved out of
    """
    names = {sold.name for sold in order.sold if sold.asset == asset}
    here = order.account(asset).account_id
    lots: list[PostedLot] = []
    for lot in order.lots:
        lots += _lots(lot, into, moved) if lot.sold in names and lot.account_id == here else [lot]
    # What is open is not merged, so these have ended: nothing is held anew, and their numbers are others' there.
    ended = [hold for hold in order.holds if hold.sold in names and hold.lot in moved]
    holds = (
        *(hold for hold in order.holds if hold.sold not in names),
        *(replace(hold, lot=moved[hold.lot].lot, hold=0) for hold in ended),
    )
    merged = (*(one for one in order.merged if one.asset != asset), Merged(asset=asset, account_id=into))
    return replace(order, lots=tuple(lots), holds=holds, merged=merged)


def _lots(lot: PostedLot, into: str, moved: Mapping[int, MovedLot]) -> Iterator[PostedLot]:
    """What was spent stays; what was not is the newer lot, and so the first to be taken back."""
    part = moved.get(lot.lot)
    if part is None:
        yield lot
        return
    yield replace(lot, moved=part.credits, moved_cost=part.cost)
    yield PostedLot(sold=lot.sold, account_id=into, lot=part.lot, credits=part.credits, lives_on=lot.lives_on)
