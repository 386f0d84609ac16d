"""Postmark's webhooks: Bounce, SpamComplaint and SubscriptionChange, behind basic authentication.

https://postmarkapp.com/developer/webhooks/bounce-webhook
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from typing import Any

import orjson

from billing.notices import address
from worker.hooks import BadReport
from worker.suppression import Report

SOURCE = "postmark"
HARD = frozenset({"HardBounce", "BadEmailAddress", "ManuallyDeactivated", "AddressChange"})
COMPLAINTS = frozenset({"SpamComplaint"})
REASONS = {"HardBounce": "hard", "SpamComplaint": "complaint", "ManualSuppression": "complaint"}


def admitted(authorization: str, secret: str) -> bool:
    """Is this the header of basic authentication with our secret as password? The name does not matter."""
    scheme, _, encoded = authorization.partition(" ")
    try:
        _, _, password = base64.b64decode(encoded, validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return False
    return scheme.lower() == "basic" and hmac.compare_digest(password, secret.encode())


def read(body: bytes) -> list[Report]:
    """What this call reports; nothing when it is about something else. Raises BadReport."""
    try:
        told = orjson.loads(body)
        kind = _kind(told)
        if kind is None:
            return []
        to = address.parse(told.get("Email") or told["Recipient"])
        name = str(told.get("ID") or told.get("MessageID") or "")
    except (ValueError, LookupError, TypeError, AttributeError):
        raise BadReport("not a report of Postmark") from None
    return [Report(SOURCE, f"{told['RecordType']}:{name}", kind, to, str(told.get("Type") or told["RecordType"]))]


def _kind(told: Mapping[str, Any]) -> str | None:
    match told["RecordType"]:
        case "Bounce":
            if told["Type"] in COMPLAINTS:
                return "complaint"
            return "hard" if told["Type"] in HARD or told.get("Inactive") is True else "soft"
        case "SpamComplaint":
            return "complaint"
        case "SubscriptionChange" if told.get("SuppressSending") is True:
            return REASONS.get(str(told.get("SuppressionReason")), "hard")
        case _:
            return None
