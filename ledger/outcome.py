"""What a decision starts from and what it can be: the state of an account; Accepted with its postings, or Refused."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from ledger.ids import AccountKey
from ledger.model import Account, AccountName, Asset, Entry, Hold, Lot
from ledger.price_book import PriceBook
from ledger.terms import SpendLimit, window_end

Figure = str | int | datetime
NO_PRICES: Final = PriceBook(())


class Reason(StrEnum):
    """Why the books say no, or why a read finds nothing. A bug is never one of these."""

    INVALID_PAGE_TOKEN = "invalid_page_token"  # noqa: S105 -- the name of a reason, not a secret
    EXPIRY_IN_PAST = "expiry_in_past"
    INSTANT_IN_FUTURE = "instant_in_future"
    ACCOUNT_NOT_FOUND = "account_not_found"
    ASSET_NOT_FOUND = "asset_not_found"
    HOLD_NOT_FOUND = "hold_not_found"
    LOT_NOT_FOUND = "lot_not_found"
    ENTRY_NOT_FOUND = "entry_not_found"
    REQUEST_ID_REUSED = "request_id_reused"
    ACCOUNT_EXISTS = "account_exists"
    ASSET_EXISTS = "asset_exists"
    INSUFFICIENT_CREDITS = "insufficient_credits"
    HOLD_NOT_ACTIVE = "hold_not_active"
    AMOUNT_ABOVE_HOLD = "amount_above_hold"
    AMOUNT_ABOVE_REFUNDABLE = "amount_above_refundable"
    AMOUNT_ABOVE_REVOCABLE = "amount_above_revocable"
    AMOUNT_ABOVE_OWED = "amount_above_owed"
    ENTRY_NOT_REFUNDABLE = "entry_not_refundable"
    SPEND_LIMIT_REACHED = "spend_limit_reached"
    BALANCE_OVERFLOW = "balance_overflow"
    ACCOUNT_FROZEN = "account_frozen"
    ACCOUNT_NOT_FROZEN = "account_not_frozen"
    ACCOUNT_CLOSED = "account_closed"
    ACCOUNT_NOT_EMPTY = "account_not_empty"
    ACCOUNT_HAS_HOLDS = "account_has_holds"
    PACKAGE_NOT_FOUND = "package_not_found"
    PACKAGE_EXISTS = "package_exists"
    PLAN_NOT_FOUND = "plan_not_found"
    ORDER_NOT_FOUND = "order_not_found"
    ORDER_NOT_FULFILLABLE = "order_not_fulfillable"
    PAYMENTS_NOT_CONFIGURED = "payments_not_configured"
    STRIPE_UNAVAILABLE = "stripe_unavailable"
    STRIPE_REFUSED = "stripe_refused"
    EVENT_NOT_FOUND = "event_not_found"
    NO_PAYMENT_METHOD = "no_payment_method"
    CHANGED_MEANWHILE = "changed_meanwhile"
    PRICE_NOT_FOUND = "price_not_found"
    UNIT_MISMATCH = "unit_mismatch"
    COST_OVERFLOW = "cost_overflow"
    RATE_CARD_NOT_FOUND = "rate_card_not_found"
    EFFECTIVE_IN_PAST = "effective_in_past"
    RATE_CARDS_CLASH = "rate_cards_clash"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """What is counted under one spend limit, or by a rate card of one unit, in the window that now lies in.

    used     what was spent in it, less what of that was given back, smallest units; of a rate card the quantity
    since    the beginning of the window
    oldest   when something was first spent in it; None if nothing was
    """

    used: int
    since: datetime
    oldest: datetime | None


def room_frees_at(limit: SpendLimit, spending: Spending, time_zone: str, at: datetime) -> datetime | None:
    """When time may next free room under a spend limit, at the earliest; None if nothing is used of it."""
    if spending.used == 0:
        return None
    if limit.length is None:
        return window_end(limit, time_zone, at)
    return None if spending.oldest is None else spending.oldest + limit.length


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """How an entry moved what is counted under a spend limit, or by a rate card.

    name     what it is counted as
    seq      the number of the entry
    at       when it counts from: of what is given back under a rolling limit, when it had been spent
    change   what was spent, smallest units; less than 0 for what was given back; of a rate card the quantity
    used     what was used in the entry's window, after it
    limit    the limit's amount at the time; None for what a rate card counts
    """

    name: str
    seq: int
    at: datetime
    change: int
    used: int
    limit: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """What is to be written to one account; empty if there is nothing to write.

    account      as it stands after
    entries      in order
    lots         new and changed ones
    holds        new and changed ones
    spent        what was counted under spend limits and by rate cards, in order
    spending     how these stand after it, by name
    settled_at   what has lapsed up to this instant is in it, or was written before
    """

    account: Account
    entries: tuple[Entry, ...]
    lots: tuple[Lot, ...]
    holds: tuple[Hold, ...]
    spent: tuple[Spent, ...]
    spending: Mapping[str, Spending]
    settled_at: datetime

    @property
    def key(self) -> AccountKey:
        """The account it belongs to."""
        return self.account.name.key


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The books say yes.

    account_name   whose entry it is
    scale          the decimal places of its asset
    entry          the operation's own entry; of a repeat, the first one
    postings       what is to be written, one per account; empty for a repeat
    """

    account_name: AccountName
    scale: int
    entry: Entry
    postings: tuple[Posting, ...]

    @property
    def replayed(self) -> bool:
        """True if an earlier request had done it."""
        return not self.postings

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What is to be written, account by account, in order: lapses first."""
        return tuple(entry for posting in self.postings for entry in posting.entries)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The books say no; a normal answer that leaves nothing behind.

    figures   what the reader needs to understand it, by name
    """

    reason: Reason
    figures: Mapping[str, Figure]


