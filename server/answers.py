"""What the ledger answers to changes, as messages of the contract."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypedDict

from google.protobuf.message import Message
from scrip.v1 import accounts_pb2 as accounts_pb
from scrip.v1 import credit_service_pb2 as credit_pb
from scrip.v1 import types_pb2 as types_pb

from ledger import (
    Accepted,
    Adjust,
    Capture,
    Close,
    Code,
    Deduct,
    ExtendHold,
    Freeze,
    Grant,
    IdPrefix,
    IncreaseHold,
    Merge,
    OpenAccount,
    PlaceHold,
    Refund,
    Release,
    Request,
    Revoke,
    Transfer,
    Unfreeze,
    UpdateAccount,
    WriteOff,
    public_id,
)
from server.messages import balance_after
from server.price_messages import tell_charge
from server.times import timestamp


class Change(TypedDict):
    """What every change answers with."""

    entry_id: str
    balance: types_pb.Balance
    replayed: bool


class Answered:
    """What the messages have in common about an operation that was accepted.

    preview   True: nothing was written, so that what it would make has no id yet
    """

    def __init__(self, accepted: Accepted, *, preview: bool) -> None:
        self.entry = accepted.entry
        self.accepted = accepted
        self._nameless = preview and not accepted.replayed

    def change(self) -> Change:
        """The fields that every change has."""
        return Change(
            entry_id=self._id(IdPrefix.ENTRY, self.entry.seq),
            balance=balance_after(self.entry, self.accepted.account_name, self.accepted.scale),
            replayed=self.accepted.replayed,
        )

    def peer_id(self) -> str:
        """The entry on the other side of a movement between two accounts."""
        if self._nameless or self.entry.peer is None:
            return ""
        return public_id(IdPrefix.ENTRY, *self.entry.peer)

    def hold_id(self) -> str:
        """The hold that it made."""
        return self._id(IdPrefix.HOLD, self.entry.seq)

    def lot_ids(self) -> list[str]:
        """The lots that it made."""
        return [] if self._nameless else [self._id(IdPrefix.LOT, lot.number) for lot in self.entry.made]

    def lot_id(self) -> str:
        """The only lot that it made; empty if it made none."""
        return next(iter(self.lot_ids()), "")

    def _id(self, prefix: IdPrefix, number: int) -> str:
        return "" if self._nameless else public_id(prefix, self.entry.key, number)


def answer_of(operation: Request, accepted: Accepted, *, preview: bool = False) -> Message:
    """The response to an operation that was accepted, or would be.

    preview   True: nothing was written
    """
    answer: Message = _MAKERS[type(operation)](Answered(accepted, preview=preview))
    return answer


def _open_account(answered: Answered) -> credit_pb.OpenAccountResponse:
    return credit_pb.OpenAccountResponse(welcome_lot_id=answered.lot_id(), **answered.change())


def _grant(answered: Answered) -> credit_pb.GrantResponse:
    (made,) = answered.entry.made
    return credit_pb.GrantResponse(
        lot_id=answered.lot_id(),
        expires_at=timestamp(made.terms.expires_at),
        repaid=answered.entry.moved(Code.AVAILABLE, Code.OWED),
        **answered.change(),
    )


def _deduct(answered: Answered) -> credit_pb.CheckAndDeductResponse:
    entry = answered.entry
    answer = credit_pb.CheckAndDeductResponse(
        deducted=entry.used, became_owed=entry.moved(Code.OWED, Code.REVENUE), **answered.change()
    )
    if entry.charge is not None:
        tell_charge(answer.charge, entry.charge)
    return answer


def _place_hold(answered: Answered) -> credit_pb.HoldResponse:
    entry = answered.entry
    answer = credit_pb.HoldResponse(
        hold_id=answered.hold_id(),
        expires_at=timestamp(entry.hold_expires_at),
        held=entry.hold_held or 0,
        **answered.change(),
    )
    if entry.charge is not None:
        tell_charge(answer.charge, entry.charge)
    return answer


def _increase_hold(answered: Answered) -> credit_pb.IncreaseHoldResponse:
    return credit_pb.IncreaseHoldResponse(held=answered.entry.hold_held or 0, **answered.change())


def _extend_hold(answered: Answered) -> credit_pb.ExtendHoldResponse:
    return credit_pb.ExtendHoldResponse(expires_at=timestamp(answered.entry.hold_expires_at), **answered.change())


def _capture(answered: Answered) -> credit_pb.CaptureResponse:
    entry = answered.entry
    answer = credit_pb.CaptureResponse(
        captured=entry.used,
        released=entry.moved(Code.HELD, Code.AVAILABLE),
        held=entry.hold_held or 0,
        **answered.change(),
    )
    if entry.charge is not None:
        tell_charge(answer.charge, entry.charge)
    return answer


def _release(answered: Answered) -> credit_pb.ReleaseResponse:
    released = answered.entry.moved(Code.HELD, Code.AVAILABLE)
    return credit_pb.ReleaseResponse(released=released, **answered.change())


def _refund(answered: Answered) -> credit_pb.RefundResponse:
    entry = answered.entry
    return credit_pb.RefundResponse(
        refunded=entry.refunded,
        lapsed=entry.moved(Code.AVAILABLE, Code.BREAKAGE),
        repaid=entry.moved(Code.REVENUE, Code.OWED),
        lot_ids=answered.lot_ids(),
        **answered.change(),
    )


def _transfer(answered: Answered) -> credit_pb.TransferResponse:
    return credit_pb.TransferResponse(to_entry_id=answered.peer_id(), **answered.change())


def _update_account(answered: Answered) -> accounts_pb.UpdateAccountResponse:
    return accounts_pb.UpdateAccountResponse(**answered.change())


def _freeze(answered: Answered) -> accounts_pb.FreezeAccountResponse:
    return accounts_pb.FreezeAccountResponse(**answered.change())


def _unfreeze(answered: Answered) -> accounts_pb.UnfreezeAccountResponse:
    return accounts_pb.UnfreezeAccountResponse(**answered.change())


def _close(answered: Answered) -> accounts_pb.CloseAccountResponse:
    return accounts_pb.CloseAccountResponse(**answered.change())


def _merge(answered: Answered) -> accounts_pb.MergeAccountsResponse:
    entry = answered.entry
    return accounts_pb.MergeAccountsResponse(
        into_entry_id=answered.peer_id(),
        moved=entry.moved(Code.AVAILABLE, Code.TRANSFERS),
        debt_moved=entry.moved(Code.TRANSFERS, Code.OWED),
        **answered.change(),
    )


def _revoke(answered: Answered) -> accounts_pb.RevokeResponse:
    lines = answered.entry.lines
    written_off = answered.entry.moved(Code.ADJUSTMENTS, Code.OWED)
    return accounts_pb.RevokeResponse(
        revoked=sum(line.amount for line in lines if line.lot is not None),
        became_owed=sum(line.amount for line in lines if line.debit is Code.OWED) - written_off,
        **answered.change(),
    )


def _adjust(answered: Answered) -> accounts_pb.AdjustResponse:
    repaid = answered.entry.moved(Code.AVAILABLE, Code.OWED)
    return accounts_pb.AdjustResponse(lot_id=answered.lot_id(), repaid=repaid, **answered.change())


def _write_off(answered: Answered) -> accounts_pb.WriteOffResponse:
    written_off = answered.entry.moved(Code.ADJUSTMENTS, Code.OWED)
    return accounts_pb.WriteOffResponse(written_off=written_off, **answered.change())


_MAKERS: Final[Mapping[type[Request], Callable[[Answered], Any]]] = MappingProxyType(
    {
        OpenAccount: _open_account,
        Grant: _grant,
        Deduct: _deduct,
        PlaceHold: _place_hold,
        IncreaseHold: _increase_hold,
        ExtendHold: _extend_hold,
        Capture: _capture,
        Release: _release,
        Refund: _refund,
        Transfer: _transfer,
        UpdateAccount: _update_account,
        Freeze: _freeze,
        Unfreeze: _unfreeze,
        Close: _close,
        Merge: _merge,
        Revoke: _revoke,
        Adjust: _adjust,
        WriteOff: _write_off,
    }
)
