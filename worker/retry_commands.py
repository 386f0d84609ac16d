"""`reprieve retries ...`: the model that times the retries: how it does, fit it anew, go back to another version.

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


def retries(app_of: Callable[[], AbstractContextManager[App]]) -> typer.Typer:
    """The group of commands; `app_of` gives the app and tells mistakes in one sentence."""
    commands = typer.Typer(help="The model that times the retries: how it does, what it learnt, which one is in use.")

    @commands.command("status")
    def status(account: AccountId = None, json: Json = False) -> None:
        """Which model is in use, what it foretold and what came, and what an operator should look at."""
        from worker import retries

        with app_of() as app:
            retries.tell(app, owners(app, account), json, sys.stdout)

    @commands.command("refit")
    def refit(account: AccountId = None) -> None:
        """Fit a model from the closed cases now; it is used if it passes its checks."""
        from worker import refit

        with app_of() as app:
            for owner in owners(app, account):
                typer.echo(f"{owner.account}: {refit.run(app, owner)}")

    @commands.command("models")
    def models(account: AccountId = None) -> None:
        """List every fitted model with its checks and what was said of it."""
        from worker import retries

        with app_of() as app:
            for owner in owners(app, account):
                retries.listing(app, owner, sys.stdout)

    @commands.command("use")
    def use(
        version: Annotated[str, typer.Argument(help="As `models` lists it, or the shipped one.")],
        because: Annotated[str, typer.Option(help="Why; it is kept.")],
        by: Annotated[str, typer.Option(help="Who says so.")] = "operator",
        account: AccountId = None,
    ) -> None:
        """From now on let this version time the retries; waiting ones are planned again when something happens."""
        from billing.retry.model import BadModel
        from worker import retry_models

        with app_of() as app:
            concerned = owners(app, account)
            if len(concerned) > 1:
                raise LookupError("say with --account for which account")
            try:
                with app.db.begin() as db:
                    retry_models.use(db, concerned[0], version, by, because, app.now())
            except BadModel as error:
                raise ValueError(f"the model {version} cannot be used: {error}") from None
            typer.echo(f"{concerned[0].account}: {version} is in use.")

    return commands
