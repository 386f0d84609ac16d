"""The check before a text is in force: it finds everything, names it, and is stopped when it would run away (S-26)."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from worker.templates import check
from worker.templates.check import MOST_MISTAKES, guarded, mistakes, place_in


def test_every_mistake_of_a_text_is_named_at_once() -> None:
    found = mistakes({"de": {"reminder": {"lead": "Guten Tag\n{{ amuont }}", "title": "{{ name }}", "preview": "{{"}}})
    assert sorted(line.partition(" (sample: ")[0] for line in found) == [
        "de/reminder/lead:2: amuont: there is no such value in this message",
        "de/reminder/preview:1: unexpected 'end of template'",
        "de/reminder/title:1: name: A text shows a value that is not always known, without asking for it first.",
    ]


@pytest.mark.parametrize(
    ("edits", "said"),
    [
        ({"it": {"words": {"card": "Carta"}}}, "it: there are no messages in this language"),
        ({"de": {"remainder": {"lead": "x"}}}, "de/remainder: there is no message"),
        ({"de": {"reminder": {"led": "x"}}}, "de/reminder: led: is not a part of it"),
        ({"de": {"reminder": {"lead": ""}}}, "de/reminder: lead: must be a text that is not empty"),
        ({"de": {"reminder": {"lead": "\n\nEs ist gestohlen"}}}, "de/reminder/lead:3: 'gestohlen' is never said"),
        ({"fr": {"ended": {"lead": '{% if host == "1" %}fraude{% endif %}'}}}, "fr/ended/lead:1: 'fraud' is"),
        ({"en": {"ended": {"lead": "Reason: do_it_now"}}}, "'do_it_now' reads like a code"),
        ({"en": {"ended": {"subject": "x" * 201}}}, "en/ended/subject: 1 to 200 characters wanted"),
        ({"en": {"words": {"greeting": "Hi {{ days_left }}"}}}, "en/words/greeting:1: days_left: there is no"),
    ],
)  # fmt: skip
def test_a_text_that_may_not_be_sent_is_refused(edits: check.Edits, said: str) -> None:
    assert any(line.startswith(said) or said in line for line in mistakes(edits)), mistakes(edits)


def test_the_check_in_a_child_finds_the_same() -> None:
    edits = {"de": {"reminder": {"lead": "{{ nobody }}"}}}
    assert guarded(edits) == mistakes(edits)


def test_a_text_that_is_too_long_is_not_even_read() -> None:
    assert "longer than" in guarded({"de": {"reminder": {"lead": "x" * check.MOST_INPUT}}})[0]


@pytest.mark.parametrize(
    "source", ["while True: pass", "'x' * 10**10", "open('leak', 'w').write('x')", "print('hello')"]
)
def test_a_check_that_runs_away_is_stopped(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child does this in the place of the check, under the limits of the check."""
    real = subprocess.run

    def instead(command: list[str], **options: Any) -> Any:
        limits = "from worker.templates import check; import resource as r;"
        limits += " check.mistakes = lambda edits: exec(" + repr(source) + ");"
        limits += " check.CPU_SECONDS = 2; check._main()"
        return real([sys.executable, "-c", limits], **options)

    monkeypatch.setattr(subprocess, "run", instead)
    said = guarded({})
    assert said == ["the check did not come to an end within its limits of time and memory"]


def test_the_child_knows_none_of_our_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPRIEVE_STRIPE_API_KEY", "rk_live_secret")
    seen: dict[str, Any] = {}

    def look(command: list[str], **options: Any) -> Any:
        seen.update(options)
        return subprocess.CompletedProcess(command, 0, json.dumps([]), "")

    monkeypatch.setattr(subprocess, "run", look)
    assert guarded({}) == []
    assert set(seen["env"]) == {"PATH", "PYTHONPATH", "PYTHONUTF8"}


def test_a_long_list_of_mistakes_is_cut() -> None:
    edits = {one: {"words": {"reply": "{{ a }}", "secure": "{{ b }}"}} for one in ("de", "en", "es", "fr", "ja", "pt")}
    assert 6 <= len(mistakes(edits)) <= MOST_MISTAKES


def test_a_mistake_is_told_with_the_line_of_the_file() -> None:
    source = 'name = "reminder"\nlanguage = "de"\n\n[parts]\ntitle = "a"\nlead = """\nb\n{{ c }}\n"""\n'
    assert place_in(source, "de/reminder/lead:2: c: x").startswith("line 8: ")
    assert place_in(source, "de/reminder/title:1: c: x").startswith("line 5: ")
    assert place_in(source, "de/reminder: x") == "de/reminder: x"
