"""How scenarios are shown the ledger's values: outcomes, entries, lots, holds."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ledger import (
    Accepted,
    Account,
    AccountStatus,
    Balance,
    Checked,
    Code,
    Entry,
    EntryKind,
    Explanation,
    FoundAccount,
    Hold,
    Lot,
    MalformedError,
    Reason,
    Refused,
)
from tests.asked import Answer, ShownHold, ShownLot, Standing, Written, WrittenLine

# What an answer says of its own kind of change.
FIGURES: Mapping[EntryKind, Callable[[Entry], dict[str, Any]]] = {
    EntryKind.GRANT: lambda entry: {
        "expires_at": entry.made[0].terms.expires_at or "never",
        "repaid": entry.moved(Code.AVAILABLE, Code.OWED),
    },
    EntryKind.DEDUCT: lambda entry: {
        "deducted": entry.used,
        "became_owed": entry.moved(Code.OWED, Code.REVENUE),
    },
    EntryKind.HOLD: lambda entry: {"expires_at": entry.hold_expires_at},
    EntryKind.EXTEND_HOLD: lambda entry: {"expires_at": entry.hold_expires_at},
    EntryKind.INCREASE_HOLD: lambda entry: {"left": entry.hold_held},
    EntryKind.CAPTURE: lambda entry: {
        "captured": entry.used,
        "released": entry.moved(Code.HELD, Code.AVAILABLE),
        "left": entry.hold_held,
    },
    EntryKind.RELEASE: lambda entry: {"released": entry.moved(Code.HELD, Code.AVAILABLE)},
    EntryKind.REFUND: lambda entry: {
        "refunded": entry.refunded,
        "lapsed": entry.moved(Code.AVAILABLE, Code.BREAKAGE),
        "repaid": entry.moved(Code.REVENUE, Code.OWED),
    },
    EntryKind.REVOKE: lambda entry: {
        "revoked": sum(line.amount for line in entry.lines),
        "became_owed": sum(line.amount for line in entry.lines if line.debit is Code.OWED),
    },
    EntryKind.ADJUST: lambda entry: {"repaid": entry.moved(Code.AVAILABLE, Code.OWED)},
    EntryKind.WRITE_OFF: lambda entry: {"written_off": entry.moved(Code.ADJUSTMENTS, Code.OWED)},
    EntryKind.MERGE_OUT: lambda entry: {
        "moved": entry.moved(Code.AVAILABLE, Code.TRANSFERS),
        "debt_moved": entry.moved(Code.TRANSFERS, Code.OWED),
    },
}


def malformed(error: MalformedError, within: str = "") -> Answer:
    return Answer(outcome="INVALID_FIELD", figures={"field": f"{within}{error.violations[0].field}"})


def refused(outcome: Refused) -> Answer:
    return Answer(outcome=outcome.reason.name, figures=dict(outcome.figures))


def changed(outcome: Accepted | Refused) -> Answer:
    """What became of a change."""
    if isinstance(outcome, Refused):
        return refused(outcome)
    entry = outcome.entry
    return Answer(
        outcome="replayed" if outcome.replayed else "ok",
        figures={"entry": entry.seq, "scale": outcome.scale, **FIGURES.get(entry.kind, lambda _: {})(entry)},
        number=entry.seq,
        made=tuple(lot.number for lot in entry.made),
        standing=standing_after(entry),
        entries=(entry_shown(entry),),
    )


def account_figures(account: Account, reason: str) -> dict[str, Any]:
    """What was agreed with a customer.

    reason   why the account was last frozen
    """
    terms = account.terms
    return {
        "status": account.status.value,
        "reason": reason if account.status is AccountStatus.FROZEN else "none",
        "overdraft": terms.overdraft_limit,
        "unlimited": "yes" if terms.unlimited else "no",
        "time_zone": terms.time_zone,
        **{f"account.{key}": said for key, said in terms.metadata.items()},
    }


def balance_shown(balance: Balance) -> Answer:
    figures = {"scale": balance.scale, **({} if balance.expiring is None else {"expiring": balance.expiring})}
    standing = Standing(balance.available, balance.held, balance.owed, balance.pending)
    return Answer(outcome="ok", figures=figures, standing=standing)


def check_shown(checked: Checked) -> Answer:
    figures = {
        "allowed": "yes" if checked.allowed else "no",
        "spendable": checked.available,
        "shortfall": checked.shortfall,
        "reason": checked.refusal.reason.name if checked.refusal else "none",
    }
    return replace(balance_shown(checked.balance), figures=figures)


def found_account(found: FoundAccount) -> Answer:
    return replace(
        balance_shown(found.balance),
        figures=account_figures(found.account, found.frozen_reason),
        limits=tuple((use.limit.name, use.used, use.limit.amount) for use in found.limits),
    )


def explanation_shown(found: Explanation) -> Answer:
    moved = ((one.before, one.after, one.rule) for one in found.moved)
    return Answer(
        outcome="ok",
        moved=tuple((lot.number, lot.remaining, after.remaining, rule or "last") for lot, after, rule in moved),
        passed=tuple((one.lot.number, one.why.value) for one in found.passed),
        limits=tuple((limit.name, limit.used, limit.amount) for limit in found.limits),
    )


def lot_shown(lot: Lot) -> ShownLot:
    terms = lot.terms
    figures = {
        "remaining": lot.remaining,
        "held": lot.held,
        "granted": lot.granted,
        "spent": lot.spent,
        "reclaimed": lot.reclaimed,
        "source": terms.source.value,
        "priority": terms.priority,
        "effective_at": terms.effective_at,
        "expires_at": terms.expires_at or "never",
        "cost": f"{terms.cost.minor_units}{terms.cost.currency}" if terms.cost else "none",
        "scope": ",".join(terms.scope) or "all",
    }
    return ShownLot(lot.number, lot.remaining, lot.held, terms.expires_at, figures)


def hold_shown(hold: Hold) -> ShownHold:
    return ShownHold(hold.number, hold.held, hold.captured, hold.expires_at, hold.state.value)


def standing_after(entry: Entry) -> Standing:
    return Standing(entry.available - entry.pending, entry.held, entry.owed, entry.pending)


def entry_shown(entry: Entry, *, lines: bool = True) -> Written:
    return Written(
        number=entry.seq,
        kind=entry.kind.value,
        is_written=entry.recorded_at is not None,
        effective_at=entry.effective_at,
        standing=standing_after(entry),
        lines=tuple(
            WrittenLine(line.debit.value, line.credit.value, line.amount, line.lot) for line in entry.lines if lines
        ),
        made=tuple(lot.number for lot in entry.made),
        peer=entry.peer[1] if entry.peer else None,
    )


def found_entry(entry: Written | None) -> Answer:
    if entry is None:
        return Answer(outcome=Reason.ENTRY_NOT_FOUND.name)
    figures = {"kind": entry.kind, "at": entry.effective_at, "written": "yes" if entry.is_written else "no"}
    return Answer(outcome="ok", figures=figures, number=entry.number, entries=(entry,))
