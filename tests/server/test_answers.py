"""What each change answers beside its entry and balance, and that a repeat is answered alike."""

import pytest
from google.protobuf.duration_pb2 import Duration
from scrip.v1.accounts_pb2 import AdjustRequest, Metadata, RevokeRequest, SpendLimit, SpendLimits
from scrip.v1.credit_service_pb2 import RefundRequest
from scrip.v1.ledger_service_pb2 import AssetPolicy, Welcome
from scrip.v1.types_pb2 import SOURCE_PURCHASE

from tests.books import DAY, SECOND


@pytest.fixture
def acme(ask):
    """An account with 100 credits, on each engine."""
    ask("OpenAccount")
    ask("Grant", amount=100)
    return ask


def twice(ask, rpc, **fields):
    """The answer to a change; that to its repeat must differ in nothing but saying so."""
    first = ask(rpc, request_id="twice", **fields)
    again = ask(rpc, request_id="twice", **fields)
    assert (first.replayed, again.replayed) == (False, True)
    again.replayed = False
    assert again == first
    return first


def test_an_opening_may_come_with_a_welcome(ask):
    policy = AssetPolicy(auto_open=True, welcome=Welcome(amount=50, ttl=Duration(seconds=60)))
    configured = ask("ConfigureAsset", asset="credits", policy=policy)

    opened = twice(ask, "OpenAccount")
    granted = ask("Grant", account_id="beta", amount=1)

    assert configured.asset.policy.auto_open
    assert (opened.balance.available, granted.balance.available) == (50, 51)
    (entry,) = ask("History").entries
    assert [lot.lot_id for lot in entry.lots] == [opened.welcome_lot_id]
    assert [(asset.asset, asset.policy.welcome.amount) for asset in ask("ListAssets").assets] == [("credits", 50)]


def test_an_opening_without_a_welcome_makes_no_lot(ask):
    assert twice(ask, "OpenAccount").welcome_lot_id == ""


def test_a_refused_change_opens_no_account(ask):
    ask("ConfigureAsset", asset="credits", policy=AssetPolicy(auto_open=True))

    assert ask.refusal("CheckAndDeduct").reason == "INSUFFICIENT_CREDITS"
    assert ask.refusal("GetBalance").reason == "ACCOUNT_NOT_FOUND"


def test_a_deduction_tells_what_was_spent_and_what_became_owed(acme):
    ask = acme

    clamped = ask("CheckAndDeduct", amount=70, mode="MODE_CLAMP")
    clamped_more = twice(ask, "CheckAndDeduct", amount=70, mode="MODE_CLAMP")
    recorded = ask("CheckAndDeduct", amount=5, mode="MODE_RECORD")

    assert [(answer.deducted, answer.became_owed) for answer in (clamped, clamped_more, recorded)] == [
        (70, 0), (30, 0), (5, 5),
    ]  # fmt: skip
    assert recorded.balance.owed == 5


def test_a_grant_tells_what_repaid_debt(acme):
    acme("CheckAndDeduct", amount=130, mode="MODE_RECORD")

    granted = twice(acme, "Grant", amount=100, source=SOURCE_PURCHASE)

    assert (granted.repaid, granted.balance.owed, granted.balance.available) == (30, 0, 70)


def test_a_hold_can_be_increased_extended_and_captured_in_parts(acme, clock):
    hold = acme("Hold", amount=20, tolerance=5, ttl=Duration(seconds=60))

    increased = acme("IncreaseHold", hold_id=hold.hold_id, amount=10)
    extended = acme("ExtendHold", hold_id=hold.hold_id, ttl=Duration(seconds=600))
    part = acme("Capture", hold_id=hold.hold_id, amount=12, final=False, request_id="part")
    last = acme("Capture", hold_id=hold.hold_id, amount=20)
    again = acme("Capture", hold_id=hold.hold_id, amount=12, final=False, request_id="part")

    assert increased.held == 30
    assert extended.expires_at.ToSeconds() - int(clock.now.timestamp()) == 600
    assert [(answer.captured, answer.released, answer.held) for answer in (part, last, again)] == [
        (12, 0, 18), (20, 0, 0), (12, 0, 18),
    ]  # fmt: skip
    assert (last.balance.available, last.balance.held, again.replayed) == (68, 0, True)


