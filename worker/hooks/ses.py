"""Amazon SES by way of SNS: a signed envelope around a report of a bounce or a complaint.

Anybody can have a topic at Amazon that signs as well as ours, so the topic has to be on our list, and only addresses
of SNS itself are ever fetched.
https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
https://docs.aws.amazon.com/ses/latest/dg/notification-contents.html
"""

from __future__ import annotations

import base64
import binascii
import re
import threading
from collections.abc import Callable, Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson

from billing.notices import address
from worker.hooks import BadReport
from worker.suppression import Report

SOURCE = "ses"
HOST = re.compile(r"sns\.[a-z0-9-]{3,30}\.amazonaws\.com(\.cn)?")
CERTIFICATE = re.compile(r"/SimpleNotificationService-[A-Za-z0-9]{1,64}\.pem")
NOTIFIED = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
CONFIRMED = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
MOST_CERTIFICATES = 8

Fetch = Callable[[str], bytes]


class Envelopes:
    """Opens the envelopes of the topics on our list. `fetch` reads an https address of SNS, without redirects."""

    def __init__(self, topics: Collection[str], fetch: Fetch) -> None:
        self._topics, self._fetch = frozenset(topics), fetch
        self._certificates: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def read(self, body: bytes) -> list[Report]:
        """What this call reports. Confirms the subscription of a topic on our list. Raises BadReport."""
        try:
            envelope = orjson.loads(body)
            kind = envelope["Type"]
            if envelope["TopicArn"] not in self._topics:
                raise BadReport("not a topic of ours")
            self._verify(envelope, NOTIFIED if kind == "Notification" else CONFIRMED)
            if kind == "SubscriptionConfirmation":
                self._fetch(of_sns(envelope["SubscribeURL"]))
                return []
            return reports(orjson.loads(envelope["Message"])) if kind == "Notification" else []
        except BadReport:
            raise
        except (ValueError, LookupError, TypeError, AttributeError):
            raise BadReport("not an envelope of SNS") from None

    def _verify(self, envelope: Mapping[str, str], fields: tuple[str, ...]) -> None:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
        from cryptography.x509 import load_pem_x509_certificate

        url = of_sns(envelope["SigningCertURL"])
        if not CERTIFICATE.fullmatch(urlsplit(url).path):
            raise BadReport("not the address of a certificate of SNS")
        signed = "".join(f"{name}\n{envelope[name]}\n" for name in fields if name in envelope)
        # Version 1 is signed with SHA-1, which SNS still does unless the topic asks for 2: only 2 is good enough.
        if envelope["SignatureVersion"] != "2":
            raise BadReport("the topic has to sign with version 2")
        key = load_pem_x509_certificate(self._certificate(url)).public_key()
        if not isinstance(key, RSAPublicKey):
            raise BadReport("the certificate is of another kind")
        try:
            signature = base64.b64decode(envelope["Signature"], validate=True)
            key.verify(signature, signed.encode(), PKCS1v15(), hashes.SHA256())
        except (InvalidSignature, binascii.Error):
            raise BadReport("the signature does not hold") from None

    def _certificate(self, url: str) -> bytes:
        with self._lock:
            known = self._certificates.get(url)
        if known is None:
            known = self._fetch(url)
            with self._lock:
                if len(self._certificates) >= MOST_CERTIFICATES:
                    self._certificates.clear()
                self._certificates[url] = known
        return known


def of_sns(url: str) -> str:
    """`url`, if it is https at SNS itself. Raises BadReport."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not HOST.fullmatch(parts.netloc) or not url.isascii() or re.search(r"[\s\\]", url):
        raise BadReport("not an address of SNS")
    return url


def reports(told: Mapping[str, Any]) -> list[Report]:
    """The recipients of one notification of SES, each with what is known. Others than bounce and complaint: none."""
    kind = told.get("notificationType") or told.get("eventType")
    if kind == "Bounce":
        bounce = told["bounce"]
        hard = "hard" if bounce["bounceType"] == "Permanent" else "soft"
        why = f"{bounce['bounceType']} {bounce.get('bounceSubType', '')}".strip()
        return [_report(bounce["feedbackId"], hard, each, why) for each in bounce["bouncedRecipients"]]
    if kind == "Complaint":
        said = told["complaint"]
        why = f"complaint {said.get('complaintFeedbackType') or ''}".strip()
        return [_report(said["feedbackId"], "complaint", each, why) for each in said["complainedRecipients"]]
    return []


def _report(name: str, kind: str, recipient: Mapping[str, str], because: str) -> Report:
    status = recipient.get("status") or ""
    return Report(SOURCE, str(name), kind, address.parse(recipient["emailAddress"]), f"{because} {status}".strip())
