"""The second Stripe does what our journey needs of it, seen through the official client."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import stripe

from tests.localstripe.company import GOOD_CARD, SEPA_THAT_FAILS, Call, card, fail_to_upgrade, pay_with
from tests.localstripe.server import Localstripe

SECRET = "whsec_localstripe"


class Inbox:
    """Keeps what was delivered and verified, in the order of arrival."""

    def __init__(self) -> None:
        self.types: list[str] = []
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                event: Any = stripe.Webhook.construct_event(body, self.headers["Stripe-Signature"], SECRET)
                inbox.types.append(event.type)
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def wait_for(self, *types: str) -> None:
        deadline = time.monotonic() + 20
        while not set(types) <= set(self.types):
            assert time.monotonic() < deadline, f"waited for {types}, got {self.types}"
            time.sleep(0.02)


@pytest.fixture
def inbox(localstripe: Localstripe) -> Iterator[Inbox]:
    inbox = Inbox()
    thread = threading.Thread(target=inbox.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    localstripe.register_webhook(inbox.url, SECRET)
    yield inbox
    inbox.server.shutdown()
    thread.join()
    inbox.server.server_close()


def test_a_new_subscription_is_active_and_its_events_are_signed_as_stripe_signs(
    inbox: Inbox, subscription: Any
) -> None:
    assert subscription.status == "active"
    inbox.wait_for("customer.subscription.created", "invoice.created", "invoice.payment_succeeded")


def test_a_declined_invoice_makes_the_subscription_past_due_and_paying_it_makes_it_active(
    inbox: Inbox, call: Call, localstripe: Localstripe, subscription: Any
) -> None:
    invoice = fail_to_upgrade(call, localstripe, subscription)
    inbox.wait_for("invoice.payment_failed", "payment_intent.payment_failed")
    assert call("get", f"/v1/subscriptions/{subscription.id}").status == "past_due"

    already = inbox.types.count("invoice.payment_succeeded")
    pay_with(call, subscription.customer, card(GOOD_CARD))
    assert call("post", f"/v1/invoices/{invoice}/pay").status == "paid"
    assert call("get", f"/v1/subscriptions/{subscription.id}").status == "active"
    deadline = time.monotonic() + 20
    while inbox.types.count("invoice.payment_succeeded") == already:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_bank_debit_fails_after_it_was_accepted(inbox: Inbox, call: Call, subscription: Any) -> None:
    debit = {
        "type": "sepa_debit",
        "sepa_debit": {"iban": SEPA_THAT_FAILS},
        "billing_details": {"name": "Ada", "email": "ada@example.com"},
    }
    pay_with(call, subscription.customer, debit)
    call("post", "/v1/subscriptions", customer=subscription.customer, items=[{"plan": "yearly"}])
    inbox.wait_for("invoice.payment_failed")


def test_it_listens_on_this_machine_only_and_leaves_no_pickle(localstripe: Localstripe, call: Call) -> None:
    store = Path("/tmp/localstripe.pickle")
    before = store.stat().st_mtime_ns if store.exists() else None
    call("post", "/v1/customers", email="ada@example.com")
    assert (store.stat().st_mtime_ns if store.exists() else None) == before
    assert listening_addresses(localstripe.port) == {"0100007F"}


def listening_addresses(port: int) -> set[str]:
    """Local addresses, in the kernel's hexadecimal, of the sockets that listen on a port."""
    found = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        rows = [line.split() for line in table.read_text().splitlines()[1:]] if table.exists() else []
        local = [row[1].split(":") for row in rows if row[3] == "0A"]
        found |= {address for address, number in local if int(number, 16) == port}
    return found
