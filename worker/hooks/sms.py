"""Answers to our SMS: from Twilio, which signs them, or from any service that can show a shared secret.

https://www.twilio.com/docs/usage/security
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

import orjson
import structlog

from worker import consent
from worker.app import App
from worker.channels.chat import asks_to_start, asks_to_stop
from worker.consent import BY_SMS, BadNumber
from worker.hooks import BadReport
from worker.hooks.postmark import admitted

TWILIO, GENERIC = "twilio", "generic"
FROM = ("from", "msisdn", "sender", "source", "originator")  # what services call the number that answered
TEXT = ("text", "body", "message", "content")
MOST_FIELDS = 100
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Heard:
    """What one number answered. `stops`: the service itself took it for a STOP."""

    number: str
    text: str
    stops: bool = False


def signed(signature: str, token: str, url: str, body: bytes) -> bool:
    """Is this Twilio's signature of a form that it sent to `url`, the address as Twilio knows it?"""
    try:
        fields = _form(body)
        given = base64.b64decode(signature, validate=True)
    except (BadReport, binascii.Error, ValueError):
        return False
    text = url + "".join(name + value for name, value in sorted(set(fields)))
    return hmac.compare_digest(given, hmac.digest(token.encode(), text.encode(), "sha1"))


def shown(authorization: str, secret: str) -> bool:
    """Is our secret in this header, as a bearer token or as the password of basic authentication?"""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return hmac.compare_digest(token.strip().encode(), secret.encode())
    return admitted(authorization, secret)


def read(body: bytes) -> Heard:
    """What was answered: a form or JSON, under the names that services have for it. Raises BadReport."""
    fields: Mapping[str, object]
    try:
        found = orjson.loads(body) if body.lstrip()[:1] == b"{" else dict(_form(body))
        fields = {str(name).lower(): value for name, value in found.items()}
    except (ValueError, AttributeError):
        raise BadReport("neither a form nor JSON") from None
    number, text = _first(fields, FROM), _first(fields, TEXT)
    if not number:
        raise BadReport("it does not say which number answered")
    return Heard(_international(number), text, str(fields.get("optouttype", "")).upper() == "STOP")


def take(app: App, provider: str, heard: Heard) -> str:
    """Do what was asked, in one transaction, and say what it was: stop, start or nothing. Nothing else is kept."""
    source = BY_SMS + provider
    stops = heard.stops or asks_to_stop(heard.text)
    if not stops and not (app.settings.sms_start_counts and asks_to_start(heard.text)):
        return "nothing"
    try:
        with app.db.begin() as db:
            act = consent.stop if stops else consent.start
            consents = act(db, app.settings, heard.number, source, app.now())
    except BadNumber:
        raise BadReport("the number that answered is none") from None
    done = "stop" if stops else "start"
    log.info("sms_answered", provider=provider, asked=done, consents=consents)
    return done


def _form(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True, max_num_fields=MOST_FIELDS)
    except (ValueError, UnicodeDecodeError):
        raise BadReport("not a form") from None


def _first(fields: Mapping[str, object], names: Iterable[str]) -> str:
    return next((str(fields[name]) for name in names if isinstance(fields.get(name), (str, int))), "")


def _international(number: str) -> str:
    """Services write the number with its country, and many of them without the plus sign."""
    digits = number.strip()
    if digits.startswith("00"):
        digits = digits[2:]
    return digits if digits.startswith("+") else f"+{digits}"
