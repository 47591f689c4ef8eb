"""What the client promises, shown against a server with books."""

import threading
from datetime import timedelta
from itertools import islice

import pytest
import scrip
from scrip import calls

from server.config import Settings
from tests.books import DAY, SECOND, START
from tests.running_server import RunningServer


@pytest.fixture
def client(books):
    with scrip.Client(books) as client:
        yield client


@pytest.fixture
def acme(client):
    """A client of books in which acme has 100."""
    client.open_account("acme")
    client.grant("acme", 100, "purchase", cost=(1999, "EUR"))
    return client


def test_a_deduction_takes_what_there_is_or_all_or_nothing(acme):
    checked = acme.check("acme", 120)
    with pytest.raises(scrip.InsufficientCredits) as refused:
        acme.check_and_deduct("acme", 120)
    recorded = acme.check_and_deduct("acme", 120, mode="record", preview=True)
    clamped = acme.check_and_deduct("acme", 120, mode="clamp")

    assert (checked.allowed, checked.available, checked.shortfall) == (False, 100, 20)
    assert (checked.reason, dict(checked.figures)) == (refused.value.reason_name, refused.value.metadata)
    assert (recorded.deducted, recorded.became_owed, recorded.balance.owed) == (120, 20, 20)
    assert (clamped.deducted, clamped.balance.available, clamped.balance.owed) == (100, 0, 0)


def test_a_hold_is_increased_extended_and_captured_in_parts(books, acme, way):
    seen = []

    def body(hold):
        yield hold.increase(10)
        yield hold.extend(timedelta(hours=1))
        yield hold.capture(30, final=False)
        seen.append(acme.holds_page("acme", state="open"))
        yield hold.capture(45)

    hold = way.block(books, body, tolerance=5, operation="image/generate")

    (listed,) = seen[0].holds
    assert (listed.amount, listed.held, listed.captured, listed.tolerance) == (70, 40, 30, 5)
    assert (seen[0].balance.available, seen[0].balance.held) == (30, 40)
    assert listed.expires_at.ToDatetime(tzinfo=START.tzinfo) == hold.expires_at == START + timedelta(hours=1)
    assert (hold.amount, hold.captured, hold.standing) == (70, 75, scrip.Standing.ENDED)
    assert acme.balance("acme").available == 25


def test_a_block_that_captured_parts_gives_back_the_rest(books, acme, way):
    def body(hold):
        yield hold.capture(10, final=False)
        yield hold.capture(10, final=False)

    way.block(books, body)

    assert acme.balance("acme") == scrip.Balance(account_id="acme", asset="credits", available=80)
    assert [hold.state for hold in acme.holds("acme")] == [scrip.ListedHold.STATE_RELEASED]


def test_a_job_that_is_run_again_captures_the_same_parts_once(books, acme, way):
    def once(hold):
        yield hold.capture(10, final=False)
        yield hold.capture(10, final=False)

    def again(hold):
        yield from once(hold)
        yield hold.capture(10)

    with pytest.raises(KeyError):
        way.block(books, lambda hold: dying(once(hold), hold), request_id="job-7")
    way.block(books, again, request_id="job-7")

    assert acme.balance("acme").available == 70


def dying(steps, hold):
    """Run steps, and die so that nothing is released, as a process does."""
    yield from steps
    hold.standing = scrip.Standing.ENDED
    raise KeyError


def test_a_refund_gives_back_and_says_so_in_the_history(acme):
    taken = acme.check_and_deduct("acme", 60, operation="chat", reference="job-7")

    part = acme.refund(taken.entry_id, 20)
    rest = acme.refund(taken.entry_id)
    with pytest.raises(scrip.AmountAboveRefundable) as beyond:
        acme.refund(taken.entry_id, 1)
    with pytest.raises(scrip.EntryNotRefundable) as twice:
        acme.refund(part.entry_id)

    assert (part.refunded, rest.refunded, rest.balance.available) == (20, 40, 100)
    assert (beyond.value.refundable, beyond.value.required, twice.value.kind) == (0, 1, "refund")
    refunds = list(acme.history("acme", kinds=["refund"], order="oldest_first"))
    assert [entry.entry_id for entry in refunds] == [part.entry_id, rest.entry_id]
    assert {entry.refunds_entry_id for entry in refunds} == {taken.entry_id}
    assert [entry.entry_id for entry in acme.history("acme", reference="job-7")] == [taken.entry_id]


