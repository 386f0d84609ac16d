"""What the operator says of customers, and the bands of contract value: read whole or refused in one clear sentence."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import pytest

from billing.events.occurrences import Event, SubscriptionSeen
from billing.events.snapshots import Item, Subscription
from billing.report.bands import ARTICLE_002, NotBands, parse
from billing.report.profile import Told, profiles_of
from config.customers import BadCustomers, customers
from config.settings import BadSettings, load

GOOD = 'customer,gtm_motion,country,pricing_model\ncus_1,"partner, EMEA",de,\n\ncus_2,,,usage\n'


def file(folder: Path, text: str) -> Path:
    path = folder / "customers.csv"
    path.write_text(text)
    return path


def test_what_is_said_goes_before_what_stripe_tells(tmp_path: Path) -> None:
    told = customers(file(tmp_path, "\ufeff" + GOOD))
    assert told == {"cus_1": Told(gtm_motion="partner, EMEA", country="DE"), "cus_2": Told(pricing_model="usage")}
    at = datetime(2026, 1, 5, tzinfo=UTC)
    flat = Item("si_1", "price", "pro", "100", 1, "month")
    begun = Subscription("sub_1", "cus_1", "active", "usd", (flat,), collection_method="charge_automatically")
    seen = Event("evt_1", "stripe", at, "self", False, SubscriptionSeen(begun, "created"), customer="cus_1")
    last = profiles_of([seen], told)["cus_1"][-1]
    assert (last.gtm_motion, last.pricing_model, last.country) == ("partner, EMEA", "flat", "DE")


def test_without_a_file_nothing_is_said() -> None:
    assert customers(None) == {}


MISTAKES = [
    ("", "line 1: the column customer is missing"),
    ("gtm_motion\nx\n", "line 1: the column customer is missing"),
    ("customer,motion\n", "line 1, column motion: no such column; there are customer, gtm_motion"),
    ("customer,country,country\n", "line 1, column country: stands there twice"),
    ("customer,country\n,DE\n", "line 2, column customer: is empty"),
    ("customer,country\na,DE\na,FR\n", "line 3, column customer: a is in an earlier line too"),
    ("customer,country\na,Germany\n", "line 2, column country: 'Germany' is no country of two letters"),
    ("customer,pricing_model\na,seats\n", "line 2, column pricing_model: 'seats' is none of flat, seat, usage, hybrid"),
    ("customer,gtm_motion\na,\x07\n", "line 2, column gtm_motion: is no readable text"),
    ("customer,country\na\n", "line 2: 1 cells, the header has 2"),
    ('customer,country\na,"DE\n', "line 2: unexpected end of data"),
]


@pytest.mark.parametrize(("text", "because"), MISTAKES)
def test_a_mistake_names_file_line_and_column(text: str, because: str, tmp_path: Path) -> None:
    path = file(tmp_path, text)
    with pytest.raises(BadCustomers) as told:
        customers(path)
    assert str(told.value).startswith(f"{path}, {because}")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadCustomers, match=r"none\.csv"):
        customers(tmp_path / "none.csv")


def test_bands_are_a_preset_or_ones_own() -> None:
    assert load(acv_bands="article-002").bands is ARTICLE_002
    own = load(acv_bands="Small: 0, Middle:20000,Large:100000.01").bands
    assert own.names == ("Small", "Middle", "Large")
    assert [own.of_yearly(Fraction(value)) for value in (0, 19_999, 20_000, 100_000)] == [
        "Small",
        "Small",
        *["Middle"] * 2,
    ]


@pytest.mark.parametrize("text", ["", "article-009", "Small", "Small:x", "Small:5", "A:0,A:5", "A:0,B:9,C:3", ":0"])
def test_bands_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(NotBands):
        parse(text)
    with pytest.raises(BadSettings, match="REPRIEVE_ACV_BANDS"):
        load(acv_bands=text)
