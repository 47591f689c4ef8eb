"""What would be answered: the same loading and deciding as for changes, in a snapshot, and nothing is written."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final
from uuid import uuid4

from ledger.database import Database
from ledger.decide import decide
from ledger.decide.charging import due
from ledger.decide.steps import opening
from ledger.draft import Draft
from ledger.loading import Loader
from ledger.model import INT64_MAX, AccountName
from ledger.operations import Deduct, DeductMode, Request
from ledger.outcome import Accepted, Reason, Refused
from ledger.pricing import Usage
from ledger.standing import Balance, Checked
from ledger.store import Changes
from ledger.writer import blamed

_NO_ANSWER: Final = frozenset({Reason.ASSET_NOT_FOUND, Reason.ACCOUNT_NOT_FOUND})

Outcome = Accepted | Refused


class Previews:
    """Decides without writing.

    clock   tells now, in UTC
    """

    def __init__(self, database: Database, loader: Loader, clock: Callable[[], datetime]) -> None:
        self._database, self._loader, self._clock = database, loader, clock

    def preview(self, operations: Sequence[Request], *, atomic: bool) -> tuple[Outcome, ...]:
        """The outcomes that these operations would have now, each seeing what those before it would have done.

        atomic   as of a batch
        """
        changes, now = self._load(operations)
        outcomes: list[Outcome] = []
        for index, operation in enumerate(operations):
            outcome = decide(changes.states, operation, now)
            if isinstance(outcome, Accepted):
                changes.add(outcome.postings)
            elif atomic:
                refusal = blamed(outcome, index)
                if isinstance(refusal, Refused):
                    return (refusal,) * len(operations)
            outcomes.append(outcome)
        return tuple(outcomes)

    def check(self, name: AccountName, amount: int | None, operation: str, usage: Usage | None) -> Checked | Refused:
        """Whether an amount, or what usage costs, may be spent for an operation now.

        refuses   ASSET_NOT_FOUND, ACCOUNT_NOT_FOUND, PRICE_NOT_FOUND, UNIT_MISMATCH, COST_OVERFLOW, in that order
        """
        # No entry has these ids, and none will.
        asked = Deduct(request_id=f"check-{uuid4()}", account=name, amount=amount, operation=operation, usage=usage)
        most = Deduct(
            request_id=f"check-{uuid4()}",
            account=name,
            amount=INT64_MAX,
            mode=DeductMode.CLAMP,
            operation=asked.used_for,
        )
        changes, now = self._load([asked, most])
        outcome, clamped = decide(changes.states, asked, now), decide(changes.states, most, now)
        refusal = outcome if isinstance(outcome, Refused) else None
        if refusal is not None and refusal.reason in _NO_ANSWER:
            return refusal
        available = clamped.entry.used if isinstance(clamped, Accepted) else 0
        state = changes.states[name.key]
        # An account that is not open would be opened by what was asked, and this is how it would stand then.
        draft = opening(state, name, now, None) if state.account is None else Draft(state, state.account, now)
        cost = due(state, draft, amount, usage, draft.at)
        if isinstance(cost, Refused):
            return cost
        return Checked(
            amount=cost.amount,
            charge=cost.charge,
            allowed=refusal is None,
            available=available,
            shortfall=max(cost.amount - available, 0),
            refusal=refusal,
            balance=Balance(
                name=name,
                scale=state.scale,
                available=draft.spendable,
                held=draft.account.held,
                owed=draft.account.owed,
                pending=draft.pending,
            ),
        )

    def _load(self, operations: Sequence[Request]) -> tuple[Changes, datetime]:
        """What has lapsed is settled, as it would be before a change."""
        with self._database.read() as connection:
            states, now = self._loader.load(connection, operations, self._clock)
        changes = Changes(states=states, loaded={})
        changes.settle(now)
        return changes, now
