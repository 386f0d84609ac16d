"""Bridges and cohorts from the roll-ups alone: their cost grows with customers and months asked for, not with history.

The same figures as `billing.report.bridge` gives on the facts, which a test holds. Periods are whole months in the
zone the roll-ups were made for, amounts native: for other dates and for currency rates there is the fold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, bindparam, text
from sqlalchemy.types import Integer, Text

from billing.money import MONTHLY
from billing.report.bridge import Basis, Bridge
from billing.report.currency import Currency
from billing.report.period import NotAPeriod, Period
from billing.report.rows import Row
from worker.columns import Flag, Instant
from worker.store import Owner


@dataclass(frozen=True, slots=True)
class Asked:
    """Whose books, in which currency, and what is printed beside the figures."""

    owner: Owner
    currency: str
    as_known: datetime
    policy: str = "default"
    zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class CohortMonth:
    """Customers whose first month was `cohort`, at the end of `month`. Minor units a month; logos are customers.

    `base` is their level at the end of the first month; `retained` what those who had any then have now, `kept` the
    same, each at most with the level of then. NRR is retained / base, GRR is kept / base.
    """

    cohort: int
    month: int
    minor: int
    logos: int
    base: int
    base_logos: int
    retained: int
    kept: int
    kept_logos: int


def bridge(db: Connection, asked: Asked, period: Period, basis: Basis = Basis.NETTED) -> Bridge:
    """The checked bridge of one period of whole months, each customer from point to point. Raises NotAPeriod."""
    row = _run(db, asked, _PERIOD, a=_month(period.start), b=_month(period.end)).one()._mapping
    names = dict(zip(_NETTED, _NETTED, strict=True)) if basis is Basis.NETTED else _ACTIVITY
    figures = {name: int(row[column] or 0) for name, column in names.items()}
    figures |= {name: int(row[name] or 0) for name in _ENDS}
    return _bridge(asked, period, basis, figures, row["at_risk_since"])


def monthly(db: Connection, asked: Asked, period: Period) -> list[Bridge]:
    """The checked netted bridge of every month of a period of whole months. Raises NotAPeriod."""
    months = list(_months(period))
    within = {"a": _month(period.start), "b": _month(period.end)}
    before = _run(db, asked, _STANDING, a=within["a"]).one()._mapping
    had = {name: int(before[name] or 0) for name in ("end", "logos", "at_risk", "at_risk_cases")}
    moved = {row.month: row._mapping for row in _run(db, asked, _MONTHS, **within)}
    made = []
    for month in months:
        number = _month(month.start)
        since = _run(db, asked, _OLDEST, a=number).scalar_one()
        figures, had = _carry(had, moved.get(number, {}))
        made.append(_bridge(asked, month, Basis.NETTED, figures, since))
    return made


def _carry(had: Mapping[str, int], moved: Mapping[Any, Any]) -> tuple[dict[str, int], dict[str, int]]:
    """One month's figures from what stood before it and the rows of the customers who moved; and what stands after."""
    row = {str(name): int(minor or 0) for name, minor in moved.items()}

    def of(name: str) -> int:
        return row.get(name, 0)

    quiet = had["end"] - of("opening")
    quiet_risk = had["at_risk"] - of("at_risk_opening")
    after = {
        "end": quiet + of("closing"),
        "logos": had["logos"] - of("logos_opening") + of("logos_closing"),
        "at_risk": quiet_risk + of("at_risk"),
        "at_risk_cases": had["at_risk_cases"] - of("at_risk_cases_opening") + of("at_risk_cases"),
    }
    figures = {name: of(name) for name in _NETTED}
    figures |= {
        "start": had["end"],
        "end": after["end"],
        "retained": quiet + of("retained"),
        "kept": quiet + of("kept"),
        "logos_start": had["logos"],
        "logos_lost": of("logos_lost"),
        "at_risk": after["at_risk"],
        "at_risk_base": quiet_risk + of("at_risk_base"),
        "at_risk_cases": after["at_risk_cases"],
    }
    return figures, after


