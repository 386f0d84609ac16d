"""Warnings before anything failed: can they be sent, and does Stripe send the same?"""

from __future__ import annotations

from collections.abc import Iterator

from billing.policy import Mode
from config.policies import BadPolicy
from config.policies import parse as parse_policy
from config.policies import read as read_policy
from worker import links
from worker.ahead.plan import STRIPES
from worker.doctor.finding import Answer, Level, Patient


def warnings(patient: Patient) -> Iterator[Answer]:
    """Who is warned, of what, and whether somebody else does the same."""
    settings = patient.settings
    for account, name in patient.accounts():
        try:
            policy = parse_policy(read_policy(account.policy, settings.policy_dir), account.policy)
        except BadPolicy:
            continue  # the check of the policies says so
        steps = policy.ahead.steps
        if not steps or not Mode(account.mode).sends:
            yield Level.OK, f"{name}: nobody is warned before a payment fails", ""
            continue
        if links.base_of(settings) is None:
            fix = "set REPRIEVE_LINK_SECRET, and REPRIEVE_PUBLIC_URL in https"
            yield Level.FAIL, f"{name}: {policy.id} warns ahead, and there is no page to lead to: nothing is sent", fix
            continue
        yield Level.OK, f"{name}: {policy.id} warns of {', '.join(steps)}", ""
        if alone := [step for step in steps if not policy.ahead.of(step).control]:
            fix = "give [ahead.*] a control group (control = 0.5): what such messages do is disputed"
            yield Level.WARN, f"{name}: no control group for {', '.join(alone)}", fix
        told = getattr(account, "stripe_sends", ())
        if theirs := [step for step in steps if STRIPES.get(step) in told]:
            yield Level.OK, f"{name}: left to Stripe, which mails them itself: {', '.join(theirs)}", ""
        elif STRIPES.keys() & set(steps) and (not told or "unknown" in told):
            said = f"{name}: Stripe can mail about expiring cards and upcoming renewals itself"
            yield Level.WARN, said, "see that it does not (Stripe: Billing, Customer emails), or switch ours off"
