"""Warnings before anything failed: can they be sent, and does Stripe send the same?"""

from __future__ import annotations

from collections.abc import Iterator

from billing.policy import Mode
from config.policies import BadPolicy
from config.policies import parse as parse_policy
from config.policies import read as read_policy
from config.stripe_sends import UNKNOWN
from worker import links
from worker.doctor.finding import Answer, Level, Patient
from worker.store import Owner
from worker.stripe_sends import already_sent_by_stripe


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
            yield Level.WARN, f"{name}: {policy.id} warns ahead, and there is no page to lead to: nothing is sent", fix
            continue
        yield Level.OK, f"{name}: {policy.id} warns of {', '.join(steps)}", ""
        if alone := [step for step in steps if not policy.ahead.of(step).control]:
            fix = "give [ahead.*] a control group (control = 0.5): what such messages do is disputed"
            yield Level.WARN, f"{name}: no control group for {', '.join(alone)}", fix
        owner = Owner(account.id, account.livemode)
        if theirs := [step for step in steps if already_sent_by_stripe(settings, owner, step)]:
            yield Level.OK, f"{name}: left to Stripe, which mails them itself: {', '.join(theirs)}", ""
        elif UNKNOWN in account.stripe_sends:
            said = f"{name}: Stripe can mail about expiring cards and upcoming renewals itself"
            yield Level.WARN, said, "see that it does not (Stripe: Billing, Customer emails), or switch ours off"
