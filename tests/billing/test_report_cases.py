"""The runner of worked cases: the shared file passes whole, and a wrong figure is noticed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests import metric_cases

SHARED = Path(__file__).parents[3] / "shared" / "metrics_cases.json"
START: dict[str, Any] = {
    "type": "sub_start",
    "at": "2025-06-10T09:00:00Z",
    "cust": "c1",
    "sub": "s1",
    "items": [{"id": "i", "product": "pro", "unit_amount": 10000, "quantity": 1, "interval": "month"}],
}
GONE = {"type": "sub_cancel", "sub": "s1", "at": "2026-01-17T10:00:00Z", "reason": "customer"}
JANUARY = {"name": "January", "start": "2026-01-01", "end": "2026-02-01"}


def write(folder: Path, *cases: dict[str, Any]) -> str:
    file = folder / "cases.json"
    file.write_text(json.dumps({"default_policy": {"max_past_due_days": 30}, "cases": cases}))
    return str(file)


def bridge_case(**expected: Any) -> dict[str, Any]:
    period = JANUARY | {
        "expected": expected,
        "expected_activity": {"voluntary_churn": -10000},
        "expected_segments": {"all": {"customers": ["c1"], "expected": {"start": 10000}}},
        "expected_products": {"pro": {"start": 10000, "loss": 10000}, "never": {"end": 0}},
    }
    return {"id": "B1", "kind": "bridge", "events": [START, GONE], "periods": [period]}


@pytest.mark.skipif(not SHARED.exists(), reason="the shared folder is not beside the project")
def test_the_shared_cases_pass_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert metric_cases.main([str(SHARED)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith(" passed, 0 failed")


def test_a_case_that_holds_passes_and_one_that_does_not_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert metric_cases.main([write(tmp_path, bridge_case(end=0, nrr="0.00"))]) == 0
    assert capsys.readouterr().out == "1 passed, 0 failed\n"
    assert metric_cases.main([write(tmp_path, bridge_case(end=1), bridge_case(end=0))]) == 1
    assert capsys.readouterr().out == "B1 January: end is 0, expected 1\n1 passed, 1 failed\n"


def test_json_holds_what_was_computed_and_never_what_was_expected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metric_cases.main([write(tmp_path, bridge_case(start=-1, end=-1, grr="77.00")), "--json"])
    assert json.loads(capsys.readouterr().out) == {
        "case": "B1",
        "name": "January",
        "computed": {"start": 10000, "end": 0, "grr": "0.00"},
        "computed_activity": {"voluntary_churn": -10000},
        "computed_segments": {"all": {"start": 10000}},
        "computed_products": {"pro": {"start": 10000, "loss": 10000}, "never": {"end": 0}},
    }


def test_a_price_row_says_its_level_and_its_shares(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    items = [{"id": "i", "product": "pro", "unit_amount": 10000, "interval": "year"}]
    row: dict[str, Any] = {"name": "a year", "items": items}
    case = {"id": "N1", "kind": "normalize", "rows": [row | {"expected_mrr": 0, "expected_alloc": {}}]}
    assert metric_cases.main([write(tmp_path, case), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["computed"] == {"expected_mrr": 833, "expected_alloc": {"i": 833}}


FORMULAS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("nrr_grr", {"start": 200, "expansion": 70, "downgrade": 1}, {"nrr": "134.50", "grr": "99.50", "gap_flag": True}),
    ("nrr_grr", {"start": 200, "expansion": 60}, {"gap_points": "30", "gap_flag": False, "end": 260}),
    ("nrr_grr", {"start": 0, "new_business": 5}, {"nrr": None, "gap_flag": False, "end": 5}),
    ("nrr_grr", {"start": 200, "gross_involuntary_churn": 9, "recovered": 8}, {"nrr": "99.50", "grr": "99.50"}),
    ("grr_by_customer", {"customers": [[10, 0], [10, 30], [0, 9]]}, {"per_customer": "50.00", "nrr": "150.00"}),
    ("logo_and_nrr", {"customers": [[10, 0], [10, 30], [0, 9]]}, {"crr": "50.00", "nrr": "150.00"}),
    ("compound", {"start": 10_000_000, "nrr": "1.2", "years": 5}, {"end": 24_883_200}),
]


@pytest.mark.parametrize(("formula", "inputs", "expected"), FORMULAS)
def test_a_formula_gives_what_the_definitions_say(
    formula: str, inputs: dict[str, Any], expected: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"name": "one", "formula": formula, "inputs": inputs, "expected": expected}
    status = metric_cases.main([write(tmp_path, {"id": "F1", "kind": "formula", "rows": [row]})])
    assert (status, capsys.readouterr().out) == (0, "1 passed, 0 failed\n")


def spoilt(**changes: Any) -> dict[str, Any]:
    return {"id": "X1", "kind": "bridge", "events": [START | changes], "periods": [JANUARY]}


ITEM = START["items"][0]
CANNOT_BE_READ: list[tuple[dict[str, Any], str]] = [
    ({"id": "F9", "kind": "formula", "rows": [{"formula": "astrology", "inputs": {}, "expected": {}}]}, "'astrology'"),
    ({"id": "Z1", "kind": "horoscope"}, "no kind 'horoscope': there are bridge"),
    ({"id": "Z2"}, "'kind' is missing"),
    (spoilt(type="sub_begin"), "'sub_begin' is not a valid Kind"),
    (spoilt(at="yesterday"), "Invalid isoformat string: 'yesterday'"),
    (spoilt(status="asleep"), "status is 'asleep', none of active"),
    (spoilt(items=[ITEM | {"interval": "fortnight"}]), "interval is 'fortnight', none of day, week"),
    (spoilt(items=[ITEM | {"quantity": 1.5}]), "item 'i': quantity is 1.5, no whole number"),
    (spoilt(items=[ITEM | {"unit_amount": "ten"}]), "unit_amount is 'ten', no number"),
    (spoilt(items=[ITEM, ITEM]), "two items have one id"),
    (spoilt(items=[{"product": "pro"}]), "item without 'id'"),
    (spoilt(discounts=[{"percent_off": 10, "duration": "sometimes"}]), "duration is 'sometimes'"),
    ({"id": "X2", "kind": "bridge", "events": [START]}, "'periods' is missing"),
    ({"id": "X3", "kind": "bridge", "events": [START], "periods": [JANUARY | {"tz": "Mars/Base"}]}, "Mars/Base"),
    ({"id": "X4", "kind": "bridge", "events": [START], "periods": [JANUARY], "policy": "kind"}, "no policy 'kind'"),
    ({"id": "X5", "kind": "bridge", "events": {}, "periods": [{"start": "2026-02-01"}]}, "'end' is missing"),
]


@pytest.mark.parametrize(("case", "because"), CANNOT_BE_READ)
def test_a_case_that_cannot_be_read_is_named_and_the_others_run(
    case: dict[str, Any], because: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert metric_cases.main([write(tmp_path, case, bridge_case(end=0))]) == 2
    told = capsys.readouterr()
    assert f"cases.json: case {case['id']}: " in told.err
    assert because in told.err
    assert told.out.endswith("1 passed, 1 failed\n")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"cases": 1}', '"cases"', "\ufeff\x00"])
def test_a_file_that_is_none_is_told(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "cases.json"
    file.write_text(text)
    assert metric_cases.main([str(file)]) == 2
    assert "cases.json: " in capsys.readouterr().err


def test_a_case_that_is_no_case_is_named_by_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "cases.json"
    file.write_text(json.dumps({"cases": [7, {"kind": "bridge"}]}))
    assert metric_cases.main([str(file), "--json"]) == 2
    assert [line.partition(": ")[2][:13] for line in capsys.readouterr().err.splitlines()] == [
        "case number 1",
        "case number 2",
    ]
    assert metric_cases.main([str(tmp_path / "none.json")]) == 2
    assert metric_cases.main([]) == 2


def test_a_company_of_one_currency_is_reported_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    period = JANUARY | {"expected": {"start": 10000, "end": 10000}}
    yen = {"id": "B2", "kind": "bridge", "events": [START | {"currency": "JPY"}], "periods": [period]}
    assert metric_cases.main([write(tmp_path, yen)]) == 0
    assert capsys.readouterr().out == "1 passed, 0 failed\n"
