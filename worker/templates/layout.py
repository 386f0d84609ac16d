"""The one layout of every message to a customer: MJML, so that each mail program gets the tables it understands.

MJML is compiled once, by mrml, into HTML that is still a Jinja template; a customer's data never passes through the
compiler. Both steps could be done by Node's `mjml`, which mrml follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jinja2
import mrml

from worker.templates.brand import Brand

SOURCE = Path(__file__).parents[2] / "config" / "templates" / "message.mjml.jinja"
# Keeps a mail program from showing the first sentences behind the preview line.
FILLER = "\u034f\u200c\u00a0" * 40


@dataclass(frozen=True, slots=True)
class Page:
    """All that the layout shows, as plain text: `facts` are labels with their values."""

    lang: str
    merchant: str
    title: str
    preview: str
    before: Sequence[str]
    facts: Sequence[tuple[str, str]]
    after: Sequence[str]
    url: str
    button: str
    note: str
    footer: Sequence[str]


def html(page: Page, brand: Brand) -> str:
    """The whole HTML document. Everything is escaped on its way in."""
    return _compiled().render(page=page, brand=brand, filler=FILLER)


@cache
def _compiled() -> jinja2.Template:
    # Without fonts: mrml would link to a font server of a third party, which a message must not.
    made = mrml.to_html(SOURCE.read_text(encoding="utf-8"), render_options=mrml.RenderOptions(fonts={}))
    # No sandbox: the layout is ours, and what others wrote reaches it only as escaped text.
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=True)
    return environment.from_string(made.content)
