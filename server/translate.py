"""Messages of the contract as values of the ledger, and values as messages."""

from datetime import UTC, datetime, timedelta
from typing import Final, TypedDict
from uuid import UUID

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from scrip.v1 import credit_service_pb2 as credit_pb
from scrip.v1 import ledger_service_pb2 as ledger_pb
from scrip.v1 import types_pb2 as types_pb

from ledger import (
    CHART,
    DEFAULT_ASSET,
    NO_MEMO,
    Accepted,
    AccountKey,
    AccountName,
    AccountType,
    AssetTrialBalance,
    Balance,
    Capture,
    Code,
    Deduct,
    Entry,
    EntryKind,
    Grant,
    IdPrefix,
    LotTerms,
    MalformedError,
    Memo,
    Money,
    OpenAccount,
    PlaceHold,
    Reason,
    Refused,
    Release,
    Source,
    TrialBalanceRow,
    Violation,
    parse_id,
    public_id,
)
from server.errors import RefusedError

_NO_HOLD: Final = (AccountKey(UUID(int=0)), 0)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NANOS: Final = 1_000_000_000
# What a Timestamp and a Duration of protobuf may hold.
_TIMESTAMP_SECONDS: Final = range(-62_135_596_800, 253_402_300_800)
_DURATION_SECONDS_MAX: Final = 315_576_000_000

SOURCES: Final = {types_pb.Source.Value(f"SOURCE_{source.name}"): source for source in Source}
SOURCE_VALUES: Final = {source: value for value, source in SOURCES.items()}
CODE_VALUES: Final = {code: types_pb.Code.Value(f"CODE_{code.name}") for code in Code}
KIND_VALUES: Final = {kind: types_pb.Entry.Kind.Value(f"KIND_{kind.name}") for kind in EntryKind}
TYPE_VALUES: Final = {kind: ledger_pb.TrialBalanceRow.Type.Value(f"TYPE_{kind.name}") for kind in AccountType}


def account_name(tenant: str, account_id: str, asset: str) -> AccountName:
    """The account that a request names; an empty asset means the default one."""
    return AccountName(tenant=tenant, account_id=account_id, asset=asset or DEFAULT_ASSET)


def open_account(request: credit_pb.OpenAccountRequest, tenant: str) -> OpenAccount:
    """The operation a request asks for; raises MalformedError."""
    return OpenAccount(
        request_id=request.request_id,
        account=account_name(tenant, request.account_id, request.asset),
        memo=_memo(request),
    )


def grant(request: credit_pb.GrantRequest, tenant: str) -> Grant:
    """The operation a request asks for; raises MalformedError."""
    source = SOURCES.get(request.source)
    if source is None:
        names = ", ".join(types_pb.Source.Name(value) for value in SOURCES)
        raise _malformed("source", f"must be one of {names}.")
    expiry = request.WhichOneof("expiry")
    cost = request.cost
    return Grant(
        request_id=request.request_id,
        account=account_name(tenant, request.account_id, request.asset),
        amount=request.amount,
        source=source,
        priority=request.priority if request.HasField("priority") else None,
        effective_at=_instant("effective_at", request.effective_at) if request.HasField("effective_at") else None,
        expires_at=_instant("expires_at", request.expires_at) if expiry == "expires_at" else None,
        ttl=_duration("ttl", request.ttl) if expiry == "ttl" else None,
        cost=Money(minor_units=cost.minor_units, currency=cost.currency) if request.HasField("cost") else None,
        memo=_memo(request),
    )


def deduct(request: credit_pb.CheckAndDeductRequest, tenant: str) -> Deduct:
    """The operation a request asks for; raises MalformedError."""
    return Deduct(
        request_id=request.request_id,
        account=account_name(tenant, request.account_id, request.asset),
        amount=request.amount,
        memo=_memo(request),
    )


