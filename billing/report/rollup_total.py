"""Sums over the customers' months, by month and cohort: what a monthly bridge or a cohort triangle reads.

A few hundred rows stand for millions; those of cohort `EVERYBODY` sum over all cohorts, so that a bridge does not read
more rows the longer the history is. They are kept by what changes: months gained less months lost, so that sums kept
with each change and sums made anew over all months are the same rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import add, itemgetter, sub

from billing.report.rollup import Month

Key = tuple[str, int, int]  # currency, month, cohort
EVERYBODY = 0  # stands where the month of a cohort would

# Columns of Month that are summed as they are.
PLAIN = (
    "opening closing expansion downgrade restructuring voluntary_churn gross_involuntary_churn"
    " recovered_involuntary_churn new_business reactivation late_recovery recovered_live"
    " at_risk_opening at_risk at_risk_cases_opening at_risk_cases"
).split()
# What else is summed, in SQL and, in the same order, in `_derived`. `least` is the smaller one of two.
DERIVED: Mapping[str, str] = {
    "rows": "1",  # of these months: a sum over none does not stand
    "retained": "CASE WHEN opening > 0 THEN closing ELSE 0 END",
    "kept": "least(opening, closing)",
    "logos_opening": "CASE WHEN opening > 0 THEN 1 ELSE 0 END",
    "logos_closing": "CASE WHEN closing > 0 THEN 1 ELSE 0 END",
    "logos_lost": "CASE WHEN opening > 0 AND closing = 0 THEN 1 ELSE 0 END",
    "at_risk_base": "CASE WHEN opening > 0 THEN at_risk ELSE 0 END",
    "base": "CASE WHEN month = cohort THEN cohort_base ELSE 0 END",
    "base_logos": "CASE WHEN month = cohort AND cohort_base > 0 THEN 1 ELSE 0 END",
    # Changes of what a cohort has, of customers with a level at the end of its month.
    "cohort_retained": "CASE WHEN cohort_base > 0 THEN closing - opening ELSE 0 END",
    "cohort_kept": "least(cohort_base, closing) - least(cohort_base, opening)",
    "cohort_logos": "CASE WHEN cohort_base > 0 THEN (CASE WHEN closing > 0 THEN 1 ELSE 0 END)"
    " - (CASE WHEN opening > 0 THEN 1 ELSE 0 END) ELSE 0 END",
}
SUMMED = (*PLAIN, *DERIVED)

_key = itemgetter(*(Month._fields.index(name) for name in ("currency", "month", "cohort")))
_plain = itemgetter(*(Month._fields.index(name) for name in PLAIN))


def totals(gained: Iterable[Month], lost: Iterable[Month] = ()) -> dict[Key, list[int]]:
    """What months add to the sums, and those that are no more take off: by sorted key, in the order of `SUMMED`."""
    sums: dict[Key, list[int]] = {}
    for months, change in ((gained, add), (lost, sub)):
        for each in months:
            currency, month, cohort = _key(each)
            added = (*_plain(each), *_derived(each))
            for key in ((currency, month, cohort), (currency, month, EVERYBODY)):
                so_far = sums.get(key) or [0] * len(SUMMED)
                sums[key] = list(map(change, so_far, added))
    return {key: sums[key] for key in sorted(sums) if any(sums[key])}


def _derived(each: Month) -> tuple[int, ...]:
    opening, closing, base = each.opening, each.closing, each.cohort_base
    had, has, begins = opening > 0, closing > 0, each.month == each.cohort
    return (
        1,
        closing if had else 0,
        min(opening, closing),
        int(had),
        int(has),
        int(had and not closing),
        each.at_risk if had else 0,
        base if begins else 0,
        int(begins and base > 0),
        closing - opening if base > 0 else 0,
        min(base, closing) - min(base, opening),
        has - had if base > 0 else 0,
    )