def test_a_release_tells_what_came_back(acme):
    hold_id = acme("Hold", amount=20).hold_id

    assert twice(acme, "Release", hold_id=hold_id).released == 20


def test_a_refund_tells_where_it_went(ask, clock):
    ask("OpenAccount")
    ask("Grant", amount=10, ttl=DAY)
    spent = ask("CheckAndDeduct", amount=15, mode="MODE_RECORD").entry_id
    clock.now += 2 * DAY

    of_debt = ask("Refund", entry_id=spent, amount=7)
    as_new = ask("Refund", entry_id=spent, amount=3, expired_lots=RefundRequest.EXPIRED_LOTS_NEW_LOT)
    the_rest = twice(ask, "Refund", entry_id=spent)

    assert (of_debt.refunded, of_debt.repaid, of_debt.lapsed, of_debt.lot_ids) == (7, 5, 2, [])
    assert (as_new.refunded, as_new.repaid, as_new.lapsed, len(as_new.lot_ids)) == (3, 0, 0, 1)
    assert (the_rest.refunded, the_rest.lapsed, the_rest.balance.available) == (5, 5, 3)
    (lot,) = ask("ListLots").lots
    assert [lot.lot_id] == as_new.lot_ids


def test_a_transfer_names_both_entries(acme):
    acme("OpenAccount", account_id="beta")

    given = twice(acme, "Transfer", amount=40)

    assert (given.balance.account_id, given.balance.available) == ("acme", 60)
    received = acme("GetEntry", entry_id=given.to_entry_id).entry
    assert (received.balance.account_id, received.balance.available) == ("beta", 40)
    assert (received.peer_entry_id, received.request_id) == (given.entry_id, "")
    assert acme("GetEntry", entry_id=given.entry_id).entry.peer_entry_id == given.to_entry_id


def test_a_merge_moves_all_and_closes(acme):
    acme("OpenAccount", account_id="beta")
    acme("CheckAndDeduct", account_id="beta", amount=5, mode="MODE_RECORD")

    merged = twice(acme, "MergeAccounts", account_id="beta", into_account_id="acme")
    more = acme(
        "MergeAccounts", account_id="acme", into_account_id=acme("OpenAccount", account_id="c").balance.account_id
    )

    assert (merged.moved, merged.debt_moved) == (0, 5)
    assert (more.moved, more.debt_moved) == (100, 5)
    assert acme("GetEntry", entry_id=more.into_entry_id).entry.balance.available == 100
    assert acme("GetAccount", account_id="acme").account.status == acme("GetAccount", account_id="beta").account.status


def test_a_revocation_tells_what_became_owed(ask):
    ask("OpenAccount")
    lots = [ask("Grant", amount=10).lot_id for _ in range(2)]
    ask("CheckAndDeduct", amount=14)

    left = ask("Revoke", lot_id=lots[1], amount=8, spent=RevokeRequest.SPENT_LEAVE)
    owed = twice(ask, "Revoke", lot_id=lots[0], amount=8)

    assert (left.revoked, left.became_owed, left.balance.available) == (6, 0, 0)
    assert (owed.revoked, owed.became_owed, owed.balance.owed) == (8, 8, 8)


def test_a_correction_makes_a_lot_or_takes_from_those_there_are(acme):
    up = twice(acme, "Adjust", amount=7)
    down = acme("Adjust", amount=100, direction=AdjustRequest.DIRECTION_DOWN)

    assert up.lot_id
    assert (up.repaid, up.balance.available) == (0, 107)
    assert (down.lot_id, down.repaid, down.balance.available) == ("", 0, 7)


def test_a_write_off_tells_what_is_no_longer_owed(ask):
    ask("OpenAccount")
    ask("CheckAndDeduct", amount=9, mode="MODE_RECORD")

    part = ask("WriteOff", amount=2)
    rest = twice(ask, "WriteOff")

    assert (part.written_off, rest.written_off, rest.balance.owed) == (2, 7, 0)


