"""What an operator writes: kept for ever, in force only when it can be written for everybody, and gone back from."""

from __future__ import annotations

import pytest
from sqlalchemy import func, text
from sqlalchemy.exc import DBAPIError

from tests.billing.stories import DAY0
from worker.app import App
from worker.rendering import Renderer
from worker.templates import check
from worker.templates.samples import in_language, sample
from worker.templates.versions import BadTemplate, NoSuchTemplate, Versions

LEAD = {"lead": "Eine Zahlung ist noch offen."}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check has tests of its own; here it need not be waited for."""
    monkeypatch.setattr(check, "guarded", lambda edits: [])


def said(app: App, name: str = "reminder.funds", language: str = "de") -> str:
    one = sample(name)
    assert one
    return app.renderer.render(in_language(one.notice, language)).text


@pytest.mark.usefixtures("quick")
def test_a_version_is_in_force_from_its_activation_to_the_next(app: App) -> None:
    kept = Versions(app.db)
    shipped = said(app)
    assert kept.write("de", "reminder", LEAD, "ann", DAY0) == 1
    assert kept.write("de", "reminder", {"lead": "Noch offen."}, "bob", DAY0) == 2
    assert kept.write("fr", "reminder", {"lead": "En attente."}, "bob", DAY0) == 1
    assert said(app) == shipped

    kept.activate("de", "reminder", 1, "ann", DAY0)
    assert LEAD["lead"] in said(app)
    assert "Laut Ihrer Bank" in said(app)  # what was not written anew is as shipped
    kept.activate("de", "reminder", 2, "ann", DAY0)
    assert "Noch offen." in said(app)
    assert [(v.language, v.version, v.author, v.active) for v in kept.listed()] == [
        ("de", 1, "ann", False),
        ("de", 2, "bob", True),
        ("fr", 1, "bob", False),
    ]
    assert "Noch offen." not in said(app, language="fr")
    kept.activate("de", "reminder", 0, "ann", DAY0)
    assert said(app) == shipped
    assert kept.active("de") == {}


@pytest.mark.usefixtures("quick")
def test_a_text_for_one_reason_goes_before_a_text_for_all(app: App) -> None:
    kept = Versions(app.db)
    for name, lead in (("reminder", "Fuer alle."), ("reminder.funds", "Nur hier.")):
        kept.activate("de", name, kept.write("de", name, {"lead": lead}, "ann", DAY0), "ann", DAY0)
    assert "Nur hier." in said(app)
    assert "Fuer alle." in said(app, "reminder.call_bank")
    assert "Ihrer Bank" in said(app, "reminder.overdue") or "Erinnerung" in said(app, "reminder.overdue")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("table", ["template_version", "template_activation"])
@pytest.mark.parametrize("verb", ["UPDATE {} SET version = 9", "DELETE FROM {}"])
def test_what_was_written_and_put_in_force_is_never_changed(app: App, table: str, verb: str) -> None:
    kept = Versions(app.db)
    kept.activate("de", "reminder", kept.write("de", "reminder", LEAD, "ann", DAY0), "ann", DAY0)
    with pytest.raises(DBAPIError, match="append-only"), app.db.begin() as db:
        db.execute(text(verb.format(table)))


@pytest.mark.parametrize(
    ("language", "name", "version", "because"),
    [
        ("it", "reminder", 1, "no messages in 'it'"),
        ("de", "remainder", 1, "named 'remainder'"),
        ("de", "recovered.funds", 1, "named 'recovered.funds'"),
        ("de", "reminder", 7, "no version 7 of reminder in de"),
    ],
)
def test_what_does_not_exist_cannot_be_put_in_force(
    sqlite_app: App, language: str, name: str, version: int, because: str
) -> None:
    with pytest.raises(NoSuchTemplate, match=because):
        Versions(sqlite_app.db).activate(language, name, version, "ann", DAY0)


def test_a_text_that_cannot_be_written_for_everybody_is_not_kept_and_not_put_in_force(
    sqlite_app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, bad = Versions(sqlite_app.db), {"lead": "Offen:\n{{ amuont }}"}
    with pytest.raises(BadTemplate, match=r"de/reminder/lead:2: amuont: there is no such value"):
        kept.write("de", "reminder", bad, "ann", DAY0)
    assert kept.listed() == []
    with monkeypatch.context() as patch:
        patch.setattr(check, "guarded", lambda edits: [])
        assert kept.write("de", "reminder", bad, "ann", DAY0) == 1
    with pytest.raises(BadTemplate, match="amuont"):
        kept.activate("de", "reminder", 1, "ann", DAY0)
    assert kept.active("de") == {}


@pytest.mark.usefixtures("quick")
def test_a_text_in_force_that_fails_for_a_customer_is_passed_over(app: App) -> None:
    """However it came there, the customer gets the shipped message."""
    shipped = said(app)
    kept = Versions(app.db)
    kept.activate("de", "reminder", kept.write("de", "reminder", {"lead": "{{ nobody }}"}, "ann", DAY0), "ann", DAY0)
    assert said(app) == shipped
    assert Renderer().render(in_language(sample("reminder.funds").notice, "de")).text == shipped  # type: ignore[union-attr]


@pytest.mark.usefixtures("quick")
def test_two_who_write_at_the_same_moment_are_told_apart(sqlite_app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Versions(sqlite_app.db)
    kept.write("de", "reminder", LEAD, "ann", DAY0)
    monkeypatch.setattr(func, "max", lambda column: column - column)  # somebody who looked too early
    with pytest.raises(BadTemplate, match="at the same moment"):
        kept.write("de", "reminder", LEAD, "bob", DAY0)
