"""What kind of customer everybody was at one instant, read from the facts once and kept small."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import groupby

from sqlalchemy import select

from billing.events import Event
from billing.report.profile import UNKNOWN, Profile, at, profiles_of
from config.customers import customers
from worker import tables as t
from worker.app import App
from worker.store import Owner
from worker.values import event_from_json

KINDS = ("SubscriptionSeen", "PaymentMethodSeen")  # the facts that say what kind of customer somebody is


class Profiles:
    """Called with a customer and an instant; only the instant asked for last is remembered."""

    def __init__(self, app: App, owner: Owner) -> None:
        self._app, self._owner = app, owner
        self.told = customers(app.settings.customers_csv)  # what the company itself says of its customers
        self._before: datetime | None = None
        self._found: dict[str, Profile] = {}

    def __call__(self, customer: str, before: datetime) -> Profile:
        if self._before != before:
            self._found, self._before = self._read(before), before
        return self._found.get(customer, UNKNOWN)

    def _read(self, before: datetime) -> dict[str, Profile]:
        alike: dict[tuple[str | None, ...], Profile] = {}  # there are few kinds and many customers
        found = {name: seen[0] for name, seen in profiles_of((), self.told).items()}
        for customer, events in self._by_customer():
            if profile := at(self.of(customer, events), before):
                kind = (profile.gtm_motion, profile.pricing_model, profile.country, profile.account)
                found[customer] = alike.setdefault(kind, profile)
        return found

    def of(self, customer: str, events: Iterable[Event]) -> tuple[Profile, ...]:
        """One customer's profiles in the order of time, from its facts and from what the company says."""
        told = {customer: self.told[customer]} if customer in self.told else {}
        return profiles_of(events, told).get(customer, ())

    def _by_customer(self) -> Iterator[tuple[str, list[Event]]]:
        fact = t.fact
        wanted = select(fact.c.customer, fact.c.body).where(
            self._owner.of(fact), fact.c.kind.in_(KINDS), fact.c.customer.is_not(None)
        )
        with self._app.db.read() as db:
            rows = db.execute(wanted.order_by(fact.c.customer, fact.c.id).execution_options(yield_per=1_000))
            for customer, of_one in groupby(rows, key=lambda row: row.customer):
                yield customer, [event_from_json(row.body) for row in of_one]
