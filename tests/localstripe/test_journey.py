"""A failed payment at a Stripe that we did not write: failed, past due, paid, recovered.

localstripe speaks the shapes of 2017 and cannot be asked to collect as we ask Stripe (it knows neither `off_session`
nor invoice payments), so the money comes from the customer, and we are in the mode that writes and does not charge.
It lives in real time, so the story takes a few seconds.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import select

from billing.case import RecoveryCase, State
from config.settings import Settings
from tests.localstripe.company import GOOD_CARD, Call, card, fail_to_upgrade, pay_with
from tests.localstripe.server import Localstripe
from worker import books, migrate, store
from worker import tables as t
from worker.app import App, build
from worker.broker import NoBell
from worker.dispatcher import sweep
from worker.store import Owner
from worker.web.server import start_in_thread

SECRET = "whsec_journey"


@pytest.fixture
def app(database_url: str, localstripe: Localstripe, tmp_path: Path) -> Iterator[App]:
    """Our installation, told of everything that happens at localstripe."""
    settings = Settings(
        database_url=database_url,
        mode="notify",
        stripe_api_key=SecretStr("rk_test_reprieve"),
        stripe_api_base=localstripe.url,
        stripe_webhook_secrets=(SecretStr(SECRET),),
        mailbox_dir=tmp_path / "mailbox",
        mail_from="billing@acme.example",
        web_port=0,
    )
    app = build(settings, NoBell())
    migrate.upgrade(app.db)
    app.policies.load()
    url, stop = start_in_thread(app)
    localstripe.register_webhook(f"{url}/webhooks/stripe", SECRET)
    yield app
    stop()
    app.close()


def case_of(app: App, invoice: str) -> RecoveryCase | None:
    with app.db.read() as db:
        return store.case_of(db, Owner("self", False), invoice)


def work_until(app: App, done: Callable[[], bool]) -> None:
    """Sweep as a worker does until the story is where it should be."""
    deadline = time.monotonic() + 20
    while not done():
        assert time.monotonic() < deadline, "the events did not lead there"
        sweep(app)
        time.sleep(0.02)


def in_state(app: App, invoice: str, *states: State) -> Callable[[], bool]:
    return lambda: (case := case_of(app, invoice)) is not None and case.state in states


def rows(app: App, table: Any) -> list[Any]:
    with app.db.read() as db:
        return list(db.execute(select(table)))


def test_a_payment_that_fails_at_a_foreign_stripe_is_past_due_then_paid_then_recovered(
    app: App, localstripe: Localstripe, call: Call, subscription: Any
) -> None:
    # The customer changes to the yearly plan, and the bank says no.
    invoice = fail_to_upgrade(call, localstripe, subscription)
    work_until(app, in_state(app, invoice, State.OPEN, State.RECOVERING, State.NEEDS_CUSTOMER))
    assert call("get", f"/v1/subscriptions/{subscription.id}").status == "past_due"
    opened = case_of(app, invoice)
    assert opened is not None
    assert (opened.amount.minor, opened.amount.currency) == (18000, "usd")
    assert opened.customer == subscription.customer

    # With another card the customer pays.
    pay_with(call, subscription.customer, card(GOOD_CARD))
    assert call("post", f"/v1/invoices/{invoice}/pay").status == "paid"
    work_until(app, in_state(app, invoice, State.RECOVERED))
    assert call("get", f"/v1/subscriptions/{subscription.id}").status == "active"

    # The first message was due in a day, and access restricted in a week: both are taken back.
    # Nobody but the customer has moved money.
    assert {(row.kind, row.state) for row in rows(app, t.action)} == {
        ("notice", "cancelled"),
        ("deadline", "cancelled"),
        ("access", "cancelled"),
    }
    assert rows(app, t.attempt) == []
    assert {row.state for row in rows(app, t.inbox)} == {"done", "ignored"}

    # The books know what was at risk, and that it came back.
    books.keep(app)
    entries = sorted(row.key.split(":")[0] for row in rows(app, t.entry) if row.invoice == invoice)
    assert entries == ["cash", "cash", "failed", "recovered", "released"]
    assert balances(app) == {
        ("good", "usd/mo"): 2000,
        ("new", "usd/mo"): -2000,
        ("involuntary_churn", "usd/mo"): 2000,
        ("recovered", "usd/mo"): -2000,
        ("cash_collected", "usd"): 18000,
        ("receivable", "usd"): -18000,
    }


def balances(app: App) -> dict[tuple[str, str], int]:
    """What stands on each account of the books, where it is not nothing."""
    found: Counter[tuple[str, str]] = Counter()
    for row in rows(app, t.posting):
        found[row.name, row.unit] += row.minor
    return {key: amount for key, amount in found.items() if amount}
