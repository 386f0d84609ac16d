"""What a customer reads, for every reason; and templates that are broken or mean harm (T95, T96, S-25, S-27)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from billing.declines import DeclineClass, Tell
from billing.events.snapshots import Card
from billing.money import Amount
from billing.notices.compose import Notice, Person, message_id
from billing.notices.sequence import Step
from tests.billing.test_notices_compose import ADA, FAILED, LINK, NOW, notice
from tests.billing.test_notices_sequence import RECOVERED
from tests.channels.conftest import SENDER
from tests.channels.mail_servers import Inbox, part, real_server
from worker.channels import Outcome
from worker.channels.email import EmailChannel, SmtpServer
from worker.rendering import TEMPLATES, Rendered, Renderer, TemplateBroken, day, message_of, money

FORBIDDEN = re.compile(r"lost|stolen|fraud|blacklist|suspicious|pick.?up|restricted|risk|dead|do_not|security", re.I)
VISA = Card(brand="visa", last4="4242")
RENDERER = Renderer()


class Text(HTMLParser):
    """The words of a page as a person reads them, its links, and its tags with their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.links: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._silent = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("style", "title"):
            self._silent = tag
        if tag == "a":
            self.links.append(dict(attrs)["href"] or "")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._silent:
            self._silent = ""

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.words += data.split()

    @property
    def text(self) -> str:
        return " ".join(self.words)


def everything(rendered: Rendered) -> str:
    return "\n".join((rendered.subject, rendered.text, Text(rendered.html).text))


# ---------------------------------------------------------------- what is said


@pytest.mark.parametrize(("cls", "tell"), list(product(DeclineClass, [None, *Tell])))
def test_every_reason_gives_a_message_that_says_nothing_forbidden(cls: DeclineClass, tell: Tell | None) -> None:
    case = replace(FAILED, decline_class=cls, decline_because="the bank said stolen_card (fraudulent)")
    rendered = RENDERER.render(notice(case, tell=tell, card=VISA, next_try=NOW + timedelta(days=4)))
    page = Text(rendered.html)
    assert not FORBIDDEN.search(everything(rendered))
    for text in (rendered.text, page.text):
        for fact in ("Ada Lovelace", "$49.00", "A1B2-0007", "Visa ending in 4242", "Northwind", "invoice.stripe.com"):
            assert fact in text
    assert page.links == [LINK]
    assert rendered.text.count(LINK) == 1
    assert "$49.00" in rendered.subject


def test_each_reason_has_its_own_words() -> None:
    whys = {RENDERER.render(notice(tell=tell)).text.split("\n")[2] for tell in Tell}
    assert len(whys) == len(Tell)


@pytest.mark.parametrize(("step", "case"), [(Step.PAYMENT_FAILED, FAILED), (Step.RECOVERED, RECOVERED)])
def test_the_text_part_has_the_sentences_of_the_html(step: Step, case: Any) -> None:
    rendered = RENDERER.render(notice(case, step, next_try=NOW + timedelta(days=4)))
    html = Text(rendered.html).text
    for line in rendered.text.splitlines():
        if line.endswith((".", ":")) and "secure page" not in line:
            assert " ".join(line.split()) in html


def test_a_message_with_little_known_is_still_whole() -> None:
    little = notice(replace(FAILED, number=None, brand=None), person=Person("ada@example.com"))
    rendered = RENDERER.render(little)
    assert rendered.text.startswith("We tried to collect your payment")
    for label in ("Invoice", "Card", "Next try", "Hello", "None"):
        assert label not in everything(rendered)
    thanks = RENDERER.render(notice(replace(RECOVERED, amount=Amount(0, "usd")), Step.RECOVERED, link=None))
    assert "0.00" not in everything(thanks)
    assert Text(thanks.html).links == []


def test_the_next_try_is_a_date_of_the_customers_language() -> None:
    next_try = NOW + timedelta(days=4)
    british = RENDERER.render(notice(person=replace(ADA, locales=("en-GB",)), next_try=next_try))
    assert "7 March 2026" in british.text
    assert "March 7, 2026" in RENDERER.render(notice(next_try=next_try)).text


