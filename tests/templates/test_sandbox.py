"""The language of the texts: it shows and compares, names every mistake, and can do no harm (T95, S-25)."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.templates.figures import BadForms, isolated, month, plural
from worker.templates.sandbox import LONGEST_OUTPUT, LONGEST_PART, Blank, Sandbox, TemplateBroken

VALUES: dict[str, str | int] = {"name": "Ada", "count": 3, "merchant": "x" * 60, "card": Blank.of("card")}
ENGLISH = Sandbox("en")


def broken(source: str, sandbox: Sandbox = ENGLISH) -> TemplateBroken:
    with pytest.raises(TemplateBroken) as found:
        sandbox.write("en/reminder/lead", source, VALUES)
    return found.value


@pytest.mark.parametrize(
    ("source", "written"),
    [
        ("Hello {{ name }}", "Hello Ada"),
        ("{% if count > 1 %}many{% else %}one{% endif %}", "many"),
        ('{% if name == "Ada" and not card %}yes{% endif %}', "yes"),
        ('{{ count | plural(one="{n} day", other="{n} days") }}', "3 days"),
        ("  two\n\nparagraphs  ", "two\n\nparagraphs"),
        ("{{ '{{ name }}' }}", "{{ name }}"),
    ],
)
def test_a_text_shows_and_compares_what_it_is_given(source: str, written: str) -> None:
    assert ENGLISH.write("en/reminder/lead", source, VALUES) == written


@pytest.mark.parametrize(
    ("source", "line", "variable", "because"),
    [
        ("Hello\n\n{{ nmae }}\n", 3, "nmae", "there is no such value in this message"),
        ("{% if name %}{{ nmae }}{% endif %}", 1, "nmae", "there is no such value"),
        ("a\n{% if %}", 2, None, "Expected an expression"),
        ("a\n\n{% if name %}", 3, None, "Unexpected end of template"),
        ("a\n{{ name | upper }}", 2, None, "there is no filter upper"),
        ('a\n{{ count | plural(one="{n} day") }}', 2, None, "this language needs the form other"),
        ('{{ count | plural("a", "b") }}', 1, None, "plural wants forms by name"),
        ("{{ count | plural(other=name) }}", 1, None, 'each form of plural is a text between ""'),
        ('{{ count | plural(other="a", odd="b") }}', 1, None, "plural wants forms by name"),
        ('{{ name | plural(one="a", other="b") }}', 1, None, "plural is for whole numbers"),
        ("{% if name > 1 %}x{% endif %}", None, None, "not supported between"),
        ("a\n<b>Hello</b>", 2, None, "a part is plain text"),
        ("a &amp; b", 1, None, "a part is plain text"),
        ("pay at https://evil.example", 1, None, "links are set by the layout"),
        ("pay at //evil.example", 1, None, "links are set by the layout"),
        ("javascript:alert(1)", 1, None, "links are set by the layout"),
        ("www.evil.example", 1, None, "links are set by the layout"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_value(
    source: str, line: int | None, variable: str | None, because: str
) -> None:
    error = broken(source)
    assert (error.template, error.line, error.variable) == ("en/reminder/lead", line, variable)
    assert because in error.because


@pytest.mark.parametrize(
    "source",
    [
        "{{ name.__class__ }}",
        "{{ name['__class__'] }}",
        "{{ name|attr('__class__') }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ '{0.__class__}'.format(name) }}",
        "{{ '%s' % name }}",
        "{{ name.upper() }}",
        "{{ cycler }}",
        "{{ lipsum() }}",
        "{{ namespace(a=1) }}",
        "{{ range(10) }}",
        "{{ self }}",
        "{{ self._TemplateReference__context }}",
        "{{ url_for.__globals__ }}",
        "{{ 'a' * 200000000 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ 'a' ~ 'b' }}",
        "{{ -count }}",
        "{{ 1.5 }}",
        "{{ none }}",
        "{{ true }}",
        "{{ [1] }}",
        "{{ {'a': 1} }}",
        "{{ name if count }}",
        "{% for x in name %}x{% endfor %}",
        "{% set x = 1 %}",
        "{% macro f() %}{% endmacro %}",
        "{% import 'words' as w %}",
        "{% include 'words' %}",
        "{% extends 'words' %}",
        "{% block a %}{% endblock %}",
        "{% filter plural %}x{% endfilter %}",
        "{% call x() %}{% endcall %}",
        "{% with a = 1 %}{% endwith %}",
        "{% do name %}",
        "{% autoescape false %}{% endautoescape %}",
        "{{ name | safe }}",
        "{{ name | map(attribute='x') | list }}",
        "{{ count | plural(**name) }}",
        "{{ name is defined }}",
        "{{ '" + "x" * LONGEST_PART + "' }}",
        "{{ " + "(" * 1_500 + "name" + ")" * 1_500 + " }}",
        "{% if name %}" * 200 + "{% endif %}" * 200,
        "{% if name %}" * 5 + "x" + "{% endif %}" * 5,
        "{{ name }}" * 399,
        "{{ merchant }}" * (LONGEST_OUTPUT // 60 + 1),
        "{{ " + "9" * 3_900 + " }}{{ 'x' > 1 }}",
    ],
)
def test_a_text_can_do_nothing_else(source: str) -> None:
    broken(source)


def test_a_value_that_is_not_always_known_may_not_be_shown_without_asking() -> None:
    strict = Sandbox("en", strict=True)
    error = broken("Hello\n{{ name }}\n{{ card }}", strict)
    assert (error.line, error.variable) == (3, "card")
    assert "without asking for it first" in error.because
    assert strict.write("x", "{% if card %}{{ card }}{% endif %}.", VALUES) == "."
    assert ENGLISH.write("x", "[{{ card }}]", VALUES) == "[]"  # at a customer's, nothing is better than no message


def test_a_text_cannot_change_what_the_next_one_sees() -> None:
    before = dict(VALUES)
    ENGLISH.write("x", "{{ name }}", VALUES)
    assert before == VALUES
    assert not ENGLISH.globals


@given(st.text(alphabet=st.sampled_from("{}%|()'\"= \nabnif<>&{{}}%%name count"), max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_text_is_written_or_refused(source: str) -> None:
    with suppress(TemplateBroken):
        assert len(ENGLISH.write("x", source, VALUES)) <= LONGEST_OUTPUT


@pytest.mark.parametrize(
    ("number", "locale", "written"),
    [(1, "fr", "1 jour"), (0, "fr", "0 jour"), (2, "fr", "2 jours"), (1_234, "de", "1.234 jours")],
)  # fmt: skip
def test_plurals_follow_the_language(number: int, locale: str, written: str) -> None:
    assert plural(number, locale, one="{n} jour", other="{n} jours") == written


def test_a_language_with_more_forms_wants_them_all() -> None:
    with pytest.raises(BadForms, match="few, many"):
        plural(3, "pl", one="{n} dzień", other="{n} dnia")


@pytest.mark.parametrize(("locale", "written"), [("en", "April 2026"), ("es", "abril de 2026"), ("ja", "2026年4月")])
def test_a_month_is_written_out(locale: str, written: str) -> None:
    assert month("2026-04", locale) == written


@pytest.mark.parametrize(("text", "kept"), [("Ada", "Ada"), ("נור", "\u2068נור\u2069"), ("山田", "山田")])
def test_only_names_from_right_to_left_are_kept_apart(text: str, kept: str) -> None:
    assert isolated(text) == kept
