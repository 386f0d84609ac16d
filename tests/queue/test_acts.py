"""What people do: every act done once, said twice, refused in words, and in the audit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from billing.case import State
from billing.notices import address
from sandbox import FINE, declines
from tests.queue.conftest import RICH, failing
from tests.world import DAY, HOUR, SELF, START
from worker import queue_acts, suppression, switch
from worker import tables as t
from worker.assist_tables import task_note
from worker.store import Owner


def test_a_task_is_taken_given_and_done_and_every_act_stands_in_the_audit_once(
    database_url: str, tmp_path: Path
) -> None:
    with failing(database_url, tmp_path, RICH) as story:
        acts: list[tuple[str, str, dict[str, Any]]] = [
            ("take", "ann", {}),
            ("assign", "ann", {"to": "ben"}),
            ("due", "ben", {"at": "2026-02-09"}),
            ("note", "ben", {"words": "They pay on Friday."}),
            ("hold", "ben", {"because": "waiting for Friday"}),
            ("release", "ben", {}),
            ("done", "ben", {"because": "agreed"}),
        ]
        for what, actor, wishes in acts:
            assert story.act(what, actor, **wishes).changed, what
            assert not story.act(what, actor, **wishes).changed, what
        assert story.audited() == [(actor, f"queue {what}") for what, actor, _ in acts]
        (done,) = story.tasks()
        assert (done.owner, done.due_by, done.closed_by, done.because) == ("ben", "ben", "ben", "agreed")
        assert done.due_at == START + 40 * DAY
        assert [row.words for row in story.w.rows(task_note)] == ["They pay on Friday.", "agreed"]


def test_a_task_that_somebody_has_is_not_taken_from_him(database_url: str, tmp_path: Path) -> None:
    with failing(database_url, tmp_path, RICH) as story:
        story.act("take", "ann")
        assert story.refused("take", "ben") == "taken"
        story.act("assign", "ben", to="")
        assert story.task().state == "open"  # type: ignore[union-attr]
        assert story.act("take", "ben").changed


def test_a_due_time_set_by_hand_stays(database_url: str, tmp_path: Path) -> None:
    with failing(database_url, tmp_path, RICH) as story:
        story.act("due", at="2026-02-20T08:00:00+02:00")
        story.act("hold")
        assert story.task().due_at == START + 50 * DAY + 6 * HOUR  # type: ignore[union-attr]
        assert story.refused("due", at="2026-01-31") == "in_the_past"


@pytest.mark.parametrize(
    ("what", "wishes"),
    [
        ("note", {}),
        ("note", {"words": "  "}),
        ("note", {"words": "x" * 2_001}),
        ("note", {"words": "\x1b[31mred"}),
        ("note", {"words": 7}),
        ("due", {"at": "tomorrow"}),
        ("due", {"at": "2026-02-20T08:00"}),
        ("extend", {"until": "9999-12-31"}),
        ("extend", {}),
        ("offer", {"what": ""}),
        ("hold", {"because": ["x"]}),
        ("dance", {}),
    ],
)
def test_what_cannot_be_read_is_refused_and_nothing_is_done(
    sqlite_url: str, tmp_path: Path, what: str, wishes: dict[str, Any]
) -> None:
    with failing(sqlite_url, tmp_path, RICH) as story:
        assert story.refused(what, **wishes) == "bad_request"


def test_nobody_and_a_false_name_act_on_nothing(sqlite_url: str, tmp_path: Path) -> None:
    with failing(sqlite_url, tmp_path, RICH) as story:
        for actor in ("", "  ", "x" * 101, "a\nb", "reprieve"):
            assert story.refused("take", actor) == "bad_request"
        with pytest.raises(LookupError, match="no case"):
            queue_acts.act(story.w.app, SELF, "take", "in_other", "ann", {})
        with pytest.raises(LookupError, match="no case"):
            queue_acts.act(story.w.app, Owner("self", True), "take", story.invoice, "ann", {})


def test_a_held_case_is_silent_until_it_is_released(database_url: str, tmp_path: Path) -> None:
    with failing(database_url, tmp_path) as story:
        story.act("hold")
        story.w.sb.issuer.set(story.sub.payment_method, FINE)
        story.w.pass_time(5 * DAY)
        assert story.w.case(story.invoice).state is State.HELD
        assert (story.w.mails(), story.w.sb.bank.charged(story.invoice)) == ([], [])
        assert story.refused("retry-now") == "not_allowed"
        assert story.refused("send-now") == "not_due"
        story.act("release")
        story.w.pass_time(2 * DAY)
        assert story.w.case(story.invoice).state is State.RECOVERED


def test_an_attempt_on_request_is_made_once_at_once(database_url: str, tmp_path: Path) -> None:
    with failing(database_url, tmp_path) as story:
        story.w.sb.issuer.set(story.sub.payment_method, FINE)
        assert story.act("retry-now").changed
        assert not story.act("retry-now").changed
        story.w.settle()
        assert len(story.w.sb.bank.charged(story.invoice)) == 1
        assert story.w.case(story.invoice).state is State.RECOVERED
        assert story.refused("retry-now") == "ended"


def test_an_attempt_on_request_still_gets_a_last_look(database_url: str, tmp_path: Path) -> None:
    """Ann pays on Stripe's page between the request and the attempt, and Stripe's event has not come."""
    with failing(database_url, tmp_path) as story:
        story.act("retry-now")
        story.w.sb.issuer.set(story.sub.payment_method, FINE)
        story.w.client.v1.invoices.pay(story.invoice)
        story.w.settle()
        assert len(story.w.sb.bank.charged(story.invoice)) == 1
        assert [row for row in story.w.rows(t.attempt) if row.state == "succeeded"] == []


def test_a_dead_card_is_not_tried_on_request(database_url: str, tmp_path: Path) -> None:
    with failing(database_url, tmp_path, behaviour=declines("lost_card")) as story:
        assert story.refused("retry-now") == "not_allowed"


def test_nothing_is_asked_for_while_charging_is_stopped(database_url: str, tmp_path: Path) -> None:
    with failing(database_url, tmp_path) as story:
        with story.w.app.db.begin() as db:
            switch.turn(db, None, True, "ann", "a test", START)
        assert story.refused("retry-now") == "stopped"
        assert story.refused("send-now") == "stopped"


def test_a_message_on_request_is_sent_at_once_and_never_twice(database_url: str, tmp_path: Path) -> None:
    with failing(database_url, tmp_path) as story:
        assert story.w.mails() == []
        assert story.act("send-now").changed
        assert not story.act("send-now").changed
        story.w.settle()
        assert len(story.w.mails()) == 1
        assert story.refused("send-now", step="payment_failed") == "sent"
        assert story.refused("send-now", step="no_such_step") == "not_due"
        assert story.refused("send-now") == "not_due"
        story.w.pass_time(DAY)
        assert len(story.w.mails()) == 1


def test_a_message_on_request_does_not_reach_a_mailbox_that_gets_nothing(database_url: str, tmp_path: Path) -> None:
    with failing(database_url, tmp_path) as story:
        ann = suppression.mailbox_of(story.w.app.settings, address.parse("ann@example.com"))
        with story.w.app.db.begin() as db:
            suppression.suppress(db, ann, "operator", "test", START)
        story.act("send-now")
        story.w.settle()
        assert story.w.mails() == []
        assert story.w.case(story.invoice).notice("payment_failed") == "skipped"


def test_the_window_is_extended_within_the_policy_and_the_case_is_lost_later(database_url: str, tmp_path: Path) -> None:
    with failing(database_url, tmp_path) as story:
        base = story.w.case(story.invoice).deadline
        assert story.refused("extend", until="2026-04-30") == "too_late"
        assert story.refused("extend", until="2026-02-10") == "not_later"
        story.act("extend", until="2026-03-09")
        assert not story.act("extend", until="2026-03-09").changed
        # A second extension counts from the policy's window, not from the first.
        assert story.refused("extend", until="2026-03-20") == "too_late"
        story.w.pass_time(base + DAY, step=DAY)
        assert story.w.case(story.invoice).live
        story.w.pass_time(START + 68 * DAY + HOUR, step=DAY)
        assert story.w.case(story.invoice).state is State.LOST
        assert story.refused("extend", until="2026-03-12") == "ended"


def test_an_offer_is_written_down_and_nothing_is_given(database_url: str, tmp_path: Path) -> None:
    with failing(database_url, tmp_path, RICH) as story:
        owed = story.w.sb.latest_invoice(story.sub.subscription)["amount_remaining"]
        assert story.act("offer", what="coupon SAVE20", because="long-standing").changed
        assert not story.act("offer", what="coupon SAVE20", because="long-standing").changed
        assert [row.words for row in story.w.rows(task_note)] == ["offered: coupon SAVE20 (long-standing)"]
        assert story.w.sb.latest_invoice(story.sub.subscription)["amount_remaining"] == owed
