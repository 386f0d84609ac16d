"""Bring a database to the schema of this code, or back; the only place that drives Alembic.

`script_location` is the `migrations` package, so nothing depends on the folder we are started from. Web and worker
only ask which revision there is: they do without Alembic, which would hold ten megabytes in each of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

from worker.db import Database

if TYPE_CHECKING:
    from alembic.config import Config

_HERE = Path(__file__).resolve().parent.parent / "migrations"


def _config(db: Database) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_HERE).replace("%", "%%"))
    config.attributes["engine"] = db.engine
    return config


def upgrade(db: Database, to: str = "head") -> None:
    """Go forward to a revision. Raises LookupError when there is no such revision."""
    from alembic import command
    from alembic.util import CommandError

    try:
        command.upgrade(_config(db), to)
    except CommandError as error:
        raise LookupError(f"the tables cannot be brought to revision {to}: {error}") from None


def downgrade(db: Database, to: str = "base") -> None:
    from alembic import command

    command.downgrade(_config(db), to)


def check(db: Database) -> None:
    """Raise alembic.util.CommandError if the tables in code and in the database differ."""
    from alembic import command

    command.check(_config(db))


def current(db: Database) -> str | None:
    """The revision the database is at, None when it is empty."""
    with db.read() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
        return found


def mismatch(db: Database) -> str | None:
    """What is wrong with the tables and what mends it, in one sentence; None when they are those of this code."""
    found, needed = current(db), head()
    if found == needed:
        return None
    if found is None:
        return "the database has no tables yet: run `reprieve migrate`"
    if found < needed:
        return f"the tables are at revision {found}, this code needs {needed}: run `reprieve migrate`"
    return f"a newer Reprieve wrote this database (revision {found}, this one knows {needed}): use that version"


def head() -> str:
    """The newest revision this code knows: revisions are numbered, and the number begins the name of the file."""
    return max(file.name[:4] for file in (_HERE / "versions").glob("[0-9]*.py"))
