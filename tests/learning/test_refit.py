"""A model learnt, checked and used, or refused, through the child process; and what an operator sees of it."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import exc, insert, select, update

from billing.retry.model import table_of
from config.priors import priors
from config.settings import Settings
from tests.billing.stories import DAY, DAY0
from tests.learning.closed_cases import SELF, attempts_that_were_told, keep, some_closed_cases
from worker import refit, retries, retry_models, schedule
from worker import tables as t
from worker.app import App, build
from worker.broker import NoBell
from worker.doctor import retries as examined
from worker.doctor.finding import Level, Patient
from worker.stripe_gateway import Gateways

WEEK = timedelta(days=7)
CHECKS = {"held_out": {"ece": 0.01, "attempts": 500}}


class Clock:
    at = DAY0

    def __call__(self) -> Any:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def app(database_url: str, clock: Clock) -> Iterator[App]:
    made = build(Settings(database_url=database_url, mode="own"), NoBell(), now=clock)
    made.policies.load()
    yield made
    made.close()


@pytest.fixture
def small(sqlite_url: str, clock: Clock) -> Iterator[App]:
    made = build(Settings(database_url=sqlite_url, mode="own"), NoBell(), now=clock)
    made.policies.load()
    yield made
    made.close()


def findings(app: App) -> list[tuple[Level, str]]:
    patient = Patient(app.settings, app.db, Gateways(app.settings, lambda _: None, lambda _: None), app.now)
    return [(level, said) for level, said, _ in examined.model(patient)]


def told(app: App) -> str:
    out = io.StringIO()
    retries.tell(app, [SELF], False, out)
    retries.listing(app, SELF, out)
    return out.getvalue()


def a_model(app: App, version: str, **more: Any) -> None:
    with app.db.begin() as db:
        retry_models.add(db, SELF, version, 400, CHECKS, {**table_of(priors()), "version": version, **more}, app.now())


def test_a_model_is_learnt_from_the_closed_cases_and_used(app: App) -> None:
    with app.db.begin() as db:
        keep(db, some_closed_cases(700))
    said = refit.run(app, SELF)
    assert "is in use, fitted from 700 closed cases" in said, said
    model = app.policies.model(SELF)
    assert model.version.startswith("learnt-")
    assert model.learnt_from == 700
    assert app.policies.current("self", False).model is model
    # Money came at weekends: that is what it learnt.
    assert model.paydays["US"]["weekly-4"] > priors().paydays["US"]["weekly-4"]
    story = told(app)
    assert f"model {model.version}, fitted" in story
    assert "in use" in story
    assert findings(app) == [(Level.OK, f"self (test): {model.version}, learnt from 700 closed cases")]


def test_few_closed_cases_change_nothing_and_start_no_process(small: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refit, "_child", lambda *_: pytest.fail("a child was started"))
    with small.db.begin() as db:
        keep(db, some_closed_cases(20))
    assert "too few to learn from: 20 closed cases, 300 are wanted" in refit.run(small, SELF)
    assert small.policies.model(SELF) is priors()
    assert findings(small) == [(Level.OK, "self (test): prior-3, nothing learnt yet")]


def test_a_world_that_changed_refuses_the_model_and_keeps_the_old_one(small: App) -> None:
    """Until lately half of the attempts paid, then none: what was learnt does not hold on the newest cases."""
    with small.db.begin() as db:
        cases = [*some_closed_cases(120, pays=0.0), *some_closed_cases(600, 2, pays=0.7)[120:]]
        keep(db, cases)
    said = refit.run(small, SELF)
    assert "is refused: " in said, said
    assert small.policies.model(SELF) is priors()
    with small.db.read() as db:
        (fitted,) = retry_models.models(db, SELF)
    assert (fitted.state, fitted.in_use) == ("refused", False)
    (found,) = findings(small)
    assert found[0] is Level.WARN
    assert "is refused" in found[1]
    assert "refused" in told(small)


def test_a_fitting_that_fails_is_told_and_tried_again(small: App, monkeypatch: pytest.MonkeyPatch) -> None:
    with small.db.begin() as db:
        keep(db, some_closed_cases(300))
    monkeypatch.setattr(refit, "_child", lambda *_: (1, "", "Traceback\nMemoryError: all is full"))
    assert "MemoryError: all is full" in refit.run(small, SELF)
    monkeypatch.setattr(refit, "_child", lambda *_: (3, "", ""))
    assert "numpy is not installed" in refit.run(small, SELF)
    with small.db.read() as db:
        job = schedule.of(db, SELF, refit.JOB)
    assert job is not None
    assert job.due_at == DAY0 + refit.TRY_AGAIN
    assert [level for level, _ in findings(small)] == [Level.WARN]


def test_it_is_fitted_once_a_week_by_one_worker(small: App, clock: Clock) -> None:
    assert refit.run_due(small) == 0
    clock.at += WEEK
    assert refit.run_due(small) == 1
    assert refit.run_due(small) == 0
    clock.at += 3 * WEEK
    assert any("no model was fitted since" in said for _, said in findings(small))


def test_the_shipped_model_of_an_older_release_is_the_one_shipped_now(app: App) -> None:
    a_model(app, "learnt-1")
    with app.db.begin() as db:
        for version in ("learnt-1", "prior-1"):
            retry_models.use(db, SELF, version, "ann", "the learnt one was odd", app.now())
        assert retry_models.InUse().refresh(db) == {}
    app.policies.refresh()
    assert app.policies.model(SELF) is priors()


def test_an_operator_goes_back_to_another_version(app: App, clock: Clock) -> None:
    for version in ("learnt-1", "learnt-2"):
        a_model(app, version)
        clock.at += DAY
        with app.db.begin() as db:
            retry_models.use(db, SELF, version, "reprieve", "passed", app.now())
    app.policies.refresh()
    assert app.policies.model(SELF).version == "learnt-2"
    for version in ("learnt-1", "prior-3"):
        with app.db.begin() as db:
            retry_models.use(db, SELF, version, "ann", "the last one was odd", app.now())
        app.policies.refresh()
        assert app.policies.model(SELF).version == version
    assert app.policies.model(SELF) is priors()
    with app.db.read() as db:
        known = retry_models.models(db, SELF)
    assert [(each.version, each.state, each.in_use) for each in known] == [
        ("learnt-2", "active", False),
        ("learnt-1", "active", False),
    ]
    assert "the last one was odd (ann" in told(app)


def test_a_version_that_does_not_exist_or_cannot_be_read_is_never_used(small: App) -> None:
    a_model(small, "broken", causes={})
    with small.db.begin() as db, pytest.raises(LookupError, match="there is no retry model learnt-9"):
        retry_models.use(db, SELF, "learnt-9", "ann", "why", small.now())
    with small.db.begin() as db, pytest.raises(ValueError, match="causes"):
        retry_models.use(db, SELF, "broken", "ann", "why", small.now())
    with small.db.begin() as db:  # as if an older version of the code had put it there
        row = {**SELF.key, "version": "broken", "state": "active", "at": DAY0, "by": "ann", "because": "why"}
        db.execute(insert(t.retry_model), row)
    small.policies.refresh()
    assert small.policies.model(SELF) is priors()
    assert [level for level, _ in findings(small)] == [Level.FAIL]


def test_what_was_said_of_a_model_is_never_changed(app: App) -> None:
    a_model(app, "learnt-1")
    with pytest.raises(exc.DBAPIError), app.db.begin() as db:
        db.execute(update(t.retry_model).values(because="something else"))
    with pytest.raises(exc.DBAPIError), app.db.begin() as db:
        db.execute(t.retry_model.delete())
    with pytest.raises(exc.IntegrityError):
        a_model(app, "learnt-1")
    with app.db.read() as db:
        assert len(list(db.execute(select(t.retry_model)))) == 1


@pytest.mark.parametrize(("told_each", "paid", "level"), [(200, 40, Level.OK), (400, 20, Level.WARN)])
def test_a_model_that_no_longer_keeps_its_word_is_seen(small: App, told_each: int, paid: int, level: Level) -> None:
    with small.db.begin() as db:
        attempts_that_were_told(db, 200, told_each, paid)
    assert [found for found, _ in findings(small)] == [level]
    said = f"{told_each / 10:.1f} % were expected to pay, {paid / 2:.1f} % did; 1 made at another hour"
    assert said in told(small)


def test_neither_web_nor_worker_ever_loads_numpy(sqlite_url: str) -> None:
    """Everything the processes import, and one plan by the model; fitting is done by a child of its own."""
    program = f"""
import sys
from worker import actors, broker, cli, demo, dispatcher, doctor, explain, process, refit, retries, retry_commands
from worker.web import dashboard, server
from config.settings import Settings
from worker.app import build
app = build(Settings(database_url={sqlite_url!r}, mode="own"), broker.NoBell())
app.policies.load()
dispatcher.sweep(app)
refit.run_due(app)
from billing.retry.learned import planned
from dataclasses import replace
from tests.billing.retry.test_learned import CASE
from tests.billing.stories import DAY0
assert not isinstance(planned(CASE, app.policies.current("self", False), DAY0), str)
app.close()
print(sorted({{"numpy", "scipy", "matplotlib", "pyarrow"}} & set(sys.modules)))
"""
    root = Path(__file__).parents[2]
    ran = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == "[]"
