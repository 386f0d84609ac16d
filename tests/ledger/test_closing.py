"""A closed month stays what it was; what becomes known later stands in the next one. On both engines."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Iterable
from typing import Any

import pytest
from sqlalchemy import delete, select, text, update
from sqlalchemy.exc import DBAPIError

from billing.ledger.book import book
from billing.ledger.movement import Book
from billing.ledger.vocabulary import LedgerEvent
from billing.report import render
from billing.report.period import NotAPeriod
from tests.ledger.conftest import SELF, Teller, day
from worker import books, closed, closing, ledger, verify
from worker import tables as t


def printed(teller: Teller, month: str) -> str:
    with teller.app.db.read() as db:
        made = closing.report(db, closed.one(db, SELF, month))
    return json.dumps([render.to_json(each) for each in made])


def company(teller: Teller) -> None:
    """100.00 in dollars and 70.00 in euros since January; both are known in February."""
    teller.clock.at = day("02-01")
    teller.begins("sub_1", "01-05")
    teller.begins("sub_2", "01-09", 7_000, "eur")
    teller.book("02-03")


def test_a_late_fact_leaves_the_closed_month_and_adjusts_the_next(teller: Teller) -> None:
    company(teller)
    made = closing.close(teller.app, SELF, "2026-01", "anna")
    assert made.closing == {"usd/mo": 10_000, "eur/mo": 7_000}
    as_closed = printed(teller, "2026-01")
    assert "prior_period" not in as_closed  # nothing was printed before the first close
    teller.clock.at = day("02-20")
    teller.becomes("sub_1", "01-25", status="canceled", ended_at=day("01-25"))  # learnt weeks later
    teller.begins("sub_3", "02-10", 3_000)
    teller.book("03-02")
    assert printed(teller, "2026-01") == as_closed
    with teller.app.db.read() as db:
        assert closed.posted(db, SELF, "2026-01") == dict(made.closing)
        assert closed.posted(db, SELF, "2026-02") == {"eur/mo": 7_000, "usd/mo": 3_000}
        restated = {each.unit: each.end for each in closing.restated(db, made, teller.app.now())}
    assert restated == {"usd/mo": 0, "eur/mo": 7_000}
    february = closing.close(teller.app, SELF, "2026-02", "anna")
    with teller.app.db.read() as db:
        shown = {each.unit: each for each in closing.report(db, february)}
    assert {unit: each.prior_period for unit, each in shown.items()} == {"usd/mo": -10_000, "eur/mo": 0}
    assert (shown["usd/mo"].closed_start, shown["usd/mo"].start, shown["usd/mo"].end) == (10_000, 0, 3_000)
    assert shown["usd/mo"].nrr is None  # on the restated opening, which is nothing
    assert verify.findings(teller.app, SELF) == []


def test_a_month_is_closed_once_in_order_and_only_when_it_is_over(teller: Teller) -> None:
    company(teller)
    with pytest.raises(closing.CannotClose, match="2026-02 is not over before 2026-03-01"):
        closing.close(teller.app, SELF, "2026-02", "anna")
    with pytest.raises(NotAPeriod):
        closing.close(teller.app, SELF, "January", "anna")
    teller.clock.at = day("04-02")
    closing.close(teller.app, SELF, "2026-02", "anna")
    for month in ("2026-01", "2026-02"):
        with pytest.raises(closing.CannotClose, match="2026-02 was closed at 2026-04-02 10:00 UTC by anna"):
            closing.close(teller.app, SELF, month, "bert")
    with teller.app.db.read() as db:
        assert [each.month for each in closed.all_of(db, SELF)] == ["2026-02"]
        assert closed.first_open(db, SELF) == "2026-03"


def test_closing_books_what_came_at_the_last_moment(teller: Teller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "keep", lambda app: 0)  # as if nothing had waited yet when closing began
    teller.clock.at = day("02-01")
    teller.begins("sub_1", "01-05")
    assert closing.close(teller.app, SELF, "2026-01", "anna").closing == {"usd/mo": 10_000}


def test_the_same_events_again_change_no_closed_month(teller: Teller) -> None:
    company(teller)
    closing.close(teller.app, SELF, "2026-01", "anna")
    as_closed = printed(teller, "2026-01")
    teller.number = 0  # the same ids: Stripe delivers again
    company(teller)
    assert printed(teller, "2026-01") == as_closed
    assert verify.findings(teller.app, SELF) == []


def test_a_close_is_never_changed(teller: Teller) -> None:
    company(teller)
    closing.close(teller.app, SELF, "2026-01", "anna")
    for spoil in (update(t.period_close).values(closing={}), delete(t.period_close)):
        with pytest.raises(DBAPIError, match="append-only"), teller.app.db.begin() as db:
            db.execute(spoil)


def test_bookkeepers_and_a_close_at_one_time_agree(teller: Teller) -> None:
    """Facts of January keep coming while it is closed: each stands in January or in the adjustment, never in both."""
    teller.clock.at = day("02-03")
    stop = threading.Event()

    def keep_booking() -> None:
        while not stop.is_set():
            books.keep(teller.app)

    keeper = threading.Thread(target=keep_booking)
    keeper.start()
    try:
        for number in range(30):
            teller.begins(f"sub_{number}", "01-05", 100)
            if number == 15:
                made = closing.close(teller.app, SELF, "2026-01", "anna")
    finally:
        stop.set()
        keeper.join()
    books.keep(teller.app)
    assert made.closing == {"usd/mo": 1_600}
    with teller.app.db.read() as db:
        assert closed.posted(db, SELF, "2026-01") == {"usd/mo": 1_600}
        assert closed.posted(db, SELF, "2026-02") == {"usd/mo": 3_000}
    assert verify.findings(teller.app, SELF) == []


def test_what_a_person_reads_of_a_close(teller: Teller) -> None:
    company(teller)
    out = io.StringIO()
    ledger.close(teller.app, "2026-01", "anna", None, out)
    assert "2026-01 is closed with 70.00 EUR/mo, 100.00 USD/mo" in out.getvalue()
    for month, restated, words in (
        ("", False, "closed 2026-02-03 10:00 UTC by anna"),
        ("2026-01", False, "as known"),
        ("2026-01", True, "restated"),
    ):
        out = io.StringIO()
        ledger.closed_report(teller.app, month, restated, None, False, out)
        assert words in out.getvalue().lower() or words in out.getvalue()
    with pytest.raises(LookupError, match="2026-02 was not closed"):
        ledger.closed_report(teller.app, "2026-02", False, None, False, out)


# ---------------------------------------------------------------- verify


def test_sound_books_have_no_findings(teller: Teller) -> None:
    company(teller)
    out = io.StringIO()
    assert ledger.verify(teller.app, None, out)
    assert "2 entries of 2 customers, 0 closed month(s): all as it should be" in out.getvalue()


def test_books_that_are_not_what_the_facts_say_are_found(teller: Teller) -> None:
    company(teller)
    with teller.app.db.begin() as db:
        (first,) = db.execute(select(t.entry).where(t.entry.c.customer == "cus_1")).all()
        for key, customer, lines in (
            ("forged", "cus_9", (("good", 500), ("new", -500))),
            ("spoilt", "cus_8", (("good", 300),)),
        ):
            forged = {**first._asdict(), "key": key, "customer": customer}
            del forged["id"]
            number = db.execute(t.entry.insert().returning(t.entry.c.id), forged).scalar_one()
            for line, (name, minor) in enumerate(lines):
                posting = {"entry": number, "line": line, "name": name, "minor": minor, "unit": "usd/mo"}
                db.execute(t.posting.insert(), posting)
    findings = " / ".join(verify.findings(teller.app, SELF))
    assert "entry spoilt is off by 3.00 USD/mo" in findings
    assert "the books of cus_9 hold entries that no fact accounts for" in findings
    assert "the postings come to 108.00 USD/mo" in findings


def slow(events: Iterable[LedgerEvent], *more: Any) -> Book:
    """A machine on which each event takes a hundredth of a second to fold."""
    told = list(events)
    time.sleep(0.01 * len(told))
    return book(told, *more)


def test_a_closed_month_is_read_however_long_its_folding_takes(teller: Teller, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL ends a transaction that was idle for too long, here for a second; folding everybody takes three."""
    teller.clock.at = day("02-01")
    for number in range(150):
        teller.begins(f"sub_{number:03}", "01-05", 100)
        teller.becomes(f"sub_{number:03}", "01-07", ended_at=None)
    teller.book("02-03")
    made = closing.close(teller.app, SELF, "2026-01", "anna")
    monkeypatch.setattr(books, "book", slow)
    monkeypatch.setattr(books, "PAGE", 10)
    with teller.app.db.read() as db:
        if db.dialect.name == "postgresql":
            db.execute(text("SET LOCAL idle_in_transaction_session_timeout = '1s'"))
        began = time.monotonic()
        shown = closing.report(db, made)
        assert time.monotonic() - began > 1
        assert [each.end for each in (*shown, *closing.restated(db, made, teller.app.now()))] == [15_000, 15_000]
