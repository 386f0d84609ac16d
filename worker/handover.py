"""The row of `notice` that makes a message one: written before it is handed over, marked with what became of it.

The same protocol as `worker/notify.py`, for messages that are about no invoice.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, update

from worker import store
from worker.outbox import Claim, Lost
from worker.tables import notice


def begin(db: Connection, claim: Claim, row: dict[str, Any], now: datetime) -> None:
    """Write down that the message is handed over now. Raises Lost when it was, or may have been, handed over before."""
    full = {**claim.owner.key, **row, "invoice": "", "state": "handing_over", "token": claim.token, "at": now}
    again = store.insert(db, notice)
    # Only a message that the server certainly did not take is handed over again, under the same Message-ID.
    taken = again.on_conflict_do_update(
        index_elements=["account", "livemode", "dedup_key"],
        set_={name: again.excluded[name] for name in ("rendered_hash", "state", "token", "at")},
        where=notice.c.state == "waiting",
    )
    if db.execute(taken.returning(notice.c.id), full).first() is None:
        raise Lost(claim.key)


def mark(db: Connection, claim: Claim, key: str, state: str, because: str, finished: datetime | None) -> None:
    """What became of it; `key` begins every dedup key of this message."""
    mine = claim.owner.of(notice) & notice.c.dedup_key.startswith(key, autoescape=True)
    db.execute(
        update(notice)
        .where(mine, notice.c.state == "handing_over")
        .values(state=state, because=because, finished_at=finished)
    )
