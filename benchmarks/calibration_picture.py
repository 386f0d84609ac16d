"""The calibration picture: what was told of attempts against what came of them, ten bins, as one SVG.

A dot on the diagonal keeps its word; its area is the number of attempts. Plain text, so that a diff shows what changed;
any plotting library could take its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Bin = tuple[int, float, float]  # attempts, mean chance told, share approved

SIDE, EDGE = 360, 56  # of the square with the dots, and around it, in pixels
COLOURS = ("#b45309", "#1d4ed8", "#047857")


def pooled(rows: Sequence[Sequence[Bin]]) -> list[Bin]:
    """The bins of several runs as those of one; bins of the same tenth are put together."""
    sums: dict[int, list[float]] = {}
    for count, told, came in (each for row in rows for each in row):
        total = sums.setdefault(min(int(told * 10), 9), [0.0, 0.0, 0.0])
        for at, value in enumerate((count, told * count, came * count)):
            total[at] += value
    return [(int(count), told / count, came / count) for _, (count, told, came) in sorted(sums.items())]


def svg(series: Mapping[str, Sequence[Bin]], title: str) -> str:
    """Name of a series -> its bins."""
    wide, high = SIDE + 2 * EDGE, SIDE + 2 * EDGE + 18 * len(series)
    bottom = EDGE + SIDE
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" role="img" font-family="sans-serif" '
        'font-size="12">',
        f"<title>{title}</title>",
        f'<rect width="{wide}" height="{high}" fill="#ffffff"/>',
        f'<text x="{EDGE}" y="{EDGE - 24}" font-size="13">{title}</text>',
        f'<path d="M{EDGE} {bottom}H{EDGE + SIDE}M{EDGE} {bottom}V{EDGE}" stroke="#374151" fill="none"/>',
        f'<path d="M{EDGE} {bottom}L{EDGE + SIDE} {EDGE}" stroke="#9ca3af" stroke-dasharray="4 4"/>',
    ]
    for tenth in range(0, 11, 2):
        x, y = _place(tenth / 10, tenth / 10)
        lines.append(f'<text x="{x:.0f}" y="{bottom + 18}" text-anchor="middle">{10 * tenth} %</text>')
        lines.append(f'<text x="{EDGE - 8}" y="{y + 4:.0f}" text-anchor="end">{10 * tenth} %</text>')
    middle = EDGE + SIDE // 2
    lines.append(f'<text x="{middle}" y="{bottom + 36}" text-anchor="middle">chance that was told</text>')
    lines.append(f'<text x="{EDGE}" y="{EDGE - 8}">share that came</text>')
    most = max((count for bins in series.values() for count, _, _ in bins), default=1)
    for at, (name, bins) in enumerate(series.items()):
        colour = COLOURS[at % len(COLOURS)]
        places = [_place(told, came) for _, told, came in bins]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        lines.append(f'<path d="M{path}" stroke="{colour}" fill="none" stroke-opacity="0.5"/>' if places else "")
        for (count, told, came), (x, y) in zip(bins, places, strict=True):
            said = f"{name}: told {100 * told:.1f} %, came {100 * came:.1f} %, {count} attempts"
            radius = 2.5 + 7 * (count / most) ** 0.5
            dot = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{colour}" fill-opacity="0.75">'
            lines.append(f"{dot}<title>{said}</title></circle>")
        number, error = sum(count for count, _, _ in bins), _error(bins)
        words = f"{name}: {number:,} attempts, off by {100 * error:.1f} points (ECE)"
        lines.append(f'<text x="{EDGE}" y="{bottom + 56 + 18 * at}" fill="{colour}">{words}</text>')
    return "\n".join(line for line in lines if line) + "\n</svg>\n"


def _place(told: float, came: float) -> tuple[float, float]:
    return EDGE + SIDE * told, EDGE + SIDE * (1 - came)


def _error(bins: Sequence[Bin]) -> float:
    """Expected calibration error."""
    return sum(count * abs(told - came) for count, told, came in bins) / max(1, sum(count for count, _, _ in bins))
