"""What becomes of rate cards when they are set: new versions, if they differ from the last ones."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from ledger.outcome import Figure, Reason, Refused
from ledger.price_book import clash, counting, in_effect, last_versions
from ledger.pricing import AT_ONCE, CardVersion, RateCard


class CardAction(StrEnum):
    """What is done with a rate card."""

    CREATED = "created"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True, kw_only=True)
class CardChange:
    """What became of a rate card.

    before   its last version before; None if it is new
    after    its last version now
    """

    action: CardAction
    before: RateCard | None
    after: RateCard


@dataclass(frozen=True, slots=True, kw_only=True)
class CardChanges:
    """What became of the rate cards of an asset.

    changes    of the cards that were named, in that order, then of those that were retired because they were not
    revision   how often cards of the asset have been set
    """

    changes: tuple[CardChange, ...]
    revision: int


def changes_of(
    kept: tuple[CardVersion, ...], cards: Sequence[RateCard], now: datetime, *, retire_others: bool
) -> tuple[CardChange, ...] | Refused:
    """What becomes of each card, in order, and then of those that are not named, if they are retired.

    kept      all versions so far
    cards     as they are to be; their versions are not looked at
    refuses   EFFECTIVE_IN_PAST, RATE_CARDS_CLASH, in that order
    """
    last = last_versions(kept)
    changes: list[CardChange] = []
    others = sorted(last.keys() - {card.card for card in cards}) if retire_others else ()
    # What is to end only later ends now.
    there = (last[name].whole for name in others)
    endings = [card for card in there if not card.retired or card.effective_at > now]
    for card in (*cards, *(replace(card, retired=True, effective_at=AT_ONCE) for card in endings)):
        before = last.get(card.card)
        changed = _change(None if before is None else before.whole, card, now)
        if isinstance(changed, Refused):
            return changed
        changes.append(changed)
    after: tuple[CardVersion, ...] = (*kept, *written(changes))
    to_come = (one.whole for one in counting(after) if one.effective_at > now)
    if pair := clash((*in_effect(after, now), *to_come)):
        return Refused(reason=Reason.RATE_CARDS_CLASH, figures={"card": pair[0].card, "other": pair[1].card})
    return tuple(changes)


def written(changes: Iterable[CardChange]) -> tuple[RateCard, ...]:
    """The versions that are new."""
    return tuple(change.after for change in changes if change.action is not CardAction.UNCHANGED)


def _change(before: RateCard | None, card: RateCard, now: datetime) -> CardChange | Refused:
    effective_at = now if card.effective_at == AT_ONCE else card.effective_at.astimezone(UTC)
    # What has not begun can be set once more, to begin earlier.
    if before is not None and before.effective_at <= max(now, effective_at) and _is_as(card, before):
        return CardChange(action=CardAction.UNCHANGED, before=before, after=before)
    if effective_at < now:
        figures: dict[str, Figure] = {"card": card.card, "effective_at": effective_at, "now": now}
        return Refused(reason=Reason.EFFECTIVE_IN_PAST, figures=figures)
    after = replace(card, effective_at=effective_at, version=1 if before is None else before.version + 1)
    if before is None:
        return CardChange(action=CardAction.CREATED, before=None, after=after)
    is_end = after.retired and not before.retired
    return CardChange(action=CardAction.RETIRED if is_end else CardAction.CHANGED, before=before, after=after)


def _is_as(card: RateCard, other: RateCard) -> bool:
    return replace(card, effective_at=other.effective_at, version=other.version) == other
