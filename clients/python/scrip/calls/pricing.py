"""Calls that set prices, and tell what usage costs."""

from collections.abc import Iterable
from datetime import datetime

from scrip import arguments
from scrip.calls.call import CREDITS, Call
from scrip.prices import Discount, Meter, RateCard, Tier, Usage
from scrip.reasons import invalid
from scrip.v1.pricing_service_pb2 import (
    ApplyRateCardsRequest,
    ApplyRateCardsResponse,
    GetRateCardRequest,
    ListRateCardsRequest,
    QuoteForRequest,
    QuoteForResponse,
    QuoteRequest,
    QuoteResponse,
)
from scrip.v1.pricing_service_pb2 import Discount as DiscountMessage
from scrip.v1.pricing_service_pb2 import Meter as MeterMessage
from scrip.v1.pricing_service_pb2 import RateCard as RateCardMessage
from scrip.v1.pricing_service_pb2 import Tier as TierMessage
from scrip.v1.types_pb2 import Usage as UsageMessage


def quote(
    usage: Usage | UsageMessage, *, asset: str = CREDITS, at: datetime | None = None, deadline_s: float | None = None
) -> Call[QuoteResponse]:
    """Tell what usage costs at list price: of nobody's account, so nothing is free and the first tier counts.

    usage     see scrip.Usage
    asset     what is charged
    at        the instant whose prices count, past or to come; None for now
    refused   AssetNotFound, PriceNotFound, UnitMismatch, CostOverflow, in that order
    """
    request = QuoteRequest(
        asset=arguments.named("asset", asset),
        usage=arguments.used("usage", usage),
        at=arguments.instant("at", at),
    )
    return Call(rpc="Quote", request=request, deadline_s=deadline_s)


def quote_for(
    account_id: str, usage: Usage | UsageMessage, *, asset: str = CREDITS, deadline_s: float | None = None
) -> Call[QuoteForResponse]:
    """Tell what usage would cost a customer now, and whether the customer may spend that. Nothing is spent.

    If not, the answer has the reason and the figures of the error that check_and_deduct would raise.

    usage     see scrip.Usage
    refused   AssetNotFound, AccountNotFound, PriceNotFound, UnitMismatch, CostOverflow, in that order
    """
    request = QuoteForRequest(
        account_id=arguments.text("account_id", account_id),
        asset=arguments.named("asset", asset),
        usage=arguments.used("usage", usage),
    )
    return Call(rpc="QuoteFor", request=request, deadline_s=deadline_s)


def apply_rate_cards(
    cards: Iterable[RateCard | RateCardMessage],
    *,
    asset: str = CREDITS,
    retire_others: bool = False,
    preview: bool = False,
    revision: int | None = None,
    deadline_s: float | None = None,
) -> Call[ApplyRateCardsResponse]:
    """Set rate cards, all or none, and tell what became of each: `changes`.

    One that differs from its last version becomes a new version; what was charged stays as it is. The same cards again
    change nothing.

    cards           as they are to be: scrip.RateCards, at most 1,000; those that `rate_cards` lists are taken too
    asset           what is charged
    retire_others   True: cards of the asset that are not among them are retired; these come last in the answer
    preview         True: tell what would change, and change nothing
    revision        the one that a preview told: what it showed is done, or nothing; None: whichever it is
    refused         AssetNotFound, EffectiveInPast, RateCardsClash, ChangedMeanwhile, in that order
    """
    request = ApplyRateCardsRequest(
        asset=arguments.named("asset", asset),
        cards=[_card(f"cards[{index}]", one) for index, one in enumerate(arguments.several("cards", cards))],
        retire_others=arguments.truth("retire_others", retire_others),
        preview=arguments.truth("preview", preview),
        revision=None if revision is None else arguments.whole("revision", revision),
    )
    return Call(rpc="ApplyRateCards", request=request, deadline_s=deadline_s)


