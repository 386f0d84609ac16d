from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest

from billing.retry.model import BadModel, model_of, table_of
from config.priors import priors


def test_the_cold_start_can_be_read() -> None:
    assert priors().version == "prior-3"
    assert priors().learnt_from == 0


def test_a_model_comes_back_from_json_as_it_was() -> None:
    model = replace(priors(), calibration=((0.1, 0.05), (0.5, 0.6)), learnt_from=7)
    read = model_of(json.loads(json.dumps(table_of(model))))
    assert all(getattr(read, part.name) == getattr(model, part.name) for part in fields(model))


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("causes", {"funds": 1.0}, "causes"),
        ("hours", {"approves": [1.0]}, "hours.approves"),
        ("customs", {"Atlantis": ["AT"]}, "customs"),
        ("paydays", {}, "paydays.any"),
        ("calibration", [[0.5, 0.1], [0.2, 0.2]], "calibration"),
        ("tightness", [{"name": "x", "share": 1, "fills": 2.0, "leaks": 1, "spends": 1}], "tightness.x"),
        ("blocks", [{"name": "x", "share": -1, "half_days": 1}], "blocks.x"),
        ("deposits", {"Atlantis": 7.0}, "deposits"),
        ("deposits", {"US": 24.0}, "deposits.US"),
        ("advice", 3, "AttributeError"),
    ],
)
def test_a_table_that_is_no_model_is_refused_by_key(key: str, value: object, told: str) -> None:
    with pytest.raises(BadModel, match=told):
        model_of({**table_of(priors()), key: value})


def test_wages_come_earlier_in_the_us_and_as_before_in_models_that_do_not_tell_regions_apart() -> None:
    table = table_of(priors())
    assert model_of(table).deposit_hour("US") < model_of(table).deposit_hour("EU")
    del table["deposits"]
    assert model_of(table).deposit_hour("US") == model_of(table).deposit_hour("EU") == table["funds"]["deposit_hour"]


def test_a_file_with_an_error_names_itself(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("version = 'x'\n")
    with pytest.raises(BadModel, match=r"mine\.toml: KeyError"):
        priors(file)


@pytest.mark.parametrize(("said", "told"), [(0.0, 0.0), (0.05, 0.1), (0.1, 0.2), (0.3, 0.35), (0.5, 0.5), (1.0, 1.0)])
def test_a_chance_is_told_by_the_map(said: float, told: float) -> None:
    assert replace(priors(), calibration=((0.1, 0.2), (0.5, 0.5))).calibrated(said) == pytest.approx(told)


def test_without_a_map_a_chance_is_told_as_believed() -> None:
    assert priors().calibrated(0.37) == pytest.approx(0.37)
