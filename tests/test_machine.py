"""Random operations: the core says what the dumbest correct ledger says, and the books are in order after each."""

from collections import Counter, defaultdict
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from ledger import DEFAULT_ASSET, Accepted, Asset, HoldState, OpenAccount
from ledger.audit import AccountAudit, audit_peer
from ledger.decide import settle
from ledger.lots import pending
from tests.books import ACME
from tests.model import KINDS, Model
from tests.model_money import PILES, facts_of
from tests.model_usage import CARDS
from tests.pure_books import PureBooks
from tests.strategies import STARTS, Chance
from tests.strategies_of_administration import EVERYTHING, Administrator

# The last two are visitors, whose accounts are merged into others.
ACCOUNTS = tuple(replace(ACME, account_id=account_id) for account_id in ("acme", "bolt", "lead-1", "lead-2"))
LAPSES = {"hold_lapse", "lot_lapse"}
WRITTEN = {*KINDS.values(), *LAPSES, "transfer_in", "merge_in"}
REFUSALS = {
    "REQUEST_ID_REUSED",
    "ACCOUNT_EXISTS",
    "ACCOUNT_NOT_FOUND",
    "ACCOUNT_CLOSED",
    "ACCOUNT_FROZEN",
    "ACCOUNT_NOT_FROZEN",
    "ACCOUNT_NOT_EMPTY",
    "ACCOUNT_HAS_HOLDS",
    "EXPIRY_IN_PAST",
    "INSUFFICIENT_CREDITS",
    "SPEND_LIMIT_REACHED",
    "HOLD_NOT_FOUND",
    "HOLD_NOT_ACTIVE",
    "AMOUNT_ABOVE_HOLD",
    "ENTRY_NOT_FOUND",
    "ENTRY_NOT_REFUNDABLE",
    "AMOUNT_ABOVE_REFUNDABLE",
    "LOT_NOT_FOUND",
    "AMOUNT_ABOVE_REVOCABLE",
    "AMOUNT_ABOVE_OWED",
    "PRICE_NOT_FOUND",
}
# What can be seen of an entry's moves that its kind does not say.
TURNS = {
    "opened by another operation": lambda entry: entry.kind == "open" and entry.request_id is None,
    "a welcome": lambda entry: entry.kind == "open" and entry.moves,
    "clamped to nothing": lambda entry: entry.kind == "deduct" and not entry.moves,
    "deducted by usage": lambda entry: entry.kind == "deduct" and entry.charged,
    "held by usage": lambda entry: entry.kind == "hold" and entry.charged,
    "captured by usage": lambda entry: entry.kind == "capture" and entry.charged,
    "used what is free": lambda entry: entry.charged == 0,
    "became debt": lambda entry: ("owed", "revenue", None) in entry.moves,
    "covered by a plan": lambda entry: ("plans", "available", None) in entry.moves,
    "given back to a plan": lambda entry: ("available", "plans", None) in entry.moves,
    "owed again": lambda entry: ("owed", "adjustments", None) in entry.moves,
    "debt repaid by a grant": lambda entry: ("available", "owed") in sides(entry),
    "captured beyond the hold": lambda entry: entry.kind == "capture" and ("available", "revenue") in sides(entry),
    "captured, and more to come": lambda entry: entry.kind == "capture" and entry.hold_expires_at is not None,
    "a hold let a lot lapse": lambda entry: entry.kind == "lot_lapse" and entry.hold is not None,
    "refunded debt": lambda entry: ("revenue", "owed", None) in entry.moves,
    "refunded what was reclaimed": lambda entry: any(
        move[:2] == ("revenue", "owed") and move[2] for move in entry.moves
    ),
    "refunded a plan": lambda entry: entry.kind == "refund" and ("available", "plans", None) in entry.moves,
    "refunded to a lot that had run out": lambda entry: (
        entry.kind == "refund" and ("available", "breakage") in sides(entry)
    ),
    "refunded as a new lot": lambda entry: entry.kind == "refund" and entry.made,
    "refunded and extended": lambda entry: entry.lots_expire_at is not None,
    "reclaimed what was spent": lambda entry: entry.kind == "revoke" and any(move[0] == "owed" for move in entry.moves),
    "wrote off what was spent": lambda entry: entry.kind == "revoke" and ("adjustments", "owed") in sides(entry),
    "revoked nothing": lambda entry: entry.kind == "revoke" and not entry.moves,
    "merged debt": lambda entry: ("owed", "transfers", None) in entry.moves,
}


