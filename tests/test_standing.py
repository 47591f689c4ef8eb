"""How accounts stand: their terms and limits, lots in the order they burn, holds by their state, and what is due."""

from dataclasses import replace

import pytest

from ledger import Capture, Code, MalformedError, Memo, Reason, Release
from ledger.administration import Freeze, Unfreeze, UpdateAccount
from ledger.model import AccountStatus, HeldLots, HoldState
from ledger.terms import SpendLimit, Window
from tests.books import ACME, DAY, MICROSECOND, START, deducting, granting, holding, opening, request_id


def test_what_runs_out_within_a_span_is_told_of_what_can_be_spent(ledger):
    ledger.execute(opening())
    ledger.execute(granting(10, expires_at=START + DAY))
    ledger.execute(granting(20, expires_at=START + DAY + MICROSECOND))
    ledger.execute(granting(40, effective_at=START + MICROSECOND, expires_at=START + DAY))
    ledger.execute(granting(80))
    ledger.execute(holding(3))

    def expiring(span):
        (balance,) = ledger.balances(ACME.tenant, "acme", "credits", expiring_within=span).balances
        return balance.expiring

    assert [expiring(span) for span in (DAY - MICROSECOND, DAY, DAY + MICROSECOND, 90 * DAY)] == [0, 7, 27, 27]
    assert ledger.balances(ACME.tenant, "acme", "credits").balances[0].expiring is None


def test_a_span_that_is_none_is_malformed(ledger):
    with pytest.raises(MalformedError):
        ledger.balances(ACME.tenant, "acme", "credits", expiring_within=0 * DAY)
    with pytest.raises(MalformedError):
        ledger.balances(ACME.tenant, "acme", "credits", as_of=START.replace(tzinfo=None))


LIMITS = (
    SpendLimit(name="daily", window=Window.DAY, amount=100),
    SpendLimit(name="images", window=Window.ROLLING, amount=50, length=2 * DAY, operation="image/*"),
)


def updating(**terms):
    return UpdateAccount(request_id=request_id(), account=ACME, **terms)


def test_an_account_is_shown_with_its_terms_and_how_its_limits_stand(ledger, clock):
    ledger.execute(opening())
    ledger.execute(updating(limits=LIMITS, overdraft_limit=5, time_zone="Europe/Berlin", metadata={"plan": "gold"}))
    ledger.execute(granting(500))
    ledger.execute(replace(deducting(30), operation="image/generate"))
    clock.now = START + DAY
    ledger.execute(replace(holding(10, ttl=DAY / 4), operation="image/generate"))
    clock.now = START + 1.5 * DAY

    found = ledger.account(ACME)

    assert (found.account.status, found.opened_at, found.frozen_reason) == (AccountStatus.OPEN, START, "")
    assert (found.account.terms.overdraft_limit, found.account.terms.metadata) == (5, {"plan": "gold"})
    # The hold has lapsed, so that what it held counts no more.
    assert (found.balance.available, found.balance.held) == (470, 0)
    daily, images = found.limits
    assert (daily.limit.name, daily.used, daily.frees_at) == ("daily", 0, None)
    assert (images.limit.name, images.used, images.frees_at) == ("images", 30, START + 2 * DAY)


def test_a_limit_of_a_day_frees_when_the_day_ends_on_the_accounts_clock(ledger):
    ledger.execute(opening())
    ledger.execute(updating(limits=LIMITS, time_zone="America/New_York"))
    ledger.execute(granting(500))
    ledger.execute(deducting(30))

    daily, images = ledger.account(ACME).limits

    assert (daily.used, daily.frees_at) == (30, START.replace(hour=5))
    assert (images.used, images.frees_at) == (0, None)


def test_why_an_account_is_frozen_is_told_as_long_as_it_is(ledger):
    ledger.execute(opening())
    for memo in (Memo(description="charged back"), Memo(description="stolen card")):
        ledger.execute(Freeze(request_id=request_id(), account=ACME, memo=memo))
        ledger.execute(granting(5))
        frozen = ledger.account(ACME)
        ledger.execute(Unfreeze(request_id=request_id(), account=ACME))
        assert (frozen.account.status, frozen.frozen_reason) == (AccountStatus.FROZEN, memo.description)

    assert (ledger.account(ACME).account.status, ledger.account(ACME).frozen_reason) == (AccountStatus.OPEN, "")


def test_an_account_that_is_not_there_is_not_found(ledger):
    assert ledger.account(ACME).reason is Reason.ACCOUNT_NOT_FOUND
    assert ledger.account(replace(ACME, asset="tokens")).reason is Reason.ASSET_NOT_FOUND
    assert ledger.lots(ACME).reason is Reason.ACCOUNT_NOT_FOUND
    assert ledger.holds(replace(ACME, asset="tokens")).reason is Reason.ASSET_NOT_FOUND


def numbers_of(read, what, **asked):
    """The numbers of all lots or holds, page by page."""
    token, found = "", []
    while True:
        page = read(ACME, page_token=token, **asked)
        found += [one.number for one in getattr(page, what)]
        token = page.next_page_token
        if not token:
            return found