def _bridge(asked: Asked, period: Period, basis: Basis, figures: Mapping[str, int], since: datetime | None) -> Bridge:
    unknown = {name: 0 for name in Row.__slots__ if name != "customer"}
    return Bridge(
        period=period,
        basis=basis,
        unit=asked.currency + MONTHLY,
        currency_basis=Currency(asked.currency).basis,
        policy=asked.policy,
        as_known=asked.as_known,
        **{**unknown, **figures, "at_risk_since": since},  # type: ignore[arg-type]  # counts, and one instant
    ).check()


def cohorts(db: Connection, asked: Asked, period: Period) -> list[CohortMonth]:
    """The triangle: every cohort that begins in the period, at the end of every month of it. Raises NotAPeriod."""
    months = [_month(each.start) for each in _months(period)]
    moved = {
        (row.cohort, row.month): [int(minor or 0) for minor in row[2:]]
        for row in _run(db, asked, _COHORTS, a=_month(period.start), b=_month(period.end))
    }
    cells = []
    for cohort in months:
        levels = [0] * 7
        for month in months:
            if month >= cohort:
                changes = moved.get((cohort, month))
                levels = [had + more for had, more in zip(levels, changes, strict=True)] if changes else levels
                cells.append(CohortMonth(cohort, month, *levels))
    return cells


def _months(period: Period) -> Iterator[Period]:
    """Each month of a period of whole months."""
    _month(period.end)
    at, last = _month(period.start), _month(period.end)
    while at < last:
        yield (month := Period.month(f"{at // 100}-{at % 100:02}", period.zone))
        at = _month(month.end)


def _month(day: date) -> int:
    if day.day != 1:
        raise NotAPeriod(f"roll-ups know whole months; {day} is not the first of one")
    return day.year * 100 + day.month


def _run(db: Connection, asked: Asked, sql: str, **months: int) -> Any:
    largest, least = ("greatest", "least") if db.dialect.name == "postgresql" else ("max", "min")
    sql = sql.replace("MINE", _MINE).replace("GREATEST", largest).replace("LEAST", least)
    kinds: dict[str, Any] = {"account": Text, "livemode": Flag(), "currency": Text, **dict.fromkeys(months, Integer)}
    clause: Any = text(sql).bindparams(*(bindparam(name, type_=kind) for name, kind in kinds.items()))
    if "at_risk_since" in sql:
        clause = clause.columns(at_risk_since=Instant())
    known = {"account": asked.owner.account, "livemode": asked.owner.livemode, "currency": asked.currency}
    return db.execute(clause, {**known, **months})


# ---------------------------------------------------------------- figures and where they come from

_NETTED = (
    "expansion downgrade restructuring voluntary_churn gross_involuntary_churn recovered_involuntary_churn"
    " new_business reactivation late_recovery recovered_live"
).split()
_ACTIVITY: Mapping[str, str] = {
    "expansion": "moved_expansion",
    "downgrade": "moved_downgrade",
    "restructuring": "moved_restructuring",
    "voluntary_churn": "moved_voluntary",
    "gross_involuntary_churn": "moved_gross",
    "recovered_involuntary_churn": "moved_recovered",
    "recovered_late": "moved_late",
    "new_business": "moved_new",
    "reactivation": "moved_reactivation",
}
_ENDS = "start end retained kept logos_start logos_lost at_risk at_risk_base at_risk_cases".split()

_MINE = "account = :account AND livemode = :livemode AND currency = :currency"

_STANDING = """
SELECT sum(closing) AS "end", count(*) FILTER (WHERE closing > 0) AS logos, sum(at_risk) AS at_risk,
       sum(at_risk_cases) AS at_risk_cases
FROM ledger_month WHERE MINE AND month < :a AND until >= :a
"""

