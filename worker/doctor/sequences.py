"""What the messages of a policy ask of this installation: contacts, a page, and ways to people."""

from __future__ import annotations

from collections.abc import Iterator

from billing.notices.sequence import Audience, Via
from billing.policy import Mode, Policy
from config import policies as files
from config.contacts import BadContacts, contacts
from config.policy_file import check
from config.settings import Settings
from worker import links
from worker.doctor.finding import Answer, Level, Patient


def sequences(patient: Patient) -> Iterator[Answer]:
    settings = patient.settings
    try:
        people = contacts(settings.contacts_csv)
    except BadContacts as error:
        yield Level.FAIL, str(error), "mend the file that REPRIEVE_CONTACTS_CSV names"
        return
    sends = {account.policy for account, _ in patient.accounts() if Mode(account.mode).sends}
    for name in sorted(sends):
        try:
            policy = check(files.find(name, settings.policy_dir))
        except files.BadPolicy:
            continue  # the check of policies says so
        yield from _ways(policy, settings)
        known = f"contacts of {len(people)} customers" if people else "nobody beside the address at Stripe"
        if any(set(step.audience) & {Audience.OWNER, Audience.TEAM} for step in policy.sequence.steps):
            yield Level.OK, f"{policy.id} also writes to owners and teams; known are {known}", ""
    if not sends:
        yield Level.OK, "no account sends messages", ""


def _ways(policy: Policy, settings: Settings) -> Iterator[Answer]:
    ways = {via for step in policy.sequence.steps for via in step.via}
    if policy.sequence.merge and links.base_of(settings) is None:
        said = f"{policy.id} merges open invoices into one message, and there is no page that shows them all"
        yield Level.WARN, f"{said}: each has its own", "set REPRIEVE_LINK_SECRET and REPRIEVE_PUBLIC_URL"
    for via, there, setting in (
        (Via.SMS, settings.sms_url, "REPRIEVE_SMS_URL"),
        (Via.CHAT, settings.chat_urls, "REPRIEVE_CHAT_URLS"),
    ):
        if via in ways and not there:
            yield Level.WARN, f"{policy.id} has steps by {via}, and there is no way to send them", f"set {setting}"
