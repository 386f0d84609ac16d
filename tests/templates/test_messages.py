"""What a customer reads: for every reason, with hostile data, and all the way to the reader (T96, S-27)."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from itertools import product
from typing import Any

import pytest

from billing.declines import DeclineClass, Tell
from billing.events.snapshots import Card
from billing.money import Amount
from billing.notices.compose import Person, message_id
from billing.notices.reasons import Reason
from billing.notices.sequence import Step
from tests.billing.test_notices_compose import ADA, FAILED, LINK, NOW, notice
from tests.billing.test_notices_sequence import RECOVERED
from tests.channels.conftest import SENDER
from tests.channels.mail_servers import Inbox, part, real_server
from worker.channels import Outcome
from worker.channels.email import EmailChannel, SmtpServer
from worker.rendering import Rendered, Renderer, TemplateBroken, day, message_of, money
from worker.templates.brand import Brand, contrast
from worker.templates.samples import in_language, sample, samples

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
    whys = {
        RENDERER.render(one.notice).text.split("\n")[2] for one in samples() if one.usual and one.step == "last_day"
    }
    assert len(whys) == len(Reason)


@pytest.mark.parametrize(("step", "case"), [(Step.PAYMENT_FAILED, FAILED), (Step.RECOVERED, RECOVERED)])
def test_the_text_part_has_the_sentences_of_the_html(step: Step, case: Any) -> None:
    rendered = RENDERER.render(notice(case, step, next_try=NOW + timedelta(days=4)))
    html = Text(rendered.html).text
    for line in rendered.text.splitlines():
        if line.endswith((".", ":")):
            assert " ".join(line.removesuffix(":").split()) in html


def test_a_message_with_little_known_is_still_whole() -> None:
    little = notice(replace(FAILED, number=None, brand=None), person=Person("ada@example.com"))
    rendered = RENDERER.render(little)
    assert rendered.text.startswith("We tried to collect your payment")
    for label in ("Invoice", "Card", "Next attempt", "Hello", "None"):
        assert label not in everything(rendered)
    thanks = RENDERER.render(notice(replace(RECOVERED, amount=Amount(0, "usd")), Step.RECOVERED, link=None))
    assert "0.00" not in everything(thanks)
    assert Text(thanks.html).links == []


def test_the_next_try_is_a_date_of_the_customers_language() -> None:
    next_try = NOW + timedelta(days=4)
    british = RENDERER.render(notice(person=replace(ADA, locales=("en-GB",)), next_try=next_try))
    assert "7 March 2026" in british.text
    assert "March 7, 2026" in RENDERER.render(notice(next_try=next_try)).text


@pytest.mark.parametrize("locales", [(), ("xx",), ("../../etc",), ("ko", "it"), ("en_US\r\n",), ("",), ("zh-Hant-TW",)])
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
    assert "max-width: 479px" in html
    assert not {"script", "img", "iframe", "form", "link", "svg", "object"} & set(tags)
    assert set(re.findall(r"https?://[^\"'\s<]+", html)) == {LINK, "http://www.w3.org/1999/xhtml"}
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
    assert day("2026-03-05", "de") == "5.\u00a0März 2026"


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


@pytest.mark.parametrize("value", [None, 1.5, True, ["x"], {"a": 1}, NOW, Amount(1, "usd"), b"x"])
def test_nothing_but_text_and_whole_numbers_is_let_in(value: Any) -> None:
    what = replace(notice(), context={**notice().context, "merchant": value})
    with pytest.raises(TemplateBroken) as found:
        RENDERER.render(what)
    assert found.value.variable == "merchant"


def test_the_same_notice_gives_the_same_words_and_hash() -> None:
    assert RENDERER.render(notice()).hash == Renderer().render(notice()).hash
    assert RENDERER.render(notice()).hash != RENDERER.render(notice(merchant="Southwind")).hash


# ---------------------------------------------------------------- the merchant's looks


def test_a_logo_stands_for_the_name_and_the_address_at_the_foot() -> None:
    brand = Brand("#ffd400", "https://merchant.example/logo.png", "1 Harbour Street & Co", "help@merchant.example")
    rendered = Renderer(brand=brand).render(notice())
    page = Text(rendered.html)
    [logo] = [attributes for tag, attributes in page.tags if tag == "img"]
    assert (logo["src"], logo["alt"]) == ("https://merchant.example/logo.png", "Northwind")
    for text in (rendered.text, page.text):
        assert "1 Harbour Street & Co" in text
        assert "Write to help@merchant.example." in text
    assert 'bgcolor="#ffd400"' in rendered.html
    assert "color:#0b0d10" in rendered.html  # white on yellow could not be read


@pytest.mark.parametrize("colour", ["#1f5eff", "#000000", "#ffffff", "#ffd400", "#d0021b", "#767676", "#00a86b"])
def test_the_button_can_be_read_on_any_colour(colour: str) -> None:
    assert contrast(Brand(colour).on_colour, colour) >= 4.5


def test_names_that_run_from_right_to_left_do_not_turn_the_sentence() -> None:
    hebrew = notice(merchant="נור", person=Person("ada@example.com", "شركة"))
    rendered = RENDERER.render(hebrew)
    assert "to \u2068נור\u2069 did" in rendered.subject
    assert rendered.text.startswith("Hello \u2068شركة\u2069,")


# ---------------------------------------------------------------- languages


@pytest.mark.parametrize(
    ("locales", "language", "written"),
    [
        (("de-AT",), "de", "€\u00a049,00"),
        (("de",), "de", "49,00\u00a0€"),
        (("fr-CA", "en"), "fr", "49,00\u00a0€"),
        (("pt-PT",), "pt", "49,00\u00a0€"),
        (("pt",), "pt", "€\u00a049,00"),
        (("ja",), "ja", "€49.00"),
        (("ko", "es-MX"), "es", "EUR\u00a049.00"),
    ],
)
def test_words_and_figures_are_those_of_the_first_language_that_we_know(
    locales: tuple[str, ...], language: str, written: str
) -> None:
    euro = notice(replace(FAILED, amount=Amount(4_900, "eur")), person=replace(ADA, locales=locales, country=None))
    rendered = RENDERER.render(euro)
    assert rendered.locale == language
    assert written in rendered.text


@pytest.mark.parametrize(
    ("language", "one", "many"),
    [
        ("en", "1 day left", "28 days left"),
        ("de", "Noch 1 Tag:", "Noch 28 Tage:"),
        ("fr", "Encore 1 jour", "Encore 28 jours"),
        ("es", "Queda 1 día", "Quedan 28 días"),
        ("pt", "Falta 1 dia", "Faltam 28 dias"),
        ("ja", "あと1日", "あと28日"),
    ],
)
def test_days_are_counted_as_the_language_counts(language: str, one: str, many: str) -> None:
    left = {
        s.notice.context["days_left"]: RENDERER.render(in_language(s.notice, language)).subject
        for s in samples()
        if (s.step, s.reason) == ("before_deadline", "funds")
    }
    assert one in left[1]
    assert many in left[28]


def test_every_message_can_be_looked_at_by_its_name() -> None:
    for step in Step:
        found = sample(step)
        assert found is not None
        assert found.usual
    assert sample("reminder.nonsense") is None
    assert sample("words") is None
