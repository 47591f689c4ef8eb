"""The audit can fail: for each thing that can be wrong in a database, it says what is wrong and where."""

import ast
import inspect
import re
import sqlite3
from dataclasses import replace

import pytest

from ledger import (
    Accepted,
    AccountName,
    Capture,
    Ledger,
    Memo,
    Money,
    Release,
    RollOver,
    Source,
    audit,
    audit_money,
    audit_use,
)
from ledger.administration import (
    Adjust,
    Direction,
    Freeze,
    Merge,
    Revoke,
    SpentPart,
    Unfreeze,
    UpdateAccount,
    WriteOff,
)
from ledger.operations import ExpiredLots, ExtendHold, IncreaseHold, Refund, Transfer
from tests.books import (
    ACME,
    DAY,
    START,
    Clock,
    audit_findings,
    deducting,
    granting,
    holding,
    opening,
    request_id,
    transferring,
)
from tests.corruptions import CORRUPTIONS
from tests.corruptions_of_use import CORRUPTIONS_OF_USE
from tests.story_of_use import CARDS, STORY_OF_USE

BOLT, LEAD = replace(ACME, account_id="bolt"), replace(ACME, account_id="lead")
# Whose credits were paid for.
PAID, PAL = (AccountName(tenant=ACME.tenant, account_id=name, asset="minutes") for name in ("paid", "pal"))
WHY = Memo(description="mistake", actor="ann")


def of_acme(**part):
    return {"request_id": request_id(), "tenant": ACME.tenant, "key": ACME.key, **part}


def by_acme(**part):
    return {"request_id": request_id(), "account": ACME, **part}


def of_paid(**part):
    return {"request_id": request_id(), "tenant": PAID.tenant, "key": PAID.key, **part}


# What is done on which day; the numbers are those of Acme's entries. Holds 5 and 24 stay open.
STORY = (
    (0, opening(BOLT)),
    (0, opening(LEAD)),
    (0, opening()),  # 1
    (0, granting(100, expires_at=START + DAY)),  # 2, lot 1
    (0, granting(50, effective_at=START + 9 * DAY)),  # 3, lot 2, pending
    (0, replace(holding(20), tolerance=3)),  # 4
    (0, holding(30, ttl=5 * DAY)),  # 5
    (0, Capture(**of_acme(hold=4), amount=15)),  # 6
    (0, deducting(10)),  # 7
    (0, holding(1)),  # 8
    (0, Release(**of_acme(hold=8))),  # 9
    (0, IncreaseHold(**of_acme(hold=5), amount=2)),  # 10
    (0, Capture(**of_acme(hold=5), amount=2, final=False)),  # 11
    (0, Refund(**of_acme(entry=7), amount=4)),  # 12
    (0, Transfer(**by_acme(to=BOLT), amount=5)),  # 13; Bolt's 2
    (0, Freeze(**by_acme(memo=WHY))),  # 14
    (0, Unfreeze(**by_acme())),  # 15
    (0, Revoke(**of_acme(lot=1), amount=2, spent=SpentPart.LEAVE)),  # 16
    (0, opening(PAL)),
    (0, opening(PAID)),  # the paid one's 1
    (0, granting(10, PAID, source=Source.PURCHASE, cost=Money(minor_units=101, currency="EUR"), ttl=DAY)),  # 2, lot 1
    (0, deducting(4, PAID)),  # 3: 40 of the cost, of which 61 stay
    (0, Refund(**of_paid(entry=3), amount=1)),  # 4: 10
    (0, Revoke(**of_paid(lot=1), amount=1, spent=SpentPart.LEAVE)),  # 5: 10, of 71
    (1, Refund(**of_paid(entry=3), amount=1, expired_lots=ExpiredLots.NEW_LOT, lot_ttl=DAY)),  # 6: 61 lapse; 7, lot 2
    (1, RollOver(**of_paid(lot=1), amount=3, ttl=None)),  # 8, lot 3: 31
    (1, Revoke(**of_paid(lot=1), amount=2, spent=SpentPart.OWE)),  # 9: 9 of 20, of which 11 stay with 1
    (1, transferring(1, PAID, PAL)),  # 10: all of lot 2
    (1, granting(7, scope=("image/*",))),  # 17 is the lapse of lot 1; 18, lot 3
    (1, Adjust(**by_acme(memo=WHY), direction=Direction.UP, amount=1)),  # 19, lot 4
    (1, UpdateAccount(**by_acme(overdraft_limit=10))),  # 20
    (1, replace(deducting(12), operation="image/generate")),  # 21: lots 3 and 4, and 4 are owed
    (1, WriteOff(**by_acme(memo=WHY), amount=1)),  # 22
    (1, UpdateAccount(**by_acme(unlimited=True))),  # 23
    (1, holding(6, ttl=5 * DAY)),  # 24, of what a plan covers
    (1, ExtendHold(**of_acme(hold=5), ttl=6 * DAY)),  # 25
    (1, Refund(**of_acme(entry=7), amount=3, expired_lots=ExpiredLots.EXTEND, lot_ttl=DAY)),  # 26
    (1, granting(9, LEAD)),
    (1, Merge(request_id=request_id(), account=LEAD, into=ACME)),  # 27, lot 5; the lead's 3
)
KINDS = """open grant grant hold hold capture deduct hold release increase_hold capture refund transfer_out
freeze unfreeze revoke lot_lapse grant adjust update deduct write_off update hold extend_hold refund merge_in"""


