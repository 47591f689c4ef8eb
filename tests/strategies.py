"""Requests made up at random, so that they meet: few accounts, small amounts, and instants on a grid of five minutes.

Hypothesis draws what is asked for and a number; the rest comes out of that number, as things stand in the model. If it
drew everything, it would be slow, and its examples would resemble each other too much.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TypeVar

from ledger import (
    AccountName,
    AssetPolicy,
    Capture,
    Deduct,
    DeductMode,
    ExpiredLots,
    ExtendHold,
    Grant,
    HeldLots,
    IncreaseHold,
    Merge,
    Money,
    OpenAccount,
    PlaceHold,
    Refund,
    Release,
    Request,
    Source,
    Transfer,
    Usage,
    Welcome,
)
from ledger.operations import OfPart
from tests.books import MICROSECOND
from tests.model import Model
from tests.model_account import Purse
from tests.model_values import GRANTED_FROM

Value = TypeVar("Value")
STEP = timedelta(minutes=5)
UNKNOWN = 9_999
# A month ends in some time zone soon after each; in some, clocks are changed then.
STARTS = tuple(datetime(2026, month, day, tzinfo=UTC) for month, day in ((1, 1), (3, 29), (10, 25)))
OPERATIONS = ("", "image/small", "image/large", "text")
PACKAGES = ("", "starter", "pro")
SCOPES = ((), (), (), ("image/*",), ("text",), ("*",), ("image/small", "text"))


class Chance:
    """Everything that is left to chance, all of it from one number."""

    def __init__(self, number: int) -> None:
        self._random = Random(number)

    def one_of(self, some: Sequence[Value]) -> Value:
        return self._random.choice(some)

    def number(self, least: int, most: int) -> int:
        return self._random.randint(least, max(least, most))

    def happens(self, *, one_in: int) -> bool:
        return self._random.randrange(one_in) == 0

    def span(self) -> timedelta:
        """Up to an hour, on the grid."""
        return self.number(1, 12) * STEP

    def instant(self, now: datetime) -> datetime:
        """Around now, on the grid."""
        return now + self.number(-3, 12) * STEP

    def policy(self) -> AssetPolicy:
        """Settings of an asset."""
        free = [source for source in Source if GRANTED_FROM[source][0] == "promotions"]
        ttl = self.span() if self.happens(one_in=2) else None
        welcome = Welcome(amount=self.number(1, 5), source=self.one_of(free), ttl=ttl)
        return AssetPolicy(
            auto_open=self.happens(one_in=2),
            welcome=welcome if self.happens(one_in=2) else None,
            free_credits_repay_debt=self.happens(one_in=2),
        )

    def moment(self, model: Model, now: datetime) -> datetime:
        """When the clock may stand next: at an instant that matters, just before it, anywhere later, or earlier."""
        if self.happens(one_in=5):
            return now + self.span()
        if self.happens(one_in=5):
            return now - self.span()
        matters = {instant for purse in model.purses.values() for instant in purse.instants_that_matter(now)}
        coming = sorted(instant for instant in matters if instant > now)[:3] or [now + STEP]
        return self.one_of(coming) - (MICROSECOND if self.happens(one_in=3) else timedelta(0))


class Asker(Chance):
    """Makes requests to the accounts of a model, as things stand there."""

    def __init__(self, number: int, model: Model, request_id: str, now: datetime) -> None:
        super().__init__(number)
        self.model, self.request_id, self.now = model, request_id, now

    def settled(self, account: AccountName) -> Purse | None:
        return self.model.settled(account, self.now) if self.model.purse(account) is not None else None

    def account(self, suits: Callable[[Purse], object]) -> AccountName:
        """One that is suited, most of the time; otherwise perhaps any."""
        suited = [name for name in self.model.accounts if (purse := self.settled(name)) is not None and suits(purse)]
        return self.one_of(suited if suited and not self.happens(one_in=10) else self.model.accounts)

    def live(self) -> AccountName:
        return self.account(lambda purse: purse.status != "closed")

    def able(self) -> AccountName:
        """One that may spend, most of the time."""
        return self.account(lambda purse: purse.status == "open")

    def about(self, account: AccountName) -> dict[str, object]:
        return {"request_id": self.request_id, "account": account}

    def part(self, account: AccountName) -> dict[str, object]:
        return {"request_id": self.request_id, "tenant": account.tenant, "key": account.key}

    def of(self, mostly: Sequence[int], every: Sequence[int]) -> int:
        """The number of something, seldom of nothing."""
        return self.one_of(mostly if mostly and not self.happens(one_in=10) else [*every, UNKNOWN])

    def amount(self, there: int) -> int:
        """What is there, most of the time; sometimes more."""
        return self.number(1, self.one_of([min(there, 9), there, there + 2]))

    def perhaps(self, value: Value) -> Value | None:
        return value if self.happens(one_in=2) else None

    # -- granting and spending

    def opening(self) -> Request:
        unopened = [name for name in self.model.accounts if self.model.purse(name) is None]
        every = self.model.accounts
        return OpenAccount(**self.about(self.one_of(unopened if unopened and self.happens(one_in=2) else every)))

    def plain_grant(self) -> Request:
        """A grant that can be spent at once."""
        ttl = self.perhaps(self.span())
        return Grant(**self.about(self.live()), amount=self.number(5, 20), source=Source.PROMO, ttl=ttl)

    def grant(self) -> Request:
        """A grant with all kinds of terms."""
        source = self.one_of([*Source, Source.PURCHASE, Source.PURCHASE, Source.SUBSCRIPTION])
        is_free = GRANTED_FROM[source][0] == "promotions"
        effective_at = self.instant(self.now) if self.happens(one_in=3) else None
        expires_at, ttl = self.one_of([(None, None), (self.instant(self.now), None), (None, self.span())])
        if effective_at is not None and expires_at is not None and expires_at <= effective_at:
            expires_at = effective_at + STEP
        amount = self.number(1, 20)
        return Grant(
            **self.about(self.live()),
            amount=amount,
            source=source,
            revives=self.number(0, amount) if self.happens(one_in=6) else 0,
            priority=self.perhaps(self.number(0, 2)),
            effective_at=effective_at,
            expires_at=expires_at,
            ttl=ttl,
            cost=None if is_free or self.happens(one_in=4) else self.cost(),
            scope=self.one_of(SCOPES),
            package="" if is_free else self.one_of(PACKAGES),
        )

    def spending(self) -> tuple[AccountName, str, int]:
        account, operation = self.able(), self.one_of(OPERATIONS)
        purse = self.settled(account)
        return account, operation, self.amount(0 if purse is None else len(purse.spendable(operation)))

    def usage(self) -> Usage:
        """Priced by tests/model_usage.py, most of the time."""
        units = {"text": "word", "video": "second"}
        operation = self.one_of(["image/small", "text", "video", "video", "video", "sound"])
        quantities = {units[operation]: self.number(0, 8)} if operation in units else {}
        return Usage(provider="anyone", operation=operation, quantities=quantities)

    def deduct(self) -> Request:
        account, operation, amount = self.spending()
        if self.model.has_prices and self.happens(one_in=3):
            return Deduct(**self.about(account), usage=self.usage(), mode=self.one_of(list(DeductMode)))
        return Deduct(**self.about(account), amount=amount, mode=self.one_of(list(DeductMode)), operation=operation)

    # -- holds

    def hold(self) -> Request:
        account, operation, amount = self.spending()
        told = {"amount": amount, "operation": operation}
        if self.model.has_prices and self.happens(one_in=4):
            told = {"usage": self.usage()}
        return PlaceHold(
            **self.about(account),
            **told,
            ttl=self.perhaps(self.span()),
            tolerance=self.one_of([0, self.number(1, 5)]),
            held_lots=self.one_of(list(HeldLots)),
        )

    def of_hold(self) -> tuple[dict[str, object], int]:
        """The fields that name a hold, and how much it holds."""
        account = self.account(Purse.open_holds)
        holds = {} if (purse := self.settled(account)) is None else purse.holds
        number = self.of([number for number, hold in holds.items() if hold.state == "open"], [*holds])
        held = len(holds[number].credits) if number in holds else 1
        return {**self.part(account), "hold": number}, held

    def capture(self) -> Request:
        """A capture of nothing, of something, of all in both ways of saying so, or of more."""
        about, held = self.of_hold()
        if self.model.has_prices and self.happens(one_in=4):
            return Capture(**about, usage=self.usage(), final=self.happens(one_in=2))
        amount = self.one_of([None, self.number(0, held), self.number(0, held), self.number(held + 1, held + 4)])
        return Capture(**about, amount=amount, final=self.happens(one_in=2))

    def release(self) -> Request:
        return Release(**self.of_hold()[0])

    def increase_hold(self) -> Request:
        return IncreaseHold(**self.of_hold()[0], amount=self.number(1, 5))

    def extend_hold(self) -> Request:
        return ExtendHold(**self.of_hold()[0], ttl=self.span())

    # -- giving back, giving away

    def cost(self) -> Money:
        """Less or more than a unit for each credit."""
        return Money(minor_units=self.one_of([self.number(0, 50), self.number(50, 5_000)]), currency="EUR")

    def refund(self) -> Request:
        # What a plan covered is seldom there, and seldom the account that would be chosen.
        of_plan = self.happens(one_in=3)
        account = self.account(
            lambda purse: purse.status != "closed" and (self._planned(purse) if of_plan else purse.refundable())
        )
        # As it is written: a lapse that is not written yet is an entry once the refund is decided.
        purse = self.model.purse(account)
        used = [] if purse is None else purse.refundable()
        matter = [number for number in used if self._is_special(purse, number)]
        if of_plan and purse is not None:
            matter = self._planned(purse) or matter
        number = self.of(
            matter if matter and self.happens(one_in=2) else used,
            [] if purse is None else [entry.number for entry in purse.entries],
        )
        left = len(purse.left_to_refund(number)) if number in used else 0
        policy = self.one_of(list(ExpiredLots))
        ttls = {ExpiredLots.TO_ORIGINAL_LOT: None, ExpiredLots.EXTEND: self.span()}
        return Refund(
            **self.part(account),
            entry=number,
            amount=self.one_of([None, self.number(1, left), min(self.number(1, left), 1), left + 1]),
            expired_lots=policy,
            lot_ttl=ttls[policy] if policy in ttls else self.perhaps(self.span()),
        )

    def _planned(self, purse: Purse) -> list[int]:
        """The entries of which something can be refunded that a plan covered."""
        return [number for number in purse.refundable() if "plan" in purse.left_to_refund(number)]

    def _is_special(self, purse: Purse, number: int) -> bool:
        """True if something is left to refund of a lot that has run out or was taken back, of debt, or of a plan."""
        left = set(purse.left_to_refund(number))
        return any(
            lot in {"debt", "plan"} or purse.packs[lot].has_run_out(self.now) or purse.reclaimed_of_lot(lot)
            for lot in left
        )

    def transfer(self) -> Request:
        giver = self.account(lambda purse: purse.status == "open" and purse.effective)
        receivers = [name for name in self.model.accounts if name != giver]
        live = [name for name in receivers if (purse := self.model.purse(name)) and purse.status != "closed"]
        purse = self.settled(giver)
        return Transfer(
            **self.about(giver),
            to=self.one_of(live if live and not self.happens(one_in=6) else receivers),
            amount=self.amount(0 if purse is None else len(purse.effective)),
        )

    # -- again

    def again(self, asked: Sequence[Request]) -> Request:
        """What was asked before, answered or refused: the same again, something else about it, or another operation."""
        earlier = self.one_of(asked)
        if self.happens(one_in=2):
            return earlier
        if self.happens(one_in=3):
            return self._another_operation(earlier)
        if isinstance(earlier, Transfer | Merge) and self.happens(one_in=2):
            field = "to" if isinstance(earlier, Transfer) else "into"
            others = [name for name in self.model.accounts if name not in {earlier.account, getattr(earlier, field)}]
            return replace(earlier, **{field: self.one_of(others)})
        if isinstance(earlier, Capture | Release) and self.happens(one_in=2):
            return replace(earlier, hold=self.of_hold()[0]["hold"])
        if hasattr(earlier, "amount") and self.happens(one_in=2):
            other = {"usage": None} if getattr(earlier, "usage", None) is not None else {}
            return replace(earlier, amount=(earlier.amount or 0) + 1, **other)
        return replace(earlier, memo=replace(earlier.memo, reference="another"))

    def _another_operation(self, earlier: Request) -> Request:
        """Alike in every word but the operation itself, as far as that can be."""
        if isinstance(earlier, Capture | Release):
            other = Release if isinstance(earlier, Capture) else Capture
            return other(request_id=earlier.request_id, tenant=earlier.tenant, key=earlier.key, hold=earlier.hold)
        account = self.model.account_of(earlier.key) if isinstance(earlier, OfPart) else earlier.account
        other = PlaceHold if isinstance(earlier, Deduct) else Deduct
        return other(request_id=earlier.request_id, account=account, amount=getattr(earlier, "amount", None) or 1)
