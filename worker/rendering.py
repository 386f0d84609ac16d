"""Notices become words: subject, plain text and HTML from the templates in `config/templates/<locale>/`.

The template language is Jinja without its power: a template may show and compare the values it is given, and nothing
else. There are no loops, calls, attributes or arithmetic, so no template can run away or reach anything
(reliability.md S-25). A child process with limits can be put around `Renderer.render` without changing it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cached_property, partial
from pathlib import Path
from traceback import extract_tb
from typing import Protocol

import css_inline
import jinja2
from babel import Locale, UnknownLocaleError
from babel.dates import format_date
from babel.numbers import parse_pattern
from jinja2 import nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from billing.money import exponent
from billing.notices.compose import Context, Notice
from worker.channels import Message

TEMPLATES = Path(__file__).parent.parent / "config" / "templates"
FALLBACK = "en"
PLAIN = (".txt.jinja", ".subject.jinja")  # everything else is escaped for HTML
LONGEST_SOURCE, LONGEST_PART, LONGEST_SUBJECT = 64 * 1024, 256 * 1024, 200

# All that a template may be made of.
ALLOWED: frozenset[type[nodes.Node]] = frozenset(
    {nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Filter, nodes.If, nodes.Compare}
    | {nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Extends, nodes.Include, nodes.Block}
)


class TemplateBroken(Exception):
    """A template cannot be used: its file, the line, the variable if one is to blame, and what is wrong."""

    def __init__(self, template: str, line: int | None, variable: str | None, because: str) -> None:
        where = f"{template}:{line}" if line else template
        super().__init__(f"{where}: {f'{variable}: ' if variable else ''}{because}")
        self.template, self.line, self.variable, self.because = template, line, variable, because


@dataclass(frozen=True, slots=True)
class Rendered:
    """One message in words. `locale` is the folder its templates came from."""

    subject: str
    text: str
    html: str
    locale: str

    @property
    def hash(self) -> str:
        """Stands for exactly these words in the row of the message."""
        return hashlib.sha256("\0".join((self.subject, self.text, self.html)).encode()).hexdigest()


class Words(Protocol):
    """What can be rendered: a notice to a customer, the team's digest, and whatever names a template."""

    @property
    def template(self) -> str: ...

    @property
    def locales(self) -> Sequence[str]: ...

    @property
    def context(self) -> Context: ...


class Renderer:
    """Templates of one folder, compiled once. `folder` holds `layout.html.jinja` and one folder per locale."""

    def __init__(self, folder: Path = TEMPLATES) -> None:
        self._folder = folder
        self._environments: dict[str, _Environment] = {}

    def render(self, notice: Words) -> Rendered:
        """Subject, text and HTML in the first language of the reader that this template exists in, else English.

        Raises TemplateBroken; another notice is not affected by it.
        """
        for name, value in notice.context.items():
            if type(value) not in (str, int):
                raise TemplateBroken(notice.template, None, name, "only text and whole numbers reach a template")
        folder, locale = self._language(notice.template, notice.locales)
        environment = self._environments.setdefault(locale, _Environment(self._folder, locale))
        subject, text, html = (
            self._part(environment, f"{folder}/{notice.template}.{part}.jinja", notice.context)
            for part in ("subject", "txt", "html")
        )
        subject = " ".join(subject.split())
        if not subject or len(subject) > LONGEST_SUBJECT:
            raise TemplateBroken(f"{folder}/{notice.template}.subject.jinja", None, None, "1 to 200 characters wanted")
        return Rendered(subject, text.strip() + "\n", self._inliner.inline(html), folder)

    def _language(self, template: str, wanted: Sequence[str]) -> tuple[str, str]:
        """(folder, locale for figures and dates): `en-GB` reads the words of `en` and gets British dates."""
        there = {path.name for path in self._folder.iterdir() if (path / f"{template}.html.jinja").is_file()}
        for tag in wanted:
            for folder in (tag, tag.partition("-")[0]):
                if folder in there:
                    return folder, _locale(tag) or folder
        return FALLBACK, FALLBACK

    def _part(self, environment: _Environment, name: str, context: Context) -> str:
        try:
            written: list[str] = []
            length = 0
            for piece in environment.get_template(name).generate(context):
                length += len(piece)
                if length > LONGEST_PART:
                    raise TemplateBroken(name, None, None, f"the message is longer than {LONGEST_PART} characters")
                written.append(piece)
            return "".join(written)
        except jinja2.TemplateSyntaxError as error:
            raise TemplateBroken(error.name or name, error.lineno, None, error.message or "cannot be read") from error
        except jinja2.TemplateNotFound as error:
            raise TemplateBroken(name, None, None, f"there is no template {error.name}") from error
        except (jinja2.TemplateError, ArithmeticError, ValueError, TypeError, RecursionError) as error:
            file, line = _place(error, self._folder, name)
            raise TemplateBroken(file, line, _variable(error), str(error)) from error

    @cached_property
    def _inliner(self) -> css_inline.CSSInliner:
        # What a rule of `@media` says (dark mode, phones) cannot be inlined and is kept as it is.
        return css_inline.CSSInliner(keep_at_rules=True, load_remote_stylesheets=False)


