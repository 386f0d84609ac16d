"""Where the queue shows: the commands, `explain`, the digest, the doctor."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from tests.queue.conftest import RICH, Story, failing
from tests.world import DAY, SELF, START
from worker import cli, digest, explain, queue, queue_commands, token_commands
from worker.app import App
from worker.doctor import waiting
from worker.doctor.finding import Level, Patient
from worker.queue import Counts

Run = Callable[..., Result]


@pytest.fixture
def story(sqlite_url: str, tmp_path: Path) -> Iterator[Story]:
    with failing(sqlite_url, tmp_path, RICH) as made:
        yield made


@pytest.fixture
def run(story: Story) -> Run:
    """The commands on the application of the story, with the same words for mistakes as the real ones."""

    @contextmanager
    def app_of() -> Iterator[App]:
        with cli._told():
            yield story.w.app

    main = typer.Typer()
    main.add_typer(queue_commands.queue(app_of), name="queue")
    main.add_typer(token_commands.tokens(app_of), name="tokens")
    return lambda *words: CliRunner().invoke(main, list(words))


def test_a_case_is_worked_on_from_the_command_line(story: Story, run: Run) -> None:
    listed = run("queue", "list").output
    assert f"3  {story.invoice}  900.00 USD, 900.00 USD/mo  high_mrr  nobody  due 2026-02-05" in listed
    assert "1 waiting, 0 overdue, 1 with nobody.\nReasons: high_mrr 1.\n" in listed
    for words in (
        ("take", story.invoice),
        ("assign", story.invoice, "--to", "ben"),
        ("due", story.invoice, "2026-02-08"),
        ("note", story.invoice, "called"),
        ("hold", story.invoice, "--because", "dispute feared"),
        ("release", story.invoice),
        ("extend", story.invoice, "2026-03-09"),
        ("send-now", story.invoice),
        ("retry-now", story.invoice),
        ("offer", story.invoice, "SAVE20"),
        ("paid-outside", story.invoice),
        ("done", story.invoice, "--because", "settled"),
    ):
        done = run("queue", *words, "--by", "ann")
        assert (done.exit_code, done.output.startswith(f"{story.invoice}: ")) == (0, True), done.output
    shown = run("queue", "show", story.invoice).output
    for line in ("ann wrote: called", "ann: queue hold: dispute feared", "done by ann: settled", "high_mrr: 900.00"):
        assert line in shown
    assert run("queue", "list", "--json").output == '{\n  "tasks": [],\n  "after": null\n}\n'


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("queue", "take", "in_other"), "no case for an invoice in_other"),
        (("queue", "list", "--reason", "boredom"), "there is no reason 'boredom'"),
        (("queue", "list", "--due", "soon"), "due is overdue, today, or a day"),
        (("queue", "list", "--account", "acct_other"), "no account acct_other is configured"),
        (("queue", "list", "--live"), "no account is configured in this mode"),
        (("queue", "extend", "INVOICE", "2027-01-01"), "the policy allows 2026-03-15"),
        (("queue", "show", "in_other"), "no case for an invoice in_other"),
        (("tokens", "revoke", "crm"), "no token crm is in use"),
        (("tokens", "create", "crm", "--scope", "all"), "no such scope: all"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(story: Story, run: Run, words: tuple[str, ...], said: str) -> None:
    done = run(*(word.replace("INVOICE", story.invoice) for word in words))
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stderr.startswith("reprieve: ")


def test_a_token_is_shown_once(run: Run) -> None:
    made = run("tokens", "create", "crm", "--scope", "queue", "--by", "ann")
    assert made.stdout.startswith("rp_")
    listed = run("tokens", "list").output
    assert "crm  good  queue  made 2026-02-02 by ann, until 2027-02-02, never used" in listed
    assert made.stdout.strip()[3:] not in listed
    assert run("tokens", "revoke", "crm").exit_code == 0
    assert "crm  revoked" in run("tokens", "list").output


def explained(story: Story) -> Any:
    out = io.StringIO()
    explain.run(story.w.app, story.invoice, True, out)
    return json.loads(out.getvalue())[0]


def test_the_story_of_an_invoice_tells_what_people_did(story: Story) -> None:
    story.act("take")
    story.act("note", words="called")
    told = explained(story)
    people = [moment["what"] for moment in told["moments"] if moment["who"] == "people"]
    assert people == ["a task was opened, priority 3", "ann wrote: called", "ann: take"]
    assert told["otherwise"][0].startswith("A person is needed (high mrr): ann has it, due 2026-02-05")
    story.act("done")
    assert not any("person is needed" in sentence for sentence in explained(story)["otherwise"])


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        (Counts(0, 0, 0, {}), ""),
        (Counts(1, 0, 0, {}), "1 case needs a person."),
        (Counts(1, 1, 0, {}), "1 case needs a person, 1 overdue."),
        (Counts(1_200, 3, 0, {}), "1,200 cases need a person, 3 overdue."),
    ],
)
def test_the_queue_in_one_sentence(counts: Counts, said: str) -> None:
    assert queue.said(counts) == said


def test_the_digest_and_the_doctor_tell_of_cases_that_wait(story: Story) -> None:
    app = story.w.app
    patient = Patient(app.settings, app.db, app.stripe, app.now)
    assert [answer[0] for answer in waiting.people(patient)] == [Level.OK]
    story.w.keep_books()
    assert "1 case needs a person." in digest.render(app, SELF, digest.week_of(app)).text
    story.w.pass_time(START + 36 * DAY, step=DAY)
    ((level, said, _),) = waiting.people(patient)
    assert (level, said) == (Level.WARN, "self (test): 1 case needs a person, 1 overdue.")
    story.act("done")
    assert "needs a person" not in digest.render(app, SELF, digest.week_of(app)).text
