"""The switches on which established systems disagree; every report prints the ones it was made with.

The choices and who makes which are argued in the project's metrics definitions (D5, D8-D11, D20, sections 2.4, 3.1).
"""

from __future__ import annotations

from dataclasses import dataclass

# Of how many last invoices the mean is taken for what is billed by usage (D6).
INVOICES = {"excluded": 0, "as_invoiced": 1, "included": 3}


class NotAPolicy(ValueError):
    """A switch has a value that it does not know; the message names the switch and its values."""


@dataclass(frozen=True, slots=True)
class LedgerPolicy:
    """One consistent reading of recurring revenue. Days are whole days of 24 hours; None means no limit."""

    name: str = "default"
    coupon_forever: bool = True
    coupon_repeating: bool = True
    coupon_once: bool = False
    unpaid_is_loss: bool = True  # the status `unpaid` ends the revenue at once, as in Stripe's own figure
    deadline_is_loss: bool = False  # our own recovery deadline ends it too, even before the past-due limit
    max_past_due_days: int | None = 30  # after the first failure of a charged subscription
    max_overdue_days: int | None = 60  # after the due date of a subscription paid by sent invoice
    post_loss_recovery_days: int = 30  # a payment this long after a loss still counts as its recovery
    first_payment_gate: bool = True  # a trial counts from its first payment, not from its end
    void_pause_stops: bool = True  # collection paused with `void` or `mark_uncollectible` ends the paid period
    metered: str = "excluded"  # excluded, as_invoiced (the last invoice) or included (the mean of the last three)
    zone: str = "UTC"  # whose calendar day makes a cancellation and a new subscription one change

    def __post_init__(self) -> None:
        if self.metered not in INVOICES:
            raise NotAPolicy(f"metered is {self.metered!r}; it must be one of {', '.join(INVOICES)}")


DEFAULT = LedgerPolicy()
STRIPE_LIKE = LedgerPolicy(
    name="stripe_like",
    coupon_repeating=False,
    max_past_due_days=None,
    max_overdue_days=None,
    first_payment_gate=False,
    void_pause_stops=False,
)
# The next two are approximations from what these systems document (section 2.4).
CHARTMOGUL_LIKE = LedgerPolicy(
    name="chartmogul_like",
    coupon_once=True,
    unpaid_is_loss=False,
    max_past_due_days=None,
    max_overdue_days=None,
    void_pause_stops=False,
    metered="as_invoiced",
)
PROFITWELL_LIKE = LedgerPolicy(
    name="profitwell_like",
    coupon_once=True,
    max_past_due_days=None,  # the billing system's own: it ends when Stripe ends it
    max_overdue_days=None,
    metered="included",
)
PRESETS = {policy.name: policy for policy in (DEFAULT, STRIPE_LIKE, CHARTMOGUL_LIKE, PROFITWELL_LIKE)}
