"""The picture of what was told against what came: bins of several runs together, dots where they belong."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from benchmarks.calibration_picture import EDGE, SIDE, pooled, svg
from benchmarks.retry_worlds import picture

SVG = "{http://www.w3.org/2000/svg}"


def test_bins_of_two_runs_are_weighed_by_their_attempts() -> None:
    ((count, told, came), other) = pooled([[(10, 0.02, 0.0), (5, 0.95, 1.0)], [(30, 0.06, 0.04)]])
    assert (told, came) == pytest.approx((0.05, 0.03))
    assert other[1:] == pytest.approx((0.95, 1.0))
    assert (count, other[0]) == (40, 5)


def test_what_keeps_its_word_lies_on_the_diagonal() -> None:
    drawn = ET.fromstring(svg({"cold": [(10, 0.25, 0.25), (20, 0.5, 0.75)]}, "a title"))  # noqa: S314 - our own
    honest, better = drawn.iter(f"{SVG}circle")
    assert float(honest.attrib["cx"]) - EDGE == pytest.approx(EDGE + SIDE - float(honest.attrib["cy"]))
    assert float(better.attrib["cy"]) == pytest.approx(EDGE + SIDE / 4)
    assert float(better.attrib["r"]) > float(honest.attrib["r"])
    assert "off by 16.7 points" in "".join(drawn.itertext())


def test_cold_and_learnt_are_two_series() -> None:
    learnt = {100: {"bins": [(1, 0.1, 0.0)]}, 200: {"bins": [(7, 0.1, 0.0)]}}
    drawn = picture([{"world": "w", "bins": [(9, 0.1, 0.2)], "learnt": learnt}])
    assert "cold: 9 attempts" in drawn
    assert "after 200 closed cases: 7 attempts" in drawn


def test_nothing_measured_draws_no_dot() -> None:
    assert "circle" not in svg({"cold": []}, "empty")
