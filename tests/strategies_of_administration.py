"""What administrators ask for, made up at random; and whole runs of requests, cut into batches."""

from collections.abc import Sequence
from datetime import datetime

from ledger import (
    Adjust,
    Batch,
    Close,
    Direction,
    Freeze,
    HoldLot,
    Memo,
    Merge,
    Request,
    Revoke,
    RollOver,
    SpendLimit,
    SpentPart,
    Unfreeze,
    UpdateAccount,
    Window,
    WriteOff,
)
from tests.model import Model
from tests.strategies import Asker, Chance

WHY = Memo(description="because", actor="ann")
ZONES = ("UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns")
PATTERNS = ("", "", "image/*", "text")
# What is seldom possible comes several times.
EVERYTHING = (
    *("plain_grant", "grant", "deduct", "hold", "capture", "release", "increase_hold", "extend_hold", "refund"),
    *(
        "transfer",
        "revoke",
        "hold_lot",
        "roll_over",
        "adjust",
        "write_off",
        "freeze",
        "unfreeze",
        "close",
        "merge",
        "update",
        "opening",
    ),
    *(
        "hold",
        "capture",
        "capture",
        "increase_hold",
        "refund",
        "refund",
        "revoke",
        "revoke",
        "merge",
        "write_off",
        "unfreeze",
        "repeat",
    ),
)


