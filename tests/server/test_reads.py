"""What reads answer: now, at a past instant, filtered, and in pages."""

from datetime import timedelta

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from scrip.v1 import ledger_service_pb2
from scrip.v1.accounts_pb2 import SpendLimit, SpendLimits
from scrip.v1.types_pb2 import SOURCE_PROMO, SOURCE_PURCHASE, Entry, Hold, Memo, Money

from tests.books import DAY, SECOND


@pytest.fixture
def acme(ask):
    ask("OpenAccount")
    return ask


def instant(clock, after=timedelta(0)):
    found = Timestamp()
    found.FromDatetime(clock.now + after)
    return found


def test_a_check_tells_what_could_be_spent_and_why_not_more(acme):
    acme("Grant", amount=40)
    acme("Grant", amount=60, scope=["image/*"])

    plain, image = acme("Check", amount=41), acme("Check", amount=41, operation="image/generate")

    assert (plain.allowed, plain.available, plain.shortfall, plain.reason) == (False, 40, 1, "INSUFFICIENT_CREDITS")
    assert {"required": "41", "out_of_scope": "60"}.items() <= plain.figures.items()
    assert (image.allowed, image.available, image.shortfall, image.reason) == (True, 100, 0, "")
    assert image.balance.available == plain.balance.available == 100


def test_a_check_counts_the_overdraft_the_spend_limits_and_a_freeze(acme):
    acme("Grant", amount=40)
    acme("UpdateAccount", overdraft_limit=10)
    with_overdraft = acme("Check", amount=50)
    daily = SpendLimit(name="daily", window=SpendLimit.WINDOW_DAY, amount=30)
    acme("UpdateAccount", limits=SpendLimits(limits=[daily]))
    with_limit = acme("Check", amount=31)
    acme("FreezeAccount")
    frozen = acme("Check", amount=1)

    assert (with_overdraft.allowed, with_overdraft.available) == (True, 50)
    assert (with_limit.allowed, with_limit.available, with_limit.reason) == (False, 30, "SPEND_LIMIT_REACHED")
    assert with_limit.figures["limit"] == "daily"
    assert (frozen.allowed, frozen.available, frozen.shortfall, frozen.reason) == (False, 0, 1, "ACCOUNT_FROZEN")


def test_a_balance_is_told_as_of_any_past_instant(acme, clock):
    acme("Grant", amount=10, ttl=DAY)
    then = instant(clock)
    clock.now += SECOND
    acme("CheckAndDeduct", amount=4)
    clock.now += 2 * DAY

    at_grant, between, now = (
        acme("GetBalance", as_of=then),
        acme("GetBalance", as_of=instant(clock, -DAY * 2)),
        acme("GetBalance"),
    )

    assert [answer.balances[0].available for answer in (at_grant, between, now)] == [10, 6, 0]
    assert at_grant.as_of == then
    assert now.as_of == instant(clock)


def test_a_balance_tells_what_runs_out_soon_if_it_is_asked(acme):
    acme("Grant", amount=1, ttl=DAY)
    acme("Grant", amount=2, ttl=2 * DAY)
    acme("Grant", amount=4)

    soon = acme("GetBalance", expiring_within=Duration(seconds=86_400)).balances[0]
    not_asked = acme("GetBalance").balances[0]

    assert (soon.available, soon.expiring) == (7, 1)
    assert not not_asked.HasField("expiring")


def test_lots_are_listed_as_they_burn_with_what_became_of_them(acme, clock):
    late = acme("Grant", amount=10).lot_id
    soon = acme("Grant", amount=20, ttl=DAY, scope=["image/*"]).lot_id
    acme("Hold", amount=5, operation="image/generate")
    acme("CheckAndDeduct", amount=18, operation="image/generate")

    lots = acme("ListLots").lots

    assert [(lot.lot_id, lot.granted, lot.remaining, lot.held, lot.spent) for lot in lots] == [
        (soon, 20, 0, 5, 15),
        (late, 10, 7, 0, 3),
    ]
    assert (lots[0].scope, lots[0].source, lots[0].priority) == (["image/*"], SOURCE_PROMO, 20)
    assert lots[0].expires_at == instant(clock, DAY)
    assert lots[1].HasField("reclaimed")


