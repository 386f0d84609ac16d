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

from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from worker import metrics
from worker.app import App
from worker.intake import Answer, Writer
from worker.web import envelope
from worker.web.guard import HEADERS, Guard, failed
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
        headers: Iterable[tuple[bytes, bytes]] = HEADERS,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._signatures = Signatures(app.settings.all_accounts, wall_clock)
        self._limit = app.settings.webhook_limit_bytes
        self._now = app.now
        self._writer = writer
        self._headers = tuple(headers)
        self._stored = _start(200, len(_STORED_BODY), self._headers)
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        held = _Held()
        try:
            await self._take(scope, receive, held)
        except Refused as refused:
            refusal = refused.refusal
            metrics.INTAKE.labels(refusal.result).inc()
            closing = () if held.whole else (CLOSE,)
            body = refusal.text.encode() + b"\n"
            await send(_start(refusal.status, len(body), (*refusal.headers, *closing, *self._headers)))
            await send({"type": "http.response.body", "body": body})
        except Exception as error:
            await Guard(failed(Request(scope), error), self._headers)(scope, receive, send)
        else:
            _STORED.inc()
            await send(self._stored)
            await send({"type": "http.response.body", "body": _STORED_BODY})
        finally:
            self._held -= held.size

    async def _take(self, scope: Scope, receive: Receive, held: _Held) -> None:
        """Return when the event is stored; raise Refused when it is not."""
        if not self._signatures:
            raise Refused(SWITCHED_OFF)
        if scope["method"] != "POST":
            raise Refused(METHOD)
        headers = _once(scope["headers"])
        if not _JSON.fullmatch(headers.get(b"content-type", b"")):
            raise Refused(CONTENT_TYPE)
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise Refused(ENCODING)
        promised = headers.get(b"content-length", b"0")
        if len(promised) > 12 or (promised.isdigit() and int(promised) > self._limit):
            raise Refused(TOO_LARGE)
        body = await self._read(receive, held)
        began = time.perf_counter()
        try:
            account = self._signatures.account(body, headers.get(b"stripe-signature", b""))
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
        """The whole body, never more than the limit, whatever the headers promised.

        Most bodies come in one piece and need no timer: until the first piece the connection's own deadline holds.
        """
        first = self._piece(await receive(), held)
        if held.whole:
            return first
        pieces = [first]
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while not held.whole:
                    pieces.append(self._piece(await receive(), held))
        except TimeoutError:
            raise Refused(TOO_SLOW) from None
        return b"".join(pieces)

    def _piece(self, message: Message, held: _Held) -> bytes:
        if message["type"] != "http.request":
            raise Refused(DISCONNECTED)
        piece: bytes = message.get("body", b"")
        held.size += len(piece)
        self._held += len(piece)
        if held.size > self._limit:
            raise Refused(TOO_LARGE)
        if self._held > HELD_BYTES:
            raise Refused(CROWDED)
        held.whole = not message.get("more_body", False)
        return piece


@dataclass(slots=True)
class _Held:
    """How much of one body was read, and whether that was all of it."""

    size: int = 0
    whole: bool = False


def _once(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Every header that stands once; something that nobody accepts for one that stands twice."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        found[name] = b"\0" if name in found else value
    return found


_STORED = metrics.INTAKE.labels("stored")
_STORED_BODY = b"stored\n"
CLOSE = (b"connection", b"close")
"""What is left of the body is not read, so this connection can carry nothing more."""


def _start(status: int, length: int, headers: Iterable[tuple[bytes, bytes]]) -> Message:
    kind, size = (b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % length)
    return {"type": "http.response.start", "status": status, "headers": [kind, size, *headers]}
