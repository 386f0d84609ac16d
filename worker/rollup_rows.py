"""What reports are made from where the roll-ups may be believed: the figures of `Scope`, from stored months.

A period of whole months is the difference of two standing rows of a customer; the netting rule is that of
`billing.report.rows`. The cost grows with customers, not with history.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import pairwise
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, literal, or_, select, union_all

from billing.ledger.entry import AT_RISK, GOOD
from billing.ledger.movement import Line
from billing.report.ageing import Aged
from billing.report.bridge import Basis, Bridge
from billing.report.period import Period
from billing.report.profile import Told
from billing.report.retention import Ends
from billing.report.rollup import HERE, LOST
from billing.report.rollup_recovery import FOREVER
from billing.report.rows import Part, Row, Sums, arrive, named, net
from billing.report.scope import Scope
from worker import rollup_reports
from worker import tables as t
from worker.db import Database
from worker.rollup_reports import Asked, Recovered
from worker.store import Owner

ORIGIN = "the monthly roll-ups; --from-facts folds the facts instead"
LINES = (
    "sum_new",
    "sum_expansion",
    "sum_reactivation",
    "sum_downgrade",
    "sum_restructuring",
    "sum_voluntary",
    "sum_involuntary",
    "sum_paired",
    "sum_returned",
)
NOTHING = Recovered("", 0, 0, 0)
MARGINAL = ("failed:%", "released:%")  # entries between good standing and risk: no movement of the level


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored(Scope):
    """Periods are whole months of `zone`, in which the roll-ups were made; amounts are native."""

    db: Database
    owner: Owner
    month: int  # the first with revenue, such as 202603
    told: Mapping[str, Told] = field(default_factory=dict)  # what the company says of its customers

    @property
    def asked(self) -> Asked:
        return Asked(self.owner, self.code, self.as_known, self.policy.name, self.zone)

    def rows(self, period: Period, basis: Basis = Basis.NETTED) -> Iterator[Row]:
        with self.db.read() as db:
            yield from _rows(db, self.asked, period, basis)

    def parts(self, period: Period, basis: Basis = Basis.NETTED) -> Iterator[Part]:
        with self.db.read() as db:
            first = dict(_first_levels(db, self.owner, self.code, period))
            held, came = _other_currencies(db, self.owner, self, period)
            for row in _rows(db, self.asked, period, basis):
                began = 0 if row.start else first.get(row.customer, 0)
                if row.start or row.end or began:
                    own = {self.code} if row.start else set[str]()
                    codes = named(own | held[row.customer]) or named({self.code} | came[row.customer])
                    yield Part(row, began, codes)

    def bridges(self, periods: Sequence[Period], basis: Basis = Basis.NETTED) -> list[Bridge]:
        months = [each.start.year * 12 + each.start.month for each in periods]
        with self.db.read() as db:
            if basis is Basis.NETTED and periods and _consecutive(months) and _all_months(periods):
                whole = Period(periods[0].start, periods[-1].end, self.zone)
                made = rollup_reports.monthly(db, self.asked, whole)
            else:
                made = [rollup_reports.bridge(db, self.asked, each, basis) for each in periods]
        return [self.beside_closed(each) for each in made]

    def aged(self, until: Period, count: int) -> list[Aged]:
        periods = until.back(count)
        with self.db.read() as db:
            joined = _joined(db, self.owner, self.code, periods)
            found = _aged(db, self.owner, self.code, periods) if len(until.months()) > 1 else self._monthly(db, periods)
        return [
            Aged(cohort, joined[at], age, found.get((at, at + age), Ends()))
            for at, cohort in enumerate(periods)
            for age in range(count - at)
        ]

    def _monthly(self, db: Connection, periods: Sequence[Period]) -> dict[tuple[int, int], Ends]:
        place = {_number(each.start): at for at, each in enumerate(periods)}
        whole = Period(periods[0].start, periods[-1].end, self.zone)
        return {
            (place[each.cohort], place[each.month]): Ends(
                each.base, each.retained, each.kept, each.base_logos, each.kept_logos
            )
            for each in rollup_reports.cohorts(db, self.asked, whole)
        }

    def account(self, customer: str, before: datetime) -> str:
        """Only the company says so, no fact does."""
        said = self.told.get(customer)
        return (said.account if said else None) or customer

    def begins_after(self, instant: datetime) -> datetime | None:
        """The day is looked up only where it is printed."""
        first = Period.month(f"{self.month // 100}-{self.month % 100:02}", self.zone)
        if first.closes <= instant:
            return None
        with self.db.read() as db:
            since = _began(db, self.owner, self.month, first)
        return since if since and since > instant else None

    def doubts(self, period: Period) -> list[str]:
        return ["Which movements, if any, are only assumed, the movement log says in its column confidence."]


def months_known(db: Connection, owner: Owner) -> dict[str, int]:
    """By currency of the account: the first month with revenue in any of them, such as 202603."""
    month, found = t.ledger_month, dict[str, int]()
    code: str | None = ""
    while code is not None:  # from one to the next along the index: a DISTINCT would read every row
        following = select(month.c.currency).where(owner.of(month), month.c.currency > code)
        code = db.scalar(following.order_by(month.c.currency).limit(1))
        if code is not None:
            last = (owner.of(month), month.c.currency == code, month.c.until == FOREVER)
            found[code] = int(db.scalar(select(func.min(month.c.cohort)).where(*last)) or FOREVER)
    return found


def _number(day: date) -> int:
    return day.year * 100 + day.month


def _consecutive(months: Sequence[int]) -> bool:
    return all(later == month + 1 for month, later in pairwise(months))


def _all_months(periods: Sequence[Period]) -> bool:
    return all(len(each.months()) == 1 for each in periods)


# ---------------------------------------------------------------- one row for each customer


def _standing(table: Any, owner: Owner, code: str, before: int) -> ColumnElement[bool]:
    """The rows that stood just before a month began: one for each customer who had been there."""
    return and_(owner.of(table), table.c.currency == code, table.c.month < before, table.c.until >= before)


def _rows(db: Connection, asked: Asked, period: Period, basis: Basis) -> Iterator[Row]:
    """Of everybody with revenue at either end, a case, or a movement in between."""
    owner, code, a, b = asked.owner, asked.currency, _number(period.start), _number(period.end)
    undone = {each.customer: each for each in rollup_reports.recovered(db, asked, period)}
    opening, closing = (select(t.ledger_month).where(_standing(t.ledger_month, owner, code, at)) for at in (a, b))
    then, now = opening.subquery("opening"), closing.subquery("closing")
    moved = [(now.c[name] - func.coalesce(then.c[name], 0)).label(name) for name in LINES]
    ends = (func.coalesce(then.c.closing, 0).label("start"), now.c.closing.label("end"))
    about = (now.c.customer, now.c.cohort, now.c.standing, now.c.at_risk, now.c.at_risk_cases, now.c.at_risk_since)
    wanted = (
        select(*about, *ends, *moved)
        .select_from(now.outerjoin(then, then.c.customer == now.c.customer))
        .where(or_(now.c.closing > 0, now.c.month >= a, now.c.at_risk_cases > 0))
    )
    fill = _net if basis is Basis.NETTED else _activity
    for found in db.execute(wanted.execution_options(yield_per=2_000)):
        row = _ends(found)
        fill(row, found, undone.get(found.customer, NOTHING), found.cohort < a)
        yield row


def _ends(found: Any) -> Row:
    row = Row(found.customer, start=found.start, end=found.end)
    if found.start:
        row.retained, row.kept, row.logos_start = found.end, min(found.start, found.end), 1
        row.logos_lost = int(found.end == 0)
    if found.at_risk_cases:
        row.at_risk, row.at_risk_cases, row.at_risk_since = found.at_risk, found.at_risk_cases, found.at_risk_since
        row.at_risk_base = found.at_risk if found.start else 0
    return row


def _net(row: Row, found: Any, undone: Recovered, returning: bool) -> None:
    if not row.start:
        return arrive(row, row.end, returning, found.sum_returned)
    sums = Sums(
        downgrade=found.sum_downgrade,
        restructuring=found.sum_restructuring,
        voluntary=found.sum_voluntary,
        involuntary=found.sum_involuntary - (found.sum_returned - undone.late),
        gains=found.sum_new + found.sum_expansion + found.sum_reactivation + undone.late,
        late=undone.late,
        recovered=undone.recovered,
        live=undone.live,
    )
    ended = None if found.standing == HERE else Line.INVOLUNTARY if found.standing == LOST else Line.VOLUNTARY
    return net(row, sums, ended)


def _activity(row: Row, found: Any, undone: Recovered, returning: bool) -> None:
    row.new_business, row.expansion, row.reactivation = found.sum_new, found.sum_expansion, found.sum_reactivation
    row.downgrade, row.restructuring = found.sum_downgrade, found.sum_restructuring
    row.voluntary_churn, row.gross_involuntary_churn = found.sum_voluntary, found.sum_involuntary + found.sum_paired
    row.recovered_involuntary_churn = found.sum_paired + found.sum_returned - undone.late
    row.recovered_late = undone.late


# ---------------------------------------------------------------- what stands beside a row


def _first_levels(db: Connection, owner: Owner, code: str, period: Period) -> Iterator[tuple[str, int]]:
    """What customers outside the base began with in the period, by the entries of that instant."""
    a, b = _number(period.start), _number(period.end)
    then = select(t.ledger_month.c.customer).where(
        _standing(t.ledger_month, owner, code, a), t.ledger_month.c.closing > 0
    )
    arrived = select(t.ledger_month.c.customer).where(
        _standing(t.ledger_month, owner, code, b), t.ledger_month.c.month >= a
    )
    outside = arrived.where(t.ledger_month.c.customer.not_in(then)).subquery()
    entry, posting = t.entry, t.posting
    at = entry.c.effective_at
    rows = db.execute(
        _movements(owner, select(entry.c.customer, at, func.sum(posting.c.minor).label("minor")))
        .join(outside, outside.c.customer == entry.c.customer)
        .join(posting, posting.c.entry == entry.c.id)
        .where(at >= period.opens, at < period.closes)
        .where(posting.c.name.in_((GOOD, AT_RISK)), posting.c.unit == f"{code}/mo")
        .group_by(entry.c.customer, at)
        .order_by(entry.c.customer, at)
        .execution_options(yield_per=2_000)
    )
    last = None
    for row in rows:
        if row.customer != last:
            yield row.customer, int(row.minor)
        last = row.customer


def _movements(owner: Owner, wanted: Select[Any]) -> Select[Any]:
    """Of entries that stand: no reversals, none that was taken back, none that leaves the level alone."""
    entry, later = t.entry, t.entry.alias("later")
    same = [later.c[name] == entry.c[name] for name in ("account", "livemode", "customer")]
    back = select(later.c.id).where(*same)
    wanted = wanted.select_from(entry).where(owner.of(entry), entry.c.reverses.is_(None))
    wanted = wanted.where(*(entry.c.key.not_like(marginal) for marginal in (*MARGINAL, "cash:%")))
    return wanted.where(~back.where(later.c.reverses == entry.c.key).exists())


def _began(db: Connection, owner: Owner, month: int, first: Period) -> datetime | None:
    """The first movement of all, which lies in this month."""
    at = t.entry.c.effective_at
    wanted = select(func.min(at)).where(at >= first.opens, at < first.closes)
    found: datetime | None = db.scalar(_movements(owner, wanted))
    return found


def _other_currencies(
    db: Connection, owner: Owner, scope: Scope, period: Period
) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """By customer: what it held at the opening, and what came in the period, in other currencies than the scope's."""
    held: dict[str, set[str]] = defaultdict(set)
    came: dict[str, set[str]] = defaultdict(set)
    a, b, month = _number(period.start), _number(period.end), t.ledger_month
    own = month.alias("own")
    same_customer = [own.c[name] == month.c[name] for name in ("account", "livemode", "customer")]
    mine = select(own.c.customer).where(*same_customer, own.c.currency == scope.code)
    for code in sorted(scope.known.codes - {scope.code}):
        wanted = select(month.c.customer).where(mine.where(own.c.month < b).exists())
        for customer in db.scalars(wanted.where(_standing(month, owner, code, a), month.c.closing > 0)):
            held[customer].add(code)
        then = month.alias("then")
        still = _standing(then, owner, code, a) & (then.c.customer == month.c.customer)
        same = and_(*(month.c[name] == func.coalesce(then.c[name], 0) for name in LINES))
        moved = wanted.select_from(month.outerjoin(then, still)).where(_standing(month, owner, code, b), ~same)
        for customer in db.scalars(moved.where(month.c.month >= a)):
            came[customer].add(code)
    return held, came


