"""The customer cube: one row per customer and month, from which an investor recomputes every figure.

Columns and their order are fixed (metrics definitions, section 8). Every row satisfies the bridge's equation by itself,
and every column sums to the bridge of its month.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from billing.report.bands import ARTICLE_001, Bands
from billing.report.bridge import Basis
from billing.report.currency import Currency
from billing.report.long import LongTable, Rows
from billing.report.movements import rate_text
from billing.report.period import Period, month_of
from billing.report.products import holdings
from billing.report.rows import History, Part, netted, part
from billing.report.scope import Scope
from billing.report.table import Cell, Column, Kind

COLUMNS = (
    Column("month", "Month", Kind.DATE),
    Column("customer_id", "Customer", Kind.TEXT),
    Column("account_id", "Account", Kind.TEXT),
    Column("cohort_month", "Cohort", Kind.DATE),
    Column("acv_band_open", "ACV band at the opening", Kind.TEXT),
    Column("product_mix", "Products", Kind.TEXT),
    Column("gtm_motion", "Way of selling", Kind.TEXT),
    Column("currency", "Currency", Kind.CURRENCY),
    Column("fx_rate_open", "Rate at the opening", Kind.TEXT),
    Column("mrr_open", "Opening MRR", Kind.MONEY),
    Column("expansion", "Expansion", Kind.MONEY),
    Column("downgrade", "Downgrade", Kind.MONEY),
    Column("restructuring", "Contract restructuring", Kind.MONEY),
    Column("voluntary_churn", "Voluntary churn", Kind.MONEY),
    Column("gross_involuntary_churn", "Gross involuntary churn", Kind.MONEY),
    Column("recovered_involuntary_churn", "Recovered involuntary churn", Kind.MONEY),
    Column("new_business", "New business", Kind.MONEY),
    Column("reactivation", "Reactivation", Kind.MONEY),
    Column("late_recovery", "Of expansion or reactivation: late recovery", Kind.MONEY),
    Column("fx", "Currency effect", Kind.MONEY),
    Column("mrr_close", "Closing MRR", Kind.MONEY),
    Column("at_risk_close", "At risk at the close", Kind.MONEY),
    Column("in_base", "In the opening base", Kind.FLAG),
    Column("min_open_close", "Kept, for GRR", Kind.MONEY),
)
FIELDS = (  # of a row, for the columns from mrr_open on
    *("start", "expansion", "downgrade", "restructuring", "voluntary_churn"),
    *("gross_involuntary_churn", "recovered_involuntary_churn"),
    *("new_business", "reactivation", "late_recovery", "fx", "end", "at_risk"),
)
EQUATION = (
    "In every row: opening + expansion - downgrade - restructuring - voluntary - gross involuntary + recovered "
    "+ new + reactivation + currency effect = closing. Late recovery is part of expansion or reactivation."
)
SUMS = "NRR of a month = (closing - currency effect of rows in the base) / opening; GRR = kept / opening."


def cube(scope: Scope, months: Sequence[Period], bands: Bands = ARTICLE_001) -> LongTable:
    """One row for each customer with revenue at either end of a month, or with a movement in between.

    Customer by customer, so that nobody has to be held; each with its months in their order.
    """
    whole = Period(months[0].start, months[-1].end, months[0].zone)
    labels = (*scope.labels(whole, Basis.NETTED), ("bands", bands.name))
    rows = Rows(lambda: _rows(scope, months, bands))
    return LongTable("cube", "Customer cube", COLUMNS, rows, labels, (EQUATION, SUMS, *scope.notes(whole, months)))


def _rows(scope: Scope, months: Sequence[Period], bands: Bands) -> Iterator[tuple[Cell, ...]]:
    asked = [(month, scope.currency(month)) for month in months]
    for customer, history in scope.histories.items():
        for month, currency in asked:
            found = part(netted(customer, history, month, currency), history, month, currency)
            if found is not None:
                yield _row(scope, found, history, month, currency, bands)


def _row(
    scope: Scope, each: Part, history: History, period: Period, currency: Currency, bands: Bands
) -> tuple[Cell, ...]:
    row = each.row
    profile = scope.profile(row.customer, period.opens)
    return (
        period.start,
        row.customer,
        profile.account or row.customer,
        month_of(history.movements[0].effective_at, scope.zone),
        bands.of(row.start or each.first, scope.code),
        product_mix(history, period, currency),
        profile.gtm_motion,
        each.currencies,
        rate_text(currency, each.currencies),
        *(scope.amount(getattr(row, name)) for name in FIELDS),
        bool(row.start),
        scope.amount(row.kept),
    )


def product_mix(history: History, period: Period, currency: Currency) -> str | None:
    """The products of the opening, the largest first; of a new customer those of the close."""
    held = holdings(history.steps, period.opens, currency) or holdings(history.steps, period.closes, currency)
    names = [product for product, minor in sorted(held.items(), key=lambda each: (-each[1], each[0])) if minor]
    return "+".join(names) or None
