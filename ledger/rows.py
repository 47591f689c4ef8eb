"""Rows of the tables as values, and values as rows.

Rows that are read begin with the columns of their table, in order. Rows that a batch writes go through `as_rows`: what
is absent is left out or None, instants and hashes are text.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import Row

from ledger.chain import instant_text
from ledger.charges import charge_of
from ledger.chart import Code, Source
from ledger.ids import AccountKey
from ledger.json_text import as_json, whole
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

# To look a member up costs a fraction of making it of its text.
_STATUSES: Final = {str(status): status for status in AccountStatus}
_SOURCES: Final = {str(source): source for source in Source}
_KINDS: Final = {str(kind): kind for kind in EntryKind}
_CODES: Final = {str(code): code for code in Code}


def account_of(row: Sequence[Any]) -> Account:
    """An account from its row."""
    (_, available, held, owed, seq, lots, as_of, tenant, account_id, asset, status, head, terms) = row
    return Account(
        name=AccountName(tenant=tenant, account_id=account_id, asset=asset),
        available=available,
        held=held,
        owed=owed,
        seq=seq,
        head=head,
        lots=lots,
        as_of=as_of,
        status=_STATUSES[status],
        terms=NO_TERMS if terms is None else terms_of(terms),
    )


def account_change(key: AccountKey, account: Account) -> Values:
    """What of the row of an account can change."""
    row = {
        "account_key": key,
        "available": account.available,
        "held": account.held,
        "owed": account.owed,
        "seq": account.seq,
        "lots": account.lots,
        "head": account.head.hex(),
        "as_of": instant_text(account.as_of),
        "status": account.status,
    }
    if account.terms is not NO_TERMS and account.terms != NO_TERMS:
        row["terms"] = as_json(_terms_json(account.terms))
    return row


def account_row(key: AccountKey, account: Account) -> Values:
    """The row of an account."""
    name = account.name
    fixed = {"tenant": name.tenant, "account_id": name.account_id, "asset": name.asset}
    return fixed | account_change(key, account)


def asset_of(row: Sequence[Any]) -> Asset:
    """An asset from its row."""
    tenant, asset, scale, policy, prices = row
    known = NO_POLICY if policy is None else _policy_of(json.loads(policy))
    return Asset(tenant=tenant, asset=asset, scale=scale, policy=known, prices=prices)


def asset_row(asset: Asset) -> Values:
    """The row of an asset."""
    policy = None if asset.policy == NO_POLICY else as_json(_policy_json(asset.policy))
    named = {"tenant": asset.tenant, "asset": asset.asset}
    return {**named, "scale": asset.scale, "policy": policy, "prices": asset.prices}


def lot_of(row: Sequence[Any]) -> Lot:
    """A lot from its row."""
    (_, number, granted, remaining, held, spent, reclaimed, effective_at, expires_at) = row[:9]
    (cost, deferred, recognised, lapsed, priority, _, source, currency, scope, package) = row[9:19]
    terms = LotTerms(
        source=_SOURCES[source],
        priority=priority,
        effective_at=effective_at,
        expires_at=expires_at,
        cost=None if cost is None else Money(minor_units=cost, currency=currency),
        scope=() if scope is None else tuple(scope.split(" ")),
        package=package or "",
    )
    return Lot(
        number=number,
        terms=terms,
        granted=granted,
        remaining=remaining,
        held=held,
        spent=spent,
        reclaimed=reclaimed,
        deferred=deferred or 0,
        recognised=recognised or 0,
        lapsed=lapsed or 0,
    )


def lot_amounts(key: AccountKey, lot: Lot) -> Values:
    """What of the row of a lot changes as long as it stays open."""
    row = {
        "account_key": key,
        "lot": lot.number,
        "remaining": lot.remaining,
        "held": lot.held,
        "spent": lot.spent,
        "reclaimed": lot.reclaimed,
    }
    if lot.terms.cost is not None:
        row["deferred"], row["recognised"], row["lapsed"] = lot.deferred, lot.recognised, lot.lapsed
    return row


def lot_change(key: AccountKey, lot: Lot) -> Values:
    """What of the row of a lot can change."""
    row = lot_amounts(key, lot)
    row["open"] = int(lot.is_open)
    if lot.terms.expires_at is not None:
        row["expires_at"] = instant_text(lot.terms.expires_at)
    return row


def lot_row(key: AccountKey, lot: Lot) -> Values:
    """The row of a lot."""
    terms = lot.terms
    row = lot_change(key, lot)
    row["granted"], row["effective_at"] = lot.granted, instant_text(terms.effective_at)
    row["priority"], row["source"] = terms.priority, terms.source
    if terms.cost is not None:
        row["cost"], row["currency"] = terms.cost.minor_units, terms.cost.currency
    if terms.scope:
        row["scope"] = " ".join(terms.scope)
    if terms.package:
        row["package"] = terms.package
    return row


def hold_of(row: Sequence[Any]) -> Hold:
    """A hold from its row."""
    (_, number, amount, captured, tolerance, placed_at, expires_at, due_at, ended_at) = row[:9]
    (_, state, held_lots, drawn, operation, lot) = row[9:15]
    return Hold(
        number=number,
        operation=operation or "",
        lot=lot,
        amount=amount,
        captured=captured,
        tolerance=tolerance,
        drawn=drawn_of(drawn),
        held_lots=HeldLots(held_lots),
        placed_at=placed_at,
        expires_at=expires_at,
        due_at=due_at,
        state=HoldState(state),
        ended_at=ended_at,
    )


def drawn_of(text: str) -> tuple[Draw, ...]:
    """What a hold has drawn: "lot:amount" pairs, without a lot for what a plan covers."""
    pairs = (pair.split(":") for pair in text.split(" ") if pair)
    return tuple(Draw(lot=int(number) if number else None, amount=int(part)) for number, part in pairs)


def hold_change(key: AccountKey, hold: Hold) -> Values:
    """What of the row of a hold can change."""
    row = {
        "account_key": key,
        "hold": hold.number,
        "amount": hold.amount,
        "captured": hold.captured,
        "tolerance": hold.tolerance,
        "drawn": " ".join(f"{'' if draw.lot is None else draw.lot}:{draw.amount}" for draw in hold.drawn),
        "expires_at": instant_text(hold.expires_at),
        "due_at": instant_text(hold.due_at),
        "open": int(hold.state is HoldState.OPEN),
        "state": hold.state,
    }
    if hold.ended_at is not None:
        row["ended_at"] = instant_text(hold.ended_at)
    return row


def hold_row(key: AccountKey, hold: Hold) -> Values:
    """The row of a hold."""
    row = hold_change(key, hold)
    row["held_lots"], row["placed_at"] = hold.held_lots, instant_text(hold.placed_at)
    if hold.operation:
        row["operation"] = hold.operation
    if hold.lot is not None:
        row["lot"] = hold.lot
    return row


def line_of(row: Row[Any]) -> Line:
    """A line from its row."""
    left = cost = None
    if row.lot is not None:
        left = Left(row.lot_remaining, row.lot_held, row.lot_spent, row.lot_reclaimed)
        if row.cost is not None:
            cost = Money(minor_units=row.cost, currency=row.currency)
    debit, credit = _CODES[row.debit], _CODES[row.credit]
    return Line(debit=debit, credit=credit, amount=row.amount, lot=row.lot, left=left, cost=cost)


def line_row(entry: Entry, n: int, line: Line) -> Values:
    """The row of an entry's n-th line."""
    row = {
        "account_key": entry.key,
        "seq": entry.seq,
        "n": n,
        "debit": line.debit,
        "credit": line.credit,
        "amount": line.amount,
    }
    if line.left is not None:
        row["lot"] = line.lot
        row["lot_remaining"], row["lot_held"], row["lot_spent"], row["lot_reclaimed"] = line.left
        if line.cost is not None:
            row["cost"], row["currency"] = line.cost.minor_units, line.cost.currency
    return row


