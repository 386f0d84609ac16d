"""Many new rows of one table at once: PostgreSQL takes them as a stream, SQLite by one prepared statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy import insert as plain


def insert(db: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add rows that all name the same columns, in their order. Raises like an INSERT when one is there already.

    PostgreSQL is handed the values as they are, so it must take the types of the columns without help of SQLAlchemy.
    """
    if not rows:
        return
    if db.dialect.name != "postgresql":
        db.execute(plain(table), rows)
        return
    names = list(rows[0])
    quoted = ", ".join(db.dialect.identifier_preparer.quote(name) for name in names)
    psycopg: Any = db.connection.driver_connection
    with psycopg.cursor() as cursor, cursor.copy(f"COPY {table.name} ({quoted}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row([row[name] for name in names])
