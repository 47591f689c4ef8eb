"""Granting credits and spending them at once."""

from datetime import datetime

from ledger.chart import SOURCE_RULES, Code
from ledger.decide.charging import due
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

    What was written off and is owed again is owed ahead of that: Dr owed — Cr adjustments. How much was written off is
    for the caller to know.

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
    if operation.revives and (too_much := overflow(state, draft, operation.revives, onto=draft.account.owed)):
        return too_much

    rule = SOURCE_RULES[operation.source]
    terms = LotTerms(
        source=operation.source,
        priority=rule.priority if operation.priority is None else operation.priority,
        effective_at=effective_at,
        expires_at=expires_at,
        cost=operation.cost,
        scope=operation.scope,
        package=operation.package,
    )
    lines, made = granted(state, draft, terms, operation.amount, revives=operation.revives)
    return accepted(state, draft, draft.post(EntryKind.GRANT, lines, request=operation, made=(made,)))


def granted(
    state: State, draft: Draft, terms: LotTerms, amount: int, *, debit: Code | None = None, revives: int = 0
) -> tuple[list[Line], MadeLot]:
    """The lines of a grant and the lot it makes. What is owed is repaid first, if the lot can pay for anything now.

    debit     where the credits come from; None: as the source says
    revives   what is owed again before that
    """
    made = MadeLot(number=draft.account.lots + 1, terms=terms, granted=amount)
    usual = SOURCE_RULES[terms.source].debit
    lines = [Line(debit=debit or usual, credit=Code.AVAILABLE, amount=amount, lot=made.number)]
    if revives:
        lines.append(Line(debit=Code.OWED, credit=Code.ADJUSTMENTS, amount=revives, lot=None))
    repays = usual is not Code.PROMOTIONS or (state.asset is not None and state.asset.policy.free_credits_repay_debt)
    repaid = min(draft.account.owed + revives, amount)
    if repays and repaid and not terms.scope and terms.effective_at <= draft.at:
        lines.append(Line(debit=Code.AVAILABLE, credit=Code.OWED, amount=repaid, lot=made.number))
    return lines, made


def deduct(states: States, operation: Deduct, now: datetime) -> Accepted | Refused:
    """Dr available — Cr revenue, one line per lot burnt; what is not there: Dr owed — Cr revenue.

    Under an unlimited plan: Dr plans — Cr available, Dr available — Cr revenue. No lines for usage that costs nothing.

    refuses   ASSET_NOT_FOUND, ACCOUNT_NOT_FOUND, ACCOUNT_CLOSED, ACCOUNT_FROZEN, PRICE_NOT_FOUND, UNIT_MISMATCH,
              COST_OVERFLOW, INSUFFICIENT_CREDITS, SPEND_LIMIT_REACHED, BALANCE_OVERFLOW, in that order
    """
    state = states[operation.key]
    draft = draft_of(state, operation.account, now, spends=True)
    if isinstance(draft, Refused):
        return draft
    found_due = due(state, draft, operation.amount, operation.usage, draft.at)
    if isinstance(found_due, Refused):
        return found_due
    (amount, charge, counters), used_for = found_due, operation.used_for
    mode, terms = operation.mode, draft.account.terms
    draws = () if terms.unlimited else burnt(draft, amount, used_for)
    found = amount if terms.unlimited else sum([draw.amount for draw in draws])
    if mode is DeductMode.CLAMP:
        rooms = [room for room, _ in limits_on(draft, used_for)]
        amount = min(amount, found + overdraft_room(draft), *rooms)
        draws = () if terms.unlimited else burnt(draft, amount, used_for)
        found = min(found, amount)
    owed = amount - found
    if mode is DeductMode.AUTHORIZE:
        if owed > overdraft_room(draft):
            room = overdraft_room(draft)
            return insufficient(state, draft, amount, found, used_for, overdraft=room)
        if above := above_limit(state, draft, amount, used_for):
            return above
    if owed and (too_much := overflow(state, draft, owed, onto=draft.account.owed)):
        return too_much

    lines = (
        covered(amount, Code.REVENUE) if terms.unlimited and amount else lines_of(draws, Code.AVAILABLE, Code.REVENUE)
    )
    if owed:
        lines.append(Line(debit=Code.OWED, credit=Code.REVENUE, amount=owed, lot=None))
    entry = draft.post(EntryKind.DEDUCT, lines, request=operation, operation=used_for, charge=charge)
    if counters:
        draft.count_usage(entry, counters)
    return accepted(state, draft, entry)
