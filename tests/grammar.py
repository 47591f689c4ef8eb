"""How a row of a scenario is written and read. What rows mean stands in tests/scenario.py.

A row is a request, what is answered, and how the account stands afterwards:

    grant acme 100 as=a expires=10d     ok     available=100

Below, words in capitals stand for what the law says, those in brackets may be left out, and others stand for
themselves. Arguments that end in "=" may come in any order, and so may those that a request has without being told:

    asset=                                              of requests that name an ACCOUNT; otherwise credits
    id= as= description= reference= actor= metadata.KEY=    of changes
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tests.books import START

CHANGES = """
    open ACCOUNT
    grant ACCOUNT AMOUNT source= priority= effective= expires= ttl= cost= scope= package=
    deduct ACCOUNT [AMOUNT] usage= mode= operation=
    hold ACCOUNT [AMOUNT] usage= ttl= operation= tolerance= held_lots=
    increase HOLD AMOUNT
    extend HOLD ttl=
    capture HOLD [AMOUNT] usage= final=
    release HOLD
    refund ENTRY [AMOUNT] expired_lots= lot_ttl=
    revoke LOT [AMOUNT] spent=
    adjust ACCOUNT DIRECTION AMOUNT
    write_off ACCOUNT [AMOUNT]
    transfer ACCOUNT to OTHER AMOUNT
    merge ACCOUNT into OTHER
    freeze ACCOUNT
    unfreeze ACCOUNT
    close ACCOUNT
    update ACCOUNT overdraft= unlimited= time_zone= limits= account.KEY=
"""
READS = """
    check ACCOUNT [AMOUNT] usage= operation=
    quote usage= asset= then=
    quote_for ACCOUNT usage=
    card CARD asset= version=
    balance ACCOUNT at= expiring_within=
    balances ACCOUNT
    account ACCOUNT
    lots ACCOUNT at= empty=
    lot LOT at=
    holds ACCOUNT at= state=
    history ACCOUNT kinds= since= until= reference= operation= lot= hold= order= lines= page_token=
    entry ACCOUNT NUMBER
    explain ENTRY
    trial_balance [ASSET] at=
    money CURRENCY at=
    revenue PACKAGE CURRENCY since= until=
"""
SETTINGS = """
    asset ASSET scale=
    policy ASSET auto_open= welcome= free_credits_repay_debt= default_card=
    price CARD asset= provider= operations= dimensions= fixed= minimum= meters= rounding= period= discount= \
        effective= retired= others=
    batch
    atomic
    at INSTANT
"""
SIDES = ("available", "held", "owed", "pending")
LISTS = ("lots", "lines", "entries", "assets", "totals", "shown", "moved", "passed", "limits")
OUTCOME = re.compile(r"ok|replayed|[A-Z]+(_[A-Z]+)+")
INT64_MAX = 2**63 - 1
UNITS = {"us": "microseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
DURATION = re.compile(r"([+-]?)(\d+)(us|s|m|h|d)")


class ScenarioError(AssertionError):
    """A law does not hold, or cannot be read; begins with the file and line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How one request is written.

    words   what each word is, in order
    least   how many of them there must be
    named   what may be named; KEY at the end of one stands for anything
    """

    words: tuple[str, ...]
    least: int
    named: frozenset[str]

    def takes(self, name: str) -> bool:
        kind, dot, _ = name.partition(".")
        return name in self.named or (dot != "" and f"{kind}.KEY" in self.named)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row as it stands in the file.

    is_preview   asked for as a preview
    words        those of the request, by what they are
    named        arguments of the request
    outcome      empty for `at`, and for the rows of a batch that is refused as a whole
    figures      what the answer must say, the sides of the account included
    lists        the words after `lots`, `lines` and so on
    """

    command: str
    is_preview: bool
    words: Mapping[str, str]
    named: Mapping[str, str]
    outcome: str
    figures: Mapping[str, str]
    lists: Mapping[str, tuple[str, ...]]

    @property
    def is_change(self) -> bool:
        return self.command in CHANGED


def _forms(requests: str, *arguments: str) -> dict[str, Form]:
    forms = {}
    for command, *parts in (text.split() for text in requests.strip().splitlines()):
        words = [part for part in parts if not part.endswith("=")]
        named = [part.removesuffix("=") for part in parts if part.endswith("=")]
        forms[command] = Form(
            words=tuple(word.strip("[]") for word in words),
            least=sum(not word.startswith("[") for word in words),
            named=frozenset([*named, *arguments, *(["asset"] if "ACCOUNT" in words else [])]),
        )
    return forms


