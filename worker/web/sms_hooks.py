"""POST /hooks/sms/{provider}: what customers answer to an SMS. STOP ends it in the transaction that hears it.

Nothing is read before the sender is known, and an endpoint that is not set up is not there (reliability.md S-01).
"""

from __future__ import annotations

import asyncio

import structlog
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from worker.app import App
from worker.consent import NoSecret
from worker.hooks import BadReport, sms
from worker.web.mail_hooks import whole_body

PATH = "/hooks/sms/"
SILENCE = '<?xml version="1.0" encoding="UTF-8"?><Response></Response>'  # to Twilio: send nothing back
log = structlog.get_logger("reprieve.web")


def routes(app: App) -> list[BaseRoute]:
    return [Route(PATH + "{provider}", SmsHooks(app).answer, methods=["POST"])]


class SmsHooks:
    def __init__(self, app: App) -> None:
        self._app = app

    async def answer(self, request: Request) -> Response:
        """200 when it was heard, also when it asks for nothing; the service sends it again after anything else."""
        settings, provider = self._app.settings, request.path_params["provider"]
        secret = {sms.TWILIO: settings.twilio_auth_token, sms.GENERIC: settings.sms_hook_secret}.get(provider)
        if secret is None:
            return PlainTextResponse("Nothing is set up here.\n", 404)
        body = await whole_body(request)
        if body is None:
            return PlainTextResponse("The body is too large.\n", 413)
        if not self._known(request, provider, secret.get_secret_value(), body):
            log.warning("answer_refused", provider=provider, because="its signature or secret does not hold")
            return PlainTextResponse("Who are you?\n", 401, {"www-authenticate": "Basic"})
        return await asyncio.to_thread(self._take, provider, body)

    def _known(self, request: Request, provider: str, secret: str, body: bytes) -> bool:
        if provider == sms.GENERIC:
            return sms.shown(request.headers.get("authorization", ""), secret)
        url = f"{self._app.settings.public_url.rstrip('/')}{request.url.path}"
        url += f"?{request.url.query}" if request.url.query else ""
        return sms.signed(request.headers.get("x-twilio-signature", ""), secret, url, body)

    def _take(self, provider: str, body: bytes) -> Response:
        try:
            sms.take(self._app, provider, sms.read(body))
        except BadReport as bad:
            log.warning("answer_refused", provider=provider, because=str(bad))
            return PlainTextResponse(f"Refused: {bad}.\n", 400)
        except NoSecret:
            log.error("consent_needs_suppression_secret")
            return PlainTextResponse("It cannot be kept now.\n", 503)
        if provider == sms.TWILIO:
            return Response(SILENCE, media_type="text/xml")
        return PlainTextResponse("Heard.\n")
