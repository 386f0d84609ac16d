"""Notices become words: the one entrance. Messages to customers from the catalogues, pages for the team from files.

The words of a message are those in `config/messages/<language>.toml`, with what an operator put in their place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from pathlib import Path
from typing import Protocol

import structlog

from billing.notices.compose import Context, Notice
from billing.notices.sequence import Step
from config import messages
from config.messages import Entries
from worker import metrics
from worker.channels import Message
from worker.templates import writer
from worker.templates.apart import Apart
from worker.templates.brand import Brand
from worker.templates.figures import day, locale_of, money
from worker.templates.pages import TEMPLATES, Pages
from worker.templates.sandbox import TemplateBroken
from worker.templates.writer import Rendered, Tongue

__all__ = ["TEMPLATES", "Rendered", "Renderer", "TemplateBroken", "day", "message_of", "money", "tongue_of"]

FALLBACK = "en"
log = structlog.get_logger(__name__)


def no_edits(_language: str) -> Entries:
    return {}


class Words(Protocol):
    """What can be rendered: a notice to a customer, the team's digest, and whatever names a template."""

    @property
    def template(self) -> str: ...

    @property
    def locales(self) -> Sequence[str]: ...

    @property
    def context(self) -> Context: ...


class Renderer:
    """Writes every message. `edits` gives the operator's texts in force for a language; they win over the shipped."""

    def __init__(
        self,
        folder: Path = TEMPLATES,
        *,
        brand: Brand = Brand(),
        edits: Callable[[str], Entries] = no_edits,
        apart: Apart | None = None,
    ) -> None:
        self._pages, self._brand, self._edits, self._apart = Pages(folder), brand, edits, apart or Apart()

    def with_edits(self, edits: Callable[[str], Entries]) -> Renderer:
        """The same renderer with other texts in force, as for a preview; the child that writes them is shared."""
        other = copy(self)
        other._edits = edits
        return other

    def close(self) -> None:
        """End the child process, if there is one."""
        self._apart.close()

    def render(self, notice: Words) -> Rendered:
        """Subject, text and HTML in the first language of the reader that there are words in, else English.

        Raises TemplateBroken; another notice is not affected by it. An operator's text is written in a child process.
        One that cannot be written for this customer is passed over: the shipped one is sent, and the log says why.
        """
        check_context(notice.template, notice.context)
        if notice.template not in list(Step):
            return self._pages.render(notice.template, notice.locales, notice.context)
        step, tongue = Step(notice.template), tongue_of(notice.locales)
        shipped = messages.shipped(tongue.language).entries
        edited = self._edits(tongue.language)
        if edited:
            try:
                return self._apart.write(step, edited, notice.context, tongue, self._brand)
            except TemplateBroken as error:
                metrics.TEMPLATES_PASSED_OVER.inc()
                log.error("template_passed_over", because=str(error))
        return writer.write(step, shipped, notice.context, tongue, self._brand)


def merged(shipped: Entries, edited: Entries) -> Entries:
    """The shipped tables with the edited parts in their place; a table may be new."""
    return {name: {**shipped.get(name, {}), **edited.get(name, {})} for name in {**shipped, **edited}}


def tongue_of(wanted: Sequence[str]) -> Tongue:
    """`en-GB` reads the English words and gets British dates; a language without words is answered in English."""
    there = messages.languages()
    for tag in wanted:
        language = tag.partition("-")[0].lower()
        if language in there:
            return Tongue(language, locale_of(tag) or language)
    return Tongue(FALLBACK, FALLBACK)


def check_context(template: str, context: Context) -> None:
    """Raise TemplateBroken when anything but text and whole numbers would reach a template."""
    for name, value in context.items():
        if type(value) not in (str, int):
            raise TemplateBroken(template, None, name, "only text and whole numbers reach a template")


def message_of(notice: Notice, rendered: Rendered, message_id: str) -> Message:
    """What a channel is given. The header lets people and filters tell the steps apart."""
    return Message(
        id=message_id,
        to=str(notice.to),
        to_name=notice.to_name or None,
        subject=rendered.subject,
        text=rendered.text,
        html=rendered.html,
        headers=(("X-Reprieve-Step", notice.step.value), ("Content-Language", rendered.locale)),
    )
