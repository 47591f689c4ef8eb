"""Callers who want at the same moment, at one server and at two, what only one of them can have: the sums agree."""

import random
import time
from collections import Counter
from datetime import timedelta
from itertools import pairwise

from sqlalchemy import select

from ledger import (
    Accepted,
    AccountName,
    Code,
    DeductMode,
    EntryKind,
    Freeze,
    IncreaseHold,
    Memo,
    Reason,
    SpendLimit,
    UpdateAccount,
    Window,
)
from ledger.tables import spending
from tests.books import (
    ACME,
    capturing,
    deducting,
    granting,
    holding,
    merging,
    refunding,
    releasing,
    request_id,
    transferring,
)
from tests.faults.customers import ask_all, at_once, available, customers, history, kinds, open_accounts, stored

HOUR = timedelta(hours=1)


def ask_mixed(servers, seed, *several):
    """Asks all operations of several lists in a mixed order; returns the outcomes of each list."""
    mixed = [(place, operation) for place, some in enumerate(several) for operation in some]
    random.Random(seed).shuffle(mixed)
    told = list(zip(mixed, ask_all(servers, [operation for _, operation in mixed]), strict=True))
    return [[outcome for (of, _), outcome in told if of == place] for place in range(len(several))]


def accepted(outcomes):
    return kinds(outcomes)["accepted"]


def visitor(n):
    return AccountName(tenant="default", account_id=f"visitor-{n}", asset="credits")


def test_however_many_refund_an_entry_no_more_comes_back_than_was_used(servers):
    open_accounts(servers[0], ACME, credits_each=100)
    used = servers[0].execute(deducting(100)).entry

    parts = ask_all(servers, [refunding(used, 7) for _ in range(40)])
    rests = ask_all(servers, [refunding(used) for _ in range(10)])

    assert kinds(parts) == {"accepted": 14, Reason.AMOUNT_ABOVE_REFUNDABLE: 26}
    assert kinds(rests) == {"accepted": 1, Reason.AMOUNT_ABOVE_REFUNDABLE: 9}
    assert sum(entry.refunded for entry in history(servers[0])) == available(servers[0]) == 100


def test_one_refund_asked_for_by_many_at_once_has_one_effect(servers):
    open_accounts(servers[0], ACME, credits_each=100)
    refund = refunding(servers[0].execute(deducting(60)).entry, 20)

    outcomes = at_once(*(lambda n=n: servers[n % len(servers)].execute(refund) for n in range(20)))

    assert Counter(outcome.replayed for outcome in outcomes) == {False: 1, True: 19}
    assert len({outcome.entry.seq for outcome in outcomes}) == 1
    assert available(servers[0]) == 60


def test_one_transfer_asked_for_by_many_at_once_has_one_effect(servers):
    giver, receiver = customers(2)
    open_accounts(servers[0], giver, receiver, credits_each=100)
    transfer = transferring(10, giver, receiver)

    outcomes = at_once(*(lambda n=n: servers[n % len(servers)].execute(transfer) for n in range(20)))

    assert Counter(outcome.replayed for outcome in outcomes) == {False: 1, True: 19}
    assert len({outcome.entry.peer for outcome in outcomes}) == 1
    assert [available(servers[0], name) for name in (giver, receiver)] == [90, 110]


def test_circular_transfers_at_the_same_moment_neither_wait_for_each_other_nor_lose_anything(servers):
    names = customers(4)
    open_accounts(servers[0], *names, credits_each=20)
    circle = [*pairwise([*names, names[0]])]

    def give(seed):
        """Around the circle, one way or the other; tells who gave whom how much."""
        chance, gave = random.Random(seed), []
        for _ in range(12):
            giver, receiver = chance.choice(circle)[:: chance.choice([1, -1])]
            amount = chance.randint(1, 9)
            if isinstance(servers[seed % len(servers)].execute(transferring(amount, giver, receiver)), Accepted):
                gave.append((giver, receiver, amount))
        return gave

    gifts = [gift for gave in at_once(*(lambda seed=seed: give(seed) for seed in range(8))) for gift in gave]

    expected = dict.fromkeys(names, 20)
    for giver, receiver, amount in gifts:
        expected[giver] -= amount
        expected[receiver] += amount
    assert {name: available(servers[0], name) for name in names} == expected
    (books,) = servers[0].trial_balance("default").assets
    given = sum(amount for *_, amount in gifts)
    assert [(row.debits, row.credits) for row in books.rows if row.code is Code.TRANSFERS] == [(given, given)]


