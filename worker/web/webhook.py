"""POST /webhooks/stripe: verify, store, answer; everything else happens later, from the stored row.

Bare ASGI instead of a Starlette route, since this is the one address whose speed decides how large a burst of Stripe's
is taken without a delay. The order is the promise (reliability.md P10, P33): nothing is parsed, logged or written
before the signature holds, and nothing is answered 2xx before the commit.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from starlette.types import Receive, Scope, Send

from worker import metrics
from worker.app import App
from worker.intake import Answer, Writer
from worker.web import envelope
from worker.web.signature import BadSignature, Signatures

PATH = "/webhooks/stripe"
BODY_SECONDS = 10.0
HELD_BYTES = 64 * 1024 * 1024
"""Bodies held at one time, over all requests: nobody fills the memory without a signature."""

_JSON = re.compile(rb"application/json\s*(;\s*charset=\"?utf-?8\"?\s*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Refusal:
    """One way not to store a delivery: the label it is counted under, and what the sender reads."""

    result: str
    status: int
    text: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


RETRY_SOON = (b"retry-after", b"5")
SWITCHED_OFF = Refusal("switched_off", 404, "No webhook signing secret is configured, so this endpoint is off.")
METHOD = Refusal("method", 405, "Only POST is answered here.", ((b"allow", b"POST"),))
CONTENT_TYPE = Refusal("content_type", 415, "The content type must be application/json.")
ENCODING = Refusal("encoding", 415, "The body must not be compressed.")
TOO_LARGE = Refusal("too_large", 413, "The body is too large.")
TOO_SLOW = Refusal("too_slow", 408, "The body took too long to arrive.")
CROWDED = Refusal("crowded", 503, "Too much is arriving at once; send it again.", (RETRY_SOON,))
DISCONNECTED = Refusal("disconnected", 400, "The body is incomplete.")
SIGNATURE = Refusal("signature", 400, "The signature does not hold.")
AWAY = Refusal("database_away", 503, "The event could not be stored now; send it again.", (RETRY_SOON,))
FULL = Refusal("full", 503, "Too many events are waiting; send it again.", (RETRY_SOON,))
UNSTORABLE = Refusal("unstorable", 400, "The event cannot be stored.")
REFUSALS = {Answer.AWAY: AWAY, Answer.FULL: FULL, Answer.UNSTORABLE: UNSTORABLE}


class Refused(Exception):
    """The delivery is not stored."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal


class Webhook:
    """The endpoint, for every account of the settings at once. `wall_clock` gives Unix seconds."""

    def __init__(
        self,
        app: App,
        writer: Writer,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._signatures = Signatures(app.settings.all_accounts, wall_clock)
        self._limit = app.settings.webhook_limit_bytes
        self._now = app.now
        self._writer = writer
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        held = _Held()
        try:
            await self._take(scope, receive, held)
        except Refused as refused:
            refusal = refused.refusal
            metrics.INTAKE.labels(refusal.result).inc()
            # What is left of the body is not read, so this connection can carry nothing more.
            await _answer(send, refusal.status, refusal.text.encode(), (*refusal.headers, *_close(held)))
        else:
            _STORED.inc()
            await send(_STORED_START)
            await send(_STORED_BODY)
        finally:
            self._held -= held.size

    async def _take(self, scope: Scope, receive: Receive, held: _Held) -> None:
        """Return when the event is stored; raise Refused when it is not."""
        if not self._signatures:
            raise Refused(SWITCHED_OFF)
        if scope["method"] != "POST":
            raise Refused(METHOD)
        headers = _Headers(scope["headers"])
        if not _JSON.fullmatch(headers.only(b"content-type")):
            raise Refused(CONTENT_TYPE)
        if headers.only(b"content-encoding", b"identity").lower() != b"identity":
            raise Refused(ENCODING)
        promised = headers.only(b"content-length", b"0")
        if len(promised) > 12 or (promised.isdigit() and int(promised) > self._limit):
            raise Refused(TOO_LARGE)
        body = await self._read(receive, held)
        began = time.perf_counter()
        try:
            account = self._signatures.account(body, headers.only(b"stripe-signature"))
        except BadSignature:
            raise Refused(SIGNATURE) from None
        try:
            row = envelope.read(body, account, self._now())
        except envelope.BadBody as problem:
            raise Refused(Refusal("body", 400, f"The event cannot be read: {problem}.")) from None
        answer = await self._writer.store(row)
        if answer is not Answer.STORED:
            raise Refused(REFUSALS[answer])
        metrics.INTAKE_SECONDS.observe(time.perf_counter() - began)

    async def _read(self, receive: Receive, held: _Held) -> bytes:
        """The whole body, never more than the limit, whatever the headers promised."""
        chunks: list[bytes] = []
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while not held.whole:
                    message = await receive()
                    if message["type"] != "http.request":
                        raise Refused(DISCONNECTED)
                    chunk = message.get("body", b"")
                    held.size += len(chunk)
                    self._held += len(chunk)
                    if held.size > self._limit:
                        raise Refused(TOO_LARGE)
                    if self._held > HELD_BYTES:
                        raise Refused(CROWDED)
                    chunks.append(chunk)
                    held.whole = not message.get("more_body", False)
        except TimeoutError:
            raise Refused(TOO_SLOW) from None
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)


@dataclass(slots=True)
class _Held:
    """How much of one body was read, and whether that was all of it."""

    size: int = 0
    whole: bool = False


class _Headers:
    def __init__(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self._headers = list(headers)

    def only(self, name: bytes, default: bytes = b"") -> bytes:
        """The value of a header that may stand once; something that nobody accepts when it stands twice."""
        values = [value for key, value in self._headers if key == name]
        if len(values) > 1:
            return b"\0"
        return values[0] if values else default


_PLAIN = (b"content-type", b"text/plain; charset=utf-8")
_STORED = metrics.INTAKE.labels("stored")
_STORED_BODY = {"type": "http.response.body", "body": b"stored\n"}
_STORED_START = {"type": "http.response.start", "status": 200, "headers": [_PLAIN, (b"content-length", b"7")]}


def _close(held: _Held) -> tuple[tuple[bytes, bytes], ...]:
    return () if held.whole else ((b"connection", b"close"),)


async def _answer(send: Send, status: int, text: bytes, headers: tuple[tuple[bytes, bytes], ...]) -> None:
    body = text + b"\n"
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [_PLAIN, length, *headers]})
    await send({"type": "http.response.body", "body": body})
