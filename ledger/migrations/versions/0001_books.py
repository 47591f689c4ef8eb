"""The books: accounts, entries, lines, lots, holds, totals; assets and writers."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from ledger.tables import Exact, Instant

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "assets",
        sa.Column("tenant", sa.String),
        sa.Column("asset", sa.String),
        sa.Column("scale", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "asset", name="pk_assets"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "accounts",
        sa.Column("account_key", sa.Uuid),
        sa.Column("available", sa.BigInteger, nullable=False),
        sa.Column("held", sa.BigInteger, nullable=False),
        sa.Column("owed", sa.BigInteger, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("as_of", Instant, nullable=False),
        sa.Column("tenant", sa.String, nullable=False),
        sa.Column("account_id", sa.String, nullable=False),
        sa.Column("asset", sa.String, nullable=False),
        sa.Column("head", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("account_key", name="pk_accounts"),
        sa.CheckConstraint("available >= 0 AND held >= 0 AND owed >= 0", name="ck_accounts_never_negative"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_accounts_tenant_account_id", "accounts", ["tenant", "account_id"])
    _create_entries_and_lines()
    _create_lots_and_holds()
    _create_totals_and_writers()


def _create_entries_and_lines() -> None:
    op.create_table(
        "entries",
        sa.Column("account_key", sa.Uuid),
        sa.Column("seq", sa.BigInteger, autoincrement=False),
        sa.Column("effective_at", Instant, nullable=False),
        sa.Column("recorded_at", Instant, nullable=False),
        sa.Column("available", sa.BigInteger, nullable=False),
        sa.Column("held", sa.BigInteger, nullable=False),
        sa.Column("owed", sa.BigInteger, nullable=False),
        sa.Column("pending", sa.BigInteger, nullable=False),
        sa.Column("hold", sa.BigInteger),
        sa.Column("hold_expires_at", Instant),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("request_id", sa.String),
        sa.Column("fingerprint", sa.String, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("description", sa.String),
        sa.Column("reference", sa.String),
        sa.Column("actor", sa.String),
        sa.Column("metadata", sa.String),
        sa.PrimaryKeyConstraint("account_key", "seq", name="pk_entries"),
        sa.UniqueConstraint("account_key", "request_id", name="uq_entries_account_key_request_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "lines",
        sa.Column("account_key", sa.Uuid),
        sa.Column("seq", sa.BigInteger, autoincrement=False),
        sa.Column("n", sa.Integer, autoincrement=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("lot", sa.BigInteger),
        sa.Column("debit", sa.String, nullable=False),
        sa.Column("credit", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("account_key", "seq", "n", name="pk_lines"),
        sa.CheckConstraint("amount > 0", name="ck_lines_amount_positive"),
        sa.CheckConstraint("debit <> credit", name="ck_lines_sides_differ"),
        sqlite_with_rowid=False,
    )


def _create_lots_and_holds() -> None:
    still_open: dict[str, Any] = {"postgresql_where": sa.text("open = 1"), "sqlite_where": sa.text("open = 1")}
    op.create_table(
        "lots",
        sa.Column("account_key", sa.Uuid),
        sa.Column("lot", sa.BigInteger, autoincrement=False),
        sa.Column("granted", sa.BigInteger, nullable=False),
        sa.Column("remaining", sa.BigInteger, nullable=False),
        sa.Column("held", sa.BigInteger, nullable=False),
        sa.Column("effective_at", Instant, nullable=False),
        sa.Column("expires_at", Instant),
        sa.Column("cost", sa.BigInteger),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("open", sa.Integer, nullable=False),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("currency", sa.String),
        sa.PrimaryKeyConstraint("account_key", "lot", name="pk_lots"),
        sa.CheckConstraint(
            "remaining >= 0 AND held >= 0 AND remaining + held <= granted", name="ck_lots_never_negative"
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_lots_open", "lots", ["account_key"], **still_open)
    op.create_index("ix_lots_expiring", "lots", ["expires_at"], **still_open)
    op.create_table(
        "holds",
        sa.Column("account_key", sa.Uuid),
        sa.Column("hold", sa.BigInteger, autoincrement=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("expires_at", Instant, nullable=False),
        sa.Column("ended_at", Instant),
        sa.Column("open", sa.Integer, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("drawn", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("account_key", "hold", name="pk_holds"),
        sa.CheckConstraint("amount > 0", name="ck_holds_amount_positive"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_holds_open", "holds", ["account_key"], **still_open)
    op.create_index("ix_holds_expiring", "holds", ["expires_at"], **still_open)


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