def test_of_captures_and_releases_of_a_hold_one_wins_and_the_others_are_told_which(servers):
    open_accounts(servers[0], ACME, credits_each=100)
    spent = 0
    for n in range(8):
        held = servers[0].execute(holding(10)).entry

        captures, releases = ask_mixed(
            servers, n, [capturing(held, 4) for _ in range(6)], [releasing(held) for _ in range(6)]
        )

        assert kinds(captures + releases) == {"accepted": 1, Reason.HOLD_NOT_ACTIVE: 11}
        lost = [outcome for outcome in captures + releases if not isinstance(outcome, Accepted)]
        assert {outcome.figures["state"] for outcome in lost} == {"captured" if accepted(captures) else "released"}
        spent += 4 * accepted(captures)
        assert available(servers[0]) == 100 - spent


def test_captures_in_parts_take_no_more_than_the_hold_and_its_tolerance(servers):
    open_accounts(servers[0], ACME, credits_each=1_000)
    held = servers[0].execute(holding(100, tolerance=20)).entry
    of_hold = {"tenant": ACME.tenant, "key": ACME.key, "hold": held.seq}

    captures, increases = ask_mixed(
        servers,
        0,
        [capturing(held, 7, final=False) for _ in range(40)],
        [IncreaseHold(request_id=request_id(), **of_hold, amount=5) for _ in range(4)],
    )
    # 100 and 4 times 5 were set aside, and 20 more are tolerated.
    left = 140 - 7 * accepted(captures)
    too_much, rest = (servers[0].execute(capturing(held, amount, final=False)) for amount in (left + 1, left))

    assert kinds(captures).keys() == {"accepted", Reason.AMOUNT_ABOVE_HOLD}
    assert kinds(increases) == {"accepted": 4}
    assert too_much.figures["capturable"] == left
    assert (rest.entry.used, rest.entry.held) == (left, 0)
    assert available(servers[0]) == 1_000 - 140


def test_a_hold_that_is_captured_about_when_it_runs_out_is_captured_or_lapses(servers):
    open_accounts(servers[0], ACME, credits_each=1_000)
    ttl_s, too_late_s, callers = 0.2, 0.22, 24

    def capture(n):
        """The first at once, most of them about when it runs out, the last too late."""
        server = servers[n % len(servers)]
        held = server.execute(holding(10, ttl=timedelta(seconds=ttl_s))).entry
        time.sleep(too_late_s * (n / (callers - 1)) ** 0.2)
        return held.seq, server.execute(capturing(held))

    outcomes = dict(at_once(*(lambda n=n: capture(n) for n in range(callers))))

    for server in servers:
        server.sweep()
    assert kinds(outcomes.values()).keys() <= {"accepted", Reason.HOLD_NOT_ACTIVE}
    ended = [entry for entry in history(servers[0]) if entry.hold not in {None, entry.seq}]
    assert {entry.hold: entry.kind for entry in ended} == {
        hold: EntryKind.CAPTURE if isinstance(outcome, Accepted) else EntryKind.HOLD_LAPSE
        for hold, outcome in outcomes.items()
    }
    assert len(ended) == callers > accepted(outcomes.values())
    assert available(servers[0]) == 1_000 - 10 * accepted(outcomes.values())


def test_what_comes_to_a_visitor_who_is_being_merged_is_moved_or_refused(servers):
    giver, into = customers(2)
    open_accounts(servers[0], giver, into, credits_each=1_000)
    for n in range(3):
        lead = visitor(n)
        open_accounts(servers[0], lead, credits_each=100)
        used = servers[0].execute(deducting(40, lead)).entry
        before = {name: available(servers[0], name) for name in (giver, into)}

        several = ask_mixed(
            servers,
            n,
            [granting(5, lead) for _ in range(8)],
            [transferring(3, giver, lead) for _ in range(8)],
            [refunding(used, 10) for _ in range(8)],
            [deducting(2, lead) for _ in range(8)],
            [merging(lead, into) for _ in range(3)],
        )

        grants, gifts, refunds, uses, merges = map(accepted, several)
        reasons = {reason for outcomes in several for reason in kinds(outcomes)}
        assert reasons <= {"accepted", Reason.ACCOUNT_CLOSED, Reason.AMOUNT_ABOVE_REFUNDABLE}
        assert merges == 1
        assert refunds <= 4
        assert history(servers[0], lead)[-1].kind is EntryKind.MERGE_OUT
        assert available(servers[0], lead) == 0
        assert available(servers[0], into) == before[into] + 60 + 5 * grants + 3 * gifts + 10 * refunds - 2 * uses
        assert available(servers[0], giver) == before[giver] - 3 * gifts


def test_a_visitor_who_holds_credits_is_not_merged_and_who_is_merged_holds_none(servers):
    into = customers(1)[0]
    open_accounts(servers[0], into, credits_each=1)
    for n in range(6):
        lead = visitor(n)
        open_accounts(servers[0], lead, credits_each=50)

        holds, merges = ask_mixed(
            servers, n, [holding(10, lead) for _ in range(3)], [merging(lead, into) for _ in range(3)]
        )

        held, merged = {"accepted": 3}, {"accepted": 1, Reason.ACCOUNT_CLOSED: 2}
        assert (kinds(holds), kinds(merges)) in [
            (held, {Reason.ACCOUNT_HAS_HOLDS: 3}),
            ({Reason.ACCOUNT_CLOSED: 3}, merged),
        ]