# What money moved between, and that it did.
MONEY = {
    (*sides, "money")
    for sides in (
        *(("payments", "deferred"), ("adjustments", "deferred"), ("transfers", "deferred"), ("breakage", "deferred")),
        *(("deferred", "payments"), ("deferred", "adjustments"), ("deferred", "transfers"), ("deferred", "breakage")),
        *(("deferred", "revenue"), ("revenue", "deferred"), ("revenue", "payments")),
    )
}


def sides(entry):
    return {move[:2] for move in entry.moves}


def moves_of(entry):
    """(debit, credit, lot) with how many credits moved so, in the order in which they come first in the lines."""
    moves = Counter()
    for line in entry.lines:
        moves[line.debit, line.credit, line.lot] += line.amount
    return list(moves.items())


def terms_of(lot):
    terms = lot.terms
    cost = None if terms.cost is None else (terms.cost.minor_units, terms.cost.currency)
    life = terms.effective_at, terms.expires_at
    return lot.number, lot.granted, terms.source, terms.priority, *life, cost, terms.scope, terms.package


def terms_of_pack(pack):
    life = pack.effective_at, pack.expires_at
    return pack.number, pack.granted, pack.source, pack.priority, *life, pack.cost, pack.scope, pack.package


class Books(RuleBasedStateMachine):
    """A few accounts in the pure core beside the model of them."""

    happened: Counter[str]

    @initialize(start=st.sampled_from(STARTS), number=st.integers(0, 2**32))
    def begin(self, start, number):
        self.now, policy = start, Chance(number).policy()
        self.books = PureBooks(
            {DEFAULT_ASSET: Asset(tenant=ACME.tenant, asset=DEFAULT_ASSET, scale=0, policy=policy)},
            {DEFAULT_ASSET: CARDS},
        )
        self.model = Model(ACCOUNTS, policy, has_prices=True)
        self.audited = Counter()
        self.asked = []
        for account in ACCOUNTS[: 2 if policy.auto_open else 3]:
            self.ask(OpenAccount(request_id="opening", account=account))

    # One rule for all that may happen, because Hypothesis leaves out some of several rules in most runs.
    @rule(what=st.sampled_from([*EVERYTHING, *["wait"] * 6]), number=st.integers(0, 2**32))
    def happen(self, what, number):
        if what == "wait":
            self.now = Chance(number).moment(self.model, self.now)
        else:
            self.ask(Administrator(number, self.model, f"r-{len(self.asked)}", self.now).request(what, self.asked))

    # -- what is answered

    def ask(self, operation):
        """Asks both and compares every word."""
        note(f"{self.now:%d %H:%M:%S.%f} {operation}")
        self.asked.append(operation)
        before = {name: 0 if (purse := self.model.purse(name)) is None else len(purse.entries) for name in ACCOUNTS}
        said = self.model.ask(operation, self.now)
        alone = self.decide_alone(operation)

        outcome = self.books.execute(operation, self.now)

        self.happened[type(operation).__name__] += not said.refused
        self.happened[said.refused or ("replay" if said.is_replay else KINDS[type(operation)])] += 1
        if said.refused:
            assert outcome.reason.name == said.refused
            told = {name: outcome.figures.get(name) for name in said.figures}
            assert told == said.figures
            assert alone == outcome
        else:
            assert isinstance(outcome, Accepted), outcome
            assert outcome.replayed == alone.replayed == said.is_replay
            assert outcome.entry == alone.entry
            assert (outcome.entry.key, outcome.entry.seq) == (operation.key, said.entry)
        for name in ACCOUNTS:
            self.compare(name, before[name])

    def decide_alone(self, operation):
        """As if nothing had been settled before: deciding only reads the states, and decides the same from the same."""
        states = self.books.load(operation, self.now)
        states_before = {key: state.copy() for key, state in states.items()}
        outcome = self.books.decide(operation, self.now)

        assert states == states_before
        assert self.books.decide(operation, self.now) == outcome
        return outcome

    def compare(self, name, before):
        """What was written to an account."""
        purse = self.model.purse(name)
        expected = [] if purse is None else purse.entries[before:]
        for entry, written in zip(self.books.entries[name.key][before:], expected, strict=True):
            self.happened.update(turn for turn, is_so in TURNS.items() if is_so(written))
            if written.kind in LAPSES | {"transfer_in", "merge_in"}:
                self.happened[written.kind] += 1
            assert moves_of(entry) == list(Counter(written.moves).items())
            # What a lot costs that comes of another is not of the model of credits, but of that of money.
            made = [
                purse.told_cost(lot.number, lot.terms.cost, pack)
                for lot, pack in zip(entry.made, written.made, strict=True)
            ]
            assert [terms_of(lot) for lot in entry.made] == [terms_of_pack(pack) for pack in made]
            peer = None if entry.peer is None else (self.model.ids[entry.peer[0]], entry.peer[1])
            assert (entry.seq, entry.kind, entry.effective_at) == (written.number, written.kind, written.at)
            assert (entry.available, entry.held) == (written.available, written.held)
            assert (entry.owed, entry.pending) == (written.owed, written.pending)
            assert (entry.request_id, entry.operation) == (written.request_id, written.operation)
            assert (entry.hold, entry.hold_held) == (written.hold, written.hold_held)
            assert entry.hold_expires_at == written.hold_expires_at
            assert (entry.refunds, entry.revokes, peer) == (written.refunds, written.revokes, written.peer)
            assert entry.lots_expire_at == written.lots_expire_at
            assert (None if entry.charge is None else entry.charge.amount) == written.charged
            assert entry.recorded_at == self.now

    # -- how it all stands

    @invariant()
    def what_is_kept_is_right(self):
        for name, purse in self.open_accounts():
            state = self.books.states[name.key]
            account, terms = state.account, state.account.terms
            lots = {lot.number: (*terms_of(lot), lot.spent, lot.reclaimed) for lot in state.lots.values()}
            packs = {
                number: (*terms_of_pack(pack), purse.spent_of_lot(number), purse.reclaimed_of_lot(number))
                for number, pack in purse.packs.items()
            }

            assert lots == packs
            assert {lot.number: (lot.remaining, lot.held) for lot in state.lots.values()} == purse.left_in_lots()
            assert {hold.number: hold_shown(hold) for hold in state.holds.values()} == {
                number: hold_of_model_shown(purse, hold) for number, hold in purse.holds.items()
            }
            assert (account.status, account.lots, account.as_of) == (purse.status, len(purse.packs), purse.time)
            assert (terms.overdraft_limit, terms.unlimited) == (purse.overdraft, purse.is_unlimited)
            assert (terms.time_zone, terms.metadata) == (purse.time_zone, purse.metadata)

    @invariant()
    def what_is_shown_now_is_right(self):
        for name, _ in self.open_accounts():
            state = self.books.load(OpenAccount(request_id="-", account=name), self.now)[name.key]
            shown, expected = settle(state, self.now), self.model.settled(name, self.now)
            lots = {**state.lots, **{lot.number: lot for lot in shown.lots}}.values()
            spending = {**state.spending, **shown.spending}
            limits = state.account.terms.limits

            assert shown.account.available == len(expected.credits)
            assert (shown.account.held, shown.account.owed) == (len(expected.held), expected.owed)
            assert pending(lots, max(self.now, shown.account.as_of)) == len(expected.pending)
            assert [(limit.name, limit.amount, spending[limit.counted_as].used) for limit in limits] == [
                (counter.limit.name, counter.limit.amount, counter.used(expected.time)) for counter in expected.counters
            ]

    @invariant()
    def the_audit_finds_nothing(self):
        for name, purse in self.open_accounts():
            if self.audited[name] == len(purse.entries):
                continue
            self.audited[name] = len(purse.entries)
            state, entries = self.books.states[name.key], self.books.entries[name.key]
            audit = AccountAudit(state.account, self.books.versions(DEFAULT_ASSET))
            counted = self.books.counted_by(name.key)
            open_lots = {lot.number for lot in state.lots.values() if lot.is_open}
            open_holds = [hold for hold in state.holds.values() if hold.state is HoldState.OPEN]

            used = {entry.seq: entry for entry in entries}
            findings = [
                finding
                for entry in entries
                for finding in audit.entry(entry, counted[entry.seq], used.get(entry.refunds))
            ]
            findings += audit.end(state.lots.values(), open_lots, open_holds, used)
            for entry in entries:
                peer = None if entry.peer is None else self.books.entries[entry.peer[0]][entry.peer[1] - 1]
                findings += audit_peer(name, entry, peer)

            assert findings == []
            facts, paid = facts_of(entries)
            piles = [(lot.deferred, lot.recognised, lot.lapsed) for lot in by_number(state.lots)]
            assert piles == [tuple(lot.kept[name] for name in PILES) for lot in paid]
            self.happened.update({(*fact.sides, "money") for fact in facts if fact.money})

    @invariant()
    def nothing_is_lost_between_accounts(self):
        moved, paid = defaultdict(int), defaultdict(int)
        for entries in self.books.entries.values():
            for entry in entries:
                for line in entry.lines:
                    moved[line.debit] += line.amount
                    moved[line.credit] -= line.amount
                    if line.cost is not None:
                        paid[line.debit] += line.cost.minor_units
                        paid[line.credit] -= line.cost.minor_units

        assert moved["transfers"] == paid["transfers"] == 0

    def open_accounts(self):
        return [(name, purse) for name in ACCOUNTS if (purse := self.model.purse(name)) is not None]


