"""Bridges and cohorts from the roll-ups alone: their cost grows with customers and months asked for, not with history.

Months and cohorts come from the sums over all customers. A bridge of a longer period takes each customer from point to
point, and so reads two rows of each: those that stood at the beginning and at the end.

The same figures as `billing.report.bridge` gives on the facts, which a test holds. Periods are whole months in the
zone the roll-ups were made for, amounts native: for other dates and for currency rates there is the fold.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, text
from sqlalchemy.types import Integer, Text

from billing.money import MONTHLY
from billing.report.bridge import Basis, Bridge
from billing.report.currency import Currency
from billing.report.period import NotAPeriod, Period
from billing.report.rollup_recovery import FOREVER
from billing.report.rollup_total import EVERYBODY, SUMMED
from billing.report.rows import Row
from worker.columns import Flag, Instant
from worker.store import Owner
from worker.tables import STANDING


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
    months = {"a": _month(period.start), "b": _month(period.end)}
    with _hashed(db):
        row = _run(db, asked, _PERIOD, **months).one()._mapping
    names = dict(zip(_NETTED, _NETTED, strict=True)) if basis is Basis.NETTED else _ACTIVITY
    figures = {name: int(row[column] or 0) for name, column in names.items()}
    figures |= {name: int(row[name] or 0) for name in _ENDS}
    return _bridge(asked, period, basis, figures, row["at_risk_since"])


class Recovered(NamedTuple):
    """Of one customer in a period: its recoveries by the largest of each subscription, and what of them still counts.

    `late` came back from losses of before the period; what else came back after a loss is the rest of `sum_returned`.
    """

    customer: str
    recovered: int
    live: int
    late: int


def recovered(db: Connection, asked: Asked, period: Period) -> Iterator[Recovered]:
    """Every customer who recovered in a period of whole months. Raises NotAPeriod."""
    months = {"a": _month(period.start), "b": _month(period.end)}
    with _hashed(db):
        rows = _run(db, asked, _RECOVERED, **months).all()
    for row in rows:
        yield Recovered(row.customer, int(row.recovered), int(row.live), int(row.late))


def monthly(db: Connection, asked: Asked, period: Period) -> list[Bridge]:
    """The checked netted bridge of every month of a period of whole months. Raises NotAPeriod."""
    months = list(_months(period))
    within = {"a": _month(period.start), "b": _month(period.end)}
    moved = {row.month: row._mapping for row in _run(db, asked, _SUMS, **within)}
    nothing = dict.fromkeys(("end", "logos", "at_risk", "at_risk_cases"), 0)
    _, had = _carry(nothing, _run(db, asked, _BEFORE, a=within["a"]).one()._mapping)
    made = []
    for month in months:
        number = _month(month.start)
        figures, had = _carry(had, moved.get(number, {}))
        since = _run(db, asked, _OLDEST, b=_month(month.end)).scalar_one() if had["at_risk_cases"] else None
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
    for word, meaning in (_POSTGRESQL if db.dialect.name == "postgresql" else _SQLITE).items():
        sql = re.sub(word, meaning, sql)
    sql = sql.replace("COLUMNS", ", ".join(STANDING)).replace("MINE", _MINE)
    kinds: dict[str, Any] = {"account": Text, "livemode": Flag(), "currency": Text, **dict.fromkeys(months, Integer)}
    clause: Any = text(sql).bindparams(*(bindparam(name, type_=kind) for name, kind in kinds.items()))
    if "at_risk_since" in sql:
        clause = clause.columns(at_risk_since=Instant())
    known = {"account": asked.owner.account, "livemode": asked.owner.livemode, "currency": asked.currency}
    return db.execute(clause, {**known, **months})


@contextmanager
def _hashed(db: Connection) -> Iterator[None]:
    """Have PostgreSQL join everybody at once, which it would not guess, and not compile, which takes longer."""
    settings = {"jit": "off", "enable_nestloop": "off", "enable_mergejoin": "off"}
    settings |= {"work_mem": "64MB", "random_page_cost": "1.1"}
    if db.dialect.name != "postgresql":
        settings = {}
    for name, value in settings.items():
        db.execute(text(f"SET LOCAL {name} = '{value}'"))
    yield
    for name in settings:
        db.execute(text(f"SET LOCAL {name} TO DEFAULT"))


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
# ruff: noqa: S608 - the queries are made of our own words
# Every month in which a row that stood at the beginning of a month can end: that of the row after it, or none.
_STOOD = f"SELECT DISTINCT month FROM ledger_total WHERE {_MINE} AND month >= \\1 UNION ALL SELECT {FOREVER}"
_POSTGRESQL = {"UNTIL_AFTER (:\\w)": f"until = ANY (ARRAY({_STOOD}))", "GREATEST": "greatest", "LEAST": "least"}
_SQLITE = {"UNTIL_AFTER (:\\w)": f"until IN ({_STOOD})", "GREATEST": "max", "LEAST": "min"}

_OLDEST = """
SELECT min(at_risk_since) AS at_risk_since
FROM ledger_month WHERE MINE AND month < :b AND UNTIL_AFTER :b AND at_risk_cases > 0
"""

_SUMS = f"""
SELECT month, {", ".join(SUMMED)} FROM ledger_total WHERE MINE AND cohort = {EVERYBODY} AND month >= :a AND month < :b
"""

# All months before a period as one: what they changed adds up.
_BEFORE = f"""
SELECT {", ".join(f"sum({name}) AS {name}" for name in SUMMED)}
FROM ledger_total WHERE MINE AND cohort = {EVERYBODY} AND month < :a
"""

_COHORTS = """
SELECT cohort, month, closing - opening, logos_closing - logos_opening, base, base_logos,
       cohort_retained, cohort_kept, cohort_logos
