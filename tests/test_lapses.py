"""A lot or a hold is gone at exactly its time, to the microsecond, with no job running; it is written as shown."""

from dataclasses import replace
from datetime import timedelta

import pytest

from ledger import (
    Accepted,
    AccountName,
    AssetPolicy,
    Capture,
    Code,
    EntryKind,
    HeldLots,
    IdPrefix,
    Reason,
    Welcome,
    public_id,
)
from tests.books import ACME, DAY, MICROSECOND, START, deducting, granting, holding, opening, request_id, rows_of

# Not on a whole second, nor a whole millisecond.
LASTS = timedelta(hours=7, microseconds=123_457)
GONE_AT = START + LASTS


def lot():
    return (granting(100, expires_at=GONE_AT),)


def hold():
    return granting(100), holding(60, ttl=LASTS)


def hold_that_lets_its_lot_lapse():
    return granting(60, expires_at=GONE_AT), holding(60, ttl=2 * DAY, held_lots=HeldLots.LAPSE)


LAPSES = pytest.mark.parametrize(
    ("made", "kind"),
    [
        (lot, EntryKind.LOT_LAPSE),
        (hold, EntryKind.HOLD_LAPSE),
        (hold_that_lets_its_lot_lapse, EntryKind.LOT_LAPSE),
    ],
)


@pytest.fixture
def acme(ledger):
    ledger.execute(opening())
    return ledger


@pytest.fixture
def with_a_lot(acme):
    do(acme, lot)
    return acme


@pytest.fixture
def with_a_hold(acme):
    do(acme, hold)
    return acme


def do(ledger, made):
    for operation in made():
        ledger.execute(operation)


def standing(ledger, account=ACME):
    (balance,) = ledger.balances(account.tenant, account.account_id, account.asset).balances
    return balance.available, balance.held


def newest(ledger):
    return ledger.history(ACME, 1).entries[0]


def balance_of(ledger, code):
    (books,) = ledger.trial_balance(ACME.tenant, ACME.asset).assets
    return next(row.balance for row in books.rows if row.code is code)


def test_a_balance_has_the_lot_a_microsecond_before_and_not_at_its_time(with_a_lot, clock):
    clock.now = GONE_AT - MICROSECOND
    assert standing(with_a_lot) == (100, 0)

    clock.now = GONE_AT
    assert standing(with_a_lot) == (0, 0)


def test_a_balance_has_the_hold_a_microsecond_before_and_not_at_its_time(with_a_hold, clock):
    clock.now = GONE_AT - MICROSECOND
    assert standing(with_a_hold) == (40, 60)

    clock.now = GONE_AT
    assert standing(with_a_hold) == (100, 0)


@pytest.mark.parametrize(("at", "is_there"), [(GONE_AT - MICROSECOND, True), (GONE_AT, False)])
def test_the_lot_can_be_spent_a_microsecond_before_and_not_at_its_time(with_a_lot, clock, at, is_there):
    clock.now = at

    outcome = with_a_lot.execute(deducting(100))

    assert isinstance(outcome, Accepted) == is_there
    assert is_there or outcome.figures["shortfall"] == 100


@pytest.mark.parametrize(("at", "is_there"), [(GONE_AT - MICROSECOND, True), (GONE_AT, False)])
def test_the_hold_can_be_captured_a_microsecond_before_and_not_at_its_time(with_a_hold, clock, at, is_there):
    clock.now = at

    outcome = with_a_hold.execute(Capture(request_id=request_id(), tenant=ACME.tenant, key=ACME.key, hold=3))

    assert isinstance(outcome, Accepted) == is_there
    assert is_there or (outcome.reason, outcome.figures["ended_at"]) == (Reason.HOLD_NOT_ACTIVE, GONE_AT)


@pytest.mark.parametrize(("at", "is_there"), [(GONE_AT - MICROSECOND, True), (GONE_AT, False)])
def test_what_the_hold_has_cannot_be_spent_a_microsecond_before_and_can_at_its_time(with_a_hold, clock, at, is_there):
    clock.now = at

    outcome = with_a_hold.execute(deducting(100))

    assert isinstance(outcome, Accepted) == (not is_there)


@LAPSES
def test_the_history_has_the_lapse_at_its_time_and_not_a_microsecond_before(acme, clock, made, kind):
    do(acme, made)
    clock.now = GONE_AT - MICROSECOND
    before = newest(acme)

    clock.now = GONE_AT
    lapse = newest(acme)

    assert before.kind is not kind
    assert lapse.kind is kind
    assert lapse.seq == before.seq + 1
    assert lapse.effective_at == GONE_AT
    assert lapse.recorded_at is None
    assert lapse.hash == b""


@LAPSES
def test_the_next_change_writes_the_lapse_as_it_was_shown(acme, clock, made, kind):
    do(acme, made)
    clock.now = GONE_AT + DAY
    shown = newest(acme)
    shown_alone = acme.entry(ACME.tenant, public_id(IdPrefix.ENTRY, ACME.key, shown.seq)).entry

    acme.execute(granting(1))
    written = acme.history(ACME).entries[1]

    assert written.kind is kind
    assert shown == shown_alone
    assert written.recorded_at == clock.now
    assert replace(written, recorded_at=None, hash=b"") == shown


