"""Rows of the tables as values, and values as rows."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from sqlalchemy import Row

from ledger.chart import Code, Source
from ledger.ids import AccountKey
from ledger.model import (
    NO_MEMO,
    Account,
    AccountName,
    AccountStatus,
    Asset,
    Draw,
    Entry,
    EntryKind,
    HeldLots,
    Hold,
    HoldState,
    Left,
    Line,
    Lot,
    LotTerms,
    MadeLot,
    Memo,
    Money,
)
from ledger.outcome import Spent
from ledger.terms import NO_POLICY, NO_TERMS, AccountTerms, AssetPolicy, SpendLimit, Welcome, Window

Values = dict[str, Any]


def account_of(row: Row[Any]) -> Account:
    """An account from its row."""
    return Account(
        name=AccountName(tenant=row.tenant, account_id=row.account_id, asset=row.asset),
        available=row.available,
        held=row.held,
        owed=row.owed,
        seq=row.seq,
        head=bytes(row.head),
        lots=row.lots,
        as_of=row.as_of,
        status=AccountStatus(row.status),
        terms=NO_TERMS if row.terms is None else _terms_of(json.loads(row.terms)),
    )


def account_row(key: AccountKey, account: Account) -> Values:
    """The row of an account."""
    return {
        "account_key": key,
        "tenant": account.name.tenant,
        "account_id": account.name.account_id,
        "asset": account.name.asset,
        "available": account.available,
        "held": account.held,
        "owed": account.owed,
        "seq": account.seq,
        "lots": account.lots,
        "head": account.head,
        "as_of": account.as_of,
        "status": account.status.value,
        "terms": None if account.terms == NO_TERMS else _text(_terms_json(account.terms)),
    }


def asset_of(row: Row[Any]) -> Asset:
    """An asset from its row."""
    policy = NO_POLICY if row.policy is None else _policy_of(json.loads(row.policy))
    return Asset(tenant=row.tenant, asset=row.asset, scale=row.scale, policy=policy)


def asset_row(asset: Asset) -> Values:
    """The row of an asset."""
    policy = None if asset.policy == NO_POLICY else _text(_policy_json(asset.policy))
    return {"tenant": asset.tenant, "asset": asset.asset, "scale": asset.scale, "policy": policy}


def lot_of(row: Row[Any]) -> Lot:
    """A lot from its row."""
    terms = LotTerms(
        source=Source(row.source),
        priority=row.priority,
        effective_at=row.effective_at,
        expires_at=row.expires_at,
        cost=None if row.cost is None else Money(minor_units=row.cost, currency=row.currency),
        scope=() if row.scope is None else tuple(row.scope.split(" ")),
    )
    return Lot(
        number=row.lot,
        terms=terms,
        granted=row.granted,
        remaining=row.remaining,
        held=row.held,
        spent=row.spent,
        reclaimed=row.reclaimed,
    )


def lot_row(key: AccountKey, lot: Lot) -> Values:
    """The row of a lot."""
    return {
        "account_key": key,
        "lot": lot.number,
        "granted": lot.granted,
        "remaining": lot.remaining,
        "held": lot.held,
        "spent": lot.spent,
        "reclaimed": lot.reclaimed,
        "open": int(lot.is_open),
        "effective_at": lot.terms.effective_at,
        "expires_at": lot.terms.expires_at,
        "priority": lot.terms.priority,
        "source": lot.terms.source.value,
        "cost": None if lot.terms.cost is None else lot.terms.cost.minor_units,
        "currency": None if lot.terms.cost is None else lot.terms.cost.currency,
        "scope": " ".join(lot.terms.scope) or None,
    }


def hold_of(row: Row[Any]) -> Hold:
    """A hold from its row; what it has drawn is stored as "lot:amount" pairs, without a lot for what a plan covers."""
    pairs = (pair.split(":") for pair in row.drawn.split(" ") if pair)
    return Hold(
        number=row.hold,
        operation=row.operation or "",
        amount=row.amount,
        captured=row.captured,
        tolerance=row.tolerance,
        drawn=tuple(Draw(lot=int(lot) if lot else None, amount=int(amount)) for lot, amount in pairs),
        held_lots=HeldLots(row.held_lots),
        placed_at=row.placed_at,
        expires_at=row.expires_at,
        due_at=row.due_at,
        state=HoldState(row.state),
        ended_at=row.ended_at,
    )


def hold_row(key: AccountKey, hold: Hold) -> Values:
    """The row of a hold."""
    return {
        "account_key": key,
        "hold": hold.number,
        "operation": hold.operation or None,
        "amount": hold.amount,
        "captured": hold.captured,
        "tolerance": hold.tolerance,
        "drawn": " ".join(f"{'' if draw.lot is None else draw.lot}:{draw.amount}" for draw in hold.drawn),
        "held_lots": hold.held_lots.value,
        "placed_at": hold.placed_at,
        "expires_at": hold.expires_at,
        "due_at": hold.due_at,
        "open": int(hold.state is HoldState.OPEN),
        "state": hold.state.value,
        "ended_at": hold.ended_at,
    }


def line_of(row: Row[Any]) -> Line:
    """A line from its row."""
    left = None
    if row.lot is not None:
        left = Left(row.lot_remaining, row.lot_held, row.lot_spent, row.lot_reclaimed)
    return Line(debit=Code(row.debit), credit=Code(row.credit), amount=row.amount, lot=row.lot, left=left)


def line_row(entry: Entry, n: int, line: Line) -> Values:
    """The row of an entry's n-th line."""
    return {
        "account_key": entry.key,
        "seq": entry.seq,
        "n": n,
        "debit": line.debit.value,
        "credit": line.credit.value,
        "amount": line.amount,
        "lot": line.lot,
        "lot_remaining": None if line.left is None else line.left.remaining,
        "lot_held": None if line.left is None else line.left.held,
        "lot_spent": None if line.left is None else line.left.spent,
        "lot_reclaimed": None if line.left is None else line.left.reclaimed,
    }


