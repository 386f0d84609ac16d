"""A message as a value: which template, in which language, with which words and figures. Nothing is rendered here.

The context is flat and holds only `str` and `int`, so a template can show what it is given and reach nothing else
(reliability.md S-25). An empty string means "not known"; templates ask for it with `if`.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from urllib.parse import urlsplit

from billing.case import NO_SILENT_RETRY, RecoveryCase, State
from billing.declines import Tell
from billing.events.snapshots import Card
from billing.money import Amount
from billing.notices import address
from billing.notices.language import DEFAULT, locales_of, zone_of
from billing.notices.reasons import reason_of
from billing.notices.sequence import AFTER_THE_END, AHEAD, ASKING, SILENT, Step

Context = Mapping[str, str | int]

STRIPE_HOSTS = frozenset({"invoice.stripe.com", "pay.stripe.com", "billing.stripe.com"})
LONGEST_NAME, LONGEST_LINK = 60, 2000
MOST_NUMBERS = 6

INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})  # control, format, surrogates, private use, separators
JOINERS = frozenset("\u200c\u200d")  # Persian, Indic scripts and emoji are written with them

# Brands as Stripe spells them, and as they are printed on the card; anything else is called "card".
BRANDS = {
    "amex": "American Express",
    "cartes_bancaires": "Cartes Bancaires",
    "diners": "Diners Club",
    "discover": "Discover",
    "eftpos_au": "eftpos",
    "jcb": "JCB",
    "mastercard": "Mastercard",
    "unionpay": "UnionPay",
    "visa": "Visa",
}


@dataclass(frozen=True, slots=True)
class Links:
    """Where the button may lead: https to these hosts, or `stand_in`, the base address of the sandbox."""

    hosts: frozenset[str] = STRIPE_HOSTS
    stand_in: str | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """Whom we write to. `locales` as Stripe has them (`de`, `pt-BR`), the preferred one first."""

    email: str | None
    name: str | None = None
    locales: tuple[str, ...] = ()
    country: str | None = None


@dataclass(frozen=True, slots=True)
class Ahead:
    """What a message is about while nothing has failed. `expires` is the card's last month (`2026-04`)."""

    amount: Amount | None = None
    renews_at: datetime | None = None
    expires: str | None = None


@dataclass(frozen=True, slots=True)
class Habits:
    """How the merchant writes: the language and the calendar for whom we know neither."""

    language: str = DEFAULT
    zone: tzinfo = UTC


@dataclass(frozen=True, slots=True)
class Notice:
    """One message before it is rendered: the context is all that the template sees."""

    step: Step
    template: str
    to: address.Address
    to_name: str  # cleaned; may be empty
    locales: tuple[str, ...]
    context: Context


@dataclass(frozen=True, slots=True)
class Skip:
    """Nothing is to be sent, and why."""

    because: str


def compose(
    step: Step,
    about: RecoveryCase | Ahead,
    person: Person,
    merchant: str,
    link: str | None,
    now: datetime,
    *,
    links: Links = Links(),
    card: Card | None = None,
    tell: Tell | None = None,
    next_try: datetime | None = None,
    open_invoices: int = 1,
    others: Sequence[RecoveryCase] = (),
    promised_on: date | None = None,
    habits: Habits = Habits(),
) -> Notice | Skip:
    """The message of this step about a case as it is now, or about what lies ahead; or why there is none.

    `link` is the hosted page of the same invoice at Stripe. `tell` is what the decline table lets the customer hear;
    without it the usual word of the decline class. `next_try` is the next planned attempt, ours or Stripe's. `others`
    are further cases of the customer, in the same currency, that the message speaks of too: it then names every invoice
    and the total. Days are those of the customer's calendar.
    """
    if not person.email:
        return Skip("the customer has no e-mail address")
    try:
        to = address.parse(person.email)
    except address.BadAddress as bad:
        return Skip(str(bad))
    if because := _not_now(step, about, promised_on):
        return Skip(because)
    url = safe_link(link, links)
    if not url and step is not Step.RECOVERED:
        return Skip("the invoice has no payment page at Stripe that we may link to")
    name = clean(person.name)
    context: dict[str, str | int] = {
        "merchant": clean(merchant),
        "name": name if _greetable(name) else "",
        **_owed(about, others, card),
        "url": url,
        "host": urlsplit(url).hostname or "",
    }
    zone = zone_of(person.country, habits.zone)
    if isinstance(about, RecoveryCase) and step in ASKING:
        context |= {
            "reason": reason_of(about, tell).value,
            "next_try": _next_try(about, next_try, now, zone),
            **_until(about.deadline, now, zone),
            "count": max(open_invoices, 1 + len(others)),
        }
        if because := _not_today(step, about.deadline, now, zone):
            return Skip(because)
    if step is Step.PROMISE_REMINDER:
        context["promised_on"] = promised_on.isoformat() if promised_on else ""
    if isinstance(about, Ahead):
        context |= {"renews_on": _day(about.renews_at, zone), "expires": about.expires or ""}
    return Notice(step, step.value, to, name, locales_of(person.locales, person.country, habits.language), context)


