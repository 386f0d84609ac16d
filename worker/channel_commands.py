"""`reprieve mail ...` and `reprieve webhooks ...`: what came back from mailboxes, and what other systems were told.

Imported by every command, so it imports nothing itself before it is asked to do something.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from billing.notices.address import Address as Mailbox
    from worker.app import App

AppOf = Callable[[], AbstractContextManager["App"]]
Address = Annotated[str, typer.Argument(help="The e-mail address; it is kept only as a keyed hash.")]
By = Annotated[str, typer.Option(help="Who says so.")]
Account = Annotated[str | None, typer.Option(help="Only this Stripe account; all of them without it.")]
Maildir = Annotated[Path | None, typer.Option(help="A maildir; without it the IMAP mailbox of the settings.")]
Endpoint = Annotated[str | None, typer.Argument(help="Name of the endpoint; all of them without it.")]


def mail(app_of: AppOf) -> typer.Typer:
    """The group of commands; `app_of` gives the app and tells mistakes in one sentence."""
    commands = typer.Typer(help="Returned mail, and mailboxes that get nothing any more.")

    @commands.command()
    def bounces(
        maildir: Maildir = None,
    ) -> None:
        """Read returned mail and complaints, and stop writing to mailboxes that are gone."""
        import imaplib

        from worker.hooks import dsn

        with app_of() as app:
            try:
                mails, news = dsn.from_maildir(app, maildir) if maildir else dsn.from_imap(app)
            except (OSError, imaplib.IMAP4.error) as error:
                raise ValueError(f"the mailbox cannot be read: {error}") from None
            typer.echo(f"Read {mails} mails; they are news for {news} cases.")

    @commands.command()
    def suppressed(address: Address) -> None:
        """Say whether an address gets messages, and if not, why."""
        from worker import suppression

        with app_of() as app, app.db.read() as db:
            reasons = suppression.standing(db, suppression.mailbox_of(app.settings, _parsed(address)))
            typer.echo(f"Gets nothing: {', '.join(reasons)}." if reasons else "Gets messages.")

    @commands.command()
    def suppress(address: Address, by: By = "operator") -> None:
        """Send nothing to an address any more."""
        from worker import suppression

        with app_of() as app, app.db.begin() as db:
            mailbox = suppression.mailbox_of(app.settings, _parsed(address))
            suppression.suppress(db, mailbox, "operator", by, app.now())
            typer.echo("It gets nothing from now on.")

    @commands.command()
    def lift(address: Address, by: By = "operator") -> None:
        """Let an address have messages again, as after a mailbox was mended."""
        from worker import suppression

        with app_of() as app, app.db.begin() as db:
            mailbox = suppression.mailbox_of(app.settings, _parsed(address))
            if not suppression.lift(db, mailbox, by, app.now()):
                raise LookupError("this address is not suppressed")
            typer.echo("It gets messages again.")

    @commands.command()
    def stop(
        because: Annotated[str, typer.Option(help="Why; it stands in the audit.")],
        account: Account = None,
        by: By = "operator",
    ) -> None:
        """Send no messages to customers until `resume`; payments go on."""
        _turn(app_of, True, account, by, because)

    @commands.command()
    def resume(
        because: Annotated[str, typer.Option(help="Why; it stands in the audit.")],
        account: Account = None,
        by: By = "operator",
    ) -> None:
        """Send messages again, also after the volume guard stopped them; what waited is sent."""
        _turn(app_of, False, account, by, because)

    return commands


def _turn(app_of: AppOf, stopped: bool, account: str | None, by: str, because: str) -> None:
    from worker import switch
    from worker.store import Owner

    with app_of() as app:
        owners = [Owner(each.id, each.livemode) for each in app.settings.all_accounts if account in (None, each.id)]
        if not owners:
            raise LookupError(f"no account {account} is configured")
        with app.db.begin() as db:
            for owner in owners:
                switch.turn(db, owner, stopped, by, because, app.now(), switch.MESSAGES)
            standing = switch.standing(db)
        for scope, who, why, since in standing:
            typer.echo(f"stopped: {scope} by {who} since {since:%Y-%m-%d %H:%M} UTC: {why}")
        if not standing:
            typer.echo("Nothing is stopped.")


def _parsed(text: str) -> Mailbox:
    from billing.notices.address import parse

    return parse(text)


def webhooks(app_of: AppOf) -> typer.Typer:
    """The group of commands; `app_of` gives the app and tells mistakes in one sentence."""
    commands = typer.Typer(help="Events that your own systems are told.")

    @commands.command("list")
    def listed(
        state: Annotated[str | None, typer.Option(help="waiting, delivered or stuck.")] = None,
        most: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
    ) -> None:
        """The newest deliveries, and what came of each."""
        from worker import outgoing

        with app_of() as app, app.db.read() as db:
            for row in outgoing.listing(db, state, most):
                tried = f"{row.state} after {row.tries} tries"
                typer.echo(f"{row.event_id}  {row.type}  {row.endpoint}  {tried}  {row.because or ''}")
            names = ", ".join(endpoint.name for endpoint in app.settings.outgoing_webhooks)
            typer.echo(f"Endpoints: {names or 'none'}.")

    @commands.command()
    def test(endpoint: Endpoint = None) -> None:
        """Send a signed event `test` now, and say what each endpoint answers; exit code 1 if one refuses."""
        from worker import outgoing

        with app_of() as app:
            chosen = [each for each in app.settings.outgoing_webhooks if endpoint in (None, each.name)]
            if not chosen:
                raise LookupError(f"no endpoint {endpoint}" if endpoint else "no endpoint is configured")
            body = b'{"type":"test","data":{}}'
            answers = {each.name: outgoing.attempt(each, "evt_test", body, app.now()) for each in chosen}
        for name, because in answers.items():
            typer.echo(f"{name}: {because or 'delivered'}")
        raise typer.Exit(1 if any(answers.values()) else 0)

    @commands.command()
    def resend(
        event: Annotated[str | None, typer.Argument(help="evt_...; everything that is stuck without it.")] = None,
    ) -> None:
        """Deliver an event again, or everything that is stuck."""
        from worker import outgoing

        with app_of() as app, app.db.begin() as db:
            number = outgoing.resend(db, event, app.now())
            if not number:
                raise LookupError(f"no event {event}" if event else "nothing is stuck")
            typer.echo(f"{number} will be delivered again by the next sweep.")

    return commands
