"""`reprieve doctor`: each thing that can be wrong, by its name, its level and the way to mend it."""

from __future__ import annotations

import io
import json
import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import redis as redis_client
from sqlalchemy import insert

from sandbox import SMART_RETRIES, Sandbox, declines
from tests.world import DAY, SELF
from worker import doctor, migrate, switch
from worker import tables as t
from worker.db import Database
from worker.doctor.finding import Finding, Level

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SIGNING = "whsec_5f1c0b7be6a94cb2a7d03e21"
KEY = "rk_test_51Abc0123456789"

Examine = Callable[..., list[Finding]]


@pytest.fixture(scope="module")
def stripe() -> Iterator[Sandbox]:
    with Sandbox(NOW) as sb:
        yield sb


@pytest.fixture
def examine(sqlite_url: str, stripe: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Examine:
    """Everything in order, except what the test sets; None takes a setting away."""
    for name in [name for name in os.environ if name.startswith("REPRIEVE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    sound = {
        "DATABASE_URL": sqlite_url,
        "STRIPE_API_KEY": KEY,
        "STRIPE_API_BASE": stripe.url,
        "STRIPE_WEBHOOK_SECRETS": SIGNING,
    }

    def look(**changes: str | None) -> list[Finding]:
        for name, value in {**sound, **changes}.items():
            if value is None:
                monkeypatch.delenv(f"REPRIEVE_{name}", raising=False)
            else:
                monkeypatch.setenv(f"REPRIEVE_{name}", value)
        return list(doctor.examine(lambda: NOW))

    return look


def of(findings: list[Finding], name: str) -> list[Finding]:
    return [finding for finding in findings if finding.name == name]


def test_a_sound_installation_has_nothing_to_mend(examine: Examine) -> None:
    findings = examine()
    assert [(f.name, f.said) for f in findings if f.level is not Level.OK] == []
    assert {finding.name for finding in findings} == {"settings", *doctor.CHECKS}


@pytest.mark.parametrize(
    ("setting", "value", "name", "level", "words"),
    [
        ("MODE", "perhaps", "settings", Level.FAIL, "REPRIEVE_MODE"),
        ("LEASE_SECONDS", "1", "settings", Level.FAIL, "lease_seconds must exceed"),
        ("REPORTING_TIMEZONE", "Mars/Olympus", "time zones", Level.FAIL, "Mars/Olympus"),
        ("DATABASE_URL", "sqlite:////nowhere/at/all.db", "database", Level.FAIL, "no file"),
        ("DATABASE_URL", "postgresql://nobody:hunter22@127.0.0.1:1/x", "database", Level.FAIL, "cannot be reached"),
        ("REDIS_URL", "redis://:hunter22@127.0.0.1:1", "redis", Level.FAIL, "cannot be reached"),
        ("STRIPE_WEBHOOK_SECRETS", None, "webhook secrets", Level.FAIL, "every webhook is refused"),
        ("STRIPE_WEBHOOK_SECRETS", "whsec_...", "webhook secrets", Level.FAIL, "cannot be real"),
        ("STRIPE_WEBHOOK_SECRETS", "whsec_your_signing_secret_here", "webhook secrets", Level.FAIL, "cannot be real"),
        ("STRIPE_WEBHOOK_SECRETS", f"{SIGNING},we_123", "webhook secrets", Level.FAIL, "1 of 2"),
        ("STRIPE_API_KEY", None, "api keys", Level.WARN, "no API key in mode observe"),
        ("STRIPE_API_KEY", "pk_test_51Abc0123", "api keys", Level.FAIL, "no secret key"),
        ("STRIPE_API_KEY", "rk_live_51Abc0123", "api keys", Level.FAIL, "is a live key"),
        ("STRIPE_API_KEY", "sk_test_51Abc0123", "api keys", Level.WARN, "full secret key"),
        ("STRIPE_API_BASE", "http://127.0.0.1:1", "stripe", Level.FAIL, "no answer"),
        ("STRIPE_ACCOUNT", "acct_somebody_else", "stripe", Level.FAIL, "belongs to acct_1Sandbox"),
        ("SMTP_HOST", "127.0.0.1", "mail", Level.FAIL, "127.0.0.1:587"),
        ("MAILBOX_DIR", "/proc/nowhere", "mail", Level.FAIL, "cannot be written"),
        ("MAILBOX_DIR", "mails", "mail", Level.WARN, "to nobody else"),
        ("POLICY", "missing", "policies", Level.FAIL, "no policy 'missing'"),
    ],
)
def test_what_is_wrong_is_named_with_the_way_to_mend_it(
    examine: Examine, setting: str, value: str | None, name: str, level: Level, words: str
) -> None:
    found = [finding for finding in of(examine(**{setting: value}), name) if words in finding.said]
    assert [finding.level for finding in found] == [level]
    assert found[0].fix


def test_a_full_key_in_live_mode_must_be_replaced(examine: Examine) -> None:
    # The base address of a stand-in is refused in live mode, and a key that is wrong is sent nowhere.
    findings = examine(STRIPE_API_BASE=None, STRIPE_API_KEY="sk_live_51Abc0123", STRIPE_LIVEMODE="true")
    (key,) = of(findings, "api keys")
    assert key.level is Level.FAIL
    assert "rk_" in key.fix
    assert of(findings, "stripe") == []


def test_charging_without_a_key_must_be_mended(examine: Examine) -> None:
    (key,) = of(examine(STRIPE_API_KEY=None, MODE="own"), "api keys")
    assert key.level is Level.FAIL


class Clocked(BaseHTTPRequestHandler):
    """An account, told by a server whose clock is `late`."""

    late = timedelta(0)

    def do_GET(self) -> None:
        body = b'{"object": "account", "id": "acct_1"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def date_time_string(self, timestamp: float | None = None) -> str:
        return format_datetime(datetime.now(UTC) - self.late, usegmt=True)

    def log_message(self, format: str, *args: object) -> None:
        return None


DRIFTS = ((timedelta(0), Level.OK), (timedelta(minutes=2), Level.WARN), (timedelta(hours=-1), Level.FAIL))


@pytest.mark.parametrize(("drift", "level"), DRIFTS)
def test_the_clock_is_compared_with_stripes(examine: Examine, drift: timedelta, level: Level) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Late", (Clocked,), {"late": drift}))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        findings = examine(STRIPE_API_BASE=f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert [finding.level for finding in of(findings, "stripe") if "clock" in finding.said] == [level]


def test_two_drivers_are_found_in_mode_own_only(examine: Examine) -> None:
    with Sandbox(NOW, dunning=SMART_RETRIES) as sb:
        sb.subscribe(behaviour=declines("insufficient_funds"))
        sb.advance(32 * DAY)
        driving = {"STRIPE_API_BASE": sb.url, "MAILBOX_DIR": "mails"}
        own = [f for f in of(examine(MODE="own", **driving), "stripe") if "will retry" in f.said]
        assert [finding.level for finding in own] == [Level.FAIL]
        assert "Revenue recovery" in own[0].fix
        weave = of(examine(MODE="weave", **driving), "stripe")
        assert {finding.level for finding in weave} == {Level.OK}


def test_tables_of_another_version_are_found(examine: Examine, sqlite_url: str) -> None:
    db = Database(sqlite_url)
    migrate.downgrade(db)
    db.close()
    findings = examine()
    assert [(finding.level, finding.fix) for finding in of(findings, "schema")] == [
        (Level.FAIL, "run `reprieve migrate`")
    ]
    assert of(findings, "backlog") == []


def test_what_waits_for_a_person_is_counted(examine: Examine, sqlite_url: str) -> None:
    db = Database(sqlite_url)
    event = {**SELF.key, "type": "invoice.paid", "body": b"{}", "tries": 0, "due_at": NOW}
    with db.begin() as connection:
        switch.turn(connection, None, True, "ann", "a quiet day", NOW)
        connection.execute(
            insert(t.inbox),
            [
                {**event, "event_id": "evt_1", "state": "quarantined", "received_at": NOW},
                {**event, "event_id": "evt_2", "state": "received", "received_at": NOW - timedelta(minutes=20)},
            ],
        )
    db.close()
    findings = examine()
    assert "all is stopped by ann" in of(findings, "kill switch")[0].said
    assert [finding.said for finding in of(findings, "leftovers")] == ["1 quarantined events"]
    assert of(findings, "backlog")[0].said == "the oldest event has waited for 20 minutes"


def test_postgresql_that_keeps_what_it_commits_is_sound(examine: Examine, pg_database: str) -> None:
    findings = examine(DATABASE_URL=pg_database)
    assert "PostgreSQL" in of(findings, "database")[0].said
    said = of(findings, "durability")[0]
    assert said.level is Level.OK or "fsync" in said.said  # a test server may run without fsync


@pytest.mark.parametrize(
    ("policy", "level"), [("noeviction", Level.OK), ("volatile-lru", Level.WARN), ("allkeys-lru", Level.FAIL)]
)
def test_a_redis_that_throws_bells_away_is_found(examine: Examine, redis_url: str, policy: str, level: Level) -> None:
    with redis_client.Redis.from_url(redis_url) as client:
        before = client.config_get("maxmemory-policy")["maxmemory-policy"]
        client.config_set("maxmemory-policy", policy)
        try:
            (found,) = of(examine(REDIS_URL=redis_url), "redis")
        finally:
            client.config_set("maxmemory-policy", before)
    assert found.level is level


def test_the_exit_code_and_the_json_say_the_same(examine: Examine) -> None:
    examine()
    sound = io.StringIO()
    assert doctor.run(True, sound, lambda: NOW) == 0
    assert {finding["level"] for finding in json.loads(sound.getvalue())} == {"ok"}
    examine(STRIPE_WEBHOOK_SECRETS=None)
    ill = io.StringIO()
    assert doctor.run(False, ill, lambda: NOW) == 1
    assert "fail  webhook secrets: self (test)" in ill.getvalue()
    assert "-> set REPRIEVE_STRIPE_WEBHOOK_SECRETS" in ill.getvalue()


def test_no_secret_is_ever_shown(examine: Examine) -> None:
    findings = examine(
        STRIPE_API_KEY="sk_test_51Abc0123hidden",
        DATABASE_URL="postgresql://nobody:hunter22@127.0.0.1:1/x",
        REDIS_URL="redis://:hunter22@127.0.0.1:1",
        SMTP_HOST="127.0.0.1",
        SMTP_PORT="1",
        SMTP_USER="ann",
        SMTP_PASSWORD="hunter22",
    )
    told = repr(findings)
    for secret in ("hunter22", "51Abc0123hidden", SIGNING):
        assert secret not in told


OWN_RULE = """as_of = 2026-11-22

[[rule]]
name = "visa-15-in-30-days"
effect = "at_most"
brands = ["visa"]
scope = "amount"
most = 20
days = 30
loosens = true
because = "our acquirer allows 20"
from = 2026-01-01
source = "letter of our acquirer, 2025-12-01"
"""


def test_a_looser_network_rule_of_ones_own_is_said_loudly(examine: Examine, tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(OWN_RULE)
    first, looser = of(examine(NETWORK_RULES_PATH=str(file)), "network rules")
    assert (first.level, "1 of your own" in first.said) == (Level.OK, True)
    assert looser.level is Level.WARN
    assert "visa-15-in-30-days is LOOSER than the shipped rule: most 20 instead of 15" in looser.said
    assert "letter of our acquirer" in looser.said
    file = tmp_path / "stricter.toml"
    file.write_text(OWN_RULE.replace("most = 20", "most = 8").replace("loosens = true\n", ""))
    assert [f.level for f in of(examine(NETWORK_RULES_PATH=str(file)), "network rules")] == [Level.OK, Level.OK]


def test_a_network_rule_that_cannot_be_used_is_named_with_its_line(examine: Examine, tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(OWN_RULE.replace("loosens = true\n", ""))
    (found,) = of(examine(NETWORK_RULES_PATH=str(file)), "network rules")
    assert found.level is Level.FAIL
    assert "own.toml, line 8: rule 1, most: " in found.said


def test_the_country_of_the_account_is_held_against_what_stripe_says(examine: Examine) -> None:
    said = [f for f in of(examine(STRIPE_COUNTRY="DE"), "stripe") if "settings say DE" in f.said]
    assert [f.level for f in said] == [Level.WARN]
    assert any("REPRIEVE_STRIPE_COUNTRY=US" in f.fix for f in of(examine(STRIPE_COUNTRY=None), "stripe"))


def test_what_a_sequence_needs_and_does_not_find_is_named(examine: Examine, tmp_path: Path) -> None:
    said = {finding.said for finding in examine(MODE="notify") if finding.name == "sequences"}
    assert any("merges open invoices into one message, and there is no page" in each for each in said)
    assert any("nobody beside the address at Stripe" in each for each in said)
    file = tmp_path / "contacts.csv"
    file.write_text("customer,email,role\ncus_1,ada@acme.example,boss\n")
    [wrong] = [each for each in examine(MODE="notify", CONTACTS_CSV=str(file)) if each.name == "sequences"]
    assert (wrong.level, "line 2, column role" in wrong.said) == (Level.FAIL, True)
    [quiet] = [each for each in examine(MODE=None, CONTACTS_CSV=None) if each.name == "sequences"]
    assert quiet.level is Level.OK
