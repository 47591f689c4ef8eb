"""Rate cards, what becomes of them, and what usage costs, as rows."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from scrip.v1.pricing_service_pb2 import Meter, QuoteForResponse, QuoteResponse, RateCard, RateCardChange
from scrip.v1.types_pb2 import ChargePart

from server.commands.rows import Row, cell, name_of
from server.output import Cell

CARD_FITS: Final = frozenset({"card", "version", "provider", "operations", "dimensions", "fixed", "meters", "retired"})
_NOBODY: Final[Mapping[str, Cell]] = MappingProxyType({})


def card_row(card: RateCard) -> Row:
    """A version of a card, in the words of its file."""
    return {"card": card.card, "version": card.version, **_terms(card)}


def _terms(card: RateCard) -> dict[str, Cell]:
    """What a version of a card says."""
    return {
        "provider": card.provider,
        "operations": " + ".join(card.operations),
        "dimensions": pairs_text(card.dimensions),
        "fixed": card.fixed or "0",
        "meters": "; ".join(f"{meter.unit}: {_meter(meter)}" for meter in card.meters),
        "minimum": card.minimum or "0",
        "rounding": name_of(RateCard.Rounding, card.rounding),
        "period": name_of(RateCard.Period, card.period) if card.period else "",
        "discount": _discount(card),
        "description": card.description,
        "effective_at": cell(card, "effective_at"),
        "retired": card.retired,
    }


def _apart(card: RateCard) -> Iterator[tuple[str, Cell]]:
    """What a version of a card says, each meter for itself, as one of many may have changed; and in which order."""
    for field, said in _terms(card).items():
        if field == "meters":
            yield field, ", ".join(meter.unit for meter in card.meters)
            yield from ((f"meter {meter.unit}", _meter(meter)) for meter in card.meters)
        else:
            yield field, said


def _meter(meter: Meter) -> str:
    """How a unit is charged, such as 12.5 per 1000, steps of 10, at least 30, 100 free."""
    if meter.tiers:
        tiers = [
            f"to {tier.up_to} {tier.rate}" if tier.HasField("up_to") else f"then {tier.rate}" for tier in meter.tiers
        ]
        rate = f"{name_of(Meter.Tiering, meter.tiering)} {', '.join(tiers)}"
    else:
        rate = meter.rate
    said = [f"{rate} per {meter.per}" if meter.per > 1 else rate]
    said += [f"steps of {meter.step}"] if meter.step > 1 else []
    said += [f"at least {meter.minimum}"] if meter.minimum else []
    said += [f"{meter.free} free"] if meter.free else []
    return ", ".join(said)


def _discount(card: RateCard) -> str:
    if not card.HasField("discount"):
        return ""
    since, until = cell(card.discount, "since"), cell(card.discount, "until")
    lasts = (f" since {since}" if since else "") + (f" until {until}" if until else "")
    return f"{card.discount.percent} %{lasts}"


def change_rows(change: RateCardChange) -> Iterator[Row]:
    """What becomes of a card: a row for each of its fields and meters that is another one than before."""
    action = name_of(RateCardChange.Action, change.action)
    before = dict(_apart(change.before)) if change.HasField("before") else {}
    after = dict(_apart(change.after)) if change.HasField("after") else {}
    usual = dict(_apart(RateCard(rounding=RateCard.ROUNDING_UP)))
    fields = [
        field
        for field in {**after, **before}
        if before.get(field, usual.get(field)) != after.get(field, usual.get(field))
    ]
    name = change.after.card or change.before.card
    for field in fields if action != "unchanged" else []:
        yield {
            "card": name,
            "action": action,
            "field": field,
            "before": before.get(field),
            "after": after.get(field),
        }
    if action == "unchanged":
        yield {"card": name, "action": action, "field": None, "before": None, "after": None}


def quote_rows(found: QuoteResponse | QuoteForResponse) -> Iterator[Row]:
    """A row for each meter that counted something, and the total; of a customer, also whether it may be spent."""
    charge = found.charge
    named: dict[str, Cell] = {"card": charge.card, "version": charge.version}
    counted = {field.name: None for field in ChargePart.DESCRIPTOR.fields}
    of_a_customer = isinstance(found, QuoteForResponse)
    verdict = dict.fromkeys(("allowed", "available", "shortfall", "reason")) if of_a_customer else _NOBODY
    for part in charge.parts:
        parts = {name: getattr(part, name) for name in counted}
        yield {**named, **parts, "discount": None, "amount": None, **verdict}
    yield {
        **named,
        **counted,
        "unit": "total",
        "exact": charge.exact,
        "discount": charge.discount_percent or None,
        "amount": found.amount,
        **{name: getattr(found, name) for name in verdict},
    }


def pairs_text(pairs: Mapping[str, str] | Mapping[str, int]) -> str:
    """Names and values in one line, such as model=gpt-5 tier=gold."""
    return " ".join(f"{name}={value}" for name, value in sorted(pairs.items()))
