"""Rows of the tables as values, and values as rows."""

import json
from typing import Any

from sqlalchemy import Row

from ledger.chart import Code, Source
from ledger.ids import AccountKey
from ledger.model import (
    NO_MEMO,
    Account,
    AccountName,
    Draw,
    Entry,
    EntryKind,
    Hold,
    HoldState,
    Line,
    Lot,
    LotTerms,
    Memo,
    Money,
)

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
        as_of=row.as_of,
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
        "head": account.head,
        "as_of": account.as_of,
    }


def lot_of(row: Row[Any]) -> Lot:
    """A lot from its row."""
    terms = LotTerms(
        source=Source(row.source),
        priority=row.priority,
        effective_at=row.effective_at,
        expires_at=row.expires_at,
        cost=None if row.cost is None else Money(minor_units=row.cost, currency=row.currency),
    )
    return Lot(number=row.lot, terms=terms, granted=row.granted, remaining=row.remaining, held=row.held)


def lot_row(key: AccountKey, lot: Lot) -> Values:
    """The row of a lot."""
    return {
        "account_key": key,
        "lot": lot.number,
        "granted": lot.granted,
        "remaining": lot.remaining,
        "held": lot.held,
        "open": int(lot.is_open),
        "effective_at": lot.terms.effective_at,
        "expires_at": lot.terms.expires_at,
        "priority": lot.terms.priority,
        "source": lot.terms.source.value,
        "cost": None if lot.terms.cost is None else lot.terms.cost.minor_units,
        "currency": None if lot.terms.cost is None else lot.terms.cost.currency,
    }


def hold_of(row: Row[Any]) -> Hold:
    """A hold from its row; what it drew is stored as "lot:amount" pairs."""
    pairs = (pair.split(":") for pair in row.drawn.split(" "))
    return Hold(
        number=row.hold,
        amount=row.amount,
        drawn=tuple(Draw(lot=int(lot), amount=int(amount)) for lot, amount in pairs),
        expires_at=row.expires_at,
        state=HoldState(row.state),
        ended_at=row.ended_at,
    )


def hold_row(key: AccountKey, hold: Hold) -> Values:
    """The row of a hold."""
    return {
        "account_key": key,
        "hold": hold.number,
        "amount": hold.amount,
        "drawn": " ".join(f"{draw.lot}:{draw.amount}" for draw in hold.drawn),
        "expires_at": hold.expires_at,
        "open": int(hold.state is HoldState.OPEN),
        "state": hold.state.value,
        "ended_at": hold.ended_at,
    }


def line_of(row: Row[Any]) -> Line:
    """A line from its row."""
    return Line(debit=Code(row.debit), credit=Code(row.credit), amount=row.amount, lot=row.lot)


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
    }


def entry_of(row: Row[Any], lines: tuple[Line, ...], lot_terms: LotTerms | None) -> Entry:
    """An entry from its row, with its lines and, of a grant, the terms of its lot."""
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
        lot_terms=lot_terms,
        hold=row.hold,
        hold_expires_at=row.hold_expires_at,
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
        "hash": entry.hash,
        "description": memo.description or None,
        "reference": memo.reference or None,
        "actor": memo.actor or None,
        "metadata": json.dumps(dict(memo.metadata), ensure_ascii=False) if memo.metadata else None,
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
