"""Steps that several operations have in common: find the account, see what can be spent, refuse, accept."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from ledger.chain import genesis
from ledger.chart import SOURCE_RULES, Code
from ledger.draft import Draft
from ledger.ids import AccountKey, IdPrefix, public_id
from ledger.lots import burn, can_burn, may_pay_for
from ledger.model import (
    INT64_MAX,
    Account,
    AccountName,
    AccountStatus,
    Draw,
    Entry,
    EntryKind,
    Line,
    Lot,
    LotTerms,
    MadeLot,
)
from ledger.operations import OpenAccount
from ledger.outcome import Accepted, Figure, Reason, Refused, State, room_frees_at
from ledger.terms import SpendLimit

States = Mapping[AccountKey, State]


def refused(reason: Reason, **figures: Figure) -> Refused:
    """The books say no."""
    return Refused(reason=reason, figures=figures)


def accepted(state: State, draft: Draft, entry: Entry, *others: Draft) -> Accepted:
    """The books say yes.

    entry    the operation's own
    others   of a movement between accounts, the other side
    """
    postings = (draft.posting(), *map(Draft.posting, others))
    return Accepted(account_name=draft.account.name, scale=state.scale, entry=entry, postings=postings)


def draft_of(
    state: State,
    name: AccountName,
    now: datetime,
    *,
    spends: bool = False,
    opens: bool = True,
    not_before: datetime | None = None,
) -> Draft | Refused:
    """A draft of the named account, which is opened with it if the asset's policy says so.

    spends       False for what a frozen account may do
    opens        False for what makes no sense on an account that nobody has touched yet
    not_before   see Draft
    refuses      ASSET_NOT_FOUND, ACCOUNT_NOT_FOUND, ACCOUNT_CLOSED, ACCOUNT_FROZEN, in that order
    """
    if state.account is not None:
        return live_draft(state, now, spends=spends, not_before=not_before)
    if state.asset is None:
        return refused(Reason.ASSET_NOT_FOUND, asset=name.asset)
    if not opens or not state.asset.policy.auto_open:
        return refused(Reason.ACCOUNT_NOT_FOUND, account_id=name.account_id, asset=name.asset)
    return opening(state, name, now, None, not_before=not_before)


def live_draft(
    state: State, now: datetime, *, spends: bool = False, not_before: datetime | None = None
) -> Draft | Refused:
    """A draft of an account that was opened before.

    refuses   ACCOUNT_CLOSED, ACCOUNT_FROZEN, in that order
    """
    if state.account is None:
        raise AssertionError("what names a part of an account that is not there is refused before")
    draft = Draft(state, state.account, now, not_before=not_before)
    if draft.account.status is AccountStatus.CLOSED:
        return refused(Reason.ACCOUNT_CLOSED, **_named(draft))
    if spends and draft.account.status is AccountStatus.FROZEN:
        return refused(Reason.ACCOUNT_FROZEN, **_named(draft))
    return draft


def opening(
    state: State,
    name: AccountName,
    now: datetime,
    request: OpenAccount | None,
    *,
    not_before: datetime | None = None,
) -> Draft:
    """A draft with the account's first entry, which grants what the asset's policy has for a welcome."""
    account = Account(
        name=name,
        available=0,
        held=0,
        owed=0,
        seq=0,
        lots=0,
        head=genesis(name),
        as_of=now,
        status=AccountStatus.OPEN,
    )
    draft = Draft(state, account, now, not_before=not_before)
    welcome = None if state.asset is None else state.asset.policy.welcome
    if welcome is None:
        draft.post(EntryKind.OPEN, request=request)
        return draft
    rule = SOURCE_RULES[welcome.source]
    terms = LotTerms(
        source=welcome.source,
        priority=rule.priority,
        effective_at=draft.at,
        expires_at=None if welcome.ttl is None else draft.at + welcome.ttl,
        cost=None,
    )
    line = Line(debit=rule.debit, credit=Code.AVAILABLE, amount=welcome.amount, lot=1)
    made = MadeLot(number=1, terms=terms, granted=welcome.amount)
    draft.post(EntryKind.OPEN, (line,), request=request, made=(made,))
    return draft


def standing(state: State, draft: Draft) -> dict[str, Figure]:
    """The figures of a refusal that tell how the account stands."""
    return {
        **_named(draft),
        "scale": state.scale,
        "available": draft.spendable,
        "pending": draft.pending,
        "held": draft.account.held,
    }


def burnt(draft: Draft, amount: int, operation: str | None) -> tuple[Draw, ...]:
    """What to take from which lot in burn order, less than `amount` if there is less.

    operation   what it is for; None: for nothing that a lot's scope could forbid
    """
    lots = draft.open_lots()
    if operation is not None:
        lots = [lot for lot in lots if may_pay_for(lot, operation)]
    return burn(lots, amount, draft.at)


def insufficient(
    state: State, draft: Draft, required: int, found: int, operation: str | None, *, overdraft: int = 0
) -> Refused:
    """INSUFFICIENT_CREDITS, with what there is and what may come back.

    overdraft   how much more could have become owed for it
    """
    figures = {**standing(state, draft), "required": required, "shortfall": required - found}
    if operation is not None:
        out_of_scope = [lot for lot in draft.open_lots() if not may_pay_for(lot, operation)]
        if others := sum(lot.remaining for lot in out_of_scope if can_burn(lot, draft.at)):
            figures["out_of_scope"] = others
    if overdraft:
        figures["overdraft"] = overdraft
    if holds := draft.open_holds():
        figures["held_until"] = min(hold.expires_at for hold in holds)
    return Refused(reason=Reason.INSUFFICIENT_CREDITS, figures=figures)


def overdraft_room(draft: Draft) -> int:
    """How much more may become owed, smallest units."""
    return max(draft.account.terms.overdraft_limit - draft.account.owed, 0)


def limits_on(draft: Draft, operation: str) -> list[tuple[int, SpendLimit]]:
    """The spend limits that count an operation, each with the room it has left; that with the least comes first."""
    limits = [limit for limit in draft.account.terms.limits if limit.counts(operation)]
    rooms = ((max(limit.amount - draft.spending(limit).used, 0), limit) for limit in limits)
    return sorted(rooms, key=lambda pair: pair[0])


def above_limit(state: State, draft: Draft, required: int, operation: str) -> Refused | None:
    """SPEND_LIMIT_REACHED if a spend limit has too little room, with when it has more."""
    for room, limit in limits_on(draft, operation):
        if required > room:
            spending = draft.spending(limit)
            figures: dict[str, Figure] = {
                **_named(draft),
                "scale": state.scale,
                "limit": limit.name,
                "limit_amount": limit.amount,
                "used": spending.used,
                "required": required,
            }
            frees_at = room_frees_at(limit, spending, draft.account.terms.time_zone, draft.at)
            # No time frees room for more than the limit ever allows.
            if frees_at is not None and required <= limit.amount:
                figures["frees_at"] = frees_at
            return Refused(reason=Reason.SPEND_LIMIT_REACHED, figures=figures)
    return None


def overflow(state: State, draft: Draft, amount: int, onto: int | None = None) -> Refused | None:
    """BALANCE_OVERFLOW if a sum cannot take so much more.

    onto   the sum; None: what the account has, available and held
    """
    account = draft.account
    if onto is None:
        onto = account.available + account.held
    if onto + amount <= INT64_MAX:
        return None
    return refused(Reason.BALANCE_OVERFLOW, **standing(state, draft), amount=amount, limit=INT64_MAX)


def above_revocable(state: State, draft: Draft, lot: Lot, revocable: int, required: int) -> Refused:
    """AMOUNT_ABOVE_REVOCABLE, with what of the lot can be taken back."""
    name = draft.account.name
    return refused(
        Reason.AMOUNT_ABOVE_REVOCABLE,
        lot_id=public_id(IdPrefix.LOT, name.key, lot.number),
        account_id=name.account_id,
        asset=name.asset,
        scale=state.scale,
        revocable=revocable,
        required=required,
    )


def lines_of(draws: Iterable[Draw], debit: Code, credit: Code) -> list[Line]:
    """One line per draw."""
    return [Line(debit=debit, credit=credit, amount=draw.amount, lot=draw.lot) for draw in draws]


def covered(amount: int, credit: Code) -> list[Line]:
    """The lines of use that a plan covers."""
    return [
        Line(debit=Code.PLANS, credit=Code.AVAILABLE, amount=amount, lot=None),
        Line(debit=Code.AVAILABLE, credit=credit, amount=amount, lot=None),
    ]


def _named(draft: Draft) -> dict[str, Figure]:
    name = draft.account.name
    return {"account_id": name.account_id, "asset": name.asset}
