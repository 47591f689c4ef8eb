"""What an operation does to the accounts it names: decide(states, operation, now) -> Accepted | Refused.

Pure: no clock, no randomness, no I/O. One function per operation; all of them settle first what has lapsed.
"""

from collections.abc import Callable, Container, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from ledger.administration import (
    Adjust,
    Close,
    Freeze,
    HoldLot,
    Merge,
    Reclaim,
    Revoke,
    RollOver,
    Unfreeze,
    UpdateAccount,
    WriteOff,
)
from ledger.decide.accounts import close, freeze, open_account, unfreeze, update_account
from ledger.decide.corrections import adjust, refund, revoke, roll_over, write_off
from ledger.decide.holding import capture, extend_hold, hold_lot, increase_hold, place_hold, release
from ledger.decide.moving import merge, reclaim, transfer
from ledger.decide.spending import deduct, grant
from ledger.decide.steps import States, refused
from ledger.draft import Draft
from ledger.fields import fields_that_differ
from ledger.ids import AccountKey, IdPrefix, public_id
from ledger.model import Entry
from ledger.operations import (
    Capture,
    Deduct,
    ExtendHold,
    Grant,
    IncreaseHold,
    OfPart,
    OpenAccount,
    PlaceHold,
    Refund,
    Release,
    Request,
    Transfer,
)
from ledger.outcome import Accepted, Posting, Reason, Refused, State

__all__ = ["decide", "settle"]


def decide(states: Mapping[AccountKey, State], operation: Request, now: datetime) -> Accepted | Refused:
    """Decides one operation on the accounts it names.

    states    what is known of these accounts; only read
    now       the caller's clock; if an account's last entry is later, that instant counts instead
    refuses   HOLD_NOT_FOUND, LOT_NOT_FOUND or ENTRY_NOT_FOUND where the operation names one, REQUEST_ID_REUSED, then
              what the operation's own function refuses
    """
    state = states[operation.key]
    if isinstance(operation, OfPart) and (unknown := _unknown(state, operation)) is not None:
        return unknown
    if (posted := state.posted.get(operation.request_id)) is not None:
        return _repeat(state, posted, operation)
    return _DECIDERS[type(operation)](states, operation, now)


def settle(state: State, now: datetime) -> Posting:
    """What has lapsed and is not written yet. Any operation begins with it."""
    if state.account is None:
        raise AssertionError("only an account that is open can be settled")
    return Draft(state, state.account, now).posting()


# Each takes its own kind of operation, which a mapping's type cannot say.
_DECIDERS: MappingProxyType[type[Request], Callable[[States, Any, datetime], Accepted | Refused]] = MappingProxyType(
    {
        OpenAccount: open_account,
        Grant: grant,
        Deduct: deduct,
        PlaceHold: place_hold,
        HoldLot: hold_lot,
        IncreaseHold: increase_hold,
        ExtendHold: extend_hold,
        Capture: capture,
        Release: release,
        Refund: refund,
        Revoke: revoke,
        RollOver: roll_over,
        Adjust: adjust,
        WriteOff: write_off,
        Transfer: transfer,
        Merge: merge,
        Reclaim: reclaim,
        Freeze: freeze,
        Unfreeze: unfreeze,
        Close: close,
        UpdateAccount: update_account,
    }
)


def _unknown(state: State, operation: OfPart) -> Refused | None:
    """The refusal of what is not there, or belongs to another tenant, which looks the same from outside."""
    is_theirs = state.account is not None and state.account.name.tenant == operation.tenant
    parts: Container[int]
    match operation:
        case Refund():
            prefix, number, reason, parts = IdPrefix.ENTRY, operation.entry, Reason.ENTRY_NOT_FOUND, state.used
        case Revoke() | Reclaim() | HoldLot() | RollOver():
            prefix, number, reason, parts = IdPrefix.LOT, operation.lot, Reason.LOT_NOT_FOUND, state.lots
        case Capture() | Release() | IncreaseHold() | ExtendHold():
            prefix, number, reason, parts = IdPrefix.HOLD, operation.hold, Reason.HOLD_NOT_FOUND, state.holds
        case _:
            raise AssertionError(f"{operation} names a part that nobody looks for")
    if is_theirs and number in parts:
        return None
    return refused(reason, **{f"{prefix.name.lower()}_id": public_id(prefix, operation.key, number)})


def _repeat(state: State, posted: Entry, operation: Request) -> Accepted | Refused:
    """The first answer again, or REQUEST_ID_REUSED if something else was asked for then."""
    asked = operation.fingerprint()
    if posted.kind is operation.kind and posted.fingerprint == asked:
        if state.account is None:
            raise AssertionError("an account that has an entry is open")
        return Accepted(account_name=state.account.name, scale=state.scale, entry=posted, postings=())
    fields = fields_that_differ(posted.fingerprint, asked) if posted.kind is operation.kind else ("operation",)
    return refused(
        Reason.REQUEST_ID_REUSED,
        request_id=operation.request_id,
        entry_id=public_id(IdPrefix.ENTRY, posted.key, posted.seq),
        fields=",".join(fields),
    )
