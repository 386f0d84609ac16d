"""What people do with a case, the same for the command line and the API: each act in one transaction, under the lock of
the customer, with a line in the audit; done twice it changes nothing and answers the same.

A refusal says why and leaves nothing half done. What an act wants of the case goes through `absorb` like everything
that happens to it, so rules, last look and one-attempt guard hold for people, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

from sqlalchemy import Connection, insert, select, update

from billing.actions import Kind
from billing.assist import Assist
from billing.case import RecoveryCase, State, settle
from billing.events.asked import Asked, Extended, Held, NoticeAsked, PaidOutside, RetryAsked
from billing.events.occurrences import Event
from billing.evidence import learn
from billing.operator import after
from billing.policy import Policy
from billing.retry.schedule import next_attempt
from worker import queue_review, store, switch
from worker import tables as t
from worker.absorb import absorb_one
from worker.app import App
from worker.assist_tables import task, task_note
from worker.queue import Task, open_task
from worker.store import Owner

LONGEST = 2_000  # characters of a note
LONGEST_NAME = 100


class Refused(Exception):
    """The act cannot be done; `code` is for programs, the words for people."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(words)
        self.code = code


class BadWish(Refused):
    """What was asked for cannot be read."""

    def __init__(self, words: str) -> None:
        super().__init__("bad_request", words)


@dataclass(frozen=True, slots=True)
class Done:
    """What became of an act. `changed` False: it was so already."""

    said: str
    changed: bool = True


@dataclass(frozen=True, slots=True)
class Desk:
    """The case on somebody's desk, locked. `task`: its open task, if it has one."""

    app: App
    db: Connection
    owner: Owner
    case: RecoveryCase
    task: Task | None
    actor: str
    wishes: Mapping[str, Any]
    now: datetime

    @property
    def policy(self) -> Policy:
        return self.app.policies.of(self.case.account, self.case.livemode, self.case.policy)

    @property
    def because(self) -> str:
        return self.text("because", "", LONGEST)

    def text(self, name: str, default: str | None = None, most: int = LONGEST_NAME) -> str:
        """A text of the request. Raises BadWish."""
        value = self.wishes.get(name, default)
        if value is None or (value == "" and default is None):
            raise BadWish(f"{name} is missing")
        if not isinstance(value, str) or len(value) > most or not all(c.isprintable() or c in "\n\t" for c in value):
            raise BadWish(f"{name} must be a text of at most {most} characters")
        return value.strip()

    def instant(self, name: str) -> datetime:
        """An instant of the request: ISO 8601 with a zone, or a day, which means its end in UTC. Raises BadWish."""
        text = self.text(name)
        try:
            if len(text) == 10:
                day = datetime.fromisoformat(text)
                return datetime.combine(day + timedelta(days=1), time(), UTC)
            found = datetime.fromisoformat(text)
            if found.tzinfo is None:
                raise BadWish(f"{name} needs a zone, as in 2027-01-31T12:00:00Z")
            return found.astimezone(UTC)
        except (ValueError, OverflowError):
            raise BadWish(f"{name} must be a day like 2027-01-31, or an instant with its zone") from None


Act = Callable[[Desk], Done]


def act(app: App, owner: Owner, what: str, invoice: str, actor: str, wishes: Mapping[str, Any]) -> Done:
    """Do `what` to a case in a transaction of its own. Raises Refused and LookupError."""
    with app.db.begin() as db:
        done = act_in(app, db, owner, what, invoice, actor, wishes)
    if done.changed:
        app.bell.ring("actions")
    return done


def act_in(
    app: App,
    db: Connection,
    owner: Owner,
    what: str,
    invoice: str,
    actor: str,
    wishes: Mapping[str, Any],
    token: str = "",
) -> Done:
    """The same inside a transaction that the caller began; `token`: through which the person came, for the audit."""
    if what not in ACTS:
        raise BadWish(f"there is no act {what!r}; there are {', '.join(ACTS)}")
    name = actor.strip() if isinstance(actor, str) else ""
    if not name or len(name) > LONGEST_NAME or not name.isprintable() or name == queue_review.US:
        raise BadWish("actor must be the name of who asks")
    desk = _desk(app, db, owner, invoice, name, wishes)
    done = ACTS[what](desk)
    if done.changed:
        who = f"{name} (token {token})" if token else name
        words = {"actor": who, "what": f"queue {what}", "object": invoice, "because": desk.because or done.said}
        db.execute(insert(t.audit), {**owner.key, **words, "at": desk.now})
    return done


