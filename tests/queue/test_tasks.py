"""Tasks come and go with their reasons: dated stories on both engines."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import insert, select

from billing.actions import Action, Kind
from billing.case import State
from billing.events.occurrences import Event, Promised
from billing.notices import address
from sandbox import FINE, authenticates, declines
from tests.queue.conftest import POOR, RICH, failing
from tests.world import DAY, HOUR, SELF, START
from worker import outbox, queue_marks, queue_review, store, suppression
from worker import tables as t
from worker.absorb import absorb
from worker.assist_tables import task, task_reason, to_review
from worker.link_tables import customer_word
from worker.queue_review import US
from worker.store import Owner


def test_a_case_on_which_much_depends_opens_its_task_and_the_payment_closes_it(
    database_url: str, tmp_path: Path
) -> None:
    with failing(database_url, tmp_path, RICH) as story:
        found = story.task()
        assert found is not None
        assert story.reasons() == ["high_mrr"]
        assert (found.state, found.priority, found.owner) == ("open", 3, None)
        assert found.due_at == story.w.rows(t.recovery_case)[0].updated_at.replace(hour=0) + 3 * DAY
        story.w.sb.issuer.set(story.sub.payment_method, FINE)
        story.w.pass_time(3 * DAY)
        assert story.w.case(story.invoice).state is State.RECOVERED
        (closed,) = story.tasks()
        assert (closed.state, closed.closed_by) == ("done", US)
        assert "the invoice was paid" in (closed.because or "")
        assert [why.reason for why in closed.reasons] == ["high_mrr"]


def test_an_ordinary_case_has_no_task(database_url: str, tmp_path: Path) -> None:
    with failing(database_url, tmp_path, POOR) as story:
        assert story.tasks() == []


def test_a_broken_promise_needs_a_person_when_its_day_has_passed_without_any_event(
    database_url: str, tmp_path: Path
) -> None:
    with failing(database_url, tmp_path) as story:
        case = story.w.case(story.invoice)
        until = story.w.app.now() + 2 * DAY
        said = Event("p", "reprieve.promised", story.w.app.now(), "self", False, Promised(case.invoice, until))
        with story.w.app.db.begin() as db:
            absorb(story.w.app, db, SELF, [said.belonging_to(case.customer)])
        story.w.pass_time(2 * DAY - HOUR)
        assert story.reasons() == []
        story.w.pass_time(HOUR)
        assert story.reasons() == ["promise_broken"]


def test_a_customer_who_does_not_authenticate_needs_a_person_after_three_days(
    database_url: str, tmp_path: Path
) -> None:
    with failing(database_url, tmp_path, behaviour=authenticates()) as story:
        assert story.w.case(story.invoice).state is State.NEEDS_CUSTOMER
        assert story.reasons() == []
        story.w.pass_time(3 * DAY)
        assert story.reasons() == ["authentication"]


def test_when_no_attempt_is_left_a_person_may_do_more(database_url: str, tmp_path: Path) -> None:
    with failing(database_url, tmp_path, behaviour=declines("news_to_us")) as story:
        story.w.pass_time(8 * DAY)
        assert story.reasons() == ["no_attempts"]
        assert "at most 2 attempts" in story.tasks()[0].reasons[0].because


def test_a_returned_message_needs_a_person_until_one_arrives_again(database_url: str, tmp_path: Path) -> None:
    with failing(database_url, tmp_path) as story:
        app = story.w.app
        story.w.pass_time(2 * HOUR, step=HOUR)
        story.w.pass_time(HOUR)
        ann = address.parse("ann@example.com")
        report = suppression.Report("dsn", "1", "hard", ann, "no such mailbox")
        with app.db.begin() as db:
            assert suppression.take(db, app.settings, report, app.now())
        story.w.settle()
        assert story.reasons() == ["contact_lost"]
        assert story.task().priority == 2  # type: ignore[union-attr]
        with app.db.begin() as db:
            row = {**dict(story.w.rows(t.notice)[0]._mapping), "id": None, "dedup_key": "another"}
            later = app.now() + 2 * HOUR
            db.execute(insert(t.notice), {**row, "id": 99, "state": "accepted", "finished_at": later})
            queue_marks.mark(db, SELF, [story.invoice], app.now())
        story.w.settle()
        assert story.tasks()[0].because == "no reason is left"


def test_what_a_customer_writes_and_what_is_stuck_reach_a_person(database_url: str, tmp_path: Path) -> None:
    with failing(database_url, tmp_path) as story:
        app = story.w.app
        with app.db.begin() as db:
            row = {**SELF.key, "customer": story.sub.customer, "key": "k", "words": "Hello", "at": app.now()}
            db.execute(insert(customer_word), row)
            queue_marks.mark_customer(db, SELF, story.sub.customer, app.now())
        story.w.settle()
        assert story.reasons() == ["customer_wrote"]
        look = Action("look:x", Kind.LOOK, app.now(), "a test", story.invoice, story.sub.customer)
        with app.db.begin() as db:
            store.add_actions(db, SELF, [look], app.now())
            claim = outbox.claim(db, app.now(), app.settings.lease, (SELF, "look:x"))
            assert claim
            outbox.finish(db, claim, "failed 10 times", app.now(), "stuck")
        story.w.settle()
        assert story.reasons() == ["customer_wrote", "stuck"]
        assert story.task().priority == 1  # type: ignore[union-attr]


def test_what_a_person_is_done_with_comes_back_only_for_something_new(database_url: str, tmp_path: Path) -> None:
    with failing(database_url, tmp_path, RICH) as story:
        story.act("done", because="called them")
        story.w.pass_time(3 * DAY)  # an attempt is made, the bank says no, nothing new is known
        assert story.w.case(story.invoice).attempts
        assert story.task() is None
        story.act("hold")
        assert story.reasons() == ["held"]
        assert story.task().priority == 3  # type: ignore[union-attr]
        assert [each.closed_by for each in story.tasks()] == [None, "ann"]


def test_a_method_that_comes_after_the_end_needs_a_person_and_charges_nobody(database_url: str, tmp_path: Path) -> None:
    with failing(database_url, tmp_path) as story:
        story.w.pass_time(29 * DAY, step=DAY)
        assert story.w.case(story.invoice).state is State.LOST
        assert story.task() is None
        story.w.client.v1.payment_methods.attach("pm_card_mastercard", {"customer": story.sub.customer})
        story.w.settle()
        assert story.reasons() == ["late_rescue"]
        assert story.w.sb.bank.charged(story.invoice) == []


def test_a_task_belongs_to_one_account_and_mode(database_url: str, tmp_path: Path) -> None:
    with failing(database_url, tmp_path, RICH) as story, story.w.app.db.begin() as db:
        queue_marks.mark(db, Owner("self", True), [story.invoice], START)
        assert {row.livemode for row in db.execute(select(task))} == {False}


def test_the_cases_that_were_open_before_the_queue_get_their_tasks(database_url: str, tmp_path: Path) -> None:
    """As after the upgrade: every open case is on the list, and has no task yet."""
    with failing(database_url, tmp_path, RICH) as story:
        with story.w.app.db.begin() as db:
            for table in (task_reason, task):
                db.execute(table.delete())
            queue_marks.mark(db, SELF, [story.invoice], START)
        story.w.settle()
        assert story.reasons() == ["high_mrr"]
        assert story.w.rows(to_review) == []


def test_two_sweeps_open_one_task(database_url: str, tmp_path: Path) -> None:
    with failing(database_url, tmp_path, RICH) as story:
        for _ in range(2):
            with story.w.app.db.begin() as db:
                queue_marks.mark(db, SELF, [story.invoice], START)
            queue_review.run_due(story.w.app)
        assert len(story.tasks()) == 1
