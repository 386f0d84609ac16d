"""`reprieve doctor` and `reprieve setup` on what customers get: who else writes, and what links are signed with."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from config.settings import Account
from sandbox import Sandbox
from worker import doctor, setup
from worker.db import Database
from worker.doctor import stripe_mail
from worker.doctor.finding import Finding, Level
from worker.stripe_gateway import Gateway, StripeAway
from worker.templates import check
from worker.templates.versions import Versions

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LONG = "k3Jx9!mPq2ZvT7w_rB5nYc8L"
LIVE = {"STRIPE_LIVEMODE": "true", "STRIPE_API_KEY": "rk_live_51Abc0123456789"}

Examine = Callable[..., list[Finding]]


@pytest.fixture(scope="module")
def stripe() -> Iterator[Sandbox]:
    with Sandbox(NOW) as sb:
        yield sb


@pytest.fixture
def examine(sqlite_url: str, stripe: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Examine:
    """The findings under one name."""
    for name in [name for name in os.environ if name.startswith("REPRIEVE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    sound = {"DATABASE_URL": sqlite_url, "STRIPE_API_KEY": "rk_test_51Abc0123456789", "STRIPE_API_BASE": stripe.url}

    def look(check: str, **changes: str) -> list[Finding]:
        values = {**sound, **changes}
        if changes.get("STRIPE_LIVEMODE"):
            del values["STRIPE_API_BASE"], values["STRIPE_API_KEY"]
        for name, value in values.items():
            monkeypatch.setenv(f"REPRIEVE_{name}", value)
        return [finding for finding in doctor.examine(lambda: NOW) if finding.name == check]

    return look


@pytest.mark.parametrize(
    ("check", "changes", "level", "words"),
    [
        ("stripe's mails", {}, Level.OK, "sends no messages"),
        ("stripe's mails", {"MODE": "notify"}, Level.WARN, "nobody said what Stripe mails"),
        ("stripe's mails", {"MODE": "notify", "STRIPE_SENDS": "none"}, Level.OK, "Stripe mails nothing"),
        (
            "stripe's mails",
            {"MODE": "notify", "STRIPE_SENDS": "receipt,action_required"},
            Level.OK,
            "held, because Stripe mails it: recovered, payment_failed (authenticate), reminder (authenticate)",
        ),
        ("recovery links", {}, Level.OK, "not set"),
        ("recovery links", {"MODE": "notify"}, Level.WARN, "no link secret"),
        ("recovery links", {"LINK_SECRET": "a" * 40}, Level.FAIL, "can be guessed"),
        ("recovery links", {"LINK_SECRET": "change-me-" + LONG}, Level.FAIL, "can be guessed"),
        ("recovery links", {"LINK_SECRET": LONG * 2}, Level.WARN, "only this machine"),
        ("recovery links", {"LINK_SECRET": LONG * 2, **LIVE}, Level.FAIL, "only this machine"),
        ("recovery links", {"LINK_SECRET": LONG * 2, "PUBLIC_URL": "http://pay.acme.test"}, Level.FAIL, "no link"),
        ("recovery links", {"LINK_SECRET": LONG * 2, "PUBLIC_URL": "https://pay.acme.test"}, Level.OK, "links lead to"),
        ("suppression", {}, Level.OK, "not set"),
        ("suppression", {"MODE": "notify"}, Level.WARN, "no suppression secret"),
        ("suppression", {"MODE": "notify", **LIVE}, Level.FAIL, "no suppression secret"),
        ("suppression", {"SUPPRESSION_SECRET": "s" * 40}, Level.FAIL, "can be guessed"),
        ("suppression", {"SUPPRESSION_SECRET": LONG * 2, "LINK_SECRET": LONG * 2}, Level.FAIL, "another secret too"),
        ("suppression", {"SUPPRESSION_SECRET": LONG, "MODE": "notify"}, Level.WARN, "REPRIEVE_PUBLIC_URL is http:"),
        ("suppression", {"SUPPRESSION_SECRET": LONG, "PUBLIC_URL": "https://a.test"}, Level.OK, "addresses are hidden"),
        ("sms", {}, Level.OK, "not used"),
        ("sms", {"SMS_URL": "json://h/{to}"}, Level.FAIL, "no consent can be kept"),
        ("sms", {"SMS_URL": "json://h/{to}", "SUPPRESSION_SECRET": LONG}, Level.WARN, "nobody hears"),
        (
            "sms",
            {"SMS_URL": "json://h/", "SUPPRESSION_SECRET": LONG, "SMS_HOOK_SECRET": LONG},
            Level.FAIL,
            "has no {to}",
        ),
        (
            "sms",
            {"SMS_URL": "json://h/{to}", "SUPPRESSION_SECRET": LONG, "SMS_HOOK_SECRET": LONG},
            Level.OK,
            "STOP is heard",
        ),
    ],
)
def test_what_is_missing_or_wrong_is_named(
    examine: Examine, check: str, changes: dict[str, str], level: Level, words: str
) -> None:
    found = [finding for finding in examine(check, **changes) if words in finding.said]
    assert [finding.level for finding in found] == [level]
    assert found[0].fix or level is Level.OK


def test_no_finding_shows_a_secret(examine: Examine) -> None:
    for name in ("recovery links", "suppression", "sms"):
        secrets = {"LINK_SECRET": LONG * 2, "SUPPRESSION_SECRET": LONG, "SMS_URL": f"json://{LONG}/"}
        assert LONG not in repr(examine(name, MODE="notify", **secrets))


def test_texts_of_ones_own_are_looked_at_and_a_broken_one_is_named(
    examine: Examine, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = Database(sqlite_url)
    kept = Versions(db)
    kept.activate("de", "reminder", kept.write("de", "reminder", {"lead": "Offen."}, "ann", NOW), "ann", NOW)
    assert [finding.said for finding in examine("own texts")] == [
        "1 texts of your own are in force, and can be written"
    ]
    with monkeypatch.context() as patch:  # as a version that an earlier program had let through
        patch.setattr(check, "guarded", lambda edits: [])
        kept.activate("de", "reminder", kept.write("de", "reminder", {"lead": "{{ who }}"}, "ann", NOW), "ann", NOW)
    db.close()
    (found,) = examine("own texts")
    assert found.level is Level.FAIL
    assert "de/reminder/lead:1: who" in found.said


class Seen(Gateway):
    """Stripe with the traces that its mails leave."""

    def __init__(self, receipt: str | None = "1234-5678", sent: bool = True) -> None:
        self.receipt, self.sent = receipt, sent

    def page(self, path: str, params: object, after: str | None = None) -> tuple[list[dict[str, object]], bool]:
        if path == "/v1/charges":
            return [{"receipt_number": None}, {"receipt_number": self.receipt}], False
        return [{"type": "invoice.sent"}] if self.sent else [], False


def test_mails_of_stripes_are_seen_by_the_traces_they_leave() -> None:
    assert stripe_mail.traces(Seen()) == ["receipt", "invoice_finalized"]
    assert stripe_mail.traces(Seen(receipt=None, sent=False)) == []

    class Away(Seen):
        def page(self, path: str, params: object, after: str | None = None) -> tuple[list[dict[str, object]], bool]:
            raise StripeAway("no answer")

    assert stripe_mail.traces(Away()) == []


class Gates:
    def __init__(self, gateway: Gateway | None) -> None:
        self.gateway = gateway

    def of(self, account: str, livemode: bool) -> Gateway | None:
        return self.gateway


def test_setup_asks_what_stripe_mails_and_prints_the_settings() -> None:
    asked: list[tuple[str, bool]] = []

    def ask(question: str, suggested: bool) -> bool:
        asked.append((question, suggested))
        return suggested or "payment fails" in question

    accounts = (Account(id="self"), Account(id="acct_2", livemode=True))
    lines = list(setup.questions(accounts, Gates(Seen(sent=False)), ask))  # type: ignore[arg-type]
    assert "\nSet:  REPRIEVE_STRIPE_SENDS=failed_payment,receipt" in lines
    assert lines[-1].endswith('[[accounts]] of acct_2:  stripe_sends = ["failed_payment", "receipt"]')
    assert [suggested for question, suggested in asked if "receipt" in question] == [True, True]


def test_setup_says_none_when_stripe_mails_nothing() -> None:
    lines = list(setup.questions((Account(),), Gates(None), lambda question, suggested: False))  # type: ignore[arg-type]
    assert lines[-1] == "\nSet:  REPRIEVE_STRIPE_SENDS=none"


class Restricted(BaseHTTPRequestHandler):
    """Stripe as most restricted keys meet it: the account may not be read, whatever else is allowed."""

    page = "https://invoice.stripe.com/i/acct_1Mine/live_x"

    def do_GET(self) -> None:
        account = self.path.startswith("/v1/account")
        listed = {"object": "list", "data": [{"id": "in_1", "hosted_invoice_url": self.page}], "has_more": False}
        refusal = {"error": {"type": "invalid_request_error", "message": "does not have the required permissions"}}
        body = json.dumps(refusal if account else listed).encode()
        self.send_response(403 if account else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return None


@pytest.mark.parametrize(
    ("page", "account", "level", "words"),
    [
        (Restricted.page, "self", Level.OK, "the key belongs to acct_1Mine"),
        (Restricted.page, "acct_1Mine", Level.OK, "the key belongs to it"),
        (Restricted.page, "acct_1Other", Level.FAIL, "the key belongs to acct_1Mine"),
        ("", "acct_1Mine", Level.OK, "may not say whose it is"),
    ],
)
def test_a_restricted_key_that_may_not_read_the_account_is_a_good_key(
    examine: Examine, page: str, account: str, level: Level, words: str
) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Told", (Restricted,), {"page": page}))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        found = examine("stripe", STRIPE_API_BASE=f"http://127.0.0.1:{server.server_port}", STRIPE_ACCOUNT=account)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert [finding.level for finding in found if words in finding.said] == [level]
    assert [
        finding.said for finding in found if "clock is 0 s off" in finding.said or "clock is 1 s off" in finding.said
    ]
