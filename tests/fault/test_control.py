"""The same tests on builds that are broken on purpose: a test that cannot fail proves nothing."""

from __future__ import annotations

from collections.abc import Callable
from itertools import repeat
from pathlib import Path

import pytest

from tests.fault import broken, invariants
from tests.fault.kills import BEHAVIOURS, Counts, kill_run
from tests.fault.stage import staged
from tests.fault.test_stops import no_request_after, paid_by_the_customer, stopped_by_an_operator
from tests.fault.test_stops import test_what_happened_at_stripe_before_the_last_look_stops_the_request as last_look
from tests.fault.test_zombies import executed_after_forgetting, rows_around_a_late_give_back

Report = Callable[[str, Counts], None]


@pytest.mark.parametrize("point", ["C5", "C6", "C7"])
def test_a_fresh_key_without_an_intent_is_caught_charging_twice(
    point: str, sqlite_url: str, tmp_path: Path, report: Report
) -> None:
    with staged(sqlite_url, tmp_path, 3, behaviours=BEHAVIOURS) as stage:
        counts = kill_run(stage, tmp_path / "worker.log", repeat(point), 3, broken.CONTROL)
        report(broken.CONTROL, counts)
        assert counts.doubles > 0
        stage.hear_everything()
        assert "i1_one_charge" in {broken.invariant for broken in invariants.violations(stage)}


@pytest.mark.parametrize("point", ["C5", "C6"])
def test_a_result_that_is_saved_before_is_caught_losing_successes(
    point: str, sqlite_url: str, tmp_path: Path, report: Report
) -> None:
    with staged(sqlite_url, tmp_path, 3, behaviours=BEHAVIOURS) as stage:
        counts = kill_run(stage, tmp_path / "worker.log", repeat(point), 3, broken.SAVE_BEFORE)
        report(broken.SAVE_BEFORE, counts)
        assert counts.lost > 0


def test_a_build_without_a_last_look_is_caught(sqlite_url: str, tmp_path: Path) -> None:
    with broken.built(broken.NO_LAST_LOOK), pytest.raises(AssertionError):
        last_look(paid_by_the_customer, sqlite_url, tmp_path)


def test_a_build_that_does_not_look_for_stops_before_it_sends_is_caught(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with broken.built(broken.NO_STOP_CHECK), pytest.raises(AssertionError):
        no_request_after(stopped_by_an_operator, "C4", sqlite_url, tmp_path, monkeypatch)


def test_a_build_without_tokens_is_caught(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with broken.built(broken.NO_TOKEN):
        before, after = rows_around_a_late_give_back(sqlite_url, tmp_path, monkeypatch)
    assert before != after


def test_a_build_without_an_age_guard_is_caught_executing_one_attempt_twice(sqlite_url: str, tmp_path: Path) -> None:
    assert executed_after_forgetting(sqlite_url, tmp_path, broken.NO_AGE_GUARD) == 2
