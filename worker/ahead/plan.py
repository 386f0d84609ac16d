"""Once a day and account: which renewals deserve a warning by tomorrow. Pages of what renews soon, never all there is.

A warning that is planned is one row and one action; whether it is still true is read from Stripe when it is due
(`mail.py`). Planning again adds nothing: one warning for one subject, ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import Connection, literal, select, tuple_

from billing.actions import Action, Kind, ahead_key
from billing.ahead.renewal import Standing
from billing.ahead.rules import Due, due, send_at
from billing.case import LIVE
from billing.notices.language import zone_of
from billing.notices.sequence import Step
from billing.policy import Policy
from worker import links, schedule, store
from worker.ahead import known, outcomes
from worker.ahead_tables import ahead_renewal, ahead_warning
from worker.app import App
from worker.columns import Instant
from worker.store import Owner
from worker.stripe_sends import already_sent_by_stripe
from worker.tables import customer, recovery_case

log = structlog.get_logger(__name__)

JOB = "warnings ahead"
DAY = timedelta(days=1)
LOOK_AHEAD = 2 * DAY  # what falls due until the next look, and a day in case that look is late
PAGE = 500
CHANNEL = "email"


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A warning for this renewal, to go out at `at`."""

    due: Due
    stands: Standing
    at: datetime


def run_due(app: App) -> int:
    """Look where a day has passed; how many accounts that were. Cheap when nothing is due."""
    done = 0
    for account in app.settings.all_accounts:
        owner = Owner(account.id, account.livemode)
        if not app.stopping.is_set() and schedule.take(app, owner, JOB, DAY):
            run(app, owner)
            done += 1
    return done


def run(app: App, owner: Owner) -> str:
    """Book what came of earlier warnings and plan the next; what was done, in a sentence."""
    ended = outcomes.close(app, owner)
    because = off(app, owner)
    planned = 0 if because else sum(_plan_page(app, owner, page) for page in _pages(app, owner))
    said = because or f"{planned} warnings planned"
    said += f"; {ended} renewals came to their end" if ended else ""
    schedule.done(app, owner, JOB, DAY, said)
    if planned:
        app.bell.ring("actions")
    log.info("looked_ahead", account=owner.account, because=said)
    return said


# ---------------------------------------------------------------- whether there are any


def off(app: App, owner: Owner) -> str:
    """Why this account warns of nothing at all; empty when it does."""
    policy = app.policies.current(owner.account, owner.livemode)
    if not policy.ahead.steps:
        return f"the policy {policy.id} warns of nothing"
    if not policy.mode.sends:
        return f"in mode {policy.mode} nothing is sent"
    if CHANNEL not in app.channels:
        return "no mail server is configured"
    if app.stripe.of(owner.account, owner.livemode) is None:
        return "no Stripe key is configured"
    if links.base_of(app.settings) is None:
        return "there is no page for the customer: set link_secret, and public_url in https"
    return "" if steps_of(app, owner, policy) else "Stripe itself sends all of these messages (stripe_sends)"


def steps_of(app: App, owner: Owner, policy: Policy) -> tuple[Step, ...]:
    """The kinds of warnings that the policy wants and that Stripe does not send itself."""
    return tuple(step for step in policy.ahead.steps if not already_sent_by_stripe(app.settings, owner, step))


# ---------------------------------------------------------------- planning


def _pages(app: App, owner: Owner) -> Iterator[Sequence[Any]]:
    """Rows of what renews by itself within the horizon, soonest first."""
    table, now = ahead_renewal, app.now()
    until = now + app.policies.current(owner.account, owner.livemode).ahead.horizon * DAY + LOOK_AHEAD
    after = (now, "")
    while not app.stopping.is_set():
        place = tuple_(table.c.renews_at, table.c.subscription)
        here = tuple_(literal(after[0], Instant()), literal(after[1]))
        soon = owner.of(table) & (place > here) & (table.c.renews_at <= until)
        with app.db.read() as db:
            query = select(table).where(soon).order_by(table.c.renews_at, table.c.subscription).limit(PAGE)
            rows = db.execute(query).all()
        if not rows:
            return
        yield rows
        after = (rows[-1].renews_at, rows[-1].subscription)


