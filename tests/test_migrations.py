"""What the migrations make is what the tables say, on both engines."""

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import CheckConstraint, inspect

from ledger.database import Database
from ledger.migrations import migrate, newest_version, schema_version
from ledger.tables import metadata


def test_the_migrations_make_the_tables(database_url):
    database = Database(database_url)
    migrate(database)

    with database.read() as connection:
        difference = compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata)

    database.close()
    assert difference == []


def test_the_migrations_make_the_checks(database_url):
    database = Database(database_url)
    migrate(database)

    with database.read() as connection:
        inspector = inspect(connection)
        made = {
            (table.name, check["name"])
            for table in metadata.sorted_tables
            for check in inspector.get_check_constraints(table.name)
        }

    database.close()
    assert made == {
        (table.name, f"ck_{table.name}_{check.name}" if not str(check.name).startswith("ck_") else str(check.name))
        for table in metadata.sorted_tables
        for check in table.constraints
        if isinstance(check, CheckConstraint)
    }


def test_migrating_again_changes_nothing(database_url):
    database = Database(database_url)
    migrate(database)

    before, after = migrate(database)

    version = schema_version(database)
    database.close()
    assert before == after == version == newest_version()