def test_lots_come_in_pages_and_empty_ones_on_demand(acme, clock):
    lots = [acme("Grant", amount=1).lot_id for _ in range(5)]
    acme("CheckAndDeduct", amount=2)
    then = instant(clock)
    clock.now += SECOND
    acme("CheckAndDeduct", amount=3)

    everything = acme("ListLots", include_empty=True, page_size=3)
    rest = acme("ListLots", include_empty=True, page_token=everything.next_page_token)
    before = acme("ListLots", as_of=then, page_size=2)
    last = acme("ListLots", as_of=then, page_token=before.next_page_token)

    assert [lot.lot_id for lot in (*everything.lots, *rest.lots)] == lots[::-1]
    assert [lot.lot_id for lot in (*before.lots, *last.lots)] == lots[2:]
    assert list(acme("ListLots").lots) == []
    assert (rest.next_page_token, last.next_page_token, before.as_of) == ("", "", then)


def test_holds_are_listed_by_state_with_the_balance_of_the_same_moment(acme, clock):
    acme("Grant", amount=100)
    captured = acme("Hold", amount=10, operation="image/generate", tolerance=3).hold_id
    opened = acme("Hold", amount=20, held_lots="HELD_LOTS_LAPSE").hold_id
    then = instant(clock)
    clock.now += SECOND
    acme("Capture", hold_id=captured, amount=12)

    everything, open_ones = acme("ListHolds"), acme("ListHolds", state=Hold.STATE_OPEN)
    before = acme("ListHolds", as_of=then)

    assert [hold.hold_id for hold in everything.holds] == [opened, captured]
    assert [hold.hold_id for hold in open_ones.holds] == [opened]
    assert (everything.balance.available, everything.balance.held) == (68, 20)
    assert (before.balance.available, before.balance.held, before.as_of) == (70, 30, then)
    ended, was = everything.holds[1], before.holds[1]
    assert (ended.state, ended.captured, ended.held, ended.tolerance) == (Hold.STATE_CAPTURED, 12, 0, 1)
    assert (ended.operation, ended.amount, ended.ended_at) == ("image/generate", 10, instant(clock))
    assert (was.state, was.captured, was.held, was.HasField("ended_at")) == (Hold.STATE_OPEN, 0, 10, False)
    assert [draw.amount for draw in open_ones.holds[0].draws] == [20]
    assert open_ones.holds[0].held_lots == 2


def test_holds_come_in_pages(acme):
    acme("Grant", amount=100)
    holds = [acme("Hold", amount=1).hold_id for _ in range(5)]

    first = acme("ListHolds", page_size=3)
    second = acme("ListHolds", page_size=3, page_token=first.next_page_token)

    assert [hold.hold_id for hold in (*first.holds, *second.holds)] == holds[::-1]
    assert second.next_page_token == ""


def test_a_history_is_filtered_by_all_that_is_asked(acme, clock):
    memo = Memo(reference="o-7")
    lot = acme("Grant", amount=100, memo=memo).lot_id
    began = instant(clock)
    clock.now += SECOND
    hold = acme("Hold", amount=10, operation="image/generate").hold_id
    clock.now += SECOND
    acme("Grant", amount=1, memo=memo)
    acme("Release", hold_id=hold)

    def seqs(**filters):
        return [entry.seq for entry in acme("History", **filters).entries]

    assert seqs() == [5, 4, 3, 2, 1]
    assert seqs(order="ORDER_OLDEST_FIRST") == [1, 2, 3, 4, 5]
    assert seqs(kinds=[Entry.KIND_GRANT, Entry.KIND_OPEN]) == [4, 2, 1]
    assert seqs(since=instant(clock, -SECOND)) == [5, 4, 3]
    assert seqs(until=instant(clock)) == [3, 2, 1]
    assert seqs(since=began, until=instant(clock, -SECOND)) == [2, 1]
    assert seqs(reference="o-7") == [4, 2]
    assert seqs(operation="image/generate") == [5, 3]
    assert seqs(lot_id=lot) == [5, 3, 2]
    assert seqs(hold_id=hold) == [5, 3]
    assert seqs(reference="o-7", kinds=[Entry.KIND_GRANT], since=instant(clock), lot_id=lot) == []


def test_a_history_without_lines_has_all_but_those(acme):
    acme("Grant", amount=100)

    (with_lines, _), (without, _) = acme("History").entries, acme("History", without_lines=True).entries

    assert len(with_lines.lines) == 1
    with_lines.ClearField("lines")
    assert without == with_lines


def test_a_filtered_history_comes_in_pages(acme):
    for _ in range(5):
        acme("Grant")
        acme("CheckAndDeduct")

    asked = {"kinds": [Entry.KIND_DEDUCT], "order": "ORDER_OLDEST_FIRST"}
    first = acme("History", page_size=3, **asked)
    second = acme("History", page_token=first.next_page_token, **asked)

    assert [entry.seq for entry in (*first.entries, *second.entries)] == [3, 5, 7, 9, 11]