def _not_now(step: Step, about: RecoveryCase | Ahead, promised_on: date | None) -> str:
    """Why this message would be wrong, seen from the case as it is at this moment; empty when it is right."""
    if isinstance(about, Ahead) or step in AHEAD:
        return _not_ahead(step, about)
    if step is Step.RECOVERED:
        return "" if about.state is State.RECOVERED else f"the case is {about.state}, not recovered"
    if step in AFTER_THE_END:
        return "" if about.state is State.LOST else f"the case is {about.state}, not lost"
    if not about.live or about.state in SILENT:
        return f"the case is {about.state}: {about.because}".removesuffix(": ")
    if step is Step.PROMISE_REMINDER and promised_on is None:
        return "nobody promised a day"
    return "" if about.amount.minor > 0 else "nothing is owed any more"


def _not_ahead(step: Step, about: RecoveryCase | Ahead) -> str:
    if not isinstance(about, Ahead) or step not in AHEAD:
        return f"{step} is not a message about this"
    if step is Step.CARD_EXPIRING and not re.fullmatch(r"20[0-9]{2}-(0[1-9]|1[0-2])", about.expires or ""):
        return "it is not known when the card expires"
    if step is Step.RENEWAL_COMING and (about.renews_at is None or about.amount is None or about.amount.minor <= 0):
        return "no renewal is known"
    return ""


def _not_today(step: Step, deadline: datetime, now: datetime, zone: tzinfo) -> str:
    """Why a message that names the days left would say something untrue; one that waited overnight may."""
    until = _until(deadline, now, zone)
    left = int(until["days_left"])
    if step is Step.LAST_DAY and (left or now >= deadline):
        return f"the last day is {until['deadline']}"
    return "no day is left" if step is Step.BEFORE_DEADLINE and not left else ""


def _owed(about: RecoveryCase | Ahead, others: Sequence[RecoveryCase], card: Card | None) -> dict[str, str | int]:
    """How much, for which invoices, and from which card."""
    case = about if isinstance(about, RecoveryCase) else None
    total = (about.amount.minor if about.amount else 0) + sum(other.amount.minor for other in others)
    brand = (card and card.brand) or (case and case.brand) or ""
    return {
        "amount": total,
        "currency": about.amount.currency if about.amount else "usd",
        "invoice": _numbers(case, *others) if case else "",
        "brand": BRANDS.get(brand, ""),
        "last4": card.last4 if card and card.last4 and re.fullmatch(r"[0-9]{4}", card.last4) else "",
    }


def _numbers(*cases: RecoveryCase) -> str:
    """The numbers of these invoices, at most so many of them that a line can hold."""
    numbers = [number for case in cases if (number := clean(case.number))]
    return ", ".join(numbers[:MOST_NUMBERS]) + (" …" if len(numbers) > MOST_NUMBERS else "")


def _until(deadline: datetime, now: datetime, zone: tzinfo) -> dict[str, str | int]:
    """The last day, and how many whole days of the calendar lie before it."""
    last = deadline - datetime.resolution  # what ends at midnight ends with the day before
    left = (last.astimezone(zone).date() - now.astimezone(zone).date()).days
    return {"deadline": _day(last, zone), "days_left": max(left, 0)}


def _day(at: datetime | None, zone: tzinfo) -> str:
    return at.astimezone(zone).date().isoformat() if at else ""


def _next_try(case: RecoveryCase, at: datetime | None, now: datetime, zone: tzinfo) -> str:
    """The day of the next attempt (`2026-03-05`), empty when the customer has to act or nothing is planned."""
    mended = case.method_changed_at and case.decline_at and case.method_changed_at >= case.decline_at
    if at is None or at <= now or case.collection_method == "send_invoice":
        return ""
    return "" if case.decline_class in NO_SILENT_RETRY and not mended else _day(at, zone)


def safe_link(url: str | None, links: Links) -> str:
    """`url` when it may stand behind our button, else an empty string (reliability.md S-27)."""
    if not url or len(url) > LONGEST_LINK or not url.isascii() or re.search(r"[\s\x00-\x20\x7f\"'<>\\^`{|}]", url):
        return ""
    try:
        parts, base = urlsplit(url), urlsplit(links.stand_in or "")
        ours = base.netloc and (parts.scheme, parts.netloc) == (base.scheme, base.netloc)
        stripes = parts.scheme == "https" and parts.netloc in links.hosts
    except ValueError:
        return ""
    return url if ours or stripes else ""


def clean(text: str | None) -> str:
    """One line of visible text, at most 60 characters: no control, no change of direction, no line end."""
    spaced = (" " if c.isspace() else c for c in (text or "")[:1000])
    kept = " ".join("".join(c for c in spaced if c in JOINERS or unicodedata.category(c) not in INVISIBLE).split())
    return kept if len(kept) <= LONGEST_NAME else kept[: LONGEST_NAME - 1].rstrip() + "…"


def _greetable(name: str) -> bool:
    """Is it safe to say hello with it? Mail programs make links of domains, so strangers put them into names."""
    return bool(name) and not name.endswith("…") and not re.search(r"[@/:\\<>{}]|\.\w|www", name, re.IGNORECASE)


def dedup_key(case: RecoveryCase, step: str, channel: str, recipient_hash: str) -> str:
    """One message in the world: the same case, step, channel and mailbox give the same key, whatever the template."""
    world = "live" if case.livemode else "test"
    return ":".join(("nt1", case.account, world, case.invoice, step, channel, recipient_hash))


def message_id(key: str, domain: str) -> str:
    """The Message-ID that belongs to a dedup key: a repeat is recognisable as one by every mail program."""
    return f"<{hashlib.sha256(key.encode()).hexdigest()[:32]}@{domain}>"
