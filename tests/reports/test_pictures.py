"""Pictures of hand-made tables: every figure and label is there as text, in colour and in black and white."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from typing import Literal
from xml.etree import ElementTree

import pytest
from PIL import Image

from billing.report.cohorts import Measure, triangle
from billing.report.period import Period
from billing.report.statement import LOSSES_SUBTRACT, bridge_table
from billing.report.table import Column, Kind, Table
from billing.report.trend import trend
from tests.reports.tables import scope, table
from worker.reports import drawing, pictures
from worker.reports.pictures import Bar, Picture, Waterfall

FEBRUARY = Period.month("2026-02")


def drawn(picture: Picture, form: Literal["svg", "png"] = "svg") -> bytes:
    out = io.BytesIO()
    pictures.write(picture, out, form)
    return out.getvalue()


def words(picture: Picture) -> str:
    """All text of the picture as SVG, in the order in which it is drawn."""
    root = ElementTree.fromstring(drawn(picture))  # noqa: S314  # it was made a moment ago
    return " ".join(" ".join("".join(text.itertext()).split()) for text in root.iter() if text.tag.endswith("}text"))


TABLES: dict[str, Table] = {
    "bridge": bridge_table(scope(), [FEBRUARY]),
    "trend": trend(scope(), FEBRUARY, 3),
    "cohorts": triangle(scope(), FEBRUARY, Measure.NRR, 3),
}


@pytest.mark.parametrize("name", TABLES)
def test_every_picture_is_titled_and_labelled(name: str) -> None:
    said = words(drawing.picture(TABLES[name]))
    assert TABLES[name].title in said
    for label in ("period: 202", "currency basis: native USD", "policy: default", "as known at: 2026-03-02"):
        assert label in said
    assert ("basis: netted" in said) or name == "cohorts"  # a triangle has no basis


@pytest.mark.parametrize("name", TABLES)
def test_every_picture_is_a_png_of_a_readable_size(name: str) -> None:
    picture = Image.open(io.BytesIO(drawn(drawing.picture(TABLES[name]), "png")))
    assert picture.format == "PNG"
    assert picture.width >= 1200
    assert picture.height >= 500


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("form", ["svg", "png"])
def test_the_same_figures_give_the_same_file(name: str, form: Literal["svg", "png"]) -> None:
    picture = drawing.picture(TABLES[name])
    assert drawn(picture, form) == drawn(picture, form)


def test_the_waterfall_has_every_line_with_its_sign() -> None:
    said = words(drawing.picture(TABLES["bridge"]))
    for figure in ("527.77", "+25.00", "-49.99", "-77.77", "-50.00", "+50.00", "425.01", "+19.00", "444.01"):
        assert figure in said.split(), figure
    assert re.search("Recovered involuntary churn", said)
    assert "NRR 80.53 %, GRR 75.79 %, gap 4.74 points" in said


def test_the_bars_of_a_waterfall_lead_from_one_level_to_the_next() -> None:
    waterfall = drawing.waterfall(TABLES["bridge"])
    level = 0.0
    for bar in waterfall.bars:
        if bar.level and level:
            assert bar.value == pytest.approx(level)
        level = bar.value if bar.level else level + bar.value


def test_net_display_has_no_recovered_bar() -> None:
    waterfall = drawing.waterfall(bridge_table(scope(), [FEBRUARY], display="net"))
    assert [bar.name for bar in waterfall.bars if "ecovered" in bar.name] == ["Involuntary churn, net of recovered"]


def test_without_colour_rising_falling_and_recovered_bars_still_differ() -> None:
    bars = [Bar("level", 100, "100", level=True), Bar("up", 50, "50"), Bar("down", -50, "-50")]
    bars.append(Bar("recovered", 30, "30", strong=True))
    picture = Image.open(io.BytesIO(drawn(Waterfall("t", (), bars, "USD"), "png"))).convert("L")
    shades = [_patch(picture, at, len(bars)) for at in range(len(bars))]
    assert len(set(shades)) == len(bars)


def _patch(picture: Image.Image, at: int, bars: int) -> bytes:
    """A strip out of the middle of a bar, from top to bottom."""
    left, right = int(picture.width * 0.09), picture.width
    middle = left + int((right - left) * (at + 0.5) / bars)
    return picture.crop((middle - 8, 0, middle + 8, picture.height)).tobytes()


def test_a_flat_bridge_cuts_its_axis_and_says_so() -> None:
    bars = [Bar("opening", 100_000, "a", level=True), Bar("up", 900, "b"), Bar("closing", 100_900, "c", level=True)]
    assert "axis cut at" in words(Waterfall("t", (), bars, "USD a month"))
    bars = [Bar("opening", 0, "a", level=True), Bar("up", 900, "b"), Bar("closing", 900, "c", level=True)]
    assert "axis cut at" not in words(Waterfall("t", (), bars, "USD a month"))


def test_the_heat_map_shows_each_cohort_at_each_age_and_no_age_to_come() -> None:
    picture = drawing.heat_map(TABLES["cohorts"])
    assert (picture.rows, picture.columns) == (["2026-01  (4)", "2026-02  (1)"], ["0", "1"])
    assert [[None if cell is None else round(cell) for cell in row] for row in picture.percent] == [
        [100, 81],
        [100, None],
    ]


def test_a_triangle_of_amounts_is_drawn_in_percent_of_its_first_age() -> None:
    picture = drawing.heat_map(triangle(scope(), FEBRUARY, Measure.LOGOS, 3))
    assert picture.percent[0][:2] == [100.0, 75.0]
    assert "percent of age 0" in picture.title


def test_a_trend_shows_twelve_months_as_soon_as_there_are_some() -> None:
    assert drawing.curves(TABLES["trend"]).title.endswith("single months")


def test_a_trend_begins_with_the_first_month_that_has_a_figure() -> None:
    assert drawing.curves(trend(scope(), FEBRUARY, 12)).times == ["2026-02"]


def test_the_caption_has_every_note_and_parts_no_label() -> None:
    waterfall = drawing.waterfall(TABLES["bridge"])
    notes = [value for name, value in waterfall.labels if name == "note"]
    assert any("EUR is not in this report" in note for note in notes)
    assert LOSSES_SUBTRACT not in notes  # the picture shows them below zero
    caption = pictures._caption([*waterfall.labels], 60).split("\n")
    for name, value in waterfall.labels:
        if name != "note":
            assert any(f"{name}: {value}" in line for line in caption), name


def test_a_picture_is_small_enough_to_be_mailed() -> None:
    assert len(drawn(drawing.picture(TABLES["bridge"]))) < 40_000


def test_signs_of_formulas_and_markup_stay_what_they_are() -> None:
    hostile = r"$x^2$ <b>&amp; \frac"
    assert hostile in words(Waterfall(hostile, (("policy", hostile),), [Bar("a", 1, "1", level=True)], "USD"))


@pytest.mark.parametrize("made", [table(), Table("bridge", "NRR bridge", TABLES["bridge"].columns, ())])
def test_a_table_that_cannot_be_drawn_is_refused(made: Table) -> None:
    with pytest.raises(drawing.NoPicture):
        drawing.picture(made)


def test_a_triangle_without_figures_is_refused() -> None:
    columns = (Column("cohort", "c", Kind.DATE), Column("joined", "j", Kind.COUNT), Column("age_0", "0", Kind.RATIO))
    with pytest.raises(drawing.NoPicture, match="no cohort"):
        drawing.picture(Table("cohorts_nrr", "Cohorts", columns, ((date(2026, 1, 1), 3, None),)))


def test_heavy_libraries_are_loaded_by_nobody_who_does_not_draw() -> None:
    modules: Sequence[str] = ("worker.cli", "worker.digest", "worker.dispatcher", "worker.reports.command")
    code = f"import sys, {', '.join(modules)}; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


HEAVY = ("matplotlib", "numpy", "pyarrow", "xlsxwriter", "PIL")
