"""One pass: the story from the first paid invoice to its end, step by step on the sandbox's clock.

Nothing is polled: the clock goes straight to the next thing that is due, be it Stripe's, ours or a person's.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from sqlalchemy import func, insert, select

from billing.money import Amount
from billing.retry.schedule import next_attempt
from sandbox.cards import BY_TOKEN, TestCard
from sandbox.delivery import CALM, Chaos
from sandbox.pricing import add_interval
from worker import books, explain, flow, store
from worker import tables as t
from worker.rehearsal.stage import BEFORE, SELF, Floor, Stage, stage
from worker.rehearsal.story import Act, Story
from worker.values import to_json

AFTERWARDS = timedelta(days=3)  # what may still follow the end of a case: thanks that wait for Monday
NEWS = timedelta(seconds=1)  # until we hear of it: what happens in one second of Stripe's cannot be put in order
LONGEST = timedelta(days=130)
MOST_STEPS = 5_000
Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Played:
    """What one pass came to. `told` is the story as `reprieve explain` has it.

    The other rows are what a customer, a bank and a bookkeeper would hold in their hands, instants first where they
    have one; two passes are compared by them.
    """

    told: explain.Story
    silences: tuple[explain.Moment, ...]  # since when no retry was planned, and why
    subjects: dict[str, str]  # of the messages, by Message-ID
    attempts: tuple[Row, ...]
    messages: tuple[Row, ...]
    entries: tuple[Row, ...]
    state: Row
    paid: bool
    webhooks: int
    began: datetime
    ended: datetime
    seconds: float

    @property
    def retries(self) -> int:
        """Attempts that we made."""
        return len(self.told.rows["attempts"])


def play(story: Story, policy: Path | None, floor: Floor, seed: int, chaos: Chaos = CALM) -> Played:
    """Play the story in a world of its own. Raises BadPolicy; RuntimeError if it does not come to an end."""
    began = time.perf_counter()
    renewal, start = _start(story)
    with stage(story, policy, floor, start, seed, chaos) as on:
        return _Pass(story, on, renewal).play(began)


def _start(story: Story) -> tuple[datetime, datetime]:
    """(when the renewal is billed, when the subscription began): whole periods earlier, so that the days agree."""
    renewal = story.failed_at.replace(microsecond=0) - BEFORE
    for periods in range(1, 13):
        start = _earlier(renewal, story.interval, periods)
        if add_interval(start, story.interval, periods) == renewal:
            return renewal, start
    return renewal, renewal - timedelta(days=28)  # not reached: some month in twelve has as many days


def _earlier(at: datetime, interval: str, periods: int) -> datetime:
    if interval in ("day", "week"):
        return at - timedelta(days=periods * (7 if interval == "week" else 1))
    months = at.year * 12 + at.month - 1 - periods * (12 if interval == "year" else 1)
    for day in (at.day, 30, 29, 28):
        try:
            return at.replace(year=months // 12, month=months % 12 + 1, day=day)
        except ValueError:
            continue
    raise ValueError(f"no day {at.day}")


class _Pass:
    def __init__(self, story: Story, on: Stage, renewal: datetime) -> None:
        self.story, self.on, self.renewal = story, on, renewal
        self.acts = sorted(story.acts, key=lambda act: act.at)
        self.invoice = ""
        self.closed: datetime | None = None
        self.silences: list[explain.Moment] = []

    def play(self, began: float) -> Played:
        self._begin()
        limit = self.story.failed_at + LONGEST
        for _ in range(MOST_STEPS):
            upcoming = self._next_due()
            if upcoming is None or upcoming > limit or (self.closed and upcoming > self.closed + AFTERWARDS):
                return self._told(began)
            self.on.sb.advance(upcoming)
            self._act(upcoming)
            self.on.sb.advance(NEWS)
            self._settle()
        raise RuntimeError(f"the story did not end within {MOST_STEPS} steps")

    def _begin(self) -> None:
        """A subscription whose payments go through, until the renewal that the story is about."""
        sb, story = self.on.sb, self.story
        wishes = {"in": None, "cus": story.customer, "sub": story.subscription}
        sb.world.store.wishes.update({prefix: id for prefix, id in wishes.items() if id})
        made = sb.subscribe(
            _card(story),
            story.amount.minor,
            story.amount.currency,
            story.interval,
            email="customer@example.com",
            name="The Customer",
            country=story.country,
        )
        sb.world.store.wishes.clear()
        self._settle()
        self.customer, self.subscription, self.method = made.customer, made.subscription, made.payment_method
        while (upcoming := self._next_due()) is not None and upcoming < self.renewal:
            sb.advance(upcoming)
            self._settle()
        self.on.bank.card = sb.get(self.method)["card"]["fingerprint"]
        self._carry(f"card:{self.on.bank.card}")
        if story.invoice:
            sb.world.store.wishes["in"] = story.invoice
        sb.advance(self.renewal)
        sb.world.store.wishes.clear()
        self.invoice = sb.get(self.subscription)["latest_invoice"]

    def _carry(self, card: str) -> None:
        """Give the card the budgets that other invoices have used, each charge at its own time."""
        told, sb = self.story.elsewhere, self.on.sb
        rows = [
            {
                **SELF.key,
                "charge": f"ch_elsewhere_{n}",
                "card": card,
                "customer": self.customer,
                "invoice": declined.invoice,
                "amount": declined.amount.minor,
                "currency": declined.amount.unit,
                "at": declined.at,
                "decline": to_json(declined.decline),
                "unknown": ", ".join(declined.unknown) or None,
            }
            for n, declined in enumerate(told.declined)
        ]
        if not rows:
            return
        paid = sb.get(sb.get(self.subscription)["latest_invoice"])["status_transitions"]["paid_at"]
        approved = told.approved_at or datetime.fromtimestamp(paid, UTC)
        known = {"card": card, "approved_at": approved, "updated_at": told.updated_at, "seen_at": sb.clock()}
        with self.on.app.db.begin() as db:
            db.execute(insert(t.card_budget), {**SELF.key, **known})
            db.execute(insert(t.declined_charge), rows)

    def _settle(self) -> None:
        """Deliver what Stripe has to tell and do what is due, until nothing moves any more."""
        app, performed = self.on.app, 1
        while performed:  # what was delivered causes nothing more at Stripe unless we act
            self.on.sb.deliver()
            flow.handle_inbox(app)
            performed = flow.perform_due(app)
        books.keep(app)
        if self.invoice and self.closed is None:
            self._look()

    def _look(self) -> None:
        """Note the end of the case and, while no retry waits, why there is none."""
        app = self.on.app
        waits = t.action.c.kind == "retry", t.action.c.state.in_(("waiting", "claimed", "sending"))
        with app.db.read() as db:
            self.closed = db.scalar(select(t.recovery_case.c.closed_at))
            waiting = self.closed or db.scalar(select(func.count()).where(*waits))
            case = None if waiting else store.case_of(db, SELF, self.invoice)
        if case and case.live:
            because = next_attempt(case, app.policies.of(case.account, case.livemode, case.policy), app.now()).because
            if not self.silences or self.silences[-1].because != because:
                self.silences.append(explain.Moment(app.now(), "plan", "no retry is planned", because))

    def _next_due(self) -> datetime | None:
        """When something happens next: at Stripe, with us, or by a person's hand."""
        now = self.on.sb.clock()
        waiting = select(func.min(t.action.c.due_at)).where(t.action.c.state == "waiting", t.action.c.due_at > now)
        with self.on.app.db.read() as db:
            ours = db.scalar(waiting)
        acts = [max(act.at, now) for act in self.acts[:1]]
        return min(filter(None, (self.on.sb.next_due, ours, *acts)), default=None)

    def _act(self, now: datetime) -> None:
        while self.acts and self.acts[0].at <= now:
            self._do(self.acts.pop(0))

    def _do(self, act: Act) -> None:
        sb = self.on.sb
        match act.what:
            case "new_card":
                sb.new_card(self.customer)
            case "update":
                sb.update_card(self.method)
            case "pay":
                invoice = sb.get(self.invoice)
                if invoice["status"] == "open":
                    self._ask("POST", urlsplit(invoice["hosted_invoice_url"]).path, {"number": "4242424242424242"})
            case "cancel":
                if sb.get(self.subscription)["status"] != "canceled":
                    why = {"cancellation_details[feedback]": "unused"}
                    self._ask("DELETE", f"/v1/subscriptions/{self.subscription}", why)

    def _ask(self, method: str, path: str, form: dict[str, str]) -> None:
        headers = {"authorization": "Bearer sk_test_of_somebody"}
        answer = self.on.sb.ask(method, path, urlencode(form).encode(), headers)
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {answer.body[:300]!r}")

    # ------------------------------------------------------------ what came of it

    def _told(self, began: float) -> Played:
        told = explain.story(self.on.app, SELF, self.invoice)
        letters, case = self.on.letters.sent, told.case or {}
        entries = told.rows["entries"]
        return Played(
            told=told,
            silences=tuple(self.silences),
            subjects={id: letter.subject for id, letter in letters.items()},
            attempts=tuple(self._attempts()),
            messages=tuple((_minute(row["at"]), row["step"], row["state"]) for row in told.rows["messages"]),
            # Of the key only the kind: the rest holds the instant, which may be some minutes apart in two passes.
            entries=tuple(
                (_minute(e["effective_at"]), e["key"].partition(":")[0], "; ".join(e["postings"])) for e in entries
            ),
            state=(case.get("state", "no case"), str(case.get("recovered_by") or "")),
            paid=self.on.sb.get(self.invoice)["status"] == "paid",
            webhooks=self.on.door.posts,
            began=self.story.failed_at,
            ended=self.closed or self.on.sb.clock(),
            seconds=time.perf_counter() - began,
        )

    def _attempts(self) -> Iterator[Row]:
        """The bank's own log of this invoice."""
        for each in self.on.sb.bank.attempts(self.invoice):
            at = datetime.fromisoformat(each.at).astimezone(UTC)
            yield (
                _minute(at),
                each.source,
                str(Amount(each.amount, each.currency)),
                each.decline_code or each.outcome,
                each.key or "",
            )


def _card(story: Story) -> TestCard:
    """A card like the story's; a brand that the sandbox does not know is a Visa."""
    card = story.card
    like = next((known for known in BY_TOKEN.values() if known.brand == card.brand), BY_TOKEN["pm_card_visa"])
    return TestCard(like.number, brand=like.brand, country=card.country or "US", funding=card.funding or "credit")


def _minute(at: Any) -> str:
    return f"{at:%Y-%m-%d %H:%M}"
