"""The cases that every text must be able to speak about: each message, each reason, and customers of every kind.

Made by `compose` from frozen values, as real ones are. A text that can be written for all of these can be activated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache

from billing.case import RecoveryCase, State
from billing.declines import DeclineClass, Tell
from billing.events.snapshots import Card, Decline
from billing.money import Amount
from billing.notices.compose import Ahead, Notice, Person, compose
from billing.notices.reasons import Reason
from billing.notices.sequence import AFTER_THE_END, AHEAD, ASKING, Step

NOW = datetime(2026, 3, 3, 10, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LINK = "https://invoice.stripe.com/i/acct_1/live_sample"


@dataclass(frozen=True, slots=True)
class Customer:
    """One kind of customer, and how much is known."""

    about: str
    name: str | None
    merchant: str
    amount: Amount
    number: str | None
    card: Card | None
    next_try: bool
    open_invoices: int
    days_left: int


VISA, JCB = Card(brand="visa", last4="4242"), Card(brand="jcb", last4="0505")
USUAL = Customer("usual", "Ada Lovelace", "Northwind", Amount(4_900, "usd"), "A1B2-0007", VISA, False, 1, 3)
LONG = Customer(
    "long",
    "Anna-Katharina Freifrau von Hohenstein-Württemberg-Lobedan",
    "Allgemeine Softwareentwicklungsgesellschaft Niederösterreich",
    Amount(9_876_543_210, "eur"),
    "RECHNUNG-2026-000000000000000000000000000000000000001",
    Card(brand="amex", last4="0005"),
    True,
    1_000,
    28,
)
HOSTILE = Customer(
    "hostile", "Tom & 'Jerry'", 'Smith & <b>Sons</b> "Ltd" {{7*7}}', Amount(100, "gbp"), "<i>1</i>", None, False, 0, 1
)
CUSTOMERS = (
    USUAL,
    Customer("waiting", "Ada Lovelace", "Northwind", Amount(4_900, "eur"), "A1B2-0007", Card(last4="4242"), True, 2, 1),
    Customer("little known", None, "Northwind", Amount(4_900, "usd"), None, None, False, 5, 0),
    Customer("no decimals", "山田 太郎", "ノースウィンド", Amount(1_234_567, "jpy"), "請求-7", JCB, False, 21, 2),
    Customer("three decimals", "شركة النور", "النور & Co", Amount(1_234_500, "kwd"), "א-7", VISA, False, 11, 7),
    LONG,
    HOSTILE,
)


@dataclass(frozen=True, slots=True)
class Sample:
    """`name` tells it apart: `reminder, funds, usual`."""

    name: str
    step: Step
    reason: str
    notice: Notice
    usual: bool  # of its message and reason the first


@cache
def samples() -> tuple[Sample, ...]:
    """Every sample, the usual customer of each message first."""
    return tuple(
        Sample(
            ", ".join(filter(None, (step, reason, customer.about))),
            step,
            reason,
            _notice(step, reason, customer),
            customer is USUAL,
        )
        for step in Step
        for reason in (list(Reason) if step in ASKING else [""])
        for customer in CUSTOMERS
    )


def sample(name: str) -> Sample | None:
    """The usual customer of a message: `reminder` (for missing funds), or `reminder.overdue`."""
    step, _, reason = name.partition(".")
    wanted = reason or (Reason.FUNDS.value if step in list(ASKING) else "")
    return next((one for one in samples() if (one.step, one.reason) == (step, wanted)), None)


def in_language(notice: Notice, language: str) -> Notice:
    return replace(notice, locales=(language,))


def _notice(step: Step, reason: str, customer: Customer) -> Notice:
    found = compose(
        step,
        _ahead(step, customer) if step in AHEAD else _case(step, reason, customer),
        Person("ada@example.com", customer.name, ("en",)),
        customer.merchant,
        None if step is Step.RECOVERED and customer.number is None else LINK,
        NOW,
        card=customer.card,
        tell=Tell(reason) if reason in list(Tell) else Tell.GENERIC,
        next_try=NOW + 2 * DAY if customer.next_try else None,
        open_invoices=customer.open_invoices,
        promised_on=date(2026, 3, 5),
    )
    if not isinstance(found, Notice):
        raise ValueError(f"{step}, {reason}, {customer.about}: {found.because}")
    return found


def _ahead(step: Step, customer: Customer) -> Ahead:
    """A renewal is announced only with its day and amount; the other messages can do without."""
    expires = "2026-04" if step is Step.CARD_EXPIRING else None
    if customer.number is None and step is not Step.RENEWAL_COMING:
        return Ahead(expires=expires)
    return Ahead(customer.amount, NOW + customer.days_left * DAY, expires)


def _case(step: Step, reason: str, customer: Customer) -> RecoveryCase:
    left = {Step.LAST_DAY: HOUR, Step.BEFORE_DEADLINE: max(customer.days_left, 1) * DAY}
    case = RecoveryCase(
        *("self", False, "in_1", "cus_1", "sub_1", customer.amount, "sample@1", NOW - 7 * DAY, NOW - 7 * DAY),
        deadline=NOW + left.get(step, customer.days_left * DAY),
        number=customer.number,
        collection_method="send_invoice" if reason == Reason.OVERDUE else "charge_automatically",
    )
    if step is Step.RECOVERED:
        paid = customer.amount if customer.number else Amount(0, customer.amount.unit)
        return replace(case, amount=paid, state=State.RECOVERED, paid_at=NOW)
    if step in AFTER_THE_END:
        return replace(case, state=State.LOST)
    if reason == Reason.TECHNICAL:
        return replace(case, decline_class=DeclineClass.TEMPORARY, decline=Decline(code="processing_error"))
    return replace(case, decline_class=DeclineClass.UNKNOWN if reason == Reason.UNKNOWN else DeclineClass.TEMPORARY)


def every(languages: Iterable[str]) -> Iterator[tuple[str, Sample]]:
    """Every sample in every one of these languages."""
    for language in languages:
        for one in samples():
            yield language, one
