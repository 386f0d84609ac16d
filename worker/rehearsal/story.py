"""What is to be played: one failed renewal, what its bank will say, and what its people do.

Ready stories for those without a database are at the end; `real.py` makes a story of a case in the database.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from billing.events.snapshots import Card, Decline
from billing.money import Amount
from billing.retry.model import Model
from billing.retry.rules import Declined

PAID = "paid"
DECLINED = "declined"  # as the first time
VISA = Card(brand="visa", country="US", funding="credit")
ACTS = {
    "new_card": "the customer stores another card",
    "update": "the card updater brings the new number of the card",
    "pay": "the customer pays on the invoice's page, with another card",
    "cancel": "the customer ends the subscription",
}


@dataclass(frozen=True, slots=True)
class Spell:
    """The bank declines with `decline` until `until`; None: for good."""

    decline: Decline
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Act:
    """What somebody does at an instant; `what` is a key of ACTS."""

    at: datetime
    what: str


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What the card was charged for besides: declines use up its budgets, an approval or new details clear its name."""

    declined: tuple[Declined, ...] = ()
    approved_at: datetime | None = None  # before the failure; None: when the subscription was last paid
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Story:
    """One unpaid renewal. The renewal itself is always declined, with `decline`.

    The bank then answers by `answers`, one for each further attempt (`paid`, `declined` or a decline code; the last
    one is repeated), or else by `spells`, one after the other in time, and takes the money after the last of them.
    Codes of a debit are not played: every method is a card.
    """

    title: str
    failed_at: datetime
    amount: Amount
    decline: Decline
    spells: tuple[Spell, ...] = ()
    answers: tuple[str, ...] = ()
    acts: tuple[Act, ...] = ()
    card: Card = VISA
    interval: str = "month"
    invoice: str | None = None  # ids to give; None: invented ones
    customer: str | None = None
    subscription: str | None = None
    elsewhere: Elsewhere = Elsewhere()
    model: Model | None = None  # the retry model in use; None: the shipped prior
    rules: Path | None = None  # the operator's own network rules
    home: str | None = None  # country of the merchant's account
    country: str | None = "US"  # where the customer lives, as Stripe tells it
    notes: tuple[str, ...] = ()  # what is played otherwise than it was, one sentence each

    def said(self, attempt: int, at: datetime) -> Decline | None:
        """The bank's no to this attempt (0 is the renewal), None when it pays."""
        if attempt == 0:
            return self.decline
        if self.answers:
            return self._answer(self.answers[min(attempt, len(self.answers)) - 1])
        return next((spell.decline for spell in self.spells if spell.until is None or at < spell.until), None)

    def _answer(self, name: str) -> Decline | None:
        if name == PAID:
            return None
        return self.decline if name == DECLINED else decline_of(name)


def decline_of(code: str) -> Decline:
    """A decline of this code, as Stripe passes it on."""
    error = "authentication_required" if code == "authentication_required" else "card_declined"
    return Decline(code="expired_card" if code == "expired_card" else error, decline_code=code)


_CODE = re.compile(r"[a-z][a-z_0-9]{1,60}")
_LINE = re.compile(r"(?P<code>\S+)(?:\s+until\s+(?P<until>.+))?")


def with_answers(story: Story, text: str) -> Story:
    """The story with the answers of `declined,insufficient_funds,paid`. Raises ValueError."""
    answers = tuple(part.strip() for part in text.split(","))
    for answer in answers:
        if not _CODE.fullmatch(answer):
            raise ValueError(f"--answers: {answer!r} is neither paid, declined nor a decline code")
    return replace(story, answers=answers)


def with_bank(story: Story, lines: Sequence[str]) -> Story:
    """The story with the spells of `insufficient_funds until 2026-03-15`, `lost_card`. Raises ValueError."""
    spells = []
    for line in lines:
        found = _LINE.fullmatch(line.strip())
        if found is None or not _CODE.fullmatch(found["code"]):
            raise ValueError(f"--bank: {line!r} is no decline code, or DECLINE_CODE until DATE")
        until = _date(found["until"]) if found["until"] else None
        decline = story.decline if found["code"] in (DECLINED, story.decline.decline_code) else None
        spells.append(Spell(decline or decline_of(found["code"]), until))
    ends = [spell.until for spell in spells if spell.until]
    if len(ends) < len(spells) - 1 or any(spell.until is None for spell in spells[:-1]) or sorted(ends) != ends:
        raise ValueError("--bank: each but the last needs an end, and the ends must rise")
    return replace(story, spells=tuple(spells), answers=())


def _date(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"--bank: {text!r} is no date like 2026-03-15 or 2026-03-15T08:00") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


# ---------------------------------------------------------------- ready stories

FAILED = datetime(2026, 3, 2, 9, tzinfo=UTC)
PRICE = Amount(4_900, "usd")
MASTERCARD = Card(brand="mastercard", country="US", funding="debit")


def _day(days: float) -> datetime:
    return FAILED + timedelta(days=days)


def _ready(
    title: str,
    code: str,
    until: float | None = None,
    acts: tuple[tuple[float, str], ...] = (),
    card: Card = VISA,
    advice: str | None = None,
) -> Story:
    decline = replace(decline_of(code), network_advice_code=advice)
    spell = Spell(decline, None if until is None else _day(until))
    done = tuple(Act(_day(day), what) for day, what in acts)
    return Story(title, FAILED, PRICE, decline, (spell,), acts=done, card=card)


EXAMPLES: dict[str, Story] = {
    "soft_decline": _ready("The bank says do not honor, and lets the charge pass three days later", "do_not_honor", 3),
    "pay_day": _ready("No funds until pay-day, eleven days later", "insufficient_funds", 11),
    "outage": _ready("The issuer cannot be reached for ten hours", "issuer_not_available", 10 / 24),
    "hard_decline": _ready("The card was stolen, and nobody does anything", "stolen_card"),
    "expired_card": _ready(
        "The card expired; the customer stores another one on the fifth day", "expired_card", None, ((5, "new_card"),)
    ),
    "updated_card": _ready(
        "The card expired; the network's updater knows the new one on the third day",
        "expired_card",
        None,
        ((3, "update"),),
    ),
    "authentication": _ready(
        "The bank wants to see the customer, who answers the message on the second day",
        "authentication_required",
        None,
        ((2, "pay"),),
    ),
    "cancelled": _ready(
        "No funds, and the customer ends the subscription on the sixth day",
        "insufficient_funds",
        None,
        ((6, "cancel"),),
    ),
    "never_again": _ready(
        "Mastercard's advice 03: do not try again", "do_not_honor", None, (), MASTERCARD, advice="03"
    ),
    "never_pays": _ready("No funds for a month: the whole window is used", "insufficient_funds"),
}
