"""The command line. Each command imports what it needs when it runs, so that `--help` answers at once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker import (
    channel_commands,
    consent_commands,
    ledger_commands,
    link_commands,
    queue_commands,
    retry_commands,
    sequence_commands,
    template_commands,
    token_commands,
)
from worker.ahead import commands as ahead_commands
from worker.command_options import AccountId, Json, owners
from worker.rehearsal import commands as rehearsal_commands
from worker.reports import options

if TYPE_CHECKING:
    from config.settings import Settings
    from worker.app import App
    from worker.store import Owner

main = typer.Typer(
    name="reprieve",
    help="Failed-payment recovery for companies that bill on Stripe, with a ledger that proves it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
inbox_commands = typer.Typer(help="The stored events: look at them, and let quarantined ones run again.")
main.add_typer(inbox_commands, name="inbox")


@contextmanager
def _told() -> Iterator[None]:
    """Turn what an operator can mend into one clear sentence and exit code 2."""
    from sqlalchemy.exc import DBAPIError

    from config.policies import BadPolicy
    from config.settings import BadSettings
    from worker.process import CannotStart

    try:
        yield
    except (BadSettings, BadPolicy, CannotStart, LookupError, ValueError) as error:
        typer.secho(f"reprieve: {error}", fg="red", err=True)
        raise typer.Exit(2) from None
    except DBAPIError as error:
        typer.secho(
            f"reprieve: the database refused or cannot be reached ({type(error.orig).__name__}): "
            "check REPRIEVE_DATABASE_URL, and run `reprieve migrate`",
            fg="red",
            err=True,
        )
        raise typer.Exit(2) from None


def _settings() -> Settings:
    from config.settings import load
    from worker import logs

    settings = load()
    logs.configure(settings)
    return settings


@contextmanager
def _app() -> Iterator[App]:
    """The app for a command that ends at once: nobody is rung, the next sweep finds what was written."""
    from worker import migrate as migrations
    from worker.app import build
    from worker.broker import NoBell
    from worker.process import CannotStart

    with _told():
        app = build(_settings(), NoBell())
        try:
            if wrong := migrations.mismatch(app.db):
                raise CannotStart(wrong)
            app.policies.load()
            yield app
        finally:
            app.close()


main.add_typer(options.reports(_app), name="report")
main.add_typer(ledger_commands.ledger(_app), name="ledger")
main.add_typer(ahead_commands.ahead(_app), name="ahead")
main.add_typer(template_commands.templates(_app), name="templates")
main.add_typer(channel_commands.mail(_app), name="mail")
main.add_typer(channel_commands.webhooks(_app), name="webhooks")
main.add_typer(consent_commands.consent(_app), name="consent")
main.add_typer(link_commands.links(_app), name="links")
main.add_typer(retry_commands.retries(_app), name="retries")
main.add_typer(sequence_commands.sequence(_settings, _told), name="sequence")
main.add_typer(token_commands.tokens(_app), name="tokens")
main.add_typer(queue_commands.queue(_app), name="queue")
rehearsal_commands.add(main, _settings, _told)


# ---------------------------------------------------------------- processes


@main.command()
def demo(
    serve: Annotated[bool, typer.Option(help="Keep the dashboard open at the end.")] = True,
    subscriptions: Annotated[int, typer.Option(min=10, max=5000)] = 300,
    days: Annotated[int, typer.Option(min=31, max=400)] = 90,
    folder: Annotated[Path | None, typer.Option(help="Where to keep database and mailbox; else a new one.")] = None,
    port: Annotated[int, typer.Option(help="Of the dashboard; 0 chooses a free one.")] = 0,
) -> None:
    """Play three months of a small company against a stand-in Stripe, and show what was recovered."""
    from worker import demo as playing

    with _told():
        code = playing.run(serve=serve, subscriptions=subscriptions, days=days, folder=folder, port=port)
    raise typer.Exit(code)


@main.command()
def serve(
    embedded: Annotated[bool, typer.Option("--embedded", help="Web and worker in this process.")] = False,
) -> None:
    """Serve: web and worker in one process with --embedded, else the web process alone."""
    from worker import process

    with _told():
        (process.embedded if embedded else process.web)(_settings())


@main.command()
def web() -> None:
    """Receive webhooks and show the dashboard."""
    from worker import process

    with _told():
        process.web(_settings())


@main.command()
def worker(
    metrics_port: Annotated[int | None, typer.Option(help="Serve /metrics on this loopback port.")] = None,
) -> None:
    """Handle events, retry payments, send messages, keep the books."""
    from worker import process

    with _told():
        process.worker(_settings(), metrics_port)


@main.command()
def migrate(to: Annotated[str, typer.Argument(help="A revision, or head.")] = "head") -> None:
    """Bring the database to the tables of this version."""
    from worker import migrate as migrations
    from worker.db import Database

    with _told():
        db = Database(_settings().database_url)
        migrations.upgrade(db, to)
        typer.echo(f"The tables are at revision {migrations.current(db)}.")
        db.close()


# ---------------------------------------------------------------- history


@main.command()
def backfill(account: AccountId = None) -> None:
    """Load an account's history through Stripe's API; killed, it goes on where it stood."""
    from worker import backfill as loading

    with _app() as app:
        for owner in owners(app, account, with_key=True):
            counts = loading.run(app, owner, lambda stage, objects: typer.echo(f"{stage}: {objects:,}"))
            total = ", ".join(f"{number:,} {name}" for name, number in counts.items())
            typer.echo(f"Loaded {owner.account}: {total}.")


@main.command("import")
def import_(
    files: Annotated[list[Path], typer.Argument(help="CSV files; docs/history.md has the columns.")],
    account: AccountId = None,
) -> None:
    """Book history that Stripe no longer has; a file with a row that cannot be read is not booked at all."""
    from worker import importing

    with _app() as app:
        concerned = owners(app, account, with_key=True)
        if len(concerned) > 1:
            raise LookupError("say with --account whose history this is")
        for path in files:
            rows, new = importing.run(app, concerned[0], path)
            typer.echo(f"{path}: {rows:,} rows, {new:,} new facts")


@main.command()
def reconcile(account: AccountId = None) -> None:
    """Compare what we know with Stripe's present state, and book what webhooks missed."""
    from worker import books, flow
    from worker import reconcile as comparing

    with _app() as app:
        for owner in owners(app, account, with_key=True):
            found = comparing.events(app, owner)
            flow.handle_inbox(app)
            found += comparing.state(app, owner)
            books.keep(app)
            for each in found:
                typer.echo(f"{each.object}  {each.found}")
            typer.echo(f"{owner.account}: {len(found)} things that webhooks had missed.")


