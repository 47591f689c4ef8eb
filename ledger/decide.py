"""What an operation does to an account: decide(state, operation, now) -> Accepted | Refused.

Pure: no clock, no randomness, no I/O. One function per operation; all of them settle first what has lapsed.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Any

from ledger.chain import genesis
from ledger.chart import SOURCE_RULES, Code
from ledger.draft import Draft
from ledger.ids import IdPrefix, public_id
from ledger.lots import burn, split
from ledger.model import (
    HOLD_TTL_DEFAULT,
    INT64_MAX,
    Accepted,
    Account,
    AccountName,
    Draw,
    Entry,
    EntryKind,
    Figure,
    Hold,
    HoldState,
    Line,
    LotTerms,
    Posting,
    Reason,
    Refused,
    State,
)
from ledger.operations import (
    Capture,
    Deduct,
    Grant,
    OpenAccount,
    PlaceHold,
    Release,
    Request,
    fields_that_differ,
)


def decide(state: State, operation: Request, now: datetime) -> Accepted | Refused:
    """Decides one operation on the account it names.

    state     what is known of the account; only read
    now       the caller's clock; if the account's last entry is later, that instant counts instead
    refuses   HOLD_NOT_FOUND, REQUEST_ID_REUSED, then what the operation's own function refuses
    """
    if isinstance(operation, Capture | Release) and not _is_known(state, operation):
        hold_id = public_id(IdPrefix.HOLD, operation.key, operation.hold)
        return _refused(Reason.HOLD_NOT_FOUND, hold_id=hold_id)
    if (posted := state.posted.get(operation.request_id)) is not None:
        return _repeat(state, posted, operation)
    return _DECIDERS[type(operation)](state, operation, now)


def settle(state: State, now: datetime) -> Posting:
    """What has lapsed and is not written yet. Any operation begins with it."""
    return Draft(state, _account_of(state), now).posting()


def open_account(state: State, operation: OpenAccount, now: datetime) -> Accepted | Refused:
    """The account's first entry, which has no lines.

    refuses   ASSET_NOT_FOUND, ACCOUNT_EXISTS, in that order
    """
    name = operation.account
    if state.asset is None:
        return _refused(Reason.ASSET_NOT_FOUND, asset=name.asset)
    if state.account is not None:
        return _refused(Reason.ACCOUNT_EXISTS, account_id=name.account_id, asset=name.asset)

    account = Account(name=name, available=0, held=0, owed=0, seq=0, head=genesis(name), as_of=now)
    draft = Draft(state, account, now)
    return _accepted(state, draft, draft.post(EntryKind.OPEN, (), request=operation))


def grant(state: State, operation: Grant, now: datetime) -> Accepted | Refused:
    """Dr payments, promotions or adjustments — Cr available, as one new lot.

    refuses   ASSET_NOT_FOUND, ACCOUNT_NOT_FOUND, EXPIRY_IN_PAST, BALANCE_OVERFLOW, in that order
    """
    if state.account is None:
        return _refuse_unopened(state, operation.account)
    draft = Draft(state, state.account, now)
    rule = SOURCE_RULES[operation.source]
    effective_at, expires_at = operation.life(draft.at)
    if expires_at is not None and expires_at <= draft.at:
        return _refused(Reason.EXPIRY_IN_PAST, expires_at=expires_at, now=draft.at)
    account = draft.account
    if account.available + account.held + operation.amount > INT64_MAX:
        return _refused(
            Reason.BALANCE_OVERFLOW,
            **_standing(state, draft),
            amount=operation.amount,
            limit=INT64_MAX,
        )

    lot = account.seq + 1
    terms = LotTerms(
        source=operation.source,
        priority=rule.priority if operation.priority is None else operation.priority,
        effective_at=effective_at,
        expires_at=expires_at,
        cost=operation.cost,
    )
    line = Line(debit=rule.debit, credit=Code.AVAILABLE, amount=operation.amount, lot=lot)
    return _accepted(state, draft, draft.post(EntryKind.GRANT, (line,), request=operation, lot_terms=terms))


def deduct(state: State, operation: Deduct, now: datetime) -> Accepted | Refused:
    """Dr available — Cr revenue, one line per lot burnt.

    refuses   ASSET_NOT_FOUND, ACCOUNT_NOT_FOUND, INSUFFICIENT_CREDITS, in that order
    """
    drawn = _draw(state, operation, now)
    if isinstance(drawn, Refused):
        return drawn
    draft, draws = drawn

    lines = _lines(draws, Code.AVAILABLE, Code.REVENUE)
    return _accepted(state, draft, draft.post(EntryKind.DEDUCT, lines, request=operation))


def place_hold(state: State, operation: PlaceHold, now: datetime) -> Accepted | Refused:
    """Dr available — Cr held, one line per lot.

    refuses   ASSET_NOT_FOUND, ACCOUNT_NOT_FOUND, INSUFFICIENT_CREDITS, in that order
    """
    drawn = _draw(state, operation, now)
    if isinstance(drawn, Refused):
        return drawn
    draft, draws = drawn

    hold = Hold(
        number=draft.account.seq + 1,
        amount=operation.amount,
        drawn=draws,
        expires_at=draft.at + (operation.ttl or HOLD_TTL_DEFAULT),
        state=HoldState.OPEN,
        ended_at=None,
    )
    lines = _lines(draws, Code.AVAILABLE, Code.HELD)
    return _accepted(state, draft, draft.post(EntryKind.HOLD, lines, request=operation, hold=hold))


def capture(state: State, operation: Capture, now: datetime) -> Accepted | Refused:
    """Dr held — Cr revenue for what is captured, in the order it was drawn; the rest goes back to its lots.

    refuses   HOLD_NOT_FOUND, HOLD_NOT_ACTIVE, AMOUNT_ABOVE_HOLD, in that order
    """
    found = _open_hold(state, operation, now)
    if isinstance(found, Refused):
        return found
    draft, hold = found
    amount = hold.amount if operation.amount is None else operation.amount
    if amount > hold.amount:
        hold_id = public_id(IdPrefix.HOLD, operation.key, hold.number)
        name = draft.account.name
        return _refused(
            Reason.AMOUNT_ABOVE_HOLD,
            hold_id=hold_id,
            account_id=name.account_id,
            asset=name.asset,
            scale=state.scale,
            held=hold.amount,
            required=amount,
        )

    captured, rest = split(hold.drawn, amount)
    lines = _lines(captured, Code.HELD, Code.REVENUE) + draft.give_back(rest, draft.at)
    ended = replace(hold, state=HoldState.CAPTURED, ended_at=draft.at)
    return _accepted(state, draft, draft.post(EntryKind.CAPTURE, lines, request=operation, hold=ended))


def release(state: State, operation: Release, now: datetime) -> Accepted | Refused:
    """Dr held — Cr available, back to the lots it came from.

    refuses   HOLD_NOT_FOUND, HOLD_NOT_ACTIVE, in that order
    """
    found = _open_hold(state, operation, now)
    if isinstance(found, Refused):
        return found
    draft, hold = found

    lines = draft.give_back(hold.drawn, draft.at)
    ended = replace(hold, state=HoldState.RELEASED, ended_at=draft.at)
    return _accepted(state, draft, draft.post(EntryKind.RELEASE, lines, request=operation, hold=ended))


# Each takes its own kind of operation, which a mapping's type cannot say.
_DECIDERS: MappingProxyType[type[Request], Callable[[State, Any, datetime], Accepted | Refused]] = MappingProxyType(
    {
        OpenAccount: open_account,
        Grant: grant,
        Deduct: deduct,
        PlaceHold: place_hold,
        Capture: capture,
        Release: release,
    }
)


def _accepted(state: State, draft: Draft, entry: Entry) -> Accepted:
    return Accepted(account_name=draft.account.name, scale=state.scale, entry=entry, posting=draft.posting())


def _refused(reason: Reason, **figures: Figure) -> Refused:
    return Refused(reason=reason, figures=figures)


def _account_of(state: State) -> Account:
    if state.account is None:
        raise AssertionError("only an account that is open can be settled")
    return state.account


def _is_known(state: State, operation: Capture | Release) -> bool:
    """False for a hold that is not there and for one of another tenant, which looks the same from outside."""
    account = state.account
    return account is not None and account.name.tenant == operation.tenant and operation.hold in state.holds


def _repeat(state: State, posted: Entry, operation: Request) -> Accepted | Refused:
    """The first answer again, or REQUEST_ID_REUSED if something else was asked for then."""
    asked = operation.fingerprint()
    if posted.kind is operation.kind and posted.fingerprint == asked:
        return Accepted(account_name=_account_of(state).name, scale=state.scale, entry=posted, posting=None)
    fields = fields_that_differ(posted.fingerprint, asked) if posted.kind is operation.kind else ("operation",)
    return _refused(
        Reason.REQUEST_ID_REUSED,
        request_id=operation.request_id,
        entry_id=public_id(IdPrefix.ENTRY, posted.key, posted.seq),
        fields=",".join(fields),
    )


def _refuse_unopened(state: State, name: AccountName) -> Refused:
    if state.asset is None:
        return _refused(Reason.ASSET_NOT_FOUND, asset=name.asset)
    return _refused(Reason.ACCOUNT_NOT_FOUND, account_id=name.account_id, asset=name.asset)


def _standing(state: State, draft: Draft) -> dict[str, Figure]:
    """The figures of a refusal that tell how the account stands."""
    name = draft.account.name
    return {
        "account_id": name.account_id,
        "asset": name.asset,
        "scale": state.scale,
        "available": draft.spendable,
        "pending": draft.pending,
        "held": draft.account.held,
    }


def _draw(state: State, operation: Deduct | PlaceHold, now: datetime) -> tuple[Draft, tuple[Draw, ...]] | Refused:
    """What to take from which lot for the whole of the amount.

    refuses   ASSET_NOT_FOUND, ACCOUNT_NOT_FOUND, INSUFFICIENT_CREDITS, in that order
    """
    if state.account is None:
        return _refuse_unopened(state, operation.account)
    draft = Draft(state, state.account, now)
    draws = burn(draft.open_lots(), operation.amount, draft.at)
    shortfall = operation.amount - sum(draw.amount for draw in draws)
    if shortfall == 0:
        return draft, draws
    figures = {**_standing(state, draft), "required": operation.amount, "shortfall": shortfall}
    if holds := draft.open_holds():
        figures["held_until"] = min(hold.expires_at for hold in holds)
    return Refused(reason=Reason.INSUFFICIENT_CREDITS, figures=figures)


def _open_hold(state: State, operation: Capture | Release, now: datetime) -> tuple[Draft, Hold] | Refused:
    """The hold that the operation names, or HOLD_NOT_ACTIVE if it has ended by now."""
    draft = Draft(state, _account_of(state), now)
    hold = draft.hold(operation.hold)
    if hold is None:
        raise AssertionError("a hold that is not known is refused before")
    if hold.ended_at is None:
        return draft, hold
    return _refused(
        Reason.HOLD_NOT_ACTIVE,
        hold_id=public_id(IdPrefix.HOLD, operation.key, hold.number),
        state=hold.state.value,
        ended_at=hold.ended_at,
    )


def _lines(draws: tuple[Draw, ...], debit: Code, credit: Code) -> list[Line]:
    return [Line(debit=debit, credit=credit, amount=draw.amount, lot=draw.lot) for draw in draws]
