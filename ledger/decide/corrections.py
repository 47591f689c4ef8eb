"""Taking back what was done: refunds, revocations, adjustments, write-offs."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from ledger.administration import Adjust, Direction, Revoke, RollOver, SpentPart, WriteOff
from ledger.chart import SOURCE_RULES, Code, Source
from ledger.decide.spending import granted
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
from ledger.ids import IdPrefix, public_id
from ledger.lots import has_run_out
from ledger.model import Entry, EntryKind, Line, Lot, LotTerms, MadeLot, Money
from ledger.money import cost_of_part, cost_rolled_over
from ledger.operations import ExpiredLots, Refund
from ledger.outcome import Accepted, Reason, Refused

_REFUNDABLE = frozenset({EntryKind.DEDUCT, EntryKind.CAPTURE})


def refund(states: States, operation: Refund, now: datetime) -> Accepted | Refused:
    """Dr revenue — Cr available, back to the lots that were burnt, last burnt first.

    What was owed for it: Dr revenue — Cr owed. What a plan covered: Dr revenue — Cr available, Dr available — Cr plans.

    refuses   ACCOUNT_CLOSED, ENTRY_NOT_REFUNDABLE, AMOUNT_ABOVE_REFUNDABLE, BALANCE_OVERFLOW, in that order
    """
    state = states[operation.key]
    draft = live_draft(state, now)
    if isinstance(draft, Refused):
        return draft
    used = state.used[operation.entry]
    entry_id = public_id(IdPrefix.ENTRY, used.key, used.seq)
    if used.kind not in _REFUNDABLE:
        return refused(Reason.ENTRY_NOT_REFUNDABLE, entry_id=entry_id, kind=used.kind.value)
    refundable = used.used - state.refunded.get(used.seq, 0)
    amount = refundable if operation.amount is None else operation.amount
    if amount > refundable or refundable == 0:
        name = draft.account.name
        return refused(
            Reason.AMOUNT_ABOVE_REFUNDABLE,
            entry_id=entry_id,
            account_id=name.account_id,
            asset=name.asset,
            scale=state.scale,
            refundable=refundable,
            required=amount,
        )
    if too_much := overflow(state, draft, amount):
        return too_much

    back = _GivenBack(draft, operation)
    for part in _refunds(used, used.used - refundable, amount):
        back.take(part)
    entry = draft.post(
        EntryKind.REFUND,
        back.lines,
        request=operation,
        made=back.made,
        operation=used.operation,
        refunds=used,
        lots_expire_at=back.lots_expire_at,
    )
    return accepted(state, draft, entry)


class _Part(NamedTuple):
    """What is refunded now of a line that made revenue.

    start, stop   of the line's amount, what was refunded before, and what is in all from now on
    """

    line: Line
    start: int
    stop: int


def _refunds(used: Entry, refunded: int, amount: int) -> list[_Part]:
    """What is refunded of which line that made revenue, last first.

    refunded   how much was before
    """
    parts = []
    for line in reversed(used.lines):
        if line.credit is Code.REVENUE:
            start = min(line.amount, refunded)
            taken = min(line.amount - start, amount)
            refunded, amount = refunded - start, amount - taken
            if taken:
                parts.append(_Part(line, start, start + taken))
    return parts


@dataclass(slots=True)
class _GivenBack:
    """What a refund writes, part by part of what it refunds."""

    draft: Draft
    operation: Refund
    lines: list[Line] = field(default_factory=list)
    lots_expire_at: datetime | None = None
    _repaid: int = 0
    # What goes to new lots, in the order of their numbers: by the lot that has run out, None for debt.
    _new: dict[int | None, int] = field(default_factory=dict)
    # What of the cost of a lot that has run out goes to the new one, minor units.
    _cost: dict[int, int] = field(default_factory=dict)
    _reclaimed: dict[int, int] = field(default_factory=dict)

    def take(self, part: _Part) -> None:
        """Gives back to where it came from what one line had used."""
        used, amount = part.line, part.stop - part.start
        if used.debit is Code.OWED:
            repaid = self._repay(amount, None)
            if amount > repaid:
                # The debt has been repaid since, out of credits that nobody can tell from others.
                self._to_new_lot(None, amount - repaid, None)
        elif used.lot is None:
            self._add(Code.REVENUE, Code.AVAILABLE, amount, None)
            self._add(Code.AVAILABLE, Code.PLANS, amount, None)
        else:
            lot = self.draft.lot(used.lot)
            reclaimed = lot.reclaimed - self._reclaimed.get(lot.number, 0)
            repaid = self._repay(min(amount, reclaimed), lot.number)
            self._reclaimed[lot.number] = self._reclaimed.get(lot.number, 0) + repaid
            if amount > repaid:
                self._to_lot(lot, _Part(used, part.start + repaid, part.stop))

    def _to_lot(self, lot: Lot, part: _Part) -> None:
        at, operation, amount = self.draft.at, self.operation, part.stop - part.start
        cost = lot.terms.cost
        back = None if cost is None else replace(cost, minor_units=cost_of_part(*part))
        if has_run_out(lot, at) and operation.expired_lots is ExpiredLots.NEW_LOT:
            self._to_new_lot(lot, amount, back)
            return
        self._add(Code.REVENUE, Code.AVAILABLE, amount, lot.number, back)
        if not has_run_out(lot, at):
            return
        if operation.expired_lots is ExpiredLots.EXTEND:
            self.lots_expire_at = self._expires_at
        else:
            self._add(Code.AVAILABLE, Code.BREAKAGE, amount, lot.number)

    def _repay(self, amount: int, lot: int | None) -> int:
        """Takes back what is owed for it, as far as something still is; returns how much that was."""
        repaid = min(amount, self.draft.account.owed - self._repaid)
        if repaid:
            self._add(Code.REVENUE, Code.OWED, repaid, lot)
            self._repaid += repaid
        return repaid

    @property
    def made(self) -> tuple[MadeLot, ...]:
        """The new lots: one for each that has run out, however often it was burnt, and one for debt."""
        first = self.draft.account.lots + 1
        return tuple(
            MadeLot(
                number=number,
                terms=self._terms(old),
                granted=amount,
                taken_from=old if old in self._cost else None,
            )
            for number, (old, amount) in enumerate(self._new.items(), first)
        )

    def _terms(self, old: int | None) -> LotTerms:
        if old is None:
            return _adjustment(self.draft.at)
        terms = self.draft.lot(old).terms
        cost = None if terms.cost is None else replace(terms.cost, minor_units=self._cost[old])
        return replace(terms, effective_at=self.draft.at, expires_at=self._expires_at, cost=cost)

    @property
    def _expires_at(self) -> datetime | None:
        ttl = self.operation.lot_ttl
        return None if ttl is None else self.draft.at + ttl

    def _to_new_lot(self, lot: Lot | None, amount: int, cost: Money | None) -> None:
        old = None if lot is None else lot.number
        self._new[old] = self._new.get(old, 0) + amount
        number = self.draft.account.lots + 1 + list(self._new).index(old)
        if lot is not None and cost is not None:
            so_far = self._cost.get(lot.number, 0)
            cost = replace(cost, minor_units=min(cost.minor_units, lot.recognised - so_far))
            self._cost[lot.number] = so_far + cost.minor_units
        self._add(Code.REVENUE, Code.AVAILABLE, amount, number, cost)

    def _add(self, debit: Code, credit: Code, amount: int, lot: int | None, cost: Money | None = None) -> None:
        self.lines.append(Line(debit=debit, credit=credit, amount=amount, lot=lot, cost=cost))


def revoke(states: States, operation: Revoke, now: datetime) -> Accepted | Refused:
    """Dr available — Cr what the grant debited, for what remains of the lot; for what is spent Dr owed, or nothing.

    What is to be written off at once: Dr adjustments — Cr owed, too. What open holds have drawn stays with them, and
    can be revoked when it has come back or is spent.

    refuses   ACCOUNT_CLOSED, AMOUNT_ABOVE_REVOCABLE, BALANCE_OVERFLOW, in that order
    """
    state = states[operation.key]
    draft = live_draft(state, now)
    if isinstance(draft, Refused):
        return draft
    lot = draft.lot(operation.lot)
    # Less than nothing of a lot whose reclaimed part was refunded when nothing was owed for it any more.
    revocable = max(lot.remaining + lot.spent - lot.reclaimed, 0)
    amount = revocable if operation.amount is None else operation.amount
    if operation.at_most:
        amount = min(amount, revocable)
    elif amount > revocable or revocable == 0:
        return above_revocable(state, draft, lot, revocable, amount)
    taken = min(amount, lot.remaining)
    owed = 0 if operation.spent is SpentPart.LEAVE else amount - taken
    if owed and (too_much := overflow(state, draft, owed, onto=draft.account.owed)):
        return too_much

    credit = SOURCE_RULES[lot.terms.source].debit
    parts = ((Code.AVAILABLE, taken), (Code.OWED, owed))
    lines = [Line(debit=debit, credit=credit, amount=part, lot=lot.number) for debit, part in parts if part]
    if owed and operation.spent is SpentPart.WRITE_OFF:
        lines.append(Line(debit=Code.ADJUSTMENTS, credit=Code.OWED, amount=owed, lot=None))
    return accepted(state, draft, draft.post(EntryKind.REVOKE, lines, request=operation, revokes=lot.number))


def roll_over(states: States, operation: RollOver, now: datetime) -> Accepted | Refused:
    """Dr breakage — Cr available, as a new lot on the terms of the old one; what is owed is repaid out of it.

    A lot knows neither what of it was revoked instead of running out, nor what rolled over before. That no more rolls
    over than ran out, and only once, is for the caller to see to: sales count what ran out, and name the request after
    the order, so that it has one effect.

    refuses   ACCOUNT_CLOSED, AMOUNT_ABOVE_REVOCABLE for more than may have run out, EXPIRY_IN_PAST, BALANCE_OVERFLOW,
              in that order
    """
    state = states[operation.key]
    draft = live_draft(state, now)
    if isinstance(draft, Refused):
        return draft
    lot, amount = draft.lot(operation.lot), operation.amount
    gone = lot.granted - lot.remaining - lot.held - lot.spent
    if amount > gone:
        return above_revocable(state, draft, lot, gone, amount)
    expires_at = operation.end(draft.at)
    if expires_at is not None and expires_at <= draft.at:
        return refused(Reason.EXPIRY_IN_PAST, expires_at=expires_at, now=draft.at)
    if too_much := overflow(state, draft, amount):
        return too_much

    cost = cost_rolled_over(lot, amount)
    terms = replace(lot.terms, effective_at=draft.at, expires_at=expires_at, cost=cost)
    lines, made = granted(state, draft, terms, amount, debit=Code.BREAKAGE)
    made = replace(made, taken_from=None if cost is None else lot.number)
    return accepted(state, draft, draft.post(EntryKind.ROLL_OVER, lines, request=operation, made=(made,)))


def adjust(states: States, operation: Adjust, now: datetime) -> Accepted | Refused:
    """Up: Dr adjustments — Cr available, as one lot that never runs out. Down: Dr available — Cr adjustments.

    refuses   ASSET_NOT_FOUND, ACCOUNT_NOT_FOUND, ACCOUNT_CLOSED, INSUFFICIENT_CREDITS, BALANCE_OVERFLOW, in that order
    """
    state = states[operation.key]
    draft = draft_of(state, operation.account, now)
    if isinstance(draft, Refused):
        return draft
    if operation.direction is Direction.UP:
        if too_much := overflow(state, draft, operation.amount):
            return too_much
        lines, made = granted(state, draft, _adjustment(draft.at), operation.amount)
        return accepted(state, draft, draft.post(EntryKind.ADJUST, lines, request=operation, made=(made,)))
    draws = burnt(draft, operation.amount, None)
    found = sum(draw.amount for draw in draws)
    if found < operation.amount:
        return insufficient(state, draft, operation.amount, found, None)

    lines = lines_of(draws, Code.AVAILABLE, Code.ADJUSTMENTS)
    return accepted(state, draft, draft.post(EntryKind.ADJUST, lines, request=operation))


def write_off(states: States, operation: WriteOff, now: datetime) -> Accepted | Refused:
    """Dr adjustments — Cr owed.

    refuses   ASSET_NOT_FOUND, ACCOUNT_NOT_FOUND, ACCOUNT_CLOSED, AMOUNT_ABOVE_OWED, in that order
    """
    state = states[operation.key]
    draft = draft_of(state, operation.account, now, opens=False)
    if isinstance(draft, Refused):
        return draft
    owed = draft.account.owed
    amount = owed if operation.amount is None else operation.amount
    if amount > owed or owed == 0:
        return refused(Reason.AMOUNT_ABOVE_OWED, **standing(state, draft), owed=owed, required=amount)

    line = Line(debit=Code.ADJUSTMENTS, credit=Code.OWED, amount=amount, lot=None)
    return accepted(state, draft, draft.post(EntryKind.WRITE_OFF, (line,), request=operation))


def _adjustment(at: datetime) -> LotTerms:
    """The terms of a lot that corrects something."""
    priority = SOURCE_RULES[Source.ADJUSTMENT].priority
    return LotTerms(source=Source.ADJUSTMENT, priority=priority, effective_at=at, expires_at=None, cost=None)
