"""A file of rate cards, and of examples that say what they must charge. docs/pricing.md#files shows one."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

from ledger import (
    AT_ONCE,
    DEFAULT_ASSET,
    INT64_MAX,
    Charge,
    Discount,
    MalformedError,
    Meter,
    PriceBook,
    RateCard,
    Rounding,
    Tier,
    Tiering,
    Unpriced,
    Usage,
    Violation,
    Window,
    check_cards,
    check_usage,
    clash,
)
from server.marked_file import Part, UnusableFileError, read_marked

Read = TypeVar("Read")

_MISTAKES_SHOWN: Final = 20
_REFUSALS: Final = ("price_not_found", "unit_mismatch", "cost_overflow")
_EXPECTED: Final = ("amount", "card", "refused")
_KEYS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "file": ("asset", "cards", "examples"),
        "card": (
            "card",
            "description",
            "provider",
            "operation",
            "operations",
            "dimensions",
            "fixed",
            "meters",
            "minimum",
            "rounding",
            "period",
            "discount",
            "effective_at",
            "retired",
        ),
        "meter": ("unit", "rate", "per", "step", "minimum", "free", "tiers", "tiering"),
        "tier": ("up_to", "rate"),
        "discount": ("percent", "since", "until"),
        "example": ("usage", "before", "at", *_EXPECTED),
        "usage": ("provider", "operation", "dimensions", "quantities", "bundled"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """What usage must cost.

    place     where in the file it stands
    before    what the period had before, by unit
    at        the instant whose prices count
    amount    smallest units; None: any
    card      the card that counts; None: any
    refused   why it has no price; None: it has one
    """

    place: str
    usage: Usage
    before: Mapping[str, int]
    at: datetime
    amount: int | None
    card: str | None
    refused: str | None

    def agrees(self, found: Charge | Unpriced) -> bool:
        """True if what is found is what is expected."""
        if isinstance(found, Unpriced):
            return found.reason == self.refused
        return self.refused is None and self.amount in (None, found.amount) and self.card in (None, found.card)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceFile:
    """What the file says.

    cards   effective AT_ONCE where it does not say when; their versions mean nothing
    """

    asset: str
    cards: tuple[RateCard, ...]
    examples: tuple[Example, ...]

    def tried(self, default_card: str) -> list[tuple[Example, Charge | Unpriced]]:
        """Each example, and what its usage costs by the cards of the file."""
        book = PriceBook(self.cards, default_card)
        return [(one, book.price(one.usage, one.at, one.before)) for one in self.examples]


def read_price_file(path: Path) -> PriceFile:
    """Reads a file and checks all that is in it. Raises UnusableFileError, which names up to 20 mistakes."""
    whole = read_marked(path)
    mistakes: list[Violation] = []
    asset, cards, examples = DEFAULT_ASSET, [], []
    try:
        table = whole.table(*_KEYS["file"])
        asset = table["asset"].text() if "asset" in table else DEFAULT_ASSET
        cards = whole.need("cards").items()
        examples = table["examples"].items() if "examples" in table else []
    except MalformedError as error:
        mistakes += error.violations
    read_cards = tuple(_each(cards, _card, mistakes))
    # What could not be read is missing; then places of what follows would be told wrongly.
    if not mistakes:
        mistakes += _wrong_with(read_cards)
    # When an example does not say when, all cards of the file are in effect.
    usually = max((card.effective_at for card in read_cards), default=AT_ONCE)
    read_examples = tuple(_each(examples, lambda part: _example(part, usually), mistakes))
    if not mistakes:
        mistakes += _unknown_in(examples, read_cards)
    if mistakes:
        raise UnusableFileError("\n".join(_told(path, whole, mistakes)))
    return PriceFile(asset=asset, cards=read_cards, examples=read_examples)


def _wrong_with(cards: tuple[RateCard, ...]) -> tuple[Violation, ...]:
    try:
        check_cards(cards)
    except MalformedError as error:
        return error.violations
    if (found := clash(cards)) is None:
        return ()
    one, other = sorted(cards.index(card) for card in found)
    must = f"must cover something else than {cards[one].card}, which has the same provider, operations and dimensions."
    return (Violation(field=f"cards[{other}]", must=must),)


def _unknown_in(examples: list[Part], cards: tuple[RateCard, ...]) -> Iterator[Violation]:
    """What examples name that no card has: it would be expected in vain, or never looked at."""
    names, units = {card.card for card in cards}, {unit for card in cards for unit in card.units_counted}
    for example in examples:
        table = example.table()
        if "card" in table and table["card"].text() not in names:
            must = f"must be a card of this file; it is {table['card'].text()[:40]!r}."
            yield Violation(field=table["card"].path, must=must)
        for unit, number in table["before"].table().items() if "before" in table else ():
            if unit not in units:
                must = f"is counted by no card of this file; counted are {', '.join(sorted(units)) or 'none'}."
                yield Violation(field=number.path, must=must)


def _each(parts: list[Part], read: Callable[[Part], Read], mistakes: list[Violation]) -> list[Read]:
    """What can be read of the parts; what is wrong with the others is added to the mistakes."""
    done = []
    for part in parts:
        try:
            done.append(read(part))
        except MalformedError as error:
            mistakes += error.violations
    return done


def _told(path: Path, whole: Part, mistakes: list[Violation]) -> list[str]:
    places = {part.path: part for part in whole.all()}
    told = []
    for mistake in mistakes[:_MISTAKES_SHOWN]:
        place = mistake.field
        while place and place not in places:
            place = place[: max(place.rfind("."), place.rfind("["), place.rfind(" "), 0)]
        part = places.get(place, whole)
        at = f"{path}: " if part.line is None else f"{path}, line {part.line}: "
        told.append(f"{at}{mistake.field or 'the file'} {mistake.must}")
    if len(mistakes) > _MISTAKES_SHOWN:
        told.append(f"… and {len(mistakes) - _MISTAKES_SHOWN:,} more")
    return told


def _card(part: Part) -> RateCard:
    given = _given(
        part,
        "card",
        needed=("card", "provider"),
        card=Part.text,
        provider=Part.text,
        operation=lambda operation: (operation.text(),),
        operations=_words,
        description=Part.text,
        dimensions=_texts,
        fixed=Part.decimal,
        meters=lambda meters: _all(meters, _meter),
        minimum=Part.decimal,
        rounding=lambda rounding: rounding.one_of(Rounding),
        period=lambda period: period.one_of((Window.HOUR, Window.DAY, Window.MONTH)),
        discount=_discount,
        effective_at=Part.instant,
        retired=Part.flag,
    )
    operations = [given.pop(key) for key in ("operation", "operations") if key in given]
    if len(operations) != 1:
        raise part.wrong("must have one of `operation` and, for a bundle, `operations`.")
    return RateCard(operations=operations[0], version=1, **{"effective_at": AT_ONCE, **given})


def _given(part: Part, kind: str, needed: tuple[str, ...], **readers: Callable[[Part], Any]) -> dict[str, Any]:
    """What a table has, by key; what it has not keeps its usual value. All that is wrong with it is raised at once.

    needed   the keys that it cannot do without
    """
    table = part.table(*_KEYS[kind])
    found: dict[str, Any] = {}
    mistakes: list[Violation] = []
    for key, read in readers.items():
        if key in table or key in needed:
            try:
                found[key] = read(part.need(key))
            except MalformedError as error:
                mistakes += error.violations
    _raise(mistakes)
    return found


def _all(part: Part, read: Callable[[Part], Read]) -> tuple[Read, ...]:
    """The items of a list; all that is wrong with them is raised at once."""
    mistakes: list[Violation] = []
    items = tuple(_each(part.items(), read, mistakes))
    _raise(mistakes)
    return items


def _raise(mistakes: list[Violation]) -> None:
    if mistakes:
        raise MalformedError(tuple(mistakes))


def _words(part: Part) -> tuple[str, ...]:
    return _all(part, Part.text)


def _texts(part: Part) -> dict[str, str]:
    return {key: one.text() for key, one in part.table().items()}


def _numbers(part: Part) -> dict[str, int]:
    return {key: one.whole() for key, one in part.table().items()}


def _counted(part: Part) -> int:
    number = part.whole()
    if not 0 <= number <= INT64_MAX:
        raise part.wrong(f"must be 0 to {INT64_MAX}; it is {number}.")
    return number


def _meter(part: Part) -> Meter:
    given = _given(
        part,
        "meter",
        needed=("unit",),
        unit=Part.text,
        rate=Part.decimal,
        per=Part.whole,
        step=Part.whole,
        minimum=Part.whole,
        free=Part.whole,
        tiers=lambda tiers: _all(tiers, _tier),
        tiering=lambda tiering: tiering.one_of(Tiering),
    )
    return Meter(**{"rate": None, **given})


def _tier(part: Part) -> Tier:
    given = _given(part, "tier", needed=("rate",), up_to=Part.whole, rate=Part.decimal)
    return Tier(**{"up_to": None, **given})


def _discount(part: Part) -> Discount:
    readers = {"percent": Part.decimal, "since": Part.instant, "until": Part.instant}
    return Discount(**_given(part, "discount", needed=("percent",), **readers))


def _example(part: Part, usually: datetime) -> Example:
    table = part.table(*_KEYS["example"])
    usage = _usage(part.need("usage"))
    expected = [key for key in _EXPECTED if key in table]
    if not expected or ("refused" in expected and len(expected) > 1):
        raise part.wrong("must say what to expect: `amount`, `card` or both; or `refused`.")
    refused = table["refused"].text() if "refused" in table else None
    if refused is not None and refused not in _REFUSALS:
        raise table["refused"].wrong(f"must be one of {', '.join(_REFUSALS)}; it is {refused[:40]!r}.")
    return Example(
        place=part.path if part.line is None else f"line {part.line}",
        usage=usage,
        before={unit: _counted(one) for unit, one in table["before"].table().items()} if "before" in table else {},
        at=table["at"].instant() if "at" in table else usually,
        amount=_counted(table["amount"]) if "amount" in table else None,
        card=table["card"].text() if "card" in table else None,
        refused=refused,
    )


def _usage(part: Part) -> Usage:
    usage = Usage(
        **_given(
            part,
            "usage",
            needed=("provider", "operation"),
            provider=Part.text,
            operation=Part.text,
            dimensions=_texts,
            quantities=_numbers,
            bundled=_words,
        )
    )
    check_usage(usage, part.path)
    return usage
