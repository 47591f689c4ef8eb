"""Scrip's books: a double-entry ledger of credits, usable as a library. It knows no network.

    with Ledger("sqlite:///data/scrip.db") as ledger:
        acme = AccountName(tenant="default", account_id="acme", asset="credits")
        ledger.execute(OpenAccount(request_id="r-1", account=acme))
        ledger.execute(Grant(request_id="r-2", account=acme, amount=100, source=Source.PROMO))
        ledger.execute(Deduct(request_id="r-3", account=acme, amount=60))

Each change is answered with Accepted or Refused; a malformed one cannot be made (MalformedError).
"""

from ledger.audit import TrialBalanceRow
from ledger.books import Ledger, utc_now
from ledger.chart import CHART, AccountType, Code, Source
from ledger.database import DatabaseMisusedError, DatabaseUnavailableError, parse_url, shown_url
from ledger.ids import AccountKey, IdPrefix, parse_id, public_id
from ledger.migrations import migrate_database, require_migrated
from ledger.model import (
    DEFAULT_ASSET,
    DEFAULT_TENANT,
    NO_MEMO,
    Accepted,
    AccountName,
    Asset,
    Entry,
    EntryKind,
    Line,
    LotTerms,
    Memo,
    Money,
    Reason,
    Refused,
)
from ledger.operations import (
    Capture,
    Deduct,
    Grant,
    MalformedError,
    OpenAccount,
    Operation,
    PlaceHold,
    Release,
    Settle,
    Violation,
)
from ledger.reports import (
    AssetTrialBalance,
    AuditReport,
    Balance,
    Balances,
    FoundEntry,
    Page,
    TrialBalance,
)
from ledger.writer import (
    DeadlinePassedError,
    Delivery,
    IncidentError,
    NotDoneError,
    QueueFullError,
    StoppingError,
    WriterOptions,
    deliver,
)

__all__ = [
    "CHART",
    "DEFAULT_ASSET",
    "DEFAULT_TENANT",
    "NO_MEMO",
    "Accepted",
    "AccountKey",
    "AccountName",
    "AccountType",
    "Asset",
    "AssetTrialBalance",
    "AuditReport",
    "Balance",
    "Balances",
    "Capture",
    "Code",
    "DatabaseMisusedError",
    "DatabaseUnavailableError",
    "DeadlinePassedError",
    "Deduct",
    "Delivery",
    "Entry",
    "EntryKind",
    "FoundEntry",
    "Grant",
    "IdPrefix",
    "IncidentError",
    "Ledger",
    "Line",
    "LotTerms",
    "MalformedError",
    "Memo",
    "Money",
    "NotDoneError",
    "OpenAccount",
    "Operation",
    "Page",
    "PlaceHold",
    "QueueFullError",
    "Reason",
    "Refused",
    "Release",
    "Settle",
    "Source",
    "StoppingError",
    "TrialBalance",
    "TrialBalanceRow",
    "Violation",
    "WriterOptions",
    "deliver",
    "migrate_database",
    "parse_id",
    "parse_url",
    "public_id",
    "require_migrated",
    "shown_url",
    "utc_now",
]
