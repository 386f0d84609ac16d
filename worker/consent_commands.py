"""`reprieve consent ...`: who agreed to SMS, since when, and where they said so.

Imported by every command, so it imports nothing itself before it is asked to do something.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from worker.app import App
    from worker.store import Owner

AppOf = Callable[[], AbstractContextManager["App"]]
AccountId = Annotated[str | None, typer.Option(help="Which Stripe account; needed where there are several.")]
Customer = Annotated[str, typer.Argument(help="cus_...")]
Channel = Annotated[str, typer.Option(help="sms or chat.")]
By = Annotated[str, typer.Option(help="Who says so; it stands in the audit.")]


def owner_of(app: App, account: str | None) -> Owner:
    """The one account of the settings, or the named one. Raises LookupError."""
    from worker.store import Owner

    found = [Owner(each.id, each.livemode) for each in app.settings.all_accounts if account in (None, each.id)]
    if not found:
        raise LookupError(f"no account {account} is configured")
    if len(found) > 1:
        raise LookupError("say with --account which Stripe account is meant")
    return found[0]


def consent(app_of: AppOf) -> typer.Typer:
    """The group of commands; `app_of` gives the app and tells mistakes in one sentence."""
    commands = typer.Typer(help="Who agreed to be written to by SMS; nobody else is.")

    @commands.command("import")
    def import_(
        file: Annotated[Path, typer.Argument(help="CSV: customer, number, granted_at, source.")],
        account: AccountId = None,
        by: By = "operator",
    ) -> None:
        """Keep the consents of a file; one that a later STOP forbids is left out, and named by its line."""
        from worker import consent_import

        with app_of() as app:
            found = consent_import.run(app, owner_of(app, account), file, by)
            for line, because in found.refused:
                typer.echo(f"line {line}: not kept: {because}")
            typer.echo(f"{file}: {found.kept:,} consents stand, {len(found.refused):,} were not kept.")

    @commands.command()
    def grant(
        customer: Customer,
        number: Annotated[str, typer.Argument(help="+4915112345678")],
        source: Annotated[str, typer.Option(help="Where the customer agreed: a form, a contract, a call.")],
        channel: Channel = "sms",
        account: AccountId = None,
        by: By = "operator",
    ) -> None:
        """Note that a customer agrees, from now on."""
        from worker import consent as consents

        with app_of() as app, app.db.begin() as db:
            now = app.now()
            given = consents.Grant(customer, consents.number_in(number), now, source, channel)
            owner = owner_of(app, account)
            if because := consents.grant(db, app.settings, owner, [given], by, now)[0]:
                raise ValueError(because)
            consents.note(db, owner, customer, by, "consent", f"{channel}: {source}", now)
            typer.echo(f"{customer} may be written to by {channel}.")

    @commands.command()
    def withdraw(customer: Customer, channel: Channel = "sms", account: AccountId = None, by: By = "operator") -> None:
        """End a customer's consent: the number is erased, and what was planned is not sent."""
        from worker import consent as consents

        with app_of() as app, app.db.begin() as db:
            if not consents.withdraw(db, owner_of(app, account), customer, channel, by, app.now()):
                raise LookupError(f"{customer} has no consent to {channel} that stands")
            typer.echo(f"{customer} gets nothing by {channel} any more; the number is erased.")

    @commands.command("list")
    def listed(
        customer: Annotated[str | None, typer.Argument(help="cus_...; everybody without it.")] = None,
        account: AccountId = None,
        most: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
    ) -> None:
        """The newest consents, with what ended them."""
        from worker import consent as consents

        with app_of() as app, app.db.read() as db:
            rows = consents.listed(db, owner_of(app, account), customer, most)
            for row in rows:
                ended = f", withdrawn {row.withdrawn_at:%Y-%m-%d} by {row.withdrawn_by}" if row.withdrawn_at else ""
                typer.echo(
                    f"{row.customer}  {row.channel}  {consents.shown(row.number)}  "
                    f"since {row.granted_at:%Y-%m-%d} ({row.source}, kept by {row.granted_by}){ended}"
                )
            if not rows:
                typer.echo("No consent is kept.")

    return commands
