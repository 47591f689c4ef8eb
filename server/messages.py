"""What the ledger knows, as messages of the contract."""

from typing import Any

from scrip.v1 import accounts_pb2 as accounts_pb
from scrip.v1 import credit_service_pb2 as credit_pb
from scrip.v1 import ledger_service_pb2 as ledger_pb
from scrip.v1 import pricing_service_pb2 as pricing_pb
from scrip.v1 import types_pb2 as types_pb

from ledger import (
    CHART,
    INT64_MAX,
    NO_MEMO,
    AccountKey,
    AccountName,
    Asset,
    AssetPolicy,
    AssetTrialBalance,
    Balance,
    Checked,
    CurrencyTrialBalance,
    Entry,
    Explanation,
    FoundAccount,
    Hold,
    IdPrefix,
    LimitUse,
    Lot,
    LotTerms,
    Memo,
    Money,
    MovedLot,
    RevenueReport,
    RevenueRow,
    TrialBalanceRow,
    public_id,
)
from server.choices import CODES, HELD_LOTS, KINDS, MONEY_CODES, RULES, SOURCES, STATES, STATUSES, TYPES, WHYS, WINDOWS
from server.errors import told_figures
from server.price_messages import charge_message
from server.times import duration, timestamp


def balance_message(balance: Balance) -> types_pb.Balance:
    """A balance as it was read."""
    return types_pb.Balance(
        account_id=balance.name.account_id,
        asset=balance.name.asset,
        scale=balance.scale,
        available=balance.available,
        held=balance.held,
        owed=balance.owed,
        pending=balance.pending,
        expiring=balance.expiring,
    )


def balance_after(entry: Entry, name: AccountName, scale: int) -> types_pb.Balance:
    """How the account stood after an entry."""
    return types_pb.Balance(
        account_id=name.account_id,
        asset=name.asset,
        scale=scale,
        available=entry.spendable,
        held=entry.held,
        owed=entry.owed,
        pending=entry.pending,
    )


def entry_message(entry: Entry, name: AccountName, scale: int) -> types_pb.Entry:
    """An entry with the lines it was read with."""
    return types_pb.Entry(
        entry_id=public_id(IdPrefix.ENTRY, entry.key, entry.seq),
        seq=entry.seq,
        kind=KINDS.values[entry.kind],
        request_id=entry.request_id or "",
        effective_at=timestamp(entry.effective_at),
        recorded_at=timestamp(entry.recorded_at),
        balance=balance_after(entry, name, scale),
        lines=[
            types_pb.Line(
                debit=CODES.values[line.debit],
                credit=CODES.values[line.credit],
                amount=line.amount,
                lot_id=_id(IdPrefix.LOT, entry.key, line.lot),
                cost=money_message(line.cost),
            )
            for line in entry.lines
        ],
        lots=[_terms_message(entry.key, lot.number, lot.terms, lot.granted) for lot in entry.made],
        hold_id=_id(IdPrefix.HOLD, entry.key, entry.hold),
        hold_expires_at=timestamp(entry.hold_expires_at),
        memo=None if entry.memo is NO_MEMO else _memo_message(entry.memo),
        hash=entry.hash,
        fingerprint=entry.fingerprint,
        operation=entry.operation,
        refunds_entry_id=_id(IdPrefix.ENTRY, entry.key, entry.refunds),
        revokes_lot_id=_id(IdPrefix.LOT, entry.key, entry.revokes),
        lots_expire_at=timestamp(entry.lots_expire_at),
        peer_entry_id="" if entry.peer is None else public_id(IdPrefix.ENTRY, *entry.peer),
        hold_held=entry.hold_held,
        charge=charge_message(entry.charge),
    )


def lot_message(key: AccountKey, lot: Lot) -> types_pb.Lot:
    """A lot as it stands."""
    message = _terms_message(key, lot.number, lot.terms, lot.granted)
    message.remaining, message.held, message.spent = lot.remaining, lot.held, lot.spent
    message.reclaimed = lot.reclaimed
    return message


