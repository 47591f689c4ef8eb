"""Reads: each sees one consistent snapshot, counts what has lapsed, and writes nothing."""

import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, select

from ledger.audit import trial_balance
from ledger.auditor import Auditor, AuditReport
from ledger.database import Database
from ledger.explain import CountedLimit, Explanation, burns, moved_lots, passed_lots
from ledger.fields import GRANT_TTL_MAX, bad_duration, bad_instant, check, rows_per_page
from ledger.folding import lot_after
from ledger.history import EVERYTHING, FoundEntry, HistoryFilter, Lister, Page
from ledger.ids import AccountKey, page_token, parse_page_token
from ledger.loading import EntryReader, Loader, read_assets
from ledger.lots import burn_order, can_burn
from ledger.model import INT64_MAX, Account, AccountName, AccountStatus, Asset, Entry, EntryKind, HoldState, Lot
from ledger.money import MoneyTrialBalance, RevenueReport
from ledger.operations import Request, Settle
from ledger.outcome import Accepted, Reason, Refused, State, in_future
from ledger.past import Past, PastReader
from ledger.present import Present
from ledger.preview import Previews
from ledger.pricing import Usage
from ledger.revenue import RevenueReports
from ledger.standing import Balance, Balances, Checked, FoundAccount, HoldPage, LotPage, limit_use
from ledger.tables import accounts, entries, spending
from ledger.trial import AssetTrialBalance, TrialBalance, TrialBalances, overdue_accounts


