"""Plans that are paid for a year or a quarter and grant by the month, whichever day they begin on.

Every month's credits are there from the instant when those of the month before are gone; not one longer, nor later. So
it is however events come, however late, until what was paid for is over, whether the subscription goes on or not.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import strategies as st

from ledger import Granted, Plan, PlanContent, SaleRules
from ledger.sales.calendar import stretches
from tests.books import MICROSECOND
from tests.purchase_shop import ACCOUNT, SHAPES, Shop, assert_always, told_three_ways

DAY = timedelta(days=1)
PAID_FOR = {"quarter": ("month", 3), "year": ("year", 1)}
PRICE = 12_000
_tenants = count(1)


@dataclass(frozen=True)
class Life:
    """A subscription's, from its beginning on.

    began      when
    paid_for   by which period
    months     of each month, how much of what is there is spent, in thousandths; the first ones of the first period
    told       in which of these months all that happened so far is told for the first time, from 0 on
    refunded   in which of them some of the money goes back, how much, in thousandths, and whether that fails
    goes_on    it is renewed; else cancelled in the last of these months
    """

    began: datetime
    paid_for: str
    credits: int
    months: tuple[int, ...]
    told: int
    refunded: tuple[int, int, bool] | None
    goes_on: bool
    seed: int
    shapes: tuple


def lives():
    last_days = st.builds(
        lambda year, month, back: datetime(year, month, 1, 15, tzinfo=UTC) - back * DAY,
        st.integers(2027, 2032), st.integers(1, 12), st.integers(1, 4),
    )  # fmt: skip
    return st.builds(
        Life,
        began=last_days | st.integers(0, 700).map(lambda days: datetime(2027, 1, 1, 9, tzinfo=UTC) + days * DAY),
        paid_for=st.sampled_from(sorted(PAID_FOR)),
        credits=st.integers(1, 1000),
        months=st.lists(st.sampled_from([0, 500, 1000]) | st.integers(0, 1000), min_size=1, max_size=3).map(tuple),
        told=st.sampled_from([0, 0, 0, 1, 2]),
        refunded=st.none() | st.tuples(st.integers(0, 2), st.integers(1, 1000), st.booleans()),
        goes_on=st.booleans(),
        seed=st.integers(0, 2**32),
        shapes=st.sampled_from(SHAPES),
    )  # fmt: skip


@dataclass
class Month:
    """Its credits: what can be spent from `start` to `end`, what was, and what of that was taken back."""

    start: datetime
    end: datetime
    credits: int
    left: int
    used: int = 0
    taken: int = 0


class Player:
    """Lives a life in a shop, and keeps its months beside it."""

    def __init__(self, life, shop, clock):
        self.life, self.shop, self.clock = life, shop, clock
        self.months, self.gone = [], 0
        interval, every = PAID_FOR[life.paid_for]
        self.price = f"price_{shop.tenant}"
        shop.world.price(self.price, PRICE, interval=interval, interval_count=every)
        contents = (PlanContent(credits=life.credits),)
        shop.sell(
            Plan(plan="pro", title="Pro", stripe_prices=(self.price,), contents=contents, granted=Granted.MONTHLY)
        )

    def play(self):
        world = self.shop.world
        session = self.shop.begin(plan="pro")
        world.pay(session["id"])
        self.subscription = world.get(session["subscription"])
        self._paid_period()
        first = len(self.months)
        for place, (month, part) in enumerate(zip(self.months[:first], self.life.months, strict=False)):
            self.clock.now = max(self.clock.now, month.start + 5 * DAY)
            if self.life.refunded is not None and self.life.refunded[0] == place:
                self._send_back()
            if place >= min(self.life.told, len(self.life.months) - 1):
                self._tell()
                self._spend(month, part)
            self._compare()
        if self.life.goes_on and not self.gone:
            self.clock.now = self.months[-1].end
            world.renew(self.subscription["id"])
            self._paid_period()
        else:
            world.cancel(self.subscription["id"])
        self._tell()
        for month in self.months:
            if month.end > self.clock.now:
                for at in (month.end - MICROSECOND, month.end):
                    self.clock.now = at
                    self._compare()

    def _paid_period(self):
        item = self.subscription["items"]["data"][0]
        start, end = (datetime.fromtimestamp(item[f"current_period_{name}"], UTC) for name in ("start", "end"))
        credits_ = self.life.credits
        self.months += [Month(one.start, one.end, credits_, credits_) for one in stretches(Granted.MONTHLY, start, end)]

    def _send_back(self):
        _, size, fails = self.life.refunded
        intent = self.shop.world.get(self.subscription["latest_invoice"])["payment_intent"]
        refunded = self.shop.world.refund(intent, max(1, PRICE * size // 1000))[0]["data"]["object"]
        if fails:
            self.shop.world.fail_refund(refunded["id"])
        else:
            self.gone = refunded["amount"]

    def _spend(self, month, thousandths):
        if amount := month.left * thousandths // 1000:
            self.shop.spend(amount)
            month.used += amount
            month.left -= amount

    def _tell(self):
        self.shop.deliver()
        self.is_told = True
        self._give_back()

    def _give_back(self):
        """So much of the money is not ours: what is unspent goes first, the last months', and then what is used."""
        gone = sum(month.credits for month in self.months) * self.gone // PRICE
        for month in reversed(self.months):
            unspent = min(gone, month.credits - month.used)
            gone -= unspent
            month.left = month.credits - month.used - unspent if self.clock.now < month.end else 0
        for month in reversed(self.months):
            month.taken = min(gone, month.used)
            gone -= month.taken

    is_told = False

    def _compare(self):
        """What is there, what of it is not effective yet, and what is owed."""
        now, balance = self.clock.now, (0, 0, 0)
        if self.is_told:
            later = sum(month.left for month in self.months if month.start > now)
            there = sum(month.left for month in self.months if month.start <= now < month.end)
            balance = (there, later, sum(month.taken for month in self.months))
        (found,) = getattr(self.shop.ledger.balances(self.shop.tenant, ACCOUNT, "credits"), "balances", ()) or (None,)
        stands = (0, 0, 0) if found is None else (found.available, found.pending, found.owed)
        assert stands == balance, (stands, balance)
        assert self.shop.set_aside() == {}


def check(life, ledger, clock):
    """The same credits at every instant, however it is told, and the same money in the end."""
    nets = []
    for told in told_three_ways(life):
        clock.now = life.began
        shop = Shop(ledger, clock, f"y{next(_tenants)}", told=told, rules=SaleRules())
        player = Player(life, shop, clock)
        player.play()
        entries = shop.entries()
        shop.deliver()
        assert shop.entries() == entries
        used, owed = (sum(getattr(month, name) for month in player.months) for name in ("used", "taken"))
        found = shop.nets()
        assert (found.get("available", 0), found.get("revenue", 0), found.get("owed", 0)) == (0, -used, owed)
        nets.append(found)
    assert nets[0] == nets[1] == nets[2]


def test_each_month_has_its_credits_from_its_first_instant_to_its_last(sqlite_url, clock):
    assert_always(check, lives(), sqlite_url, clock, max_examples=5)


def test_so_it_is_on_postgresql(postgres_url, clock):
    assert_always(check, lives(), postgres_url, clock, max_examples=2)


@pytest.mark.soak
def test_so_it_is_in_many_lives(sqlite_url, clock):
    assert_always(check, lives(), sqlite_url, clock, max_examples=2000, derandomize=False)
