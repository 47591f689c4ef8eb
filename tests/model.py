"""The dumbest ledger that is right: every single credit is an object, and what was spent is counted anew each time.

It shares nothing with the ledger but the values that are asked for, and says the same: which entries are written to
which account, or why nothing is. It knows small amounts only.
"""

from dataclasses import fields, replace
from datetime import datetime

from ledger.administration import (
    Adjust,
    Close,
    Freeze,
    HoldLot,
    Merge,
    Revoke,
    RollOver,
    Unfreeze,
    UpdateAccount,
    WriteOff,
)
from ledger.ids import AccountKey
from ledger.model import AccountName
from ledger.operations import (
    Capture,
    Deduct,
    ExtendHold,
    Grant,
    IncreaseHold,
    OpenAccount,
    PlaceHold,
    Refund,
    Release,
    Request,
    Transfer,
)
from ledger.terms import AssetPolicy, SpendLimit
from tests.model_account import Purse
from tests.model_limits import Counter
from tests.model_refund import GiveBack
from tests.model_usage import due, tell
from tests.model_values import GRANTED_FROM, Credit, Hold, Move, Pack, Refusal, Said, Written

KINDS = {
    OpenAccount: "open",
    Grant: "grant",
    Deduct: "deduct",
    PlaceHold: "hold",
    IncreaseHold: "increase_hold",
    ExtendHold: "extend_hold",
    Capture: "capture",
    Release: "release",
    Refund: "refund",
    Revoke: "revoke",
    HoldLot: "hold",
    RollOver: "roll_over",
    Adjust: "adjust",
    WriteOff: "write_off",
    Transfer: "transfer_out",
    Merge: "merge_out",
    Freeze: "freeze",
    Unfreeze: "unfreeze",
    Close: "close",
    UpdateAccount: "update",
}
OfHold = Capture | Release | IncreaseHold | ExtendHold
OfLot = Revoke | HoldLot | RollOver
OfPart = OfHold | OfLot | Refund
# An account that is not there is opened by these, if the asset's settings say so.
OPENING = Grant | Deduct | PlaceHold | Adjust | Transfer | Freeze | UpdateAccount
NOT_WHEN_FROZEN = Deduct | PlaceHold | IncreaseHold | Transfer | Merge
# Of memos, the requests that are made up only differ in the reference.
SHOWN = {
    "hold": "hold_id",
    "entry": "entry_id",
    "lot": "lot_id",
    "to": "to_account_id",
    "into": "into_account_id",
    "memo": "memo.reference",
}


