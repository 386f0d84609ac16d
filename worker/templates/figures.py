"""Money, days, months and plurals as each locale writes them, from Unicode's CLDR (Babel).

The decimal places of a currency are Stripe's, not CLDR's: they say what an amount means (billing/money.py).
"""

from __future__ import annotations

import re
import unicodedata
from datetime import date
from decimal import Decimal
from functools import lru_cache

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_skeleton
from babel.numbers import format_decimal, parse_pattern

from billing.money import exponent

COUNTED = range(201)  # a language's plural forms of numbers this small must all be there
FIRST_STRONG_ISOLATE, POP_ISOLATE = "\u2068", "\u2069"


class BadForms(ValueError):
    """The forms of a plural do not fit the language."""


@lru_cache(256)
def locale_of(tag: str) -> str | None:
    """`pt-BR` as Babel names it, None when nobody knows it."""
    try:
        return str(Locale.parse(tag, sep="-"))
    except (ValueError, UnknownLocaleError):
        return None


def money(minor: int, currency: str, locale: str) -> str:
    """`4900, "usd"` as `$49.00`: the locale's way of writing, Stripe's number of decimal places."""
    places = exponent(currency)
    found = Locale.parse(locale)
    pattern = parse_pattern(found.currency_formats["standard"].pattern)
    pattern.frac_prec = (places, places)
    value = Decimal(minor).scaleb(-places)
    written = str(pattern.apply(value, found, currency=currency.upper(), currency_digits=False))
    return re.sub(r"(?<=[A-Za-z])(?=[0-9])", "\u00a0", written)  # `KWD 1.000`: CLDR wants the space, Babel forgets it


def day(iso: str, locale: str) -> str:
    """`2026-03-05` as `March 5, 2026`."""
    written = format_date(date.fromisoformat(iso), "long", locale)
    return re.sub(r"^([0-9]+\.) ", "\\1\u00a0", written)  # `5.` does not stand alone at the end of a line


def month(iso: str, locale: str) -> str:
    """`2026-03` as `March 2026`."""
    return format_skeleton("yMMMM", date.fromisoformat(f"{iso}-01"), locale=locale)


def plural(number: int, locale: str, **forms: str) -> str:
    """`3, one="{n} day", other="{n} days"` as `3 days`. Raises BadForms when the language needs a form more."""
    if type(number) is not int:
        raise BadForms("plural is for whole numbers")
    wanted = forms_of(locale)
    if missing := wanted - forms.keys():
        raise BadForms(f"this language needs the form {', '.join(sorted(missing))}")
    form = forms.get(Locale.parse(locale).plural_form(number)) or forms["other"]
    return form.replace("{n}", format_decimal(number, locale=locale))


@lru_cache(64)
def forms_of(locale: str) -> frozenset[str]:
    """The plural forms that a translator has to write: `one` and `other` in English, `other` in Japanese."""
    rule = Locale.parse(locale).plural_form
    return frozenset(rule(number) for number in COUNTED) | {"other"}


def isolated(text: str) -> str:
    """A name in letters that run from right to left, kept from turning the sentence around it (UAX 9)."""
    if any(unicodedata.bidirectional(character) in ("R", "AL") for character in text):
        return f"{FIRST_STRONG_ISOLATE}{text}{POP_ISOLATE}"
    return text


def unbroken(figures: str) -> str:
    """`1.00 USD (2 open), 3.00 EUR`, so that a narrow screen parts the figures and never one from its unit."""
    return re.sub(r"(?<!,) (?!\([0-9a-z])", "\u00a0", figures)
