"""/unsubscribe/{token}: one click (RFC 8058), or a page with a button, in the reader's language.

Only a POST acts: what looks at links may look. Everybody reads the same, whatever the token was.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import jinja2
import structlog
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from config.messages import page
from worker import suppression
from worker.app import App
from worker.web.pay import tongue_asked
from worker.web.pay_view import Writer, tongue_for

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
}
log = structlog.get_logger("reprieve.web")


def routes(app: App) -> list[BaseRoute]:
    return [Route(suppression.PATH + "{token}", Unsubscribe(app).answer, methods=["GET", "POST"])]


class Unsubscribe:
    def __init__(self, app: App) -> None:
        self._app = app
        folder = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
        self._templates = jinja2.Environment(loader=folder, autoescape=True, undefined=jinja2.StrictUndefined)

    async def answer(self, request: Request) -> Response:
        done = request.method == "POST"
        if done:
            await asyncio.to_thread(self._unsubscribe, request.path_params["token"])
        return self._page(request, done)

    def _unsubscribe(self, token: str) -> None:
        mailbox = suppression.mailbox_in(self._app.settings, token)
        if mailbox is None:
            return
        with self._app.db.begin() as db:
            if suppression.suppress(db, mailbox, "unsubscribed", "one-click", self._app.now()):
                log.info("unsubscribed")

    def _page(self, request: Request, done: bool) -> Response:
        asked = tongue_asked(request, self._app.settings.default_language)
        writer = Writer(self._app, tongue_for(request.query_params.get("lang"), [asked.language]))
        name = "unsubscribe" if self._app.settings.unsubscribe_covers == "reminders" else "unsubscribe_all"
        html = self._templates.get_template("unsubscribe.html").render(
            say=writer.say,
            merchant=writer.merchant,
            language=writer.tongue.language,
            languages=[(code, page.words(code)["language_name"]) for code in page.languages()],
            title="unsubscribed" if done else name,
            text=f"{name}_text",
            ask=not done,
        )
        return HTMLResponse(html, headers=HEADERS)
