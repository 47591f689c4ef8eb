"""The ledger as a whole: open it on a database, ask it to change something or to tell something, close it."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Final, Self

import structlog

from ledger.administration import check_policy
from ledger.auditor import AuditReport
from ledger.billing import Billing
from ledger.card_versions import CardChanges
from ledger.database import READERS_DEFAULT, CollisionError, Database, DatabaseUnavailableError, fsync_is_on
from ledger.explain import Explanation
from ledger.fields import check_account, check_account_part, check_asset, check_page_size
from ledger.history import EVERYTHING, FoundEntry, HistoryFilter, Page
from ledger.ids import IdPrefix, parse_id
from ledger.loading import Loader
from ledger.migrations import migrate
from ledger.model import AccountName, Asset, HoldState
from ledger.money import MoneyTrialBalance, RevenueReport
from ledger.operations import Batch, Operation, Request, Settle
from ledger.outcome import Accepted, Reason, Refused
from ledger.price_list import PriceList
from ledger.pricing import Charge, RateCard, Usage
from ledger.rate_cards import check_cards, check_quote, check_rate_card
from ledger.reports import Reports
from ledger.sales.model import SaleRules
from ledger.standing import Balances, Checked, FoundAccount, HoldPage, LotPage
from ledger.store import Store
from ledger.terms import AssetPolicy
from ledger.trial import TrialBalance
from ledger.writer import Answer, Decided, Delivery, Writer, WriterObserver, WriterOptions, decided_again, deliver

SWEEP_SLICE: Final = 100
SWEEP_SLICES_MAX: Final = 100

log = structlog.get_logger()


def utc_now() -> datetime:
    """The machine's clock, in UTC, to the microsecond."""
    return datetime.now(UTC)