def place_hold(request: credit_pb.HoldRequest, tenant: str) -> PlaceHold:
    """The operation a request asks for; raises MalformedError."""
    return PlaceHold(
        request_id=request.request_id,
        account=account_name(tenant, request.account_id, request.asset),
        amount=request.amount,
        ttl=_duration("ttl", request.ttl) if request.HasField("ttl") else None,
        memo=_memo(request),
    )


def capture(request: credit_pb.CaptureRequest, tenant: str) -> Capture:
    """The operation a request asks for; raises MalformedError, and RefusedError for an id that names no hold."""
    key, hold = _hold(request.hold_id)
    operation = Capture(
        request_id=request.request_id,
        tenant=tenant,
        key=key,
        hold=hold,
        amount=request.amount if request.HasField("amount") else None,
        memo=_memo(request),
    )
    _refuse_made_up_hold(request.hold_id)
    return operation


def release(request: credit_pb.ReleaseRequest, tenant: str) -> Release:
    """The operation a request asks for; raises MalformedError, and RefusedError for an id that names no hold."""
    key, hold = _hold(request.hold_id)
    operation = Release(request_id=request.request_id, tenant=tenant, key=key, hold=hold, memo=_memo(request))
    _refuse_made_up_hold(request.hold_id)
    return operation


class Change(TypedDict):
    """What every change answers with."""

    entry_id: str
    balance: types_pb.Balance
    replayed: bool


def change(accepted: Accepted) -> Change:
    """What every change answers with."""
    entry = accepted.entry
    return Change(
        entry_id=public_id(IdPrefix.ENTRY, entry.key, entry.seq),
        balance=_balance_after(entry, accepted.account_name, accepted.scale),
        replayed=accepted.replayed,
    )


def balance_message(balance: Balance) -> types_pb.Balance:
    """A balance as it was read."""
    return types_pb.Balance(
        account_id=balance.name.account_id,
        asset=balance.name.asset,
        scale=balance.scale,
        available=balance.available,
        held=balance.held,
        owed=balance.owed,
        pending=balance.pending,
    )


def entry_message(entry: Entry, name: AccountName, scale: int) -> types_pb.Entry:
    """An entry with its lines."""
    return types_pb.Entry(
        entry_id=public_id(IdPrefix.ENTRY, entry.key, entry.seq),
        seq=entry.seq,
        kind=KIND_VALUES[entry.kind],
        request_id=entry.request_id or "",
        effective_at=timestamp(entry.effective_at),
        recorded_at=timestamp(entry.recorded_at),
        balance=_balance_after(entry, name, scale),
        lines=[
            types_pb.Line(
                debit=CODE_VALUES[line.debit],
                credit=CODE_VALUES[line.credit],
                amount=line.amount,
                lot_id="" if line.lot is None else public_id(IdPrefix.LOT, entry.key, line.lot),
            )
            for line in entry.lines
        ],
        lot=None if entry.lot_terms is None else _lot(entry, entry.lot_terms),
        hold_id="" if entry.hold is None else public_id(IdPrefix.HOLD, entry.key, entry.hold),
        hold_expires_at=timestamp(entry.hold_expires_at),
        memo=None if entry.memo is NO_MEMO else _memo_message(entry.memo),
        hash=entry.hash,
        fingerprint=entry.fingerprint,
    )


def trial_balance_message(balance: AssetTrialBalance) -> ledger_pb.AssetTrialBalance:
    """The trial balance of one asset."""
    return ledger_pb.AssetTrialBalance(
        asset=balance.asset.asset,
        scale=balance.asset.scale,
        rows=[_row_message(row) for row in balance.rows],
        debits=str(sum(row.debits for row in balance.rows)),
        credits=str(sum(row.credits for row in balance.rows)),
    )


def timestamp(instant: datetime | None) -> Timestamp | None:
    """An instant as a message."""
    if instant is None:
        return None
    since = instant - _EPOCH
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1_000)


