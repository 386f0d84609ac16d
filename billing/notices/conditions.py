"""For which cases a step of a sequence is: each condition answers with the reason why not, or with nothing."""

from __future__ import annotations

from datetime import datetime

from billing.case import RecoveryCase
from billing.notices.sequence import Only


def unmet(only: Only, case: RecoveryCase, country: str | None, engaged_at: datetime | None) -> str:
    """Why the step is not for this case; empty when it is. `engaged_at`: the customer's last act on our page."""
    owed, currency = case.amount.minor, case.amount.currency
    if only.declines and case.decline_class not in only.declines:
        return f"not for a decline of the class {case.decline_class}"
    for limits, wrong in ((only.min_amount, "too small"), (only.max_amount, "too large")):
        if not limits:
            continue
        if currency not in limits:
            return f"the step names no amount in {currency}"
        if (owed < limits[currency]) if wrong == "too small" else (owed > limits[currency]):
            return f"the amount is {wrong} for this step"
    if only.products and only.products.isdisjoint(case.sold):
        return "not for what this customer subscribes to"
    land = country or case.country
    if only.countries and land not in only.countries:
        return f"not for customers in {land}" if land else "the customer's country is not known"
    return _tenure(only, case) or _engagement(only, case, engaged_at)


def _tenure(only: Only, case: RecoveryCase) -> str:
    if only.min_tenure is None and only.max_tenure is None:
        return ""
    if case.began_at is None:
        return "it is not known since when the customer subscribes"
    tenure = case.failed_at - case.began_at
    if only.min_tenure is not None and tenure < only.min_tenure:
        return "the customer has not subscribed for long enough"
    if only.max_tenure is not None and tenure > only.max_tenure:
        return "the customer has subscribed for too long"
    return ""


def _engagement(only: Only, case: RecoveryCase, engaged_at: datetime | None) -> str:
    engaged = engaged_at is not None and engaged_at >= case.failed_at
    if only.engaged is None or only.engaged is engaged:
        return ""
    return "the customer was on the recovery page" if engaged else "the customer was not on the recovery page yet"
