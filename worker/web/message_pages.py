"""The messages as customers see them: each in every language, for customers of every kind, drafts as well.

Read-only, but for sending a message to oneself, which is a POST of our own form. A message is shown in frames without
scripts, forms or a way out: `sandbox`, and a policy of its own that loads nothing but the merchant's logo.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jinja2
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from billing.notices import address, reasons, sequence
from billing.notices.compose import Notice
from billing.notices.reasons import Reason
from billing.notices.sequence import ASKING, Step
from config import messages
from config.messages import page
from worker import switch
from worker.app import App
from worker.rendering import Rendered, TemplateBroken
from worker.templates import desk
from worker.templates.samples import CUSTOMERS, Sample, samples
from worker.templates.versions import NoSuchTemplate, Version, Versions
from worker.web.dashboard import moment, sentence
from worker.web.local import REFUSED, Forms, is_here, only_here

PATH = "/messages"
SEND = "send a test"
LONGEST_FORM = 4 * 1024
SAID = {
    "accepted": "The mail server took the test message.",
    "rejected": "The mail server refused the test message, or none is configured.",
    "later": "The mail server did not take the test message now.",
    "unknown": "Nobody knows whether the mail server took the test message.",
    "bad_address": "This is no e-mail address.",
    "refused": "That form was not ours, or is too old: try again.",
}
DARK = "@media (prefers-color-scheme: dark)"
LOOKS = {"desktop": 720, "phone": 375, "dark": 375}  # pixels wide


def routes(app: App) -> list[BaseRoute]:
    """`/messages`, `/messages/{step}`, its frame, and the test send."""
    pages = MessagePages(app)
    return [
        Route(PATH, only_here(pages.overview), methods=["GET"]),
        Route(PATH + "/{step}", only_here(pages.message), methods=["GET"]),
        Route(PATH + "/{step}", pages.send, methods=["POST"]),
        Route(PATH + "/{step}/frame", only_here(pages.frame), methods=["GET"]),
    ]


class NoSuchPage(LookupError):
    """The address names no message that there is."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What an address asks to see. `of` and `version` name a text that is not in force, as a draft."""

    step: Step
    language: str
    reason: str
    customer: str
    of: str = ""
    version: int | None = None

    def sample(self) -> Sample:
        wanted = (self.step, self.reason, self.customer)
        found = (one for one in samples() if (one.step, one.reason, one.name.rpartition(", ")[2]) == wanted)
        if one := next(found, None):
            return one
        raise NoSuchPage("there is no such message")

    def query(self, **changes: str) -> str:
        asked = {"language": self.language, "reason": self.reason, "customer": self.customer, "of": self.of}
        asked |= {"version": "" if self.version is None else str(self.version), **changes}
        return urlencode({name: value for name, value in asked.items() if value})

    def link(self, **changes: str) -> str:
        return f"{PATH}/{self.step}?{self.query(**changes)}"


def wish(step: str, asked: Mapping[str, str]) -> Wish:
    """Raises NoSuchPage."""
    try:
        found = Step(step)
        usual = Reason.FUNDS.value if found in ASKING else ""
        version = int(asked["version"]) if asked.get("version") else None
    except ValueError:
        raise NoSuchPage("there is no such message") from None
    language = asked.get("language") or "en"
    if language not in messages.languages():
        raise NoSuchPage("there are no messages in this language")
    of = asked.get("of", "")
    made = Wish(found, language, asked.get("reason") or usual, asked.get("customer") or CUSTOMERS[0].about, of, version)
    made.sample()
    return made


