"""The language in which messages are written: it shows and compares the values it is given, and nothing else.

It is Jinja without its power. There are no loops, calls, attributes, arithmetic or includes, so what a text costs is
bounded by its length, and it can reach nothing (reliability.md D27, S-25, S-26). Jinja's own sandbox is the second
lock behind the list below. Fluent or ICU MessageFormat could replace it; Jinja is here already, for the digest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache, partial

import jinja2
from jinja2 import nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from worker.templates.figures import BadForms, plural

LONGEST_PART, LONGEST_OUTPUT = 4_000, 8_000  # characters of one part, before and after
MOST_NODES, DEEPEST_IF = 400, 4
MOST_KEPT = 2_000  # compiled parts of one locale

ALLOWED: frozenset[type[nodes.Node]] = frozenset(
    {nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Filter, nodes.Keyword}
    | {nodes.If, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not}
)
FORMS = frozenset({"zero", "one", "two", "few", "many", "other"})  # CLDR's names of the plural forms
MARKUP = re.compile(r"<[A-Za-z/!]|&(#[0-9]+|[a-z]+);")
LINK = re.compile(r"(https?|ftp|javascript|data|mailto|tel):(?=\S)|//\w|www\.", re.IGNORECASE)

Value = str | int


class TemplateBroken(Exception):
    """A template cannot be used: its file or part, the line, the variable if one is to blame, and what is wrong."""

    def __init__(self, template: str, line: int | None, variable: str | None, because: str) -> None:
        where = f"{template}:{line}" if line else template
        super().__init__(f"{where}: {f'{variable}: ' if variable else ''}{because}")
        self.template, self.line, self.variable, self.because = template, line, variable, because


class Blank(str):
    """A value that is not known in this message: false in `if`, and while a text is checked not to be shown."""

    name: str

    @classmethod
    def of(cls, name: str) -> Blank:
        blank = cls()
        blank.name = name
        return blank


class BlankShown(ValueError):
    """A text shows a value that is not always known, without asking for it first."""


class Sandbox(ImmutableSandboxedEnvironment):
    """Compiles the parts of one locale. `strict` is for checking: showing a blank value is a mistake then."""

    def __init__(self, locale: str, strict: bool = False) -> None:
        super().__init__(
            undefined=jinja2.StrictUndefined,
            autoescape=False,  # a part is plain text; the layout escapes it
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=_shown if strict else None,
        )
        self.globals.clear()
        self.filters.clear()
        self.filters["plural"] = partial(plural, locale=locale)
        self._known: dict[str, tuple[jinja2.Template, tuple[tuple[str, int], ...]]] = {}

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        if len(source) > LONGEST_PART:
            raise _no(f"longer than {LONGEST_PART} characters", 1)
        if found := MARKUP.search(source) or LINK.search(source):
            line = source.count("\n", 0, found.start()) + 1
            raise _no(f"{found[0]!r}: a part is plain text, and links are set by the layout", line)
        tree = super()._parse(source, name, filename)
        every = [tree, *tree.find_all(nodes.Node)]
        if len(every) > MOST_NODES or _depth(tree) > DEEPEST_IF:
            raise _no(f"more than {MOST_NODES} pieces, or `if` inside `if` more than {DEEPEST_IF} deep", 1)
        for node in every:
            if type(node) not in ALLOWED:
                raise _no(f"{type(node).__name__.lower()} is not allowed in a template", node.lineno or 1)
            if isinstance(node, nodes.Const) and type(node.value) not in (str, int):
                raise _no("only text and whole numbers are allowed in a template", node.lineno or 1)
            if isinstance(node, nodes.Filter):
                _check_filter(node)
        return tree

    def write(self, name: str, source: str, values: Mapping[str, Value]) -> str:
        """One part in words. Raises TemplateBroken; `name` stands in it for the part."""
        try:
            compiled, names = self._read(source)
            for used, line in names:
                if used not in values:
                    raise TemplateBroken(name, line, used, "there is no such value in this message")
            written = "".join(compiled.generate(values))
        except TemplateBroken:
            raise
        except jinja2.TemplateSyntaxError as error:
            raise TemplateBroken(name, error.lineno, None, error.message or "cannot be read") from error
        except BlankShown as error:
            raise TemplateBroken(name, _line_of(source, str(error)), str(error), BlankShown.__doc__ or "") from error
        except BadForms as error:
            raise TemplateBroken(name, _line_of(source, "plural"), None, str(error)) from error
        except (jinja2.TemplateError, ArithmeticError, ValueError, TypeError, RecursionError, MemoryError) as error:
            raise TemplateBroken(name, None, None, str(error) or type(error).__name__) from error
        if len(written) > LONGEST_OUTPUT:
            raise TemplateBroken(name, None, None, f"the text is longer than {LONGEST_OUTPUT} characters")
        return written.strip()

    def _read(self, source: str) -> tuple[jinja2.Template, tuple[tuple[str, int], ...]]:
        """A part compiled once, and every value that it asks for, with its line."""
        if source not in self._known:
            if len(self._known) > MOST_KEPT:
                self._known.clear()
            names = tuple((node.name, node.lineno) for node in self.parse(source).find_all(nodes.Name))
            self._known[source] = self.from_string(source), names
        return self._known[source]


@lru_cache(64)
def sandbox(locale: str, strict: bool = False) -> Sandbox:
    """The sandbox of a locale, kept with what it has compiled."""
    return Sandbox(locale, strict)


def _check_filter(node: nodes.Filter) -> None:
    if node.name != "plural":
        raise _no(f"there is no filter {node.name}; `plural` is the only one", node.lineno)
    forms = {pair.key: pair.value for pair in node.kwargs}
    if node.args or node.dyn_args or node.dyn_kwargs or not forms.keys() <= FORMS:
        raise _no(f"plural wants forms by name: {', '.join(sorted(FORMS))}", node.lineno)
    if not all(isinstance(form, nodes.Const) and isinstance(form.value, str) for form in forms.values()):
        raise _no('each form of plural is a text between ""', node.lineno)


def _depth(node: nodes.Node) -> int:
    deepest = max((_depth(child) for child in node.iter_child_nodes()), default=0)
    return deepest + isinstance(node, nodes.If)


def _shown(value: object) -> object:
    if isinstance(value, Blank):
        raise BlankShown(value.name)
    return value


def _line_of(source: str, word: str) -> int | None:
    """The line of the first `{{ ... word`; for errors that arise only when a text is written."""
    found = re.search(r"\{\{[^}]*\b" + re.escape(word) + r"\b", source)
    return source.count("\n", 0, found.start()) + 1 if found else None


def _no(because: str, line: int) -> jinja2.TemplateSyntaxError:
    return jinja2.TemplateSyntaxError(because, line)
