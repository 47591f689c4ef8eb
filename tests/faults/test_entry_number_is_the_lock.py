"""Two servers on one database: whoever decided on a state that is no longer the last one decides again."""

import random
from contextlib import ExitStack
from datetime import timedelta

import pytest

from ledger import (
    Accepted,
    AssetPolicy,
    Batch,
    EntryKind,
    Ledger,
    Reason,
    SpendLimit,
    UpdateAccount,
    Welcome,
    Window,
)
from tests.books import (
    ACME,
    SECOND,
    Clock,
    capturing,
    deducting,
    granting,
    holding,
    merging,
    opening,
    refunding,
    releasing,
    request_id,
    transferring,
)
from tests.faults.customers import (
    PATIENCE_S,
    at_once,
    available,
    customers,
    history,
    kinds,
    open_accounts,
    times_written,
)
from tests.faults.statements import (
    DEADLOCK,
    ENTRIES,
    Gate,
    MeetingPoint,
    before_each,
    failures,
    kept_waiting,
    locking,
    named,
    wait_until_queued,
)


@pytest.fixture(params=[True, False], ids=["row locks", "no row locks"])
def row_locks(request):
    return request.param


@pytest.fixture
def two(postgres_url, row_locks):
    """Two servers on one database."""
    with ExitStack() as stack:
        servers = [
            stack.enter_context(Ledger(named(postgres_url, server), row_locks=row_locks))
            for server in ("first", "second")
        ]
        # So that each has its writer id and they meet at nothing but what a test makes them meet at.
        for server, name in zip(servers, customers(2), strict=True):
            open_accounts(locking(server) if row_locks else server, name, credits_each=1)
        yield servers


def constraints(errors):
    return [error.diag.constraint_name for error in errors]


@pytest.mark.parametrize("row_locks", [False], indirect=True, ids=["no row locks"])
@pytest.mark.parametrize(("amount", "accepted", "left"), [(40, 2, 20), (60, 1, 40)])
def test_of_two_that_decided_on_the_same_state_one_fails_on_the_key_and_decides_again(two, amount, accepted, left):
    open_accounts(two[0], ACME, credits_each=100)
    both = [deducting(amount) for _ in two]
    meeting = MeetingPoint(2, ENTRIES)

    with before_each(meeting), failures() as refused:
        outcomes = at_once(*(lambda s=server, o=asked: s.execute(o) for server, asked in zip(two, both, strict=True)))

    assert constraints(refused) == ["pk_entries"]
    assert len(meeting.passed) == 1 + accepted
    yes = [outcome for outcome in outcomes if isinstance(outcome, Accepted)]
    assert [outcome.entry.seq for outcome in sorted(yes, key=lambda a: a.entry.seq)] == [3, 4][:accepted]
    assert all(
        o.reason is Reason.INSUFFICIENT_CREDITS and o.figures["available"] == 40 for o in outcomes if o not in yes
    )
    assert available(two[0]) == available(two[1]) == left


@pytest.mark.parametrize("row_locks", [True], indirect=True, ids=["row locks"])
def test_with_row_locks_the_second_waits_and_nobody_decides_twice(two, postgres_url):
    open_accounts(two[0], ACME, credits_each=100)
    first_is_decided = Gate("first", ENTRIES)
    statements = []

    with before_each(first_is_decided), before_each(lambda *args: statements.append(args)), failures() as refused:
        first = two[0].queue(deducting(60))
        first_is_decided.wait_until_reached()
        second = two[1].queue(deducting(60))
        wait_until_queued(postgres_url, "second")
        first_is_decided.open()
        outcomes = first.result(PATIENCE_S), second.result(PATIENCE_S)

    assert outcomes[0].entry.available == 40
    assert outcomes[1].figures["shortfall"] == 20
    assert refused == []
    assert sum(ENTRIES in statement for _, statement, _ in statements) == 1


@pytest.mark.parametrize("row_locks", [True], indirect=True, ids=["row locks"])
def test_what_runs_out_while_another_server_has_the_account_is_not_spent(postgres_url, row_locks):
    first_is_decided = Gate("first", ENTRIES)
    early, late = Clock(), Clock()
    with (
        Ledger(named(postgres_url, "first"), clock=early) as first,
        Ledger(named(postgres_url, "second"), clock=late) as second,
    ):
        open_accounts(locking(first), ACME, credits_each=10)
        locking(second)
        first.execute(granting(90, expires_at=late.now + SECOND))

        with before_each(first_is_decided):
            spent = first.queue(deducting(50))
            first_is_decided.wait_until_reached()
            too_late = second.queue(deducting(50))
            wait_until_queued(postgres_url, "second")
            late.now += SECOND
            first_is_decided.open()

            assert isinstance(spent.result(PATIENCE_S), Accepted)
            assert too_late.result(PATIENCE_S).figures["available"] == 10


