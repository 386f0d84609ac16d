"""Whole pages from the files in `config/templates/<locale>/`: what the team is sent, such as the weekly digest.

Nobody edits them at run time. Their language is as weak as that of the messages, and knows parts beside: they may
extend the layout and take in a named file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from traceback import extract_tb

import css_inline
import jinja2
from jinja2 import nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from billing.notices.compose import Context
from worker.templates.figures import day, locale_of, money, unbroken
from worker.templates.sandbox import TemplateBroken
from worker.templates.writer import LONGEST_SUBJECT, Rendered

TEMPLATES = Path(__file__).parents[2] / "config" / "templates"
FALLBACK = "en"
PLAIN = (".txt.jinja", ".subject.jinja")  # everything else is escaped for HTML
LONGEST_SOURCE, LONGEST_PART = 64 * 1024, 256 * 1024

# All that a template may be made of.
ALLOWED: frozenset[type[nodes.Node]] = frozenset(
    {nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Filter, nodes.If, nodes.Compare}
    | {nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Extends, nodes.Include, nodes.Block}
)


class Pages:
    """Templates of one folder, compiled once. `folder` holds `layout.html.jinja` and one folder per locale."""

    def __init__(self, folder: Path = TEMPLATES) -> None:
        self._folder = folder
        self._environments: dict[str, _Environment] = {}

    def render(self, template: str, locales: Sequence[str], context: Context) -> Rendered:
        """Subject, plain text and HTML in the first language that this template exists in, else English."""
        folder, locale = self._language(template, locales)
        environment = self._environments.setdefault(locale, _Environment(self._folder, locale))
        subject, text, html = (
            self._part(environment, f"{folder}/{template}.{part}.jinja", context) for part in ("subject", "txt", "html")
        )
        subject = " ".join(subject.split())
        if not subject or len(subject) > LONGEST_SUBJECT:
            raise TemplateBroken(f"{folder}/{template}.subject.jinja", None, None, "1 to 200 characters wanted")
        return Rendered(subject, text.strip() + "\n", self._inliner.inline(html), folder)

    def _language(self, template: str, wanted: Sequence[str]) -> tuple[str, str]:
        """(folder, locale for figures and dates): `en-GB` reads the words of `en` and gets British dates."""
        there = {path.name for path in self._folder.iterdir() if (path / f"{template}.html.jinja").is_file()}
        for tag in wanted:
            for folder in (tag, tag.partition("-")[0]):
                if folder in there:
                    return folder, locale_of(tag) or folder
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


def _place(error: BaseException, folder: Path, name: str) -> tuple[str, int | None]:
    """The template and line that failed: Jinja puts them into the traceback."""
    frames = [frame for frame in extract_tb(error.__traceback__) if frame.filename.startswith(str(folder))]
    if not frames:
        return name, None
    return Path(frames[-1].filename).relative_to(folder).as_posix(), frames[-1].lineno


def _variable(error: BaseException) -> str | None:
    found = re.match(r"'(\w+)' is undefined", str(error))
    return found[1] if found else None
