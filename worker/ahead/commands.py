"""`reprieve ahead ...`: warnings before anything failed: how they stand, and whether they help.

Imported by every command, so it imports nothing itself before it is asked to do something.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated

import typer

from worker.command_options import AccountId, Json, owners

if TYPE_CHECKING:
    from worker.app import App


def ahead(app_of: Callable[[], AbstractContextManager[App]]) -> typer.Typer:
    """The group of commands; `app_of` gives the app and tells mistakes in one sentence."""
    commands = typer.Typer(help="Warnings before anything failed: who is told, who is the control, what it does.")

    @commands.command("results")
    def results(account: AccountId = None, json: Json = False) -> None:
        """Told customers against the control: what was mended, what failed, and how sure that is."""
        from worker.ahead import report

        with app_of() as app:
            report.tell_results(app, owners(app, account), json, sys.stdout)

    @commands.command("status")
    def status(account: AccountId = None, json: Json = False) -> None:
        """Which warnings are on, what is known of renewals, and what the last daily look planned."""
        from worker.ahead import report

        with app_of() as app:
            report.tell_status(app, owners(app, account), json, sys.stdout)

    @commands.command("show")
    def show(
        customer: Annotated[str, typer.Argument(help="cus_... of the customer.")], account: AccountId = None
    ) -> None:
        """Every warning about one customer, with its reason."""
        from worker.ahead import report

        with app_of() as app:
            report.tell_customer(app, owners(app, account), customer, sys.stdout)

    @commands.command("look")
    def look(account: AccountId = None) -> None:
        """Look ahead now instead of at the next daily look; what is due goes out with the next sweep."""
        from worker.ahead import plan

        with app_of() as app:
            for owner in owners(app, account):
                typer.echo(f"{owner.account}: {plan.run(app, owner)}")

    return commands
