"""The volume guard: an hour with unbelievably many messages stops an account's messages, and the team is told.

Payments go on. `reprieve mail resume` releases it when somebody has looked; what waited is sent then. Workers that send
at the same moment may go past the number by as many as they are.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection, func, select

from billing.notices import address
from billing.notices.compose import message_id
from billing.notices.volume import AT_LEAST, most_in_an_hour, too_many
from worker import switch
from worker.app import App
from worker.channels import Message
from worker.store import Owner
from worker.tables import notice
from worker.talk import team_of

HOUR, LOOK_BACK = timedelta(hours=1), timedelta(days=35)  # five weeks: every first of a month is one of them
BY = "volume guard"
log = structlog.get_logger(__name__)


def full(app: App, owner: Owner) -> str:
    """Why this account may not send another message now; empty when it may.

    To be asked before the intent and outside a transaction: when it says no for the first time, messages are stopped
    and the team is told.
    """
    now = app.now()
    with app.db.read() as db:
        because = _because(app, db, owner, now)
    if not because:
        return ""
    with app.db.begin() as db:
        stands = switch.last(db, owner, switch.MESSAGES)
        if stands and stands[0]:
            return because
        switch.turn(db, owner, True, BY, because, now, switch.MESSAGES)
    log.error("messages_stopped", account=owner.account, livemode=owner.livemode, because=because)
    _tell(app, owner, because)
    return because


def busiest(db: Connection, owner: Owner, now: datetime) -> int:
    """The most messages in any hour of the last weeks, the present one left out."""
    recent = owner.of(notice) & (notice.c.at >= now - LOOK_BACK) & (notice.c.at < now - HOUR)
    at = notice.c.at
    hour = func.date_trunc("hour", at) if db.dialect.name == "postgresql" else func.substr(at, 1, 13)
    counts = select(func.count().label("number")).where(recent).group_by(hour).subquery()
    return db.scalar(select(func.max(counts.c.number))) or 0


def _because(app: App, db: Connection, owner: Owner, now: datetime) -> str:
    told, since = app.settings.most_messages_per_hour, now - HOUR
    if told == 0:
        return ""
    released = switch.last(db, owner, switch.MESSAGES)
    if released and not released[0]:
        since = max(since, released[1])  # a person has looked at what came before
    sent = _sent(db, owner, since)
    if told is None and sent < AT_LEAST:
        return ""  # the usual case: the weeks before need not be counted
    usual = 0 if told is not None else _busiest(app, db, owner, now)
    return too_many(sent, most_in_an_hour(usual, told))


_BUSIEST: dict[tuple[str, Owner], tuple[datetime, int]] = {}  # of each hour, once: five weeks are long to count


def _busiest(app: App, db: Connection, owner: Owner, now: datetime) -> int:
    key, hour = (str(app.db.url), owner), now.replace(minute=0, second=0, microsecond=0)
    known = _BUSIEST.get(key)
    if known is None or known[0] != hour:
        known = _BUSIEST[key] = hour, busiest(db, owner, now)
    return known[1]


def _sent(db: Connection, owner: Owner, since: datetime) -> int:
    return db.scalar(select(func.count()).select_from(notice).where(owner.of(notice), notice.c.at > since)) or 0


def _tell(app: App, owner: Owner, because: str) -> None:
    """By chat and by mail, where they are set up; the log, the doctor and the dashboard say it in any case."""
    subject = f"Reprieve has stopped the messages of {owner.account}"
    text = (
        f"{because[:1].upper()}{because[1:]}.\n\nNo further message leaves this account; payments go on.\n"
        'Look at what is waiting. Then: reprieve mail resume --because "..."\n'
    )
    team = team_of(app.settings)
    unique = message_id(f"alarm:{secrets.token_hex(16)}", address.parse(app.settings.mail_from).domain)
    app.db.outside_transaction("telling the team")
    for name, to in (("chat", "team"), ("email", str(team) if team else "")):
        if to and (channel := app.channels.get(name)):
            handed = channel.send(Message(unique, to, None, subject, text, f"<pre>{text}</pre>"))
            log.info("team_told", channel=name, outcome=str(handed.outcome), because=handed.because)