FROM ledger_total WHERE MINE AND month >= :a AND month < :b AND cohort >= :a
"""

# Each lost subscription's largest recovery of a period, once (3.3, rule 9), and what came back of earlier losses.
_RECOVERIES = """restored AS (
    SELECT customer, CAST(sum(most) AS bigint) AS recovered, CAST(sum(LEAST(most, level)) AS bigint) AS live FROM (
        SELECT customer, max(restored) AS most, max(CASE WHEN after < :a THEN level ELSE 0 END) AS level
        FROM ledger_recovery
        WHERE MINE AND UNTIL_AFTER :b AND month >= :a AND month < :b AND since < :b AND lost_month >= :a
        GROUP BY customer, lost_subscription
    ) AS of_one GROUP BY customer
), late AS (
    SELECT customer, CAST(sum(late) AS bigint) AS late FROM ledger_recovery
    WHERE MINE AND late > 0 AND month >= :a AND month < :b AND lost_month < :a GROUP BY customer
"""

_RECOVERED = f"""
WITH {_RECOVERIES})
SELECT customer, sum(recovered) AS recovered, sum(live) AS live, sum(late) AS late FROM (
    SELECT customer, recovered, live, 0 AS late FROM restored UNION ALL SELECT customer, 0, 0, late FROM late
) AS each_one GROUP BY customer
"""

# The netting rule of 4.2: what each customer lost by line (d w q v i), less its gains g in that line's order.
_PERIOD = f"""
WITH opening AS (
    SELECT COLUMNS FROM ledger_month WHERE MINE AND month < :a AND UNTIL_AFTER :a
), closing AS (
    SELECT COLUMNS FROM ledger_month WHERE MINE AND month < :b AND UNTIL_AFTER :b
), {_RECOVERIES}), moved AS (
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
           coalesce(l.late, 0) AS late, coalesce(r.recovered, 0) AS recovered, coalesce(r.live, 0) AS live
    FROM closing AS c
    LEFT JOIN opening AS o ON o.customer = c.customer
    LEFT JOIN restored AS r ON r.customer = c.customer
    LEFT JOIN late AS l ON l.customer = c.customer
), summed AS (
    SELECT moved.*, lost - back + late AS i, n + x + a + late AS g,
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
       sum(CASE WHEN s > 0 THEN late WHEN cohort < :a THEN LEAST(e, back) ELSE 0 END) AS late_recovery,
       sum(live) FILTER (WHERE s > 0) AS recovered_live,
       sum(n) AS moved_new, sum(x) AS moved_expansion, sum(a) AS moved_reactivation, sum(d) AS moved_downgrade,
       sum(q) AS moved_restructuring, sum(v) AS moved_voluntary, sum(lost + paired) AS moved_gross,
       sum(paired + back - late) AS moved_recovered, sum(late) AS moved_late
FROM summed
"""
