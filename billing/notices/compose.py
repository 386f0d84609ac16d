"""A message as a value: which template, in which language, with which words and figures. Nothing is rendered here.

The context is flat and holds only `str` and `int`, so a template can show what it is given and reach nothing else
(reliability.md S-25). An empty string means "not known"; templates ask for it with `if`.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from billing.case import NO_SILENT_RETRY, RecoveryCase, State
from billing.declines import USUAL_TELL, Tell
from billing.events.snapshots import Card
from billing.notices import address
from billing.notices.sequence import SILENT, Step

Context = Mapping[str, str | int]

STRIPE_HOSTS = frozenset({"invoice.stripe.com", "pay.stripe.com", "billing.stripe.com"})
LONGEST_NAME, LONGEST_LINK = 60, 2000

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
    case: RecoveryCase,
    person: Person,
    merchant: str,
    link: str | None,
    now: datetime,
    *,
    links: Links = Links(),
    card: Card | None = None,
    tell: Tell | None = None,
    next_try: datetime | None = None,
) -> Notice | Skip:
    """The message of this step about this case as it is now, or why there is none.

    `link` is the hosted page of the same invoice at Stripe. `tell` is what the decline table lets the customer hear;
    without it the usual word of the decline class. `next_try` is the next planned attempt, ours or Stripe's.
    """
    if not person.email:
        return Skip("the customer has no e-mail address")
    try:
        to = address.parse(person.email)
    except address.BadAddress as bad:
        return Skip(str(bad))
    if because := _not_now(step, case):
        return Skip(because)
    url = safe_link(link, links)
    if not url and step is Step.PAYMENT_FAILED:
        return Skip("the invoice has no payment page at Stripe that we may link to")
    tell = tell or USUAL_TELL[case.decline_class]
    name = clean(person.name)
    context: dict[str, str | int] = {
        "merchant": clean(merchant),
        "name": name if _greetable(name) else "",
        "amount": case.amount.minor,
        "currency": case.amount.currency,
        "invoice": clean(case.number),
        "brand": BRANDS.get((card and card.brand) or case.brand or "", ""),
        "last4": card.last4 if card and card.last4 and re.fullmatch(r"[0-9]{4}", card.last4) else "",
        "url": url,
        "host": urlsplit(url).hostname or "",
    }
    if step is Step.PAYMENT_FAILED:
        context |= {
            "reason": "overdue" if case.collection_method == "send_invoice" else tell.value,
            "next_try": _next_try(case, next_try, now),
        }
    return Notice(step, step.value, to, name, person.locales, context)


def _not_now(step: Step, case: RecoveryCase) -> str:
    """Why this message would be wrong, seen from the case as it is at this moment; empty when it is right."""
    if step is Step.RECOVERED:
        return "" if case.state is State.RECOVERED else f"the case is {case.state}, not recovered"
    if not case.live or case.state in SILENT:
        return f"the case is {case.state}: {case.because}".removesuffix(": ")
    return "" if case.amount.minor > 0 else "nothing is owed any more"


def _next_try(case: RecoveryCase, at: datetime | None, now: datetime) -> str:
    """The day of the next attempt (`2026-03-05`, UTC), empty when the customer has to act or nothing is planned."""
    mended = case.method_changed_at and case.decline_at and case.method_changed_at >= case.decline_at
    if at is None or at <= now or case.collection_method == "send_invoice":
        return ""
    return "" if case.decline_class in NO_SILENT_RETRY and not mended else at.date().isoformat()


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


def dedup_key(case: RecoveryCase, step: Step, channel: str, recipient_hash: str) -> str:
    """One message in the world: the same case, step, channel and mailbox give the same key, whatever the template."""
    world = "live" if case.livemode else "test"
    return ":".join(("nt1", case.account, world, case.invoice, step, channel, recipient_hash))


def message_id(key: str, domain: str) -> str:
    """The Message-ID that belongs to a dedup key: a repeat is recognisable as one by every mail program."""
    return f"<{hashlib.sha256(key.encode()).hexdigest()[:32]}@{domain}>"
