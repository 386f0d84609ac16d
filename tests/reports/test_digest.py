"""The weekly digest: what it says, when it goes, and that nobody gets a week twice."""

from __future__ import annotations

import email
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from email import policy
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError
from sqlalchemy import select, update

from billing.report.period import Period
from config.settings import Settings
from tests.reports import tables
from tests.reports.conftest import Clock
from tests.world import DAY, START, world
from worker import digest, report, switch
from worker.app import App
from worker.channels import Handed, Message, Outcome
from worker.tables import notice

MONDAY = datetime(2026, 2, 9, 9, tzinfo=UTC)  # the week of the 2nd to the 8th, in which Ann's payment came
TEAM = ("cfo@acme.example", "ops@acme.example")


@dataclass
class Post:
    """A mail server with memory; `answers` are used up first."""

    answers: list[Outcome] = field(default_factory=list)
    sent: list[Message] = field(default_factory=list)

    def send(self, message: Message) -> Handed:
        self.sent.append(message)
        return Handed(self.answers.pop(0) if self.answers else Outcome.ACCEPTED, "said so")


@dataclass
class Office:
    """An installation whose mail we see."""

    app: App
    post: Post
    clock: Clock

    def send(self) -> int:
        return digest.send_due(self.app)

    def states(self) -> list[str]:
        with self.app.db.read() as db:
            return list(db.scalars(select(notice.c.state).where(notice.c.step == "digest").order_by(notice.c.id)))


@pytest.fixture
def office(make_app: Callable[..., App], clock: Clock) -> Callable[..., Office]:
    clock.at = MONDAY

    def make(*answers: Outcome, **settings: Any) -> Office:
        post = Post(list(answers))
        return Office(replace(make_app(**{"digest_to": TEAM, **settings}), channels={"email": post}), post, clock)

    return make


def test_the_digest_names_the_five_drivers_and_the_twelve_months(office: Callable[..., Office]) -> None:
    made = office()
    assert made.send() == 2
    message = made.post.sent[0]
    lines = {line.partition(":")[0]: line.partition(":")[2].strip() for line in message.text.splitlines()}
    assert lines["Expansion"] == "0.00 USD, 0.00 EUR [0.00 USD, 0.00 EUR]"
    assert lines["Churned customers"].startswith("0.00 USD (0 customers)")
    assert lines["Downgrade"].startswith("0.00 USD")
    assert lines["Contract restructuring"].startswith("0.00 USD")
    assert lines["Payment-failure recovery"] == "+20.00 USD, 0.00 EUR [0.00 USD, 0.00 EUR]"
    assert lines["New business"] == "0.00 USD, 0.00 EUR [0.00 USD, 0.00 EUR]"
    assert (
        lines["At risk at the close"] == "30.00 USD (1 open), 0.00 EUR (0 open) [50.00 USD (2 open), 0.00 EUR (0 open)]"
    )
    assert "February 2, 2026 to February 8, 2026" in message.text
    for words in ("NRR", "GRR", "Gap", "policy default", "days in UTC", "activity basis", "as known at 2026-02-09"):
        assert words in message.text
    for figure in ("+20.00 USD", "Payment-failure recovery", "Churned customers"):
        assert figure in message.html
    assert message.subject.startswith("NRR digest, week to February 8, 2026")


def test_the_digest_has_the_new_business_of_the_week(office: Callable[..., Office]) -> None:
    app = office().app
    (owner,) = report.owners(app)
    made = digest.render(app, owner, Period(date(2025, 12, 29), date(2026, 1, 5)))
    (line,) = [line for line in made.text.splitlines() if line.startswith("New business:")]
    assert line.split(":")[1].strip() == "+100.00 USD, +40.00 EUR [0.00 USD, 0.00 EUR]"
    assert "New business" in made.html


@pytest.mark.parametrize(("retained", "said"), [(131, True), (130, False)])
def test_a_gap_over_thirty_points_is_said_with_its_meaning(
    office: Callable[..., Office], monkeypatch: pytest.MonkeyPatch, retained: int, said: bool
) -> None:
    bridge = tables.scope().bridge(Period.month("2026-02"))
    found = digest.gap_warning([replace(bridge, start=100, kept=100, retained=retained), replace(bridge, start=0)])
    words = "Gap over 30 points (USD): growth of few hides losses of many; see the concentration."
    assert found == (words if said else "")
    made = office()
    monkeypatch.setattr(digest, "gap_warning", lambda bridges: found)
    made.send()
    assert (words in made.post.sent[0].text, words in made.post.sent[0].html) == (said, said)


def test_nobody_gets_a_week_twice_and_everybody_gets_the_next(office: Callable[..., Office]) -> None:
    made = office()
    assert [made.send() for _ in range(3)] == [2, 0, 0]
    made.clock.at += timedelta(days=6)
    assert made.send() == 0
    made.clock.at += timedelta(days=1)
    assert made.send() == 2
    assert sorted(message.to for message in made.post.sent) == sorted(TEAM * 2)
    assert len({message.id for message in made.post.sent}) == 4


def test_a_restart_sends_nothing_again(office: Callable[..., Office]) -> None:
    assert office().send() == 2
    again = office()
    assert (again.send(), again.post.sent) == (0, [])


