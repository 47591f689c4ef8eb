"""How money, credits and spans of time are written for customers."""

from datetime import timedelta
from typing import Final

from ledger import Money

# As Stripe counts them: for ISK and UGX, which have no decimals either, it wants hundredths.
_WITHOUT_DECIMALS: Final = (
    "BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF",
)  # fmt: skip
_WITH_THREE_DECIMALS: Final = ("BHD", "JOD", "KWD", "OMR", "TND")
_DECIMALS: Final = {**dict.fromkeys(_WITHOUT_DECIMALS, 0), **dict.fromkeys(_WITH_THREE_DECIMALS, 3)}
_SPANS: Final = (("day", timedelta(days=1)), ("hour", timedelta(hours=1)), ("minute", timedelta(minutes=1)))


def money_shown(money: Money) -> str:
    """A price, such as "1,234.50 EUR"."""
    return f"{_with_point(money.minor_units, _DECIMALS.get(money.currency, 2))} {money.currency}"


def credits_shown(units: int, scale: int) -> str:
    """An amount of an asset with so many decimal places, such as "1,234.5"."""
    shown = _with_point(units, scale)
    return shown.rstrip("0").rstrip(".") if scale else shown


def span_shown(span: timedelta) -> str:
    """A span of time, such as "30 days"; to the second."""
    for name, unit in _SPANS:
        if span >= unit and not span % unit:
            return _counted(span // unit, name)
    return _counted(span // timedelta(seconds=1), "second")


def _with_point(units: int, scale: int) -> str:
    whole, rest = divmod(units, 10**scale)
    return f"{whole:,}.{rest:0{scale}}" if scale else f"{whole:,}"


def _counted(number: int, name: str) -> str:
    return f"{number:,} {name}{'' if number == 1 else 's'}"
