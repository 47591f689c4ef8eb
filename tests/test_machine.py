"""Random operations: the core says what the dumbest correct ledger says, and the books are in order after each."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ledger import DEFAULT_ASSET, Accepted, Asset, OpenAccount
from ledger.audit import AccountAudit
from ledger.decide import decide, settle
from ledger.lots import pending
from ledger.model import HoldState, State
from tests import strategies
from tests.books import ACME, START
from tests.model import KINDS, Model

ASSET = Asset(tenant=ACME.tenant, asset=DEFAULT_ASSET, scale=0)


def moves_of(entry):
    """(debit, credit, lot) with how many credits moved so, in the order of the lines."""
    return [((line.debit, line.credit, line.lot), line.amount) for line in entry.lines]


class Books(RuleBasedStateMachine):
    """One account in the pure core beside the model of it."""

    happened: Counter[str]

    def __init__(self):
        super().__init__()
        self.now = START
        self.state = State(asset=ASSET)
        self.entries = []
        self.model = Model()
        self.asked = []

    @initialize()
    def open(self):
        self.ask(OpenAccount(request_id="opening", account=ACME))

    @rule(data=st.data())
    def grant(self, data):
        self.ask(data.draw(strategies.grants(ACME, self.request_id(), self.now)))

    @rule(data=st.data())
    def grant_plainly(self, data):
        self.ask(data.draw(strategies.plain_grants(ACME, self.request_id())))

    @rule(data=st.data())
    def deduct(self, data):
        self.ask(data.draw(strategies.deductions(ACME, self.request_id(), self.model, self.now)))

    @rule(data=st.data())
    def hold(self, data):
        self.ask(data.draw(strategies.holds(ACME, self.request_id(), self.model, self.now)))

    @precondition(lambda self: self.model.holds)
    @rule(data=st.data())
    def capture(self, data):
        self.ask(data.draw(strategies.captures(ACME, self.request_id(), self.model)))

    @precondition(lambda self: self.model.holds)
    @rule(data=st.data())
    def release(self, data):
        self.ask(data.draw(strategies.releases(ACME, self.request_id(), self.model)))

    @rule(data=st.data())
    def repeat(self, data):
        self.ask(data.draw(strategies.repeats(self.asked, self.model)))

    @rule(data=st.data())
    def set_clock(self, data):
        self.now = data.draw(strategies.moments(self.model, self.now))

    @precondition(lambda self: self.model.packs)
    @rule(data=st.data())
    def wait_for_an_instant_that_matters(self, data):
        self.now = data.draw(strategies.moments_that_matter(self.model, self.now))

    def request_id(self):
        return f"r-{len(self.asked)}"

    def ask(self, operation):
        """Asks both and compares every word."""
        self.asked.append(operation)
        entries_before = len(self.model.entries)
        said = self.model.ask(operation, self.now)
        alone = self.decide_alone(operation)

        # As the writer does.
        lapses = self.write(settle(self.state, self.now)) if self.state.account is not None else ()
        outcome = decide(self.state, operation, self.now)

        if said.refused:
            self.happened[said.refused] += 1
            assert outcome.reason.name == said.refused
            assert outcome.figures.get("fields", "") == said.fields
            assert alone == outcome
            self.compare(lapses, self.model.entries[entries_before:])
            return
        self.happened["replay" if said.is_replay else KINDS[type(operation)]] += 1
        assert isinstance(outcome, Accepted), outcome
        assert outcome.replayed == alone.replayed == said.is_replay
        assert outcome.entry == alone.entry
        assert outcome.entry.seq == said.entry.number
        if outcome.posting is not None:
            self.write(outcome.posting)
            assert alone.entries == lapses + outcome.entries
        self.compare(lapses + outcome.entries, self.model.entries[entries_before:])

    def decide_alone(self, operation):
        """As if nothing had been settled before: deciding only reads the state, and decides the same from the same."""
        state_before = replace(
            self.state, lots=dict(self.state.lots), holds=dict(self.state.holds), posted=dict(self.state.posted)
        )
        outcome = decide(self.state, operation, self.now)

        assert self.state == state_before
        assert decide(self.state, operation, self.now) == outcome
        return outcome

    def write(self, posting):
        self.state.apply(posting)
        self.entries.extend(posting.entries)
        return posting.entries

    def compare(self, entries, expected):
        for entry, written in zip(entries, expected, strict=True):
            assert entry.seq == written.number
            assert entry.kind == written.kind
            assert entry.effective_at == written.at
            assert moves_of(entry) == list(Counter(written.moves).items())
            assert (entry.available, entry.held, entry.owed, entry.pending) == (
                written.available,
                written.held,
                0,
                written.pending,
            )
            if written.kind.endswith("lapse"):
                self.happened[written.kind] += 1

    @invariant()
    def what_is_shown_now_is_right(self):
        if self.state.account is None:
            return
        shown, expected = settle(self.state, self.now), self.model.settled(self.now)
        lots = {**self.state.lots, **{lot.number: lot for lot in shown.lots}}.values()

        assert shown.account.available == len(expected.credits)
        assert shown.account.held == len(expected.held)
        assert pending(lots, max(self.now, shown.account.as_of)) == len(expected.pending)

    @invariant()
    def the_audit_finds_nothing(self):
        if self.state.account is None:
            return
        audit = AccountAudit(self.state.account)
        open_lots = {lot.number for lot in self.state.lots.values() if lot.is_open}
        open_holds = [hold for hold in self.state.holds.values() if hold.state is HoldState.OPEN]

        findings = [finding for entry in self.entries for finding in audit.entry(entry)]
        findings += audit.end(self.state.lots.values(), open_lots, open_holds)

        assert findings == []


def run_machine(least, **how):
    """Runs the machine; fails when anything that can happen has happened less often than `least` times."""
    happened = Counter()
    machine = type("Books", (Books,), {"happened": happened})

    run_state_machine_as_test(machine, settings=settings(deadline=None, suppress_health_check=list(HealthCheck), **how))

    expected = {*KINDS.values(), "replay", "hold_lapse", "lot_lapse", "REQUEST_ID_REUSED", "INSUFFICIENT_CREDITS"}
    expected |= {"HOLD_NOT_FOUND", "HOLD_NOT_ACTIVE", "AMOUNT_ABOVE_HOLD", "EXPIRY_IN_PAST"}
    assert {name: happened[name] for name in expected if happened[name] < least} == {}


@pytest.mark.timeout(600)  # Hypothesis takes up to five minutes to find a small example of a failure
def test_the_core_says_what_the_dumbest_correct_ledger_says():
    run_machine(10, max_examples=200, stateful_step_count=30)


@pytest.mark.soak
def test_the_core_says_what_the_dumbest_correct_ledger_says_for_long():
    run_machine(500, max_examples=10_000, stateful_step_count=60, derandomize=False)
