"""Periods, currencies, the netting rule and the printed bridge."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction

import pytest

from billing.ledger.book import book
from billing.ledger.items import Item
from billing.ledger.policy import DEFAULT
from billing.ledger.vocabulary import Cause, Kind, LedgerEvent
from billing.report import render
from billing.report.bridge import Basis, NotBalanced, bridge, bridges, percent
from billing.report.currency import Currency, NoRate
from billing.report.period import NotAPeriod, Period

UNTIL = datetime(2026, 12, 1, tzinfo=UTC)
MARCH = Period.month("2026-03")
USD = Currency("usd")


def at(day: str) -> datetime:
    return datetime.fromisoformat(f"2026-{day}T10:00:00+00:00")


def seats(quantity: int = 10, product: str = "pro", unit: int = 1_000) -> tuple[Item, ...]:
    return (Item("si", product, str(unit), quantity, "month"),)


def event(kind: Kind, day: str, sub: str = "a", **more: object) -> LedgerEvent:
    made = LedgerEvent(kind, at(day), f"cus_{sub[0]}", sub, f"{sub}:{kind}:{day}")
    return replace(made, **more)  # type: ignore[arg-type]  # the fields of each story are its own


def start(sub: str = "a", day: str = "01-05", **more: object) -> LedgerEvent:
    return event(Kind.SUB_START, day, sub, **{"items": seats()} | more)


def failed(day: str, sub: str = "a") -> LedgerEvent:
    return event(Kind.PAYMENT_FAILED, day, sub)


def paid(day: str, sub: str = "a") -> LedgerEvent:
    return event(Kind.PAYMENT_SUCCEEDED, day, sub)


def canceled(day: str, sub: str = "a", cause: Cause = Cause.CUSTOMER) -> LedgerEvent:
    return event(Kind.SUB_CANCEL, day, sub, cause=cause)


NETTED = [
    # what a base customer of 100.00 did in March -> the lines that are not zero
    ([event(Kind.SUB_ITEMS, "03-05", items=seats(12))], {"expansion": 2_000}),
    ([event(Kind.SUB_ITEMS, "03-05", items=seats(8))], {"downgrade": 2_000}),
    ([event(Kind.SUB_ITEMS, "03-05", items=seats(10, unit=900))], {"restructuring": 1_000}),
    ([event(Kind.SUB_ITEMS, "03-05", items=seats(8, unit=900))], {"downgrade": 2_000, "restructuring": 800}),
    ([canceled("03-05")], {"voluntary_churn": 10_000}),
    ([canceled("03-05"), start("a2", "03-20", items=seats(7))], {"downgrade": 3_000}),
    ([event(Kind.SUB_ITEMS, "03-05", items=seats(8)), canceled("03-09")], {"voluntary_churn": 10_000}),
    ([failed("03-05"), paid("03-08")], {"gross_involuntary_churn": 10_000, "recovered_involuntary_churn": 10_000}),
    ([failed("03-05"), canceled("03-08", cause=Cause.PAYMENT_FAILED)], {"gross_involuntary_churn": 10_000}),
    (  # bought again for less after the loss: what came back is recovered, the rest stays lost
        [
            failed("03-05"),
            canceled("03-08", cause=Cause.PAYMENT_FAILED),
            start("a2", "03-20", items=seats(7)),
        ],
        {"gross_involuntary_churn": 10_000, "recovered_involuntary_churn": 7_000},
    ),
    (  # another product is no recovery
        [
            failed("03-05"),
            canceled("03-08", cause=Cause.PAYMENT_FAILED),
            start("a2", "03-20", items=seats(7, "basic")),
        ],
        {"gross_involuntary_churn": 3_000},
    ),
    (  # failing twice in a period is grossed up once
        [failed("03-05"), paid("03-08"), failed("03-15"), paid("03-18")],
        {"gross_involuntary_churn": 10_000, "recovered_involuntary_churn": 10_000},
    ),
]


@pytest.mark.parametrize(("events", "expected"), NETTED)
def test_the_line_of_a_customer_of_the_base(events: list[LedgerEvent], expected: dict[str, int]) -> None:
    made = bridge(book([start(), *events], DEFAULT, UNTIL), MARCH, USD)
    lines = {name for name, _, _ in render.LINES} - {"start", "retained", "end"}
    assert {name: getattr(made, name) for name in lines if getattr(made, name)} == expected


def test_activity_shows_each_case_where_the_netted_bridge_shows_one() -> None:
    made = book([start(), failed("03-05"), paid("03-08"), failed("03-15"), paid("03-18")], DEFAULT, UNTIL)
    both = [bridge(made, MARCH, USD, basis).recovered_involuntary_churn for basis in Basis]
    assert both == [10_000, 20_000]


def test_a_recovery_that_did_not_last_is_shown_beside_the_recovered_line() -> None:
    made = book([start(), failed("03-05"), paid("03-08"), canceled("03-20")], DEFAULT, UNTIL)
    march = bridge(made, MARCH, USD)
    assert (march.recovered_involuntary_churn, march.recovered_live) == (10_000, 0)


def test_what_was_recovered_and_then_reduced_is_live_as_far_as_it_still_counts() -> None:
    events = [start(), failed("03-05"), paid("03-08"), event(Kind.SUB_ITEMS, "03-20", items=seats(6))]
    march = bridge(book(events, DEFAULT, UNTIL), MARCH, USD)
    assert (march.recovered_involuntary_churn, march.recovered_live) == (10_000, 6_000)


def test_what_is_open_at_the_close_is_disclosed_and_not_lost() -> None:
    made = book([start(), start("b"), failed("03-25")], DEFAULT, UNTIL)
    march = bridge(made, MARCH, USD)
    assert (march.end, march.at_risk, march.at_risk_cases, march.at_risk_since) == (20_000, 10_000, 1, at("03-25"))
    assert (percent(march.nrr), percent(march.nrr_if_at_risk_lost)) == ("100.00", "50.00")


def test_a_case_that_ends_exactly_at_the_close_was_still_open_there() -> None:
    close = replace(paid("03-30"), at=MARCH.closes)
    march = bridge(book([start(), failed("03-25"), close], DEFAULT, UNTIL), MARCH, USD)
    assert (march.at_risk, march.recovered_involuntary_churn) == (10_000, 0)


def test_without_an_opening_base_the_ratios_are_undefined() -> None:
    january = bridge(book([start()], DEFAULT, UNTIL), Period.month("2026-01"), USD)
    assert (january.nrr, january.grr, january.gap, january.new_business) == (None, None, None, 10_000)
    assert "undefined" in render.text(january)


def test_a_customer_who_left_before_is_reactivated_and_never_new_again() -> None:
    made = book([start(), canceled("02-05"), start("a2", "03-20")], DEFAULT, UNTIL)
    march = bridge(made, MARCH, USD)
    assert (march.start, march.new_business, march.reactivation) == (0, 0, 10_000)


def test_two_currencies_without_rates_are_two_bridges() -> None:
    made = book([start(), start("b", currency="eur")], DEFAULT, UNTIL)
    assert [(each.unit, each.start) for each in bridges(made, MARCH)] == [("eur/mo", 10_000), ("usd/mo", 10_000)]


def test_currency_is_its_own_line_and_never_a_movement() -> None:
    made = book([start(), start("b", currency="jpy"), canceled("03-05", "b")], DEFAULT, UNTIL)
    rates = {"jpy": Fraction("0.0066")}, {"jpy": Fraction("0.0080")}
    march = bridge(made, MARCH, Currency("usd", *rates))
    assert (march.start, march.voluntary_churn, march.fx, march.end) == (16_600, 6_600, 0, 10_000)
    february = bridge(made, Period.month("2026-02"), Currency("usd", *rates))
    assert (february.start, february.fx, february.end, percent(february.nrr)) == (16_600, 1_400, 18_000, "100.00")


def test_a_missing_rate_is_an_error_that_names_it() -> None:
    made = book([start("b", currency="eur")], DEFAULT, UNTIL)
    with pytest.raises(NoRate, match="opening rate from EUR to USD"):
        bridge(made, MARCH, Currency("usd", {"jpy": Fraction(1)}))


def test_a_bridge_that_does_not_add_up_cannot_be_made() -> None:
    march = bridge(book([start()], DEFAULT, UNTIL), MARCH, USD)
    wrong = (
        replace(march, end=9_999),
        replace(march, retained=1),
        replace(march, recovered_involuntary_churn=5, expansion=-5),
    )
    for each in wrong:
        with pytest.raises(NotBalanced, match="2026-03-01"):
            each.check()


def test_a_month_ends_at_local_midnight_and_the_end_belongs_to_the_next() -> None:
    berlin = Period.month("2026-03", "Europe/Berlin")
    assert (berlin.opens, berlin.closes) == (
        datetime(2026, 2, 28, 23, tzinfo=UTC),
        datetime(2026, 3, 31, 22, tzinfo=UTC),
    )
    assert berlin.holds(berlin.opens)
    assert not berlin.holds(berlin.closes)
    assert Period.quarter("2026-q4").end == date(2027, 1, 1)
    assert Period.month("2026-03").trailing(12) == Period(date(2025, 4, 1), date(2026, 4, 1))


@pytest.mark.parametrize("text", ["2026", "2026-13", "march", ""])
def test_what_is_not_a_month_is_refused(text: str) -> None:
    with pytest.raises(NotAPeriod):
        Period.month(text)


def test_what_is_not_a_quarter_or_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(NotAPeriod):
        Period.quarter("2026-Q5")
    with pytest.raises(NotAPeriod):
        Period(date(2026, 2, 1), date(2026, 2, 1))


def test_the_printed_bridge_names_the_recovered_line_and_its_terms() -> None:
    events = [start(), start("b"), failed("03-05"), paid("03-08"), canceled("03-20", "b")]
    march = bridge(book(events, DEFAULT, UNTIL), MARCH, USD)
    assert render.table(march) == [
        ("", "opening MRR", "200.00"),
        ("+", "expansion", "0.00"),
        ("-", "downgrade", "0.00"),
        ("-", "contract restructuring", "0.00"),
        ("-", "voluntary churn", "100.00"),
        ("-", "gross involuntary churn", "100.00"),
        ("+", "recovered involuntary churn", "100.00"),
        ("=", "retained from the opening base", "100.00"),
        ("+", "new business", "0.00"),
        ("+", "reactivation", "0.00"),
        ("=", "closing MRR", "100.00"),
    ]
    net = {name: value for _, name, value in render.table(march, "net")}
    assert net["involuntary churn, net of recovered"] == "0.00"
    assert dict(render.memos(march))["recovered involuntary churn"] == "100.00"
    printed = render.text(march)
    for label in ("2026-03-01 to 2026-04-01", "netted", "native USD", "default", "2026-12-01"):
        assert label in printed
    told = render.to_json(march)
    assert told["minor"]["recovered_involuntary_churn"] == 10_000
    assert told["decimal"]["recovered_involuntary_churn"] == "100.00"
    assert (told["nrr"], told["period"]["zone"], told["policy"]) == ("50.00", "UTC", "default")


def test_what_became_known_after_the_close_stands_before_the_opening() -> None:
    march = bridge(book([start()], DEFAULT, UNTIL), MARCH, USD).after_close(12_000)
    assert render.table(march)[:3] == [
        ("", "opening MRR as closed", "120.00"),
        ("-", "prior-period adjustment", "20.00"),
        ("", "opening MRR", "100.00"),
    ]
    assert (march.check().prior_period, percent(march.nrr)) == (-2_000, "100.00")
    assert render.to_json(march)["minor"]["prior_period"] == -2_000


def test_scaling_prices_scales_the_bridge() -> None:
    """Invariant 17."""
    stories = [
        book([start(items=seats(unit=1_000 * times)), failed("03-05"), paid("03-08")], DEFAULT, UNTIL)
        for times in (1, 7)
    ]
    one, seven = (bridge(made, MARCH, USD) for made in stories)
    assert seven.recovered_involuntary_churn == 7 * one.recovered_involuntary_churn
    assert seven.nrr == one.nrr


def test_a_plan_change_by_cancelling_and_creating_on_one_day_is_one_change() -> None:
    first, second = canceled("03-05"), start("a2", "03-05", items=seats(6, "basic"))
    for gap in (timedelta(minutes=5), -timedelta(minutes=5)):
        moved = replace(second, at=second.at + gap)
        made = bridge(book([start(), first, moved], DEFAULT, UNTIL), MARCH, USD, Basis.ACTIVITY)
        assert (made.downgrade, made.voluntary_churn, made.reactivation) == (4_000, 0, 0)
