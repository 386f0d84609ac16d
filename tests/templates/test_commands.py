"""`reprieve templates ...`: an operator looks, writes, tries, and puts in force; mistakes are named with their line."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from email import message_from_bytes, policy
from pathlib import Path

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from worker import cli, template_commands
from worker.app import App
from worker.templates import drafts
from worker.templates.drafts import Draft
from worker.templates.versions import BadTemplate

Run = Callable[..., Result]

DRAFT = """
name = "reminder.funds"
language = "de"

[parts]
lead = \"\"\"
Eine Zahlung ist noch offen{% if card %} ({{ card }}){% endif %}.
\"\"\"
"""


@pytest.fixture
def run(sqlite_app: App) -> Run:
    """The commands on an application of ours, with the same words for mistakes as the real ones."""

    @contextmanager
    def app_of() -> Iterator[App]:
        with cli._told():
            yield sqlite_app

    main = typer.Typer()
    main.add_typer(template_commands.templates(app_of), name="templates")

    def command(*words: str) -> Result:
        return CliRunner().invoke(main, ["templates", *words])

    return command


def test_the_way_of_a_text_from_a_file_to_the_customer_and_back(
    run: Run, file: Callable[[str], Path], tmp_path: Path
) -> None:
    path, out = file(DRAFT), tmp_path / "preview.html"
    assert "reminder.overdue: as shipped" in run("list").output
    assert run("check", str(path)).output == "It can be written for every sample.\n"
    assert "version" not in run("list").output

    tried = run("preview", "reminder.funds", "--language", "de", "--draft", str(path), "--out", str(out))
    assert "Eine Zahlung ist noch offen (Visa mit Endziffern 4242)." in tried.output
    assert "Acme &amp; Söhne" in out.read_text(encoding="utf-8")

    kept = run("edit", str(path), "--by", "ann")
    assert "reprieve templates activate reminder.funds --language de --version 1" in kept.output
    assert "noch offen (Visa" not in run("preview", "reminder.funds", "--language", "de", "--out", str(out)).output
    assert run("activate", "reminder.funds", "--language", "de", "--version", "1").exit_code == 0
    assert "noch offen (Visa" in run("preview", "reminder.funds", "--language", "de", "--out", str(out)).output
    assert "de version 1 by ann" in run("list").output
    assert "in force" in run("list").output

    assert run("activate", "reminder.funds", "--language", "de", "--version", "0").exit_code == 0
    assert "noch offen (Visa" not in run("preview", "reminder.funds", "--language", "de", "--out", str(out)).output
    again = run("preview", "reminder.funds", "--language", "de", "--version", "1", "--out", str(out)).output
    assert "noch offen (Visa" in again


@pytest.mark.parametrize("name", ["words", "reason.funds", "reminder", "reminder.overdue", "reminder.funds", "ended"])
def test_what_is_shown_can_be_edited_and_kept(run: Run, file: Callable[[str], Path], name: str) -> None:
    shown = run("show", name, "--language", "fr").output
    assert shown.startswith(f'name = "{name}"\nlanguage = "fr"\n\n[parts]\n')
    path = file(shown)
    assert drafts.written(drafts.read(path)) == shown
    assert run("check", str(path)).exit_code == 0


def test_a_version_is_shown_as_it_was_written(run: Run, file: Callable[[str], Path]) -> None:
    run("edit", str(file(DRAFT)))
    shown = run("show", "reminder.funds", "--language", "de", "--version", "1").output
    assert "Eine Zahlung ist noch offen{% if card %} ({{ card }}){% endif %}.\n" in shown


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (DRAFT.replace("({{ card }})", "({{ crad }})"), "line 7: de/reminder.funds/lead:1: crad: there"),
        (DRAFT.replace("{% endif %}", ""), "line 7: de/reminder.funds/lead:1: Unexpected end of template"),
        (DRAFT.replace("offen", "gestohlen"), "line 7: de/reminder.funds/lead:1: 'gestohlen' is never said"),
        (DRAFT.replace('"de"', '"it"'), "there are no messages in 'it'"),
        (DRAFT.replace("reminder.funds", "remainder"), "named 'remainder'"),
        (DRAFT.replace("lead =", "leed ="), "leed: is not a part of it"),
        (DRAFT.replace("[parts]", "[part]"), "name, language and a table [parts] are wanted"),
        ("name = ", "draft.toml: Invalid value"),
        ("x" * (drafts.LONGEST_FILE + 1), "longer than 65536 bytes"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["check", "edit"])
def test_a_mistake_in_a_file_is_named_and_nothing_is_kept(
    run: Run, file: Callable[[str], Path], command: str, text: str, said: str
) -> None:
    result = run(command, str(file(text)))
    assert result.exit_code == 2
    assert said in result.output
    assert "version" not in run("list").output


def test_a_test_message_goes_the_way_of_a_real_one(run: Run, tmp_path: Path) -> None:
    for _ in range(2):
        result = run("send-test", "me@acme.example", "--name", "card_expiring", "--language", "ja")
        assert result.output == "accepted: written to the mailbox folder\n"
    mails = sorted((tmp_path / "mailbox").glob("*.eml"))
    assert len(mails) == 2  # each is a message of its own
    mail = message_from_bytes(mails[0].read_bytes(), policy=policy.SMTP)
    assert str(mail["to"]) == "Ada Lovelace <me@acme.example>"
    assert str(mail["subject"]).startswith("[Test] 【Acme & Söhne】")
    assert mail["x-reprieve-step"] == "card_expiring"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["send-test", "me@acme"], "the domain of the address has no dot"),
        (["send-test", "me@acme.example", "--name", "words"], "words is not a message by itself"),
        (["send-test", "me@acme.example", "--language", "it"], "no messages in 'it'"),
        (["preview", "reminder", "--version", "3", "--out", "x.html"], "no version 3 of reminder in en"),
        (["show", "reminder", "--version", "3"], "no version 3 of reminder in en"),
        (["activate", "reminder", "--version", "3"], "no version 3 of reminder in en"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(run: Run, words: list[str], said: str) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert said in result.output


def test_without_a_way_to_send_a_test_is_refused(sqlite_app: App) -> None:
    from worker.templates import desk

    handed = desk.send_test(replace(sqlite_app, channels={}), "me@acme.example", "ended", "en", None, None)
    assert handed.outcome == "rejected"
    assert "REPRIEVE_SMTP_HOST" in handed.because


@given(st.text(alphabet=st.sampled_from('ab\n\\"n{} \tä日\x7f\x00'), min_size=1, max_size=30))
@settings(max_examples=300, deadline=None)
def test_any_text_survives_the_file(text: str) -> None:
    found = tomllib.loads(drafts.written(Draft("reminder", "en", {"lead": text})))
    assert found == {"name": "reminder", "language": "en", "parts": {"lead": text}}


def test_a_file_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(BadTemplate, match="No such file"):
        drafts.read(tmp_path / "none.toml")
