"""The recovery page: what a customer owes, and the ways to settle it, behind a link of ours.

Looking changes nothing, so that scanners of mail may look; acts are POSTs of plain forms, answered with a redirect. A
link that cannot be used is answered in one way, whatever is wrong with it. Nothing is loaded from elsewhere, no script
runs, and no address of the page leaves it: `no-referrer`, and the route's pattern instead of the path in logs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlencode

import jinja2
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from billing.notices.compose import STRIPE_HOSTS
from config.messages import page
from worker import links, talk
from worker.app import App
from worker.links import Link
from worker.rendering import tongue_of
from worker.templates.brand import brand_of
from worker.templates.writer import Tongue
from worker.web import pay_acts
from worker.web.pay_gate import Gate, address_of
from worker.web.pay_view import Standing, Writer, standing, tongue_for

HERE = Path(__file__).parent
LONGEST_FORM = 16 * 1024
SAID = {
    **dict.fromkeys(("promise_done", "talk_done", "card_done"), "good"),
    **dict.fromkeys(("promise_bad", "talk_bad", "settled", "away", "busy_text"), "bad"),
}
_WANTED = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")


def routes(app: App) -> list[BaseRoute]:
    """`/pay/{token}`, whatever the token looks like, and its style sheet."""
    pages = Pages(app)
    return [
        Route(f"{links.PATH}{{token:path}}", pages.look, methods=["GET"]),
        Route(f"{links.PATH}{{token:path}}", pages.act, methods=["POST"]),
        Route("/static/pay.css", pages.stylesheet, methods=["GET"]),
    ]


class Pages:
    """What the routes answer with."""

    path = links.PATH

    def __init__(self, app: App, gate: Gate | None = None) -> None:
        self._app, self._gate = app, gate or Gate()
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(HERE / "templates"), autoescape=True, undefined=jinja2.StrictUndefined
        )
        hosts = sorted(f"https://{host}" for host in STRIPE_HOSTS)
        targets = " ".join(["'self'", *hosts, *filter(None, [app.settings.stripe_api_base])])
        self._headers = {
            # Chromium holds a form to this list over redirects, too: Stripe's pages must be on it.
            "content-security-policy": "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
            f"form-action {targets}",
            "referrer-policy": "no-referrer",
            "cache-control": "no-store",
            "x-robots-tag": "noindex, nofollow",
        }

    def stylesheet(self, _: Request) -> Response:
        brand = brand_of(self._app.settings)
        colours = f":root {{ --brand: {brand.colour}; --on-brand: {brand.on_colour}; }}\n"
        css = colours + (HERE / "static" / "pay.css").read_text(encoding="utf-8")
        return Response(css, media_type="text/css", headers={"cache-control": "max-age=300"})

    # ---------------------------------------------------------------- looking

    def look(self, request: Request) -> Response:
        """The page; changes nothing."""
        link = self._link(request, "look")
        if isinstance(link, Response):
            return link
        now = self._app.now()
        with self._app.db.read() as db:
            stands = standing(self._app, db, link, now)
        writer = Writer(self._app, tongue_for(request.query_params.get("lang"), stands.locales))
        said = request.query_params.get("said", "")
        content = self._content(writer, stands, now, said)
        return self._page("pay.html", writer, {**content, "here": request.url.path})

    def _content(self, writer: Writer, stands: Standing, now: datetime, said: str) -> Mapping[str, object]:
        """Everything that the template shows beside its sentences."""
        today, latest = now.astimezone(stands.zone).date(), stands.latest_day()
        values = {"day": writer.day(latest) if latest else "", "most": str(talk.LONGEST)}
        asked = [case for case in stands.live if not writer.collecting(case, now)]
        usable = [case for case in asked if case.collection_method != "send_invoice"]
        policies = [self._app.policies.of(case.account, case.livemode, case.policy) for case in usable]
        return {
            "lines": [writer.line(case, stands.zone, now) for case in (*stands.owed, *stands.paid)],
            "owed": bool(stands.owed),
            "total": writer.total(stands.owed),
            "update": ("update_all" if policies[0].mode.charges else "update") if policies else "",
            "promise": bool(asked) and latest is not None and latest >= today,
            "first_day": today.isoformat(),
            "last_day": latest.isoformat() if latest else "",
            "talk": talk.team_of(self._app.settings) is not None and "email" in self._app.channels,
            "most": talk.LONGEST,
            "values": values,
            "said": writer.say(said, **values) if said in SAID and (stands.owed or SAID[said] == "bad") else "",
            "mood": SAID.get(said, ""),
        }

    # ---------------------------------------------------------------- acting

    async def act(self, request: Request) -> Response:
        """Do what a button says, then send the browser back to look, or on to Stripe."""
        form = await form_of(request)
        return await run_in_threadpool(self._act, request, form)

    def _act(self, request: Request, form: Mapping[str, str] | None) -> Response:
        link = self._link(request, "act")
        if isinstance(link, Response):
            return link
        with self._app.db.read() as db:
            stands = standing(self._app, db, link, self._app.now())
        asked = request.query_params.get("lang")
        language = tongue_for(asked, stands.locales).language
        here = partial(self._address, request.path_params["token"], asked)
        # Another site may not press our buttons; a browser too old to say where a form comes from may.
        if form is None or request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return self._to(here(""))
        done = pay_acts.act(self._app, link, stands, form, here("card_done"), language)
        return self._to(done.url or here(done.said))

    def _address(self, token: str, language: str | None, said: str) -> str:
        query = {"lang": language if language in page.languages() else None, "said": said}
        told = urlencode({name: value for name, value in query.items() if value})
        base = f"{links.base_of(self._app.settings)}{self.path}{token}"
        return base + (f"?{told}" if told else "") + ("#said" if said else "")

    def _to(self, url: str) -> Response:
        return RedirectResponse(url, 303, self._headers)

    # ---------------------------------------------------------------- who may

    def _link(self, request: Request, kind: str) -> Link | Response:
        """The link that was asked for, or the one answer for every other case."""
        address = address_of(request, self._app.settings.trusted_proxies)
        if self._gate.full(address, "miss") or not self._gate.count(address, kind):
            return self._refused(request, "busy", "busy_text", 429)
        found: Link | None = None
        if links.base_of(self._app.settings):
            with self._app.db.read() as db:
                found = links.find(db, request.path_params["token"], self._app.now())
        if found is None:
            self._gate.count(address, "miss")
            return self._refused(request, "dead", "dead_text", 404)
        return found

    def _refused(self, request: Request, title: str, text: str, status: int) -> Response:
        writer = Writer(self._app, tongue_asked(request, self._app.settings.default_language))
        return self._page("pay_message.html", writer, {"title": writer.say(title), "text": writer.say(text)}, status)

    def _page(self, name: str, writer: Writer, content: Mapping[str, object], status: int = 200) -> Response:
        languages = [(code, page.words(code)["language_name"]) for code in page.languages()]
        html = self._templates.get_template(name).render(
            say=writer.say, merchant=writer.merchant, language=writer.tongue.language, languages=languages, **content
        )
        return HTMLResponse(html, status, self._headers)


def tongue_asked(request: Request, default: str) -> Tongue:
    """The language of a reader of whom nothing is known but the browser."""
    asked = (part.partition(";")[0].strip() for part in request.headers.get("accept-language", "")[:200].split(","))
    return tongue_of([*(tag for tag in asked if _WANTED.fullmatch(tag)), default])


async def form_of(request: Request) -> dict[str, str] | None:
    """The fields of a small form, the first of each name; None for anything else."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        return None
    body = b""
    try:
        async for part in request.stream():
            body += part
            if len(body) > LONGEST_FORM:
                return None
        fields = parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=20, errors="replace")
    except (ClientDisconnect, ValueError):
        return None
    return {name: values[0] for name, values in fields.items()}
