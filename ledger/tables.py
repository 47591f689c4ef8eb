"""The tables, the same on every engine. All that belongs to an account begins with its key.

There are no foreign keys and no triggers: rows are only written by the writer, whole batches at a time, and the audit
proves what a constraint could only hope for. What a decision rests on are two keys of `entries`.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.types import TypeDecorator, TypeEngine

from ledger.chain import instant_text


class Key(TypeDecorator[str]):
    """The key of an account: a UUID, 32 hexadecimal digits outside of the database."""

    impl = Uuid(as_uuid=True)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> UUID | None:  # noqa: ARG002 -- as SQLAlchemy asks
        """As the engines know it."""
        return None if value is None else UUID(value)

    def process_result_value(self, value: UUID | None, dialect: Dialect) -> str | None:  # noqa: ARG002 -- as above
        """Digits alone."""
        return None if value is None else value.hex


class Digest(TypeDecorator[bytes]):
    """A hash. On SQLite its hexadecimal digits, because whole batches are handed over as JSON."""

    impl = LargeBinary
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[bytes] | TypeEngine[str]:
        """Text on SQLite."""
        return String(64) if dialect.name == "sqlite" else self.impl_instance

    def process_bind_param(self, value: bytes | None, dialect: Dialect) -> bytes | str | None:
        """Either way the same bytes."""
        return value.hex() if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: bytes | str | None, dialect: Dialect) -> bytes | None:  # noqa: ARG002 -- as above
        """The bytes."""
        return bytes.fromhex(value) if isinstance(value, str) else value


class Instant(TypeDecorator[datetime]):
    """A point in time, in UTC, to the microsecond. Where there is no such type, text that sorts like time."""

    impl = TIMESTAMP(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[datetime] | TypeEngine[str]:
        """Text on SQLite."""
        return String(32) if dialect.name == "sqlite" else self.impl_instance

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | str | None:
        """Only instants that know their zone come this far."""
        if value is None or dialect.name != "sqlite":
            return value
        return instant_text(value)

    def process_result_value(self, value: datetime | str | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 -- as above
        """The same instant in UTC."""
        return datetime.fromisoformat(value) if isinstance(value, str) else value


class Exact(TypeDecorator[int]):
    """A whole number that may outgrow 64 bits. SQLite would turn such a number into a float, so there it is text."""

    impl = Numeric(60, 0)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Decimal] | TypeEngine[str]:
        """Text on SQLite."""
        return Text() if dialect.name == "sqlite" else self.impl_instance

    def process_bind_param(self, value: int | None, dialect: Dialect) -> Decimal | str | None:
        """Digits either way."""
        if value is None:
            return None
        return str(value) if dialect.name == "sqlite" else Decimal(value)

    def process_result_value(self, value: Decimal | str | None, dialect: Dialect) -> int | None:  # noqa: ARG002 -- as above
        """An int, however large."""
        return None if value is None else int(value)


def _index_of_some(table: str, key: str, column: str) -> Index:
    """An index that holds only the rows that have something in the column."""
    has_some = text(f"{column} IS NOT NULL")
    return Index(f"ix_{table}_{column}", key, column, "seq", postgresql_where=has_some, sqlite_where=has_some)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
    }
)

assets = Table(
    "assets",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("asset", String, primary_key=True),
    Column("scale", Integer, nullable=False),
    Column("policy", Text),
    # Raised by every change of the rate cards, so that whoever remembers them knows whether they are still these.
    Column("prices", Integer, nullable=False),
    sqlite_with_rowid=False,
)

# What usage of an asset costs. A version is never changed.
rate_cards = Table(
    "rate_cards",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("asset", String, primary_key=True),
    Column("card", String, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("effective_at", Instant, nullable=False),
    # That of the asset's `prices` with which it came.
    Column("revision", BigInteger, nullable=False),
    Column("period", String),
    Column("terms", Text, nullable=False),
    sqlite_with_rowid=False,
)

accounts = Table(
    "accounts",
    metadata,
    Column("account_key", Key, primary_key=True),
    Column("available", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False),
    Column("owed", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("lots", BigInteger, nullable=False),
    Column("as_of", Instant, nullable=False),
    Column("tenant", String, nullable=False),
    Column("account_id", String, nullable=False),
    Column("asset", String, nullable=False),
    Column("status", String, nullable=False),
    Column("head", Digest, nullable=False),
    Column("terms", Text),
    CheckConstraint("available >= 0 AND held >= 0 AND owed >= 0", name="never_negative"),
    Index(None, "tenant", "account_id"),
    sqlite_with_rowid=False,
)

# The primary key is the lock: two writers that decided on the same state write the same seq, and one of them fails.
# The unique request_id is the promise that one request has one effect.
entries = Table(
    "entries",
    metadata,
    Column("account_key", Key, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("effective_at", Instant, nullable=False),
    Column("recorded_at", Instant, nullable=False),
    Column("available", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False),
    Column("owed", BigInteger, nullable=False),
    Column("pending", BigInteger, nullable=False),
    Column("hold", BigInteger),
    Column("hold_expires_at", Instant),
    Column("hold_held", BigInteger),
    Column("refunds", BigInteger),
    Column("revokes", BigInteger),
    Column("lots_expire_at", Instant),
    Column("peer_key", Key),
    Column("peer_seq", BigInteger),
    Column("kind", String, nullable=False),
    Column("request_id", String),
    Column("fingerprint", String, nullable=False),
    Column("hash", Digest, nullable=False),
    Column("description", String),
    Column("reference", String),
    Column("actor", String),
    Column("metadata", String),
    Column("operation", String),
    Column("made", Text),
    Column("charge", Text),
    UniqueConstraint("account_key", "request_id"),
    _index_of_some("entries", "account_key", "refunds"),
    _index_of_some("entries", "account_key", "hold"),
    _index_of_some("entries", "account_key", "reference"),
    # Entries come nearly in order of time, so that PostgreSQL needs next to nothing to find those of a stretch of it.
    Index("ix_entries_effective_at", "effective_at", postgresql_using="brin"),
    sqlite_with_rowid=False,
)

lines = Table(
    "lines",
    metadata,
    Column("account_key", Key, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("amount", BigInteger, nullable=False),
    Column("lot", BigInteger),
    Column("lot_remaining", BigInteger),
    Column("lot_held", BigInteger),
    Column("lot_spent", BigInteger),
    Column("lot_reclaimed", BigInteger),
    Column("cost", BigInteger),
    Column("currency", String),
    Column("n", Integer, primary_key=True, autoincrement=False),
    Column("debit", String, nullable=False),
    Column("credit", String, nullable=False),
    CheckConstraint("amount > 0", name="amount_positive"),
    CheckConstraint("debit <> credit", name="sides_differ"),
    _index_of_some("lines", "account_key", "lot"),
    sqlite_with_rowid=False,
)

# `open` is a column of its own, so that an index of the open ones need not be touched by each change of an amount.
lots = Table(
    "lots",
    metadata,
    Column("account_key", Key, primary_key=True),
    Column("lot", BigInteger, primary_key=True, autoincrement=False),
    Column("granted", BigInteger, nullable=False),
    Column("remaining", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False),
    Column("spent", BigInteger, nullable=False),
    Column("reclaimed", BigInteger, nullable=False),
    Column("effective_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Column("cost", BigInteger),
    # Where the cost is; of a lot that cost nothing, nowhere.
    Column("deferred", BigInteger),
    Column("recognised", BigInteger),
    Column("lapsed", BigInteger),
    Column("priority", Integer, nullable=False),
    Column("open", Integer, nullable=False),
    Column("source", String, nullable=False),
    Column("currency", String),
    Column("scope", Text),
    Column("package", String),
    CheckConstraint(
        "remaining >= 0 AND held >= 0 AND spent >= 0 AND reclaimed >= 0 AND remaining + held + spent <= granted",
        name="never_negative",
    ),
    CheckConstraint(
        "deferred >= 0 AND recognised >= 0 AND lapsed >= 0 AND deferred + recognised + lapsed <= cost",
        name="cost_conserved",
    ),
    Index("ix_lots_open", "account_key", postgresql_where=text("open = 1"), sqlite_where=text("open = 1")),
    Index("ix_lots_expiring", "expires_at", postgresql_where=text("open = 1"), sqlite_where=text("open = 1")),
    sqlite_with_rowid=False,
)

holds = Table(
    "holds",
    metadata,
    Column("account_key", Key, primary_key=True),
    Column("hold", BigInteger, primary_key=True, autoincrement=False),
    Column("amount", BigInteger, nullable=False),
    Column("captured", BigInteger, nullable=False),
    Column("tolerance", BigInteger, nullable=False),
    Column("placed_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("open", Integer, nullable=False),
    Column("state", String, nullable=False),
    Column("held_lots", String, nullable=False),
    Column("drawn", String, nullable=False),
    Column("operation", String),
    Column("lot", BigInteger),
    CheckConstraint("amount >= 0 AND captured >= 0 AND tolerance >= 0", name="never_negative"),
    Index("ix_holds_open", "account_key", postgresql_where=text("open = 1"), sqlite_where=text("open = 1")),
    Index("ix_holds_due", "due_at", postgresql_where=text("open = 1"), sqlite_where=text("open = 1")),
    sqlite_with_rowid=False,
)

# How each entry moved what is counted: under each spend limit, and by rate cards, which have no limit.
spending = Table(
    "spending",
    metadata,
    Column("account_key", Key, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("name", String, primary_key=True),
    Column("counts_at", Instant, nullable=False),
    Column("change", BigInteger, nullable=False),
    Column("used", Exact, nullable=False),
    Column("limit_amount", BigInteger),
    Index("ix_spending_name", "account_key", "name", "counts_at", "seq"),
    sqlite_with_rowid=False,
)

# All that was debited and credited up to an instant, what had lapsed by then included; made now and then, so that the
# trial balance of a past instant need not begin with the first entry.
checkpoints = Table(
    "checkpoints",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("asset", String, primary_key=True),
    Column("at", Instant, primary_key=True),
    Column("code", String, primary_key=True),
    Column("debits", Exact, nullable=False),
    Column("credits", Exact, nullable=False),
    sqlite_with_rowid=False,
)

# One row set per writer, so that no two writers ever wait for the same row; the trial balance is their sum.
totals = Table(
    "totals",
    metadata,
    Column("writer", Integer, primary_key=True, autoincrement=False),
    Column("tenant", String, primary_key=True),
    Column("asset", String, primary_key=True),
    Column("code", String, primary_key=True),
    Column("debits", Exact, nullable=False),
    Column("credits", Exact, nullable=False),
    sqlite_with_rowid=False,
)

# Who may write which row set of `totals`. Each batch of a writer renews its row; if it has lost it, nothing of the
# batch is written.
writers = Table(
    "writers",
    metadata,
    Column("writer", Integer, primary_key=True, autoincrement=False),
    Column("holder", Uuid),
    Column("renewed_at", Instant, nullable=False),
)


# What follows is of sales. Each value is kept as JSON, with the columns that it is looked up by; whoever changes a row
# names the version that was read.
def _kept_as_a_body(name: str, *columns: Column[Any] | Index) -> Table:
    body = (Column("version", BigInteger, nullable=False), Column("body", Text, nullable=False))
    return Table(name, metadata, *columns, *body, sqlite_with_rowid=False)


packages = _kept_as_a_body(
    "packages", Column("tenant", String, primary_key=True), Column("package", String, primary_key=True)
)

plans = _kept_as_a_body("plans", Column("tenant", String, primary_key=True), Column("plan", String, primary_key=True))

orders = _kept_as_a_body(
    "orders",
    Column("order_id", String, primary_key=True),
    Column("tenant", String, nullable=False),
    Column("account_id", String, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("look_again_at", Instant),
    Index("ix_orders_account_id", "tenant", "account_id", "created_at", "order_id"),
    Index("ix_orders_created_at", "tenant", "created_at", "order_id"),
    Index("ix_orders_look_again_at", "look_again_at"),
)

subscriptions = _kept_as_a_body(
    "subscriptions",
    Column("subscription", String, primary_key=True),
    Column("tenant", String, nullable=False),
    Column("account_id", String, nullable=False),
    Column("created_at", Instant, nullable=False),
    Index("ix_subscriptions_account_id", "tenant", "account_id", "created_at"),
)

customers = _kept_as_a_body(
    "customers",
    Column("tenant", String, primary_key=True),
    Column("account_id", String, primary_key=True),
    Column("customer", String, nullable=False),
    Index("ix_customers_customer", "customer"),
)

recharges = _kept_as_a_body(
    "recharges",
    Column("tenant", String, primary_key=True),
    Column("account_id", String, primary_key=True),
    Column("asset", String, primary_key=True),
    Column("enabled", Integer, nullable=False),
    Column("below", BigInteger, nullable=False),
    Column("order_id", String, nullable=False),
    Column("retry_at", Instant),
)

# What the provider's names belong to: an order, or a subscription by its own name.
refs = Table(
    "refs",
    metadata,
    Column("ref", String, primary_key=True),
    Column("owner", String, nullable=False),
    sqlite_with_rowid=False,
)

_is_kept = text("payload <> ''")

stripe_events = Table(
    "stripe_events",
    metadata,
    Column("event_id", String, primary_key=True),
    Column("created_at", Instant, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("alarm_at", Instant),
    Column("type", String, nullable=False),
    Column("state", String, nullable=False),
    Column("livemode", Integer, nullable=False),
    Column("order_id", String, nullable=False),
    Column("why", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Index("ix_stripe_events_state", "state", "created_at", "event_id"),
    Index("ix_stripe_events_created_at", "created_at", "event_id"),
    Index("ix_stripe_events_alarm_at", "alarm_at"),
    # Of those alone whose payload is kept, which is not done for ever.
    Index("ix_stripe_events_kept", "received_at", postgresql_where=_is_kept, sqlite_where=_is_kept),
    sqlite_with_rowid=False,
)

# What events that are set aside wait for.
event_refs = Table(
    "event_refs",
    metadata,
    Column("ref", String, primary_key=True),
    Column("event_id", String, primary_key=True),
    Index("ix_event_refs_event_id", "event_id"),
    sqlite_with_rowid=False,
)
