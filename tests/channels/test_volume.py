"""A bad import does not mail 50,000 people: an hour with too many messages stops them, until a person has looked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import typer
from sqlalchemy import insert
from typer.testing import CliRunner

from billing.notices.volume import AT_LEAST, TIMES, most_in_an_hour, too_many
from sandbox import until
from tests.channels import told
from tests.consent.conftest import NOW, SELF, Here, an_app
from tests.world import DAY, START, world
from worker import channel_commands, cli, switch, volume
from worker import tables as t
from worker.app import App
from worker.store import Owner

HOUR = timedelta(hours=1)
LIVE = Owner("self", True)


@pytest.mark.parametrize(
    ("busiest", "number", "most"),
    [(0, None, AT_LEAST), (10, None, AT_LEAST), (20_000, None, TIMES * 20_000), (20_000, 50, 50), (5, 0, None)],
)
def test_what_is_believable_follows_from_the_weeks_before_or_from_the_operator(
    busiest: int, number: int | None, most: int | None
) -> None:
    assert most_in_an_hour(busiest, number) == most


@pytest.mark.parametrize(("sent", "most", "stops"), [(9, 10, False), (10, 10, True), (99, 10, True), (99, None, False)])
def test_the_number_itself_is_the_last_that_goes_out(sent: int, most: int | None, stops: bool) -> None:
    assert bool(too_many(sent, most)) is stops


@pytest.fixture
def here(database_url: str) -> Iterator[Here]:
    clock = [NOW]
    made = Here(an_app(database_url, clock), clock)
    yield made
    made.app.close()


def sent(here: Here, number: int, at: datetime, owner: Owner = SELF) -> None:
    """So many messages, evenly over the hour after `at`."""
    texts = ("step", "channel", "recipient_hash", "template", "message_id", "rendered_hash")
    rows = [
        {
            **owner.key,
            **dict.fromkeys(texts, "x"),
            "dedup_key": f"{at}:{n}",
            "invoice": "in_1",
            "state": "accepted",
            "token": 1,
            "at": at + n * HOUR / (number + 1),
        }
        for n in range(number)
    ]
    with here.app.db.begin() as db:
        db.execute(insert(t.notice), rows)


def stops(here: Here) -> list[str]:
    with here.app.db.read() as db:
        return [f"{scope} by {by}" for scope, by, _, _ in switch.standing(db)]


def test_a_usual_hour_stops_nothing(here: Here) -> None:
    sent(here, AT_LEAST - 1, NOW - HOUR)
    assert volume.full(here.app, SELF) == ""
    assert stops(here) == []


def test_too_many_in_an_hour_stop_the_messages_of_that_account_alone(here: Here) -> None:
    sent(here, AT_LEAST + 1, NOW - HOUR)
    assert "look like a mistake" in volume.full(here.app, SELF)
    assert volume.full(here.app, LIVE) == ""
    assert stops(here) == ["messages of self by volume guard"]
    assert volume.full(here.app, SELF) != ""  # said again, and done once
    assert [line.what for line in here.rows(t.audit)] == ["stop"]


def test_who_has_sent_many_in_an_hour_before_may_do_so_again(here: Here) -> None:
    sent(here, 2 * AT_LEAST, NOW - 30 * DAY)
    sent(here, 3 * AT_LEAST, NOW - HOUR)
    assert volume.full(here.app, SELF) == ""
    with here.app.db.read() as db:
        assert volume.busiest(db, SELF, NOW) >= AT_LEAST
    here.day(10)  # the burst is forgotten after five weeks, and this hour's counts from now on
    with here.app.db.read() as db:
        assert volume.busiest(db, SELF, here.app.now()) >= 2 * AT_LEAST


def test_when_a_person_has_looked_the_hour_begins_anew(here: Here) -> None:
    sent(here, AT_LEAST + 1, NOW - HOUR)
    volume.full(here.app, SELF)

    @contextmanager
    def app_of() -> Iterator[App]:
        with cli._told():
            yield here.app

    main = typer.Typer()
    main.add_typer(channel_commands.mail(app_of), name="mail")
    said = CliRunner().invoke(main, ["mail", "resume", "--because", "as planned", "--by", "ann"])
    assert said.output == "Nothing is stopped.\n"
    assert volume.full(here.app, SELF) == ""
    here.day(1 / 24)
    sent(here, TIMES * (AT_LEAST + 1), NOW)  # what was as planned is the measure now
    assert volume.full(here.app, SELF) == ""
    sent(here, TIMES, NOW + HOUR / 2)
    assert volume.full(here.app, SELF) != ""
    assert CliRunner().invoke(main, ["mail", "stop", "--because", "x", "--account", "none"]).exit_code == 2


def test_fifty_thousand_by_mistake_end_at_the_number_and_payments_go_on(sqlite_url: str, tmp_path: Path) -> None:
    with world(sqlite_url, tmp_path, most_messages_per_hour=3, digest_to=("team@acme.example",)) as w:
        for n in range(8):
            sub = w.sb.subscribe("pm_card_visa", amount=2000, email=f"ann{n}@example.com")
            w.sb.issuer.set(sub.payment_method, until(START + 36 * DAY))
        w.pass_time(START + 33 * DAY, step=DAY)
        to = [str(told.read_mail(file)["To"]) for file in w.mails()]
        assert sum("ann" in each for each in to) == 3
        assert sum("team@" in each for each in to) == 1
        assert len(w.rows(t.action, kind="notice", state="waiting")) == 5
        w.pass_time(START + 45 * DAY, step=DAY)
        assert set(w.cases().values()) == {"recovered"}  # paid, though nobody could be written to
        assert sum("ann" in str(told.read_mail(file)["To"]) for file in w.mails()) == 3
        with w.app.db.begin() as db:
            switch.turn(db, Owner("self", False), False, "ann", "looked", w.app.now(), switch.MESSAGES)
        w.pass_time(timedelta(days=1))
        assert w.rows(t.action, kind="notice", state="waiting") == []
