"""The merchant's own systems are told: signed, at least once, each by itself, and never into a private network."""

from __future__ import annotations

import base64
import hmac
import json
import socket
import time
from collections.abc import MutableMapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from config.channels import Endpoint
from config.settings import Settings
from sandbox import declines, until
from tests.channels.listener import Heard, Listener
from tests.store.conftest import Clock, app_on
from tests.world import DAY, SELF, START, world
from worker import egress, outgoing
from worker.app import App, build
from worker.broker import NoBell
from worker.channel_tables import outgoing_delivery
from worker.outbox import Lost


@pytest.fixture
def clock() -> Clock:
    return Clock()


OLD, NEW = b"o" * 32, b"n" * 32


def secret(key: bytes = NEW) -> str:
    return f"whsec_{base64.b64encode(key).decode()}"


def endpoint(url: str, name: str = "crm", **more: Any) -> dict[str, Any]:
    return {"name": name, "url": url, "secrets": [secret()], "allow_private": True, **more}


def app_telling(url: str, clock: Clock, *endpoints: dict[str, Any]) -> App:
    return build(Settings(database_url=url, outgoing_webhooks=endpoints), NoBell(), now=clock)


def put(app: App, key: str = "in_1", kind: str = "case.opened") -> None:
    with app.db.begin() as db:
        outgoing.put(app, db, SELF, kind, key, {"invoice": key})


def states(app: App) -> dict[str, tuple[str, int]]:
    """(state, tries) by endpoint and event."""
    with app.db.read() as db:
        rows = outgoing.listing(db, None, 100)
    return {f"{row.endpoint} {row.type}": (row.state, row.tries) for row in rows}


def signed_with(heard: Heard, key: bytes) -> bool:
    """Checked as the specification of Standard Webhooks says, without code of ours."""
    content = f"{heard.headers['webhook-id']}.{heard.headers['webhook-timestamp']}.".encode() + heard.body
    wanted = base64.b64encode(hmac.digest(key, content, "sha256")).decode()
    return f"v1,{wanted}" in heard.headers["webhook-signature"].split(" ")


def test_an_event_is_delivered_once_and_signed_with_every_secret(database_url: str, clock: Clock) -> None:
    with Listener() as crm:
        app = app_telling(database_url, clock, endpoint(crm.url, secrets=[secret(NEW), secret(OLD)]))
        put(app)
        put(app)  # the same thing, learnt twice
        assert outgoing.send_due(app) == 1
        assert outgoing.send_due(app) == 0
        (heard,) = crm.heard
        assert signed_with(heard, NEW)
        assert signed_with(heard, OLD)
        assert not signed_with(heard, b"x" * 32)
        told = json.loads(heard.body)
        assert told["type"] == "case.opened"
        assert told["data"] == {"account": "self", "livemode": False, "invoice": "in_1"}
        assert states(app) == {"crm case.opened": ("delivered", 1)}
        app.close()


def test_an_endpoint_that_fails_is_tried_for_three_days_and_then_put_before_a_person(
    database_url: str, clock: Clock
) -> None:
    with Listener() as crm:
        crm.status = 500
        app = app_telling(database_url, clock, endpoint(crm.url))
        put(app)
        began, waits = clock.at, []
        while states(app)["crm case.opened"][0] == "waiting":
            last = clock.at
            while not outgoing.send_due(app):
                clock.pass_time(
                    timedelta(seconds=5) if clock.at - began < timedelta(hours=1) else timedelta(minutes=30)
                )
            waits.append(clock.at - last)
        assert states(app)["crm case.opened"][0] == "stuck"
        assert timedelta(days=3) <= clock.at - began < timedelta(days=3, hours=9)
        assert waits == sorted(waits)
        assert 12 < len(crm.heard) < 25
        assert len({heard.headers["webhook-id"] for heard in crm.heard}) == 1
        crm.status = 204
        with app.db.begin() as db:
            assert outgoing.resend(db, None, clock.at) == 1
        outgoing.send_due(app)
        assert states(app)["crm case.opened"] == ("delivered", 1)
        app.close()


def test_a_dead_endpoint_delays_only_itself(sqlite_url: str, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egress, "TIMEOUT", 0.5)
    monkeypatch.setattr(egress, "TOTAL", 1.0)
    with Listener() as hangs, Listener() as crm, socket.create_server(("127.0.0.1", 0)) as silent:
        hangs.hang = True
        app = app_telling(
            sqlite_url,
            clock,
            endpoint(hangs.url, "hangs"),
            endpoint(f"http://127.0.0.1:{silent.getsockname()[1]}/", "silent"),
            endpoint("http://127.0.0.1:1/", "closed"),
            endpoint(crm.url),
        )
        for number in range(5):
            put(app, f"in_{number}")
        began = time.monotonic()
        assert outgoing.send_due(app) == 8
        assert time.monotonic() - began < 8
        assert len(crm.heard) == 5
        with app.db.read() as db:
            rows = outgoing.listing(db, "waiting", 100)
        assert {row.endpoint for row in rows} == {"hangs", "silent", "closed"}
        assert sorted(row.tries for row in rows) == [0] * 12 + [1] * 3
        app.close()


def test_an_endpoint_hears_only_what_it_asked_for(sqlite_url: str, clock: Clock) -> None:
    with Listener() as crm:
        app = app_telling(sqlite_url, clock, endpoint(crm.url, events=["case.lost"]))
        put(app)
        put(app, kind="case.lost")
        outgoing.send_due(app)
        assert [json.loads(heard.body)["type"] for heard in crm.heard] == ["case.lost"]
        app.close()