def _plan_page(app: App, owner: Owner, rows: Sequence[Any]) -> int:
    policy, now = app.policies.current(owner.account, owner.livemode), app.now()
    with app.db.begin() as db:
        busy = with_open_case(db, owner, sorted({row.customer for row in rows if row.customer}))
        stands = known.standings(db, owner, [row for row in rows if row.customer and row.customer not in busy])
        found = [
            (judged, each)
            for each in stands
            for step in steps_of(app, owner, policy)
            if isinstance(judged := due(step, each, policy.ahead, now), Due) and judged.at <= now + LOOK_AHEAD
        ]
        if not found:
            return 0
        zones = _zones(app, db, owner, sorted({each.renewal.customer for _, each in found}))
        wanted = {
            (judged.step, judged.subject): _Wanted(
                judged, each, send_at(max(judged.at, now), policy.ahead.hour, zones[each.renewal.customer])
            )
            for judged, each in reversed(found)  # of several renewals of one card the soonest is kept
        }
        new = _insert(db, owner, list(wanted.values()), now)
        actions = [_action(each) for key, each in wanted.items() if key in new]
        store.add_actions(db, owner, actions, now)
    return len(actions)


def _insert(db: Connection, owner: Owner, wanted: Sequence[_Wanted], now: datetime) -> set[tuple[str, str]]:
    """The (step, subject) of those that are new, or were withdrawn before anybody was told and are wanted again."""
    rows = [{**owner.key, **_row(each), "state": "planned", "planned_at": now} for each in wanted]
    statement = store.insert(db, ahead_warning).values(rows)
    again = {
        name: statement.excluded[name] for name in rows[0] if name not in ("account", "livemode", "step", "subject")
    }
    statement = statement.on_conflict_do_update(
        index_elements=["account", "livemode", "step", "subject"],
        set_=again,
        where=(ahead_warning.c.state == "withdrawn") & ahead_warning.c.arm.is_(None),
    )
    return {
        (row.step, row.subject)
        for row in db.execute(statement.returning(ahead_warning.c.step, ahead_warning.c.subject))
    }


def _row(wanted: _Wanted) -> dict[str, Any]:
    judged, renewal = wanted.due, wanted.stands.renewal
    money = renewal.amount or renewal.mrr
    return {
        "step": judged.step.value,
        "subject": judged.subject,
        "customer": renewal.customer,
        "subscription": renewal.subscription,
        "method": wanted.stands.method.id if wanted.stands.method else None,
        "expires": known.expires(wanted.stands.method),
        "renewal_at": renewal.at,
        "amount": renewal.amount.minor if renewal.amount else None,
        "currency": money.currency if money else None,
        "mrr": renewal.mrr.minor if renewal.mrr else None,
        "because": judged.because,
    }


def _action(wanted: _Wanted) -> Action:
    judged, renewal = wanted.due, wanted.stands.renewal
    detail = {"step": judged.step.value, "subject": judged.subject, "subscription": renewal.subscription}
    key = ahead_key(judged.step, judged.subject)
    return Action(key, Kind.AHEAD, wanted.at, judged.because, customer=renewal.customer, detail=detail)


# ---------------------------------------------------------------- about customers


def with_open_case(db: Connection, owner: Owner, customers: Sequence[str]) -> set[str]:
    """Those of whom something has failed already: they have another conversation with us."""
    live = recovery_case.c.state.in_([state.value for state in LIVE])
    mine = owner.of(recovery_case) & recovery_case.c.customer.in_(customers) & live
    return set(db.scalars(select(recovery_case.c.customer).where(mine))) if customers else set()


def _zones(app: App, db: Connection, owner: Owner, customers: Sequence[str]) -> dict[str, tzinfo]:
    """The time zone of each customer, or the merchant's."""
    rows = db.execute(select(customer.c.id, customer.c.country).where(owner.of(customer), customer.c.id.in_(customers)))
    countries = {row.id: row.country for row in rows}
    ours = ZoneInfo(app.settings.reporting_timezone)
    return {id: zone_of(countries.get(id), ours) for id in customers}