def test_a_gift_keeps_its_lots(acme):
    acme.open_account("bob")

    given = acme.transfer("acme", "bob", 40, description="happy birthday")

    (lot,) = acme.lots("bob")
    assert (lot.remaining, lot.cost.minor_units) == (40, 799)
    assert acme.entry(given.to_entry_id).peer_entry_id == given.entry_id
    assert given.balance.available == 60


def test_an_atomic_batch_is_all_or_nothing_and_names_the_culprit(books, acme, way):
    made = [calls.grant("acme", 20, "free"), calls.check_and_deduct("acme", 200, request_id="r-2")]

    with pytest.raises(scrip.InsufficientCredits) as caught:
        way.ask(books, lambda client: client.batch(made, atomic=True))
    granted, refused = way.ask(books, lambda client: client.batch(made))

    assert (caught.value.operation, caught.value.request_id, caught.value.available) == (1, "r-2", 120)
    assert granted.balance.available == 120
    assert type(refused) is scrip.InsufficientCredits
    assert refused.metadata == {name: said for name, said in caught.value.metadata.items() if name != "operation"}


def test_a_batch_that_is_malformed_in_one_place_says_where(books, acme, way):
    made = [calls.release("hd_1"), calls.grant("acme", 0, "free", request_id="r-2")]

    with pytest.raises(scrip.InvalidField) as caught:
        way.ask(books, lambda client: client.batch(made[1:], atomic=True))
    outcomes = way.ask(books, lambda client: client.batch(made))

    assert (caught.value.operation, caught.value.request_id) == (0, "r-2")
    assert [type(outcome) for outcome in outcomes][1] is scrip.InvalidField
    assert outcomes[1].field == "amount"


def test_a_batch_is_previewed(acme):
    made = [calls.hold("acme", 60), calls.hold("acme", 60)]

    held, refused = acme.batch(made, preview=True)

    assert (held.hold_id, held.balance.held) == ("", 60)
    assert type(refused) is scrip.InsufficientCredits
    assert list(acme.holds("acme")) == []


def test_thousands_are_granted_and_granted_once(books, client, way):
    client.configure_asset("credits", auto_open=True)
    made = [calls.grant(f"c-{n}", 5, "promo", request_id=f"spring/c-{n}") for n in range(1500)]

    first = way.walk(books, lambda client: client.bulk_grant(made))
    again = way.walk(books, lambda client: client.bulk_grant(made))

    assert [outcome.balance.account_id for outcome in first] == [f"c-{n}" for n in range(1500)]
    assert not any(outcome.replayed for outcome in first)
    assert all(outcome.replayed for outcome in again)


def test_grants_go_on_when_the_server_is_restarted(sqlite_url, clock):
    settings = Settings(database=sqlite_url, listen="127.0.0.1:0", sweep_s=0, drain_s=0)
    made = [calls.grant(f"c-{n}", 5, "promo", request_id=f"spring/c-{n}") for n in range(3000)]

    with RunningServer(settings, clock) as first:
        client = scrip.Client(f"127.0.0.1:{first.port}")
        client.configure_asset("credits", auto_open=True)
        outcomes = client.bulk_grant(iter(made))
        granted = list(islice(outcomes, 700))
        going_on = threading.Thread(target=lambda: granted.extend(outcomes))
        going_on.start()
    with RunningServer(Settings(database=sqlite_url, listen=f"127.0.0.1:{first.port}", sweep_s=0), clock):
        going_on.join()
        client.close()

    assert [outcome.balance.account_id for outcome in granted] == [f"c-{n}" for n in range(3000)]
    assert {outcome.balance.available for outcome in granted} == {5}


def test_what_is_agreed_with_a_customer_is_shown_and_kept_to(acme):
    acme.update_account(
        "acme",
        limits=[
            scrip.SpendLimit(name="daily", amount=50, window="day"),
            scrip.SpendLimit(name="burst", amount=40, window=timedelta(minutes=1), operation="image/*"),
        ],
        time_zone="Europe/Berlin",
        account_metadata={"plan": "gold"},
    )

    acme.check_and_deduct("acme", 30, operation="image/generate")
    with pytest.raises(scrip.SpendLimitReached) as refused:
        acme.check_and_deduct("acme", 30, operation="image/generate")
    found = acme.account("acme")
    acme.update_account("acme", limits=[limit for limit in found.limits if limit.name != "burst"])

    assert (refused.value.limit, refused.value.used, refused.value.required) in {("burst", 30, 30), ("daily", 30, 30)}
    assert refused.value.frees_at > START
    assert (found.status, found.time_zone, found.metadata["plan"]) == (
        scrip.Account.STATUS_OPEN,
        "Europe/Berlin",
        "gold",
    )
    assert {limit.name: limit.used for limit in found.limits} == {"daily": 30, "burst": 30}
    assert [(limit.name, limit.used) for limit in acme.account("acme").limits] == [("daily", 30)]


