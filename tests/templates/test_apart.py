"""An operator's text is written by a child process: what runs away costs the child, never the message or the worker."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from billing.notices.compose import Notice
from config.messages import Entries, languages, shipped
from worker.rendering import Renderer, TemplateBroken, merged
from worker.templates import apart, writer
from worker.templates.apart import Apart
from worker.templates.brand import Brand
from worker.templates.samples import in_language, sample, samples
from worker.templates.writer import Tongue

EDITS: Entries = {"reminder": {"lead": "A payment of {{ amount }} is still open."}}
READY = "import sys, time, os, signal; print('{}', flush=True); "


@contextmanager
def child(code: str | None = None, seconds: float = 5.0) -> Iterator[Apart]:
    made = Apart((sys.executable, "-c", READY + code), seconds) if code else Apart()
    try:
        yield made
    finally:
        made.close()


def a_notice(language: str = "en") -> Notice:
    found = sample("reminder.funds")
    assert found
    return in_language(found.notice, language)


def write(made: Apart, edits: Entries = EDITS) -> str:
    notice = a_notice()
    return made.write(notice.step, edits, notice.context, Tongue("en", "en_US"), Brand()).text


def test_the_child_writes_what_would_be_written_here() -> None:
    with child() as made:
        theirs = Renderer(edits=lambda language: {"words": {}}, apart=made)
        ours = Renderer()
        for one in samples():
            for language in languages() if one.usual else ("en",):
                notice = in_language(one.notice, language)
                assert theirs.render(notice) == ours.render(notice), one.name


def test_the_operators_words_are_in_it_and_one_child_writes_many() -> None:
    with child() as made:
        assert "A payment of $49.00 is still open." in write(made)
        first = made._child
        assert "is still open" in write(made)
        assert made._child is first


def test_a_text_that_cannot_be_written_is_named_and_the_child_lives_on() -> None:
    with child() as made:
        with pytest.raises(TemplateBroken, match=r"en/reminder/lead:1: nobody: there is no such value"):
            write(made, {"reminder": {"lead": "{{ nobody }}"}})
        first = made._child
        assert write(made)
        assert made._child is first


@pytest.mark.parametrize(
    "code",
    [
        "time.sleep(60)",  # reads nothing, answers nothing
        "sys.stdin.readline(); time.sleep(60)",
        "sys.stdin.readline(); sys.stdout.write('{\"said\"'); sys.stdout.flush(); time.sleep(60)",
        "sys.stdin.readline(); sys.exit(3)",
        "sys.stdin.readline(); os.kill(os.getpid(), signal.SIGKILL)",
        "sys.stdin.readline(); print('nonsense', flush=True); time.sleep(60)",
        "sys.stdin.readline(); [sys.stdout.write('x' * 65536) for _ in iter(int, 1)]",
    ],
)
def test_a_child_that_runs_away_is_ended_and_its_text_is_left_alone_for_a_while(code: str) -> None:
    clock = [0.0]
    made = Apart((sys.executable, "-c", READY + code), 0.3, lambda: clock[0])
    began = time.monotonic()
    for _ in range(100):
        with pytest.raises(TemplateBroken, match="within its limits"):
            write(made)
    assert made._child is None
    assert time.monotonic() - began < 20  # a hundred messages did not wait each
    clock[0] += apart.BARRED_SECONDS + 1
    with pytest.raises(TemplateBroken, match="within its limits"):
        write(made)
    made.close()


def test_a_text_longer_than_the_line_to_the_child_does_not_block_the_worker() -> None:
    with child("time.sleep(60)", 0.3) as made, pytest.raises(TemplateBroken, match="within its limits"):
        write(made, {"reminder": {"lead": "x" * 400_000}})
    with child() as made, pytest.raises(TemplateBroken, match="longer than 4000 characters"):
        write(made, {"reminder": {"lead": "x" * 400_000}})
    with child() as made, pytest.raises(TemplateBroken, match="in all"):
        write(made, {"reminder": {"lead": "x" * 600_000}})


def test_a_customer_gets_the_shipped_message_when_the_child_runs_away() -> None:
    with child("time.sleep(60)", 0.3) as made:
        shown = Renderer(edits=lambda language: EDITS, apart=made).render(a_notice())
    assert shown == Renderer().render(a_notice())


def test_a_child_that_was_killed_is_started_again() -> None:
    with child() as made:
        write(made)
        assert made._child
        os.kill(made._child.pid, signal.SIGKILL)
        made._child.wait()
        assert "is still open" in write(made)


def test_the_child_knows_no_secret_and_may_write_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPRIEVE_LINK_SECRET", "canary")
    answer = "{'broken': [','.join(os.environ), 1, '', '']}"
    tell = f"sys.stdin.readline(); import json; print(json.dumps({answer}), flush=True)"
    with child(tell) as made, pytest.raises(TemplateBroken) as told:
        write(made)
    assert "REPRIEVE" not in str(told.value)
    with child() as made:
        write(made)
        assert made._child
        with open(f"/proc/{made._child.pid}/limits", encoding="ascii") as limits:
            rows = {line[:26].strip(): line[26:].split() for line in limits}
    assert rows["Max address space"][:2] == [str(apart.MEMORY)] * 2
    assert rows["Max file size"][:2] == ["0", "0"]


def test_many_threads_share_one_child() -> None:
    with child() as made:
        said: list[str] = []
        threads = [threading.Thread(target=lambda: said.append(write(made))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(said)) == 1
        assert len(said) == 8


def test_a_preview_shares_the_child_and_has_texts_of_its_own() -> None:
    with child() as made:
        renderer = Renderer(edits=lambda language: EDITS, apart=made)
        other = renderer.with_edits(lambda language: {"reminder": {"lead": "Something else."}})
        assert "Something else." in other.render(a_notice()).text
        assert "is still open" in renderer.render(a_notice()).text


def test_hostile_names_travel_to_the_child_and_back_as_they_are() -> None:
    notice = a_notice()
    context = {**notice.context, "name": "Ada\u2028\n{{7*7}}\x00\u202e", "merchant": "日本 {% if %} 😀"}
    tongue = Tongue("en", "en_US")
    with child() as made:
        theirs = made.write(notice.step, EDITS, context, tongue, Brand())
    assert theirs == writer.write(notice.step, merged(shipped("en").entries, EDITS), context, tongue, Brand())
