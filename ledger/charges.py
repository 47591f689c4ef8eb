"""Charges as they were stored."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from ledger.json_text import whole
from ledger.pricing import Charge, ChargePart, Usage


def charge_of(values: Sequence[Any]) -> Charge:
    """The charge whose text as JSON has these values; raises TypeError or ValueError if no charge has."""
    card, version, amount, exact, discount, (provider, operation, bundled, dimensions, told) = values
    return Charge(
        card=card,
        version=whole(version),
        usage=Usage(
            provider=provider,
            operation=operation,
            dimensions=dict(dimensions),
            quantities={unit: whole(quantity) for unit, quantity, *_ in told},
            bundled=tuple(bundled),
        ),
        # Of what no meter counted, only the quantity is told.
        parts=tuple(_part_of(*one) for one in told if one[2:]),
        discount=None if discount is None else Decimal(discount),
        exact=exact,
        amount=whole(amount),
    )


def _part_of(unit: str, quantity: int, exact: str, *more: object) -> ChargePart:
    counted, free, before = map(whole, more) if more else (quantity, 0, 0)
    return ChargePart(unit, counted, free, before, exact)
