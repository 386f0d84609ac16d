"""The sandbox as a process of its own, steered over HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import stripe

from tests.sandbox.conftest import Receiver

Steer = Callable[..., dict[str, Any]]


@pytest.fixture
def process(tmp_path: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "sandbox", "--hostile", "--money-log", str(tmp_path / "money.jsonl")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        yield running.stdout.readline().strip()
        running.terminate()
        assert running.wait(10) == 0


@pytest.fixture
def steer(process: str) -> Steer:
    def call(command: str, **body: Any) -> dict[str, Any]:
        request = urllib.request.Request(f"{process}/_sandbox/{command}", json.dumps(body).encode())  # noqa: S310
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            found: dict[str, Any] = json.loads(answer.read())
            return found

    return call


def test_a_process_is_steered_through_a_failing_month(
    process: str, steer: Steer, receiver: Receiver, tmp_path: Path
) -> None:
    client = stripe.StripeClient(
        "sk_test_x", base_addresses={"api": process}, http_client=stripe.RequestsClient(timeout=10)
    )
    made = steer("endpoints", url=receiver.url)
    assert made["secret"].startswith("whsec_")
    customer = client.v1.customers.create({"payment_method": "pm_card_visa"})
    method = client.v1.payment_methods.list({"customer": customer.id}).data[0].id
    price = client.v1.prices.create(
        {"currency": "usd", "unit_amount": 900, "recurring": {"interval": "month"}, "product_data": {"name": "P"}}
    )
    client.v1.subscriptions.create(
        {"customer": customer.id, "items": [{"price": price.id}], "default_payment_method": method}
    )
    steer("issuer", payment_method=method, code="insufficient_funds", until="2026-02-05T00:00:00+00:00")
    assert steer("clock", to="2026-02-02T00:00:00+00:00")["now"] == "2026-02-02T00:00:00.000Z"
    assert steer("deliver")["posts"] == len(receiver.bodies)
    assert "invoice.payment_failed" in receiver.types
    invoice = receiver.last("invoice.payment_failed")["data"]["object"]["id"]
    steer("clock", seconds=86_400 * 4)
    steer("faults", kind="drop_after", path="/v1/invoices/.*/pay")
    with pytest.raises(stripe.APIConnectionError):
        client.v1.invoices.pay(invoice, options={"idempotency_key": "k"})
    assert client.v1.invoices.pay(invoice, options={"idempotency_key": "k"}).status == "paid"
    moved = steer("money")["movements"]
    assert [(m["outcome"], m["key"]) for m in moved if m["invoice"] == invoice][1:] == [("charged", "k")]
    assert [json.loads(line) for line in (tmp_path / "money.jsonl").read_text().splitlines()] == moved
    dispute = steer("dispute", charge=moved[-1]["charge"])["dispute"]
    steer("dispute", dispute=dispute, status="lost")
    assert client.v1.disputes.retrieve(dispute).status == "lost"
    assert steer("state")["crashes"] == []
    with pytest.raises(urllib.error.HTTPError) as unknown:
        steer("nonsense")
    unknown.value.close()


def test_a_company_can_be_ordered_from_outside(steer: Steer) -> None:
    assert steer("company", subscriptions=10, seed=3)["subscriptions"] == 10


def test_settings_change_while_it_runs(process: str, steer: Steer) -> None:
    client = stripe.StripeClient("sk_test_x", base_addresses={"api": process})
    steer("settings", hostile=False, key_ttl=6, duplicate=0.5, retries=[1, 2], end="cancel")
    first = client.v1.customers.create({}, {"idempotency_key": "k"}).id
    steer("clock", seconds=7)
    assert client.v1.customers.create({}, {"idempotency_key": "k"}).id != first
    assert steer("state")["hostile"] is False
