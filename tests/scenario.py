"""Scenarios: laws that a bookkeeper can read, one per block, and the same for every target.

    # A hold captured for less gives the rest back to the lots it came from.
    grant    acme  100  as=a expires=10d     ok                 available=100
    hold     acme   60  as=h                 ok                 available=40  held=60   lots a=40
    capture  h      55                       ok                 available=45            lots a=45

A block is a sentence, then rows. Each law begins with empty books at the same instant, with acme open in credits.
A row is a request, what is answered, and how the account stands afterwards. The requests stand in tests/grammar.py.

Names
    What a change makes is called by the name it is given with as=: its entry, its hold, its lots. Lots that move to
    another account keep their name there. What has no name is #1, #2 … by its number: of acme, unless it is bolt#1.
    An unknown name is one that acme never had.

Batches and previews
    batch, or atomic, is followed by indented rows, each with its answer. Of an atomic batch that is refused, the reason
    stands in the first row. preview before a change or a batch asks what it would do: the answer is as it would be, and
    the account stands as before.

Instants are counted from the law's beginning (10d, 15m-1us), or from now with a sign (+1h, -1us), or in UTC
(2026-03-29T01:00Z). Units: us s m h d. An amount of max is the largest there is, 2^63 - 1. A limit is
NAME:WINDOW:AMOUNT[:OPERATION], where a WINDOW is hour, day, month, or a time that rolls. A welcome is
AMOUNT[:SOURCE[:TTL]]. A grant is from a promotion, and a revocation makes owed what is spent, unless it says otherwise.

Usage is PROVIDER:OPERATION[+OPERATION…][:UNIT=QUANTITY,…[:DIMENSION=VALUE,…]]. A meter of a price is
UNIT:RATE[/PER][:free=N][:step=N][:minimum=N], where the RATE of tiers is TIERING(UP_TO=RATE;…;RATE). A discount is
PERCENT[:SINCE[:UNTIL]].

Revenue is asked of what was sold as a PACKAGE in a CURRENCY, or as none; of what was free, say free credits.

Answers
    ok, replayed (the first answer again), or the reason of the refusal; then, in any order,
    available= held= owed= pending=        how the account stands; what is not said is 0. Left out wholly only where
                                           there is no account. Of a preview, how it would stand; of what is asked at a
                                           past instant, how it stood then; in a batch, how it stood after the row
    lots a=90 b=0                          what remains in its lots; those not named are empty
    lines available>revenue:60@a           what the entry wrote: debit>credit:amount@lot, in order
    entries 3:lot_lapse* 2:grant 1:open    of a history; * marks what is not written yet
    assets credits=5 tokens=0              of balances: what is available in each
    totals payments=100/0                  of a trial balance: debits/credits; codes not named are 0/0; of money,
                                           the monetary one of a currency, in minor units
    shown a=40/60/10d h=60/0/15m/open      of lots: what remains and what is held of each, and when it runs out;
                                           of holds: what is held and what was captured, when it runs out, its state
    moved a=10>0/expiry b=90>40/last       of an explanation: what the lots had before and after, in order, and what
                                           put each before the next
    passed c=scope                         of an explanation: what lots were passed over, and why
    limits daily=60/100                    of an explanation, of an account: what was used under the limits, of how much
    charged= by= exact= free=              of what usage costs: amount, CARD@VERSION, exact amount, free quantities
    NAME=                                  any figure of the answer or refusal, such as shortfall=, expires_at=, state=
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from ledger import DEFAULT_ASSET, Code
from tests.asked import Account, Answer, Asked, ShownHold, ShownLot, Standing, Target, Written, WrittenLine
from tests.books import START
from tests.grammar import (
    ARGUMENTS,
    BATCHES,
    CHANGED,
    INSTANTS,
    SIDES,
    Row,
    ScenarioError,
    amount,
    instant,
    parse,
    since_start,
)
from tests.names import Names

MEMO = ("description", "reference", "actor", "metadata")
UNLESS_SAID = {"grant": {"source": "promo"}, "revoke": {"spent": "owe"}}
WITHOUT_STANDING = frozenset(
    {"asset", "policy", "price", "card", "quote", "trial_balance", "money", "revenue", "balances"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """A sentence and its rows, not read yet: what cannot be read fails as a test."""

    where: str
    sentence: str
    rows: tuple[tuple[str, str], ...]


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


def run(law: Law, target: Target, *, previewed: bool = False) -> int:
    """Holds the law against the target; raises ScenarioError where it does not keep it.

    previewed   every change is asked for as a preview first, which must tell what then happens
    returns     how many rows the target had no answer to
    """
    if not law.sentence or not law.rows:
        raise ScenarioError(f"{law.where}: a law is a sentence and rows")
    target.clock.now = START
    target.open("acme")
    runner = _Runner(target, previewed=previewed)
    rows = list(law.rows)
    while rows:
        where, text = rows.pop(0)
        members = []
        while rows and rows[0][1].startswith(" "):
            members.append(rows.pop(0)[1])
        try:
            runner.step(parse(text), [parse(member) for member in members])
        except ScenarioError as error:
            raise ScenarioError("\n    ".join([f"{where}: {error}", text, *members])) from None
    runner.end()
    return runner.unanswered


class _Runner:
    """Asks a target for the rows of one law and compares.

    unanswered   how many rows the target had no answer to
    """

    def __init__(self, target: Target, *, previewed: bool) -> None:
        self._target = target
        self._previewed = previewed
        self._requests = 0
        self._names = Names()
        self._first: dict[tuple[Account, str], Answer] = {}
        self.unanswered = 0

    def step(self, row: Row, members: Sequence[Row]) -> None:
        """Does one row, or a batch of them, and checks all that is said."""
        if (row.command == "at") == bool(row.outcome):
            raise ScenarioError("a row has one outcome: ok, replayed or a reason; only `at` has none")
        if bool(members) != (row.command in BATCHES):
            raise ScenarioError("a batch, and nothing else, is followed by indented rows")
        if row.command == "at":
            self._target.clock.now = instant(row.words["INSTANT"], self._now)
        elif row.command in BATCHES:
            self._batch(row, members)
        elif row.command in self._target.cannot:
            self.unanswered += 1
        elif row.is_preview:
            asked = self._asked(row)
            (answer,) = self._preview([asked], atomic=False)
            self._check(row, asked, answer, is_preview=True)
            if answer.standing is None:
                self._check_standing(row, asked, answer)
            else:
                self._check_answered_standing(row, answer)
        elif row.is_change:
            self._change(row)
        else:
            self._read(row)

    def end(self) -> None:
        """After the last row: the books are in order, and debits are credits."""
        if findings := list(self._target.audit()):
            raise ScenarioError(f"the audit says: {' '.join(findings)}")
        for asset in self._target.assets():
            totals = self._target.trial_balance(Asked(command="trial_balance", account=Account("", asset))).totals
            if sum(debits - credits_ for debits, credits_ in totals.values()) != 0:
                raise ScenarioError(f"the trial balance of {asset} does not balance: {totals}")

    @property
    def _now(self) -> datetime:
        return self._target.clock.now

    def _change(self, row: Row) -> None:
        asked = self._asked(row)
        told = self._target.preview([asked], atomic=False) if self._previewed else None
        answer = self._target.change(asked)
        _same_as_told(told, (answer,))
        self._check(row, asked, answer)
        if "lots" in row.lists:
            self._check_lots(asked.account, row.lists["lots"])
        self._check_standing(row, asked, answer)

    def _read(self, row: Row) -> None:
        asked = self._asked(row)
        if row.command == "lot":
            answer = self._target.lots(replace(asked, fields={**asked.fields, "include_empty": True}))
        else:
            answer = getattr(self._target, row.command)(asked)
        self._check(row, asked, answer)
        if "lots" in row.lists:
            self._check_lots(asked.account, row.lists["lots"])
        if "at" in row.named and row.command not in WITHOUT_STANDING:
            then = replace(asked, command="balance", fields={"as_of": asked.fields["as_of"]})
            self._check_answered_standing(row, self._target.balance(then))
            self._check_answered_standing(row, answer)
        elif row.command not in WITHOUT_STANDING:
            self._check_standing(row, asked, answer)

    def _batch(self, row: Row, members: Sequence[Row]) -> None:
        if not all(member.is_change and not member.is_preview for member in members):
            raise ScenarioError("a batch is made of changes")
        asked = [self._asked(member) for member in members]
        atomic = row.command == "atomic"
        if row.is_preview:
            answers = self._preview(asked, atomic=atomic)
        else:
            told = self._target.preview(asked, atomic=atomic) if self._previewed else None
            answers = self._target.batch(asked, atomic=atomic)
            _same_as_told(told, answers)
        if row.outcome != "ok":
            if any(answer != answers[0] for answer in answers) or any(member.outcome for member in members):
                raise ScenarioError(f"a batch that is refused as a whole has one answer, in its first row: {answers}")
            self._check(row, asked[0], answers[0])
            return
        for member, one, answer in zip(members, asked, answers, strict=True):
            self._check(member, one, answer, is_preview=row.is_preview)
            if any(side in member.figures for side in SIDES):
                self._check_answered_standing(member, answer)

    def _preview(self, asked: Sequence[Asked], *, atomic: bool) -> tuple[Answer, ...]:
        """What would be answered; and nothing has changed."""
        accounts = [Asked(command="balance", account=account) for account in {one.account for one in asked}]
        before = [(self._target.balance(account), self._target.history(account)) for account in accounts]
        answers = self._target.preview(asked, atomic=atomic)
        if before != [(self._target.balance(account), self._target.history(account)) for account in accounts]:
            raise ScenarioError("the preview has changed the books")
        return answers

    def _asked(self, row: Row) -> Asked:
        self._requests += 1
        asset = row.named.get("asset", DEFAULT_ASSET)
        account, part, number = Account("", row.words.get("ASSET", asset)), "", 0
        for word, said in row.words.items():
            if word == "ACCOUNT":
                account = Account(said, asset)
            elif word in {"HOLD", "ENTRY", "LOT"}:
                part = word.lower()
                account, number = self._names.of(part, said)
        fields, memo = self._fields(row, asset)
        return Asked(
            command=row.command,
            request_id=row.named.get("id", f"request-{self._requests}"),
            account=account,
            part=part,
            number=number,
            fields=fields,
            memo=memo,
        )

    def _fields(self, row: Row, asset: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """What a row says besides whom it is about, and what is to be written beside the change."""
        fields: dict[str, Any] = dict(UNLESS_SAID.get(row.command, {}))
        memo: dict[str, Any] = {}
        words = list(row.words)
        for word, said in row.words.items():
            if word == "OTHER":
                fields[words[words.index(word) - 1]] = Account(said, asset)
        for word, said in {**row.words, **row.named}.items():
            start, _, key = word.partition(".")
            if start in MEMO and row.is_change:
                memo |= {start: {**memo.get(start, {}), key: said} if key else said}
            elif start == "account":
                fields["metadata"] = {**fields.get("metadata", {}), key: said}
            elif word in INSTANTS:
                fields[INSTANTS[word]] = instant(said, self._now)
            elif word in ARGUMENTS:
                name, read = ARGUMENTS[word]
                fields[name] = read(said)
            elif word in {"lot", "hold"}:
                fields[word] = self._names.of(word, said)[1]
        return fields, memo

    def _check(self, row: Row, asked: Asked, answer: Answer, *, is_preview: bool = False) -> None:
        """All that the row says of the answer, but how the account stands."""
        if answer.outcome != row.outcome:
            raise ScenarioError(f"answered {answer.outcome} {answer.figures}")
        if row.is_change and not is_preview:
            self._remember(row, asked, answer)
        figures = answer.figures
        if row.command == "lot":
            figures = next((lot.figures for lot in answer.lots if lot.number == asked.number), {})
        for name, text in row.figures.items():
            if name in SIDES:
                continue
            if name not in figures:
                raise ScenarioError(f"the answer does not say {name}, only {dict(figures)}")
            expected = str(instant(text, self._now)) if isinstance(figures[name], datetime) else text
            if str(figures[name]) != expected:
                raise ScenarioError(f"{name} is {figures[name]}, not {expected}")
        for name, words in row.lists.items():
            found = words if name == "lots" else self._found(name, asked, answer, is_written=not is_preview)
            if found != words:
                raise ScenarioError(f"the {name} are {' '.join(found) or 'none'}")

    def _remember(self, row: Row, asked: Asked, answer: Answer) -> None:
        """The first answer to each request, and the names of what it made; or that a repeat is answered alike."""
        request = asked.account, asked.request_id
        if answer.outcome == "replayed" and replace(answer, outcome="ok") != self._first[request]:
            raise ScenarioError(f"the first answer was {self._first[request]}, this is {answer}")
        if answer.outcome != "ok":
            return
        self._first.setdefault(request, answer)
        if "as" in row.named:
            written = self._written(asked.account, answer.number)
            if answer.made != written.made:
                raise ScenarioError(f"the answer tells of lots {answer.made}, but the entry made {written.made}")
            self._names.give(row.named["as"], asked.account, written)
        if other := asked.fields.get("to") or asked.fields.get("into"):
            out = self._written(asked.account, answer.number)
            given = [line.lot for line in out.lines if (line.debit, line.credit) == (Code.AVAILABLE, Code.TRANSFERS)]
            self._names.pass_on(asked.account, given, other, self._written(other, out.peer).made)

    def _check_standing(self, row: Row, asked: Asked, answer: Answer) -> None:
        """How the account stands now, and what the answer says of it."""
        found = self._target.balance(Asked(command="balance", account=asked.account))
        if found.outcome != "ok":
            if any(side in row.figures for side in SIDES):
                raise ScenarioError(f"there is no account to stand in any way: {found.outcome}")
            return
        expected = _standing(row)
        if found.standing != expected:
            raise ScenarioError(f"the account stands at {found.standing}")
        if answer.outcome == "ok":
            self._check_answered_standing(row, answer)
        # Of a movement between two accounts, a refusal may speak of the other one.
        if answer.outcome.isupper() and answer.figures.get("account_id") == asked.account.account_id:
            for side in SIDES:
                if int(answer.figures.get(side, getattr(expected, side))) != getattr(expected, side):
                    raise ScenarioError(f"the refusal says {side} is {answer.figures[side]}")

    def _check_answered_standing(self, row: Row, answer: Answer) -> None:
        if answer.standing is not None and answer.standing != _standing(row):
            raise ScenarioError(f"the answer says that the account stands at {answer.standing}")

    def _check_lots(self, account: Account, words: tuple[str, ...]) -> None:
        """What remains in each lot, added up from all lines; and the list of lots says so, too."""
        remaining: dict[str, int] = {}
        for entry in self._target.history(Asked(command="history", account=account)).entries:
            for line in (line for line in entry.lines if line.lot is not None):
                change = (line.credit == Code.AVAILABLE) - (line.debit == Code.AVAILABLE)
                name = self._names.lot(account, line.lot)
                remaining[name] = remaining.get(name, 0) + change * line.amount
        wanted = {name: amount(text) for name, _, text in (word.partition("=") for word in words)}
        if unknown := wanted.keys() - remaining.keys():
            raise ScenarioError(f"there is no lot {', '.join(sorted(unknown))}")
        listed: dict[str, int] = {}
        for lot in self._target.lots(Asked(command="lots", account=account)).lots:
            name = self._names.lot(account, lot.number)
            listed[name] = listed.get(name, 0) + lot.remaining
        if _not_empty(remaining) != _not_empty(wanted) or _not_empty(listed) != _not_empty(wanted):
            raise ScenarioError(f"the lots have {remaining}, and are listed with {listed}")

    def _found(self, name: str, asked: Asked, answer: Answer, *, is_written: bool) -> tuple[str, ...]:
        """A list of the answer, as laws write it; of a change that was done, the lines as they are kept."""
        account = asked.account
        match name:
            case "lines":
                is_kept = asked.command in CHANGED and is_written
                entry = self._written(account, answer.number) if is_kept else answer.entries[0]
                return tuple(self._line(account, line) for line in entry.lines)
            case "entries":
                return tuple(f"{one.number}:{one.kind}{'' if one.is_written else '*'}" for one in answer.entries)
            case "assets":
                return tuple(f"{asset}={available}" for asset, available in answer.assets)
            case "totals":
                shown = (f"{code}={debits}/{credits_}" for code, (debits, credits_) in answer.totals.items())
                return tuple(text for text in shown if not text.endswith("=0/0"))
            case "shown" if asked.command == "holds":
                return tuple(self._hold(account, hold) for hold in answer.holds)
            case "shown":
                return tuple(self._lot(account, lot) for lot in answer.lots)
            case "moved":
                moved = ((self._names.lot(account, lot), *rest) for lot, *rest in answer.moved)
                return tuple(f"{lot}={had}>{has}/{rule}" for lot, had, has, rule in moved)
            case "passed":
                return tuple(f"{self._names.lot(account, lot)}={why}" for lot, why in answer.passed)
        return tuple(f"{limit}={used}/{most}" for limit, used, most in answer.limits)

    def _line(self, account: Account, line: WrittenLine) -> str:
        lot = "" if line.lot is None else f"@{self._names.lot(account, line.lot)}"
        return f"{line.debit}>{line.credit}:{line.amount}{lot}"

    def _lot(self, account: Account, lot: ShownLot) -> str:
        name = self._names.lot(account, lot.number)
        return f"{name}={lot.remaining}/{lot.held}/{since_start(lot.expires_at)}"

    def _hold(self, account: Account, hold: ShownHold) -> str:
        name = self._names.entry(account, hold.number)
        return f"{name}={hold.held}/{hold.captured}/{since_start(hold.expires_at)}/{hold.state}"

    def _written(self, account: Account, number: int) -> Written:
        return self._target.entry(Asked(command="entry", account=account, fields={"number": number})).entries[0]


def _standing(row: Row) -> Standing:
    if "available" not in row.figures:
        raise ScenarioError("say how the account stands")
    return Standing(*(amount(row.figures.get(side, "0")) for side in SIDES))


def _not_empty(lots: dict[str, int]) -> dict[str, int]:
    return {name: remaining for name, remaining in lots.items() if remaining}


def _same_as_told(told: tuple[Answer, ...] | None, answers: tuple[Answer, ...]) -> None:
    if told is not None and told != answers:
        raise ScenarioError(f"the preview told {told}, but the answer is {answers}")
