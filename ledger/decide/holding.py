"""Setting credits aside, and what becomes of them."""

from dataclasses import replace
from datetime import datetime, timedelta

from ledger.administration import HoldLot
from ledger.chart import Code
from ledger.decide.charging import due
from ledger.decide.steps import (
    States,
    above_limit,
    accepted,
    burnt,
    covered,
    draft_of,
    insufficient,
    lines_of,
    live_draft,
    overflow,
    refused,
    standing,
)
from ledger.draft import Draft
from ledger.ids import IdPrefix, public_id
from ledger.lots import split
from ledger.model import HOLD_TTL_DEFAULT, AccountStatus, Draw, EntryKind, HeldLots, Hold, HoldState, Line
from ledger.operations import Capture, ExtendHold, IncreaseHold, PlaceHold, Release
from ledger.outcome import Accepted, Reason, Refused, State


def place_hold(states: States, operation: PlaceHold, now: datetime) -> Accepted | Refused:
    """Dr available — Cr held, one line per lot; under an unlimited plan Dr plans — Cr available first.

    No lines for usage that costs nothing.

    refuses   ASSET_NOT_FOUND, ACCOUNT_NOT_FOUND, ACCOUNT_CLOSED, ACCOUNT_FROZEN, PRICE_NOT_FOUND, UNIT_MISMATCH,
              COST_OVERFLOW, INSUFFICIENT_CREDITS, SPEND_LIMIT_REACHED, BALANCE_OVERFLOW, in that order
    """
    state = states[operation.key]
    draft = draft_of(state, operation.account, now, spends=True)
    if isinstance(draft, Refused):
        return draft
    estimate = due(state, draft, operation.amount, operation.usage, draft.at)
    if isinstance(estimate, Refused):
        return estimate
    drawn = _draw(state, draft, estimate.amount, operation.used_for)
    if isinstance(drawn, Refused):
        return drawn
    draws, lines = drawn

    hold = _placed(
        draft,
        operation.ttl or HOLD_TTL_DEFAULT,
        amount=estimate.amount,
        drawn=draws,
        operation=operation.used_for,
        tolerance=operation.tolerance,
        held_lots=operation.held_lots,
    )
    # What is counted is what the capture tells.
    entry = draft.post(
        EntryKind.HOLD, lines, request=operation, hold=hold, operation=hold.operation, charge=estimate.charge
    )
    return accepted(state, draft, entry)


def hold_lot(states: States, operation: HoldLot, now: datetime) -> Accepted | Refused:
    """Dr available — Cr held, for what remains of the lot; no lines if nothing does. It lasts however the lot ends.

    refuses   ACCOUNT_CLOSED
    """
    state = states[operation.key]
    draft = live_draft(state, now)
    if isinstance(draft, Refused):
        return draft
    remaining = draft.lot(operation.lot).remaining
    amount = remaining if operation.amount is None else min(operation.amount, remaining)
    draws = (Draw(lot=operation.lot, amount=amount),) if amount else ()
    hold = _placed(draft, operation.ttl, amount=amount, drawn=draws, lot=operation.lot)
    lines = lines_of(draws, Code.AVAILABLE, Code.HELD)
    return accepted(state, draft, draft.post(EntryKind.HOLD, lines, request=operation, hold=hold))


def _placed(
    draft: Draft,
    ttl: timedelta,
    *,
    amount: int,
    drawn: tuple[Draw, ...],
    lot: int | None = None,
    operation: str = "",
    tolerance: int = 0,
    held_lots: HeldLots = HeldLots.HONOUR,
) -> Hold:
    """A hold that the next entry places."""
    expires_at = draft.at + ttl
    return Hold(
        number=draft.account.seq + 1,
        operation=operation,
        lot=lot,
        amount=amount,
        captured=0,
        tolerance=tolerance,
        drawn=drawn,
        held_lots=held_lots,
        placed_at=draft.at,
        expires_at=expires_at,
        due_at=expires_at,
        state=HoldState.OPEN,
        ended_at=None,
    )