CHANGED = _forms(CHANGES, "id", "as", "description", "reference", "actor", "metadata.KEY")
BATCHES = ("batch", "atomic")
FORMS = {**CHANGED, **_forms(READS), **_forms(SETTINGS)}


def parse(text: str) -> Row:
    """One row; raises ScenarioError if it cannot be read."""
    command, *words = text.split()
    is_preview = command == "preview"
    if is_preview:
        command, *words = words or [""]
    if command not in FORMS or (is_preview and command not in {*CHANGED, *BATCHES}):
        raise ScenarioError(f"{command} is not a {'change' if is_preview else 'request'}")
    at = next((place for place, word in enumerate(words) if OUTCOME.fullmatch(word)), len(words))
    figures, lists = _answer(words[at + 1 :])
    return Row(
        command=command,
        is_preview=is_preview,
        words=_words(command, [word for word in words[:at] if "=" not in word]),
        named=_named(command, [word for word in words[:at] if "=" in word]),
        outcome=words[at] if at < len(words) else "",
        figures=figures,
        lists=lists,
    )


def _words(command: str, words: list[str]) -> dict[str, str]:
    form = FORMS[command]
    if not form.least <= len(words) <= len(form.words):
        raise ScenarioError(f"{command} takes {form.least} to {len(form.words)} words, not {len(words)}")
    said = dict(zip(form.words, words, strict=False))
    for word, found in said.items():
        if word.islower() and word != found:
            raise ScenarioError(f"{command} has the word {word} where this says {found}")
    return said


def _named(command: str, words: list[str]) -> dict[str, str]:
    named = dict(word.split("=", 1) for word in words)
    if unknown := sorted(name for name in named if not FORMS[command].takes(name)):
        raise ScenarioError(f"{command} does not take {', '.join(unknown)}")
    return named


def _answer(words: list[str]) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    figures: dict[str, str] = {}
    lists: dict[str, list[str]] = {}
    current: list[str] | None = None
    for word in words:
        name, _, value = word.partition("=")
        if word in LISTS:
            current = lists[word] = []
        elif "=" in word and (current is None or (name in SIDES and "totals" not in lists)):
            figures[name] = value
        elif current is not None:
            current.append(word)
        else:
            raise ScenarioError(f"{word} is neither a figure nor part of a list")
    return figures, {name: tuple(found) for name, found in lists.items()}


def amount(text: str) -> int:
    if match := re.fullmatch(r"(-?\d+)|max([+-]\d+)?", text):
        return int(match[1]) if match[1] else INT64_MAX + int(match[2] or 0)
    raise ScenarioError(f"{text} is not an amount")


def duration(text: str) -> timedelta:
    if not re.fullmatch(f"(?:{DURATION.pattern})+", text):
        raise ScenarioError(f"{text} is not a time such as 10d, 15m-1us or +1h")
    terms = (
        (-1 if sign == "-" else 1) * timedelta(**{UNITS[unit]: int(number)})
        for sign, number, unit in DURATION.findall(text)
    )
    return sum(terms, timedelta(0))


def instant(text: str, now: datetime) -> datetime:
    """Counted from the law's beginning, or with a sign from now; or as it is written in UTC."""
    if re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", text):
        return datetime.fromisoformat(text)
    return (now if text.startswith(("+", "-")) else START) + duration(text)


