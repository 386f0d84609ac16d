"""Policies with a sequence for stories, and what the customer's mailbox holds as a few words."""

from __future__ import annotations

from datetime import datetime
from email import message_from_bytes, policy
from email.utils import getaddresses
from pathlib import Path

from tests.world import World
from worker import tables as t

HEAD = """\
name = "mine"
version = 1
window_days = 14
max_attempts = 0
min_gap_hours = 24
stripe_distance_hours = 24
after_card_change_minutes = 5

[ladders]

[messages]
"""
STEPS = """
[[messages.steps]]
name = "first"
template = "payment_failed"
day = 1
{first}
[[messages.steps]]
name = "second"
template = "reminder"
day = 4
{second}
[[messages.steps]]
name = "last"
template = "last_day"
event = "before_deadline"
hours = 6
{last}
[[messages.steps]]
name = "thanks"
template = "recovered"
event = "recovered"
[[messages.steps]]
name = "ended"
template = "ended"
event = "lost"
[[messages.steps]]
name = "rescue"
template = "late_rescue"
event = "late_rescue"
"""


def policies(folder: Path, messages: str = "", *, first: str = "", second: str = "", last: str = "") -> Path:
    """A folder with a policy `mine` of no attempts and three messages that ask."""
    found = folder / "policies"
    found.mkdir()
    steps = STEPS.format(first=first, second=second, last=last)
    (found / "mine.toml").write_text(HEAD + messages + steps, encoding="utf-8")
    return found


def said(w: World) -> list[tuple[datetime, str, str]]:
    """(when, step, state) of every message that was handed over, in order."""
    return [(row.at, row.step, row.state) for row in w.rows(t.notice)]


def steps(w: World, invoice: str | None = None) -> list[str]:
    return [row.step for row in w.rows(t.notice) if invoice in (None, row.invoice)]


def readers(w: World) -> list[str]:
    """Who has mail, one address for each message."""
    mails = (message_from_bytes(mail.read_bytes(), policy=policy.default) for mail in w.mails())
    return sorted(getaddresses([str(mail["To"])])[0][1] for mail in mails)


def waiting(w: World, invoice: str) -> dict[str, datetime]:
    rows = w.rows(t.action, invoice=invoice, kind="notice", state="waiting")
    return {row.detail["step"]: row.due_at for row in rows}


def outcomes(w: World, invoice: str) -> dict[str, str]:
    return {row.detail["step"]: row.outcome for row in w.rows(t.action, invoice=invoice, kind="notice") if row.outcome}
