"""The guard of the JSON API: every address below `/v1` that is not public goes through `Api.route`.

A token is asked for before anything else is looked at; what it may not do is said, whose data it sees is the token's
own account and mode and nothing a request can choose. Every refusal is an `application/problem+json` (RFC 9457) with a
`code` for programs. A gateway in front could add quotas; it cannot replace the binding to one account.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import structlog
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, QueryParams
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from worker import tokens
from worker.app import App
from worker.store import Owner
from worker.web.pay_gate import Gate, address_of

LONGEST_BODY = 64 * 1024

log = structlog.get_logger("reprieve.api")


class Problem(Exception):
    """A refusal in words. `code` is for programs and stays; `detail` is for people and may change."""

    def __init__(self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.headers = status, code, detail, dict(headers or {})


@dataclass(frozen=True, slots=True)
class Asked:
    """One request that was let in; `body` is {} for a request without one."""

    token: tokens.Token
    path: Mapping[str, str]
    query: QueryParams
    headers: Headers
    body: Mapping[str, Any]

    @property
    def owner(self) -> Owner:
        """Whose data: the token's account and mode, whatever the request says."""
        return self.token.owner


Answer = Callable[[Asked], Response]


class Api:
    """Lets requests in. Wrong tokens are counted by address; a good one is never held up by its neighbours."""

    def __init__(self, app: App, gate: Gate | None = None) -> None:
        self.app, self._gate = app, gate or Gate()

    def route(self, path: str, scope: str | None, answer: Answer, methods: Sequence[str] = ("GET",)) -> BaseRoute:
        """`answer`, in a thread, for a token with this scope (None: any token); it may raise Problem."""
        if scope is not None and scope not in tokens.SCOPES:
            raise ValueError(f"no such scope: {scope}")

        async def endpoint(request: Request) -> Response:
            try:
                token = await run_in_threadpool(self._let_in, request, scope)
                _readable(request)
                body = await _body(request) if request.method not in ("GET", "HEAD") else {}
                asked = Asked(token, request.path_params, request.query_params, request.headers, body)
                return await run_in_threadpool(answer, asked)
            except Problem as problem:
                log.info("api_refused", route=path, method=request.method, status=problem.status, code=problem.code)
                return told(problem)

        return Route(path, endpoint, methods=list(methods))

    def _let_in(self, request: Request, scope: str | None) -> tokens.Token:
        """The token that this request brings, if it is good for `scope`. Raises Problem."""
        kind, _, secret = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not secret.strip():
            raise Problem(401, "token_missing", "Send `Authorization: Bearer <token>`.", _challenge())
        now = self.app.now()
        with self.app.db.read() as db:
            token = tokens.find(db, secret.strip(), now)
        if token is None:
            if not self._gate.count(address_of(request, self.app.settings.trusted_proxies), "miss"):
                raise Problem(429, "too_many_wrong_tokens", "Too many wrong tokens; wait.", {"retry-after": "60"})
            words = "This token is unknown, expired or revoked."
            raise Problem(401, "token_refused", words, _challenge('error="invalid_token"'))
        if scope is not None and not token.may(scope):
            challenge = _challenge(f'error="insufficient_scope", scope="{scope}"')
            raise Problem(403, "scope_missing", f"This token is not good for {scope}.", challenge)
        if tokens.is_stale(token, now):
            with self.app.db.begin() as db:
                tokens.seen(db, token, now)
        return token


def told(problem: Problem) -> Response:
    """The problem as an answer."""
    body = {"type": "about:blank", "status": problem.status, "code": problem.code, "detail": problem.detail}
    return Response(orjson.dumps(body), problem.status, problem.headers, "application/problem+json")


def json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A value as an answer; instants in ISO 8601, UTC."""
    return Response(orjson.dumps(value, option=orjson.OPT_UTC_Z), status, dict(headers or {}), "application/json")


def _challenge(more: str = "") -> dict[str, str]:
    return {"www-authenticate": f'Bearer realm="reprieve"{", " if more else ""}{more}'}


def _readable(request: Request) -> None:
    """No NUL in path and query: PostgreSQL refuses to be asked for it. Raises Problem."""
    if any("\0" in str(value) for value in (*request.path_params.values(), *request.query_params.values())):
        raise Problem(400, "bad_text", "The address holds a character that no id has.")


async def _body(request: Request) -> dict[str, Any]:
    """The JSON object of a request. Raises Problem."""
    raw = b""
    try:
        async for part in request.stream():
            raw += part
            if len(raw) > LONGEST_BODY:
                raise Problem(413, "too_long", f"The body may have {LONGEST_BODY} bytes.")
    except ClientDisconnect:
        raise Problem(400, "broken_off", "The request ended early.") from None
    if not raw.strip():
        return {}
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Problem(415, "not_json", "Send the body as application/json.")
    try:
        found = orjson.loads(raw)
    except ValueError:
        raise Problem(400, "not_json", "The body is not JSON.") from None
    if not isinstance(found, dict):
        raise Problem(400, "not_an_object", "The body must be a JSON object.")
    return found
