"""One lock on the books as a whole. Bookkeepers share it; who closes a month or renames an account holds it alone.

SQLite has one writer anyway. The key is beside those of customers (`store.lock`), which are never negative.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

KEY = {"key": -1}


def share(db: Connection) -> None:
    """Work beside other bookkeepers until this transaction ends, and wait for who holds the books."""
    if db.dialect.name == "postgresql":
        db.execute(text("SELECT pg_advisory_xact_lock_shared(:key)"), KEY)


def hold(db: Connection) -> None:
    """Let no bookkeeper work until this transaction ends, and wait for those who do."""
    if db.dialect.name == "postgresql":
        db.execute(text("SELECT pg_advisory_xact_lock(:key)"), KEY)
