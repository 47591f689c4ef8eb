"""A preview is what would happen, and nothing has; a check is what a deduction would be answered."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ledger import Accepted, Batch, Capture, Deduct, DeductMode, MalformedError, Memo, Reason, Refused, Source
from ledger.administration import Close, Freeze, UpdateAccount
from ledger.model import INT64_MAX, AccountStatus
from ledger.operations import Transfer
from ledger.terms import AssetPolicy, SpendLimit, Welcome, Window
from tests.books import ACME, DAY, START, deducting, granting, holding, opening, request_id, rows_of
from tests.model import KINDS, Model
from tests.strategies import Chance
from tests.strategies_of_administration import transactions

BOLT = replace(ACME, account_id="bolt")


def shown(outcome):
    """The accounts as they are, so that where two differ is told field by field."""
    return outcome if isinstance(outcome, Refused) else (outcome.replayed, outcome.entry, outcome.postings)


def preview_and_do(ledger, work, chance, database_url):
    """Asks for a preview of one request or a batch, then for the thing itself; both must be alike, to the hash."""
    is_batch = isinstance(work, Batch)
    operations, atomic = (work.operations, work.atomic) if is_batch else ((work,), False)
    looks = chance.happens(one_in=20)
    before = rows_of(database_url) if looks else None
    foreseen = ledger.preview(operations, atomic=atomic)
    checked = check_of(ledger, work)
    assert before is None or rows_of(database_url) == before
    outcomes = ledger.execute_batch(operations, atomic=atomic) if is_batch else (ledger.execute(work),)
    assert [shown(outcome) for outcome in foreseen] == [shown(outcome) for outcome in outcomes]
    # A check knows of no request_id.
    if checked is not None and not is_known(outcomes[0]):
        refusal = checked if isinstance(checked, Refused) else checked.refusal
        assert refusal == (outcomes[0] if isinstance(outcomes[0], Refused) else None)
    return outcomes


def check_of(ledger, work):
    is_one = isinstance(work, Deduct) and work.mode is DeductMode.AUTHORIZE
    return ledger.check(work.account, work.amount, work.operation) if is_one else None


def is_known(outcome):
    return outcome.reason is Reason.REQUEST_ID_REUSED if isinstance(outcome, Refused) else outcome.replayed


def test_the_preview_of_anything_is_what_it_turns_out_to_be(ledger, database_url, clock):
    happened = Counter()

    @settings(max_examples=10, phases=(Phase.generate,), suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.integers(0, 2**32))
    def in_any_run(number):
        chance, tenant = Chance(number), f"tenant-{request_id()}"
        names = tuple(replace(ACME, tenant=tenant, account_id=name) for name in ("a", "b", "lead"))
        policy = chance.policy()
        ledger.configure_asset(tenant, ACME.asset, policy)
        for now, together in transactions(chance, [Model(names, policy)], START):
            clock.now = now
            for work in together:
                outcomes = preview_and_do(ledger, work, chance, database_url)
                happened.update("refused" if isinstance(one, Refused) else one.entry.kind for one in outcomes)

    in_any_run()

    assert {kind for kind in (*KINDS.values(), "refused") if happened[kind] < 1} == set()


def test_a_preview_writes_nothing_and_takes_no_request_id(ledger, database_url, clock):
    ledger.execute(opening())
    ledger.execute(granting(100, expires_at=START + DAY))
    clock.now = START + DAY
    before = rows_of(database_url)
    operation = granting(10)

    foreseen = [ledger.preview([operation, deducting(5)]) for _ in range(2)]

    assert foreseen[0][0].entry == foreseen[1][0].entry
    assert not foreseen[1][0].replayed
    assert rows_of(database_url) == before
    assert not ledger.execute(operation).replayed


def test_each_operation_of_a_preview_sees_those_before_it(ledger):
    ledger.define_asset(ACME.tenant, "credits", 0)

    opened, granted, held, captured, again = ledger.preview(
        [
            opening(),
            granted_ := granting(10),
            holding(6),
            Capture(request_id=request_id(), tenant=ACME.tenant, key=ACME.key, hold=3),
            granted_,
        ]
    )

    assert [outcome.entry.seq for outcome in (opened, granted, held, captured)] == [1, 2, 3, 4]
    assert captured.entry.available == 4
    assert (again.replayed, again.entry) == (True, granted.entry)


def test_an_atomic_preview_that_is_refused_blames_the_culprit_for_all(ledger):
    ledger.execute(opening())
    operations = [granting(10), deducting(11), deducting(1)]

    loose, atomic = ledger.preview(operations), ledger.preview(operations, atomic=True)

    assert [type(outcome) for outcome in loose] == [Accepted, Refused, Accepted]
    assert {outcome.reason for outcome in atomic} == {Reason.INSUFFICIENT_CREDITS}
    assert [outcome.figures["operation"] for outcome in atomic] == [1, 1, 1]
    assert atomic == ledger.execute_batch(operations, atomic=True)


def test_a_preview_of_nothing_is_malformed(ledger):
    with pytest.raises(MalformedError):
        ledger.preview([])


def test_a_check_tells_what_there_is_for_an_operation(ledger):
    ledger.execute(opening())
    ledger.execute(granting(10))
    ledger.execute(granting(20, scope=("image/*",)))
    ledger.execute(granting(40, effective_at=START + DAY))
    ledger.execute(holding(3))

    def check(amount, operation=""):
        answer = ledger.check(ACME, amount, operation)
        return answer.allowed, answer.available, answer.shortfall

    assert [check(7), check(8)] == [(True, 7, 0), (False, 7, 1)]
    assert [check(27, "image/generate"), check(30, "image/generate")] == [(True, 27, 0), (False, 27, 3)]
    answer = ledger.check(ACME, 8)
    assert answer.refusal.reason is Reason.INSUFFICIENT_CREDITS
    assert (answer.balance.available, answer.balance.held, answer.balance.pending) == (27, 3, 40)
    assert ledger.check(ACME, 7).refusal is None


def test_a_check_counts_the_overdraft_and_the_spend_limits(ledger):
    limit = SpendLimit(name="daily", window=Window.DAY, amount=12)
    ledger.execute(opening())
    ledger.execute(granting(10))
    ledger.execute(UpdateAccount(request_id=request_id(), account=ACME, overdraft_limit=5))
    with_overdraft = ledger.check(ACME, 15)
    ledger.execute(UpdateAccount(request_id=request_id(), account=ACME, limits=(limit,)))

    limited = ledger.check(ACME, 15)

    assert (with_overdraft.allowed, with_overdraft.available) == (True, 15)
    assert (limited.allowed, limited.available, limited.shortfall) == (False, 12, 3)
    assert limited.refusal.reason is Reason.SPEND_LIMIT_REACHED


def test_a_check_under_a_plan_that_covers_all_use_is_allowed(ledger):
    ledger.execute(opening())
    ledger.execute(UpdateAccount(request_id=request_id(), account=ACME, unlimited=True))

    answer = ledger.check(ACME, 1_000_000)

    assert (answer.allowed, answer.available, answer.shortfall) == (True, INT64_MAX, 0)
    assert answer.balance.available == 0


@pytest.mark.parametrize("status", [AccountStatus.FROZEN, AccountStatus.CLOSED])
def test_a_check_of_an_account_that_may_not_spend_says_why(ledger, status):
    ledger.execute(opening())
    if status is AccountStatus.FROZEN:
        ledger.execute(granting(10))
        ledger.execute(Freeze(request_id=request_id(), account=ACME, memo=Memo(description="stolen card")))
    else:
        ledger.execute(Close(request_id=request_id(), account=ACME))

    answer = ledger.check(ACME, 5)

    assert (answer.allowed, answer.available, answer.shortfall) == (False, 0, 5)
    assert answer.refusal.reason.value == f"account_{status.value}"


def test_a_check_of_an_account_that_would_be_opened_counts_its_welcome(ledger, database_url):
    welcome = Welcome(amount=10, source=Source.WELCOME, ttl=None)
    ledger.configure_asset(ACME.tenant, "credits", AssetPolicy(auto_open=True, welcome=welcome))
    before = rows_of(database_url)

    enough, too_much = ledger.check(ACME, 10), ledger.check(ACME, 11)

    assert (enough.allowed, enough.available, enough.balance.available) == (True, 10, 10)
    assert (too_much.allowed, too_much.shortfall, too_much.balance.available) == (False, 1, 10)
    assert rows_of(database_url) == before


def test_a_check_of_an_account_that_is_not_there_is_refused(ledger):
    assert ledger.check(ACME, 5).reason is Reason.ACCOUNT_NOT_FOUND
    assert ledger.check(replace(ACME, asset="tokens"), 5).reason is Reason.ASSET_NOT_FOUND


def test_a_malformed_check_is_told(ledger):
    with pytest.raises(MalformedError):
        ledger.check(ACME, 0)
    with pytest.raises(MalformedError):
        ledger.check(ACME, 1, "no such operation")


def test_the_preview_of_a_transfer_tells_both_sides(ledger):
    for name in (ACME, BOLT):
        ledger.execute(opening(name))
    ledger.execute(granting(10))

    (outcome,) = ledger.preview([Transfer(request_id=request_id(), account=ACME, to=BOLT, amount=4)])

    assert [(posting.account.name, posting.account.available) for posting in outcome.postings] == [(ACME, 6), (BOLT, 4)]
