"""`reprieve tokens ...`: make, list and revoke the tokens of the API.

Imported by every command, so it imports nothing itself before it is asked to do something.
"""

from __future__ import annotations

import getpass
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from worker.app import App
    from worker.store import Owner

AppOf = Callable[[], AbstractContextManager["App"]]
AccountId = Annotated[str | None, typer.Option(help="Whose: a Stripe account; needed when there are several.")]
Live = Annotated[bool | None, typer.Option("--live/--test", help="Which mode, when the account has both.")]
By = Annotated[str | None, typer.Option(help="Who says so; the name you are logged in with without it.")]
Scopes = Annotated[list[str], typer.Option("--scope", help="What it may do; give it several times for several.")]


def tokens(app_of: AppOf) -> typer.Typer:
    """The group of commands; `app_of` gives the app and tells mistakes in one sentence."""
    commands = typer.Typer(help="Tokens for the API: who may ask /v1, and for what.")

    @commands.command()
    def create(
        name: Annotated[str, typer.Argument(help="What it is for: crm, product ...")],
        scope: Scopes,
        days: Annotated[int, typer.Option(help="How long it is good for.")] = 365,
        account: AccountId = None,
        live: Live = None,
        by: By = None,
    ) -> None:
        """Make a token and print its secret, this once."""
        from worker import tokens

        with app_of() as app:
            owner = owner_of(app, account, live)
            with app.db.begin() as db:
                secret = tokens.create(db, owner, name, scope, days, by or whoami(), app.now())
            typer.echo(secret)
            mode = "live" if owner.livemode else "test"
            typer.echo(f"For {owner.account} ({mode}), {days} days. It is not kept: store it now.", err=True)

    @commands.command("list")
    def listed(account: AccountId = None, live: Live = None) -> None:
        """The tokens of an account; their secrets are not kept."""
        from worker import tokens

        with app_of() as app, app.db.read() as db:
            for token in tokens.listing(db, owner_of(app, account, live)):
                used = f"used {token.last_used_at:%Y-%m-%d}" if token.last_used_at else "never used"
                made = f"made {token.created_at:%Y-%m-%d} by {token.created_by}, until {token.expires_at:%Y-%m-%d}"
                typer.echo(f"{token.name}  {token.state(app.now())}  {', '.join(token.scopes)}  {made}, {used}")

    @commands.command()
    def revoke(name: str, account: AccountId = None, live: Live = None, by: By = None) -> None:
        """End a token at once."""
        from worker import tokens

        with app_of() as app:
            owner = owner_of(app, account, live)
            with app.db.begin() as db:
                if not tokens.revoke(db, owner, name, by or whoami(), app.now()):
                    raise LookupError(f"no token {name} is in use")
            typer.echo("It answers nobody from now on.")

    return commands


def owner_of(app: App, account: str | None, live: bool | None) -> Owner:
    """The one account and mode that is meant. Raises LookupError when none or several are."""
    from worker.store import Owner

    found = [
        Owner(each.id, each.livemode)
        for each in app.settings.all_accounts
        if account in (None, each.id) and live in (None, each.livemode)
    ]
    if not found:
        raise LookupError(f"no account {account or ''} is configured in this mode".replace("  ", " "))
    if len(found) > 1:
        raise LookupError("several accounts are configured: name one with --account, and --live or --test")
    return found[0]


def whoami() -> str:
    """Who is at the keyboard."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "operator"
