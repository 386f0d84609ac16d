"""The adapter of the simulated worlds; the worlds themselves lie beside the repository, and may be absent."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.expected_worlds import expected_world
from benchmarks.retry_worlds import calibration, line, make_policy, measure, played, rules_in_force

ROOT = Path(__file__).parents[1]
WORLDS = next((found for up in ROOT.parents if (found := up / "shared" / "worlds").is_dir()), None)


@pytest.fixture
def worlds(monkeypatch: pytest.MonkeyPatch) -> Any:
    if WORLDS is None:
        pytest.skip("no simulated worlds beside this repository")
    monkeypatch.syspath_prepend(str(WORLDS))
    return pytest.importorskip("world"), pytest.importorskip("baselines")


def test_a_small_world_is_played_without_a_violation(worlds: Any) -> None:
    row = measure(worlds, "us_smb_debit", 3, 150, [])
    assert row["violations"] == 0
    assert row["score"] > 60
    assert 0.5 < row["attempts"] < 6
    assert row["world"] in line(row)


def test_the_expected_score_is_the_mean_of_many_runs(worlds: Any) -> None:
    module, baselines = worlds
    policy = baselines.UpdaterAware([1, 4, 9, 16, 25], "five")
    runs = [played(module.World(seed, "us_smb_debit", 1500), policy) for seed in (1, 2, 3)]
    expected = [played(expected_world(module)(seed, "us_smb_debit", 1500), policy) for seed in (1, 2, 3)]
    assert sum(each.attempts for each in expected) == pytest.approx(sum(each.attempts for each in runs), rel=0.05)
    assert sum(each.net.sum() for each in expected) == pytest.approx(sum(each.net.sum() for each in runs), rel=0.06)


def test_expected_scores_compare_what_keeps_the_rules(worlds: Any) -> None:
    row = measure(worlds, "us_smb_debit", 3, 100, [], expected=True)
    assert row["violations"] == 0
    assert row["score"] > 60
    assert row["ece"] is None
    assert row["world"] in line(row)


def test_two_policies_say_the_same_of_the_same_cases(worlds: Any) -> None:
    world = worlds[0].World(4, "global_b2c_prepaid", 40)
    first, second = make_policy(), make_policy()
    world.run(first)
    world.run(second)
    assert first.said == second.said
    assert first.said


def test_it_learns_from_its_own_closed_cases_when_told_to(worlds: Any) -> None:
    policy = make_policy(learn_after=(60,))
    worlds[0].World(5, "us_smb_debit", 100).run(policy)
    assert policy.learns
    assert policy.model.learnt_from == 60


def test_a_rule_can_be_left_out_by_name() -> None:
    every = {rule.name for rule in rules_in_force()}
    assert every - {rule.name for rule in rules_in_force(frozenset({"sepa-5-more-in-30-days"}))} == {
        "sepa-5-more-in-30-days"
    }


def test_the_calibration_error_is_the_mean_distance_by_bin() -> None:
    said = [(0.0, 0.25, False)] * 3 + [(0.0, 0.25, True)] + [(0.0, 0.95, False)] * 2
    error, bins = calibration(said)
    assert error == pytest.approx((0 * 4 + 0.95 * 2) / 6)
    assert bins == [(4, 0.25, 0.25), (2, 0.95, 0.0)]


def test_without_the_worlds_the_command_says_what_is_missing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.retry_worlds", "--worlds", str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 2
    assert "name the folder of the worlds with --worlds" in ended.stderr
