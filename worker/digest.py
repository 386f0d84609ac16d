"""The weekly NRR digest: the five drivers of the last seven days, by e-mail to the team (metrics definitions, Q1).

Each digest is a row of `notice`, found by a key of week and recipient. It is written before the hand-over and never
deleted, so that nobody gets a week twice: not after a crash, not from any number of workers. Only a message that the
server certainly did not take is tried again, and only until the next week's is due.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import Connection, select, update

from billing.money import Amount
from billing.notices import address
from billing.notices.compose import Context, message_id
from billing.report.bridge import Bridge
from billing.report.period import Period
from billing.report.retention import GAP_WARNING, warns
from billing.report.table import Kind
from worker import queue, report, store, switch
from worker.app import App
from worker.channels import Message, Outcome
from worker.rendering import Rendered, TemplateBroken
from worker.reports import cells, weeks
from worker.reports.source import checked
from worker.store import Owner
from worker.tables import notice

log = structlog.get_logger(__name__)

STEP, CHANNEL = "digest", "email"
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
WEEK = timedelta(days=7)
WAIT = timedelta(minutes=5)  # until a message that was not taken, or could not be written, is tried again
GIVEN_UP = timedelta(hours=1)  # a hand-over that did not end by then was cut off


@dataclass(frozen=True, slots=True)
class Digest:
    """What the renderer reads of a message; the language is the installation's."""

    context: Context
    template: str = STEP
    locales: tuple[str, ...] = ("en",)


def send_due(app: App) -> int:
    """Send what is due and was not sent; how many were handed over. Cheap when nothing is due."""
    channel = app.channels.get(CHANNEL)
    if channel is None or not app.settings.digest_to:
        return 0
    week = week_of(app)
    team = {key_of(week, to): to for to in map(address.parse, app.settings.digest_to)}
    sent = 0
    for owner in report.owners(app):
        due = _due(app, owner, list(team))
        if not due:
            continue
        try:
            rendered = render(app, owner, week)
        except (ArithmeticError, LookupError, ValueError, TemplateBroken) as error:
            log.error("digest_failed", account=owner.account, because=str(error))
            _wait(app, owner, {key: team[key] for key in due}, str(error))
            continue
        for key in due:
            sent += _send(app, owner, key, team[key], rendered)
    return sent


def week_of(app: App) -> Period:
    """The seven local days before the latest day and hour that the team chose."""
    settings = app.settings
    zone = settings.digest_timezone or settings.reporting_timezone
    local = app.now().astimezone(ZoneInfo(zone))
    back = (local.weekday() - WEEKDAYS.index(settings.digest_weekday)) % 7
    day = local.date() - timedelta(days=back)
    if local < datetime.combine(day, time(settings.digest_hour), ZoneInfo(zone)):
        day -= WEEK
    return Period(day - WEEK, day, zone)


def key_of(week: Period, to: address.Address) -> str:
    """One week and one mailbox, whatever the wording."""
    return f"{STEP}:{week.end}:{address.recipient_hash(to)}"


# ---------------------------------------------------------------- at most once


def _due(app: App, owner: Owner, keys: Sequence[str]) -> list[str]:
    """The keys that nobody has sent, or tried, lately; none while everything or the account is stopped."""
    now = app.now()
    with app.db.read() as db:
        if _stopped(db, owner):
            return []
        rows = db.execute(select(notice).where(owner.of(notice), notice.c.dedup_key.in_(keys))).all()
    found = {row.dedup_key: row for row in rows}
    for key, row in found.items():
        if row.state == "handing_over" and row.at < now - GIVEN_UP:
            with app.db.begin() as db:
                _mark(db, owner, key, Outcome.UNKNOWN, "the process ended while the message was handed over", now)
    return [key for key in keys if key not in found or (found[key].state == "waiting" and found[key].at <= now - WAIT)]