def increase_hold(states: States, operation: IncreaseHold, now: datetime) -> Accepted | Refused:
    """Dr available — Cr held for the amount, as when the hold was placed.

    refuses   ACCOUNT_CLOSED, ACCOUNT_FROZEN, HOLD_NOT_ACTIVE, INSUFFICIENT_CREDITS, SPEND_LIMIT_REACHED,
              BALANCE_OVERFLOW, in that order
    """
    state = states[operation.key]
    found = _open_hold(state, operation, now, spends=True)
    if isinstance(found, Refused):
        return found
    draft, hold = found
    drawn = _draw(state, draft, operation.amount, hold.operation)
    if isinstance(drawn, Refused):
        return drawn
    if too_much := overflow(state, draft, operation.amount, onto=hold.amount):
        return too_much
    draws, lines = drawn

    more = replace(hold, amount=hold.amount + operation.amount, drawn=hold.drawn + draws)
    entry = draft.post(EntryKind.INCREASE_HOLD, lines, request=operation, hold=more, operation=hold.operation)
    return accepted(state, draft, entry)


def extend_hold(states: States, operation: ExtendHold, now: datetime) -> Accepted | Refused:
    """No lines; the hold lasts until `ttl` from now, unless it lasts longer already.

    refuses   ACCOUNT_CLOSED, HOLD_NOT_ACTIVE, in that order
    """
    state = states[operation.key]
    found = _open_hold(state, operation, now)
    if isinstance(found, Refused):
        return found
    draft, hold = found

    longer = replace(hold, expires_at=max(hold.expires_at, draft.at + operation.ttl))
    entry = draft.post(EntryKind.EXTEND_HOLD, request=operation, hold=longer, operation=hold.operation)
    return accepted(state, draft, entry)


def capture(states: States, operation: Capture, now: datetime) -> Accepted | Refused:
    """Dr held — Cr revenue for what is captured, in the order it was drawn; beyond the hold Dr available — Cr revenue.

    If it is final, the rest goes back to its lots: Dr held — Cr available.

    refuses   ACCOUNT_CLOSED, HOLD_NOT_ACTIVE, PRICE_NOT_FOUND, UNIT_MISMATCH, COST_OVERFLOW, AMOUNT_ABOVE_HOLD, then,
              for what is beyond the hold, ACCOUNT_FROZEN, INSUFFICIENT_CREDITS, SPEND_LIMIT_REACHED, BALANCE_OVERFLOW,
              in that order
    """
    state = states[operation.key]
    found = _open_hold(state, operation, now)
    if isinstance(found, Refused):
        return found
    draft, hold = found
    asked = hold.held if operation.amount is None else operation.amount
    found_due = due(state, draft, asked, operation.usage, hold.placed_at)
    if isinstance(found_due, Refused):
        return found_due
    amount, charge, counters = found_due
    beyond = max(amount - hold.held, 0)
    if beyond > hold.tolerance:
        return _above_hold(state, draft, hold, amount)
    extra = _beyond(state, draft, hold, beyond)
    if isinstance(extra, Refused):
        return extra
    if too_much := overflow(state, draft, amount, onto=hold.captured):
        return too_much

    captured, rest = split(hold.drawn, amount)
    lines = lines_of(captured, Code.HELD, Code.REVENUE) + extra
    after = replace(hold, captured=hold.captured + amount, tolerance=hold.tolerance - beyond, drawn=rest)
    if operation.final:
        lines += draft.give_back(rest, draft.at)
        after = replace(after, state=HoldState.CAPTURED, drawn=(), ended_at=draft.at)
    entry = draft.post(EntryKind.CAPTURE, lines, request=operation, hold=after, operation=hold.operation, charge=charge)
    if counters:
        draft.count_usage(entry, counters)
    return accepted(state, draft, entry)


