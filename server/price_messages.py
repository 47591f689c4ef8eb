"""Charges and rate cards, as messages of the contract."""

from decimal import Decimal

from scrip.v1 import pricing_service_pb2 as pb
from scrip.v1 import types_pb2 as types_pb

from ledger import CardChange, Charge, Discount, Meter, RateCard
from server.choices import CARD_ACTIONS, PERIODS, ROUNDINGS, TIERINGS
from server.times import timestamp


def charge_message(charge: Charge | None) -> types_pb.Charge | None:
    """How a price was computed; None if it was not."""
    if charge is None:
        return None
    message, told = types_pb.Charge(), charge.usage
    tell_charge(message, charge)
    usage = message.usage
    usage.provider, usage.operation = told.provider, told.operation
    usage.dimensions.update(told.dimensions)
    usage.quantities.update(told.quantities)
    usage.bundled.extend(told.bundled)
    return message


def tell_charge(message: types_pb.Charge, charge: Charge) -> None:
    """Fills in how a price was computed, for a caller who has just told the usage."""
    message.card, message.version = charge.card, charge.version
    message.exact, message.amount = charge.exact, charge.amount
    if charge.discount is not None:
        message.discount_percent = _text(charge.discount)
    # Field by field, and where they are: messages that are handed over are copied, which takes several times as long.
    add, quantities = message.parts.add, charge.usage.quantities
    for unit, counted, free, before, exact in charge.parts:
        part = add()
        part.unit, part.quantity, part.counted, part.exact = unit, quantities[unit], counted, exact
        if free:
            part.free = free
        if before:
            part.before = before


def card_message(card: RateCard) -> pb.RateCard:
    """A version of a rate card."""
    return pb.RateCard(
        card=card.card,
        provider=card.provider,
        operations=card.operations,
        dimensions=dict(card.dimensions),
        fixed=_text(card.fixed) if card.fixed else "",
        meters=[_meter_message(meter) for meter in card.meters],
        minimum=_text(card.minimum) if card.minimum else "",
        rounding=ROUNDINGS.values[card.rounding],
        period=pb.RateCard.PERIOD_UNSPECIFIED if card.period is None else PERIODS.values[card.period],
        discount=_discount_message(card.discount),
        description=card.description,
        effective_at=timestamp(card.effective_at),
        retired=card.retired,
        version=card.version,
    )


def change_message(change: CardChange) -> pb.RateCardChange:
    """What became of a rate card."""
    return pb.RateCardChange(
        action=CARD_ACTIONS.values[change.action],
        before=None if change.before is None else card_message(change.before),
        after=card_message(change.after),
    )


def _meter_message(meter: Meter) -> pb.Meter:
    return pb.Meter(
        unit=meter.unit,
        rate="" if meter.rate is None else _text(meter.rate),
        per=meter.per,
        step=meter.step,
        minimum=meter.minimum,
        free=meter.free,
        tiers=[pb.Tier(up_to=tier.up_to, rate=_text(tier.rate)) for tier in meter.tiers],
        tiering=pb.Meter.TIERING_UNSPECIFIED if meter.tiering is None else TIERINGS.values[meter.tiering],
    )


def _discount_message(discount: Discount | None) -> pb.Discount | None:
    if discount is None:
        return None
    return pb.Discount(
        percent=_text(discount.percent), since=timestamp(discount.since), until=timestamp(discount.until)
    )


def _text(number: Decimal) -> str:
    """Without an exponent."""
    return f"{number:f}"