class Model:
    """The accounts of one tenant in one asset."""

    def __init__(self, accounts: tuple[AccountName, ...], policy: AssetPolicy, *, has_prices: bool = False) -> None:
        self.accounts = accounts
        self.ids = {account.key: account.account_id for account in accounts}
        self.policy = policy
        self.has_prices = has_prices
        self.purses: dict[str, Purse] = {}

    def ask(self, operation: Request, now: datetime) -> Said:
        """What is to be answered. What has lapsed is settled in any case; besides that, a refusal changes nothing."""
        self.settle(operation, now)
        before = self.purses
        self.purses = {account_id: purse.copy() for account_id, purse in before.items()}
        try:
            return self.do(operation, now)
        except Refusal as refusal:
            self.purses = before
            return Said(refused=refusal.reason, figures=refusal.figures)

    def settle(self, operation: Request, now: datetime) -> None:
        for key in operation.keys:
            purse = self.purses.get(self.ids[key])
            if purse is not None:
                purse.settle(now)
                # Time is that of the last entry; that somebody asked at some time is not remembered.
                purse.time = purse.entries[-1].at

    def purse(self, account: AccountName) -> Purse | None:
        return self.purses.get(account.account_id)

    def account_of(self, key: AccountKey) -> AccountName:
        return next(account for account in self.accounts if account.key == key)

    def settled(self, account: AccountName, now: datetime) -> Purse:
        """How it all stands at that time."""
        settled = self.purses[account.account_id].copy()
        settled.settle(now)
        return settled

    def do(self, operation: Request, now: datetime) -> Said:
        """Does it at once; raises Refusal when it may be half done."""
        account_id = self.ids[operation.key]
        purse = self.purses.get(account_id)
        if isinstance(operation, OfPart):
            self._find(purse, operation)
        if purse is not None and operation.request_id in purse.asked:
            return Said(entry=self._repeated(purse, operation), is_replay=True)
        if isinstance(operation, OpenAccount):
            if purse is not None:
                raise Refusal("ACCOUNT_EXISTS")
            purse, entry = self._opened(account_id, now, operation.request_id)
        elif isinstance(operation, Transfer | Merge):
            other = self.ids[operation.keys[1]]
            # Both sides of it happen at one instant.
            now = max(now, *(self.purses[name].time for name in (account_id, other) if name in self.purses), now)
            purse = self._ready(account_id, operation, now)
            entry = self._move(purse, self._ready(other, None, now), operation)
        else:
            purse = self._ready(account_id, operation, now)
            entry = getattr(self, f"_{KINDS[type(operation)]}")(purse, operation)
        purse.asked[operation.request_id] = operation, entry.number
        return Said(entry=entry.number)

    def _find(self, purse: Purse | None, operation: OfPart) -> None:
        if isinstance(operation, Refund):
            if purse is None or not 0 < operation.entry <= len(purse.entries):
                raise Refusal("ENTRY_NOT_FOUND")
        elif isinstance(operation, OfLot):
            if purse is None or operation.lot not in purse.packs:
                raise Refusal("LOT_NOT_FOUND")
        elif purse is None or operation.hold not in purse.holds:
            raise Refusal("HOLD_NOT_FOUND")

    def _repeated(self, purse: Purse, operation: Request) -> int:
        first, number = purse.asked[operation.request_id]
        if type(first) is not type(operation):
            raise Refusal("REQUEST_ID_REUSED", fields="operation")
        names = [field.name for field in fields(first) if getattr(first, field.name) != getattr(operation, field.name)]
        if names:
            raise Refusal("REQUEST_ID_REUSED", fields=",".join(sorted(SHOWN.get(name, name) for name in names)))
        return number

    def _ready(self, account_id: str, operation: Request | None, now: datetime) -> Purse:
        """The account, opened if that may be; the operation is None on the receiving side of a movement."""
        purse = self.purses.get(account_id)
        if purse is None:
            if not self.policy.auto_open or not (operation is None or isinstance(operation, OPENING)):
                raise Refusal("ACCOUNT_NOT_FOUND")
            purse, _ = self._opened(account_id, now, None)
        if purse.status == "closed":
            raise Refusal("ACCOUNT_CLOSED")
        if purse.status == "frozen" and isinstance(operation, NOT_WHEN_FROZEN):
            raise Refusal("ACCOUNT_FROZEN")
        purse.settle(now)
        return purse

    def _opened(self, account_id: str, now: datetime, request_id: str | None) -> tuple[Purse, Written]:
        purse = self.purses[account_id] = Purse(account_id, now)
        welcome, moves, made = self.policy.welcome, [], ()
        if welcome is not None:
            terms = self._terms(purse, str(welcome.source), expires_at=welcome.ttl and now + welcome.ttl)
            moves, pack = purse.grant(welcome.amount, terms)
            made = (pack,)
        return purse, purse.write("open", moves, request_id=request_id, made=made)

    @staticmethod
    def _terms(purse: Purse, source: str, **others: object) -> Pack:
        terms = {"priority": GRANTED_FROM[source][1], "effective_at": purse.time, "expires_at": None}
        return Pack(number=0, granted=0, source=source, **{**terms, "cost": None, "scope": (), **others})

    # -- credits come and go

    def _grant(self, purse: Purse, operation: Grant) -> Written:
        effective_at = operation.effective_at or purse.time
        expires_at = operation.expires_at
        if operation.ttl is not None:
            expires_at = max(effective_at, purse.time) + operation.ttl
        source, cost = str(operation.source), operation.cost
        terms = self._terms(
            purse,
            source,
            effective_at=effective_at,
            expires_at=expires_at,
            cost=cost and (cost.minor_units, cost.currency),
            scope=operation.scope,
            package=operation.package,
        )
        if operation.priority is not None:
            terms = replace(terms, priority=operation.priority)
        may_repay = self._may_repay(source)
        moves, pack = purse.grant(operation.amount, terms, may_repay=may_repay, revives=operation.revives)
        return purse.write("grant", moves, request_id=operation.request_id, made=(pack,))

    def _deduct(self, purse: Purse, operation: Deduct) -> Written:
        mode, about = str(operation.mode), operation.used_for
        amount = charged = due(purse, operation, operation.amount, purse.time)
        if mode == "clamp":
            amount = min([amount, *[counter.room(purse.time) for counter in purse.counters_of(about)]])
            if not purse.is_unlimited:
                amount = min(amount, len(purse.spendable(about)) + purse.room_for_debt)
        if mode == "record" and not purse.is_unlimited:
            there = purse.spendable(about)[:amount]
            taken = [*purse.take(len(there), about), *[None] * (amount - len(there))]
            purse.owed += amount - len(there)
        else:
            taken = purse.take(amount, about, overdraft=True)
        if mode == "authorize":
            purse.check_limits(amount, about)
        tell(purse, operation)
        said = {"operation": about, "charged": None if operation.usage is None else charged}
        return purse.write("deduct", purse.use(taken), request_id=operation.request_id, **said)

    def _refund(self, purse: Purse, operation: Refund) -> Written:
        refunded = purse.entries[operation.entry - 1]
        if refunded.kind not in {"deduct", "capture"}:
            raise Refusal("ENTRY_NOT_REFUNDABLE")
        left = purse.left_to_refund(operation.entry)
        amount = len(left) if operation.amount is None else operation.amount
        if not 0 < amount <= len(left):
            raise Refusal("AMOUNT_ABOVE_REFUNDABLE")
        back = GiveBack(purse, operation)
        for one in left[::-1][:amount]:
            back.give(one)
        return purse.write(
            "refund",
            back.moves,
            request_id=operation.request_id,
            made=back.finish(self._terms(purse, "adjustment")),
            operation=refunded.operation,
            refunds=refunded.number,
            lots_expire_at=back.expires_at if back.extended else None,
        )

    def _revoke(self, purse: Purse, operation: Revoke) -> Written:
        pack = purse.packs[operation.lot]
        back_to = GRANTED_FROM[pack.source][0]
        there = [credit for credit in purse.credits if credit.lot == pack.number]
        revocable = purse.revocable(pack.number)
        amount = revocable if operation.amount is None else operation.amount
        if operation.at_most:
            amount = min(amount, revocable)
        elif not 0 < amount <= revocable:
            raise Refusal("AMOUNT_ABOVE_REVOCABLE")
        for credit in there[:amount]:
            purse.remove(credit)
        moves: list[Move] = [("available", back_to, pack.number) for _ in there[:amount]]
        missing = amount - len(moves)
        if str(operation.spent) != "leave":
            moves += [("owed", back_to, pack.number)] * missing
        if str(operation.spent) == "write_off":
            moves += [("adjustments", "owed", None)] * missing
        elif str(operation.spent) == "owe":
            purse.owed += missing
        return purse.write("revoke", moves, request_id=operation.request_id, revokes=pack.number)

    def _roll_over(self, purse: Purse, operation: RollOver) -> Written:
        pack = purse.packs[operation.lot]
        if operation.amount > purse.gone(pack.number):
            raise Refusal("AMOUNT_ABOVE_REVOCABLE")
        expires_at = operation.expires_at if operation.ttl is None else purse.time + operation.ttl
        terms = replace(pack.come_of(), effective_at=purse.time, expires_at=expires_at)
        moves, new = purse.grant(operation.amount, terms, may_repay=self._may_repay(pack.source))
        moves[: operation.amount] = [("breakage", "available", new.number)] * operation.amount
        return purse.write("roll_over", moves, request_id=operation.request_id, made=(new,))

    def _may_repay(self, source: str) -> bool:
        return self.policy.free_credits_repay_debt or GRANTED_FROM[source][0] != "promotions"

    def _adjust(self, purse: Purse, operation: Adjust) -> Written:
        if str(operation.direction) == "up":
            moves, pack = purse.grant(operation.amount, self._terms(purse, "adjustment"))
            return purse.write("adjust", moves, request_id=operation.request_id, made=(pack,))
        gone = self._taken(purse, operation.amount)
        moves = [("available", "adjustments", credit.lot) for credit in gone]
        return purse.write("adjust", moves, request_id=operation.request_id)

    @staticmethod
    def _taken(purse: Purse, amount: int) -> list[Credit]:
        """Whatever they may pay for."""
        taken = purse.effective[:amount]
        if len(taken) < amount:
            raise Refusal("INSUFFICIENT_CREDITS")
        for credit in taken:
            purse.remove(credit)
        return taken

    def _write_off(self, purse: Purse, operation: WriteOff) -> Written:
        amount = purse.owed if operation.amount is None else operation.amount
        if not 0 < amount <= purse.owed:
            raise Refusal("AMOUNT_ABOVE_OWED")
        purse.owed -= amount
        return purse.write("write_off", [("adjustments", "owed", None)] * amount, request_id=operation.request_id)

    # -- holds

    def _hold(self, purse: Purse, operation: PlaceHold | HoldLot) -> Written:
        if isinstance(operation, HoldLot):
            return self._hold_lot(purse, operation)
        amount, about = due(purse, operation, operation.amount, purse.time), operation.used_for
        taken = purse.take(amount, about)
        purse.check_limits(amount, about)
        number = purse.next_number
        purse.holds[number] = Hold(
            credits=tuple(taken),
            operation=about,
            amount=amount,
            tolerance=operation.tolerance,
            honours_lots=str(operation.held_lots) == "honour",
            placed_at=purse.time,
            expires_at=purse.lasting(operation.ttl),
        )
        charged = None if operation.usage is None else amount
        return self._write_hold(purse, operation, number, purse.hold(taken), charged)

    def _hold_lot(self, purse: Purse, operation: HoldLot) -> Written:
        taken = [credit for credit in purse.credits if credit.lot == operation.lot][: operation.amount]
        for credit in taken:
            purse.remove(credit)
        number = purse.next_number
        purse.holds[number] = Hold(
            credits=tuple(taken),
            operation="",
            amount=len(taken),
            tolerance=0,
            honours_lots=True,
            placed_at=purse.time,
            expires_at=purse.lasting(operation.ttl),
            lot=operation.lot,
        )
        return self._write_hold(purse, operation, number, purse.hold(taken))

    @staticmethod
    def _write_hold(
        purse: Purse, operation: Request, number: int, moves: list[Move], charged: int | None = None
    ) -> Written:
        return purse.write(
            KINDS[type(operation)],
            moves,
            request_id=operation.request_id,
            hold=number,
            operation=purse.holds[number].operation,
            charged=charged,
        )

    @staticmethod
    def _open_hold(purse: Purse, operation: OfHold) -> Hold:
        hold = purse.holds[operation.hold]
        if hold.state != "open":
            raise Refusal("HOLD_NOT_ACTIVE", state=hold.state)
        return hold

    def _capture(self, purse: Purse, operation: Capture) -> Written:
        hold = self._open_hold(purse, operation)
        amount = len(hold.credits) if operation.amount is None else operation.amount
        amount = due(purse, operation, amount, hold.placed_at)
        beyond = max(amount - len(hold.credits), 0)
        if beyond > hold.tolerance:
            raise Refusal("AMOUNT_ABOVE_HOLD")
        more = []
        if beyond:
            if purse.status == "frozen":
                raise Refusal("ACCOUNT_FROZEN")
            more = purse.take(beyond, hold.operation)
            purse.check_limits(beyond, hold.operation)
        used, rest = hold.credits[:amount], hold.credits[amount:]
        moves = [("held", "revenue", credit.lot) for credit in used] + purse.use(more)
        purse.holds[operation.hold] = replace(
            hold, captured=hold.captured + amount, tolerance=hold.tolerance - beyond, credits=rest
        )
        if operation.final:
            purse.end(operation.hold, "captured", purse.time)
            moves += purse.give_back(rest, purse.time)
        tell(purse, operation)
        charged = None if operation.usage is None else amount
        return self._write_hold(purse, operation, operation.hold, moves, charged)

    def _release(self, purse: Purse, operation: Release) -> Written:
        hold = self._open_hold(purse, operation)
        purse.end(operation.hold, "released", purse.time)
        return self._write_hold(purse, operation, operation.hold, purse.give_back(hold.credits, purse.time))

    def _increase_hold(self, purse: Purse, operation: IncreaseHold) -> Written:
        hold = self._open_hold(purse, operation)
        taken = purse.take(operation.amount, hold.operation)
        purse.check_limits(operation.amount, hold.operation)
        purse.holds[operation.hold] = replace(
            hold, credits=(*hold.credits, *taken), amount=hold.amount + operation.amount
        )
        return self._write_hold(purse, operation, operation.hold, purse.hold(taken))

    def _extend_hold(self, purse: Purse, operation: ExtendHold) -> Written:
        hold = self._open_hold(purse, operation)
        expires_at = max(hold.expires_at, purse.lasting(operation.ttl))
        purse.holds[operation.hold] = replace(hold, expires_at=expires_at)
        return self._write_hold(purse, operation, operation.hold, [])

    # -- between accounts

    def _move(self, giver: Purse, receiver: Purse, operation: Transfer | Merge) -> Written:
        name = "transfer" if isinstance(operation, Transfer) else "merge"
        debt = 0
        if name == "transfer":
            gone = self._taken(giver, operation.amount)
        else:
            if giver.open_holds():
                raise Refusal("ACCOUNT_HAS_HOLDS")
            gone, debt = sorted(giver.credits, key=lambda credit: credit.lot), giver.owed
            giver.credits, giver.owed, giver.status = [], 0, "closed"
        lots = list(dict.fromkeys(credit.lot for credit in gone))
        amounts = {lot: sum(credit.lot == lot for credit in gone) for lot in lots}
        made, moves = [], []
        for lot in lots:
            made.append(receiver.make(amounts[lot], giver.packs[lot].come_of()))
            moves += [("transfers", "available", made[-1].number)] * amounts[lot]
        receiver.owed += debt
        out = giver.write(
            f"{name}_out",
            [("available", "transfers", credit.lot) for credit in gone] + [("transfers", "owed", None)] * debt,
            request_id=operation.request_id,
            peer=(receiver.account_id, receiver.next_number),
        )
        receiver.write(
            f"{name}_in",
            moves + [("owed", "transfers", None)] * debt,
            made=tuple(made),
            peer=(giver.account_id, out.number),
        )
        return out

    # -- what becomes of accounts

    def _freeze(self, purse: Purse, operation: Freeze) -> Written:
        if purse.status == "frozen":
            raise Refusal("ACCOUNT_FROZEN")
        purse.status = "frozen"
        return purse.write("freeze", [], request_id=operation.request_id)

    def _unfreeze(self, purse: Purse, operation: Unfreeze) -> Written:
        if purse.status != "frozen":
            raise Refusal("ACCOUNT_NOT_FROZEN")
        purse.status = "open"
        return purse.write("unfreeze", [], request_id=operation.request_id)

    def _close(self, purse: Purse, operation: Close) -> Written:
        if purse.credits or purse.owed or purse.open_holds():
            raise Refusal("ACCOUNT_NOT_EMPTY")
        purse.status = "closed"
        return purse.write("close", [], request_id=operation.request_id)

    def _update(self, purse: Purse, operation: UpdateAccount) -> Written:
        if operation.overdraft_limit is not None:
            purse.overdraft = operation.overdraft_limit
        if operation.unlimited is not None:
            purse.is_unlimited = operation.unlimited
        if operation.time_zone is not None:
            purse.time_zone = operation.time_zone
        asked = [counter.limit for counter in purse.counters] if operation.limits is None else operation.limits
        purse.counters = [self._counter(purse, limit) for limit in asked]
        if operation.metadata is not None:
            purse.metadata = dict(operation.metadata)
        return purse.write("update", [], request_id=operation.request_id)

    @staticmethod
    def _counter(purse: Purse, limit: SpendLimit) -> Counter:
        """One that goes on counting, if only the amount has changed."""
        for counter in purse.counters:
            if counter.is_continued_by(limit, purse.time_zone):
                return counter.with_limit(limit, purse.time_zone)
        return Counter(limit, purse.time_zone, set_by=purse.next_number)
