"""What calls raise that are about prices."""

from scrip.errors import FailedPrecondition, InvalidArgument, NotFound
from scrip.figures import MaySay, Said, instant, names


class PriceNotFound(NotFound):
    """No rate card covers the usage, and the asset's settings name none for that. Apply one with apply_rate_cards.

    operations   of the usage: its own, and those that are bundled with it
    dimensions   of the usage, such as ("model=gpt-9",)
    """

    asset = Said(str)
    provider = Said(str)
    operations = Said(names)
    dimensions = Said(names)


class UnitMismatch(InvalidArgument):
    """The usage tells a quantity in a unit that the rate card has no rate for.

    card, version   what would price it
    unit            the one it has no rate for
    units           those it has
    """

    card = Said(str)
    version = Said(int)
    unit = Said(str)
    units = Said(names)


class CostOverflow(InvalidArgument):
    """The usage costs more than `limit`, smallest units, or more than that would be counted of a unit.

    card, version   what prices it
    """

    card = Said(str)
    version = Said(int)
    limit = Said(int)


class RateCardNotFound(NotFound):
    """There is no such rate card, or no such version of it.

    version   that was asked for; None for the one in effect
    """

    asset = Said(str)
    card = Said(str)
    version = MaySay[int | None](lambda said: int(said) or None, None)


class EffectiveInPast(InvalidArgument):
    """A rate card would be in effect before now.

    effective_at   when it would
    now            the ledger's time
    """

    card = Said(str)
    effective_at = Said(instant)
    now = Said(instant)


class RateCardsClash(FailedPrecondition):
    """Two rate cards would cover the same usage equally well: `card` and `other`. Retire one of them."""

    card = Said(str)
    other = Said(str)
