"""Brings a database to the schema of this Scrip. The steps are written by hand, in `versions`."""

import threading
from pathlib import Path
from typing import Final

from psycopg.errors import InsufficientPrivilege
from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError

from ledger.database import CollisionError, Database, DatabaseMisusedError, DatabaseUnavailableError

_HERE: Final = Path(__file__).parent
# By the names of their files, in which each has its number.
_STEPS: Final = sorted(path.name.partition("_")[0] for path in (_HERE / "versions").glob("*_*.py"))
# Alembic keeps the upgrade that is running in global variables.
_ALEMBIC: Final = threading.Lock()


def schema_version(database: Database) -> str | None:
    """The version a database has; None if Scrip has never written to it."""
    with database.read() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
        return found


def newest_version() -> str:
    """The version this Scrip works with."""
    return _STEPS[-1]


def migrate(database: Database) -> tuple[str | None, str]:
    """Runs the steps that are missing, in one transaction; tells the version before and after.

    refuses   DatabaseMisusedError if the schema is newer than this Scrip
    raises    DatabaseUnavailableError
    """
    before, newest = schema_version(database), newest_version()
    check_not_newer(before)
    if before != newest:
        try:
            _upgrade(database)
        except (CollisionError, DBAPIError) as error:
            # Another server may have taken the same steps at this moment; then there is nothing left to do.
            if schema_version(database) == newest:
                return before, newest
            if isinstance(error, CollisionError):
                raise DatabaseUnavailableError(str(error)) from error
            if isinstance(error.orig, InsufficientPrivilege):
                raise DatabaseMisusedError(
                    f"{database} may not be changed by this user. Run scrip migrate as the owner of the tables."
                ) from error
            raise
    return before, newest


def _upgrade(database: Database) -> None:
    # What it takes to load Alembic is a fifth of a server's start, and nearly always there is nothing to do for it.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_HERE))
    with _ALEMBIC, database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()


def check_not_newer(version: str | None) -> None:
    """Raises DatabaseMisusedError if a database was written by a newer Scrip."""
    if version is not None and version not in _STEPS:
        raise DatabaseMisusedError(
            f"The database has schema {version}; this Scrip knows schemas up to {newest_version()}. Use a newer Scrip."
        )


def require_migrated(url: str) -> None:
    """Raises DatabaseMisusedError unless the database has the schema of this Scrip; DatabaseUnavailableError."""
    database = Database(url)
    try:
        version = schema_version(database)
    finally:
        database.close()
    check_not_newer(version)
    if version != newest_version():
        raise DatabaseMisusedError(f"{database} lacks the schema of this Scrip. Run: scrip migrate --database …")


def migrate_database(url: str) -> tuple[str | None, str]:
    """Runs the steps that a database lacks, as `migrate`, and lets go of it.

    raises   DatabaseMisusedError, DatabaseUnavailableError
    """
    database = Database(url)
    try:
        database.take()
        return migrate(database)
    finally:
        database.close()
