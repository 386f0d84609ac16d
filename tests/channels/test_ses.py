"""Amazon's reports are believed when SNS signed them for a topic of ours, and only addresses of SNS are fetched."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from worker.hooks import BadReport
from worker.hooks.ses import CONFIRMED, NOTIFIED, Envelopes, of_sns

TOPIC = "arn:aws:sns:eu-central-1:123456789012:returned"
CERTIFICATE = "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0123abcd.pem"
BOUNCE = {
    "notificationType": "Bounce",
    "bounce": {
        "bounceType": "Permanent",
        "bounceSubType": "General",
        "feedbackId": "0102-1",
        "bouncedRecipients": [{"emailAddress": "ann@example.com", "status": "5.1.1"}],
    },
}
COMPLAINT = {
    "eventType": "Complaint",
    "complaint": {
        "feedbackId": "0102-2",
        "complaintFeedbackType": "abuse",
        "complainedRecipients": [{"emailAddress": "bob@example.com"}],
    },
}


class Sns:
    """Signs as SNS does, and remembers what was fetched from it."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(65537, 2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
        start = datetime(2026, 1, 1, tzinfo=UTC)
        made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(self._key.public_key())
        made = made.serial_number(1).not_valid_before(start).not_valid_after(start + timedelta(days=365))
        self._pem = made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        self.fetched: list[str] = []

    def fetch(self, url: str) -> bytes:
        self.fetched.append(url)
        return self._pem

    def envelope(self, message: Any, kind: str = "Notification", **changes: str) -> dict[str, str]:
        found = {
            "Type": kind,
            "MessageId": "22b80b92",
            "TopicArn": TOPIC,
            "Message": message if isinstance(message, str) else json.dumps(message),
            "Timestamp": "2026-03-01T12:00:00.000Z",
            "SignatureVersion": "2",
            "SigningCertURL": CERTIFICATE,
            **changes,
        }
        fields = NOTIFIED if kind == "Notification" else CONFIRMED
        content = "".join(f"{name}\n{found[name]}\n" for name in fields if name in found).encode()
        signature = self._key.sign(content, padding.PKCS1v15(), hashes.SHA256())
        return {**found, "Signature": base64.b64encode(signature).decode()}


@pytest.fixture(scope="module")
def signer() -> Sns:
    return Sns()


@pytest.fixture
def sns(signer: Sns) -> Sns:
    signer.fetched.clear()
    return signer


def read(sns: Sns, envelope: dict[str, Any]) -> list[tuple[str, str]]:
    envelopes = Envelopes([TOPIC], sns.fetch)
    return [(report.kind, str(report.mailbox)) for report in envelopes.read(json.dumps(envelope).encode())]


def test_bounces_and_complaints_are_read(sns: Sns) -> None:
    assert read(sns, sns.envelope(BOUNCE)) == [("hard", "ann@example.com")]
    assert read(sns, sns.envelope(COMPLAINT)) == [("complaint", "bob@example.com")]
    transient = {**BOUNCE, "bounce": {**BOUNCE["bounce"], "bounceType": "Transient"}}  # type: ignore[dict-item]
    assert read(sns, sns.envelope(transient)) == [("soft", "ann@example.com")]
    assert read(sns, sns.envelope({"notificationType": "Delivery"})) == []


def test_the_certificate_is_fetched_once(sns: Sns) -> None:
    envelopes = Envelopes([TOPIC], sns.fetch)
    for _ in range(3):
        envelopes.read(json.dumps(sns.envelope(BOUNCE)).encode())
    assert sns.fetched == [CERTIFICATE]


def test_the_subscription_of_our_topic_is_confirmed_at_sns(sns: Sns) -> None:
    url = "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&Token=abc"
    envelope = sns.envelope("You have chosen", "SubscriptionConfirmation", Token="abc", SubscribeURL=url)
    assert read(sns, envelope) == []
    assert sns.fetched == [CERTIFICATE, url]


@pytest.mark.parametrize(
    "changes",
    [
        {"Message": json.dumps(COMPLAINT)},
        {"Signature": base64.b64encode(b"x" * 256).decode()},
        {"Signature": "not base64"},
        {"SignatureVersion": "1"},
        {"Timestamp": "2026-03-02T12:00:00.000Z"},
        {"Subject": "put in afterwards"},
    ],
)
def test_what_sns_did_not_sign_is_refused(sns: Sns, changes: dict[str, str]) -> None:
    with pytest.raises(BadReport):
        read(sns, {**sns.envelope(BOUNCE), **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"TopicArn": "arn:aws:sns:eu-central-1:666666666666:returned"},  # signed by SNS, for somebody else's topic
        {"SigningCertURL": "https://sns.eu-central-1.amazonaws.com.evil.example/SimpleNotificationService-1.pem"},
        {"SigningCertURL": "https://evil.example/SimpleNotificationService-1.pem"},
        {"SigningCertURL": "http://sns.eu-central-1.amazonaws.com/SimpleNotificationService-1.pem"},
        {"SigningCertURL": "https://sns.eu-central-1.amazonaws.com/../key.pem"},
        {"SigningCertURL": "https://evil.example@sns.eu-central-1.amazonaws.com/SimpleNotificationService-1.pem"},
        {"SigningCertURL": "https://sns.eu-central-1.amazonaws.com:8443/SimpleNotificationService-1.pem"},
        {"SigningCertURL": "https://mybucket.s3.amazonaws.com/SimpleNotificationService-1.pem"},
    ],
)
def test_nothing_is_fetched_for_a_stranger(sns: Sns, changes: dict[str, str]) -> None:
    with pytest.raises(BadReport):
        read(sns, sns.envelope(BOUNCE, **changes))
    assert sns.fetched == []


def test_a_confirmation_leads_nowhere_but_to_sns(sns: Sns) -> None:
    for url in ("http://169.254.169.254/latest/meta-data", "https://evil.example/?Action=ConfirmSubscription"):
        envelope = sns.envelope("x", "SubscriptionConfirmation", Token="abc", SubscribeURL=url)
        with pytest.raises(BadReport):
            read(sns, envelope)
    assert set(sns.fetched) == {CERTIFICATE}


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"null", b'{"Type":1}', b"\xff", b'{"TopicArn":[]}'])
def test_other_bodies_are_refused(sns: Sns, body: bytes) -> None:
    with pytest.raises(BadReport):
        Envelopes([TOPIC], sns.fetch).read(body)


def test_only_sns_itself_is_an_address_of_sns() -> None:
    assert of_sns("https://sns.cn-north-1.amazonaws.com.cn/x")
    with pytest.raises(BadReport):
        of_sns("https://sns.amazonaws.com\\@evil.example/")
