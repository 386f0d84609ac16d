"""`reprieve report ...`: what may be asked for, and what a person reads about it with `--help`.

Imported by every command, so it imports nothing itself before a report is made.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.command_options import AccountId

if TYPE_CHECKING:
    from worker.app import App

AppOf = Callable[[], AbstractContextManager["App"]]
FromFacts = Annotated[
    bool, typer.Option("--from-facts", help="Fold all facts instead of reading the monthly roll-ups; slower.")
]

REPORTS = {
    "bridge": "From opening to closing MRR, line by line; as a picture a waterfall.",
    "trend": "NRR, GRR, their gap and logo retention, month by month; as a picture lines.",
    "cohorts": "What became of the customers of each month or quarter; as a picture a heat map.",
    "segments": "The bridge of each segment; see --by.",
    "concentration": "The ten largest accounts apart from the rest.",
    "recovery": "How recovery performed, by the month of the first failure.",
    "movements": "Every movement of revenue with its reason and evidence.",
    "cube": "One row per customer and month: what investors recompute from.",
    "reconciliation": "The difference to Stripe's own MRR, and to the invoices, by cause.",
    "policy": "Every switch, rate and time zone that the figures rest on.",
    "benchmark": "Where we stand among published figures, source by source.",
}


def reports(app_of: AppOf) -> typer.Typer:
    """The group of commands; `app_of` gives the app and tells mistakes in one sentence."""
    commands = typer.Typer(help="What the books say.")

    @commands.command()
    def nrr(
        month: Annotated[str, typer.Option(help="2026-03; the present month without it.")] = "",
        currency: Annotated[str | None, typer.Option(help="Only this currency.")] = None,
        net: Annotated[bool, typer.Option("--net", help="Recovered losses taken out of both lines.")] = False,
        account: AccountId = None,
        json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
        from_facts: FromFacts = False,
    ) -> None:
        """The bridge of one month, with recovered involuntary churn as its own line."""
        from worker import report

        with app_of() as app:
            report.nrr(
                app, month, sys.stdout,
                account=account, currency=currency, net=net, as_json=json, from_facts=from_facts,
            )  # fmt: skip

    for name, sentence in REPORTS.items():
        _add(commands, app_of, name, sentence)
    return commands


def _add(commands: typer.Typer, app_of: AppOf, name: str, sentence: str) -> None:
    @commands.command(name, help=sentence)
    def _(
        month: Annotated[str, typer.Option(help="2026-03; the present month without any period.")] = "",
        quarter: Annotated[str, typer.Option(help="2026-Q1.")] = "",
        ttm: Annotated[str, typer.Option(help="2026-03: the twelve months that end with this one.")] = "",
        begin: Annotated[str, typer.Option("--from", help="2026-01-15: the first day.")] = "",
        end: Annotated[str, typer.Option("--to", help="2026-02-20: the day after the last.")] = "",
        zone: Annotated[str, typer.Option(help="Time zone in which days begin; else reporting_timezone.")] = "",
        basis: Annotated[str, typer.Option(help="netted or activity.")] = "netted",
        display: Annotated[
            str, typer.Option(help="gross, or net: recovered losses taken out of both lines.")
        ] = "gross",
        currency: Annotated[str, typer.Option(help="Report in this currency; each apart without it.")] = "",
        rates: Annotated[Path | None, typer.Option(help="CSV of date,currency,rate into --currency.")] = None,
        carry: Annotated[
            bool, typer.Option(help="A day without a rate takes that of at most 7 days before; the report says so.")
        ] = True,
        form: Annotated[str, typer.Option("--format", help="text, json, csv, xlsx, parquet, svg or png.")] = "",
        out: Annotated[Path | None, typer.Option(help="A file; its ending says the format.")] = None,
        back: Annotated[int | None, typer.Option(min=1, max=120, help="How many periods, up to the named one.")] = None,
        cut: Annotated[
            str,
            typer.Option(
                "--by",
                help="Of segments: acv, gtm, pricing, currency, country, product, arr_stage or migration; "
                "of recovery: month, source, durability or at_risk; "
                "of reconciliation: cause, subscription or invoices.",
            ),
        ] = "",
        measure: Annotated[str, typer.Option(help="Of cohorts: nrr, grr, mrr, logos, or all as a list.")] = "",
        account: AccountId = None,
        from_facts: FromFacts = False,
    ) -> None:
        from worker.reports import command

        order = command.Order(
            name, month, quarter, ttm, begin, end, zone, basis, display, currency,
            rates, form, out, account, back, cut, measure, from_facts, carry,
        )  # fmt: skip
        with app_of() as app:
            command.run(app, order, sys.stdout)
