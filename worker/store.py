"""Rows to values and back. No decisions here: what to write comes from `billing`, which rows exist comes from SQL.

Everything works on many customers at once, because the inbox is handled in batches; a batch of one is the same code.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache, lru_cache
from typing import Any

from sqlalchemy import Connection, Table, and_, bindparam, func, select, text, update

from billing.actions import Action
from billing.case import Attempt, Past, RecoveryCase, State
from billing.events.occurrences import Answer, Event
from billing.events.snapshots import Customer
from billing.memory import DISPUTE_LOOK_BACK, OF_CUSTOMERS, invoice_of, may_concern, subscription_of
from worker import tables as t
from worker.upsert import insert as insert
from worker.upsert import insert_of, replacing
from worker.values import event_from_json, event_to_json, from_json, kind_of, to_json

MOST_PAST = 12  # earlier failures that a case remembers
RECENT = 10  # events of a subscription that a new case looks at
ENDED = {Answer.PAID: "succeeded", Answer.DECLINED: "failed"}  # the state of an attempt that an event has answered


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose data: one Stripe account in one mode."""

    account: str
    livemode: bool

    @lru_cache(maxsize=4096)  # noqa: B019 - a frozen value; asked in every query, and slow to build
    def of(self, table: Table) -> Any:
        return and_(table.c.account == self.account, table.c.livemode == self.livemode)

    @property
    def key(self) -> dict[str, Any]:
        return {"account": self.account, "livemode": self.livemode}


def owned(table: Table) -> Any:
    """`Owner.of` for a query that is built once and asked with `**owner.key`."""
    return and_(table.c.account == bindparam("account"), table.c.livemode == bindparam("livemode"))


def lock(db: Connection, owner: Owner, names: Iterable[str]) -> None:
    """Hold these customers (or, where none is known, invoices) until the transaction ends; always in one order.

    SQLite has one writer anyway.
    """
    if db.dialect.name != "postgresql":
        return
    keys = sorted({zlib.crc32(f"{owner.account}/{owner.livemode}/{name}".encode()) for name in names})
    if keys:
        db.execute(text("SELECT pg_advisory_xact_lock(k) FROM unnest(CAST(:keys AS bigint[])) AS k"), {"keys": keys})


# ---------------------------------------------------------------- facts


def keep(db: Connection, owner: Owner, events: Sequence[Event], now: datetime) -> None:
    """Add these events to the facts, once each, and put their customers on the bookkeeper's list."""
    if not events:
        return
    rows = [
        {
            **owner.key,
            "source": event.id,
            "customer": event.customer,
            "subscription": subscription_of(event),
            "invoice": invoice_of(event),
            "kind": kind_of(event),
            "at": event.at,
            "recorded_at": now,
            "body": event_to_json(event),
        }
        for event in events
    ]
    db.execute(insert(db, t.fact).on_conflict_do_nothing(), rows)
    customers = sorted({event.customer for event in events if event.customer})
    if customers:
        book_again(db, owner, dict.fromkeys(customers, now))


def recall(db: Connection, owner: Owner, cases: Sequence[RecoveryCase]) -> dict[str, list[Event]]:
    """What was learnt before these cases were opened and may concern them, by invoice, in the order we learnt it."""
    if not cases:
        return {}
    rows = {row.id: row for query in _memories(owner, cases) for row in db.execute(query)}
    events = [event_from_json(rows[id].body) for id in sorted(rows)]
    earliest_last = sorted(cases, key=lambda case: case.failed_at, reverse=True)
    return {case.invoice: [event for event in events if may_concern(event, case)] for case in earliest_last}


