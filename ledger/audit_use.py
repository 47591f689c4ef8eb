"""The invariants of charges and of what they and spend limits count, as pure functions that return sentences."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, NamedTuple

from ledger.chart import Code
from ledger.folding import asked_for, net_spent
from ledger.model import Entry, EntryKind, Hold
from ledger.operations import DeductMode
from ledger.outcome import Spent
from ledger.price_book import PriceBook
from ledger.pricing import Charge, RateCard, Unpriced
from ledger.terms import NO_TERMS, AccountTerms, Counter, SpendLimit, Window, counter_of, window_start

_COUNTED: Final = frozenset({EntryKind.DEDUCT, EntryKind.CAPTURE})
_CHARGED: Final = _COUNTED | {EntryKind.HOLD}
_LAPSES: Final = frozenset({EntryKind.HOLD_LAPSE, EntryKind.LOT_LAPSE})


class PricedCard(NamedTuple):
    """A version of a rate card, and the price book that has nothing else in it."""

    card: RateCard
    prices: PriceBook

    @classmethod
    def of(cls, card: RateCard) -> "PricedCard":
        """Prices whatever is asked, so that a charge can be made again of what it says."""
        return cls(card, PriceBook((card,), default_card=card.card))


# By name and version; None: it is there, but cannot be read.
Cards = Mapping[tuple[str, int], PricedCard | None]


class _Counts(NamedTuple):
    """What an entry must have counted under one name.

    limit   None: a rate card counts it
    row     `used` is what the window had with it; 0 for a rolling limit, whose entries are added up instead
    since   the beginning of the window; None for a rolling limit
    """

    limit: SpendLimit | None
    row: Spent
    since: datetime | None


@dataclass(slots=True)
class UseAudit:
    """Prices again what the entries of one account were charged, and folds what they count.

    terms       those that the account has now; of the limits it had before, it is only known what was counted
    cards       at least those that the entries name
    time_zone   of the account, as its entries up to the last one say
    """

    terms: AccountTerms
    cards: Cards
    time_zone: str = NO_TERMS.time_zone
    _used: dict[str, tuple[datetime, int]] = field(default_factory=dict)

    def entry(self, entry: Entry, where: str, hold: Hold | None, spent: Iterable[Spent]) -> Iterator[str]:
        """Takes the next entry.

        where   begins each sentence about it
        hold    that it makes, changes or ends
        spent   what is kept as counted by it
        """
        if entry.kind is EntryKind.UPDATE:
            self.time_zone = asked_for(entry).get("time_zone", self.time_zone)
        kept = {row.name: row for row in spent}
        counts: list[_Counts] = []
        version = None
        if entry.charge is not None:
            if entry.kind not in _CHARGED:
                yield f"{where} is of kind {entry.kind}, which does not fit that it was charged for usage."
            yield from _audit_amount(entry, entry.charge, where)
            version = self.cards.get((entry.charge.card, entry.charge.version))
            if version is None:
                yield from self._without_version(entry.charge, where)
                self._take_over(entry, kept)
            else:
                placed_at = entry.effective_at if hold is None else hold.placed_at
                yield from _audit_price(entry.charge, version, placed_at, where)
                yield from self._audit_before(entry, entry.charge, version.card, where)
                counts += self._counted(entry, entry.charge, version.card)
        if not (kept or counts or self.terms.limits):
            return
        counts += self._limits(entry, hold, kept)
        yield from self._compare(where, counts, kept, net_spent(entry.lines, hold))

    def _without_version(self, charge: Charge, where: str) -> Iterator[str]:
        why = "cannot be read" if (charge.card, charge.version) in self.cards else "is not there"
        yield f"{where} was charged by version {charge.version} of card {charge.card}, which {why}."

    def _take_over(self, entry: Entry, kept: dict[str, Spent]) -> None:
        """Believes what is kept of a card that is not known, so that it is not told of every entry that comes after."""
        for name in [name for name, row in kept.items() if row.limit is None]:
            counter = Counter(window=Window(name.split(":")[-2]), counted_as=name)
            since = window_start(counter, self.time_zone, entry.effective_at)
            self._used[name] = (since, kept.pop(name).used)

    def _window(self, counted: SpendLimit | Counter, at: datetime) -> tuple[datetime, int]:
        """The beginning of the window, and what is used in it so far."""
        since = window_start(counted, self.time_zone, at)
        known = self._used.get(counted.counted_as)
        return (since, 0) if known is None or known[0] < since else known

    def _counters(self, card: RateCard) -> dict[str, Counter]:
        """What a card counts, by unit."""
        if card.period is None:
            return {}
        return {unit: counter_of(card.card, unit, card.period, self.time_zone) for unit in card.units_counted}

    def _audit_before(self, entry: Entry, charge: Charge, card: RateCard, where: str) -> Iterator[str]:
        counters = self._counters(card)
        for part in charge.parts:
            if part.unit in counters:
                _, used = self._window(counters[part.unit], entry.effective_at)
                if part.before != used:
                    yield (
                        f"{where} was charged as if card {card.card} had counted {part.before} {part.unit} before, "
                        f"but the entries up to it counted {used}."
                    )

    def _counted(self, entry: Entry, charge: Charge, card: RateCard) -> Iterator[_Counts]:
        """What is counted for the allowances and tiers of what comes next; what is only held is not."""
        counters = self._counters(card) if entry.kind in _COUNTED else {}
        for part in charge.parts:
            if (counter := counters.get(part.unit)) is not None:
                since, used = self._window(counter, entry.effective_at)
                used += part.counted
                row = _spent(entry, counter.counted_as, entry.effective_at, part.counted, used)
                yield _Counts(None, row, since)

    def _limits(self, entry: Entry, hold: Hold | None, kept: Mapping[str, Spent]) -> Iterator[_Counts]:
        """What is counted under the limits that the account has now."""
        change = net_spent(entry.lines, hold) if self.terms.limits else 0
        if change == 0:
            return
        at = entry.effective_at
        began = (at, entry.seq) if hold is None or hold.lot is not None else (hold.placed_at, hold.number)
        for limit in self.terms.limits:
            if entry.seq <= limit.set_by or not limit.counts(entry.operation):
                continue
            spent_at, spent_by = began
            if change < 0 and (entry.kind is EntryKind.REFUND or (entry.kind in _LAPSES and limit.length is None)):
                # It gives back what an entry spent that is not at hand, or was written when the window was over.
                if limit.counted_as not in kept:
                    continue
                spent_at, spent_by = kept[limit.counted_as].at, limit.set_by
            if change < 0 and spent_by < limit.set_by:
                continue
            if limit.length is not None:
                counts_at = spent_at if change < 0 else at
                yield _Counts(limit, _spent(entry, limit.counted_as, counts_at, change, 0, limit=limit), None)
                continue
            since, used = self._window(limit, at)
            if change > 0 or spent_at >= since:
                used += change
                yield _Counts(limit, _spent(entry, limit.counted_as, at, change, used, limit=limit), since)

    def _compare(self, where: str, counts: Iterable[_Counts], kept: dict[str, Spent], change: int) -> Iterator[str]:
        for limit, row, since in counts:
            if since is not None:
                self._used[row.name] = (since, row.used)
            found = kept.pop(row.name, None)
            if found is None:
                yield f"{where} counts {row.change} under {row.name}, which is not kept."
                continue
            if limit is not None and found.limit is not None:
                # It may have been another amount then.
                found = replace(found, limit=limit.amount, used=found.used if since is not None else 0)
            if found != row:
                yield f"{where} is kept as counting {_shown(found)}, but it counts {_shown(row)}."
        current = {limit.counted_as for limit in self.terms.limits}
        for name, found in kept.items():
            # Of a limit that the account had before, it is not known what it was for.
            if found.limit is None or name in current or found.change != change:
                yield f"{where} is kept as counting {found.change} under {name}, where it counts nothing."


def _spent(entry: Entry, name: str, at: datetime, change: int, used: int, *, limit: SpendLimit | None = None) -> Spent:
    amount = None if limit is None else limit.amount
    return Spent(name=name, seq=entry.seq, at=at, change=change, used=used, limit=amount)


def _audit_amount(entry: Entry, charge: Charge, where: str) -> Iterator[str]:
    """What was charged is what was moved; a deduction that takes what there is may take less."""
    moved, may_be_less = entry.used, False
    if entry.kind is EntryKind.HOLD:
        moved = entry.moved(Code.AVAILABLE, Code.HELD)
    elif entry.kind is EntryKind.DEDUCT:
        may_be_less = asked_for(entry).get("mode") == DeductMode.CLAMP
    if moved > charge.amount or (moved < charge.amount and not may_be_less):
        yield f"{where} was charged {charge.amount}, but its lines move {moved}."


def _audit_price(charge: Charge, version: PricedCard, at: datetime, where: str) -> Iterator[str]:
    """The version makes the same charge of the same usage."""
    by = f"version {charge.version} of card {charge.card}"
    again = version.prices.price(charge.usage, at, {part.unit: part.before for part in charge.parts})
    if isinstance(again, Unpriced):
        yield f"{where} was charged by {by}, which has no price for that at {at}: {again.reason}."
        return
    for name in ("amount", "exact", "discount", "parts"):
        kept, made = getattr(charge, name), getattr(again, name)
        if kept != made:
            yield f"{where} says that its charge has {name} {_shown(kept)}, but {by} makes it {_shown(made)}."


def _shown(value: object) -> str:
    match value:
        case Spent():
            used = f" with {value.used} used" if value.used else ""
            return f"{value.change} under {value.name} at {value.at}{used}"
        case tuple():
            return ", ".join(" ".join(str(figure) for figure in part) for part in value) or "nothing"
        case _:
            return "nothing" if value is None else str(value)
