"""Roll-ups grow with the books, and making them anew changes nothing."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select, update

from billing.events.occurrences import Event
from billing.report.rollup import Month, Restored, roll_up
from tests.billing.ledger_story import Company, monthly, on
from tests.rollups.conftest import Clock
from worker import books, rollups, store
from worker import tables as t
from worker.app import App
from worker.store import Owner

MODEST = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def story(seed: int) -> list[Event]:
    """A customer who fails, pays late, grows, shrinks and comes and goes over half a year."""
    dice, company = random.Random(seed), Company()  # noqa: S311 - a story, not a secret
    at = on("01-05")
    company.created(at)
    for number in range(dice.randrange(4, 16)):
        at += timedelta(days=dice.randrange(1, 25), hours=dice.randrange(12))
        match dice.randrange(6):
            case 0 | 1:
                company.fails(at, f"in_{number}")
                company.subscription(at, status="past_due")
            case 2:
                company.pays(at, f"in_{number}")
                company.subscription(at, status="active")
            case 3:
                company.subscription(at, items=(monthly(dice.randrange(1, 30) * 1_000),))
            case 4:
                company.subscription(at, status="unpaid")
            case 5:
                company.pays(at, f"in_{number - 1}")
                company.subscription(at, status="active")
    return company.events


def learn(app: App, owner: Owner, events: list[Event]) -> None:
    with app.db.begin() as db:
        store.keep(db, owner, events, app.now())


def rows(app: App, owner: Owner) -> tuple[set[Any], set[Any]]:
    with app.db.read() as db:
        return (
            {
                Month(*row)
                for row in db.execute(select(*columns(t.ledger_month, Month)).where(owner.of(t.ledger_month)))
            },
            {
                Restored(*row)
                for row in db.execute(select(*columns(t.ledger_recovery, Restored)).where(owner.of(t.ledger_recovery)))
            },
        )


def columns(table: Any, kind: Any) -> list[Any]:
    return [table.c[name] for name in kind._fields]


def vandalise(app: App, owner: Owner, dice: random.Random) -> None:
    """Lose one month and every recovery, and falsify the other months."""
    months = t.ledger_month
    with app.db.begin() as db:
        known = list(db.scalars(select(months.c.month).where(owner.of(months))))
        if known:
            lost = dice.choice(known)
            db.execute(delete(months).where(owner.of(months), months.c.month == lost))
        db.execute(update(months).where(owner.of(months)).values(closing=months.c.closing + 1))
        db.execute(delete(t.ledger_recovery).where(owner.of(t.ledger_recovery)))


@MODEST
@given(seed=st.integers(0, 10**9), dice=st.randoms(use_true_random=False))
def test_late_facts_in_any_order_leave_what_a_rebuild_makes(
    app: App, clock: Clock, seed: int, dice: random.Random
) -> None:
    owner = Owner(f"acct_{seed}_{dice.random()}", False)
    clock.at = on("08-01")
    told = [replace(event, account=owner.account) for event in story(seed)]
    shuffled = dice.sample(told, len(told))
    while shuffled:
        some, shuffled = shuffled[:3], shuffled[2:]  # the last one of a batch comes again with the next
        learn(app, owner, some)
        books.keep(app)
    grown = rows(app, owner)
    with app.db.read() as db:
        folded = books.fold(store.facts_of(db, owner, ["cus_1"])["cus_1"], app.now())
    found = roll_up(folded, app.settings.reporting_timezone)
    assert grown == (set(found.months), set(found.restored))

    vandalise(app, owner, dice)
    rollups.rebuild(app)
    books.keep(app)
    assert rows(app, owner) == grown


def test_a_rebuild_lists_every_customer_once_and_sooner_than_it_was_due(app: App, clock: Clock) -> None:
    owner = Owner("acct", False)
    learn(app, owner, story(1))
    with app.db.begin() as db:
        db.execute(update(t.to_book).values(due_at=clock.at + timedelta(days=3)))
    assert rollups.rebuild(app) == 1
    assert rollups.rebuild(app) == 1
    assert books.keep(app) == 1


def test_writing_the_same_rows_again_changes_none(app: App) -> None:
    owner = Owner("acct", False)
    made = Company(events=story(7)).book()
    with app.db.begin() as db:
        assert rollups.update(db, owner, {"cus_1": made}, "UTC") > 0
        assert rollups.update(db, owner, {"cus_1": made}, "UTC") == 0


def test_a_customer_booked_under_another_name_has_no_rows_left(app: App) -> None:
    owner = Owner("acct", False)
    made = Company(events=story(7)).book()
    with app.db.begin() as db:
        rollups.update(db, owner, {"cus_1": made}, "UTC")
        rollups.update(db, owner, {"cus_1": replace(made, movements=(), cases=(), steps=(), standings=())}, "UTC")
    assert rows(app, owner) == (set(), set())


def test_many_rows_stream_into_postgresql_as_they_are_inserted_into_sqlite(app: App) -> None:
    made = Company(events=story(7)).book()
    found = roll_up(made, "UTC")
    many = [row._replace(customer=f"cus_{number}") for number in range(rollups.COPIED) for row in found.months[:2]]
    owner = Owner("acct", False)
    with app.db.begin() as db:
        assert rollups.write(db, owner, found._replace(months=many, restored=[]), lambda table: table.c.customer > "")
    assert rows(app, owner)[0] == set(many)