def rate_card(
    card: str, *, asset: str = CREDITS, version: int | None = None, deadline_s: float | None = None
) -> Call[RateCardMessage]:
    """Show a rate card.

    card      its name
    version   1, 2, 3 …; None for the one that is in effect
    refused   AssetNotFound, RateCardNotFound, in that order
    """
    request = GetRateCardRequest(
        asset=arguments.named("asset", asset),
        card=arguments.text("card", card),
        version=0 if version is None else arguments.whole("version", version),
    )
    return Call(rpc="GetRateCard", request=request, read=lambda response: response.card, deadline_s=deadline_s)


def rate_cards(
    *, asset: str = CREDITS, all_versions: bool = False, deadline_s: float | None = None
) -> Call[tuple[RateCardMessage, ...]]:
    """List the rate cards of an asset in order of their names, each in the version that is in effect.

    all_versions   True: all versions of each, newest first, and retired cards
    refused        AssetNotFound
    """
    request = ListRateCardsRequest(
        asset=arguments.named("asset", asset),
        all_versions=arguments.truth("all_versions", all_versions),
    )
    return Call(rpc="ListRateCards", request=request, read=lambda found: tuple(found.cards), deadline_s=deadline_s)


def _card(field: str, value: RateCard | RateCardMessage) -> RateCardMessage:
    if isinstance(value, RateCardMessage):
        return value
    if not isinstance(value, RateCard):
        raise invalid(field, f"must be a scrip.RateCard; it is {value!r}")
    meters = arguments.several(f"{field}.meters", value.meters)
    return RateCardMessage(
        card=arguments.text(f"{field}.card", value.card),
        provider=arguments.text(f"{field}.provider", value.provider),
        operations=arguments.texts(f"{field}.operations", value.operations),
        dimensions=arguments.pairs(f"{field}.dimensions", value.dimensions),
        fixed=arguments.exact(f"{field}.fixed", value.fixed),
        meters=[_meter(f"{field}.meters[{index}]", one) for index, one in enumerate(meters)],
        minimum=arguments.exact(f"{field}.minimum", value.minimum),
        rounding=arguments.choice(f"{field}.rounding", value.rounding, RateCardMessage.Rounding),
        period=arguments.choice(
            f"{field}.period",
            RateCardMessage.PERIOD_UNSPECIFIED if value.period is None else value.period,
            RateCardMessage.Period,
        ),
        discount=None if value.discount is None else _discount(f"{field}.discount", value.discount),
        description=arguments.text(f"{field}.description", value.description),
        effective_at=arguments.instant(f"{field}.effective_at", value.effective_at),
        retired=arguments.truth(f"{field}.retired", value.retired),
    )


def _meter(field: str, value: Meter) -> MeterMessage:
    if not isinstance(value, Meter):
        raise invalid(field, f"must be a scrip.Meter; it is {value!r}")
    tiers = arguments.several(f"{field}.tiers", value.tiers)
    return MeterMessage(
        unit=arguments.text(f"{field}.unit", value.unit),
        rate=arguments.exact(f"{field}.rate", value.rate),
        per=arguments.whole(f"{field}.per", value.per),
        step=arguments.whole(f"{field}.step", value.step),
        minimum=arguments.whole(f"{field}.minimum", value.minimum),
        free=arguments.whole(f"{field}.free", value.free),
        tiers=[_tier(f"{field}.tiers[{index}]", one) for index, one in enumerate(tiers)],
        tiering=arguments.choice(
            f"{field}.tiering",
            MeterMessage.TIERING_UNSPECIFIED if value.tiering is None else value.tiering,
            MeterMessage.Tiering,
        ),
    )


def _tier(field: str, value: Tier) -> TierMessage:
    if not isinstance(value, Tier):
        raise invalid(field, f"must be a scrip.Tier; it is {value!r}")
    return TierMessage(
        up_to=None if value.up_to is None else arguments.whole(f"{field}.up_to", value.up_to),
        rate=arguments.exact(f"{field}.rate", value.rate),
    )


def _discount(field: str, value: Discount) -> DiscountMessage:
    if not isinstance(value, Discount):
        raise invalid(field, f"must be a scrip.Discount; it is {value!r}")
    return DiscountMessage(
        percent=arguments.exact(f"{field}.percent", value.percent),
        since=arguments.instant(f"{field}.since", value.since),
        until=arguments.instant(f"{field}.until", value.until),
    )
