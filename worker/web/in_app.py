"""GET /v1/in-app/{token} and the script that shows its answer; only pages of the listed origins may read it."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from worker import in_app
from worker.app import App

SCRIPT = Path(__file__).parent / "static" / "reprieve.js"
SECONDS = 60  # an answer may be this old: the price of one request per page, not per click
UNKNOWN = b'{"state":"none"}'


def routes(app: App) -> list[BaseRoute]:
    return [
        Route("/v1/in-app/{token}", InApp(app).show, methods=["GET"]),
        Route("/static/reprieve.js", script, methods=["GET"]),
    ]


class InApp:
    def __init__(self, app: App) -> None:
        self._app = app

    async def show(self, request: Request) -> Response:
        """200 with the answer; 404 for every token that is not good, with nothing to learn from it."""
        headers = self._cors(request)
        customer = in_app.customer_of(self._app.settings, request.path_params["token"], self._app.now())
        if customer is None:
            return Response(UNKNOWN, 404, headers, "application/json")
        language = request.query_params.get("lang", "")[:20] or None
        body = orjson.dumps(await asyncio.to_thread(in_app.answer, self._app, customer, language))
        headers["cache-control"] = f"private, max-age={SECONDS}"
        headers["reprieve-signature"] = in_app.signature(self._app.settings, body)
        return Response(body, 200, headers, "application/json")

    def _cors(self, request: Request) -> dict[str, str]:
        origin = request.headers.get("origin", "")
        if origin not in self._app.settings.in_app_origins:
            return {"vary": "Origin"}
        return {"vary": "Origin", "access-control-allow-origin": origin}


def script(request: Request) -> Response:
    text = SCRIPT.read_bytes()
    tag = f'"{hashlib.sha256(text).hexdigest()[:16]}"'
    headers = {"etag": tag, "cache-control": "public, max-age=3600", "cross-origin-resource-policy": "cross-origin"}
    if request.headers.get("if-none-match") == tag:
        return Response(None, 304, headers)
    return Response(text, 200, headers, "text/javascript")
