"""Each Stripe account: its secrets, its key, its clock, and who else retries there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from billing.policy import SENTENCES as MODES
from billing.policy import Mode
from config.settings import Account
from worker.app import wall_clock
from worker.doctor.finding import Answer, Level, Patient
from worker.stripe_gateway import Gateway, StripeAway, StripeMissing, StripeRefused

DRIFT_WARN, DRIFT_FAIL = timedelta(seconds=60), timedelta(minutes=5)  # Stripe signs for five minutes
PLACEHOLDER = re.compile(r"\.\.\.|x{4,}|example|placeholder|change.?me|your[_-]|secret", re.IGNORECASE)
SHORTEST_SECRET = 24


def webhook_secrets(patient: Patient) -> Iterator[Answer]:
    for account, name in patient.accounts():
        secrets = [secret.get_secret_value() for secret in account.webhook_secrets]
        fix = "set REPRIEVE_STRIPE_WEBHOOK_SECRETS to the signing secret (whsec_...) that Stripe shows for the endpoint"
        if not secrets:
            yield Level.FAIL, f"{name}: no signing secret, so every webhook is refused", fix
        elif bad := [
            s for s in secrets if not s.startswith("whsec_") or len(s) < SHORTEST_SECRET or PLACEHOLDER.search(s[6:])
        ]:
            yield Level.FAIL, f"{name}: {len(bad)} of {len(secrets)} signing secrets cannot be real", fix
        else:
            yield Level.OK, f"{name}: {len(secrets)} signing secret(s)", ""


def _may_be_real(secret: str) -> bool:
    return secret.startswith("whsec_") and len(secret) >= SHORTEST_SECRET and not PLACEHOLDER.search(secret[6:])


def keys(patient: Patient) -> Iterator[Answer]:
    for account, name in patient.accounts():
        if account.api_key is None:
            charging = Mode(account.mode).charges
            fix = "set REPRIEVE_STRIPE_API_KEY to a restricted key (rk_...); docs/go-live.md lists its permissions"
            level, rest = (Level.FAIL, MODES[Mode(account.mode)]) if charging else (Level.WARN, "declines stay unknown")
            yield level, f"{name}: no API key in mode {account.mode}: {rest}", fix
            continue
        yield _key(account, name, account.api_key.get_secret_value())


def _key(account: Account, name: str, key: str) -> Answer:
    kind, _, rest = key.partition("_")
    live = rest.startswith("live_")
    if kind not in ("rk", "sk") or not rest.startswith(("live_", "test_")) or PLACEHOLDER.search(rest[5:]):
        return (
            Level.FAIL,
            f"{name}: the API key is no secret key of Stripe",
            "use a restricted key (rk_live_ or rk_test_)",
        )
    if live != account.livemode:
        said = f"{name}: the API key is a {'live' if live else 'test'} key"
        return Level.FAIL, said, "give each account the key of its own mode, or set stripe_livemode"
    if kind == "sk":
        level = Level.FAIL if live else Level.WARN
        fix = "make a restricted key (rk_...) with the permissions in docs/go-live.md"
        return level, f"{name}: a full secret key could do anything", fix
    return Level.OK, f"{name}: restricted {'live' if live else 'test'} key", ""


def stripe(patient: Patient) -> Iterator[Answer]:
    """Reachable, the same clock, the same account, and only one driver."""
    for account, name in patient.accounts():
        gateway = patient.gateways.of(account.id, account.livemode)
        key = account.api_key
        if gateway is None or key is None or _key(account, name, key.get_secret_value())[0] is Level.FAIL:
            continue  # a key that is wrong here is not shown to anybody
        try:
            before = wall_clock()
            found, clock = gateway.clock()
            yield Level.OK, f"{name}: Stripe answers", ""
            if clock or not patient.settings.stripe_api_base:  # a stand-in may have no clock of its own
                yield _drift(name, clock, before + (wall_clock() - before) / 2)
            yield _same_account(account, name, str(found.get("id", "")))
            yield from _country(account, name, found.get("country"))
            yield from _drivers(account, name, gateway)
        except StripeRefused as error:
            yield Level.FAIL, f"{name}: {error}", "check the key and its permissions (docs/go-live.md)"
        except (StripeAway, StripeMissing) as error:
            yield Level.FAIL, f"{name}: {error}", "check the network and REPRIEVE_STRIPE_API_BASE"


def _drift(name: str, theirs: datetime | None, ours: datetime) -> Answer:
    if theirs is None:
        return Level.WARN, f"{name}: Stripe's answer has no Date, so the clock cannot be compared", ""
    drift = abs(ours - theirs.astimezone(UTC))
    said = f"{name}: this machine's clock is {drift.total_seconds():.0f} s off Stripe's"
    if drift >= DRIFT_FAIL:
        return Level.FAIL, said, "set the clock (NTP): signatures of webhooks would be refused"
    return (Level.WARN, said, "set the clock (NTP)") if drift >= DRIFT_WARN else (Level.OK, said, "")


def _same_account(account: Account, name: str, found: str) -> Answer:
    if not found:
        return Level.OK, f"{name}: the key works; it may not say whose it is, and no invoice does yet", ""
    if not account.id.startswith("acct_"):
        return Level.OK, f"{name}: the key belongs to {found}", ""
    if found != account.id:
        return Level.FAIL, f"{name}: the key belongs to {found}", "use that account's own key, or its own id"
    return Level.OK, f"{name}: the key belongs to it", ""


def _country(account: Account, name: str, found: object) -> Iterator[Answer]:
    """Some fees of the networks are others within a country than across borders."""
    if account.country is None and found:
        said = f"{name}: in {found}; without its country the highest fee is shown where a network has two"
        yield Level.OK, said, f"set REPRIEVE_STRIPE_COUNTRY={found} (or country of [[accounts]])"
    elif account.country and found and found != account.country:
        yield (
            Level.WARN,
            f"{name}: Stripe says the account is in {found}, the settings say {account.country}",
            ("correct REPRIEVE_STRIPE_COUNTRY: fees at stake are told by it"),
        )


def _drivers(account: Account, name: str, gateway: Gateway) -> Iterator[Answer]:
    """In mode own Stripe must not retry as well."""
    if account.mode != "own":
        return
    if planned := gateway.planned_retries():
        said = f"{name}: Stripe itself will retry {len(planned)} open invoices, {planned[0]} among them"
        yield Level.FAIL, said, "switch Stripe's retries off (Billing, Revenue recovery), or use mode weave"
    else:
        yield Level.OK, f"{name}: no open invoice that Stripe retries itself was found", ""
