"""Every answer of POST /webhooks/stripe, and what is in the database afterwards, on both engines."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from config.settings import Account
from tests.web.harness import JSON, NOW, SECRET, Answer, Bell, Client, an_app, count, event, in_process, rows, sign
from worker import metrics
from worker.intake import Received, Writer
from worker.web import envelope

LIMIT = 524_288


def test_a_signed_event_is_stored_and_acknowledged(client: Client) -> None:
    body = event("evt_stored")
    assert client.post(body).status == 200
    (row,) = rows(client.app.db, "evt_stored")
    assert (row.account, row.livemode, row.type, row.api_version) == (
        "self",
        False,
        "invoice.payment_failed",
        "2026-10-28.endive",
    )
    assert (row.state, row.tries, row.due_at, row.received_at) == ("received", 0, NOW, NOW)
    assert (row.body, row.because, row.finished_at) == (body, None, None)
    assert row.created_at.timestamp() == 1_795_000_000


def test_a_thin_event_is_stored(client: Client) -> None:
    thin = event(
        "evt_thin",
        object="v2.core.event",
        type="v1.invoice.payment_failed",
        created="2026-11-18T11:06:40.250Z",
        api_version=None,
        data=None,
        context="acct_connected",
    )
    assert client.post(thin).status == 200
    (row,) = rows(client.app.db, "evt_thin")
    assert (row.account, row.type, row.api_version) == ("acct_connected", "v1.invoice.payment_failed", None)


def test_an_unknown_type_is_stored(client: Client) -> None:
    assert client.post(event("evt_unknown", type="foo.bar")).status == 200
    assert rows(client.app.db, "evt_unknown")[0].state == "received"


def test_an_event_of_the_other_mode_is_acknowledged_and_ignored(client: Client) -> None:
    assert client.post(event("evt_live", livemode=True)).status == 200
    (row,) = rows(client.app.db, "evt_live")
    assert (row.livemode, row.state, row.finished_at) == (True, "ignored", NOW)
    assert row.because == "live event sent to a test endpoint"


def test_a_second_delivery_changes_nothing_and_is_acknowledged(client: Client) -> None:
    assert client.post(event("evt_twice")).status == 200
    (before,) = rows(client.app.db, "evt_twice")
    assert client.post(event("evt_twice", api_version="2022-11-15")).status == 200
    assert rows(client.app.db, "evt_twice") == [before]


def test_the_same_id_in_another_account_is_another_event(client: Client) -> None:
    for account in (None, "acct_a", "acct_b"):
        assert client.post(event("evt_everywhere", account=account)).status == 200
    assert [row.account for row in rows(client.app.db, "evt_everywhere")] == ["self", "acct_a", "acct_b"]


BODY = event("evt_never")


def refused() -> dict[str, tuple[int, dict[str, Any]]]:
    """Requests that each have one thing wrong at this moment, and their answers."""
    signed = ("stripe-signature", sign(BODY))
    return {
        "GET": (405, {"method": "GET"}),
        "HEAD": (405, {"method": "HEAD"}),
        "PUT": (405, {"method": "PUT", "headers": [JSON, signed], "chunks": [BODY]}),
        "a method in a header": (405, {"method": "GET", "headers": [("x-http-method-override", "POST"), JSON, signed]}),
        "no content type": (415, {"headers": [signed], "chunks": [BODY]}),
        "a form": (415, {"headers": [("content-type", "application/x-www-form-urlencoded"), signed], "chunks": [BODY]}),
        "two content types": (415, {"headers": [JSON, JSON, signed], "chunks": [BODY]}),
        "another charset": (415, {"headers": [("content-type", "application/json; charset=utf-16"), signed]}),
        "gzip": (415, {"headers": [JSON, ("content-encoding", "gzip"), signed], "chunks": [BODY]}),
        "a promise of too much": (413, {"headers": [JSON, ("content-length", str(LIMIT + 1)), signed]}),
        "a promise of very much": (413, {"headers": [JSON, ("content-length", "9" * 5_000), signed]}),
        "too much in chunks": (413, {"headers": [JSON, signed], "chunks": [b" " * 65_536] * 9, "hang": True}),
        "too much after a promise of little": (
            413,
            {"headers": [JSON, ("content-length", "10"), signed], "chunks": [b" " * (LIMIT + 1)]},
        ),
        "no signature": (400, {"headers": [JSON], "chunks": [BODY]}),
        "two signatures": (400, {"headers": [JSON, signed, signed], "chunks": [BODY]}),
        "a bad signature": (400, {"headers": [JSON, ("stripe-signature", "t=1,v1=2")], "chunks": [BODY]}),
        "a signature of no text": (400, {"headers": [JSON, ("stripe-signature", b"\xff\xfe")], "chunks": [BODY]}),
        "another body": (400, {"headers": [JSON, signed], "chunks": [BODY + b"\n"]}),
        "no body": (400, {"headers": [JSON, signed]}),
        "a secret of the sender's": (
            400,
            {
                "headers": [JSON, ("stripe-signature", sign(BODY, "whsec_mine")), ("x-webhook-secret", "whsec_mine")],
                "chunks": [BODY],
            },
        ),
        "an account of the sender's": (400, {"headers": [JSON, ("stripe-account", "acct_1"), ("host", "acct_1")]}),
    }


@pytest.mark.parametrize("case", refused())
def test_a_delivery_is_refused(client: Client, case: str) -> None:
    before = count(client.app.db)
    status, request = refused()[case]
    answer = client.request(**request)
    assert answer.status == status
    assert len(answer.body) < 120
    assert count(client.app.db) == before


SIGNED_NONSENSE = {
    "no event": b"{}",
    "a list": b"[]",
    "deep": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "NaN": event("evt_nan")[:-1] + b', "x": NaN}',
    "a huge number": event("evt_num")[:-1] + b', "x": ' + b"1" * 10_000 + b"}",
    "a lone surrogate": event("evt_sur")[:-1] + b', "x": "\\udfff"}',
    "a key twice": event("evt_dup")[:-1] + b', "type": "x"}',
}


@pytest.mark.parametrize("body", SIGNED_NONSENSE.values(), ids=SIGNED_NONSENSE)
def test_signed_nonsense_is_refused_and_not_stored(client: Client, body: bytes) -> None:
    before = count(client.app.db)
    assert client.post(body).status == 400
    assert count(client.app.db) == before


def test_the_longest_body_that_is_allowed_is_stored(client: Client) -> None:
    body = event("evt_long", note="")
    body = body.replace(b'"note": ""', b'"note": "' + b"n" * (LIMIT - len(body)) + b'"')
    assert len(body) == LIMIT
    chunks = [body[at : at + 65_536] for at in range(0, LIMIT, 65_536)]
    assert client.request(headers=[JSON, ("stripe-signature", sign(body))], chunks=chunks).status == 200
    assert rows(client.app.db, "evt_long")[0].body == body


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON;charset=UTF-8", 'application/json; charset="utf-8"']
)
def test_the_content_type_may_be_written_in_several_ways(client: Client, content_type: str) -> None:
    headers = [("content-type", content_type), ("stripe-signature", sign(event("evt_ct")))]
    assert client.request(headers=headers, chunks=[event("evt_ct")]).status == 200


def test_a_body_that_never_ends_is_given_up(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.web.webhook.BODY_SECONDS", 0.05)
    answer = client.request(headers=[JSON], chunks=[BODY[:20]], hang=True)
    assert (answer.status, answer.headers["connection"]) == (408, "close")


def test_nothing_is_parsed_or_written_before_the_signature_holds(
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    logged: list[Any],
) -> None:
    parsed: list[bytes] = []
    stored: list[Received] = []
    really_parse, really_store = envelope._parse, Writer.store

    def parse(body: bytes) -> dict[str, Any]:
        parsed.append(body)
        return really_parse(body)

    async def store(self: Writer, row: Received) -> Any:
        stored.append(row)
        return await really_store(self, row)

    monkeypatch.setattr(envelope, "_parse", parse)
    monkeypatch.setattr(Writer, "store", store)
    with caplog.at_level("DEBUG"):
        for status, request in refused().values():
            assert client.request(**request).status == status
    assert (parsed, stored, caplog.text, logged) == ([], [], "", [])
    assert client.post(event("evt_spied")).status == 200
    assert (len(parsed), len(stored)) == (1, 1)


def test_what_was_refused_is_counted_by_reason(client: Client) -> None:
    def counted(result: str) -> float:
        return metrics.REGISTRY.get_sample_value("reprieve_intake_total", {"result": result}) or 0.0

    before = counted("signature"), counted("stored")
    client.post(BODY, "t=1,v1=2")
    client.post(event("evt_counted"))
    assert (counted("signature"), counted("stored")) == (before[0] + 1, before[1] + 1)


def test_without_a_secret_the_endpoint_is_off(sqlite_url: str) -> None:
    for secret in ("", " ", "whsec_..."):
        with in_process(an_app(sqlite_url, stripe_webhook_secrets=secret)) as off:
            answer = off.post(event(), sign(event(), secret or "x"))
            assert (answer.status, "no webhook signing secret" in answer.text.lower()) == (404, True)
            assert count(off.app.db) == 0


@pytest.fixture
def two_accounts(sqlite_url: str) -> Iterator[Client]:
    live = Account.model_validate({"id": "acct_live", "livemode": True, "webhook_secrets": ["whsec_live"]})
    with in_process(an_app(sqlite_url, stripe_account="acct_test", accounts=[live])) as client:
        yield client


def test_the_secret_alone_tells_account_and_mode(two_accounts: Client) -> None:
    def post(body: bytes, secret: str) -> Answer:
        return two_accounts.post(body, sign(body, secret))

    assert post(event("evt_1"), SECRET).status == 200
    assert post(event("evt_2", livemode=True), "whsec_live").status == 200
    assert post(event("evt_3"), "whsec_live").status == 200
    found = [(row.account, row.livemode, row.state) for row in rows(two_accounts.app.db)]
    assert found == [
        ("acct_test", False, "received"),
        ("acct_live", True, "received"),
        ("acct_live", False, "ignored"),
    ]


def test_one_bell_follows_a_stored_event(sqlite_url: str) -> None:
    bell = Bell()
    with in_process(an_app(sqlite_url, bell)) as client:
        client.post(event("evt_1"))
    assert bell.rings == ["inbox"]


class BrokenBell:
    """Raises at every ring."""

    def ring(self, name: str) -> None:
        raise OSError("Redis is away")


class HangingBell:
    """Does not come back before the end of the test."""

    def __init__(self) -> None:
        self.end = threading.Event()

    def ring(self, name: str) -> None:
        self.end.wait(20)


def test_a_broken_bell_does_no_harm(sqlite_url: str) -> None:
    with in_process(an_app(sqlite_url, BrokenBell())) as client:
        for n in range(20):
            assert client.post(event(f"evt_{n}")).status == 200
        assert count(client.app.db) == 20


def test_a_hanging_bell_delays_nobody(sqlite_url: str) -> None:
    bell = HangingBell()
    with in_process(an_app(sqlite_url, bell)) as client:
        for n in range(20):
            assert client.post(event(f"evt_{n}")).status == 200  # each within the patience of 1.5 s
        assert count(client.app.db) == 20
        bell.end.set()


def test_bodies_cannot_fill_the_memory_together(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.web.webhook.HELD_BYTES", 1_000)
    assert client.request(headers=[JSON], chunks=[b" " * 1_001], hang=True).status == 503
    assert client.post(event("evt_after_the_crowd")).status == 200
