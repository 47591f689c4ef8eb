"""What becomes of a ledger that is closed, whose answers cannot be told, or whose books a bug has touched."""

from concurrent.futures import Future

import pytest

from ledger import (
    AccountName,
    DatabaseUnavailableError,
    DeductMode,
    Ledger,
    MalformedError,
    OpenAccount,
    Reason,
    Settle,
    SpendLimit,
    StoppingError,
    UpdateAccount,
    Window,
    deliver,
)
from ledger.model import INT64_MAX
from tests.books import ACME, DAY, Clock, deducting, granting, opening, refunding, touch

PATIENCE_S = 10


def test_a_closed_ledger_neither_writes_nor_reads(sqlite_url, clock):
    ledger = Ledger(sqlite_url, clock=clock)
    ledger.open()
    ledger.execute(opening())

    ledger.close()

    for ask in (
        lambda: ledger.execute(granting(1)),
        lambda: ledger.balances(ACME.tenant, ACME.account_id),
        lambda: ledger.define_asset(ACME.tenant, "tokens", 6),
    ):
        with pytest.raises((DatabaseUnavailableError, StoppingError)):
            ask()


def test_a_ledger_that_drains_takes_nothing_more_but_can_be_read(ledger):
    ledger.execute(opening())

    ledger.drain()

    with pytest.raises(StoppingError):
        ledger.execute(granting(1))
    assert ledger.balances(ACME.tenant, ACME.account_id).balances[0].available == 0


def test_the_writer_lives_on_when_nobody_can_be_told(sqlite_url, clock):
    told = []

    def deliver_but_first(outcomes):
        told.append(outcomes)
        if len(told) == 1:
            raise BrokenPipeError("nobody listens")
        deliver(outcomes)

    with Ledger(sqlite_url, clock=clock, deliver_all=deliver_but_first) as ledger:
        unheard = Future()
        ledger.submit(opening(), unheard)
        with pytest.raises(Exception, match="the outcome is unknown"):
            unheard.result(PATIENCE_S)

        heard = ledger.queue(granting(7))

        assert heard.result(PATIENCE_S).entry.available == 7


def test_a_tenant_with_a_slash_cannot_take_another_tenants_account():
    with pytest.raises(MalformedError, match="tenant must be"):
        OpenAccount(request_id="r", account=AccountName(tenant="a/b", account_id="c", asset="d"))


def test_what_is_used_under_spend_limits_may_outgrow_64_bits(ledger):
    windows = {"daily": {"window": Window.DAY}, "rolling": {"window": Window.ROLLING, "length": DAY}}
    limits = tuple(SpendLimit(name=name, amount=INT64_MAX, **window) for name, window in windows.items())
    ledger.execute(opening())
    ledger.execute(UpdateAccount(request_id="limits", account=ACME, limits=limits))
    for _ in range(3):
        ledger.execute(granting(INT64_MAX))
        last = ledger.execute(deducting(INT64_MAX, mode=DeductMode.RECORD)).entry
    ledger.execute(granting(100))

    refused = ledger.execute(deducting(1))
    ledger.execute(refunding(last, 50))
    refused_again = ledger.execute(deducting(1))

    assert (refused.reason, refused.figures["used"]) == (Reason.SPEND_LIMIT_REACHED, 3 * INT64_MAX)
    assert refused_again.figures["used"] == 3 * INT64_MAX - 50


def test_sweeping_writes_the_lapses_of_every_idle_account(sqlite_url):
    clock = Clock()
    with Ledger(sqlite_url, clock=clock) as ledger:
        names = [AccountName(tenant=ACME.tenant, account_id=f"customer-{n}", asset=ACME.asset) for n in range(250)]
        asked = [ledger.queue(ask) for name in names for ask in (opening(name), granting(1, name, ttl=DAY))]
        for answer in asked:
            answer.result(PATIENCE_S)
        clock.now += DAY

        swept, again = ledger.sweep(), ledger.sweep()

    assert (swept, again) == (250, 0)


def test_an_account_that_cannot_be_settled_keeps_no_other_from_its_turn(tmp_path):
    clock = Clock()
    with Ledger(f"sqlite:///{tmp_path / 'touched.db'}", clock=clock) as ledger:
        ledger.execute(opening())
        ledger.execute(granting(5, ttl=DAY))
        healthy = AccountName(tenant=ACME.tenant, account_id="healthy", asset=ACME.asset)
        ledger.execute(opening(healthy))
        ledger.execute(granting(5, healthy))
        touch(str(ledger), "UPDATE accounts SET available = 1 WHERE account_id = 'acme'")
        clock.now += DAY

        broken, well = ledger.queue(Settle(key=ACME.key)), ledger.queue(deducting(5, healthy))

        assert well.result(PATIENCE_S).entry.available == 0
        with pytest.raises(Exception, match="incident"):
            broken.result(PATIENCE_S)