def test_any_number_of_workers_send_one(office: Callable[..., Office]) -> None:
    offices = [office() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(Office.send, offices)) == 2
    assert sorted(message.to for made in offices for message in made.post.sent) == sorted(TEAM)


def test_two_spellings_of_a_mailbox_are_one_recipient(office: Callable[..., Office]) -> None:
    assert office(digest_to=("CFO@acme.example", "cfo@ACME.example")).send() == 1


def test_a_message_that_was_certainly_not_taken_is_tried_again_later(office: Callable[..., Office]) -> None:
    made = office(Outcome.LATER, digest_to=TEAM[:1])
    assert (made.send(), made.send(), made.states()) == (0, 0, ["waiting"])
    made.clock.at += digest.WAIT
    assert (made.send(), made.states()) == (1, ["accepted"])
    assert len({message.id for message in made.post.sent}) == 1


@pytest.mark.parametrize("end", [Outcome.UNKNOWN, Outcome.REJECTED])
def test_a_message_that_may_have_gone_is_never_repeated(office: Callable[..., Office], end: Outcome) -> None:
    made = office(end, digest_to=TEAM[:1])
    made.send()
    made.clock.at += timedelta(days=3)
    assert (made.send(), made.states(), len(made.post.sent)) == (0, [str(end)], 1)


def test_a_process_that_dies_while_it_hands_over_leaves_it_unknown(office: Callable[..., Office]) -> None:
    made = office(digest_to=TEAM[:1])
    made.send()
    with made.app.db.begin() as db:
        db.execute(update(notice).where(notice.c.step == "digest").values(state="handing_over"))
    assert (made.send(), made.states()) == (0, ["handing_over"])
    made.clock.at += 2 * digest.GIVEN_UP
    assert (made.send(), made.states(), len(made.post.sent)) == (0, ["unknown"], 1)


def test_books_that_do_not_agree_send_nothing_and_are_looked_at_again_later(
    office: Callable[..., Office], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, calls = office(), []

    def wrong(*_: object) -> None:
        calls.append(1)
        raise ArithmeticError("the bridge is a cent out")

    with monkeypatch.context() as patched:
        patched.setattr(digest, "render", wrong)
        assert (made.send(), made.send(), len(calls), made.post.sent) == (0, 0, 1, [])
    made.clock.at += digest.WAIT
    assert made.send() == 2


def test_a_stop_holds_the_digest_back(office: Callable[..., Office]) -> None:
    made = office()
    for stopped, sent in ((True, 0), (False, 2)):
        with made.app.db.begin() as db:
            switch.turn(db, None, stopped, "me", "a test", made.clock())
        assert made.send() == sent


def test_without_recipients_or_a_mail_server_nothing_is_folded(
    office: Callable[..., Office], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digest, "render", lambda *_: pytest.fail("folded for nobody"))
    assert office(digest_to=()).send() == 0
    made = office()
    assert digest.send_due(replace(made.app, channels={})) == 0


@pytest.mark.parametrize(
    ("local", "begins", "ends"),
    [
        ("2026-02-09 08:00", "2026-02-02", "2026-02-09"),  # the hour itself
        ("2026-02-09 07:59", "2026-01-26", "2026-02-02"),
        ("2026-02-15 23:59", "2026-02-02", "2026-02-09"),
        ("2026-03-30 08:00", "2026-03-23", "2026-03-30"),  # the clocks changed the day before
    ],
)
def test_a_week_ends_where_the_team_lives(office: Callable[..., Office], local: str, begins: str, ends: str) -> None:
    made = office(digest_timezone="Europe/Berlin")
    made.clock.at = datetime.fromisoformat(local).replace(tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC)
    week = digest.week_of(made.app)
    assert (str(week.start), str(week.end), week.zone) == (begins, ends, "Europe/Berlin")


def test_the_team_chooses_day_and_hour(office: Callable[..., Office]) -> None:
    made = office(digest_weekday="friday", digest_hour=17)
    assert str(digest.week_of(made.app).end) == "2026-02-06"


@pytest.mark.parametrize(
    "wrong", [{"digest_to": "no address"}, {"digest_timezone": "Mars/Olympus"}, {"digest_hour": 24}]
)
def test_settings_that_cannot_work_are_refused_at_the_start(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings(**wrong)


def test_it_can_be_read_in_the_mailbox_folder(make_app: Callable[..., App], clock: Clock, tmp_path: Path) -> None:
    clock.at = MONDAY
    assert digest.send_due(make_app(digest_to=TEAM[:1])) == 1
    (file,) = (tmp_path / "mailbox").glob("*digest*.eml")
    mail = email.message_from_bytes(file.read_bytes(), policy=policy.default)
    assert (mail["to"], mail["auto-submitted"]) == (TEAM[0], "auto-generated")


def test_both_engines_send_one(database_url: str, tmp_path: Path) -> None:
    with world(database_url, tmp_path, digest_to=TEAM) as w:
        w.sb.subscribe(amount=2000)
        w.pass_time(START + 12 * DAY, step=DAY)
        post = Post()
        app = replace(w.app, channels={"email": post})
        with ThreadPoolExecutor(3) as pool:
            assert sum(pool.map(digest.send_due, [app] * 3)) == 2
        assert sorted(message.to for message in post.sent) == sorted(TEAM)
