"""Where a figure stands among published ones: by source, by the source's own edges, never by an average."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from pathlib import Path

import pytest

from billing.report.bands import ARTICLE_001, ARTICLE_002, ARTICLE_003, STAGES, Bands, NotBands, bands
from billing.report.benchmark import (
    NAMES,
    UNDATED,
    Benchmark,
    Position,
    Standing,
    benchmark_table,
    matching,
    position,
)
from config.benchmarks import BenchmarksUnreadable, benchmarks

SHARED = Path(__file__).parents[3] / "shared" / "benchmarks.json"


def row(low: int | None = None, median: int | None = None, high: int | None = None) -> Benchmark:
    figures = [None if each is None else Fraction(each) for each in (low, median, high)]
    return Benchmark("s", "c", "nrr", "overall", "All", low=figures[0], median=figures[1], high=figures[2])


@pytest.mark.parametrize(
    ("value", "against", "verdict"),
    [
        ("104", row(95, 108, 125), Position.BELOW_MEDIAN),
        ("94.99", row(95, 108, 125), Position.BELOW_LOW),
        ("95", row(95, 108, 125), Position.BELOW_MEDIAN),
        ("108", row(95, 108, 125), Position.AT_OR_ABOVE_MEDIAN),
        ("140", row(95, 108, 125), Position.AT_OR_ABOVE_MEDIAN),
        ("96.99", row(median=97), Position.BELOW_MEDIAN),
        ("97", row(median=97), Position.AT_OR_ABOVE_MEDIAN),
        ("89.99", row(90, None, 105), Position.BELOW_RANGE),
        ("90", row(90, None, 105), Position.IN_RANGE),
        ("105", row(90, None, 105), Position.IN_RANGE),
        ("105.01", row(90, None, 105), Position.ABOVE_RANGE),
        ("114", row(high=115), Position.BELOW_LEVEL),
        ("115", row(high=115), Position.AT_OR_ABOVE_LEVEL),
    ],
)
def test_a_value_stands_where_the_row_puts_it(value: str, against: Benchmark, verdict: Position) -> None:
    assert position(Fraction(value), against) is verdict


@pytest.mark.parametrize(
    ("acv", "source", "segment"),
    [
        ("9999.99", "article-002", "SMB (<10K ACV)"),
        ("10000", "article-002", "Mid-market (10K-100K ACV)"),
        ("99999.99", "article-002", "Mid-market (10K-100K ACV)"),
        ("100000", "article-002", "Enterprise (100K+ ACV)"),
        ("15000", "article-003", "Mid-market (15K-100K ACV)"),
        ("100000", "article-003", "Mid-market (15K-100K ACV)"),
        ("100000.01", "article-003", "Enterprise (>100K ACV)"),
        ("24999.99", "article-001", "SMB (<25K ACV)"),
        ("25000", "article-001", "Mid-market (25K-100K ACV)"),
        ("100000", "article-001", "Mid-market (25K-100K ACV)"),
        ("100000.01", "article-001", "Enterprise (>100K ACV)"),
    ],
)
def test_edges_belong_where_their_source_has_them(acv: str, source: str, segment: str) -> None:
    found = matching(benchmarks(), "nrr", "acv", Fraction(acv), source=source)
    assert [each.segment for each in found] == [segment]
    same = {"article-001": ARTICLE_001, "article-002": ARTICLE_002, "article-003": ARTICLE_003}[source]
    assert same.of_yearly(Fraction(acv)) == segment


def test_a_band_is_found_from_monthly_cents() -> None:
    assert ARTICLE_002.of(83_333, "usd") == "SMB (<10K ACV)"  # 9,999.96 a year
    assert ARTICLE_002.of(833_334, "jpy") == "Enterprise (100K+ ACV)"  # yen have no cents
    assert STAGES.of(41_666_667, "usd") == "5-25M ARR"
    with pytest.raises(NotBands):
        bands("wrong", [("a", 0), ("b", 0)])
    with pytest.raises(NotBands):
        Bands("wrong", ())


def test_no_contract_value_is_in_two_bands_of_one_source() -> None:
    for edge in (Fraction(each) for each in ("0", "10000", "15000", "25000", "100000", "100000.01", "9000000")):
        for source in ("article-001", "article-002", "article-003"):
            assert len(matching(benchmarks(), "nrr", "acv", edge, source=source)) == 1


def test_the_view_lists_each_source_by_itself() -> None:
    asked = [Standing("nrr", "acv", Fraction(104), Fraction(12_000)), Standing("grr", "overall", Fraction(92))]
    table = benchmark_table(asked, benchmarks())
    place = [column.name for column in table.columns].index
    told = [(line[place("source")], line[place("position")]) for line in table.rows]
    assert told == [
        ("article-000", "at or above median"),
        ("article-001", "at or above median"),
        ("article-002", "below median"),
        ("article-003", "in range"),
        ("article-003", "at or above median"),
    ]
    assert table.rows[0][place("value")] == Fraction("1.04")
    years = [(line[place("cited")], line[place("year")]) for line in table.rows]
    assert years[0] == ("Benchmarkit", UNDATED)
    assert all(str(year) in str(cited) for cited, year in years[1:])


def test_every_figure_has_a_name_that_people_read_and_a_year() -> None:
    for each in benchmarks():
        assert {each.metric, each.source} <= NAMES.keys()
        assert each.year == UNDATED or re.fullmatch("20[0-9]{2}", each.year)
        told = re.findall("20[0-9]{2}", each.cited)
        assert each.year in (told or ["2026", UNDATED]), each
        assert each.cited != "article" or each.year == "2026"  # all five are of that year


@pytest.mark.skipif(not SHARED.exists(), reason="the shared folder is not beside the project")
def test_the_figures_are_the_published_ones() -> None:
    published = json.loads(SHARED.read_text())["rows"]
    assert len(published) == len(benchmarks())
    for told, read in zip(published, benchmarks(), strict=True):
        for name, value in told.items():
            exact = Fraction(str(value)) if isinstance(value, int | float) else value
            assert getattr(read, name) == exact or not value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[benchmark]\n", "Expected"),
        ("other = 1\n", "benchmark"),
        ('[[benchmark]]\nsource = "s"\n', "row 1"),
        (
            '[[benchmark]]\nsource="s"\ncited="c"\nmetric="nrr"\ndimension="d"\nsegment="x"\n',
            "neither low, median nor high",
        ),
        ('[[benchmark]]\nsource="s"\ncited="c"\nmetric="n"\ndimension="d"\nsegment="x"\nlow="?"\n', "row 1"),
    ],
)
def test_a_file_that_cannot_be_read_says_where(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(BenchmarksUnreadable, match=words):
        benchmarks(file)
