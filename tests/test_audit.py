"""The audit finds whatever is changed behind the ledger's back, and says where."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import create_engine, text

from ledger import Capture, Deduct, Grant, Ledger, OpenAccount, PlaceHold, Source
from ledger.reports import FINDINGS_MAX
from tests.books import ACME, START, Clock

TENANT = ACME.tenant


@pytest.fixture
def books(tmp_path):
    """Acme's books, with two lots, an ended hold and an open one of 8; entries 1 to 7. Not audited afterwards."""
    clock = Clock()
    with Ledger(f"sqlite:///{tmp_path / 'scrip.db'}", clock=clock) as ledger:
        ledger.execute(OpenAccount(request_id="open", account=ACME))
        ledger.execute(Grant(request_id="a", account=ACME, amount=20, source=Source.PROMO, ttl=timedelta(days=1)))
        ledger.execute(Grant(request_id="b", account=ACME, amount=30, source=Source.PURCHASE))
        ledger.execute(Deduct(request_id="deduct", account=ACME, amount=5))
        ledger.execute(PlaceHold(request_id="ended", account=ACME, amount=10))
        ledger.execute(Capture(request_id="capture", tenant=TENANT, key=ACME.key, hold=5, amount=7))
        ledger.execute(PlaceHold(request_id="open hold", account=ACME, amount=8))
        yield ledger


@pytest.fixture
def tamper(tmp_path, books):
    """Changes the books with a statement of SQL."""
    engine = create_engine(f"sqlite:///{tmp_path / 'scrip.db'}")

    def run(statement: str) -> None:
        with engine.begin() as connection:
            assert connection.execute(text(statement)).rowcount > 0

    yield run
    engine.dispose()


def test_books_that_nobody_touched_are_clean(books):
    report = books.audit(TENANT)

    assert report.findings == ()
    assert (report.accounts, report.entries) == (1, 7)


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("UPDATE accounts SET available = available + 1", "Account acme (credits) keeps available as 31, but"),
        ("UPDATE accounts SET held = held + 1", "Account acme (credits) keeps held as 9, but its entries say 8."),
        ("UPDATE accounts SET owed = 1", "Account acme (credits) keeps owed as 1, but its entries say 0."),
        ("UPDATE accounts SET seq = seq + 1", "Account acme (credits) keeps seq as 8, but its entries say 7."),
        ("UPDATE accounts SET head = zeroblob(32)", "Account acme (credits) keeps head as 0000"),
        ("UPDATE accounts SET as_of = '2026-01-02T00:00:00.000000+00:00'", "keeps as_of as 2026-01-02 00:00:00+00:00"),
        (
            "UPDATE entries SET available = available + 1 WHERE seq = 4",
            "says available is 46, but the lines up to it add",
        ),
        ("UPDATE entries SET description = 'edited' WHERE seq = 4", "has a hash that is not that of its content"),
        ("UPDATE entries SET request_id = 'another' WHERE seq = 4", "has a hash that is not that of its content"),
        ("UPDATE entries SET hash = zeroblob(32) WHERE seq = 4", "has a hash that is not that of its content"),
        ("DELETE FROM entries WHERE seq = 4", "follows entry 3; entry numbers have no gaps."),
        ("UPDATE entries SET kind = 'open' WHERE seq = 4", "is of kind open; the first entry, and no other,"),
        (
            "UPDATE entries SET effective_at = '2025-01-01T00:00:00.000000+00:00' WHERE seq = 4",
            "took effect at 2025-01-01 00:00:00+00:00, before the entry ahead of it",
        ),
        (
            "UPDATE lines SET amount = amount + 1 WHERE seq = 4",
            "says available is 45, but the lines up to it add up to 44",
        ),
        (
            "UPDATE lines SET credit = 'breakage' WHERE seq = 4",
            "Totals of credits: credits of revenue are kept as 12, but",
        ),
        ("UPDATE lines SET debit = 'plans' WHERE seq = 4", "which touches no side of the customer"),
        ("UPDATE lines SET lot = 99 WHERE seq = 4", "moves credits of lot 99, which no earlier entry granted."),
        ("DELETE FROM lines WHERE seq = 4", "says available is 45, but the lines up to it add up to 50."),
        ("UPDATE lots SET remaining = remaining - 1 WHERE lot = 3", "lot 3 is kept as 29 remaining"),
        ("UPDATE lots SET held = held - 1 WHERE lot = 2", "lot 2 has 7 held, but open holds drew 8."),
        ("UPDATE lots SET priority = 1 WHERE lot = 2", "has a hash that is not that of its content"),
        ("UPDATE lots SET expires_at = NULL WHERE lot = 2", "has a hash that is not that of its content"),
        ("DELETE FROM lots WHERE lot = 3", "moves credits of lot 3, which no earlier entry granted."),
        ("UPDATE holds SET amount = 9 WHERE hold = 7", "hold 7 is open with 9"),
        ("UPDATE holds SET drawn = '3:8' WHERE hold = 7", "hold 7 is open with 8"),
        ("UPDATE holds SET open = 1 WHERE hold = 5", "hold 5 is open with 10"),
        ("UPDATE holds SET open = 0 WHERE hold = 7", "hold 7 is not open, but its entries hold 8 for it."),
        (
            "UPDATE totals SET debits = '1' WHERE code = 'payments'",
            "debits of payments are kept as 1, but the lines add up",
        ),
        ("UPDATE totals SET credits = '1' WHERE code = 'revenue'", "Totals of credits: debits are"),
        (
            "UPDATE totals SET code = 'transfers' WHERE code = 'payments'",
            "transfers debits 30 and credits 0; it must be zero",
        ),
        ("DELETE FROM accounts", "Totals of credits: debits of payments are kept as 30, but the lines add up to 0."),
    ],
)
def test_whatever_is_changed_behind_its_back_is_found(books, tamper, statement, sentence):
    tamper(statement)

    report = books.audit(TENANT)

    assert any(sentence in finding for finding in report.findings), report.findings


def test_an_account_is_audited_by_itself(books, tamper):
    tamper("UPDATE accounts SET available = available + 1")
    other = replace(ACME, account_id="other")
    books.execute(OpenAccount(request_id="open", account=other))

    touched = books.audit(TENANT, ACME.account_id)
    untouched = books.audit(TENANT, other.account_id)

    assert touched.findings_total > 0
    assert (untouched.findings_total, untouched.accounts) == (0, 1)


def test_more_findings_than_are_told_are_counted(books, tamper):
    for number in range(FINDINGS_MAX):
        books.execute(Grant(request_id=f"{number}", account=ACME, amount=1, source=Source.FREE))
    tamper("UPDATE entries SET hash = zeroblob(32)")

    report = books.audit(TENANT)

    assert len(report.findings) == FINDINGS_MAX
    assert report.findings_total > FINDINGS_MAX


def test_what_has_lapsed_but_is_not_written_is_no_finding(tmp_path):
    clock = Clock()
    with Ledger(f"sqlite:///{tmp_path / 'lapsed.db'}", clock=clock) as ledger:
        ledger.execute(OpenAccount(request_id="open", account=ACME))
        ledger.execute(Grant(request_id="a", account=ACME, amount=20, source=Source.PROMO, ttl=timedelta(days=1)))
        clock.now = START + timedelta(days=2)

        report = ledger.audit(TENANT)

    assert report.findings == ()