def _memories(owner: Owner, cases: Sequence[RecoveryCase]) -> Iterator[Any]:
    """Queries for the facts of these invoices, the newest of their subscriptions, and the recent of their customers."""
    fact = t.fact
    columns = (fact.c.id, fact.c.body)
    yield select(*columns).where(owner.of(fact), fact.c.invoice.in_(sorted({case.invoice for case in cases})))
    customers = sorted({case.customer for case in cases if case.customer})
    since = min(case.failed_at for case in cases) - DISPUTE_LOOK_BACK
    yield select(*columns).where(
        owner.of(fact), fact.c.customer.in_(customers), fact.c.kind.in_(sorted(OF_CUSTOMERS)), fact.c.at >= since
    )
    newest = func.row_number().over(partition_by=fact.c.subscription, order_by=(fact.c.at.desc(), fact.c.id.desc()))
    subscriptions = sorted({case.subscription for case in cases if case.subscription})
    ranked = (
        select(*columns, newest.label("rank"))
        .where(owner.of(fact), fact.c.subscription.in_(subscriptions), fact.c.kind == "SubscriptionSeen")
        .subquery()
    )
    yield select(ranked.c.id, ranked.c.body).where(ranked.c.rank <= RECENT)


def book_again(db: Connection, owner: Owner, due: Mapping[str, datetime]) -> None:
    """Put customers on the bookkeeper's list, each for its time; an earlier time on the list stays."""
    if not due:
        return
    rows = [{**owner.key, "customer": customer, "due_at": at} for customer, at in due.items()]
    db.execute(_sooner(db.dialect.name), rows)


@cache
def _sooner(dialect: str) -> Any:
    statement = insert_of(dialect, t.to_book)
    return statement.on_conflict_do_update(
        index_elements=["account", "livemode", "customer"],
        set_={"due_at": statement.excluded.due_at},
        where=t.to_book.c.due_at > statement.excluded.due_at,
    )


def facts_of(
    db: Connection, owner: Owner, customers: Sequence[str], kinds: Iterable[str] = ()
) -> dict[str, list[tuple[Event, datetime]]]:
    """Everything known about these customers, or what is of some kinds; each fact with the time we learnt it."""
    fact = t.fact
    rows = db.execute(
        select(fact.c.customer, fact.c.body, fact.c.recorded_at)
        .where(owner.of(fact), fact.c.customer.in_(customers), *([fact.c.kind.in_(sorted(kinds))] if kinds else []))
        .order_by(fact.c.id)
    )
    found: dict[str, list[tuple[Event, datetime]]] = {customer: [] for customer in customers}
    for customer, body, recorded_at in rows.all():
        found[customer].append((event_from_json(body), recorded_at))
    return found


def customers_of_invoices(db: Connection, owner: Owner, invoices: Iterable[str]) -> dict[str, str]:
    """Whose invoices these are, as far as facts or cases say."""
    wanted = sorted(set(invoices))
    if not wanted:
        return {}
    fact = t.fact
    rows = db.execute(
        select(fact.c.invoice, func.max(fact.c.customer).label("customer"))
        .where(owner.of(fact), fact.c.invoice.in_(wanted), fact.c.customer.is_not(None))
        .group_by(fact.c.invoice)
    )
    return {row.invoice: row.customer for row in rows}


# ---------------------------------------------------------------- cases


def cases_for_update(
    db: Connection, owner: Owner, customers: Iterable[str], invoices: Iterable[str]
) -> dict[str, RecoveryCase]:
    """The cases of these customers and invoices, by invoice, with our attempts; call it under `lock`."""
    bodies: dict[str, Any] = {}
    # One query for each index: a database that sees both conditions at once may use neither.
    for query, named in ((_CASES_OF_CUSTOMERS, customers), (_CASES_OF_INVOICES, invoices)):
        if wanted := set(named) - set(bodies):
            rows = db.execute(query, {**owner.key, "names": sorted(wanted)})
            bodies |= {row.invoice: row.evidence for row in rows}
    found = {invoice: from_json(RecoveryCase, body) for invoice, body in bodies.items()}
    return _with_attempts(db, owner, found)


_NAMES: Any = bindparam("names", expanding=True)
_CASES = select(t.recovery_case.c.invoice, t.recovery_case.c.evidence).where(owned(t.recovery_case))
_CASES_OF_CUSTOMERS = _CASES.where(t.recovery_case.c.customer.in_(_NAMES))
_CASES_OF_INVOICES = _CASES.where(t.recovery_case.c.invoice.in_(_NAMES))
_ATTEMPTS = (
    select(t.attempt.c.invoice, t.attempt.c.n, t.attempt.c.at, t.attempt.c.answer, t.attempt.c.request)
    .where(owned(t.attempt), t.attempt.c.invoice.in_(_NAMES))
    .order_by(t.attempt.c.invoice, t.attempt.c.n)
)


