"""The audit can fail: for each thing that can be wrong in a database, it says what is wrong and where."""

import re
import sqlite3

import pytest

from ledger import Capture, Ledger, Release
from tests.books import ACME, DAY, START, Clock, audit_findings, deducting, granting, holding, opening, request_id

# Entries: 1 open, 2 grant, 3 grant (pending), 4 hold, 5 hold, 6 capture of 4, 7 deduct, 8 hold, 9 release of 8,
# 10 lapse of lot 2's rest, 11 grant. Hold 5 is open.
OPERATIONS = (
    (START, opening()),
    (START, granting(100, expires_at=START + DAY)),
    (START, granting(50, effective_at=START + 9 * DAY)),
    (START, holding(20)),
    (START, holding(30, ttl=5 * DAY)),
    (START, Capture(request_id=request_id(), tenant=ACME.tenant, key=ACME.key, hold=4, amount=15)),
    (START, deducting(10)),
    (START, holding(1)),
    (START, Release(request_id=request_id(), tenant=ACME.tenant, key=ACME.key, hold=8)),
    (START + DAY, granting(7)),
)
OF_ACME = r"Account acme \(credits\)"

CORRUPTIONS = {
    "a line has another amount": (
        "UPDATE lines SET amount = amount + 1 WHERE seq = 7",
        rf"{OF_ACME}, entry 7 \(en_\w+\) says available is 95, but the lines up to it add up to 94\.",
    ),
    "a line has another side": (
        "UPDATE lines SET credit = 'breakage' WHERE seq = 7",
        r"Totals of credits: credits of breakage are kept as 45, but the lines add up to 55\.",
    ),
    "a line touches no side of the customer": (
        "UPDATE lines SET debit = 'payments' WHERE seq = 7",
        rf"{OF_ACME}, entry 7 \(en_\w+\) has a line from payments to revenue, which touches no side of the customer\.",
    ),
    "a line names a lot that nobody granted": (
        "UPDATE lines SET lot = 99 WHERE seq = 7",
        rf"{OF_ACME}, entry 7 \(en_\w+\) moves credits of lot 99, which no earlier entry granted\.",
    ),
    "a line is gone": (
        "DELETE FROM lines WHERE seq = 7",
        rf"{OF_ACME}, entry 7 \(en_\w+\) has a hash that is not that of its content and the entry ahead of it\.",
    ),
    "a line was added": (
        """INSERT INTO lines (account_key, seq, n, amount, lot, debit, credit)
        SELECT account_key, 7, 9, 1, 2, 'available', 'revenue' FROM accounts""",
        rf"{OF_ACME} keeps available as 57, but its entries say 56\.",
    ),
    "an entry is gone": (
        "DELETE FROM entries WHERE seq = 7",
        rf"{OF_ACME}, entry 8 \(en_\w+\) follows entry 6; entry numbers have no gaps\.",
    ),
    "the first entry is gone": (
        "DELETE FROM entries WHERE seq = 1",
        rf"{OF_ACME}, entry 2 \(en_\w+\) follows entry 0; entry numbers have no gaps\.",
    ),
    "the last entry is gone": (
        "DELETE FROM entries WHERE seq = 11",
        rf"{OF_ACME} keeps seq as 11, but its entries say 10\.",
    ),
    "an entry says another balance": (
        "UPDATE entries SET available = available + 1 WHERE seq = 7",
        rf"{OF_ACME}, entry 7 \(en_\w+\) says available is 96, but the lines up to it add up to 95\.",
    ),
    "an entry says another amount is held": (
        "UPDATE entries SET held = held + 1 WHERE seq = 7",
        rf"{OF_ACME}, entry 7 \(en_\w+\) says held is 31, but the lines up to it add up to 30\.",
    ),
    "an entry says something is owed": (
        "UPDATE entries SET owed = 1 WHERE seq = 7",
        rf"{OF_ACME}, entry 7 \(en_\w+\) says owed is 1, but the lines up to it add up to 0\.",
    ),
    "an entry says another amount is pending": (
        "UPDATE entries SET pending = 49 WHERE seq = 7",
        rf"{OF_ACME}, entry 7 \(en_\w+\) says 49 is pending, but 50 remains in lots that are not effective yet\.",
    ),
    "an entry leaves a balance below zero": (
        "UPDATE entries SET available = -1 WHERE seq = 7",
        rf"{OF_ACME}, entry 7 \(en_\w+\) leaves available at -1; it must never be negative\.",
    ),
    "an entry took effect before the one ahead of it": (
        "UPDATE entries SET effective_at = '2025-12-31T23:59:59.000000+00:00' WHERE seq = 7",
        rf"{OF_ACME}, entry 7 \(en_\w+\) took effect at 2025-12-31 23:59:59\+00:00, before the entry ahead of it",
    ),
    "a second entry opens the account": (
        "UPDATE entries SET kind = 'open' WHERE seq = 7",
        rf"{OF_ACME}, entry 7 \(en_\w+\) is of kind open; the first entry, and no other, opens the account\.",
    ),
    "the first entry does not open the account": (
        "UPDATE entries SET kind = 'grant' WHERE seq = 1",
        rf"{OF_ACME}, entry 1 \(en_\w+\) is of kind grant; the first entry, and no other, opens the account\.",
    ),
    "words beside an entry were changed": (
        "UPDATE entries SET description = 'refunded' WHERE seq = 7",
        rf"{OF_ACME}, entry 7 \(en_\w+\) has a hash that is not that of its content and the entry ahead of it\.",
    ),
    "a hash was changed": (
        "UPDATE entries SET hash = zeroblob(32) WHERE seq = 7",
        rf"{OF_ACME}, entry 8 \(en_\w+\) has a hash that is not that of its content and the entry ahead of it\.",
    ),
    "the account has another head": (
        "UPDATE accounts SET head = zeroblob(32)",
        rf"{OF_ACME} keeps head as 0{{64}}, but its entries say [0-9a-f]{{64}}\.",
    ),
    "the account has another number of entries": (
        "UPDATE accounts SET seq = 12",
        rf"{OF_ACME} keeps seq as 12, but its entries say 11\.",
    ),
    "the account has another time": (
        "UPDATE accounts SET as_of = '2026-01-03T00:00:00.000000+00:00'",
        rf"{OF_ACME} keeps as_of as 2026-01-03 00:00:00\+00:00, but its entries say 2026-01-02 00:00:00\+00:00\.",
    ),
    "the account has more available": (
        "UPDATE accounts SET available = available + 1",
        rf"{OF_ACME} keeps available as 58, but its entries say 57\.",
    ),
    "the account has more than its lots": (
        "UPDATE accounts SET available = available + 1",
        rf"{OF_ACME} has 58 available, but 57 remains in its lots\.",
    ),
    "the account has more held": (
        "UPDATE accounts SET held = held + 1",
        rf"{OF_ACME} has 31 held, but 30 of its lots is held\.",
    ),
    "the account owes something": (
        "UPDATE accounts SET owed = 1",
        rf"{OF_ACME} keeps owed as 1, but its entries say 0\.",
    ),
    "the account is gone": (
        "DELETE FROM accounts",
        r"Totals of credits: credits of revenue are kept as 25, but the lines add up to 0\.",
    ),
    "a lot has less": (
        "UPDATE lots SET remaining = remaining - 1 WHERE lot = 3",
        rf"{OF_ACME}, lot 3 is kept as 49 remaining and 0 held of 50, but its entries say 50 remaining",
    ),
    "more of a lot is held": (
        "UPDATE lots SET held = held + 1 WHERE lot = 2",
        rf"{OF_ACME}, lot 2 has 31 held, but open holds drew 30\.",
    ),
    "a lot is gone": (
        "DELETE FROM lots WHERE lot = 3",
        rf"{OF_ACME}, entry 3 \(en_\w+\) moves credits of lot 3, which no earlier entry granted\.",
    ),
    "a lot was added": (
        """INSERT INTO lots (account_key, lot, granted, remaining, held, effective_at, priority, open, source)
        SELECT account_key, 12, 5, 5, 0, effective_at, priority, 1, source FROM lots WHERE lot = 2""",
        rf"{OF_ACME}, lot 12 is kept as 5 remaining and 0 held of 5, but its entries say not there\.",
    ),
    "a lot has another priority": (
        "UPDATE lots SET priority = 0 WHERE lot = 2",
        rf"{OF_ACME}, entry 2 \(en_\w+\) has a hash that is not that of its content and the entry ahead of it\.",
    ),
    "a lot that has something is marked as closed": (
        "UPDATE lots SET open = 0 WHERE lot = 3",
        rf"{OF_ACME}, lot 3 is kept as closed, but has 50 remaining and 0 held of 50\.",
    ),
    "a lot that has run out still has something": (
        "UPDATE lots SET expires_at = '2026-01-02T00:00:00.000000+00:00' WHERE lot = 3",
        rf"{OF_ACME}, lot 3 ran out at 2026-01-02 00:00:00\+00:00, by the time of the last entry, but 50 remains",
    ),
    "an open hold has another amount": (
        "UPDATE holds SET amount = 31 WHERE hold = 5",
        rf"{OF_ACME}, hold 5 is open with 31 until 2026-01-06 00:00:00\+00:00, which is not what its entries say\.",
    ),
    "an open hold drew on other lots": (
        "UPDATE holds SET drawn = '3:30' WHERE hold = 5",
        rf"{OF_ACME}, lot 3 has 0 held, but open holds drew 30\.",
    ),
    "an open hold lasts longer": (
        "UPDATE holds SET expires_at = '2027-01-01T00:00:00.000000+00:00' WHERE hold = 5",
        rf"{OF_ACME}, hold 5 is open with 30 until 2027-01-01 00:00:00\+00:00, which is not what its entries say\.",
    ),
    "an open hold has run out": (
        "UPDATE holds SET expires_at = '2026-01-02T00:00:00.000000+00:00' WHERE hold = 5",
        rf"{OF_ACME}, hold 5 ran out at 2026-01-02 00:00:00\+00:00, by the time of the last entry, but is open\.",
    ),
    "an open hold is marked as ended": (
        "UPDATE holds SET open = 0, state = 'released' WHERE hold = 5",
        rf"{OF_ACME}, hold 5 is not open, but its entries hold 30 for it\.",
    ),
    "an open hold is gone": (
        "DELETE FROM holds WHERE hold = 5",
        rf"{OF_ACME}, hold 5 is not open, but its entries hold 30 for it\.",
    ),
    "a hold that has ended is open again": (
        "UPDATE holds SET open = 1, state = 'open', ended_at = NULL WHERE hold = 4",
        rf"{OF_ACME}, hold 4 is open with 20 until 2026-01-01 00:15:00\+00:00, which is not what its entries say\.",
    ),
    "a total has more": (
        "UPDATE totals SET credits = '26' WHERE code = 'revenue'",
        r"Totals of credits: credits of revenue are kept as 26, but the lines add up to 25\.",
    ),
    "totals do not balance": (
        "UPDATE totals SET credits = '26' WHERE code = 'revenue'",
        r"Totals of credits: debits are \d+, credits \d+; they must be equal\.",
    ),
    "a total is gone": (
        "DELETE FROM totals WHERE code = 'revenue'",
        r"Totals of credits: credits of revenue are kept as 0, but the lines add up to 25\.",
    ),
    "a total is of an asset that has no entries": (
        """INSERT INTO totals (writer, tenant, asset, code, debits, credits)
        VALUES (1, 'default', 'tokens', 'revenue', '0', '5')""",
        r"Totals of tokens: credits of revenue are kept as 5, but the lines add up to 0\.",
    ),
    "something is in clearing": (
        """INSERT INTO totals (writer, tenant, asset, code, debits, credits)
        VALUES (1, 'default', 'credits', 'transfers', '5', '0')""",
        r"Totals of credits: transfers debits 5 and credits 0; it must be zero\.",
    ),
}


