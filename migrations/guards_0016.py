"""The triggers of revision 0016, as SQL for both engines: what people wrote to a case is never changed.

The function `append_only()` that they call in PostgreSQL is revision 0001's.
"""

from __future__ import annotations

TABLE = "task_note"


def create(dialect: str) -> list[str]:
    """The statements that create every trigger."""
    if dialect == "postgresql":
        return [
            f"CREATE TRIGGER {TABLE}_append_only BEFORE UPDATE OR DELETE ON {TABLE}"
            " FOR EACH ROW EXECUTE FUNCTION append_only()",
            f"CREATE TRIGGER {TABLE}_no_truncate BEFORE TRUNCATE ON {TABLE} EXECUTE FUNCTION append_only()",
        ]
    return [
        f"CREATE TRIGGER {TABLE}_no_{verb} BEFORE {verb.upper()} ON {TABLE}"
        f" BEGIN SELECT RAISE(ABORT, '{TABLE} is append-only: add a row instead'); END"
        for verb in ("update", "delete")
    ]


def drop(dialect: str) -> list[str]:
    """The statements that drop every trigger."""
    if dialect == "postgresql":
        return [f"DROP TRIGGER {TABLE}_{end} ON {TABLE}" for end in ("append_only", "no_truncate")]
    return [f"DROP TRIGGER {TABLE}_no_{verb}" for verb in ("update", "delete")]
