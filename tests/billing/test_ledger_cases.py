"""The worked cases, ours and, when it is beside the project, the shared file of the metrics definitions."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import metric_cases
from tests.metric_cases_answer import Json

OWN = Path(__file__).parents[1] / "metric_cases_own.json"
SHARED = Path(__file__).parents[3] / "shared" / "metrics_cases.json"


@pytest.mark.parametrize(
    ("case", "defaults"),
    [
        pytest.param(case, defaults, id=case["id"])
        for file in (OWN, SHARED)
        if file.exists()
        for cases, defaults in [metric_cases.read(file)]
        for case in cases
    ],
)
def test_a_worked_case_comes_to_what_was_worked_out_by_hand(case: Json, defaults: Json) -> None:
    answers = list(metric_cases.run(case, defaults))
    assert answers
    assert [f"{answer.name}: {answer.difference}" for answer in answers if not answer.passed] == []