def test_an_account_opened_at_two_servers_at_once_is_opened_once(two):
    both = [opening() for _ in two]
    meeting = MeetingPoint(2, ENTRIES)

    with before_each(meeting), failures() as refused:
        outcomes = at_once(*(lambda s=server, o=asked: s.execute(o) for server, asked in zip(two, both, strict=True)))

    assert "pk_entries" in constraints(refused)
    assert sorted(getattr(outcome, "reason", "accepted") for outcome in outcomes) == ["accepted", Reason.ACCOUNT_EXISTS]
    assert len(history(two[0])) == 1


@pytest.mark.parametrize("row_locks", [False], indirect=True, ids=["no row locks"])
def test_one_request_sent_to_two_servers_at_once_has_one_effect_and_one_replay(two):
    open_accounts(two[0], ACME, credits_each=100)
    asked = deducting(60)
    meeting = MeetingPoint(2, ENTRIES)

    with before_each(meeting):
        outcomes = at_once(*(lambda s=server: s.execute(asked) for server in two))

    assert sorted(outcome.replayed for outcome in outcomes) == [False, True]
    assert outcomes[0].entry == outcomes[1].entry
    assert times_written(two[0], asked) == 1


def test_one_opening_sent_to_two_servers_at_once_has_one_effect_and_one_replay(two):
    asked = opening()
    meeting = MeetingPoint(2, ENTRIES)

    with before_each(meeting):
        outcomes = at_once(*(lambda s=server: s.execute(asked) for server in two))

    assert sorted(outcome.replayed for outcome in outcomes) == [False, True]
    assert len(history(two[0])) == 1


@pytest.mark.parametrize("table", ["lots", "holds", "entries"])
def test_what_another_server_writes_between_two_reads_is_not_half_seen(two, table):
    asked = opening()
    gate = Gate("second", f"FROM {table}")

    with before_each(gate):
        second = two[1].queue(asked)
        gate.wait_until_reached()
        first = two[0].execute(asked)
        gate.open()
        second = second.result(PATIENCE_S)

    assert (first.replayed, second.replayed) == (False, True)


@pytest.mark.parametrize("row_locks", [False], indirect=True, ids=["no row locks"])
@pytest.mark.parametrize("table", ["lots", "holds", "entries"])
def test_without_row_locks_no_refusal_rests_on_half_of_what_another_server_wrote(two, table):
    open_accounts(two[0], ACME, credits_each=40)
    gate = Gate("second", f"FROM {table}")

    with before_each(gate):
        second = two[1].queue(deducting(60))
        gate.wait_until_reached()
        two[0].execute(granting(60))
        two[0].execute(deducting(70))
        gate.open()
        second = second.result(PATIENCE_S)

    figures = second.figures
    assert figures["available"] + figures["shortfall"] == figures["required"] == 60


@pytest.mark.parametrize("row_locks", [False], indirect=True, ids=["no row locks"])
@pytest.mark.parametrize("table", ["lots", "holds", "entries"])
def test_without_row_locks_a_grant_that_is_half_seen_breaks_nothing(two, table):
    open_accounts(two[0], ACME, credits_each=40)
    gate = Gate("second", f"FROM {table}")

    with before_each(gate):
        second = two[1].queue(deducting(90))
        gate.wait_until_reached()
        two[0].execute(granting(60))
        gate.open()
        second = second.result(PATIENCE_S)

    # It was asked before the grant and answered after it, so either answer is right, if its figures fit together.
    if isinstance(second, Accepted):
        assert second.entry.available == 10
    else:
        assert (second.figures["available"], second.figures["shortfall"]) == (40, 50)


def execute_both(two, *operations):
    """Each at a server of its own; no statement that writes entries goes out before both have decided."""
    with before_each(MeetingPoint(2, ENTRIES)), failures() as refused:
        outcomes = at_once(*(lambda s=s, o=o: s.execute(o) for s, o in zip(two, operations, strict=True)))
    assert DEADLOCK not in [error.sqlstate for error in refused]
    return outcomes, constraints(refused)


