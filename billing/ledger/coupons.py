"""Which discounts lower one subscription, from snapshots that may tell only their ids and from the coupons' own events.

A customer's coupon lowers every subscription that has none of its own, as Stripe applies it.
"""

from __future__ import annotations

from billing.events.occurrences import DiscountSeen
from billing.events.snapshots import Discount, Subscription


class Coupons:
    """What is known of the discounts on one subscription and on its customer."""

    def __init__(self) -> None:
        self._own: tuple[Discount, ...] = ()
        self._of_customer: tuple[Discount, ...] = ()
        self._named: dict[str, Discount] = {}  # by the id of the discount: an event of its end may name no terms
        self._complete = True
        self._seen = False

    def snapshot(self, subscription: Subscription) -> None:
        """A complete list replaces what was known; an incomplete one only begins it."""
        self._complete = subscription.discounts_complete
        if self._complete:
            self._own = subscription.discounts
        elif not self._seen:
            named = {each.coupon for each in subscription.discounts}
            self._own = (*subscription.discounts, *(each for each in self._own if each.coupon not in named))
        self._seen = True

    def told(self, what: DiscountSeen) -> None:
        """A coupon came, changed or went. Terms that no event told change nothing: they are listed as a problem."""
        terms = what.discount or self._named.get(what.discount_id or "")
        if terms is None:
            return
        if what.discount_id:
            self._named[what.discount_id] = terms
        gone = what.change == "deleted"
        if what.subscription is None:
            self._of_customer = () if gone else (terms,)
        elif gone:
            self._own = tuple(each for each in self._own if each.coupon != terms.coupon)
        elif not (self._complete and any(each.coupon == terms.coupon for each in self._own)):
            self._own = (*(each for each in self._own if each.coupon != terms.coupon), terms)

    def running(self, currency: str | None) -> tuple[Discount, ...]:
        """What counts; a fixed amount in another currency than the subscription's is never taken off."""
        found = self._own or self._of_customer
        return found and tuple(each for each in found if each.amount_off is None or each.currency in (None, currency))
