"""What a policy says about warnings ahead of a failure; without a table `[ahead]` there are none.

`config/policies/ahead.py` makes these values. Whether such warnings help is disputed (docs/pre-dunning.md), so each
kind is switched on by itself and comes with a control group that hears nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from billing.notices.sequence import Step


class Updater(StrEnum):
    """What to make of a network that usually tells Stripe the new card by itself."""

    WAIT = "wait"
    TRUST = "trust"
    IGNORE = "ignore"


SENTENCES = {
    Updater.WAIT: "Leave it time: not before the card's last month, and only a few days before the renewal.",
    Updater.TRUST: "Say nothing of cards whose network usually mends them.",
    Updater.IGNORE: "Treat all cards alike.",
}


@dataclass(frozen=True, slots=True)
class Warn:
    """One kind of warning. `control` is the share of customers that are not told, so that the effect can be seen.

    `min_amount` is in minor units by currency; a renewal below it is left alone, one in another currency is not.
    """

    on: bool = False
    days_before: int = 14  # the renewal
    control: float = 0.5
    min_amount: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CardExpiring(Warn):
    updater: Updater = Updater.WAIT
    updater_brands: frozenset[str] = frozenset({"visa", "mastercard", "amex", "discover"})
    updater_days_before: int = 7


@dataclass(frozen=True, slots=True)
class RenewalComing(Warn):
    """Of a period of `months` or more whatever it costs, and of any period from `min_amount` of its currency on."""

    months: int = 12


@dataclass(frozen=True, slots=True)
class Warnings:
    """`hour`: when messages go out, on the customer's clock. `gap_days`: one warning per customer in so many days."""

    card_expiring: CardExpiring = CardExpiring()
    renewal_coming: RenewalComing = RenewalComing()
    method_missing: Warn = Warn(days_before=7)
    hour: int = 10
    gap_days: int = 7

    def of(self, step: Step) -> Warn:
        """The part about this kind; `step` is one of `sequence.AHEAD`."""
        return {
            Step.CARD_EXPIRING: self.card_expiring,
            Step.RENEWAL_COMING: self.renewal_coming,
            Step.METHOD_MISSING: self.method_missing,
        }[step]

    @property
    def steps(self) -> tuple[Step, ...]:
        """The kinds that are switched on, the most urgent first."""
        order = (Step.METHOD_MISSING, Step.CARD_EXPIRING, Step.RENEWAL_COMING)
        return tuple(step for step in order if self.of(step).on)

    @property
    def horizon(self) -> int:
        """How many days before a renewal the earliest warning may be due."""
        return max((self.of(step).days_before for step in self.steps), default=0)


NONE = Warnings()
