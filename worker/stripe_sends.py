"""No customer gets two mails for one failure: what Stripe mails already, we do not."""

from __future__ import annotations

from billing.notices.compose import Notice, Skip
from billing.notices.sequence import Step
from config.settings import Settings
from config.stripe_sends import KINDS
from worker.store import Owner


def already_sent_by_stripe(settings: Settings, owner: Owner, step: Step, reason: str = "") -> str:
    """Why this e-mail would be the second about the same thing; empty when it is not, or when nobody said.

    `reason` is the one that the message would give (billing.notices.reasons). Concerns e-mail: Stripe sends no SMS.
    """
    account = settings.account(owner.account, owner.livemode)
    told = account.stripe_sends if account else ()
    by_reason = {kind.reason for kind in KINDS.values() if kind.reason}
    for name in told:
        kind = KINDS.get(name)
        if kind is None or step not in kind.holds:
            continue
        if kind.reason == reason or (kind.reason is None and reason not in by_reason):
            return f"Stripe mails this itself ({name})"
    return ""


def unless_stripe_sends(settings: Settings, owner: Owner, composed: Notice | Skip) -> Notice | Skip:
    """The same notice, or why it is left out."""
    if isinstance(composed, Skip):
        return composed
    reason = str(composed.context.get("reason", ""))
    because = already_sent_by_stripe(settings, owner, composed.step, reason)
    return Skip(because) if because else composed
