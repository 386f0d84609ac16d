"""The bank that issued the card: pure decisions, so a test or a seed decides who is declined and when.

A card's behaviour is a tuple of `Spell`s, times during which it declines with a code. No spell means it is fine;
a spell without an end is a dead card; "no funds until pay-day" is a spell that ends on pay-day.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sandbox.declines import ADVICE, ERROR_CODES, HARD, MASTERCARD, VISA

AUTHENTICATION = "authentication_required"


@dataclass(frozen=True, slots=True)
class Spell:
    """The card declines with `code` from `since` (always) until `until` (never ends), above `above` minor units."""

    code: str
    since: datetime | None = None
    until: datetime | None = None
    above: int = -1

    def covers(self, at: datetime, amount: int) -> bool:
        begun = self.since is None or at >= self.since
        return begun and (self.until is None or at < self.until) and amount > self.above


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How one payment method behaves. `challenge`: 'no', 'off_session' or 'always' asks for authentication first.

    `settles_after` makes it a bank debit: processing at once, decided by the spells when it settles.
    """

    spells: tuple[Spell, ...] = ()
    challenge: str = "no"
    settles_after: timedelta | None = None


FINE = Behaviour()


def declines(code: str) -> Behaviour:
    return Behaviour((Spell(code),))


def until(at: datetime, code: str = "insufficient_funds") -> Behaviour:
    """Declines with `code` until `at`: pay-day, or the end of an outage."""
    return Behaviour((Spell(code, until=at),))


def authenticates(when: str = "off_session") -> Behaviour:
    return Behaviour(challenge=when)


def debit(days: float, code: str | None = None) -> Behaviour:
    return Behaviour((Spell(code),) if code else (), settles_after=timedelta(days=days))


@dataclass(frozen=True, slots=True)
class Request:
    """What the issuer sees. `declined_lately` counts this card's declines of the last 24 hours."""

    amount: int
    currency: str
    brand: str
    at: datetime
    on_session: bool
    declined_lately: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Approved when `decline_code` is None; the codes are those that Stripe passes on."""

    decline_code: str | None
    error_code: str | None = None
    advice_code: str | None = None
    network_decline_code: str | None = None
    network_advice_code: str | None = None
    because: str = ""

    @property
    def approved(self) -> bool:
        return self.decline_code is None

    @property
    def hard(self) -> bool:
        """Stripe creates no further charge on this payment method by itself."""
        return self.decline_code in HARD


def decide(behaviour: Behaviour, request: Request, velocity: int | None = None) -> Verdict:
    """Approve or decline. `velocity` is the number of declines in 24 hours after which the issuer closes the card."""
    if velocity is not None and request.declined_lately >= velocity:
        return verdict("card_velocity_exceeded", request.brand, f"{request.declined_lately} declines in 24 hours")
    for spell in behaviour.spells:
        if spell.code == AUTHENTICATION and request.on_session:
            continue
        if spell.covers(request.at, request.amount):
            end = f"until {spell.until:%Y-%m-%d %H:%M}" if spell.until else "for good"
            return verdict(spell.code, request.brand, f"{spell.code} {end}")
    return Verdict(None, because="nothing against it")


def verdict(code: str, brand: str, because: str) -> Verdict:
    """The decline with the codes that its network adds."""
    return Verdict(
        decline_code=code,
        error_code=ERROR_CODES.get(code, "card_declined"),
        advice_code=ADVICE.get(code),
        network_decline_code=VISA.get(code, "05"),
        network_advice_code=MASTERCARD.get(code) if brand == "mastercard" else None,
        because=because,
    )


@dataclass(slots=True)
class Issuer:
    """Behaviours by payment method id, and the declines each card has had."""

    velocity: int | None = None
    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    _declines: dict[str, list[datetime]] = field(default_factory=dict)

    def set(self, payment_method: str, behaviour: Behaviour) -> None:
        self.behaviours[payment_method] = behaviour

    def of(self, payment_method: str) -> Behaviour:
        return self.behaviours.get(payment_method, FINE)

    def ask(self, payment_method: str, fingerprint: str, request: Request) -> Verdict:
        lately = [at for at in self._declines.get(fingerprint, ()) if request.at - at < timedelta(hours=24)]
        asked = Request(
            request.amount, request.currency, request.brand, request.at, request.on_session, declined_lately=len(lately)
        )
        answer = decide(self.of(payment_method), asked, self.velocity)
        self._declines[fingerprint] = lately if answer.approved else [*lately, request.at]
        return answer


# Shares of the reasons behind failing renewals: about two thirds to nine tenths read as funds or a generic no, and
# most of those clear within ten days (worlds/README.md); the rest are cards that stay dead.
TEMPORARY = (("insufficient_funds", 55), ("generic_decline", 15), ("do_not_honor", 14), ("processing_error", 4))
LASTING = (("expired_card", 6), ("lost_card", 2), ("authentication_required", 3), ("fraudulent", 1))


def troubled(rng: random.Random, renewals: list[datetime], rate: float = 0.07) -> tuple[Spell, ...]:
    """Spells for one card of a population in which `rate` of the renewals fail."""
    codes = TEMPORARY + LASTING
    spells: list[Spell] = []
    for at in renewals:
        if rng.random() >= rate:
            continue
        code = rng.choices([name for name, _ in codes], [weight for _, weight in codes])[0]
        since = at - timedelta(hours=rng.uniform(1, 48))
        if code in dict(LASTING):
            spells.append(Spell(code, since))
            break
        spells.append(Spell(code, since, at + timedelta(days=min(rng.expovariate(1 / 6), 40))))
    return tuple(spells)
