"""The ledger as a library, as a target of scenarios; and what it has in common with the pure core."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from ledger import (
    AT_ONCE,
    DEFAULT_TENANT,
    NO_MEMO,
    Accepted,
    Adjust,
    AssetPolicy,
    Capture,
    Close,
    Deduct,
    DeductMode,
    Direction,
    Discount,
    EntryKind,
    ExpiredLots,
    ExtendHold,
    Freeze,
    Grant,
    HeldLots,
    HistoryFilter,
    HoldState,
    IdPrefix,
    IncreaseHold,
    Ledger,
    MalformedError,
    Memo,
    Merge,
    Meter,
    Money,
    OpenAccount,
    PlaceHold,
    RateCard,
    Refund,
    Refused,
    Release,
    Request,
    Revoke,
    Rounding,
    Source,
    SpendLimit,
    SpentPart,
    Tier,
    Tiering,
    Transfer,
    Unfreeze,
    UpdateAccount,
    Usage,
    Welcome,
    Window,
    WriteOff,
    public_id,
)
from tests.asked import Account, Answer, Asked
from tests.books import Clock
from tests.shown import (
    balance_shown,
    card_shown,
    change_shown,
    changed,
    charge_figures,
    check_shown,
    entry_shown,
    explanation_shown,
    found_account,
    found_entry,
    hold_shown,
    lot_shown,
    malformed,
    refused,
    revenue_shown,
    sold_as,
)

OPERATIONS: Mapping[str, type[Request]] = {
    "open": OpenAccount,
    "grant": Grant,
    "deduct": Deduct,
    "hold": PlaceHold,
    "increase": IncreaseHold,
    "extend": ExtendHold,
    "capture": Capture,
    "release": Release,
    "refund": Refund,
    "revoke": Revoke,
    "adjust": Adjust,
    "write_off": WriteOff,
    "transfer": Transfer,
    "merge": Merge,
    "freeze": Freeze,
    "unfreeze": Unfreeze,
    "close": Close,
    "update": UpdateAccount,
}
# Small, so that lists have several pages.
PAGE_SIZE = 3


def _meter_of(said: Mapping[str, Any]) -> Meter:
    tiers = tuple(Tier(up_to=tier.get("up_to"), rate=Decimal(tier["rate"])) for tier in said.get("tiers", ()))
    rate = Decimal(said["rate"]) if "rate" in said else None
    tiering = Tiering(said["tiering"]) if "tiering" in said else None
    return Meter(**{**said, "rate": rate, "tiers": tiers, "tiering": tiering})


# How the ledger takes what is said in plain values.
TAKEN: Mapping[str, Callable[[Any], Any]] = {
    "source": Source,
    "mode": DeductMode,
    "held_lots": HeldLots,
    "expired_lots": ExpiredLots,
    "spent": SpentPart,
    "direction": Direction,
    "cost": lambda cost: Money(minor_units=cost[0], currency=cost[1]),
    "limits": lambda limits: tuple(SpendLimit(**{**limit, "window": Window(limit["window"])}) for limit in limits),
    "welcome": lambda said: None if said is None else Welcome(**{**said, "source": Source(said["source"])}),
    "usage": lambda said: Usage(**said),
    "fixed": Decimal,
    "minimum": Decimal,
    "meters": lambda meters: tuple(_meter_of(meter) for meter in meters),
    "rounding": Rounding,
    "period": Window,
    "discount": lambda said: Discount(**{**said, "percent": Decimal(said["percent"])}),
}


def taken(asked: Asked, tenant: str) -> dict[str, Any]:
    """The fields of a request, as the ledger takes them."""
    return {
        name: said.name(tenant) if isinstance(said, Account) else TAKEN.get(name, lambda plain: plain)(said)
        for name, said in asked.fields.items()
    }


def card_of(asked: Asked, tenant: str) -> tuple[RateCard, bool]:
    """The rate card that is to be set, and whether others are retired."""
    fields = {"effective_at": AT_ONCE, "operations": (), "provider": "*", "version": 0, **taken(asked, tenant)}
    retire_others = fields.pop("retire_others", False)
    return RateCard(**fields), retire_others


def operation_of(asked: Asked, tenant: str) -> Request:
    """The change as the ledger takes it; raises MalformedError."""
    of = {"tenant": tenant, "key": asked.account.key(tenant), asked.part: asked.number}
    return OPERATIONS[asked.command](
        request_id=asked.request_id,
        memo=Memo(**asked.memo) if asked.memo else NO_MEMO,
        **(of if asked.part else {"account": asked.account.name(tenant)}),
        **taken(asked, tenant),
    )


class LibraryTarget(ABC):
    """What the targets that speak the ledger's values have in common."""

    cannot: frozenset[str] = frozenset()

    def __init__(self, clock: Clock, tenant: str = DEFAULT_TENANT) -> None:
        self.clock = clock
        self.tenant = tenant

    @abstractmethod
    def execute(self, operations: Sequence[Request], *, atomic: bool) -> tuple[Accepted | Refused, ...]: ...

    @abstractmethod
    def foresee(self, operations: Sequence[Request], *, atomic: bool) -> tuple[Accepted | Refused, ...]: ...

    def open(self, account_id: str) -> None:
        asked = Asked(command="open", request_id="opening", account=Account(account_id))
        assert self.change(asked).outcome == "ok"

    def change(self, asked: Asked) -> Answer:
        return self.batch((asked,), atomic=False)[0]

    def batch(self, asked: Sequence[Asked], *, atomic: bool) -> tuple[Answer, ...]:
        return self._answered(self.execute, asked, atomic=atomic)

    def preview(self, asked: Sequence[Asked], *, atomic: bool) -> tuple[Answer, ...]:
        return self._answered(self.foresee, asked, atomic=atomic)

    def _answered(
        self, do: Callable[..., tuple[Accepted | Refused, ...]], asked: Sequence[Asked], *, atomic: bool
    ) -> tuple[Answer, ...]:
        """What is malformed has its own answer; of an atomic batch it is the only one."""
        answers: dict[int, Answer] = {}
        operations: dict[int, Request] = {}
        for index, one in enumerate(asked):
            try:
                operations[index] = operation_of(one, self.tenant)
            except MalformedError as error:
                answers[index] = malformed(error, f"operations[{index}]." if atomic else "")
                if atomic:
                    return (answers[index],)
        if operations:
            outcomes = do(tuple(operations.values()), atomic=atomic)
            answers |= {index: changed(outcome) for index, outcome in zip(operations, outcomes, strict=True)}
        return tuple(answer for _, answer in sorted(answers.items()))


