"""The pure core without a database: states are loaded, settled, decided on and changed as the writer does it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from ledger import Accepted, Asset, Entry, Refused, Request
from ledger.administration import Merge
from ledger.audit_use import PricedCard
from ledger.decide import decide, settle
from ledger.ids import AccountKey
from ledger.operations import OfAccount, Transfer
from ledger.outcome import Posting, Spending, Spent, State
from ledger.price_book import PriceBook
from ledger.pricing import RateCard
from ledger.terms import Window, counter_of, window_start


class PureBooks:
    """All accounts of a tenant.

    assets    by name
    cards     all versions of each asset's rate cards, by its name
    entries   all that were ever written, by account
    """

    def __init__(self, assets: Mapping[str, Asset], cards: Mapping[str, tuple[RateCard, ...]] | None = None) -> None:
        self.assets = assets
        self.cards = {} if cards is None else cards
        self.states: dict[AccountKey, State] = {}
        self.entries: dict[AccountKey, list[Entry]] = defaultdict(list)
        self._spent: dict[AccountKey, list[Spent]] = defaultdict(list)

    def copy(self) -> "PureBooks":
        """The same, to try something."""
        copied = PureBooks(self.assets, self.cards)
        copied.states = {key: state.copy() for key, state in self.states.items()}
        for key, entries in self.entries.items():
            copied.entries[key] = list(entries)
            copied._spent[key] = list(self._spent[key])
        return copied

    def load(self, operation: Request, now: datetime) -> Mapping[AccountKey, State]:
        """What is known of the accounts that the operation names."""
        for key in operation.keys:
            state = self.states.setdefault(key, State())
            if state.account is not None:
                self._load_spending(key, state, now)
                self._load_counters(key, state, now)
        names = [operation.account] if isinstance(operation, OfAccount) else []
        names += [operation.to] if isinstance(operation, Transfer) else []
        names += [operation.into] if isinstance(operation, Merge) else []
        for name in names:
            self.states[name.key].asset = self.assets.get(name.asset)
        self._load_prices(self.states[operation.key])
        return {key: self.states[key] for key in operation.keys}

    def versions(self, asset: str) -> Mapping[tuple[str, int], PricedCard]:
        """The asset's rate cards, for the audit."""
        return {(card.card, card.version): PricedCard.of(card) for card in self.cards.get(asset, ())}

    def counted_by(self, key: AccountKey) -> Mapping[int, list[Spent]]:
        """What is kept as counted by an account's entries, by their numbers."""
        found: dict[int, list[Spent]] = defaultdict(list)
        for spent in self._spent[key]:
            found[spent.seq].append(spent)
        return found

    def _load_spending(self, key: AccountKey, state: State, now: datetime) -> None:
        terms = state.account.terms
        for limit in terms.limits:
            since = window_start(limit, terms.time_zone, max(now, state.account.as_of))
            kept = [spent for spent in self._spent[key] if spent.name == limit.counted_as and spent.at >= since]
            newest = max(kept, key=lambda spent: (spent.at, spent.seq), default=None)
            changes = sum(spent.change for spent in kept)
            state.spending[limit.counted_as] = Spending(
                used=changes if limit.length is not None else newest.used if newest is not None else 0,
                since=since,
                oldest=min((spent.at for spent in kept if spent.change > 0), default=None),
            )

    def _load_prices(self, state: State) -> None:
        if state.asset is not None:
            cards = self.cards.get(state.asset.asset, ())
            state.prices = PriceBook(cards, state.asset.policy.default_card)

    def _load_counters(self, key: AccountKey, state: State, now: datetime) -> None:
        """All that rate cards have counted, added up."""
        for name in {spent.name for spent in self._spent[key] if spent.limit is None}:
            _, card, unit, period, zone = name.split(":")
            counter = counter_of(card, unit, Window(period), zone)
            since = window_start(counter, zone, max(now, state.account.as_of))
            kept = [spent for spent in self._spent[key] if spent.name == name and spent.at >= since]
            state.spending[counter.counted_as] = Spending(
                used=sum(spent.change for spent in kept),
                since=since,
                oldest=min((spent.at for spent in kept), default=None),
            )

    def settle(self, operation: Request, now: datetime) -> None:
        """Writes what has lapsed on the accounts that the operation names."""
        states = self.load(operation, now)
        self.write(settle(state, now) for state in states.values() if state.account is not None)

    def decide(self, operation: Request, now: datetime) -> Accepted | Refused:
        """Decides from what is loaded, and writes nothing."""
        return decide({key: self.states[key] for key in operation.keys}, operation, now)

    def execute(self, operation: Request, now: datetime) -> Accepted | Refused:
        """All of it."""
        self.settle(operation, now)
        outcome = self.decide(operation, now)
        if isinstance(outcome, Accepted):
            self.write(outcome.postings)
        return outcome

    def execute_atomically(self, operations: Iterable[Request], now: datetime) -> tuple[Accepted | Refused, ...]:
        """All of them or none; what has lapsed is written in any case."""
        operations = tuple(operations)
        for operation in operations:
            self.settle(operation, now)
        tried, outcomes = self.copy(), []
        for index, operation in enumerate(operations):
            outcomes.append(tried.execute(operation, now))
            if isinstance(refused := outcomes[-1], Refused):
                blamed = replace(refused, figures={**refused.figures, "operation": index})
                return (blamed,) * len(operations)
        self.__dict__ = tried.__dict__
        return tuple(outcomes)

    def write(self, postings: Iterable[Posting]) -> None:
        """Takes over what was decided."""
        for posting in postings:
            self.states[posting.key].apply(posting)
            self.entries[posting.key].extend(posting.entries)
            self._spent[posting.key].extend(posting.spent)