def entry_of(row: Row[Any], lines: tuple[Line, ...]) -> Entry:
    """An entry from its row, with its lines."""
    return Entry(
        key=AccountKey(row.account_key),
        seq=row.seq,
        kind=EntryKind(row.kind),
        request_id=row.request_id,
        fingerprint=row.fingerprint,
        effective_at=row.effective_at,
        recorded_at=row.recorded_at,
        available=row.available,
        held=row.held,
        owed=row.owed,
        pending=row.pending,
        lines=lines,
        made=() if row.made is None else tuple(_made_of(made) for made in json.loads(row.made)),
        operation=row.operation or "",
        hold=row.hold,
        hold_expires_at=row.hold_expires_at,
        hold_held=row.hold_held,
        refunds=row.refunds,
        revokes=row.revokes,
        lots_expire_at=row.lots_expire_at,
        peer=None if row.peer_key is None else (AccountKey(row.peer_key), row.peer_seq),
        memo=_memo_of(row),
        hash=bytes(row.hash),
    )


def entry_row(entry: Entry) -> Values:
    """The row of an entry."""
    memo = entry.memo
    return {
        "account_key": entry.key,
        "seq": entry.seq,
        "kind": entry.kind.value,
        "request_id": entry.request_id,
        "fingerprint": entry.fingerprint,
        "effective_at": entry.effective_at,
        "recorded_at": entry.recorded_at,
        "available": entry.available,
        "held": entry.held,
        "owed": entry.owed,
        "pending": entry.pending,
        "hold": entry.hold,
        "hold_expires_at": entry.hold_expires_at,
        "hold_held": entry.hold_held,
        "refunds": entry.refunds,
        "revokes": entry.revokes,
        "lots_expire_at": entry.lots_expire_at,
        "peer_key": None if entry.peer is None else entry.peer[0],
        "peer_seq": None if entry.peer is None else entry.peer[1],
        "hash": entry.hash,
        "description": memo.description or None,
        "reference": memo.reference or None,
        "actor": memo.actor or None,
        "metadata": _text(dict(memo.metadata)) if memo.metadata else None,
        "operation": entry.operation or None,
        "made": _text([_made_json(made) for made in entry.made]) if entry.made else None,
    }