def _stopped(db: Connection, owner: Owner) -> bool:
    return any(scope in (switch.EVERYTHING, owner.account) for scope, *_ in switch.standing(db))


def _send(app: App, owner: Owner, key: str, to: address.Address, rendered: Rendered) -> int:
    message = Message(
        id=message_id(
            ":".join((owner.account, str(owner.livemode), key)), address.parse(app.settings.mail_from).domain
        ),
        to=str(to),
        to_name=None,
        subject=rendered.subject,
        text=rendered.text,
        html=rendered.html,
        headers=(("X-Reprieve-Step", STEP), ("Content-Language", rendered.locale)),
    )
    with app.db.begin() as db:
        if _stopped(db, owner) or not _take(db, owner, key, to, message.id, rendered.hash, app.now()):
            return 0
    app.db.outside_transaction("handing a digest over")
    handed = app.channels[CHANNEL].send(message)
    with app.db.begin() as db:
        _mark(db, owner, key, handed.outcome, handed.because, app.now())
    log.info("digest_ended", account=owner.account, outcome=str(handed.outcome), because=handed.because)
    return int(handed.outcome is Outcome.ACCEPTED)


def _take(
    db: Connection,
    owner: Owner,
    key: str,
    to: address.Address,
    name: str,
    rendered: str,
    now: datetime,
    state: str = "handing_over",
) -> bool:
    """Write down that this one is sent now; False when somebody else did."""
    row = {
        **owner.key,
        "dedup_key": key,
        "invoice": "",
        "customer": None,
        "step": STEP,
        "channel": CHANNEL,
        "recipient_hash": address.recipient_hash(to),
        "template": STEP,
        "message_id": name,
        "rendered_hash": rendered,
        "state": state,
        "token": 0,
        "at": now,
    }
    again = store.insert(db, notice)
    taken = again.on_conflict_do_update(
        index_elements=["account", "livemode", "dedup_key"],
        set_={column: again.excluded[column] for column in ("message_id", "rendered_hash", "state", "at")},
        where=(notice.c.state == "waiting") & (notice.c.at <= now - WAIT),
    )
    return db.execute(taken.returning(notice.c.id), row).first() is not None


def _wait(app: App, owner: Owner, team: Mapping[str, address.Address], because: str) -> None:
    """Nothing could be written: say why, and look again later instead of at every sweep."""
    with app.db.begin() as db:
        for key, to in team.items():
            if _take(db, owner, key, to, "", "", app.now(), "waiting"):
                db.execute(update(notice).where(owner.of(notice), notice.c.dedup_key == key).values(because=because))


def _mark(db: Connection, owner: Owner, key: str, outcome: Outcome, because: str, now: datetime) -> None:
    later = outcome is Outcome.LATER
    db.execute(
        update(notice)
        .where(owner.of(notice), notice.c.dedup_key == key, notice.c.state == "handing_over")
        .values(state="waiting" if later else str(outcome), because=because, at=now, finished_at=None if later else now)
    )


# ---------------------------------------------------------------- what it says


def render(app: App, owner: Owner, week: Period) -> Rendered:
    """The digest of one account. Raises BooksDisagree, NotBalanced and TemplateBroken."""
    before = Period(week.start - WEEK, week.start, week.zone)
    year = year_of(app, week)
    source = checked(app, owner, [year])
    found = [(code, weeks.bridges(source, code, [before, week])) for code in source.currencies]
    found.sort(key=lambda each: -each[1][1].end)  # the larger currency first
    last, this = [made[0] for _, made in found], [made[1] for _, made in found]
    with app.db.read() as db:
        for each in this:
            report.check_postings(db, owner, each)
        waiting = queue.said(queue.counts(db, owner, app.now()))
    annual = [source.scope(code, year.zone).bridge(year) for code, _ in found]
    context: dict[str, str | int] = {
        "merchant": app.settings.mail_from_name,
        "account": owner.account if owner.account != "self" else "",
        "mode": "" if owner.livemode else "test mode",
        "begins": week.start.isoformat(),
        "ends": (week.end - timedelta(days=1)).isoformat(),
        "zone": week.zone,
        "policy": this[0].policy if this else "",
        "year_ends": (year.end - timedelta(days=1)).isoformat(),
        "as_known": f"{source.until:%Y-%m-%d %H:%M} UTC",
        "url": app.settings.public_url,
        "tasks": waiting,
    }
    for name, value in FIGURES.items():
        context[name] = _each(this, value)
        context[f"{name}_before"] = _each(last, value)
    for name in ("nrr", "grr", "gap"):
        context[name] = _ratios(annual, name)
    context["gap_warning"] = gap_warning(annual)
    return app.renderer.render(Digest(context))