@pytest.mark.parametrize("locales", [(), ("xx",), ("../../etc",), ("de", "fr"), ("en_US\r\n",), ("",), ("zh-Hant-TW",)])
def test_a_language_without_templates_is_answered_in_english(locales: tuple[str, ...]) -> None:
    rendered = RENDERER.render(notice(person=replace(ADA, locales=locales), next_try=NOW + timedelta(days=4)))
    assert rendered.locale == "en"
    assert "March 7, 2026" in rendered.text


def test_the_html_is_made_for_mail_programs() -> None:
    html = RENDERER.render(notice()).html
    page = Text(html)
    tags = [tag for tag, _ in page.tags]
    assert ("html", "en") in [(tag, attributes.get("lang")) for tag, attributes in page.tags]
    assert "prefers-color-scheme: dark" in html
    assert "max-width: 480px" in html
    assert not {"script", "img", "iframe", "form", "link", "svg", "object"} & set(tags)
    assert [attributes["style"] for tag, attributes in page.tags if tag == "a" and attributes["style"]]
    roles = [attributes.get("role") for tag, attributes in page.tags if tag == "table"]
    assert roles.count(None) == 1  # the table of facts is one, the others only hold the layout
    assert len(html) < 100_000  # Gmail cuts at 102 kB


# ---------------------------------------------------------------- money


@pytest.mark.parametrize(
    ("minor", "currency", "locale", "written"),
    [
        (4900, "usd", "en", "$49.00"),
        (5, "usd", "en", "$0.05"),
        (-4900, "usd", "en", "-$49.00"),
        (4900, "usd", "en_GB", "US$49.00"),
        (123456789, "eur", "de", "1.234.567,89\u00a0€"),
        (4900, "jpy", "en", "¥4,900"),
        (4900, "krw", "ja", "₩4,900"),
        (4900, "isk", "en", "ISK\u00a049.00"),  # CLDR would write ISK 49 or ISK 4,900
        (4900, "rsd", "en", "RSD\u00a049.00"),
        (4900, "kwd", "en", "KWD\u00a04.900"),
        (10**15, "usd", "en", "$10,000,000,000,000.00"),
        (4900, "xxz", "en", "XXZ\u00a049.00"),
    ],
)
def test_money_has_stripes_decimal_places_in_the_locales_writing(
    minor: int, currency: str, locale: str, written: str
) -> None:
    assert money(minor, currency, locale) == written


def test_a_date_is_written_out() -> None:
    assert day("2026-03-05", "en") == "March 5, 2026"
    assert day("2026-03-05", "de") == "5. März 2026"


# ---------------------------------------------------------------- hostile data, all the way to the reader


@pytest.mark.parametrize(
    "value",
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "{{ 7*7 }}{% raw %}",
        "Ada\r\nBcc: thief@evil.example",
        "\u202eevil",
        "x" * 10_000,
        "👩‍👩‍👧",
        "&lt;b&gt; &amp; co",
    ],
)
def test_hostile_data_arrives_as_plain_words(value: str) -> None:
    hostile = notice(replace(FAILED, number=value), merchant=value, person=Person("ada@example.com", value))
    rendered = RENDERER.render(hostile)
    plain = RENDERER.render(notice(person=Person("ada@example.com")))
    assert {tag for tag, _ in Text(rendered.html).tags} == {tag for tag, _ in Text(plain.html).tags}
    assert "49}" not in everything(rendered)
    inbox = Inbox()
    with real_server(inbox) as port:
        channel = EmailChannel(SmtpServer("127.0.0.1", port, "none"), replace(SENDER, name=value), lambda: NOW)
        handed = channel.send(message_of(hostile, rendered, message_id("nt1:x", "merchant.example")))
    assert handed.outcome is Outcome.ACCEPTED
    [mail] = inbox.mails
    assert "bcc" not in mail
    assert inbox.envelopes[0].rcpt_tos == ["ada@example.com"]
    assert mail["x-reprieve-step"] == "payment_failed"
    assert part(mail, "plain").splitlines() == rendered.text.splitlines()
    assert part(mail, "html").splitlines() == rendered.html.splitlines()
    if len(value) < 60 and value.isprintable():
        assert value in Text(part(mail, "html")).text


