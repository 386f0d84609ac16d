"""Requirement S-03: only a fresh signature with one of our secrets counts, and nothing breaks the check."""

from __future__ import annotations

import time

import pytest

from config.settings import Account
from tests.web.harness import SECRET, event, sign
from worker.web.signature import BadSignature, Signatures

BODY = event()


def account(*secrets: str, id: str = "acct_1", livemode: bool = False) -> Account:
    return Account.model_validate({"id": id, "livemode": livemode, "webhook_secrets": secrets})


OURS = Signatures([account(SECRET)])


def accepted() -> dict[str, str]:
    """Headers that are good at this moment."""
    now = int(time.time())
    good = sign(BODY, at=now)
    v1 = good.partition("v1=")[2]
    return {
        "as Stripe sends it": good,
        "with a v0 of test mode beside it": f"{good},v0={'0' * 64}",
        "two v1, the second good": f"t={now},v1={'0' * 64},v1={v1}",
        "almost five minutes old": sign(BODY, at=now - 290),
        "half a minute ahead": sign(BODY, at=now + 30),
    }


def refused() -> dict[str, str | bytes]:
    """Headers that each have one thing wrong at this moment."""
    now = int(time.time())
    good = sign(BODY, at=now)
    v1 = good.partition("v1=")[2]
    return {
        "nothing": "",
        "only v0": f"t={now},v0={v1}",
        "swapped scheme": f"t={now},v2={v1}",
        "no time": f"v1={v1}",
        "no signature": f"t={now}",
        "another secret": sign(BODY, "whsec_other", now),
        "another body": sign(BODY + b" ", at=now),
        "upper-case hex": good.replace(v1, v1.upper()),
        "six minutes old": sign(BODY, at=now - 360),
        "two minutes ahead": sign(BODY, at=now + 120),
        "ten years ahead": sign(BODY, at=now + 10 * 365 * 86_400),
        "a huge time": f"t={'9' * 5_000},v1={v1}",
        "a time that is no number": f"t=now,v1={v1}",
        "a negative time": f"t=-{now},v1={v1}",
        "a time in other digits": good.replace("1", "١").encode(),
        "two times": f"t={now - 1000},t={now},v1={v1}",
        "the same time twice": f"t={now},{good}",
        "20,000 signatures": f"t={now}," + ",".join([f"v1={'0' * 64}"] * 20_000) + f",v1={v1}",
        "bytes that are no text": b"t=1,v1=\xff\xfe",
        "letters beyond ASCII": f"t={now},v1={'é' * 64}".encode(),
        "equals signs": f"t={now},v1=={v1}",
        "NUL": f"{good}\0",
    }


@pytest.mark.parametrize("case", accepted())
def test_a_signature_is_accepted(case: str) -> None:
    assert OURS.account(BODY, accepted()[case].encode()).id == "acct_1"


@pytest.mark.parametrize("case", refused())
def test_a_signature_is_refused(case: str) -> None:
    header = refused()[case]
    with pytest.raises(BadSignature):
        OURS.account(BODY, header if isinstance(header, bytes) else header.encode())


def test_a_body_that_is_no_text_is_refused() -> None:
    body = b'{"id": "\xff"}'
    with pytest.raises(BadSignature):
        OURS.account(body, sign(body).encode())


def test_every_secret_of_a_rolled_endpoint_verifies() -> None:
    rolled = Signatures([account("whsec_old", "whsec_new")])
    for secret in ("whsec_old", "whsec_new"):
        assert rolled.account(BODY, sign(BODY, secret).encode()).id == "acct_1"


def test_the_secret_tells_the_account() -> None:
    several = Signatures([account("whsec_a", id="acct_a"), account("whsec_b", id="acct_b", livemode=True)])
    assert several.account(BODY, sign(BODY, "whsec_a").encode()).id == "acct_a"
    assert several.account(BODY, sign(BODY, "whsec_b").encode()).livemode


@pytest.mark.parametrize("secret", ["", " ", "\t\n", "whsec_", "whsec_...", "whsec_xxxx", "changeme", "CHANGE_ME"])
def test_an_empty_or_placeholder_secret_verifies_nothing(secret: str) -> None:
    none = Signatures([account(secret)])
    assert not none
    with pytest.raises(BadSignature):
        none.account(BODY, sign(BODY, secret).encode())


def test_the_age_is_measured_by_the_given_clock() -> None:
    late = Signatures([account(SECRET)], wall_clock=lambda: time.time() + 400)
    with pytest.raises(BadSignature):
        late.account(BODY, sign(BODY).encode())


def test_many_signatures_cost_nothing() -> None:
    header = str(refused()["20,000 signatures"]).encode()
    began = time.perf_counter()
    for _ in range(100):
        with pytest.raises(BadSignature):
            OURS.account(BODY, header)
    assert time.perf_counter() - began < 0.5  # Stripe's routine alone takes 25 ms for each
