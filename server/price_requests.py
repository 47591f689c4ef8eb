"""What is said of usage and of rate cards, as values of the ledger."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, TypeVar

from scrip.v1 import pricing_service_pb2 as pb
from scrip.v1 import types_pb2 as types_pb

from ledger import AT_ONCE, Discount, Meter, RateCard, Rounding, Tier, Usage, decimal_of
from server.choices import PERIODS, ROUNDINGS, TIERINGS
from server.times import instant_of

Told = TypeVar("Told", str, int)


def usage_of(message: types_pb.Usage) -> Usage:
    """What happened; whether it can be priced, the ledger tells."""
    return Usage(
        provider=message.provider,
        operation=message.operation,
        dimensions=_map_of(message.dimensions),
        quantities=_map_of(message.quantities),
        bundled=tuple(message.bundled) if message.bundled else (),
    )


def _map_of(told: Mapping[str, Told]) -> dict[str, Told]:
    # Pair by pair: of what protobuf has for a map, dict makes the same in one and a half times the time.
    return {name: told[name] for name in told}


def asked_amount(request: Any) -> tuple[int | None, Usage | None]:  # noqa: ANN401 -- any request that has both fields
    """The amount that a request names, or the usage that it tells; an amount of 0 beside usage is none."""
    if not request.HasField("usage"):
        return request.amount, None
    return request.amount or None, usage_of(request.usage)


def cards_of(messages: Any) -> tuple[RateCard, ...]:  # noqa: ANN401 -- protobuf names no type for what is repeated
    """Rate cards as they are to be; raises MalformedError."""
    return tuple(_card_of(f"cards[{index}]", message) for index, message in enumerate(messages))


def _card_of(field: str, message: pb.RateCard) -> RateCard:
    return RateCard(
        card=message.card,
        provider=message.provider,
        operations=tuple(message.operations),
        dimensions=dict(message.dimensions),
        fixed=_amount_of(f"{field}.fixed", message.fixed),
        meters=tuple(_meter_of(f"{field}.meters[{index}]", meter) for index, meter in enumerate(message.meters)),
        minimum=_amount_of(f"{field}.minimum", message.minimum),
        rounding=ROUNDINGS(f"{field}.rounding", message.rounding, Rounding.UP),
        period=PERIODS(f"{field}.period", message.period) if message.period else None,
        discount=_discount_of(f"{field}.discount", message.discount) if message.HasField("discount") else None,
        description=message.description,
        effective_at=instant_of(f"{field}.effective_at", message.effective_at)
        if message.HasField("effective_at")
        else AT_ONCE,
        retired=message.retired,
        version=0,
    )


def _meter_of(field: str, message: pb.Meter) -> Meter:
    return Meter(
        unit=message.unit,
        rate=decimal_of(f"{field}.rate", message.rate) if message.rate else None,
        per=message.per or 1,
        step=message.step or 1,
        minimum=message.minimum,
        free=message.free,
        tiers=tuple(
            Tier(
                up_to=tier.up_to if tier.HasField("up_to") else None,
                rate=decimal_of(f"{field}.tiers[{index}].rate", tier.rate),
            )
            for index, tier in enumerate(message.tiers)
        ),
        tiering=TIERINGS(f"{field}.tiering", message.tiering) if message.tiering else None,
    )


def _discount_of(field: str, message: pb.Discount) -> Discount:
    return Discount(
        percent=decimal_of(f"{field}.percent", message.percent),
        since=instant_of(f"{field}.since", message.since) if message.HasField("since") else None,
        until=instant_of(f"{field}.until", message.until) if message.HasField("until") else None,
    )


def _amount_of(field: str, text: str) -> Decimal:
    return decimal_of(field, text) if text else Decimal(0)
