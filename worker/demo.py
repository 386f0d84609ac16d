"""Three months of a small company in a minute: everything real but Stripe, the bank and the time.

One process on the embedded default: web, worker, broker, SQLite file and a mailbox folder, with the sandbox as Stripe
over loopback HTTP. Nothing is read from the environment, so no setting of a real installation can take part. At the
end the demo holds itself to its promises by the bank's own log.
"""

from __future__ import annotations

import secrets
import signal
import socket
import sqlite3
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import SecretStr
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from sqlalchemy import Select, event, func, select

from billing.case import State
from billing.events import known_types
from billing.money import Amount
from billing.report import render
from billing.report.bridge import Bridge
from billing.report.period import Period
from config.settings import OnlyWritten
from sandbox import Dunning, Sandbox
from worker import links, logs, report
from worker import tables as t
from worker.app import App
from worker.demo_people import People
from worker.dispatcher import sweep
from worker.process import embedded_app
from worker.store import Owner

START = datetime(2026, 1, 1, tzinfo=UTC)
STEP = timedelta(hours=12)  # the longest; what is due earlier is done at its minute
SIGNING = "whsec_of_the_demo"
GIVE_UP = timedelta(days=29)  # after this the company's Stripe account ends an unpaid subscription
SEED = 1
SECOND_IS = timedelta(minutes=1)  # of the stand-in Stripe's clock, while the pages are served


def run(*, serve: bool, subscriptions: int, days: int, folder: Path | None, port: int) -> int:
    """Play, print and serve the dashboard until a signal comes; 0 when every promise was kept, else 1.

    Raises FileExistsError when `folder` holds the database of an earlier demo.
    """
    console = Console(highlight=False)
    folder = _folder(folder)
    with playing(folder, port) as demo:
        console.print(
            f"A small company on a stand-in Stripe at {demo.sb.url}; nothing leaves this machine.", soft_wrap=True
        )
        began = time.monotonic()
        demo.play(subscriptions, START + timedelta(days=days), console)
        console.print(f"{days} days were played in {time.monotonic() - began:.0f} s.\n")
        kept = demo.tell(console)
        if serve:
            demo.show(console)
            demo.live_on(_until_signalled())
    return 0 if kept else 1


