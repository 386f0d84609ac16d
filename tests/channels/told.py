"""What providers send, and a way to send it: real HTTP to a web process on loopback."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

POSTMARK_SECRET = "a secret of these tests, long enough"


def ask(url: str, body: bytes | None = None, **headers: str) -> tuple[int, Mapping[str, str], str]:
    """(status, headers, text) of a GET, or of a POST when there is a body."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, body, named)  # noqa: S310  # a loopback address of the test
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return answer.status, dict(answer.headers), answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read().decode()


def postmark(url: str, password: str = POSTMARK_SECRET, **told: Any) -> int:
    body = {"RecordType": "Bounce", "Type": "HardBounce", "ID": 42, "Email": "ann@example.com", **told}
    login = base64.b64encode(f"postmark:{password}".encode()).decode()
    status, _, _ = ask(f"{url}/hooks/mail/postmark", json.dumps(body).encode(), authorization=f"Basic {login}")
    return status


def read_mail(file: Path) -> EmailMessage:
    found = message_from_bytes(file.read_bytes(), policy=policy.SMTP)
    assert isinstance(found, EmailMessage)
    return found


def bounce(
    mail: EmailMessage, *, status: str = "5.1.1", action: str = "failed", message_id: str | None = None
) -> bytes:
    """The report that a mail server writes when it gives up on `mail` (RFC 3464)."""
    to = mail["To"].addresses[0].addr_spec
    name = message_id or mail["Message-ID"]
    return "\r\n".join(
        [
            "From: MAILER-DAEMON@mx.example.com",
            "To: billing@acme.example",
            "Subject: Undelivered Mail Returned to Sender",
            'Content-Type: multipart/report; report-type=delivery-status; boundary="=b="',
            "MIME-Version: 1.0",
            "",
            "--=b=",
            "Content-Type: text/plain",
            "",
            "I am sorry.",
            "--=b=",
            "Content-Type: message/delivery-status",
            "",
            "Reporting-MTA: dns; mx.example.com",
            "",
            f"Final-Recipient: rfc822; {to}",
            f"Action: {action}",
            f"Status: {status}",
            f"Diagnostic-Code: smtp; 550 {status} no such user",
            "",
            "--=b=",
            "Content-Type: text/rfc822-headers",
            "",
            f"Message-ID: {name}",
            f"To: Ann Lee <{to}>",
            "Subject: Your payment",
            "",
            "--=b=--",
            "",
        ]
    ).encode()
