"""Each process that writes has an id and totals of its own; their sum is exact, whoever dies and whoever comes."""

from contextlib import ExitStack
from datetime import timedelta

import psycopg
import pytest
from sqlalchemy import select

from ledger import Accepted, Code, Ledger, NotDoneError, utc_now
from ledger.database import Database
from ledger.store import WRITER_LEASE
from ledger.tables import totals, writers
from tests.books import ACME, Clock, deducting, granting, opening
from tests.faults.customers import PATIENCE_S, at_once, customers, history, open_accounts, times_written
from tests.faults.processes import ledger_elsewhere
from tests.faults.statements import (
    COMMIT,
    ENTRIES,
    Gate,
    MeetingPoint,
    around_prepared,
    before_each,
    locking,
    named,
    wait_until_queued,
)

SECOND = timedelta(seconds=1)
AMOUNT_MAX = 2**63 - 1


def kept(url):
    """Who holds which writer id, and which ids have totals."""
    database = Database(url, readers=1)
    try:
        with database.read() as connection:
            holders = {row.writer: row.holder for row in connection.execute(select(writers))}
            used = set(connection.execute(select(totals.c.writer).distinct()).scalars())
    finally:
        database.close()
    return holders, used


def ids(url):
    return sorted(kept(url)[0])


def turnover(ledger):
    """Debits and credits of each code that was used."""
    rows = ledger.trial_balance("default").assets[0].rows
    return {row.code: (row.debits, row.credits) for row in rows if row.debits or row.credits}


def test_servers_that_begin_at_once_take_different_ids(postgres_url):
    with ExitStack() as stack:
        servers = [stack.enter_context(Ledger(postgres_url)) for _ in range(4)]

        at_once(
            *(
                lambda s=server, n=name: open_accounts(s, n, credits_each=100)
                for server, name in zip(servers, customers(4), strict=True)
            )
        )

        holders, used = kept(postgres_url)
        assert len(set(holders.values())) == 4
        assert used <= set(holders)
        assert turnover(servers[0]) == {Code.AVAILABLE: (0, 400), Code.PROMOTIONS: (400, 0)}


def test_a_server_that_stops_gives_its_id_to_the_next(database_url):
    for name in customers(3):
        with Ledger(database_url) as server:
            open_accounts(server, name, credits_each=100)

    assert ids(database_url) == [1]


def test_a_collision_costs_no_id(postgres_url):
    with (
        Ledger(named(postgres_url, "first"), row_locks=False) as first,
        Ledger(named(postgres_url, "second"), row_locks=False) as second,
    ):
        open_accounts(first, ACME, credits_each=100)
        open_accounts(second, *customers(1), credits_each=100)

        for _ in range(3):
            with before_each(MeetingPoint(2, ENTRIES)):
                at_once(*(lambda s=server: s.execute(deducting(1)) for server in (first, second)))

    assert ids(postgres_url) == [1, 2]


def test_the_id_of_a_killed_server_is_taken_again_after_its_lease_and_not_before(database_url):
    with ledger_elsewhere(database_url, "theirs"):
        pass

    with Ledger(database_url) as at_once_after:
        open_accounts(at_once_after, ACME, credits_each=100)
        assert ids(database_url) == [1, 2]
    with Ledger(database_url, clock=lambda: utc_now() + WRITER_LEASE + SECOND) as later:
        open_accounts(later, *customers(1), credits_each=100)
        holders, used = kept(database_url)

        assert len(set(holders.values())) == len(holders) == 2
        assert used == {1, 2}
        assert turnover(later) == {Code.AVAILABLE: (0, 200), Code.PROMOTIONS: (200, 0)}


@pytest.fixture
def early():
    return Clock()


@pytest.fixture
def late(early):
    """So late that who writes early seems to have been silent for longer than its lease."""
    return Clock(early.now + WRITER_LEASE + SECOND)


