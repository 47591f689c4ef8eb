"""The migrations make what ledger/tables.py says, once, whoever runs them, and leave a newer database alone."""

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from ledger import DatabaseMisusedError, Ledger, migrations
from ledger.database import Database
from ledger.migrations import migrate, newest_version, schema_version
from ledger.tables import metadata
from tests.books import opening, rows_of

MIGRATE_WHAT_IS_NAMED = """
import sys
from ledger.database import Database
from ledger.migrations import migrate

print("ready", flush=True)
for line in sys.stdin:
    database = Database(line.strip())
    print(migrate(database)[1], flush=True)
    database.close()
"""
SERVERS = 3
ROUNDS = 6


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request, tmp_path):
    """A database in which there is nothing at all, not even tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    server = request.getfixturevalue("postgres")
    url = server.create_database()
    yield url
    server.drop_database(url)


@contextmanager
def database_at(url):
    database = Database(url)
    yield database
    database.close()


def execute(url, statement):
    with database_at(url) as database, database.write() as connection:
        connection.execute(text(statement))
        connection.commit()


def differences(url):
    with database_at(url) as database, database.read() as connection:
        return compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata)


def index_shown(index):
    options = {name: str(value) for name, value in index.get("dialect_options", {}).items()}
    return index["name"], tuple(index["column_names"]), index["unique"], repr(options)


def shape(url):
    """All that the engine knows of the tables, in a form that can be compared."""
    with database_at(url) as database, database.read() as connection:
        found = inspect(connection)
        return {
            table: {
                "columns": [(c["name"], str(c["type"]), c["nullable"]) for c in found.get_columns(table)],
                "key": found.get_pk_constraint(table),
                "unique": found.get_unique_constraints(table),
                "checks": sorted((c["name"], c["sqltext"]) for c in found.get_check_constraints(table)),
                "indexes": sorted(index_shown(index) for index in found.get_indexes(table)),
            }
            for table in found.get_table_names()
            if table != "alembic_version"
        }


def test_the_migrations_make_the_tables_that_the_code_uses(empty_url):
    with database_at(empty_url) as database:
        before_and_after = migrate(database)

    assert before_and_after == (None, newest_version())
    assert differences(empty_url) == []


def test_a_step_has_the_number_that_its_file_begins_with():
    steps = ScriptDirectory(str(Path(migrations.__file__).parent))

    assert steps.get_current_head() == newest_version()
    assert [step.revision for step in steps.walk_revisions()] == [
        Path(step.path).name.partition("_")[0] for step in steps.walk_revisions()
    ]


def test_a_difference_would_be_seen(empty_url):
    with database_at(empty_url) as database:
        migrate(database)
    execute(empty_url, "ALTER TABLE accounts ADD COLUMN credit_limit BIGINT")

    assert differences(empty_url) != []


def test_the_migrations_make_the_same_keys_checks_and_indexes_as_the_code_declares(empty_url):
    with database_at(empty_url) as database:
        with database.write() as connection:
            metadata.create_all(connection)
            connection.commit()
        declared = shape(empty_url)
        with database.write() as connection:
            metadata.drop_all(connection)
            connection.commit()

        migrate(database)

    assert shape(empty_url) == declared
    assert len(declared) == len(metadata.tables)


def test_migrating_twice_is_nothing(database_url):
    with Ledger(database_url) as ledger:
        ledger.execute(opening())
    before, shape_before = rows_of(database_url), shape(database_url)

    with database_at(database_url) as database:
        before_and_after = migrate(database)

    assert before_and_after == (newest_version(), newest_version())
    assert rows_of(database_url) == before
    assert shape(database_url) == shape_before


def test_a_database_of_a_newer_scrip_is_refused_and_left_alone(empty_url):
    with Ledger(empty_url) as ledger:
        ledger.execute(opening())
    execute(empty_url, "UPDATE alembic_version SET version_num = '9999'")
    before, shape_before = rows_of(empty_url), shape(empty_url)

    with pytest.raises(DatabaseMisusedError) as error, Ledger(empty_url):
        pass

    assert str(error.value) == (
        f"The database has schema 9999; this Scrip knows schemas up to {newest_version()}. Use a newer Scrip."
    )
    assert rows_of(empty_url) == before
    assert shape(empty_url) == shape_before
    with database_at(empty_url) as database:
        assert schema_version(database) == "9999"


def test_a_migration_that_breaks_leaves_nothing_behind(empty_url):
    execute(empty_url, "CREATE TABLE totals (writer INTEGER)")

    with database_at(empty_url) as database, pytest.raises(Exception, match="totals"):
        migrate(database)

    assert shape(empty_url).keys() == {"totals"}
    with database_at(empty_url) as database:
        assert schema_version(database) is None


def test_servers_that_migrate_an_empty_database_at_once_all_end_well(postgres):
    command = [sys.executable, "-c", MIGRATE_WHAT_IS_NAMED]
    servers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(SERVERS)
    ]
    answers = [[server.stdout.readline() for server in servers]]
    for _ in range(ROUNDS):
        url = postgres.create_database()
        for server in servers:
            server.stdin.write(f"{url}\n")
            server.stdin.flush()
        answers.append([server.stdout.readline() for server in servers])
        found = differences(url)
        postgres.drop_database(url)
        if found or not all(answers[-1]):
            break

    complaints = [server.communicate()[1] for server in servers]

    assert complaints == [""] * SERVERS
    assert answers == [["ready\n"] * SERVERS] + ROUNDS * [[f"{newest_version()}\n"] * SERVERS]
    assert found == []
