"""What the upgrade does to a database in which cases are open."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import select

from billing.case import State
from tests.billing.stories import DAY0
from tests.store.rows import CASE
from worker import migrate, store
from worker.assist_tables import to_review
from worker.db import Database


def test_every_open_case_is_put_on_the_list_and_no_other(empty_database_url: str) -> None:
    db = Database(empty_database_url)
    migrate.upgrade(db, "0014")
    cases = [
        replace(CASE, invoice=f"in_{state}", state=state, paid_at=DAY0, voided_at=DAY0, customer=f"cus_{state}")
        for state in State
    ]
    with db.begin() as open_db:
        store.save_cases(open_db, cases, DAY0)
    migrate.upgrade(db)
    with db.read() as open_db:
        listed = set(open_db.scalars(select(to_review.c.invoice)))
    assert listed == {case.invoice for case in cases if case.live}
    db.close()
