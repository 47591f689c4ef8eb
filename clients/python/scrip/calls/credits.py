"""Calls that put credits in, take them out, give them back and give them away."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Unpack

from scrip import arguments
from scrip.calls.call import CREDITS, Call
from scrip.calls.change import Change, said
from scrip.prices import Usage
from scrip.reasons import invalid
from scrip.v1.credit_service_pb2 import (
    CheckAndDeductRequest,
    CheckAndDeductResponse,
    CheckRequest,
    CheckResponse,
    GrantRequest,
    GrantResponse,
    OpenAccountRequest,
    OpenAccountResponse,
    RefundRequest,
    RefundResponse,
    TransferRequest,
    TransferResponse,
)
from scrip.v1.types_pb2 import Money, Source
from scrip.v1.types_pb2 import Usage as UsageMessage


def open_account(account_id: str, *, asset: str = CREDITS, **change: Unpack[Change]) -> Call[OpenAccountResponse]:
    """Open an account of a customer in one asset, with the welcome grant that the asset's settings may have.

    account_id   the customer; 1 to 128 printable ASCII characters
    asset        what is counted
    refused      RequestIdReused, AssetNotFound, AccountExists, in that order

    The other arguments: see the class.
    """
    about = said(**change)
    request = OpenAccountRequest(
        request_id=about.request_id,
        account_id=arguments.text("account_id", account_id),
        asset=arguments.named("asset", asset),
        memo=about.memo,
        preview=about.preview,
    )
    return Call(rpc="OpenAccount", request=request, deadline_s=about.deadline_s)


def grant(
    account_id: str,
    amount: int,
    source: Source.ValueType | str,
    *,
    asset: str = CREDITS,
    priority: int | None = None,
    effective_at: datetime | None = None,
    expires_at: datetime | None = None,
    ttl: timedelta | None = None,
    cost: Money | tuple[int, str] | None = None,
    scope: Sequence[str] = (),
    package: str = "",
    **change: Unpack[Change],
) -> Call[GrantResponse]:
    """Put credits into an account, as one lot with its own source, place in the burn order, expiry and scope.

    amount         smallest units of the asset, 1 or more
    source         "free", "promo", "welcome", "referral", "lead", "gift", "purchase", "subscription" or
                   "adjustment"; or a value of scrip.Source
    priority       place in the burn order, 0 to 1000, lower burns first; None for the source's own
    effective_at   from when on it can be spent; None for at once
    expires_at     the first instant at which it is no longer there; None for never
    ttl            the same, counted from the instant of the grant, or from `effective_at` if that is later; more than
                   0. Not both
    cost           what was paid for it, minor units and currency, such as (1999, "EUR"); only with "purchase",
                   "subscription" and "adjustment"
    scope          the operations it may pay for, such as ["image/*"]: names, or beginnings followed by "*"; none for
                   all
    package        what it was sold as, such as the name of a package; only with a source that may have a cost
    refused        RequestIdReused, AssetNotFound, AccountNotFound, AccountClosed, ExpiryInPast, BalanceOverflow, in
                   that order

    The other arguments: see the class.
    """
    if expires_at is not None and ttl is not None:
        raise invalid("ttl", "must not be given together with expires_at")
    about = said(**change)
    request = GrantRequest(
        request_id=about.request_id,
        account_id=arguments.text("account_id", account_id),
        asset=arguments.named("asset", asset),
        amount=arguments.whole("amount", amount),
        source=arguments.choice("source", source, Source),
        priority=None if priority is None else arguments.whole("priority", priority, arguments.INT32),
        effective_at=arguments.instant("effective_at", effective_at),
        expires_at=arguments.instant("expires_at", expires_at),
        ttl=arguments.span("ttl", ttl),
        cost=arguments.money("cost", cost),
        scope=arguments.texts("scope", scope),
        package=arguments.text("package", package),
        memo=about.memo,
        preview=about.preview,
    )
    return Call(rpc="Grant", request=request, deadline_s=about.deadline_s)


def check(
    account_id: str,
    amount: int | None = None,
    *,
    usage: Usage | UsageMessage | None = None,
    asset: str = CREDITS,
    operation: str = "",
    deadline_s: float | None = None,
) -> Call[CheckResponse]:
    """Ask whether the customer may spend the amount, without spending it.

    If not, the answer has the reason and the figures of the error that check_and_deduct would raise.

    amount      smallest units of the asset, 1 or more
    usage       instead of the amount: what would happen, for a rate card to price; see scrip.Usage
    operation   what it is for, such as "image/generate"; if it is not said, lots with a scope cannot pay for it; usage
                tells it itself
    refused     AssetNotFound, AccountNotFound, of usage PriceNotFound, UnitMismatch, CostOverflow, in that order
    """
    asked, used = arguments.charged(amount, usage)
    request = CheckRequest(
        account_id=arguments.text("account_id", account_id),
        asset=arguments.named("asset", asset),
        amount=asked,
        usage=used,
        operation=arguments.text("operation", operation),
    )
    return Call(rpc="Check", request=request, deadline_s=deadline_s)


def check_and_deduct(
    account_id: str,
    amount: int | None = None,
    *,
    usage: Usage | UsageMessage | None = None,
    asset: str = CREDITS,
    mode: CheckAndDeductRequest.Mode.ValueType | str = "authorize",
    operation: str = "",
    **change: Unpack[Change],
) -> Call[CheckAndDeductResponse]:
    """Ask whether the customer may spend the amount, or what the usage costs, and, if so, spend it.

    amount      smallest units of the asset, 1 or more
    usage       instead of the amount: what happened, for a rate card to price; see scrip.Usage
    mode        what to do when there is too little. "authorize": spend all or be refused; "clamp": spend what is there,
                perhaps nothing, and answer how much; "record": spend all in any case, and what is not there becomes
                owed
    operation   what it is for, such as "image/generate"; if it is not said, lots with a scope cannot pay for it; usage
                tells it itself
    refused     RequestIdReused, AssetNotFound, AccountNotFound, AccountClosed, AccountFrozen, of usage PriceNotFound,
                UnitMismatch, CostOverflow, then with "authorize" InsufficientCredits and SpendLimitReached, and
                BalanceOverflow, in that order

    The other arguments: see the class.
    """
    asked, used = arguments.charged(amount, usage)
    about = said(**change)
    request = CheckAndDeductRequest(
        request_id=about.request_id,
        account_id=arguments.text("account_id", account_id),
        asset=arguments.named("asset", asset),
        amount=asked,
        usage=used,
        mode=arguments.choice("mode", mode, CheckAndDeductRequest.Mode),
        operation=arguments.text("operation", operation),
        memo=about.memo,
        preview=about.preview,
    )
    return Call(rpc="CheckAndDeduct", request=request, deadline_s=about.deadline_s)


def refund(
    entry_id: str,
    amount: int | None = None,
    *,
    expired_lots: RefundRequest.ExpiredLots.ValueType | str = "to_original_lot",
    lot_ttl: timedelta | None = None,
    **change: Unpack[Change],
) -> Call[RefundResponse]:
    """Give back what a deduction or a capture took, to the lots that were burnt, last burnt first.

    entry_id       of the deduction or the capture
    amount         smallest units, 1 or more; None gives back all that is left of it
    expired_lots   what to do with credits whose lot has run out since. "to_original_lot": they lapse at once;
                   "extend": the lot lasts `lot_ttl` from now; "new_lot": they become a lot on the same terms that lasts
                   `lot_ttl` from now, or for ever
    lot_ttl        more than 0; required with "extend", allowed with "new_lot"
    refused        EntryNotFound, RequestIdReused, AccountClosed, EntryNotRefundable, AmountAboveRefundable,
                   BalanceOverflow, in that order

    The other arguments: see the class.
    """
    about = said(**change)
    request = RefundRequest(
        request_id=about.request_id,
        entry_id=arguments.text("entry_id", entry_id),
        amount=None if amount is None else arguments.whole("amount", amount),
        expired_lots=arguments.choice("expired_lots", expired_lots, RefundRequest.ExpiredLots),
        lot_ttl=arguments.span("lot_ttl", lot_ttl),
        memo=about.memo,
        preview=about.preview,
    )
    return Call(rpc="Refund", request=request, deadline_s=about.deadline_s)


def transfer(
    account_id: str, to_account_id: str, amount: int, *, asset: str = CREDITS, **change: Unpack[Change]
) -> Call[TransferResponse]:
    """Give credits to another customer. They keep their expiry, scope and share of the cost.

    account_id      the customer who gives; the request_id belongs to this account
    to_account_id   the customer who receives
    amount          smallest units of the asset, 1 or more
    refused         RequestIdReused, AssetNotFound, AccountNotFound, AccountClosed, AccountFrozen, of the receiver
                    AccountNotFound and AccountClosed, InsufficientCredits, BalanceOverflow, in that order

    The other arguments: see the class.
    """
    about = said(**change)
    request = TransferRequest(
        request_id=about.request_id,
        account_id=arguments.text("account_id", account_id),
        asset=arguments.named("asset", asset),
        to_account_id=arguments.text("to_account_id", to_account_id),
        amount=arguments.whole("amount", amount),
        memo=about.memo,
        preview=about.preview,
    )
    return Call(rpc="Transfer", request=request, deadline_s=about.deadline_s)
