"""Brings a database to the schema of this Scrip. The steps are written by hand, in `versions`."""

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from ledger.database import CollisionError, Database, DatabaseMisusedError

_HERE: Final = Path(__file__).parent


def schema_version(database: Database) -> str | None:
    """The version a database has; None if Scrip has never written to it."""
    with database.read() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def newest_version() -> str:
    """The version this Scrip works with."""
    newest = ScriptDirectory(str(_HERE)).get_current_head()
    if newest is None:
        raise AssertionError("there is no migration")
    return newest


def migrate(database: Database) -> tuple[str | None, str]:
    """Runs the steps that are missing, in one transaction; tells the version before and after.

    refuses   DatabaseMisusedError if the schema is newer than this Scrip
    """
    before, newest = schema_version(database), newest_version()
    check_not_newer(before)
    if before == newest:
        return before, newest
    config = Config()
    config.set_main_option("script_location", str(_HERE))
    try:
        with database.write() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
    except CollisionError:
        # Another server is making the same tables at this moment.
        pass
    return before, newest


def check_not_newer(version: str | None) -> None:
    """Raises DatabaseMisusedError if a database was written by a newer Scrip."""
    known = {script.revision for script in ScriptDirectory(str(_HERE)).walk_revisions()}
    if version is not None and version not in known:
        raise DatabaseMisusedError(
            f"The database has schema {version}; this Scrip knows schemas up to {newest_version()}. Use a newer Scrip."
        )