class Reports:
    """Answers about the books of one tenant at a time.

    clock   tells now, in UTC; asked once the snapshot is there, so that nothing in it is later

    An `as_of` is an instant that is past, of which the answer is to be true; None: now. One that is not past is refused
    with INSTANT_IN_FUTURE. Pages have `page_size` items: 0 means 50, more than 500 means 500; a page token is the
    next_page_token of the page before, empty for the first, and refused with INVALID_PAGE_TOKEN if something else was
    asked for then.
    """

    def __init__(self, database: Database, loader: Loader, clock: Callable[[], datetime]) -> None:
        self._database, self._loader, self._clock = database, loader, clock
        self._entries = database.once(EntryReader)
        self._past = database.once(PastReader)
        self._previews = Previews(database, self._loader, clock)
        self._trial_balances = TrialBalances(database, self._loader)
        self._revenue = RevenueReports(database, self._trial_balances, clock)
        self._stopped = threading.Event()
        self._auditor = Auditor(database, self._trial_balances, self._stopped)

    def stop(self) -> None:
        """Ends reads that take long; they raise DatabaseUnavailableError."""
        self._stopped.set()

    def balances(
        self,
        tenant: str,
        account_id: str,
        asset: str | None,
        as_of: datetime | None = None,
        expiring_within: timedelta | None = None,
    ) -> Balances | Refused:
        """How a customer stands in one asset, or with None in all.

        expiring_within   also tells what of the available runs out within this span
        refuses           INSTANT_IN_FUTURE, ASSET_NOT_FOUND, ACCOUNT_NOT_FOUND, in that order
        raises            MalformedError
        """
        check(bad_instant("as_of", as_of), bad_duration("expiring_within", expiring_within, GRANT_TTL_MAX))
        with self._database.read() as connection:
            if asset is not None:
                keys = [AccountName(tenant=tenant, account_id=account_id, asset=asset).key]
            else:
                wanted = select(accounts.c.account_key)
                wanted = wanted.where(accounts.c.tenant == tenant, accounts.c.account_id == account_id)
                keys = [AccountKey(key) for key in connection.execute(wanted).scalars()]
            found, now = self._load(connection, keys)
            now = max([now, *(account.as_of for account, _ in found)])
            at = as_of or now
            if at > now:
                return in_future(at, now)
            views = [self._view(connection, account, state, at) for account, state in found]
            stood = [_balance(view, expiring_within) for view in views if view is not None]
            if not stood:
                return _not_found(connection, tenant, account_id, asset)
        # Sorted here, because a database may have an alphabet of its own.
        return Balances(balances=tuple(sorted(stood, key=lambda balance: balance.name.asset)), as_of=at)

    def account(self, name: AccountName) -> FoundAccount | Refused:
        """One account, with all that is agreed with the customer.

        refuses   ASSET_NOT_FOUND, ACCOUNT_NOT_FOUND, in that order
        """
        with self._database.read() as connection:
            view = self._present(connection, name.key)
            if view is None:
                return _not_found(connection, name.tenant, name.account_id, name.asset)
            of_account = entries.c.account_key == name.key
            opened_at = connection.execute(
                select(entries.c.effective_at).where(of_account, entries.c.seq == 1)
            ).scalar_one()
            why = ""
            if view.account.status is AccountStatus.FROZEN:
                # Not far back: a frozen account is not used.
                frozen = select(entries.c.description).where(of_account, entries.c.kind == EntryKind.FREEZE.value)
                why = connection.execute(frozen.order_by(entries.c.seq.desc()).limit(1)).scalar() or ""
        terms = view.account.terms
        return FoundAccount(
            account=view.account,
            opened_at=opened_at,
            frozen_reason=why,
            balance=_balance(view, None),
            limits=tuple(
                limit_use(limit, view.draft.spending(limit), terms.time_zone, view.at) for limit in terms.limits
            ),
        )

    def lots(
        self,
        name: AccountName,
        *,
        include_empty: bool = False,
        as_of: datetime | None = None,
        page_size: int = 0,
        token: str = "",
    ) -> LotPage | Refused:
        """The lots that have anything in them, in burn order; or all, those without too, newest first.

        refuses   INVALID_PAGE_TOKEN, INSTANT_IN_FUTURE, ASSET_NOT_FOUND, ACCOUNT_NOT_FOUND, in that order
        raises    MalformedError
        """
        filters = ("lots", name.tenant, name.asset, name.account_id, str(include_empty), _text(as_of))
        begin = _beginning(filters, token)
        if isinstance(begin, Refused):
            return begin
        size = rows_per_page(page_size)
        with self._database.read() as connection:
            view = self._view_of(connection, name, as_of)
            if isinstance(view, Refused):
                return view
            if include_empty:
                found: Sequence[Lot] = view.lots_below(INT64_MAX if begin is None else begin, size + 1)
            else:
                found = sorted(view.open_lots(), key=burn_order)
                if begin is not None:
                    # That lot may have been burnt meanwhile, but its place in the order is the same.
                    (last,) = view.lots_below(begin + 1, 1)
                    found = [lot for lot in found if burn_order(lot) > burn_order(last)]
        return LotPage(
            name=name,
            scale=view.scale,
            lots=tuple(found[:size]),
            as_of=view.at,
            next_page_token=page_token(filters, found[size - 1].number) if len(found) > size else "",
        )

    def holds(
        self,
        name: AccountName,
        *,
        state: HoldState | None = None,
        as_of: datetime | None = None,
        page_size: int = 0,
        token: str = "",
    ) -> HoldPage | Refused:
        """The holds of an account, newest first, and how it stands; both are of one snapshot.

        state     None: any. Of one state, a page may have fewer holds than were asked for, even none, where many had to
                  be passed over to find them; there is a next page then
        refuses   INVALID_PAGE_TOKEN, INSTANT_IN_FUTURE, ASSET_NOT_FOUND, ACCOUNT_NOT_FOUND, in that order
        raises    MalformedError
        """
        filters = ("holds", name.tenant, name.asset, name.account_id, state or "", _text(as_of))
        begin = _beginning(filters, token)
        if isinstance(begin, Refused):
            return begin
        size = rows_per_page(page_size)
        with self._database.read() as connection:
            view = self._view_of(connection, name, as_of)
            if isinstance(view, Refused):
                return view
            found, looked_to = view.holds_below(INT64_MAX if begin is None else begin, size + 1, state)
            balance = _balance(view, None)
        last = found[size - 1].number if len(found) > size else looked_to
        return HoldPage(
            balance=balance,
            holds=tuple(found[:size]),
            as_of=view.at,
            next_page_token="" if last is None else page_token(filters, last),
        )

    def history(
        self, name: AccountName, page_size: int = 0, token: str = "", wanted: HistoryFilter = EVERYTHING
    ) -> Page | Refused:
        """Entries of an account, lapses that are not written yet included.

        refuses   INVALID_PAGE_TOKEN, ASSET_NOT_FOUND, ACCOUNT_NOT_FOUND, in that order
        """
        filters = ("history", name.tenant, name.asset, name.account_id, *wanted.texts())
        begin = _beginning(filters, token)
        if isinstance(begin, Refused):
            return begin
        with self._database.read() as connection:
            view = self._present(connection, name.key)
            if view is None:
                return _not_found(connection, name.tenant, name.account_id, name.asset)
            lister = Lister(connection, self._entries, view.account, view.unwritten)
            found = lister.page(wanted, rows_per_page(page_size), begin)
        return Page(
            name=name,
            scale=view.scale,
            entries=found.entries,
            next_page_token="" if found.next_from is None else page_token(filters, found.next_from),
        )

    def entry(self, tenant: str, key: AccountKey, seq: int) -> FoundEntry | None:
        """One entry, a lapse that is not written yet included; None if the tenant has no such entry."""
        with self._database.read() as connection:
            view = self._present(connection, key)
            if view is None or view.account.name.tenant != tenant:
                return None
            entry = self._entry(connection, view, seq)
        return None if entry is None else FoundEntry(name=view.account.name, scale=view.scale, entry=entry)

    def explain(self, tenant: str, key: AccountKey, seq: int) -> Explanation | None:
        """Why an entry is as it is; None if the tenant has no such entry."""
        with self._database.read() as connection:
            view = self._present(connection, key)
            if view is None or view.account.name.tenant != tenant:
                return None
            entry = self._entry(connection, view, seq)
            if entry is None:
                return None
            before, open_before = self._lots_before(connection, view, entry)
            counted = select(spending).where(spending.c.account_key == key, spending.c.seq == seq)
            # What has no limit was counted by a rate card.
            counted = counted.where(spending.c.limit_amount.is_not(None))
            limits = [
                # What is counted anew has the limit's name and the number of the entry that set it.
                CountedLimit(name=row.name.rpartition("@")[0], amount=row.limit_amount, used=row.used)
                for row in connection.execute(counted)
            ]
        return Explanation(
            name=view.account.name,
            scale=view.scale,
            entry=entry,
            moved=moved_lots(entry, before, open_before),
            passed=passed_lots(entry, open_before),
            limits=tuple(sorted(limits, key=lambda limit: limit.name)),
        )

    def trial_balance(self, tenant: str, asset: str | None, as_of: datetime | None = None) -> TrialBalance | Refused:
        """What was debited and credited per code, in one asset or all; what has lapsed is counted as such.

        refuses   INSTANT_IN_FUTURE, ASSET_NOT_FOUND, in that order
        raises    MalformedError
        """
        check(bad_instant("as_of", as_of))
        with self._database.read() as connection:
            known = {name: found for (_, name), found in read_assets(connection, {tenant}).items()}
            now = self._clock()
            if as_of is not None and as_of > now:
                return in_future(as_of, now)
            if asset is not None and asset not in known:
                return Refused(reason=Reason.ASSET_NOT_FOUND, figures={"asset": asset})
            if as_of is None:
                books = self._trial_balances.now(connection, now, tenant)
            else:
                books = self._trial_balances.at(connection, as_of, tenant)
        shown = sorted(name for _, name in books) if asset is None else [asset]
        return TrialBalance(
            assets=tuple(
                AssetTrialBalance(asset=known[name], rows=trial_balance(books.get((tenant, name), {})))
                for name in shown
            ),
            as_of=as_of or now,
        )

    def money_trial_balance(
        self, tenant: str, currency: str | None, as_of: datetime | None
    ) -> MoneyTrialBalance | Refused:
        """What was debited and credited in the monetary journal; see RevenueReports.trial_balance."""
        return self._revenue.trial_balance(tenant, currency, as_of)

    def revenue(self, tenant: str, since: datetime, until: datetime | None) -> RevenueReport | Refused:
        """How deferred revenue moved; see RevenueReports.revenue."""
        return self._revenue.revenue(tenant, since, until)

    def make_checkpoints(self) -> bool:
        """Writes down, once an hour, what all books add up to; see TrialBalances."""
        return self._trial_balances.make_checkpoints(self._clock)

    def assets(self, tenant: str) -> tuple[Asset, ...]:
        """All assets of a tenant, by name."""
        with self._database.read() as connection:
            return tuple(found for _, found in sorted(read_assets(connection, {tenant}).items()))

    def overdue(self, limit: int) -> list[AccountKey]:
        """Accounts in which something has lapsed that is not written yet, of all tenants."""
        with self._database.read() as connection:
            due = connection.execute(overdue_accounts(self._clock()).limit(limit))
            return [AccountKey(row.account_key) for row in due]

    def preview(self, operations: Sequence[Request], *, atomic: bool = False) -> tuple[Accepted | Refused, ...]:
        """The outcomes that these operations would have; see Previews."""
        return self._previews.preview(operations, atomic=atomic)

    def check(
        self, name: AccountName, amount: int | None, operation: str = "", usage: Usage | None = None
    ) -> Checked | Refused:
        """Whether an amount, or what usage costs, may be spent; see Previews. Raises MalformedError."""
        return self._previews.check(name, amount, operation, usage)

    def audit(self, tenant: str, account_id: str | None, asset: str | None) -> AuditReport | Refused:
        """Recomputes the books from their entries and compares: of one customer, or the whole of a tenant's.

        refuses   ASSET_NOT_FOUND, ACCOUNT_NOT_FOUND, in that order
        """
        with self._database.read() as connection:
            if asset is not None and (tenant, asset) not in read_assets(connection, {tenant}):
                return Refused(reason=Reason.ASSET_NOT_FOUND, figures={"asset": asset})
            report = self._auditor.audit(connection, tenant, account_id, asset, self._clock())
            if account_id is not None and report.accounts == 0:
                return _not_found(connection, tenant, account_id, asset)
        return report

    def _load(self, connection: Connection, keys: Iterable[AccountKey]) -> tuple[list[tuple[Account, State]], datetime]:
        """Those of the accounts that are there, with what is open in them, and now."""
        states, now = self._loader.load(connection, [Settle(key=key) for key in keys], self._clock)
        return [(state.account, state) for state in states.values() if state.account is not None], now

    def _present(self, connection: Connection, key: AccountKey) -> Present | None:
        """How an account stands now; None if there is none."""
        found, now = self._load(connection, [key])
        return Present(connection, *found[0], now) if found else None

    def _view(self, connection: Connection, account: Account, state: State, at: datetime) -> Present | Past | None:
        """How an account stood at an instant; None if it was not open then."""
        if at >= account.as_of:
            return Present(connection, account, state, at)
        return self._past.at(connection, account, state.scale, at)

    def _view_of(self, connection: Connection, name: AccountName, as_of: datetime | None) -> Present | Past | Refused:
        """How the named account stood.

        refuses   INSTANT_IN_FUTURE, ASSET_NOT_FOUND, ACCOUNT_NOT_FOUND, in that order
        """
        check(bad_instant("as_of", as_of))
        found, now = self._load(connection, [name.key])
        now = max([now, *(account.as_of for account, _ in found)])
        if as_of is not None and as_of > now:
            return in_future(as_of, now)
        view = self._view(connection, *found[0], as_of or now) if found else None
        return view or _not_found(connection, name.tenant, name.account_id, name.asset)

    def _entry(self, connection: Connection, view: Present, seq: int) -> Entry | None:
        wanted = select(entries).where(entries.c.account_key == view.account.name.key, entries.c.seq == seq)
        found = self._entries.read(connection, connection.execute(wanted).all())
        found += [entry for entry in view.unwritten if entry.seq == seq]
        return found[0] if found else None

    def _lots_before(self, connection: Connection, view: Present, entry: Entry) -> tuple[dict[int, Lot], Iterable[Lot]]:
        """The lots that an entry moves, as they were before it, and all that had anything in them if it burns any."""
        if entry.seq > view.account.seq:
            lots = {lot.number: lot for lot in view.kept_lots}
            for earlier in view.unwritten[: entry.seq - view.account.seq - 1]:
                for line in earlier.lines:
                    if line.lot is not None:
                        lots[line.lot] = lot_after(lots[line.lot], line, earlier)
            return lots, ()
        if entry.seq == 1:
            return {}, ()
        past = self._past.after(connection, view.account, view.scale, entry.seq - 1, entry.effective_at)
        open_before = past.open_lots() if burns(entry) else []
        return past.lots_of(line.lot for line in entry.lines if line.lot is not None), open_before


