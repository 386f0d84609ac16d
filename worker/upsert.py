"""INSERT statements that know what to do with a row that is there already, in the words of the database's engine.

What is asked for every event is built once: with many columns that takes longer than the database needs for a row.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite


def insert(db: Connection, table: Table) -> Any:
    """An INSERT of this engine that knows ON CONFLICT."""
    return insert_of(db.dialect.name, table)


def insert_of(dialect: str, table: Table) -> Any:
    return (postgresql if dialect == "postgresql" else sqlite).insert(table)


@cache
def replacing(dialect: str, table: Table, columns: tuple[str, ...], keys: tuple[str, ...]) -> Any:
    """An INSERT of these columns that takes the place of the row with the same keys."""
    statement = insert_of(dialect, table)
    newer = {name: statement.excluded[name] for name in columns if name not in keys}
    return statement.on_conflict_do_update(index_elements=list(keys), set_=newer)
