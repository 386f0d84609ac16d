"""Who else writes to the customers: what Stripe mails itself, as far as somebody said or traces show it.

Stripe tells its switches to nobody. Two of its mails leave traces: a charge has a receipt number once its receipt was
mailed, and an invoice that was mailed has an event `invoice.sent`. In test mode Stripe mails next to nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from billing.policy import Mode
from config.stripe_sends import KINDS, NONE, UNKNOWN
from worker.doctor.finding import Answer, Level, Patient
from worker.stripe_gateway import Gateway, StripeAway, StripeMissing, StripeRefused

ASK = "run `reprieve setup`: it asks what to look at, and says what to set"
TRACES = {"receipt": "a charge with a receipt number", "invoice_finalized": "an event invoice.sent"}


def stripe_mail(patient: Patient) -> Iterator[Answer]:
    """One finding for each account, and one for each thing that Stripe mails and nobody said."""
    for account, name in patient.accounts():
        if not Mode(account.mode).sends:
            yield Level.OK, f"{name}: sends no messages, so none of them can be the second", ""
            continue
        told = account.stripe_sends
        gateway = patient.gateways.of(account.id, account.livemode)
        for kind in traces(gateway) if gateway else ():
            if kind not in told:
                yield Level.WARN, f"{name}: Stripe {KINDS[kind].asked} ({TRACES[kind]} was found)", ASK
        if UNKNOWN in told:
            said = f"{name}: nobody said what Stripe mails: a customer may get two mails for one failure"
            yield Level.WARN, said, ASK
        elif told == (NONE,):
            yield Level.OK, f"{name}: Stripe mails nothing, so every message is ours", ""
        else:
            yield Level.OK, f"{name}: held, because Stripe mails it: {_held(told)}", ""


def traces(gateway: Gateway) -> list[str]:
    """The kinds of mail that Stripe was seen to send; none when it cannot be asked."""
    found = []
    try:
        charges, _ = gateway.page("/v1/charges", {})
        found += ["receipt"] if any(charge.get("receipt_number") for charge in charges) else []
        sent, _ = gateway.page("/v1/events", {"type": "invoice.sent", "limit": 1})
        found += ["invoice_finalized"] if sent else []
    except (StripeAway, StripeMissing, StripeRefused):
        pass  # the check `stripe` says so
    return found


def _held(told: tuple[str, ...]) -> str:
    held = dict.fromkeys(
        f"{step}{f' ({KINDS[name].reason})' if KINDS[name].reason else ''}"
        for name in told
        for step in sorted(KINDS[name].holds)
    )
    return ", ".join(held) or "nothing"
