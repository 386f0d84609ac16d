"""What a customer sees inside the merchant's product while a payment is open: nothing, a banner, or a wall.

The wall is a reminder, not a lock: the merchant's server decides what it serves, by the same answer, which is signed.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from sqlalchemy import select

from billing.case import RecoveryCase, State
from billing.ending import unsettled
from billing.entitlement import Entitlement, Level
from billing.notices.language import locales_of, zone_of
from billing.notices.sequence import SILENT
from billing.notices.wall import wall_days
from billing.policy import Mode
from config import in_app as catalogue
from config.settings import Settings
from worker import entitlement, links, store
from worker.app import App
from worker.rendering import tongue_of
from worker.store import Owner
from worker.tables import customer as customers
from worker.templates.figures import day, money

LONGEST_LIFE = timedelta(days=7)  # of a token
LONGEST_CUSTOMER = 200


class Wall(StrEnum):
    NONE = "none"
    BANNER = "banner"
    SOFT = "soft_wall"
    HARD = "hard_wall"


SENTENCES = {
    Wall.NONE: "Nothing is open, or nothing may be asked for now.",
    Wall.BANNER: "A line says that a payment is open.",
    Wall.SOFT: "A dialog says so; the customer can put it away.",
    Wall.HARD: "A dialog stays until the payment is settled.",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown. `grace_until` is when the wall becomes hard; None: never, or nothing is open."""

    wall: Wall
    grace_until: datetime | None = None
    because: str = "no payment is open"


@dataclass(frozen=True, slots=True)
class Days:
    """How many days after the failure each wall begins; `hard` 0 means never."""

    soft: float
    hard: float


def shown(cases: Sequence[RecoveryCase], days: Days, now: datetime) -> Shown:
    """What these cases of one customer ask for; the oldest decides."""
    asking = sorted((case for case in cases if asks(case)), key=lambda case: case.failed_at)
    if not asking:
        return Shown(Wall.NONE)
    oldest = asking[0]
    until = oldest.failed_at + timedelta(days=days.hard) if days.hard else None
    because = f"{oldest.invoice} is open since {oldest.failed_at:%Y-%m-%d}"
    if until and now >= until:
        return Shown(Wall.HARD, until, because)
    soft = now >= oldest.failed_at + timedelta(days=days.soft)
    return Shown(Wall.SOFT if soft else Wall.BANNER, until, because)


WALLS = {Level.FULL: Wall.NONE, Level.GRACE: Wall.BANNER, Level.RESTRICTED: Wall.SOFT, Level.BLOCKED: Wall.HARD}


def shown_by(answer: Entitlement, asking: Sequence[RecoveryCase]) -> Shown:
    """The wall of what the customer may use, if there is anything left to ask for."""
    if not any(case.invoice in answer.cases for case in asking):
        return Shown(Wall.NONE)
    return Shown(WALLS[answer.level], answer.until, answer.because)


def asks_late(case: RecoveryCase, since: timedelta, now: datetime) -> bool:
    """May the customer still be asked about a case that was lost? For some time, while it can be paid."""
    if case.state is not State.LOST or case.closed_at is None or now > case.closed_at + since:
        return False
    return not unsettled(case) and not case.under_way


def asks(case: RecoveryCase) -> bool:
    """May the customer be asked about it now? Not while it is held, or while a payment is under way."""
    if not case.live or case.state in SILENT or case.amount.minor <= 0:
        return False
    return not (case.processing_at and case.processing_at >= case.last_failed_at)


# ---------------------------------------------------------------- the answer


def answer(app: App, customer: str, language: str | None) -> dict[str, object]:
    """The whole answer for one customer, with words in their language; `language` is that of the product's pages."""
    for owner in (Owner(each.id, each.livemode) for each in app.settings.all_accounts if Mode(each.mode).sends):
        found = _answer(app, owner, customer, language)
        if found:
            return {**found, "link": _link(app, owner, customer)}
    return {"state": Wall.NONE.value, "grace_until": None, "because": Shown(Wall.NONE).because}


def _answer(app: App, owner: Owner, customer: str, language: str | None) -> dict[str, object] | None:
    settings = app.settings
    with app.db.read() as db:
        cases = list(store.cases_for_update(db, owner, [customer], ()).values())
        row = db.execute(select(customers).where(owner.of(customers), customers.c.id == customer)).first()
        allowed = entitlement.of_customers(app, db, owner, [customer])[customer]
    country = row.country if row else None
    seen, asking = _seen(app, cases, allowed, country)
    if seen.wall is Wall.NONE:
        return None
    preferred = [tag for tag in (row.locale if row else None, language) if tag]
    tongue = tongue_of(locales_of(preferred, country, settings.default_language))
    zone = zone_of(country, ZoneInfo(settings.reporting_timezone))
    until = seen.grace_until.astimezone(zone).date().isoformat() if seen.grace_until else None
    return {
        "state": seen.wall.value,
        "grace_until": seen.grace_until.isoformat() if seen.grace_until else None,
        "because": seen.because,
        "language": tongue.language,
        "words": words(seen.wall, asking, until, tongue.language, tongue.locale),
    }


