"""`reprieve ledger ...`: the books as an accountant handles them.

Imported by every command, so it imports nothing itself before it is asked to do something.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated

import typer

from worker.command_options import AccountId, Json

if TYPE_CHECKING:
    from worker.app import App


def ledger(app_of: Callable[[], AbstractContextManager[App]]) -> typer.Typer:
    """The group of commands; `app_of` gives the app and tells mistakes in one sentence."""
    commands = typer.Typer(help="The books: check them, close a month, see what is doubtful.")

    @commands.command("problems")
    def problems(account: AccountId = None, json: Json = False) -> None:
        """List facts that contradict or lack something: what was booked of them, and what to do."""
        from worker import ledger

        with app_of() as app:
            ledger.problems(app, account, json, sys.stdout)

    @commands.command("verify")
    def verify(account: AccountId = None) -> None:
        """Check the books against the facts and the closed months; exit code 1 if anything is wrong."""
        from worker import ledger

        with app_of() as app:
            sound = ledger.verify(app, account, sys.stdout)
        raise typer.Exit(0 if sound else 1)

    @commands.command("rebuild")
    def rebuild() -> None:
        """Make every roll-up anew from the facts, also after the reporting time zone was changed."""
        from worker import books, rollups

        with app_of() as app:
            number = rollups.rebuild(app)
            books.keep(app)
            typer.echo(f"The months of {number} customers say what their facts say.")

    @commands.command("close")
    def close(
        month: Annotated[str, typer.Argument(help="2026-03; every month before it is closed with it.")],
        by: Annotated[str, typer.Option(help="Who says so.")] = "operator",
        account: AccountId = None,
    ) -> None:
        """Freeze a month: what becomes known of it later is posted to the next one."""
        from worker import ledger

        with app_of() as app:
            ledger.close(app, month, by, account, sys.stdout)

    @commands.command("closed")
    def closed(
        month: Annotated[str, typer.Argument(help="2026-03; a list of the closed months without it.")] = "",
        restated: Annotated[bool, typer.Option("--restated", help="By all that is known now.")] = False,
        account: AccountId = None,
        json: Json = False,
    ) -> None:
        """The report of a closed month as it was known at its close, or restated."""
        from worker import ledger

        with app_of() as app:
            ledger.closed_report(app, month, restated, account, json, sys.stdout)

    @commands.command("memos")
    def memos(
        month: Annotated[str, typer.Argument(help="2026-03; the present month without it.")] = "",
        account: AccountId = None,
        json: Json = False,
    ) -> None:
        """What the bridge leaves out: scheduled churn, committed MRR, what is deferred, by usage or by the year."""
        from worker import ledger

        with app_of() as app:
            ledger.memos(app, month, account, json, sys.stdout)

    @commands.command("attempts")
    def attempts(account: AccountId = None, json: Json = False) -> None:
        """How much of what was charged failed at the first attempt, month by month."""
        from worker import ledger

        with app_of() as app:
            ledger.attempts(app, account, json, sys.stdout)

    @commands.command("recoveries")
    def recoveries(account: AccountId = None, json: Json = False) -> None:
        """Every recovery: who brought the money, what shows it, and what still counts after 30, 60, 90 days."""
        from worker import ledger

        with app_of() as app:
            ledger.recoveries(app, account, json, sys.stdout)

    @commands.command("identify")
    def identify(
        customer: Annotated[str, typer.Argument(help="cus_..., or a CSV file with the columns customer and same_as.")],
        same_as: Annotated[str, typer.Argument(help="The customer it is booked as; itself: alone again.")] = "",
        by: Annotated[str, typer.Option(help="Who says so.")] = "operator",
        account: AccountId = None,
    ) -> None:
        """Say that several Stripe customers are one account."""
        from worker import ledger

        with app_of() as app:
            ledger.identify(app, customer, same_as, by, account, sys.stdout)

    return commands