def in_future(as_of: datetime, now: datetime, *, field: str = "as_of") -> Refused:
    """The refusal of an instant of which nothing can be told yet, and the field that names it."""
    return Refused(reason=Reason.INSTANT_IN_FUTURE, figures={"field": field, "as_of": as_of, "now": now})


@dataclass(slots=True, kw_only=True)
class State:
    """What is known of one account when an operation is decided. The decision only reads it; the writer updates it.

    asset        None if the account's asset is not defined
    account      None if it is not open
    lots         by number, at least the open ones and those the operation names
    holds        by number, the open ones and those the operation names
    posted       earlier entries by request_id, at least the operation's own
    used         earlier entries by number that a refund names
    refunded     how much of them was refunded, by their numbers
    spending     how the account's spend limits stand, and what rate cards count that an operation needs, by name
    settled_at   what has lapsed up to this instant has been written; None if that is not known
    prices       of the asset, if an operation needs them
    """

    asset: Asset | None = None
    account: Account | None = None
    lots: dict[int, Lot] = field(default_factory=dict)
    holds: dict[int, Hold] = field(default_factory=dict)
    posted: dict[str, Entry] = field(default_factory=dict)
    used: dict[int, Entry] = field(default_factory=dict)
    refunded: dict[int, int] = field(default_factory=dict)
    spending: dict[str, Spending] = field(default_factory=dict)
    settled_at: datetime | None = None
    prices: PriceBook = NO_PRICES

    @property
    def scale(self) -> int:
        """The decimal places of the account's asset; only of an asset that is defined."""
        if self.asset is None:
            raise AssertionError("an account that is open counts an asset that is defined")
        return self.asset.scale

    def copy(self) -> "State":
        """The same, to be changed on its own."""
        return replace(
            self,
            lots=dict(self.lots),
            holds=dict(self.holds),
            posted=dict(self.posted),
            used=dict(self.used),
            refunded=dict(self.refunded),
            spending=dict(self.spending),
        )

    def apply(self, posting: Posting) -> None:
        """Takes over what was decided, so that the next operation of the batch sees it."""
        self.account = posting.account
        for lot in posting.lots:
            self.lots[lot.number] = lot
        for hold in posting.holds:
            self.holds[hold.number] = hold
        for entry in posting.entries:
            if entry.request_id is not None:
                self.posted[entry.request_id] = entry
            # So that an operation of the same batch can refund it, and knows what was refunded.
            self.used[entry.seq] = entry
            if entry.refunds is not None:
                self.refunded[entry.refunds] = self.refunded.get(entry.refunds, 0) + entry.refunded
        if posting.spending:
            self.spending.update(posting.spending)
        self.settled_at = posting.settled_at
