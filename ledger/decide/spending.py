"""Granting credits and spending them at once."""

from datetime import datetime

from ledger.chart import SOURCE_RULES, Code
from ledger.decide.steps import (
    States,
    above_limit,
    accepted,
    burnt,
    covered,
    draft_of,
    insufficient,
    limits_on,
    lines_of,
    overdraft_room,
    overflow,
    refused,
)
from ledger.draft import Draft
from ledger.model import EntryKind, Line, LotTerms, MadeLot
from ledger.operations import Deduct, DeductMode, Grant
from ledger.outcome import Accepted, Reason, Refused, State


def grant(states: States, operation: Grant, now: datetime) -> Accepted | Refused:
    """Dr payments, promotions or adjustments — Cr available, as one new lot; what is owed is repaid out of it.

    refuses   ASSET_NOT_FOUND, ACCOUNT_NOT_FOUND, ACCOUNT_CLOSED, EXPIRY_IN_PAST, BALANCE_OVERFLOW, in that order
    """
    state = states[operation.key]
    draft = draft_of(state, operation.account, now)
    if isinstance(draft, Refused):
        return draft
    effective_at, expires_at = operation.life(draft.at)
    if expires_at is not None and expires_at <= draft.at:
        return refused(Reason.EXPIRY_IN_PAST, expires_at=expires_at, now=draft.at)
    if too_much := overflow(state, draft, operation.amount):
        return too_much

    rule = SOURCE_RULES[operation.source]
    terms = LotTerms(
        source=operation.source,
        priority=rule.priority if operation.priority is None else operation.priority,
        effective_at=effective_at,
        expires_at=expires_at,
        cost=operation.cost,
        scope=operation.scope,
    )
    lines, made = granted(state, draft, terms, operation.amount)
    return accepted(state, draft, draft.post(EntryKind.GRANT, lines, request=operation, made=(made,)))


def granted(state: State, draft: Draft, terms: LotTerms, amount: int) -> tuple[list[Line], MadeLot]:
    """The lines of a grant and the lot it makes. What is owed is repaid first, if the lot can pay for anything now."""
    made = MadeLot(number=draft.account.lots + 1, terms=terms, granted=amount)
    debit = SOURCE_RULES[terms.source].debit
    lines = [Line(debit=debit, credit=Code.AVAILABLE, amount=amount, lot=made.number)]
    repays = debit is not Code.PROMOTIONS or (state.asset is not None and state.asset.policy.free_credits_repay_debt)
    repaid = min(draft.account.owed, amount)
    if repays and repaid and not terms.scope and terms.effective_at <= draft.at:
        lines.append(Line(debit=Code.AVAILABLE, credit=Code.OWED, amount=repaid, lot=made.number))
    return lines, made


def deduct(states: States, operation: Deduct, now: datetime) -> Accepted | Refused:
    """Dr available — Cr revenue, one line per lot burnt; what is not there: Dr owed — Cr revenue.

    Under an unlimited plan: Dr plans — Cr available, Dr available — Cr revenue.

    refuses   ASSET_NOT_FOUND, ACCOUNT_NOT_FOUND, ACCOUNT_CLOSED, ACCOUNT_FROZEN, INSUFFICIENT_CREDITS,
              SPEND_LIMIT_REACHED, BALANCE_OVERFLOW, in that order
    """
    state = states[operation.key]
    draft = draft_of(state, operation.account, now, spends=True)
    if isinstance(draft, Refused):
        return draft
    amount, mode, terms = operation.amount, operation.mode, draft.account.terms
    draws = () if terms.unlimited else burnt(draft, amount, operation.operation)
    found = amount if terms.unlimited else sum(draw.amount for draw in draws)
    if mode is DeductMode.CLAMP:
        rooms = [room for room, _ in limits_on(draft, operation.operation)]
        amount = min(amount, found + overdraft_room(draft), *rooms)
        draws = () if terms.unlimited else burnt(draft, amount, operation.operation)
        found = min(found, amount)
    owed = amount - found
    if mode is DeductMode.AUTHORIZE:
        if owed > overdraft_room(draft):
            room = overdraft_room(draft)
            return insufficient(state, draft, amount, found, operation.operation, overdraft=room)
        if above := above_limit(state, draft, amount, operation.operation):
            return above
    if owed and (too_much := overflow(state, draft, owed, onto=draft.account.owed)):
        return too_much

    lines = (
        covered(amount, Code.REVENUE) if terms.unlimited and amount else lines_of(draws, Code.AVAILABLE, Code.REVENUE)
    )
    if owed:
        lines.append(Line(debit=Code.OWED, credit=Code.REVENUE, amount=owed, lot=None))
    entry = draft.post(EntryKind.DEDUCT, lines, request=operation, operation=operation.operation)
    return accepted(state, draft, entry)
