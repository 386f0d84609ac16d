"""A message as an SMS: three parts at most in every language, the link whole, and never a word too many."""

from __future__ import annotations

from dataclasses import replace

import pytest

from billing.notices.compose import Notice
from config import sms
from config.messages import languages
from worker.rendering import Renderer
from worker.templates.samples import Sample, in_language, samples
from worker.templates.short import MOST_PARTS, TooLong, message, parts, short

LINK = "https://billing.northwind-analytics.example/pay/" + "x" * 43


def written(sample: Sample, language: str, link: str = LINK) -> tuple[Notice, str]:
    notice = in_language(replace(sample.notice, context={**sample.notice.context, "url": link}), language)
    return notice, short(notice, Renderer().render(notice), answers=True)


@pytest.mark.parametrize("language", languages())
def test_every_message_fits_with_its_link_and_the_way_out(language: str) -> None:
    stop = sms.languages()[language]["stop"]
    for sample in samples():
        _, text = written(sample, language)
        assert parts(text) <= MOST_PARTS, (sample.name, text)
        lines = text.split("\n")
        assert lines[1] == LINK
        assert "STOP" in lines[2]
        assert len(lines) == 3
        assert len(lines[2]) == len(stop)


def test_the_words_are_those_of_the_subject_and_the_merchant_is_named() -> None:
    usual = next(sample for sample in samples() if sample.usual)
    _, text = written(usual, "en")
    assert text == (f"Your payment of $49.00 to Northwind did not go through\n{LINK}\nNo more texts: reply STOP"), text
    notice = usual.notice
    other = replace(Renderer().render(notice), subject="About your plan")
    assert short(notice, other, answers=False).startswith("Northwind: About your plan\nhttps://")


def test_a_stop_is_only_promised_where_it_is_heard() -> None:
    notice = samples()[0].notice
    assert "STOP" not in short(notice, Renderer().render(notice), answers=False)


def test_no_link_is_cut_off_and_one_that_does_not_fit_is_said() -> None:
    sample = samples()[0]
    _, text = written(sample, "ja", "https://pay.example/" + "x" * 130)
    assert "https://pay.example/" + "x" * 130 + "\n" in text
    assert parts(text) <= MOST_PARTS
    with pytest.raises(TooLong):
        written(sample, "en", "https://pay.example/" + "x" * 450)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 459, 3),
        ("a" * 460, 4),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("ã" * 70, 1),
        ("ã" * 71, 2),
        ("ã" * 201, 3),
        ("😀" * 35, 1),
        ("😀" * 36, 2),
    ],
)
def test_parts_are_counted_as_telephones_do(text: str, number: int) -> None:
    assert parts(text) == number


def test_letters_that_would_double_the_price_give_way_only_when_they_must() -> None:
    sample = next(each for each in samples() if each.usual)
    _, whole = written(sample, "pt", "https://pay.example/pay/" + "x" * 43)
    assert "não" in whole
    _, plain = written(sample, "pt", "https://pay.example/pay/" + "x" * 130)
    assert "nao foi" in plain


def test_the_message_goes_to_the_number_and_holds_no_html() -> None:
    notice = samples()[0].notice
    made = message(notice, Renderer().render(notice), "+4915112345678", "<1@acme.example>", answers=True)
    assert (made.to, made.to_name, made.html) == ("+4915112345678", None, "")
    assert dict(made.headers)["X-Reprieve-Step"] == notice.step
