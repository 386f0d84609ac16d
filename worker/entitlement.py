"""What customers may use now, read from their cases; and the event that tells when it changed.

The rule is `billing/entitlement.py`. `tell` is called in the transaction in which something happened, and by an action
of its own at the instant at which time alone changes the answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from billing.case import LIVE, RecoveryCase, State
from billing.entitlement import Entitlement, Level, Standing, entitlement_of
from billing.events.occurrences import Event, SubscriptionSeen
from billing.subscription_evidence import paused_by_choice
from worker import outgoing, store
from worker.app import App
from worker.ending_tables import entitlement_told as told_table
from worker.store import Owner
from worker.tables import customer as person
from worker.tables import fact, recovery_case
from worker.values import event_from_json, from_json

CHANGED = "entitlement.changed"
COUNTS = [state.value for state in (*LIVE, State.LOST)]  # cases in any other state take nothing away
IN_ORDER = frozenset({"active", "trialing"})


def of_customers(app: App, db: Connection, owner: Owner, customers: Sequence[str]) -> dict[str, Entitlement]:
    """What each of these customers may use now; one whose cases say nothing may use everything."""
    wanted = select(recovery_case.c.customer, recovery_case.c.evidence).where(
        owner.of(recovery_case), recovery_case.c.customer.in_(customers), recovery_case.c.state.in_(COUNTS)
    )
    cases: dict[str, list[RecoveryCase]] = {}
    for customer, evidence in db.execute(wanted):
        cases.setdefault(customer, []).append(from_json(RecoveryCase, evidence))
    lost = [customer for customer, theirs in cases.items() if any(case.state is State.LOST for case in theirs)]
    running = _in_order(db, owner, lost)
    now = app.now()
    return {
        customer: entitlement_of([_standing(app, case) for case in cases.get(customer, ())], customer in running, now)
        for customer in customers
    }


def unknown(db: Connection, owner: Owner, customers: Sequence[str]) -> set[str]:
    """Those of whom nothing was ever told."""
    seen = [
        select(column).where(owner.of(column.table), column.in_(customers))
        for column in (person.c.id, fact.c.customer, recovery_case.c.customer)
    ]
    return set(customers) - set(db.scalars(seen[0].union(*seen[1:])))


def _standing(app: App, case: RecoveryCase) -> Standing:
    """Who is only observed loses nothing."""
    policy = app.policies.of(case.account, case.livemode, case.policy)
    return Standing(case, policy.access if policy.mode.sends else None, policy.promise_grace)


def _in_order(db: Connection, owner: Owner, customers: Sequence[str]) -> set[str]:
    """Who of them has a subscription whose newest snapshot says that it runs and nothing is owed."""
    if not customers:
        return set()
    newest = func.row_number().over(partition_by=fact.c.subscription, order_by=(fact.c.at.desc(), fact.c.id.desc()))
    ranked = (
        select(fact.c.customer, fact.c.body, newest.label("rank"))
        .where(owner.of(fact), fact.c.customer.in_(customers), fact.c.kind == "SubscriptionSeen")
        .subquery()
    )
    found = set()
    for customer, body in db.execute(select(ranked.c.customer, ranked.c.body).where(ranked.c.rank == 1)):
        what = event_from_json(body).what
        if isinstance(what, SubscriptionSeen) and what.subscription.status in IN_ORDER:
            found |= set() if paused_by_choice(what.subscription) else {customer}
    return found


def shown(owner: Owner, customer: str, answer: Entitlement) -> dict[str, Any]:
    """The answer as others read it; its names and values stay."""
    return {
        "customer": customer,
        "livemode": owner.livemode,
        "entitlement": answer.level.value,
        "reason": answer.reason.value,
        "because": answer.because,
        "until": answer.until.isoformat() if answer.until else None,
        "cases": list(answer.cases),
    }


# ---------------------------------------------------------------- telling


def tell_after(
    app: App,
    db: Connection,
    owner: Owner,
    cases: Mapping[str, RecoveryCase],
    changed: Iterable[RecoveryCase],
    events: Sequence[Event],
) -> None:
    """Tell what changed for the customers of these cases; a subscription that runs again changes it as well."""
    lost = {case.customer for case in cases.values() if case.state is State.LOST}
    back = {event.customer for event in events if isinstance(event.what, SubscriptionSeen)} & lost
    customers = {case.customer for case in changed} | back
    tell(app, db, owner, sorted(customer for customer in customers if customer))


def tell(app: App, db: Connection, owner: Owner, customers: Sequence[str]) -> None:
    """Put `entitlement.changed` for each customer whose answer is not the one that was told last."""
    if not customers or not outgoing.wanted(app, CHANGED):
        return
    now = app.now()
    known = select(told_table).where(owner.of(told_table), told_table.c.customer.in_(customers))
    before = {row.customer: row for row in db.execute(known)}
    for customer, answer in of_customers(app, db, owner, customers).items():
        row = before.get(customer)
        last = (Level(row.level), row.until) if row else (Level.FULL, None)
        if (answer.level, answer.until) == last:
            continue
        number = row.number + 1 if row else 1
        _remember(db, owner, customer, number, answer, now)
        body = {**shown(owner, customer, answer), "before": last[0].value}
        outgoing.put(app, db, owner, CHANGED, f"{customer}:{number}", body)


def _remember(db: Connection, owner: Owner, customer: str, number: int, answer: Entitlement, now: datetime) -> None:
    values = {"number": number, "level": answer.level.value, "until": answer.until, "at": now}
    statement = store.insert(db, told_table).values({**owner.key, "customer": customer, **values})
    keys = ["account", "livemode", "customer"]
    db.execute(statement.on_conflict_do_update(index_elements=keys, set_=values))
