"""What is to be spent: an amount that was given, or what usage costs."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final, NamedTuple

from ledger.decide.steps import refused
from ledger.draft import Draft
from ledger.outcome import Reason, Refused, State
from ledger.price_book import NO_COUNTERS
from ledger.pricing import Charge, Unpriced, Usage
from ledger.terms import Counter

_NOTHING: Final[Mapping[str, int]] = MappingProxyType({})


class Due(NamedTuple):
    """What is to be spent.

    amount     smallest units, 0 or more
    charge     how it was computed; None: it was given
    counters   what the charge counts, by unit
    """

    amount: int
    charge: Charge | None = None
    counters: Mapping[str, Counter] = NO_COUNTERS


def due(state: State, draft: Draft, amount: int | None, usage: Usage | None, at: datetime) -> Due | Refused:
    """What is to be spent of an account.

    amount    None: what the usage costs
    at        the instant whose prices count; allowances and tiers are those of the draft's own
    refuses   PRICE_NOT_FOUND, UNIT_MISMATCH, COST_OVERFLOW, in that order
    """
    if usage is not None:
        return _priced(state, draft, usage, at)
    if amount is None:
        raise AssertionError("an operation tells an amount or usage")
    return Due(amount)


def _priced(state: State, draft: Draft, usage: Usage, at: datetime) -> Due | Refused:
    asset = draft.account.name.asset
    tariff = state.prices.find(usage, at)
    if isinstance(tariff, Unpriced):
        return unpriced(asset, tariff)
    counters = tariff.counters(draft.account.terms.time_zone)
    before = {unit: draft.spending(one).used for unit, one in counters.items()} if counters else _NOTHING
    charge = tariff.charge(usage, at, before)
    if isinstance(charge, Unpriced):
        return unpriced(asset, charge)
    return Due(charge.amount, charge, counters)


def unpriced(asset: str, found: Unpriced) -> Refused:
    """The refusal of usage that cannot be priced."""
    reason = Reason(found.reason)
    figures = {"asset": asset, **found.figures} if reason is Reason.PRICE_NOT_FOUND else found.figures
    return refused(reason, **figures)
