"""What the recovery page shows: the customer's unpaid invoices as our cases know them, in the customer's language."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, select

from billing.case import RecoveryCase, State
from billing.declines import Tell, classify
from billing.ending import unsettled
from billing.money import Amount
from billing.notices.compose import clean
from billing.notices.language import locales_of, zone_of
from billing.notices.reasons import reason_of
from billing.notices.sequence import SILENT
from billing.policy import Policy
from billing.retry.schedule import next_attempt
from config import messages
from config.messages import page
from worker import store
from worker.app import App
from worker.links import Link
from worker.rendering import tongue_of
from worker.tables import customer
from worker.templates.figures import day, money
from worker.templates.writer import Tongue

SOON = timedelta(hours=1)
LATE = timedelta(days=90)  # after the end an invoice may still be open at Stripe, and somebody may still want to pay it


@dataclass(frozen=True, slots=True)
class Standing:
    """How one customer stands, freshly read: cases that are `live`, given up `late`, and `paid` since the link."""

    live: tuple[RecoveryCase, ...]
    late: tuple[RecoveryCase, ...]
    paid: tuple[RecoveryCase, ...]
    locales: tuple[str, ...]
    zone: tzinfo

    @property
    def owed(self) -> tuple[RecoveryCase, ...]:
        return self.live + self.late

    def latest_day(self) -> date | None:
        """The last day that may be promised: it ends before the window of every open case does."""
        ends = [case.deadline.astimezone(self.zone).date() - timedelta(days=1) for case in self.live]
        return min(ends, default=None)


@dataclass(frozen=True, slots=True)
class Line:
    """One invoice on the page; `why` is empty where nothing failed that could be told."""

    invoice: str
    name: str
    of_day: str
    amount: str
    state: str  # a sentence
    mark: str  # its style: open, wait or paid
    why: str
    payable: bool


def standing(app: App, db: Connection, link: Link, now: datetime) -> Standing:
    """Read the cases of the link's customer, and nobody else's."""
    cases = sorted(
        store.cases_for_update(db, link.owner, [link.customer], []).values(),
        key=lambda case: (case.failed_at, case.invoice),
    )
    person = db.execute(
        select(customer.c.locale, customer.c.country).where(link.owner.of(customer), customer.c.id == link.customer)
    ).first()
    country = person.country if person else None
    chosen = (person.locale,) if person and person.locale else ()
    return Standing(
        live=tuple(case for case in cases if case.live and case.state not in SILENT),
        late=tuple(case for case in cases if case.state is State.LOST and _lately(case, now)),
        paid=tuple(
            case for case in cases if case.state is State.RECOVERED and case.paid_at and case.paid_at >= link.created_at
        ),
        locales=locales_of(chosen, country, app.settings.default_language),
        zone=zone_of(country, ZoneInfo(app.settings.reporting_timezone)),
    )


def _lately(case: RecoveryCase, now: datetime) -> bool:
    return not unsettled(case) and case.closed_at is not None and now - case.closed_at < LATE


def tongue_for(asked: str | None, known: Sequence[str]) -> Tongue:
    """The language that the reader chose on the page, else the one that we write to the customer in."""
    if asked in page.languages():
        same = [tag for tag in known if tag.partition("-")[0] == asked]
        return tongue_of([*same, asked])
    return tongue_of(known)


class Writer:
    """The sentences of the page in one language."""

    def __init__(self, app: App, tongue: Tongue) -> None:
        self._app, self.tongue = app, tongue
        self._words = page.words(tongue.language)
        self.merchant = clean(app.settings.mail_from_name)

    def say(self, name: str, **values: str) -> str:
        return page.fill(self._words[name], merchant=self.merchant, **values)

    def amount(self, amount: Amount) -> str:
        return money(amount.minor, amount.currency, self.tongue.locale)

    def day(self, when: date) -> str:
        return day(when.isoformat(), self.tongue.locale)

    def total(self, cases: Sequence[RecoveryCase]) -> str:
        """What is open in each currency; currencies are never added."""
        sums: Counter[str] = Counter()
        for case in cases:
            sums[case.amount.currency] += case.amount.minor
        return " + ".join(self.amount(Amount(minor, code)) for code, minor in sums.items())

    def line(self, case: RecoveryCase, zone: tzinfo, now: datetime) -> Line:
        state, mark = self._state(case, zone, now)
        number = clean(case.number)
        return Line(
            invoice=case.invoice,
            name=self.say("invoice", number=number) if number else self.say("unnumbered"),
            of_day=self.say("of_day", day=self.day(case.failed_at.astimezone(zone).date())),
            amount=self.amount(case.amount),
            state=state,
            mark=mark,
            why="" if mark == "paid" or self.collecting(case, now) else self._why(case),
            payable=mark != "paid" and not self.collecting(case, now),
        )

    def _state(self, case: RecoveryCase, zone: tzinfo, now: datetime) -> tuple[str, str]:
        if case.state is State.RECOVERED:
            return self.say("paid"), "paid"
        if case.in_flight or case.under_way:
            return self.say("under_way"), "wait"
        if self.collecting(case, now):
            return self.say("fresh"), "wait"
        if case.live and case.promised_until and now < case.promised_until:
            last = (case.promised_until - timedelta(seconds=1)).astimezone(zone).date()
            return self.say("promised", day=self.day(last)), "wait"
        return self.say("open"), "open"

    def collecting(self, case: RecoveryCase, now: datetime) -> bool:
        """Whether money is on its way, or will be asked for within the hour: then the customer has done his part."""
        if case.in_flight or case.under_way:
            return True
        soon = next_attempt(case, self._policy(case), now).until if case.card_changed else None
        return soon is not None and soon <= now + SOON

    def _why(self, case: RecoveryCase) -> str:
        """The reason in the words that every message uses; codes that hint at a crime never come this far."""
        tell: Tell | None = None
        if case.decline is not None:
            tell = Tell(classify(case.decline, case.brand, self._policy(case).declines).tell)
        told = messages.shipped(self.tongue.language).entries[f"reason.{reason_of(case, tell)}"]["why"]
        return "" if "{" in told else told

    def _policy(self, case: RecoveryCase) -> Policy:
        return self._app.policies.of(case.account, case.livemode, case.policy)