def year_of(app: App, week: Period) -> Period:
    """The twelve months up to the last full one, where the books are closed."""
    last = week.end.replace(day=1) - timedelta(days=1)
    return Period.month(f"{last:%Y-%m}", app.settings.reporting_timezone).trailing(12)


def _lost(bridge: Bridge) -> int:
    return bridge.voluntary_churn + bridge.gross_involuntary_churn - bridge.recovered_involuntary_churn


FIGURES: Mapping[str, Callable[[Bridge], str]] = {
    "opening": lambda bridge: _money(bridge.start, bridge) + _as_closed(bridge),
    "expansion": lambda bridge: _signed(bridge.expansion, bridge),
    "churned": lambda bridge: f"{_signed(-_lost(bridge), bridge)} ({_customers(bridge.logos_lost)})",
    "downgrade": lambda bridge: _signed(-bridge.downgrade, bridge),
    "restructuring": lambda bridge: _signed(-bridge.restructuring, bridge),
    "recovered": lambda bridge: _signed(bridge.recovered_involuntary_churn + bridge.recovered_late, bridge),
    "new_business": lambda bridge: _signed(bridge.new_business, bridge),
    "at_risk": lambda bridge: f"{_money(bridge.at_risk, bridge)} ({bridge.at_risk_cases} open)",
    "closing": lambda bridge: _money(bridge.end, bridge),
}


def _each(bridges: Sequence[Bridge], value: Callable[[Bridge], str]) -> str:
    """One figure for each currency; they are never added."""
    return ", ".join(map(value, bridges)) or "nothing yet"


def _money(minor: int, bridge: Bridge) -> str:
    amount = Amount(minor, bridge.unit)
    return f"{cells.shown(amount, Kind.MONEY)} {amount.currency.upper()}"


def _signed(minor: int, bridge: Bridge) -> str:
    return f"{'+' if minor > 0 else ''}{_money(minor, bridge)}"


def _as_closed(bridge: Bridge) -> str:
    """Beside an opening that is not what the closed month before it ended with."""
    closed = bridge.closed_start
    return "" if closed in (None, bridge.start) else f" (closed with {_money(closed or 0, bridge)})"


def _customers(number: int) -> str:
    return f"{number} customer{'' if number == 1 else 's'}"


def gap_warning(bridges: Sequence[Bridge]) -> str:
    """What a wide gap means, for the currencies that have one; empty when none has."""
    wide = ", ".join(bridge.unit.partition("/")[0].upper() for bridge in bridges if warns(bridge.gap))
    said = f"Gap over {GAP_WARNING * 100} points ({wide}): growth of few hides losses of many; see the concentration."
    return said if wide else ""


def _ratios(bridges: Sequence[Bridge], name: str) -> str:
    found = []
    for bridge in bridges:
        value: Fraction | None = getattr(bridge, name)
        shown = "no opening base" if value is None else cells.in_percent(value) + (" points" if name == "gap" else " %")
        found.append(f"{shown} ({bridge.unit.partition('/')[0].upper()})" if len(bridges) > 1 else shown)
    return ", ".join(found) or "nothing yet"