def spent_row(key: AccountKey, spent: Spent) -> Values:
    """The row of what an entry moved under a spend limit."""
    return {
        "account_key": key,
        "seq": spent.seq,
        "name": spent.name,
        "counts_at": spent.at,
        "change": spent.change,
        "used": spent.used,
        "limit_amount": spent.limit,
    }


def _memo_of(row: Row[Any]) -> Memo:
    if row.description is None and row.reference is None and row.actor is None and row.metadata is None:
        return NO_MEMO
    return Memo(
        description=row.description or "",
        reference=row.reference or "",
        actor=row.actor or "",
        metadata={} if row.metadata is None else json.loads(row.metadata),
    )


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _instant_text(instant: datetime | None) -> str | None:
    return None if instant is None else instant.astimezone(UTC).isoformat()


def _instant_of(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _span_json(span: timedelta | None) -> int | None:
    """In microseconds."""
    return None if span is None else span // timedelta(microseconds=1)


def _span_of(microseconds: int | None) -> timedelta | None:
    return None if microseconds is None else timedelta(microseconds=microseconds)


def _made_json(made: MadeLot) -> Values:
    terms = made.terms
    return {
        "number": made.number,
        "granted": made.granted,
        "source": terms.source.value,
        "priority": terms.priority,
        "effective_at": _instant_text(terms.effective_at),
        "expires_at": _instant_text(terms.expires_at),
        "cost": None if terms.cost is None else [terms.cost.minor_units, terms.cost.currency],
        "scope": list(terms.scope),
    }


def _made_of(kept: Mapping[str, Any]) -> MadeLot:
    cost = kept["cost"]
    terms = LotTerms(
        source=Source(kept["source"]),
        priority=kept["priority"],
        effective_at=datetime.fromisoformat(kept["effective_at"]),
        expires_at=_instant_of(kept["expires_at"]),
        cost=None if cost is None else Money(minor_units=cost[0], currency=cost[1]),
        scope=tuple(kept["scope"]),
    )
    return MadeLot(number=kept["number"], granted=kept["granted"], terms=terms)


def _terms_json(terms: AccountTerms) -> Values:
    return {
        "overdraft_limit": terms.overdraft_limit,
        "unlimited": terms.unlimited,
        "time_zone": terms.time_zone,
        "limits": [
            {
                "name": limit.name,
                "window": limit.window.value,
                "amount": limit.amount,
                "length_us": _span_json(limit.length),
                "operation": limit.operation,
                "counted_as": limit.counted_as,
            }
            for limit in terms.limits
        ],
        "metadata": dict(terms.metadata),
    }


def _terms_of(kept: Mapping[str, Any]) -> AccountTerms:
    return AccountTerms(
        overdraft_limit=kept["overdraft_limit"],
        unlimited=kept["unlimited"],
        time_zone=kept["time_zone"],
        limits=tuple(
            SpendLimit(
                name=limit["name"],
                window=Window(limit["window"]),
                amount=limit["amount"],
                length=_span_of(limit["length_us"]),
                operation=limit["operation"],
                counted_as=limit["counted_as"],
            )
            for limit in kept["limits"]
        ),
        metadata=MappingProxyType(kept["metadata"]),
    )


def _policy_json(policy: AssetPolicy) -> Values:
    welcome = policy.welcome
    return {
        "auto_open": policy.auto_open,
        "welcome": None
        if welcome is None
        else {"amount": welcome.amount, "source": welcome.source.value, "ttl_us": _span_json(welcome.ttl)},
        "free_credits_repay_debt": policy.free_credits_repay_debt,
    }


def _policy_of(kept: Mapping[str, Any]) -> AssetPolicy:
    welcome = kept["welcome"]
    return AssetPolicy(
        auto_open=kept["auto_open"],
        welcome=None
        if welcome is None
        else Welcome(amount=welcome["amount"], source=Source(welcome["source"]), ttl=_span_of(welcome["ttl_us"])),
        free_credits_repay_debt=kept["free_credits_repay_debt"],
    )
