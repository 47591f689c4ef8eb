"""Whoever has an account's History can prove its balance, with nothing but the recipe in docs/concepts.md."""

import hashlib
import json
from base64 import b32decode
from datetime import UTC

from scrip.v1 import accounts_pb2, credit_service_pb2
from scrip.v1 import pricing_service_pb2 as pricing_pb
from scrip.v1 import types_pb2 as pb

from tests.books import DAY


def test_the_hashes_can_be_computed_from_what_history_answers(ask, clock):
    ask("OpenAccount", account_id="acme", request_id="open")
    ask("Grant", account_id="acme", amount=100, source="SOURCE_PROMO", ttl=DAY, scope=["image/*"], request_id="promo")
    paid = pb.Money(minor_units=4900, currency="EUR")
    memo = pb.Memo(description="zehn für dich", reference="o-7", actor="ann", metadata={"b": "2", "a": "1\n"})
    ask("Grant", account_id="acme", amount=50, source="SOURCE_PURCHASE", cost=paid, memo=memo, request_id="pack")
    hold = ask("Hold", account_id="acme", amount=120, ttl=DAY / 2, operation="image/generate", request_id="hold")
    ask("Capture", hold_id=hold.hold_id, amount=45, request_id="capture")
    clock.now += 2 * DAY
    ask("CheckAndDeduct", account_id="acme", amount=1, request_id="late")

    entries = _entries(ask, "acme")

    assert [_name(pb.Entry.Kind, entry.kind) for entry in entries] == [
        "open", "grant", "grant", "hold", "capture", "lot_lapse", "deduct",
    ]  # fmt: skip
    assert [entry.hash for entry in entries] == list(_hashes("default/credits/acme", entries))


def test_so_can_those_of_what_takes_back_gives_away_and_administers(ask, clock):
    for account_id in ("acme", "beta"):
        ask("OpenAccount", account_id=account_id)
    ask("Grant", amount=10, ttl=DAY)
    lot = ask("Grant", amount=100)
    hold = ask("Hold", amount=20)
    ask("IncreaseHold", hold_id=hold.hold_id, amount=5)
    ask("ExtendHold", hold_id=hold.hold_id, ttl=3 * DAY)
    captured = ask("Capture", hold_id=hold.hold_id, amount=15, final=False)
    clock.now += 2 * DAY
    extended = credit_service_pb2.RefundRequest.EXPIRED_LOTS_EXTEND
    ask("Refund", entry_id=captured.entry_id, expired_lots=extended, lot_ttl=DAY)
    ask("Release", hold_id=hold.hold_id)
    ask("Transfer", account_id="acme", to_account_id="beta", amount=7)
    ask("CheckAndDeduct", amount=500, mode="MODE_RECORD")
    ask("Revoke", lot_id=lot.lot_id, amount=3)
    ask("WriteOff", amount=1)
    ask("Adjust", amount=2, direction=accounts_pb2.AdjustRequest.DIRECTION_UP)
    ask("UpdateAccount", overdraft_limit=1_000, metadata=accounts_pb2.Metadata(pairs={"tier": "gold"}))
    ask("FreezeAccount")
    ask("UnfreezeAccount")
    ask("MergeAccounts", account_id="acme", into_account_id="beta")

    for account_id in ("acme", "beta"):
        entries = _entries(ask, account_id)
        assert [entry.hash for entry in entries] == list(_hashes(f"default/credits/{account_id}", entries))
    assert {_name(pb.Entry.Kind, entry.kind) for entry in _entries(ask, "beta")} >= {"transfer_in", "merge_in"}


def test_so_can_those_of_what_was_charged_by_usage(ask):
    card = pricing_pb.RateCard(
        card="gpt-5",
        provider="openai",
        operations=["chat"],
        fixed="0.5",
        meters=[
            pricing_pb.Meter(unit="output_token", rate="1", per=3, free=2),
            pricing_pb.Meter(unit="token", rate="0"),
            pricing_pb.Meter(unit="image", rate="1"),
        ],
        period=pricing_pb.RateCard.PERIOD_DAY,
        discount=pricing_pb.Discount(percent="12.50"),
    )
    ask("ApplyRateCards", cards=[card])
    quantities = {"image": 0, "token": 1, "output_token": 7}
    usage = pb.Usage(provider="openai", operation="chat", dimensions={"b": "1", "a": "2"}, quantities=quantities)
    ask("OpenAccount", account_id="acme")
    ask("Grant", amount=10)
    hold = ask("Hold", amount=0, usage=usage)
    ask("Capture", hold_id=hold.hold_id, usage=usage)
    ask("CheckAndDeduct", amount=0, usage=usage)

    entries = _entries(ask, "acme")

    assert [entry.charge.amount for entry in entries if entry.HasField("charge")] == [2, 2, 3]
    assert [entry.hash for entry in entries] == list(_hashes("default/credits/acme", entries))


def _entries(ask, account_id):
    return list(ask("History", account_id=account_id).entries)[::-1]


def _hashes(account, entries):
    """The recipe."""
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
                [_name(pb.Code, line.debit), _name(pb.Code, line.credit), line.amount, _number(line.lot_id)]
                for line in entry.lines
            ],
            [_made(lot) for lot in entry.lots],
            entry.operation,
            _number(entry.hold_id),
            _instant(entry, "hold_expires_at"),
            entry.hold_held if entry.HasField("hold_held") else None,
            _number(entry.refunds_entry_id),
            _number(entry.revokes_lot_id),
            _instant(entry, "lots_expire_at"),
            [_account(entry.peer_entry_id), _number(entry.peer_entry_id)] if entry.peer_entry_id else None,
            memo.description,
            memo.reference,
            memo.actor,
            sorted([key, value] for key, value in memo.metadata.items()),
            _charge(entry.charge) if entry.HasField("charge") else None,
        ]
        canonical = json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
        head = hashlib.sha256(head + canonical).digest()
        yield head


def _charge(charge):
    usage = charge.usage
    counted = {part.unit for part in charge.parts}
    others = sorted([unit, quantity] for unit, quantity in usage.quantities.items() if unit not in counted)
    dimensions = sorted([key, value] for key, value in usage.dimensions.items())
    quantities = [*map(_part, charge.parts), *others]
    told = [usage.provider, usage.operation, list(usage.bundled), dimensions, quantities]
    return [charge.card, charge.version, charge.amount, charge.exact, charge.discount_percent or None, told]


def _part(part):
    is_plain = part.counted == part.quantity and part.free == part.before == 0
    return [part.unit, part.quantity, part.exact] + ([] if is_plain else [part.counted, part.free, part.before])


def _made(lot):
    cost = [lot.cost.minor_units, lot.cost.currency] if lot.HasField("cost") else None
    instants = _instant(lot, "effective_at"), _instant(lot, "expires_at")
    source = _name(pb.Source, lot.source)
    return [_number(lot.lot_id), lot.granted, source, lot.priority, *instants, cost, list(lot.scope), lot.package]


def _bytes(public_id):
    """An id is a prefix of three characters and, in base32, 16 bytes for the account and then a number."""
    body = public_id[3:].upper()
    return b32decode(body + "=" * (-len(body) % 8))


def _account(public_id):
    return _bytes(public_id)[:16].hex()


def _number(public_id):
    return int.from_bytes(_bytes(public_id)[16:]) if public_id else None


def _instant(message, field):
    if not message.HasField(field):
        return None
    return getattr(message, field).ToDatetime(tzinfo=UTC).isoformat(timespec="microseconds")


def _name(enum, value):
    return enum.Name(value).split("_", 1)[1].lower()
