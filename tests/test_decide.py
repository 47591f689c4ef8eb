"""What scenarios do not say of deciding: the ids in refusals, other tenants, and states that cannot be."""

from dataclasses import replace
from datetime import timedelta

import pytest

from ledger import (
    Accepted,
    Asset,
    Capture,
    Deduct,
    IdPrefix,
    Memo,
    OpenAccount,
    Reason,
    Refused,
    Release,
    public_id,
)
from ledger.decide import decide, settle
from ledger.model import State
from tests.books import ACME, DAY, START, deducting, granting, holding, opening, request_id

ASSET = Asset(tenant=ACME.tenant, asset=ACME.asset, scale=2)


def state_after(*operations, at=START):
    state = State(asset=ASSET)
    for operation in operations:
        state.apply(decide(state, operation, at).posting)
    return state


def capturing(hold, *, tenant=ACME.tenant):
    return Capture(request_id=request_id(), tenant=tenant, key=ACME.key, hold=hold)


def releasing(hold, *, tenant=ACME.tenant):
    return Release(request_id=request_id(), tenant=tenant, key=ACME.key, hold=hold)


@pytest.mark.parametrize("ending", [capturing, releasing])
def test_a_hold_of_another_tenant_is_not_found(ending):
    state = state_after(opening(), granting(100), holding(60))

    outcome = decide(state, ending(3, tenant="other"), START)

    assert outcome == Refused(reason=Reason.HOLD_NOT_FOUND, figures={"hold_id": public_id(IdPrefix.HOLD, ACME.key, 3)})


@pytest.mark.parametrize("ending", [capturing, releasing])
def test_another_tenant_learns_nothing_from_a_request_id_either(ending):
    state = state_after(opening(), granting(100), holding(60))
    operation = ending(3)
    state.apply(decide(state, operation, START).posting)

    outcome = decide(state, replace(operation, tenant="other"), START)

    assert outcome.reason is Reason.HOLD_NOT_FOUND


@pytest.mark.parametrize("number", [1, 2, 4])
@pytest.mark.parametrize("ending", [capturing, releasing])
def test_the_number_of_an_entry_that_made_no_hold_is_no_hold(ending, number):
    state = state_after(opening(), granting(100), holding(60), deducting(1))

    assert decide(state, ending(number), START).reason is Reason.HOLD_NOT_FOUND


def test_a_reused_request_id_leads_to_the_entry_that_has_it():
    first = granting(100)
    state = state_after(opening(), first)

    outcome = decide(state, Deduct(request_id=first.request_id, account=ACME, amount=1), START)

    assert outcome.figures == {
        "request_id": first.request_id,
        "entry_id": public_id(IdPrefix.ENTRY, ACME.key, 2),
        "fields": "operation",
    }


def test_a_capture_above_the_hold_names_the_hold_and_both_amounts():
    state = state_after(opening(), granting(100), holding(60))

    outcome = decide(state, replace(capturing(3), amount=61), START)

    assert outcome.reason is Reason.AMOUNT_ABOVE_HOLD
    assert outcome.figures == {
        "hold_id": public_id(IdPrefix.HOLD, ACME.key, 3),
        "account_id": "acme",
        "asset": "credits",
        "scale": 2,
        "held": 60,
        "required": 61,
    }


def test_a_balance_that_would_overflow_is_refused_with_every_figure():
    most = 2**63 - 1
    state = state_after(opening(), granting(most), holding(60))

    outcome = decide(state, granting(1), START)

    assert outcome.reason is Reason.BALANCE_OVERFLOW
    assert outcome.figures == {
        "account_id": "acme",
        "asset": "credits",
        "scale": 2,
        "available": most - 60,
        "held": 60,
        "pending": 0,
        "amount": 1,
        "limit": most,
    }


def test_a_shortfall_where_nothing_is_held_promises_nothing():
    state = state_after(opening(), granting(40))

    outcome = decide(state, deducting(60), START)

    assert "held_until" not in outcome.figures
    assert outcome.figures["held"] == 0


def test_a_replay_writes_nothing():
    first = granting(100, memo=Memo(reference="order-7"))
    state = state_after(opening(), first)

    outcome = decide(state, first, START + DAY)

    assert outcome == Accepted(account_name=ACME, scale=2, entry=state.posted[first.request_id], posting=None)


def test_settling_writes_what_has_lapsed():
    state = state_after(opening(), granting(100, ttl=DAY), holding(60))

    posting = settle(state, START + DAY)

    assert [entry.kind for entry in posting.entries] == ["hold_lapse", "lot_lapse"]


def test_settling_when_nothing_has_lapsed_writes_nothing():
    state = state_after(opening(), granting(100, ttl=DAY))

    posting = settle(state, START)

    assert (posting.entries, posting.lots, posting.holds) == ((), (), ())


def test_an_entry_remembers_what_was_written_beside_the_request():
    memo = Memo(description="d", reference="r", actor="a", metadata={"k": "v"})
    state = state_after(opening())

    outcome = decide(state, replace(granting(100), memo=memo), START)

    assert outcome.entry.memo == memo


def test_when_the_clock_stepped_back_an_entry_says_both_what_the_clock_said_and_when_it_took_effect():
    state = state_after(opening(), granting(100), at=START)

    outcome = decide(state, deducting(1), START - timedelta(hours=1))

    assert outcome.entry.effective_at == START
    assert outcome.entry.recorded_at == START - timedelta(hours=1)


def test_an_account_that_is_not_open_cannot_be_settled():
    with pytest.raises(AssertionError, match="only an account that is open can be settled"):
        settle(State(asset=ASSET), START)


def test_a_state_that_would_take_a_lot_below_zero_is_not_written():
    state = state_after(opening(), granting(100), holding(60))
    state.lots[2] = replace(state.lots[2], held=59)

    with pytest.raises(AssertionError, match="would take more from"):
        decide(state, capturing(3), START)


def test_a_state_that_would_take_an_account_below_zero_is_not_written():
    state = state_after(opening(), granting(100))
    state.account = replace(state.account, available=50)

    with pytest.raises(AssertionError, match="below zero"):
        decide(state, deducting(60), START)


def test_an_account_is_opened_with_the_asset_of_its_tenant():
    outcome = decide(State(asset=None), OpenAccount(request_id="r", account=ACME), START)

    assert outcome == Refused(reason=Reason.ASSET_NOT_FOUND, figures={"asset": "credits"})
