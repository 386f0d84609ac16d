"""The languages: every text is there in each of them, and none says what a customer may not hear."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from billing.declines import NEVER_TELL, DeclineClass, DeclineTable, Tell, classify
from billing.events.snapshots import Card, Decline
from billing.notices.compose import Ahead, Notice, Person, compose
from billing.notices.reasons import MENDS_ITSELF, SENTENCES, Reason, reason_of
from billing.notices.sequence import AFTER_THE_END, AHEAD, ASKING, Step
from config import messages, policies
from config.messages import WITH_REASON, BadCatalogue, languages, parse, shipped
from tests.billing.test_notices_compose import FAILED, LINK, NOW
from worker.rendering import Rendered, Renderer
from worker.templates.check import mistakes
from worker.templates.figures import forms_of
from worker.templates.samples import samples
from worker.templates.taboo import CODE, WORDS, taboo
from worker.templates.writer import VALUES

SHIPPED = ("de", "en", "es", "fr", "ja", "pt")
RENDERER = Renderer()
ENGLISH = (messages.HERE / "en.toml").read_text(encoding="utf-8")


def declines() -> DeclineTable:
    return policies.parse(policies.read("standard", None), "standard").declines


def every_code() -> Iterator[tuple[str, Decline, str | None]]:
    """Every code that the decline table knows, as Stripe would send it, with the card brand it belongs to."""
    table = declines()
    for code in table.decline_code:
        yield code, Decline(code="card_declined", decline_code=code), "visa"
    for code in table.error_code:
        yield code, Decline(code=code), "visa"
    for code in table.advice_code:
        yield code, Decline(code="card_declined", advice_code=code), "visa"
    for code in table.reason:
        yield code, Decline(code="card_declined", outcome_type="blocked", reason=code), "visa"
    for brand, rules in table.network_advice.items():
        yield from ((code, Decline(code="card_declined", network_advice_code=code), brand) for code in rules)
    for brand, rules in table.network_code.items():
        yield from ((code, Decline(code="card_declined", network_decline_code=code), brand) for code in rules)
    yield "unheard_of", Decline(code="card_declined", decline_code="unheard_of"), None


# ---------------------------------------------------------------- whole


def test_six_languages_are_shipped() -> None:
    assert languages() == SHIPPED
    assert set(WORDS) == set(SHIPPED)


@pytest.mark.parametrize("language", SHIPPED)
def test_each_language_has_exactly_the_texts_of_english(language: str) -> None:
    def keys(tongue: str) -> set[tuple[str, str]]:
        return {(name, part) for name, parts in shipped(tongue).entries.items() for part in parts}

    assert keys(language) == keys("en")


@pytest.mark.parametrize("language", [tongue for tongue in SHIPPED if tongue != "en"])
def test_nothing_was_left_in_english(language: str) -> None:
    english = shipped("en").entries
    same = {
        (name, part)
        for name, parts in shipped(language).entries.items()
        for part, text in parts.items()
        if text == english[name][part] and re.search(r"[a-z]{4}", re.sub(r"\{.*?\}+", "", text))
    }
    assert same == set()


@pytest.mark.parametrize("language", SHIPPED)
def test_a_text_shows_the_same_values_in_every_language(language: str) -> None:
    """A translator who forgets the amount or the day is noticed; merchant and host may stand elsewhere."""

    def shown(tongue: str, name: str, part: str) -> set[str]:
        return set(re.findall(r"\{\{ (\w+)", shipped(tongue).entries[name][part]))

    for name, parts in shipped("en").entries.items():
        for part in parts:
            assert shown(language, name, part) == shown("en", name, part), f"{name} {part}"


def test_every_shipped_text_can_be_written_for_every_sample() -> None:
    assert mistakes({}) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('title = "Please check your card"\n', "", "en.toml: [card_expiring] title: is missing"),
        ("[ended]\n", "[finished]\n", "en.toml: [ended]: is missing"),
        ('title = "Please check your card"', 'titel = "x"', "en.toml: [card_expiring]: titel: is not a part of it"),
        ('title = "Please check your card"', 'title = " "', "[card_expiring]: title: must be a text that is not empty"),
        ('title = "Please check your card"', "title = 7", "[card_expiring]: title: must be a text that is not empty"),
        ("[reason.funds]", "[reason.money]", "[reason.money]: there is no message, reason or set of words"),
        ("[reminder.overdue]", "[recovered.overdue]", "[recovered.overdue]: there is no message, reason or set"),
        ("[words]", "words = ", "en.toml: "),
    ],
)  # fmt: skip
def test_a_gap_or_slip_in_a_language_file_is_named(old: str, new: str, said: str) -> None:
    assert old in ENGLISH
    with pytest.raises(BadCatalogue) as found:
        parse("en", ENGLISH.replace(old, new, 1), "en.toml")
    assert said in str(found.value)


def test_a_value_is_offered_as_uncertain_exactly_when_a_sample_lacks_it() -> None:
    from worker.templates.brand import Brand
    from worker.templates.sandbox import Blank
    from worker.templates.writer import Tongue, _Writing

    for step, names in VALUES.items():
        lacking: set[str] = set()
        for brand in (Brand(), Brand(support="help@merchant.example")):
            for one in (one for one in samples() if one.step is step):
                entries = shipped("en").entries
                values = _Writing(step, entries, one.notice.context, Tongue("en", "en"), brand, False).values
                assert set(values) == {name.rstrip("?") for name in names}
                lacking |= {name for name, value in values.items() if isinstance(value, Blank)}
        assert lacking == {name.rstrip("?") for name in names if name.endswith("?")}, step


@pytest.mark.parametrize(
    ("language", "forms"),
    [("en", {"one", "other"}), ("fr", {"one", "other"}), ("ja", {"other"}), ("pl", {"one", "few", "many", "other"})],
)
def test_the_plural_forms_of_a_language_are_known(language: str, forms: set[str]) -> None:
    assert forms_of(language) == forms


def test_every_step_and_reason_has_its_sentence_and_its_place() -> None:
    assert set(SENTENCES) == set(Reason)
    assert set(Step) == ASKING | AFTER_THE_END | AHEAD | {Step.RECOVERED}
    assert set(WITH_REASON) <= ASKING
    assert {tell.value for tell in Tell} <= set(Reason)


# ---------------------------------------------------------------- never said


def messages_about(decline: Decline, brand: str | None) -> Iterator[Notice]:
    """Every message that a customer whose payment was declined like this may get."""
    verdict = classify(decline, brand, declines())
    case = replace(FAILED, decline=decline, decline_class=verdict.cls, decline_because=verdict.because, brand=brand)
    for step in sorted(ASKING):
        found = compose(
            step,
            replace(case, deadline=NOW + timedelta(hours=3)) if step is Step.LAST_DAY else case,
            Person("ada@example.com", "Ada"),
            "Northwind",
            LINK,
            NOW,
            card=Card(brand="visa", last4="4242"),
            tell=Tell(verdict.tell),
            promised_on=NOW.date(),
        )
        assert isinstance(found, Notice)
        yield found


@pytest.mark.parametrize("language", SHIPPED)
def test_no_code_gives_a_message_that_says_what_the_bank_suspects(language: str) -> None:
    written: dict[tuple[object, ...], Rendered] = {}  # many codes give the same message
    for code, decline, brand in every_code():
        for notice in messages_about(decline, brand):
            key = (notice.step, *notice.context.items())
            rendered = written.get(key) or RENDERER.render(replace(notice, locales=(language,)))
            written[key] = rendered
            for words in (rendered.subject, rendered.text.replace(LINK, "")):
                assert taboo(words, language) == "", code
                assert CODE.search(words) is None, code
                if len(code) > 2 and "_" in code:
                    assert code not in words
            page = rendered.html.replace(LINK, "")
            assert not re.search(r"stolen|fraud|lost_|pickup|blacklist|risk_level", page), code
    assert len(written) >= 5 * 8  # the messages did differ


@pytest.mark.parametrize("code", sorted(NEVER_TELL | {"pickup_card", "restricted_card"}))
def test_a_code_that_hints_at_a_crime_reads_like_any_other_no(code: str) -> None:
    def texts(decline: Decline) -> list[str]:
        return [RENDERER.render(notice).text for notice in messages_about(decline, "visa")]

    hushed = texts(Decline(code="card_declined", decline_code=code))
    assert hushed == texts(Decline(code="card_declined", decline_code="do_not_honor"))


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "your card was reported stolen"),
        ("en", "Suspected Fraud"),
        ("de", "Ihre Karte wurde als gestohlen gemeldet"),
        ("de", "Betrugsverdacht"),
        ("fr", "votre carte a été volée"),
        ("es", "su tarjeta fue robada"),
        ("pt", "seu cartão foi roubado"),
        ("ja", "カードの盗難"),
        ("ja", "fraud"),
    ],
)
def test_a_word_that_may_not_be_said_is_found(language: str, said: str) -> None:
    assert taboo(said, language) != ""


# ---------------------------------------------------------------- reasons


@pytest.mark.parametrize(
    ("decline", "reason"),
    [
        (Decline(code="card_declined", decline_code="insufficient_funds"), Reason.FUNDS),
        (Decline(code="processing_error"), Reason.TECHNICAL),
        (Decline(code="card_declined", decline_code="issuer_not_available"), Reason.TECHNICAL),
        (Decline(code="expired_card", decline_code="expired_card"), Reason.CARD_EXPIRED),
        (Decline(code="card_declined", decline_code="do_not_honor"), Reason.GENERIC),
        (Decline(code="card_declined", decline_code="stolen_card"), Reason.GENERIC),
        (Decline(code="card_declined", decline_code="nobody_knows"), Reason.UNKNOWN),
        (Decline(code="authentication_required"), Reason.AUTHENTICATE),
        (Decline(code="processing_error", decline_code="lost_card"), Reason.GENERIC),
        (None, Reason.UNKNOWN),
    ],
)
def test_each_decline_has_its_reason(decline: Decline | None, reason: Reason) -> None:
    verdict = classify(decline, "visa", declines())
    case = replace(FAILED, decline=decline, decline_class=verdict.cls)
    assert reason_of(case, Tell(verdict.tell)) is reason
    assert (reason in MENDS_ITSELF) == (reason is Reason.TECHNICAL)


def test_a_hushed_code_is_generic_even_where_an_operator_made_it_worth_a_retry() -> None:
    hushed = Decline(code="processing_error", decline_code="lost_card")
    assert reason_of(replace(FAILED, decline=hushed, decline_class=DeclineClass.TEMPORARY)) is Reason.GENERIC
    assert reason_of(replace(FAILED, decline=hushed, decline_class=DeclineClass.UNKNOWN)) is Reason.GENERIC


def test_what_lies_ahead_is_told_in_every_language() -> None:
    for language in SHIPPED:
        person = Person("ada@example.com", "Ada", (language,))
        for step in AHEAD:
            notice = compose(step, Ahead(FAILED.amount, NOW, "2026-04"), person, "Northwind", LINK, NOW)
            assert isinstance(notice, Notice)
            assert "Northwind" in RENDERER.render(notice).subject
