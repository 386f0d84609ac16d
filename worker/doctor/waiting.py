"""What waits for a person, or for a worker that does not run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from sqlalchemy import func, select

from worker import queue, switch
from worker import tables as t
from worker.doctor.finding import Answer, Level, Patient
from worker.store import Owner

WAITS_TOO_LONG = timedelta(minutes=5)
MOST_CODES = 20
TEACH = "such a payment is tried at most twice more; add the code to config/declines.toml"


def kill_switch(patient: Patient) -> Iterator[Answer]:
    with patient.db.read() as db:
        stops = switch.standing(db)
    for scope, by, because, since in stops:
        command = "reprieve mail resume" if scope.startswith(switch.MESSAGES) else "reprieve resume"
        fix = f"run `{command}` when it may go on"
        yield Level.WARN, f"{scope} is stopped by {by} since {since:%Y-%m-%d %H:%M} UTC: {because}", fix
    if not stops:
        yield Level.OK, "nothing is stopped", ""


def leftovers(patient: Patient) -> Iterator[Answer]:
    questions = (
        ("quarantined events", t.inbox, "quarantined", "see `reprieve inbox list`; then `reprieve inbox rerun`"),
        ("stuck actions", t.action, "stuck", "read `reprieve explain` of their invoices and decide by hand"),
        (
            "payment attempts with an unknown end",
            t.attempt,
            "unknown",
            "they are read again; look at Stripe if they stay",
        ),
        ("messages with an unknown end", t.notice, "unknown", "they are not repeated; nothing has to be done"),
    )
    found = []
    with patient.db.read() as db:
        for what, table, state, fix in questions:
            number = db.scalar(select(func.count()).select_from(table).where(table.c.state == state)) or 0
            if number:
                found.append((Level.WARN, f"{number} {what}", fix))
    yield from found or [(Level.OK, "nothing waits for a person", "")]


def people(patient: Patient) -> Iterator[Answer]:
    """Cases that need a person, by account."""
    fix = "see `reprieve queue list --due overdue`"
    found = []
    with patient.db.read() as db:
        for account, name in patient.accounts():
            counts = queue.counts(db, Owner(account.id, account.livemode), patient.now())
            if counts.overdue:
                found.append((Level.WARN, f"{name}: {queue.said(counts)}", fix))
    yield from found or [(Level.OK, "no case is overdue", "")]


def codes(patient: Patient) -> Iterator[Answer]:
    """Codes of declines that no table knows: they get two tries, and somebody should teach us what they mean."""
    table = t.declined_charge
    counted = func.count().label("number")
    asked = select(table.c.unknown, counted).where(table.c.unknown.is_not(None)).group_by(table.c.unknown)
    with patient.db.read() as db:
        found = list(db.execute(asked.order_by(counted.desc(), table.c.unknown).limit(MOST_CODES)))
    for unknown, number in found:
        yield Level.WARN, f"{number} declined charges with {unknown}, which nobody knows", TEACH
    if not found:
        yield Level.OK, "every code of a declined charge is known", ""


def backlog(patient: Patient) -> Iterator[Answer]:
    now = patient.now()
    with patient.db.read() as db:
        oldest = db.scalar(select(func.min(t.inbox.c.received_at)).where(t.inbox.c.state == "received"))
    if oldest and now - oldest > WAITS_TOO_LONG:
        minutes = int((now - oldest).total_seconds() // 60)
        yield Level.FAIL, f"the oldest event has waited for {minutes} minutes", "is a worker running? `reprieve worker`"
    else:
        yield Level.OK, "no event waits for long", ""
