"""Scenarios: laws that a bookkeeper can read, one per block, and the same for every target.

    # A hold captured for less gives the rest back to the lots it came from.
    grant    acme  100  as=a expires=10d     ok                 available=100
    hold     acme   60  as=h                 ok                 available=40  held=60   lots a=40
    capture  h     55                        ok                 available=45            lots a=45

A block is a sentence, then rows. Each law begins with empty books at the same instant, with acme open in credits.
A row is a request, what is answered, and how the account stands afterwards.

Requests
    asset NAME scale=2                     open ACCOUNT                          at INSTANT (sets the clock)
    grant ACCOUNT AMOUNT as=LOT source= priority= effective= expires= ttl= cost=500EUR
    deduct ACCOUNT AMOUNT                  hold ACCOUNT AMOUNT as=HOLD ttl=
    capture HOLD [AMOUNT]                  release HOLD
    balance ACCOUNT                        balances ACCOUNT                      history ACCOUNT page_token=
    entry ACCOUNT NUMBER                   trial_balance [ASSET]

    Each also takes asset=, and each change id= (the request_id; otherwise a new one), description=, reference=, actor=
    and metadata.KEY=. A grant is from a promotion unless it says otherwise. An unknown HOLD is one acme never had.

Instants are counted from the law's beginning (10d, 15m-1us), or from now with a sign (+1h, -1us). Units: us s m h d.
An amount of max is the largest there is, 2^63 - 1.

Answers
    ok, replayed (the first answer again), or the reason of the refusal; then, in any order,
    available= held= owed= pending=        how the account stands; what is not said is 0. Left out wholly only where
                                           there is no account
    lots a=90 b=0                          what remains in its lots; those not named are empty
    lines available>revenue:60@a           what the entry wrote: debit>credit:amount@lot, in order
    entries 3:lot_lapse* 2:grant 1:open    of a history, newest first; * marks what is not written yet
    assets credits=5 tokens=0              of balances: what is available in each
    totals payments=100/0                  of a trial balance: debits/credits; codes not named are 0/0
    NAME=                                  any figure of the answer or refusal, such as shortfall=, expires_at=, state=
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from ledger import DEFAULT_ASSET, Code
from tests.books import START
from tests.targets import CHANGES, Account, Answer, Asked, HoldName, Standing, Target, Written

INT64_MAX = 2**63 - 1
SIDES = ("available", "held", "owed", "pending")
LISTS = ("lots", "lines", "entries", "assets", "totals")
OUTCOME = re.compile(r"ok|replayed|[A-Z]+(_[A-Z]+)+")
UNITS = {"us": "microseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
DURATION = re.compile(r"([+-]?)(\d+)(us|s|m|h|d)")
MEMO = ("description", "reference", "actor")
ARGUMENTS = {
    "asset": {"scale"},
    "open": {"asset", "id", *MEMO},
    "grant": {"asset", "id", "as", "source", "priority", "effective", "expires", "ttl", "cost", *MEMO},
    "deduct": {"asset", "id", *MEMO},
    "hold": {"asset", "id", "as", "ttl", *MEMO},
    "capture": {"id", *MEMO},
    "release": {"id", *MEMO},
    "balance": {"asset"},
    "balances": set(),
    "history": {"asset", "page_token"},
    "entry": {"asset"},
    "trial_balance": set(),
    "at": set(),
}
WORDS = {
    **dict.fromkeys(("asset", "open", "release", "balance", "balances", "history", "at"), (1, 1)),
    **dict.fromkeys(("grant", "deduct", "hold", "entry"), (2, 2)),
    "capture": (1, 2),
    "trial_balance": (0, 1),
}


class ScenarioError(AssertionError):
    """A law does not hold, or cannot be read; begins with the file and line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """A sentence and its rows, not read yet: what cannot be read fails as a test."""

    where: str
    sentence: str
    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row as it stands in the file.

    words      after the command
    named      arguments of the request
    outcome    empty for `at`
    figures    what the answer must say, the sides of the account included
    lists      the words after `lots`, `lines` and so on
    """

    command: str
    words: tuple[str, ...]
    named: Mapping[str, str]
    outcome: str
    figures: Mapping[str, str]
    lists: Mapping[str, tuple[str, ...]]


def laws(directory: Path) -> Iterator[Law]:
    """All laws of all files, in order."""
    for path in sorted(directory.glob("*.txt")):
        where, sentence, rows = f"{path.name}:1", "", []
        for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if not text.strip():
                continue
            if text.startswith("#") and not rows:
                where = where if sentence else f"{path.name}:{number}"
                sentence = f"{sentence} {text.strip('# ')}".strip()
            elif text.startswith("#"):
                yield Law(where=where, sentence=sentence, rows=tuple(rows))
                where, sentence, rows = f"{path.name}:{number}", text.strip("# "), []
            else:
                rows.append((f"{path.name}:{number}", text))
        yield Law(where=where, sentence=sentence, rows=tuple(rows))


def run(law: Law, target: Target) -> None:
    """Holds the law against the target; raises ScenarioError where it does not keep it."""
    if not law.sentence or not law.rows:
        raise ScenarioError(f"{law.where}: a law is a sentence and rows")
    target.clock.now = START
    target.open("acme")
    runner = _Runner(target)
    for where, text in law.rows:
        try:
            runner.row(parse(text))
        except ScenarioError as error:
            raise ScenarioError(f"{where}: {error}\n    {text}") from None
    runner.end()


def parse(text: str) -> Row:
    """One row; raises ScenarioError if it cannot be read."""
    command, *words = text.split()
    if command not in ARGUMENTS:
        raise ScenarioError(f"{command} is not a request")
    at = next((place for place, word in enumerate(words) if OUTCOME.fullmatch(word)), len(words))
    if (at == len(words)) != (command == "at"):
        raise ScenarioError("a row has one outcome: ok, replayed or a reason; only `at` has none")
    request, answer = words[:at], words[at + 1 :]
    plain = tuple(word for word in request if "=" not in word)
    least, most = WORDS[command]
    if not least <= len(plain) <= most:
        raise ScenarioError(f"{command} takes {least} to {most} words, not {len(plain)}")
    named = dict(word.split("=", 1) for word in request if "=" in word)
    if unknown := {name for name in named if not name.startswith("metadata.")} - ARGUMENTS[command]:
        raise ScenarioError(f"{command} does not take {', '.join(sorted(unknown))}")
    figures, lists, current = {}, {}, None
    for word in answer:
        if word in LISTS:
            current = lists[word] = []
        elif "=" in word and (current is None or (word.split("=")[0] in SIDES and "totals" not in lists)):
            name, value = word.split("=", 1)
            figures[name] = value
        elif current is not None:
            current.append(word)
        else:
            raise ScenarioError(f"{word} is neither a figure nor part of a list")
    return Row(
        command=command,
        words=plain,
        named=named,
        outcome=words[at] if at < len(words) else "",
        figures=figures,
        lists={name: tuple(found) for name, found in lists.items()},
    )


class _Runner:
    """Asks a target for the rows of one law and compares."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._requests = 0
        self._names: dict[str, HoldName] = {}
        self._lots: dict[tuple[Account, int], str] = {}
        self._first: dict[tuple[Account, str], Answer] = {}

    def row(self, row: Row) -> None:
        """Does one row and checks all that it says."""
        if row.command == "at":
            self._target.clock.now = self._instant(row.words[0])
            return
        asked = self._asked(row)
        answer = self._answer(asked)
        if answer.outcome != row.outcome:
            raise ScenarioError(f"answered {answer.outcome} {answer.figures}")
        if answer.outcome == "ok" and asked.command in CHANGES:
            self._first.setdefault((asked.account, asked.request_id), answer)
            self._name(row, asked, answer)
        self._check_figures(row, answer)
        self._check_lists(row, asked, answer)
        if asked.command not in {"asset", "trial_balance", "balances"}:
            self._check_standing(row, asked, answer)

    def end(self) -> None:
        """After the last row: the books are in order, and debits are credits."""
        if findings := list(self._target.audit()):
            raise ScenarioError(f"the audit says: {' '.join(findings)}")
        for asset in self._target.assets():
            totals = self._target.trial_balance(asset).totals
            if sum(debits - credits_ for debits, credits_ in totals.values()) != 0:
                raise ScenarioError(f"the trial balance of {asset} does not balance: {totals}")

    def _asked(self, row: Row) -> Asked:
        named = row.named
        self._requests += 1
        asked = Asked(command=row.command, request_id=named.get("id", f"request-{self._requests}"))
        asset = named.get("asset", DEFAULT_ASSET)
        if row.command in {"capture", "release"}:
            hold = self._names.get(row.words[0], HoldName(account=Account("acme", DEFAULT_ASSET), number=999))
            asked = replace(asked, account=hold.account, hold=hold.number)
            amount = row.words[1:]
        elif row.command in {"asset", "trial_balance"}:
            asset, amount = (row.words or (DEFAULT_ASSET,))[0], ()
            asked = replace(asked, account=Account("", asset))
        else:
            asked = replace(asked, account=Account(row.words[0], asset))
            amount = row.words[1:]
        if amount:
            asked = replace(asked, amount=_amount(amount[0]))
        metadata = {name.partition(".")[2]: text for name, text in named.items() if name.startswith("metadata.")}
        return replace(
            asked,
            source=named.get("source", "promo"),
            priority=int(named["priority"]) if "priority" in named else None,
            scale=int(named.get("scale", 0)),
            effective_at=self._instant(named["effective"]) if "effective" in named else None,
            expires_at=self._instant(named["expires"]) if "expires" in named else None,
            ttl=_duration(named["ttl"]) if "ttl" in named else None,
            cost=(int(named["cost"][:-3]), named["cost"][-3:]) if "cost" in named else None,
            page_token=named.get("page_token", ""),
            memo={
                **{name: named[name] for name in MEMO if name in named},
                **({"metadata": metadata} if metadata else {}),
            },
        )

    def _answer(self, asked: Asked) -> Answer:
        target = self._target
        if asked.command == "asset":
            return target.define_asset(asked.account.asset, asked.scale)
        if asked.command == "balance":
            return target.balance(asked.account)
        if asked.command == "balances":
            return target.balances(asked.account.account_id)
        if asked.command == "history":
            return target.history(asked.account, asked.page_token)
        if asked.command == "entry":
            return target.entry(asked.account, asked.amount)
        if asked.command == "trial_balance":
            return target.trial_balance(asked.account.asset)
        return target.change(asked)

    def _name(self, row: Row, asked: Asked, answer: Answer) -> None:
        name = row.named.get("as")
        if name is None:
            return
        if name in self._names or name in self._lots.values():
            raise ScenarioError(f"{name} is the name of something else")
        if asked.command == "grant":
            self._lots[asked.account, answer.number] = name
        else:
            self._names[name] = HoldName(account=asked.account, number=answer.number)

    def _check_figures(self, row: Row, answer: Answer) -> None:
        for name, text in row.figures.items():
            if name in SIDES:
                continue
            if name not in answer.figures:
                raise ScenarioError(f"the answer does not say {name}, only {answer.figures}")
            said = answer.figures[name]
            expected = str(self._instant(text)) if isinstance(said, datetime) else text
            if str(said) != expected:
                raise ScenarioError(f"{name} is {said}, not {expected}")

    def _check_standing(self, row: Row, asked: Asked, answer: Answer) -> None:
        found = self._target.balance(asked.account)
        if found.outcome != "ok":
            if any(side in row.figures for side in SIDES):
                raise ScenarioError(f"there is no account to stand in any way: {found.outcome}")
            return
        if "available" not in row.figures:
            raise ScenarioError(f"say how the account stands: {found.standing}")
        expected = Standing(*(_amount(row.figures.get(side, "0")) for side in SIDES))
        if found.standing != expected:
            raise ScenarioError(f"the account stands at {found.standing}")
        if answer.outcome == "ok" and answer.standing is not None and answer.standing != expected:
            raise ScenarioError(f"the answer says that the account stands at {answer.standing}")
        if answer.outcome == "replayed":
            first = self._first[asked.account, asked.request_id]
            if replace(answer, outcome="ok") != first:
                raise ScenarioError(f"the first answer was {first}, this is {answer}")
        for side in ("available", "held"):
            if answer.outcome.isupper() and answer.figures.get(side, getattr(expected, side)) != getattr(
                expected, side
            ):
                raise ScenarioError(f"the refusal says {side} is {answer.figures[side]}")

    def _check_lists(self, row: Row, asked: Asked, answer: Answer) -> None:
        lists = row.lists
        if "lots" in lists:
            self._check_lots(asked.account, lists["lots"])
        if "lines" in lists:
            entry = self._target.entry(asked.account, answer.number).entries[0]
            _same("the lines are", self._lines(asked.account, entry), lists["lines"])
        if "entries" in lists:
            _same("the entries are", tuple(_entry(entry) for entry in answer.entries), lists["entries"])
        if "assets" in lists:
            _same("the assets are", tuple(f"{asset}={amount}" for asset, amount in answer.assets), lists["assets"])
        if "totals" in lists:
            shown = tuple(f"{code}={debits}/{credits_}" for code, (debits, credits_) in answer.totals.items())
            _same("the totals are", tuple(text for text in shown if not text.endswith("=0/0")), lists["totals"])

    def _check_lots(self, account: Account, expected: tuple[str, ...]) -> None:
        remaining: dict[str, int] = {}
        for number, amount in self._remaining(account).items():
            remaining[self._lots.get((account, number), f"of_entry_{number}")] = amount
        wanted = {name: _amount(amount) for name, _, amount in (word.partition("=") for word in expected)}
        if unknown := wanted.keys() - set(self._lots.values()):
            raise ScenarioError(f"no grant was named {', '.join(sorted(unknown))}")
        if {name: amount for name, amount in remaining.items() if amount} != {n: a for n, a in wanted.items() if a}:
            raise ScenarioError(f"the lots have {remaining}")

    def _remaining(self, account: Account) -> dict[int, int]:
        """What remains in each lot, added up from all lines."""
        remaining: dict[int, int] = {}
        for entry in self._target.history(account, "").entries:
            for line in entry.lines:
                change = (line.credit == Code.AVAILABLE) - (line.debit == Code.AVAILABLE)
                remaining[line.lot] = remaining.get(line.lot, 0) + change * line.amount
        return remaining

    def _lines(self, account: Account, entry: Written) -> tuple[str, ...]:
        return tuple(
            f"{line.debit}>{line.credit}:{line.amount}@{self._lots.get((account, line.lot), f'of_entry_{line.lot}')}"
            for line in entry.lines
        )

    def _instant(self, text: str) -> datetime:
        return (self._target.clock.now if text.startswith(("+", "-")) else START) + _duration(text)


def _same(what: str, found: tuple[str, ...], expected: tuple[str, ...]) -> None:
    if found != expected:
        raise ScenarioError(f"{what} {' '.join(found) or 'none'}")


def _entry(entry: Written) -> str:
    return f"{entry.number}:{entry.kind}{'' if entry.is_written else '*'}"


def _amount(text: str) -> int:
    if match := re.fullmatch(r"(-?\d+)|max([+-]\d+)?", text):
        return int(match[1]) if match[1] else INT64_MAX + int(match[2] or 0)
    raise ScenarioError(f"{text} is not an amount")


def _duration(text: str) -> timedelta:
    if not re.fullmatch(f"(?:{DURATION.pattern})+", text):
        raise ScenarioError(f"{text} is not a time such as 10d, 15m-1us or +1h")
    terms = (
        (-1 if sign == "-" else 1) * timedelta(**{UNITS[unit]: int(number)})
        for sign, number, unit in DURATION.findall(text)
    )
    return sum(terms, timedelta(0))
