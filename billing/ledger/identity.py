"""Several Stripe customers that are one account: whose events are folded together, and under which name.

Everything is classified per customer (D16), so an account that pays through two Stripe customers would read as churn
and new business whenever it moves revenue between them. By default each Stripe customer is an account of its own.
Subscriptions and invoices never belong to two Stripe customers, so events are read first and renamed then.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from billing.ledger.vocabulary import LedgerEvent

Identities = Mapping[str, str]  # Stripe customer -> the one under whose id its account is booked; others stand alone
ONE_TO_ONE: Identities = {}


class Circular(ValueError):
    """A customer cannot be the same as one that is already the same as it; the message names both."""


def identities(statements: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The map after statements (customer, same as), in their order; the last one about a customer holds.

    A customer that is the same as itself stands alone again. Chains are followed: a like b, b like c makes a like c.
    Raises Circular.
    """
    named: dict[str, str] = {}
    for customer, same_as in statements:
        if customer == same_as:
            named.pop(customer, None)
        elif _end(named, same_as) == customer:
            raise Circular(f"{same_as} is already booked as {customer}, so {customer} cannot be booked as {same_as}")
        else:
            named[customer] = same_as
    return {customer: _end(named, customer) for customer in named}


def members(known: Identities) -> dict[str, frozenset[str]]:
    """By account: every Stripe customer in it, the one that names it included; accounts of one are left out."""
    found: dict[str, set[str]] = defaultdict(set)
    for customer, account in known.items():
        found[account] |= {customer, account}
    return {account: frozenset(customers) for account, customers in found.items()}


def renamed(events: Iterable[LedgerEvent], known: Identities) -> list[LedgerEvent]:
    """The same events under the names of their accounts."""
    if not known:
        return list(events)
    return [replace(event, customer=known.get(event.customer, event.customer)) for event in events]


def _end(named: Identities, customer: str) -> str:
    while customer in named:
        customer = named[customer]
    return customer