def case_of(db: Connection, owner: Owner, invoice: str) -> RecoveryCase | None:
    return cases_for_update(db, owner, (), (invoice,)).get(invoice)


def _with_attempts(db: Connection, owner: Owner, cases: dict[str, RecoveryCase]) -> dict[str, RecoveryCase]:
    if not cases:
        return cases
    rows = db.execute(_ATTEMPTS, {**owner.key, "names": sorted(cases)})
    made: dict[str, list[Attempt]] = {}
    for invoice, n, at, answer, request in rows:
        backup = "payment_method" in request
        made.setdefault(invoice, []).append(Attempt(n, at, Answer(answer) if answer else None, backup))
    return {invoice: replace(case, attempts=tuple(made.get(invoice, ()))) for invoice, case in cases.items()}


def past_of(db: Connection, owner: Owner, cases: Sequence[RecoveryCase]) -> dict[str, tuple[Past, ...]]:
    """The earlier failures of the customers of these cases, by invoice: those that were over before each failed."""
    customers = sorted({case.customer for case in cases if case.customer})
    if not customers:
        return {}
    table = t.recovery_case
    columns = (table.c.customer, table.c.failed_at, table.c.closed_at, table.c.state)
    rows = list(db.execute(select(*columns).where(owner.of(table), table.c.customer.in_(customers))))
    found: dict[str, tuple[Past, ...]] = {}
    for case in cases:
        earlier = sorted(
            (row.failed_at, row.closed_at if row.state == State.RECOVERED else None)
            for row in rows
            if row.customer == case.customer and row.closed_at and row.closed_at < case.failed_at
        )[-MOST_PAST:]
        found[case.invoice] = tuple(Past(failed_at, paid_at) for failed_at, paid_at in earlier)
    return found


def save_cases(db: Connection, cases: Sequence[RecoveryCase], now: datetime) -> None:
    if not cases:
        return
    rows = [
        {
            "account": case.account,
            "livemode": case.livemode,
            "invoice": case.invoice,
            "customer": case.customer,
            "subscription": case.subscription,
            "state": case.state.value,
            "because": case.because,
            "policy": case.policy,
            "arm": case.arm,
            "amount": case.amount.minor,
            "currency": case.amount.currency,
            "mrr": case.mrr.minor if case.mrr else None,
            "decline_class": case.decline_class.value,
            "failed_at": case.failed_at,
            "deadline": case.deadline,
            "closed_at": case.closed_at,
            "recovered_by": case.recovered_by.value if case.recovered_by else None,
            "evidence": to_json(case, without=frozenset({"attempts"})),
            "updated_at": now,
        }
        for case in cases
    ]
    db.execute(replacing(db.dialect.name, t.recovery_case, tuple(rows[0]), ("account", "livemode", "invoice")), rows)


def end_debits(
    db: Connection, owner: Owner, before: Mapping[str, RecoveryCase], cases: Sequence[RecoveryCase], now: datetime
) -> None:
    """Close the attempts of these cases that were under way `before`, and that an event has ended."""
    for case in cases:
        known = before[case.invoice].attempts if case.invoice in before else ()
        under_way = {attempt.n for attempt in known if attempt.answer is Answer.PROCESSING}
        for attempt in case.attempts:
            if attempt.n in under_way and attempt.answer in ENDED:
                ours = owner.of(t.attempt), t.attempt.c.invoice == case.invoice, t.attempt.c.n == attempt.n
                ended = {"state": ENDED[attempt.answer], "answer": attempt.answer.value, "finished_at": now}
                still = update(t.attempt).where(*ours, t.attempt.c.state == "processing")
                db.execute(still.values(**ended, because="told by Stripe's event"))


# ---------------------------------------------------------------- actions


