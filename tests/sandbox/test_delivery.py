"""Webhooks: signed so that the official routine accepts them, retried for three days, as unruly as asked."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from itertools import pairwise

import pytest
import stripe

from sandbox import Chaos, Sandbox
from tests.sandbox.conftest import SECRET, Receiver, client_of


@pytest.fixture
def endpoint(sb: Sandbox, receiver: Receiver) -> str:
    return sb.add_endpoint(receiver.url, SECRET).id


def test_deliveries_pass_the_official_verification(sb: Sandbox, endpoint: str, receiver: Receiver) -> None:
    sb.subscribe()
    assert sb.deliver() == len(receiver.bodies) > 10
    for body, signature in zip(receiver.bodies, receiver.signatures, strict=True):
        stripe.Webhook.construct_event(body, signature, SECRET)
    assert receiver.bodies[0].startswith(b'{\n  "')
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(receiver.bodies[0], receiver.signatures[0], "whsec_other")


def test_a_signature_can_carry_the_sandboxs_time(sb: Sandbox, endpoint: str, receiver: Receiver) -> None:
    sb.delivery.signature_clock = "sandbox"
    sb.subscribe()
    sb.deliver()
    assert receiver.signatures[0].startswith(f"t={sb.clock.stamp()},")
    with pytest.raises(stripe.SignatureVerificationError, match="tolerance"):
        stripe.Webhook.construct_event(receiver.bodies[0], receiver.signatures[0], SECRET)


def test_a_renewal_tells_its_story_in_order(sb: Sandbox, endpoint: str, receiver: Receiver) -> None:
    sb.subscribe()
    sb.deliver()
    receiver.forget()
    sb.advance(timedelta(days=32))
    sb.deliver()
    assert receiver.types == [
        "invoice.created",
        "customer.subscription.updated",
        "payment_intent.created",
        "invoice.updated",
        "invoice.finalized",
        "charge.succeeded",
        "payment_intent.succeeded",
        "invoice.updated",
        "invoice.paid",
        "invoice.payment_succeeded",
        "invoice_payment.paid",
    ]


def test_a_failed_renewal_tells_its_story_in_order(sb: Sandbox, endpoint: str, receiver: Receiver) -> None:
    sb.subscribe("pm_card_chargeCustomerFail")
    sb.deliver()
    receiver.forget()
    sb.advance(timedelta(days=32))
    sb.deliver()
    assert receiver.types[5:] == [
        "charge.failed",
        "payment_intent.payment_failed",
        "invoice.updated",
        "invoice.payment_failed",
        "customer.subscription.updated",
    ]
    change = receiver.last("customer.subscription.updated")["data"]
    assert (change["object"]["status"], change["previous_attributes"]) == ("past_due", {"status": "active"})
    failed = receiver.last("invoice.payment_failed")
    assert (failed["data"]["object"]["attempt_count"], failed["data"]["object"]["next_payment_attempt"]) == (1, None)
    assert failed["request"] == {"id": None, "idempotency_key": None}


def test_events_name_the_key_of_the_call_that_caused_them(sb: Sandbox, endpoint: str, receiver: Receiver) -> None:
    made = sb.subscribe()
    client = client_of(sb)
    client.v1.subscriptions.update(made.subscription, {"metadata": {"a": "b"}}, {"idempotency_key": "dn1_7"})
    sb.deliver()
    assert receiver.last("customer.subscription.updated")["request"]["idempotency_key"] == "dn1_7"


def test_a_failed_delivery_comes_again_for_three_days(sb: Sandbox, endpoint: str, receiver: Receiver) -> None:
    sb.add_endpoint("http://127.0.0.1:9/closed", events=("customer.created",))
    receiver.answers = [500] * 100
    client_of(sb).v1.customers.create()
    sb.advance(timedelta(days=5), deliver=True)
    tries = [posted for posted in sb.delivery.log if posted.endpoint == endpoint]
    assert [posted.n for posted in tries] == list(range(1, len(tries) + 1))
    assert 8 <= len(tries) <= 12
    pauses = [later.at - earlier.at for earlier, later in pairwise(tries)]
    assert timedelta(minutes=4) < pauses[0] < pauses[1] < pauses[2] < pauses[3]
    assert timedelta(days=2) < tries[-1].at - tries[0].at <= timedelta(days=3)
    assert {posted.status for posted in sb.delivery.log if posted.endpoint != endpoint} == {0}
    assert len(client_of(sb).v1.events.list({"delivery_success": False}).data) == 1


def test_a_delivery_that_fails_once_arrives_the_second_time(sb: Sandbox, endpoint: str, receiver: Receiver) -> None:
    receiver.answers = [503]
    client_of(sb).v1.customers.create()
    assert sb.deliver() == 1
    assert client_of(sb).v1.events.list({"delivery_success": True}).data == []
    sb.advance(timedelta(minutes=10), deliver=True)
    assert [event["id"] for event in receiver.events] == [receiver.events[0]["id"]] * 2
    assert receiver.signatures[0] != "" != receiver.signatures[1]
    assert len(client_of(sb).v1.events.list({"delivery_success": True}).data) == 1


def test_a_disabled_endpoint_gets_no_retries(sb: Sandbox, endpoint: str, receiver: Receiver) -> None:
    receiver.answers = [500]
    client_of(sb).v1.customers.create()
    sb.deliver()
    client_of(sb).v1.webhook_endpoints.update(endpoint, {"disabled": True})
    sb.advance(timedelta(days=4), deliver=True)
    assert len(receiver.bodies) == 1


def test_a_manual_resend_is_one_more(sb: Sandbox, endpoint: str, receiver: Receiver) -> None:
    client_of(sb).v1.customers.create()
    sb.deliver()
    sb.delivery.resend(receiver.events[0]["id"], endpoint)
    sb.deliver()
    assert [event["id"] for event in receiver.events] == [receiver.events[0]["id"]] * 2


def arrivals(receiver: Receiver, chaos: Chaos, seed: int) -> list[str]:
    receiver.forget()
    with Sandbox(seed=seed, chaos=chaos) as sb:
        sb.add_endpoint(receiver.url, SECRET)
        for _ in range(30):
            client_of(sb).v1.customers.create()
        sb.advance(timedelta(minutes=10), deliver=True)
        made = [obj["id"] for obj in sb.world.store.all("event")]
    return [str(made.index(event["id"])) for event in receiver.events]


def test_chaos_duplicates_reorders_and_delays_by_seed(receiver: Receiver) -> None:
    calm = arrivals(receiver, Chaos(), 1)
    assert calm == [str(n) for n in range(30)]
    doubled = arrivals(receiver, Chaos(duplicate=0.5), 1)
    assert set(doubled) == set(calm)
    assert 35 < len(doubled) < 55
    shuffled = arrivals(receiver, Chaos(reorder=0.5), 1)
    assert sorted(shuffled, key=int) == calm != shuffled
    late = arrivals(receiver, Chaos(delay=0.5), 1)
    assert sorted(late, key=int) == calm != late
    assert arrivals(receiver, Chaos(reorder=0.5), 1) == shuffled != arrivals(receiver, Chaos(reorder=0.5), 2)


def test_several_posts_at_once_lose_nothing(receiver: Receiver) -> None:
    with Sandbox(concurrency=4) as sb:
        sb.add_endpoint(receiver.url, SECRET)
        for _ in range(50):
            client_of(sb).v1.customers.create()
        sb.deliver()
        assert len({event["id"] for event in receiver.events}) == 50


def test_automatic_mode_delivers_by_itself(receiver: Receiver) -> None:
    with Sandbox(automatic=True) as sb:
        sb.add_endpoint(receiver.url, SECRET)
        client_of(sb).v1.customers.create()
        deadline = time.monotonic() + 5
        while not receiver.bodies and time.monotonic() < deadline:
            time.sleep(0.005)
    assert receiver.types == ["customer.created"]


def test_an_endpoint_hears_only_what_it_asked_for(sb: Sandbox, receiver: Receiver) -> None:
    sb.add_endpoint(receiver.url, SECRET, events=("invoice.paid", "charge.failed"))
    sb.add_endpoint(receiver.url, SECRET, events=("invoice_payment.paid",), api_version="2024-06-20")
    sb.subscribe()
    sb.deliver()
    assert receiver.types == ["invoice.paid"]


def test_thin_events_are_notifications_of_the_official_kind(sb: Sandbox, receiver: Receiver) -> None:
    sb.add_endpoint(receiver.url, SECRET, thin=True)
    made = sb.subscribe("pm_card_chargeCustomerFail")
    sb.advance(timedelta(days=32))
    sb.deliver()
    client = client_of(sb)
    bodies = dict(zip(receiver.types, zip(receiver.bodies, receiver.signatures, strict=True), strict=True))
    assert "v1.customer.subscription.past_due" in bodies
    body, signature = bodies["v1.invoice.payment_failed"]
    assert set(json.loads(body)) == {
        "id",
        "object",
        "type",
        "created",
        "livemode",
        "context",
        "reason",
        "related_object",
    }
    told = client.parse_event_notification(body, signature, SECRET)
    assert told.related_object.id == sb.latest_invoice(made.subscription)["id"]
    assert told.fetch_related_object().status == "open"
    fetched = told.fetch_event()
    assert client.v1.events.retrieve(fetched.snapshot_event or "").type == "invoice.payment_failed"
    body, signature = bodies["v1.customer.subscription.updated"]
    changes = client.parse_event_notification(body, signature, SECRET).fetch_event().changes
    assert changes is not None
    assert (changes["before"]["status"], changes["after"]["status"]) == ("active", "past_due")


def test_events_are_listed_by_type_and_time_for_thirty_days(sb: Sandbox) -> None:
    client = client_of(sb)
    client.v1.customers.create()
    sb.advance(timedelta(days=29))
    then = sb.clock.stamp()
    sb.subscribe()
    assert [event.type for event in client.v1.events.list({"types": ["invoice.paid", "charge.succeeded"]})] == [
        "invoice.paid",
        "charge.succeeded",
    ]
    assert len(client.v1.events.list({"type": "customer.created"}).data) == 2
    assert len(client.v1.events.list({"type": "customer.created", "created": {"gte": then}}).data) == 1
    assert len(list(client.v1.events.list({"limit": 3}).auto_paging_iter())) == len(sb.world.events.types())
    sb.advance(timedelta(days=2))
    assert len(client.v1.events.list({"type": "customer.created"}).data) == 1


def test_v2_events_are_listed_by_object(sb: Sandbox) -> None:
    client = client_of(sb)
    made = client.v1.customers.create()
    client.v1.customers.update(made.id, {"name": "Ada"})
    client.v1.customers.create()
    found = client.v2.core.events.list({"object_id": made.id, "limit": 1})
    assert [event.type for event in found.auto_paging_iter()] == ["v1.customer.updated", "v1.customer.created"]
    assert len(client.v2.core.events.list({"types": ["v1.customer.created"]}).data) == 2