def _desk(app: App, db: Connection, owner: Owner, invoice: str, actor: str, wishes: Mapping[str, Any]) -> Desk:
    table = t.recovery_case
    known = db.execute(select(table.c.customer).where(owner.of(table), table.c.invoice == invoice)).first()
    if known is None:
        raise LookupError(f"there is no case for an invoice {invoice[:100]}")
    store.lock(db, owner, [known.customer] if known.customer else [])
    store.lock(db, owner, [invoice])
    case = store.case_of(db, owner, invoice)
    if case is None:
        raise LookupError(f"there is no case for an invoice {invoice[:100]}")
    return Desk(app, db, owner, case, open_task(db, owner, invoice), actor, wishes, app.now())


# ---------------------------------------------------------------- the task


def _take(desk: Desk) -> Done:
    task = _task(desk)
    if task.owner == desk.actor:
        return Done("it is yours already", False)
    if task.owner:
        raise Refused("taken", f"{task.owner} has it; give it to somebody else with assign")
    return _give(desk, task, desk.actor)


def _assign(desk: Desk) -> Done:
    task, to = _task(desk), desk.text("to", "")
    if (task.owner or "") == to:
        return Done(f"{to or 'nobody'} has it already", False)
    return _give(desk, task, to)


def _give(desk: Desk, given: Task, to: str) -> Done:
    owner = {"assigned_to": to or None, "state": "taken" if to else "open"}
    desk.db.execute(update(task).where(task.c.id == given.id).values(**owner))
    return Done(f"{to or 'nobody'} has it now")


def _due(desk: Desk) -> Done:
    found, at = _task(desk), desk.instant("at")
    if found.due_at == at and found.due_by:
        return Done(f"due {_minute(at)} already", False)
    if at <= desk.now:
        raise Refused("in_the_past", f"{_minute(at)} has passed")
    desk.db.execute(update(task).where(task.c.id == found.id).values(due_at=at, due_by=desk.actor))
    return Done(f"due {_minute(at)}")


def _note(desk: Desk) -> Done:
    words = desk.text("words", None, LONGEST)
    if not words:
        raise BadWish("words is missing")
    return Done("noted", note(desk, words))


def note(desk: Desk, words: str) -> bool:
    """Add a note; False when the same person wrote the same that day."""
    names = "\n".join((desk.case.invoice, desk.actor, f"{desk.now:%Y-%m-%d}", words))
    row = {
        **desk.owner.key,
        "invoice": desk.case.invoice,
        "key": hashlib.sha256(names.encode()).hexdigest()[:40],
        "actor": desk.actor,
        "words": words,
        "at": desk.now,
    }
    added = store.insert(desk.db, task_note).on_conflict_do_nothing().returning(task_note.c.id)
    return desk.db.execute(added, row).first() is not None


def _finish(desk: Desk) -> Done:
    if desk.task is None:
        return Done("no task is open", False)
    if desk.because:
        note(desk, desk.because)
    queue_review.close(desk.db, desk.task.id, desk.actor, desk.because or "done", desk.now)
    return Done("done; it comes back only for a new reason")


def _task(desk: Desk) -> Task:
    if desk.task is None:
        raise Refused("no_task", "this case has no open task")
    return desk.task


# ---------------------------------------------------------------- the case


def _hold(desk: Desk) -> Done:
    _live(desk)
    if desk.case.operator.held:
        return Done("it is held already", False)
    _absorb(desk, "held", Held(desk.case.invoice, True), desk.case.operator.hold_told_at)
    return Done("held: nothing is sent and nothing is tried until it is released")


def _release(desk: Desk) -> Done:
    if not desk.case.operator.held:
        return Done("it is not held by an operator", False)
    case = _absorb(desk, "released", Held(desk.case.invoice, False), desk.case.operator.hold_told_at)
    return Done(f"released; the case is {case.state}: {case.because}")


def _retry_now(desk: Desk) -> Done:
    _live(desk)
    _not_stopped(desk)
    wished = RetryAsked(desk.case.invoice)
    tried = max([desk.case.last_failed_at, *(attempt.at for attempt in desk.case.executed)])
    if desk.case.operator.retry_due(tried, desk.now):
        return Done("an attempt is asked for already; the next sweep makes it", False)
    event = _event(desk, "retry_asked", wished, desk.now)
    wait = next_attempt(settle(learn(desk.case, event, desk.policy)), desk.policy, desk.now)
    if wait.until is None:
        raise Refused("not_allowed", f"no attempt may be made: {wait.because}")
    if wait.until > desk.now:
        raise Refused("not_yet", f"not before {_minute(wait.until)}: {wait.because}")
    _absorb(desk, "retry_asked", wished, None)
    return Done("an attempt is made now, if the last look at Stripe and the networks' rules allow it")


