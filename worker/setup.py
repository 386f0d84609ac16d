"""`reprieve setup`: asks what only the operator can know, and prints the settings that follow. It changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from config.settings import Account
from config.stripe_sends import KINDS, NONE
from worker.doctor.stripe_mail import TRACES, traces
from worker.stripe_gateway import Gateways

WHERE = "In Stripe's dashboard: Settings, Billing, Subscriptions and emails; and Settings, Customer emails."


def questions(accounts: Sequence[Account], gateways: Gateways, ask: Callable[[str, bool], bool]) -> Iterator[str]:
    """What to print, line by line; `ask` puts one question with the answer that traces suggest."""
    yield "Stripe may write to your customers as well. What it mails, Reprieve leaves out."
    yield WHERE
    for number, account in enumerate(accounts):
        mode = "live" if account.livemode else "test"
        yield f"\nAccount {account.id} ({mode})"
        gateway = gateways.of(account.id, account.livemode)
        seen = traces(gateway) if gateway else []
        for kind in seen:
            yield f"Stripe {KINDS[kind].asked}: {TRACES[kind]} was found."
        told = [kind for kind, about in KINDS.items() if ask(f"Stripe {about.asked}", kind in seen)]
        yield _setting(number, account, told or [NONE])


def _setting(number: int, account: Account, told: Sequence[str]) -> str:
    if number == 0:
        return f"\nSet:  REPRIEVE_STRIPE_SENDS={','.join(told)}"
    listed = ", ".join(f'"{kind}"' for kind in told)
    return f"\nSet in reprieve.toml, in the table [[accounts]] of {account.id}:  stripe_sends = [{listed}]"