_OLDEST = """
SELECT min(at_risk_since) AS at_risk_since
FROM ledger_month WHERE MINE AND month <= :a AND until > :a AND at_risk_cases > 0
"""

_MONTHS = """
SELECT month,
       sum(expansion) AS expansion, sum(downgrade) AS downgrade, sum(restructuring) AS restructuring,
       sum(voluntary_churn) AS voluntary_churn, sum(gross_involuntary_churn) AS gross_involuntary_churn,
       sum(recovered_involuntary_churn) AS recovered_involuntary_churn, sum(new_business) AS new_business,
       sum(reactivation) AS reactivation, sum(late_recovery) AS late_recovery,
       sum(recovered_live) AS recovered_live,
       sum(opening) AS opening, sum(closing) AS closing,
       sum(closing) FILTER (WHERE opening > 0) AS retained,
       sum(LEAST(opening, closing)) AS kept,
       count(*) FILTER (WHERE opening > 0) AS logos_opening,
       count(*) FILTER (WHERE closing > 0) AS logos_closing,
       count(*) FILTER (WHERE opening > 0 AND closing = 0) AS logos_lost,
       sum(at_risk_opening) AS at_risk_opening, sum(at_risk) AS at_risk,
       sum(at_risk) FILTER (WHERE opening > 0) AS at_risk_base,
       sum(at_risk_cases_opening) AS at_risk_cases_opening, sum(at_risk_cases) AS at_risk_cases
FROM ledger_month WHERE MINE AND month >= :a AND month < :b
GROUP BY month
"""

_COHORTS = """
SELECT cohort, month,
       sum(closing - opening),
       count(*) FILTER (WHERE closing > 0) - count(*) FILTER (WHERE opening > 0),
       sum(cohort_base) FILTER (WHERE month = cohort),
       count(*) FILTER (WHERE month = cohort AND cohort_base > 0),
       sum(closing - opening) FILTER (WHERE cohort_base > 0),
       sum(LEAST(cohort_base, closing) - LEAST(cohort_base, opening)),
       count(*) FILTER (WHERE cohort_base > 0 AND closing > 0) - count(*) FILTER (WHERE cohort_base > 0 AND opening > 0)
FROM ledger_month WHERE MINE AND month >= :a AND month < :b AND cohort >= :a
GROUP BY cohort, month
"""