class LedgerTarget(LibraryTarget):
    """The ledger as a library, on a database; the books of one tenant."""

    def __init__(self, ledger: Ledger, clock: Clock, tenant: str) -> None:
        super().__init__(clock, tenant)
        self._ledger = ledger

    def change(self, asked: Asked) -> Answer:
        try:
            return changed(self._ledger.execute(operation_of(asked, self.tenant)))
        except MalformedError as error:
            return malformed(error)

    def execute(self, operations: Sequence[Request], *, atomic: bool) -> tuple[Accepted | Refused, ...]:
        return self._ledger.execute_batch(operations, atomic=atomic)

    def foresee(self, operations: Sequence[Request], *, atomic: bool) -> tuple[Accepted | Refused, ...]:
        return self._ledger.preview(operations, atomic=atomic)

    def asset(self, asked: Asked) -> Answer:
        return _read(
            lambda: self._ledger.define_asset(self.tenant, asked.account.asset, asked.fields.get("scale", 0)),
            lambda _: Answer(outcome="ok"),
        )

    def policy(self, asked: Asked) -> Answer:
        policy = AssetPolicy(**taken(asked, self.tenant))
        return _read(
            lambda: self._ledger.configure_asset(self.tenant, asked.account.asset, policy),
            lambda _: Answer(outcome="ok"),
        )

    def price(self, asked: Asked) -> Answer:
        card, retire_others = card_of(asked, self.tenant)
        return _read(
            lambda: self._ledger.apply_rate_cards(
                self.tenant, asked.account.asset, [card], retire_others=retire_others
            ),
            lambda done: change_shown(done.changes),
        )

    def card(self, asked: Asked) -> Answer:
        return _read(lambda: self._ledger.rate_card(self.tenant, asked.account.asset, **asked.fields), card_shown)

    def quote(self, asked: Asked) -> Answer:
        return _read(
            lambda: self._ledger.quote(self.tenant, asked.account.asset, **taken(asked, self.tenant)),
            lambda charge: Answer(outcome="ok", figures=charge_figures(charge)),
        )

    def quote_for(self, asked: Asked) -> Answer:
        return self.check(asked)

    def check(self, asked: Asked) -> Answer:
        fields = taken(asked, self.tenant)
        return _read(lambda: self._ledger.check(asked.account.name(self.tenant), **fields), check_shown)

    def balance(self, asked: Asked) -> Answer:
        return _read(
            lambda: self._ledger.balances(self.tenant, *asked.account, **asked.fields),
            lambda found: balance_shown(*found.balances),
        )

    def balances(self, asked: Asked) -> Answer:
        return _read(
            lambda: self._ledger.balances(self.tenant, asked.account.account_id),
            lambda found: Answer(outcome="ok", assets=tuple((one.name.asset, one.available) for one in found.balances)),
        )

    def account(self, asked: Asked) -> Answer:
        return _read(lambda: self._ledger.account(asked.account.name(self.tenant)), found_account)

    def lots(self, asked: Asked) -> Answer:
        return self._pages(
            lambda token: self._ledger.lots(
                asked.account.name(self.tenant), page_size=PAGE_SIZE, page_token=token, **asked.fields
            ),
            lambda pages: Answer(outcome="ok", lots=tuple(lot_shown(lot) for page in pages for lot in page.lots)),
        )

    def holds(self, asked: Asked) -> Answer:
        fields = {name: HoldState(said) if name == "state" else said for name, said in asked.fields.items()}
        return self._pages(
            lambda token: self._ledger.holds(
                asked.account.name(self.tenant), page_size=PAGE_SIZE, page_token=token, **fields
            ),
            lambda pages: Answer(
                outcome="ok",
                standing=balance_shown(pages[0].balance).standing,
                holds=tuple(hold_shown(hold) for page in pages for hold in page.holds),
            ),
        )

    def history(self, asked: Asked) -> Answer:
        fields = dict(asked.fields)
        first = fields.pop("page_token", "")
        wanted = HistoryFilter(
            kinds=frozenset(map(EntryKind, fields.pop("kinds", ()))),
            oldest_first=fields.pop("order", "") == "oldest_first",
            without_lines=not fields.pop("lines", True),
            **fields,
        )
        return self._pages(
            lambda token: self._ledger.history(
                asked.account.name(self.tenant), page_size=PAGE_SIZE, page_token=token or first, wanted=wanted
            ),
            lambda pages: Answer(
                outcome="ok", entries=tuple(entry_shown(one) for page in pages for one in page.entries)
            ),
        )

    def entry(self, asked: Asked) -> Answer:
        entry_id = public_id(IdPrefix.ENTRY, asked.account.key(self.tenant), asked.fields["number"])
        return _read(
            lambda: self._ledger.entry(self.tenant, entry_id), lambda found: found_entry(entry_shown(found.entry))
        )

    def explain(self, asked: Asked) -> Answer:
        entry_id = public_id(IdPrefix.ENTRY, asked.account.key(self.tenant), asked.number)
        return _read(lambda: self._ledger.explain(self.tenant, entry_id), explanation_shown)

    def trial_balance(self, asked: Asked) -> Answer:
        return _read(
            lambda: self._ledger.trial_balance(self.tenant, asked.account.asset, **asked.fields),
            lambda found: Answer(
                outcome="ok", totals={row.code.value: (row.debits, row.credits) for row in found.assets[0].rows}
            ),
        )

    def money(self, asked: Asked) -> Answer:
        return _read(
            lambda: self._ledger.money_trial_balance(self.tenant, **asked.fields),
            lambda found: Answer(
                outcome="ok",
                totals={row.code.value: (row.debits, row.credits) for one in found.currencies for row in one.rows},
            ),
        )

    def revenue(self, asked: Asked) -> Answer:
        fields = dict(asked.fields)
        sold = sold_as(fields.pop("package"), fields.pop("currency"))
        return _read(lambda: self._ledger.revenue(self.tenant, **fields), lambda found: revenue_shown(found.rows, sold))

    def assets(self) -> Iterable[str]:
        return [asset.asset for asset in self._ledger.assets(self.tenant)]

    def audit(self) -> Iterable[str]:
        return self._ledger.audit(self.tenant).findings

    @staticmethod
    def _pages(ask: Callable[[str], Any], answer: Callable[[list[Any]], Answer]) -> Answer:
        """All pages, or the reason why there is none."""
        pages, token = [], ""
        while not pages or token:
            try:
                page = ask(token)
            except MalformedError as error:
                return malformed(error)
            if isinstance(page, Refused):
                return refused(page)
            pages.append(page)
            token = page.next_page_token
        return answer(pages)


def _read(ask: Callable[[], Any], answer: Callable[[Any], Answer]) -> Answer:
    """What was found, or the reason why nothing was."""
    try:
        found = ask()
    except MalformedError as error:
        return malformed(error)
    return refused(found) if isinstance(found, Refused) else answer(found)
