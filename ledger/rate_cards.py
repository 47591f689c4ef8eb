"""The form of rate cards and of usage: what may be priced, and by what."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Final

from ledger.fields import (
    MalformedError,
    Violation,
    bad_amount,
    bad_choice,
    bad_instant,
    bad_name,
    bad_number,
    bad_operation,
    bad_pattern,
    bad_text,
    check,
)
from ledger.model import INT64_MAX
from ledger.pricing import CARDS_MAX, METERS_MAX, Discount, Meter, RateCard, Rounding, Tier, Tiering, Usage, UsageNames
from ledger.terms import Window

DIMENSIONS_MAX: Final = 10
DIMENSION_LENGTH_MAX: Final = 100
BUNDLED_MAX: Final = 20
TIERS_MAX: Final = 20
DECIMAL_PLACES_MAX: Final = 18
CARD_DESCRIPTION_LENGTH_MAX: Final = 1000
_DECIMAL: Final = re.compile(r"[0-9]{1,19}(\.[0-9]{1,18})?")
_DECIMAL_RULE: Final = f"a decimal from 0 to {INT64_MAX} with at most {DECIMAL_PLACES_MAX} decimal places"
_PERIODS: Final = (Window.HOUR, Window.DAY, Window.MONTH)


def decimal_of(field: str, text: str) -> Decimal:
    """A rate, an amount or a percentage from its text, such as "0.0125". Raises MalformedError unless it is one."""
    if not _DECIMAL.fullmatch(text):
        raise MalformedError((Violation(field=field, must=f"must be {_DECIMAL_RULE}; it is {text[:40]!r}."),))
    return Decimal(text)


def bad_usage(field: str, usage: Usage) -> tuple[Violation, ...]:
    """What is wrong with what a caller says has happened."""
    if _are_fine(usage.names) and all(type(one) is int and 0 <= one <= INT64_MAX for one in usage.quantities.values()):
        return ()
    numbers = (
        bad_number(f'{field}.quantities["{unit[:63]}"]', quantity, 0, INT64_MAX)
        for unit, quantity in usage.quantities.items()
    )
    return tuple(violation for violation in (*_name_checks(field, usage.names), *numbers) if violation is not None)


# Once for all usage that has them.
@lru_cache(maxsize=10_000)
def _are_fine(names: UsageNames) -> bool:
    return all(violation is None for violation in _name_checks("", names))


def _name_checks(field: str, names: UsageNames) -> Iterator[Violation | None]:
    yield bad_name(f"{field}.provider", names.provider)
    yield _bad_said(f"{field}.operation", names.operation)
    yield from _bad_dimensions(f"{field}.dimensions", dict(names.dimensions))
    yield _too_many(f"{field}.quantities", names.units, METERS_MAX)
    for unit in names.units:
        yield bad_name(f"{field}.quantities key", unit)
    yield _too_many(f"{field}.bundled", names.bundled, BUNDLED_MAX)
    for operation in names.bundled:
        yield _bad_said(f"{field}.bundled", operation)
    if len({names.operation, *names.bundled}) <= len(names.bundled):
        yield Violation(field=f"{field}.bundled", must="must name each operation once, and not `operation` again.")


def bad_spending(amount: int | None, usage: Usage | None, operation: str) -> tuple[Violation | None, ...]:
    """What is to be spent and what for: an amount and perhaps an operation, or usage."""
    if usage is not None:
        return bad_pair(amount, usage), _bad_beside_usage(operation), *bad_usage("usage", usage)
    if amount is None:
        return (Violation(field="amount", must="must be given, or usage told."), bad_operation("operation", operation))
    return bad_amount(amount), bad_operation("operation", operation)


def _bad_beside_usage(operation: str) -> Violation | None:
    if not operation:
        return None
    return Violation(field="operation", must="must be empty beside usage, which tells its own.")


def bad_pair(amount: int | None, usage: Usage | None) -> Violation | None:
    """An amount and usage are told one instead of the other."""
    if amount is None or usage is None:
        return None
    return Violation(field="usage", must="must not be told together with an amount.")


def check_usage(usage: Usage, field: str = "usage") -> None:
    """Raises MalformedError for usage that no card can price."""
    check(*bad_usage(field, usage))


def check_quote(usage: Usage, at: datetime | None) -> None:
    """Raises MalformedError unless it can be asked what usage costs at an instant; None: now."""
    check(*bad_usage("usage", usage), bad_instant("at", at))


def check_rate_card(card: str, version: int) -> None:
    """Raises MalformedError unless the two may name a rate card; version 0 is the one in effect."""
    check(bad_name("card", card), bad_number("version", version, 0, INT64_MAX))


def check_cards(cards: tuple[RateCard, ...]) -> None:
    """Raises MalformedError for cards that can never be right, whatever others there are."""
    check(
        _too_many("cards", cards, CARDS_MAX),
        _distinct("cards", "names", [card.card for card in cards]),
        *(violation for index, card in enumerate(cards) for violation in _bad_card(f"cards[{index}]", card)),
    )


def _bad_card(field: str, card: RateCard) -> Iterator[Violation | None]:
    yield bad_name(f"{field}.card", card.card)
    if card.provider != "*":
        yield _bad_beginning(f"{field}.provider", card.provider)
    yield from _bad_operations(f"{field}.operations", card.operations)
    yield from _bad_dimensions(f"{field}.dimensions", card.dimensions)
    for name, pattern in card.dimensions.items():
        if "*" in pattern[:-1]:
            must = f'may have "*" at its end only; it is {pattern[:80]!r}.'
            yield Violation(field=f'{field}.dimensions["{name[:63]}"]', must=must)
    yield _bad_rate(f"{field}.fixed", card.fixed)
    yield _bad_rate(f"{field}.minimum", card.minimum)
    if card.minimum and not card.fixed and not card.meters:
        must = "must be 0 on a card that charges nothing else; name it `fixed`."
        yield Violation(field=f"{field}.minimum", must=must)
    yield _too_many(f"{field}.meters", card.meters, METERS_MAX)
    yield _distinct(f"{field}.meters", "units", [meter.unit for meter in card.meters])
    for index, meter in enumerate(card.meters):
        yield from _bad_meter(f"{field}.meters[{index}]", meter)
    yield bad_choice(f"{field}.rounding", card.rounding, Rounding)
    yield _bad_period(f"{field}.period", card)
    if card.discount is not None:
        yield from _bad_discount(f"{field}.discount", card.discount)
    yield bad_text(f"{field}.description", card.description, CARD_DESCRIPTION_LENGTH_MAX)
    yield bad_instant(f"{field}.effective_at", card.effective_at)


def _bad_operations(field: str, operations: tuple[str, ...]) -> Iterator[Violation | None]:
    if not operations:
        yield Violation(field=field, must="must name at least one.")
    # A bundle is found by usage that names one operation and the others beside it.
    yield _too_many(field, operations, BUNDLED_MAX + 1)
    yield _distinct(field, "names", operations)
    for operation in operations:
        if len(operations) == 1:
            yield bad_pattern(field, operation)
        else:
            yield _bad_said(field, operation)


def _bad_meter(field: str, meter: Meter) -> Iterator[Violation | None]:
    yield bad_name(f"{field}.unit", meter.unit)
    yield bad_number(f"{field}.per", meter.per, 1, INT64_MAX)
    yield bad_number(f"{field}.step", meter.step, 1, INT64_MAX)
    yield bad_number(f"{field}.minimum", meter.minimum, 0, INT64_MAX)
    yield bad_number(f"{field}.free", meter.free, 0, INT64_MAX)
    if meter.tiers:
        yield from _bad_tiers(f"{field}.tiers", meter.tiers)
        yield bad_choice(f"{field}.tiering", meter.tiering, Tiering)
        if meter.rate is not None:
            yield Violation(field=f"{field}.rate", must="must be absent beside tiers, which have rates of their own.")
        return
    if meter.tiering is not None:
        yield Violation(field=f"{field}.tiering", must="must be absent without tiers.")
    if meter.rate is None:
        yield Violation(field=f"{field}.rate", must="must be given, or tiers instead.")
    else:
        yield _bad_rate(f"{field}.rate", meter.rate)


def _bad_tiers(field: str, tiers: tuple[Tier, ...]) -> Iterator[Violation | None]:
    yield _too_many(field, tiers, TIERS_MAX)
    before = 0
    for index, tier in enumerate(tiers):
        place = f"{field}[{index}]"
        yield _bad_rate(f"{place}.rate", tier.rate)
        if tier is tiers[-1]:
            if tier.up_to is not None:
                yield Violation(field=f"{place}.up_to", must="must be absent, as the last tier has no end.")
        elif tier.up_to is None:
            yield Violation(field=f"{place}.up_to", must="must be given; only the last tier has no end.")
        else:
            yield bad_number(f"{place}.up_to", tier.up_to, 1, INT64_MAX)
            if 0 < tier.up_to <= before:
                must = f"must be more than that of the tier before, {before}; it is {tier.up_to}."
                yield Violation(field=f"{place}.up_to", must=must)
            before = tier.up_to


def _bad_period(field: str, card: RateCard) -> Violation | None:
    if card.period is None:
        if not card.units_counted:
            return None
        unit = card.units_counted[0]
        return Violation(field=field, must=f"must be given: {unit} has an allowance or tiers, which count over it.")
    if card.period not in _PERIODS:
        return Violation(field=field, must=f"must be {', '.join(_PERIODS[:-1])} or {_PERIODS[-1]}.")
    if not card.units_counted:
        return Violation(field=field, must="must be absent, as no meter has an allowance or tiers.")
    return None


def _bad_discount(field: str, discount: Discount) -> Iterator[Violation | None]:
    if not _is_decimal(discount.percent) or not 0 < discount.percent <= 100:  # noqa: PLR2004 -- per cent
        must = f"must be a decimal of more than 0 and at most 100; it is {str(discount.percent)[:40]}."
        yield Violation(field=f"{field}.percent", must=must)
    for place, instant in (("since", discount.since), ("until", discount.until)):
        yield bad_instant(f"{field}.{place}", instant)
    since, until = discount.since, discount.until
    if since is not None and until is not None and (since.tzinfo is None) == (until.tzinfo is None) and until <= since:
        yield Violation(field=f"{field}.until", must="must be after `since`.")


def _bad_rate(field: str, rate: Decimal) -> Violation | None:
    if _is_decimal(rate):
        return None
    return Violation(field=field, must=f"must be {_DECIMAL_RULE}; it is {str(rate)[:40]}.")


def _is_decimal(rate: Decimal) -> bool:
    # The exponent comes first: to write out 1E+999999999 as a whole number would take all memory there is.
    exponent = rate.as_tuple().exponent if type(rate) is Decimal else None
    if not isinstance(exponent, int) or abs(exponent) > DECIMAL_PLACES_MAX:
        return False
    return 0 <= rate <= INT64_MAX


def _bad_said(field: str, operation: str) -> Violation | None:
    """An operation that must be given."""
    return bad_operation(field, operation) if operation else Violation(field=field, must="must not be empty.")


def _bad_beginning(field: str, pattern: str) -> Violation | None:
    if bad_name(field, pattern.removesuffix("*")) is None:
        return None
    must = 'must be 1 to 63 characters: a lower-case letter, then lower-case letters, digits, "_", "-" or ".", '
    return Violation(field=field, must=f'{must}or end in one "*" after some of these; it is {pattern[:80]!r}.')


def _bad_dimensions(field: str, dimensions: Mapping[str, str]) -> Iterator[Violation | None]:
    yield _too_many(field, dimensions, DIMENSIONS_MAX)
    for name, value in dimensions.items():
        yield bad_name(f"{field} key", name)
        if not (0 < len(value) <= DIMENSION_LENGTH_MAX and value.isascii() and value.isprintable()):
            must = f"must be 1 to {DIMENSION_LENGTH_MAX} printable ASCII characters; it is {value[:80]!r}."
            yield Violation(field=f'{field}["{name[:63]}"]', must=must)


def _too_many(field: str, things: Mapping[str, object] | tuple[object, ...], most: int) -> Violation | None:
    if len(things) <= most:
        return None
    return Violation(field=field, must=f"must have at most {most}; it has {len(things)}.")


def _distinct(field: str, what: str, names: list[str] | tuple[str, ...]) -> Violation | None:
    twice = [name for name, times in Counter(names).items() if times > 1]
    if not twice:
        return None
    return Violation(field=field, must=f"must each have {what} of their own; {twice[0]!r} is there twice.")
