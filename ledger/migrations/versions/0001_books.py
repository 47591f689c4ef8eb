"""The books: accounts, entries, lines, lots, holds, spending, totals, checkpoints; assets, rate cards and writers."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from ledger.tables import Digest, Exact, Instant, Key

revision = "0001"
down_revision = None


def upgrade() -> None:
    _create_sales()
    _create_events()
    op.create_table(
        "assets",
        sa.Column("tenant", sa.String),
        sa.Column("asset", sa.String),
        sa.Column("scale", sa.Integer, nullable=False),
        sa.Column("policy", sa.Text),
        sa.Column("prices", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "asset", name="pk_assets"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rate_cards",
        sa.Column("tenant", sa.String),
        sa.Column("asset", sa.String),
        sa.Column("card", sa.String),
        sa.Column("version", sa.Integer, autoincrement=False),
        sa.Column("effective_at", Instant, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("period", sa.String),
        sa.Column("terms", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "asset", "card", "version", name="pk_rate_cards"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "accounts",
        sa.Column("account_key", Key),
        sa.Column("available", sa.BigInteger, nullable=False),
        sa.Column("held", sa.BigInteger, nullable=False),
        sa.Column("owed", sa.BigInteger, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("lots", sa.BigInteger, nullable=False),
        sa.Column("as_of", Instant, nullable=False),
        sa.Column("tenant", sa.String, nullable=False),
        sa.Column("account_id", sa.String, nullable=False),
        sa.Column("asset", sa.String, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("head", Digest, nullable=False),
        sa.Column("terms", sa.Text),
        sa.PrimaryKeyConstraint("account_key", name="pk_accounts"),
        sa.CheckConstraint("available >= 0 AND held >= 0 AND owed >= 0", name="ck_accounts_never_negative"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_accounts_tenant_account_id", "accounts", ["tenant", "account_id"])
    _create_entries_and_lines()
    _create_lots_and_holds()
    _create_spending_and_checkpoints()
    _create_totals_and_writers()


def _create_entries_and_lines() -> None:
    op.create_table(
        "entries",
        sa.Column("account_key", Key),
        sa.Column("seq", sa.BigInteger, autoincrement=False),
        sa.Column("effective_at", Instant, nullable=False),
        sa.Column("recorded_at", Instant, nullable=False),
        sa.Column("available", sa.BigInteger, nullable=False),
        sa.Column("held", sa.BigInteger, nullable=False),
        sa.Column("owed", sa.BigInteger, nullable=False),
        sa.Column("pending", sa.BigInteger, nullable=False),
        sa.Column("hold", sa.BigInteger),
        sa.Column("hold_expires_at", Instant),
        sa.Column("hold_held", sa.BigInteger),
        sa.Column("refunds", sa.BigInteger),
        sa.Column("revokes", sa.BigInteger),
        sa.Column("lots_expire_at", Instant),
        sa.Column("peer_key", Key),
        sa.Column("peer_seq", sa.BigInteger),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("request_id", sa.String),
        sa.Column("fingerprint", sa.String, nullable=False),
        sa.Column("hash", Digest, nullable=False),
        sa.Column("description", sa.String),
        sa.Column("reference", sa.String),
        sa.Column("actor", sa.String),
        sa.Column("metadata", sa.String),
        sa.Column("operation", sa.String),
        sa.Column("made", sa.Text),
        sa.Column("charge", sa.Text),
        sa.PrimaryKeyConstraint("account_key", "seq", name="pk_entries"),
        sa.UniqueConstraint("account_key", "request_id", name="uq_entries_account_key_request_id"),
        sqlite_with_rowid=False,
    )
    for column in ("refunds", "hold", "reference"):
        _index_of_some("entries", column)
    op.create_index("ix_entries_effective_at", "entries", ["effective_at"], postgresql_using="brin")
    op.create_table(
        "lines",
        sa.Column("account_key", Key),
        sa.Column("seq", sa.BigInteger, autoincrement=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("lot", sa.BigInteger),
        sa.Column("lot_remaining", sa.BigInteger),
        sa.Column("lot_held", sa.BigInteger),
        sa.Column("lot_spent", sa.BigInteger),
        sa.Column("lot_reclaimed", sa.BigInteger),
        sa.Column("cost", sa.BigInteger),
        sa.Column("currency", sa.String),
        sa.Column("n", sa.Integer, autoincrement=False),
        sa.Column("debit", sa.String, nullable=False),
        sa.Column("credit", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("account_key", "seq", "n", name="pk_lines"),
        sa.CheckConstraint("amount > 0", name="ck_lines_amount_positive"),
        sa.CheckConstraint("debit <> credit", name="ck_lines_sides_differ"),
        sqlite_with_rowid=False,
    )
    _index_of_some("lines", "lot")


def _index_of_some(table: str, column: str) -> None:
    has_some = sa.text(f"{column} IS NOT NULL")
    columns = ["account_key", column, "seq"]
    op.create_index(f"ix_{table}_{column}", table, columns, postgresql_where=has_some, sqlite_where=has_some)


def _create_lots_and_holds() -> None:
    still_open: dict[str, Any] = {"postgresql_where": sa.text("open = 1"), "sqlite_where": sa.text("open = 1")}
    op.create_table(
        "lots",
        sa.Column("account_key", Key),
        sa.Column("lot", sa.BigInteger, autoincrement=False),
        sa.Column("granted", sa.BigInteger, nullable=False),
        sa.Column("remaining", sa.BigInteger, nullable=False),
        sa.Column("held", sa.BigInteger, nullable=False),
        sa.Column("spent", sa.BigInteger, nullable=False),
        sa.Column("reclaimed", sa.BigInteger, nullable=False),
        sa.Column("effective_at", Instant, nullable=False),
        sa.Column("expires_at", Instant),
        sa.Column("cost", sa.BigInteger),
        sa.Column("deferred", sa.BigInteger),
        sa.Column("recognised", sa.BigInteger),
        sa.Column("lapsed", sa.BigInteger),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("open", sa.Integer, nullable=False),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("currency", sa.String),
        sa.Column("scope", sa.Text),
        sa.Column("package", sa.String),
        sa.PrimaryKeyConstraint("account_key", "lot", name="pk_lots"),
        sa.CheckConstraint(
            "remaining >= 0 AND held >= 0 AND spent >= 0 AND reclaimed >= 0 AND remaining + held + spent <= granted",
            name="ck_lots_never_negative",
        ),
        sa.CheckConstraint(
            "deferred >= 0 AND recognised >= 0 AND lapsed >= 0 AND deferred + recognised + lapsed <= cost",
            name="ck_lots_cost_conserved",
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_lots_open", "lots", ["account_key"], **still_open)
    op.create_index("ix_lots_expiring", "lots", ["expires_at"], **still_open)
    op.create_table(
        "holds",
        sa.Column("account_key", Key),
        sa.Column("hold", sa.BigInteger, autoincrement=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("captured", sa.BigInteger, nullable=False),
        sa.Column("tolerance", sa.BigInteger, nullable=False),
        sa.Column("placed_at", Instant, nullable=False),
        sa.Column("expires_at", Instant, nullable=False),
        sa.Column("due_at", Instant, nullable=False),
        sa.Column("ended_at", Instant),
        sa.Column("open", sa.Integer, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("held_lots", sa.String, nullable=False),
        sa.Column("drawn", sa.String, nullable=False),
        sa.Column("operation", sa.String),
        sa.Column("lot", sa.BigInteger),
        sa.PrimaryKeyConstraint("account_key", "hold", name="pk_holds"),
        sa.CheckConstraint("amount >= 0 AND captured >= 0 AND tolerance >= 0", name="ck_holds_never_negative"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_holds_open", "holds", ["account_key"], **still_open)
    op.create_index("ix_holds_due", "holds", ["due_at"], **still_open)


def _create_spending_and_checkpoints() -> None:
    op.create_table(
        "spending",
        sa.Column("account_key", Key),
        sa.Column("seq", sa.BigInteger, autoincrement=False),
        sa.Column("name", sa.String),
        sa.Column("counts_at", Instant, nullable=False),
        sa.Column("change", sa.BigInteger, nullable=False),
        sa.Column("used", Exact, nullable=False),
        sa.Column("limit_amount", sa.BigInteger),
        sa.PrimaryKeyConstraint("account_key", "seq", "name", name="pk_spending"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_spending_name", "spending", ["account_key", "name", "counts_at", "seq"])
    op.create_table(
        "checkpoints",
        sa.Column("tenant", sa.String),
        sa.Column("asset", sa.String),
        sa.Column("at", Instant),
        sa.Column("code", sa.String),
        sa.Column("debits", Exact, nullable=False),
        sa.Column("credits", Exact, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "asset", "at", "code", name="pk_checkpoints"),
        sqlite_with_rowid=False,
    )


def _create_totals_and_writers() -> None:
    op.create_table(
        "totals",
        sa.Column("writer", sa.Integer, autoincrement=False),
        sa.Column("tenant", sa.String),
        sa.Column("asset", sa.String),
        sa.Column("code", sa.String),
        sa.Column("debits", Exact, nullable=False),
        sa.Column("credits", Exact, nullable=False),
        sa.PrimaryKeyConstraint("writer", "tenant", "asset", "code", name="pk_totals"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "writers",
        sa.Column("writer", sa.Integer, autoincrement=False),
        sa.Column("holder", sa.Uuid),
        sa.Column("renewed_at", Instant, nullable=False),
        sa.PrimaryKeyConstraint("writer", name="pk_writers"),
    )


def _create_kept(name: str, keys: tuple[str, ...], *columns: sa.Column[Any]) -> None:
    op.create_table(
        name,
        *(sa.Column(key, sa.String) for key in keys),
        *columns,
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint(*keys, name=f"pk_{name}"),
        sqlite_with_rowid=False,
    )


def _create_sales() -> None:
    _create_kept("packages", ("tenant", "package"))
    _create_kept("plans", ("tenant", "plan"))
    _create_kept(
        "orders",
        ("order_id",),
        sa.Column("tenant", sa.String, nullable=False),
        sa.Column("account_id", sa.String, nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("look_again_at", Instant),
    )
    op.create_index("ix_orders_account_id", "orders", ["tenant", "account_id", "created_at", "order_id"])
    op.create_index("ix_orders_created_at", "orders", ["tenant", "created_at", "order_id"])
    op.create_index("ix_orders_look_again_at", "orders", ["look_again_at"])
    _create_kept(
        "subscriptions",
        ("subscription",),
        sa.Column("tenant", sa.String, nullable=False),
        sa.Column("account_id", sa.String, nullable=False),
        sa.Column("created_at", Instant, nullable=False),
    )
    op.create_index("ix_subscriptions_account_id", "subscriptions", ["tenant", "account_id", "created_at"])
    _create_kept("customers", ("tenant", "account_id"), sa.Column("customer", sa.String, nullable=False))
    op.create_index("ix_customers_customer", "customers", ["customer"])
    _create_kept(
        "recharges",
        ("tenant", "account_id", "asset"),
        sa.Column("enabled", sa.Integer, nullable=False),
        sa.Column("below", sa.BigInteger, nullable=False),
        sa.Column("order_id", sa.String, nullable=False),
        sa.Column("retry_at", Instant),
    )


def _create_events() -> None:
    op.create_table(
        "refs",
        sa.Column("ref", sa.String),
        sa.Column("owner", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("ref", name="pk_refs"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "stripe_events",
        sa.Column("event_id", sa.String),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("received_at", Instant, nullable=False),
        sa.Column("alarm_at", Instant),
        sa.Column("type", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("livemode", sa.Integer, nullable=False),
        sa.Column("order_id", sa.String, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("event_id", name="pk_stripe_events"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_stripe_events_state", "stripe_events", ["state", "created_at", "event_id"])
    op.create_index("ix_stripe_events_created_at", "stripe_events", ["created_at", "event_id"])
    op.create_index("ix_stripe_events_alarm_at", "stripe_events", ["alarm_at"])
    is_kept = sa.text("payload <> ''")
    op.create_index(
        "ix_stripe_events_kept", "stripe_events", ["received_at"], postgresql_where=is_kept, sqlite_where=is_kept
    )
    op.create_table(
        "event_refs",
        sa.Column("ref", sa.String),
        sa.Column("event_id", sa.String),
        sa.PrimaryKeyConstraint("ref", "event_id", name="pk_event_refs"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_event_refs_event_id", "event_refs", ["event_id"])
