"""What an order has posted: the lots that it made, what was taken back of them, and what is held of them."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class PostedLot:
    """A lot that an order has made.

    sold         the name of what it is of
    account_id   in whose account it is
    lot          its number in the account
    credits      smallest units; 0 if they were counted before: of what is given back
    lives_on     the lot_id of the lot that ran out and of which this is what lives on; empty: it is none of that
    moved        what a merge has moved into a lot of its own, which the order has too, smallest units
    moved_cost   and what that took of its cost along, minor units
    """

    sold: str
    account_id: str
    lot: int
    credits: int
    lives_on: str = ""
    moved: int = 0
    moved_cost: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenBack:
    """What was taken of a lot at once, and is not given back since.

    sold         the name of what the lot is of
    account_id   in whose account it is, like its number and what it lives on of: as of PostedLot
    step         by which step of the order
    unspent      smallest units
    spent        what was spent already, and was owed or written off
    written_off  of that, what was written off
    cost         of all of it, minor units
    """

    sold: str
    account_id: str
    lot: int
    lives_on: str
    step: int
    unspent: int
    spent: int
    written_off: int
    cost: int

    @property
    def amount(self) -> int:
        """All of it, smallest units."""
        return self.unspent + self.spent

    def part(self, unspent: int, spent: int) -> "TakenBack":
        """Of it, so much or as much as there is."""
        unspent, spent = min(unspent, self.unspent), min(spent, self.spent)
        cost = self.cost * (unspent + spent) // self.amount
        return replace(self, unspent=unspent, spent=spent, written_off=min(spent, self.written_off), cost=cost)

    def without(self, part: "TakenBack") -> "TakenBack":
        """What is left of it without a part, if that is of it."""
        if (self.sold, self.account_id, self.lot, self.step) != (part.sold, part.account_id, part.lot, part.step):
            return self
        return replace(
            self,
            unspent=self.unspent - part.unspent,
            spent=self.spent - part.spent,
            written_off=self.written_off - part.written_off,
            cost=self.cost - part.cost,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PostedHold:
    """A hold on a lot while a dispute is open.

    dispute   which
    sold      the name of what is held
    lot       of which lot
    hold      its number in the account; 0: it has ended there, before the account was merged
    amount    what was to be held, smallest units, less may have been there; None: something has been given back since
    """

    dispute: str
    sold: str
    lot: int
    hold: int
    amount: int | None