# The netting rule of 4.2: what each customer lost by line (d w q v i), less its gains g in that line's order.
_PERIOD = """
WITH opening AS (
    SELECT * FROM ledger_month WHERE MINE AND month < :a AND until >= :a
), closing AS (
    SELECT * FROM ledger_month WHERE MINE AND month < :b AND until >= :b
), undone AS (
    SELECT customer, lost_subscription, loss, sum(minor) AS minor, max(number) AS number,
           sum(minor) FILTER (WHERE paired = 0) AS returned
    FROM ledger_recovery WHERE MINE AND month >= :a AND month < :b AND lost_month >= :a AND first = 1
    GROUP BY customer, lost_subscription, loss
), largest AS (
    SELECT customer, max(minor) AS minor, max(number) AS number, sum(returned) AS returned
    FROM undone GROUP BY customer, lost_subscription
), restored AS (
    SELECT largest.customer, sum(largest.minor) AS recovered, sum(largest.returned) AS returned,
           sum(LEAST(largest.minor, later.level)) AS live
    FROM largest JOIN (
        SELECT customer, number, level FROM ledger_recovery WHERE MINE AND since < :b AND until >= :b
    ) AS later ON later.customer = largest.customer AND later.number = largest.number
    GROUP BY largest.customer
), moved AS (
    SELECT coalesce(o.closing, 0) AS s, c.closing AS e, c.standing, c.cohort, c.at_risk, c.at_risk_cases,
           c.at_risk_since,
           c.sum_new - coalesce(o.sum_new, 0) AS n,
           c.sum_expansion - coalesce(o.sum_expansion, 0) AS x,
           c.sum_reactivation - coalesce(o.sum_reactivation, 0) AS a,
           c.sum_downgrade - coalesce(o.sum_downgrade, 0) AS d,
           c.sum_restructuring - coalesce(o.sum_restructuring, 0) AS q,
           c.sum_voluntary - coalesce(o.sum_voluntary, 0) AS v,
           c.sum_involuntary - coalesce(o.sum_involuntary, 0) AS lost,
           c.sum_paired - coalesce(o.sum_paired, 0) AS paired,
           c.sum_returned - coalesce(o.sum_returned, 0) AS back,
           coalesce(r.returned, 0) AS returned, coalesce(r.recovered, 0) AS recovered, coalesce(r.live, 0) AS live
    FROM closing AS c
    LEFT JOIN opening AS o ON o.customer = c.customer
    LEFT JOIN restored AS r ON r.customer = c.customer
), summed AS (
    SELECT moved.*, lost - returned AS i, n + x + a + back - returned AS g,
           CASE WHEN s = 0 THEN 'outside' WHEN e >= s THEN 'grown' WHEN e > 0 OR standing = 0 THEN 'shrunk'
                WHEN standing = 2 THEN 'lost' ELSE 'left' END AS became
    FROM moved
)
SELECT sum(s) AS start, sum(e) AS "end",
       sum(e) FILTER (WHERE s > 0) AS retained, sum(LEAST(s, e)) AS kept,
       count(*) FILTER (WHERE s > 0) AS logos_start, count(*) FILTER (WHERE s > 0 AND e = 0) AS logos_lost,
       sum(at_risk) AS at_risk, sum(at_risk) FILTER (WHERE s > 0) AS at_risk_base, sum(at_risk_cases) AS at_risk_cases,
       min(at_risk_since) FILTER (WHERE at_risk_cases > 0) AS at_risk_since,
       sum(e - s) FILTER (WHERE became = 'grown') AS expansion,
       sum(GREATEST(d + v - g, 0)) FILTER (WHERE became = 'shrunk') AS downgrade,
       sum(GREATEST(q - GREATEST(g - d - v, 0), 0)) FILTER (WHERE became = 'shrunk') AS restructuring,
       sum(CASE became WHEN 'left' THEN GREATEST(v + d + q - g, 0)
                       WHEN 'lost' THEN GREATEST(v - GREATEST(g - i - d - q, 0), 0) ELSE 0 END) AS voluntary_churn,
       sum(CASE became WHEN 'left' THEN GREATEST(i - GREATEST(g - v - d - q, 0), 0)
                       WHEN 'lost' THEN GREATEST(i + d + q - g, 0)
                       WHEN 'shrunk' THEN GREATEST(i - GREATEST(g - d - v - q, 0), 0) ELSE 0 END
           + CASE WHEN s > 0 THEN recovered ELSE 0 END) AS gross_involuntary_churn,
       sum(recovered) FILTER (WHERE s > 0) AS recovered_involuntary_churn,
       sum(e) FILTER (WHERE s = 0 AND cohort >= :a) AS new_business,
       sum(e) FILTER (WHERE s = 0 AND cohort < :a) AS reactivation,
       sum(CASE WHEN s > 0 THEN back - returned WHEN cohort < :a THEN LEAST(e, back) ELSE 0 END) AS late_recovery,
       sum(live) FILTER (WHERE s > 0) AS recovered_live,
       sum(n) AS moved_new, sum(x) AS moved_expansion, sum(a) AS moved_reactivation, sum(d) AS moved_downgrade,
       sum(q) AS moved_restructuring, sum(v) AS moved_voluntary, sum(lost + paired) AS moved_gross,
       sum(paired + returned) AS moved_recovered, sum(back - returned) AS moved_late
FROM summed
"""
