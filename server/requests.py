"""Requests of the contract as operations of the ledger."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from google.protobuf.message import Message
from scrip.v1 import accounts_pb2 as accounts_pb
from scrip.v1 import credit_service_pb2 as credit_pb
from scrip.v1 import ledger_service_pb2 as ledger_pb

from ledger import (
    DEFAULT_ASSET,
    NO_MEMO,
    AccountKey,
    AccountName,
    Adjust,
    AssetPolicy,
    Capture,
    Close,
    Deduct,
    DeductMode,
    ExpiredLots,
    ExtendHold,
    Freeze,
    Grant,
    HeldLots,
    HistoryFilter,
    IdPrefix,
    IncreaseHold,
    Memo,
    Merge,
    Money,
    OpenAccount,
    PlaceHold,
    Reason,
    Refund,
    Refused,
    Release,
    Request,
    Revoke,
    Source,
    SpendLimit,
    Transfer,
    Unfreeze,
    UpdateAccount,
    Welcome,
    WriteOff,
    parse_id,
)
from server.choices import DIRECTIONS, EXPIRED_LOTS, HELD_LOTS, KINDS, MODES, SOURCES, SPENT, WINDOWS
from server.errors import RefusedError
from server.price_requests import asked_amount, usage_of
from server.times import instant_of, length_of, malformed

# What an id that cannot be one is taken for while the other fields are looked at.
_NOTHING: Final = (AccountKey("0" * 32), 0)
_NAMED: Final = {
    "hold_id": (IdPrefix.HOLD, Reason.HOLD_NOT_FOUND),
    "entry_id": (IdPrefix.ENTRY, Reason.ENTRY_NOT_FOUND),
    "lot_id": (IdPrefix.LOT, Reason.LOT_NOT_FOUND),
}
_ORDERS: Final[Mapping[int, bool]] = MappingProxyType(
    {
        credit_pb.HistoryRequest.ORDER_UNSPECIFIED: False,
        credit_pb.HistoryRequest.ORDER_NEWEST_FIRST: False,
        credit_pb.HistoryRequest.ORDER_OLDEST_FIRST: True,
    }
)
_WHERE_FROM: Final = {"hold_id": "Hold", "entry_id": "a change or History", "lot_id": "a change or ListLots"}


def operation_of(request: Message, tenant: str) -> Request:
    """The operation that a change asks for; raises MalformedError.

    An id that Scrip cannot have given out becomes one of nothing; `made_up` tells.
    """
    return _MAKERS[type(request)](request, tenant)


def made_up(request: Message) -> Refused | None:
    """The refusal of a well-formed change that names a hold, entry or lot by an id that Scrip cannot have given out."""
    field = _NAMES.get(type(request))
    if field is not None:
        prefix, reason = _NAMED[field]
        if parse_id(prefix, getattr(request, field)) is None:
            return Refused(reason=reason, figures={field: getattr(request, field)})
    return None


def account_name(tenant: str, account_id: str, asset: str) -> AccountName:
    """The account that a request names; an empty asset means the default one."""
    return AccountName(tenant=tenant, account_id=account_id, asset=asset or DEFAULT_ASSET)


def given_instant(field: str, request: Any) -> datetime | None:  # noqa: ANN401 -- any request that has the field
    """The instant in a field; None if it is absent. Raises MalformedError."""
    return instant_of(field, getattr(request, field)) if request.HasField(field) else None


def history_filter(request: credit_pb.HistoryRequest, name: AccountName) -> HistoryFilter:
    """Which entries of an account are asked for; raises MalformedError, and RefusedError for what is not of it."""
    if request.order not in _ORDERS:
        raise malformed("order", f"must be one of {', '.join(credit_pb.HistoryRequest.Order.keys())}.")
    wanted = HistoryFilter(
        kinds=frozenset(KINDS("kinds", kind) for kind in request.kinds),
        since=given_instant("since", request),
        until=given_instant("until", request),
        reference=request.reference,
        operation=request.operation,
        oldest_first=_ORDERS[request.order],
        without_lines=request.without_lines,
    )
    lot, hold = _number(IdPrefix.LOT, "lot_id", request, name), _number(IdPrefix.HOLD, "hold_id", request, name)
    return replace(wanted, lot=lot, hold=hold)


def policy_of(message: ledger_pb.AssetPolicy) -> AssetPolicy:
    """The settings of an asset; raises MalformedError."""
    welcome = message.welcome
    return AssetPolicy(
        auto_open=message.auto_open,
        welcome=Welcome(
            amount=welcome.amount,
            source=SOURCES("welcome.source", welcome.source, Source.WELCOME),
            ttl=length_of("welcome.ttl", welcome.ttl) if welcome.HasField("ttl") else None,
        )
        if message.HasField("welcome")
        else None,
        free_credits_repay_debt=message.free_credits_repay_debt,
        default_card=message.default_card,
    )


def _open_account(request: credit_pb.OpenAccountRequest, tenant: str) -> OpenAccount:
    return OpenAccount(request_id=request.request_id, account=_account(request, tenant), memo=memo_of(request))


def _grant(request: credit_pb.GrantRequest, tenant: str) -> Grant:
    expiry = request.WhichOneof("expiry")
    cost = request.cost
    return Grant(
        request_id=request.request_id,
        account=_account(request, tenant),
        amount=request.amount,
        source=SOURCES("source", request.source),
        priority=request.priority if request.HasField("priority") else None,
        effective_at=instant_of("effective_at", request.effective_at) if request.HasField("effective_at") else None,
        expires_at=instant_of("expires_at", request.expires_at) if expiry == "expires_at" else None,
        ttl=length_of("ttl", request.ttl) if expiry == "ttl" else None,
        cost=Money(minor_units=cost.minor_units, currency=cost.currency) if request.HasField("cost") else None,
        scope=tuple(request.scope),
        package=request.package,
        memo=memo_of(request),
    )


def _deduct(request: credit_pb.CheckAndDeductRequest, tenant: str) -> Deduct:
    amount, usage = asked_amount(request)
    return Deduct(
        request_id=request.request_id,
        account=_account(request, tenant),
        amount=amount,
        usage=usage,
        mode=MODES("mode", request.mode, DeductMode.AUTHORIZE),
        operation=request.operation,
        memo=memo_of(request),
    )


def _place_hold(request: credit_pb.HoldRequest, tenant: str) -> PlaceHold:
    amount, usage = asked_amount(request)
    return PlaceHold(
        request_id=request.request_id,
        account=_account(request, tenant),
        amount=amount,
        usage=usage,
        ttl=length_of("ttl", request.ttl) if request.HasField("ttl") else None,
        operation=request.operation,
        tolerance=request.tolerance,
        held_lots=HELD_LOTS("held_lots", request.held_lots, HeldLots.HONOUR),
        memo=memo_of(request),
    )


def _increase_hold(request: credit_pb.IncreaseHoldRequest, tenant: str) -> IncreaseHold:
    key, hold = _part(IdPrefix.HOLD, "hold_id", request.hold_id)
    return IncreaseHold(
        request_id=request.request_id, tenant=tenant, key=key, hold=hold, amount=request.amount, memo=memo_of(request)
    )


def _extend_hold(request: credit_pb.ExtendHoldRequest, tenant: str) -> ExtendHold:
    key, hold = _part(IdPrefix.HOLD, "hold_id", request.hold_id)
    ttl = length_of("ttl", request.ttl)
    return ExtendHold(request_id=request.request_id, tenant=tenant, key=key, hold=hold, ttl=ttl, memo=memo_of(request))


def _capture(request: credit_pb.CaptureRequest, tenant: str) -> Capture:
    key, hold = _part(IdPrefix.HOLD, "hold_id", request.hold_id)
    return Capture(
        request_id=request.request_id,
        tenant=tenant,
        key=key,
        hold=hold,
        amount=request.amount if request.HasField("amount") else None,
        usage=usage_of(request.usage) if request.HasField("usage") else None,
        final=request.final if request.HasField("final") else True,
        memo=memo_of(request),
    )


def _release(request: credit_pb.ReleaseRequest, tenant: str) -> Release:
    key, hold = _part(IdPrefix.HOLD, "hold_id", request.hold_id)
    return Release(request_id=request.request_id, tenant=tenant, key=key, hold=hold, memo=memo_of(request))


def _refund(request: credit_pb.RefundRequest, tenant: str) -> Refund:
    key, entry = _part(IdPrefix.ENTRY, "entry_id", request.entry_id)
    return Refund(
        request_id=request.request_id,
        tenant=tenant,
        key=key,
        entry=entry,
        amount=request.amount if request.HasField("amount") else None,
        expired_lots=EXPIRED_LOTS("expired_lots", request.expired_lots, ExpiredLots.TO_ORIGINAL_LOT),
        lot_ttl=length_of("lot_ttl", request.lot_ttl) if request.HasField("lot_ttl") else None,
        memo=memo_of(request),
    )


def _transfer(request: credit_pb.TransferRequest, tenant: str) -> Transfer:
    return Transfer(
        request_id=request.request_id,
        account=_account(request, tenant),
        to=account_name(tenant, request.to_account_id, request.asset),
        amount=request.amount,
        memo=memo_of(request),
    )


def _update_account(request: accounts_pb.UpdateAccountRequest, tenant: str) -> UpdateAccount:
    return UpdateAccount(
        request_id=request.request_id,
        account=_account(request, tenant),
        overdraft_limit=request.overdraft_limit if request.HasField("overdraft_limit") else None,
        unlimited=request.unlimited if request.HasField("unlimited") else None,
        time_zone=request.time_zone if request.HasField("time_zone") else None,
        limits=_limits(request.limits) if request.HasField("limits") else None,
        metadata=dict(request.metadata.pairs) if request.HasField("metadata") else None,
        memo=memo_of(request),
    )


def _freeze(request: accounts_pb.FreezeAccountRequest, tenant: str) -> Freeze:
    return Freeze(request_id=request.request_id, account=_account(request, tenant), memo=memo_of(request))


def _unfreeze(request: accounts_pb.UnfreezeAccountRequest, tenant: str) -> Unfreeze:
    return Unfreeze(request_id=request.request_id, account=_account(request, tenant), memo=memo_of(request))


def _close(request: accounts_pb.CloseAccountRequest, tenant: str) -> Close:
    return Close(request_id=request.request_id, account=_account(request, tenant), memo=memo_of(request))


def _merge(request: accounts_pb.MergeAccountsRequest, tenant: str) -> Merge:
    return Merge(
        request_id=request.request_id,
        account=_account(request, tenant),
        into=account_name(tenant, request.into_account_id, request.asset),
        memo=memo_of(request),
    )


def _revoke(request: accounts_pb.RevokeRequest, tenant: str) -> Revoke:
    key, lot = _part(IdPrefix.LOT, "lot_id", request.lot_id)
    return Revoke(
        request_id=request.request_id,
        tenant=tenant,
        key=key,
        lot=lot,
        spent=SPENT("spent", request.spent),
        amount=request.amount if request.HasField("amount") else None,
        memo=memo_of(request),
    )


def _adjust(request: accounts_pb.AdjustRequest, tenant: str) -> Adjust:
    return Adjust(
        request_id=request.request_id,
        account=_account(request, tenant),
        direction=DIRECTIONS("direction", request.direction),
        amount=request.amount,
        memo=memo_of(request),
    )


def _write_off(request: accounts_pb.WriteOffRequest, tenant: str) -> WriteOff:
    return WriteOff(
        request_id=request.request_id,
        account=_account(request, tenant),
        amount=request.amount if request.HasField("amount") else None,
        memo=memo_of(request),
    )


# Each takes its own kind of request, which a mapping's type cannot say.
_MAKERS: Final[Mapping[type[Message], Callable[[Any, str], Request]]] = MappingProxyType(
    {
        credit_pb.OpenAccountRequest: _open_account,
        credit_pb.GrantRequest: _grant,
        credit_pb.CheckAndDeductRequest: _deduct,
        credit_pb.HoldRequest: _place_hold,
        credit_pb.IncreaseHoldRequest: _increase_hold,
        credit_pb.ExtendHoldRequest: _extend_hold,
        credit_pb.CaptureRequest: _capture,
        credit_pb.ReleaseRequest: _release,
        credit_pb.RefundRequest: _refund,
        credit_pb.TransferRequest: _transfer,
        accounts_pb.UpdateAccountRequest: _update_account,
        accounts_pb.FreezeAccountRequest: _freeze,
        accounts_pb.UnfreezeAccountRequest: _unfreeze,
        accounts_pb.CloseAccountRequest: _close,
        accounts_pb.MergeAccountsRequest: _merge,
        accounts_pb.RevokeRequest: _revoke,
        accounts_pb.AdjustRequest: _adjust,
        accounts_pb.WriteOffRequest: _write_off,
    }
)


# Which field of a change names a hold, an entry or a lot.
_NAMES: Final = {kind: field for kind in _MAKERS for field in _NAMED if field in kind.DESCRIPTOR.fields_by_name}


def _account(request: Any, tenant: str) -> AccountName:  # noqa: ANN401 -- any that names an account
    return account_name(tenant, request.account_id, request.asset)


def _part(prefix: IdPrefix, field: str, text: str) -> tuple[AccountKey, int]:
    if not text:
        raise malformed(field, f"must be what {_WHERE_FROM[field]} answered with; it is empty.")
    return parse_id(prefix, text) or _NOTHING


def _number(prefix: IdPrefix, field: str, request: credit_pb.HistoryRequest, name: AccountName) -> int | None:
    """The number of a lot or a hold of the account; None if none is asked for."""
    text = getattr(request, field)
    if not text:
        return None
    found = parse_id(prefix, text)
    if found is None or found[0] != name.key:
        raise RefusedError(Refused(reason=_NAMED[field][1], figures={field: text}))
    return found[1]


def _limits(message: accounts_pb.SpendLimits) -> tuple[SpendLimit, ...]:
    return tuple(
        SpendLimit(
            name=limit.name,
            window=WINDOWS(f"limits[{index}].window", limit.window),
            amount=limit.amount,
            length=length_of(f"limits[{index}].length", limit.length) if limit.HasField("length") else None,
            operation=limit.operation,
        )
        for index, limit in enumerate(message.limits)
    )


def memo_of(request: Any) -> Memo:  # noqa: ANN401 -- any change
    """What is written beside a change; raises MalformedError."""
    if not request.HasField("memo"):
        return NO_MEMO
    memo = request.memo
    found = Memo(description=memo.description, reference=memo.reference, actor=memo.actor, metadata=dict(memo.metadata))
    # A memo that says nothing is none, so that it cannot make a repeat differ.
    return NO_MEMO if found == Memo() else found