class MessagePages:
    def __init__(self, app: App) -> None:
        self._app, self._forms = app, Forms()
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
        )
        self._templates.filters.update(moment=moment, sentence=sentence)
        logo = urlsplit(app.settings.brand_logo_url or "")
        images = f"img-src {logo.scheme}://{logo.netloc}; " if logo.netloc else ""
        base = "base-uri 'none'; frame-ancestors"
        self._page_policy = {
            "content-security-policy": f"default-src 'none'; style-src 'self'; frame-src 'self'; form-action 'self'; "
            f"{base} 'none'"
        }
        self._frame_policy = {
            "content-security-policy": f"sandbox; default-src 'none'; style-src 'unsafe-inline'; {images}"
            f"form-action 'none'; {base} 'self'"
        }

    # ---------------------------------------------------------------- looking

    def overview(self, request: Request) -> Response:
        """Every message and language, with the texts that are not as shipped."""
        versions = Versions(self._app.db)
        own = {(one.language, one.name) for one in versions.listed() if one.active}
        rows = [(step, sequence.SENTENCES[step], self._links(step, own)) for step in Step]
        return self._page(
            "messages.html",
            languages=[(one, _called(one)) for one in messages.languages()],
            rows=rows,
            versions=self._versions(versions, lambda one: True),
        )

    def _links(self, step: Step, own: set[tuple[str, str]]) -> list[tuple[str, str, bool]]:
        """Language, address, and whether a text of this very message is the operator's."""
        mine = {language for language, name in own if name == step or name.startswith(f"{step}.")}
        return [(one, Wish(step, one, "", "").link(), one in mine) for one in messages.languages()]

    def message(self, request: Request) -> Response:
        """One message for one sample customer: subject, three looks, text part, versions, and the way to send it."""
        try:
            asked = wish(request.path_params["step"], request.query_params)
            _, said = self._written(asked)
        except (NoSuchPage, NoSuchTemplate, TemplateBroken) as wrong:
            return self._page("message.html", 404, title="Not found", text=f"{sentence(str(wrong))}.")
        names = (asked.step.value, "reason.", "words")
        frame = f"{PATH}/{asked.step}/frame?{asked.query()}"
        return self._page(
            "message_preview.html",
            wish=asked,
            sentence_of=sequence.SENTENCES[asked.step],
            said=said,
            text=said.text,
            languages=[(one, _called(one), asked.link(language=one)) for one in messages.languages()],
            reasons=self._reasons(asked),
            customers=[(one.about, asked.link(customer=one.about)) for one in CUSTOMERS],
            looks=[(look, width, f"{frame}&look={look}") for look, width in LOOKS.items()],
            versions=self._versions(
                Versions(self._app.db), lambda one: one.language == asked.language and one.name.startswith(names)
            ),
            draft=asked.version is not None,
            in_force=asked.link(of="", version=""),
            act=asked.link(),
            token=self._forms.token(SEND),
            to=self._app.settings.support_email or next(iter(self._app.settings.digest_to), ""),
            told=SAID.get(request.query_params.get("said", ""), ""),
            can_send=desk.CHANNEL in self._app.channels,
        )

    def frame(self, request: Request) -> Response:
        """The HTML part as a mail program would show it; dark or light whatever the reader's own setting is."""
        try:
            _, said = self._written(wish(request.path_params["step"], request.query_params))
        except (NoSuchPage, NoSuchTemplate, TemplateBroken) as wrong:
            return PlainTextResponse(f"{wrong}\n", 404)
        dark = request.query_params.get("look") == "dark"
        html = said.html.replace(DARK, "@media all" if dark else "@media not all")
        return HTMLResponse(html, headers=self._frame_policy)

    def _written(self, asked: Wish) -> tuple[Notice, Rendered]:
        edits = desk.edits_of(self._app, asked.of or asked.step.value, asked.language, asked.version, None)
        return desk.written(self._app, asked.sample(), asked.language, edits)

    def _reasons(self, asked: Wish) -> list[tuple[str, str, str]]:
        if asked.step not in ASKING:
            return []
        return [(one.value, reasons.SENTENCES[one], asked.link(reason=one.value)) for one in Reason]

    def _versions(self, versions: Versions, wanted: Callable[[Version], bool]) -> list[dict[str, Any]]:
        """What operators wrote, the newest first, with who put it in force and where to look at it."""
        decided = versions.activations()
        found = []
        for one in reversed([one for one in versions.listed() if wanted(one)]):
            last = decided.get((one.language, one.name))
            found.append({"version": one, "by": last if one.active else None, "link": _draft_link(one)})
        return found

    # ---------------------------------------------------------------- sending to oneself

    async def send(self, request: Request) -> Response:
        """Hand one test message to the real channel, and go back to the preview."""
        if not is_here(request):
            return PlainTextResponse(REFUSED, 403)
        form = await _form(request)
        return await run_in_threadpool(self._send, request, form)

    def _send(self, request: Request, form: Mapping[str, str]) -> Response:
        try:
            asked = wish(request.path_params["step"], request.query_params)
        except NoSuchPage as wrong:
            return PlainTextResponse(f"{wrong}\n", 404)
        if not self._forms.ours(request, SEND, form.get("token", "")):
            said = "refused"
        else:
            said = self._hand_over(asked, form.get("to", ""))
        return RedirectResponse(f"{asked.link()}&said={said}", 303, self._page_policy)

    def _hand_over(self, asked: Wish, to: str) -> str:
        try:
            mailbox = address.parse(to)
            return str(desk.hand_over(self._app, mailbox, self._written(asked)).outcome)
        except address.BadAddress:
            return "bad_address"
        except (NoSuchTemplate, TemplateBroken):
            return "rejected"

    def _page(self, template: str, status: int = 200, **values: Any) -> Response:
        with self._app.db.read() as db:
            stops = switch.standing(db)
        html = self._templates.get_template(template).render(now=self._app.now(), stops=stops, **values)
        return HTMLResponse(html, status, self._page_policy)


def _called(language: str) -> str:
    return page.words(language)["language_name"]


def _draft_link(one: Version) -> str:
    """The page on which this text can be seen: its own message, or one in which it is said."""
    step, _, reason = one.name.partition(".")
    shown = Step(step) if step in list(Step) else Step.REMINDER
    why = reason or (Reason.FUNDS.value if shown in ASKING else "")
    return Wish(shown, one.language, why, CUSTOMERS[0].about, one.name, one.version).link()


async def _form(request: Request) -> dict[str, str]:
    """The fields of a small form, the first of each name; none for anything else."""
    body = b""
    try:
        async for part in request.stream():
            body += part
            if len(body) > LONGEST_FORM:
                return {}
        fields = parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=20, errors="replace")
    except (ClientDisconnect, ValueError):
        return {}
    return {name: values[0] for name, values in fields.items()}