@pytest.mark.parametrize("row_locks", [False], indirect=True, ids=["no row locks"])
def test_transfers_against_each_other_that_were_decided_at_once_are_both_done(two):
    one, other = customers(2)
    open_accounts(two[0], ACME, credits_each=100)
    for name in (one, other):
        two[0].execute(granting(99, name))

    for giver, receiver in [(one, other), (other, one)]:
        outcomes, failed = execute_both(two, transferring(60, giver, receiver), transferring(90, receiver, giver))

        assert failed == ["pk_entries"]
        assert all(isinstance(outcome, Accepted) for outcome in outcomes)
        two[0].execute(transferring(30, giver, receiver))
        assert [available(two[1], name) for name in (one, other)] == [100, 100]


def test_servers_that_change_accounts_in_opposite_orders_never_wait_for_each_other(two, postgres_url, row_locks):
    open_accounts(two[0], *customers(4)[2:], credits_each=1)
    lowest, low, high, highest = sorted(customers(4), key=lambda name: name.key)
    there = Batch(operations=tuple(granting(1, name) for name in (lowest, low, highest)))
    back = Batch(operations=tuple(granting(1, name) for name in (highest, high, lowest)))

    with failures() as refused:
        # Each would have come half-way: the one to the lowest, the other to the highest.
        with kept_waiting(postgres_url, low, high, row_locks=row_locks):
            answers = [server.queue(work) for server, work in zip(two, (there, back), strict=True)]
            for server in ("first", "second"):
                wait_until_queued(postgres_url, server)
        outcomes = [outcome for answer in answers for outcome in answer.result(PATIENCE_S)]

    assert kinds(outcomes) == {"accepted": 6}
    assert constraints(refused) == ([] if row_locks else ["pk_entries"])


@pytest.mark.parametrize("row_locks", [True], indirect=True, ids=["row locks"])
def test_with_row_locks_a_transfer_waits_for_the_one_against_it(two, postgres_url):
    one, other = customers(2)
    first_is_decided = Gate("first", ENTRIES)

    with before_each(first_is_decided), failures() as refused:
        there = two[0].queue(transferring(1, one, other))
        first_is_decided.wait_until_reached()
        back = two[1].queue(transferring(2, other, one))
        wait_until_queued(postgres_url, "second")
        first_is_decided.open()
        outcomes = there.result(PATIENCE_S), back.result(PATIENCE_S)

    assert [outcome.entry.available for outcome in outcomes] == [0, 0]
    assert refused == []
    assert [available(two[1], name) for name in (one, other)] == [2, 0]


@pytest.mark.parametrize("row_locks", [False], indirect=True, ids=["no row locks"])
def test_of_two_refunds_that_were_decided_at_once_one_learns_of_the_other(two):
    open_accounts(two[0], ACME, credits_each=100)
    used = two[0].execute(deducting(100)).entry

    outcomes, failed = execute_both(two, refunding(used, 60), refunding(used, 60))

    assert failed == ["pk_entries"]
    assert kinds(outcomes) == {"accepted": 1, Reason.AMOUNT_ABOVE_REFUNDABLE: 1}
    (told,) = [outcome.figures["refundable"] for outcome in outcomes if not isinstance(outcome, Accepted)]
    assert told == 40
    assert available(two[0]) == 60


@pytest.mark.parametrize("row_locks", [False], indirect=True, ids=["no row locks"])
@pytest.mark.parametrize("late", ["grant", "transfer", "refund", "deduction"])
def test_what_was_decided_while_a_visitor_was_merged_is_moved_or_refused(two, late):
    into = customers(1)[0]
    open_accounts(two[0], ACME, credits_each=100)
    used = two[0].execute(deducting(30)).entry
    others = {
        "grant": granting(5),
        "transfer": transferring(1, customers(2)[1], ACME),
        "refund": refunding(used, 20),
        "deduction": deducting(10),
    }

    outcomes, failed = execute_both(two, merging(ACME, into), others[late])

    merged, other = outcomes
    change = {"grant": 5, "transfer": 1, "refund": 20, "deduction": -10}[late] * isinstance(other, Accepted)
    assert failed == ["pk_entries"]
    assert isinstance(merged, Accepted)
    assert isinstance(other, Accepted) or other.reason is Reason.ACCOUNT_CLOSED
    assert [available(two[0]), available(two[0], into)] == [0, 1 + 70 + change]


@pytest.mark.parametrize("row_locks", [False], indirect=True, ids=["no row locks"])
def test_deductions_that_were_decided_at_once_share_the_room_under_a_limit(two):
    open_accounts(two[0], ACME, credits_each=100)
    limit = SpendLimit(name="hourly", window=Window.ROLLING, length=timedelta(hours=1), amount=50)
    two[0].execute(UpdateAccount(request_id=request_id(), account=ACME, limits=(limit,)))

    outcomes, failed = execute_both(two, deducting(30), deducting(30))

    assert failed == ["pk_entries"]
    assert kinds(outcomes) == {"accepted": 1, Reason.SPEND_LIMIT_REACHED: 1}
    (told,) = [outcome.figures["used"] for outcome in outcomes if not isinstance(outcome, Accepted)]
    assert told == 30


