"""Which account sent a webhook body: the one whose secret signed it, and nothing else in the request decides that.

Stripe's own routine does the comparing. It accepts any time in the future, knows no bound on the header and lets
exceptions of many kinds out (stripe.md 1), so the checks it lacks come first and every exception means no.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable

from stripe import WebhookSignature

from config.settings import Account

PAST_SECONDS = 300
FUTURE_SECONDS = 60
LONGEST_HEADER = 2_048
"""Some twenty signatures; Stripe sends one for each secret that is valid."""

_PLACEHOLDER = re.compile(r"(whsec_)?[.x*…]*|change[-_ ]?me", re.IGNORECASE)
_TIME = re.compile(r"[0-9]{1,12}")


class BadSignature(Exception):
    """The body was not signed by an account of ours within the last five minutes."""


class Signatures:
    """Every signing secret of every account, several per account while one is rolled."""

    def __init__(self, accounts: Iterable[Account], wall_clock: Callable[[], float] = time.time) -> None:
        secrets = [
            (account, secret.get_secret_value().strip()) for account in accounts for secret in account.webhook_secrets
        ]
        self._secrets = [(account, secret) for account, secret in secrets if not _PLACEHOLDER.fullmatch(secret)]
        self._wall_clock = wall_clock

    def __bool__(self) -> bool:
        """Whether there is any secret that could verify something."""
        return bool(self._secrets)

    def account(self, body: bytes, header: bytes) -> Account:
        """The account whose secret signed `body`; BadSignature for every other outcome."""
        if len(header) > LONGEST_HEADER:
            raise BadSignature
        try:
            text, signed = header.decode("ascii"), body.decode("utf-8")
        except UnicodeDecodeError as error:
            raise BadSignature from error
        self._check_time(text)
        for account, secret in self._secrets:
            if _verifies(signed, text, secret):
                return account
        raise BadSignature

    def _check_time(self, header: str) -> None:
        times = [part[2:] for part in header.split(",") if part.startswith("t=")]
        if len(times) != 1 or not _TIME.fullmatch(times[0]):
            raise BadSignature
        age = self._wall_clock() - int(times[0])
        if not -FUTURE_SECONDS <= age <= PAST_SECONDS:
            raise BadSignature


def _verifies(body: str, header: str, secret: str) -> bool:
    try:
        return bool(WebhookSignature.verify_header(body, header, secret, tolerance=PAST_SECONDS))
    except Exception:
        return False
