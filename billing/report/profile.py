"""What kind of customer somebody is, over time: the way of selling, the kind of pricing, the country, the account.

Read from Stripe's objects as far as they tell; what an operator says of a customer goes before (D25). Replaceable by
any table of `Profile` values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from billing.events.occurrences import Event, PaymentMethodSeen, SubscriptionSeen
from billing.events.snapshots import Item

PRICING = ("flat", "seat", "usage", "hybrid")  # the kinds of pricing


@dataclass(frozen=True, slots=True)
class Profile:
    """From `at` on; None is not known."""

    at: datetime
    gtm_motion: str | None = None  # sales_led, self_serve, or what the operator calls it
    pricing_model: str | None = None  # one of PRICING
    country: str | None = None  # ISO code; of the card, unless the operator knows better
    account: str | None = None  # several customers may be one account


UNKNOWN = Profile(datetime.min.replace(tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class Told:
    """What an operator says of a customer, at all times."""

    gtm_motion: str | None = None
    pricing_model: str | None = None
    country: str | None = None
    account: str | None = None


def profiles_of(events: Iterable[Event], told: Mapping[str, Told] | None = None) -> dict[str, tuple[Profile, ...]]:
    """By customer, in the order of time; events in any order and with any repetition."""
    told = told or {}
    found: dict[str, list[Profile]] = {
        customer: [replace(UNKNOWN, **{name: getattr(said, name) for name in Told.__slots__})]
        for customer, said in told.items()
    }
    for event in sorted(events, key=lambda event: (event.at, event.id)):
        customer, change = _seen(event)
        if customer is None or not change:
            continue
        known = found.setdefault(customer, [])
        last = known[-1] if known else UNKNOWN
        said = told.get(customer, Told())
        kept = {name: value for name, value in change.items() if getattr(said, name) is None}
        following = replace(last, at=event.at, **kept)
        if replace(following, at=last.at) != last:
            known.append(following)
    return {customer: tuple(known) for customer, known in found.items()}


def at(known: Sequence[Profile], before: datetime) -> Profile | None:
    """The last profile before an instant, else the first of all."""
    past = [each for each in known if each.at < before]
    return past[-1] if past else next(iter(known), None)


def pricing_model(items: Iterable[Item]) -> str | None:
    """By what is sold: metered prices are usage, several units or tiers are seats, the rest is flat."""
    recurring = [item for item in items if item.interval is not None]
    if not recurring:
        return None
    metered = [item for item in recurring if item.usage_type == "metered"]
    if metered:
        return "usage" if len(metered) == len(recurring) else "hybrid"
    return "seat" if any(item.quantity > 1 or item.tiers for item in recurring) else "flat"


def _seen(event: Event) -> tuple[str | None, dict[str, str]]:
    match event.what:
        case SubscriptionSeen(subscription=subscription):
            change = {"pricing_model": pricing_model(subscription.items), "gtm_motion": None}
            if subscription.collection_method:
                invoiced = subscription.collection_method == "send_invoice"
                change["gtm_motion"] = "sales_led" if invoiced else "self_serve"
            customer = subscription.customer or event.customer
            return customer, {name: value for name, value in change.items() if value}
        case PaymentMethodSeen(method=method) if method.card and method.card.country:
            return method.customer or event.customer, {"country": method.card.country.upper()}
        case _:
            return None, {}