@pytest.fixture(scope="module")
def sound_books(tmp_path_factory):
    """The bytes of a SQLite database in which all is well; no test writes to it."""
    path = tmp_path_factory.mktemp("audit") / "scrip.db"
    clock = Clock()
    with Ledger(f"sqlite:///{path}", clock=clock) as ledger:
        ledger.define_asset(PAID.tenant, PAID.asset, 0)
        for days, operation in STORY:
            clock.now = START + days * DAY
            outcome = ledger.execute(operation)
            assert isinstance(outcome, Accepted), outcome
        clock.now = START + 1.02 * DAY
        ledger.sweep()
    return path.read_bytes()


@pytest.fixture(scope="module")
def sound_books_of_use(tmp_path_factory):
    """So are these, with prices and spend limits, and a second account that nobody corrupts."""
    path = tmp_path_factory.mktemp("audit") / "scrip.db"
    clock = Clock()
    with Ledger(f"sqlite:///{path}", clock=clock) as ledger:
        ledger.apply_rate_cards(ACME.tenant, ACME.asset, CARDS)
        ledger.execute(opening(BOLT))
        for days, operation in STORY_OF_USE:
            clock.now = START + days * DAY
            outcome = ledger.execute(operation)
            assert isinstance(outcome, Accepted), outcome
    return path.read_bytes()


@pytest.fixture
def books_of_use(sound_books_of_use, tmp_path):
    path = tmp_path / "scrip.db"
    path.write_bytes(sound_books_of_use)
    return path


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
    for name in (ACME, LEAD, PAID):
        rows = f"account_key = '{name.key}'"
        statement = statement.replace(f"IN_{name.account_id.upper()}", rows)
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


def test_sound_books_of_use_are_clean(books_of_use):
    assert audit_findings(f"sqlite:///{books_of_use}") == []


@pytest.mark.parametrize("what", CORRUPTIONS_OF_USE)
def test_what_is_wrong_with_prices_or_cannot_be_read_is_told_in_a_sentence(what, books_of_use):
    statement, sentence = CORRUPTIONS_OF_USE[what]
    changed = corrupt(books_of_use, statement)

    findings = audit_findings(f"sqlite:///{books_of_use}")

    assert changed > 0
    assert [finding for finding in findings if re.match(sentence, finding)] != [], findings


def test_an_account_that_cannot_be_read_keeps_no_other_from_being_audited(books_of_use):
    corrupt(books_of_use, "UPDATE entries SET charge = 'x' WHERE seq = 4 AND IN_ACME")
    corrupt(books_of_use, "UPDATE accounts SET available = 1 WHERE account_id = 'bolt'")

    findings = audit_findings(f"sqlite:///{books_of_use}")

    assert sum("acme" in finding for finding in findings) == 1
    assert "Account bolt (credits) keeps available as 1, but its entries say 0." in findings
    assert not any("Totals" in finding for finding in findings)


def test_the_sound_books_have_every_kind_of_thing_that_can_be_corrupted(books):
    connection = sqlite3.connect(books)

    kinds = connection.execute("SELECT kind FROM entries WHERE account_key = ? ORDER BY seq", (ACME.key,)).fetchall()
    connection.close()
    assert [kind for (kind,) in kinds] == KINDS.split()


def test_every_sentence_of_the_audit_has_its_corruption():
    """Told from the source: a sentence is what is yielded, and its corruption is in the table by its longest words."""
    sources = [ast.parse(inspect.getsource(module)) for module in (audit, audit_money, audit_use)]
    yields = [node.value for source in sources for node in ast.walk(source) if isinstance(node, ast.Yield)]
    parts = [[part.value for part in ast.walk(one) if isinstance(part, ast.Constant)] for one in yields]
    told = [sentence.replace("\\", "") for _, sentence in (CORRUPTIONS | CORRUPTIONS_OF_USE).values()]

    sentences = [[part.strip() for part in of_one if isinstance(part, str)] for of_one in parts]
    longest = [max(words, key=len) for words in sentences if words]
    untold = [words for words in longest if not any(words[:25] in sentence for sentence in told)]

    assert len(longest) > 30
    assert untold == []


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