def test_an_account_shows_what_is_agreed_with_the_customer(acme, clock):
    hourly = SpendLimit(name="hourly", window=SpendLimit.WINDOW_HOUR, amount=50, operation="image/*")
    rolling = SpendLimit(name="rolling", window=SpendLimit.WINDOW_ROLLING, amount=60, length=Duration(seconds=90))
    agreed = {"limits": SpendLimits(limits=[hourly, rolling]), "metadata": Metadata(pairs={"tier": "gold"})}
    twice(acme, "UpdateAccount", overdraft_limit=7, time_zone="Europe/Berlin", **agreed)
    acme("CheckAndDeduct", amount=20, operation="image/generate")
    clock.now += 10 * SECOND
    acme("FreezeAccount")

    account = acme("GetAccount").account

    assert (account.account_id, account.asset, account.scale) == ("acme", "credits", 0)
    assert (account.status, account.status_reason) == (account.STATUS_FROZEN, "why")
    assert (account.overdraft_limit, account.unlimited, account.time_zone) == (7, False, "Europe/Berlin")
    assert dict(account.metadata) == {"tier": "gold"}
    assert (account.balance.available, account.opened_at.ToSeconds()) == (80, int(clock.now.timestamp()) - 10)
    assert [(limit.name, limit.used, limit.frees_at.ToSeconds()) for limit in account.limits] == [
        ("hourly", 20, account.opened_at.ToSeconds() + 3600),
        ("rolling", 20, account.opened_at.ToSeconds() + 90),
    ]
    for shown, asked in zip(account.limits, (hourly, rolling), strict=True):
        shown.ClearField("used")
        shown.ClearField("frees_at")
        assert shown == asked


def test_what_is_not_said_of_an_account_stays_as_it_is(acme):
    acme("UpdateAccount", overdraft_limit=7, unlimited=True, metadata=Metadata(pairs={"tier": "gold"}))

    acme("UpdateAccount", time_zone="Asia/Tokyo")
    kept = acme("GetAccount").account
    acme("UpdateAccount", unlimited=False, overdraft_limit=0, metadata=Metadata(), limits=SpendLimits())
    taken = acme("GetAccount").account

    assert (kept.overdraft_limit, kept.unlimited, dict(kept.metadata)) == (7, True, {"tier": "gold"})
    assert (taken.overdraft_limit, taken.unlimited, dict(taken.metadata)) == (0, False, {})
    assert taken.time_zone == "Asia/Tokyo"


def test_a_plan_covers_all_use(ask):
    ask("OpenAccount")
    ask("UpdateAccount", unlimited=True)

    spent = ask("CheckAndDeduct", amount=1_000)
    hold = ask("Hold", amount=500)
    captured = ask("Capture", hold_id=hold.hold_id, amount=200)

    assert (spent.deducted, spent.became_owed, spent.balance.available) == (1_000, 0, 0)
    assert (captured.captured, captured.balance.available, captured.balance.held) == (200, 0, 0)
    assert ask("GetEntry", entry_id=spent.entry_id).entry.lines[0].lot_id == ""


def test_an_account_is_closed_for_ever(ask):
    ask("OpenAccount", request_id="opening")

    twice(ask, "CloseAccount")

    account = ask("GetAccount").account
    assert (account.status, account.status_reason) == (account.STATUS_CLOSED, "")
    assert ask("OpenAccount", request_id="opening").replayed
    assert ask.refusal("Grant").reason == "ACCOUNT_CLOSED"


def test_a_frozen_account_takes_what_it_is_given_and_gives_back_what_it_holds(acme):
    acme("OpenAccount", account_id="beta")
    acme("Grant", account_id="beta", amount=5)
    holds = [acme("Hold", amount=10).hold_id for _ in range(2)]
    spent = acme("CheckAndDeduct", amount=10).entry_id
    acme("FreezeAccount")

    acme("Grant", amount=1)
    acme("Adjust", amount=1)
    acme("Refund", entry_id=spent)
    acme("Transfer", account_id="beta", to_account_id="acme", amount=5)
    acme("ExtendHold", hold_id=holds[0])
    acme("Capture", hold_id=holds[0], amount=7)
    acme("Release", hold_id=holds[1])
    acme("UpdateAccount", time_zone="Asia/Tokyo")

    assert acme("UnfreezeAccount").balance.available == 100
    assert acme("CheckAndDeduct", amount=100).deducted == 100
