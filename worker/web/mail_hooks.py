"""/hooks/mail/{provider}: bounces and complaints, as providers report them.

Nothing is parsed before the sender is known, and an endpoint that is not set up is not there (reliability.md S-01).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from worker import egress, hooks
from worker.app import App
from worker.hooks import BadReport, postmark, ses
from worker.suppression import Report

LONGEST = 256 * 1024
log = structlog.get_logger("reprieve.web")


def routes(app: App, fetch: Callable[[str], bytes] = egress.get) -> list[BaseRoute]:
    """The addresses of this file. `fetch` reads certificates of SNS."""
    mail = MailHooks(app, ses.Envelopes(app.settings.ses_topics, fetch))
    return [
        Route("/hooks/mail/{provider}", mail.report, methods=["POST"]),
    ]


class MailHooks:
    def __init__(self, app: App, envelopes: ses.Envelopes) -> None:
        self._app, self._envelopes = app, envelopes

    async def report(self, request: Request) -> Response:
        """200 when it is kept, also when it is no news; the provider sends it again after anything else."""
        settings, provider = self._app.settings, request.path_params["provider"]
        if provider == postmark.SOURCE and settings.postmark_secret:
            secret = settings.postmark_secret.get_secret_value()
            if not postmark.admitted(request.headers.get("authorization", ""), secret):
                return PlainTextResponse("Who are you?\n", 401, {"www-authenticate": "Basic"})
            read: Callable[[bytes], list[Report]] = postmark.read
        elif provider == ses.SOURCE and settings.ses_topics:
            read = self._envelopes.read
        else:
            return PlainTextResponse("Nothing is set up here.\n", 404)
        body = await whole_body(request)
        if body is None:
            return PlainTextResponse("The body is too large.\n", 413)
        return await asyncio.to_thread(self._take, provider, read, body)

    def _take(self, provider: str, read: Callable[[bytes], list[Report]], body: bytes) -> Response:
        try:
            reports = read(body)
        except BadReport as bad:
            log.warning("report_refused", provider=provider, because=str(bad))
            return PlainTextResponse(f"Refused: {bad}.\n", 400)
        except (OSError, egress.Forbidden):
            return PlainTextResponse("What it needs cannot be fetched now.\n", 503)
        except ImportError:
            log.error("ses_needs_cryptography")
            return PlainTextResponse("Install reprieve[ses].\n", 503)
        hooks.book(self._app, reports)
        return PlainTextResponse("Kept.\n")


async def whole_body(request: Request) -> bytes | None:
    """The whole body; None when it is longer than any report."""
    body = b""
    try:
        async for piece in request.stream():
            body += piece
            if len(body) > LONGEST:
                return None
    except ClientDisconnect:
        return None
    return body