# ---------------------------------------------------------------- broken and harmful templates


@pytest.fixture
def with_template(tmp_path: Path) -> Callable[[str], Renderer]:
    """A renderer whose text part is the given source."""

    def make(source: str) -> Renderer:
        (tmp_path / "en").mkdir(exist_ok=True)
        (tmp_path / "layout.html.jinja").write_text((TEMPLATES / "layout.html.jinja").read_text(encoding="utf-8"))
        for template in (TEMPLATES / "en").iterdir():
            (tmp_path / "en" / template.name).write_text(template.read_text(encoding="utf-8"))
        (tmp_path / "en" / "payment_failed.txt.jinja").write_text(source)
        return Renderer(tmp_path)

    return make


def broken(renderer: Renderer, what: Notice | None = None) -> TemplateBroken:
    with pytest.raises(TemplateBroken) as found:
        renderer.render(what or notice())
    return found.value


def test_a_misspelt_variable_is_named_with_its_file_and_line(with_template: Callable[[str], Renderer]) -> None:
    error = broken(with_template("Hello\n\n{{ amuont }}\n"))
    assert (error.template, error.line, error.variable) == ("en/payment_failed.txt.jinja", 3, "amuont")
    assert str(error) == "en/payment_failed.txt.jinja:3: amuont: 'amuont' is undefined"


@pytest.mark.parametrize(
    ("source", "line", "because"),
    [
        ("a\n{% if %}", 2, "Expected an expression"),
        ("a\n\n{% if name %}", 3, "Unexpected end of template"),
        ("{{ amount | money }}", 1, "missing 1 required positional argument"),
        ("{{ name | date }}", 1, "Invalid isoformat string"),
        ("{{ name | upper }}", 1, "No filter named 'upper'"),
        ('{% include "en/none.jinja" %}', None, "there is no template en/none.jinja"),
        ('{% include "en/payment_failed.subject.jinja" %}', 1, "never one that is not escaped"),
        ("{% include url %}", 1, "only a named part may be taken in"),
    ],
)
def test_a_mistake_is_named_with_its_line(
    with_template: Callable[[str], Renderer], source: str, line: int | None, because: str
) -> None:
    error = broken(with_template(source))
    assert (error.template, error.line) == ("en/payment_failed.txt.jinja", line)
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
def test_a_template_can_show_and_compare_and_nothing_else(
    with_template: Callable[[str], Renderer], source: str
) -> None:
    broken(with_template(source))


def test_a_template_that_takes_itself_in_ends(with_template: Callable[[str], Renderer]) -> None:
    renderer = with_template('{% include "en/why.jinja" %}')
    why = Path(renderer._folder, "en", "why.jinja")
    why.write_text('{% include "en/why.jinja" %}')
    broken(renderer)


def test_a_message_that_grows_beyond_its_limit_is_cut_off(with_template: Callable[[str], Renderer]) -> None:
    renderer = with_template("{{ merchant }}" * 4_000)
    big = replace(notice(), context={**notice().context, "merchant": "x" * 1_000})
    assert "longer than" in broken(renderer, big).because


@pytest.mark.parametrize("value", [None, 1.5, True, ["x"], {"a": 1}, NOW, Amount(1, "usd"), b"x"])
def test_nothing_but_text_and_whole_numbers_is_let_in(value: Any) -> None:
    what = replace(notice(), context={**notice().context, "merchant": value})
    assert broken(RENDERER, what).variable == "merchant"


def test_a_broken_template_stops_no_other_message(with_template: Callable[[str], Renderer]) -> None:
    renderer = with_template("{{ nothing }}")
    broken(renderer)
    assert renderer.render(notice(RECOVERED, Step.RECOVERED)).subject.startswith("Thank you")


def test_the_same_notice_gives_the_same_words_and_hash() -> None:
    assert RENDERER.render(notice()).hash == Renderer().render(notice()).hash
    assert RENDERER.render(notice()).hash != RENDERER.render(notice(merchant="Southwind")).hash
