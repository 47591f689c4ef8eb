"""What scenarios do not say of deciding: the ids in refusals, other tenants, and states that cannot be."""

from dataclasses import replace
from datetime import timedelta

import pytest

from ledger import (
    Accepted,
    Asset,
    AssetPolicy,
    Capture,
    Deduct,
    ExpiredLots,
    ExtendHold,
    HeldLots,
    IdPrefix,
    IncreaseHold,
    Memo,
    OpenAccount,
    Reason,
    Refund,
    Refused,
    Release,
    Revoke,
    Source,
    SpendLimit,
    SpentPart,
    UpdateAccount,
    Window,
    public_id,
)
from ledger.decide import decide as decide_on
from ledger.decide import settle
from ledger.outcome import State
from tests.books import ACME, DAY, START, deducting, granting, holding, opening, request_id, transferring
from tests.pure_books import PureBooks

ASSET = Asset(tenant=ACME.tenant, asset=ACME.asset, scale=2)


def decide(state, operation, at):
    return decide_on({operation.key: state}, operation, at)


def state_after(*operations, at=START):
    state = State(asset=ASSET)
    for operation in operations:
        state.apply(*decide(state, operation, at).postings)
    return state


def capturing(hold, *, tenant=ACME.tenant):
    return Capture(request_id=request_id(), tenant=tenant, key=ACME.key, hold=hold)


def releasing(hold, *, tenant=ACME.tenant):
    return Release(request_id=request_id(), tenant=tenant, key=ACME.key, hold=hold)


def increasing(hold, *, tenant=ACME.tenant):
    return IncreaseHold(request_id=request_id(), tenant=tenant, key=ACME.key, hold=hold, amount=1)


def extending(hold, *, tenant=ACME.tenant):
    return ExtendHold(request_id=request_id(), tenant=tenant, key=ACME.key, hold=hold, ttl=DAY)


def refunding(entry, *, tenant=ACME.tenant):
    return Refund(request_id=request_id(), tenant=tenant, key=ACME.key, entry=entry)


def revoking(lot, *, tenant=ACME.tenant):
    return Revoke(request_id=request_id(), tenant=tenant, key=ACME.key, lot=lot, spent=SpentPart.LEAVE)


@pytest.mark.parametrize("ending", [capturing, releasing, increasing, extending])
def test_a_hold_of_another_tenant_is_not_found(ending):
    state = state_after(opening(), granting(100), holding(60))

    outcome = decide(state, ending(3, tenant="other"), START)

    assert outcome == Refused(reason=Reason.HOLD_NOT_FOUND, figures={"hold_id": public_id(IdPrefix.HOLD, ACME.key, 3)})


@pytest.mark.parametrize("ending", [capturing, releasing, increasing, extending])
def test_another_tenant_learns_nothing_from_a_request_id_either(ending):
    state = state_after(opening(), granting(100), holding(60))
    operation = ending(3)
    state.apply(*decide(state, operation, START).postings)

    outcome = decide(state, replace(operation, tenant="other"), START)

    assert outcome.reason is Reason.HOLD_NOT_FOUND


@pytest.mark.parametrize("number", [1, 2, 4])
@pytest.mark.parametrize("ending", [capturing, releasing, increasing, extending])
def test_the_number_of_an_entry_that_made_no_hold_is_no_hold(ending, number):
    state = state_after(opening(), granting(100), holding(60), deducting(1))

    assert decide(state, ending(number), START).reason is Reason.HOLD_NOT_FOUND


def test_an_entry_or_a_lot_of_another_tenant_is_not_found():
    state = state_after(opening(), granting(100), deducting(60))

    refund, revocation = (
        decide(state, operation, START) for operation in (refunding(3, tenant="other"), revoking(1, tenant="other"))
    )

    assert refund == Refused(
        reason=Reason.ENTRY_NOT_FOUND, figures={"entry_id": public_id(IdPrefix.ENTRY, ACME.key, 3)}
    )
    assert revocation == Refused(reason=Reason.LOT_NOT_FOUND, figures={"lot_id": public_id(IdPrefix.LOT, ACME.key, 1)})


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
        "capturable": 60,
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

    assert outcome == Accepted(account_name=ACME, scale=2, entry=state.posted[first.request_id], postings=())


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
    state.lots[1] = replace(state.lots[1], held=59)

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


# What the machine of test_machine.py found, or might find again only after a long time.


BOLT = replace(ACME, account_id="bolt")
FIVE_MINUTES = timedelta(minutes=5)


def books_after(*requests, at=START):
    books = PureBooks({ASSET.asset: ASSET})
    for request in requests:
        assert isinstance(books.execute(request, at), Accepted)
    return books


