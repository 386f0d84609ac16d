"""Idempotency keys: replayed, refused when changed, told 409 while in use, pruned after their time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import stripe

from sandbox import Sandbox, until
from tests.sandbox.conftest import Client, client_of, error_of, headers_of


def test_a_decline_is_replayed_although_the_card_is_good_by_now(sb: Sandbox, client: Client) -> None:
    made = sb.subscribe(behaviour=until(sb.clock() + timedelta(days=33)))
    sb.advance(timedelta(days=32))
    invoice = sb.latest_invoice(made.subscription)["id"]
    with pytest.raises(stripe.CardError) as first:
        client.v1.invoices.pay(invoice, options={"idempotency_key": "a1"})
    sb.advance(timedelta(hours=23))
    with pytest.raises(stripe.CardError) as again:
        client.v1.invoices.pay(invoice, options={"idempotency_key": "a1"})
    assert again.value.http_body == first.value.http_body
    assert headers_of(again)["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in headers_of(first)
    assert len(sb.bank.attempts(invoice)) == 2


def test_a_success_is_replayed_without_a_second_object(client: Client) -> None:
    made = [client.v1.customers.create({"name": "A"}, {"idempotency_key": "c1"}).id for _ in range(3)]
    assert len(set(made)) == 1
    assert len(client.v1.customers.list().data) == 1


def test_a_500_is_replayed(sb: Sandbox, client: Client) -> None:
    sb.faults.add("answer_after", path="/v1/customers", status=500)
    for _ in range(2):
        with pytest.raises(stripe.APIError) as broken:
            client.v1.customers.create({"name": "A"}, {"idempotency_key": "c1"})
        assert broken.value.http_status == 500
    assert len(client.v1.customers.list().data) == 1


def test_changed_parameters_are_an_idempotency_error(client: Client) -> None:
    client.v1.customers.create({"name": "A"}, {"idempotency_key": "c1"})
    with pytest.raises(stripe.IdempotencyError) as changed:
        client.v1.customers.create({"name": "B"}, {"idempotency_key": "c1"})
    assert (changed.value.http_status, error_of(changed).type) == (400, "idempotency_error")


def test_a_key_in_use_is_a_409(sb: Sandbox, client: Client) -> None:
    sb.faults.add("delay", path="/v1/customers", seconds=0.3)
    with ThreadPoolExecutor(2) as both:
        one, two = (
            both.submit(client_of(sb).v1.customers.create, {"name": "A"}, {"idempotency_key": "c1"}) for _ in range(2)
        )
        answers = [one.exception(), two.exception()]
    refused: list[Any] = [answer for answer in answers if answer is not None]
    assert len(refused) == 1
    assert (type(refused[0]), refused[0].http_status) == (stripe.APIError, 409)
    assert refused[0].error.code == "idempotency_key_in_use"
    assert len(client.v1.customers.list().data) == 1


def test_a_pruned_key_executes_again(sb: Sandbox, client: Client) -> None:
    first = client.v1.customers.create({"name": "A"}, {"idempotency_key": "c1"})
    sb.advance(timedelta(hours=24))
    assert client.v1.customers.create({"name": "A"}, {"idempotency_key": "c1"}).id != first.id


def test_a_request_refused_for_its_form_leaves_the_key_free(client: Client) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.customers.create({"colour": "red"}, {"idempotency_key": "c1"})
    assert client.v1.customers.create({"name": "A"}, {"idempotency_key": "c1"}).name == "A"