def hold_message(key: AccountKey, hold: Hold) -> types_pb.Hold:
    """A hold as it stands."""
    return types_pb.Hold(
        hold_id=public_id(IdPrefix.HOLD, key, hold.number),
        operation=hold.operation,
        amount=hold.amount,
        held=hold.held,
        captured=hold.captured,
        tolerance=hold.tolerance,
        held_lots=HELD_LOTS.values[hold.held_lots],
        state=STATES.values[hold.state],
        placed_at=timestamp(hold.placed_at),
        expires_at=timestamp(hold.expires_at),
        ended_at=timestamp(hold.ended_at),
        draws=[types_pb.Draw(lot_id=_id(IdPrefix.LOT, key, draw.lot), amount=draw.amount) for draw in hold.drawn],
    )


def account_message(found: FoundAccount) -> accounts_pb.Account:
    """An account with all that is agreed with the customer."""
    account, terms = found.account, found.account.terms
    return accounts_pb.Account(
        account_id=account.name.account_id,
        asset=account.name.asset,
        scale=found.balance.scale,
        status=STATUSES.values[account.status],
        status_reason=found.frozen_reason,
        overdraft_limit=terms.overdraft_limit,
        unlimited=terms.unlimited,
        time_zone=terms.time_zone,
        limits=[_limit_message(use) for use in found.limits],
        metadata=dict(terms.metadata),
        opened_at=timestamp(found.opened_at),
        balance=balance_message(found.balance),
    )


def check_message(checked: Checked) -> credit_pb.CheckResponse:
    """Whether something may be spent."""
    return credit_pb.CheckResponse(**_checked(checked))


def quote_message(checked: Checked) -> pricing_pb.QuoteForResponse:
    """What usage would cost a customer, and whether it may be spent."""
    return pricing_pb.QuoteForResponse(**_checked(checked))


def explanation_message(found: Explanation) -> ledger_pb.ExplainResponse:
    """Why an entry is as it is."""
    key = found.entry.key
    return ledger_pb.ExplainResponse(
        entry=entry_message(found.entry, found.name, found.scale),
        moved=[_moved_message(key, moved) for moved in found.moved],
        passed=[
            ledger_pb.PassedLot(lot=lot_message(key, passed.lot), why=WHYS.values[passed.why])
            for passed in found.passed
        ],
        limits=[
            ledger_pb.CountedLimit(name=limit.name, limit_amount=limit.amount, used=min(limit.used, INT64_MAX))
            for limit in found.limits
        ],
    )


def asset_message(asset: Asset) -> ledger_pb.Asset:
    """An asset with its settings."""
    return ledger_pb.Asset(asset=asset.asset, scale=asset.scale, policy=_policy_message(asset.policy))


def trial_balance_message(balance: AssetTrialBalance) -> ledger_pb.AssetTrialBalance:
    """The trial balance of one asset."""
    return ledger_pb.AssetTrialBalance(
        asset=balance.asset.asset,
        scale=balance.asset.scale,
        rows=[_row_message(row) for row in balance.rows],
        debits=str(sum(row.debits for row in balance.rows)),
        credits=str(sum(row.credits for row in balance.rows)),
    )


def currency_trial_balance_message(balance: CurrencyTrialBalance) -> ledger_pb.CurrencyTrialBalance:
    """The monetary trial balance of one currency."""
    return ledger_pb.CurrencyTrialBalance(
        currency=balance.currency,
        rows=[
            ledger_pb.MoneyTrialBalanceRow(
                code=MONEY_CODES.values[row.code], debits=str(row.debits), credits=str(row.credits)
            )
            for row in balance.rows
        ],
        debits=str(sum(row.debits for row in balance.rows)),
        credits=str(sum(row.credits for row in balance.rows)),
    )


def revenue_message(report: RevenueReport) -> ledger_pb.RevenueReportResponse:
    """How deferred revenue moved."""
    return ledger_pb.RevenueReportResponse(
        rows=[_revenue_row_message(row) for row in report.rows],
        since=timestamp(report.since),
        until=timestamp(report.until),
    )