# ---------------------------------------------------------------- cohorts


def _joined(db: Connection, owner: Owner, code: str, periods: Sequence[Period]) -> list[int]:
    """How many customers of a currency began in each period; everybody has one last row."""
    month = t.ledger_month
    edges = [_number(periods[0].start), *(_number(each.end) for each in periods)]
    last = (owner.of(month), month.c.currency == code, month.c.until == FOREVER)
    wanted = select(month.c.cohort, func.count().label("number")).where(*last, month.c.cohort >= edges[0])
    counts = {row.cohort: row.number for row in db.execute(wanted.group_by(month.c.cohort))}
    return [sum(number for cohort, number in counts.items() if low <= cohort < high) for low, high in pairwise(edges)]


def _aged(db: Connection, owner: Owner, code: str, periods: Sequence[Period]) -> dict[tuple[int, int], Ends]:
    """Each cohort of several months at the end of each period: two standing rows of every customer."""
    month = t.ledger_month
    spans = [(at, _number(each.start), _number(each.end)) for at, each in enumerate(periods)]
    names = ("at", "low", "high")
    edge = union_all(
        *(select(*(literal(part).label(name) for name, part in zip(names, span, strict=True))) for span in spans)
    ).subquery("edge")
    mine = and_(owner.of(month), month.c.currency == code)
    stood = and_(month.c.month < edge.c.high, month.c.until >= edge.c.high)
    began = and_(month.c.cohort >= edge.c.low, month.c.cohort < edge.c.high)
    base = (
        select(month.c.customer, edge.c.at, month.c.closing.label("base"))
        .select_from(month.join(edge, and_(stood, began)))
        .where(mine, month.c.closing > 0)
    ).subquery("base")
    least = func.least if db.dialect.name == "postgresql" else func.min
    logos = func.count().filter(month.c.closing > 0)
    sums = (func.sum(base.c.base), func.sum(month.c.closing), func.sum(least(base.c.base, month.c.closing)))
    rows = db.execute(
        select(base.c.at.label("cohort"), edge.c.at.label("then"), *sums, func.count(), logos)
        .select_from(month.join(edge, stood).join(base, base.c.customer == month.c.customer))
        .where(mine, edge.c.at >= base.c.at)
        .group_by(base.c.at, edge.c.at)
    )
    return {(row[0], row[1]): Ends(*(int(minor or 0) for minor in row[2:])) for row in rows}
