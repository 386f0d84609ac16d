"""Runs the revisions on the engine that `worker.migrate` hands over."""

from __future__ import annotations

from typing import Any

from alembic import context

from worker.columns import Flag, Instant, Json
from worker.tables import inbox


def _render(kind: str, item: Any, _: Any) -> str | bool:
    """Write our own column types by name in a generated revision."""
    return f"{type(item).__name__}()" if kind == "type" and isinstance(item, (Flag, Instant, Json)) else False


def _same_type(_: Any, __: Any, found: Any, wanted: Any, ___: Any) -> bool | None:
    """Our types are text or integer in SQLite: compare what they become there, not their names."""
    if isinstance(wanted, (Flag, Instant, Json)):
        dialect = context.get_context().dialect
        return type(wanted.load_dialect_impl(dialect))._type_affinity is not found._type_affinity
    return None


with context.config.attributes["engine"].connect() as connection:
    connection.info["reading"] = False
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET lock_timeout = '2s'")
        connection.commit()
    context.configure(
        connection=connection,
        target_metadata=inbox.metadata,  # that of every table of ours
        render_item=_render,
        compare_type=_same_type,
        transactional_ddl=True,
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()
