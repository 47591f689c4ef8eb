"""What happened and how it is priced, as small values that calls take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TypeAlias

from scrip.v1.pricing_service_pb2 import Meter as MeterMessage
from scrip.v1.pricing_service_pb2 import RateCard as RateCardMessage

Exact: TypeAlias = Decimal | int | str
"""A decimal that must not be rounded, such as Decimal("0.0125"), 3 or "0.0125". Never a float."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What happened, or is about to, for a rate card to price.

    provider     who provides it, such as "openai"
    operation    what is done, such as "chat"; lots with a scope and spend limits look at it
    dimensions   what else the price may depend on, such as {"model": "gpt-5"}; at most 10
    quantities   how much of it by unit, such as {"input_token": 1832, "output_token": 80}: 0 or more; at most 20
    bundled      further operations of the same call, that a bundle prices together with it; at most 20
    """

    provider: str
    operation: str
    dimensions: Mapping[str, str] = field(default_factory=dict)
    quantities: Mapping[str, int] = field(default_factory=dict)
    bundled: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """A stretch of a period's quantity.

    rate    for `per` units of its meter
    up_to   the last quantity that lies in it; None in the last tier
    """

    rate: Exact
    up_to: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """What is charged by quantity.

    unit      the name under which usage tells the quantity, such as "input_token"
    rate      smallest units of the asset for `per` units, 0 or more; None if there are tiers
    per       how many units the rate is for, 1 or more
    step      a call's quantity is rounded up to a multiple of it, 1 or more
    minimum   the least quantity that is counted for a call that uses any
    free      how much of the period's quantity is free; it is used up first, and does not count in tiers
    tiers     instead of a rate: in order, the last one without `up_to`
    tiering   "graduated": each part of the period's quantity at the rate of the tier it lies in; "volume": all of the
              call's quantity at the rate of the tier that the period's quantity reaches with it; required with tiers
    """

    unit: str
    rate: Exact | None = None
    per: int = 1
    step: int = 1
    minimum: int = 0
    free: int = 0
    tiers: Sequence[Tier] = ()
    tiering: MeterMessage.Tiering.ValueType | str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Discount:
    """A price cut that lasts for a time.

    percent   of the exact amount: more than 0, at most 100
    since     the first instant at which it holds; None for from the card's own on
    until     the first instant at which it no longer holds; None for as long as the version lasts
    """

    percent: Exact
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RateCard:
    """How something is priced. Rates and amounts are smallest units of the asset, with at most 18 decimal places.

    card           its name: 1 to 63 characters: a lower-case letter, then lower-case letters, digits, "_", "-" or "."
    provider       who provides what is priced: a name, a beginning followed by "*", or "*"
    operations     the operation, or the beginning of one followed by "*"; several, without "*", make a bundle: one
                   price for usage that names exactly these
    dimensions     what the usage's must be: each a value, a beginning followed by "*", or "*" for any value
    fixed          charged for each call; None for nothing
    meters         what is charged by quantity; at most 20. A card without meters takes any quantities
    minimum        the least that a call costs that is charged for anything, before the discount; None for nothing. A
                   call that costs nothing without it costs nothing with it
    rounding       how the exact amount is rounded, once: "up", "half_even" or "down"
    period         over what free quantities and tiers count, on the clock of the account's time zone: "hour", "day" or
                   "month"; required with them, None without
    discount       taken off the exact amount while it lasts
    description    for the reader; at most 1,000 characters
    effective_at   from when on this version is in effect; None for at once
    retired        True: from then on nothing is found under this card
    """

    card: str
    provider: str
    operations: Sequence[str]
    dimensions: Mapping[str, str] = field(default_factory=dict)
    fixed: Exact | None = None
    meters: Sequence[Meter] = ()
    minimum: Exact | None = None
    rounding: RateCardMessage.Rounding.ValueType | str = "up"
    period: RateCardMessage.Period.ValueType | str | None = None
    discount: Discount | None = None
    description: str = ""
    effective_at: datetime | None = None
    retired: bool = False