@pytest.fixture(scope="module")
def sound_books(tmp_path_factory):
    """The bytes of a SQLite database in which all is well; no test writes to it."""
    path = tmp_path_factory.mktemp("audit") / "scrip.db"
    clock = Clock()
    with Ledger(f"sqlite:///{path}", clock=clock) as ledger:
        for clock.now, operation in OPERATIONS:
            ledger.execute(operation)
    return path.read_bytes()


@pytest.fixture
def books(sound_books, tmp_path):
    """A copy of the sound books, not audited afterwards."""
    path = tmp_path / "scrip.db"
    path.write_bytes(sound_books)
    return path


def corrupt(path, statement):
    """Does what no constraint may stand in the way of."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA ignore_check_constraints = ON")
    changed = connection.execute(statement).rowcount
    connection.commit()
    connection.close()
    return changed


def test_sound_books_are_clean(books):
    assert audit_findings(f"sqlite:///{books}") == []


@pytest.mark.parametrize("what", CORRUPTIONS)
def test_what_is_wrong_is_told_in_a_sentence(what, books):
    statement, sentence = CORRUPTIONS[what]
    changed = corrupt(books, statement)

    findings = audit_findings(f"sqlite:///{books}")

    assert changed > 0
    assert [finding for finding in findings if re.match(sentence, finding)] != [], findings


def test_the_sound_books_have_every_kind_of_thing_that_can_be_corrupted(books):
    connection = sqlite3.connect(books)

    kinds = [kind for (kind,) in connection.execute("SELECT kind FROM entries ORDER BY seq")]

    connection.close()
    assert " ".join(kinds) == "open grant grant hold hold capture deduct hold release lot_lapse grant"


def test_only_a_hundred_findings_are_told_but_all_are_counted(tmp_path):
    url = f"sqlite:///{tmp_path / 'scrip.db'}"
    with Ledger(url, clock=Clock()) as ledger:
        ledger.execute(opening())
        for answer in [ledger.queue(granting(1)) for _ in range(120)]:
            answer.result()
    corrupt(tmp_path / "scrip.db", "UPDATE entries SET actor = 'mallory' WHERE seq > 1")

    with Ledger(url, clock=Clock()) as ledger:
        report = ledger.audit(ACME.tenant)

    assert (len(report.findings), report.findings_total) == (100, 120)


def test_one_customers_audit_says_nothing_of_another(tmp_path):
    url = f"sqlite:///{tmp_path / 'scrip.db'}"
    with Ledger(url, clock=Clock()) as ledger:
        ledger.execute(opening())
        ledger.execute(granting(100))
    corrupt(tmp_path / "scrip.db", "UPDATE accounts SET available = 101")
    with Ledger(url, clock=Clock()) as ledger:
        bolt = opening().account
        ledger.execute(opening(type(bolt)(tenant=bolt.tenant, account_id="bolt", asset=bolt.asset)))

        of_acme, of_bolt = ledger.audit(ACME.tenant, "acme"), ledger.audit(ACME.tenant, "bolt")

    assert of_acme.findings_total > 0
    assert of_bolt.findings_total == 0
