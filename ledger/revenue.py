"""Reports of the monetary journal: its trial balance, and how deferred revenue moved."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, select

from ledger.chart import Code
from ledger.database import Database
from ledger.fields import Violation, bad_currency, bad_instant, check
from ledger.loading import halves, whole
from ledger.money import FREE, MoneyTrialBalance, Moved, RevenueReport, SoldAs, currency_trial_balance, revenue_row
from ledger.outcome import Refused, in_future
from ledger.tables import accounts, entries, lines, lots
from ledger.trial import TrialBalances

Moves = dict[SoldAs, list[Moved]]


class RevenueReports:
    """Adds up what lots cost, from the lines that moved it; what has lapsed is counted, whether it is written or not.

    clock   tells now, in UTC; asked once the snapshot is there
    """

    def __init__(self, database: Database, trial_balances: TrialBalances, clock: Callable[[], datetime]) -> None:
        self._database, self._trial_balances, self._clock = database, trial_balances, clock

    def trial_balance(self, tenant: str, currency: str | None, as_of: datetime | None) -> MoneyTrialBalance | Refused:
        """What was debited and credited per code of the monetary journal, in one currency or all.

        as_of     None: now
        refuses   INSTANT_IN_FUTURE
        raises    MalformedError
        """
        check(bad_instant("as_of", as_of), None if currency is None else bad_currency("currency", currency))
        until = None if as_of is None else as_of + datetime.resolution
        with self._database.read() as connection:
            now = self._clock()
            if as_of is not None and as_of > now:
                return in_future(as_of, now)
            found = self._moves(connection, tenant, None, until, now, lines.c.cost.is_not(None))
        by_currency: dict[str, list[Moved]] = defaultdict(list)
        for sold, moves in found.items():
            if sold != FREE and currency in {None, sold.currency}:
                by_currency[sold.currency] += moves
        return MoneyTrialBalance(
            currencies=tuple(currency_trial_balance(name, moves) for name, moves in sorted(by_currency.items())),
            as_of=as_of or now,
        )

    def revenue(self, tenant: str, since: datetime, until: datetime | None) -> RevenueReport | Refused:
        """How deferred revenue moved from one instant until just before another.

        until     None: until now, now included
        refuses   INSTANT_IN_FUTURE
        raises    MalformedError
        """
        ends_first = until is not None and until.tzinfo is not None and since.tzinfo is not None and until <= since
        check(
            bad_instant("since", since),
            bad_instant("until", until)
            or (Violation(field="until", must="must be after since.") if ends_first else None),
        )
        with self._database.read() as connection:
            now = self._clock()
            if (latest := until or since) > now:
                return in_future(latest, now, field="until" if until else "since")
            before = self._moves(connection, tenant, None, since, now, lines.c.cost.is_not(None))
            within = self._moves(connection, tenant, since, until, now)
        sold = sorted({*before, *within} - {FREE})
        rows = [revenue_row(one, before.get(one, []), within.get(one, [])) for one in sold]
        free = revenue_row(FREE, [], within.get(FREE, []))
        return RevenueReport(
            rows=(*(row for row in rows if row.says_something), free),
            since=since,
            until=until or now + datetime.resolution,
        )

    def _moves(
        self,
        connection: Connection,
        tenant: str,
        since: datetime | None,
        until: datetime | None,
        now: datetime,
        *conditions: ColumnElement[bool],
    ) -> Moves:
        """What lines of lots add up to that took effect from one instant until just before another.

        conditions   of lines that are written
        """
        moves: Moves = defaultdict(list)
        for row in connection.execute(_written(tenant, since, until, conditions)):
            sold = SoldAs(row.package or "", row.currency) if row.currency else FREE
            amount, cost = whole(row.high, row.low), whole(row.cost_high or 0, row.cost_low or 0)
            moves[sold].append(Moved(Code(row.debit), Code(row.credit), amount, cost))
        for sold, moved in self._unwritten(connection, tenant, since, until, now):
            moves[sold].append(moved)
        return moves

    def _unwritten(
        self, connection: Connection, tenant: str, since: datetime | None, until: datetime | None, now: datetime
    ) -> Iterator[tuple[SoldAs, Moved]]:
        """The same of what has lapsed and is not written yet, line by line."""
        at = now if until is None else until - datetime.resolution
        for draft in self._trial_balances.unwritten_drafts(connection, at, tenant):
            within = (entry for entry in draft.entries if since is None or entry.effective_at >= since)
            for line in (line for entry in within for line in entry.lines):
                if line.lot is None:
                    continue
                terms = draft.lot(line.lot).terms
                sold = FREE if terms.cost is None else SoldAs(terms.package, terms.cost.currency)
                cost = 0 if line.cost is None else line.cost.minor_units
                yield sold, Moved(line.debit, line.credit, line.amount, cost)


def _written(
    tenant: str, since: datetime | None, until: datetime | None, conditions: Iterable[ColumnElement[bool]]
) -> Select[Any]:
    of_entry = (lines.c.account_key == entries.c.account_key) & (lines.c.seq == entries.c.seq)
    of_lot = (lots.c.account_key == lines.c.account_key) & (lots.c.lot == lines.c.lot)
    groups = (lots.c.package, lots.c.currency, lines.c.debit, lines.c.credit)
    cost_high, cost_low = halves(lines.c.cost)
    wanted = (
        select(*groups, *halves(lines.c.amount), cost_high.label("cost_high"), cost_low.label("cost_low"))
        .select_from(accounts)
        .join(entries, entries.c.account_key == accounts.c.account_key)
        .join(lines, of_entry)
        .join(lots, of_lot)
        .where(accounts.c.tenant == tenant, *conditions)
        .group_by(*groups)
    )
    if since is not None:
        wanted = wanted.where(entries.c.effective_at >= since)
    return wanted if until is None else wanted.where(entries.c.effective_at < until)
