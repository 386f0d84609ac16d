"""The activity of weeks, or of any other days, without folding everybody: most customers do nothing in a week.

Those with an entry since the month began, or with a case open in it, are folded; what all others had when the month
began, the roll-ups know, and they have it still.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from billing.report.bridge import Basis, Bridge
from billing.report.period import Period
from worker.reports.source import Source


def bridges(source: Source, code: str, periods: Sequence[Period]) -> list[Bridge]:
    """One bridge in the activity basis for each period, in the order of time."""
    zone = periods[0].zone
    if source.months is None:
        return source.folded(code, zone).bridges(periods, Basis.ACTIVITY)
    closing_zone = source.app.settings.reporting_timezone
    day = timedelta(days=1)  # no two zones are farther apart
    month = Period.month(f"{periods[0].start - day:%Y-%m}", closing_zone)
    since = Period(month.start, periods[-1].end + day, closing_zone)
    whole = source.scope(code, closing_zone).bridge(month)
    mine, *made = source.folded(code, zone, among=since).bridges((month, *periods), Basis.ACTIVITY)
    rest, others = whole.start - mine.start, whole.logos_start - mine.logos_start
    return [
        replace(
            each,
            start=each.start + rest,
            end=each.end + rest,
            retained=each.retained + rest,
            kept=each.kept + rest,
            logos_start=each.logos_start + others,
        ).check()
        for each in made
    ]