def _send_now(desk: Desk) -> Done:
    _not_stopped(desk)
    if not desk.policy.mode.sends:
        raise Refused("not_allowed", f"mode {desk.policy.mode}: nothing is sent")
    step = desk.text("step", "")
    waiting = _messages(desk)
    ended = desk.case.notice(step)
    if step and ended is not None:
        raise Refused("sent", f"{step} has ended already: {ended}; no message is sent twice")
    chosen = step or next(iter(waiting), "")
    if chosen not in waiting:
        because = f"{chosen} is not due in this case" if chosen else f"no message is due: {desk.case.because}"
        raise Refused("not_due", f"{because}; due are: {', '.join(waiting) or 'none'}")
    if waiting[chosen] <= desk.now:
        return Done(f"{chosen} is due already; the next sweep sends it", False)
    _absorb(desk, "notice_asked", NoticeAsked(desk.case.invoice, chosen), None)
    return Done(f"{chosen} is sent now, if its reader may have it")


def _messages(desk: Desk) -> dict[str, datetime]:
    """The messages that wait in the outbox for this case, by step, the soonest first."""
    mine = desk.owner.of(t.action) & (t.action.c.invoice == desk.case.invoice) & (t.action.c.state == "waiting")
    notices = select(t.action.c.detail, t.action.c.due_at).where(mine, t.action.c.kind == Kind.NOTICE.value)
    return {str(row.detail["step"]): row.due_at for row in desk.db.execute(notices.order_by(t.action.c.due_at))}


def _extend(desk: Desk) -> Done:
    _live(desk)
    until, limit = desk.instant("until"), _longest(desk.case, desk.policy.assist)
    if until == desk.case.deadline:
        return Done(f"it ends {_minute(until)} already", False)
    if until <= desk.case.deadline:
        raise Refused("not_later", f"the window is open until {_minute(desk.case.deadline)} already")
    if until > limit:
        raise Refused("too_late", f"the policy allows {_minute(limit)} at the latest")
    _absorb(desk, "extended", Extended(desk.case.invoice, until), None)
    return Done(f"the window is open until {_minute(until)}")


def _longest(case: RecoveryCase, assist: Assist) -> datetime:
    return case.window_ends + assist.extend


def _offer(desk: Desk) -> Done:
    """An offer is written down, not carried out: docs/queue.md says why."""
    what = desk.text("what")
    words = f"offered: {what}" + (f" ({desk.because})" if desk.because else "")
    changed = note(desk, words)
    return Done("noted; apply it in Stripe: a credit note lowers what this invoice asks for, and is seen here", changed)


def _paid_outside(desk: Desk) -> Done:
    case = desk.case
    if case.state is State.RECOVERED:
        return Done("it is paid already", False)
    if case.operator.outside:
        return Done("Stripe is being told already", False)
    if desk.app.stripe.of(desk.owner.account, desk.owner.livemode) is None:
        raise Refused("no_key", "no Stripe key is configured for this account")
    if case.voided_at:
        raise Refused("voided", "the invoice was voided: there is nothing to pay")
    if case.in_flight or case.under_way:
        raise Refused("under_way", "a payment is under way: see first how it ends, or the customer pays twice")
    _absorb(desk, "paid_outside", PaidOutside(case.invoice, True), case.operator.outside_told_at)
    return Done("Stripe is told that it was paid outside; nothing is sent or tried meanwhile")


def _live(desk: Desk) -> None:
    if not desk.case.live:
        raise Refused("ended", f"the case has ended: {desk.case.because}")


def _not_stopped(desk: Desk) -> None:
    for scope, by, because, _ in switch.standing(desk.db):
        if scope in (switch.EVERYTHING, desk.owner.account):
            raise Refused("stopped", f"stopped by {by}: {because}")


def _absorb(desk: Desk, name: str, what: Asked, told: datetime | None) -> RecoveryCase:
    """Let the case learn it, later than what it takes back, even where the clock stands still."""
    event = _event(desk, name, what, after(desk.now, told))
    case = absorb_one(desk.app, desk.db, desk.owner, event)
    return case or replace(desk.case)


def _event(desk: Desk, name: str, what: Asked, at: datetime) -> Event:
    case = desk.case
    id = f"reprieve:{name}:{case.invoice}:{at.isoformat()}"
    return Event(id, f"reprieve.{name}", at, case.account, case.livemode, what, customer=case.customer)


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


ACTS: dict[str, Act] = {
    "take": _take,
    "assign": _assign,
    "due": _due,
    "note": _note,
    "hold": _hold,
    "release": _release,
    "retry-now": _retry_now,
    "send-now": _send_now,
    "extend": _extend,
    "offer": _offer,
    "paid-outside": _paid_outside,
    "done": _finish,
}
