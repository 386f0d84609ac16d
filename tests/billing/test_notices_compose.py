"""The message as a value: what it says, what it never says, and when there is none."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.case import RecoveryCase, State
from billing.declines import DeclineClass, Tell
from billing.events.snapshots import Card
from billing.money import Amount
from billing.notices import address
from billing.notices.compose import (
    Ahead,
    Habits,
    Links,
    Notice,
    Person,
    Skip,
    clean,
    compose,
    dedup_key,
    message_id,
    safe_link,
)
from billing.notices.language import COUNTRIES, zone_of
from billing.notices.sequence import Step
from tests.billing.test_notices_sequence import CASE, RECOVERED

NOW = datetime(2026, 3, 3, 10, tzinfo=UTC)
ADA = Person("ada@example.com", "Ada Lovelace", ("en",))
LINK = "https://invoice.stripe.com/i/acct_1/live_abc?s=ap"
FAILED = replace(CASE, number="A1B2-0007", brand="visa")


def notice(case: RecoveryCase = FAILED, step: Step = Step.PAYMENT_FAILED, **changes: Any) -> Notice:
    given_ = {"person": ADA, "merchant": "Northwind", "link": LINK, "now": NOW, **changes}
    found = compose(step, case, **given_)
    assert isinstance(found, Notice), found
    return found


def skipped(case: RecoveryCase = FAILED, step: Step = Step.PAYMENT_FAILED, **changes: Any) -> str:
    given_ = {"person": ADA, "merchant": "Northwind", "link": LINK, "now": NOW, **changes}
    found = compose(step, case, **given_)
    assert isinstance(found, Skip), found
    return found.because


def test_the_message_says_what_is_owed_why_and_what_happens_next() -> None:
    found = notice(
        replace(FAILED, decline_class=DeclineClass.INSUFFICIENT_FUNDS),
        card=Card(brand="visa", last4="4242"),
        next_try=NOW + timedelta(days=4),
    )
    assert found == Notice(
        step=Step.PAYMENT_FAILED,
        template="payment_failed",
        to=address.parse("ada@example.com"),
        to_name="Ada Lovelace",
        locales=("en",),
        context={
            "merchant": "Northwind",
            "name": "Ada Lovelace",
            "amount": 4900,
            "currency": "usd",
            "invoice": "A1B2-0007",
            "brand": "Visa",
            "last4": "4242",
            "url": LINK,
            "host": "invoice.stripe.com",
            "reason": "funds",
            "next_try": "2026-03-07",
            "deadline": FAILED.deadline.date().isoformat(),
            "days_left": (FAILED.deadline.date() - NOW.date()).days,
            "count": 1,
        },
    )


def test_only_text_and_whole_numbers_reach_a_template() -> None:
    for step, case in ((Step.PAYMENT_FAILED, FAILED), (Step.RECOVERED, replace(RECOVERED, number=None))):
        assert {type(value) for value in notice(case, step).context.values()} == {str, int}


# ---------------------------------------------------------------- why, in safe words


@pytest.mark.parametrize(
    ("cls", "reason"),
    [
        (DeclineClass.TEMPORARY, "generic"),
        (DeclineClass.INSUFFICIENT_FUNDS, "funds"),
        (DeclineClass.NEEDS_CUSTOMER, "other_card"),
        (DeclineClass.AUTHENTICATION, "authenticate"),
        (DeclineClass.DEAD_CARD, "other_card"),
        (DeclineClass.UNKNOWN, "unknown"),
    ],
)
def test_each_decline_class_has_its_reason(cls: DeclineClass, reason: str) -> None:
    assert notice(replace(FAILED, decline_class=cls)).context["reason"] == reason


def test_what_the_decline_table_lets_us_tell_is_told() -> None:
    dead = replace(FAILED, decline_class=DeclineClass.DEAD_CARD)
    assert notice(dead, tell=Tell.GENERIC).context["reason"] == "generic"


def test_an_invoice_that_the_customer_pays_by_himself_is_overdue_and_not_declined() -> None:
    context = notice(replace(FAILED, collection_method="send_invoice"), next_try=NOW + timedelta(days=1)).context
    assert (context["reason"], context["next_try"]) == ("overdue", "")


@pytest.mark.parametrize(
    ("cls", "next_try", "told"),
    [
        (DeclineClass.TEMPORARY, NOW + timedelta(days=2), "2026-03-05"),
        (DeclineClass.UNKNOWN, NOW + timedelta(days=2), "2026-03-05"),
        (DeclineClass.TEMPORARY, NOW, ""),  # it may be under way
        (DeclineClass.TEMPORARY, None, ""),
        (DeclineClass.DEAD_CARD, NOW + timedelta(days=2), ""),  # no promise that would only fail again
        (DeclineClass.AUTHENTICATION, NOW + timedelta(days=2), ""),
        (DeclineClass.NEEDS_CUSTOMER, NOW + timedelta(days=2), ""),
    ],
)
def test_the_next_try_is_told_when_there_is_one_that_may_succeed(
    cls: DeclineClass, next_try: datetime | None, told: str
) -> None:
    assert notice(replace(FAILED, decline_class=cls), next_try=next_try).context["next_try"] == told


def test_after_a_new_card_the_next_try_is_told_again() -> None:
    mended = replace(FAILED, decline_class=DeclineClass.DEAD_CARD, decline_at=NOW, method_changed_at=NOW)
    assert notice(mended, next_try=NOW + timedelta(days=1)).context["next_try"] == "2026-03-04"


@pytest.mark.parametrize(
    ("country", "zone", "told"),
    [
        (None, UTC, "2026-03-05"),
        (None, ZoneInfo("Asia/Tokyo"), "2026-03-06"),  # the merchant's calendar, where we know no better
        ("JP", UTC, "2026-03-06"),
        ("US", ZoneInfo("Asia/Tokyo"), "2026-03-05"),
        ("XX", UTC, "2026-03-05"),
    ],
)
def test_days_are_those_of_the_customers_calendar(country: str | None, zone: tzinfo, told: str) -> None:
    evening = datetime(2026, 3, 5, 22, tzinfo=UTC)
    temporary = replace(FAILED, decline_class=DeclineClass.TEMPORARY, deadline=evening)
    who = replace(ADA, country=country)
    context = notice(temporary, person=who, next_try=evening, habits=Habits("en", zone)).context
    assert (context["next_try"], context["deadline"]) == (told, told)
    assert context["days_left"] == int(told[-2:]) - 3


def test_a_deadline_that_has_passed_leaves_no_days() -> None:
    assert notice(replace(FAILED, deadline=NOW - timedelta(days=4))).context["days_left"] == 0


@pytest.mark.parametrize(
    ("step", "left", "because"),
    [
        (Step.LAST_DAY, timedelta(hours=3), ""),
        (Step.LAST_DAY, timedelta(days=1), "the last day is 2026-03-04"),
        (Step.LAST_DAY, timedelta(0), "the last day is 2026-03-03"),
        (Step.LAST_DAY, -timedelta(days=1), "the last day is 2026-03-02"),
        (Step.BEFORE_DEADLINE, timedelta(hours=3), "no day is left"),
        (Step.BEFORE_DEADLINE, timedelta(days=1), ""),
    ],
)
def test_a_message_that_names_the_last_days_is_never_late(step: Step, left: timedelta, because: str) -> None:
    found = compose(step, replace(FAILED, deadline=NOW + left), ADA, "Northwind", LINK, NOW)
    assert (found.because if isinstance(found, Skip) else "") == because


@pytest.mark.parametrize(
    ("preferred", "country", "default", "locales"),
    [
        (("fr",), "CA", "en", ("fr-CA", "fr", "en-CA", "en")),
        ((), "CH", "en", ("de-CH", "de", "en")),
        (("it",), "CH", "fr", ("it", "de-CH", "de", "fr-CH", "fr")),
        (("pt-BR", "en"), "DE", "en", ("pt-BR", "en", "de-DE", "de")),
        ((), "KR", "de", ("de",)),
        ((), None, "en", ("en",)),
        (("de",), "at", "en", ("de-AT", "de", "en")),
    ],
)
def test_the_language_is_the_customers_then_the_countrys_then_ours(
    preferred: tuple[str, ...], country: str | None, default: str, locales: tuple[str, ...]
) -> None:
    who = replace(ADA, locales=preferred, country=country)
    assert notice(person=who, habits=Habits(default)).locales == locales


def test_every_country_has_a_language_and_a_time_zone() -> None:
    for country, (language, zone) in COUNTRIES.items():
        assert re.fullmatch(r"[A-Z]{2}", country)
        assert language in {"de", "en", "es", "fr", "ja", "pt"}
        assert zone_of(country, UTC) == ZoneInfo(zone)


# ---------------------------------------------------------------- no message, and why


@pytest.mark.parametrize("state", [State.HELD, State.PAUSED, State.LOST, State.CANCELLED, State.RECOVERED])
def test_a_case_that_changed_since_the_plan_gets_no_message(state: State) -> None:
    assert skipped(replace(FAILED, state=state, because="so it is")) == f"the case is {state}: so it is"


def test_thanks_are_only_for_a_recovered_case() -> None:
    assert skipped(FAILED, Step.RECOVERED) == "the case is open, not recovered"
    assert notice(RECOVERED, Step.RECOVERED, link=None).context["url"] == ""


def test_nothing_is_asked_for_when_nothing_is_owed() -> None:
    assert skipped(replace(FAILED, amount=Amount(0, "usd"))) == "nothing is owed any more"


@pytest.mark.parametrize("email", [None, ""])
def test_a_customer_without_an_address_gets_no_message(email: str | None) -> None:
    assert skipped(person=Person(email)) == "the customer has no e-mail address"


def test_a_bad_address_is_a_reason_and_no_error() -> None:
    assert skipped(person=Person("ada@example")) == "the domain of the address has no dot"


@pytest.mark.parametrize(
    ("step", "about", "because"),
    [
        (Step.ENDED, FAILED, "the case is open, not lost"),
        (Step.LATE_RESCUE, RECOVERED, "the case is recovered, not lost"),
        (Step.PROMISE_REMINDER, FAILED, "nobody promised a day"),
        (Step.REMINDER, RECOVERED, "the case is recovered"),
        (Step.REMINDER, Ahead(), "reminder is not a message about this"),
        (Step.CARD_EXPIRING, FAILED, "card_expiring is not a message about this"),
        (Step.CARD_EXPIRING, Ahead(expires="2026-13"), "it is not known when the card expires"),
        (Step.RENEWAL_COMING, Ahead(Amount(100, "usd")), "no renewal is known"),
        (Step.RENEWAL_COMING, Ahead(Amount(0, "usd"), NOW), "no renewal is known"),
    ],
)
def test_a_message_that_would_be_wrong_is_not_composed(step: Step, about: RecoveryCase | Ahead, because: str) -> None:
    found = compose(step, about, ADA, "Northwind", LINK, NOW)
    assert isinstance(found, Skip)
    assert found.because.startswith(because)


def test_what_lies_ahead_is_told_without_a_case() -> None:
    ahead = Ahead(Amount(120_000, "eur"), NOW + timedelta(days=7), "2026-04")
    found = compose(Step.CARD_EXPIRING, ahead, ADA, "Northwind", LINK, NOW, card=Card(brand="visa", last4="4242"))
    assert isinstance(found, Notice)
    told = {name: found.context[name] for name in ("amount", "currency", "renews_on", "expires", "last4", "invoice")}
    assert told == {
        "amount": 120_000,
        "currency": "eur",
        "renews_on": "2026-03-10",
        "expires": "2026-04",
        "last4": "4242",
        "invoice": "",
    }
    assert "reason" not in found.context


def test_a_case_that_ended_can_be_opened_again() -> None:
    lost = replace(FAILED, state=State.LOST)
    for step in (Step.ENDED, Step.LATE_RESCUE):
        assert notice(lost, step).context["amount"] == 4900
        assert skipped(lost, step, link=None) == "the invoice has no payment page at Stripe that we may link to"


# ---------------------------------------------------------------- the one link


@pytest.mark.parametrize(
    "url",
    [
        LINK,
        "https://pay.stripe.com/invoice/acct_1/x",
        "https://billing.stripe.com/p/session/x",
        "http://127.0.0.1:9000/i/x",
    ],
)
def test_a_link_to_stripe_or_its_stand_in_is_kept(url: str) -> None:
    assert safe_link(url, Links(stand_in="http://127.0.0.1:9000")) == url


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        "javascript:alert(1)",
        "data:text/html,x",
        "http://invoice.stripe.com/i/x",
        "//invoice.stripe.com/i/x",
        "https://invoice.stripe.com.evil.example/i/x",
        "https://evil.example/invoice.stripe.com",
        "https://invoice.stripe.com@evil.example/",
        "https://user:pass@invoice.stripe.com/",
        "https://invoice.stripe.com:8443/",
        "https://evil.example\\@invoice.stripe.com/",
        "https://evil.example#@invoice.stripe.com/",
        "https://invoice.stripe.com/\r\nx",
        'https://invoice.stripe.com/"onclick="x',
        "https://invoice.stripe.com/ x",
        "https://ınvoice.stripe.com/",
        "https://[invoice.stripe.com/",
        "http://127.0.0.1:9000/i/x",
        "https://invoice.stripe.com/" + "x" * 3000,
    ],
)
def test_any_other_link_is_no_link(url: str | None) -> None:
    assert safe_link(url, Links()) == ""
    assert skipped(link=url) == "the invoice has no payment page at Stripe that we may link to"


def test_the_stand_in_is_one_place_and_not_a_beginning() -> None:
    links = Links(stand_in="http://127.0.0.1:9000")
    assert safe_link("http://127.0.0.1:90001/i/x", links) == ""
    assert safe_link("https://127.0.0.1:9000/i/x", links) == ""


# ---------------------------------------------------------------- names that strangers chose


@pytest.mark.parametrize(
    ("name", "greeted"),
    [
        ("Ada Lovelace", "Ada Lovelace"),
        ("  Ada \r\n Lovelace\t", "Ada Lovelace"),
        ("山田 太郎", "山田 太郎"),
        ("Dr. A. Lovelace", "Dr. A. Lovelace"),
        ("\u202eevil\u202c", "evil"),
        ("Win a prize at evil.example", ""),
        ("https://evil.example", ""),
        ("WWW evil", ""),
        ("ada@example.com", ""),
        ("{{7*7}}", ""),
        ("<b>Ada</b>", ""),
        ("x" * 10_000, ""),
        (None, ""),
    ],
)
def test_only_a_name_is_greeted(name: str | None, greeted: str) -> None:
    assert notice(person=Person("ada@example.com", name)).context["name"] == greeted


@given(st.text(max_size=200))
def test_cleaned_text_is_one_short_line(text: str) -> None:
    found = clean(text)
    assert len(found) <= 60
    assert len(found.splitlines()) <= 1
    assert clean(found) == found


@pytest.mark.parametrize(
    ("card", "brand", "last4"),
    [
        (None, "Visa", ""),
        (Card(brand="amex", last4="0005"), "American Express", "0005"),
        (Card(brand="<script>", last4="4242\r\n"), "", ""),
        (Card(brand="unknown", last4="٤٢٤٢"), "", ""),
    ],
)
def test_a_card_is_named_only_by_what_is_known_to_be_safe(card: Card | None, brand: str, last4: str) -> None:
    context = notice(card=card).context
    assert (context["brand"], context["last4"]) == (brand, last4)


# ---------------------------------------------------------------- once


def test_the_key_is_the_same_for_the_same_message_and_another_for_any_other() -> None:
    one = dedup_key(FAILED, Step.PAYMENT_FAILED, "email", "ab12")
    assert one == "nt1:self:test:in_1:payment_failed:email:ab12"
    assert dedup_key(replace(FAILED, amount=Amount(1, "eur")), Step.PAYMENT_FAILED, "email", "ab12") == one
    others = {
        dedup_key(replace(FAILED, invoice="in_2"), Step.PAYMENT_FAILED, "email", "ab12"),
        dedup_key(replace(FAILED, account="acct_2"), Step.PAYMENT_FAILED, "email", "ab12"),
        dedup_key(replace(FAILED, livemode=True), Step.PAYMENT_FAILED, "email", "ab12"),
        dedup_key(FAILED, Step.RECOVERED, "email", "ab12"),
        dedup_key(FAILED, Step.PAYMENT_FAILED, "chat", "ab12"),
        dedup_key(FAILED, Step.PAYMENT_FAILED, "email", "cd34"),
    }
    assert len(others | {one}) == 7


def test_the_message_id_belongs_to_the_key() -> None:
    one = message_id("nt1:self:test:in_1", "merchant.example")
    assert one == message_id("nt1:self:test:in_1", "merchant.example") != message_id("nt1:2", "merchant.example")
    assert one.endswith("@merchant.example>")
    assert len(one) == 1 + 32 + len("@merchant.example>")
