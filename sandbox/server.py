"""HTTP: requests in, Stripe's answers out, with faults and idempotency in between.

One bare ASGI application. A request is executed under the world's lock in the loop's thread, so only waiting
(a fault's delay) happens concurrently; that is when a second request with the same key is told 409.
"""

from __future__ import annotations

import asyncio
import hashlib
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl

import orjson

from sandbox import control, errors, pages
from sandbox.expand import expand
from sandbox.faults import Fault, Faults, Kind
from sandbox.idempotency import Answer, Keys
from sandbox.params import Params
from sandbox.render import error, page, render
from sandbox.resources import ROUTES
from sandbox.routes import Table
from sandbox.store import Page
from sandbox.world import Cause, World

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
TRANSPORT = "sandbox.transport"


@dataclass(frozen=True, slots=True)
class HttpRequest:
    method: str
    path: str
    query: bytes
    body: bytes
    headers: dict[str, str]

    @property
    def key(self) -> str | None:
        return self.headers.get("idempotency-key") if self.method == "POST" else None

    def fingerprint(self) -> str:
        fields = sorted(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))
        return repr((self.method, self.path, fields, self.headers.get("stripe-account")))


class App:
    """The ASGI application. `crashes` lists the sandbox's own errors, so that tests can see that there are none."""

    def __init__(self, world: World, faults: Faults, keys: Keys, steering: control.Control) -> None:
        self.world = world
        self.faults = faults
        self.keys = keys
        self.crashes: list[str] = []
        self._steering = steering
        self._table = Table(ROUTES)
        self._requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = await _read(scope, receive)
        if request.path.startswith("/_sandbox/"):
            await _answer(send, await self._steering.handle(request.path, request.body))
        elif request.path.startswith(("/v1/", "/v2/")):
            await self._api(request, scope, send)
        else:
            found = pages.handle(self.world, request.method, request.path, Params.parse(request.body))
            await _answer(send, found, "text/html; charset=utf-8")

    async def _api(self, request: HttpRequest, scope: Scope, send: Send) -> None:
        transport: asyncio.Transport = scope["extensions"][TRANSPORT]["transport"]
        fault = self.faults.take(request.method, request.path)
        kind = fault.kind if fault else None
        if kind is Kind.DROP_BEFORE:
            transport.abort()
            return
        if fault is not None and kind is Kind.ANSWER:
            await _answer(send, _scripted(fault))
            return
        answer = self._begin(request)
        if answer is None:
            if fault is not None and kind is Kind.DELAY:
                await asyncio.sleep(fault.seconds)
            answer, saved = self._execute(request, fault)
            if fault is not None and kind is Kind.DELAY_AFTER:
                await asyncio.sleep(fault.seconds)
            if fault is not None and kind is Kind.ANSWER_AFTER:
                answer = _scripted(fault)
            if request.key is not None:
                if saved:
                    self.keys.finish(request.key, answer)
                else:
                    self.keys.forget(request.key)
        if kind is Kind.DROP_AFTER:
            transport.abort()
        elif kind is Kind.GARBAGE:
            await _answer(send, Answer(200, b"<html>upstream timeout</html>"))
        elif kind is Kind.TRUNCATE:
            await _answer(send, answer, cut=True)
            transport.close()
        else:
            await _answer(send, answer)

    def _begin(self, request: HttpRequest) -> Answer | None:
        """A kept or refused answer, or None when the request is to be executed."""
        if request.key is None:
            return None
        with self.world.lock:
            try:
                kept = self.keys.begin(request.key, request.fingerprint(), self.world.clock())
            except errors.StripeError as refused:
                return self._refusal(refused, self._version(request), "req_refused")
        if kept is None:
            return None
        return Answer(kept.status, kept.body, (*kept.headers, ("Idempotent-Replayed", "true")))

    def _version(self, request: HttpRequest) -> str:
        return request.headers.get("stripe-version") or self.world.settings.version

    def _execute(self, request: HttpRequest, fault: Fault | None) -> tuple[Answer, bool]:
        """Run the request; says also whether its idempotency key remembers the answer."""
        version, world = self._version(request), self.world
        self._requests += 1
        number = f"req_{self._requests:014d}"
        body = hashlib.sha256(request.body).hexdigest() if request.body else None
        with world.because(Cause("api", number, request.key, body)):
            if fault is not None and fault.kind is Kind.PROCESSING:
                world.force_processing = timedelta(seconds=fault.seconds)
            try:
                return self._run(request, version, number), True
            except errors.StripeError as refused:
                return self._refusal(refused, version, number), refused.saved
            except Exception:
                self.crashes.append(f"{request.method} {request.path}\n{traceback.format_exc()}")
                broken = errors.StripeError(500, "api_error", f"The sandbox failed: {self.crashes[-1]}")
                return self._refusal(broken, version, number), True
            finally:
                world.force_processing = None

    def _run(self, request: HttpRequest, version: str, number: str) -> Answer:
        if request.headers.get("authorization", "").removeprefix("Bearer ").strip() in ("", "Basic Og=="):
            raise errors.unauthenticated()
        match = self._table.find(request.method, request.path)
        if match is None:
            raise errors.no_route(request.method, request.path)
        params = Params.parse(request.query, request.body)
        params.check(match.route.accepts)
        found = match.call(self.world, params)
        if isinstance(found, Page):
            shown = page(self.world, found, version)
        elif found["object"] == "raw":
            shown = found["body"]
        elif "deleted" in found or found["object"] in ("account", "card"):
            shown = found
        else:
            shown = render(self.world, found, version)
        expand(self.world, shown, params.words("expand"), version)
        return Answer(200, _json(shown), (("Request-Id", number), ("Stripe-Version", version)))

    def _refusal(self, refused: errors.StripeError, version: str, number: str) -> Answer:
        shown = error(self.world, refused.error, version)
        return Answer(refused.status, _json(shown), (("Request-Id", number), ("Stripe-Version", version)))


def _json(shown: object) -> bytes:
    return orjson.dumps(shown, option=orjson.OPT_INDENT_2)


def _scripted(fault: Fault) -> Answer:
    kinds = {409: "idempotency_error", 429: "rate_limit_error"}
    fields: dict[str, object] = {"type": kinds.get(fault.status, "api_error"), "message": "Scripted by the sandbox."}
    if fault.code is not None:
        fields["code"] = fault.code
    headers: tuple[tuple[str, str], ...] = ()
    if fault.should_retry is not None:
        headers = (("Stripe-Should-Retry", str(fault.should_retry).lower()),)
    return Answer(fault.status, orjson.dumps({"error": fields}), headers)


async def _read(scope: Scope, receive: Receive) -> HttpRequest:
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    return HttpRequest(scope["method"], scope["path"], scope["query_string"], body, headers)


async def _answer(send: Send, answer: Answer, content_type: str = "application/json", cut: bool = False) -> None:
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(answer.body)).encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in answer.headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    body = answer.body[: len(answer.body) // 2] if cut else answer.body
    await send({"type": "http.response.body", "body": body, "more_body": cut})
