"""Every law in tests/scenarios, held against the pure core, both engines, and a server over gRPC."""

import re
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
import scrip

from ledger import EntryKind, Ledger, Reason
from server.config import Settings
from tests.books import Clock
from tests.grammar import CHANGED, FORMS, ScenarioError, parse
from tests.grpc_target import GrpcTarget
from tests.ledger_target import LedgerTarget
from tests.pure_target import PureTarget
from tests.running_server import RunningServer
from tests.scenario import Law, laws, run

DIRECTORY = Path(__file__).parent / "scenarios"
LAWS = tuple(laws(DIRECTORY))
ROWS = tuple(parse(text) for law in LAWS for _, text in law.rows)
TARGETS = ("pure", "sqlite", "postgresql", "grpc")
TENANTS = count(1)
# What is refused about sales, not by the books.
OF_PAYMENTS = frozenset(
    {
        *("PACKAGE_NOT_FOUND", "PACKAGE_EXISTS", "PLAN_NOT_FOUND", "ORDER_NOT_FOUND", "ORDER_NOT_FULFILLABLE"),
        *("PAYMENTS_NOT_CONFIGURED", "STRIPE_UNAVAILABLE", "STRIPE_REFUSED", "EVENT_NOT_FOUND", "NO_PAYMENT_METHOD"),
        "CHANGED_MEANWHILE",
    }
)


def name_of(law: Law) -> str:
    return f"{law.where.split('.')[0]}-{'_'.join(re.findall(r'[a-z0-9]+', law.sentence.lower()))[:80]}"


@contextmanager
def shared_books(url):
    """One ledger for all laws, each of which is a tenant of its own and audits itself; the clock is set by it, too."""
    clock = Clock()
    with Ledger(url, clock=clock) as ledger:
        yield ledger, clock


@pytest.fixture(scope="module")
def sqlite_books(tmp_path_factory):
    with shared_books(f"sqlite:///{tmp_path_factory.mktemp('scenarios') / 'scrip.db'}") as books:
        yield books


@pytest.fixture(scope="module")
def postgres_books(postgres):
    with shared_books(postgres.create_database()) as books:
        yield books


@pytest.fixture
def pure(clock):
    return PureTarget(clock)


@pytest.fixture
def sqlite(sqlite_books):
    return LedgerTarget(*sqlite_books, tenant=f"law-{next(TENANTS)}")


@pytest.fixture
def postgresql(postgres_books):
    return LedgerTarget(*postgres_books, tenant=f"law-{next(TENANTS)}")


@pytest.fixture
def grpc(sqlite_url, clock):
    settings = Settings(database=sqlite_url, listen="127.0.0.1:0", sweep_s=0, drain_s=0)
    with RunningServer(settings, clock) as server, scrip.Client(f"127.0.0.1:{server.port}", deadline_s=60) as client:
        yield GrpcTarget(client, clock)