@pytest.fixture
def opens_by_itself(two):
    """Whoever names an account opens it, with a welcome of 7."""
    policy = AssetPolicy(auto_open=True, welcome=Welcome(amount=7))
    two[0].configure_asset(ACME.tenant, ACME.asset, policy)


def test_an_account_that_two_servers_open_by_themselves_at_once_has_one_welcome(two, opens_by_itself):
    outcomes, failed = execute_both(two, deducting(3), granting(10))

    assert "pk_entries" in failed
    assert kinds(outcomes) == {"accepted": 2}
    assert [entry.kind for entry in history(two[0])].count(EntryKind.OPEN) == 1
    assert available(two[1]) == 7 - 3 + 10


@pytest.mark.parametrize("table", ["lots", "holds", "entries", "assets"])
def test_a_receiver_that_another_server_opens_between_two_reads_is_opened_once(two, table, opens_by_itself):
    giver = customers(2)[1]
    gate = Gate("second", f"FROM {table}")

    with before_each(gate):
        given = two[1].queue(transferring(1, giver, ACME))
        gate.wait_until_reached()
        granted = two[0].execute(granting(10))
        gate.open()
        given = given.result(PATIENCE_S)

    assert kinds([given, granted]) == {"accepted": 2}
    assert available(two[0]) == 7 + 10 + 1
    assert available(two[0], giver) == 0


@pytest.mark.parametrize("row_locks", [False], indirect=True, ids=["no row locks"])
def test_a_refund_that_reads_more_than_one_statement_sees_is_decided_on_one_state(two):
    open_accounts(two[0], ACME, credits_each=100)
    used = two[0].execute(deducting(100)).entry
    # What was refunded is added up after the account was read.
    gate = Gate("second", "sum")

    with before_each(gate):
        second = two[1].queue(refunding(used, 60))
        gate.wait_until_reached()
        two[0].execute(refunding(used, 70))
        gate.open()
        second = second.result(PATIENCE_S)

    assert second.reason is Reason.AMOUNT_ABOVE_REFUNDABLE
    assert second.figures["refundable"] == 30
    assert available(two[0]) == 70


@pytest.mark.parametrize("row_locks", [False], indirect=True, ids=["no row locks"])
def test_a_limit_that_is_read_after_its_account_is_decided_on_one_state(two):
    open_accounts(two[0], ACME, credits_each=100)
    limit = SpendLimit(name="hourly", window=Window.ROLLING, length=timedelta(hours=1), amount=50)
    two[0].execute(UpdateAccount(request_id="limits", account=ACME, limits=(limit,)))
    gate = Gate("second", "FROM spending")

    with before_each(gate):
        second = two[1].queue(deducting(80))
        gate.wait_until_reached()
        two[0].execute(deducting(30))
        gate.open()
        second = second.result(PATIENCE_S)

    # Before the other deduction there were credits enough, and after it there are not.
    assert second.reason is Reason.INSUFFICIENT_CREDITS
    assert second.figures["available"] == 70


def work(server, names, seed, rounds):
    """Does all kinds of things to a few accounts; returns by how much each account must have changed."""
    chance = random.Random(seed)
    changed = dict.fromkeys(names, 0)
    for _ in range(rounds):
        name = chance.choice(names)
        kind = chance.choice(["deduct", "grant", "capture", "release"])
        if kind == "grant":
            server.execute(granting(10, name))
            changed[name] += 10
        elif kind == "deduct":
            changed[name] -= 7 * isinstance(server.execute(deducting(7, name)), Accepted)
        else:
            held = server.execute(holding(9, name))
            if isinstance(held, Accepted):
                ended = server.execute(capturing(held.entry, 5) if kind == "capture" else releasing(held.entry))
                assert isinstance(ended, Accepted)
                changed[name] -= 5 * (kind == "capture")
    return changed


def test_many_callers_of_several_servers_on_few_accounts_get_answers_that_add_up(postgres_url, row_locks):
    names = customers(3)
    with ExitStack() as stack:
        servers = [stack.enter_context(Ledger(postgres_url, row_locks=row_locks)) for _ in range(3)]
        open_accounts(servers[0], *names, credits_each=50)

        changes = at_once(*(lambda s=server, n=n: work(s, names, n, 25) for server in servers for n in range(6)))

        for name in names:
            assert available(servers[0], name) == 50 + sum(changed[name] for changed in changes)