def test_of_two_who_are_merged_into_each_other_one_goes_and_the_other_has_all(servers):
    for n in range(4):
        one, other = visitor(2 * n), visitor(2 * n + 1)
        open_accounts(servers[0], one, other, credits_each=50)

        outcomes = ask_all(servers, [merging(one, other), merging(other, one)])

        assert kinds(outcomes) == {"accepted": 1, Reason.ACCOUNT_CLOSED: 1}
        assert {available(servers[0], one), available(servers[0], other)} == {0, 100}


def update(**terms):
    return UpdateAccount(request_id=request_id(), account=ACME, **terms)


def most_used(ledger):
    """The most that was ever used under each spend limit."""
    counted = sorted(stored(str(ledger), select(spending)), key=lambda row: row.used)
    return {row.name.partition("@")[0]: row.used for row in counted}


def test_spend_limits_hold_however_many_spend_at_once(servers):
    open_accounts(servers[0], ACME, credits_each=10_000)
    everything = SpendLimit(name="everything", window=Window.ROLLING, length=HOUR, amount=100)
    images = SpendLimit(name="images", window=Window.ROLLING, length=HOUR, amount=40, operation="image/*")
    servers[0].execute(update(limits=(everything, images)))

    for n in range(3):
        deductions, holds = ask_mixed(
            servers,
            n,
            [deducting(7, operation="image/small") for _ in range(12)],
            [holding(7, operation="text/long") for _ in range(12)],
        )
        rest = ask_all(servers, [deducting(90, mode=DeductMode.CLAMP) for _ in range(6)])

        assert kinds(deductions + holds).keys() == {"accepted", Reason.SPEND_LIMIT_REACHED}
        assert sum(outcome.entry.used for outcome in rest) == 100 - 7 * accepted(deductions + holds)
        done = [outcome.entry for outcome in (*deductions, *holds, *rest) if isinstance(outcome, Accepted)]
        backs = [releasing(entry) if entry.hold else refunding(entry) for entry in done if entry.lines]
        assert kinds(ask_all(servers, backs)) == {"accepted": len(backs)}

    assert most_used(servers[0])["everything"] == 100
    assert most_used(servers[0])["images"] <= 40


def test_what_is_given_back_while_others_spend_makes_room_under_a_limit_and_no_more(servers):
    open_accounts(servers[0], ACME, credits_each=10_000)
    limit = SpendLimit(name="everything", window=Window.ROLLING, length=HOUR, amount=50)
    servers[0].execute(update(limits=(limit,)))

    def spend_and_give_back(n):
        server = servers[n % len(servers)]
        for _ in range(6):
            held = server.execute(holding(9))
            if isinstance(held, Accepted):
                server.execute(releasing(held.entry))

    at_once(*(lambda n=n: spend_and_give_back(n) for n in range(8)))

    assert most_used(servers[0])["everything"] <= 50
    assert servers[0].execute(deducting(90, mode=DeductMode.CLAMP)).entry.used == 50


def test_together_callers_overdraw_no_more_than_is_agreed(servers):
    open_accounts(servers[0], ACME, credits_each=100)
    servers[0].execute(update(overdraft_limit=50))

    outcomes = ask_all(servers, [deducting(7) for _ in range(40)])

    assert kinds(outcomes) == {"accepted": 21, Reason.INSUFFICIENT_CREDITS: 19}
    assert max(entry.owed for entry in history(servers[0])) == 47


def test_after_a_freeze_nothing_is_spent(servers):
    open_accounts(servers[0], ACME, credits_each=1_000)
    freezes = [Freeze(request_id=request_id(), account=ACME, memo=Memo(description="stolen")) for _ in range(3)]

    frozen, uses, grants = ask_mixed(
        servers, 0, freezes, [deducting(1) for _ in range(40)], [granting(1) for _ in range(20)]
    )

    assert kinds(frozen) == {"accepted": 1, Reason.ACCOUNT_FROZEN: 2}
    assert kinds(uses) == {"accepted": accepted(uses), Reason.ACCOUNT_FROZEN: 40 - accepted(uses)}
    assert kinds(grants) == {"accepted": 20}
    (since,) = [outcome.entry.seq for outcome in frozen if isinstance(outcome, Accepted)]
    assert all(outcome.entry.seq < since for outcome in uses if isinstance(outcome, Accepted))
    assert available(servers[0]) == 1_020 - accepted(uses)
