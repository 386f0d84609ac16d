"""Act once: claims, fencing tokens, leases, intents and the kill switch."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text, update

from billing.actions import Kind
from billing.case import State
from tests.billing.stories import DAY0, HOUR
from tests.store.conftest import SELF
from tests.store.rows import CASE, add_action, states
from worker import outbox, store, switch
from worker import tables as t
from worker.columns import db_in, db_now
from worker.db import Database
from worker.outbox import Claim, Lost
from worker.store import Owner

LEASE = timedelta(seconds=60)
OVER = timedelta(seconds=-1)  # a lease that has run out by the time it is written
RETRY = ("retry:in_1:1", Kind.RETRY)


def claimed(db: Database, lease: timedelta = LEASE, key: str | None = None) -> Claim | None:
    with db.begin() as connection:
        return outbox.claim(connection, DAY0, lease, (SELF, key) if key else None)


def sure(db: Database, lease: timedelta = LEASE) -> Claim:
    claim = claimed(db, lease)
    assert claim is not None
    return claim


def given(db: Database, *actions: Any, case: State | None = None) -> None:
    with db.begin() as connection:
        for action in actions:
            add_action(connection, *action)
        if case:
            store.save_cases(connection, [CASE], DAY0)
            connection.execute(update(t.recovery_case).values(state=case))


def state(db: Database) -> str:
    with db.read() as connection:
        return str(connection.scalar(select(t.action.c.state)))


# ---------------------------------------------------------------- claims


def test_the_longest_due_action_is_claimed_first_and_each_once(db: Database) -> None:
    given(db, ("b", Kind.LOOK, DAY0 - HOUR), ("a", Kind.LOOK, DAY0 - 2 * HOUR), ("later", Kind.LOOK, DAY0 + HOUR))
    assert [c.key if c else None for c in (claimed(db), claimed(db), claimed(db))] == ["a", "b", None]


def test_a_named_action_is_claimed_only_when_it_is_due(db: Database) -> None:
    given(db, ("a",), ("b",), ("later", Kind.LOOK, DAY0 + HOUR))
    assert claimed(db, key="later") is None
    claim = claimed(db, key="b")
    assert claim is not None
    assert claim.key == "b"
    with db.begin() as connection:
        assert outbox.claim(connection, DAY0, LEASE, (Owner("self", True), "a")) is None


def test_a_lease_that_has_run_out_passes_the_action_on_with_the_next_token(db: Database) -> None:
    given(db, ("a",))
    first = sure(db, OVER)
    second = sure(db)
    assert (first.token, second.token, second.tries, second.sending) == (1, 2, 2, False)
    assert claimed(db) is None


def test_what_was_being_sent_is_passed_on_as_begun(db: Database) -> None:
    given(db, ("a",))
    with db.begin() as connection:
        claim = outbox.claim(connection, DAY0, OVER)
        assert claim is not None
        outbox.intend(connection, claim, live_case=False)
    assert sure(db).sending
    assert state(db) == "sending"


def finish(db: Any, claim: Claim) -> None:
    outbox.finish(db, claim, "done", DAY0)


def intend(db: Any, claim: Claim) -> None:
    outbox.intend(db, claim, live_case=False)


def postpone(db: Any, claim: Claim) -> None:
    outbox.postpone(db, claim, HOUR, "later", DAY0)


WRITES: list[Callable[[Any, Claim], None]] = [finish, intend, postpone, outbox.hold]


def test_whoever_lost_the_action_changes_nothing(db: Database) -> None:
    given(db, ("a",))
    old, new = sure(db, OVER), sure(db)
    for write in WRITES:
        with pytest.raises(Lost), db.begin() as connection:
            write(connection, old)
        assert state(db) == "claimed"
    with db.begin() as connection:
        for write in (outbox.hold, intend, finish):
            write(connection, new)
    assert state(db) == "done"


def test_an_action_that_has_ended_is_not_touched_again(db: Database) -> None:
    given(db, ("a",))
    claim = sure(db)
    with db.begin() as connection:
        outbox.finish(connection, claim, "done", DAY0)
    for write in WRITES:
        with pytest.raises(Lost), db.begin() as connection:
            write(connection, claim)
        assert state(db) == "done"


def test_a_postponed_action_waits_and_one_that_was_begun_keeps_its_lease(db: Database) -> None:
    given(db, ("a",))
    claim = sure(db)
    with db.begin() as connection:
        outbox.postpone(connection, claim, HOUR, "Stripe is away", DAY0)
    assert claimed(db) is None
    with db.begin() as connection:
        again = outbox.claim(connection, DAY0 + HOUR, LEASE)
        assert again is not None
        outbox.intend(connection, again, live_case=False)
        outbox.postpone(connection, again, HOUR, "unknown", DAY0)
    assert state(db) == "sending"
    assert claimed(db) is None


def test_two_workers_never_hold_the_same_row(database_url: str) -> None:
    # T54, small: each claims as fast as it can, on its own connections.
    db = Database(database_url)
    given(db, *[(f"a{n:02}",) for n in range(40)])
    found: list[list[str]] = [[], []]

    def work(mine: list[str]) -> None:
        while claim := claimed(db):
            mine.append(claim.key)

    threads = [threading.Thread(target=work, args=(mine,)) for mine in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    db.close()
    assert sorted(found[0] + found[1]) == [f"a{n:02}" for n in range(40)]


def test_a_row_that_another_worker_is_claiming_is_skipped_not_waited_for(pg_database: str) -> None:
    db = Database(pg_database)
    given(db, ("a",), ("b",))
    with db.begin() as one:
        first = outbox.claim(one, DAY0, LEASE)
        with db.begin() as other:
            other.execute(text("SET LOCAL lock_timeout = '100ms'"))
            second = outbox.claim(other, DAY0, LEASE)
    db.close()
    assert {first and first.key, second and second.key} == {"a", "b"}


# ---------------------------------------------------------------- intents and stops


def test_an_intent_needs_a_live_case(db: Database) -> None:
    given(db, RETRY)
    claim = sure(db)
    allowed = set()
    for case in (None, *State):
        # Each in a transaction that is taken back: an ended case could not be changed again.
        with db.engine.connect() as connection:
            if case:
                store.save_cases(connection, [CASE], DAY0)
                connection.execute(update(t.recovery_case).values(state=case))
            with suppress(Lost):
                outbox.intend(connection, claim, live_case=True)
                allowed.add(case)
            connection.rollback()
    assert allowed == {State.OPEN, State.RECOVERING, State.NEEDS_CUSTOMER, State.HELD, State.PAUSED}


def stop(db: Database, owner: Owner | None, stopped: bool = True) -> None:
    with db.begin() as connection:
        switch.turn(connection, owner, stopped, "ann", "a test", DAY0)


SWITCHES = [(None, True), (SELF, True), (Owner("self", True), False), (Owner("acct_2", False), False)]


@pytest.mark.parametrize(("owner", "holds"), SWITCHES)
def test_a_stop_holds_back_payments_and_messages_of_its_account(db: Database, owner: Owner | None, holds: bool) -> None:
    given(db, RETRY, ("notice:in_1:payment_failed", Kind.NOTICE))
    stop(db, owner)
    assert (claimed(db) is None) is holds
    stop(db, owner, False)
    assert claimed(db) is not None


def test_a_stop_leaves_reading_and_deadlines_alone(db: Database) -> None:
    given(db, ("look:in_1:1", Kind.LOOK), ("deadline:in_1", Kind.DEADLINE))
    stop(db, None)
    assert claimed(db)
    assert claimed(db)


def test_a_stop_that_comes_after_the_claim_refuses_the_intent(db: Database) -> None:
    given(db, RETRY, case=State.OPEN)
    claim = sure(db)
    stop(db, SELF)
    with pytest.raises(Lost), db.begin() as connection:
        outbox.intend(connection, claim, live_case=True)
    assert state(db) == "claimed"


def test_what_was_being_sent_is_still_brought_to_an_end_under_a_stop(db: Database) -> None:
    given(db, RETRY)
    with db.begin() as connection:
        claim = outbox.claim(connection, DAY0, OVER)
        assert claim is not None
        outbox.intend(connection, claim, live_case=False)
    stop(db, None)
    assert sure(db).sending


def test_the_switch_says_who_turned_it_and_leaves_a_line_in_the_audit(db: Database) -> None:
    stop(db, None)
    stop(db, SELF)
    stop(db, None, False)
    with db.read() as connection:
        assert switch.standing(connection) == [("self", "ann", "a test", DAY0)]
        lines = connection.execute(select(t.audit.c.what, t.audit.c.object).order_by(t.audit.c.id)).all()
    assert [tuple(line) for line in lines] == [("stop", "all"), ("stop", "account"), ("resume", "all")]


def test_waiting_counts_what_is_due_and_not_begun(db: Database) -> None:
    given(db, ("a",), ("b",), ("later", Kind.LOOK, DAY0 + HOUR))
    claimed(db)
    with db.read() as connection:
        assert outbox.waiting(connection, DAY0) == 1
        assert set(states(connection, t.action, "key").values()) == {"waiting", "claimed"}


def test_a_statement_that_asks_for_the_databases_clock_is_compiled_once_for_each_span_of_time() -> None:
    keys = [clock._generate_cache_key() for clock in (db_now(), db_now(), db_in(1), db_in(1), db_in(2))]
    assert None not in keys
    assert keys[0] == keys[1] != keys[2] == keys[3] != keys[4]
