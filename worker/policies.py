"""Which policy holds for a case: the one it was opened with, for as long as it lives.

A policy body is stored when it is first used, so an open case finds its version after the file has changed; the same
name and version with another body is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import select

from billing.policy import Policy
from config.policies import BadPolicy, in_mode, parse, read
from config.settings import Settings
from worker import tables as t
from worker.db import Database
from worker.store import insert


class Policies:
    """The policies of this installation. `load` must have run before any question is asked."""

    def __init__(self, settings: Settings, db: Database, now: Callable[[], datetime]) -> None:
        self._settings, self._db, self._now = settings, db, now
        self._known: dict[str, Policy] = {}
        self._current: dict[str, Policy] = {}

    def load(self) -> None:
        """Read the configured policies and store those that are new. Raises BadPolicy."""
        for name in {account.policy for account in self._settings.all_accounts}:
            body = read(name, self._settings.policy_dir)
            policy = parse(body, f"policy {name}")
            self._store(policy.id, body)
            self._current[name] = self._known[policy.id] = policy

    def _store(self, id: str, body: dict[str, Any]) -> None:
        with self._db.begin() as db:
            row = {"id": id, "body": body, "first_used_at": self._now()}
            db.execute(insert(db, t.policy).on_conflict_do_nothing(), row)  # another process may start just now
            if db.scalar(select(t.policy.c.body).where(t.policy.c.id == id)) != body:
                raise BadPolicy(f"policy {id} was changed after it was used: give the changed one a new version")

    def current(self, account: str, livemode: bool) -> Policy:
        """What a new case of this account is opened with."""
        owner = self._settings.account(account, livemode) or self._settings.all_accounts[0]
        return in_mode(self._current[owner.policy], self._mode(account, livemode))

    def of(self, account: str, livemode: bool, id: str) -> Policy:
        """The policy a case was opened with, in the mode that the account has now."""
        if id not in self._known:
            with self._db.read() as db:
                body = db.scalar(select(t.policy.c.body).where(t.policy.c.id == id))
            if body is None:
                raise BadPolicy(f"policy {id} is not known to this database")
            self._known[id] = parse(body, f"policy {id}")
        return in_mode(self._known[id], self._mode(account, livemode))

    def _mode(self, account: str, livemode: bool) -> str:
        """An account that is not configured in this mode is only observed."""
        owner = self._settings.account(account, livemode)
        return owner.mode if owner else "observe"
