"""What customers answer to an SMS, over real HTTP: STOP ends it at once, and nobody else can say it for them."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from tests.channels import told
from tests.consent.conftest import NOW, NUMBER, SECRET, TWILIO, Here, an_app
from worker.channel_tables import suppression as suppressed
from worker.consent import Permit, Refused
from worker.hooks import sms
from worker.web.server import start_in_thread

TWILIO_URL = "https://pay.acme.example/hooks/sms/twilio"


@pytest.fixture
def base(here: Here) -> Iterator[str]:
    url, stop = start_in_thread(here.app)
    yield url
    stop()


def sign(url: str, fields: dict[str, str], token: str = TWILIO) -> str:
    """As Twilio's documents describe it."""
    text = url + "".join(f"{name}{fields[name]}" for name in sorted(fields))
    return base64.b64encode(hmac.digest(token.encode(), text.encode(), "sha1")).decode()


def twilio(base: str, fields: dict[str, str], signature: str | None = None, query: str = "") -> tuple[int, str]:
    signed = sign(TWILIO_URL + query, fields) if signature is None else signature
    status, _, text = told.ask(
        f"{base}/hooks/sms/twilio{query}",
        urlencode(fields).encode(),
        content_type="application/x-www-form-urlencoded",
        x_twilio_signature=signed,
    )
    return status, text


def generic(base: str, body: bytes, authorization: str = f"Bearer {SECRET}") -> int:
    return told.ask(f"{base}/hooks/sms/generic", body, authorization=authorization)[0]


def test_the_signature_is_that_of_twilios_own_example() -> None:
    # www.twilio.com/docs/usage/security, with the parameters of a call
    fields = {"CallSid": "CA1234567890ABCDE", "From": "+12349013030", "To": "+18005551212"}
    fields |= {"Caller": "+12349013030", "Digits": "1234"}
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    assert sms.signed("0/KCTR6DLpKmkAf8muzZqo1nDgQ=", "12345", url, urlencode(fields).encode())
    assert not sms.signed("0/KCTR6DLpKmkAf8muzZqo1nDgQ=", "12346", url, urlencode(fields).encode())


def test_a_signed_stop_ends_it_and_twilio_is_asked_to_send_nothing_back(here: Here, base: str) -> None:
    here.grant()
    assert twilio(base, {"From": NUMBER, "Body": "Stop!", "MessageSid": "SM1", "Media": ""}) == (
        200,
        '<?xml version="1.0" encoding="UTF-8"?><Response></Response>',
    )
    assert here.phone() == Refused("the customer's consent to sms was withdrawn (sms:twilio)")


def test_a_query_in_the_address_is_part_of_what_is_signed(here: Here, base: str) -> None:
    here.grant()
    assert twilio(base, {"From": NUMBER, "Body": "STOP"}, query="?a=b&c=%20")[0] == 200
    assert isinstance(here.phone(), Refused)


def test_what_twilio_took_for_a_stop_is_one_whatever_the_words(here: Here, base: str) -> None:
    here.grant()
    assert twilio(base, {"From": NUMBER, "Body": "лучше не надо", "OptOutType": "STOP"})[0] == 200
    assert isinstance(here.phone(), Refused)


@pytest.mark.parametrize("signature", ["", "guessed", "0/KCTR6DLpKmkAf8muzZqo1nDgQ=", "ü"])
def test_a_stop_that_twilio_did_not_sign_ends_nothing(here: Here, base: str, signature: str) -> None:
    here.grant()
    assert twilio(base, {"From": NUMBER, "Body": "STOP"}, signature.encode().decode("latin-1"))[0] == 401
    assert here.phone() == Permit(NUMBER)
    assert here.rows(suppressed) == []


def test_a_field_that_was_added_on_the_way_breaks_the_signature(here: Here, base: str) -> None:
    here.grant()
    assert twilio(base, {"From": NUMBER, "Body": "STOP"}, sign(TWILIO_URL, {"From": NUMBER}))[0] == 401
    assert here.phone() == Permit(NUMBER)


@pytest.mark.parametrize(
    "body",
    [
        b'{"from": "4915112345678", "text": "STOP"}',
        b'{"msisdn": 4915112345678, "message": "stop please"}',
        urlencode({"sender": "004915112345678", "body": "\uff33\uff34\uff2f\uff30"}).encode(),
        b"From=%2B4915112345678&Body=arr%C3%AAt",
    ],
)
def test_another_service_reports_a_stop_in_its_own_words(here: Here, base: str, body: bytes) -> None:
    here.grant()
    assert generic(base, body) == 200
    assert isinstance(here.phone(), Refused)


@pytest.mark.parametrize("text", ["ok", "please do not stop", "when does it end?", "the end of the month", ""])
def test_another_answer_ends_nothing_and_is_not_kept(here: Here, base: str, text: str) -> None:
    here.grant()
    assert generic(base, json.dumps({"from": NUMBER, "text": text}).encode()) == 200
    assert here.phone() == Permit(NUMBER)


@pytest.mark.parametrize("authorization", ["", "Bearer guessed", "Basic guessed", "Basic eDp5", "Bearer ü"])
def test_who_does_not_know_the_secret_ends_nothing(here: Here, base: str, authorization: str) -> None:
    here.grant()
    body = json.dumps({"from": NUMBER, "text": "STOP"}).encode()
    assert generic(base, body, authorization.encode().decode("latin-1")) == 401
    login = base64.b64encode(f"sms:{SECRET}".encode()).decode()
    assert here.phone() == Permit(NUMBER)
    assert generic(base, body, f"Basic {login}") == 200


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"{}", b'{"from": "ann", "text": "STOP"}', b"\xff=1", b"a" * 300_000]
)
def test_what_cannot_be_read_is_refused(here: Here, base: str, body: bytes) -> None:
    assert generic(base, body) in (400, 413)


def test_an_endpoint_that_is_not_set_up_is_not_there(sqlite_url: str) -> None:
    app = an_app(sqlite_url, [NOW], twilio_auth_token=None, sms_hook_secret=None)
    base, stop = start_in_thread(app)
    try:
        assert twilio(base, {"From": NUMBER, "Body": "STOP"})[0] == 404
        assert generic(base, b"{}") == 404
        assert told.ask(f"{base}/hooks/sms/other", b"{}")[0] == 404
    finally:
        stop()
        app.close()


def test_start_brings_nothing_back_unless_the_settings_say_so(here: Here, base: str) -> None:
    here.grant()
    body = json.dumps({"from": NUMBER, "text": "START"}).encode()
    here.stop()
    assert generic(base, body) == 200
    assert isinstance(here.phone(), Refused)


def test_start_brings_it_back_where_the_settings_let_it(sqlite_url: str) -> None:
    clock = [NOW]
    here = Here(an_app(sqlite_url, clock, sms_start_counts=True), clock)
    here.grant()
    here.stop()
    assert sms.take(here.app, "twilio", sms.Heard(NUMBER, " Start. ")) == "start"
    assert here.phone() == Permit(NUMBER)
    here.app.close()
