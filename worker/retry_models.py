"""Which retry model is in use, which there were, and what was said of them; rows of `retry_model`, never changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select

from billing.retry.model import BadModel, Model, model_of
from config.priors import priors
from worker.store import Owner
from worker.tables import retry_model

SHIPPED = "prior-"  # how the versions of shipped models begin


@dataclass(frozen=True, slots=True)
class Fitted:
    """One fitted version; `state`: the last that was said of it (candidate, active, refused)."""

    version: str
    state: str
    fitted_at: datetime
    cases: int
    checks: Mapping[str, Any]
    said_at: datetime
    by: str
    because: str
    in_use: bool


def in_use(db: Connection) -> dict[Owner, tuple[int, str]]:
    """The newest `active` row of each account and its version; an account without one goes by the shipped prior."""
    table = retry_model
    newest = select(func.max(table.c.id)).where(table.c.state == "active").group_by(table.c.account, table.c.livemode)
    rows = db.execute(
        select(table.c.id, table.c.account, table.c.livemode, table.c.version).where(table.c.id.in_(newest))
    )
    return {Owner(row.account, row.livemode): (row.id, row.version) for row in rows}


def load(db: Connection, owner: Owner, version: str) -> Model:
    """The model of this version. Raises LookupError and BadModel."""
    # Whoever went back to the shipped model under an older release has the one that is shipped now.
    if version == priors().version or version.startswith(SHIPPED):
        return priors()
    table = retry_model
    query = select(table.c.parameters).where(owner.of(table), table.c.version == version, table.c.state == "candidate")
    parameters = db.scalar(query)
    if parameters is None:
        raise LookupError(f"there is no retry model {version}; `reprieve retries models` lists them")
    return model_of(parameters)


def models(db: Connection, owner: Owner) -> list[Fitted]:
    """Every fitted version, the newest first."""
    table = retry_model
    # Not the parameters: they are large, and nobody reads them.
    columns = [column for column in table.c if column.name != "parameters"]
    rows = list(db.execute(select(*columns).where(owner.of(table)).order_by(table.c.id)))
    used = next((row.version for row in reversed(rows) if row.state == "active"), None)
    last = {row.version: row for row in rows}
    found = [
        Fitted(
            version=row.version,
            state=last[row.version].state,
            fitted_at=row.at,
            cases=row.cases or 0,
            checks=row.checks or {},
            said_at=last[row.version].at,
            by=last[row.version].by,
            because=last[row.version].because,
            in_use=row.version == used,
        )
        for row in rows
        if row.state == "candidate"
    ]
    return found[::-1]


def add(
    db: Connection,
    owner: Owner,
    version: str,
    cases: int,
    checks: Mapping[str, Any],
    parameters: Mapping[str, Any],
    now: datetime,
) -> None:
    """Keep a fitted version with what its checks found; nothing uses it yet."""
    because = f"fitted from {cases} closed cases"
    fitted = {"cases": cases, "checks": dict(checks), "parameters": dict(parameters)}
    _say(db, owner, version, "candidate", "reprieve", because, now, **fitted)


def use(db: Connection, owner: Owner, version: str, by: str, because: str, now: datetime) -> None:
    """From now on this version answers. Raises LookupError when there is none, BadModel when it cannot be read."""
    load(db, owner, version)
    _say(db, owner, version, "active", by, because, now)


def refuse(db: Connection, owner: Owner, version: str, because: str, now: datetime) -> None:
    """This version failed its checks; whatever was in use stays."""
    _say(db, owner, version, "refused", "reprieve", because, now)


def _say(
    db: Connection, owner: Owner, version: str, state: str, by: str, because: str, now: datetime, **fitted: Any
) -> None:
    row = {**owner.key, "version": version, "state": state, "at": now, "by": by, "because": because}
    db.execute(insert(retry_model), {**row, **fitted})


class InUse:
    """The models of this process, read again when another process said something new; a broken one is never used."""

    def __init__(self) -> None:
        self._known: dict[Owner, tuple[int, Model]] = {}

    def refresh(self, db: Connection) -> dict[Owner, str]:
        """Read what is in use; why the newest of an account cannot be used, by account."""
        broken = {}
        for owner, (row, version) in in_use(db).items():
            if owner in self._known and self._known[owner][0] == row:
                continue
            try:
                self._known[owner] = row, load(db, owner, version)
            except (BadModel, LookupError) as error:
                broken[owner] = f"{version}: {error}"
        return broken

    def of(self, owner: Owner) -> Model:
        """The model in use; the shipped prior where none was learnt."""
        known = self._known.get(owner)
        return known[1] if known else priors()
