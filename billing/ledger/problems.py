"""Facts that contradict each other or lack what a figure needs: kept, booked as far as they are certain, and listed.

The books never guess. What a listed fact would have changed stands in its problem, with what a person can do. Pure and
computed anew each time, so a problem vanishes when the fact that was missing arrives.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from billing.events import occurrences as seen
from billing.events.occurrences import SubscriptionSeen
from billing.events.snapshots import Invoice, Subscription
from billing.ledger.facts import Fact
from billing.ledger.interpret import TERMINAL, once


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that a person should look at. `source` is the event that shows it."""

    kind: str
    customer: str | None
    subscription: str | None
    at: datetime
    because: str
    booked: str
    what_to_do: str
    source: str


@dataclass(frozen=True, slots=True)
class _Snapshot:
    fact: Fact
    now: Subscription


Look = Callable[[Sequence[Fact], dict[str, list[_Snapshot]]], Iterator[Problem]]


def problems(facts: Iterable[Fact]) -> tuple[Problem, ...]:
    """What is wrong with the facts of one Stripe customer, in any order and with any repetition; oldest first."""
    known = once(facts)
    snapshots: dict[str, list[_Snapshot]] = defaultdict(list)
    for fact in known:
        if isinstance(fact.what, (SubscriptionSeen, seen.InvoiceRead)) and fact.what.subscription:
            snapshots[fact.what.subscription.id].append(_Snapshot(fact, fact.what.subscription))
    found = [problem for look in LOOKS for problem in look(known, snapshots)]
    return tuple(sorted(found, key=lambda each: (each.at, each.kind, each.subscription or "", each.source)))


# ---------------------------------------------------------------- contradictions


def _changed_after_its_end(facts: Sequence[Fact], snapshots: dict[str, list[_Snapshot]]) -> Iterator[Problem]:
    for told in snapshots.values():
        ended = next((each for each in told if each.now.status in TERMINAL), None)
        if ended is None:
            continue
        alive = [each for each in told if each.fact.at > ended.fact.at and each.now.status not in TERMINAL]
        if alive:
            last = alive[-1]
            yield _about(
                last,
                "ended_changed",
                f"ended on {ended.fact.at:%Y-%m-%d}, and {last.fact.source} says later that it is {last.now.status}",
                "it stays ended",
                "look at it in Stripe: if it does run, its revenue is missing here, and `reprieve reconcile` finds it",
            )


def _other_currency(facts: Sequence[Fact], snapshots: dict[str, list[_Snapshot]]) -> Iterator[Problem]:
    for told in snapshots.values():
        first = next((each.now.currency for each in told if each.now.currency), None)
        foreign = [each for each in told if each.now.currency not in (None, first)]
        if foreign and first:
            yield _about(
                foreign[-1],
                "currency_switch",
                f"was billed in {first.upper()} and is now told in {(foreign[-1].now.currency or '').upper()}",
                f"the last known revenue in {first.upper()}; status and payments as told",
                "a subscription keeps its currency in Stripe: see which of the two is right, "
                "and let the customer end this subscription and begin one in the other currency",
            )


def _invoice_in_other_currency(facts: Sequence[Fact], snapshots: dict[str, list[_Snapshot]]) -> Iterator[Problem]:
    for subscription, told in _invoices(facts).items():
        currency = next((each.now.currency for each in snapshots.get(subscription, ()) if each.now.currency), None)
        for fact, invoice in told:
            if currency and invoice.due.unit != currency:
                yield Problem(
                    "invoice_currency",
                    fact.customer,
                    subscription,
                    fact.at,
                    f"invoice {invoice.id} asks for {invoice.due}, the subscription is billed in {currency.upper()}",
                    "the failure and its end; its cash is counted in the subscription's currency",
                    f"look at invoice {invoice.id} in Stripe",
                    fact.source,
                )
                break


