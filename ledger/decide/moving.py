"""Moving credits between two customers. Both sides are written together; `transfers` is zero before and after."""

from dataclasses import replace
from datetime import datetime

from ledger.administration import Merge, Reclaim, SpentPart
from ledger.chart import SOURCE_RULES, Code
from ledger.decide.steps import (
    States,
    above_revocable,
    accepted,
    burnt,
    draft_of,
    insufficient,
    lines_of,
    live_draft,
    overflow,
    refused,
    standing,
)
from ledger.draft import Draft
from ledger.ids import AccountKey
from ledger.model import AccountStatus, Draw, Entry, EntryKind, Line, MadeLot, Money
from ledger.money import cost_reclaimed
from ledger.operations import Transfer
from ledger.outcome import Accepted, Reason, Refused, State


def transfer(states: States, operation: Transfer, now: datetime) -> Accepted | Refused:
    """Sender: Dr available — Cr transfers, in burn order. Receiver: Dr transfers — Cr available, one new lot per lot.

    refuses   of the sender ASSET_NOT_FOUND, ACCOUNT_NOT_FOUND, ACCOUNT_CLOSED, ACCOUNT_FROZEN; of the receiver
              ACCOUNT_NOT_FOUND, ACCOUNT_CLOSED; INSUFFICIENT_CREDITS; of the receiver BALANCE_OVERFLOW; in that order
    """
    state, other = states[operation.key], states[operation.to.key]
    at = _instant_of_both(state, other, now)
    sender = draft_of(state, operation.account, now, spends=True, not_before=at)
    if isinstance(sender, Refused):
        return sender
    receiver = draft_of(other, operation.to, now, not_before=at)
    if isinstance(receiver, Refused):
        return receiver
    draws = burnt(sender, operation.amount, None)
    found = sum(draw.amount for draw in draws)
    if found < operation.amount:
        return insufficient(state, sender, operation.amount, found, None)
    if too_much := overflow(other, receiver, operation.amount):
        return too_much

    out = sender.post(
        EntryKind.TRANSFER_OUT,
        lines_of(draws, Code.AVAILABLE, Code.TRANSFERS),
        request=operation,
        peer=(operation.to.key, receiver.account.seq + 1),
    )
    made = _moved(sender, receiver, out)
    receiver.post(EntryKind.TRANSFER_IN, _received(made), memo=operation.memo, made=made, peer=_place(out))
    return accepted(state, sender, out, receiver)


def merge(states: States, operation: Merge, now: datetime) -> Accepted | Refused:
    """As a transfer of all there is, not effective yet or not, and of the debt; the first account is closed.

    refuses   of the first ASSET_NOT_FOUND, ACCOUNT_NOT_FOUND, ACCOUNT_CLOSED, ACCOUNT_FROZEN; of the second
              ACCOUNT_NOT_FOUND, ACCOUNT_CLOSED; of the first ACCOUNT_HAS_HOLDS; of the second BALANCE_OVERFLOW; in that
              order
    """
    state, other = states[operation.key], states[operation.into.key]
    at = _instant_of_both(state, other, now)
    lead = draft_of(state, operation.account, now, spends=True, opens=False, not_before=at)
    if isinstance(lead, Refused):
        return lead
    into = draft_of(other, operation.into, now, not_before=at)
    if isinstance(into, Refused):
        return into
    if holds := lead.open_holds():
        held_until = min(hold.expires_at for hold in holds)
        return refused(Reason.ACCOUNT_HAS_HOLDS, **standing(state, lead), held_until=held_until)
    owed = lead.account.owed
    if too_much := overflow(other, into, lead.account.available) or overflow(other, into, owed, onto=into.account.owed):
        return too_much

    lots = sorted((lot for lot in lead.open_lots() if lot.remaining), key=lambda lot: lot.number)
    draws = tuple(Draw(lot=lot.number, amount=lot.remaining) for lot in lots)
    out = lead.post(
        EntryKind.MERGE_OUT,
        [*lines_of(draws, Code.AVAILABLE, Code.TRANSFERS), *_debt(Code.TRANSFERS, Code.OWED, owed)],
        request=operation,
        peer=(operation.into.key, into.account.seq + 1),
        status=AccountStatus.CLOSED,
    )
    made = _moved(lead, into, out)
    lines = [*_received(made), *_debt(Code.OWED, Code.TRANSFERS, owed)]
    into.post(EntryKind.MERGE_IN, lines, memo=operation.memo, made=made, peer=_place(out))
    return accepted(state, lead, out, into)


