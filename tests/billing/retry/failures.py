"""Failed payments for the stories of this folder: a US debit card, 49.00, refused for missing funds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from billing.retry.belief import Facts, Try
from billing.retry.plan import Limits

FAILED = datetime(2026, 3, 10, 15, 0, tzinfo=UTC)  # a Tuesday
DAY = timedelta(days=1)


def failure(*retries: timedelta, code: str = "insufficient_funds", **known: Any) -> Facts:
    """A charge refused at FAILED, and again at each of the times after it."""
    tries = tuple(Try(FAILED + wait, False, code) for wait in (timedelta(0), *retries))
    usual: dict[str, Any] = {"utc_offset_h": -6.0, "country": "US", "brand": "visa", "funding": "debit"}
    return Facts(tries, FAILED + 28 * DAY, 4900, **{**usual, **known})


def limits(now: datetime, **known: Any) -> Limits:
    return Limits(**{"not_before": now, "deadline": FAILED + 28 * DAY, "attempts_left": 12, **known})