# ---------------------------------------------------------------- looking


@main.command()
def doctor(json: Json = False) -> None:
    """Name everything that is missing or wrong, and how to mend it; exit code 1 if something must be mended."""
    from worker import doctor as examining

    with _told():
        raise typer.Exit(examining.run(json, sys.stdout))


@main.command()
def setup() -> None:
    """Ask what only you can know of your Stripe account, and print the settings that follow."""
    from worker import setup as asking
    from worker.stripe_gateway import Gateways

    with _told():
        settings = _settings()
        gateways = Gateways(settings, lambda doing: None)
        try:
            for line in asking.questions(settings.all_accounts, gateways, typer.confirm):
                typer.echo(line)
        finally:
            gateways.close()


@main.command()
def explain(invoice: Annotated[str, typer.Argument(help="in_...")], json: Json = False) -> None:
    """Tell the whole story of one invoice: every fact, decision and reason."""
    from worker import explain as telling

    with _app() as app:
        telling.run(app, invoice, json, sys.stdout)


# ---------------------------------------------------------------- acting


@main.command()
def stop(
    because: Annotated[str, typer.Option(help="Why; it stands in the audit.")],
    account: AccountId = None,
    by: Annotated[str, typer.Option(help="Who says so.")] = "operator",
) -> None:
    """The kill switch: no payment request and no message until `resume`."""
    _turn(True, account, by, because)


@main.command()
def resume(
    because: Annotated[str, typer.Option(help="Why; it stands in the audit.")],
    account: AccountId = None,
    by: Annotated[str, typer.Option(help="Who says so.")] = "operator",
) -> None:
    """Release the kill switch."""
    _turn(False, account, by, because)


def _turn(stopped: bool, account: str | None, by: str, because: str) -> None:
    from worker import switch
    from worker.store import Owner

    with _app() as app:
        concerned: list[Owner | None] = [Owner(a.id, a.livemode) for a in app.settings.all_accounts if a.id == account]
        if account and not concerned:
            raise LookupError(f"no account {account} is configured")
        with app.db.begin() as db:
            for owner in concerned or [None]:
                switch.turn(db, owner, stopped, by, because, app.now())
            standing = switch.standing(db)
        for scope, who, why, since in standing:
            typer.echo(f"stopped: {scope} by {who} since {since:%Y-%m-%d %H:%M} UTC: {why}")
        if not standing:
            typer.echo("Nothing is stopped.")


@inbox_commands.command("list")
def inbox_list(state: str = "quarantined", most: Annotated[int, typer.Option(min=1, max=10_000)] = 50) -> None:
    """The newest events in a state: received, fetching, done, ignored or quarantined."""
    from worker import inbox

    with _app() as app, app.db.read() as db:
        for row in inbox.listing(db, state, most):
            typer.echo(
                f"{row.event_id}  {row.type}  {row.received_at:%Y-%m-%d %H:%M}  tries {row.tries}  {row.because or ''}"
            )
        counted = ", ".join(f"{name} {number}" for name, number in sorted(inbox.counts(db).items()))
        typer.echo(f"All events: {counted or 'none'}.")


@inbox_commands.command("show")
def inbox_show(event: Annotated[str, typer.Argument(help="evt_...")]) -> None:
    """One stored event: what became of it, and its body."""
    from worker import inbox

    with _app() as app, app.db.read() as db:
        found = inbox.one(db, event)
        if not found:
            raise LookupError(f"no event {event} is stored")
        for row in found:
            typer.echo(
                f"{row.event_id}  {row.type}  account {row.account}  live {row.livemode}  version {row.api_version}"
            )
            typer.echo(f"{row.state} after {row.tries} failed tries: {row.because or 'no reason yet'}")
            typer.echo((row.body or b"(the body was erased)").decode("utf-8", "replace"))


@inbox_commands.command("rerun")
def inbox_rerun(
    event: Annotated[str | None, typer.Argument(help="evt_...; all quarantined ones without it.")] = None,
) -> None:
    """Let a quarantined event be handled again."""
    from worker import inbox

    with _app() as app, app.db.begin() as db:
        number = inbox.rerun(db, event, app.now())
        if not number:
            raise LookupError(f"no quarantined event {event}" if event else "nothing is quarantined")
        typer.echo(f"{number} will be handled again by the next sweep.")


if __name__ == "__main__":
    main(prog_name="reprieve")
