"""How scenarios are shown the ledger's values: outcomes, entries, lots, holds."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ledger import (
    Accepted,
    Account,
    AccountStatus,
    Balance,
    CardChange,
    Charge,
    Checked,
    Code,
    Entry,
    EntryKind,
    Explanation,
    FoundAccount,
    Hold,
    Lot,
    MalformedError,
    RateCard,
    Reason,
    Refused,
)
from tests.asked import Answer, ShownHold, ShownLot, Standing, Written, WrittenLine


def charge_figures(charge: Charge | None) -> dict[str, Any]:
    """What is said of how an amount was computed."""
    if charge is None:
        return {}
    return {
        "charged": charge.amount,
        "by": f"{charge.card}@{charge.version}",
        "exact": charge.exact,
        "free": sum(part.free for part in charge.parts),
        "discount": "none" if charge.discount is None else f"{charge.discount:f}",
    }


# What an answer says of its own kind of change.
FIGURES: Mapping[EntryKind, Callable[[Entry], dict[str, Any]]] = {
    EntryKind.GRANT: lambda entry: {
        "expires_at": entry.made[0].terms.expires_at or "never",
        "repaid": entry.moved(Code.AVAILABLE, Code.OWED),
    },
    EntryKind.DEDUCT: lambda entry: {
        "deducted": entry.used,
        "became_owed": entry.moved(Code.OWED, Code.REVENUE),
        **charge_figures(entry.charge),
    },
    EntryKind.HOLD: lambda entry: {
        "expires_at": entry.hold_expires_at,
        "left": entry.hold_held,
        **charge_figures(entry.charge),
    },
    EntryKind.EXTEND_HOLD: lambda entry: {"expires_at": entry.hold_expires_at},
    EntryKind.INCREASE_HOLD: lambda entry: {"left": entry.hold_held},
    EntryKind.CAPTURE: lambda entry: {
        "captured": entry.used,
        "released": entry.moved(Code.HELD, Code.AVAILABLE),
        "left": entry.hold_held,
        **charge_figures(entry.charge),
    },
    EntryKind.RELEASE: lambda entry: {"released": entry.moved(Code.HELD, Code.AVAILABLE)},
    EntryKind.REFUND: lambda entry: {
        "refunded": entry.refunded,
        "lapsed": entry.moved(Code.AVAILABLE, Code.BREAKAGE),
        "repaid": entry.moved(Code.REVENUE, Code.OWED),
    },
    EntryKind.REVOKE: lambda entry: {
        "revoked": sum(line.amount for line in entry.lines if line.lot is not None),
        "became_owed": sum(line.amount for line in entry.lines if line.debit is Code.OWED)
        - entry.moved(Code.ADJUSTMENTS, Code.OWED),
    },
    EntryKind.ADJUST: lambda entry: {"repaid": entry.moved(Code.AVAILABLE, Code.OWED)},
    EntryKind.WRITE_OFF: lambda entry: {"written_off": entry.moved(Code.ADJUSTMENTS, Code.OWED)},
    EntryKind.MERGE_OUT: lambda entry: {
        "moved": entry.moved(Code.AVAILABLE, Code.TRANSFERS),
        "debt_moved": entry.moved(Code.TRANSFERS, Code.OWED),
    },
}


REVENUE = (
    *("opening", "sold", "recognised", "expired", "returned", "adjusted", "transferred", "closing"),
    *("credits_granted", "credits_used", "credits_expired"),
)


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
        "amount": checked.amount,
        **charge_figures(checked.charge),
    }
    return replace(balance_shown(checked.balance), figures=figures)


def card_shown(card: RateCard) -> Answer:
    figures = {
        "version": card.version,
        "effective_at": card.effective_at,
        "retired": "yes" if card.retired else "no",
        "fixed": f"{card.fixed:f}",
    }
    return Answer(outcome="ok", figures=figures)


def change_shown(changes: Sequence[CardChange]) -> Answer:
    """What became of the first card, and of how many others."""
    first = changes[0]
    return Answer(
        outcome="ok",
        figures={"action": first.action.value, "version": first.after.version, "others": len(changes) - 1},
    )


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


def sold_as(package: str, currency: str) -> tuple[str, str]:
    """What a law calls none, or free credits, has no name in the report of revenue."""
    if (package, currency) == ("free", "credits"):
        return "", ""
    return package.replace("none", ""), currency


def revenue_shown(rows: Iterable[Any], sold: tuple[str, str]) -> Answer:
    """The figures of the row of what was sold as one thing; all of them are 0 if there is none."""
    found = [row for row in rows if (row.package, row.currency) == sold]
    return Answer(outcome="ok", figures={name: getattr(found[0], name) if found else 0 for name in REVENUE})


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
        "package": terms.package or "none",
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
