"""The trigger of revision 0012, as SQL for both engines: the arm of a customer is drawn once and never changed.

The function `append_only()` that it calls in PostgreSQL is revision 0001's.
"""

from __future__ import annotations

APPEND_ONLY = ("ahead_assignment",)


def create(dialect: str) -> list[str]:
    """The statements that create every trigger."""
    if dialect != "postgresql":
        return [
            f"CREATE TRIGGER {table}_no_{verb} BEFORE {verb.upper()} ON {table}"
            f" BEGIN SELECT RAISE(ABORT, '{table} is append-only: add a row instead'); END"
            for table in APPEND_ONLY
            for verb in ("update", "delete")
        ]
    sql = []
    for table in APPEND_ONLY:
        sql.append(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION append_only()"
        )
        sql.append(f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} EXECUTE FUNCTION append_only()")
    return sql


def drop(dialect: str) -> list[str]:
    """The statements that drop every trigger."""
    if dialect == "postgresql":
        names = [(f"{table}_{end}", table) for table in APPEND_ONLY for end in ("append_only", "no_truncate")]
        return [f"DROP TRIGGER {name} ON {table}" for name, table in names]
    return [f"DROP TRIGGER {table}_no_{verb}" for table in APPEND_ONLY for verb in ("update", "delete")]
