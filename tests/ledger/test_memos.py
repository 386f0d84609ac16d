"""`reprieve ledger memos` and `attempts`: what the bridge leaves out, from the store, for people and programs."""

from __future__ import annotations

import io
import json
from typing import Any

from billing.events.occurrences import Event, InvoiceFailed, InvoicePaid
from billing.events.snapshots import Invoice
from billing.money import Amount
from tests.ledger.conftest import Teller, day
from worker import ledger


def memos(teller: Teller, month: str) -> list[dict[str, Any]]:
    out = io.StringIO()
    ledger.memos(teller.app, month, None, True, out)
    found: list[dict[str, Any]] = json.loads(out.getvalue())
    return found


def test_scheduled_churn_stands_beside_the_closing_of_each_currency(teller: Teller) -> None:
    teller.begins("sub_1", "01-05")
    teller.begins("sub_2", "01-05", 5_000)
    teller.begins("sub_3", "01-05", 7_000, "eur")
    teller.becomes("sub_1", "02-10", cancel_at=day("03-20"))
    teller.book("02-20")
    euro, dollar = (table["rows"][0] for table in memos(teller, "2026-02"))
    assert (euro["end"]["minor"], euro["scheduled"]["minor"]) == (7_000, 0)
    assert (dollar["end"]["minor"], dollar["scheduled"]["minor"], dollar["committed"]["minor"]) == (
        15_000,
        10_000,
        5_000,
    )
    out = io.StringIO()
    ledger.memos(teller.app, "2026-02", None, False, out)
    assert "Committed MRR (CMRR)" in out.getvalue()


def test_the_failure_rate_is_read_from_the_facts(teller: Teller) -> None:
    teller.begins("sub_1", "01-05")
    for number, what in enumerate((InvoiceFailed, InvoicePaid)):
        due, none = Amount(10_000, "usd"), Amount(0, "usd")
        invoice = Invoice(f"in_{number}", "cus_1", "open", due, none, due, "sub_1", "subscription_cycle")
        teller.keep(Event(f"evt_i{number}", "stripe", day("02-05"), "self", False, what(invoice), customer="cus_1"))
    out = io.StringIO()
    ledger.attempts(teller.app, None, True, out)
    (table,) = json.loads(out.getvalue())
    assert [(row["invoices"], row["failed_invoices"]) for row in table["rows"]] == [(2, 1)]