def _paid_and_void(facts: Sequence[Fact], snapshots: dict[str, list[_Snapshot]]) -> Iterator[Problem]:
    ends: dict[str, dict[str, Fact]] = defaultdict(dict)
    for fact in facts:
        if isinstance(fact.what, (seen.InvoicePaid, seen.InvoiceVoided)):
            ends[fact.what.invoice.id].setdefault(fact.kind, fact)
    for invoice, told in ends.items():
        if len(told) == 2:
            last = max(told.values(), key=lambda fact: (fact.at, fact.source))
            yield Problem(
                "paid_and_void",
                last.customer,
                getattr(last.what, "invoice").subscription,  # noqa: B009 - both kinds have one
                last.at,
                f"invoice {invoice} was paid and was voided",
                "whichever was told first",
                f"look at invoice {invoice} in Stripe: was the money given back?",
                last.source,
            )


# ---------------------------------------------------------------- what a figure lacks


def _never_seen(facts: Sequence[Fact], snapshots: dict[str, list[_Snapshot]]) -> Iterator[Problem]:
    for subscription, told in _invoices(facts).items():
        if subscription not in snapshots:
            fact, invoice = told[-1]
            yield Problem(
                "never_seen",
                fact.customer,
                subscription,
                told[0][0].at,
                f"{len(told)} event(s) of its invoices came, last of {invoice.id}, and none of the subscription itself",
                "nothing: what it is worth is not known",
                "run `reprieve backfill`, and see that the webhook endpoint sends customer.subscription.* events",
                fact.source,
            )


def _lacking(facts: Sequence[Fact], snapshots: dict[str, list[_Snapshot]]) -> Iterator[Problem]:
    named = {
        fact.what.subscription for fact in facts if isinstance(fact.what, seen.DiscountSeen) and fact.what.discount
    }
    for subscription, told in snapshots.items():
        last = told[-1]
        if not last.now.items_complete:
            booked = "the items that were sent" if last.now.items else "nothing of its items"
            todo = "run `reprieve reconcile`, which reads all of them"
            yield _about(last, "items_incomplete", "Stripe sent only part of its items", booked, todo)
        unpriced = [item.id for item in last.now.items if _unpriced(item)]
        if unpriced:
            yield _about(
                last,
                "no_price",
                f"no price or interval was sent for {', '.join(unpriced)}",
                "these items at zero",
                "give the price an amount, or let `reprieve reconcile` read its tiers",
            )
        if not last.now.discounts_complete and subscription not in named:
            yield _about(
                last,
                "discount_unknown",
                "it has a discount whose terms no event told",
                "the revenue before this discount",
                "subscribe the endpoint to customer.discount.*, or run `reprieve reconcile`, which reads the terms",
            )
        if any(item.tax_behavior == "inclusive" and item.tax_inclusive_pct is None for item in last.now.items):
            yield _about(
                last,
                "tax_unknown",
                "its price contains tax, and no rate of it was sent",
                "the revenue with the tax in it",
                "give the subscription a tax rate in Stripe, or a price without tax",
            )


def _unpriced(item: object) -> bool:
    amount, tiers = getattr(item, "unit_amount", None), getattr(item, "tiers", ())
    metered = getattr(item, "usage_type", "") == "metered"
    return not metered and ((amount is None and not tiers) or getattr(item, "interval", None) is None)


def _invoices(facts: Sequence[Fact]) -> dict[str, list[tuple[Fact, Invoice]]]:
    """What was told of invoices, by subscription."""
    found: dict[str, list[tuple[Fact, Invoice]]] = defaultdict(list)
    for fact in facts:
        invoice = getattr(fact.what, "invoice", None)
        if isinstance(invoice, Invoice) and invoice.subscription:
            found[invoice.subscription].append((fact, invoice))
    return found


def _about(each: _Snapshot, kind: str, because: str, booked: str, what_to_do: str) -> Problem:
    return Problem(kind, each.fact.customer, each.now.id, each.fact.at, because, booked, what_to_do, each.fact.source)


LOOKS: tuple[Look, ...] = (
    _changed_after_its_end,
    _other_currency,
    _invoice_in_other_currency,
    _paid_and_void,
    _never_seen,
    _lacking,
)
