"""`[messages]` of a policy: what it becomes, and what is refused when the file is read."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from billing.declines import DeclineClass
from billing.notices.sequence import Audience, On, Only, Planned, Step, Via
from config import messages as catalogue
from config import policy_file
from config.policies import HERE, BadPolicy, parse, read, shipped

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
BASE = {name: value for name, value in read("standard").items() if name != "messages"}
FIRST = {"name": "first", "template": "payment_failed", "day": 1}


def policy(*steps: dict[str, Any], **table: Any) -> Any:
    return parse({**BASE, "messages": {**table, "steps": list(steps)}}, "mine.toml")


def test_a_step_arrives_as_it_is_written() -> None:
    conditions = {
        "declines": ["dead_card"],
        "min_amount": {"usd": 100},
        "max_amount": {"usd": 900},
        "products": ["prod_1"],
        "countries": ["DE"],
        "min_tenure_days": 30,
        "max_tenure_days": 90,
        "engaged": False,
    }
    late = {
        "name": "late",
        "template": "before_deadline",
        "event": "before_deadline",
        "days": 2,
        "hours": 12,
        "channel": ["email", "sms"],
        "audience": ["billing", "owner"],
        "conditions": conditions,
    }
    sequence = policy(FIRST, late, silent_hours=12, mends_itself_hours=48, quiet_hours=[20, 8], at_most=2).sequence
    assert sequence.steps[0] == Planned("first", Step.PAYMENT_FAILED, On.FAILURE, DAY)
    assert sequence.steps[1] == Planned(
        "late",
        Step.BEFORE_DEADLINE,
        On.BEFORE_DEADLINE,
        2.5 * DAY,
        (Via.EMAIL, Via.SMS),
        (Audience.BILLING, Audience.OWNER),
        Only(
            frozenset({DeclineClass.DEAD_CARD}),
            {"usd": 100},
            {"usd": 900},
            frozenset({"prod_1"}),
            frozenset({"DE"}),
            30 * DAY,
            90 * DAY,
            engaged=False,
        ),
    )
    assert (sequence.silent, sequence.patient, sequence.hold) == (12 * HOUR, 48 * HOUR, HOUR)
    assert (sequence.quiet, sequence.at_most, sequence.per, sequence.merge) == ((20, 8), 2, 7 * DAY, False)


def test_a_policy_without_the_table_has_one_message_and_thanks() -> None:
    old = parse(read("learned"), "learned.toml")
    assert old.messages is None
    assert [step.name for step in old.sequence.steps] == ["payment_failed", "recovered"]
    assert old.sequence.steps[0].after == old.notice_delay == DAY


def test_what_a_case_waits_for_the_first_message_is_known() -> None:
    assert policy(FIRST, silent_hours=72).notice_delay == 3 * DAY
    assert parse(read("weekly"), "weekly").notice_delay == 12 * HOUR


@pytest.mark.parametrize("name", [name for name in shipped() if name not in ("ladder", "learned")])
def test_a_shipped_sequence_is_within_its_window_and_its_cap_leaves_room_for_its_steps(name: str) -> None:
    found = parse(read(name), name)
    sequence = found.sequence
    assert all((sequence.merge, sequence.quiet, sequence.at_most))
    times = sorted(
        step.after if step.on is On.FAILURE else found.window - step.after
        for step in sequence.steps
        if step.on in (On.FAILURE, On.BEFORE_DEADLINE) and Via.EMAIL in step.via
    )
    assert times[-1] < found.window
    assert max(sum(at <= other < at + sequence.per for other in times) for at in times) <= sequence.at_most
    assert {On.RECOVERED, On.LOST, On.LATE_RESCUE, On.PROMISE_DAY} <= {step.on for step in sequence.steps}


# (step, key, words that the message has)
WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"template": None}, "template", "is missing"),
    ({"template": "payment_faild"}, "template", "there is no message 'payment_faild'"),
    ({"template": "card_expiring"}, "template", "about a failed payment"),
    ({"template": "recovered"}, "template", "does not go with a day"),
    ({"template": "last_day"}, "template", "does not go with a day"),
    ({"day": None, "event": "recovered"}, "template", "does not go with recovered"),
    ({"day": None, "event": "promise_day"}, "template", "does not go with promise_day"),
    ({"day": 21}, "day", "21 days is after the window of 21 days"),
    ({"day": None, "event": "after_retry", "days": 22}, "days", "after the window"),
    ({"day": None, "event": "before_deadline", "days": 21}, "days", "longer than the window"),
    ({"day": None, "event": "before_deadline", "hours": 21 * 24}, "hours", "longer than the window"),
    ({"day": None}, "day", "either a day or an event"),
    ({"event": "failure"}, "day", "either a day or an event"),
    ({"hours": 3}, "day", "go with an event"),
    ({"channel": "fax"}, "channel", "Input should be"),
    ({"channel": ["email", "email"]}, "channel", "named twice"),
    ({"audience": []}, "audience", "or none is"),
    ({"channel": "sms", "audience": "team"}, "audience", "only e-mail goes to several people"),
    ({"channel": "in_app"}, "channel", "stands alone"),
    ({"wall": "hard_wall"}, "wall", "only a step with the channel in_app"),
    ({"audience": "everybody"}, "audience", "Input should be"),
    ({"when": "soon"}, "when", "Extra inputs"),
    ({"name": "First Step"}, "name", "pattern"),
    ({"conditions": {"min_amount": {"usd": 5}, "max_amount": {"usd": 4}}}, "conditions", "leave no amount in usd"),
    ({"conditions": {"min_amount": {"usd": 5}, "max_amount": {"eur": 9}}}, "conditions", "no currency in common"),
    ({"conditions": {"min_tenure_days": 9, "max_tenure_days": 8}}, "conditions", "more than max_tenure_days"),
    ({"conditions": {"declines": ["cold_feet"]}}, "conditions.declines.0", "Input should be"),
    ({"conditions": {"countries": ["Germany"]}}, "conditions.countries.0", "pattern"),
]


@pytest.mark.parametrize(("over", "key", "words"), WRONG, ids=[f"{key}-{n}" for n, (_, key, _) in enumerate(WRONG)])
def test_a_step_that_cannot_work_is_refused_by_key_and_name(over: dict[str, Any], key: str, words: str) -> None:
    second = {"name": "second", "template": "reminder", "day": 5, **over}
    with pytest.raises(BadPolicy) as error:
        policy(FIRST, {name: value for name, value in second.items() if value is not None})
    [line] = str(error.value).splitlines()
    assert line.startswith("mine.toml: ")
    assert f"messages.steps.1.{key}" in line
    assert words in line
    assert "pattern" in words or "Input" in words or "Extra" in words or "step second" in line


def test_two_steps_of_one_name_are_refused() -> None:
    with pytest.raises(BadPolicy, match=r"messages\.steps\.1\.name: step first: another step has this name"):
        policy(FIRST, {**FIRST, "day": 2})


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ({"silent_hours": 21 * 24}, "messages.silent_hours"),
        ({"quiet_hours": [8, 8]}, "messages.quiet_hours"),
        ({"quiet_hours": [12, 11]}, "messages.quiet_hours"),
        ({"at_most": -1}, "messages.at_most"),
        ({"per_days": 0}, "messages.per_days"),
        ({"merge": "maybe"}, "messages.merge"),
    ],
)
def test_a_table_that_cannot_work_is_refused(table: dict[str, Any], key: str) -> None:
    with pytest.raises(BadPolicy, match=key):
        policy(FIRST, **table)


def test_a_silent_time_has_one_place() -> None:
    for body in ({**read("standard"), "notice_delay_hours": 24}, BASE):
        with pytest.raises(BadPolicy, match="notice_delay_hours: wanted without"):
            parse(body, "mine.toml")


def test_a_template_that_a_language_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    french = catalogue.shipped("fr")
    less = catalogue.Catalogue("fr", {name: parts for name, parts in french.entries.items() if name != "reminder"})
    whole = catalogue.shipped
    monkeypatch.setattr(catalogue, "shipped", lambda language: less if language == "fr" else whole(language))
    with pytest.raises(BadPolicy, match=r"step second: reminder is missing in config/messages/fr\.toml"):
        policy(FIRST, {"name": "second", "template": "reminder", "day": 5})


def test_a_mistake_is_told_with_the_line_of_its_own_step(tmp_path: Path) -> None:
    text = (HERE / "standard.toml").read_text(encoding="utf-8")
    lines = text.splitlines()
    at = lines.index('name = "second_reminder"') + 2
    assert lines[at] == "day = 10"
    file = tmp_path / "standard.toml"
    file.write_text("\n".join([*lines[:at], "day = 100", *lines[at + 1 :]]), encoding="utf-8")
    with pytest.raises(BadPolicy) as error:
        policy_file.check(file)
    assert str(error.value).startswith(f"{file}:{at + 1}: ")
    assert "step second_reminder: 100 days is after the window of 21 days" in str(error.value)
