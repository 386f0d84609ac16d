"""What links and lists are signed with: whether it is there, long enough, of one use, and reached over https."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from importlib.util import find_spec
from urllib.parse import urlsplit

from pydantic import SecretStr

from billing.policy import Mode
from worker import links
from worker.consent import answers_heard
from worker.doctor.accounts import PLACEHOLDER
from worker.doctor.finding import Answer, Level, Patient

FEWEST_LETTERS = 8  # different ones: fewer are a pattern, not a secret
MAKE = "openssl rand -hex 32"


def recovery_links(patient: Patient) -> Iterator[Answer]:
    settings = patient.settings
    secret, live = settings.link_secret, any(account.livemode for account, _ in patient.accounts())
    if secret is None:
        lead = "messages lead to Stripe's page of the invoice"
        if any(Mode(account.mode).sends for account, _ in patient.accounts()):
            yield Level.WARN, f"no link secret: {lead}", f"set REPRIEVE_LINK_SECRET_FILE ({MAKE})"
        else:
            yield Level.OK, f"not set: {lead}", ""
        return
    if not _may_be_real(secret):
        yield Level.FAIL, "the link secret can be guessed", f"set REPRIEVE_LINK_SECRET_FILE to a new one ({MAKE})"
    where = f"REPRIEVE_PUBLIC_URL is {settings.public_url}"
    fix = "set it to the https address at which customers reach the web process"
    if links.base_of(settings) is None:
        yield Level.FAIL, f"no link can be made: {where}", fix
    elif not settings.public_url.startswith("https://") or _this_machine(settings.public_url):
        yield (Level.FAIL if live else Level.WARN), f"only this machine can open the links: {where}", fix
    elif _may_be_real(secret):
        yield Level.OK, f"links lead to {settings.public_url}, for {settings.link_days} days", ""


def suppression(patient: Patient) -> Iterator[Answer]:
    settings = patient.settings
    sending = [account for account, _ in patient.accounts() if Mode(account.mode).sends]
    secret, fix = (
        settings.suppression_secret,
        f"set REPRIEVE_SUPPRESSION_SECRET_FILE once, and never change it ({MAKE})",
    )
    if secret is None:
        level = Level.FAIL if any(account.livemode for account in sending) else Level.WARN
        if sending:
            yield level, "no suppression secret: no message can be unsubscribed from with one click", fix
        else:
            yield Level.OK, "not set, and no account sends messages", ""
    elif not _may_be_real(secret):
        yield Level.FAIL, "the suppression secret can be guessed", fix
    elif any(other and other.get_secret_value() == secret.get_secret_value() for other in _others(patient)):
        yield Level.FAIL, "the suppression secret is another secret too", "give each setting a secret of its own"
    elif not settings.public_url.startswith("https://"):
        said = f"REPRIEVE_PUBLIC_URL is {settings.public_url}: no message can be unsubscribed from with one click"
        yield (Level.WARN if sending else Level.OK), said, "set it to the https address of the web process"
    else:
        yield Level.OK, "addresses are hidden, and every message can be unsubscribed from", ""


def sms(patient: Patient) -> Iterator[Answer]:
    settings = patient.settings
    if settings.sms_url is None:
        yield Level.OK, "not used", ""
        return
    if find_spec("apprise") is None:
        yield Level.FAIL, "the part that sends SMS is not installed", "install reprieve[chat]"
    if settings.suppression_secret is None:
        yield Level.FAIL, "no consent can be kept without a suppression secret", "set REPRIEVE_SUPPRESSION_SECRET_FILE"
    if not answers_heard(settings):
        fix = "set REPRIEVE_TWILIO_AUTH_TOKEN or REPRIEVE_SMS_HOOK_SECRET (docs/channels.md)"
        yield Level.WARN, "nobody hears when a customer answers STOP", fix
    elif "{to}" not in settings.sms_url.get_secret_value():
        yield Level.FAIL, "REPRIEVE_SMS_URL has no {to} for the number", "put {to} where the number belongs"
    elif settings.suppression_secret is not None:
        yield Level.OK, "sent to customers who agreed, and STOP is heard", ""


def _others(patient: Patient) -> Iterator[SecretStr | None]:
    settings = patient.settings
    yield from (settings.link_secret, settings.in_app_secret, settings.postmark_secret, settings.sms_hook_secret)


def _may_be_real(secret: SecretStr) -> bool:
    text = secret.get_secret_value().strip()
    return len(set(text)) >= FEWEST_LETTERS and not PLACEHOLDER.search(text)


def _this_machine(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
