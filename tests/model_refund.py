"""What of the dumb model is not said in a line: a refund, credit by credit."""

from dataclasses import replace

from ledger.operations import Refund
from tests.model_account import Purse
from tests.model_values import Credit, Move, Pack


class GiveBack:
    """A refund, one credit after the other; the one that was burnt last comes first."""

    def __init__(self, purse: Purse, operation: Refund) -> None:
        self.purse = purse
        self.policy = str(operation.expired_lots)
        self.expires_at = operation.lot_ttl and purse.time + operation.lot_ttl
        self.moves: list[Move] = []
        # The new lots by what they stand for: a lot that has run out, or debt that is owed no more.
        self.new: dict[int | str, list[Credit]] = {}
        self.extended: set[int] = set()
        self.made_good: dict[int, int] = {}

    def give(self, one: int | str) -> None:
        purse = self.purse
        if one == "plan":
            self.moves += [("revenue", "available", None), ("available", "plans", None)]
        elif one == "debt":
            if purse.owed > 0:
                self._repay(None)
            else:
                self._as_new(one)
        elif purse.owed > 0 and purse.reclaimed_of_lot(one) > self.made_good.get(one, 0):
            self.made_good[one] = self.made_good.get(one, 0) + 1
            self._repay(one)
        elif not purse.packs[one].has_run_out(purse.time):
            self._to_lot(one)
        elif self.policy == "new_lot":
            self._as_new(one)
        else:
            self._to_lot(one)
            if self.policy == "extend":
                self.extended.add(one)
            else:
                purse.credits.pop()
                self.moves.append(("available", "breakage", one))

    def _repay(self, lot: int | None) -> None:
        self.purse.owed -= 1
        self.moves.append(("revenue", "owed", lot))

    def _to_lot(self, lot: int) -> None:
        self.purse.credits.append(Credit(lot))
        self.moves.append(("revenue", "available", lot))

    def _as_new(self, old: int | str) -> None:
        number = len(self.purse.packs) + 1 + list({**self.new, old: []}).index(old)
        self.new.setdefault(old, []).append(Credit(number))
        self.moves.append(("revenue", "available", number))

    def finish(self, adjustment: Pack) -> tuple[Pack, ...]:
        """Makes the new lots and extends those that came to life again."""
        purse, made = self.purse, []
        for old, some in self.new.items():
            terms = adjustment
            if old != "debt":
                terms = purse.packs[old]
                terms = replace(terms.come_of(), effective_at=purse.time, expires_at=self.expires_at)
            made.append(purse.make(len(some), terms))
        for lot in self.extended:
            purse.packs[lot] = replace(purse.packs[lot], expires_at=self.expires_at)
        return tuple(made)