def test_a_redirect_is_not_followed(sqlite_url: str, clock: Clock) -> None:
    with Listener() as crm, Listener() as inside:
        crm.status, crm.location = 307, inside.url
        app = app_telling(sqlite_url, clock, endpoint(crm.url))
        put(app)
        outgoing.send_due(app)
        assert (len(crm.heard), len(inside.heard)) == (1, 0)
        assert states(app)["crm case.opened"] == ("waiting", 1)
        app.close()


def test_who_lost_the_lease_ends_nothing(database_url: str, clock: Clock) -> None:
    with Listener() as crm:
        app = app_telling(database_url, clock, endpoint(crm.url))
        put(app)
        with app.db.begin() as db:
            mine = outgoing._claim(db, app.settings.outgoing_webhooks[0], clock.at)
            assert mine is not None
            assert outgoing._claim(db, app.settings.outgoing_webhooks[0], clock.at) is None
            outgoing.resend(db, mine.event_id, clock.at)
        with pytest.raises(Lost):
            outgoing._deliver(app, app.settings.outgoing_webhooks[0], mine)
        assert states(app)["crm case.opened"] == ("waiting", 0)
        app.close()


# ---------------------------------------------------------------- what is told


def test_a_recovery_and_a_loss_are_told_as_they_happen(database_url: str, tmp_path: Path) -> None:
    with Listener() as crm:
        told: dict[str, Any] = {"outgoing_webhooks": [endpoint(crm.url)]}
        with world(database_url, tmp_path, **told) as w:
            ann = w.sb.subscribe("pm_card_visa", amount=2000, email="ann@example.com")
            bob = w.sb.subscribe("pm_card_visa", amount=2000, email="bob@example.com")
            w.sb.issuer.set(ann.payment_method, until(START + 36 * DAY))
            w.sb.issuer.set(bob.payment_method, declines("insufficient_funds"))
            w.pass_time(START + 75 * DAY, step=DAY)
            outgoing.send_due(w.app)
            heard: dict[str, list[str]] = {}
            for each in crm.heard:
                event = json.loads(each.body)
                heard.setdefault(event["data"]["customer"], []).append(event["type"])
                assert "example.com" not in each.body.decode()
    assert set(heard[ann.customer]) == {"attempt.made", "case.opened", "case.recovered", "message.sent"}
    assert heard[ann.customer].count("case.opened") == heard[ann.customer].count("case.recovered") == 1
    assert "case.lost" in heard[bob.customer]
    assert "case.recovered" not in heard[bob.customer]


def test_without_endpoints_nothing_is_kept(sqlite_url: str, clock: Clock) -> None:
    app = app_on(sqlite_url, clock)
    put(app)
    assert states(app) == {}
    with pytest.raises(ValueError, match="no such event"):
        put(app, kind="case.guessed")
    app.close()


# ---------------------------------------------------------------- where requests may go


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("0.0.0.0", False),  # noqa: S104
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fd00:ec2::254", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("nonsense", False),
    ],
)
def test_only_addresses_of_the_open_internet_are_public(address: str, found: bool) -> None:
    assert egress.public(address) is found


@pytest.mark.parametrize(
    ("url", "because"),
    [
        ("http://127.0.0.1:1/", "https"),
        ("https://127.0.0.1:1/", "private"),
        ("https://[::1]:1/", "private"),
        ("https://localhost/", "private"),
    ],
)
def test_a_private_address_is_refused_before_anything_is_sent(url: str, because: str) -> None:
    with pytest.raises(egress.Forbidden, match=because):
        egress.post(url, b"{}", {})


def test_a_name_with_one_private_address_among_its_addresses_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(_host: str, port: int, **_: Any) -> list[Any]:
        return [(0, 0, 0, "", (address, port)) for address in ("8.8.8.8", "10.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(egress.Forbidden):
        egress.post("https://rebinds.example/", b"{}", {})


def test_the_connection_goes_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        return [(0, 0, 0, "", ("127.0.0.1", port))]

    with Listener() as crm:
        real = socket.getaddrinfo
        monkeypatch.setattr(
            socket,
            "getaddrinfo",
            lambda h, p, *a, **k: resolve(h, p) if h == "name.example" else real(h, p, *a, **k),
        )
        monkeypatch.setattr(egress, "public", lambda _: True)
        url = crm.url.replace("127.0.0.1", "name.example")
        assert egress.post(url, b"{}", {"Content-Type": "application/json"}, private=True) == 200
        assert asked == ["name.example"]
        assert crm.heard[0].headers["host"].startswith("name.example")


def test_no_log_line_and_no_row_names_the_address(sqlite_url: str, clock: Clock) -> None:
    app = app_telling(sqlite_url, clock, endpoint("http://127.0.0.1:1/hook/tok_canary"))
    put(app)
    lines: list[MutableMapping[str, Any]]
    with capture_logs() as lines:
        outgoing.send_due(app)
    assert [line["event"] for line in lines] == ["webhook_not_delivered"]
    with app.db.read() as db:
        rows = list(db.execute(outgoing_delivery.select()))
    assert "canary" not in f"{lines}{rows}{app.settings!r}"
    app.close()


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize(
    "wrong",
    [
        {"secrets": ["whsec_short"]},
        {"secrets": [base64.b64encode(NEW).decode()]},
        {"secrets": []},
        {"url": "ftp://crm.example/"},
        {"url": "https://user:password@crm.example/"},
        {"events": ["case.guessed"]},
        {"name": "Two words"},
    ],
)
def test_an_endpoint_that_cannot_work_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        Endpoint(**endpoint("https://crm.example/") | wrong)


def test_two_endpoints_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="the same name"):
        Settings(outgoing_webhooks=(endpoint("https://a.example/"), endpoint("https://b.example/")))
