"""`reprieve ledger problems` and `recoveries`: everything doubtful with its customer and what to do."""

from __future__ import annotations

import io
import json

from sqlalchemy import insert

from billing.events.occurrences import Answer, AttemptAnswered, Event, InvoiceFailed, InvoicePaid
from billing.events.snapshots import Invoice
from billing.money import Amount
from tests.ledger.conftest import SELF, Teller, day
from worker import ledger
from worker import tables as t


def listed(teller: Teller) -> list[dict[str, str]]:
    out = io.StringIO()
    ledger.problems(teller.app, None, True, out)
    found: list[dict[str, str]] = json.loads(out.getvalue())
    return found


def test_nothing_doubtful(teller: Teller) -> None:
    teller.begins("sub_1", "01-05")
    out = io.StringIO()
    ledger.problems(teller.app, None, False, out)
    assert out.getvalue() == "No problems: every fact is booked in full.\n"


def test_every_kind_of_doubt_names_its_customer_and_what_to_do(teller: Teller) -> None:
    teller.begins("sub_1", "01-05")
    teller.becomes("sub_1", "02-05", status="canceled", ended_at=day("02-05"))
    teller.becomes("sub_1", "03-05", status="active")
    nameless = Event("evt_x", "reprieve.attempt", day("03-06"), "self", False, AttemptAnswered("in_9", 1, Answer.PAID))
    teller.keep(nameless)
    body = json.dumps({"id": "evt_bad", "data": {"object": {"id": "in_7", "customer": {"id": "cus_7"}}}})
    row = {"event_id": "evt_bad", "type": "invoice.paid", "body": body.encode(), "because": "currency is missing"}
    spoilt = {"event_id": "evt_worse", "type": "invoice.paid", "body": b"{", "because": None}
    with teller.app.db.begin() as db:
        for each in (row, spoilt):
            more = {"received_at": day("03-07"), "due_at": day("03-07"), "state": "quarantined", "tries": 5}
            db.execute(insert(t.inbox), {**SELF.key, **more, **each})
    found = listed(teller)
    assert [(each["kind"], each["customer"]) for each in found] == [
        ("ended_changed", "cus_1"),
        ("nobody", None),
        ("unreadable", "cus_7"),
        ("unreadable", None),
    ]
    assert all(each["what_to_do"] for each in found)
    out = io.StringIO()
    ledger.problems(teller.app, None, False, out)
    assert "currency is missing" in out.getvalue()
    assert "4 problem(s)." in out.getvalue()


def test_a_nameless_fact_whose_invoice_is_known_is_no_problem(teller: Teller) -> None:
    teller.begins("sub_1", "01-05")
    usd = Amount(10_000, "usd")
    invoice = Invoice("in_1", "cus_1", "open", usd, Amount(0, "usd"), usd, "sub_1", "subscription_cycle")
    teller.keep(
        Event("evt_x", "reprieve.attempt", day("03-06"), "self", False, AttemptAnswered("in_1", 1, Answer.DECLINED)),
        Event("evt_y", "invoice.payment_failed", day("03-05"), "self", False, InvoiceFailed(invoice), customer="cus_1"),
    )
    assert listed(teller) == []


def test_recoveries_are_listed_with_source_and_evidence(teller: Teller) -> None:
    teller.begins("sub_1", "01-05")
    usd, none = Amount(10_000, "usd"), Amount(0, "usd")
    failed = Invoice("in_1", "cus_1", "open", usd, none, usd, "sub_1", "subscription_cycle")
    paid = Invoice("in_1", "cus_1", "paid", usd, usd, none, "sub_1", "subscription_cycle")
    teller.keep(
        Event("evt_f", "invoice.payment_failed", day("03-05"), "self", False, InvoiceFailed(failed), customer="cus_1"),
        Event("evt_p", "invoice.paid", day("03-09"), "self", False, InvoicePaid(paid), None, "dn1_x", "cus_1"),
    )
    teller.clock.at = day("04-20")
    out = io.StringIO()
    ledger.recoveries(teller.app, None, False, out)
    assert "2026-03-09  cus_1  100.00 USD/mo  our_retry  (100.00 USD/mo after 30 days)" in out.getvalue()
    assert "the payment carries the key of our attempt" in out.getvalue()
