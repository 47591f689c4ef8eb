"""Calls that administrators make: what is agreed with customers, corrections, and what becomes of accounts."""

from collections.abc import Iterable, Mapping
from typing import Unpack

from scrip import arguments
from scrip.calls.call import CREDITS, Call
from scrip.calls.change import Change, Reasoned, Signed, said
from scrip.terms import SpendLimit
from scrip.v1.accounts_pb2 import (
    AdjustRequest,
    AdjustResponse,
    CloseAccountRequest,
    CloseAccountResponse,
    FreezeAccountRequest,
    FreezeAccountResponse,
    MergeAccountsRequest,
    MergeAccountsResponse,
    RevokeRequest,
    RevokeResponse,
    UnfreezeAccountRequest,
    UnfreezeAccountResponse,
    UpdateAccountRequest,
    UpdateAccountResponse,
    WriteOffRequest,
    WriteOffResponse,
)
from scrip.v1.accounts_pb2 import SpendLimit as SpendLimitMessage


def update_account(
    account_id: str,
    *,
    asset: str = CREDITS,
    overdraft_limit: int | None = None,
    unlimited: bool | None = None,
    time_zone: str | None = None,
    limits: Iterable[SpendLimit | SpendLimitMessage] | None = None,
    account_metadata: Mapping[str, str] | None = None,
    **change: Unpack[Change],
) -> Call[UpdateAccountResponse]:
    """Change what is agreed with a customer. What is None stays as it is.

    overdraft_limit    how far `owed` may go when a deduction finds too little; smallest units, 0 or more
    unlimited          whether a plan covers all use: it is recorded, but takes nothing
    time_zone          of the windows of spend limits, an IANA name such as "Europe/Berlin"
    limits             all spend limits from now on, such as [scrip.SpendLimit(name="daily", amount=100, window="day")];
                       those that `account` answers with are taken too. One that differs from before in its amount alone
                       goes on counting; any other begins with nothing used
    account_metadata   all that is kept beside the account from now on; `metadata` is what is written beside the entry
    refused            RequestIdReused, AssetNotFound, AccountNotFound, AccountClosed, in that order

    The other arguments: see the class.
    """
    about = said(**change)
    request = UpdateAccountRequest(
        request_id=about.request_id,
        account_id=arguments.text("account_id", account_id),
        asset=arguments.named("asset", asset),
        overdraft_limit=None if overdraft_limit is None else arguments.whole("overdraft_limit", overdraft_limit),
        unlimited=None if unlimited is None else arguments.truth("unlimited", unlimited),
        time_zone=None if time_zone is None else arguments.text("time_zone", time_zone),
        limits=arguments.limits("limits", limits),
        metadata=arguments.metadata("account_metadata", account_metadata),
        memo=about.memo,
        preview=about.preview,
    )
    return Call(rpc="UpdateAccount", request=request, deadline_s=about.deadline_s)


def freeze_account(account_id: str, *, asset: str = CREDITS, **change: Unpack[Reasoned]) -> Call[FreezeAccountResponse]:
    """Let an account spend nothing until it is unfrozen. It goes on taking credits, and gives holds back.

    description   why; required
    refused       RequestIdReused, AssetNotFound, AccountNotFound, AccountClosed, AccountFrozen, in that order

    The other arguments: see the class.
    """
    about = said(**change)
    request = FreezeAccountRequest(
        request_id=about.request_id,
        account_id=arguments.text("account_id", account_id),
        asset=arguments.named("asset", asset),
        memo=about.memo,
        preview=about.preview,
    )
    return Call(rpc="FreezeAccount", request=request, deadline_s=about.deadline_s)


def unfreeze_account(
    account_id: str, *, asset: str = CREDITS, **change: Unpack[Change]
) -> Call[UnfreezeAccountResponse]:
    """Let a frozen account spend again.

    refused   RequestIdReused, AssetNotFound, AccountNotFound, AccountClosed, AccountNotFrozen, in that order

    The other arguments: see the class.
    """
    about = said(**change)
    request = UnfreezeAccountRequest(
        request_id=about.request_id,
        account_id=arguments.text("account_id", account_id),
        asset=arguments.named("asset", asset),
        memo=about.memo,
        preview=about.preview,
    )
    return Call(rpc="UnfreezeAccount", request=request, deadline_s=about.deadline_s)