def test_an_explanation_tells_which_lots_burnt_and_why_in_this_order(acme, clock):
    daily = SpendLimit(name="daily", window=SpendLimit.WINDOW_DAY, amount=50)
    acme("UpdateAccount", limits=SpendLimits(limits=[daily]))
    first = acme("Grant", amount=10, priority=1).lot_id
    second = acme("Grant", amount=10, ttl=DAY).lot_id
    third = acme("Grant", amount=10).lot_id
    scoped = acme("Grant", amount=10, scope=["image/*"]).lot_id
    later = acme("Grant", amount=10, effective_at=instant(clock, DAY)).lot_id
    spent = acme("CheckAndDeduct", amount=15)

    found = acme("Explain", entry_id=spent.entry_id)

    rules = ledger_service_pb2.MovedLot
    assert found.entry == acme("GetEntry", entry_id=spent.entry_id).entry
    assert [(moved.lot.lot_id, moved.amount, moved.remaining_before, moved.rule) for moved in found.moved] == [
        (first, 10, 10, rules.RULE_PRIORITY),
        (second, 5, 10, rules.RULE_EXPIRY),
    ]
    assert [(moved.burnt, moved.next_lot_id, moved.lot.remaining) for moved in found.moved] == [
        (True, second, 0), (True, third, 5),
    ]  # fmt: skip
    why = ledger_service_pb2.PassedLot
    assert {(passed.lot.lot_id, passed.why) for passed in found.passed} == {
        (scoped, why.WHY_SCOPE), (later, why.WHY_NOT_EFFECTIVE),
    }  # fmt: skip
    assert [(limit.name, limit.limit_amount, limit.used) for limit in found.limits] == [("daily", 50, 15)]


def test_a_trial_balance_is_told_as_of_any_past_instant(acme, clock):
    acme("Grant", amount=10)
    then = instant(clock)
    clock.now += SECOND
    acme("Grant", amount=5)

    before, now = acme("TrialBalance", as_of=then), acme("TrialBalance")

    assert [(answer.assets[0].debits, answer.as_of) for answer in (before, now)] == [
        ("10", then),
        ("15", instant(clock)),
    ]


def test_what_was_paid_is_told_in_lines_in_the_journal_and_in_the_report(acme, clock):
    cost, since = Money(minor_units=100, currency="EUR"), instant(clock)
    acme("Grant", amount=3, source=SOURCE_PURCHASE, cost=cost, package="starter")
    acme("Grant", amount=1)
    clock.now += SECOND
    used = acme("CheckAndDeduct", amount=2)
    entry = acme("GetEntry", entry_id=used.entry_id).entry
    (journal,) = acme("MoneyTrialBalance").currencies
    report = acme("RevenueReport", since=since)
    paid, free = report.rows

    assert [(line.amount, line.HasField("cost"), line.cost.minor_units) for line in entry.lines] == [
        (1, False, 0),
        (1, True, 33),
    ]
    code = ledger_service_pb2.MoneyCode
    assert {row.code: (row.debits, row.credits) for row in journal.rows if row.debits + row.credits != "00"} == {
        code.MONEY_CODE_PAYMENTS: ("100", "0"),
        code.MONEY_CODE_DEFERRED: ("33", "100"),
        code.MONEY_CODE_REVENUE: ("0", "33"),
    }
    assert (journal.currency, journal.debits, journal.credits) == ("EUR", "133", "133")
    assert (paid.package, paid.currency, paid.sold, paid.recognised, paid.closing) == (
        "starter",
        "EUR",
        "100",
        "33",
        "67",
    )
    assert (paid.credits_granted, paid.credits_used, free.currency, free.closing) == ("3", "1", "", "0")
    assert (free.credits_granted, free.credits_used, report.since) == ("1", "1", since)
    assert [row.recognised for row in acme("RevenueReport", since=since, until=instant(clock)).rows] == ["0", "0"]


def test_an_asset_shows_its_settings(ask):
    ask("DefineAsset", asset="tokens", scale=6)
    welcome = ledger_service_pb2.Welcome(amount=5, ttl=Duration(seconds=60, nanos=1_000))
    policy = ledger_service_pb2.AssetPolicy(auto_open=True, welcome=welcome, free_credits_repay_debt=True)

    configured = ask("ConfigureAsset", asset="tokens", policy=policy).asset

    assert (configured.asset, configured.scale) == ("tokens", 6)
    assert configured.policy.welcome.source == 3
    configured.policy.welcome.ClearField("source")
    assert configured.policy == policy
    reset = ask("ConfigureAsset", asset="tokens").asset
    assert reset.policy == ledger_service_pb2.AssetPolicy()
    assert [asset.policy.auto_open for asset in ask("ListAssets").assets] == [False, False]
