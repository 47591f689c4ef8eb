"""A bug fails the operation that it is in, under an id; its neighbours do not notice."""

import io
import sqlite3

import psycopg
import pytest
import structlog
from sqlalchemy import make_url

from ledger import Accepted, Batch, Deduct, IncidentError, Ledger, Memo, decide
from tests.books import ACME, deducting, granting, holding, request_id, transferring
from tests.conftest import audited
from tests.faults.customers import (
    PATIENCE_S,
    available,
    customers,
    each_times_written,
    open_accounts,
    times_written,
)

OTHER = customers(1)[0]
SECRET = "what only the caller may know"
MEMO = Memo(description=SECRET, metadata={"note": SECRET})

BREAK_SQLITE = """
    CREATE TRIGGER unlucky BEFORE INSERT ON entries WHEN NEW.request_id LIKE 'unlucky%'
    BEGIN SELECT RAISE(ABORT, 'unlucky'); END;
"""
BREAK_POSTGRESQL = """
    CREATE FUNCTION unlucky() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN RAISE EXCEPTION 'unlucky' USING ERRCODE = 'check_violation'; END$$;
    CREATE TRIGGER unlucky BEFORE INSERT ON entries FOR EACH ROW WHEN (NEW.request_id LIKE 'unlucky%')
    EXECUTE FUNCTION unlucky();
"""


@pytest.fixture(params=["sqlite", "postgres"])
def own_url(request, tmp_path):
    """An empty database whose schema may be spoilt."""
    if request.param == "sqlite":
        with audited(f"sqlite:///{tmp_path / 'scrip.db'}") as url:
            yield url
    else:
        postgres = request.getfixturevalue("postgres")
        with audited(postgres.create_database()) as url:
            yield url
        postgres.drop_database(url)


@pytest.fixture
def log():
    """Everything that is logged, with its tracebacks, as text."""
    text = io.StringIO()
    structlog.configure(
        processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()],
        wrapper_class=structlog.BoundLogger,
        logger_factory=structlog.PrintLoggerFactory(text),
    )
    return text


@pytest.fixture
def a_bug_in_deducting_seven(monkeypatch):
    def deduct(states, operation, now):
        if operation.amount == 7:
            raise ZeroDivisionError
        return decide.deduct(states, operation, now)

    monkeypatch.setattr(decide, "_DECIDERS", {**decide._DECIDERS, Deduct: deduct})  # noqa: SLF001 -- the smallest way in


def break_the_saving_of_unlucky_requests(url):
    if url.startswith("sqlite"):
        connection = sqlite3.connect(make_url(url).database)
        connection.executescript(BREAK_SQLITE)
        connection.close()
    else:
        with psycopg.connect(url) as connection:
            connection.execute(BREAK_POSTGRESQL)


def test_a_crash_while_deciding_fails_only_its_own_operation(database_url, batches, log, a_bug_in_deducting_seven):
    with Ledger(database_url, deliver_all=batches.deliver) as ledger:
        open_accounts(ledger, ACME, OTHER, credits_each=100)
        seven = Deduct(request_id=request_id(), account=ACME, amount=7, memo=MEMO)
        neighbours = [deducting(1), granting(10), deducting(2, OTHER), holding(3)]

        before, *after = batches.submit_as_one(ledger, [neighbours[0], seven, *neighbours[1:]])
        broken, *after = after

        with pytest.raises(IncidentError) as incident:
            broken.result(PATIENCE_S)
        assert all(isinstance(answer.result(PATIENCE_S), Accepted) for answer in [before, *after])
        assert batches.sizes == [len(neighbours) + 1]
        assert times_written(ledger, seven) == 0
        assert (available(ledger), available(ledger, OTHER)) == (106, 98)
    assert incident.value.incident_id in log.getvalue()
    assert seven.request_id in log.getvalue()
    assert "ZeroDivisionError" in log.getvalue()
    assert SECRET not in log.getvalue()


