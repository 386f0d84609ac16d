"""`reprieve links ...`: an operator sees which links a customer has, and ends them; the audit says who and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import typer
from pydantic import SecretStr
from sqlalchemy import insert, select
from typer.testing import CliRunner, Result

from config.settings import Settings
from tests.page.conftest import LINK_SECRET
from tests.world import DAY, SELF, START
from worker import cli, link_commands, links
from worker import tables as t
from worker.app import App, build
from worker.broker import NoBell

NOW = START + 33 * DAY


@pytest.fixture
def app(database_url: str) -> Iterator[App]:
    settings = Settings(
        database_url=database_url, link_secret=SecretStr(LINK_SECRET), public_url="https://pay.acme.example"
    )
    made = build(settings, NoBell(), now=lambda: NOW)
    yield made
    made.close()


@pytest.fixture
def run(app: App) -> Callable[..., Result]:
    @contextmanager
    def app_of() -> Iterator[App]:
        with cli._told():
            yield app

    main = typer.Typer()
    main.add_typer(link_commands.links(app_of), name="links")
    return lambda *words: CliRunner().invoke(main, ["links", *words])


def link(app: App, message: str, customer: str = "cus_1", days_ago: int = 0) -> str:
    with app.db.begin() as db:
        url = links.for_customer(db, app.settings, SELF, customer, message, NOW - days_ago * DAY)
    assert url
    return url.rpartition("/")[2]


def opens(app: App, token: str) -> bool:
    with app.db.read() as db:
        return links.find(db, token, NOW) is not None


def test_an_operator_sees_and_ends_the_links_of_one_customer(app: App, run: Callable[..., Result]) -> None:
    old, new, other = link(app, "m1", days_ago=31), link(app, "m2"), link(app, "m1", "cus_2")
    shown = run("list", "cus_1").output
    assert "opens until 2026-03-05  never acted on  m2" in shown
    assert "expired 2026-02-02" in shown
    assert new not in shown
    assert old not in shown
    said = run("revoke", "cus_1", "--because", "wrong address", "--by", "ann")
    assert said.output == "2 links of cus_1 open nothing any more.\n"
    assert (opens(app, new), opens(app, other)) == (False, True)
    assert "revoked 2026-02-03" in run("list", "cus_1").output
    with app.db.read() as db:
        (line,) = db.execute(select(t.audit)).all()
    assert (line.actor, line.what, line.object, line.because) == ("ann", "links revoked", "cus_1", "wrong address")
    assert run("revoke", "cus_1").exit_code == 2  # nothing is left to end, and nothing is audited


def test_an_invoice_stands_for_its_customer(app: App, run: Callable[..., Result]) -> None:
    token = link(app, "m1")
    values = dict.fromkeys(("because", "policy", "decline_class"), "x")
    moments = dict.fromkeys(("failed_at", "deadline", "updated_at"), NOW)
    row = {"invoice": "in_1", "customer": "cus_1", "state": "open", "amount": 1, "currency": "usd", "evidence": {}}
    with app.db.begin() as db:
        db.execute(insert(t.recovery_case), {**SELF.key, **row, **values, **moments})
    assert run("revoke", "--case", "in_2").exit_code == 2
    assert opens(app, token)
    assert run("revoke", "--case", "in_1").exit_code == 0
    assert not opens(app, token)


def test_nobody_is_guessed(run: Callable[..., Result]) -> None:
    assert run("revoke").exit_code == 2
    assert run("revoke", "cus_1", "--case", "in_1").exit_code == 2
    assert run("list", "cus_9").output == "cus_9 has no link.\n"
    assert run("list", "cus_9", "--account", "acct_none").exit_code == 2
