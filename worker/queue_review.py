"""Keep the tasks in step with the cases: opened, changed and closed in the transaction that changed the case.

    absorb -> review                          something happened to the case
    to_review -> sweep -> review              time passed, a message came back, an action got stuck

Everything works on many cases at once with a fixed number of queries. What a person is done with is not asked again
for the same occurrence of a reason.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, select, text, update

from billing import assist
from billing.actions import Kind
from billing.assist import Facts, Need, Stuck
from billing.case import RecoveryCase, State
from billing.notices.sequence import Via
from billing.policy import Policy
from billing.retry.schedule import next_attempt
from worker import queue_marks, store
from worker import tables as t
from worker.app import App
from worker.assist_tables import OPEN, task, task_reason, to_review
from worker.channel_tables import contact_report
from worker.link_tables import customer_word
from worker.store import Owner

US = "reprieve"
BATCH = 100
MOST_BATCHES = 20  # in one sweep: after an upgrade every open case is on the list
RETURNED = ("hard", "complaint")


# ---------------------------------------------------------------- which cases


def run_due(app: App) -> int:
    """Look at the cases whose time has come; how many there were. Of very many the rest waits for the next sweep."""
    looked = 0
    for _ in range(MOST_BATCHES):
        number = 0 if app.stopping.is_set() else _batch(app)
        looked += number
        if not number:
            break
    return looked


def _batch(app: App) -> int:
    now = app.now()
    due = select(to_review).where(to_review.c.due_at <= now).order_by(to_review.c.due_at).limit(BATCH)
    with app.db.read() as db:
        rows = db.execute(due).all()
    waiting: dict[Owner, list[str]] = defaultdict(list)
    for row in rows:
        waiting[Owner(row.account, row.livemode)].append(row.invoice)
    for owner, invoices in waiting.items():
        with app.db.begin() as db:
            _look_again(app, db, owner, invoices, now)
    return len(rows)


def _look_again(app: App, db: Connection, owner: Owner, invoices: list[str], now: datetime) -> None:
    case, action = t.recovery_case, t.action
    customers = db.scalars(select(case.c.customer).where(owner.of(case), case.c.invoice.in_(invoices)))
    # Customers before rows, as everywhere; a mark that comes meanwhile waits for us and is made anew.
    store.lock(db, owner, [name for name in customers if name])
    store.lock(db, owner, invoices)
    mine = owner.of(to_review) & to_review.c.invoice.in_(invoices) & (to_review.c.due_at <= now)
    db.execute(delete(to_review).where(mine))
    waits = (action.c.kind == Kind.RETRY.value) & (action.c.state == "waiting")
    retrying = db.scalars(select(action.c.invoice).where(owner.of(action), action.c.invoice.in_(invoices), waits))
    cases = store.cases_for_update(db, owner, (), invoices)
    review(app, db, owner, list(cases.values()), frozenset(retrying))


# ---------------------------------------------------------------- what they need


@dataclass(frozen=True, slots=True)
class Known:
    """What is stored about the tasks of these cases, and what their reasons are looked up in."""

    tasks: Mapping[str, Row[Any]]  # the open one of each invoice
    reasons: Mapping[int, Mapping[str, Row[Any]]]  # by task: the rows of its reasons
    done_with: Mapping[tuple[str, str], datetime]  # by (invoice, reason): the newest occurrence a person is done with
    facts: Mapping[str, Facts]


def review(
    app: App, db: Connection, owner: Owner, cases: Sequence[RecoveryCase], retrying: Collection[str] = ()
) -> None:
    """Bring the tasks of these cases up to date; call it under their customers' lock. `retrying`: those for which a
    payment attempt is planned."""
    if not cases:
        return
    now = app.now()
    known = _known(app, db, owner, cases, retrying)
    later: dict[str, datetime] = {}
    for case in cases:
        policy = _policy(app, case)
        found = assist.needs(case, known.facts[case.invoice], policy.assist, now)
        asked = [need for need in found if not _done_with(known, case.invoice, need)]
        _settle(db, owner, case, asked, policy, known, now)
        if at := assist.next_review(case, policy.assist, now):
            later[case.invoice] = at
    queue_marks.mark_for(db, owner, later)


def _policy(app: App, case: RecoveryCase) -> Policy:
    return app.policies.of(case.account, case.livemode, case.policy)


def _done_with(known: Known, invoice: str, need: Need) -> bool:
    done = known.done_with.get((invoice, need.reason.value))
    return done is not None and need.since <= done


def _known(app: App, db: Connection, owner: Owner, cases: Sequence[RecoveryCase], retrying: Collection[str]) -> Known:
    invoices = sorted(case.invoice for case in cases)
    named = {**owner.key, "names": invoices}
    tasks = {row.invoice: row for row in db.execute(_OPEN_TASKS, named)}
    reasons: dict[int, dict[str, Row[Any]]] = defaultdict(dict)
    done_with: dict[tuple[str, str], datetime] = {}
    for row in db.execute(_REASONS, named):
        reasons[row.task][row.reason] = row
        if row.by_person:
            key = (row.invoice, row.reason)
            done_with[key] = max(row.since, done_with.get(key, row.since))
    owed = [case for case in cases if case.state is not State.RECOVERED or case.invoice in tasks]
    return Known(tasks, reasons, done_with, _facts(app, db, owner, cases, owed, retrying))


def _facts(
    app: App,
    db: Connection,
    owner: Owner,
    cases: Sequence[RecoveryCase],
    owed: Sequence[RecoveryCase],
    retrying: Collection[str],
) -> dict[str, Facts]:
    """What the cases themselves do not hold; nothing is asked about those that are settled and have no task."""
    found = {case.invoice: Facts() for case in cases}
    if not owed:
        return found
    invoices = sorted(case.invoice for case in owed)
    stuck = _stuck(db, owner, invoices)
    returned, reached = _contacts(db, owner, invoices)
    wrote = _words(db, owner, sorted({case.customer for case in owed if case.customer}))
    for case in owed:
        no_attempt = None if case.invoice in retrying else _no_attempt(app, case)
        found[case.invoice] = Facts(
            tuple(stuck.get(case.invoice, ())),
            returned.get(case.invoice),
            reached.get(case.invoice),
            wrote.get(case.customer or ""),
            no_attempt,
        )
    return found


def _no_attempt(app: App, case: RecoveryCase) -> str | None:
    """Why no payment attempt is planned, None when one is or when attempts are not ours to make."""
    policy = _policy(app, case)
    if not case.live or not policy.mode.charges or not policy.max_attempts or case.state in (State.HELD, State.PAUSED):
        return None
    wait = next_attempt(case, policy, app.now())
    return wait.because if wait.until is None else None


def _stuck(db: Connection, owner: Owner, invoices: list[str]) -> dict[str, list[Stuck]]:
    found: dict[str, list[Stuck]] = defaultdict(list)
    for row in db.execute(_STUCK, {**owner.key, "names": invoices}):
        found[row.invoice].append(Stuck(row.kind, row.finished_at or row.created_at, row.outcome or "no reason kept"))
    return found


def _contacts(db: Connection, owner: Owner, invoices: list[str]) -> tuple[dict[str, datetime], dict[str, datetime]]:
    """By invoice: when a message last came back or was refused, and when one was last taken."""
    returned: dict[str, datetime] = {}
    reached: dict[str, datetime] = {}
    named = {**owner.key, "names": invoices}
    for invoice, at in db.execute(_RETURNED, named):
        returned[invoice] = at
    for invoice, state, at in db.execute(_HANDED_OVER, named):
        if state == "accepted":
            reached[invoice] = at
        elif at is not None:
            returned[invoice] = max(at, returned.get(invoice, at))
    return returned, reached


def _words(db: Connection, owner: Owner, customers: list[str]) -> dict[str, datetime]:
    found = db.execute(_WORDS, {**owner.key, "names": customers})
    return {customer: at for customer, at in found}  # noqa: C416


# Asked for every event, so built once. `names`: invoices, of the last one customers.
_NAMES: Any = bindparam("names", expanding=True)
_OPEN_TASKS = select(task).where(store.owned(task), task.c.invoice.in_(_NAMES), text(OPEN))
_REASONS = select(task_reason).where(store.owned(task_reason), task_reason.c.invoice.in_(_NAMES))
_STUCK = select(
    t.action.c.invoice, t.action.c.kind, t.action.c.finished_at, t.action.c.created_at, t.action.c.outcome
).where(store.owned(t.action), t.action.c.invoice.in_(_NAMES), t.action.c.state == "stuck")
_RETURNED = (
    select(contact_report.c.invoice, func.max(contact_report.c.at))
    .where(store.owned(contact_report), contact_report.c.invoice.in_(_NAMES), contact_report.c.kind.in_(RETURNED))
    .group_by(contact_report.c.invoice)
)
_HANDED_OVER = (
    select(t.notice.c.invoice, t.notice.c.state, func.max(t.notice.c.finished_at))
    .where(store.owned(t.notice), t.notice.c.invoice.in_(_NAMES), t.notice.c.state.in_(("accepted", "rejected")))
    .where(t.notice.c.channel != Via.CHAT.value)  # whether the team has it says nothing of the customer
    .group_by(t.notice.c.invoice, t.notice.c.state)
)
_WORDS = (
    select(customer_word.c.customer, func.max(customer_word.c.at))
    .where(store.owned(customer_word), customer_word.c.customer.in_(_NAMES))
    .group_by(customer_word.c.customer)
)


# ---------------------------------------------------------------- what follows


def _settle(
    db: Connection,
    owner: Owner,
    case: RecoveryCase,
    asked: Sequence[Need],
    policy: Policy,
    known: Known,
    now: datetime,
) -> None:
    """Make the task of one case be what its reasons say."""
    row = known.tasks.get(case.invoice)
    if row is None and not asked:
        return
    if row is None:
        number = _opened(db, owner, case, asked, policy, now)
        _reasons(db, owner, case, number, asked, {}, now)
        return
    _reasons(db, owner, case, row.id, asked, known.reasons.get(row.id, {}), now)
    if not asked:
        because = "no reason is left" if case.live else f"the case has ended: {case.because}"
        close(db, row.id, US, because, now)
        return
    due = row.due_at if row.due_by else assist.due(asked, case, policy.assist, row.opened_at)
    new = {**_shown(case), "priority": assist.priority(asked), "due_at": due}
    if any(getattr(row, name) != value for name, value in new.items()):
        db.execute(update(task).where(task.c.id == row.id).values(**new))


def _opened(
    db: Connection, owner: Owner, case: RecoveryCase, asked: Sequence[Need], policy: Policy, now: datetime
) -> int:
    row = {
        **owner.key,
        **_shown(case),
        "invoice": case.invoice,
        "state": "open",
        "priority": assist.priority(asked),
        "due_at": assist.due(asked, case, policy.assist, now),
        "opened_at": now,
    }
    return int(db.execute(store.insert(db, task).returning(task.c.id), row).scalar_one())


def _shown(case: RecoveryCase) -> dict[str, Any]:
    return {
        "customer": case.customer,
        "amount": case.amount.minor,
        "currency": case.amount.currency,
        "mrr": case.mrr.minor if case.mrr else None,
    }


def _reasons(
    db: Connection,
    owner: Owner,
    case: RecoveryCase,
    number: int,
    asked: Sequence[Need],
    before: Mapping[str, Row[Any]],
    now: datetime,
) -> None:
    """Add the reasons that came, and end those that went."""
    wanted = {need.reason.value for need in asked}
    gone = [row.id for name, row in before.items() if name not in wanted and row.ended_at is None]
    if gone:
        db.execute(update(task_reason).where(task_reason.c.id.in_(gone)).values(ended_at=now))
    rows = [
        {
            **owner.key,
            "task": number,
            "invoice": case.invoice,
            "reason": need.reason.value,
            "since": need.since,
            "because": need.because,
            "ended_at": None,
            "by_person": False,
        }
        for need in asked
        if not _stands(before.get(need.reason.value), need)
    ]
    if rows:
        statement = store.insert(db, task_reason)
        changed = {name: statement.excluded[name] for name in ("since", "because", "ended_at", "by_person")}
        db.execute(statement.on_conflict_do_update(index_elements=["task", "reason"], set_=changed), rows)


def _stands(row: Row[Any] | None, need: Need) -> bool:
    return row is not None and row.ended_at is None and (row.since, row.because) == (need.since, need.because)


def close(db: Connection, number: int, by: str, because: str, now: datetime) -> None:
    """End a task. When a person does it, its reasons are done with; else they have ended already."""
    ended = {"state": "done", "closed_at": now, "closed_by": by, "because": because}
    db.execute(update(task).where(task.c.id == number).values(**ended))
    left = (task_reason.c.task == number) & task_reason.c.ended_at.is_(None)
    db.execute(update(task_reason).where(left).values(ended_at=now, by_person=by != US))
