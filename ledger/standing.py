"""How accounts stand: what reads answer about balances, lots, holds and terms."""

from dataclasses import dataclass
from datetime import datetime

from ledger.model import Account, AccountName, Hold, Lot
from ledger.outcome import Refused, Spending, room_frees_at
from ledger.pricing import Charge
from ledger.terms import SpendLimit


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """How an account stands at an instant, smallest units.

    available   spendable at that instant
    pending     granted, but not effective yet; not part of available
    expiring    of available, what runs out within the span that was asked about; None if none was
    """

    name: AccountName
    scale: int
    available: int
    held: int
    owed: int
    pending: int
    expiring: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Balances:
    """How a customer stands, or stood, in one or all assets."""

    balances: tuple[Balance, ...]
    as_of: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitUse:
    """How a spend limit stands.

    used       what was spent in the window that now lies in, smallest units
    frees_at   when room next comes free; None if nothing is used
    """

    limit: SpendLimit
    used: int
    frees_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundAccount:
    """An account with all that is agreed with the customer.

    account         as it is kept; its sides are those after its last entry, `balance` tells how it stands now
    frozen_reason   why it was frozen; empty unless it is
    limits          in the order of its terms
    """

    account: Account
    opened_at: datetime
    frozen_reason: str
    balance: Balance
    limits: tuple[LimitUse, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LotPage:
    """Some lots of an account at an instant: open ones in burn order, or all of them, newest first.

    next_page_token   for the page after this one; empty on the last
    """

    name: AccountName
    scale: int
    lots: tuple[Lot, ...]
    as_of: datetime
    next_page_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldPage:
    """Some holds of an account, newest first, and how it stands at the same instant, of one snapshot.

    next_page_token   for the page after this one; empty on the last
    """

    balance: Balance
    holds: tuple[Hold, ...]
    as_of: datetime
    next_page_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """Whether something may be spent.

    amount      what it costs, smallest units
    charge      how that was computed; None: it was given
    allowed     True if it could be deducted now
    available   how much could be spent for the operation now: lots, overdraft and spend limits counted
    shortfall   what is missing to the amount; 0 if nothing is
    refusal     why it is not allowed; None if it is
    """

    amount: int
    charge: Charge | None
    allowed: bool
    available: int
    shortfall: int
    refusal: Refused | None
    balance: Balance


def limit_use(limit: SpendLimit, spending: Spending, time_zone: str, at: datetime) -> LimitUse:
    """How a spend limit stands at an instant."""
    return LimitUse(limit=limit, used=spending.used, frees_at=room_frees_at(limit, spending, time_zone, at))