def entry_of(row: Row[Any], lines: tuple[Line, ...]) -> Entry:
    """An entry from its row, with its lines."""
    return Entry(
        key=AccountKey(row.account_key),
        seq=row.seq,
        kind=_KINDS[row.kind],
        request_id=row.request_id,
        fingerprint=row.fingerprint,
        effective_at=row.effective_at,
        recorded_at=row.recorded_at,
        available=row.available,
        held=row.held,
        owed=row.owed,
        pending=row.pending,
        lines=lines,
        made=() if row.made is None else made_of(row.made),
        operation=row.operation or "",
        hold=row.hold,
        hold_expires_at=row.hold_expires_at,
        hold_held=row.hold_held,
        refunds=row.refunds,
        revokes=row.revokes,
        lots_expire_at=row.lots_expire_at,
        peer=None if row.peer_key is None else (AccountKey(row.peer_key), row.peer_seq),
        memo=_memo_of(row),
        charge=None if row.charge is None else charge_of(json.loads(row.charge)),
        hash=row.hash,
    )


def entry_row(entry: Entry) -> Values:
    """The row of an entry."""
    row = {
        "account_key": entry.key,
        "seq": entry.seq,
        "kind": entry.kind,
        "fingerprint": entry.fingerprint,
        "effective_at": instant_text(entry.effective_at),
        "available": entry.available,
        "held": entry.held,
        "owed": entry.owed,
        "pending": entry.pending,
        "hash": entry.hash.hex(),
    }
    if entry.recorded_at is not None:
        row["recorded_at"] = instant_text(entry.recorded_at)
    if entry.request_id is not None:
        row["request_id"] = entry.request_id
    if entry.operation:
        row["operation"] = entry.operation
    if entry.memo is not NO_MEMO:
        row |= _memo_values(entry.memo)
    if entry.hold is not None:
        row["hold"], row["hold_held"] = entry.hold, entry.hold_held
        row["hold_expires_at"] = _text_or_none(entry.hold_expires_at)
    if entry.refunds is not None:
        row["refunds"], row["lots_expire_at"] = entry.refunds, _text_or_none(entry.lots_expire_at)
    if entry.revokes is not None:
        row["revokes"] = entry.revokes
    if entry.peer is not None:
        row["peer_key"], row["peer_seq"] = entry.peer
    if entry.made or entry.charge is not None:
        row |= _content_values(entry)
    return row


