"""Whoever has an account's History can prove its balance, with nothing but the recipe in docs/concepts.md."""

import hashlib
import json
from datetime import UTC

from scrip.v1 import types_pb2 as pb

from tests.books import DAY


def test_the_hashes_can_be_computed_from_what_history_answers(ask, clock):
    ask("OpenAccount", account_id="acme", request_id="open")
    ask("Grant", account_id="acme", amount=100, source="SOURCE_PROMO", ttl=DAY, request_id="promo")
    paid = pb.Money(minor_units=4900, currency="EUR")
    memo = pb.Memo(description="zehn für dich", reference="o-7", actor="ann", metadata={"b": "2", "a": "1\n"})
    ask("Grant", account_id="acme", amount=50, source="SOURCE_PURCHASE", cost=paid, memo=memo, request_id="pack")
    hold = ask("Hold", account_id="acme", amount=120, ttl=DAY / 2, request_id="hold")
    ask("Capture", hold_id=hold.hold_id, amount=45, request_id="capture")
    clock.now += 2 * DAY
    ask("CheckAndDeduct", account_id="acme", amount=1, request_id="late")

    entries = list(ask("History", account_id="acme").entries)[::-1]

    assert [_name(pb.Entry.Kind, entry.kind) for entry in entries] == [
        "open", "grant", "grant", "hold", "capture", "lot_lapse", "deduct",
    ]  # fmt: skip
    assert [entry.hash for entry in entries] == list(_hashes("default/credits/acme", entries))


def _hashes(account, entries):
    """The recipe."""
    seq_of = {entry.lot.lot_id: entry.seq for entry in entries if entry.HasField("lot")}
    seq_of |= {entry.hold_id: entry.seq for entry in entries if entry.kind == pb.Entry.KIND_HOLD}
    head = hashlib.sha256(account.encode()).digest()
    for entry in entries:
        balance, memo = entry.balance, entry.memo
        fields = [
            entry.seq,
            _name(pb.Entry.Kind, entry.kind),
            entry.request_id or None,
            entry.fingerprint,
            _instant(entry, "effective_at"),
            _instant(entry, "recorded_at"),
            balance.available + balance.pending,
            balance.held,
            balance.owed,
            balance.pending,
            [
                [_name(pb.Code, line.debit), _name(pb.Code, line.credit), line.amount, seq_of.get(line.lot_id)]
                for line in entry.lines
            ],
            _terms(entry.lot) if entry.HasField("lot") else None,
            seq_of.get(entry.hold_id),
            _instant(entry, "hold_expires_at"),
            memo.description,
            memo.reference,
            memo.actor,
            sorted([key, value] for key, value in memo.metadata.items()),
        ]
        canonical = json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
        head = hashlib.sha256(head + canonical).digest()
        yield head


def _terms(lot):
    cost = [lot.cost.minor_units, lot.cost.currency] if lot.HasField("cost") else None
    instants = _instant(lot, "effective_at"), _instant(lot, "expires_at")
    return [_name(pb.Source, lot.source), lot.priority, *instants, cost]


def _instant(message, field):
    if not message.HasField(field):
        return None
    return getattr(message, field).ToDatetime(tzinfo=UTC).isoformat(timespec="microseconds")


def _name(enum, value):
    return enum.Name(value).split("_", 1)[1].lower()
