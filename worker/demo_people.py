"""The customers of the demo: some come, some go, some grow, and some read the message and bring a new card.

Every choice is drawn from the seed and the thing it is about, so the same demo plays out the same way. They act where
real ones do: on Stripe's own pages and through Stripe's API, never in our tables.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from http.client import HTTPConnection
from urllib.parse import urlencode, urlsplit

from sandbox import Sandbox, company
from sandbox.store import snapshot

# Chances for one subscription on one day.
COMES, LEAVES, GROWS, SHRINKS = 0.0016, 0.0006, 0.0007, 0.0003
FAILING = 0.09  # share of the renewals
MENDS = 0.35  # share of the customers with a failed payment who follow the message
CARDS = ("pm_card_visa", "pm_card_mastercard", "pm_card_amex")
PRICES = ((1_900, "usd"), (4_900, "usd"), (1_900, "eur"), (14_900, "usd"))
REASONS = ("too_expensive", "missing_features", "switched_service", "unused")


class People:
    """The company's customers in one sandbox."""

    def __init__(self, sb: Sandbox, seed: int) -> None:
        self._sb, self._seed = sb, seed
        self._subscriptions: list[str] = []
        self._day: datetime | None = None
        self._answered: set[str] = set()
        self._visits: list[tuple[datetime, str]] = []
        parts = urlsplit(sb.url)
        self._place = parts.netloc

    def found_company(self, subscriptions: int) -> None:
        """Customers a year deep. Stripe tells of each once, as an update: what a backfill of the history would read."""
        made = company.build(self._sb, subscriptions=subscriptions, seed=self._seed, failing=FAILING)
        self._subscriptions = list(made.subscriptions)
        events = self._sb.world.events
        for customer in made.customers:
            events.emit("customer.updated", self._sb.get(customer))
        for subscription in made.subscriptions:
            found = self._sb.get(subscription)
            events.emit("customer.subscription.updated", found, snapshot(found))

    def live(self, messages: Sequence[tuple[str, datetime]]) -> None:
        """What people do up to the present: once a day their own wishes, and whenever they read a message."""
        now = self._sb.clock()
        for invoice, at in messages:
            if invoice not in self._answered:
                self._answered.add(invoice)
                dice = self._dice(invoice)
                if dice.random() < MENDS:
                    self._visits.append((at + timedelta(hours=1 + dice.expovariate(1 / 72)), invoice))
        for at, invoice in [visit for visit in self._visits if visit[0] <= now]:
            self._visits.remove((at, invoice))
            self._pay_by_hand(invoice)
        if self._day is None or now - self._day >= timedelta(days=1):
            self._day = now
            self._one_day(self._dice(f"{now:%Y-%m-%d}"))

    def _one_day(self, dice: random.Random) -> None:
        for subscription in list(self._subscriptions):
            chance = dice.random()
            if self._sb.get(subscription)["status"] != "active":
                continue
            if chance < LEAVES:
                self._change(subscription, cancel_at_period_end="true", feedback=dice.choice(REASONS))
            elif chance < LEAVES + GROWS:
                self._seats(subscription, +dice.choice((1, 1, 2, 5)))
            elif chance < LEAVES + GROWS + SHRINKS:
                self._seats(subscription, -1)
            elif chance < LEAVES + GROWS + SHRINKS + COMES:
                self._welcome(dice)

    def _welcome(self, dice: random.Random) -> None:
        amount, currency = dice.choice(PRICES)
        number = len(self._subscriptions)
        made = self._sb.subscribe(
            dice.choice(CARDS),
            amount,
            currency,
            email=f"customer{number:04d}@example.com",
            name=f"New Customer {number}",
        )
        self._subscriptions.append(made.subscription)

    def _seats(self, subscription: str, more: int) -> None:
        item = self._sb.get(subscription)["items"][0]
        if item["quantity"] + more > 0:
            seats = {"items[0][id]": item["id"], "items[0][quantity]": str(item["quantity"] + more)}
            self._post(f"/v1/subscriptions/{subscription}", seats)

    def _change(self, subscription: str, cancel_at_period_end: str, feedback: str) -> None:
        wishes = {"cancel_at_period_end": cancel_at_period_end, "cancellation_details[feedback]": feedback}
        self._post(f"/v1/subscriptions/{subscription}", wishes)

    def _pay_by_hand(self, invoice: str) -> None:
        """Through the link in the message, with another card that then stays the default."""
        found = self._sb.get(invoice)
        if found["status"] == "open":
            self._post(urlsplit(found["hosted_invoice_url"]).path, {"number": "4242424242424242"})
            self._sb.new_card(found["customer"])

    def _post(self, path: str, form: dict[str, str]) -> None:
        connection = HTTPConnection(self._place, timeout=10)
        headers = {
            "Authorization": "Bearer sk_test_of_the_company",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        connection.request("POST", path, urlencode(form), headers)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        if answer.status >= 400:
            raise RuntimeError(f"POST {path}: {answer.status} {body[:300]!r}")

    def _dice(self, about: str) -> random.Random:
        return random.Random(f"{self._seed} {about}")  # noqa: S311  # a story, not a secret