def test_a_frozen_account_spends_nothing_until_it_is_unfrozen(acme):
    acme.freeze_account("acme", description="chargeback")

    with pytest.raises(scrip.AccountFrozen) as refused:
        acme.check_and_deduct("acme", 1)
    assert acme.account("acme").status_reason == "chargeback"
    acme.unfreeze_account("acme")
    with pytest.raises(scrip.AccountNotFrozen):
        acme.unfreeze_account("acme")

    assert refused.value.account_id == "acme"
    assert acme.check_and_deduct("acme", 1).deducted == 1


def test_an_account_is_closed_when_nothing_is_left(acme):
    with pytest.raises(scrip.AccountNotEmpty) as refused:
        acme.close_account("acme")
    acme.adjust("acme", 100, "down", description="moved away", actor="anna")
    acme.close_account("acme")
    with pytest.raises(scrip.AccountClosed):
        acme.grant("acme", 1, "free")

    assert (refused.value.available, refused.value.holds) == (100, 0)


def test_a_visitor_becomes_a_customer(acme):
    acme.open_account("lead-1")
    acme.grant("lead-1", 5, "lead")
    with acme.hold("lead-1", 5) as hold:
        with pytest.raises(scrip.AccountHasHolds) as refused:
            acme.merge_accounts("lead-1", "acme")
        hold.release()

    merged = acme.merge_accounts("lead-1", "acme")

    assert refused.value.held == 5
    assert (merged.moved, acme.balance("acme").available) == (5, 105)


def test_a_grant_is_revoked_and_a_debt_forgiven(acme):
    granted = acme.grant("acme", 10, "promo")
    acme.check_and_deduct("acme", 4)

    with pytest.raises(scrip.AmountAboveRevocable) as refused:
        acme.revoke(granted.lot_id, 11, spent="owe")
    revoked = acme.revoke(granted.lot_id, spent="owe")
    with pytest.raises(scrip.AmountAboveOwed):
        acme.write_off("acme", 5, description="goodwill", actor="anna")
    forgiven = acme.write_off("acme", description="goodwill", actor="anna")

    assert refused.value.revocable == 10
    assert (revoked.revoked, revoked.became_owed, forgiven.written_off) == (10, 4, 4)
    with pytest.raises(scrip.LotNotFound):
        acme.revoke("lt_nobody", spent="leave")


def test_the_past_is_shown_as_it_was(acme, clock):
    acme.grant("acme", 20, "promo", ttl=2 * DAY)
    clock.now = START + DAY
    acme.check_and_deduct("acme", 50)
    clock.now = START + 2 * DAY

    then = START + DAY - SECOND
    assert acme.balance("acme").available == 70
    assert acme.balance("acme", as_of=then, expiring_within=2 * DAY).available == 120
    assert acme.balance("acme", as_of=then, expiring_within=2 * DAY).expiring == 20
    assert [lot.remaining for lot in acme.lots("acme", as_of=then, page_size=1)] == [20, 100]
    assert [lot.remaining for lot in acme.lots("acme")] == [70]
    (before,) = acme.trial_balance(as_of=then).assets
    assert {row.credits for row in before.rows if row.code == scrip.Code.CODE_AVAILABLE} == {"120"}
    with pytest.raises(scrip.InstantInFuture) as refused:
        acme.balance("acme", as_of=clock.now + SECOND)
    assert refused.value.now == clock.now


def test_an_entry_is_explained(acme):
    acme.grant("acme", 20, "promo", scope=["chat"])
    taken = acme.check_and_deduct("acme", 30, operation="image/generate")

    found = acme.explain(taken.entry_id)

    assert [(moved.amount, moved.remaining_before) for moved in found.moved] == [(30, 100)]
    assert [list(passed.lot.scope) for passed in found.passed] == [["chat"]]


def test_accounts_open_with_a_welcome(client):
    asset = client.configure_asset("credits", auto_open=True, welcome=scrip.Welcome(amount=7, ttl=timedelta(days=30)))

    client.check_and_deduct("visitor", 2)

    assert asset.policy.welcome.amount == 7
    assert client.balance("visitor").available == 5