def _revenue_row_message(row: RevenueRow) -> ledger_pb.RevenueRow:
    return ledger_pb.RevenueRow(
        package=row.package,
        currency=row.currency,
        opening=str(row.opening),
        sold=str(row.sold),
        recognised=str(row.recognised),
        expired=str(row.expired),
        returned=str(row.returned),
        adjusted=str(row.adjusted),
        transferred=str(row.transferred),
        closing=str(row.closing),
        credits_granted=str(row.credits_granted),
        credits_used=str(row.credits_used),
        credits_expired=str(row.credits_expired),
    )


def _row_message(row: TrialBalanceRow) -> ledger_pb.TrialBalanceRow:
    return ledger_pb.TrialBalanceRow(
        code=CODES.values[row.code],
        type=TYPES.values[CHART[row.code]],
        debits=str(row.debits),
        credits=str(row.credits),
        balance=str(row.balance),
    )


def _moved_message(key: AccountKey, moved: MovedLot) -> ledger_pb.MovedLot:
    return ledger_pb.MovedLot(
        lot=lot_message(key, moved.after),
        amount=moved.line.amount,
        remaining_before=moved.before.remaining,
        held_before=moved.before.held,
        rule=ledger_pb.MovedLot.RULE_UNSPECIFIED if moved.rule is None else RULES.values[moved.rule],
        burnt=moved.burnt,
        next_lot_id=_id(IdPrefix.LOT, key, moved.next_lot),
    )


def _limit_message(use: LimitUse) -> accounts_pb.SpendLimit:
    limit = use.limit
    return accounts_pb.SpendLimit(
        name=limit.name,
        window=WINDOWS.values[limit.window],
        length=duration(limit.length),
        amount=limit.amount,
        operation=limit.operation,
        used=min(use.used, INT64_MAX),
        frees_at=timestamp(use.frees_at),
    )


def _checked(checked: Checked) -> dict[str, Any]:
    """What both answers about what may be spent have."""
    refusal = checked.refusal
    return {
        "amount": checked.amount,
        "charge": charge_message(checked.charge),
        "allowed": checked.allowed,
        "available": checked.available,
        "shortfall": checked.shortfall,
        "reason": "" if refusal is None else refusal.reason.name,
        "figures": {} if refusal is None else told_figures(refusal),
        "balance": balance_message(checked.balance),
    }


def _policy_message(policy: AssetPolicy) -> ledger_pb.AssetPolicy:
    welcome = policy.welcome
    return ledger_pb.AssetPolicy(
        auto_open=policy.auto_open,
        welcome=None
        if welcome is None
        else ledger_pb.Welcome(amount=welcome.amount, source=SOURCES.values[welcome.source], ttl=duration(welcome.ttl)),
        free_credits_repay_debt=policy.free_credits_repay_debt,
        default_card=policy.default_card,
    )


def _terms_message(key: AccountKey, number: int, terms: LotTerms, granted: int) -> types_pb.Lot:
    return types_pb.Lot(
        lot_id=public_id(IdPrefix.LOT, key, number),
        source=SOURCES.values[terms.source],
        priority=terms.priority,
        effective_at=timestamp(terms.effective_at),
        expires_at=timestamp(terms.expires_at),
        cost=money_message(terms.cost),
        granted=granted,
        scope=terms.scope,
        package=terms.package,
    )


def money_message(money: Money | None) -> types_pb.Money | None:
    """Minor units of a currency."""
    return None if money is None else types_pb.Money(minor_units=money.minor_units, currency=money.currency)


def _memo_message(memo: Memo) -> types_pb.Memo:
    return types_pb.Memo(
        description=memo.description, reference=memo.reference, actor=memo.actor, metadata=dict(memo.metadata)
    )


def _id(prefix: IdPrefix, key: AccountKey, number: int | None) -> str:
    return "" if number is None else public_id(prefix, key, number)
