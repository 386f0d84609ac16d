"""A mailbox that bounced, complained or unsubscribed gets nothing more: from the report to what is not sent."""

from __future__ import annotations

import imaplib
import mailbox
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from billing.notices import address
from billing.notices.sequence import Step
from sandbox import until
from tests.channels import told
from tests.channels.imap_server import ImapServer
from tests.world import DAY, SELF, START, World, world
from worker import suppression
from worker import tables as t
from worker.channel_tables import contact_report
from worker.channel_tables import suppression as suppressed
from worker.hooks import dsn
from worker.web.server import start_in_thread

ANN = address.parse("ann@example.com")
SECRETS = {"suppression_secret": "s" * 32, "postmark_secret": told.POSTMARK_SECRET}


@contextmanager
def written_to(url: str, folder: Path, **settings: Any) -> Iterator[tuple[World, str]]:
    """A world in which Ann got the first message; (it, the address of its web process)."""
    with world(url, folder, **{**SECRETS, **settings}) as w:
        sub = w.sb.subscribe("pm_card_visa", amount=2000, email="ann@example.com", name="Ann Lee")
        w.sb.issuer.set(sub.payment_method, until(START + 36 * DAY))
        w.pass_time(START + 33 * DAY, step=DAY)
        assert len(w.mails()) == 1
        base, stop = start_in_thread(w.app)
        try:
            yield w, base
        finally:
            stop()