def _hurry(app: App) -> None:
    """Do not wait for the disk at each commit: a demo that loses its power is begun anew. Real installations wait."""

    @event.listens_for(app.db.engine, "connect")
    def _configure(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA synchronous=OFF")

    app.db.engine.dispose()  # those opened before


def _folder(wanted: Path | None) -> Path:
    if wanted is None:
        return Path(tempfile.mkdtemp(prefix="reprieve-demo-"))
    if (wanted / "reprieve.db").exists():
        raise ValueError(f"{wanted} holds the database of an earlier demo: choose another folder or remove it")
    wanted.mkdir(parents=True, exist_ok=True)
    return wanted.resolve()


@contextmanager
def playing(folder: Path, port: int = 0, start: datetime = START) -> Iterator[Demo]:
    """The whole installation and its Stripe, running; both stop at the end."""
    with ExitStack() as stack:
        sb = stack.enter_context(Sandbox(start, SEED, dunning=Dunning(end="cancel", after=GIVE_UP), concurrency=32))
        port = port or _free_port()  # the links in the messages name it
        settings = OnlyWritten(
            database_url=f"sqlite:///{folder / 'reprieve.db'}",
            stripe_api_key=SecretStr("rk_test_of_the_demo"),
            stripe_api_base=sb.url,
            stripe_webhook_secrets=(SecretStr(SIGNING),),
            stripe_requests_per_second=10_000,
            mode="own",
            mailbox_dir=folder / "mailbox",
            mail_from="billing@acme.example",
            mail_from_name="Acme",
            support_email="help@acme.example",
            web_port=port,
            public_url=f"http://127.0.0.1:{port}",
            link_secret=SecretStr(secrets.token_hex(32)),
            log_level="error",
        )
        logs.configure(settings)
        app, url = stack.enter_context(embedded_app(settings, now=sb.clock, prepare=_hurry))
        sb.add_endpoint(f"{url}/webhooks/stripe", SIGNING, events=tuple(sorted(known_types())))
        yield Demo(sb, app, url, folder)


@dataclass
class Demo:
    """`sb` is Stripe, `app` is us, `people` are the customers."""

    sb: Sandbox
    app: App
    url: str
    folder: Path
    webhooks: int = 0
    people: People = field(init=False)

    def __post_init__(self) -> None:
        self.people = People(self.sb, SEED)

    # ------------------------------------------------------------ time

    def play(self, subscriptions: int, end: datetime, console: Console) -> None:
        """From the present to `end`, in steps: Stripe bills, people act, webhooks arrive, we work."""
        self.people.found_company(subscriptions)
        self.settle()
        with _progress(console) as progress:
            task = progress.add_task("", total=(end - START).total_seconds(), counts="")
            while (now := self.sb.clock()) < end:
                self.sb.advance(min(now + STEP, end, self._next_due(now)))
                self.people.live(self._messages())
                self.settle()
                self._show(progress, task)

    def settle(self) -> None:
        """Deliver what Stripe has to tell and do what is due, until nothing moves any more."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            posts = self.sb.deliver()
            self.webhooks += posts
            if not posts + sweep(self.app):
                if not self._under_way():
                    return
                time.sleep(0.002)  # the broker's thread still has a row
        raise RuntimeError("the worker did not come to rest within 30 seconds")

    def live_on(self, stop: threading.Event, second: float = 1.0) -> None:
        """While somebody looks: a second is a minute, and what a visitor does on a page is followed up at once."""
        while not stop.wait(second):
            self.a_second()

    def a_second(self) -> None:
        self.sb.advance(self.sb.clock() + SECOND_IS)
        self.settle()

    def _under_way(self) -> int:
        return self._number(select(func.count()).where(t.action.c.state.in_(("claimed", "sending"))))

    def _next_due(self, now: datetime) -> datetime:
        """When the next of our own actions is due."""
        waiting = select(func.min(t.action.c.due_at)).where(t.action.c.state == "waiting", t.action.c.due_at > now)
        with self.app.db.read() as db:
            return db.scalar(waiting) or datetime.max.replace(tzinfo=UTC)

    def _messages(self) -> list[tuple[str, datetime]]:
        """(invoice, when) of every message about a failed payment that reached its mailbox."""
        notice = t.notice
        with self.app.db.read() as db:
            rows = db.execute(
                select(notice.c.invoice, notice.c.at)
                .where(notice.c.step == "payment_failed", notice.c.state == "accepted")
                .order_by(notice.c.id)
            )
            return [(row.invoice, row.at) for row in rows]

    def _show(self, progress: Progress, task: TaskID) -> None:
        states = self.states()
        recovered, lost = states[State.RECOVERED], states[State.LOST]
        progress.update(
            task,
            completed=(self.sb.clock() - START).total_seconds(),
            description=f"{self.sb.clock():%d %b %Y}",
            counts=f"{self.webhooks} webhooks, {sum(states.values())} cases, {recovered} recovered, {lost} lost",
        )

    def states(self) -> Counter[str]:
        """Cases by state."""
        with self.app.db.read() as db:
            rows = db.execute(select(t.recovery_case.c.state, func.count()).group_by(t.recovery_case.c.state))
            return Counter({row[0]: row[1] for row in rows})

    def _number(self, question: Select[int]) -> int:
        with self.app.db.read() as db:
            return db.scalar(question) or 0

    # ------------------------------------------------------------ the end

    def tell(self, console: Console) -> bool:
        """Print what the books say, what was recovered, where to look, and each promise; whether all were kept."""
        month = _last_full_month(self.sb.clock())
        checked: list[Bridge] = []
        wrong = ""
        try:
            checked = [b for each in report.reported(self.app, [Period.month(month)]) for b in each.bridges]
        except (ArithmeticError, report.BooksDisagree) as error:
            wrong = str(error)
        for bridge in checked:
            console.print(render.text(bridge), "\n", soft_wrap=True)
        for line in self._recovery():
            console.print(line, soft_wrap=True)
        self._where_to_look(console, month)
        promises = [*self._promises(), ("the bridge adds up, and the double entry agrees", wrong or None)]
        console.print("\nPromises, checked against the bank's own log:")
        for promise, broken in promises:
            console.print(
                f"  {'BROKEN' if broken else 'kept  '} {promise}{f': {broken}' if broken else ''}", soft_wrap=True
            )
        return not any(broken for _, broken in promises)

    def _recovery(self) -> Iterator[str]:
        case = t.recovery_case
        with self.app.db.read() as db:
            money = db.execute(
                select(case.c.currency, case.c.state, func.count(), func.sum(case.c.amount))
                .group_by(case.c.currency, case.c.state)
                .order_by(case.c.currency.desc(), case.c.state)
            ).all()
            sources = db.execute(
                select(case.c.recovered_by, func.count())
                .where(case.c.state == State.RECOVERED)
                .group_by(case.c.recovered_by)
                .order_by(func.count().desc())
            ).all()
        yield f"Failed payments: {sum(row[2] for row in money)} cases"
        for currency, state, number, minor in money:
            yield f"  {state.replace('_', ' '):<16}{number:>5}  {Amount(minor, currency)!s:>16}"
        if sources:
            yield "Recovered by: " + ", ".join(f"{source.replace('_', ' ')} {number}" for source, number in sources)

    def show(self, console: Console) -> None:
        """What can be opened now, and how a customer of the demo pays."""
        console.print(f"\nDashboard: {self.url}/    (Ctrl-C ends it)", soft_wrap=True)
        console.print(f"What customers read: {self.url}/messages", soft_wrap=True)
        if link := self.way_back():
            console.print(f"A customer's way back: {link}", soft_wrap=True)
            for line in (
                "Every link in the mailbox leads to such a page. Give a new card there, 4242424242424242 is a good",
                "one: it is collected in ten seconds.",
            ):
                console.print(f"  {line}", soft_wrap=True)

    def way_back(self) -> str | None:
        """A link to the recovery page of a customer who owes something that a new card can pay."""
        case, now = t.recovery_case, self.app.now()
        live = case.c.state.in_([State.OPEN, State.RECOVERING, State.NEEDS_CUSTOMER]) & case.c.customer.is_not(None)
        with self.app.db.begin() as db:
            row = db.execute(select(case).where(live, case.c.deadline > now).order_by(case.c.failed_at.desc())).first()
            if row is None:
                return None
            return links.for_customer(
                db, self.app.settings, Owner(row.account, row.livemode), row.customer, "demo", now
            )

    def _where_to_look(self, console: Console, month: str) -> None:
        invoice = self._one_worth_reading()
        database = f"REPRIEVE_DATABASE_URL=sqlite:///{self.folder / 'reprieve.db'}"
        console.print(f"\nMessages:   {self.folder / 'mailbox' / 'index.html'}", soft_wrap=True)
        if invoice:
            console.print(f"One story:  {database} REPRIEVE_MODE=own ./reprieve explain {invoice}", soft_wrap=True)
        console.print(f"The report: {database} ./reprieve report nrr --month {month}", soft_wrap=True)

    def _one_worth_reading(self) -> str | None:
        """A recovered invoice with most attempts."""
        attempt, case = t.attempt, t.recovery_case
        ours = (attempt.c.account == case.c.account) & (attempt.c.invoice == case.c.invoice)
        with self.app.db.read() as db:
            found: str | None = db.scalar(
                select(case.c.invoice)
                .outerjoin(attempt, ours)
                .group_by(case.c.invoice)
                .order_by((case.c.state == State.RECOVERED).desc(), func.count(attempt.c.id).desc(), case.c.invoice)
                .limit(1)
            )
        return found

    def _promises(self) -> Iterator[tuple[str, str | None]]:
        """(promise, how it was broken or None)."""
        charged = Counter(movement.invoice for movement in self.sb.bank.charges if movement.invoice)
        twice = [invoice for invoice, number in charged.items() if number > 1]
        yield f"no invoice was charged twice ({len(charged)} charged)", ", ".join(twice) or None
        with self.app.db.read() as db:
            cases = {row.invoice: row.state for row in db.execute(select(t.recovery_case))}
        failed = {m.invoice for m in self.sb.bank.movements if m.outcome in ("declined", "authentication")}
        missing = sorted(filter(None, failed - cases.keys()))
        yield f"every declined invoice has a case ({len(cases)} cases)", ", ".join(missing) or None
        paid = {invoice for invoice in cases if self.sb.get(invoice)["status"] == "paid"}
        recovered = {invoice for invoice, state in cases.items() if state == State.RECOVERED}
        differing = sorted(paid ^ recovered)
        yield f"a case is recovered exactly if its invoice was paid ({len(recovered)})", ", ".join(differing) or None
        waiting = self._number(select(func.count()).where(t.inbox.c.state.in_(("received", "fetching", "quarantined"))))
        stuck = self._number(select(func.count()).where(t.action.c.state == "stuck"))
        left = f"{waiting} events, {stuck} actions" if waiting + stuck else None
        yield f"every webhook was handled ({self.webhooks}), no action is stuck", left
        yield "the stand-in Stripe had no error of its own", "; ".join(self.sb.crashes) or None


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:>11}"),
        BarColumn(30),
        TextColumn("{task.fields[counts]}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _last_full_month(now: datetime) -> str:
    return f"{now.replace(day=1) - timedelta(days=1):%Y-%m}"


def _until_signalled() -> threading.Event:
    """Set when a signal to end comes."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
