"""Who gets through the door of the API, and with which words the others are turned away."""

from __future__ import annotations

from collections.abc import MutableMapping
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from tests.api.conftest import LIVE, SELF, Door, said
from tests.web.harness import NOW
from worker import logs, tokens
from worker.tables import audit
from worker.token_tables import api_token
from worker.web.pay_gate import LIMITS


def test_a_good_token_opens_the_door_to_its_own_account_and_mode(door: Door) -> None:
    for owner in (SELF, LIVE):
        answer = door.knock(door.token(owner=owner))
        assert answer.status == 200
        assert said(answer) == {"account": "self", "livemode": owner.livemode, "invoice": "in_1", "body": {}}
        assert answer.headers["cache-control"] == "no-store"


def test_no_header_of_the_request_chooses_the_account(door: Door) -> None:
    answer = door.knock(door.token(), stripe_account="acct_other", x_account="acct_other", x_livemode="true")
    assert (said(answer)["account"], said(answer)["livemode"]) == ("self", False)


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Basic cnA6cnA=", "rp_abc", "Token rp_abc"],
)
def test_without_a_token_the_answer_asks_for_one(door: Door, header: str) -> None:
    answer = door.knock(None, authorization=header)
    assert (answer.status, said(answer)["code"]) == (401, "token_missing")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"] == 'Bearer realm="reprieve"'


def test_unknown_expired_and_revoked_tokens_are_refused_in_the_same_words(door: Door) -> None:
    expired, revoked = door.token(name="old", days=1), door.token(name="gone")
    with door.client.app.db.begin() as db:
        made = {"created_at": NOW - timedelta(days=2), "expires_at": NOW}
        db.execute(api_token.update().where(api_token.c.name == "old").values(made))
        assert tokens.revoke(db, SELF, "gone", "ann", NOW)
    wrong = [expired, revoked, "rp_" + "a" * 43, "rp_short", "rp_" + "ä" * 43, "x" * 5000]
    answers = [door.knock(secret.encode().decode("latin-1")) for secret in wrong]
    assert {answer.status for answer in answers} == {401}
    assert len({answer.body for answer in answers}) == 1
    assert said(answers[0])["code"] == "token_refused"


def test_a_token_is_good_for_its_scopes_alone(door: Door) -> None:
    answer = door.knock(door.token("read:entitlement"))
    assert (answer.status, said(answer)["code"]) == (403, "scope_missing")
    assert "insufficient_scope" in answer.headers["www-authenticate"]
    assert door.knock(door.token("queue", name="acts")).status == 200


def test_many_wrong_tokens_have_to_wait_and_the_good_one_does_not(door: Door) -> None:
    good = door.token()
    answers = [door.knock("rp_" + "a" * 43).status for _ in range(LIMITS["miss"] + 2)]
    assert answers == [401] * LIMITS["miss"] + [429] * 2
    assert door.knock(good).status == 200


def test_a_token_in_the_address_is_no_token(door: Door) -> None:
    answer = door.client.request("GET", f"/v1/token?token={door.token()}")
    assert said(answer)["code"] == "token_missing"


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b"{", "application/json", 400, "not_json"),
        (b"[1]", "application/json", 400, "not_an_object"),
        (b'{"a": 1}', "text/plain", 415, "not_json"),
        (b" " * 70_000, "application/json", 413, "too_long"),
        (b'{"refuse": true}', "application/json; charset=utf-8", 409, "taken"),
    ],
)
def test_a_body_that_cannot_be_used_is_refused_in_words(
    door: Door, body: bytes, kind: str, status: int, code: str
) -> None:
    answer = door.knock(door.token(), "POST", body, content_type=kind)
    assert (answer.status, said(answer)["code"]) == (status, code)


def test_a_bad_body_tells_nothing_to_somebody_without_a_token(door: Door) -> None:
    assert door.knock(None, "POST", b"{", content_type="application/json").status == 401


def test_what_is_no_address_of_the_api_is_a_problem_too(door: Door) -> None:
    for method, path in (("GET", "/v1/nothing"), ("POST", "/v1/token"), ("DELETE", "/v1/")):
        answer = door.client.request(method, path)
        assert (answer.status, said(answer)["code"]) == (404, "no_such_address")


def test_a_token_says_what_it_is_good_for(door: Door) -> None:
    answer = door.client.request("GET", "/v1/token", [("authorization", f"bearer {door.token('queue')}")])
    told = {"name": "crm", "account": "self", "livemode": False, "scopes": ["queue"]}
    assert said(answer) == {**told, "expires_at": "2026-03-31T12:00:00Z"}


def test_the_last_use_is_noted_once_an_hour(door: Door) -> None:
    secret = door.token()
    door.knock(secret)
    for past, noted in ((timedelta(minutes=59), True), (timedelta(hours=1), False)):
        with door.client.app.db.begin() as db:
            db.execute(api_token.update().values(last_used_at=NOW - past))
        door.knock(secret)
        with door.client.app.db.read() as db:
            assert (db.scalar(select(api_token.c.last_used_at)) == NOW - past) is noted


def test_the_database_holds_no_secret_and_the_audit_tells_who_made_and_ended_a_token(door: Door) -> None:
    secret = door.token()
    with door.client.app.db.begin() as db:
        tokens.revoke(db, SELF, "crm", "ben", NOW)
        assert not tokens.revoke(db, SELF, "crm", "ben", NOW)
        stored = repr(db.execute(select(api_token)).all()) + repr(db.execute(select(audit)).all())
        told = db.execute(select(audit.c.actor, audit.c.what, audit.c.object).order_by(audit.c.id)).all()
    assert secret not in stored
    assert secret.removeprefix("rp_") not in stored
    assert [tuple(row) for row in told] == [
        ("ann", "create token", "token crm"),
        ("ben", "revoke token", "token crm"),
    ]


def test_a_name_is_taken_until_its_token_is_revoked(door: Door) -> None:
    door.token()
    with pytest.raises(ValueError, match="already"):
        door.token()
    with door.client.app.db.begin() as db:
        tokens.revoke(db, SELF, "crm", "ann", NOW)
    assert door.knock(door.token()).status == 200
    door.token(owner=LIVE)


@pytest.mark.parametrize(
    ("name", "scopes", "days", "because"),
    [
        ("crm", ["everything"], 30, "no such scope: everything"),
        ("crm", [], 30, "none was given"),
        ("", ["queue"], 30, "a name has"),
        ("a\nb", ["queue"], 30, "a name has"),
        ("crm", ["queue"], 0, "good for 1 to"),
        ("crm", ["queue"], 99_999, "good for 1 to"),
    ],
)
def test_what_cannot_be_a_token_is_not_made(door: Door, name: str, scopes: list[str], days: int, because: str) -> None:
    with door.client.app.db.begin() as db, pytest.raises(ValueError, match=because):
        tokens.create(db, SELF, name, scopes, days, "ann", NOW)


def test_no_log_line_holds_a_token(door: Door, logged: list[MutableMapping[str, Any]]) -> None:
    good = door.token("read:entitlement")
    door.knock(good)
    door.knock(good + "x")
    assert {line["event"] for line in logged} == {"api_refused"}
    assert good[3:] not in repr(logged)
    assert logs.Redactor().line(f"somebody asked with {good} in vain") == "somebody asked with [secret] in vain"
