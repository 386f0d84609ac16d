"""Official sample bodies, where the folder with them stands beside the repository."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from billing.events import Event, InvoiceFailed, from_stripe, to_fetch
from tests.billing import payloads as p

FOLDER = Path(__file__).parents[3] / "shared" / "stripe_payloads"
SAMPLES = sorted((FOLDER / "events").glob("*.json"))
pytestmark = pytest.mark.skipif(not SAMPLES, reason="no sample payloads in ../shared/stripe_payloads")


def load(path: Path) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(path.read_text())
    return body


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_every_sample_is_read(path: Path) -> None:
    body, fetched = load(path), None
    if path.stem.startswith("dataonly__"):  # these have no envelope
        body = p.event(path.stem.split("__")[1].replace("subscription.", "customer.subscription."), {}) | {"data": body}
    if path.stem.startswith("thin__"):
        assert to_fetch(body) == ("invoice", "in_assembled")
        fetched = p.invoice(id="in_assembled")
    event = from_stripe(body, fetched)
    assert isinstance(event, Event)
    assert event.type == body["type"].removeprefix("v1.")


@pytest.mark.parametrize(
    "path", [s for s in SAMPLES if s.stem.startswith("invoice.payment_failed")], ids=lambda s: s.stem
)
def test_a_failed_invoice_of_every_version_names_its_subscription(path: Path) -> None:
    event = from_stripe(load(path))
    assert event is not None
    assert isinstance(event.what, InvoiceFailed)
    assert (event.what.invoice.subscription, event.what.invoice.status) == ("sub_assembled", "open")


@pytest.mark.parametrize("path", sorted((FOLDER / "objects").glob("*.json")), ids=lambda path: path.stem)
def test_the_official_objects_of_every_version_are_read(path: Path) -> None:
    types = {
        "invoice": "invoice.updated",
        "invoice_payment": "invoice_payment.paid",
        "subscription": "customer.subscription.updated",
        "charge": "charge.refunded",
        "payment_intent": "payment_intent.processing",
        "payment_method": "payment_method.updated",
        "customer": "customer.updated",
        "refund": "refund.updated",
        "dispute": "charge.dispute.updated",
        "discount": "customer.discount.updated",
        "source": "customer.source.created",
        "card": "customer.source.updated",
        "radar.early_fraud_warning": "radar.early_fraud_warning.created",
        "mandate": "mandate.updated",
        "setup_intent": "setup_intent.succeeded",
        "credit_note": "credit_note.created",
        "subscription_schedule": "subscription_schedule.updated",
    }
    objects = load(path)
    told = [from_stripe(p.event(type, objects[kind])) for kind, type in types.items() if objects.get(kind)]
    assert len(told) > 10
    assert all(isinstance(event, Event) for event in told)
