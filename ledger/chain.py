"""The hash chain: each entry's hash covers the one before, so that history cannot be edited unseen."""

import hashlib
import json

from ledger.model import AccountName, Entry


def genesis(name: AccountName) -> bytes:
    """The hash before an account's first entry."""
    return hashlib.sha256(f"{name.tenant}/{name.asset}/{name.account_id}".encode()).digest()


def chained_hash(previous: bytes, entry: Entry) -> bytes:
    """SHA-256 over the previous hash and the canonical bytes of the entry; `entry.hash` is not looked at."""
    return hashlib.sha256(previous + canonical_bytes(entry)).digest()


def canonical_bytes(entry: Entry) -> bytes:
    """The entry as a compact JSON array in UTF-8; docs/concepts.md#the-hash-chain lists the fields.

    Instants are ISO 8601 in UTC with six decimals; what is absent is null.
    """
    memo, terms = entry.memo, entry.lot_terms
    fields = [
        entry.seq,
        entry.kind,
        entry.request_id,
        entry.fingerprint,
        entry.effective_at.isoformat(timespec="microseconds"),
        None if entry.recorded_at is None else entry.recorded_at.isoformat(timespec="microseconds"),
        entry.available,
        entry.held,
        entry.owed,
        entry.pending,
        [[line.debit, line.credit, line.amount, line.lot] for line in entry.lines],
        None
        if terms is None
        else [
            terms.source,
            terms.priority,
            terms.effective_at.isoformat(timespec="microseconds"),
            None if terms.expires_at is None else terms.expires_at.isoformat(timespec="microseconds"),
            None if terms.cost is None else [terms.cost.minor_units, terms.cost.currency],
        ],
        entry.hold,
        None if entry.hold_expires_at is None else entry.hold_expires_at.isoformat(timespec="microseconds"),
        memo.description,
        memo.reference,
        memo.actor,
        sorted([key, value] for key, value in memo.metadata.items()),
    ]
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
