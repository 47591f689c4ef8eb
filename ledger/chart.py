"""The chart of accounts: what a line can debit or credit, and what each grant debits."""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Code(StrEnum):
    """One account of the chart. The first three are a customer's sides, the rest belong to the tenant."""

    AVAILABLE = "available"
    HELD = "held"
    OWED = "owed"
    PAYMENTS = "payments"
    PROMOTIONS = "promotions"
    PLANS = "plans"
    ADJUSTMENTS = "adjustments"
    REVENUE = "revenue"
    BREAKAGE = "breakage"
    TRANSFERS = "transfers"


class AccountType(StrEnum):
    """What kind of account a code is, in the accountant's sense."""

    ASSET = "asset"
    LIABILITY = "liability"
    EXPENSE = "expense"
    INCOME = "income"
    EQUITY = "equity"
    CLEARING = "clearing"


CHART = MappingProxyType(
    {
        Code.AVAILABLE: AccountType.LIABILITY,
        Code.HELD: AccountType.LIABILITY,
        Code.OWED: AccountType.ASSET,
        Code.PAYMENTS: AccountType.ASSET,
        Code.PROMOTIONS: AccountType.EXPENSE,
        Code.PLANS: AccountType.EXPENSE,
        Code.ADJUSTMENTS: AccountType.EQUITY,
        Code.REVENUE: AccountType.INCOME,
        Code.BREAKAGE: AccountType.INCOME,
        Code.TRANSFERS: AccountType.CLEARING,
    }
)

CUSTOMER_SIDES = frozenset({Code.AVAILABLE, Code.HELD, Code.OWED})


class Source(StrEnum):
    """Why credits were granted."""

    FREE = "free"
    PROMO = "promo"
    WELCOME = "welcome"
    REFERRAL = "referral"
    LEAD = "lead"
    GIFT = "gift"
    PURCHASE = "purchase"
    SUBSCRIPTION = "subscription"
    ADJUSTMENT = "adjustment"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRule:
    """What a source means for the books.

    debit      the code that a grant from it debits
    priority   its place in the burn order unless the grant names another; lower burns first
    """

    debit: Code
    priority: int


SOURCE_RULES = MappingProxyType(
    {
        Source.WELCOME: SourceRule(debit=Code.PROMOTIONS, priority=10),
        Source.LEAD: SourceRule(debit=Code.PROMOTIONS, priority=10),
        Source.FREE: SourceRule(debit=Code.PROMOTIONS, priority=20),
        Source.PROMO: SourceRule(debit=Code.PROMOTIONS, priority=20),
        Source.REFERRAL: SourceRule(debit=Code.PROMOTIONS, priority=30),
        Source.GIFT: SourceRule(debit=Code.PROMOTIONS, priority=40),
        Source.SUBSCRIPTION: SourceRule(debit=Code.PAYMENTS, priority=50),
        Source.PURCHASE: SourceRule(debit=Code.PAYMENTS, priority=60),
        Source.ADJUSTMENT: SourceRule(debit=Code.ADJUSTMENTS, priority=60),
    }
)
