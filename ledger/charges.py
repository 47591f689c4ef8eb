"""Charges as they were stored."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from ledger.json_text import whole
from ledger.pricing import Charge, ChargePart, Usage


def charge_of(values: Sequence[Any]) -> Charge:
    """The charge whose text as JSON has these values; raises TypeError or ValueError if no charge has."""
    card, version, amount, exact, discount, parts, (provider, operation, bundled, dimensions, quantities) = values
    return Charge(
        card=card,
        version=whole(version),
        usage=Usage(
            provider=provider,
            operation=operation,
            dimensions=dict(dimensions),
            quantities={unit: whole(quantity) for unit, quantity in quantities},
            bundled=tuple(bundled),
        ),
        parts=tuple(_part_of(part) for part in parts),
        discount=None if discount is None else Decimal(discount),
        exact=exact,
        amount=whole(amount),
    )


def _part_of(values: Sequence[Any]) -> ChargePart:
    unit, quantity, counted, free, before, exact = values
    return ChargePart(unit, whole(quantity), whole(counted), whole(free), whole(before), exact)
