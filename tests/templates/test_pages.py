"""Pages for the team: a template file that is broken or means harm is named, and reaches nothing (T95, S-25)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from worker.templates.pages import TEMPLATES, Pages
from worker.templates.sandbox import TemplateBroken

CONTEXT: dict[str, str | int] = {"name": "Ada", "merchant": "Northwind", "amount": 4900, "currency": "usd", "url": "x"}
PARTS = {
    "html": '{% extends "layout.html.jinja" %}{% block title %}{{ merchant }}{% endblock %}',
    "subject": "Hello {{ name }}",
    "txt": "Hello",
}


@pytest.fixture
def with_template(tmp_path: Path) -> Callable[[str], Pages]:
    """Pages whose text part is the given source."""

    def make(source: str) -> Pages:
        (tmp_path / "en").mkdir(exist_ok=True)
        (tmp_path / "layout.html.jinja").write_text((TEMPLATES / "layout.html.jinja").read_text(encoding="utf-8"))
        for part, text in {**PARTS, "txt": source}.items():
            (tmp_path / "en" / f"page.{part}.jinja").write_text(text)
        (tmp_path / "en" / "why.jinja").write_text("because")
        return Pages(tmp_path)

    return make


def broken(pages: Pages) -> TemplateBroken:
    with pytest.raises(TemplateBroken) as found:
        pages.render("page", ("en",), CONTEXT)
    return found.value


def test_a_sound_page_is_written(with_template: Callable[[str], Pages]) -> None:
    rendered = with_template('{{ amount | money(currency) }} {% include "en/why.jinja" %}').render("page", (), CONTEXT)
    assert (rendered.subject, rendered.text) == ("Hello Ada", "$49.00 because\n")
    assert "<title>Northwind</title>" in rendered.html


def test_a_misspelt_variable_is_named_with_its_file_and_line(with_template: Callable[[str], Pages]) -> None:
    error = broken(with_template("Hello\n\n{{ amuont }}\n"))
    assert (error.template, error.line, error.variable) == ("en/page.txt.jinja", 3, "amuont")
    assert str(error) == "en/page.txt.jinja:3: amuont: 'amuont' is undefined"


@pytest.mark.parametrize(
    ("source", "line", "because"),
    [
        ("a\n{% if %}", 2, "Expected an expression"),
        ("a\n\n{% if name %}", 3, "Unexpected end of template"),
        ("{{ amount | money }}", 1, "missing 1 required positional argument"),
        ("{{ name | date }}", 1, "Invalid isoformat string"),
        ("{{ name | upper }}", 1, "No filter named 'upper'"),
        ('{% include "en/none.jinja" %}', None, "there is no template en/none.jinja"),
        ('{% include "en/page.subject.jinja" %}', 1, "never one that is not escaped"),
        ("{% include url %}", 1, "only a named part may be taken in"),
    ],
)
def test_a_mistake_is_named_with_its_line(
    with_template: Callable[[str], Pages], source: str, line: int | None, because: str
) -> None:
    error = broken(with_template(source))
    assert (error.template, error.line) == ("en/page.txt.jinja", line)
    assert because in error.because


@pytest.mark.parametrize(
    "source",
    [
        "{{ name.__class__ }}",
        "{{ name['__class__'] }}",
        "{{ name|attr('__class__') }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ '{0.__class__}'.format(name) }}",
        "{{ name.upper() }}",
        "{{ cycler }}",
        "{{ lipsum() }}",
        "{{ namespace(a=1) }}",
        "{{ range(10) }}",
        "{{ self._TemplateReference__context }}",
        "{{ url_for.__globals__ }}",
        "{{ 'a' * 200000000 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ 'a' ~ 'b' }}",
        "{{ '%0200000000d' % 1 }}",
        "{% for x in name %}x{% endfor %}",
        "{% set x = 1 %}",
        "{% macro f() %}{% endmacro %}",
        "{% import 'en/why.jinja' as w %}",
        "{% from 'en/why.jinja' import w %}",
        "{{ name | safe }}",
        "{{ name | map(attribute='x') | list }}",
        "{{ {'a': 1} }}",
        "{% filter upper %}x{% endfilter %}",
        "{% call x() %}{% endcall %}",
        "{% with a = 1 %}{% endwith %}",
        "{% include ['en/why.jinja'] %}",
        '{% include "../../settings.py" %}',
        '{% include "/etc/passwd" %}',
        "x" * 100_000,
    ],
)
def test_a_template_can_show_and_compare_and_nothing_else(with_template: Callable[[str], Pages], source: str) -> None:
    broken(with_template(source))


def test_a_template_that_takes_itself_in_ends(with_template: Callable[[str], Pages]) -> None:
    pages = with_template('{% include "en/why.jinja" %}')
    Path(pages._folder, "en", "why.jinja").write_text('{% include "en/why.jinja" %}')
    broken(pages)


def test_a_page_that_grows_beyond_its_limit_is_cut_off(with_template: Callable[[str], Pages]) -> None:
    pages = with_template("{{ merchant }}" * 4_000)
    with pytest.raises(TemplateBroken, match="longer than"):
        pages.render("page", (), {**CONTEXT, "merchant": "x" * 1_000})
