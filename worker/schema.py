"""How every table is made: named constraints, STRICT in SQLite, and keyed by whose data it holds."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, Column, MetaData, Table, Text, text
from sqlalchemy.sql.schema import SchemaItem

from worker.columns import Big, Flag

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def rows(name: str, *parts: SchemaItem) -> Table:
    """A table of rows numbered by us, each belonging to one account and mode."""
    key = Column("id", Big, primary_key=True, autoincrement=True)
    owner = (Column("account", Text, nullable=False), Column("livemode", Flag, nullable=False))
    return Table(name, metadata, key, *owner, *parts, sqlite_strict=True)


def objects(name: str, key: str, *parts: SchemaItem) -> Table:
    """A table of what Stripe names, keyed by account, mode and Stripe's id."""
    owner = (Column("account", Text, primary_key=True), Column("livemode", Flag, primary_key=True))
    return Table(name, metadata, *owner, Column(key, Text, primary_key=True), *parts, sqlite_strict=True)


def required(name: str, kind: Any) -> Column[Any]:
    return Column(name, kind, nullable=False)


def one_of(column: str, *values: str) -> CheckConstraint:
    quoted = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} in ({quoted})", name=column)


def where(condition: str) -> dict[str, Any]:
    return {"postgresql_where": text(condition), "sqlite_where": text(condition)}
