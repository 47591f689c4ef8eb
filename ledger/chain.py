"""The hash chain: each entry's hash covers the one before, so that history cannot be edited unseen."""

import hashlib
from datetime import UTC, datetime
from functools import lru_cache

from ledger.json_text import as_json
from ledger.model import AccountName, Entry, MadeLot


def genesis(name: AccountName) -> bytes:
    """The hash before an account's first entry."""
    return hashlib.sha256(f"{name.tenant}/{name.asset}/{name.account_id}".encode()).digest()


def chained_hash(previous: bytes, entry: Entry) -> bytes:
    """SHA-256 over the previous hash and the canonical bytes of the entry; `entry.hash` is not looked at."""
    return hashlib.sha256(previous + canonical_bytes(entry)).digest()


def seal(previous: bytes, entry: Entry) -> None:
    """Gives an entry that was made this moment, and that nobody else has seen, its hash."""
    object.__setattr__(entry, "hash", chained_hash(previous, entry))


def canonical_bytes(entry: Entry) -> bytes:
    """The entry as a compact JSON array in UTF-8; docs/concepts.md#the-hash-chain lists the fields.

    Instants are ISO 8601 in UTC with six decimals; what is absent is null.
    """
    memo = entry.memo
    fields = [
        entry.seq,
        entry.kind,
        entry.request_id,
        entry.fingerprint,
        _instant(entry.effective_at),
        _instant(entry.recorded_at),
        entry.available,
        entry.held,
        entry.owed,
        entry.pending,
        [[line.debit, line.credit, line.amount, line.lot] for line in entry.lines],
        [_made(lot) for lot in entry.made],
        entry.operation,
        entry.hold,
        _instant(entry.hold_expires_at),
        entry.hold_held,
        entry.refunds,
        entry.revokes,
        _instant(entry.lots_expire_at),
        None if entry.peer is None else [entry.peer[0], entry.peer[1]],
        memo.description,
        memo.reference,
        memo.actor,
        sorted([key, value] for key, value in memo.metadata.items()) if memo.metadata else [],
    ]
    charge = "null" if entry.charge is None else entry.charge.text
    return f"{as_json(fields)[:-1]},{charge}]".encode()


def _made(lot: MadeLot) -> list[object]:
    terms = lot.terms
    return [
        lot.number,
        lot.granted,
        terms.source,
        terms.priority,
        _instant(terms.effective_at),
        _instant(terms.expires_at),
        None if terms.cost is None else [terms.cost.minor_units, terms.cost.currency],
        list(terms.scope),
        terms.package,
    ]


@lru_cache(maxsize=10_000)
def instant_text(instant: datetime) -> str:
    """ISO 8601 in UTC with six decimals, which sorts like time."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds")


def _instant(instant: datetime | None) -> str | None:
    return None if instant is None else instant_text(instant)
