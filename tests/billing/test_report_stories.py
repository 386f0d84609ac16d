"""Reports of small companies whose figures can be worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from fractions import Fraction

import pytest

from billing.events.occurrences import Event, PaymentMethodSeen, SubscriptionSeen
from billing.events.snapshots import Card, Item, PaymentMethod, Subscription
from billing.ledger.movement import CashKind, Outcome
from billing.ledger.neutral import read_events
from billing.ledger.policy import DEFAULT, LedgerPolicy
from billing.report import concentration, movements, recovery, sheet
from billing.report.benchmark import benchmark_table
from billing.report.currency import Rates
from billing.report.movements import Posted
from billing.report.performance import Failure, performance
from billing.report.period import Period
from billing.report.profile import Profile, Told, pricing_model, profiles_of
from billing.report.segments import segments
from billing.report.standing import average_contract, standings
from billing.report.statement import bridge_table
from config.benchmarks import benchmarks
from tests.billing.report_story import JANUARY, LATER, at, column, company, item, lines, start, then

# ---------------------------------------------------------------- recovery


def test_what_failed_in_january_and_was_paid_in_february_is_januarys() -> None:
    failures = [
        Failure(at("01-15"), 10_000, Outcome.RECOVERED, at("02-14")),
        Failure(at("01-12"), 20_000, Outcome.LOST, at("01-29"), returned=20_000),
        Failure(at("01-21"), 4_000, Outcome.RECOVERED, at("02-01"), recovered=3_000, cash={CashKind.FAILED: 7}),
        Failure(at("01-25"), 8_000),
        Failure(at("01-26"), 1_000, Outcome.FORGIVEN, at("01-27")),
        Failure(at("01-02"), 9_999, Outcome.LOST, at("01-03"), after_trial=True),
        Failure(at("03-01"), 5_000, Outcome.RECOVERED, at("03-02")),
    ]
    january = performance(failures, at("03-01"))["2026-01"]
    assert (january.n, january.failed, january.recovered, january.lost) == (5, 43_000, 13_000, 20_000)
    assert (january.forgiven, january.open, january.lost_to_downgrade, january.returned) == (
        1_000,
        8_000,
        1_000,
        20_000,
    )
    assert (january.rate_of_all, january.rate_of_closed) == (Fraction(13, 43), Fraction(13, 35))
    assert (january.count_rate_of_all, january.count_rate_of_closed) == (Fraction(2, 5), Fraction(2, 4))
    assert list(performance(failures, at("03-01"))) == ["2026-01"]
    assert list(performance(failures, at("03-02"))) == ["2026-01", "2026-03"]
    earlier = performance(failures, at("02-01"))["2026-01"]  # not yet known how the others end
    assert (earlier.recovered, earlier.open, earlier.lost) == (0, 22_000, 20_000)


def test_a_month_of_failures_is_a_local_month() -> None:
    midnight = [Failure(datetime(2026, 1, 31, 23, 30, tzinfo=UTC), 100)]
    assert list(performance(midnight, LATER)) == ["2026-01"]
    assert list(performance(midnight, LATER, "Europe/Berlin")) == ["2026-02"]


def test_the_first_invoice_after_a_trial_is_no_failure_of_this_report() -> None:
    first = then("s1", "trial_first_payment_failed", "01-05", amount=100)
    told = [start("s1", 10_000, status="trialing"), first, start("s2", 5_000), then("s2", "payment_failed", "01-06")]
    ungated = replace(DEFAULT, first_payment_gate=False)
    table = recovery.by_failure_month(company(*told, policy=ungated), JANUARY)
    assert column(table, "failed") == [5_000]


def test_recoveries_tell_who_paid_how_much_and_how_long_it_lasted() -> None:
    scope = company(
        start("s1", 10_000),
        then("s1", "payment_failed", "01-05", invoice="in_1", amount=10_000),
        then("s1", "cash_recovered", "01-09", invoice="in_1", amount=10_000, source="our_retry"),
        then("s1", "payment_succeeded", "01-09", source="our_retry"),
        then("s1", "sub_cancel", "03-01", reason="customer"),
        start("s2", 4_000),
        then("s2", "payment_failed", "01-05"),
        then("s2", "payment_succeeded", "01-06", source="customer"),
        start("s3", 2_000),
        then("s3", "payment_failed", "01-05"),
        then("s3", "mark_unpaid", "01-10"),
        then("s3", "payment_succeeded", "01-20", source="customer"),
        until=at("03-10"),
    )
    year = Period.of("2026")
    sources = lines(recovery.by_source(scope, year))
    assert [(row["source"], row["recovered"], row["after_loss"], row["live"], row["cash"]) for row in sources] == [
        ("our_retry", 10_000, 0, 0, 10_000),
        ("customer", 6_000, 2_000, 6_000, 0),
    ]
    assert [row["share"] for row in sources] == [Fraction(10, 16), Fraction(6, 16)]
    marks = lines(recovery.durability(scope, year))
    assert [(row["after"], row["recovered"], row["live"], row["too_young"]) for row in marks] == [
        ("after 30 days", 16_000, 16_000, 0),
        ("after 60 days", 14_000, 4_000, 1),
        ("after 90 days", 0, 0, 3),
        ("at the close", 16_000, 6_000, 0),
    ]
    assert marks[2]["share"] is None
    months = lines(recovery.by_failure_month(scope, year))[0]
    assert (months["recovered"], months["lost"], months["returned"]) == (14_000, 2_000, 2_000)
    assert (months["cash_failed"], months["cash_recovered"], months["cash_rate"]) == (10_000, 10_000, Fraction(1))
    made = scope.bridge(JANUARY)
    assert (made.nrr, made.nrr_without_recovery) == (Fraction(1), Fraction(0))
    first = scope.bridge(Period.of("2026-01-01..2026-03-05"))
    assert (first.nrr, first.nrr_without_recovery) == (Fraction(6, 16), Fraction(0))


# ---------------------------------------------------------------- concentration


def test_a_few_accounts_that_carry_the_figure_are_named() -> None:
    small = [start(f"s{number:02}", 1_000) for number in range(20)]
    grown = then("big", "sub_items", "01-12", items=[item(1_000, 20)])
    left = [then(f"s{number:02}", "sub_cancel", "01-12", reason="customer") for number in range(8)]
    table = concentration.concentration(company(start("big", 1_000, 10), *small, grown, *left), JANUARY)
    largest, rest, whole = lines(table)
    assert (largest["accounts"], largest["start"], largest["share"]) == (10, 19_000, Fraction(19, 30))
    assert (largest["share_warning"], rest["share_warning"]) == (True, None)
    assert (whole["nrr"], whole["grr"]) == (Fraction(32, 30), Fraction(22, 30))
    assert (rest["gap_warning"], whole["gap_warning"]) == (False, True)
    assert [note.split(":")[0] for note in table.notes] == [
        "The 10 largest accounts hold more than 30 % of the opening",
        "NRR and GRR lie more than 30 points apart",
    ]


def test_neither_thirty_percent_nor_thirty_points_is_a_warning() -> None:
    events = [start(f"s{number:03}", 3_000 if number < 10 else 1_000) for number in range(80)]
    events += [then(f"s{number:03}", "sub_items", "01-12", items=[item(3_000, 2)]) for number in range(10)]
    table = concentration.concentration(company(*events), JANUARY)
    largest, _, whole = lines(table)
    assert (largest["share"], largest["share_warning"]) == (Fraction(3, 10), False)
    assert (whole["gap"], whole["gap_warning"], table.notes) == (Fraction(3, 10), False, ())


def test_two_customers_of_one_account_are_one_of_the_ten() -> None:
    told = profiles_of([], {"s1": Told(account="acme"), "s2": Told(account="acme")})
    scope = company(start("s1", 1_000), start("s2", 1_000), start("s3", 1_500), profiles=told)
    largest, rest, _ = lines(concentration.concentration(scope, JANUARY, largest=1))
    assert (largest["start"], rest["start"]) == (2_000, 1_500)


# ---------------------------------------------------------------- published figures


def test_each_bands_customers_are_compared_inside_the_band_as_its_source_draws_it() -> None:
    flat = [Profile(at("01-01"), pricing_model="flat", gtm_motion="Product-led")]
    scope = company(
        start("a", 100_000),  # 12K a year: small for two sources, mid-market for another
        start("b", 1_000_000),  # 120K
        then("b", "sub_items", "02-12", items=[item(1_200_000)]),
        start("c", 50_000),
        then("c", "payment_failed", "03-01"),
        then("c", "payment_succeeded", "03-03"),
        then("c", "payment_failed", "04-01"),
        then("c", "mark_unpaid", "04-20"),
        profiles={"a": tuple(flat)},
        until=datetime(2027, 2, 1, tzinfo=UTC),
    )
    year = Period.of("2026")
    found = {(each.metric, each.segment, each.source): each for each in standings(scope, year, benchmarks())}
    small = {source: found["nrr", segment, source].value for source, segment in SMALL}
    assert small == {"article-001": Fraction(200, 3), "article-002": 0, "article-003": Fraction(200, 3)}
    assert found["nrr", "Mid-market (10K-100K ACV)", "article-002"].value == 100
    assert found["nrr", "Enterprise (>100K ACV)", "article-003"].value == 120
    assert found["nrr", "Flat subscription", "article-000"].who == "1 customer of this segment"
    assert found["nrr", "Product-led", "article-001"].value == 100
    overall = {each.metric: each.value for each in found.values() if each.dimension == "overall"}
    assert overall == {
        "nrr": Fraction(130, 115) * 100,
        "grr": Fraction(110, 115) * 100,
        "nrr_grr_gap": Fraction(20, 115) * 100,
        "top10_share_of_arr": 100,
        "involuntary_leak_pct_of_arr": Fraction(5, 115) * 100,
        "involuntary_share_of_churn": 100,
        "involuntary_recovery_rate": 50,
    }
    assert found["nrr", "0-5M ARR", None].value == overall["nrr"]
    assert found["logo_churn_monthly", "SMB (<25K ACV)", "article-001"].value == 0
    assert average_contract(scope, scope.bridge(year)) == 12 * 11_500 / Fraction(3)
    table = benchmark_table(list(found.values()), benchmarks())
    assert len(table.rows) > len(found)
    assert standings(company(), year, benchmarks()) == []


def test_a_customer_who_outgrows_a_band_is_compared_in_that_of_the_opening() -> None:
    scope = company(start("a", 200_000), then("a", "sub_items", "02-12", items=[item(300_000)]))
    found = [each for each in standings(scope, Period.of("2026"), benchmarks()) if each.source == "article-001"]
    bands = {each.segment: each.value for each in found if each.metric == "nrr"}
    assert bands == {"SMB (<25K ACV)": 150}


def test_the_net_display_takes_recoveries_off_the_loss() -> None:
    scope = company(start("a", 1_000), then("a", "payment_failed", "01-05"), then("a", "payment_succeeded", "01-09"))
    gross, net = (lines(bridge_table(scope, [JANUARY], display=display))[0] for display in ("gross", "net"))
    names = ("gross_involuntary_churn", "recovered_involuntary_churn", "nrr", "grr", "end")
    assert [gross[name] for name in names] == [1_000, 1_000, 1, 1, 1_000]
    assert [net[name] for name in names] == [0, 0, 1, 1, 1_000]
    shown = {
        display: {column.name: column.title for column in bridge_table(scope, [JANUARY], display=display).columns}
        for display in ("gross", "net")
    }
    assert shown["gross"]["gross_involuntary_churn"] == "Gross involuntary churn"
    assert shown["net"]["gross_involuntary_churn"] == "Involuntary churn, net of recovered"


SMALL = (
    ("article-001", "SMB (<25K ACV)"),
    ("article-002", "SMB (<10K ACV)"),
    ("article-003", "SMB (<15K ACV)"),
)


# ---------------------------------------------------------------- segments


def test_a_customer_stays_in_the_band_of_the_opening_and_a_new_one_in_that_of_the_first_value() -> None:
    scope = company(
        start("grows", 200_000),
        then("grows", "sub_items", "01-12", items=[item(200_000, 2)]),  # 24K, later 48K a year
        start("new", 100_000, at="2026-01-05T09:00:00Z"),
        then("new", "sub_items", "01-20", items=[item(100_000, 3)]),  # 12K, later 36K a year
    )
    small, whole = lines(segments(scope, JANUARY, "acv"))
    assert (small["segment"], small["customers"], small["end"]) == ("SMB (<25K ACV)", 2, 700_000)
    assert (
        (small["expansion"], small["new_business"]) == (whole["expansion"], whole["new_business"]) == (200_000, 300_000)
    )


def test_profiles_are_those_of_the_opening() -> None:
    sold = Subscription("sub_1", "c1", "active", "usd", (Item("i", "p", "pro", "100", 1, "month"),))
    seen = [
        Event("e1", "t", at("01-01"), "a", False, SubscriptionSeen(sold, "created")),
        Event(
            "e2", "t", at("02-01"), "a", False, SubscriptionSeen(replace(sold, collection_method="send_invoice"), "u")
        ),
        Event(
            "e3",
            "t",
            at("03-01"),
            "a",
            False,
            PaymentMethodSeen(PaymentMethod("pm", "c1", "card", Card(country="de")), "u"),
        ),
    ]
    found = profiles_of([*reversed(seen), seen[0]])["c1"]
    assert [(each.gtm_motion, each.country) for each in found] == [
        (None, None),
        ("sales_led", None),
        ("sales_led", "DE"),
    ]
    said = profiles_of(seen, {"c1": Told(gtm_motion="partner", country="CH")})["c1"]
    assert {(each.gtm_motion, each.country) for each in said} == {("partner", "CH")}
    scope = company(start("c1", 1_000), profiles={"c1": found})
    motions = [segments(scope, Period.month(month), "gtm").rows[0][0] for month in ("2026-01", "2026-02", "2026-03")]
    assert motions == ["not known", "not known", "sales_led"]
    assert scope.profile("nobody", LATER).country is None
    assert scope.profile("c1", at("03-01")).country is None  # known from then on, not before


@pytest.mark.parametrize(
    ("items", "model"),
    [
        ([("licensed", 1)], "flat"),
        ([("licensed", 3)], "seat"),
        ([("metered", 1)], "usage"),
        ([("metered", 1), ("licensed", 1)], "hybrid"),
        ([], None),
    ],
)
def test_what_is_sold_makes_the_pricing_model(items: list[tuple[str, int]], model: str | None) -> None:
    sold = [Item("i", "p", "pro", "1", quantity, "month", usage_type=usage) for usage, quantity in items]
    assert pricing_model(sold) == model


# ---------------------------------------------------------------- the log and the sheet


def test_the_log_says_what_was_bought_before_and_after() -> None:
    events = [
        start("s1", 1_000, 10),
        then("s1", "sub_items", "01-12", items=[item(1_000, 7)], recorded_at="2026-02-03T00:00:00Z"),
        then("s1", "sub_discounts", "01-20", discounts=[{"percent_off": 50, "duration": "forever"}]),
        then("s1", "sub_cancel", "01-25", reason="customer"),
    ]
    table = movements.movement_log(company(*events), JANUARY, read_events(events))
    down, discount, gone = lines(table)
    assert (down["type"], down["reason"], down["amount_native"]) == ("downgrade", "quantity", -3_000)
    assert (down["item_id"], down["product_id"]) == ("i_pro", "pro")
    assert (down["quantity_before"], down["quantity_after"]) == (10, 7)
    assert (down["unit_mrr_before"], down["unit_mrr_after"]) == (1_000, 1_000)
    assert down["recorded_at"] == datetime(2026, 2, 3, tzinfo=UTC)
    assert down["source_event_ids"] == "s1:sub_items:01-12"
    assert (discount["quantity_after"], discount["unit_mrr_before"], discount["unit_mrr_after"]) == (7, 1_000, 500)
    assert (gone["quantity_before"], gone["quantity_after"], gone["unit_mrr_after"]) == (7, 0, None)
    assert down["posted_period"] == date(2026, 1, 1)


def test_the_log_says_what_an_ending_discount_was_worth() -> None:
    half = {"percent_off": 50, "duration": "repeating", "ends_at": "2026-01-15T00:00:00Z"}
    events = [start("s1", 1_000, 2, discounts=[half])]
    row = lines(movements.movement_log(company(*events), JANUARY, read_events(events)))[0]
    assert (row["reason"], row["amount_native"]) == ("discount_expiry", 1_000)
    assert (row["unit_mrr_before"], row["unit_mrr_after"], row["source_event_ids"]) == (500, 1_000, None)


def test_the_log_shows_to_which_month_the_books_posted_a_late_fact() -> None:
    events = [start("s1", 1_000), then("s1", "sub_cancel", "01-30", reason="customer")]
    scope = company(*events)
    key = scope.book.movements[-1].key
    learned = datetime(2026, 2, 3, tzinfo=UTC)
    table = movements.movement_log(scope, JANUARY, posted={key: Posted(learned, date(2026, 2, 1))})
    row = lines(table)[0]
    assert (row["recorded_at"], row["posted_period"], row["item_id"]) == (learned, date(2026, 2, 1), None)


def test_the_policy_sheet_names_every_switch_and_every_rate() -> None:
    rates = Rates.of("usd", [(date(2026, 1, 1), "EUR", Fraction("1.1")), (date(2026, 1, 30), "eur", Fraction("1.05"))])
    table = sheet.policy_sheet(company(start("s1", 100), rates=rates), JANUARY, "1.2.3")
    values = {(row["group"], row["name"]): row["value"] for row in lines(table)}
    assert {name for group, name in values if group == "policy"} == set(LedgerPolicy.__dataclass_fields__)
    assert values["report", "version"] == "1.2.3"
    assert values["opening rate", "EUR on 2026-01-01"] == "1.1"
    assert values["closing rate", "EUR on 2026-02-01"] == "1.05"
    assert values["policy", "coupon_once"] == "no"
    assert values["report", "policy differs from its preset"] == "no"
