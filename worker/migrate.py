"""Bring a database to the schema of this code, or back; the only place that drives Alembic.

`script_location` is the `migrations` package, so nothing depends on the folder we are started from.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from worker.db import Database

_HERE = Path(__file__).resolve().parent.parent / "migrations"


def _config(db: Database) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_HERE).replace("%", "%%"))
    config.attributes["engine"] = db.engine
    return config


def upgrade(db: Database, to: str = "head") -> None:
    command.upgrade(_config(db), to)


def downgrade(db: Database, to: str = "base") -> None:
    command.downgrade(_config(db), to)


def check(db: Database) -> None:
    """Raise alembic.util.CommandError if the tables in code and in the database differ."""
    command.check(_config(db))


def current(db: Database) -> str | None:
    """The revision the database is at, None when it is empty."""
    with db.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def head() -> str | None:
    """The newest revision this code knows."""
    return ScriptDirectory(str(_HERE)).get_current_head()