def close_account(account_id: str, *, asset: str = CREDITS, **change: Unpack[Change]) -> Call[CloseAccountResponse]:
    """End an account in which nothing is left. It cannot be opened again.

    refused   RequestIdReused, AssetNotFound, AccountNotFound, AccountClosed, AccountNotEmpty, in that order

    The other arguments: see the class.
    """
    about = said(**change)
    request = CloseAccountRequest(
        request_id=about.request_id,
        account_id=arguments.text("account_id", account_id),
        asset=arguments.named("asset", asset),
        memo=about.memo,
        preview=about.preview,
    )
    return Call(rpc="CloseAccount", request=request, deadline_s=about.deadline_s)


def merge_accounts(
    account_id: str, into_account_id: str, *, asset: str = CREDITS, **change: Unpack[Change]
) -> Call[MergeAccountsResponse]:
    """Move all that a visitor has, lots and debt, to a customer, and close the visitor's account.

    account_id        the visitor; the request_id belongs to this account
    into_account_id   the customer
    refused           RequestIdReused, AssetNotFound, AccountNotFound, AccountClosed, AccountFrozen, of the customer's
                      account AccountNotFound and AccountClosed, AccountHasHolds, BalanceOverflow, in that order

    The other arguments: see the class.
    """
    about = said(**change)
    request = MergeAccountsRequest(
        request_id=about.request_id,
        account_id=arguments.text("account_id", account_id),
        asset=arguments.named("asset", asset),
        into_account_id=arguments.text("into_account_id", into_account_id),
        memo=about.memo,
        preview=about.preview,
    )
    return Call(rpc="MergeAccounts", request=request, deadline_s=about.deadline_s)


def revoke(
    lot_id: str,
    amount: int | None = None,
    *,
    spent: RevokeRequest.Spent.ValueType | str,
    **change: Unpack[Change],
) -> Call[RevokeResponse]:
    """Take a grant back: its money was returned, or a promotion is withdrawn. What holds have drawn stays with them.

    lot_id    as the grant or `lots` named it
    amount    smallest units, 1 or more; None for all that can be taken back. What remains is taken first
    spent     what to do about what is spent already: "owe" lets it become owed, "leave" leaves it, "write_off" lets it
              become owed and forgives it in the same entry
    refused   LotNotFound, RequestIdReused, AccountClosed, AmountAboveRevocable, BalanceOverflow, in that order

    The other arguments: see the class.
    """
    about = said(**change)
    request = RevokeRequest(
        request_id=about.request_id,
        lot_id=arguments.text("lot_id", lot_id),
        amount=None if amount is None else arguments.whole("amount", amount),
        spent=arguments.choice("spent", spent, RevokeRequest.Spent),
        memo=about.memo,
        preview=about.preview,
    )
    return Call(rpc="Revoke", request=request, deadline_s=about.deadline_s)


def adjust(
    account_id: str,
    amount: int,
    direction: AdjustRequest.Direction.ValueType | str,
    *,
    asset: str = CREDITS,
    **change: Unpack[Signed],
) -> Call[AdjustResponse]:
    """Correct what is available.

    amount               smallest units, 1 or more
    direction            "up": more is available, as a lot that never runs out; "down": less, taken from the lots in
                         burn order
    description, actor   why and who; both required
    refused              RequestIdReused, AssetNotFound, AccountNotFound, AccountClosed, InsufficientCredits downwards,
                         BalanceOverflow upwards, in that order

    The other arguments: see the class.
    """
    about = said(**change)
    request = AdjustRequest(
        request_id=about.request_id,
        account_id=arguments.text("account_id", account_id),
        asset=arguments.named("asset", asset),
        direction=arguments.choice("direction", direction, AdjustRequest.Direction),
        amount=arguments.whole("amount", amount),
        memo=about.memo,
        preview=about.preview,
    )
    return Call(rpc="Adjust", request=request, deadline_s=about.deadline_s)


def write_off(
    account_id: str, amount: int | None = None, *, asset: str = CREDITS, **change: Unpack[Signed]
) -> Call[WriteOffResponse]:
    """Forgive what a customer owes.

    amount               smallest units, 1 or more; None for all that is owed
    description, actor   why and who; both required
    refused              RequestIdReused, AssetNotFound, AccountNotFound, AccountClosed, AmountAboveOwed, in that order

    The other arguments: see the class.
    """
    about = said(**change)
    request = WriteOffRequest(
        request_id=about.request_id,
        account_id=arguments.text("account_id", account_id),
        asset=arguments.named("asset", asset),
        amount=None if amount is None else arguments.whole("amount", amount),
        memo=about.memo,
        preview=about.preview,
    )
    return Call(rpc="WriteOff", request=request, deadline_s=about.deadline_s)
