"""Three pictures for a slide or a mail: the bridge as a waterfall, retention over time, cohorts as a heat map.

Each is a plain value drawn to SVG (its text stays text) or PNG. They are read in black and white too: what rises, falls
and stands differs in hatching and outline, lines in dash and mark, and every figure is printed. Needs the extra
`pictures` (matplotlib with what it needs, about 120 MB installed), which is loaded only here.
"""

from __future__ import annotations

import logging
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

from worker.reports.cells import visible
from worker.reports.extras import needed

Labels = Sequence[tuple[str, str]]
Format = Literal["svg", "png"]

INK, FAINT, STAND, RISE, FALL = "#1b1f24", "#8a929c", "#3d4650", "#cfe3d4", "#f2d3cc"
RECOVERED = "#7fb795"
FLAT = 0.35  # steps that span less of the height than this get an axis that begins above zero
DPI = 160
LETTERS_PER_INCH = 14  # of the caption
STYLE: Any = {
    "font.family": ["DejaVu Sans", "sans-serif"],
    "font.size": 10,
    "svg.fonttype": "none",
    "svg.hashsalt": "reprieve",  # the same figures give the same file
    "text.parse_math": False,  # a dollar sign is a dollar sign
    "hatch.linewidth": 0.6,
    "axes.edgecolor": FAINT,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


@dataclass(frozen=True, slots=True)
class Bar:
    """One step of a waterfall. `value` is signed, in whole currency units; a level stands on the ground."""

    name: str
    value: float
    shown: str
    level: bool = False
    strong: bool = False  # the line the product exists for


@dataclass(frozen=True, slots=True)
class Waterfall:
    title: str
    labels: Labels
    bars: Sequence[Bar]
    unit: str


@dataclass(frozen=True, slots=True)
class Curve:
    """Percentages by place on the time axis; None where there is nothing to say."""

    name: str
    percent: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Trend:
    title: str
    labels: Labels
    times: Sequence[str]
    curves: Sequence[Curve]


@dataclass(frozen=True, slots=True)
class HeatMap:
    """A triangle of percentages: one row for each cohort, one column for each age; None where time has not come."""

    title: str
    labels: Labels
    rows: Sequence[str]
    columns: Sequence[str]
    percent: Sequence[Sequence[float | None]]
    row_name: str = "Cohort"
    column_name: str = "Age"


Picture = Waterfall | Trend | HeatMap


def write(picture: Picture, out: BinaryIO, form: Format) -> None:
    """Draw to an image file. Raises MissingExtra."""
    with needed("pictures", "Pictures"):
        import matplotlib as mpl
        from matplotlib.figure import Figure
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    with mpl.rc_context(STYLE):
        match picture:
            case Waterfall():
                figure = Figure(figsize=(max(8.0, 1.0 * len(picture.bars) + 2), 6.0), layout="constrained")
                _waterfall(figure, picture)
            case Trend():
                figure = Figure(figsize=(max(8.0, 0.42 * len(picture.times) + 4), 5.4), layout="constrained")
                _trend(figure, picture)
            case HeatMap():
                wide, high = 0.56 * len(picture.columns) + 2.6, 0.34 * len(picture.rows) + 2.4
                figure = Figure(figsize=(max(8.0, wide), max(3.6, high)), layout="constrained")
                _heat_map(figure, picture)
        _frame(figure, picture)
        made: dict[str, Any] = {"Date": None} if form == "svg" else {"Software": None}
        figure.savefig(out, format=form, dpi=DPI, metadata=made, facecolor="white")


def _frame(figure: Any, picture: Picture) -> None:
    """Title above; period, basis and policy below, without which no picture leaves."""
    figure.suptitle(_safe(picture.title), x=0.01, ha="left", fontsize=14, fontweight="bold")
    width = int(LETTERS_PER_INCH * figure.get_figwidth())
    said = _caption(picture.labels, width)
    figure.supxlabel(_safe(said), x=0.01, ha="left", fontsize=8, color=INK)


def _caption(labels: Labels, width: int) -> str:
    """As many labels on a line as fit, none of them parted; each note on its own."""
    lines = [""]
    for name, value in labels:
        if not value:
            continue
        if name == "note":
            lines += textwrap.wrap(value, width)
            continue
        said = f"{name}: {value}"
        joined = f"{lines[-1]}  ·  {said}" if lines[-1] else said
        if len(joined) > width and lines[-1]:
            lines.append(said)
        else:
            lines[-1] = joined
    return "\n".join(line for line in lines if line)


def _safe(text: str) -> str:
    """Text from outside, its own line breaks kept."""
    return "\n".join(map(visible, text.split("\n")))


def _waterfall(figure: Any, picture: Waterfall) -> None:
    axes = figure.add_subplot()
    level = 0.0
    ends = []
    for at, bar in enumerate(picture.bars):
        low, high = (min(0.0, bar.value), max(0.0, bar.value)) if bar.level else _between(level, level + bar.value)
        level = bar.value if bar.level else level + bar.value
        axes.bar(at, high - low, bottom=low, width=0.66, linewidth=1.0, edgecolor=INK, **_look(bar))
        ends.append((high, level))
    top = max((high for high, _ in ends), default=0.0) or 1.0
    ground = _ground(picture.bars, [after for _, after in ends], top)
    for at, (bar, (high, after)) in enumerate(zip(picture.bars, ends, strict=True)):
        weight = "bold" if bar.level or bar.strong else "normal"
        above = high + (top - ground) * 0.012
        axes.text(at, above, _safe(bar.shown), ha="center", va="bottom", fontsize=9, fontweight=weight)
        if bar.level and ground > 0:
            _torn(axes, at, ground, top)
        if at + 1 < len(ends):
            axes.plot([at + 0.33, at + 0.67], [after, after], color=FAINT, linewidth=0.8)
    names = [_safe("\n".join(textwrap.wrap(bar.name, 13, break_long_words=False))) for bar in picture.bars]
    axes.set_xticks(range(len(names)), names, fontsize=9)
    for tick, bar in zip(axes.get_xticklabels(), picture.bars, strict=True):
        tick.set_fontweight("bold" if bar.level or bar.strong else "normal")
    cut = f", axis cut at {ground:,.0f}" if ground > 0 else ""
    axes.set_ylabel(_safe(picture.unit + cut))
    axes.set_ylim(ground, top + (top - ground) * 0.09)
    _thousands(axes.yaxis)
    _quiet(axes)


def _ground(bars: Sequence[Bar], levels: Sequence[float], top: float) -> float:
    """Where the axis begins: at zero, or higher when the steps would be too flat to see beside the levels."""
    low = min(levels, default=0.0)
    span = top - low
    if low <= 0 or span > top * FLAT or len(bars) < 3:
        return min(low, 0.0)
    step = 10.0 ** math.floor(math.log10(max(span, 1.0)))
    return max(0.0, math.floor((low - span * 0.6) / step) * step)


def _torn(axes: Any, at: int, ground: float, top: float) -> None:
    """A white tear through the foot of a bar that does not stand on zero."""
    y, deep = ground + (top - ground) * 0.04, (top - ground) * 0.012
    places = [at - 0.4 + 0.1 * step for step in range(9)]
    axes.plot(places, [y + (deep if step % 2 else -deep) for step in range(9)], color="white", linewidth=3.5)


def _look(bar: Bar) -> dict[str, Any]:
    if bar.level:
        return {"facecolor": STAND}
    if bar.strong:
        return {"facecolor": RECOVERED, "hatch": "xxx"}
    return {"facecolor": RISE, "hatch": "///"} if bar.value >= 0 else {"facecolor": FALL, "hatch": "\\\\\\"}


def _between(one: float, other: float) -> tuple[float, float]:
    return (one, other) if one <= other else (other, one)


LOOKS = (
    {"color": INK, "linestyle": "-", "marker": "o"},
    {"color": "#1f5eff", "linestyle": "--", "marker": "s"},
    {"color": "#a0522d", "linestyle": ":", "marker": "^"},
    {"color": "#4a7c59", "linestyle": "-.", "marker": "D"},
    {"color": "#7a4ea3", "linestyle": (0, (6, 1, 1, 1)), "marker": "v"},
    {"color": FAINT, "linestyle": (0, (1, 1)), "marker": "x"},
)


def _trend(figure: Any, picture: Trend) -> None:
    axes = figure.add_subplot()
    places = list(range(len(picture.times)))
    ends: list[tuple[float, str, str]] = []
    for number, curve in enumerate(picture.curves):
        look: dict[str, Any] = dict(LOOKS[number % len(LOOKS)])
        values = [float("nan") if value is None else value for value in curve.percent]
        axes.plot(places, values, linewidth=1.6, markersize=4, markerfacecolor="white", **look)
        known = [value for value in curve.percent if value is not None]
        if known:
            ends.append((known[-1], f"{curve.name} {known[-1]:.1f} %", look["color"]))
    axes.axhline(100, color=FAINT, linewidth=0.8)
    low, high = axes.get_ylim()
    _name_lines(axes, ends, len(places) - 1, (high - low) * 0.055)
    every = max(1, len(places) // 12)
    shown = places[::-1][::every][::-1]
    turned = {"rotation": 45, "ha": "right"} if len(shown) > 8 else {}
    axes.set_xticks(shown, [_safe(picture.times[at]) for at in shown], fontsize=9, **turned)
    axes.set_ylabel("percent of the opening base")
    axes.yaxis.grid(True, color="#e3e6ea", linewidth=0.6)
    axes.set_axisbelow(True)
    _quiet(axes)


def _name_lines(axes: Any, ends: list[tuple[float, str, str]], x: float, apart: float) -> None:
    """Each line's name at its end instead of a legend, pushed apart where they would overlap."""
    last = float("-inf")
    for value, text, color in sorted(ends):
        last = max(value, last + apart)
        axes.annotate(
            _safe(text),
            (x, last),
            (8, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=color,
            annotation_clip=False,
        )


def _heat_map(figure: Any, picture: HeatMap) -> None:
    axes = figure.add_subplot()
    size = 9 if len(picture.columns) <= 13 else 7
    for row, line in enumerate(picture.percent):
        for column, value in enumerate(line):
            if value is None:
                continue
            axes.add_patch(_square(column, row, str(_shade(value))))
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=size)
    axes.set_xlim(-0.5, max(len(picture.columns), 1) - 0.5)
    axes.set_ylim(max(len(picture.rows), 1) - 0.5, -0.5)
    axes.set_xticks(range(len(picture.columns)), [_safe(name) for name in picture.columns], fontsize=size)
    axes.set_yticks(range(len(picture.rows)), [_safe(name) for name in picture.rows], fontsize=size)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xlabel(_safe(picture.column_name), fontsize=9)
    axes.set_ylabel(_safe(picture.row_name), fontsize=9)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _shade(percent: float) -> float:
    """Grey from nearly white (50 % or less) to middle (130 % or more): dark figures stay readable on all of it."""
    return 0.98 - 0.48 * min(max((percent - 50) / 80, 0.0), 1.0)


def _square(column: int, row: int, grey: str) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.48, row - 0.46), 0.96, 0.92, facecolor=grey, edgecolor="#c9ced4", linewidth=0.5)


def _thousands(axis: Any) -> None:
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _quiet(axes: Any) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0)
