"""The pure core as a target of scenarios: states, decisions and nothing else.

How the books stood at a past instant is told by the state after the last change up to it, settled to that instant.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from ledger import (
    CHART,
    DEFAULT_ASSET,
    Accepted,
    AccountKey,
    Asset,
    AssetPolicy,
    Entry,
    EntryKind,
    HoldState,
    MalformedError,
    RateCard,
    Reason,
    Refused,
    Request,
    Unpriced,
)
from ledger import Account as LedgerAccount
from ledger.administration import check_policy
from ledger.audit import AccountAudit, Sums, add_lines, audit_peer, audit_totals
from ledger.card_versions import changes_of, written
from ledger.decide import settle
from ledger.decide.charging import due, unpriced
from ledger.draft import Draft
from ledger.fields import GRANT_TTL_MAX, bad_duration, check, check_account, check_asset
from ledger.ids import parse_page_token
from ledger.lots import burn_order, pending
from ledger.outcome import State
from ledger.price_book import PriceBook, in_effect
from ledger.rate_cards import check_cards, check_quote, check_rate_card
from tests.asked import Account, Answer, Asked, Standing
from tests.books import Clock
from tests.grammar import INT64_MAX
from tests.ledger_target import LibraryTarget, card_of, operation_of, taken
from tests.pure_books import PureBooks
from tests.shown import (
    account_figures,
    card_shown,
    change_shown,
    charge_figures,
    entry_shown,
    found_entry,
    hold_shown,
    lot_shown,
    malformed,
    refused,
)


class PureTarget(LibraryTarget):
    """The pure core. It cannot explain, nor report on money: that is told by what was written beside the entries."""

    cannot = frozenset({"explain", "money", "revenue"})

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._assets = {DEFAULT_ASSET: Asset(tenant=self.tenant, asset=DEFAULT_ASSET, scale=0)}
        self._cards: dict[str, tuple[RateCard, ...]] = {}
        self._books = PureBooks(self._assets, self._cards)
        self._past: dict[AccountKey, list[State]] = defaultdict(list)

    def execute(self, operations: Sequence[Request], *, atomic: bool) -> tuple[Accepted | Refused, ...]:
        if atomic:
            outcomes = self._books.execute_atomically(operations, self.clock())
            self._remember(operations)
            return outcomes
        outcomes = []
        for operation in operations:
            outcomes.append(self._books.execute(operation, self.clock()))
            self._remember([operation])
        return tuple(outcomes)

    def foresee(self, operations: Sequence[Request], *, atomic: bool) -> tuple[Accepted | Refused, ...]:
        books = self._books.copy()
        if atomic:
            return books.execute_atomically(operations, self.clock())
        return tuple(books.execute(operation, self.clock()) for operation in operations)

    def _remember(self, operations: Iterable[Request]) -> None:
        """How each account stands after a change, to tell it later."""
        for key in {key for operation in operations for key in operation.keys}:
            if self._books.states[key].account is not None:
                self._past[key].append(self._books.states[key].copy())

    def asset(self, asked: Asked) -> Answer:
        asset, scale = asked.account.asset, asked.fields.get("scale", 0)
        try:
            check_asset(asset, scale)
        except MalformedError as error:
            return malformed(error)
        known = self._assets.setdefault(asset, Asset(tenant=self.tenant, asset=asset, scale=scale))
        if known.scale == scale:
            return Answer(outcome="ok")
        figures = {"asset": asset, "scale": known.scale, "requested_scale": scale}
        return Answer(outcome=Reason.ASSET_EXISTS.name, figures=figures)

    def policy(self, asked: Asked) -> Answer:
        asset, policy = asked.account.asset, AssetPolicy(**taken(asked, self.tenant))
        try:
            check_policy(asset, policy)
        except MalformedError as error:
            return malformed(error)
        if asset not in self._assets:
            return Answer(outcome=Reason.ASSET_NOT_FOUND.name, figures={"asset": asset})
        self._assets[asset] = replace(self._assets[asset], policy=policy)
        return Answer(outcome="ok")

    def price(self, asked: Asked) -> Answer:
        asset, (card, retire_others) = asked.account.asset, card_of(asked, self.tenant)
        try:
            check_cards((card,))
        except MalformedError as error:
            return malformed(error)
        if asset not in self._assets:
            return Answer(outcome=Reason.ASSET_NOT_FOUND.name, figures={"asset": asset})
        kept = self._cards.get(asset, ())
        changes = changes_of(kept, (card,), self.clock(), retire_others=retire_others)
        if isinstance(changes, Refused):
            return refused(changes)
        self._cards[asset] = (*kept, *written(changes))
        return change_shown(changes)

    def card(self, asked: Asked) -> Answer:
        asset, name, version = asked.account.asset, asked.fields["card"], asked.fields.get("version", 0)
        try:
            check_rate_card(name, version)
        except MalformedError as error:
            return malformed(error)
        if asset not in self._assets:
            return Answer(outcome=Reason.ASSET_NOT_FOUND.name, figures={"asset": asset})
        kept = self._cards.get(asset, ())
        found = [one for one in kept if one.version == version] if version else in_effect(kept, self.clock())
        named = [one for one in found if one.card == name]
        if named:
            return card_shown(named[0])
        figures = {"asset": asset, "card": name, "version": version}
        return Answer(outcome=Reason.RATE_CARD_NOT_FOUND.name, figures=figures)

    def quote(self, asked: Asked) -> Answer:
        asset, fields = asked.account.asset, taken(asked, self.tenant)
        try:
            check_quote(fields["usage"], fields.get("at"))
        except MalformedError as error:
            return malformed(error)
        if asset not in self._assets:
            return Answer(outcome=Reason.ASSET_NOT_FOUND.name, figures={"asset": asset})
        policy, at = self._assets[asset].policy, fields.get("at", self.clock())
        charge = PriceBook(tuple(self._cards.get(asset, ())), policy.default_card).list_price(fields["usage"], at)
        if isinstance(charge, Unpriced):
            return refused(unpriced(asset, charge))
        return Answer(outcome="ok", figures=charge_figures(charge))

    def quote_for(self, asked: Asked) -> Answer:
        return self.check(asked)

    def check(self, asked: Asked) -> Answer:
        """By what a deduction would answer, and by how much one would take that takes what it can."""
        balance = self.balance(asked)
        if balance.outcome != "ok":
            return balance
        (told,) = self.preview([replace(asked, command="deduct", request_id="check")], atomic=False)
        if told.outcome in {"INVALID_FIELD", "PRICE_NOT_FOUND", "UNIT_MISMATCH", "COST_OVERFLOW"}:
            return told
        amount, charged = asked.fields.get("amount"), {}
        if "usage" in asked.fields:
            # What it costs is told even to an account that may spend nothing.
            operation = operation_of(replace(asked, command="deduct", request_id="check"), self.tenant)
            state = self._books.load(operation, self.clock())[operation.key]
            cost = due(state, Draft(state, state.account, self.clock()), None, operation.usage, self.clock())
            if isinstance(cost, Refused):
                return refused(cost)
            amount, charged = cost.amount, charge_figures(cost.charge)
        what_for = {"operation": asked.fields["usage"]["operation"]} if charged else asked.fields
        fields = {**what_for, "amount": INT64_MAX, "mode": "clamp"}
        most = replace(asked, command="deduct", request_id="check", fields=fields)
        (clamped,) = self.preview([most], atomic=False)
        spendable = clamped.figures.get("deducted", 0)
        figures = {
            "allowed": "yes" if told.outcome == "ok" else "no",
            "spendable": spendable,
            "shortfall": max(amount - spendable, 0),
            "reason": "none" if told.outcome == "ok" else told.outcome,
            "amount": amount,
            **charged,
        }
        return replace(balance, figures=figures)

    def balance(self, asked: Asked) -> Answer:
        within = asked.fields.get("expiring_within")
        try:
            check(bad_duration("expiring_within", within, GRANT_TTL_MAX))
        except MalformedError as error:
            return malformed(error)
        state = self._stood(asked)
        if isinstance(state, Answer):
            return state
        at = max(self._at(asked), state.account.as_of)
        figures = {"scale": state.scale}
        if within is not None:
            ends = [(lot.terms.expires_at, lot.remaining) for lot in state.lots.values()]
            figures["expiring"] = sum(remaining for end, remaining in ends if end is not None and end <= at + within)
        return Answer(outcome="ok", figures=figures, standing=_standing(state, at))

    def balances(self, asked: Asked) -> Answer:
        account_id = asked.account.account_id
        found = [
            (asset, self.balance(Asked(command="", account=Account(account_id, asset)))) for asset in self.assets()
        ]
        found = [(asset, answer.standing.available) for asset, answer in found if answer.outcome == "ok"]
        return Answer(outcome="ok", assets=tuple(found)) if found else Answer(outcome="ACCOUNT_NOT_FOUND")

    def account(self, asked: Asked) -> Answer:
        state = self._stood(asked)
        if isinstance(state, Answer):
            return state
        key, account = asked.account.key(self.tenant), state.account
        frozen = [entry for entry in self._books.entries[key] if entry.kind is EntryKind.FREEZE]
        opening = operation_of(replace(asked, command="open", request_id="none"), self.tenant)
        spending = self._books.load(opening, self.clock())[key].spending
        return Answer(
            outcome="ok",
            figures=account_figures(account, frozen[-1].memo.description if frozen else ""),
            standing=_standing(state, max(self.clock(), account.as_of)),
            limits=tuple((limit.name, spending[limit.counted_as].used, limit.amount) for limit in account.terms.limits),
        )

    def lots(self, asked: Asked) -> Answer:
        state = self._stood(asked)
        if isinstance(state, Answer):
            return state
        if asked.fields.get("include_empty", False):
            found = sorted(state.lots.values(), key=lambda lot: -lot.number)
        else:
            found = sorted((lot for lot in state.lots.values() if lot.is_open), key=burn_order)
        return Answer(outcome="ok", lots=tuple(lot_shown(lot) for lot in found))

    def holds(self, asked: Asked) -> Answer:
        state = self._stood(asked)
        if isinstance(state, Answer):
            return state
        found = sorted(state.holds.values(), key=lambda hold: -hold.number)
        wanted = asked.fields.get("state")
        return Answer(
            outcome="ok",
            standing=_standing(state, max(self._at(asked), state.account.as_of)),
            holds=tuple(hold_shown(hold) for hold in found if wanted in {None, hold.state.value}),
        )

    def history(self, asked: Asked) -> Answer:
        account, fields = asked.account, asked.fields
        filters = (self.tenant, account.asset, account.account_id)
        if "page_token" in fields and parse_page_token(filters, fields["page_token"]) is None:
            return Answer(outcome=Reason.INVALID_PAGE_TOKEN.name)
        if missing := self._missing(account):
            return missing
        found = [entry for entry in self._all_entries(account) if _is_wanted(entry, fields)]
        if fields.get("order") != "oldest_first":
            found.reverse()
        return Answer(
            outcome="ok", entries=tuple(entry_shown(entry, lines=fields.get("lines", True)) for entry in found)
        )

    def entry(self, asked: Asked) -> Answer:
        found = [] if self._missing(asked.account) else self._all_entries(asked.account)
        number = asked.fields["number"]
        return found_entry(next((entry_shown(entry) for entry in found if entry.seq == number), None))

    def trial_balance(self, asked: Asked) -> Answer:
        asset, at = asked.account.asset, self._at(asked)
        if at > self.clock():
            return Answer(
                outcome=Reason.INSTANT_IN_FUTURE.name, figures={"field": "as_of", "as_of": at, "now": self.clock()}
            )
        if asset not in self._assets:
            return Answer(outcome=Reason.ASSET_NOT_FOUND.name)
        sums = {}
        for account in self._accounts():
            if account.asset == asset:
                # A clock that has stepped back takes nothing back; only a past instant that was asked for does.
                past = asked.fields.get("as_of")
                found = [
                    entry for entry in self._all_entries(account, at) if past is None or entry.effective_at <= past
                ]
                add_lines(sums, (line for entry in found for line in entry.lines))
        return Answer(outcome="ok", totals={code.value: sums.get(code, (0, 0)) for code in CHART})

    def assets(self) -> Iterable[str]:
        return sorted(self._assets)

    def audit(self) -> Iterable[str]:
        sums: dict[str, Sums] = {}
        for account in self._accounts():
            key = account.key(self.tenant)
            state, entries = self._books.states[key], self._books.entries[key]
            audit = AccountAudit(state.account, self._books.versions(account.asset))
            counted = self._books.counted_by(key)
            for entry in entries:
                refunded = None if entry.refunds is None else entries[entry.refunds - 1]
                yield from audit.entry(entry, counted[entry.seq], refunded)
                if entry.peer is not None:
                    other, number = entry.peer
                    yield from audit_peer(account.name(self.tenant), entry, self._books.entries[other][number - 1])
            open_lots = {lot.number for lot in state.lots.values() if lot.is_open}
            open_holds = [hold for hold in state.holds.values() if hold.state is HoldState.OPEN]
            used = {entry.seq: entry for entry in entries if entry.seq in audit.refunded}
            yield from audit.end(state.lots.values(), open_lots, open_holds, used)
            add_lines(sums.setdefault(account.asset, {}), (line for entry in entries for line in entry.lines))
        for asset, folded in sums.items():
            yield from audit_totals(asset, folded, folded)

    def _accounts(self) -> list[Account]:
        names = [state.account.name for state in self._books.states.values() if state.account is not None]
        return [Account(name.account_id, name.asset) for name in names]

    def _account(self, account: Account) -> LedgerAccount | None:
        return self._books.states.get(account.key(self.tenant), State()).account

    def _at(self, asked: Asked) -> datetime:
        return asked.fields.get("as_of", self.clock())

    def _missing(self, account: Account) -> Answer | None:
        if self._account(account) is not None:
            return None
        try:
            check_account(account.name(self.tenant))
        except MalformedError as error:
            return malformed(error)
        if account.asset not in self._assets:
            return Answer(outcome=Reason.ASSET_NOT_FOUND.name, figures={"asset": account.asset})
        return Answer(outcome=Reason.ACCOUNT_NOT_FOUND.name, figures=account._asdict())

    def _stood(self, asked: Asked) -> State | Answer:
        """The account as it stood at the instant, with all that had lapsed by then."""
        at, now = self._at(asked), self.clock()
        account = self._account(asked.account)
        if at > (now if account is None else max(now, account.as_of)):
            return Answer(outcome=Reason.INSTANT_IN_FUTURE.name, figures={"field": "as_of", "as_of": at, "now": now})
        if missing := self._missing(asked.account):
            return missing
        states = self._past[asked.account.key(self.tenant)]
        if "as_of" in asked.fields:
            states = [state for state in states if state.account.as_of <= at]
        if not states:
            return Answer(outcome=Reason.ACCOUNT_NOT_FOUND.name)
        posting = settle(states[-1], at)
        lots = {**states[-1].lots, **{lot.number: lot for lot in posting.lots}}
        holds = {**states[-1].holds, **{hold.number: hold for hold in posting.holds}}
        return replace(states[-1], account=posting.account, lots=lots, holds=holds)

    def _all_entries(self, account: Account, at: datetime | None = None) -> list[Entry]:
        """What is written, then what has lapsed and is not written yet."""
        key = account.key(self.tenant)
        unwritten = settle(self._books.states[key], at or self.clock()).entries
        return [*self._books.entries[key], *(replace(entry, recorded_at=None) for entry in unwritten)]


def _standing(state: State, at: datetime) -> Standing:
    account, not_yet = state.account, pending(state.lots.values(), at)
    return Standing(account.available - not_yet, account.held, account.owed, not_yet)


def _is_wanted(entry: Entry, fields: Mapping[str, Any]) -> bool:
    """True if the entry is all that the filters ask for."""
    return (
        entry.kind.value in fields.get("kinds", (entry.kind.value,))
        and fields.get("since", entry.effective_at) <= entry.effective_at
        and ("until" not in fields or entry.effective_at < fields["until"])
        and fields.get("reference", entry.memo.reference) == entry.memo.reference
        and fields.get("operation", entry.operation) == entry.operation
        and ("lot" not in fields or fields["lot"] in {line.lot for line in entry.lines})
        and fields.get("hold", entry.hold) == entry.hold
    )