def test_a_silent_server_that_lost_its_id_goes_on_with_another(postgres_url, early, late):
    with Ledger(postgres_url, clock=early) as silent, Ledger(postgres_url, clock=late) as busy:
        open_accounts(silent, ACME, credits_each=100)
        before = kept(postgres_url)[0]
        open_accounts(busy, *customers(1), credits_each=100)
        lost = kept(postgres_url)[0]

        outcome = silent.execute(deducting(30))

        after = kept(postgres_url)[0]
        assert before.keys() == lost.keys() == {1}
        assert before != lost
        assert after[1] == lost[1]
        assert after.keys() == {1, 2}
        assert after[2] not in {before[1], lost[1]}
        assert isinstance(outcome, Accepted)
        assert not outcome.replayed
        assert turnover(busy) == {Code.AVAILABLE: (30, 200), Code.PROMOTIONS: (200, 0), Code.REVENUE: (0, 30)}


def test_a_server_that_loses_its_id_while_it_writes_has_written_nothing(postgres_url, early, late):
    gate = Gate("silent", "UPDATE writers")
    with (
        Ledger(named(postgres_url, "silent"), clock=early) as silent,
        Ledger(named(postgres_url, "busy"), clock=late) as busy,
    ):
        open_accounts(silent, ACME, credits_each=100)

        with before_each(gate):
            outcome = silent.queue(deducting(30))
            gate.wait_until_reached()
            open_accounts(busy, *customers(1), credits_each=100)
            gate.open()
            outcome = outcome.result(PATIENCE_S)

        assert outcome.entry.available == 70
        assert len(history(silent)) == 3
        assert ids(postgres_url) == [1, 2]
        assert turnover(busy) == {Code.AVAILABLE: (30, 200), Code.PROMOTIONS: (200, 0), Code.REVENUE: (0, 30)}


def test_what_arrives_after_its_connection_was_given_up_is_not_done_any_more(postgres_url):
    """As of a database that stood still when the statement came, until after the server had reconnected."""
    late = []

    def lose(run, statement, connection, parameters):
        if late or ENTRIES not in statement.text:
            return run(statement, connection, parameters)
        late.append((statement, parameters))
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    with Ledger(postgres_url) as ledger:
        open_accounts(ledger, ACME, *customers(1), credits_each=100)
        lost = deducting(30)
        with around_prepared(lose), pytest.raises(NotDoneError):
            ledger.execute(lost)
        ledger.execute(deducting(7, customers(1)[0]))

        ((statement, parameters),) = late
        database = Database(postgres_url)
        with database.write_at_once() as connection:
            assert statement.run(connection, parameters).fetchone()[0] == 0
        database.close()
        ledger.execute(deducting(7, customers(1)[0]))

        assert times_written(ledger, lost) == 0
        assert turnover(ledger) == {Code.AVAILABLE: (14, 200), Code.PROMOTIONS: (200, 0), Code.REVENUE: (0, 14)}


def test_an_id_is_not_taken_from_a_server_that_is_just_committing(postgres_url, early, late):
    gate = Gate("silent", COMMIT)
    with (
        Ledger(named(postgres_url, "silent"), clock=early) as silent,
        Ledger(named(postgres_url, "busy"), clock=late) as busy,
    ):
        open_accounts(locking(silent), ACME, credits_each=100)
        holder = kept(postgres_url)[0][1]
        # Still within the lease of who writes late, so that committing renews it.
        early.now += 2 * SECOND

        with before_each(gate):
            outcome = silent.queue(deducting(30))
            gate.wait_until_reached()
            opened = busy.queue(opening(customers(1)[0]))
            wait_until_queued(postgres_url, "busy")
            gate.open()
            outcome, opened = outcome.result(PATIENCE_S), opened.result(PATIENCE_S)

        assert isinstance(outcome, Accepted)
        assert isinstance(opened, Accepted)
        assert kept(postgres_url)[0][1] == holder
        assert ids(postgres_url) == [1, 2]


def test_totals_outgrow_64_bits_and_stay_exact(database_url):
    rounds = 3
    for _ in range(2):
        with Ledger(database_url) as server:
            if not kept(database_url)[1]:
                server.execute(opening())
            for _ in range(rounds):
                for operation in (granting(AMOUNT_MAX), deducting(AMOUNT_MAX - 1), deducting(1)):
                    assert isinstance(server.execute(operation), Accepted)

            moved = turnover(server)[Code.REVENUE][1]

    everything = 2 * rounds * AMOUNT_MAX
    assert moved == everything > 2**64
    with Ledger(database_url) as server:
        assert turnover(server) == {
            Code.AVAILABLE: (everything, everything),
            Code.PROMOTIONS: (everything, 0),
            Code.REVENUE: (0, everything),
        }