def since_start(at: datetime | None) -> str:
    """An instant as laws write it; never, if there is none."""
    if at is None:
        return "never"
    microseconds = (at - START) // timedelta(microseconds=1)
    text = "-" if microseconds < 0 else ""
    microseconds = abs(microseconds)
    for unit, name in reversed(UNITS.items()):
        count, microseconds = divmod(microseconds, timedelta(**{name: 1}) // timedelta(microseconds=1))
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def _yes_or_no(text: str) -> bool:
    if text not in {"yes", "no"}:
        raise ScenarioError(f"{text} is neither yes nor no")
    return text == "yes"


def _cost(text: str) -> tuple[int, str]:
    return int(text[:-3]), text[-3:]


def _list(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _limits(text: str) -> tuple[dict[str, Any], ...]:
    """None, or some of NAME:WINDOW:AMOUNT[:OPERATION], where a WINDOW that is a time rolls."""
    return () if text == "none" else tuple(_limit(*limit.split(":", 3)) for limit in text.split(","))


def _limit(name: str, window: str, most: str, operation: str = "") -> dict[str, Any]:
    rolls = DURATION.fullmatch(window) is not None
    return {
        "name": name,
        "window": "rolling" if rolls else window,
        "amount": amount(most),
        "length": duration(window) if rolls else None,
        "operation": operation,
    }


def _pairs(text: str) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in text.split(",") if pair)


def _usage(text: str) -> dict[str, Any]:
    """PROVIDER:OPERATION[+OPERATION…][:UNIT=QUANTITY,…[:DIMENSION=VALUE,…]]."""
    provider, operations, quantities, dimensions = [*text.split(":"), "", ""][:4]
    operation, *bundled = operations.split("+")
    return {
        "provider": provider,
        "operation": operation,
        "quantities": {unit: amount(quantity) for unit, quantity in _pairs(quantities).items()},
        "dimensions": _pairs(dimensions),
        "bundled": tuple(bundled),
    }


def _meters(text: str) -> tuple[dict[str, Any], ...]:
    """Some of UNIT:RATE[/PER][:free=N][:step=N][:minimum=N]; for tiers, RATE is TIERING(UP_TO=RATE;…;RATE)."""
    return tuple(_meter(*meter.split(":")) for meter in text.split(","))


def _meter(unit: str, price: str, *others: str) -> dict[str, Any]:
    rate, _, per = price.partition("/")
    meter = {"unit": unit, "per": int(per or 1), **{name: int(of) for name, of in _pairs(",".join(others)).items()}}
    if "(" not in rate:
        return {**meter, "rate": rate}
    tiering, _, tiers = rate.removesuffix(")").partition("(")
    return {**meter, "tiering": tiering, "tiers": tuple(_tier(*tier.split("=")) for tier in tiers.split(";"))}


def _tier(up_to: str, rate: str | None = None) -> dict[str, Any]:
    return {"rate": up_to} if rate is None else {"up_to": int(up_to), "rate": rate}


def _discount(text: str) -> dict[str, Any]:
    """PERCENT[:SINCE[:UNTIL]], counted from the law's beginning."""
    percent, since, until = [*text.split(":"), "", ""][:3]
    instants = {"since": since, "until": until}
    return {"percent": percent, **{name: instant(said, START) for name, said in instants.items() if said}}


def _welcome(text: str) -> dict[str, Any] | None:
    """None, or AMOUNT[:SOURCE[:TTL]]."""
    if text == "none":
        return None
    most, source, ttl = [*text.split(":"), "", ""][:3]
    return {"amount": amount(most), "source": source or "welcome", "ttl": duration(ttl) if ttl else None}


# Arguments that are text, and are called alike where they are asked for.
TEXTS = (
    *("source", "mode", "operation", "held_lots", "expired_lots", "spent", "time_zone"),
    *("state", "reference", "order", "page_token", "package"),
    *("default_card", "provider", "fixed", "minimum", "rounding", "period"),
)
# What an argument is called where it is asked for, and how it is read. Those not named here are text.
ARGUMENTS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "AMOUNT": ("amount", amount),
    "DIRECTION": ("direction", str),
    "NUMBER": ("number", int),
    "CURRENCY": ("currency", str),
    "PACKAGE": ("package", str),
    "scale": ("scale", int),
    "priority": ("priority", int),
    "ttl": ("ttl", duration),
    "cost": ("cost", _cost),
    "scope": ("scope", _list),
    "tolerance": ("tolerance", amount),
    "final": ("final", _yes_or_no),
    "lot_ttl": ("lot_ttl", duration),
    "overdraft": ("overdraft_limit", amount),
    "unlimited": ("unlimited", _yes_or_no),
    "limits": ("limits", _limits),
    "expiring_within": ("expiring_within", duration),
    "kinds": ("kinds", _list),
    "empty": ("include_empty", _yes_or_no),
    "lines": ("lines", _yes_or_no),
    **{name: (name, str) for name in TEXTS},
    "auto_open": ("auto_open", _yes_or_no),
    "welcome": ("welcome", _welcome),
    "free_credits_repay_debt": ("free_credits_repay_debt", _yes_or_no),
    "usage": ("usage", _usage),
    "CARD": ("card", str),
    "version": ("version", int),
    "operations": ("operations", _list),
    "dimensions": ("dimensions", _pairs),
    "meters": ("meters", _meters),
    "discount": ("discount", _discount),
    "retired": ("retired", _yes_or_no),
    "others": ("retire_others", _yes_or_no),
}
INSTANTS = {
    "effective": "effective_at",
    "expires": "expires_at",
    "at": "as_of",
    "since": "since",
    "until": "until",
    "then": "at",
}
