"""Databases that another server holds, that are not there, that go away and come back."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from ledger import DatabaseMisusedError, DatabaseUnavailableError, Ledger, NotDoneError
from tests.books import ACME, deducting, opening
from tests.conftest import audited
from tests.faults.customers import at_once, available, open_accounts, times_written
from tests.faults.processes import ledger_elsewhere, stopped


def file_of(url):
    return make_url(url).database


def test_a_sqlite_file_that_another_server_holds_is_refused_by_name(sqlite_url):
    with ledger_elsewhere(sqlite_url):
        ledger = Ledger(sqlite_url)

        with pytest.raises(DatabaseMisusedError, match="Another Scrip server holds") as held:
            ledger.open()
        with pytest.raises(DatabaseUnavailableError):
            ledger.execute(deducting(1))
        ledger.close()

    assert file_of(sqlite_url) in str(held.value)


def test_a_sqlite_file_is_free_again_once_its_holder_is_killed(sqlite_url):
    with ledger_elsewhere(sqlite_url) as holder:
        ledger = Ledger(sqlite_url)
        with pytest.raises(DatabaseMisusedError):
            ledger.open()
        holder.kill()
        holder.wait()

        with ledger:
            assert available(ledger) == 0
            assert ledger.execute(opening()).reason == "account_exists"


def test_a_sqlite_file_is_free_again_once_its_holder_has_closed_it(sqlite_url):
    first, second = Ledger(sqlite_url), Ledger(sqlite_url)
    with first, pytest.raises(DatabaseMisusedError):
        second.open()

    with second:
        open_accounts(second, ACME, credits_each=1)


def test_two_ways_to_write_its_path_are_one_sqlite_file(sqlite_url, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    with Ledger(sqlite_url):
        other = Ledger(f"sqlite:///{tmp_path}/link/{Path(file_of(sqlite_url)).name}")

        with pytest.raises(DatabaseMisusedError, match="Another Scrip server holds"):
            other.open()
        other.close()


def test_a_sqlite_file_that_cannot_be_made_is_refused_by_name(tmp_path):
    (tmp_path / "file").write_text("")
    ledger = Ledger(f"sqlite:///{tmp_path}/file/scrip.db")

    with pytest.raises(DatabaseMisusedError, match=r"file/scrip\.db cannot be opened"):
        ledger.open()
    ledger.close()


@pytest.fixture
def stranger(tmp_path):
    """A file that is not a database."""
    path = tmp_path / "scrip.db"
    path.write_text("Dear diary,\n" * 1_000)
    return path


def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(stranger):
    before = stranger.read_bytes()
    ledger = Ledger(f"sqlite:///{stranger}")

    with pytest.raises(DatabaseMisusedError, match="not a database"):
        ledger.open()
    ledger.close()

    assert stranger.read_bytes() == before


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_a_database_of_a_newer_schema_is_refused_and_left_as_it_is(engine, request, tmp_path, postgres):
    url = f"sqlite:///{tmp_path}/scrip.db" if engine == "sqlite" else postgres.create_database()
    with Ledger(url) as ledger:
        open_accounts(ledger, ACME, credits_each=100)
    newer = "UPDATE alembic_version SET version_num = '9999'"
    if engine == "sqlite":
        with sqlite3.connect(file_of(url)) as connection:
            connection.execute(newer)
        connection.close()
    else:
        with psycopg.connect(url) as connection:
            connection.execute(newer)

    ledger = Ledger(url)
    with pytest.raises(DatabaseMisusedError, match=r"schema 9999.*Use a newer Scrip"):
        ledger.open()
    ledger.close()


def test_servers_that_come_to_an_empty_database_at_once_all_open_it(postgres):
    with audited(postgres.create_database()) as url:
        ledgers = [Ledger(url) for _ in range(4)]

        at_once(*(ledger.open for ledger in ledgers))

        open_accounts(ledgers[0], ACME, credits_each=100)
        assert [available(ledger) for ledger in ledgers] == [100] * 4
        for ledger in ledgers:
            ledger.close()
    postgres.drop_database(url)


def test_processes_that_come_to_an_empty_database_at_once_all_open_it(postgres):
    open_it = "import sys, ledger; ledger.Ledger(sys.argv[1]).open()"
    url = postgres.create_database()

    processes = [
        subprocess.Popen([sys.executable, "-c", open_it, url], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for _ in range(4)
    ]

    said = [process.communicate(timeout=60)[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, "\n".join(said)


def test_a_postgresql_that_is_down_at_the_start_may_be_tried_again(cluster):
    with audited(cluster.create_database()) as url:
        ledger = Ledger(url)
        with stopped(cluster):
            for _ in range(2):
                with pytest.raises(DatabaseUnavailableError):
                    ledger.open()

        with ledger:
            open_accounts(ledger, ACME, credits_each=100)


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_postgresql_that_goes_away_and_comes_back_needs_no_restart(cluster, mode):
    with audited(cluster.create_database()) as url, Ledger(url) as ledger:
        open_accounts(ledger, ACME, credits_each=100)
        acknowledged, unheard = deducting(10), deducting(20)
        ledger.execute(acknowledged)

        with stopped(cluster, mode):
            for _ in range(2):
                with pytest.raises(NotDoneError):
                    ledger.execute(unheard)
                with pytest.raises(DatabaseUnavailableError):
                    available(ledger)

        assert not ledger.execute(unheard).replayed
        assert available(ledger) == 70
        assert times_written(ledger, acknowledged) == times_written(ledger, unheard) == 1


def test_a_postgresql_that_was_away_unnoticed_costs_changes_and_reads_one_failure_each(cluster):
    with audited(cluster.create_database()) as url, Ledger(url) as ledger:
        open_accounts(ledger, ACME, credits_each=100)
        available(ledger)
        asked = deducting(10)

        with stopped(cluster, "immediate"):
            pass

        with pytest.raises(NotDoneError):
            ledger.execute(asked)
        with pytest.raises(DatabaseUnavailableError):
            available(ledger)
        assert not ledger.execute(asked).replayed
        assert available(ledger) == 90


def test_a_ledger_whose_database_is_gone_closes_all_the_same(cluster):
    ledger = Ledger(cluster.create_database())
    ledger.open()
    open_accounts(ledger, ACME, credits_each=100)

    with stopped(cluster, "immediate"):
        ledger.close()