def _balance_after(entry: Entry, name: AccountName, scale: int) -> types_pb.Balance:
    return types_pb.Balance(
        account_id=name.account_id,
        asset=name.asset,
        scale=scale,
        available=entry.spendable,
        held=entry.held,
        owed=entry.owed,
        pending=entry.pending,
    )


def _row_message(row: TrialBalanceRow) -> ledger_pb.TrialBalanceRow:
    return ledger_pb.TrialBalanceRow(
        code=CODE_VALUES[row.code],
        type=TYPE_VALUES[CHART[row.code]],
        debits=str(row.debits),
        credits=str(row.credits),
        balance=str(row.balance),
    )


def _lot(entry: Entry, terms: LotTerms) -> types_pb.Lot:
    cost = terms.cost
    return types_pb.Lot(
        lot_id=public_id(IdPrefix.LOT, entry.key, entry.seq),
        source=SOURCE_VALUES[terms.source],
        priority=terms.priority,
        effective_at=timestamp(terms.effective_at),
        expires_at=timestamp(terms.expires_at),
        cost=None if cost is None else types_pb.Money(minor_units=cost.minor_units, currency=cost.currency),
        granted=entry.granted,
    )


def _hold(hold_id: str) -> tuple[AccountKey, int]:
    if not hold_id:
        raise _malformed("hold_id", "must be what Hold answered with; it is empty.")
    return parse_id(IdPrefix.HOLD, hold_id) or _NO_HOLD


def _refuse_made_up_hold(hold_id: str) -> None:
    """Raises RefusedError for what cannot be the id of a hold; to be called when the other fields are right."""
    if parse_id(IdPrefix.HOLD, hold_id) is None:
        raise RefusedError(Refused(reason=Reason.HOLD_NOT_FOUND, figures={"hold_id": hold_id}))


_WithMemo = (
    credit_pb.OpenAccountRequest
    | credit_pb.GrantRequest
    | credit_pb.CheckAndDeductRequest
    | credit_pb.HoldRequest
    | credit_pb.CaptureRequest
    | credit_pb.ReleaseRequest
)


def _memo(request: _WithMemo) -> Memo:
    if not request.HasField("memo"):
        return NO_MEMO
    memo = request.memo
    found = Memo(description=memo.description, reference=memo.reference, actor=memo.actor, metadata=dict(memo.metadata))
    # A memo that says nothing is none, so that it cannot make a repeat differ.
    return NO_MEMO if found == Memo() else found


def _memo_message(memo: Memo) -> types_pb.Memo:
    return types_pb.Memo(
        description=memo.description, reference=memo.reference, actor=memo.actor, metadata=dict(memo.metadata)
    )


def _instant(field: str, message: Timestamp) -> datetime:
    """To the microsecond; what is finer is cut off."""
    if message.seconds not in _TIMESTAMP_SECONDS or not 0 <= message.nanos < _NANOS:
        raise _malformed(
            field,
            f"must lie from the year 1 to 9999, with nanos of 0 to {_NANOS - 1}; "
            f"it has {message.seconds} seconds and {message.nanos} nanos.",
        )
    return _EPOCH + timedelta(seconds=message.seconds, microseconds=message.nanos // 1_000)


def _duration(field: str, message: Duration) -> timedelta:
    """To the microsecond; what is finer is cut off."""
    if (
        abs(message.seconds) > _DURATION_SECONDS_MAX
        or abs(message.nanos) >= _NANOS
        or message.seconds * message.nanos < 0
    ):
        raise _malformed(
            field,
            f"must have at most {_DURATION_SECONDS_MAX} seconds and {_NANOS - 1} nanos, both of one sign; "
            f"it has {message.seconds} and {message.nanos}.",
        )
    return timedelta(seconds=message.seconds, microseconds=message.nanos // 1_000)


def _malformed(field: str, must: str) -> MalformedError:
    return MalformedError((Violation(field=field, must=must),))