def _seen(
    app: App, cases: Sequence[RecoveryCase], allowed: Entitlement, country: str | None
) -> tuple[Shown, list[RecoveryCase]]:
    """The wall, and what it asks for: by the policy where it speaks of access, elsewhere by days."""
    now, by_days, by_access = app.now(), list[RecoveryCase](), list[RecoveryCase]()
    for case in cases:
        policy = app.policies.of(case.account, case.livemode, case.policy)
        if policy.access is None:
            by_days += [case] if asks(case) else []
        elif asks(case) or asks_late(case, policy.end.rescue, now):
            by_access.append(case)
    walls = [shown_by(allowed, by_access), shown(by_days, _days(app, by_days, country), now)]
    return max(walls, key=lambda each: list(Wall).index(each.wall)), by_days + by_access


def _days(app: App, asking: Sequence[RecoveryCase], country: str | None) -> Days:
    """When the walls begin: as the sequence of the oldest case says, else as the settings do."""
    oldest = min(asking, key=lambda case: case.failed_at, default=None)
    if oldest is not None:
        policy = app.policies.of(oldest.account, oldest.livemode, oldest.policy)
        if found := wall_days(oldest, policy.sequence, country):
            return Days(*found)
    return Days(app.settings.in_app_soft_wall_days, app.settings.in_app_hard_wall_days)


def _link(app: App, owner: Owner, customer: str) -> str | None:
    """The merchant's own billing page if that is set, else our recovery page, under one link a month."""
    if app.settings.in_app_url:
        return app.settings.in_app_url.replace("{customer}", customer)
    now = app.now()
    with app.db.begin() as db:
        return links.for_customer(db, app.settings, owner, customer, f"in-app:{now:%Y-%m}", now)


def words(wall: Wall, cases: Sequence[RecoveryCase], until: str | None, language: str, locale: str) -> dict[str, str]:
    """Title, body and buttons, as plain text."""
    found = catalogue.languages().get(language) or catalogue.languages()[catalogue.FALLBACK]
    sums: dict[str, int] = {}
    for case in cases:
        sums[case.amount.currency] = sums.get(case.amount.currency, 0) + case.amount.minor
    owed = " + ".join(money(minor, currency, locale) for currency, minor in sums.items())
    body = [found["owed"].replace("{amount}", owed)]
    if wall is Wall.HARD:
        body.append(found["blocked"])
    elif until:
        body.append(found["until"].replace("{day}", day(until, locale)))
    joint = "" if language == "ja" else " "
    texts = {"title": found["title"], "body": joint.join(body), "button": found["button"]}
    return texts if wall is Wall.HARD else {**texts, "dismiss": found["dismiss"]}


# ---------------------------------------------------------------- tokens, made by the merchant's server


def token(secret: str, customer: str, expires: datetime) -> str:
    """The token for one customer, as docs/channels.md tells the merchant's server to make it."""
    until = int(expires.timestamp())
    return f"{customer}.{until}.{_mac(secret, customer, until)}"


def customer_of(settings: Settings, text: str, now: datetime) -> str | None:
    """Whom this token is for; None when it is not good, for whatever reason."""
    customer, _, rest = text.partition(".")
    until, _, mac = rest.partition(".")
    secret = settings.in_app_secret
    if (
        secret is None
        or not text.isascii()
        or not until.isdigit()
        or len(until) > 12
        or len(customer) > LONGEST_CUSTOMER
    ):
        return None
    good = hmac.compare_digest(mac, _mac(secret.get_secret_value(), customer, int(until)))
    left = int(until) - now.timestamp()
    return customer if good and 0 < left <= LONGEST_LIFE.total_seconds() else None


def signature(settings: Settings, body: bytes) -> str:
    """What stands with an answer, so that the merchant's server can believe it whoever brought it."""
    key = settings.in_app_secret.get_secret_value().encode() if settings.in_app_secret else b""
    return f"v1={hmac.digest(key, b'answer.' + body, 'sha256').hex()}"


def _mac(secret: str, customer: str, until: int) -> str:
    mac = hmac.digest(secret.encode(), f"in-app.{customer}.{until}".encode(), "sha256")
    return base64.urlsafe_b64encode(mac).decode().rstrip("=")
