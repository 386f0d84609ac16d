"""Warnings before anything failed: can they be sent, and does Stripe send the same?"""

from __future__ import annotations

from collections.abc import Iterator

from billing.notices.sequence import Step
from billing.policy import Mode
from config.policies import BadPolicy
from config.policies import parse as parse_policy
from config.policies import read as read_policy
from worker import links
from worker.doctor.finding import Answer, Level, Patient


def warnings(patient: Patient) -> Iterator[Answer]:
    """Of accounts that send and whose policy warns."""
    settings = patient.settings
    for account, name in patient.accounts():
        try:
            policy = parse_policy(read_policy(account.policy, settings.policy_dir), account.policy)
        except BadPolicy:
            continue  # the check of the policies says so
        steps = policy.ahead.steps
        if not steps or not Mode(account.mode).sends:
            continue
        if links.base_of(settings) is None:
            fix = "set REPRIEVE_LINK_SECRET, and REPRIEVE_PUBLIC_URL in https"
            yield Level.FAIL, f"{name}: {policy.id} warns ahead, and there is no page to lead to: nothing is sent", fix
            continue
        yield Level.OK, f"{name}: {policy.id} warns of {', '.join(steps)}", ""
        if alone := [step for step in steps if not policy.ahead.of(step).control]:
            fix = "give [ahead.*] a control group (control = 0.5): what such messages do is disputed"
            yield Level.WARN, f"{name}: no control group for {', '.join(alone)}", fix
        if Step.CARD_EXPIRING in steps or Step.RENEWAL_COMING in steps:
            yield from _stripes_own(patient, name)


def _stripes_own(patient: Patient, name: str) -> Iterator[Answer]:
    """Nothing in Stripe's API says which e-mails it sends, so a person has to look."""
    if not hasattr(patient.settings, "stripe_sends"):
        said = f"{name}: Stripe can send e-mails about expiring cards and upcoming renewals itself"
        yield Level.WARN, said, "see that they are off in Stripe (Billing, Customer emails), or switch ours off"