def reclaim(states: States, operation: Reclaim, now: datetime) -> Accepted | Refused:
    """Merged account: Dr owed — Cr what the grant debited, Dr transfers — Cr owed. The other: Dr owed — Cr transfers.

    What is to be written off concerns the merged account alone: Dr adjustments — Cr owed instead. Either way nothing is
    left in that, which stays closed.

    refuses   AMOUNT_ABOVE_REVOCABLE; of the other ACCOUNT_CLOSED, BALANCE_OVERFLOW; in that order
    """
    state, other = states[operation.key], states[operation.into.key]
    if state.account is None or state.account.status is not AccountStatus.CLOSED:
        raise AssertionError(f"{operation} is for an account that was merged")
    at = _instant_of_both(state, other, now)
    lead = Draft(state, state.account, now, not_before=at)
    lot, amount = lead.lot(operation.lot), operation.amount
    revocable = max(lot.spent - lot.reclaimed - operation.moved, 0)
    if amount > revocable:
        return above_revocable(state, lead, lot, revocable, amount)
    cost = cost_reclaimed(lot, amount, operation.moved, operation.moved_cost)
    credit = SOURCE_RULES[lot.terms.source].debit
    line = Line(debit=Code.OWED, credit=credit, amount=amount, lot=lot.number, cost=cost)
    if operation.spent is SpentPart.WRITE_OFF:
        lines = [line, *_debt(Code.ADJUSTMENTS, Code.OWED, amount)]
        return accepted(state, lead, lead.post(EntryKind.REVOKE, lines, request=operation, revokes=lot.number))
    into = live_draft(other, now, not_before=at)
    if isinstance(into, Refused):
        return into
    if too_much := overflow(other, into, amount, onto=into.account.owed):
        return too_much

    out = lead.post(
        EntryKind.REVOKE,
        [line, *_debt(Code.TRANSFERS, Code.OWED, amount)],
        request=operation,
        revokes=lot.number,
        peer=(operation.into.key, into.account.seq + 1),
    )
    into.post(EntryKind.MERGE_IN, _debt(Code.OWED, Code.TRANSFERS, amount), memo=operation.memo, peer=_place(out))
    return accepted(state, lead, out, into)


def _instant_of_both(one: State, other: State, now: datetime) -> datetime:
    """When a movement takes effect: at one instant on both sides, so that no lot arrives that has run out there."""
    return max(now, *(state.account.as_of if state.account is not None else now for state in (one, other)))


def _moved(source: Draft, target: Draft, out: Entry) -> tuple[MadeLot, ...]:
    """The lots that the target gets: each on the terms of the one it comes from, for what it took of the cost."""
    made: list[MadeLot] = []
    for line in out.lines:
        if line.lot is None:
            continue
        terms = source.lot(line.lot).terms
        if terms.cost is not None:
            terms = replace(terms, cost=line.cost or Money(minor_units=0, currency=terms.cost.currency))
        made.append(MadeLot(number=target.account.lots + len(made) + 1, terms=terms, granted=line.amount))
    return tuple(made)


def _received(made: tuple[MadeLot, ...]) -> list[Line]:
    return [Line(debit=Code.TRANSFERS, credit=Code.AVAILABLE, amount=lot.granted, lot=lot.number) for lot in made]


def _debt(debit: Code, credit: Code, owed: int) -> list[Line]:
    return [Line(debit=debit, credit=credit, amount=owed, lot=None)] if owed else []


def _place(entry: Entry) -> tuple[AccountKey, int]:
    return entry.key, entry.seq