@pytest.fixture(params=TARGETS)
def target(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("law", LAWS, ids=name_of)
def test_the_law_holds(law, target):
    unanswered = run(law, target)

    assert unanswered == sum(parse(text).command in target.cannot for _, text in law.rows)


@pytest.mark.parametrize("law", LAWS, ids=name_of)
def test_what_a_preview_tells_is_what_then_happens(law, sqlite):
    """On one engine: a preview reads with the statements with which the change then reads, on any of them.

    tests/test_preview.py previews what is drawn on both.
    """
    run(law, sqlite, previewed=True)


def test_only_the_pure_core_leaves_rows_out_and_only_explanations():
    assert PureTarget.cannot == {"explain", "money", "revenue"}
    assert LedgerTarget.cannot == GrpcTarget.cannot == frozenset()


def test_every_reason_occurs():
    outcomes = {row.outcome for row in ROWS}

    assert {reason.name for reason in Reason} - OF_PAYMENTS <= outcomes


def test_every_request_occurs_and_every_change_is_previewed():
    assert {row.command for row in ROWS} == set(FORMS)
    assert {row.command for row in ROWS if row.is_preview} == {*CHANGED, "batch", "atomic"}


def test_every_kind_of_entry_is_listed():
    listed = {word.partition(":")[2].rstrip("*") for row in ROWS for word in row.lists.get("entries", ())}

    # What rolls over does so because a subscription is renewed; nobody can ask for it by itself.
    assert listed == {kind.value for kind in EntryKind} - {EntryKind.ROLL_OVER.value}


def test_every_law_has_a_sentence_of_its_own():
    sentences = [law.sentence for law in LAWS]

    assert len(set(sentences)) == len(sentences)
    assert all(sentence.endswith(".") for sentence in sentences)


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("burn acme 5 ok available=0", "burn is not a request"),
        ("preview balance acme ok available=0", "balance is not a change"),
        ("deduct acme 5", "a row has one outcome"),
        ("at 5m ok", "a row has one outcome"),
        ("grant acme ok available=0", "grant takes 2 to 2 words, not 1"),
        ("transfer acme into bolt 5 ok available=0", "transfer has the word to where this says into"),
        ("deduct acme 5 ttl=1d ok available=0", "deduct does not take ttl"),
        ("deduct acme five INSUFFICIENT_CREDITS available=0", "five is not an amount"),
        ("capture h final=perhaps HOLD_NOT_FOUND available=0", "perhaps is neither yes nor no"),
        ("at tomorrow", "tomorrow is not a time"),
        ("deduct acme 5 INSUFFICIENT_CREDITS", "say how the account stands"),
        ("deduct acme 5 INSUFFICIENT_CREDITS available", "available is neither a figure nor part of a list"),
        ("deduct acme 5 ok available=0", "answered INSUFFICIENT_CREDITS"),
        ("deduct acme 5 INSUFFICIENT_CREDITS available=1", "the account stands at Standing\\(available=0"),
        ("deduct acme 5 INSUFFICIENT_CREDITS available=0 shortfall=4", "shortfall is 5, not 4"),
        ("deduct acme 5 INSUFFICIENT_CREDITS available=0 entry=4", "the answer does not say entry"),
        ("balance bolt ACCOUNT_NOT_FOUND available=0", "there is no account to stand in any way"),
        ("preview grant acme 5 ok available=4", "the answer says that the account stands at Standing\\(available=5"),
        ("balance acme at=0s ok available=1", "the answer says that the account stands at Standing\\(available=0"),
        ("grant acme 5 ok available=5 lines promotions>available:4@a", "the lines are promotions>available:5@#1"),
        ("grant acme 5 as=a ok available=5 lots a=4", "the lots have {'a': 5}"),
        ("grant acme 5 ok available=5 lots b=5", "there is no lot b"),
        ("history acme ok available=0 entries 1:grant", "the entries are 1:open"),
        ("trial_balance ok totals revenue=0/5", "the totals are none"),
        ("batch ok", "a batch, and nothing else, is followed by indented rows"),
    ],
)
def test_a_row_that_does_not_hold_or_cannot_be_read_fails_with_its_place(row, complaint, pure):
    law = Law(
        where="laws.txt:1", sentence="A law.", rows=(("laws.txt:2", "balance acme ok available=0"), ("laws.txt:3", row))
    )

    with pytest.raises(ScenarioError, match=rf"^laws\.txt:3: {complaint}"):
        run(law, pure)


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        (("grant acme 5 ok available=5", "  deduct acme 5 ok"), "a batch, and nothing else, is followed by"),
        (("batch ok", "  balance acme ok"), "a batch is made of changes"),
        (("batch ok", "  preview grant acme 5 ok"), "a batch is made of changes"),
        (("batch ok", "  grant acme 5 ok available=4"), "the answer says that the account stands at"),
        (("batch ok", "  grant acme 5"), "answered ok"),
        (("batch ok", "  grant acme 5 INSUFFICIENT_CREDITS"), "answered ok"),
        (("atomic INSUFFICIENT_CREDITS operation=1", "  deduct acme 5"), "operation is 0, not 1"),
        (
            ("atomic INSUFFICIENT_CREDITS operation=0", "  deduct acme 5 INSUFFICIENT_CREDITS"),
            "a batch that is refused",
        ),
    ],
)
def test_a_batch_that_does_not_hold_or_cannot_be_read_fails_with_its_place(rows, complaint, pure):
    law = Law(
        where="laws.txt:1", sentence="A law.", rows=tuple((f"laws.txt:{2 + n}", row) for n, row in enumerate(rows))
    )

    with pytest.raises(ScenarioError, match=rf"^laws\.txt:2: {complaint}"):
        run(law, pure)


@pytest.mark.parametrize("text", ["grant acme 5 ok available=5\n", "# A law without rows.\n"])
def test_a_block_is_a_sentence_and_rows(text, pure, tmp_path):
    (tmp_path / "laws.txt").write_text(text)
    (law,) = laws(tmp_path)

    with pytest.raises(ScenarioError, match=r"^laws\.txt:1: a law is a sentence and rows"):
        run(law, pure)
