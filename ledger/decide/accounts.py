"""What becomes of accounts as such. None of these has lines, but for the welcome that an opening may grant."""

from dataclasses import replace
from datetime import datetime

from ledger.administration import Close, Freeze, Unfreeze, UpdateAccount
from ledger.decide.steps import States, accepted, draft_of, opening, refused, standing
from ledger.draft import Draft
from ledger.model import AccountStatus, EntryKind
from ledger.operations import OpenAccount
from ledger.outcome import Accepted, Reason, Refused
from ledger.terms import AccountTerms, SpendLimit


def open_account(states: States, operation: OpenAccount, now: datetime) -> Accepted | Refused:
    """The account's first entry; its lines are those of the welcome grant, if the asset has one.

    refuses   ASSET_NOT_FOUND, ACCOUNT_EXISTS, in that order
    """
    state, name = states[operation.key], operation.account
    if state.asset is None:
        return refused(Reason.ASSET_NOT_FOUND, asset=name.asset)
    if state.account is not None:
        return refused(Reason.ACCOUNT_EXISTS, account_id=name.account_id, asset=name.asset)

    draft = opening(state, name, now, operation)
    return accepted(state, draft, draft.entries[0])


def freeze(states: States, operation: Freeze, now: datetime) -> Accepted | Refused:
    """Until it is unfrozen, the account spends nothing.

    refuses   ASSET_NOT_FOUND, ACCOUNT_NOT_FOUND, ACCOUNT_CLOSED, ACCOUNT_FROZEN, in that order
    """
    state = states[operation.key]
    draft = draft_of(state, operation.account, now, spends=True)
    if isinstance(draft, Refused):
        return draft

    entry = draft.post(EntryKind.FREEZE, request=operation, status=AccountStatus.FROZEN)
    return accepted(state, draft, entry)


def unfreeze(states: States, operation: Unfreeze, now: datetime) -> Accepted | Refused:
    """The account may spend again.

    refuses   ASSET_NOT_FOUND, ACCOUNT_NOT_FOUND, ACCOUNT_CLOSED, ACCOUNT_NOT_FROZEN, in that order
    """
    state, name = states[operation.key], operation.account
    draft = draft_of(state, name, now, opens=False)
    if isinstance(draft, Refused):
        return draft
    if draft.account.status is not AccountStatus.FROZEN:
        return refused(Reason.ACCOUNT_NOT_FROZEN, account_id=name.account_id, asset=name.asset)

    entry = draft.post(EntryKind.UNFREEZE, request=operation, status=AccountStatus.OPEN)
    return accepted(state, draft, entry)


def close(states: States, operation: Close, now: datetime) -> Accepted | Refused:
    """The account's last entry.

    refuses   ASSET_NOT_FOUND, ACCOUNT_NOT_FOUND, ACCOUNT_CLOSED, ACCOUNT_NOT_EMPTY, in that order
    """
    state = states[operation.key]
    draft = draft_of(state, operation.account, now, opens=False)
    if isinstance(draft, Refused):
        return draft
    account, holds = draft.account, draft.open_holds()
    if account.available or account.held or account.owed or holds:
        return refused(Reason.ACCOUNT_NOT_EMPTY, **standing(state, draft), owed=account.owed, holds=len(holds))

    entry = draft.post(EntryKind.CLOSE, request=operation, status=AccountStatus.CLOSED)
    return accepted(state, draft, entry)


def update_account(states: States, operation: UpdateAccount, now: datetime) -> Accepted | Refused:
    """What is agreed with the customer from now on.

    refuses   ASSET_NOT_FOUND, ACCOUNT_NOT_FOUND, ACCOUNT_CLOSED, in that order
    """
    state = states[operation.key]
    draft = draft_of(state, operation.account, now)
    if isinstance(draft, Refused):
        return draft

    before = draft.account.terms
    time_zone = operation.time_zone or before.time_zone
    terms = AccountTerms(
        overdraft_limit=before.overdraft_limit if operation.overdraft_limit is None else operation.overdraft_limit,
        unlimited=before.unlimited if operation.unlimited is None else operation.unlimited,
        time_zone=time_zone,
        limits=_limits(draft, before, time_zone, operation.limits),
        metadata=before.metadata if operation.metadata is None else operation.metadata,
    )
    entry = draft.post(EntryKind.UPDATE, request=operation, terms=terms)
    return accepted(state, draft, entry)


def _limits(
    draft: Draft, before: AccountTerms, time_zone: str, asked: tuple[SpendLimit, ...] | None
) -> tuple[SpendLimit, ...]:
    """The limits from now on. One that differs in its amount alone goes on counting, any other begins anew."""
    known = {replace(limit, amount=0, counted_as=""): limit.counted_as for limit in before.limits}
    if time_zone != before.time_zone:
        known = {limit: counted_as for limit, counted_as in known.items() if limit.length is not None}
    seq = draft.account.seq + 1
    return tuple(
        replace(limit, counted_as=known.get(replace(limit, amount=0, counted_as=""), f"{limit.name}@{seq}"))
        for limit in (before.limits if asked is None else asked)
    )