def _content_values(entry: Entry) -> Values:
    values = {"made": as_json([_made_json(made) for made in entry.made])} if entry.made else {}
    if entry.charge is not None:
        values["charge"] = entry.charge.text
    return values


def _memo_values(memo: Memo) -> Values:
    return {
        "description": memo.description or None,
        "reference": memo.reference or None,
        "actor": memo.actor or None,
        "metadata": as_json(dict(memo.metadata)) if memo.metadata else None,
    }


def spent_row(key: AccountKey, spent: Spent) -> Values:
    """The row of what an entry moved under a spend limit, or by a rate card."""
    return {
        "account_key": key,
        "seq": spent.seq,
        "name": spent.name,
        "counts_at": instant_text(spent.at),
        "change": spent.change,
        "used": str(spent.used),
        "limit_amount": spent.limit,
    }


def _memo_of(row: Row[Any]) -> Memo:
    if row.description is None and row.reference is None and row.actor is None and row.metadata is None:
        return NO_MEMO
    return Memo(
        description=row.description or "",
        reference=row.reference or "",
        actor=row.actor or "",
        metadata={} if row.metadata is None else metadata_of(row.metadata),
    )


def metadata_of(text: str) -> Mapping[str, str]:
    """What a caller wanted written beside an entry, as it is kept."""
    return dict(json.loads(text))


def spent_of(row: Row[Any]) -> Spent:
    """What an entry moved under a spend limit, or by a rate card, from its row."""
    return Spent(name=row.name, seq=row.seq, at=row.counts_at, change=row.change, used=row.used, limit=row.limit_amount)


def _text_or_none(instant: datetime | None) -> str | None:
    return None if instant is None else instant_text(instant)


def _instant_of(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _span_json(span: timedelta | None) -> int | None:
    """In microseconds."""
    return None if span is None else span // timedelta(microseconds=1)


def _span_of(microseconds: int | None) -> timedelta | None:
    return None if microseconds is None else timedelta(microseconds=microseconds)


def _made_json(made: MadeLot) -> Values:
    terms = made.terms
    taken_from = {} if made.taken_from is None else {"taken_from": made.taken_from}
    return {
        **taken_from,
        "number": made.number,
        "granted": made.granted,
        "source": terms.source.value,
        "priority": terms.priority,
        "effective_at": _text_or_none(terms.effective_at),
        "expires_at": _text_or_none(terms.expires_at),
        "cost": None if terms.cost is None else [terms.cost.minor_units, terms.cost.currency],
        "scope": list(terms.scope),
        "package": terms.package,
    }


def made_of(text: str) -> tuple[MadeLot, ...]:
    """The lots that an entry made, as they are kept."""
    return tuple(_made_of(made) for made in json.loads(text))


def _made_of(kept: Mapping[str, Any]) -> MadeLot:
    cost = kept["cost"]
    terms = LotTerms(
        source=Source(kept["source"]),
        priority=whole(kept["priority"]),
        effective_at=datetime.fromisoformat(kept["effective_at"]),
        expires_at=_instant_of(kept["expires_at"]),
        cost=None if cost is None else Money(minor_units=whole(cost[0]), currency=cost[1]),
        scope=tuple(kept["scope"]),
        package=kept["package"],
    )
    taken_from = kept.get("taken_from")
    return MadeLot(
        number=whole(kept["number"]),
        granted=whole(kept["granted"]),
        terms=terms,
        taken_from=None if taken_from is None else whole(taken_from),
    )


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


def terms_of(text: str) -> AccountTerms:
    """The terms of an account as they are kept."""
    kept = json.loads(text)
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
        "default_card": policy.default_card,
    }


def _policy_of(kept: Mapping[str, Any]) -> AssetPolicy:
    welcome = kept["welcome"]
    return AssetPolicy(
        auto_open=kept["auto_open"],
        welcome=None
        if welcome is None
        else Welcome(amount=welcome["amount"], source=Source(welcome["source"]), ttl=_span_of(welcome["ttl_us"])),
        free_credits_repay_debt=kept["free_credits_repay_debt"],
        default_card=kept["default_card"],
    )