def plan_actions(
    db: Connection, owner: Owner, plans: dict[str, tuple[RecoveryCase, tuple[Action, ...]]], now: datetime
) -> list[str]:
    """Make the waiting actions of these cases be exactly what was planned; the keys of those that were added."""
    waiting = _waiting(db, owner, plans)
    cancelled, added, moved = [], [], []
    for invoice, (case, actions) in plans.items():
        wanted = {action.key: action for action in actions}
        for key, (due_at, because) in waiting.get(invoice, {}).items():
            if key not in wanted:
                cancelled.append({"k": key, "why": f"no longer wanted: {case.because}", "at": now})
            elif (wanted[key].due_at, wanted[key].because) != (due_at, because):
                new = wanted[key]
                moved.append({"k": key, "due": new.due_at, "why": new.because, "what": dict(new.detail)})
        added += [action for action in actions if action.key not in waiting.get(invoice, {})]
    _cancel(db, owner, cancelled)
    _move(db, owner, moved)
    add_actions(db, owner, added, now)
    return [action.key for action in added]


def _waiting(db: Connection, owner: Owner, invoices: Iterable[str]) -> dict[str, dict[str, tuple[datetime, str]]]:
    rows = db.execute(_WAITING, {**owner.key, "names": sorted(invoices)})
    found: dict[str, dict[str, tuple[datetime, str]]] = {}
    for invoice, key, due_at, because in rows:
        found.setdefault(invoice, {})[key] = due_at, because
    return found


_WAITING = select(t.action.c.invoice, t.action.c.key, t.action.c.due_at, t.action.c.because).where(
    owned(t.action), t.action.c.invoice.in_(_NAMES), t.action.c.state == "waiting"
)


def _cancel(db: Connection, owner: Owner, rows: list[dict[str, Any]]) -> None:
    if rows:
        db.execute(
            update(t.action)
            .where(owner.of(t.action), t.action.c.key == bindparam("k"), t.action.c.state == "waiting")
            .values(state="cancelled", outcome=bindparam("why"), finished_at=bindparam("at")),
            rows,
        )


def _move(db: Connection, owner: Owner, rows: list[dict[str, Any]]) -> None:
    if rows:
        db.execute(
            update(t.action)
            .where(owner.of(t.action), t.action.c.key == bindparam("k"), t.action.c.state == "waiting")
            .values(due_at=bindparam("due"), because=bindparam("why"), detail=bindparam("what")),
            rows,
        )


def add_actions(db: Connection, owner: Owner, actions: Sequence[Action], now: datetime) -> None:
    """Add actions that are not there yet; one that was cancelled waits again, one that was done stays done."""
    if not actions:
        return
    rows = [
        {
            **owner.key,
            "key": action.key,
            "kind": action.kind.value,
            "invoice": action.invoice,
            "customer": action.customer,
            "detail": dict(action.detail),
            "due_at": action.due_at,
            "because": action.because,
            "state": "waiting",
            "token": 0,
            "tries": 0,
            "created_at": now,
        }
        for action in actions
    ]
    db.execute(_waiting_again(db.dialect.name), rows)


@cache
def _waiting_again(dialect: str) -> Any:
    statement = insert_of(dialect, t.action)
    again = {name: statement.excluded[name] for name in ("due_at", "because", "detail", "state")}
    return statement.on_conflict_do_update(
        index_elements=["account", "livemode", "key"],
        set_={**again, "finished_at": None, "outcome": None},
        where=t.action.c.state == "cancelled",
    )


# ---------------------------------------------------------------- people


def save_customers(db: Connection, owner: Owner, customers: Sequence[Customer], seen: datetime) -> None:
    """What we last saw of these people; the only table with personal data in it, beside the raw bodies."""
    if not customers:
        return
    rows = [
        {
            **owner.key,
            "id": customer.id,
            "email": customer.email,
            "name": customer.name,
            "locale": customer.locales[0] if customer.locales else None,
            "country": customer.country,
            "seen_at": seen,
        }
        for customer in {customer.id: customer for customer in customers}.values()
    ]
    statement = insert(db, t.customer)
    newest = {
        name: func.coalesce(statement.excluded[name], t.customer.c[name])
        for name in ("email", "name", "locale", "country", "seen_at")
    }
    db.execute(statement.on_conflict_do_update(index_elements=["account", "livemode", "id"], set_=newest), rows)
