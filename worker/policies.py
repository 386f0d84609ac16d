"""Which policy holds for a case: the one it was opened with, for as long as it lives.

The retry model, the network rules and the account's country come with the policy, whatever its version: those that hold
when the question is asked.
A policy body is stored when it is first used, so an open case finds its version after the file has changed; the same
name and version with another body is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import select

from billing.policy import Mode, Policy
from billing.retry.model import BadModel, Model
from config.network_rules import BadNetworkRules
from config.own_rules import rules_with
from config.policies import BadPolicy, find, parse, read
from config.policy_file import check
from config.priors import priors
from config.settings import Settings
from worker import people
from worker import tables as t
from worker.db import Database
from worker.retry_models import InUse
from worker.store import Owner, insert

log = structlog.get_logger(__name__)


class Policies:
    """The policies of this installation. `load` must have run before any question is asked."""

    def __init__(self, settings: Settings, db: Database, now: Callable[[], datetime]) -> None:
        self._settings, self._db, self._now = settings, db, now
        self._known: dict[str, Policy] = {}
        self._current: dict[str, Policy] = {}
        self._models = InUse()

    def load(self) -> None:
        """Read the configured policies and store those that are new. Raises BadPolicy, with the line of the mistake.

        The file of contacts is read too, since messages are planned with both. Raises BadContacts.
        """
        people.known(self._settings)
        try:
            priors()
            rules_with(self._settings.network_rules_path)
        except (BadModel, BadNetworkRules) as error:
            raise BadPolicy(str(error)) from None
        for name in {account.policy for account in self._settings.all_accounts}:
            policy = check(find(name, self._settings.policy_dir))
            self._store(policy.id, read(name, self._settings.policy_dir))
            self._current[name] = self._known[policy.id] = policy
        self.refresh()

    def refresh(self) -> None:
        """See whether another retry model is in use by now; every sweep asks."""
        with self._db.read() as db:
            broken = self._models.refresh(db)
        for owner, because in broken.items():
            log.error("retry_model_unusable", account=owner.account, because=because)

    def _store(self, id: str, body: dict[str, Any]) -> None:
        with self._db.begin() as db:
            row = {"id": id, "body": body, "first_used_at": self._now()}
            db.execute(insert(db, t.policy).on_conflict_do_nothing(), row)  # another process may start just now
            if db.scalar(select(t.policy.c.body).where(t.policy.c.id == id)) != body:
                raise BadPolicy(f"policy {id} was changed after it was used: give the changed one a new version")

    def current(self, account: str, livemode: bool) -> Policy:
        """What a new case of this account is opened with."""
        owner = self._settings.account(account, livemode) or self._settings.all_accounts[0]
        return self._now_of(self._current[owner.policy], account, livemode)

    def of(self, account: str, livemode: bool, id: str) -> Policy:
        """The policy a case was opened with, in the mode that the account has now."""
        if id not in self._known:
            with self._db.read() as db:
                body = db.scalar(select(t.policy.c.body).where(t.policy.c.id == id))
            if body is None:
                raise BadPolicy(f"policy {id} is not known to this database")
            self._known[id] = parse(body, f"policy {id}")
        return self._now_of(self._known[id], account, livemode)

    def _now_of(self, policy: Policy, account: str, livemode: bool) -> Policy:
        """The policy with what does not belong to its version: of the account, and what is in use now."""
        known = self._settings.account(account, livemode)
        return replace(
            policy,
            mode=Mode(known.mode if known else "observe"),  # an account that is not configured is only observed
            model=self.model(Owner(account, livemode)),
            rules=rules_with(self._settings.network_rules_path),
            home=known.country if known and known.id == account else None,  # a connected account may be elsewhere
        )

    def model(self, owner: Owner) -> Model:
        """The retry model that the account goes by now."""
        return self._models.of(owner)
