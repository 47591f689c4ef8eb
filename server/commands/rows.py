"""What the server answers, as rows: every field for programs, and what fits a screen for people."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from scrip.v1.accounts_pb2 import Account, SpendLimit
from scrip.v1.ledger_service_pb2 import (
    Asset,
    AssetTrialBalance,
    CurrencyTrialBalance,
    ExplainResponse,
    MoneyCode,
    MoneyTrialBalanceRow,
    MovedLot,
    PassedLot,
    RevenueReportResponse,
    RevenueRow,
    TrialBalanceRow,
)
from scrip.v1.types_pb2 import Balance, Code, Entry, HeldLots, Hold, Lot, Source

from server.output import Cell, text_of

Row = Mapping[str, Cell]

_SIDES: Final = ("available", "held", "owed", "pending")


class _AllBut:
    """All columns but a few."""

    def __init__(self, *names: str) -> None:
        self._names = frozenset(names)

    def __contains__(self, name: object) -> bool:
        return name not in self._names


# Ids of what a change made besides its entry can be long lists, and are listed by `lots` and `history`.
CHANGE_FITS: Final = _AllBut("scale", "lot_id", "lot_ids", "welcome_lot_id", "to_entry_id", "into_entry_id")
ACCOUNT_FITS: Final = _AllBut("scale", "metadata", "pending")
LOT_FITS: Final = _AllBut("effective_at", "cost", "package", "reclaimed")
HOLD_FITS: Final = _AllBut("tolerance", "held_lots", "placed_at", "ended_at", "amount")
REVENUE_FITS: Final = _AllBut("credits_granted", "credits_used", "credits_expired")
HISTORY_FITS: Final = frozenset(
    {"seq", "effective_at", "kind", "lines", "available", "held", "owed", "request_id", "entry_id"}
)


def change_row(answer: Any) -> Row:
    """An answer to a change: its entry, what it says of its own, and how the account stood after it."""
    own = {
        field.name: cell(answer, field.name)
        for field in answer.DESCRIPTOR.fields
        if field.name not in {"entry_id", "balance", "replayed"}
    }
    return {"entry_id": answer.entry_id, **own, **balance_row(answer.balance), "replayed": answer.replayed}


def balance_row(balance: Balance) -> Row:
    """How an account stands; what expires only if that was asked."""
    row: dict[str, Cell] = {"account": balance.account_id, "asset": balance.asset, "scale": balance.scale}
    row |= {side: getattr(balance, side) for side in _SIDES}
    return {**row, "expiring": balance.expiring} if balance.HasField("expiring") else row


def account_row(account: Account) -> Row:
    """An account without its spend limits, which are rows of their own."""
    return {
        "account": account.account_id,
        "asset": account.asset,
        "scale": account.scale,
        "status": name_of(Account.Status, account.status),
        "status_reason": account.status_reason,
        "overdraft_limit": account.overdraft_limit,
        "unlimited": account.unlimited,
        "time_zone": account.time_zone,
        **{side: getattr(account.balance, side) for side in _SIDES},
        "metadata": json.dumps(dict(sorted(account.metadata.items())), ensure_ascii=False),
        "opened_at": cell(account, "opened_at"),
    }


def limit_row(limit: SpendLimit) -> Row:
    """A spend limit and what is used of it."""
    return {
        "limit": limit.name,
        "window": name_of(SpendLimit.Window, limit.window),
        "length": cell(limit, "length"),
        "operation": limit.operation,
        "amount": limit.amount,
        "used": limit.used,
        "frees_at": cell(limit, "frees_at"),
    }


def lot_row(lot: Lot) -> Row:
    """A lot and what became of it."""
    return {
        "lot_id": lot.lot_id,
        "source": name_of(Source, lot.source),
        "priority": lot.priority,
        "effective_at": cell(lot, "effective_at"),
        "expires_at": cell(lot, "expires_at"),
        "cost": f"{lot.cost.minor_units} {lot.cost.currency}" if lot.HasField("cost") else None,
        "scope": cell(lot, "scope"),
        "package": lot.package,
        "granted": lot.granted,
        "remaining": lot.remaining,
        "held": lot.held,
        "spent": lot.spent,
        "reclaimed": lot.reclaimed,
    }


def hold_row(hold: Hold) -> Row:
    """A hold and what became of it."""
    return {
        "hold_id": hold.hold_id,
        "state": name_of(Hold.State, hold.state),
        "operation": hold.operation,
        "amount": hold.amount,
        "held": hold.held,
        "captured": hold.captured,
        "tolerance": hold.tolerance,
        "held_lots": name_of(HeldLots, hold.held_lots).removeprefix("lots_"),
        "placed_at": cell(hold, "placed_at"),
        "expires_at": cell(hold, "expires_at"),
        "ended_at": cell(hold, "ended_at"),
    }


def entry_row(entry: Entry) -> Row:
    """An entry with its lines in one cell."""
    lines = (f"Dr {name_of(Code, line.debit)} Cr {name_of(Code, line.credit)} {line.amount}" for line in entry.lines)
    return {
        "seq": entry.seq,
        "effective_at": cell(entry, "effective_at"),
        "kind": name_of(Entry.Kind, entry.kind),
        "lines": "; ".join(lines),
        "available": entry.balance.available,
        "held": entry.balance.held,
        "owed": entry.balance.owed,
        "request_id": entry.request_id,
        "entry_id": entry.entry_id,
        "pending": entry.balance.pending,
        "recorded_at": cell(entry, "recorded_at"),
        "operation": entry.operation,
        "lot_ids": " ".join(lot.lot_id for lot in entry.lots),
        "hold_id": entry.hold_id,
        "refunds_entry_id": entry.refunds_entry_id,
        "revokes_lot_id": entry.revokes_lot_id,
        "peer_entry_id": entry.peer_entry_id,
        "description": entry.memo.description,
        "reference": entry.memo.reference,
        "actor": entry.memo.actor,
        "hash": entry.hash.hex(),
    }


def explained_rows(found: ExplainResponse) -> Iterator[Row]:
    """What became of each lot, then the lots that were passed over, then the spend limits."""
    nothing: dict[str, Cell] = dict.fromkeys(
        ("what", "lot_id", "source", "priority", "expires_at", "amount", "remaining_before", "remaining",
         "held_before", "held", "because", "next_lot_id", "limit", "limit_amount", "used")
    )  # fmt: skip
    for moved in found.moved:
        yield {
            **nothing,
            **_of_lot(moved.lot),
            "what": "burnt" if moved.burnt else "moved",
            "amount": moved.amount,
            "remaining_before": moved.remaining_before,
            "held_before": moved.held_before,
            "because": name_of(MovedLot.Rule, moved.rule).removeprefix("unspecified"),
            "next_lot_id": moved.next_lot_id,
        }
    for passed in found.passed:
        yield {**nothing, "what": "passed over", "because": name_of(PassedLot.Why, passed.why), **_of_lot(passed.lot)}
    for limit in found.limits:
        yield {
            **nothing,
            "what": "counted",
            "limit": limit.name,
            "limit_amount": limit.limit_amount,
            "used": limit.used,
        }


def asset_row(asset: Asset) -> Row:
    """An asset and its settings."""
    welcome = asset.policy.welcome if asset.policy.HasField("welcome") else None
    return {
        "asset": asset.asset,
        "scale": asset.scale,
        "auto_open": asset.policy.auto_open,
        "welcome": None if welcome is None else welcome.amount,
        "welcome_source": None if welcome is None else name_of(Source, welcome.source),
        "welcome_ttl": None if welcome is None else cell(welcome, "ttl"),
        "free_credits_repay_debt": asset.policy.free_credits_repay_debt,
        "default_card": asset.policy.default_card,
    }


def trial_rows(found: AssetTrialBalance) -> Iterator[Row]:
    """A row per code of the chart, and the total."""
    for row in found.rows:
        yield {
            "asset": found.asset,
            "scale": found.scale,
            "code": name_of(Code, row.code),
            "type": name_of(TrialBalanceRow.Type, row.type),
            "debits": row.debits,
            "credits": row.credits,
            "balance": row.balance,
        }
    balance = str(int(found.debits) - int(found.credits))
    total: dict[str, Cell] = {"asset": found.asset, "scale": found.scale, "code": "total", "type": ""}
    yield {**total, "debits": found.debits, "credits": found.credits, "balance": balance}


def money_trial_rows(found: CurrencyTrialBalance) -> Iterator[Row]:
    """A row per code of the monetary journal, and the total."""
    for row in found.rows:
        yield _money_row(found.currency, name_of(MoneyCode, row.code).removeprefix("code_"), row)
    yield _money_row(found.currency, "total", found)


def _money_row(currency: str, code: str, sums: MoneyTrialBalanceRow | CurrencyTrialBalance) -> Row:
    balance = str(int(sums.debits) - int(sums.credits))
    return {"currency": currency, "code": code, "debits": sums.debits, "credits": sums.credits, "balance": balance}


def revenue_rows(found: RevenueReportResponse) -> Iterator[Row]:
    """A row per package of a currency, and the total; what was granted free, which has no currency, comes last."""
    by_currency: dict[str, list[RevenueRow]] = defaultdict(list)
    for row in found.rows:
        by_currency[row.currency].append(row)
    for currency, rows in sorted(by_currency.items(), key=lambda item: (not item[0], item[0])):
        for row in rows:
            told = {field.name: cell(row, field.name) for field in RevenueRow.DESCRIPTOR.fields}
            # No package can have a name with a space.
            yield told if currency else {**told, "package": "free credits"}
        if currency:
            named = {"package": "all packages", "currency": currency}
            yield {name: named.get(name) or str(sum(int(getattr(row, name)) for row in rows)) for name in told}


def _of_lot(lot: Lot) -> Row:
    row = lot_row(lot)
    return {name: row[name] for name in ("lot_id", "source", "priority", "expires_at", "remaining", "held")}


def cell(message: Message, field: str) -> Cell:
    """A field as a cell; None if it is absent."""
    value = getattr(message, field)
    if isinstance(value, Timestamp):
        return text_of(value.ToDatetime(tzinfo=UTC)) if message.HasField(field) else None
    if isinstance(value, Duration):
        return _length(value) if message.HasField(field) else None
    if isinstance(value, str | int):
        return value
    return " ".join(value)


def _length(duration: Duration) -> str:
    """A length of time as it can be said to a command, if it has whole seconds."""
    if duration.nanos:
        return f"{duration.ToTimedelta().total_seconds()}s"
    for unit, seconds in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if duration.seconds % seconds == 0:
            return f"{duration.seconds // seconds}{unit}"
    return f"{duration.seconds}s"


def name_of(enum: Any, value: int) -> str:
    """The name of an enum's value without the enum's prefix, in lower case."""
    name: str = enum.Name(value)
    return name.split("_", 1)[1].lower()
