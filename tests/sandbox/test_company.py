"""The company to practise on: as large, as old and as troubled as it says."""

from __future__ import annotations

from datetime import timedelta

from sandbox import Sandbox, company
from tests.sandbox.conftest import client_of


def test_a_company_is_a_year_deep_and_paid_up() -> None:
    with Sandbox() as sb:
        built = company.build(sb, 60)
        assert len(set(built.subscriptions)) == 60
        assert sb.world.events.types() == []
        began = [sb.get(id)["start_date"] for id in built.subscriptions]
        year = 365 * 86_400
        assert all(sb.clock.stamp() - year <= start < sb.clock.stamp() for start in began)
        assert max(began) - min(began) > year // 2
        assert {sb.latest_invoice(id)["status"] for id in built.subscriptions} == {"paid"}
        customers = client_of(sb).v1.customers.list({"limit": 100}).data
        assert all((customer.email or "").endswith("@example.com") for customer in customers)
        assert len({customer.address.country for customer in customers if customer.address}) > 3
        assert {"usd", "eur"} == {sb.get(id)["currency"] for id in built.subscriptions}


def test_about_seven_percent_of_a_quarters_renewals_fail() -> None:
    with Sandbox() as sb:
        company.build(sb, 300)
        sb.advance(timedelta(days=90))
        charged = len(sb.bank.charges)
        declined = sum(m.outcome == "declined" for m in sb.bank.movements)
        assert charged > 650
        assert 0.04 < declined / (charged + declined) < 0.11
        assert sb.crashes == []