def test_whose_message_came_back_is_found_by_an_index(sqlite_url: str, tmp_path: Path) -> None:
    with written_to(sqlite_url, tmp_path) as (w, _):
        plans: list[str] = []

        def explained(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend(str(row) for row in cursor.fetchall())

        with w.app.db.read() as db:
            event.listen(db, "before_cursor_execute", explained)
            assert len(suppression.concerned(db, ANN)) == 1
            event.remove(db, "before_cursor_execute", explained)
        assert any("ix_notice_recipient_hash" in line for line in plans), plans


def steps_after(w: World) -> list[str]:
    """The messages handed over by the time the payment came."""
    w.pass_time(START + 45 * DAY, step=DAY)
    assert list(w.cases().values()) == ["recovered"]
    return [row.step for row in w.rows(t.notice, state="accepted")]


def kinds(w: World) -> list[str]:
    return [row.kind for row in w.rows(contact_report)]


def test_a_hard_bounce_ends_all_messages_and_the_case_knows(database_url: str, tmp_path: Path) -> None:
    with written_to(database_url, tmp_path) as (w, base):
        assert told.postmark(base) == 200
        assert told.postmark(base) == 200  # Postmark says it again
        (invoice,) = w.cases()
        with w.app.db.read() as db:
            assert [row.kind for row in suppression.reports_of(db, SELF, invoice)] == ["hard"]
        assert steps_after(w) == ["payment_failed"]
        assert "suppressed: bounce" in w.rows(t.action, key=f"notice:{invoice}:recovered")[0].outcome


def test_a_soft_bounce_is_known_and_stops_nothing(sqlite_url: str, tmp_path: Path) -> None:
    with written_to(sqlite_url, tmp_path) as (w, base):
        assert told.postmark(base, Type="SoftBounce") == 200
        assert kinds(w) == ["soft"]
        assert steps_after(w) == ["payment_failed", "recovered"]


@pytest.mark.parametrize(
    "told_by",
    [
        {"RecordType": "SpamComplaint"},
        {"Type": "SpamComplaint"},
        {"RecordType": "SubscriptionChange", "SuppressSending": True, "SuppressionReason": "ManualSuppression"},
    ],
)
def test_a_complaint_ends_all_messages(sqlite_url: str, tmp_path: Path, told_by: dict[str, Any]) -> None:
    with written_to(sqlite_url, tmp_path) as (w, base):
        assert told.postmark(base, **told_by) == 200
        assert kinds(w) == ["complaint"]
        assert steps_after(w) == ["payment_failed"]


def test_a_mailbox_that_we_never_wrote_to_is_not_put_on_the_list(sqlite_url: str, tmp_path: Path) -> None:
    with written_to(sqlite_url, tmp_path) as (w, base):
        assert told.postmark(base, Email="stranger@example.com") == 200
        assert w.rows(suppressed) == []


def test_who_does_not_know_the_password_reports_nothing(sqlite_url: str, tmp_path: Path) -> None:
    with written_to(sqlite_url, tmp_path) as (w, base):
        assert told.postmark(base, password="guessed") == 401
        assert told.ask(f"{base}/hooks/mail/postmark", b"{}")[0] == 401
        assert told.postmark(base, Email=None, RecordType=None) == 200
        assert told.postmark(base, Email="no address") == 400
        assert told.ask(f"{base}/hooks/mail/ses", b"{}")[0] == 404
        assert told.ask(f"{base}/hooks/mail/other", b"{}")[0] == 404
        assert w.rows(suppressed) == []


# ---------------------------------------------------------------- a mailbox for returned mail


def maildir(folder: Path, *mails: bytes) -> Path:
    box = mailbox.Maildir(folder, create=True)
    for mail in mails:
        box.add(mail)
    return folder


def test_a_returned_mail_ends_all_messages_and_is_read_once(database_url: str, tmp_path: Path) -> None:
    with written_to(database_url, tmp_path) as (w, _):
        box = maildir(tmp_path / "returned", told.bounce(told.read_mail(w.mails()[0])), b"Subject: hello\r\n\r\nhello")
        assert dsn.from_maildir(w.app, box) == (2, 1)
        assert dsn.from_maildir(w.app, box) == (0, 0)
        assert kinds(w) == ["hard"]
        assert steps_after(w) == ["payment_failed"]


@pytest.mark.parametrize(
    ("status", "action", "found"),
    [
        ("5.1.1", "failed", ["hard"]),
        ("5.0.0", "failed", ["hard"]),
        ("5.2.2", "failed", ["soft"]),  # the mailbox is full
        ("5.7.1", "failed", ["soft"]),  # they do not like us
        ("4.4.7", "failed", ["soft"]),
        ("4.4.1", "delayed", ["soft"]),
        ("2.0.0", "delivered", []),
        ("nonsense", "failed", []),
    ],
)
def test_only_an_answer_about_the_mailbox_is_for_good(
    sqlite_url: str, tmp_path: Path, status: str, action: str, found: list[str]
) -> None:
    with written_to(sqlite_url, tmp_path) as (w, _):
        dsn.take(w.app, told.bounce(told.read_mail(w.mails()[0]), status=status, action=action))
        assert kinds(w) == found
        assert [row.reason for row in w.rows(suppressed)] == (["bounce"] if "hard" in found else [])


def test_a_forged_bounce_suppresses_nobody(sqlite_url: str, tmp_path: Path) -> None:
    with written_to(sqlite_url, tmp_path) as (w, _):
        mail = told.read_mail(w.mails()[0])
        assert dsn.take(w.app, told.bounce(mail, message_id="<guessed@acme.example>")) == 0
        # Who got a message may report on his own mailbox, not on another.
        del mail["To"]
        mail["To"] = "bob@example.com"
        assert dsn.take(w.app, told.bounce(mail)) == 0
        assert w.rows(suppressed) == w.rows(contact_report) == []


def test_a_mailbox_on_an_imap_server_is_read_once(sqlite_url: str, tmp_path: Path) -> None:
    login = {"bounce_imap_host": "127.0.0.1", "bounce_imap_user": "returned", "bounce_imap_password": "right"}
    with written_to(sqlite_url, tmp_path, **login) as (w, _), ImapServer(b"Subject: hello\r\n\r\n") as server:
        server.mails[2] = told.bounce(told.read_mail(w.mails()[0]))

        def connect(host: str) -> imaplib.IMAP4:
            return imaplib.IMAP4(host, server.port, timeout=5)

        assert dsn.from_imap(w.app, connect) == (2, 1)
        assert server.seen == {1, 2}
        assert dsn.from_imap(w.app, connect) == (0, 0)
        assert kinds(w) == ["hard"]


# ---------------------------------------------------------------- unsubscribing


def one_click(w: World) -> str:
    """The path of the address in List-Unsubscribe."""
    headers = told.read_mail(w.mails()[0])
    assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    url = str(headers["List-Unsubscribe"])
    assert url.startswith("<https://pay.acme.example/unsubscribe/")
    assert url.endswith(">")
    return url[1:-1].removeprefix("https://pay.acme.example")


@pytest.mark.parametrize(
    ("covers", "steps"), [("reminders", ["payment_failed", "recovered"]), ("everything", ["payment_failed"])]
)
def test_one_click_unsubscribes_and_a_glance_does_not(
    sqlite_url: str, tmp_path: Path, covers: str, steps: list[str]
) -> None:
    with written_to(sqlite_url, tmp_path, public_url="https://pay.acme.example", unsubscribe_covers=covers) as (
        w,
        base,
    ):
        path = one_click(w)
        for _ in range(2):  # what scans mail opens every link
            status, headers, page = told.ask(base + path)
            assert (status, "<form" in page) == (200, True)
            assert headers["cache-control"] == "no-store"
        assert w.rows(suppressed) == []
        assert told.ask(base + path, b"List-Unsubscribe=One-Click")[0] == 200
        assert [row.reason for row in w.rows(suppressed)] == ["unsubscribed"]
        assert steps_after(w) == steps


def test_a_token_that_was_changed_unsubscribes_nobody_and_tells_nothing(sqlite_url: str, tmp_path: Path) -> None:
    with written_to(sqlite_url, tmp_path, public_url="https://pay.acme.example") as (w, base):
        path = one_click(w)
        good = told.ask(base + path, b"")[2]
        with w.app.db.begin() as db:
            assert suppression.lift(db, suppression.mailbox_of(w.app.settings, ANN), "test", w.app.now()) == 1
        other = path.replace(path[-1], "A" if path[-1] != "A" else "B")
        for wrong in (other, "/unsubscribe/x", "/unsubscribe/" + "0" * 54):
            assert told.ask(base + wrong, b"")[2] == good
        assert [row.lifted_at is None for row in w.rows(suppressed)] == [False]


def test_the_list_holds_no_address_and_is_keyed_by_our_secret(sqlite_url: str, tmp_path: Path) -> None:
    with written_to(sqlite_url, tmp_path) as (w, base):
        told.postmark(base)
        (row,) = w.rows(suppressed)
        assert "ann" not in str(row)
        assert row.mailbox != address.recipient_hash(ANN)


def test_reminders_are_what_unsubscribing_ends_by_default(sqlite_url: str, tmp_path: Path) -> None:
    with written_to(sqlite_url, tmp_path) as (w, _), w.app.db.begin() as db:
        mailbox_hash = suppression.mailbox_of(w.app.settings, ANN)
        suppression.suppress(db, mailbox_hash, "unsubscribed", "test", w.app.now())
        refused = [step.value for step in Step if suppression.refusal(db, w.app.settings, mailbox_hash, step)]
        assert refused == [
            "reminder",
            "before_deadline",
            "promise_reminder",
            "card_expiring",
            "renewal_coming",
            "method_missing",
        ]
        suppression.suppress(db, mailbox_hash, "operator", "test", w.app.now())
        assert all(suppression.refusal(db, w.app.settings, mailbox_hash, step) for step in Step)