def test_lots_are_listed_in_the_order_they_burn_and_all_of_them_newest_first(ledger, clock):
    ledger.execute(opening())
    for terms in (
        {"priority": 5},
        {"priority": 1, "expires_at": START + 9 * DAY},
        {"priority": 1, "expires_at": START + DAY},
        {"priority": 1, "effective_at": START + 5 * DAY},
        {"priority": 1},
    ):
        ledger.execute(granting(10, **terms))

    assert numbers_of(ledger.lots, "lots", page_size=2) == [3, 2, 4, 5, 1]
    clock.now = START + DAY
    assert numbers_of(ledger.lots, "lots", page_size=1) == [2, 4, 5, 1]
    assert numbers_of(ledger.lots, "lots", page_size=2, include_empty=True) == [5, 4, 3, 2, 1]
    (lapsed,) = (lot for lot in ledger.lots(ACME, include_empty=True).lots if lot.number == 3)
    assert (lapsed.remaining, lapsed.held, lapsed.spent) == (0, 0, 0)


def test_a_lot_that_is_burnt_while_somebody_pages_leaves_the_others_in_place(ledger):
    ledger.execute(opening())
    for _ in range(4):
        ledger.execute(granting(10))
    first = ledger.lots(ACME, page_size=2)

    ledger.execute(deducting(25))
    second = ledger.lots(ACME, page_size=2, page_token=first.next_page_token)

    assert [(lot.number, lot.remaining) for lot in first.lots] == [(1, 10), (2, 10)]
    assert [(lot.number, lot.remaining, lot.spent) for lot in second.lots] == [(3, 5, 5), (4, 10, 0)]
    assert second.next_page_token == ""


@pytest.mark.parametrize("other", [{"include_empty": True}, {"as_of": START}], ids=lambda other: next(iter(other)))
def test_a_page_token_of_lots_is_good_for_the_same_lots_only(ledger, other):
    ledger.execute(opening())
    ledger.execute(granting(10))
    ledger.execute(granting(10))
    token = ledger.lots(ACME, page_size=1).next_page_token

    assert ledger.lots(ACME, page_token=token, **other).reason is Reason.INVALID_PAGE_TOKEN
    assert ledger.holds(ACME, page_token=token).reason is Reason.INVALID_PAGE_TOKEN


@pytest.fixture
def with_holds(ledger, clock):
    """Six holds, 3 to 8: captured, released, lapsed, lapsed but not written, twice open."""
    ledger.execute(opening())
    ledger.execute(granting(1000))
    for ttl in (5 * DAY, 5 * DAY, DAY, 3 * DAY, 5 * DAY, 5 * DAY):
        ledger.execute(holding(10, ttl=ttl))
    hold = {"tenant": ACME.tenant, "key": ACME.key}
    ledger.execute(Capture(request_id=request_id(), **hold, hold=3, amount=4))
    ledger.execute(Release(request_id=request_id(), **hold, hold=4))
    clock.now = START + 2 * DAY
    ledger.execute(deducting(1))
    clock.now = START + 4 * DAY
    return ledger


@pytest.mark.parametrize(
    ("state", "numbers"),
    [
        (None, [8, 7, 6, 5, 4, 3]),
        (HoldState.OPEN, [8, 7]),
        (HoldState.CAPTURED, [3]),
        (HoldState.RELEASED, [4]),
        (HoldState.LAPSED, [6, 5]),
    ],
)
@pytest.mark.parametrize("looked_at_max", [2, 10_000])
def test_holds_are_listed_by_their_state_newest_first(with_holds, monkeypatch, looked_at_max, state, numbers):
    monkeypatch.setattr("ledger.present.LOOKED_AT_MAX", looked_at_max)

    assert numbers_of(with_holds.holds, "holds", page_size=1, state=state) == numbers
    assert numbers_of(with_holds.holds, "holds", page_size=50, state=state) == numbers
    assert numbers_of(with_holds.holds, "holds", page_size=1, state=state, as_of=START + 4 * DAY) == numbers


def test_holds_come_with_how_the_account_stands_at_the_same_instant(with_holds):
    page = with_holds.holds(ACME, state=HoldState.OPEN)

    assert sum(hold.held for hold in page.holds) == page.balance.held == 20
    assert (page.balance.available, page.as_of) == (1000 - 4 - 1 - 20, START + 4 * DAY)


def test_a_page_token_of_holds_is_good_for_the_same_state_only(with_holds):
    token = with_holds.holds(ACME, page_size=1).next_page_token

    assert with_holds.holds(ACME, page_token=token, state=HoldState.OPEN).reason is Reason.INVALID_PAGE_TOKEN
    assert with_holds.lots(ACME, page_token=token).reason is Reason.INVALID_PAGE_TOKEN


def test_what_is_due_is_swept_at_its_instant_and_not_before(ledger, clock):
    bolt, dune = replace(ACME, account_id="bolt"), replace(ACME, account_id="dune")
    for name in (ACME, bolt, dune):
        ledger.execute(opening(name))
    ledger.execute(granting(10, expires_at=START + DAY))
    ledger.execute(granting(10, bolt))
    ledger.execute(holding(5, bolt, ttl=2 * DAY))
    ledger.execute(granting(10, dune, expires_at=START + 3 * DAY))
    ledger.execute(holding(10, dune, ttl=9 * DAY, held_lots=HeldLots.LAPSE))

    swept = []
    for days in (1, 2, 3):
        for clock.now in (START + days * DAY - MICROSECOND, START + days * DAY):
            swept.append(ledger.sweep())

    assert swept == [0, 1, 0, 1, 0, 1]
    assert ledger.history(dune).entries[0].moved(Code.AVAILABLE, Code.BREAKAGE) == 10
