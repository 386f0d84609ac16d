"""Whether what the policy wants at the end can be done: a downgrade needs prices that exist at Stripe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from billing.ending import End
from billing.policy import Mode
from config import policies as files
from config.policy_file import check
from worker import prices
from worker.doctor.finding import Answer, Level, Patient
from worker.stripe_gateway import Gateway, StripeAway, StripeRefused


def ends(patient: Patient) -> Iterator[Answer]:
    """One finding for each account that drives, and one for each price that is missing."""
    driven = [(account, name) for account, name in patient.accounts() if Mode(account.mode).charges]
    for account, name in driven:
        try:
            policy = check(files.find(account.policy, patient.settings.policy_dir))
        except files.BadPolicy:
            continue  # the check of the policies says so
        wanted = f"subscription {policy.end.subscription}, invoice {policy.end.invoice}"
        yield Level.OK, f"{name}: after {policy.window.days} days without payment: {wanted}", ""
        gateway = patient.gateways.of(account.id, account.livemode)
        if policy.end.subscription is End.DOWNGRADE and gateway is not None:
            try:
                yield from _prices(name, gateway, policy.end.prices)
            except (StripeAway, StripeRefused) as error:
                yield Level.FAIL, f"{name}: the prices cannot be read: {error}", "give the key `Prices: read`"
    if not driven:
        yield Level.OK, "no account drives, so nothing is ended", ""


def _prices(name: str, gateway: Gateway, names: Sequence[str]) -> Iterator[Answer]:
    for each in names:
        found = [price for price in prices.find(gateway, each) if price.active and price.licensed and price.interval]
        if found:
            terms = ", ".join(f"{price.currency} per {price.interval_count} {price.interval}" for price in found)
            yield Level.OK, f"{name}: downgrade_to {each}: {terms}", ""
        else:
            fix = "make it at Stripe, or name another one in a new version of the policy"
            yield Level.FAIL, f"{name}: downgrade_to {each}: no active recurring price of this id or lookup key", fix