class Administrator(Asker):
    """Asks for all that can be asked for."""

    def revoke(self) -> Request:
        account = self.account(lambda purse: purse.packs and purse.status != "closed")
        purse = self.settled(account)
        packs = {} if purse is None else purse.packs
        spent = [number for number in packs if purse.spent_of_lot(number) > purse.reclaimed_of_lot(number)]
        paid = [number for number in spent if packs[number].cost]
        number = self.of((paid or spent) if spent and self.happens(one_in=2) else [*packs], [])
        there = purse.revocable(number) if number in packs else 0
        return Revoke(
            **self.part(account),
            lot=number,
            amount=self.one_of([None, None, self.number(1, there), there + 1]),
            spent=self.one_of([*SpentPart, SpentPart.OWE, SpentPart.OWE]),
            at_most=self.happens(one_in=4),
        )

    def hold_lot(self) -> Request:
        account = self.account(lambda purse: purse.credits)
        purse = self.settled(account)
        packs = [] if purse is None else [*purse.packs]
        number = self.of([] if purse is None else [credit.lot for credit in purse.credits], packs)
        return HoldLot(**self.part(account), lot=number, ttl=self.span(), amount=self.perhaps(self.number(1, 20)))

    def roll_over(self) -> Request:
        account = self.account(lambda purse: purse.status != "closed" and any(map(purse.gone, purse.packs)))
        purse = self.settled(account)
        gone = {} if purse is None else {number: purse.gone(number) for number in purse.packs}
        ran_out = [number for number, amount in gone.items() if amount]
        paid = [number for number in ran_out if purse is not None and purse.packs[number].cost]
        number = self.of((paid or ran_out) if self.happens(one_in=2) else ran_out, [*gone])
        expires_at, ttl = self.one_of([(None, None), (self.instant(self.now), None), (None, self.span())])
        amount = self.amount(gone.get(number, 1))
        return RollOver(**self.part(account), lot=number, amount=amount, expires_at=expires_at, ttl=ttl)

    def adjust(self) -> Request:
        account = self.live()
        purse = self.settled(account)
        amount = self.amount(0 if purse is None else len(purse.effective))
        return Adjust(**self.about(account), direction=self.one_of(list(Direction)), amount=amount, memo=WHY)

    def write_off(self) -> Request:
        account = self.account(lambda purse: purse.owed)
        purse = self.settled(account)
        amount = self.perhaps(self.amount(0 if purse is None else purse.owed))
        return WriteOff(**self.about(account), amount=amount, memo=WHY)

    def freeze(self) -> Request:
        return Freeze(**self.about(self.able()), memo=WHY)

    def unfreeze(self) -> Request:
        return Unfreeze(**self.about(self.account(lambda purse: purse.status == "frozen")))

    def close(self) -> Request:
        """Perhaps of one that cannot be closed."""
        is_empty = self.happens(one_in=2)
        return Close(
            **self.about(self.account(lambda purse: is_empty != bool(purse.credits or purse.owed or purse.held)))
        )

    def merge(self) -> Request:
        """Of one of the last accounts, the visitors', most of the time."""
        every, visitors = self.model.accounts, self.model.accounts[2:]
        lead = self.account(lambda purse: purse.account_id in {name.account_id for name in visitors} and purse.owed)
        lead = lead if self.happens(one_in=2) else self.one_of(every if self.happens(one_in=10) else visitors)
        others = [name for name in every if name != lead]
        return Merge(**self.about(lead), into=self.one_of(others if self.happens(one_in=5) else others[:2]))

    def limit(self, name: str) -> SpendLimit:
        window = self.one_of(list(Window))
        return SpendLimit(
            name=name,
            window=window,
            amount=self.number(0, 30),
            length=self.span() if window is Window.ROLLING else None,
            operation=self.one_of(PATTERNS),
        )

    def limits(self, kept: Sequence[SpendLimit]) -> tuple[SpendLimit, ...]:
        """Some of those there are, perhaps with another amount, and others of the same or another name."""
        limits = {limit.name: limit for limit in (self.limit(self.one_of("abc")) for _ in range(self.number(0, 2)))}
        for limit in kept:
            if self.happens(one_in=2):
                limits[limit.name] = SpendLimit(
                    name=limit.name,
                    window=limit.window,
                    amount=self.one_of([limit.amount, self.number(0, 30)]),
                    length=limit.length,
                    operation=limit.operation,
                )
        return tuple(limits.values())

    def update(self) -> Request:
        account = self.live()
        purse = self.model.purse(account)
        kept = [] if purse is None else [counter.limit for counter in purse.counters]
        return UpdateAccount(
            **self.about(account),
            overdraft_limit=self.one_of([None, 0, 3, 10]),
            unlimited=self.one_of([None, False, True]),
            time_zone=self.one_of([None, None, *ZONES]),
            limits=self.one_of([None, self.limits(kept), self.limits(kept)]),
            metadata=self.perhaps({"plan": "pro"}),
        )

    def makes_sense(self, name: str) -> bool:
        """True if there is something that the request can be about."""
        live = [purse for purse in self.model.purses.values() if purse.status != "closed"]
        open_holds = any(purse.open_holds() for purse in live)
        matters = {
            "opening": len(self.model.purses) < len(self.model.accounts),
            "refund": any(purse.refundable() for purse in live),
            "transfer": any(purse.credits for purse in live),
            "revoke": any(purse.packs for purse in live),
            "write_off": any(purse.owed for purse in live),
            "unfreeze": any(purse.status == "frozen" for purse in live),
            "merge": any(self.model.purse(visitor) in live for visitor in self.model.accounts[2:]),
            **dict.fromkeys(("capture", "release", "increase_hold", "extend_hold"), open_holds),
        }
        return matters.get(name, True)

    def request(self, name: str, asked: Sequence[Request]) -> Request:
        """What is named, or, if there is nothing that it can be about, most of the time something else."""
        if not self.model.purses:
            name = "opening" if self.happens(one_in=2) else "plain_grant"
        elif not any(purse.packs for purse in self.model.purses.values()):
            name = "plain_grant"
        elif not self.makes_sense(name) and not self.happens(one_in=8):
            name = self.one_of(["grant", "plain_grant", "deduct", "hold", "hold"])
        return self.again(asked) if name == "repeat" else getattr(self, name)()


Work = Request | Batch


def transactions(chance: Chance, models: Sequence[Model], start: datetime) -> list[tuple[datetime, list[Work]]]:
    """Requests and batches of them to the accounts of several models, cut into transactions, each with one clock."""
    asked: list[list[Request]] = [[] for _ in models]
    now, cut = start, [(start, [])]
    for number in range(chance.number(40, 80)):
        n = chance.number(0, len(models) - 1)
        if chance.happens(one_in=5):
            now = chance.moment(models[n], now)
            cut.append((now, []))
        elif chance.happens(one_in=4):
            cut.append((now, []))
        together, said, purses = [], [], models[n].purses
        for part in range(chance.number(2, 4) if chance.happens(one_in=5) else 1):
            asker = Administrator(chance.number(0, 2**32), models[n], f"r-{number}-{part}", now)
            together.append(asker.request(chance.one_of(EVERYTHING), asked[n]))
            asked[n].append(together[-1])
            said.append(models[n].ask(together[-1], now))
        work = together[0] if len(together) == 1 else Batch(operations=tuple(together), atomic=chance.happens(one_in=2))
        if isinstance(work, Batch) and work.atomic and any(one.refused for one in said):
            models[n].purses = purses
        cut[-1][1].append(work)
    return [(instant, transaction) for instant, transaction in cut if transaction]
