"""A recovery policy from a file: a sound one becomes a value, a mistake is named with its file and its key."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from billing.declines import RETRYABLE, DeclineClass
from billing.policy import Mode, Retry, Strategy
from config.policies import BadPolicy, declines, in_mode, parse, read, shipped
from config.priors import priors
from config.zones import zones

WHERE = "policy standard"


def test_every_shipped_policy_is_sound_and_named_as_its_file() -> None:
    assert "standard" in shipped()
    for name in shipped():
        policy = parse(read(name), name)
        assert policy.name == name
        assert policy.mode is Mode.OBSERVE
        assert set(policy.ladders) <= RETRYABLE
        assert all(rungs[-1] < policy.window for rungs in policy.ladders.values())


def test_the_values_of_a_file_arrive_in_their_units() -> None:
    policy = parse({**read("learned"), "window_days": 30, "min_gap_hours": 36, "notice_delay_hours": 0}, WHERE)
    assert (policy.id, policy.window, policy.min_gap) == ("learned@1", timedelta(days=30), timedelta(hours=36))
    assert policy.notice_delay == timedelta(0)
    assert policy.ladders[DeclineClass.UNKNOWN] == (timedelta(days=2), timedelta(days=7))
    assert policy.declines is declines()


def test_the_standard_policy_learns_and_one_without_a_retry_table_climbs_its_ladder() -> None:
    standard = parse(read("standard"), WHERE)
    assert standard.retry == Retry(Strategy.LEARNED, (22, 6), 0.02, 6, 350, 0.004)
    assert standard.zones["US"] == "America/Chicago"
    assert standard.model is None
    ladder = parse(read("ladder"), WHERE)
    assert ladder.retry == Retry(Strategy.LADDER)
    assert ladder.ladders == parse(read("learned"), WHERE).ladders


def test_every_country_has_a_time_zone_that_exists() -> None:
    for country, zone in zones().items():
        assert ZoneInfo(zone).key == zone, country
    assert set(priors().customs) - {"EU"} <= set(zones()), "pay-days are known where the hour is"


def test_a_file_of_zones_that_cannot_be_read_leaves_no_local_hours(tmp_path: Path) -> None:
    for content in ("", "zones = 3", "zones ="):
        (tmp_path / "zones.toml").write_text(content)
        zones.cache_clear()
        assert dict(zones(tmp_path / "zones.toml")) == {}
    zones.cache_clear()


def test_a_policy_cannot_be_changed_by_whoever_uses_it() -> None:
    with pytest.raises(TypeError):
        parse(read("standard"), WHERE).ladders[DeclineClass.UNKNOWN] = ()  # type: ignore[index]


# (what is changed, the key that the message names)
WRONG: list[tuple[dict[str, Any], str]] = [
    *[({key: None}, key) for key in ("name", "version", "window_days", "max_attempts", "min_gap_hours", "ladders")],
    *[({key: None}, key) for key in ("stripe_distance_hours", "notice_delay_hours", "after_card_change_minutes")],
    ({"name": "../standard"}, "name"),
    ({"version": 0}, "version"),
    ({"window_days": 0}, "window_days"),
    ({"window_days": 121}, "window_days"),
    ({"window_days": float("nan")}, "window_days"),
    ({"max_attempts": 16}, "max_attempts"),
    ({"max_attempts": -1}, "max_attempts"),
    ({"min_gap_hours": 0.5}, "min_gap_hours"),
    ({"stripe_distance_hours": -1}, "stripe_distance_hours"),
    ({"notice_delay_hours": "soon"}, "notice_delay_hours"),
    ({"mode": "own"}, "mode"),
    ({"retries": 3}, "retries"),
    ({"retry": {"strategy": "lucky"}}, "retry.strategy"),
    ({"retry": {"explore": 0.5}}, "retry.explore"),
    ({"retry": {"quiet_hours": [22]}}, "retry.quiet_hours"),
    ({"retry": {"quiet_hours": [8, 25]}}, "retry.quiet_hours.1"),
    ({"retry": {"quiet_hours": [6, 23]}}, "retry.quiet_hours"),
    ({"retry": {"attempt_cost": -1}}, "retry.attempt_cost"),
    ({"retry": {"returned_debit_cost": "much"}}, "retry.returned_debit_cost"),
    ({"retry": {"goodwill_cost": 0.3}}, "retry.goodwill_cost"),
    ({"retry": {"when": "soon"}}, "retry.when"),
    ({"ladders": {"temporary": [1, -2]}}, "ladders.temporary.1"),
    ({"ladders": {"temporary": 3}}, "ladders.temporary"),
    ({"ladders": {"temporary": [3, 2]}}, "ladders.temporary"),
    ({"ladders": {"temporary": [2, 2]}}, "ladders.temporary"),
    ({"ladders": {"temporary": [2, 28]}}, "ladders.temporary"),
    ({"ladders": {"no_such_class": [1]}}, "ladders.no_such_class"),
    *[({"ladders": {kind: [1]}}, f"ladders.{kind}") for kind in DeclineClass if kind not in RETRYABLE],
]


@pytest.mark.parametrize(("over", "key"), WRONG, ids=[f"{key}-{n}" for n, (_, key) in enumerate(WRONG)])
def test_a_mistake_is_named_with_its_file_and_key(over: dict[str, Any], key: str) -> None:
    body = {name: value for name, value in {**read("learned"), **over}.items() if value is not None}
    with pytest.raises(BadPolicy) as error:
        parse(body, WHERE)
    (line,) = str(error.value).splitlines()
    assert line.startswith(f"{WHERE}: ")
    assert key in line


def test_several_mistakes_are_told_at_once() -> None:
    with pytest.raises(BadPolicy) as error:
        parse({**read("standard"), "version": 0, "max_attempts": 99}, WHERE)
    assert [line.split(": ")[1] for line in str(error.value).splitlines()] == ["version", "max_attempts"]


def test_an_operators_own_file_comes_before_the_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "standard.toml").write_text('name = "standard"\n')
    assert read("standard", tmp_path) == {"name": "standard"}
    (tmp_path / "standard.toml").unlink()
    assert read("standard", tmp_path) == read("standard")


@pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe", b"a = 1\na = 2"])
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mine.toml").write_bytes(content)
    with pytest.raises(BadPolicy, match=r"mine\.toml: "):
        read("mine", tmp_path)


def test_a_policy_that_does_not_exist_is_answered_with_those_that_do(tmp_path: Path) -> None:
    with pytest.raises(BadPolicy, match=r"there is no policy 'mine'; the shipped ones are: .*standard"):
        read("mine", tmp_path)


def test_the_mode_comes_from_the_account() -> None:
    assert in_mode(parse(read("standard"), WHERE), "own").mode is Mode.OWN
