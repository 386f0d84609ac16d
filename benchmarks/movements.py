"""A seeded company of plain movements, for `benchmarks.bridge`: the table, its rows, and the peers' queries over it.

Movements per customer are lognormal; one subscription in ten movements fails and is paid again, some are lost and come
back. Everything of a customer comes from a seed of its own, so that any part of the company can be made alone.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import Any

from billing.ledger.movement import Line, Movement, Standing, Step
from billing.money import Amount
from billing.report.rows import History

CURRENCIES = ("usd", "eur", "gbp")
UNITS = {code: f"{code}/mo" for code in CURRENCIES}
LINES = tuple(Line)
NUMBER = {line: number for number, line in enumerate(LINES)}
PRICES = (900, 1900, 4900, 9900, 19900, 49900)

TABLE = """CREATE TABLE movement (id bigint, customer integer, subscription integer, currency text, month integer,
moved_at timestamptz, line smallint, minor bigint, pair bigint, loss bigint)"""
READ = """SELECT id, customer, subscription, currency, month, moved_at, line, minor, pair, loss FROM movement
WHERE customer >= %s AND customer < %s ORDER BY customer, id"""
INSERT = "INSERT INTO movement VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"

_NETTED = """SELECT sum(s), sum(e), sum(CASE WHEN s > 0 AND e > s THEN e - s ELSE 0 END),
sum(CASE WHEN s > 0 THEN greatest(least(d + v, s - e), 0) ELSE 0 END),
sum(CASE WHEN s > 0 THEN greatest(least(q, s - e - d - v), 0) ELSE 0 END),
sum(CASE WHEN s > 0 THEN greatest(least(i, s - e - d - v - q), 0) ELSE 0 END),
sum(CASE WHEN s > 0 THEN r ELSE 0 END), sum(CASE WHEN s = 0 THEN e ELSE 0 END)"""
_LINES = "".join(
    f", sum(CASE WHEN {{within}} AND line = {NUMBER[line]} AND {pair} THEN {sign}minor ELSE 0 END) AS {name}"
    for name, line, pair, sign in (
        ("d", Line.DOWNGRADE, "true", "-"),
        ("q", Line.RESTRUCTURING, "true", "-"),
        ("v", Line.VOLUNTARY, "true", "-"),
        ("i", Line.INVOLUNTARY, "pair IS NULL", "-"),
        ("r", Line.RECOVERED, "pair IS NOT NULL", ""),
    )
)
# ruff: noqa: S608 - the queries are made of our own words
MONTHLY = (
    "WITH m AS (SELECT customer, currency, month, sum(minor) AS net"
    + _LINES.replace("{within}", "true")
    + " FROM movement GROUP BY customer, currency, month),"
    " l AS (SELECT m.*, sum(net) OVER (PARTITION BY customer, currency ORDER BY month) AS e FROM m),"
    " t AS (SELECT month, sum(net) AS net, sum(sum(net)) OVER (ORDER BY month) AS e FROM m GROUP BY month)"
    " SELECT (SELECT sum(e - net) FROM t WHERE month >= {a}), (SELECT sum(e) FROM t WHERE month >= {a}), x.* FROM ("
    + _NETTED.replace("SELECT sum(s), sum(e), ", "SELECT ")
    + " FROM (SELECT e - net AS s, e, d, q, v, i, r FROM l WHERE month >= {a}) AS each_one) AS x"
)
_OF = {line.name.lower(): NUMBER[line] for line in LINES}
# The whole rule of 4.2 and 3.3, as the bridge has it: losses by line less gains, each subscription's largest recovery.
TRAILING = """
WITH each_one AS (
    SELECT customer, currency, min(month) AS began, max(CASE WHEN pair IS NULL THEN id END) AS last,
           sum(CASE WHEN month < {a} THEN minor ELSE 0 END) AS s, sum(minor) AS e,
           sum(CASE WHEN month >= {a} AND line IN (NEW, EXPANSION, REACTIVATION) THEN minor ELSE 0 END) AS gains,
           -sum(CASE WHEN month >= {a} AND line = DOWNGRADE THEN minor ELSE 0 END) AS d,
           -sum(CASE WHEN month >= {a} AND line = RESTRUCTURING THEN minor ELSE 0 END) AS q,
           -sum(CASE WHEN month >= {a} AND line = VOLUNTARY THEN minor ELSE 0 END) AS v,
           -sum(CASE WHEN month >= {a} AND line = INVOLUNTARY AND pair IS NULL THEN minor ELSE 0 END) AS lost
    FROM movement GROUP BY customer, currency
), came_back AS (
    SELECT m.customer, m.currency, m.subscription, m.pair, coalesce(m.pair, m.loss) AS undoes, m.minor,
           m.pair IS NOT NULL OR loss.id IS NOT NULL AS within
    FROM movement AS m LEFT JOIN movement AS loss ON loss.id = m.loss AND loss.month >= {a}
        AND loss.customer = m.customer AND loss.line = INVOLUNTARY
    WHERE m.month >= {a} AND m.line = RECOVERED
), largest AS (
    SELECT customer, currency, subscription, max(minor) AS most FROM (
        SELECT customer, currency, subscription, undoes, sum(minor) AS minor FROM came_back WHERE within
        GROUP BY customer, currency, subscription, undoes) AS by_loss
    GROUP BY customer, currency, subscription
), restored AS (
    SELECT customer, currency, sum(most) AS recovered, sum(least(most, level)) AS live
    FROM largest JOIN (
        SELECT customer, currency, subscription, sum(minor) AS level FROM movement
        GROUP BY customer, currency, subscription) AS levels USING (customer, currency, subscription)
    GROUP BY customer, currency
), returned AS (
    SELECT customer, currency, sum(CASE WHEN within THEN minor ELSE 0 END) AS minor,
           sum(CASE WHEN within THEN 0 ELSE minor END) AS late
    FROM came_back WHERE pair IS NULL GROUP BY customer, currency
), net AS (
    SELECT s, e, began, d, q, v, lost - coalesce(returned.minor, 0) AS i, gains + coalesce(late, 0) AS g,
           coalesce(recovered, 0) AS r, coalesce(live, 0) AS live,
           CASE WHEN s = 0 THEN 0 WHEN e >= s THEN 1 WHEN e > 0 THEN 2 WHEN last.line = INVOLUNTARY THEN 3
                ELSE 4 END AS b
    FROM each_one LEFT JOIN restored USING (customer, currency) LEFT JOIN returned USING (customer, currency)
    JOIN movement AS last ON last.id = each_one.last
)
SELECT sum(s), sum(e), sum(CASE WHEN b = 1 THEN e - s ELSE 0 END),
       sum(CASE WHEN b = 2 THEN greatest(d + v - g, 0) ELSE 0 END),
       sum(CASE WHEN b = 2 THEN greatest(q - greatest(g - d - v, 0), 0) ELSE 0 END),
       sum(CASE b WHEN 4 THEN greatest(v + d + q - g, 0) WHEN 3 THEN greatest(v - greatest(g - i - d - q, 0), 0)
           ELSE 0 END),
       sum(CASE b WHEN 4 THEN greatest(i - greatest(g - v - d - q, 0), 0) WHEN 3 THEN greatest(i + d + q - g, 0)
           WHEN 2 THEN greatest(i - greatest(g - d - v - q, 0), 0) ELSE 0 END + CASE WHEN s > 0 THEN r ELSE 0 END),
       sum(CASE WHEN s > 0 THEN r ELSE 0 END), sum(CASE WHEN s = 0 AND began >= {a} THEN e ELSE 0 END),
       sum(CASE WHEN s = 0 AND began < {a} THEN e ELSE 0 END), sum(CASE WHEN s > 0 THEN live ELSE 0 END)