class _Environment(ImmutableSandboxedEnvironment):
    """One locale's templates; the sandbox is the second lock behind ALLOWED."""

    def __init__(self, folder: Path, locale: str) -> None:
        super().__init__(
            loader=jinja2.FileSystemLoader(folder),
            undefined=jinja2.StrictUndefined,
            autoescape=lambda name: name is None or not name.endswith(PLAIN),
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.globals.clear()
        self.filters.clear()
        self.filters.update(money=partial(money, locale=locale), date=partial(day, locale=locale), unbroken=unbroken)
        self.globals["lang"] = locale.replace("_", "-")

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        if len(source) > LONGEST_SOURCE:
            raise jinja2.TemplateSyntaxError(f"longer than {LONGEST_SOURCE} characters", 1, name, filename)
        tree = super()._parse(source, name, filename)
        for node in tree.find_all(nodes.Node):
            if type(node) not in ALLOWED:
                what = f"{type(node).__name__.lower()} is not allowed in a template"
                raise jinja2.TemplateSyntaxError(what, node.lineno or 1, name, filename)
            if isinstance(node, nodes.Include | nodes.Extends) and not _may_be_part(node.template):
                what = "only a named part may be taken in, and never one that is not escaped"
                raise jinja2.TemplateSyntaxError(what, node.lineno or 1, name, filename)
        return tree


def _may_be_part(template: nodes.Expr) -> bool:
    return isinstance(template, nodes.Const) and isinstance(template.value, str) and not template.value.endswith(PLAIN)


def money(minor: int, currency: str, locale: str) -> str:
    """`4900, "usd"` as `$49.00`: the locale's way of writing, Stripe's number of decimal places."""
    places = exponent(currency)
    found = Locale.parse(locale)
    pattern = parse_pattern(found.currency_formats["standard"].pattern)
    pattern.frac_prec = (places, places)
    value = Decimal(minor).scaleb(-places)
    written = str(pattern.apply(value, found, currency=currency.upper(), currency_digits=False))
    return re.sub(r"(?<=[A-Za-z])(?=[0-9])", "\u00a0", written)  # `KWD 1.000`: CLDR wants the space, Babel forgets it


def day(iso: str, locale: str) -> str:
    """`2026-03-05` as `March 5, 2026`."""
    return format_date(date.fromisoformat(iso), "long", locale)


def unbroken(figures: str) -> str:
    """`1.00 USD (2 open), 3.00 EUR`, so that a narrow screen parts the figures and never one from its unit."""
    return re.sub(r"(?<!,) (?!\([0-9a-z])", "\u00a0", figures)


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


def _locale(tag: str) -> str | None:
    """`pt-BR` as Babel names it, None when nobody knows it."""
    try:
        return str(Locale.parse(tag, sep="-"))
    except (ValueError, UnknownLocaleError):
        return None


def _place(error: BaseException, folder: Path, name: str) -> tuple[str, int | None]:
    """The template and line that failed: Jinja puts them into the traceback."""
    frames = [frame for frame in extract_tb(error.__traceback__) if frame.filename.startswith(str(folder))]
    if not frames:
        return name, None
    return Path(frames[-1].filename).relative_to(folder).as_posix(), frames[-1].lineno


def _variable(error: BaseException) -> str | None:
    found = re.match(r"'(\w+)' is undefined", str(error))
    return found[1] if found else None