def release(states: States, operation: Release, now: datetime) -> Accepted | Refused:
    """Dr held — Cr available, back to the lots it came from.

    refuses   ACCOUNT_CLOSED, HOLD_NOT_ACTIVE, in that order
    """
    state = states[operation.key]
    found = _open_hold(state, operation, now)
    if isinstance(found, Refused):
        return found
    draft, hold = found

    lines = draft.give_back(hold.drawn, draft.at)
    ended = replace(hold, state=HoldState.RELEASED, drawn=(), ended_at=draft.at)
    entry = draft.post(EntryKind.RELEASE, lines, request=operation, hold=ended, operation=hold.operation)
    return accepted(state, draft, entry)


def _draw(state: State, draft: Draft, amount: int, operation: str) -> tuple[tuple[Draw, ...], list[Line]] | Refused:
    """What to set aside, and the lines that do.

    refuses   INSUFFICIENT_CREDITS, SPEND_LIMIT_REACHED, BALANCE_OVERFLOW, in that order
    """
    if amount == 0:
        return (), []
    unlimited = draft.account.terms.unlimited
    draws = (Draw(lot=None, amount=amount),) if unlimited else burnt(draft, amount, operation)
    found = sum(draw.amount for draw in draws)
    if found < amount:
        return insufficient(state, draft, amount, found, operation)
    if above := above_limit(state, draft, amount, operation):
        return above
    if not unlimited:
        return draws, lines_of(draws, Code.AVAILABLE, Code.HELD)
    return overflow(state, draft, amount) or (draws, covered(amount, Code.HELD))


def _beyond(state: State, draft: Draft, hold: Hold, amount: int) -> list[Line] | Refused:
    """The lines for what is captured beyond the hold.

    refuses   ACCOUNT_FROZEN, INSUFFICIENT_CREDITS, SPEND_LIMIT_REACHED, in that order
    """
    if amount == 0:
        return []
    if draft.account.status is AccountStatus.FROZEN:
        name = draft.account.name
        return refused(Reason.ACCOUNT_FROZEN, account_id=name.account_id, asset=name.asset)
    unlimited = draft.account.terms.unlimited
    draws = () if unlimited else burnt(draft, amount, hold.operation)
    found = amount if unlimited else sum(draw.amount for draw in draws)
    if found < amount:
        return insufficient(state, draft, amount, found, hold.operation)
    if above := above_limit(state, draft, amount, hold.operation):
        return above
    return covered(amount, Code.REVENUE) if unlimited else lines_of(draws, Code.AVAILABLE, Code.REVENUE)


def _above_hold(state: State, draft: Draft, hold: Hold, amount: int) -> Refused:
    figures = standing(state, draft)
    return refused(
        Reason.AMOUNT_ABOVE_HOLD,
        hold_id=public_id(IdPrefix.HOLD, draft.account.name.key, hold.number),
        account_id=figures["account_id"],
        asset=figures["asset"],
        scale=state.scale,
        held=hold.held,
        capturable=hold.held + hold.tolerance,
        required=amount,
    )


def _open_hold(
    state: State, operation: Capture | Release | IncreaseHold | ExtendHold, now: datetime, *, spends: bool = False
) -> tuple[Draft, Hold] | Refused:
    """The hold that the operation names.

    refuses   ACCOUNT_CLOSED, ACCOUNT_FROZEN, HOLD_NOT_ACTIVE, in that order
    """
    draft = live_draft(state, now, spends=spends)
    if isinstance(draft, Refused):
        return draft
    hold = draft.hold(operation.hold)
    if hold is None:
        raise AssertionError("a hold that is not known is refused before")
    if hold.ended_at is None:
        return draft, hold
    return refused(
        Reason.HOLD_NOT_ACTIVE,
        hold_id=public_id(IdPrefix.HOLD, operation.key, hold.number),
        state=hold.state.value,
        ended_at=hold.ended_at,
    )
