"""A small company to practise on: plans, customers from several countries, subscriptions a year deep.

Everything is made directly, without HTTP and without events, as history that was there before anybody listened:
each subscription is in the middle of a period whose invoice is paid. What fails later is drawn from the seed.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta

from sandbox import issuer
from sandbox.cards import CARDS, TestCard
from sandbox.clock import from_stamp
from sandbox.issuer import Behaviour
from sandbox.pricing import add_interval, period_end
from sandbox.resources.customers import new_customer
from sandbox.resources.payment_methods import new_method
from sandbox.resources.products import new_price, new_product
from sandbox.resources.subscriptions import new_subscription
from sandbox.sandbox import Sandbox
from sandbox.store import Obj
from sandbox.subscribing import plan_renewal, settle_history, start_period

# name, minor units, currency, interval, share of the customers
PLANS = (
    ("Starter", 1_900, "usd", "month", 34),
    ("Team", 4_900, "usd", "month", 26),
    ("Business", 14_900, "usd", "month", 12),
    ("Starter yearly", 19_000, "usd", "year", 6),
    ("Team yearly", 49_000, "usd", "year", 4),
    ("Starter Europe", 1_900, "eur", "month", 10),
    ("Team Europe", 4_900, "eur", "month", 8),
)
# country, locale, given names, family names
PEOPLE = (
    ("US", "en-US", ("Avery", "Jordan", "Morgan", "Riley", "Casey"), ("Miller", "Davis", "Nguyen", "Brooks")),
    ("US", "es-US", ("Lucia", "Mateo", "Elena"), ("Ramirez", "Torres", "Vega")),
    ("GB", "en-GB", ("Oliver", "Amelia", "Harriet"), ("Clarke", "Hughes", "Patel")),
    ("CA", "fr-CA", ("Sophie", "Olivier"), ("Tremblay", "Gagnon")),
    ("DE", "de-DE", ("Lena", "Jonas", "Mia"), ("Schneider", "Becker", "Yilmaz")),
    ("FR", "fr-FR", ("Camille", "Louis", "Inès"), ("Moreau", "Lefèvre", "Garnier")),
    ("NL", "nl-NL", ("Daan", "Sanne"), ("Visser", "Bakker")),
)
EURO = ("DE", "FR", "NL")
BRANDS = ((CARDS["visa"], 52), (CARDS["mastercard"], 34), (CARDS["amex"], 10), (CARDS["visa_debit"], 4))


@dataclass(frozen=True, slots=True)
class Company:
    """What was built: ids, in order."""

    customers: tuple[str, ...]
    subscriptions: tuple[str, ...]
    troubled: tuple[str, ...]  # payment methods that will decline at some time


def build(sandbox: Sandbox, subscriptions: int = 300, seed: int = 1, days: int = 120, failing: float = 0.07) -> Company:
    """Fill the sandbox. About `failing` of the renewals in the next `days` fail, most of them for some days only."""
    rng = random.Random(f"company {seed}")
    world = sandbox.world
    customers, made, troubled = [], [], []
    with world.lock:
        prices = [_plan(sandbox, *plan[:4]) for plan in PLANS]
        for number in range(subscriptions):
            (price, currency) = rng.choices(prices, [plan[4] for plan in PLANS])[0]
            customer = _customer(sandbox, rng, number, currency)
            start = sandbox.clock() - timedelta(minutes=rng.randrange(60, 365 * 24 * 60))
            method = _method(sandbox, rng, customer, number)
            subscription = _subscription(
                sandbox, customer, price, rng.choices((1, 2, 3, 5, 10), (70, 12, 8, 6, 4))[0], start
            )
            spells = issuer.troubled(rng, _renewals(sandbox, subscription, days), failing)
            if spells:
                world.issuer.set(method["id"], Behaviour(spells))
                troubled.append(method["id"])
            customers.append(customer["id"])
            made.append(subscription["id"])
    return Company(tuple(customers), tuple(made), tuple(troubled))


def _plan(sandbox: Sandbox, name: str, amount: int, currency: str, interval: str) -> tuple[Obj, str]:
    product = new_product(sandbox.world, name)
    return new_price(sandbox.world, product["id"], currency, str(amount), interval), currency


def _customer(sandbox: Sandbox, rng: random.Random, number: int, currency: str) -> Obj:
    people = [row for row in PEOPLE if (row[0] in EURO) == (currency == "eur")]
    country, locale, given, family = rng.choice(people)
    name = f"{rng.choice(given)} {rng.choice(family)}"
    return new_customer(
        sandbox.world,
        name=name,
        email=f"customer{number:04d}@example.com",
        currency=currency,
        preferred_locales=[locale],
        address={"city": None, "country": country, "line1": None, "line2": None, "postal_code": None, "state": None},
    )


def _method(sandbox: Sandbox, rng: random.Random, customer: Obj, number: int) -> Obj:
    like = rng.choices([card for card, _ in BRANDS], [share for _, share in BRANDS])[0]
    card = TestCard(f"{like.number[:6]}{number:06d}{like.number[-4:]}", brand=like.brand, funding=like.funding)
    method = new_method(sandbox.world, card, rng.randint(1, 12), sandbox.clock().year + rng.randint(1, 4))
    method["customer"] = customer["id"]
    customer["invoice_settings"]["default_payment_method"] = method["id"]
    return method


def _subscription(sandbox: Sandbox, customer: Obj, price: Obj, quantity: int, start: datetime) -> Obj:
    """Begun at `start`, now in the middle of a period that is paid."""
    subscription = new_subscription(sandbox.world, customer, [(price, quantity)])
    began = int(start.timestamp())
    customer["created"] = began
    subscription |= {"created": began, "start_date": began, "billing_cycle_anchor": began, "status": "active"}
    period, now = began, sandbox.clock.stamp()
    while (end := period_end(began, period, price["recurring"])) <= now:
        period = end
    start_period(subscription, period)
    settle_history(sandbox.world, subscription, period)
    plan_renewal(sandbox.world, subscription)
    return subscription


def _renewals(sandbox: Sandbox, subscription: Obj, days: int) -> list[datetime]:
    item = subscription["items"][0]
    recurring, at = item["price"]["recurring"], from_stamp(item["current_period_end"])
    found = []
    while at < sandbox.clock() + timedelta(days=days):
        found.append(at)
        at = add_interval(at, recurring["interval"], recurring["interval_count"])
    return found
