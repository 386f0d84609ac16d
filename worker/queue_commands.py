"""`reprieve queue ...`: the cases that need a person, and what a person can do.

Imported by every command, so it imports nothing itself before it is asked to do something.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.command_options import Json
from worker.token_commands import AccountId, By, Live, owner_of, whoami

if TYPE_CHECKING:
    from worker.app import App
    from worker.queue import Task

AppOf = Callable[[], AbstractContextManager["App"]]
Invoice = Annotated[str, typer.Argument(help="in_... of the case.")]
Because = Annotated[str, typer.Option(help="Why; it stands in the audit.")]


def queue(app_of: AppOf) -> typer.Typer:
    """The group of commands; `app_of` gives the app and tells mistakes in one sentence."""
    commands = typer.Typer(help="Cases that need a person: who has which, until when, and what to do about it.")
    _reading(commands, app_of)
    _task(commands, app_of)
    _case(commands, app_of)
    return commands


def _reading(commands: typer.Typer, app_of: AppOf) -> None:
    @commands.command("list")
    def listed(
        reason: Annotated[str | None, typer.Option(help="Only tasks with this reason.")] = None,
        owner: Annotated[str | None, typer.Option(help="Whose; `nobody` for those that nobody has.")] = None,
        due: Annotated[str | None, typer.Option(help="overdue, today, or a day by whose end it is due.")] = None,
        min_mrr: Annotated[int | None, typer.Option(help="At least this MRR, in minor units a month.")] = None,
        currency: Annotated[str | None, typer.Option(help="Only this currency.")] = None,
        after: Annotated[str | None, typer.Option(help="The key of the next page.")] = None,
        most: Annotated[int, typer.Option(min=1, max=200)] = 50,
        account: AccountId = None,
        live: Live = None,
        json: Json = False,
    ) -> None:
        """The open tasks, most urgent first, with the counts of the whole queue."""
        from worker import queue
        from worker.queue_told import filter_of, told

        asked = {"reason": reason, "owner": owner, "due": due, "currency": currency}
        asked["min_mrr"] = None if min_mrr is None else str(min_mrr)
        with app_of() as app:
            whose, now = owner_of(app, account, live), app.now()
            wanted = filter_of({name: value for name, value in asked.items() if value is not None}, now)
            with app.db.read() as db:
                page = queue.page(db, whose, wanted, after, most)
                counts = queue.counts(db, whose, now)
            if json:
                _json({"tasks": [told(each, now) for each in page.tasks], "after": page.after})
                return
            for task in page.tasks:
                typer.echo(_line(task, "overdue since" if task.due_at <= now else "due"))
            if page.after:
                typer.echo(f"More: --after {page.after}")
            typer.echo(f"{counts.waiting} waiting, {counts.overdue} overdue, {counts.nobodys} with nobody.")
            given = ", ".join(f"{name} {number}" for name, number in counts.reasons.items())
            typer.echo(f"Reasons: {given or 'none'}.")

    @commands.command()
    def show(invoice: Invoice, account: AccountId = None, live: Live = None) -> None:
        """One case: its tasks, what was written, what people did. `reprieve explain` tells the rest."""
        from worker import queue, store

        with app_of() as app:
            whose = owner_of(app, account, live)
            with app.db.read() as db:
                case = store.case_of(db, whose, invoice)
                if case is None:
                    raise LookupError(f"there is no case for an invoice {invoice}")
                tasks, notes = queue.tasks_of(db, whose, invoice), queue.notes_of(db, whose, invoice)
                deeds = queue.deeds_of(db, whose, invoice)
            typer.echo(f"{invoice}: {case.state}, {case.because}; window until {case.deadline:%Y-%m-%d %H:%M} UTC")
            for task in tasks:
                typer.echo(_line(task, "due"))
                for why in task.reasons:
                    typer.echo(f"    {why.reason}: {why.because}")
            for note in notes:
                typer.echo(f"{note.at:%Y-%m-%d %H:%M} {note.actor} wrote: {note.words}")
            for deed in deeds:
                typer.echo(f"{deed.at:%Y-%m-%d %H:%M} {deed.actor}: {deed.what}: {deed.because}")


def _task(commands: typer.Typer, app_of: AppOf) -> None:
    @commands.command()
    def take(invoice: Invoice, account: AccountId = None, live: Live = None, by: By = None) -> None:
        """Make a task yours."""
        _act(app_of, "take", invoice, account, live, by)

    @commands.command()
    def assign(
        invoice: Invoice,
        to: Annotated[str, typer.Option(help="Who is to have it; empty for nobody.")],
        account: AccountId = None,
        live: Live = None,
        by: By = None,
    ) -> None:
        """Give a task to somebody."""
        _act(app_of, "assign", invoice, account, live, by, to=to)

    @commands.command()
    def due(
        invoice: Invoice,
        at: Annotated[str, typer.Argument(help="A day, or an instant with its zone.")],
        account: AccountId = None,
        live: Live = None,
        by: By = None,
    ) -> None:
        """Say when a task is due."""
        _act(app_of, "due", invoice, account, live, by, at=at)

    @commands.command()
    def note(invoice: Invoice, words: str, account: AccountId = None, live: Live = None, by: By = None) -> None:
        """Write something down; it is kept and never changed."""
        _act(app_of, "note", invoice, account, live, by, words=words)

    @commands.command()
    def done(
        invoice: Invoice, because: Because = "", account: AccountId = None, live: Live = None, by: By = None
    ) -> None:
        """Close the task; it comes back only for a new reason."""
        _act(app_of, "done", invoice, account, live, by, because=because)


def _case(commands: typer.Typer, app_of: AppOf) -> None:
    def plain(name: str, help: str) -> None:
        @commands.command(name, help=help)
        def act(
            invoice: Invoice, because: Because = "", account: AccountId = None, live: Live = None, by: By = None
        ) -> None:
            _act(app_of, name, invoice, account, live, by, because=because)

    plain("hold", "Send nothing and try nothing until `release`; the window goes on.")
    plain("release", "Let a held case go on.")
    plain("retry-now", "Make a payment attempt now, within every rule of the networks.")
    plain("paid-outside", "Say that the money came another way; Stripe is told.")

    @commands.command("send-now")
    def send_now(
        invoice: Invoice,
        step: Annotated[str, typer.Option(help="Name of the step; the next one without it.")] = "",
        because: Because = "",
        account: AccountId = None,
        live: Live = None,
        by: By = None,
    ) -> None:
        """Send a message of the sequence now."""
        _act(app_of, "send-now", invoice, account, live, by, step=step, because=because)

    @commands.command()
    def extend(
        invoice: Invoice,
        until: Annotated[str, typer.Argument(help="A day, or an instant with its zone.")],
        because: Because = "",
        account: AccountId = None,
        live: Live = None,
        by: By = None,
    ) -> None:
        """Let the recovery window end later, within what the policy allows."""
        _act(app_of, "extend", invoice, account, live, by, until=until, because=because)

    @commands.command()
    def offer(
        invoice: Invoice,
        what: Annotated[str, typer.Argument(help="The coupon or credit that was offered.")],
        because: Because = "",
        account: AccountId = None,
        live: Live = None,
        by: By = None,
    ) -> None:
        """Write down what was offered; it is applied in Stripe."""
        _act(app_of, "offer", invoice, account, live, by, what=what, because=because)


def _act(
    app_of: AppOf, act: str, invoice: str, account: str | None, live: bool | None, by: str | None, **wishes: str
) -> None:
    from worker import queue_acts

    with app_of() as app, _refusals():
        done = queue_acts.act(app, owner_of(app, account, live), act, invoice, by or whoami(), wishes)
    typer.echo(f"{invoice}: {done.said}.")


@contextmanager
def _refusals() -> Iterator[None]:
    from worker.queue_acts import Refused

    try:
        yield
    except Refused as error:
        raise ValueError(str(error)) from None


def _line(task: Task, when: str) -> str:
    reasons = ", ".join(why.reason for why in task.reasons)
    closed = f"done by {task.closed_by}: {task.because}"
    stands = closed if task.state == "done" else f"{when} {task.due_at:%Y-%m-%d %H:%M}"
    mrr = f", {task.mrr}" if task.mrr else ""
    return f"{task.priority}  {task.invoice}  {task.amount}{mrr}  {reasons}  {task.owner or 'nobody'}  {stands}"


def _json(value: Any) -> None:
    import orjson

    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z).decode() + "\n")
