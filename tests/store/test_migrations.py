"""The tables come, go and come again, and are what the code says, on both engines."""

from __future__ import annotations

from pathlib import Path

from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from tests.conftest import Databases
from worker import migrate
from worker.db import Database

TRIGGERS = {
    "sqlite": "SELECT count(*) FROM sqlite_master WHERE type = 'trigger'",
    "postgresql": "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal",
}


def triggers(db: Database) -> int:
    with db.read() as connection:
        return int(connection.scalar(text(TRIGGERS[connection.dialect.name])) or 0)


def test_up_down_and_up_again_leave_the_tables_of_the_code(db: Database) -> None:
    assert migrate.current(db) == migrate.head()
    guards = triggers(db)
    assert guards > 0
    migrate.check(db)
    migrate.downgrade(db)
    assert inspect(db.engine).get_table_names() == ["alembic_version"]
    assert (migrate.current(db), triggers(db)) == (None, 0)
    migrate.upgrade(db)
    migrate.check(db)
    assert (migrate.current(db), triggers(db)) == (migrate.head(), guards)


def test_an_upgrade_of_what_is_up_to_date_changes_nothing(db: Database) -> None:
    migrate.upgrade(db)
    assert migrate.current(db) == migrate.head()


def test_functions_of_the_guards_go_with_them(databases: Databases) -> None:
    url = databases.create()
    db = Database(url)
    migrate.upgrade(db)
    migrate.downgrade(db)
    with db.read() as connection:
        left = connection.scalar(text("SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace"))
    db.close()
    databases.drop(url)
    assert left == 0


def test_the_newest_revision_is_the_one_that_alembic_finds() -> None:
    folder = Path(migrate.__file__).parents[1] / "migrations"
    assert migrate.head() == ScriptDirectory(str(folder)).get_current_head()