FROM net
"""
for _name, _number in _OF.items():
    TRAILING = re.sub(rf"\b{_name.upper()}\b", str(_number), TRAILING)
COMPARED = (
    "start end expansion downgrade restructuring voluntary_churn gross_involuntary_churn recovered_involuntary_churn"
    " new_business reactivation recovered_live"
).split()  # the columns of TRAILING
DUCKDB = """
import json, sys, time, duckdb
folder, asked = sys.argv[1], json.loads(sys.argv[2])
db = duckdb.connect(folder + "/movements.duckdb")
db.execute("SET enable_progress_bar = false")
db.execute(r'''CREATE TABLE movement AS SELECT * FROM read_csv(?, delim='\\t', nullstr='\\N', header=false, columns={
    'id': 'BIGINT', 'customer': 'INTEGER', 'subscription': 'INTEGER', 'currency': 'VARCHAR', 'month': 'INTEGER',
    'moved_at': 'TIMESTAMPTZ', 'line': 'SMALLINT', 'minor': 'BIGINT', 'pair': 'BIGINT', 'loss': 'BIGINT'})''',
    [folder + "/movements.tsv"])
found = {}
for name, sql in asked.items():
    times = []
    for _ in range(3):
        began = time.perf_counter()
        row = db.execute(sql).fetchone()
        times.append(time.perf_counter() - began)
    found[name], found["trailing" if "trailing" in name else "monthly"] = min(times), [int(each) for each in row]
print(json.dumps(found))
"""


@dataclass(frozen=True, slots=True)
class Company:
    """So many customers, and about so many movements over so many months up to the end of 2025."""

    customers: int
    months: int
    movements: int
    end: date = date(2026, 1, 1)

    @property
    def start(self) -> date:
        return date(self.end.year - self.months // 12, 1, 1)

    @property
    def year_ago(self) -> int:
        return (self.end.year - 1) * 100 + 1

    @property
    def end_month(self) -> int:
        return self.year_ago + 11


def name(customer: int) -> str:
    """As long as one of Stripe's."""
    return f"cus_{customer:014}"