def by_number(lots):
    return [lot for _, lot in sorted(lots.items())]


def hold_shown(hold):
    drawn = [draw.lot for draw in hold.drawn for _ in range(draw.amount)]
    ends = hold.placed_at, hold.expires_at, hold.due_at, hold.ended_at
    return (
        drawn,
        hold.operation,
        hold.lot,
        hold.amount,
        hold.captured,
        hold.tolerance,
        hold.held_lots,
        hold.state,
        *ends,
    )


def hold_of_model_shown(purse, hold):
    drawn = [credit.lot for credit in hold.credits]
    ends = hold.placed_at, hold.expires_at, purse.due_at(hold), hold.ended_at
    held_lots = "honour" if hold.honours_lots else "lapse"
    return drawn, hold.operation, hold.lot, hold.amount, hold.captured, hold.tolerance, held_lots, hold.state, *ends


def run_machine(least, **how):
    """Runs the machine; fails when anything that can happen has happened less often than `least` times."""
    happened = Counter()
    machine = type("Books", (Books,), {"happened": happened})

    run_state_machine_as_test(machine, settings=settings(deadline=None, suppress_health_check=list(HealthCheck), **how))

    expected = {*WRITTEN, *REFUSALS, *TURNS, *MONEY, "HoldLot", "replay"}
    assert {name: happened[name] for name in expected if happened[name] < least} == {}


@pytest.mark.timeout(600)  # Hypothesis takes up to five minutes to find a small example of a failure
def test_the_core_says_what_the_dumbest_correct_ledger_says():
    run_machine(2, max_examples=350, stateful_step_count=45)


@pytest.mark.soak
@pytest.mark.timeout(7_200)
def test_the_core_says_what_the_dumbest_correct_ledger_says_for_long():
    run_machine(50, max_examples=10_000, stateful_step_count=60, derandomize=False)