def limiting(**limit):
    limits = (SpendLimit(name="a", amount=10, **limit),)
    return UpdateAccount(request_id=request_id(), account=ACME, limits=limits)


def used(books, now):
    """What is used under the only limit."""
    state = books.load(opening(), now)[ACME.key]
    (limit,) = state.account.terms.limits
    spending = {**state.spending, **settle(state, now).spending}
    return spending[limit.counted_as].used


def test_a_lot_that_was_taken_back_and_refunded_after_its_debt_was_repaid_cannot_be_taken_back_again():
    owed = Revoke(request_id=request_id(), tenant=ACME.tenant, key=ACME.key, lot=1, spent=SpentPart.OWE)
    repaying = granting(100, source=Source.PURCHASE)
    books = books_after(opening(), granting(100), deducting(100), owed, repaying, refunding(3), holding(60))

    outcome = books.execute(revoking(1), START)

    assert (outcome.reason, outcome.figures["revocable"]) == (Reason.AMOUNT_ABOVE_REVOCABLE, 0)


def test_both_sides_of_a_transfer_take_effect_at_one_instant_even_if_the_clock_has_stepped_back():
    books = books_after(opening(), granting(100, ttl=DAY), opening(BOLT))
    books.execute(granting(1, BOLT), START + 2 * DAY)

    outcome = books.execute(transferring(100, ACME, BOLT), START)

    # By the receiver's time the lot has run out, and so it has for the giver.
    assert outcome.reason is Reason.INSUFFICIENT_CREDITS
    assert [entry.effective_at for entry in books.entries[ACME.key]] == [START] * 2


def test_a_transfer_opens_its_receiver_at_the_instant_at_which_it_takes_effect():
    asset = replace(ASSET, policy=AssetPolicy(auto_open=True))
    books = PureBooks({ASSET.asset: asset})
    books.execute(granting(100), START + DAY)

    books.execute(transferring(100, ACME, BOLT), START)

    assert {entry.effective_at for entry in books.entries[BOLT.key]} == {START + DAY}


def test_a_refund_makes_one_new_lot_of_each_that_has_run_out_however_often_it_was_burnt():
    books = books_after(opening(), granting(10, ttl=DAY), holding(3, ttl=2 * DAY), increasing(3), capturing(3))
    books.execute(granting(1), START + DAY)
    refund = replace(refunding(5), expired_lots=ExpiredLots.NEW_LOT)

    outcome = books.execute(refund, START + DAY)

    assert [(made.number, made.granted) for made in outcome.entry.made] == [(3, 4)]


def test_holds_that_do_not_honour_a_lot_give_it_back_in_the_order_in_which_they_were_placed():
    lapsing = [holding(10, ttl=2 * DAY, held_lots=HeldLots.LAPSE) for _ in range(3)]
    books = books_after(opening(), granting(100, ttl=DAY), *lapsing)
    state = books.states[ACME.key]
    # As a database may hand them over.
    state.holds = dict(reversed(state.holds.items()))

    posting = settle(state, START + DAY)

    assert [entry.hold for entry in posting.entries] == [3, 4, 5, None]


def test_what_was_spent_before_a_limit_was_set_gives_no_room_under_it_when_it_is_given_back():
    books = books_after(opening(), granting(100), deducting(4), holding(4), limiting(window=Window.DAY), deducting(1))

    books.execute(refunding(3), START)
    books.execute(releasing(4), START)

    assert used(books, START) == 1


def test_a_refund_of_a_capture_gives_room_in_the_window_in_which_its_hold_was_placed_only():
    books = books_after(opening(), granting(100), limiting(window=Window.HOUR), holding(4, ttl=DAY))
    next_hour = START + timedelta(hours=1)
    for request in (capturing(4), deducting(5), refunding(5)):
        books.execute(request, next_hour)

    assert used(books, next_hour) == 5


def test_what_was_given_back_leaves_a_rolling_window_together_with_what_it_gives_back():
    books = books_after(opening(), granting(100), limiting(window=Window.ROLLING, length=2 * FIVE_MINUTES))
    books.execute(deducting(4), START)
    books.execute(refunding(4), START + FIVE_MINUTES)
    books.execute(deducting(3), START + FIVE_MINUTES)

    assert [used(books, START + n * FIVE_MINUTES) for n in (1, 2, 3)] == [3, 3, 0]


def test_a_rolling_window_knows_what_was_given_back_even_if_the_clock_has_stepped_back_into_it():
    books = books_after(opening(), granting(100), limiting(window=Window.ROLLING, length=2 * FIVE_MINUTES))
    books.execute(holding(4, ttl=FIVE_MINUTES), START)
    # It lapses, and is written, when the window has gone on.
    books.execute(capturing(4), START + 3 * FIVE_MINUTES)

    assert used(books, START + FIVE_MINUTES) == 0
