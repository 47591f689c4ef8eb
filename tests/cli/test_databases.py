"""Commands that open a database themselves, and what databases can be like."""

import json
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import update

from ledger.database import Database
from ledger.migrations import newest_version
from ledger.tables import accounts
from tests.books import Clock, audit_findings
from tests.cli.processes import ran
from tests.server.asking import asking


def file_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


@pytest.fixture
def written(database_url):
    """Books of acme, with 100 credits; no server runs."""
    with asking(database_url, Clock()) as ask:
        ask("OpenAccount")
        ask("Grant", amount=100)
    return database_url


@pytest.fixture
def newer(tmp_path):
    """The URL of a database that a newer Scrip has written to."""
    path = tmp_path / "newer.db"
    assert ran("migrate", "--database", f"sqlite:///{path}").returncode == 0
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    return f"sqlite:///{path}"


def test_a_database_can_be_asked_without_a_server(run, written):
    (balance,) = json.loads(run("balance", "acme", "--format", "json", "--database", written).stdout)
    granted = run("grant", "acme", "5", "--source", "promo", "--database", written)

    assert balance["available"] == 100
    assert granted.exit_code == 0
    assert run("audit", "--database", written).stdout == "Accounts: 1. Entries: 3. Verdict: clean.\n"


def test_a_mistyped_file_is_an_error_and_not_an_empty_database(run, empty_directory):
    result = run("audit", "--database", "sqlite:///scirp.db")

    assert result.exit_code == 1
    assert result.stderr == "Error: There is no file scirp.db. Correct --database, or make it: scrip migrate\n"
    assert list(empty_directory.iterdir()) == []


def test_a_file_that_a_server_holds_is_an_error(run, sqlite_url, ask):
    ask("OpenAccount")

    asked, migrated = run("balance", "acme", "--database", sqlite_url), ran("migrate", "--database", sqlite_url)

    assert (asked.exit_code, migrated.returncode) == (1, 1)
    for said in (asked.stderr, migrated.stderr):
        assert f"Error: Another Scrip server holds {file_of(sqlite_url)}. Stop it" in said


def test_two_commands_may_open_a_postgres_that_a_server_works_on(run, postgres_url):
    with asking(postgres_url) as ask:
        ask("OpenAccount")

        assert run("grant", "acme", "5", "--source", "promo", "--database", postgres_url).exit_code == 0
        assert ask("GetBalance").balances[0].available == 5


@pytest.mark.parametrize(
    "make", [lambda path: path.write_text("x" * 500), lambda path: path.mkdir()], ids=["text", "directory"]
)
def test_a_file_that_is_no_database_is_an_error(run, tmp_path, make):
    make(tmp_path / "no.db")

    asked, migrated = (
        run("balance", "acme", "--database", "sqlite:///no.db"),
        ran("migrate", "--database", "sqlite:///no.db"),
    )

    assert (asked.exit_code, migrated.returncode) == (1, 1)
    for said in (asked.stderr, migrated.stderr):
        assert "database" in said
        assert "Traceback" not in said


def test_a_directory_that_cannot_be_made_is_an_error():
    result = ran("migrate", "--database", "sqlite:////proc/nowhere/scrip.db")

    assert result.returncode == 1
    assert "/proc/nowhere/scrip.db cannot be opened: No such file or directory. Choose another file." in result.stderr


def test_a_postgres_that_does_not_answer_is_told_in_its_own_words_without_the_password(run):
    url = "postgresql://scrip:swordfish@127.0.0.1:1/scrip"

    asked, migrated = run("balance", "acme", "--database", url), ran("migrate", "--database", url)

    assert (asked.exit_code, migrated.returncode) == (1, 1)
    for said in (asked.stderr, migrated.stderr):
        assert "Connection refused" in said
        assert "swordfish" not in said


def test_a_database_of_a_newer_schema_is_an_error_for_every_command(run, newer):
    served, migrated = ran("serve", "--listen", "127.0.0.1:0", "--database", newer), ran("migrate", "--database", newer)
    asked = run("balance", "acme", "--database", newer)

    told = f"The database has schema 9999; this Scrip knows schemas up to {newest_version()}. Use a newer Scrip."
    assert (served.returncode, migrated.returncode, asked.exit_code) == (1, 1, 1)
    assert all(f"Error: {told}\n" in said for said in (served.stderr, migrated.stderr, asked.stderr))


def test_a_database_is_migrated_once(postgres):
    for url in ("sqlite:///new/scrip.db", postgres.create_database()):
        first, second = ran("migrate", "--database", url), ran("migrate", "--database", url)

        assert (first.returncode, second.returncode) == (0, 0)
        assert first.stdout == f"Schema none -> {newest_version()}.\n"
        assert second.stdout == f"Schema {newest_version()}: nothing to do.\n"
        assert audit_findings(url) == []


def test_an_audit_that_finds_something_says_what_and_ends_with_1(run, tmp_path):
    url = f"sqlite:///{tmp_path / 'wrong.db'}"
    with asking(url, Clock()) as ask:
        ask("OpenAccount")
        ask("Grant", amount=100)
    _corrupt(url)

    as_table, as_json, as_csv = (run("audit", "--database", url, "--format", form) for form in ("table", "json", "csv"))

    assert [result.exit_code for result in (as_table, as_json, as_csv)] == [1, 1, 1]
    rows = json.loads(as_json.stdout)
    assert [row["clean"] for row in rows] == [False] * len(rows)
    assert any("101" in row["finding"] and "100" in row["finding"] for row in rows)
    assert as_table.stdout.splitlines()[0] == f"Accounts: 1. Entries: 2. Verdict: {len(rows)} findings."
    assert as_table.stdout.splitlines()[1:] == [row["finding"] for row in rows]
    assert len(as_csv.stdout.splitlines()) == 1 + len(rows)
    assert run("audit", "acme", "--database", url).exit_code == 1


def _corrupt(url: str) -> None:
    database = Database(url)
    with database.write() as connection:
        connection.execute(update(accounts).values(available=101))
        connection.commit()
    database.close()
