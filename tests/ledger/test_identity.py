"""Several Stripe customers that are one account, in the books of both engines."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from sqlalchemy import select

from billing.ledger.identity import Circular
from billing.ledger.policy import DEFAULT
from tests.ledger.conftest import SELF, Teller, day
from worker import books, closed, closing, identity, ledger, report, verify
from worker import tables as t


def moved_over(teller: Teller) -> None:
    """cus_1 ends on the 5th of March, cus_2 begins the same day with the same: one company that changed its card."""
    teller.clock.at = day("01-06")
    teller.begins("sub_1", "01-05")
    teller.becomes("sub_1", "03-05", status="canceled", ended_at=day("03-05"))
    teller.begins("sub_2", "03-05")
    teller.book("04-02")


def balances(teller: Teller) -> dict[tuple[str, str], int]:
    """Minor units by customer and account of the books, without zeros."""
    sums: dict[tuple[str, str], int] = {}
    with teller.app.db.read() as db:
        for row in db.execute(select(t.entry.c.customer, t.posting.c.name, t.posting.c.minor).join(t.posting)):
            sums[row.customer, row.name] = sums.get((row.customer, row.name), 0) + row.minor
    return {key: minor for key, minor in sums.items() if minor}


def test_one_account_is_booked_once_under_one_name_and_can_be_taken_apart_again(teller: Teller) -> None:
    moved_over(teller)
    apart = balances(teller)
    assert apart[("cus_1", "voluntary_churn")] == 10_000
    assert identity.state(teller.app, SELF, [("cus_2", "cus_1")], "anna") == 1
    teller.book()
    assert balances(teller) == {("cus_1", "good"): 10_000, ("cus_1", "new"): -10_000}
    assert verify.findings(teller.app, SELF) == []
    teller.becomes("sub_2", "04-01", status="canceled", ended_at=day("04-01"))  # told by cus_2, booked with cus_1
    teller.book()
    assert balances(teller) == {("cus_1", "voluntary_churn"): 10_000, ("cus_1", "new"): -10_000}
    assert identity.state(teller.app, SELF, [("cus_2", "cus_2")], "anna") == 1
    teller.book()
    assert {customer for customer, _ in balances(teller)} == {"cus_1", "cus_2"}
    assert verify.findings(teller.app, SELF) == []


def test_the_report_reads_the_same_identities_as_the_books(teller: Teller) -> None:
    moved_over(teller)
    identity.state(teller.app, SELF, [("cus_2", "cus_1")], "anna")
    out = io.StringIO()
    report.nrr(teller.app, "2026-03", out)
    assert "100.00" in out.getvalue()
    with teller.app.db.read() as db:
        made = dict(books.one_by_one(db, SELF, teller.app.now(), DEFAULT))
    assert {each.line.value for book in made.values() for each in book.movements} == {"new"}


def test_a_closed_month_keeps_the_identities_it_was_closed_with(teller: Teller) -> None:
    moved_over(teller)
    closing.close(teller.app, SELF, "2026-03", "anna")
    with teller.app.db.read() as db:
        before = closing.report(db, closed.one(db, SELF, "2026-03"))
    identity.state(teller.app, SELF, [("cus_2", "cus_1")], "anna")
    teller.book()
    with teller.app.db.read() as db:
        one = closed.one(db, SELF, "2026-03")
        assert closing.report(db, one) == before
        assert [each.new_business for each in closing.restated(db, one, teller.app.now())] == [0]
    assert [each.new_business for each in before] == [10_000]
    assert verify.findings(teller.app, SELF) == []


def test_a_statement_that_changes_nothing_or_makes_a_circle_is_not_kept(teller: Teller) -> None:
    moved_over(teller)
    assert identity.state(teller.app, SELF, [("cus_2", "cus_1")], "anna") == 1
    assert identity.state(teller.app, SELF, [("cus_2", "cus_1")], "anna") == 0
    with pytest.raises(Circular, match="cus_2 is already booked as cus_1"):
        identity.state(teller.app, SELF, [("cus_1", "cus_2")], "anna")
    with teller.app.db.read() as db:
        assert len(db.execute(select(t.identity)).all()) == 1


def test_a_file_of_identities_is_read_or_named_with_line_and_column(teller: Teller, tmp_path: Path) -> None:
    moved_over(teller)
    file = tmp_path / "who.csv"
    for text, words in (
        ("customer,same\ncus_2,cus_1\n", "line 1: the column same_as is missing"),
        ("customer,same_as\ncus_2,cus_1\n\ncus_3,\n", "line 4, column same_as: it is empty"),
        ("customer,same_as\n,cus_1\n", "line 2, column customer"),
    ):
        file.write_text(text)
        with pytest.raises(identity.NotReadable, match=words):
            ledger.identify(teller.app, str(file), "", "anna", None, io.StringIO())
    assert identity.state(teller.app, SELF, [], "anna") == 0
    file.write_text("\ufeffCustomer,note,same_as\ncus_2,moved,cus_1\n")
    out = io.StringIO()
    ledger.identify(teller.app, str(file), "", "anna", None, out)
    assert "1 customer(s)" in out.getvalue()
    with teller.app.db.read() as db:
        assert identity.known(db, SELF) == {"cus_2": "cus_1"}