@LAPSES
def test_reading_writes_nothing(acme, database_url, clock, made, kind):
    do(acme, made)
    before = rows_of(database_url)
    clock.now = GONE_AT

    acme.balances(ACME.tenant, ACME.account_id)
    acme.history(ACME)
    acme.trial_balance(ACME.tenant)
    acme.audit(ACME.tenant)

    assert rows_of(database_url) == before


def test_the_trial_balance_has_the_breakage_at_the_lots_time_and_not_a_microsecond_before(with_a_lot, clock):
    clock.now = GONE_AT - MICROSECOND
    assert (balance_of(with_a_lot, Code.AVAILABLE), balance_of(with_a_lot, Code.BREAKAGE)) == (-100, 0)

    clock.now = GONE_AT
    assert (balance_of(with_a_lot, Code.AVAILABLE), balance_of(with_a_lot, Code.BREAKAGE)) == (0, -100)


def test_the_trial_balance_has_nothing_held_at_the_holds_time_and_all_of_it_a_microsecond_before(with_a_hold, clock):
    clock.now = GONE_AT - MICROSECOND
    assert (balance_of(with_a_hold, Code.AVAILABLE), balance_of(with_a_hold, Code.HELD)) == (-40, -60)

    clock.now = GONE_AT
    assert (balance_of(with_a_hold, Code.AVAILABLE), balance_of(with_a_hold, Code.HELD)) == (-100, 0)


def test_the_trial_balance_is_the_same_before_and_after_the_lapses_are_written(with_a_lot, clock):
    with_a_lot.execute(holding(30, ttl=LASTS + DAY))
    clock.now = GONE_AT + 2 * DAY
    shown = with_a_lot.trial_balance(ACME.tenant)

    swept = with_a_lot.sweep()

    assert swept == 1
    assert with_a_lot.trial_balance(ACME.tenant) == shown


def test_a_pending_lot_can_be_spent_from_exactly_its_time(acme, clock):
    acme.execute(granting(100, effective_at=GONE_AT))
    clock.now = GONE_AT - MICROSECOND
    refused = acme.execute(deducting(1))

    clock.now = GONE_AT
    accepted = acme.execute(deducting(1))

    assert refused.reason is Reason.INSUFFICIENT_CREDITS
    assert isinstance(accepted, Accepted)


def test_a_sweep_writes_the_lapses_of_idle_accounts_of_every_tenant_and_then_finds_none(ledger, clock):
    others = [ACME, replace(ACME, account_id="bolt"), AccountName(tenant="other", account_id="acme", asset="credits")]
    for account in others:
        ledger.execute(opening(account))
        ledger.execute(granting(100, account, expires_at=GONE_AT))
    clock.now = GONE_AT - MICROSECOND
    early = ledger.sweep()

    clock.now = GONE_AT + DAY
    swept, again = ledger.sweep(), ledger.sweep()

    assert (early, swept, again) == (0, 3, 0)
    for account in others:
        lapse = ledger.history(account).entries[0]
        assert (lapse.kind, lapse.effective_at, lapse.recorded_at) == (EntryKind.LOT_LAPSE, GONE_AT, clock.now)


def test_a_sweep_leaves_alone_what_open_holds_have_drawn_wholly(with_a_lot, clock):
    with_a_lot.execute(holding(100, ttl=LASTS + DAY))
    clock.now = GONE_AT

    swept = with_a_lot.sweep()

    assert swept == 0
    assert standing(with_a_lot) == (0, 100)


def test_a_hold_holds_less_from_exactly_the_time_at_which_a_lot_runs_out_that_it_does_not_honour(acme, clock):
    do(acme, hold_that_lets_its_lot_lapse)
    clock.now = GONE_AT - MICROSECOND
    before = standing(acme)

    clock.now = GONE_AT

    assert (before, standing(acme)) == ((0, 60), (0, 0))


def test_a_sweep_writes_what_holds_give_back_of_lots_that_they_do_not_honour(acme, clock):
    do(acme, hold_that_lets_its_lot_lapse)
    clock.now = GONE_AT

    swept, again = acme.sweep(), acme.sweep()

    assert (swept, again) == (1, 0)
    assert (newest(acme).kind, newest(acme).hold, newest(acme).recorded_at) == (EntryKind.LOT_LAPSE, 3, GONE_AT)


def test_a_welcome_runs_out_as_any_lot_does(ledger, clock):
    welcome = Welcome(amount=100, ttl=LASTS)
    ledger.configure_asset(ACME.tenant, ACME.asset, AssetPolicy(welcome=welcome))
    ledger.execute(opening())
    clock.now = GONE_AT - MICROSECOND
    before = standing(ledger)

    clock.now = GONE_AT

    assert (before, standing(ledger)) == ((100, 0), (0, 0))


def test_a_lapse_that_was_shown_has_the_id_under_which_it_is_found(with_a_lot, clock):
    clock.now = GONE_AT - MICROSECOND
    entry_id = public_id(IdPrefix.ENTRY, ACME.key, 3)
    before = with_a_lot.entry(ACME.tenant, entry_id)

    clock.now = GONE_AT
    at = with_a_lot.entry(ACME.tenant, entry_id)

    assert before.reason is Reason.ENTRY_NOT_FOUND
    assert at.entry.kind is EntryKind.LOT_LAPSE