def _balance(view: Present | Past, expiring_within: timedelta | None) -> Balance:
    expiring = None
    if expiring_within is not None:
        until = view.at + expiring_within
        spendable = (lot for lot in view.open_lots() if can_burn(lot, view.at))
        expiring = sum(
            lot.remaining for lot in spendable if lot.terms.expires_at is not None and lot.terms.expires_at <= until
        )
    return Balance(
        name=view.account.name,
        scale=view.scale,
        available=view.available,
        held=view.held,
        owed=view.owed,
        pending=view.pending,
        expiring=expiring,
    )


def _not_found(connection: Connection, tenant: str, account_id: str, asset: str | None) -> Refused:
    if asset is not None and (tenant, asset) not in read_assets(connection, {tenant}):
        return Refused(reason=Reason.ASSET_NOT_FOUND, figures={"asset": asset})
    return Refused(reason=Reason.ACCOUNT_NOT_FOUND, figures={"account_id": account_id, "asset": asset or ""})


def _beginning(filters: tuple[str, ...], token: str) -> int | Refused | None:
    """After which number a page begins; None for the first page.

    refuses   INVALID_PAGE_TOKEN
    """
    if not token:
        return None
    begin = parse_page_token(filters, token)
    return Refused(reason=Reason.INVALID_PAGE_TOKEN, figures={}) if begin is None else begin


def _text(instant: datetime | None) -> str:
    return "" if instant is None else instant.astimezone(UTC).isoformat()