@pytest.mark.parametrize("atomic", [False, True])
def test_a_crash_while_deciding_fails_its_own_operation_or_all_that_must_go_with_it(
    database_url, batches, a_bug_in_deducting_seven, atomic
):
    with Ledger(database_url, deliver_all=batches.deliver) as ledger:
        open_accounts(ledger, ACME, OTHER, credits_each=100)
        together = transferring(5, ACME, OTHER), deducting(7), granting(10, OTHER)
        work = [deducting(1), Batch(operations=together, atomic=atomic), deducting(2)]

        outcomes = [answer.result(PATIENCE_S) for answer in batches.submit_as_one(ledger, work)]

        incidents = [isinstance(outcome, IncidentError) for outcome in outcomes.pop(1)]
        assert incidents == ([True] * 3 if atomic else [False, True, False])
        assert [outcome.entry.available for outcome in outcomes] == ([99, 97] if atomic else [99, 92])
        assert each_times_written(ledger, together) == ([0, 0, 0] if atomic else [1, 0, 1])
        assert available(ledger, OTHER) == (100 if atomic else 115)


def test_what_crashed_may_be_asked_again_once_the_bug_is_gone(ledger, monkeypatch, a_bug_in_deducting_seven):
    open_accounts(ledger, ACME, credits_each=100)
    seven = deducting(7)
    with pytest.raises(IncidentError):
        ledger.execute(seven)
    monkeypatch.undo()

    outcome = ledger.execute(seven)

    assert outcome.entry.available == 93
    assert not outcome.replayed


def test_two_crashes_have_two_ids(ledger, a_bug_in_deducting_seven):
    open_accounts(ledger, ACME, credits_each=100)

    crashes = [ledger.queue(deducting(7)).exception(PATIENCE_S) for _ in range(2)]

    assert len({crash.incident_id for crash in crashes}) == 2


def test_a_batch_that_cannot_be_saved_is_saved_one_by_one_without_the_culprit(own_url, batches, log):
    with Ledger(own_url, deliver_all=batches.deliver) as ledger:
        open_accounts(ledger, ACME, OTHER, credits_each=100)
        break_the_saving_of_unlucky_requests(own_url)
        unlucky = Deduct(request_id="unlucky-1", account=ACME, amount=7, memo=MEMO)
        neighbours = [deducting(1), granting(10), deducting(2, OTHER), holding(3)]

        answers = batches.submit_as_one(ledger, [neighbours[0], unlucky, *neighbours[1:]])

        broken = answers.pop(1).exception(PATIENCE_S)
        assert isinstance(broken, IncidentError)
        assert all(isinstance(answer.result(PATIENCE_S), Accepted) for answer in answers)
        assert times_written(ledger, unlucky) == 0
        assert [times_written(ledger, operation) for operation in neighbours] == [1] * 4
        assert (available(ledger), available(ledger, OTHER)) == (106, 98)
    assert broken.incident_id in log.getvalue()
    assert "unlucky-1" in log.getvalue()
    assert SECRET not in log.getvalue()


@pytest.mark.parametrize("atomic", [False, True])
def test_operations_that_cannot_be_saved_together_are_saved_without_the_culprit_or_not_at_all(own_url, batches, atomic):
    with Ledger(own_url, deliver_all=batches.deliver) as ledger:
        open_accounts(ledger, ACME, OTHER, credits_each=100)
        break_the_saving_of_unlucky_requests(own_url)
        unlucky = Deduct(request_id="unlucky-1", account=ACME, amount=7)
        together = transferring(5, ACME, OTHER), unlucky, granting(10, OTHER)
        neighbours = [deducting(1), deducting(2, OTHER)]

        before, batch, after = batches.submit_as_one(
            ledger, [neighbours[0], Batch(operations=together, atomic=atomic), neighbours[1]]
        )

        assert all(isinstance(answer.result(PATIENCE_S), Accepted) for answer in (before, after))
        if atomic:
            assert isinstance(batch.exception(PATIENCE_S), IncidentError)
        else:
            incidents = [isinstance(outcome, IncidentError) for outcome in batch.result(PATIENCE_S)]
            assert incidents == [False, True, False]
        assert each_times_written(ledger, [*together, *neighbours]) == ([0, 0, 0, 1, 1] if atomic else [1, 0, 1, 1, 1])
        assert [available(ledger), available(ledger, OTHER)] == ([99, 98] if atomic else [94, 113])
