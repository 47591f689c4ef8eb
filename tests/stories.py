"""Stories of two customers made up by Hypothesis, and what their entries say of any instant: folded unit by unit."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count

from hypothesis import strategies as st

from ledger import AccountName, Entry, Ledger, Memo, Money, Source
from ledger.administration import (
    Adjust,
    Direction,
    Freeze,
    HoldLot,
    Merge,
    Revoke,
    RollOver,
    SpentPart,
    Unfreeze,
    UpdateAccount,
    WriteOff,
)
from ledger.model import HeldLots
from ledger.operations import (
    Capture,
    Deduct,
    DeductMode,
    ExpiredLots,
    ExtendHold,
    Grant,
    IncreaseHold,
    OpenAccount,
    PlaceHold,
    Refund,
    Release,
    Transfer,
)
from ledger.outcome import Accepted, Refused
from tests.books import MICROSECOND, START, request_id

STEP = timedelta(minutes=5)
PATTERNS = ("image/*", "image/upscale")
OPERATIONS = ("", "image/generate", "image/upscale")
WHY = Memo(description="because", actor="ann")
_numbers = count(1)


@dataclass
class Story:
    """What two customers have done so far.

    lots, holds, used   numbers that were given out, to be named again
    """

    names: tuple[AccountName, AccountName]
    lots: dict[AccountName, list[int]] = field(default_factory=dict)
    holds: dict[AccountName, list[int]] = field(default_factory=dict)
    used: dict[AccountName, list[int]] = field(default_factory=dict)
    accepted: int = 0

    def take(self, outcome: Accepted | Refused) -> None:
        """Remembers what was done."""
        if not isinstance(outcome, Accepted):
            return
        self.accepted += 1
        for entry in outcome.entries:
            name = next(name for name in self.names if name.key == entry.key)
            self.lots.setdefault(name, []).extend(made.number for made in entry.made)
            if entry.hold == entry.seq:
                self.holds.setdefault(name, []).append(entry.seq)
            if entry.used:
                self.used.setdefault(name, []).append(entry.seq)


def spans() -> st.SearchStrategy[timedelta]:
    """Up to an hour, on a grid, so that instants meet."""
    return st.integers(1, 12).map(lambda steps: steps * STEP)


@st.composite
def changes(draw, story: Story, now: datetime) -> object:
    """Any change, to one of the two."""
    name = draw(st.sampled_from(story.names))
    other = story.names[1 - story.names.index(name)]
    asked = {"request_id": request_id()}
    of_account = {**asked, "account": name}
    of_part = {**asked, "tenant": name.tenant, "key": name.key}
    amount, operation = draw(st.integers(1, 12)), draw(st.sampled_from(OPERATIONS))
    kinds = [
        lambda: _grant(draw, of_account, amount, now),
        lambda: _grant(draw, of_account, amount, now),
        lambda: Deduct(**of_account, amount=amount, operation=operation, mode=draw(st.sampled_from(DeductMode))),
        lambda: PlaceHold(
            **of_account,
            amount=amount,
            ttl=2 * draw(spans()),
            operation=operation,
            tolerance=draw(st.integers(0, 3)),
            held_lots=draw(st.sampled_from(HeldLots)),
        ),
        lambda: Adjust(**of_account, direction=draw(st.sampled_from(Direction)), amount=amount, memo=WHY),
        lambda: WriteOff(**of_account, memo=WHY),
        lambda: Transfer(**of_account, to=other, amount=amount),
        lambda: UpdateAccount(
            **of_account, unlimited=draw(st.integers(0, 3)) == 3, overdraft_limit=draw(st.integers(0, 5))
        ),
        lambda: draw(st.sampled_from([Freeze, Unfreeze, Unfreeze, Unfreeze]))(**of_account, memo=WHY),
    ]
    kinds[3:3] = [kinds[2], kinds[3]]
    if story.holds.get(name):
        hold = draw(st.sampled_from(story.holds[name][-4:]))
        kinds += [
            lambda: Capture(
                **of_part, hold=hold, amount=draw(st.none() | st.integers(0, 6)), final=draw(st.booleans())
            ),
            lambda: Release(**of_part, hold=hold),
            lambda: IncreaseHold(**of_part, hold=hold, amount=draw(st.integers(1, 4))),
            lambda: ExtendHold(**of_part, hold=hold, ttl=draw(spans())),
        ] * 2
    if story.used.get(name):
        kinds += [lambda: _refund(draw, of_part, draw(st.sampled_from(story.used[name])))] * 3
    if story.lots.get(name):
        lot = draw(st.sampled_from(story.lots[name]))
        kinds += [
            lambda: Revoke(
                **of_part, lot=lot, spent=draw(st.sampled_from(SpentPart)), amount=draw(st.none() | st.just(amount))
            ),
            lambda: HoldLot(**of_part, lot=lot, ttl=draw(spans()), amount=draw(st.none() | st.just(amount))),
            lambda: RollOver(**of_part, lot=lot, ttl=draw(st.none() | spans()), amount=draw(st.integers(1, 4))),
        ]
    return draw(st.sampled_from(kinds))()


def _grant(draw, of_account, amount, now):
    begins = draw(st.none() | spans().map(lambda span: now + span))
    source = draw(st.sampled_from([Source.PROMO, Source.PURCHASE, Source.PURCHASE, Source.ADJUSTMENT]))
    cost = st.builds(Money, minor_units=st.integers(0, 99), currency=st.sampled_from(["EUR", "EUR", "USD"]))
    return Grant(
        **of_account,
        amount=amount + 5,
        revives=draw(st.sampled_from([0, 0, 0, amount])),
        source=source,
        priority=draw(st.none() | st.integers(0, 1)),
        effective_at=begins,
        ttl=draw(st.none() | spans()),
        cost=None if source is Source.PROMO else draw(st.none() | cost | cost),
        package="" if source is Source.PROMO else draw(st.sampled_from(["", "starter", "pro"])),
        scope=draw(st.sampled_from([(), (), PATTERNS])),
    )


def _refund(draw, of_part, entry):
    choice = draw(st.sampled_from(ExpiredLots))
    ttl = None if choice is ExpiredLots.TO_ORIGINAL_LOT else draw(spans())
    amount = draw(st.none() | st.just(1) | st.integers(1, 4))
    return Refund(**of_part, entry=entry, amount=amount, expired_lots=choice, lot_ttl=ttl)


def tell(
    data,
    ledger: Ledger,
    clock,
    *,
    length: int = 40,
    tenant="default",
    asset="credits",
    begins=START,
    do=None,
    after_each=None,
) -> Story:
    """Has a story happen to two new customers; the clock stops where the story does.

    do           does one operation and tells the outcome; None: the ledger
    after_each   is called after each
    """
    number = next(_numbers)
    one = AccountName(tenant=tenant, account_id=f"one-{number}", asset=asset)
    story = Story(names=(one, replace(one, account_id=f"two-{number}")))
    clock.now = begins
    for name in story.names:
        ledger.execute(OpenAccount(request_id=request_id(), account=name))
    for _ in range(length):
        clock.now += data.draw(st.sampled_from([0, 0, 0, 1, 1, 2, 5])) * STEP
        story.take((do or ledger.execute)(data.draw(changes(story, clock.now))))
        if after_each is not None:
            after_each()
    if data.draw(st.booleans()):
        story.take((do or ledger.execute)(Merge(request_id=request_id(), account=one, into=story.names[1])))
    clock.now += data.draw(st.integers(0, 12)) * STEP
    return story


def moments(entries: list[Entry], now: datetime) -> list[datetime]:
    """Every instant at which something may change, and those just before and after; none later than now."""
    matters = {entry.effective_at for entry in entries}
    for entry in entries:
        matters |= {made.terms.effective_at for made in entry.made}
        matters |= {made.terms.expires_at for made in entry.made if made.terms.expires_at}
        matters |= {instant for instant in (entry.hold_expires_at, entry.lots_expire_at) if instant}
    around = {instant + sign * MICROSECOND for instant in matters for sign in (-1, 0, 1)}
    return sorted(instant for instant in around if entries[0].effective_at <= instant <= now)


class Then:
    """How an account stood, of all its entries up to an instant, every unit by itself."""

    def __init__(self, entries: list[Entry], at: datetime) -> None:
        self.at = at
        self.owed = 0
        self.plan_units = 0
        self.lots: dict[int, dict] = {}
        self.holds: dict[int, dict] = {}
        for entry in entries:
            if entry.effective_at <= at:
                self._take(entry)

    def _take(self, entry: Entry) -> None:
        for made in entry.made:
            start = {"granted": made.granted, "remaining": 0, "held": 0, "spent": 0, "reclaimed": 0}
            self.lots[made.number] = {**start, "terms": made.terms, "expires_at": made.terms.expires_at}
        for line in entry.lines:
            debit, credit, amount = line.debit.value, line.credit.value, line.amount
            self.owed += amount * ((debit == "owed") - (credit == "owed"))
            if line.lot is None:
                self.plan_units += amount * ((credit == "held") - (debit == "held"))
                continue
            lot = self.lots[line.lot]
            lot["remaining"] += amount * ((credit == "available") - (debit == "available"))
            lot["held"] += amount * ((credit == "held") - (debit == "held"))
            lot["spent"] += amount * (credit in {"revenue", "transfers"})
            # What a refund puts into a lot that it makes had not been spent out of that lot.
            lot["spent"] -= amount * (debit == "revenue" and line.lot not in {made.number for made in entry.made})
            if credit == "owed":
                # A refund takes back what was reclaimed; anything else repays with the lot.
                lot["reclaimed" if debit == "revenue" else "spent"] += -amount if debit == "revenue" else amount
            lot["reclaimed"] += amount * (debit == "owed")
            expires_at = lot["expires_at"]
            if entry.lots_expire_at and expires_at and expires_at <= entry.effective_at:
                lot["expires_at"] = entry.lots_expire_at
        if entry.hold is not None:
            self._take_hold(entry)

    def _take_hold(self, entry: Entry) -> None:
        moved = [(line.debit.value, line.credit.value, line.amount, line.lot) for line in entry.lines]
        if entry.hold == entry.seq:
            self.holds[entry.seq] = {
                "units": [],
                "amount": 0,
                "captured": 0,
                "beyond": 0,
                "state": "open",
                "ended": None,
            }
        hold = self.holds[entry.hold]
        for debit, credit, amount, lot in moved:
            if credit == "held":
                hold["units"] += [lot] * amount
                hold["amount"] += amount
            elif debit == "held":
                for _ in range(amount):
                    hold["units"].remove(lot)
            if credit == "revenue":
                hold["captured"] += amount
                hold["beyond"] += amount if debit == "available" else 0
        if entry.hold_expires_at is not None:
            hold["expires_at"] = entry.hold_expires_at
        else:
            hold["state"] = {"capture": "captured", "release": "released", "hold_lapse": "lapsed"}[entry.kind.value]
            hold["ended"] = entry.effective_at

    def effective(self, lot: dict) -> bool:
        return lot["terms"].effective_at <= self.at

    @property
    def available(self) -> int:
        return sum(lot["remaining"] for lot in self.lots.values() if self.effective(lot))

    @property
    def pending(self) -> int:
        return sum(lot["remaining"] for lot in self.lots.values() if not self.effective(lot))

    @property
    def held(self) -> int:
        return sum(lot["held"] for lot in self.lots.values()) + self.plan_units

    def expiring(self, within: timedelta) -> int:
        until = self.at + within
        return sum(
            lot["remaining"]
            for lot in self.lots.values()
            if self.effective(lot) and lot["expires_at"] and lot["expires_at"] <= until
        )
