"""Taking back what was done: refunds, revocations, adjustments, write-offs."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from ledger.administration import Adjust, Direction, Revoke, SpentPart, WriteOff
from ledger.chart import SOURCE_RULES, Code, Source
from ledger.decide.spending import granted
from ledger.decide.steps import (
    States,
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
from ledger.lots import cost_share, has_run_out
from ledger.model import Entry, EntryKind, Line, Lot, LotTerms, MadeLot
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

    before, now_refunded = _refunds(used, used.used - refundable, amount)
    back = _GivenBack(draft, operation, before)
    for line in now_refunded:
        back.take(line)
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


def _refunds(used: Entry, refunded: int, amount: int) -> tuple[Mapping[int | None, int], list[Line]]:
    """What was refunded before, by lot; and the lines that made revenue, last first, cut to what is refunded now."""
    before: dict[int | None, int] = {}
    lines = []
    for line in reversed(used.lines):
        if line.credit is Code.REVENUE:
            earlier = min(line.amount, refunded)
            taken = min(line.amount - earlier, amount)
            refunded, amount = refunded - earlier, amount - taken
            before[line.lot] = before.get(line.lot, 0) + earlier
            if taken:
                lines.append(replace(line, amount=taken))
    return before, lines


@dataclass(slots=True)
class _GivenBack:
    """What a refund writes, line by line of what it refunds."""

    draft: Draft
    operation: Refund
    _refunded: Mapping[int | None, int]
    lines: list[Line] = field(default_factory=list)
    lots_expire_at: datetime | None = None
    _repaid: int = 0
    # What goes to new lots, in the order of their numbers: by the lot that has run out, None for debt.
    _new: dict[int | None, int] = field(default_factory=dict)
    _reclaimed: dict[int, int] = field(default_factory=dict)

    def take(self, used: Line) -> None:
        """Gives one line back to where it came from."""
        if used.debit is Code.OWED:
            repaid = self._repay(used.amount, None)
            if used.amount > repaid:
                # The debt has been repaid since, out of credits that nobody can tell from others.
                self._to_new_lot(None, used.amount - repaid)
        elif used.lot is None:
            self._add(Code.REVENUE, Code.AVAILABLE, used.amount, None)
            self._add(Code.AVAILABLE, Code.PLANS, used.amount, None)
        else:
            lot = self.draft.lot(used.lot)
            reclaimed = lot.reclaimed - self._reclaimed.get(lot.number, 0)
            repaid = self._repay(min(used.amount, reclaimed), lot.number)
            self._reclaimed[lot.number] = self._reclaimed.get(lot.number, 0) + repaid
            if used.amount > repaid:
                self._to_lot(lot, used.amount - repaid)

    def _to_lot(self, lot: Lot, amount: int) -> None:
        at, operation = self.draft.at, self.operation
        if has_run_out(lot, at) and operation.expired_lots is ExpiredLots.NEW_LOT:
            self._to_new_lot(lot.number, amount)
            return
        self._add(Code.REVENUE, Code.AVAILABLE, amount, lot.number)
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
            MadeLot(number=number, terms=self._terms(old, amount), granted=amount)
            for number, (old, amount) in enumerate(self._new.items(), first)
        )

    def _terms(self, old: int | None, amount: int) -> LotTerms:
        if old is None:
            return _adjustment(self.draft.at)
        lot = self.draft.lot(old)
        cost = cost_share(lot, self._refunded.get(old, 0), amount)
        return replace(lot.terms, effective_at=self.draft.at, expires_at=self._expires_at, cost=cost)

    @property
    def _expires_at(self) -> datetime | None:
        ttl = self.operation.lot_ttl
        return None if ttl is None else self.draft.at + ttl

    def _to_new_lot(self, old: int | None, amount: int) -> None:
        self._new[old] = self._new.get(old, 0) + amount
        number = self.draft.account.lots + 1 + list(self._new).index(old)
        self._add(Code.REVENUE, Code.AVAILABLE, amount, number)

    def _add(self, debit: Code, credit: Code, amount: int, lot: int | None) -> None:
        self.lines.append(Line(debit=debit, credit=credit, amount=amount, lot=lot))


def revoke(states: States, operation: Revoke, now: datetime) -> Accepted | Refused:
    """Dr available — Cr what the grant debited, for what remains of the lot; for what is spent Dr owed, or nothing.

    What open holds have drawn stays with them, and can be revoked when it has come back or is spent.

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
    if amount > revocable or revocable == 0:
        name = draft.account.name
        return refused(
            Reason.AMOUNT_ABOVE_REVOCABLE,
            lot_id=public_id(IdPrefix.LOT, operation.key, lot.number),
            account_id=name.account_id,
            asset=name.asset,
            scale=state.scale,
            revocable=revocable,
            required=amount,
        )
    taken = min(amount, lot.remaining)
    owed = amount - taken if operation.spent is SpentPart.OWE else 0
    if owed and (too_much := overflow(state, draft, owed, onto=draft.account.owed)):
        return too_much

    credit = SOURCE_RULES[lot.terms.source].debit
    parts = ((Code.AVAILABLE, taken), (Code.OWED, owed))
    lines = [Line(debit=debit, credit=credit, amount=part, lot=lot.number) for debit, part in parts if part]
    return accepted(state, draft, draft.post(EntryKind.REVOKE, lines, request=operation, revokes=lot.number))


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