class Ledger:
    """The books of all tenants in one database. Safe to use from many threads.

    url          sqlite:///path, or postgresql://user@host/name
    clock        tells now, in UTC
    readers      how many reads may run at once
    row_locks    see Database
    deliver_all  see Writer
    observer     see Writer

    Every method that talks to the database raises DatabaseUnavailableError if it cannot; a change may be repeated
    with the same request_id then.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Callable[[], datetime] = utc_now,
        options: WriterOptions | None = None,
        readers: int = READERS_DEFAULT,
        row_locks: bool = True,
        deliver_all: Callable[[Delivery], None] = deliver,
        observer: WriterObserver | None = None,
    ) -> None:
        self._clock = clock
        self._is_open = False
        self._database = Database(url, readers=readers, row_locks=row_locks)
        loader = Loader(self._database)
        self._store = Store(self._database, loader)
        self._all_reports = Reports(self._database, loader, clock)
        self._price_list = PriceList(self._database, loader.price_books, clock)
        self._writer = Writer(
            self._store, options or WriterOptions(), clock=clock, deliver_all=deliver_all, observer=observer
        )

    def __str__(self) -> str:
        return str(self._database)

    def __enter__(self) -> Self:
        try:
            self.open()
        except BaseException:
            # A block that is never entered is never left.
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> None:
        """Brings the schema up to date and begins to take operations. May be called again after it failed.

        raises   DatabaseMisusedError, DatabaseUnavailableError
        """
        self._database.take()
        before, after = migrate(self._database)
        if before != after:
            log.info("schema_migrated", database=str(self), before=before, after=after)
        with self._database.read() as connection:
            if not fsync_is_on(connection):
                log.warning("fsync_is_off", database=str(self), consequence="a crash can lose acknowledged operations")
        self._writer.start()
        self._is_open = True

    def drain(self) -> None:
        """Takes no more operations and finishes those that wait; reads go on."""
        self._writer.stop()

    def stop_reads(self) -> None:
        """Ends reads that take long; they raise DatabaseUnavailableError."""
        self._all_reports.stop()

    def close(self) -> None:
        """Takes nothing more, finishes what waits, and lets go of the database."""
        self.drain()
        self._is_open = False
        self.stop_reads()
        try:
            self._store.let_go(self._clock())
        except (CollisionError, DatabaseUnavailableError) as error:
            log.warning("writer_id_not_given_free", error=str(error))
        finally:
            self._database.close()

    @property
    def operations_waiting(self) -> int:
        """How many operations wait to be decided."""
        return self._writer.operations_waiting

    @property
    def _reports(self) -> Reports:
        self._require_open()
        return self._all_reports

    def _require_open(self) -> None:
        if not self._is_open:
            raise DatabaseUnavailableError("the books are not open")

    def submit(self, work: Operation | Batch, answer: Answer, deadline: float | None = None) -> None:
        """Queues an operation, or a batch of them; see Writer.submit."""
        self._require_open()
        self._writer.submit(work, answer, deadline)

    def queue(self, operation: Operation) -> Future[Accepted | Refused]:
        """Queues an operation; the future is resolved once its outcome is durable."""
        answer: Future[Accepted | Refused] = Future()
        self.submit(operation, answer)
        return answer

    def execute(self, operation: Operation) -> Accepted | Refused:
        """Does one operation and waits for the outcome."""
        return self.queue(operation).result()

    def execute_batch(self, operations: Sequence[Request], *, atomic: bool = False) -> tuple[Decided, ...]:
        """Does 1 to 1,000 operations in their order and in one transaction, and waits for their outcomes.

        atomic   all or nothing: if one is refused, each outcome is its refusal, with its index as figure `operation`
        raises   MalformedError
        """
        answer: Future[tuple[Decided, ...]] = Future()
        self.submit(Batch(operations=tuple(operations), atomic=atomic), answer)
        return answer.result()

    def billing(self, rules: SaleRules = SaleRules()) -> Billing:  # noqa: B008 -- it cannot be changed
        """What is sold for money; see Billing."""
        return Billing(self._database, self.submit, self._clock, rules)

    def define_asset(self, tenant: str, asset: str, scale: int) -> Asset | Refused:
        """Defines what can be counted; the same definition again changes nothing.

        scale     decimal places, 0 to 18, fixed for ever
        refuses   ASSET_EXISTS if it is defined with another scale
        raises    MalformedError
        """
        check_asset(asset, scale)
        self._require_open()
        try:
            return self._store.define_asset(tenant, asset, scale)
        except CollisionError:
            # Another server defined it at this moment, so now it is there.
            return self._store.define_asset(tenant, asset, scale)

    def configure_asset(self, tenant: str, asset: str, policy: AssetPolicy) -> Asset | Refused:
        """Replaces a tenant's settings for an asset.

        refuses   ASSET_NOT_FOUND
        raises    MalformedError
        """
        check_policy(asset, policy)
        self._require_open()
        try:
            return self._store.configure_asset(tenant, asset, policy)
        except CollisionError:
            # Another server did it at this moment; the last one counts.
            return self._store.configure_asset(tenant, asset, policy)

    def apply_rate_cards(
        self,
        tenant: str,
        asset: str,
        cards: Sequence[RateCard],
        *,
        retire_others: bool = False,
        preview: bool = False,
        revision: int | None = None,
    ) -> CardChanges | Refused:
        """Sets rate cards, all or none; see PriceList.apply.

        cards    their versions are not looked at; what is effective AT_ONCE is so from now on
        raises   MalformedError; NotDoneError if other servers set cards again and again
        """
        cards = tuple(cards)
        check_cards(cards)
        check_account_part(tenant, None, asset)
        self._require_open()
        # If another server does it at this moment, whoever comes second builds on that.
        return decided_again(
            lambda: self._price_list.apply(
                tenant, asset, cards, retire_others=retire_others, preview=preview, revision=revision
            )
        )

    def rate_card(self, tenant: str, asset: str, card: str, version: int = 0) -> RateCard | Refused:
        """See PriceList.card; raises MalformedError."""
        check_account_part(tenant, None, asset)
        check_rate_card(card, version)
        self._require_open()
        return self._price_list.card(tenant, asset, card, version)

    def rate_cards(self, tenant: str, asset: str, *, all_versions: bool = False) -> tuple[RateCard, ...] | Refused:
        """See PriceList.cards; raises MalformedError."""
        check_account_part(tenant, None, asset)
        self._require_open()
        return self._price_list.cards(tenant, asset, all_versions=all_versions)

    def quote(self, tenant: str, asset: str, usage: Usage, at: datetime | None = None) -> Charge | Refused:
        """See PriceList.quote; raises MalformedError."""
        check_account_part(tenant, None, asset)
        check_quote(usage, at)
        self._require_open()
        return self._price_list.quote(tenant, asset, usage, at)

    def assets(self, tenant: str) -> tuple[Asset, ...]:
        """All assets of a tenant, by name."""
        return self._reports.assets(tenant)

    def balances(
        self,
        tenant: str,
        account_id: str,
        asset: str | None = None,
        *,
        as_of: datetime | None = None,
        expiring_within: timedelta | None = None,
    ) -> Balances | Refused:
        """See Reports.balances; raises MalformedError."""
        check_account_part(tenant, account_id, asset)
        return self._reports.balances(tenant, account_id, asset, as_of, expiring_within)

    def check(
        self, name: AccountName, amount: int | None = None, operation: str = "", usage: Usage | None = None
    ) -> Checked | Refused:
        """Whether an amount, or what usage costs, may be spent now; see Previews.check. Raises MalformedError."""
        return self._reports.check(name, amount, operation, usage)

    def preview(self, operations: Sequence[Request], *, atomic: bool = False) -> tuple[Accepted | Refused, ...]:
        """The outcomes that these operations would have now; nothing is written. Raises MalformedError."""
        batch = Batch(operations=tuple(operations), atomic=atomic)
        return self._reports.preview(batch.operations, atomic=batch.atomic)

    def account(self, name: AccountName) -> FoundAccount | Refused:
        """See Reports.account; raises MalformedError."""
        check_account(name)
        return self._reports.account(name)

    def lots(
        self,
        name: AccountName,
        *,
        include_empty: bool = False,
        as_of: datetime | None = None,
        page_size: int = 0,
        page_token: str = "",
    ) -> LotPage | Refused:
        """See Reports.lots; raises MalformedError."""
        check_account(name)
        check_page_size(page_size)
        return self._reports.lots(name, include_empty=include_empty, as_of=as_of, page_size=page_size, token=page_token)

    def holds(
        self,
        name: AccountName,
        *,
        state: HoldState | None = None,
        as_of: datetime | None = None,
        page_size: int = 0,
        page_token: str = "",
    ) -> HoldPage | Refused:
        """See Reports.holds; raises MalformedError."""
        check_account(name)
        check_page_size(page_size)
        return self._reports.holds(name, state=state, as_of=as_of, page_size=page_size, token=page_token)

    def history(
        self, name: AccountName, page_size: int = 0, page_token: str = "", wanted: HistoryFilter = EVERYTHING
    ) -> Page | Refused:
        """See Reports.history; raises MalformedError."""
        check_account(name)
        check_page_size(page_size)
        return self._reports.history(name, page_size, page_token, wanted)

    def entry(self, tenant: str, entry_id: str) -> FoundEntry | Refused:
        """One entry.

        refuses   ENTRY_NOT_FOUND
        """
        parsed = parse_id(IdPrefix.ENTRY, entry_id)
        found = None if parsed is None else self._reports.entry(tenant, *parsed)
        return found or Refused(reason=Reason.ENTRY_NOT_FOUND, figures={"entry_id": entry_id})

    def explain(self, tenant: str, entry_id: str) -> Explanation | Refused:
        """Why an entry is as it is.

        refuses   ENTRY_NOT_FOUND
        """
        parsed = parse_id(IdPrefix.ENTRY, entry_id)
        found = None if parsed is None else self._reports.explain(tenant, *parsed)
        return found or Refused(reason=Reason.ENTRY_NOT_FOUND, figures={"entry_id": entry_id})

    def trial_balance(
        self, tenant: str, asset: str | None = None, *, as_of: datetime | None = None
    ) -> TrialBalance | Refused:
        """See Reports.trial_balance; raises MalformedError."""
        check_account_part(tenant, None, asset)
        return self._reports.trial_balance(tenant, asset, as_of)

    def money_trial_balance(
        self, tenant: str, currency: str | None = None, *, as_of: datetime | None = None
    ) -> MoneyTrialBalance | Refused:
        """See RevenueReports.trial_balance; raises MalformedError."""
        check_account_part(tenant, None, None)
        return self._reports.money_trial_balance(tenant, currency, as_of)

    def revenue(self, tenant: str, since: datetime, until: datetime | None = None) -> RevenueReport | Refused:
        """See RevenueReports.revenue; raises MalformedError."""
        check_account_part(tenant, None, None)
        return self._reports.revenue(tenant, since, until)

    def audit(self, tenant: str, account_id: str | None = None, asset: str | None = None) -> AuditReport | Refused:
        """See Reports.audit; raises MalformedError."""
        check_account_part(tenant, account_id, asset)
        return self._reports.audit(tenant, account_id, asset)

    def sweep(self) -> int:
        """Has the lapses of idle accounts written, and checkpoints of the trial balance made.

        Returns how many accounts had lapses, at most 10,000. Nothing depends on it: every answer counts lapses whether
        they are written or not, and checkpoints only save time.
        """
        swept = 0
        # In slices, so that callers' operations find room in between.
        for _ in range(SWEEP_SLICES_MAX):
            keys = self._reports.overdue(SWEEP_SLICE)
            for settled in [self.queue(Settle(key=key)) for key in keys]:
                settled.result()
            swept += len(keys)
            if len(keys) < SWEEP_SLICE:
                break
        self._reports.make_checkpoints()
        return swept