def blocks(company: Company) -> Iterator[str]:
    """Rows as PostgreSQL's COPY and DuckDB read them, some customers at a time."""
    first = datetime(company.start.year, company.start.month, 1, 12, tzinfo=UTC)
    days = [first + timedelta(days=day) for day in range((company.end - company.start).days)]
    calendar = [(day.year * 100 + day.month, day.isoformat()) for day in days]
    lines: list[str] = []
    for customer in range(company.customers):
        lines += _customer(customer, company.movements / company.customers, calendar)
        if len(lines) > 50_000:
            yield "".join(lines)
            lines = []
    yield "".join(lines)


def _customer(customer: int, mean: float, calendar: list[tuple[int, str]]) -> Iterator[str]:
    dice = random.Random(customer)  # noqa: S311 - a story, not a secret
    chance, number, last = dice.random, customer * 1_000_000, len(calendar)
    currency = CURRENCIES[(chance() > 0.7) + (chance() > 0.9)]
    count = max(1, int(mean * dice.lognormvariate(-1.125, 1.5)))
    begin = int(last * chance() ** 1.3)
    levels = [0] * (1 + (chance() < 0.2) + (chance() < 0.05))
    lost: dict[int, tuple[int, int, int]] = {}  # subscription -> key, amount and day of a loss that may be undone
    had = False
    for day in sorted(begin + int(chance() * (last - begin)) for _ in range(count)):
        month, at = calendar[day]
        sub = int(chance() * len(levels))
        level, others = levels[sub], sum(levels) - levels[sub]
        dot = chance()
        pair = loss = "\\N"
        number += 1
        if not level:
            minor = PRICES[int(chance() * 6)] * (1 + int(chance() * 20))
            line = Line.EXPANSION if others else Line.REACTIVATION if had else Line.NEW
            if sub in lost and day - lost[sub][2] <= 30:
                line, loss, minor = Line.RECOVERED, str(lost[sub][0]), lost[sub][1]
            lost.pop(sub, None)
            had = True
        elif dot < 0.1:  # failed and paid again: the two halves of a pair
            head = f"{customer}\t{sub}\t{currency}\t{month}\t{at}"
            yield f"{number}\t{head}\t{NUMBER[Line.INVOLUNTARY]}\t{-level}\t{number}\t\\N\n"
            yield f"{number + 1}\t{head}\t{NUMBER[Line.RECOVERED]}\t{level}\t{number}\t\\N\n"
            number += 1
            continue
        elif dot < 0.16:
            minor = -level
            line = Line.DOWNGRADE if others else Line.VOLUNTARY
            if dot < 0.13:
                line, lost[sub] = Line.INVOLUNTARY, (number, level, day)
        else:
            minor = (PRICES[int(chance() * 6)] * (1 + int(chance() * 20)) - level) or 100
            line = Line.EXPANSION if minor > 0 else Line.DOWNGRADE if dot < 0.8 else Line.RESTRUCTURING
        levels[sub] = level + minor
        head = f"{number}\t{customer}\t{sub}\t{currency}\t{month}\t{at}"
        yield f"{head}\t{NUMBER[line]}\t{minor}\t{pair}\t{loss}\n"


def histories(rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[str, History]]:
    """Customers from rows in the order of customer and id, as the ledger's own values."""
    for customer, mine in groupby(rows, key=lambda row: row[1]):
        who, history, alive = name(customer), History(), False
        levels: dict[int, int] = {}
        for number, _, sub, currency, _, at, line, minor, pair, loss in mine:
            kind, subscription = LINES[line], str(sub)
            history.movements.append(
                Movement(
                    str(number),
                    kind,
                    "",
                    at,
                    who,
                    subscription,
                    Amount(minor, UNITS[currency]),
                    None,
                    str(pair) if pair else None,
                    str(loss) if loss else None,
                )
            )
            if not pair:
                level = levels[sub] = levels.get(sub, 0) + minor
                history.steps.append(Step(at, who, subscription, currency, level))
                if alive != (now := any(levels.values())):
                    alive = now
                    history.standings.append(Standing(at, who, now, None if now else kind))
        yield who, history


def one_more(rows: Iterable[tuple[Any, ...]], month: int) -> list[tuple[Any, ...]]:
    """One more expansion of each customer's last subscription, in the last month."""
    added = []
    for customer, mine in groupby(rows, key=lambda row: row[1]):
        known = list(mine)
        number, _, sub, currency, *_ = known[-1]
        at = datetime(month // 100, month % 100, 28, 23, tzinfo=UTC)
        held = sum(row[7] for row in known if row[8] is None) > 0
        line = Line.EXPANSION if held else Line.REACTIVATION
        at = max(at, known[-1][5])
        added.append((number + 1, customer, sub, currency, month, at, NUMBER[line], 100, None, None))
    return added
