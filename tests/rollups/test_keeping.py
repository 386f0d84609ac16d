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
from billing.ledger.book import book
from billing.ledger.policy import DEFAULT
from billing.report.rollup import Month, roll_up
from billing.report.rollup_recovery import Restored
from tests.billing.ledger_story import Company, monthly, on
from tests.billing.test_bridge_properties import UNTIL
from tests.rollups.companies import troubled
from tests.rollups.conftest import Clock
from worker import books, migrate, rollup_totals, rollups, store
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


def sums(app: App, owner: Owner) -> list[Any]:
    table = t.ledger_total
    with app.db.read() as db:
        return list(db.execute(select(table).where(owner.of(table)).order_by(*table.primary_key)).all())


def made_anew(app: App, owner: Owner) -> list[Any]:
    """The sums as a rebuild makes them of the months that stand; they are left as they were."""
    table = t.ledger_total
    with app.db.engine.connect() as db:
        db.info["reading"] = False
        with db.begin() as transaction:
            rollup_totals.renew(db, owner)
            found = list(db.execute(select(table).where(owner.of(table)).order_by(*table.primary_key)).all())
            transaction.rollback()
    return found


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
    grown, summed = rows(app, owner), sums(app, owner)
    assert summed == made_anew(app, owner)
    with app.db.read() as db:
        folded = books.fold(store.facts_of(db, owner, ["cus_1"])["cus_1"], app.now())
    found = roll_up(folded, app.settings.reporting_timezone)
    assert grown == (set(found.months), set(found.restored))

    vandalise(app, owner, dice)
    rollups.rebuild(app)
    books.keep(app)
    assert (rows(app, owner), sums(app, owner)) == (grown, summed)


@MODEST
@given(seed=st.integers(0, 10**9), dice=st.randoms(use_true_random=False))
def test_sums_kept_by_any_sequence_of_changes_are_the_sums_made_anew(app: App, seed: int, dice: random.Random) -> None:
    """Customers grow and shrink in any order, move to another cohort, lose all and come back."""
    owner, told = Owner(f"acct_{seed}_{dice.random()}", False), troubled(seed)
    names = sorted({event.customer for event in told})
    for _ in range(6):
        some = dice.sample(names, dice.randrange(1, len(names) + 1))
        known = {name: [event for event in told if event.customer == name] for name in some}
        made = {name: book(dice.sample(events, dice.randrange(len(events) + 1)), DEFAULT, UNTIL)
                for name, events in known.items()}  # fmt: skip
        with app.db.begin() as db:
            rollups.update(db, owner, made, "UTC")
        assert sums(app, owner) == made_anew(app, owner)
    with app.db.begin() as db:
        rollups.update(db, owner, {name: book([], DEFAULT, UNTIL) for name in names}, "UTC")
    assert sums(app, owner) == []


def ready(app: App, owner: Owner, zone: str) -> bool:
    with app.db.read() as db:
        return rollups.ready(db, owner, zone)


def test_roll_ups_are_ready_once_everybody_is_booked_in_one_zone(app: App, clock: Clock) -> None:
    owner, other = Owner("acct", False), Owner("acct", True)
    clock.at = on("08-01")
    learn(app, owner, story(1))
    assert not ready(app, owner, "UTC")
    books.keep(app)
    assert ready(app, owner, "UTC")
    assert not ready(app, owner, "Asia/Tokyo")
    assert not ready(app, other, "UTC")
    # A rebuild: not before everybody is booked again. What is learnt meanwhile does not count.
    clock.pass_time(timedelta(hours=1))
    rollups.rebuild(app)
    assert not ready(app, owner, "UTC")
    books.keep(app)
    assert ready(app, owner, "UTC")
    clock.pass_time(timedelta(hours=1))
    learn(app, owner, [replace(event, id=f"{event.id}_again") for event in story(2)])
    assert ready(app, owner, "UTC")


def test_rows_of_a_second_zone_are_not_relied_on_before_a_rebuild(app: App, clock: Clock) -> None:
    owner = Owner("acct", False)
    clock.at = on("08-01")
    learn(app, owner, story(1))
    books.keep(app)
    with app.db.begin() as db:
        rollups.update(db, owner, {"cus_2": Company(events=story(7)).book()}, "Asia/Tokyo")
    assert not ready(app, owner, "UTC")
    assert not ready(app, owner, "Asia/Tokyo")
    rollups.rebuild(app)
    books.keep(app)
    assert ready(app, owner, "UTC")


def test_a_customer_of_whom_there_are_no_facts_has_no_rows_after_a_rebuild(app: App, clock: Clock) -> None:
    owner = Owner("acct", False)
    with app.db.begin() as db:
        rollups.update(db, owner, {"cus_1": Company(events=story(7)).book()}, "UTC")
    assert rows(app, owner)[0]
    clock.at = on("08-01")
    assert rollups.rebuild(app) == 1
    books.keep(app)
    assert (rows(app, owner), sums(app, owner)) == ((set(), set()), [])
    assert ready(app, owner, "UTC")


def test_an_upgrade_with_data_has_everybody_rolled_up_again_by_whoever_keeps_the_books(app: App, clock: Clock) -> None:
    owner = Owner("acct", False)
    clock.at = on("08-01")
    learn(app, owner, story(7))
    books.keep(app)
    grown = rows(app, owner), sums(app, owner)
    assert grown[1]
    migrate.downgrade(app.db, "0004")
    with app.db.begin() as db:
        db.execute(delete(t.to_book))  # all had been booked before the upgrade
    migrate.upgrade(app.db)
    assert (rows(app, owner), sums(app, owner)) == ((set(), set()), [])
    assert not ready(app, owner, "UTC")
    books.keep(app)
    assert (rows(app, owner), sums(app, owner)) == grown
    assert ready(app, owner, "UTC")


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
