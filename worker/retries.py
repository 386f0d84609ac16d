"""How the timing of retries stands, for an operator: the model in use, what it foretold and what came, what is next.

Each attempt keeps the chance that was told for it (`action.detail`), so that a model is held to its word by what the
banks really answered.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TextIO

from sqlalchemy import Connection, select

from billing.events.occurrences import Answer
from billing.words import counted
from worker import retry_models, schedule
from worker import tables as t
from worker.app import App
from worker.learning.checks import Found, measured
from worker.refit import FAILED, JOB, WEEK
from worker.retry_models import Fitted
from worker.store import Owner

LATELY = timedelta(days=60)
MOST = 20_000  # attempts
KNOWN = (Answer.PAID, Answer.DECLINED, Answer.NEEDS_ACTION)


@dataclass(frozen=True, slots=True)
class Status:
    """One account. `found`: what was told of the attempts of the last sixty days, against what came."""

    owner: Owner
    version: str
    fitted: Fitted | None  # None: the shipped prior
    newest: Fitted | None
    found: Found
    explored: int
    job: schedule.Done | None

    def warnings(self, now: datetime) -> Iterator[tuple[str, str]]:
        """(what is wrong, what to do)."""
        if self.newest and self.newest.state == "refused":
            yield (
                f"the newest model {self.newest.version} is refused: {self.newest.because}",
                "the old one stays; see `reprieve retries models`, or try again with `reprieve retries refit`",
            )
        if self.found.drifted:
            yield (
                f"{100 * self.found.told:.0f} % of the attempts should have paid and {100 * self.found.came:.0f} % did",
                "run `reprieve retries refit`, or `reprieve retries use` another version",
            )
        if self.job and (self.job.because or "").startswith(FAILED):
            yield f"the last fitting {self.job.because}", "mend it, then run `reprieve retries refit`"
        if self.job and now > self.job.due_at + WEEK:
            yield f"no model was fitted since {self.job.due_at:%Y-%m-%d}, when it was due", "is a worker running?"

    def lines(self, now: datetime) -> Iterator[str]:
        mode = "live" if self.owner.livemode else "test"
        yield f"Account {self.owner.account} ({mode})"
        if self.fitted:
            checked = self.fitted.checks.get("held_out", {})
            yield (
                f"  model {self.version}, fitted {self.fitted.fitted_at:%Y-%m-%d %H:%M} UTC from"
                f" {self.fitted.cases} closed cases; off by {100 * checked.get('ece', 0):.1f} points on"
                f" {checked.get('attempts', 0)} held-out attempts"
            )
        else:
            yield f"  model {self.version}: the shipped one, nothing is learnt yet"
        found = self.found
        if found.attempts:
            yield (
                f"  {counted(found.attempts, 'attempt')} in 60 days: {100 * found.told:.1f} % were expected to pay,"
                f" {100 * found.came:.1f} % did; {self.explored} made at another hour to learn from it"
            )
        else:
            yield "  no attempt of the last 60 days was timed by a model"
        if self.job:
            last = f"last time: {self.job.because}; " if self.job.because else ""
            yield f"  {last}next fitting {self.job.due_at:%Y-%m-%d %H:%M} UTC"
        for wrong, fix in self.warnings(now):
            yield f"  look: {wrong}; {fix}"


def status(db: Connection, owner: Owner, version: str, now: datetime) -> Status:
    known = retry_models.models(db, owner)
    pairs, explored = _foretold(db, owner, now - LATELY)
    return Status(
        owner=owner,
        version=version,
        fitted=next((each for each in known if each.version == version), None),
        newest=known[0] if known else None,
        found=measured(pairs),
        explored=explored,
        job=schedule.of(db, owner, JOB),
    )


def _foretold(db: Connection, owner: Owner, since: datetime) -> tuple[list[tuple[float, bool]], int]:
    """(chance told, whether it paid) of every attempt that a model timed, and how many of them explored."""
    attempt, action = t.attempt, t.action
    same = (attempt.c.account == action.c.account) & (attempt.c.livemode == action.c.livemode)
    rows = db.execute(
        select(action.c.detail, attempt.c.answer)
        .join(action, same & (attempt.c.action_key == action.c.key))
        .where(owner.of(attempt), attempt.c.at >= since, attempt.c.answer.in_([each.value for each in KNOWN]))
        .order_by(attempt.c.id.desc())
        .limit(MOST)
    )
    made = [(detail, answer == Answer.PAID) for detail, answer in rows if "told" in detail]
    return [(detail["told"] / 1000, paid) for detail, paid in made], sum("explored" in detail for detail, _ in made)


def tell(app: App, owners: list[Owner], as_json: bool, out: TextIO) -> None:
    now = app.now()
    with app.db.read() as db:
        found = [status(db, owner, app.policies.model(owner).version, now) for owner in owners]
    if as_json:
        json.dump([_plain(each, now) for each in found], out, indent=2)
        out.write("\n")
        return
    for each in found:
        out.writelines(f"{line}\n" for line in each.lines(now))


def _plain(each: Status, now: datetime) -> dict[str, Any]:
    return {
        "account": each.owner.account,
        "livemode": each.owner.livemode,
        "model": each.version,
        "cases": each.fitted.cases if each.fitted else 0,
        "checks": dict(each.fitted.checks) if each.fitted else {},
        "foretold": each.found.to_json(),
        "explored": each.explored,
        "last": each.job.because if each.job else None,
        "next": each.job.due_at.isoformat() if each.job else None,
        "warnings": [wrong for wrong, _ in each.warnings(now)],
    }


def listing(app: App, owner: Owner, out: TextIO) -> None:
    """Every fitted version, the newest first."""
    with app.db.read() as db:
        known = retry_models.models(db, owner)
    out.write(f"Account {owner.account} ({'live' if owner.livemode else 'test'})\n")
    for each in known:
        state = "in use" if each.in_use else "replaced" if each.state == "active" else each.state
        checked = each.checks.get("held_out", {})
        out.write(
            f"  {each.version}  {state:<9} fitted {each.fitted_at:%Y-%m-%d %H:%M} from {each.cases} cases,"
            f" off by {100 * checked.get('ece', 0):.1f} points; {each.because} ({each.by}, {each.said_at:%Y-%m-%d})\n"
        )
    if not known:
        out.write("  none was fitted yet; the shipped one is in use\n")
